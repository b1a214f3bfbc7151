//! Owns the reading of OpenCDC JSON lines. Leaves their writing to `json`.
//!
//! Reading is strict: a field that a record does not have is an error that names it, since it is most likely a
//! misspelled one. Errors repeat names of fields, but never values, which may be a payload.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::{Change, Data, Metadata, NoBody, Operation, Record};

/// The fields of a record.
const RECORD_FIELDS: [&str; 5] = ["position", "operation", "metadata", "key", "payload"];

/// The fields of its payload.
const PAYLOAD_FIELDS: [&str; 2] = ["before", "after"];

/// Characters of a name that are shown.
const NAME_CHARS_MAX: usize = 64;

/// Why a line is not a record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not JSON.
    #[error("not an OpenCDC record: {why} at column {column}")]
    Syntax {
        /// The JSON parser's message.
        why: String,
        /// The column, from 1.
        column: usize,
    },
    /// It is something else, of a recognised kind.
    #[error("not an OpenCDC record: this looks like {0}")]
    Foreign(&'static str),
    /// It is something else that is not recognised.
    #[error("not an OpenCDC record: a line is a JSON object, and begins with `{{`")]
    NoObject,
    /// It is an object without an operation.
    #[error(
        "the field `operation` is missing: a line looks like {{\"operation\":\"create\",\"key\":{{\"id\":1}},\
         \"payload\":{{\"after\":{{\"id\":1}}}}}}; jq -c '{{operation: \"create\", payload: {{after: .}}}}' makes \
         such lines of plain objects"
    )]
    NoOperation,
    /// A record has no such field.
    #[error("unknown field `{name}`; {advice}")]
    Unknown {
        /// Its path in the record.
        name: String,
        /// The name that was probably meant, or the known names.
        advice: String,
    },
    /// A field occurs more than once.
    #[error("the field `{0}` is there twice")]
    Twice(String),
    /// A field has the wrong type.
    #[error("`{field}` must be {expected}")]
    Type {
        /// Where in the record.
        field: String,
        /// The right type.
        expected: &'static str,
    },
    /// A string is not Unicode.
    #[error(
        "{place} holds half of a surrogate pair, such as \\ud83d alone, which is no text: raw data are base64 strings"
    )]
    Surrogate {
        /// Where in the record.
        place: String,
    },
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

/// Reads one line, of which every field must be known.
///
/// # Errors
///
/// Names what differs from a record; the text itself is never repeated, since it may be a payload.
pub fn decode_line(line: &[u8]) -> Result<Record<NoBody>, Error> {
    let (record, unknown) = read(line)?;
    match unknown.into_iter().next() {
        None => Ok(record),
        Some(field) => Err(field.into_error()),
    }
}

/// Reads one line and ignores fields that a record does not have; their names are returned too.
///
/// # Errors
///
/// As [`decode_line`], except for these fields.
pub fn decode_line_leniently(line: &[u8]) -> Result<(Record<NoBody>, Vec<String>), Error> {
    let (record, unknown) = read(line)?;
    let names = unknown.into_iter().map(|field| field.path());
    Ok((record, names.collect()))
}

/// A field that a record does not have.
struct UnknownField {
    parent: Option<&'static str>,
    name: String,
}

/// The fields of an object, in its own order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(RECORD_FIELDS.len());
                while let Some(field) = map.next_entry::<String, &RawValue>()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'a> Fields<'a> {
    /// Takes the known fields out, in their order; the others are left.
    fn take<const N: usize>(
        &mut self,
        parent: Option<&'static str>,
        known: [&'static str; N],
    ) -> Result<[Option<&'a RawValue>; N], Error> {
        let mut found = [None; N];
        let mut twice = None;
        self.0.retain(|(name, value)| {
            let Some(index) = known.iter().position(|known| known == name) else {
                return true;
            };
            if found[index].replace(*value).is_some() {
                twice.get_or_insert(known[index]);
            }
            false
        });
        match twice {
            None => Ok(found),
            Some(name) => Err(Error::Twice(path(parent, name))),
        }
    }

    fn into_unknown(self, parent: Option<&'static str>) -> impl Iterator<Item = UnknownField> {
        self.0.into_iter().map(move |(name, _)| UnknownField { parent, name })
    }
}

fn read(line: &[u8]) -> Result<(Record<NoBody>, Vec<UnknownField>), Error> {
    let mut fields = read_object(line)?;
    let [position, operation, metadata, key, payload] = fields.take(None, RECORD_FIELDS)?;
    let mut unknown: Vec<_> = fields.into_unknown(None).collect();
    let Some(operation) = operation else {
        // A name such as `Operation` or `opration` is the most helpful one to report.
        let near = |field: &UnknownField| field.nearest().as_deref() == Some("operation");
        return Err(match unknown.into_iter().find(near) {
            Some(field) => field.into_error(),
            None => Error::NoOperation,
        });
    };
    let mut change = [None, None];
    if let Some(payload) = payload {
        let mut fields = read_fields(payload.get(), "payload", "an object or null")?;
        change = fields.take(Some("payload"), PAYLOAD_FIELDS)?;
        unknown.extend(fields.into_unknown(Some("payload")));
    }
    let record = Record {
        position: match position.filter(|value| value.get() != "null") {
            Some(text) => decode_base64(&read_text(text, "position", "a base64 string")?, "position")?,
            None => Bytes::new(),
        },
        operation: read_operation(operation)?,
        metadata: read_metadata(metadata)?,
        key: decode_data(key, "key")?,
        payload: Change {
            before: decode_data(change[0], "payload.before")?,
            after: decode_data(change[1], "payload.after")?,
        },
    };
    Ok((record, unknown))
}

fn read_object(line: &[u8]) -> Result<Fields<'_>, Error> {
    if let Some(foreign) = foreign(line) {
        return Err(foreign);
    }
    serde_json::from_slice(line).map_err(|error| {
        if line.trim_ascii() == b"{" {
            return Error::Foreign("a record over several lines: write each on a line of its own, as jq -c . does");
        }
        let text = error.to_string();
        if is_surrogate(&text) {
            let place = "the name of a field".to_owned();
            return Error::Surrogate { place };
        }
        // The text itself counts lines, but here there is one.
        let why = text.split(" at line ").next().unwrap_or(&text).to_owned();
        let column = error.column();
        Error::Syntax { why, column }
    })
}

/// The kind of a line that can't be an object.
fn foreign(line: &[u8]) -> Option<Error> {
    let text = line.trim_ascii_start();
    if text.starts_with(b"{") && text.get(1) != Some(&0) {
        return None;
    }
    let is_text = std::str::from_utf8(line).is_ok();
    Some(match text {
        [0x1f, 0x8b, ..] => Error::Foreign("gzip: decompress it first, as gunzip does"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Error::Foreign("zstd: decompress it first, as zstd -d does"),
        [b'P', b'A', b'R', b'1', ..] => Error::Foreign("a Parquet file: lines of JSON are read"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            Error::Foreign("UTF-16: convert it first, as iconv -f UTF-16 -t UTF-8 does")
        }
        [b'[', ..] => Error::Foreign("an array: write each record on a line of its own, as jq -c '.[]' does"),
        [] => Error::Syntax { why: "there is nothing".to_owned(), column: 1 },
        _ if is_text && text.iter().any(|byte| b",;\t".contains(byte)) => Error::Foreign("CSV: lines of JSON are read"),
        _ => Error::NoObject,
    })
}

/// The fields of a value within the record; `None` where it is null.
fn read_fields<'a>(text: &'a str, field: &str, expected: &'static str) -> Result<Fields<'a>, Error> {
    let field = || field.to_owned();
    match text.as_bytes().first() {
        // It was found to be JSON before, so that only its escapes can be wrong.
        Some(b'{') => serde_json::from_str(text)
            .map_err(|_| Error::Surrogate { place: format!("the name of a field in `{}`", field()) }),
        Some(b'n') => Ok(Fields(Vec::new())),
        _ => Err(Error::Type { field: field(), expected }),
    }
}

/// The text of a string.
fn read_text<'a>(value: &'a RawValue, field: &str, expected: &'static str) -> Result<Cow<'a, str>, Error> {
    let text = value.get();
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Err(Error::Type { field: field.to_owned(), expected });
    };
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let text = serde_json::from_str(text).map_err(|_| Error::Surrogate { place: format!("`{field}`") });
    Ok(Cow::Owned(text?))
}

fn read_operation(value: &RawValue) -> Result<Operation, Error> {
    let expected = "one of \"create\", \"update\", \"delete\", \"snapshot\"";
    let name = read_text(value, "operation", expected)?;
    Operation::parse(&name).ok_or_else(|| Error::Operation(cut(&name)))
}

fn read_metadata(value: Option<&RawValue>) -> Result<Metadata, Error> {
    let Some(value) = value else {
        return Ok(Metadata::new());
    };
    let expected = "an object of strings, or null";
    let Fields(entries) = read_fields(value.get(), "metadata", expected)?;
    let entry = |(name, value): (String, &RawValue)| {
        let field = format!("metadata.{}", cut(&name));
        let text = read_text(value, &field, "a string")?.into_owned();
        Ok((name, text))
    };
    entries.into_iter().map(entry).collect()
}

fn decode_data(value: Option<&RawValue>, field: &'static str) -> Result<Option<Data<NoBody>>, Error> {
    let Some(value) = value else { return Ok(None) };
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let text = read_text(value, field, "a base64 string")?;
            Ok(Some(Data::Raw(decode_base64(&text, field)?)))
        }
        Some(b'{') => Ok(Some(Data::Structured(text.to_owned()))),
        Some(b'n') => Ok(None),
        _ => Err(Error::Data { field }),
    }
}

fn decode_base64(text: &str, field: &'static str) -> Result<Bytes, Error> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| Error::Base64 { field })
}

impl UnknownField {
    fn path(&self) -> String {
        path(self.parent, &cut(&self.name))
    }

    /// The known field that was probably meant.
    fn nearest(&self) -> Option<String> {
        let name = self.name.to_lowercase();
        let within = |parent| PAYLOAD_FIELDS.map(|field| (parent, field));
        let mut known = Vec::from(within(Some("payload")));
        if self.parent.is_none() {
            known.extend(RECORD_FIELDS.map(|field| (None, field)));
        }
        let distance = |field: &str| strsim::damerau_levenshtein(field, &name);
        let nearest = known
            .into_iter()
            .min_by_key(|(_, field)| distance(field))
            .filter(|(_, field)| distance(field) <= field.len() / 3);
        nearest.map(|(parent, field)| path(parent, field))
    }

    fn into_error(self) -> Error {
        let advice = match (self.nearest(), self.parent) {
            (Some(nearest), _) => format!("did you mean `{nearest}`?"),
            (None, None) => format!("known are {}", RECORD_FIELDS.join(", ")),
            (None, Some(_)) => "known are payload.before, payload.after".to_owned(),
        };
        let name = self.path();
        Error::Unknown { name, advice }
    }
}

fn path(parent: Option<&str>, name: &str) -> String {
    match parent {
        Some(parent) => format!("{parent}.{name}"),
        None => name.to_owned(),
    }
}

/// The name, shortened for display.
fn cut(name: &str) -> String {
    if name.chars().count() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    let start: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("{start}…")
}

fn is_surrogate(why: &str) -> bool {
    why.contains("surrogate") || why.contains("hex escape")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(line: impl AsRef<[u8]>) -> String {
        decode_line(line.as_ref()).expect_err("is no record").to_string()
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        for (text, expected) in [
            ("", "not an OpenCDC record: there is nothing"),
            ("{}", "`operation` is missing"),
            ("{\"id\":1}", "jq -c '{operation: \"create\", payload: {after: .}}'"),
            ("{\"operation\":\"drop\"}", "unknown operation `drop`"),
            ("{\"operation\":7}", "`operation` must be one of \"create\""),
            ("{\"operation\":null}", "`operation` must be one of \"create\""),
            ("{\"operation\":\"create\",\"position\":\"?\"}", "`position` is not padded base64"),
            ("{\"operation\":\"create\",\"position\":7}", "`position` must be a base64 string"),
            ("{\"operation\":\"create\",\"key\":7}", "`key` must be"),
            ("{\"operation\":\"create\",\"payload\":{\"after\":[1]}}", "`payload.after` must be"),
            ("{\"operation\":\"create\",\"payload\":\"a secret\"}", "`payload` must be an object or null"),
            ("{\"operation\":\"create\",\"metadata\":{\"n\":1}}", "`metadata.n` must be a string"),
            ("{\"operation\":\"create\",\"key\":null,\"key\":null}", "the field `key` is there twice"),
            (
                "{\"operation\":\"create\",\"payload\":{\"after\":null,\"after\":{}}}",
                "the field `payload.after` is there twice",
            ),
            ("{\"operation\":\"create\"", "EOF while parsing an object at column 21"),
            ("{\"operation\":NaN}", "expected value at column 14"),
            ("\"a string\"", "begins with `{`"),
        ] {
            let message = message(text);
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains(" line 1"), "{text}: {message}");
            assert!(!message.contains("secret"), "{text}: {message}");
        }
    }

    #[test]
    fn a_field_that_no_record_has_is_named_with_the_one_that_was_meant() {
        for (fields, expected) in [
            ("\"after\":{}", "`after`; did you mean `payload.after`?"),
            ("\"Payload\":{}", "`Payload`; did you mean `payload`?"),
            ("\"Key\":\"aw==\"", "`Key`; did you mean `key`?"),
            ("\"pyload\":{}", "`pyload`; did you mean `payload`?"),
            ("\"payload\":{\"After\":{}}", "`payload.After`; did you mean `payload.after`?"),
            ("\"payload\":{\"value\":{}}", "`payload.value`; known are payload.before, payload.after"),
            ("\"source\":{}", "`source`; known are position, operation, metadata, key, payload"),
        ] {
            let line = format!("{{\"operation\":\"create\",{fields}}}");
            let message = message(&line);
            assert_eq!(message, format!("unknown field {expected}"));
            let (record, unknown) = decode_line_leniently(line.as_bytes()).expect("is lenient");
            let name = expected.split('`').nth(1);
            assert_eq!(Some(&*unknown[0]), name, "{line}");
            assert_eq!((unknown.len(), record.key), (1, None));
        }
        let message = message("{\"Operation\":\"create\",\"id\":1}");
        assert!(message.contains("`Operation`; did you mean `operation`?"), "{message}");
        let long = "x".repeat(1000);
        let line = format!("{{\"operation\":\"create\",\"{long}\":1}}");
        assert!(decode_line(line.as_bytes()).expect_err("unknown").to_string().len() < 200);
    }

    #[test]
    fn what_is_clearly_something_else_is_called_by_its_name() {
        let utf_16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (line, expected) in [
            (&b"\x1f\x8b\x08\x00"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\x00", "zstd"),
            (b"PAR1\x15\x00", "Parquet"),
            (b"\xff\xfe{\x00", "UTF-16"),
            (&utf_16, "UTF-16"),
            (b"[", "jq -c '.[]'"),
            (b"[{\"operation\":\"create\"},", "jq -c '.[]'"),
            (b" {\r", "jq -c ."),
            (b"id,name", "CSV"),
            (b"\"id\";\"name\"", "CSV"),
        ] {
            let message = message(line);
            let shown = String::from_utf8_lossy(line);
            assert!(message.contains(expected), "{shown}: {message}");
        }
    }

    #[test]
    fn half_of_a_pair_is_told_of_and_kept_where_it_is_only_passed_on() {
        let line = |fields: &str| format!("{{\"operation\":\"create\",{fields}}}");
        for (fields, place) in [
            ("\"metadata\":{\"a\":\"\\ud83d\"}", "`metadata.a` holds"),
            ("\"metadata\":{\"\\ud83d\":\"\"}", "a field in `metadata` holds"),
            ("\"key\":\"\\ud83d\"", "`key` holds"),
            ("\"\\ud83d\":1", "the name of a field holds"),
        ] {
            let message = message(line(fields));
            assert!(message.contains(place), "{fields}: {message}");
            assert!(message.contains("half of a surrogate pair"), "{message}");
        }
        let kept = line("\"payload\":{\"after\":{\"\\ud83d\":\"\\ud83d\"}}");
        let record = decode_line(kept.as_bytes()).expect("is passed on");
        let expected = Data::Structured("{\"\\ud83d\":\"\\ud83d\"}".to_owned());
        assert_eq!(record.payload.after, Some(expected));
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
                payload: Change { before: None, after: None },
            };
            assert_eq!(decode_line(text.as_bytes()).expect(text), expected);
        }
    }

    #[test]
    fn escapes_in_strings_are_read() {
        let line = "{\"operation\":\"\\u0063reate\",\"\\u006bey\":\"a\\u0077==\",\"metadata\":{\"\\n\":\"\\t\\ud83d\\ude00\"}}";
        let record = decode_line(line.as_bytes()).expect("reads");
        assert_eq!(record.operation, Operation::Create);
        assert_eq!(record.key, Some(Data::Raw(Bytes::from_static(b"k"))));
        assert_eq!(record.metadata["\n"], "\t😀");
    }
}
