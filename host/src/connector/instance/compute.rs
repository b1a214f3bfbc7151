//! Owns how long a component may compute in one call. Leaves to `instance` what a call is.
//!
//! What counts is the time of the processor that the call's future takes while it is polled: instructions that work
//! through a gigabyte and calls that keep the host busy count for what they take, waiting counts for nothing, and
//! neither does the time in which the system ran something else.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a component may compute in one call. Encoding 64 MiB of Parquet takes seconds.
pub const COMPUTE_MAX: Duration = Duration::from_secs(60);

/// The time that one call has taken. A poll runs on one thread from its beginning to its end, the component's code with
/// it, so that the clock of that thread tells.
#[derive(Debug)]
pub(super) struct Meter {
    max: Duration,
    /// Nanoseconds of the polls that have ended.
    spent_ns: AtomicU64,
    /// What the thread's clock showed when the poll that is under way began.
    began_ns: AtomicU64,
}

impl Meter {
    pub(super) fn new(max: Duration) -> Self {
        Self { max, spent_ns: AtomicU64::new(0), began_ns: AtomicU64::new(0) }
    }

    /// Polls a call to its end, or to that of its time.
    pub(super) async fn measure<T>(&self, call: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
        self.spent_ns.store(0, Ordering::Relaxed);
        let mut call = pin!(call);
        poll_fn(|context| {
            self.began_ns.store(thread_ns(), Ordering::Relaxed);
            let polled = call.as_mut().poll(context);
            self.spent_ns.store(self.total_ns(), Ordering::Relaxed);
            // A component that never computes itself is never interrupted either.
            match polled {
                Poll::Pending => self
                    .spent(self.spent_ns.load(Ordering::Relaxed))
                    .map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
                ready @ Poll::Ready(_) => ready,
            }
        })
        .await
    }

    /// Fails once the call that is being polled has had its time.
    pub(super) fn check(&self) -> wasmtime::Result<()> {
        self.spent(self.total_ns())
    }

    /// Ends the next call that is not measured where it is first looked at.
    pub(super) fn exhaust(&self) {
        self.spent_ns.store(u64::MAX, Ordering::Relaxed);
    }

    fn total_ns(&self) -> u64 {
        let began_ns = self.began_ns.load(Ordering::Relaxed);
        let poll_ns = thread_ns().saturating_sub(began_ns);
        self.spent_ns.load(Ordering::Relaxed).saturating_add(poll_ns)
    }

    fn spent(&self, ns: u64) -> wasmtime::Result<()> {
        if Duration::from_nanos(ns) <= self.max {
            return Ok(());
        }
        Err(wasmtime::format_err!("it computed for {} s in one call", self.max.as_secs_f64()))
    }
}

/// How long this thread has run.
fn thread_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, ns) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + ns.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const MAX: Duration = Duration::from_millis(50);

    fn busy(duration: Duration) {
        let until = thread_ns() + u64::try_from(duration.as_nanos()).unwrap();
        while thread_ns() < until {
            std::hint::spin_loop();
        }
    }

    /// A call that computes for this long, this many times, and gives way in between.
    async fn computing(each: Duration, times: u32) -> wasmtime::Result<()> {
        for _ in 0..times {
            busy(each);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    #[tokio::test]
    async fn polls_are_added_up_and_the_next_call_begins_anew() {
        let meter = Meter::new(MAX);
        for _ in 0..3 {
            meter.measure(computing(MAX / 10, 8)).await.unwrap();
        }
        let error = meter.measure(computing(MAX / 10, 100)).await.unwrap_err();
        assert_eq!(error.to_string(), "it computed for 0.05 s in one call");
    }

    #[tokio::test]
    async fn a_poll_that_goes_on_is_seen_from_within() {
        let meter = Meter::new(MAX);
        let call = async {
            busy(MAX / 2);
            meter.check()?;
            busy(MAX);
            meter.check()
        };
        assert!(meter.measure(call).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_counts_for_nothing_however_long_and_often() {
        let meter = Meter::new(Duration::from_secs(5));
        let began = Instant::now();
        let call = async {
            for _ in 0..6000 {
                tokio::time::sleep(Duration::from_millis(11)).await;
                meter.check()?;
            }
            Ok(())
        };
        meter.measure(call).await.unwrap();
        // The clock that was waited for went on by a minute.
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
