//! Tests of what polls find, read, save and count.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::*;
use crate::testing::mutant;

/// What a bucket shows, as `a v2* -m v1 | b null=x*`: of each key its entries, newest first. `*` marks the latest, `-` a
/// delete marker, and `=` gives an ETag.
pub(super) type Shown = Rc<RefCell<String>>;

pub(super) fn shown(text: &str) -> Shown {
    Rc::new(RefCell::new(text.to_owned()))
}

pub(super) fn show(shown: &Shown, text: &str) {
    text.clone_into(&mut shown.borrow_mut());
}

/// The page of such a bucket that begins with a prefix.
pub(super) fn versions(text: &str, prefix: &str, more: &str) -> Reply {
    let mut document = format!("<ListVersionsResult>{more}");
    for (key, entries) in text.split('|').filter_map(|one| one.trim().split_once(' ')) {
        for word in entries.split_whitespace().filter(|_| key.starts_with(prefix)) {
            let (word, is_latest) = word.strip_suffix('*').map_or((word, false), |word| (word, true));
            let (id, element) = word.strip_prefix('-').map_or((word, "Version"), |id| (id, "DeleteMarker"));
            let (id, etag) = id.split_once('=').unwrap_or((id, id));
            let time = START.before(HOUR).to_rfc3339();
            document.push_str(&format!(
                "<{element}><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{is_latest}</IsLatest>\
                 <ETag>{etag}</ETag><Size>0</Size><LastModified>{time}</LastModified></{element}>"
            ));
        }
    }
    document.push_str("</ListVersionsResult>");
    Reply::status(200).body(&[document.as_bytes()])
}

/// The server of such a bucket.
pub(super) fn over(shown: &Shown) -> impl FnMut(Asked, &Request) -> Option<Reply> + use<> {
    let shown = Rc::clone(shown);
    move |asked, request| {
        let (_, prefix) = request.path_with_query.rsplit_once("prefix=").unwrap_or_default();
        (asked == Asked::Versions).then(|| versions(&shown.borrow(), prefix, ""))
    }
}

/// Cuts by other sizes until it is dropped.
pub(super) struct Sizes;

impl Sizes {
    pub(super) fn of(change: impl FnOnce(&mut Bounds)) -> Self {
        let mut bounds = Bounds::SOURCE;
        change(&mut bounds);
        mutant::set_bounds(bounds);
        Self
    }
}

impl Drop for Sizes {
    fn drop(&mut self) {
        mutant::set_bounds(Bounds::SOURCE);
    }
}

#[test]
fn each_version_is_told_once_and_the_top_last() {
    let bucket = shown("a v1* | b v1* v0 | c -m* v1");
    let mut fixture = Fixture::open(&[], over(&bucket));
    assert_eq!(fixture.read_all().expect("reads"), ["snapshot a v1", "snapshot b v1"]);
    for (text, told) in [
        ("a v3* v2 v1 | b v1* v0 | c -m* v1", &["update a v2", "update a v3"][..]),
        // One that lands late below the top, whatever time it carries.
        ("a v3* v2 v1 | b v1* u v0 | c -m* v1", &["update b u", "update b v1"]),
        ("a -n* v3 v2 v1 | b v1* u v0 | c -m* v1", &["delete a n"]),
        ("a v4* -n v3 v2 v1 | b v1* u v0 | c v2* -m v1", &["create a v4", "create c v2"]),
        // The top is purged, and what lies below it is back.
        ("a v4* -n v3 v2 v1 | b u* v0 | c v2* -m v1", &["update b u"]),
        ("a v4* -n v3 v2 v1 | b u* | c v2* -m v1", &[]),
        ("a v4* -n v3 v2 v1 | c v2* -m v1", &["delete b"]),
    ] {
        show(&bucket, text);
        assert_eq!(fixture.read_poll().expect("reads"), told, "{text}");
        assert_eq!(fixture.read_poll().expect("reads"), [""; 0], "{text}: and once");
    }
}

#[test]
fn a_hole_in_a_listing_is_no_delete_and_its_end_no_change() {
    let bucket = shown("a v1* | b v2* v1 | c v1*");
    let exists = Rc::new(Cell::new(true));
    let (mut server, answers) = (over(&bucket), Rc::clone(&exists));
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        Asked::Head => answers.get().then(|| object(request)),
        _ => server(asked, request),
    });
    fixture.read_all().expect("reads");
    show(&bucket, "a v1* | c v1*");
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0]);
    let lines = fixture.ports.lines(Level::Warn);
    assert!(lines[0].contains("lacks a key that exists") && lines[0].contains("key=`b`"), "{lines:?}");
    show(&bucket, "a v1* | b v2* v1 | c v1*");
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0], "it was told before");
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0]);
    show(&bucket, "a v1* | c v1*");
    exists.set(false);
    assert_eq!(fixture.read_poll().expect("reads"), ["delete b"]);
    show(&bucket, "a v1* | b v2* v1 | c v1*");
    assert_eq!(fixture.read_poll().expect("reads"), ["create b v1", "update b v2"], "it is another one");
}

#[test]
fn a_deleted_key_that_a_listing_lacks_once_has_no_new_history() {
    let whole = "a v1* | b -m2* v1";
    let bucket = shown(whole);
    let mut fixture = Fixture::open(&[], over(&bucket));
    assert_eq!(fixture.read_all().expect("reads"), ["snapshot a v1"]);
    let mut next = |text| {
        show(&bucket, text);
        fixture.read_polls(1).expect("reads")
    };
    assert_eq!([next("a v1*"), next(whole), next("a v1*"), next("a v1*")].concat(), [""; 0]);
    assert_eq!(next("a v1* | b v1*"), ["create b v1"], "once it was lacking twice, it is forgotten");
}

#[test]
fn a_key_that_may_not_be_asked_for_is_looked_for_in_a_listing() {
    for (is_listed, told) in [(true, &[][..]), (false, &["delete a"])] {
        let mut listings = 0;
        let mut fixture = Fixture::open(&[], move |asked, request| match asked {
            Asked::Versions => {
                listings += 1;
                Some(versions(if listings == 1 { "a v1*" } else { "" }, "", ""))
            }
            Asked::Head => Some(Reply::status(403)),
            Asked::Objects if is_listed && looks_for(request, "a") => Some(page(asked, &[("a", "1", HOUR)], "")),
            _ => None,
        });
        let mut read = Vec::new();
        for _ in 0..3 {
            read.extend(fixture.read().expect("reads").iter().map(summary));
        }
        assert_eq!(read[0], "snapshot a v1");
        assert_eq!(read[1..], *told);
    }
}

#[test]
fn a_store_that_lists_versions_never_changes_over() {
    let bucket = shown("a v1*");
    let (mut server, mut listings) = (over(&bucket), 0);
    let mut fixture = Fixture::open(&[], move |asked, request| {
        listings += u32::from(asked == Asked::Versions);
        let fails = asked == Asked::Versions && listings > 2;
        if fails { Some(Reply::error(501, "NotImplemented", "A bad moment.")) } else { server(asked, request) }
    });
    assert_eq!(fixture.read_all().expect("reads"), ["snapshot a v1"]);
    let error = fixture.read_poll().expect_err("which is no reason to list otherwise");
    assert!(error.message.contains("ListObjectVersions"), "{error}");
    assert!(fixture.asked(Asked::Objects).is_empty());
}

#[test]
fn entries_that_a_listing_repeats_are_told_once() {
    let mut listings = 0;
    let mut fixture = Fixture::open(&[], move |asked, request| {
        // The version was purged at which the second page was to begin.
        let is_second = request.path_with_query.contains("key-marker=a");
        listings += u32::from(asked == Asked::Versions && !is_second);
        let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker>\
                    <NextVersionIdMarker>v1</NextVersionIdMarker>";
        match asked {
            Asked::Versions if listings == 1 => None,
            Asked::Versions if is_second => Some(versions("a v3* v2 v1 v0 | b v1*", "", "")),
            Asked::Versions => Some(versions("a v3* v2 v1", "", more)),
            _ => None,
        }
    });
    let told = ["create a v0", "update a v1", "update a v2", "update a v3", "create b v1"];
    assert_eq!(fixture.read_all().expect("reads"), told);
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0]);
}

/// Names of values that are loaded or saved from now on.
fn touched(ports: &TestPorts) -> Rc<RefCell<Vec<String>>> {
    let names = Rc::new(RefCell::new(Vec::new()));
    let touched = Rc::clone(&names);
    ports.refuse_state(move |name| {
        touched.borrow_mut().push(name.to_owned());
        None
    });
    names
}

#[test]
fn an_idle_poll_reads_no_segment_and_saves_nothing() {
    let _sizes = Sizes::of(|bounds| bounds.segment_bytes = 1);
    let before = "a v1* | b v1* | c v1* | d v1*";
    let bucket = shown(before);
    let mut fixture = Fixture::open(&[], over(&bucket));
    fixture.read_all().expect("reads");
    // What was acked last is removed by then.
    fixture.read_poll().expect("reads");
    fixture.read_poll().expect("reads");
    let names = touched(&fixture.ports);
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0]);
    assert_eq!(*names.borrow(), [""; 0]);
    show(&bucket, &before.replace("c v1*", "c v2* v1"));
    assert_eq!(fixture.read_poll().expect("reads"), ["update c v2"]);
    let segments = names.borrow().iter().filter(|name| name.starts_with("s-")).count();
    // It is read, saved under another name, and removed.
    assert_eq!(segments, 3, "{names:?}");
}

#[test]
fn a_plan_that_does_not_fit_into_memory_comes_in_order_after_a_restart_too() {
    let _sizes = Sizes::of(|bounds| (bounds.run_bytes, bounds.chunk_bytes) = (4000, 1000));
    const COUNT: u64 = 200;
    let mut listings = 0;
    let ports = serving(move |asked, _| {
        listings += u32::from(asked == Asked::Versions);
        // The later a key, the older its object.
        let keys: Vec<_> = (0..COUNT).map(|n| (format!("k{n:03}"), Duration::from_secs(n))).collect();
        let entries: Vec<_> = keys.iter().map(|(key, ago)| (&**key, "e", *ago)).collect();
        (asked == Asked::Versions && listings > 1).then(|| page(asked, &entries, ""))
    });
    let expected: Vec<_> = (0..COUNT).rev().map(|n| format!("create k{n:03}")).collect();
    let mut fixture = Fixture::go_on(&ports, &[], None).expect("opens");
    let mut positions = Vec::new();
    for _ in 0..READS_MAX {
        let records = fixture.read().expect("reads");
        for (record, expected) in records.iter().zip(&expected[positions.len()..]) {
            assert_eq!(summary(record), *expected);
        }
        positions.extend(records.into_iter().map(|record| record.position));
        if positions.len() == COUNT as usize {
            break;
        }
    }
    assert_eq!(positions.len(), COUNT as usize);
    let chunks = ports.saved().keys().filter(|name| name.starts_with("p-")).count();
    assert!(chunks > 20, "{chunks}");
    for after in [0, 1, 57, 198, 199] {
        let mut fixture = Fixture::go_on(&ports, &[], Some(&positions[after])).expect("goes on");
        let mut read = Vec::new();
        for _ in 0..READS_MAX {
            if fixture.source.progress().counts.polls > 0 {
                break;
            }
            let records = fixture.read().expect("reads");
            for (record, number) in records.iter().zip(after + 1 + read.len()..) {
                assert_eq!(record.position, positions[number], "a record keeps its position");
            }
            read.extend(records.iter().map(summary));
        }
        assert_eq!(read, expected[after + 1..], "after {after}");
    }
}

#[test]
fn the_feed_waits_while_too_many_plans_are_unacked() {
    let mut listings = 0;
    let mut fixture = Fixture::open(&[], move |asked, _| {
        listings += u64::from(asked == Asked::Versions);
        (asked == Asked::Versions).then(|| versions(&format!("a v{listings}*"), "", ""))
    });
    let (mut read, mut last, mut idle) = (0, None, 0);
    while idle < 10 {
        let records = fixture.read().expect("reads");
        idle = if records.is_empty() { idle + 1 } else { 0 };
        read += records.len();
        last = records.into_iter().last().or(last);
        assert!(read < limits::PLANS_UNACKED_MAX + 10, "it never waits");
        fixture.ports.forget_requests();
    }
    assert_eq!(read, limits::PLANS_UNACKED_MAX + 1);
    let polls = fixture.source.progress().counts.polls;
    fixture.read().expect("waits on");
    assert_eq!(fixture.source.progress().counts.polls, polls);
    assert_eq!(fixture.source.ack(&last.expect("it read").position), Ok(read));
    for _ in 0..3 {
        assert_eq!(fixture.read_poll().expect("goes on").len(), 2, "the feed goes on");
    }
    let plans = fixture.ports.saved().keys().filter(|name| name.starts_with("p-")).count();
    assert!(plans < 10, "what was acked is removed: {plans}");
}

fn count(fixture: &Fixture, name: &str) -> u64 {
    let counts = fixture.source.progress().counts;
    let found = counts.iter().find(|(one, _)| *one == name);
    found.unwrap_or_else(|| panic!("no count `{name}`")).1
}

#[test]
fn what_is_kept_and_how_far_the_feed_lags_is_counted() {
    let _sizes = Sizes::of(|bounds| bounds.segment_bytes = 1);
    let bucket = shown("a v1* | b v2* v1 | c -m* v1");
    let mut fixture = Fixture::open(&[("pollingPeriod", "10s")], over(&bucket));
    assert_eq!(count(&fixture, "lag-ms"), 0);
    fixture.read_all().expect("reads");
    assert_eq!((count(&fixture, "keys"), count(&fixture, "segments")), (3, 3));
    let listed = count(&fixture, "listed");
    assert_eq!(listed, 10, "the snapshot and a poll");
    fixture.read_poll().expect("reads");
    assert_eq!(count(&fixture, "lag-ms"), 0, "an idle poll has just begun");
    let saved = |fixture: &Fixture| -> usize {
        let is_it = |name: &str| name.starts_with("s-") || name.starts_with("p-");
        fixture.ports.saved().iter().filter(|(name, _)| is_it(name)).map(|(_, value)| value.len()).sum()
    };
    show(&bucket, "a v2* v1 | b v2* v1 | c -m* v1 | d v1*");
    let mut read = 0;
    for _ in 0..READS_MAX {
        read = fixture.read().expect("reads").len();
        if read > 0 {
            break;
        }
    }
    assert_eq!(read, 2);
    assert_eq!(count(&fixture, "state-bytes"), saved(&fixture) as u64);
    assert_eq!(count(&fixture, "lag-ms"), 10_000, "the idle poll before it is a period old");
    assert_eq!((count(&fixture, "keys"), count(&fixture, "segments")), (4, 4));
    fixture.read_poll().expect("reads");
    assert_eq!(count(&fixture, "lag-ms"), 0);
}
