//! Owns what became of an instance's requests, as values, so that the host can join an error of the component with the
//! request that caused it: the component itself learns a code. Leaves to `connector` which outcome explains which error.
//!
//! Each request has a number, and ends as denied, failed or answered. However many there are, three outcomes are kept: the latest
//! denial, the latest failure, and when the store last refused something. A denial or failure is forgotten once the same thing
//! was asked for again and answered.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Uri};

use super::failure::Failure;

/// A point in the order in which requests of one instance begin and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// A request that has no outcome yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    at: Moment,
    /// A digest of its method and address: what was asked for.
    subject: u64,
}

impl Begun {
    /// The number of the request, for the log.
    pub(super) fn number(self) -> u64 {
        self.at.0
    }
}

/// The outcomes that explain an error.
#[derive(Debug, Default)]
pub(crate) struct Since {
    /// Why a request was denied, unless the store refused one after that.
    pub(crate) denial: Option<Arc<Failure>>,
    /// Why a request brought no answer.
    pub(crate) failure: Option<Arc<Failure>>,
}

/// What became of an instance's requests.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    now: Moment,
    denial: Option<Outcome>,
    failure: Option<Outcome>,
    refused_at: Moment,
}

#[derive(Debug)]
struct Outcome {
    at: Moment,
    subject: u64,
    failure: Arc<Failure>,
}

impl Outcomes {
    /// The latest moment.
    pub(super) fn now(&self) -> Moment {
        self.lock().now
    }

    /// Gives a request its number.
    pub(super) fn begin(&self, method: &Method, uri: &Uri) -> Begun {
        let mut hasher = DefaultHasher::new();
        (method, uri).hash(&mut hasher);
        Begun { at: self.lock().advance(), subject: hasher.finish() }
    }

    /// Takes note that a request was answered with this status.
    pub(super) fn answered(&self, begun: Begun, status: u16) {
        let mut kept = self.lock();
        let is_mended = |outcome: &Outcome| outcome.subject == begun.subject && outcome.at < begun.at;
        kept.denial.take_if(|outcome| is_mended(outcome));
        kept.failure.take_if(|outcome| is_mended(outcome));
        if matches!(status, 400 | 401 | 403) {
            kept.refused_at = kept.advance();
        }
    }

    /// Takes note that a request was denied, or that it or its answer broke.
    pub(super) fn failed(&self, begun: Begun, failure: Arc<Failure>) {
        let mut kept = self.lock();
        let at = kept.advance();
        let slot = if failure.is_denial() { &mut kept.denial } else { &mut kept.failure };
        *slot = Some(Outcome { at, subject: begun.subject, failure });
    }

    /// What came after a moment.
    pub(super) fn since(&self, moment: Moment) -> Since {
        let kept = self.lock();
        let later = |outcome: &&Outcome| outcome.at > moment;
        let told = |outcome: &Outcome| Arc::clone(&outcome.failure);
        let denial = kept.denial.as_ref().filter(later).filter(|denial| denial.at > kept.refused_at);
        Since { denial: denial.map(told), failure: kept.failure.as_ref().filter(later).map(told) }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn advance(&mut self) -> Moment {
        self.now = Moment(self.now.0 + 1);
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::denial::Denial;

    fn begin(outcomes: &Outcomes, path: &'static str) -> Begun {
        outcomes.begin(&Method::GET, &Uri::from_static(path))
    }

    fn stalls(outcomes: &Outcomes, path: &'static str, seconds: u64) {
        let begun = begin(outcomes, path);
        outcomes.failed(begun, Arc::new(Failure::Stalled { seconds }));
    }

    fn is_denied(outcomes: &Outcomes, path: &'static str) {
        let begun = begin(outcomes, path);
        outcomes.failed(begun, Arc::new(Denial::Bucket.into()));
    }

    /// The latest failure's seconds, and whether there is a denial.
    fn since(outcomes: &Outcomes, moment: Moment) -> (Option<u64>, bool) {
        let Since { denial, failure } = outcomes.since(moment);
        let seconds = failure.map(|failure| match *failure {
            Failure::Stalled { seconds } => seconds,
            ref other => panic!("{other}"),
        });
        (seconds, denial.is_some())
    }

    #[test]
    fn the_latest_outcome_after_a_moment_is_told() {
        let outcomes = Outcomes::default();
        let start = outcomes.now();
        assert_eq!(since(&outcomes, start), (None, false));
        for seconds in 1..=100_000 {
            stalls(&outcomes, "/a", seconds);
        }
        is_denied(&outcomes, "/b");
        assert_eq!(since(&outcomes, start), (Some(100_000), true));
        assert_eq!(since(&outcomes, outcomes.now()), (None, false));
        let later = outcomes.now();
        stalls(&outcomes, "/c", 7);
        assert_eq!(since(&outcomes, later), (Some(7), false));
    }

    #[test]
    fn a_request_that_began_before_a_moment_and_failed_after_it_counts() {
        let outcomes = Outcomes::default();
        let begun = begin(&outcomes, "/a");
        let moment = outcomes.now();
        outcomes.failed(begun, Arc::new(Failure::Stalled { seconds: 1 }));
        assert_eq!(since(&outcomes, moment), (Some(1), false));
    }

    #[test]
    fn what_was_asked_for_again_and_answered_is_mended_and_nothing_else_is() {
        let outcomes = Outcomes::default();
        let early = begin(&outcomes, "/a");
        stalls(&outcomes, "/a", 1);
        is_denied(&outcomes, "/b");
        for (path, status) in [("/c", 200), ("/a?x", 200)] {
            outcomes.answered(begin(&outcomes, path), status);
        }
        // It was asked for before the failure.
        outcomes.answered(early, 200);
        assert_eq!(since(&outcomes, Moment::default()), (Some(1), true));
        outcomes.answered(begin(&outcomes, "/a"), 503);
        assert_eq!(since(&outcomes, Moment::default()), (None, true));
        outcomes.answered(begin(&outcomes, "/b"), 200);
        assert_eq!(since(&outcomes, Moment::default()), (None, false));
    }

    #[test]
    fn a_refusal_of_the_store_after_a_denial_is_the_reason() {
        let outcomes = Outcomes::default();
        is_denied(&outcomes, "/a");
        outcomes.answered(begin(&outcomes, "/b"), 404);
        assert_eq!(since(&outcomes, Moment::default()), (None, true));
        outcomes.answered(begin(&outcomes, "/b"), 403);
        assert_eq!(since(&outcomes, Moment::default()), (None, false));
        is_denied(&outcomes, "/a");
        assert_eq!(since(&outcomes, Moment::default()), (None, true));
    }
}
