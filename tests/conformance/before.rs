//! Cases of `before`: updates and deletes that carry the previous version, where there is one that can be read.

use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{Fault, Filter, Rule, S3Operation, Versioning};
use s3_connector::limits;
use s3_connector::record::Data as AnyData;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{AnySource, Bucket, Data, Env, Record, SavedState, read_all, read_some, summary};

in_every_world! {
    updates_and_deletes_carry_what_was_there,
    nothing_is_carried_that_was_not_asked_for,
    what_was_there_is_carried_after_a_restart,
    a_null_version_is_carried_as_long_as_it_is_the_one,
    a_previous_version_that_is_gone_is_left_out,
    a_previous_version_that_cannot_be_read_is_left_out,
    a_previous_version_that_is_too_large_is_left_out,
    without_versions_nothing_is_known_of_before,
}

const BEFORE: (&str, &str) = ("before", "true");

/// A source of previous versions that has caught up.
async fn following(bucket: &Bucket, settings: &[(&str, &str)]) -> AnySource {
    let mut source = bucket.open_with(&[&[BEFORE], settings].concat()).await;
    read_all(&mut source).await.expect("reads");
    source
}

fn before(record: &Record) -> Option<Bytes> {
    match &record.payload.before {
        None => None,
        Some(Data::Raw(bytes)) => Some(bytes.clone()),
        Some(other) => panic!("a source's payloads are raw bytes, not {other:?}"),
    }
}

/// `operation key after before` of each record.
fn with_before(records: &[Record]) -> Vec<String> {
    let before = |record| before(record).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let lines = summary(records).into_iter().zip(records);
    lines.map(|(line, record)| format!("{line} {}", before(record).as_deref().unwrap_or("-"))).collect()
}

async fn next(source: &mut AnySource) -> Vec<String> {
    with_before(&read_all(source).await.expect("reads"))
}

/// The next record, while something is held.
async fn one(source: &mut AnySource) -> Vec<String> {
    with_before(&read_some(source, 1).await.expect("reads"))
}

async fn updates_and_deletes_carry_what_was_there(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = bucket.open_with(&[BEFORE]).await;
    assert_eq!(next(&mut source).await, ["snapshot a 1 -"]);
    for body in ["2", "", "4"] {
        bucket.put("a", body).await;
    }
    assert_eq!(next(&mut source).await, ["update a 2 1", "update a  2", "update a 4 "]);
    bucket.delete("a").await;
    assert_eq!(next(&mut source).await, ["delete a - 4"]);
    bucket.advance(Duration::from_secs(1)).await;
    bucket.put("a", "5").await;
    bucket.put("b", "1").await;
    let mut changes = next(&mut source).await;
    changes.sort();
    assert_eq!(changes, ["create a 5 -", "create b 1 -"]);
    // By a source that finds all of it at once, too.
    bucket.put("b", "2").await;
    bucket.delete("b").await;
    assert_eq!(next(&mut source).await, ["update b 2 1", "delete b - 2"]);
}

async fn nothing_is_carried_that_was_not_asked_for(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = bucket.open().await;
    read_all(&mut source).await.expect("reads");
    bucket.put("a", "2").await;
    bucket.delete("a").await;
    assert_eq!(next(&mut source).await, ["update a 2 -", "delete a - -"]);
}

async fn what_was_there_is_carried_after_a_restart(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let state = SavedState::memory();
    let mut source = bucket.start_with(&[BEFORE], &state).await;
    read_all(&mut source).await.expect("reads");
    for body in ["2", "3", "4"] {
        bucket.put("a", body).await;
    }
    let first = read_some(&mut source, 1).await.expect("reads");
    assert_eq!(with_before(&first), ["update a 2 1"]);
    drop(source);
    let mut source = bucket.resume_with(&[BEFORE], &state, &first[0].position).await;
    assert_eq!(next(&mut source).await, ["update a 3 2", "update a 4 3"]);
}

async fn a_null_version_is_carried_as_long_as_it_is_the_one(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "null").await;
    bucket.set_versioning(Versioning::Enabled).await;
    let mut source = following(&bucket, &[]).await;
    bucket.put("a", "2").await;
    assert_eq!(next(&mut source).await, ["update a 2 null"]);
    bucket.put("b", "1").await;
    bucket.set_versioning(Versioning::Suspended).await;
    bucket.advance(Duration::from_secs(1)).await;
    bucket.put("b", "null again").await;
    assert_eq!(next(&mut source).await, ["create b 1 -", "update b null again 1"]);
    bucket.set_versioning(Versioning::Enabled).await;
    bucket.advance(Duration::from_secs(1)).await;
    bucket.delete("b").await;
    // It is overwritten before it can be read: what is there now was not there before the delete.
    let mut pause = bucket.wire().pause(Filter::from(S3Operation::GetObject).key("b"));
    let overwrite = async {
        let held = pause.arrived().await;
        bucket.set_versioning(Versioning::Suspended).await;
        bucket.put("b", "another").await;
        held.release();
        drop(pause);
    };
    let (changes, ()) = tokio::join!(one(&mut source), overwrite);
    assert_eq!(changes, ["delete b - -"]);
}

async fn a_previous_version_that_is_gone_is_left_out(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket, &[]).await;
    let first = bucket.versions().await.pop().expect("it is there");
    bucket.delete("a").await;
    let mut pause = bucket.wire().pause(S3Operation::GetObject);
    let remove = async {
        let held = pause.arrived().await;
        bucket.delete_version(&first).await;
        held.release();
        drop(pause);
    };
    let (changes, ()) = tokio::join!(one(&mut source), remove);
    assert_eq!(changes, ["delete a - -"]);
}

async fn a_previous_version_that_cannot_be_read_is_left_out(env: &Env) {
    for fault in [Fault::access_denied(), Fault::foreign_kms_key(), Fault::customer_key(), Fault::archived()] {
        let bucket = env.versioned().await;
        bucket.put("a", "1").await;
        let mut source = following(&bucket, &[]).await;
        bucket.wire().faults().add(Rule::new(Filter::from(S3Operation::GetObject).key("a"), fault.clone()));
        bucket.delete("a").await;
        bucket.put("b", "1").await;
        let mut changes = next(&mut source).await;
        changes.sort();
        assert_eq!(changes, ["create b 1 -", "delete a - -"], "{fault:?}");
        assert_eq!(source.progress().await.expect("answers").counter("skipped"), 0, "nothing was skipped");
    }
}

async fn a_previous_version_that_is_too_large_is_left_out(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "more than ten").await;
    let mut source = following(&bucket, &[("objectBytes", "10"), ("unreadable", "skip")]).await;
    bucket.put("a", "0123456789").await;
    bucket.put("a", "2").await;
    assert_eq!(next(&mut source).await, ["update a 0123456789 -", "update a 2 0123456789"]);
    let most = usize::try_from(limits::RAW_BODY_BYTES_MAX).expect("it is in memory");
    let bucket = env.versioned().await;
    bucket.put("a", vec![7; most]).await;
    bucket.put("b", vec![7; most + 1]).await;
    let mut source = following(&bucket, &[]).await;
    bucket.delete("a").await;
    bucket.delete("b").await;
    let mut records = read_all(&mut source).await.expect("reads");
    records.sort_by_key(s3_connector_tests::world::key);
    let lengths: Vec<_> = records.iter().map(|record| before(record).map(|bytes| bytes.len())).collect();
    assert_eq!(lengths, [Some(most), None]);
}

async fn without_versions_nothing_is_known_of_before(env: &Env) {
    let bucket = env.plain().await;
    for key in ["a", "b"] {
        bucket.put(key, "1").await;
    }
    let mut source = following(&bucket, &[]).await;
    bucket.put("a", "22").await;
    bucket.delete("b").await;
    let mut changes = next(&mut source).await;
    changes.sort();
    assert_eq!(changes, ["delete b - -", "update a 22 -"]);
}

#[tokio::test]
async fn what_was_there_travels_in_its_record_however_objects_do() {
    let bucket = Env::component().versioned().await;
    for payload in ["auto", "stream", "raw"] {
        bucket.put("a", vec![7; 100_000]).await;
        let mut source = following(&bucket, &[("payload", payload)]).await.into_host();
        bucket.put("a", vec![8; 100_000]).await;
        let records = source.read(10, Duration::from_secs(60)).await.expect("reads");
        let payload_of = &records[0].payload;
        assert_eq!(matches!(payload_of.after, Some(AnyData::Body { .. })), payload != "raw", "{payload}");
        assert!(matches!(&payload_of.before, Some(AnyData::Raw(bytes)) if *bytes == vec![7; 100_000]), "{payload}");
    }
}
