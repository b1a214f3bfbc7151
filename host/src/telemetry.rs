//! Owns what is sent to an OpenTelemetry collector: traces of passes and requests, and the metrics, over OTLP. Leaves what the
//! metrics are to `monitor`, and counting to pipelines and tallies.
//!
//! Nothing is made, held or sent unless the variables of OpenTelemetry name a collector.

mod exporter;
mod metrics;
mod passes;
mod sender;
mod settings;
mod spans;
mod wire;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::exporter::FLUSH_MAX;
pub use self::settings::VariableError;
pub use self::spans::{ATTRIBUTE_BYTES_MAX, SPANS_HELD_MAX, SPANS_PER_SECOND_MAX};
pub(crate) use self::spans::{Sent, Trace};

use self::exporter::{Exporter, Health};
use self::sender::Sender;
use self::settings::{Settings, Target, Variables};
use self::spans::{Passes, Spans};
use self::wire::Resource;
use crate::egress::TrustError;
use crate::monitor::{Monitor, Side, Watched};

/// How long the last passes may take to end, after their pipelines.
const LAST_PASS_MAX: Duration = Duration::from_secs(1);

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A variable is not supported as it is.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// The trusted certificates can't be read.
    #[error("the variable `OTEL_EXPORTER_OTLP_CERTIFICATE` must name a file of certificates in PEM")]
    Trust(#[from] TrustError),
}

/// Sends what a process does, if it is to.
#[derive(Default)]
#[must_use = "what is left is sent at the end"]
pub struct Telemetry(Option<Running>);

struct Running {
    exporter: JoinHandle<()>,
    stop: CancellationToken,
    followed: Followed,
}

/// The tasks that follow pipelines.
type Followed = Arc<Mutex<Vec<JoinHandle<()>>>>;

impl Telemetry {
    /// Sends what `monitor` sees, now and later, as the environment says: the variables whose names begin with `OTEL_`.
    ///
    /// # Errors
    ///
    /// If a variable has a value that is not supported, or a file of certificates can't be read.
    pub fn start(monitor: &Monitor) -> Result<Self, SetupError> {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let ours = variables.filter(|(name, _)| name.starts_with("OTEL_"));
        // What is no UTF-8 is no value that anything is called by, and is refused by what reads it.
        let variables: Variables = ours.map(|(name, value)| (name, value.to_string_lossy().into_owned())).collect();
        let Some(settings) = Settings::of(&variables)? else { return Ok(Self::default()) };
        if !settings.unread.is_empty() {
            tracing::warn!("these variables have no effect here: {}", settings.unread.join(", "));
        }
        let sender = |target: Option<Target>, what| {
            let made = target.map(|target| Sender::new(target).map(|sender| (sender, Health::new(what))));
            made.transpose()
        };
        let spans = Arc::new(Spans::new(settings.share));
        let traces = sender(settings.traces, "traces")?;
        let has_traces = traces.is_some();
        let exporter = Exporter {
            monitor: monitor.clone(),
            resource: Resource { attributes: settings.resource },
            spans: Arc::clone(&spans),
            traces,
            metrics: sender(settings.metrics, "metrics")?,
            spans_every: settings.spans_every,
            metrics_every: settings.metrics_every,
        };
        let followed = Followed::default();
        if has_traces {
            let followed = Arc::clone(&followed);
            monitor.follow(move |watched| follow(&spans, watched, &followed));
        }
        let stop = CancellationToken::new();
        let exporter = tokio::spawn(exporter.run(stop.clone()));
        Ok(Self(Some(Running { exporter, stop, followed })))
    }

    /// Sends what is left, within [`FLUSH_MAX`]. For after the end of all pipelines.
    pub async fn end(self) {
        let Some(Running { exporter, stop, followed }) = self.0 else { return };
        let followed = std::mem::take(&mut *followed.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = tokio::time::timeout(LAST_PASS_MAX, async {
            for task in followed {
                let _ = task.await;
            }
        });
        let _ = ended.await;
        stop.cancel();
        // It has a limit of its own.
        let _ = exporter.await;
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Telemetry").field(&self.0.is_some()).finish()
    }
}

/// Traces one pipeline more.
fn follow(spans: &Arc<Spans>, watched: &Watched, followed: &Followed) {
    let passes = Arc::new(Passes::new(Arc::clone(spans), watched.id()));
    let polls = watched.connectors().any(|(_, side, tally)| side == Side::Source && tally.is_some());
    for (connector, side, tally) in watched.connectors() {
        if let Some(tally) = tally {
            let leads = side == Side::Source || !polls;
            let passes = Arc::clone(&passes);
            tally.counters().trace(Trace { passes, connector: connector.to_owned(), side: side.name(), leads });
        }
    }
    let task = tokio::spawn(passes::follow(passes, watched.counts(), polls));
    let mut followed = followed.lock().unwrap_or_else(PoisonError::into_inner);
    followed.retain(|task| !task.is_finished());
    followed.push(task);
}
