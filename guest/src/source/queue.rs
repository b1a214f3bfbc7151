//! Owns the records that are ready to be read: a bounded queue between the worker, which fills it, and `read`, which
//! empties it; and the source's counts. Leaves positions to `worker`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::limits;
use crate::record::{Data, Record};

/// In the place of a part's number: with this record, all of its object has left.
pub(super) const ALL: u64 = u64::MAX;

/// A record that may leave.
#[derive(Debug)]
pub(super) struct Ready<B> {
    /// The record, position and all.
    pub(super) record: Record<B>,
    /// The plan that it belongs to.
    pub(super) plan: u64,
    /// Its number in it.
    pub(super) number: u64,
    /// The part that it is, if others of its object follow, or else [`ALL`].
    pub(super) part: u64,
    /// Bytes of its body.
    pub(super) size: u64,
}

impl<B> Ready<B> {
    /// Whether its body is a stream.
    pub(super) fn has_stream(&self) -> bool {
        matches!(self.record.payload.after, Some(Data::Body { .. }))
    }
}

/// The most that a reader takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// Records.
    pub(super) records_max: usize,
    /// Bytes in them, without those that come by handle. The first record counts for none.
    pub(super) bytes_max: u64,
    /// Records among them whose bodies are streams.
    pub(super) streams_max: usize,
}

/// How far the snapshot is; the contract has the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotStage {
    /// There is none, or an earlier source made it.
    #[default]
    None = 0,
    /// It is under way.
    UnderWay = 1,
    /// All of it is acked.
    Over = 2,
}

/// What a source has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries in all listings so far.
    pub listed: u64,
    /// Records handed out.
    pub read: u64,
    /// Bytes of objects handed out.
    pub bytes: u64,
    /// Skipped objects, each of which was logged.
    pub skipped: u64,
    /// Completed polls.
    pub polls: u64,
    /// Changes that the current poll has yet to fetch.
    pub due: u64,
    /// The server's time at the start of the latest poll that found everything delivered; 0 before.
    pub caught_up_ms: u64,
    /// Retried attempts.
    pub retries: u64,
    /// Keys in the catalogue.
    pub keys: u64,
    /// Its segments.
    pub segments: u64,
    /// Bytes of the catalogue and of plans, as they are saved.
    pub state_bytes: u64,
    /// The server's time with the latest page of a listing.
    pub listed_ms: u64,
    /// How far the snapshot is.
    pub snapshot: SnapshotStage,
    /// How long the latest listing of a poll took.
    pub poll_ms: u64,
}

impl Counts {
    /// The counts by name, as the contract reports them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let Self { listed, read, bytes, skipped, polls, due, caught_up_ms, retries, .. } = *self;
        // Before everything was delivered for the first time, nobody knows how much is left.
        let lag_ms = if caught_up_ms == 0 { 0 } else { self.listed_ms.saturating_sub(caught_up_ms) };
        let counts = [
            ("listed", listed),
            ("read", read),
            ("bytes", bytes),
            ("skipped", skipped),
            ("polls", polls),
            ("due", due),
            ("caught-up-ms", caught_up_ms),
            ("retries", retries),
            ("keys", self.keys),
            ("segments", self.segments),
            ("state-bytes", self.state_bytes),
            ("lag-ms", lag_ms),
            ("snapshot", self.snapshot as u64),
            ("poll-ms", self.poll_ms),
        ];
        counts.into_iter()
    }
}

#[derive(Debug)]
struct Inner<B> {
    /// Each with the bytes that cross with it.
    ready: VecDeque<(u64, Ready<B>)>,
    bytes: u64,
    inline_bytes: u64,
    worker: Option<Waker>,
    counts: Counts,
    caught_up: bool,
}

/// The queue; clones are the same queue.
#[derive(Debug)]
pub(super) struct ReadyQueue<B>(Rc<RefCell<Inner<B>>>);

impl<B> Clone for ReadyQueue<B> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<B> ReadyQueue<B> {
    /// Makes an empty queue.
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(Inner {
            ready: VecDeque::new(),
            bytes: 0,
            inline_bytes: 0,
            worker: None,
            counts: Counts::default(),
            caught_up: false,
        })))
    }

    /// Adds a record as soon as there is room.
    pub(super) async fn push(&self, ready: Ready<B>) {
        let inline = ready.record.inline_bytes();
        future::poll_fn(|context| {
            let mut inner = self.0.borrow_mut();
            let has_room = inner.ready.is_empty()
                || (inner.ready.len() < limits::READY_RECORDS_MAX
                    && inner.bytes.saturating_add(ready.size) <= limits::READY_BYTES_MAX
                    && inner.inline_bytes.saturating_add(inline) <= limits::READY_INLINE_BYTES_MAX);
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
        inner.inline_bytes += inline;
        inner.ready.push_back((inline, ready));
    }

    /// Empties it.
    pub(super) fn clear(&self) {
        self.take(ReadLimits { records_max: usize::MAX, bytes_max: u64::MAX, streams_max: usize::MAX });
    }

    /// The number of records that are ready and within the limits.
    pub(super) fn count_ready(&self, limits: ReadLimits) -> usize {
        let inner = self.0.borrow();
        let (mut streams, mut bytes) = (0, 0_u64);
        let fits = |(index, (inline, ready)): &(usize, &(u64, Ready<B>))| {
            streams += usize::from(ready.has_stream());
            bytes = bytes.saturating_add(*inline);
            streams <= limits.streams_max && (*index == 0 || bytes <= limits.bytes_max)
        };
        inner.ready.iter().take(limits.records_max).enumerate().take_while(fits).count()
    }

    /// Takes the records that are ready and within the limits.
    pub(super) fn take(&self, limits: ReadLimits) -> Vec<Ready<B>> {
        let count = self.count_ready(limits);
        let mut inner = self.0.borrow_mut();
        let (inline, taken): (Vec<u64>, Vec<_>) = inner.ready.drain(..count).unzip();
        let bytes: u64 = taken.iter().map(|ready| ready.size).sum();
        inner.bytes -= bytes;
        inner.inline_bytes -= inline.into_iter().sum::<u64>();
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
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().ready.is_empty()
    }

    /// Notes whether a poll found everything delivered.
    pub(super) fn set_caught_up(&self, caught_up: bool) {
        self.0.borrow_mut().caught_up = caught_up;
    }

    /// Whether the last poll found everything delivered and all of that was read.
    pub(super) fn is_caught_up(&self) -> bool {
        let inner = self.0.borrow();
        inner.caught_up && inner.ready.is_empty()
    }

    /// Changes the counts.
    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.borrow_mut().counts);
    }

    /// The counts.
    pub(super) fn counts(&self) -> Counts {
        self.0.borrow().counts
    }
}
