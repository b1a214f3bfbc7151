//! Records on the host's side: the connector's own, with bodies that are streams of the host.
//!
//! A body's bytes stay where the egress put them until somebody reads them here, or until the destination's
//! instance gets the stream. The text form of records is `s3_connector::record::json`.

mod counted;

use std::fmt;

use bytes::{Bytes, BytesMut};
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{DynInputStream, StreamError};

pub use s3_connector::record::{Change, Metadata, NoBody, Operation, Places, json};

use self::counted::{Mismatch, counted};
use crate::bindings::types;
use crate::error::{Error, ErrorKind, Result};

/// One OpenCDC record; its payload may be on its way still.
pub type Record = s3_connector::record::Record<Body>;

/// A key or a payload of a [`Record`].
pub type Data = s3_connector::record::Data<Body>;

/// Bytes on their way from the store. Read them, hand them to a destination, or drop them.
pub struct Body {
    stream: DynInputStream,
}

/// Bytes of a body taken at a time.
const READ_BYTES: usize = 1 << 20;

impl Body {
    /// A body for tests.
    #[cfg(test)]
    pub(crate) fn from_stream(stream: DynInputStream) -> Self {
        Self { stream }
    }

    /// A body of this length, where it is known: what comes is counted.
    fn new(stream: DynInputStream, length: Option<u64>) -> Self {
        Self { stream: counted(stream, length) }
    }

    /// Reads the next bytes; none at the end.
    ///
    /// # Errors
    ///
    /// `Unavailable` where the body broke and could not be resumed, `Corrupt` where it is not as long as its record
    /// says. Bytes that came are right.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.stream.read(READ_BYTES) {
                Ok(bytes) if bytes.is_empty() => self.stream.ready().await,
                Ok(bytes) => return Ok(Some(bytes)),
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(error) | StreamError::Trap(error)) => {
                    if let Some(mismatch) = error.downcast_ref::<Mismatch>() {
                        return Err(Error::new(ErrorKind::Corrupt, mismatch.to_string()));
                    }
                    let message = format!("a body broke off: {error:#}");
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
            }
        }
    }

    /// Reads all bytes into memory.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Bytes> {
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.next().await? else {
            return Ok(first);
        };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(more) = self.next().await? {
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body(..)")
    }
}

/// Reads whatever is a body into memory, so that the record can be kept, compared or written as text.
///
/// # Errors
///
/// As [`Body::next`].
pub async fn collect(record: Record) -> Result<s3_connector::record::Record<NoBody>> {
    record.read_bodies(|_, _, body| body.collect()).await
}

/// The same record again; `None` where a body of it can be read only once.
pub(crate) fn copy(record: &Record) -> Option<Record> {
    let data = |data: &Option<Data>| match data {
        None => Some(None),
        Some(Data::Raw(bytes)) => Some(Some(Data::Raw(bytes.clone()))),
        Some(Data::Structured(text)) => Some(Some(Data::Structured(text.clone()))),
        Some(Data::Body { .. }) => None,
    };
    Some(Record {
        position: record.position.clone(),
        operation: record.operation,
        metadata: record.metadata.clone(),
        key: data(&record.key)?,
        payload: Change { before: data(&record.payload.before)?, after: data(&record.payload.after)? },
    })
}

/// A record whose data are all in memory, as one that may hold bodies.
pub fn from_memory(record: s3_connector::record::Record<NoBody>) -> Record {
    record.widen()
}

/// Takes records out of an instance: their streams leave the instance's table.
pub(crate) fn lift(batch: types::Batch, table: &mut ResourceTable) -> Result<Vec<Record>> {
    let places = Places::of(batch.common);
    batch.records.into_iter().map(|record| lift_record(record, &places, table)).collect()
}

fn lift_record(record: types::Record, places: &Places, table: &mut ResourceTable) -> Result<Record> {
    let metadata = places.join(record.common, record.metadata);
    let lacks = || Error::new(ErrorKind::Internal, "a record's common metadata are not in its batch");
    let metadata = metadata.ok_or_else(lacks)?;
    let mut lift = |data: Option<types::Data>| -> Result<Option<Data>> {
        match data {
            None => Ok(None),
            Some(types::Data::Raw(bytes)) => Ok(Some(Data::Raw(Bytes::from(bytes)))),
            Some(types::Data::Structured(text)) => Ok(Some(Data::Structured(text))),
            Some(types::Data::Body(body)) => {
                let stream = table.delete(body.bytes).map_err(|error| {
                    let message = format!("a record's body is no stream of its source: {error}");
                    Error::new(ErrorKind::Internal, message)
                })?;
                Ok(Some(Data::Body { length: body.length, bytes: Body::new(stream, body.length) }))
            }
        }
    };
    Ok(Record {
        key: lift(record.key)?,
        payload: Change { before: lift(record.payload.before)?, after: lift(record.payload.after)? },
        position: Bytes::from(record.position),
        operation: match record.operation {
            types::Operation::Create => Operation::Create,
            types::Operation::Update => Operation::Update,
            types::Operation::Delete => Operation::Delete,
            types::Operation::Snapshot => Operation::Snapshot,
        },
        metadata,
    })
}

/// Bytes of a record of an instance that came with it alone, not by stream.
pub(crate) fn inline_bytes(record: &types::Record) -> u64 {
    let data = [&record.key, &record.payload.before, &record.payload.after];
    let data = data.into_iter().flatten().map(|data| match data {
        types::Data::Raw(bytes) => bytes.len(),
        types::Data::Structured(text) => text.len(),
        types::Data::Body(_) => 0,
    });
    (record.position.len() + data.sum::<usize>()) as u64 + metadata_bytes(&record.metadata)
}

/// Bytes of names and values.
pub(crate) fn metadata_bytes(metadata: &[(String, String)]) -> u64 {
    metadata.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
}

/// Raw bytes of a payload above this go by handle, so that the instance takes them in as it has room for them.
const RAW_BYTES_MAX: usize = 1 << 20;

/// Bytes that [`lower`] puts into an instance's memory.
pub(crate) fn lowered_bytes(record: &Record) -> usize {
    let bytes = |data: &Option<Data>, raw_bytes_max| match data {
        Some(Data::Raw(bytes)) if bytes.len() <= raw_bytes_max => bytes.len(),
        Some(Data::Structured(text)) => text.len(),
        _ => 0,
    };
    record.position.len()
        + usize::try_from(record.metadata.bytes()).unwrap_or(usize::MAX)
        + bytes(&record.key, usize::MAX)
        + bytes(&record.payload.before, RAW_BYTES_MAX)
        + bytes(&record.payload.after, RAW_BYTES_MAX)
}

/// Raw data that are too large to be handed over at once, as a body.
fn by_handle(data: Option<Data>) -> Option<Data> {
    match data {
        Some(Data::Raw(bytes)) if bytes.len() > RAW_BYTES_MAX => Some(Data::Body {
            length: Some(bytes.len() as u64),
            bytes: Body { stream: Box::new(MemoryInputPipe::new(bytes)) },
        }),
        other => other,
    }
}

/// Gives records to an instance: their streams enter the instance's table.
pub(crate) fn lower(records: Vec<Record>, table: &mut ResourceTable) -> Result<types::Batch> {
    let mut places = Places::default();
    let records = records.into_iter().map(|record| lower_record(record, &mut places, table)).collect::<Result<_>>()?;
    Ok(types::Batch { records, common: places.into_texts() })
}

fn lower_record(record: Record, places: &mut Places, table: &mut ResourceTable) -> Result<types::Record> {
    let (metadata, common) = places.split(record.metadata);
    let mut lower = |data: Option<Data>| -> Result<Option<types::Data>> {
        match data {
            None => Ok(None),
            Some(Data::Raw(bytes)) => Ok(Some(types::Data::Raw(bytes.into()))),
            Some(Data::Structured(text)) => Ok(Some(types::Data::Structured(text))),
            Some(Data::Body { length, bytes }) => {
                let stream: Resource<DynInputStream> = table.push(bytes.stream).map_err(|error| {
                    Error::new(ErrorKind::Internal, format!("no room for a record's body: {error}"))
                })?;
                Ok(Some(types::Data::Body(types::Body { length, bytes: stream })))
            }
        }
    };
    Ok(types::Record {
        key: lower(record.key)?,
        payload: types::Change {
            before: lower(by_handle(record.payload.before))?,
            after: lower(by_handle(record.payload.after))?,
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
    })
}
