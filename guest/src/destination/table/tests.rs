//! Tests of records as rows: which part is the row, what is refused, and what of it the source's decoders read back.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::destination::buffer::{Bounds, Buffer};
use crate::destination::format::{Files, samples};
use crate::destination::summary::Summary;
use crate::record::Change;
use crate::rows::{CsvOptions, Form, Next, Opened, Place, Text, TextOptions};

fn files(format: FormatName, extra: Extra) -> Files {
    Files::new(format, Some(&TableConfig { extra, ..TableConfig::default() }), None).expect("makes sense")
}

fn structured(text: &str) -> Option<Data<NoBody>> {
    Some(Data::Structured(text.to_owned()))
}

fn record(operation: Operation, before: Option<Data<NoBody>>, after: Option<Data<NoBody>>) -> Record<NoBody> {
    Record {
        position: Bytes::from_static(b"p\xff"),
        operation,
        metadata: Metadata::from([("a".to_owned(), "\u{1}é\"".to_owned()), ("b".to_owned(), String::new())]),
        key: structured(r#"{"id":7}"#),
        payload: Change { before, after },
    }
}

fn row(text: &str) -> Record<NoBody> {
    record(Operation::Create, None, structured(text))
}

/// The object that records become, none of which is refused.
fn encode(files: &Files, records: Vec<Record<NoBody>>) -> Bytes {
    let mut encoder = files.encoder();
    let mut held = 0;
    for record in records {
        files.check(&record).expect("fits");
        held += files.held_bytes(&record);
        encoder.push(record);
    }
    let object = encoder.finish().expect("encodes").into_bytes();
    assert!(object.len() as u64 <= held + 4096, "{} bytes of {held}", object.len());
    object
}

/// What the source makes of an object, row by row.
fn decode(format: FormatName, object: &Bytes) -> Vec<Value> {
    let parse = |row: &str| serde_json::from_str(row).expect("a row is JSON");
    match format {
        FormatName::Json => object
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| parse(std::str::from_utf8(line).unwrap()))
            .collect(),
        FormatName::Parquet => {
            let Opened::Footer(footer) = crate::rows::Footer::open(object.len() as u64, object.clone()).unwrap() else {
                panic!("all of it is there")
            };
            let group = footer.groups()[0];
            let bytes = object.slice(group.first as usize..(group.first + group.length) as usize);
            footer.read(0, bytes, 0).unwrap().map(|row| parse(&row.unwrap().expect("can be read"))).collect()
        }
        FormatName::Avro => decode_avro(object).iter().map(|row| parse(row)).collect(),
        FormatName::Csv => decode_csv(object).iter().map(|row| parse(row)).collect(),
    }
}

fn every_extra() -> Extra {
    Extra { op: true, position: true, meta: Some(Vec::new()) }
}

const FORMATS: [FormatName; 4] = [FormatName::Json, FormatName::Parquet, FormatName::Csv, FormatName::Avro];

#[test]
fn rows_are_payloads_with_the_columns_that_were_asked_for() {
    let records = || vec![row(r#" {"n":1, "t":"x,\"y\""}"#), row("{ }"), row("{\"n\":null,\n\"t\":\"\"}")];
    let meta = json!({"a": "\u{1}é\"", "b": ""});
    for format in FORMATS {
        let plain = decode(format, &encode(&files(format, Extra::default()), records()));
        let read = decode(format, &encode(&files(format, every_extra()), records()));
        for (row, plain) in read.iter().zip(&plain) {
            assert_eq!((&row["_op"], &row["_position"]), (&json!("create"), &json!("cP8=")), "{format:?}");
            let is_text = format == FormatName::Csv;
            let read: Value = if is_text {
                serde_json::from_str(row["_meta"].as_str().unwrap()).unwrap()
            } else {
                row["_meta"].clone()
            };
            assert_eq!(read, meta, "{format:?}");
            assert_eq!((&row["n"], &row["t"]), (&plain["n"], &plain["t"]), "{format:?}");
        }
        assert_eq!((read.len(), plain.len()), (3, 3), "{format:?}");
        assert_eq!(plain[0]["t"], "x,\"y\"");
        assert_eq!(plain[0]["n"], if format == FormatName::Csv { json!("1") } else { json!(1) });
        assert_eq!(plain[2]["t"], "");
        assert!(plain[0].get("_op").is_none() && plain[0].get("_meta").is_none());
    }
}

#[test]
fn chosen_metadata_are_alone_in_their_column() {
    let extra = Extra { meta: Some(vec!["b".to_owned(), "missing".to_owned()]), ..Extra::default() };
    let read = decode(FormatName::Parquet, &encode(&files(FormatName::Parquet, extra), vec![row("{}")]));
    assert_eq!(read, [json!({"_meta": {"b": ""}})]);
}

#[test]
fn the_row_of_a_delete_is_what_was_there() {
    let delete = |before| record(Operation::Delete, before, None);
    let extra = || Extra { op: true, ..Extra::default() };
    for format in FORMATS {
        let files = files(format, extra());
        let read = decode(format, &encode(&files, vec![delete(structured(r#"{"id":"x"}"#)), delete(None)]));
        assert_eq!(read[0], json!({"_op": "delete", "id": "x"}));
        assert_eq!((&read[1]["_op"], read[1]["id"].to_string().trim_matches('"')), (&json!("delete"), "7"));
    }
    let refused = |extra, record| files(FormatName::Json, extra).check(&record).expect_err("refused").message;
    assert!(refused(Extra::default(), delete(structured("{}"))).contains("set `columns.extra` to `_op`"));
    let mut nameless = delete(None);
    nameless.key = Some(Data::Raw(Bytes::from_static(b"k")));
    assert!(refused(extra(), nameless).contains("neither `payload.before` nor `key` is structured"));
    let raw = record(Operation::Update, structured("{}"), Some(Data::Raw(Bytes::from_static(b"{}"))));
    assert!(refused(extra(), raw).contains("`payload.after` is not structured"));
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_others_go_on() {
    let files = files(FormatName::Parquet, Extra { op: true, ..Extra::default() });
    let check = |text: &str| files.check(&row(text)).map_err(|error| error.message);
    check(r#"{"a":{"b":1}}"#).expect("fits");
    assert_eq!(
        check(r#"{"a":{"b":[1]}}"#).expect_err("misfit"),
        "the record's `payload.after` field `a.b` is a list, but its column holds whole numbers of 64 bits"
    );
    let taken = check(r#"{"_op":1}"#).expect_err("misfit");
    assert!(taken.ends_with("field `_op` has the name of a column that `columns.extra` adds"), "{taken}");
    check(r#"{"a":{"c":1}}"#).expect("fits");
    let json = self::files(FormatName::Json, Extra { op: true, ..Extra::default() });
    assert!(json.check(&row(r#"{"_op":1}"#)).is_err() && json.check(&row(r#"{"a":1,"a":[]}"#)).is_ok());
}

#[test]
fn rows_without_a_value_are_rows_of_nulls_wherever_they_come() {
    for format in [FormatName::Parquet, FormatName::Avro] {
        let read = |rows: &[&str]| {
            let records = rows.iter().map(|text| row(text)).collect();
            decode(format, &encode(&files(format, Extra::default()), records))
        };
        assert_eq!(read(&[r#"{"a":null}"#, r#"{"a":1}"#]), [json!({"a": null}), json!({"a": 1})], "{format:?}");
        assert_eq!(read(&["{}", r#"{"a":1}"#]), [json!({"a": null}), json!({"a": 1})], "{format:?}");
        let lists = read(&[r#"{"a":[null,null],"o":{"b":null}}"#, r#"{"a":[1],"o":null}"#]);
        assert_eq!(lists, [json!({"a": [null, null]}), json!({"a": [1]})], "{format:?}");
        // A file of no column has one in which there is nothing, of a name that no other column has.
        for rows in [&[r#"{"a":null,"l":[],"o":{}}"#, "{}"][..], &["{}", r#"{"_empty":null}"#]] {
            assert_eq!(read(rows), [json!({"_empty": null}), json!({"_empty": null})], "{format:?}");
        }
        assert_eq!(read(&["{}", r#"{"_EMPTY":null}"#]), [json!({"_EMPTY": null}), json!({"_EMPTY": null})]);
        let extra = Extra { op: true, ..Extra::default() };
        let rows = decode(format, &encode(&files(format, extra), vec![row(r#"{"a":null}"#)]));
        assert_eq!(rows, [json!({"_op": "create"})], "{format:?}");
        // The name is not taken: what comes later has its own columns.
        let files = files(format, Extra::default());
        encode(&files, vec![row(r#"{"a":null}"#)]);
        assert_eq!(decode(format, &encode(&files, vec![row(r#"{"_empty":"x"}"#)])), [json!({"_empty": "x"})]);
    }
    let csv = encode(&files(FormatName::Csv, Extra::default()), vec![row("{}"), row("{}")]);
    assert_eq!(csv, "_empty\n\"\"\n\"\"\n");
}

#[test]
fn columns_that_are_dropped_are_in_no_file() {
    let dropped = vec!["c".to_owned(), "d".to_owned()];
    let config = TableConfig { extra: Extra { op: true, ..Extra::default() }, dropped, ..TableConfig::default() };
    for format in FORMATS {
        let files = Files::new(format, Some(&config), None).expect("makes sense");
        let rows = vec![row(r#"{"\u0063":"NL","a\"b":"x\\y","o":{"c":"z"},"d":[1]}"#), row(r#" {"d":{}} "#)];
        let read = decode(format, &encode(&files, rows));
        let name = if format == FormatName::Avro { "a_b" } else { "a\"b" };
        let inner =
            read[0]["o"].as_str().map_or_else(|| read[0]["o"].clone(), |text| serde_json::from_str(text).unwrap());
        assert_eq!((&read[0][name], read[0]["_op"].as_str()), (&json!("x\\y"), Some("create")), "{format:?}");
        assert_eq!(inner, json!({"c": "z"}), "{format:?}");
        assert!(read.iter().all(|row| row.get("c").is_none() && row.get("d").is_none()), "{format:?}");
        let twice = files.check(&row(r#"{"c":1,"c":2}"#)).expect_err("a value would be lost");
        assert!(twice.message.ends_with("field `c` is there twice"), "{twice}");
    }
    let digest = |config: &TableConfig| {
        let mut digester = Files::new(FormatName::Csv, Some(config), None).expect("makes sense").digester();
        digester.record(&row("{}"));
        digester.finish(|| 0)
    };
    assert_ne!(digest(&config), digest(&TableConfig { dropped: Vec::new(), ..config.clone() }));
    let schema = table::parse_schema(r#"{"properties":{"c":{"type":"integer"},"e":{"type":"integer"}}}"#);
    let config = TableConfig { schema: Some(schema.expect("parses")), ..config };
    let files = Files::new(FormatName::Parquet, Some(&config), None).expect("makes sense");
    let read = decode(FormatName::Parquet, &encode(&files, vec![row(r#"{"c":"any","d":1,"e":2}"#)]));
    assert_eq!(read, [json!({"_op": "create", "e": 2})]);
    let clash = TableConfig { dropped: vec!["_op".to_owned()], ..config };
    assert!(
        Files::new(FormatName::Csv, Some(&clash), None).expect_err("clash").message.contains("`path.columns` drops")
    );
}

#[test]
fn the_schema_outlasts_batches_and_is_shared() {
    let files = files(FormatName::Parquet, Extra::default());
    let bounds = Bounds { records_max: 1, bytes_max: 1 << 20, delay: Duration::ZERO };
    let buffers = [files.clone(), files].map(|files| Buffer::new(bounds, files, Summary::default()));
    let mut columns = Vec::new();
    for (buffer, text) in [(0, r#"{"a":1}"#), (1, r#"{"b":"x"}"#), (0, r#"{"a":0.5}"#), (1, r#"{"b":"y"}"#)] {
        let mut buffer = buffers[buffer].another();
        let none: Option<&crate::destination::stream::Streamed<NoBody>> = None;
        let checked = buffer.check(row(text), none).expect("fits");
        buffer.push(checked, 0, Duration::ZERO);
        let object = buffer.finish(String::new(), || 0).expect("encodes").object.body.into_bytes();
        columns.push(decode(FormatName::Parquet, &object)[0].to_string());
    }
    assert_eq!(columns, [r#"{"a":1}"#, r#"{"a":null,"b":"x"}"#, r#"{"a":0.5,"b":null}"#, r#"{"a":null,"b":"y"}"#]);
}

#[test]
fn files_of_parts_of_records_are_named_otherwise_than_those_of_whole_ones() {
    let digest = |files: Files| {
        let mut digester = files.digester();
        digester.record(&row("{}"));
        digester.finish(|| 0)
    };
    let names = std::collections::BTreeSet::from([
        digest(Files::new(FormatName::Parquet, None, None).expect("makes sense")),
        digest(files(FormatName::Parquet, Extra::default())),
        digest(files(FormatName::Parquet, every_extra())),
        digest(files(FormatName::Parquet, Extra { meta: Some(vec!["a".to_owned()]), ..every_extra() })),
    ]);
    assert_eq!(names.len(), 4);
    let of_records = |format| digest(Files::new(format, None, None).expect("makes sense"));
    assert_eq!(of_records(FormatName::Csv), of_records(FormatName::Json), "they differ by their extensions");
}

/// Rows of CSV as the source reads them.
fn decode_csv(object: &Bytes) -> Vec<String> {
    let form = Form::Csv(CsvOptions::default());
    let options = TextOptions { form, compression: None, encoding: encoding_rs::UTF_8, names: None };
    let mut text = Text::new(options, Place::default());
    let mut rows = Vec::new();
    text.push(object).expect("it is text");
    text.end().expect("it ends");
    loop {
        match text.next_row().expect("reads") {
            Next::Row(row) => match row.content {
                crate::rows::Content::Structured(json) => rows.push(json),
                other => panic!("{other:?}"),
            },
            Next::More => panic!("all of it is there"),
            Next::End => return rows,
        }
    }
}

#[test]
fn whole_records_read_back_from_csv() {
    let files = Files::new(FormatName::Csv, None, None).expect("makes sense");
    let rows = decode(FormatName::Csv, &encode(&files, samples()));
    assert_eq!(rows.len(), samples().len());
    for (row, record) in rows.iter().zip(samples()) {
        let column = |name: &str| row[name].as_str().expect("CSV has texts").to_owned();
        let text = |data: Option<&Data<NoBody>>| {
            let mut out = Vec::new();
            match data {
                None => {}
                Some(Data::Raw(bytes)) => json::encode_base64(bytes, &mut out),
                Some(data) => json::encode_data(Some(data), &mut out),
            }
            String::from_utf8(out).unwrap()
        };
        let mut position = Vec::new();
        json::encode_base64(&record.position, &mut position);
        assert_eq!(column("position").as_bytes(), position);
        assert_eq!(column("operation"), record.operation.as_str());
        assert_eq!(column("metadata"), serde_json::json!(record.metadata).to_string());
        assert!(column("key") == text(record.key.as_ref()));
        assert!(column("payload.before") == text(record.payload.before.as_ref()));
        assert!(column("payload.after") == text(record.payload.after.as_ref()));
    }
}

#[test]
fn null_and_an_empty_text_differ_in_csv() {
    let csv = |records| String::from_utf8(encode(&files(FormatName::Csv, Extra::default()), records).to_vec()).unwrap();
    assert_eq!(
        csv(vec![row(r#"{"a b":"","c,d":null,"e":[1,{"f":"\""}]}"#), row(r#"{"e":" x","g":"l\nm"}"#)]),
        "a b,\"c,d\",e,g\n\"\",,\"[1,{\"\"f\"\":\"\"\\\"\"\"\"}]\",\n,, x,\"l\nm\"\n"
    );
    assert_eq!(csv(vec![row(r#"{"a":1}"#), row(r#"{"a":null}"#)]), "a\n1\n\"\"\n");
}

/// Rows of Avro as the source reads them.
fn decode_avro(object: &Bytes) -> Vec<String> {
    let (file, mut at) = crate::rows::AvroFile::open(object).expect("is Avro").expect("all of its head is there");
    let mut rows = Vec::new();
    while at < object.len() {
        let (used, block) = file.block(&object[at..]).expect("is a block").expect("all of it is there");
        rows.extend(block.map(|row| row.expect("can be read")));
        at += used;
    }
    rows
}

#[test]
fn whole_records_read_back_from_avro() {
    let files = Files::new(FormatName::Avro, None, None).expect("makes sense");
    let rows = decode(FormatName::Avro, &encode(&files, samples()));
    assert_eq!(rows.len(), samples().len());
    let base64 = |bytes: &[u8]| base64_text(bytes).trim_matches('"').to_owned();
    for (row, record) in rows.iter().zip(samples()) {
        let data = |data: &Option<Data<NoBody>>| match data {
            None => Value::Null,
            Some(Data::Raw(bytes)) => json!({"raw": base64(bytes), "structured": null}),
            Some(Data::Structured(text)) => json!({"raw": null, "structured": text}),
            Some(Data::Body { bytes, .. }) => match *bytes {},
        };
        let expected = json!({
            "position": base64(&record.position),
            "operation": record.operation.as_str(),
            "metadata": record.metadata,
            "key": data(&record.key),
            "payload": {"before": data(&record.payload.before), "after": data(&record.payload.after)},
        });
        assert!(*row == expected, "{:?}", record.position);
    }
}

#[test]
fn columns_that_are_given_count_in_every_format() {
    let schema = table::parse_schema(
        r#"{"type":"record","name":"o","fields":[
        {"name":"id","type":"long"},{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}"#,
    );
    let config = TableConfig {
        extra: Extra { op: true, ..Extra::default() },
        schema: Some(schema.expect("parses")),
        ..TableConfig::default()
    };
    for format in FORMATS {
        let files = Files::new(format, Some(&config), None).expect("makes sense");
        let read =
            decode(format, &encode(&files, vec![row(r#"{"at":"2026-11-28T12:00:00.000001Z"}"#), row(r#"{"id":7}"#)]));
        assert_eq!(read[0]["at"], "2026-11-28T12:00:00.000001Z", "{format:?}");
        assert_eq!(read[1]["id"].to_string().trim_matches('"'), "7", "{format:?}");
        for text in [r#"{"id":"seven"}"#, r#"{"id":1.5}"#, r#"{"at":"yesterday"}"#, r#"{"more":null}"#, r#"{"_op":1}"#]
        {
            assert!(files.check(&row(text)).is_err(), "{format:?} {text}");
        }
    }
    let clash = table::parse_schema(r#"{"properties":{"_OP":{"type":"string"}}}"#).expect("parses");
    let clash = TableConfig { schema: Some(clash), ..config };
    assert!(Files::new(FormatName::Csv, Some(&clash), None).expect_err("clash").message.contains("setting `schema`"));
}

/// Readers know the columns of whole records by these names: a change needs a line in the changelog.
const AVRO_RECORD: &str = concat!(
    r#"{"fields":[{"name":"position","type":"bytes"},{"name":"operation","type":"string"},"#,
    r#"{"name":"metadata","type":{"type":"map","values":["null","string"]}},"#,
    r#"{"default":null,"name":"key","type":["null",{"fields":[{"default":null,"name":"raw","type":["null","bytes"]},"#,
    r#"{"default":null,"name":"structured","type":["null","string"]}],"name":"row.key","type":"record"}]},"#,
    r#"{"name":"payload","type":{"fields":["#,
    r#"{"default":null,"name":"before","type":["null",{"fields":[{"default":null,"name":"raw","type":["null","bytes"]},"#,
    r#"{"default":null,"name":"structured","type":["null","string"]}],"name":"row.payload.before","type":"record"}]},"#,
    r#"{"default":null,"name":"after","type":["null",{"fields":[{"default":null,"name":"raw","type":["null","bytes"]},"#,
    r#"{"default":null,"name":"structured","type":["null","string"]}],"name":"row.payload.after","type":"record"}]}"#,
    r#"],"name":"row.payload","type":"record"}}],"name":"row","type":"record"}"#,
);

#[test]
fn columns_of_whole_records_are_those_of_every_release() {
    let object =
        |format| encode(&Files::new(format, None, None).expect("makes sense"), vec![row(r#"{"n":1,"t":"a,b"}"#)]);
    let avro = object(FormatName::Avro);
    assert!(avro.windows(AVRO_RECORD.len()).any(|window| window == AVRO_RECORD.as_bytes()), "{}", avro.escape_ascii());
    let csv = String::from_utf8(object(FormatName::Csv).to_vec()).expect("CSV is text");
    assert_eq!(
        csv,
        "position,operation,metadata,key,payload.before,payload.after\ncP8=,create,\"{\"\"a\"\":\"\"\\u0001é\\\"\"\"\",\"\"b\"\":\"\"\"\"}\",\
         \"{\"\"id\"\":7}\",,\"{\"\"n\"\":1,\"\"t\"\":\"\"a,b\"\"}\"\n"
    );
}

#[test]
fn a_table_of_large_rows_is_not_cut_before_its_bounds() {
    let files = files(FormatName::Parquet, Extra::default());
    let large = row(&format!(r#"{{"t":"{}"}}"#, "x".repeat(60 << 20)));
    let held = files.held_bytes(&large);
    assert!(held <= crate::limits::OBJECT_BYTES_MAX, "{held}");
    assert!(encode(&files, vec![large]).len() as u64 <= held);
}
