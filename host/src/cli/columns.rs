//! Owns how wide text is on a terminal: counting, cutting and breaking it by columns, of which wide characters take two. Leaves what is
//! obeyed rather than shown to `printable`.

use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns where nobody says how many there are, and the fewest and the most that are made use of.
const USUAL: usize = 80;
const MIN: usize = 40;
const MAX: usize = 500;

/// Columns of the terminal that is written to; `COLUMNS` holds over it.
pub(super) fn of(output: impl AsFd) -> usize {
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let asked = || tcgetwinsize(output).ok().map(|size| usize::from(size.ws_col));
    given.or_else(asked).filter(|columns| *columns > 0).unwrap_or(USUAL).clamp(MIN, MAX)
}

/// Columns that the text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Breaks a line into lines of at most so many columns.
pub(super) fn wrap(text: &str, columns: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let (line, after) = split(rest?, columns.max(2));
        rest = Some(after).filter(|after| !after.is_empty());
        Some(line)
    })
}

/// The longest beginning of so many columns, and what follows.
fn split(text: &str, columns: usize) -> (&str, &str) {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += c.width().unwrap_or(0);
        if taken > columns {
            return text.split_at(at);
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_the_edge() {
        assert_eq!(wrap("abcdef", 4).collect::<Vec<_>>(), ["abcd", "ef"]);
        assert_eq!(wrap("日本語", 5).collect::<Vec<_>>(), ["日本", "語"]);
        assert_eq!(wrap("", 4).collect::<Vec<_>>(), [""]);
    }
}
