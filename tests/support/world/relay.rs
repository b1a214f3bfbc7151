//! Owns the way to a real server, on which a case holds, fails and logs requests as on that to the embedded one. Leaves
//! what happens to a request to the wire.
//!
//! It comes after the host's signing: a request is passed on as it is.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use s3_connector_host::egress::HyperUpstream;
use s3_connector_host::egress::upstream::{Connection, Error, Upstream, UpstreamBody};
use s3s::{Body, StdError};

use embedded_s3::{Closed, Wire};

/// A client that asks a wire before it sends.
pub(super) struct Relay {
    pub(super) wire: Wire,
    pub(super) client: HyperUpstream,
}

impl Upstream for Relay {
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<UpstreamBody>, Error>> {
        let Self { wire, client } = self;
        let (wire, client) = (wire.clone(), client.clone());
        async move {
            let send = |request: Request<Bytes>| async move {
                let answer = client.send(request.map(Full::new)).await?;
                Ok::<_, Failure>(answer.map(Body::http_body_unsync))
            };
            let answer = wire.relay(request, send).await.map_err(|Failure(e)| e)?;
            Ok(answer.map(|body| body.map_err(broken).boxed_unsync()))
        }
        .boxed()
    }

    fn connect(&self, to: &Uri) -> Option<BoxFuture<'static, Result<Connection, Error>>> {
        self.client.connect(to)
    }
}

/// Why there is no answer: for the client's reason, or because a fault closed the connection.
struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Closed> for Failure {
    fn from(closed: Closed) -> Self {
        Self(Error::Terminated(Box::new(closed)))
    }
}

/// The client's own error, or a fault's.
fn broken(error: StdError) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::Terminated(error),
    }
}
