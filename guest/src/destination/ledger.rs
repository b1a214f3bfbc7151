//! Owns the order of acks: records are numbered as they come, their outcomes come in any order, and their acks leave in the
//! order of numbers. Leaves what becomes of records to others.
//!
//! Once an outcome is a failure, no ack of that record or of a later one leaves.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::Ack;
use crate::error::{Error, Result};

/// Records whose acks have not left.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: VecDeque<Entry>,
    /// The number of the first of them.
    first: u64,
    /// The first record of those that could not be stored.
    failure: Option<(u64, Error)>,
}

#[derive(Debug)]
struct Entry {
    ack: Ack,
    is_settled: bool,
}

impl Ledger {
    /// Numbers a record.
    pub(super) fn push(&mut self, position: Bytes) -> u64 {
        self.entries.push_back(Entry { ack: Ack { position, error: None }, is_settled: false });
        self.next() - 1
    }

    /// Takes a record that is refused at once.
    pub(super) fn push_refused(&mut self, position: Bytes, error: Error) {
        self.entries.push_back(Entry { ack: Ack { position, error: Some(error) }, is_settled: true });
    }

    /// The records with these numbers are stored.
    pub(super) fn settle(&mut self, numbers: &Range<u64>) {
        let index = |number: u64| usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let (start, end) = (index(numbers.start), index(numbers.end).min(self.entries.len()));
        self.entries.range_mut(start.min(end)..end).for_each(|entry| entry.is_settled = true);
    }

    /// The record of this number is refused.
    pub(super) fn refuse(&mut self, number: u64, error: Error) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.ack.error = Some(error);
            entry.is_settled = true;
        }
    }

    /// The record of this number can't be stored, nor can what comes after it.
    pub(super) fn fail(&mut self, number: u64, error: Error) {
        if self.failure.as_ref().is_none_or(|(failed, _)| number < *failed) {
            self.failure = Some((number, error));
        }
    }

    /// Moves out the acks that are next in order.
    ///
    /// # Errors
    ///
    /// The failure, once all acks before it have left.
    pub(super) fn release(&mut self, ready: &mut Vec<Ack>) -> Result<()> {
        let until = self.failure.as_ref().map_or(u64::MAX, |(number, _)| *number);
        let most = usize::try_from(until.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let count = self.entries.iter().take(most).take_while(|entry| entry.is_settled).count();
        ready.extend(self.entries.drain(..count).map(|entry| entry.ack));
        self.first += count as u64;
        match &self.failure {
            Some((number, error)) if *number == self.first => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The failure, if there is one, whether or not acks before it are still to leave.
    pub(super) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref().map(|(_, error)| error)
    }

    /// The number of the first record whose ack has not left.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Records whose acks have not left.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SplitMix64;

    fn position(number: u64) -> Bytes {
        Bytes::from(number.to_string())
    }

    /// What became of a record, as the test sees it.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Outcome {
        Pending,
        Stored,
        Refused,
        Failed,
    }

    /// The acks that a list of all outcomes allows, and whether a failure follows them.
    fn model(outcomes: &[Outcome]) -> (Vec<(u64, bool)>, bool) {
        let done = |outcome: &Outcome| matches!(outcome, Outcome::Stored | Outcome::Refused);
        let count = outcomes.iter().take_while(|outcome| done(outcome)).count();
        let acks = outcomes[..count].iter().zip(0..).map(|(outcome, number)| (number, *outcome == Outcome::Refused));
        (acks.collect(), outcomes.get(count) == Some(&Outcome::Failed))
    }

    #[test]
    fn whatever_the_order_of_outcomes_acks_are_those_of_a_list() {
        let mut failures = 0;
        for seed in 0..500 {
            let mut random = SplitMix64::new(seed);
            let (mut ledger, mut outcomes, mut ready) = (Ledger::default(), Vec::new(), Vec::new());
            let mut has_failed = false;
            for _ in 0..200 {
                match random.next() % 10 {
                    0..3 => {
                        assert_eq!(ledger.push(position(outcomes.len() as u64)), outcomes.len() as u64);
                        outcomes.push(Outcome::Pending);
                    }
                    3 => {
                        ledger.push_refused(position(outcomes.len() as u64), Error::invalid("bad"));
                        outcomes.push(Outcome::Refused);
                    }
                    _ if outcomes.is_empty() => {}
                    draw => {
                        let start = random.next() as usize % outcomes.len();
                        let end = outcomes[start..].iter().take_while(|outcome| **outcome == Outcome::Pending).count();
                        let end = start + (random.next() as usize % 4).min(end);
                        let (numbers, is_one) = (start as u64..end as u64, end == start + 1);
                        match draw {
                            9 if is_one && random.next().is_multiple_of(8) => {
                                ledger.fail(numbers.start, Error::closed(start.to_string()));
                                outcomes[start] = Outcome::Failed;
                            }
                            8 if is_one => {
                                ledger.refuse(numbers.start, Error::invalid("bad"));
                                outcomes[start] = Outcome::Refused;
                            }
                            _ => {
                                ledger.settle(&numbers);
                                outcomes[start..end].fill(Outcome::Stored);
                            }
                        }
                    }
                }
                let (expected, is_failure_next) = model(&outcomes);
                let released = ledger.release(&mut ready);
                let found: Vec<_> = ready.iter().map(|ack| (ack.position.clone(), ack.error.is_some())).collect();
                let wanted: Vec<_> = expected.iter().map(|(number, refused)| (position(*number), *refused)).collect();
                assert_eq!(found, wanted, "seed {seed}");
                assert_eq!(released.is_err(), is_failure_next, "seed {seed}");
                assert_eq!(ledger.first(), wanted.len() as u64);
                assert_eq!((ledger.next(), ledger.len()), (outcomes.len() as u64, outcomes.len() - wanted.len()));
                has_failed |= released.is_err();
            }
            failures += u32::from(has_failed);
        }
        assert!((50..450).contains(&failures), "{failures} of 500 met a failure");
    }

    #[test]
    fn the_first_of_two_failures_counts() {
        let mut ledger = Ledger::default();
        for number in 0..4 {
            ledger.push(position(number));
        }
        ledger.fail(3, Error::closed("late"));
        ledger.fail(1, Error::closed("early"));
        ledger.fail(2, Error::closed("between"));
        ledger.settle(&(0..4));
        let mut ready = Vec::new();
        assert_eq!(ledger.release(&mut ready).expect_err("fails").message, "early");
        assert_eq!(ready.len(), 1);
        assert_eq!(ledger.failure().expect("is known").message, "early");
    }

    #[test]
    fn outcomes_of_records_that_are_gone_change_nothing() {
        let mut ledger = Ledger::default();
        ledger.push(position(0));
        ledger.settle(&(0..1));
        let mut ready = Vec::new();
        ledger.release(&mut ready).expect("is stored");
        ledger.refuse(0, Error::invalid("late"));
        ledger.settle(&(0..9));
        ledger.push(position(1));
        ledger.release(&mut ready).expect("waits");
        assert_eq!((ready.len(), ledger.len()), (1, 1));
    }
}
