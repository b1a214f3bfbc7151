//! Owns moments as the text that Go's programs write. Leaves where they stand to `log` and `destination::avro`.

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const SIX_DIGITS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// A moment by its nanoseconds since 1970, with as many digits of its second as it has; `None` before the year 0 or after 9999.
pub(super) fn shortest(nanos: i128) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

/// A moment by its nanoseconds since 1970, with exactly six digits of its second; `None` as above.
pub(super) fn microseconds(nanos: i128) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(SIX_DIGITS).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_as_many_as_asked_for() {
        assert_eq!(shortest(1_700_000_000_000_000_000).unwrap(), "2023-11-14T22:13:20Z");
        assert_eq!(shortest(1_700_000_000_120_000_000).unwrap(), "2023-11-14T22:13:20.12Z");
        assert_eq!(shortest(-500_000_000).unwrap(), "1969-12-31T23:59:59.5Z");
        assert_eq!(microseconds(1_700_000_000_000_001_999).unwrap(), "2023-11-14T22:13:20.000001Z");
        assert_eq!(microseconds(0).unwrap(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(shortest(253_402_300_800_000_000_000), None);
    }
}
