//! Owns the way of a source's records into Conduit, and of its acks back: an output of a pipeline. Leaves the calls of the engine
//! to `source`, and outages to `pipeline`.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use conduit_protocol::connector::v2::SourceRunResponse;
use conduit_protocol::opencdc::v1 as proto;
use s3_connector::record::Record as Plain;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Status;

use crate::conduit::parameters::Batching;
use crate::conduit::records;
use crate::connector::destination::Ack;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{CancellationToken, Output};
use crate::record::{self, NoBody, Record};

/// Bytes of a message, unless one record is larger.
const MESSAGE_BYTES: usize = 1 << 20;

/// Bytes of the largest record that a message can carry: protobuf and Go's gRPC count with 31 bits.
const RECORD_BYTES_MAX: usize = i32::MAX as usize - (1 << 20);

/// How long a record waits for its message to fill where only a size was asked for.
const DELAY: Duration = Duration::from_secs(1);

/// How long an object may take before what came before it is sent without it.
const SLOW: Duration = Duration::from_millis(100);

/// How long acks of what was sent may take where something else has failed already.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a stop waits for the rest of an object.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// What was sent so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    /// The position of the last record; empty if there was none.
    pub(super) last: Bytes,
    /// Whether everything that was read was sent, and nothing more will be read.
    pub(super) is_all: bool,
}

/// Records to Conduit, and acks from it.
pub(super) struct Outlet {
    pub(super) messages: mpsc::Sender<Result<SourceRunResponse, Status>>,
    pub(super) acks: mpsc::Receiver<Vec<Bytes>>,
    pub(super) batching: Batching,
    pub(super) stop: CancellationToken,
    pub(super) sent: watch::Sender<Sent>,
    state: State,
}

#[derive(Default)]
struct State {
    /// Sent before a renewal and not acked: their acks come first, and mean nothing to the new source.
    stale: usize,
    /// Sent and not acked, in order.
    outstanding: VecDeque<Bytes>,
    /// The next message.
    pending: Vec<proto::Record>,
    pending_bytes: usize,
    pending_since: Option<Instant>,
    /// Acks that came and were not returned.
    acked: Vec<Ack>,
    /// Why nothing more can be sent.
    failed: Option<Error>,
    /// When the last ack came, or waiting for acks began.
    quiet_since: Option<Instant>,
}

impl Outlet {
    pub(super) fn new(
        messages: mpsc::Sender<Result<SourceRunResponse, Status>>,
        acks: mpsc::Receiver<Vec<Bytes>>,
        batching: Batching,
        stop: CancellationToken,
        sent: watch::Sender<Sent>,
    ) -> Self {
        Self { messages, acks, batching, stop, sent, state: State::default() }
    }

    /// Adds a record to the next message.
    async fn push(&mut self, record: Record) -> Result<()> {
        // Before it is in memory, where its length is known.
        check_length(record.payload.after.as_ref().and_then(record::Data::length).unwrap_or_default())?;
        let mut collected = pin!(self.collected(record));
        let waits = self.due_in().max(SLOW);
        let record = match tokio::time::timeout(waits, &mut collected).await {
            Ok(record) => record,
            Err(_) => {
                self.send().await?;
                collected.await
            }
        };
        let record = records::encode(record?)?;
        let bytes = records::bytes(&record);
        check_length(bytes as u64)?;
        let size_max = if self.batching.size == 0 { usize::MAX } else { self.batching.size };
        if self.state.pending_bytes + bytes > MESSAGE_BYTES {
            self.send().await?;
        }
        self.state.pending_since.get_or_insert_with(Instant::now);
        self.state.pending_bytes += bytes;
        self.state.pending.push(record);
        if self.state.pending.len() >= size_max || self.state.pending_bytes >= MESSAGE_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    /// A record with its bytes; an error once they have not come for a while after a stop.
    fn collected(&self, record: Record) -> impl Future<Output = Result<Plain<NoBody>>> + use<> {
        let stop = self.stop.clone();
        async move {
            let late = async {
                stop.cancelled().await;
                tokio::time::sleep(BODY_WAIT).await;
            };
            tokio::select! {
                biased;
                whole = record::collect(record) => whole,
                () = late => Err(Error::new(ErrorKind::Unavailable, "the rest of an object has not come")),
            }
        }
    }

    /// Sends what is pending; takes acks meanwhile, since Conduit may read only after it has written.
    async fn send(&mut self) -> Result<()> {
        if self.state.pending.is_empty() {
            return Ok(());
        }
        let messages = self.messages.clone();
        loop {
            tokio::select! {
                biased;
                positions = self.acks.recv() => self.take(positions)?,
                room = messages.reserve() => {
                    let room = room.map_err(|_| gone())?;
                    let records = std::mem::take(&mut self.state.pending);
                    (self.state.pending_bytes, self.state.pending_since) = (0, None);
                    let last = records.last().map(|record| record.position.clone()).unwrap_or_default();
                    self.state.outstanding.extend(records.iter().map(|record| record.position.clone()));
                    room.send(Ok(SourceRunResponse { records }));
                    self.sent.send_modify(|sent| sent.last = last);
                    return Ok(());
                }
            }
        }
    }

    /// Takes positions that Conduit has acked.
    fn take(&mut self, positions: Option<Vec<Bytes>>) -> Result<()> {
        let positions = positions.ok_or_else(gone)?;
        let state = &mut self.state;
        state.quiet_since = Some(Instant::now());
        for position in positions {
            match state.outstanding.pop_front() {
                Some(next) if next == position && state.stale > 0 => state.stale -= 1,
                Some(next) if next == position => state.acked.push(Ack { position, error: None }),
                next => {
                    let (acked, next) = (records::shown(&position), next.map(|next| records::shown(&next)));
                    let message = format!("Conduit has acked `{acked}`, but next in order is {next:?}");
                    return Err(Error::new(ErrorKind::Invalid, message));
                }
            }
        }
        Ok(())
    }

    fn take_what_came(&mut self) -> Result<()> {
        loop {
            match self.acks.try_recv() {
                Ok(positions) => self.take(Some(positions))?,
                Err(mpsc::error::TryRecvError::Empty) => return Ok(()),
                // What came before counts; the next call finds the same.
                Err(mpsc::error::TryRecvError::Disconnected) if !self.state.acked.is_empty() => return Ok(()),
                Err(mpsc::error::TryRecvError::Disconnected) => return self.take(None),
            }
        }
    }

    /// Whether the pending message has waited long enough.
    fn is_due(&self) -> bool {
        self.state.pending_since.is_some() && self.due_in().is_zero()
    }

    /// How long the pending message may still wait.
    fn due_in(&self) -> Duration {
        let Batching { size, delay } = self.batching;
        let delay = match (size, delay) {
            (0, delay) => delay,
            (_, Duration::ZERO) => DELAY,
            (_, delay) => delay,
        };
        let waited = self.state.pending_since.map(|since| since.elapsed()).unwrap_or_default();
        delay.saturating_sub(waited)
    }

    /// The acks that are there; where something has failed, the failure once all acks are in, or long after the last one came.
    fn settle(&mut self) -> Result<Vec<Ack>> {
        let acks = std::mem::take(&mut self.state.acked);
        let Some(failed) = self.state.failed.clone().filter(|_| acks.is_empty()) else { return Ok(acks) };
        let is_quiet = self.state.quiet_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
        if self.state.outstanding.is_empty() || is_quiet { Err(failed) } else { Ok(acks) }
    }
}

fn check_length(bytes: u64) -> Result<()> {
    if bytes <= RECORD_BYTES_MAX as u64 {
        return Ok(());
    }
    let message = format!(
        "an object is too large for a message of Conduit; bytes=`{bytes}`: set `chunkBytes` to have it in parts, or \
         `objectBytes` and `unreadable` to go on without it"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

fn gone() -> Error {
    Error::new(ErrorKind::Closed, "Conduit has ended the stream of records")
}

impl Output for Outlet {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        for record in records {
            if self.state.failed.is_some() {
                // It is read again after the last one that was acked.
                break;
            }
            if let Err(error) = self.push(record).await {
                // What came before it is sent, and acked before the source is made anew: nothing is sent twice.
                let sent = if error.kind() == ErrorKind::Closed { Err(error.clone()) } else { self.send().await };
                sent?;
                self.state.failed = Some(error);
                self.state.quiet_since = Some(Instant::now());
            }
        }
        if self.is_due() {
            self.send().await?;
        }
        self.take_what_came()?;
        self.settle()
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        self.send().await?;
        let begins = self.sent.send_if_modified(|sent| !std::mem::replace(&mut sent.is_all, true));
        if begins {
            self.state.quiet_since = Some(Instant::now());
        }
        if self.state.acked.is_empty() && !self.state.outstanding.is_empty() {
            let since = *self.state.quiet_since.get_or_insert_with(Instant::now);
            match tokio::time::timeout(wait, self.acks.recv()).await {
                Ok(positions) => self.take(positions)?,
                Err(_) if since.elapsed() >= PATIENCE && !self.stop.is_cancelled() => {
                    let message = "Conduit has not acked for a minute what the source has sent before it failed";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                Err(_) => {}
            }
        }
        self.settle()
    }

    async fn teardown(&mut self) -> Result<()> {
        Ok(())
    }

    async fn renew(&mut self) -> Result<bool> {
        let state = &mut self.state;
        state.stale = state.outstanding.len();
        (state.pending, state.pending_bytes, state.pending_since) = (Vec::new(), 0, None);
        (state.acked, state.failed, state.quiet_since) = (Vec::new(), None, None);
        self.sent.send_modify(|sent| sent.is_all = false);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use s3_connector::record::{Change, Operation};

    use super::*;

    fn record(position: &str) -> Record {
        Record {
            position: Bytes::from(position.to_owned()),
            operation: Operation::Create,
            metadata: [("a".to_owned(), "b".to_owned())].into_iter().collect(),
            key: None,
            payload: Change { before: None, after: None },
        }
    }

    type Messages = mpsc::Receiver<Result<SourceRunResponse, Status>>;

    fn outlet(size: usize, delay: Duration) -> (Outlet, Messages, mpsc::Sender<Vec<Bytes>>) {
        let (messages, acks) = (mpsc::channel(100), mpsc::channel(100));
        let batching = Batching { size, delay };
        let sent = watch::Sender::new(Sent::default());
        (Outlet::new(messages.0, acks.1, batching, CancellationToken::new(), sent), messages.1, acks.0)
    }

    fn sizes(messages: &mut Messages) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Ok(message) = messages.try_recv() {
            sizes.push(message.unwrap().records.len());
        }
        sizes
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_object_holds_back_nothing() {
        let (mut outlet, mut messages, _acks) = outlet(0, Duration::ZERO);
        let (mut sender, receiver) = tokio::io::duplex(100);
        let stream = wasmtime_wasi::p2::pipe::AsyncReadStream::new(receiver);
        let slow = Some(record::Data::Body { length: None, bytes: record::Body::from_stream(Box::new(stream)) });
        let slow = Record { payload: Change { before: None, after: slow }, ..record("2") };
        let mut writing = pin!(outlet.write(vec![record("0"), record("1"), slow]));
        tokio::time::timeout(Duration::from_secs(1), &mut writing).await.unwrap_err();
        assert_eq!(sizes(&mut messages), [2]);
        tokio::io::AsyncWriteExt::write_all(&mut sender, b"late").await.unwrap();
        drop(sender);
        writing.await.unwrap();
        assert_eq!(sizes(&mut messages), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_are_as_large_and_as_late_as_was_asked_for() {
        let records = || (0..7).map(|n| record(&n.to_string())).collect::<Vec<_>>();
        let second = Duration::from_secs(1);
        for (size, delay, at_once, later) in [
            (0, Duration::ZERO, vec![7], vec![]),
            (3, Duration::ZERO, vec![3, 3], vec![1]),
            (0, second, vec![], vec![7]),
            (3, second, vec![3, 3], vec![1]),
        ] {
            let (mut outlet, mut messages, _acks) = outlet(size, delay);
            outlet.write(records()).await.unwrap();
            assert_eq!(sizes(&mut messages), at_once, "{size} {delay:?}");
            tokio::time::advance(second).await;
            outlet.write(Vec::new()).await.unwrap();
            assert_eq!(sizes(&mut messages), later, "{size} {delay:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn acks_are_taken_in_order_and_no_other() {
        let (mut outlet, _messages, acks) = outlet(0, Duration::ZERO);
        outlet.write(vec![record("1"), record("2")]).await.unwrap();
        acks.send(vec!["1".into()]).await.unwrap();
        let first = outlet.write(Vec::new()).await.unwrap();
        assert_eq!(first.iter().map(|ack| &ack.position[..]).collect::<Vec<_>>(), [b"1"]);
        acks.send(vec!["3".into()]).await.unwrap();
        let error = outlet.write(Vec::new()).await.unwrap_err();
        assert!(error.message().contains("`3`"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn acks_of_what_was_sent_before_a_renewal_are_not_passed_on() {
        let (mut outlet, _messages, acks) = outlet(0, Duration::ZERO);
        outlet.write(vec![record("1"), record("2")]).await.unwrap();
        outlet.renew().await.unwrap();
        outlet.write(vec![record("2")]).await.unwrap();
        acks.send(vec!["1".into(), "2".into()]).await.unwrap();
        assert_eq!(outlet.write(Vec::new()).await.unwrap(), []);
        acks.send(vec!["2".into()]).await.unwrap();
        assert_eq!(outlet.write(Vec::new()).await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_after_a_quiet_time_waits_for_its_own_acks() {
        let (mut outlet, _messages, acks) = outlet(0, Duration::ZERO);
        outlet.write(vec![record("1")]).await.unwrap();
        acks.send(vec!["1".into()]).await.unwrap();
        assert_eq!(outlet.write(Vec::new()).await.unwrap().len(), 1);
        tokio::time::advance(PATIENCE * 2).await;
        outlet.write(vec![record("2")]).await.unwrap();
        let wait = Duration::from_millis(500);
        assert_eq!(outlet.flush(wait).await.unwrap(), []);
        tokio::time::advance(PATIENCE).await;
        assert_eq!(outlet.flush(wait).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn nothing_leaves_without_a_position() {
        let (mut outlet, mut messages, _acks) = outlet(0, Duration::ZERO);
        let error = outlet.write(vec![record("")]).await.unwrap_err();
        assert_eq!((error.kind(), sizes(&mut messages)), (ErrorKind::Internal, vec![]));
    }
}
