//! Owns schemas of JSON Schema: their columns in the order in which they are written, and what local references lead to.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::super::schema::{Fields, Scalar, Type, Unit};
use super::super::{COLUMNS_MAX, DEPTH_MAX, shortened};
use super::{LONG, deep, push, symbols, within};

/// Reads the type that a text of JSON Schema describes.
///
/// # Errors
///
/// What is wrong with it, to follow "must be a schema, but".
pub(super) fn read(text: &str) -> Result<Type, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let root = Place::Schema.deserialize(&mut deserializer).map_err(|why| format!("it is no JSON: {why}"))?;
    Reading { root: &root, open: Vec::new(), room: COLUMNS_MAX + 1 }.schema(&root, 0)
}

/// A schema that is being read.
struct Reading<'a> {
    root: &'a Value,
    /// The references that are being followed.
    open: Vec<&'a str>,
    /// Types that may still come: references can have few words mean many.
    room: usize,
}

impl<'a> Reading<'a> {
    fn schema(&mut self, json: &'a Value, depth: usize) -> Result<Type, String> {
        if depth > DEPTH_MAX {
            return Err(deep());
        }
        let part = json.as_object().ok_or("it has a type that is no object")?;
        if let Some(reference) = part.get("$ref") {
            return self.follow(reference.as_str().ok_or("it has a `$ref` that is no text")?, depth);
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(any) = part.get(key) {
                return self.schema(one_but_null(any.as_array().ok_or("it has a choice that is no list")?)?, depth);
            }
        }
        self.room = self.room.checked_sub(1).ok_or_else(|| format!("it has more than {COLUMNS_MAX} columns"))?;
        self.plain(part, depth)
    }

    /// The type that a reference leads to, within the same text.
    fn follow(&mut self, reference: &'a str, depth: usize) -> Result<Type, String> {
        let shown = shortened(reference);
        if self.open.contains(&reference) {
            return Err(format!("its `$ref` `{shown}` leads to itself, and no table has columns without end"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(deep());
        }
        let is_local = reference.starts_with("#/$defs/") || reference.starts_with("#/definitions/");
        let target = if is_local { self.root.pointer(&reference[1..]) } else { None };
        let target = target.ok_or_else(|| {
            format!("it has the `$ref` `{shown}`, which is not in it: only such as `#/$defs/NAME` are followed")
        })?;
        self.open.push(reference);
        let content = self.schema(target, depth);
        self.open.pop();
        content
    }

    fn plain(&mut self, part: &'a Map<String, Value>, depth: usize) -> Result<Type, String> {
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
            Some("string") => match part.get("enum") {
                Some(list) => symbols(list.as_array().ok_or("its `enum` is no list")?)?,
                None => Type::Scalar(string(part)),
            },
            Some("array") => {
                let items = part.get("items").ok_or("it has an `array` without `items`")?;
                Type::List(Box::new(self.schema(items, depth + 1)?))
            }
            Some("object") => return self.object(part, depth),
            _ => return Err("it has no type that JSON Schema knows".to_owned()),
        })
    }

    fn object(&mut self, part: &'a Map<String, Value>, depth: usize) -> Result<Type, String> {
        if let Some(properties) = part.get("properties") {
            let mut fields = Fields::default();
            for property in properties.as_array().ok_or("its `properties` are no object")? {
                let name = property[0].as_str().unwrap_or_default();
                let content = self.schema(&property[1], depth + 1).map_err(|why| within(name, &why))?;
                push(&mut fields, name, content)?;
            }
            return Ok(Type::Struct(fields));
        }
        match part.get("additionalProperties") {
            Some(values @ Value::Object(_)) => Ok(Type::Map(Box::new(self.schema(values, depth + 1)?))),
            _ => Err("it has an `object` without `properties`".to_owned()),
        }
    }
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
    } else if is("format", "uuid") {
        Scalar::Uuid
    } else if is("contentEncoding", "base64") {
        Scalar::Bytes
    } else {
        Scalar::Text
    }
}

/// Where a value is in a schema. `properties` are read as a list of pairs, since their order is that of columns, which a map
/// would lose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Schema,
    Properties,
    Definitions,
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(Self::Schema)? {
            elements.push(element);
        }
        // A list in the place of `properties` must not pass for the pairs that those become.
        Ok(if self == Self::Properties { Value::Null } else { elements.into() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut pairs, mut members) = (Vec::new(), Map::new());
        while let Some(name) = map.next_key::<String>()? {
            let place = match (self, name.as_str()) {
                (Self::Schema, "properties") => Self::Properties,
                (Self::Schema, "$defs" | "definitions") => Self::Definitions,
                _ => Self::Schema,
            };
            let value = map.next_value_seed(place)?;
            if self == Self::Properties {
                pairs.push(Value::Array(vec![name.into(), value]));
            } else {
                members.insert(name, value);
            }
        }
        Ok(if self == Self::Properties { pairs.into() } else { members.into() })
    }
}
