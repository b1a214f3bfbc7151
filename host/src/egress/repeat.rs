//! Owns the repetition of writes that the guest can't send again, since it never had their bytes: those of objects that are
//! copied. Leaves all other retries to the guest, and when to give up an outage to the pipeline.
//!
//! The bytes are here until the store has answered, so that a repetition costs no memory. Writing an object over itself
//! changes nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Response, header};

use super::exchange::{Exchange, STALL_TIMEOUT, next_data};
use super::failure::Failure;
use super::operation::S3Operation;
use super::request::Outgoing;
use super::upstream::UpstreamBody;
use crate::error::with_causes;
use crate::random;

/// Attempts of one write. With pauses of 100, 200, 400 and 800 ms at most they outlast what passes in a moment.
const ATTEMPTS_MAX: u32 = 5;

/// The longest first pause, which doubles.
const BACKOFF: Duration = Duration::from_millis(100);

/// The longest pause that a store can ask for: longer ones are the pipeline's to wait for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// Repetitions that all writes of an instance share: once they are spent, the store is away rather than busy. Each answer
/// gives a third of one back, so that a store which refuses a quarter of all requests is still written to.
const TOKENS_MAX: u32 = 600;
const REPETITION_COSTS: u32 = 3;

/// Bytes of a refusal that are read so that its connection can be used again.
const DRAIN_BYTES_MAX: usize = 64 * 1024;

/// How many repetitions are left.
#[derive(Debug)]
pub(super) struct Repeats {
    tokens: AtomicU32,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { tokens: AtomicU32::new(TOKENS_MAX) }
    }
}

/// Whether a request writes what it would write again.
pub(super) fn may_repeat(outgoing: &Outgoing) -> bool {
    matches!(outgoing.operation, S3Operation::PutObject | S3Operation::UploadPart)
        && !super::is_conditional(&outgoing.headers)
}

impl Repeats {
    /// Exchanges a write for an answer, again where the store could not take it.
    pub(super) async fn exchange(
        &self,
        exchange: &Exchange,
        outgoing: &Outgoing,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let mut attempt = 1;
        loop {
            let outcome = exchange.exchange(outgoing).await;
            let Some(why) = passing(&outcome, attempt) else {
                self.answered();
                return outcome;
            };
            if attempt == ATTEMPTS_MAX || !self.spend() {
                return outcome;
            }
            let asked = outcome.as_ref().map_or(Duration::ZERO, retry_after);
            tracing::debug!(attempt, cause = %why, "repeating a write");
            if let Ok(response) = outcome {
                // What doesn't end by then costs its connection.
                let _ = tokio::time::timeout(STALL_TIMEOUT, drain(response.into_body())).await;
            }
            let bound = BACKOFF * 2_u32.pow(attempt - 1);
            tokio::time::sleep(asked + bound.mul_f64(random::fraction())).await;
            attempt += 1;
        }
    }

    fn spend(&self) -> bool {
        let less = |tokens: u32| tokens.checked_sub(REPETITION_COSTS);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn answered(&self) {
        let more = |tokens: u32| (tokens < TOKENS_MAX).then_some(tokens + 1);
        let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// What passes by itself about the outcome of an attempt, if anything does. A connection that has died without a word must not
/// end the copy of an object of many parts; a store that lets a second minute pass has lost more than one request.
fn passing(outcome: &Result<Response<UpstreamBody>, Failure>, attempt: u32) -> Option<String> {
    match outcome {
        Ok(response) => {
            let status = response.status().as_u16();
            matches!(status, 408 | 429 | 500 | 502 | 503 | 504).then(|| format!("status {status}"))
        }
        Err(Failure::NoAnswer { .. }) if attempt > 1 => None,
        Err(failure) => failure.is_passing().then(|| with_causes(failure)),
    }
}

fn retry_after(response: &Response<UpstreamBody>) -> Duration {
    let value = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = value.and_then(|text| text.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
    seconds.min(RETRY_AFTER_MAX)
}

/// Reads a short document to its end, in all within the limit of a stall: what is left in a connection ends it.
async fn drain(mut body: UpstreamBody) {
    let read = async {
        let mut read = 0;
        while let Ok(Some(data)) = next_data(&mut body, STALL_TIMEOUT).await {
            read += data.len();
            if read > DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(STALL_TIMEOUT, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_end_and_answers_bring_them_back() {
        let repeats = Repeats::default();
        let left = || (0..).take_while(|_| repeats.spend()).count() as u32;
        assert_eq!(left(), TOKENS_MAX / REPETITION_COSTS);
        (0..REPETITION_COSTS).for_each(|_| repeats.answered());
        assert_eq!(left(), 1);
        (0..2 * TOKENS_MAX).for_each(|_| repeats.answered());
        assert_eq!(left(), TOKENS_MAX / REPETITION_COSTS);
    }

    #[test]
    fn a_dead_connection_is_no_store_that_is_away() {
        let silent = || Err(Failure::NoAnswer { seconds: 60 });
        assert!(passing(&silent(), 1).is_some());
        assert!(passing(&silent(), 2).is_none());
        let away = Err(Failure::Stalled { seconds: 30 });
        assert!(passing(&away, 4).is_some());
    }
}
