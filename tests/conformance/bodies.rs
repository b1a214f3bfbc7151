//! Cases of bodies: small ones travel in their records and hold nothing, large ones are streams that wait for acks.

use std::time::Duration;

use bytes::Bytes;
use s3_connector::limits;
use s3_connector::record::Data;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Env, SavedState, World, payload, read_all};

in_every_world! {
    bodies_of_every_size_are_whole,
    a_read_stays_within_its_bytes,
}

async fn bodies_of_every_size_are_whole(env: &Env) {
    let bucket = env.plain().await;
    let most = usize::try_from(limits::WHOLE_BODY_BYTES_MAX).expect("small");
    let sizes = [0, 1, most - 1, most, most + 1, 4 * most];
    let body = |size: usize| -> Vec<u8> { (0..size).map(|n| n as u8).collect() };
    for (index, size) in sizes.into_iter().enumerate() {
        bucket.put(&format!("k{index}"), body(size)).await;
    }
    let mut source = bucket.source(&[], &SavedState::memory(), None).await.expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    for (record, size) in records.iter().zip(sizes) {
        assert!(payload(record).expect("a body") == body(size), "{size}");
        assert_eq!(record.metadata["s3.size"], size.to_string());
    }
    assert_eq!(records.len(), sizes.len());
}

async fn a_read_stays_within_its_bytes(env: &Env) {
    let bucket = env.plain().await;
    for index in 0..12 {
        bucket.put(&format!("k{index:02}"), vec![b'x'; 1000]).await;
    }
    for bytes_max in [0, 1, 1000, 5000, 9999, u64::MAX] {
        let mut source = bucket.source(&[], &SavedState::memory(), None).await.expect("opens");
        let (mut count, mut polls) = (0, 0);
        while count < 12 && polls < 1000 {
            let records = source.read_at_most(10, bytes_max, Duration::from_secs(1)).await.expect("reads");
            let bytes: u64 = records.iter().map(s3_connector::record::Record::inline_bytes).sum();
            assert!(
                records.len() <= 1 || bytes <= bytes_max,
                "{} records of {bytes} bytes: {bytes_max}",
                records.len()
            );
            // One record may leave whatever it holds, and a body's bytes are some of it.
            assert!(bytes_max > 1000 || records.len() <= 1);
            (count, polls) = (count + records.len(), polls + 1);
        }
        assert_eq!(count, 12, "{bytes_max}");
    }
}

/// Many more records than an instance may hold resources.
const UNACKED: usize = 100_000;

#[tokio::test]
async fn records_with_small_bodies_hold_nothing_until_they_are_acked() {
    let world = World::new().await;
    for number in 0..UNACKED {
        world.put(&format!("{number:06}"), Bytes::from_static(b"small"));
    }
    let mut source = world.source(&[("concurrency", "256")], &SavedState::none(), None).await.expect("opens");
    let (mut count, mut last) = (0, None);
    while count < UNACKED {
        let records = source.read(10_000, Duration::from_secs(60)).await;
        let records = records.expect("does not trap");
        let is_value = |record: &s3_connector_host::Record| matches!(record.payload.after, Some(Data::Raw(_)));
        assert!(records.iter().all(is_value));
        count += records.len();
        last = records.into_iter().next_back().or(last);
    }
    let last = last.expect("there are many").position;
    source.ack(&last).await.expect("acks them all");
}

#[tokio::test]
async fn records_with_streams_wait_for_acks_rather_than_end_the_instance() {
    let world = World::new().await;
    let body = Bytes::from(vec![7; 65_537]);
    let most = limits::STREAMS_UNACKED_MAX;
    for number in 0..most + 3 {
        world.put(&format!("{number:06}"), body.clone());
    }
    let mut source = world.source(&[], &SavedState::none(), None).await.expect("opens");
    let mut positions = Vec::new();
    while positions.len() < most {
        let records = source.read(10_000, Duration::from_secs(60)).await;
        let records = records.expect("does not trap").into_iter();
        positions.extend(records.map(|record| record.position));
    }
    assert_eq!(positions.len(), most);
    let more = source.read(10, Duration::from_millis(200)).await;
    assert!(more.expect("waits").is_empty(), "the next ones wait");
    // Each ack makes room for one.
    source.ack(&positions[1]).await.expect("acks two");
    let more = source.read(10, Duration::from_secs(60)).await;
    assert_eq!(more.expect("reads").len(), 2);
}
