//! Tests of tables as files: what is written reads back, by the crates and by the source's own decoders.

use bytes::Bytes;

use super::*;
use crate::rows::Compression;
use crate::rows::{Footer, Opened};

/// A schema that these rows make, none of which is a misfit.
fn schema_of(rows: &[&str]) -> Schema {
    let mut schema = Schema::growing(Fields::default(), false);
    for row in rows {
        schema.take(row).unwrap_or_else(|misfit| panic!("{row}: {misfit}"));
    }
    schema
}

fn owned(rows: &[&str]) -> impl Iterator<Item = String> {
    rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>().into_iter()
}

fn read_parquet(object: &Bytes) -> Vec<serde_json::Value> {
    let Opened::Footer(footer) = Footer::open(object.len() as u64, object.clone()).unwrap() else {
        panic!("all of it is there")
    };
    let mut rows = Vec::new();
    for (number, group) in footer.groups().iter().enumerate() {
        let bytes = object.slice(group.first as usize..(group.first + group.length) as usize);
        rows.extend(footer.read(number, bytes, 0).unwrap().map(|row| json(&row.unwrap().expect("can be read"))));
    }
    rows
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn rows_read_back_from_parquet() {
    let rows = [
        r#"{"a":1,"b":"x","c":true,"d":0.5}"#,
        r#"{"b":null,"d":2,"e":{"f":[1,null,3],"g":{"h":"deep"}}}"#,
        r#"{"e":{"f":[]},"l":[[1],[],null,[2,3]],"s":[{"x":1},{"y":"z"},null,{}]}"#,
        r#"{}"#,
        r#"{"l":[],"s":null,"e":{}}"#,
        r#"{"a":-9223372036854775808,"b":"é\u0000\"\\😀"}"#,
    ];
    let schema = schema_of(&rows);
    let object = write_parquet(schema.fields(), owned(&rows), None).unwrap().into_bytes();
    let null = serde_json::Value::Null;
    let read = read_parquet(&object);
    assert_eq!(read[0], json(r#"{"a":1,"b":"x","c":true,"d":0.5,"e":null,"l":null,"s":null}"#));
    assert_eq!(read[1]["e"], json(r#"{"f":[1,null,3],"g":{"h":"deep"}}"#));
    assert_eq!(read[1]["d"], json("2.0"));
    assert_eq!(read[2]["e"], json(r#"{"f":[],"g":null}"#));
    assert_eq!(read[2]["l"], json("[[1],[],null,[2,3]]"));
    assert_eq!(read[2]["s"], json(r#"[{"x":1,"y":null},{"x":null,"y":"z"},null,{"x":null,"y":null}]"#));
    assert!(read[3].as_object().unwrap().values().all(|value| *value == null));
    assert_eq!((&read[4]["l"], &read[4]["s"]), (&json("[]"), &null));
    assert_eq!(read[5]["a"], json("-9223372036854775808"));
    assert_eq!(read[5]["b"], json(r#""é\u0000\"\\😀""#));
}

/// The types of the columns, in short.
fn types(schema: &Schema) -> String {
    fn show(content: &Type) -> String {
        match content {
            Type::Unknown => "?".to_owned(),
            Type::Any => "any".to_owned(),
            Type::Enum(symbols) => format!("({})", symbols.iter().cloned().collect::<Vec<_>>().join("|")),
            Type::Scalar(Scalar::Boolean) => "boolean".to_owned(),
            Type::Scalar(Scalar::Long { .. }) => "long".to_owned(),
            Type::Scalar(Scalar::Double) => "double".to_owned(),
            Type::Scalar(Scalar::Text) => "text".to_owned(),
            Type::Scalar(other) => format!("{other:?}"),
            Type::Struct(fields) => format!("{{{}}}", all(fields)),
            Type::List(element) => format!("[{}]", show(element)),
            Type::Map(value) => format!("<{}>", show(value)),
        }
    }
    fn all(fields: &Fields) -> String {
        fields.iter().map(|field| format!("{}:{}", field.name, show(&field.content))).collect::<Vec<_>>().join(" ")
    }
    all(schema.fields())
}

#[test]
fn columns_widen_by_rules_and_keep_their_order() {
    for (rows, expected) in [
        (&[r#"{"b":1,"a":null}"#, r#"{"c":true,"a":"x"}"#][..], "b:long a:text c:boolean"),
        (&[r#"{"a":1}"#, r#"{"a":0.5}"#, r#"{"a":2}"#], "a:double"),
        (&[r#"{"a":9007199254740993}"#, r#"{"a":0.5}"#], "a:text"),
        (&[r#"{"a":0.5}"#, r#"{"a":9007199254740993}"#], "a:text"),
        (&[r#"{"a":0.5}"#, r#"{"a":9007199254740992}"#], "a:double"),
        (&[r#"{"a":1}"#, r#"{"a":18446744073709551615}"#], "a:text"),
        (&[r#"{"a":1e400}"#], "a:text"),
        (&[r#"{"a":true}"#, r#"{"a":1}"#], "a:text"),
        (&[r#"{"a":"x"}"#, r#"{"a":1}"#, r#"{"a":false}"#], "a:text"),
        (&[r#"{"a":[]}"#, r#"{"a":[null]}"#], "a:[?]"),
        (&[r#"{"a":[1,0.5]}"#, r#"{"a":[]}"#], "a:[double]"),
        (&[r#"{"a":{}}"#, r#"{"a":{"x":1}}"#, r#"{"a":{"y":[{"z":2}]}}"#], "a:{x:long y:[{z:long}]}"),
    ] {
        assert_eq!(types(&schema_of(rows)), expected, "{rows:?}");
    }
}

#[test]
fn misfits_name_their_field_and_change_nothing() {
    let begin = [r#"{"a":1,"o":{"b":"x","l":[1]},"A2":1}"#];
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let wide: String = (0..10_000).map(|n| format!("\"c{n}\":1,")).collect();
    let within: String = (0..500).map(|n| format!("\"c{n}\":{{\"x\":1}},")).collect();
    let many = format!("{{\"m\":[{}1]}}", "1,".repeat(VALUES_MAX));
    for (row, expected) in [
        (r#"{"new":1,"a":{"x":1}}"#, "field `a` is an object, but its column holds whole numbers of 64 bits"),
        (r#"{"new":1,"a":[1]}"#, "field `a` is a list, but"),
        (r#"{"new":1,"o":1}"#, "field `o` is a number, but its column holds objects"),
        (r#"{"new":1,"o":{"l":{}}}"#, "field `o.l` is an object, but its column holds lists"),
        (r#"{"new":1,"o":{"l":[{}]}}"#, "field `o.l` is an object, but its column holds whole"),
        (r#"{"a":1,"a":2}"#, "field `a` is there twice"),
        (r#"{"new":1,"new":2}"#, "field `new` is there twice"),
        (r#"{"o":{"n":1,"n":null}}"#, "field `o.n` is there twice"),
        (r#"{"a2":1}"#, "field `a2` differs from `A2` by the case"),
        (r#"{"new":1,"":2}"#, "has a field without a name"),
        (r#"{"new":"\ud800"}"#, "field `new` has a text that is not Unicode"),
        (r#"{"\ud800":1}"#, "has a name that is not Unicode"),
        (&deep.replace('a', "d"), "is more than 16 levels deep"),
        (&format!("{{{wide}\"z\":1}}"), "more than 1000 columns"),
        (&format!("{{{within}\"z\":1}}"), "more than 1000 columns"),
        (&format!("{{\"{}\":1}}", "n".repeat(256)), "a name of more than 255 bytes"),
        (&many, "more than 1048576 values"),
    ] {
        let mut schema = schema_of(&begin);
        let misfit = schema.take(row).expect_err(expected).to_string();
        assert!(misfit.contains(expected), "{misfit}");
        assert!(misfit.len() < 200, "{misfit}");
        assert_eq!(schema.fields(), schema_of(&begin).fields(), "{expected}");
    }
}

#[test]
fn what_came_as_a_number_before_its_column_became_text_keeps_its_digits() {
    let rows = [r#"{"a":1.50}"#, r#"{"a":9007199254740993}"#, r#"{"a":1e400}"#, r#"{"a":true}"#, r#"{"a":"x"}"#];
    let schema = schema_of(&rows);
    let read = read_parquet(&write_parquet(schema.fields(), owned(&rows), None).unwrap().into_bytes());
    let texts: Vec<_> = read.iter().map(|row| row["a"].as_str().unwrap()).collect();
    assert_eq!(texts, ["1.50", "9007199254740993", "1e400", "true", "x"]);
}

#[test]
fn many_rows_are_several_groups_and_none_is_lost() {
    let rows: Vec<_> =
        (0..3000).map(|n| format!(r#"{{"n":{n},"l":[{n},null],"t":"{}"}}"#, "x".repeat(16 << 10))).collect();
    let mut schema = Schema::growing(Fields::default(), false);
    rows.iter().for_each(|row| schema.take(row).unwrap());
    let object = write_parquet(schema.fields(), rows.clone().into_iter(), None).unwrap().into_bytes();
    let read = read_parquet(&object);
    assert_eq!(read.len(), 3000);
    for (row, read) in rows.iter().zip(read) {
        assert!(json(row) == read);
    }
    // Pages of the second group begin with a row, too.
    let Opened::Footer(footer) = Footer::open(object.len() as u64, object.clone()).unwrap() else { panic!("is whole") };
    assert_eq!(footer.groups().len(), 2);
}

#[test]
fn a_row_of_many_elements_reads_back_beside_others() {
    let long = format!(r#"{{"l":[{}]}}"#, (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
    let rows = [r#"{"l":[1]}"#, &long, r#"{"l":[]}"#, &long, r#"{"l":[{"n":null}]}"#];
    let schema = schema_of(&rows[..4]);
    let read = read_parquet(&write_parquet(schema.fields(), owned(&rows[..4]), None).unwrap().into_bytes());
    for (row, read) in rows.iter().zip(read) {
        assert!(json(row) == read);
    }
}

const AVRO_SCHEMA: &str = r#"{"type":"record","name":"order","fields":[
    {"name":"b","type":"boolean"},{"name":"i","type":["null","int"]},{"name":"f","type":"float"},
    {"name":"x","type":{"type":"fixed","name":"four","namespace":"n","size":4}},
    {"name":"x2","type":["n.four","null"],"default":null},
    {"name":"e","type":{"type":"enum","name":"colour","symbols":["red"]}},
    {"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}},
    {"name":"m9","type":{"type":"bytes","logicalType":"decimal","precision":8,"scale":1}},
    {"name":"m18","type":{"type":"bytes","logicalType":"decimal","precision":18,"scale":2}},
    {"name":"d","type":{"type":"int","logicalType":"date"}},
    {"name":"t","type":{"type":"long","logicalType":"time-micros"}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"us","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"lo","type":{"type":"long","logicalType":"local-timestamp-micros"}},
    {"name":"u","type":{"type":"string","logicalType":"uuid"}},
    {"name":"y","type":"bytes"},{"name":"n","type":"long"},
    {"name":"l","type":{"type":"array","items":{"type":"record","name":"p","fields":[{"name":"s","type":"string"}]}}},
    {"name":"o","type":"p"},{"name":"k","type":{"type":"map","values":["null","double"]}}]}"#;

#[test]
fn schemas_are_read_as_avro_and_as_json_schema() {
    let schema = Schema::given(parse_schema(AVRO_SCHEMA).expect("parses"), 0);
    assert_eq!(
        types(&schema),
        "b:boolean i:Int f:Float x:Fixed(4) x2:Fixed(4) e:(red) m:Decimal { precision: 20, scale: 2 } \
         m9:Decimal { precision: 8, scale: 1 } m18:Decimal { precision: 18, scale: 2 } d:Date t:Time \
         at:Timestamp { unit: Millis, is_utc: true } us:Timestamp { unit: Micros, is_utc: true } \
         lo:Timestamp { unit: Micros, is_utc: false } u:Uuid y:Bytes n:long l:[{s:text}] o:{s:text} k:<double>"
    );
    let json = r#"{"type":"object","required":["id"],"properties":{
        "id":{"type":"integer"},"n":{"type":["number","null"]},"at":{"type":"string","format":"date-time"},
        "d":{"type":"string","format":"date"},"raw":{"type":"string","contentEncoding":"base64"},"e":{"enum":["a"]},
        "l":{"type":"array","items":{"anyOf":[{"type":"boolean"},{"type":"null"}]}},
        "m":{"type":"object","additionalProperties":{"type":"string"}},"o":{"properties":{"x":{"type":"string"}}}}}"#;
    let schema = Schema::given(parse_schema(json).expect("parses"), 0);
    assert_eq!(
        types(&schema),
        "id:long n:double at:Timestamp { unit: Micros, is_utc: true } d:Date raw:Bytes e:(a) l:[boolean] m:<text> \
         o:{x:text}"
    );
}

#[test]
fn references_within_a_json_schema_are_followed() {
    // As pydantic writes a model.
    let text = r##"{"$defs":{"properties":{"properties":{"zip":{"type":"string"},"no":{"type":"integer"}}},
        "Home":{"$ref":"#/$defs/properties"},"a/b":{"enum":["x"],"type":"string"}},
        "properties":{"z":{"$ref":"#/$defs/Home"},"properties":{"anyOf":[{"$ref":"#/$defs/Home"},{"type":"null"}],"default":null},
        "k":{"allOf":[{"$ref":"#/$defs/a~1b"}]},"l":{"type":"array","items":{"$ref":"#/$defs/a~1b"}}},"type":"object"}"##;
    let schema = Schema::given(parse_schema(text).expect("parses"), 0);
    assert_eq!(types(&schema), "z:{zip:text no:long} properties:{zip:text no:long} k:(x) l:[(x)]");
    let twice = |n: usize| {
        format!(r##""d{n}":{{"properties":{{"a":{{"$ref":"#/$defs/d{0}"}},"b":{{"$ref":"#/$defs/d{0}"}}}}}}"##, n + 1)
    };
    let doubled: Vec<_> = (0..15).map(twice).collect();
    let doubled = format!(
        r##"{{"$defs":{{{},"d15":{{"type":"string"}}}},"properties":{{"x":{{"$ref":"#/$defs/d0"}}}}}}"##,
        doubled.join(",")
    );
    for (text, expected) in [
        (r##"{"$defs":{"N":{"properties":{"next":{"$ref":"#/$defs/N"}}}},"$ref":"#/$defs/N"}"##, "leads to itself"),
        (
            r##"{"properties":{"a":{"$ref":"#/$defs/N"}}}"##,
            "of field `a`, it has the `$ref` `#/$defs/N`, which is not in it",
        ),
        (r##"{"properties":{"a":{"$ref":"#/properties/a"}}}"##, "only such as `#/$defs/NAME`"),
        (r##"{"properties":{"a":{"$ref":7}}}"##, "a `$ref` that is no text"),
        (r##"{"properties":[["a",{"type":"string"}]]}"##, "its `properties` are no object"),
        (r##"{"properties":{"a":{"type":"string"},"a":{"type":"string"}}}"##, "its field `a` is there twice"),
        (r##"{"properties":{"":{"type":"string"}}}"##, "it has a field without a name"),
        (&doubled, "it has more than 1000 columns"),
    ] {
        let why = parse_schema(text).expect_err(expected);
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn what_is_no_schema_is_said() {
    let of = |kind: &str| format!(r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":{kind}}}]}}"#);
    let deep = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(40), "}".repeat(40));
    for (text, expected) in [
        ("{".to_owned(), "it is no JSON"),
        ("[]".to_owned(), "a type that is no object"),
        (r#"{"type":"integer"}"#.to_owned(), "neither a `record` of Avro nor an `object`"),
        (r#"{"type":"record","name":"r","fields":[]}"#.to_owned(), "no fields"),
        (of("\"r\""), "of field `a`, it has the type `r`"),
        (of(r#"["int","string"]"#), "union of something else"),
        (of(r#""int"},{"name":"A","type":"int""#), "by the case"),
        (of(r#"{"type":"int","logicalType":"timestamp-micros"}"#), "not of that type"),
        (of(r#"{"type":"bytes","logicalType":"decimal","precision":39}"#), "precision"),
        (of(r#"{"type":"bytes","logicalType":"decimal","precision":3,"scale":4}"#), "scale is larger"),
        (of(&deep), "more than 16 levels"),
        (r#"{"properties":{"a":{"$ref":"x"}}}"#.to_owned(), "of field `a`, it has the `$ref` `x`"),
        (r#"{"properties":{"a":{"enum":["x",1]}}}"#.to_owned(), "of field `a`, it has an enum of something else"),
        (of(r#"{"type":"enum","name":"e"}"#), "of field `a`, it has a type without `symbols`"),
        (r#"{"properties":{"a":{"type":"object"}}}"#.to_owned(), "an `object` without `properties`"),
    ] {
        let why = parse_schema(&text).expect_err(expected);
        assert!(why.contains(expected), "{why}");
    }
}

/// Rows of every type that a schema can give, which are what the source makes of them.
const TYPED: [&str; 3] = [
    r#"{"b":true,"i":-5,"f":0.1,"x":"AAECAw==","x2":null,"e":"red","m":"-12345678901234567.89","m9":"1.5","m18":"-0.01",
        "d":"2026-11-28","t":"12:34:56.000001","at":"2026-11-28T12:34:56.789Z","us":"1969-12-31T23:59:59.999999Z",
        "lo":"2026-11-28T12:34:56.789012","u":"123e4567-e89b-12d3-a456-426614174000","y":"/w==","n":9223372036854775807,
        "l":[{"s":"a"},null,{"s":null}],"o":{"s":""},"k":{"p":1.5,"q":null}}"#,
    r#"{"b":null,"i":null,"f":null,"x":null,"x2":null,"e":null,"m":null,"m9":null,"m18":null,"d":null,"t":null,"at":null,
        "us":null,"lo":null,"u":null,"y":null,"n":null,"l":null,"o":null,"k":null}"#,
    r#"{"b":false,"i":2147483647,"f":1e10,"x":"/////w==","x2":"AAAAAA==","e":"red","m":"999999999999999999.99",
        "m9":"-9999999.9","m18":"0.00","d":"0001-01-01","t":"00:00:00.000000","at":"9999-12-31T23:59:59.999Z",
        "us":"0001-01-01T00:00:00.000000Z","lo":"1970-01-01T00:00:00.000000","u":"00000000-0000-0000-0000-000000000000","y":"","n":-9223372036854775808,
        "l":[],"o":{"s":null},"k":{}}"#,
];

#[test]
fn typed_rows_read_back_as_they_were() {
    let mut schema = Schema::given(parse_schema(AVRO_SCHEMA).expect("parses"), 0);
    TYPED.iter().for_each(|row| schema.take(row).unwrap_or_else(|misfit| panic!("{row}: {misfit}")));
    let rows: Vec<_> = TYPED.iter().map(|row| json(row)).collect();
    assert_eq!(read_parquet(&write_parquet(schema.fields(), owned(&TYPED), None).unwrap().into_bytes()), rows);
    let avro = write_avro(schema.fields(), owned(&TYPED).collect(), None).unwrap().into_bytes();
    assert_eq!(read_avro(&avro), rows);
    for (row, expected) in [
        (r#"{"more":null}"#, "field `more` is not in `schema`"),
        (r#"{"o":{"more":1}}"#, "field `o.more` is not in `schema`"),
        (r#"{"i":2147483648}"#, "field `i` is a number that its column can't hold: whole numbers of 32 bits"),
        (r#"{"k":{"a":1,"a":2}}"#, "field `k.a` is there twice"),
        (r#"{"k":[1]}"#, "field `k` is a list, but its column holds objects"),
        (r#"{"e":"blue"}"#, "field `e` is a text that is none of those that `schema` has for it"),
        (r#"{"e":1}"#, "field `e` is a number, but its column holds some texts alone"),
        (r#"{"u":"x"}"#, "field `u` is a text that its column can't hold: UUIDs such as"),
        (r#"{"n":"one"}"#, "field `n` is a text that its column can't hold"),
    ] {
        assert!(schema.take(row).expect_err(expected).to_string().contains(expected), "{row}");
    }
}

fn read_avro(object: &Bytes) -> Vec<serde_json::Value> {
    let (file, mut at) = crate::rows::AvroFile::open(object).unwrap().expect("all of its head is there");
    let mut rows = Vec::new();
    while at < object.len() {
        let (used, block) = file.block(&object[at..]).unwrap().expect("all of it is there");
        rows.extend(block.map(|row| json(&row.unwrap())));
        at += used;
    }
    rows
}

#[test]
fn given_columns_take_what_csv_has_as_texts() {
    let mut schema = Schema::given(parse_schema(AVRO_SCHEMA).expect("parses"), 0);
    for (text, value) in [(r#"{"i":"-7"}"#, r#"{"i":-7}"#), (r#"{"n":"12"}"#, r#"{"n":12}"#)] {
        schema.take(text).unwrap_or_else(|misfit| panic!("{text}: {misfit}"));
        let write = |row| write_parquet(schema.fields(), owned(&[row]), None).unwrap().into_bytes();
        assert_eq!(read_parquet(&write(text)), read_parquet(&write(value)), "{text}");
    }
}

#[test]
fn names_that_avro_lacks_are_made_its_own() {
    let mut schema = Schema::growing(Fields::new(true), false);
    let rows = [r#"{"a-b":1,"2nd":{"é":"x"},"ok_1":[{"x y":true}]}"#];
    schema.take(rows[0]).unwrap();
    for row in [r#"{"a_b":1}"#, r#"{"a.b":1}"#, r#"{"_2ND":1}"#, r#"{"2nd":{"ü":1}}"#] {
        assert!(schema.take(row).is_err(), "{row}");
    }
    let object = write_avro(schema.fields(), owned(&rows).collect(), None).unwrap().into_bytes();
    assert_eq!(read_avro(&object), [json(r#"{"a_b":1,"_2nd":{"_":"x"},"ok_1":[{"x_y":true}]}"#)]);
    let head = String::from_utf8_lossy(&object).into_owned();
    assert!(head.contains(r#"{"default":null,"doc":"a-b","name":"a_b","type":["null","long"]}"#), "{head}");
    assert!(head.contains(r#""name":"row._2nd""#) && head.contains(r#""name":"row.ok_1""#), "{head}");
}

#[test]
fn many_rows_are_several_blocks_of_avro() {
    let rows: Vec<_> = (0..5000).map(|n| format!(r#"{{"n":{n},"l":[{n},null],"t":"{n} {n} {n} {n} {n}"}}"#)).collect();
    let mut schema = Schema::growing(Fields::new(true), false);
    rows.iter().for_each(|row| schema.take(row).unwrap());
    let object = write_avro(schema.fields(), rows.clone(), None).unwrap().into_bytes();
    assert!(read_avro(&object) == rows.iter().map(|row| json(row)).collect::<Vec<_>>());
    assert!(object.len() < rows.iter().map(String::len).sum::<usize>() / 2, "it is compressed");
    for codec in [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Snappy] {
        let other = write_avro(schema.fields(), rows.clone(), Some(codec)).unwrap().into_bytes();
        assert!(read_avro(&other) == read_avro(&object), "{codec:?}");
        assert_eq!(other == object, codec == Compression::Gzip, "{codec:?}");
        let parquet = write_parquet(schema.fields(), rows.clone().into_iter(), Some(codec)).unwrap().into_bytes();
        assert!(read_parquet(&parquet) == read_avro(&object), "{codec:?}");
    }
    assert_eq!(
        write_avro(schema.fields(), rows, None).unwrap().into_bytes(),
        object,
        "the same rows give the same bytes"
    );
}
