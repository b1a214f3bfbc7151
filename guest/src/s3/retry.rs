//! Owns retries: full-jitter backoff until patience ends, at a pace that all requests of an instance share. Leaves to
//! `error` what may be retried. The host signs every attempt again.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::error::Retry;
use super::{Client, Error, Result};
use crate::limits;
use crate::ports::{Level, Ports, TransportError};

/// How long a client retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first failure of an operation to its last attempt.
    pub retries: Duration,
    /// The time for an operation as a whole, answers included; `None` where the host's limit per answer is enough.
    pub whole: Option<Duration>,
}

impl Patience {
    /// Of a connector that runs.
    pub const RUNNING: Self = Self { retries: limits::RETRIES_MAX, whole: None };

    /// Of a connector that opens.
    pub const OPENING: Self = Self { retries: limits::RETRIES_TO_OPEN_MAX, whole: Some(limits::OPEN_STEP_MAX) };
}

/// The pace of retries. Each costs tokens of a common stock, so that a store that is down is not flooded: once they are
/// spent, one request per second probes whether it is back, and the others wait for that.
#[derive(Debug)]
pub(super) struct Pace {
    tokens: Cell<u32>,
    /// When the next request may probe.
    probe_at: Cell<Duration>,
    /// When requests began to fail, if none has been answered since.
    failing_since: Cell<Option<Duration>>,
    /// Whether the outage was logged.
    is_logged: Cell<bool>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            tokens: Cell::new(limits::RETRY_TOKENS),
            probe_at: Cell::default(),
            failing_since: Cell::default(),
            is_logged: Cell::default(),
        }
    }

    /// Takes the cost of a retry; false where the stock is too low.
    fn spend(&self) -> bool {
        let left = self.tokens.get().checked_sub(limits::RETRY_COST);
        self.tokens.set(left.unwrap_or(self.tokens.get()));
        left.is_some()
    }

    /// Takes note that the store has answered after `attempts`.
    fn answered(&self, attempts: u32) {
        let tokens = self.tokens.get();
        let back = match attempts {
            // It was down and is back: requests that wait may go on.
            _ if tokens < limits::RETRY_COST => limits::RETRY_TOKENS,
            1 => 1,
            _ => limits::RETRY_COST,
        };
        self.tokens.set((tokens + back).min(limits::RETRY_TOKENS));
    }

    /// Whether this request is the one that probes whether the store is back.
    fn may_probe(&self, now: Duration) -> bool {
        let may = now >= self.probe_at.get();
        if may {
            self.probe_at.set(now + limits::PROBE_EVERY);
        }
        may
    }
}

impl<P: Ports> Client<P> {
    /// Runs `attempt` until it succeeds, fails permanently, or patience ends.
    pub(super) async fn retrying<T>(
        &self,
        operation: &'static str,
        attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let series = pin!(self.series(operation, attempt));
        let Some(limit) = self.patience.whole else {
            return series.await;
        };
        match select(series, pin!(self.ports.sleep(limit))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => {
                let why = format!("none came within {} s", limit.as_secs());
                Err(Error::transport(operation, TransportError::Broken(why)))
            }
        }
    }

    async fn series<T>(&self, operation: &'static str, mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let mut attempts = 1;
        let mut failed_at = None;
        loop {
            let outcome = attempt().await;
            if let Some(slots) = &self.slots {
                slots.answered(outcome.as_ref().is_err_and(|error| error.status() == Some(503)));
            }
            let error = match outcome {
                Ok(value) => {
                    self.answered(attempts);
                    return Ok(value);
                }
                Err(error) => error,
            };
            let least = match error.retry() {
                Retry::No => {
                    // A permanent refusal is an answer too.
                    if error.status().is_some() {
                        self.answered(attempts);
                    }
                    return Err(error);
                }
                Retry::After(pause) => pause.min(limits::RETRY_AFTER_MAX),
                Retry::Backoff => Duration::ZERO,
            };
            let now = self.ports.elapsed();
            let first = *failed_at.get_or_insert(now);
            self.failed(operation, &error, now);
            if !self.turn(attempts, least, first + self.patience.retries).await {
                let took = self.ports.elapsed().saturating_sub(first);
                return Err(error.after_attempts(attempts, took));
            }
            self.retries.set(self.retries.get() + 1);
            let line = format!("retrying; operation=`{operation}`, attempt=`{attempts}`, why=`{error}`");
            self.ports.retrying(&line);
            attempts += 1;
        }
    }

    /// Waits until a failed request may be sent again; false where patience ends first. `least` is the pause that the
    /// store has asked for. It is a lower bound: requests with the same one must not come back together.
    async fn turn(&self, attempts: u32, least: Duration, until: Duration) -> bool {
        let pause = |pause: Duration| {
            let left = until.saturating_sub(self.ports.elapsed());
            (!left.is_zero()).then(|| self.pause(pause.min(left)))
        };
        if self.pace.spend() {
            let backoff = backoff(attempts, least, self.ports.random());
            let Some(paused) = pause(least + backoff) else {
                return false;
            };
            paused.await;
            return true;
        }
        let mut least = least;
        loop {
            // Half a second to one and a half: requests that wait come back at different moments.
            let spread = spread(limits::PROBE_EVERY, self.ports.random());
            let Some(paused) = pause(least + limits::PROBE_EVERY / 2 + spread) else {
                return false;
            };
            paused.await;
            if self.pace.spend() || self.pace.may_probe(self.ports.elapsed()) {
                return true;
            }
            least = Duration::ZERO;
        }
    }

    /// Takes note of an answer, and logs that the store is back where an outage was logged.
    fn answered(&self, attempts: u32) {
        self.pace.answered(attempts);
        let since = self.pace.failing_since.take();
        if self.pace.is_logged.take() {
            let seconds = self.ports.elapsed().saturating_sub(since.unwrap_or_default());
            let line = format!("the store answers again; away_s=`{}`", seconds.as_secs());
            self.ports.log(Level::Info, &line);
        }
    }

    /// Takes note of a failure, and logs an outage where nothing else has come for a while.
    fn failed(&self, operation: &str, error: &Error, now: Duration) {
        let since = self.pace.failing_since.get().unwrap_or(now);
        self.pace.failing_since.set(Some(since));
        if now.saturating_sub(since) >= limits::OUTAGE_SAID_AFTER && !self.pace.is_logged.replace(true) {
            let what = match error.status() {
                Some(_) => "the store is refusing requests",
                None => "the store is not answering",
            };
            let line = format!("{what}; retrying; operation=`{operation}`, why=`{error}`");
            self.ports.log(Level::Warn, &line);
        }
    }
}

/// A pause between 0 and twice the previous bound, evenly spread, so that clients don't retry in step:
/// [full jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). On top of a pause that the
/// store has asked for it is spread over a second at least.
fn backoff(attempts: u32, least: Duration, random: u64) -> Duration {
    let bound = limits::BACKOFF_FIRST.saturating_mul(1 << (attempts - 1).min(16)).min(limits::BACKOFF_MAX);
    let bound = if least.is_zero() { bound } else { bound.max(limits::RETRY_AFTER_SPREAD_MIN) };
    spread(bound, random)
}

/// Evenly between 0 and `bound`.
fn spread(bound: Duration, random: u64) -> Duration {
    bound.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let longest = |attempts| backoff(attempts, Duration::ZERO, u64::MAX);
        assert_eq!(longest(1), Duration::from_millis(100));
        assert_eq!(longest(3), Duration::from_millis(400));
        assert_eq!(longest(30), limits::BACKOFF_MAX);
        assert_eq!(backoff(5, Duration::ZERO, 0), Duration::ZERO);
    }

    #[test]
    fn a_pause_that_was_asked_for_is_spread_wider() {
        let longest = |attempts| backoff(attempts, Duration::from_secs(3), u64::MAX);
        assert_eq!(longest(1), limits::RETRY_AFTER_SPREAD_MIN);
        assert_eq!(longest(30), limits::BACKOFF_MAX);
    }

    #[test]
    fn tokens_end_and_one_answer_brings_all_of_them_back() {
        let pace = Pace::new();
        let retries = |pace: &Pace| (0..).take_while(|_| pace.spend()).count() as u32;
        let all = limits::RETRY_TOKENS / limits::RETRY_COST;
        assert_eq!(retries(&pace), all);
        pace.answered(7);
        assert_eq!(retries(&pace), all);
    }

    #[test]
    fn answers_between_failures_give_back_little() {
        let pace = Pace::new();
        for _ in 0..10 {
            assert!(pace.spend());
        }
        pace.answered(1);
        pace.answered(2);
        assert_eq!(pace.tokens.get(), limits::RETRY_TOKENS - 10 * limits::RETRY_COST + 1 + limits::RETRY_COST);
    }

    #[test]
    fn one_request_at_a_time_finds_out() {
        let pace = Pace::new();
        let at = Duration::from_secs(3);
        assert!(pace.may_probe(at) && !pace.may_probe(at));
        assert!(!pace.may_probe(at + limits::PROBE_EVERY / 2));
        assert!(pace.may_probe(at + limits::PROBE_EVERY));
    }
}
