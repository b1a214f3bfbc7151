//! Cases of objects that may not or can't be read: each stops the source with its key, once all before it are
//! delivered, or is passed over, counted and listed.

use bytes::Bytes;
use embedded_s3::{Fault, Filter, Rule, S3Operation};
use s3_connector_host::{Error, ErrorKind};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{AnySource, Bucket, Env, Record, SavedState, read_all, summary};

in_every_world! {
    an_unreadable_object_stops_the_source_after_all_before_it,
    unreadable_objects_are_skipped_counted_and_listed,
    an_unreadable_change_stops_or_is_skipped,
    an_archived_object_is_always_skipped,
    an_object_larger_than_wanted_is_unreadable_and_not_asked_for,
    what_is_no_object_of_the_store_is_never_skipped,
    an_object_that_is_shown_but_never_given_is_never_skipped,
}

const SKIP: (&str, &str) = ("unreadable", "skip");

/// Why an object can't be read, what kind of error that is, and what the error says.
fn reasons() -> [(Fault, ErrorKind, &'static str); 4] {
    [
        (Fault::access_denied(), ErrorKind::Denied, "AccessDenied"),
        (Fault::foreign_kms_key(), ErrorKind::Denied, "kms:Decrypt"),
        (Fault::customer_key(), ErrorKind::Invalid, "Server Side Encryption"),
        (
            Fault::answer(400, "KMS.DisabledException", "The key is disabled."),
            ErrorKind::Invalid,
            "KMS.DisabledException",
        ),
    ]
}

async fn four(env: &Env) -> Bucket {
    let bucket = env.versioned().await;
    for key in ["a", "b", "m", "z"] {
        bucket.put(key, "1").await;
    }
    bucket
}

fn refuse(bucket: &Bucket, fault: &Fault) {
    let of_m = Filter::from(S3Operation::GetObject).key("m");
    bucket.wire().faults().add(Rule::new(of_m, fault.clone()));
}

/// What comes before a source fails, and why it does.
async fn until_stopped(source: &mut AnySource) -> (Vec<String>, Error) {
    let mut records: Vec<Record> = Vec::new();
    loop {
        match source.read(10, std::time::Duration::from_secs(60)).await {
            Ok(batch) => records.extend(batch),
            Err(error) => return (summary(&records), error),
        }
    }
}

async fn an_unreadable_object_stops_the_source_after_all_before_it(env: &Env) {
    for (fault, kind, says) in reasons() {
        let bucket = four(env).await;
        refuse(&bucket, &fault);
        let state = SavedState::memory();
        let mut source = bucket.start(&state).await;
        let (records, error) = until_stopped(&mut source).await;
        assert_eq!(records, ["snapshot a 1", "snapshot b 1"], "{fault:?}");
        assert_eq!(error.kind(), kind, "{error}");
        for part in ["object `m`", says, "`unreadable`"] {
            assert!(error.message().contains(part), "{error}");
        }
        // Once it may be read, what is left comes, and nothing comes again.
        bucket.wire().faults().clear();
        let mut source = bucket.source(&[], &SavedState::memory(), None).await;
        let source = source.as_mut().expect("opens");
        assert_eq!(read_all(source).await.expect("reads").len(), 4);
    }
}

async fn unreadable_objects_are_skipped_counted_and_listed(env: &Env) {
    for (fault, _, says) in reasons() {
        let bucket = four(env).await;
        refuse(&bucket, &fault);
        let mut source = bucket.open_with(&[SKIP]).await;
        let records = summary(&read_all(&mut source).await.expect("goes on"));
        assert_eq!(records, ["snapshot a 1", "snapshot b 1", "snapshot z 1"]);
        let progress = source.progress().await.expect("answers");
        assert_eq!(progress.counter("skipped"), 1);
        let [object] = progress.skipped.objects() else { panic!("{:?}", progress.skipped) };
        assert_eq!((&*object.key, progress.skipped.beyond()), ("m", 0));
        assert!(object.reason.contains(says), "{object:?}");
    }
}

async fn an_unreadable_change_stops_or_is_skipped(env: &Env) {
    let bucket = four(env).await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let last = read_all(&mut source).await.expect("reads").pop();
    refuse(&bucket, &Fault::access_denied());
    for key in ["a", "m", "z"] {
        bucket.put(key, "2").await;
        bucket.advance(std::time::Duration::from_secs(1)).await;
    }
    let (records, error) = until_stopped(&mut source).await;
    assert_eq!(records, ["update a 2"]);
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.message().contains("object `m`"), "{error}");
    let position = last.expect("the snapshot's last").position;
    let mut source = bucket.resume_with(&[SKIP], &state, &position).await;
    let records = summary(&read_all(&mut source).await.expect("goes on"));
    assert_eq!(records, ["update a 2", "update z 2"]);
    let progress = source.progress().await.expect("answers");
    assert_eq!(progress.skipped.objects()[0].key, "m");
}

async fn an_archived_object_is_always_skipped(env: &Env) {
    for settings in [&[][..], &[SKIP]] {
        let bucket = four(env).await;
        refuse(&bucket, &Fault::archived());
        let mut source = bucket.open_with(settings).await;
        let records = summary(&read_all(&mut source).await.expect("goes on"));
        assert_eq!(records, ["snapshot a 1", "snapshot b 1", "snapshot z 1"]);
        let progress = source.progress().await.expect("answers");
        assert_eq!(progress.counter("skipped"), 1);
        let object = &progress.skipped.objects()[0];
        assert_eq!(object.key, "m");
        assert!(object.reason.contains("restore it"), "{object:?}");
    }
}

async fn an_object_larger_than_wanted_is_unreadable_and_not_asked_for(env: &Env) {
    let bucket = env.versioned().await;
    for (key, bytes) in [("a", 1024), ("m", 1025), ("z", 0)] {
        bucket.put(key, Bytes::from(vec![7; bytes])).await;
    }
    let limit = ("objectBytes", "1KiB");
    let mut source = bucket.open_with(&[limit]).await;
    let (records, error) = until_stopped(&mut source).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for part in ["object `m`", "1025 bytes", "`objectBytes`"] {
        assert!(error.message().contains(part), "{error}");
    }
    let mut source = bucket.open_with(&[limit, SKIP]).await;
    assert_eq!(read_all(&mut source).await.expect("goes on").len(), 2);
    let progress = source.progress().await.expect("answers");
    assert_eq!(progress.skipped.objects()[0].key, "m");
    let requests = bucket.wire().requests();
    let is_of_m = |key: &Option<String>| key.as_deref() == Some("m");
    assert!(!requests.iter().any(|request| is_of_m(&request.key)));
}

async fn what_is_no_object_of_the_store_is_never_skipped(env: &Env) {
    for (fault, kind) in [
        // The keys, not the object.
        (Fault::answer(403, "InvalidAccessKeyId", "Who?"), ErrorKind::Denied),
        (Fault::answer(404, "NoSuchBucket", "Gone."), ErrorKind::Invalid),
        // The store, not the object.
        (Fault::answer(501, "NotImplemented", "No."), ErrorKind::Invalid),
    ] {
        let bucket = four(env).await;
        refuse(&bucket, &fault);
        let mut source = bucket.open_with(&[SKIP]).await;
        let (records, error) = until_stopped(&mut source).await;
        assert_eq!(records, ["snapshot a 1", "snapshot b 1"], "{fault:?}");
        assert_eq!(error.kind(), kind, "{error}");
        let progress = source.progress().await.expect("answers");
        assert!(progress.skipped.is_empty(), "{fault:?}");
    }
}

async fn an_object_that_is_shown_but_never_given_is_never_skipped(env: &Env) {
    for (fault, says) in [
        (Fault::proxy_page(404), "it is listed, but was refused"),
        (Fault::empty(), "0 bytes where 1 were listed"),
        (Fault::another_object("2"), "its ETag is"),
        (Fault::foreign(200, &[], Bytes::from("2")), "neither an ETag nor the time"),
        (Fault::proxy_page(403), "it is listed, but was refused"),
        (Fault::foreign(204, &[], Bytes::new()), "its status is 204"),
    ] {
        let bucket = four(env).await;
        refuse(&bucket, &fault);
        // It is not a property of the object: skipped, it would be lost once the proxy is gone.
        for settings in [&[][..], &[SKIP]] {
            let mut source = bucket.open_with(settings).await;
            let (records, error) = until_stopped(&mut source).await;
            assert_eq!(records, ["snapshot a 1", "snapshot b 1"], "{fault:?}");
            // It may pass, so that the host may try again.
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            for part in ["object `m`", says] {
                assert!(error.message().contains(part), "{fault:?}: {error}");
            }
            assert!(!error.message().contains("`unreadable`"), "{error}");
            let progress = source.progress().await.expect("answers");
            assert!(progress.skipped.is_empty(), "{fault:?}");
        }
    }
}
