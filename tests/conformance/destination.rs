//! Cases of the destination: batches, formats, acks, and what may go wrong with an upload.

use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{Checksums, ConditionalWrites, Fault, ObjectHeaders, Reset, Rule, S3Operation};
use s3_connector::config;
use s3_connector::record::{Change, Operation, json};
use s3_connector_host::{Ack, ErrorKind};
use s3_connector_tests::in_every_world;
use s3_connector_tests::parquet;
use s3_connector_tests::samples::{raw, samples};
use s3_connector_tests::world::{
    AnyDestination, Bucket, Conditions, Data, Env, Record, SavedState, WorldKind, acked, flush,
};

use crate::refusals::{SHARED, cover};

in_every_world! {
    both_formats_read_back_to_the_records_that_went_in,
    batches_are_cut_by_count_and_acked_in_order,
    batches_are_cut_by_bytes,
    age_sends_a_batch_that_does_not_fill,
    a_flush_sends_what_is_left_and_then_nothing,
    a_teardown_without_a_flush_stores_nothing,
    a_prefix_leads_every_name_as_it_is,
    the_same_records_make_no_second_object,
    other_records_make_another_object,
    a_strangers_object_under_our_name_is_not_overwritten,
    an_answer_that_is_lost_makes_no_second_object,
    passing_failures_of_an_upload_are_outlived,
    a_store_without_conditional_writes_is_written_to,
    a_store_that_wants_a_checksum_gets_one
        except(Native, "checksums are the host's")
        except(Real, "a bucket with Object Lock can't be emptied again"),
    a_store_that_refuses_checksums_is_written_to_without
        except(Native, "checksums are the host's")
        except(Real, "how a real store takes checksums can't be changed"),
    the_same_line_without_a_position_is_stored_on_another_day,
    what_the_settings_permit_as_json_fits_into_the_sandbox_on_a_slow_store
        except(Native, "the sandbox is the host's; the core's own case counts bytes")
        except(Real, "it would move a gigabyte to a store that may not be near"),
    what_the_settings_permit_as_parquet_fits_into_the_sandbox_on_a_slow_store
        except(Native, "the sandbox is the host's; the core's own case counts bytes")
        except(Real, "it would move a gigabyte to a store that may not be near"),
    a_refused_upload_acks_nothing_of_its_batch_and_after_it,
    a_record_that_no_object_can_hold_is_refused_in_its_place,
    a_versioned_bucket_gets_one_version_of_each_object,
    what_is_wrong_with_the_bucket_is_said_when_opening,
    each_setting_that_is_missing_or_malformed_is_named,
    calls_out_of_order_are_refused,
    bodies_of_a_source_go_to_a_destination_by_handle,
    large_records_come_through,
}

const JSON: (&str, &str) = ("format", "json");

fn numbered(count: usize) -> Vec<Record> {
    let record = |n: usize| Record {
        position: Bytes::from(format!("p{n:03}")),
        operation: Operation::Create,
        metadata: [("n".to_owned(), n.to_string())].into(),
        key: raw(format!("k{n:03}")),
        payload: Change { before: None, after: raw(vec![b'x'; 100]) },
    };
    (0..count).map(record).collect()
}

fn positions(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.position.clone()).collect()
}

fn read(key: &str, body: &Bytes) -> Vec<Record> {
    if key.ends_with(".parquet") {
        return parquet::read(body).expect("reads back");
    }
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| json::decode_line(line).expect("reads back")).collect()
}

/// All records in the bucket, object by object, with the names of the objects.
async fn stored(bucket: &Bucket) -> Vec<(String, Vec<Record>)> {
    let objects = bucket.objects().await.into_iter();
    let objects = objects.filter(|(key, _)| key.ends_with(".json") || key.ends_with(".parquet"));
    objects.map(|(key, body)| (key.clone(), read(&key, &body))).collect()
}

/// Writes, flushes, and returns all acks.
async fn store(destination: &mut AnyDestination, records: &[Record]) -> Vec<Ack> {
    let mut acks = destination.write(records).await.expect("takes them");
    let missing = records.len() - acks.len();
    acks.extend(flush(destination, missing).await.expect("stores"));
    acks
}

async fn both_formats_read_back_to_the_records_that_went_in(env: &Env) {
    for format in ["json", "parquet"] {
        let bucket = env.plain().await;
        let settings = [("format", format), ("prefix", "out-")];
        let mut destination = bucket.destination(&settings).await.expect("opens");
        let records = samples();
        assert!(destination.write(&records).await.expect("takes them").is_empty(), "nothing is stored yet");
        let acks = flush(&mut destination, records.len()).await.expect("stores");
        assert_eq!(acked(&acks), positions(&records));
        let stored = stored(&bucket).await;
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].1, records, "{format}");
    }
}

async fn batches_are_cut_by_count_and_acked_in_order(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&[JSON, ("bufferSize", "2")]).await.expect("opens");
    let records = samples();
    let mut acks = Vec::new();
    for record in &records {
        acks.extend(destination.write(std::slice::from_ref(record)).await.expect("takes it"));
    }
    let missing = records.len() - acks.len();
    acks.extend(flush(&mut destination, missing).await.expect("stores"));
    assert_eq!(acked(&acks), positions(&records));
    let mut sizes: Vec<_> = stored(&bucket).await.iter().map(|(_, records)| records.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2, 2]);
}

async fn batches_are_cut_by_bytes(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&[JSON, ("bufferBytes", "1KiB")]).await.expect("opens");
    let records = numbered(40);
    let acks = store(&mut destination, &records).await;
    assert_eq!(acked(&acks), positions(&records));
    let stored = stored(&bucket).await;
    assert!((4..=8).contains(&stored.len()), "{} objects", stored.len());
    let mut all: Vec<_> = stored.into_iter().flat_map(|(_, records)| records).collect();
    all.sort_by(|a, b| a.position.cmp(&b.position));
    assert_eq!(all, records);
}

async fn age_sends_a_batch_that_does_not_fill(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&[JSON, ("bufferDelay", "20ms")]).await.expect("opens");
    let mut acks = destination.write(&samples()).await.expect("takes them");
    let ticks = async {
        while acks.len() < samples().len() {
            acks.extend(destination.write(&[]).await.expect("ticks"));
            // Lets time pass where it is virtual, and others run where it isn't.
            tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.ok();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ticks).await.expect("age alone sends it");
    assert_eq!(acked(&acks), positions(&samples()));
}

async fn a_flush_sends_what_is_left_and_then_nothing(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&[JSON]).await.expect("opens");
    assert!(destination.flush(Duration::from_secs(10)).await.expect("has nothing to do").is_empty());
    store(&mut destination, &numbered(3)).await;
    assert!(destination.flush(Duration::from_secs(10)).await.expect("has nothing to do").is_empty());
    assert_eq!(stored(&bucket).await.len(), 1);
}

async fn a_teardown_without_a_flush_stores_nothing(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&[JSON]).await.expect("opens");
    assert!(destination.write(&numbered(3)).await.expect("takes them").is_empty());
    destination.teardown().await.expect("ends");
    assert!(stored(&bucket).await.is_empty(), "what was not acked may come again");
}

async fn a_prefix_leads_every_name_as_it_is(env: &Env) {
    for prefix in ["conduit-", "a/b/", "späße +%20/", "no/slash"] {
        let bucket = env.plain().await;
        let mut destination = bucket.destination(&[JSON, ("prefix", prefix)]).await.expect("opens");
        store(&mut destination, &numbered(2)).await;
        let key = stored(&bucket).await.remove(0).0;
        let name = key.strip_prefix(prefix).unwrap_or_else(|| panic!("{key} begins with {prefix}"));
        assert!(!name.contains('/') && name.ends_with(".json"), "{key}");
    }
}

async fn the_same_records_make_no_second_object(env: &Env) {
    for format in ["json", "parquet"] {
        let bucket = env.plain().await;
        for again in 0..3 {
            let mut records = samples();
            // A replay reads at another time.
            records[0].metadata.insert("opencdc.readAt".to_owned(), again.to_string());
            let mut destination = bucket.destination(&[("format", format)]).await.expect("opens");
            let acks = store(&mut destination, &records).await;
            assert_eq!(acked(&acks), positions(&records));
        }
        assert_eq!(stored(&bucket).await.len(), 1);
    }
}

async fn other_records_make_another_object(env: &Env) {
    let bucket = env.plain().await;
    for n in 0..3 {
        let mut records = numbered(2);
        records[1].metadata.insert("other".to_owned(), n.to_string());
        let mut destination = bucket.destination(&[JSON]).await.expect("opens");
        store(&mut destination, &records).await;
    }
    assert_eq!(stored(&bucket).await.len(), 3);
}

async fn a_strangers_object_under_our_name_is_not_overwritten(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&[JSON]).await.expect("opens");
    store(&mut destination, &samples()).await;
    let name = stored(&bucket).await.remove(0).0;
    bucket.delete(&name).await;
    assert!(bucket.try_put(&name, "a stranger's", ObjectHeaders::default()).await);
    let mut destination = bucket.destination(&[JSON]).await.expect("opens");
    destination.write(&samples()).await.expect("takes them");
    let error = flush(&mut destination, 1).await.expect_err("the name is taken");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains(&name), "{error}");
    assert_eq!(bucket.objects().await, [(name, Bytes::from_static(b"a stranger's"))]);
}

async fn an_answer_that_is_lost_makes_no_second_object(env: &Env) {
    let bucket = env.versioned().await;
    let fault = Fault::Reset(Reset::AfterAct);
    bucket.wire().faults().add(Rule::new(S3Operation::PutObject, fault).times(1));
    let mut destination = bucket.destination(&[JSON]).await.expect("opens");
    let acks = store(&mut destination, &samples()).await;
    assert_eq!(acked(&acks), positions(&samples()));
    assert_eq!(bucket.versions().await.len(), 1);
    assert_eq!(stored(&bucket).await.remove(0).1, samples());
}

async fn passing_failures_of_an_upload_are_outlived(env: &Env) {
    let faults = [
        (Fault::slow_down(None), false),
        (Fault::internal_error(), false),
        (Fault::internal_error(), true),
        (Fault::conflict(), false),
        (Fault::Reset(Reset::BeforeAct), false),
        (Fault::error_in_ok("InternalError", "We encountered an internal error."), false),
        (Fault::error_in_ok("InternalError", "We encountered an internal error."), true),
    ];
    for (fault, acts) in faults {
        let bucket = env.versioned().await;
        let rule = Rule::new(S3Operation::PutObject, fault.clone()).times(2);
        bucket.wire().faults().add(if acts { rule.acting() } else { rule });
        let mut destination = bucket.destination(&[JSON]).await.expect("opens");
        let acks = store(&mut destination, &samples()).await;
        assert_eq!(acked(&acks), positions(&samples()), "{fault:?}");
        assert_eq!(bucket.versions().await.len(), 1, "{fault:?}");
        assert_eq!(stored(&bucket).await.remove(0).1, samples(), "{fault:?}");
    }
}

async fn a_store_without_conditional_writes_is_written_to(env: &Env) {
    let refusing = |store: &mut embedded_s3::Options| store.conditional_writes = ConditionalWrites::Refused;
    let bucket = env.bucket(Conditions::versioned().on_if(!env.is_real(), refusing)).await;
    for _ in 0..2 {
        if env.is_real() {
            let refusal = Fault::answer(501, "NotImplemented", "Not implemented.");
            let once = Rule::new(S3Operation::PutObject, refusal).times(1);
            bucket.wire().faults().add(once);
        }
        let mut destination = bucket.destination(&[JSON]).await.expect("opens");
        let acks = store(&mut destination, &samples()).await;
        assert_eq!(acked(&acks), positions(&samples()));
    }
    assert_eq!(bucket.versions().await.len(), 1, "looked up before it is written");
}

async fn a_store_that_wants_a_checksum_gets_one(env: &Env) {
    for checksums in [Checksums::Verified, Checksums::Required, Checksums::Ignored] {
        let bucket = env.bucket(Conditions::default().on(|store| store.checksums = checksums)).await;
        // One that is hashed at once, and one that is hashed elsewhere.
        for payload_bytes in [10, 3 << 20] {
            let mut destination = bucket.destination(&[JSON]).await.expect("opens");
            let mut records = numbered(2);
            records[0].payload.after = raw(vec![b'x'; payload_bytes]);
            let acks = store(&mut destination, &records).await;
            assert_eq!(acked(&acks), positions(&records), "{checksums:?}");
        }
        assert_eq!(stored(&bucket).await.len(), 2);
        let writes = bucket.wire().requests().into_iter();
        let mut writes = writes.filter(|request| request.operation == S3Operation::PutObject);
        assert!(writes.all(|write| {
            let names: Vec<_> = write.headers.keys().map(|name| name.as_str()).collect();
            names.contains(&"x-amz-checksum-crc32c") && !names.contains(&"x-amz-trailer")
        }));
    }
}

async fn a_store_that_refuses_checksums_is_written_to_without(env: &Env) {
    for checksums in [Checksums::Unknown, Checksums::Invalid] {
        for conditional_writes in [ConditionalWrites::Honoured, ConditionalWrites::Refused] {
            let conditions = Conditions::default().on(|store| {
                store.checksums = checksums;
                store.conditional_writes = conditional_writes;
            });
            let bucket = env.bucket(conditions).await;
            let settings = [JSON, ("bufferSize", "1")];
            let mut destination = bucket.destination(&settings).await.expect("opens");
            let records = numbered(9);
            let acks = store(&mut destination, &records[..6]).await;
            assert_eq!(acked(&acks), positions(&records[..6]), "{checksums:?}");
            bucket.wire().clear_requests();
            store(&mut destination, &records[6..]).await;
            let puts = bucket.wire().requests_count(S3Operation::PutObject);
            assert_eq!(puts, 3, "{checksums:?}, {conditional_writes:?}: it is remembered");
            assert_eq!(stored(&bucket).await.len(), 9);
        }
    }
}

async fn the_same_line_without_a_position_is_stored_on_another_day(env: &Env) {
    let bucket = env.plain().await;
    let mut records = numbered(1);
    records[0].position = Bytes::new();
    for days in 1..=3 {
        let mut destination = bucket.destination(&[JSON]).await.expect("opens");
        let acks = store(&mut destination, &records).await;
        assert_eq!(acks.len(), 1);
        let stored = stored(&bucket).await;
        assert_eq!(stored.len(), days);
        assert!(stored.iter().all(|(_, stored)| *stored == records));
    }
}

/// Bytes of nothing that could be made shorter.
fn noise(count: usize) -> Bytes {
    let mut word = 1_u64;
    let mut next = || {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    };
    (0..count / 8).flat_map(|_| next()).collect::<Vec<u8>>().into()
}

/// How long a call that goes on may take on a busy machine: longer ones only make a case of the others.
const STANDSTILL: Duration = Duration::from_secs(1);

async fn what_the_settings_permit_as_json_fits_into_the_sandbox_on_a_slow_store(env: &Env) {
    what_the_settings_permit_fits(env, "json").await;
}

async fn what_the_settings_permit_as_parquet_fits_into_the_sandbox_on_a_slow_store(env: &Env) {
    what_the_settings_permit_fits(env, "parquet").await;
}

async fn what_the_settings_permit_fits(env: &Env, format: &str) {
    const MIB: usize = 1 << 20;
    let payload = noise(63 * MIB);
    for (buffer_bytes, count, payload_bytes) in
        [("64MiB", 60, 7 * MIB), ("192MiB", 12, 31 * MIB), ("16MiB", 8, 63 * MIB)]
    {
        let bucket = env.plain().await;
        let settings = [("format", format), ("bufferBytes", buffer_bytes)];
        let mut destination = bucket.destination(&settings).await.expect("opens");
        let mut pause = bucket.wire().pause(S3Operation::CompleteMultipartUpload);
        let mut acks = Vec::new();
        for number in 0..count {
            let mut record = numbered(1).remove(0);
            record.position = Bytes::from(number.to_string());
            record.payload.after = raw(payload.slice(..payload_bytes));
            let records = [record];
            let mut write = std::pin::pin!(destination.write(&records));
            // The slowest store of all: no upload ends before nothing else can be done.
            let written = loop {
                match tokio::time::timeout(STANDSTILL, &mut write).await {
                    Ok(written) => break written,
                    Err(_) => {
                        if let Some(held) = pause.try_arrived() {
                            held.release();
                        }
                    }
                }
            };
            let context = format!("{format}, {buffer_bytes}, record {number}");
            acks.extend(written.unwrap_or_else(|error| panic!("{context}: {error}")));
        }
        drop(pause);
        let missing = count - acks.len();
        acks.extend(flush(&mut destination, missing).await.expect("stores"));
        assert_eq!(acked(&acks).len(), count);
    }
}

async fn a_refused_upload_acks_nothing_of_its_batch_and_after_it(env: &Env) {
    let bucket = env.plain().await;
    // The first batch passes, the second is refused.
    bucket.wire().faults().add(Rule::new(S3Operation::PutObject, Fault::access_denied()).skip(1));
    let mut destination = bucket.destination(&[JSON, ("bufferSize", "2")]).await.expect("opens");
    let records = numbered(7);
    let mut acks = Vec::new();
    let mut outcome = destination.write(&records).await;
    let error = loop {
        match outcome {
            Ok(more) => acks.extend(more),
            Err(error) => break error,
        }
        outcome = destination.flush(Duration::from_secs(10)).await;
    };
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert_eq!(acked(&acks), positions(&records[..2]), "in order, and none after the failure");
    let again = destination.write(&records[..1]).await.expect_err("has failed");
    assert_eq!(again.kind(), ErrorKind::Denied);
    // Another one finishes what is left.
    bucket.wire().faults().clear();
    let mut destination = bucket.destination(&[JSON, ("bufferSize", "2")]).await.expect("opens");
    store(&mut destination, &records[2..]).await;
    let mut all: Vec<_> = stored(&bucket).await.into_iter().flat_map(|(_, records)| records).collect();
    all.sort_by(|a, b| a.position.cmp(&b.position));
    assert_eq!(all, records);
}

async fn a_record_that_no_object_can_hold_is_refused_in_its_place(env: &Env) {
    for format in ["json", "parquet"] {
        let bucket = env.plain().await;
        let mut destination = bucket.destination(&[("format", format)]).await.expect("opens");
        let mut records = numbered(5);
        records[0].key = Some(Data::Structured("[1]".to_owned()));
        records[2].payload.after = Some(Data::Structured("{\"torn\":".to_owned()));
        let acks = store(&mut destination, &records).await;
        assert_eq!(acks.iter().map(|ack| ack.position.clone()).collect::<Vec<_>>(), positions(&records));
        let refused: Vec<_> = acks.iter().map(|ack| ack.error.as_ref().map(|e| e.kind())).collect();
        let invalid = Some(ErrorKind::Invalid);
        assert_eq!(refused, [invalid, None, invalid, None, None]);
        let kept = [records[1].clone(), records[3].clone(), records[4].clone()];
        assert_eq!(stored(&bucket).await.remove(0).1, kept);
    }
}

async fn a_versioned_bucket_gets_one_version_of_each_object(env: &Env) {
    let bucket = env.versioned().await;
    for _ in 0..2 {
        let mut destination = bucket.destination(&[JSON, ("bufferSize", "3")]).await.expect("opens");
        store(&mut destination, &numbered(9)).await;
    }
    assert_eq!(bucket.versions().await.len(), 3);
}

async fn what_is_wrong_with_the_bucket_is_said_when_opening(env: &Env) {
    let bucket = env.plain().await;
    let refused = async |more: (&str, &str)| {
        let Err(error) = bucket.destination(&[JSON, more]).await else { panic!("{more:?} opened") };
        (error.kind(), error.message().to_owned())
    };
    let (kind, message) = refused(("aws.bucket", "missing-5e3f1a9b7c")).await;
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
    assert!(message.contains("missing-5e3f1a9b7c"), "{message}");
    let (kind, message) = refused(("aws.secretAccessKey", "wrong")).await;
    assert_eq!(kind, ErrorKind::Denied, "{message}");
    assert!(message.contains("refused the credentials"), "{message}");
}

async fn each_setting_that_is_missing_or_malformed_is_named(env: &Env) {
    let bucket = env.plain().await;
    let too_long = "x".repeat(1024);
    let own = [
        ("format", "orc"),
        ("columns", "rows"),
        ("columns.extra", "op"),
        ("columns.extra", "_op"),
        ("schema", "{}"),
        ("schema", "{\"properties\":{\"id\":{\"type\":\"integer\"}}}"),
        ("deletes", "perhaps"),
        ("deletes", "propagate"),
        ("bufferSize", "0"),
        ("bufferSize", "100001"),
        ("bufferSize", "many"),
        ("bufferBytes", "0"),
        ("bufferBytes", "1TiB"),
        ("bufferBytes", "193MiB"),
        ("bufferBytes", "much"),
        ("bufferDelay", "0"),
        ("bufferDelay", "-1s"),
        ("bufferDelay", "later"),
        ("path", "{tomorrow}"),
        ("path", "/a"),
        ("path.missing", "a/b"),
        ("path.partitionsMax", "0"),
        ("path.partitionsMax", "2"),
        ("path.columns", "leave"),
        ("path.columns", "drop"),
        ("name", "time"),
        ("manifest", "perhaps"),
        ("pollingPeriod", "1s"),
        ("prefix", &too_long),
        ("compression", "gz"),
        ("storageClass", "standard"),
        ("sse", "kms"),
        ("sse.kmsKeyId", "alias/lake"),
        ("sse.kmsKeyId", "a b"),
        ("tags", "team"),
        ("acl", "public"),
    ];
    let malformed = [&SHARED[..], &own].concat();
    cover(config::destination_parameters(), &malformed);
    for setting in malformed {
        let Err(error) = bucket.configured_destination(bucket.settings(&[JSON, setting])).await else {
            panic!("{setting:?} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.message().contains(&format!("`{}`", setting.0)), "{setting:?}: {error}");
    }
    for name in ["aws.bucket", "aws.region", "format"] {
        let mut settings = bucket.settings(&[JSON]);
        settings.remove(name);
        let Err(error) = bucket.configured_destination(settings).await else { panic!("{name} was not needed") };
        let expected = format!("`{name}` is required");
        assert!(error.message().contains(&expected), "{error}");
    }
}

async fn calls_out_of_order_are_refused(env: &Env) {
    let bucket = env.plain().await;
    let configured = bucket.configured_destination(bucket.settings(&[JSON])).await;
    let mut destination = configured.expect("configures");
    let error = destination.write(&numbered(1)).await.expect_err("is not open");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    destination.open().await.expect("opens");
    let error = destination.open().await.expect_err("is open");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    destination.teardown().await.expect("ends");
    destination.teardown().await.expect("ends again");
    for error in [
        destination.write(&numbered(1)).await.expect_err("is over"),
        destination.flush(Duration::ZERO).await.expect_err("is over"),
        destination.open().await.expect_err("is over"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
}

/// Bytes of which no two words are the same.
fn words(count: u32) -> Bytes {
    (0..count).flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

async fn bodies_of_a_source_go_to_a_destination_by_handle(env: &Env) {
    let bucket = env.plain().await;
    let body = words(1_000_000);
    bucket.put("in/big", body.clone()).await;
    bucket.put("in/small", "x").await;
    let mut source = bucket.start_with(&[("prefix", "in/")], &SavedState::none()).await;
    let settings = [("format", "parquet"), ("prefix", "out/")];
    let mut destination = bucket.destination(&settings).await.expect("opens");
    let (mut moved, mut acks) = (0, Vec::new());
    while moved < 2 {
        let wait = Duration::from_secs(1);
        let (read, more) = destination.write_from(&mut source, wait).await.expect("takes them");
        moved += read;
        acks.extend(more);
    }
    acks.extend(flush(&mut destination, 2 - acks.len()).await.expect("stores"));
    assert_eq!(acked(&acks).len(), 2);
    let records = stored(&bucket).await.remove(0).1;
    assert!(records[0].payload.after == raw(body));
    assert_eq!(records[1].payload.after, raw("x"));
    assert!(env.kind() == WorldKind::Native || records[0].metadata.get("s3.etag").is_some());
}

async fn large_records_come_through(env: &Env) {
    let bucket = env.plain().await;
    let mut destination = bucket.destination(&[JSON, ("bufferBytes", "4MiB")]).await.expect("opens");
    let mut records = numbered(4);
    for record in &mut records {
        record.payload.after = raw(words(800_000));
    }
    let acks = store(&mut destination, &records).await;
    assert_eq!(acked(&acks), positions(&records));
    let stored = stored(&bucket).await;
    assert_eq!(stored.len(), 4, "each is larger than half of a batch");
    assert!(stored.iter().all(|(_, records)| records[0].payload.after == raw(words(800_000))));
}
