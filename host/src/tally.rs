//! Owns what is counted of one source or destination: its requests, memory, batches and retries. One that is renewed after an
//! outage is counted on, so that the numbers never fall. Leaves records to `pipeline`, and showing the numbers to `monitor`.
//!
//! The component reports batches and retries as log lines of the contexts [`STORED`] and [`RETRY`]. It can say what it likes
//! there, and adds to numbers alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::egress::{Counters, Traffic};

/// The context of log lines that report a stored batch: what ended it, its records and its bytes, each on a line.
pub(crate) const STORED: &str = "stored";

/// What may end a batch.
const CUTS: [&str; 6] = ["records", "bytes", "delay", "flush", "partitions", "large"];

/// The context of log lines that report a request which is sent once more.
pub(crate) const RETRY: &str = "retry";

/// What is counted of one source or destination. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counters: Arc<Counters>,
    memory_bytes: AtomicU64,
    retries: AtomicU64,
    /// By what ended them.
    batches: [BatchCounter; CUTS.len()],
}

#[derive(Debug, Default)]
struct BatchCounter {
    batches: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

/// Batches that were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batches {
    /// What ended them: `records`, `bytes`, `delay`, `flush`, `partitions` or `large`.
    pub cut: &'static str,
    /// How many.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their objects.
    pub bytes: u64,
}

impl Tally {
    /// What went over the wire.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.counters.traffic()
    }

    /// Bytes of the instance's memories. They grow to what it needed at most, and fall when another takes its place.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0.memory_bytes.load(Ordering::Relaxed)
    }

    /// Requests that the component sent once more.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.0.retries.load(Ordering::Relaxed)
    }

    /// Batches by what ended them. Those of a destination that writes each record as an object are none.
    pub fn batches(&self) -> impl Iterator<Item = Batches> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CUTS.into_iter().zip(&self.0.batches).map(move |(cut, counter)| Batches {
            cut,
            batches: read(&counter.batches),
            records: read(&counter.records),
            bytes: read(&counter.bytes),
        })
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }

    pub(crate) fn grown(&self, bytes: usize) {
        self.0.memory_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn shrunk(&self, bytes: usize) {
        self.0.memory_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a batch, and gives the line for people. A message that is no such report stays as it is.
    pub(crate) fn stored(&self, message: &str) -> String {
        let Some((counter, cut, [records, bytes])) = self.read(message) else { return message.to_owned() };
        counter.batches.fetch_add(1, Ordering::Relaxed);
        counter.records.fetch_add(records, Ordering::Relaxed);
        counter.bytes.fetch_add(bytes, Ordering::Relaxed);
        format!("batch stored; cut=`{cut}`, records=`{records}`, bytes=`{bytes}`")
    }

    fn read(&self, message: &str) -> Option<(&BatchCounter, &'static str, [u64; 2])> {
        let mut lines = message.split('\n');
        let name = lines.next()?;
        let (cut, counter) = CUTS.into_iter().zip(&self.0.batches).find(|(cut, _)| *cut == name)?;
        let mut number = || lines.next()?.parse::<u64>().ok();
        let numbers = [number()?, number()?];
        lines.next().is_none().then_some((counter, cut, numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_counted_by_what_ended_them() {
        let tally = Tally::default();
        let other = tally.clone();
        assert_eq!(tally.stored("delay\n12\n4096"), "batch stored; cut=`delay`, records=`12`, bytes=`4096`");
        tally.stored("delay\n1\n4");
        other.stored("flush\n3\n5");
        let found: Vec<_> =
            tally.batches().filter(|b| b.batches > 0).map(|b| (b.cut, b.batches, b.records, b.bytes)).collect();
        assert_eq!(found, [("delay", 2, 13, 4100), ("flush", 1, 3, 5)]);
    }

    #[test]
    fn what_is_no_report_is_a_line_and_counts_nothing() {
        let tally = Tally::default();
        for line in ["", "delay", "delay\n1", "delay\n1\nx", "delay\n1\n2\n3", "moon\n1\n2", "delay\n-1\n2"] {
            assert_eq!(tally.stored(line), line);
        }
        assert!(tally.batches().all(|batches| batches.batches == 0));
    }
}
