//! Owns S3 as this connector uses it: one method per operation, under S3's own names. Leaves retries to `retry`,
//! documents to `document`, errors to `error`, signing to the host, and records to the rest of the crate.
//!
//! Requests are plain and unsigned; every answer is checked and read into values.

pub mod document;
mod encoded_word;
pub mod error;
mod hedge;
mod multipart;
mod object;
mod put;
mod request;
mod retry;
mod slots;
mod trail;
pub mod xml;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

pub use document::{ErrorDocument, ObjectEntry, VersionEntry};
pub use error::Error;
pub use multipart::{Multipart, NewUpload, StoredPart};
pub use object::{Content, Object, Part, Pin};
pub use put::{NewObject, PutError, encode_metadata, is_plain_value};
pub use trail::Trail;

use crate::config::BucketConfig;
use crate::limits;
use crate::payload::Payload;
use crate::ports::{Body, Level, Method, Ports, Request, Response};
use crate::time::Timestamp;
use document::OddTimes;
use hedge::Hedges;
use object::user_metadata;
use request::Builder;
use retry::Pace;
pub use retry::Patience;
pub(crate) use slots::Slots;

/// A result of one operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A bucket on an S3 store. Clones share the pace of retries.
pub struct Client<P> {
    ports: P,
    config: Rc<BucketConfig>,
    pace: Rc<Pace>,
    hedges: Rc<Hedges>,
    retries: Rc<Cell<u64>>,
    /// Whether a warning about times that can't be read was logged.
    has_odd_times: Rc<Cell<bool>>,
    patience: Patience,
    /// The slots of which each request has one, if they are bounded.
    slots: Option<Rc<Slots>>,
}

impl<P: Clone> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            ports: self.ports.clone(),
            config: Rc::clone(&self.config),
            pace: Rc::clone(&self.pace),
            hedges: Rc::clone(&self.hedges),
            retries: Rc::clone(&self.retries),
            has_odd_times: Rc::clone(&self.has_odd_times),
            patience: self.patience,
            slots: self.slots.clone(),
        }
    }
}

/// A page of a listing.
#[derive(Debug)]
pub struct Page<T, M> {
    /// The entries of the page, in the store's order.
    pub entries: Vec<T>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<M>,
    /// The server's time when it answered.
    pub date: Timestamp,
    /// The greatest key on the page, whether or not its entry is kept.
    pub greatest: Option<String>,
}

/// Where a listing by `ListObjectsV2` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListStart {
    /// At the first key.
    First,
    /// After this key.
    After(String),
    /// Where the previous page ended.
    Token(String),
}

/// Where a listing of versions goes on.
///
/// Markers may be opaque (MinIO's are): they serve the next request alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The key, as the store wrote it.
    pub key: String,
    /// The version or upload within the key.
    pub id: String,
}

/// An object without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectHead {
    /// Bytes in the object, where the store says so.
    pub length: Option<u64>,
    /// User metadata by name.
    pub metadata: Vec<(String, String)>,
}

/// A bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketHead {
    /// Its region, where the store says so.
    pub region: Option<String>,
}

/// How a bucket was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketProbe {
    /// By HeadBucket.
    Found(BucketHead),
    /// By a listing, after HeadBucket was refused.
    Listed,
}

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It does.
    Enabled,
    /// It did, and keeps those that it has.
    Suspended,
    /// It never did.
    Never,
}

/// An object that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its version, where the bucket keeps any.
    pub version_id: Option<String>,
}

/// An object to be written.
#[derive(Clone, Debug)]
pub struct PutObject<'a> {
    /// The key.
    pub key: &'a str,
    /// All bytes.
    pub body: Payload,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// User metadata by name.
    pub metadata: &'a [(&'a str, &'a str)],
    /// Whether to write only where the key has no object.
    pub if_none_match: bool,
}

impl<P: Ports> Client<P> {
    /// Makes a client of the bucket.
    pub fn new(ports: P, config: BucketConfig) -> Self {
        Self {
            ports,
            config: Rc::new(config),
            pace: Rc::new(Pace::new()),
            hedges: Rc::default(),
            retries: Rc::default(),
            has_odd_times: Rc::default(),
            patience: Patience::RUNNING,
            slots: None,
        }
    }

    /// The same client with another patience.
    #[must_use]
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self { patience, ..self.clone() }
    }

    /// The same client for requests of which each has one of these slots, taken by the caller.
    pub(crate) fn in_slots(&self, slots: &Rc<Slots>) -> Self {
        Self { slots: Some(Rc::clone(slots)), ..self.clone() }
    }

    /// Waits, without the slot.
    pub(crate) async fn pause(&self, pause: Duration) {
        let pause = self.ports.sleep(pause);
        match &self.slots {
            Some(slots) => slots.without(pause).await,
            None => pause.await,
        }
    }

    /// The bucket's settings.
    pub fn config(&self) -> &BucketConfig {
        &self.config
    }

    /// Retried attempts so far.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// [HeadBucket](https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html): whether the bucket is
    /// there. [`Self::probe_bucket`] also learns why it is refused.
    pub async fn head_bucket(&self) -> Result<BucketHead> {
        let request = self.request(Method::Head, None).build();
        let response = self.answer("HeadBucket", &request).await?;
        let region = response.header("x-amz-bucket-region").map(str::to_owned);
        Ok(BucketHead { region })
    }

    /// Asks whether the bucket is there: by HeadBucket, and where that is refused by a listing of one key. The answer
    /// to a HEAD has no body, hence no code; the listing is refused for the same reason, and reports which.
    pub async fn probe_bucket(&self) -> Result<BucketProbe> {
        match self.head_bucket().await {
            Ok(head) => Ok(BucketProbe::Found(head)),
            // The other two are gateways' answers to an operation that they do not know.
            Err(refusal) if matches!(refusal.status(), Some(301 | 307 | 400 | 403 | 405 | 501)) => {
                self.probe_listing().await.map(|_| BucketProbe::Listed)
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Asks whether the bucket may be listed; the first key with the bucket's prefix.
    pub async fn probe_listing(&self) -> Result<Option<ObjectEntry>> {
        let page = self.list_objects_v2(&self.config.prefix, &ListStart::First, 1).await?;
        Ok(page.entries.into_iter().next())
    }

    /// [GetBucketVersioning](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html): whether
    /// the bucket keeps versions.
    pub async fn get_bucket_versioning(&self) -> Result<Versioning> {
        let request = self.request(Method::Get, None).query("versioning", "").build();
        let parse = document::bucket_versioning;
        let read = self.document("GetBucketVersioning", &request, parse);
        Ok(read.await?.1)
    }

    /// [ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html): a page of
    /// current objects, in the order of keys.
    pub async fn list_objects_v2(
        &self,
        prefix: &str,
        start: &ListStart,
        keys_max: u32,
    ) -> Result<Page<ObjectEntry, ListStart>> {
        let mut builder = self
            .request(Method::Get, None)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", &keys_max.to_string())
            .query("prefix", prefix);
        builder = match start {
            ListStart::First => builder,
            ListStart::After(key) => builder.query("start-after", key),
            ListStart::Token(token) => builder.query("continuation-token", token),
        };
        let operation = "ListObjectsV2";
        let parse = document::list_objects_v2;
        let (date, page) = self.document(operation, &builder.build(), parse).await?;
        let next = page.next.map(ListStart::Token);
        self.progresses(operation, page.truncated, next.as_ref(), Some(start))?;
        self.log_odd_times(operation, &page.odd_times);
        Ok(Page { greatest: greatest(&page.entries, |object| &object.key), entries: page.entries, next, date })
    }

    /// [ListObjectVersions](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html): a page
    /// of versions and delete markers. Both markers are sent: with the key alone, the other versions of a key
    /// that straddles the page would be skipped.
    pub async fn list_object_versions(
        &self,
        prefix: &str,
        start: Option<&Marker>,
    ) -> Result<Page<VersionEntry, Marker>> {
        let mut builder = self
            .request(Method::Get, None)
            .query("versions", "")
            .query("encoding-type", "url")
            .query("max-keys", &limits::LIST_PAGE_KEYS.to_string())
            .query("prefix", prefix);
        if let Some(marker) = start {
            builder = builder.query("key-marker", &marker.key);
            if !marker.id.is_empty() {
                builder = builder.query("version-id-marker", &marker.id);
            }
        }
        let operation = "ListObjectVersions";
        let parse = document::list_object_versions;
        let (date, page) = self.document(operation, &builder.build(), parse).await?;
        self.progresses(operation, page.truncated, page.next.as_ref(), start)?;
        self.log_odd_times(operation, &page.odd_times);
        Ok(Page {
            greatest: greatest(&page.entries, |version| &version.object.key),
            entries: page.entries,
            next: page.next,
            date,
        })
    }

    /// [HeadObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html): what the store knows
    /// of the object. A refusal has no body, hence no code.
    pub async fn head_object(&self, key: &str) -> Result<ObjectHead> {
        let request = self.request(Method::Head, Some(key)).build();
        let response = self.answer("HeadObject", &request).await?;
        Ok(ObjectHead {
            length: response.header("content-length").and_then(|v| v.parse().ok()),
            metadata: user_metadata(&response),
        })
    }

    /// [GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html): whether the object is
    /// these bytes. Reads no further than the first difference.
    pub async fn object_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let operation = "GetObject";
        let request = self.request(Method::Get, Some(key)).build();
        self.retrying(operation, async || {
            let mut body = self.exchange(operation, &request).await?.body;
            let mut rest = expected;
            while let Some(piece) = next_piece(operation, &mut body).await? {
                match rest.strip_prefix(piece.as_ref()) {
                    Some(more) => rest = more,
                    None => return Ok(false),
                }
            }
            Ok(rest.is_empty())
        })
        .await
    }

    /// [GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html): folds the object's
    /// bytes piece by piece, from `start`'s value, and again from there where the body breaks off. Stops after
    /// `bytes_max` bytes.
    pub async fn fold_object<T>(
        &self,
        key: &str,
        bytes_max: u64,
        start: impl Fn() -> T,
        take: impl Fn(&mut T, &[u8]),
    ) -> Result<T> {
        let operation = "GetObject";
        let request = self.request(Method::Get, Some(key)).build();
        self.retrying(operation, async || {
            let mut body = self.exchange(operation, &request).await?.body;
            let (mut taken, mut count) = (start(), 0);
            while let Some(piece) = next_piece(operation, &mut body).await? {
                count += piece.len() as u64;
                take(&mut taken, &piece);
                if count > bytes_max {
                    break;
                }
            }
            Ok(taken)
        })
        .await
    }

    /// [PutObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html): writes the object.
    pub async fn put_object(&self, object: &PutObject<'_>) -> Result<Stored> {
        let mut builder = self
            .request(Method::Put, Some(object.key))
            .header("content-type", object.content_type.to_owned())
            .body(object.body.clone());
        if object.if_none_match {
            builder = builder.header("if-none-match", "*".to_owned());
        }
        for (name, value) in object.metadata {
            builder = builder.extra_header(format!("x-amz-meta-{name}"), (*value).to_owned());
        }
        let operation = "PutObject";
        let request = self.to_be_stored(builder).build();
        self.retrying(operation, async || {
            let mut response = self.exchange(operation, &request).await?;
            let etag = response.header("etag").map(document::bare_etag);
            let version_id = response.header("x-amz-version-id").map(str::to_owned);
            let stored = Stored { etag: etag.unwrap_or_default(), version_id };
            // Some stores answer 200 and put the error into the body.
            let body = read_document(operation, &mut response.body).await?;
            match ErrorDocument::read(&body) {
                Some(found) => Err(Error::of_document(operation, 200, found)),
                None => Ok(stored),
            }
        })
        .await
    }

    /// [DeleteObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html): removes the object, or
    /// one version of it permanently, which the connector never does: that is for hosts that remove what they have written.
    pub async fn delete_object(&self, key: &str, version_id: Option<&str>) -> Result<()> {
        let mut builder = self.request(Method::Delete, Some(key));
        if let Some(version_id) = version_id {
            builder = builder.query("versionId", version_id);
        }
        self.answer("DeleteObject", &builder.build()).await.map(drop)
    }

    fn request(&self, method: Method, key: Option<&str>) -> Builder {
        Builder::new(&self.config, method, key)
    }

    /// Adds to the beginning of a write how the store is to keep the object, as far as settings say it.
    fn to_be_stored(&self, mut builder: Builder) -> Builder {
        for (name, value) in self.config.storage.headers() {
            builder = builder.header(name, value);
        }
        builder
    }

    /// Exchanges until there is a success, whose body is still unread.
    async fn answer(&self, operation: &'static str, request: &Request) -> Result<Response<P::Body>> {
        self.retrying(operation, async || self.exchange(operation, request).await).await
    }

    /// Exchanges until there is a whole document that can be read.
    async fn document<T>(
        &self,
        operation: &'static str,
        request: &Request,
        parse: impl Fn(&[u8]) -> std::result::Result<T, xml::Error>,
    ) -> Result<(Timestamp, T)> {
        self.retrying(operation, async || {
            let mut response = self.exchange(operation, request).await?;
            let date = response.header("date").and_then(Timestamp::parse_http_date);
            let body = read_document(operation, &mut response.body).await?;
            if let Some(found) = ErrorDocument::read(&body) {
                return Err(Error::of_document(operation, response.status, found));
            }
            let value = parse(&body).map_err(|e| Error::malformed(operation, e))?;
            // Stamps of objects may be whole seconds, as the store's own date is: none may be before it.
            let now = || self.ports.now().floor_seconds();
            Ok((date.unwrap_or_else(now), value))
        })
        .await
    }

    /// One attempt.
    async fn exchange(&self, operation: &'static str, request: &Request) -> Result<Response<P::Body>> {
        let mut response = self.ports.send(request.clone()).await.map_err(|e| Error::transport(operation, e))?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        let body = read_document(operation, &mut response.body).await.unwrap_or_default();
        Err(Error::of_response(operation, &response, &body))
    }

    /// Warns once of times that can't be read, and logs their number per page.
    fn log_odd_times(&self, operation: &'static str, times: &OddTimes) {
        let Some((key, text)) = &times.first else {
            return;
        };
        if !self.has_odd_times.replace(true) {
            let line = format!(
                "the store writes a time that cannot be read and counts as 1970: the snapshot delivers such an object, \
                 but later changes of it may be missed; key=`{key}`, time=`{text}`"
            );
            self.ports.log(Level::Warn, &line);
        }
        let line = format!(
            "times cannot be read; operation=`{operation}`, count=`{}`, key=`{key}`, time=`{text}`",
            times.count
        );
        self.ports.log(Level::Debug, &line);
    }

    /// Counts a retry that the caller decided on.
    pub(crate) fn note_retry(&self) {
        self.retries.set(self.retries.get() + 1);
    }

    /// Refuses a listing that would never end.
    fn progresses<M: PartialEq>(
        &self,
        operation: &'static str,
        truncated: bool,
        next: Option<&M>,
        start: Option<&M>,
    ) -> Result<()> {
        if truncated && next.is_none() {
            return Err(Error::malformed(
                operation,
                xml::Error::Contradiction("a truncated page does not name a next one"),
            ));
        }
        // What is not listed would count as deleted, so neither half of a contradiction is believed.
        if !truncated && next.is_some() {
            return Err(Error::malformed(operation, xml::Error::Contradiction("the last page names a next one")));
        }
        if next.is_some() && next == start {
            return Err(Error::malformed(operation, xml::Error::Contradiction("the page leads to itself")));
        }
        Ok(())
    }
}

fn greatest<T>(entries: &[T], key: impl Fn(&T) -> &String) -> Option<String> {
    entries.iter().map(key).max().cloned()
}

async fn next_piece<B: Body>(operation: &'static str, body: &mut B) -> Result<Option<Bytes>> {
    body.read().await.map_err(|error| Error::transport(operation, error))
}

async fn read_document<B: Body>(operation: &'static str, body: &mut B) -> Result<Bytes> {
    let Some(first) = body.read().await.map_err(|e| Error::transport(operation, e))? else {
        return Ok(Bytes::new());
    };
    let mut whole: Option<Vec<u8>> = None;
    while let Some(more) = body.read().await.map_err(|e| Error::transport(operation, e))? {
        let whole = whole.get_or_insert_with(|| first.to_vec());
        whole.extend_from_slice(&more);
        if whole.len() > limits::DOCUMENT_BYTES_MAX {
            return Err(Error::malformed(
                operation,
                xml::Error::Shape("the document is larger than any that S3 sends"),
            ));
        }
    }
    Ok(whole.map_or(first, Bytes::from))
}

#[cfg(test)]
mod tests;
