//! Owns how many lines of one origin reach the log, and how long they are: so many a second, the rest counted and told
//! of. Leaves the lines and their levels to whoever writes them.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::printable;

/// Lines of one origin that are let through in one second. Ours logs a line for each retry and each object that it passes
/// over, tens in a bad second; with lines of [`LINE_BYTES_MAX`] these are 1 MiB per second.
pub(crate) const LINES_MAX: u32 = 256;

/// Bytes of a line before control characters are escaped. A key has 1 KiB, and so has an error document of S3's.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 10;

const SECOND: Duration = Duration::from_secs(1);

/// Lets lines of one origin through.
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

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may be logged; so many before it were not, and nobody was told of them.
    Logged {
        /// Lines that were dropped.
        dropped: u64,
    },
    /// It is dropped, and counted.
    Dropped,
}

impl Flood {
    pub(crate) fn new() -> Self {
        Self { window: Mutex::new(Window { began: Instant::now(), lines: 0, dropped: 0 }) }
    }

    /// Takes a line in.
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

    /// Lines that were dropped and that nobody was told of, at the end.
    pub(crate) fn left(&self) -> u64 {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut window.dropped)
    }
}

/// Text of others as a line of the log.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    printable::line(text, LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_lines_a_second_pass_and_the_rest_is_counted() {
        let flood = Flood::new();
        for _ in 0..LINES_MAX {
            assert_eq!(flood.admit(), Admission::Logged { dropped: 0 });
        }
        for _ in 0..3 {
            assert_eq!(flood.admit(), Admission::Dropped);
        }
        tokio::time::advance(SECOND).await;
        // Told of once.
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
