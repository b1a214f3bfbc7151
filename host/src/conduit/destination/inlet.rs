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
        if !self.left.is_empty() {
            self.until_since = None;
            return false;
        }
        if until.is_empty() || self.last.as_ref() == Some(&until) {
            return true;
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
        if self.until.borrow().is_some() {
            // What a stop waits for is not slowed down.
            self.bucket = None;
        }
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

#[cfg(test)]
mod tests {
    use conduit_protocol::opencdc::v1::{Change, Data, data};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::conduit::parameters::Rate;

    const WAIT: Duration = Duration::from_millis(250);

    /// The ends of an inlet that tests hold.
    struct Ends {
        inlet: Inlet,
        messages: mpsc::Sender<Received>,
        until: watch::Sender<Option<Bytes>>,
    }

    fn ends(bucket: Option<Bucket>) -> Ends {
        let (messages, receiver) = mpsc::channel(16);
        let until = watch::Sender::new(None);
        let inlet = Inlet::new(receiver, bucket, Faults::default(), Arc::default(), until.subscribe());
        Ends { inlet, messages, until }
    }

    fn sized(n: usize, bytes: usize) -> proto::Record {
        let after = Data { data: Some(data::Data::RawData(vec![0; bytes].into())) };
        let payload = Some(Change { before: None, after: Some(after) });
        proto::Record { position: format!("p{n}").into(), payload, ..proto::Record::default() }
    }

    /// A record that can't be stored.
    fn odd(n: usize) -> proto::Record {
        let cut_off = Bytes::from_static(b"\x0a\xff");
        let key = Some(Data { data: Some(data::Data::StructuredData(cut_off)) });
        proto::Record { key, ..sized(n, 1) }
    }

    impl Ends {
        fn send(&self, records: Vec<proto::Record>) {
            self.messages.try_send(Received { records, room: None }).unwrap();
        }

        /// How many records the next read returns; `None` at the end.
        async fn read(&mut self, records_max: u32) -> Option<usize> {
            self.inlet.read(records_max, WAIT).await.unwrap().map(|records| records.len())
        }

        fn stop_at(&self, position: &'static str) {
            self.until.send_replace(Some(Bytes::from_static(position.as_bytes())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_room_of_a_message_is_free_once_its_last_record_is_out() {
        let mut ends = ends(None);
        let room = Arc::new(Semaphore::new(10));
        for records in [vec![sized(0, 1), sized(1, 1)], Vec::new()] {
            let room = Some(Arc::clone(&room).try_acquire_many_owned(3).unwrap());
            ends.messages.try_send(Received { records, room }).unwrap();
        }
        assert_eq!(room.available_permits(), 4);
        assert_eq!(ends.read(1).await, Some(1));
        assert_eq!(room.available_permits(), 7, "one of two is left, and a message without records takes no room");
        assert_eq!(ends.read(1).await, Some(1));
        assert_eq!(room.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_handed_out_by_number_and_by_bytes() {
        let mut ends = ends(None);
        ends.send((0..5).map(|n| sized(n, 1)).collect());
        assert_eq!((ends.read(3).await, ends.read(3).await, ends.read(3).await), (Some(3), Some(2), Some(0)));
        let third = READ_BYTES_MAX / 3;
        ends.send(vec![sized(5, third), sized(6, third), sized(7, third), sized(8, 2 * READ_BYTES_MAX), sized(9, 1)]);
        let mut counts = Vec::new();
        for _ in 0..4 {
            counts.push(ends.read(1000).await.unwrap());
        }
        assert_eq!(counts, [2, 1, 1, 1], "a record that is larger than all that may go at a time goes alone");
    }

    #[tokio::test(start_paused = true)]
    async fn messages_that_are_there_are_read_together() {
        let mut ends = ends(None);
        for n in 0..10 {
            ends.send(vec![sized(n, 1)]);
        }
        assert_eq!(ends.read(1000).await, Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_holds_records_back_until_a_stop_waits_for_them() {
        let mut ends = ends(Some(Bucket::new(Rate { per_second: 1e-6, burst: 2 }, Instant::now())));
        ends.send((0..5).map(|n| sized(n, 1)).collect());
        assert_eq!((ends.read(1000).await, ends.read(1000).await), (Some(2), Some(0)));
        ends.stop_at("p4");
        assert_eq!((ends.read(1000).await, ends.read(1000).await), (Some(3), None));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_before_any_record_ends_at_once() {
        let mut ends = ends(None);
        ends.stop_at("");
        assert_eq!(ends.read(1000).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_leaves_nothing_behind_that_was_taken_from_a_message() {
        let mut ends = ends(None);
        ends.send(vec![sized(0, 1), sized(1, 1)]);
        assert_eq!(ends.read(1).await, Some(1));
        ends.stop_at("");
        assert_eq!((ends.read(1).await, ends.read(1).await), (Some(1), None));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_wakes_a_read_and_the_record_that_it_names_may_still_come() {
        let mut ends = ends(None);
        let begun = tokio::time::Instant::now();
        let until = ends.until.clone();
        let stopping = async move { until.send_replace(Some(Bytes::from_static(b"p1"))) };
        let (read, _) = tokio::join!(ends.inlet.read(1000, LAST_WAIT), stopping);
        assert_eq!((read.unwrap().map(|records| records.len()), begun.elapsed()), (Some(0), Duration::ZERO));
        ends.send(vec![sized(0, 1)]);
        assert_eq!(ends.read(1000).await, Some(1));
        ends.send(vec![sized(1, 1)]);
        assert_eq!((ends.read(1000).await, ends.read(1000).await), (Some(1), None));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_at_a_record_that_was_handed_out_ends_at_once() {
        let mut ends = ends(None);
        ends.send(vec![sized(0, 1), sized(1, 1)]);
        assert_eq!(ends.read(1000).await, Some(2));
        ends.stop_at("p1");
        assert_eq!(ends.read(1000).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn stop_at_a_record_that_never_comes_is_waited_for_a_minute() {
        let mut ends = ends(None);
        ends.stop_at("never");
        assert_eq!(ends.read(1000).await, Some(0));
        let since = ends.inlet.until_since.expect("the wait has begun");
        ends.inlet.until_since = since.checked_sub(LAST_WAIT);
        assert_eq!(ends.read(1000).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn records_that_have_come_are_handed_out_before_the_end() {
        let Ends { mut inlet, messages, until } = ends(None);
        messages.try_send(Received { records: vec![sized(0, 1), sized(1, 1)], room: None }).unwrap();
        drop(messages);
        let mut counts = Vec::new();
        while let Some(records) = inlet.read(1, WAIT).await.unwrap() {
            counts.push(records.len());
        }
        assert_eq!(counts, [1, 1]);
        drop(until);
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_numbered_in_the_order_of_reading() {
        let mut ends = ends(None);
        ends.send(vec![sized(0, 1), odd(1), sized(2, 1)]);
        ends.send(vec![odd(3)]);
        assert_eq!((ends.read(2).await, ends.read(2).await), (Some(2), Some(2)));
        let faults = ends.inlet.faults.lock().unwrap();
        assert_eq!(faults.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3]);
        assert!(faults[0].1.message().contains("the key"), "{faults:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_waits_for_nothing_once_records_are_left_behind() {
        for left in [0, 1] {
            let mut ends = ends(None);
            ends.inlet.pace.lock().unwrap().received(1, Instant::now());
            ends.send((0..=left).map(|n| sized(n, 1)).collect());
            assert_eq!(ends.read(1).await, Some(1));
            ends.inlet.pace.lock().unwrap().written(1);
            ends.inlet.teardown().await.unwrap();
            assert_eq!(ends.inlet.pace.lock().unwrap().waits(), left > 0);
        }
    }
}
