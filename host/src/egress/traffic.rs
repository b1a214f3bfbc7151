//! Owns the numbers that one egress keeps about its requests. Leaves showing them to the caller.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::operation::S3Operation;
use crate::telemetry::Trace;

/// Bounds of the times that answers take, in milliseconds: S3 answers in 10 to 200, a store nearby in 1 to 10, and what takes
/// minutes is a store that has lost the request.
pub const LATENCY_BOUNDS_MS: [u64; 12] = [2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000, 60_000];

/// Counts as requests go by.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_operation: [PerOperation; S3Operation::ALL.len()],
    denied: AtomicU64,
    resumed: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Where requests are traced, if they are.
    trace: OnceLock<Trace>,
    place: OnceLock<Place>,
}

/// The bucket that requests are about.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) bucket: String,
    /// The path before the slash that precedes a key.
    pub(crate) root: String,
}

#[derive(Debug, Default)]
struct PerOperation {
    requests: AtomicU64,
    throttled: AtomicU64,
    statuses: [AtomicU64; 6],
    latencies: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
    latency_us: AtomicU64,
}

impl PerOperation {
    fn counts(&self) -> OperationCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let statuses = self.statuses.each_ref().map(read);
        OperationCounts {
            requests: read(&self.requests),
            errors: statuses[0] + statuses[4] + statuses[5],
            throttled: read(&self.throttled),
            statuses,
            latencies: self.latencies.each_ref().map(read),
            latency: Duration::from_micros(read(&self.latency_us)),
        }
    }
}

impl Counters {
    pub(crate) fn sent(&self, operation: S3Operation, bytes: usize) {
        self.of(operation).requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A request has been answered, with a status of 0 where it was not, after so long.
    pub(crate) fn answered(&self, operation: S3Operation, status: u16, took: Duration) {
        let counter = self.of(operation);
        let class = usize::from(status / 100).min(counter.statuses.len() - 1);
        counter.statuses[class].fetch_add(1, Ordering::Relaxed);
        if matches!(status, 429 | 503) {
            counter.throttled.fetch_add(1, Ordering::Relaxed);
        }
        let bucket = LATENCY_BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < took);
        counter.latencies[bucket].fetch_add(1, Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counter.latency_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// Has requests traced from now on.
    pub(crate) fn trace(&self, trace: Trace) {
        // One that is renewed is traced already.
        let _ = self.trace.set(trace);
    }

    /// Names the bucket that requests are about.
    pub(crate) fn lead_to(&self, place: Place) {
        let _ = self.place.set(place);
    }

    /// Where requests are traced, if they are, and the bucket.
    pub(crate) fn traced(&self) -> Option<(&Trace, Option<&Place>)> {
        self.trace.get().map(|trace| (trace, self.place.get()))
    }

    pub(crate) fn denied(&self) {
        self.denied.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Requests sent so far.
    pub(crate) fn requests(&self) -> u64 {
        self.by_operation.iter().map(|counter| counter.requests.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut traffic = Traffic {
            denied: read(&self.denied),
            resumed: read(&self.resumed),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            ..Traffic::default()
        };
        for operation in S3Operation::ALL {
            let counts = self.of(operation).counts();
            if counts.requests > 0 {
                traffic.requests += counts.requests;
                traffic.errors += counts.errors;
                traffic.throttled += counts.throttled;
                traffic.by_operation.insert(operation, counts);
            }
        }
        traffic
    }

    fn of(&self, operation: S3Operation) -> &PerOperation {
        &self.by_operation[operation as usize]
    }
}

/// The counters as they stood at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests sent, each attempt for itself.
    pub requests: u64,
    /// Requests without an answer, or with a status of 400 and above.
    pub errors: u64,
    /// Requests that the store refused since there were too many: statuses 429 and 503.
    pub throttled: u64,
    /// Requests that were denied.
    pub denied: u64,
    /// Bodies that broke and were resumed.
    pub resumed: u64,
    /// Bytes of answers' bodies.
    pub bytes_in: u64,
    /// Bytes of requests' bodies.
    pub bytes_out: u64,
    /// Requests by what they asked; operations that never were are left out.
    pub by_operation: BTreeMap<S3Operation, OperationCounts>,
}

impl Traffic {
    /// What the requests cost in US dollars, at [list prices](https://aws.amazon.com/s3/pricing/) of S3 Standard in us-east-1,
    /// without storage and transfer.
    #[must_use]
    pub fn cost_dollars(&self) -> f64 {
        let prices =
            self.by_operation.iter().map(|(operation, counts)| operation.price_dollars() * counts.requests as f64);
        // The sum of none would be a negative zero.
        prices.fold(0.0, |sum, price| sum + price)
    }
}

/// The counters of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationCounts {
    /// Requests sent.
    pub requests: u64,
    /// Requests without an answer, or with a status of 400 and above.
    pub errors: u64,
    /// Requests that the store refused since there were too many: statuses 429 and 503.
    pub throttled: u64,
    /// Requests by the first digit of their status; without an answer by 0.
    pub statuses: [u64; 6],
    /// Requests by how long the head of their answer took: up to each of [`LATENCY_BOUNDS_MS`], and longer.
    pub latencies: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// The sum of those times.
    pub latency: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_own_counter() {
        let counters = Counters::default();
        for (index, operation) in S3Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
            counters.sent(operation, 1);
        }
        counters.answered(S3Operation::PutObject, 503, Duration::from_millis(5));
        counters.answered(S3Operation::GetObject, 0, Duration::from_secs(600));
        let traffic = counters.traffic();
        assert_eq!(traffic.requests, S3Operation::ALL.len() as u64);
        assert_eq!(traffic.bytes_out, traffic.requests);
        assert_eq!((traffic.errors, traffic.throttled), (2, 1));
        let put = traffic.by_operation[&S3Operation::PutObject];
        assert_eq!((put.errors, put.throttled, put.statuses), (1, 1, [0, 0, 0, 0, 0, 1]));
        // A bound belongs to what is below it.
        assert_eq!((put.latencies[1], put.latency), (1, Duration::from_millis(5)));
        // Six requests of the dear kind, four of the cheap one, and two that are free.
        assert!((traffic.cost_dollars() - (6.0 * 5e-6 + 4.0 * 4e-7)).abs() < 1e-12, "{}", traffic.cost_dollars());
        let get = traffic.by_operation[&S3Operation::GetObject];
        assert_eq!((get.errors, get.statuses[0], get.latencies[LATENCY_BOUNDS_MS.len()]), (1, 1, 1));
    }
}
