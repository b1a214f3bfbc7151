//! Owns lines as rows: bytes without the end of the line. Leaves JSON in lines to `json`.

use bytes::Bytes;
use memchr::memchr;

use super::text::{Framing, Step, too_long};
use super::{Broken, Content};

/// Finds lines.
#[derive(Default)]
pub(super) struct Lines {
    finder: LineFinder,
}

impl Framing for Lines {
    fn step(&mut self, text: &[u8], is_end: bool) -> Result<Step, Broken> {
        Ok(match self.finder.find(text, is_end) {
            Found::Line { used, line } => {
                Step::Row { used, content: Content::Raw(Bytes::copy_from_slice(&text[..line])) }
            }
            Found::Long { used } => Step::Row { used, content: too_long() },
            Found::More => Step::More,
            Found::End => Step::End,
        })
    }

    fn pass_over(&mut self, _: &[u8]) -> bool {
        self.finder.pass_over();
        true
    }
}

/// Finds the ends of lines, and looks at each byte once.
#[derive(Default)]
pub(super) struct LineFinder {
    /// Bytes of the text in which there is no end.
    scanned: usize,
    /// Whether the beginning of the line was passed over.
    is_long: bool,
}

/// What a text begins with.
pub(super) enum Found {
    /// A line.
    Line {
        /// Bytes with its end.
        used: usize,
        /// Bytes without.
        line: usize,
    },
    /// The end of a line whose beginning was passed over.
    Long {
        /// Bytes with its end.
        used: usize,
    },
    /// The beginning of a line.
    More,
    /// Nothing.
    End,
}

impl LineFinder {
    pub(super) fn find(&mut self, text: &[u8], is_end: bool) -> Found {
        match memchr(b'\n', &text[self.scanned..]) {
            Some(at) => {
                let end = self.scanned + at;
                self.scanned = 0;
                if std::mem::take(&mut self.is_long) {
                    return Found::Long { used: end + 1 };
                }
                let line = if text[..end].ends_with(b"\r") { end - 1 } else { end };
                Found::Line { used: end + 1, line }
            }
            None if !is_end => {
                self.scanned = text.len();
                Found::More
            }
            None if std::mem::take(&mut self.is_long) => {
                self.scanned = 0;
                Found::Long { used: text.len() }
            }
            None if text.is_empty() => Found::End,
            // What follows the last end is a line too, also without one of its own.
            None => {
                self.scanned = 0;
                Found::Line { used: text.len(), line: text.len() }
            }
        }
    }

    /// What there is of a line is passed over: the next text begins after it.
    pub(super) fn pass_over(&mut self) {
        (self.scanned, self.is_long) = (0, true);
    }
}
