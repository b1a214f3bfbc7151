//! Owns second requests for bodies that stall: from when on one is late, and how many may be sent. Leaves what is requested to
//! `body`, and answers that are late as a whole to the guest, which knows how long others take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A body that gives no byte for this long is late: then the same bytes are requested on another connection as well, and the
/// one that gives some first goes on. So one that is merely slow loses nothing.
pub const LATE_AFTER: Duration = Duration::from_secs(5);

/// Second requests that an instance may always send: two objects' worth of parts.
const FREE: u64 = 16;

/// Beyond those, one request in so many may be sent twice: a store that is slow altogether has no use for more.
const EVERY: u64 = 20;

/// Counts the second requests of one instance.
#[derive(Debug, Default)]
pub(super) struct Hurry(AtomicU64);

impl Hurry {
    /// Takes what one costs, given how many requests were sent so far; false where too many were sent twice.
    pub(super) fn spend(&self, requests: u64) -> bool {
        let most = FREE + requests / EVERY;
        let spend = |spent: u64| (spent < most).then_some(spent + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_requests_are_sent_twice() {
        let hurry = Hurry::default();
        let spent = |requests| (0..1000).filter(|_| hurry.spend(requests)).count();
        assert_eq!(spent(19), 16);
        assert_eq!(spent(20), 1);
        assert_eq!(spent(2000), 99);
    }
}
