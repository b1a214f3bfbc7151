//! Cases of objects that are read row by row: what each record says, where a restart goes on, and what becomes of rows that
//! can't be read. Formats themselves are tested where they are read.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded_s3::ObjectHeaders;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use s3_connector::record::Operation;
use s3_connector_host::ErrorKind;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Data, Env, Record, SavedState, key, read_all, read_some};

in_every_world! {
    each_row_of_an_object_is_a_record,
    formats_follow_from_keys_and_content_types,
    a_restart_after_any_row_goes_on_with_the_next_one,
    a_restart_within_json_knows_a_list_from_values,
    a_restart_after_any_row_loses_nothing_without_state,
    a_restart_goes_on_within_blocks_and_row_groups,
    row_groups_of_a_large_file_are_requested_one_by_one,
    a_restart_with_other_settings_begins_the_object_again,
    rows_of_a_change_have_its_operation_and_a_delete_is_one_record,
    an_object_without_rows_is_told_without_records,
    bad_rows_stop_the_source_or_do_not,
    an_object_that_breaks_off_stops_the_source_or_does_not,
    a_parquet_file_that_lies_costs_itself_and_no_instance,
    rows_of_an_object_that_is_overwritten_begin_again,
    rows_of_a_large_object_come_while_it_arrives,
    settings_of_rows_need_rows,
}

const CSV: (&str, &str) = ("decode", "csv");

fn gzip(parts: &[&str]) -> Vec<u8> {
    let mut members = Vec::new();
    for part in parts {
        let mut encoder = flate2::write::GzEncoder::new(&mut members, flate2::Compression::default());
        encoder.write_all(part.as_bytes()).expect("memory takes all");
        encoder.finish().expect("memory takes all");
    }
    members
}

/// The payload as text.
fn text(record: &Record) -> String {
    match &record.payload.after {
        Some(Data::Structured(text)) => text.clone(),
        Some(Data::Raw(bytes)) => String::from_utf8(bytes.to_vec()).expect("it is text"),
        other => panic!("a row is in its record: {other:?}"),
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(text).collect()
}

fn metadata<'a>(record: &'a Record, name: &str) -> &'a str {
    record.metadata.get(name).map_or("", String::as_str)
}

/// The object's key and the row's number.
fn place(record: &Record) -> String {
    match &record.key {
        Some(Data::Structured(text)) => {
            let key: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
            format!("{} {}", key["key"].as_str().expect("a text"), key["row"])
        }
        _ => key(record),
    }
}

fn places(records: &[Record]) -> Vec<String> {
    records.iter().map(place).collect()
}

async fn each_row_of_an_object_is_a_record(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a.csv", "id,name\n1,x\n2,\"y,z\"\n").await;
    bucket.put("b.csv.gz", gzip(&["id,name\n3,", "u\n"])).await;
    let mut source = bucket.open_with(&[CSV]).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(
        texts(&records),
        ["{\"id\":\"1\",\"name\":\"x\"}", "{\"id\":\"2\",\"name\":\"y,z\"}", "{\"id\":\"3\",\"name\":\"u\"}"]
    );
    assert_eq!(places(&records), ["a.csv 1", "a.csv 2", "b.csv.gz 1"]);
    let positions: std::collections::BTreeSet<_> = records.iter().map(|record| &record.position).collect();
    assert_eq!(positions.len(), records.len(), "each has its own");
    let first = &records[0];
    assert_eq!(first.operation, Operation::Snapshot);
    assert_eq!((metadata(first, "s3.row"), metadata(first, "s3.byteOffset")), ("1", "8"));
    assert_eq!((metadata(first, "s3.size"), metadata(first, "opencdc.collection")), ("20", bucket.name()));
    assert_eq!(metadata(first, "s3.versionId"), metadata(&records[1], "s3.versionId"));
    assert_eq!(metadata(&records[2], "s3.byteOffset"), "", "of compressed data it says nothing");
}

async fn formats_follow_from_keys_and_content_types(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a.jsonl", "{\"a\":1}\n{\"a\":2}\n").await;
    bucket.put("b.json", "[{\"b\":1}, 7]").await;
    bucket.put("c.tsv", "x\ty\n1\t2\n").await;
    bucket.put("d.log", "one\ntwo").await;
    bucket.put("e.png", "not\nrows").await;
    let headers =
        ObjectHeaders { content_type: Some("text/csv; charset=utf-8".to_owned()), ..ObjectHeaders::default() };
    assert!(bucket.try_put("f", "z\n9\n", headers).await);
    let mut source = bucket.open_with(&[("decode", "auto")]).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(
        texts(&records),
        [
            "{\"a\":1}",
            "{\"a\":2}",
            "{\"b\":1}",
            "{\"value\":7}",
            "{\"x\":\"1\",\"y\":\"2\"}",
            "one",
            "two",
            "not\nrows",
            "{\"z\":\"9\"}"
        ]
    );
    assert_eq!(places(&records)[7], "e.png", "an object that has no rows is one record");
}

async fn a_restart_after_any_row_goes_on_with_the_next_one(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a.csv", "id\n1\n2\n\"3\n3\"\n").await;
    bucket.put("b.csv", gzip(&["id\n4\n5", "5\n6\n"])).await;
    bucket.put("c.csv", "id\n7\n").await;
    let all = ["a.csv 1", "a.csv 2", "a.csv 3", "b.csv 1", "b.csv 2", "b.csv 3", "c.csv 1"];
    let ids = ["1", "2", "3\\n3", "4", "55", "6", "7"].map(|id| format!("{{\"id\":\"{id}\"}}"));
    for stop in 1..=all.len() {
        let state = SavedState::memory();
        let mut source = bucket.start_with(&[CSV], &state).await;
        let mut records = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        let position = records.last().expect("one").position.clone();
        let mut source = bucket.resume_with(&[CSV], &state, &position).await;
        records.extend(read_all(&mut source).await.expect("reads"));
        assert_eq!(places(&records)[..], all, "stopped after {stop}");
        assert_eq!(texts(&records)[..], ids, "stopped after {stop}");
    }
}

async fn a_restart_within_json_knows_a_list_from_values(env: &Env) {
    const SETTINGS: &[(&str, &str)] = &[("decode", "json"), ("onBadRow", "raw")];
    let bucket = env.plain().await;
    bucket.put("a.json", "[{\"a\":1}, [2]]").await;
    // What can't be read may look like what follows an element.
    bucket.put("b.json", "{\"b\":1}\n,oops\n]\n{\"b\":4}\n").await;
    let all = ["a.json 1", "a.json 2", "b.json 1", "b.json 2", "b.json 3", "b.json 4"];
    let rows = ["{\"a\":1}", "{\"value\":[2]}", "{\"b\":1}", ",oops", "]", "{\"b\":4}"];
    for stop in 1..=all.len() {
        let state = SavedState::memory();
        let mut source = bucket.start_with(SETTINGS, &state).await;
        let mut records = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        let position = records.last().expect("one").position.clone();
        let mut source = bucket.resume_with(SETTINGS, &state, &position).await;
        records.extend(read_all(&mut source).await.expect("reads"));
        assert_eq!(places(&records)[..], all, "stopped after {stop}");
        assert_eq!(texts(&records)[..], rows, "stopped after {stop}");
    }
}

async fn a_restart_after_any_row_loses_nothing_without_state(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a.csv", "id\n1\n2\n3\n").await;
    bucket.put("b.csv", "id\n4\n5\n").await;
    let all = ["a.csv 1", "a.csv 2", "a.csv 3", "b.csv 1", "b.csv 2"];
    for stop in 1..=all.len() {
        let mut source = bucket.start_with(&[CSV], &SavedState::none()).await;
        let first = read_some(&mut source, stop).await.expect("reads");
        drop(source);
        let position = first.last().expect("one").position.clone();
        let mut source = bucket.resume_with(&[CSV], &SavedState::none(), &position).await;
        let rest = places(&read_all(&mut source).await.expect("reads"));
        // The object that was begun is told from its first row.
        let from = if stop < 3 { 0 } else { 3 };
        if stop < all.len() {
            assert!(rest.join(", ").contains(&all[from..].join(", ")), "stopped after {stop}: {rest:?}");
        }
    }
}

/// A Parquet file with so many row groups of four rows, whose payloads have that many bytes.
fn parquet_file(groups: usize, bytes: usize) -> Vec<u8> {
    let schema = "message m { required int64 n; required binary noise; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_dictionary_enabled(false).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).expect("a writer");
    for group in 0..groups {
        let numbers: Vec<_> = (0..4).map(|row| (group * 4 + row) as i64).collect();
        let mut noise = numbers.iter().map(|n| *n as u64 + 1);
        let values: Vec<_> = noise.by_ref().map(|seed| ByteArray::from(random_bytes(seed, bytes))).collect();
        let mut columns = writer.next_row_group().expect("a row group");
        let mut column = columns.next_column().expect("it is written").expect("the first");
        column.typed::<Int64Type>().write_batch(&numbers, None, None).expect("it is written");
        column.close().expect("it closes");
        let mut column = columns.next_column().expect("it is written").expect("the second");
        column.typed::<ByteArrayType>().write_batch(&values, None, None).expect("it is written");
        column.close().expect("it closes");
        columns.close().expect("it closes");
    }
    writer.into_inner().expect("it closes")
}

fn random_bytes(mut state: u64, count: usize) -> Vec<u8> {
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// An Avro file of twelve rows, with a few in each block.
fn avro_file() -> Vec<u8> {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"n","type":"long"}]}"#;
    let schema = apache_avro::Schema::parse_str(schema).expect("a schema");
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).expect("a writer");
    for n in 0..12 {
        let fields = vec![("n".to_owned(), apache_avro::types::Value::Long(n))];
        writer.append_value(apache_avro::types::Value::Record(fields)).expect("it is written");
        if n % 5 == 4 {
            writer.flush().expect("a block ends");
        }
    }
    writer.into_inner().expect("it closes")
}

/// The field `n` of each row.
fn numbers(records: &[Record]) -> Vec<i64> {
    let number = |record: &Record| {
        let row: serde_json::Value = serde_json::from_str(&text(record)).expect("it is JSON");
        row["n"].as_i64().expect("a number")
    };
    records.iter().map(number).collect()
}

async fn a_restart_goes_on_within_blocks_and_row_groups(env: &Env) {
    let bucket = env.plain().await;
    for (format, file) in [("parquet", parquet_file(3, 10)), ("avro", avro_file())] {
        bucket.put("a", file).await;
        for stop in 1..=12 {
            let state = SavedState::memory();
            let mut source = bucket.start_with(&[("decode", format)], &state).await;
            let mut records = read_some(&mut source, stop).await.expect("reads");
            drop(source);
            let position = records.last().expect("one").position.clone();
            let mut source = bucket.resume_with(&[("decode", format)], &state, &position).await;
            records.extend(read_all(&mut source).await.expect("reads"));
            assert!(numbers(&records).into_iter().eq(0..12), "{format}, stopped after {stop}: {:?}", places(&records));
            assert!(records.iter().zip(1..).all(|(record, row)| place(record) == format!("a {row}")));
        }
    }
}

async fn row_groups_of_a_large_file_are_requested_one_by_one(env: &Env) {
    let bucket = env.plain().await;
    let file = parquet_file(4, 150_000);
    assert!(file.len() > 2 << 20, "more than what is requested at first");
    bucket.put("a.parquet", file).await;
    let state = SavedState::memory();
    let settings = [("decode", "auto")];
    let mut source = bucket.start_with(&settings, &state).await;
    let mut records = read_some(&mut source, 6).await.expect("reads");
    drop(source);
    let position = records.last().expect("one").position.clone();
    let mut source = bucket.resume_with(&settings, &state, &position).await;
    records.extend(read_all(&mut source).await.expect("reads"));
    assert!(numbers(&records).into_iter().eq(0..16));
    for (record, seed) in records.iter().zip(1..) {
        let row: serde_json::Value = serde_json::from_str(&text(record)).expect("it is JSON");
        assert!(row["noise"] == STANDARD.encode(random_bytes(seed, 150_000)), "row {seed}");
        assert_eq!(metadata(record, "s3.rows"), "16");
    }
}

async fn a_restart_with_other_settings_begins_the_object_again(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1\n2\n3\n").await;
    for (settings, expected) in [
        (&[("decode", "json")][..], &["{\"value\":1}", "{\"value\":2}", "{\"value\":3}"][..]),
        (&[][..], &["1\n2\n3\n"][..]),
    ] {
        let state = SavedState::memory();
        let mut source = bucket.start_with(&[("decode", "lines")], &state).await;
        let first = read_some(&mut source, 1).await.expect("reads");
        drop(source);
        let mut source = bucket.resume_with(settings, &state, &first[0].position).await;
        assert_eq!(texts(&read_all(&mut source).await.expect("reads")), expected);
    }
}

async fn rows_of_a_change_have_its_operation_and_a_delete_is_one_record(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a.csv", "id\n1\n").await;
    let mut source = bucket.open_with(&[CSV]).await;
    read_all(&mut source).await.expect("reads");
    bucket.put("a.csv", "id\n1\n2\n").await;
    bucket.put("b.csv", "id\n3\n").await;
    let records = read_all(&mut source).await.expect("reads");
    let told: Vec<_> = records.iter().map(|record| (record.operation, place(record))).collect();
    let expected = [(Operation::Update, "a.csv 1"), (Operation::Update, "a.csv 2"), (Operation::Create, "b.csv 1")];
    assert_eq!(told, expected.map(|(operation, place)| (operation, place.to_owned())));
    bucket.delete("a.csv").await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!((records.len(), records[0].operation, place(&records[0])), (1, Operation::Delete, "a.csv".to_owned()));
}

async fn an_object_without_rows_is_told_without_records(env: &Env) {
    let bucket = env.plain().await;
    for (key, body) in [("a", ""), ("b", "id\n"), ("c", "id\n1\n"), ("d", "")] {
        bucket.put(key, body).await;
    }
    // What marks a folder is no broken file.
    for format in ["parquet", "avro", "json", "lines"] {
        let mut source = bucket.open_with(&[("decode", format), ("keys.include", "a,d")]).await;
        assert!(read_all(&mut source).await.expect("reads").is_empty(), "{format}");
    }
    let state = SavedState::memory();
    let mut source = bucket.start_with(&[CSV], &state).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(places(&records), ["c 1"]);
    drop(source);
    let mut source = bucket.resume_with(&[CSV], &state, &records[0].position).await;
    bucket.put("b", "id\n2\n").await;
    assert_eq!(places(&read_all(&mut source).await.expect("reads")), ["b 1"]);
}

async fn bad_rows_stop_the_source_or_do_not(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a.csv", "id,n\n1,x\n2\n3,y\n4\n").await;
    let settings = |policy: &'static str| [CSV, ("onBadRow", policy)];
    let mut source = bucket.open_with(&settings("skip")).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(places(&records), ["a.csv 1", "a.csv 3"], "they keep their numbers");
    let progress = source.progress().await.expect("it tells");
    assert!(progress.caught_up);
    let mut source = bucket.open_with(&settings("raw")).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(texts(&records), ["{\"id\":\"1\",\"n\":\"x\"}", "2", "{\"id\":\"3\",\"n\":\"y\"}", "4"]);
    assert_eq!(metadata(&records[1], "s3.rowError"), "it has 1 field where 2 are named");
    let state = SavedState::memory();
    let mut source = bucket.start_with(&settings("stop"), &state).await;
    let first = read_some(&mut source, 1).await.expect("what comes before it is delivered");
    assert_eq!(places(&first), ["a.csv 1"]);
    let error = source.read(10, Duration::from_secs(5)).await.expect_err("it stops");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let why = "object `a.csv`: row 2, at byte 9: it has 1 field where 2 are named; mend the object, or set `onBadRow` to `skip` or `raw` to go on";
    assert_eq!(error.message(), why);
    // Once the setting is another one, it goes on after what was delivered.
    let mut source = bucket.resume_with(&settings("skip"), &state, &first[0].position).await;
    assert_eq!(places(&read_all(&mut source).await.expect("reads")), ["a.csv 3"]);
}

async fn an_object_that_breaks_off_stops_the_source_or_does_not(env: &Env) {
    let bucket = env.plain().await;
    let whole = gzip(&["id\n1\n2\n"]);
    bucket.put("a.csv.gz", whole[..whole.len() - 4].to_vec()).await;
    bucket.put("b.csv", "id\n3\n").await;
    let mut source = bucket.open_with(&[CSV, ("onBadRow", "skip")]).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(places(&records).last().map(String::as_str), Some("b.csv 1"));
    let mut source = bucket.open_with(&[CSV]).await;
    let error = loop {
        match source.read(10, Duration::from_secs(5)).await {
            Ok(records) => assert!(!records.is_empty(), "it stops"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.message().starts_with("object `a.csv.gz`: after row 2: its gzip data can't be decompressed"),
        "{}",
        error.message()
    );
}

/// A Parquet file of this body, whose footer is the list of a schema and what follows it.
fn parquet_of(body: &[u8], schema: &[u8], rest: &[u8]) -> Vec<u8> {
    let footer = [&[0x15, 2][..], schema, rest, &[0]].concat();
    [b"PAR1", body, &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
}

async fn a_parquet_file_that_lies_costs_itself_and_no_instance(env: &Env) {
    let bucket = env.plain().await;
    // 2,147,483,647 columns are announced, and one is there.
    let leaf = [0x15, 2, 0x25, 0, 0x18, 1, b'x', 0];
    let many = [&[0x19, 0x2c, 0x48, 1, b'm', 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0][..], &leaf].concat();
    bucket.put("a", parquet_of(&[], &many, &[0x16, 0, 0x19, 0x0c])).await;
    // A page of two values that are in a dictionary, which is not there.
    let page = [0x15, 0, 0x15, 6, 0x15, 6, 0x2c, 0x15, 4, 0x15, 16, 0x15, 6, 0x15, 6, 0, 0, 1, 3, 1];
    let one = [&[0x19, 0x2c, 0x48, 1, b'm', 0x15, 2, 0][..], &leaf].concat();
    let chunk = [0x3c, 0x15, 2, 0x35, 0, 0x16, 4, 0x26, 40, 0x26, 8, 0, 0];
    let groups = [&[0x16, 4, 0x19, 0x1c, 0x19, 0x1c][..], &chunk, &[0x26, 4, 0]].concat();
    bucket.put("b", parquet_of(&page, &one, &groups)).await;
    bucket.put("c", parquet_file(1, 10)).await;
    let mut source = bucket.open_with(&[("decode", "parquet"), ("onBadRow", "skip")]).await;
    assert_eq!(places(&read_all(&mut source).await.expect("reads")), ["c 1", "c 2", "c 3", "c 4"]);
    for why in ["its schema has fewer columns than it says", "a page refers to a dictionary that is not there"] {
        let mut source = bucket.open_with(&[("decode", "parquet")]).await;
        let error = source.read(10, Duration::from_secs(5)).await.expect_err("it stops");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(why), "{}", error.message());
        bucket.put("a", parquet_of(&page, &one, &groups)).await;
    }
}

async fn rows_of_an_object_that_is_overwritten_begin_again(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1\n2\n3\n").await;
    let state = SavedState::memory();
    let lines = ("decode", "lines");
    let mut source = bucket.start_with(&[lines], &state).await;
    let first = read_some(&mut source, 2).await.expect("reads");
    drop(source);
    bucket.put("a", "4\n5\n").await;
    let mut source = bucket.resume_with(&[lines], &state, &first[1].position).await;
    assert_eq!(texts(&read_all(&mut source).await.expect("reads")), ["4", "5"]);
}

async fn rows_of_a_large_object_come_while_it_arrives(env: &Env) {
    let bucket = env.plain().await;
    let count = 60_000;
    let body: String = (0..count).map(|n| format!("{n:099}\n")).collect();
    bucket.put("large", body).await;
    let state = SavedState::memory();
    let lines = ("decode", "lines");
    let mut source = bucket.start_with(&[lines], &state).await;
    let mut numbers = Vec::new();
    let mut last = None;
    while numbers.len() < count {
        let records = source.read(5000, Duration::from_secs(10)).await.expect("reads");
        numbers.extend(records.iter().map(|record| text(record).parse::<usize>().expect("a number")));
        let Some(record) = records.last() else { panic!("{} of {count} rows came", numbers.len()) };
        source.ack(&record.position).await.expect("acks");
        // Now and then in another process: each time it goes on at its byte.
        if numbers.len() < count && numbers.len() % 4 == 0 {
            let position = record.position.clone();
            drop(source);
            source = bucket.resume_with(&[lines], &state, &position).await;
        }
        last = Some(record.position.clone());
    }
    assert!(numbers.into_iter().eq(0..count), "each row once, in order");
    assert!(last.is_some());
}

async fn settings_of_rows_need_rows(env: &Env) {
    let bucket = env.plain().await;
    for (settings, expected) in [
        (&[("csv.delimiter", ";")][..], "setting `decode` is `none`"),
        (&[CSV, ("chunkBytes", "1MiB")][..], "setting `chunkBytes` is for objects as they are"),
        (&[CSV, ("before", "true")][..], "setting `before` is for objects as they are"),
        (&[CSV, ("csv.quote", "ab")][..], "setting `csv.quote`"),
        (&[("decode", "lines"), ("encoding", "klingon")][..], "setting `encoding`"),
        (&[("decode", "json"), ("json.rows", "lines"), ("json.path", "a")][..], "setting `json.path`"),
    ] {
        let error = bucket.source(settings, &SavedState::none(), None).await.map(drop).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(expected), "{}", error.message());
    }
}
