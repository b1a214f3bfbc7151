//! The three tasks of a running pipeline: one reads, one writes, one keeps positions. Each owns its end alone, so
//! that no call is ever cut off; they talk over channels. Starting and ending them is the pipeline's.
//!
//! Invariant: a position travels writer → keeper → reader, and leaves the keeper only once it is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::ends::{Input, Output};
use super::stop::Stop;
use super::{Counts, Ended, TEARDOWN_TIMEOUT};
use crate::destination::Ack;
use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::record::Record;
use crate::state::StateStore;

/// Records that are read at a time.
const READ_RECORDS_MAX: u32 = 1000;

/// How long a read waits for a first record: this long a stop or an ack may have to wait.
const READ_WAIT: Duration = Duration::from_millis(250);

/// Time between two calls of an output that owes acks. Its uploads only go on while it is called, so this is
/// added to each of their steps; a call that finds nothing to do takes microseconds.
const TICK: Duration = Duration::from_millis(20);

/// How long a flush waits for acks before the pipeline looks around.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// Reads batches, and acks what was kept.
pub(super) struct Reader<I> {
    pub(super) input: I,
    pub(super) until_caught_up: bool,
    pub(super) records_max: Option<u64>,
    pub(super) stop: Stop,
    pub(super) counts: watch::Sender<Counts>,
}

impl<I: Input> Reader<I> {
    /// Reads until there is a reason to end, then waits for the last position to be kept.
    pub(super) async fn run(
        mut self,
        queue: mpsc::Sender<Vec<Record>>,
        mut kept: watch::Receiver<Option<Bytes>>,
    ) -> Result<Ended> {
        let read = self.read(&queue, &mut kept).await;
        // The writer flushes when it finds the queue closed.
        drop(queue);
        let acked = self.ack_rest(&mut kept).await;
        let torn_down = tear_down(self.input.teardown()).await;
        let ended = read?;
        acked?;
        torn_down?;
        Ok(ended)
    }

    async fn read(
        &mut self,
        queue: &mpsc::Sender<Vec<Record>>,
        kept: &mut watch::Receiver<Option<Bytes>>,
    ) -> Result<Ended> {
        let mut left = self.records_max.unwrap_or(u64::MAX);
        while left > 0 {
            // Room first: what is read is never thrown away for want of it.
            let room = tokio::select! {
                biased;
                () = self.stop.stopped() => return Ok(Ended::Stopped),
                changed = kept.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Stopped);
                    }
                    self.ack(kept).await?;
                    continue;
                }
                room = queue.reserve() => match room {
                    Ok(room) => room,
                    // The writer failed, and says why.
                    Err(_) => return Ok(Ended::Stopped),
                },
            };
            let records_max = u32::try_from(left)
                .unwrap_or(u32::MAX)
                .min(READ_RECORDS_MAX);
            let Some(records) = self.input.read(records_max, READ_WAIT).await? else {
                return Ok(Ended::InputEnded);
            };
            let progress = self.input.progress().await?;
            let is_done = records.is_empty() && self.until_caught_up && progress.caught_up;
            self.counts.send_modify(|counts| {
                counts.read += records.len() as u64;
                counts.bytes += records.iter().map(payload_bytes).sum::<u64>();
                counts.source = progress;
            });
            if is_done {
                return Ok(Ended::CaughtUp);
            }
            if !records.is_empty() {
                left = left.saturating_sub(records.len() as u64);
                room.send(records);
            }
        }
        Ok(Ended::RecordsMax)
    }

    async fn ack_rest(&mut self, kept: &mut watch::Receiver<Option<Bytes>>) -> Result<()> {
        while kept.changed().await.is_ok() {
            self.ack(kept).await?;
        }
        Ok(())
    }

    async fn ack(&mut self, kept: &mut watch::Receiver<Option<Bytes>>) -> Result<()> {
        let position = kept.borrow_and_update().clone();
        match position {
            Some(position) => self.input.ack(&position).await,
            None => Ok(()),
        }
    }
}

fn payload_bytes(record: &Record) -> u64 {
    record
        .payload
        .after
        .as_ref()
        .and_then(crate::record::Data::length)
        .unwrap_or_default()
}

/// Writes batches, keeps the output going, and says how far it acked.
pub(super) struct Writer<O> {
    pub(super) output: O,
    pub(super) acked: watch::Sender<Option<Bytes>>,
    pub(super) counts: watch::Sender<Counts>,
    /// Positions that were written and not acked, in order.
    outstanding: VecDeque<Bytes>,
}

impl<O: Output> Writer<O> {
    pub(super) fn new(
        output: O,
        acked: watch::Sender<Option<Bytes>>,
        counts: watch::Sender<Counts>,
    ) -> Self {
        Self {
            output,
            acked,
            counts,
            outstanding: VecDeque::new(),
        }
    }

    /// Writes until the queue ends, then flushes. Dropping what it holds tells the others that it is done.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Vec<Record>>) -> Result<()> {
        let written = self.write(&mut queue).await;
        drop(queue);
        let torn_down = tear_down(self.output.teardown()).await;
        written?;
        torn_down
    }

    async fn write(&mut self, queue: &mut mpsc::Receiver<Vec<Record>>) -> Result<()> {
        loop {
            let batch = if self.outstanding.is_empty() {
                queue.recv().await
            } else {
                timeout(TICK, queue.recv())
                    .await
                    .unwrap_or_else(|_| Some(Vec::new()))
            };
            let Some(records) = batch else { break };
            self.outstanding
                .extend(records.iter().map(|record| record.position.clone()));
            let acks = self.output.write(records).await?;
            self.settle(acks)?;
        }
        while !self.outstanding.is_empty() {
            let start = Instant::now();
            let acks = self.output.flush(FLUSH_WAIT).await?;
            if acks.is_empty() && start.elapsed() < TICK {
                // An output that came back at once with nothing would otherwise be asked in a busy loop.
                sleep(TICK).await;
            }
            self.settle(acks)?;
        }
        Ok(())
    }

    /// Takes acks in, and passes the last position on. Nothing behind a refused record counts as done.
    fn settle(&mut self, acks: Vec<Ack>) -> Result<()> {
        let (mut last, mut count, mut failed) = (None, 0, None);
        for ack in acks {
            if self.outstanding.pop_front().as_ref() != Some(&ack.position) {
                let message = "the destination acked a record that was not next in order";
                failed = Some(Error::new(ErrorKind::Internal, message));
                break;
            }
            if let Some(error) = ack.error {
                let number = self.counts.borrow().acked + count + 1;
                failed = Some(error.context(refused(number, &ack.position)));
                break;
            }
            count += 1;
            last = Some(ack.position);
        }
        if last.is_some() {
            self.counts.send_modify(|counts| counts.acked += count);
            self.acked.send_replace(last);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn refused(number: u64, position: &[u8]) -> String {
    match String::from_utf8_lossy(position) {
        position if position.is_empty() => format!("record {number} was refused"),
        position => format!("record {number} at position `{position}` was refused"),
    }
}

/// Makes positions durable; what was acked meanwhile is kept by one write.
pub(super) struct Keeper {
    pub(super) state: Option<Arc<dyn StateStore>>,
    pub(super) acked: watch::Receiver<Option<Bytes>>,
    pub(super) kept: watch::Sender<Option<Bytes>>,
}

impl Keeper {
    /// Keeps positions until the writer is done. Returns the last one.
    pub(super) async fn run(mut self) -> Result<Option<Bytes>> {
        let mut last = None;
        while self.acked.changed().await.is_ok() {
            let position = self.acked.borrow_and_update().clone();
            let Some(position) = position.filter(|position| !position.is_empty()) else {
                continue;
            };
            if let Some(state) = &self.state {
                save(Arc::clone(state), position.clone()).await?;
            }
            last = Some(position.clone());
            self.kept.send_replace(Some(position));
        }
        Ok(last)
    }
}

async fn save(state: Arc<dyn StateStore>, position: Bytes) -> Result<()> {
    on_disk(move || state.save_position(&position)).await
}

/// Tears an end down, and gives it up if that takes too long.
pub(super) async fn tear_down(teardown: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(TEARDOWN_TIMEOUT, teardown)
        .await
        .unwrap_or_else(|_| {
            let message = format!(
                "the connector's teardown did not return within {} s; it was given up",
                TEARDOWN_TIMEOUT.as_secs()
            );
            Err(Error::new(ErrorKind::Unavailable, message))
        })
}

/// Does what waits for a disk away from the tasks that serve requests.
pub(super) async fn on_disk<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, crate::state::Error> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done.map_err(|error| state_error(&error)),
        Err(panicked) => Err(Error::new(
            ErrorKind::Internal,
            format!("state storage failed: {panicked}"),
        )),
    }
}

fn state_error(error: &crate::state::Error) -> Error {
    let kind = match error {
        crate::state::Error::Corrupt { .. } => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, with_causes(error))
}
