//! Tests of where a position leads: saved state that goes with it, that does not, and none.

use super::polls::{Shown, over, show, shown};
use super::*;
use crate::ports::{Random as _, StateError};

/// A source's store after a snapshot of two objects and three polls with a change each, all of it acked but the last;
/// and the position of each record.
fn followed() -> (TestPorts, Shown, Vec<Bytes>) {
    let bucket = shown("a v1* | b v1*");
    let ports = serving(over(&bucket));
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    let mut positions = Vec::<Bytes>::new();
    let mut texts = ["a v2* v1 | b v1*", "a v3* v2 v1 | b v1*", "a v3* v2 v1 | b v2* v1"].into_iter();
    for _ in 0..READS_MAX {
        let records = fixture.read().expect("reads");
        if let Some(position) = positions.last().filter(|_| !records.is_empty()) {
            fixture.source.ack(position).expect("it was read");
        }
        positions.extend(records.into_iter().map(|record| record.position));
        if !fixture.source.progress().is_caught_up {
            continue;
        }
        match texts.next() {
            Some(text) => show(&bucket, text),
            None if positions.len() == 5 => return (ports, bucket, positions),
            None => {}
        }
    }
    panic!("never catches up; so far: {positions:?}");
}

/// A position as the Go connector has it.
fn bare(position: &[u8]) -> Vec<u8> {
    position.split(|byte| *byte == b'~').next().expect("there is a first one").to_vec()
}

fn is_warned_of(ports: &TestPorts, what: &str) -> bool {
    ports.lines(Level::Warn).iter().any(|line| line.contains(what))
}

#[test]
fn a_position_of_the_saved_state_goes_on_after_it() {
    let (ports, bucket, positions) = followed();
    show(&bucket, "a v3* v2 v1");
    let mut fixture = Fixture::go_on(&ports, &[], Some(&positions[3])).expect("goes on");
    assert_eq!(fixture.read_all().expect("reads"), ["update b v2", "delete b"]);
    assert_eq!(ports.lines(Level::Warn), [""; 0]);
}

#[test]
fn a_position_after_which_nothing_was_told_tells_only_what_happened_since() {
    let (ports, bucket, positions) = followed();
    let mut fixture = Fixture::go_on(&ports, &[], Some(&positions[4])).expect("goes on");
    assert_eq!(fixture.read_all().expect("reads"), [""; 0]);
    drop(fixture);
    show(&bucket, "a -m* v3 v2 v1 | b v2* v1");
    let mut fixture = Fixture::go_on(&ports, &[], Some(&positions[4])).expect("goes on");
    assert_eq!(fixture.read_all().expect("reads"), ["delete a m"]);
    assert_eq!(ports.lines(Level::Warn), [""; 0]);
}

#[test]
fn a_position_older_than_the_saved_state_begins_anew_and_says_so() {
    let (ports, _, positions) = followed();
    let mut fixture = Fixture::go_on(&ports, &[], Some(&positions[2])).expect("goes on");
    // All is older than the window.
    assert_eq!(fixture.read_all().expect("reads"), [""; 0]);
    assert!(is_warned_of(&ports, "older than the saved state"), "{:?}", ports.lines(Level::Warn));
    assert!(ports.saved().keys().all(|name| !name.starts_with("p-")), "what was saved is removed");
}

#[test]
fn a_position_of_another_run_or_without_one_begins_anew_and_says_so() {
    let (_, _, others) = followed();
    for position in [others[4].to_vec(), bare(&others[4])] {
        let bucket = shown("a v3* v2 v1");
        let ports = serving(over(&bucket));
        // All ports begin with the same random numbers, and a run is named by one.
        ports.random();
        drop(Fixture::go_on(&ports, &[], None).expect("opens"));
        let mut fixture = Fixture::go_on(&ports, &[], Some(&position)).expect("goes on");
        // The window goes back from the time of the position, which is that of its object.
        let is_bare = !position.contains(&b'~');
        let again: &[&str] = if is_bare { &["create a v1", "update a v2", "update a v3"] } else { &[] };
        assert_eq!(fixture.read_all().expect("reads"), again);
        assert!(is_warned_of(&ports, "no saved state matches the position"));
        show(&bucket, "a v4* v3 v2 v1");
        assert_eq!(fixture.read_poll().expect("reads"), ["update a v4"]);
    }
}

#[test]
fn a_snapshot_goes_on_after_its_position_without_saved_state() {
    let bucket = shown("a v1* | b v1* | c v1*");
    let ports = serving(over(&bucket));
    ports.refuse_state(|_| Some(StateError::Absent));
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    let mut records = Vec::new();
    for _ in 0..10 {
        records.extend(fixture.read().expect("reads"));
    }
    let told: Vec<_> = records.iter().map(summary).collect();
    assert_eq!(told, ["snapshot a v1", "snapshot b v1", "snapshot c v1"]);
    for (position, left) in [(0, &["snapshot b v1", "snapshot c v1"][..]), (1, &["snapshot c v1"]), (2, &[])] {
        let position = &records[position].position;
        let mut fixture = Fixture::go_on(&ports, &[], Some(position)).expect("goes on");
        assert_eq!(fixture.read_all().expect("reads"), left);
        // From a bare one, what is as new as the newest object so far is told as changes, too.
        let mut fixture = Fixture::go_on(&ports, &[], Some(&bare(position))).expect("goes on");
        assert!(
            fixture.read_all().expect("reads").starts_with(&left.iter().map(|one| one.to_string()).collect::<Vec<_>>())
        );
    }
}

#[test]
fn a_position_that_cannot_be_read_is_refused_before_anything_is_asked() {
    for position in [&b"a"[..], b"a_x5", b"a_c5~!", b"\xff_c5"] {
        let ports = serving(|_, _| None);
        let Err(error) = Fixture::go_on(&ports, &[], Some(position)) else { panic!("{position:?}") };
        assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
        assert!(ports.requests().is_empty() && ports.saved().is_empty());
    }
}

#[test]
fn a_source_that_starts_now_tells_what_comes_and_remembers_where_it_began() {
    let bucket = shown("a v1* | b -m* v1");
    let ports = serving(over(&bucket));
    let settings = [("start", "now")];
    let mut fixture = Fixture::go_on(&ports, &settings, None).expect("opens");
    assert_eq!(fixture.read_all().expect("reads"), [""; 0]);
    drop(fixture);
    // It was stopped before anything was told.
    show(&bucket, "a v2* v1 | b -m* v1 | c v1*");
    let mut fixture = Fixture::go_on(&ports, &settings, None).expect("opens");
    assert_eq!(fixture.read_all().expect("reads"), ["update a v2", "create c v1"]);
    show(&bucket, "a v2* v1 | b -m* v1");
    assert_eq!(fixture.read_poll().expect("reads"), ["delete c"]);
    assert_eq!(ports.lines(Level::Warn), [""; 0]);
}
