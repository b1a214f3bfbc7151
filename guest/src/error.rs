//! Owns the connector's error: what went wrong, and what a caller can do about it. Leaves details to the errors of
//! modules, which are converted into this one; this file knows none of them.
//!
//! Messages are lowercase, carry no payload and no secret, and name what to change.

use std::fmt;

/// What a caller can do about an error. The kinds are the contract's, word for word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Fix the input: a setting, a record, an order of calls.
    Invalid,
    /// Try again later: the store, the network or the host's storage did not answer.
    Unavailable,
    /// Fix credentials or permissions.
    Denied,
    /// Stop: data or a position is damaged.
    Corrupt,
    /// Start over with a new instance: this one was torn down.
    Closed,
    /// Report it: this is a bug.
    Internal,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What a caller can do.
    pub kind: ErrorKind,
    /// What happened and what to change, in one line.
    pub message: String,
    /// When to try again, where the store said so.
    pub retry_after_ms: Option<u64>,
}

/// The result of a connector's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: None }
    }

    /// Makes an error that another input avoids.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes an error about damaged data.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Makes an error about an instance that was torn down.
    pub fn closed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Closed, message)
    }

    /// Makes an error that reports a bug.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Prefixes the message with `context`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_comes_before_what_happened() {
        let error = Error::internal("it broke").context("writing").context("batch `7`");
        assert_eq!(error.kind, ErrorKind::Internal);
        assert_eq!(error.to_string(), "batch `7`: writing: it broke");
    }
}
