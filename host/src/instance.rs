//! One instance of the component in its sandbox: what it may reach, how much it may use, how long it may compute.
//!
//! It reaches HTTP through the egress, clocks, chance, its own saved state and a log: no files, no sockets. The
//! environment that the Rust library asks for is empty. What the exports mean is `source`'s and
//! `destination`'s.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Request, Response};
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline, WasmCoreDump};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::bindings::{Connector, ConnectorPre, logging, state, types};
use crate::egress::Egress;
use crate::error::{Error, ErrorKind, Result};
use crate::printable;
use crate::skipped::{self, Skipped};
use crate::state::{self as storage, StateStore};

/// Bytes of the component's memory. A destination holds a batch of 64 MiB as it came and encoded, and the four
/// that are on their way.
pub const MEMORY_BYTES_MAX: usize = 1 << 30;

/// The clock tick of interruption: a component that computes gives way to others this often.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// How long a component may compute in one call. Waiting is free; encoding 64 MiB of Parquet takes seconds.
const COMPUTE_MAX: Duration = Duration::from_secs(60);

/// Resources that an instance may hold: streams of records, requests, timers.
const RESOURCES_MAX: usize = 100_000;

/// What an instance is given besides the fixed parts.
pub(crate) struct Means {
    /// Whom log lines name.
    pub(crate) name: String,
    /// Where its state is kept; none where nothing is.
    pub(crate) state: Option<Arc<dyn StateStore>>,
}

/// What belongs to an instance on the host's side.
pub(crate) struct Context {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    limits: StoreLimits,
    means: Means,
    /// What the component says that it passed over.
    skipped: Skipped,
    ticks: u32,
}

/// An instance, and whether it may be called.
pub(crate) struct Instance {
    pub(crate) store: Store<Context>,
    pub(crate) exports: Connector,
    health: Health,
    stderr: MemoryOutputPipe,
}

/// Bytes of a panic's message that are kept.
const STDERR_BYTES_MAX: usize = 4096;

#[derive(Clone, Debug)]
enum Health {
    Idle,
    /// A call is under way, or was dropped half way: nobody knows what the instance holds.
    Busy,
    Trapped(Error),
}

impl Instance {
    /// Makes an instance.
    pub(crate) async fn new(pre: &ConnectorPre<Context>, means: Means) -> Result<Self> {
        let stderr = MemoryOutputPipe::new(STDERR_BYTES_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let context = Context {
            table,
            wasi: WasiCtx::builder().stderr(stderr.clone()).build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks { egress: None },
            limits: StoreLimitsBuilder::new()
                .memory_size(MEMORY_BYTES_MAX)
                .memories(4)
                .tables(8)
                .table_elements(100_000)
                .instances(64)
                .build(),
            means,
            skipped: Skipped::default(),
            ticks: 0,
        };
        let mut store = Store::new(pre.engine(), context);
        store.limiter(|context| &mut context.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let context = store.data_mut();
            context.ticks += 1;
            if TICK.saturating_mul(context.ticks) > COMPUTE_MAX {
                return Err(wasmtime::format_err!(
                    "it computed for {} s in one call",
                    COMPUTE_MAX.as_secs()
                ));
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let exports = pre
            .instantiate_async(&mut store)
            .await
            .map_err(|e| Error::trap(&e))?;
        Ok(Self {
            store,
            exports,
            health: Health::Idle,
            stderr,
        })
    }

    /// Opens the way out.
    pub(crate) fn set_egress(&mut self, egress: Egress) {
        self.store.data_mut().hooks.egress = Some(egress);
    }

    /// What the component has said that it passed over.
    pub(crate) fn skipped(&self) -> Skipped {
        self.store.data().skipped.clone()
    }

    /// The instance's resources.
    pub(crate) fn table(&mut self) -> &mut ResourceTable {
        &mut self.store.data_mut().table
    }

    /// Makes a call of the component. A call that traps, or whose future is dropped half way, ends the instance.
    pub(crate) async fn call<T>(
        &mut self,
        call: impl AsyncFnOnce(&Connector, &mut Store<Context>) -> wasmtime::Result<T>,
    ) -> Result<T> {
        match &self.health {
            Health::Idle => {}
            Health::Busy => {
                let message = "an earlier call was cut off half way";
                return Err(Error::new(ErrorKind::Closed, message));
            }
            Health::Trapped(error) => return Err(error.clone()),
        }
        self.health = Health::Busy;
        self.store.data_mut().ticks = 0;
        self.store.set_epoch_deadline(1);
        match call(&self.exports, &mut self.store).await {
            Ok(value) => {
                self.health = Health::Idle;
                Ok(value)
            }
            Err(error) => {
                let said = String::from_utf8_lossy(&self.stderr.contents()).into_owned();
                let said = printable::line(said.trim(), STDERR_BYTES_MAX);
                let mut error = Error::trap(&error);
                if !said.is_empty() {
                    error = error
                        .clone()
                        .with_message(format!("{error}; it said: {said}"));
                }
                self.health = Health::Trapped(error.clone());
                Err(error)
            }
        }
    }
}

impl Instance {
    /// Interrupts the instance in a call and returns what its memories hold.
    pub(crate) async fn dump<T>(
        mut self,
        call: impl AsyncFnOnce(&Connector, &mut Store<Context>) -> wasmtime::Result<T>,
    ) -> Vec<u8> {
        self.store.data_mut().ticks = u32::MAX / 2;
        self.store.set_epoch_deadline(0);
        let Err(error) = call(&self.exports, &mut self.store).await else {
            return Vec::new();
        };
        let Some(dump) = error.downcast_ref::<WasmCoreDump>() else {
            return Vec::new();
        };
        dump.memories()
            .iter()
            .flat_map(|memory| memory.data(&self.store).to_vec())
            .collect()
    }
}

/// Everything that a component can reach, and nothing else.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    // wasi:io, clocks, random, stdin (closed), stdout (dropped), stderr (kept for the message of a panic).
    wasmtime_wasi_http::p2::add_to_linker_async(l)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, |c: &mut Context| c.wasi.random())?;
    // The Rust library asks for these at its start. They answer with nothing: no variables, no terminal.
    cli::environment::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, WasiCliView::cli)?;
    state::add_to_linker::<_, HasSelf<_>>(l, |context| context)?;
    logging::add_to_linker::<_, HasSelf<_>>(l, |context| context)?;
    Ok(linker)
}

impl WasiView for Context {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Context {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// The way out of HTTP requests; closed until the settings are known.
struct Hooks {
    egress: Option<Egress>,
}

type Sent = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ),
    HttpError,
>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        // What may be set is the policy's to say, which answers with a reason; here stands only what HTTP forbids.
        Arc::new(|name: &HeaderName| wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS.contains(name))
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let egress = self.egress.clone();
        Box::new(async move {
            let Some(egress) = egress else {
                return Err(HttpError::HttpRequestDenied);
            };
            let response = egress.send(request).await?;
            let nothing_else: Box<dyn Future<Output = Result<(), HttpError>> + Send> =
                Box::new(std::future::ready(Ok(())));
            Ok((response, nothing_else))
        })
    }
}

impl types::Host for Context {}

/// Runs what may block on a disk away from the tasks that serve requests; none where nothing is kept.
async fn with_storage<T: Send + 'static>(
    store: Option<Arc<dyn StateStore>>,
    job: impl FnOnce(&dyn StateStore) -> Result<T, storage::Error> + Send + 'static,
) -> Option<Result<T, types::Error>> {
    let store = store?;
    let done = tokio::task::spawn_blocking(move || job(store.as_ref())).await;
    Some(match done {
        Ok(result) => result.map_err(|error| storage_error(&error)),
        Err(panicked) => Err(types::Error {
            kind: types::ErrorKind::Internal,
            message: format!("the host's storage failed: {panicked}"),
            retry_after_ms: None,
        }),
    })
}

/// What a host without storage says: no reason to stop.
fn nothing_kept<T>() -> Result<T, types::Error> {
    let message = "the host keeps no state".to_owned();
    Err(types::Error {
        kind: types::ErrorKind::Unavailable,
        message,
        retry_after_ms: None,
    })
}

fn storage_error(error: &storage::Error) -> types::Error {
    let kind = match error {
        storage::Error::Corrupt { .. } => types::ErrorKind::Corrupt,
        _ => types::ErrorKind::Internal,
    };
    types::Error {
        kind,
        message: error.without_place(),
        retry_after_ms: None,
    }
}

impl state::Host for Context {
    async fn load(&mut self, name: String) -> Result<Option<Vec<u8>>, types::Error> {
        let store = self.means.state.clone();
        with_storage(store, move |store| store.load(&name))
            .await
            .unwrap_or(Ok(None))
    }

    async fn save(&mut self, name: String, value: Vec<u8>) -> Result<(), types::Error> {
        let store = self.means.state.clone();
        let saved = with_storage(store, move |store| store.save(&name, &value)).await;
        saved.unwrap_or_else(nothing_kept)
    }

    async fn remove(&mut self, name: String) -> Result<(), types::Error> {
        let store = self.means.state.clone();
        let removed = with_storage(store, move |store| store.remove(&name)).await;
        removed.unwrap_or_else(nothing_kept)
    }
}

impl logging::Host for Context {
    fn log(
        &mut self,
        level: logging::Level,
        context: String,
        message: String,
    ) -> wasmtime::Result<()> {
        let connector = &self.means.name;
        if context == skipped::CONTEXT {
            let object = self.skipped.tell(&message);
            tracing::warn!(%connector, "skipped an object: {}; key=`{}`", object.reason, object.key);
            return Ok(());
        }
        match level {
            logging::Level::Trace => tracing::trace!(%connector, "{message}"),
            logging::Level::Debug => tracing::debug!(%connector, "{message}"),
            logging::Level::Info => tracing::info!(%connector, "{message}"),
            logging::Level::Warn => tracing::warn!(%connector, "{message}"),
            logging::Level::Error | logging::Level::Critical => {
                tracing::error!(%connector, "{message}")
            }
        }
        Ok(())
    }
}
