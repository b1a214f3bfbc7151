//! Owns which conditional writes the store was seen to refuse. Leaves what is done without the condition to `upload` and `stream`.

use std::cell::Cell;

use crate::limits;
use crate::payload::Payload;

/// The request that makes bytes an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredBy {
    /// PutObject, of all bytes.
    Put,
    /// CompleteMultipartUpload, of parts.
    Completion,
}

impl StoredBy {
    /// The one for these bytes.
    pub(super) fn of(body: &Payload) -> Self {
        if body.len() > limits::PUT_BYTES_MAX { Self::Completion } else { Self::Put }
    }
}

/// Which conditional writes the store has refused. A store may know the condition on one of the two only.
#[derive(Default)]
pub(super) struct RefusedConditions {
    puts: Cell<bool>,
    completions: Cell<bool>,
}

impl RefusedConditions {
    /// Whether it was this one.
    pub(super) fn of(&self, request: StoredBy) -> &Cell<bool> {
        match request {
            StoredBy::Put => &self.puts,
            StoredBy::Completion => &self.completions,
        }
    }

    /// Whether there is one.
    pub(super) fn is_any(&self) -> bool {
        self.puts.get() || self.completions.get()
    }
}
