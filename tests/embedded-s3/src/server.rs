//! Owns the listening socket, and the handle through which a test reaches all parts of a server.
//!
//! Leaves a request's way through the server to `dispatch`.

mod dispatch;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::api::access::Access;
use crate::model::clock::Clock;
use crate::model::options::Options;
use crate::model::store::Store;
use crate::wire::fault::Faults;
use crate::wire::filter::Filter;
use crate::wire::hook::{Hook, Hooks, Pause, Seen};
use crate::wire::journal::LoggedRequest;
use crate::wire::operation::S3Operation;
use crate::wire::{Closed, Wire};
use dispatch::Dispatch;

/// A server, which stops when this is dropped.
pub struct EmbeddedS3 {
    dispatch: Arc<Dispatch>,
    listening: Option<Listening>,
}

struct Listening {
    address: SocketAddr,
    /// None while it is unplugged.
    task: Option<AbortHandle>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.unplug();
    }
}

impl Listening {
    fn unplug(&mut self) {
        // The task owns the connections, so that they are closed with it.
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for EmbeddedS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.listening.as_ref().map(|listening| listening.address);
        f.debug_struct("EmbeddedS3").field("address", &address).finish_non_exhaustive()
    }
}

impl EmbeddedS3 {
    /// Starts a server on 127.0.0.1 and the current runtime. Fails if it cannot bind the port.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let dispatch = Arc::new(Dispatch::new(options));
        let task = tokio::spawn(serve(listener, Arc::clone(&dispatch))).abort_handle();
        Ok(Self { dispatch, listening: Some(Listening { address, task: Some(task) }) })
    }

    /// Closes its connections and refuses new ones, as a server that is restarted. What is stored stays.
    pub fn unplug(&mut self) {
        if let Some(listening) = &mut self.listening {
            listening.unplug();
        }
    }

    /// Listens again, where it did before. Fails if another program has taken the port meanwhile.
    pub async fn plug(&mut self) -> io::Result<()> {
        let Some(listening) = &mut self.listening else {
            return Ok(());
        };
        listening.unplug();
        // The aborted task lets go of the port when it is next scheduled.
        let listener = loop {
            match TcpListener::bind(listening.address).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tokio::task::yield_now().await;
                }
                bound => break bound?,
            }
        };
        let task = tokio::spawn(serve(listener, Arc::clone(&self.dispatch)));
        listening.task = Some(task.abort_handle());
        Ok(())
    }

    /// Makes a server without a socket, whose only way in is [`Self::answer`].
    pub fn unbound(options: Options) -> Self {
        Self { dispatch: Arc::new(Dispatch::new(options)), listening: None }
    }

    /// Gives the URL to send requests to; empty for a server without a socket.
    pub fn endpoint(&self) -> String {
        let url = |listening: &Listening| format!("http://{}", listening.address);
        self.listening.as_ref().map(url).unwrap_or_default()
    }

    /// Gives the address it listens on.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listening.as_ref().map(|listening| listening.address)
    }

    /// Answers a request that did not come through a socket.
    pub async fn answer<B>(&self, request: Request<B>) -> Result<Response<s3s::Body>, Closed>
    where
        B: http_body::Body<Data = Bytes>,
    {
        self.dispatch.answer(request).await
    }

    /// Gives what is stored.
    pub fn store(&self) -> &Store {
        &self.dispatch.store
    }

    /// Gives the clock that stamps objects and answers.
    pub fn clock(&self) -> Clock {
        self.dispatch.store.clock()
    }

    /// Gives the way to it: faults, hooks, pauses, and the log of requests.
    pub fn wire(&self) -> &Wire {
        &self.dispatch.wire
    }

    /// Gives the faults that can happen.
    pub fn faults(&self) -> &Faults {
        self.wire().faults()
    }

    /// Gives the hooks and pauses on requests.
    pub fn hooks(&self) -> &Hooks {
        self.wire().hooks()
    }

    /// Gives the keys and denials.
    pub fn access(&self) -> &Access {
        &self.dispatch.access
    }

    /// Holds matching requests before they take effect, until the test lets each go.
    pub fn pause(&self, filter: impl Into<Filter>) -> Pause {
        self.wire().pause(filter)
    }

    /// Runs `action` on matching requests before they take effect; they wait for it.
    pub fn on_request<F>(&self, filter: impl Into<Filter>, action: impl Fn(Seen) -> F + Send + Sync + 'static) -> Hook
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.wire().on_request(filter, action)
    }

    /// Gives the latest requests in the order in which they arrived.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.wire().requests()
    }

    /// Tells how many requests for an operation have arrived since the start or the last clearing.
    pub fn requests_count(&self, operation: S3Operation) -> u64 {
        self.wire().requests_count(operation)
    }

    /// Forgets the log and the counts.
    pub fn clear_requests(&self) {
        self.wire().clear_requests();
    }
}

async fn serve(listener: TcpListener, dispatch: Arc<Dispatch>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that failed before it was accepted, or too many open files: the next
                // one may do better.
                let Ok((stream, _)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                connections.spawn(converse(stream, Arc::clone(&dispatch)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, dispatch: Arc<Dispatch>) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let dispatch = Arc::clone(&dispatch);
        async move { dispatch.answer(request).await }
    });
    // The date comes from our clock.
    let mut protocol = http1::Builder::new();
    let connection = protocol.auto_date_header(false).serve_connection(TokioIo::new(stream), answer);
    // It ends in an error whenever a fault or the client closes it.
    let _ = connection.await;
}
