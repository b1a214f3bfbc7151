//! Owns the records and the log that tests of pipelines share. Leaves the fake endpoints to the tests that drive them.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

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

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(super) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .compact()
            .without_time()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}
