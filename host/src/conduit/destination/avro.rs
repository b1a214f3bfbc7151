//! Owns the decoding of Avro data into JSON, as Conduit's Go SDK decodes it for its destinations. Leaves where schemas come from to
//! `schemas`. Pure.
//!
//! A union is its value. Bytes are base64, times RFC 3339, a time of day nanoseconds, a decimal number the text of it.

use std::sync::Once;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::conduit::moment;
use crate::error::{Error, ErrorKind, Result};

/// Bytes that one value may say that it has, before any of them is there.
const ALLOCATION_BYTES_MAX: usize = 64 << 20;

/// How deep a schema may be.
const DEPTH_MAX: usize = 64;

/// Reads a schema.
///
/// # Errors
///
/// `Invalid` where it is none, or one of data of any depth, which could exhaust the stack.
pub(super) fn parse(text: &[u8]) -> Result<Schema> {
    static BOUND: Once = Once::new();
    BOUND.call_once(|| {
        apache_avro::util::max_allocation_bytes(ALLOCATION_BYTES_MAX);
    });
    let text = std::str::from_utf8(text).map_err(|_| refuse("the schema is not UTF-8"))?;
    let schema = Schema::parse_str(text).map_err(|error| refuse(&format!("the schema can't be read: {error}")))?;
    check(&schema, &mut Vec::new(), DEPTH_MAX)?;
    Ok(schema)
}

fn refuse(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

/// Refuses what holds itself.
fn check(schema: &Schema, within: &mut Vec<String>, depth: usize) -> Result<()> {
    if depth == 0 {
        return Err(refuse("the schema is too deep"));
    }
    match schema {
        Schema::Array(array) => check(&array.items, within, depth - 1),
        Schema::Map(map) => check(&map.types, within, depth - 1),
        Schema::Union(union) => union.variants().iter().try_for_each(|variant| check(variant, within, depth - 1)),
        Schema::Record(record) => {
            within.push(record.name.to_string());
            record.fields.iter().try_for_each(|field| check(&field.schema, within, depth - 1))?;
            within.pop();
            Ok(())
        }
        Schema::Ref { name } if within.contains(&name.to_string()) => Err(refuse("the schema holds itself")),
        _ => Ok(()),
    }
}

/// Decodes a value into the text of a JSON object.
///
/// # Errors
///
/// `Invalid` where the bytes are no such value, or JSON has none like it.
pub(super) fn decode(schema: &Schema, bytes: &[u8]) -> Result<String> {
    let mut rest = bytes;
    let read = GenericDatumReader::builder(schema).build().and_then(|reader| reader.read_value(&mut rest));
    let value = read.map_err(|error| refuse(&format!("they are not of their schema: {error}")))?;
    if !rest.is_empty() {
        return Err(refuse(&format!("{} bytes follow the value of their schema", rest.len())));
    }
    match json(value)? {
        object @ Json::Object(_) => Ok(object.to_string()),
        _ => Err(refuse("their schema is not that of a record or a map")),
    }
}

fn json(value: Value) -> Result<Json> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(value),
        Value::Int(number) => number.into(),
        Value::Long(number) => number.into(),
        // Its own shortest text, not that of the double that is nearest to it.
        Value::Float(number) => float(number.to_string().parse().unwrap_or(f64::NAN))?,
        Value::Double(number) => float(number)?,
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => STANDARD.encode(bytes).into(),
        Value::String(text) | Value::Enum(_, text) => text.into(),
        Value::Union(_, value) => json(*value)?,
        Value::Array(values) => Json::Array(values.into_iter().map(json).collect::<Result<_>>()?),
        Value::Map(values) => Json::Object(values.into_iter().map(entry).collect::<Result<_>>()?),
        Value::Record(fields) => Json::Object(fields.into_iter().map(entry).collect::<Result<_>>()?),
        Value::Date(days) => time(i128::from(days) * 86_400_000_000_000)?,
        Value::TimeMillis(millis) => (i64::from(millis) * 1_000_000).into(),
        Value::TimeMicros(micros) => micros.saturating_mul(1000).into(),
        Value::TimestampMillis(millis) | Value::LocalTimestampMillis(millis) => time(i128::from(millis) * 1_000_000)?,
        Value::TimestampMicros(micros) | Value::LocalTimestampMicros(micros) => time(i128::from(micros) * 1000)?,
        Value::TimestampNanos(nanos) | Value::LocalTimestampNanos(nanos) => time(i128::from(nanos))?,
        Value::BigDecimal(number) => number.to_string().into(),
        Value::Uuid(uuid) => uuid.to_string().into(),
        Value::Decimal(_) => return Err(refuse("they hold a decimal number, which can't be decoded yet")),
        Value::Duration(_) => return Err(refuse("they hold a duration of months, days and milliseconds")),
    })
}

fn entry((name, value): (String, Value)) -> Result<(String, Json)> {
    Ok((name, json(value)?))
}

fn float(number: f64) -> Result<Json> {
    serde_json::Number::from_f64(number)
        .map(Json::Number)
        .ok_or_else(|| refuse("they hold a number that JSON has not: NaN or Infinity"))
}

fn time(nanos: i128) -> Result<Json> {
    let nanos = u64::try_from(nanos).map_err(|_| refuse("they hold a time before 1970 or after 2554"))?;
    Ok(moment::nanoseconds(nanos).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"record","name":"r","fields":[
        {"name":"id","type":"long"},{"name":"name","type":["null","string"]},{"name":"raw","type":"bytes"},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"f","type":"float"},
        {"name":"list","type":{"type":"array","items":"int"}}]}"#;

    /// By the format's own rules: zigzag numbers, lengths before bytes, the branch of a union, blocks of an array.
    fn encoded() -> Vec<u8> {
        let mut bytes = vec![14, 2, 4, b'h', b'i', 2, 0xff];
        // 1,700,000,000,000,001 µs, zigzag and in groups of seven bits.
        let mut number = 1_700_000_000_000_001_u64 << 1;
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes.extend(1.2_f32.to_le_bytes());
        bytes.extend([4, 2, 3, 0]);
        bytes
    }

    #[test]
    fn a_record_becomes_an_object() {
        let schema = parse(SCHEMA.as_bytes()).unwrap();
        let json = decode(&schema, &encoded()).unwrap();
        let expected = r#"{"at":"2023-11-14T22:13:20.000001Z","f":1.2,"id":7,"list":[1,-2],"name":"hi","raw":"/w=="}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn garbage_is_refused_and_never_worse() {
        let schema = parse(SCHEMA.as_bytes()).unwrap();
        let whole = encoded();
        for length in 0..whole.len() {
            assert!(decode(&schema, &whole[..length]).is_err(), "{length}");
        }
        assert!(decode(&schema, &[&whole[..], &[0]].concat()).is_err());
        let mut number = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..5 {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bytes.extend(number.to_le_bytes());
            }
            // Whatever comes of it, it comes back.
            let _ = decode(&schema, &bytes);
        }
    }

    #[test]
    fn schemas_that_hold_themselves_or_are_none_are_refused() {
        let list = r#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#;
        assert!(parse(list.as_bytes()).unwrap_err().message().contains("holds itself"));
        assert!(parse(b"{").is_err() && parse(&[0xff]).is_err());
        let twice = r#"{"type":"record","name":"n","fields":[
            {"name":"a","type":{"type":"record","name":"m","fields":[]}},{"name":"b","type":"m"}]}"#;
        parse(twice.as_bytes()).unwrap();
        let number = parse(br#""long""#).unwrap();
        assert!(decode(&number, &[2]).unwrap_err().message().contains("not that of a record"));
    }
}
