//! Owns how a row's bytes become the text of a JSON object. Leaves the decoding of values without parts to `apache_avro`.
//!
//! What values consist of is read here, since the crate would go as deep as the data lead it, make room for as many parts as
//! they announce, and forget the order of a map's entries.

use std::fmt::Display;
use std::io::Write as _;

use apache_avro::error::Details;
use apache_avro::types::Value;
use bigdecimal::num_bigint::{BigInt, Sign};

use super::input::{Fault, Input};
use super::shape::{At, Extent, Leaf, Shape, Shapes};
use super::walk::walk;
use crate::rows::decimal::with_point;
use crate::rows::moment::{self, Unit};
use crate::rows::output::{Full, JSON_BYTES_MAX, Output, TOO_LARGE};

/// Records, arrays and maps that may be within each other: below the depth of 127 at which readers of JSON stop.
const DEPTH_MAX: usize = 64;

/// Entries of maps in a row. While they are sorted, an entry of a few bytes takes a hundred.
const ENTRIES_MAX: usize = 1 << 20;

/// Bits and digits after the point of a decimal number, which takes time that grows with the square of its length. No
/// database has more than a thousand digits.
const DECIMAL_BITS_MAX: u64 = 1024;
const DECIMAL_SCALE_MAX: u64 = 512;

/// Why a row can't be read.
type Why = &'static str;

impl From<Fault> for Why {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Short => "it ends too early",
            Fault::Overlong => "it has a number of more than 64 bits",
        }
    }
}

impl From<Full> for Why {
    fn from(Full: Full) -> Self {
        TOO_LARGE
    }
}

/// A row that was read.
pub(super) struct Read {
    /// Bytes that it had.
    pub(super) used: usize,
    /// Its text, or why it has none although its end was found.
    pub(super) json: Result<String, Why>,
}

/// Reads a row, of which so many bytes of JSON are expected. Fails where its end can't be found, with no more than that many
/// steps.
pub(super) fn read(shapes: &Shapes, bytes: &[u8], expected: usize, steps: &mut usize) -> Result<Read, Why> {
    decode(shapes, bytes, expected).or_else(|why| {
        let used = walk(shapes, bytes, steps).ok_or(why)?;
        Ok(Read { used, json: Err(why) })
    })
}

fn decode(shapes: &Shapes, bytes: &[u8], expected: usize) -> Result<Read, Why> {
    let json = Output::new(JSON_BYTES_MAX, expected);
    let mut row = Row { shapes, input: Input::new(bytes), json, entries: 0, flaw: None };
    if shapes.is_object() {
        row.value(shapes.root, DEPTH_MAX)?;
    } else {
        row.json.put(b"{\"value\":")?;
        row.value(shapes.root, DEPTH_MAX)?;
        row.json.put(b"}")?;
    }
    let used = bytes.len() - row.input.rest().len();
    let json = match row.flaw {
        Some(why) => Err(why),
        None => String::from_utf8(row.json.into_bytes()).map_err(|_| NOT_UTF8),
    };
    Ok(Read { used, json })
}

const NOT_UTF8: Why = "it has a text that is not UTF-8";

struct Row<'a> {
    shapes: &'a Shapes,
    input: Input<'a>,
    json: Output,
    /// Of maps, so far.
    entries: usize,
    /// Why it has no text.
    flaw: Option<Why>,
}

impl<'a> Row<'a> {
    fn value(&mut self, at: At, depth: usize) -> Result<(), Why> {
        let shapes = self.shapes;
        match shapes.get(at) {
            Shape::Null => self.json.put(b"null")?,
            Shape::Leaf(leaf) => match self.leaf(leaf)? {
                Some(value) => self.put(value, leaf.scale)?,
                None => self.json.put(b"null")?,
            },
            // No union is in a union, so that this goes no deeper.
            Shape::Union(variants) => {
                let variant = usize::try_from(self.input.long()?).ok().and_then(|number| variants.get(number));
                self.value(*variant.ok_or("it has a branch that its union lacks")?, depth)?;
            }
            nested => self.nested(nested, depth.checked_sub(1).ok_or("it is more than 64 levels deep")?)?,
        }
        Ok(())
    }

    fn nested(&mut self, shape: &Shape, depth: usize) -> Result<(), Why> {
        match shape {
            Shape::Array(items) => self.array(*items, depth),
            Shape::Map(values) => self.map(*values, depth),
            Shape::Record(fields) => {
                self.json.put(b"{")?;
                for (before, value) in fields {
                    self.json.put(before.as_bytes())?;
                    self.value(*value, depth)?;
                }
                Ok(self.json.put(b"}")?)
            }
            Shape::Null | Shape::Leaf(_) | Shape::Union(_) => Err("it has a part that has no parts"),
        }
    }

    /// Parts may have no bytes; but each is some of JSON, so that not too many are read.
    fn array(&mut self, items: At, depth: usize) -> Result<(), Why> {
        let mut before: &[u8] = b"[";
        loop {
            let count = self.input.count()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                self.json.put(before)?;
                self.value(items, depth)?;
                before = b",";
            }
        }
        if before == b"[" {
            self.json.put(before)?;
        }
        Ok(self.json.put(b"]")?)
    }

    /// Names in order, and of one that is there twice the last.
    fn map(&mut self, values: At, depth: usize) -> Result<(), Why> {
        let shapes = self.shapes;
        self.json.put(b"{")?;
        let begin = self.json.len();
        let (mut entries, mut is_sorted) = (Vec::<(String, _)>::new(), true);
        loop {
            let count = self.input.count()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let Some(Value::String(name)) = self.leaf(&shapes.name)? else {
                    self.value(values, depth)?;
                    continue;
                };
                self.entries += 1;
                if self.entries > ENTRIES_MAX {
                    return Err("it has more than 1,048,576 entries of maps");
                }
                if let Some((last, _)) = entries.last() {
                    is_sorted &= *last < name;
                    self.json.put(b",")?;
                }
                let entry = self.json.len() - begin;
                self.json.put_text(&name)?;
                self.json.put(b":")?;
                self.value(values, depth)?;
                entries.push((name, entry..self.json.len() - begin));
            }
        }
        if !is_sorted {
            let written = self.json.split_off(begin);
            // Those of the same name stay in their order.
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            let mut before: &[u8] = b"";
            for (number, (name, entry)) in entries.iter().enumerate() {
                if entries.get(number + 1).is_none_or(|(next, _)| next != name) {
                    self.json.put(before)?;
                    self.json.put(&written[entry.clone()])?;
                    before = b",";
                }
            }
        }
        Ok(self.json.put(b"}")?)
    }

    /// A value without parts. `None` where it makes no sense, though its end is known.
    fn leaf(&mut self, leaf: &Leaf) -> Result<Option<Value>, Why> {
        self.check(leaf.extent)?;
        let mut rest = self.input.rest();
        let result = leaf.read(&mut rest);
        self.input = Input::new(rest);
        match result {
            // The crate takes the end of all data for this.
            Ok(Value::Null) => Err(Fault::Short.into()),
            Ok(value) => Ok(Some(value)),
            Err(why) => match why.details() {
                // Some writers put other bytes into texts. How many they are is clear all the same.
                Details::ConvertToUtf8(_) => {
                    self.flaw.get_or_insert(NOT_UTF8);
                    Ok(None)
                }
                Details::BoolValue(_) => Err("it has a truth that is neither 0 nor 1"),
                Details::GetEnumValue { .. } | Details::ConvertI32ToUsize(..) => {
                    Err("it has a symbol that its schema lacks")
                }
                Details::ZagI32(..) => Err("it has a number of more than 32 bits"),
                Details::IntegerOverflow => Err(Fault::Overlong.into()),
                Details::ReadVariableIntegerBytes(_) | Details::ReadFloat(_) | Details::ReadDouble(_) => {
                    Err(Fault::Short.into())
                }
                _ => Err("it has a value that can't be decoded"),
            },
        }
    }

    /// Looks whether as many bytes are there as a value should have: the crate makes room for them before it does.
    fn check(&self, extent: Extent) -> Result<(), Why> {
        let prefixed = |mut input: Input<'a>| -> Result<Input<'a>, Why> {
            let length = usize::try_from(input.long()?).map_err(|_| "it has a length that can't be")?;
            Ok(Input::new(input.take(length)?))
        };
        let mut input = self.input;
        match extent {
            Extent::Number => {}
            Extent::Fixed(size) => _ = input.take(size)?,
            Extent::Prefixed => _ = prefixed(input)?,
            Extent::PrefixedTwice => _ = prefixed(prefixed(input)?)?,
        }
        Ok(())
    }

    fn put(&mut self, value: Value, scale: usize) -> Result<(), Why> {
        match value {
            Value::Boolean(false) => self.json.put(b"false")?,
            Value::Boolean(true) => self.json.put(b"true")?,
            Value::Int(number) => self.put_number(number, true)?,
            Value::Long(number) => self.put_number(number, true)?,
            Value::Float(number) => self.put_number(number, number.is_finite())?,
            Value::Double(number) => self.put_number(number, number.is_finite())?,
            Value::String(text) | Value::Enum(_, text) => self.json.put_text(&text)?,
            Value::Bytes(bytes) | Value::Fixed(_, bytes) => self.json.put_base64(&bytes)?,
            Value::Decimal(number) => self.put_decimal(&number.into(), i64::try_from(scale).unwrap_or(i64::MAX))?,
            Value::BigDecimal(number) => {
                let (digits, scale) = number.into_bigint_and_exponent();
                self.put_decimal(&digits, scale)?;
            }
            Value::Uuid(uuid) => self.json.put_text(uuid.hyphenated().encode_lower(&mut [0; 36]))?,
            Value::Duration(duration) => {
                let (months, days, millis): (u32, u32, u32) =
                    (duration.months().into(), duration.days().into(), duration.millis().into());
                let text = format!("{{\"months\":{months},\"days\":{days},\"milliseconds\":{millis}}}");
                self.json.put(text.as_bytes())?;
            }
            Value::Date(days) => self.put_quoted(moment::date(i64::from(days)))?,
            Value::TimeMillis(time) => self.put_time(i64::from(time), Unit::Millis)?,
            Value::TimeMicros(time) => self.put_time(time, Unit::Micros)?,
            Value::TimestampMillis(time) => self.put_quoted(moment::timestamp(time, Unit::Millis, true))?,
            Value::TimestampMicros(time) => self.put_quoted(moment::timestamp(time, Unit::Micros, true))?,
            Value::TimestampNanos(time) => self.put_quoted(moment::timestamp(time, Unit::Nanos, true))?,
            Value::LocalTimestampMillis(time) => self.put_quoted(moment::timestamp(time, Unit::Millis, false))?,
            Value::LocalTimestampMicros(time) => self.put_quoted(moment::timestamp(time, Unit::Micros, false))?,
            Value::LocalTimestampNanos(time) => self.put_quoted(moment::timestamp(time, Unit::Nanos, false))?,
            Value::Null | Value::Union(..) | Value::Array(_) | Value::Map(_) | Value::Record(_) => {
                return Err("it has parts where there are none");
            }
        }
        Ok(())
    }

    /// A number, in the fewest digits that are read back as the same; what JSON has no number for is a text.
    fn put_number(&mut self, number: impl Display + serde::Serialize, is_finite: bool) -> Result<(), Full> {
        if is_finite {
            return Ok(serde_json::to_writer(&mut self.json, &number)?);
        }
        let text = match number.to_string().as_str() {
            "inf" => "\"Infinity\"",
            "-inf" => "\"-Infinity\"",
            _ => "\"NaN\"",
        };
        self.json.put(text.as_bytes())
    }

    /// A decimal number with all digits that its scale has.
    fn put_decimal(&mut self, number: &BigInt, scale: i64) -> Result<(), Full> {
        if number.bits() > DECIMAL_BITS_MAX || scale.unsigned_abs() > DECIMAL_SCALE_MAX {
            self.flaw.get_or_insert("it has a decimal number of too many digits");
            return self.json.put(b"null");
        }
        let mut digits = number.to_string();
        if scale < 0 && number.sign() != Sign::NoSign {
            digits.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        }
        self.put_quoted(with_point(&digits, usize::try_from(scale).unwrap_or_default()))
    }

    fn put_time(&mut self, time: i64, unit: Unit) -> Result<(), Full> {
        if !moment::is_time_of_day(time, unit) {
            self.flaw.get_or_insert("it has a time that no day has");
        }
        self.put_quoted(moment::time(time, unit))
    }

    /// What needs no escapes, as a text.
    fn put_quoted(&mut self, text: impl Display) -> Result<(), Full> {
        Ok(write!(self.json, "\"{text}\"")?)
    }
}
