//! Owns what the types of a schema are in JSON, and at which levels a value, a list or a map is there. Leaves reading values to
//! `assembly` and writing them to `value`.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, ColumnPath, Type, TypePtr};

use super::{Broken, DEPTH_MAX};
use crate::rows::moment::Unit;
use crate::rows::unique::Unique;

/// A type, and where its values are.
#[derive(Debug)]
pub(super) struct Node {
    /// The definition level from which on it is there, where it can be null.
    pub(super) there_from: Option<i16>,
    /// The first of its columns, and the one after its last.
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) shape: Shape,
}

/// What is made of a type.
#[derive(Debug)]
pub(super) enum Shape {
    Leaf(Leaf),
    Struct(Vec<Member>),
    List(Repeated, Box<Node>),
    /// Of keys, and of values.
    Map(Repeated, Box<Node>, Box<Node>),
}

/// Levels of what is repeated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated {
    /// The definition level from which on there is an element.
    pub(super) some_from: i16,
    /// The repetition level of all elements but the first one.
    pub(super) again_from: i16,
}

/// A column, or a field of a struct.
#[derive(Debug)]
pub(super) struct Member {
    /// `"name":`
    pub(super) name: String,
    pub(super) node: Node,
}

/// What a value without parts is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf {
    /// What its physical type tells.
    Plain,
    Text,
    Unsigned,
    Half,
    Uuid,
    Date,
    Interval,
    Decimal {
        scale: usize,
    },
    Time(Unit),
    Timestamp {
        unit: Unit,
        is_utc: bool,
    },
}

/// The columns of a file as fields of a struct, and what the crate wants to know of each column that has values.
pub(super) fn root(schema: &Type) -> Result<(Vec<Member>, Vec<ColumnDescPtr>), Broken> {
    let mut columns = Columns(Vec::new());
    let members = columns.members(schema, Level::default(), 0)?;
    Ok((members, columns.0))
}

/// Levels at a place of a schema.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    definition: i16,
    repetition: i16,
}

impl Level {
    fn optional(self) -> Self {
        Self { definition: self.definition + 1, ..self }
    }

    fn repeated(self) -> Self {
        Self { definition: self.definition + 1, repetition: self.repetition + 1 }
    }

    fn elements(self) -> Repeated {
        Repeated { some_from: self.definition, again_from: self.repetition }
    }
}

struct Columns(Vec<ColumnDescPtr>);

impl Columns {
    fn members(&mut self, group: &Type, level: Level, depth: usize) -> Result<Vec<Member>, Broken> {
        let mut unique = Unique::default();
        let member = |field: &TypePtr| {
            let name = format!("{}:", serde_json::Value::from(unique.name(field.name())));
            Ok(Member { name, node: self.node(field, level, depth + 1)? })
        };
        group.get_fields().iter().map(member).collect()
    }

    fn node(&mut self, field: &TypePtr, level: Level, depth: usize) -> Result<Node, Broken> {
        let first = self.0.len();
        let info = field.get_basic_info();
        let (there_from, shape) = match info.has_repetition().then(|| info.repetition()) {
            Some(Repetition::REQUIRED) => (None, self.present(field, level, depth)?),
            Some(Repetition::OPTIONAL) => {
                let level = level.optional();
                (Some(level.definition), self.present(field, level, depth)?)
            }
            // A list without a group around it.
            Some(Repetition::REPEATED) => {
                let level = level.repeated();
                let element = self.element(field, level, depth)?;
                (None, Shape::List(level.elements(), Box::new(element)))
            }
            None => return Err(strange(field, "column")),
        };
        Ok(Node { there_from, first, end: self.0.len(), shape })
    }

    /// What is repeated itself, as one element of it.
    fn element(&mut self, field: &TypePtr, level: Level, depth: usize) -> Result<Node, Broken> {
        let first = self.0.len();
        let shape = self.present(field, level, depth)?;
        Ok(Node { there_from: None, first, end: self.0.len(), shape })
    }

    /// What a type is where it is neither null nor repeated.
    fn present(&mut self, field: &TypePtr, level: Level, depth: usize) -> Result<Shape, Broken> {
        if depth > DEPTH_MAX {
            return Err(Broken::new(format!("its types are nested more than {DEPTH_MAX} deep")));
        }
        if field.is_primitive() {
            let leaf = leaf(field)?;
            // Its path would be in messages alone.
            let path = ColumnPath::new(Vec::new());
            let column = ColumnDescriptor::new(field.clone(), level.definition, level.repetition, path);
            self.0.push(Arc::new(column));
            return Ok(Shape::Leaf(leaf));
        }
        let fields = field.get_fields();
        let repeated = fields.first().filter(|first| fields.len() == 1 && is_repeated(first));
        match field.get_basic_info().converted_type() {
            ConvertedType::LIST => {
                let repeated = repeated.ok_or_else(|| strange(field, "list"))?;
                let level = level.repeated();
                let element = if is_element(repeated) {
                    self.element(repeated, level, depth + 1)?
                } else {
                    let [element] = repeated.get_fields() else { return Err(strange(field, "list")) };
                    self.node(element, level, depth + 1)?
                };
                Ok(Shape::List(level.elements(), Box::new(element)))
            }
            ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => {
                let entry = repeated.filter(|entry| !entry.is_primitive()).ok_or_else(|| strange(field, "map"))?;
                let level = level.repeated();
                match entry.get_fields() {
                    [key] => Ok(Shape::List(level.elements(), Box::new(self.node(key, level, depth + 1)?))),
                    [key, value] => {
                        let key = self.node(key, level, depth + 1)?;
                        let value = self.node(value, level, depth + 1)?;
                        Ok(Shape::Map(level.elements(), Box::new(key), Box::new(value)))
                    }
                    _ => Err(strange(field, "map")),
                }
            }
            _ if fields.is_empty() => Err(strange(field, "struct")),
            _ => Ok(Shape::Struct(self.members(field, level, depth)?)),
        }
    }
}

fn strange(field: &Type, what: &str) -> Broken {
    Broken::new(format!("its column `{}` is no proper {what}", field.name()))
}

fn is_repeated(field: &Type) -> bool {
    let info = field.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

/// Whether what is repeated in a list is an element of it, as old writers have it, and no group around one:
/// <https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#backward-compatibility-rules>
fn is_element(repeated: &Type) -> bool {
    if repeated.is_primitive() {
        return true;
    }
    let fields = repeated.get_fields();
    let holds_list = repeated.get_basic_info().converted_type() == ConvertedType::LIST
        || matches!(fields, [field] if is_repeated(field));
    !holds_list && (fields.len() > 1 || repeated.name() == "array" || repeated.name().ends_with("_tuple"))
}

/// What a column's values are. What the crate can't read is refused.
fn leaf(field: &Type) -> Result<Leaf, Broken> {
    let info = field.get_basic_info();
    let (physical, converted) = (field.get_physical_type(), info.converted_type());
    if !is_known(physical, converted) {
        let name = field.name();
        return Err(Broken::new(format!("its column `{name}` is a {converted} in a {physical}, which can't be read")));
    }
    if let Type::PrimitiveType { type_length: ..=0, .. } = field
        && physical == Physical::FIXED_LEN_BYTE_ARRAY
    {
        return Err(strange(field, "column: its values have no bytes"));
    }
    Ok(match info.logical_type_ref() {
        Some(LogicalType::Uuid) => Leaf::Uuid,
        Some(LogicalType::Float16) => Leaf::Half,
        Some(LogicalType::String | LogicalType::Json | LogicalType::Enum) => Leaf::Text,
        Some(LogicalType::Date) => Leaf::Date,
        Some(LogicalType::Integer(integer)) if !integer.is_signed => Leaf::Unsigned,
        Some(LogicalType::Decimal(decimal)) => Leaf::Decimal { scale: scale(decimal.scale)? },
        Some(LogicalType::Time(time)) => Leaf::Time(unit(time.unit)),
        Some(LogicalType::Timestamp(timestamp)) => {
            Leaf::Timestamp { unit: unit(timestamp.unit), is_utc: timestamp.is_adjusted_to_u_t_c }
        }
        // Older files say it in another place.
        _ => match converted {
            ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Leaf::Text,
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                Leaf::Unsigned
            }
            ConvertedType::DATE => Leaf::Date,
            ConvertedType::INTERVAL => Leaf::Interval,
            ConvertedType::DECIMAL => Leaf::Decimal { scale: scale(field.get_scale())? },
            ConvertedType::TIME_MILLIS => Leaf::Time(Unit::Millis),
            ConvertedType::TIME_MICROS => Leaf::Time(Unit::Micros),
            ConvertedType::TIMESTAMP_MILLIS => Leaf::Timestamp { unit: Unit::Millis, is_utc: true },
            ConvertedType::TIMESTAMP_MICROS => Leaf::Timestamp { unit: Unit::Micros, is_utc: true },
            _ => Leaf::Plain,
        },
    })
}

/// Whether a physical type can hold what a column is said to be.
fn is_known(physical: Physical, converted: ConvertedType) -> bool {
    match physical {
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
        Physical::FIXED_LEN_BYTE_ARRAY => {
            matches!(converted, ConvertedType::NONE | ConvertedType::DECIMAL | ConvertedType::INTERVAL)
        }
        Physical::BOOLEAN | Physical::INT96 | Physical::FLOAT | Physical::DOUBLE => true,
    }
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
