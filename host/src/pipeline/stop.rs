//! Owns the wish that a pipeline end. What ends, and in which order, is the pipeline's.

use tokio::sync::watch;

/// A handle that asks pipelines to end cleanly. Clones are the same handle; one may stop many pipelines.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// A handle that asks nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks. Asking again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody asks.
    pub async fn stopped(&self) {
        let mut asked = self.0.subscribe();
        // The sender is ours, so the channel is open for as long as this waits.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clone_hears_what_another_was_told_before_and_after() {
        let stop = Stop::new();
        let other = stop.clone();
        let waiting = tokio::spawn(async move { other.stopped().await });
        assert!(!stop.is_stopped());
        stop.stop();
        waiting.await.unwrap();
        stop.clone().stopped().await;
        assert!(stop.is_stopped());
    }
}
