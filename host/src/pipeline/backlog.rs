//! Owns since when records wait to be stored. Leaves what the source has not read yet to its own progress.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// The least time between two marks.
const BETWEEN_MIN: Duration = Duration::from_secs(1);

/// Marks that are kept: more than a backlog of a week needs; above that, the newest one stands for more records, as if they were read when it was made.
const MARKS_MAX: usize = 512;

/// When the records were read that are not stored. It remembers some moments rather than each record, and errs on the side of
/// more: never is a record said to be younger than it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    /// Oldest first: up to which record, by number, they were read, and not before when.
    marks: VecDeque<(u64, SystemTime)>,
}

impl Backlog {
    /// Takes note that `read` records were read so far.
    pub(super) fn read(&mut self, read: u64, now: SystemTime) {
        let oldest = self.marks.front().map_or(now, |(_, at)| *at);
        let span = now.duration_since(oldest).unwrap_or_default();
        // A long backlog needs no more marks than a short one.
        let between = BETWEEN_MIN.max(span / 32);
        let is_full = self.marks.len() >= MARKS_MAX;
        match self.marks.back_mut() {
            Some((up_to, at)) if is_full || now.duration_since(*at).unwrap_or_default() < between => {
                *up_to = read.max(*up_to);
            }
            _ => self.marks.push_back((read, now)),
        }
    }

    /// Takes note that `stored` records were stored so far.
    pub(super) fn stored(&mut self, stored: u64) {
        while self.marks.front().is_some_and(|(up_to, _)| *up_to <= stored) {
            self.marks.pop_front();
        }
    }

    /// Takes note that what waits is to be read again: all of it is as old as the oldest.
    pub(super) fn again(&mut self) {
        if let (Some((_, at)), Some((up_to, _))) = (self.marks.front().copied(), self.marks.back().copied()) {
            self.marks.clear();
            self.marks.push_back((up_to, at));
        }
    }

    /// Takes note that nothing waits: what was to be read again may have become fewer records.
    pub(super) fn clear(&mut self) {
        self.marks.clear();
    }

    /// Since when something waits; `None` where nothing does.
    pub(super) fn since(&self) -> Option<SystemTime> {
        self.marks.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn the_oldest_record_that_waits_counts() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.since(), None);
        backlog.read(10, at(100));
        backlog.read(20, at(105));
        backlog.stored(9);
        assert_eq!(backlog.since(), Some(at(100)), "one of the first waits");
        backlog.stored(10);
        assert_eq!(backlog.since(), Some(at(105)));
        backlog.again();
        backlog.read(20, at(200));
        assert_eq!(backlog.since(), Some(at(105)), "to read it again makes it no younger");
        backlog.stored(20);
        assert_eq!(backlog.since(), None);
    }

    #[test]
    fn a_reader_that_never_stops_needs_few_marks_and_no_record_is_called_younger() {
        let mut backlog = Backlog::default();
        for second in 0..100_000 {
            // One record per second, of which the last hour's wait.
            backlog.read(second + 1, at(second));
            let stored = (second + 1).saturating_sub(3600);
            backlog.stored(stored);
            let since = backlog.since().unwrap();
            assert!(since <= at(stored), "{second}: {since:?}");
            assert!(backlog.marks.len() <= MARKS_MAX);
            let error = at(stored).duration_since(since).unwrap();
            assert!(error <= Duration::from_secs(3600 / 16), "{second}: {error:?}");
        }
    }
}
