//! Owns how many requests are in flight at the same time: as many as `concurrency` says, and fewer where the store refuses too
//! many of them. Leaves when a refused one is sent again to `retry`.
//!
//! A request that waits to be sent again holds no slot, so that others go on meanwhile; it gets the next one that is free.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{self, Future};
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::limits;

/// The slots of a source.
#[derive(Debug)]
pub(crate) struct Slots {
    most: usize,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    /// How many there are now.
    limit: usize,
    used: usize,
    /// Requests that want to have theirs back, the first one first.
    waiting: VecDeque<(u64, Option<Waker>)>,
    next: u64,
    /// Answers since the limit was looked at, and how many of them refused.
    answers: usize,
    refusals: usize,
}

impl Slots {
    /// As many slots.
    pub(crate) fn new(most: usize) -> Rc<Self> {
        let state = State { limit: most, used: 0, waiting: VecDeque::new(), next: 0, answers: 0, refusals: 0 };
        Rc::new(Self { most, state: RefCell::new(state) })
    }

    /// Whether as many are free, and nothing that was begun earlier waits for one.
    pub(crate) fn has(&self, count: usize) -> bool {
        let state = self.state.borrow();
        state.waiting.is_empty() && state.used + count <= state.limit
    }

    /// Takes as many, free or not.
    pub(crate) fn take(&self, count: usize) {
        self.state.borrow_mut().used += count;
    }

    /// Gives as many back.
    pub(crate) fn give_back(&self, count: usize) {
        let mut state = self.state.borrow_mut();
        state.used -= count;
        state.wake_first();
    }

    /// Waits without a slot that was taken, then takes one again.
    pub(super) async fn without(&self, pause: impl Future<Output = ()>) {
        let mut away = Away::new(self);
        pause.await;
        away.come_back().await;
    }

    /// Takes note of an answer. Some refusals are everyday; where they are many, half of the slots go, and come back a few
    /// at a time.
    pub(super) fn answered(&self, is_refusal: bool) {
        let mut state = self.state.borrow_mut();
        state.answers += 1;
        state.refusals += usize::from(is_refusal);
        if state.answers < limits::SLOTS_LOOK {
            return;
        }
        let are_many = state.refusals * 100 > state.answers * limits::REFUSALS_PERCENT_MAX;
        let more = self.most.div_ceil(limits::SLOTS_BACK_OF);
        state.limit = if are_many { state.limit.div_ceil(2) } else { (state.limit + more).min(self.most) };
        (state.answers, state.refusals) = (0, 0);
        state.wake_first();
    }

    /// How many there are now.
    #[cfg(test)]
    pub(crate) fn limit(&self) -> usize {
        self.state.borrow().limit
    }
}

impl State {
    fn wake_first(&mut self) {
        if self.used < self.limit
            && let Some(waker) = self.waiting.front_mut().and_then(|(_, waker)| waker.take())
        {
            waker.wake();
        }
    }
}

/// A request without its slot. What began it counts on its having one: it has it again once this is dropped, in any case.
struct Away<'a> {
    slots: &'a Slots,
    number: Option<u64>,
    is_back: bool,
}

impl<'a> Away<'a> {
    fn new(slots: &'a Slots) -> Self {
        slots.give_back(1);
        Self { slots, number: None, is_back: false }
    }

    async fn come_back(&mut self) {
        future::poll_fn(|context| {
            let state = &mut *self.slots.state.borrow_mut();
            let number = *self.number.get_or_insert_with(|| {
                state.next += 1;
                state.waiting.push_back((state.next, None));
                state.next
            });
            let is_first = state.waiting.front().is_some_and(|(first, _)| *first == number);
            if is_first && state.used < state.limit {
                state.waiting.pop_front();
                state.used += 1;
                state.wake_first();
                self.is_back = true;
                return Poll::Ready(());
            }
            if let Some((_, waker)) = state.waiting.iter_mut().find(|(one, _)| *one == number) {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        if self.is_back {
            return;
        }
        let state = &mut *self.slots.state.borrow_mut();
        state.waiting.retain(|(number, _)| Some(*number) != self.number);
        state.used += 1;
        state.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn what_waits_holds_no_slot_and_gets_the_next_one() {
        let slots = Slots::new(2);
        slots.take(2);
        assert!(!slots.has(1));
        let mut pausing = pin!(slots.without(future::pending()));
        assert!(poll(pausing.as_mut()).is_pending());
        assert!(slots.has(1));
        slots.take(2);
        let mut first = pin!(slots.without(future::ready(())));
        let mut second = pin!(slots.without(future::ready(())));
        assert!(poll(first.as_mut()).is_pending(), "as many as there may be are taken");
        assert!(poll(second.as_mut()).is_pending(), "another one has waited for longer");
        assert!(!slots.has(1), "what is free goes to those that wait");
        assert!(poll(first).is_ready());
        assert!(poll(second.as_mut()).is_pending());
        slots.give_back(1);
        assert!(poll(second).is_ready());
        assert!(!slots.has(1));
    }

    #[test]
    fn what_is_dropped_while_it_waits_counts_as_before() {
        let slots = Slots::new(1);
        slots.take(1);
        let mut pausing = Box::pin(slots.without(future::pending()));
        assert!(poll(pausing.as_mut()).is_pending());
        assert!(slots.has(1));
        slots.take(1);
        drop(pausing);
        slots.give_back(1);
        assert!(!slots.has(1));
        slots.take(1);
        let mut waiting = Box::pin(slots.without(future::ready(())));
        assert!(poll(waiting.as_mut()).is_pending());
        drop(waiting);
        slots.give_back(2);
        assert!(slots.has(1), "nothing waits any more");
    }

    #[test]
    fn many_refusals_halve_the_slots_and_answers_bring_them_back() {
        let slots = Slots::new(64);
        let answer = |percent: usize| {
            (0..limits::SLOTS_LOOK).for_each(|n| slots.answered(n * 100 / limits::SLOTS_LOOK < percent))
        };
        answer(15);
        assert_eq!(slots.limit(), 64, "a few are everyday");
        answer(50);
        assert_eq!(slots.limit(), 32);
        answer(50);
        assert_eq!(slots.limit(), 16);
        (0..10).for_each(|_| answer(100));
        assert_eq!(slots.limit(), 1);
        answer(0);
        assert_eq!(slots.limit(), 5);
        (0..15).for_each(|_| answer(10));
        assert_eq!(slots.limit(), 64);
    }
}
