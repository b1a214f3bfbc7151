//! Owns the calls of a source: `configure`, `open`, `read`, `ack`, `teardown`. Leaves the work between them to
//! `worker`.
//!
//! # The life of a record
//!
//! ```text
//!  position ─► resume ─► worker: snapshot, then polls ─► prefetch: many fetches ─► queue ─► read ─► ack
//!                 ▲         │           │                          │                         │       │
//!                 │      list pages   changes ◄─ seen      retrieval: GET, compare           │       │
//!                 └──────────────────── checkpoint ◄────────────────────────────────────────┴───────┘
//! ```
//!
//! `resume` reads the position and the saved state that goes with it, and decides where to go on: within the snapshot,
//! or with a poll, whose plan may be half delivered. All that follows is one future, the worker. It runs only while
//! `read` polls it: there are no threads, and between calls nothing happens but what the host does with sockets.
//!
//! 1. The `snapshot` lists current objects page by page, in the order of keys. A `poll` lists all versions, and gives
//!    each to `changes`, a pure function of the listing and of what was delivered before (`seen`): it keeps the *due*
//!    ones.
//! 2. What a poll found is saved as a *plan* before its first record leaves, so that a restart repeats the same records
//!    in the same order instead of deciding again.
//! 3. `prefetch` holds many fetches, bounded by count and bytes, and yields them in the order of the plan. A fetch asks
//!    `retrieval` for the object, pinned to what was listed; where answer and listing disagree, it asks both again.
//! 4. The worker gives the record its position (run, poll, index) and puts it into the `queue`. A full queue suspends
//!    the worker, which is all the backpressure there is.
//! 5. `read` takes records out. What the snapshot delivers within the window of the first poll is saved at this moment,
//!    since only the GET told which version it was. Small bodies are in the record, large ones go along as handles.
//! 6. `ack` removes the plans and the snapshot's state that no restart can need any more.
//!
//! **Invariant:** no record is handed out before what a restart needs is saved.

mod changes;
mod checkpoint;
mod fetch;
mod poll;
mod prefetch;
mod queue;
mod resume;
mod retrieval;
mod seen;
mod snapshot;
mod worker;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Fuse, FutureExt as _, LocalBoxFuture};

use crate::config::{Settings, SourceConfig, doubt_prefix};
use crate::error::{Error, Result};
use crate::limits;
use crate::ports::{Level, Ports};
use crate::record::Record;
use crate::s3::{Client, Patience};
use checkpoint::CheckpointStore;
pub use queue::Counts;
use queue::{ReadLimits, ReadyQueue};
use seen::Seen;
use worker::Worker;

/// The progress of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether the latest poll found nothing due, and everything before it was read.
    pub is_caught_up: bool,
    /// What was counted.
    pub counts: Counts,
}

/// A source of records.
pub struct Source<P: Ports> {
    ports: P,
    config: Rc<SourceConfig>,
    client: Client<P>,
    checkpoints: Rc<RefCell<CheckpointStore<P>>>,
    queue: ReadyQueue<P::Body>,
    lifecycle: Lifecycle,
    /// Records that were handed out and are not acked, in order.
    unacked: VecDeque<Unacked>,
    /// How many of them have streams.
    streams_unacked: usize,
}

/// A record that was handed out.
struct Unacked {
    position: Bytes,
    poll: u64,
    has_stream: bool,
}

enum Lifecycle {
    Configured,
    Open(Fuse<LocalBoxFuture<'static, Result<()>>>),
    Failed(Error),
    Closed,
}

impl<P: Ports> Source<P> {
    /// Makes a source from settings; no I/O.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting that is unknown, missing or malformed.
    pub fn configure(ports: P, settings: &Settings) -> Result<Self> {
        let config = Rc::new(SourceConfig::parse(settings)?);
        Ok(Self {
            client: Client::new(ports.clone(), config.bucket.clone()),
            checkpoints: Rc::new(RefCell::new(CheckpointStore::new(ports.clone()))),
            queue: ReadyQueue::new(),
            lifecycle: Lifecycle::Configured,
            unacked: VecDeque::new(),
            streams_unacked: 0,
            config,
            ports,
        })
    }

    /// Checks that the bucket can be listed, and prepares to go on after `position`.
    ///
    /// # Errors
    ///
    /// `corrupt` where the position or saved state cannot be read, `invalid` where the bucket does not exist,
    /// `denied` where it may not be listed, `unavailable` where the store does not answer.
    pub async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        match &self.lifecycle {
            Lifecycle::Configured => {}
            Lifecycle::Closed => return Err(closed()),
            _ => return Err(Error::invalid("open was called twice")),
        }
        let position = position.filter(|p| !p.is_empty());
        let resumption = resume::load(position, &self.config, &mut self.checkpoints.borrow_mut())?;
        // The source needs to list, so that HeadBucket would be one request more.
        let probe = self.client.with_patience(Patience::OPENING);
        probe.probe_listing().await.map_err(|e| e.explain(&self.config.bucket))?;
        if let Some(doubt) = doubt_prefix(&self.config.bucket.prefix) {
            self.ports.log(Level::Warn, &format!("setting `prefix`: {doubt}"));
        }
        let seen = Seen::new((self.ports.random(), self.ports.random()));
        let seen = Rc::new(RefCell::new(seen));
        let point = resumption.resolve(&self.ports, &self.config, &seen);
        let worker = Worker {
            ports: self.ports.clone(),
            client: self.client.clone(),
            config: Rc::clone(&self.config),
            queue: self.queue.clone(),
            checkpoints: Rc::clone(&self.checkpoints),
            seen,
            run: point.run,
            has_versions: true,
            has_uploads: true,
            oddities: Rc::default(),
            skipped: std::collections::BTreeMap::new(),
            early: poll::EarlyEntries::default(),
        };
        self.lifecycle = Lifecycle::Open(worker.run(point.at).boxed_local().fuse());
        Ok(())
    }

    /// Reads at most `records_max` records with at most `bytes_max` bytes in them, waiting at most `wait` for a first
    /// one. None may be ready by then. One record may leave whatever it holds.
    ///
    /// Records whose bodies are streams wait for acks once [`limits::STREAMS_UNACKED_MAX`] of them are unacked.
    ///
    /// # Errors
    ///
    /// `closed` after `teardown`, `invalid` before `open`; otherwise what stopped the worker, again at each further
    /// call: a new source may then go on after the last acked position.
    pub async fn read(&mut self, records_max: usize, bytes_max: u64, wait: Duration) -> Result<Vec<Record<P::Body>>> {
        let read_limits = ReadLimits {
            records_max: records_max.max(1),
            bytes_max,
            streams_max: limits::STREAMS_UNACKED_MAX.saturating_sub(self.streams_unacked),
        };
        let failed = match &mut self.lifecycle {
            Lifecycle::Closed => return Err(closed()),
            Lifecycle::Configured => return Err(Error::invalid("read was called before open")),
            Lifecycle::Failed(error) => Some(error.clone()),
            Lifecycle::Open(worker) => {
                let mut timeout = pin!(self.ports.sleep(wait).fuse());
                future::poll_fn(|context| poll_ready(worker, &self.queue, read_limits, &mut timeout, context)).await
            }
        };
        if let Some(error) = failed {
            self.lifecycle = Lifecycle::Failed(error.clone());
            if self.queue.is_empty() {
                return Err(error);
            }
        }
        self.hand_out(read_limits)
    }

    fn hand_out(&mut self, read_limits: ReadLimits) -> Result<Vec<Record<P::Body>>> {
        let taken = self.queue.take(read_limits);
        let chunk: Vec<_> = taken.iter().filter_map(|ready| ready.remembered).collect();
        let saved = self.checkpoints.borrow_mut().save_seen(&chunk);
        if let Err(error) = saved {
            // What was taken is lost to this instance, so the instance is of no further use; a new one goes on.
            self.lifecycle = Lifecycle::Failed(error.clone());
            return Err(error);
        }
        let mut records = Vec::with_capacity(taken.len());
        for ready in taken {
            let has_stream = ready.has_stream();
            self.streams_unacked += usize::from(has_stream);
            self.unacked.push_back(Unacked { position: ready.record.position.clone(), poll: ready.poll, has_stream });
            records.push(ready.record);
        }
        Ok(records)
    }

    /// Acknowledges the record at `position` and all before it: they were processed, and the position is kept. Returns
    /// how many records that were.
    ///
    /// # Errors
    ///
    /// `invalid` where no unacked record has that position, `closed` after `teardown`.
    pub fn ack(&mut self, position: &[u8]) -> Result<usize> {
        if matches!(self.lifecycle, Lifecycle::Closed) {
            return Err(closed());
        }
        let Some(index) = self.unacked.iter().position(|unacked| unacked.position == position) else {
            return Err(Error::invalid("ack of a position that no unacked record has"));
        };
        let mut poll = 0;
        for acked in self.unacked.drain(..=index) {
            self.streams_unacked -= usize::from(acked.has_stream);
            poll = acked.poll;
        }
        self.checkpoints.borrow_mut().acked(poll)?;
        Ok(index + 1)
    }

    /// The source's progress.
    pub fn progress(&self) -> Progress {
        Progress {
            is_caught_up: self.queue.is_caught_up(),
            counts: Counts { retries: self.client.retries(), ..self.queue.counts() },
        }
    }

    /// Ends the source and all its work in flight. A second call changes nothing.
    pub fn teardown(&mut self) {
        self.lifecycle = Lifecycle::Closed;
        self.unacked.clear();
        self.queue.clear();
    }
}

/// Ready with `None` when there are records or time is over, with the error of the worker if it stopped.
fn poll_ready<B>(
    worker: &mut Fuse<LocalBoxFuture<'static, Result<()>>>,
    queue: &ReadyQueue<B>,
    read_limits: ReadLimits,
    timeout: &mut (impl Future<Output = ()> + Unpin),
    context: &mut Context<'_>,
) -> Poll<Option<Error>> {
    if queue.count_ready(read_limits) >= read_limits.records_max {
        return Poll::Ready(None);
    }
    if let Poll::Ready(Err(error)) = worker.poll_unpin(context) {
        return Poll::Ready(Some(error));
    }
    if queue.count_ready(read_limits) > 0 || timeout.poll_unpin(context).is_ready() {
        return Poll::Ready(None);
    }
    Poll::Pending
}

fn closed() -> Error {
    Error::closed("the source was torn down")
}

#[cfg(test)]
mod tests;
