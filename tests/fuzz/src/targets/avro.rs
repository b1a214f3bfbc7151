//! Owns what must hold of Avro files: a block says how many rows it has and tells of each, each row is an object, and a file that
//! is cut is not read as another one.

use s3_connector::config::DestinationConfig;
use s3_connector::record::json::is_object;
use s3_connector::rows::AvroFile;
use s3_connector::table::{Fields, Schema, write_avro};

use super::tables::JSON;
use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "Obj\u{1}",
    "avro.schema",
    "avro.codec",
    "null",
    "deflate",
    "snappy",
    "zstandard",
    "\"record\"",
    "\"array\"",
    "\"map\"",
    "\"items\":",
    "\"values\":",
    "\"enum\"",
    "\"fixed\"",
    "\"size\":",
    "\"union\"",
    "\"logicalType\":\"decimal\"",
    "\"precision\":",
    "\"scale\":",
    "\"int\"",
    "\"long\"",
    "\"bytes\"",
    "\"string\"",
    "\"double\"",
    "\"timestamp-micros\"",
    "\"namespace\":",
    "\"aliases\":",
];

/// Rows and blocks that are looked at.
const ROWS_MAX: usize = 3000;
const BLOCKS_MAX: usize = 50;

pub(super) fn run(data: &[u8]) {
    let (file, head) = match AvroFile::open(data) {
        Ok(Some(opened)) => opened,
        Ok(None) => return note("a head that is cut"),
        Err(why) => return note(&why.why),
    };
    note("a head");
    assert!(head <= data.len());
    // Less of the file is the same head, or too little for one.
    for less in [head - 1, head] {
        let cut = AvroFile::open(&data[..less]).expect("a cut head is no wrong one");
        assert_eq!(cut.map(|(_, bytes)| bytes), (less == head).then_some(head));
    }
    let mut rest = &data[head..];
    for _ in 0..BLOCKS_MAX {
        let needed = file.needed(rest).ok().flatten();
        match file.block(rest) {
            Ok(Some((bytes, block))) => {
                assert_eq!(needed, Some(bytes));
                assert!(bytes > 0 && bytes <= rest.len());
                look(block);
                rest = &rest[bytes..];
            }
            Ok(None) => return note(if needed.is_some() { "a block that is cut" } else { "the end" }),
            Err(why) => return note(&why.why),
        }
    }
}

fn look(block: s3_connector::rows::Block) {
    let (announced, mut told, mut is_cut) = (block.rows(), 0, false);
    for (at, row) in block.enumerate() {
        match row {
            Ok(text) => {
                assert!(is_object(&text), "{text:?}");
                told += 1;
                note("a row");
            }
            Err(bad) => {
                assert!(bad.rows > 0 && !bad.why.is_empty());
                told += bad.rows;
                note(&bad.why);
            }
        }
        is_cut = at >= ROWS_MAX;
        if is_cut {
            break;
        }
    }
    assert!(is_cut || told == announced, "{told} of {announced} rows are told of");
}

/// Files as the destination writes them, one for each codec.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut schema = Schema::growing(Fields::new(true), false);
    JSON.iter().for_each(|row| schema.take(row).expect("it fits"));
    let rows = || JSON.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>();
    let with = |name: &str| {
        let settings =
            [("aws.bucket", "photos"), ("aws.region", "us-east-1"), ("format", "avro"), ("compression", name)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let compression = DestinationConfig::parse(&settings).expect("good settings").compression;
        write_avro(&schema.fields_of_file(), rows(), compression).expect("it fits").into_bytes().to_vec()
    };
    ["none", "gzip", "zstd", "snappy"].into_iter().map(with).collect()
}
