//! Owns GetObject: the request, and everything in its answer. Leaves to the caller whether the answer is the object
//! that was wanted.

use bytes::{Bytes, BytesMut};

use super::{Client, Error, Result, document, encoded_word};
use crate::limits;
use crate::ports::{Body, Method, Ports, Response};
use crate::time::Timestamp;

/// Which content of an object a GET asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The version; `None` for the current one. A version is never requested with a condition as well: it has one
    /// content, and where a listing has another ETag than the object, the condition would never hold.
    pub version_id: Option<String>,
    /// The ETag that it must have, without quotes.
    pub etag: Option<String>,
}

/// A part of an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first byte.
    pub first: u64,
    /// Bytes in it, at least one.
    pub length: u64,
}

impl Part {
    fn last(self) -> u64 {
        self.first + self.length - 1
    }

    /// What `Content-Range` says of it, in an object of that many bytes.
    pub fn content_range(self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.first, self.last())
    }
}

/// An object as a GET answered.
#[derive(Debug)]
pub struct Object<B> {
    /// The status: 200 for a whole object, 206 for a part.
    pub status: u16,
    /// Which part it is, as `Content-Range` says.
    pub content_range: Option<String>,
    /// The bytes, or a handle of them.
    pub content: Content<B>,
    /// Bytes in the body, where the store says so.
    pub length: Option<u64>,
    /// The ETag without quotes, where the store has one.
    pub etag: Option<String>,
    /// Whether the ETag is a weak one, as proxies make them: the bytes may be others with the same meaning.
    pub has_weak_etag: bool,
    /// When it was modified, where the store says so.
    pub last_modified: Option<Timestamp>,
    /// The version in the answer; `None` or `null` where there are no versions.
    pub version_id: Option<String>,
    /// Headers of the object, by the name that they have in the metadata of a record.
    pub headers: Vec<(&'static str, String)>,
    /// User metadata by name.
    pub metadata: Vec<(String, String)>,
}

/// An object's bytes.
#[derive(Debug)]
pub enum Content<B> {
    /// All of them.
    Whole(Bytes),
    /// By handle: they stay with the host until they are read.
    Stream(B),
}

/// Headers that describe an object, and their names in records.
const HEADERS: [(&str, &str); 8] = [
    ("content-type", "contentType"),
    ("content-encoding", "contentEncoding"),
    ("content-language", "contentLanguage"),
    ("content-disposition", "contentDisposition"),
    ("cache-control", "cacheControl"),
    ("expires", "expires"),
    ("x-amz-storage-class", "storageClass"),
    ("x-amz-website-redirect-location", "websiteRedirectLocation"),
];

impl<P: Ports> Client<P> {
    /// [GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html): the object. A body of at most
    /// `whole_bytes_max`, or of unknown length, is read; a longer one stays with the host until it is read. Nothing is
    /// read where `whole_bytes_max` is 0.
    pub async fn get_object(
        &self,
        key: &str,
        pin: &Pin,
        part: Option<Part>,
        whole_bytes_max: u64,
    ) -> Result<Object<P::Body>> {
        let mut builder = self.request(Method::Get, Some(key));
        if let Some(version_id) = &pin.version_id {
            builder = builder.query("versionId", version_id);
        } else if let Some(etag) = &pin.etag {
            builder = builder.header("if-match", format!("\"{etag}\""));
        }
        if let Some(part) = part {
            builder = builder.header("range", format!("bytes={}-{}", part.first, part.last()));
        }
        let (operation, request) = ("GetObject", builder.build());
        let attempt = async || {
            let response = self.exchange(operation, &request).await?;
            read(operation, response, whole_bytes_max).await
        };
        // How long a large body takes says nothing of how late its answer is.
        let is_hedged = self.slots.is_some() && whole_bytes_max <= limits::WHOLE_BODY_BYTES_MAX;
        self.retrying(operation, async || if is_hedged { self.hedged(attempt).await } else { attempt().await }).await
    }
}

async fn read<B: Body>(operation: &'static str, response: Response<B>, whole_bytes_max: u64) -> Result<Object<B>> {
    let text = |name| response.header(name).map(str::to_owned);
    let etag = text("etag");
    let length = text("content-length").and_then(|v| v.parse().ok());
    let is_small = whole_bytes_max > 0 && length.is_none_or(|length| length <= whole_bytes_max);
    let mut object = Object {
        status: response.status,
        content_range: text("content-range"),
        length,
        has_weak_etag: etag.as_deref().is_some_and(|tag| tag.starts_with("W/")),
        etag: etag.map(|tag| document::bare_etag(&tag)),
        last_modified: text("last-modified").as_deref().and_then(Timestamp::parse_http_date),
        version_id: text("x-amz-version-id"),
        headers: HEADERS.iter().filter_map(|(header, name)| Some((*name, text(header)?))).collect(),
        metadata: user_metadata(&response),
        content: Content::Stream(response.body),
    };
    if is_small && let Content::Stream(body) = object.content {
        let bytes = whole(operation, body, whole_bytes_max).await?;
        object.content = Content::Whole(bytes);
    }
    Ok(object)
}

/// All bytes of a body that should be small; of a larger one, a few more than it should have.
async fn whole<B: Body>(operation: &'static str, mut body: B, bytes_max: u64) -> Result<Bytes> {
    let mut next = async || body.read().await.map_err(|error| Error::transport(operation, error));
    let Some(first) = next().await? else {
        return Ok(Bytes::new());
    };
    let mut joined: Option<BytesMut> = None;
    while joined.as_ref().map_or(first.len(), BytesMut::len) as u64 <= bytes_max
        && let Some(more) = next().await?
    {
        let joined = joined.get_or_insert_with(|| {
            // All at once: growing would hold large bodies twice.
            let mut all = BytesMut::with_capacity(usize::try_from(bytes_max).unwrap_or_default().max(first.len()));
            all.extend_from_slice(&first);
            all
        });
        joined.extend_from_slice(&more);
    }
    Ok(joined.map_or(first, BytesMut::freeze))
}

/// User metadata by name. S3 sends [what is not ASCII as encoded words][1].
///
/// [1]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html#UserMetadata
pub(super) fn user_metadata<B>(response: &Response<B>) -> Vec<(String, String)> {
    let named = |(name, value): &(String, String)| {
        let name = name.strip_prefix("x-amz-meta-")?.to_owned();
        Some((name, encoded_word::decode(value).into_owned()))
    };
    response.headers.iter().filter_map(named).collect()
}
