//! A source under Conduit: records, acks, stops and restarts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use conduit_protocol::connector::v2::{
    ConfigureRequest, OnDeletedRequest, SourceOpenRequest, SourceRunRequest, SourceRunResponse, SourceStopRequest,
    TeardownRequest,
};
use conduit_protocol::opencdc::v1::{Operation, Record, data};
use embedded_s3::{EmbeddedS3, Options};
use s3_connector_tests::plugin::{PATIENCE, Plugin, Start, settings};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Streaming;

pub(crate) const BUCKET: &str = "photos";

pub(crate) async fn server() -> EmbeddedS3 {
    let server = EmbeddedS3::start(Options::default()).await.unwrap();
    server.store().create_bucket(BUCKET).unwrap();
    server.store().set_versioning(BUCKET, embedded_s3::Versioning::Enabled).unwrap();
    server
}

/// A source at work, with the records that came and were not looked at.
pub(crate) struct Session {
    pub(crate) plugin: Plugin,
    pub(crate) records: Streaming<SourceRunResponse>,
    pub(crate) acks: mpsc::UnboundedSender<SourceRunRequest>,
    read: Vec<Record>,
}

impl Session {
    pub(crate) async fn open(plugin: Plugin, config: BTreeMap<String, String>, position: impl Into<Bytes>) -> Self {
        let mut source = plugin.source();
        source.configure(ConfigureRequest { config }).await.unwrap();
        source.open(SourceOpenRequest { position: position.into() }).await.unwrap();
        let (acks, stream) = mpsc::unbounded_channel();
        let stream = tokio_stream::wrappers::UnboundedReceiverStream::new(stream);
        let records = source.run(stream).await.unwrap().into_inner();
        Self { plugin, records, acks, read: Vec::new() }
    }

    /// The next records, as many as were asked for.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Record> {
        while self.read.len() < count {
            let message = self.message().await;
            self.read.extend(message);
        }
        self.read.drain(..count).collect()
    }

    /// The records of the next message.
    async fn message(&mut self) -> Vec<Record> {
        let message = timeout(PATIENCE, self.records.message()).await.expect("records come");
        let message = message.unwrap().expect("the stream is open");
        assert!(!message.records.is_empty());
        message.records
    }

    pub(crate) fn ack(&self, records: &[Record]) {
        let ack_positions = records.iter().map(|record| record.position.clone()).collect();
        self.acks.send(SourceRunRequest { ack_positions }).unwrap();
    }

    pub(crate) async fn stop(&self) -> Bytes {
        let stopped = timeout(PATIENCE, self.plugin.source().stop(SourceStopRequest {})).await.expect("Stop returns");
        stopped.unwrap().into_inner().last_position
    }

    /// Ends it as Conduit does: the stream first.
    pub(crate) async fn end(self) {
        let Self { plugin, records, acks, .. } = self;
        drop((records, acks));
        plugin.source().teardown(TeardownRequest {}).await.unwrap();
        assert!(plugin.shut_down().await.success());
    }
}

pub(crate) fn key(record: &Record) -> String {
    match record.key.as_ref().and_then(|key| key.data.as_ref()) {
        Some(data::Data::RawData(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("no raw key: {other:?}"),
    }
}

fn body(record: &Record) -> Option<Bytes> {
    match record.payload.as_ref()?.after.as_ref()?.data.as_ref()? {
        data::Data::RawData(bytes) => Some(bytes.clone()),
        data::Data::StructuredData(_) => panic!("payloads are raw"),
    }
}

fn told(records: &[Record]) -> Vec<(Operation, String)> {
    records.iter().map(|record| (record.operation(), key(record))).collect()
}

#[tokio::test]
async fn a_snapshot_and_changes_come_with_their_bytes() {
    let server = server().await;
    let large: Vec<u8> = (0..5_u32 << 20).map(|n| (n % 251) as u8).collect();
    server.store().put(BUCKET, "a", "one").unwrap();
    server.store().put(BUCKET, "b", large.clone()).unwrap();
    let state = tempfile::tempdir().unwrap();
    let config = settings(&server, BUCKET, &[("pollingPeriod", "50ms")]);
    let plugin = Start::new("p:c").state(state.path()).start().await;
    let mut session = Session::open(plugin, config, Bytes::new()).await;
    let snapshot = session.take(2).await;
    assert_eq!(told(&snapshot), [(Operation::Snapshot, "a".to_owned()), (Operation::Snapshot, "b".to_owned())]);
    assert_eq!(body(&snapshot[1]).unwrap(), large);
    assert!(
        snapshot.iter().all(|record| !record.position.is_empty() && record.metadata.contains_key("opencdc.readAt"))
    );
    session.ack(&snapshot);
    server.store().put(BUCKET, "a", "two").unwrap();
    let update = session.take(1).await;
    assert_eq!((told(&update), body(&update[0]).unwrap()), (vec![(Operation::Update, "a".to_owned())], "two".into()));
    server.store().delete(BUCKET, "a").unwrap();
    let delete = session.take(1).await;
    assert_eq!((told(&delete), body(&delete[0])), (vec![(Operation::Delete, "a".to_owned())], None));
    let last = session.stop().await;
    assert_eq!(last, delete[0].position);
    // The stream stays open after Stop, for the acks that are still to come.
    assert!(timeout(Duration::from_millis(200), session.records.message()).await.is_err());
    session.ack(&[update, delete].concat());
    session.end().await;
    assert!(state.path().join("p%3Ac/state.redb").is_file());
}

#[tokio::test]
async fn a_restart_goes_on_after_the_last_ack() {
    let server = server().await;
    for n in 0..100 {
        server.store().put(BUCKET, &format!("k{n:02}"), "x").unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let config = settings(&server, BUCKET, &[("pollingPeriod", "50ms")]);
    let plugin = Start::new("c").state(state.path()).start().await;
    let mut session = Session::open(plugin, config.clone(), Bytes::new()).await;
    let first = session.take(40).await;
    session.ack(&first);
    session.plugin.kill().await;
    let plugin = Start::new("c").state(state.path()).start().await;
    let mut session = Session::open(plugin, config, first[39].position.clone()).await;
    let rest = session.take(60).await;
    let keys: Vec<_> = rest.iter().map(key).collect();
    let expected: Vec<_> = (40..100).map(|n| format!("k{n:02}")).collect();
    assert_eq!(keys, expected);
    session.end().await;
}

#[tokio::test]
async fn late_acks_hold_nothing_up() {
    let server = server().await;
    for n in 0..3000 {
        server.store().put(BUCKET, &format!("k{n:04}"), "x").unwrap();
    }
    let config = settings(&server, BUCKET, &[]);
    let mut session = Session::open(Start::new("c").start().await, config, Bytes::new()).await;
    // Not one ack before the last record is there.
    let records = session.take(3000).await;
    session.ack(&records);
    let last = session.stop().await;
    assert_eq!(last, records[2999].position);
    session.end().await;
}

#[tokio::test]
async fn a_pipeline_of_the_go_connector_goes_on() {
    let server = server().await;
    server.store().put(BUCKET, "old", "x").unwrap();
    server.clock().advance(Duration::from_secs(3600));
    let read_up_to = server.clock().now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    server.clock().advance(Duration::from_secs(3600));
    server.store().put(BUCKET, "new", "y").unwrap();
    let config = settings(&server, BUCKET, &[("pollingPeriod", "50ms"), ("lookback", "1m")]);
    let mut session = Session::open(Start::new("c").start().await, config, format!("old_c{read_up_to}")).await;
    let records = session.take(1).await;
    assert_eq!(told(&records), [(Operation::Create, "new".to_owned())]);
    assert_eq!(session.stop().await, records[0].position, "nothing else was sent");
    session.end().await;
}

#[tokio::test]
async fn every_fault_of_the_settings_is_told_at_once() {
    let plugin = Start::new("c").start().await;
    let config = [("prefx", "a"), ("sdk.batch.size", "-1"), ("concurrency", "many")];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let error = plugin.source().configure(ConfigureRequest { config }).await.unwrap_err();
    for name in ["prefx", "sdk.batch.size", "concurrency", "aws.bucket", "aws.region"] {
        assert!(error.message().contains(&format!("`{name}`")), "{name}: {}", error.message());
    }
    plugin.source().teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
}

#[tokio::test]
async fn what_was_configured_can_be_torn_down_and_leaves_no_state() {
    let server = server().await;
    let state = tempfile::tempdir().unwrap();
    let plugin = Start::new("c").state(state.path()).start().await;
    let config = settings(&server, BUCKET, &[]);
    plugin.source().configure(ConfigureRequest { config }).await.unwrap();
    plugin.source().teardown(TeardownRequest {}).await.unwrap();
    plugin.source().teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
    assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_deleted_connector_loses_its_state() {
    let server = server().await;
    let state = tempfile::tempdir().unwrap();
    let config = settings(&server, BUCKET, &[]);
    let session = Session::open(Start::new("c").state(state.path()).start().await, config, Bytes::new()).await;
    session.end().await;
    assert!(state.path().join("c").is_dir());
    let plugin = Start::new("c").state(state.path()).start().await;
    plugin.source().lifecycle_on_deleted(OnDeletedRequest::default()).await.unwrap();
    plugin.source().teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
    assert!(!state.path().join("c").exists());
}

#[tokio::test]
async fn the_state_of_a_connector_that_runs_is_not_removed() {
    let server = server().await;
    let state = tempfile::tempdir().unwrap();
    server.store().put(BUCKET, "k", "x").unwrap();
    let config = settings(&server, BUCKET, &[]);
    let mut session = Session::open(Start::new("c").state(state.path()).start().await, config, Bytes::new()).await;
    let other = Start::new("c").state(state.path()).start().await;
    let error = other.source().lifecycle_on_deleted(OnDeletedRequest::default()).await.unwrap_err();
    assert!(error.message().contains("cannot be removed"), "{error}");
    assert!(other.shut_down().await.success());
    assert!(state.path().join("c").is_dir());
    session.take(1).await;
    session.end().await;
}

#[tokio::test]
async fn a_folder_that_can_not_be_made_leaves_a_source_without_state() {
    let server = server().await;
    server.store().put(BUCKET, "k", "x").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
    for base in [file.as_path(), &link, Path::new("/proc/none")] {
        let plugin = Start::new("c").state(base).start().await;
        let mut session = Session::open(plugin, settings(&server, BUCKET, &[]), Bytes::new()).await;
        session.take(1).await;
        session.plugin.says("no state is kept").await;
        session.end().await;
        let plugin = Start::new("c").state(base).start().await;
        plugin.source().lifecycle_on_deleted(OnDeletedRequest::default()).await.unwrap();
        assert!(plugin.shut_down().await.success());
    }
}

#[tokio::test]
async fn a_bucket_that_is_gone_ends_run_with_the_reason() {
    let server = server().await;
    let config = settings(&server, "nowhere", &[]);
    let plugin = Start::new("c").start().await;
    plugin.source().configure(ConfigureRequest { config }).await.unwrap();
    let error = plugin.source().open(SourceOpenRequest { position: Bytes::new() }).await.unwrap_err();
    assert!(error.message().contains("nowhere"), "{error}");
    plugin.source().teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
}

#[tokio::test]
async fn messages_follow_conduits_own_settings() {
    let server = server().await;
    for n in 0..7 {
        server.store().put(BUCKET, &format!("k{n}"), "x").unwrap();
    }
    let open = async |more: &[(&str, &str)]| {
        let config = settings(&server, BUCKET, more);
        Session::open(Start::new("c").start().await, config, Bytes::new()).await
    };
    // The last one is sent after a second, without any other.
    let mut session = open(&[("sdk.batch.size", "3")]).await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 7 {
        sizes.push(session.message().await.len());
    }
    assert!(sizes.iter().all(|size| *size <= 3), "{sizes:?}");
    session.end().await;

    let begun = Instant::now();
    let mut session = open(&[("sdk.batch.delay", "1s500ms")]).await;
    let first = session.message().await.len();
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    session.take(7 - first).await;
    session.end().await;

    let mut session = open(&[("sdk.batch.size", "3"), ("sdk.batch.delay", "10m")]).await;
    assert_eq!((session.message().await.len(), session.message().await.len()), (3, 3));
    session.end().await;
}

#[tokio::test]
async fn a_large_object_comes_in_chunks_and_a_restart_goes_on_within_it() {
    const CHUNK: usize = 256 << 10;
    let server = server().await;
    let large: Vec<u8> = (0..CHUNK * 4 + 1000).map(|n| (n % 251) as u8).collect();
    server.store().put(BUCKET, "large", large.clone()).unwrap();
    server.store().put(BUCKET, "small", "x").unwrap();
    let state = tempfile::tempdir().unwrap();
    let config = settings(&server, BUCKET, &[("chunkBytes", "256KiB"), ("pollingPeriod", "50ms")]);
    let plugin = Start::new("c").state(state.path()).start().await;
    let mut session = Session::open(plugin, config.clone(), Bytes::new()).await;
    let mut chunks = session.take(2).await;
    session.ack(&chunks);
    session.plugin.kill().await;
    let plugin = Start::new("c").state(state.path()).start().await;
    let mut session = Session::open(plugin, config, chunks[1].position.clone()).await;
    chunks.extend(session.take(3).await);
    let small = session.take(1).await;
    assert_eq!((key(&small[0]), body(&small[0]).unwrap()), ("small".to_owned(), "x".into()));
    session.ack(&small);
    session.end().await;
    for (n, chunk) in chunks.iter().enumerate() {
        let told = |name: &str| chunk.metadata.get(&format!("opencdc.file.{name}")).cloned().unwrap_or_default();
        assert_eq!((key(chunk).as_str(), told("name").as_str(), told("chunked").as_str()), ("large", "large", "true"));
        assert_eq!((told("chunk.index"), told("chunk.count")), ((n + 1).to_string(), "5".to_owned()));
        assert_eq!(told("size"), large.len().to_string());
    }
    let bodies: Vec<Bytes> = chunks.iter().map(|chunk| body(chunk).unwrap()).collect();
    assert!(bodies[..4].iter().all(|body| body.len() == CHUNK) && bodies.concat() == large);
}
