//! Owns the traits of a pipeline's two endpoints, where records come from and where they go, and the connector's
//! implementations. Leaves files and streams of lines to `file` and `json_lines`, and when to call what to `tasks`.

use std::time::Duration;

use crate::connector::destination::{Ack, Destination};
use crate::connector::source::{Progress, Source};
use crate::error::Result;
use crate::record::Record;

/// Where records come from.
///
/// Calls come one after the other. None is dropped halfway, unless the pipeline abandons the input.
pub trait Input: Send + 'static {
    /// Resumes after `position`; without one, begins.
    fn open(&mut self, position: Option<&[u8]>) -> impl Future<Output = Result<()>> + Send;

    /// At most `records_max` records, in order. Waits at most `wait` for the first, and returns no records if none came.
    /// `None` at the end of an input that has one.
    fn read(&mut self, records_max: u32, wait: Duration) -> impl Future<Output = Result<Option<Vec<Record>>>> + Send;

    /// Called after the record at `position` and all records before it are acked and the position is saved.
    fn ack(&mut self, position: &[u8]) -> impl Future<Output = Result<()>> + Send;

    /// How far the input has come.
    fn progress(&mut self) -> impl Future<Output = Result<Progress>> + Send;

    /// Tears the input down.
    fn teardown(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Recreates the input as if it had never been opened, with a new instance and with keys that are looked up again.
    /// Called after a failure of either endpoint; [`open`](Self::open) follows, with the last saved position.
    fn renew(&mut self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Whether records that were returned and not acked can be read again. For an input that can be read only once, such
    /// as a stream, the pipeline keeps the records that are not acked; it is never renewed, and its own failures are
    /// final.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// How long its store has been failing, if known: an outage begins before the failure that reports it.
    fn failing_for(&self) -> Option<Duration> {
        None
    }
}

/// Where records go.
///
/// Calls come one after the other. None is dropped halfway, unless the pipeline abandons the output. It acks every record
/// once, in the order of writing, when the record is stored.
pub trait Output: Send + 'static {
    /// Checks that its store is reachable.
    fn open(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Takes records and returns the acks that are available. Without records, it is a tick.
    fn write(&mut self, records: Vec<Record>) -> impl Future<Output = Result<Vec<Ack>>> + Send;

    /// Stores the records that it holds, and waits at most `wait` for acks.
    fn flush(&mut self, wait: Duration) -> impl Future<Output = Result<Vec<Ack>>> + Send;

    /// Tears the output down; records that were not flushed are dropped.
    fn teardown(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Recreates the output as if it had never been opened, with a new instance and with keys that are looked up again.
    /// Called after a failure of either endpoint; [`open`](Self::open) follows, and records that were not acked are
    /// written again. False if it can't continue, as after a line that broke off: the failure is then final.
    fn renew(&mut self) -> impl Future<Output = Result<bool>> + Send {
        std::future::ready(Ok(true))
    }

    /// Whether [`renew`](Self::renew) could continue after the last failure, as far as is known. If not, the failure is no
    /// outage.
    fn can_renew(&self) -> bool {
        true
    }

    /// How long its store has been failing, if known: an outage begins before the failure that reports it.
    fn failing_for(&self) -> Option<Duration> {
        None
    }
}

impl Input for Source {
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        Self::open(self, position).await
    }

    async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        Self::read(self, records_max, wait).await.map(Some)
    }

    async fn ack(&mut self, position: &[u8]) -> Result<()> {
        Self::ack(self, position).await
    }

    async fn progress(&mut self) -> Result<Progress> {
        Self::progress(self).await
    }

    async fn teardown(&mut self) -> Result<()> {
        Self::teardown(self).await
    }

    async fn renew(&mut self) -> Result<()> {
        Self::renew(self).await
    }

    fn failing_for(&self) -> Option<Duration> {
        Self::failing_for(self)
    }
}

impl Output for Destination {
    async fn open(&mut self) -> Result<()> {
        Self::open(self).await
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        Self::write(self, records).await
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        Self::flush(self, wait).await
    }

    async fn teardown(&mut self) -> Result<()> {
        Self::teardown(self).await
    }
    async fn renew(&mut self) -> Result<bool> {
        Self::renew(self).await.map(|()| true)
    }

    fn failing_for(&self) -> Option<Duration> {
        Self::failing_for(self)
    }
}
