//! Owns what must hold of durations, sizes and times: parser, pattern and an exact sum agree, and what is shown is read as the same.

use regex_lite::Regex;
use s3_connector::config::{duration, size};
use s3_connector::time::Timestamp;

use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "ns",
    "us",
    "µs",
    "μs",
    "ms",
    "s",
    "m",
    "h",
    ".",
    "+",
    "-",
    "KiB",
    "MB",
    "g",
    "T",
    "Z",
    "+00:00",
    "2026-11-28T20:00:00.000Z",
    "e",
    "_",
    "9223372036854775807",
    "18446744073709551615",
    " GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT",
];

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let text = &text[..text.floor_char_boundary(256)];
    any_duration(text);
    any_size(text);
    any_time(text);
}

thread_local! {
    static DURATION: [Regex; 2] = duration::patterns().map(|pattern| Regex::new(&pattern).expect("a pattern"));
    static SIZE: Regex = Regex::new(&size::pattern()).expect("a pattern");
}

fn any_duration(text: &str) {
    let matches = DURATION.with(|patterns| patterns.iter().all(|pattern| pattern.is_match(text)));
    match duration::parse(text) {
        Ok(read) => {
            assert!(matches, "an engine that goes by the pattern refuses it: {text:?}");
            let exact = exact(text).expect("each term is a number and a unit");
            assert_eq!(read.as_nanos(), exact, "{text:?}");
            note("duration");
        }
        Err(why) => {
            // Too long, or less than a nanosecond in each term.
            let is_beyond = || exact(text).is_none_or(|sum| sum == 0 || sum > i64::MAX as u128);
            assert!(!matches || is_beyond(), "the pattern takes it and the parser does not ({why}): {text:?}");
            note(why);
        }
    }
}

/// The sum of the terms as whole numbers of any size that matters, each cut off below a nanosecond.
fn exact(text: &str) -> Option<u128> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = 0_u128;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, tail) = rest.split_at(number);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let scale: u128 = match &tail[..unit] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let fraction = &fraction[..fraction.len().min(20)];
        // None where it is longer than Go's durations by far.
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let nanoseconds = whole.checked_mul(scale)?.checked_add(part * scale / 10_u128.pow(fraction.len() as u32))?;
        sum = sum.checked_add(nanoseconds)?;
        rest = &tail[unit..];
    }
    Some(sum)
}

fn any_size(text: &str) {
    let matches = SIZE.with(|pattern| pattern.is_match(text));
    match size::parse(text) {
        Some(bytes) => {
            assert_eq!(matches, bytes > 0, "{text:?}");
            assert_eq!(size::parse(&size::display(bytes)), Some(bytes), "{text:?}");
            note("size");
        }
        None => assert!(!matches || text.bytes().filter(u8::is_ascii_digit).count() > 9, "{text:?}"),
    }
}

fn any_time(text: &str) {
    let ways = [
        ("rfc3339", Timestamp::parse_rfc3339(text)),
        ("zoned", Timestamp::parse_zoned(text)),
        ("listed", Timestamp::parse_listed(text)),
        ("http", Timestamp::parse_http_date(text)),
    ];
    for (name, time) in ways {
        let Some(time) = time else { continue };
        note(name);
        let shown = time.to_rfc3339();
        if time.calendar().date.year <= 9999 {
            assert_eq!(Timestamp::parse_rfc3339(&shown), Some(time), "{text:?} as {shown:?}");
        }
        let calendar = time.calendar();
        assert_eq!(time.floor_seconds().seconds(), time.seconds());
        assert!(calendar.hour < 24 && calendar.minute < 60 && calendar.second < 60, "{text:?}");
    }
}
