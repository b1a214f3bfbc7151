//! Owns what the values of a file look like: its schema, resolved once, with all that reading and writing them needs at hand.
//! Leaves both to `value`, the grammar of schemas and the decoding of values without parts to `apache_avro`.

use std::collections::BTreeMap;

use apache_avro::reader::single_object::GenericSingleObjectReader;
use apache_avro::schema::{DecimalSchema, InnerDecimalSchema, Name, Schema, UuidSchema};
use apache_avro::types::Value;
use apache_avro::{AvroResult, error::Details};
use serde_json::Value as Json;

use crate::rows::Broken;

/// Bytes of the text of a schema. Those of tables with thousands of columns have some hundred KiB.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// Levels of a schema's text. A record that may be null takes four of them, so that 25 may be within each other. Twice as many
/// would still not exhaust the stack that a component has.
const SCHEMA_DEPTH_MAX: usize = 100;

/// Parts of a schema's text that stand in a record, counted once for each record around them. The crate copies each record
/// after it was read, with all that is in it. A thousand fields in each of ten records within each other are 165,000 parts;
/// so many as this take 80 MiB. Without a bound, a schema within its size would take most of a component's memory.
const COPIED_PARTS_MAX: usize = 1 << 19;

/// What of a schema says how values are written. Defaults and aliases are for readers that have a schema of their own, and
/// would be refused where they don't fit, though they don't matter here; of the rest there may be much.
const KEPT: [&str; 11] =
    ["type", "name", "namespace", "fields", "symbols", "items", "values", "size", "logicalType", "precision", "scale"];

/// Where a shape stands among all of a file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At(usize);

/// What a value looks like.
pub(super) enum Shape {
    Null,
    /// A value without parts.
    Leaf(Box<Leaf>),
    Array(At),
    Map(At),
    Union(Vec<At>),
    /// Fields: what JSON has before the value, and its shape.
    Record(Vec<(String, At)>),
}

/// How many bytes a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// As many as a number has.
    Number,
    /// As many.
    Fixed(usize),
    /// As many as a number before them says.
    Prefixed,
    /// The same, and in them are some that another number stands before.
    PrefixedTwice,
}

/// A value without parts.
pub(super) struct Leaf {
    pub(super) extent: Extent,
    /// Digits after the point of a decimal number.
    pub(super) scale: usize,
    /// What the crate calls an object is a value after a header. This one's headers are empty. Unlike its reader of plain
    /// values, it owns its schema, which need not be resolved for each value again.
    reader: GenericSingleObjectReader,
}

impl Leaf {
    fn new(schema: &Schema) -> Result<Self, Broken> {
        let extent = match schema {
            Schema::String | Schema::Bytes | Schema::Uuid(UuidSchema::String | UuidSchema::Bytes) => Extent::Prefixed,
            Schema::BigDecimal => Extent::PrefixedTwice,
            Schema::Decimal(DecimalSchema { inner: InnerDecimalSchema::Bytes, .. }) => Extent::Prefixed,
            Schema::Decimal(DecimalSchema { inner: InnerDecimalSchema::Fixed(fixed), .. })
            | Schema::Fixed(fixed)
            | Schema::Duration(fixed)
            | Schema::Uuid(UuidSchema::Fixed(fixed)) => Extent::Fixed(fixed.size),
            Schema::Boolean => Extent::Fixed(1),
            Schema::Float => Extent::Fixed(4),
            Schema::Double => Extent::Fixed(8),
            _ => Extent::Number,
        };
        let scale = if let Schema::Decimal(decimal) = schema { decimal.scale } else { 0 };
        let reader = GenericSingleObjectReader::builder().schema(schema.clone()).header(Vec::new()).build();
        let reader = reader.map_err(|_| Broken::new("its schema makes no sense"))?;
        Ok(Self { extent, scale, reader })
    }

    /// Reads a value. Where the bytes end before it does, it may be `Null`, which no leaf is.
    pub(super) fn read(&self, rest: &mut &[u8]) -> AvroResult<Value> {
        self.reader.read_value(rest)
    }
}

/// What all values of a file look like.
pub(super) struct Shapes {
    all: Vec<Shape>,
    /// A row.
    pub(super) root: At,
    /// A name in a map.
    pub(super) name: Leaf,
}

impl Shapes {
    /// Reads a schema.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Broken> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(Broken::new("its schema is larger than 1 MiB"));
        }
        let mut json = serde_json::from_slice(text).map_err(|_| Broken::new("its schema is no JSON"))?;
        tidy(&mut json, SCHEMA_DEPTH_MAX)?;
        let mut copied = 0;
        count_parts(&json, &mut copied);
        if copied > COPIED_PARTS_MAX {
            return Err(Broken::new("its schema has too many parts"));
        }
        let schema = Schema::parse(&json).map_err(|why| refuse(why.details()))?;
        let mut builder = Builder::default();
        let root = builder.add(&schema)?;
        Ok(Self { all: builder.all, root, name: Leaf::new(&Schema::String)? })
    }

    pub(super) fn get(&self, at: At) -> &Shape {
        &self.all[at.0]
    }

    /// Whether a row is an object of JSON by itself.
    pub(super) fn is_object(&self) -> bool {
        matches!(self.get(self.root), Shape::Record(_) | Shape::Map(_))
    }
}

/// Says what is wrong with a schema, without a word of it.
fn refuse(why: &Details) -> Broken {
    Broken::new(match why {
        Details::InvalidSchemaName(..)
        | Details::InvalidNamespace(..)
        | Details::EnumSymbolName(_)
        | Details::FieldName(_) => "its schema has a name that Avro doesn't permit",
        Details::ParsePrimitive(_) | Details::ParsePrimitiveSimilar(..) => "its schema lacks a type that it refers to",
        _ => "its schema is none that Avro knows",
    })
}

/// Drops what doesn't matter, and refuses what the crate had better not see.
fn tidy(json: &mut Json, depth: usize) -> Result<(), Broken> {
    let depth = depth.checked_sub(1).ok_or_else(|| Broken::new("its schema is too deep"))?;
    match json {
        Json::Array(parts) => parts.iter_mut().try_for_each(|part| tidy(part, depth)),
        Json::Object(part) => {
            part.retain(|key, _| KEPT.contains(&key.as_str()));
            let kind = part.get("type").and_then(Json::as_str);
            // Where one lacks what makes it one, the crate takes its type for a name, and copies what has it.
            let lacks = match kind {
                Some("record") => !part.contains_key("fields"),
                Some("enum") => !part.contains_key("symbols"),
                Some("fixed") => !part.contains_key("size"),
                _ => false,
            };
            if lacks {
                return Err(Broken::new("its schema has a type without its parts"));
            }
            // A text keeps the form that it was written in; and Avro knows no UUID of any other type but that of 16 bytes.
            let is_dropped =
                |logical: &Json| logical.as_str().is_none_or(|name| name == "uuid" && kind != Some("fixed"));
            if part.get("logicalType").is_some_and(is_dropped) {
                part.remove("logicalType");
            }
            part.values_mut().try_for_each(|part| tidy(part, depth))
        }
        _ => Ok(()),
    }
}

/// How many parts there are. Adds those of what the crate copies to `copied`.
fn count_parts(json: &Json, copied: &mut usize) -> usize {
    match json {
        Json::Array(parts) => parts.iter().map(|part| count_parts(part, copied)).sum::<usize>() + 1,
        Json::Object(part) => {
            let count = part.values().map(|part| count_parts(part, copied)).sum::<usize>() + 1;
            if part.contains_key("fields") || part.contains_key("logicalType") {
                *copied += count;
            }
            count
        }
        _ => 1,
    }
}

/// Makes shapes of a schema's parts.
#[derive(Default)]
struct Builder {
    all: Vec<Shape>,
    /// Those that have a name, with its namespace.
    names: BTreeMap<String, At>,
    /// Those that have no name, and are alike wherever they stand.
    nameless: Vec<(Schema, At)>,
}

impl Builder {
    fn add(&mut self, schema: &Schema) -> Result<At, Broken> {
        match schema {
            Schema::Ref { name } => self
                .names
                .get(&name.fullname(None))
                .copied()
                .ok_or_else(|| Broken::new("its schema lacks a type that it refers to")),
            Schema::Array(array) => {
                let items = self.add(&array.items)?;
                Ok(self.push(Shape::Array(items)))
            }
            Schema::Map(map) => {
                let values = self.add(&map.types)?;
                Ok(self.push(Shape::Map(values)))
            }
            Schema::Union(union) => {
                let variants = union.variants().iter().map(|variant| self.add(variant)).collect::<Result<_, _>>()?;
                Ok(self.push(Shape::Union(variants)))
            }
            Schema::Record(record) => {
                // Its place is known before what it is: fields may be of its own type.
                let at = self.push(Shape::Null);
                self.names.insert(record.name.fullname(None), at);
                let fields = record.fields.iter().enumerate().map(|(number, field)| {
                    let separator = if number == 0 { "" } else { "," };
                    let before = format!("{separator}{}:", Json::from(field.name.as_str()));
                    Ok((before, self.add(&field.schema)?))
                });
                let fields = fields.collect::<Result<_, Broken>>()?;
                self.all[at.0] = Shape::Record(fields);
                Ok(at)
            }
            _ => self.add_leaf(schema),
        }
    }

    fn add_leaf(&mut self, schema: &Schema) -> Result<At, Broken> {
        let name = name(schema);
        if name.is_none()
            && let Some((_, at)) = self.nameless.iter().find(|(known, _)| known == schema)
        {
            return Ok(*at);
        }
        let shape = match schema {
            Schema::Null => Shape::Null,
            _ => Shape::Leaf(Box::new(Leaf::new(schema)?)),
        };
        let at = self.push(shape);
        match name {
            Some(name) => _ = self.names.insert(name.fullname(None), at),
            None => self.nameless.push((schema.clone(), at)),
        }
        Ok(at)
    }

    fn push(&mut self, shape: Shape) -> At {
        self.all.push(shape);
        At(self.all.len() - 1)
    }
}

/// The name of what has no parts.
fn name(schema: &Schema) -> Option<&Name> {
    match schema {
        Schema::Enum(symbols) => Some(&symbols.name),
        Schema::Fixed(fixed)
        | Schema::Duration(fixed)
        | Schema::Uuid(UuidSchema::Fixed(fixed))
        | Schema::Decimal(DecimalSchema { inner: InnerDecimalSchema::Fixed(fixed), .. }) => Some(&fixed.name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::rows::avro::AvroFile;
    use crate::rows::avro::tests::{head, row};

    #[test]
    fn neither_schemas_nor_rows_exhaust_the_stack() {
        let deepest = |begin: &str, middle: &str, end: &str, levels| {
            [begin.repeat(levels), middle.to_owned(), end.repeat(levels)].concat()
        };
        let check = move || {
            for (begin, end) in [
                (r#"{"type":"array","items":"#, "}"),
                (r#"{"type":"map","values":"#, "}"),
                (r#"{"type":"#, "}"),
                (r#"{"logicalType":"date","type":"#, "}"),
                (r#"{"type":"record","name":"r","fields":[{"name":"a","type":"#, "}]}"),
            ] {
                for levels in [31, 47, 97, 126, 10_000] {
                    // Whatever comes of it.
                    let _ = AvroFile::open(&head(&deepest(begin, r#""int""#, end, levels), "null"));
                }
            }
            let list =
                r#"{"type":"record","name":"n","fields":[{"name":"a","type":["null",{"type":"array","items":"n"}]}]}"#;
            assert_eq!(row(list, &[2, 2].repeat(1000)).unwrap_err(), "it is more than 64 levels deep");
        };
        // Half of what a component has; code that is not optimized needs more.
        let bytes = if cfg!(debug_assertions) { 4 << 20 } else { 512 << 10 };
        std::thread::Builder::new().stack_size(bytes).spawn(check).unwrap().join().unwrap();
    }
}
