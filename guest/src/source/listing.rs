//! Owns the pages of one listing, one after the other: which operation lists, where the next page begins, and the order
//! within a page. Leaves several at a time to `sweep`, and what the entries mean to `scan`.

use super::identity::NULL_VERSION;
use super::order::in_order;
use super::worker::Oddities;
use crate::config::BucketConfig;
use crate::error::Result;
use crate::limits;
use crate::ports::{Level, Ports};
use crate::s3::{self, Client, ListStart, Marker, ObjectEntry, Page, Trail, VersionEntry};
use crate::time::Timestamp;

use futures_util::future::LocalBoxFuture;
use std::rc::Rc;

/// Where a listing goes on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cursor {
    First,
    /// After this key, where an earlier listing was interrupted.
    After(String),
    Version(Marker),
    Object(ListStart),
}

#[cfg(any(test, feature = "testing"))]
impl Cursor {
    /// The key and the version that are sent; or a token, and that it is one.
    pub(super) fn place(&self) -> (Option<String>, String) {
        match self.clone() {
            Self::First | Self::Object(ListStart::First) => (None, String::new()),
            Self::After(key) | Self::Object(ListStart::After(key)) => (Some(key), String::new()),
            Self::Version(Marker { key, id }) => (Some(key), id),
            Self::Object(ListStart::Token(token)) => (Some(token), "token".to_owned()),
        }
    }
}

/// A page, in the order of keys and of storage.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) entries: Vec<VersionEntry>,
    /// The server's time when it answered.
    pub(super) date: Timestamp,
    /// Whether there is no further page.
    pub(super) is_last: bool,
    /// Whether the store lists versions.
    pub(super) has_versions: bool,
}

/// A page on its way.
pub(super) type PageFuture = LocalBoxFuture<'static, Answer>;

/// A page as it came, and whether the store lists versions.
pub(super) type Answer = s3::Result<(Page<VersionEntry, Cursor>, bool)>;

/// One listing of the prefix.
pub(super) struct Listing<P: Ports> {
    ports: P,
    client: Client<P>,
    oddities: Rc<Oddities>,
    has_versions: Option<bool>,
    /// Entries up to this key are passed over: some stores take a marker to be inclusive.
    after: Option<String>,
    next: Option<Cursor>,
    /// Where the page begins that was requested last.
    requested: Cursor,
    trail: Trail<Cursor>,
}

/// Warns that a store has no versions.
pub(super) fn warn_of_no_versions(ports: &impl Ports) {
    let line = "the store cannot list versions: of several changes of an object between two polls all but the last are \
                missed";
    ports.log(Level::Warn, line);
}

/// The operation that lists.
pub(super) fn operation(has_versions: bool) -> &'static str {
    if has_versions { "ListObjectVersions" } else { "ListObjectsV2" }
}

impl<P: Ports> Listing<P> {
    /// Begins a listing after a key, or of everything. `has_versions` is whether the store lists versions, where that is
    /// known.
    pub(super) fn new(
        ports: P,
        client: Client<P>,
        oddities: Rc<Oddities>,
        has_versions: Option<bool>,
        after: Option<String>,
    ) -> Self {
        let next = Some(after.clone().map_or(Cursor::First, Cursor::After));
        let requested = Cursor::First;
        Self { ports, client, oddities, has_versions, after, next, requested, trail: Trail::default() }
    }

    fn bucket(&self) -> &BucketConfig {
        self.client.config()
    }

    /// Requests the next page; `None` after the last.
    pub(super) fn request(&mut self) -> Option<PageFuture> {
        let cursor = self.next.take()?;
        self.requested = cursor.clone();
        let (ports, client, has_versions) = (self.ports.clone(), self.client.clone(), self.has_versions);
        Some(Box::pin(async move { request(&ports, &client, cursor, has_versions).await }))
    }

    /// Takes the page that was requested.
    pub(super) fn receive(&mut self, answer: Answer) -> Result<Listed> {
        let explain = |error: s3::Error| error.explain(self.client.config());
        let (mut page, has_versions) = answer.map_err(explain)?;
        self.trail.follow(operation(has_versions), has_versions, &page).map_err(explain)?;
        if !has_versions && self.has_versions != Some(false) {
            warn_of_no_versions(&self.ports);
        }
        note_page!(&self.requested, None);
        self.has_versions = Some(has_versions);
        self.next = page.next.take().filter(|_| !is_broken!(ListOnePage));
        if let Some(after) = &self.after {
            page.entries.retain(|entry| entry.object.key > *after);
        }
        let entries = in_order(page.entries, &self.oddities.interleaved);
        Ok(Listed { entries, date: page.date, is_last: self.next.is_none(), has_versions })
    }

    /// Whether a prefix was given.
    pub(super) fn has_prefix(&self) -> bool {
        !self.bucket().prefix.is_empty()
    }
}

fn versions(page: Page<VersionEntry, Marker>) -> Page<VersionEntry, Cursor> {
    let Page { entries, next, date, greatest } = page;
    Page { entries, next: next.map(Cursor::Version), date, greatest }
}

/// Requests a page.
pub(super) async fn request<P: Ports>(
    ports: &P,
    client: &Client<P>,
    cursor: Cursor,
    has_versions: Option<bool>,
) -> Answer {
    let prefix = &client.config().prefix;
    if has_versions != Some(false) {
        let marker = match &cursor {
            Cursor::Version(marker) => Some(marker.clone()),
            Cursor::After(key) => Some(Marker { key: key.clone(), id: String::new() }),
            Cursor::First | Cursor::Object(_) => None,
        };
        let marker = marker.map(|marker| match is_broken!(ForgetTheVersionMarker) {
            true => Marker { id: String::new(), ..marker },
            false => marker,
        });
        match client.list_object_versions(prefix, marker.as_ref()).await {
            Ok(page) => return Ok((versions(page), true)),
            // Only the very first answer may say so, and only twice: otherwise it is a gateway's bad moment.
            Err(error) if error.is_not_implemented() && has_versions.is_none() => {
                ports.sleep(limits::NO_VERSIONS_PAUSE).await;
                match client.list_object_versions(prefix, marker.as_ref()).await {
                    Err(error) if error.is_not_implemented() => {}
                    Err(error) => return Err(error),
                    Ok(page) => return Ok((versions(page), true)),
                }
            }
            Err(error) => return Err(error),
        }
    }
    let start = match cursor {
        Cursor::Object(start) => start,
        Cursor::After(key) => ListStart::After(key),
        Cursor::First | Cursor::Version(_) => ListStart::First,
    };
    let page = client.list_objects_v2(prefix, &start, limits::LIST_PAGE_KEYS).await?;
    let as_version = |object: ObjectEntry| VersionEntry {
        object,
        version_id: NULL_VERSION.to_owned(),
        is_latest: true,
        is_delete_marker: false,
    };
    let entries = page.entries.into_iter().map(as_version).collect();
    Ok((Page { entries, next: page.next.map(Cursor::Object), date: page.date, greatest: page.greatest }, false))
}
