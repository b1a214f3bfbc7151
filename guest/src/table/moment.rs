//! Owns dates, times and timestamps that texts say: as RFC 3339 has them, and as `rows` writes them. Leaves their columns to
//! `cell`.

use crate::calendar::Date;

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// The days since 1970 of `2026-11-28`. A year of more than four digits has a sign.
pub(super) fn date(text: &str) -> Option<i64> {
    let (year, rest) = match text.as_bytes().first()? {
        b'+' | b'-' => {
            let end = 1 + text[1..].find('-')?;
            (text.get(..end)?, text.get(end..)?)
        }
        _ => (text.get(..4)?, text.get(4..)?),
    };
    let digits = year.trim_start_matches(['+', '-']);
    if digits.len() < 4 || digits.len() > 7 || year.len() - digits.len() > 1 {
        return None;
    }
    let year = i64::from(number(digits)?) * if year.starts_with('-') { -1 } else { 1 };
    let [b'-', _, _, b'-', _, _] = rest.as_bytes() else { return None };
    let (month, day) = (number(rest.get(1..3)?)?, number(rest.get(4..6)?)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    let date = Date { year: year.into(), month: month as u8, day: day as u8 };
    if (1..=days).contains(&day) { date.days().try_into().ok() } else { None }
}

/// The nanoseconds since midnight of `12:34:56.789`.
pub(super) fn time(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let [_, _, b':', _, _, b':', _, _] = whole.as_bytes() else { return None };
    let part = |at: usize, max: u32| number(whole.get(at..at + 2)?).filter(|part| *part <= max);
    let (hours, minutes, seconds) = (part(0, 23)?, part(3, 59)?, part(6, 59)?);
    let nanos = match fraction {
        None => 0,
        Some(digits) if (1..=9).contains(&digits.len()) => {
            i128::from(number(digits)?) * 10_i128.pow(9 - digits.len() as u32)
        }
        Some(_) => return None,
    };
    Some(i128::from(hours * 3600 + minutes * 60 + seconds) * SECOND + nanos)
}

/// The nanoseconds since 1970 of `2026-11-28T12:34:56.789Z`; of one without a zone where it is not to have one.
pub(super) fn timestamp(text: &str, is_utc: bool) -> Option<i128> {
    let at = text.find(['T', 't', ' '])?;
    let (day, clock) = (text.get(..at)?, text.get(at + 1..)?);
    let (clock, offset) = if is_utc { zone(clock)? } else { (clock, 0) };
    let seconds = i128::from(date(day)? * DAY - offset);
    Some(seconds * SECOND + time(clock)?)
}

/// A time without its zone, and how many seconds that is ahead of UTC.
fn zone(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let at = clock.len().checked_sub(6)?;
    let (clock, zone) = (clock.get(..at)?, clock.get(at..)?);
    let [sign @ (b'+' | b'-'), _, _, b':', _, _] = zone.as_bytes() else { return None };
    let hours = number(zone.get(1..3)?).filter(|hours| *hours < 24)?;
    let minutes = number(zone.get(4..6)?).filter(|minutes| *minutes < 60)?;
    let seconds = i64::from(hours * 3600 + minutes * 60);
    Some((clock, if *sign == b'-' { -seconds } else { seconds }))
}

fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2026-11-28", 20_785),
            ("0000-01-01", -719_528),
            ("-0001-12-31", -719_529),
            ("+10000-01-01", 2_932_897),
        ] {
            assert_eq!(date(text), Some(days), "{text}");
        }
        assert_eq!(time("12:34:56.5"), Some(45_296_500_000_000));
        let noon = Some(1_795_867_200 * SECOND);
        for text in ["2026-11-28T12:00:00Z", "2026-11-28 14:30:00+02:30", "2026-11-28t11:00:00.000-01:00"] {
            assert_eq!(timestamp(text, true), noon, "{text}");
        }
        assert_eq!(timestamp("2026-11-28T12:00:00", false), noon);
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "+1-01-01",
            "12345-01-01",
            "2026-11-28x",
            "é",
            "20é6-1",
        ] {
            assert_eq!(date(text), None, "{text}");
        }
        for text in ["24:00:00", "12:00", "12:00:60", "12:00:00.", "12:00:00.1234567890", "+1:00:00", "12:00:00Z"] {
            assert_eq!(time(text), None, "{text}");
        }
        for text in ["2026-11-28T12:00:00", "2026-11-28", "2026-11-28T12:00:00+2", "2026-11-28T12:00:00+24:00"] {
            assert_eq!(timestamp(text, true), None, "{text}");
        }
        assert_eq!(timestamp("2026-11-28T12:00:00Z", false), None);
    }
}
