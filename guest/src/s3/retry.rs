//! When to ask S3 again: full-jitter backoff, within a budget that all requests of an instance share.
//!
//! What may be asked again is `error`'s knowledge. Every attempt is signed anew by the host.

use std::cell::Cell;
use std::time::Duration;

use super::error::Retry;
use super::{Client, Result};
use crate::limits;
use crate::ports::{Level, Ports};

/// Tokens for retries: an outage empties them, so that a store that is down is not stormed.
#[derive(Debug)]
pub(super) struct Budget(Cell<u32>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Cell::new(limits::RETRY_TOKENS))
    }

    fn spend(&self) -> bool {
        let left = self.0.get().checked_sub(limits::RETRY_COST);
        self.0.set(left.unwrap_or(self.0.get()));
        left.is_some()
    }

    fn refund(&self, tokens: u32) {
        self.0
            .set((self.0.get() + tokens).min(limits::RETRY_TOKENS));
    }
}

impl<P: Ports> Client<P> {
    /// Runs `attempt` until it succeeds, fails for good, or patience ends.
    pub(super) async fn retrying<T>(
        &self,
        operation: &'static str,
        mut attempt: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let mut attempts = 1;
        loop {
            let error = match attempt().await {
                Ok(value) => {
                    self.budget
                        .refund(if attempts == 1 { 1 } else { limits::RETRY_COST });
                    return Ok(value);
                }
                Err(error) => error,
            };
            let pause = match error.retry() {
                Retry::No => return Err(error),
                Retry::After(pause) => pause,
                Retry::Backoff => backoff(attempts, self.ports.random()),
            };
            if attempts >= self.attempts_max || !self.budget.spend() {
                return Err(error.after_attempts(attempts));
            }
            self.retries.set(self.retries.get() + 1);
            let line = format!(
                "asking again; operation=`{operation}`, attempt=`{attempts}`, why=`{error}`"
            );
            self.ports.log(Level::Debug, &line);
            self.ports.sleep(pause).await;
            attempts += 1;
        }
    }
}

/// A pause between nothing and twice the previous bound, evenly spread, so that clients don't come in step:
/// [full jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
fn backoff(attempts: u32, random: u64) -> Duration {
    let bound = limits::BACKOFF_FIRST
        .saturating_mul(1 << (attempts - 1).min(16))
        .min(limits::BACKOFF_MAX);
    bound.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        assert_eq!(backoff(1, u64::MAX), Duration::from_millis(100));
        assert_eq!(backoff(3, u64::MAX), Duration::from_millis(400));
        assert_eq!(backoff(30, u64::MAX), limits::BACKOFF_MAX);
        assert_eq!(backoff(5, 0), Duration::ZERO);
    }

    #[test]
    fn the_budget_ends_and_comes_back() {
        let budget = Budget::new();
        let retries = (0..).take_while(|_| budget.spend()).count();
        assert_eq!(
            retries,
            (limits::RETRY_TOKENS / limits::RETRY_COST) as usize
        );
        budget.refund(limits::RETRY_COST);
        assert!(budget.spend() && !budget.spend());
    }
}
