//! Tests of what is rare: state that is older than a position, listings with large holes, what nobody could read.

use super::polls::{Shown, over, show, shown, versions};
use super::*;
use crate::ports::{Edit, State as _, StateError};
use crate::source::checkpoint::CheckpointStore;
use crate::source::plan::Plan;
use crate::source::queue::ALL;

/// A server of the bucket in which every key exists.
fn without_deletes(bucket: &Shown) -> impl FnMut(Asked, &Request) -> Option<Reply> + use<> {
    let mut server = over(bucket);
    move |asked, request| if asked == Asked::Head { Some(object(request)) } else { server(asked, request) }
}

#[test]
fn keys_that_come_back_after_a_large_hole_make_no_segment_too_large() {
    let long = "x".repeat(400);
    let all: Vec<_> = (0..3000).map(|number| format!("k{number:06}{long} v1*")).collect();
    let bucket = shown(&all.join(" | "));
    let mut fixture = Fixture::open(&[], without_deletes(&bucket));
    assert_eq!(fixture.read_poll().expect("reads").len(), 3000);
    show(&bucket, "a v1*");
    assert_eq!(fixture.read_poll().expect("keeps values that are small enough"), ["create a v1"]);
    show(&bucket, &format!("a v1* | {}", all.join(" | ")));
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0], "they were told before");
}

#[test]
fn a_position_that_is_newer_than_the_saved_state_loses_nothing() {
    let bucket = shown("a v1*");
    let ports = serving(over(&bucket));
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    fixture.read_poll().expect("reads");
    let backup = ports.saved();
    let mut position = None;
    for text in ["a v2* v1", "a v3* v2 v1", "a v4* v3 v2 v1"] {
        show(&bucket, text);
        let records = (0..10).flat_map(|_| fixture.read().expect("reads"));
        position = records.map(|record| record.position).last();
    }
    let gone = ports.saved().into_keys().filter(|name| !backup.contains_key(name)).map(Edit::remove);
    let edits = gone.chain(backup.iter().map(|(name, value)| Edit::save(name.clone(), value.clone())));
    ports.commit(edits.collect()).expect("keeps it");
    show(&bucket, "a v5* v4 v3 v2 v1");
    let mut fixture = Fixture::go_on(&ports, &[("lookback", "2h")], position.as_deref()).expect("opens");
    assert_eq!(fixture.read_all().expect("reads").last().map(String::as_str), Some("update a v5"));
    assert!(fixture.warning().contains("newer than the saved state"));
}

#[test]
fn changes_that_nobody_could_read_do_not_make_a_source_begin_anew() {
    let bucket = shown("a v1*");
    let mut server = over(&bucket);
    let ports = serving(move |asked, request| match asked {
        Asked::Object if request.path_with_query.ends_with("=v2") => {
            Some(Reply::error(403, "InvalidObjectState", "archived"))
        }
        _ => server(asked, request),
    });
    let mut fixture = Fixture::go_on(&ports, &[("start", "now")], None).expect("opens");
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0]);
    show(&bucket, "a v2* v1");
    for _ in 0..2 {
        assert_eq!(fixture.read_poll().expect("reads"), [""; 0], "it is archived");
    }
    drop(fixture);
    show(&bucket, "a v3* v2 v1");
    let mut fixture = Fixture::go_on(&ports, &[("start", "now")], None).expect("opens");
    assert_eq!(fixture.read_all().expect("reads"), ["update a v3"], "it was stored while nobody looked");
}

#[test]
fn a_delete_over_what_could_not_be_read_is_told_once() {
    let bucket = shown("a v1*");
    let mut server = over(&bucket);
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        Asked::Object if request.path_with_query.ends_with("=v2") => Some(Reply::error(404, "NoSuchVersion", "")),
        Asked::Versions if looks_for(request, "a") => Some(versions("a -m* v1", "a", "")),
        _ => server(asked, request),
    });
    assert_eq!(fixture.read_all().expect("reads"), ["snapshot a v1"]);
    show(&bucket, "a -m* v2 v1");
    assert_eq!(fixture.read_poll().expect("reads"), ["delete a m"]);
    show(&bucket, "a -m* v1");
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0]);
}

#[test]
fn a_snapshot_that_is_resumed_twice_without_state_tells_deletes() {
    let bucket = shown("a v1* | b v1* | c v1* | d v1*");
    let ports = serving(over(&bucket));
    ports.refuse_state(|_| Some(StateError::Absent));
    let after = |position: Option<Bytes>, last: &str| {
        let mut fixture = Fixture::go_on(&ports, &[("lookback", "2h")], position.as_deref()).expect("opens");
        let mut told = Vec::new();
        for record in (0..10).flat_map(|_| fixture.read().expect("reads")) {
            told.push(summary(&record));
            if told.last().is_some_and(|told| told == last) {
                return (told, Some(record.position));
            }
        }
        (told, None)
    };
    let (_, position) = after(None, "snapshot c v1");
    show(&bucket, "a v2* v1 | b -m* v1 | c v1* | d v1*");
    let (_, position) = after(position, "update a v2");
    let (told, _) = after(position, "");
    assert!(told.iter().any(|told| told == "delete b m"), "{told:?}");
}

#[test]
fn a_delete_that_no_listing_shows_has_the_time_of_the_listing() {
    let bucket = shown("a v1* | b v1*");
    let mut fixture = Fixture::open(&[], over(&bucket));
    fixture.read_all().expect("reads");
    show(&bucket, "a v1*");
    let records: Vec<_> = (0..10).flat_map(|_| fixture.read().expect("reads")).collect();
    let [delete] = &records[..] else { panic!("{records:?}") };
    let position = String::from_utf8_lossy(&delete.position);
    let seconds = position.strip_prefix("b_c").and_then(|rest| rest.split_once('~')).map(|(seconds, _)| seconds);
    let seconds: u64 = seconds.and_then(|seconds| seconds.parse().ok()).expect("a position");
    assert!(seconds >= START.seconds(), "{position}");
}

#[test]
fn what_a_crash_left_is_removed_by_another_run_too() {
    let bucket = shown("a v1*");
    let ports = serving(over(&bucket));
    Fixture::go_on(&ports, &[], None).expect("opens").read_poll().expect("reads");
    let left = ["s-1", "m-2-0", "p-2-0-0", "p-2-0-1", "p-2-1-0"];
    assert!(ports.saved().contains_key("m-1-0") && ports.saved().contains_key("s-0"), "{:?}", ports.saved().keys());
    ports.commit(left.map(|name| Edit::save(name, vec![1])).into()).expect("keeps it");
    let _another = Fixture::go_on(&ports, &[], Some(b"a_c1")).expect("opens");
    assert_eq!(ports.saved().into_keys().collect::<Vec<_>>(), ["head"]);
}

#[test]
fn a_position_after_which_nothing_came_keeps_the_catalogue_that_was_made_for_it() {
    let bucket = shown("a v1* | b v1*");
    let ports = serving(over(&bucket));
    let position = Some(&b"a_c1700000000"[..]);
    for told in [&[][..], &["delete b"], &["delete b"]] {
        let mut fixture = Fixture::go_on(&ports, &[], position).expect("opens");
        assert_eq!(fixture.read_all().expect("reads"), told, "nothing was acked");
        assert_eq!(fixture.ports.lines(Level::Warn).len(), 1, "state is made once for it");
        drop(fixture);
        show(&bucket, "a v1*");
    }
}

#[test]
fn of_a_large_plan_counts_what_is_not_acked() {
    let (mut store, _) = CheckpointStore::load(TestPorts::new(1)).expect("it is empty");
    let (phase, cut, bytes) = (crate::position::Phase::Changes, START, 2 * limits::PLANS_UNACKED_BYTES_MAX);
    store.head.plans.push_back(Plan { id: 1, phase, cut, runs: Vec::new(), count: 1024, bytes });
    store.emitted((1, 1023, ALL));
    store.delivered(1);
    assert!(store.is_full());
    store.acked((1, 510, ALL));
    assert!(store.is_full());
    store.acked((1, 511, ALL));
    assert!(!store.is_full(), "the rest may wait for more");
}
