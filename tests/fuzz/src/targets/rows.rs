//! Owns what must hold of texts that become rows: how they come in pieces changes nothing, reading goes on after any row as if it
//! had never ended, and no row is larger than one may be.

use bytes::Bytes;
use encoding_rs::{SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use s3_connector::record::json::is_object;
use s3_connector::rows::{Content, CsvOptions, Form, JsonRows, Next, Place, Row, Text, TextOptions};

use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "\n",
    "\r\n",
    "\r",
    ",",
    "\"",
    "\"\"",
    "a,b\n",
    "[",
    "]",
    "{",
    "}",
    "{\"a\":1}",
    "[1,",
    "null",
    "\u{feff}",
    "\"rows\":",
    "#",
    "\t",
    ";",
    "\\\"",
    "1e9999",
    "{\"a\":{\"a\":",
    "\u{1f}\u{8b}\u{8}",
];

/// Rows that are looked at. More of them are no other case.
const ROWS_MAX: usize = 3000;

/// Bytes of a row's text: what a destination takes as one record.
const ROW_BYTES_MAX: usize = 64 << 20;

pub(super) fn run(data: &[u8]) {
    let Some(([form, encoding, piece], object)) = data.split_first_chunk() else { return };
    let options =
        TextOptions { form: form_of(*form), compression: None, encoding: encoding_of(*encoding), names: None };
    let (whole, end) = read(&options, object, Place::default(), usize::MAX);
    let (pieces, end_of_pieces) = read(&options, object, Place::default(), usize::from(*piece).max(1));
    let both = whole.len().min(pieces.len());
    // Where reading may go on can be told as two places: one is the end of what came before the other.
    let told = |row: &Row| (row.number, row.byte, row.content.clone(), row.next.rows);
    for (row, piece) in whole[..both].iter().zip(&pieces) {
        assert_eq!(told(row), told(piece), "pieces make a difference");
    }
    if whole.len() < ROWS_MAX && pieces.len() < ROWS_MAX {
        assert_eq!(end.is_some(), end_of_pieces.is_some(), "{end:?} or {end_of_pieces:?}");
        assert!(end.is_some() || whole.len() == pieces.len());
    }
    note(end.as_deref().unwrap_or(if whole.is_empty() { "nothing" } else { "rows" }));
    let mut before = 0;
    for row in &whole {
        assert_eq!(row.number, before + 1);
        before = row.next.rows;
        look(row);
    }
    if end.is_none() && whole.len() < ROWS_MAX {
        go_on(&options, object, &whole, usize::from(*piece));
    }
}

fn look(row: &Row) {
    match &row.content {
        Content::Raw(bytes) => assert!(bytes.len() <= ROW_BYTES_MAX),
        Content::Structured(text) => assert!(text.len() <= ROW_BYTES_MAX && is_object(text), "{text:?}"),
        Content::Bad { why, .. } => {
            assert!(!why.is_empty());
            note(why);
        }
    }
}

/// Reads on after some of the rows.
fn go_on(options: &TextOptions, object: &[u8], whole: &[Row], salt: usize) {
    let mut head = Text::new(options.clone(), Place::default());
    let fed = head.push(&Bytes::copy_from_slice(object)).and_then(|()| head.end()).and_then(|()| head.next_row());
    let options = fed.ok().and_then(|_| head.options_after_head()).unwrap_or_else(|| options.clone());
    for at in [0, salt % whole.len().max(1), whole.len().saturating_sub(1)] {
        let Some(row) = whole.get(at) else { continue };
        let (rest, end) = read(&options, object, row.next, salt.max(1));
        assert_eq!(end, None, "after row {} of {}", at + 1, whole.len());
        let told = |row: &Row| (row.number, row.byte, row.content.clone(), row.next.rows);
        let (rest, wanted): (Vec<_>, Vec<_>) =
            (rest.iter().map(told).collect(), whole[at + 1..].iter().map(told).collect());
        assert_eq!(rest, wanted, "after row {} of {}", at + 1, whole.len());
    }
}

/// The rows from a place on, and why there are no more.
fn read(options: &TextOptions, object: &[u8], begin: Place, piece: usize) -> (Vec<Row>, Option<String>) {
    let mut text = Text::new(options.clone(), begin);
    let from = object.get(begin.offset as usize..).expect("a place is in the object");
    let (mut pieces, mut rows) = (from.chunks(piece), Vec::new());
    let mut is_ended = false;
    while rows.len() < ROWS_MAX {
        let fed = match text.next_row() {
            Ok(Next::Row(row)) => {
                rows.push(row);
                Ok(())
            }
            Ok(Next::End) => return (rows, None),
            Ok(Next::More) => match pieces.next() {
                Some(piece) => text.push(&Bytes::copy_from_slice(piece)),
                None => {
                    assert!(!is_ended, "it asks for more than there is");
                    is_ended = true;
                    text.end()
                }
            },
            Err(why) => Err(why),
        };
        if let Err(why) = fed {
            return (rows, Some(why.why));
        }
    }
    (rows, None)
}

fn form_of(byte: u8) -> Form {
    let csv = CsvOptions::default();
    match byte % 9 {
        0 => Form::Lines,
        1 => Form::Csv(csv),
        2 => Form::Csv(CsvOptions { has_header: false, comment: Some(b'#'), delimiter: b';', ..csv }),
        3 => Form::Csv(CsvOptions { null: Some("null".to_owned()), is_empty_null: true, ..csv }),
        4 => Form::Json(JsonRows::Auto),
        5 => Form::Json(JsonRows::Lines),
        6 => Form::Json(JsonRows::Document),
        7 => Form::Json(JsonRows::Array),
        _ => Form::Json(JsonRows::At(vec!["rows".to_owned()])),
    }
}

fn encoding_of(byte: u8) -> &'static encoding_rs::Encoding {
    [UTF_8, UTF_8, UTF_8, UTF_16LE, UTF_16BE, SHIFT_JIS, WINDOWS_1252][usize::from(byte % 7)]
}

/// Texts of each form, and compressed by the connector's own encoders.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let csv = b"a,b\n1,\"x\ny\"\n\n2,\n".as_slice();
    let lines = b"{\"a\":1}\n{\"a\":[1,{\"b\":null}]}\n\nnot\n".as_slice();
    let list = b"[{\"a\":1}, {\"a\":\"]\"}, 3, {\"b\":{}}]".as_slice();
    let at = b"{\"x\":[1],\"rows\":[{\"a\":1},{\"a\":2}]}".as_slice();
    let plain =
        [(0, lines), (1, csv), (2, csv), (3, csv), (4, lines), (4, list), (5, lines), (6, list), (7, list), (8, at)];
    let mut seeds: Vec<_> = plain.iter().map(|(form, text)| [&[*form, 0, 5], *text].concat()).collect();
    seeds.push([&[1, 3, 5], csv.iter().flat_map(|byte| [*byte, 0]).collect::<Vec<_>>().as_slice()].concat());
    seeds
}
