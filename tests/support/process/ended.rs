//! Owns how a process ended and what it printed, with what must hold however it ended.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3_connector::record::{NoBody, json};

/// A record as a line holds it.
pub type Record = s3_connector::record::Record<NoBody>;

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The command, for messages.
    text: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said.
    pub stderr: String,
}

impl Ended {
    pub(super) fn new(text: String, status: ExitStatus, stdout: Vec<u8>, stderr: &[u8]) -> Self {
        let stderr = String::from_utf8_lossy(stderr).into_owned();
        for bug in ["panicked at", "this is a bug"] {
            assert!(!stderr.contains(bug), "{text} broke down:\n{stderr}");
        }
        Self { text, code: status.code(), signal: status.signal(), stdout, stderr }
    }

    /// Fails if one of these was printed, as it is or in base64.
    pub(super) fn keeps(&self, secrets: &[String]) {
        for secret in secrets {
            for form in [secret.clone(), STANDARD.encode(secret)] {
                let found = [&self.stdout, self.stderr.as_bytes()]
                    .iter()
                    .any(|printed| printed.windows(form.len()).any(|window| window == form.as_bytes()));
                assert!(!found, "{} printed a secret", self.text);
            }
        }
    }

    /// Fails unless it ended with this code.
    #[must_use]
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert!(
            self.code == Some(code),
            "{} ended with {:?} (signal {:?}) instead of {code}:\n{}",
            self.text,
            self.code,
            self.signal,
            self.stderr
        );
        self
    }

    /// Fails unless it ended well.
    #[must_use]
    #[track_caller]
    pub fn well(self) -> Self {
        self.with_code(0)
    }

    /// Fails unless its stderr holds each of these.
    #[must_use]
    #[track_caller]
    pub fn saying(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{} did not say `{word}` but:\n{}", self.text, self.stderr);
        }
        self
    }

    /// Its stdout as text.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it printed: whole lines, and what follows the last of them.
    pub fn lines(&self) -> (Vec<&[u8]>, &[u8]) {
        let end = self.stdout.iter().rposition(|byte| *byte == b'\n');
        let (whole, torn) = self.stdout.split_at(end.map_or(0, |end| end + 1));
        let lines = whole.split_inclusive(|byte| *byte == b'\n').collect();
        (lines, torn)
    }

    /// The records of its whole lines. What was cut off must not look like one more.
    ///
    /// # Panics
    ///
    /// If a line is no record.
    #[track_caller]
    pub fn records(&self) -> Vec<Record> {
        let decode = |line: &[u8]| {
            json::decode_line(line).unwrap_or_else(|error| {
                let line = String::from_utf8_lossy(line);
                panic!("{} printed {line:?}: {error}", self.text)
            })
        };
        self.lines().0.into_iter().map(decode).collect()
    }
}
