//! Reads files that the crate itself writes. `make readers` reads those of others.

use std::sync::Arc;

use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96, Int96Type,
};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::*;

/// Writes the columns of a row group.
pub(super) type WriteGroup<'a> = &'a dyn Fn(&mut SerializedRowGroupWriter<'_, Vec<u8>>);

/// A file with these row groups.
pub(super) fn file(schema: &str, properties: WriterProperties, groups: &[WriteGroup<'_>]) -> Bytes {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("a writer");
    for write in groups {
        let mut group = writer.next_row_group().expect("a row group");
        write(&mut group);
        group.close().expect("it closes");
    }
    Bytes::from(writer.into_inner().expect("it closes"))
}

/// Writes the next column: values, and where they may be missing or repeated their levels.
macro_rules! column {
    ($group:expr, $type:ty, $values:expr, $definitions:expr, $repetitions:expr) => {{
        let mut column = $group.next_column().expect("it can be written").expect("there is one");
        column.typed::<$type>().write_batch($values, $definitions, $repetitions).expect("it is written");
        column.close().expect("it closes");
    }};
    ($group:expr, $type:ty, $values:expr) => {
        column!($group, $type, $values, None, None)
    };
}
pub(super) use column;

fn open(file: &Bytes) -> Result<Footer, Broken> {
    match Footer::open(file.len() as u64, file.clone())? {
        Opened::Footer(footer) => Ok(footer),
        Opened::Needs(bytes) => panic!("{bytes} of all {} bytes", file.len()),
    }
}

fn group_bytes(file: &Bytes, group: &Group) -> Bytes {
    file.slice(group.first as usize..(group.first + group.length) as usize)
}

pub(super) fn read(file: &Bytes) -> Result<Vec<String>, Broken> {
    let footer = open(file)?;
    let mut rows = Vec::new();
    for (number, group) in footer.groups().iter().enumerate() {
        for row in footer.read(number, group_bytes(file, group), 0)? {
            rows.push(row?.unwrap_or_else(|why| format!("bad: {why}")));
        }
    }
    Ok(rows)
}

fn numbers(properties: WriterProperties) -> Bytes {
    let group = |from: i64| {
        move |group: &mut SerializedRowGroupWriter<'_, Vec<u8>>| {
            let values: Vec<_> = (from..from + 500).collect();
            let texts: Vec<_> = values.iter().map(|n| ByteArray::from(format!("text {}", n % 7).as_str())).collect();
            column!(group, Int64Type, &values);
            column!(group, ByteArrayType, &texts);
        }
    };
    let schema = "message m { required int64 n; required binary t (STRING); }";
    file(schema, properties, &[&group(0), &group(500)])
}

fn numbers_read() -> Vec<String> {
    (0..1000).map(|n| format!("{{\"n\":{n},\"t\":\"text {}\"}}", n % 7)).collect()
}

#[test]
fn every_compression_is_read() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for dictionary in [false, true] {
                let properties = WriterProperties::builder()
                    .set_compression(compression)
                    .set_writer_version(version)
                    .set_dictionary_enabled(dictionary)
                    .build();
                assert!(read(&numbers(properties)).expect("it is read") == numbers_read(), "{compression}");
            }
        }
    }
}

#[test]
fn a_group_is_read_from_any_row_on() {
    let file = numbers(WriterProperties::builder().build());
    let footer = open(&file).expect("a footer");
    assert_eq!((footer.rows(), footer.groups().len()), (1000, 2));
    for (group, skip) in [(0, 0), (0, 1), (0, 499), (0, 500), (1, 250), (1, 9999)] {
        let rows = footer.read(group, group_bytes(&file, &footer.groups()[group]), skip).expect("it is read");
        let rows: Vec<_> = rows.map(|row| row.expect("it is read").expect("a row")).collect();
        let from = (group * 500 + skip as usize).min(group * 500 + 500);
        assert!(rows == numbers_read()[from..group * 500 + 500], "group {group}, {skip} skipped");
    }
    assert!(footer.read(2, Bytes::new(), 0).is_err());
}

#[test]
fn a_file_without_rows_has_none() {
    let schema = "message m { required int64 n; }";
    let empty = file(schema, WriterProperties::builder().build(), &[&|group| column!(group, Int64Type, &[])]);
    let none = file(schema, WriterProperties::builder().build(), &[]);
    for file in [empty, none] {
        assert!(read(&file).expect("it is read").is_empty());
    }
}

#[test]
fn a_footer_is_read_from_the_end() {
    let file = numbers(WriterProperties::builder().build());
    let size = file.len() as u64;
    let tail = |bytes: usize| Footer::open(size, file.slice(file.len() - bytes..));
    let Ok(Opened::Needs(8)) = tail(0) else { panic!("the last eight bytes say how long it is") };
    let Ok(Opened::Needs(needed)) = tail(8) else { panic!("it is longer") };
    assert!(matches!(tail(needed as usize - 1), Ok(Opened::Needs(more)) if more == needed));
    assert!(matches!(tail(needed as usize), Ok(Opened::Footer(_))));
    for strange in [&b""[..], b"PAR1", b"not parquet at all", b"\xff\xff\xff\xffPAR1", b"\xff\xff\xff\x00PAR1"] {
        assert!(open(&Bytes::copy_from_slice(strange)).is_err(), "{strange:?}");
    }
    let encrypted = open(&Bytes::from_static(b"....\x04\0\0\0PARE")).expect_err("it is encrypted");
    assert!(encrypted.why.contains("encrypted"));
}

#[test]
fn each_type_has_its_json() {
    let schema = "message m {
        required boolean b; required int32 i8 (INTEGER(8,true)); required int32 u32 (INTEGER(32,false));
        required int64 u64 (INTEGER(64,false)); required float f; required double d; required binary raw;
        required fixed_len_byte_array(16) id (UUID); required int32 p (DECIMAL(9,2));
        required fixed_len_byte_array(20) wide (DECIMAL(40,5)); required int32 day (DATE);
        required int32 ms (TIME(MILLIS,true)); required int64 ns (TIME(NANOS,true));
        required int64 at (TIMESTAMP(MILLIS,true)); required int64 local (TIMESTAMP(MICROS,false));
        required int64 exact (TIMESTAMP(NANOS,true)); }";
    let file = file(
        schema,
        WriterProperties::builder().build(),
        &[&|group| {
            column!(group, BoolType, &[true, false]);
            column!(group, Int32Type, &[-128, 127]);
            column!(group, Int32Type, &[-1, 0]);
            column!(group, Int64Type, &[-1, 0]);
            column!(group, FloatType, &[0.1, f32::NEG_INFINITY]);
            column!(group, DoubleType, &[1e300, f64::NAN]);
            column!(group, ByteArrayType, &[ByteArray::from(vec![0, 255]), ByteArray::from(vec![])]);
            column!(group, FixedLenByteArrayType, &[fixed((0..16).collect()), fixed(vec![255; 16])]);
            column!(group, Int32Type, &[-5, 123_456]);
            let mut large = vec![0; 20];
            large[4] = 1;
            column!(group, FixedLenByteArrayType, &[fixed(large), fixed(vec![255; 20])]);
            column!(group, Int32Type, &[-1, 20_785]);
            column!(group, Int32Type, &[0, 86_399_999]);
            column!(group, Int64Type, &[1, 45_296_000_000_007]);
            column!(group, Int64Type, &[-1, 1_795_869_296_789]);
            column!(group, Int64Type, &[0, 1_795_869_296_789_012]);
            column!(group, Int64Type, &[1, 1_795_869_296_789_012_345]);
        }],
    );
    assert_eq!(
        read(&file).expect("it is read"),
        [
            "{\"b\":true,\"i8\":-128,\"u32\":4294967295,\"u64\":18446744073709551615,\"f\":0.1,\"d\":1e+300,\"raw\":\"AP8=\",\
             \"id\":\"00010203-0405-0607-0809-0a0b0c0d0e0f\",\"p\":\"-0.05\",\
             \"wide\":\"13292279957849158729038070602803.44576\",\"day\":\"1969-12-31\",\"ms\":\"00:00:00.000\",\
             \"ns\":\"00:00:00.000000001\",\"at\":\"1969-12-31T23:59:59.999Z\",\"local\":\"1970-01-01T00:00:00.000000\",\
             \"exact\":\"1970-01-01T00:00:00.000000001Z\"}",
            "{\"b\":false,\"i8\":127,\"u32\":0,\"u64\":0,\"f\":\"-Infinity\",\"d\":\"NaN\",\"raw\":\"\",\
             \"id\":\"ffffffff-ffff-ffff-ffff-ffffffffffff\",\"p\":\"1234.56\",\"wide\":\"-0.00001\",\"day\":\"2026-11-28\",\
             \"ms\":\"23:59:59.999\",\"ns\":\"12:34:56.000000007\",\"at\":\"2026-11-28T12:34:56.789Z\",\
             \"local\":\"2026-11-28T12:34:56.789012\",\"exact\":\"2026-11-28T12:34:56.789012345Z\"}",
        ]
    );
}

fn fixed(bytes: Vec<u8>) -> FixedLenByteArray {
    ByteArray::from(bytes).into()
}

#[test]
fn an_interval_is_its_parts_and_what_is_unknown_its_bytes() {
    let schema = "message m { optional fixed_len_byte_array(12) i (INTERVAL); required binary b (BSON);
        required int32 n (INTEGER(8,true)); required int64 at (TIMESTAMP(NANOS,true)); }";
    let bytes = [1, 0, 0, 0, 2, 1, 0, 0, 255, 255, 255, 255].to_vec();
    let file = file(
        schema,
        WriterProperties::builder().build(),
        &[&|group| {
            column!(group, FixedLenByteArrayType, &[fixed(bytes.clone())], Some(&[1, 0]), None);
            column!(group, ByteArrayType, &[ByteArray::from(vec![1]), ByteArray::from(vec![])]);
            column!(group, Int32Type, &[-1, 7]);
            column!(group, Int64Type, &[-1, 7]);
        }],
    );
    let interval = "{\"months\":1,\"days\":258,\"milliseconds\":4294967295}";
    let rest = ["\"b\":\"AQ==\",\"n\":-1,\"at\":", "\"b\":\"\",\"n\":7,\"at\":"];
    let expected = |at: [&str; 2]| {
        [format!("{{\"i\":{interval},{}{}}}", rest[0], at[0]), format!("{{\"i\":null,{}{}}}", rest[1], at[1])]
    };
    let sound = expected(["\"1969-12-31T23:59:59.999999999Z\"", "\"1970-01-01T00:00:00.000000007Z\""]);
    assert_eq!(read(&file).expect("it is read"), sound);
    // A type that nobody knows yet in place of BSON, which is 20; a width that no number has; another unit than nanoseconds.
    let footer = file.len() - 8 - u32::from_le_bytes(file[file.len() - 8..file.len() - 4].try_into().unwrap()) as usize;
    let replaced = |from: &[u8], to: &[u8]| {
        let at = footer + file[footer..].windows(from.len()).position(|bytes| bytes == from).expect("it is there");
        Bytes::from([&file[..at], to, &file[at + from.len()..]].concat())
    };
    assert_eq!(read(&replaced(b"\x01b\x25\x28", b"\x01b\x25\x64")).expect("it is read"), sound);
    assert_eq!(read(&replaced(b"\x13\x08\x11", b"\x13\x09\x11")).expect("it is read"), sound);
    let number = read(&replaced(b"\x11\x1c\x3c\0", b"\x11\x1c\x4c\0")).expect("it is read");
    assert_eq!(number, expected(["-1", "7"]));
}

#[test]
fn no_object_has_a_name_twice() {
    let schema = "message m { required int32 a; required int32 a; required int32 a_2; required int32 a;
        required group s { required int32 b; required int32 b; }
        optional group m (MAP) { repeated group key_value { required binary key (STRING); optional int32 value; } } }";
    let file = file(
        schema,
        WriterProperties::builder().build(),
        &[&|group| {
            for n in 1..=6 {
                column!(group, Int32Type, &[n, n, n]);
            }
            let keys = ["y", "x", "y", "z", "x", "b", "a", "k", "k"].map(ByteArray::from);
            column!(group, ByteArrayType, &keys, Some(&[2; 9]), Some(&[0, 1, 1, 1, 1, 0, 1, 0, 1]));
            let definitions = [3, 3, 3, 2, 3, 3, 3, 3, 2];
            column!(group, Int32Type, &[1, 2, 3, 5, 6, 7, 8], Some(&definitions), Some(&[0, 1, 1, 1, 1, 0, 1, 0, 1]));
        }],
    );
    let begin = "{\"a\":1,\"a_2\":2,\"a_2_2\":3,\"a_3\":4,\"s\":{\"b\":5,\"b_2\":6},\"m\":";
    let maps = ["{\"y\":3,\"z\":null,\"x\":5}}", "{\"b\":6,\"a\":7}}", "{\"k\":null}}"];
    assert_eq!(read(&file).expect("it is read"), maps.map(|map| format!("{begin}{map}")));
    let names = std::iter::repeat_n("required int32 a;", 30_000).collect::<String>();
    let schema = parse_message_type(&format!("message m {{ {names} }}")).expect("a schema");
    let (members, _) = shape::root(&schema).expect("it is known");
    assert_eq!(members.last().map(|member| &*member.name), Some("\"a_30000\":"));
}

#[test]
fn what_is_nested_stays_nested() {
    let schema = "message m {
        optional group l (LIST) { repeated group list { optional int32 element; } }
        optional group m (MAP) { repeated group key_value { required int32 key; optional binary value (STRING); } }
        optional group s { required int64 at (TIMESTAMP(NANOS,true)); } }";
    let file = file(
        schema,
        WriterProperties::builder().build(),
        &[&|group| {
            // Null, an empty list, and a list with a null in it.
            column!(group, Int32Type, &[7], Some(&[0, 1, 3, 2]), Some(&[0, 0, 0, 1]));
            column!(group, Int32Type, &[1, 2], Some(&[0, 2, 2, 1]), Some(&[0, 0, 1, 0]));
            let text = ByteArray::from("x\"");
            column!(group, ByteArrayType, &[text], Some(&[0, 3, 2, 1]), Some(&[0, 0, 1, 0]));
            column!(group, Int64Type, &[5], Some(&[0, 1, 0]), None);
        }],
    );
    assert_eq!(
        read(&file).expect("it is read"),
        [
            "{\"l\":null,\"m\":null,\"s\":null}",
            "{\"l\":[],\"m\":{\"1\":\"x\\\"\",\"2\":null},\"s\":{\"at\":\"1970-01-01T00:00:00.000000005Z\"}}",
            "{\"l\":[7,null],\"m\":{},\"s\":null}",
        ]
    );
}

#[test]
fn lists_of_old_writers_are_lists() {
    let schema = "message m {
        optional group a (LIST) { repeated int32 element; }
        optional group b (LIST) { repeated group array { required int32 n; } }
        optional group c (LIST) { repeated group x { required int32 n; required int32 o; } }
        repeated int32 d; }";
    let (definitions, repetitions) = ([2, 2, 1, 0], [0, 1, 0, 0]);
    let file = file(
        schema,
        WriterProperties::builder().build(),
        &[&|group| {
            for _ in 0..4 {
                column!(group, Int32Type, &[7, 8], Some(&definitions), Some(&repetitions));
            }
            column!(group, Int32Type, &[7, 8, 9], Some(&[1, 1, 0, 1]), Some(&[0, 1, 0, 0]));
        }],
    );
    let rows = [
        "{\"a\":[7,8],\"b\":[{\"n\":7},{\"n\":8}],\"c\":[{\"n\":7,\"o\":7},{\"n\":8,\"o\":8}],\"d\":[7,8]}",
        "{\"a\":[],\"b\":[],\"c\":[],\"d\":[]}",
        "{\"a\":null,\"b\":null,\"c\":null,\"d\":[9]}",
    ];
    assert_eq!(read(&file).expect("it is read"), rows);
}

#[test]
fn int96_keeps_its_nanoseconds_in_all_years() {
    let at = |nanos: u64, day: u32| {
        let mut value = Int96::new();
        value.set_data(nanos as u32, (nanos >> 32) as u32, day);
        value
    };
    // 1970, one that Spark takes for none, and what some writers have before midnight.
    let values = [at(1, 2_440_588), at(86_399_999_999_999, 1_721_426), at(-1_i64 as u64, 2_440_588)];
    let schema = "message m { required int96 t; }";
    let file = file(schema, WriterProperties::builder().build(), &[&|group| column!(group, Int96Type, &values)]);
    assert_eq!(
        read(&file).expect("it is read"),
        [
            "{\"t\":\"1970-01-01T00:00:00.000000001Z\"}",
            "{\"t\":\"0001-01-01T23:59:59.999999999Z\"}",
            "{\"t\":\"1969-12-31T23:59:59.999999999Z\"}",
        ]
    );
}

#[test]
fn damaged_files_are_errors_or_other_rows() {
    let whole = numbers(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..2000 {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + random() % 3 {
            let at = random() % bytes.len();
            bytes[at] = random() as u8;
        }
        // What is not noticed is read as something else: Parquet's checksums are optional.
        let _ = read(&Bytes::from(bytes));
    }
    for cut in 0..whole.len() {
        assert!(read(&whole.slice(..cut)).is_err(), "{cut} bytes");
    }
}
