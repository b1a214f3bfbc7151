//! Owns what the world exports, in terms of the core: conversions, and the resources that hold the core's sources and
//! destinations. Leaves every decision to the core, and what the world imports to `wasi`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use ::wasi::http::types::IncomingBody;
use bytes::Bytes;

use crate::bindings::exports::opencdc::connector::{destination, source, specifier};
use crate::bindings::opencdc::connector::types;
use crate::config::{self, ParameterType, Settings, Validation};
use crate::destination::Destination;
use crate::error::{Error, ErrorKind};
use crate::record::{Change, Data, Operation, Places, Record};
use crate::source::Source;
use crate::wasi::{Body, WasiPorts, block_on, log_panics};

/// The functions that the world's exports are found by.
#[expect(unsafe_code, reason = "generated: the canonical ABI hands memory over by address")]
mod exports {
    use super::Component;
    crate::bindings::export!(Component with_types_in crate::bindings);
}

struct Component;

fn labels(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl specifier::Guest for Component {
    fn specify() -> specifier::Specification {
        log_panics();
        specifier::Specification {
            name: config::NAME.to_owned(),
            summary: config::SUMMARY.to_owned(),
            description: config::DESCRIPTION.to_owned(),
            version: config::VERSION.to_owned(),
            author: config::AUTHOR.to_owned(),
            source_parameters: config::source_parameters().map(parameter).collect(),
            destination_parameters: config::destination_parameters().map(parameter).collect(),
            labels: labels(config::LABELS),
        }
    }
}

fn parameter(parameter: config::Parameter) -> specifier::Parameter {
    specifier::Parameter {
        name: parameter.name.to_owned(),
        description: parameter.description,
        type_: match parameter.kind {
            ParameterType::String => specifier::ParameterType::String,
            ParameterType::Int => specifier::ParameterType::Int,
            ParameterType::Bool => specifier::ParameterType::Bool,
            ParameterType::Duration => specifier::ParameterType::Duration,
        },
        default: parameter.default.map(str::to_owned),
        secret: parameter.secret,
        validations: parameter
            .validations
            .into_iter()
            .map(|validation| match validation {
                Validation::Required => specifier::Validation::Required,
                Validation::GreaterThan(bound) => specifier::Validation::GreaterThan(bound),
                Validation::LessThan(bound) => specifier::Validation::LessThan(bound),
                Validation::Inclusion(allowed) => {
                    specifier::Validation::Inclusion(allowed.into_iter().map(str::to_owned).collect())
                }
                Validation::Regex(pattern) => specifier::Validation::Regex(pattern),
            })
            .collect(),
        labels: labels(parameter.labels),
    }
}

/// A source, and what its records' streams are parts of.
struct SourceResource(RefCell<SourceState>);

struct SourceState {
    source: Source<WasiPorts>,
    /// For each unacked record, the body that its stream is a part of: it must outlive the stream, which nothing
    /// here can see the end of. Dropping it earlier traps, so the contract has hosts drop the stream before they
    /// ack, and before they drop this. Bodies could outlive this too, by never being dropped; but each of them would
    /// hold its connection for as long as the instance lives, and nobody would notice.
    bodies: VecDeque<Option<IncomingBody>>,
    /// Bodies of records that the latest call acked. They are dropped in the next one, for hosts that ack first and
    /// drop their streams right after it.
    acked: Vec<IncomingBody>,
}

impl source::Guest for Component {
    type Source = SourceResource;
}

impl source::GuestSource for SourceResource {
    fn configure(settings: types::Settings) -> Result<source::Source, types::Error> {
        log_panics();
        let source = Source::configure(WasiPorts, &read_settings(settings)).map_err(write_error)?;
        let state = SourceState { source, bodies: VecDeque::new(), acked: Vec::new() };
        Ok(source::Source::new(Self(RefCell::new(state))))
    }

    fn open(&self, position: Option<types::Position>) -> Result<(), types::Error> {
        let mut state = self.0.borrow_mut();
        block_on(state.source.open(position.as_deref())).map_err(write_error)
    }

    fn read(&self, records_max: u32, bytes_max: u64, wait_ms: u64) -> Result<types::Batch, types::Error> {
        let mut state = self.0.borrow_mut();
        state.acked.clear();
        let wait = Duration::from_millis(wait_ms);
        let read = block_on(state.source.read(records_max as usize, bytes_max, wait));
        Ok(write_batch(read.map_err(write_error)?, &mut state.bodies))
    }

    fn ack(&self, position: types::Position) -> Result<(), types::Error> {
        let SourceState { source, bodies, acked } = &mut *self.0.borrow_mut();
        acked.clear();
        let count = source.ack(&position).map_err(write_error)?;
        acked.extend(bodies.drain(..count).flatten());
        Ok(())
    }

    fn progress(&self) -> source::Progress {
        let progress = self.0.borrow().source.progress();
        source::Progress {
            caught_up: progress.is_caught_up,
            counters: progress.counts.iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }

    fn teardown(&self) -> Result<(), types::Error> {
        self.0.borrow_mut().source.teardown();
        Ok(())
    }
}

struct DestinationResource(RefCell<Destination<WasiPorts>>);

impl destination::Guest for Component {
    type Destination = DestinationResource;
}

impl destination::GuestDestination for DestinationResource {
    fn configure(settings: types::Settings) -> Result<destination::Destination, types::Error> {
        log_panics();
        let destination = Destination::configure(WasiPorts, &read_settings(settings)).map_err(write_error)?;
        Ok(destination::Destination::new(Self(RefCell::new(destination))))
    }

    fn open(&self) -> Result<(), types::Error> {
        block_on(self.0.borrow_mut().open()).map_err(write_error)
    }

    fn write(&self, batch: types::Batch) -> Result<Vec<destination::Ack>, types::Error> {
        let records = read_batch(batch).map_err(write_error)?;
        let acks = block_on(self.0.borrow_mut().write(records)).map_err(write_error)?;
        Ok(acks.into_iter().map(write_ack).collect())
    }

    fn flush(&self, wait_ms: u64) -> Result<Vec<destination::Ack>, types::Error> {
        let acks = block_on(self.0.borrow_mut().flush(Duration::from_millis(wait_ms)));
        Ok(acks.map_err(write_error)?.into_iter().map(write_ack).collect())
    }

    fn teardown(&self) -> Result<(), types::Error> {
        block_on(self.0.borrow_mut().teardown()).map_err(write_error)
    }
}

fn read_settings(settings: types::Settings) -> Settings {
    settings.into_iter().collect()
}

fn write_error(error: Error) -> types::Error {
    types::Error {
        kind: match error.kind {
            ErrorKind::Invalid => types::ErrorKind::Invalid,
            ErrorKind::Unavailable => types::ErrorKind::Unavailable,
            ErrorKind::Denied => types::ErrorKind::Denied,
            ErrorKind::Corrupt => types::ErrorKind::Corrupt,
            ErrorKind::Closed => types::ErrorKind::Closed,
            ErrorKind::Internal => types::ErrorKind::Internal,
        },
        message: error.message,
        retry_after_ms: error.retry_after_ms,
    }
}

fn write_ack(ack: crate::destination::Ack) -> destination::Ack {
    destination::Ack { position: ack.position.into(), error: ack.error.map(write_error) }
}

/// Records as the host gets them. What their streams are parts of, one for each record, is added to `bodies`.
fn write_batch(records: Vec<Record<Body>>, bodies: &mut VecDeque<Option<IncomingBody>>) -> types::Batch {
    let mut places = Places::default();
    let records = records.into_iter().map(|record| {
        let (record, body) = write_record(record, &mut places);
        bodies.push_back(body);
        record
    });
    types::Batch { records: records.collect(), common: places.into_texts() }
}

/// The record as the host gets it, and what its stream is a part of.
fn write_record(record: Record<Body>, places: &mut Places) -> (types::Record, Option<IncomingBody>) {
    let (metadata, common) = places.split(record.metadata);
    let mut parent = None;
    let mut write = |data| match data {
        Data::Raw(bytes) => types::Data::Raw(bytes.into()),
        Data::Structured(text) => types::Data::Structured(text),
        Data::Body { length, bytes } => {
            let (stream, body): (_, Option<IncomingBody>) = Body::into_parts(bytes);
            parent = body;
            types::Data::Body(types::Body { length, bytes: stream })
        }
    };
    let written = types::Record {
        key: record.key.map(&mut write),
        payload: types::Change {
            before: record.payload.before.map(&mut write),
            after: record.payload.after.map(&mut write),
        },
        position: record.position.into(),
        operation: match record.operation {
            Operation::Create => types::Operation::Create,
            Operation::Update => types::Operation::Update,
            Operation::Delete => types::Operation::Delete,
            Operation::Snapshot => types::Operation::Snapshot,
        },
        metadata,
        common,
    };
    (written, parent)
}

fn read_batch(batch: types::Batch) -> Result<Vec<Record<Body>>, Error> {
    let places = Places::of(batch.common);
    batch.records.into_iter().map(|record| read_record(record, &places)).collect()
}

fn read_record(record: types::Record, places: &Places) -> Result<Record<Body>, Error> {
    let common = record.common;
    let metadata = places.join(common, record.metadata).ok_or_else(|| {
        Error::invalid(format!("a record's `common` is {}, which its batch lacks", common.unwrap_or_default()))
    })?;
    let read = |data| match data {
        types::Data::Raw(bytes) => Data::Raw(Bytes::from(bytes)),
        types::Data::Structured(text) => Data::Structured(text),
        types::Data::Body(body) => Data::Body { length: body.length, bytes: Body::of_stream(body.bytes) },
    };
    Ok(Record {
        position: Bytes::from(record.position),
        operation: match record.operation {
            types::Operation::Create => Operation::Create,
            types::Operation::Update => Operation::Update,
            types::Operation::Delete => Operation::Delete,
            types::Operation::Snapshot => Operation::Snapshot,
        },
        metadata,
        key: record.key.map(read),
        payload: Change { before: record.payload.before.map(read), after: record.payload.after.map(read) },
    })
}
