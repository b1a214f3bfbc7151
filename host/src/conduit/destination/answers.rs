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
