//! The ports of the connector: HTTP, clock, randomness, saved state and a log.
//!
//! The connector reaches the world through these traits alone, which makes it deterministic: the same
//! answers give the same records, bit for bit. The component implements them over WASI, tests over an environment in memory.
//! What to ask S3, and when to ask again, is decided elsewhere.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::payload::Payload;
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
            Self::Delete => "DELETE",
        }
    }
}

/// A plain, unsigned HTTP request. The host signs it, if its policy lets it out.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host and, where it isn't the scheme's own, port.
    pub authority: String,
    /// Path and query, percent-encoded.
    pub path_with_query: String,
    /// Header names in lower case, and their values.
    pub headers: Vec<(&'static str, String)>,
    /// Headers whose names are not known beforehand, such as user metadata.
    pub extra_headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Payload,
}

/// An HTTP answer whose body may still be on its way.
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

/// A header's value as text: UTF-8, which S3 and most stores send, or else ISO 8859-1, in which
/// [browsers read them](https://fetch.spec.whatwg.org/#concept-header-value): no byte is lost.
pub fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Why an exchange gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The host's policy did not let the request out; asking again changes nothing.
    Refused(String),
    /// The network or the peer failed; asking again may help.
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

/// Bytes that are on their way, held by handle.
pub trait Body: fmt::Debug + 'static {
    /// Reads the next bytes, or none at the end. A body that ends early ends with an error.
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, TransportError>>;
}

/// Gives HTTP exchanges.
pub trait Transport {
    /// A body that comes in.
    type Body: Body;

    /// Sends a request and answers once the response's headers are there. A status is never an error.
    fn send(&self, request: Request) -> impl Future<Output = Result<Response<Self::Body>, TransportError>> + 'static;
}

/// Gives time.
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

/// Gives small named values that outlive an instance.
pub trait State {
    /// The value last saved under `name`, if there is one.
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError>;

    /// Saves `value` under `name`, durably before it returns.
    fn save(&self, name: &str, value: &[u8]) -> Result<(), StateError>;

    /// Forgets `name`.
    fn remove(&self, name: &str) -> Result<(), StateError>;
}

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever debugs the connector.
    Debug,
    /// What a user may want to know.
    Info,
    /// Something was skipped, lost from sight or works worse than it could.
    Warn,
}

/// Takes log lines.
pub trait Log {
    /// Emits one line.
    fn log(&self, level: Level, message: &str);

    /// Tells of an object that was passed over although it is there: a warning, which the host also lists at the
    /// end, where it can.
    fn skipped(&self, key: &str, reason: &str) {
        let line = format!("skipped an object: {reason}; key=`{key}`");
        self.log(Level::Warn, &line);
    }
}

/// Everything the world gives.
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
