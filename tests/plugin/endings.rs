//! How the work of a plugin ends when Conduit, or the machine, wants it to; and calls that come when they must not.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use conduit_protocol::connector::v2::{
    ConfigureRequest, DestinationOpenRequest, DestinationStopRequest, SourceOpenRequest, SourceStopRequest,
    TeardownRequest,
};
use rustix::process::Signal;
use s3_connector_tests::plugin::{PATIENCE, Start, settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::{destination, source};

/// What comes without waiting for anything. Far less than a store that does not answer is waited for.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn sigterm_ends_a_source_after_its_acks_and_run_says_so() {
    let server = source::server().await;
    for n in 0..3 {
        server.store().put(source::BUCKET, &format!("k{n}"), "x").unwrap();
    }
    let config = settings(&server, source::BUCKET, &[("pollingPeriod", "50ms")]);
    let mut session = source::Session::open(Start::new("c").start().await, config, Bytes::new()).await;
    let records = session.take(3).await;
    session.plugin.signal(Signal::TERM);
    session.ack(&records);
    let error = timeout(PATIENCE, session.records.message()).await.expect("Run ends").unwrap_err();
    assert!(error.message().contains("SIGTERM"), "{error}");
    session.end().await;
}

#[tokio::test]
async fn sigterm_is_nothing_to_a_source_that_conduit_stops() {
    for stops_first in [true, false] {
        let server = source::server().await;
        let config = settings(&server, source::BUCKET, &[("pollingPeriod", "50ms")]);
        let session = source::Session::open(Start::new("c").start().await, config, Bytes::new()).await;
        if !stops_first {
            session.plugin.signal(Signal::TERM);
            session.plugin.says("SIGTERM came").await;
        }
        assert!(session.stop().await.is_empty(), "nothing was sent");
        if stops_first {
            session.plugin.signal(Signal::TERM);
        }
        let source::Session { plugin, records, acks, .. } = session;
        // Conduit ends the stream before it tears the source down.
        let mut streams = Some((records, acks)).filter(|_| stops_first);
        // Less than a teardown has for work that does not end.
        let torn_down = timeout(Duration::from_secs(2), plugin.source().teardown(TeardownRequest {})).await;
        torn_down.expect("Teardown returns at once").unwrap();
        if let Some((records, _)) = &mut streams {
            assert_eq!(timeout(PATIENCE, records.message()).await.expect("Run ends").unwrap(), None);
        }
        assert!(plugin.shut_down().await.success());
    }
}

#[tokio::test]
async fn sigterm_has_a_destination_store_what_it_has_and_run_says_so() {
    let server = destination::server().await;
    let config = destination::config(&server, &[("bufferSize", "1000"), ("bufferDelay", "10m")]);
    let mut session = destination::Session::open(config).await;
    for n in 0..3 {
        session.write(vec![destination::record(n)]);
    }
    session.plugin.signal(Signal::TERM);
    let acks = session.acks(3).await;
    assert!(acks.iter().enumerate().all(|(n, ack)| ack.position == format!("p{n}") && ack.error.is_empty()));
    assert_eq!(destination::lines(&server).len(), 3);
    // Conduit may still drain other connectors into this one.
    session.write(vec![destination::record(3)]);
    assert_eq!(session.acks(1).await[0].position, "p3");
    let error = timeout(PATIENCE, session.acks.message()).await.expect("Run ends").unwrap_err();
    assert!(error.message().contains("SIGTERM"), "{error}");
    session.end().await;
}

#[tokio::test]
async fn sigterm_is_no_error_of_a_destination_that_conduit_stops() {
    for stops_first in [true, false] {
        let server = destination::server().await;
        let config = destination::config(&server, &[("bufferSize", "1000"), ("bufferDelay", "10m")]);
        let mut session = destination::Session::open(config).await;
        session.write(vec![destination::record(0)]);
        if !stops_first {
            session.plugin.signal(Signal::TERM);
            session.plugin.says("SIGTERM came").await;
        }
        session.stop("p0").await;
        if stops_first {
            session.plugin.signal(Signal::TERM);
        }
        assert_eq!(session.acks(1).await[0].position, "p0");
        let destination::Session { plugin, mut acks, .. } = session;
        plugin.destination().teardown(TeardownRequest {}).await.unwrap();
        assert_eq!(timeout(PATIENCE, acks.message()).await.expect("Run ends").unwrap(), None);
        assert!(plugin.shut_down().await.success());
    }
}

/// A store that takes connections and says nothing, and settings for it.
async fn silent_store() -> (TcpListener, BTreeMap<String, String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let settings = [
        ("aws.bucket", "lake"),
        ("aws.region", "us-east-1"),
        ("aws.endpoint", endpoint.as_str()),
        ("aws.accessKeyId", "id"),
        ("aws.secretAccessKey", "secret"),
    ];
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    (listener, settings)
}

/// Waits until somebody asks.
async fn asked(listener: &TcpListener) -> TcpStream {
    timeout(PATIENCE, listener.accept()).await.expect("the store is asked").unwrap().0
}

#[tokio::test]
async fn a_source_that_waits_for_its_store_to_open_can_be_stopped_and_torn_down() {
    for is_stopped in [true, false] {
        let (listener, config) = silent_store().await;
        let plugin = Start::new("c").start().await;
        let mut source = plugin.source();
        source.configure(ConfigureRequest { config }).await.unwrap();
        let mut opened = source.clone();
        let opening = tokio::spawn(async move { opened.open(SourceOpenRequest { position: Bytes::new() }).await });
        let _connection = asked(&listener).await;
        if is_stopped {
            let stopped = timeout(AT_ONCE, source.stop(SourceStopRequest {})).await.expect("Stop returns at once");
            assert!(stopped.unwrap().into_inner().last_position.is_empty());
        } else {
            timeout(AT_ONCE, source.teardown(TeardownRequest {})).await.expect("Teardown returns at once").unwrap();
        }
        let error = timeout(AT_ONCE, opening).await.expect("Open ends with it").unwrap().unwrap_err();
        assert!(error.message().contains("stopped"), "{error}");
        source.teardown(TeardownRequest {}).await.unwrap();
        assert!(plugin.shut_down().await.success());
    }
}

#[tokio::test]
async fn a_destination_that_waits_for_its_store_to_open_can_be_stopped_and_torn_down() {
    for is_stopped in [true, false] {
        let (listener, mut config) = silent_store().await;
        config.insert("format".to_owned(), "json".to_owned());
        let plugin = Start::new("c").start().await;
        let mut destination = plugin.destination();
        destination.configure(ConfigureRequest { config }).await.unwrap();
        let mut opened = destination.clone();
        let opening = tokio::spawn(async move { opened.open(DestinationOpenRequest {}).await });
        let _connection = asked(&listener).await;
        if is_stopped {
            let stop = destination.stop(DestinationStopRequest { last_position: Bytes::new() });
            timeout(AT_ONCE, stop).await.expect("Stop returns at once").unwrap();
        }
        timeout(AT_ONCE, destination.teardown(TeardownRequest {})).await.expect("Teardown returns at once").unwrap();
        let error = timeout(AT_ONCE, opening).await.expect("Open ends with it").unwrap().unwrap_err();
        assert!(error.message().contains("stopped"), "{error}");
        assert!(plugin.shut_down().await.success());
    }
}

#[tokio::test]
async fn a_source_refuses_calls_that_come_without_those_before_them() {
    let server = source::server().await;
    let config = settings(&server, source::BUCKET, &[]);
    let plugin = Start::new("c").start().await;
    let mut source = plugin.source();
    let open = || SourceOpenRequest { position: Bytes::new() };
    let told = |error: tonic::Status| error.message().to_owned();
    let without_configure = "Open was called without Configure before it";
    let without_open = "Run was called without Open before it";
    assert_eq!(told(source.open(open()).await.unwrap_err()), without_configure);
    assert_eq!(told(source.run(tokio_stream::pending()).await.unwrap_err()), without_open);
    source.configure(ConfigureRequest { config }).await.unwrap();
    assert_eq!(told(source.run(tokio_stream::pending()).await.unwrap_err()), without_open);
    source.open(open()).await.unwrap();
    assert_eq!(told(source.open(open()).await.unwrap_err()), without_configure);
    let _running = source.run(tokio_stream::pending()).await.unwrap();
    assert_eq!(told(source.run(tokio_stream::pending()).await.unwrap_err()), without_open);
    assert_eq!(told(source.open(open()).await.unwrap_err()), without_configure);
    source.teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
}

#[tokio::test]
async fn a_destination_refuses_calls_that_come_without_those_before_them() {
    let server = destination::server().await;
    let config = destination::config(&server, &[]);
    let plugin = Start::new("c").start().await;
    let mut destination = plugin.destination();
    let told = |error: tonic::Status| error.message().to_owned();
    let without_configure = "Open was called without Configure before it";
    let without_open = "Run was called without Open before it";
    assert_eq!(told(destination.open(DestinationOpenRequest {}).await.unwrap_err()), without_configure);
    assert_eq!(told(destination.run(tokio_stream::pending()).await.unwrap_err()), without_open);
    destination.configure(ConfigureRequest { config }).await.unwrap();
    assert_eq!(told(destination.run(tokio_stream::pending()).await.unwrap_err()), without_open);
    destination.open(DestinationOpenRequest {}).await.unwrap();
    assert_eq!(told(destination.open(DestinationOpenRequest {}).await.unwrap_err()), without_configure);
    let _running = destination.run(tokio_stream::pending()).await.unwrap();
    assert_eq!(told(destination.run(tokio_stream::pending()).await.unwrap_err()), without_open);
    assert_eq!(told(destination.open(DestinationOpenRequest {}).await.unwrap_err()), without_configure);
    destination.teardown(TeardownRequest {}).await.unwrap();
    assert!(plugin.shut_down().await.success());
}
