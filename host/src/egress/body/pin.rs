//! Owns what binds a second answer to the first, so that the bytes of two objects never become one body. Leaves when a second
//! answer is requested to its parent.
//!
//! A store may pass over `If-Match`. So a range must name its object itself: by the ETag, the version where the first answer
//! named one, and the length of the whole. What it leaves out is not taken on trust.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response};

use super::super::failure::Failure;
use super::super::request::{Outgoing, parse_length};
use super::super::upstream::UpstreamBody;

const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// What binds a second answer to the first.
#[derive(Clone)]
pub(super) struct Pin {
    etag: HeaderValue,
    version: Option<HeaderValue>,
    /// Bytes of the object.
    total: u64,
    /// The first byte of the answer within the object.
    pub(super) first: u64,
}

/// Bytes of the object, both ends included.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Pin {
    /// What an answer can be resumed by; `None` if S3 does not say enough.
    pub(super) fn of(parts: &response::Parts, length: u64) -> Option<Self> {
        let etag = parts.headers.get(header::ETAG)?;
        // `If-Match` compares strongly: a weak tag never matches (RFC 9110, section 13.1.1).
        if length == 0 || !etag.as_bytes().starts_with(b"\"") {
            return None;
        }
        let (first, total) = match parts.status {
            StatusCode::OK => (0, length),
            // A part is resumed within itself.
            StatusCode::PARTIAL_CONTENT => {
                let range = ContentRange::of(&parts.headers)?;
                let is_whole = range.last.checked_sub(range.first)? == length - 1;
                (range.first, range.total.filter(|_| is_whole)?)
            }
            _ => return None,
        };
        Some(Self { etag: etag.clone(), version: parts.headers.get(VERSION_ID).cloned(), total, first })
    }

    /// The same for a part of the answer, from this byte on.
    pub(super) fn from(&self, first: u64) -> Self {
        Self { first: self.first + first, ..self.clone() }
    }

    /// The request for some bytes: the first one, for a range of the same object.
    pub(super) fn request(&self, original: &Outgoing, span: Span) -> Outgoing {
        let mut outgoing = original.clone();
        let headers = &mut outgoing.headers;
        headers.insert(header::IF_MATCH, self.etag.clone());
        let range = format!("bytes={}-{}", span.first, span.last);
        headers.insert(header::RANGE, HeaderValue::try_from(range).expect("digits are a valid value"));
        outgoing
    }

    /// The body of an answer that is this range of the same object, and nothing else.
    pub(super) fn check(
        &self,
        response: Response<UpstreamBody>,
        request: &Outgoing,
        span: Span,
    ) -> Result<UpstreamBody, Failure> {
        let path = || request.uri.path().to_owned();
        let status = response.status();
        let reason = match status {
            StatusCode::PARTIAL_CONTENT => self.differs(response.headers(), span),
            StatusCode::OK => Some("the server ignores ranges"),
            StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE => Some("the object has changed"),
            _ => return Err(Failure::ResumeRefused { status: status.as_u16(), path: path() }),
        };
        match reason {
            Some(reason) => Err(Failure::NotResumable { reason, path: path() }),
            None => Ok(response.into_body()),
        }
    }

    /// In what an answer is not this range of the same object; `None` where it is.
    fn differs(&self, headers: &HeaderMap, span: Span) -> Option<&'static str> {
        let range = ContentRange::of(headers).filter(|range| (range.first, range.last) == (span.first, span.last));
        let Some(range) = range else {
            return Some("the server answers with another range");
        };
        let length = headers.get(header::CONTENT_LENGTH).and_then(parse_length);
        if length.is_some_and(|length| length != span.last - span.first + 1) {
            return Some("the server answers with another length");
        }
        match (headers.get(header::ETAG), range.total) {
            (Some(etag), _) if *etag != self.etag => return Some("the object has changed"),
            (_, Some(total)) if total != self.total => return Some("the object has another length"),
            (None, _) => return Some("the server names no ETag with a range"),
            (_, None) => return Some("the server names no length of the object with a range"),
            (Some(_), Some(_)) => {}
        }
        match (&self.version, headers.get(VERSION_ID)) {
            (Some(version), Some(other)) if version != other => Some("the object has changed"),
            (Some(_), None) => Some("the server names no version with a range"),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }
}

/// `Content-Range: bytes first-last/length` (RFC 9110, section 14.4).
struct ContentRange {
    first: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some(Self { first: first.parse().ok()?, last: last.parse().ok()?, total: total.parse().ok() })
    }
}
