//! Owns the three tasks of a running pipeline: one reads, one writes, one saves positions. Leaves starting and joining
//! them to `round`. Each task owns its endpoint, so that no call is ever cancelled halfway, and returns it at its end;
//! they communicate over channels.
//!
//! Invariant: a position travels writer → checkpointer → reader, and leaves the checkpointer only once it is durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::endpoint::{Input, Output};
use super::recovery;
use super::{CancellationToken, Counts, Ended, TEARDOWN_TIMEOUT};
use crate::connector::destination::Ack;
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::record::{self, Record};
use crate::state::{AsyncState, StateStore};

/// Records per read.
const READ_RECORDS_MAX: u32 = 1000;

/// How long a read waits for a first record. A stop or an ack may have to wait this long.
const READ_WAIT: Duration = Duration::from_millis(250);

/// Interval between two calls of an output that owes acks. Its uploads make progress only while it is called, so this is
/// added to each of their steps; a call with nothing to do takes microseconds.
const TICK: Duration = Duration::from_millis(20);

/// How long one call of a flush waits for acks.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// Bytes per batch of records that are written again.
const REWRITE_BYTES: u64 = 8 << 20;

/// Reads batches, and acks saved positions.
pub(super) struct BatchReader<I> {
    pub(super) input: I,
    pub(super) until_caught_up: bool,
    pub(super) records_max: Option<u64>,
    pub(super) stop: CancellationToken,
    pub(super) counts: watch::Sender<Counts>,
    /// The progress of the inputs before this one.
    pub(super) earlier: Progress,
}

impl<I: Input> BatchReader<I> {
    /// Reads until there is a reason to end, then waits for the last position to be saved. Returns the input, why it
    /// ended, the outcome of its teardown, and when it had ended reading.
    pub(super) async fn run(
        mut self,
        queue: mpsc::Sender<Vec<Record>>,
        mut saved: watch::Receiver<Option<Bytes>>,
    ) -> (I, Result<Ended>, Result<()>, Instant) {
        let read = self.read(&queue, &mut saved).await;
        let at = Instant::now();
        // The writer flushes when it finds the queue closed.
        drop(queue);
        let acked = self.ack_rest(&mut saved).await;
        // An input that can be read only once stays open for the next round.
        let torn_down = if self.input.is_repeatable() { tear_down(self.input.teardown()).await } else { Ok(()) };
        let ended = read.and_then(|ended| acked.map(|()| ended));
        (self.input, ended, torn_down, at)
    }

    async fn read(
        &mut self,
        queue: &mpsc::Sender<Vec<Record>>,
        saved: &mut watch::Receiver<Option<Bytes>>,
    ) -> Result<Ended> {
        let records_max = self.records_max.unwrap_or(u64::MAX);
        let mut left = records_max.saturating_sub(self.counts.borrow().read);
        while left > 0 {
            // Room comes first, so that no record is read that the queue can't take.
            let room = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Ended::Stopped),
                changed = saved.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Stopped);
                    }
                    self.ack(saved).await?;
                    continue;
                }
                room = queue.reserve() => match room {
                    Ok(room) => room,
                    // The writer failed, and reports why.
                    Err(_) => return Ok(Ended::Stopped),
                },
            };
            let records_max = u32::try_from(left).unwrap_or(u32::MAX).min(READ_RECORDS_MAX);
            let Some(records) = self.input.read(records_max, READ_WAIT).await? else {
                return Ok(Ended::InputEnded);
            };
            let progress = self.input.progress().await?;
            let is_done = records.is_empty() && self.until_caught_up && progress.caught_up;
            let bytes = records.iter().map(payload_bytes).sum::<u64>();
            let source = progress.on_top_of(&self.earlier);
            self.counts.send_modify(|counts| counts.read(records.len() as u64, bytes, source));
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

    async fn ack_rest(&mut self, saved: &mut watch::Receiver<Option<Bytes>>) -> Result<()> {
        while saved.changed().await.is_ok() {
            self.ack(saved).await?;
        }
        Ok(())
    }

    async fn ack(&mut self, saved: &mut watch::Receiver<Option<Bytes>>) -> Result<()> {
        let position = saved.borrow_and_update().clone();
        match position {
            Some(position) => self.input.ack(&position).await,
            None => Ok(()),
        }
    }
}

fn payload_bytes(record: &Record) -> u64 {
    record.payload.after.as_ref().and_then(record::Data::length).unwrap_or_default()
}

/// A record that was written and not acked.
struct Outstanding {
    position: Bytes,
    /// The record itself, if it can't be read again.
    copy: Option<Record>,
}

/// What is left when a writer ends.
pub(super) struct Leftover<O> {
    pub(super) output: O,
    /// If the input can't be repeated: the records that were read and not acked, in order; `None` if one of them could not
    /// be copied.
    pub(super) unacked: Option<Vec<Record>>,
}

/// Writes batches, calls the output while it owes acks, and reports how far it acked.
pub(super) struct BatchWriter<O> {
    pub(super) output: O,
    pub(super) acked: watch::Sender<Option<Bytes>>,
    pub(super) counts: watch::Sender<Counts>,
    /// Whether to keep copies of records, since the input can't be read again. The queue, and what the output takes before
    /// it acks, bound them.
    pub(super) keeps_copies: bool,
    /// In order.
    outstanding: VecDeque<Outstanding>,
}

impl<O: Output> BatchWriter<O> {
    pub(super) fn new(
        output: O,
        acked: watch::Sender<Option<Bytes>>,
        counts: watch::Sender<Counts>,
        keeps_copies: bool,
    ) -> Self {
        Self { output, acked, counts, keeps_copies, outstanding: VecDeque::new() }
    }

    /// Writes `rewrite`, then the batches of the queue until it ends, then flushes. The other tasks notice its end when its
    /// channels close. Returns what is left, the outcomes of writing and of the teardown, and when it had ended writing.
    pub(super) async fn run(
        mut self,
        rewrite: Vec<Record>,
        mut queue: mpsc::Receiver<Vec<Record>>,
    ) -> (Leftover<O>, Result<()>, Result<()>, Instant) {
        let mut rewrite = rewrite.into_iter();
        let written = self.write(&mut rewrite, &mut queue).await;
        let at = Instant::now();
        let unacked = self.unacked(written.is_err(), rewrite, &mut queue).await;
        drop(queue);
        let torn_down = tear_down(self.output.teardown()).await;
        let left = Leftover { output: self.output, unacked };
        (left, written, torn_down, at)
    }

    /// The records that were read and not acked, after a failure. Closes the queue, which ends the reader.
    async fn unacked(
        &mut self,
        has_failed: bool,
        rewrite: std::vec::IntoIter<Record>,
        queue: &mut mpsc::Receiver<Vec<Record>>,
    ) -> Option<Vec<Record>> {
        if !has_failed || !self.keeps_copies {
            return Some(Vec::new());
        }
        let copies = self.outstanding.drain(..).map(|outstanding| outstanding.copy);
        let mut unacked = copies.collect::<Option<Vec<_>>>()?;
        unacked.extend(rewrite);
        queue.close();
        while let Some(records) = queue.recv().await {
            unacked.extend(records);
        }
        Some(unacked)
    }

    async fn write(
        &mut self,
        rewrite: &mut std::vec::IntoIter<Record>,
        queue: &mut mpsc::Receiver<Vec<Record>>,
    ) -> Result<()> {
        while rewrite.len() > 0 {
            // In batches as small as those of the queue.
            let (mut records, mut bytes) = (Vec::new(), 0);
            while bytes < REWRITE_BYTES && records.len() < READ_RECORDS_MAX as usize {
                let Some(record) = rewrite.next() else { break };
                bytes += payload_bytes(&record);
                records.push(record);
            }
            self.hand_over(records).await?;
        }
        loop {
            let batch = if self.outstanding.is_empty() {
                queue.recv().await
            } else {
                timeout(TICK, queue.recv()).await.unwrap_or_else(|_| Some(Vec::new()))
            };
            let Some(records) = batch else { break };
            self.hand_over(records).await?;
        }
        while !self.outstanding.is_empty() {
            let start = Instant::now();
            let acks = self.output.flush(FLUSH_WAIT).await?;
            if acks.is_empty() && start.elapsed() < TICK {
                // An output that returns at once without acks must not cause a busy loop.
                sleep(TICK).await;
            }
            self.settle(acks)?;
        }
        Ok(())
    }

    /// Writes records; without any, it is a tick.
    async fn hand_over(&mut self, records: Vec<Record>) -> Result<()> {
        for record in &records {
            self.outstanding.push_back(Outstanding {
                position: record.position.clone(),
                copy: if self.keeps_copies { record::copy(record) } else { None },
            });
        }
        let acks = self.output.write(records).await?;
        self.settle(acks)
    }

    /// Takes acks, and passes the last position on. Records after a refused one count if they are stored, but their
    /// positions are not passed on: they are read again.
    fn settle(&mut self, acks: Vec<Ack>) -> Result<()> {
        let (mut last, mut count) = (None, 0);
        let mut acks = acks.into_iter();
        let mut failed = None;
        for ack in acks.by_ref() {
            // Removed only after the checks: a record that is not acked may have to be written again.
            let next = self.outstanding.front().map(|next| &next.position);
            if next != Some(&ack.position) {
                let message = "the destination acked a record that was not next in order";
                failed = Some(Error::new(ErrorKind::Internal, message));
                break;
            }
            if let Some(error) = ack.error {
                let number = self.counts.borrow().acked + count + 1;
                failed = Some(error.context(refused(number, &ack.position)));
                break;
            }
            self.outstanding.pop_front();
            count += 1;
            last = Some(ack.position);
        }
        if failed.as_ref().is_some_and(|error| !recovery::is_transient(error)) {
            count += acks.filter(|ack| ack.error.is_none()).count() as u64;
        }
        self.counts.send_modify(|counts| {
            counts.stored(count);
            if last.is_some() {
                counts.position.clone_from(&last);
            }
        });
        if last.is_some() {
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

/// Makes positions durable. One write covers everything that was acked during the one before.
pub(super) struct Checkpointer {
    pub(super) state: Option<Arc<dyn StateStore>>,
    pub(super) acked: watch::Receiver<Option<Bytes>>,
    pub(super) saved: watch::Sender<Option<Bytes>>,
}

impl Checkpointer {
    /// Saves positions until the writer ends.
    pub(super) async fn run(mut self) -> Result<()> {
        while self.acked.changed().await.is_ok() {
            let position = self.acked.borrow_and_update().clone();
            let Some(position) = position.filter(|position| !position.is_empty()) else {
                continue;
            };
            if let Some(state) = &self.state {
                save(Arc::clone(state), position.clone()).await?;
            }
            self.saved.send_replace(Some(position));
        }
        Ok(())
    }
}

/// Makes a position durable.
pub(super) async fn save(state: Arc<dyn StateStore>, position: Bytes) -> Result<()> {
    AsyncState::from(state).save_position(position).await.map_err(|error| state_error(&error))
}

/// The position last made durable.
pub(super) async fn load(state: Arc<dyn StateStore>) -> Result<Option<Vec<u8>>> {
    AsyncState::from(state).load_position().await.map_err(|error| state_error(&error))
}

/// Tears an endpoint down, and abandons it if that takes too long.
pub(super) async fn tear_down(teardown: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(TEARDOWN_TIMEOUT, teardown).await.unwrap_or_else(|_| {
        let message =
            format!("the connector's teardown did not return within {} s; abandoned it", TEARDOWN_TIMEOUT.as_secs());
        Err(Error::new(ErrorKind::Internal, message))
    })
}

/// A store that can't be used is an outage, which the pipeline waits for.
fn state_error(error: &crate::state::Error) -> Error {
    Error::new(error.kind(ErrorKind::Unavailable), with_causes(error))
}
