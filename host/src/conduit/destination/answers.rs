//! Owns what Conduit is told of each record: stored, or refused and why; once each, and in order. An output of a pipeline, around
//! the component's destination. Leaves outages to `pipeline`, and when Conduit waits to `pace`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use conduit_protocol::connector::v2::{self as proto, DestinationRunResponse};
use tokio::sync::mpsc;
use tonic::Status;

use super::inlet::Faults;
use super::pace::Pace;
use super::schemas::Decoder;
use crate::connector::destination::Ack;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::Output;
use crate::record::Record;

/// How long one flush waits for acks where Conduit waits for them, too.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// A destination whose acks go to Conduit.
pub(super) struct Answers<O> {
    destination: O,
    decoder: Decoder,
    messages: mpsc::Sender<Result<DestinationRunResponse, Status>>,
    faults: Faults,
    pace: Arc<Mutex<Pace>>,
    /// Records that were written and not answered, in order; with the reason of those that the destination never got.
    order: VecDeque<(Bytes, Option<Error>)>,
    /// Records that were written, by which faults are found.
    count: u64,
}

impl<O: Output> Answers<O> {
    pub(super) fn new(
        destination: O,
        decoder: Decoder,
        messages: mpsc::Sender<Result<DestinationRunResponse, Status>>,
        faults: Faults,
        pace: Arc<Mutex<Pace>>,
    ) -> Self {
        Self { destination, decoder, messages, faults, pace, order: VecDeque::new(), count: 0 }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with the next record.
    fn next_fault(&mut self) -> Option<Error> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let is_this = faults.front().is_some_and(|(number, _)| *number == self.count);
        self.count += 1;
        is_this.then(|| faults.pop_front()).flatten().map(|(_, error)| error)
    }

    /// Tells Conduit what became of records, and returns their acks, which have no errors: a refusal ends no pipeline here.
    async fn answer(&mut self, acks: Vec<Ack>) -> Result<Vec<Ack>> {
        let mut told = Vec::new();
        for ack in acks {
            self.answer_refused(&mut told);
            match self.order.pop_front() {
                Some((position, None)) if position == ack.position => told.push((position, ack.error)),
                _ => {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        "the destination acked a record that was not next in order",
                    ));
                }
            }
        }
        self.answer_refused(&mut told);
        if told.is_empty() {
            return Ok(Vec::new());
        }
        let acks = told.iter().map(|(position, error)| proto::Ack {
            position: position.clone(),
            error: error.as_ref().map(reason).unwrap_or_default(),
        });
        let message = DestinationRunResponse { acks: acks.collect() };
        let gone = |_| Error::new(ErrorKind::Closed, "Conduit has ended the stream of acks");
        // Before Conduit can have it, and send more.
        self.pace().acked(told.len(), Instant::now());
        self.messages.send(Ok(message)).await.map_err(gone)?;
        Ok(told.into_iter().map(|(position, _)| Ack { position, error: None }).collect())
    }

    /// Adds the records at the front that the destination never got.
    fn answer_refused(&mut self, told: &mut Vec<(Bytes, Option<Error>)>) {
        while let Some((position, error @ Some(_))) = self.order.pop_front_if(|(_, error)| error.is_some()) {
            told.push((position, error));
        }
    }
}

/// Why a record was refused. An empty reason would say that it is stored.
fn reason(error: &Error) -> String {
    match error.message() {
        "" => "the record was refused without a reason".to_owned(),
        message => message.to_owned(),
    }
}

impl<O: Output> Output for Answers<O> {
    async fn open(&mut self) -> Result<()> {
        self.destination.open().await
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let count = records.len();
        let mut fit = Vec::with_capacity(count);
        for (written, mut record) in records.into_iter().enumerate() {
            let mut fault = self.next_fault();
            if fault.is_none() {
                fault = match self.decoder.decode(&mut record).await {
                    // A record is at fault by `Invalid` alone.
                    Err(error) if error.kind() != ErrorKind::Invalid => {
                        self.count -= 1;
                        self.pace().written(written);
                        return Err(error);
                    }
                    decoded => decoded.err(),
                };
            }
            self.order.push_back((record.position.clone(), fault.clone()));
            if fault.is_none() {
                fit.push(record);
            }
        }
        self.pace().written(count);
        let acks = self.destination.write(fit).await?;
        let acks = self.answer(acks).await?;
        // What Conduit was told must reach the pipeline, whatever a flush ends in: it comes with the next call.
        if acks.is_empty() && self.pace().waits() { self.flush(FLUSH_WAIT).await } else { Ok(acks) }
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        let acks = self.destination.flush(wait).await?;
        self.answer(acks).await
    }

    async fn teardown(&mut self) -> Result<()> {
        self.destination.teardown().await
    }

    async fn renew(&mut self) -> Result<bool> {
        // The pipeline writes again what was not answered.
        self.count -= self.order.len() as u64;
        self.pace().unwritten(self.order.len());
        let first = self.count;
        let refused = self.order.drain(..).enumerate().filter_map(|(n, (_, error))| Some((first + n as u64, error?)));
        {
            let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            for (at, fault) in refused.enumerate() {
                faults.insert(at, fault);
            }
        }
        self.destination.renew().await
    }

    fn can_renew(&self) -> bool {
        self.destination.can_renew()
    }

    fn failing_for(&self) -> Option<Duration> {
        self.destination.failing_for()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::engine::Engine;
    use crate::conduit::parameters::{Batching, DestinationParameters};
    use crate::record::{Change, Data, Operation};

    /// Holds records until it is flushed, or has as many as it may hold.
    #[derive(Default)]
    struct Fake {
        held: VecDeque<Bytes>,
        /// Records at which it stores; 0 for none.
        full: usize,
        /// All that was written, in order.
        written: Vec<Bytes>,
        refuses: Option<(Bytes, Error)>,
        fails: Option<Error>,
        flushes: usize,
        renewals: usize,
    }

    impl Fake {
        fn store(&mut self) -> Vec<Ack> {
            let refuses = self.refuses.clone();
            let error = |position: &Bytes| refuses.as_ref().filter(|(bad, _)| bad == position);
            let acks =
                self.held.drain(..).map(|position| Ack { error: error(&position).map(|r| r.1.clone()), position });
            acks.collect()
        }
    }

    impl Output for Fake {
        async fn open(&mut self) -> Result<()> {
            Ok(())
        }

        async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
            if let Some(error) = self.fails.take() {
                return Err(error);
            }
            self.written.extend(records.iter().map(|record| record.position.clone()));
            self.held.extend(records.into_iter().map(|record| record.position));
            Ok(if self.full > 0 && self.held.len() >= self.full { self.store() } else { Vec::new() })
        }

        async fn flush(&mut self, _: Duration) -> Result<Vec<Ack>> {
            self.flushes += 1;
            Ok(self.store())
        }

        async fn teardown(&mut self) -> Result<()> {
            Ok(())
        }

        async fn renew(&mut self) -> Result<bool> {
            self.held.clear();
            self.renewals += 1;
            Ok(true)
        }
    }

    /// Answers around a fake destination, and Conduit's end of them.
    struct Ends {
        answers: Answers<Fake>,
        messages: mpsc::Receiver<Result<DestinationRunResponse, Status>>,
    }

    /// With faults of the records of these numbers.
    fn ends(faults: &[usize]) -> Ends {
        let parameters = DestinationParameters {
            batching: Batching::default(),
            rate: None,
            decodes_keys: false,
            decodes_payloads: true,
        };
        let decoder = Decoder::new(&Engine::from_environment(|_| None), parameters);
        let faults = faults.iter().map(|n| (*n as u64, invalid(&format!("fault {n}"))));
        let faults: Faults = Arc::new(Mutex::new(faults.collect()));
        let (sender, messages) = mpsc::channel(16);
        Ends { answers: Answers::new(Fake::default(), decoder, sender, faults, Arc::default()), messages }
    }

    fn invalid(message: &str) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    fn records(numbers: std::ops::Range<usize>) -> Vec<Record> {
        let record = |n| Record {
            position: format!("p{n}").into(),
            operation: Operation::Create,
            metadata: Default::default(),
            key: None,
            payload: Change { before: None, after: None },
        };
        numbers.map(record).collect()
    }

    fn positions(acks: &[Ack]) -> Vec<String> {
        assert!(acks.iter().all(|ack| ack.error.is_none()), "a refusal ends no pipeline");
        acks.iter().map(|ack| String::from_utf8(ack.position.to_vec()).unwrap()).collect()
    }

    fn named(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
        numbers.into_iter().map(|n| format!("p{n}")).collect()
    }

    impl Ends {
        async fn write(&mut self, numbers: std::ops::Range<usize>) -> Vec<String> {
            positions(&self.answers.write(records(numbers)).await.unwrap())
        }

        async fn flush(&mut self) -> Vec<String> {
            positions(&self.answers.flush(Duration::ZERO).await.unwrap())
        }

        /// What Conduit was told so far: positions and reasons.
        fn told(&mut self) -> Vec<(String, String)> {
            let mut told = Vec::new();
            while let Ok(message) = self.messages.try_recv() {
                let acks = message.unwrap().acks;
                assert!(!acks.is_empty(), "a message says something");
                told.extend(acks.into_iter().map(|ack| (String::from_utf8(ack.position.to_vec()).unwrap(), ack.error)));
            }
            told
        }
    }

    fn stored(n: usize) -> (String, String) {
        (format!("p{n}"), String::new())
    }

    fn refused(n: usize, reason: &str) -> (String, String) {
        (format!("p{n}"), reason.to_owned())
    }

    #[tokio::test]
    async fn a_fault_is_told_in_its_records_place_and_the_destination_never_gets_it() {
        let mut ends = ends(&[0, 2, 3, 5]);
        assert_eq!(ends.write(0..2).await, named([0]), "nothing is before it");
        assert_eq!(ends.write(2..6).await, named([]), "record 1 is");
        assert_eq!(ends.told(), [refused(0, "fault 0")]);
        assert_eq!(ends.flush().await, named(1..6));
        let expected = [stored(1), refused(2, "fault 2"), refused(3, "fault 3"), stored(4), refused(5, "fault 5")];
        assert_eq!(ends.told(), expected);
        assert_eq!(ends.answers.destination.written, ["p1", "p4"]);
    }

    #[tokio::test]
    async fn a_refusal_of_the_destination_is_told_and_never_without_a_reason() {
        for (message, told) in [("too long", "too long"), ("", "the record was refused without a reason")] {
            let mut ends = ends(&[]);
            ends.answers.destination.refuses = Some(("p1".into(), invalid(message)));
            ends.write(0..3).await;
            assert_eq!(ends.flush().await, named(0..3));
            assert_eq!(ends.told(), [stored(0), refused(1, told), stored(2)]);
        }
    }

    #[tokio::test]
    async fn after_a_renewal_what_was_not_answered_is_written_again_and_answered_once() {
        // The last one was read, but not written yet.
        let mut ends = ends(&[1, 4, 6, 8]);
        ends.answers.destination.full = 3;
        assert_eq!(ends.write(0..5).await, named(0..5));
        ends.answers.destination.full = 0;
        assert_eq!(ends.write(5..7).await, named([]));
        ends.answers.destination.fails = Some(Error::new(ErrorKind::Unavailable, "away"));
        assert!(ends.answers.write(records(7..8)).await.is_err());
        assert!(ends.answers.renew().await.unwrap());
        assert_eq!(ends.answers.destination.renewals, 1);
        ends.answers.destination.written.clear();
        assert_eq!(ends.write(5..8).await, named([]));
        assert_eq!(ends.write(8..10).await, named([]));
        assert_eq!(ends.flush().await, named(5..10));
        assert_eq!(ends.answers.destination.written, ["p5", "p7", "p9"]);
        let told = ends.told();
        let expected = [0, 2, 3, 5, 7, 9].map(stored).into_iter();
        let faults = [1, 4, 6, 8].map(|n| refused(n, &format!("fault {n}")));
        let mut expected: Vec<_> = expected.chain(faults).collect();
        expected.sort();
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn a_decoder_in_trouble_leaves_faults_with_their_records() {
        let mut ends = ends(&[0, 2]);
        let mut written = records(0..3);
        written[1].payload.after = Some(Data::Raw("x".into()));
        written[1].metadata = [("opencdc.payload.schema.subject", "rows"), ("opencdc.payload.schema.version", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let error = ends.answers.write(written).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(ends.told().is_empty());
        ends.answers.renew().await.unwrap();
        ends.write(0..3).await;
        ends.flush().await;
        assert_eq!(ends.told(), [refused(0, "fault 0"), stored(1), refused(2, "fault 2")]);
    }

    #[tokio::test]
    async fn an_ack_out_of_order_is_a_bug_of_the_destination() {
        for swapped in [true, false] {
            let mut ends = ends(&[]);
            ends.write(0..2).await;
            let held = &mut ends.answers.destination.held;
            if swapped {
                held.swap(0, 1);
            } else {
                held.push_back("p2".into());
            }
            assert_eq!(ends.answers.flush(Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Internal);
        }
    }

    #[tokio::test]
    async fn it_is_flushed_only_where_conduit_waits() {
        let (mut ends, now) = (ends(&[]), Instant::now());
        ends.answers.pace().received(1, now);
        ends.answers.pace().received(1, now);
        assert_eq!(ends.write(0..2).await, named([]), "records come one by one");
        assert_eq!(ends.write(2..2).await, named([]), "nor at a tick");
        assert_eq!(ends.answers.destination.flushes, 0);
        ends.answers.pace().received(3, now);
        assert_eq!(ends.write(2..4).await, named([]), "the batch is not complete");
        assert_eq!(ends.write(4..5).await, named(0..5));
        assert_eq!(ends.answers.destination.flushes, 1);
        ends.answers.destination.full = 2;
        ends.answers.pace().received(3, now);
        assert_eq!(ends.write(5..8).await, named(5..8));
        assert_eq!(ends.answers.destination.flushes, 1, "acks have come without");
    }

    #[tokio::test]
    async fn a_flush_comes_only_after_the_pipeline_has_what_conduit_was_told() {
        let mut ends = ends(&[0]);
        ends.answers.pace().received(2, Instant::now());
        assert_eq!(ends.write(0..2).await, named([0]));
        assert_eq!(ends.answers.destination.flushes, 0);
        assert_eq!(ends.write(2..2).await, named([1]));
        assert_eq!(ends.answers.destination.flushes, 1);
    }

    #[tokio::test]
    async fn without_conduit_there_is_nothing_to_go_on_for() {
        let mut ends = ends(&[]);
        ends.write(0..1).await;
        ends.messages.close();
        assert_eq!(ends.answers.flush(Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Closed);
    }
}
