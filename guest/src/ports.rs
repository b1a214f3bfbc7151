//! Owns the ports of the connector: HTTP, clock, randomness, saved state and a log. Leaves what to request of S3, and
//! when to retry, to `s3`.
//!
//! The connector reaches the outside through these traits alone, which makes it deterministic: the same answers give
//! the same records, bit for bit. The component implements the traits over WASI, tests in memory.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::payload::{Payload, Writer};
use crate::time::Timestamp;

/// An HTTP method that S3 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads the headers alone.
    Head,
    /// Writes.
    Put,
    /// Begins or ends an upload in parts.
    Post,
    /// Removes.
    Delete,
}

impl Method {
    /// The method's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// A plain, unsigned HTTP request. The host signs it, if its policy allows it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Whether to use TLS.
    pub tls: bool,
    /// Host and, where it isn't the scheme's own, port.
    pub authority: String,
    /// Path and query, percent-encoded.
    pub path_with_query: String,
    /// Header names in lower case, and their values.
    pub headers: Vec<(&'static str, String)>,
    /// Headers whose names are made at run time, such as user metadata.
    pub extra_headers: Vec<(String, String)>,
    /// The body; empty where there is none.
    pub body: Payload,
}

/// An HTTP response whose body may still be arriving.
#[derive(Debug)]
pub struct Response<B> {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and their values, read by [`header_text`].
    pub headers: Vec<(String, String)>,
    /// The body, by handle.
    pub body: B,
}

impl<B> Response<B> {
    /// The value of the header `name` (lower case), if there is one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A header's value as text: UTF-8, which S3 and most stores send, otherwise ISO 8859-1, as
/// [browsers read it](https://fetch.spec.whatwg.org/#concept-header-value), so that no byte is lost.
pub fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Why an exchange gave no usable response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The host's policy denied the request; a retry changes nothing.
    Refused(String),
    /// The network or the peer failed; a retry may help.
    Broken(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "the host's policy refused the request: {why}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for TransportError {}

/// Arriving bytes, held by handle.
pub trait Body: fmt::Debug + 'static {
    /// Reads the next bytes; `None` at the end. A body that ends early ends with an error.
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, TransportError>>;
}

/// HTTP exchanges.
pub trait Transport {
    /// The body of a response.
    type Body: Body;

    /// Sends a request and returns once the response's headers are there. A status is never an error.
    fn send(&self, request: Request) -> impl Future<Output = Result<Response<Self::Body>, TransportError>> + 'static;

    /// Sends a request whose body is the next `length` bytes of another body, which end with it where they are `all`. Once they
    /// are handed over, gives what the answer comes by. A transport that can hands them over where they are; this one reads
    /// them.
    fn splice(
        &self,
        mut request: Request,
        body: &mut Self::Body,
        length: u64,
        all: bool,
    ) -> impl Future<Output = Result<Answer<Self::Body>, SpliceError>>
    where
        Self: Sized,
    {
        async move {
            let mut bytes = Writer::default();
            while (bytes.len() as u64) < length || all {
                let Some(piece) = body.read().await.map_err(SpliceError::of_body)? else { break };
                bytes.put(&piece);
                if bytes.len() as u64 > length {
                    return Err(SpliceError::longer(length));
                }
            }
            if (bytes.len() as u64) < length {
                return Err(SpliceError::shorter(length));
            }
            request.body = bytes.finish();
            let answer: Answer<Self::Body> = Box::pin(self.send(request));
            Ok(answer)
        }
    }
}

/// An answer on its way.
pub type Answer<B> = LocalBoxFuture<'static, Result<Response<B>, TransportError>>;

/// Why a request with the bytes of another body gave no usable response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// Its bytes broke off; nothing was stored.
    #[error("{0}")]
    Body(String),
    /// They are not as many as was said; nothing was stored.
    #[error("{0}")]
    Length(String),
    /// The exchange failed.
    #[error("{0}")]
    Request(TransportError),
}

impl SpliceError {
    /// The body failed.
    pub(crate) fn of_body(error: TransportError) -> Self {
        Self::Body(error.to_string())
    }

    /// There are more bytes than was said.
    pub(crate) fn longer(length: u64) -> Self {
        Self::Length(format!("it is longer than its declared {length} bytes"))
    }

    /// There are fewer.
    pub(crate) fn shorter(length: u64) -> Self {
        Self::Length(format!("it is shorter than its declared {length} bytes"))
    }
}

/// A clock.
pub trait Clock {
    /// The time of day, as the host believes it to be. Never used to order changes.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static;
}

/// Randomness.
pub trait Random {
    /// 64 random bits.
    fn random(&self) -> u64;
}

/// Why a named value could not be kept or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The host keeps nothing.
    #[error("the host keeps no state")]
    Absent,
    /// It could not be written or read.
    #[error("{0}")]
    Failed(String),
}

/// The longest name of a saved value, which has letters, digits, `.`, `_`, `-` and `/`. This and the three limits below
/// are the contract's (`wit/state.wit`).
pub const STATE_NAME_BYTES_MAX: usize = 80;

/// The largest saved value. A host whose lists of bytes cost it 32 bytes per byte, as wasmtime's dynamic values do, holds
/// 32 MiB for one.
pub const STATE_VALUE_BYTES_MAX: usize = 1 << 20;

/// The most that the names and values of one commit may have together: two of the largest values. wasmtime lets 128 MiB
/// across per call by default, which is 4 MiB of bytes as dynamic values.
pub const STATE_COMMIT_BYTES_MAX: usize = 2 << 20;

/// The most edits in one commit: several times what removing the pieces of the largest plans takes.
pub const STATE_COMMIT_EDITS_MAX: usize = 4096;

/// What one saved value becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The value's name.
    pub name: String,
    /// What it becomes; `None` where it is removed, which needs no value to be there.
    pub value: Option<Vec<u8>>,
}

impl Edit {
    /// Saves a value.
    pub fn save(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// Removes a value.
    pub fn remove(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }
}

/// Gives small named values that outlive an instance.
pub trait State {
    /// The value last saved under `name`, if there is one.
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError>;

    /// Makes all edits durably before it returns, or fails as the contract says. Each is of another value.
    fn commit(&self, edits: Vec<Edit>) -> Result<(), StateError>;
}

/// Log severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For debugging the connector.
    Debug,
    /// Information for users.
    Info,
    /// Something was skipped or missed, or works worse than it could.
    Warn,
}

/// A log.
pub trait Log {
    /// Emits one line.
    fn log(&self, level: Level, message: &str);

    /// Reports an object that was skipped although it exists: a warning, which a host may also list at the end.
    fn skipped(&self, key: &str, reason: &str) {
        let line = format!("skipped: {reason}; key=`{key}`");
        self.log(Level::Warn, &line);
    }

    /// Reports a batch that is stored, which a host may count.
    fn stored(&self, batch: StoredBatch) {
        let StoredBatch { cut, records, bytes } = batch;
        let line = format!("batch stored; cut=`{}`, records=`{records}`, bytes=`{bytes}`", cut.name());
        self.log(Level::Debug, &line);
    }

    /// Reports that a request is sent once more, which a host may count.
    fn retrying(&self, line: &str) {
        self.log(Level::Debug, line);
    }
}

/// Why a batch was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// It had as many records as a batch may have.
    Records,
    /// It had as many bytes, or the next record was too large for it.
    Bytes,
    /// Its first record had waited for as long as it may.
    Delay,
    /// Everything was asked for.
    Flush,
    /// Others needed its place, or it held up too many acks.
    Partitions,
    /// A large record was stored by itself.
    Large,
}

impl Cut {
    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Bytes => "bytes",
            Self::Delay => "delay",
            Self::Flush => "flush",
            Self::Partitions => "partitions",
            Self::Large => "large",
        }
    }
}

/// A batch that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// What ended it.
    pub cut: Cut,
    /// Records in it.
    pub records: u64,
    /// Bytes of its object.
    pub bytes: u64,
}

/// All ports.
pub trait Ports: Transport + Clock + Random + State + Log + Clone + 'static {}

impl<T: Transport + Clock + Random + State + Log + Clone + 'static> Ports for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_of_a_header_is_lost() {
        assert_eq!(header_text("späße".as_bytes()), "späße");
        assert_eq!(header_text(b"caf\xe9"), "café");
        assert_eq!(header_text(b"\x80\xff"), "\u{80}ÿ");
    }
}
