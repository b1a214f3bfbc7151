//! OpenCDC records as JSON lines, in Conduit's encoding.
//!
//! `{"position":…,"operation":…,"metadata":{…},"key":…,"payload":{"before":…,"after":…}}`: positions and raw
//! data are padded base64 strings, structured data are objects, nothing is null. Any bytes survive.
//! Reading streams is left to the caller: a record whose `payload.after` is a body is written around it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Change, Data, Metadata, NoBody, Operation, Record};

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON, or not of a record's shape.
    #[error("not an OpenCDC record: {0}")]
    Shape(#[from] serde_json::Error),
    /// A string that should be base64 is not.
    #[error("`{field}` is not padded base64")]
    Base64 {
        /// Where in the record.
        field: &'static str,
    },
    /// A key or payload is neither a base64 string, an object nor null.
    #[error("`{field}` must be a base64 string, an object or null")]
    Data {
        /// Where in the record.
        field: &'static str,
    },
    /// No such operation.
    #[error("unknown operation `{0}`; it is one of create, update, delete, snapshot")]
    Operation(String),
}

/// Appends the record as one line, newline included.
pub fn encode_line(record: &Record<NoBody>, out: &mut Vec<u8>) {
    encode_head(record, out);
    encode_data(record.payload.after.as_ref(), out);
    encode_tail(out);
}

/// Appends everything in front of the value of `payload.after`, which is left to the caller.
///
/// Bodies elsewhere in the record are written as null: a key or a before-image is never a body.
pub fn encode_head<B>(record: &Record<B>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"position\":");
    encode_bytes(&record.position, out);
    out.extend_from_slice(b",\"operation\":\"");
    out.extend_from_slice(record.operation.as_str().as_bytes());
    out.extend_from_slice(b"\",\"metadata\":{");
    for (index, (name, value)) in record.metadata.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode_string(name, out);
        out.push(b':');
        encode_string(value, out);
    }
    out.extend_from_slice(b"},\"key\":");
    encode_data(record.key.as_ref(), out);
    out.extend_from_slice(b",\"payload\":{\"before\":");
    encode_data(record.payload.before.as_ref(), out);
    out.extend_from_slice(b",\"after\":");
}

/// Appends what follows the value of `payload.after`.
pub fn encode_tail(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}}\n");
}

/// Appends a key or payload; a body, whose bytes are elsewhere, is written as null.
pub fn encode_data<B>(data: Option<&Data<B>>, out: &mut Vec<u8>) {
    match data {
        Some(Data::Raw(bytes)) => encode_bytes(bytes, out),
        // A newline in JSON text can only stand between tokens, where a space means the same.
        Some(Data::Structured(text)) => {
            out.extend(
                text.bytes()
                    .map(|b| if b == b'\n' || b == b'\r' { b' ' } else { b }),
            );
        }
        Some(Data::Body { .. }) | None => out.extend_from_slice(b"null"),
    }
}

/// Appends bytes as a base64 string with its quotes.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    encode_base64(bytes, out);
    out.push(b'"');
}

/// Appends bytes as padded base64 without quotes. A stream is encoded piece by piece, in multiples of three
/// bytes up to the last piece.
pub fn encode_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("the slice was sized for its text");
    out.truncate(start + written);
}

fn encode_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("writing a string into memory cannot fail");
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    position: Option<String>,
    operation: String,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<Payload<'a>>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

/// Reads one line.
///
/// # Errors
///
/// Says what is not as a record should be; the text itself is never repeated, since it may be a payload.
pub fn decode_line(line: &[u8]) -> Result<Record<NoBody>, Error> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    let payload = line.payload.unwrap_or(Payload {
        before: None,
        after: None,
    });
    Ok(Record {
        position: match &line.position {
            Some(text) => decode_base64(text, "position")?,
            None => Bytes::new(),
        },
        operation: Operation::parse(&line.operation).ok_or(Error::Operation(line.operation))?,
        metadata: line.metadata.unwrap_or_default(),
        key: decode_data(line.key, "key")?,
        payload: Change {
            before: decode_data(payload.before, "payload.before")?,
            after: decode_data(payload.after, "payload.after")?,
        },
    })
}

fn decode_data(
    value: Option<&RawValue>,
    field: &'static str,
) -> Result<Option<Data<NoBody>>, Error> {
    // Null is none, too.
    let Some(value) = value else { return Ok(None) };
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(text)?;
            Ok(Some(Data::Raw(decode_base64(&text, field)?)))
        }
        Some(b'{') => Ok(Some(Data::Structured(text.to_owned()))),
        _ => Err(Error::Data { field }),
    }
}

fn decode_base64(text: &str, field: &'static str) -> Result<Bytes, Error> {
    STANDARD
        .decode(text)
        .map(Bytes::from)
        .map_err(|_| Error::Base64 { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record<NoBody> {
        Record {
            position: Bytes::from_static(b"standing"),
            operation: Operation::Update,
            metadata: [("foo".to_owned(), "b\"ar\u{1}".to_owned())].into(),
            key: Some(Data::Raw(Bytes::from_static(b"padlock-key"))),
            payload: Change {
                before: Some(Data::Raw(Bytes::from_static(b"\xff\xfe\x00"))),
                after: Some(Data::Structured(
                    "{\"bool\":true,\n\"number\":1e400}".to_owned(),
                )),
            },
        }
    }

    fn line(record: &Record<NoBody>) -> String {
        let mut out = Vec::new();
        encode_line(record, &mut out);
        String::from_utf8(out).expect("a line is UTF-8")
    }

    #[test]
    fn a_record_is_written_as_conduit_writes_it() {
        assert_eq!(
            line(&sample()),
            "{\"position\":\"c3RhbmRpbmc=\",\"operation\":\"update\",\"metadata\":{\"foo\":\"b\\\"ar\\u0001\"},\
             \"key\":\"cGFkbG9jay1rZXk=\",\"payload\":{\"before\":\"//4A\",\
             \"after\":{\"bool\":true, \"number\":1e400}}}\n"
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut record = sample();
        record.payload.after = Some(Data::Structured("{\"a\":{\"b\":[1,2.50]}}".to_owned()));
        assert_eq!(
            decode_line(line(&record).as_bytes()).expect("reads"),
            record
        );
        record.operation = Operation::Delete;
        record.key = Some(Data::Raw(Bytes::new()));
        record.payload = Change {
            before: None,
            after: None,
        };
        assert_eq!(
            decode_line(line(&record).as_bytes()).expect("reads"),
            record
        );
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        for (text, expected) in [
            ("", "not an OpenCDC record"),
            ("{}", "operation"),
            ("{\"operation\":\"drop\"}", "unknown operation `drop`"),
            (
                "{\"operation\":\"create\",\"position\":\"?\"}",
                "`position` is not padded base64",
            ),
            ("{\"operation\":\"create\",\"key\":7}", "`key` must be"),
            (
                "{\"operation\":\"create\",\"payload\":{\"after\":[1]}}",
                "`payload.after` must be",
            ),
        ] {
            let message = decode_line(text.as_bytes()).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn null_and_nothing_at_all_are_none() {
        for text in [
            "{\"operation\":\"delete\"}",
            "{\"operation\":\"delete\",\"position\":null,\"metadata\":null,\"key\":null,\"payload\":null}",
            "{\"operation\":\"delete\",\"key\": null,\"payload\":{\"before\":null ,\"after\":null}}",
        ] {
            let expected = Record {
                position: Bytes::new(),
                operation: Operation::Delete,
                metadata: Metadata::new(),
                key: None,
                payload: Change {
                    before: None,
                    after: None,
                },
            };
            assert_eq!(decode_line(text.as_bytes()).expect(text), expected);
        }
    }

    #[test]
    fn streams_are_encoded_piece_by_piece() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        encode_base64(&bytes, &mut whole);
        for piece in bytes.chunks(9) {
            encode_base64(piece, &mut pieces);
        }
        assert_eq!(whole, pieces);
    }
}
