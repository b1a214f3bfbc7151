//! Owns the choice between the formats of objects. Leaves their encoding to `json` and `parquet`.

use super::{json, parquet};
use crate::config::FormatName;
use crate::error::Result;
use crate::payload::Payload;
use crate::record::{NoBody, Record};

/// A batch being encoded.
#[derive(Debug)]
pub(super) enum Encoder {
    /// As JSON lines.
    Json(json::Encoder),
    /// As Parquet.
    Parquet(Box<parquet::Encoder>),
}

impl Encoder {
    /// Starts a batch.
    pub(super) fn new(format: FormatName) -> Self {
        match format {
            FormatName::Json => Self::Json(json::Encoder::default()),
            FormatName::Parquet => Self::Parquet(Box::default()),
        }
    }

    /// Takes the next record.
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

/// The memory that a record takes at most, from when it is in a batch until that is stored.
pub(super) fn held_bytes(format: FormatName, record: &Record<NoBody>) -> u64 {
    match format {
        FormatName::Json => json::held_bytes(record),
        FormatName::Parquet => parquet::held_bytes(record),
    }
}

/// The extension of objects of the format, without the dot.
pub(super) fn extension(format: FormatName) -> &'static str {
    match format {
        FormatName::Json => "json",
        FormatName::Parquet => "parquet",
    }
}

/// The media type of the format.
pub(super) fn content_type(format: FormatName) -> &'static str {
    match format {
        FormatName::Json => "application/x-ndjson",
        // Registered with IANA in 2024.
        FormatName::Parquet => "application/vnd.apache.parquet",
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
