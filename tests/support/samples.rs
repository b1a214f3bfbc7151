//! Owns records of every shape, for tests that write them and read them back.

use bytes::Bytes;
use s3_connector::record::{Change, Metadata, Operation};

use crate::world::{Data, Record};

/// Bytes as a key or a payload.
pub fn raw(bytes: impl Into<Bytes>) -> Option<Data> {
    Some(Data::Raw(bytes.into()))
}

/// The text of a JSON object as a key or a payload.
pub fn structured(text: impl Into<String>) -> Option<Data> {
    Some(Data::Structured(text.into()))
}

/// Records of every shape, none of whose bytes are kind to text formats.
pub fn samples() -> Vec<Record> {
    let record = |number: usize, operation, key, before, after| Record {
        position: Bytes::from(format!("p{number}\u{0}\n")),
        operation,
        metadata: [("n".to_owned(), number.to_string()), ("ü".to_owned(), "\u{1}\"".to_owned())].into(),
        key,
        payload: Change { before, after },
    };
    let mut samples = vec![
        record(0, Operation::Snapshot, raw("key"), None, raw("plain")),
        record(1, Operation::Create, raw(&b"\xff\xfe"[..]), None, raw(&b"\x00\xff\x80\n"[..])),
        record(2, Operation::Update, structured("{\"id\":1}"), raw("old"), structured("{\"a\":[1.50,null]}")),
        record(3, Operation::Delete, raw("key"), None, None),
        record(4, Operation::Create, None, None, raw("")),
        record(5, Operation::Delete, structured("{}"), structured("{\"was\":\"here\"}"), None),
        record(6, Operation::Update, raw("\u{2028}"), raw(&b"\xc3\x28"[..]), raw("{\"looks\":\"structured\"}")),
    ];
    samples[6].position = Bytes::from_static(b"\xff\x00\xfe");
    samples[6].metadata = Metadata::new();
    samples
}
