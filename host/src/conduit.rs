//! Owns the life of a standalone plugin of [Conduit](https://conduit.io): an unmodified Conduit starts this process, and runs a
//! source or a destination whose work the component does. Leaves the parts to modules: the first line to `handshake`, the end
//! to `lifetime`, the services of go-plugin to `go_plugin`, and those of a connector to `specifier`, `source` and `destination`.
//!
//! A process serves one source or one destination. Calls of the engine are served on a runtime of their own, so that they are
//! answered whatever the component does; endpoints and pipelines run on another one.

mod destination;
mod engine;
mod go_plugin;
mod handshake;
mod lifetime;
mod log;
mod moment;
mod parameters;
mod records;
mod source;
mod specifier;
mod state_folder;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use conduit_protocol::connector::v2::destination_plugin_server::DestinationPluginServer;
use conduit_protocol::connector::v2::source_plugin_server::SourcePluginServer;
use conduit_protocol::connector::v2::specifier_plugin_server::SpecifierPluginServer;
use conduit_protocol::go_plugin::grpc_broker_server::GrpcBrokerServer;
use conduit_protocol::go_plugin::grpc_controller_server::GrpcControllerServer;
use conduit_protocol::go_plugin::grpc_stdio_server::GrpcStdioServer;
use conduit_protocol::health::v1::health_server::HealthServer;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Server;

use crate::connector::{Connector, Options};
use crate::error::{Error, Result};

use self::engine::Engine;
use self::lifetime::Lifetime;

/// Bytes that the engine may send ahead on one stream. The default of 64 KiB has large records crawl.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Bytes that it may send ahead on its connection. Half of them is what h2 allows in overhead of frames that are small and unread:
/// 256 bytes less what each carries. A stream's window of messages of 15 bytes, the smallest with a record, has 17 MiB of that.
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Whether Conduit has started this process.
#[must_use]
pub fn is_wanted() -> bool {
    handshake::has_cookie(std::env::var(handshake::COOKIE_NAME).ok().as_deref())
}

/// What all services share.
struct Plugin {
    engine: Engine,
    options: Options,
    connector: OnceCell<Connector>,
    /// Where endpoints and pipelines run.
    work: Handle,
    lifetime: Lifetime,
}

impl Plugin {
    /// The component, which is loaded when it is first needed: what Conduit asks of every plugin at its own start needs none.
    async fn connector(&self) -> Result<Connector> {
        let load = || async {
            let load = self.work.spawn(Connector::load(self.options.clone()));
            load.await.unwrap_or_else(|lost| Err(lost_task(&lost)))
        };
        self.connector.get_or_try_init(load).await.cloned()
    }
}

/// A grace that never ends: Conduit decides how long a stop may take.
const ENDLESS: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long Conduit has, after SIGTERM, to stop what runs itself.
const TERMINATED: Duration = Duration::from_secs(20);

/// A pipeline at work for the engine.
struct Running<M> {
    /// The pipeline.
    work: JoinHandle<()>,
    /// What comes from the engine, on its way to the pipeline.
    pump: JoinHandle<()>,
    /// Keeps the stream to the engine open, which the engine must end.
    messages: mpsc::Sender<M>,
}

impl<M> Running<M> {
    /// Lets the pipeline end, and ends it after a while.
    async fn end(self, patience: Duration) {
        let Self { mut work, pump, messages } = self;
        // What it has taken already is still passed on; then the pipeline finds nobody there.
        pump.abort();
        if tokio::time::timeout(patience, &mut work).await.is_err() {
            work.abort();
        }
        drop(messages);
    }
}

/// The plugin's own parameters, unless there is a fault in them or in the component's settings: then all faults.
fn all_faults<P>(parameters: Result<P, Vec<String>>, made: Result<()>) -> tonic::Result<P> {
    match (parameters, made) {
        (Ok(parameters), Ok(())) => Ok(parameters),
        (Ok(_), Err(error)) => Err(status(&error)),
        (Err(faults), Ok(())) => Err(Status::unknown(faults.join("\n"))),
        (Err(faults), Err(error)) => Err(Status::unknown(format!("{}\n{}", error.message(), faults.join("\n")))),
    }
}

/// A call that came before another one that it needs.
fn out_of_order(call: &str, needs: &str) -> Status {
    Status::unknown(format!("{call} was called without {needs} before it"))
}

/// A task that has panicked or was aborted.
fn lost_task(lost: &tokio::task::JoinError) -> Error {
    Error::new(crate::error::ErrorKind::Internal, format!("a task of the plugin failed: {lost}"))
}

/// What Conduit is told of an error. It sees nothing but the message.
fn status(error: &Error) -> Status {
    Status::unknown(error.message())
}

/// Serves Conduit until it is done.
///
/// Blocks, prints the one line that Conduit waits for to stdout, and logs to stderr in the form that Conduit reads.
#[must_use]
pub fn serve(options: Options) -> ExitCode {
    let engine = Engine::from_environment(|name| std::env::var(name).ok());
    log::init(engine.log_level);
    let runtimes = runtime("work", 2).and_then(|work| Ok((work, runtime("engine", 1)?)));
    let (work, serving) = match runtimes {
        Ok(runtimes) => runtimes,
        Err(error) => {
            tracing::error!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = serving.block_on(serve_engine(engine, options, work.handle().clone()));
    // Whatever still runs there was given its time.
    work.shutdown_background();
    serving.shutdown_timeout(Duration::ZERO);
    code
}

fn runtime(name: &str, threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build()
}

async fn serve_engine(engine: Engine, options: Options, work: Handle) -> ExitCode {
    let served = async {
        let lifetime = Lifetime::begin()?;
        let listener = handshake::Listener::bind(&engine, &lifetime)?;
        handshake::announce(&engine, &listener)?;
        let receive_bytes_max = engine.receive_bytes_max;
        let plugin = Arc::new(Plugin { engine, options, connector: OnceCell::new(), work, lifetime: lifetime.clone() });
        let source = SourcePluginServer::new(source::SourceService::new(Arc::clone(&plugin)));
        let destination = DestinationPluginServer::new(destination::DestinationService::new(Arc::clone(&plugin)));
        let services = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_service(SpecifierPluginServer::new(specifier::SpecifierService))
            .add_service(source.max_encoding_message_size(usize::MAX))
            .add_service(destination.max_decoding_message_size(receive_bytes_max).max_encoding_message_size(usize::MAX))
            .add_service(GrpcControllerServer::new(go_plugin::Controller::new(lifetime.clone())))
            .add_service(GrpcBrokerServer::new(go_plugin::Broker))
            .add_service(GrpcStdioServer::new(go_plugin::Stdio))
            .add_service(HealthServer::new(go_plugin::Health));
        tokio::select! {
            served = services.serve_with_incoming(listener.connections(lifetime.clone())) => {
                served.map_err(std::io::Error::other)
            }
            () = lifetime.ended() => Ok(()),
        }
    };
    match served.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the plugin cannot be served: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A stream of answers that never has one, and stays open until the engine lets go of it.
type Silence<T> = futures_util::stream::Pending<Result<T, Status>>;
