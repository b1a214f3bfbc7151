//! Owns finding the object that a read or a copy asks for, under its conditions. Leaves versions to the bucket, and how
//! an object is sent to the API.

use std::ops;
use std::time::SystemTime;

use s3s::dto::{ETagCondition, Range, Timestamp};

use super::clock;
use super::refusal::Refusal;
use super::store::Store;
use super::version::{self, Etag, ObjectHeaders};

/// What a read asks to hold.
#[derive(Debug, Default)]
pub(crate) struct ReadCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    /// An entity tag outweighs a time, as the table in
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html> has it.
    fn check(&self, etag: Etag, last_modified: SystemTime) -> Result<(), Refusal> {
        // Header dates have whole seconds.
        let last_modified = clock::truncate(last_modified, false);
        let not_modified = || {
            let refusal = Refusal::new(304, "NotModified", "Not Modified");
            let date = httpdate::fmt_http_date(last_modified);
            refusal.header("etag", format!("\"{}\"", etag.text())).header("last-modified", date)
        };
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !etag.meets(condition) => {
                return Err(Refusal::precondition_failed());
            }
            (None, Some(time)) if Timestamp::from(last_modified) > *time => {
                return Err(Refusal::precondition_failed());
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if etag.meets(condition) => Err(not_modified()),
            (None, Some(time)) if Timestamp::from(last_modified) <= *time => Err(not_modified()),
            _ => Ok(()),
        }
    }
}

/// An object that a read found.
pub(crate) struct Found {
    pub(crate) object: version::Object,
    pub(crate) last_modified: SystemTime,
    pub(crate) version_id: Option<String>,
    /// The bytes asked for, if not all.
    pub(crate) range: Option<ops::Range<u64>>,
}

impl Found {
    pub(crate) fn look_up(
        store: &Store,
        place: (&str, &str, Option<&str>),
        condition: &ReadCondition,
        range: Option<Range>,
    ) -> Result<Self, Refusal> {
        let (bucket, key, version_id) = place;
        if version_id == Some("") {
            return Err(Refusal::invalid_argument("Version id cannot be the empty string"));
        }
        store.read(bucket, |bucket| {
            let (version, object) = bucket.find(key, version_id)?;
            condition.check(object.etag, version.last_modified)?;
            let length = object.payload.len();
            let range = range.map(|range| satisfy(range, length)).transpose()?;
            Ok(Self {
                object: object.clone(),
                last_modified: version.last_modified,
                version_id: bucket.id_sent(version.id),
                range,
            })
        })
    }

    pub(crate) fn headers(&self, store: &Store) -> ObjectHeaders {
        let mut headers = self.object.headers.as_deref().cloned().unwrap_or_default();
        let default = || store.options().content_type_default.clone();
        headers.content_type = headers.content_type.or_else(default);
        headers
    }

    pub(crate) fn bytes(&self) -> ops::Range<u64> {
        self.range.clone().unwrap_or(0..self.object.payload.len())
    }

    pub(crate) fn content_length(&self) -> Option<i64> {
        let bytes = self.bytes();
        i64::try_from(bytes.end - bytes.start).ok()
    }

    pub(crate) fn content_range(&self) -> Option<String> {
        let range = self.range.as_ref()?;
        let length = self.object.payload.len();
        Some(format!("bytes {}-{}/{length}", range.start, range.end - 1))
    }
}

fn satisfy(range: Range, length: u64) -> Result<ops::Range<u64>, Refusal> {
    let satisfied = range.check(length).ok().filter(|range| !range.is_empty());
    satisfied.ok_or_else(|| {
        let refusal = Refusal::new(416, "InvalidRange", "The requested range is not satisfiable");
        refusal.header("content-range", format!("bytes */{length}"))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIME: SystemTime = SystemTime::UNIX_EPOCH;

    fn status(set: impl FnOnce(&mut ReadCondition)) -> Option<u16> {
        let mut condition = ReadCondition::default();
        set(&mut condition);
        condition.check(Etag::of(b"a"), TIME).err().map(|refusal| refusal.status)
    }

    #[test]
    fn entity_tags_outweigh_times_in_read_conditions() {
        let tag = |body: &[u8]| Some(ETagCondition::ETag(Etag::of(body).dto()));
        let before = || Some(Timestamp::from(TIME - Duration::from_secs(1)));
        let now = || Some(Timestamp::from(TIME));
        assert_eq!(status(|at| at.if_match = tag(b"a")), None);
        assert_eq!(status(|at| at.if_match = tag(b"b")), Some(412));
        assert_eq!(status(|at| at.if_none_match = tag(b"a")), Some(304));
        assert_eq!(status(|at| at.if_none_match = tag(b"b")), None);
        assert_eq!(status(|at| at.if_unmodified_since = before()), Some(412));
        assert_eq!(status(|at| at.if_unmodified_since = now()), None);
        assert_eq!(status(|at| at.if_modified_since = now()), Some(304));
        assert_eq!(status(|at| at.if_modified_since = before()), None);
        let outweighed = status(|at| {
            at.if_match = tag(b"a");
            at.if_unmodified_since = before();
        });
        assert_eq!(outweighed, None);
        let outweighed = status(|at| {
            at.if_none_match = tag(b"b");
            at.if_modified_since = now();
        });
        assert_eq!(outweighed, None);
    }

    #[test]
    fn range_beyond_the_object_is_refused() {
        assert_eq!(satisfy(Range::Suffix { length: 3 }, 5).unwrap(), 2..5);
        assert_eq!(satisfy(Range::Suffix { length: 9 }, 5).unwrap(), 0..5);
        assert_eq!(satisfy(Range::Int { first: 4, last: Some(9) }, 5).unwrap(), 4..5);
        assert_eq!(satisfy(Range::Int { first: 5, last: None }, 5).unwrap_err().status, 416);
        assert_eq!(satisfy(Range::Suffix { length: 1 }, 0).unwrap_err().status, 416);
    }
}
