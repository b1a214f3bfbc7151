//! Owns one round of a pipeline: from open endpoints to a reason to end, or to a failure. Leaves the work of each task to
//! `tasks`, and whether another round follows to `pipeline`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::endpoint::{Input, Output};
use super::tasks::{BatchReader, BatchWriter, Checkpointer, Leftover, tear_down};
use super::{CancellationToken, Counts, Ended, Options, QUEUE_BATCHES};
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Record;

/// The endpoints of a pipeline between rounds.
pub(super) struct Endpoints<I, O> {
    pub(super) input: I,
    pub(super) output: O,
    /// Records that must be written first, since they can't be read again.
    pub(super) unacked: Vec<Record>,
}

impl<I: Input, O: Output> Endpoints<I, O> {
    /// Opens the destination first: it is useless to read what can't be written.
    pub(super) async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        self.output.open().await?;
        self.input.open(position).await
    }

    /// Recreates and opens both endpoints; false if the output can't continue.
    pub(super) async fn reopen(&mut self, position: Option<&[u8]>) -> Result<bool> {
        if !self.output.renew().await? {
            return Ok(false);
        }
        self.output.open().await?;
        if self.input.is_repeatable() {
            self.input.renew().await?;
            self.input.open(position).await?;
        }
        Ok(true)
    }

    /// Tears both endpoints down after a failure. Their own failures are not reported.
    pub(super) async fn give_up(&mut self) {
        let _ = tokio::join!(tear_down(self.input.teardown()), tear_down(self.output.teardown()));
    }
}

/// How a round ended.
pub(super) struct Round<I, O> {
    /// The endpoints for the next round; `None` if there can be no next round.
    pub(super) endpoints: Option<Endpoints<I, O>>,
    /// The position of the last acked record. It is saved too, unless saving it failed.
    pub(super) position: Option<Bytes>,
    /// Why it ended, or its first failure.
    pub(super) ended: Result<Ended, Failure>,
}

/// Why a round failed.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether it happened at work: a task that panics, or a teardown that hangs, is no transient failure.
    pub(super) is_at_work: bool,
}

/// What one task returned, and when its work had ended: its end may have to wait for another task.
enum Finished<I, O> {
    Reader(I, Result<Ended>, Result<()>, Instant),
    Writer(Leftover<O>, Result<()>, Result<()>, Instant),
    Checkpointer(Result<()>),
}

/// Runs a round. Dropping it halfway ends its tasks.
pub(super) async fn run<I: Input, O: Output>(
    endpoints: Endpoints<I, O>,
    options: &Options,
    counts: &watch::Sender<Counts>,
    earlier: Progress,
    stop: &CancellationToken,
) -> Round<I, O> {
    let Endpoints { input, output, unacked } = endpoints;
    let (queue_in, queue_out) = mpsc::channel(QUEUE_BATCHES);
    let (acked_in, acked_out) = watch::channel(None::<Bytes>);
    let acked = acked_in.subscribe();
    let (saved_in, saved_out) = watch::channel(None);
    let writer = BatchWriter::new(output, acked_in, counts.clone(), !input.is_repeatable());
    let reader = BatchReader {
        input,
        until_caught_up: options.until_caught_up,
        records_max: options.records_max,
        stop: stop.clone(),
        counts: counts.clone(),
        earlier,
    };
    let checkpointer =
        Checkpointer { state: options.state.as_ref().map(Arc::clone), acked: acked_out, saved: saved_in };
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (input, ended, torn_down, at) = reader.run(queue_in, saved_out).await;
        Finished::Reader(input, ended, torn_down, at)
    });
    tasks.spawn(async move {
        let (left, written, torn_down, at) = writer.run(unacked, queue_out).await;
        Finished::Writer(left, written, torn_down, at)
    });
    tasks.spawn(async move { Finished::Checkpointer(checkpointer.run().await) });
    let round = join(tasks).await;
    let position = acked.borrow().clone();
    Round { position: position.filter(|position| !position.is_empty()), ..round }
}

/// Waits for all tasks: when one fails, the others end cleanly. The first failure counts; one of a teardown counts only if
/// there is no other.
async fn join<I: Input, O: Output>(mut tasks: JoinSet<Finished<I, O>>) -> Round<I, O> {
    let mut ended = Ended::Stopped;
    let (mut input, mut left) = (None, None);
    let (mut failed, mut hanging) = (None::<(Instant, Failure)>, None);
    while let Some(finished) = tasks.join_next().await {
        let (done, is_at_work, at) = match finished {
            Ok(Finished::Reader(back, read, torn_down, at)) => {
                input = Some(back);
                hanging = hanging.or(torn_down.err());
                (read.map(|why| ended = why), true, at)
            }
            Ok(Finished::Writer(back, written, torn_down, at)) => {
                left = Some(back);
                hanging = hanging.or(torn_down.err());
                (written, true, at)
            }
            Ok(Finished::Checkpointer(saved)) => (saved, true, Instant::now()),
            Err(panicked) => {
                let message = format!("a task of the pipeline failed: {panicked}");
                (Err(Error::new(ErrorKind::Internal, message)), false, Instant::now())
            }
        };
        if let Err(error) = done
            && failed.as_ref().is_none_or(|(earlier, _)| at < *earlier)
        {
            failed = Some((at, Failure { error, is_at_work }));
        }
    }
    let failed = failed.map(|(_, failure)| failure).or(hanging.map(|error| Failure { error, is_at_work: false }));
    let endpoints = input
        .zip(left)
        .and_then(|(input, left)| Some(Endpoints { input, output: left.output, unacked: left.unacked? }));
    Round {
        endpoints,
        position: None,
        ended: match failed {
            Some(failure) => Err(failure),
            None => Ok(ended),
        },
    }
}
