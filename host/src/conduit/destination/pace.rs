//! Owns the question whether Conduit waits for acks before it sends more. Leaves what follows from it to `answers`.
//!
//! Conduit has two ways to run pipelines. One sends record by record and goes on without acks; the other sends a batch and waits
//! for all of its acks. Nothing on the wire tells which it is, but what comes does. Where it waits, records that wait for their
//! batch to fill would wait for `bufferDelay`, since nothing more can come.

use std::time::{Duration, Instant};

/// A message that comes this soon after all acks has waited for them.
const PROMPT: Duration = Duration::from_millis(100);

/// How often in a row that must have been seen.
const PROMPT_MIN: u32 = 2;

/// What was seen of the engine.
#[derive(Debug, Default)]
pub(super) struct Pace {
    received: u64,
    written: u64,
    acked: u64,
    /// When everything was acked last.
    settled_at: Option<Instant>,
    sends_batches: bool,
    goes_on: bool,
    prompt: u32,
    /// Whether it must not wait for more in any case.
    is_ending: bool,
}

impl Pace {
    /// Takes note of a message.
    pub(super) fn received(&mut self, records: usize, now: Instant) {
        if records == 0 {
            return;
        }
        self.sends_batches |= records > 1;
        if self.received > self.acked {
            self.goes_on = true;
        } else if self.settled_at.is_some_and(|at| now.duration_since(at) <= PROMPT) {
            self.prompt += 1;
        } else {
            self.prompt = 0;
        }
        self.received += records as u64;
    }

    /// Takes note of records that the destination has.
    pub(super) fn written(&mut self, records: usize) {
        self.written += records as u64;
    }

    /// Takes note of records that must be written again.
    pub(super) fn unwritten(&mut self, records: usize) {
        self.written = self.written.saturating_sub(records as u64);
    }

    /// Takes note of acks.
    pub(super) fn acked(&mut self, acks: usize, now: Instant) {
        self.acked += acks as u64;
        if acks > 0 && self.acked >= self.received {
            self.settled_at = Some(now);
        }
    }

    /// From now on nothing waits.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
    }

    /// Whether nothing more comes before what was written is acked.
    pub(super) fn waits(&self) -> bool {
        let waits = self.sends_batches || (!self.goes_on && self.prompt >= PROMPT_MIN);
        (waits || self.is_ending) && self.written >= self.received && self.received > self.acked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pace: &mut Pace, records: usize, now: Instant) {
        pace.received(records, now);
        pace.written(records);
    }

    #[test]
    fn batches_are_waited_for() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.received(3, now);
        pace.written(2);
        assert!(!pace.waits(), "not all is written");
        pace.written(1);
        assert!(pace.waits());
        pace.acked(3, now);
        assert!(!pace.waits(), "nothing is unacked");
    }

    #[test]
    fn single_records_that_keep_coming_are_not_waited_for() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..100 {
            write(&mut pace, 1, now);
            assert!(!pace.waits());
        }
        pace.acked(100, now);
        for _ in 0..5 {
            write(&mut pace, 1, now);
            assert!(!pace.waits(), "it is known to go on");
            pace.acked(1, now);
        }
    }

    #[test]
    fn single_records_that_come_upon_acks_are_waited_for() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for round in 0..5 {
            write(&mut pace, 1, now);
            assert_eq!(pace.waits(), round >= 2, "{round}");
            now += Duration::from_secs(5);
            pace.acked(1, now);
            now += Duration::from_millis(1);
        }
    }

    #[test]
    fn a_slow_stream_is_not_taken_for_one_that_waits() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..5 {
            write(&mut pace, 1, now);
            assert!(!pace.waits());
            now += Duration::from_secs(5);
            pace.acked(1, now);
            now += Duration::from_secs(1);
        }
        write(&mut pace, 1, now);
        pace.end();
        assert!(pace.waits());
    }
}
