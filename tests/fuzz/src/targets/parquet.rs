//! Owns what must hold of Parquet files: each row is an object, no group has more rows than its footer says, and reading goes on
//! after any row of a group.

use bytes::Bytes;
use s3_connector::config::DestinationConfig;
use s3_connector::record::json::is_object;
use s3_connector::rows::{Footer, Opened};
use s3_connector::table::{Fields, Schema, write_parquet};

use super::tables::JSON;
use crate::novelty::note;

/// Rows and groups that are looked at.
const ROWS_MAX: usize = 2000;
const GROUPS_MAX: usize = 8;

pub(super) fn run(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let size = data.len() as u64;
    let footer = match Footer::open(size, file.clone()) {
        Ok(Opened::Footer(footer)) => footer,
        Ok(Opened::Needs(bytes)) => panic!("all is there, and it needs {bytes} bytes"),
        Err(why) => return note(&why.why),
    };
    note("a footer");
    // As a source does: little at first, then as much as is asked for.
    match Footer::open(size, file.slice(data.len() - 8..)) {
        Ok(Opened::Needs(bytes)) => {
            assert!(bytes <= size);
            let tail = file.slice((size - bytes) as usize..);
            assert!(matches!(Footer::open(size, tail), Ok(Opened::Footer(same)) if same.rows() == footer.rows()));
        }
        other => assert!(matches!(other, Ok(Opened::Footer(_)))),
    }
    for (at, group) in footer.groups().iter().enumerate().take(GROUPS_MAX) {
        assert!(group.first + group.length <= size, "a group is in the file");
        let bytes = file.slice(group.first as usize..(group.first + group.length) as usize);
        let whole = read(&footer, at, &bytes, 0);
        assert!(whole.len() as u64 <= group.rows);
        let skip = whole.len() / 2;
        if whole.iter().all(|row| row.starts_with('{')) && whole.len() < ROWS_MAX {
            assert_eq!(read(&footer, at, &bytes, skip as u64), whole[skip..], "after {skip} rows");
        }
    }
}

/// The rows of a group: their texts, or why they can't be read.
fn read(footer: &Footer, group: usize, bytes: &Bytes, skip: u64) -> Vec<String> {
    let rows = match footer.read(group, bytes.clone(), skip) {
        Ok(rows) => rows,
        Err(why) => return vec![noted(why.why)],
    };
    rows.take(ROWS_MAX)
        .map(|row| match row {
            Ok(Ok(text)) => {
                assert!(is_object(&text), "{text:?}");
                text
            }
            Ok(Err(why)) => noted(why),
            Err(broken) => noted(broken.why),
        })
        .collect()
}

fn noted(why: String) -> String {
    assert!(!why.is_empty() && !why.starts_with('{'));
    note(&why);
    why
}

/// Files as the destination writes them, one for each codec.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut schema = Schema::growing(Fields::new(false), false);
    JSON.iter().for_each(|row| schema.take(row).expect("it fits"));
    let with = |name: &str| {
        let settings =
            [("aws.bucket", "photos"), ("aws.region", "us-east-1"), ("format", "parquet"), ("compression", name)];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let compression = DestinationConfig::parse(&settings).expect("good settings").compression;
        let rows = JSON.iter().map(|row| (*row).to_owned());
        write_parquet(&schema.fields_of_file(), rows, compression).expect("it fits").into_bytes().to_vec()
    };
    ["none", "gzip", "zstd", "snappy"].into_iter().map(with).collect()
}
