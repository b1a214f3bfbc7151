//! Owns what is kept of failures for the host to tell: the component, through which they go, learns a code. Leaves what is
//! told of them, and with which error, to `settings`.

use std::sync::{Mutex, PoisonError};

/// Why requests failed last, in words for the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons {
    /// Why a request was kept in.
    pub(crate) denial: Option<String>,
    /// What became of a connection.
    pub(crate) failure: Option<String>,
}

/// The last reasons.
#[derive(Default)]
pub(super) struct LastReasons(Mutex<Reasons>);

impl LastReasons {
    pub(super) fn note(&self, reason: String, is_denial: bool) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_denial {
            last.denial = Some(reason);
        } else {
            last.failure = Some(reason);
        }
    }

    pub(super) fn get(&self) -> Reasons {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    pub(super) fn take(&self) -> Reasons {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
