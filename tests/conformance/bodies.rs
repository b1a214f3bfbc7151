//! Cases of bodies: small ones travel in their records and hold nothing, large ones are streams that wait for acks.

use std::time::Duration;

use bytes::Bytes;
use embedded_s3::S3Operation;
use s3_connector::limits;
use s3_connector::record::Data;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Env, SavedState, key, payload, read_all};

in_every_world! {
    bodies_of_every_size_are_whole,
    what_is_too_large_for_a_record_stops_the_source_or_is_skipped,
    an_object_that_outgrows_its_record_is_left_to_the_next_poll,
    a_read_stays_within_its_bytes,
}

/// How bodies may travel.
const PAYLOADS: [&str; 3] = ["auto", "stream", "raw"];

async fn bodies_of_every_size_are_whole(env: &Env) {
    let bucket = env.plain().await;
    let most = usize::try_from(limits::WHOLE_BODY_BYTES_MAX).expect("small");
    let sizes = [0, 1, most - 1, most, most + 1, 4 * most];
    let body = |size: usize| -> Vec<u8> { (0..size).map(|n| n as u8).collect() };
    for (index, size) in sizes.into_iter().enumerate() {
        bucket.put(&format!("k{index}"), body(size)).await;
    }
    for way in PAYLOADS {
        let mut source = bucket.open_with(&[("payload", way)]).await;
        let records = read_all(&mut source).await.expect("reads");
        for (record, size) in records.iter().zip(sizes) {
            assert!(payload(record).expect("a body") == body(size), "{size} by {way}");
            assert_eq!(record.metadata["s3.size"], size.to_string());
        }
        assert_eq!(records.len(), sizes.len(), "{way}");
    }
}

async fn what_is_too_large_for_a_record_stops_the_source_or_is_skipped(env: &Env) {
    let bucket = env.plain().await;
    let most = usize::try_from(limits::RAW_BODY_BYTES_MAX).expect("it is in memory");
    for (key, size) in [("a", most), ("b", most + 1), ("c", 1)] {
        bucket.put(key, vec![7; size]).await;
    }
    let raw = ("payload", "raw");
    let mut source = bucket.start_with(&[raw], &SavedState::none()).await;
    let records = source.read(10, Duration::from_secs(60)).await.expect("reads what comes before it");
    assert_eq!(payload(&records[0]).expect("a body").len(), most);
    let error = match source.read(10, Duration::from_secs(60)).await {
        Ok(records) => panic!("{} records came after it", records.len()),
        Err(error) => error.to_string(),
    };
    for part in ["object `b`", "16777217 bytes", "`payload`", "`unreadable`"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut source = bucket.start_with(&[raw, ("unreadable", "skip")], &SavedState::none()).await;
    let records = read_all(&mut source).await.expect("goes on");
    assert_eq!(records.iter().map(key).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(source.progress().await.expect("answers").counter("skipped"), 1);
    // Others carry it.
    let mut source = bucket.start(&SavedState::none()).await;
    assert_eq!(read_all(&mut source).await.expect("reads").len(), 3);
}

async fn an_object_that_outgrows_its_record_is_left_to_the_next_poll(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    let large = vec![7; 1 << 20];
    let mut pause = bucket.wire().pause(S3Operation::GetObject);
    let mut source = bucket.start_with(&[("payload", "raw")], &SavedState::none()).await;
    let overwrite = async {
        let held = pause.arrived().await;
        bucket.put("a", large.clone()).await;
        held.release();
        drop(pause);
    };
    let (records, ()) = tokio::join!(read_all(&mut source), overwrite);
    let records = records.expect("reads");
    assert_eq!(records.len(), 1, "it comes once");
    assert!(payload(&records[0]).expect("a body") == large);
}

#[tokio::test]
async fn payload_chooses_how_bodies_travel() {
    let bucket = Env::component().plain().await;
    let most = usize::try_from(limits::WHOLE_BODY_BYTES_MAX).expect("small");
    let sizes = [0, most, most + 1, 3 << 20];
    for size in sizes {
        bucket.put(&format!("{size:09}"), Bytes::from(vec![7; size])).await;
    }
    for (way, streams) in [("auto", [false, false, true, true]), ("stream", [true; 4]), ("raw", [false; 4])] {
        let mut source = bucket.start_with(&[("payload", way)], &SavedState::none()).await.into_host();
        let mut found = Vec::new();
        while found.len() < sizes.len() {
            let records = source.read(10, Duration::from_secs(60)).await.expect("reads");
            found.extend(records.iter().map(|record| matches!(record.payload.after, Some(Data::Body { .. }))));
        }
        assert_eq!(found, streams, "{way}");
    }
}

#[tokio::test]
async fn large_bodies_in_records_never_fill_the_memory() {
    let bucket = Env::component().plain().await;
    let body = Bytes::from(vec![7; usize::try_from(limits::RAW_BODY_BYTES_MAX).expect("it is in memory")]);
    // More than the component has.
    let count = 70;
    for number in 0..count {
        bucket.put(&format!("{number:02}"), body.clone()).await;
    }
    let settings = [("payload", "raw"), ("concurrency", "512")];
    let mut source = bucket.start_with(&settings, &SavedState::none()).await.into_host();
    let mut read = 0;
    while read < count {
        let records = source.read(1000, Duration::from_secs(60)).await.expect("does not trap");
        assert!(records.iter().all(|record| matches!(&record.payload.after, Some(Data::Raw(bytes)) if *bytes == body)));
        read += records.len();
    }
}

async fn a_read_stays_within_its_bytes(env: &Env) {
    let bucket = env.plain().await;
    for index in 0..12 {
        bucket.put(&format!("k{index:02}"), vec![b'x'; 1000]).await;
    }
    for bytes_max in [0, 1, 1000, 5000, 9999, u64::MAX] {
        let mut source = bucket.open().await;
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
    let bucket = Env::component().plain().await;
    for number in 0..UNACKED {
        bucket.put(&format!("{number:06}"), Bytes::from_static(b"small")).await;
    }
    let mut source = bucket.start_with(&[("concurrency", "256")], &SavedState::none()).await.into_host();
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
    let bucket = Env::component().plain().await;
    let body = Bytes::from(vec![7; 65_537]);
    let most = limits::STREAMS_UNACKED_MAX;
    for number in 0..most + 3 {
        bucket.put(&format!("{number:06}"), body.clone()).await;
    }
    let mut source = bucket.start(&SavedState::none()).await.into_host();
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

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_never_becomes_a_mixture() {
    const LENGTH: usize = 40 << 20;
    // Bytes that were read when it is replaced: none; some, while five parts are on their way; those of three parts.
    for replaced_at in [0, 1, 24 << 20] {
        let bucket = Env::component().plain().await;
        let [old, new] = [1, 2].map(|byte| Bytes::from(vec![byte; LENGTH]));
        bucket.put("a", old).await;
        let mut source = bucket.start(&SavedState::none()).await.into_host();
        let mut record = source.read(1, Duration::from_secs(60)).await.expect("reads").remove(0);
        let Some(Data::Body { bytes: mut body, .. }) = record.payload.after.take() else {
            panic!("it is too large for a record");
        };
        let (mut read, mut is_replaced) = (0, false);
        let is_whole = loop {
            if read >= replaced_at && !is_replaced {
                bucket.put("a", new.clone()).await;
                is_replaced = true;
            }
            match body.next().await {
                Ok(Some(piece)) => {
                    assert!(piece.iter().all(|byte| *byte == 1), "{replaced_at}: bytes of the other one at {read}");
                    read += piece.len();
                }
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert_eq!(is_whole, read == LENGTH, "{replaced_at}");
        drop(body);
        source.ack(&record.position).await.expect("acks");
        let next = loop {
            if let Some(next) = source.read(1, Duration::from_secs(60)).await.expect("reads").pop() {
                break next;
            }
        };
        let next = s3_connector_host::record::collect(next).await.expect("is whole");
        assert!(payload(&next).expect("a body") == new, "{replaced_at}: the next poll tells the new one");
    }
}
