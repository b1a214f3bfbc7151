//! Owns what the contract promises to every host, and what it asks of one: streams that live long, small reads, payloads in
//! memory, state that is kept or not. Leaves how that is done to `host`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use embedded_s3::{EmbeddedS3, Options, Versioning};
use wasmtime::component::{Resource, ResourceAny};
use wasmtime_wasi::p2::DynInputStream;

use super::host::{Batch, Change, Data, ErrorKind, Host, Kept, Operation, Record, kept};

const BUCKET: &str = "plain";

/// Bytes of a body that comes by stream, unless a setting says otherwise.
const LARGE: usize = 100_000;

/// How long a test waits for what must come. The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

async fn server() -> EmbeddedS3 {
    let server = EmbeddedS3::start(Options::default()).await.expect("a port is free");
    server.store().create_bucket(BUCKET).expect("the store is new");
    server.store().set_versioning(BUCKET, Versioning::Enabled).expect("the bucket is there");
    server
}

/// A server with objects of these sizes, `k0` and on.
async fn server_with(sizes: &[usize]) -> EmbeddedS3 {
    let server = server().await;
    for (number, size) in sizes.iter().enumerate() {
        put(&server, &format!("k{number}"), body(number, *size));
    }
    server
}

fn put(server: &EmbeddedS3, key: &str, body: impl Into<Bytes>) {
    server.store().put(BUCKET, key, body).expect("the store takes it");
}

/// Bytes that only this object has.
fn body(number: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at + number) as u8).collect()
}

async fn source(host: &mut Host, server: &EmbeddedS3, more: &[(&str, &str)], position: Option<Vec<u8>>) -> ResourceAny {
    let endpoint = server.endpoint();
    let quick = [&base(&endpoint)[..], &[("pollingPeriod", "10ms")], more].concat();
    host.opened(&quick, position).await
}

fn base(endpoint: &str) -> [(&'static str, &str); 5] {
    [
        ("aws.accessKeyId", embedded_s3::ACCESS_KEY),
        ("aws.secretAccessKey", embedded_s3::SECRET_KEY),
        ("aws.region", embedded_s3::REGION_DEFAULT),
        ("aws.bucket", BUCKET),
        ("aws.endpoint", endpoint),
    ]
}

/// Reads this many records.
async fn read(host: &mut Host, source: ResourceAny, count: usize) -> Vec<Record> {
    let (mut records, start) = (Vec::new(), Instant::now());
    while records.len() < count {
        assert!(start.elapsed() < PATIENCE, "{} of {count} records came in time", records.len());
        records.extend(host.read(source, u64::MAX).await.expect("no trap").expect("reads"));
    }
    records
}

/// What comes until two more polls found nothing; all of it is acked.
async fn read_all(host: &mut Host, source: ResourceAny) -> Vec<Record> {
    let polls = polls(host, source).await + 2;
    let (mut all, start) = (Vec::new(), Instant::now());
    loop {
        assert!(start.elapsed() < PATIENCE, "the source never caught up");
        let records = host.read(source, u64::MAX).await.expect("no trap").expect("reads");
        if let Some(last) = records.last() {
            let position = last.position.clone();
            all.extend(records);
            host.ack(source, &position).await.expect("no trap").expect("acks");
        } else if host.progress(source).await.caught_up && self::polls(host, source).await >= polls {
            return all;
        }
    }
}

async fn polls(host: &mut Host, source: ResourceAny) -> u64 {
    let counters = host.progress(source).await.counters;
    counters.iter().find(|(name, _)| name == "polls").expect("polls are counted").1
}

/// The stream of a record.
fn stream(record: Record) -> Resource<DynInputStream> {
    match record.payload.after {
        Some(Data::Body(body)) => body.bytes,
        other => panic!("it comes by stream: {other:?}"),
    }
}

fn key(record: &Record) -> String {
    match &record.key {
        Some(Data::Raw(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("keys are raw: {other:?}"),
    }
}

#[tokio::test]
async fn streams_may_be_read_late_and_in_any_order_as_long_as_they_are_dropped_before_the_ack() {
    let server = server_with(&[LARGE; 4]).await;
    let mut host = Host::new(kept()).await;
    let source = source(&mut host, &server, &[], None).await;
    let records = read(&mut host, source, 4).await;
    let last = records.last().expect("four").position.clone();
    // Nothing is due, and streams that nobody has touched stand a while.
    assert!(host.read(source, u64::MAX).await.expect("no trap").expect("reads").is_empty());
    for (number, record) in records.into_iter().enumerate().rev() {
        let stream = stream(record);
        // One of them is dropped unread.
        if number != 2 {
            assert!(host.drain(&stream).await == body(number, LARGE), "the bytes of k{number}");
        }
        host.release(stream);
    }
    host.ack(source, &last).await.expect("no trap").expect("acks");
    put(&server, "more", "more");
    let more = read(&mut host, source, 1).await;
    assert_eq!(key(&more[0]), "more");
    host.forget(source).await.expect("nothing of it lives");
}

/// A host that acks first and drops right after it breaks the rule, and gets away with it: the component lets go in
/// the next call. Nobody should count on it.
#[tokio::test]
async fn a_stream_that_is_dropped_right_after_its_ack_does_no_harm() {
    let server = server_with(&[LARGE; 2]).await;
    let mut host = Host::new(kept()).await;
    let source = source(&mut host, &server, &[], None).await;
    for record in read(&mut host, source, 2).await {
        let position = record.position.clone();
        let stream = stream(record);
        host.drain(&stream).await;
        host.ack(source, &position).await.expect("no trap").expect("acks");
        host.release(stream);
    }
    assert!(host.read(source, u64::MAX).await.expect("no trap").expect("reads").is_empty());
}

/// Reading to the end is not enough. This is what happens to a host that does not drop.
#[tokio::test]
async fn a_stream_that_outlives_its_ack_ends_the_instance() {
    let server = server_with(&[LARGE]).await;
    let mut host = Host::new(kept()).await;
    let source = source(&mut host, &server, &[], None).await;
    let record = read(&mut host, source, 1).await.remove(0);
    let position = record.position.clone();
    let stream = stream(record);
    host.drain(&stream).await;
    host.ack(source, &position).await.expect("no trap yet").expect("acks");
    let trap = host.read(source, u64::MAX).await.expect_err("the response can't go while its stream lives");
    assert!(format!("{trap:#}").contains("children"), "{trap:#}");
}

#[tokio::test]
async fn a_source_that_is_dropped_before_its_streams_ends_the_instance_but_teardown_does_not() {
    let server = server_with(&[LARGE]).await;
    let mut host = Host::new(kept()).await;
    let gone = source(&mut host, &server, &[], None).await;
    let stream_of_gone = stream(read(&mut host, gone, 1).await.remove(0));
    host.teardown(gone).await.expect("no trap").expect("ends");
    host.teardown(gone).await.expect("no trap").expect("ends again");
    host.release(stream_of_gone);
    host.forget(gone).await.expect("its streams went before it");
    // Sources of one instance follow each other.
    let source = source(&mut host, &server, &[], None).await;
    let _lives = read(&mut host, source, 1).await;
    let trap = host.forget(source).await.expect_err("a stream of it lives");
    assert!(format!("{trap:#}").contains("children"), "{trap:#}");
}

fn bytes(record: &Record) -> u64 {
    let data = [&record.key, &record.payload.before, &record.payload.after].into_iter().flatten();
    let data = data.map(|data| match data {
        Data::Raw(bytes) => bytes.len(),
        Data::Structured(text) => text.len(),
        Data::Body(_) => 0,
    });
    let metadata = record.metadata.iter().map(|(name, value)| name.len() + value.len());
    (record.position.len() + metadata.sum::<usize>() + data.sum::<usize>()) as u64
}

#[tokio::test]
async fn a_read_hands_over_no_more_bytes_than_asked_for_and_at_least_one_record() {
    let server = server_with(&[3000; 30]).await;
    for bytes_max in [0, 1, 10_000, 40_000] {
        let mut host = Host::new(None).await;
        let source = source(&mut host, &server, &[], None).await;
        let (mut count, start) = (0, Instant::now());
        while count < 30 {
            assert!(start.elapsed() < PATIENCE, "only {count} came in time");
            let records = host.read(source, bytes_max).await.expect("no trap").expect("reads");
            let sum: u64 = records.iter().map(bytes).sum();
            assert!(records.len() <= 1 || sum <= bytes_max, "{} records of {sum} bytes: {bytes_max}", records.len());
            count += records.len();
        }
        assert_eq!(count, 30);
    }
}

/// What a host needs that can't read streams.
#[tokio::test]
async fn payloads_come_in_memory_where_the_setting_says_so() {
    let server = server_with(&[LARGE, 10, 1 << 20]).await;
    let mut host = Host::new(None).await;
    let source = source(&mut host, &server, &[("payload", "raw")], None).await;
    for (number, record) in read(&mut host, source, 3).await.into_iter().enumerate() {
        let size = [LARGE, 10, 1 << 20][number];
        match record.payload.after {
            Some(Data::Raw(bytes)) => assert!(bytes == body(number, size), "k{number}"),
            other => panic!("it is in memory: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_restart_goes_on_with_state_and_without() {
    let server = server_with(&[10, 10]).await;
    let state = kept();
    let mut host = Host::new(state.clone()).await;
    let first = source(&mut host, &server, &[], None).await;
    let records = read_all(&mut host, first).await;
    assert_eq!(records.iter().map(key).collect::<Vec<_>>(), ["k0", "k1"]);
    put(&server, "k0", "changed");
    server.store().delete(BUCKET, "k1").expect("the store deletes it");
    let records = read_all(&mut host, first).await;
    let seen: Vec<_> = records.iter().map(|record| (record.operation, key(record))).collect();
    assert_eq!(seen, [(Operation::Update, "k0".to_owned()), (Operation::Delete, "k1".to_owned())]);
    let position = records[1].position.clone();

    let resume = async |state: Kept| {
        let mut host = Host::new(state).await;
        let source = source(&mut host, &server, &[], Some(position.clone())).await;
        let again = read_all(&mut host, source).await;
        (again.iter().map(key).collect::<Vec<_>>(), host.logged("skipped").len())
    };
    assert_eq!(resume(state.clone()).await, (Vec::new(), 0), "nothing comes twice where state is kept");
    put(&server, "k2", "new");
    assert!(resume(None).await.0.contains(&"k2".to_owned()), "nothing is lost where it is not");
    assert_eq!(resume(state).await.0, ["k2"]);
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let server = server_with(&[1]).await;
    let endpoint = server.endpoint();
    let mut host = Host::new(None).await;
    let unknown = [&base(&endpoint)[..], &[("pollingPeriot", "1s")]].concat();
    let error = host.source(&unknown).await.expect("no trap").expect_err("a setting is unknown");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("pollingPeriod"), "{}", error.message);
    let mut elsewhere = base(&endpoint);
    elsewhere[3].1 = "no-such-bucket";
    let source = host.source(&elsewhere).await.expect("no trap").expect("configures");
    assert_eq!(host.open(source).await.expect("no trap").expect_err("no bucket").kind, ErrorKind::Invalid);
    let mut stranger = base(&endpoint);
    stranger[1].1 = "another";
    let source = host.source(&stranger).await.expect("no trap").expect("configures");
    assert_eq!(host.open(source).await.expect("no trap").expect_err("another key").kind, ErrorKind::Denied);
    host.teardown(source).await.expect("no trap").expect("ends");
    let error = host.read(source, 1).await.expect("no trap").expect_err("it was torn down");
    assert_eq!(error.kind, ErrorKind::Closed);
}

fn record(number: usize) -> Record {
    Record {
        position: format!("p{number}").into(),
        operation: Operation::Create,
        metadata: vec![("opencdc.collection".to_owned(), "numbers".to_owned())],
        common: None,
        key: Some(Data::Raw(format!("key {number}").into())),
        payload: Change { before: None, after: Some(Data::Raw(format!("payload {number}").into())) },
    }
}

#[tokio::test]
async fn a_destination_stores_what_it_acks_and_acks_in_order() {
    let server = server().await;
    let endpoint = server.endpoint();
    for format in ["json", "parquet"] {
        let mut host = Host::new(None).await;
        let settings = [&base(&endpoint)[..], &[("format", format), ("prefix", format), ("bufferSize", "64")]].concat();
        let destination = host.destination(&settings).await;
        let batch = Batch { records: (0..150).map(record).collect(), common: Vec::new() };
        let mut acks = host.write(destination, &batch).await.expect("no trap").expect("writes");
        let records = batch.records;
        let start = Instant::now();
        while acks.len() < records.len() {
            assert!(start.elapsed() < PATIENCE, "{} acks came in time", acks.len());
            acks.extend(host.flush(destination).await);
        }
        assert!(acks.iter().all(|ack| ack.error.is_none()));
        assert!(acks.iter().map(|ack| &ack.position).eq(records.iter().map(|record| &record.position)));
        let keys = server.store().list(BUCKET, format).expect("it can be listed");
        assert_eq!(keys.len(), 3, "64, 64 and 22");
        let objects: Vec<_> =
            keys.iter().map(|key| server.store().get(BUCKET, key).expect("it is there").body).collect();
        match format {
            "json" => {
                let lines = objects.iter().map(|object| object.split(|byte| *byte == b'\n').count() - 1);
                assert_eq!(lines.sum::<usize>(), 150);
            }
            _ => assert!(objects.iter().all(|object| object.starts_with(b"PAR1") && object.ends_with(b"PAR1"))),
        }
        host.forget(destination).await.expect("nothing of it lives");
    }
}

/// Rows of an object share what is known of it, from the source to the destination.
#[tokio::test]
async fn what_records_have_in_common_crosses_once() {
    let server = server_with(&[]).await;
    put(&server, "k0", "one\ntwo\nthree\n");
    let endpoint = server.endpoint();
    let mut host = Host::new(None).await;
    let source = source(&mut host, &server, &[("decode", "lines")], None).await;
    let start = Instant::now();
    let mut batch = Batch { records: Vec::new(), common: Vec::new() };
    while batch.records.is_empty() {
        assert!(start.elapsed() < PATIENCE, "rows came in time");
        batch = host.read_batch(source, u64::MAX).await.expect("no trap").expect("reads");
    }
    assert_eq!((batch.records.len(), batch.common.len()), (3, 1));
    let value = |metadata: &[(String, String)], name| {
        metadata.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    };
    assert_eq!(value(&batch.common[0], "opencdc.collection"), Some(BUCKET.to_owned()));
    assert_eq!(value(&batch.common[0], "s3.row"), None);
    let rows = batch.records.iter().map(|record| value(&record.metadata, "s3.row").expect("each row has its number"));
    assert_eq!(rows.collect::<Vec<_>>(), ["1", "2", "3"]);
    assert!(batch.records.iter().all(|record| record.common == Some(0)));

    let settings = [&base(&endpoint)[..], &[("format", "json"), ("prefix", "json"), ("bufferSize", "3")]].concat();
    let destination = host.destination(&settings).await;
    let lost = Batch { records: vec![Record { common: Some(1), ..record(0) }], common: batch.common.clone() };
    let error = host.write(destination, &lost).await.expect("no trap").expect_err("there is one set of metadata");
    assert_eq!((error.kind, &*error.message), (ErrorKind::Invalid, "a record's `common` is 1, which its batch lacks"));
    batch.common[0].push(("s3.row".to_owned(), "4".to_owned()));
    let mut acks = host.write(destination, &batch).await.expect("no trap").expect("writes");
    while acks.len() < 3 {
        assert!(start.elapsed() < PATIENCE, "{} acks came in time", acks.len());
        acks.extend(host.flush(destination).await);
    }
    let keys = server.store().list(BUCKET, "json").expect("it can be listed");
    let object = server.store().get(BUCKET, &keys[0]).expect("it is there").body;
    let lines = object.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let stored: Vec<serde_json::Value> = lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect();
    assert_eq!(stored.len(), 3);
    for (number, line) in stored.iter().enumerate() {
        assert_eq!(line["metadata"]["opencdc.collection"], BUCKET);
        assert_eq!(line["metadata"]["s3.row"], (number + 1).to_string(), "its own holds over the common one");
    }
}

#[tokio::test]
async fn a_setting_that_a_label_names_says_that_nothing_is_signed() {
    let server = server_with(&[1]).await;
    server.access().open_to_everybody();
    let endpoint = server.endpoint();
    let settings = [&base(&endpoint)[2..], &[("aws.anonymous", "true")]].concat();
    let mut host = Host::new(None).await;
    let source = host.opened(&settings, None).await;
    assert_eq!(read(&mut host, source, 1).await.len(), 1);
    assert!(server.requests().iter().all(|request| request.access_key.is_none()));
}

/// Only a host that breaks its own part makes it panic. Even then it says why, without a stderr.
#[tokio::test]
async fn a_panic_is_logged_before_the_trap() {
    let server = server_with(&[1]).await;
    let endpoint = server.endpoint();
    let mut host = Host::with_broken_poll().await;
    let source = host.source(&base(&endpoint)).await.expect("no trap").expect("configures");
    host.open(source).await.expect_err("it traps");
    let lines = host.logged("panic");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("panicked at guest/src/wasi.rs:"), "{lines:?}");
    assert!(!lines[0].contains('\n'));
}
