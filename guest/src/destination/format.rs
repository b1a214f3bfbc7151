//! Owns how batches become objects: the format, with all that the settings say of it. Leaves their encoding to `json` and
//! `parquet`.

use std::rc::Rc;

use super::{json, parquet};
use crate::config::FormatName;
use crate::error::Result;
use crate::payload::Payload;
use crate::record::{NoBody, Record};

/// What a destination makes of batches. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Files(Rc<Plan>);

#[derive(Debug)]
enum Plan {
    /// Records as JSON lines.
    Json,
    /// Records as Parquet.
    Parquet,
}

impl Files {
    /// Makes objects of this format.
    pub(super) fn new(format: FormatName) -> Self {
        Self(Rc::new(match format {
            FormatName::Json => Plan::Json,
            FormatName::Parquet => Plan::Parquet,
        }))
    }

    /// Starts a batch.
    pub(super) fn encoder(&self) -> Encoder {
        match *self.0 {
            Plan::Json => Encoder::Json(json::Encoder::default()),
            Plan::Parquet => Encoder::Parquet(Box::default()),
        }
    }

    /// Whether a record's `payload.after` can be stored while it arrives. JSON can be written in pieces; a page of Parquet
    /// is in memory as a whole.
    pub(super) fn can_stream(&self) -> bool {
        match *self.0 {
            Plan::Json => true,
            Plan::Parquet => false,
        }
    }

    /// The memory that a record takes at most, from when it is in a batch until that is stored.
    pub(super) fn held_bytes(&self, record: &Record<NoBody>) -> u64 {
        match *self.0 {
            Plan::Json => json::held_bytes(record),
            Plan::Parquet => parquet::held_bytes(record),
        }
    }

    /// The extension of objects, without the dot.
    pub(super) fn extension(&self) -> &'static str {
        match *self.0 {
            Plan::Json => "json",
            Plan::Parquet => "parquet",
        }
    }

    /// The media type of objects.
    pub(super) fn content_type(&self) -> &'static str {
        match *self.0 {
            Plan::Json => "application/x-ndjson",
            // Registered with IANA in 2024.
            Plan::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// A batch being encoded.
#[derive(Debug)]
pub(super) enum Encoder {
    /// As JSON lines.
    Json(json::Encoder),
    /// As Parquet.
    Parquet(Box<parquet::Encoder>),
}

impl Encoder {
    /// Takes the next record, of which [`Files::held_bytes`] was told.
    pub(super) fn push(&mut self, record: Record<NoBody>) {
        match self {
            Self::Json(encoder) => encoder.push(&record),
            Self::Parquet(encoder) => encoder.push(record),
        }
    }

    /// Ends the batch and returns the object.
    ///
    /// # Errors
    ///
    /// `internal` where a format can't be written, which no record should be able to cause.
    pub(super) fn finish(self) -> Result<Payload> {
        match self {
            Self::Json(encoder) => Ok(encoder.finish()),
            Self::Parquet(encoder) => encoder.finish(),
        }
    }
}

/// Records of every shape, which must read back unchanged from each format.
#[cfg(test)]
pub(super) fn samples() -> Vec<Record<NoBody>> {
    use bytes::Bytes;

    use crate::record::{Change, Data, Metadata, Operation};

    let every_byte: Vec<u8> = (0..=255).collect();
    let raw = |bytes: &[u8]| Some(Data::Raw(Bytes::copy_from_slice(bytes)));
    let structured = |text: &str| Some(Data::Structured(text.to_owned()));
    let metadata = |pairs: &[(&str, &str)]| -> Metadata {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    let record = |position: &[u8], operation, metadata, key, before, after| Record {
        position: Bytes::copy_from_slice(position),
        operation,
        metadata,
        key,
        payload: Change { before, after },
    };
    let odd = metadata(&[("", ""), ("a\"\n", "\u{0}é😀"), ("opencdc.readAt", "1")]);
    vec![
        record(&every_byte, Operation::Create, odd, raw(b"\xff\xfe"), None, raw(&every_byte)),
        record(b"", Operation::Snapshot, metadata(&[]), None, None, None),
        record(b"d", Operation::Delete, metadata(&[("a", "b")]), raw(b"k"), raw(b"old"), None),
        record(b"e", Operation::Update, metadata(&[]), raw(b""), raw(b""), raw(b"")),
        record(
            b"s",
            Operation::Update,
            metadata(&[("a", "b")]),
            structured("{\"id\":1e400}"),
            structured("{}"),
            structured("{\"a\":[null,\"\\ud800\",12345678901234567890]}"),
        ),
        record(b"big", Operation::Create, metadata(&[]), raw(b"k"), None, raw(&[7; 3 << 20])),
    ]
}
