//! What the Go connector gets wrong, one test for each: it fails if the defect is put back.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{Fault, Filter, ObjectHeaders, Rule, S3Operation, Stage};
use s3_connector::record::{Change, Data as AnyData, Operation, json};
use s3_connector_host::ErrorKind;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{
    AnySource, Bucket, Conditions, Data, Env, Record, SavedState, acked, flush, key, payload, read_all, read_some,
    summary,
};

in_every_world! {
    defect_01_a_list_error_ends_the_snapshot_silently,
    defect_02_objects_of_the_same_second_are_lost,
    defect_03_changes_before_the_cursor_of_the_snapshot_are_lost,
    defect_04_uploads_that_outlast_a_poll_are_lost,
    defect_05_an_empty_bucket_starts_from_the_local_clock except(Real, "the store's clock is its own"),
    defect_06_a_delete_between_list_and_get_yields_an_empty_record_or_kills,
    defect_07_missing_headers_a_period_of_zero_and_a_torn_position_panic
        except(Real, "real stores make a Content-Type up"),
    defect_08_versions_that_straddle_a_page_are_mislabelled except(Real, "pages of a thousand versions"),
    defect_09_user_metadata_overwrites_ours,
    defect_10_a_restart_in_the_snapshot_starts_over,
    defect_11_stores_with_milliseconds_deliver_the_newest_objects_twice,
    defect_12_payloads_that_are_no_utf8_are_corrupted_in_json,
    defect_13_a_delete_record_crashes_the_destination,
    defect_14_object_names_come_from_the_clock_and_can_collide,
    defect_15_a_prefix_goes_through_path_joining,
    defect_16_a_private_acl_is_always_sent,
    defect_17_keys_with_control_characters_break_the_listing,
    defect_18_whole_objects_are_read_into_memory_one_at_a_time,
}

const JSON: (&str, &str) = ("format", "json");

/// A bucket that keeps versions, on a store with small pages.
async fn paged(env: &Env, page_size_max: usize) -> Bucket {
    env.bucket(Conditions::versioned().on(|store| store.page_size_max = page_size_max)).await
}

async fn put_each(bucket: &Bucket, keys: &[&str]) {
    for key in keys {
        bucket.put(key, "1").await;
    }
}

fn keys(records: &[Record]) -> Vec<String> {
    records.iter().map(key).collect()
}

async fn defect_01_a_list_error_ends_the_snapshot_silently(env: &Env) {
    let (bucket, expected, _) = env.paged().await;
    let state = SavedState::memory();
    let faults = bucket.wire().faults();
    // The first page passes.
    let denied = faults.add(Rule::new(S3Operation::ListObjectVersions, Fault::access_denied()).skip(1));
    let mut source = bucket.start(&state).await;
    let error = read_all(&mut source).await.expect_err("half a snapshot is none");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(!source.progress().await.expect("answers").caught_up);
    faults.remove(denied);
    faults.add(Rule::new(S3Operation::ListObjectVersions, Fault::slow_down(None)).skip(1).times(2));
    let mut source = bucket.start(&state).await;
    assert_eq!(keys(&read_all(&mut source).await.expect("outlives it")), expected);
}

async fn defect_02_objects_of_the_same_second_are_lost(env: &Env) {
    let bucket = env.within_a_second().await;
    let state = SavedState::memory();
    bucket.put("m", "1").await;
    let mut source = bucket.start(&state).await;
    let mut records = read_all(&mut source).await.expect("reads");
    for key in ["z", "a"] {
        bucket.put(key, "1").await;
        records.extend(read_all(&mut source).await.expect("reads"));
    }
    assert_eq!(keys(&records), ["m", "z", "a"]);
    drop(source);
    put_each(&bucket, &["y", "b"]).await;
    let position = records[2].position.clone();
    let mut source = bucket.resume(&state, &position).await;
    records.extend(read_all(&mut source).await.expect("reads"));
    if env.is_real() {
        // It may tell times within a second apart.
        records[3..].sort_by_key(key);
    }
    assert_eq!(keys(&records), ["m", "z", "a", "b", "y"]);
}

async fn defect_03_changes_before_the_cursor_of_the_snapshot_are_lost(env: &Env) {
    let (bucket, mut expected, _) = env.paged().await;
    let mut listed = bucket.wire().pause(S3Operation::ListObjectVersions);
    let behind = async {
        listed.arrived().await.release();
        let held = listed.arrived().await;
        bucket.put("a", "1").await;
        // The newest object of the snapshot is newer than what changed before its cursor.
        bucket.advance(Duration::from_secs(2)).await;
        bucket.put("z", "1").await;
        held.release();
        drop(listed);
    };
    let read = async {
        let mut source = bucket.source(&[], &SavedState::memory(), None).await?;
        read_all(&mut source).await
    };
    let (records, ()) = tokio::join!(read, behind);
    expected.extend(["z", "a"].map(str::to_owned));
    assert_eq!(keys(&records.expect("reads")), expected);
}

async fn defect_04_uploads_that_outlast_a_poll_are_lost(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = bucket.open_with(&[("lookback", "1s")]).await;
    read_all(&mut source).await.expect("reads");
    let mut upload = bucket.begin_upload("late").await;
    bucket.upload_part(&mut upload, "whole").await;
    for key in ["b", "c"] {
        bucket.advance(Duration::from_secs(2)).await;
        bucket.put(key, "1").await;
        assert_eq!(summary(&read_all(&mut source).await.expect("reads")), [format!("create {key} 1")]);
    }
    bucket.complete_upload(upload).await;
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create late whole"]);
    // Before the cursor of the snapshot, too.
    let bucket = env.versioned().await;
    let mut upload = bucket.begin_upload("a").await;
    bucket.upload_part(&mut upload, "whole").await;
    bucket.advance(Duration::from_secs(4)).await;
    put_each(&bucket, &["b", "c"]).await;
    let mut fetched = bucket.wire().pause(S3Operation::GetObject);
    let mut source = bucket.open_with(&[("lookback", "1s")]).await;
    let land = async {
        let held = fetched.arrived().await;
        bucket.complete_upload(upload).await;
        held.release();
        drop(fetched);
    };
    let (records, ()) = tokio::join!(read_all(&mut source), land);
    assert_eq!(summary(&records.expect("reads")), ["snapshot b 1", "snapshot c 1", "create a whole"]);
}

async fn defect_05_an_empty_bucket_starts_from_the_local_clock(env: &Env) {
    for ahead_seconds in [24 * 3600, -24 * 3600] {
        let bucket = env.bucket(Conditions::default().ahead(ahead_seconds)).await;
        let mut source = bucket.open().await;
        assert!(read_all(&mut source).await.expect("reads").is_empty());
        bucket.put("a", "1").await;
        assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create a 1"]);
    }
}

async fn defect_06_a_delete_between_list_and_get_yields_an_empty_record_or_kills(env: &Env) {
    let bucket = env.plain().await;
    put_each(&bucket, &["a", "b", "c"]).await;
    let mut pause = bucket.wire().pause(S3Operation::GetObject);
    let mut source = bucket.open_with(&[("concurrency", "1")]).await;
    let delete = async {
        let held = pause.arrived().await;
        bucket.delete("b").await;
        bucket.delete("c").await;
        held.release();
        drop(pause);
    };
    let (records, ()) = tokio::join!(read_all(&mut source), delete);
    let records = records.expect("is not killed");
    assert_eq!(summary(&records), ["snapshot a 1"]);
    assert!(records[0].position.starts_with(b"a_c"), "the last one that is left stands in CDC");
    assert_eq!(source.progress().await.expect("answers").counter("skipped"), 2);
    // In a poll, too.
    let mut pause = bucket.wire().pause(S3Operation::GetObject);
    bucket.put("d", "1").await;
    let delete = async {
        let held = pause.arrived().await;
        bucket.delete("d").await;
        held.release();
        drop(pause);
    };
    let (records, ()) = tokio::join!(read_all(&mut source), delete);
    assert!(records.expect("is not killed").is_empty());
    bucket.put("e", "1").await;
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create e 1"]);
}

async fn defect_07_missing_headers_a_period_of_zero_and_a_torn_position_panic(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    // A listing that says no more of the object than it must, of a store that gives it no Content-Type.
    let faults = bucket.wire().faults();
    let timeless = Fault::Header("last-modified", Bytes::new());
    faults.add(Rule::new(S3Operation::GetObject, timeless).times(1));
    let document = "<ListVersionsResult><Version><Key>a</Key><Size>1</Size></Version>\
                    <DeleteMarker><Key>b</Key></DeleteMarker></ListVersionsResult>";
    let fault = Fault::Document(Bytes::from_static(document.as_bytes()));
    let bare = faults.add(Rule::new(S3Operation::ListObjectVersions, fault));
    let mut source = bucket.open().await;
    let records = read_some(&mut source, 1).await.expect("reads");
    assert_eq!(summary(&records), ["snapshot a 1"]);
    for absent in ["s3.header.contentType", "s3.lastModified", "opencdc.createdAt"] {
        assert_eq!(records[0].metadata.get(absent), None, "{absent}");
    }
    let records = read_all(&mut source).await.expect("is not killed");
    assert!(records.is_empty() && faults.fired(bare) > 0);
    faults.remove(bare);
    bucket.put("b", "1").await;
    let records = read_all(&mut source).await.expect("reads");
    assert!(keys(&records).contains(&"b".to_owned()));
    for period in ["0", "0s", "-1s"] {
        let settings = bucket.settings(&[("pollingPeriod", period)]);
        let Err(error) = bucket.configured_source(settings, &SavedState::none()).await else {
            panic!("a period of {period} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    for position in [&b"a_"[..], b"_", b"a_s", b"a"] {
        let Err(error) = bucket.source(&[], &SavedState::none(), Some(position)).await else {
            panic!("{position:?} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

async fn defect_08_versions_that_straddle_a_page_are_mislabelled(env: &Env) {
    for page_size_max in 1..=3 {
        let bucket = paged(env, page_size_max).await;
        bucket.put("a", "0").await;
        let mut source = bucket.open().await;
        read_all(&mut source).await.expect("reads");
        for n in 1..=4 {
            bucket.put("a", n.to_string()).await;
            assert_eq!(summary(&read_all(&mut source).await.expect("reads")), [format!("update a {n}")]);
        }
        bucket.put("b", "1").await;
        assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create b 1"]);
    }
}

async fn defect_09_user_metadata_overwrites_ours(env: &Env) {
    let bucket = env.plain().await;
    let forged = [
        "s3.header.contentType",
        "s3.etag",
        "opencdc.collection",
        "opencdc.createdAt",
        "opencdc.readAt",
        "conduit.source.connector.id",
    ];
    let headers = ObjectHeaders {
        metadata: forged.map(|name| (name.to_ascii_lowercase(), "forged".to_owned())).into(),
        ..ObjectHeaders::default()
    };
    assert!(bucket.try_put("a", "1", headers).await);
    let mut source = bucket.start(&SavedState::none()).await;
    let record = read_all(&mut source).await.expect("reads").remove(0);
    for (name, value) in &record.metadata {
        assert_eq!(name.starts_with("s3.metadata."), value == "forged", "{name}={value}");
    }
    assert_eq!(record.metadata.iter().filter(|(_, value)| *value == "forged").count(), forged.len());
}

async fn defect_10_a_restart_in_the_snapshot_starts_over(env: &Env) {
    let bucket = env.plain().await;
    put_each(&bucket, &["a", "b", "c", "d"]).await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let first = read_some(&mut source, 2).await.expect("reads");
    source.ack(&first[1].position).await.expect("acks");
    drop(source);
    let mut source = bucket.resume(&state, &first[1].position).await;
    let rest = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&rest), ["snapshot c 1", "snapshot d 1"]);
}

async fn defect_11_stores_with_milliseconds_deliver_the_newest_objects_twice(env: &Env) {
    // The real store of the suite has them by itself.
    let bucket = env.bucket(Conditions::default().on_if(!env.is_real(), |store| store.milliseconds = true)).await;
    // Where time is virtual it begins on a whole second, at which milliseconds tell nothing.
    bucket.advance(Duration::from_millis(500)).await;
    put_each(&bucket, &["a", "b"]).await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let mut records = read_all(&mut source).await.expect("reads");
    bucket.put("c", "1").await;
    records.extend(read_all(&mut source).await.expect("reads"));
    let position = records.last().expect("three records").position.clone();
    let mut source = bucket.resume(&state, &position).await;
    records.extend(read_all(&mut source).await.expect("reads"));
    assert_eq!(keys(&records), ["a", "b", "c"]);
}

fn record(position: &'static str, operation: Operation, after: Option<Data>) -> Record {
    Record {
        position: Bytes::from_static(position.as_bytes()),
        operation,
        metadata: [("n".to_owned(), "1".to_owned())].into(),
        key: Some(Data::Raw(Bytes::from_static(b"\xff\x00key"))),
        payload: Change { before: None, after },
    }
}

fn created(position: &'static str) -> Record {
    record(position, Operation::Create, Some(Data::Raw(Bytes::from_static(b"\x80\xff\x00\xc3\x28"))))
}

/// Stores records through a new destination, each of which must be taken.
async fn store(bucket: &Bucket, settings: &[(&str, &str)], records: &[Record]) {
    let mut destination = bucket.destination(settings).await.expect("opens");
    let mut acks = destination.write(records).await.expect("takes them");
    acks.extend(flush(&mut destination, records.len() - acks.len()).await.expect("stores"));
    assert_eq!(acked(&acks), records.iter().map(|r| r.position.clone()).collect::<Vec<_>>());
}

fn lines(object: &Bytes) -> Vec<Record> {
    let lines = object.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| json::decode_line(line).expect("reads back")).collect()
}

async fn defect_12_payloads_that_are_no_utf8_are_corrupted_in_json(env: &Env) {
    let bucket = env.plain().await;
    let mut odd = created("p1");
    odd.position = Bytes::from_static(b"\xfe\xff");
    odd.payload.before = odd.payload.after.clone();
    store(&bucket, &[JSON], std::slice::from_ref(&odd)).await;
    assert_eq!(lines(&bucket.objects().await[0].1), [odd]);
}

async fn defect_13_a_delete_record_crashes_the_destination(env: &Env) {
    for format in ["json", "parquet"] {
        let bucket = env.plain().await;
        let mut keyless = record("p4", Operation::Delete, None);
        keyless.key = None;
        let records = [created("p1"), record("p2", Operation::Delete, None), created("p3"), keyless];
        store(&bucket, &[("format", format)], &records).await;
        let object = bucket.objects().await.remove(0).1;
        let found = match format {
            "json" => lines(&object),
            _ => s3_connector_tests::parquet::read(&object).expect("reads back"),
        };
        assert_eq!(found, records);
    }
}

async fn defect_14_object_names_come_from_the_clock_and_can_collide(env: &Env) {
    let bucket = env.plain().await;
    // Many at once do not meet, and the same ones later are no others.
    let batches: Vec<_> = ["p1", "p2", "p3", "p4", "p5", "p6"].map(created).into();
    store(&bucket, &[JSON, ("bufferSize", "1")], &batches).await;
    assert_eq!(bucket.objects().await.len(), 6);
    bucket.advance(Duration::from_secs(2)).await;
    store(&bucket, &[JSON, ("bufferSize", "1")], &batches).await;
    assert_eq!(bucket.objects().await.len(), 6);
}

async fn defect_15_a_prefix_goes_through_path_joining(env: &Env) {
    let bucket = env.plain().await;
    store(&bucket, &[JSON, ("prefix", "conduit-")], &[created("p1")]).await;
    let name = bucket.keys().await.remove(0);
    assert!(name.starts_with("conduit-") && !name.contains('/'), "{name}");
    bucket.put("conduit/other", "1").await;
    let mut source = bucket.start_with(&[("prefix", "conduit-")], &SavedState::none()).await;
    assert_eq!(keys(&read_all(&mut source).await.expect("reads")), [name]);
    // Not every real store has such keys.
    if !env.is_real() {
        for prefix in ["a//b/", "/c-", "d/../e-", "./"] {
            let bucket = env.plain().await;
            store(&bucket, &[JSON, ("prefix", prefix)], &[created("p1")]).await;
            let name = bucket.keys().await.remove(0);
            assert!(name.starts_with(prefix), "{name}");
        }
    }
}

async fn defect_16_a_private_acl_is_always_sent(env: &Env) {
    let bucket = env.plain().await;
    store(&bucket, &[JSON], &[created("p1")]).await;
    let requests = bucket.wire().requests();
    assert!(requests.iter().any(|request| request.operation == S3Operation::PutObject));
    for request in requests {
        let named = request.headers.keys().find(|name| name.as_str().contains("acl"));
        assert!(named.is_none() && !request.query.contains("acl"), "{request:?}");
    }
}

async fn defect_17_keys_with_control_characters_break_the_listing(env: &Env) {
    let bucket = env.versioned().await;
    let odd = ["a\u{1}b", "a\u{8}", "a\u{1f}z", "plain"];
    put_each(&bucket, &odd).await;
    let expected: BTreeSet<String> = odd.map(str::to_owned).into();
    let mut source = bucket.open().await;
    let found = read_all(&mut source).await.expect("reads");
    assert_eq!(found.iter().map(key).collect::<BTreeSet<_>>(), expected);
    put_each(&bucket, &odd).await;
    let found = read_all(&mut source).await.expect("reads");
    assert_eq!(found.iter().map(key).collect::<BTreeSet<_>>(), expected);
    assert!(found.iter().all(|record| payload(record).is_some_and(|body| body == "1")));
    // A parser may be kinder than XML, which has no such characters: what matters is that they are asked for encoded.
    let requests = bucket.wire().requests();
    let mut listings = requests.iter().filter(|request| request.key.is_none());
    let plain = listings.find(|request| !request.query.contains("encoding-type=url"));
    assert!(!requests.is_empty() && plain.is_none(), "{plain:?}");
}

/// Whether each record that is ready holds its bytes by handle, and how many there are.
async fn read_by_handle(source: &mut AnySource) -> (usize, bool) {
    let wait = Duration::from_secs(1);
    match source {
        AnySource::Native(source, _) => {
            let records = source.read(100, u64::MAX, wait).await.expect("reads");
            let by_handle = |r: &s3_connector::record::Record<_>| matches!(r.payload.after, Some(AnyData::Body { .. }));
            (records.len(), records.iter().all(by_handle))
        }
        AnySource::Component(source) => {
            let records = source.read(100, wait).await.expect("reads");
            let by_handle = |r: &s3_connector::record::Record<_>| matches!(r.payload.after, Some(AnyData::Body { .. }));
            (records.len(), records.iter().all(by_handle))
        }
    }
}

async fn defect_18_whole_objects_are_read_into_memory_one_at_a_time(env: &Env) {
    let bucket = env.plain().await;
    let names: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
    let mut source = None;
    // In the snapshot, then in a poll.
    for letter in ["x", "y"] {
        // A listing that is under way could show some of what is stored now, and the next one the others.
        let mut listings = bucket.wire().pause(S3Operation::ListObjectVersions);
        let mut listing = None;
        while let (Some(source), None) = (source.as_mut(), &listing) {
            let (count, _) = read_by_handle(source).await;
            assert_eq!(count, 0, "nothing is new");
            listing = listings.try_arrived();
        }
        bucket.put_all(&names, |_| letter.repeat(100_000)).await;
        drop((listing, listings));
        let gets = Filter::from(S3Operation::GetObject);
        let mut pause = bucket.wire().hooks().pause(Stage::BeforeAct, gets);
        if source.is_none() {
            let opened = bucket.source(&[], &SavedState::none(), None).await;
            source = Some(opened.expect("opens"));
        }
        let source = source.as_mut().expect("is open");
        come_together(source, &mut pause, names.len()).await;
    }
}

/// Reads this many records, the GETs of which are all on their way before the first is answered.
async fn come_together(source: &mut AnySource, pause: &mut embedded_s3::Pause, all: usize) {
    let together = async {
        let mut held = Vec::new();
        while held.len() < all {
            held.push(pause.arrived().await);
        }
    };
    let read = async {
        let (mut count, mut by_handle) = (0, true);
        while count < all {
            let (more, are_handles) = read_by_handle(source).await;
            count += more;
            by_handle &= are_handles;
        }
        by_handle
    };
    let both = async { tokio::join!(read, together) };
    let patience = Duration::from_secs(60);
    let (by_handle, ()) = tokio::time::timeout(patience, both).await.expect("they come together");
    assert!(by_handle, "bytes stay where they are until somebody reads them");
}
