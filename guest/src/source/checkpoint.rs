//! What a source saves so that a restart loses nothing and repeats nothing: the snapshot's start, what it
//! handed out since, and the plan of each poll.
//!
//! A plan is saved before the first record of its poll leaves, and removed once a record of a later poll is
//! acked. Names: `snapshot`, `seen-N`, `plan-N`. Without saved state a position alone leads back to the window.

use std::collections::VecDeque;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::changes::{Due, Uploads};
use super::seen::{Mark, Seen, Slot};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::ports::{Level, Ports, StateError};
use crate::time::Timestamp;

/// The first byte of every saved value.
const VERSION: u8 = 1;

/// Plans that may wait for their acks under a name of their own. A reader that lags further falls back to
/// the window.
const PLANS_MAX: u64 = 16;

/// The start of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStart {
    /// Names this run of the source; positions carry it.
    pub run: u64,
    /// The server's time before the first listing.
    pub cut: Timestamp,
    /// Uploads in progress at the cut.
    pub uploads: Uploads,
    /// Remembers nothing yet, under the keys of this run.
    pub seen: Seen,
}

/// What a poll delivers, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The run that the poll belongs to.
    pub run: u64,
    /// The number of the poll, from 1.
    pub poll: u64,
    /// What it delivers, in order.
    pub due: Vec<Due>,
    /// From where a restart without this plan must look again, before subtracting the window.
    pub cut: Timestamp,
    /// Where the next poll begins.
    pub next: Checkpoint,
}

/// Where a poll begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Entries older than this were dealt with.
    pub low_watermark: Timestamp,
    /// Uploads in progress at the previous cut.
    pub uploads: Uploads,
    /// What was handed out in the window.
    pub seen: Seen,
}

/// An object of the snapshot that left: its place in the order of records, and where it is remembered.
pub type HandedOut = (u64, Slot, Mark);

/// Saves and finds a source's state.
pub struct CheckpointStore<P> {
    ports: P,
    /// Whether the host keeps anything.
    keeps: bool,
    /// Passes whose plans are saved.
    polls: VecDeque<u64>,
    /// Saved pieces of what the snapshot handed out.
    chunks: u32,
    /// What is in them.
    handed_out: Vec<HandedOut>,
    /// Whether a snapshot's state is still there.
    has_snapshot: bool,
}

impl<P: Ports> CheckpointStore<P> {
    /// Makes a store over the host's state.
    pub fn new(ports: P) -> Self {
        Self { ports, keeps: true, polls: VecDeque::new(), chunks: 0, handed_out: Vec::new(), has_snapshot: true }
    }

    /// Forgets what an earlier run left, and saves how this one begins.
    pub fn begin_run(&mut self, start: &SnapshotStart) -> Result<()> {
        self.remove_snapshot()?;
        for slot in 0..PLANS_MAX {
            self.remove(&plan_name(slot))?;
        }
        self.polls.clear();
        self.save("snapshot", start)?;
        self.has_snapshot = true;
        Ok(())
    }

    /// How the snapshot of `run` began, and what it handed out in the window up to the record of that `index`.
    ///
    /// What was handed out after it may never have arrived: it is forgotten permanently, since its places in
    /// the order are assigned again.
    pub fn load_snapshot(&mut self, run: u64, index: u64) -> Result<Option<SnapshotStart>> {
        let start = self.load::<SnapshotStart>("snapshot")?;
        let Some(mut start) = start.filter(|b| b.run == run) else {
            return Ok(None);
        };
        while let Some(chunk) = self.load::<Vec<HandedOut>>(&chunk_name(self.chunks))? {
            self.handed_out.extend(chunk);
            self.chunks += 1;
        }
        let before = self.handed_out.len();
        self.handed_out.retain(|(at, ..)| *at <= index);
        if self.handed_out.len() < before {
            self.merge_seen()?;
        }
        for (_, slot, mark) in &self.handed_out {
            start.seen.insert(*slot, *mark);
        }
        Ok(Some(start))
    }

    /// Saves what the snapshot is about to hand out.
    pub fn save_seen(&mut self, chunk: &[HandedOut]) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.handed_out.extend_from_slice(chunk);
        if self.chunks < limits::SEEN_CHUNKS_MAX {
            self.save(&chunk_name(self.chunks), &chunk)?;
            self.chunks += 1;
            return Ok(());
        }
        self.merge_seen()
    }

    /// Writes all pieces as one.
    fn merge_seen(&mut self) -> Result<()> {
        // The whole is written over the first piece before the others go: a crash between leaves them twice, which
        // means the same.
        let whole = std::mem::take(&mut self.handed_out);
        let saved = self.save(&chunk_name(0), &whole);
        self.handed_out = whole;
        saved?;
        // From the last one, since loading stops at the first gap.
        for number in (1..self.chunks).rev() {
            self.remove(&chunk_name(number))?;
        }
        self.chunks = 1;
        Ok(())
    }

    /// The plan of that poll.
    pub fn load_plan(&mut self, run: u64, poll: u64) -> Result<Option<Plan>> {
        let plan = self.load::<Plan>(&plan_name(poll))?;
        let plan = plan.filter(|plan| plan.run == run && plan.poll == poll);
        if plan.is_some() {
            self.polls.push_back(poll);
        }
        Ok(plan)
    }

    /// Saves a plan, before any of its records leaves.
    pub fn save_plan(&mut self, plan: &Plan) -> Result<()> {
        self.save(&plan_name(plan.poll), plan)?;
        self.polls.push_back(plan.poll);
        Ok(())
    }

    /// Removes what no restart from a record of `poll`, or of a later one, needs.
    pub fn acked(&mut self, poll: u64) -> Result<()> {
        while let Some(oldest) = self.polls.front().copied().filter(|oldest| *oldest < poll) {
            // A plan that the ring has passed has given its name to a later one.
            if self.polls.back().is_none_or(|newest| newest - oldest < PLANS_MAX) {
                self.remove(&plan_name(oldest))?;
            }
            self.polls.pop_front();
        }
        if poll > 0 && self.has_snapshot {
            self.remove_snapshot()?;
        }
        Ok(())
    }

    fn remove_snapshot(&mut self) -> Result<()> {
        self.remove("snapshot")?;
        let mut number = 0;
        while self.keeps && (number < self.chunks || self.exists(&chunk_name(number))?) {
            self.remove(&chunk_name(number))?;
            number += 1;
        }
        (self.chunks, self.has_snapshot) = (0, false);
        self.handed_out = Vec::new();
        Ok(())
    }

    fn exists(&mut self, name: &str) -> Result<bool> {
        match self.ports.load(name) {
            Ok(value) => Ok(value.is_some()),
            Err(error) => self.tolerate(name, error).map(|()| false),
        }
    }

    fn load<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        let value = match self.ports.load(name) {
            Ok(Some(value)) => value,
            Ok(None) => return Ok(None),
            Err(error) => return self.tolerate(name, error).map(|()| None),
        };
        let read = value.split_first().filter(|(version, _)| **version == VERSION);
        let read = read.and_then(|(_, bytes)| postcard::from_bytes(bytes).ok());
        read.map(Some).ok_or_else(|| {
            Error::corrupt(format!(
                "saved state cannot be read; it is damaged or newer than this connector; name=`{name}`"
            ))
        })
    }

    fn save<T: Serialize>(&mut self, name: &str, value: &T) -> Result<()> {
        if !self.keeps {
            return Ok(());
        }
        let bytes = postcard::to_extend(value, vec![VERSION]).expect("a vector takes all that is written");
        self.ports.save(name, &bytes).or_else(|error| self.tolerate(name, error))
    }

    fn remove(&mut self, name: &str) -> Result<()> {
        if !self.keeps {
            return Ok(());
        }
        self.ports.remove(name).or_else(|error| self.tolerate(name, error))
    }

    /// A host that keeps nothing is fine, said once; one that fails to keep is not.
    fn tolerate(&mut self, name: &str, error: StateError) -> Result<()> {
        match error {
            StateError::Absent if self.keeps => {
                self.keeps = false;
                let line = "the host keeps no state: a restart delivers changes of the lookback window again, and \
                            does not know uploads that were in progress";
                self.ports.log(Level::Debug, line);
                Ok(())
            }
            StateError::Absent => Ok(()),
            StateError::Failed(why) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the host could not keep the source's state: {why}; name=`{name}`"),
            )),
        }
    }
}

fn chunk_name(number: u32) -> String {
    format!("seen-{number}")
}

fn plan_name(poll: u64) -> String {
    format!("plan-{}", poll % PLANS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::State as _;
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
        (index, slot, mark)
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
            let all: Vec<_> = (0..=count).collect();
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
        check("plan-1", store.begin_run(&start()));
        // Whether an earlier run left pieces cannot be told.
        refuse("seen-0");
        check("seen-0", CheckpointStore::new(ports.clone()).begin_run(&start()));
        check("seen-0", store.save_seen(&[handed_out(1)]));
    }

    #[test]
    fn saved_state_that_is_damaged_or_newer_is_corrupt() {
        let ports = TestPorts::new(1);
        store(&ports, 2).save_plan(&plan(1)).expect("saves");
        let whole = ports.saved();
        for name in ["snapshot", "seen-1", "plan-1"] {
            let value = &whole[name];
            let newer = [&[VERSION + 1], &value[1..]].concat();
            for damaged in [&[], &value[..1], &value[..value.len() - 1], &newer] {
                ports.save(name, damaged).expect("keeps it");
                let mut store = CheckpointStore::new(ports.clone());
                let snapshot = store.load_snapshot(RUN, 9).map(drop);
                let error = snapshot.and(store.load_plan(RUN, 1).map(drop));
                let error = error.expect_err(name);
                assert_eq!(error.kind, ErrorKind::Corrupt);
                assert!(error.message.contains(&format!("name=`{name}`")), "{error}");
            }
            ports.save(name, value).expect("keeps it");
        }
        assert_eq!(CheckpointStore::new(ports).load_plan(RUN, 1), Ok(Some(plan(1))));
    }
}
