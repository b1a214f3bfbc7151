//! Owns the counts of what was requested. Leaves who asks for them to `control`.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::operation::Operation;

/// What was requested since the counts were last reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    requests: [u64; Operation::NAMES.len()],
    /// Listings of a whole bucket that were begun.
    polls: u64,
    /// How many of them were begun when the last object was requested.
    polls_to_get: u64,
    /// Bytes of answers.
    bytes: u64,
    /// When the first and the last request came, in microseconds since 1970.
    first: u64,
    last: u64,
}

impl Counts {
    pub(crate) fn count(&mut self, operation: &Operation, bytes: usize) {
        self.requests[operation.index()] += 1;
        self.polls += u64::from(operation.begins_poll());
        if matches!(operation, Operation::GetObject(_)) {
            self.polls_to_get = self.polls;
        }
        self.bytes += bytes as u64;
        self.last = micros();
        if self.first == 0 {
            self.first = self.last;
        }
    }

    /// The counts as JSON, with those of connections.
    pub(crate) fn json(&self, connections: u64, open: u64) -> String {
        let mut text = String::from("{");
        for (name, count) in Operation::NAMES.iter().zip(self.requests) {
            let _ = write!(text, "\"{name}\":{count},");
        }
        let requests: u64 = self.requests.iter().sum();
        let Self { polls, polls_to_get, bytes, first, last, .. } = self;
        let _ = write!(text, "\"polls-to-get\":{polls_to_get},");
        let _ = write!(text, "\"requests\":{requests},\"polls\":{polls},\"bytes\":{bytes},\"first\":{first},");
        let _ = write!(text, "\"last\":{last},\"connections\":{connections},\"open\":{open}}}");
        text
    }
}

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
