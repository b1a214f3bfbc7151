//! Cases of payloads as tables: what the destination writes, the source reads row by row. Formats and the rules of columns are
//! tested where they are written.

use bytes::Bytes;
use s3_connector::record::{Change, Metadata, Operation};
use s3_connector_host::ErrorKind;
use s3_connector_tests::in_every_world;
use s3_connector_tests::samples::{raw, structured};
use s3_connector_tests::world::{Bucket, Data, Env, Record, flush, read_all};
use serde_json::{Value, json};

in_every_world! {
    rows_that_were_written_are_read_back_from_every_format,
    columns_grow_from_batch_to_batch_and_misfits_are_refused_by_name,
    columns_that_are_given_are_those_of_files,
}

fn record(number: usize, operation: Operation, row: &str) -> Record {
    let (before, after) = (structured(row), None);
    let (before, after) = if operation == Operation::Delete { (before, after) } else { (after, before) };
    Record {
        position: Bytes::from(format!("p{number:03}")),
        operation,
        metadata: Metadata::from([("opencdc.collection".to_owned(), "orders".to_owned())]),
        key: raw(format!("k{number}")),
        payload: Change { before, after },
    }
}

/// Writes records, and returns why each was refused that was.
async fn write(bucket: &Bucket, settings: &[(&str, &str)], records: &[Record]) -> Vec<Option<String>> {
    let mut destination = bucket.destination(settings).await.expect("opens");
    let mut acks = destination.write(records).await.expect("takes them");
    let missing = records.len() - acks.len();
    acks.extend(flush(&mut destination, missing).await.expect("stores"));
    acks.into_iter().map(|ack| ack.error.map(|error| error.to_string())).collect()
}

/// The rows of all objects, as the source reads them, in the order of a field.
async fn read(bucket: &Bucket, settings: &[(&str, &str)], order: &str) -> Vec<Value> {
    let mut source = bucket.open_with(settings).await;
    let rows =
        read_all(&mut source).await.expect("all can be read").into_iter().map(|record| match record.payload.after {
            Some(Data::Structured(text)) => serde_json::from_str(&text).expect("it is JSON"),
            other => panic!("a row is structured: {other:?}"),
        });
    let mut rows: Vec<Value> = rows.collect();
    rows.sort_by_key(|row| row[order].to_string());
    rows
}

async fn rows_that_were_written_are_read_back_from_every_format(env: &Env) {
    let rows = [
        (
            Operation::Snapshot,
            r#"{"id":1,"name":"Zoë, \"the\" first","tags":["a",null],"at":{"city":"Köln","zip":50667}}"#,
        ),
        (Operation::Create, r#"{"id":2,"name":"","price":0.5}"#),
        (Operation::Delete, r#"{"id":3,"name":null,"tags":[],"at":{"zip":null}}"#),
    ];
    let records: Vec<_> = (0..).zip(rows).map(|(number, (operation, row))| record(number, operation, row)).collect();
    for format in ["json", "parquet", "avro", "csv"] {
        let bucket = env.plain().await;
        let settings =
            [("format", format), ("columns", "payload"), ("columns.extra", "_op,_position,_meta"), ("prefix", "t/")];
        assert_eq!(write(&bucket, &settings, &records).await, [None, None, None], "{format}");
        let key = bucket.objects().await.remove(0).0;
        assert!(key.starts_with("t/") && key.ends_with(&format!(".{format}")), "{key}");
        for (found, record) in
            read(&bucket, &[("decode", "auto"), ("csv.empty", "null")], "id").await.iter().zip(&records)
        {
            let data = record.payload.after.as_ref().or(record.payload.before.as_ref());
            let Some(Data::Structured(text)) = data else { panic!("the test's own rows") };
            let mut expected: Value = serde_json::from_str(text).expect("the test's own JSON");
            expected["_op"] = json!(record.operation.as_str());
            expected["_meta"] = json!(record.metadata);
            for (name, value) in expected.as_object().expect("a row") {
                assert_eq!(as_text(&found[name]), as_text(value), "{format}: {name}");
            }
            assert!(found["_position"].as_str().expect("base64").starts_with("cDAw"), "{found}");
        }
    }
}

/// What is left of a value in CSV, and of what is missing; structs have their fields in an order of their own.
fn as_text(value: &Value) -> String {
    let parsed =
        value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(|json| !json.is_string());
    match parsed.as_ref().unwrap_or(value) {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(object) => {
            let object: serde_json::Map<_, _> = object
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if object.is_empty() { "null".to_owned() } else { Value::Object(object).to_string() }
        }
        other => other.to_string(),
    }
}

async fn columns_grow_from_batch_to_batch_and_misfits_are_refused_by_name(env: &Env) {
    let bucket = env.plain().await;
    let settings = [("format", "parquet"), ("columns", "payload"), ("bufferSize", "1")];
    let rows = [r#"{"n":1}"#, r#"{"n":{"x":1}}"#, r#"{"n":2,"more":{"x":true}}"#, r#"{"n":0.5}"#, r#"{"m":"3"}"#];
    let mut records: Vec<_> = (0..).zip(rows).map(|(number, row)| record(number, Operation::Create, row)).collect();
    records.push(Record { payload: Change { before: None, after: raw("{}") }, ..records[0].clone() });
    records.push(record(6, Operation::Delete, "{}"));
    let refused = write(&bucket, &settings, &records).await;
    let expected = [
        None,
        Some("`payload.after` field `n` is an object, but its column holds whole numbers of 64 bits"),
        None,
        None,
        None,
        Some("`payload.after` is not structured"),
        Some("set `columns.extra` to `_op`"),
    ];
    assert_eq!(refused.len(), expected.len());
    for (refused, expected) in refused.iter().zip(expected) {
        assert_eq!(refused.is_some(), expected.is_some(), "{refused:?}");
        assert!(
            expected.is_none_or(|expected| refused.as_ref().is_some_and(|why| why.contains(expected))),
            "{refused:?}"
        );
    }
    // A file has all columns that are known when it is written, as which type they are by then.
    let found = read(&bucket, &[("decode", "parquet")], "n").await;
    let short = |row: &Value| (row["n"].as_f64(), row["more"]["x"].as_bool(), row["m"].as_str().map(str::to_owned));
    let mut found: Vec<_> = found.iter().map(short).collect();
    found.sort_by(|one, other| one.partial_cmp(other).expect("numbers"));
    let expected = [
        (None, None, Some("3".to_owned())),
        (Some(0.5), None, None),
        (Some(1.0), None, None),
        (Some(2.0), Some(true), None),
    ];
    assert_eq!(found, expected);
}

async fn columns_that_are_given_are_those_of_files(env: &Env) {
    let schema = r#"{"type":"record","name":"payment","fields":[
        {"name":"id","type":"int"},
        {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
        {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}"#;
    let row = json!({"id": 1, "amount": "12.30", "at": "2026-11-28T12:34:56.000001Z"});
    for format in ["parquet", "avro"] {
        let bucket = env.plain().await;
        let settings = [("format", format), ("columns", "payload"), ("schema", schema)];
        let records = [
            record(0, Operation::Create, &row.to_string()),
            record(1, Operation::Create, r#"{"id":2,"amount":"12.345"}"#),
            record(2, Operation::Create, r#"{"id":3,"note":"new"}"#),
        ];
        let refused = write(&bucket, &settings, &records).await;
        assert!(refused[0].is_none(), "{refused:?}");
        assert!(refused[1].as_ref().is_some_and(|why| why.contains("`amount`")), "{refused:?}");
        assert!(refused[2].as_ref().is_some_and(|why| why.contains("`note` is not in `schema`")), "{refused:?}");
        assert_eq!(read(&bucket, &[("decode", format)], "id").await, std::slice::from_ref(&row));
    }
    let bucket = env.plain().await;
    let settings =
        bucket.settings(&[("format", "parquet"), ("columns", "payload"), ("schema", r#"{"type":"record"}"#)]);
    let Err(error) = bucket.configured_destination(settings).await else { panic!("it is no schema") };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("`schema`"), "{error}");
}
