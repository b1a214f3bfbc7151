//! Owns the tests of which batch ends first. Leaves those of one batch to `buffer`.

use bytes::Bytes;

use super::*;
use crate::config::FormatName;
use crate::destination::buffer::Bounds;
use crate::destination::format::Files;
use crate::destination::stream::Streamed;
use crate::destination::summary::Summary;
use crate::record::{Change, Data, Metadata, NoBody, Operation, Record};

const DELAY: Duration = Duration::from_secs(5);

fn partitions(records_max: usize, open_max: usize) -> Partitions {
    let bounds = Bounds { records_max, bytes_max: 1 << 40, delay: DELAY };
    Partitions::new(
        Buffer::new(bounds, Files::new(FormatName::Parquet, None, None).expect("makes sense"), Summary::default()),
        open_max,
    )
}

/// A record of these bytes, which Parquet holds as they are.
fn record(partitions: &Partitions, payload: &Bytes) -> Checked {
    let record = Record {
        position: Bytes::from_static(b"p"),
        operation: Operation::Create,
        metadata: Metadata::new(),
        key: None,
        payload: Change { before: None, after: Some(Data::Raw(payload.clone())) },
    };
    let none: Option<&Streamed<NoBody>> = None;
    partitions.empty().check(record, none).expect("a good record")
}

/// Takes records into these paths, at one per second, and gives the paths of the batches that end on the way.
fn take(partitions: &mut Partitions, paths: &[&str], payload: &Bytes) -> Vec<String> {
    let mut ended = Vec::new();
    for (path, number) in paths.iter().zip(0..) {
        let checked = record(partitions, payload);
        while let Some(other) = partitions.in_the_way(path, &checked, number) {
            assert!(partitions.take(&other).is_some_and(|buffer| !buffer.is_empty()), "it waits");
            ended.push(other);
        }
        partitions.push(path, checked, number, Duration::from_secs(number));
    }
    ended
}

#[test]
fn one_that_is_full_ends_before_any_other_takes_a_record() {
    let mut all = partitions(2, 9);
    assert_eq!(take(&mut all, &["a", "b", "a"], &Bytes::new()), [""; 0]);
    assert_eq!(all.due(Duration::ZERO, 3).as_deref(), Some("a"));
    let mut all = partitions(2, 9);
    assert_eq!(take(&mut all, &["a", "b", "a", "b", "c"], &Bytes::new()), ["a", "b"]);
    assert!(!all.has("a") && !all.has("b") && all.has("c"));
}

#[test]
fn of_too_many_the_one_that_was_longest_without_a_record_ends() {
    let mut all = partitions(100, 2);
    assert_eq!(take(&mut all, &["a", "b", "a", "c", "a", "b"], &Bytes::new()), ["b", "c"]);
    assert_eq!(all.first().as_deref(), Some("a"));
    let mut one = partitions(100, 1);
    assert_eq!(take(&mut one, &["a", "a", "b", "b", "a"], &Bytes::new()), ["a", "b"]);
}

#[test]
fn all_of_them_take_no_more_memory_than_one_may() {
    // Beside a value Parquet needs as much again, and a sixth, for what it becomes.
    let payload: Bytes = vec![0; 27 << 20].into();
    let mut all = partitions(100, 9);
    assert_eq!(take(&mut all, &["a", "b", "c", "a"], &payload), [""; 0], "four fit");
    assert!(all.held_bytes() > 230 << 20 && all.held_bytes() <= limits::PARTITIONS_BYTES_MAX);
    let mut all = partitions(100, 9);
    assert_eq!(take(&mut all, &["a", "b", "c", "a", "d", "a"], &payload), ["b", "c"]);
    let mut one = partitions(100, 9);
    assert_eq!(take(&mut one, &["a"; 5], &payload), ["a"], "one alone has the bound of objects");
    let ends = one.take("a").expect("is there");
    assert!(!ends.is_empty() && one.held_bytes() == 0 && one.is_empty());
}

#[test]
fn hundreds_of_short_ones_count_what_their_text_leaves_unfilled() {
    let payload: Bytes = vec![0; 140 << 10].into();
    let names: Vec<_> = (0..600).map(|number| format!("p{number:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut all = partitions(100, 1024);
    let ended = take(&mut all, &names, &payload);
    assert!((150..250).contains(&ended.len()), "{}", ended.len());
    assert_eq!(ended, names[..ended.len()], "the oldest first");
    assert!(all.held_bytes() <= limits::PARTITIONS_BYTES_MAX);
}

#[test]
fn each_is_due_at_its_own_age_and_the_oldest_first() {
    let mut all = partitions(100, 9);
    take(&mut all, &["b", "a", "c", "b"], &Bytes::new());
    let second = Duration::from_secs;
    assert_eq!(all.due(second(4), 4), None);
    for (path, age) in [("b", 5), ("a", 6), ("c", 7)] {
        assert_eq!(all.due(second(age), 4).as_deref(), Some(path));
        let ended = all.take(path).expect("is there");
        assert_eq!(ended.first(), age - 5);
        assert_eq!(all.due(second(age), 4), None);
    }
    assert!(all.is_empty() && all.first().is_none() && all.take("b").is_none());
}

#[test]
fn one_that_seldom_gets_a_record_holds_up_no_more_acks_than_it_may() {
    let mut all = partitions(1_000_000, 9);
    take(&mut all, &["seldom", "often", "often"], &Bytes::new());
    let most = limits::BATCH_ACKS_MAX as u64;
    let next = record(&all, &Bytes::new());
    assert!(!all.holds_up(most - 1) && all.in_the_way("often", &next, most - 1).is_none());
    assert!(all.holds_up(most));
    assert_eq!(all.in_the_way("often", &next, most).as_deref(), Some("seldom"));
    assert_eq!(all.due(Duration::ZERO, most).as_deref(), Some("seldom"));
    all.take("seldom");
    assert!(!all.holds_up(most), "the other one began later");
    all.clear();
    assert!(all.is_empty() && !all.holds_up(u64::MAX) && all.held_bytes() == 0);
}
