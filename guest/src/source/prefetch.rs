//! Owns fetching ahead of the reader: many at once, handed out in the order of their start, bounded by count and by
//! bytes. Leaves what is fetched to the caller, and requests that wait to be sent again to `slots`.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::limits;
use crate::s3::Slots;

/// What a fetch takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Bytes.
    pub(super) bytes: u64,
    /// Requests at the same time.
    pub(super) requests: usize,
}

/// Fetches in flight, and done ones that wait for an earlier one.
pub(super) struct Prefetch<T> {
    in_flight: FuturesUnordered<LocalBoxFuture<'static, (u64, usize, T)>>,
    /// Slots that those in flight have.
    requests: usize,
    slots: Rc<Slots>,
    done: BTreeMap<u64, T>,
    sizes: VecDeque<u64>,
    bytes: u64,
    first: u64,
}

impl<T: 'static> Prefetch<T> {
    /// Sends at most as many requests at a time as there are slots.
    pub(super) fn new(slots: Rc<Slots>) -> Self {
        Self {
            in_flight: FuturesUnordered::new(),
            requests: 0,
            slots,
            done: BTreeMap::new(),
            sizes: VecDeque::new(),
            bytes: 0,
            first: 0,
        }
    }

    /// Whether another fetch may begin. One always may, whatever it takes.
    pub(super) fn has_room(&self, load: Load) -> bool {
        self.sizes.is_empty()
            || (self.slots.has(load.requests)
                && self.sizes.len() < limits::PREFETCH_AHEAD_MAX
                && self.bytes.saturating_add(load.bytes) <= limits::PREFETCH_BYTES_MAX)
    }

    /// Begins a fetch.
    pub(super) fn push(&mut self, load: Load, fetch: impl Future<Output = T> + 'static) {
        let Load { bytes, requests } = load;
        let number = self.first + self.sizes.len() as u64;
        self.sizes.push_back(bytes);
        self.bytes += bytes;
        self.requests += requests;
        self.slots.take(requests);
        self.in_flight.push(Box::pin(async move { (number, requests, fetch.await) }));
    }

    /// The number of those in flight or waiting.
    pub(super) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether nothing is in flight or waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Polls for the result of the earliest fetch; `None` where a later one is done, which may have made room.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let is_any_done = self.collect(context);
        match self.done.remove(&self.first) {
            Some(result) => {
                self.first += 1;
                self.bytes -= self.sizes.pop_front().unwrap_or_default();
                Poll::Ready(Some(result))
            }
            None if is_any_done => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Lets fetches go on, and puts aside what is done; whether anything was.
    pub(super) fn collect(&mut self, context: &mut Context<'_>) -> bool {
        let before = self.done.len();
        while let Poll::Ready(Some((number, requests, result))) = self.in_flight.poll_next_unpin(context) {
            self.requests -= requests;
            self.slots.give_back(requests);
            self.done.insert(number, result);
        }
        self.done.len() > before
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // Those that wait without their slots have them again before they are gone.
        self.in_flight.clear();
        self.slots.give_back(self.requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{self, FutureExt as _};
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Waker;

    fn begun<T: 'static>(concurrency: usize) -> Prefetch<T> {
        Prefetch::new(Slots::new(concurrency))
    }

    fn poll<T: 'static>(prefetch: &mut Prefetch<T>) -> Poll<Option<T>> {
        prefetch.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    fn load(bytes: u64) -> Load {
        Load { bytes, requests: 1 }
    }

    /// A future that waits until the gate is opened.
    fn gated(gate: &Rc<Cell<bool>>) -> impl Future<Output = ()> + use<> {
        let gate = Rc::clone(gate);
        future::poll_fn(move |context| {
            context.waker().wake_by_ref();
            if gate.get() { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    #[test]
    fn results_come_in_the_order_of_requests() {
        let mut prefetch = begun(4);
        let gate = Rc::new(Cell::new(false));
        prefetch.push(load(1), gated(&gate).map(|()| 'a'));
        prefetch.push(load(1), future::ready('b'));
        assert_eq!(poll(&mut prefetch), Poll::Ready(None), "another one has made room");
        assert_eq!(poll(&mut prefetch), Poll::Pending);
        gate.set(true);
        assert_eq!(poll(&mut prefetch), Poll::Ready(Some('a')));
        assert_eq!(poll(&mut prefetch), Poll::Ready(Some('b')));
        assert!(prefetch.is_empty());
    }

    #[test]
    fn count_and_bytes_bound_what_is_ahead() {
        let mut prefetch = begun(1);
        assert!(prefetch.has_room(load(u64::MAX)), "one always may");
        prefetch.push(load(1), future::pending::<()>());
        assert!(!prefetch.has_room(load(1)), "one is in flight");
        let mut prefetch = begun(1);
        for _ in 0..limits::PREFETCH_AHEAD_MAX {
            assert!(prefetch.has_room(load(1)));
            prefetch.push(load(1), future::ready(()));
            prefetch.collect(&mut Context::from_waker(Waker::noop()));
        }
        assert!(!prefetch.has_room(load(1)), "enough is done ahead of the reader");
        let mut prefetch = begun(8);
        prefetch.push(load(limits::PREFETCH_BYTES_MAX), future::ready(()));
        assert!(!prefetch.has_room(load(1)));
    }

    #[test]
    fn a_fetch_counts_with_all_its_requests() {
        let double = Load { bytes: 1, requests: 2 };
        let mut prefetch = begun(1);
        assert!(prefetch.has_room(double), "one always may");
        prefetch.push(double, future::ready(()));
        assert_eq!(poll(&mut prefetch), Poll::Ready(Some(())));
        assert!(prefetch.has_room(double), "it has left nothing");
        let mut prefetch = begun(3);
        prefetch.push(double, future::pending::<()>());
        assert!(!prefetch.has_room(double));
        assert!(prefetch.has_room(load(1)));
    }

    #[test]
    fn what_is_dropped_gives_its_slots_back() {
        let slots = Slots::new(2);
        let mut prefetch = Prefetch::new(Rc::clone(&slots));
        prefetch.push(Load { bytes: 1, requests: 2 }, future::pending::<()>());
        assert!(!slots.has(1));
        drop(prefetch);
        assert!(slots.has(2));
    }
}
