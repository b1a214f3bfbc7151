//! One instance of the component in its sandbox: what it may reach, how much it may use, how long it may compute.
//!
//! It reaches HTTP through the egress, clocks, randomness, its own saved state and a log: no files, no sockets. The
//! environment that the Rust library asks for is empty. What the exports mean is `source`'s and
//! `destination`'s. Bounds of memory, computing time and the log are next door; what the host holds for requests is
//! `egress`'s to bound.

mod calls;
mod compute;
mod log;
mod memory;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderName, Request, Response};
use http_body::Body as _;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, Store, UpdateDeadline, WasmCoreDump};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::bindings::{Connector, ConnectorPre, log as logging, state, types};
use crate::egress::{DRAIN_BYTES_MAX, Egress};
use crate::error::{Error, ErrorKind, Result};
use crate::printable;
use crate::skipped::{self, Skipped};
use crate::state::{self as storage, AsyncState, Edit, LastPlace, StateStore, Watched};
use crate::tally::{self, Tally};

pub use self::compute::COMPUTE_MAX;
pub use self::memory::MEMORY_BYTES_MAX;

use self::compute::Meter;
use self::log::Log;
use self::memory::Limiter;

/// The clock tick of interruption: a component that computes gives way to others this often. Where
/// components compute on all workers, this is what each step of all others waits.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Resources that an instance may hold: requests, bodies, streams, timers. A source at its widest holds seven for each of
/// 512 fetches in flight, two for each of 1,536 that are done and 1,024 that are ready, and one for each of 4,096 bodies
/// that are not acked: 12,800.
const RESOURCES_MAX: usize = 16_384;

/// Bytes of a request's header fields, by the runtime's count, which takes in what a field costs to hold. Ours stay
/// below 4 KiB; S3 takes 8 KB.
const FIELD_BYTES_MAX: usize = 16 << 10;

/// Bytes of a request's body that are on their way from the component to the egress, twice for each body: what is not
/// asked for yet must not be more than the handles of it are worth. 5,000 bodies that are never sent hold 320 MiB.
const CHUNK_BYTES: usize = 32 << 10;

/// The same for the first bodies that are on their way at the same time: each piece costs a call, and a body in one piece is
/// never put together. Copies are all bodies, and what is drained of answers goes over as it is.
const LARGE_CHUNK_BYTES: usize = DRAIN_BYTES_MAX as usize;

/// How many of them: as many as copies are on their way. Together they hold 128 MiB at most.
const LARGE_CHUNK_BODIES: usize = 64;

/// What an instance is given besides its settings.
#[derive(Clone, Default)]
pub struct InstanceOptions {
    /// What log lines call it; `source` or `destination` where it is empty.
    pub name: String,
    /// Where its state is kept. One without any keeps it in memory, for as long as it exists: a source that is renewed
    /// repeats nothing, and one that another process makes delivers its lookback window again; a destination that is
    /// renewed aborts the uploads that it has left, and one that another process makes knows of none.
    pub state: Option<Arc<dyn StateStore>>,
}

impl InstanceOptions {
    /// The same, with a name where there was none.
    pub(crate) fn named(mut self, name: &str) -> Self {
        if self.name.is_empty() {
            name.clone_into(&mut self.name);
        }
        self
    }

    /// The same, with a note of where its state fails.
    pub(crate) fn watched(self, last: &LastPlace) -> Self {
        let watched = |store| -> Arc<dyn StateStore> {
            let last = last.clone();
            Arc::new(Watched { store, last })
        };
        let state = self.state.map(watched);
        Self { state, ..self }
    }
}

/// What belongs to an instance on the host's side.
pub(crate) struct Context {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    limiter: Limiter,
    meter: Arc<Meter>,
    /// Where its state is kept; `None` where nothing is.
    state: Option<AsyncState>,
    log: Log,
    /// The message of a panic that the component has logged.
    panic: String,
    skipped: Skipped,
    tally: Tally,
}

/// An instance, and whether it may be called.
pub(crate) struct Instance {
    store: Store<Context>,
    exports: Connector,
    health: Health,
    stderr: MemoryOutputPipe,
}

/// Bytes of a panic's message that are kept.
const PANIC_BYTES_MAX: usize = 4096;

/// The context of the log in which a component says why it panics.
const PANIC: &str = "panic";

#[derive(Clone, Debug)]
enum Health {
    Idle,
    /// A call is under way, or was dropped half way: nobody knows what the instance holds.
    Busy,
    Trapped(Error),
}

impl Instance {
    /// Makes an instance.
    pub(crate) async fn new(
        pre: &ConnectorPre<Context>,
        options: InstanceOptions,
        compute_max: Duration,
        tally: Tally,
    ) -> Result<Self> {
        let stderr = MemoryOutputPipe::new(PANIC_BYTES_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELD_BYTES_MAX);
        let meter = Arc::new(Meter::new(compute_max));
        let context = Context {
            table,
            wasi: WasiCtx::builder().stderr(stderr.clone()).build(),
            http,
            hooks: Hooks { egress: None, bodies: Arc::default() },
            limiter: Limiter::new(tally.clone()),
            meter: Arc::clone(&meter),
            state: options.state.map(AsyncState::from),
            log: Log::new(options.name),
            panic: String::new(),
            skipped: Skipped::default(),
            tally,
        };
        let mut store = Store::new(pre.engine(), context);
        store.limiter(|context| &mut context.limiter);
        calls::bound_copies(&mut store);
        store.set_max_component_handles(RESOURCES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            store.data().meter.check()?;
            // One that wakes itself at once is polled 61 times before the worker looks at its sockets and timers again, this
            // one after it has.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let exports = meter
            .measure(pre.instantiate_async(&mut store))
            .await
            .map_err(|error| trap(&error, &store.data().limiter))?;
        Ok(Self { store, exports, health: Health::Idle, stderr })
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
        self.store.set_epoch_deadline(1);
        let meter = Arc::clone(&self.store.data().meter);
        match meter.measure(call(&self.exports, &mut self.store)).await {
            Ok(value) => {
                self.health = Health::Idle;
                Ok(value)
            }
            Err(error) => {
                // A component that imports no stderr logs its panics.
                let said = [&self.store.data().panic, &*String::from_utf8_lossy(&self.stderr.contents())].concat();
                let said = printable::line(said.trim(), PANIC_BYTES_MAX);
                let mut error = trap(&error, &self.store.data().limiter);
                if !said.is_empty() {
                    error = error.clone().with_message(format!("{error}; it said: {said}"));
                }
                self.health = Health::Trapped(error.clone());
                Err(error)
            }
        }
    }
}

impl Instance {
    /// Ends an instance that broke a rule of the contract.
    pub(crate) fn break_off(&mut self, why: &str) -> Error {
        let message = format!("the component broke a rule of its contract: {why}");
        let error = Error::new(ErrorKind::Trap, message);
        self.health = Health::Trapped(error.clone());
        error
    }
}

/// An error of the runtime while the component ran, with what it may have run into.
fn trap(error: &wasmtime::Error, limiter: &Limiter) -> Error {
    let trap = Error::trap(error);
    match limiter.explain() {
        Some(why) => {
            let message = format!("{trap}; {why}");
            trap.with_message(message)
        }
        None => trap,
    }
}

impl Instance {
    /// Interrupts the instance in a call and returns what its memories hold.
    pub(crate) async fn dump<T>(
        mut self,
        call: impl AsyncFnOnce(&Connector, &mut Store<Context>) -> wasmtime::Result<T>,
    ) -> Vec<u8> {
        self.store.data().meter.exhaust();
        self.store.set_epoch_deadline(0);
        let Err(error) = call(&self.exports, &mut self.store).await else {
            return Vec::new();
        };
        let Some(dump) = error.downcast_ref::<WasmCoreDump>() else {
            return Vec::new();
        };
        dump.memories().iter().flat_map(|memory| memory.data(&self.store).to_vec()).collect()
    }
}

/// Everything that a component can reach, and nothing else.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Context>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    // wasi:io, clocks, random, stdin (closed), stdout (dropped), stderr (kept for the message of a panic).
    wasmtime_wasi_http::p2::add_to_linker_async(l)?;
    requests::bound(l)?;
    calls::bound_random(l)?;
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
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Context {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The way out of HTTP requests; closed until the settings are known.
struct Hooks {
    egress: Option<Egress>,
    /// Bodies that were begun and whose requests are not done. One that is never sent counts for ever.
    bodies: Arc<AtomicUsize>,
}

/// Ends the count of a body once its request is done.
struct OutgoingBody(Arc<AtomicUsize>);

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>), HttpError>;

impl WasiHttpHooks for Hooks {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        let before = self.bodies.fetch_add(1, Ordering::Relaxed);
        if before < LARGE_CHUNK_BODIES { LARGE_CHUNK_BYTES } else { CHUNK_BYTES }
    }

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
        // A request whose body was not asked for has none.
        let body = (!request.body().is_end_stream()).then(|| OutgoingBody(Arc::clone(&self.bodies)));
        Box::new(async move {
            let _body = body;
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

/// What a host that keeps nothing answers: no reason to stop.
fn nothing_kept() -> types::Error {
    let message = "the host keeps no state".to_owned();
    types::Error { kind: types::ErrorKind::Unavailable, message, retry_after_ms: None }
}

/// What a store that could not keep answers: a reason to stop.
fn storage_error(error: &storage::Error) -> types::Error {
    let kind = match error.kind(ErrorKind::Internal) {
        ErrorKind::Invalid => types::ErrorKind::Invalid,
        ErrorKind::Corrupt => types::ErrorKind::Corrupt,
        _ => types::ErrorKind::Internal,
    };
    types::Error { kind, message: error.without_place(), retry_after_ms: None }
}

impl state::Host for Context {
    async fn load(&mut self, name: String) -> Result<Option<Vec<u8>>, types::Error> {
        let Some(state) = &self.state else { return Ok(None) };
        state.load(name).await.map_err(|error| storage_error(&error))
    }

    async fn commit(&mut self, edits: Vec<state::Edit>) -> Result<(), types::Error> {
        let Some(state) = &self.state else { return Err(nothing_kept()) };
        let edits = edits.into_iter().map(|state::Edit { name, value }| Edit { name, value }).collect();
        state.commit(edits).await.map_err(|error| storage_error(&error))
    }
}

impl logging::Host for Context {
    fn log(&mut self, level: logging::Level, context: String, message: String) -> wasmtime::Result<()> {
        if context == skipped::CONTEXT {
            let object = self.skipped.tell(&message);
            let line = format!("skipped: {}; key=`{}`", object.reason, object.key);
            self.log.line(logging::Level::Warn, &line);
        } else if context == PANIC {
            // It becomes part of the error that the call fails with.
            self.panic = printable::line(&message, PANIC_BYTES_MAX).into_owned();
        } else if context == tally::STORED {
            let line = self.tally.stored(&message);
            self.log.line(level, &line);
        } else {
            if context == tally::RETRY {
                self.tally.retried();
            }
            self.log.line(level, &message);
        }
        Ok(())
    }
}
