//! Owns where a source without a position begins, and how that is written. Leaves what it means for each version of a key
//! to `source`.

use std::borrow::Cow;

use super::setting::{Kind, Validation};
use crate::time::Timestamp;

/// Where a source without a position begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With every object that exists.
    Snapshot,
    /// With the changes from now on.
    Now,
    /// With the changes since then.
    Time(Timestamp),
}

/// `snapshot`, `now`, or a time of RFC 3339.
pub(super) struct WordOrTime;

impl Kind<Start> for WordOrTime {
    fn parse(&self, text: &str) -> Result<Start, Cow<'static, str>> {
        match text {
            "snapshot" => Ok(Start::Snapshot),
            "now" => Ok(Start::Now),
            time => Timestamp::parse_zoned(time)
                .map(Start::Time)
                .ok_or(Cow::Borrowed("snapshot, now, or a time since 1970 such as 2026-01-31T08:00:00Z")),
        }
    }

    fn validations(&self) -> Vec<Validation> {
        // Which months have 31 days it can't express.
        let date = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
        let minute = "([01][0-9]|2[0-3]):[0-5][0-9]";
        vec![Validation::Regex(format!(
            r"^(snapshot|now|{date}T{minute}:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-]{minute}))$"
        ))]
    }
}
