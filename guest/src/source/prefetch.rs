//! Owns fetching ahead of the reader: many at once, handed out in the order of their start, bounded by count and by
//! bytes. Leaves what is fetched to the caller.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::future::Future;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::limits;

/// Fetches in flight, and done ones that wait for an earlier one.
pub(super) struct Prefetch<T> {
    in_flight: FuturesUnordered<LocalBoxFuture<'static, (u64, T)>>,
    done: BTreeMap<u64, T>,
    sizes: VecDeque<u64>,
    bytes: u64,
    first: u64,
    concurrency: usize,
}

impl<T: 'static> Prefetch<T> {
    /// Fetches at most `concurrency` at a time.
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            in_flight: FuturesUnordered::new(),
            done: BTreeMap::new(),
            sizes: VecDeque::new(),
            bytes: 0,
            first: 0,
            concurrency,
        }
    }

    /// Whether another fetch of `size` bytes may begin. One always may, whatever its size.
    pub(super) fn has_room(&self, size: u64) -> bool {
        self.sizes.is_empty()
            || (self.in_flight.len() < self.concurrency
                && self.sizes.len() < self.concurrency * limits::PREFETCH_AHEAD_PER_FETCH
                && self.bytes.saturating_add(size) <= limits::PREFETCH_BYTES_MAX)
    }

    /// Begins a fetch of `size` bytes.
    pub(super) fn push(&mut self, size: u64, fetch: impl Future<Output = T> + 'static) {
        let number = self.first + self.sizes.len() as u64;
        self.sizes.push_back(size);
        self.bytes += size;
        self.in_flight.push(Box::pin(async move { (number, fetch.await) }));
    }

    /// The number of those in flight or waiting.
    pub(super) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether nothing is in flight or waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Polls for the result of the earliest fetch; pending while there is none.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<T> {
        while let Poll::Ready(Some((number, result))) = self.in_flight.poll_next_unpin(context) {
            self.done.insert(number, result);
        }
        match self.done.remove(&self.first) {
            Some(result) => {
                self.first += 1;
                self.bytes -= self.sizes.pop_front().unwrap_or_default();
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{self, FutureExt as _};
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Waker;

    fn poll<T: 'static>(prefetch: &mut Prefetch<T>) -> Poll<T> {
        prefetch.poll_next(&mut Context::from_waker(Waker::noop()))
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
        let mut prefetch = Prefetch::new(4);
        let gate = Rc::new(Cell::new(false));
        prefetch.push(1, gated(&gate).map(|()| 'a'));
        prefetch.push(1, future::ready('b'));
        assert_eq!(poll(&mut prefetch), Poll::Pending);
        gate.set(true);
        assert_eq!(poll(&mut prefetch), Poll::Ready('a'));
        assert_eq!(poll(&mut prefetch), Poll::Ready('b'));
        assert!(prefetch.is_empty());
    }

    #[test]
    fn count_and_bytes_bound_what_is_ahead() {
        let mut prefetch = Prefetch::new(1);
        assert!(prefetch.has_room(u64::MAX), "one always may");
        for _ in 0..limits::PREFETCH_AHEAD_PER_FETCH {
            assert!(prefetch.has_room(1));
            prefetch.push(1, future::ready(()));
            let _ = prefetch.in_flight.poll_next_unpin(&mut Context::from_waker(Waker::noop()));
        }
        assert!(!prefetch.has_room(1), "enough is done ahead of the reader");
        let mut prefetch = Prefetch::new(8);
        prefetch.push(limits::PREFETCH_BYTES_MAX, future::ready(()));
        assert!(!prefetch.has_room(1));
    }
}
