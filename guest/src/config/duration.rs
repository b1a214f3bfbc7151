//! Owns durations in Go's syntax, as Conduit's settings write them: `300ms`, `1.5h`, `1m30s`. Leaves which setting is one
//! to `config`.
//!
//! Only positive durations are taken: a period or delay of zero would spin or never end.

use std::time::Duration;

/// Units, in nanoseconds. Microseconds have two signs of their own, as in Go.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The longest duration that Go can hold, about 292 years.
const NANOSECONDS_MAX: u64 = i64::MAX as u64;

const SHAPE: &str = "a duration such as 500ms, 1s or 1m30s";
const POSITIVE: &str = "a duration greater than 0";
const TOO_LONG: &str = "a duration below 292 years";

/// Regular expressions that a duration matches, both: its form, and that it is not zero. How long it may be at most, and
/// that it has a whole nanosecond, they can't express.
pub fn patterns() -> [String; 2] {
    let units = UNITS.map(|(unit, _)| unit).join("|");
    [format!(r"^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)({units}))+$"), "[1-9]".to_owned()]
}

/// Parses a positive duration. What is below a nanosecond in a term is cut off, as in Go.
///
/// # Errors
///
/// What is expected instead, to follow "must be".
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    if text.starts_with('-') || text.trim_start_matches('+') == "0" {
        return Err(POSITIVE);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum: u64 = 0;
    if rest.is_empty() {
        return Err(SHAPE);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(SHAPE)?;
        sum = term(number, *scale)?.checked_add(sum).ok_or(TOO_LONG)?;
        rest = tail;
    }
    match sum {
        0 => Err(POSITIVE),
        1..=NANOSECONDS_MAX => Ok(Duration::from_nanos(sum)),
        _ => Err(TOO_LONG),
    }
}

/// A decimal number of units, in nanoseconds.
fn term(number: &str, scale: u64) -> Result<u64, &'static str> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(SHAPE);
    }
    let mut sum: u64 = 0;
    for digit in whole.bytes() {
        sum = sum.checked_mul(10).and_then(|sum| sum.checked_add(u64::from(digit - b'0'))).ok_or(TOO_LONG)?;
    }
    sum = sum.checked_mul(scale).ok_or(TOO_LONG)?;
    // An hour has 13 digits of nanoseconds: further ones add nothing, and fit beside them.
    let digits = &fraction[..fraction.len().min(15)];
    let (mut numerator, mut denominator) = (0_u128, 1_u128);
    for digit in digits.bytes() {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    let part = u64::try_from(u128::from(scale) * numerator / denominator).map_err(|_| TOO_LONG)?;
    sum.checked_add(part).ok_or(TOO_LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, millis) in [
            ("1s", 1000),
            ("1.5h", 5_400_000),
            ("1m30s", 90_000),
            ("100ms", 100),
            ("+2s", 2000),
            (".5s", 500),
            ("2000000ns", 2),
            ("3000µs", 3),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn nanoseconds_are_exact() {
        for (text, nanoseconds) in [
            ("1ns", 1),
            ("1.9ns", 1),
            ("0.000000001s", 1),
            ("0.1s0.2s", 300_000_000),
            ("1.1h", 3_960_000_000_000),
            ("0.33333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
        for text in ["9223372036854775808ns", "18446744073709551616ns", "9223372036.854775808s"] {
            assert_eq!(parse(text), Err(TOO_LONG), "{text}");
        }
        for text in ["0.1ns", "0.0000000001s", "0.0h"] {
            assert_eq!(parse(text), Err(POSITIVE), "{text}");
        }
    }

    #[test]
    fn zero_negative_and_malformed_durations_are_refused() {
        for text in
            ["", "0", "0s", "-1s", "1", "s", "1d", "1s2", "1..5s", "9999999h", "+", "one second", ".s", "1.2.3s"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
