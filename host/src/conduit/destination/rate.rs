//! Owns how many records may be written per second: a bucket of tokens, as the Go SDK's limiter has it.

use std::time::{Duration, Instant};

use crate::conduit::parameters::Rate;

/// Tokens, of which each record takes one.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst as f64, filled_at: now }
    }

    /// How many records may go now.
    pub(super) fn available(&mut self, now: Instant) -> usize {
        let more = now.duration_since(self.filled_at).as_secs_f64() * self.rate.per_second;
        (self.tokens, self.filled_at) = ((self.tokens + more).min(self.rate.burst as f64), now);
        self.tokens as usize
    }

    /// Takes the tokens of records that go.
    pub(super) fn take(&mut self, records: usize) {
        self.tokens -= records as f64;
    }

    /// How long it takes until another record may go.
    pub(super) fn pause(&self) -> Duration {
        Duration::try_from_secs_f64(((1.0 - self.tokens) / self.rate.per_second).max(0.001)).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_at_the_rate_up_to_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 10.0, burst: 5 }, start);
        assert_eq!(bucket.available(start), 5);
        bucket.take(5);
        assert_eq!(bucket.available(start), 0);
        assert_eq!(bucket.pause(), Duration::from_millis(100));
        assert_eq!(bucket.available(start + Duration::from_millis(350)), 3);
        bucket.take(3);
        assert_eq!(bucket.available(start + Duration::from_secs(60)), 5, "no more than a burst");
    }
}
