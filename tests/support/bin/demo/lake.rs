//! Files of rows that become a table: CSV in gzip, JSON lines and Parquet in one folder are read row by row, and written as
//! typed Parquet in a folder per country. Owns this scene of the demo.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use s3_connector::record::Data;
use s3_connector_tests::world::Record;
use serde_json::Value;

use super::{Demo, Result, ensure};

const FILES: &str = "demo-files";
const LAKE: &str = "demo-lake";

/// The table's schema, as Avro writes it. CSV has texts alone: these types say what they mean.
const SCHEMA: &str = r#"{"type":"record","name":"sale","fields":[
              {"name":"id","type":"long"},
              {"name":"country","type":"string"},
              {"name":"amount","type":"double"},
              {"name":"sold","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;

const CSV: &str = "id,country,amount,sold\n\
                   1,DE,12.5,2026-11-01T08:00:00Z\n\
                   2,FR,7,2026-11-01T09:30:00Z\n\
                   3,DE,0.25,2026-11-02T10:00:00Z\n";

const LINES: &str = r#"{"id":4,"country":"JP","amount":1999.99,"sold":"2026-11-02T11:00:00Z"}
{"id":5,"country":"FR","amount":3,"sold":"2026-11-03T12:00:00Z"}
"#;

const COLUMNS: &str = "message sale {
  REQUIRED INT64 id;
  OPTIONAL BYTE_ARRAY country (STRING);
  REQUIRED DOUBLE amount;
  REQUIRED INT64 sold (TIMESTAMP(MICROS,true));
}";

/// A row: id, amount, and when it was sold.
type Row = (i64, f64, &'static str);

/// Rows by country, as they must be in the table.
const TABLE: [(&str, &[Row]); 3] = [
    ("DE", &[(1, 12.5, "2026-11-01T08:00:00"), (3, 0.25, "2026-11-02T10:00:00"), (6, 42.0, "2026-11-03T00:00:00")]),
    ("FR", &[(2, 7.0, "2026-11-01T09:30:00"), (5, 3.0, "2026-11-03T12:00:00")]),
    ("JP", &[(4, 1999.99, "2026-11-02T11:00:00"), (7, 0.5, "2026-11-03T00:00:01")]),
];

/// 2026-11-03, in microseconds since 1970.
const DAY: i64 = 1_793_664_000_000_000;

/// Makes the table, and has it read again.
pub(super) async fn becomes_a_table(demo: &Demo) -> Result<()> {
    let store = demo.server.store();
    for bucket in [FILES, LAKE] {
        store.create_bucket(bucket)?;
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(CSV.as_bytes())?;
    store.put(FILES, "sales/one.csv.gz", Bytes::from(gzip.finish()?))?;
    store.put(FILES, "sales/two.jsonl", LINES)?;
    store.put(FILES, "sales/three.parquet", columns()?)?;

    let file = demo.folder.join("lake.yaml");
    std::fs::write(&file, pipeline())?;
    let mut command = demo.bare();
    command.args(["run", "--until-caught-up", "--state", &demo.path("lake")]).arg(&file);
    let status = command.stderr(Stdio::inherit()).status().await?;
    ensure(status.success(), || format!("the pipeline ended with {status}"))?;

    let rows = demo.source_with("lake-read", LAKE, &["decode=parquet"]).await?;
    let mut table: Vec<_> = rows.iter().map(row).collect::<Result<_>>()?;
    table.sort_by_key(|row| row.0.clone());
    let expected: Vec<_> = TABLE
        .iter()
        .flat_map(|(country, rows)| rows.iter().map(move |row| (*country, row)))
        .map(|(country, (id, amount, sold))| (country.to_owned(), *id, *amount, (*sold).to_owned()))
        .collect();
    table.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    ensure(table == expected, || format!("the table has {table:?} instead of {expected:?}"))?;
    println!("CSV in gzip, JSON lines and Parquet became one table, in a folder per country:");
    for (country, id, amount, sold) in table {
        println!("    country={country}/  id {id}, amount {amount}, sold {sold}");
    }
    Ok(())
}

fn pipeline() -> String {
    format!(
        r#"version: "2.2"
pipelines:
  - id: sales
    connectors:
      - id: files
        type: source
        plugin: s3
        settings:
          aws.bucket: {FILES}
          decode: auto
      - id: lake
        type: destination
        plugin: s3
        settings:
          aws.bucket: {LAKE}
          format: parquet
          columns: payload
          path: country={{field.country}}
          schema: >-
            {SCHEMA}
"#
    )
}

/// A Parquet file of two rows.
fn columns() -> Result<Bytes> {
    let schema = Arc::new(parse_message_type(COLUMNS)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default())?;
    let mut group = writer.next_row_group()?;
    let mut number = 0;
    while let Some(mut column) = group.next_column()? {
        match number {
            0 => column.typed::<Int64Type>().write_batch(&[6, 7], None, None)?,
            1 => {
                let countries = ["DE", "JP"].map(ByteArray::from);
                column.typed::<ByteArrayType>().write_batch(&countries, Some(&[1, 1]), None)?
            }
            2 => column.typed::<DoubleType>().write_batch(&[42.0, 0.5], None, None)?,
            _ => column.typed::<Int64Type>().write_batch(&[DAY, DAY + 1_000_000], None, None)?,
        };
        column.close()?;
        number += 1;
    }
    group.close()?;
    Ok(writer.into_inner()?.into())
}

/// A row of the table: country, which its folder has to have too, id, amount, and when it was sold, to the second.
fn row(record: &Record) -> Result<(String, i64, f64, String)> {
    let Some(Data::Structured(text)) = &record.payload.after else { return Err("a row is not structured".into()) };
    let row: Value = serde_json::from_str(text)?;
    let Some(Data::Structured(key)) = &record.key else { return Err("a row's key is not structured".into()) };
    let key: Value = serde_json::from_str(key)?;
    let key = key["key"].as_str().ok_or("a row's key does not name its object")?;
    let country = row["country"].as_str().ok_or("a row has no country")?;
    ensure(key.starts_with(&format!("country={country}/")), || format!("a row of {country} is in {key}"))?;
    let sold = row["sold"].as_str().and_then(|sold| sold.get(..19)).ok_or("a row has no time")?;
    let (id, amount) = (row["id"].as_i64().ok_or("no id")?, row["amount"].as_f64().ok_or("no amount")?);
    Ok((country.to_owned(), id, amount, sold.to_owned()))
}
