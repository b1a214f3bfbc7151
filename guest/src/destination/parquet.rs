//! Owns batches as [Parquet](https://parquet.apache.org/docs/), one row per record. Leaves the choice of records to
//! `buffer`.
//!
//! The columns mirror OpenCDC, so that null, empty and missing stay distinct, and any bytes survive. A batch is one row
//! group. The same records give the same bytes. Values are held as they came until the batch ends, and dropped column
//! by column.

use std::sync::Arc;

use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::error::{Error, Result};
use crate::payload::{Payload, Writer};
use crate::record::{Data, NoBody, Record};
use crate::rows::Compression;
use crate::table::codec;

/// The columns. Readers know them by these names: a change needs a line in the changelog.
///
/// Structured data are not marked as JSON: DuckDB would refuse a whole file over one lone surrogate, which JSON allows.
/// It offers JSON's operators on plain strings too.
const SCHEMA: &str = "
message record {
  REQUIRED BYTE_ARRAY position;
  REQUIRED BYTE_ARRAY operation (STRING);
  REQUIRED GROUP metadata (MAP) {
    REPEATED GROUP key_value {
      REQUIRED BYTE_ARRAY key (STRING);
      REQUIRED BYTE_ARRAY value (STRING);
    }
  }
  OPTIONAL GROUP key {
    OPTIONAL BYTE_ARRAY raw;
    OPTIONAL BYTE_ARRAY structured (STRING);
  }
  REQUIRED GROUP payload {
    OPTIONAL GROUP before {
      OPTIONAL BYTE_ARRAY raw;
      OPTIONAL BYTE_ARRAY structured (STRING);
    }
    OPTIONAL GROUP after {
      OPTIONAL BYTE_ARRAY raw;
      OPTIONAL BYTE_ARRAY structured (STRING);
    }
  }
}";

/// The memory of a row besides its values: eight vectors of handles of 24 bytes and levels of 2.
const ROW_BYTES: u64 = 256;

/// The memory of an entry of the metadata besides its texts: two handles, each with an allocation.
const ENTRY_BYTES: u64 = 96;

/// Columns whose values repeat. A dictionary of the others would only be a copy of them.
const REPETITIVE: [&str; 3] = ["operation", "metadata.key_value.key", "metadata.key_value.value"];

/// Values of one column, with the
/// [levels](https://parquet.apache.org/docs/file-format/nestedencoding/) that say which are there
/// and which begin a row.
#[derive(Debug, Default)]
struct Column {
    values: Vec<ByteArray>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
}

impl Column {
    /// A value that is always there.
    fn require(&mut self, value: Bytes) {
        self.values.push(ByteArray::from(value));
    }

    /// A value, or how much of its path there is instead.
    fn define(&mut self, value: Option<Bytes>, definition: i16) {
        self.values.extend(value.map(ByteArray::from));
        self.definitions.push(definition);
    }

    /// An entry of a list, or the absence of entries.
    fn repeat(&mut self, value: Option<Bytes>, is_first: bool) {
        self.repetitions.push(i16::from(!is_first));
        let definition = i16::from(value.is_some());
        self.define(value, definition);
    }
}

/// The two columns of a key or payload.
#[derive(Debug, Default)]
struct DataColumns {
    raw: Column,
    structured: Column,
}

impl DataColumns {
    fn push(&mut self, data: Option<Data<NoBody>>) {
        // Level 0: no group. 1: the group is there, this field of it is not. 2: the field is there.
        let absent = i16::from(data.is_some());
        let (raw, structured) = match data {
            None => (None, None),
            Some(Data::Raw(bytes)) => (Some(bytes), None),
            Some(Data::Structured(text)) => (None, Some(Bytes::from(text))),
            Some(Data::Body { bytes, .. }) => match bytes {},
        };
        for (column, value) in [(&mut self.raw, raw), (&mut self.structured, structured)] {
            let definition = if value.is_some() { 2 } else { absent };
            column.define(value, definition);
        }
    }
}

/// Takes records as they come and writes them at the end.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    position: Column,
    operation: Column,
    metadata_key: Column,
    metadata_value: Column,
    key: DataColumns,
    before: DataColumns,
    after: DataColumns,
    compression: Option<Compression>,
}

impl Encoder {
    /// Starts a batch, whose pages are compressed so.
    pub(super) fn new(compression: Option<Compression>) -> Self {
        Self { compression, ..Self::default() }
    }

    /// Takes the next record.
    pub(super) fn push(&mut self, record: Record<NoBody>) {
        self.position.require(record.position);
        self.operation.require(Bytes::from_static(record.operation.as_str().as_bytes()));
        if record.metadata.is_empty() {
            self.metadata_key.repeat(None, true);
            self.metadata_value.repeat(None, true);
        }
        for (index, (name, value)) in record.metadata.into_iter().enumerate() {
            self.metadata_key.repeat(Some(Bytes::from(name)), index == 0);
            self.metadata_value.repeat(Some(Bytes::from(value)), index == 0);
        }
        self.key.push(record.key);
        self.before.push(record.payload.before);
        self.after.push(record.payload.after);
    }

    /// Ends the batch and returns the object.
    ///
    /// # Errors
    ///
    /// `internal`, which nothing in a record can cause.
    pub(super) fn finish(self) -> Result<Payload> {
        let failed = |error| Error::internal(format!("cannot write parquet: {error}"));
        self.write().map_err(failed)
    }

    fn write(self) -> Result<Payload, ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let mut writer = SerializedFileWriter::new(Writer::default(), schema, properties(self.compression))?;
        let mut rows = writer.next_row_group()?;
        for column in self.into_columns() {
            let missing = || ParquetError::General("the schema has fewer columns".to_owned());
            let mut chunk = rows.next_column()?.ok_or_else(missing)?;
            let (definitions, repetitions) = (present(&column.definitions), present(&column.repetitions));
            let writer = chunk.typed::<ByteArrayType>();
            writer.write_batch(&column.values, definitions, repetitions)?;
            chunk.close()?;
        }
        rows.close()?;
        Ok(writer.into_inner()?.finish())
    }

    /// The columns in the order of the schema.
    fn into_columns(self) -> impl Iterator<Item = Column> {
        let data = [self.key, self.before, self.after].into_iter();
        [self.position, self.operation, self.metadata_key, self.metadata_value]
            .into_iter()
            .chain(data.flat_map(|columns| [columns.raw, columns.structured]))
    }
}

/// The memory that a record takes: as it came, and as it is written, for which
/// [Snappy](https://github.com/google/snappy/blob/main/snappy.cc) may need a sixth more than its input.
pub(super) fn held_bytes(record: &Record<NoBody>) -> u64 {
    let payload = [&record.payload.before, &record.payload.after];
    let data: u64 = payload.into_iter().chain([&record.key]).flatten().filter_map(Data::length).sum();
    let entries = record.metadata.iter();
    let metadata: u64 = entries.map(|(name, value)| (name.len() + value.len()) as u64 + ENTRY_BYTES).sum();
    let bytes = record.position.len() as u64 + data + metadata;
    ROW_BYTES + bytes + bytes + bytes / 6
}

/// Levels, where the column has any.
fn present(levels: &[i16]) -> Option<&[i16]> {
    (!levels.is_empty()).then_some(levels)
}

fn properties(compression: Option<Compression>) -> Arc<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("s3-connector ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec(compression))
        .set_dictionary_enabled(false)
        // There is one row group: bounds of its pages would only repeat those of its columns.
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for name in REPETITIVE {
        properties = properties.set_column_dictionary_enabled(name.into(), true);
    }
    Arc::new(properties.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::format::samples;
    use crate::testing::parquet as reader;

    fn encode(records: Vec<Record<NoBody>>) -> Bytes {
        let mut encoder = Encoder::default();
        records.into_iter().for_each(|record| encoder.push(record));
        encoder.finish().expect("encodes").into_bytes()
    }

    #[test]
    fn the_schema_is_the_last_of_its_witness() {
        assert!(
            include_str!("parquet/witness.txt").ends_with(&format!("\n{}\n", SCHEMA.trim())),
            "readers know the columns: parquet/witness.txt is append only and says what to do"
        );
    }

    #[test]
    fn every_record_reads_back_as_it_was() {
        assert_eq!(reader::read(&encode(samples())).expect("reads"), samples());
    }

    #[test]
    fn a_single_record_of_any_shape_reads_back() {
        for record in samples() {
            let object = encode(vec![record.clone()]);
            assert_eq!(reader::read(&object).expect("reads"), [record]);
        }
    }

    #[test]
    fn the_same_records_give_the_same_bytes() {
        assert_eq!(encode(samples()), encode(samples()));
    }

    #[test]
    fn every_compression_reads_back_and_most_are_smaller() {
        let records: Vec<_> = samples().into_iter().take(5).cycle().take(1000).collect();
        let encode = |compression| {
            let mut encoder = Encoder::new(compression);
            records.clone().into_iter().for_each(|record| encoder.push(record));
            encoder.finish().expect("encodes").into_bytes()
        };
        let plain = encode(Some(Compression::None));
        assert_eq!(encode(None), encode(Some(Compression::Snappy)));
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Snappy] {
            let object = encode(Some(compression));
            assert!(reader::read(&object).expect("reads") == records, "{compression:?}");
            assert!(compression == Compression::None || object.len() * 2 < plain.len(), "{compression:?}");
        }
    }

    #[test]
    fn a_large_batch_reads_back() {
        let records: Vec<_> =
            std::iter::repeat_with(samples).take(2000).flat_map(|samples| samples.into_iter().take(5)).collect();
        let object = encode(records.clone());
        assert!(reader::read(&object).expect("reads") == records);
    }

    #[test]
    fn the_object_says_who_wrote_it() {
        let object = encode(samples());
        let name = concat!("s3-connector ", env!("CARGO_PKG_VERSION")).as_bytes();
        assert!(object.windows(name.len()).any(|window| window == name));
    }
}
