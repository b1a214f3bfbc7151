//! A destination under Conduit: batches, acks, refusals and stops.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conduit_protocol::connector::v2::{
    Ack, ConfigureRequest, DestinationOpenRequest, DestinationRunRequest, DestinationRunResponse,
    DestinationStopRequest, TeardownRequest,
};
use conduit_protocol::opencdc::v1::{Change, Data, Operation, Record, data};
use embedded_s3::{EmbeddedS3, Options};
use prost::Message as _;
use s3_connector_tests::plugin::{PATIENCE, Plugin, Start, settings};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Streaming;

pub(crate) const BUCKET: &str = "lake";

pub(crate) async fn server() -> EmbeddedS3 {
    let server = EmbeddedS3::start(Options::default()).await.unwrap();
    server.store().create_bucket(BUCKET).unwrap();
    server
}

pub(crate) fn config(server: &EmbeddedS3, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    settings(server, BUCKET, &[&[("format", "json")], more].concat())
}

fn raw(bytes: impl Into<Bytes>) -> Option<Data> {
    Some(Data { data: Some(data::Data::RawData(bytes.into())) })
}

pub(crate) fn record(n: usize) -> Record {
    Record {
        position: format!("p{n}").into(),
        operation: Operation::Create.into(),
        metadata: [("n".to_owned(), n.to_string())].into_iter().collect(),
        key: raw(format!("k{n}")),
        payload: Some(Change { before: None, after: raw(vec![0xff, n as u8]) }),
    }
}

/// A destination at work, with the acks that came and were not looked at.
pub(crate) struct Session {
    pub(crate) plugin: Plugin,
    pub(crate) acks: Streaming<DestinationRunResponse>,
    records: mpsc::UnboundedSender<DestinationRunRequest>,
    read: Vec<Ack>,
}

impl Session {
    pub(crate) async fn open(config: BTreeMap<String, String>) -> Self {
        let plugin = Start::new("p:d").env("CONDUIT_CONNECTOR_MAX_RECEIVE_RECORD_SIZE", "104857600").start().await;
        Self::of(plugin, config).await
    }

    async fn of(plugin: Plugin, config: BTreeMap<String, String>) -> Self {
        let mut destination = plugin.destination();
        destination.configure(ConfigureRequest { config }).await.unwrap();
        destination.open(DestinationOpenRequest {}).await.unwrap();
        let (records, stream) = mpsc::unbounded_channel();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(stream);
        let acks = destination.run(stream).await.unwrap().into_inner();
        Self { plugin, acks, records, read: Vec::new() }
    }

    pub(crate) fn write(&self, records: Vec<Record>) {
        self.records.send(DestinationRunRequest { records }).unwrap();
    }

    pub(crate) async fn acks(&mut self, count: usize) -> Vec<Ack> {
        while self.read.len() < count {
            let message = timeout(PATIENCE, self.acks.message()).await.expect("acks come").unwrap();
            self.read.extend(message.expect("the stream is open").acks);
        }
        self.read.drain(..count).collect()
    }

    pub(crate) async fn stop(&self, last: &str) {
        let request = DestinationStopRequest { last_position: Bytes::from(last.to_owned()) };
        timeout(PATIENCE, self.plugin.destination().stop(request)).await.expect("Stop returns").unwrap();
    }

    pub(crate) async fn end(self) {
        let Self { plugin, acks, records, .. } = self;
        drop((acks, records));
        plugin.destination().teardown(TeardownRequest {}).await.unwrap();
        assert!(plugin.shut_down().await.success());
    }
}

/// What each object of the bucket holds, line by line.
fn objects(server: &EmbeddedS3) -> Vec<Vec<serde_json::Value>> {
    let objects = server.store().objects(BUCKET).unwrap();
    let lines = objects.iter().map(|object| {
        let text = String::from_utf8(object.body.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    });
    lines.collect()
}

/// What the objects of the bucket hold, line by line.
pub(crate) fn lines(server: &EmbeddedS3) -> Vec<serde_json::Value> {
    objects(server).concat()
}

/// The numbers of the records in each object of the bucket.
pub(crate) fn batches(server: &EmbeddedS3) -> Vec<Vec<usize>> {
    let number = |line: &serde_json::Value| line["metadata"]["n"].as_str().unwrap().parse().unwrap();
    objects(server).iter().map(|lines| lines.iter().map(number).collect()).collect()
}

#[tokio::test]
async fn records_one_by_one_become_few_objects_and_stop_stores_the_rest_at_once() {
    let server = server().await;
    let mut session = Session::open(config(&server, &[("bufferSize", "100"), ("bufferDelay", "10m")])).await;
    session.write(Vec::new());
    for n in 0..250 {
        session.write(vec![record(n)]);
    }
    let stored = session.acks(200).await;
    assert!(stored.iter().enumerate().all(|(n, ack)| ack.position == format!("p{n}") && ack.error.is_empty()));
    let begun = Instant::now();
    session.stop("p249").await;
    assert!(begun.elapsed() < Duration::from_secs(60));
    let rest = session.acks(50).await;
    assert_eq!(rest[49].position, "p249");
    assert_eq!((server.store().objects(BUCKET).unwrap().len(), lines(&server).len()), (3, 250));
    session.end().await;
}

#[tokio::test]
async fn a_batch_that_is_waited_for_is_stored_at_once() {
    let server = server().await;
    let mut session = Session::open(config(&server, &[("bufferSize", "1000"), ("bufferDelay", "10m")])).await;
    for batch in 0..5 {
        session.write((0..7).map(|n| record(batch * 7 + n)).collect());
        assert_eq!(session.acks(7).await[6].position, format!("p{}", batch * 7 + 6));
    }
    assert_eq!(server.store().objects(BUCKET).unwrap().len(), 5);
    // Conduit's other architecture never calls Stop.
    session.end().await;
}

#[tokio::test]
async fn stop_without_records_returns_at_once() {
    let server = server().await;
    let session = Session::open(config(&server, &[])).await;
    session.stop("").await;
    session.end().await;
}

#[tokio::test]
async fn deletes_and_structured_data_are_stored_and_what_can_not_be_is_refused_alone() {
    let server = server().await;
    let mut session = Session::open(config(&server, &[])).await;
    let delete = Record { operation: Operation::Delete.into(), key: None, payload: None, ..record(0) };
    let value = |number| prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number)) };
    let structured = |number| {
        let fields = [("id".to_owned(), value(number))].into_iter().collect();
        let data = data::Data::StructuredData(prost_types::Struct { fields }.encode_to_vec().into());
        Some(Change { before: None, after: Some(Data { data: Some(data) }) })
    };
    let fits = Record { payload: structured(7.0), ..record(1) };
    let odd = Record { payload: structured(f64::NAN), ..record(2) };
    session.write(vec![delete, fits, odd, record(3)]);
    let acks = session.acks(4).await;
    let positions: Vec<_> = acks.iter().map(|ack| ack.position.clone()).collect();
    assert_eq!(positions, ["p0", "p1", "p2", "p3"]);
    let refused: Vec<_> = acks.iter().map(|ack| !ack.error.is_empty()).collect();
    assert_eq!(refused, [false, false, true, false], "{acks:?}");
    assert!(acks[2].error.contains("NaN"), "{acks:?}");
    let lines = lines(&server);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["payload"]["after"], serde_json::json!({"id": 7}));
    session.write(vec![record(4), record(5)]);
    assert!(session.acks(2).await.iter().all(|ack| ack.error.is_empty()));
    session.end().await;
}

#[tokio::test]
async fn batches_follow_conduits_own_settings() {
    let server = server().await;
    let mut session = Session::open(config(&server, &[("sdk.batch.size", "3"), ("sdk.batch.delay", "10m")])).await;
    for n in 0..6 {
        session.write(vec![record(n)]);
    }
    session.acks(6).await;
    assert_eq!(server.store().objects(BUCKET).unwrap().len(), 2);
    session.end().await;
    let mut session = Session::open(config(&server, &[("sdk.batch.delay", "100ms"), ("prefix", "x")])).await;
    session.write(vec![record(9)]);
    session.acks(1).await;
    session.end().await;
}

#[tokio::test]
async fn an_empty_setting_of_a_buffer_is_its_default() {
    let server = server().await;
    let more = [("sdk.batch.size", "2"), ("sdk.batch.delay", "10m"), ("bufferSize", ""), ("bufferDelay", " ")];
    let mut session = Session::open(config(&server, &more)).await;
    (0..4).for_each(|n| session.write(vec![record(n)]));
    session.acks(4).await;
    let sizes: Vec<_> = batches(&server).iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2]);
    session.end().await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    let server = server().await;
    let more = [("sdk.rate.perSecond", "20"), ("sdk.rate.burst", "5"), ("sdk.batch.delay", "1ms")];
    let mut session = Session::open(config(&server, &more)).await;
    let begun = Instant::now();
    for n in 0..15 {
        session.write(vec![record(n)]);
    }
    session.acks(15).await;
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
    session.end().await;
}

#[tokio::test]
async fn every_fault_of_the_settings_is_told_at_once() {
    let plugin = Start::new("c").start().await;
    let config = [("sdk.rate.burst", "x"), ("sdk.record.format", "debezium/json"), ("bufferSize", "0")];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let error = plugin.destination().configure(ConfigureRequest { config }).await.unwrap_err();
    for name in ["sdk.rate.burst", "sdk.record.format", "bufferSize", "aws.bucket", "format"] {
        assert!(error.message().contains(&format!("`{name}`")), "{name}: {}", error.message());
    }
    plugin.destination().teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_run_and_names_the_flag() {
    let server = server().await;
    let plugin = Start::new("p:d").env("CONDUIT_CONNECTOR_MAX_RECEIVE_RECORD_SIZE", "4096").start().await;
    let mut session = Session::of(plugin, config(&server, &[("bufferSize", "1")])).await;
    session.write(vec![record(0)]);
    session.acks(1).await;
    session.write(vec![Record { payload: Some(Change { before: None, after: raw(vec![0; 5000]) }), ..record(1) }]);
    let error = timeout(PATIENCE, session.acks.message()).await.expect("Run ends").unwrap_err();
    assert!(error.message().contains("`--connectors.max-receive-record-size`"), "{error}");
    assert_eq!(timeout(PATIENCE, session.acks.message()).await.unwrap().unwrap(), None);
    session.end().await;
    assert_eq!(lines(&server).len(), 1);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_keeps_it_from_opening_and_is_named() {
    let server = server().await;
    let plugin = Start::new("c").start().await;
    let config = settings(&server, "nowhere", &[("format", "json")]);
    plugin.destination().configure(ConfigureRequest { config }).await.unwrap();
    let error = plugin.destination().open(DestinationOpenRequest {}).await.unwrap_err();
    assert!(error.message().contains("nowhere"), "{error}");
    plugin.destination().teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
}

#[tokio::test]
async fn what_was_configured_can_be_torn_down_without_a_word_to_the_store() {
    let server = server().await;
    let plugin = Start::new("c").start().await;
    let config = config(&server, &[]);
    plugin.destination().configure(ConfigureRequest { config }).await.unwrap();
    plugin.destination().teardown(TeardownRequest {}).await.unwrap();
    plugin.destination().teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
    assert!(server.wire().requests().is_empty());
}

#[tokio::test]
async fn each_record_is_an_object_where_the_format_is_raw() {
    let server = server().await;
    let settings = [("format", "raw"), ("deletes", "propagate"), ("prefix", "out/")];
    let mut session = Session::open(config(&server, &settings)).await;
    let after = |after| Some(Change { before: None, after });
    let large = Record { payload: after(raw(vec![7; 3 << 20])), ..record(3) };
    let delete = Record { operation: Operation::Delete.into(), key: raw("k1"), payload: after(None), ..record(4) };
    session.write(vec![record(1), record(2)]);
    session.write(vec![large]);
    session.write(vec![delete]);
    let acks = session.acks(4).await;
    assert!(acks.iter().all(|ack| ack.error.is_empty()), "{acks:?}");
    let objects = server.store().objects(BUCKET).unwrap();
    let found: Vec<_> = objects.iter().map(|object| (object.key.as_str(), object.body.len())).collect();
    assert_eq!(found, [("out/k2", 2), ("out/k3", 3 << 20)]);
    assert_eq!(objects[0].headers.metadata["n"], "2");
    session.stop("p4").await;
    session.end().await;
}
