//! Moves records from a source to a destination: back-pressure, acks, checkpoints, and a clean end.
//!
//! A position is kept only once its record and all before it are acked, and the source hears of it only once it is
//! kept. Files and streams of lines are ends as good as the connector's own. What a position means is the
//! source's business; where it is kept is `state`'s.
//!
//! Once open, a pipeline outlasts failures that heal by themselves: see [`Recovery`]. What a destination refuses ends it,
//! or goes elsewhere: see [`WithDeadLetters`].
//!
//! # Examples
//!
//! A bucket's objects into another bucket, until a signal says stop:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use s3_connector_host::pipeline::{Options, Pipeline, Stop};
//! use s3_connector_host::state::FileState;
//! use s3_connector_host::{Connector, InstanceOptions, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let connector = Connector::load(Default::default()).await?;
//! let state: Arc<FileState> = Arc::new(FileState::open("state")?);
//!
//! let settings = Settings::from([("aws.bucket".into(), "photos".into())]);
//! let options = InstanceOptions { name: "photos".into(), state: Some(state.clone()) };
//! let source = connector.source(settings, options).await?;
//!
//! let settings = Settings::from([
//!     ("aws.bucket".into(), "lake".into()),
//!     ("format".into(), "parquet".into()),
//! ]);
//! let destination = connector.destination(settings, InstanceOptions::default()).await?;
//!
//! let stop = Stop::new();
//! let ends = stop.clone();
//! tokio::spawn(async move {
//!     let _ = tokio::signal::ctrl_c().await;
//!     ends.stop();
//! });
//! let options = Options { state: Some(state), ..Options::default() };
//! let summary = Pipeline::new(source, destination, options).run(stop).await?;
//! println!("{} records are stored", summary.counts.acked);
//! # Ok(())
//! # }
//! ```
//!
//! Lines of OpenCDC JSON through a pipeline, all in memory:
//!
//! ```
//! use s3_connector_host::pipeline::{JsonLinesInput, JsonLinesOutput, Options, Pipeline, Stop};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lines = b"{\"position\":\"MQ==\",\"operation\":\"create\",\"payload\":{\"after\":{\"a\":1}}}\n";
//! let input = JsonLinesInput::new(&lines[..]);
//! let output = JsonLinesOutput::new(Vec::new());
//! let summary = Pipeline::new(input, output, Options::default()).run(Stop::new()).await?;
//! assert_eq!((summary.counts.read, summary.counts.acked), (1, 1));
//! # Ok(())
//! # }
//! ```

mod dead_letters;
mod endpoint;
mod file;
mod followed;
mod json_lines;
mod lines;
mod log;
mod recovery;
mod round;
mod stop;
mod tasks;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

pub use self::dead_letters::{DeadLetters, NackWindow, WithDeadLetters};
pub use self::endpoint::{Input, Output};
pub use self::file::{FileInput, FileOutput};
pub use self::json_lines::{IgnoredFields, JsonLinesInput, JsonLinesOutput, Sink};
pub use self::log::LogOutput;
pub use self::recovery::Recovery;
pub use self::stop::Stop;

use self::recovery::Outage;
use self::round::{Endpoints, Round};
use self::tasks::on_disk;
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::state::StateStore;

/// How long a pipeline that was stopped goes on writing what it has read, unless it is told otherwise. Kubernetes
/// kills 30 s after it asked; five of those are for giving up and ending in order.
pub const GRACE: Duration = Duration::from_secs(25);

/// How long the teardown of an end may take. The connector's own waits for nothing; an end that takes longer than
/// the time to close connections hangs.
pub const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Batches between reader and writer. Two keep both busy; each may hold 64 MiB that the source has fetched.
const QUEUE_BATCHES: usize = 2;

/// The longest pause between two attempts to store, within the grace period of a stop, what can't be read again.
const STOPPING_PAUSE: Duration = Duration::from_secs(1);

/// How a pipeline runs.
#[derive(Clone)]
pub struct Options {
    /// What log lines call it; nothing where it is empty.
    pub name: String,
    /// Where the position is kept and found again; without one the input begins at its beginning each time.
    pub state: Option<Arc<dyn StateStore>>,
    /// Where to go on, in place of the position that was kept.
    pub position: Option<Vec<u8>>,
    /// Whether to end once the input has nothing that was not read.
    pub until_caught_up: bool,
    /// Records after which to end.
    pub records_max: Option<u64>,
    /// How long a stop may take before the rest is given up.
    pub grace: Duration,
    /// How failures that heal are outlasted; without it the first failure ends the pipeline.
    pub recovery: Option<Recovery>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: String::new(),
            state: None,
            position: None,
            until_caught_up: false,
            records_max: None,
            grace: GRACE,
            recovery: Some(Recovery::default()),
        }
    }
}

/// How far a pipeline has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Records that were read. What is read again after an interruption counts once.
    pub read: u64,
    /// Bytes of their payloads, as far as the source said; what is read again counts again.
    pub bytes: u64,
    /// Records that are stored.
    pub acked: u64,
    /// Interruptions that were outlasted, or are being.
    pub outages: u64,
    /// What the source says of itself.
    pub source: Progress,
}

/// Why a pipeline ended in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// The source had caught up.
    CaughtUp,
    /// The input was at its end.
    InputEnded,
    /// As many records were read as were wanted.
    RecordsMax,
}

/// What a pipeline did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Why it ended.
    pub ended: Ended,
    /// How far it came; everything that was read is acked.
    pub counts: Counts,
    /// The position of the last record, if there was one.
    pub position: Option<Bytes>,
}

/// A source and a destination, to be run once.
pub struct Pipeline<I, O> {
    input: I,
    output: O,
    options: Options,
    counts: watch::Sender<Counts>,
}

impl<I: Input, O: Output> Pipeline<I, O> {
    /// Joins the endpoints. Nothing is opened yet.
    pub fn new(input: I, output: O, options: Options) -> Self {
        Self { input, output, options, counts: watch::Sender::new(Counts::default()) }
    }

    /// Shows how far the pipeline has come, while it runs and after.
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// Opens both endpoints and moves records until there is a reason to end; then stores what was read, keeps the
    /// last position and tears both endpoints down.
    ///
    /// A stop ends the reading at once. If what was read is not stored within the grace period, the rest is given
    /// up: it is read again next time.
    ///
    /// Once both endpoints were open, failures that heal by themselves (`Unavailable`) do not end the pipeline, unless
    /// [`Options::recovery`] says so: its endpoints are made anew behind the last position, for as long as that takes.
    ///
    /// # Errors
    ///
    /// The first failure of opening an end, the first one that does not heal, or the reason for which the destination
    /// refused a record. What was acked before is checkpointed, and nothing else.
    pub async fn run(self, stop: Stop) -> Result<Summary> {
        let Self { input, output, options, counts } = self;
        let position = position(&options).await?;
        let mut endpoints = Endpoints { input, output, unacked: Vec::new() };
        let run = Run { options, counts, stop: stop.clone() };
        let mut grace_over = pin!(grace_over(&stop, run.options.grace));
        // Nothing was read yet: giving up an end that is opening, half way, loses nothing.
        let opened = tokio::select! {
            biased;
            () = stop.stopped() => return Ok(run.summary(Ended::Stopped, None)),
            opened = endpoints.open(position.as_deref()) => opened,
        };
        match opened {
            Ok(()) => run.run(endpoints, position, grace_over).await,
            Err(error) => {
                tokio::select! {
                    () = endpoints.give_up() => {}
                    () = &mut grace_over => {}
                }
                Err(error)
            }
        }
    }
}

/// What holds for all rounds of a pipeline.
struct Run {
    options: Options,
    counts: watch::Sender<Counts>,
    stop: Stop,
}

/// Where to go on.
struct ReopenAt<'a> {
    /// Behind what was acked last.
    acked: Option<Bytes>,
    /// Where the pipeline began, if nothing was.
    beginning: Option<&'a [u8]>,
}

impl Run {
    /// Runs rounds until one ends well or fails for good. `beginning` is where the first one was opened.
    async fn run<I: Input, O: Output>(
        &self,
        mut endpoints: Endpoints<I, O>,
        beginning: Option<Vec<u8>>,
        mut grace_over: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Summary> {
        let (mut last, mut earlier) = (None::<Bytes>, Progress::default());
        let mut outage = None::<Outage>;
        loop {
            let is_repeatable = endpoints.input.is_repeatable();
            let round = self.round(endpoints, earlier, &mut outage, grace_over.as_mut()).await?;
            last = round.position.or(last);
            let failure = match round.ended {
                Ok(ended) => {
                    self.close(round.endpoints, grace_over.as_mut()).await;
                    return Ok(self.summary(ended, last));
                }
                Err(failure) => failure,
            };
            let is_transient = failure.is_at_work
                && match &outage {
                    Some(outage) => outage.tolerates(&failure.error),
                    None => recovery::is_transient(&failure.error),
                };
            let (Some(recovery), Some(mut next)) = (
                self.options.recovery.filter(|_| is_transient),
                round.endpoints.filter(|endpoints| is_transient && endpoints.output.can_renew()),
            ) else {
                return Err(failure.error);
            };
            // What can be read again is: by the next run. Whoever stops it waits for nothing else.
            if self.stop.is_stopped() && next.unacked.is_empty() {
                return Err(failure.error);
            }
            earlier = self.interrupt(is_repeatable, outage.is_none());
            let outage = outage.get_or_insert_with(|| {
                let acked = self.counts.borrow().acked;
                let failing_for = next.input.failing_for().max(next.output.failing_for());
                let failing_for = failing_for.unwrap_or_default();
                Outage::begin(&self.options.name, recovery, &failure.error, acked, failing_for)
            });
            let at = ReopenAt { acked: last.clone(), beginning: beginning.as_deref() };
            let outlasted = self.outlast(&mut next, outage, failure.error, at, grace_over.as_mut()).await?;
            if !outlasted {
                return Ok(self.summary(Ended::Stopped, last));
            }
            endpoints = next;
        }
    }

    /// Runs one round, and sees the end of an outage in it.
    async fn round<I: Input, O: Output>(
        &self,
        endpoints: Endpoints<I, O>,
        earlier: Progress,
        outage: &mut Option<Outage>,
        mut grace_over: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Round<I, O>> {
        let mut round = pin!(round::run(endpoints, &self.options, &self.counts, earlier, &self.stop));
        let done = loop {
            let is_over = async {
                match outage.as_ref() {
                    Some(outage) => outage.is_over(self.counts.subscribe()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut round => break done,
                // Its tasks are not waited for: one that is in a long call of the component ends only behind that.
                () = &mut grace_over => return Err(self.grace_expired()),
                () = is_over => {}
            }
            if let Some(outage) = outage.take() {
                outage.end();
            }
        };
        if matches!(done.ended, Ok(ended) if ended != Ended::Stopped)
            && let Some(outage) = outage.take()
        {
            outage.end();
        }
        Ok(done)
    }

    /// Takes note that what was read and not acked is on its way again. Returns what the source said so far.
    fn interrupt(&self, is_repeatable: bool, is_new: bool) -> Progress {
        self.counts.send_modify(|counts| {
            counts.outages += u64::from(is_new);
            counts.source.caught_up = false;
            if is_repeatable {
                counts.read = counts.acked;
            }
        });
        self.counts.borrow().source.clone()
    }

    /// Tries to open both endpoints anew until that works; false if it was stopped first.
    async fn outlast<I: Input, O: Output>(
        &self,
        endpoints: &mut Endpoints<I, O>,
        outage: &mut Outage,
        first: Error,
        at: ReopenAt<'_>,
        mut grace_over: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<bool> {
        let mut why = first.clone();
        // What can't be read again is worth the grace period.
        let may_stop = endpoints.unacked.is_empty();
        loop {
            let mut pause = outage.pause(&why);
            if self.stop.is_stopped() {
                pause = pause.min(STOPPING_PAUSE);
            }
            let is_stopping = self.stop.is_stopped();
            tokio::select! {
                biased;
                () = &mut grace_over => return Err(self.grace_expired()),
                () = self.stop.stopped(), if !is_stopping => {}
                () = sleep(pause) => {}
            }
            let reopened = tokio::select! {
                biased;
                () = &mut grace_over => return Err(self.grace_expired()),
                () = self.stop.stopped(), if may_stop => return Ok(false),
                reopened = self.reopen(endpoints, &at) => reopened,
            };
            match reopened {
                Ok(true) => return Ok(true),
                // What failed first says why there is no going on.
                Ok(false) => return Err(first),
                Err(error) if outage.tolerates(&error) => why = error,
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps the position, where that failed, makes both endpoints anew and opens them there; false where there is no going on.
    async fn reopen<I: Input, O: Output>(&self, endpoints: &mut Endpoints<I, O>, at: &ReopenAt<'_>) -> Result<bool> {
        if let (Some(position), Some(state)) = (&at.acked, &self.options.state) {
            tasks::save(Arc::clone(state), position.clone()).await?;
        }
        endpoints.reopen(at.acked.as_deref().or(at.beginning)).await
    }

    /// Ends an input that was left open between rounds.
    async fn close<I: Input, O>(
        &self,
        endpoints: Option<Endpoints<I, O>>,
        grace_over: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) {
        if let Some(Endpoints { mut input, .. }) = endpoints
            && !input.is_repeatable()
        {
            tokio::select! {
                _ = tasks::tear_down(input.teardown()) => {}
                () = grace_over => {}
            }
        }
    }

    fn summary(&self, ended: Ended, position: Option<Bytes>) -> Summary {
        Summary { ended, counts: self.counts.borrow().clone(), position }
    }

    fn grace_expired(&self) -> Error {
        let why = grace_expired_message(&self.counts.borrow(), self.options.grace);
        Error::new(ErrorKind::Unavailable, why)
    }
}

/// Where to go on. Does not borrow the pipeline: its endpoints can move between threads, but not be shared.
async fn position(options: &Options) -> Result<Option<Vec<u8>>> {
    match (&options.position, &options.state) {
        (Some(position), _) => Ok(Some(position.clone())),
        (None, Some(state)) => {
            let state = Arc::clone(state);
            on_disk(move || state.load_position()).await
        }
        (None, None) => Ok(None),
    }
}

/// Returns once the grace period of a stop is over; never without a stop.
async fn grace_over(stop: &Stop, grace: Duration) {
    stop.stopped().await;
    sleep(grace).await;
}

/// What to say of a pipeline that has not ended within the grace period of a stop.
pub fn grace_expired_message(counts: &Counts, grace: Duration) -> String {
    let seconds = grace.as_secs_f64();
    match counts.read.saturating_sub(counts.acked) {
        0 => format!(
            "a call of the connector did not return within {seconds} s of the stop; all {} records that were read are \
             stored",
            counts.read
        ),
        left => format!(
            "{left} of {} records were not stored within {seconds} s of the stop; they are not acked and will be read \
             again",
            counts.read
        ),
    }
}

#[cfg(test)]
mod hanging_tests;
#[cfg(test)]
mod letter_tests;
#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
