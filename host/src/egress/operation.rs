//! Owns the S3 operations that a connector may use: how each is told by its method and query, which
//! parameters it may carry, and which side may use it. Leaves authority, bucket, prefix and headers to
//! `policy`. Everything that is not in these tables is refused.

use std::fmt;

use http::Method;
use s3_connector::config::Writes;

use super::denial::{Denial, printable};
use crate::role::Role;

/// The headers that a copy of an object keeps, after the condition, which is a check's and PutObject's alone.
const COPIED: &[&str] = &[
    "if-none-match",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-meta-",
];

/// An S3 operation, by S3's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are S3's and documented there")]
pub enum S3Operation {
    HeadBucket,
    GetBucketVersioning,
    ListObjectsV2,
    ListObjectVersions,
    GetObject,
    HeadObject,
    PutObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
}

impl S3Operation {
    /// Every operation, in the order of the counters.
    pub const ALL: [Self; 12] = [
        Self::HeadBucket,
        Self::GetBucketVersioning,
        Self::ListObjectsV2,
        Self::ListObjectVersions,
        Self::GetObject,
        Self::HeadObject,
        Self::PutObject,
        Self::DeleteObject,
        Self::CreateMultipartUpload,
        Self::UploadPart,
        Self::CompleteMultipartUpload,
        Self::AbortMultipartUpload,
    ];

    /// S3's name of the operation, as in its API reference and in `x-id`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeadBucket => "HeadBucket",
            Self::GetBucketVersioning => "GetBucketVersioning",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::ListObjectVersions => "ListObjectVersions",
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::PutObject => "PutObject",
            Self::DeleteObject => "DeleteObject",
            Self::CreateMultipartUpload => "CreateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::AbortMultipartUpload => "AbortMultipartUpload",
        }
    }

    /// What a request costs in US dollars, at [list prices](https://aws.amazon.com/s3/pricing/) of S3 Standard in us-east-1: what
    /// lists or writes is dear, what reads is cheap, what removes is free.
    #[must_use]
    pub const fn price_dollars(self) -> f64 {
        match self {
            Self::ListObjectsV2
            | Self::ListObjectVersions
            | Self::PutObject
            | Self::CreateMultipartUpload
            | Self::UploadPart
            | Self::CompleteMultipartUpload => 5e-6,
            Self::HeadBucket | Self::GetBucketVersioning | Self::GetObject | Self::HeadObject => 4e-7,
            Self::DeleteObject | Self::AbortMultipartUpload => 0.0,
        }
    }

    /// Whether a connector in this role may use the operation: what the shipped component does, and nothing else. `writes`
    /// is what a destination's settings make it do.
    #[must_use]
    pub const fn is_permitted(self, role: Role, writes: Writes) -> bool {
        match self {
            Self::HeadBucket | Self::ListObjectsV2 => true,
            // A destination looks at what has the name of a batch. The keys of records are written without a look.
            Self::GetObject | Self::HeadObject => matches!((role, writes), (Role::Source, _) | (_, Writes::Batches)),
            Self::GetBucketVersioning | Self::ListObjectVersions => matches!(role, Role::Source),
            Self::PutObject
            | Self::CreateMultipartUpload
            | Self::UploadPart
            | Self::CompleteMultipartUpload
            | Self::AbortMultipartUpload => matches!(role, Role::Destination),
            // Otherwise the host's alone, for what it has stored itself.
            Self::DeleteObject => matches!((role, writes), (Role::Destination, Writes::Objects { deletes: true })),
        }
    }

    /// Whether the answer is bound to the configured prefix by the request's `prefix` parameter, and the store may go
    /// through many keys before it begins to answer.
    pub(crate) const fn lists(self) -> bool {
        matches!(self, Self::ListObjectsV2 | Self::ListObjectVersions)
    }

    /// Whether the operation makes an object, which must not be in the place of another one.
    pub(crate) const fn stores(self) -> bool {
        matches!(self, Self::PutObject | Self::CompleteMultipartUpload)
    }

    /// Whether the operation says how the object is to be kept: its class, encryption, tags and access.
    pub(crate) const fn begins_object(self) -> bool {
        matches!(self, Self::PutObject | Self::CreateMultipartUpload)
    }

    /// The query parameters that the operation may carry, by name.
    pub fn parameter_names(self) -> impl Iterator<Item = &'static str> {
        self.parameters().iter().map(|(name, _)| *name)
    }

    /// The headers that a component may set on the operation, by name, or by the beginning of their names where that
    /// ends with `-`. `host` and `content-length` are the runtime's. Whatever costs money, chooses a key or opens the
    /// object to others (storage class, encryption, tags, ACL, requester pays) is on no list: the policy has what settings ask for,
    /// with their values.
    #[must_use]
    pub const fn headers(self, writes: Writes) -> &'static [&'static str] {
        match self {
            Self::GetObject => &["if-match", "range"],
            Self::PutObject => match writes {
                Writes::Batches => &["content-type", "if-none-match", "x-amz-meta-opencdc-"],
                Writes::Objects { .. } => COPIED,
            },
            Self::CreateMultipartUpload => match writes {
                Writes::Batches => &["content-type", "x-amz-meta-opencdc-"],
                Writes::Objects { .. } => COPIED.split_at(1).1,
            },
            Self::CompleteMultipartUpload => &["content-type", "if-none-match"],
            Self::HeadBucket
            | Self::GetBucketVersioning
            | Self::ListObjectsV2
            | Self::ListObjectVersions
            | Self::HeadObject
            | Self::DeleteObject
            | Self::UploadPart
            | Self::AbortMultipartUpload => &[],
        }
    }

    /// The parameters that the operation may carry, each with what its value may be.
    const fn parameters(self) -> &'static [(&'static str, Value)] {
        match self {
            Self::HeadBucket | Self::HeadObject | Self::PutObject => &[],
            Self::GetBucketVersioning => &[("versioning", Value::Empty)],
            Self::ListObjectsV2 => &[
                ("list-type", Value::Exactly("2")),
                ("prefix", Value::Any),
                ("max-keys", Value::Number),
                ("start-after", Value::Any),
                ("continuation-token", Value::Any),
                ("encoding-type", Value::Exactly("url")),
            ],
            Self::ListObjectVersions => &[
                ("versions", Value::Empty),
                ("prefix", Value::Any),
                ("max-keys", Value::Number),
                ("key-marker", Value::Any),
                ("version-id-marker", Value::Any),
                ("encoding-type", Value::Exactly("url")),
            ],
            Self::GetObject | Self::DeleteObject => &[("versionId", Value::Any)],
            Self::CreateMultipartUpload => &[("uploads", Value::Empty)],
            Self::UploadPart => &[("partNumber", Value::Number), ("uploadId", Value::Some)],
            Self::CompleteMultipartUpload | Self::AbortMultipartUpload => &[("uploadId", Value::Some)],
        }
    }

    /// Tells the operation by method, by whether a key is there, and by the parameter that names a
    /// sub-resource. What it does not know is refused, so a new sub-resource of S3 is refused too.
    ///
    /// # Errors
    ///
    /// [`Denial::Operation`] for a combination that is no operation of a connector.
    pub(crate) fn recognise(method: &Method, has_key: bool, query: &Query) -> Result<Self, Denial> {
        let has = |name| query.get(name).is_some();
        let operation = match (method, has_key) {
            (&Method::HEAD, false) => Self::HeadBucket,
            (&Method::GET, false) if has("list-type") => Self::ListObjectsV2,
            (&Method::GET, false) if has("versions") => Self::ListObjectVersions,
            (&Method::GET, false) if has("versioning") => Self::GetBucketVersioning,
            (&Method::HEAD, true) => Self::HeadObject,
            (&Method::GET, true) => Self::GetObject,
            (&Method::PUT, true) if has("partNumber") && has("uploadId") => Self::UploadPart,
            (&Method::PUT, true) => Self::PutObject,
            (&Method::POST, true) if has("uploads") => Self::CreateMultipartUpload,
            (&Method::POST, true) if has("uploadId") => Self::CompleteMultipartUpload,
            (&Method::DELETE, true) if has("uploadId") => Self::AbortMultipartUpload,
            (&Method::DELETE, true) => Self::DeleteObject,
            _ => {
                return Err(Denial::Operation {
                    method: method.as_str().chars().take(16).collect(),
                    resource: if has_key { "object" } else { "bucket" },
                });
            }
        };
        operation.check_parameters(query)?;
        Ok(operation)
    }

    fn check_parameters(self, query: &Query) -> Result<(), Denial> {
        for parameter in &query.0 {
            let name = parameter.name.as_str();
            let known = self.parameters().iter().find(|(known, _)| *known == name);
            let Some((_, value)) = known else {
                return Err(Denial::Parameter { operation: self.name(), name: printable(name) });
            };
            if !value.admits(&parameter.value) {
                return Err(Denial::ParameterValue { operation: self.name(), name: printable(&parameter.name) });
            }
        }
        Ok(())
    }
}

impl fmt::Display for S3Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the value of a parameter may be.
#[derive(Debug, Clone, Copy)]
enum Value {
    Any,
    /// Anything but nothing: servers may pass over a name without a value.
    Some,
    Empty,
    Number,
    Exactly(&'static str),
}

impl Value {
    fn admits(self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Some => !value.is_empty(),
            Self::Empty => value.is_empty(),
            Self::Number => (1..=9).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Exactly(wanted) => value == wanted,
        }
    }
}

/// One parameter of a query, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Whether an `=` was there, so that `?uploads` is sent as it came.
    pub(crate) has_value: bool,
}

/// A query whose parameters are decoded, well-formed and single.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(pub(crate) Vec<Parameter>);

impl Query {
    /// Takes a query apart.
    ///
    /// # Errors
    ///
    /// [`Denial::Query`] for what servers read in more than one way (a bare `+`, a broken escape, an
    /// empty parameter), [`Denial::Duplicate`] for a name that is there twice: which one counts
    /// differs between servers, so a check of either proves nothing.
    pub(crate) fn parse(query: &str) -> Result<Self, Denial> {
        let mut parameters: Vec<Parameter> = Vec::new();
        for pair in query.split('&') {
            let (name, value) = match pair.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (pair, None),
            };
            let name = decode_text(name).ok_or(Denial::Query)?;
            let text = decode_text(value.unwrap_or_default()).ok_or(Denial::Query)?;
            if name.is_empty() {
                return Err(Denial::Query);
            }
            if parameters.iter().any(|known| known.name == name) {
                return Err(Denial::Duplicate { name: printable(&name) });
            }
            parameters.push(Parameter { name, value: text, has_value: value.is_some() });
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|parameter| parameter.name == name)?;
        Some(&found.value)
    }
}

/// Decodes percent escapes; nothing for an escape that is cut short or not hexadecimal.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = after;
            continue;
        }
        let (high, low) = (*after.first()?, *after.get(1)?);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(high)? * 16 + digit(low)?;
        decoded.push(u8::try_from(value).expect("two hexadecimal digits make one byte"));
        rest = &after[2..];
    }
    Some(decoded)
}

fn decode_text(text: &str) -> Option<String> {
    if text.contains('+') {
        return None;
    }
    String::from_utf8(decode(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognise(method: &str, has_key: bool, query: &str) -> Result<S3Operation, Denial> {
        let query = if query.is_empty() { Query::default() } else { Query::parse(query)? };
        S3Operation::recognise(&method.parse().unwrap(), has_key, &query)
    }

    const CASES: [(&str, bool, &str, S3Operation); 14] = [
        ("HEAD", false, "", S3Operation::HeadBucket),
        ("GET", false, "versioning=", S3Operation::GetBucketVersioning),
        (
            "GET",
            false,
            "list-type=2&prefix=a%2Fb&max-keys=1000&start-after=x&encoding-type=url",
            S3Operation::ListObjectsV2,
        ),
        ("GET", false, "versions&prefix=&key-marker=a&version-id-marker=b", S3Operation::ListObjectVersions),
        ("GET", true, "", S3Operation::GetObject),
        ("GET", true, "versionId=v", S3Operation::GetObject),
        ("HEAD", true, "", S3Operation::HeadObject),
        ("PUT", true, "", S3Operation::PutObject),
        ("DELETE", true, "", S3Operation::DeleteObject),
        ("DELETE", true, "versionId=v", S3Operation::DeleteObject),
        ("POST", true, "uploads=", S3Operation::CreateMultipartUpload),
        ("PUT", true, "partNumber=1&uploadId=u%2F%2B", S3Operation::UploadPart),
        ("POST", true, "uploadId=u", S3Operation::CompleteMultipartUpload),
        ("DELETE", true, "uploadId=u", S3Operation::AbortMultipartUpload),
    ];

    #[test]
    fn every_operation_is_told_by_method_key_and_query() {
        for (method, has_key, query, wanted) in CASES {
            assert_eq!(recognise(method, has_key, query).unwrap(), wanted, "{method} {query}");
        }
        let told: std::collections::BTreeSet<_> = CASES.iter().map(|case| case.3).collect();
        assert_eq!(told.len(), S3Operation::ALL.len(), "a case for each operation");
    }

    #[test]
    fn sub_resources_that_are_not_ours_are_refused() {
        for name in [
            "acl",
            "policy",
            "tagging",
            "torrent",
            "restore",
            "retention",
            "legal-hold",
            "attributes",
            "select",
            "cors",
            "website",
            "logging",
            "notification",
            "replication",
            "lifecycle",
            "encryption",
            "object-lock",
            "ownershipControls",
            "publicAccessBlock",
            "delete",
            "renameObject",
            "append",
            "policyStatus",
            "inventory",
            "session",
        ] {
            for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
                for has_key in [false, true] {
                    for query in [
                        name.to_owned(),
                        format!("{name}="),
                        format!("versionId=v&{name}"),
                        format!("list-type=2&{name}"),
                        format!("uploadId=u&partNumber=1&{name}"),
                        format!("%{:02x}{}", name.as_bytes()[0], &name[1..]),
                    ] {
                        assert!(recognise(method, has_key, &query).is_err(), "{method} {has_key} {query}");
                    }
                }
            }
        }
    }

    #[test]
    fn writes_and_reads_of_a_bucket_that_are_not_listed_are_refused() {
        for (method, has_key, query) in [
            ("GET", false, ""),
            ("GET", false, "list-type=1"),
            ("GET", false, "prefix=a"),
            ("PUT", false, ""),
            ("POST", false, ""),
            ("POST", false, "delete"),
            ("DELETE", false, ""),
            ("POST", true, ""),
            ("POST", false, "uploads"),
            ("POST", true, "uploads&uploadId=u"),
            ("POST", true, "uploads=x"),
            ("POST", true, "uploadId="),
            ("POST", true, "uploadId=u&partNumber=1"),
            ("GET", true, "uploadId=u"),
            ("GET", true, "partNumber=1"),
            ("HEAD", true, "versionId=v"),
            ("GET", false, "location"),
            ("GET", false, "list-type=2&delimiter=/"),
            ("GET", false, "uploads"),
            ("PUT", true, "partNumber=x&uploadId=u"),
            ("PUT", true, "partNumber=1&uploadId="),
            ("PUT", true, "partNumber=1&uploadId=u&versionId=v"),
            ("DELETE", true, "uploadId=u&versionId=v"),
            ("DELETE", false, "uploadId=u"),
            ("PUT", true, "uploadId=u"),
            ("PUT", true, "partNumber=1"),
            ("PUT", true, "versionId=v"),
            ("OPTIONS", true, ""),
            ("PATCH", true, ""),
            ("CONNECT", false, ""),
            ("TRACE", false, ""),
            ("get", true, ""),
            ("WHATEVER", true, ""),
        ] {
            assert!(recognise(method, has_key, query).is_err(), "{method} {has_key} {query}");
        }
    }

    #[test]
    fn responses_cannot_be_rewritten_and_markers_carry_no_value() {
        for (method, has_key, query) in [
            ("GET", true, "response-content-type=text%2Fhtml"),
            ("GET", true, "response-content-disposition=x"),
            ("GET", false, "versions=1"),
            ("POST", true, "uploads=x"),
            ("GET", false, "list-type=2&encoding-type=raw"),
            ("GET", false, "list-type=2&max-keys=-1"),
            ("GET", false, "list-type=2&max-keys="),
            ("GET", false, "list-type=2&max-keys=1234567890"),
            ("GET", false, "list-type=2&fetch-owner=true"),
            ("GET", true, "x-id=PutObject"),
            ("GET", true, "x-id=GetObject"),
            ("GET", true, "X-Amz-Signature=0"),
            ("GET", true, "X-Amz-Credential=0&X-Amz-Algorithm=AWS4-HMAC-SHA256"),
            ("GET", true, "AWSAccessKeyId=x&Signature=y&Expires=1"),
            ("GET", true, "VersionId=v"),
        ] {
            assert!(recognise(method, has_key, query).is_err(), "{method} {has_key} {query}");
        }
    }

    #[test]
    fn queries_that_can_be_read_in_two_ways_are_refused() {
        for query in [
            "",
            "&",
            "prefix=a&",
            "&prefix=a",
            "=a",
            "prefix=a+b",
            "prefix=%",
            "prefix=%4",
            "prefix=%zz",
            "prefix=%ff",
            "%70refix=a&prefix=b",
            "prefix=a&prefix=a",
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn values_are_decoded_once() {
        let query = Query::parse("prefix=%2561%20%2B&uploads").unwrap();
        assert_eq!(query.get("prefix"), Some("%61 +"));
        assert_eq!(query.get("uploads"), Some(""));
        assert!(!query.0[1].has_value);
    }

    const WRITES: [Writes; 3] =
        [Writes::Batches, Writes::Objects { deletes: false }, Writes::Objects { deletes: true }];

    #[test]
    fn only_a_destination_writes() {
        for (operation, settings) in S3Operation::ALL.into_iter().flat_map(|o| WRITES.map(|writes| (o, writes))) {
            let writes = operation == S3Operation::PutObject;
            assert!(!(writes && operation.is_permitted(Role::Source, settings)));
            assert!(!writes || operation.is_permitted(Role::Destination, settings));
            if operation == S3Operation::DeleteObject {
                assert!(!operation.is_permitted(Role::Source, settings));
                let asked_for = settings == Writes::Objects { deletes: true };
                assert_eq!(operation.is_permitted(Role::Destination, settings), asked_for);
            }
        }
    }
}
