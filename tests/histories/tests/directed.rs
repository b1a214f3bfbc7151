//! Owns the cases that once broke change detection, each by its name: as it was found, restarted after each step, killed
//! at each call of the host after each step, young, and with days between the steps. Leaves random histories to the
//! command `histories`.
//!
//! What is not about detection is tested elsewhere:
//!
//! | case | what it is | test |
//! |---|---|---|
//! | A3 | a short outage ends the source | `s3/tests.rs`, `s3/retry.rs` of the core; `outages` of the processes |
//! | D4 | unacked streams | `source/tests.rs` of the core |
//! | D5 | an object that can't be read stops a pipeline | `unreadable` of the conformance cases |
//! | E1, E2 | ETags that differ, answers that are not what was requested | `retrieval` in `source/tests.rs`; `answers` of the conformance cases |
//! | E6 | pages that lead in a circle | `s3/trail.rs` of the core |
//! | E7 | a destination that dies | `kills` of the processes |
//! | E8 | positions of another store | `position.rs` of the core; `identity` of the conformance cases |

use std::time::Duration;

use embedded_s3::{GoneVersion, ListingKinds, MultipartOrder, Versioning};
use s3_connector_histories::{Act, History, Profile, ReaderSetup, Step, StoreSetup, When, run};

use Act::{Abort, Begin, Clock, Complete, Date, Delete, Hide, Miss, Purge, Put, PutSame, Refuse, Switch, Wait};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR_MS: i64 = 3_600_000;

/// Keys, by their places.
const A: u8 = 0;
const B: u8 = 4;
const C: u8 = 6;

/// A bucket that keeps versions, as AWS has it.
fn aws() -> StoreSetup {
    StoreSetup {
        versioning: Versioning::Enabled,
        lists_versions: true,
        order: MultipartOrder::Start,
        stamps_completion: false,
        kinds: ListingKinds::Interleaved,
        gone: GoneVersion::Below,
        promises_more: false,
        skips: false,
        milliseconds: false,
        page: 1000,
        latency_ms: 0,
    }
}

fn by_commit() -> StoreSetup {
    StoreSetup { order: MultipartOrder::Commit, ..aws() }
}

fn of_versioning(versioning: Versioning) -> StoreSetup {
    StoreSetup { versioning, ..aws() }
}

/// A case: what is there, what happens, and what the reader gets if nothing interrupts.
struct Case {
    name: &'static str,
    history: History,
    told: Option<&'static [&'static str]>,
    /// Steps at the beginning after which nothing interrupts.
    quiet: usize,
}

impl Case {
    fn new(name: &'static str, store: StoreSetup) -> Self {
        let reader = ReaderSetup { records_max: 1000, lag: 0, group: 1, concurrency: 2, has_state: true, cut: 0 };
        let (before, steps) = (Vec::new(), Vec::new());
        Self {
            name,
            history: History { seed: 7, profile: Profile::All, store, reader, before, steps },
            told: None,
            quiet: 0,
        }
    }

    /// What happens before the source starts.
    fn before(mut self, acts: &[Act]) -> Self {
        self.history.before.extend(acts);
        self
    }

    /// What happens once the source is idle: the first, and the others with it.
    fn then(mut self, acts: &[Act]) -> Self {
        for (at, act) in acts.iter().enumerate() {
            let when = if at == 0 { When::Idle } else { When::Call(0) };
            self.history.steps.push(Step { when, act: *act });
        }
        self
    }

    /// What happens at a call of the host after the previous step.
    fn at(mut self, call: u32, act: Act) -> Self {
        self.history.steps.push(Step { when: When::Call(call), act });
        self
    }

    fn reader(mut self, change: impl FnOnce(&mut ReaderSetup)) -> Self {
        change(&mut self.history.reader);
        self
    }

    /// What was added so far is not interrupted.
    fn quiet(mut self) -> Self {
        self.quiet = self.history.steps.len();
        self
    }

    fn told(mut self, told: &'static [&'static str]) -> Self {
        self.told = Some(told);
        self
    }

    /// Checks it in all variants.
    fn check(self) {
        let young = &self.history;
        let outcome = run(young, true, &[]);
        if let Some(told) = self.told {
            assert_eq!(outcome.told, told, "{}\n{young}{}", self.name, outcome.transcript.join("\n"));
        }
        let idle = young.steps[..self.quiet].iter().filter(|step| step.when == When::Idle).count();
        for (history, quiet) in [(young.clone(), self.quiet), (aged(young), self.quiet + idle)] {
            check(self.name, "live", &history);
            for at in quiet..=history.steps.len() {
                if history.steps.get(at).is_some_and(|step| step.when == When::Call(0)) {
                    continue;
                }
                interrupted(self.name, &history, at);
            }
        }
    }
}

/// The same with days between the steps.
fn aged(history: &History) -> History {
    let mut aged = history.clone();
    aged.before.push(Wait(DAY));
    aged.steps.clear();
    for step in &history.steps {
        if step.when == When::Idle {
            aged.steps.push(Step { when: When::Idle, act: Wait(DAY) });
        }
        aged.steps.push(*step);
    }
    aged
}

/// Restarts after the first steps, and kills at each call of the host that follows them.
fn interrupted(name: &str, history: &History, at: usize) {
    let with = |when: When, act: Act| {
        let mut history = history.clone();
        history.steps.insert(at, Step { when, act });
        history
    };
    let away = Duration::ZERO;
    check(name, "restarted", &with(When::Idle, Act::Stop { away }));
    check(name, "stopped for a week", &with(When::Read(1), Act::Stop { away: 7 * DAY }));
    check(name, "killed with records in hand", &with(When::Read(1), Act::Crash { after: false, away }));
    check(name, "killed between keeping and ack", &with(When::Ack(1), Act::Crash { after: false, away }));
    for call in 0..14 {
        for after in [false, true] {
            check(name, "killed", &with(When::Call(call), Act::Crash { after, away }));
        }
    }
}

fn check(name: &str, how: &str, history: &History) {
    if let Some(complaint) = run(history, false, &[]).complaint {
        let transcript = run(history, true, &[]).transcript;
        panic!("{name}, {how}: {complaint}\n{history}{}", transcript.join("\n"));
    }
}

#[test]
fn a1_a_plan_that_is_cut_and_a_delete_sent_twice() {
    for cut in 0..3 {
        Case::new("A1", aws())
            .before(&[Put(A), Put(B), Put(C)])
            .then(&[Put(A), Put(B), Put(B), Delete(B), Delete(B), Put(C), Delete(C), Put(A)])
            .then(&[Put(C)])
            .reader(|reader| reader.cut = cut)
            .check();
    }
}

#[test]
fn a2_many_polls_without_an_ack() {
    let mut case = Case::new("A2", aws()).before(&[Put(A)]).reader(|reader| reader.group = 1000);
    for _ in 0..20 {
        case = case.then(&[Put(B)]);
    }
    case.quiet().then(&[Begin(C)]).then(&[Put(A)]).then(&[Complete(0)]).check();
}

#[test]
fn a2_many_polls_whose_objects_are_all_gone_when_they_are_read() {
    let mut case = Case::new("A2", by_commit()).before(&[Put(A), Begin(C)]);
    for _ in 0..6 {
        case = case.then(&[Put(B)]).at(2, Purge(B, 0));
    }
    case.then(&[Complete(0)]).check();
}

#[test]
fn b1_an_upload_that_lands_after_a_delete_and_is_covered_before_anybody_looks() {
    Case::new("B1", by_commit())
        .then(&[Put(A), Begin(A)])
        .then(&[Delete(A)])
        .then(&[Complete(0), Put(A)])
        .told(&["create a#1", "delete a", "create a#2", "update a#3"])
        .check();
}

#[test]
fn b2_a_delete_of_an_upload_that_landed_over_a_delete() {
    Case::new("B2", by_commit())
        .then(&[Put(A), Begin(A)])
        .then(&[Delete(A)])
        .then(&[Complete(0)])
        .then(&[Delete(A)])
        .told(&["create a#1", "delete a", "create a#2", "delete a"])
        .check();
}

#[test]
fn b3_an_upload_that_lands_below_a_newer_version() {
    Case::new("B3", aws())
        .then(&[Begin(A)])
        .then(&[Put(A)])
        .then(&[Complete(0)])
        .told(&["create a#2", "update a#1", "update a#2"])
        .check();
}

#[test]
fn b3_an_upload_that_lands_below_a_delete() {
    Case::new("B3", aws())
        .then(&[Put(A), Begin(A)])
        .then(&[Delete(A)])
        .then(&[Complete(0)])
        .told(&["create a#1", "delete a", "create a#2", "delete a"])
        .check();
}

#[test]
fn b3_of_two_uploads_the_one_that_began_last_stays() {
    Case::new("B3", aws()).then(&[Begin(A)]).then(&[Begin(A)]).then(&[Complete(1)]).then(&[Complete(0)]).check();
    Case::new("B3", aws()).then(&[Begin(A)]).then(&[Begin(A)]).then(&[Complete(0)]).then(&[Abort(0)]).check();
}

#[test]
fn c1_a_date_that_runs_ahead() {
    for offset_ms in [HOUR_MS / 10, HOUR_MS, -HOUR_MS] {
        Case::new("C1", aws())
            .before(&[Date(offset_ms), Put(A)])
            .then(&[Put(B)])
            .then(&[Delete(A)])
            .told(&["snapshot a#1", "create b +&%#2", "delete a"])
            .check();
    }
}

#[test]
fn c1_one_date_far_ahead() {
    Case::new("C1", aws()).before(&[Put(A)]).then(&[Date(HOUR_MS)]).then(&[Date(0), Put(B)]).then(&[Delete(A)]).check();
}

#[test]
fn c1_a_clock_that_is_set_back() {
    Case::new("C1", aws())
        .before(&[Put(A)])
        .then(&[Put(B)])
        .then(&[Clock(-26 * HOUR_MS)])
        .then(&[Put(B), Delete(A)])
        .then(&[Put(A)])
        .check();
}

#[test]
fn c2_a_refusal_that_passes() {
    for status in [403, 501] {
        Case::new("C2", aws())
            .before(&[Put(A), Begin(B)])
            .then(&[Refuse(status), Put(A), Delete(A)])
            .then(&[Complete(0)])
            .then(&[Refuse(status)])
            .then(&[Put(C), Delete(C), Delete(B)])
            .check();
    }
}

#[test]
fn c3_an_upload_that_is_no_longer_listed_before_its_object_is() {
    // Uploads are not listed: when one left the list changes nothing.
    Case::new("C3", aws()).before(&[Begin(A), Wait(DAY)]).then(&[Put(B)]).then(&[Complete(0)]).check();
}

#[test]
fn c4_a_delete_in_flight_while_the_snapshot_is_listed() {
    for call in 1..6 {
        Case::new("C4", aws())
            .before(&[Put(A), Put(B), Wait(DAY)])
            .at(call, Clock(-2000))
            .at(0, Delete(A))
            .at(0, Clock(2000))
            .check();
    }
}

#[test]
fn c5_a_snapshot_of_nothing() {
    let away = Duration::from_secs(5);
    let case = |name| Case::new(name, aws()).then(&[Act::Stop { away }]);
    case("C5").at(0, Put(A)).at(0, Put(A)).told(&["create a#1", "update a#2"]).check();
    case("C5").at(0, Put(A)).at(0, Delete(A)).told(&["create a#1", "delete a"]).check();
}

#[test]
fn c6_an_old_object_that_is_deleted_before_the_snapshot_comes_to_it() {
    for call in 0..8 {
        let store = StoreSetup { page: 1, ..aws() };
        Case::new("C6", store).before(&[Put(A), Put(B), Put(C), Wait(DAY)]).at(call, Delete(C)).check();
    }
}

#[test]
fn a_page_that_begins_anew_since_its_marker_is_gone_as_on_minio() {
    let store = StoreSetup { page: 2, gone: GoneVersion::KeyAnew, promises_more: true, ..aws() };
    let case = || Case::new("gone marker", store.clone()).before(&[Put(A), Put(A), Put(B)]);
    for (call, version) in (0..6).flat_map(|call| (0..3).map(move |version| (call, version))) {
        let case = case().then(&[Put(A), Put(A), Delete(A), Put(A)]).quiet();
        case.at(call, Purge(A, version)).at(0, Put(A)).check();
    }
}

#[test]
fn d1_abandoned_uploads_cost_nothing() {
    let calls = |uploads: usize| {
        let case = Case::new("D1", aws()).before(&vec![Begin(C); uploads]).before(&[Put(A)]).then(&[Put(B)]);
        let outcome = run(&case.history, false, &[]);
        assert!(outcome.complaint.is_none());
        outcome.calls
    };
    assert_eq!(calls(0), calls(500));
}

#[test]
fn d2_one_key_of_many_versions() {
    for cut in 0..4 {
        Case::new("D2", aws())
            .before(&[Begin(A)])
            .before(&[Put(A); 12])
            .then(&[Put(A); 12])
            .then(&[Delete(A)])
            .then(&[Complete(0)])
            .reader(|reader| reader.cut = cut)
            .check();
    }
}

#[test]
fn d3_changes_of_a_long_downtime() {
    let changes = [Put(A), Put(B), Delete(A), Put(C), Put(B), Put(A), Delete(C), Put(C)];
    Case::new("D3", aws())
        .before(&[Put(A)])
        .then(&[Act::Stop { away: 30 * DAY }])
        .then(&changes)
        .then(&[Wait(DAY)])
        .then(&changes)
        .reader(|reader| (reader.cut, reader.lag) = (1, 3))
        .check();
}

#[test]
fn e3_the_same_bytes_stored_again_before_the_first_are_read() {
    for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
        for call in 0..5 {
            Case::new("E3", of_versioning(versioning))
                .before(&[Put(A)])
                .at(call, Wait(Duration::from_secs(2)))
                .at(0, PutSame(A))
                .then(&[Put(B)])
                .at(call, PutSame(B))
                .check();
        }
    }
}

#[test]
fn e4_a_null_version_below_a_new_delete_marker() {
    for call in 0..5 {
        Case::new("E4", of_versioning(Versioning::Suspended))
            .then(&[Put(A), Switch(Versioning::Enabled)])
            .at(call, Delete(A))
            .check();
    }
}

#[test]
fn e5_an_object_that_is_not_there_yet() {
    Case::new("E5", aws()).then(&[Miss, Put(A)]).then(&[Miss, Put(A)]).told(&["create a#1", "update a#2"]).check();
}

#[test]
fn na_a_null_version_that_was_told_and_is_overwritten() {
    Case::new("N-a", of_versioning(Versioning::Enabled))
        .before(&[Put(A), Switch(Versioning::Suspended), Put(A)])
        .then(&[Put(A)])
        .then(&[Switch(Versioning::Enabled), Put(A)])
        .told(&["snapshot a#2", "update a#3", "update a#4"])
        .check();
}

#[test]
fn nb_a_delete_whose_null_version_was_replaced() {
    for call in 0..4 {
        Case::new("N-b", of_versioning(Versioning::Suspended))
            .before(&[Put(A)])
            .then(&[Put(A), Delete(A)])
            .then(&[Put(A)])
            .at(call, Delete(A))
            .then(&[Put(A)])
            .check();
    }
}

#[test]
fn nc_a_version_or_a_delete_marker_that_is_removed_permanently() {
    Case::new("N-c", aws())
        .before(&[Put(A), Put(A)])
        .then(&[Purge(A, 0)])
        .then(&[Delete(A)])
        .then(&[Purge(A, 0)])
        .then(&[Purge(A, 0)])
        .told(&["snapshot a#2", "update a#1", "delete a", "create a#1", "delete a"])
        .check();
    Case::new("N-c", of_versioning(Versioning::Off)).before(&[Put(A)]).then(&[Delete(A)]).then(&[Put(A)]).check();
}

#[test]
fn nd_a_refusal_while_clocks_differ() {
    Case::new("N-d", aws()).before(&[Date(HOUR_MS / 10), Put(A)]).then(&[Refuse(403), Put(B)]).then(&[Put(C)]).check();
}

#[test]
fn a_listing_with_a_hole_deletes_nothing() {
    for versioning in [Versioning::Off, Versioning::Enabled] {
        Case::new("hole", of_versioning(versioning))
            .before(&[Put(A), Put(B), Put(C)])
            .then(&[Hide(B)])
            .then(&[Hide(B), Put(B)])
            .told(&["snapshot a#1", "snapshot b +&%#2", "snapshot c#3", "update b +&%#4"])
            .check();
    }
}
