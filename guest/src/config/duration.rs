//! Durations in Go's syntax, as Conduit's settings write them: `300ms`, `1.5h`, `1m30s`.
//!
//! Only positive durations are taken: a period or delay of zero would spin or never end.

use std::time::Duration;

const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// The longest duration that Go can hold, about 292 years.
const SECONDS_MAX: f64 = 9_223_372_036.0;

/// Reads a positive duration.
///
/// # Errors
///
/// What is expected instead, to follow "must be".
pub fn parse(text: &str) -> Result<Duration, String> {
    const SHAPE: &str = "a duration such as 500ms, 1s or 1m30s";
    if text.starts_with('-') || text.trim_start_matches('+') == "0" {
        return Err("a duration greater than 0".to_owned());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return Err(SHAPE.to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: f64 = number.parse().map_err(|_| SHAPE.to_owned())?;
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| SHAPE.to_owned())?;
        seconds += number * scale;
        rest = tail;
    }
    if seconds <= 0.0 {
        return Err("a duration greater than 0".to_owned());
    }
    if seconds > SECONDS_MAX {
        return Err("a duration below 292 years".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
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
    fn zero_negative_and_malformed_durations_are_refused() {
        for text in ["", "0", "0s", "-1s", "1", "s", "1d", "1s2", "1..5s", "9999999h", "+", "one second"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
