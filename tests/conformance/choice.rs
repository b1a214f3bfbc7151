//! Cases of what a source is told to read: where it begins, and which keys.

use std::time::Duration;

use embedded_s3::S3Operation;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{AnySource, Bucket, Env, Record, SavedState, key, read_all, summary};

in_every_world! {
    a_source_that_starts_now_tells_only_what_comes,
    a_start_from_now_holds_across_restarts,
    another_start_without_a_position_begins_anew,
    a_source_that_starts_at_a_time_tells_what_was_stored_since,
    a_source_that_starts_at_a_time_finds_it_without_versions,
    a_source_that_starts_in_1970_tells_every_version,
    where_a_source_starts_does_not_matter_to_one_that_resumes,
    globs_choose_keys_of_snapshot_and_changes,
    globs_are_compared_with_what_follows_the_prefix,
    a_source_that_takes_no_key_reads_nothing_and_goes_on,
    a_key_that_is_newly_excluded_is_not_told_as_deleted,
    a_key_that_is_newly_included_is_told,
}

const NOW: (&str, &str) = ("start", "now");

async fn next(source: &mut AnySource) -> Vec<String> {
    summary(&read_all(source).await.expect("reads"))
}

/// The same, in the order of the text: of changes of one second, the order is the store's business.
async fn next_sorted(source: &mut AnySource) -> Vec<String> {
    let mut changes = next(source).await;
    changes.sort();
    changes
}

async fn a_source_that_starts_now_tells_only_what_comes(env: &Env) {
    // What is stamped before a time that has not come yet is history, too.
    for start in [NOW, ("start", "2999-01-01T00:00:00Z")] {
        for bucket in [env.versioned().await, env.plain().await] {
            for key in ["a", "b", "c"] {
                bucket.put(key, "1").await;
            }
            let mut source = bucket.open_with(&[start]).await;
            assert!(next(&mut source).await.is_empty(), "{start:?}");
            assert_eq!(bucket.wire().requests_count(S3Operation::GetObject), 0);
            bucket.put("a", "22").await;
            bucket.delete("b").await;
            bucket.put("d", "1").await;
            assert_eq!(next_sorted(&mut source).await, ["create d 1", "delete b -", "update a 22"]);
            assert!(next(&mut source).await.is_empty());
        }
    }
}

async fn a_start_from_now_holds_across_restarts(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let state = SavedState::memory();
    let mut source = bucket.start_with(&[NOW], &state).await;
    assert!(next(&mut source).await.is_empty());
    drop(source);
    // There is no position yet, but a beginning.
    bucket.put("a", "2").await;
    bucket.put("b", "1").await;
    let mut source = bucket.start_with(&[NOW], &state).await;
    let records = read_all(&mut source).await.expect("reads");
    let mut changes = summary(&records);
    changes.sort();
    assert_eq!(changes, ["create b 1", "update a 2"]);
    drop(source);
    bucket.delete("a").await;
    let position = &records.last().expect("two came").position;
    let mut source = bucket.resume_with(&[NOW], &state, position).await;
    assert_eq!(next(&mut source).await, ["delete a -"]);
}

async fn another_start_without_a_position_begins_anew(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let state = SavedState::memory();
    let mut source = bucket.start_with(&[NOW], &state).await;
    assert!(next(&mut source).await.is_empty());
    drop(source);
    let mut source = bucket.start(&state).await;
    assert_eq!(next(&mut source).await, ["snapshot a 1"]);
}

/// When the store stamped that object.
async fn stamp(bucket: &Bucket, wanted: &str) -> String {
    let mut source = bucket.open().await;
    let records: Vec<Record> = read_all(&mut source).await.expect("reads");
    let record = records.iter().find(|record| key(record) == wanted).expect("it is there");
    record.metadata["s3.lastModified"].clone()
}

/// Long enough that no stamp of before is in the same second.
const APART: Duration = Duration::from_secs(2);

async fn a_source_that_starts_at_a_time_tells_what_was_stored_since(env: &Env) {
    let bucket = env.versioned().await;
    for key in ["changed", "gone", "old"] {
        bucket.put(key, "1").await;
    }
    bucket.advance(APART).await;
    bucket.put("changed", "2").await;
    bucket.put("changed", "3").await;
    bucket.delete("gone").await;
    bucket.put("new", "1").await;
    let time = stamp(&bucket, "changed").await;
    // In whole seconds, which are what AWS stamps: the first change is of that second or later.
    let second = format!("{}Z", &time[..19]);
    let mut source = bucket.open_with(&[("start", &second)]).await;
    let expected = ["create new 1", "delete gone -", "update changed 2", "update changed 3"];
    assert_eq!(next_sorted(&mut source).await, expected);
    bucket.delete("old").await;
    bucket.put("new", "2").await;
    assert_eq!(next_sorted(&mut source).await, ["delete old -", "update new 2"]);
}

async fn a_source_that_starts_at_a_time_finds_it_without_versions(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    bucket.put("b", "1").await;
    bucket.advance(APART).await;
    bucket.put("c", "1").await;
    let second = format!("{}Z", &stamp(&bucket, "c").await[..19]);
    let mut source = bucket.open_with(&[("start", &second)]).await;
    assert_eq!(next(&mut source).await, ["create c 1"]);
    bucket.put("a", "22").await;
    bucket.delete("b").await;
    assert_eq!(next_sorted(&mut source).await, ["delete b -", "update a 22"]);
}

async fn a_source_that_starts_in_1970_tells_every_version(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    bucket.put("a", "2").await;
    bucket.put("b", "1").await;
    bucket.delete("b").await;
    let mut source = bucket.open_with(&[("start", "1970-01-01T00:00:00Z")]).await;
    let mut changes = next(&mut source).await;
    changes.sort_by_key(|change| change.split(' ').nth(1).map(str::to_owned));
    assert_eq!(changes, ["create a 1", "update a 2", "create b 1", "delete b -"]);
}

async fn where_a_source_starts_does_not_matter_to_one_that_resumes(env: &Env) {
    let bucket = env.versioned().await;
    for key in ["a", "b"] {
        bucket.put(key, "1").await;
    }
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let records = read_all(&mut source).await.expect("reads");
    drop(source);
    bucket.put("a", "2").await;
    let position = &records[1].position;
    for start in [NOW, ("start", "1970-01-01T00:00:00Z")] {
        let mut source = bucket.resume_with(&[start], &state, position).await;
        // Not acked, so that the next one finds it again.
        let changes = source.read(10, Duration::from_secs(60)).await.expect("reads");
        assert_eq!(summary(&changes), ["update a 2"], "{start:?}");
    }
}

async fn globs_choose_keys_of_snapshot_and_changes(env: &Env) {
    let bucket = env.versioned().await;
    let keys = ["a.txt", "b.log", "d/a.txt", "d/e/ü.txt", "d/e/x.tmp", "_d/a.txt"];
    for key in keys {
        bucket.put(key, "1").await;
    }
    let globs = [("keys.include", "*.log, **/?.{txt,tmp}"), ("keys.exclude", "[!a-z]*/**, **/x.*")];
    let mut source = bucket.open_with(&globs).await;
    let expected = ["snapshot a.txt 1", "snapshot b.log 1", "snapshot d/a.txt 1", "snapshot d/e/ü.txt 1"];
    assert_eq!(next(&mut source).await, expected);
    for key in keys {
        bucket.put(key, "2").await;
    }
    bucket.delete("d/e/x.tmp").await;
    bucket.put("c.txt", "1").await;
    bucket.put("cc.txt", "1").await;
    let expected = ["create c.txt 1", "update a.txt 2", "update b.log 2", "update d/a.txt 2", "update d/e/ü.txt 2"];
    assert_eq!(next_sorted(&mut source).await, expected);
    bucket.delete("a.txt").await;
    bucket.delete("cc.txt").await;
    assert_eq!(next(&mut source).await, ["delete a.txt -"]);
    let gets = bucket.wire().requests().into_iter().filter(|request| request.operation == S3Operation::GetObject);
    let foreign: Vec<_> =
        gets.filter_map(|get| get.key).filter(|key| key.contains("x.") || key.contains("_d")).collect();
    assert!(foreign.is_empty(), "{foreign:?} were asked for");
}

async fn globs_are_compared_with_what_follows_the_prefix(env: &Env) {
    let bucket = env.plain().await;
    for key in ["a,b", "p/a,b", "p/a", "p/p/a", "p/*"] {
        bucket.put(key, "1").await;
    }
    for (glob, expected) in [
        ("a", &["snapshot p/a 1"][..]),
        ("p/*", &["snapshot p/p/a 1"]),
        (r"\*, a\,b", &["snapshot p/* 1", "snapshot p/a,b 1"]),
        ("p/a/**", &[]),
    ] {
        let mut source = bucket.open_with(&[("prefix", "p/"), ("keys.include", glob)]).await;
        assert_eq!(next(&mut source).await, expected, "{glob}");
    }
}

async fn a_source_that_takes_no_key_reads_nothing_and_goes_on(env: &Env) {
    for bucket in [env.versioned().await, env.plain().await] {
        bucket.put("a", "1").await;
        let mut source = bucket.open_with(&[("keys.exclude", "**")]).await;
        assert!(next(&mut source).await.is_empty());
        bucket.put("a", "22").await;
        bucket.put("b", "1").await;
        bucket.delete("a").await;
        assert!(next(&mut source).await.is_empty());
        assert_eq!(bucket.wire().requests_count(S3Operation::GetObject), 0);
    }
}

/// Reads and acks all that there is with these settings, after `position`; the position goes on with it.
async fn run(
    bucket: &Bucket,
    globs: &[(&str, &str)],
    state: &SavedState,
    position: &mut Option<Vec<u8>>,
) -> Vec<String> {
    let mut source = bucket.source(globs, state, position.as_deref()).await.expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    *position = records.last().map(|record| record.position.to_vec()).or(position.take());
    let mut changes = summary(&records);
    changes.sort();
    changes
}

async fn a_key_that_is_newly_excluded_is_not_told_as_deleted(env: &Env) {
    for bucket in [env.versioned().await, env.plain().await] {
        for key in ["a", "b"] {
            bucket.put(key, "1").await;
        }
        let (state, mut position) = (SavedState::memory(), None);
        let excluded = [("keys.exclude", "b")];
        assert_eq!(run(&bucket, &[], &state, &mut position).await, ["snapshot a 1", "snapshot b 1"]);
        assert!(run(&bucket, &excluded, &state, &mut position).await.is_empty());
        bucket.put("a", "22").await;
        bucket.put("b", "22").await;
        assert_eq!(run(&bucket, &excluded, &state, &mut position).await, ["update a 22"]);
        bucket.delete("b").await;
        assert!(run(&bucket, &excluded, &state, &mut position).await.is_empty());
    }
}

async fn a_key_that_is_newly_included_is_told(env: &Env) {
    for bucket in [env.versioned().await, env.plain().await] {
        for key in ["a", "b", "c"] {
            bucket.put(key, "1").await;
        }
        let (state, mut position) = (SavedState::memory(), None);
        let included = [("keys.include", "a")];
        assert_eq!(run(&bucket, &included, &state, &mut position).await, ["snapshot a 1"]);
        bucket.put("b", "22").await;
        assert!(run(&bucket, &included, &state, &mut position).await.is_empty());
        // The latest of each, once; and from then on all that happens.
        let changes = run(&bucket, &[], &state, &mut position).await;
        let latest = |key: &str| changes.iter().rfind(|change| change.split(' ').nth(1) == Some(key)).cloned();
        for (key, expected) in [("b", " b 22"), ("c", " c 1")] {
            assert!(latest(key).is_some_and(|change| change.ends_with(expected)), "{changes:?}");
        }
        assert_eq!(latest("a"), None, "{changes:?}");
        assert!(run(&bucket, &[], &state, &mut position).await.is_empty());
        bucket.delete("c").await;
        assert_eq!(run(&bucket, &[], &state, &mut position).await, ["delete c -"]);
    }
}
