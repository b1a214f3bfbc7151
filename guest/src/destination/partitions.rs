//! Owns the batches that are being filled, one per path: which of them a record belongs to, and which has to end first.
//! Leaves a batch itself to `buffer`, and storing it to `destination`.
//!
//! Which batches end, and where, follows from the records alone, except for age: the same records give the same objects when
//! a pipeline repeats them. That holds for the bounds on all of them too, which count records and not what time has made of
//! them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::buffer::{Buffer, Checked};
use crate::limits;

/// The batches that are being filled.
#[derive(Debug)]
pub(super) struct Partitions {
    /// An empty one, of which others are made.
    empty: Buffer,
    /// By their paths. None is empty.
    open: BTreeMap<String, Buffer>,
    open_max: usize,
    /// The memory that they take, or will take.
    held_bytes: u64,
    /// The path of the one that is full: it ends before another record is taken.
    full: Option<String>,
    /// The number of the first record in any of them; the largest number where there is none.
    oldest: u64,
}

impl Partitions {
    /// Makes room for this many batches, all like `empty`.
    pub(super) fn new(empty: Buffer, open_max: usize) -> Self {
        Self { empty, open: BTreeMap::new(), open_max, held_bytes: 0, full: None, oldest: u64::MAX }
    }

    /// A batch without records, which knows what one can take.
    pub(super) fn empty(&self) -> &Buffer {
        &self.empty
    }

    /// Whether a batch of this path is being filled.
    pub(super) fn has(&self, path: &str) -> bool {
        self.open.contains_key(path)
    }

    /// Whether no record waits.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The memory that all of them take, or will take once they are encoded.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// The path of a batch that has to end before a record of `path` is taken, which will have the number `next`; `None` once the
    /// record can be [pushed](Self::push).
    pub(super) fn in_the_way(&self, path: &str, record: &Checked, next: u64) -> Option<String> {
        if let Some(full) = &self.full {
            return Some(full.clone());
        }
        if self.holds_up(next) {
            return self.first();
        }
        match self.open.get(path) {
            Some(buffer) if !buffer.has_room(record) => return Some(path.to_owned()),
            None if self.open.len() >= self.open_max => return self.least_used(path),
            _ => {}
        }
        let held_bytes = self.held_bytes + record.held_bytes() + limits::PARTITION_SLACK_BYTES;
        if held_bytes > limits::PARTITIONS_BYTES_MAX { self.least_used(path) } else { None }
    }

    /// Whether one of them holds up the acks of as many records as it may, where the next one has the number `next`.
    pub(super) fn holds_up(&self, next: u64) -> bool {
        next.saturating_sub(self.oldest) >= limits::BATCH_ACKS_MAX as u64
    }

    /// Takes the record of this number. Nothing may be [in its way](Self::in_the_way).
    pub(super) fn push(&mut self, path: &str, record: Checked, number: u64, now: Duration) {
        if !self.open.contains_key(path) {
            self.open.insert(path.to_owned(), self.empty.another());
            self.oldest = self.oldest.min(number);
        }
        if let Some(buffer) = self.open.get_mut(path) {
            let before = held_bytes(buffer);
            buffer.push(record, number, now);
            self.held_bytes += held_bytes(buffer) - before;
            if buffer.is_full() {
                self.full = Some(path.to_owned());
            }
        }
    }

    /// The path of a batch that is complete: full, too old, or in the way of too many acks.
    pub(super) fn due(&self, now: Duration, next: u64) -> Option<String> {
        if self.full.is_some() {
            return self.full.clone();
        }
        let first = self.first()?;
        // Those whose first record came first are the oldest too.
        let is_due = self.holds_up(next) || self.open.get(&first).is_some_and(|buffer| buffer.is_due(now));
        is_due.then_some(first)
    }

    /// The path of the batch whose first record came first.
    pub(super) fn first(&self) -> Option<String> {
        self.open.iter().min_by_key(|(_, buffer)| buffer.first()).map(|(path, _)| path.clone())
    }

    /// The path of the batch that was longest without a record, besides that of `path`.
    fn least_used(&self, path: &str) -> Option<String> {
        let others = self.open.iter().filter(|(other, _)| *other != path);
        others.min_by_key(|(_, buffer)| buffer.last()).map(|(path, _)| path.clone())
    }

    /// Takes out the batch of a path, so that its next record begins another one.
    pub(super) fn take(&mut self, path: &str) -> Option<Buffer> {
        let buffer = self.open.remove(path)?;
        self.held_bytes -= held_bytes(&buffer);
        self.full = self.full.take().filter(|full| full != path);
        if buffer.first() == self.oldest {
            self.oldest = self.open.values().map(Buffer::first).min().unwrap_or(u64::MAX);
        }
        Some(buffer)
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.empty.another(), self.open_max);
    }
}

/// The memory that a batch takes, with what its text leaves unfilled: of few bytes, as much again.
fn held_bytes(buffer: &Buffer) -> u64 {
    buffer.held_bytes() + buffer.held_bytes().min(limits::PARTITION_SLACK_BYTES)
}

#[cfg(test)]
mod tests;
