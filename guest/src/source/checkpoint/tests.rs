//! Saves and loads over a world in memory. Leaves the forms of values to `saved` and `values`.

use super::*;
use crate::error::ErrorKind;
use crate::ports::{Edit, Level, State as _, StateError};
use crate::s3::{ObjectEntry, VersionEntry};
use crate::testing::TestPorts;

const RUN: u64 = 7;

fn entry(index: u64) -> VersionEntry {
    let object = ObjectEntry { key: format!("k{index}"), ..ObjectEntry::default() };
    VersionEntry { object, version_id: "v1".to_owned(), ..VersionEntry::default() }
}

fn handed_out(index: u64) -> HandedOut {
    let entry = entry(index);
    let (slot, mark) = seen().identify(&entry.object, &entry.version_id, false);
    HandedOut { index, slot, mark }
}

fn seen() -> Seen {
    Seen::new((1, 2))
}

fn start() -> SnapshotStart {
    SnapshotStart { run: RUN, cut: Timestamp(5), uploads: Uploads::default(), seen: seen() }
}

fn plan(poll: u64) -> Plan {
    let next = Checkpoint { low_watermark: Timestamp(5), uploads: Uploads::default(), seen: seen() };
    Plan { run: RUN, poll, due: Vec::new(), cut: Timestamp(5), next }
}

/// A store whose snapshot has handed out `count` records, one at a time.
fn store(ports: &TestPorts, count: u64) -> CheckpointStore<TestPorts> {
    let mut store = CheckpointStore::new(ports.clone());
    store.begin_run(&start()).expect("begins");
    for index in 0..count {
        store.save_seen(&[handed_out(index)]).expect("saves");
    }
    store
}

/// Which of the first records a restart at `index` knows to be handed out.
fn known(ports: &TestPorts, index: u64, of: u64) -> Vec<u64> {
    let mut store = CheckpointStore::new(ports.clone());
    let start = store.load_snapshot(RUN, index).expect("loads");
    let seen = start.expect("it is of this run").seen;
    (0..of).filter(|n| seen.contains(&entry(*n))).collect()
}

#[test]
fn many_pieces_become_one_and_nothing_in_them_is_lost() {
    let ports = TestPorts::new(1);
    let mut store = store(&ports, 0);
    let most = limits::SEEN_CHUNKS_MAX as usize;
    let mut merged = 0;
    for index in 0..3 * u64::from(limits::SEEN_CHUNKS_MAX) {
        let before = ports.saved().len();
        store.save_seen(&[handed_out(index)]).expect("saves");
        let names = ports.saved();
        merged += u32::from(names.len() < before);
        assert!(names.len() <= 1 + most, "the snapshot's and its pieces");
        let all: Vec<_> = (0..=index).collect();
        assert_eq!(known(&ports, index, index + 1), all);
    }
    assert_eq!(merged, 3 - 1);
}

#[test]
fn a_crash_while_pieces_become_one_loses_nothing() {
    let count = u64::from(limits::SEEN_CHUNKS_MAX);
    for fails in ["seen-31", "seen-9", "seen-1"] {
        let ports = TestPorts::new(1);
        let mut store = store(&ports, count);
        let broken = ports.clone();
        broken.refuse_state(move |name| (name == fails).then(|| StateError::Failed("disk full".to_owned())));
        let error = store.save_seen(&[handed_out(count)]).expect_err(fails);
        assert_eq!(error.kind, ErrorKind::Unavailable);
        ports.refuse_state(|_| None);
        // The last one was not saved, and has not left.
        let all: Vec<_> = (0..count).collect();
        assert_eq!(known(&ports, count, count + 1), all, "{fails}");
    }
}

#[test]
fn what_left_after_the_position_is_forgotten_permanently() {
    let ports = TestPorts::new(1);
    store(&ports, 5);
    assert_eq!(known(&ports, 2, 9), [0, 1, 2]);
    assert_eq!(known(&ports, 8, 9), [0, 1, 2], "and does not come back");
}

#[test]
fn a_host_that_keeps_nothing_is_told_once_and_does_no_harm() {
    let ports = TestPorts::new(1);
    ports.refuse_state(|_| Some(StateError::Absent));
    let mut store = store(&ports, 100);
    store.save_plan(&plan(1)).expect("goes on");
    store.acked(2).expect("goes on");
    assert_eq!(store.load_plan(RUN, 1), Ok(None));
    assert_eq!(store.load_snapshot(RUN, 1), Ok(None));
    let lines = ports.lines(Level::Debug);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("keeps no state"), "{lines:?}");
}

#[test]
fn a_host_that_fails_to_keep_is_unavailable_and_names_what() {
    let ports = TestPorts::new(1);
    let refuse = |refused: &'static str| {
        ports.refuse_state(move |name| (name == refused).then(|| StateError::Failed("disk full".to_owned())));
    };
    let check = |name: &str, result: Result<()>| {
        let error = result.expect_err(name);
        assert_eq!(error.kind, ErrorKind::Unavailable);
        let expected = format!("state: disk full; name=`{name}`");
        assert!(error.message.ends_with(&expected), "{error}");
    };
    let mut store = store(&ports, 1);
    refuse("snapshot");
    check("snapshot", store.load_snapshot(RUN, 0).map(drop));
    check("snapshot", store.begin_run(&start()));
    refuse("plan-1");
    check("plan-1", store.save_plan(&plan(1)));
    check("plan-1", store.load_plan(RUN, 1).map(drop));
    // One commit, which goes by the value that it saves.
    check("snapshot", store.begin_run(&start()));
    check("plan-1", CheckpointStore::new(ports.clone()).begin_run(&start()));
    // Whether an earlier run left pieces cannot be told.
    refuse("seen-0");
    check("seen-0", CheckpointStore::new(ports.clone()).begin_run(&start()));
    // None of what failed has changed anything: it goes on after its first piece.
    refuse("seen-1");
    check("seen-1", store.save_seen(&[handed_out(1)]));
}

#[test]
fn saved_state_that_is_damaged_or_newer_is_corrupt() {
    let ports = TestPorts::new(1);
    store(&ports, 2).save_plan(&plan(1)).expect("saves");
    let whole = ports.saved();
    for name in ["snapshot", "seen-1", "plan-1"] {
        let value = &whole[name];
        let newer = [&[value[0] + 1], &value[1..]].concat();
        for damaged in [&[], &value[..1], &value[..value.len() - 1], &newer] {
            ports.commit(vec![Edit::save(name, damaged)]).expect("keeps it");
            let mut store = CheckpointStore::new(ports.clone());
            let snapshot = store.load_snapshot(RUN, 9).map(drop);
            let error = snapshot.and(store.load_plan(RUN, 1).map(drop));
            let error = error.expect_err(name);
            assert_eq!(error.kind, ErrorKind::Corrupt);
            assert!(error.message.contains(&format!("name=`{name}`")), "{error}");
        }
        ports.commit(vec![Edit::save(name, &**value)]).expect("keeps it");
    }
    assert_eq!(CheckpointStore::new(ports).load_plan(RUN, 1), Ok(Some(plan(1))));
}

#[test]
fn a_new_run_and_an_ack_are_one_commit_each() {
    let ports = TestPorts::new(1);
    let mut store = store(&ports, 3);
    store.save_plan(&plan(1)).expect("saves");
    store.save_plan(&plan(2)).expect("saves");
    let before = ports.saved();
    assert_eq!(before.keys().collect::<Vec<_>>(), ["plan-1", "plan-2", "seen-0", "seen-1", "seen-2", "snapshot"]);
    // Whichever name the host refuses, all of it stays.
    for fails in ["plan-1", "seen-2", "snapshot"] {
        let refuse = |is_refused: bool| {
            ports.refuse_commits(move |edits| {
                let is_it = is_refused && edits.iter().any(|edit| edit.name == fails);
                is_it.then(|| StateError::Failed("full".to_owned()))
            });
        };
        refuse(true);
        assert!(store.acked(2).is_err(), "{fails}");
        assert_eq!(ports.saved(), before, "{fails}");
        assert!(CheckpointStore::new(ports.clone()).begin_run(&start()).is_err(), "{fails}");
        assert_eq!(ports.saved(), before, "{fails}");
        refuse(false);
    }
    store.acked(2).expect("removes");
    assert_eq!(ports.saved().keys().collect::<Vec<_>>(), ["plan-2"]);
    store.save_seen(&[handed_out(0)]).expect("saves");
    CheckpointStore::new(ports.clone()).begin_run(&start()).expect("begins");
    assert_eq!(ports.saved().keys().collect::<Vec<_>>(), ["snapshot"]);
}

#[test]
fn a_snapshot_of_many_recent_objects_is_saved_in_bounded_pieces() {
    let ports = TestPorts::new(1);
    let mut store = store(&ports, 0);
    let count = 3 * PIECE_MARKS_MAX as u64 + 1000;
    let all: Vec<_> = (0..count).map(handed_out).collect();
    // As reads of very different sizes; the ports fails a commit that is too large.
    let mut rest = &all[..];
    for size in [1, 10_000, 7, 20_000, 3000, 1, 1, usize::MAX] {
        let (now, later) = rest.split_at(size.min(rest.len()));
        store.save_seen(now).expect("saves");
        assert!(store.small.len() <= PIECE_MARKS_MAX, "no more is held than may be merged");
        rest = later;
    }
    let load = |index| {
        let mut store = CheckpointStore::new(ports.clone());
        let start = store.load_snapshot(RUN, index).expect("loads").expect("it is of this run");
        let known = (0..count).filter(|index| start.seen.contains(&entry(*index))).count() as u64;
        (known, store)
    };
    assert_eq!(load(count).0, count);
    // What comes after a restart goes on in the same pieces.
    let (known, mut store) = load(20_000);
    assert_eq!(known, 20_001);
    store.save_seen(&all[20_001..20_100]).expect("saves");
    assert_eq!(load(count).0, 20_100);
    let names = ports.saved().len();
    assert!(names < 10, "{names}");
    assert_eq!(load(0).0, 1);
    assert_eq!(ports.saved().keys().collect::<Vec<_>>(), ["seen-0", "snapshot"]);
}
