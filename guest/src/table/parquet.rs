//! Owns tables as [Parquet](https://parquet.apache.org/docs/): what type each column has there, and how rows become columns.
//! Leaves the form of files to the crate `parquet`.
//!
//! Every column may be null. Lists have three levels (`list.element`), maps are of `key_value`, timestamps are INT64, decimals are
//! as short as their precision allows. The same rows and columns give the same bytes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression as Codec, GzipLevel, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
    Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type as Written, TypePtr};

use super::Misfit;
use super::cell::{self, Cell};
use super::json::{self, Kind};
use super::schema::{Fields, Scalar, Type, Unit};
use crate::payload::{Payload, Writer};
use crate::rows::Compression;

/// Bytes of columns that are held before they are written as a row group. A batch of usual size is one group.
const GROUP_BYTES: usize = 32 << 20;

/// Levels that are given to the crate at a time, but for rows that have more.
const LEVELS_AT_A_TIME: usize = 4096;

/// Writes rows as a file, each of which must fit the columns. Rows are dropped as they are read.
///
/// # Errors
///
/// Says what can't be written, which no row that fits can cause.
pub fn write(
    fields: &Fields,
    rows: impl Iterator<Item = String>,
    compression: Option<Compression>,
) -> Result<Payload, String> {
    let failed = |error: ParquetError| error.to_string();
    let mut table = Table::new(fields).map_err(failed)?;
    let mut writer =
        SerializedFileWriter::new(Writer::default(), table.schema.clone(), properties(compression)).map_err(failed)?;
    let mut is_written = true;
    for row in rows {
        table.push(&row).map_err(|misfit| misfit.to_string())?;
        is_written = table.columns.bytes >= GROUP_BYTES;
        if is_written {
            table.columns.write(&mut writer).map_err(failed)?;
        }
    }
    if !is_written {
        table.columns.write(&mut writer).map_err(failed)?;
    }
    Ok(writer.into_inner().map_err(failed)?.finish())
}

/// How pages are compressed: with Snappy where nothing else is said, which every reader has.
pub fn codec(compression: Option<Compression>) -> Codec {
    match compression {
        None | Some(Compression::Snappy) => Codec::SNAPPY,
        Some(Compression::None) => Codec::UNCOMPRESSED,
        Some(Compression::Gzip) => Codec::GZIP(GzipLevel::default()),
        // There is one level.
        Some(Compression::Zstd) => Codec::ZSTD(ZstdLevel::default()),
    }
}

fn properties(compression: Option<Compression>) -> Arc<WriterProperties> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("s3-connector ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec(compression))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    Arc::new(properties.build())
}

/// Rows that become columns.
struct Table<'s> {
    schema: TypePtr,
    fields: &'s Fields,
    nodes: Vec<Option<Node<'s>>>,
    columns: Columns,
}

/// A part of the schema, with the columns that it has.
struct Node<'s> {
    columns: Range<usize>,
    shape: Shape<'s>,
}

enum Shape<'s> {
    Leaf(Scalar),
    /// A text, or any other value as JSON.
    Any,
    Struct(&'s Fields, Vec<Option<Node<'s>>>),
    /// With the level at which its elements repeat.
    List(Box<Node<'s>>, i16),
    /// The same; names are its first column.
    Map(Box<Node<'s>>, i16),
}

impl<'s> Table<'s> {
    fn new(fields: &'s Fields) -> Result<Self, ParquetError> {
        let mut columns = Columns::default();
        let (types, nodes) = columns.add_fields(fields, 0, 0)?;
        let schema = Written::group_type_builder("row").with_fields(types).build()?;
        Ok(Self { schema: Arc::new(schema), fields, nodes, columns })
    }

    fn push(&mut self, row: &str) -> Result<(), Misfit> {
        let values = self.fields.place(row, &mut unexpected)?;
        self.columns.fields(&self.nodes, &values, 0, 0)
    }
}

fn unexpected(name: &str) -> Result<(), Misfit> {
    Err(Misfit::new("has no column").within(name))
}

/// The columns of a file.
#[derive(Default)]
struct Columns {
    list: Vec<Column>,
    bytes: usize,
}

/// Values of one column, with the
/// [levels](https://parquet.apache.org/docs/file-format/nestedencoding/) that say which are there and which begin a row.
struct Column {
    values: Values,
    runs: Vec<Run>,
    definition_max: i16,
    repetition_max: i16,
}

/// A pair of levels that comes several times.
struct Run {
    definition: i16,
    repetition: i16,
    count: usize,
}

enum Values {
    Bool(Vec<bool>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    /// All in one, and where each ends.
    Bytes(Vec<u8>, Vec<usize>),
    /// The same, each of as many bytes.
    Fixed(Vec<u8>, usize),
}

impl Columns {
    /// Makes columns of fields. What has no type yet has none.
    fn add_fields<'s>(
        &mut self,
        fields: &'s Fields,
        definition: i16,
        repetition: i16,
    ) -> Result<(Vec<TypePtr>, Vec<Option<Node<'s>>>), ParquetError> {
        let mut types = Vec::new();
        let mut nodes = Vec::new();
        for field in fields.iter() {
            let added = self.add(&field.name, &field.content, definition, repetition)?;
            let (written, node) = added.map_or((None, None), |(written, node)| (Some(written), Some(node)));
            types.extend(written);
            nodes.push(node);
        }
        Ok((types, nodes))
    }

    fn add<'s>(
        &mut self,
        name: &str,
        content: &'s Type,
        definition: i16,
        repetition: i16,
    ) -> Result<Option<(TypePtr, Node<'s>)>, ParquetError> {
        let first = self.list.len();
        let group = |name, fields| Written::group_type_builder(name).with_fields(fields);
        let optional = Repetition::OPTIONAL;
        let (written, shape) = match content {
            Type::Unknown => return Ok(None),
            Type::Any => (self.leaf(name, Scalar::Text, optional, definition + 1, repetition)?, Shape::Any),
            Type::Enum(_) => {
                (self.leaf(name, Scalar::Text, optional, definition + 1, repetition)?, Shape::Leaf(Scalar::Text))
            }
            Type::Scalar(scalar) => {
                (self.leaf(name, *scalar, optional, definition + 1, repetition)?, Shape::Leaf(*scalar))
            }
            Type::Struct(fields) => {
                let (types, nodes) = self.add_fields(fields, definition + 1, repetition)?;
                if types.is_empty() {
                    return Ok(None);
                }
                (Arc::new(group(name, types).with_repetition(optional).build()?), Shape::Struct(fields, nodes))
            }
            Type::List(element) => {
                let Some((element, node)) = self.add("element", element, definition + 2, repetition + 1)? else {
                    return Ok(None);
                };
                let list = group("list", vec![element]).with_repetition(Repetition::REPEATED).build()?;
                let list = group(name, vec![Arc::new(list)]).with_logical_type(Some(LogicalType::List));
                (Arc::new(list.with_repetition(optional).build()?), Shape::List(Box::new(node), repetition + 1))
            }
            Type::Map(value) => {
                let key = self.leaf("key", Scalar::Text, Repetition::REQUIRED, definition + 2, repetition + 1)?;
                let Some((value, node)) = self.add("value", value, definition + 2, repetition + 1)? else {
                    self.list.truncate(first);
                    return Ok(None);
                };
                let entry = group("key_value", vec![key, value]).with_repetition(Repetition::REPEATED).build()?;
                let map = group(name, vec![Arc::new(entry)]).with_logical_type(Some(LogicalType::Map));
                (Arc::new(map.with_repetition(optional).build()?), Shape::Map(Box::new(node), repetition + 1))
            }
        };
        Ok(Some((written, Node { columns: first..self.list.len(), shape })))
    }

    fn leaf(
        &mut self,
        name: &str,
        scalar: Scalar,
        repeated: Repetition,
        definition_max: i16,
        repetition_max: i16,
    ) -> Result<TypePtr, ParquetError> {
        let (physical, logical, values) = written(scalar);
        let mut builder = Written::primitive_type_builder(name, physical).with_repetition(repeated);
        if let Values::Fixed(_, length) = &values {
            builder = builder.with_length(i32::try_from(*length).unwrap_or(i32::MAX));
        }
        if let Scalar::Decimal { precision, scale } = scalar {
            builder = builder.with_precision(precision as i32).with_scale(scale as i32);
        }
        self.list.push(Column { values, runs: Vec::new(), definition_max, repetition_max });
        Ok(Arc::new(builder.with_logical_type(logical).build()?))
    }

    /// Takes the values of a row's fields, or of a struct's.
    fn fields(
        &mut self,
        nodes: &[Option<Node<'_>>],
        values: &[Option<&str>],
        definition: i16,
        repetition: i16,
    ) -> Result<(), Misfit> {
        for (node, value) in nodes.iter().zip(values) {
            if let Some(node) = node {
                self.value(node, value.unwrap_or("null"), definition, repetition)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, node: &Node<'_>, json: &str, definition: i16, repetition: i16) -> Result<(), Misfit> {
        let kind = Kind::of(json);
        if kind == Kind::Null {
            self.levels(&node.columns, definition, repetition);
            return Ok(());
        }
        match &node.shape {
            Shape::Leaf(scalar) => {
                self.put(node.columns.start, *scalar, cell::read(*scalar, json)?, definition + 1, repetition);
            }
            Shape::Any => {
                let cell = match kind {
                    Kind::Text => cell::read(Scalar::Text, json)?,
                    _ => Cell::Bytes(Cow::Borrowed(json.as_bytes())),
                };
                self.put(node.columns.start, Scalar::Text, cell, definition + 1, repetition);
            }
            Shape::Struct(fields, nodes) => {
                let values = fields.place(json, &mut unexpected)?;
                self.fields(nodes, &values, definition + 1, repetition)?;
            }
            Shape::List(element, repeats) => {
                let mut next = repetition;
                json::elements(json, &mut |value| {
                    let now = std::mem::replace(&mut next, *repeats);
                    self.value(element, value, definition + 2, now)
                })?;
                if next != *repeats {
                    self.levels(&node.columns, definition + 1, repetition);
                }
            }
            Shape::Map(value, repeats) => {
                let mut next = repetition;
                json::members(json, &mut |name, json| {
                    let now = std::mem::replace(&mut next, *repeats);
                    let name = Cell::Bytes(Cow::Borrowed(name.as_bytes()));
                    self.put(node.columns.start, Scalar::Text, name, definition + 2, now);
                    self.value(value, json, definition + 2, now)
                })?;
                if next != *repeats {
                    self.levels(&node.columns, definition + 1, repetition);
                }
            }
        }
        Ok(())
    }

    /// Says of columns that a value is not there.
    fn levels(&mut self, columns: &Range<usize>, definition: i16, repetition: i16) {
        for column in &mut self.list[columns.clone()] {
            self.bytes += column.level(definition, repetition);
        }
    }

    fn put(&mut self, column: usize, scalar: Scalar, cell: Cell<'_>, definition: i16, repetition: i16) {
        let column = &mut self.list[column];
        self.bytes += column.level(definition, repetition) + column.values.push(scalar, cell);
    }

    /// Writes what there is as a row group.
    fn write(&mut self, writer: &mut SerializedFileWriter<Writer>) -> Result<(), ParquetError> {
        self.bytes = 0;
        let mut rows = writer.next_row_group()?;
        for column in &mut self.list {
            let missing = || ParquetError::General("the schema has fewer columns".to_owned());
            let mut chunk = rows.next_column()?.ok_or_else(missing)?;
            column.write(&mut chunk)?;
            chunk.close()?;
        }
        rows.close()?;
        Ok(())
    }
}

/// What a type is in Parquet.
fn written(scalar: Scalar) -> (Physical, Option<LogicalType>, Values) {
    let bytes = || Values::Bytes(Vec::new(), Vec::new());
    match scalar {
        Scalar::Boolean => (Physical::BOOLEAN, None, Values::Bool(Vec::new())),
        Scalar::Int => (Physical::INT32, None, Values::Int(Vec::new())),
        Scalar::Long { .. } => (Physical::INT64, None, Values::Long(Vec::new())),
        Scalar::Float => (Physical::FLOAT, None, Values::Float(Vec::new())),
        Scalar::Double => (Physical::DOUBLE, None, Values::Double(Vec::new())),
        Scalar::Text | Scalar::Uuid => (Physical::BYTE_ARRAY, Some(LogicalType::String), bytes()),
        Scalar::Bytes => (Physical::BYTE_ARRAY, None, bytes()),
        Scalar::Fixed(length) => (Physical::FIXED_LEN_BYTE_ARRAY, None, Values::Fixed(Vec::new(), length)),
        Scalar::Date => (Physical::INT32, Some(LogicalType::Date), Values::Int(Vec::new())),
        Scalar::Time => (Physical::INT64, Some(LogicalType::time(false, TimeUnit::MICROS)), Values::Long(Vec::new())),
        Scalar::Timestamp { unit, is_utc } => {
            let unit = match unit {
                Unit::Millis => TimeUnit::MILLIS,
                Unit::Micros => TimeUnit::MICROS,
            };
            (Physical::INT64, Some(LogicalType::timestamp(is_utc, unit)), Values::Long(Vec::new()))
        }
        Scalar::Decimal { precision, scale } => {
            let logical = Some(LogicalType::decimal(scale as i32, precision as i32));
            match precision {
                ..=9 => (Physical::INT32, logical, Values::Int(Vec::new())),
                10..=18 => (Physical::INT64, logical, Values::Long(Vec::new())),
                _ => {
                    let length = decimal_bytes(precision);
                    (Physical::FIXED_LEN_BYTE_ARRAY, logical, Values::Fixed(Vec::new(), length))
                }
            }
        }
    }
}

/// Bytes that hold all numbers of so many digits.
fn decimal_bytes(precision: usize) -> usize {
    let bits = (precision as f64 * std::f64::consts::LOG2_10).ceil() as usize + 1;
    bits.div_ceil(8)
}

impl Values {
    /// Adds a value, and returns the bytes that it takes.
    fn push(&mut self, scalar: Scalar, cell: Cell<'_>) -> usize {
        match (self, cell) {
            (Self::Bool(values), Cell::Bool(value)) => values.push(value),
            (Self::Int(values), Cell::Int(value)) => values.push(value),
            (Self::Int(values), Cell::Decimal(value)) => values.push(value as i32),
            (Self::Long(values), Cell::Long(value)) => values.push(value),
            (Self::Long(values), Cell::Decimal(value)) => values.push(value as i64),
            (Self::Float(values), Cell::Float(value)) => values.push(value),
            (Self::Double(values), Cell::Double(value)) => values.push(value),
            (Self::Bytes(all, ends), Cell::Bytes(value)) => {
                all.extend_from_slice(&value);
                ends.push(all.len());
                return value.len() + size_of::<usize>();
            }
            (Self::Fixed(all, _), Cell::Bytes(value)) => {
                all.extend_from_slice(&value);
                return value.len();
            }
            (Self::Fixed(all, length), Cell::Decimal(value)) => {
                all.extend_from_slice(&value.to_be_bytes()[size_of::<i128>() - *length..]);
                return *length;
            }
            (_, cell) => unreachable!("a column of {scalar:?} got {cell:?}"),
        }
        size_of::<i64>()
    }
}

impl Column {
    /// Adds a pair of levels, and returns the bytes that it takes.
    fn level(&mut self, definition: i16, repetition: i16) -> usize {
        match self.runs.last_mut() {
            Some(run) if run.definition == definition && run.repetition == repetition => {
                run.count += 1;
                0
            }
            _ => {
                self.runs.push(Run { definition, repetition, count: 1 });
                size_of::<Run>()
            }
        }
    }

    /// Writes what there is, after which there is nothing.
    fn write(&mut self, chunk: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = Levels { runs: std::mem::take(&mut self.runs), column: self };
        match &mut levels.column.values {
            Values::Bool(values) => {
                let values = std::mem::take(values);
                levels.write::<BoolType>(chunk, |range| values[range].to_vec())
            }
            Values::Int(values) => {
                let values = std::mem::take(values);
                levels.write::<Int32Type>(chunk, |range| values[range].to_vec())
            }
            Values::Long(values) => {
                let values = std::mem::take(values);
                levels.write::<Int64Type>(chunk, |range| values[range].to_vec())
            }
            Values::Float(values) => {
                let values = std::mem::take(values);
                levels.write::<FloatType>(chunk, |range| values[range].to_vec())
            }
            Values::Double(values) => {
                let values = std::mem::take(values);
                levels.write::<DoubleType>(chunk, |range| values[range].to_vec())
            }
            Values::Bytes(all, ends) => {
                let (all, ends) = (Bytes::from(std::mem::take(all)), std::mem::take(ends));
                let start = |at: usize| if at == 0 { 0 } else { ends[at - 1] };
                let value = |at| ByteArray::from(all.slice(start(at)..ends[at]));
                levels.write::<ByteArrayType>(chunk, |range| range.map(value).collect())
            }
            Values::Fixed(all, length) => {
                let (all, length) = (Bytes::from(std::mem::take(all)), *length);
                let value =
                    |at: usize| FixedLenByteArray::from(ByteArray::from(all.slice(at * length..(at + 1) * length)));
                levels.write::<FixedLenByteArrayType>(chunk, |range| range.map(value).collect())
            }
        }
    }
}

/// Levels that are written with their values.
struct Levels<'c> {
    runs: Vec<Run>,
    column: &'c mut Column,
}

impl Levels<'_> {
    fn write<T: DataType>(
        self,
        chunk: &mut SerializedColumnWriter<'_>,
        values: impl Fn(Range<usize>) -> Vec<T::T>,
    ) -> Result<(), ParquetError> {
        let (mut definitions, mut repetitions) = (Vec::new(), Vec::new());
        let mut range = 0..0;
        let repeats = self.column.repetition_max > 0;
        let mut flush = |definitions: &mut Vec<i16>, repetitions: &mut Vec<i16>, range: &mut Range<usize>| {
            let levels = repeats.then_some(repetitions.as_slice());
            chunk.typed::<T>().write_batch(&values(range.clone()), Some(definitions), levels)?;
            definitions.clear();
            repetitions.clear();
            range.start = range.end;
            Ok::<_, ParquetError>(())
        };
        for run in &self.runs {
            let mut left = run.count;
            while left > 0 {
                // What is written at a time must end with a row.
                let begins = run.repetition == 0;
                if begins && definitions.len() >= LEVELS_AT_A_TIME {
                    flush(&mut definitions, &mut repetitions, &mut range)?;
                }
                let count = if begins { left.min(LEVELS_AT_A_TIME - definitions.len()) } else { left };
                definitions.extend(std::iter::repeat_n(run.definition, count));
                repetitions.extend(std::iter::repeat_n(run.repetition, count));
                if run.definition == self.column.definition_max {
                    range.end += count;
                }
                left -= count;
            }
        }
        flush(&mut definitions, &mut repetitions, &mut range)
    }
}
