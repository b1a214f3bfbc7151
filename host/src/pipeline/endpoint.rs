//! The two ends of a pipeline: where records come from and where they go. The connector's own ends are here;
//! files and streams of lines are next door. When an end is called is the pipeline's business.

use std::time::Duration;

use crate::connector::destination::{Ack, Destination};
use crate::connector::source::{Progress, Source};
use crate::error::Result;
use crate::record::Record;

/// Where records come from.
///
/// Calls come one after the other and are never cut off half way, unless the pipeline gives the input up.
pub trait Input: Send + 'static {
    /// Goes on behind `position`, or begins.
    fn open(&mut self, position: Option<&[u8]>) -> impl Future<Output = Result<()>> + Send;

    /// At most `records_max` records in order; waits at most `wait` for the first, and none may have come by
    /// then. Nothing at the end of an input that has one.
    fn read(&mut self, records_max: u32, wait: Duration) -> impl Future<Output = Result<Option<Vec<Record>>>> + Send;

    /// Takes note that the record at `position` and all before it are dealt with, and that the position is kept.
    fn ack(&mut self, position: &[u8]) -> impl Future<Output = Result<()>> + Send;

    /// How far the input has come.
    fn progress(&mut self) -> impl Future<Output = Result<Progress>> + Send;

    /// Ends the input.
    fn teardown(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Makes the input as if it had never been opened, with a new instance and keys that are looked up again: it is
    /// opened next, behind the last position that was kept. Called after a failure of either end.
    fn renew(&mut self) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Whether what was handed out and not acked can be read again. Of an input that can be read only once, such as a
    /// stream, the pipeline keeps the records that are not acked; it is never renewed, and its own failures are final.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// How long what is behind it has been failing, where it knows: an outage is older than the failure that tells of
    /// it.
    fn failing_for(&self) -> Option<Duration> {
        None
    }
}

/// Where records go.
///
/// Calls come one after the other and are never cut off half way, unless the pipeline gives the output up.
/// Every record is acked once, in the order of writing, when it is stored.
pub trait Output: Send + 'static {
    /// Checks that what is behind it is there.
    fn open(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Takes records and returns the acks that are there. Without records it is a tick.
    fn write(&mut self, records: Vec<Record>) -> impl Future<Output = Result<Vec<Ack>>> + Send;

    /// Stores what it holds, and waits at most `wait` for acks.
    fn flush(&mut self, wait: Duration) -> impl Future<Output = Result<Vec<Ack>>> + Send;

    /// Ends the output; what was not flushed is dropped.
    fn teardown(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Makes the output as if it had never been opened, with a new instance and keys that are looked up again: it is
    /// opened next, and what was not acked is written again. Called after a failure of either end. False where there
    /// is no going on, such as behind a line that broke off: then the failure is final.
    fn renew(&mut self) -> impl Future<Output = Result<bool>> + Send {
        std::future::ready(Ok(true))
    }

    /// Whether [`renew`](Self::renew) could go on after the last failure, as far as is known: where it can't, the
    /// failure is no outage.
    fn can_renew(&self) -> bool {
        true
    }

    /// How long what is behind it has been failing, where it knows: an outage is older than the failure that tells of
    /// it.
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
