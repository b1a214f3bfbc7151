//! Cases of compression: what the destination has compressed, a source reads row by row. That other decoders read it is
//! tested where it is compressed.

use std::io::Read as _;

use bytes::Bytes;
use s3_connector::record::{Change, Metadata, Operation, json};
use s3_connector_tests::in_every_world;
use s3_connector_tests::samples::{raw, samples};
use s3_connector_tests::world::{Bucket, Data, Env, Record, SavedState, acked, flush, key, read_all, read_some};

in_every_world! {
    lines_that_are_compressed_say_so,
    a_source_reads_the_rows_that_were_compressed,
    a_replay_of_what_was_compressed_makes_no_second_object,
}

/// Each, how its names end and how its objects begin.
const ALL: [(&str, &str, &[u8]); 3] = [
    ("gzip", ".json.gz", b"\x1f\x8b\x08"),
    ("zstd", ".json.zst", b"\x28\xb5\x2f\xfd"),
    ("snappy", ".json.sz", b"\xff\x06\x00\x00sNaPpY"),
];

/// Records whose lines any reader of JSON takes.
fn numbered() -> Vec<Record> {
    let record = |n: usize| Record {
        position: Bytes::from(format!("p{n}")),
        operation: Operation::Create,
        metadata: Metadata::from([("n".to_owned(), n.to_string())]),
        key: raw(format!("k{n}")),
        payload: Change { before: None, after: raw(vec![b'x'; n * 50]) },
    };
    (0..500).map(record).collect()
}

/// Stores the records as one object of JSON lines, and gives its name and bytes.
async fn store(env: &Env, compression: &str, records: &[Record]) -> (Bucket, String, Bytes) {
    let bucket = env.versioned().await;
    for _ in 0..2 {
        let settings = [("format", "json"), ("compression", compression), ("prefix", "out/")];
        let mut destination = bucket.destination(&settings).await.expect("opens");
        let mut acks = destination.write(records).await.expect("takes them");
        let missing = records.len() - acks.len();
        acks.extend(flush(&mut destination, missing).await.expect("stores"));
        assert_eq!(acked(&acks).len(), records.len());
    }
    let (key, body) = bucket.objects().await.remove(0);
    (bucket, key, body)
}

async fn lines_that_are_compressed_say_so(env: &Env) {
    for (compression, end, magic) in ALL {
        let records = samples();
        let (_, key, body) = store(env, compression, &records).await;
        assert!(key.ends_with(end), "{key}");
        assert!(body.starts_with(magic), "{compression}");
        if compression == "gzip" {
            let mut text = Vec::new();
            flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut text).expect("it can be read");
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            let read: Vec<Record> = lines.map(|line| json::decode_line(line).expect("a record")).collect();
            assert_eq!(read, records);
            assert!(body.len() < text.len());
        }
    }
}

async fn a_source_reads_the_rows_that_were_compressed(env: &Env) {
    for (compression, ..) in ALL {
        let records = numbered();
        let (bucket, ..) = store(env, compression, &records).await;
        let settings = [("prefix", "out/"), ("decode", "auto")];
        let state = SavedState::memory();
        let mut source = bucket.start_with(&settings, &state).await;
        let some = read_some(&mut source, 2).await.expect("reads");
        drop(source);
        let mut source = bucket.resume_with(&settings, &state, &some[1].position).await;
        let rest = read_all(&mut source).await.expect("reads on");
        let rows = some[..2].iter().chain(&rest);
        let read = rows.map(|row| match &row.payload.after {
            Some(Data::Structured(text)) => json::decode_line(text.as_bytes()).expect("a record"),
            other => panic!("{compression}: {} is {other:?}", key(row)),
        });
        assert_eq!(read.collect::<Vec<Record>>(), records, "{compression}");
    }
}

async fn a_replay_of_what_was_compressed_makes_no_second_object(env: &Env) {
    for (compression, ..) in ALL {
        let (bucket, ..) = store(env, compression, &samples()).await;
        assert_eq!(bucket.versions().await.len(), 1, "{compression}");
    }
}
