//! A point in time, in milliseconds, and the text forms in which S3 writes it.
//!
//! Reading a clock is the ports' business.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
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
        Self(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// This time without its part of a second.
    #[must_use]
    pub fn floor_seconds(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// Reads the form of listings, `2009-10-12T17:50:30.000Z`.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        humantime::parse_rfc3339(text)
            .ok()
            .and_then(Self::from_system_time)
    }

    /// Reads the form of headers, `Mon, 12 Oct 2009 17:50:30 GMT`.
    pub fn parse_http_date(text: &str) -> Option<Self> {
        httpdate::parse_http_date(text)
            .ok()
            .and_then(Self::from_system_time)
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

    /// Makes a timestamp of the standard library's time; none before the epoch.
    pub fn from_system_time(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok().map(Self)
    }
}

/// The end of the year 9999, the last that RFC 3339 can write.
const MAX_MS: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_s3_are_read() {
        let expected = Timestamp(1_255_369_830_000);
        assert_eq!(
            Timestamp::parse_rfc3339("2009-10-12T17:50:30.000Z"),
            Some(expected)
        );
        assert_eq!(
            Timestamp::parse_rfc3339("2009-10-12T17:50:30Z"),
            Some(expected)
        );
        assert_eq!(
            Timestamp::parse_http_date("Mon, 12 Oct 2009 17:50:30 GMT"),
            Some(expected)
        );
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }

    #[test]
    fn milliseconds_are_written_where_there_are_some() {
        assert_eq!(
            Timestamp(1_255_369_830_000).to_rfc3339(),
            "2009-10-12T17:50:30Z"
        );
        assert_eq!(
            Timestamp(1_255_369_830_007).to_rfc3339(),
            "2009-10-12T17:50:30.007Z"
        );
        assert_eq!(Timestamp(u64::MAX).to_rfc3339(), "9999-12-31T23:59:59.999Z");
    }
}
