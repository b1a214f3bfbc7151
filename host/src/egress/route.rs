//! Owns the routes on which connections to a store are made: there directly, to a proxy that passes plain requests on, or
//! through a proxy's tunnel. Leaves the choice of a proxy to `proxy`, the pool to `hyper_upstream`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, ClientConnection};
use tokio::net::TcpStream;
use tower_service::Service;

use super::proxy::{Proxies, Proxy};
use super::resolver::Resolver;
use super::upstream::Connection;
use crate::error::{BoxError, with_causes};

type Direct = HttpsConnector<HttpConnector<Resolver>>;
type DirectStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection, by the way on which it was made.
pub(super) enum Route {
    /// To the store.
    Direct(DirectStream),
    /// To a proxy that reads the requests and passes them on.
    Forward(DirectStream, Proxy),
    /// To the store, through a proxy that passes bytes on. TLS may be in TLS there: it is boxed, since it is large and rare.
    Tunnel(Box<MaybeHttpsStream<DirectStream>>, Proxy),
}

/// A proxy made no connection.
#[derive(Debug, thiserror::Error)]
#[error("the proxy `{proxy}` makes no connection")]
pub(super) struct ProxyFailure {
    pub(super) proxy: String,
    #[source]
    pub(super) source: BoxError,
}

impl ProxyFailure {
    fn new(proxy: &Proxy, source: BoxError) -> Self {
        Self { proxy: proxy.to_string(), source }
    }
}

/// Makes connections, each on its way.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    direct: Direct,
    tls: Arc<ClientConfig>,
    proxies: Arc<Proxies>,
}

impl Routes {
    pub(super) fn new(tcp: HttpConnector<Resolver>, tls: ClientConfig, proxies: Arc<Proxies>) -> Self {
        let tls = Arc::new(tls);
        Self { direct: HttpsConnector::from((tcp, Arc::clone(&tls))), tls, proxies }
    }
}

impl Service<Uri> for Routes {
    type Response = Route;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Route, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Some(proxy) = self.proxies.for_address(&to).cloned() else {
            let connecting = self.direct.call(to);
            return async move { Ok(Route::Direct(connecting.await?)) }.boxed();
        };
        if to.scheme_str() != Some("https") {
            let connecting = self.direct.call(proxy.uri.clone());
            return async move {
                match connecting.await {
                    Ok(stream) => Ok(Route::Forward(stream, proxy)),
                    Err(error) => Err(ProxyFailure::new(&proxy, error).into()),
                }
            }
            .boxed();
        }
        let mut tunnel = Tunnel::new(proxy.uri.clone(), self.direct.clone());
        if let Some(authorization) = proxy.authorization.clone() {
            tunnel = tunnel.with_auth(authorization);
        }
        let named = Named { tunnel, proxy: proxy.clone() };
        let connecting = HttpsConnector::from((named, Arc::clone(&self.tls))).call(to);
        async move { Ok(Route::Tunnel(Box::new(connecting.await?), proxy)) }.boxed()
    }
}

/// A tunnel whose failures name the proxy, so that they can be told from those of the store.
#[derive(Clone)]
struct Named {
    tunnel: Tunnel<Direct>,
    proxy: Proxy,
}

impl Service<Uri> for Named {
    type Response = DirectStream;
    type Error = ProxyFailure;
    type Future = BoxFuture<'static, Result<DirectStream, ProxyFailure>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ProxyFailure>> {
        let ready = self.tunnel.poll_ready(context);
        ready.map_err(|error| ProxyFailure::new(&self.proxy, Box::new(error)))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.tunnel.call(to);
        let proxy = self.proxy.clone();
        async move {
            connecting.await.map_err(|error| {
                // The crate keeps the kind to itself, and leads its words with the name of the thing.
                let words = with_causes(&error);
                let words = words.trim_start_matches("tunnel error: ").to_owned();
                ProxyFailure::new(&proxy, words.into())
            })
        }
        .boxed()
    }
}

impl Route {
    /// What the connection is like.
    pub(super) fn describe(&self) -> Connection {
        match self {
            Self::Direct(stream) => of_direct(stream, None),
            // TLS with a proxy that reads the requests is none with the store.
            Self::Forward(stream, proxy) => Connection { tls: None, ..of_direct(stream, Some(proxy)) },
            Self::Tunnel(stream, proxy) => {
                let (inner, tls) = match &**stream {
                    MaybeHttpsStream::Http(inner) => (inner, None),
                    MaybeHttpsStream::Https(stream) => {
                        let (inner, session) = stream.inner().get_ref();
                        (inner.inner(), Some(agreed(session)))
                    }
                };
                Connection { tls, ..of_direct(inner, Some(proxy)) }
            }
        }
    }
}

fn of_direct(stream: &DirectStream, proxy: Option<&Proxy>) -> Connection {
    let (peer, tls): (Option<SocketAddr>, _) = match stream {
        MaybeHttpsStream::Http(tcp) => (tcp.inner().peer_addr().ok(), None),
        MaybeHttpsStream::Https(stream) => {
            let (tcp, session) = stream.inner().get_ref();
            (tcp.inner().inner().peer_addr().ok(), Some(agreed(session)))
        }
    };
    Connection { peer, tls, proxy: proxy.map(ToString::to_string) }
}

/// Protocol and cipher suite. `TLSv1_3` is `TLS 1.3` to everybody else.
fn agreed(session: &ClientConnection) -> String {
    let version = session.protocol_version();
    let version = version.map(|version| format!("{version:?}").replace("TLSv", "TLS "));
    let version = version.map(|version| version.replace('_', "."));
    let suite = session.negotiated_cipher_suite();
    let suite = suite.map(|suite| format!("{:?}", suite.suite()));
    [version, suite].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl hyper_util::client::legacy::connect::Connection for Route {
    fn connected(&self) -> Connected {
        match self {
            Self::Direct(stream) => stream.connected(),
            // The client then writes whole addresses into its requests.
            Self::Forward(stream, _) => stream.connected().proxy(true),
            Self::Tunnel(stream, _) => stream.connected(),
        }
    }
}

impl Read for Route {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) | Self::Forward(stream, _) => Pin::new(stream).poll_read(context, buffer),
            Self::Tunnel(stream, _) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Route {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) | Self::Forward(stream, _) => Pin::new(stream).poll_write(context, bytes),
            Self::Tunnel(stream, _) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Direct(stream) | Self::Forward(stream, _) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Tunnel(stream, _) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Direct(stream) | Self::Forward(stream, _) => stream.is_write_vectored(),
            Self::Tunnel(stream, _) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) | Self::Forward(stream, _) => Pin::new(stream).poll_flush(context),
            Self::Tunnel(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Direct(stream) | Self::Forward(stream, _) => Pin::new(stream).poll_shutdown(context),
            Self::Tunnel(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
