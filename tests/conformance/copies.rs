//! Cases of `format: raw`: objects become objects again, with their keys, types, metadata and bytes.

use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{Fault, Filter, ObjectHeaders, Reset, Rule, S3Operation};
use s3_connector::record::{Change, Metadata, Operation};
use s3_connector_host::{Ack, ErrorKind};
use s3_connector_tests::in_every_world;
use s3_connector_tests::samples::{raw, structured};
use s3_connector_tests::world::{
    AnyDestination, AnySource, Bucket, Env, Record, SavedState, WorldKind, acked, flush, key, payload, read_all,
};

in_every_world! {
    objects_come_back_with_their_keys_types_metadata_and_bytes,
    the_last_word_of_a_key_is_what_the_copy_shows,
    deletes_are_ignored_or_propagated,
    what_can_be_no_object_is_refused_in_its_place,
    passing_failures_of_a_copy_are_outlived,
    a_copy_that_the_store_refuses_acks_nothing_after_it,
    a_structured_payload_is_stored_as_its_text,
    bodies_that_break_off_store_nothing,
    large_objects_go_in_parts,
}

const RAW: [(&str, &str); 2] = [("format", "raw"), ("prefix", "out/")];

async fn open(bucket: &Bucket, more: &[(&str, &str)]) -> AnyDestination {
    bucket.destination(&[&RAW[..], more].concat()).await.expect("opens")
}

async fn store(destination: &mut AnyDestination, records: &[Record]) -> Vec<Ack> {
    let mut acks = destination.write(records).await.expect("takes them");
    let missing = records.len() - acks.len();
    acks.extend(flush(destination, missing).await.expect("stores"));
    acks
}

/// Moves as many records, all of whose acks must come.
async fn copy(source: &mut AnySource, destination: &mut AnyDestination, count: usize) {
    let (mut moved, mut acks) = (0, Vec::new());
    while moved < count {
        let (read, more) = destination.write_from(source, Duration::from_secs(1)).await.expect("takes them");
        moved += read;
        acks.extend(more);
    }
    let missing = count - acks.len();
    acks.extend(flush(destination, missing).await.expect("stores"));
    assert_eq!(acked(&acks).len(), count);
}

fn record(number: usize, operation: Operation, key: &str, after: &str) -> Record {
    let after = if operation == Operation::Delete { None } else { raw(after.to_owned()) };
    Record {
        position: Bytes::from(format!("p{number}")),
        operation,
        metadata: Metadata::new(),
        key: raw(key.to_owned()),
        payload: Change { before: None, after },
    }
}

/// What a reader sees of the objects below a prefix: key after it, metadata but for times, and bytes.
async fn seen(bucket: &Bucket, prefix: &str) -> Vec<(String, Metadata, Option<Bytes>)> {
    let mut source = bucket.start_with(&[("prefix", prefix)], &SavedState::none()).await;
    let records = read_all(&mut source).await.expect("reads");
    let mut seen: Vec<_> = records
        .iter()
        .map(|record| {
            let metadata = record.metadata.clone().into_iter();
            let lasting = metadata.filter(|(name, _)| !name.starts_with("opencdc.") && name != "s3.lastModified");
            (key(record)[prefix.len()..].to_owned(), lasting.collect(), payload(record))
        })
        .collect();
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    seen
}

async fn objects_come_back_with_their_keys_types_metadata_and_bytes(env: &Env) {
    let bucket = env.plain().await;
    let headers = ObjectHeaders {
        content_type: Some("text/plain; charset=utf-8".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("de, en".to_owned()),
        content_disposition: Some("attachment; filename=\"a b.txt\"".to_owned()),
        cache_control: Some("max-age=60".to_owned()),
        metadata: [("author", "zoe"), ("s3.own", "1"), ("empty", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..ObjectHeaders::default()
    };
    assert!(bucket.try_put("in/described", "x", headers).await);
    let large: Vec<u8> = (0..750_000_u32).flat_map(u32::to_le_bytes).collect();
    bucket.put("in/a b+c%d&e/é😀", "unicode").await;
    bucket.put("in/empty", "").await;
    bucket.put("in/large", large).await;
    bucket.put("in/middle", vec![7; 100_000]).await;
    let mut source = bucket.start_with(&[("prefix", "in/")], &SavedState::none()).await;
    let mut destination = open(&bucket, &[]).await;
    copy(&mut source, &mut destination, 5).await;
    let (before, after) = (seen(&bucket, "in/").await, seen(&bucket, "out/in/").await);
    assert_eq!(before.len(), 5);
    for (one, other) in before.iter().zip(&after) {
        assert_eq!((&one.0, &one.1), (&other.0, &other.1));
        assert!(one.2 == other.2, "the bytes of {}", one.0);
    }
    assert_eq!(after.len(), 5);
    assert_eq!(after[1].1["s3.header.contentType"], "text/plain; charset=utf-8");
    // The same again changes nothing.
    let mut source = bucket.start_with(&[("prefix", "in/")], &SavedState::none()).await;
    copy(&mut source, &mut destination, 5).await;
    assert!(seen(&bucket, "out/in/").await == before);
}

async fn the_last_word_of_a_key_is_what_the_copy_shows(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = open(&bucket, &[("deletes", "propagate")]).await;
    let mut records = Vec::new();
    for round in 0..30 {
        for key in ["a", "b", "c"] {
            let number = records.len();
            records.push(record(number, Operation::Update, key, &format!("{key}{round}")));
            if key == "c" || (key == "b" && round % 2 == 1) {
                records.push(record(number + 1, Operation::Delete, key, ""));
            }
        }
    }
    records.push(record(records.len(), Operation::Create, "b", "last"));
    let acks = store(&mut destination, &records).await;
    let positions: Vec<_> = records.iter().map(|record| record.position.clone()).collect();
    assert_eq!(acked(&acks), positions);
    let expected = [("out/a", "a29"), ("out/b", "last")];
    let objects: Vec<_> = bucket.objects().await;
    let found: Vec<_> =
        objects.iter().map(|(key, body)| (key.as_str(), std::str::from_utf8(body).expect("text"))).collect();
    assert_eq!(found, expected);
}

async fn deletes_are_ignored_or_propagated(env: &Env) {
    for (setting, left) in [("ignore", 2), ("propagate", 1)] {
        let bucket = env.plain().await;
        let mut destination = open(&bucket, &[("deletes", setting)]).await;
        let records = [
            record(0, Operation::Snapshot, "a", "1"),
            record(1, Operation::Snapshot, "b", "2"),
            record(2, Operation::Delete, "a", ""),
            record(3, Operation::Delete, "never there", ""),
        ];
        assert_eq!(acked(&store(&mut destination, &records).await).len(), 4);
        assert_eq!(bucket.keys().await.len(), left, "{setting}");
    }
    let bucket = env.plain().await;
    let settings = [("format", "json"), ("deletes", "propagate")];
    let Err(error) = bucket.destination(&settings).await else { panic!("lines can't be deleted") };
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

async fn what_can_be_no_object_is_refused_in_its_place(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = open(&bucket, &[]).await;
    let good = |number| record(number, Operation::Create, &format!("k{number}"), "x");
    let with_key = |number, key| Record { key, ..good(number) };
    let with = |number, name: &str, value: &str| Record {
        metadata: [(name.to_owned(), value.to_owned())].into(),
        ..good(number)
    };
    let records = [
        good(0),
        with_key(1, None),
        with_key(2, structured("{}")),
        with_key(3, raw("")),
        with_key(4, raw(&b"\xff"[..])),
        with_key(5, raw("a/../b")),
        with_key(6, raw("x".repeat(1021))),
        good(7),
        with(8, "not a token", "1"),
        with(9, "large", &"x".repeat(3000)),
        with(10, "opencdc.file.chunked", "true"),
        with(11, "s3.header.contentType", "text/\u{1}"),
        Record { payload: Change { before: None, after: None }, ..good(12) },
        good(13),
    ];
    let acks = store(&mut destination, &records).await;
    let refused: Vec<_> = acks.iter().enumerate().filter(|(_, ack)| ack.error.is_some()).map(|(n, _)| n).collect();
    assert_eq!(refused, [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]);
    assert!(acks.iter().filter_map(|ack| ack.error.as_ref()).all(|error| error.kind() == ErrorKind::Invalid));
    assert_eq!(bucket.keys().await, ["out/k0", "out/k13", "out/k7"]);
}

async fn passing_failures_of_a_copy_are_outlived(env: &Env) {
    let bucket = env.plain().await;
    for n in 0..20 {
        bucket.put(&format!("in/{n:02}"), vec![n; if n % 2 == 0 { 10 } else { 100_000 }]).await;
    }
    let faults = bucket.wire().faults();
    let mut rules = Vec::new();
    if env.kind() == WorldKind::Native {
        // What was read from a stream can't be sent again here, as it can in the host.
        let small = Rule::new(S3Operation::PutObject, Fault::slow_down(None));
        rules.push(faults.add(small.times(1)));
    } else {
        rules.push(faults.add(Rule::new(S3Operation::PutObject, Fault::slow_down(None)).times(5)));
        rules.push(faults.add(Rule::new(S3Operation::PutObject, Fault::Reset(Reset::BeforeAct)).skip(3).times(3)));
        rules.push(faults.add(Rule::new(S3Operation::PutObject, Fault::internal_error()).acting().skip(9).times(2)));
    }
    let mut source = bucket.start_with(&[("prefix", "in/")], &SavedState::none()).await;
    let mut destination = open(&bucket, &[]).await;
    copy(&mut source, &mut destination, 20).await;
    assert!(rules.into_iter().all(|rule| faults.fired(rule) > 0));
    assert!(seen(&bucket, "in/").await == seen(&bucket, "out/in/").await);
}

async fn a_copy_that_the_store_refuses_acks_nothing_after_it(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = open(&bucket, &[]).await;
    let records: Vec<_> = (0..5).map(|n| record(n, Operation::Create, &format!("k{n}"), "x")).collect();
    let denied = Rule::new(Filter::from(S3Operation::PutObject).key("out/k2"), Fault::access_denied());
    let _ = bucket.wire().faults().add(denied);
    let mut acks = destination.write(&records).await.unwrap_or_default();
    let error = loop {
        match destination.flush(Duration::from_secs(5)).await {
            Ok(more) => acks.extend(more),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert_eq!(acked(&acks), ["p0", "p1"]);
}

async fn a_structured_payload_is_stored_as_its_text(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = open(&bucket, &[]).await;
    let mut one = record(0, Operation::Create, "k", "");
    one.payload.after = structured("{\"a\": [1.50, null]}");
    assert_eq!(acked(&store(&mut destination, &[one]).await).len(), 1);
    let found = seen(&bucket, "out/").await.remove(0);
    assert_eq!(found.2, Some(Bytes::from_static(b"{\"a\": [1.50, null]}")));
    assert_eq!(found.1["s3.header.contentType"], "application/json");
}

async fn bodies_that_break_off_store_nothing(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("in/large", vec![1; 3 << 20]).await;
    bucket.put("in/small", "x").await;
    // More often than the host resumes it.
    let broken = Rule::new(Filter::from(S3Operation::GetObject).key("in/large"), Fault::Truncate { body_bytes: 1000 });
    let _ = bucket.wire().faults().add(broken);
    let mut source = bucket.start_with(&[("prefix", "in/")], &SavedState::none()).await;
    let mut destination = open(&bucket, &[]).await;
    let (mut moved, mut acks) = (0, Vec::new());
    while moved < 2 {
        let (read, more) = destination.write_from(&mut source, Duration::from_secs(1)).await.expect("takes them");
        moved += read;
        acks.extend(more);
    }
    let missing = 2 - acks.len();
    acks.extend(flush(&mut destination, missing).await.expect("stores"));
    let error = acks[0].error.as_ref().expect("it broke off");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(acks[1].error, None);
    let keys = bucket.keys().await;
    assert!(keys.contains(&"out/in/small".to_owned()) && !keys.contains(&"out/in/large".to_owned()), "{keys:?}");
}

async fn large_objects_go_in_parts(env: &Env) {
    let bucket = env.plain().await;
    let body: Vec<u8> = (0..10_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let headers = ObjectHeaders {
        content_type: Some("video/mp4".to_owned()),
        metadata: [("author".to_owned(), "zoe".to_owned())].into(),
        ..ObjectHeaders::default()
    };
    assert!(bucket.try_put("in/large", body.clone(), headers).await);
    if env.kind() != WorldKind::Native {
        let faults = bucket.wire().faults();
        faults.add(Rule::new(S3Operation::UploadPart, Fault::slow_down(None)).times(3));
        faults.add(Rule::new(S3Operation::UploadPart, Fault::Reset(Reset::AfterAct)).skip(4).times(2));
    }
    let mut source = bucket.start_with(&[("prefix", "in/")], &SavedState::none()).await;
    let mut destination = open(&bucket, &[]).await;
    copy(&mut source, &mut destination, 1).await;
    let (_, metadata, bytes) = seen(&bucket, "out/").await.remove(0);
    assert_eq!((&*metadata["s3.header.contentType"], &*metadata["author"]), ("video/mp4", "zoe"));
    assert!(bytes.as_deref() == Some(&*body));
}
