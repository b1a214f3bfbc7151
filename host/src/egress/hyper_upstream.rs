//! Owns the HTTP client of the process: one pool of connections, TLS, name look-up, time to connect. Leaves
//! what is sent and how long an answer may take to `egress`.
//!
//! HTTP/1.1 alone: S3 offers nothing else, and hyper-util keeps a single HTTP/2 connection per host
//! (<https://github.com/hyperium/hyper/issues/3623>).

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use crate::environment::Environment;
use crate::error::{BoxError, with_causes};

use super::proxy::{Proxies, ProxyError};
use super::resolver::{LookupError, Resolver};
use super::route::{ProxyFailure, Routes};
use super::trust::{self, Distrust, TrustError};
use super::upstream::{Connection, Error, Upstream, UpstreamBody};

/// Time for the TCP connection; hyper-util divides it among the host's addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for name look-up, TCP and TLS together: a server that accepts and then says nothing must not hold a
/// request until the limit for its answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// S3 drops connections that are idle for about 5 s; ours go first, so that few requests meet a dead one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Above any concurrency of one process: a pool that keeps fewer than are in use opens anew for the rest.
const IDLE_PER_HOST_MAX: usize = 512;

/// Answers carry user metadata as headers, 2 KB of it in names and values of a few bytes; hyper allows 100.
const RESPONSE_HEADERS_MAX: usize = 512;

/// Connections on all ways, with a time limit.
type Connector = Limited<Routes>;

/// Why no client can be made of the variables.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The trusted certificates can't be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A proxy's address is none.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// The real [`Upstream`]: a pooled client. Clones share the pool; a process needs one.
#[derive(Debug, Clone)]
pub struct HyperUpstream {
    client: Arc<Client<Connector, Full<Bytes>>>,
    connector: Connector,
    proxies: Arc<Proxies>,
}

impl HyperUpstream {
    /// Makes a client as the variables say: `AWS_CA_BUNDLE`, `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    ///
    /// If the bundle can't be read, or a proxy's address is none.
    pub fn from_environment(environment: &Environment) -> Result<Self, SetupError> {
        let proxies = Proxies::of(environment)?;
        Ok(Self::with(environment.ca_bundle().as_deref(), proxies)?)
    }

    /// Makes a client that trusts the system's certificates, or those of a bundle (the file that
    /// `AWS_CA_BUNDLE` names) in their stead, as the aws CLI does. It uses no proxy.
    ///
    /// # Errors
    ///
    /// If the bundle can't be read. A system without certificates is no error: plain HTTP needs none, and TLS
    /// will then fail with [`Error::Certificate`].
    pub fn new(ca_bundle: Option<&Path>) -> Result<Self, TrustError> {
        Self::with(ca_bundle, Proxies::default())
    }

    fn with(ca_bundle: Option<&Path>, proxies: Proxies) -> Result<Self, TrustError> {
        let tls = trust::client_tls(ca_bundle)?;
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let proxies = Arc::new(proxies);
        let connector = Limited(Routes::new(tcp, tls, Arc::clone(&proxies)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_headers(RESPONSE_HEADERS_MAX)
            // An idle connection that the server closed just now: the request never left, another may.
            .retry_canceled_requests(true)
            // `Host` is part of the signature.
            .set_host(false)
            .build(connector.clone());
        Ok(Self { client: Arc::new(client), connector, proxies })
    }
}

impl Upstream for HyperUpstream {
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<UpstreamBody>, Error>> {
        let mut request = request;
        // A proxy that passes plain requests on is a part of the way, and reads this header; a tunnel has sent it.
        let is_plain = request.uri().scheme_str() == Some("http");
        let forward = self.proxies.for_address(request.uri());
        let forward = forward.filter(|_| is_plain).cloned();
        let authorization = forward.as_ref().and_then(|proxy| proxy.authorization.clone());
        if let Some(authorization) = authorization {
            let headers = request.headers_mut();
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        let sent = self.client.request(request);
        async move {
            let response = sent.await.map_err(classify_client)?;
            if let Some(proxy) = forward
                && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            {
                return Err(Error::Proxy { proxy: proxy.to_string(), source: "proxy authorization required".into() });
            }
            Ok(response.map(|body| body.map_err(classify_body).boxed_unsync()))
        }
        .boxed()
    }

    fn connect(&self, to: &Uri) -> Option<BoxFuture<'static, Result<Connection, Error>>> {
        let connecting = self.connector.clone().call(to.clone());
        let connected = async move {
            let route = connecting.await.map_err(classify_connecting)?;
            Ok(route.describe())
        };
        Some(connected.boxed())
    }

    fn proxy(&self, to: &Uri) -> Option<String> {
        self.proxies.for_address(to).map(ToString::to_string)
    }
}

/// A connector with a limit for the whole way to a usable connection.
#[derive(Debug, Clone)]
struct Limited<C>(C);

/// The limit has passed.
#[derive(Debug, thiserror::Error)]
#[error("no connection in time; seconds=`{}`", HANDSHAKE_TIMEOUT.as_secs())]
struct TooLate;

impl<C> Service<Uri> for Limited<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = self.0.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, connected).await {
                Ok(outcome) => outcome,
                Err(_) => Err(TooLate.into()),
            }
        })
    }
}

/// What a failure is by the first of its causes that tells.
fn classify(error: BoxError) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error.as_ref());
    while let Some(current) = cause {
        // Its causes are the proxy's failures, not the store's.
        if let Some(ProxyFailure { proxy, source }) = current.downcast_ref() {
            return Error::Proxy { proxy: proxy.clone(), source: with_causes(source.as_ref()).into() };
        }
        if current.is::<LookupError>() {
            return Error::Dns(error);
        }
        if current.is::<TooLate>() {
            return Error::ConnectTimeout(error);
        }
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return match tls {
                rustls::Error::InvalidCertificate(why) => Error::Certificate(Distrust::of(why)),
                rustls::Error::NoCertificatesPresented => Error::Certificate(Distrust::None),
                rustls::Error::AlertReceived(alert) => {
                    let alert = u8::from(*alert);
                    Error::Alert { alert, source: error }
                }
                _ => Error::Tls(error),
            };
        }
        if let Some(io) = current.downcast_ref::<io::Error>() {
            // An I/O error hides what it was made from: its `source` is the source of that.
            if let Some(inner) = io.get_ref() {
                cause = Some(inner);
                continue;
            }
            return classify_io(io.kind(), io.raw_os_error(), error);
        }
        cause = current.source();
    }
    Error::Terminated(error)
}

fn classify_io(kind: io::ErrorKind, code: Option<i32>, error: BoxError) -> Error {
    use rustix::io::Errno;
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL];
    if exhausted.iter().any(|errno| code == Some(errno.raw_os_error())) {
        return Error::Exhausted(error);
    }
    match kind {
        io::ErrorKind::ConnectionRefused => Error::Refused(error),
        io::ErrorKind::TimedOut => Error::ConnectTimeout(error),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Error::Unreachable(error),
        _ => Error::Terminated(error),
    }
}

fn classify_client(error: ClientError) -> Error {
    let connecting = error.is_connect();
    let hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    if !connecting && hyper.is_some_and(is_protocol) {
        return Error::Protocol(Box::new(error));
    }
    if connecting {
        return classify_connecting(Box::new(error));
    }
    match classify(Box::new(error)) {
        // A time limit of the system's on a connection that was there.
        Error::ConnectTimeout(source) => Error::Terminated(source),
        other => other,
    }
}

fn classify_connecting(error: BoxError) -> Error {
    match classify(error) {
        // The handshake ended with neither alert nor reason: a port that speaks no TLS closes like that.
        Error::Terminated(source) if is_unexpected_end(source.as_ref()) => Error::Tls(source),
        other => other,
    }
}

fn classify_body(error: hyper::Error) -> Error {
    if is_protocol(&error) {
        return Error::Protocol(Box::new(error));
    }
    match classify(Box::new(error)) {
        Error::ConnectTimeout(source) | Error::Refused(source) => Error::Terminated(source),
        other => other,
    }
}

fn is_protocol(error: &hyper::Error) -> bool {
    error.is_parse() || error.is_parse_status() || error.is_parse_too_large() || error.is_user()
}

fn is_unexpected_end(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::UnexpectedEof;
        }
        cause = current.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn causes_are_found_through_their_wrappers() {
        let io = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let wrapped = |inner: BoxError| -> BoxError { Box::new(io::Error::other(inner)) };
        let of = |source: BoxError| format!("{:?}", classify(wrapped(wrapped(source))));
        for (source, name) in [
            (Box::new(LookupError(io(Errno::NOENT))) as BoxError, "Dns"),
            (Box::new(TooLate), "ConnectTimeout"),
            (Box::new(io(Errno::CONNREFUSED)), "Refused"),
            (Box::new(io(Errno::TIMEDOUT)), "ConnectTimeout"),
            (Box::new(io(Errno::HOSTUNREACH)), "Unreachable"),
            (Box::new(io(Errno::NETUNREACH)), "Unreachable"),
            (Box::new(io(Errno::MFILE)), "Exhausted"),
            (Box::new(io(Errno::ADDRNOTAVAIL)), "Exhausted"),
            (Box::new(io(Errno::CONNRESET)), "Terminated"),
            (Box::new(io(Errno::PIPE)), "Terminated"),
            ("anything else".into(), "Terminated"),
            (Box::new(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired)), "Certificate"),
            (Box::new(rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure)), "Alert { alert: 40"),
            (Box::new(rustls::Error::DecryptError), "Tls"),
        ] {
            let got = of(source);
            assert!(got.starts_with(name), "{name}: {got}");
        }
    }

    /// Accepts, and then says nothing.
    #[derive(Clone)]
    struct Silent;

    impl Service<Uri> for Silent {
        type Response = ();
        type Error = BoxError;
        type Future = BoxFuture<'static, Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            std::future::pending().boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_never_ends_is_given_up() {
        let started = tokio::time::Instant::now();
        let error = Limited(Silent).call(Uri::from_static("https://h")).await.unwrap_err();
        assert!(matches!(classify(error), Error::ConnectTimeout(_)));
        assert_eq!(started.elapsed(), HANDSHAKE_TIMEOUT);
    }
}
