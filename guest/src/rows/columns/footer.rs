//! Owns what a footer says: the schema, as types of the crate, and where the columns of each row group are. Leaves what the types
//! mean to `shape`, and whether the columns are there to `columns`.
//!
//! The crate would make room for as many things as a footer announces, and go as deep as it is nested, so it does not see it.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::ParquetError;
use parquet::schema::types::{Type, TypePtr};

use super::codec::Codec;
use super::thrift::{Field, Thrift};
use super::{Broken, DEPTH_MAX, Why, broken};

/// Columns and the groups that they are in. Each takes some kilobytes while rows are read.
const ELEMENTS_MAX: usize = 1 << 15;

/// Row groups of a file. So many columns of so many groups would be in a longer footer.
const GROUPS_MAX: usize = 1 << 17;

/// Bytes of a column's name, which messages and all rows repeat.
const NAME_BYTES_MAX: usize = 1 << 16;

/// What a footer says.
pub(super) struct Read {
    pub(super) schema: TypePtr,
    pub(super) groups: Vec<Group>,
}

/// A row group.
pub(super) struct Group {
    pub(super) rows: i64,
    pub(super) chunks: Vec<Chunk>,
}

/// A column of a row group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) physical: Physical,
    pub(super) codec: Codec,
    pub(super) first: u64,
    pub(super) length: u64,
}

/// Reads a footer.
pub(super) fn read(bytes: &[u8]) -> Result<Read, Broken> {
    let (mut elements, mut groups) = (Vec::new(), Vec::new());
    let mut thrift = Thrift::new(bytes);
    let mut is_encrypted = false;
    thrift
        .fields(|thrift, field| match field.id {
            2 => {
                let count = thrift.structs(field)?;
                if count > ELEMENTS_MAX {
                    return Err("it has more columns than 32,768");
                }
                (0..count).try_for_each(|_| Element::read(thrift).map(|item| elements.push(item)))
            }
            4 => {
                let count = thrift.structs(field)?;
                if count > GROUPS_MAX {
                    return Err("it has more row groups than 131,072");
                }
                (0..count).try_for_each(|_| group(thrift).map(|item| groups.push(item)))
            }
            8 => {
                is_encrypted = true;
                thrift.skip(field)
            }
            _ => thrift.skip(field),
        })
        .map_err(no_footer)?;
    if is_encrypted {
        return Err(Broken::new("it is a Parquet file with encrypted columns, which can't be read"));
    }
    let mut elements = elements.into_iter();
    let root = elements.next().ok_or_else(|| no_footer("it has no schema"))?;
    let fields = fields(&root, &mut elements, 0)?;
    if elements.next().is_some() {
        return Err(no_footer("its schema has more than one root"));
    }
    let schema = Type::group_type_builder(root.name).with_fields(fields).build().map_err(|why| broken(&why))?;
    Ok(Read { schema: Arc::new(schema), groups })
}

fn no_footer(why: Why) -> Broken {
    Broken::new(format!("its footer can't be read: {why}"))
}

fn group(thrift: &mut Thrift<'_>) -> Result<Group, Why> {
    let mut group = Group { rows: 0, chunks: Vec::new() };
    thrift.fields(|thrift, field| match field.id {
        1 => (0..thrift.structs(field)?).try_for_each(|_| chunk(thrift).map(|item| group.chunks.push(item))),
        3 => thrift.long(field).map(|value| group.rows = value),
        _ => thrift.skip(field),
    })?;
    Ok(group)
}

fn chunk(thrift: &mut Thrift<'_>) -> Result<Chunk, Why> {
    let mut chunk = None;
    thrift.fields(|thrift, field| match field.id {
        3 => chunk_metadata(thrift, field).map(|value| chunk = Some(value)),
        8 => Err("it has an encrypted column"),
        _ => thrift.skip(field),
    })?;
    chunk.ok_or("it does not say where a column is")
}

fn chunk_metadata(thrift: &mut Thrift<'_>, field: Field) -> Result<Chunk, Why> {
    let (mut kind, mut codec, mut length, mut data, mut dictionary) = (None, None, None, None, None);
    thrift.structure(field, |thrift, field| match field.id {
        1 => thrift.int(field).map(|value| kind = Some(value)),
        4 => thrift.int(field).map(|value| codec = Some(value)),
        7 => thrift.long(field).map(|value| length = Some(value)),
        9 => thrift.long(field).map(|value| data = Some(value)),
        11 => thrift.long(field).map(|value| dictionary = Some(value)),
        _ => thrift.skip(field),
    })?;
    let missing = "it does not say where a column is";
    let (kind, codec, data) = (kind.ok_or(missing)?, codec.ok_or(missing)?, data.ok_or(missing)?);
    // Some writers name byte 0 where there is no dictionary.
    let first = dictionary.filter(|first| (1..data).contains(first)).unwrap_or(data);
    let negative = "it names a column that lies before its begin";
    Ok(Chunk {
        physical: physical(kind)?,
        codec: Codec::of(codec)?,
        first: u64::try_from(first).map_err(|_| negative)?,
        length: u64::try_from(length.ok_or(missing)?).map_err(|_| negative)?,
    })
}

/// A type in the list of a schema, which names a group before what is in it.
#[derive(Default)]
struct Element<'a> {
    name: &'a str,
    kind: Option<i32>,
    length: Option<i32>,
    repetition: Option<i32>,
    children: usize,
    converted: Option<i32>,
    scale: Option<i32>,
    precision: Option<i32>,
    logical: Option<LogicalType>,
}

impl<'a> Element<'a> {
    fn read(thrift: &mut Thrift<'a>) -> Result<Self, Why> {
        let mut element = Self::default();
        thrift.fields(|thrift, field| {
            match field.id {
                1 => element.kind = Some(thrift.int(field)?),
                2 => element.length = Some(thrift.int(field)?),
                3 => element.repetition = Some(thrift.int(field)?),
                4 => element.name = thrift.text(field)?,
                5 => element.children = thrift.size(field)?,
                6 => element.converted = Some(thrift.int(field)?),
                7 => element.scale = Some(thrift.int(field)?),
                8 => element.precision = Some(thrift.int(field)?),
                10 => element.logical = logical(thrift, field)?,
                _ => thrift.skip(field)?,
            }
            Ok(())
        })?;
        if element.name.len() > NAME_BYTES_MAX {
            return Err("it has a column whose name is longer than 65,536 bytes");
        }
        Ok(element)
    }

    /// The type, with what is in it.
    fn build(self, rest: &mut std::vec::IntoIter<Self>, depth: usize) -> Result<TypePtr, Broken> {
        let repetition = match self.repetition {
            Some(0) => Repetition::REQUIRED,
            Some(1) => Repetition::OPTIONAL,
            Some(2) => Repetition::REPEATED,
            _ => return Err(no_footer("it does not say of a column whether it is repeated")),
        };
        let converted = converted(self.converted);
        if let (0, Some(kind)) = (self.children, self.kind) {
            let builder = Type::primitive_type_builder(self.name, physical(kind).map_err(no_footer)?);
            let builder = builder.with_repetition(repetition).with_converted_type(converted);
            let builder = builder.with_length(self.length.unwrap_or(-1)).with_precision(self.precision.unwrap_or(-1));
            let builder = builder.with_scale(self.scale.unwrap_or(-1)).with_logical_type(self.logical);
            return builder.build().map(Arc::new).map_err(|why| named(self.name, &why));
        }
        let fields = fields(&self, rest, depth)?;
        let builder = Type::group_type_builder(self.name).with_repetition(repetition).with_fields(fields);
        let builder = builder.with_converted_type(converted).with_logical_type(self.logical);
        builder.build().map(Arc::new).map_err(|why| named(self.name, &why))
    }
}

fn named(name: &str, why: &ParquetError) -> Broken {
    Broken::new(format!("its column `{name}` can't be read: {why}"))
}

/// The types that follow a group and are in it.
fn fields<'a>(
    group: &Element<'a>,
    rest: &mut std::vec::IntoIter<Element<'a>>,
    depth: usize,
) -> Result<Vec<TypePtr>, Broken> {
    if depth > DEPTH_MAX {
        return Err(Broken::new(format!("its types are nested more than {DEPTH_MAX} deep")));
    }
    if group.children > rest.len() {
        return Err(no_footer("its schema has fewer columns than it says"));
    }
    let mut fields = Vec::with_capacity(group.children);
    for _ in 0..group.children {
        let field = rest.next().ok_or_else(|| no_footer("its schema has fewer columns than it says"))?;
        fields.push(field.build(rest, depth + 1)?);
    }
    Ok(fields)
}

fn physical(kind: i32) -> Result<Physical, Why> {
    Ok(match kind {
        0 => Physical::BOOLEAN,
        1 => Physical::INT32,
        2 => Physical::INT64,
        3 => Physical::INT96,
        4 => Physical::FLOAT,
        5 => Physical::DOUBLE,
        6 => Physical::BYTE_ARRAY,
        7 => Physical::FIXED_LEN_BYTE_ARRAY,
        _ => return Err("it has a column of an unknown type"),
    })
}

/// One that is not known is the column's physical type.
fn converted(kind: Option<i32>) -> ConvertedType {
    match kind {
        Some(0) => ConvertedType::UTF8,
        Some(1) => ConvertedType::MAP,
        Some(2) => ConvertedType::MAP_KEY_VALUE,
        Some(3) => ConvertedType::LIST,
        Some(4) => ConvertedType::ENUM,
        Some(5) => ConvertedType::DECIMAL,
        Some(6) => ConvertedType::DATE,
        Some(7) => ConvertedType::TIME_MILLIS,
        Some(8) => ConvertedType::TIME_MICROS,
        Some(9) => ConvertedType::TIMESTAMP_MILLIS,
        Some(10) => ConvertedType::TIMESTAMP_MICROS,
        Some(11) => ConvertedType::UINT_8,
        Some(12) => ConvertedType::UINT_16,
        Some(13) => ConvertedType::UINT_32,
        Some(14) => ConvertedType::UINT_64,
        Some(15) => ConvertedType::INT_8,
        Some(16) => ConvertedType::INT_16,
        Some(17) => ConvertedType::INT_32,
        Some(18) => ConvertedType::INT_64,
        Some(19) => ConvertedType::JSON,
        Some(20) => ConvertedType::BSON,
        Some(21) => ConvertedType::INTERVAL,
        None | Some(_) => ConvertedType::NONE,
    }
}

/// A union of types. One that is not known is the column's physical type, as the format wants it.
fn logical(thrift: &mut Thrift<'_>, field: Field) -> Result<Option<LogicalType>, Why> {
    let mut kind = None;
    thrift.structure(field, |thrift, field| {
        let (mut scale, mut precision, mut width, mut is_set, mut unit) = (0, 0, 0, false, None);
        match field.id {
            5 => thrift.structure(field, |thrift, field| match field.id {
                1 => thrift.int(field).map(|value| scale = value),
                2 => thrift.int(field).map(|value| precision = value),
                _ => thrift.skip(field),
            })?,
            7 | 8 => thrift.structure(field, |thrift, field| match field.id {
                1 => thrift.flag(field).map(|value| is_set = value),
                2 => thrift.structure(field, |thrift, field| {
                    unit = time_unit(field.id);
                    thrift.skip(field)
                }),
                _ => thrift.skip(field),
            })?,
            10 => thrift.structure(field, |thrift, field| match field.id {
                1 => thrift.int(field).map(|value| width = value),
                2 => thrift.flag(field).map(|value| is_set = value),
                _ => thrift.skip(field),
            })?,
            _ => thrift.skip(field)?,
        }
        kind = match field.id {
            1 => Some(LogicalType::String),
            2 => Some(LogicalType::Map),
            3 => Some(LogicalType::List),
            4 => Some(LogicalType::Enum),
            5 => Some(LogicalType::decimal(scale, precision)),
            6 => Some(LogicalType::Date),
            7 => unit.map(|unit| LogicalType::time(is_set, unit)),
            8 => unit.map(|unit| LogicalType::timestamp(is_set, unit)),
            10 => match width {
                8 | 16 | 32 | 64 => Some(LogicalType::integer(width as i8, is_set)),
                _ => None,
            },
            11 => Some(LogicalType::Unknown),
            12 => Some(LogicalType::Json),
            13 => Some(LogicalType::Bson),
            14 => Some(LogicalType::Uuid),
            15 => Some(LogicalType::Float16),
            _ => None,
        };
        Ok(())
    })?;
    Ok(kind)
}

fn time_unit(id: i16) -> Option<TimeUnit> {
    match id {
        1 => Some(TimeUnit::MILLIS),
        2 => Some(TimeUnit::MICROS),
        3 => Some(TimeUnit::NANOS),
        _ => None,
    }
}
