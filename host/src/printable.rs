//! Owns making text from components, stores and files safe to show on a terminal, in a log, or in an error. Leaves what to
//! show to the callers.
//!
//! A terminal obeys control characters: they set its title, clear its screen, overwrite lines, reverse the direction of
//! writing. Here they become visible escapes, and text that is too long is cut.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// Bytes of a message. Our longest one lists every wrong setting and takes 2 KiB; a screen holds 8.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Text as one line: newlines are escaped too. Cut after about `bytes_max` bytes, with a note.
#[must_use]
pub fn line(text: &str, bytes_max: usize) -> Cow<'_, str> {
    shown(text, bytes_max, |c| is_obeyed(c) || c == '\n')
}

/// Text whose lines stand on lines of their own. Cut as by [`line()`].
#[must_use]
pub fn lines(text: &str, bytes_max: usize) -> Cow<'_, str> {
    shown(text, bytes_max, is_obeyed)
}

/// JSON in which characters that a terminal obeys and JSON does not escape are escaped. It stays the same value.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // None of these occurs outside of strings in JSON; all of them have four digits.
        if is_obeyed(c) {
            write!(escaped, "\\u{:04x}", u32::from(c)).expect("a string takes all");
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

fn shown(text: &str, bytes_max: usize, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    let (kept, left) = text.split_at(text.floor_char_boundary(bytes_max));
    if left.is_empty() && !kept.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(kept.len() + 32);
    for c in kept.chars() {
        if is_escaped(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if !left.is_empty() {
        write!(shown, "… ({} bytes more)", left.len()).expect("a string takes all");
    }
    Cow::Owned(shown)
}

/// Whether terminals or editors obey the character rather than show it. The newline is not counted.
fn is_obeyed(c: char) -> bool {
    match c {
        '\n' => false,
        // Marks and overrides of the direction of writing (<https://www.unicode.org/reports/tr9/>).
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        // Line ends other than `\n`.
        '\u{2028}' | '\u{2029}' => true,
        // C0, DEL, C1.
        c => c.is_control(),
    }
}

/// A length of time for people: `350 ms`, `12.3 s`, `4 min 5 s`, `2 h 10 min`.
#[must_use]
pub fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{} ms", length.as_millis()),
        1..60 => format!("{:.1} s", length.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_instead() {
        for (text, wanted) in [
            ("plain, späße, 日本 \u{1f600}", "plain, späße, 日本 \u{1f600}"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("\u{7}\u{8}\r\t\0\u{7f}", "\\u{7}\\u{8}\\r\\t\\u{0}\\u{7f}"),
            ("\u{80}\u{9b}\u{9f}", "\\u{80}\\u{9b}\\u{9f}"),
            ("\u{202e}\u{2066}\u{200f}\u{61c}", "\\u{202e}\\u{2066}\\u{200f}\\u{61c}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
        ] {
            assert_eq!(lines(text, 100), wanted);
            assert_eq!(line(text, 100), wanted);
        }
        assert_eq!(lines("a\nb", 100), "a\nb");
        assert_eq!(line("a\nb", 100), "a\\nb");
    }

    #[test]
    fn long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(line("abcd", 4), "abcd");
        assert_eq!(line("abcde", 4), "abcd… (1 bytes more)");
        assert_eq!(line("abcé", 4), "abc… (2 bytes more)");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "a\u{9b}\u{7f}": "\u{1b}\u{202e}\n é" });
        let text = format!("{value:#}");
        let escaped = json(&text);
        assert!(!escaped.contains(is_obeyed), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn durations_have_units_that_people_use() {
        for (ms, text) in
            [(0, "0 ms"), (999, "999 ms"), (12_340, "12.3 s"), (245_000, "4 min 5 s"), (7_800_000, "2 h 10 min")]
        {
            assert_eq!(length(Duration::from_millis(ms)), text);
        }
    }
}
