//! Owns how wide text is on a terminal: counting, cutting and breaking it by columns, of which wide characters take two. Leaves what is
//! obeyed rather than shown to `printable`.

use std::borrow::Cow;
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

/// The text in at most so many columns; what is cut off leaves an ellipsis.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let (kept, _) = split(text, columns.saturating_sub(1));
    Cow::Owned(format!("{kept}…"))
}

/// The text in at most so many columns, without its middle: of a name, the end tells most.
pub(super) fn cut_middle(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let kept = columns.saturating_sub(1);
    let (start, _) = split(text, kept / 2);
    let mut end = text.len();
    for (at, c) in text.char_indices().rev() {
        if width(&text[at..]) > kept - kept / 2 {
            break;
        }
        end = if c.width() == Some(0) { end } else { at };
    }
    Cow::Owned(format!("{start}…{}", &text[end..]))
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
    fn text_is_cut_by_columns() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(cut_middle("2024/a-long-name.jpg", 11), "2024/…e.jpg");
        assert_eq!(cut_middle("日本語の写真", 7), "日…真");
        assert_eq!(cut_middle("short", 5), "short");
    }

    #[test]
    fn lines_break_at_the_edge() {
        assert_eq!(wrap("abcdef", 4).collect::<Vec<_>>(), ["abcd", "ef"]);
        assert_eq!(wrap("日本語", 5).collect::<Vec<_>>(), ["日本", "語"]);
        assert_eq!(wrap("", 4).collect::<Vec<_>>(), [""]);
    }
}
