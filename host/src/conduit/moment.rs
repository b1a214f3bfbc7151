//! Owns times as text with more digits than milliseconds have. Leaves the calendar to the component's `time`.

use s3_connector::time::Timestamp;

/// The time that many seconds after 1970, up to its seconds: `2023-11-14T22:13:20`.
pub(super) fn seconds(seconds: u64) -> String {
    let text = Timestamp(seconds.saturating_mul(1000)).to_rfc3339();
    text.trim_end_matches('Z').split('.').next().unwrap_or_default().to_owned()
}

/// A time with its nanoseconds, without the zeros at their end, as Go writes it.
pub(super) fn nanoseconds(nanos: u64) -> String {
    let (whole, rest) = (seconds(nanos / 1_000_000_000), nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{whole}Z");
    }
    let digits = format!("{rest:09}");
    format!("{whole}.{}Z", digits.trim_end_matches('0'))
}

/// A time with exactly six digits of its second.
pub(super) fn microseconds(nanos: u64) -> String {
    format!("{}.{:06}Z", seconds(nanos / 1_000_000_000), nanos % 1_000_000_000 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_as_many_as_asked_for() {
        assert_eq!(nanoseconds(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(nanoseconds(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(microseconds(1_700_000_000_000_001_999), "2023-11-14T22:13:20.000001Z");
        assert_eq!(microseconds(0), "1970-01-01T00:00:00.000000Z");
    }
}
