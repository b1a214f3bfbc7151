//! Owns the decoding of Avro data into JSON, as Conduit's Go SDK decodes it for its destinations. Leaves where schemas come from to
//! `schemas`. Pure.
//!
//! A union is its value. What else a value becomes is what Go's encoder makes of it: bytes are base64, a fixed value a list of
//! numbers, times RFC 3339, a time of day nanoseconds. Only a decimal number is written as one, where Go prints a fraction.

use std::collections::{BTreeMap, HashMap};

use apache_avro::Schema as Part;
use apache_avro::schema::{InnerDecimalSchema, Name, UuidSchema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

use crate::conduit::moment;
use crate::error::{Error, ErrorKind, Result};

/// How deep data may be: below the depth at which readers of JSON stop.
const DEPTH_MAX: usize = 100;

/// Bytes of JSON that one value may become. Few bytes of Avro may stand for many of it.
const JSON_BYTES_MAX: usize = 64 << 20;

/// Bytes of the text of a schema.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// Bytes and digits after the point that a decimal number may have.
const DECIMAL_BYTES_MAX: usize = 128;
const DECIMAL_SCALE_MAX: usize = 512;

/// A schema that was read, and its parts by name.
pub(super) struct Schema {
    root: Part,
    names: HashMap<Name, Part>,
}

/// Reads a schema.
///
/// # Errors
///
/// `Invalid` where it is none.
pub(super) fn parse(text: &[u8]) -> Result<Schema> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(refuse(format!("the schema is larger than {SCHEMA_BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(text).map_err(|_| refuse("the schema is not UTF-8"))?;
    let root = Part::parse_str(text).map_err(|error| refuse(format!("the schema can't be read: {error}")))?;
    let mut names = HashMap::new();
    collect(&root, &mut names);
    Ok(Schema { root, names })
}

fn refuse(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

/// Keeps what has a name. A text of JSON is not deep enough to exhaust the stack.
fn collect(part: &Part, names: &mut HashMap<Name, Part>) {
    let name = match part {
        Part::Array(array) => return collect(&array.items, names),
        Part::Map(map) => return collect(&map.types, names),
        Part::Union(union) => return union.variants().iter().for_each(|variant| collect(variant, names)),
        Part::Record(record) => {
            record.fields.iter().for_each(|field| collect(&field.schema, names));
            &record.name
        }
        Part::Enum(symbols) => &symbols.name,
        Part::Fixed(fixed) | Part::Duration(fixed) | Part::Uuid(UuidSchema::Fixed(fixed)) => &fixed.name,
        Part::Decimal(decimal) => match &decimal.inner {
            InnerDecimalSchema::Fixed(fixed) => &fixed.name,
            InnerDecimalSchema::Bytes => return,
        },
        _ => return,
    };
    names.insert(name.clone(), part.clone());
}

/// Decodes a value into the text of a JSON object.
///
/// # Errors
///
/// `Invalid` where the bytes are no such value, or JSON has none like it.
pub(super) fn decode(schema: &Schema, bytes: &[u8]) -> Result<String> {
    let mut reader = Reader { rest: bytes, names: &schema.names, room: JSON_BYTES_MAX };
    let mut json = String::new();
    reader.value(&schema.root, DEPTH_MAX, &mut json)?;
    if !reader.rest.is_empty() {
        return Err(refuse(format!("{} bytes follow the value of their schema", reader.rest.len())));
    }
    if !json.starts_with('{') {
        return Err(refuse("their schema is not that of a record or a map"));
    }
    Ok(json)
}

struct Reader<'a> {
    rest: &'a [u8],
    names: &'a HashMap<Name, Part>,
    /// Bytes of JSON that may follow.
    room: usize,
}

impl<'a> Reader<'a> {
    fn put(&mut self, json: &mut String, text: &str) -> Result<()> {
        self.room = self
            .room
            .checked_sub(text.len() + 1)
            .ok_or_else(|| refuse(format!("they would be more than {JSON_BYTES_MAX} bytes of JSON")))?;
        json.push_str(text);
        Ok(())
    }

    fn put_text(&mut self, json: &mut String, text: &str) -> Result<()> {
        self.put(json, &serde_json::Value::from(text).to_string())
    }

    fn put_float(&mut self, json: &mut String, number: f64) -> Result<()> {
        let number = serde_json::Number::from_f64(number)
            .ok_or_else(|| refuse("they hold a number that JSON has not: NaN or Infinity"))?;
        self.put(json, &number.to_string())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| refuse("they end too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn long(&mut self) -> Result<i64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(refuse("they hold a number of more than 64 bits"))
    }

    fn int(&mut self) -> Result<i32> {
        i32::try_from(self.long()?).map_err(|_| refuse("they hold a number of more than 32 bits"))
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.long()?).map_err(|_| refuse("they hold a length below 0"))?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| refuse("they hold text that is not UTF-8"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// How many items the next block has; none at the end.
    fn block(&mut self) -> Result<u64> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    fn value(&mut self, part: &Part, depth: usize, json: &mut String) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(|| refuse("they are too deep"))?;
        match part {
            Part::Null => self.put(json, "null"),
            Part::Boolean => match self.take(1)? {
                [0] => self.put(json, "false"),
                [1] => self.put(json, "true"),
                _ => Err(refuse("they hold a truth that is neither 0 nor 1")),
            },
            Part::Int => {
                let number = self.int()?;
                self.put(json, &number.to_string())
            }
            Part::Long => {
                let number = self.long()?;
                self.put(json, &number.to_string())
            }
            // Its own shortest text, not that of the double that is nearest to it.
            Part::Float => {
                let number = f32::from_le_bytes(self.array()?);
                self.put_float(json, number.to_string().parse().unwrap_or(f64::NAN))
            }
            Part::Double => {
                let number = f64::from_le_bytes(self.array()?);
                self.put_float(json, number)
            }
            Part::String | Part::Uuid(UuidSchema::String) => {
                let text = self.text()?;
                self.put_text(json, text)
            }
            Part::Bytes | Part::BigDecimal | Part::Uuid(UuidSchema::Bytes) => {
                let bytes = self.bytes()?;
                self.put(json, &format!("\"{}\"", STANDARD.encode(bytes)))
            }
            Part::Enum(symbols) => {
                let symbol = usize::try_from(self.int()?).ok().and_then(|index| symbols.symbols.get(index));
                let symbol = symbol.ok_or_else(|| refuse("they hold a symbol that their schema has not"))?;
                self.put_text(json, symbol)
            }
            Part::Union(union) => {
                let variant = usize::try_from(self.long()?).ok().and_then(|index| union.variants().get(index));
                let variant = variant.ok_or_else(|| refuse("they hold a branch that their schema has not"))?;
                self.value(variant, depth, json)
            }
            Part::Ref { name } => {
                let names = self.names;
                let part = names.get(name).ok_or_else(|| refuse(format!("the schema lacks `{name}`")))?;
                self.value(part, depth, json)
            }
            Part::Array(array) => self.list(&array.items, depth, json),
            Part::Map(map) => self.map(&map.types, depth, json),
            Part::Record(record) => {
                let mut entries = BTreeMap::new();
                for field in &record.fields {
                    let mut value = String::new();
                    self.value(&field.schema, depth, &mut value)?;
                    entries.insert(field.name.as_str(), value);
                }
                self.object(entries, json)
            }
            _ => self.special(part, json),
        }
    }

    /// The values that have a meaning besides their type.
    fn special(&mut self, part: &Part, json: &mut String) -> Result<()> {
        match part {
            Part::Fixed(fixed) | Part::Uuid(UuidSchema::Fixed(fixed)) => {
                let numbers: Vec<_> = self.take(fixed.size)?.iter().map(u8::to_string).collect();
                self.put(json, &format!("[{}]", numbers.join(",")))
            }
            Part::Decimal(schema) => {
                let bytes = match &schema.inner {
                    InnerDecimalSchema::Bytes => self.bytes()?,
                    InnerDecimalSchema::Fixed(fixed) => self.take(fixed.size)?,
                };
                let text = decimal(bytes, schema.scale);
                let text = text.ok_or_else(|| refuse("they hold a decimal number of too many digits"))?;
                self.put_text(json, &text)
            }
            Part::Duration(_) => {
                let mut number = || self.array().map(u32::from_le_bytes);
                let (months, days, millis) = (number()?, number()?, number()?);
                let text = format!("{{\"Days\":{days},\"Milliseconds\":{millis},\"Months\":{months}}}");
                self.put(json, &text)
            }
            Part::TimeMillis => {
                let nanos = i64::from(self.int()?) * 1_000_000;
                self.put(json, &nanos.to_string())
            }
            Part::TimeMicros => {
                let nanos = self.long()?.checked_mul(1000).ok_or_else(|| refuse("they hold a time of no day"))?;
                self.put(json, &nanos.to_string())
            }
            Part::Date => {
                let days = i128::from(self.int()?);
                self.time(days * 86_400_000_000_000, json)
            }
            Part::TimestampMillis | Part::LocalTimestampMillis => {
                let millis = i128::from(self.long()?);
                self.time(millis * 1_000_000, json)
            }
            Part::TimestampMicros | Part::LocalTimestampMicros => {
                let micros = i128::from(self.long()?);
                self.time(micros * 1000, json)
            }
            Part::TimestampNanos | Part::LocalTimestampNanos => {
                let nanos = i128::from(self.long()?);
                self.time(nanos, json)
            }
            _ => Err(refuse("they hold a type that is not known")),
        }
    }

    fn list(&mut self, items: &Part, depth: usize, json: &mut String) -> Result<()> {
        self.put(json, "[")?;
        let mut separator = "";
        loop {
            let count = self.block()?;
            if count == 0 {
                return self.put(json, "]");
            }
            for _ in 0..count {
                self.put(json, separator)?;
                self.value(items, depth, json)?;
                separator = ",";
            }
        }
    }

    fn map(&mut self, values: &Part, depth: usize, json: &mut String) -> Result<()> {
        let mut entries = BTreeMap::new();
        loop {
            let count = self.block()?;
            if count == 0 {
                return self.object(entries, json);
            }
            for _ in 0..count {
                let (name, mut value) = (self.text()?, String::new());
                self.value(values, depth, &mut value)?;
                entries.insert(name, value);
            }
        }
    }

    /// Names in order, and of one that is there twice the last, as Go has it.
    fn object(&mut self, entries: BTreeMap<&str, String>, json: &mut String) -> Result<()> {
        self.put(json, "{")?;
        for (number, (name, value)) in entries.into_iter().enumerate() {
            self.put(json, if number == 0 { "" } else { "," })?;
            self.put_text(json, name)?;
            self.put(json, ":")?;
            // It was counted when it was written.
            json.push_str(&value);
        }
        self.put(json, "}")
    }

    fn time(&mut self, nanos: i128, json: &mut String) -> Result<()> {
        let text = moment::shortest(nanos).ok_or_else(|| refuse("they hold a time before the year 0 or after 9999"))?;
        self.put(json, &format!("\"{text}\""))
    }
}

/// A decimal number of any length, without zeros at its end: the text of `12.35`, which Go would print as `247/20`.
fn decimal(bytes: &[u8], scale: usize) -> Option<String> {
    if bytes.len() > DECIMAL_BYTES_MAX || scale > DECIMAL_SCALE_MAX {
        return None;
    }
    let number = BigDecimal::new(BigInt::from_signed_bytes_be(bytes), scale as i64);
    Some(number.normalized().to_plain_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schema, bytes and text as Conduit's own library makes and reads them (conduit-commons 0.6.0, hamba/avro 2.31.0), but for
    /// decimal numbers, which it prints as `247/20`, `-1/8` and `-617/500`.
    const GOLDEN: [(&str, &str, &str); 6] = [
        (
            r#"{"name":"record","type":"record","fields":[{"name":"b","type":"boolean"},{"name":"d","type":"double"},{"name":"f","type":"float"},{"name":"fixed","type":{"name":"record.fixed","type":"fixed","size":4}},{"name":"i","type":"long"},{"name":"n","type":"int"},{"name":"nil","type":["null","string"]},{"name":"ptr","type":["null","string"]},{"name":"raw","type":"bytes"},{"name":"s","type":"string"},{"name":"small","type":"double"}]}"#,
            "0150efe2d6e41a4b449a99993f010203fffeffffffffffffffff01090002027806ff00010c61223cc3a90a48afbc9af2d77a3e",
            r#"{"b":true,"d":1e+21,"f":1.2,"fixed":[1,2,3,255],"i":9223372036854775807,"n":-5,"nil":null,"ptr":"x","raw":"/wAB","s":"a\"\u003cé\n","small":1e-07}"#,
        ),
        (
            r#"{"name":"record","type":"record","fields":[{"name":"dec","type":["null",{"type":"bytes","logicalType":"decimal","precision":31,"scale":10}]},{"name":"dur","type":{"type":"long","logicalType":"time-micros"}},{"name":"int","type":["null",{"type":"bytes","logicalType":"decimal","precision":31,"scale":10}]},{"name":"neg","type":["null",{"type":"bytes","logicalType":"decimal","precision":31,"scale":10}]},{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"t0","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"w","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"zero","type":["null",{"type":"bytes","logicalType":"decimal","precision":31,"scale":10}]}]}"#,
            "020a1cc12c73008ed8eb9d28020c02ba7def30000208b57e8380809884be8da18906bf843d80808982e2f58606020200",
            r#"{"dec":"12.35","dur":5400000007000,"int":"300","neg":"-0.125","t":"2024-02-29T12:30:15.123456Z","t0":"1969-12-31T23:59:59.5Z","w":"2024-01-01T00:00:00Z","zero":"0"}"#,
        ),
        (
            r#"{"name":"record","type":"record","fields":[{"name":"e","type":{"type":"array","items":["null","string"]}},{"name":"em","type":{"type":"map","values":["null","string"]}},{"name":"ints","type":{"type":"array","items":"long"}},{"name":"l","type":{"type":"array","items":["int","null","string",{"type":"array","items":["boolean","null"]}]}},{"name":"m","type":{"type":"map","values":["int","null","string"]}},{"name":"mm","type":{"type":"map","values":["null",{"type":"map","values":["long","null"]}]}},{"name":"o","type":{"name":"record.o","type":"record","fields":[{"name":"k","type":"long"},{"name":"o","type":{"name":"record.o.o","type":"record","fields":[{"name":"k","type":"string"}]}}]}}]}"#,
            "00000304020400071800020402780206010400010000051c026e02027a00020261040674776f0001140271020108027200060000020276",
            r#"{"e":[],"em":{},"ints":[1,2],"l":[1,"x",null,[true]],"m":{"a":"two","n":null,"z":1},"mm":{"q":{"r":3}},"o":{"k":1,"o":{"k":"v"}}}"#,
        ),
        (
            r#"{"type":"record","name":"r","namespace":"a.b","fields":[{"name":"day","type":{"type":"int","logicalType":"date"}},{"name":"tm","type":{"type":"int","logicalType":"time-millis"}},{"name":"en","type":{"type":"enum","name":"E","symbols":["A","B"]}},{"name":"en2","type":"E"},{"name":"u","type":{"type":"string","logicalType":"uuid"}},{"name":"fd","type":{"type":"fixed","name":"FD","size":4,"logicalType":"decimal","precision":8,"scale":3}},{"name":"lm","type":{"type":"long","logicalType":"local-timestamp-micros"}}]}"#,
            "8739b81702004836626137623831302d396461642d313164312d383062342d303063303466643433306338fffffb2e88e3cce0fdf58606",
            r#"{"day":"1960-01-02T00:00:00Z","en":"B","en2":"A","fd":"-1.234","lm":"2024-01-01T01:02:03.000004Z","tm":1500000000,"u":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}"#,
        ),
        (r#"{"type":"map","values":"long"}"#, "010602620100", r#"{"b":-1}"#),
        (
            r#"{"type":"record","name":"r","fields":[{"name":"d","type":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}}]}"#,
            "010000000200000003000000",
            r#"{"d":{"Months":1,"Days":2,"Milliseconds":3}}"#,
        ),
    ];

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    fn json(text: &str) -> serde_json::Value {
        serde_json::from_str(text).unwrap()
    }

    /// A record with one field of this type.
    fn of(field: &str) -> Schema {
        let text = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"d","type":{field}}}]}}"#);
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn values_are_what_the_go_sdk_has_of_them() {
        for (schema, hex, expected) in GOLDEN {
            let decoded = decode(&parse(schema.as_bytes()).unwrap(), &bytes(hex)).unwrap();
            assert_eq!(json(&decoded), json(expected), "{schema}");
        }
    }

    #[test]
    fn decimal_numbers_are_written_whole() {
        for (bytes, scale, expected) in [
            (&[][..], 10, "0"),
            (&[0, 0], 2, "0"),
            (&[0xfa], 0, "-6"),
            (&[0xff], 3, "-0.001"),
            (&[0x00, 0xfa], 2, "2.5"),
            (&[0x03, 0xe8], 0, "1000"),
            (&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0, "2361183241434822606847"),
        ] {
            assert_eq!(decimal(bytes, scale).as_deref(), Some(expected), "{bytes:?}");
        }
        assert_eq!(decimal(&[1; DECIMAL_BYTES_MAX + 1], 0), None);
        assert_eq!(decimal(&[1], DECIMAL_SCALE_MAX + 1), None);
    }

    #[test]
    fn every_union_is_its_value() {
        let schema = of(r#"["int",{"type":"record","name":"in","fields":[{"name":"x","type":"int"}]}]"#);
        assert_eq!(decode(&schema, &[2, 14]).unwrap(), r#"{"d":{"x":7}}"#);
    }

    #[test]
    fn blocks_may_tell_their_size_and_a_name_counts_once() {
        assert_eq!(decode(&of(r#"{"type":"array","items":"long"}"#), &[3, 4, 2, 4, 0]).unwrap(), r#"{"d":[1,2]}"#);
        let map = parse(br#"{"type":"map","values":"int"}"#).unwrap();
        assert_eq!(decode(&map, &[4, 2, b'a', 2, 2, b'a', 4, 0]).unwrap(), r#"{"a":2}"#);
    }

    #[test]
    fn what_json_has_not_is_refused() {
        for (field, hex, why) in [
            (r#""double""#, "010000000000f87f", "NaN or Infinity"),
            (r#""float""#, "0000807f", "NaN or Infinity"),
            (r#""string""#, "02ff", "not UTF-8"),
            (r#"{"type":"long","logicalType":"timestamp-micros"}"#, "80809bc79983a28407", "after 9999"),
            (r#""int""#, "feffffffff7f", "more than 32 bits"),
            (r#""long""#, "ffffffffffffffffff02", "more than 64 bits"),
            (r#""bytes""#, "01", "a length below 0"),
            (r#""boolean""#, "02", "neither 0 nor 1"),
            (r#"["null","int"]"#, "04", "a branch"),
            (r#"{"type":"enum","name":"E","symbols":["A"]}"#, "02", "a symbol"),
            (r#""null""#, "00", "1 bytes follow"),
        ] {
            let error = decode(&of(field), &bytes(hex)).unwrap_err();
            assert!(error.message().contains(why), "{field}: {}", error.message());
        }
        let number = parse(br#""long""#).unwrap();
        assert!(decode(&number, &[2]).unwrap_err().message().contains("not that of a record"));
        assert!(parse(b"{").is_err() && parse(&[0xff]).is_err());
    }

    #[test]
    fn few_bytes_that_stand_for_much_are_refused() {
        // 9,223,372,036,854,775,807 values of no bytes.
        let endless = bytes("feffffffffffffffff01");
        let error = decode(&of(r#"{"type":"array","items":"null"}"#), &endless).unwrap_err();
        assert!(error.message().contains("bytes of JSON"), "{}", error.message());
        let list = parse(br#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#).unwrap();
        assert_eq!(decode(&list, &[2, 2, 0]).unwrap(), r#"{"next":{"next":{"next":null}}}"#);
        assert!(decode(&list, &[2; 100_000]).unwrap_err().message().contains("too deep"));
        let itself = parse(br#"{"type":"record","name":"n","fields":[{"name":"n","type":"n"}]}"#).unwrap();
        assert!(decode(&itself, &[]).unwrap_err().message().contains("too deep"));
    }

    #[test]
    fn garbage_is_refused_and_never_worse() {
        let mut number = 0x9e37_79b9_7f4a_7c15_u64;
        for (schema, hex, _) in GOLDEN {
            let (schema, whole) = (parse(schema.as_bytes()).unwrap(), bytes(hex));
            for length in 0..whole.len() {
                assert!(decode(&schema, &whole[..length]).is_err(), "{length}");
            }
            for _ in 0..20_000 {
                let mut spoilt = whole.clone();
                for _ in 0..3 {
                    number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = (number >> 33) as usize % spoilt.len();
                    spoilt[at] = (number >> 24) as u8;
                }
                // Whatever comes of it is JSON, or a reason.
                if let Ok(decoded) = decode(&schema, &spoilt) {
                    json(&decoded);
                }
            }
        }
    }
}
