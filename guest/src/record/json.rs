//! Owns OpenCDC records as JSON lines, in Conduit's encoding. Leaves reading lines to `decode`, and streams to the
//! caller: a record whose `payload.after` is a body is written around it.
//!
//! `{"position":…,"operation":…,"metadata":{…},"key":…,"payload":{"before":…,"after":…}}`: positions and raw
//! data are padded base64 strings, structured data are objects, nothing is null. Any bytes survive.

mod decode;

use std::borrow::Cow;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use decode::{Error, decode_line, decode_line_leniently};

use super::{Data, NoBody, Record};

/// Text that grows at its end.
pub trait Text {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Appends the padded base64 of bytes.
    fn put_base64(&mut self, bytes: &[u8]) {
        let mut text = [0; BASE64_BYTES / 3 * 4];
        for piece in bytes.chunks(BASE64_BYTES) {
            let written = STANDARD.encode_slice(piece, &mut text).expect("the text was sized for its bytes");
            self.put(&text[..written]);
        }
    }
}

/// Bytes that are encoded at a time: 4 KiB of text, which fits on a stack.
const BASE64_BYTES: usize = 3 << 10;

impl Text for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Text for crate::payload::Writer {
    fn put(&mut self, bytes: &[u8]) {
        Self::put(self, bytes);
    }
}

/// Counts what is appended.
struct Count(u64);

impl Text for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }

    fn put_base64(&mut self, bytes: &[u8]) {
        self.0 += bytes.len().div_ceil(3) as u64 * 4;
    }
}

/// Appends the record as one line, newline included.
pub fn encode_line(record: &Record<NoBody>, out: &mut impl Text) {
    encode_head(record, out);
    encode_data(record.payload.after.as_ref(), out);
    encode_tail(out);
}

/// Appends everything before the value of `payload.after`, which is left to the caller.
///
/// Bodies elsewhere in the record are written as null: a key or a before-image is never a body.
pub fn encode_head<B>(record: &Record<B>, out: &mut impl Text) {
    encode_start(record, out);
    encode_data(record.key.as_ref(), out);
    out.put(BEFORE);
    encode_data(record.payload.before.as_ref(), out);
    out.put(AFTER);
}

/// The text between the values of `key`, `payload.before` and `payload.after`.
const BEFORE: &[u8] = b",\"payload\":{\"before\":";
const AFTER: &[u8] = b",\"after\":";

/// Appends everything up to the value of `key`.
fn encode_start<B>(record: &Record<B>, out: &mut impl Text) {
    out.put(b"{\"position\":");
    encode_bytes(&record.position, out);
    out.put(b",\"operation\":\"");
    out.put(record.operation.as_str().as_bytes());
    out.put(b"\",\"metadata\":{");
    for (index, (name, value)) in record.metadata.iter().enumerate() {
        if index > 0 {
            out.put(b",");
        }
        encode_string(name, out);
        out.put(b":");
        encode_string(value, out);
    }
    out.put(b"},\"key\":");
}

/// Appends what follows the value of `payload.after`.
pub fn encode_tail(out: &mut impl Text) {
    out.put(b"}}\n");
}

/// Appends a key or payload; a body, whose bytes are elsewhere, is written as null.
pub fn encode_data<B>(data: Option<&Data<B>>, out: &mut impl Text) {
    match data {
        Some(Data::Raw(bytes)) => encode_bytes(bytes, out),
        Some(Data::Structured(text)) => encode_structured(text, out),
        Some(Data::Body { .. }) | None => out.put(b"null"),
    }
}

/// Appends the text of a JSON object on one line.
pub fn encode_structured(text: &str, out: &mut impl Text) {
    // A newline in JSON text can only be between tokens, where a space means the same. What is escaped can only be
    // within strings, where the escape is the same value.
    let mut pieces = text.split(['\n', '\r']);
    put_escaped(pieces.next().unwrap_or_default().as_bytes(), out);
    for piece in pieces {
        out.put(b" ");
        put_escaped(piece.as_bytes(), out);
    }
}

/// Whether the text is a JSON object, as structured data must be: other text would break the line that it is in.
#[must_use]
pub fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{') && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

/// The text that a JSON string stands for, copied only where it has escapes. `None` where it is no Unicode: JSON allows half
/// of a pair of surrogates, which is no character.
#[must_use]
pub fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
}

/// Appends a text as JSON has it, where nothing but JSON reads it.
pub(crate) fn push_text(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Whether JSON has the text as it is, without escapes, as it has nearly all. Looks at several bytes at a time.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.bytes().fold(false, |is_odd, byte| is_odd | (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

/// Appends bytes as a base64 string with its quotes.
pub fn encode_bytes(bytes: &[u8], out: &mut impl Text) {
    out.put(b"\"");
    encode_base64(bytes, out);
    out.put(b"\"");
}

/// Appends bytes as padded base64 without quotes. A stream is encoded piece by piece, in multiples of three
/// bytes up to the last piece.
pub fn encode_base64(bytes: &[u8], out: &mut impl Text) {
    out.put_base64(bytes);
}

/// The number of bytes that [`encode_line`] appends.
pub fn line_bytes(record: &Record<NoBody>) -> u64 {
    let mut count = Count(0);
    encode_line(record, &mut count);
    count.0
}

/// The number of bytes that [`encode_structured`] appends.
pub fn structured_bytes(text: &str) -> u64 {
    let mut count = Count(0);
    encode_structured(text, &mut count);
    count.0
}

/// Appends UTF-8 of JSON, with escapes for characters that JSON allows and a terminal obeys.
fn put_escaped(text: &[u8], out: &mut impl Text) {
    let (mut put, mut at) = (0, 0);
    while let Some(next) = next_obeyed(text, at) {
        at = next;
        let Some((c, bytes)) = obeyed(&text[at..]) else {
            at += 1;
            continue;
        };
        out.put(&text[put..at]);
        out.put(format!("\\u{c:04x}").as_bytes());
        at += bytes;
        put = at;
    }
    out.put(&text[put..]);
}

/// Bytes that are looked at together.
const LANES: usize = 32;

/// The place, from here on, of a byte that may begin a character that a terminal obeys: few texts have any.
fn next_obeyed(text: &[u8], from: usize) -> Option<usize> {
    let begins = |byte: &u8| matches!(byte, 0x7f | 0xc2 | 0xd8 | 0xe2);
    let mut at = from;
    for piece in text[from..].chunks(LANES) {
        if !has_only_shown(piece)
            && let Some(found) = piece.iter().position(begins)
        {
            return Some(at + found);
        }
        at += piece.len();
    }
    None
}

/// Whether all of it is ASCII, without DEL: nothing in it is obeyed, if it is what JSON may have as it is.
fn has_only_shown(text: &[u8]) -> bool {
    !text.iter().fold(false, |is_odd, byte| is_odd | (*byte >= 0x7f))
}

/// The character at the beginning of UTF-8 and its length, if terminals or editors obey it rather than show it: DEL,
/// C1, marks and overrides of the direction of writing (<https://www.unicode.org/reports/tr9/>), and ends of lines that
/// are not `\n`. JSON itself escapes C0.
fn obeyed(text: &[u8]) -> Option<(u32, usize)> {
    let found = match *text {
        [0x7f, ..] => (0x7f, 1),
        [0xc2, low @ 0x80..=0x9f, ..] => (u32::from(low), 2),
        [0xd8, 0x9c, ..] => (0x61c, 2),
        [0xe2, middle, low, ..] => {
            let c = 0x2000 | u32::from(middle & 0x3f) << 6 | u32::from(low & 0x3f);
            let is_obeyed = matches!(c, 0x200e..=0x200f | 0x2028..=0x202e | 0x2066..=0x2069);
            is_obeyed.then_some((c, 3))?
        }
        _ => return None,
    };
    Some(found)
}

/// Text as [`io::Write`].
struct Written<'t, T>(&'t mut T);

impl<T: Text> io::Write for Written<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whole characters: serde_json splits strings only where it escapes something.
        put_escaped(bytes, self.0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode_string(text: &str, out: &mut impl Text) {
    if is_plain(text) && has_only_shown(text.as_bytes()) {
        out.put(b"\"");
        out.put(text.as_bytes());
        out.put(b"\"");
        return;
    }
    serde_json::to_writer(Written(out), text).expect("writing a string into memory cannot fail");
}

#[cfg(test)]
mod witness;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{Change, Operation};

    #[test]
    fn only_a_whole_object_is_one() {
        for text in ["{}", " {\"a\":\n[1,{}]} ", "{\"a\":1e400}"] {
            assert!(is_object(text), "{text}");
        }
        for text in ["", "null", "[]", "\"{}\"", "{", "{}}", "{} {}", "{\"a\":\u{1b}1}", "{\"a\":\"\u{1b}\"}", "{a:1}"]
        {
            assert!(!is_object(text), "{text}");
        }
    }

    fn sample() -> Record<NoBody> {
        Record {
            position: Bytes::from_static(b"standing"),
            operation: Operation::Update,
            metadata: [("foo".to_owned(), "b\"ar\u{1}".to_owned())].into(),
            key: Some(Data::Raw(Bytes::from_static(b"padlock-key"))),
            payload: Change {
                before: Some(Data::Raw(Bytes::from_static(b"\xff\xfe\x00"))),
                after: Some(Data::Structured("{\"bool\":true,\n\"number\":1e400}".to_owned())),
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
    fn what_a_terminal_obeys_is_escaped_and_stays_the_same_value() {
        let text =
            "a\u{7f}\u{80}b\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}\"\u{85}";
        let shown = "\u{a0}\u{bf}é\u{61b}\u{61d}\u{200d}\u{2010}\u{2027}\u{202f}\u{2065}\u{206a}→😀";
        let both = format!("{text}{shown}");
        let mut record = sample();
        record.metadata.insert(both.clone(), both.clone());
        let value = serde_json::json!({ both.clone(): both.clone() });
        record.payload.after = Some(Data::Structured(format!("{value:#}")));
        let line = line(&record);
        for c in text.chars().filter(|c| !c.is_ascii_graphic()) {
            assert!(!line.contains(c), "{c:?} in {line}");
        }
        assert!(line.contains(shown), "{line}");
        assert!(line.contains("a\\u007f\\u0080b\\u009b"), "{line}");
        let read = decode_line(line.as_bytes()).expect("reads");
        assert_eq!(read.metadata, record.metadata);
        let Some(Data::Structured(text)) = read.payload.after else {
            panic!("structured data stay such");
        };
        let read: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(read, value);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut record = sample();
        record.payload.after = Some(Data::Structured("{\"a\":{\"b\":[1,2.50]}}".to_owned()));
        assert_eq!(decode_line(line(&record).as_bytes()).expect("reads"), record);
        record.operation = Operation::Delete;
        record.key = Some(Data::Raw(Bytes::new()));
        record.payload = Change { before: None, after: None };
        assert_eq!(decode_line(line(&record).as_bytes()).expect("reads"), record);
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

    #[test]
    fn a_line_is_as_long_as_was_reckoned() {
        let mut record = sample();
        record.metadata.insert("\u{1}\n".to_owned(), "\u{7f}é😀\\".to_owned());
        for length in [0, 1, 2, 3, BASE64_BYTES - 1, BASE64_BYTES, BASE64_BYTES + 1] {
            record.payload.before = Some(Data::Raw(Bytes::from(vec![7; length])));
            assert_eq!(line_bytes(&record), line(&record).len() as u64, "{length}");
        }
    }
}
