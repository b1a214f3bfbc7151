//! Owns dates, times of day and timestamps as text, of any unit and on either side of 1970. Leaves which columns hold them to
//! the formats.

use std::fmt::{self, Display};

use crate::calendar::Date;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Digits after the seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl Unit {
    fn digits(self) -> usize {
        match self {
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }

    fn per_second(self) -> i64 {
        10_i64.pow(self.digits() as u32)
    }
}

/// A date, by its number of days since 1970-01-01: `2026-11-28`. Years of more than four digits have a sign, as in ISO 8601.
pub(super) fn date(days: i64) -> impl Display {
    let Date { year, month, day } = Date::of(days);
    fmt::from_fn(move |f| match year {
        0..=9999 => write!(f, "{year:04}-{month:02}-{day:02}"),
        _ => write!(f, "{year:+05}-{month:02}-{day:02}"),
    })
}

/// Whether a day has the time that is so many units after midnight.
pub(super) fn is_time_of_day(units: i64, unit: Unit) -> bool {
    (0..DAY * unit.per_second()).contains(&units)
}

/// A time of day, by its number of units since midnight: `12:34:56.789`.
pub(super) fn time(units: i64, unit: Unit) -> impl Display {
    let (seconds, rest) = (units.div_euclid(unit.per_second()), units.rem_euclid(unit.per_second()));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    fmt::from_fn(move |f| write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{rest:0digits$}", digits = unit.digits()))
}

/// A timestamp, by its number of units since 1970: `2026-11-28T12:34:56.789Z`, without the `Z` where it is one of no zone.
pub(super) fn timestamp(units: i64, unit: Unit, is_utc: bool) -> impl Display {
    let per_day = unit.per_second() * DAY;
    let (date, time) = (date(units.div_euclid(per_day)), time(units.rem_euclid(per_day), unit));
    fmt::from_fn(move |f| write!(f, "{date}T{time}{}", if is_utc { "Z" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_785, "2026-11-28"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_897, "+10000-01-01"),
        ] {
            assert_eq!(date(days).to_string(), text);
        }
        // It ends nowhere.
        assert!(date(i64::MIN).to_string().starts_with('-') && date(i64::MAX).to_string().starts_with('+'));
    }

    #[test]
    fn timestamps_have_the_digits_of_their_unit() {
        assert_eq!(timestamp(1_795_869_296_789, Unit::Millis, true).to_string(), "2026-11-28T12:34:56.789Z");
        assert_eq!(timestamp(-1, Unit::Micros, false).to_string(), "1969-12-31T23:59:59.999999");
        assert_eq!(timestamp(i64::MIN, Unit::Nanos, true).to_string(), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(time(86_399_999_999, Unit::Micros).to_string(), "23:59:59.999999");
    }
}
