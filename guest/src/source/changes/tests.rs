//! Change detection by example: each test lists what a bucket's history would list.

use super::*;
use crate::s3::ObjectEntry;

const SECOND: u64 = 1000;

/// `v2@7` is version `v2` stamped at second 7, `-m1@9` a delete marker, and a leading `*` marks the latest.
fn entry(key: &str, text: &str) -> VersionEntry {
    let (latest, text) = text.strip_prefix('*').map_or((false, text), |rest| (true, rest));
    let (marker, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (version_id, second) = text.split_once('@').expect("a version and a second");
    let (version_id, etag) = version_id.split_once('=').unwrap_or((version_id, version_id));
    VersionEntry {
        object: ObjectEntry {
            key: key.to_owned(),
            last_modified: Timestamp(second.parse::<u64>().expect("a second") * SECOND),
            etag: if marker { String::new() } else { etag.to_owned() },
            size: 1,
        },
        version_id: version_id.to_owned(),
        is_latest: latest,
        is_delete_marker: marker,
    }
}

struct Poll {
    low_watermark: u64,
    history: Option<u64>,
    uploads: Uploads,
    bytes_max: usize,
    seen: Seen,
}

impl Poll {
    fn new(low_watermark: u64) -> Self {
        let (uploads, seen) = (Uploads::default(), Seen::new((0, 0)));
        Self { low_watermark, history: None, uploads, bytes_max: usize::MAX, seen }
    }

    fn after_snapshot(cut: u64) -> Self {
        Self { history: Some(cut), ..Self::new(0) }
    }

    fn saw(mut self, key: &str, text: &str) -> Self {
        let entry = entry(key, text);
        let (slot, mark) = self.seen.identify(&entry.object, &entry.version_id, entry.is_delete_marker);
        self.seen.insert(slot, mark);
        self
    }

    fn upload(mut self, key: &str, second: u64) -> Self {
        let initiated = Timestamp(second * SECOND);
        self.uploads.insert(UploadEntry { key: key.to_owned(), initiated, ..UploadEntry::default() });
        self
    }

    fn find(&self, listing: &[(&str, &[&str])]) -> Found {
        let rules = Rules {
            low_watermark: Timestamp(self.low_watermark * SECOND),
            history: self.history.map(|s| Timestamp(s * SECOND)),
            uploads: &self.uploads,
            bytes_max: self.bytes_max,
        };
        let mut detector = Detector::new(rules, &self.seen);
        for (key, entries) in listing {
            entries.iter().for_each(|text| detector.push(entry(key, text)));
        }
        detector.finish()
    }

    fn due(&self, listing: &[(&str, &[&str])]) -> Vec<String> {
        let name = |d: &Due| format!("{} {} {}", d.operation.as_str(), d.key, d.version_id);
        self.find(listing).due.iter().map(name).collect()
    }
}

#[test]
fn a_first_version_is_created_and_later_ones_update() {
    let due = Poll::new(10).due(&[("a", &["*v3@12", "v2@11", "v1@9"]), ("b", &["*v1@10"])]);
    assert_eq!(due, ["create b v1", "update a v2", "update a v3"]);
}

#[test]
fn deletes_and_what_comes_after_them_are_told_apart() {
    let due = Poll::new(0).due(&[("a", &["*v2@4", "v1@1", "-m1@3"]), ("b", &["v1@1", "*-m1@2"])]);
    assert_eq!(due, ["create a v1", "create b v1", "delete b m1", "delete a m1", "create a v2"]);
}

#[test]
fn markers_and_versions_of_one_second_take_turns() {
    let due = Poll::new(0).due(&[("a", &["v2@1", "v1@1", "*-m2@1", "-m1@1"])]);
    assert_eq!(due, ["create a v1", "delete a m1", "create a v2", "delete a m2"]);
    let due = Poll::new(0).due(&[("a", &["*v2@1", "v1@1", "-m1@1"])]);
    assert_eq!(due, ["create a v1", "delete a m1", "create a v2"]);
}

#[test]
fn a_marker_over_nothing_changes_nothing() {
    let found = Poll::new(0).find(&[("a", &["*-m2@2", "-m1@1"])]);
    assert!(found.due.is_empty());
    assert_eq!(found.marks.len(), 2, "and is remembered");
}

#[test]
fn a_null_marker_deletes_what_it_took_the_place_of() {
    let listing: &[(&str, &[&str])] = &[("a", &["*-null@5"])];
    assert_eq!(Poll::new(0).due(listing), ["delete a null"]);
    let poll = Poll::new(0).saw("a", "null=x@4");
    assert_eq!(poll.due(listing), ["delete a null"]);
    let poll = Poll::new(0).saw("a", "-null@4");
    assert!(poll.due(listing).is_empty(), "it took a marker's place");
    let listing: &[(&str, &[&str])] = &[("a", &["*-null@5", "-m@3", "v@1"])];
    assert_eq!(Poll::new(2).due(listing), ["delete a m", "delete a null"], "there was a version in between");
    assert!(Poll::after_snapshot(100).due(listing).is_empty(), "and before the snapshot it is history");
}

#[test]
fn what_was_seen_is_not_due_again_even_in_the_same_second() {
    let poll = Poll::new(0).saw("a", "v1@5").saw("b", "null=x@5");
    let due = poll.due(&[("a", &["*v2@5", "v1@5"]), ("b", &["*null=x@5"]), ("c", &["*v1@5"])]);
    assert_eq!(due, ["update a v2", "create c v1"]);
}

#[test]
fn the_null_version_is_due_when_it_was_overwritten() {
    let poll = Poll::new(0).saw("a", "null=x@5");
    assert_eq!(poll.due(&[("a", &["*null=y@5"])]), ["create a null"]);
}

#[test]
fn what_is_older_than_the_window_is_not_due() {
    assert!(Poll::new(10).due(&[("a", &["*v2@9", "v1@8"])]).is_empty());
}

#[test]
fn an_upload_that_lands_late_is_due_however_old_its_stamp() {
    let poll = Poll::new(1000).upload("big", 5).saw("other", "v1@1000");
    let listing: &[(&str, &[&str])] = &[("big", &["*u@5", "v1@900"]), ("small", &["*v1@5"])];
    assert_eq!(poll.due(listing), ["update big u"]);
    assert!(poll.saw("big", "u@5").due(listing).is_empty(), "but only once");
}

#[test]
fn a_late_upload_over_newer_versions_is_delivered_after_them() {
    let poll = Poll::new(100).upload("big", 5);
    let due = poll.due(&[("big", &["*u@5", "v2@120", "v1@110"]), ("x", &["*v1@115"])]);
    assert_eq!(due, ["create big v1", "create x v1", "update big v2", "update big u"]);
}

#[test]
fn a_delete_before_the_latest_version_is_not_delivered_after_it() {
    // The snapshot read what was put in the second of the delete.
    let listing: &[(&str, &[&str])] = &[("a", &["*v2@5", "v1@1", "-m1@5"])];
    let poll = Poll::after_snapshot(5).saw("a", "v2@5");
    assert!(poll.due(listing).is_empty());
    // Of one that is no longer the latest, this can't be known.
    let listing: &[(&str, &[&str])] = &[("a", &["*v3@6", "v2@5", "v1@1", "-m1@5"])];
    let due = Poll::after_snapshot(5).saw("a", "v2@5").due(listing);
    assert_eq!(due, ["delete a m1", "create a v3"]);
}

#[test]
fn what_may_have_been_there_at_the_cut_is_delivered() {
    // It was deleted and created anew within a second, in this order or the other, and replaced during the snapshot.
    let listing: &[(&str, &[&str])] = &[("a", &["v4@101", "v3@68", "v2@67", "*-m2@102", "-m1@68"])];
    let due = Poll::after_snapshot(100).due(listing);
    assert_eq!(due, ["update a v3", "create a v4", "delete a m2"]);
    // A second apart, the order is known, and so is what is the latest.
    let listing: &[(&str, &[&str])] = &[("a", &["v1@68", "*-m1@68"])];
    assert!(Poll::after_snapshot(100).due(listing).is_empty());
    let listing: &[(&str, &[&str])] = &[("a", &["v4@101", "v3@67", "v2@66", "*-m2@102", "-m1@68"])];
    let due = Poll::after_snapshot(100).due(listing);
    assert_eq!(due, ["create a v4", "delete a m2"]);
}

#[test]
fn history_before_the_snapshot_is_not_delivered() {
    let poll = Poll::after_snapshot(100).saw("kept", "v2@90").saw("empty", "v1@1");
    let listing: &[(&str, &[&str])] = &[
        ("empty", &["*v1@1"]),
        ("gone", &["v1@80", "*-m1@85"]),
        ("kept", &["*v2@90", "v1@80"]),
        ("reborn", &["*v2@105", "v1@80", "-m1@85"]),
    ];
    assert_eq!(poll.due(listing), ["create reborn v2"]);
    assert_eq!(poll.find(listing).marks.len(), 8, "all of the window is remembered");
}

#[test]
fn changes_at_keys_that_the_snapshot_has_passed_are_due() {
    let poll = Poll::after_snapshot(100).saw("a", "v1@90").saw("z", "v1@90");
    let listing: &[(&str, &[&str])] = &[
        ("a", &["*v2@101", "v1@90"]),
        ("b", &["*v1@100"]),
        ("late", &["*v1@99", "v0@90"]),
        ("z", &["v1@90", "*-m@102"]),
    ];
    assert_eq!(poll.due(listing), ["update late v1", "create b v1", "update a v2", "delete z m"]);
}

#[test]
fn a_delete_stamped_before_the_cut_is_due_if_the_snapshot_had_the_object() {
    let poll = Poll::after_snapshot(100).saw("a", "v1@90");
    assert_eq!(poll.due(&[("a", &["v1@90", "*-m@99"])]), ["delete a m"]);
}

#[test]
fn all_that_was_stored_on_top_of_what_was_delivered_is_due_whatever_its_stamp() {
    let poll = Poll::after_snapshot(100).saw("a", "v1@99");
    let due = poll.due(&[("a", &["*v3@99", "v2@99", "v1@99", "v0@99"])]);
    assert_eq!(due, ["update a v2", "update a v3"]);
}

#[test]
fn what_was_seen_never_hides_what_was_stored_on_top_of_it_in_the_same_second() {
    // As it was stored: v1, v2, -m3, v4, v5, of which v4 and v5 are new.
    let poll = Poll::new(0).saw("a", "v1@5").saw("a", "v2@5").saw("a", "-m3@5");
    let due = poll.due(&[("a", &["-m3@5", "*v5@5", "v4@5", "v2@5", "v1@5"])]);
    assert_eq!(due, ["create a v4", "update a v5"]);
    // v1, -m2, v3, -m4, of which v3 and -m4 are new.
    let poll = Poll::new(0).saw("a", "v1@5").saw("a", "-m2@5");
    let due = poll.due(&[("a", &["*-m4@5", "-m2@5", "v3@5", "v1@5"])]);
    assert_eq!(due, ["create a v3", "delete a m4"]);
    // v1, -m2, -m3, of which both markers are new: the first of them deleted what was there.
    let poll = Poll::new(0).saw("a", "v1@5");
    let due = poll.due(&[("a", &["*-m3@5", "-m2@5", "v1@5"])]);
    assert_eq!(due, ["delete a m2"]);
}

#[test]
fn versions_that_a_snapshot_overtook_are_not_delivered_backwards() {
    let poll = Poll::after_snapshot(100).saw("a", "v3@102");
    let found = poll.find(&[("a", &["*v3@102", "v2@101", "v1@90"])]);
    assert!(found.due.is_empty());
    assert_eq!(found.superseded, 1);
}

#[test]
fn a_poll_with_too_much_due_keeps_the_earliest_and_reports_what_is_left() {
    let mut poll = Poll::new(0);
    let listing: &[(&str, &[&str])] = &[("a", &["*v1@9"]), ("b", &["*v1@3"]), ("c", &["*v2@7", "v1@5"])];
    poll.bytes_max = poll.find(listing).due.iter().map(Due::bytes).sum::<usize>() - 1;
    let found = poll.find(listing);
    assert_eq!(found.due.len(), 3);
    assert_eq!(found.left_since, Some(Timestamp(9 * SECOND)));
    assert_eq!(found.marks.len(), 3, "what is left is not remembered");
    poll.bytes_max = 1;
    let found = poll.find(listing);
    assert_eq!(found.due.len(), 1, "a poll always gets on");
    assert_eq!(found.left_since, Some(Timestamp(5 * SECOND)));
}

#[test]
fn a_long_history_is_not_held_in_memory() {
    let rules = Rules {
        low_watermark: Timestamp(u64::MAX),
        history: None,
        uploads: &Uploads::default(),
        bytes_max: usize::MAX,
    };
    let seen = Seen::new((0, 0));
    let mut detector = Detector::new(rules, &seen);
    for _ in 0..10_000 {
        detector.push(entry("a", "v@1"));
        detector.push(entry("a", "-m@1"));
    }
    assert_eq!((detector.versions.len(), detector.markers.len()), (1, 1));
}
