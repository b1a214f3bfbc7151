//! Compares records as lines with lines that earlier builds have written.

use bytes::Bytes;

use super::*;
use crate::record::{Change, Operation};

/// Lines of JSON; other lines begin with `#`.
const WITNESS: &str = include_str!("witness.txt");

const WHAT_TO_DO: &str = "files, buckets and programs hold such lines. witness.txt is append only and says what to do";

fn records() -> Vec<Record<NoBody>> {
    let raw = |bytes: &'static [u8]| Some(Data::Raw(Bytes::from_static(bytes)));
    let structured = |text: &str| Some(Data::Structured(text.to_owned()));
    let of = |operation, position: &'static [u8], before, after| Record {
        position: Bytes::from_static(position),
        operation,
        metadata: [
            ("opencdc.collection".to_owned(), "photos".to_owned()),
            ("s3.key".to_owned(), "ä \"\\/\u{1}\u{7f}\u{2028}😀".to_owned()),
        ]
        .into(),
        key: raw(b"cats/1.jpg"),
        payload: Change { before, after },
    };
    let updated = structured("{\"a\":[1,2.50,1e400,null]}");
    vec![
        of(Operation::Snapshot, b"cats/1.jpg_s1634049397", None, raw(b"\xff\xd8\xff\x00")),
        of(Operation::Create, b"\x00\xff", None, raw(b"")),
        Record { key: structured("{\"id\":1}"), ..of(Operation::Update, b"2", raw(b"old"), updated) },
        Record { key: None, metadata: [].into(), ..of(Operation::Delete, b"3", None, None) },
    ]
}

#[test]
fn lines_of_records_are_append_only() {
    let mut written = Vec::new();
    records().iter().for_each(|record| encode_line(record, &mut written));
    let written = String::from_utf8(written).expect("lines are UTF-8");
    let lines: Vec<_> = WITNESS.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(written, lines.iter().map(|line| format!("{line}\n")).collect::<String>(), "{WHAT_TO_DO}");
    let read: Vec<_> = lines.iter().map(|line| decode_line(line.as_bytes()).expect(WHAT_TO_DO)).collect();
    assert_eq!(read, records(), "{WHAT_TO_DO}");
}
