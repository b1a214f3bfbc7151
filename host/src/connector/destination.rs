//! Owns a destination of records: the contract's calls, typed. Leaves when to flush and what to do with acks to
//! `pipeline` or to the program that embeds this library.
//!
//! Calls go one after the other, since an instance runs one at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bindings::{Connector as Exports, destination};
use crate::connector::Connector;
use crate::connector::handle::{Handle, Origin};
use crate::connector::instance::InstanceOptions;
use crate::connector::settings::{Settings, Target};
use crate::credentials::Credentials;
use crate::egress::Traffic;
use crate::environment::InferredSetting;
use crate::error::{Error, Result};
use crate::record::{self, Record};
use crate::role::Role;
use crate::state::MemoryState;
use crate::tally::Tally;

/// A destination of records, which it writes into a bucket in batches.
///
/// # Examples
///
/// ```no_run
/// # async fn example(connector: s3_connector_host::Connector) -> s3_connector_host::Result<()> {
/// use std::time::Duration;
///
/// use s3_connector_host::record::{Change, Data, Metadata, Operation};
/// use s3_connector_host::{InstanceOptions, Record, Settings};
///
/// let settings = Settings::from([
///     ("aws.bucket".to_owned(), "lake".to_owned()),
///     ("format".to_owned(), "json".to_owned()),
/// ]);
/// let mut destination = connector.destination(settings, InstanceOptions::default()).await?;
/// destination.open().await?;
/// let record = Record {
///     position: "1".into(),
///     operation: Operation::Create,
///     metadata: Metadata::new(),
///     key: Some(Data::Raw("a".into())),
///     payload: Change { before: None, after: Some(Data::Structured(r#"{"size": 1}"#.to_owned())) },
/// };
/// let mut acks = destination.write(vec![record]).await?;
/// while acks.is_empty() {
///     acks = destination.flush(Duration::from_secs(1)).await?;
/// }
/// assert!(acks[0].error.is_none(), "it is stored");
/// # Ok(())
/// # }
/// ```
pub struct Destination {
    handle: Handle,
    /// What a call failed with whose records were given in several, after acks that had to be returned first.
    failed: Option<Error>,
}

/// Bytes of records that the component gets in one call, beside one record: each call is in its memory as it came.
const CALL_BYTES_MAX: usize = 16 << 20;

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The record's position.
    pub position: Bytes,
    /// Why it was not stored, if it was not, for a fault of its own.
    pub error: Option<Error>,
}

impl Connector {
    /// Makes a destination: as [`source`](Self::source).
    ///
    /// # Errors
    ///
    /// `Invalid`, naming every setting that is unknown, missing or malformed.
    pub async fn destination(&self, settings: Settings, mut options: InstanceOptions) -> Result<Destination> {
        options.state.get_or_insert_with(|| Arc::new(MemoryState::default()));
        Destination::configure(Origin { connector: self.clone(), settings, options, tally: Tally::default() }).await
    }
}

impl Destination {
    async fn configure(origin: Origin) -> Result<Self> {
        let configure = async |exports: &Exports, store: &mut _, settings: &_| {
            exports.opencdc_connector_destination().destination().call_configure(store, settings).await
        };
        let handle = Handle::configure(origin, Role::Destination, configure).await?;
        Ok(Self { handle, failed: None })
    }

    /// Checks the bucket.
    ///
    /// # Errors
    ///
    /// `Invalid` where the bucket does not exist, `Denied` where credentials are refused, `Unavailable` where
    /// the store does not answer.
    pub async fn open(&mut self) -> Result<()> {
        let open = async |exports: &Exports, store: &mut _, destination| {
            exports.opencdc_connector_destination().destination().call_open(store, destination).await
        };
        self.handle.call(open).await?;
        self.handle.opened();
        Ok(())
    }

    /// Takes records, sends batches that are full or old enough, and returns the acks that are there: in order,
    /// one for each record, maybe of an earlier call. Without records it is a tick.
    ///
    /// # Errors
    ///
    /// Whatever kept a batch from being stored. What was not acked must be written to a new destination.
    pub async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        self.check_health()?;
        let mut acks = Vec::new();
        for call in calls(records) {
            match self.write_in_one_call(call).await {
                Ok(more) => acks.extend(more),
                Err(error) if acks.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(acks)
    }

    async fn write_in_one_call(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let table = self.handle.table();
        let batch = record::lower(records, table)?;
        let write = async |exports: &Exports, store: &mut _, destination| {
            exports.opencdc_connector_destination().destination().call_write(store, destination, &batch).await
        };
        self.handle.call(write).await.map(|acks| self.lift(acks))
    }

    /// Sends what is buffered and waits at most `wait` for acks; call again while some are missing.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        self.check_health()?;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let flush = async |exports: &Exports, store: &mut _, destination| {
            exports.opencdc_connector_destination().destination().call_flush(store, destination, wait_ms).await
        };
        self.handle.call(flush).await.map(|acks| self.lift(acks))
    }

    /// Replaces this destination by a new one, made from the same settings, as if it had never been opened. The
    /// environment is read and credentials are looked up again; what was not acked must be written again.
    ///
    /// # Errors
    ///
    /// As [`Connector::destination`]. This one stays as it is.
    pub async fn renew(&mut self) -> Result<()> {
        *self = Self::configure(self.handle.origin().clone()).await?;
        Ok(())
    }

    /// The keys that requests are signed with.
    pub fn credentials(&self) -> &Credentials {
        self.handle.credentials()
    }

    /// Settings that were left out, and where they were found.
    pub fn inferred(&self) -> &[InferredSetting] {
        self.handle.inferred()
    }

    /// How long the store has given no answer that is of use; `None` where its last one was.
    pub fn failing_for(&self) -> Option<Duration> {
        self.handle.failing_for()
    }

    /// What is counted of it, while it is used and afterwards.
    pub fn tally(&self) -> Tally {
        self.handle.tally()
    }

    /// What went over the wire so far.
    pub fn traffic(&self) -> Traffic {
        self.handle.traffic()
    }

    /// Ends the destination; what was not flushed is dropped, unacked.
    ///
    /// # Errors
    ///
    /// Only if the instance is gone.
    pub async fn teardown(&mut self) -> Result<()> {
        let teardown = async |exports: &Exports, store: &mut _, destination| {
            exports.opencdc_connector_destination().destination().call_teardown(store, destination).await
        };
        self.handle.call(teardown).await
    }

    fn lift(&mut self, acks: Vec<destination::Ack>) -> Vec<Ack> {
        if acks.is_empty() {
            self.handle.settle();
        }
        acks.into_iter()
            .map(|ack| Ack { position: Bytes::from(ack.position), error: ack.error.map(Error::from) })
            .collect()
    }

    fn check_health(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    /// Where its settings lead.
    pub(crate) fn target(&self) -> &Target {
        self.handle.target()
    }
}

/// Records in the calls in which they are given; one call where there are none, which is a tick.
fn calls(records: Vec<Record>) -> Vec<Vec<Record>> {
    let (mut calls, mut bytes) = (vec![Vec::new()], 0);
    for record in records {
        let more = record::lowered_bytes(&record);
        if bytes > 0 && bytes + more > CALL_BYTES_MAX {
            calls.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        calls.last_mut().expect("there is one from the start").push(record);
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Change, Data, Operation};

    fn record(number: usize, after: Data) -> Record {
        Record {
            position: Bytes::from(number.to_string()),
            operation: Operation::Create,
            metadata: Default::default(),
            key: None,
            payload: Change { before: None, after: Some(after) },
        }
    }

    fn counts(records: Vec<Record>) -> Vec<usize> {
        calls(records).iter().map(Vec::len).collect()
    }

    #[test]
    fn records_are_given_in_calls_that_fit_into_memory() {
        let text = |bytes| Data::Structured("x".repeat(bytes));
        let raw = |bytes| Data::Raw(Bytes::from(vec![0; bytes]));
        assert_eq!(counts(Vec::new()), [0], "a tick");
        let small = (0..1000).map(|n| record(n, raw(100))).collect();
        assert_eq!(counts(small), [1000]);
        let mib = 1 << 20;
        let half = (0..5).map(|n| record(n, text(7 * mib))).collect();
        assert_eq!(counts(half), [2, 2, 1]);
        let large = [1, 60 * mib, 1, 1].into_iter().enumerate();
        let large = large.map(|(n, bytes)| record(n, text(bytes))).collect();
        assert_eq!(counts(large), [1, 1, 2]);
        // What goes by handle takes no room.
        let streamed = (0..9).map(|n| record(n, raw(10 * mib))).collect();
        assert_eq!(counts(streamed), [9]);
    }
}
