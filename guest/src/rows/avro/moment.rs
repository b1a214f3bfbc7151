//! Owns dates and times as text: those of ISO 8601 that RFC 3339 permits, and years beyond its four digits. Leaves the
//! quotes around them to others.

use super::output::{Full, Output};

/// What a time is counted in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    per_second: i64,
    /// Digits after the second.
    digits: usize,
}

pub(super) const MILLIS: Unit = Unit { per_second: 1000, digits: 3 };
pub(super) const MICROS: Unit = Unit { per_second: 1_000_000, digits: 6 };
pub(super) const NANOS: Unit = Unit { per_second: 1_000_000_000, digits: 9 };

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Days of the 400 years after which the calendar repeats itself.
const CYCLE_DAYS: i64 = 146_097;

/// Days from March 1 of the year 0 to the epoch.
const EPOCH_DAYS: i64 = 719_468;

/// Writes the day that is that many days after the epoch.
pub(super) fn put_date(out: &mut Output, days: i64) -> Result<(), Full> {
    let (year, month, day) = date(days);
    // Beyond four digits a year has a sign, as ISO 8601 has it and Java prints it.
    if !(0..=9999).contains(&year) {
        out.put(if year < 0 { b"-" } else { b"+" })?;
    }
    let year = year.unsigned_abs();
    out.put_digits(year, 4.max(year.checked_ilog10().unwrap_or(0) as usize + 1))?;
    out.put(b"-")?;
    out.put_digits(month, 2)?;
    out.put(b"-")?;
    out.put_digits(day, 2)
}

/// Writes the time of day that is so long after midnight. `false` where no day has it.
pub(super) fn put_time(out: &mut Output, time: i64, unit: Unit) -> Result<bool, Full> {
    let (seconds, fraction) = (time.div_euclid(unit.per_second), time.rem_euclid(unit.per_second));
    if !(0..DAY_SECONDS).contains(&seconds) {
        return Ok(false);
    }
    let seconds = seconds.unsigned_abs();
    out.put_digits(seconds / 3600, 2)?;
    out.put(b":")?;
    out.put_digits(seconds / 60 % 60, 2)?;
    out.put(b":")?;
    out.put_digits(seconds % 60, 2)?;
    out.put(b".")?;
    out.put_digits(fraction.unsigned_abs(), unit.digits)?;
    Ok(true)
}

/// Writes the moment that is so long after the epoch.
pub(super) fn put_timestamp(out: &mut Output, time: i64, unit: Unit) -> Result<(), Full> {
    let day = DAY_SECONDS * unit.per_second;
    put_date(out, time.div_euclid(day))?;
    out.put(b"T")?;
    put_time(out, time.rem_euclid(day), unit)?;
    Ok(())
}

/// Year, month and day. Years are counted from March, so that a leap day is the last one of its year
/// ([the arithmetic](https://howardhinnant.github.io/date_algorithms.html#civil_from_days)).
fn date(days: i64) -> (i64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + later, month.unsigned_abs(), day.unsigned_abs())
}
