//! Reads texts in all pieces, compressions and places.

use std::io::Write as _;

use encoding_rs::{SHIFT_JIS, UTF_8, UTF_16LE};
use flate2::write::GzEncoder;

use super::*;

fn options(form: Form) -> TextOptions {
    TextOptions { form, compression: None, encoding: UTF_8, names: None }
}

fn csv() -> Form {
    Form::Csv(CsvOptions::default())
}

/// Reads on from a place, the bytes in pieces of that size.
fn read_from(options: &TextOptions, object: &[u8], begin: Place, size: usize) -> Result<Vec<Row>, Broken> {
    let mut options = options.clone();
    if begin != Place::default() && options.has_head() {
        // As the source does.
        let mut head = Text::new(options.clone(), Place::default());
        head.push(&Bytes::copy_from_slice(object))?;
        head.end()?;
        let _ = head.next_row()?;
        options = head.options_after_head().unwrap_or(options);
    }
    let mut text = Text::new(options, begin);
    let mut pieces = object[begin.offset as usize..].chunks(size);
    let mut rows = Vec::new();
    loop {
        match text.next_row()? {
            Next::Row(row) => rows.push(row),
            Next::End => return Ok(rows),
            Next::More => match pieces.next() {
                Some(piece) => text.push(&Bytes::copy_from_slice(piece))?,
                None => text.end()?,
            },
        }
    }
}

fn read(form: Form, object: &[u8]) -> Vec<Row> {
    read_from(&options(form), object, Place::default(), usize::MAX).expect("it can be read")
}

fn contents(rows: &[Row]) -> Vec<String> {
    let content = |row: &Row| match &row.content {
        Content::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Content::Structured(text) => text.clone(),
        Content::Bad { bytes, why } => format!("bad: {} ({why})", String::from_utf8_lossy(bytes)),
    };
    rows.iter().map(content).collect()
}

fn gzip(parts: &[&[u8]]) -> Vec<u8> {
    let mut members = Vec::new();
    for part in parts {
        let mut encoder = GzEncoder::new(&mut members, flate2::Compression::default());
        encoder.write_all(part).expect("memory takes all");
        encoder.finish().expect("memory takes all");
    }
    members
}

fn zstd(parts: &[&[u8]]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    parts.iter().flat_map(|part| ruzstd::encoding::compress_to_vec(*part, level)).collect()
}

fn snappy(parts: &[&[u8]]) -> Vec<u8> {
    let mut streams = Vec::new();
    for part in parts {
        let mut encoder = snap::write::FrameEncoder::new(&mut streams);
        encoder.write_all(part).expect("memory takes all");
        encoder.flush().expect("memory takes all");
    }
    streams
}

/// Some rows of each form.
fn samples() -> Vec<(Form, Vec<u8>)> {
    let lines: String = (0..200).map(|n| format!("line {n} {}\r\n", "x".repeat(n % 37))).collect();
    let mut csv_text = "id,name,note\r\n".to_owned();
    csv_text.extend((0..200).map(|n| format!("{n},\"a \"\"{n}\"\"\n{}\",é\n", "y".repeat(n % 29))));
    let values: String = (0..200).map(|n| format!("{{\"n\":{n},\"t\":\"{}\"}}\n", "z".repeat(n % 31))).collect();
    let list: String = (0..200).map(|n| format!("{}{n}", if n == 0 { "[" } else { " ,\n" })).collect::<String>() + "]";
    let document = format!("{{\"data\":{{\"items\":{list}}}}}");
    vec![
        (Form::Lines, lines.into_bytes()),
        (csv(), csv_text.into_bytes()),
        (Form::Json(JsonRows::Auto), values.clone().into_bytes()),
        (Form::Json(JsonRows::Lines), values.into_bytes()),
        (Form::Json(JsonRows::Auto), list.clone().into_bytes()),
        (Form::Json(JsonRows::Array), list.into_bytes()),
        (Form::Json(JsonRows::At(vec!["data".to_owned(), "items".to_owned()])), document.into_bytes()),
    ]
}

/// The object as it is, and compressed in several ways, as one piece and as many.
fn compressions(object: &[u8]) -> Vec<Vec<u8>> {
    let (first, rest) = object.split_at(object.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2 + 1);
    let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(&[first, second, third])].concat();
    let padded = [gzip(&[object]), vec![0; 512]].concat();
    vec![
        object.to_vec(),
        gzip(&[object]),
        gzip(&[first, second, b"", third]),
        padded,
        zstd(&[object]),
        zstd(&[first, second, third]),
        skippable,
        snappy(&[object]),
        [snappy(&[first, second]), vec![0xfe, 3, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 9], snappy(&[third])].concat(),
    ]
}

#[test]
fn rows_are_the_same_in_any_pieces_and_compression() {
    for (form, object) in samples() {
        let expected = contents(&read(form.clone(), &object));
        assert_eq!(expected.len(), 200, "{form:?}");
        for (number, stored) in compressions(&object).iter().enumerate() {
            for size in [1, 2, 7, 100, 4096] {
                let rows = read_from(&options(form.clone()), stored, Place::default(), size).expect("it can be read");
                assert!(contents(&rows) == expected, "{form:?}, compression {number}, pieces of {size}");
                assert!(rows.iter().zip(1..).all(|(row, number)| row.number == number));
            }
        }
    }
}

#[test]
fn reading_goes_on_after_any_row() {
    for (form, object) in samples() {
        for (number, stored) in compressions(&object).iter().enumerate() {
            let all = read_from(&options(form.clone()), stored, Place::default(), 1000).expect("it can be read");
            for row in all.iter().step_by(7) {
                let rest = read_from(&options(form.clone()), stored, row.next, 500).expect("it goes on");
                let expected = &all[row.number as usize..];
                assert!(contents(&rest) == contents(expected), "{form:?}, compression {number}, {:?}", row.next);
                assert!(rest.iter().zip(expected).all(|(one, other)| one.number == other.number));
            }
        }
    }
}

#[test]
fn what_goes_on_begins_near_its_row() {
    let (form, object) = samples().swap_remove(0);
    let plain = read(form.clone(), &object);
    assert!(plain.iter().all(|row| row.next.skip == 0 && row.byte.is_some()));
    let offsets: Vec<_> = plain.iter().map(|row| row.byte.expect("it has one") as usize).collect();
    assert!(
        offsets
            .iter()
            .zip(&plain)
            .all(|(at, row)| object[*at..].starts_with(contents(std::slice::from_ref(row))[0].as_bytes()))
    );
    let parts = [&object[..1000], &object[1000..]];
    for stored in [gzip(&parts), zstd(&parts), snappy(&parts)] {
        let rows = read_from(&options(form.clone()), &stored, Place::default(), 64).expect("it can be read");
        let last = rows.last().expect("there are some").next;
        assert!(last.offset > 0, "the second frame holds it");
        assert_eq!(last.skip, object.len() as u64 - 1000);
        assert!(rows.iter().all(|row| row.byte.is_none()));
    }
}

#[test]
fn damaged_compression_is_an_error() {
    for (form, object) in samples().into_iter().take(2) {
        for stored in compressions(&object).iter().skip(1) {
            for cut in [1, stored.len() / 2, stored.len() - 513.min(stored.len() - 1)] {
                let cut = &stored[..cut.max(12)];
                let read = read_from(&options(form.clone()), cut, Place::default(), 100);
                assert!(read.is_err() || cut.len() == stored.len(), "{form:?}: {} of {}", cut.len(), stored.len());
            }
        }
    }
    let mut wrong = gzip(&[b"some text that is long enough"]);
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    assert!(read_from(&options(Form::Lines), &wrong, Place::default(), 5).is_err(), "another checksum");
    let right = snappy(&[b"some text that is long enough"]);
    for at in 10..right.len() {
        let mut wrong = right.clone();
        wrong[at] ^= 2;
        assert!(read_from(&options(Form::Lines), &wrong, Place::default(), 5).is_err(), "byte {at}");
    }
    let long = [&right[..10], &[0, 0xff, 0xff, 0xff], &[0; 9]].concat();
    let broken = read_from(&options(Form::Lines), &long, Place::default(), 5).expect_err("longer than any");
    assert!(broken.why.contains("longer than any"), "{broken}");
}

#[test]
fn a_bomb_is_read_in_steps() {
    let bomb = gzip(&[&vec![b'\n'; 32 << 20]]);
    assert!(bomb.len() < 64 << 10);
    let mut text = Text::new(options(Form::Lines), Place::default());
    text.push(&Bytes::from(bomb)).expect("it is taken");
    text.end().expect("it ends");
    let mut rows = 0_u64;
    while let Next::Row(_) = text.next_row().expect("it can be read") {
        rows += 1;
        assert!(text.held() < 2 << 20, "{} bytes at once", text.held());
    }
    assert_eq!(rows, 32 << 20);
}

#[test]
fn a_row_that_is_too_long_costs_itself_alone() {
    let long = "x".repeat(17 << 20);
    let why = "it has more than 16777216 bytes, which are too many to be delivered";
    for (form, object) in [
        (Form::Lines, format!("a\n{long}\nb")),
        (csv(), format!("a\n1\n\"{long}\n\"\n2\n")),
        (Form::Json(JsonRows::Lines), format!("1\n\"{long}\"\n2\n")),
        (Form::Json(JsonRows::Auto), format!("[1, {{\"a\":[\"\\\",]{long}\"]}} ,2]")),
        (Form::Json(JsonRows::Array), format!("[1,\"{long},2,\\\" \",2]")),
    ] {
        for stored in [object.as_bytes().to_vec(), gzip(&[object.as_bytes()])] {
            let mut text = Text::new(options(form.clone()), Place::default());
            let mut pieces = stored.chunks(1 << 20);
            let mut rows = Vec::new();
            loop {
                match text.next_row().expect("it can be read") {
                    Next::Row(row) => rows.push(row),
                    Next::End => break,
                    Next::More => match pieces.next() {
                        Some(piece) => text.push(&Bytes::copy_from_slice(piece)).expect("it is taken"),
                        None => text.end().expect("it ends"),
                    },
                }
                assert!(text.held() < 19 << 20);
            }
            assert_eq!(rows.len(), 3, "{form:?}");
            assert_eq!(rows[1].content, Content::Bad { bytes: Bytes::new(), why: why.to_owned() });
            let rest = read_from(&options(form.clone()), &stored, rows[1].next, 1 << 20).expect("it goes on");
            assert_eq!(rest, rows[2..], "{form:?}");
            if let Some(at) = rows[1].byte {
                assert_eq!(
                    object.as_bytes()[at as usize],
                    object.trim_start_matches(['[', 'a', '1', '\n', ',', ' ']).as_bytes()[0]
                );
            }
        }
    }
}

#[test]
fn a_row_without_an_end_does_not_fill_the_memory() {
    let endless = vec![b'"'; 2 + (17 << 20)];
    let broken = read_from(&options(csv()), &endless, Place::default(), 1 << 20).expect_err("a header");
    assert_eq!(broken.why, "at byte 0: a row of it has more than 16777216 bytes");
    let rows = read_from(&options(csv()), &[b"a\n", &endless[1..]].concat(), Place::default(), 1 << 20);
    assert_eq!(
        contents(&rows.expect("it can be read")),
        ["bad:  (it has a quote that nothing closes, and more than 16777216 bytes)"]
    );
    let element = format!("[1,\"{}", "x".repeat(17 << 20));
    let broken = read_from(&options(Form::Json(JsonRows::Auto)), element.as_bytes(), Place::default(), 1 << 20);
    assert_eq!(broken.expect_err("no end").why, "after row 1, at byte 3: an element of its list does not end");
    let value = format!("1 [{}", "1,".repeat(9 << 20));
    let broken = read_from(&options(Form::Json(JsonRows::Auto)), value.as_bytes(), Place::default(), 1 << 20);
    assert_eq!(broken.expect_err("too long").why, "after row 1, at byte 2: a row of it has more than 16777216 bytes");
}

#[test]
fn a_bad_element_of_a_list_costs_itself_alone() {
    let list = b"[{\"a\":1}, {\"a\":NaN, \"b\":[\"]}\\\",\"]} ,{\"a\":3},,tru ,[1,]]";
    for rows in [JsonRows::Auto, JsonRows::Array] {
        for size in [1, 2, 7, 100] {
            let options = options(Form::Json(rows.clone()));
            let found = read_from(&options, list, Place::default(), size).expect("it can be read");
            let (texts, no_json) = (contents(&found), "it is no JSON: ");
            assert_eq!((&*texts[0], &*texts[2]), ("{\"a\":1}", "{\"a\":3}"));
            assert!(
                texts[1].starts_with(&format!("bad: {{\"a\":NaN, \"b\":[\"]}}\\\",\"]}} ({no_json}")),
                "{}",
                texts[1]
            );
            assert!(texts[3].starts_with(&format!("bad:  ({no_json}")), "{}", texts[3]);
            assert!(texts[4].starts_with(&format!("bad: tru ({no_json}")), "{}", texts[4]);
            assert!(texts[5].starts_with(&format!("bad: [1,] ({no_json}")), "{}", texts[5]);
            assert_eq!(found.iter().map(|row| row.byte).collect::<Vec<_>>()[..3], [Some(1), Some(10), Some(36)]);
            for row in &found {
                let rest = read_from(&options, list, row.next, size).expect("it goes on");
                assert_eq!(rest, found[row.number as usize..]);
            }
        }
    }
    let auto = Form::Json(JsonRows::Auto);
    let last = contents(&read(auto.clone(), b"[{\"a\":1},]"));
    assert_eq!(last, ["{\"a\":1}", "bad:  (it is no JSON: expected value)"]);
    for contradiction in ["[1,{\"a\":[2},3]", "[1,2},3]", "[1,{\"a\":\"x\"y\"},3]"] {
        let broken = read_from(&options(auto.clone()), contradiction.as_bytes(), Place::default(), 3);
        let why = broken.expect_err("no end").why;
        assert!(why.starts_with("after row ") && why.contains(", at byte "), "{why}");
    }
}

#[test]
fn lines_keep_their_bytes() {
    let rows = read(Form::Lines, b"a\r\n\n\xff\x00b\n last");
    let raw: Vec<_> = rows.iter().map(|row| row.content.clone()).collect();
    let bytes = |bytes: &'static [u8]| Content::Raw(Bytes::from_static(bytes));
    assert_eq!(raw, [bytes(b"a"), bytes(b""), bytes(b"\xff\x00b"), bytes(b" last")]);
    assert_eq!(rows.iter().map(|row| row.byte).collect::<Vec<_>>(), [Some(0), Some(3), Some(4), Some(8)]);
    assert!(read(Form::Lines, b"").is_empty());
    assert_eq!(contents(&read(Form::Lines, b"\xef\xbb\xbfa\n")), ["a"]);
}

#[test]
fn csv_has_the_names_of_its_header() {
    let rows = read(csv(), b"id,na\"me\n1,a\n\n2,\"b,\"\"\nc\"\r\n3\n");
    assert_eq!(
        contents(&rows),
        [
            "{\"id\":\"1\",\"na\\\"me\":\"a\"}",
            "{\"id\":\"2\",\"na\\\"me\":\"b,\\\"\\nc\"}",
            "bad: 3 (it has 1 field where 2 are named)"
        ]
    );
    assert_eq!(rows.iter().map(|row| row.byte).collect::<Vec<_>>(), [Some(9), Some(14), Some(26)]);
    assert_eq!(contents(&read(csv(), b"a,a,\n1,2,3\n")), ["{\"a\":\"1\",\"a_2\":\"2\",\"column_3\":\"3\"}"]);
    assert!(read(csv(), b"only,names\n").is_empty());
}

#[test]
fn equal_names_are_numbered_in_time_by_their_count() {
    let header = format!("{}a\n", "a,".repeat(32_767));
    let row = format!("{}1\n", ",".repeat(32_767));
    let found = contents(&read(csv(), (header + &row).as_bytes()));
    assert!(found[0].starts_with("{\"a\":\"\",\"a_2\":\"\",\"a_3\":") && found[0].ends_with("\"a_32768\":\"1\"}"));
    let found = contents(&read(csv(), b"a,a_2,a,a,a_2\n1,2,3,4,5\n"));
    assert_eq!(found, ["{\"a\":\"1\",\"a_2\":\"2\",\"a_3\":\"3\",\"a_4\":\"4\",\"a_2_2\":\"5\"}"]);
}

#[test]
fn csv_has_32768_fields_at_most() {
    let wide = ",".repeat(32_768);
    for object in [wide.clone(), wide.clone() + "\n1,2\n"] {
        let broken = read_from(&options(csv()), object.as_bytes(), Place::default(), 1000).expect_err("too many");
        assert_eq!(broken.why, "at byte 0: its header can't be read: it has more fields than 32768");
    }
    let object = format!("a,b\n{wide}\n1,2\n{}\n3,4\n", &wide[1..]);
    let found = contents(&read(csv(), object.as_bytes()));
    assert!(found[0].ends_with(",, (it has more fields than 32768)") && found[0].len() > 32_768);
    assert_eq!((&*found[1], &*found[3]), ("{\"a\":\"1\",\"b\":\"2\"}", "{\"a\":\"3\",\"b\":\"4\"}"));
    assert!(found[2].ends_with(" (it has 32768 fields where 2 are named)"));
    let unnamed = Form::Csv(CsvOptions { has_header: false, ..CsvOptions::default() });
    let found = contents(&read(unnamed, format!("{wide}\n1,2\n").as_bytes()));
    assert_eq!(found[1], "{\"column_1\":\"1\",\"column_2\":\"2\"}", "a row that is none names nothing");
}

#[test]
fn a_quote_of_csv_that_nothing_closes_makes_its_row_bad() {
    let why = "it has a quote that nothing closes";
    for size in [1, 2, 3, 100] {
        let read = |object: &str| read_from(&options(csv()), object.as_bytes(), Place::default(), size);
        for (rest, is_closed) in [
            ("1,\"x\n2,y\n3,z\n", false),
            ("1,\"x\"\"\r\n2,y", false),
            ("1,\"", false),
            ("\"\"\"", false),
            ("1,\"x\"", true),
            ("1,\"x\"\r", true),
            ("1,x\"y", true),
            ("1,\"\"", true),
            ("1,\"x\"\"\"", true),
            ("1,\"x\"y\"", true),
            ("1,", true),
        ] {
            let found = contents(&read(&format!("a,b\n0,\"\n\"\n{rest}")).expect("it can be read"));
            let bad = format!("bad: {} ({why})", rest.trim_end());
            assert_eq!((found.len(), found[1] == bad), (2, !is_closed), "{rest}: {}", found[1]);
        }
        let broken = read("a,\"b\n1,2\n").expect_err("a header without end");
        assert_eq!(broken.why, format!("at byte 0: its header can't be read: {why}"));
    }
}

#[test]
fn names_and_rows_of_csv_are_bounded() {
    let header = format!("{},b\n", "a".repeat(4 << 20));
    let broken = read_from(&options(csv()), header.as_bytes(), Place::default(), 1 << 20).expect_err("too long");
    assert_eq!(broken.why, "at byte 0: its header has names of more than 4 MiB: set `csv.header`");
    let row = format!("a\n{}\n1\n", "\u{1}".repeat(11 << 20));
    let rows = read(csv(), row.as_bytes());
    assert!(matches!(&rows[0].content, Content::Bad { why, .. } if why == "it would be more than 64 MiB of JSON"));
    assert_eq!(contents(&rows[1..]), ["{\"a\":\"1\"}"]);
}

#[test]
fn csv_is_read_as_the_settings_say() {
    let form = Form::Csv(CsvOptions {
        delimiter: b';',
        quote: b'\'',
        comment: Some(b'#'),
        has_header: false,
        names: Names::new(["x", "y"].into_iter()).ok(),
        null: Some("NULL".to_owned()),
        is_empty_null: false,
    });
    let rows = read(form, b"# a, comment\n1;'a;''b'\n#;\nNULL;\n");
    assert_eq!(contents(&rows), ["{\"x\":\"1\",\"y\":\"a;'b\"}", "{\"x\":null,\"y\":\"\"}"]);
    let unnamed = Form::Csv(CsvOptions { has_header: false, ..CsvOptions::default() });
    assert_eq!(contents(&read(unnamed, b"1,2\n")), ["{\"column_1\":\"1\",\"column_2\":\"2\"}"]);
    let renamed = Form::Csv(CsvOptions { names: Names::new(["n"].into_iter()).ok(), ..CsvOptions::default() });
    assert_eq!(contents(&read(renamed, b"id\n1\n")), ["{\"n\":\"1\"}"]);
    assert_eq!(contents(&read(csv(), b"a\n\xff\n")), ["bad: \u{fffd} (its field 1 is not UTF-8: set `encoding`)"]);
}

#[test]
fn a_field_of_csv_with_nothing_in_it_may_be_null_and_an_empty_text_be_quoted() {
    let form = Form::Csv(CsvOptions { is_empty_null: true, ..CsvOptions::default() });
    let long = "x".repeat(600);
    let text = format!("a,b,c\n,\"\",\r\n\"\",\"{long}, \"\"\n\",\"\"\n1,,{long}\n\"\"\"\",\"\"x,\n1,2,");
    for piece in [1, 7, text.len()] {
        let rows = read_from(&options(form.clone()), text.as_bytes(), Place::default(), piece).expect("reads");
        let expected = [
            "{\"a\":null,\"b\":\"\",\"c\":null}".to_owned(),
            format!("{{\"a\":\"\",\"b\":\"{long}, \\\"\\n\",\"c\":\"\"}}"),
            format!("{{\"a\":\"1\",\"b\":null,\"c\":\"{long}\"}}"),
            "{\"a\":\"\\\"\",\"b\":\"x\",\"c\":null}".to_owned(),
            "{\"a\":\"1\",\"b\":\"2\",\"c\":null}".to_owned(),
        ];
        assert_eq!(contents(&rows), expected);
    }
}

#[test]
fn json_takes_what_it_finds() {
    let auto = Form::Json(JsonRows::Auto);
    let mixed = b" {\"a\": 1.50}\n\n[2]\n3\n{\"b\":\n 1e400 } \"x\"";
    // A list that is not the first character is a value like others.
    assert_eq!(
        contents(&read(auto.clone(), mixed)),
        ["{\"a\": 1.50}", "{\"value\":[2]}", "{\"value\":3}", "{\"b\":\n 1e400 }", "{\"value\":\"x\"}"]
    );
    assert_eq!(
        contents(&read(auto.clone(), b"[1, {\"a\":[]} ,\"x\"]\n")),
        ["{\"value\":1}", "{\"a\":[]}", "{\"value\":\"x\"}"]
    );
    assert!(read(auto.clone(), b"[]").is_empty() && read(auto.clone(), b" \n").is_empty());
    assert_eq!(contents(&read(Form::Json(JsonRows::Document), b" [1,\n2]")), ["{\"value\":[1,\n2]}"]);
    let broken =
        |form: Form, text: &[u8]| read_from(&options(form), text, Place::default(), 3).expect_err("it is broken").why;
    assert_eq!(broken(auto.clone(), b"[1,2"), "after row 2, at byte 4: its list breaks off");
    let neither = "after row 1, at byte 3: its list has neither `,` nor `]` after an element";
    assert_eq!(broken(auto.clone(), b"[1 2]"), neither);
    assert_eq!(broken(auto, b"[1] x"), "after row 1, at byte 4: something follows its list");
    assert_eq!(broken(Form::Json(JsonRows::Array), b"{}"), "at byte 0: it is no list: set `json.rows`");
    assert!(broken(Form::Json(JsonRows::At(vec!["a".to_owned()])), b"{\"b\":1}").starts_with("it has no `a`"));
}

#[test]
fn a_bad_row_of_json_costs_its_line() {
    for rows in [JsonRows::Auto, JsonRows::Lines] {
        let rows = read(Form::Json(rows), b"{\"a\":1}\n{\"a\":oops}\n{\"a\":\xff}\n{\"a\":2}\n");
        let found = contents(&rows);
        assert_eq!((found[0].as_str(), found[3].as_str()), ("{\"a\":1}", "{\"a\":2}"), "{found:?}");
        assert!(found[1].starts_with("bad: {\"a\":oops} (it is no JSON: "), "{}", found[1]);
        assert!(found[2].starts_with("bad: "), "{}", found[2]);
    }
}

#[test]
fn deep_json_is_bad_and_no_end_of_the_stack() {
    let deep = "[".repeat(100_000);
    let rows = read(Form::Json(JsonRows::Lines), deep.as_bytes());
    assert_eq!(rows.len(), 1);
    assert!(matches!(&rows[0].content, Content::Bad { why, .. } if why.starts_with("it is no JSON: ")));
}

#[test]
fn other_encodings_become_utf_8() {
    let text = "name\nGrüße 你好\n";
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let options = TextOptions { encoding: UTF_16LE, ..options(csv()) };
    for stored in [utf_16.clone(), [vec![0xff, 0xfe], utf_16.clone()].concat(), gzip(&[&utf_16])] {
        for size in [1, 3, 100] {
            let rows = read_from(&options, &stored, Place::default(), size).expect("it can be read");
            assert_eq!(contents(&rows), ["{\"name\":\"Grüße 你好\"}"]);
            assert_eq!(rows[0].byte, None);
            assert!(read_from(&options, &stored, rows[0].next, size).expect("it goes on").is_empty());
        }
    }
    let broken = TextOptions { encoding: SHIFT_JIS, ..options };
    let broken = read_from(&broken, b"a\n\x81\n", Place::default(), 100).expect_err("no such text");
    assert_eq!(broken.why, "it has bytes that are no text in Shift_JIS: set `encoding` to what it is in");
}

#[test]
fn a_byte_order_mark_at_a_row_is_part_of_it_wherever_reading_begins() {
    let object = "a\n1\n\u{feff}x\n".as_bytes();
    let whole = read(csv(), object);
    assert_eq!(contents(&whole), ["{\"a\":\"1\"}", "{\"a\":\"\u{feff}x\"}"]);
    for size in [1, 2, 64] {
        let rest = read_from(&options(csv()), object, whole[0].next, size).expect("it can be read");
        assert_eq!(rest, whole[1..], "in pieces of {size}");
    }
}

#[test]
fn a_number_that_comes_in_pieces_is_one() {
    for object in ["[{\"a\":-1.5e-3},{\"a\":[0.1,1E+2]}]", "{\n\"a\":-1.5e-3}\n-2\n{\n\"a\":0.1}", "-1"] {
        let whole = read(Form::Json(JsonRows::Auto), object.as_bytes());
        assert!(whole.iter().all(|row| matches!(row.content, Content::Structured(_))), "{whole:?}");
        let pieces = read_from(&options(Form::Json(JsonRows::Auto)), object.as_bytes(), Place::default(), 1);
        assert_eq!(contents(&pieces.expect("it can be read")), contents(&whole));
    }
}

#[test]
fn a_list_among_values_is_a_value_wherever_reading_begins() {
    let (form, object) = (Form::Json(JsonRows::Auto), "{\"a\":1}\n[1,2]\n[3]\n");
    let whole = read(form.clone(), object.as_bytes());
    assert_eq!(contents(&whole), ["{\"a\":1}", "{\"value\":[1,2]}", "{\"value\":[3]}"]);
    let list = read(form.clone(), b"[[1],[2]]");
    assert_eq!(contents(&list), ["{\"value\":[1]}", "{\"value\":[2]}"]);
    // What can't be read may look like what follows an element.
    let bad = "{\"a\":1},\n ]\n{\"b\":2}";
    let commas = read(form.clone(), bad.as_bytes());
    let why = "(it is no JSON: expected value)";
    let bad_contents = [format!("bad: , {why}"), format!("bad: ] {why}")];
    assert_eq!(contents(&commas), ["{\"a\":1}", &bad_contents[0], &bad_contents[1], "{\"b\":2}"]);
    for (whole, object) in [(whole, object), (list, "[[1],[2]]"), (commas, bad)] {
        let object = object.as_bytes();
        for (at, row) in whole.iter().enumerate() {
            let rest = read_from(&options(form.clone()), object, row.next, 1).expect("it can be read");
            assert_eq!(rest, whole[at + 1..], "after row {}", at + 1);
        }
    }
}
