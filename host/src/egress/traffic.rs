//! Owns the numbers that one egress keeps about its requests. Leaves showing them to the caller.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::operation::S3Operation;

/// Counts as requests go by.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_operation: [PerOperation; S3Operation::ALL.len()],
    denied: AtomicU64,
    resumed: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

#[derive(Debug, Default)]
struct PerOperation {
    requests: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    pub(crate) fn sent(&self, operation: S3Operation, bytes: usize) {
        self.of(operation).requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, operation: S3Operation) {
        self.of(operation).errors.fetch_add(1, Ordering::Relaxed);
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
            let counter = self.of(operation);
            let counts = OperationCounts { requests: read(&counter.requests), errors: read(&counter.errors) };
            if counts.requests > 0 {
                traffic.requests += counts.requests;
                traffic.errors += counts.errors;
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

/// The counters of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationCounts {
    /// Requests sent.
    pub requests: u64,
    /// Requests without an answer, or with a status of 400 and above.
    pub errors: u64,
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
        counters.failed(S3Operation::PutObject);
        let traffic = counters.traffic();
        assert_eq!(traffic.requests, S3Operation::ALL.len() as u64);
        assert_eq!(traffic.bytes_out, traffic.requests);
        assert_eq!(traffic.errors, 1);
        assert_eq!(traffic.by_operation[&S3Operation::PutObject].errors, 1);
    }
}
