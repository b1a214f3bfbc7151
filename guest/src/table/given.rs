//! Owns schemas that settings give, as Avro writes them. Leaves those of JSON Schema to `json_schema`, and what values fit them to
//! `schema`.

mod json_schema;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::schema::{Field, Fields, Scalar, Schema, Type, Unit};
use super::{COLUMNS_MAX, DEPTH_MAX};

/// Digits of a decimal number: as many as 16 bytes hold, and most databases.
const PRECISION_MAX: usize = 38;

/// Bytes of a `fixed`.
const FIXED_MAX: usize = 1 << 20;

/// A whole number of 64 bits, of any size.
const LONG: Type = Type::Scalar(Scalar::Long { is_wide: true });

/// Reads the columns of a schema.
///
/// # Errors
///
/// What is wrong with it, to follow "must be a schema, but".
pub fn parse(text: &str) -> Result<Fields, String> {
    let json: Value = serde_json::from_str(text).map_err(|why| format!("it is no JSON: {why}"))?;
    let mut names = BTreeMap::new();
    let is_avro = json["type"] == "record";
    let root = if is_avro { avro(&json, &mut names, 0)? } else { json_schema::read(text)? };
    let Type::Struct(fields) = root else {
        return Err("its outermost type is neither a `record` of Avro nor an `object` with `properties`".to_owned());
    };
    if fields.is_empty() {
        return Err("it has no fields".to_owned());
    }
    if Schema::given(fields.clone(), 0).columns() > COLUMNS_MAX {
        return Err(format!("it has more than {COLUMNS_MAX} columns"));
    }
    Ok(fields)
}

fn deep() -> String {
    format!("it is more than {DEPTH_MAX} levels deep")
}

fn push(fields: &mut Fields, name: &str, content: Type) -> Result<(), String> {
    fields.push(Field::new(name, content)).map_err(|misfit| {
        let whose = if misfit.names_a_field() { "its" } else { "it" };
        format!("{whose} {misfit}")
    })
}

/// A type of Avro. Types that have a name are known by it from then on.
fn avro(json: &Value, names: &mut BTreeMap<String, Type>, depth: usize) -> Result<Type, String> {
    if depth > DEPTH_MAX {
        return Err(deep());
    }
    match json {
        Value::String(name) => avro_named(name, names),
        Value::Array(union) => {
            let mut types = union.iter().filter(|part| *part != "null");
            match (types.next(), types.next()) {
                (Some(only), None) => avro(only, names, depth),
                _ => Err("it has a union of something else than `null` and one type".to_owned()),
            }
        }
        Value::Object(part) => avro_object(part, names, depth),
        _ => Err("it has a type that is neither a name, a list nor an object".to_owned()),
    }
}

fn avro_named(name: &str, names: &BTreeMap<String, Type>) -> Result<Type, String> {
    Ok(match name {
        "boolean" => Type::Scalar(Scalar::Boolean),
        "int" => Type::Scalar(Scalar::Int),
        "long" => LONG,
        "float" => Type::Scalar(Scalar::Float),
        "double" => Type::Scalar(Scalar::Double),
        "string" => Type::Scalar(Scalar::Text),
        "bytes" => Type::Scalar(Scalar::Bytes),
        _ => return names.get(name).cloned().ok_or_else(|| format!("it has the type `{name}`, which is not known")),
    })
}

fn avro_object(part: &Map<String, Value>, names: &mut BTreeMap<String, Type>, depth: usize) -> Result<Type, String> {
    let kind = part.get("type").ok_or("it has a type without `type`")?;
    let inner = |key: &str| part.get(key).ok_or_else(|| format!("it has a type without `{key}`"));
    let content = match kind.as_str() {
        Some("record") => {
            let list = inner("fields")?.as_array().ok_or("its `fields` are no list")?;
            let mut fields = Fields::default();
            for field in list {
                let name = field["name"].as_str().ok_or("it has a field without `name`")?;
                let content = avro(&field["type"], names, depth + 1).map_err(|why| within(name, &why))?;
                push(&mut fields, name, content)?;
            }
            Type::Struct(fields)
        }
        Some("array") => Type::List(Box::new(avro(inner("items")?, names, depth + 1)?)),
        Some("map") => Type::Map(Box::new(avro(inner("values")?, names, depth + 1)?)),
        Some("enum") => symbols(inner("symbols")?.as_array().ok_or("its `symbols` are no list")?)?,
        Some("fixed") => {
            let size = inner("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|size| (1..=FIXED_MAX).contains(size));
            Type::Scalar(Scalar::Fixed(size.ok_or("it has a `fixed` of no size from 1 to 1048576")?))
        }
        _ => avro(kind, names, depth)?,
    };
    let content = match part.get("logicalType").and_then(Value::as_str) {
        Some(logical) => logical_type(logical, content, part)?,
        None => content,
    };
    if let Some(name) = part.get("name").and_then(Value::as_str) {
        names.insert(name.to_owned(), content.clone());
        if let Some(namespace) = part.get("namespace").and_then(Value::as_str) {
            names.insert(format!("{namespace}.{name}"), content.clone());
        }
    }
    Ok(content)
}

/// The texts that a column takes; null, which every column takes, is none.
fn symbols(list: &[Value]) -> Result<Type, String> {
    let texts = list.iter().filter(|symbol| !symbol.is_null()).map(|symbol| symbol.as_str().map(str::to_owned));
    let texts: Option<BTreeSet<_>> = texts.collect();
    texts.map(Type::Enum).ok_or_else(|| "it has an enum of something else than texts".to_owned())
}

/// What a logical type makes of another one.
fn logical_type(logical: &str, content: Type, part: &Map<String, Value>) -> Result<Type, String> {
    let number = |key: &str| part.get(key).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    let scalar = match (logical, &content) {
        ("decimal", Type::Scalar(Scalar::Bytes | Scalar::Fixed(_))) => {
            let precision = number("precision").filter(|precision| (1..=PRECISION_MAX).contains(precision));
            let precision = precision.ok_or("it has a `decimal` of no precision from 1 to 38")?;
            let scale = number("scale").unwrap_or(0);
            if scale > precision {
                return Err("it has a `decimal` whose scale is larger than its precision".to_owned());
            }
            Scalar::Decimal { precision, scale }
        }
        ("date", Type::Scalar(Scalar::Int)) => Scalar::Date,
        ("time-micros", Type::Scalar(Scalar::Long { .. })) => Scalar::Time,
        ("timestamp-millis", Type::Scalar(Scalar::Long { .. })) => {
            Scalar::Timestamp { unit: Unit::Millis, is_utc: true }
        }
        ("timestamp-micros", Type::Scalar(Scalar::Long { .. })) => {
            Scalar::Timestamp { unit: Unit::Micros, is_utc: true }
        }
        ("local-timestamp-millis", Type::Scalar(Scalar::Long { .. })) => {
            Scalar::Timestamp { unit: Unit::Millis, is_utc: false }
        }
        ("local-timestamp-micros", Type::Scalar(Scalar::Long { .. })) => {
            Scalar::Timestamp { unit: Unit::Micros, is_utc: false }
        }
        ("uuid", Type::Scalar(Scalar::Text)) => Scalar::Uuid,
        _ => return Err(format!("it has the logical type `{logical}`, which is not known here or not of that type")),
    };
    Ok(Type::Scalar(scalar))
}

fn within(name: &str, why: &str) -> String {
    format!("of field `{}`, {why}", super::shortened(name))
}
