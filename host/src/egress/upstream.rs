//! Owns the port through which signed requests reach S3, and the failures that can come back. Leaves the real
//! client to [`HyperUpstream`] and the choice of requests to `egress`.
//!
//! A test or a simulation puts a server in this process in the client's place by implementing [`Upstream`].

use std::error::Error as StdError;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;

pub use super::hyper_upstream::{HyperUpstream, SetupError};
pub use super::proxy::ProxyError;
pub use super::trust::{Distrust, TrustError};

/// The body of an answer.
pub type UpstreamBody = UnsyncBoxBody<Bytes, Error>;

/// Sends signed requests to S3, each as it is: no redirects, no retries beyond those of a dead idle connection.
pub trait Upstream: Send + Sync {
    /// Sends one request and gives the answer as soon as its headers are here. The caller limits how long it
    /// waits: dropping the future gives the request up.
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<UpstreamBody>, Error>>;

    /// Makes a connection as requests to this address would have, sends nothing on it, and tells what it is like.
    /// None where requests don't go over connections.
    fn connect(&self, _to: &Uri) -> Option<BoxFuture<'static, Result<Connection, Error>>> {
        None
    }

    /// The proxy through which requests to this address go, without its password. None where they go there directly.
    fn proxy(&self, _to: &Uri) -> Option<String> {
        None
    }
}

/// A connection as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The address at its other end.
    pub peer: Option<SocketAddr>,
    /// Protocol and cipher suite that were agreed on, where TLS is spoken.
    pub tls: Option<String>,
    /// The proxy that it goes through, or to.
    pub proxy: Option<String>,
}

/// The cause of a failure, for the log.
pub type Source = Box<dyn StdError + Send + Sync>;

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's name has no address.
    #[error("the host's name can't be resolved")]
    Dns(#[source] Source),
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused(#[source] Source),
    /// No connection within the time limit.
    #[error("no connection within the time limit")]
    ConnectTimeout(#[source] Source),
    /// There is no route to the host.
    #[error("the host can't be reached")]
    Unreachable(#[source] Source),
    /// This process has no ports or descriptors left.
    #[error("no more connections can be opened")]
    Exhausted(#[source] Source),
    /// The proxy is not there, or does as it likes.
    #[error("the proxy `{proxy}` makes no connection")]
    Proxy {
        /// Where it is, without a password.
        proxy: String,
        /// Why not.
        #[source]
        source: Source,
    },
    /// The server's certificate is not one to trust.
    #[error("the server's certificate is not trusted")]
    Certificate(#[source] Distrust),
    /// The server ended the handshake with an alert.
    #[error("the server refused the TLS connection; alert=`{alert}`")]
    Alert {
        /// The alert's number, as in RFC 8446, section 6.
        alert: u8,
        /// What came with it.
        #[source]
        source: Source,
    },
    /// The server speaks no TLS that we speak, or none at all.
    #[error("the TLS connection failed")]
    Tls(#[source] Source),
    /// The connection was there, and ended too early.
    #[error("the connection was ended early")]
    Terminated(#[source] Source),
    /// The answer is not HTTP/1.1 as we know it.
    #[error("the answer is not valid HTTP")]
    Protocol(#[source] Source),
}

/// An error and all that caused it, on one line.
pub(crate) fn describe(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        // Many wrappers repeat what they wrap.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_holds_every_cause_once() {
        let inner = std::io::Error::other("the cause");
        let error = Error::Terminated(Box::new(inner));
        assert_eq!(describe(&error), "the connection was ended early: the cause");
    }
}
