//! Owns the tests of Parquet files that are damaged, announce what nobody could hold, or contradict themselves. Leaves what sound
//! ones become to `tests`.

use std::io::Write as _;

use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::data_type::{
    BoolType, ByteArrayType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::file::properties::{WriterProperties, WriterVersion};

use super::tests::{column, file, read};
use super::*;
use crate::testing::{varint, zigzag};

/// A value of Thrift's compact protocol.
enum Item {
    Number(i64),
    Text(&'static str),
    Struct(Vec<(u8, Item)>),
    List(Vec<Item>),
    /// Bytes of a value of this kind.
    Raw(u8, Vec<u8>),
}
use Item::{List, Number, Raw, Struct, Text};

impl Item {
    fn kind(&self) -> u8 {
        match self {
            Number(_) => 6,
            Text(_) => 8,
            List(_) => 9,
            Struct(_) => 12,
            Raw(kind, _) => *kind,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Number(number) => zigzag(*number),
            Text(text) => [varint(text.len() as u64), text.as_bytes().to_vec()].concat(),
            Struct(fields) => {
                let (mut bytes, mut last) = (Vec::new(), 0);
                for (id, item) in fields {
                    bytes.push((id - last) << 4 | item.kind());
                    bytes.extend(item.bytes());
                    last = *id;
                }
                bytes.push(0);
                bytes
            }
            List(items) => {
                let kind = items.first().map_or(12, Item::kind);
                let mut bytes = [vec![0xf0 | kind], varint(items.len() as u64)].concat();
                items.iter().for_each(|item| bytes.extend(item.bytes()));
                bytes
            }
            Raw(_, bytes) => bytes.clone(),
        }
    }
}

fn root(children: i64) -> Item {
    Struct(vec![(4, Text("m")), (5, Number(children))])
}

fn leaf(physical: i64, repetition: i64) -> Item {
    Struct(vec![(1, Number(physical)), (3, Number(repetition)), (4, Text("x"))])
}

fn footer(schema: Vec<Item>, rows: i64, groups: Item) -> Vec<u8> {
    Struct(vec![(1, Number(1)), (2, List(schema)), (3, Number(rows)), (4, groups)]).bytes()
}

fn close(body: &[u8], footer: &[u8]) -> Bytes {
    Bytes::from([body, footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat())
}

/// A file of one column.
#[derive(Clone, Copy)]
struct Column {
    physical: i64,
    repetition: i64,
    codec: i64,
    rows: i64,
}

const NUMBERS: Column = Column { physical: 1, repetition: 0, codec: 0, rows: 2 };
const TEXTS: Column = Column { physical: 6, repetition: 0, codec: 0, rows: 1 };

impl Column {
    fn file(self, pages: &[Vec<u8>]) -> Bytes {
        let body = [b"PAR1".to_vec(), pages.concat()].concat();
        let length = Number(body.len() as i64 - 4);
        let (physical, codec, rows) = (Number(self.physical), Number(self.codec), Number(self.rows));
        let chunk = Struct(vec![(1, physical), (4, codec), (5, rows), (7, length), (9, Number(4))]);
        let chunk = Struct(vec![(2, Number(4)), (3, chunk)]);
        let group = Struct(vec![(1, List(vec![chunk])), (2, Number(1)), (3, Number(self.rows))]);
        let schema = vec![root(1), leaf(self.physical, self.repetition)];
        close(&body, &footer(schema, self.rows, List(vec![group])))
    }

    fn why(self, pages: &[Vec<u8>]) -> String {
        why(&self.file(pages))
    }
}

fn why(file: &Bytes) -> String {
    read(file).expect_err("it is broken").why
}

fn page(kind: i64, size: i64, id: u8, head: Vec<(u8, Item)>, data: &[u8]) -> Vec<u8> {
    let compressed = Number(data.len() as i64);
    let head = Struct(vec![(1, Number(kind)), (2, Number(size)), (3, compressed), (id, Struct(head))]);
    [head.bytes(), data.to_vec()].concat()
}

fn v1_of_size(size: i64, values: i64, encoding: i64, data: &[u8]) -> Vec<u8> {
    page(0, size, 5, vec![(1, Number(values)), (2, Number(encoding)), (3, Number(3)), (4, Number(3))], data)
}

fn v1(values: i64, encoding: i64, data: &[u8]) -> Vec<u8> {
    v1_of_size(data.len() as i64, values, encoding, data)
}

fn dictionary(values: i64, data: &[u8]) -> Vec<u8> {
    page(2, data.len() as i64, 7, vec![(1, Number(values)), (2, Number(0))], data)
}

/// Levels of the first version: runs after their length.
fn levels(runs: &[(u64, u8)]) -> Vec<u8> {
    let runs: Vec<u8> = runs.iter().flat_map(|(count, level)| [varint(count << 1), vec![*level]].concat()).collect();
    [(runs.len() as u32).to_le_bytes().to_vec(), runs].concat()
}

/// The head of deltas: the size of blocks, their parts, how many values there are, and the first of them.
fn deltas(values: u64, first: i64) -> Vec<u8> {
    [varint(128), varint(4), varint(values), zigzag(first)].concat()
}

#[test]
fn what_is_sound_is_read() {
    let file = NUMBERS.file(&[v1(2, 0, &[1, 0, 0, 0, 2, 0, 0, 0])]);
    assert_eq!(read(&file).expect("it is read"), ["{\"x\":1}", "{\"x\":2}"]);
    let file = TEXTS.file(&[v1(1, 6, &[deltas(1, 2), b"ab".to_vec()].concat())]);
    assert_eq!(read(&file).expect("it is read"), ["{\"x\":\"YWI=\"}"]);
}

#[test]
fn a_schema_that_announces_more_than_there_is_is_refused() {
    let many = footer(vec![root(i64::from(i32::MAX)), leaf(1, 0)], 0, List(vec![]));
    assert!(why(&close(b"PAR1", &many)).ends_with("fewer columns than it says"));
    let fewer = footer(vec![root(1), leaf(1, 0), leaf(1, 0)], 0, List(vec![]));
    assert!(why(&close(b"PAR1", &fewer)).ends_with("more than one root"));
    let group = || Struct(vec![(3, Number(0)), (4, Text("g")), (5, Number(1))]);
    let mut schema = vec![root(1)];
    schema.extend((0..20_000).map(|_| group()));
    schema.push(leaf(1, 0));
    assert!(why(&close(b"PAR1", &footer(schema, 0, List(vec![])))).contains("nested more than 64 deep"));
    let schema: Vec<_> = (0..200_000).map(|_| leaf(1, 0)).collect();
    assert!(why(&close(b"PAR1", &footer(schema, 0, List(vec![])))).contains("more columns than"));
}

#[test]
fn lists_of_a_footer_without_end_are_refused() {
    let list = |count: u64, bytes: usize| Raw(9, [vec![0xfc], varint(count), vec![0; bytes]].concat());
    let mut long = footer(vec![root(1), leaf(1, 0)], 0, list(16_000_000, 16_000_000));
    assert!(why(&close(b"PAR1", &long)).contains("more row groups than"));
    long = footer(vec![root(1), leaf(1, 0)], 0, list(1 << 40, 3));
    assert!(why(&close(b"PAR1", &long)).contains("ends too early"));
    // Structs within structs of a field that nobody knows.
    let deep = [vec![0x9c_u8], vec![0x1c; 1_000_000]].concat();
    assert!(why(&close(b"PAR1", &deep)).contains("nested too deep"));
}

#[test]
fn pages_that_lie_about_their_size_are_refused() {
    let snappy = Column { codec: 1, rows: 1, ..NUMBERS };
    let data = [4, 12, 1, 0, 0, 0];
    assert!(read(&snappy.file(&[v1_of_size(4, 1, 0, &data)])).is_ok());
    for size in [0, 3, 5, 100 << 20, 129 << 20, i64::from(i32::MAX), -1] {
        assert!(read(&snappy.file(&[v1_of_size(size, 1, 0, &data)])).is_err(), "{size}");
    }
    let mut cut = NUMBERS.file(&[v1(2, 0, &[0; 8])]).to_vec();
    // The compressed size.
    assert_eq!(cut[9], 16);
    cut[9] = 18;
    assert!(why(&Bytes::from(cut)).contains("outside of its column"));
}

#[test]
fn bombs_end_at_the_size_that_they_say() {
    let zeros = vec![0; 1 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..300 {
        gzip.write_all(&zeros).expect("memory");
    }
    let column = Column { codec: 2, rows: 1, ..NUMBERS };
    assert!(column.why(&[v1_of_size(4, 1, 0, &gzip.finish().expect("memory"))]).contains("another size"));
    // Blocks of one repeated byte.
    let block = [(1_u32 << 17 << 3 | 1 << 1).to_le_bytes()[..3].to_vec(), vec![0]].concat();
    let zstd = [vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x38], block.repeat(2000)].concat();
    let column = Column { codec: 6, ..column };
    assert!(column.why(&[v1_of_size(4, 1, 0, &zstd)]).contains("another size"));
    let column = Column { codec: 4, ..column };
    assert!(column.why(&[v1_of_size(4, 1, 0, &[0x11, 30, 0, 0, 0])]).contains("window"));
}

#[test]
fn a_zstd_page_with_another_checksum_is_refused() {
    // A frame with a checksum and a block as it is: what ends it is the low half of its XXH64.
    let frame = |sum: [u8; 4]| [vec![0x28, 0xb5, 0x2f, 0xfd, 0x24, 4, 0x21, 0, 0, 1, 0, 0, 0], sum.to_vec()].concat();
    let column = Column { codec: 6, rows: 1, ..NUMBERS };
    assert!(column.why(&[v1_of_size(4, 1, 0, &frame([0; 4]))]).contains("checksum"));
}

#[test]
fn dictionaries_must_be_there_and_have_what_they_say() {
    assert!(NUMBERS.why(&[v1(2, 8, &[1, 3, 1])]).contains("dictionary that is not there"));
    let page = || v1(2, 8, &[1, 3, 1]);
    assert!(NUMBERS.why(&[dictionary(i64::from(i32::MAX), &[0; 8]), page()]).contains("its pages take more"));
    assert!(NUMBERS.why(&[dictionary(3, &[0; 8]), page()]).contains("fewer values"));
    assert!(NUMBERS.why(&[dictionary(2, &[0; 8]), dictionary(2, &[0; 8]), page()]).contains("after its begin"));
    assert!(TEXTS.why(&[dictionary(2, &[1, 0, 0, 0, 7, 9, 0, 0, 0]), page()]).contains("ends too early"));
    // An entry that is not there, and none at all.
    assert!(read(&NUMBERS.file(&[dictionary(1, &[0; 4]), page()])).is_err());
    assert!(read(&NUMBERS.file(&[dictionary(0, &[]), page()])).is_err());
    assert!(read(&NUMBERS.file(&[dictionary(1, &[0; 4]), v1(2, 8, &[])])).is_err());
    assert!(read(&NUMBERS.file(&[dictionary(1, &[0; 4]), v1(2, 8, &[[1].as_slice(), &[0xff; 20]].concat())])).is_err());
}

#[test]
fn levels_stay_within_their_page() {
    let optional = Column { repetition: 1, ..NUMBERS };
    let v2 = |definitions: i64, repetitions: i64, data: &[u8]| {
        let (values, nulls, rows) = (Number(2), Number(0), Number(2));
        let levels = [(5, Number(definitions)), (6, Number(repetitions))];
        let head = [(1, values), (2, nulls), (3, rows), (4, Number(0))].into_iter().chain(levels).collect();
        page(3, 100, 8, head, data)
    };
    assert!(optional.why(&[v2(50, 0, &[0; 8])]).contains("longer than itself"));
    assert!(optional.why(&[v2(i64::from(i32::MAX), i64::from(i32::MAX), &[0; 8])]).contains("longer than itself"));
    assert!(optional.why(&[v2(-1, 0, &[0; 8])]).contains("negative"));
    assert!(optional.why(&[v1(2, 0, &[50, 0, 0, 0, 4, 1])]).contains("longer than itself"));
    assert!(optional.why(&[v1(2, 0, &[0xff, 0xff, 0xff, 0xff, 4, 1])]).contains("longer than itself"));
    assert!(optional.why(&[v1(2, 0, &levels(&[(1, 1)]))]).contains("fewer levels"));
    assert!(optional.why(&[v1(2, 0, &levels(&[(2, 2)]))]).contains("does not have"));
    let overlong = [&[20, 0, 0, 0][..], &[0xff; 20]].concat();
    assert!(optional.why(&[v1(2, 0, &overlong)]).contains("more than 64 bits"));
    let packed = vec![(1, Number(1000)), (2, Number(0)), (3, Number(4)), (4, Number(4))];
    assert!(optional.why(&[page(0, 4, 5, packed, &[0; 4])]).contains("encoding that can't be read"));
}

#[test]
fn lengths_stay_within_their_page() {
    assert!(TEXTS.why(&[v1(1, 0, &[5, 0, 0, 0, b'a'])]).contains("ends too early"));
    assert!(TEXTS.why(&[v1(1, 0, &[5, 0])]).contains("ends too early"));
    assert!(TEXTS.why(&[v1(1, 0, &[0xff; 8])]).contains("ends too early"));
    assert!(TEXTS.why(&[v1(1, 6, &deltas(1, 1000))]).contains("ends too early"));
    assert!(TEXTS.why(&[v1(1, 6, &deltas(1, -5))]).contains("negative"));
    assert!(TEXTS.why(&[v1(1, 6, &deltas(1 << 34, 0))]).contains("another number of values"));
    assert!(TEXTS.why(&[v1(1, 6, &deltas(0, 0))]).contains("another number of values"));
    let many = i64::from(i32::MAX);
    let block = [zigzag(0), vec![0; 4]].concat();
    let data = [deltas(many as u64, 0), block.repeat(100)].concat();
    assert!(TEXTS.why(&[v1(many, 6, &data)]).contains("more than 8,388,608 lengths"));
    let column = Column { physical: 2, ..TEXTS };
    assert!(column.why(&[v1(1, 5, &deltas(1 << 34, 0))]).contains("another number of values"));
    assert!(column.why(&[v1(1, 5, &[0x80, 1, 0, 1, 0])]).contains("odd size"));
    assert!(column.why(&[v1(2, 5, &[deltas(2, 0), vec![0xff; 30]].concat())]).contains("more than 64 bits"));
    // A prefix of a value that is not there.
    let prefixes = [deltas(1, 3), deltas(1, 0)].concat();
    assert!(TEXTS.why(&[v1(1, 7, &prefixes)]).contains("repeats more"));
    // Streams of bytes that are too short.
    assert!(column.why(&[v1(3, 9, &[0; 8])]).contains("another number of values"));
}

#[test]
fn values_that_repeat_each_other_are_bounded_together() {
    // A text of a megabyte, and a list that has it again and again.
    let (length, count) = (1_i32 << 20, 8192_usize);
    let column = Column { repetition: 2, rows: 1, ..TEXTS };
    // Numbers of which the first is one, and all others another.
    let two = |first: i32, next: i32| {
        let least = (next - first).min(0);
        let packed = std::iter::once(next - first - least).chain(std::iter::repeat_n(-least, 127));
        let mut data = [deltas(count as u64, i64::from(first)), zigzag(i64::from(least)), vec![32; 4]].concat();
        data.extend(packed.flat_map(i32::to_le_bytes));
        data.extend([0; 5].repeat(count / 128 - 1));
        data
    };
    let levels = [levels(&[(1, 0), (count as u64 - 1, 1)]), levels(&[(count as u64, 1)])].concat();
    let data = [levels, two(0, length), two(length, 0), vec![b'a'; length as usize]].concat();
    assert!(column.why(&[v1(count as i64, 7, &data)]).contains("take more than 320 MiB"));
}

#[test]
fn a_row_without_end_is_refused() {
    let column = Column { repetition: 2, rows: 1, ..NUMBERS };
    let list = |count: u64| {
        let levels = [levels(&[(1, 0), (count - 1, 1)]), levels(&[(count, 1)])].concat();
        let data = [levels, vec![1], varint(count << 1), vec![0]].concat();
        column.file(&[dictionary(1, &[7, 0, 0, 0]), v1(count as i64, 8, &data)])
    };
    assert_eq!(read(&list(3)).expect("it is read"), ["{\"x\":[7,7,7]}"]);
    assert!(why(&list(300_000_000)).contains("more than 4,194,304 values"));
    // Over many pages, each of which continues the row.
    let continued = |count: u64| {
        let levels = [levels(&[(count, 1)]), levels(&[(count, 1)])].concat();
        v1(count as i64, 8, &[levels, vec![1], varint(count << 1), vec![0]].concat())
    };
    let pages: Vec<_> =
        std::iter::once(dictionary(1, &[7, 0, 0, 0])).chain((0..100).map(|_| continued(100_000))).collect();
    assert!(column.why(&pages).contains("more than 4,194,304 values"));
}

#[test]
fn a_row_that_is_too_large_is_bad_and_the_others_are_read() {
    let column = Column { repetition: 2, rows: 2, ..TEXTS };
    let count = 3000_u64;
    let runs = [levels(&[(1, 0), (count - 1, 1), (1, 0)]), levels(&[(count + 1, 1)])].concat();
    let indexes = [vec![1], varint(count << 1), vec![0], varint(2), vec![1]].concat();
    let text = vec![b'a'; 64 << 10];
    let entries = [(text.len() as u32).to_le_bytes().to_vec(), text, vec![1, 0, 0, 0, b'b']].concat();
    let file = column.file(&[dictionary(2, &entries), v1(count as i64 + 1, 8, &[runs, indexes].concat())]);
    let rows = read(&file).expect("it is read");
    assert_eq!(rows, ["bad: it would be more than 64 MiB of JSON", "{\"x\":[\"Yg==\"]}"]);
}

#[test]
fn a_text_that_is_not_utf8_costs_its_row() {
    let text = Struct(vec![(1, Number(6)), (3, Number(0)), (4, Text("x")), (6, Number(0))]);
    let data = [1, 0, 0, 0, b'a', 1, 0, 0, 0, 0xff, 1, 0, 0, 0, b'b'];
    let body = [b"PAR1".to_vec(), v1(3, 0, &data)].concat();
    let length = Number(body.len() as i64 - 4);
    let chunk = Struct(vec![(1, Number(6)), (4, Number(0)), (5, Number(3)), (7, length), (9, Number(4))]);
    let group = Struct(vec![(1, List(vec![Struct(vec![(3, chunk)])])), (3, Number(3))]);
    let file = close(&body, &footer(vec![root(1), text], 3, List(vec![group])));
    let rows = read(&file).expect("it is read");
    assert_eq!(rows, ["{\"x\":\"a\"}", "bad: it has a text that is not UTF-8", "{\"x\":\"b\"}"]);
}

#[test]
fn columns_that_contradict_each_other_are_an_error() {
    let schema = "message m { optional group l (LIST) { repeated group list {
        required group element { required int32 a; optional int32 b; } } } }";
    let written = |definitions: &[i16], repetitions: &[i16]| {
        let values: Vec<i32> = definitions.iter().filter(|level| **level == 3).map(|_| 5).collect();
        let write = |group: &mut parquet::file::writer::SerializedRowGroupWriter<'_, Vec<u8>>| {
            column!(group, Int32Type, &[1, 2, 3], Some(&[2, 2, 2]), Some(&[0, 1, 0]));
            column!(group, Int32Type, &values, Some(definitions), Some(repetitions));
        };
        file(schema, WriterProperties::builder().build(), &[&write])
    };
    let sound = written(&[3, 2, 3], &[0, 1, 0]);
    let rows = ["{\"l\":[{\"a\":1,\"b\":5},{\"a\":2,\"b\":null}]}", "{\"l\":[{\"a\":3,\"b\":5}]}"];
    assert_eq!(read(&sound).expect("it is read"), rows);
    // Lists of other lengths, and more or fewer elements than the other column has.
    let cases: [(&[i16], &[i16]); 3] = [(&[3, 3, 3], &[0, 0, 1]), (&[3, 3], &[0, 0]), (&[3, 3, 3, 3], &[0, 1, 1, 0])];
    for (definitions, repetitions) in cases {
        assert!(why(&written(definitions, repetitions)).contains("contradict each other"), "{definitions:?}");
    }
}

#[test]
fn a_column_that_ends_early_is_an_error_after_its_rows() {
    let file = Column { rows: 3, ..NUMBERS }.file(&[v1(2, 0, &[1, 0, 0, 0, 2, 0, 0, 0])]);
    let Ok(Opened::Footer(footer)) = Footer::open(file.len() as u64, file.clone()) else { panic!("a footer") };
    let group = footer.groups()[0];
    let bytes = file.slice(group.first as usize..(group.first + group.length) as usize);
    let rows: Vec<_> = footer.read(0, bytes, 0).expect("it is read").collect();
    assert_eq!(rows.len(), 3);
    assert!(
        rows[..2].iter().all(Result::is_ok) && rows[2].as_ref().is_err_and(|broken| broken.why.contains("ends before"))
    );
}

/// Files of every encoding, with what is nested and what is missing.
fn samples() -> Vec<Bytes> {
    let schema = "message m {
        required int64 n; optional binary t (STRING); required boolean b; optional double d; optional int32 i;
        required fixed_len_byte_array(4) f;
        optional group l (LIST) { repeated group list { optional int32 element; } }
        optional group m (MAP) { repeated group key_value { required binary key (STRING); optional int64 value; } } }";
    let write = |group: &mut parquet::file::writer::SerializedRowGroupWriter<'_, Vec<u8>>| {
        let some: Vec<i16> = (0..40).map(|n| i16::from(n % 4 > 0)).collect();
        let there = some.iter().filter(|level| **level == 1).count();
        let texts: Vec<_> = (0..there).map(|n| format!("text {}", n * n).as_str().into()).collect();
        let wholes: Vec<_> = (0..40).map(|n| n * n * 77_777 - 5).collect();
        column!(group, Int64Type, &wholes);
        column!(group, ByteArrayType, &texts, Some(&some), None);
        column!(group, BoolType, &(0..40).map(|n| n % 3 == 0).collect::<Vec<_>>());
        column!(group, DoubleType, &vec![0.25; there], Some(&some), None);
        column!(group, Int32Type, &(0..there as i32).collect::<Vec<_>>(), Some(&some), None);
        let fixed: Vec<_> = (0..40_u8).map(|n| FixedLenByteArray::from(vec![n, 2, 3, 4])).collect();
        column!(group, FixedLenByteArrayType, &fixed);
        let nested: Vec<i16> = (0..40).map(|n| [3, 3, 1, 2, 0][n % 5]).collect();
        let repeated: Vec<i16> = (0..40).map(|n| i16::from(n % 5 == 1)).collect();
        let last: Vec<i16> = (0..8).map(|_| 1).collect();
        let (nested, repeated) = ([nested, last.clone()].concat(), [repeated, vec![0; 8]].concat());
        let elements = nested.iter().filter(|level| **level == 3).count() as i32;
        column!(group, Int32Type, &(0..elements).collect::<Vec<_>>(), Some(&nested), Some(&repeated));
        let keys: Vec<_> = (0..40).map(|n| format!("key {n}").as_str().into()).collect();
        column!(group, ByteArrayType, &keys, Some(&[2; 40]), Some(&[0; 40]));
        column!(group, Int64Type, &[9; 40], Some(&[3; 40]), Some(&[0; 40]));
    };
    let delta = [("n", Encoding::DELTA_BINARY_PACKED), ("i", Encoding::DELTA_BINARY_PACKED), ("b", Encoding::RLE)];
    let plain: &[(&'static str, Encoding)] = &[];
    let prefixed = &[("t", Encoding::DELTA_BYTE_ARRAY), ("d", Encoding::BYTE_STREAM_SPLIT), delta[0], delta[2]][..];
    let lengths = &[("t", Encoding::DELTA_LENGTH_BYTE_ARRAY), ("f", Encoding::DELTA_BYTE_ARRAY), delta[1]][..];
    let split = &[("n", Encoding::BYTE_STREAM_SPLIT), ("f", Encoding::BYTE_STREAM_SPLIT)][..];
    let mut samples = Vec::new();
    for (encodings, dictionary, codec) in [
        (plain, true, Compression::UNCOMPRESSED),
        (plain, false, Compression::UNCOMPRESSED),
        (prefixed, false, Compression::UNCOMPRESSED),
        (lengths, false, Compression::UNCOMPRESSED),
        (split, false, Compression::UNCOMPRESSED),
        (plain, true, Compression::SNAPPY),
        (plain, true, Compression::GZIP(GzipLevel::default())),
        (plain, true, Compression::BROTLI(BrotliLevel::default())),
        (plain, true, Compression::LZ4),
        (plain, true, Compression::LZ4_RAW),
        (plain, true, Compression::ZSTD(ZstdLevel::default())),
    ] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let mut properties = WriterProperties::builder().set_compression(codec).set_writer_version(version);
            properties = properties.set_dictionary_enabled(dictionary).set_data_page_row_count_limit(16);
            properties = properties.set_write_batch_size(8);
            for (name, encoding) in encodings {
                properties = properties.set_column_encoding((*name).into(), *encoding);
            }
            samples.push(file(schema, properties.build(), &[&write, &write]));
        }
    }
    samples
}

#[test]
fn what_is_changed_is_read_or_an_error() {
    let samples = samples();
    let sound = read(&samples[0]).expect("it is read");
    assert_eq!(sound.len(), 80);
    assert!(
        sound[1].contains("\"l\":[]") && sound[0].contains("\"l\":[0,1]") && sound[0].contains("\"m\":{\"key 0\":9}")
    );
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for sample in samples {
        assert!(read(&sample).expect("it is read") == sound);
        for _ in 0..150 {
            let mut bytes = sample.to_vec();
            for _ in 0..1 + random() % 3 {
                let at = random() % bytes.len();
                match random() % 4 {
                    0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random() % 5],
                    1 => bytes[at] ^= 1 << (random() % 8),
                    2 => bytes[at] = random() as u8,
                    _ => {
                        bytes.remove(at);
                    }
                }
            }
            // What is not noticed is read as something else: Parquet's checksums are optional.
            let _ = read(&Bytes::from(bytes));
        }
    }
}
