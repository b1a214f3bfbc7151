//! Owns outages: which failures are transient, how long to wait before the next attempt, and what the log reports. Leaves
//! recreating endpoints and resuming to `pipeline`.

use std::time::Duration;

use s3_connector::limits::OUTAGE_SAID_AFTER;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Counts;
use crate::error::{Error, ErrorKind};
use crate::printable;
use crate::random;

/// The longest wait that a store can ask for: a wrong header must not stop a pipeline for a day.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// How long to wait for new keys. Tools that rotate keys write new ones within seconds of the expiry of the old ones; keys
/// that stay expired must be reported.
const KEYS_WAIT_MAX: Duration = Duration::from_secs(2 * 60);

/// How a pipeline that has been open once survives transient failures: it recreates its endpoints and resumes after the
/// last saved position, for as long as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The first pause between two attempts; each further one is twice as long. Each is shortened at random, so that a
    /// hundred pipelines do not return at the same instant.
    pub pause_first: Duration,
    /// The longest pause: after the store is back, the pipeline may still wait this long.
    pub pause_max: Duration,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { pause_first: Duration::from_secs(1), pause_max: Duration::from_secs(60) }
    }
}

/// A period in which a pipeline can't make progress.
pub(super) struct Outage {
    name: String,
    recovery: Recovery,
    since: Instant,
    attempts: u32,
    /// Records acked before it.
    acked: u64,
}

impl Outage {
    /// Begins an outage and logs it. If the store has been failing for a while, the component has already warned.
    pub(super) fn begin(name: &str, recovery: Recovery, why: &Error, acked: u64, failing_for: Duration) -> Self {
        let pipeline = Some(name).filter(|name| !name.is_empty());
        let pause_max_s = recovery.pause_max.as_secs_f64();
        let what = format!("interrupted: {why}; retrying at least every {pause_max_s} s until the pipeline resumes");
        if failing_for >= OUTAGE_SAID_AFTER {
            tracing::info!(pipeline, "{what}");
        } else {
            tracing::warn!(pipeline, "{what}");
        }
        let now = Instant::now();
        Self { name: name.to_owned(), recovery, since: now.checked_sub(failing_for).unwrap_or(now), attempts: 0, acked }
    }

    /// Ends the outage and logs it.
    pub(super) fn end(self) {
        let pipeline = Some(self.name.as_str()).filter(|name| !name.is_empty());
        tracing::info!(
            pipeline,
            attempts = self.attempts,
            "resumed after an interruption of {}",
            printable::length(self.since.elapsed())
        );
    }

    /// How long to wait before the next attempt: at least as long as the store asked for, within [`RETRY_AFTER_MAX`].
    pub(super) fn pause(&mut self, why: &Error) -> Duration {
        let whole = self
            .recovery
            .pause_first
            .saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX))
            .min(self.recovery.pause_max);
        self.attempts = self.attempts.saturating_add(1);
        let asked = Duration::from_millis(why.retry_after_ms().unwrap_or_default());
        let pause = whole.mul_f64(random::fraction()) + asked.min(RETRY_AFTER_MAX);
        tracing::debug!(attempt = self.attempts, ?pause, "waiting: {why}");
        pause
    }

    /// Whether to go on retrying after this failure.
    pub(super) fn tolerates(&self, why: &Error) -> bool {
        is_transient(why) && (!why.awaits_keys() || self.since.elapsed() < KEYS_WAIT_MAX)
    }

    /// Waits until records flow again, or the source has caught up and nothing is left to flow.
    pub(super) async fn is_over(&self, mut counts: watch::Receiver<Counts>) {
        let flows = |counts: &Counts| counts.acked > self.acked || counts.is_caught_up();
        if counts.wait_for(flows).await.is_err() {
            // The counts are gone with the round, whose end says more.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a new instance may get further than the one that failed.
///
/// `Unavailable` is transient, and so is `Denied` because of expired keys that new ones may replace. The other kinds are
/// permanent: what is `Invalid`, `Denied` or `Corrupt` stays so until somebody changes something, `Internal` and `Trap`
/// are bugs that would occur again, and `Closed` means that the pipeline itself called in the wrong order.
pub(super) fn is_transient(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable || error.awaits_keys()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind) -> Error {
        Error::new(kind, "no answer")
    }

    #[test]
    fn pauses_grow_to_the_longest_and_are_cut_at_random() {
        let recovery = Recovery::default();
        let why = error(ErrorKind::Unavailable);
        let pauses = |n: usize| -> Vec<Duration> {
            let mut outage = Outage::begin("", recovery, &why, 0, Duration::ZERO);
            (0..n).map(|_| outage.pause(&why)).collect()
        };
        let many: Vec<_> = (0..50).map(|_| pauses(70)).collect();
        for (n, bound_s) in [(0, 1), (1, 2), (3, 8), (5, 32), (6, 60), (69, 60)] {
            let bound = Duration::from_secs(bound_s);
            let longest = many.iter().map(|pauses| pauses[n]).max().unwrap();
            let shortest = many.iter().map(|pauses| pauses[n]).min().unwrap();
            assert!(longest < bound && longest > bound / 2, "{n}: {longest:?}");
            assert!(shortest < bound / 2, "{n}: {shortest:?}");
        }
    }

    #[test]
    fn the_wait_that_a_store_asks_for_is_a_lower_bound_up_to_a_maximum() {
        let after = |retry_after_ms: u64| {
            let why = error(ErrorKind::Unavailable).with_retry_after_ms(retry_after_ms);
            Outage::begin("", Recovery::default(), &why, 0, Duration::ZERO).pause(&why)
        };
        let range = |seconds| Duration::from_secs(seconds)..Duration::from_secs(seconds + 1);
        assert!(range(5).contains(&after(5000)));
        assert!(range(15 * 60).contains(&after(u64::MAX)));
    }

    #[test]
    fn only_unavailable_and_awaited_keys_are_transient() {
        for kind in [
            ErrorKind::Invalid,
            ErrorKind::Denied,
            ErrorKind::Corrupt,
            ErrorKind::Closed,
            ErrorKind::Internal,
            ErrorKind::Trap,
        ] {
            assert!(!is_transient(&error(kind)), "{kind:?}");
        }
        assert!(is_transient(&error(ErrorKind::Unavailable)));
        assert!(is_transient(&error(ErrorKind::Denied).awaiting_keys()));
    }
}
