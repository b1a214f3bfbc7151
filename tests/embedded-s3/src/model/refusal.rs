//! Owns errors as S3 words them: status, code and message. Leaves when to refuse to its callers.
//!
//! Statuses and codes are those of <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use s3s::{S3Error, S3ErrorCode};

/// A request that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// S3's error code.
    pub code: Cow<'static, str>,
    /// S3's message.
    pub message: Cow<'static, str>,
    headers: Vec<(&'static str, String)>,
    details: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: code.into(), message: message.into(), headers: Vec::new(), details: Vec::new() }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds an element to the document; lost where the API answers through `s3s`.
    #[must_use]
    pub(crate) fn detail(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    pub(crate) fn no_such_bucket() -> Self {
        Self::new(404, "NoSuchBucket", "The specified bucket does not exist")
    }

    pub(crate) fn no_such_key() -> Self {
        Self::new(404, "NoSuchKey", "The specified key does not exist.")
    }

    pub(crate) fn no_such_version() -> Self {
        Self::new(404, "NoSuchVersion", "The specified version does not exist.")
    }

    pub(crate) fn no_such_upload() -> Self {
        let message = "The specified upload does not exist. The upload ID may be invalid, or the \
                       upload may have been aborted or completed.";
        Self::new(404, "NoSuchUpload", message)
    }

    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "InvalidArgument", message)
    }

    pub(crate) fn malformed_xml() -> Self {
        let message = "The XML you provided was not well-formed or did not validate against our \
                       published schema";
        Self::new(400, "MalformedXML", message)
    }

    pub(crate) fn precondition_failed() -> Self {
        let message = "At least one of the pre-conditions you specified did not hold";
        Self::new(412, "PreconditionFailed", message)
    }

    pub(crate) fn not_implemented() -> Self {
        let message = "A header you provided implies functionality that is not implemented";
        Self::new(501, "NotImplemented", message)
    }

    pub(crate) fn access_denied(message: &'static str) -> Self {
        Self::new(403, "AccessDenied", message)
    }

    pub(crate) fn bad_digest(what: &str) -> Self {
        Self::new(400, "BadDigest", format!("The {what} you specified did not match what we received."))
    }

    pub(crate) fn payload_hash_mismatch() -> Self {
        let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        Self::new(400, "XAmzContentSHA256Mismatch", message)
    }

    /// Writes the error document.
    pub(crate) fn document(&self) -> Bytes {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        let mut element = |name: &str, text: &str| {
            xml.push_str(&format!("<{name}>{}</{name}>", escape(text)));
        };
        element("Code", &self.code);
        element("Message", &self.message);
        for (name, text) in &self.details {
            element(name, text);
        }
        xml.push_str("</Error>");
        xml.into()
    }

    fn header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        for (name, value) in &self.headers {
            map.insert(*name, HeaderValue::from_str(value).expect("a header of ours is ASCII"));
        }
        map
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3 refused; status=`{}`, code=`{}`, message=`{}`", self.status, self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for S3Error {
    fn from(refusal: Refusal) -> Self {
        let code = S3ErrorCode::from_bytes(refusal.code.as_bytes()).expect("a code of ours is UTF-8");
        let mut error = Self::with_message(code, refusal.message.clone());
        error.set_status_code(StatusCode::from_u16(refusal.status).expect("a status of ours is one"));
        error.set_headers(refusal.header_map());
        error
    }
}

/// Escapes text for an XML document.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_carries_code_message_and_details_escaped() {
        let refusal = Refusal::new(400, "BadDigest", "a < b").detail("Resource", "/a&b");
        let document = refusal.document();
        let text = std::str::from_utf8(&document).unwrap();
        assert!(text.ends_with(
            "<Error><Code>BadDigest</Code><Message>a &lt; b</Message>\
             <Resource>/a&amp;b</Resource></Error>"
        ));
    }
}
