//! Owns the log as an endpoint of a pipeline, as in Conduit's built-in `log` plugin: a line per record. Leaves where the
//! log goes to the program. A line names the record, and for a dead letter the reason; payloads belong in no log.

use std::time::Duration;

use tracing::Level;

use super::endpoint::Output;
use crate::connector::destination::Ack;
use crate::error::Result;
use crate::record::Record;

/// Logs records, and acks them at once.
#[derive(Clone, Debug)]
pub struct LogOutput {
    level: Level,
    message: String,
}

impl LogOutput {
    /// Logs at this level, with this message.
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        Self { level, message: message.into() }
    }

    fn log(&self, record: &Record) {
        let message = &self.message;
        let position = String::from_utf8_lossy(&record.position);
        let operation = record.operation.as_str();
        let error = record.metadata.get("conduit.dlq.nack.error");
        match self.level {
            Level::ERROR => tracing::error!(?position, operation, error, "{message}"),
            Level::WARN => tracing::warn!(?position, operation, error, "{message}"),
            Level::INFO => tracing::info!(?position, operation, error, "{message}"),
            Level::DEBUG => tracing::debug!(?position, operation, error, "{message}"),
            Level::TRACE => tracing::trace!(?position, operation, error, "{message}"),
        }
    }
}

impl Output for LogOutput {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let ack = |record: Record| {
            self.log(&record);
            Ack { position: record.position, error: None }
        };
        Ok(records.into_iter().map(ack).collect())
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        Ok(Vec::new())
    }

    async fn teardown(&mut self) -> Result<()> {
        Ok(())
    }
}
