//! Owns finding where passes of a pipeline end, by the counts that it keeps. Leaves their spans to `spans`.
//!
//! One pass of a source is a listing and the delivery of what it found; the first one is the snapshot with the poll that ends it. A
//! pipeline whose source is none of the component's has one for whatever is stored at once.

use std::sync::Arc;

use tokio::sync::watch;

use super::spans::{Moved, Passes};
use crate::pipeline::{Counts, Phase};

/// Follows a pipeline to its end.
pub(super) async fn follow(passes: Arc<Passes>, mut counts: watch::Receiver<Counts>, polls: bool) {
    let mut begun = Moved::default();
    let mut before = begun;
    loop {
        let is_over = counts.changed().await.is_err();
        let (now, ends, failed) = {
            let counts = counts.borrow_and_update();
            let now = moved(&counts);
            let is_round = if polls {
                now.polls > begun.polls && counts.source.counter("due") == 0
            } else {
                now.stored > begun.stored
            };
            match &counts.phase {
                Phase::Opening => (now, false, None),
                Phase::Running => (now, is_round, None),
                Phase::Interrupted(trouble) | Phase::Failed(trouble) => (now, true, Some(trouble.why.clone())),
                Phase::Ended(_) => (now, true, None),
            }
        };
        if (now.read, now.stored) != (before.read, before.stored) {
            passes.touch();
        }
        before = now;
        if ends || is_over {
            passes.end(now.since(begun), failed.as_deref());
            begun = now;
        }
        if is_over {
            return;
        }
    }
}

fn moved(counts: &Counts) -> Moved {
    Moved { polls: counts.source.counter("polls"), read: counts.read, bytes: counts.bytes, stored: counts.acked }
}

impl Moved {
    /// What has been moved since another moment.
    fn since(self, begun: Self) -> Self {
        Self {
            polls: self.polls.saturating_sub(begun.polls),
            read: self.read.saturating_sub(begun.read),
            bytes: self.bytes.saturating_sub(begun.bytes),
            stored: self.stored.saturating_sub(begun.stored),
        }
    }
}
