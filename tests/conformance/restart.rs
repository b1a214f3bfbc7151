//! Cases of stopping and going on: after any record, with and without saved state, from positions good and bad.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use s3_connector_host::ErrorKind;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{
    Bucket, Conditions, Env, Record, SavedState, WorldKind, key, read_all, read_some, summary,
};

in_every_world! {
    a_restart_after_any_record_of_a_snapshot_loses_and_repeats_nothing,
    a_restart_after_any_record_of_a_snapshot_loses_nothing_without_state,
    a_restart_in_the_middle_of_a_poll_loses_and_repeats_nothing,
    a_restart_in_the_middle_of_a_poll_loses_nothing_without_state,
    a_restart_after_any_change_of_a_mixed_history_loses_and_repeats_nothing,
    a_restart_after_any_change_of_a_mixed_history_loses_nothing_without_state,
    restarts_after_every_record_in_turn_lose_and_repeat_nothing,
    without_saved_state_a_restart_repeats_the_window_and_loses_nothing,
    objects_of_one_second_are_all_delivered_before_and_after_a_restart,
    what_happens_while_nothing_runs_is_delivered,
    an_empty_bucket_has_a_beginning_too,
    what_was_never_acked_comes_again_without_a_position,
    a_restart_from_a_record_that_was_acked_long_ago_loses_nothing,
    bare_positions_of_the_go_connector_mean_what_they_meant,
    a_position_that_is_garbage_is_corrupt,
    a_damaged_or_foreign_position_is_corrupt,
    acks_go_in_order_and_name_records_that_are_out,
    calls_out_of_order_are_refused,
}

/// Resumes after the last of `first` and returns the keys of both, in order.
async fn keys_with_restart(bucket: &Bucket, first: &[Record], state: &SavedState) -> Vec<String> {
    let position = first.last().expect("something was read").position.clone();
    let mut source = bucket.resume(state, &position).await;
    let rest = read_all(&mut source).await.expect("reads");
    first.iter().chain(&rest).map(key).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k{n:02}")).collect()
}

async fn a_restart_after_any_record_of_a_snapshot_loses_and_repeats_nothing(env: &Env) {
    let bucket = env.versioned().await;
    let keys = numbered(12);
    bucket.put_all(&keys, str::to_owned).await;
    for stop in 1..=keys.len() {
        let state = SavedState::memory();
        let mut source = bucket.start(&state).await;
        let first = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        assert_eq!(keys_with_restart(&bucket, &first, &state).await, keys, "stopped after {stop}");
    }
}

async fn a_restart_after_any_record_of_a_snapshot_loses_nothing_without_state(env: &Env) {
    let bucket = env.versioned().await;
    let keys = numbered(6);
    bucket.put_all(&keys, str::to_owned).await;
    for stop in 1..=keys.len() {
        let mut source = bucket.start(&SavedState::none()).await;
        let first = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        let all = keys_with_restart(&bucket, &first, &SavedState::none()).await;
        // The snapshot goes on where it stood; what lies in the window may come again.
        assert_eq!(all[..keys.len()], keys, "stopped after {stop}");
        assert!(all.len() <= 2 * keys.len(), "{all:?}");
    }
}

async fn a_restart_in_the_middle_of_a_poll_loses_and_repeats_nothing(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("seed", "1").await;
    let keys = numbered(8);
    for stop in 1..=keys.len() {
        let state = SavedState::memory();
        let mut source = bucket.start(&state).await;
        read_all(&mut source).await.expect("reads");
        bucket.put_all(&keys, |_| stop.to_string()).await;
        let first = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        let mut all = keys_with_restart(&bucket, &first, &state).await;
        all.sort();
        assert_eq!(all, keys, "stopped after {stop}");
    }
}

async fn a_restart_in_the_middle_of_a_poll_loses_nothing_without_state(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("seed", "1").await;
    let keys = numbered(5);
    for stop in 1..=keys.len() {
        let mut source = bucket.start(&SavedState::none()).await;
        read_all(&mut source).await.expect("reads");
        bucket.put_all(&keys, |_| stop.to_string()).await;
        let first = read_some(&mut source, stop).await.expect("reads");
        let position = first[stop - 1].position.clone();
        drop(source);
        let mut source = bucket.resume(&SavedState::none(), &position).await;
        let rest = read_all(&mut source).await.expect("reads");
        let newest = |record: &&Record| summary(std::slice::from_ref(*record))[0].ends_with(&format!(" {stop}"));
        let seen: BTreeSet<_> = first.iter().chain(&rest).filter(newest).map(key).collect();
        let missing: Vec<_> = keys.iter().filter(|key| !seen.contains(*key)).collect();
        assert!(missing.is_empty(), "stopped after {stop}: {missing:?} are missing");
    }
}

/// A key, and the body that it gets; `None` where it is deleted.
type Happening = (&'static str, Option<&'static str>);

/// What happens to a bucket that held `a`, `b` and `c`.
const HISTORY: [Happening; 8] = [
    ("a", Some("2")),
    ("b", None),
    ("d", Some("1")),
    ("b", Some("2")),
    ("d", None),
    ("c", Some("2")),
    ("c", Some("3")),
    ("a", None),
];

/// What a source delivers of it, snapshot and all.
const STORY: [&str; 11] = [
    "snapshot a 1",
    "snapshot b 1",
    "snapshot c 1",
    "update a 2",
    "delete b -",
    "create d 1",
    "create b 2",
    "delete d -",
    "update c 2",
    "update c 3",
    "delete a -",
];

/// Objects in the snapshot.
const FIRST: usize = STORY.len() - HISTORY.len();

/// A bucket with `a`, `b` and `c`.
async fn before_history(env: &Env) -> Bucket {
    let bucket = env.bucket(Conditions::versioned().stopped_if(!env.is_real())).await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    bucket
}

/// Lets a part of [`HISTORY`] happen.
async fn happen(env: &Env, bucket: &Bucket, history: &[Happening]) {
    for (key, body) in history {
        if !env.is_real() {
            // A listing that has versions and delete markers apart tells no order within a second.
            bucket.advance(Duration::from_secs(1)).await;
        }
        match body {
            Some(body) => bucket.put(key, *body).await,
            None => bucket.delete(key).await,
        }
    }
}

/// The records of each key in their order: across keys a store with coarse stamps tells none.
fn by_key<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for line in lines {
        let key = line.split(' ').nth(1).expect("a line has a key");
        keys.entry(key).or_default().push(line);
    }
    keys
}

/// Stops after the record of that number and resumes with another source; returns all that both delivered.
async fn story_with_restart(env: &Env, state: &SavedState, stop: usize) -> Vec<String> {
    let bucket = before_history(env).await;
    let mut source = bucket.start(state).await;
    let mut records = read_some(&mut source, FIRST).await.expect("reads");
    happen(env, &bucket, &HISTORY).await;
    records.extend(read_some(&mut source, stop - FIRST).await.expect("reads"));
    drop(source);
    let position = records[stop - 1].position.clone();
    let mut source = bucket.resume(state, &position).await;
    records.extend(read_all(&mut source).await.expect("reads"));
    summary(&records)
}

async fn a_restart_after_any_change_of_a_mixed_history_loses_and_repeats_nothing(env: &Env) {
    for stop in FIRST..=STORY.len() {
        let lines = story_with_restart(env, &SavedState::memory(), stop).await;
        let told = by_key(lines.iter().map(String::as_str));
        assert_eq!(told, by_key(STORY), "stopped after {stop}");
    }
}

async fn a_restart_after_any_change_of_a_mixed_history_loses_nothing_without_state(env: &Env) {
    for stop in FIRST..=STORY.len() {
        let lines = story_with_restart(env, &SavedState::none(), stop).await;
        let told = by_key(lines.iter().map(String::as_str));
        // Everything in its order, and then perhaps once more.
        for (key, expected) in by_key(STORY) {
            let mut rest = told[key].iter();
            let mut changes = expected.iter().filter(|line| !line.starts_with("snapshot"));
            let missing = changes.find(|line| !rest.any(|told| told == *line));
            assert_eq!(missing, None, "stopped after {stop}: {lines:?}");
        }
    }
}

async fn restarts_after_every_record_in_turn_lose_and_repeat_nothing(env: &Env) {
    let bucket = before_history(env).await;
    let state = SavedState::memory();
    let mut records: Vec<Record> = Vec::new();
    // The rest of the snapshot, then two polls; what is acked, and what isn't.
    for (history, count) in [(&[][..], FIRST), (&HISTORY[..5], 5), (&HISTORY[5..], 3)] {
        happen(env, &bucket, history).await;
        for _ in 0..count {
            let position = records.last().map(|record| record.position.clone());
            let mut source = bucket.source(&[], &state, position.as_deref()).await.expect("goes on");
            let record = read_some(&mut source, 1).await.expect("reads").remove(0);
            if records.len() % 3 != 1 {
                source.ack(&record.position).await.expect("acks");
            }
            records.push(record);
        }
    }
    let lines = summary(&records);
    assert_eq!(by_key(lines.iter().map(String::as_str)), by_key(STORY));
    let position = records.last().expect("many").position.clone();
    let mut source = bucket.resume(&state, &position).await;
    assert!(read_all(&mut source).await.expect("reads").is_empty());
}

async fn without_saved_state_a_restart_repeats_the_window_and_loses_nothing(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = bucket.start(&SavedState::none()).await;
    read_all(&mut source).await.expect("reads");
    bucket.put("b", "1").await;
    let records = read_all(&mut source).await.expect("reads");
    drop(source);
    bucket.put("c", "1").await;
    let position = records[0].position.clone();
    let mut source = bucket.resume(&SavedState::none(), &position).await;
    let mut changes = summary(&read_all(&mut source).await.expect("reads"));
    changes.sort();
    assert_eq!(changes, ["create a 1", "create b 1", "create c 1"]);
}

async fn objects_of_one_second_are_all_delivered_before_and_after_a_restart(env: &Env) {
    let bucket = env.within_a_second().await;
    let state = SavedState::memory();
    bucket.put("b", "1").await;
    let mut source = bucket.start(&state).await;
    let mut records = read_all(&mut source).await.expect("reads");
    for key in ["c", "d"] {
        bucket.put(key, "1").await;
        records.extend(read_all(&mut source).await.expect("reads"));
    }
    let position = records.last().expect("three records").position.clone();
    drop(source);
    bucket.put("a", "1").await;
    let mut source = bucket.resume(&state, &position).await;
    records.extend(read_all(&mut source).await.expect("reads"));
    assert_eq!(records.iter().map(key).collect::<Vec<_>>(), ["b", "c", "d", "a"]);
}

async fn what_happens_while_nothing_runs_is_delivered(env: &Env) {
    let bucket = env.versioned().await;
    let state = SavedState::memory();
    bucket.put("a", "1").await;
    bucket.put("b", "1").await;
    let mut source = bucket.start(&state).await;
    let first = read_some(&mut source, 1).await.expect("reads");
    drop(source);
    bucket.put("a", "2").await;
    bucket.delete("b").await;
    bucket.put("c", "1").await;
    let position = first[0].position.clone();
    let mut source = bucket.resume(&state, &position).await;
    let mut changes = summary(&read_all(&mut source).await.expect("reads"));
    // The snapshot goes on with what it has listed; what became of that follows it.
    assert_eq!(changes.remove(0), "snapshot b 1");
    changes.sort();
    assert_eq!(changes, ["create c 1", "delete b -", "update a 2"]);
}

async fn an_empty_bucket_has_a_beginning_too(env: &Env) {
    for (start, without_state) in [("snapshot", &["snapshot a 1"][..]), ("now", &[])] {
        for state in [SavedState::memory(), SavedState::none()] {
            let bucket = env.plain().await;
            let settings = [("start", start)];
            let mut source = bucket.start_with(&settings, &state).await;
            assert!(read_all(&mut source).await.expect("reads").is_empty());
            drop(source);
            bucket.put("a", "1").await;
            // No record was handed out, so there is no position.
            let mut source = bucket.start_with(&settings, &state).await;
            let records = read_all(&mut source).await.expect("reads");
            let expected = if state.keeps() { &["create a 1"][..] } else { without_state };
            assert_eq!(summary(&records), expected, "{start}");
        }
    }
}

async fn what_was_never_acked_comes_again_without_a_position(env: &Env) {
    let bucket = env.versioned().await;
    let state = SavedState::memory();
    for key in ["a", "b"] {
        bucket.put(key, "1").await;
    }
    let mut source = bucket.start(&state).await;
    read_some(&mut source, 2).await.expect("reads");
    drop(source);
    bucket.put("a", "2").await;
    bucket.delete("b").await;
    bucket.put("c", "1").await;
    let mut source = bucket.start(&state).await;
    let mut records = summary(&read_all(&mut source).await.expect("reads"));
    let changes = records.split_off(2);
    assert_eq!(records, ["snapshot a 1", "snapshot b 1"]);
    let changes = by_key(changes.iter().map(String::as_str));
    assert_eq!(changes, by_key(["update a 2", "delete b -", "create c 1"]));
}

async fn a_restart_from_a_record_that_was_acked_long_ago_loses_nothing(env: &Env) {
    let bucket = env.versioned().await;
    let state = SavedState::memory();
    bucket.put("a", "0").await;
    let mut source = bucket.start(&state).await;
    let mut records = read_all(&mut source).await.expect("reads");
    for n in 1..=3 {
        bucket.put("a", n.to_string()).await;
        records.extend(read_all(&mut source).await.expect("reads"));
    }
    drop(source);
    for (index, record) in records.iter().enumerate() {
        let position = record.position.clone();
        let mut source = bucket.resume(&state, &position).await;
        let rest = summary(&read_all(&mut source).await.expect("reads"));
        for n in index + 1..=3 {
            assert!(rest.contains(&format!("update a {n}")), "from {index}: {rest:?}");
        }
    }
}

async fn bare_positions_of_the_go_connector_mean_what_they_meant(env: &Env) {
    let bucket = env.versioned().await;
    let keys = ["a", "b_s1", "c"];
    for key in keys {
        bucket.put(key, "1").await;
    }
    // In a snapshot: after the key, which may look like a position itself.
    for (position, expected) in [("a_s0", &keys[1..]), ("b_s1_s0", &keys[2..])] {
        let mut source = bucket.resume(&SavedState::memory(), position.as_bytes()).await;
        let records = read_some(&mut source, expected.len()).await.expect("reads");
        assert_eq!(records.iter().map(key).collect::<Vec<_>>(), expected, "{position}");
    }
    // In CDC: from that second on, and a window before it.
    let now = match env.kind() {
        WorldKind::Real => SystemTime::now(),
        _ => bucket.server().clock().now(),
    };
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).expect("past 1970").as_secs();
    let position = format!("a_c{seconds}");
    let mut source = bucket.resume(&SavedState::memory(), position.as_bytes()).await;
    let mut changes = summary(&read_all(&mut source).await.expect("reads"));
    changes.sort();
    assert_eq!(changes, ["create a 1", "create b_s1 1", "create c 1"]);
    bucket.put("a", "2").await;
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["update a 2"]);
    let far = format!("a_c{}", seconds + 3600);
    let mut source = bucket.resume(&SavedState::memory(), far.as_bytes()).await;
    assert!(read_all(&mut source).await.expect("reads").is_empty(), "all of that was before");
}

async fn a_position_that_is_garbage_is_corrupt(env: &Env) {
    let bucket = env.plain().await;
    let garbage = [
        &b"nothing"[..],
        b"a_",
        b"_",
        b"a_x1",
        b"\xff\xfe",
        b"a_s1~AQ",
        b"a_s",
        b"a_c",
        b"a_s-1",
        b"a_s1.5",
        b"_s1",
        b"a_s99999999999999999999",
        b"a_s1~",
        b"a_s1~~",
        b"a_s1~!",
        b"a_c1 ",
    ];
    for position in garbage {
        let Err(error) = bucket.source(&[], &SavedState::memory(), Some(position)).await else {
            panic!("{:?} was taken", String::from_utf8_lossy(position))
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

async fn a_damaged_or_foreign_position_is_corrupt(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    let mut source = bucket.open().await;
    let position = read_some(&mut source, 1).await.expect("reads").remove(0).position;
    let extension = position.iter().position(|byte| *byte == b'~').expect("it has an extension") + 1;
    let refused = async |position: &[u8], settings: &[(&str, &str)]| {
        let Err(error) = bucket.source(settings, &SavedState::memory(), Some(position)).await else {
            panic!("{:?} was taken", String::from_utf8_lossy(position))
        };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        error.message().to_owned()
    };
    for end in extension..position.len() {
        refused(&position[..end], &[]).await;
    }
    let bytes = STANDARD_NO_PAD.decode(&position[extension..]).expect("base64");
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        let text = [&position[..extension], STANDARD_NO_PAD.encode(flipped).as_bytes()].concat();
        refused(&text, &[]).await;
    }
    let renamed = [b"b", &position[1..]].concat();
    refused(&renamed, &[]).await;
    for elsewhere in [("prefix", "other"), ("aws.bucket", "another-bucket")] {
        let message = refused(&position, &[elsewhere]).await;
        assert!(message.contains("another bucket or prefix"), "{message}");
    }
    bucket.source(&[], &SavedState::memory(), Some(&position)).await.expect("undamaged, it is taken");
}

async fn acks_go_in_order_and_name_records_that_are_out(env: &Env) {
    let bucket = env.plain().await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    let mut source = bucket.open().await;
    let records = read_some(&mut source, 3).await.expect("reads");
    source.ack(&records[1].position).await.expect("acks the first two");
    let error = source.ack(&records[0].position).await.expect_err("acked before");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = source.ack(b"z_s1").await.expect_err("was never out");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    source.ack(&records[2].position).await.expect("acks the last one");
}

async fn calls_out_of_order_are_refused(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    let configured = bucket.configured_source(bucket.settings(&[]), &SavedState::memory()).await;
    let mut source = configured.expect("configures");
    let error = source.read(1, Duration::ZERO).await.expect_err("is not open");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(!source.progress().await.expect("answers").caught_up);
    source.open(None).await.expect("opens");
    let error = source.open(None).await.expect_err("is open");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let records = read_some(&mut source, 1).await.expect("reads");
    source.teardown().await.expect("ends");
    source.teardown().await.expect("ends again");
    for error in [
        source.read(1, Duration::ZERO).await.expect_err("is over"),
        source.ack(&records[0].position).await.expect_err("is over"),
        source.open(None).await.expect_err("is over"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
}
