//! Cases of keys and permissions: whose keys are refused, what is denied, and how to go on with others.

use std::time::Duration;

use embedded_s3::{ACCESS_KEY, Access, AccessKey, S3Operation, SECRET_KEY};
use s3_connector::record::{Change, Operation};
use s3_connector_host::{Error, ErrorKind};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{
    AnySource, Bucket, Env, Record, SavedState, WorldKind, acked, flush, key, read_all, read_some, summary,
};

in_every_world! {
    wrong_credentials_are_said_to_be_wrong,
    a_password_in_the_endpoint_is_refused_and_not_repeated,
    half_a_pair_of_keys_is_none except(Native, "keys are the host's"),
    temporary_keys_are_enough,
    keys_that_end_stop_the_source_and_others_go_on
        except(Real, "keys there live for a quarter of an hour at least"),
    a_denied_list_is_named,
    a_denied_list_of_versions_is_named
        except(Real, "MinIO permits both listings or neither"),
    a_denied_object_stops_the_source_and_is_named,
    a_denied_upload_is_named,
    a_public_bucket_is_used_without_keys
        except(Native, "signing is the host's") except(Real, "its buckets are nobody's but ours"),
    who_pays_is_said_with_every_request except(Real, "MinIO knows no such buckets"),
}

/// Why a source does not open.
async fn refused(bucket: &Bucket, settings: &[(&str, &str)]) -> (ErrorKind, String) {
    let Err(error) = bucket.source(settings, &SavedState::none(), None).await else { panic!("{settings:?} opened") };
    (error.kind(), error.message().to_owned())
}

async fn wrong_credentials_are_said_to_be_wrong(env: &Env) {
    let bucket = env.plain().await;
    for name in ["aws.secretAccessKey", "aws.accessKeyId"] {
        let (kind, message) = refused(&bucket, &[(name, "wrong-5e3f1a9b7c")]).await;
        assert_eq!(kind, ErrorKind::Denied, "{message}");
        assert!(message.contains("refused the credentials"), "{message}");
        let is_origin_known = env.kind() == WorldKind::Native || message.contains("aws.accessKeyId");
        assert!(is_origin_known && !message.contains("wrong-5e3f1a9b7c"), "{message}");
    }
}

async fn a_password_in_the_endpoint_is_refused_and_not_repeated(env: &Env) {
    let bucket = env.plain().await;
    for url in [
        "http://user:kept-5e3f1a9b7c@store:9000",
        "https://kept-5e3f1a9b7c@store",
        "ftp://user:kept-5e3f1a9b7c@store",
        "http://user:kept-5e3f1a9b7c@store/path",
        "http://user:kept-5e3f1a9b7c@at@store",
    ] {
        let settings = bucket.settings(&[("aws.endpoint", url)]);
        let configured = bucket.configured_source(settings, &SavedState::none()).await;
        let Err(error) = configured else { panic!("{url} was taken") };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains("`aws.endpoint`"), "{error}");
        assert!(!error.message().contains("5e3f1a9b7c"), "{error}");
    }
}

async fn half_a_pair_of_keys_is_none(env: &Env) {
    let bucket = env.plain().await;
    let pair = ["aws.accessKeyId", "aws.secretAccessKey"];
    for missing in pair {
        let mut settings = bucket.settings(&[]);
        settings.remove(missing);
        let configured = bucket.configured_source(settings, &SavedState::none()).await;
        let Err(error) = configured else { panic!("half a pair was taken") };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains(missing), "{error}");
    }
    // Without both, and with nothing in the environment, there are none to sign with.
    let mut settings = bucket.settings(&[]);
    settings.retain(|name, _| !pair.contains(&name.as_str()) && name != "aws.sessionToken");
    let configured = bucket.configured_source(settings, &SavedState::none()).await;
    let error = configured.expect("configures").open(None).await.expect_err("nobody signs");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.message().contains("aws.accessKeyId"), "{error}");
}

async fn temporary_keys_are_enough(env: &Env) {
    let bucket = env.versioned().await;
    let Some(temporary) = bucket.temporary_keys().await else {
        return;
    };
    bucket.put("in/a", "1").await;
    let settings = temporary.with(&[("prefix", "in/")]);
    let mut source = bucket.open_with(&settings).await;
    let mut records = read_all(&mut source).await.expect("reads");
    bucket.put("in/a", "2").await;
    records.extend(read_all(&mut source).await.expect("reads"));
    assert_eq!(summary(&records), ["snapshot in/a 1", "update in/a 2"]);
    let settings = temporary.with(&[("format", "json"), ("prefix", "out/")]);
    let mut destination = bucket.destination(&settings).await.expect("opens");
    destination.write(&records).await.expect("takes them");
    assert_eq!(acked(&flush(&mut destination, 2).await.expect("stores")).len(), 2);
    assert_eq!(bucket.keys().await.len(), 2);
    // The token is a part of them.
    for token in ["", "another-token"] {
        let (kind, message) = refused(&bucket, &temporary.with(&[("aws.sessionToken", token)])).await;
        assert_eq!(kind, ErrorKind::Denied, "{message}");
        assert!(message.contains("refused the credentials"), "{message}");
    }
}

/// Reads and acks until the source fails, and tells why it did.
async fn read_until_refused(source: &mut AnySource, records: &mut Vec<Record>) -> Error {
    loop {
        match source.read(3, Duration::from_millis(200)).await {
            Ok(batch) => {
                if let Some(last) = batch.last() {
                    source.ack(&last.position).await.expect("acks");
                }
                records.extend(batch);
            }
            Err(error) => return error,
        }
    }
}

/// Ends a key: the store answers with that code from now on.
fn end(access: &Access, key: &str, code: &str) {
    match code {
        "ExpiredToken" => access.expire_key(key),
        "InvalidAccessKeyId" => access.remove_key(key),
        _ => access.add_key(AccessKey::new(key, "another-secret")),
    }
}

async fn keys_that_end_stop_the_source_and_others_go_on(env: &Env) {
    for code in ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"] {
        let bucket = env.versioned().await;
        let keys: Vec<String> = (0..20).map(|n| format!("k{n:02}")).collect();
        bucket.put_all(&keys, |_| "1".to_owned()).await;
        let access = bucket.server().access();
        access.add_key(AccessKey::new("other-key", SECRET_KEY));
        let state = SavedState::memory();
        let slowly = [("concurrency", "1")];
        let mut source = bucket.start_with(&slowly, &state).await;
        let mut records = read_some(&mut source, 3).await.expect("reads");
        source.ack(&records[2].position).await.expect("acks");
        // In the snapshot, then in a poll.
        end(access, ACCESS_KEY, code);
        let error = read_until_refused(&mut source, &mut records).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.message().contains(code), "{error}");
        assert!(error.message().contains("refused the credentials"), "{error}");
        let other = [("aws.accessKeyId", "other-key"), slowly[0]];
        let position = records.last().expect("three at least").position.clone();
        let mut source = bucket.resume_with(&other, &state, &position).await;
        records.extend(read_all(&mut source).await.expect("reads"));
        let told: Vec<_> = records.iter().map(key).collect();
        assert_eq!(told, keys, "{code}");
        end(access, "other-key", code);
        bucket.put("k00", "2").await;
        let mut records = vec![records.pop().expect("twenty")];
        let error = read_until_refused(&mut source, &mut records).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        access.add_key(AccessKey::new("third-key", SECRET_KEY));
        let position = records.last().expect("one at least").position.clone();
        let third = [("aws.accessKeyId", "third-key")];
        let mut source = bucket.resume_with(&third, &state, &position).await;
        records.extend(read_all(&mut source).await.expect("reads"));
        assert_eq!(summary(&records[1..]), ["update k00 2"], "{code}");
    }
}

async fn a_denied_list_is_named(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let Some(allowed) = bucket.deny(S3Operation::ListObjectsV2, None).await else {
        return;
    };
    let (kind, message) = refused(&bucket, &allowed.with(&[])).await;
    assert_eq!(kind, ErrorKind::Denied, "{message}");
    assert!(message.contains("ListObjectsV2 was denied"), "{message}");
    assert!(message.contains(bucket.name()), "{message}");
}

async fn a_denied_list_of_versions_is_named(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = bucket.open().await;
    read_all(&mut source).await.expect("reads");
    bucket.deny(S3Operation::ListObjectVersions, None).await;
    let error = read_all(&mut source).await.expect_err("is denied");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.message().contains("ListObjectVersions was denied"), "{error}");
}

async fn a_denied_object_stops_the_source_and_is_named(env: &Env) {
    let bucket = env.versioned().await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    let Some(allowed) = bucket.deny(S3Operation::GetObject, Some("b")).await else {
        return;
    };
    let mut source = bucket.open_with(&allowed.with(&[])).await;
    let error = read_all(&mut source).await.expect_err("may not be read");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.message().contains("object `b`"), "{error}");
    // What failed once fails again, rather than pass over the object.
    let again = read_all(&mut source).await.expect_err("has failed");
    assert_eq!(again.kind(), ErrorKind::Denied);
    bucket.allow_all();
    let mut source = bucket.open().await;
    assert_eq!(read_all(&mut source).await.expect("reads").len(), 3);
}

async fn a_denied_upload_is_named(env: &Env) {
    let bucket = env.plain().await;
    let Some(allowed) = bucket.deny(S3Operation::PutObject, None).await else {
        return;
    };
    let settings = allowed.with(&[("format", "json"), ("prefix", "out/")]);
    let mut destination = bucket.destination(&settings).await.expect("opens");
    let record = Record {
        position: "p".into(),
        operation: Operation::Create,
        metadata: [].into(),
        key: None,
        payload: Change { before: None, after: None },
    };
    let written = destination.write(std::slice::from_ref(&record)).await;
    assert!(written.expect("takes it").is_empty());
    let error = flush(&mut destination, 1).await.expect_err("may not write");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.message().contains("PutObject was denied"), "{error}");
    assert!(bucket.keys().await.is_empty());
}

/// Settings without keys.
const ANONYMOUS: [(&str, &str); 4] =
    [("aws.anonymous", "true"), ("aws.accessKeyId", ""), ("aws.secretAccessKey", ""), ("aws.sessionToken", "")];

async fn a_public_bucket_is_used_without_keys(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("in/a", "1").await;
    let (kind, message) = refused(&bucket, &ANONYMOUS).await;
    assert_eq!(kind, ErrorKind::Denied, "{message}");
    assert!(message.contains("requests are not signed"), "{message}");
    bucket.server().access().open_to_everybody();
    let settings = [&ANONYMOUS[..], &[("prefix", "in/")]].concat();
    let mut source = bucket.source(&settings, &SavedState::none(), None).await.expect("opens");
    let mut records = read_all(&mut source).await.expect("reads");
    bucket.put("in/a", "2").await;
    records.extend(read_all(&mut source).await.expect("reads"));
    assert_eq!(summary(&records), ["snapshot in/a 1", "update in/a 2"]);
    let settings = [&ANONYMOUS[..], &[("format", "json"), ("prefix", "out/")]].concat();
    let mut destination = bucket.destination(&settings).await.expect("opens");
    destination.write(&records).await.expect("takes them");
    assert_eq!(acked(&flush(&mut destination, 2).await.expect("stores")).len(), 2);
    let requests = bucket.wire().requests();
    let signed = |request: &embedded_s3::LoggedRequest| request.access_key.is_some();
    assert!(requests.len() > 5 && !requests.iter().any(signed), "{requests:?}");
    // With keys, nobody knows what is meant.
    let error = refused(&bucket, &[("aws.anonymous", "true")]).await;
    assert!(error.0 == ErrorKind::Invalid && error.1.contains("`aws.accessKeyId`"), "{error:?}");
}

async fn who_pays_is_said_with_every_request(env: &Env) {
    let bucket = env.versioned().await;
    bucket.server().access().charge_requesters();
    // The largest is read and written in parts.
    for (key, size) in [("in/a", 1), ("in/b", 100_000), ("in/c", 20 << 20)] {
        bucket.put(key, vec![b'x'; size]).await;
    }
    let (kind, message) = refused(&bucket, &[]).await;
    assert_eq!(kind, ErrorKind::Denied, "{message}");
    let pays = ("requesterPays", "true");
    let reading = [pays, ("prefix", "in/")];
    let mut source = bucket.source(&reading, &SavedState::none(), None).await.expect("opens");
    let settings = [pays, ("format", "raw"), ("prefix", "out/")];
    let mut destination = bucket.destination(&settings).await.expect("opens");
    let (mut moved, mut acks) = (0, Vec::new());
    while moved < 3 {
        let (read, more) = destination.write_from(&mut source, Duration::from_secs(1)).await.expect("takes them");
        moved += read;
        acks.extend(more);
    }
    acks.extend(flush(&mut destination, 3 - acks.len()).await.expect("stores"));
    assert_eq!(acked(&acks).len(), 3);
    let stored = bucket.objects().await;
    let (_, copy) = stored.iter().find(|(key, _)| key == "out/in/c").expect("it is stored");
    assert_eq!(copy.len(), 20 << 20);
}
