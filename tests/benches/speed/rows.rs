//! Owns files of rows, and a program that decodes them natively with the same crates as the component. Leaves being started
//! to `contender`, and what is measured to `work`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use s3_connector::rows::{
    AvroFile, Content, CsvOptions, Footer, Form, JsonRows, Next, Opened, Place, Text, TextOptions,
};

/// The argument that asks for it. The others are the format, the file, and how many times it is read.
pub(super) const ARGUMENT: &str = "--rows";

/// Rows of a file: some 8 MiB as CSV.
pub(super) const ROWS: u64 = 100_000;

/// Rows of a group of Parquet or of a block of Avro.
const GROUP_ROWS: u64 = 20_000;

const SCHEMA: &str = "message row {
  REQUIRED INT64 id;
  OPTIONAL BYTE_ARRAY name (STRING);
  OPTIONAL BYTE_ARRAY city (STRING);
  REQUIRED DOUBLE amount;
  REQUIRED BYTE_ARRAY created (STRING);
  REQUIRED BOOLEAN active;
}";

const AVRO_SCHEMA: &str = r#"{"type":"record","name":"row","fields":[{"name":"id","type":"long"},
{"name":"name","type":["null","string"]},{"name":"city","type":["null","string"]},{"name":"amount","type":"double"},
{"name":"created","type":"string"},{"name":"active","type":"boolean"}]}"#;

struct Sample {
    id: i64,
    name: String,
    city: &'static str,
    amount: f64,
    created: String,
    active: bool,
}

fn samples(rows: std::ops::Range<u64>) -> impl Iterator<Item = Sample> {
    const CITIES: [&str; 5] = ["Berlin", "São Paulo", "Kyoto", "Nairobi", "Salt Lake City"];
    rows.map(|number| Sample {
        id: number as i64,
        name: format!("customer number {:07}", number.wrapping_mul(2_654_435_761) % 10_000_000),
        city: CITIES[(number % 5) as usize],
        amount: (number % 100_000) as f64 / 100.0,
        created: format!("2026-11-{:02}T{:02}:{:02}:00Z", number % 28 + 1, number % 24, number % 60),
        active: number % 3 == 0,
    })
}

/// Writes a file of so many rows.
pub(super) fn write(format: &str, file: &Path, rows: u64) {
    let bytes = match format {
        "csv" => csv(rows),
        "json" => json(rows),
        "parquet" => parquet(rows),
        "avro" => avro(rows),
        other => panic!("{other} is no format"),
    };
    std::fs::write(file, bytes).expect("the disk has room");
}

fn csv(rows: u64) -> Vec<u8> {
    let mut text = String::from("id,name,city,amount,created,active\n");
    for row in samples(0..rows) {
        let Sample { id, name, city, amount, created, active } = row;
        text.push_str(&format!("{id},{name},{city},{amount},{created},{active}\n"));
    }
    text.into_bytes()
}

fn json(rows: u64) -> Vec<u8> {
    let mut text = String::new();
    for row in samples(0..rows) {
        let Sample { id, name, city, amount, created, active } = row;
        text.push_str(&format!(
            "{{\"id\":{id},\"name\":\"{name}\",\"city\":\"{city}\",\"amount\":{amount},\"created\":\"{created}\",\
             \"active\":{active}}}\n"
        ));
    }
    text.into_bytes()
}

fn parquet(rows: u64) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).expect("a writer");
    let mut from = 0;
    while from < rows {
        let group: Vec<_> = samples(from..rows.min(from + GROUP_ROWS)).collect();
        from += GROUP_ROWS;
        let mut columns = writer.next_row_group().expect("a group");
        let text = |text: &str| ByteArray::from(text.as_bytes().to_vec());
        let there = vec![1; group.len()];
        let mut number = 0;
        while let Some(mut column) = columns.next_column().expect("a column") {
            let written = match number {
                0 => {
                    let values: Vec<_> = group.iter().map(|row| row.id).collect();
                    column.typed::<Int64Type>().write_batch(&values, None, None)
                }
                3 => {
                    let values: Vec<_> = group.iter().map(|row| row.amount).collect();
                    column.typed::<DoubleType>().write_batch(&values, None, None)
                }
                5 => {
                    let values: Vec<_> = group.iter().map(|row| row.active).collect();
                    column.typed::<BoolType>().write_batch(&values, None, None)
                }
                _ => {
                    let values = group.iter().map(|row| match number {
                        1 => text(&row.name),
                        2 => text(row.city),
                        _ => text(&row.created),
                    });
                    let levels = (number < 3).then_some(&there[..]);
                    column.typed::<ByteArrayType>().write_batch(&values.collect::<Vec<_>>(), levels, None)
                }
            };
            written.expect("it fits");
            column.close().expect("it ends");
            number += 1;
        }
        columns.close().expect("it ends");
    }
    writer.into_inner().expect("it ends")
}

fn avro(rows: u64) -> Vec<u8> {
    use apache_avro::types::{Record, Value};

    let schema = apache_avro::Schema::parse_str(AVRO_SCHEMA).expect("a schema");
    let mut writer = apache_avro::Writer::new(&schema, Vec::new()).expect("a writer");
    let some = |text: &str| Value::Union(1, Box::new(Value::String(text.to_owned())));
    for row in samples(0..rows) {
        let mut record = Record::new(&schema).expect("a record");
        record.put("id", row.id);
        record.put("name", some(&row.name));
        record.put("city", some(row.city));
        record.put("amount", row.amount);
        record.put("created", row.created);
        record.put("active", row.active);
        writer.append_value(record).expect("it fits");
    }
    writer.into_inner().expect("it ends")
}

/// Decodes a file as often as asked, and prints how many rows and bytes of their texts there were.
pub(super) fn run(arguments: &[String]) {
    let [format, file, times] = arguments else { panic!("a format, a file and a number") };
    let times: u64 = times.parse().expect("a number");
    let file = Bytes::from(std::fs::read(file).expect("a file"));
    let (mut rows, mut bytes) = (0_u64, 0_u64);
    for _ in 0..times {
        decode(format, &file, |text| {
            rows += 1;
            bytes += text.len() as u64;
        });
    }
    println!("{{\"rows\":{rows},\"bytes\":{bytes}}}");
}

fn decode(format: &str, file: &Bytes, mut take: impl FnMut(&str)) {
    match format {
        "csv" => decode_text(Form::Csv(CsvOptions::default()), file, take),
        "json" => decode_text(Form::Json(JsonRows::Auto), file, take),
        "parquet" => {
            let Ok(Opened::Footer(footer)) = Footer::open(file.len() as u64, file.clone()) else { panic!("a footer") };
            for (number, group) in footer.groups().iter().enumerate() {
                let bytes = file.slice(group.first as usize..(group.first + group.length) as usize);
                let rows = footer.read(number, bytes, 0).expect("a group");
                rows.for_each(|row| take(&row.expect("all of it").expect("a row")));
            }
        }
        "avro" => {
            let (avro, mut at) = AvroFile::open(file).expect("a file").expect("all of it");
            while at < file.len() {
                let (length, block) = avro.block(&file[at..]).expect("a block").expect("all of it");
                block.for_each(|row| take(&row.expect("a row")));
                at += length;
            }
        }
        other => panic!("{other} is no format"),
    }
}

fn decode_text(form: Form, file: &Bytes, mut take: impl FnMut(&str)) {
    let options = TextOptions { form, compression: None, encoding: encoding_rs::UTF_8, names: None };
    let mut text = Text::new(options, Place::default());
    let mut at = 0;
    loop {
        match text.next_row().expect("a row") {
            Next::Row(row) => match row.content {
                Content::Structured(row) => take(&row),
                other => panic!("a row is {other:?}"),
            },
            Next::More if at < file.len() => {
                let end = file.len().min(at + (64 << 10));
                text.push(&file.slice(at..end)).expect("text");
                at = end;
            }
            Next::More => text.end().expect("text"),
            Next::End => return,
        }
    }
}
