//! What a source saves so that a restart loses nothing and repeats nothing: the snapshot's start, what it
//! handed out since, and the plan of each poll.
//!
//! A plan is saved before the first record of its poll leaves, and removed once a record of a later poll is
//! acked. Names: `snapshot`, `seen-N`, `plan-N`. Without saved state a position alone leads back to the window.
//! The form of what is saved is left to `saved`, its pieces to `values`.

mod saved;
mod values;

use std::collections::VecDeque;

use self::saved::{SavedHandedOut, SavedPlan, SavedStart};
use self::values::{Values, unreadable};
use super::changes::{Due, Uploads};
use super::seen::{Mark, Seen, Slot};
use crate::error::Result;
use crate::limits;
use crate::ports::Ports;
use crate::time::Timestamp;

/// Plans that may wait for their acks under a name of their own. A reader that lags further falls back to
/// the window.
const PLANS_MAX: u64 = 16;

/// Marks of one piece of what a snapshot handed out: with at most 49 bytes each, a piece is one value of the host's, and
/// two of them are one commit.
const PIECE_MARKS_MAX: usize = 16_384;

/// The start of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotStart {
    /// Names this run of the source; positions carry it.
    pub(super) run: u64,
    /// The server's time before the first listing.
    pub(super) cut: Timestamp,
    /// Uploads in progress at the cut.
    pub(super) uploads: Uploads,
    /// Remembers nothing yet, under the keys of this run.
    pub(super) seen: Seen,
}

/// What a poll delivers, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The run that the poll belongs to.
    pub(super) run: u64,
    /// The number of the poll, from 1.
    pub(super) poll: u64,
    /// What it delivers, in order.
    pub(super) due: Vec<Due>,
    /// From where a restart without this plan must look again, before subtracting the window.
    pub(super) cut: Timestamp,
    /// Where the next poll begins.
    pub(super) next: Checkpoint,
}

/// Where a poll begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Entries older than this were dealt with.
    pub(super) low_watermark: Timestamp,
    /// Uploads in progress at the previous cut.
    pub(super) uploads: Uploads,
    /// What was handed out in the window.
    pub(super) seen: Seen,
}

/// An object of the snapshot that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandedOut {
    /// Its place in the order of records.
    pub(super) index: u64,
    /// Where it is remembered.
    pub(super) slot: Slot,
    /// As what.
    pub(super) mark: Mark,
}

/// Saves and finds a source's state.
pub(super) struct CheckpointStore<P> {
    values: Values<P>,
    /// Polls whose plans are saved.
    polls: VecDeque<u64>,
    /// Saved pieces of what the snapshot handed out.
    pieces: u32,
    /// The first of those that are small, or were when they were saved.
    first_small: u32,
    /// What is in the small ones.
    small: Vec<HandedOut>,
    /// Whether a snapshot's state is still there.
    has_snapshot: bool,
}

impl<P: Ports> CheckpointStore<P> {
    /// Makes a store over the host's state.
    pub(super) fn new(ports: P) -> Self {
        Self {
            values: Values::new(ports),
            polls: VecDeque::new(),
            pieces: 0,
            first_small: 0,
            small: Vec::new(),
            has_snapshot: true,
        }
    }

    /// Forgets what an earlier run left and saves how this one begins, both at once.
    pub(super) fn begin_run(&mut self, start: &SnapshotStart) -> Result<()> {
        let mut earlier = self.seen_names()?;
        earlier.extend((0..PLANS_MAX).map(plan_name));
        self.values.save("snapshot", &saved::encode(&SavedStart::from(start)), &earlier)?;
        self.polls.clear();
        self.forget_seen();
        self.has_snapshot = true;
        Ok(())
    }

    /// How the snapshot of `run` began, and what it handed out in the window up to the record of that `index`.
    ///
    /// What was handed out after it may never have arrived: it is forgotten permanently, since its places in
    /// the order are assigned again.
    pub(super) fn load_snapshot(&mut self, run: u64, index: u64) -> Result<Option<SnapshotStart>> {
        let Some(bytes) = self.values.load("snapshot")? else {
            return Ok(None);
        };
        let start = saved::decode::<SavedStart<'_>>(&bytes).ok_or_else(|| unreadable("snapshot"))?;
        let mut start = SnapshotStart::from(start);
        if start.run != run {
            return Ok(None);
        }
        self.forget_seen();
        let mut is_whole = true;
        while let Some(piece) = self.load_piece(self.pieces)? {
            self.pieces += 1;
            let before = piece.len();
            let kept = piece.into_iter().filter(|one| one.index <= index);
            let from = self.small.len();
            self.small.extend(kept);
            self.small[from..].iter().for_each(|one| start.seen.insert(one.slot, one.mark));
            is_whole &= self.small.len() - from == before;
            // A piece that is full is left alone from here on, unless something must be forgotten.
            if is_whole && self.small.len() >= PIECE_MARKS_MAX {
                self.small.clear();
                self.first_small = self.pieces;
            }
        }
        if !is_whole {
            self.merge_small()?;
        }
        Ok(Some(start))
    }

    fn load_piece(&mut self, number: u32) -> Result<Option<Vec<HandedOut>>> {
        let name = piece_name(number);
        let Some(bytes) = self.values.load(&name)? else {
            return Ok(None);
        };
        let piece = saved::decode::<Vec<SavedHandedOut>>(&bytes).ok_or_else(|| unreadable(&name))?;
        Ok(Some(piece.into_iter().map(HandedOut::from).collect()))
    }

    /// Saves what the snapshot is about to hand out.
    pub(super) fn save_seen(&mut self, handed_out: &[HandedOut]) -> Result<()> {
        for piece in handed_out.chunks(PIECE_MARKS_MAX) {
            self.small.extend_from_slice(piece);
            let count = self.pieces - self.first_small;
            if count < limits::SEEN_CHUNKS_MAX && self.small.len() <= PIECE_MARKS_MAX {
                self.values.save(&piece_name(self.pieces), &encode_piece(piece), &[])?;
                self.pieces += 1;
            } else {
                self.merge_small()?;
            }
        }
        Ok(())
    }

    /// Makes as few of the small pieces as there may be, and saves them in the place of those that there are.
    fn merge_small(&mut self) -> Result<()> {
        let mut merged: Vec<_> = (self.first_small..).map(piece_name).zip(self.small.chunks(PIECE_MARKS_MAX)).collect();
        let pieces = self.first_small + u32::try_from(merged.len()).expect("fewer than were there");
        let removed: Vec<_> = (pieces..self.pieces).map(piece_name).collect();
        let values: Vec<_> = merged.drain(..).map(|(name, piece)| (name, encode_piece(piece))).collect();
        self.values.save_all(&values, &removed)?;
        let rest = self.small.len() % PIECE_MARKS_MAX;
        let is_last_small = rest > 0;
        self.small.drain(..self.small.len() - rest);
        self.pieces = pieces;
        self.first_small = pieces - u32::from(is_last_small);
        Ok(())
    }

    /// The plan of that poll.
    pub(super) fn load_plan(&mut self, run: u64, poll: u64) -> Result<Option<Plan>> {
        let name = plan_name(poll);
        let Some(bytes) = self.values.load(&name)? else {
            return Ok(None);
        };
        let plan = saved::decode::<SavedPlan<'_>>(&bytes).ok_or_else(|| unreadable(&name))?;
        let plan = Some(Plan::from(plan)).filter(|plan| plan.run == run && plan.poll == poll);
        if plan.is_some() {
            self.polls.push_back(poll);
        }
        Ok(plan)
    }

    /// Saves a plan, before any of its records leaves.
    pub(super) fn save_plan(&mut self, plan: &Plan) -> Result<()> {
        self.values.save(&plan_name(plan.poll), &saved::encode(&SavedPlan::from(plan)), &[])?;
        self.polls.push_back(plan.poll);
        Ok(())
    }

    /// Removes, all at once, what no restart from a record of `poll`, or of a later one, needs.
    pub(super) fn acked(&mut self, poll: u64) -> Result<()> {
        let newest = self.polls.back().copied().unwrap_or_default();
        let is_done = |oldest: &&u64| **oldest < poll;
        // A plan that the ring has passed has given its name to a later one.
        let done = self.polls.iter().take_while(is_done).filter(|oldest| newest - **oldest < PLANS_MAX);
        let mut names: Vec<_> = done.copied().map(plan_name).collect();
        let ends_snapshot = poll > 0 && self.has_snapshot;
        if ends_snapshot {
            names.push("snapshot".to_owned());
            names.extend(self.seen_names()?);
        }
        self.values.remove(&names)?;
        let count = self.polls.iter().take_while(is_done).count();
        self.polls.drain(..count);
        if ends_snapshot {
            self.forget_seen();
            self.has_snapshot = false;
        }
        Ok(())
    }

    /// The names of all pieces of what a snapshot handed out, those of an earlier run included.
    fn seen_names(&mut self) -> Result<Vec<String>> {
        let mut number = 0;
        while self.values.keeps() && (number < self.pieces || self.values.exists(&piece_name(number))?) {
            number += 1;
        }
        Ok((0..number).map(piece_name).collect())
    }

    fn forget_seen(&mut self) {
        (self.pieces, self.first_small) = (0, 0);
        self.small = Vec::new();
    }
}

fn encode_piece(piece: &[HandedOut]) -> Vec<u8> {
    saved::encode(&piece.iter().map(SavedHandedOut::from).collect::<Vec<_>>())
}

fn piece_name(number: u32) -> String {
    format!("seen-{number}")
}

fn plan_name(poll: u64) -> String {
    format!("plan-{}", poll % PLANS_MAX)
}

#[cfg(test)]
mod tests;
