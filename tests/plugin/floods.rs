//! More than can be dealt with at once: small messages, small acks, and objects whose rest does not come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conduit_protocol::opencdc::v1::{Data, Record, data};
use s3_connector_tests::plugin::{Start, settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{destination, source};

/// More messages than wait to be read and than fit into what is sent ahead.
const MESSAGES: usize = 200_000;

#[tokio::test]
async fn small_messages_wait_without_an_error_and_stop_does_not_wait_for_their_rate() {
    let server = destination::server().await;
    let more = [("sdk.rate.perSecond", "100"), ("bufferSize", "50000"), ("bufferDelay", "10m")];
    let mut session = destination::Session::open(destination::config(&server, &more)).await;
    for n in 0..MESSAGES {
        let payload = Some(Data { data: Some(data::Data::RawData(Bytes::from_static(b"x"))) });
        session.write(vec![Record { position: format!("p{n}").into(), key: payload, ..Record::default() }]);
    }
    let begun = Instant::now();
    session.stop(&format!("p{}", MESSAGES - 1)).await;
    assert!(begun.elapsed() < Duration::from_secs(120), "{MESSAGES} records at 100 per second take half an hour");
    let acks = session.acks(MESSAGES).await;
    assert!(acks.iter().enumerate().all(|(n, ack)| ack.position == format!("p{n}") && ack.error.is_empty()));
    session.end().await;
}

#[tokio::test]
async fn small_acks_come_all_at_once() {
    const RECORDS: usize = 20_000;
    let server = source::server().await;
    for n in 0..RECORDS {
        server.store().put(source::BUCKET, &format!("k{n:05}"), "x").unwrap();
    }
    let config = settings(&server, source::BUCKET, &[("concurrency", "256")]);
    let mut session = source::Session::open(Start::new("p:c").start().await, config, Bytes::new()).await;
    let records = session.take(RECORDS).await;
    for record in &records {
        session.ack(std::slice::from_ref(record));
    }
    assert_eq!(session.stop().await, records[RECORDS - 1].position);
    session.end().await;
}

/// Passes connections on to a server, and, while it holds, no answer further than this many bytes of a connection.
async fn stalling(server: SocketAddr, bytes: usize, holds: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(pass_on(client, server, bytes, Arc::clone(&holds)));
        }
    });
    address
}

async fn pass_on(client: TcpStream, server: TcpStream, bytes: usize, holds: Arc<AtomicBool>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let (mut piece, mut passed) = (vec![0; 64 << 10], 0);
    while let Ok(count @ 1..) = from_server.read(&mut piece).await {
        passed += count;
        if passed > bytes && holds.load(Ordering::SeqCst) {
            std::future::pending().await
        }
        if to_client.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_rest_of_an_object() {
    let server = source::server().await;
    server.store().put(source::BUCKET, "a", "x").unwrap();
    server.store().put(source::BUCKET, "b", vec![0; 4 << 20]).unwrap();
    let holds = Arc::new(AtomicBool::new(true));
    let address = stalling(server.address().unwrap(), 1 << 20, Arc::clone(&holds)).await;
    let mut config = settings(&server, source::BUCKET, &[]);
    config.insert("aws.endpoint".to_owned(), format!("http://{address}"));
    let state = tempfile::tempdir().unwrap();
    let plugin = Start::new("p:c").state(state.path()).start().await;
    let mut session = source::Session::open(plugin, config.clone(), Bytes::new()).await;
    let first = session.take(1).await;
    let begun = Instant::now();
    assert_eq!(session.stop().await, first[0].position);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    session.ack(&first);
    session.end().await;
    let plugin = Start::new("p:c").state(state.path()).start().await;
    holds.store(false, Ordering::SeqCst);
    let mut session = source::Session::open(plugin, config, first[0].position.clone()).await;
    let rest = session.take(1).await;
    assert_eq!(source::key(&rest[0]), "b", "it comes with the next start");
    session.end().await;
}
