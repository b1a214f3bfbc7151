//! Owns records in Conduit's messages: from and to those of the host. Leaves who sends them to `source` and `destination`.

use bytes::Bytes;
use conduit_protocol::opencdc::v1::value::Kind;
use conduit_protocol::opencdc::v1::{self as proto, ListValue, Struct, Value, data};
use prost::Message as _;
use s3_connector::record::Record as Plain;

use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Data, NoBody, Operation, Record};

/// How deep structured data may be. Readers of JSON, which come later, stop at some hundred levels.
const DEPTH_MAX: usize = 64;

/// A record as Conduit gets it.
///
/// # Errors
///
/// `Internal` where it has no position, which would end the pipeline as if a user had stopped it, or no metadata.
pub(super) fn encode(record: Plain<NoBody>) -> Result<proto::Record> {
    if record.position.is_empty() || record.metadata.is_empty() {
        return Err(Error::new(ErrorKind::Internal, "a record has no position, or no metadata"));
    }
    Ok(proto::Record {
        position: record.position,
        operation: match record.operation {
            Operation::Create => proto::Operation::Create,
            Operation::Update => proto::Operation::Update,
            Operation::Delete => proto::Operation::Delete,
            Operation::Snapshot => proto::Operation::Snapshot,
        }
        .into(),
        metadata: record.metadata.into_iter().collect(),
        key: encode_data(record.key)?,
        payload: Some(proto::Change {
            before: encode_data(record.payload.before)?,
            after: encode_data(record.payload.after)?,
        }),
    })
}

fn encode_data(data: Option<s3_connector::record::Data<NoBody>>) -> Result<Option<proto::Data>> {
    use s3_connector::record::Data as Plain;
    let data = match data {
        None => return Ok(None),
        Some(Plain::Raw(bytes)) => data::Data::RawData(bytes),
        Some(Plain::Structured(text)) => {
            let json: serde_json::Value = serde_json::from_str(&text)
                .map_err(|error| Error::of(ErrorKind::Internal, error).context("structured data are no JSON"))?;
            match encode_value(json).kind {
                Some(Kind::StructValue(structured)) => data::Data::StructuredData(structured),
                _ => return Err(Error::new(ErrorKind::Internal, "structured data are no JSON object")),
            }
        }
        Some(Plain::Body { bytes, .. }) => match bytes {},
    };
    Ok(Some(proto::Data { data: Some(data) }))
}

fn encode_value(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => {
            let values = values.into_iter().map(|value| encode_value(value).encode_to_vec().into()).collect();
            Kind::ListValue(ListValue { values }.encode_to_vec().into())
        }
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, encode_value(value).encode_to_vec().into()));
            Kind::StructValue(Struct { fields: fields.collect() }.encode_to_vec().into())
        }
    };
    Value { kind: Some(kind) }
}

/// A record that Conduit has sent; where it can't be stored as it is, the reason.
pub(super) fn decode(record: proto::Record) -> (Record, Result<()>) {
    let operation = match record.operation() {
        proto::Operation::Update => Operation::Update,
        proto::Operation::Delete => Operation::Delete,
        proto::Operation::Snapshot => Operation::Snapshot,
        // What is not said is new.
        proto::Operation::Create | proto::Operation::Unspecified => Operation::Create,
    };
    let mut faults = Ok(());
    let mut data = |what: &str, data: Option<proto::Data>| match decode_data(data) {
        Ok(data) => data,
        Err(error) => {
            faults = Err(error.context(what));
            None
        }
    };
    let payload = record.payload.unwrap_or_default();
    let decoded = Record {
        position: record.position,
        operation,
        metadata: record.metadata.into_iter().collect(),
        key: data("the key", record.key),
        payload: Change {
            before: data("the payload before", payload.before),
            after: data("the payload after", payload.after),
        },
    };
    (decoded, faults)
}

fn decode_data(data: Option<proto::Data>) -> Result<Option<Data>> {
    match data.and_then(|data| data.data) {
        None => Ok(None),
        Some(data::Data::RawData(bytes)) => Ok(Some(Data::Raw(bytes))),
        Some(data::Data::StructuredData(structured)) => {
            let json = decode_value(Value { kind: Some(Kind::StructValue(structured)) }, DEPTH_MAX)?;
            Ok(Some(Data::Structured(json.to_string())))
        }
    }
}

fn decode_value(value: Value, depth: usize) -> Result<serde_json::Value> {
    use serde_json::Value as Json;
    if depth == 0 {
        return Err(refused(&format!("more than {DEPTH_MAX} levels")));
    }
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(number)) => match decode_number(number) {
            Some(number) => Json::Number(number),
            None => return Err(refused("a number that JSON has not: NaN or Infinity")),
        },
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::ListValue(list)) => {
            let values = ListValue::decode(list).map_err(unreadable)?.values.into_iter();
            Json::Array(values.map(|value| decode_nested(value, depth)).collect::<Result<_>>()?)
        }
        Some(Kind::StructValue(structured)) => {
            let fields = Struct::decode(structured).map_err(unreadable)?.fields.into_iter();
            Json::Object(fields.map(|(name, value)| Ok((name, decode_nested(value, depth)?))).collect::<Result<_>>()?)
        }
    })
}

fn decode_nested(value: Bytes, depth: usize) -> Result<serde_json::Value> {
    decode_value(Value::decode(value).map_err(unreadable)?, depth - 1)
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("it has {why}"))
}

fn unreadable(error: prost::DecodeError) -> Error {
    Error::of(ErrorKind::Invalid, error).context("it can't be read")
}

/// Every number on the wire is a double; one that is whole is written as it was before.
fn decode_number(number: f64) -> Option<serde_json::Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Some(serde_json::Number::from(number as i64));
    }
    serde_json::Number::from_f64(number)
}

/// Bytes of a record, about as many as it takes in a message.
pub(super) fn bytes(record: &proto::Record) -> usize {
    prost::Message::encoded_len(record)
}

/// A position, for messages to people.
pub(super) fn shown(position: &Bytes) -> String {
    String::from_utf8_lossy(position).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structured(text: &str) -> Plain<NoBody> {
        Plain {
            position: "p".into(),
            operation: Operation::Update,
            metadata: [("a".to_owned(), "b".to_owned())].into_iter().collect(),
            key: Some(s3_connector::record::Data::Raw(Bytes::from_static(&[0xff, 0]))),
            payload: Change { before: None, after: Some(s3_connector::record::Data::Structured(text.to_owned())) },
        }
    }

    #[test]
    fn a_record_comes_back_as_it_left() {
        let text = r#"{"a":[1,2.5,-3,null,true],"b":{"c":"d"},"e":9007199254740992}"#;
        let (back, fault) = decode(encode(structured(text)).unwrap());
        fault.unwrap();
        assert_eq!((back.position, back.operation), (Bytes::from("p"), Operation::Update));
        assert_eq!(back.metadata["a"], "b");
        assert!(matches!(back.key, Some(Data::Raw(bytes)) if bytes[..] == [0xff, 0]));
        assert!(matches!(back.payload.after, Some(Data::Structured(json)) if json == text));
        assert!(back.payload.before.is_none());
    }

    #[test]
    fn data_may_be_deep_but_not_endless() {
        let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let deep = nested(DEPTH_MAX - 1);
        let (back, fault) = decode(encode(structured(&deep)).unwrap());
        fault.unwrap();
        assert!(matches!(back.payload.after, Some(Data::Structured(json)) if json == deep));
        let (_, fault) = decode(encode(structured(&nested(DEPTH_MAX))).unwrap());
        let message = fault.unwrap_err().to_string();
        assert!(message.contains("64 levels"), "{message}");
    }

    #[test]
    fn what_json_has_not_is_refused_with_its_place() {
        let mut record = encode(structured("{}")).unwrap();
        let number = Value { kind: Some(Kind::NumberValue(f64::NAN)) };
        let fields = [("x".to_owned(), number.encode_to_vec().into())].into_iter().collect();
        let structured = Struct { fields }.encode_to_vec().into();
        let data = proto::Data { data: Some(data::Data::StructuredData(structured)) };
        record.payload = Some(proto::Change { before: None, after: Some(data) });
        let (back, fault) = decode(record);
        let message = fault.unwrap_err().to_string();
        assert!(message.contains("payload after") && message.contains("NaN"), "{message}");
        assert_eq!(back.position, "p");
    }

    #[test]
    fn nothing_is_nothing_and_empty_bytes_are_empty_bytes() {
        let (back, fault) = decode(proto::Record::default());
        fault.unwrap();
        assert!(back.key.is_none() && back.payload.after.is_none() && back.operation == Operation::Create);
        let empty = proto::Data { data: Some(data::Data::RawData(Bytes::new())) };
        let (back, _) = decode(proto::Record { key: Some(empty), ..Default::default() });
        assert!(matches!(back.key, Some(Data::Raw(bytes)) if bytes.is_empty()));
    }
}
