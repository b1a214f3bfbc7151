//! Owns second requests for answers that are late: when one is late, and how many may be sent. Leaves what is requested to its
//! callers, and requests that fail to `retry`.
//!
//! Of many requests a few meet a disk, a connection or a machine that hangs, and everything after them in the order of delivery
//! waits. A second request meets another one: [the tail at scale](https://research.google/pubs/the-tail-at-scale/).

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::{Client, Result};
use crate::limits;
use crate::ports::Ports;

/// What answers have taken so far, and what may still be spent on late ones.
#[derive(Debug, Default)]
pub(super) struct Hedges(RefCell<State>);

#[derive(Debug, Default)]
struct State {
    /// The latest times of answers.
    times: Vec<Duration>,
    next: usize,
    /// From when on an answer is late, once enough is known.
    late_after: Option<Duration>,
    /// Requests for which none was sent twice.
    saved: u32,
}

impl Hedges {
    /// From when on an answer is late.
    fn late_after(&self) -> Option<Duration> {
        self.0.borrow().late_after
    }

    /// Takes note of how long an answer took.
    fn took(&self, time: Duration) {
        let state = &mut *self.0.borrow_mut();
        state.saved = (state.saved + 1).min(limits::HEDGES_MAX * limits::HEDGE_EVERY);
        if state.times.len() < limits::HEDGE_SAMPLES {
            state.times.push(time);
        } else {
            state.times[state.next] = time;
        }
        state.next = (state.next + 1) % limits::HEDGE_SAMPLES;
        if state.next.is_multiple_of(limits::HEDGE_SAMPLES / 8) {
            // Twice what all but one in twenty take: those that hang are beyond it, and those that are merely slow are not.
            let mut sorted = state.times.clone();
            let place = sorted.len() * 19 / 20;
            let (_, slow, _) = sorted.select_nth_unstable(place);
            state.late_after = Some((*slow * 2).max(limits::HEDGE_AFTER_MIN));
        }
    }

    /// Takes what one costs; false where too many were sent.
    fn spend(&self) -> bool {
        let saved = &mut self.0.borrow_mut().saved;
        let left = saved.checked_sub(limits::HEDGE_EVERY);
        *saved = left.unwrap_or(*saved);
        left.is_some()
    }
}

impl<P: Ports> Client<P> {
    /// The outcome of an attempt, or of a second one if the first is late: that of the one which succeeds first.
    pub(super) async fn hedged<T>(&self, attempt: impl AsyncFn() -> Result<T>) -> Result<T> {
        let begun = self.ports.elapsed();
        let first = pin!(attempt());
        let outcome = match self.hedges.late_after() {
            None => first.await,
            Some(late_after) => match select(first, pin!(self.ports.sleep(late_after))).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(((), first)) if self.hedges.spend() => match select(first, pin!(attempt())).await {
                    Either::Left((Err(_), second)) => second.await,
                    Either::Right((Err(_), first)) => first.await,
                    Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
                },
                Either::Right(((), first)) => first.await,
            },
        };
        if outcome.is_ok() {
            self.hedges.took(self.ports.elapsed().saturating_sub(begun));
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn late_is_twice_what_almost_all_take() {
        let hedges = Hedges::default();
        assert_eq!(hedges.late_after(), None, "nothing is known yet");
        for n in 0..limits::HEDGE_SAMPLES as u64 {
            hedges.took(if n % 100 == 0 { Duration::from_secs(2) } else { millis(30) });
        }
        assert_eq!(hedges.late_after(), Some(millis(60)));
        for _ in 0..limits::HEDGE_SAMPLES {
            hedges.took(millis(200));
        }
        assert_eq!(hedges.late_after(), Some(millis(400)), "a store that is slow altogether is not late");
        for _ in 0..limits::HEDGE_SAMPLES {
            hedges.took(millis(1));
        }
        assert_eq!(hedges.late_after(), Some(limits::HEDGE_AFTER_MIN));
    }

    #[test]
    fn few_are_sent_twice() {
        let hedges = Hedges::default();
        assert!(!hedges.spend());
        (0..limits::HEDGE_EVERY).for_each(|_| hedges.took(millis(1)));
        assert!(hedges.spend() && !hedges.spend());
        (0..100_000).for_each(|_| hedges.took(millis(1)));
        assert_eq!((0..).take_while(|_| hedges.spend()).count(), limits::HEDGES_MAX as usize);
    }
}
