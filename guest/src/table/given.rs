//! Owns schemas that settings give: as Avro writes them, or as JSON Schema. Leaves what values fit them to `schema`.

use std::collections::BTreeMap;

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
    let root = if is_avro { avro(&json, &mut names, 0)? } else { json_schema(&json, 0)? };
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
    fields.push(Field::new(name, content)).map_err(|misfit| format!("it {misfit}"))
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
        Some("enum") => Type::Scalar(Scalar::Text),
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
        ("uuid", Type::Scalar(Scalar::Text)) => return Ok(content),
        _ => return Err(format!("it has the logical type `{logical}`, which is not known here or not of that type")),
    };
    Ok(Type::Scalar(scalar))
}

/// A type of JSON Schema.
fn json_schema(json: &Value, depth: usize) -> Result<Type, String> {
    if depth > DEPTH_MAX {
        return Err(deep());
    }
    let part = json.as_object().ok_or("it has a type that is no object")?;
    if part.contains_key("$ref") {
        return Err("it has a `$ref`, which is not followed: write the type in its place".to_owned());
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(any) = part.get(key) {
            return json_schema(one_but_null(any.as_array().ok_or("it has a choice that is no list")?)?, depth);
        }
    }
    let kind = match part.get("type") {
        Some(Value::Array(kinds)) => one_but_null(kinds)?.as_str(),
        Some(kind) => kind.as_str(),
        None if part.contains_key("properties") => Some("object"),
        None if part.contains_key("enum") => Some("string"),
        None => None,
    };
    Ok(match kind {
        Some("integer") => LONG,
        Some("number") => Type::Scalar(Scalar::Double),
        Some("boolean") => Type::Scalar(Scalar::Boolean),
        Some("string") => Type::Scalar(string(part)),
        Some("array") => {
            let items = part.get("items").ok_or("it has an `array` without `items`")?;
            Type::List(Box::new(json_schema(items, depth + 1)?))
        }
        Some("object") => return object(part, depth),
        _ => return Err("it has no type that JSON Schema knows".to_owned()),
    })
}

fn one_but_null(choices: &[Value]) -> Result<&Value, String> {
    let is_null = |choice: &&Value| **choice == "null" || choice["type"] == "null";
    let mut others = choices.iter().filter(|choice| !is_null(choice));
    match (others.next(), others.next()) {
        (Some(only), None) => Ok(only),
        _ => Err("it has a choice of something else than `null` and one type".to_owned()),
    }
}

fn string(part: &Map<String, Value>) -> Scalar {
    let is = |key: &str, value: &str| part.get(key).is_some_and(|set| set == value);
    if is("format", "date-time") {
        Scalar::Timestamp { unit: Unit::Micros, is_utc: true }
    } else if is("format", "date") {
        Scalar::Date
    } else if is("contentEncoding", "base64") {
        Scalar::Bytes
    } else {
        Scalar::Text
    }
}

fn object(part: &Map<String, Value>, depth: usize) -> Result<Type, String> {
    if let Some(properties) = part.get("properties") {
        let mut fields = Fields::default();
        for (name, property) in properties.as_object().ok_or("its `properties` are no object")? {
            let content = json_schema(property, depth + 1).map_err(|why| within(name, &why))?;
            push(&mut fields, name, content)?;
        }
        return Ok(Type::Struct(fields));
    }
    match part.get("additionalProperties") {
        Some(values @ Value::Object(_)) => Ok(Type::Map(Box::new(json_schema(values, depth + 1)?))),
        _ => Err("it has an `object` without `properties`".to_owned()),
    }
}

fn within(name: &str, why: &str) -> String {
    format!("of field `{}`, {why}", super::shortened(name))
}
