//! Cases of the destination: batches, formats, acks.

use std::time::Duration;

use bytes::Bytes;
use s3_connector::record::{Change, Operation, json};
use s3_connector_host::{Ack, Destination, record};
use s3_connector_tests::embedded::{self, Operation as S3Operation};
use s3_connector_tests::parquet;
use s3_connector_tests::world::{BUCKET, Data, Record, World};

/// Records of every shape, none of whose bytes are kind to text formats.
fn samples() -> Vec<Record> {
    let raw = |bytes: &'static [u8]| Some(Data::Raw(Bytes::from_static(bytes)));
    let structured = |text: &str| Some(Data::Structured(text.to_owned()));
    let record = |number: usize, operation, key, before, after| Record {
        position: Bytes::from(format!("p{number}\u{0}\n")),
        operation,
        metadata: [("n".to_owned(), number.to_string()), ("ü".to_owned(), "\u{1}\"".to_owned())].into(),
        key,
        payload: Change { before, after },
    };
    vec![
        record(0, Operation::Snapshot, raw(b"key"), None, raw(b"plain")),
        record(1, Operation::Create, raw(b"\xff\xfe"), None, raw(b"\x00\xff\x80\n")),
        record(2, Operation::Update, structured("{\"id\":1}"), raw(b"old"), structured("{\"a\":[1.50,null]}")),
        record(3, Operation::Delete, raw(b"key"), None, None),
        record(4, Operation::Create, None, None, raw(b"")),
    ]
}

async fn flush(destination: &mut Destination, count: usize) -> Vec<Ack> {
    let mut acks = Vec::new();
    while acks.len() < count {
        acks.extend(destination.flush(Duration::from_secs(10)).await.expect("stores"));
    }
    acks
}

fn positions(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.position.clone()).collect()
}

/// All records in the bucket, object by object, with the names of the objects.
fn stored(world: &World) -> Vec<(String, Vec<Record>)> {
    let objects = world.server.store().objects(BUCKET).expect("the bucket is there");
    objects
        .into_iter()
        .filter(|object| object.key.ends_with(".json") || object.key.ends_with(".parquet"))
        .map(|object| {
            let records = if object.key.ends_with(".parquet") {
                parquet::read(&object.body).expect("reads back")
            } else {
                let lines = object.body.split_inclusive(|byte| *byte == b'\n');
                lines.map(|line| json::decode_line(line).expect("reads back")).collect()
            };
            (object.key, records)
        })
        .collect()
}

#[tokio::test]
async fn both_formats_read_back_to_the_records_that_went_in() {
    for format in ["json", "parquet"] {
        let world = World::new().await;
        let mut destination =
            world.destination(&[("format", format), ("prefix", "out-")]).await.expect("opens");
        let records = samples();
        let sent = records.iter().cloned().map(record::from_memory).collect();
        assert!(destination.write(sent).await.expect("takes them").is_empty(), "nothing is stored yet");
        let acks = flush(&mut destination, records.len()).await;
        assert_eq!(acks.iter().map(|a| a.position.clone()).collect::<Vec<_>>(), positions(&records));
        assert!(acks.iter().all(|ack| ack.error.is_none()));
        let stored = stored(&world);
        assert_eq!(stored.len(), 1);
        assert!(stored[0].0.starts_with("out-"), "{}", stored[0].0);
        assert_eq!(stored[0].1, records, "{format}");
    }
}

#[tokio::test]
async fn batches_are_cut_by_count_and_acked_in_order() {
    let world = World::new().await;
    let mut destination =
        world.destination(&[("format", "json"), ("bufferSize", "2")]).await.expect("opens");
    let records = samples();
    let mut acks = Vec::new();
    for record in records.iter().cloned() {
        acks.extend(destination.write(vec![record::from_memory(record)]).await.expect("takes it"));
    }
    let missing = records.len() - acks.len();
    acks.extend(flush(&mut destination, missing).await);
    assert_eq!(acks.iter().map(|a| a.position.clone()).collect::<Vec<_>>(), positions(&records));
    let mut sizes: Vec<_> = stored(&world).iter().map(|(_, records)| records.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
}

#[tokio::test]
async fn age_sends_a_batch_that_does_not_fill() {
    let world = World::new().await;
    let mut destination =
        world.destination(&[("format", "json"), ("bufferDelay", "20ms")]).await.expect("opens");
    let mut acks = destination
        .write(samples().into_iter().map(record::from_memory).collect())
        .await
        .expect("takes them");
    let ticks = async {
        while acks.len() < samples().len() {
            acks.extend(destination.write(Vec::new()).await.expect("ticks"));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ticks).await.expect("age alone sends it");
}

#[tokio::test]
async fn the_same_records_make_no_second_object() {
    let world = World::new().await;
    for _ in 0..2 {
        let mut destination = world.destination(&[("format", "json")]).await.expect("opens");
        let sent = samples().into_iter().map(record::from_memory).collect();
        destination.write(sent).await.expect("takes them");
        flush(&mut destination, samples().len()).await;
    }
    assert_eq!(stored(&world).len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_object() {
    let world = World::new().await;
    let fault = embedded::Fault::Reset(embedded::Reset::AfterAct);
    world.server.faults().add(embedded::Rule::new(S3Operation::PutObject, fault).times(1));
    let mut destination = world.destination(&[("format", "json")]).await.expect("opens");
    let sent = samples().into_iter().map(record::from_memory).collect();
    destination.write(sent).await.expect("takes them");
    flush(&mut destination, samples().len()).await;
    assert_eq!(stored(&world).len(), 1);
    assert_eq!(stored(&world)[0].1, samples());
}

#[tokio::test]
async fn bodies_of_a_source_go_to_a_destination_by_handle() {
    let world = World::new().await;
    let body: Bytes = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into();
    world.put("in/big", body.clone());
    world.put("in/small", "x");
    let state = s3_connector_tests::world::State::none();
    let mut source = world.source(&[("prefix", "in/")], &state, None).await.expect("opens");
    let mut destination =
        world.destination(&[("format", "parquet"), ("prefix", "out/")]).await.expect("opens");
    let mut moved = 0;
    while moved < 2 {
        let records = source.read(10, Duration::from_secs(1)).await.expect("reads");
        moved += records.len();
        destination.write(records).await.expect("takes them");
    }
    flush(&mut destination, 2).await;
    let stored = stored(&world).into_iter().find(|(key, _)| key.starts_with("out/"));
    let records = stored.expect("an object").1;
    assert!(records[0].payload.after == Some(Data::Raw(body)));
    assert_eq!(records[1].payload.after, Some(Data::Raw("x".into())));
}
