//! Owns the records and the log that tests of pipelines share. Leaves the fake endpoints to the tests that drive them.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};

use bytes::Bytes;

use crate::record::{Change, Data, Operation, Record};

/// A record whose position is its number.
pub(super) fn record(number: u64) -> Record {
    Record {
        position: Bytes::from(number.to_string()),
        operation: Operation::Create,
        metadata: Default::default(),
        key: None,
        payload: Change { before: None, after: Some(Data::Raw(Bytes::from_static(b"ten bytes."))) },
    }
}

/// The number of the record at this position.
pub(super) fn number(position: &[u8]) -> u64 {
    std::str::from_utf8(position).unwrap().parse().unwrap()
}

/// The log of this thread, from the level that a command shows by default.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

thread_local! {
    /// Where log lines of this thread go.
    static LISTENING: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Ends listening when it is dropped.
pub(super) struct Listening;

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENING.set(None);
    }
}

/// Writes to the log of the thread that logs.
struct ThreadsLog;

impl Write for ThreadsLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LISTENING.with_borrow(|log| {
            if let Some(log) = log {
                log.0.lock().unwrap().extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Takes down what this thread logs from now on.
    pub(super) fn listen(&self) -> Listening {
        // One subscriber for all threads: with one per thread, a line that two tests log first, at the same time, may be taken
        // for one that nobody listens to.
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .compact()
                .without_time()
                .with_ansi(false)
                .with_max_level(tracing::Level::INFO)
                .with_writer(|| ThreadsLog)
                .finish();
            tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
        });
        LISTENING.set(Some(self.clone()));
        Listening
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}
