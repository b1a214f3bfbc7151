//! Owns the decision whether a request of the guest may leave: scheme, authority, bucket, prefix, method,
//! sub-resource and headers. Leaves the table of operations to `operation`, and signing to `sign`.
//!
//! Deny by default. A request that passes is written anew from what was checked ([`Permit::uri`]), so what is
//! signed and sent is what was understood here, never the guest's own spelling of it.

use std::fmt::Write as _;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use s3_connector::config::{Storage, Writes};

use super::denial::{Denial, URI_BYTES_MAX, printable};
use super::operation::{Query, S3Operation, decode};
use crate::role::Role;

/// User metadata is at most 2 KB and S3 refuses more than 8 KB of headers in all
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>); twice that leaves clones room.
pub(super) const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// 2 KB of metadata in names and values of a few bytes each, and the dozen headers of S3's own.
pub(super) const HEADERS_COUNT_MAX: usize = 256;

/// What S3 leaves unescaped in the signature's canonical form of a path
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>, `UriEncode`).
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The same for names and values of a query, where a slash is escaped.
const QUERY: &AsciiSet = &PATH.add(b'/');

/// Headers that the runtime sets, or the egress anew, on every request.
const RUNTIME_HEADERS: [HeaderName; 1] = [header::CONTENT_LENGTH];

/// Says who pays for a request.
const REQUEST_PAYER: HeaderName = HeaderName::from_static("x-amz-request-payer");

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
    /// What a destination may do.
    pub writes: Writes,
    /// Whether requests may say that the owner of the keys pays.
    pub requester_pays: bool,
    /// How the settings have the store keep what a destination writes.
    pub storage: Storage,
}

#[cfg(test)]
impl PolicyInput {
    /// The input for an endpoint's address, such as `https://s3.eu-west-1.amazonaws.com`.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`] if the address is not absolute, not http(s), or has a query.
    pub(super) fn from_endpoint(
        role: Role,
        endpoint: &str,
        addressing: Addressing,
        bucket: &str,
        prefix: &str,
    ) -> Result<Self, Error> {
        let refuse = || Error::Endpoint { endpoint: endpoint.to_owned() };
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
            writes: Writes::Batches,
            requester_pays: false,
            storage: Storage::default(),
        })
    }
}

/// A request that may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// What it asks of S3.
    pub operation: S3Operation,
    /// Where it goes, written anew in S3's canonical escapes: sign and send this one.
    pub uri: Uri,
}

/// Whose requests a policy judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    /// A connector's.
    Connector(Role),
    /// The host's own, which removes the one object whose key is the policy's prefix.
    Removal,
}

/// Whether a `Range` is one of bytes with both ends.
fn is_one_range(value: &[u8]) -> bool {
    let ends =
        value.strip_prefix(b"bytes=").and_then(|ends| ends.iter().position(|byte| *byte == b'-').map(|at| (ends, at)));
    let is_number = |text: &[u8]| (1..=20).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    ends.is_some_and(|(ends, at)| is_number(&ends[..at]) && is_number(&ends[at + 1..]))
}

/// Decides which requests of one instance may leave.
#[derive(Debug, Clone)]
pub struct Policy {
    grant: Grant,
    scheme: Scheme,
    authority: Authority,
    /// The path before the slash that precedes a key: base path, and the bucket in path style.
    root: Vec<u8>,
    prefix: String,
    writes: Writes,
    requester_pays: bool,
    /// Headers that whatever begins an object carries, with these values, and nothing else does.
    storage: Vec<(&'static str, String)>,
}

impl Policy {
    /// Makes the policy of one instance.
    ///
    /// # Errors
    ///
    /// If the input can't be the address of a bucket.
    pub fn new(input: PolicyInput) -> Result<Self, Error> {
        let PolicyInput { role, scheme, authority, addressing, base_path, bucket, prefix, writes, .. } = input;
        let (requester_pays, storage) = (input.requester_pays, input.storage.headers());
        let refuse = || Error::Authority { authority: authority.clone() };
        let authority_ = Authority::try_from(authority.as_str()).map_err(|_| refuse())?;
        address(&authority_, &scheme).ok_or_else(refuse)?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(Error::Endpoint { endpoint: scheme.to_string() });
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
        let grant = Grant::Connector(role);
        Ok(Self { grant, scheme, authority: authority_, root, prefix, writes, requester_pays, storage })
    }

    /// A policy that lets one object of the same bucket be removed, and nothing else.
    #[must_use]
    pub(crate) fn removal_of(&self, key: &str) -> Self {
        Self { grant: Grant::Removal, prefix: key.to_owned(), ..self.clone() }
    }

    /// Whether objects are written over, so that a write needs no condition, and its repetition changes nothing.
    pub(super) fn writes_over(&self) -> bool {
        self.grant == Grant::Connector(Role::Destination) && matches!(self.writes, Writes::Objects { .. })
    }

    /// Decides about one request.
    ///
    /// # Errors
    ///
    /// A [`Denial`] that says what is not permitted.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Permit, Denial> {
        self.check_address(uri)?;
        let path = self.read_path(uri.path())?;
        let query = match uri.query() {
            None => Query::default(),
            Some(query) => Query::parse(query)?,
        };
        let operation = S3Operation::recognise(method, !path.key.is_empty(), &query)?;
        let is_permitted = match self.grant {
            Grant::Connector(role) => operation.is_permitted(role, self.writes),
            Grant::Removal => operation == S3Operation::DeleteObject,
        };
        if !is_permitted {
            return Err(Denial::Role { operation: operation.name() });
        }
        // A version can't be had back.
        let is_final = operation == S3Operation::DeleteObject && query.get("versionId").is_some();
        if is_final && self.grant != Grant::Removal {
            return Err(Denial::Parameter { operation: operation.name(), name: "versionId".to_owned() });
        }
        self.check_prefix(operation, &path.key, &query)?;
        self.check_headers(operation, headers)?;
        Ok(Permit { operation, uri: self.write_uri(&path, &query)? })
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

    fn check_prefix(&self, operation: S3Operation, key: &[u8], query: &Query) -> Result<(), Denial> {
        let within = if self.grant == Grant::Removal {
            !key.is_empty() && key == self.prefix.as_bytes()
        } else if !key.is_empty() {
            key.starts_with(self.prefix.as_bytes())
        } else if operation.lists() {
            query.get("prefix").unwrap_or_default().starts_with(&self.prefix)
        } else {
            true
        };
        if within { Ok(()) } else { Err(Denial::Prefix { operation: operation.name() }) }
    }

    fn check_headers(&self, operation: S3Operation, headers: &HeaderMap) -> Result<(), Denial> {
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let count = headers.len();
        if count > HEADERS_COUNT_MAX || bytes > HEADERS_BYTES_MAX {
            return Err(Denial::HeadersSize { count, bytes });
        }
        // What should be encrypted, or in another class, does not go there plainly.
        for (name, value) in self.storage_of(operation) {
            if headers.get(*name).is_none_or(|found| found != value) {
                return Err(Denial::Storage { operation: operation.name(), name });
            }
        }
        for name in headers.keys() {
            let mut values = headers.get_all(name).iter();
            let value = values.next().expect("a name of the map has a value");
            // Which of two counts differs between servers.
            if values.next().is_some() {
                return Err(Denial::HeaderTwice { name: printable(name.as_str()) });
            }
            if !is_plain(value.as_bytes()) {
                return Err(Denial::HeaderValue { name: printable(name.as_str()) });
            }
            if !self.is_permitted_header(operation, name, value) {
                return Err(Denial::Header { name: printable(name.as_str()) });
            }
        }
        Ok(())
    }

    fn is_permitted_header(&self, operation: S3Operation, name: &HeaderName, value: &HeaderValue) -> bool {
        if name == header::HOST {
            // The runtime adds it from the authority; any other value was smuggled in.
            let named = Authority::try_from(value.as_bytes()).ok();
            let named = named.as_ref().and_then(|named| address(named, &self.scheme));
            return named.is_some() && named == address(&self.authority, &self.scheme);
        }
        let permits = |permitted: &&str| match permitted.strip_suffix('-') {
            Some(_) => name.as_str().starts_with(permitted),
            None => name == permitted,
        };
        // Several ranges would be answered by another kind of document.
        if name == header::RANGE && !is_one_range(value.as_bytes()) {
            return false;
        }
        if name == REQUEST_PAYER {
            return self.requester_pays && value == "requester";
        }
        RUNTIME_HEADERS.contains(name)
            || operation.headers(self.writes).iter().any(permits)
            || self.storage_of(operation).iter().any(|(asked, _)| name == asked)
    }

    /// The headers by which settings say how the store is to keep an object, where the operation begins one.
    fn storage_of(&self, operation: S3Operation) -> &[(&'static str, String)] {
        if operation.begins_object() { &self.storage } else { &[] }
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

/// Whether servers agree on what a value is when they check a signature over it: other bytes, tabs and blanks at its
/// ends are trimmed, joined or decoded by some and not by others, and a refusal repeats all that was signed
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-5.5>).
fn is_plain(value: &[u8]) -> bool {
    let is_printable = value.iter().all(|byte| (0x20..=0x7e).contains(byte));
    is_printable && !value.starts_with(b" ") && !value.ends_with(b" ") && !value.windows(2).any(|pair| pair == b"  ")
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
