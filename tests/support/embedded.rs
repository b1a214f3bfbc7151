//! An S3 server in memory: a reference model of AWS S3 that is never kinder than S3.
//!
//! Tests, the demo and the simulation run on it, in their own process or beside it. The crate `s3s`
//! reads requests, checks signatures and writes answers; the rules of versions, listings, uploads
//! and conditions are ours. On top of what S3 does it does what a test needs: a clock that can be
//! set, faults, pauses, a log, and direct access to what is stored. It keeps nothing, serves plain
//! HTTP on the loopback interface alone, and has no limits of its own.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use s3_connector_tests::embedded::{EmbeddedS3, Options};
//!
//! let server = EmbeddedS3::start(Options::default()).await.unwrap();
//! server.store().create_bucket("photos").unwrap();
//! server.store().put("photos", "a.jpg", "bytes").unwrap();
//! println!("{}", server.endpoint());
//! # });
//! ```

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

mod access;
mod admission;
mod api;
mod body;
mod bucket;
mod bucket_api;
mod clock;
mod copy_api;
mod fault;
mod filter;
mod hook;
mod journal;
mod list_api;
mod listing;
mod lookup;
mod object_api;
mod operation;
mod options;
mod refusal;
mod server;
mod store;
mod upload;
mod upload_api;
mod version;
mod wire;

#[cfg(test)]
mod access_tests;
#[cfg(test)]
mod client;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod object_tests;

pub use access::Access;
pub use bucket::Versioning;
pub use clock::Clock;
pub use fault::{Fault, Faults, Foreign, Reset, Rule, RuleId};
pub use filter::Filter;
pub use hook::{Held, Hook, Hooks, Pause, Seen, Stage};
pub use journal::LoggedRequest;
pub use operation::Operation;
pub use options::{ACCESS_KEY, AccessKey, Checksums, ConditionalWrites, Options, REGION_DEFAULT, SECRET_KEY};
pub use refusal::Refusal;
pub use store::{PutOptions, Store, StoredUpload, StoredVersion};
pub use version::ObjectHeaders;
pub use wire::{Closed, Wire};

use server::Service;

/// A server, which stops when this is dropped.
pub struct EmbeddedS3 {
    service: Arc<Service>,
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
        let service = Arc::new(Service::new(options));
        let task = tokio::spawn(serve(listener, Arc::clone(&service))).abort_handle();
        Ok(Self { service, listening: Some(Listening { address, task: Some(task) }) })
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
        let task = tokio::spawn(serve(listener, Arc::clone(&self.service)));
        listening.task = Some(task.abort_handle());
        Ok(())
    }

    /// Makes a server without a socket, whose only way in is [`Self::answer`].
    pub fn unbound(options: Options) -> Self {
        Self { service: Arc::new(Service::new(options)), listening: None }
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
        self.service.answer(request).await
    }

    /// Gives what is stored.
    pub fn store(&self) -> &Store {
        &self.service.store
    }

    /// Gives the clock that stamps objects and answers.
    pub fn clock(&self) -> Clock {
        self.service.store.clock()
    }

    /// Gives the way to it: faults, hooks, pauses, and the log of requests.
    pub fn wire(&self) -> &Wire {
        &self.service.wire
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
        &self.service.access
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
    pub fn requests_count(&self, operation: Operation) -> u64 {
        self.wire().requests_count(operation)
    }

    /// Forgets the log and the counts.
    pub fn clear_requests(&self) {
        self.wire().clear_requests();
    }
}

async fn serve(listener: TcpListener, service: Arc<Service>) {
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
                connections.spawn(converse(stream, Arc::clone(&service)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, service: Arc<Service>) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    });
    // The date comes from our clock.
    let mut protocol = http1::Builder::new();
    let connection = protocol.auto_date_header(false).serve_connection(TokioIo::new(stream), answer);
    // It ends in an error whenever a fault or the client closes it.
    let _ = connection.await;
}
