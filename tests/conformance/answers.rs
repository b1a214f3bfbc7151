//! Cases of answers to a GET that are not the object that was listed: a proxy's page, a replica that lags, another
//! object. None is delivered, and none is believed to mean that the object is gone.

use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{Fault, Filter, ObjectHeaders, Rule, S3Operation, Versioning};
use s3_connector::record::Operation;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Bucket, Env, Record, SavedState, key, payload, read_all, read_some, summary};

in_every_world! {
    an_answer_that_is_not_the_object_is_asked_for_again,
    an_object_that_cannot_be_read_yet_is_waited_for,
    etags_that_differ_from_the_listing_are_read_without_the_condition,
    a_version_is_never_asked_for_with_a_condition,
    a_null_version_under_a_delete_marker_is_asked_for_by_name
        except(Real, "MinIO gives what was stored before versions no name that it keeps"),
    the_same_bytes_stored_again_come_once_and_with_their_time except(Real, "it takes ten seconds"),
    what_the_answer_says_stands_in_the_metadata,
    metadata_is_text_whatever_its_encoding,
}

/// A bucket that keeps versions or doesn't, with three objects.
async fn three(env: &Env, versioning: Option<Versioning>) -> Bucket {
    let bucket = match versioning {
        Some(_) => env.versioned().await,
        None => env.plain().await,
    };
    for key in ["a", "m", "z"] {
        bucket.put(key, format!("body-{key}")).await;
    }
    bucket
}

fn of_m(fault: Fault) -> Rule {
    Rule::new(Filter::from(S3Operation::GetObject).key("m"), fault)
}

/// Answers that are not the object `m`, whose six bytes are `body-m`.
fn wrong_answers() -> Vec<Fault> {
    vec![
        Fault::proxy_page(404),
        Fault::html_page(405),
        Fault::html_page(403),
        Fault::html_page(400),
        Fault::answer(404, "NoSuchKey", "The specified key does not exist."),
        Fault::answer(404, "NoSuchVersion", "The version does not exist."),
        Fault::precondition_failed(),
        Fault::empty(),
        Fault::sign_in_page(),
        Fault::another_object("body-z"),
        // As long as the object, and with nothing that says which object it is.
        Fault::foreign(200, &[], "body-z"),
        Fault::foreign(204, &[], Bytes::new()),
        Fault::Partial,
        Fault::html_page(421),
        Fault::html_page(499),
        Fault::html_page(507),
        Fault::html_page(520),
        Fault::html_page(525),
    ]
}

async fn an_answer_that_is_not_the_object_is_asked_for_again(env: &Env) {
    for versioning in [None, Some(Versioning::Enabled)] {
        let bucket = three(env, versioning).await;
        let faults = bucket.wire().faults();
        for fault in wrong_answers() {
            let rule = faults.add(of_m(fault.clone()).times(1));
            bucket.wire().clear_requests();
            let state = SavedState::memory();
            let mut source = bucket.start(&state).await;
            let records = read_all(&mut source).await;
            let records = records.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            let expected = ["snapshot a body-a", "snapshot m body-m", "snapshot z body-z"];
            assert_eq!(summary(&records), expected, "{fault:?}");
            assert_eq!(faults.fired(rule), 1, "{fault:?}");
            let progress = source.progress().await.expect("answers");
            assert_eq!(progress.counter("skipped"), 0, "{fault:?}");
            // A `null` version is asked for in two ways before it is asked for again.
            let gets = bucket.wire().requests_count(S3Operation::GetObject);
            assert!(progress.counter("retries") > 0 || (versioning.is_none() && gets > 3), "{fault:?}");
        }
        // The same while changes are followed.
        let mut source = bucket.open().await;
        read_all(&mut source).await.expect("reads");
        for fault in wrong_answers() {
            let rule = faults.add(of_m(fault.clone()).times(1));
            bucket.put("m", "body-m").await;
            let records = read_all(&mut source).await;
            let records = records.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            let [record] = &records[..] else { panic!("{fault:?}: {records:?}") };
            assert_eq!(key(record), "m");
            assert_eq!(payload(record).expect("a body"), "body-m", "{fault:?}");
            assert_eq!(faults.fired(rule), 1, "{fault:?}");
            // Where no versions are, seconds tell it from the one before.
            bucket.advance(Duration::from_secs(1)).await;
        }
    }
}

async fn an_object_that_cannot_be_read_yet_is_waited_for(env: &Env) {
    for fault in [
        Fault::answer(404, "NoSuchKey", "The specified key does not exist."),
        Fault::answer(404, "NoSuchVersion", "The version does not exist."),
        Fault::precondition_failed(),
    ] {
        let bucket = three(env, None).await;
        let mut source = bucket.open().await;
        read_all(&mut source).await.expect("reads");
        // As a replica that lags for a second or two; a `null` version is asked for in two ways.
        let faults = bucket.wire().faults();
        let rule = faults.add(of_m(fault.clone()).times(4));
        bucket.put("m", "new").await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(summary(&records[..]).last().expect("one"), "update m new");
        assert_eq!(faults.fired(rule), 4, "{fault:?}");
    }
}

fn gets(bucket: &Bucket) -> Vec<(String, bool)> {
    let requests = bucket.wire().requests().into_iter();
    let gets = requests.filter(|request| request.operation == S3Operation::GetObject);
    gets.map(|request| (request.query, request.headers.contains_key("if-match"))).collect()
}

async fn etags_that_differ_from_the_listing_are_read_without_the_condition(env: &Env) {
    let bucket = three(env, None).await;
    let other = "&quot;00000000000000000000000000000000&quot;";
    for listing in [S3Operation::ListObjectsV2, S3Operation::ListObjectVersions] {
        let rule = Rule::new(listing, Fault::Element("ETag", other));
        bucket.wire().faults().add(rule);
    }
    let mut source = bucket.open().await;
    let mut records = read_all(&mut source).await.expect("reads");
    let expected = ["snapshot a body-a", "snapshot m body-m", "snapshot z body-z"];
    assert_eq!(summary(&records), expected);
    bucket.put("n", "new").await;
    let created = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&created), ["create n new"]);
    records.extend(created);
    // The metadata says what the object has.
    let is_own = |record: &Record| !record.metadata["s3.etag"].starts_with("0000");
    assert!(records.iter().all(is_own), "{records:?}");
    assert!(gets(&bucket).iter().any(|(_, has_condition)| !has_condition));
}

async fn a_version_is_never_asked_for_with_a_condition(env: &Env) {
    let bucket = three(env, Some(Versioning::Enabled)).await;
    let mut source = bucket.open().await;
    read_all(&mut source).await.expect("reads");
    bucket.wire().clear_requests();
    // Though the listing tells another ETag than the version has.
    let other = Fault::Element("ETag", "&quot;00000000000000000000000000000000&quot;");
    let rule = Rule::new(S3Operation::ListObjectVersions, other);
    bucket.wire().faults().add(rule);
    bucket.put("m", "new").await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["update m new"]);
    let gets = gets(&bucket);
    assert_eq!(gets.len(), 1, "asked once: {gets:?}");
    assert!(gets[0].0.contains("versionId=") && !gets[0].1, "{gets:?}");
}

async fn a_null_version_under_a_delete_marker_is_asked_for_by_name(env: &Env) {
    let bucket = three(env, None).await;
    let mut source = bucket.open().await;
    read_all(&mut source).await.expect("reads");
    let mut asked = bucket.wire().pause(Filter::from(S3Operation::GetObject).key("n"));
    bucket.put("n", "new").await;
    let under = async {
        let held = asked.arrived().await;
        bucket.set_versioning(Versioning::Enabled).await;
        bucket.delete("n").await;
        held.release();
        drop(asked);
    };
    let (records, ()) = tokio::join!(read_some(&mut source, 2), under);
    let records = summary(&records.expect("reads"));
    assert_eq!(records, ["create n new", "delete n -"]);
}

async fn the_same_bytes_stored_again_come_once_and_with_their_time(env: &Env) {
    let bucket = three(env, None).await;
    bucket.advance(Duration::from_secs(10)).await;
    let mut asked = bucket.wire().pause(Filter::from(S3Operation::GetObject).key("m"));
    let again = async {
        let held = asked.arrived().await;
        bucket.put("m", "body-m").await;
        held.release();
        drop(asked);
    };
    let read = async {
        let mut source = bucket.source(&[], &SavedState::memory(), None).await?;
        let records = read_all(&mut source).await?;
        // Once more, so that the first poll is over.
        let more = read_all(&mut source).await?;
        Ok::<_, s3_connector_host::Error>([records, more].concat())
    };
    let (records, ()) = tokio::join!(read, again);
    let records = records.expect("reads");
    let expected = ["snapshot a body-a", "snapshot m body-m", "snapshot z body-z"];
    assert_eq!(summary(&records), expected);
    let created = |record: &Record| {
        let nanoseconds = record.metadata["opencdc.createdAt"].parse::<u128>();
        nanoseconds.expect("a number") / 1_000_000_000
    };
    assert!(created(&records[1]) >= created(&records[0]) + 10);
}

async fn what_the_answer_says_stands_in_the_metadata(env: &Env) {
    let bucket = env.versioned().await;
    let text = |text: &str| Some(text.to_owned());
    let headers = ObjectHeaders {
        cache_control: text("max-age=60"),
        content_disposition: text("attachment; filename=a.txt.gz"),
        content_encoding: text("gzip"),
        content_language: text("de"),
        content_type: text("text/plain"),
        ..ObjectHeaders::default()
    };
    assert!(bucket.try_put("a", "zipped", headers).await);
    bucket.put("b", "plain").await;
    // What not every store keeps.
    let of_a = || Filter::from(S3Operation::GetObject).key("a");
    for (name, value) in [
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-website-redirect-location", "/b"),
        ("expires", "Mon, 12 Oct 2009 17:50:30 GMT"),
    ] {
        let fault = Fault::Header(name, Bytes::from_static(value.as_bytes()));
        // Only the first rule that fires decides, so each has a read of its own.
        let rule = bucket.wire().faults().add(Rule::new(of_a(), fault));
        let mut source = bucket.open().await;
        let records = read_some(&mut source, 2).await.expect("reads");
        let expected = match name {
            "x-amz-storage-class" => "s3.header.storageClass",
            "expires" => "s3.header.expires",
            _ => "s3.header.websiteRedirectLocation",
        };
        assert_eq!(records[0].metadata[expected], value);
        let metadata = &records[0].metadata;
        for (name, value) in [
            ("s3.header.cacheControl", "max-age=60"),
            ("s3.header.contentDisposition", "attachment; filename=a.txt.gz"),
            ("s3.header.contentEncoding", "gzip"),
            ("s3.header.contentLanguage", "de"),
            ("s3.header.contentType", "text/plain"),
        ] {
            assert_eq!(metadata[name], value, "{metadata:?}");
        }
        assert_eq!(payload(&records[0]).expect("a body"), "zipped", "untouched");
        let plain = &records[1].metadata;
        assert!(plain.get("s3.header.contentEncoding").is_none(), "{plain:?}");
        bucket.wire().faults().remove(rule);
    }
}

async fn metadata_is_text_whatever_its_encoding(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    for (value, expected) in [
        (&b"caf\xe9"[..], "café"),
        ("café".as_bytes(), "café"),
        (b"=?UTF-8?Q?caf=C3=A9?=", "café"),
        (b"=?UTF-8?B?Y2Fmw6k=?=", "café"),
        (b"=?ISO-8859-1?Q?caf=E9?=", "café"),
        (b"=?unknown?Q?caf=E9?=", "=?unknown?Q?caf=E9?="),
    ] {
        let fault = Fault::Header("x-amz-meta-name", Bytes::from_static(value));
        let rule = Rule::new(S3Operation::GetObject, fault);
        let rule = bucket.wire().faults().add(rule);
        let mut source = bucket.open().await;
        let records = read_some(&mut source, 1).await.expect("reads");
        assert_eq!(records[0].operation, Operation::Snapshot);
        assert_eq!(records[0].metadata["name"], expected);
        bucket.wire().faults().remove(rule);
    }
}
