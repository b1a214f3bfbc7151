//! Owns Parquet as rows: the footer, the row groups, and what each type is in JSON. Leaves requests for bytes to `source`, and
//! the format to the crate `parquet`.
//!
//! The crate asserts of schemas what the format promises. A file that breaks such a promise must be an error and no panic, which
//! would cost the instance, so schemas and places are checked before it sees them.

use std::fmt::{Display, Write as _};
use std::io::Read;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use num_bigint::BigInt;
use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedRowGroupReader;
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::Broken;
use super::decimal::with_point;
use super::moment::{self, Unit};

/// Bytes of a footer. The crate holds ten times as much of it.
const FOOTER_BYTES_MAX: usize = 16 << 20;

/// Bytes of a row group, all of which are in memory: a quarter of the sandbox.
const GROUP_BYTES_MAX: u64 = 256 << 20;

/// Types within types. JSON's readers take some more.
const DEPTH_MAX: usize = 64;

/// Bytes at the end of a file that say how long its footer is.
const END_BYTES: usize = 8;

/// What the end of an object holds.
#[derive(Debug)]
pub enum Opened {
    /// The footer.
    Footer(Footer),
    /// Too little: this many of the last bytes are needed.
    Needs(u64),
}

/// The footer of a file: its schema and its row groups. Clones share it.
#[derive(Clone, Debug)]
pub struct Footer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    metadata: ParquetMetaData,
    groups: Vec<Group>,
    members: Vec<Member>,
    rows: u64,
}

/// A row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Rows in it.
    pub rows: u64,
    /// Its first byte in the object.
    pub first: u64,
    /// Its bytes.
    pub length: u64,
}

impl Footer {
    /// Reads it out of the last bytes of an object of this size.
    ///
    /// # Errors
    ///
    /// [`Broken`] where the object is no Parquet file, or one that can't be read.
    pub fn open(size: u64, tail: Bytes) -> Result<Opened, Broken> {
        let Some(end) = tail.len().checked_sub(END_BYTES).map(|from| &tail[from..]) else {
            return if tail.len() as u64 == size {
                Err(no_parquet())
            } else {
                Ok(Opened::Needs(size.min(END_BYTES as u64)))
            };
        };
        match &end[4..] {
            b"PAR1" => {}
            b"PARE" => return Err(Broken::new("it is an encrypted Parquet file, which can't be read")),
            _ => return Err(no_parquet()),
        }
        let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize;
        if length > FOOTER_BYTES_MAX {
            return Err(Broken::new(format!("its footer has {length} bytes, more than {FOOTER_BYTES_MAX}")));
        }
        let needed = length + END_BYTES;
        if needed as u64 > size {
            return Err(no_parquet());
        }
        if needed > tail.len() {
            return Ok(Opened::Needs(needed as u64));
        }
        let bytes = tail.slice(tail.len() - needed..tail.len() - END_BYTES);
        let metadata = ParquetMetaDataReader::decode_metadata(&bytes).map_err(|why| broken(&why))?;
        let members = members(metadata.file_metadata().schema(), 0)?;
        let groups = metadata.row_groups().iter().map(|group| Group::of(group, size)).collect::<Result<Vec<_>, _>>()?;
        let rows = groups.iter().map(|group| group.rows).sum();
        Ok(Opened::Footer(Self(Arc::new(Inner { metadata, groups, members, rows }))))
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.0.rows
    }

    /// Its row groups, in order.
    pub fn groups(&self) -> &[Group] {
        &self.0.groups
    }

    /// The rows of a group, without the first `skip`; `bytes` are the group's.
    ///
    /// # Errors
    ///
    /// [`Broken`] where they can't be read.
    pub fn read(&self, group: usize, bytes: Bytes, skip: u64) -> Result<Columns, Broken> {
        let Some(place) = self.0.groups.get(group) else {
            return Err(Broken::new("it has fewer row groups than it had"));
        };
        if skip >= place.rows {
            // Some writers end an empty file with a group that has no pages.
            return Ok(Columns { footer: self.clone(), rows: None });
        }
        let metadata = self.0.metadata.row_group(group);
        let index = self.0.metadata.page_index_for_row_group(group);
        let window = Window { first: place.first, bytes };
        let properties = Arc::new(ReaderProperties::builder().build());
        let reader = SerializedRowGroupReader::new(Arc::new(window), metadata, index, properties);
        let reader = reader.map_err(|why| broken(&why))?;
        let mut rows = TreeBuilder::new().as_iter(metadata.schema_descr_ptr(), &reader).map_err(|why| broken(&why))?;
        for _ in 0..skip {
            rows.next().transpose().map_err(|why| broken(&why))?;
        }
        Ok(Columns { footer: self.clone(), rows: Some(rows) })
    }
}

impl Group {
    /// The bytes that hold all columns of a group, which must lie within the object.
    fn of(group: &RowGroupMetaData, size: u64) -> Result<Self, Broken> {
        let strange = || Broken::new("its footer names columns that lie outside of it");
        let rows = u64::try_from(group.num_rows()).map_err(|_| strange())?;
        let (mut first, mut end) = (u64::MAX, 0);
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let start = u64::try_from(start.min(column.data_page_offset())).map_err(|_| strange())?;
            let length = u64::try_from(column.compressed_size()).map_err(|_| strange())?;
            let stop = start.checked_add(length).filter(|stop| *stop <= size).ok_or_else(strange)?;
            (first, end) = (first.min(start), end.max(stop));
        }
        let first = first.min(end);
        let length = end - first;
        if length > GROUP_BYTES_MAX {
            return Err(Broken::new(format!(
                "it has a row group of {length} bytes, more than {GROUP_BYTES_MAX}: write it with smaller ones"
            )));
        }
        // Nothing else bounds how many rows a column of one repeated value claims to have.
        Ok(Self { rows, first, length })
    }
}

/// Bytes of a file, of which others are unknown.
struct Window {
    first: u64,
    bytes: Bytes,
}

impl Window {
    fn from(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let at = start.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let at = at.filter(|at| *at <= self.bytes.len());
        at.map(|at| self.bytes.slice(at..))
            .ok_or_else(|| ParquetError::EOF("a page lies outside of its row group".to_owned()))
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.first + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(Box::new(self.from(start)?.reader()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a page lies outside of its row group".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// Rows of a row group, one after the other, as the texts of JSON objects.
pub struct Columns {
    footer: Footer,
    rows: Option<ReaderIter>,
}

impl Iterator for Columns {
    type Item = Result<String, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.rows.as_mut()?.next()?.map_err(|why| broken(&why)).map(|row| {
            let mut json = String::new();
            put_object(&mut json, &row, &self.footer.0.members);
            json
        }))
    }
}

/// A column, or a field of a struct.
#[derive(Debug)]
struct Member {
    /// `"name":`
    name: String,
    shape: Shape,
}

/// What the types of the crate's rows don't tell.
#[derive(Debug)]
enum Shape {
    Plain,
    Text,
    Unsigned,
    Uuid,
    Date,
    Decimal { scale: usize },
    Time(Unit),
    Timestamp { unit: Unit, is_utc: bool },
    Struct(Vec<Member>),
    List(Box<Self>),
    Map(Box<Self>, Box<Self>),
}

/// The fields of a struct, or of a file.
fn members(group: &Type, depth: usize) -> Result<Vec<Member>, Broken> {
    if depth > DEPTH_MAX {
        return Err(Broken::new(format!("its types are nested more than {DEPTH_MAX} deep")));
    }
    let member = |field: &Arc<Type>| {
        let name = format!("{}:", serde_json::Value::from(field.name()));
        Ok(Member { name, shape: shape(field, depth + 1)? })
    };
    group.get_fields().iter().map(member).collect()
}

fn shape(field: &Type, depth: usize) -> Result<Shape, Broken> {
    let strange = |what: &str| Broken::new(format!("its column `{}` is no proper {what}", field.name()));
    let info = field.get_basic_info();
    if !info.has_repetition() {
        return Err(strange("column"));
    }
    if field.is_primitive() {
        return primitive(field);
    }
    let fields = field.get_fields();
    let repeated = fields.first().filter(|first| {
        let info = first.get_basic_info();
        fields.len() == 1 && info.has_repetition() && info.repetition() == Repetition::REPEATED
    });
    match info.converted_type() {
        ConvertedType::LIST => {
            let repeated = repeated.ok_or_else(|| strange("list"))?;
            if !repeated.is_primitive() && repeated.get_fields().is_empty() {
                return Err(strange("list"));
            }
            // Old writers leave out the level in between. What comes out of either has one more level in the schema.
            let is_three_level = !repeated.is_primitive() && repeated.get_fields().len() == 1;
            let element = if is_three_level { &repeated.get_fields()[0] } else { repeated };
            Ok(Shape::List(Box::new(shape(element, depth + 1)?)))
        }
        ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => {
            let entry = repeated.filter(|entry| !entry.is_primitive()).ok_or_else(|| strange("map"))?;
            match entry.get_fields() {
                [key] => Ok(Shape::List(Box::new(shape(key, depth + 1)?))),
                [key, value] => Ok(Shape::Map(Box::new(shape(key, depth + 1)?), Box::new(shape(value, depth + 1)?))),
                _ => Err(strange("map")),
            }
        }
        _ if fields.is_empty() => Err(strange("struct")),
        _ => Ok(Shape::Struct(members(field, depth + 1)?)),
    }
}

/// A column's type. What the crate does not know would be a panic.
fn primitive(field: &Type) -> Result<Shape, Broken> {
    let info = field.get_basic_info();
    let (physical, converted) = (field.get_physical_type(), info.converted_type());
    let is_known = match physical {
        Physical::INT32 => !matches!(
            converted,
            ConvertedType::INT_64
                | ConvertedType::UINT_64
                | ConvertedType::TIME_MICROS
                | ConvertedType::TIMESTAMP_MILLIS
                | ConvertedType::TIMESTAMP_MICROS
                | ConvertedType::UTF8
                | ConvertedType::ENUM
                | ConvertedType::JSON
                | ConvertedType::BSON
                | ConvertedType::INTERVAL
        ),
        Physical::INT64 => matches!(
            converted,
            ConvertedType::NONE
                | ConvertedType::INT_64
                | ConvertedType::UINT_64
                | ConvertedType::TIME_MICROS
                | ConvertedType::TIMESTAMP_MILLIS
                | ConvertedType::TIMESTAMP_MICROS
                | ConvertedType::DECIMAL
        ),
        Physical::BYTE_ARRAY => matches!(
            converted,
            ConvertedType::NONE
                | ConvertedType::UTF8
                | ConvertedType::ENUM
                | ConvertedType::JSON
                | ConvertedType::BSON
                | ConvertedType::DECIMAL
        ),
        Physical::FIXED_LEN_BYTE_ARRAY => matches!(converted, ConvertedType::NONE | ConvertedType::DECIMAL),
        Physical::BOOLEAN | Physical::INT96 | Physical::FLOAT | Physical::DOUBLE => true,
    };
    if !is_known {
        let name = field.name();
        return Err(Broken::new(format!("its column `{name}` is a {converted} in a {physical}, which can't be read")));
    }
    Ok(match info.logical_type_ref() {
        Some(LogicalType::Uuid) => Shape::Uuid,
        Some(LogicalType::String | LogicalType::Json | LogicalType::Enum) => Shape::Text,
        Some(LogicalType::Date) => Shape::Date,
        Some(LogicalType::Integer(integer)) if !integer.is_signed => Shape::Unsigned,
        Some(LogicalType::Decimal(decimal)) => Shape::Decimal { scale: scale(decimal.scale)? },
        Some(LogicalType::Time(time)) => Shape::Time(unit(time.unit)),
        Some(LogicalType::Timestamp(timestamp)) => {
            Shape::Timestamp { unit: unit(timestamp.unit), is_utc: timestamp.is_adjusted_to_u_t_c }
        }
        // Older files say it in another place.
        _ if converted == ConvertedType::DECIMAL => Shape::Decimal { scale: scale(field.get_scale())? },
        _ => Shape::Plain,
    })
}

/// Digits after the point. More than any writer makes would be text without an end.
fn scale(scale: i32) -> Result<usize, Broken> {
    usize::try_from(scale)
        .ok()
        .filter(|scale| *scale <= 1000)
        .ok_or_else(|| Broken::new("it has a decimal of an odd scale"))
}

fn unit(unit: TimeUnit) -> Unit {
    match unit {
        TimeUnit::MILLIS => Unit::Millis,
        TimeUnit::MICROS => Unit::Micros,
        TimeUnit::NANOS => Unit::Nanos,
    }
}

fn put_object(json: &mut String, row: &Row, members: &[Member]) {
    json.push('{');
    for (index, ((_, field), member)) in row.get_column_iter().zip(members).enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(&member.name);
        put(json, field, &member.shape);
    }
    json.push('}');
}

fn put(json: &mut String, field: &Field, shape: &Shape) {
    match field {
        Field::Null => json.push_str("null"),
        Field::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        Field::Byte(value) => put_whole(json, i64::from(*value), shape),
        Field::Short(value) => put_whole(json, i64::from(*value), shape),
        Field::Int(value) if matches!(shape, Shape::Unsigned) => json.push_str(&(*value as u32).to_string()),
        Field::Int(value) => put_whole(json, i64::from(*value), shape),
        Field::Long(value) if matches!(shape, Shape::Unsigned) => json.push_str(&(*value as u64).to_string()),
        Field::Long(value) => put_whole(json, *value, shape),
        Field::UByte(value) => json.push_str(&value.to_string()),
        Field::UShort(value) => json.push_str(&value.to_string()),
        Field::UInt(value) => json.push_str(&value.to_string()),
        Field::ULong(value) => json.push_str(&value.to_string()),
        Field::Float16(value) => put_real(json, f64::from(*value)),
        Field::Float(value) => put_single(json, *value),
        Field::Double(value) => put_real(json, *value),
        Field::Decimal(value) => put_quoted(json, decimal(value.data(), scale_of(shape, value.scale()))),
        Field::Str(value) => put_text(json, value),
        Field::Bytes(value) => put_bytes(json, value.data(), shape),
        Field::Date(days) => put_quoted(json, moment::date(i64::from(*days))),
        Field::TimeMillis(value) => put_quoted(json, moment::time(i64::from(*value), Unit::Millis)),
        Field::TimeMicros(value) => put_quoted(json, moment::time(*value, Unit::Micros)),
        Field::TimestampMillis(value) => put_quoted(json, moment::timestamp(*value, Unit::Millis, is_utc(shape))),
        Field::TimestampMicros(value) => put_quoted(json, moment::timestamp(*value, Unit::Micros, is_utc(shape))),
        Field::Group(row) => match shape {
            Shape::Struct(members) => put_object(json, row, members),
            _ => json.push_str("null"),
        },
        Field::ListInternal(list) => {
            let element = if let Shape::List(element) = shape { element } else { shape };
            json.push('[');
            for (index, field) in list.elements().iter().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                put(json, field, element);
            }
            json.push(']');
        }
        Field::MapInternal(map) => put_map(json, map.entries(), shape),
    }
}

fn put_map(json: &mut String, entries: &[(Field, Field)], shape: &Shape) {
    let (key_shape, value_shape) = match shape {
        Shape::Map(key, value) => (&**key, &**value),
        _ => (&Shape::Plain, &Shape::Plain),
    };
    json.push('{');
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        let mut name = String::new();
        put(&mut name, key, key_shape);
        // A key that is no text is named by the text of its JSON.
        if name.starts_with('"') {
            json.push_str(&name)
        } else {
            put_text(json, &name)
        }
        json.push(':');
        put(json, value, value_shape);
    }
    json.push('}');
}

/// Whether a timestamp is one of UTC, as those are that say nothing.
fn is_utc(shape: &Shape) -> bool {
    !matches!(shape, Shape::Timestamp { is_utc: false, .. })
}

fn scale_of(shape: &Shape, other: i32) -> usize {
    match shape {
        Shape::Decimal { scale } => *scale,
        _ => usize::try_from(other).unwrap_or_default(),
    }
}

fn put_whole(json: &mut String, value: i64, shape: &Shape) {
    match shape {
        Shape::Date => put_quoted(json, moment::date(value)),
        Shape::Decimal { scale } => put_quoted(json, decimal(&value.to_be_bytes(), *scale)),
        Shape::Time(unit) => put_quoted(json, moment::time(value, *unit)),
        Shape::Timestamp { unit, is_utc } => put_quoted(json, moment::timestamp(value, *unit, *is_utc)),
        _ => json.push_str(&value.to_string()),
    }
}

/// The shortest number that reads back the same; JSON has no others than finite ones.
fn put_real(json: &mut String, value: f64) {
    match serde_json::Number::from_f64(value) {
        Some(number) => json.push_str(&number.to_string()),
        None if value.is_nan() => json.push_str("\"NaN\""),
        None => json.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
    }
}

/// As [`put_real`], with no more digits than 32 bits have.
fn put_single(json: &mut String, value: f32) {
    match serde_json::to_string(&value) {
        Ok(text) if value.is_finite() => json.push_str(&text),
        _ => put_real(json, f64::from(value)),
    }
}

fn put_text(json: &mut String, text: &str) {
    let is_plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if is_plain {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// What needs no escapes, as a text.
fn put_quoted(json: &mut String, text: impl Display) {
    // Memory takes all.
    let _ = write!(json, "\"{text}\"");
}

fn put_bytes(json: &mut String, bytes: &[u8], shape: &Shape) {
    match (shape, bytes) {
        (Shape::Uuid, [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _]) => put_quoted(json, uuid(bytes)),
        (Shape::Decimal { scale }, _) => put_quoted(json, decimal(bytes, *scale)),
        (Shape::Text, _) if std::str::from_utf8(bytes).is_ok() => put_text(json, &String::from_utf8_lossy(bytes)),
        _ => put_base64(json, bytes),
    }
}

fn put_base64(json: &mut String, bytes: &[u8]) {
    use base64::Engine as _;
    json.push('"');
    base64::engine::general_purpose::STANDARD.encode_string(bytes, json);
    json.push('"');
}

/// Sixteen bytes as `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A decimal number with all digits of its scale, from the bytes of its digits: `-0.05`.
fn decimal(bytes: &[u8], scale: usize) -> String {
    // Nearly all have at most 38 digits.
    let digits = if bytes.len() <= 16 {
        let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
        let mut wide = [if is_negative { 0xff } else { 0 }; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        i128::from_be_bytes(wide).to_string()
    } else {
        BigInt::from_signed_bytes_be(bytes).to_string()
    };
    with_point(&digits, scale)
}

fn no_parquet() -> Broken {
    Broken::new("it is no Parquet file")
}

/// Without the text of an error that may quote values.
fn broken(why: &ParquetError) -> Broken {
    let text = why.to_string();
    let end = text.find("Bytes:").unwrap_or(text.len());
    Broken::new(format!("its Parquet data can't be read: {}", text[..end].trim_end()))
}

#[cfg(test)]
mod tests;
