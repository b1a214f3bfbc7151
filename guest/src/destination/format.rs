//! Owns how batches become objects: the format, with all that the settings say of it. Leaves their encoding to `json`,
//! `parquet` and `table`.

use std::rc::Rc;

use super::key::Digester;
use super::table::Table;
use super::{compress, json, parquet};
use crate::config::{FormatName, TableConfig};
use crate::error::Result;
use crate::payload::Payload;
use crate::record::{NoBody, Record};
use crate::rows::Compression;

/// What a destination makes of batches. Clones share the columns of a table.
#[derive(Clone, Debug)]
pub(super) struct Files {
    plan: Plan,
    /// How it is compressed; `None` where the format is the one to say.
    compression: Option<Compression>,
}

#[derive(Clone, Debug)]
enum Plan {
    /// Records as JSON lines.
    Json,
    /// Records as Parquet.
    Parquet,
    /// Rows of a table.
    Table(Rc<Table>),
}

impl Files {
    /// Makes objects of this format, of payloads or of whole records, compressed so.
    ///
    /// # Errors
    ///
    /// Where columns contradict each other.
    pub(super) fn new(
        format: FormatName,
        payloads: Option<&TableConfig>,
        compression: Option<Compression>,
    ) -> Result<Self> {
        let plan = match (format, payloads) {
            (_, Some(config)) => Plan::Table(Rc::new(Table::of_payloads(format, config)?)),
            (FormatName::Json, None) => Plan::Json,
            (FormatName::Parquet, None) => Plan::Parquet,
            (FormatName::Csv | FormatName::Avro, None) => Plan::Table(Rc::new(Table::of_records(format)?)),
        };
        Ok(Self { plan, compression })
    }

    /// How an object is compressed as a whole. Parquet compresses its pages, and Avro its blocks.
    fn of_text(&self) -> Compression {
        match self.format() {
            FormatName::Json | FormatName::Csv => self.compression.unwrap_or_default(),
            FormatName::Parquet | FormatName::Avro => Compression::None,
        }
    }

    /// Starts a batch.
    pub(super) fn encoder(&self) -> Encoder {
        match &self.plan {
            Plan::Json => Encoder::Json(json::Encoder::new(self.of_text())),
            Plan::Parquet => Encoder::Parquet(Box::new(parquet::Encoder::new(self.compression))),
            Plan::Table(table) => Encoder::Rows(Rc::clone(table), self.clone(), Vec::new()),
        }
    }

    /// Starts the digest of a batch. Files of other parts of the same records have other names.
    pub(super) fn digester(&self) -> Digester {
        let tag = self.table().and_then(|table| table.tag());
        tag.map_or_else(Digester::new, |tag| Digester::rows(&tag))
    }

    /// Whether a record's `payload.after` can be stored while it arrives. JSON can be written in pieces, whose bytes are
    /// known before they come unless they are compressed; a page of Parquet is in memory as a whole, and so is a row.
    pub(super) fn can_stream(&self) -> bool {
        matches!(self.plan, Plan::Json) && self.of_text() == Compression::None
    }

    /// Checks that a record can be part of an object.
    ///
    /// # Errors
    ///
    /// `invalid`, with what is wrong with the record.
    pub(super) fn check(&self, record: &Record<NoBody>) -> Result<()> {
        self.table().map_or(Ok(()), |table| table.check(record))
    }

    /// The memory that a record takes at most, from when it is in a batch until that is stored.
    pub(super) fn held_bytes(&self, record: &Record<NoBody>) -> u64 {
        match &self.plan {
            Plan::Json => json::held_bytes(record),
            Plan::Parquet => parquet::held_bytes(record),
            Plan::Table(table) => table.held_bytes(record),
        }
    }

    /// The memory that a batch takes at most besides its records, while there are any. Files of rows are compressed at their
    /// end, one at a time.
    pub(super) fn fixed_bytes(&self) -> u64 {
        match &self.plan {
            Plan::Json => compress::held_bytes(self.of_text()),
            Plan::Parquet | Plan::Table(_) => 0,
        }
    }

    /// The extension of objects, without the dot.
    pub(super) fn extension(&self) -> &'static str {
        match (self.format(), self.of_text()) {
            (FormatName::Json, Compression::None) => "json",
            (FormatName::Json, Compression::Gzip) => "json.gz",
            (FormatName::Json, Compression::Zstd) => "json.zst",
            (FormatName::Json, Compression::Snappy) => "json.sz",
            (FormatName::Csv, Compression::None) => "csv",
            (FormatName::Csv, Compression::Gzip) => "csv.gz",
            (FormatName::Csv, Compression::Zstd) => "csv.zst",
            (FormatName::Csv, Compression::Snappy) => "csv.sz",
            (FormatName::Parquet, _) => "parquet",
            (FormatName::Avro, _) => "avro",
        }
    }

    /// The media type of objects.
    pub(super) fn content_type(&self) -> &'static str {
        if let Some(compressed) = compress::content_type(self.of_text()) {
            return compressed;
        }
        match self.format() {
            FormatName::Json => "application/x-ndjson",
            // Registered with IANA in 2024.
            FormatName::Parquet => "application/vnd.apache.parquet",
            FormatName::Csv => "text/csv; charset=utf-8; header=present",
            FormatName::Avro => "application/avro",
        }
    }

    fn format(&self) -> FormatName {
        match &self.plan {
            Plan::Json => FormatName::Json,
            Plan::Parquet => FormatName::Parquet,
            Plan::Table(table) => table.format(),
        }
    }

    fn table(&self) -> Option<&Rc<Table>> {
        match &self.plan {
            Plan::Table(table) => Some(table),
            Plan::Json | Plan::Parquet => None,
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
    /// As rows of which a file is made at the end, when all columns are known.
    Rows(Rc<Table>, Files, Vec<String>),
}

impl Encoder {
    /// Takes the next record, which was [checked](Files::check).
    pub(super) fn push(&mut self, record: Record<NoBody>) {
        match self {
            Self::Json(encoder) => encoder.push(&record),
            Self::Parquet(encoder) => encoder.push(record),
            Self::Rows(table, _, rows) => rows.push(table.row(record)),
        }
    }

    /// Ends the batch and returns the object.
    ///
    /// # Errors
    ///
    /// `internal` where a format can't be written, which no record should be able to cause.
    pub(super) fn finish(self) -> Result<Payload> {
        match self {
            Self::Json(encoder) => encoder.finish(),
            Self::Parquet(encoder) => encoder.finish(),
            Self::Rows(table, files, rows) => compress::whole(table.write(rows, files.compression)?, files.of_text()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_say_how_an_object_is_compressed() {
        use Compression::{Gzip, Snappy, Zstd};
        for (format, compression, extension, content_type) in [
            (FormatName::Json, None, "json", "application/x-ndjson"),
            (FormatName::Json, Some(Compression::None), "json", "application/x-ndjson"),
            (FormatName::Json, Some(Gzip), "json.gz", "application/gzip"),
            (FormatName::Json, Some(Zstd), "json.zst", "application/zstd"),
            (FormatName::Json, Some(Snappy), "json.sz", "application/x-snappy-framed"),
            (FormatName::Csv, Some(Zstd), "csv.zst", "application/zstd"),
            (FormatName::Parquet, Some(Gzip), "parquet", "application/vnd.apache.parquet"),
            (FormatName::Avro, Some(Gzip), "avro", "application/avro"),
        ] {
            let files = Files::new(format, None, compression).expect("makes sense");
            assert_eq!((files.extension(), files.content_type()), (extension, content_type));
            // How long it will be, nobody knows before.
            assert_eq!(files.can_stream(), content_type == "application/x-ndjson");
            assert_eq!(files.fixed_bytes() > 0, extension.starts_with("json."));
        }
    }
}
