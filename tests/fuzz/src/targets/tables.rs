//! Owns what must hold of rows that become files: what fits is written, each row is read again, and what was read is written as
//! the same.

use bytes::Bytes;
use s3_connector::record::json::is_object;
use s3_connector::rows::{AvroFile, Footer, Opened};
use s3_connector::table::{Fields, Schema, parse_schema, write_avro, write_csv, write_parquet};

use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "\n",
    "{\"a\":1}",
    "{\"a\":1.5}",
    "{\"a\":\"x\"}",
    "{\"a\":null}",
    "{\"a\":[1,2]}",
    "{\"a\":[]}",
    "{\"a\":{\"b\":true}}",
    "{\"A\":1}",
    "9007199254740993",
    "-0",
    "1e400",
    "0.1e-400",
    "\"2026-01-01T00:00:00Z\"",
    "\"\\ud83d\"",
    "\"\\u0000\"",
    ":",
    ",",
    "\"a b\":",
    "\"\":",
    "[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "true",
    "false",
    "{}",
    "\"a\":1,",
];

/// Rows that use most types.
pub(super) const JSON: &[&str] = &[
    r#"{"id":1,"name":"a","is":true,"price":1.5,"tags":["x",null],"of":{"b":1,"c":null},"list":[{"d":1}],"at":"2026-01-01T00:00:00Z"}"#,
    r#"{"id":-9007199254740993,"name":null,"price":3,"tags":[],"of":{},"list":[]}"#,
    r#"{"id":0,"name":"é\u0001\"","is":false,"of":null,"new":[[1],[2,3]]}"#,
];

/// Rows of an input. Each is parsed several times.
const ROWS_MAX: usize = 200;

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(why) = parse_schema(text) {
        assert!(!why.is_empty());
        note(&why);
    }
    let parquet = |fields: &Fields, rows: Vec<String>| {
        write_parquet(fields, rows.into_iter(), None).map(|file| file.into_bytes())
    };
    let avro = |fields: &Fields, rows: Vec<String>| write_avro(fields, rows, None).map(|file| file.into_bytes());
    round(text, Schema::growing(Fields::new(false), false), parquet, read_parquet);
    round(text, Schema::growing(Fields::new(true), false), avro, read_avro);
    let (schema, rows) = fitting(text, Schema::growing(Fields::new(false), true));
    write_csv(&schema.fields_of_file(), rows.into_iter()).expect("a row that fits is written");
}

/// The rows that fit, and their columns.
fn fitting(text: &str, mut schema: Schema) -> (Schema, Vec<String>) {
    let mut rows = Vec::new();
    for row in text.lines().filter(|row| is_object(row)).take(ROWS_MAX) {
        let before = schema.columns();
        match schema.take(row) {
            Ok(()) => {
                rows.push(row.to_owned());
            }
            Err(misfit) => {
                assert_eq!(schema.columns(), before, "a misfit leaves nothing");
                note(&misfit.to_string());
            }
        }
    }
    (schema, rows)
}

fn round(
    text: &str,
    schema: Schema,
    write: impl Fn(&Fields, Vec<String>) -> Result<Bytes, String>,
    read: impl Fn(&Bytes) -> Vec<String>,
) {
    let (mut schema, rows) = fitting(text, schema);
    if rows.is_empty() {
        return;
    }
    let fields = schema.fields_of_file().into_owned();
    let file = write(&fields, rows.clone()).expect("rows that fit are written");
    assert_eq!(file, write(&fields, rows.clone()).expect("as before"), "the same rows are the same bytes");
    let first = read(&file);
    assert_eq!(first.len(), rows.len());
    note("a file");
    // What was read has the same columns, nulls among them, and is written as the same.
    if schema.columns() > 0 && first.iter().all(|row| schema.take(row).is_ok()) && fields == *schema.fields_of_file() {
        note("a file of a file");
        assert_eq!(read(&write(&fields, first.clone()).expect("it was read of such a file")), first);
    }
}

fn read_parquet(file: &Bytes) -> Vec<String> {
    let Ok(Opened::Footer(footer)) = Footer::open(file.len() as u64, file.clone()) else { panic!("it has a footer") };
    let mut rows = Vec::new();
    for (at, group) in footer.groups().iter().enumerate() {
        let bytes = file.slice(group.first as usize..(group.first + group.length) as usize);
        let read = footer.read(at, bytes, 0).expect("a group can be read");
        rows.extend(read.map(|row| row.expect("a group can be read").expect("a row can be read")));
    }
    rows
}

fn read_avro(file: &Bytes) -> Vec<String> {
    let (opened, head) = AvroFile::open(file).expect("it is such a file").expect("its head is whole");
    let (mut rest, mut rows) = (&file[head..], Vec::new());
    while let Some((bytes, block)) = opened.block(rest).expect("a block can be read") {
        rows.extend(block.map(|row| row.expect("a row can be read")));
        rest = &rest[bytes..];
    }
    rows
}
