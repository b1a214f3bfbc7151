//! Owns the reading of a request: its operation and what it asks for. Leaves the answer to `answer`.

use percent_encoding::percent_decode_str;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ListObjectVersions(Listing),
    ListObjectsV2(Listing),
    ListMultipartUploads(Listing),
    GetObject(Wanted),
    HeadObject(Wanted),
    GetBucketVersioning,
    HeadBucket,
    PutObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    Unknown,
}

impl Operation {
    /// Their names in the order of [`Self::index`].
    pub(crate) const NAMES: [&str; 14] = [
        "ListObjectVersions",
        "ListObjectsV2",
        "ListMultipartUploads",
        "GetObject",
        "HeadObject",
        "GetBucketVersioning",
        "HeadBucket",
        "PutObject",
        "DeleteObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
        "Unknown",
    ];

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::ListObjectVersions(_) => 0,
            Self::ListObjectsV2(_) => 1,
            Self::ListMultipartUploads(_) => 2,
            Self::GetObject(_) => 3,
            Self::HeadObject(_) => 4,
            Self::GetBucketVersioning => 5,
            Self::HeadBucket => 6,
            Self::PutObject => 7,
            Self::DeleteObject => 8,
            Self::CreateMultipartUpload => 9,
            Self::UploadPart => 10,
            Self::CompleteMultipartUpload => 11,
            Self::AbortMultipartUpload => 12,
            Self::Unknown => 13,
        }
    }

    /// Whether it is answered with a page of a listing.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self, Self::ListObjectVersions(_) | Self::ListObjectsV2(_) | Self::ListMultipartUploads(_))
    }

    /// Whether it begins a listing of the whole bucket.
    pub(crate) fn begins_poll(&self) -> bool {
        let (Self::ListObjectVersions(listing) | Self::ListObjectsV2(listing)) = self else {
            return false;
        };
        let is_first = listing.after.is_none() && listing.token.is_none();
        is_first && listing.prefix.is_empty() && listing.max_keys == PAGE_KEYS
    }
}

/// Entries of a page: S3's maximum, and what is sent where the client does not say.
pub(crate) const PAGE_KEYS: usize = 1000;

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) prefix: String,
    pub(crate) max_keys: usize,
    /// The key after which it begins.
    pub(crate) after: Option<String>,
    /// The version of that key after which it begins; none means after all of them.
    pub(crate) after_version: Option<String>,
    /// The token that the previous page gave.
    pub(crate) token: Option<String>,
}

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: String,
    pub(crate) version_id: Option<String>,
    pub(crate) if_match: Option<String>,
    /// The first byte and the last one, if not all are wanted.
    pub(crate) range: Option<(u64, u64)>,
}

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) if_match: Option<String>,
    pub(crate) range: Option<(u64, u64)>,
    /// Bytes of its body.
    pub(crate) body_bytes: u64,
}

impl Request {
    /// Reads a head of HTTP/1.1, without the empty line at its end.
    pub(crate) fn read(head: &str) -> Option<Self> {
        let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let mut words = line.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/')?;
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let mut request = Self {
            method: method.to_owned(),
            bucket: decode(bucket)?,
            key: decode(key)?,
            query: Vec::new(),
            if_match: None,
            range: None,
            body_bytes: 0,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            request.query.push((decode(name)?, decode(value)?));
        }
        for header in headers.split("\r\n") {
            let Some((name, value)) = header.split_once(':') else {
                continue;
            };
            if name.eq_ignore_ascii_case("if-match") {
                request.if_match = Some(value.trim().trim_matches('"').to_owned());
            } else if name.eq_ignore_ascii_case("range") {
                request.range = range(value.trim());
            } else if name.eq_ignore_ascii_case("content-length") {
                request.body_bytes = value.trim().parse().ok()?;
            }
        }
        Some(request)
    }

    /// The value of a parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What it asks for.
    pub(crate) fn operation(&self) -> Operation {
        let has = |name| self.parameter(name).is_some();
        match (self.method.as_str(), self.key.is_empty()) {
            ("GET", false) => Operation::GetObject(self.wanted()),
            ("PUT", false) if has("partNumber") => Operation::UploadPart,
            ("PUT", false) => Operation::PutObject,
            ("POST", false) if has("uploads") => Operation::CreateMultipartUpload,
            ("POST", false) if has("uploadId") => Operation::CompleteMultipartUpload,
            ("DELETE", false) if has("uploadId") => Operation::AbortMultipartUpload,
            ("DELETE", false) => Operation::DeleteObject,
            ("HEAD", false) => Operation::HeadObject(self.wanted()),
            ("HEAD", true) => Operation::HeadBucket,
            ("GET", true) if has("versions") => Operation::ListObjectVersions(self.listing("version-id-marker")),
            ("GET", true) if has("uploads") => Operation::ListMultipartUploads(self.listing("upload-id-marker")),
            ("GET", true) if has("versioning") => Operation::GetBucketVersioning,
            ("GET", true) if has("list-type") => Operation::ListObjectsV2(self.listing("version-id-marker")),
            _ => Operation::Unknown,
        }
    }

    fn wanted(&self) -> Wanted {
        let version_id = self.parameter("versionId").map(str::to_owned);
        Wanted { key: self.key.clone(), version_id, if_match: self.if_match.clone(), range: self.range }
    }

    fn listing(&self, id_marker: &str) -> Listing {
        let text = |name| self.parameter(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let max = text("max-keys").or_else(|| text("max-uploads")).and_then(|max| max.parse().ok());
        Listing {
            prefix: text("prefix").unwrap_or_default(),
            max_keys: max.unwrap_or(PAGE_KEYS).clamp(1, PAGE_KEYS),
            after: text("key-marker").or_else(|| text("start-after")),
            after_version: text(id_marker),
            token: text("continuation-token"),
        }
    }
}

/// Reads `bytes=FIRST-LAST`, of which the last may be missing.
fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, if last.is_empty() { u64::MAX } else { last.parse().ok()? }))
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_from_its_query() {
        let head = "GET /b?versions=&max-keys=7&prefix=a%2Fb&key-marker=a%2Fb1&version-id-marker=v HTTP/1.1\r\nhost: x";
        let listing = Listing {
            prefix: "a/b".to_owned(),
            max_keys: 7,
            after: Some("a/b1".to_owned()),
            after_version: Some("v".to_owned()),
            token: None,
        };
        let request = Request::read(head).unwrap();
        assert_eq!(request.bucket, "b");
        assert_eq!(request.operation(), Operation::ListObjectVersions(listing));
        assert!(!request.operation().begins_poll());
    }

    #[test]
    fn an_upload_is_told_by_its_query() {
        let operation =
            |head: &str| Request::read(&format!("{head} HTTP/1.1\r\ncontent-length: 5")).unwrap().operation();
        assert_eq!(operation("PUT /b/k"), Operation::PutObject);
        assert_eq!(operation("PUT /b/k?partNumber=2&uploadId=u"), Operation::UploadPart);
        assert_eq!(operation("POST /b/k?uploads"), Operation::CreateMultipartUpload);
        assert_eq!(operation("POST /b/k?uploadId=u"), Operation::CompleteMultipartUpload);
        assert_eq!(operation("DELETE /b/k?uploadId=u"), Operation::AbortMultipartUpload);
        assert_eq!(operation("DELETE /b/k"), Operation::DeleteObject);
    }

    #[test]
    fn an_object_is_read_from_its_path() {
        let head = "HEAD /b/a/%C3%A9?versionId=v HTTP/1.1\r\nIf-Match: \"e\"\r\nRange: bytes=3-\r\nContent-Length: 0";
        let wanted = Wanted {
            key: "a/é".to_owned(),
            version_id: Some("v".to_owned()),
            if_match: Some("e".to_owned()),
            range: Some((3, u64::MAX)),
        };
        let request = Request::read(head).unwrap();
        assert_eq!(request.body_bytes, 0);
        assert_eq!(request.operation(), Operation::HeadObject(wanted));
    }
}
