//! What is ready to be read: a bounded queue between the worker, which fills it, and `read`, which empties it.
//!
//! It also counts, for whoever asks how far the source has come.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::checkpoint::HandedOut;
use crate::limits;
use crate::record::{Data, Record};

/// A record that may leave.
#[derive(Debug)]
pub struct Ready<B> {
    /// The record, position and all.
    pub record: Record<B>,
    /// What must be saved before it leaves.
    pub remembered: Option<HandedOut>,
    /// The poll that it belongs to; 0 is the snapshot.
    pub poll: u64,
    /// Bytes of its body.
    pub size: u64,
}

impl<B> Ready<B> {
    /// Whether its body is a stream.
    pub fn has_stream(&self) -> bool {
        matches!(self.record.payload.after, Some(Data::Body { .. }))
    }
}

/// What a reader takes at most.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Records.
    pub records_max: usize,
    /// Bytes in them, without those that come by handle. The first record counts for none.
    pub bytes_max: u64,
    /// Records among them whose bodies are streams.
    pub streams_max: usize,
}

/// How far the source has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries in all listings so far.
    pub listed: u64,
    /// Records handed out.
    pub read: u64,
    /// Bytes of objects handed out.
    pub bytes: u64,
    /// Objects that could not be delivered any more, each of which was logged.
    pub skipped: u64,
    /// Passes that were completed.
    pub polls: u64,
    /// Changes that the current poll has still to fetch.
    pub due: u64,
    /// The server's time at the start of the latest poll that found everything delivered; 0 before.
    pub caught_up_ms: u64,
}

#[derive(Debug)]
struct Inner<B> {
    /// Each with the bytes that cross with it.
    ready: VecDeque<(u64, Ready<B>)>,
    bytes: u64,
    worker: Option<Waker>,
    counts: Counts,
    caught_up: bool,
}

/// The queue; clones are the same queue.
#[derive(Debug)]
pub struct ReadyQueue<B>(Rc<RefCell<Inner<B>>>);

impl<B> Clone for ReadyQueue<B> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<B> ReadyQueue<B> {
    /// Makes an empty queue.
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(Inner {
            ready: VecDeque::new(),
            bytes: 0,
            worker: None,
            counts: Counts::default(),
            caught_up: false,
        })))
    }

    /// Adds a record as soon as there is room.
    pub async fn push(&self, ready: Ready<B>) {
        future::poll_fn(|context| {
            let mut inner = self.0.borrow_mut();
            let has_room = inner.ready.is_empty()
                || (inner.ready.len() < limits::READY_RECORDS_MAX
                    && inner.bytes.saturating_add(ready.size) <= limits::READY_BYTES_MAX);
            if has_room {
                return Poll::Ready(());
            }
            inner.worker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        let mut inner = self.0.borrow_mut();
        inner.bytes += ready.size;
        inner.caught_up = false;
        inner.ready.push_back((ready.record.inline_bytes(), ready));
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.take(ReadLimits { records_max: usize::MAX, bytes_max: u64::MAX, streams_max: usize::MAX });
    }

    /// How many records are ready and wanted.
    pub fn count_ready(&self, limits: ReadLimits) -> usize {
        let inner = self.0.borrow();
        let (mut streams, mut bytes) = (0, 0_u64);
        let fits = |(index, (inline, ready)): &(usize, &(u64, Ready<B>))| {
            streams += usize::from(ready.has_stream());
            bytes = bytes.saturating_add(*inline);
            streams <= limits.streams_max && (*index == 0 || bytes <= limits.bytes_max)
        };
        inner.ready.iter().take(limits.records_max).enumerate().take_while(fits).count()
    }

    /// Takes what is ready and wanted.
    pub fn take(&self, limits: ReadLimits) -> Vec<Ready<B>> {
        let count = self.count_ready(limits);
        let mut inner = self.0.borrow_mut();
        let taken: Vec<_> = inner.ready.drain(..count).map(|(_, ready)| ready).collect();
        let bytes: u64 = taken.iter().map(|ready| ready.size).sum();
        inner.bytes -= bytes;
        inner.counts.read += count as u64;
        inner.counts.bytes += bytes;
        if count > 0
            && let Some(worker) = inner.worker.take()
        {
            worker.wake();
        }
        taken
    }

    /// Whether nothing is ready.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().ready.is_empty()
    }

    /// Notes that a poll found everything delivered, or did not.
    pub fn set_caught_up(&self, caught_up: bool) {
        self.0.borrow_mut().caught_up = caught_up;
    }

    /// Whether the last poll found everything delivered and all of that was read.
    pub fn is_caught_up(&self) -> bool {
        let inner = self.0.borrow();
        inner.caught_up && inner.ready.is_empty()
    }

    /// Changes the counts.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.borrow_mut().counts);
    }

    /// The counts.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts
    }
}
