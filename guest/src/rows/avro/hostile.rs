//! Owns the tests of Avro files that break off, are damaged, or announce what nobody could hold. Leaves what sound ones become
//! to `tests`.

use super::tests::{CODECS, SYNC, block, head, number, pack, parts, prefixed, row, rows, some};
use super::*;

fn broken(result: Result<Option<impl Sized>, Broken>) -> String {
    result.err().expect("it is broken").why
}

fn why(schema: &str, bytes: &[u8]) -> String {
    row(schema, bytes).unwrap_err()
}

/// Numbers that look random, the same ones each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn a_file_that_breaks_off_anywhere_waits_for_more() {
    let (schema, data, _) = some();
    for codec in CODECS {
        let packed = pack(codec, &data);
        let (head, block) = (head(schema, codec), block(2, &packed));
        for length in 0..head.len() {
            assert!(AvroFile::open(&head[..length]).unwrap().is_none(), "{length}");
        }
        let file = [head.clone(), block.clone()].concat();
        for length in head.len()..=file.len() {
            let (avro, used) = AvroFile::open(&file[..length]).unwrap().expect("all of the head is there");
            assert_eq!(used, head.len());
            let read = avro.block(&file[used..length]).unwrap();
            assert_eq!(read.map(|(used, _)| used), (length == file.len()).then_some(block.len()), "{length}");
            let needed = avro.needed(&file[used..length]).unwrap();
            assert!(needed.is_none_or(|needed| needed == block.len()), "{length}");
            assert_eq!(needed.is_none(), length < head.len() + number(2).len() + number(packed.len() as i64).len());
        }
    }
}

#[test]
fn a_row_that_breaks_off_is_the_last_one() {
    let (schema, data, expected) = some();
    for length in 0..data.len() {
        let read = rows(&[head(schema, "null"), block(3, &data[..length])].concat());
        let (last, whole) = read.split_last().expect("a row");
        assert_eq!(last.as_ref().unwrap_err(), "it ends too early", "{length}");
        assert!(whole.iter().zip(expected).all(|(row, expected)| row.as_deref() == Ok(expected)), "{length}");
    }
    let read = rows(&[head(schema, "null"), block(2, &[&data[..], &[0]].concat()), block(2, &data)].concat());
    assert_eq!(read[1].as_ref().unwrap_err(), "its block goes on after it, though it is the last row");
    // Blocks after it are read.
    assert_eq!(read[2].as_deref(), Ok(expected[0]));
}

#[test]
fn what_is_no_avro_file_is_told_by_its_first_bytes() {
    for bytes in [&b"P"[..], b"OBJ", b"Obj\x02", b"Obj{", b"{\"a\":1}"] {
        assert_eq!(broken(AvroFile::open(bytes)), "it is no Avro container file");
    }
}

#[test]
fn a_head_announces_no_more_than_it_may() {
    let of = |entries: &[u8]| broken(AvroFile::open(&[&MAGIC[..], entries].concat()));
    assert_eq!(of(&number(4097)), "its head has more than 4096 entries");
    assert_eq!(of(&[number(i64::MIN), number(0)].concat()), "its head has more than 4096 entries");
    assert_eq!(of(&[number(1), number(-1)].concat()), "its head is larger than 16 MiB");
    assert_eq!(of(&[number(1), number(17 << 20)].concat()), "its head is larger than 16 MiB");
    assert_eq!(of(&[0xff; 10]), "it announces a number of more than 64 bits");
    assert_eq!(of(&[&[0][..], &SYNC].concat()), "its head has no schema");
    // Many that are small enough, none of which is the last.
    let entry = [number(1), prefixed(b"a"), prefixed(&vec![0; 1 << 20])].concat();
    let many = [&MAGIC[..], &entry.repeat(16)].concat();
    assert_eq!(broken(AvroFile::open(&many)), "its head is larger than 16 MiB");
    assert!(AvroFile::open(&many[..15 << 20]).unwrap().is_none());
}

#[test]
fn codecs_that_are_not_known_are_named() {
    for codec in ["bzip2", "xz", "lz4"] {
        let why = broken(AvroFile::open(&head(r#""int""#, codec)));
        assert!(why.ends_with(&format!("codec=`{codec}`")), "{why}");
    }
    for codec in ["", "a very long name of a codec", "Bad\n"] {
        let why = broken(AvroFile::open(&head(r#""int""#, codec)));
        assert_eq!(why, "its codec has a name that no codec has");
    }
}

#[test]
fn a_block_announces_no_more_than_it_may() {
    let (avro, _) = AvroFile::open(&head(r#""null""#, "null")).unwrap().unwrap();
    for rows in [-1, i64::MIN, 16_777_217, 1 << 60] {
        let bytes = [number(rows), number(0), SYNC.to_vec()].concat();
        let expected = "a block announces more than 16,777,216 rows, or fewer than none";
        assert_eq!(broken(avro.block(&bytes)), expected);
        assert_eq!(broken(avro.needed(&bytes)), expected);
    }
    for size in [-1, i64::MIN, (64 << 20) + 1, i64::MAX] {
        let bytes = [number(1), number(size)].concat();
        assert_eq!(broken(avro.block(&bytes)), "a block announces more than 64 MiB, or fewer than none");
    }
    assert_eq!(broken(avro.block(&[0xff; 10])), "it announces a number of more than 64 bits");
    assert_eq!(broken(avro.block(&block(0, b"a"))), "a block without rows is not empty");
    let (_, most) = avro.block(&block(1 << 24, &[])).unwrap().unwrap();
    assert_eq!((most.rows(), most.count()), (1 << 24, 1 << 24));
}

#[test]
fn a_damaged_marker_breaks_the_file() {
    let file = head(r#""int""#, "null");
    let (avro, _) = AvroFile::open(&file).unwrap().unwrap();
    let sound = block(1, &[2]);
    for at in sound.len() - 16..sound.len() {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        assert_eq!(broken(avro.block(&bytes)), "a block is not followed by the marker that all of the file are");
    }
}

#[test]
fn damaged_data_of_a_block_are_told_by_its_first_row_alone() {
    let (schema, data, expected) = some();
    for (codec, damaged) in [
        ("deflate", "its deflate data break off"),
        ("snappy", "its snappy data are damaged"),
        ("zstandard", "its zstandard data are damaged"),
    ] {
        let packed = pack(codec, &data);
        let file = [head(schema, codec), block(2, &packed[..packed.len() / 2]), block(2, &packed)].concat();
        let read = rows(&file);
        assert_eq!(read.len(), 3, "{codec}");
        assert_eq!(read[0].as_ref().unwrap_err(), damaged);
        assert_eq!(read[2].as_deref(), Ok(expected[1]));
        let empty = rows(&[head(schema, codec), block(1, &[])].concat());
        assert!(empty[0].is_err(), "{codec}");
    }
    for codec in ["snappy", "zstandard"] {
        let mut packed = pack(codec, &data);
        *packed.last_mut().unwrap() ^= 1;
        let read = rows(&[head(schema, codec), block(2, &packed)].concat());
        let expected = format!("its {codec} data have another checksum than they should");
        assert_eq!(read, [Err(expected)]);
    }
}

#[test]
fn a_block_does_not_become_more_than_it_may() {
    let (most, more) = (vec![0; 64 << 20], vec![0; (64 << 20) + 1]);
    for codec in ["deflate", "snappy", "zstandard"] {
        // A row of no bytes, after which there are others.
        let read = rows(&[head(r#""null""#, codec), block(1, &pack(codec, &most))].concat());
        assert_eq!(read[0].as_ref().unwrap_err(), "its block goes on after it, though it is the last row", "{codec}");
        let read = rows(&[head(r#""null""#, codec), block(1, &pack(codec, &more))].concat());
        assert_eq!(read[0].as_ref().unwrap_err(), "its block is larger than 64 MiB when it is decompressed", "{codec}");
    }
    // What snappy data say of their length is a bound of its own.
    let lie = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0; 4]].concat();
    let read = rows(&[head(r#""null""#, "snappy"), block(1, &lie)].concat());
    assert_eq!(read[0].as_ref().unwrap_err(), "its block is larger than 64 MiB when it is decompressed");
    // So is a window of zstd: this one has 2 GiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    let read = rows(&[head(r#""null""#, "zstandard"), block(1, &window)].concat());
    assert_eq!(read[0].as_ref().unwrap_err(), "its zstandard window is larger than 64 MiB");
}

#[test]
fn zstandard_frames_may_be_several_and_skippable() {
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let (one, two) = (pack("zstandard", &[2]), pack("zstandard", &[4]));
    let file = [head(r#""int""#, "zstandard"), block(2, &[&skipped[..], &one, &skipped, &two].concat())].concat();
    let read: Vec<_> = rows(&file).into_iter().map(Result::unwrap).collect();
    assert_eq!(read, [r#"{"value":1}"#, r#"{"value":2}"#]);
    let file = [head(r#""int""#, "zstandard"), block(1, &[&one[..], &skipped[..10]].concat())].concat();
    assert_eq!(rows(&file), [Err("its zstandard data are damaged".to_owned())]);
}

#[test]
fn values_that_are_none_are_told_apart() {
    let of = |kind: &str| format!(r#"{{"type":{kind}}}"#);
    let time = r#""long","logicalType":"timestamp-micros""#;
    for (kind, bytes, expected) in [
        (r#""boolean""#, &[2][..], "it has a truth that is neither 0 nor 1"),
        (r#""boolean""#, &[], "it ends too early"),
        (r#""int""#, &[0xff, 0xff, 0xff, 0xff, 0x7f], "it has a number of more than 32 bits"),
        (r#""int""#, &[0x80], "it ends too early"),
        (r#""long""#, &[0xff; 11], "it has a number of more than 64 bits"),
        (time, &[0xff; 11], "it has a number of more than 64 bits"),
        (r#""float""#, &[0; 3], "it ends too early"),
        (r#""double""#, &[0; 7], "it ends too early"),
        (r#""string""#, &[], "it ends too early"),
        (r#""string""#, &[4, b'a'], "it ends too early"),
        (r#""string""#, &[1], "it has a length that can't be"),
        (r#""bytes""#, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "it ends too early"),
        (r#"["null","int"]"#, &[], "it ends too early"),
        (r#"["null","int"]"#, &[4], "it has a branch that its union lacks"),
        (r#"["null","int"]"#, &[1], "it has a branch that its union lacks"),
        (r#""enum","name":"E","symbols":["A"]"#, &[2], "it has a symbol that its schema lacks"),
        (r#""enum","name":"E","symbols":["A"]"#, &[1], "it has a symbol that its schema lacks"),
        (r#""fixed","name":"F","size":9223372036854775807"#, &[0; 100], "it ends too early"),
        (r#""fixed","name":"D","size":12,"logicalType":"duration""#, &[0; 11], "it ends too early"),
        (r#""bytes","logicalType":"big-decimal""#, &[2, 4], "it ends too early"),
        (r#""bytes","logicalType":"big-decimal""#, &[4, 2, 1], "it has a value that can't be decoded"),
        (r#""bytes","logicalType":"big-decimal""#, &[12, 0xfe, 0xff, 0xff, 0xff, 0x07, 0], "it ends too early"),
        (r#""array","items":"int""#, &[4, 2], "it ends too early"),
        (r#""map","values":"int""#, &[2, 2, b'a'], "it ends too early"),
    ] {
        assert_eq!(why(&of(kind), bytes), expected, "{kind} {bytes:?}");
    }
}

#[test]
fn a_text_that_is_not_utf8_spoils_its_row_alone() {
    let schema = r#"{"type":"map","values":"string"}"#;
    let sound = [2, 2, b'a', 2, b'b', 0];
    let data = [&[2, 2, b'a', 2, 0xff, 0][..], &[2, 2, 0xff, 2, b'b', 0], &sound].concat();
    let bad = || Err("it has a text that is not UTF-8".to_owned());
    let read = rows(&[head(schema, "null"), block(3, &data)].concat());
    assert_eq!(read, [bad(), bad(), Ok(r#"{"a":"b"}"#.to_owned())]);
}

#[test]
fn a_row_that_does_not_become_json_costs_itself_alone() {
    let list = r#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#;
    let tree = r#"{"type":"record","name":"n","fields":[{"name":"a","type":{"type":"map","values":{"type":"array","items":"n"}}}]}"#;
    let deep_tree = [[2, 2, b'x', 1, 2].repeat(99), vec![0; 199]].concat();
    let large = prefixed(&vec![0; 52 << 20]);
    let pair = r#"{"type":"record","name":"r","fields":[{"name":"b","type":"boolean"},{"name":"i","type":"int"},
        {"name":"e","type":{"type":"enum","name":"e","symbols":["A"]}},{"name":"d","type":"double"}]}"#;
    let sound = [1, 2, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
    let odd = |at: usize, bytes: &[u8]| [&sound[..at], bytes, &sound[at + 1..]].concat();
    let big = r#"{"type":"bytes","logicalType":"big-decimal"}"#;
    for (schema, bad, good, why) in [
        (list, [vec![2; 99], vec![0]].concat(), vec![0], "it is more than 64 levels deep"),
        (list, [vec![2; 500_000], vec![0]].concat(), vec![0], "it is more than 64 levels deep"),
        (tree, deep_tree, vec![0], "it is more than 64 levels deep"),
        (r#""bytes""#, large, vec![0], "it would be more than 64 MiB of JSON"),
        (pair, odd(0, &[2]), sound.to_vec(), "it has a truth that is neither 0 nor 1"),
        (pair, odd(1, &number(1 << 40)), sound.to_vec(), "it has a number of more than 32 bits"),
        (pair, odd(2, &[2]), sound.to_vec(), "it has a symbol that its schema lacks"),
        (big, vec![4, 2, 1], vec![6, 2, 2, 0], "it has a value that can't be decoded"),
    ] {
        let data = [&good[..], &bad, &good.repeat(1001)].concat();
        let read = parts(&[head(schema, "null"), block(1003, &data)].concat());
        assert_eq!(read.len(), 1003, "{why}");
        assert!(read[1] == Err(Unreadable { rows: 1, bytes: bad.into(), why: why.to_owned() }), "{why}");
        assert!(read.iter().enumerate().all(|(at, row)| at == 1 || row == &read[0]), "{why}");
        assert!(read[0].is_ok(), "{why}");
    }
}

#[test]
fn rows_of_which_nobody_knows_where_they_begin_are_counted() {
    let schema = r#"["null","string"]"#;
    let sound = block(2, &[2, 2, b'a', 0]);
    for (data, why) in [
        (&[0, 4, 0, 0][..], "it has a branch that its union lacks"),
        (&[0, 2, 90, b'a'], "it ends too early"),
        (&[0, 2, 1], "it has a length that can't be"),
    ] {
        let read = parts(&[head(schema, "null"), block(1000, data), sound.clone()].concat());
        let unreadable = Unreadable { rows: 999, bytes: data[1..].to_vec().into(), why: why.to_owned() };
        let (null, text) = (Ok(r#"{"value":null}"#.to_owned()), Ok(r#"{"value":"a"}"#.to_owned()));
        assert_eq!(read, [null.clone(), Err(unreadable), text, null]);
    }
    let read = parts(&[head(schema, "snappy"), block(7, &[1, 2, 3])].concat());
    let why = "its snappy data are damaged".to_owned();
    assert_eq!(read, [Err(Unreadable { rows: 7, bytes: Bytes::new(), why })]);
}

#[test]
fn few_bytes_that_stand_for_much_are_refused() {
    let large = "it would be more than 64 MiB of JSON";
    let endless = number(i64::MAX);
    assert_eq!(why(r#"{"type":"array","items":"null"}"#, &endless), large);
    let none = r#"{"type":"array","items":{"type":"record","name":"r","fields":[]}}"#;
    assert_eq!(why(none, &[number(i64::MIN), number(0)].concat()), large);
    // Each record holds the one before it twice: a million million of them have no bytes.
    let mut schema = r#"{"type":"record","name":"r0","fields":[]}"#.to_owned();
    for level in 1..20 {
        let last = level - 1;
        schema = format!(
            r#"{{"type":"record","name":"r{level}","fields":[{{"name":"a","type":{schema}}},{{"name":"b","type":"r{last}"}},
            {{"name":"c","type":"r{last}"}},{{"name":"d","type":"r{last}"}}]}}"#
        );
    }
    assert_eq!(why(&schema, &[]), large);
    // Control characters are six times as long in JSON.
    assert_eq!(why(r#""string""#, &prefixed(&vec![1; 12 << 20])), large);
    assert_eq!(why(r#""bytes""#, &prefixed(&vec![1; 50 << 20])), large);
    let entries = [number((1 << 20) + 1), vec![0; (1 << 20) + 1]].concat();
    assert_eq!(why(r#"{"type":"map","values":"null"}"#, &entries), "it has more than 1,048,576 entries of maps");
}

#[test]
fn a_row_is_no_deeper_than_it_may_be() {
    let deep = "it is more than 64 levels deep";
    let list = r#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#;
    let most = [vec![2; 63], vec![0]].concat();
    assert!(serde_json::from_str::<serde_json::Value>(&row(list, &most).unwrap()).is_ok());
    assert_eq!(why(list, &[vec![2; 64], vec![0]].concat()), deep);
    assert_eq!(why(list, &vec![2; 1 << 20]), deep);
    let itself = r#"{"type":"record","name":"n","fields":[{"name":"n","type":"n"}]}"#;
    assert_eq!(why(itself, &[]), deep);
    let tree = r#"{"type":"record","name":"n","fields":[{"name":"a","type":{"type":"map","values":{"type":"array","items":"n"}}}]}"#;
    assert_eq!(why(tree, &[2, 0, 2].repeat(1000)), deep);
}

#[test]
fn schemas_that_make_no_sense_are_refused() {
    let of = |schema: &str| broken(AvroFile::open(&head(schema, "null")));
    for (schema, expected) in [
        ("", "its schema is no JSON"),
        ("{", "its schema is no JSON"),
        ("{}", "its schema is none that Avro knows"),
        ("7", "its schema is none that Avro knows"),
        (r#""nobody""#, "its schema lacks a type that it refers to"),
        (r#"{"type":"array","items":"nobody"}"#, "its schema lacks a type that it refers to"),
        (r#"["null",["int"]]"#, "its schema is none that Avro knows"),
        (r#"{"type":"record","name":"r-1","fields":[]}"#, "its schema has a name that Avro doesn't permit"),
        (
            r#"{"type":"record","name":"r","fields":[{"name":"a b","type":"int"}]}"#,
            "its schema has a name that Avro doesn't permit",
        ),
        (r#"{"type":"record","name":"r"}"#, "its schema has a type without its parts"),
        (r#"{"type":"enum","name":"enum"}"#, "its schema has a type without its parts"),
        (r#"{"type":"fixed","name":"f"}"#, "its schema has a type without its parts"),
        (r#"{"type":"fixed","name":"f","size":-1}"#, "its schema is none that Avro knows"),
    ] {
        assert_eq!(of(schema), expected, "{schema}");
    }
    assert_eq!(of(&format!("\"{}\"", "a".repeat(1 << 20))), "its schema is larger than 1 MiB");
    // Thirty records within each other, the innermost of which has most of a MiB of fields.
    let fields: Vec<_> = (0..30_000).map(|number| format!(r#"{{"name":"a{number}","type":"int"}}"#)).collect();
    let mut schema = format!(r#"{{"type":"record","name":"r","fields":[{}]}}"#, fields.join(","));
    assert!(AvroFile::open(&head(&schema, "null")).unwrap().is_some());
    for level in 0..30 {
        schema = format!(r#"{{"type":"record","name":"r{level}","fields":[{{"name":"a","type":{schema}}}]}}"#);
    }
    assert_eq!(of(&schema), "its schema has too many parts");
    let deep = [r#"{"type":"#.repeat(100), r#""int""#.to_owned(), "}".repeat(100)].concat();
    assert_eq!(of(&deep), "its schema is too deep");
}

/// Reads what can be read of a file, and looks that each row is an object.
fn read_all(file: &[u8]) {
    let Ok(Some((avro, mut at))) = AvroFile::open(file) else { return };
    while let Ok(Some((used, block))) = avro.block(&file[at..]) {
        assert_eq!(avro.needed(&file[at..]).unwrap(), Some(used));
        at += used;
        for row in block.take(1000).flatten() {
            assert!(serde_json::from_str::<serde_json::Value>(&row).expect("it is JSON").is_object());
        }
    }
}

#[test]
fn random_bytes_do_no_worse_than_damage() {
    let (schema, data, _) = some();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for codec in CODECS {
        let file = [head(schema, codec), block(2, &pack(codec, &data)), block(2, &pack(codec, &data))].concat();
        for _ in 0..10_000 {
            let mut spoilt = file.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(spoilt.len());
                spoilt[at] = random.below(256) as u8;
            }
            spoilt.truncate(file.len() - random.below(20));
            read_all(&spoilt);
            // Within a block alone, since most of all else is the schema.
            let mut packed = pack(codec, &data);
            for _ in 0..=random.below(3) {
                let at = random.below(packed.len());
                packed[at] = random.below(256) as u8;
            }
            read_all(&[head(schema, codec), block(2, &packed)].concat());
            let mut spoilt = data.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(spoilt.len());
                spoilt[at] = random.below(256) as u8;
            }
            if codec != "zstandard" {
                read_all(&[head(schema, codec), block(2, &pack(codec, &spoilt))].concat());
            }
        }
    }
}
