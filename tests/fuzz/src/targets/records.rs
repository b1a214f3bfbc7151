//! Owns what must hold of OpenCDC's JSON: what is read is written as the same, on one line of the length that was told, and both
//! ways of reading agree.

use s3_connector::record::Data;
use s3_connector::record::json::{decode_line, decode_line_leniently, encode_line, is_object, line_bytes};

use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "{\"position\":\"cA==\",\"operation\":\"create\",\"metadata\":{},\"key\":null,\"payload\":{\"before\":null,\"after\":null}}",
    "\"position\"",
    "\"operation\"",
    "\"metadata\"",
    "\"key\"",
    "\"payload\"",
    "\"before\"",
    "\"after\"",
    "\"snapshot\"",
    "\"update\"",
    "\"delete\"",
    "null",
    "{}",
    "[]",
    "{\"a\":1}",
    "\\ud83d",
    "\\ude00",
    "\\u0000",
    "\\u001b",
    "\u{9b}",
    "\u{2028}",
    "\\n",
    ":",
    ",",
    "\"opencdc.version\":\"v1\"",
    "1e999",
    "-0",
    "true",
];

pub(super) fn run(data: &[u8]) {
    let strict = decode_line(data);
    let lenient = decode_line_leniently(data);
    let record = match (strict, lenient) {
        (Ok(record), Ok((same, unknown))) => {
            assert_eq!((&record, unknown.len()), (&same, 0));
            record
        }
        (Err(why), Ok((record, unknown))) => {
            assert!(!unknown.is_empty(), "{why}");
            note("unknown fields");
            record
        }
        (Err(why), Err(same)) => {
            assert_eq!(why.to_string(), same.to_string());
            return note(&why.to_string());
        }
        (Ok(_), Err(why)) => panic!("only the strict way takes it: {why}"),
    };
    assert!(record.inline_bytes() <= 2 * data.len() as u64, "{} bytes out of {}", record.inline_bytes(), data.len());
    let mut line = Vec::new();
    encode_line(&record, &mut line);
    assert_eq!(line.len() as u64, line_bytes(&record));
    let text = std::str::from_utf8(&line).expect("a line is text");
    let text = text.strip_suffix('\n').expect("it ends with a newline");
    assert!(!text.contains('\n') && is_object(text), "{text}");
    assert!(!text.chars().any(|c| c.is_control()), "a terminal would obey {text:?}");
    let again = decode_line(&line).expect("what was written can be read");
    let mut second = Vec::new();
    encode_line(&again, &mut second);
    assert_eq!(line, second);
    assert_eq!((&again.position, again.operation), (&record.position, record.operation));
    assert_eq!(again.key.as_ref().map(said), record.key.as_ref().map(said));
    assert_eq!(again.metadata, record.metadata);
    note("a record");
}

/// What data say, however a line writes it: there, white space between the parts of JSON is one line's, and some characters are escaped.
fn said<B: std::fmt::Debug>(data: &Data<B>) -> String {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    match data {
        // Half of a surrogate pair is JSON, and no text of Rust's.
        Data::Structured(text) => value(text).map_or_else(|| escaped(text), |value| value.to_string()),
        other => format!("{other:?}"),
    }
}

/// JSON in which all that a line may escape is escaped.
fn escaped(text: &str) -> String {
    let escape = |character: char| match character {
        '\n' | '\r' | '\t' => " ".to_owned(),
        ' '..='~' => character.to_string(),
        other => other.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
    };
    text.chars().map(escape).collect()
}
