//! Owns what running pipelines show of themselves to operators: status, metrics, health, and one page for people. Leaves
//! counting to pipelines and to [`Tally`]. Everything is read when somebody asks; nothing here changes anything.
//!
//! # Examples
//!
//! ```
//! use s3_connector_host::monitor::{MetricsFormat, Monitor, Watched};
//! use s3_connector_host::pipeline::{CancellationToken, JsonLinesInput, JsonLinesOutput, Options, Pipeline};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lines = b"{\"position\":\"MQ==\",\"operation\":\"create\",\"payload\":{\"after\":{\"a\":1}}}\n";
//! let (input, output) = (JsonLinesInput::new(&lines[..]), JsonLinesOutput::new(Vec::new()));
//! let pipeline = Pipeline::new(input, output, Options::default());
//!
//! let monitor = Monitor::default();
//! monitor.watch(Watched::new("lines", pipeline.counts()));
//! assert_eq!(monitor.readiness().unwrap_err().to_string(), "pipeline `lines` is opening");
//! pipeline.run(CancellationToken::new()).await?;
//! assert!(monitor.metrics(MetricsFormat::Prometheus).contains("s3_connector_records_stored_total{pipeline=\"lines\"} 1\n"));
//! # Ok(())
//! # }
//! ```

pub(crate) mod families;
mod history;
mod metrics;
mod server;
mod status;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::pipeline::{Counts, Phase};
use crate::tally::Tally;

pub use self::metrics::MetricsFormat;
pub(crate) use self::metrics::PREFIX;
pub use self::server::{CONNECTIONS_MAX, REQUEST_TIMEOUT, serve};
pub use self::status::{ConnectorStatus, PipelineStatus, ReloadStatus, State, Status, TroubleStatus};

use self::families::Family;
use self::history::Histories;

/// Pipelines to look at. Clones look at the same ones.
#[derive(Clone)]
pub struct Monitor(Arc<Inner>);

struct Inner {
    started: SystemTime,
    watched: Mutex<Vec<Arc<Watched>>>,
    reload: Mutex<Option<Reload>>,
    histories: Histories,
    followers: Mutex<Vec<Follower>>,
}

/// The latest time that the configuration was read again.
#[derive(Clone, Debug)]
struct Reload {
    at: SystemTime,
    /// Why nothing came of it.
    problem: Option<String>,
}

/// What is told of each pipeline that is looked at.
type Follower = Box<dyn Fn(&Watched) + Send + Sync>;

/// A pipeline that is looked at.
#[derive(Clone)]
pub struct Watched {
    id: String,
    counts: watch::Receiver<Counts>,
    letters: Arc<AtomicU64>,
    connectors: Vec<WatchedConnector>,
}

/// A source or destination of a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct WatchedConnector {
    pub(crate) id: String,
    pub(crate) side: Side,
    pub(crate) plugin: String,
    /// `None` where it is none of the component's.
    pub(crate) tally: Option<Tally>,
}

/// What a connector is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Side {
    /// Records come from it.
    Source,
    /// Records go to it.
    Destination,
    /// Records go to it that the destination refuses.
    DeadLetterQueue,
}

impl Side {
    /// Its name in metrics and in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::DeadLetterQueue => "dead-letter-queue",
        }
    }
}

impl Watched {
    /// A pipeline of that id.
    pub fn new(id: impl Into<String>, counts: watch::Receiver<Counts>) -> Self {
        Self { id: id.into(), counts, letters: Arc::default(), connectors: Vec::new() }
    }

    /// The same, with the number of its dead letters.
    #[must_use]
    pub fn letters(self, letters: Arc<AtomicU64>) -> Self {
        Self { letters, ..self }
    }

    /// The same, with one connector more: its id in the pipeline, and its plugin. A tally comes from
    /// [`Source::tally`](crate::Source::tally) or [`Destination::tally`](crate::Destination::tally).
    #[must_use]
    pub fn connector(
        mut self,
        id: impl Into<String>,
        side: Side,
        plugin: impl Into<String>,
        tally: Option<Tally>,
    ) -> Self {
        self.connectors.push(WatchedConnector { id: id.into(), side, plugin: plugin.into(), tally });
        self
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.clone()
    }

    /// Each connector's id and side, and what is counted of it if it is the component's.
    pub(crate) fn connectors(&self) -> impl Iterator<Item = (&str, Side, Option<&Tally>)> {
        self.connectors.iter().map(|connector| (&*connector.id, connector.side, connector.tally.as_ref()))
    }

    fn dead_letters(&self) -> u64 {
        self.letters.load(Ordering::Relaxed)
    }
}

/// Why the process is not ready: each pipeline that does not move records, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady(pub Vec<String>);

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for NotReady {}

impl Default for Monitor {
    fn default() -> Self {
        let started = SystemTime::now();
        let (watched, reload, histories) = (Mutex::default(), Mutex::default(), Histories::default());
        Self(Arc::new(Inner { started, watched, reload, histories, followers: Mutex::default() }))
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Monitor").field(&self.0.started).finish()
    }
}

impl Monitor {
    /// Looks at one pipeline more, in the place of that with its id.
    pub fn watch(&self, pipeline: Watched) {
        for follower in self.0.followers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            follower(&pipeline);
        }
        let mut watched = self.lock();
        let pipeline = Arc::new(pipeline);
        match watched.iter_mut().find(|other| other.id == pipeline.id) {
            Some(other) => *other = pipeline,
            None => watched.push(pipeline),
        }
    }

    /// No longer looks at the pipeline of that id.
    pub fn forget(&self, id: &str) {
        self.lock().retain(|watched| watched.id != id);
    }

    /// Notes that the configuration was read again just now, and what was wrong with it.
    ///
    /// # Errors
    ///
    /// None: `outcome` is what happened.
    pub fn reloaded(&self, outcome: Result<(), String>) {
        let reload = Reload { at: SystemTime::now(), problem: outcome.err() };
        *self.0.reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    /// Tells of each pipeline that is looked at, and of each one more.
    pub(crate) fn follow(&self, follower: impl Fn(&Watched) + Send + Sync + 'static) {
        self.watched().iter().for_each(|watched| follower(watched));
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(follower));
    }

    /// How things stand now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.0.started, self.reload(), &self.watched(), SystemTime::now())
    }

    /// Whether every pipeline moves records, waits for them or has done what it was to do.
    ///
    /// # Errors
    ///
    /// Which do not, and why.
    pub fn readiness(&self) -> Result<(), NotReady> {
        let reasons = self.status().reasons();
        if reasons.is_empty() { Ok(()) } else { Err(NotReady(reasons)) }
    }

    /// Waits until every pipeline was open for the first time, or has ended.
    pub async fn opened(&self) {
        for watched in self.watched() {
            // An error: it has ended, and nobody counts any more.
            let _ = watched.counts.clone().wait_for(|counts| !matches!(counts.phase, Phase::Opening)).await;
        }
    }

    /// All numbers, for a scraper.
    #[must_use]
    pub fn metrics(&self, format: MetricsFormat) -> String {
        metrics::encode(self.families(), format)
    }

    fn reload(&self) -> Option<Reload> {
        self.0.reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All metrics, in no form yet.
    pub(crate) fn families(&self) -> Vec<Family> {
        families::of(self.0.started, self.reload(), &self.watched())
    }

    /// When it began to look, which is when all counters were 0.
    pub(crate) fn started(&self) -> SystemTime {
        self.0.started
    }

    fn watched(&self) -> Vec<Arc<Watched>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Watched>>> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
