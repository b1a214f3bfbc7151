//! Owns the host's error: the component's, and what only the host can see. Leaves messages to the code that fails.
//!
//! Kinds are the contract's, and `Trap`.

use std::fmt;
use std::sync::Arc;

use crate::bindings::types;
use crate::printable::{self, MESSAGE_BYTES_MAX};

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the input: a setting, a record, an order of calls.
    Invalid,
    /// Try again later: the store, the network or the disk does not answer.
    Unavailable,
    /// Fix credentials, permissions or the host's policy.
    Denied,
    /// Stop: data, saved state or a position is not what it should be.
    Corrupt,
    /// Use another instance: this one was torn down, or a call of it was cut off.
    Closed,
    /// Report it: this is a bug.
    Internal,
    /// The component broke a rule of its sandbox, or itself. Its instance is gone.
    Trap,
}

/// Why a call failed.
///
/// Its message tells all that is known, causes included; its [`source`](std::error::Error::source) is the first of the
/// causes as a value. Errors are equal whose words and advice are, whatever caused them.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after_ms: Option<u64>,
    /// Whether keys have ended that others may follow.
    awaits_keys: bool,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_ms: None, awaits_keys: false, cause: None }
    }

    /// What a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened and what to change, in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// When to try again, in milliseconds, where the store said so.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }

    /// Marks an error for want of keys that others may follow.
    #[must_use]
    pub(crate) fn awaiting_keys(mut self) -> Self {
        self.awaits_keys = true;
        self
    }

    /// Whether it is for want of keys that may be there in seconds: those of the settings never are.
    pub fn awaits_keys(&self) -> bool {
        self.awaits_keys
    }

    /// Sets when to try again.
    pub(crate) fn with_retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// Puts `context` before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Replaces the message.
    #[must_use]
    pub(crate) fn with_message(mut self, message: String) -> Self {
        self.message = message;
        self
    }

    /// Keeps what caused it, which the message tells already.
    #[must_use]
    pub(crate) fn caused_by(mut self, cause: Arc<dyn std::error::Error + Send + Sync>) -> Self {
        self.cause = Some(cause);
        self
    }

    /// An error whose message tells another one and its causes.
    pub(crate) fn of(kind: ErrorKind, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::new(kind, with_causes(&cause)).caused_by(Arc::new(cause))
    }

    /// An error of the runtime while the component ran.
    pub(crate) fn trap(error: &wasmtime::Error) -> Self {
        Self::new(ErrorKind::Trap, cut(&format!("the component trapped: {}", error.root_cause())))
    }
}

/// A message that came from a component, fit to be shown: cut to [`MESSAGE_BYTES_MAX`], and marked as cut.
pub(crate) fn cut(message: &str) -> String {
    printable::lines(message, MESSAGE_BYTES_MAX).into_owned()
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        let kind = match error.kind {
            types::ErrorKind::Invalid => ErrorKind::Invalid,
            types::ErrorKind::Unavailable => ErrorKind::Unavailable,
            types::ErrorKind::Denied => ErrorKind::Denied,
            types::ErrorKind::Corrupt => ErrorKind::Corrupt,
            types::ErrorKind::Closed => ErrorKind::Closed,
            types::ErrorKind::Internal => ErrorKind::Internal,
        };
        Self {
            kind,
            message: cut(&error.message),
            retry_after_ms: error.retry_after_ms,
            awaits_keys: false,
            cause: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Causes are other people's values, whose `Debug` may hold anything.
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("retry_after_ms", &self.retry_after_ms)
            .field("awaits_keys", &self.awaits_keys)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.retry_after_ms, self.awaits_keys) == (other.kind, other.retry_after_ms, other.awaits_keys)
            && self.message == other.message
    }
}

impl Eq for Error {}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// An error of whatever type, as the cause of another.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error and its causes on one line. A cause that the line already holds, word for word, is left out:
/// many errors repeat theirs.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !holds(&line, &text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// Whether a line holds a text that is no part of a longer word.
fn holds(line: &str, text: &str) -> bool {
    let is_free = |neighbour: Option<char>| !neighbour.is_some_and(char::is_alphanumeric);
    line.match_indices(text)
        .any(|(at, _)| is_free(line[..at].chars().next_back()) && is_free(line[at + text.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_one_byte_above_its_bound() {
        let longest = "x".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(cut(&longest), longest);
        assert_eq!(cut(&format!("{longest}y")), format!("{longest}… (1 bytes more)"));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn a_line_holds_every_cause_once() {
        let chain = |texts: &[&'static str]| {
            let link = |source, text: &&'static str| Some(Box::new(Link { text, source }));
            with_causes(&*texts.iter().rev().fold(None, link).unwrap())
        };
        assert_eq!(chain(&["it failed"]), "it failed");
        assert_eq!(chain(&["it failed", "the cause", "the root"]), "it failed: the cause: the root");
        assert_eq!(chain(&["it failed: the cause", "the cause", "the root"]), "it failed: the cause: the root");
        assert_eq!(chain(&["it failed: the root (7)", "the root"]), "it failed: the root (7)");
        assert_eq!(chain(&["it failed", "it"]), "it failed");
        assert_eq!(chain(&["it failed", "fail"]), "it failed: fail", "a part of a word is another");
        let error = crate::egress::upstream::Error::Terminated("the cause".into());
        assert_eq!(with_causes(&error), "the connection was ended early: the cause");
    }
}
