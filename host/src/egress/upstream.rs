//! Owns the port through which signed requests reach S3, and the failures that can come back. Leaves the real
//! client to `hyper_upstream` and the choice of requests to `egress`.
//!
//! A test or a simulation puts a server in this process in the client's place by implementing [`Upstream`].

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;

use super::trust::Distrust;
use crate::error::BoxError;

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

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's name has no address.
    #[error("the host's name can't be resolved")]
    Dns(#[source] BoxError),
    /// Nobody listens there.
    #[error("the connection was refused")]
    Refused(#[source] BoxError),
    /// No connection within the time limit.
    #[error("no connection within the time limit")]
    ConnectTimeout(#[source] BoxError),
    /// There is no route to the host.
    #[error("the host can't be reached")]
    Unreachable(#[source] BoxError),
    /// This process has no ports or descriptors left.
    #[error("no more connections can be opened")]
    Exhausted(#[source] BoxError),
    /// The proxy can't be reached, or makes no connection.
    #[error("the proxy `{proxy}` makes no connection")]
    Proxy {
        /// Where it is, without a password.
        proxy: String,
        /// Why not.
        #[source]
        source: BoxError,
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
        source: BoxError,
    },
    /// The server speaks no TLS that we speak, or no TLS at all.
    #[error("the TLS connection failed")]
    Tls(#[source] BoxError),
    /// The connection was there, and ended too early.
    #[error("the connection was ended early")]
    Terminated(#[source] BoxError),
    /// The answer is not HTTP/1.1 as we know it.
    #[error("the answer is not valid HTTP")]
    Protocol(#[source] BoxError),
}
