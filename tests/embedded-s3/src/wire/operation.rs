//! Owns which S3 operation a request asks for, and on what. Leaves reading everything else in a request to `s3s`.
//!
//! The table follows the one by which `s3s` dispatches; what it has no name for is [`S3Operation::Other`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

/// An operation of S3, by its name in the API reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the S3 API reference")]
pub enum S3Operation {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteBucket,
    DeleteObject,
    DeleteObjects,
    GetBucketLocation,
    GetBucketVersioning,
    GetObject,
    HeadBucket,
    HeadObject,
    ListBuckets,
    ListMultipartUploads,
    ListObjectVersions,
    ListObjects,
    ListObjectsV2,
    ListParts,
    PutBucketVersioning,
    PutObject,
    UploadPart,
    /// Anything else; the server answers 501.
    Other,
}

impl fmt::Display for S3Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) operation: S3Operation,
    pub(crate) bucket: Option<String>,
    pub(crate) key: Option<String>,
    /// The key, or for a listing the prefix it asks for.
    pub(crate) subject: String,
}

impl Target {
    /// Reads the request line and the host.
    pub(crate) fn of(method: &Method, path: &str, query: &str, headers: &HeaderMap, domain: Option<&str>) -> Self {
        let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let (bucket, key) = names(path, bucket_of_host(host.unwrap_or_default(), domain));
        let has = |name: &str| parameter(query, name).is_some();
        let operation = match (&bucket, &key) {
            (None, _) => root_operation(method),
            (Some(_), None) => bucket_operation(method, query, has),
            (Some(_), Some(_)) => object_operation(method, headers, has),
        };
        let subject = key.clone().or_else(|| parameter(query, "prefix")).unwrap_or_default();
        Self { operation, bucket, key, subject }
    }
}

fn root_operation(method: &Method) -> S3Operation {
    if method == Method::GET { S3Operation::ListBuckets } else { S3Operation::Other }
}

/// Sub-resources that we do not serve, so that they are not taken for the operation without them.
const BUCKET_OTHERS: [&str; 14] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "policy",
    "replication",
    "tagging",
];
const OBJECT_OTHERS: [&str; 8] =
    ["acl", "attributes", "legal-hold", "restore", "retention", "select", "tagging", "torrent"];

fn bucket_operation(method: &Method, query: &str, has: impl Fn(&str) -> bool) -> S3Operation {
    if BUCKET_OTHERS.iter().any(|name| has(name)) {
        return S3Operation::Other;
    }
    match *method {
        Method::HEAD => S3Operation::HeadBucket,
        Method::GET if has("location") => S3Operation::GetBucketLocation,
        Method::GET if has("versioning") => S3Operation::GetBucketVersioning,
        Method::GET if has("uploads") => S3Operation::ListMultipartUploads,
        Method::GET if has("versions") => S3Operation::ListObjectVersions,
        Method::GET if parameter(query, "list-type").as_deref() == Some("2") => S3Operation::ListObjectsV2,
        Method::GET => S3Operation::ListObjects,
        Method::POST if has("delete") => S3Operation::DeleteObjects,
        Method::PUT if has("versioning") => S3Operation::PutBucketVersioning,
        Method::PUT => S3Operation::CreateBucket,
        Method::DELETE => S3Operation::DeleteBucket,
        _ => S3Operation::Other,
    }
}

fn object_operation(method: &Method, headers: &HeaderMap, has: impl Fn(&str) -> bool) -> S3Operation {
    if OBJECT_OTHERS.iter().any(|name| has(name)) {
        return S3Operation::Other;
    }
    match *method {
        Method::HEAD => S3Operation::HeadObject,
        Method::GET if has("uploadId") => S3Operation::ListParts,
        Method::GET => S3Operation::GetObject,
        Method::POST if has("uploads") => S3Operation::CreateMultipartUpload,
        Method::POST if has("uploadId") => S3Operation::CompleteMultipartUpload,
        Method::PUT if has("partNumber") && has("uploadId") => {
            if headers.contains_key("x-amz-copy-source") {
                S3Operation::Other
            } else {
                S3Operation::UploadPart
            }
        }
        Method::PUT if headers.contains_key("x-amz-copy-source") => S3Operation::CopyObject,
        Method::PUT => S3Operation::PutObject,
        Method::DELETE if has("uploadId") => S3Operation::AbortMultipartUpload,
        Method::DELETE => S3Operation::DeleteObject,
        _ => S3Operation::Other,
    }
}

/// Finds a query parameter; one without `=` is empty.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (found, value) = pair.split_once('=').unwrap_or((pair, ""));
        (found == name).then(|| decode(&value.replace('+', " ")))
    })
}

/// Gives the bucket that a virtual-host-style `Host` header names.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>
pub(crate) fn bucket_of_host<'h>(host: &'h str, domain: Option<&str>) -> Option<&'h str> {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    name.strip_suffix(domain?)?.strip_suffix('.')
}

fn names(path: &str, host_bucket: Option<&str>) -> (Option<String>, Option<String>) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (bucket, key) = match host_bucket {
        Some(bucket) => (bucket.to_owned(), path),
        None => {
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            (decode(bucket), key)
        }
    };
    let some = |text: String| (!text.is_empty()).then_some(text);
    (some(bucket), some(decode(key)))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: Method, path: &str, query: &str) -> Target {
        Target::of(&method, path, query, &HeaderMap::new(), None)
    }

    #[test]
    fn path_and_query_tell_the_operation() {
        let cases = [
            (Method::GET, "/", "", S3Operation::ListBuckets),
            (Method::GET, "/b", "list-type=2", S3Operation::ListObjectsV2),
            (Method::GET, "/b/", "", S3Operation::ListObjects),
            (Method::GET, "/b", "versions&prefix=a", S3Operation::ListObjectVersions),
            (Method::GET, "/b", "uploads", S3Operation::ListMultipartUploads),
            (Method::PUT, "/b/k", "partNumber=1&uploadId=u", S3Operation::UploadPart),
            (Method::POST, "/b/k", "uploadId=u", S3Operation::CompleteMultipartUpload),
            (Method::DELETE, "/b/k", "versionId=1", S3Operation::DeleteObject),
            (Method::GET, "/b/k", "tagging", S3Operation::Other),
        ];
        for (method, path, query, operation) in cases {
            assert_eq!(target(method, path, query).operation, operation, "{path}?{query}");
        }
    }

    #[test]
    fn keys_keep_their_slashes_and_are_decoded() {
        let target = target(Method::GET, "/b//a%2Fb%20c/", "");
        assert_eq!(target.key.as_deref(), Some("/a/b c/"));
        assert_eq!(target.bucket.as_deref(), Some("b"));
    }

    #[test]
    fn subject_of_a_listing_is_its_prefix() {
        assert_eq!(target(Method::GET, "/b", "list-type=2&prefix=a%2Fb+c").subject, "a/b c");
    }

    #[test]
    fn bucket_is_read_from_the_host_below_the_domain() {
        assert_eq!(bucket_of_host("my.bucket.localhost:80", Some("localhost")), Some("my.bucket"));
        assert_eq!(bucket_of_host("localhost:80", Some("localhost")), None);
        assert_eq!(bucket_of_host("127.0.0.1:80", Some("localhost")), None);
        assert_eq!(bucket_of_host("elsewhere", Some("localhost")), None);
    }
}
