//! Owns the tests of what the values and blocks of Avro files become. Leaves what is damaged or hostile to `hostile`, files of
//! other writers to `golden`.

use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{BigDecimal, Days, Decimal, Duration, Millis, Months, Schema, Uuid, Writer, types::Value};
use bigdecimal::num_bigint::BigInt;

use super::*;
use crate::rows::moment;
pub(super) use crate::testing::zigzag as number;

/// Bytes after their number.
pub(super) fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [number(bytes.len() as i64), bytes.to_vec()].concat()
}

/// What stands between blocks of files that are made here.
pub(super) const SYNC: [u8; 16] = *b"0123456789abcdef";

pub(super) fn head(schema: &str, codec: &str) -> Vec<u8> {
    let entries = [("avro.codec", codec), ("made.by", "tests"), ("avro.schema", schema)]
        .map(|(name, value)| [prefixed(name.as_bytes()), prefixed(value.as_bytes())].concat());
    // Two of them with how many bytes they have, the third without.
    let first = entries[..2].concat();
    [
        MAGIC.to_vec(),
        number(-2),
        number(first.len() as i64),
        first,
        number(1),
        entries[2].clone(),
        number(0),
        SYNC.to_vec(),
    ]
    .concat()
}

/// A block of data that are compressed already.
pub(super) fn block(rows: i64, data: &[u8]) -> Vec<u8> {
    [number(rows), prefixed(data), SYNC.to_vec()].concat()
}

pub(super) fn pack(codec: &str, data: &[u8]) -> Vec<u8> {
    match codec {
        "deflate" => {
            let mut data = data.to_vec();
            apache_avro::Codec::Deflate(Default::default()).compress(&mut data).unwrap();
            data
        }
        "snappy" => {
            let mut crc = flate2::Crc::new();
            crc.update(data);
            let packed = snap::raw::Encoder::new().compress_vec(data).unwrap();
            [packed, crc.sum().to_be_bytes().to_vec()].concat()
        }
        "zstandard" => ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest),
        _ => data.to_vec(),
    }
}

pub(super) fn encode(schema: &str, rows: Vec<Value>) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    rows.into_iter().flat_map(|row| writer.write_value_to_vec(row).unwrap()).collect()
}

/// All rows of a file.
pub(super) fn rows(file: &[u8]) -> Vec<Result<String, String>> {
    parts(file).into_iter().map(|part| part.map_err(|unreadable| unreadable.why)).collect()
}

/// All rows of a file, and what can't be read of it.
pub(super) fn parts(file: &[u8]) -> Vec<Result<String, Unreadable>> {
    let (avro, mut at) = AvroFile::open(file).unwrap().expect("all of its head is there");
    let mut rows = Vec::new();
    while at < file.len() {
        let (used, block) = avro.block(&file[at..]).unwrap().expect("all of the block is there");
        assert_eq!(avro.needed(&file[at..]).unwrap(), Some(used));
        at += used;
        rows.extend(block);
    }
    rows
}

/// The one row of a file with this schema and these bytes.
pub(super) fn row(schema: &str, bytes: &[u8]) -> Result<String, String> {
    let mut rows = rows(&[head(schema, "null"), block(1, bytes)].concat());
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// What the value of a field of this type becomes.
fn field(kind: &str, value: Value) -> String {
    let schema = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"f","type":{kind}}}]}}"#);
    let bytes = encode(&schema, vec![Value::Record(vec![("f".to_owned(), value)])]);
    let json = row(&schema, &bytes).unwrap();
    serde_json::from_str::<serde_json::Value>(&json).unwrap();
    json.strip_prefix("{\"f\":").and_then(|json| json.strip_suffix('}')).expect("one field").to_owned()
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn decimal(number: &str) -> Decimal {
    Decimal::from(number.parse::<BigInt>().unwrap().to_signed_bytes_be())
}

#[test]
fn plain_values_are_what_json_has_for_them() {
    for (kind, value, expected) in [
        (r#""null""#, Value::Null, "null"),
        (r#""boolean""#, Value::Boolean(true), "true"),
        (r#""boolean""#, Value::Boolean(false), "false"),
        (r#""int""#, Value::Int(i32::MIN), "-2147483648"),
        (r#""long""#, Value::Long(i64::MIN), "-9223372036854775808"),
        (r#""long""#, Value::Long(i64::MAX), "9223372036854775807"),
        (r#""long""#, Value::Long(9_007_199_254_740_993), "9007199254740993"),
        (r#""float""#, Value::Float(1.2), "1.2"),
        (r#""float""#, Value::Float(f32::NAN), r#""NaN""#),
        (r#""float""#, Value::Float(f32::INFINITY), r#""Infinity""#),
        (r#""double""#, Value::Double(0.1), "0.1"),
        (r#""double""#, Value::Double(1e21), "1e+21"),
        (r#""double""#, Value::Double(-0.0), "-0.0"),
        (r#""double""#, Value::Double(f64::NAN), r#""NaN""#),
        (r#""double""#, Value::Double(f64::NEG_INFINITY), r#""-Infinity""#),
        (r#""string""#, text("tëxt \"\\\n\u{1}\u{1f980}"), "\"tëxt \\\"\\\\\\n\\u0001\u{1f980}\""),
        (r#""string""#, text(""), r#""""#),
        (r#""bytes""#, Value::Bytes(vec![0xff, 0, 1]), r#""/wAB""#),
        (r#""bytes""#, Value::Bytes(vec![]), r#""""#),
        (r#"{"type":"fixed","name":"F","size":4}"#, Value::Fixed(4, vec![1, 2, 3, 255]), r#""AQID/w==""#),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, Value::Enum(1, "B".to_owned()), r#""B""#),
    ] {
        assert_eq!(field(kind, value), expected, "{kind}");
    }
}

#[test]
fn decimal_numbers_keep_the_digits_of_their_scale() {
    let bytes = r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":2}"#;
    let fixed = r#"{"type":"fixed","name":"F","size":9,"logicalType":"decimal","precision":20,"scale":3}"#;
    let whole = r#"{"type":"bytes","logicalType":"decimal","precision":9}"#;
    for (kind, number, expected) in [
        (bytes, "1230", "12.30"),
        (bytes, "0", "0.00"),
        (bytes, "5", "0.05"),
        (bytes, "-5", "-0.05"),
        (bytes, "-123456789012345678901234567890", "-1234567890123456789012345678.90"),
        (fixed, "-1234", "-1.234"),
        (whole, "1000", "1000"),
    ] {
        assert_eq!(field(kind, Value::Decimal(decimal(number))), format!("\"{expected}\""), "{kind}");
    }
    for (number, scale, expected) in
        [(1230, 2, "12.30"), (-1, 3, "-0.001"), (12, -2, "1200"), (0, -2, "0"), (7, 0, "7")]
    {
        let value = Value::BigDecimal(BigDecimal::new(BigInt::from(number), scale));
        let json = field(r#"{"type":"bytes","logicalType":"big-decimal"}"#, value);
        assert_eq!(json, format!("\"{expected}\""));
    }
}

#[test]
fn a_decimal_number_that_is_too_long_spoils_its_row_alone() {
    let schema = r#"{"type":"bytes","logicalType":"decimal","precision":1000,"scale":1}"#;
    let data = [prefixed(&[1; 129]), prefixed(&[1])].concat();
    let file = [head(schema, "null"), block(2, &data)].concat();
    let expected = [Err("it has a decimal number of too many digits".to_owned()), Ok(r#"{"value":"0.1"}"#.to_owned())];
    assert_eq!(rows(&file), expected);
    let schema = r#"{"type":"bytes","logicalType":"decimal","precision":1000,"scale":513}"#;
    assert_eq!(row(schema, &prefixed(&[1])), Err("it has a decimal number of too many digits".to_owned()));
    let schema = r#"{"type":"bytes","logicalType":"big-decimal"}"#;
    let inner = [prefixed(&[1]), number(i64::MIN)].concat();
    assert_eq!(row(schema, &prefixed(&inner)), Err("it has a decimal number of too many digits".to_owned()));
}

#[test]
fn dates_and_times_have_the_digits_of_their_unit() {
    let logical = |kind: &str, logical: &str| format!(r#"{{"type":"{kind}","logicalType":"{logical}"}}"#);
    let (second, milli, micro) = (1_795_869_296, 1_795_869_296_789, 1_795_869_296_789_012);
    for (kind, value, expected) in [
        (logical("int", "date"), Value::Date(20785), "2026-11-28"),
        (logical("int", "date"), Value::Date(0), "1970-01-01"),
        (logical("int", "date"), Value::Date(-1), "1969-12-31"),
        (logical("int", "date"), Value::Date(11016), "2000-02-29"),
        (logical("int", "date"), Value::Date(-25509), "1900-02-28"),
        (logical("int", "date"), Value::Date(-25508), "1900-03-01"),
        (logical("int", "date"), Value::Date(2_932_896), "9999-12-31"),
        (logical("int", "date"), Value::Date(2_932_897), "+10000-01-01"),
        (logical("int", "date"), Value::Date(-719_528), "0000-01-01"),
        (logical("int", "date"), Value::Date(-719_529), "-0001-12-31"),
        (logical("int", "date"), Value::Date(i32::MAX), "+5881580-07-11"),
        (logical("int", "time-millis"), Value::TimeMillis(45_296_789), "12:34:56.789"),
        (logical("int", "time-millis"), Value::TimeMillis(0), "00:00:00.000"),
        (logical("int", "time-millis"), Value::TimeMillis(86_399_999), "23:59:59.999"),
        (logical("long", "time-micros"), Value::TimeMicros(45_296_000_012), "12:34:56.000012"),
        (logical("long", "timestamp-millis"), Value::TimestampMillis(milli), "2026-11-28T12:34:56.789Z"),
        (logical("long", "timestamp-millis"), Value::TimestampMillis(second * 1000), "2026-11-28T12:34:56.000Z"),
        (logical("long", "timestamp-millis"), Value::TimestampMillis(-1), "1969-12-31T23:59:59.999Z"),
        (logical("long", "timestamp-millis"), Value::TimestampMillis(i64::MAX), "+292278994-08-17T07:12:55.807Z"),
        (logical("long", "timestamp-millis"), Value::TimestampMillis(i64::MIN), "-292275055-05-16T16:47:04.192Z"),
        (logical("long", "timestamp-micros"), Value::TimestampMicros(micro), "2026-11-28T12:34:56.789012Z"),
        (logical("long", "timestamp-nanos"), Value::TimestampNanos(micro * 1000 + 3), "2026-11-28T12:34:56.789012003Z"),
        (logical("long", "local-timestamp-millis"), Value::LocalTimestampMillis(milli), "2026-11-28T12:34:56.789"),
        (logical("long", "local-timestamp-micros"), Value::LocalTimestampMicros(micro), "2026-11-28T12:34:56.789012"),
        (logical("long", "local-timestamp-nanos"), Value::LocalTimestampNanos(0), "1970-01-01T00:00:00.000000000"),
    ] {
        assert_eq!(field(&kind, value), format!("\"{expected}\""), "{kind}");
    }
    for time in [-1, 86_400_000] {
        let schema = logical("int", "time-millis");
        assert_eq!(row(&schema, &number(time)), Err("it has a time that no day has".to_owned()));
    }
}

#[test]
fn every_day_of_four_centuries_has_its_date() {
    let leaps = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days = -25567;
    for year in 1900..2300 {
        for month in 1..=12 {
            let last = match month {
                2 if leaps(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            for day in 1..=last {
                assert_eq!(moment::date(days).to_string(), format!("{year:04}-{month:02}-{day:02}"));
                days += 1;
            }
        }
    }
}

#[test]
fn a_uuid_is_its_text() {
    let name = "6BA7B810-9dad-11d1-80b4-00c04fd430c8";
    let uuid = Uuid::parse_str(name).unwrap();
    let fixed = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
    assert_eq!(field(fixed, Value::Uuid(uuid)), r#""6ba7b810-9dad-11d1-80b4-00c04fd430c8""#);
    // As it was written, even if that is none.
    let schema = r#"{"type":"string","logicalType":"uuid"}"#;
    assert_eq!(row(schema, &prefixed(name.as_bytes())).unwrap(), format!(r#"{{"value":"{name}"}}"#));
    assert_eq!(row(schema, &prefixed(b"none")).unwrap(), r#"{"value":"none"}"#);
    // No logical type of these types.
    let schema = r#"{"type":"bytes","logicalType":"uuid"}"#;
    assert_eq!(row(schema, &prefixed(&[0xff, 0, 1])).unwrap(), r#"{"value":"/wAB"}"#);
    let schema = r#"{"type":"fixed","name":"U","size":3,"logicalType":"uuid"}"#;
    assert_eq!(row(schema, &[0xff, 0, 1]).unwrap(), r#"{"value":"/wAB"}"#);
}

#[test]
fn a_duration_is_its_parts() {
    let kind = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
    let value = Value::Duration(Duration::new(Months::new(1), Days::new(2), Millis::new(u32::MAX)));
    assert_eq!(field(kind, value), r#"{"months":1,"days":2,"milliseconds":4294967295}"#);
}

#[test]
fn parts_stay_in_order_and_a_union_is_its_value() {
    let list = |values: Vec<Value>| Value::Array(values);
    let kind = r#"{"type":"array","items":["null","int",{"type":"array","items":"string"}]}"#;
    let value = list(vec![
        Value::Union(1, Box::new(Value::Int(7))),
        Value::Union(0, Box::new(Value::Null)),
        Value::Union(2, Box::new(list(vec![text("a"), text("b")]))),
    ]);
    assert_eq!(field(kind, value), r#"[7,null,["a","b"]]"#);
    assert_eq!(field(kind, list(vec![])), "[]");
    let entries = [("b", 1), ("a", 2), ("c\"", 3)].map(|(name, value)| (name.to_owned(), Value::Int(value)));
    let kind = r#"{"type":"map","values":"int"}"#;
    assert_eq!(field(kind, Value::Map(entries.into_iter().collect())), r#"{"a":2,"b":1,"c\"":3}"#);
    assert_eq!(field(kind, Value::Map(Default::default())), "{}");
    let schema = r#"{"type":"record","name":"a.r","fields":[
        {"name":"z","type":{"type":"record","name":"s","fields":[{"name":"y","type":"int"},{"name":"x","type":"int"}]}},
        {"name":"none","type":{"type":"record","name":"t","fields":[]}},
        {"name":"again","type":"a.s"},{"name":"a","type":["null","t"]}]}"#;
    let expected = r#"{"z":{"y":1,"x":2},"none":{},"again":{"y":3,"x":4},"a":{}}"#;
    assert_eq!(row(schema, &[2, 4, 6, 8, 2]).unwrap(), expected);
}

#[test]
fn parts_may_come_in_groups_and_a_name_twice() {
    let list = r#"{"type":"array","items":"long"}"#;
    assert_eq!(row(list, &[3, 4, 2, 4, 2, 6, 0]).unwrap(), r#"{"value":[1,2,3]}"#);
    let map = r#"{"type":"map","values":"int"}"#;
    assert_eq!(row(map, &[4, 2, b'a', 2, 2, b'a', 4, 0]).unwrap(), r#"{"a":2}"#);
    assert_eq!(row(map, &[4, 2, b'b', 2, 2, b'a', 4, 1, 6, 2, b'b', 6, 0]).unwrap(), r#"{"a":2,"b":3}"#);
    let nested = r#"{"type":"map","values":{"type":"map","values":"int"}}"#;
    let bytes = [4, 2, b'b', 4, 2, b'd', 2, 2, b'c', 4, 0, 2, b'a', 0, 0];
    assert_eq!(row(nested, &bytes).unwrap(), r#"{"a":{},"b":{"c":2,"d":1}}"#);
}

#[test]
fn rows_that_are_no_records_become_objects() {
    assert_eq!(row(r#""long""#, &[2]).unwrap(), r#"{"value":1}"#);
    assert_eq!(row(r#"{"type":"string"}"#, &prefixed(b"a")).unwrap(), r#"{"value":"a"}"#);
    assert_eq!(row(r#"["null",{"type":"record","name":"r","fields":[]}]"#, &[2]).unwrap(), r#"{"value":{}}"#);
    assert_eq!(row(r#"{"type":"map","values":"long"}"#, &[2, 2, b'b', 1, 0]).unwrap(), r#"{"b":-1}"#);
    let file = [head(r#""null""#, "null"), block(3, &[])].concat();
    assert_eq!(rows(&file), vec![Ok(r#"{"value":null}"#.to_owned()); 3]);
}

#[test]
fn a_type_may_contain_itself() {
    let schema = r#"{"type":"record","name":"n","namespace":"a","fields":[{"name":"next","type":["null","n"]}]}"#;
    assert_eq!(row(schema, &[2, 2, 0]).unwrap(), r#"{"next":{"next":{"next":null}}}"#);
    let named = r#"{"type":"record","name":"r","fields":[
        {"name":"a","type":{"type":"enum","name":"E","symbols":["A","B"]}},{"name":"b","type":"E"},
        {"name":"c","type":{"type":"fixed","name":"D","size":1,"logicalType":"decimal","precision":2,"scale":1}},
        {"name":"d","type":{"type":"array","items":"D"}}]}"#;
    let expected = r#"{"a":"B","b":"A","c":"-0.1","d":["0.2","0.3"]}"#;
    assert_eq!(row(named, &[2, 0, 0xff, 4, 2, 3, 0]).unwrap(), expected);
}

#[test]
fn what_a_reader_without_a_schema_does_not_need_is_not_looked_at() {
    let schema = r#"{"type":"record","name":"r","doc":"d","aliases":["not a name"],"custom":{"a":[1]},"fields":[
        {"name":"a","type":["null","int"],"default":"not null"},{"name":"b","type":"int","default":null,"order":"none"},
        {"name":"c","type":{"type":"enum","name":"E","symbols":["A"],"default":"B"}},
        {"name":"d","type":{"type":"string","avro.java.string":"String","logicalType":7}},
        {"name":"e","type":{"type":"long","logicalType":"nobody-knows"}},
        {"name":"f","type":{"type":"int","logicalType":"timestamp-micros"}}]}"#;
    let bytes = [&[2, 2, 4, 0][..], &prefixed(b"x"), &[6, 8]].concat();
    assert_eq!(row(schema, &bytes).unwrap(), r#"{"a":1,"b":2,"c":"A","d":"x","e":3,"f":4}"#);
}

/// A schema with some of everything, two rows of it, and what they become.
pub(super) fn some() -> (&'static str, Vec<u8>, [&'static str; 2]) {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"id","type":"long"},{"name":"text","type":"string"},
        {"name":"maybe","type":["null","double"]},{"name":"list","type":{"type":"array","items":"int"}},
        {"name":"map","type":{"type":"map","values":"bytes"}},{"name":"is","type":"boolean"},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;
    let first = [
        &number(i64::MAX)[..],
        &prefixed("tëxt".as_bytes()),
        &[2],
        &0.5_f64.to_le_bytes(),
        &[4, 2, 4, 0],
        &[2, 2, b'k', 2, 255, 0],
        &[1],
        &prefixed(&[4, 206]),
        &number(1_795_869_296_789),
    ]
    .concat();
    let second = [&number(-1)[..], &prefixed(b""), &[0, 0, 0, 0], &prefixed(&[]), &number(0)].concat();
    let expected = [
        r#"{"id":9223372036854775807,"text":"tëxt","maybe":0.5,"list":[1,2],"map":{"k":"/w=="},"is":true,"price":"12.30","at":"2026-11-28T12:34:56.789Z"}"#,
        r#"{"id":-1,"text":"","maybe":null,"list":[],"map":{},"is":false,"price":"0.00","at":"1970-01-01T00:00:00.000Z"}"#,
    ];
    (schema, [first, second].concat(), expected)
}

pub(super) const CODECS: [&str; 4] = ["null", "deflate", "snappy", "zstandard"];

#[test]
fn blocks_of_every_codec_are_read() {
    let (schema, data, expected) = some();
    for codec in CODECS {
        let packed = pack(codec, &data);
        let empty = block(0, &pack(codec, &[]));
        let file = [head(schema, codec), block(2, &packed), empty, block(2, &packed)].concat();
        let read: Vec<_> = rows(&file).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, [expected, expected].concat(), "{codec}");
        // More than decoders hold at a time.
        let many = pack(codec, &data.repeat(100_000));
        let file = [head(schema, codec), block(200_000, &many)].concat();
        let (avro, used) = AvroFile::open(&file).unwrap().unwrap();
        let (_, block) = avro.block(&file[used..]).unwrap().unwrap();
        assert_eq!(block.rows(), 200_000);
        assert!(block.zip(expected.iter().cycle()).all(|(row, expected)| row.unwrap() == *expected), "{codec}");
    }
}

#[test]
fn what_the_crate_writes_is_read() {
    let text = r#"{"type":"record","name":"r","fields":[{"name":"n","type":"long"},{"name":"t","type":"string"}]}"#;
    let schema = Schema::parse_str(text).unwrap();
    for codec in [apache_avro::Codec::Null, apache_avro::Codec::Deflate(Default::default())] {
        let mut writer =
            Writer::builder().schema(&schema).writer(Vec::new()).codec(codec).block_size(1000).build().unwrap();
        for number in 0..1000 {
            let fields = [("n", Value::Long(number)), ("t", Value::String("x".repeat(number as usize % 50)))];
            writer.append_value(Value::Record(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())).unwrap();
        }
        let read = rows(&writer.into_inner().unwrap());
        assert_eq!(read.len(), 1000);
        for (number, row) in read.into_iter().enumerate() {
            assert_eq!(row.unwrap(), format!(r#"{{"n":{number},"t":"{}"}}"#, "x".repeat(number % 50)));
        }
    }
}

#[test]
fn a_file_without_a_codec_is_not_compressed() {
    let entry = [prefixed(b"avro.schema"), prefixed(br#""int""#)].concat();
    let file = [MAGIC.to_vec(), number(1), entry, number(0), SYNC.to_vec(), block(1, &[2])].concat();
    assert_eq!(rows(&file), [Ok(r#"{"value":1}"#.to_owned())]);
}
