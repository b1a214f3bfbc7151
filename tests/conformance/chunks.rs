//! Cases of objects in chunks: what each record says, where a restart goes on, and what becomes of the rest of an object
//! that is overwritten.

use std::time::Duration;

use s3_connector::limits;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Env, Record, SavedState, key, payload, read_all, read_some};

in_every_world! {
    an_object_larger_than_a_chunk_is_several_records,
    a_restart_after_any_chunk_goes_on_with_the_next_one,
    a_restart_after_any_chunk_loses_nothing_without_state,
    a_chunk_of_a_change_is_followed_by_the_next_one_after_a_restart,
    an_object_that_is_overwritten_in_the_middle_begins_again,
    what_is_overwritten_under_a_reader_is_told_whole_by_the_next_poll,
    an_object_that_is_deleted_in_the_middle_is_reported_as_deleted,
    the_previous_version_comes_with_the_first_chunk_alone,
    bounds_of_records_count_chunks_and_bounds_of_objects_count_objects,
}

const FOUR: (&str, &str) = ("chunkBytes", "4");

/// The key, and which chunk of how many, or `whole`.
fn place(record: &Record) -> String {
    let metadata = |name| record.metadata.get(&format!("opencdc.file.{name}")).map_or("", String::as_str);
    match metadata("chunked") {
        "" => format!("{} whole", key(record)),
        _ => format!("{} {}/{}", key(record), metadata("chunk.index"), metadata("chunk.count")),
    }
}

fn places(records: &[Record]) -> Vec<String> {
    records.iter().map(place).collect()
}

fn bytes(records: &[Record]) -> Vec<u8> {
    records.iter().flat_map(|record| payload(record).expect("a body").to_vec()).collect()
}

async fn an_object_larger_than_a_chunk_is_several_records(env: &Env) {
    let bucket = env.versioned().await;
    for (key, body) in [("a", "0123"), ("b", "0123456789"), ("c", ""), ("d", "01234567")] {
        bucket.put(key, body).await;
    }
    for way in ["auto", "stream", "raw"] {
        let mut source = bucket.open_with(&[FOUR, ("payload", way)]).await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(places(&records), ["a whole", "b 1/3", "b 2/3", "b 3/3", "c whole", "d 1/2", "d 2/2"], "{way}");
        assert_eq!(bytes(&records[1..4]), b"0123456789");
        let positions: std::collections::BTreeSet<_> = records.iter().map(|record| &record.position).collect();
        assert_eq!(positions.len(), records.len(), "each has its own");
        for record in &records[1..4] {
            assert_eq!(record.operation, records[1].operation);
            let of = |name: &str| record.metadata[name].as_str();
            assert_eq!((of("opencdc.file.name"), of("opencdc.file.size"), of("s3.size")), ("b", "10", "10"));
            assert_eq!(of("opencdc.file.hash"), of("s3.etag"));
            assert_eq!(of("s3.versionId"), records[1].metadata["s3.versionId"]);
        }
    }
}

async fn a_restart_after_any_chunk_goes_on_with_the_next_one(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "0123456789").await;
    bucket.put("b", "012345").await;
    let all = ["a 1/3", "a 2/3", "a 3/3", "b 1/2", "b 2/2"];
    for stop in 1..=all.len() {
        let state = SavedState::memory();
        let mut source = bucket.start_with(&[FOUR], &state).await;
        let mut records = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        // An object goes on as it began, whatever the setting is by now.
        let chunk = if stop == 3 { "4" } else { "5" };
        let position = records.last().expect("one").position.clone();
        let mut source = bucket.resume_with(&[("chunkBytes", chunk)], &state, &position).await;
        records.extend(read_all(&mut source).await.expect("reads"));
        assert_eq!(places(&records)[..], all, "stopped after {stop}");
        assert_eq!(bytes(&records[..3]), b"0123456789");
    }
}

async fn a_restart_after_any_chunk_loses_nothing_without_state(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "0123456789").await;
    bucket.put("b", "01234567").await;
    let all = ["a 1/3", "a 2/3", "a 3/3", "b 1/2", "b 2/2"];
    for stop in 1..=all.len() {
        let mut source = bucket.start_with(&[FOUR], &SavedState::none()).await;
        let first = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        let position = first.last().expect("one").position.clone();
        let mut source = bucket.resume_with(&[FOUR], &SavedState::none(), &position).await;
        let rest = places(&read_all(&mut source).await.expect("reads"));
        // What the position has not come to is told whole.
        let from = if stop < 3 { 0 } else { 3 };
        if stop < all.len() {
            assert!(rest.join(" ").contains(&all[from..].join(" ")), "stopped after {stop}: {rest:?}");
        }
    }
}

async fn a_chunk_of_a_change_is_followed_by_the_next_one_after_a_restart(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    for stop in 1..=3 {
        let state = SavedState::memory();
        let mut source = bucket.start_with(&[FOUR], &state).await;
        read_all(&mut source).await.expect("reads");
        bucket.put("a", format!("012345678{stop}")).await;
        let mut records = read_some(&mut source, stop).await.expect("reads");
        for record in &records {
            source.ack(&record.position).await.expect("acks");
        }
        let position = records.last().expect("one").position.clone();
        drop(source);
        let mut source = bucket.resume_with(&[FOUR], &state, &position).await;
        records.extend(read_all(&mut source).await.expect("reads"));
        assert_eq!(places(&records), ["a 1/3", "a 2/3", "a 3/3"], "stopped after {stop}");
        assert_eq!(bytes(&records), format!("012345678{stop}").into_bytes());
    }
}

async fn an_object_that_is_overwritten_in_the_middle_begins_again(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "0123456789").await;
    let state = SavedState::memory();
    let mut source = bucket.start_with(&[FOUR], &state).await;
    let first = read_some(&mut source, 1).await.expect("reads");
    drop(source);
    bucket.put("a", "abcdef").await;
    let mut source = bucket.resume_with(&[FOUR], &state, &first[0].position).await;
    let rest = read_all(&mut source).await.expect("reads");
    assert_eq!(places(&rest), ["a 1/2", "a 2/2"]);
    assert_eq!(bytes(&rest), b"abcdef");
}

async fn what_is_overwritten_under_a_reader_is_told_whole_by_the_next_poll(env: &Env) {
    let bucket = env.plain().await;
    let chunks = 2 * limits::READY_RECORDS_MAX;
    let (old, new) = (vec![b'o'; 4 * chunks], vec![b'n'; 40]);
    bucket.put("a", old).await;
    // So many chunks are left when this many are ready that the overwrite comes before the last of them.
    let mut source = bucket.open_with(&[FOUR, ("concurrency", "1")]).await;
    let mut records = read_some(&mut source, 1).await.expect("reads");
    bucket.put("a", new.clone()).await;
    records.extend(read_all(&mut source).await.expect("reads"));
    let begun: Vec<_> =
        (0..records.len()).filter(|n| records[*n].metadata["opencdc.file.chunk.index"] == "1").collect();
    let [0, again] = begun[..] else { panic!("{:?}", places(&records)) };
    assert!(again < chunks, "the first one ends early");
    assert!(bytes(&records[..again]).iter().all(|byte| *byte == b'o'), "no sequence has bytes of two objects");
    assert_eq!(bytes(&records[again..]), new);
    assert_eq!(places(&records).last().expect("one"), "a 10/10");
}

async fn an_object_that_is_deleted_in_the_middle_is_reported_as_deleted(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "0123456789").await;
    bucket.put("b", "1").await;
    let state = SavedState::memory();
    let mut source = bucket.start_with(&[FOUR], &state).await;
    let first = read_some(&mut source, 2).await.expect("reads");
    drop(source);
    bucket.delete("a").await;
    let mut source = bucket.resume_with(&[FOUR], &state, &first[1].position).await;
    let rest = read_all(&mut source).await.expect("reads");
    assert_eq!(s3_connector_tests::world::summary(&rest), ["snapshot b 1", "delete a -"]);
}

async fn the_previous_version_comes_with_the_first_chunk_alone(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "before").await;
    let mut source = bucket.open_with(&[FOUR, ("before", "true")]).await;
    read_all(&mut source).await.expect("reads");
    bucket.put("a", "0123456789").await;
    let records = read_all(&mut source).await.expect("reads");
    let has_before: Vec<_> = records.iter().map(|record| record.payload.before.is_some()).collect();
    assert_eq!(has_before, [true, false, false]);
}

async fn bounds_of_records_count_chunks_and_bounds_of_objects_count_objects(env: &Env) {
    let bucket = env.plain().await;
    let most = usize::try_from(limits::RAW_BODY_BYTES_MAX).expect("it is in memory");
    bucket.put("a", vec![7; most + 1]).await;
    let settings = [("payload", "raw"), ("chunkBytes", "16MiB"), ("unreadable", "skip")];
    let mut source = bucket.open_with(&settings).await;
    assert_eq!(places(&read_all(&mut source).await.expect("reads")), ["a 1/2", "a 2/2"]);
    let mut source = bucket.open_with(&[&settings[..], &[("objectBytes", "16MiB")]].concat()).await;
    assert_eq!(source.read(10, Duration::from_millis(100)).await.expect("skips it").len(), 0);
}
