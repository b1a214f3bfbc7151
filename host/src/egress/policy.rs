//! Owns the decision whether a request of the guest may leave: scheme, authority, bucket, prefix, method,
//! sub-resource and headers. Leaves the table of operations to `operation`, and signing to `sign`.
//!
//! Deny by default. A request that passes is written anew from what was checked ([`Permit::uri`]), so what is
//! signed and sent is what was understood here, never the guest's own spelling of it.

use std::fmt::Write as _;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

pub use super::operation::Operation;
use super::operation::{Query, decode, printable};

/// A key has at most 1,024 bytes, 3,072 once escaped; a listing can carry three of them (prefix, start, token).
const URI_BYTES_MAX: usize = 16 * 1024;

/// User metadata is at most 2 KB and S3 refuses more than 8 KB of headers in all
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>); twice that leaves clones room.
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// 2 KB of metadata in names and values of a few bytes each, and the dozen headers of S3's own.
const HEADERS_COUNT_MAX: usize = 256;

/// What S3 leaves unescaped in the signature's canonical form of a path
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, `UriEncode`).
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The same for names and values of a query, where a slash is escaped.
const QUERY: &AsciiSet = &PATH.add(b'/');

/// Request headers that a guest may set, by their whole name.
const HEADERS: [&str; 19] = [
    "accept",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "range",
    "user-agent",
    "x-amz-expected-bucket-owner",
    "x-amz-optional-object-attributes",
    "x-amz-request-payer",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-storage-class",
];

/// Request headers that a guest may set, by the beginning of their name.
const HEADER_FAMILIES: [&str; 3] = [
    "x-amz-meta-",
    "x-amz-checksum-",
    "x-amz-server-side-encryption",
];

/// The side of a pipeline a connector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It reads the bucket.
    Source,
    /// It writes to the bucket.
    Destination,
}

/// Where the bucket's name stands in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// In the path: `https://host/bucket/key`.
    Path,
    /// In the authority: `https://bucket.host/key`.
    VirtualHost,
}

/// Why a policy can't be made of these settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The authority is not `host` or `host:port`.
    #[error("the endpoint's authority is not a host with an optional port; authority=`{authority}`")]
    Authority {
        /// The authority as given.
        authority: String,
    },
    /// The bucket's name is empty or has characters that no bucket's name has.
    #[error("the bucket's name is not valid; bucket=`{bucket}`")]
    Bucket {
        /// The name as given.
        bucket: String,
    },
    /// The endpoint is neither http nor https, or its path is not plain.
    #[error("the endpoint is not a plain http or https address; endpoint=`{endpoint}`")]
    Endpoint {
        /// The address, or the part of it that is at fault.
        endpoint: String,
    },
}

/// Why a request was not let out. Names what is at fault, never a value that the guest sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Denial {
    #[error("the request goes to another scheme or address than the endpoint")]
    Address,
    #[error("the request names another bucket, or none")]
    Bucket,
    #[error("the request's path can't be read without doubt")]
    Path,
    #[error("the request's query can't be read without doubt")]
    Query,
    #[error("the request's address is too long; bytes=`{bytes}`, bytes_max=`{URI_BYTES_MAX}`")]
    Length { bytes: usize },
    #[error("a query parameter is there twice; name=`{name}`")]
    Duplicate { name: String },
    #[error("no operation of a connector; method=`{method}`, resource=`{resource}`")]
    Operation {
        method: String,
        resource: &'static str,
    },
    #[error("this side of a pipeline may not do this; operation=`{operation}`")]
    Role { operation: Operation },
    #[error("the query parameter is not permitted; operation=`{operation}`, name=`{name}`")]
    Parameter { operation: Operation, name: String },
    #[error("the query parameter's value is not permitted; operation=`{operation}`, name=`{name}`")]
    ParameterValue { operation: Operation, name: String },
    #[error("the key or listing is outside the configured prefix; operation=`{operation}`")]
    Prefix { operation: Operation },
    #[error("the header is not a guest's to set; name=`{name}`")]
    Header { name: String },
    #[error("the header is there twice or its value is not text; name=`{name}`")]
    HeaderValue { name: String },
    #[error("too many or too large headers; count=`{count}`, bytes=`{bytes}`")]
    HeadersSize { count: usize, bytes: usize },
}

/// What a policy is made of.
#[derive(Debug, Clone)]
pub struct PolicyInput {
    /// The side of the pipeline.
    pub role: Role,
    /// The endpoint's scheme.
    pub scheme: Scheme,
    /// The authority of every request: the endpoint's, or `bucket.` + the endpoint's.
    pub authority: String,
    /// Where the bucket's name stands.
    pub addressing: Addressing,
    /// The endpoint's own path, not escaped: empty, or `/` and more, without a slash at its end.
    pub base_path: String,
    /// The only bucket.
    pub bucket: String,
    /// What every key begins with; may be empty.
    pub prefix: String,
}

impl PolicyInput {
    /// The input for an endpoint's address, such as `https://s3.eu-west-1.amazonaws.com`.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`] if the address is not absolute, not http(s), or has a query.
    pub fn from_endpoint(
        role: Role,
        endpoint: &str,
        addressing: Addressing,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, Error> {
        let refuse = || Error::Endpoint {
            endpoint: endpoint.to_owned(),
        };
        let uri: Uri = endpoint.parse().map_err(|_| refuse())?;
        let scheme = uri.scheme().ok_or_else(refuse)?.clone();
        let authority = uri.authority().ok_or_else(refuse)?.as_str();
        if uri.query().is_some() {
            return Err(refuse());
        }
        let path = decode(uri.path().trim_end_matches('/')).ok_or_else(refuse)?;
        Ok(Self {
            role,
            scheme,
            authority: match addressing {
                Addressing::Path => authority.to_owned(),
                Addressing::VirtualHost => format!("{bucket}.{authority}"),
            },
            addressing,
            base_path: String::from_utf8(path).map_err(|_| refuse())?,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// A request that may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// What it asks of S3.
    pub operation: Operation,
    /// Where it goes, written anew in S3's canonical escapes: sign and send this one.
    pub uri: Uri,
}

/// Decides which requests of one instance may leave.
#[derive(Debug, Clone)]
pub struct Policy {
    role: Role,
    scheme: Scheme,
    authority: Authority,
    /// The path before the slash that precedes a key: base path, and the bucket in path style.
    root: Vec<u8>,
    prefix: String,
}

impl Policy {
    /// Makes the policy of one instance.
    ///
    /// # Errors
    ///
    /// If the input can't be the address of a bucket.
    pub fn new(input: PolicyInput) -> Result<Self, Error> {
        let PolicyInput { role, scheme, authority, addressing, base_path, bucket, prefix } = input;
        let refuse = || Error::Authority {
            authority: authority.clone(),
        };
        let authority_ = Authority::try_from(authority.as_str()).map_err(|_| refuse())?;
        address(&authority_, &scheme).ok_or_else(refuse)?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(Error::Endpoint {
                endpoint: scheme.to_string(),
            });
        }
        // Wider than AWS's rule (clones allow capitals, underscores and, for tenants, colons), narrow enough
        // that a name is one plain segment of a path.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if bucket.is_empty() || bucket.starts_with('.') || !bucket.bytes().all(is_name) {
            return Err(Error::Bucket { bucket });
        }
        if !(base_path.is_empty() || base_path.starts_with('/')) || base_path.ends_with('/') {
            return Err(Error::Endpoint { endpoint: base_path });
        }
        let mut root = base_path.into_bytes();
        match addressing {
            Addressing::Path => {
                root.push(b'/');
                root.extend_from_slice(bucket.as_bytes());
            }
            // The authority carries the bucket; one without it would reach the host's root.
            Addressing::VirtualHost => {
                let host = authority_.host().to_ascii_lowercase();
                if !host.starts_with(&format!("{}.", bucket.to_ascii_lowercase())) {
                    return Err(refuse());
                }
            }
        }
        Ok(Self { role, scheme, authority: authority_, root, prefix })
    }

    /// Decides about one request.
    ///
    /// # Errors
    ///
    /// A [`Denial`] that says what is not permitted.
    pub fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Permit, Denial> {
        self.check_address(uri)?;
        let path = self.read_path(uri.path())?;
        let query = match uri.query() {
            None => Query::default(),
            Some(query) => Query::parse(query)?,
        };
        let operation = Operation::recognise(method, !path.key.is_empty(), &query)?;
        if !operation.is_permitted(self.role) {
            return Err(Denial::Role { operation });
        }
        self.check_prefix(operation, &path.key, &query)?;
        self.check_headers(headers)?;
        Ok(Permit {
            operation,
            uri: self.write_uri(&path, &query)?,
        })
    }

    fn check_address(&self, uri: &Uri) -> Result<(), Denial> {
        let bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
        if bytes > URI_BYTES_MAX {
            return Err(Denial::Length { bytes });
        }
        let authority = uri.authority().ok_or(Denial::Address)?;
        let wanted = address(&self.authority, &self.scheme);
        if uri.scheme() != Some(&self.scheme) || address(authority, &self.scheme) != wanted {
            return Err(Denial::Address);
        }
        Ok(())
    }

    /// Splits a path into what leads to the bucket and the key. A key may hold anything: `.` and `..`, empty
    /// segments, a leading slash are legal in S3 and never normalised.
    fn read_path(&self, path: &str) -> Result<ObjectPath, Denial> {
        let decoded = decode(path).ok_or(Denial::Path)?;
        let rest = decoded.strip_prefix(self.root.as_slice()).ok_or(Denial::Bucket)?;
        match rest.split_first() {
            None => Ok(ObjectPath { has_slash: false, key: Vec::new() }),
            Some((b'/', key)) => Ok(ObjectPath { has_slash: true, key: key.to_vec() }),
            // `/bucket-of-another`, which only begins like ours.
            Some(_) => Err(Denial::Bucket),
        }
    }

    fn check_prefix(
        &self,
        operation: Operation,
        key: &[u8],
        query: &Query,
    ) -> Result<(), Denial> {
        let within = if !key.is_empty() {
            key.starts_with(self.prefix.as_bytes())
        } else if operation.lists_by_prefix() {
            query.get("prefix").unwrap_or_default().starts_with(&self.prefix)
        } else if operation == Operation::ListMultipartUploads {
            // Without a prefix it may ask for all: MinIO takes the prefix for a whole key, so the guest has to
            // ask for all and choose. What leaks is names of uploads in progress, no more.
            query
                .get("prefix")
                .is_none_or(|prefix| prefix.is_empty() || prefix.starts_with(&self.prefix))
        } else {
            true
        };
        if within { Ok(()) } else { Err(Denial::Prefix { operation }) }
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Denial> {
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let count = headers.len();
        if count > HEADERS_COUNT_MAX || bytes > HEADERS_BYTES_MAX {
            return Err(Denial::HeadersSize { count, bytes });
        }
        for name in headers.keys() {
            let mut values = headers.get_all(name).iter();
            let value = values.next().expect("a name of the map has a value");
            // Which of two counts differs between servers, and the signature covers text alone.
            if values.next().is_some() || std::str::from_utf8(value.as_bytes()).is_err() {
                return Err(Denial::HeaderValue {
                    name: printable(name.as_str()),
                });
            }
            if !self.is_permitted_header(name, value) {
                return Err(Denial::Header {
                    name: printable(name.as_str()),
                });
            }
        }
        Ok(())
    }

    fn is_permitted_header(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        if name == header::HOST {
            // The runtime adds it from the authority; any other value was smuggled in.
            let named = Authority::try_from(value.as_bytes()).ok();
            let named = named.as_ref().and_then(|named| address(named, &self.scheme));
            return named.is_some() && named == address(&self.authority, &self.scheme);
        }
        let name = name.as_str();
        HEADERS.contains(&name) || HEADER_FAMILIES.iter().any(|family| name.starts_with(family))
    }

    /// Writes the address from what was checked, in the escapes that S3 uses for the signature: what is sent
    /// is then byte for byte what is signed.
    fn write_uri(&self, path: &ObjectPath, query: &Query) -> Result<Uri, Denial> {
        let mut text = percent_encode(&self.root, PATH).to_string();
        if path.has_slash || text.is_empty() {
            text.push('/');
        }
        write!(text, "{}", percent_encode(&path.key, PATH)).expect("a string takes all");
        for (index, parameter) in query.0.iter().enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            let name = percent_encode(parameter.name.as_bytes(), QUERY);
            write!(text, "{name}").expect("a string takes all");
            if parameter.has_value {
                let value = percent_encode(parameter.value.as_bytes(), QUERY);
                write!(text, "={value}").expect("a string takes all");
            }
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(text)
            .build()
            .map_err(|_| Denial::Path)
    }
}

/// A path, taken apart and decoded.
struct ObjectPath {
    /// Whether a slash follows the bucket.
    has_slash: bool,
    key: Vec<u8>,
}

/// Host in lower case and effective port; nothing for userinfo or an empty port.
fn address(authority: &Authority, scheme: &Scheme) -> Option<(String, u16)> {
    let host = authority.host();
    let port = authority.port();
    let length = host.len() + port.as_ref().map_or(0, |port| port.as_str().len() + 1);
    if host.is_empty() || length != authority.as_str().len() {
        return None;
    }
    let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let port = port.map_or(default, |port| port.as_u16());
    Some((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(role: Role, prefix: &str) -> Policy {
        let input = PolicyInput::from_endpoint(
            role,
            "http://127.0.0.1:9000",
            Addressing::Path,
            "bucket",
            prefix,
        );
        Policy::new(input.unwrap()).unwrap()
    }

    fn virtual_policy() -> Policy {
        let input = PolicyInput::from_endpoint(
            Role::Source,
            "https://s3.eu-west-1.amazonaws.com",
            Addressing::VirtualHost,
            "bucket",
            "in/",
        );
        Policy::new(input.unwrap()).unwrap()
    }

    fn check(policy: &Policy, method: &str, uri: &str) -> Result<Permit, Denial> {
        let uri = uri.parse().expect(uri);
        policy.check(&method.parse().unwrap(), &uri, &HeaderMap::new())
    }

    fn check_header(name: &str, value: &[u8]) -> Result<Permit, Denial> {
        let mut headers = HeaderMap::new();
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        let uri = Uri::from_static("http://127.0.0.1:9000/bucket/key");
        policy(Role::Destination, "").check(&Method::PUT, &uri, &headers)
    }

    #[test]
    fn a_source_reads_within_its_prefix() {
        let policy = policy(Role::Source, "in/");
        for (method, uri, operation) in [
            ("HEAD", "/bucket", Operation::HeadBucket),
            ("HEAD", "/bucket/", Operation::HeadBucket),
            ("GET", "/bucket?list-type=2&prefix=in%2F", Operation::ListObjectsV2),
            ("GET", "/bucket/?versions&prefix=in/a", Operation::ListObjectVersions),
            ("GET", "/bucket?uploads", Operation::ListMultipartUploads),
            ("GET", "/bucket?uploads&prefix=in/x", Operation::ListMultipartUploads),
            ("GET", "/bucket/in/a?versionId=null", Operation::GetObject),
            ("GET", "/bucket/in/", Operation::GetObject),
            ("HEAD", "/bucket/in%2Fa", Operation::HeadObject),
        ] {
            let permit = check(&policy, method, &format!("http://127.0.0.1:9000{uri}"));
            assert_eq!(permit.unwrap().operation, operation, "{uri}");
        }
    }

    #[test]
    fn a_source_writes_nothing() {
        let policy = policy(Role::Source, "");
        for (method, query) in [
            ("PUT", ""),
            ("POST", "?uploads"),
            ("PUT", "?partNumber=1&uploadId=u"),
            ("POST", "?uploadId=u"),
            ("DELETE", "?uploadId=u"),
        ] {
            let uri = format!("http://127.0.0.1:9000/bucket/key{query}");
            assert!(matches!(
                check(&policy, method, &uri),
                Err(Denial::Role { .. })
            ));
        }
    }

    #[test]
    fn a_destination_writes_within_its_prefix_alone() {
        let policy = policy(Role::Destination, "out/");
        for (method, query) in [
            ("PUT", ""),
            ("GET", ""),
            ("HEAD", ""),
            ("POST", "?uploads"),
            ("PUT", "?partNumber=1&uploadId=u"),
            ("POST", "?uploadId=u"),
            ("DELETE", "?uploadId=u"),
            ("GET", "?uploadId=u"),
        ] {
            let inside = format!("http://127.0.0.1:9000/bucket/out/key{query}");
            assert!(check(&policy, method, &inside).is_ok(), "{inside}");
            for key in ["key", "ou", "outer/x", "OUT/x", "%2Fout/x", "/out/x", "./out/x"] {
                let outside = format!("http://127.0.0.1:9000/bucket/{key}{query}");
                assert!(
                    matches!(check(&policy, method, &outside), Err(Denial::Prefix { .. })),
                    "{outside}"
                );
            }
        }
        let versions = "http://127.0.0.1:9000/bucket?versions&prefix=out/";
        assert!(check(&policy, "GET", versions).is_err());
    }

    #[test]
    fn another_address_is_refused() {
        let policy = policy(Role::Source, "");
        for uri in [
            "https://127.0.0.1:9000/bucket/key",
            "http://127.0.0.1:9001/bucket/key",
            "http://127.0.0.1/bucket/key",
            "http://127.0.0.1:9000@evil.example/bucket/key",
            "http://user@127.0.0.1:9000/bucket/key",
            "http://user:password@127.0.0.1:9000/bucket/key",
            "http://127.0.0.1.evil.example:9000/bucket/key",
            "http://localhost:9000/bucket/key",
            "http://[::1]:9000/bucket/key",
            "http://169.254.169.254/latest/meta-data",
            "/bucket/key",
        ] {
            assert_eq!(check(&policy, "GET", uri), Err(Denial::Address), "{uri}");
        }
    }

    #[test]
    fn another_bucket_is_refused() {
        let policy = policy(Role::Source, "");
        for path in [
            "", "/", "//", "//bucket/key", "/other/key", "/bucket2/key", "/bucke/key", "/Bucket/key",
            "/bucket.evil/key", "/other/../bucket/key", "/./bucket/key", "/%2e%2e/bucket/key",
            "/bucket%00/key", "/bucket%252Fkey", "/%2Fbucket/key",
        ] {
            let uri = format!("http://127.0.0.1:9000{path}");
            assert_eq!(check(&policy, "GET", &uri), Err(Denial::Bucket), "{path}");
        }
    }

    #[test]
    fn a_virtual_host_carries_the_bucket() {
        let policy = virtual_policy();
        let permit = check(&policy, "GET", "https://bucket.s3.eu-west-1.amazonaws.com/in/key");
        assert_eq!(
            permit.unwrap().uri,
            "https://bucket.s3.eu-west-1.amazonaws.com/in/key"
        );
        for uri in [
            "https://BUCKET.s3.eu-west-1.amazonaws.com/in/key",
            "https://bucket.s3.eu-west-1.amazonaws.com:443/in/key",
        ] {
            assert!(check(&policy, "GET", uri).is_ok(), "{uri}");
        }
        for uri in [
            "https://s3.eu-west-1.amazonaws.com/bucket/in/key",
            "https://other.s3.eu-west-1.amazonaws.com/in/key",
            "https://bucket.s3.us-east-1.amazonaws.com/in/key",
            "https://bucket.s3.eu-west-1.amazonaws.com:444/in/key",
            "https://bucket.s3.eu-west-1.amazonaws.com:/in/key",
            "https://bucket.s3.eu-west-1.amazonaws.com./in/key",
            "http://bucket.s3.eu-west-1.amazonaws.com/in/key",
        ] {
            assert_eq!(check(&policy, "GET", uri), Err(Denial::Address), "{uri}");
        }
        let list = check(&policy, "GET", "https://bucket.s3.eu-west-1.amazonaws.com?list-type=2&prefix=in/");
        assert_eq!(
            list.unwrap().uri,
            "https://bucket.s3.eu-west-1.amazonaws.com/?list-type=2&prefix=in%2F"
        );
    }

    #[test]
    fn a_listing_stays_in_the_prefix() {
        let policy = policy(Role::Source, "in/");
        for query in [
            "list-type=2",
            "list-type=2&prefix=",
            "list-type=2&prefix=in",
            "list-type=2&prefix=%69n",
            "list-type=2&prefix=%2569n/",
            "list-type=2&prefix=out/&start-after=in/",
            "versions",
            "versions&prefix=other",
            "uploads&prefix=other",
        ] {
            let uri = format!("http://127.0.0.1:9000/bucket?{query}");
            assert!(
                matches!(check(&policy, "GET", &uri), Err(Denial::Prefix { .. })),
                "{query}"
            );
        }
        for query in ["list-type=2&prefix=%69n%2f", "versions&prefix=in/&delimiter=/"] {
            let uri = format!("http://127.0.0.1:9000/bucket?{query}");
            assert!(check(&policy, "GET", &uri).is_ok(), "{query}");
        }
    }

    #[test]
    fn escapes_are_decoded_once_and_written_as_s3_signs_them() {
        let policy = policy(Role::Source, "");
        for (path, sent) in [
            ("/bucket/a%20b", "/bucket/a%20b"),
            ("/bucket/a+b", "/bucket/a%2Bb"),
            ("/bucket/a%2bb", "/bucket/a%2Bb"),
            ("/bucket/%c3%a9", "/bucket/%C3%A9"),
            ("/bucket/%01%7f", "/bucket/%01%7F"),
            ("/bucket/%2541", "/bucket/%2541"),
            ("/bucket/%41~-._", "/bucket/A~-._"),
            ("/bucket//a//b/", "/bucket//a//b/"),
            ("/bucket/%2Fa", "/bucket//a"),
            ("/bucket/../x/./..", "/bucket/../x/./.."),
            ("/bucket/a:b@c,d;e=f&g!h'(i)*", "/bucket/a%3Ab%40c%2Cd%3Be%3Df%26g%21h%27%28i%29%2A"),
        ] {
            let permit = check(&policy, "GET", &format!("http://127.0.0.1:9000{path}")).unwrap();
            assert_eq!(permit.uri.path(), sent, "{path}");
        }
        for path in ["/bucket/%", "/bucket/%4", "/bucket/%zz", "/bucket/a%"] {
            let uri = format!("http://127.0.0.1:9000{path}");
            assert_eq!(check(&policy, "GET", &uri), Err(Denial::Path), "{path}");
        }
    }

    #[test]
    fn an_escaped_prefix_is_compared_as_the_key_it_means() {
        let policy = policy(Role::Source, "in dir/é");
        for key in ["in%20dir/%C3%A9x", "in%20dir%2F%c3%a9"] {
            let uri = format!("http://127.0.0.1:9000/bucket/{key}");
            assert!(check(&policy, "GET", &uri).is_ok(), "{key}");
        }
        for key in ["in%2520dir/%C3%A9x", "in+dir/%C3%A9", "in%20dir/%C3", "in%20dir/e%CC%81"] {
            let uri = format!("http://127.0.0.1:9000/bucket/{key}");
            assert!(check(&policy, "GET", &uri).is_err(), "{key}");
        }
    }

    #[test]
    fn an_endpoint_may_have_a_path_of_its_own() {
        let input = PolicyInput::from_endpoint(
            Role::Source,
            "http://proxy.example/s3/",
            Addressing::Path,
            "bucket",
            "",
        );
        let policy = Policy::new(input.unwrap()).unwrap();
        assert!(check(&policy, "GET", "http://proxy.example/s3/bucket/key").is_ok());
        for path in ["/bucket/key", "/s3/other/key", "/S3/bucket/key", "/s3bucket/key"] {
            let uri = format!("http://proxy.example{path}");
            assert_eq!(check(&policy, "GET", &uri), Err(Denial::Bucket), "{path}");
        }
    }

    #[test]
    fn settings_that_address_no_bucket_are_refused() {
        let of = |endpoint, addressing, bucket| {
            PolicyInput::from_endpoint(Role::Source, endpoint, addressing, bucket, "")
                .and_then(Policy::new)
        };
        for bucket in ["", "..", ".", "a/b", "a b", "a%2Fb", "é"] {
            assert!(of("http://h", Addressing::Path, bucket).is_err(), "{bucket}");
        }
        for endpoint in ["h", "/h", "ftp://h", "http://u@h", "http://h:", "http://h?x", ""] {
            assert!(of(endpoint, Addressing::Path, "b").is_err(), "{endpoint}");
        }
        let mut input =
            PolicyInput::from_endpoint(Role::Source, "http://h", Addressing::Path, "b", "").unwrap();
        input.addressing = Addressing::VirtualHost;
        assert!(Policy::new(input).is_err(), "an authority without the bucket");
    }

    #[test]
    fn headers_of_signing_access_and_copying_are_refused() {
        for name in [
            "authorization",
            "x-amz-date",
            "date",
            "x-amz-security-token",
            "x-amz-content-sha256",
            "x-amz-acl",
            "x-amz-grant-read",
            "x-amz-copy-source",
            "x-amz-copy-source-range",
            "x-amz-website-redirect-location",
            "x-amz-tagging",
            "x-amz-object-lock-mode",
            "x-amz-bypass-governance-retention",
            "x-amz-mfa",
            "x-amz-trailer",
            "x-amz-decoded-content-length",
            "x-amz-metadata-directive",
            "x-amz-meta",
            "x-amzn-trace-id",
            "x-http-method-override",
            "transfer-encoding",
            "connection",
            "expect",
            "te",
            "accept-encoding",
            "cookie",
            "proxy-authorization",
            "x-forwarded-host",
        ] {
            let wanted = Err(Denial::Header { name: name.to_owned() });
            assert_eq!(check_header(name, b"x"), wanted, "{name}");
        }
    }

    #[test]
    fn headers_of_objects_and_conditions_pass() {
        for name in HEADERS {
            assert!(check_header(name, b"1").is_ok(), "{name}");
        }
        for name in [
            "x-amz-meta-name",
            "x-amz-checksum-crc64nvme",
            "x-amz-checksum-mode",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-customer-key-md5",
        ] {
            assert!(check_header(name, b"1").is_ok(), "{name}");
        }
        assert!(check_header("x-amz-meta-name", "é".as_bytes()).is_ok());
        assert!(check_header("x-amz-meta-name", b"\xff").is_err());
    }

    #[test]
    fn a_host_header_must_name_the_endpoint() {
        assert!(check_header("host", b"127.0.0.1:9000").is_ok());
        for host in ["127.0.0.1", "evil.example", "x@127.0.0.1:9000", "", "127.0.0.1:9000 "] {
            assert!(check_header("host", host.as_bytes()).is_err(), "{host}");
        }
    }

    #[test]
    fn headers_are_few_small_and_single() {
        let policy = policy(Role::Destination, "");
        let uri = Uri::from_static("http://127.0.0.1:9000/bucket/key");
        let mut headers = HeaderMap::new();
        headers.append("range", HeaderValue::from_static("bytes=0-1"));
        headers.append("range", HeaderValue::from_static("bytes=0-2"));
        let denial = policy.check(&Method::GET, &uri, &headers).unwrap_err();
        assert!(matches!(denial, Denial::HeaderValue { .. }));

        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&"x".repeat(HEADERS_BYTES_MAX)).unwrap();
        headers.insert("x-amz-meta-a", value);
        let denial = policy.check(&Method::GET, &uri, &headers).unwrap_err();
        assert!(matches!(denial, Denial::HeadersSize { count: 1, .. }));

        let mut headers = HeaderMap::new();
        for index in 0..=HEADERS_COUNT_MAX {
            let name = HeaderName::try_from(format!("x-amz-meta-{index}")).unwrap();
            headers.insert(name, HeaderValue::from_static(""));
        }
        assert!(policy.check(&Method::GET, &uri, &headers).is_err());
    }

    #[test]
    fn an_address_of_any_length_is_not_read() {
        let uri = format!("http://127.0.0.1:9000/bucket/{}", "a".repeat(URI_BYTES_MAX));
        let denial = check(&policy(Role::Source, ""), "GET", &uri).unwrap_err();
        assert!(matches!(denial, Denial::Length { .. }));
    }

    #[test]
    fn a_denial_never_repeats_what_the_guest_sent_as_a_value() {
        let policy = policy(Role::Source, "in/");
        for uri in [
            "http://127.0.0.1:9000/bucket/s3cr3t",
            "http://127.0.0.1:9000/bucket?list-type=2&prefix=s3cr3t",
            "http://127.0.0.1:9000/bucket?list-type=s3cr3t",
            "http://s3cr3t@127.0.0.1:9000/bucket",
            "http://127.0.0.1:9000/s3cr3t/key",
        ] {
            let denial = check(&policy, "GET", uri).unwrap_err();
            assert!(!format!("{denial} {denial:?}").contains("s3cr3t"), "{uri}");
        }
    }
}
