//! The source: a bucket's objects and their changes, as records.
//!
//! Calls come in here: `configure`, `open`, `read`, `ack`, `teardown`. Leaves what goes on between them to
//! `worker`, and the meaning of positions to `resume`. Nothing is handed out before what a restart needs is saved.

pub mod changes;
mod checkpoint;
mod fetch;
mod poll;
mod prefetch;
mod queue;
mod resume;
mod retrieval;
pub mod seen;
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
use crate::s3::{Client, Error as S3Error, ListStart, Patience};
use checkpoint::CheckpointStore;
pub use queue::Counts;
use queue::{ReadLimits, ReadyQueue};
use seen::Seen;
use worker::Worker;

/// How far a source has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether the latest poll found nothing due and everything before it was read.
    pub is_caught_up: bool,
    /// What was counted.
    pub counts: Counts,
    /// Attempts that were made again.
    pub retries: u64,
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
    /// What the worker remembers of the snapshot, to be saved when pieces of it are merged.
    seen: Rc<RefCell<Seen>>,
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
        let keys = (ports.random(), ports.random());
        Ok(Self {
            client: Client::new(ports.clone(), config.bucket.clone()),
            checkpoints: Rc::new(RefCell::new(CheckpointStore::new(ports.clone()))),
            queue: ReadyQueue::new(),
            lifecycle: Lifecycle::Configured,
            unacked: VecDeque::new(),
            streams_unacked: 0,
            seen: Rc::new(RefCell::new(Seen::new(keys))),
            config,
            ports,
        })
    }

    /// Checks that the bucket can be listed, and takes up where `position` stands.
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
        check_bucket(&self.client.with_patience(Patience::OPENING))
            .await
            .map_err(|e| e.explain(&self.config.bucket))?;
        if let Some(doubt) = doubt_prefix(&self.config.bucket.prefix) {
            self.ports.log(Level::Warn, &format!("setting `prefix`: {doubt}"));
        }
        let point = resumption.resolve(&self.ports, &self.config, &self.seen);
        let worker = Worker {
            ports: self.ports.clone(),
            client: self.client.clone(),
            config: Rc::clone(&self.config),
            queue: self.queue.clone(),
            checkpoints: Rc::clone(&self.checkpoints),
            seen: Rc::clone(&self.seen),
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
    /// `closed` before `open` and after `teardown`; else what stopped the worker, again at each further call: a
    /// new source may then go on at the last acked position.
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
            // What was taken is lost to this instance, hence the instance is lost; a new one goes on.
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

    /// Takes note that the record at `position`, and all before it, are dealt with and that the position is
    /// kept. Returns how many records that were.
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

    /// How far the source has come.
    pub fn progress(&self) -> Progress {
        Progress {
            is_caught_up: self.queue.is_caught_up(),
            counts: self.queue.counts(),
            retries: self.client.retries(),
        }
    }

    /// Ends the source and all its work in flight. A second call changes nothing.
    pub fn teardown(&mut self) {
        self.lifecycle = Lifecycle::Closed;
        self.unacked.clear();
        self.queue.clear();
    }
}

/// Ready with none when records are or time is over, with what stopped the worker if it stopped.
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

/// HeadBucket has no body to say why it refuses, and a one-key listing needs what the source needs anyway.
async fn check_bucket<P: Ports>(client: &Client<P>) -> std::result::Result<(), S3Error> {
    let start = ListStart::After(String::new());
    client.list_objects_v2(&client.config().prefix, &start, 1).await.map(drop)
}

fn closed() -> Error {
    Error::closed("the source was torn down")
}

#[cfg(test)]
mod tests;
