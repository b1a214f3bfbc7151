//! What the destination stores, read back by readers that are not ours: pyarrow, DuckDB, and Python's own JSON. And rows that the source
//! reads out of files whose writers are not ours: pyarrow, fastavro, zstandard, and Python's own CSV, JSON and gzip, by `write.py`.
//!
//! `read.py` reads; what it should find is made here from the records that went in. It needs a Python with the
//! packages of `requirements.txt`, which `make readers` installs and names; without one nothing is tested, and said.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use s3_connector::record::{Change, Operation};
use s3_connector_tests::samples::{raw, samples, structured};
use s3_connector_tests::world::{Data, Env, Record, acked, flush, read_all};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

/// Names the Python that has the readers.
const PYTHON: &str = "S3_CONNECTOR_PYTHON";

/// How long a reader may take. Far more than it does: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Made-up records, and how many of them the destination puts into one object.
const RECORDS: usize = 3000;
const BATCH: usize = 1000;

/// The objects of a bucket as files.
struct Objects {
    python: String,
    folder: TempDir,
    count: usize,
}

impl Objects {
    /// Has the shipped component write records to an empty bucket; `None` where there is no Python.
    async fn write(format: &str, records: &[Record]) -> Option<Self> {
        Self::write_with(&[("format", format)], records).await
    }

    /// As [`Self::write`], with any settings.
    async fn write_with(settings: &[(&str, &str)], records: &[Record]) -> Option<Self> {
        let Ok(python) = std::env::var(PYTHON) else {
            say_skipped();
            return None;
        };
        let bucket = Env::component().plain().await;
        let batch = BATCH.to_string();
        let settings = [settings, &[("bufferSize", &batch)]].concat();
        let mut destination = bucket.destination(&settings).await.expect("opens");
        let mut acks = Vec::new();
        for some in records.chunks(BATCH / 2) {
            acks.extend(destination.write(some).await.expect("takes them"));
        }
        let missing = records.len() - acks.len();
        acks.extend(flush(&mut destination, missing).await.expect("stores"));
        assert_eq!(acked(&acks).len(), records.len());
        let folder = TempDir::new().expect("a folder can be made");
        let objects = bucket.objects().await;
        for (key, body) in &objects {
            let file = folder.path().join(key);
            std::fs::create_dir_all(file.parent().expect("it is in a folder")).expect("a folder can be made");
            std::fs::write(file, body).expect("it can be kept");
        }
        Some(Self { python, folder, count: objects.len() })
    }

    /// What the script prints, line by line.
    async fn ask(&self, task: &[&str], rest: &[&str]) -> Vec<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/read.py");
        let mut command = Command::new(&self.python);
        command.arg(script).args(task);
        command.arg(self.folder.path()).args(rest);
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .expect("the reader ends")
            .unwrap_or_else(|error| panic!("{PYTHON}=`{}` does not run: {error}", self.python));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{task:?} {rest:?}: {complaint}");
        let lines = String::from_utf8(output.stdout).expect("Python prints ASCII");
        let parse = |line| serde_json::from_str(line).expect("a line of JSON");
        lines.lines().map(parse).collect()
    }

    /// The rows of DuckDB's answer.
    async fn sql(&self, query: &str) -> Vec<Value> {
        self.ask(&["sql"], &[query]).await
    }

    /// Fails unless the reader finds all records in objects that hold them in order.
    async fn hold(&self, reader: &str, records: &[Record]) {
        let expected: Vec<_> = records.iter().map(neutral).collect();
        let places: BTreeMap<_, _> =
            (0..).zip(&expected).map(|(place, record)| (record["position"].to_string(), place)).collect();
        assert_eq!(places.len(), records.len(), "positions are unique");
        let mut objects = BTreeMap::<String, Vec<Value>>::new();
        for mut record in self.ask(&["records", reader], &[]).await {
            let object = record["object"].take().to_string();
            record.as_object_mut().expect("a record").remove("object");
            objects.entry(object).or_default().push(record);
        }
        assert_eq!(objects.len(), self.count, "{reader} reads every object");
        let mut objects: Vec<_> = objects.into_values().collect();
        // Names say nothing of the order in which objects were written.
        objects.sort_by_key(|records| places.get(&records[0]["position"].to_string()));
        let found = objects.concat();
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found == expected, "{reader}: {} became {}", shortened(expected), shortened(found));
        }
        assert_eq!(found.len(), expected.len(), "{reader}");
    }
}

/// Says once, past the test harness that swallows output, that there is no such Python.
fn say_skipped() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let line = format!(
            "tests with other readers are skipped: {PYTHON} names no Python that has them; \
             `make readers` installs one\n"
        );
        // Nobody may be listening.
        let _ = std::io::stderr().write_all(line.as_bytes());
    });
}

/// A record as the script prints it.
fn neutral(record: &Record) -> Value {
    json!({
        "position": hex(&record.position),
        "operation": record.operation.as_str(),
        "metadata": record.metadata,
        "key": neutral_data(record.key.as_ref()),
        "before": neutral_data(record.payload.before.as_ref()),
        "after": neutral_data(record.payload.after.as_ref()),
    })
}

fn neutral_data(data: Option<&Data>) -> Value {
    match data {
        None => Value::Null,
        Some(Data::Raw(bytes)) => json!({ "raw": hex(bytes) }),
        Some(Data::Structured(text)) => {
            let parsed: Value = serde_json::from_str(text).expect("the test's own JSON");
            json!({ "structured": parsed })
        }
        Some(Data::Body { bytes, .. }) => match *bytes {},
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shortened(record: &Value) -> String {
    record.to_string().chars().take(1000).collect()
}

/// Every shape, then enough records for several objects, and some that are larger than any page of a reader.
fn records() -> Vec<Record> {
    let mut records = samples();
    records.extend((0..RECORDS).map(made_up));
    let mut large = made_up(RECORDS);
    let bytes = (0..700_000_u32).flat_map(u32::to_be_bytes);
    large.payload.after = raw(bytes.collect::<Vec<u8>>());
    let mut long = made_up(RECORDS + 1);
    let text = "größer als ein Puffer ".repeat(60_000);
    long.payload.after = structured(json!({ "text": text, "n": 1 }).to_string());
    records.extend([large, long]);
    records
}

/// A record whose every part is there or not, of either kind, and differs from the next one's.
fn made_up(n: usize) -> Record {
    let operations = [Operation::Create, Operation::Snapshot, Operation::Update, Operation::Delete];
    let data = |salt: usize| match (n / salt) % 4 {
        0 => None,
        1 => raw((0..n % 300).map(|i| (i * n * salt) as u8).collect::<Vec<u8>>()),
        2 => structured(format!("{{\"n\":{n},\"of\" : [{salt}.5,null,true,\"\\u0000 \\\"ü\u{1f600}\"],\"\":{{}}}}")),
        _ => raw(format!("{{\"no\":\"structure {n}\"}}")),
    };
    Record {
        position: Bytes::from([&b"\xffmade up\0"[..], &(n as u32).to_be_bytes()].concat()),
        operation: operations[n % 4],
        metadata: (0..n % 4).map(|i| (format!("ключ {i}"), format!("\u{0}\n{n}"))).collect(),
        key: data(1),
        payload: Change { before: data(4), after: data(16) },
    }
}

#[tokio::test]
async fn pyarrow_reads_the_records_from_parquet() {
    let records = records();
    let Some(objects) = Objects::write("parquet", &records).await else {
        return;
    };
    assert!(objects.count > RECORDS / BATCH, "several objects");
    objects.hold("pyarrow-parquet", &records).await;
}

#[tokio::test]
async fn duckdb_reads_the_records_from_parquet() {
    let records = records();
    let Some(objects) = Objects::write("parquet", &records).await else {
        return;
    };
    objects.hold("duckdb-parquet", &records).await;
}

#[tokio::test]
async fn duckdb_reads_the_records_from_json_lines() {
    let records = records();
    let Some(objects) = Objects::write("json", &records).await else {
        return;
    };
    objects.hold("duckdb-json", &records).await;
}

#[tokio::test]
async fn python_reads_the_records_from_json_lines() {
    let records = records();
    let Some(objects) = Objects::write("json", &records).await else {
        return;
    };
    assert!(objects.count > RECORDS / BATCH, "several objects");
    objects.hold("python-json", &records).await;
}

#[tokio::test]
async fn parquet_has_the_columns_of_the_readme() {
    let Some(objects) = Objects::write("parquet", &samples()).await else {
        return;
    };
    let data = "struct<raw: binary, structured: string>";
    assert_eq!(
        objects.ask(&["schema"], &[]).await,
        [
            json!(["position", "binary", false]),
            json!(["operation", "string", false]),
            json!(["metadata", "map<string, string>", false]),
            json!(["key", data, true]),
            json!(["payload", format!("struct<before: {data}, after: {data}>"), false]),
        ]
    );
    let data = "STRUCT(raw BLOB, structured VARCHAR)";
    let query = "select column_name, column_type from (describe select * from '*.parquet')";
    assert_eq!(
        objects.sql(query).await,
        [
            json!(["position", "BLOB"]),
            json!(["operation", "VARCHAR"]),
            json!(["metadata", "MAP(VARCHAR, VARCHAR)"]),
            json!(["key", data]),
            json!(["payload", format!("STRUCT(\"before\" {data}, \"after\" {data})")]),
        ]
    );
}

#[tokio::test]
async fn sql_counts_operations_in_either_format() {
    let records = records();
    let mut counts = BTreeMap::<_, usize>::new();
    for record in &records {
        *counts.entry(record.operation.as_str()).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().map(|count| json!(count)).collect();
    for format in ["parquet", "json"] {
        let Some(objects) = Objects::write(format, &records).await else {
            return;
        };
        let query = format!("select operation, count(*) from '*.{format}' group by all order by 1");
        assert_eq!(objects.sql(&query).await, counts, "{format}");
    }
}

#[tokio::test]
async fn sql_finds_its_way_into_records() {
    let Some(objects) = Objects::write("parquet", &samples()).await else {
        return;
    };
    let answers = [
        // Text in raw bytes, and metadata by name.
        (
            "select metadata['n'] from '*.parquet' where decode(key.raw) = 'key' and operation = 'delete'",
            vec![json!(["3"])],
        ),
        // What is inside of structured data.
        (
            "select payload.after.structured ->> '$.a[0]', (key.structured -> 'id')::int from '*.parquet'
             where payload.after.structured is not null",
            vec![json!(["1.5", 1])],
        ),
        // An empty payload is not a missing one.
        (
            "select count(*) filter (payload.after is null), count(*) filter (octet_length(payload.after.raw) = 0)
             from '*.parquet'",
            vec![json!([2, 1])],
        ),
    ];
    for (query, answer) in answers {
        assert_eq!(objects.sql(query).await, answer, "{query}");
    }
}

#[tokio::test]
async fn parquet_keeps_structured_text_that_readers_of_json_refuse() {
    let odd = ["{\"half of a pair\":\"\\ud800\"}", "{\"n\":1e400,\"n\":12345678901234567890123}", " {\t\"a\" :\n1 } "];
    let mut records: Vec<_> = (0..odd.len()).map(made_up).collect();
    for (record, text) in records.iter_mut().zip(odd) {
        record.payload.after = structured(text);
    }
    let Some(objects) = Objects::write("parquet", &records).await else {
        return;
    };
    let query = "select payload.after.structured from '*.parquet' order by position";
    let expected: Vec<_> = odd.iter().map(|text| json!([text])).collect();
    assert_eq!(objects.sql(query).await, expected);
}

/// A row of a table whose columns come one after the other, and widen.
fn made_up_row(n: usize) -> Value {
    let mut row = json!({ "n": n, "name": format!("Zoë, \"{n}\"\n"), "on": n.is_multiple_of(2), "amount": n });
    if n > RECORDS / 2 {
        row["amount"] = json!(n as f64 + 0.5);
        row["at"] =
            json!({ "city": "Köln", "tags": ["a", null, n.to_string()], "past": [{ "zip": n }, { "street": "" }] });
    }
    if n.is_multiple_of(3) {
        row["name"] = Value::Null;
    }
    row
}

fn rows_of_a_table() -> Vec<Record> {
    let record = |n: usize| Record {
        metadata: [("source".to_owned(), n.to_string())].into(),
        payload: Change { before: None, after: structured(made_up_row(n).to_string()) },
        ..made_up(4 * n)
    };
    (0..RECORDS).map(record).collect()
}

/// Without members that are null: what a row does not have is null in a table.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let there = members.iter().filter(|(_, value)| !value.is_null());
            there.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(elements) => elements.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// A row as CSV has it, where all is text.
fn as_texts(row: &Value) -> Value {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let members = row.as_object().expect("a row").iter();
    members.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), json!(text(value)))).collect()
}

#[tokio::test]
async fn rows_of_tables_are_read_from_every_format() {
    for format in ["parquet", "avro", "csv", "json"] {
        let settings = [("format", format), ("columns", "payload"), ("columns.extra", "_op,_meta")];
        let Some(objects) = Objects::write_with(&settings, &rows_of_a_table()).await else {
            return;
        };
        let mut found = objects.ask(&["rows"], &[]).await;
        assert_eq!(found.len(), RECORDS, "{format}");
        found.sort_by_key(|row| row["n"].as_u64().or_else(|| row["n"].as_str()?.parse().ok()));
        for (n, found) in found.iter().enumerate() {
            let mut expected = made_up_row(n);
            expected["_op"] = json!("create");
            expected["_meta"] = json!({ "source": n.to_string() });
            let (mut found, expected) = match format {
                "csv" => (found.clone(), as_texts(&expected)),
                _ => (without_nulls(found), without_nulls(&expected)),
            };
            if format == "csv" {
                // Python tells no null from an empty text, of which there is none; and nested values are JSON.
                let members = found.as_object_mut().expect("a row");
                members.retain(|_, value| value != "");
                for name in ["at", "_meta"] {
                    let parse = |value: &Value| serde_json::from_str::<Value>(value.as_str()?).ok();
                    assert_eq!(members.remove(name).as_ref().and_then(parse), expected.get(name).and_then(parse));
                }
                assert!(members.iter().all(|(name, value)| &expected[name] == value), "{found}");
                continue;
            }
            let amount = (found["amount"].as_f64(), expected["amount"].as_f64());
            assert_eq!(amount.0, amount.1, "{format}");
            found["amount"] = expected["amount"].clone();
            assert!(found == expected, "{format}: {} became {}", shortened(&expected), shortened(&found));
        }
    }
}

#[tokio::test]
async fn compressed_rows_are_read_as_their_names_say() {
    let expected: Vec<_> = (0..RECORDS).collect();
    for format in ["csv", "json", "parquet", "avro"] {
        for compression in ["gzip", "zstd"] {
            let settings = [("format", format), ("columns", "payload"), ("compression", compression)];
            let Some(objects) = Objects::write_with(&settings, &rows_of_a_table()).await else {
                return;
            };
            let number = |row: Value| row["n"].as_u64().or_else(|| row["n"].as_str()?.parse().ok()).expect("a number");
            let found = objects.ask(&["rows"], &[]).await;
            let mut found: Vec<_> = found.into_iter().map(|row| number(row) as usize).collect();
            found.sort_unstable();
            assert!(found == expected, "{format} in {compression}: {} rows", found.len());
        }
    }
}

/// Partitions of the table in folders.
const PARTITIONS: usize = 100;

#[tokio::test]
async fn a_hundred_partitions_are_one_table_to_pyarrow_and_duckdb() {
    // Values that Hive escapes in the names of folders, and a text that looks like a number to those who guess.
    let land = |n: usize| match n % PARTITIONS {
        0 => "007".to_owned(),
        n => format!("land {n}/ü=%:\u{1f600}"),
    };
    let record = |n: usize| Record {
        payload: Change { before: None, after: structured(json!({ "n": n, "land": land(n) }).to_string()) },
        ..made_up(4 * n)
    };
    let records: Vec<_> = (0..RECORDS).map(record).collect();
    let settings =
        [("format", "parquet"), ("columns", "payload"), ("path", "land={field.land}"), ("path.columns", "drop")];
    let Some(objects) = Objects::write_with(&settings, &records).await else {
        return;
    };
    assert!(objects.count >= PARTITIONS, "{} objects", objects.count);
    let mut found = objects.ask(&["dataset"], &[]).await;
    found.sort_by_key(|row| row["n"].as_u64());
    let expected: Vec<_> = (0..RECORDS).map(|n| json!({ "n": n, "land": land(n) })).collect();
    assert!(found == expected, "pyarrow found {} rows, the first {}", found.len(), shortened(&found[0]));
    let query = "select land, count(*), min(n) from read_parquet('**/*.parquet', hive_partitioning = true, hive_types_autocast = false)
                 group by land order by min(n)";
    let expected: Vec<_> = (0..PARTITIONS).map(|n| json!([land(n), RECORDS / PARTITIONS, n])).collect();
    assert_eq!(objects.sql(query).await, expected);
}

#[tokio::test]
async fn duckdb_sees_one_table_whose_schema_grows() {
    let settings = [("format", "parquet"), ("columns", "payload"), ("columns.extra", "_op,_position,_meta")];
    let Some(objects) = Objects::write_with(&settings, &rows_of_a_table()).await else {
        return;
    };
    assert!(objects.count >= RECORDS / BATCH, "several objects");
    let columns =
        "select column_name, column_type from (describe select * from read_parquet('*.parquet', union_by_name = true))";
    let found: BTreeMap<String, String> = objects
        .sql(columns)
        .await
        .into_iter()
        .map(|row| (row[0].as_str().expect("a name").to_owned(), row[1].as_str().expect("a type").to_owned()))
        .collect();
    let expected = [
        ("_op", "VARCHAR"),
        ("_position", "BLOB"),
        ("_meta", "MAP(VARCHAR, VARCHAR)"),
        ("n", "BIGINT"),
        ("name", "VARCHAR"),
        ("on", "BOOLEAN"),
        ("amount", "DOUBLE"),
        ("at", "STRUCT(city VARCHAR, past STRUCT(zip BIGINT, street VARCHAR)[], tags VARCHAR[])"),
    ];
    assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into());
    let sum =
        "select count(*), count(name), sum(n), count(\"at\".city), sum(\"at\".past[1].zip), max(_meta['source']::int)
        from read_parquet('*.parquet', union_by_name = true)";
    let (all, late) = (0..RECORDS, RECORDS / 2 + 1..RECORDS);
    let names = all.clone().filter(|n| !n.is_multiple_of(3)).count();
    let (sum_all, sum_late): (usize, usize) = (all.sum(), late.clone().sum());
    let texts = "select a::varchar, b::varchar, c::varchar, d::varchar, e::varchar, f::varchar from (".to_owned()
        + sum
        + ") t(a, b, c, d, e, f)";
    let expected = [RECORDS, names, sum_all, late.count(), sum_late, RECORDS - 1].map(|number| number.to_string());
    assert_eq!(objects.sql(&texts).await, [json!(expected)]);
}

#[tokio::test]
async fn columns_that_are_given_have_the_types_of_the_readme() {
    let schema = r#"{"type":"record","name":"r","fields":[
        {"name":"i","type":"int"},{"name":"f","type":"float"},{"name":"y","type":"bytes"},
        {"name":"x","type":{"type":"fixed","name":"four","size":4}},
        {"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}},
        {"name":"m9","type":{"type":"bytes","logicalType":"decimal","precision":8,"scale":1}},
        {"name":"d","type":{"type":"int","logicalType":"date"}},
        {"name":"t","type":{"type":"long","logicalType":"time-micros"}},
        {"name":"ms","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"us","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"lo","type":{"type":"long","logicalType":"local-timestamp-micros"}},
        {"name":"l","type":{"type":"array","items":"int"}},{"name":"k","type":{"type":"map","values":"double"}}]}"#;
    let row = json!({
        "i": -5, "f": 0.5, "y": "/w==", "x": "AAECAw==", "m": "-123456789012345678.90", "m9": "1.5", "d": "2026-11-28",
        "t": "12:34:56.000001", "ms": "2026-11-28T12:34:56.789Z", "us": "1969-12-31T23:59:59.999999Z",
        "lo": "2026-11-28T12:34:56.000001", "l": [1, null], "k": {"a": 0.5},
    });
    let mut record = made_up(0);
    record.payload = Change { before: None, after: structured(row.to_string()) };
    let expected = json!({
        "i": -5, "f": 0.5, "y": "ff", "x": "00010203", "m": "-123456789012345678.90", "m9": "1.5", "d": "2026-11-28",
        "t": "12:34:56.000001", "ms": "2026-11-28 12:34:56.789000+00:00", "us": "1969-12-31 23:59:59.999999+00:00",
        "lo": "2026-11-28 12:34:56.000001", "l": [1, null], "k": {"a": 0.5},
    });
    for format in ["parquet", "avro"] {
        let settings = [("format", format), ("columns", "payload"), ("schema", schema)];
        let Some(objects) = Objects::write_with(&settings, std::slice::from_ref(&record)).await else {
            return;
        };
        assert_eq!(objects.ask(&["rows"], &[]).await, std::slice::from_ref(&expected), "{format}");
        if format == "parquet" {
            let types: Vec<_> = objects.ask(&["schema"], &[]).await.iter().map(|column| column[1].clone()).collect();
            let expected = [
                "int32",
                "float",
                "binary",
                "fixed_size_binary[4]",
                "decimal128(20, 2)",
                "decimal128(8, 1)",
                "date32[day]",
                "time64[us]",
                "timestamp[ms, tz=UTC]",
                "timestamp[us, tz=UTC]",
                "timestamp[us]",
                "list<element: int32>",
                "map<string, double>",
            ];
            assert_eq!(types, expected);
        }
    }
}

/// A row's payload as the script has it.
fn row_of(record: &Record) -> Value {
    match &record.payload.after {
        Some(Data::Structured(text)) => serde_json::from_str(text).expect("it is JSON"),
        Some(Data::Raw(bytes)) => Value::from(String::from_utf8(bytes.to_vec()).expect("lines are text")),
        other => panic!("a row is in its record: {other:?}"),
    }
}

#[tokio::test]
async fn rows_of_files_by_other_writers_are_what_was_written() {
    let Ok(python) = std::env::var(PYTHON) else {
        say_skipped();
        return;
    };
    let folder = TempDir::new().expect("a folder can be made");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/write.py");
    let written = Command::new(python).arg(script).arg(folder.path()).stdin(Stdio::null()).kill_on_drop(true).output();
    let written = tokio::time::timeout(PATIENCE, written).await.expect("the writer ends").expect("it runs");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let bucket = Env::component().plain().await;
    let mut expected = BTreeMap::new();
    for entry in std::fs::read_dir(folder.path()).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().expect("it has one").to_str().expect("it is text").to_owned();
        let content = std::fs::read(&path).expect("it can be read");
        match name.strip_suffix(".rows") {
            None => bucket.put(&name, content).await,
            Some(name) => {
                let text = String::from_utf8(content).expect("it is text");
                let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
                expected.insert(name.to_owned(), rows);
            }
        }
    }
    assert!(expected.len() >= 25, "{} files", expected.len());
    let mut source = bucket.open_with(&[("decode", "auto")]).await;
    let mut found = BTreeMap::<String, Vec<Value>>::new();
    for record in read_all(&mut source).await.expect("all can be read") {
        let Some(Data::Structured(key)) = &record.key else { panic!("rows have keys with numbers: {:?}", record.key) };
        let key: Value = serde_json::from_str(key).expect("it is JSON");
        let rows = found.entry(key["key"].as_str().expect("a text").to_owned()).or_default();
        rows.push(row_of(&record));
        assert_eq!(key["row"], rows.len());
    }
    for (name, rows) in &expected {
        let found = found.remove(name).unwrap_or_default();
        for (number, (found, row)) in found.iter().zip(rows).enumerate() {
            assert!(found == row, "{name}, row {}: {} became {}", number + 1, shortened(row), shortened(found));
        }
        assert_eq!(found.len(), rows.len(), "{name}");
    }
    assert!(found.is_empty(), "no others: {:?}", found.keys());
}
