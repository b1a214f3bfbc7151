//! Owns the log of requests, for tests to inspect: it keeps the latest and counts all. Leaves every decision to others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use super::operation::S3Operation;

/// A request as it arrived, and how it was answered.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// Its place among all requests, from 0, in the order in which they arrived.
    pub number: u64,
    /// What it asks for.
    pub operation: S3Operation,
    /// The bucket, if it names one.
    pub bucket: Option<String>,
    /// The key, if it names one.
    pub key: Option<String>,
    /// The query as it was sent.
    pub query: String,
    /// The headers as they were sent.
    pub headers: HeaderMap,
    /// The access key, once its signature was found right.
    pub access_key: Option<String>,
    /// The status answered; absent while there is no answer, or if there never will be one.
    pub status: Option<u16>,
}

impl LoggedRequest {
    /// Gives a header, if it was sent and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Debug, Default)]
struct Log {
    requests: VecDeque<LoggedRequest>,
    arrived: u64,
    counts: BTreeMap<S3Operation, u64>,
}

/// The log of a server. A clone is a handle on the same log.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    state: Arc<Mutex<Log>>,
    requests_max: usize,
}

impl Journal {
    pub(crate) fn new(requests_max: usize) -> Self {
        Self { state: Arc::default(), requests_max }
    }

    /// Records an arrival; gives its number.
    pub(crate) fn arrived(&self, mut request: LoggedRequest) -> u64 {
        let mut state = self.lock();
        request.number = state.arrived;
        state.arrived += 1;
        *state.counts.entry(request.operation).or_default() += 1;
        if self.requests_max > 0 {
            if state.requests.len() == self.requests_max {
                state.requests.pop_front();
            }
            let number = request.number;
            state.requests.push_back(request);
            return number;
        }
        request.number
    }

    pub(crate) fn answered(&self, number: u64, status: u16, access_key: Option<&str>) {
        let mut state = self.lock();
        let kept = state.requests.len() as u64;
        let Some(at) = (number + kept).checked_sub(state.arrived) else {
            return;
        };
        let at = usize::try_from(at).expect("it is below the number of requests kept");
        if let Some(request) = state.requests.get_mut(at) {
            request.status = Some(status);
            request.access_key = access_key.map(str::to_owned);
        }
    }

    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(crate) fn count(&self, operation: S3Operation) -> u64 {
        self.lock().counts.get(&operation).copied().unwrap_or_default()
    }

    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.requests.clear();
        state.counts.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Log> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: S3Operation) -> LoggedRequest {
        LoggedRequest {
            number: 0,
            operation,
            bucket: None,
            key: None,
            query: String::new(),
            headers: HeaderMap::new(),
            access_key: None,
            status: None,
        }
    }

    #[test]
    fn log_keeps_the_latest_and_counts_all() {
        let journal = Journal::new(2);
        let numbers: Vec<u64> = (0..3).map(|_| journal.arrived(request(S3Operation::GetObject))).collect();
        assert_eq!(numbers, [0, 1, 2]);
        journal.answered(0, 200, None);
        journal.answered(2, 404, Some("key"));
        let statuses: Vec<_> = journal.requests().iter().map(|request| request.status).collect();
        assert_eq!(statuses, [None, Some(404)]);
        assert_eq!(journal.count(S3Operation::GetObject), 3);
        assert_eq!(journal.count(S3Operation::PutObject), 0);
    }
}
