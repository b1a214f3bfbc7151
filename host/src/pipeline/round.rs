//! One round of a pipeline: from both endpoints open to a reason to end, or to a failure. The tasks of a round are `tasks`'s;
//! whether another round follows is the pipeline's to say.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::endpoint::{Input, Output};
use super::tasks::{BatchReader, BatchWriter, Checkpointer, Leftover, tear_down};
use super::{Counts, Ended, Options, QUEUE_BATCHES, Stop};
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::record::Record;

/// The endpoints of a pipeline between rounds.
pub(super) struct Endpoints<I, O> {
    pub(super) input: I,
    pub(super) output: O,
    /// What must be written first, since it can't be read again.
    pub(super) unacked: Vec<Record>,
}

impl<I: Input, O: Output> Endpoints<I, O> {
    /// Opens the destination first: there is no use in reading what can't be written.
    pub(super) async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        self.output.open().await?;
        self.input.open(position).await
    }

    /// Makes both endpoints anew and opens them; false where there is no going on.
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

    /// Tears both endpoints down after a failure, which is the one to report.
    pub(super) async fn give_up(&mut self) {
        let _ = tokio::join!(tear_down(self.input.teardown()), tear_down(self.output.teardown()));
    }
}

/// How a round ended.
pub(super) struct Round<I, O> {
    /// What the next round may begin with; none where there can be none.
    pub(super) endpoints: Option<Endpoints<I, O>>,
    /// The position that was acked last, if there was one. It is kept too, unless keeping it failed.
    pub(super) position: Option<Bytes>,
    /// Why it ended, or its first failure.
    pub(super) ended: Result<Ended, Failure>,
}

/// Why a round failed.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether it happened at work: what breaks down, or hangs in its teardown, does not heal.
    pub(super) is_at_work: bool,
}

/// What came of one task.
enum Finished<I, O> {
    Reader(I, Result<Ended>, Result<()>),
    Writer(Leftover<O>, Result<()>, Result<()>),
    Checkpointer(Result<()>),
}

/// Runs a round. Dropping it halfway ends its tasks.
pub(super) async fn run<I: Input, O: Output>(
    endpoints: Endpoints<I, O>,
    options: &Options,
    counts: &watch::Sender<Counts>,
    earlier: Progress,
    stop: &Stop,
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
        let (input, ended, torn_down) = reader.run(queue_in, saved_out).await;
        Finished::Reader(input, ended, torn_down)
    });
    tasks.spawn(async move {
        let (left, written, torn_down) = writer.run(unacked, queue_out).await;
        Finished::Writer(left, written, torn_down)
    });
    tasks.spawn(async move { Finished::Checkpointer(checkpointer.run().await) });
    let round = join(tasks).await;
    let position = acked.borrow().clone();
    Round { position: position.filter(|position| !position.is_empty()), ..round }
}

/// Waits for all tasks: one that fails makes the others end in good order. The first failure counts, and that of a
/// teardown only where all else went well.
async fn join<I: Input, O: Output>(mut tasks: JoinSet<Finished<I, O>>) -> Round<I, O> {
    let mut ended = Ended::Stopped;
    let (mut input, mut left) = (None, None);
    let (mut failed, mut hanging) = (None, None);
    while let Some(finished) = tasks.join_next().await {
        let (done, is_at_work) = match finished {
            Ok(Finished::Reader(back, read, torn_down)) => {
                input = Some(back);
                hanging = hanging.or(torn_down.err());
                (read.map(|why| ended = why), true)
            }
            Ok(Finished::Writer(back, written, torn_down)) => {
                left = Some(back);
                hanging = hanging.or(torn_down.err());
                (written, true)
            }
            Ok(Finished::Checkpointer(saved)) => (saved, true),
            Err(panicked) => {
                let message = format!("a task of the pipeline failed: {panicked}");
                (Err(Error::new(ErrorKind::Internal, message)), false)
            }
        };
        if let Err(error) = done {
            failed.get_or_insert(Failure { error, is_at_work });
        }
    }
    let failed = failed.or(hanging.map(|error| Failure { error, is_at_work: false }));
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
