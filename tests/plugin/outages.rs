//! Stores that go away until the component fails and is made anew: Conduit sees a pause, and nothing else.
//!
//! The component asks for a minute before it fails, so each of these tests takes as long.

use bytes::Bytes;
use s3_connector_tests::plugin::{Start, settings};

use crate::{destination, source};

/// What a plugin logs once its component has failed, and once it goes on.
const INTERRUPTED: &str = "interrupted: ";
const RESUMED: &str = "resumed after an interruption of ";

#[tokio::test]
async fn a_source_goes_on_after_an_outage_with_each_record_once_and_in_order() {
    let mut server = source::server().await;
    let name = |n: usize| format!("k{n:02}");
    let put = |server: &embedded_s3::EmbeddedS3, numbers: std::ops::Range<usize>| {
        for n in numbers {
            server.store().put(source::BUCKET, &name(n), "x").unwrap();
        }
    };
    put(&server, 0..20);
    let state = tempfile::tempdir().unwrap();
    let config = settings(&server, source::BUCKET, &[("pollingPeriod", "50ms")]);
    let plugin = Start::new("p:c").state(state.path()).start().await;
    let mut session = source::Session::open(plugin, config, Bytes::new()).await;
    let mut records = session.take(20).await;
    session.ack(&records[..10]);
    server.unplug();
    put(&server, 20..40);
    // Acks go on while the store is away.
    for record in &records[10..] {
        session.ack(std::slice::from_ref(record));
    }
    session.plugin.says(INTERRUPTED).await;
    server.plug().await.unwrap();
    let during = session.take(20).await;
    session.ack(&during);
    session.plugin.says(RESUMED).await;
    put(&server, 40..41);
    let after = session.take(1).await;
    assert_eq!(session.stop().await, after[0].position, "nothing else was sent");
    session.ack(&after);
    session.end().await;
    records.extend([during, after].concat());
    assert_eq!(records.iter().map(source::key).collect::<Vec<_>>(), (0..41).map(name).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_destination_goes_on_after_an_outage_with_each_record_once_and_in_order() {
    let mut server = destination::server().await;
    let config = destination::config(&server, &[("bufferSize", "5"), ("bufferDelay", "10m")]);
    let mut session = destination::Session::open(config).await;
    let write = |session: &destination::Session, numbers: std::ops::Range<usize>| {
        for n in numbers {
            session.write(vec![destination::record(n)]);
        }
    };
    write(&session, 0..12);
    let mut acks = session.acks(10).await;
    server.unplug();
    write(&session, 12..33);
    session.plugin.says(INTERRUPTED).await;
    write(&session, 33..40);
    server.plug().await.unwrap();
    acks.extend(session.acks(30).await);
    session.plugin.says(RESUMED).await;
    write(&session, 40..43);
    session.stop("p42").await;
    acks.extend(session.acks(3).await);
    session.end().await;
    let told: Vec<_> = acks.into_iter().map(|ack| (ack.position, ack.error)).collect();
    let expected: Vec<_> = (0..43).map(|n| (Bytes::from(format!("p{n}")), String::new())).collect();
    assert_eq!(told, expected);
    // Names of objects tell nothing of their order.
    let mut batches = destination::batches(&server);
    batches.sort_unstable();
    assert_eq!(batches.concat(), (0..43).collect::<Vec<_>>());
}
