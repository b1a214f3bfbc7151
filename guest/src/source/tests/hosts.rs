//! Tests of restarts, and of hosts that fail to keep state or keep none.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::polls::{over, show, shown, versions};
use super::*;
use crate::ports::StateError;

#[test]
fn a_host_that_fails_to_keep_a_plan_ends_the_source_before_its_records() {
    let bucket = shown("a v1*");
    let mut fixture = Fixture::open(&[], over(&bucket));
    let is_plan = |name: &str| name.starts_with("p-").then(|| StateError::Failed("disk full".to_owned()));
    fixture.ports.refuse_state(is_plan);
    let error = fixture.read_all().expect_err("it would come twice");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("disk full"), "{error}");
    assert_eq!(fixture.read().expect_err("stays failed"), error);
    assert!(fixture.asked(Asked::Object).is_empty(), "nothing was on its way");
}

/// What a reader has who applied all records, and each record that it got.
#[derive(Default)]
struct Reader {
    has: BTreeMap<String, String>,
    told: Vec<String>,
    position: Option<Bytes>,
}

impl Reader {
    fn apply(&mut self, record: &Record<Pieces>) {
        let told = summary(record);
        let words: Vec<_> = told.split(' ').collect();
        let had = match words[..] {
            ["delete", key, ..] => self.has.remove(key),
            [_, key, version] => self.has.insert(key.to_owned(), version.to_owned()),
            _ => panic!("{told}"),
        };
        assert_eq!(had.is_some(), matches!(words[0], "update" | "delete"), "{told} after {:?}", self.told);
        self.told.push(told);
        self.position = Some(record.position.clone());
    }

    /// Reads up to the first idle poll, acking all, or to the first error.
    fn follow(&mut self, ports: &TestPorts) -> Result<()> {
        let mut fixture = Fixture::go_on(ports, &[], self.position.as_deref())?;
        for _ in 0..READS_MAX {
            let records = fixture.read()?;
            records.iter().for_each(|record| self.apply(record));
            if let Some(position) = &self.position
                && !records.is_empty()
            {
                fixture.source.ack(position)?;
            }
            if fixture.source.progress().is_caught_up && fixture.source.progress().counts.polls > 4 {
                return Ok(());
            }
        }
        panic!("never catches up; so far: {:?}", self.told)
    }
}

/// A bucket that changes with each listing of it.
fn changing() -> TestPorts {
    let history = [
        "a v1* | b v1* | c v1*",
        "a v2* v1 | c v1* | d v1*",
        "a v2* v1 | c -m* v1 | d v1* | e v3* -n v2 v1",
        "a v3* v2 v1 | b w1* | c -m* v1 | d v1* | e v3* -n v2",
    ];
    let mut listings = 0;
    serving(move |asked, request| {
        let (_, prefix) = request.path_with_query.rsplit_once("prefix=").unwrap_or_default();
        listings += usize::from(asked == Asked::Versions);
        (asked == Asked::Versions).then(|| versions(history[(listings - 1).min(3)], prefix, ""))
    })
}

/// Has the commit of that number fail, and tells how many there were.
fn fail_commit(ports: &TestPorts, number: u32) -> Rc<Cell<u32>> {
    let commits = Rc::new(Cell::new(0));
    let count = Rc::clone(&commits);
    ports.refuse_commits(move |_| {
        count.set(count.get() + 1);
        (count.get() == number + 1).then(|| StateError::Failed("disk full".to_owned()))
    });
    commits
}

#[test]
fn whichever_commit_fails_a_restart_loses_and_repeats_nothing() {
    let whole = changing();
    let commits = fail_commit(&whole, u32::MAX - 1);
    let mut reader = Reader::default();
    reader.follow(&whole).expect("reads");
    let (has, told) = (reader.has, reader.told);
    assert_eq!(
        has.iter().map(|(key, version)| format!("{key} {version}")).collect::<Vec<_>>(),
        ["a v3", "b w1", "d v1", "e v3"]
    );
    assert!(commits.get() > 5);
    for number in 0..commits.get() {
        let ports = changing();
        fail_commit(&ports, number);
        let mut reader = Reader::default();
        let error = reader.follow(&ports).expect_err("a commit failed");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{number}");
        assert!(error.message.contains("disk full"), "{number}: {error}");
        reader.follow(&ports).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(reader.has, has, "{number}");
        let once: BTreeSet<_> = reader.told.iter().collect();
        assert_eq!(once.len(), reader.told.len(), "{number}: {:?}", reader.told);
        if number > 2 {
            let is_known = |one: &&String| told.contains(one);
            assert!(reader.told.iter().filter(is_known).count() > 3, "{number}: {:?} {told:?}", reader.told);
        }
    }
}

#[test]
fn a_host_that_keeps_nothing_is_told_once_and_polls_work_from_memory() {
    let bucket = shown("a v1* | b v1*");
    let ports = serving(over(&bucket));
    ports.refuse_state(|_| Some(StateError::Absent));
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    assert_eq!(fixture.read_all().expect("reads"), ["snapshot a v1", "snapshot b v1"]);
    show(&bucket, "a v2* v1 | b v1*");
    assert_eq!(fixture.read_poll().expect("reads"), ["update a v2"]);
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0]);
    show(&bucket, "a v2* v1");
    assert_eq!(fixture.read_poll().expect("reads"), ["delete b"]);
    let lines = ports.lines(Level::Debug);
    assert_eq!(lines.iter().filter(|line| line.contains("keeps no state")).count(), 1, "{lines:?}");
    assert!(ports.saved().is_empty());
}

#[test]
fn without_saved_state_what_was_stored_in_the_window_is_told_again() {
    let mut listings = 0;
    let ports = serving(move |asked, _| {
        listings += u32::from(asked == Asked::Versions);
        let entries = [("new", "2", Duration::ZERO), ("old", "1", HOUR)];
        let entries = if listings < 2 { &entries[1..] } else { &entries };
        (asked == Asked::Versions).then(|| page(asked, entries, ""))
    });
    ports.refuse_state(|_| Some(StateError::Absent));
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    let mut position = None;
    for _ in 0..5 {
        position = fixture.read().expect("reads").last().map(|record| record.position.clone()).or(position);
    }
    let mut fixture = Fixture::go_on(&ports, &[], position.as_deref()).expect("goes on");
    assert_eq!(fixture.read_poll().expect("reads"), ["create new"]);
    let warning = fixture.warning();
    assert!(warning.contains("no saved state matches the position"), "{warning}");
}

/// Four objects, the first of which is gone once it is to be read, and the last of which comes late.
fn with_a_gap() -> TestPorts {
    let mut listings = 0;
    serving(move |asked, request| match asked {
        Asked::Versions if looks_for(request, "a") => Some(page(asked, &[], "")),
        Asked::Versions => {
            listings += 1;
            let entries = [("a", "1", HOUR), ("b", "2", HOUR), ("c", "3", HOUR), ("d", "4", HOUR)];
            Some(page(asked, &entries[listings.min(2) - 1..], ""))
        }
        Asked::Object if request.path_with_query.starts_with("/b1x/a") => Some(Reply::status(404)),
        Asked::Object if request.path_with_query == "/b1x/d" => Some(object(request).after(30 * SECOND)),
        _ => None,
    })
}

fn corrections(ports: &TestPorts) -> usize {
    ports.saved().keys().filter(|name| name.starts_with("f-")).count()
}

#[test]
fn what_could_not_be_read_is_saved_before_the_next_record_leaves() {
    let ports = with_a_gap();
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    let mut records = Vec::new();
    for _ in 0..READS_MAX {
        assert_eq!(corrections(&ports), 0, "nothing has left yet");
        records = ports.block_on(fixture.source.read(1, u64::MAX, SECOND)).expect("reads");
        if !records.is_empty() {
            break;
        }
    }
    assert_eq!(summary(&records[0]), "snapshot b");
    assert_eq!(corrections(&ports), 1);
    let position = records[0].position.clone();
    // As after a crash.
    drop(fixture);
    let mut fixture = Fixture::go_on(&ports, &[], Some(&position)).expect("goes on");
    assert_eq!(
        fixture.read_all().expect("reads"),
        ["snapshot c", "snapshot d"],
        "and no delete of what the reader never had"
    );
    assert_eq!(corrections(&ports), 0, "the catalogue is correct");
}

#[test]
fn a_record_does_not_leave_if_what_came_before_it_cannot_be_saved() {
    let ports = with_a_gap();
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("loads");
    ports.refuse_state(|name| name.starts_with("f-").then(|| StateError::Failed("disk full".to_owned())));
    let error = fixture.read_all().expect_err("cannot save");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(fixture.read().expect_err("stays failed"), error);
    ports.refuse_state(|_| None);
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    // A reader that comes without a position may have got `a` before it was gone.
    assert_eq!(fixture.read_all().expect("reads"), ["snapshot b", "snapshot c", "snapshot d", "delete a"]);
}

#[test]
fn a_restart_without_a_position_tells_all_again_even_if_state_is_left() {
    let bucket = shown("a v1* | b v1*");
    let ports = serving(over(&bucket));
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    fixture.read_all().expect("reads");
    show(&bucket, "a v2* v1 | b v1*");
    let mut again = Fixture::go_on(&ports, &[], None).expect("opens");
    // Nothing was acked, so that all of it is still saved.
    assert_eq!(again.read_all().expect("reads"), ["snapshot a v1", "snapshot b v1", "update a v2"]);
    again.read_poll().expect("acks nothing of before");
    show(&bucket, "a v3* v2 v1 | b v1*");
    assert_eq!(again.read_poll().expect("acks"), ["update a v3"]);
    again.read_poll().expect("removes what is acked");
    let mut anew = Fixture::go_on(&ports, &[], None).expect("opens");
    assert_eq!(anew.read_all().expect("reads"), ["snapshot a v3", "snapshot b v1"], "the state goes no further back");
}
