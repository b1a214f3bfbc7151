//! Owns since when a store gives no answer that is of use, which pipelines tell the length of an outage by. Leaves what
//! is retried to the guest, and resuming to `pipeline`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When the first of the failures came that no answer has followed.
#[derive(Default)]
pub(super) struct Silence(Mutex<Option<Instant>>);

impl Silence {
    /// Takes note of an answer by its status; 0 where there was none.
    pub(super) fn note(&self, status: u16) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(status, 0 | 429 | 500..) {
            since.get_or_insert_with(Instant::now);
        } else {
            *since = None;
        }
    }

    /// How long the store has given no answer that is of use; `None` where its last one was.
    pub(super) fn length(&self) -> Option<Duration> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_counts_from_the_first_failure_to_the_next_answer() {
        let silence = Silence::default();
        let since = || *silence.0.lock().unwrap();
        let start = Instant::now();
        for status in [503, 0, 429] {
            silence.note(status);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(since(), Some(start));
        silence.note(404);
        assert_eq!(since(), None);
    }
}
