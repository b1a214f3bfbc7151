//! Owns the endpoints of a pipeline from a file: the plugin that the file names, with the connector's id in every error.
//! Leaves moving records to `pipeline`.

use std::time::Duration;

use s3_connector_host::pipeline::{FileInput, FileOutput, Input, LogOutput, Output};
use s3_connector_host::{Ack, Destination, Error, Progress, Record, Result, Source, Tally};

/// Where a pipeline's records come from.
pub(super) struct NamedInput {
    /// Its name in errors.
    pub(super) name: String,
    /// The plugin.
    pub(super) input: AnyInput,
}

/// A source of any plugin.
#[expect(clippy::large_enum_variant, reason = "a pipeline has one, for as long as it runs")]
pub(super) enum AnyInput {
    S3(Source),
    File(FileInput),
}

/// Where a pipeline's records go.
pub(super) struct NamedOutput {
    /// Its name in errors.
    pub(super) name: String,
    /// The plugin.
    pub(super) output: AnyOutput,
}

/// A destination of any plugin.
#[expect(clippy::large_enum_variant, reason = "a pipeline has one, for as long as it runs")]
pub(super) enum AnyOutput {
    S3(Destination),
    File(FileOutput),
    /// For dead letters only.
    Log(LogOutput),
}

impl AnyInput {
    /// What is counted of it, if it is the component's.
    pub(super) fn tally(&self) -> Option<Tally> {
        match self {
            Self::S3(source) => Some(source.tally()),
            Self::File(_) => None,
        }
    }
}

impl NamedOutput {
    /// What is counted of it, if it is the component's.
    pub(super) fn tally(&self) -> Option<Tally> {
        match &self.output {
            AnyOutput::S3(destination) => Some(destination.tally()),
            AnyOutput::File(_) | AnyOutput::Log(_) => None,
        }
    }
}

fn name(name: &str, error: Error) -> Error {
    error.context(name)
}

#[deny(clippy::missing_trait_methods)]
impl Input for NamedInput {
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        let done = match &mut self.input {
            AnyInput::S3(source) => source.open(position).await,
            AnyInput::File(file) => file.open(position).await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        let done = match &mut self.input {
            AnyInput::S3(source) => Input::read(source, records_max, wait).await,
            AnyInput::File(file) => file.read(records_max, wait).await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn ack(&mut self, position: &[u8]) -> Result<()> {
        let done = match &mut self.input {
            AnyInput::S3(source) => source.ack(position).await,
            AnyInput::File(file) => file.ack(position).await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn progress(&mut self) -> Result<Progress> {
        let done = match &mut self.input {
            AnyInput::S3(source) => source.progress().await,
            AnyInput::File(file) => file.progress().await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn teardown(&mut self) -> Result<()> {
        let done = match &mut self.input {
            AnyInput::S3(source) => source.teardown().await,
            AnyInput::File(file) => file.teardown().await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn renew(&mut self) -> Result<()> {
        let done = match &mut self.input {
            AnyInput::S3(source) => source.renew().await,
            AnyInput::File(file) => file.renew().await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    fn is_repeatable(&self) -> bool {
        match &self.input {
            AnyInput::S3(source) => source.is_repeatable(),
            AnyInput::File(file) => file.is_repeatable(),
        }
    }

    fn failing_for(&self) -> Option<Duration> {
        match &self.input {
            AnyInput::S3(source) => source.failing_for(),
            AnyInput::File(file) => file.failing_for(),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Output for NamedOutput {
    async fn open(&mut self) -> Result<()> {
        let done = match &mut self.output {
            AnyOutput::S3(destination) => destination.open().await,
            AnyOutput::File(file) => file.open().await,
            AnyOutput::Log(log) => log.open().await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let done = match &mut self.output {
            AnyOutput::S3(destination) => destination.write(records).await,
            AnyOutput::File(file) => file.write(records).await,
            AnyOutput::Log(log) => log.write(records).await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        let done = match &mut self.output {
            AnyOutput::S3(destination) => destination.flush(wait).await,
            AnyOutput::File(file) => file.flush(wait).await,
            AnyOutput::Log(log) => log.flush(wait).await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn teardown(&mut self) -> Result<()> {
        let done = match &mut self.output {
            AnyOutput::S3(destination) => destination.teardown().await,
            AnyOutput::File(file) => file.teardown().await,
            AnyOutput::Log(log) => log.teardown().await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    async fn renew(&mut self) -> Result<bool> {
        let done = match &mut self.output {
            AnyOutput::S3(destination) => Output::renew(destination).await,
            AnyOutput::File(file) => file.renew().await,
            AnyOutput::Log(log) => log.renew().await,
        };
        done.map_err(|error| name(&self.name, error))
    }

    fn can_renew(&self) -> bool {
        match &self.output {
            AnyOutput::S3(destination) => destination.can_renew(),
            AnyOutput::File(file) => file.can_renew(),
            AnyOutput::Log(log) => log.can_renew(),
        }
    }

    fn failing_for(&self) -> Option<Duration> {
        match &self.output {
            AnyOutput::S3(destination) => destination.failing_for(),
            AnyOutput::File(file) => file.failing_for(),
            AnyOutput::Log(log) => log.failing_for(),
        }
    }
}
