//! The three tasks of a running pipeline: one reads, one writes, one keeps positions. Each owns its end alone, so
//! that no call is ever cut off, and gives it back; they talk over channels. Starting and joining them is `round`'s.
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
use super::stop::Stop;
use super::{Counts, Ended, TEARDOWN_TIMEOUT};
use crate::connector::destination::Ack;
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::record::{self, Record};
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

/// Bytes of records that are written again at a time.
const REWRITE_BYTES: u64 = 8 << 20;

/// Reads batches, and acks what was saved.
pub(super) struct BatchReader<I> {
    pub(super) input: I,
    pub(super) until_caught_up: bool,
    pub(super) records_max: Option<u64>,
    pub(super) stop: Stop,
    pub(super) counts: watch::Sender<Counts>,
    /// What inputs before this one said of themselves.
    pub(super) earlier: Progress,
}

impl<I: Input> BatchReader<I> {
    /// Reads until there is a reason to end, then waits for the last position to be saved. Gives the input back, why it
    /// ended, and what became of its teardown.
    pub(super) async fn run(
        mut self,
        queue: mpsc::Sender<Vec<Record>>,
        mut saved: watch::Receiver<Option<Bytes>>,
    ) -> (I, Result<Ended>, Result<()>) {
        let read = self.read(&queue, &mut saved).await;
        // The writer flushes when it finds the queue closed.
        drop(queue);
        let acked = self.ack_rest(&mut saved).await;
        // What can be read only once may be needed again.
        let torn_down = if self.input.is_repeatable() { tear_down(self.input.teardown()).await } else { Ok(()) };
        let ended = read.and_then(|ended| acked.map(|()| ended));
        (self.input, ended, torn_down)
    }

    async fn read(
        &mut self,
        queue: &mpsc::Sender<Vec<Record>>,
        saved: &mut watch::Receiver<Option<Bytes>>,
    ) -> Result<Ended> {
        let records_max = self.records_max.unwrap_or(u64::MAX);
        let mut left = records_max.saturating_sub(self.counts.borrow().read);
        while left > 0 {
            // Room first: what is read is never thrown away for want of it.
            let room = tokio::select! {
                biased;
                () = self.stop.stopped() => return Ok(Ended::Stopped),
                changed = saved.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Stopped);
                    }
                    self.ack(saved).await?;
                    continue;
                }
                room = queue.reserve() => match room {
                    Ok(room) => room,
                    // The writer failed, and says why.
                    Err(_) => return Ok(Ended::Stopped),
                },
            };
            let records_max = u32::try_from(left).unwrap_or(u32::MAX).min(READ_RECORDS_MAX);
            let Some(records) = self.input.read(records_max, READ_WAIT).await? else {
                return Ok(Ended::InputEnded);
            };
            let progress = self.input.progress().await?;
            let is_done = records.is_empty() && self.until_caught_up && progress.caught_up;
            self.counts.send_modify(|counts| {
                counts.read += records.len() as u64;
                counts.bytes += records.iter().map(payload_bytes).sum::<u64>();
                counts.source = progress.on_top_of(&self.earlier);
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
    /// The record itself, where it can't be read again.
    copy: Option<Record>,
}

/// What a writer leaves behind.
pub(super) struct Leftover<O> {
    pub(super) output: O,
    /// Of an input that can't be repeated: all that was read and not acked, in order, if copies could be kept of it.
    pub(super) unacked: Option<Vec<Record>>,
}

/// Writes batches, keeps the output going, and says how far it acked.
pub(super) struct BatchWriter<O> {
    pub(super) output: O,
    pub(super) acked: watch::Sender<Option<Bytes>>,
    pub(super) counts: watch::Sender<Counts>,
    /// Whether copies are kept, since the input can't be read again. They are bounded by what the output takes before
    /// it acks, and by the queue.
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

    /// Writes `rewrite`, and what comes from the queue until it ends, then flushes. Dropping what it holds tells the
    /// others that it is done. Gives back what it leaves, and what became of writing and of the teardown.
    pub(super) async fn run(
        mut self,
        rewrite: Vec<Record>,
        mut queue: mpsc::Receiver<Vec<Record>>,
    ) -> (Leftover<O>, Result<()>, Result<()>) {
        let mut rewrite = rewrite.into_iter();
        let written = self.write(&mut rewrite, &mut queue).await;
        let unacked = self.unacked(written.is_err(), rewrite, &mut queue).await;
        drop(queue);
        let torn_down = tear_down(self.output.teardown()).await;
        let left = Leftover { output: self.output, unacked };
        (left, written, torn_down)
    }

    /// All that was read and not acked, after a failure. The reader is told that nothing more is taken.
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
            // As small as they come from a queue.
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
                // An output that came back at once with nothing would otherwise be asked in a busy loop.
                sleep(TICK).await;
            }
            self.settle(acks)?;
        }
        Ok(())
    }

    /// Writes records, or ticks without any.
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

    /// Takes acks in, and passes the last position on. What is behind a refused record is counted where it is stored,
    /// but its position is not passed on: it comes again.
    fn settle(&mut self, acks: Vec<Ack>) -> Result<()> {
        let (mut last, mut count) = (None, 0);
        let mut acks = acks.into_iter();
        let mut failed = None;
        for ack in acks.by_ref() {
            // Looked at first: what is not acked may have to be written again.
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
        self.counts.send_modify(|counts| counts.acked += count);
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

/// Makes positions durable; what was acked meanwhile is kept by one write.
pub(super) struct Checkpointer {
    pub(super) state: Option<Arc<dyn StateStore>>,
    pub(super) acked: watch::Receiver<Option<Bytes>>,
    pub(super) saved: watch::Sender<Option<Bytes>>,
}

impl Checkpointer {
    /// Keeps positions until the writer is done.
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
    on_disk(move || state.save_position(&position)).await
}

/// Tears an end down, and gives it up if that takes too long.
pub(super) async fn tear_down(teardown: impl Future<Output = Result<()>>) -> Result<()> {
    timeout(TEARDOWN_TIMEOUT, teardown).await.unwrap_or_else(|_| {
        let message =
            format!("the connector's teardown did not return within {} s; it was given up", TEARDOWN_TIMEOUT.as_secs());
        Err(Error::new(ErrorKind::Internal, message))
    })
}

/// Does what waits for a disk away from the tasks that serve requests.
pub(super) async fn on_disk<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, crate::state::Error> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(job).await {
        Ok(done) => done.map_err(|error| state_error(&error)),
        Err(panicked) => Err(Error::new(ErrorKind::Internal, format!("state storage failed: {panicked}"))),
    }
}

fn state_error(error: &crate::state::Error) -> Error {
    let kind = match error {
        crate::state::Error::Corrupt { .. } => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, with_causes(error))
}
