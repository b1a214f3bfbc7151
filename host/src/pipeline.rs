//! Owns how records move from a source to a destination: back-pressure, acks, checkpoints, and a clean end. Leaves what
//! a position means to the source, and where it is saved to `state`.
//!
//! A position is saved only after its record and all records before it are acked, and the source is told about it only
//! after it is saved. Besides the connector, files and streams of lines can be sources and destinations.
//!
//! Once open, a pipeline survives transient failures: see [`Recovery`]. A record that the destination refuses ends the
//! pipeline, or goes to a dead-letter queue: see [`WithDeadLetters`].
//!
//! # Examples
//!
//! Copy the objects of one bucket into another, until Ctrl-C:
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use s3_connector_host::pipeline::{CancellationToken, Options, Pipeline};
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
//! let stop = CancellationToken::new();
//! let interrupted = stop.clone();
//! tokio::spawn(async move {
//!     let _ = tokio::signal::ctrl_c().await;
//!     interrupted.cancel();
//! });
//! let options = Options { state: Some(state), ..Options::default() };
//! let summary = Pipeline::new(source, destination, options).run(stop).await?;
//! println!("{} records are stored", summary.counts.acked);
//! # Ok(())
//! # }
//! ```
//!
//! Move lines of OpenCDC JSON through a pipeline in memory:
//!
//! ```
//! use s3_connector_host::pipeline::{CancellationToken, JsonLinesInput, JsonLinesOutput, Options, Pipeline};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lines = b"{\"position\":\"MQ==\",\"operation\":\"create\",\"payload\":{\"after\":{\"a\":1}}}\n";
//! let input = JsonLinesInput::new(&lines[..]);
//! let output = JsonLinesOutput::new(Vec::new());
//! let summary = Pipeline::new(input, output, Options::default()).run(CancellationToken::new()).await?;
//! assert_eq!((summary.counts.read, summary.counts.acked), (1, 1));
//! # Ok(())
//! # }
//! ```

mod backlog;
mod cycle;
mod dead_letters;
mod endpoint;
mod file;
mod followed;
mod json_lines;
mod lines;
mod log;
mod recovery;
mod round;
mod tasks;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

pub use self::cycle::feeds_itself;
pub use self::dead_letters::{DeadLetters, NackWindow, WithDeadLetters};
pub use self::endpoint::{Input, Output};
pub use self::file::{FileInput, FileOutput};
pub use self::json_lines::{IgnoredFields, JsonLinesInput, JsonLinesOutput, Sink};
pub use self::log::LogOutput;
pub use self::recovery::Recovery;
pub use tokio_util::sync::CancellationToken;

use self::backlog::Backlog;
use self::recovery::Outage;
use self::round::{Endpoints, Round};
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::state::StateStore;

/// The default of [`Options::grace`]. Kubernetes kills a process 30 s after SIGTERM; five of them are left for aborting and
/// for a clean exit.
pub const GRACE: Duration = Duration::from_secs(25);

/// How long the teardown of an endpoint may take. The connector's teardown waits for nothing; one that takes longer than
/// it takes to close connections hangs.
pub const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Batches between reader and writer. Two keep both busy; each may hold 64 MiB that the source has fetched.
const QUEUE_BATCHES: usize = 2;

/// The longest pause between two attempts, during the grace period of a stop, to store records that can't be read again.
const STOPPING_PAUSE: Duration = Duration::from_secs(1);

/// How a pipeline runs.
#[derive(Clone)]
pub struct Options {
    /// The pipeline's name in log lines, unless it is empty.
    pub name: String,
    /// Where the position is saved and loaded; without a store, every run starts at the input's beginning.
    pub state: Option<Arc<dyn StateStore>>,
    /// The position to resume from, instead of the saved one.
    pub position: Option<Vec<u8>>,
    /// Whether to end once the input has no records left to read.
    pub until_caught_up: bool,
    /// The number of records after which to end.
    pub records_max: Option<u64>,
    /// How long a stopped pipeline goes on storing what it has read, before it aborts.
    pub grace: Duration,
    /// How to survive transient failures; without it, the first failure ends the pipeline.
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
    /// Records read. A record that is read again after an interruption counts once.
    pub read: u64,
    /// Bytes of their payloads, as far as the source reports lengths. Payloads that are read again count again.
    pub bytes: u64,
    /// Records stored.
    pub acked: u64,
    /// Interruptions so far, including a current one.
    pub outages: u64,
    /// What the source reports about itself.
    pub source: Progress,
    /// What it does at the moment.
    pub phase: Phase,
    /// The latest failure, of which an outage may have been mended since.
    pub failure: Option<Trouble>,
    /// The position of the last record that was stored; `None` before.
    pub position: Option<Bytes>,
    /// Since when records wait.
    backlog: Backlog,
}

/// What a pipeline does at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It opens its source and its destination.
    #[default]
    Opening,
    /// It moves records, or waits for them.
    Running,
    /// It can't go on, and tries to, until it can.
    Interrupted(Trouble),
    /// It has ended without a failure.
    Ended(Ended),
    /// It has failed, and is not run again.
    Failed(Trouble),
}

/// Why a pipeline does not go on, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// What an error says, for people.
    pub why: String,
    /// When it began.
    pub since: SystemTime,
}

impl Trouble {
    fn new(error: &Error, before: Duration) -> Self {
        let now = SystemTime::now();
        Self { why: error.to_string(), since: now.checked_sub(before).unwrap_or(now) }
    }
}

impl Counts {
    /// Whether everything that the source found when it looked last is stored.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.source.caught_up && self.acked >= self.read
    }

    /// How long something may have been missing at the destination: none where nothing is. `None` before everything was read for the
    /// first time, since nobody knows how much is left.
    #[must_use]
    pub fn lag(&self, now: SystemTime) -> Option<Duration> {
        let waiting = self.backlog.since().map(|since| now.duration_since(since).unwrap_or_default());
        self.source.lag(now).map(|lag| lag.max(waiting.unwrap_or_default()))
    }

    /// Takes note of records that were read, and of what the source says with them.
    fn read(&mut self, records: u64, bytes: u64, source: Progress) {
        self.read += records;
        self.bytes += bytes;
        self.source = source;
        if records > 0 {
            self.backlog.read(self.read, SystemTime::now());
        }
        self.settle();
    }

    /// Takes note of records that were stored.
    fn stored(&mut self, records: u64) {
        self.acked += records;
        self.backlog.stored(self.acked);
        self.settle();
    }

    fn settle(&mut self) {
        if self.is_caught_up() {
            self.backlog.clear();
        }
    }

    /// Takes note of a failure after which it does not go on.
    fn failed(&mut self, error: &Error) {
        let trouble = Trouble::new(error, Duration::ZERO);
        self.failure = Some(trouble.clone());
        self.phase = Phase::Failed(trouble);
    }

    /// Takes note of an interruption that began a while ago, or of another reason why it goes on.
    fn interrupted(&mut self, error: &Error, before: Duration) {
        let mut trouble = Trouble::new(error, before);
        self.failure = Some(trouble.clone());
        if let Phase::Interrupted(first) = &self.phase {
            trouble.since = first.since;
        }
        self.phase = Phase::Interrupted(trouble);
    }
}

/// Why a pipeline ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Its token was cancelled.
    Stopped,
    /// The source had caught up.
    CaughtUp,
    /// The input ended.
    InputEnded,
    /// [`Options::records_max`] records were read.
    RecordsMax,
}

/// What a pipeline did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Why it ended.
    pub ended: Ended,
    /// How far it came; every record that was read is acked.
    pub counts: Counts,
    /// The position of the last record; `None` if there was none.
    pub position: Option<Bytes>,
}

/// A source and a destination. A pipeline runs once.
pub struct Pipeline<I, O> {
    input: I,
    output: O,
    options: Options,
    counts: watch::Sender<Counts>,
}

impl<I: Input, O: Output> Pipeline<I, O> {
    /// Connects a source to a destination, without opening either.
    pub fn new(input: I, output: O, options: Options) -> Self {
        Self { input, output, options, counts: watch::Sender::new(Counts::default()) }
    }

    /// How far the pipeline has come, while it runs and afterwards.
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// Opens both endpoints and moves records until there is a reason to end; then stores what was read, saves the
    /// last position and tears both endpoints down.
    ///
    /// Cancelling `stop` ends the reading at once. Records that are not stored within the grace period are dropped: they
    /// are read again by the next run.
    ///
    /// After both endpoints have been open once, transient failures (`Unavailable`) do not end the pipeline, unless
    /// [`Options::recovery`] is `None`: it recreates both endpoints and resumes after the last saved position, for as long
    /// as that takes.
    ///
    /// # Errors
    ///
    /// The first failure to open an endpoint, the first permanent failure, or the reason why the destination refused a
    /// record. Exactly the records that were acked before are checkpointed.
    pub async fn run(self, stop: CancellationToken) -> Result<Summary> {
        self.open(stop).await?.run().await
    }

    /// Opens both endpoints, as [`run`](Self::run) does, and moves nothing yet. Where `stop` is cancelled first, the pipeline
    /// that comes back ends at once.
    ///
    /// # Errors
    ///
    /// The failure to open an endpoint.
    pub async fn open(self, stop: CancellationToken) -> Result<OpenPipeline<I, O>> {
        let Self { input, output, options, counts } = self;
        let refuse = |error: &Error| counts.send_modify(|counts| counts.failed(error));
        let position = position(&options).await.inspect_err(refuse)?;
        let mut endpoints = Endpoints { input, output, unacked: Vec::new() };
        let run = Run { options, counts, stop: stop.clone() };
        // Nothing was read yet: to drop an endpoint while it is being opened loses nothing.
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(OpenPipeline { endpoints: None, position, run }),
            opened = endpoints.open(position.as_deref()) => opened,
        };
        match opened {
            Ok(()) => {
                run.counts.send_modify(|counts| {
                    counts.phase = Phase::Running;
                    counts.position = position.as_deref().map(Bytes::copy_from_slice);
                });
                Ok(OpenPipeline { endpoints: Some(endpoints), position, run })
            }
            Err(error) => {
                run.counts.send_modify(|counts| counts.failed(&error));
                tokio::select! {
                    () = endpoints.give_up() => {}
                    () = grace_over(&stop, run.options.grace) => {}
                }
                Err(error)
            }
        }
    }
}

/// A pipeline whose endpoints are open.
pub struct OpenPipeline<I, O> {
    /// `None` where it was stopped first.
    endpoints: Option<Endpoints<I, O>>,
    position: Option<Vec<u8>>,
    run: Run,
}

impl<I: Input, O: Output> OpenPipeline<I, O> {
    /// Moves records: the rest of [`Pipeline::run`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run`], but for failures to open.
    pub async fn run(self) -> Result<Summary> {
        let Self { endpoints, position, run } = self;
        let done = match endpoints {
            None => Ok(run.summary(Ended::Stopped, None)),
            Some(endpoints) => {
                let grace_over = pin!(grace_over(&run.stop, run.options.grace));
                run.run(endpoints, position, grace_over).await
            }
        };
        run.counts.send_modify(|counts| match &done {
            Ok(summary) => counts.phase = Phase::Ended(summary.ended),
            Err(error) => counts.failed(error),
        });
        done
    }
}

/// What all rounds of a pipeline share.
struct Run {
    options: Options,
    counts: watch::Sender<Counts>,
    stop: CancellationToken,
}

/// The position at which to reopen the input.
struct ReopenAt<'a> {
    /// That of the record that was acked last.
    acked: Option<Bytes>,
    /// That at which the pipeline began, if no record was acked.
    beginning: Option<&'a [u8]>,
}

impl Run {
    /// Runs rounds until one succeeds or fails permanently. `beginning` is the position at which the first one was opened.
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
            // The next run reads these records again: there is nothing to wait for.
            if self.stop.is_cancelled() && next.unacked.is_empty() {
                return Err(failure.error);
            }
            earlier = self.interrupt(is_repeatable, outage.is_none());
            let failing_for = next.input.failing_for().max(next.output.failing_for()).unwrap_or_default();
            self.counts.send_modify(|counts| counts.interrupted(&failure.error, failing_for));
            let outage = outage.get_or_insert_with(|| {
                let acked = self.counts.borrow().acked;
                Outage::begin(&self.options.name, recovery, &failure.error, acked, failing_for)
            });
            let at = ReopenAt { acked: last.clone(), beginning: beginning.as_deref() };
            let is_reopened = self.recover(&mut next, outage, failure.error, at, grace_over.as_mut()).await?;
            if !is_reopened {
                return Ok(self.summary(Ended::Stopped, last));
            }
            endpoints = next;
        }
    }

    /// Runs one round, and notices when an outage ends in it.
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
                // Its tasks are not awaited: one that is in a long call of the component ends only after it.
                () = &mut grace_over => return Err(self.grace_expired()),
                () = is_over => {}
            }
            if let Some(outage) = outage.take() {
                self.resumed(outage);
            }
        };
        if matches!(done.ended, Ok(ended) if ended != Ended::Stopped)
            && let Some(outage) = outage.take()
        {
            self.resumed(outage);
        }
        Ok(done)
    }

    fn resumed(&self, outage: Outage) {
        outage.end();
        self.counts.send_modify(|counts| counts.phase = Phase::Running);
    }

    /// Counts an interruption: records that were read and not acked are read again. Returns the source's progress so far.
    fn interrupt(&self, is_repeatable: bool, is_new: bool) -> Progress {
        self.counts.send_modify(|counts| {
            counts.outages += u64::from(is_new);
            counts.source.caught_up = false;
            if is_repeatable {
                counts.read = counts.acked;
                counts.backlog.again();
            }
        });
        self.counts.borrow().source.clone()
    }

    /// Tries to reopen both endpoints until that succeeds; false if the pipeline was stopped first.
    async fn recover<I: Input, O: Output>(
        &self,
        endpoints: &mut Endpoints<I, O>,
        outage: &mut Outage,
        first: Error,
        at: ReopenAt<'_>,
        mut grace_over: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<bool> {
        let mut why = first.clone();
        // Records that can't be read again are worth the grace period.
        let may_stop = endpoints.unacked.is_empty();
        loop {
            let mut pause = outage.pause(&why);
            if self.stop.is_cancelled() {
                pause = pause.min(STOPPING_PAUSE);
            }
            let is_stopping = self.stop.is_cancelled();
            tokio::select! {
                biased;
                () = &mut grace_over => return Err(self.grace_expired()),
                () = self.stop.cancelled(), if !is_stopping => {}
                () = sleep(pause) => {}
            }
            let reopened = tokio::select! {
                biased;
                () = &mut grace_over => return Err(self.grace_expired()),
                () = self.stop.cancelled(), if may_stop => return Ok(false),
                reopened = self.reopen(endpoints, &at) => reopened,
            };
            match reopened {
                Ok(true) => return Ok(true),
                // The first failure says why the pipeline can't continue.
                Ok(false) => return Err(first),
                Err(error) if outage.tolerates(&error) => {
                    self.counts.send_modify(|counts| counts.interrupted(&error, Duration::ZERO));
                    why = error;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Saves the position if that failed before, recreates both endpoints and opens them there; false if the output can't
    /// continue.
    async fn reopen<I: Input, O: Output>(&self, endpoints: &mut Endpoints<I, O>, at: &ReopenAt<'_>) -> Result<bool> {
        if let (Some(position), Some(state)) = (&at.acked, &self.options.state) {
            tasks::save(Arc::clone(state), position.clone()).await?;
        }
        endpoints.reopen(at.acked.as_deref().or(at.beginning)).await
    }

    /// Tears down an input that stays open between rounds.
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

/// The position to open the input at. Does not borrow the pipeline: its endpoints can move between threads, but not be
/// shared.
async fn position(options: &Options) -> Result<Option<Vec<u8>>> {
    match (&options.position, &options.state) {
        (Some(position), _) => Ok(Some(position.clone())),
        (None, Some(state)) => tasks::load(Arc::clone(state)).await,
        (None, None) => Ok(None),
    }
}

/// Returns when the grace period of a stop is over; never without a stop.
async fn grace_over(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    sleep(grace).await;
}

/// The message about a pipeline that did not end within the grace period of a stop.
pub fn grace_expired_message(counts: &Counts, grace: Duration) -> String {
    let seconds = grace.as_secs_f64();
    match counts.read.saturating_sub(counts.acked) {
        0 => format!(
            "a call of the connector did not return within {seconds} s of the stop; all {} records read are stored",
            counts.read
        ),
        left => format!(
            "{left} of {} records were not stored within {seconds} s of the stop; they are not acked, and the next run \
             reads them again",
            counts.read
        ),
    }
}

#[cfg(test)]
mod fakes;
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
