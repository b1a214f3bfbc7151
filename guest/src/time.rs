//! Owns points in time, in milliseconds, and the text forms in which S3 writes them. Leaves reading a clock to the
//! ports.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::calendar::Date;

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Makes a timestamp from whole seconds.
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Nanoseconds since the epoch.
    pub fn nanoseconds(self) -> u128 {
        u128::from(self.0) * 1_000_000
    }

    /// The time `duration` earlier, or the epoch.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This time without its part of a second.
    #[must_use]
    pub fn floor_seconds(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// Reads the form of listings, `2009-10-12T17:50:30.000Z`.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        humantime::parse_rfc3339(text).ok().and_then(Self::from_system_time)
    }

    /// Reads RFC 3339 with any offset from UTC, with both letters in upper case: `2026-01-31T09:00:00.5+01:00`. `None`
    /// before the epoch.
    pub fn parse_zoned(text: &str) -> Option<Self> {
        let end = text.len().checked_sub(if text.ends_with('Z') { 1 } else { 6 })?;
        let (local, zone) = text.split_at_checked(end)?;
        let has_shape = |text: &str, shape: &str| {
            let fits = |(byte, shape): (u8, u8)| if shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
            text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
        };
        let (second, fraction) = local.split_at_checked(19)?;
        let is_fraction = fraction.is_empty() || has_shape(fraction, &".000000000"[..fraction.len().clamp(2, 10)]);
        // Leap seconds were never stamped.
        let is_local = has_shape(second, "0000-00-00T00:00:00") && &second[17..] < "60" && is_fraction;
        let is_zone = zone == "Z"
            || ["+00:00", "-00:00"].iter().any(|shape| has_shape(zone, shape))
                && &zone[1..3] < "24"
                && &zone[4..] < "60";
        let utc = Self::parse_rfc3339(&format!("{local}Z")).filter(|_| is_local && is_zone)?;
        let offset_ms = if zone == "Z" { 0 } else { offset_ms(zone)? };
        utc.0.checked_add_signed(-offset_ms).map(Self)
    }

    /// Reads the forms that stores write into listings: RFC 3339 in UTC as S3 does, with an offset, or without a zone,
    /// which counts as UTC; or the form of headers. `None` before the epoch, which servers in Go write for "unknown".
    pub fn parse_listed(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(time) = Self::parse_rfc3339(text).or_else(|| Self::parse_http_date(text)) {
            return Some(time);
        }
        let (date, time) = text.split_at_checked(10)?;
        let time = time.strip_prefix(['T', 't', ' '])?;
        let (time, offset_ms) = match time.rfind(['+', '-']) {
            Some(at) => (&time[..at], offset_ms(&time[at..])?),
            None => (time.trim_end_matches(['Z', 'z']), 0),
        };
        let utc = Self::parse_rfc3339(&format!("{date}T{time}Z"))?;
        utc.0.checked_add_signed(-offset_ms).map(Self)
    }

    /// Reads the form of headers, `Mon, 12 Oct 2009 17:50:30 GMT`.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        httpdate::parse_http_date(text).ok().and_then(Self::from_system_time)
    }

    /// Writes RFC 3339 in UTC; milliseconds only where there are some.
    pub fn to_rfc3339(self) -> String {
        let time = UNIX_EPOCH + Duration::from_millis(self.0.min(MAX_MS));
        if self.0.is_multiple_of(1000) {
            humantime::format_rfc3339_seconds(time).to_string()
        } else {
            humantime::format_rfc3339_millis(time).to_string()
        }
    }

    /// The time as a calendar has it, in UTC.
    pub fn calendar(self) -> Calendar {
        let (days, second) = (self.seconds() / 86_400, self.seconds() % 86_400);
        Calendar {
            date: Date::of(days.cast_signed()),
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }

    /// Makes a timestamp of the standard library's time; `None` before the epoch.
    pub fn from_system_time(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok().map(Self)
    }
}

/// A time in UTC as a calendar has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// The date.
    pub date: Date,
    /// The hour, from 0 to 23.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second.
    pub second: u8,
}

/// Reads an offset from UTC, `+02:00` or `-0130`.
fn offset_ms(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text[1..].replace(':', "");
    let is_whole = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    let (hours, minutes) = is_whole.then(|| digits.split_at(2))?;
    let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
    Some(sign * minutes * 60_000)
}

/// The end of the year 9999, the last that RFC 3339 can write.
const MAX_MS: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_s3_are_read() {
        let expected = Timestamp(1_255_369_830_000);
        assert_eq!(Timestamp::parse_rfc3339("2009-10-12T17:50:30.000Z"), Some(expected));
        assert_eq!(Timestamp::parse_rfc3339("2009-10-12T17:50:30Z"), Some(expected));
        assert_eq!(Timestamp::parse_http_date("Mon, 12 Oct 2009 17:50:30 GMT"), Some(expected));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn a_time_with_its_zone_is_read() {
        let expected = Some(Timestamp(1_255_369_830_500));
        for text in [
            "2009-10-12T17:50:30.5Z",
            "2009-10-12T17:50:30.500999999Z",
            "2009-10-12T19:50:30.5+02:00",
            "2009-10-12T16:20:30.5-01:30",
            "2009-10-12T17:50:30.5-00:00",
        ] {
            assert_eq!(Timestamp::parse_zoned(text), expected, "{text}");
        }
        for text in [
            "",
            "Z",
            "2009-10-12",
            "2009-10-12T17:50:30",
            "2009-10-12 17:50:30Z",
            "2009-10-12t17:50:30Z",
            "2009-10-12T17:50:30z",
            "2009-10-12T17:50:60Z",
            "2009-10-12T17:50:30.Z",
            "2009-10-12T17:50:30+2:00",
            "2009-10-12T17:50:30+0200",
            "2009-10-12T17:50:30+24:00",
            "2009-10-12T17:50:30Z+02:00",
            "2009-10-12T17:50:30ü0:00",
            "2009-02-29T17:50:30Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:30:00+01:00",
        ] {
            assert_eq!(Timestamp::parse_zoned(text), None, "{text}");
        }
    }

    #[test]
    fn what_stores_write_into_listings_is_read() {
        let expected = Some(Timestamp(1_255_369_830_000));
        for text in [
            "2009-10-12T17:50:30.000Z",
            "2009-10-12T17:50:30Z",
            "2009-10-12t17:50:30z",
            "2009-10-12 17:50:30",
            "2009-10-12T17:50:30",
            "2009-10-12T17:50:30+00:00",
            "2009-10-12T19:50:30+02:00",
            "2009-10-12T16:20:30.0-0130",
            " 2009-10-12T17:50:30Z ",
            "Mon, 12 Oct 2009 17:50:30 GMT",
        ] {
            assert_eq!(Timestamp::parse_listed(text), expected, "{text}");
        }
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:30:00+01:00",
            "2009-10-12",
            "2009-10-12T17:50:30+2",
            "2009-10-12T17:50:30+ü:00",
            "ünreadable times",
            "1255369830",
            "yesterday",
        ] {
            assert_eq!(Timestamp::parse_listed(text), None, "{text}");
        }
    }

    #[test]
    fn a_calendar_agrees_with_the_text_on_every_day() {
        // Until the year 2500, with its leap days and the centuries that have none.
        let mut day_of_year = 0;
        for day in 0..193_600_u64 {
            let time = Timestamp::from_seconds(day * 86_400 + day % 86_400);
            let Calendar { date, hour, minute, second } = time.calendar();
            let Date { year, month, day } = date;
            day_of_year = if (month, day) == (1, 1) { 1 } else { day_of_year + 1 };
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
            assert_eq!((text, date.day_of_year()), (time.to_rfc3339(), day_of_year));
        }
    }

    #[test]
    fn milliseconds_are_written_where_there_are_some() {
        assert_eq!(Timestamp(1_255_369_830_000).to_rfc3339(), "2009-10-12T17:50:30Z");
        assert_eq!(Timestamp(1_255_369_830_007).to_rfc3339(), "2009-10-12T17:50:30.007Z");
        assert_eq!(Timestamp(u64::MAX).to_rfc3339(), "9999-12-31T23:59:59.999Z");
    }
}
