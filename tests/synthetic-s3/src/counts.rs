//! Owns the counts of what was requested. Leaves who asks for them to `control`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::operation::Operation;
use crate::weather::Fate;

/// What was requested since the counts were last reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    requests: [u64; Operation::NAMES.len()],
    /// Listings of a whole bucket that were begun.
    polls: u64,
    /// How many of them were begun when the last object was requested.
    polls_to_get: u64,
    /// Bytes of answers, and of requests.
    bytes: u64,
    received: u64,
    /// Requests that were throttled, reset or cut, and stalled.
    throttled: u64,
    broken: u64,
    stalled: u64,
    /// From requests to their answers, altogether, in microseconds, and of how many.
    serving: (u64, u64),
    /// When the first and the last request came, in microseconds since 1970.
    first: u64,
    last: u64,
}

impl Counts {
    pub(crate) fn count(&mut self, operation: &Operation, bytes: usize, received: u64) {
        self.requests[operation.index()] += 1;
        self.polls += u64::from(operation.begins_poll());
        if matches!(operation, Operation::GetObject(_)) {
            self.polls_to_get = self.polls;
        }
        self.bytes += bytes as u64;
        self.received += received;
        self.last = micros();
        if self.first == 0 {
            self.first = self.last;
        }
    }

    /// Takes note of what became of a request.
    pub(crate) fn trouble(&mut self, fate: Fate) {
        match fate {
            Fate::Answered => {}
            Fate::Throttled => self.throttled += 1,
            Fate::Reset | Fate::Cut => self.broken += 1,
            Fate::Stalled => self.stalled += 1,
        }
    }

    /// Takes note of how long an answer took.
    pub(crate) fn served(&mut self, took: Duration) {
        self.serving.0 += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.serving.1 += 1;
    }

    /// The counts as JSON, with those of connections.
    pub(crate) fn json(&self, connections: u64, open: u64) -> String {
        let mut text = String::from("{");
        for (name, count) in Operation::NAMES.iter().zip(self.requests) {
            let _ = write!(text, "\"{name}\":{count},");
        }
        let requests: u64 = self.requests.iter().sum();
        let Self { polls, polls_to_get, bytes, first, last, received, throttled, broken, stalled, .. } = self;
        let serving = self.serving.0.checked_div(self.serving.1).unwrap_or_default();
        let _ = write!(text, "\"received\":{received},\"throttled\":{throttled},\"broken\":{broken},");
        let _ = write!(text, "\"stalled\":{stalled},\"serving\":{serving},");
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
