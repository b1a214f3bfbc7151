//! Cases of the source: snapshot, changes, restarts.

use std::time::{Duration, SystemTime};

use s3_connector::record::Operation;
use s3_connector_host::ErrorKind;
use s3_connector_tests::embedded::{self, Operation as S3Operation, PutOptions, Versioning};
use s3_connector_tests::world::{
    BUCKET, State, World, key, payload, read_all, read_some, summary,
};

#[tokio::test]
async fn an_empty_bucket_gives_nothing_and_then_its_first_object() {
    let world = World::versioned().await;
    let state = State::memory();
    let mut source = world.source(&[], &state, None).await.expect("opens");
    assert!(read_all(&mut source).await.expect("reads").is_empty());
    world.put("a", "1");
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create a 1"]);
}

#[tokio::test]
async fn a_snapshot_goes_through_all_pages_in_the_order_of_keys() {
    let world = World::new().await;
    let keys: Vec<String> = (0..2500).map(|n| format!("k{n:05}")).collect();
    keys.iter().for_each(|key| world.put(key, key.clone()));
    let mut source = world.source(&[], &State::memory(), None).await.expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(records.iter().map(key).collect::<Vec<_>>(), keys);
    assert!(records.iter().all(|r| r.operation == Operation::Snapshot));
    assert!(records.iter().all(|r| payload(r).expect("a body") == key(r)));
    assert!(records[2498].position.starts_with(b"k02498_s"));
    assert!(records[2499].position.starts_with(b"k02499_c"), "the last one stands in CDC");
}

#[tokio::test]
async fn odd_keys_arrive_as_they_are() {
    let world = World::versioned().await;
    let mut keys = ["/lead", " space ", "a+b", "a%20b", "späße/ü", "a//b", "tab\there", "\u{1}ctrl", "a&b<c>\"'",
        "_", "a_s1", "~", "..", "a/./b", "日本語", "e\u{301}", "\u{e9}"];
    keys.sort_unstable();
    keys.iter().for_each(|key| world.put(key, *key));
    let mut source = world.source(&[], &State::memory(), None).await.expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(records.iter().map(key).collect::<Vec<_>>(), keys);
    assert!(records.iter().all(|r| payload(r).expect("a body") == key(r)));
    keys.iter().for_each(|key| world.put(key, "again"));
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(records.len(), keys.len());
    assert!(records.iter().all(|r| r.operation == Operation::Update));
}

#[tokio::test]
async fn a_prefix_is_a_plain_string() {
    let world = World::new().await;
    ["a/1", "a", "ab/2", "b", "a b"].iter().for_each(|key| world.put(key, "x"));
    let mut source = world.source(&[("prefix", "a")], &State::none(), None).await.expect("opens");
    let keys: Vec<_> = read_all(&mut source).await.expect("reads").iter().map(key).collect();
    assert_eq!(keys, ["a", "a b", "a/1", "ab/2"]);
}

#[tokio::test]
async fn changes_come_as_they_happened() {
    let world = World::versioned().await;
    world.put("a", "1");
    let mut source = world.source(&[], &State::memory(), None).await.expect("opens");
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["snapshot a 1"]);
    world.put("b", "1");
    world.put("a", "2");
    world.put("a", "3");
    world.delete("b");
    world.put("b", "2");
    let mut changes = summary(&read_all(&mut source).await.expect("reads"));
    let of_key = |key: &str, changes: &[String]| -> Vec<String> {
        changes.iter().filter(|c| c.split(' ').nth(1) == Some(key)).cloned().collect()
    };
    assert_eq!(of_key("a", &changes), ["update a 2", "update a 3"]);
    assert_eq!(of_key("b", &changes), ["create b 1", "delete b -", "create b 2"]);
    world.delete("a");
    changes = summary(&read_all(&mut source).await.expect("reads"));
    assert_eq!(changes, ["delete a -"]);
}

#[tokio::test]
async fn history_before_the_snapshot_stays_there() {
    let world = World::versioned_at(embedded::Clock::manual(SystemTime::now())).await;
    world.put("gone", "1");
    world.delete("gone");
    world.put("kept", "1");
    world.put("kept", "2");
    // In the very second of the cut nobody could tell what was before it.
    world.server.clock().advance(Duration::from_secs(2));
    let mut source = world.source(&[], &State::memory(), None).await.expect("opens");
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["snapshot kept 2"]);
    world.put("gone", "2");
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create gone 2"]);
}

#[tokio::test]
async fn a_restart_after_any_record_of_a_snapshot_loses_and_repeats_nothing() {
    let world = World::versioned().await;
    let keys: Vec<String> = (0..12).map(|n| format!("k{n:02}")).collect();
    keys.iter().for_each(|key| world.put(key, key.clone()));
    for stop in 1..=keys.len() {
        let state = State::memory();
        let mut source = world.source(&[], &state, None).await.expect("opens");
        let first = read_some(&mut source, stop).await.expect("reads");
        let position = first[stop - 1].position.clone();
        drop(source);
        let mut source = world.source(&[], &state, Some(&position)).await.expect("goes on");
        let rest = read_all(&mut source).await.expect("reads");
        let all: Vec<_> = first.iter().chain(&rest).map(key).collect();
        assert_eq!(all, keys, "stopped after {stop}");
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_pass_loses_and_repeats_nothing() {
    let world = World::versioned().await;
    world.put("seed", "1");
    let keys: Vec<String> = (0..8).map(|n| format!("k{n}")).collect();
    for stop in 1..=keys.len() {
        let state = State::memory();
        let mut source = world.source(&[], &state, None).await.expect("opens");
        read_all(&mut source).await.expect("reads");
        keys.iter().for_each(|key| world.put(key, format!("{stop}")));
        let first = read_some(&mut source, stop).await.expect("reads");
        let position = first[stop - 1].position.clone();
        drop(source);
        let mut source = world.source(&[], &state, Some(&position)).await.expect("goes on");
        let rest = read_all(&mut source).await.expect("reads");
        let mut all: Vec<_> = first.iter().chain(&rest).map(key).collect();
        all.sort();
        assert_eq!(all, keys, "stopped after {stop}");
    }
}

#[tokio::test]
async fn without_saved_state_a_restart_repeats_the_window_and_loses_nothing() {
    let world = World::versioned().await;
    world.put("a", "1");
    let mut source = world.source(&[], &State::none(), None).await.expect("opens");
    read_all(&mut source).await.expect("reads");
    world.put("b", "1");
    let records = read_all(&mut source).await.expect("reads");
    drop(source);
    world.put("c", "1");
    let position = records[0].position.clone();
    let mut source = world.source(&[], &State::none(), Some(&position)).await.expect("goes on");
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create a 1", "create b 1", "create c 1"]);
}

#[tokio::test]
async fn objects_of_one_second_are_all_delivered_before_and_after_a_restart() {
    let clock = embedded::Clock::manual(SystemTime::now());
    let world = World::with(embedded::Options { clock, ..embedded::Options::default() }).await;
    let state = State::memory();
    world.put("a", "1");
    let mut source = world.source(&[], &state, None).await.expect("opens");
    let mut records = read_all(&mut source).await.expect("reads");
    for key in ["b", "c"] {
        world.put(key, "1");
        records.extend(read_all(&mut source).await.expect("reads"));
    }
    let position = records.last().expect("three records").position.clone();
    drop(source);
    world.put("d", "1");
    let mut source = world.source(&[], &state, Some(&position)).await.expect("goes on");
    records.extend(read_all(&mut source).await.expect("reads"));
    assert_eq!(records.iter().map(key).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn an_upload_that_outlasts_everything_is_delivered_when_it_lands() {
    let clock = embedded::Clock::manual(SystemTime::now());
    let world = World::with(embedded::Options { clock, part_size_min: 1, ..embedded::Options::default() }).await;
    world.server.store().set_versioning(BUCKET, Versioning::Enabled).expect("the bucket is there");
    world.put("a", "1");
    let store = world.server.store();
    let upload = store.begin_upload(BUCKET, "big", embedded::ObjectHeaders::default()).expect("begins");
    store.upload_part(BUCKET, "big", &upload, 1, "whole").expect("takes the part");
    let state = State::memory();
    let mut source = world.source(&[("lookback", "1s")], &state, None).await.expect("opens");
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["snapshot a 1"]);
    world.server.clock().advance(Duration::from_secs(3600));
    world.put("b", "1");
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["create b 1"]);
    world.server.clock().advance(Duration::from_secs(3600));
    drop(source);
    store.complete_upload(BUCKET, "big", &upload).expect("lands");
    let position = records[0].position.clone();
    let mut source = world.source(&[("lookback", "1s")], &state, Some(&position)).await.expect("goes on");
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create big whole"]);
}

#[tokio::test]
async fn an_object_that_is_deleted_or_overwritten_between_list_and_get_is_no_trouble() {
    let world = World::versioned_at(embedded::Clock::manual(SystemTime::now())).await;
    ["a", "b", "c"].iter().for_each(|key| world.put(key, "1"));
    let mut pause = world.server.pause(S3Operation::GetObject);
    let mut source = world.source(&[("concurrency", "1")], &State::memory(), None).await.expect("opens");
    let changes = async {
        let held = pause.arrived().await;
        world.delete("b");
        world.put("c", "2");
        held.release();
        drop(pause);
    };
    let (records, ()) = tokio::join!(read_all(&mut source), changes);
    // The snapshot passes over what is gone; the versions still tell that it was there.
    let expected = ["snapshot a 1", "snapshot c 2", "create b 1", "delete b -"];
    assert_eq!(summary(&records.expect("reads")), expected);
}

#[tokio::test]
async fn metadata_says_what_s3_says_and_user_metadata_cannot_pass_for_ours() {
    let world = World::versioned().await;
    let user = [("colour", "blue"), ("s3.etag", "forged"), ("opencdc.collection", "forged")];
    let headers = embedded::ObjectHeaders {
        content_type: Some("text/plain".to_owned()),
        metadata: user.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        ..embedded::ObjectHeaders::default()
    };
    let options = PutOptions { body: "hello".into(), headers, ..PutOptions::default() };
    world.server.store().put_with(BUCKET, "a", options).expect("stores");
    world.put("b", "no content type");
    let mut source = world.source(&[], &State::none(), None).await.expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    let of = |name: &str| records[0].metadata.get(name).map(String::as_str);
    assert_eq!(of("opencdc.collection"), Some(BUCKET));
    assert_eq!(of("s3.header.contentType"), Some("text/plain"));
    assert_eq!(of("s3.size"), Some("5"));
    assert_eq!(of("s3.etag"), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(of("colour"), Some("blue"));
    assert_eq!(of("s3.metadata.s3.etag"), Some("forged"));
    assert_eq!(of("s3.metadata.opencdc.collection"), Some("forged"));
    assert!(of("opencdc.readAt").is_some() && of("s3.lastModified").is_some() && of("s3.versionId").is_some());
    assert_eq!(records[1].metadata.get("s3.header.contentType"), None);
}

#[tokio::test]
async fn a_large_body_comes_whole_though_its_connection_breaks() {
    let world = World::new().await;
    let body: bytes::Bytes = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into();
    world.put("big", body.clone());
    let fault = embedded::Fault::Truncate { body_bytes: 5_000_000 };
    world.server.faults().add(embedded::Rule::new(S3Operation::GetObject, fault).times(1));
    let mut source = world.source(&[], &State::none(), None).await.expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert!(payload(&records[0]).expect("a body") == body, "resumed by range");
}

#[tokio::test]
async fn throttling_and_broken_connections_are_outlived() {
    let world = World::new().await;
    (0..20).for_each(|n| world.put(&format!("k{n:02}"), "1"));
    let faults = world.server.faults();
    let any = embedded::Filter::any;
    faults.add(embedded::Rule::new(any(), embedded::Fault::slow_down(None)).chance(0.2, 1));
    faults.add(embedded::Rule::new(any(), embedded::Fault::Reset(embedded::Reset::BeforeAct)).chance(0.1, 2));
    let mut source = world.source(&[], &State::none(), None).await.expect("opens");
    assert_eq!(read_all(&mut source).await.expect("reads").len(), 20);
}

#[tokio::test]
async fn acks_go_in_order_and_name_records_that_are_out() {
    let world = World::new().await;
    ["a", "b", "c"].iter().for_each(|key| world.put(key, "1"));
    let mut source = world.source(&[], &State::memory(), None).await.expect("opens");
    let records = read_some(&mut source, 3).await.expect("reads");
    source.ack(&records[1].position).await.expect("acks the first two");
    let error = source.ack(&records[0].position).await.expect_err("acked before");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    source.ack(&records[2].position).await.expect("acks the last one");
    source.teardown().await.expect("ends");
    let error = source.read(1, Duration::ZERO).await.expect_err("is over");
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_position_that_is_garbage_is_corrupt() {
    let world = World::new().await;
    for position in [&b"nothing"[..], b"a_", b"a_x1", b"\xff\xfe", b"a_s1~AQ"] {
        let Err(error) = world.source(&[], &State::memory(), Some(position)).await else {
            panic!("{position:?} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_bucket_is_said() {
    let world = World::new().await;
    let open = async |more: &[(&str, &str)]| {
        let state = State::none();
        let Err(error) = world.source(more, &state, None).await else { panic!("{more:?} opened") };
        (error.kind(), error.message().to_owned())
    };
    let (kind, message) = open(&[("aws.bucket", "missing")]).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(message.contains("bucket \"missing\" does not exist"), "{message}");
    assert!(message.contains(embedded::REGION_DEFAULT) && message.contains(&world.server.endpoint()), "{message}");
    let (kind, message) = open(&[("aws.secretAccessKey", "wrong")]).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.contains("refused the credentials") && message.contains("aws.accessKeyId"), "{message}");
    world.server.access().deny(S3Operation::ListObjectsV2);
    let (kind, message) = open(&[]).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.contains("ListObjectsV2"), "{message}");
}
