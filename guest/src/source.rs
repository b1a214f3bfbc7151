//! Owns the calls of a source: `configure`, `open`, `read`, `ack`, `teardown`. Leaves the work between them to
//! `worker`.
//!
//! # The life of a record
//!
//! ```text
//!  position ─► resume ─► worker: snapshot, then polls ─► prefetch: many fetches ─► queue ─► read ─► ack
//!                 ▲         │                               │                                 │       │
//!                 │      listing ─► order ─► scan        retrieval: GET, compare              │       │
//!                 │                          │ judge ◄─ catalogue                             │       │
//!                 └──────────────────── checkpoint: head, catalogue, plans ◄──────────────────┴───────┘
//! ```
//!
//! `resume` reads the position and the saved state that goes with it, and decides where to go on. All that follows is one
//! future, the worker. It runs only while `read` polls it: there are no threads, and between calls nothing happens but
//! what the host does with sockets.
//!
//! 1. A `listing` shows all versions page by page, in the order of keys. `scan` merges it with the `catalogue`, which holds
//!    what was told of each key; where a segment of it is unchanged, its sum says so, and it is not even read. Each key
//!    that changed goes to `judge`, a pure function that says what is *due*.
//! 2. What is due becomes a `plan`. It is saved, with the catalogue that counts it as told, before its first record leaves,
//!    so that a restart repeats the same records in the same order instead of deciding again.
//! 3. `prefetch` holds many fetches, bounded by count and bytes, and yields them in the order of the plan. A fetch asks
//!    `retrieval` for the object, pinned to what was listed; where answer and listing disagree, it asks both again. What
//!    can't be read yet, or was replaced meanwhile, is a *correction* of the catalogue.
//! 4. The worker gives the record its position (run, plan, number) and puts it into the `queue`. A full queue suspends the
//!    worker, which is all the backpressure there is.
//! 5. `read` saves corrections, and hands records out. Small bodies are in the record, large ones go along as handles.
//! 6. `ack` takes note; plans of which all is acked are removed with what is saved next.
//!
//! The snapshot is the first listing. It goes by keys: each page is a plan, delivered while the next one is listed.
//!
//! **Invariant:** no record is handed out before what a restart needs is saved.

/// Whether change detection is broken in this way, on purpose: see [`crate::testing::mutant`].
#[cfg(any(test, feature = "testing"))]
macro_rules! is_broken {
    ($mutant:ident) => {
        crate::testing::mutant::is_broken(crate::testing::mutant::Mutant::$mutant)
    };
}
#[cfg(not(any(test, feature = "testing")))]
macro_rules! is_broken {
    ($mutant:ident) => {
        false
    };
}

/// Tells tests which page of a listing is used, and up to which key: see [`crate::testing::pages`].
#[cfg(any(test, feature = "testing"))]
macro_rules! note_page {
    ($cursor:expr, $to:expr) => {
        crate::testing::pages::note($cursor.place(), $to)
    };
}
#[cfg(not(any(test, feature = "testing")))]
macro_rules! note_page {
    ($cursor:expr, $to:expr) => {
        let _: (_, Option<&str>) = ($cursor, $to);
    };
}

mod catalogue;
mod checkpoint;
mod fetch;
mod identity;
mod judge;
mod listing;
mod order;
mod plan;
mod poll;
mod prefetch;
mod queue;
mod resume;
mod retrieval;
mod rows;
mod scan;
mod snapshot;
mod sweep;
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
use crate::limits::{self, Bounds};
use crate::ports::{Level, Ports};
use crate::record::Record;
use crate::s3::{Client, Patience, Slots};
use checkpoint::CheckpointStore;
pub use queue::{Counts, SnapshotStage};
use queue::{ReadLimits, Ready, ReadyQueue};
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
    /// What is saved; `None` before the source is opened.
    store: Option<Rc<RefCell<CheckpointStore<P>>>>,
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
    plan: u64,
    number: u64,
    part: u64,
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
            store: None,
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
        let (mut store, has_state) = CheckpointStore::load(self.ports.clone())?;
        // A position that can't be read is refused before anything is requested.
        let resumed = resume::resume(&self.ports, &self.config, &mut store, has_state, position)?;
        // The source needs to list, so that HeadBucket would be one request more.
        let probe = self.client.with_patience(Patience::OPENING);
        probe.probe_listing().await.map_err(|e| e.explain(&self.config.bucket))?;
        if let Some(doubt) = doubt_prefix(&self.config.bucket.prefix) {
            self.ports.log(Level::Warn, &format!("setting `prefix`: {doubt}"));
        }
        if let Some(doubt) = self.config.keys.doubt(&self.config.bucket.prefix) {
            self.ports.log(Level::Warn, &doubt);
        }
        let (saved, surprises, own_from) = (store.plans_left(), store.surprises(), store.head.next_plan);
        let store = Rc::new(RefCell::new(store));
        self.store = Some(Rc::clone(&store));
        let worker = Worker {
            ports: self.ports.clone(),
            client: self.client.clone(),
            config: Rc::clone(&self.config),
            stamp: worker::scope(&self.config).stamp(),
            slots: Slots::new(self.config.concurrency),
            queue: self.queue.clone(),
            store,
            oddities: Rc::default(),
            bounds: bounds(),
            seconds: resumed.seconds,
            resumed_after: None,
            told_whole: resumed.told_whole,
            within: resumed.within,
            broken: None,
            slicing: None,
            saved,
            delivered_to: resumed.next,
            surprises,
            own_from,
        };
        self.lifecycle = Lifecycle::Open(worker.run().boxed_local().fuse());
        Ok(())
    }

    /// Reads at most `records_max` records with at most `bytes_max` bytes in them, waiting at most `wait` for a first
    /// one. None may be ready by then. One record may leave whatever it holds.
    ///
    /// Records whose bodies are streams wait for acks once [`limits::STREAMS_UNACKED_MAX`] of them are unacked, and all
    /// records once [`limits::RECORDS_UNACKED_MAX`] are.
    ///
    /// # Errors
    ///
    /// `closed` after `teardown`, `invalid` before `open`; otherwise what stopped the worker, again at each further
    /// call: a new source may then go on after the last acked position.
    pub async fn read(&mut self, records_max: usize, bytes_max: u64, wait: Duration) -> Result<Vec<Record<P::Body>>> {
        let read_limits = ReadLimits {
            records_max: records_max.max(1).min(limits::RECORDS_UNACKED_MAX.saturating_sub(self.unacked.len())),
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
        let saved = match &self.store {
            Some(store) if !taken.is_empty() => store.borrow_mut().save_corrections(),
            _ => Ok(()),
        };
        if let Err(error) = saved {
            // What was taken is lost to this instance, so the instance is of no further use; a new one goes on.
            self.lifecycle = Lifecycle::Failed(error.clone());
            return Err(error);
        }
        let mut records = Vec::with_capacity(taken.len());
        for ready in taken {
            let has_stream = ready.has_stream();
            self.streams_unacked += usize::from(has_stream);
            let position = ready.record.position.clone();
            let Ready { plan, number, part, .. } = ready;
            self.unacked.push_back(Unacked { position, plan, number, part, has_stream });
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
        // Mostly all of them, or few.
        let is_it = |unacked: &Unacked| unacked.position == position;
        let last = self.unacked.len().checked_sub(1).filter(|_| self.unacked.back().is_some_and(is_it));
        let Some(index) = last.or_else(|| self.unacked.iter().position(is_it)) else {
            return Err(Error::invalid("ack of a position that no unacked record has"));
        };
        for acked in self.unacked.drain(..=index) {
            self.streams_unacked -= usize::from(acked.has_stream);
            if let Some(store) = &self.store {
                store.borrow_mut().acked((acked.plan, acked.number, acked.part));
            }
        }
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
    // Where too much is unacked, nothing may leave, and the worker goes on as far as it can.
    if read_limits.records_max > 0 && queue.count_ready(read_limits) >= read_limits.records_max {
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

/// The sizes by which the catalogue and plans are cut.
fn bounds() -> Bounds {
    #[cfg(any(test, feature = "testing"))]
    return crate::testing::mutant::bounds();
    #[cfg(not(any(test, feature = "testing")))]
    return Bounds::SOURCE;
}

fn closed() -> Error {
    Error::closed("the source was torn down")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod witness;
