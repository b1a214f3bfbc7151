//! Cases of when a destination answers: never before a record's object is stored, always in the order of
//! records, whatever becomes of the uploads.

use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{Fault, Rule, S3Operation};
use s3_connector::record::{Change, Operation, json};
use s3_connector_host::{ErrorKind, Result};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{AnyDestination, Bucket, Data, Env, Record, acked, flush};

in_every_world! {
    every_ack_is_of_a_record_that_is_stored,
    an_ack_waits_for_its_object,
    acks_are_in_order_whichever_upload_ends_first,
    an_outage_acks_nothing_and_loses_nothing,
    an_error_in_an_answer_of_200_is_one,
    a_lost_race_against_ourselves_is_won,
}

/// A moment in which nothing is expected to come.
const MOMENT: Duration = Duration::from_millis(50);

/// One object for each batch of this many records.
fn settings(records_max: &str) -> [(&str, &str); 2] {
    [("format", "json"), ("bufferSize", records_max)]
}

fn numbered(count: usize) -> Vec<Record> {
    let record = |n: usize| Record {
        position: Bytes::from(format!("p{n:03}")),
        operation: Operation::Create,
        metadata: [].into(),
        key: Some(Data::Raw(Bytes::from(format!("k{n:03}")))),
        payload: Change { before: None, after: Some(Data::Raw(Bytes::from(format!("body {n}")))) },
    };
    (0..count).map(record).collect()
}

fn positions(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.position.clone()).collect()
}

/// The positions of all records that are stored, in their order.
async fn stored(bucket: &Bucket) -> Vec<Bytes> {
    let mut stored = Vec::new();
    for (_, body) in bucket.objects().await {
        let lines = body.split_inclusive(|byte| *byte == b'\n');
        let records = lines.map(|line| json::decode_line(line).expect("reads back"));
        stored.extend(records.map(|record: Record| record.position));
    }
    stored.sort();
    stored
}

/// Writes, and flushes until every record is answered.
async fn send(destination: &mut AnyDestination, records: &[Record]) -> Result<Vec<Bytes>> {
    let mut acks = destination.write(records).await?;
    let missing = records.len() - acks.len();
    acks.extend(flush(destination, missing).await?);
    Ok(acked(&acks))
}

async fn every_ack_is_of_a_record_that_is_stored(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&settings("3")).await.expect("opens");
    let records = numbered(20);
    let mut answered = Vec::new();
    for record in &records {
        let acks = destination.write(std::slice::from_ref(record)).await;
        let acks = acked(&acks.expect("takes it"));
        if !acks.is_empty() {
            answered.extend(acks);
            let stored = stored(&bucket).await;
            let early = answered.iter().find(|position| !stored.contains(position));
            assert_eq!(early, None, "is acked and not stored");
        }
    }
    let missing = records.len() - answered.len();
    let acks = flush(&mut destination, missing).await.expect("stores");
    answered.extend(acked(&acks));
    assert_eq!(answered, positions(&records));
    assert_eq!(stored(&bucket).await, positions(&records));
}

async fn an_ack_waits_for_its_object(env: &Env) {
    let bucket = env.plain().await;
    let mut pause = bucket.wire().pause(S3Operation::PutObject);
    let mut destination = bucket.destination(&settings("2")).await.expect("opens");
    let records = numbered(2);
    let early = destination.write(&records).await.expect("takes them");
    assert!(early.is_empty(), "{early:?}");
    let early = destination.flush(MOMENT).await.expect("waits");
    assert!(early.is_empty(), "{early:?}");
    let held = pause.arrived().await;
    assert!(bucket.keys().await.is_empty());
    let early = destination.flush(MOMENT).await.expect("waits");
    assert!(early.is_empty(), "{early:?}");
    held.release();
    let acks = flush(&mut destination, 2).await.expect("stores");
    assert_eq!(acked(&acks), positions(&records));
    assert_eq!(stored(&bucket).await, positions(&records));
}

async fn acks_are_in_order_whichever_upload_ends_first(env: &Env) {
    let records = numbered(3);
    // What the first record's object is called.
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&settings("1")).await.expect("opens");
    send(&mut destination, &records[..1]).await.expect("stores");
    let first = bucket.keys().await.remove(0);
    let bucket = env.plain().await;
    let mut pause = bucket.wire().pause(S3Operation::PutObject);
    let mut destination = bucket.destination(&settings("1")).await.expect("opens");
    let early = destination.write(&records).await.expect("takes them");
    assert!(early.is_empty(), "{early:?}");
    let early = destination.flush(MOMENT).await.expect("waits");
    assert!(early.is_empty(), "{early:?}");
    let mut last = None;
    for _ in &records {
        let held = pause.arrived().await;
        if held.seen().key.as_ref() == Some(&first) {
            last = Some(held);
        } else {
            held.release();
        }
    }
    while bucket.keys().await.len() < 2 {
        let early = destination.flush(MOMENT).await.expect("waits");
        assert!(early.is_empty(), "{early:?}");
    }
    let early = destination.flush(MOMENT).await.expect("waits");
    assert!(early.is_empty(), "the first is not stored: {early:?}");
    last.expect("it was among them").release();
    let acks = flush(&mut destination, 3).await.expect("stores");
    assert_eq!(acked(&acks), positions(&records));
}

async fn an_outage_acks_nothing_and_loses_nothing(env: &Env) {
    let bucket = env.plain().await;
    // Asked to come back at once, so that patience ends soon.
    let outage = Fault::slow_down(Some(0));
    let faults = bucket.wire().faults();
    faults.add(Rule::new(S3Operation::PutObject, outage).skip(1));
    let mut destination = bucket.destination(&settings("2")).await.expect("opens");
    let records = numbered(6);
    let mut answered = Vec::new();
    let mut outcome = destination.write(&records).await;
    let error = loop {
        match outcome {
            Ok(acks) => answered.extend(acked(&acks)),
            Err(error) => break error,
        }
        outcome = destination.flush(Duration::from_secs(10)).await;
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("SlowDown"), "{error}");
    // Whichever upload came first, the answers end before the first that failed.
    assert_eq!(answered, positions(&records)[..answered.len()]);
    assert!(answered.len() <= 2, "{answered:?}");
    faults.clear();
    let mut destination = bucket.destination(&settings("2")).await.expect("opens");
    let again = &records[answered.len()..];
    let acks = send(&mut destination, again).await.expect("stores");
    assert_eq!(acks, positions(again));
    assert_eq!(stored(&bucket).await, positions(&records), "each once");
}

async fn an_error_in_an_answer_of_200_is_one(env: &Env) {
    let bucket = env.plain().await;
    let fault = Fault::error_in_ok("AccessDenied", "Access Denied");
    bucket.wire().faults().add(Rule::new(S3Operation::PutObject, fault));
    let mut destination = bucket.destination(&settings("1")).await.expect("opens");
    let outcome = send(&mut destination, &numbered(1)).await;
    let error = outcome.expect_err("was refused");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(bucket.keys().await.is_empty());
}

async fn a_lost_race_against_ourselves_is_won(env: &Env) {
    // A store may say in a 200 that the condition does not hold, and it is our own object that is in the way.
    let precondition = || Fault::error_in_ok("PreconditionFailed", "It did not hold.");
    for fault in [precondition(), Fault::conflict()] {
        let bucket = env.versioned().await;
        let rule = Rule::new(S3Operation::PutObject, fault.clone());
        bucket.wire().faults().add(rule.times(1).acting());
        let mut destination = bucket.destination(&settings("2")).await.expect("opens");
        let records = numbered(2);
        let acks = send(&mut destination, &records).await.expect("stores");
        assert_eq!(acks, positions(&records), "{fault:?}");
        assert_eq!(stored(&bucket).await, positions(&records), "{fault:?}");
        assert_eq!(bucket.versions().await.len(), 1, "{fault:?}");
    }
}
