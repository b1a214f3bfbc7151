//! Owns looking at what a source would read, without reading it: the objects under its prefix, page by page, and what its settings make of
//! each. Leaves the requests to the component's client, which asks as a check does, and showing the objects to the caller.

use std::time::{Duration, SystemTime};

use s3_connector::config::{SourceConfig, Start};
use s3_connector::limits::LIST_PAGE_KEYS;
use s3_connector::s3::{self, ListStart, ObjectEntry};
use s3_connector::time::Timestamp;

use super::requests::{Client, Ports};
use crate::bindings::types;
use crate::connector::Connector;
use crate::connector::explain::explain;
use crate::connector::instance::InstanceOptions;
use crate::connector::settings::{self, Settings, Target};
use crate::connector::source::Source;
use crate::egress::Traffic;
use crate::error::{Error, ErrorKind, Result};

/// The objects that a source of some settings would read, as they are now.
///
/// It knows what a listing shows: keys, sizes and times. An archived object, which a source skips, and one that may not be read are among
/// them.
///
/// # Examples
///
/// ```no_run
/// # async fn example(connector: s3_connector_host::Connector) -> s3_connector_host::Result<()> {
/// let settings = s3_connector_host::Settings::from([("aws.bucket".to_owned(), "photos".to_owned())]);
/// let mut listing = connector.listing(settings).await?;
/// while let Some(page) = listing.next_page().await? {
///     for object in page {
///         println!("{} {:?}", object.key, object.choice);
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Listing {
    /// It holds the way out.
    source: Source,
    client: Client,
    config: SourceConfig,
    next: Option<ListStart>,
}

/// An object in a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// When it was stored, by the store's clock.
    pub modified: SystemTime,
    /// Its bytes.
    pub bytes: u64,
    /// Its ETag, without quotes.
    pub etag: String,
    /// What the settings make of it.
    pub choice: Choice,
}

/// What settings make of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// It is read.
    Read,
    /// `keys.include` or `keys.exclude` leave it out.
    OtherKey,
    /// It was stored before `start`.
    BeforeStart,
    /// It is larger than `objectBytes`; `unreadable` says what happens at it.
    TooLarge,
}

impl Connector {
    /// Begins to list what a source of these settings would read.
    ///
    /// # Errors
    ///
    /// As [`source`](Self::source).
    pub async fn listing(&self, settings: Settings) -> Result<Listing> {
        let source = self.source(settings.clone(), InstanceOptions::default()).await?;
        let parameters = &self.specification().source_parameters;
        let config = settings::prepare(settings, parameters, self.environment()).await.source_config()?;
        let target = source.target();
        let client = s3::Client::new(Ports::new(target.egress.for_host()), target.bucket.clone());
        Ok(Listing { source, client, config, next: Some(ListStart::First) })
    }
}

impl Listing {
    /// The next objects, at most 1,000, in the order of keys; `None` at the end. The future holds the component's client, hence is not
    /// `Send`.
    ///
    /// # Errors
    ///
    /// What the store answers. The same page is asked for again by the next call.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ListedObject>>> {
        let Some(start) = self.next.clone() else { return Ok(None) };
        let target = self.source.target();
        let since = target.egress.now();
        let page = match self.client.list_objects_v2(&self.config.bucket.prefix, &start, LIST_PAGE_KEYS).await {
            Ok(page) => page,
            Err(error) => return Err(explain(lower(error.explain(&target.bucket)), since, target).await),
        };
        self.next = page.next;
        Ok(Some(page.entries.into_iter().map(|entry| self.judge(entry)).collect()))
    }

    /// Where it lists, for people: `s3://BUCKET/PREFIX`.
    #[must_use]
    pub fn place(&self) -> String {
        let Target { bucket, .. } = self.source.target();
        format!("s3://{}/{}", bucket.bucket, bucket.prefix)
    }

    /// The prefix of the keys that are listed.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.config.bucket.prefix
    }

    /// How often the source would look for changes.
    #[must_use]
    pub fn polling_period(&self) -> Duration {
        self.config.polling_period
    }

    /// Whether the source would begin with changes alone (`start: now`).
    #[must_use]
    pub fn begins_now(&self) -> bool {
        self.config.start == Start::Now
    }

    /// What went over the wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.source.traffic()
    }

    fn judge(&self, entry: ObjectEntry) -> ListedObject {
        let rest = entry.key.strip_prefix(&self.config.bucket.prefix).unwrap_or(&entry.key);
        let choice = if !self.config.keys.takes(rest) {
            Choice::OtherKey
        } else if is_before(entry.last_modified, self.config.start) {
            Choice::BeforeStart
        } else if self.config.object_bytes_max.is_some_and(|bytes_max| entry.size > bytes_max) {
            Choice::TooLarge
        } else {
            Choice::Read
        };
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.last_modified.seconds());
        ListedObject { key: entry.key, modified, bytes: entry.size, etag: entry.etag, choice }
    }
}

/// Whether a source that begins at `start` has no interest in what was stored at that time.
fn is_before(time: Timestamp, start: Start) -> bool {
    match start {
        Start::Snapshot => false,
        Start::Now => true,
        Start::Time(since) => time < since.floor_seconds(),
    }
}

/// The error as an instance would report it.
fn lower(error: s3_connector::error::Error) -> types::Error {
    use s3_connector::error::ErrorKind as Kind;
    let kind = match error.kind {
        Kind::Invalid => types::ErrorKind::Invalid,
        Kind::Unavailable => types::ErrorKind::Unavailable,
        Kind::Denied => types::ErrorKind::Denied,
        Kind::Corrupt => types::ErrorKind::Corrupt,
        Kind::Closed => types::ErrorKind::Closed,
        Kind::Internal => types::ErrorKind::Internal,
    };
    types::Error { kind, message: error.message, retry_after_ms: error.retry_after_ms }
}

impl settings::Prepared {
    /// What a source makes of these settings.
    fn source_config(&self) -> Result<SourceConfig> {
        SourceConfig::parse(self.all()).map_err(|error| Error::new(ErrorKind::Invalid, error.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_in_the_second_of_the_start_is_read() {
        let at = Timestamp::from_seconds;
        assert!(!is_before(at(5), Start::Snapshot));
        assert!(is_before(at(5), Start::Now));
        let start = Start::Time(Timestamp::parse_rfc3339("1970-01-01T00:00:05.500Z").expect("a time"));
        assert_eq!([4, 5, 6].map(|second| is_before(at(second), start)), [true, false, false]);
    }
}
