//! Moves records from a source to a destination: back-pressure, acks, checkpoints, and a clean end.
//!
//! A position is kept only once its record and all before it are acked, and the source hears of it only once it is
//! kept. Files and streams of lines are ends as good as the connector's own. What a position means is the
//! source's business; where it is kept is `state`'s.
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
//! use s3_connector_host::{Connector, Given, Settings};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let connector = Connector::load(Default::default()).await?;
//! let state: Arc<FileState> = Arc::new(FileState::open("state")?);
//!
//! let settings = Settings::from([("aws.bucket".into(), "photos".into())]);
//! let given = Given { name: "photos".into(), state: Some(state.clone()) };
//! let source = connector.source(settings, given).await?;
//!
//! let settings = Settings::from([
//!     ("aws.bucket".into(), "lake".into()),
//!     ("format".into(), "parquet".into()),
//! ]);
//! let destination = connector.destination(settings, Given::default()).await?;
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

mod ends;
mod file;
mod followed;
mod json_lines;
mod lines;
mod parts;
mod stop;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use self::ends::{Input, Output};
pub use self::file::{FileInput, FileOutput};
pub use self::json_lines::{JsonLinesInput, JsonLinesOutput, PassedOver, Sink};
pub use self::stop::Stop;

use self::parts::{Keeper, Reader, Writer, on_disk};
use crate::error::{Error, ErrorKind, Result};
use crate::source::Progress;
use crate::state::StateStore;

/// How long a pipeline that was stopped goes on writing what it has read, unless it is told otherwise. Kubernetes
/// kills 30 s after it asked; five of those are for giving up and ending in order.
pub const GRACE: Duration = Duration::from_secs(25);

/// How long the teardown of an end may take. The connector's own waits for nothing; an end that takes longer than
/// the time to close connections hangs.
pub const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Batches between reader and writer. Two keep both busy; each may hold 64 MiB that the source has fetched.
const QUEUE_BATCHES: usize = 2;

/// How a pipeline runs.
#[derive(Clone)]
pub struct Options {
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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            state: None,
            position: None,
            until_caught_up: false,
            records_max: None,
            grace: GRACE,
        }
    }
}

/// How far a pipeline has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Records that were read.
    pub read: u64,
    /// Bytes of their payloads, as far as the source said.
    pub bytes: u64,
    /// Records that are stored.
    pub acked: u64,
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
    /// Joins the ends. Nothing is opened yet.
    pub fn new(input: I, output: O, options: Options) -> Self {
        Self {
            input,
            output,
            options,
            counts: watch::Sender::new(Counts::default()),
        }
    }

    /// Shows how far the pipeline has come, while it runs and after.
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// Opens both ends and moves records until there is a reason to end; then stores what was read, keeps the
    /// last position and tears both ends down.
    ///
    /// A stop ends the reading at once. If what was read is not stored within the grace period, the rest is given
    /// up: it is read again next time.
    ///
    /// # Errors
    ///
    /// The first failure of an end, of keeping the position, or the reason for which the destination refused a
    /// record. What was acked before is checkpointed, and nothing else.
    pub async fn run(mut self, stop: Stop) -> Result<Summary> {
        let position = position(&self.options).await?;
        // Nothing was read yet: giving up an end that is opening, half way, loses nothing.
        let opened = tokio::select! {
            biased;
            () = stop.stopped() => None,
            opened = self.open(position.as_deref()) => Some(opened),
        };
        match opened {
            None => {
                let counts = self.counts.borrow().clone();
                Ok(Summary {
                    ended: Ended::Stopped,
                    counts,
                    position: None,
                })
            }
            Some(Err(error)) => {
                self.give_up(&stop).await;
                Err(error)
            }
            Some(Ok(())) => self.drive(stop).await,
        }
    }

    /// Opens the destination first: there is no use in reading what can't be written.
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        self.output.open().await?;
        self.input.open(position).await
    }

    /// Tears both ends down after a failure, which is the one to report.
    async fn give_up(self, stop: &Stop) {
        let Self {
            mut input,
            mut output,
            options,
            ..
        } = self;
        let torn_down = async {
            tokio::join!(
                parts::tear_down(input.teardown()),
                parts::tear_down(output.teardown())
            )
        };
        tokio::select! {
            _ = torn_down => {}
            () = overtime(stop, options.grace) => {}
        }
    }

    async fn drive(self, stop: Stop) -> Result<Summary> {
        let (queue_in, queue_out) = mpsc::channel(QUEUE_BATCHES);
        let (acked_in, acked_out) = watch::channel(None);
        let (kept_in, kept_out) = watch::channel(None);
        let reader = Reader {
            input: self.input,
            until_caught_up: self.options.until_caught_up,
            records_max: self.options.records_max,
            stop: stop.clone(),
            counts: self.counts.clone(),
        };
        let writer = Writer::new(self.output, acked_in, self.counts.clone());
        let keeper = Keeper {
            state: self.options.state,
            acked: acked_out,
            kept: kept_in,
        };
        let mut parts = JoinSet::new();
        parts.spawn(async move { Part::Reader(reader.run(queue_in, kept_out).await) });
        parts.spawn(async move { Part::Writer(writer.run(queue_out).await) });
        parts.spawn(async move { Part::Keeper(keeper.run().await) });

        let (ended, position) = tokio::select! {
            biased;
            done = join(&mut parts) => done?,
            () = overtime(&stop, self.options.grace) => {
                // Not waited for: a part that is in a long call of the component hears of it only behind that.
                parts.abort_all();
                let why = given_up(&self.counts.borrow(), self.options.grace);
                return Err(Error::new(ErrorKind::Unavailable, why));
            }
        };
        let counts = self.counts.borrow().clone();
        Ok(Summary {
            ended,
            counts,
            position,
        })
    }
}

/// Where to go on. Does not borrow the pipeline: its ends can move between threads, but not be shared.
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

/// What came of one task.
enum Part {
    Reader(Result<Ended>),
    Writer(Result<()>),
    Keeper(Result<Option<Bytes>>),
}

/// Waits for all tasks: one that fails makes the others end in good order. The first failure counts.
async fn join(parts: &mut JoinSet<Part>) -> Result<(Ended, Option<Bytes>)> {
    let (mut ended, mut position, mut failed) = (Ended::Stopped, None, None);
    while let Some(part) = parts.join_next().await {
        let error = match part {
            Ok(Part::Reader(Ok(why))) => {
                ended = why;
                continue;
            }
            Ok(Part::Keeper(Ok(last))) => {
                position = last;
                continue;
            }
            Ok(Part::Writer(Ok(()))) => continue,
            Ok(Part::Reader(Err(error)) | Part::Writer(Err(error)) | Part::Keeper(Err(error))) => {
                error
            }
            Err(panicked) => Error::new(
                ErrorKind::Internal,
                format!("a task of the pipeline failed: {panicked}"),
            ),
        };
        failed.get_or_insert(error);
    }
    match failed {
        Some(error) => Err(error),
        None => Ok((ended, position)),
    }
}

/// Returns once the grace period of a stop is over; never without a stop.
async fn overtime(stop: &Stop, grace: Duration) {
    stop.stopped().await;
    sleep(grace).await;
}

/// What to say of a pipeline that has not ended within the grace period of a stop.
pub fn given_up(counts: &Counts, grace: Duration) -> String {
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
mod line_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;
