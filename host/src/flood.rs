//! Owns how many lines of one origin reach the log per second, and how long they are; lines beyond that are counted. Leaves
//! the lines and their levels to the caller.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::printable;

/// Lines of one origin that are logged per second. Our component logs one line per retry and per skipped object, tens in a
/// bad second; with lines of [`LINE_BYTES_MAX`] this is 1 MiB per second.
pub(crate) const LINES_MAX: u32 = 256;

/// Bytes of a line before control characters are escaped. A key has 1 KiB, and so has an error document of S3.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 10;

const SECOND: Duration = Duration::from_secs(1);

/// Limits the rate of lines of one origin.
#[derive(Debug)]
pub(crate) struct Flood {
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: u32,
    dropped: u64,
}

/// Whether to log a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Log it, after a note about the lines that were dropped since the last note.
    Logged {
        /// Lines that were dropped.
        dropped: u64,
    },
    /// Drop it. It is counted.
    Dropped,
}

impl Flood {
    pub(crate) fn new() -> Self {
        Self { window: Mutex::new(Window { began: Instant::now(), lines: 0, dropped: 0 }) }
    }

    /// Decides about a line.
    pub(crate) fn admit(&self) -> Admission {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.elapsed() >= SECOND {
            window.began = Instant::now();
            window.lines = 0;
        }
        if window.lines == LINES_MAX {
            window.dropped += 1;
            return Admission::Dropped;
        }
        window.lines += 1;
        Admission::Logged { dropped: std::mem::take(&mut window.dropped) }
    }

    /// At the end: how many lines were dropped since the last note.
    pub(crate) fn left(&self) -> u64 {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut window.dropped)
    }
}

/// Text from outside as one line of the log.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    printable::line(text, LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bounded_number_of_lines_per_second_passes_and_the_rest_is_counted() {
        let flood = Flood::new();
        for _ in 0..LINES_MAX {
            assert_eq!(flood.admit(), Admission::Logged { dropped: 0 });
        }
        for _ in 0..3 {
            assert_eq!(flood.admit(), Admission::Dropped);
        }
        tokio::time::advance(SECOND).await;
        // Reported once.
        assert_eq!(flood.admit(), Admission::Logged { dropped: 3 });
        assert_eq!(flood.admit(), Admission::Logged { dropped: 0 });
        assert_eq!(flood.left(), 0);
        for _ in 2..=LINES_MAX {
            flood.admit();
        }
        assert_eq!(flood.left(), 1);
    }

    #[test]
    fn a_line_stays_one_and_within_its_length() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(one_line(&longest), longest);
        assert_eq!(one_line(&format!("{longest}yz")), format!("{longest}… (2 bytes more)"));
        assert_eq!(one_line("a\n2026-01-01 ERROR b"), "a\\n2026-01-01 ERROR b");
    }
}
