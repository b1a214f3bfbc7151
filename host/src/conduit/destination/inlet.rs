//! Owns the way of records from Conduit: an input of a pipeline that can be read only once. Leaves what becomes of records to
//! `answers`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conduit_protocol::opencdc::v1 as proto;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use super::pace::Pace;
use super::rate::Bucket;
use crate::conduit::records;
use crate::connector::source::Progress;
use crate::error::{Error, Result};
use crate::pipeline::Input;
use crate::record::Record;

/// How long the record with Stop's position is waited for.
const LAST_WAIT: Duration = Duration::from_secs(60);

/// How often a limit of records per second is looked at again, and a stop noticed.
const LOOK: Duration = Duration::from_millis(50);

/// A message of Conduit, and the room that it takes until it was read.
pub(super) struct Received {
    pub(super) records: Vec<proto::Record>,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What is wrong with records that were read and not written yet, by their number in the order of reading.
pub(super) type Faults = Arc<Mutex<VecDeque<(u64, Error)>>>;

/// Records from Conduit.
pub(super) struct Inlet {
    messages: mpsc::Receiver<Received>,
    /// Records that were not handed out, each with its bytes and the room of its message.
    left: VecDeque<(proto::Record, usize, Option<Arc<OwnedSemaphorePermit>>)>,
    bucket: Option<Bucket>,
    faults: Faults,
    pace: Arc<Mutex<Pace>>,
    /// Stop's position, once it came.
    until: watch::Receiver<Option<Bytes>>,
    until_since: Option<Instant>,
    last: Option<Bytes>,
    count: u64,
}

impl Inlet {
    pub(super) fn new(
        messages: mpsc::Receiver<Received>,
        bucket: Option<Bucket>,
        faults: Faults,
        pace: Arc<Mutex<Pace>>,
        until: watch::Receiver<Option<Bytes>>,
    ) -> Self {
        let (left, until_since, last, count) = (VecDeque::new(), None, None, 0);
        Self { messages, left, bucket, faults, pace, until, until_since, last, count }
    }

    /// Whether everything that Stop speaks of was handed out.
    fn is_done(&mut self) -> bool {
        let Some(until) = self.until.borrow().clone() else { return false };
        if until.is_empty() || self.last.as_ref() == Some(&until) {
            return self.left.is_empty();
        }
        let since = *self.until_since.get_or_insert_with(Instant::now);
        let is_late = since.elapsed() >= LAST_WAIT;
        if is_late {
            let position = records::shown(&until);
            tracing::warn!("the last record has not come that Conduit stops at; position=`{position}`");
        }
        is_late
    }

    /// Adds what has come; false once nothing comes any more.
    async fn receive(&mut self, wait: Duration) -> bool {
        if !self.left.is_empty() {
            return true;
        }
        let received = tokio::select! {
            received = self.messages.recv() => received,
            changed = self.until.changed(), if self.until.borrow().is_none() => {
                if changed.is_err() { None } else { return true }
            }
            () = tokio::time::sleep(wait.min(LAST_WAIT)) => return true,
        };
        let Some(received) = received else { return false };
        self.keep(received);
        // What is there, too, is taken along.
        while self.left.len() < RECORDS {
            let Ok(more) = self.messages.try_recv() else { break };
            self.keep(more);
        }
        true
    }

    fn keep(&mut self, received: Received) {
        let room = received.room.map(Arc::new);
        self.left.extend(received.records.into_iter().map(|record| {
            let bytes = records::bytes(&record);
            (record, bytes, room.clone())
        }));
    }

    fn hand_out(&mut self, records_max: usize) -> Vec<Record> {
        let records_max = match &mut self.bucket {
            Some(bucket) => bucket.available(Instant::now()).min(records_max),
            None => records_max,
        };
        let mut bytes = 0;
        let fits = |(_, more, _): &&(proto::Record, usize, _)| {
            let is_first = bytes == 0;
            bytes += more;
            is_first || bytes <= READ_BYTES_MAX
        };
        let count = self.left.iter().take(records_max).take_while(fits).count();
        if let Some(bucket) = &mut self.bucket {
            bucket.take(count);
        }
        let records = self.left.drain(..count).map(|(record, ..)| {
            let (record, fault) = records::decode(record);
            if let Err(error) = fault {
                self.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back((self.count, error));
            }
            self.count += 1;
            record
        });
        let records: Vec<_> = records.collect();
        if let Some(last) = records.last() {
            self.last = Some(last.position.clone());
        }
        records
    }
}

/// Records that are taken from messages at a time.
const RECORDS: usize = 1000;

/// Bytes of records that are handed out at a time, unless one record is larger.
const READ_BYTES_MAX: usize = 8 << 20;

impl Input for Inlet {
    async fn open(&mut self, _: Option<&[u8]>) -> Result<()> {
        Ok(())
    }

    async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        if self.is_done() {
            return Ok(None);
        }
        if !self.receive(wait).await {
            return Ok(None);
        }
        let records = self.hand_out(records_max as usize);
        if records.is_empty()
            && !self.left.is_empty()
            && let Some(bucket) = &self.bucket
        {
            tokio::time::sleep(bucket.pause().min(LOOK)).await;
        }
        Ok(Some(records))
    }

    async fn ack(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn progress(&mut self) -> Result<Progress> {
        Ok(Progress::default())
    }

    async fn teardown(&mut self) -> Result<()> {
        if !self.left.is_empty() {
            self.pace.lock().unwrap_or_else(PoisonError::into_inner).end();
        }
        Ok(())
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}
