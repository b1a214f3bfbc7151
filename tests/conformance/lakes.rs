//! Cases of a destination whose objects are in folders: many paths at a time, restarts, and manifests. Batches themselves are in
//! `destination`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use s3_connector::record::{Change, Operation, json};
use s3_connector_tests::in_every_world;
use s3_connector_tests::parquet;
use s3_connector_tests::samples::raw;
use s3_connector_tests::world::{Bucket, Data, Env, Record, acked, flush};

in_every_world! {
    a_hundred_folders_fill_at_the_same_time_and_are_told_by_manifests,
    the_same_records_make_no_second_object_in_any_folder,
    a_destination_that_is_dropped_leaves_nothing_out,
    copies_of_objects_are_below_the_path,
}

const SETTINGS: [(&str, &str); 4] = [
    ("prefix", "lake/"),
    ("path", "day={record.time:%F}/country={field.country}"),
    ("name", "time-digest"),
    ("manifest", "true"),
];

/// Records of a hundred countries, a second apart over two days, the last ones without a country.
fn records(count: usize) -> Vec<Record> {
    let record = |n: usize| {
        let second = 1_769_817_600 + n * 172_800 / count;
        let country = if n * 7 % 101 == 100 { "null".to_owned() } else { format!("\"c={:02}\"", n * 7 % 101) };
        Record {
            position: Bytes::from(format!("p{n:05}")),
            operation: Operation::Create,
            metadata: [("opencdc.createdAt".to_owned(), format!("{second}000000000"))].into(),
            key: raw(format!("k{n}")),
            payload: Change {
                before: None,
                after: Some(Data::Structured(format!("{{\"n\":{n},\"country\":{country}}}"))),
            },
        }
    };
    (0..count).map(record).collect()
}

fn positions(records: &[Record]) -> Vec<Bytes> {
    records.iter().map(|record| record.position.clone()).collect()
}

/// Writes records in pieces, flushes, and fails unless all are acked in their order.
async fn store(bucket: &Bucket, settings: &[(&str, &str)], records: &[Record]) {
    let mut destination = bucket.destination(settings).await.expect("opens");
    let mut acks = Vec::new();
    for piece in records.chunks(300) {
        acks.extend(destination.write(piece).await.expect("takes them"));
    }
    let missing = records.len() - acks.len();
    acks.extend(flush(&mut destination, missing).await.expect("stores"));
    assert_eq!(acked(&acks), positions(records));
    assert!(acks.iter().all(|ack| ack.error.is_none()));
    destination.teardown().await.expect("ends");
}

/// Objects by key: those of records, and manifests.
async fn split(bucket: &Bucket) -> (BTreeMap<String, Bytes>, BTreeMap<String, Bytes>) {
    bucket.objects().await.into_iter().partition(|(key, _)| !key.contains("/_manifests/"))
}

fn read(key: &str, body: &Bytes) -> Vec<Record> {
    if key.ends_with(".parquet") {
        return parquet::read(body).expect("reads back");
    }
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| json::decode_line(line).expect("reads back")).collect()
}

/// The folders in which a record of [`records`] is, by what it says itself.
fn folder(record: &Record) -> String {
    let seconds = record.metadata["opencdc.createdAt"].parse::<u64>().expect("a number") / 1_000_000_000;
    let day = if seconds < 1_769_904_000 { "2026-01-31" } else { "2026-02-01" };
    let Some(Data::Structured(json)) = &record.payload.after else { panic!("structured") };
    let json: serde_json::Value = serde_json::from_str(json).expect("is JSON");
    let country = json["country"].as_str().map_or("__HIVE_DEFAULT_PARTITION__".to_owned(), |c| c.replace('=', "%3D"));
    format!("lake/day={day}/country={country}/")
}

async fn a_hundred_folders_fill_at_the_same_time_and_are_told_by_manifests(env: &Env) {
    for format in ["json", "parquet"] {
        let bucket = env.plain().await;
        let records = records(2000);
        store(&bucket, &[&SETTINGS[..], &[("format", format)]].concat(), &records).await;
        let (objects, manifests) = split(&bucket).await;
        let mut found = Vec::new();
        for (key, body) in &objects {
            for record in read(key, body) {
                assert!(key.starts_with(&folder(&record)), "{key}: {record:?}");
                found.push(record);
            }
        }
        found.sort_by(|one, other| one.position.cmp(&other.position));
        assert!(found == records, "{format}: each record is there once, as it was");
        assert_eq!(objects.len(), 202, "{format}: a file for each country and day");
        let mut told = BTreeMap::new();
        for manifest in manifests.values() {
            let manifest: serde_json::Value = serde_json::from_slice(manifest).expect("is JSON");
            let object = &manifest["objects"][0];
            let key = object["key"].as_str().expect("a key").to_owned();
            assert_eq!(object["bytes"].as_u64(), Some(objects[&key].len() as u64), "{key}");
            assert!(key.contains(&format!(
                "/{}Z-",
                manifest["createdAt"]["first"].as_str().expect("a time").replace(['-', ':', 'Z'], "")
            )));
            told.insert(key, object["records"].as_u64().expect("a count"));
        }
        assert!(told.keys().eq(objects.keys()), "{format}");
        assert_eq!(told.values().sum::<u64>(), 2000);
    }
}

async fn the_same_records_make_no_second_object_in_any_folder(env: &Env) {
    let bucket = env.plain().await;
    let settings = [&SETTINGS[..], &[("format", "json"), ("bufferSize", "7"), ("path.partitionsMax", "60")]].concat();
    let records = records(600);
    store(&bucket, &settings, &records).await;
    let before = bucket.objects().await;
    assert!(before.len() > 600, "{}", before.len());
    store(&bucket, &settings, &records).await;
    assert!(bucket.objects().await == before);
}

async fn a_destination_that_is_dropped_leaves_nothing_out(env: &Env) {
    let bucket = env.plain().await;
    let settings = [&SETTINGS[..], &[("format", "json"), ("bufferSize", "9"), ("path.partitionsMax", "30")]].concat();
    let records = records(1500);
    let mut destination = bucket.destination(&settings).await.expect("opens");
    let mut acks = Vec::new();
    for piece in records[..1000].chunks(100) {
        acks.extend(destination.write(piece).await.expect("takes them"));
    }
    drop(destination);
    assert_eq!(acked(&acks), positions(&records[..acks.len()]), "in their order, without gaps");
    assert!(!acks.is_empty() && acks.len() < 1000, "{}", acks.len());
    store(&bucket, &settings, &records[acks.len()..]).await;
    let (objects, _) = split(&bucket).await;
    let found = objects.iter().flat_map(|(key, body)| read(key, body)).map(|record| record.position);
    let found: BTreeSet<_> = found.collect();
    assert!(found.into_iter().eq(positions(&records)));
}

async fn copies_of_objects_are_below_the_path(env: &Env) {
    let bucket = env.plain().await;
    let settings = [("format", "raw"), ("prefix", "copy/"), ("path", "from={meta.from}/{record.time:%F}")];
    let mut record = records(1).remove(0);
    record.metadata.insert("from".to_owned(), "a/b".to_owned());
    record.key = raw("x/y.txt".to_owned());
    store(&bucket, &settings, &[record]).await;
    let keys: Vec<_> = bucket.objects().await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["copy/from=a%2Fb/2026-01-31/x/y.txt"]);
}
