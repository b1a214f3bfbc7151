//! Owns name look-up, as the system does it. Leaves what a failure of it is called to `hyper_upstream`.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Looks names up as the system does, and marks its failures so that they can be told from others.
#[derive(Debug, Clone)]
pub(super) struct Resolver(GaiResolver);

impl Resolver {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

/// A failed look-up.
#[derive(Debug, thiserror::Error)]
#[error("name look-up failed")]
pub(super) struct LookupError(#[source] pub(super) io::Error);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = LookupError;
    type Future = BoxFuture<'static, Result<Self::Response, LookupError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LookupError>> {
        self.0.poll_ready(context).map_err(LookupError)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name);
        async move { Ok(found.await.map_err(LookupError)?.collect::<Vec<_>>().into_iter()) }.boxed()
    }
}
