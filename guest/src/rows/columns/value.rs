//! Owns what values without parts are in JSON, and the text of a row while it is written. Leaves which values a row has to
//! `assembly`.

use std::fmt::Display;
use std::io::Write as _;

use num_bigint::BigInt;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};

use super::Why;
use super::shape::Leaf;
use crate::rows::decimal::with_point;
use crate::rows::moment::{self, Unit};
use crate::rows::output::{Full, JSON_BYTES_MAX, Output, TOO_LARGE};

/// Bytes of a decimal number, which takes time that grows with the square of its length. No database has more than a thousand
/// digits.
const DECIMAL_BYTES_MAX: usize = 128;

/// The day from which `INT96` counts is noon of the year -4712; this is the number of 1970-01-01.
const JULIAN_DAY_OF_1970: i64 = 2_440_588;

const NANOS_OF_DAY: i64 = 86_400_000_000_000;

/// Where the name of a map's entry is in the text of a row, which is shorter than 32 bits can say.
pub(super) struct Name {
    begin: u32,
    end: u32,
}

/// The text of a row. After a flaw nothing is written, though the row's values are read to its end.
pub(super) struct Json {
    out: Output,
    flaw: Option<Why>,
}

impl Json {
    /// A text of which so many bytes are expected.
    pub(super) fn new(expected: usize) -> Self {
        Self { out: Output::new(JSON_BYTES_MAX, expected), flaw: None }
    }

    /// One that nothing is written to.
    pub(super) fn closed() -> Self {
        Self { out: Output::new(0, 0), flaw: Some("") }
    }

    /// All of it, or why the row can't be read.
    pub(super) fn finish(self) -> Result<String, Why> {
        match self.flaw {
            Some(why) => Err(why),
            None => String::from_utf8(self.out.into_bytes()).map_err(|_| NOT_UTF8),
        }
    }

    pub(super) fn put(&mut self, bytes: &str) {
        self.write(|out| out.put(bytes.as_bytes()));
    }

    /// Makes what follows the name of an entry. What is no text is named by the text of its JSON.
    pub(super) fn name(&mut self, write: impl FnOnce(&mut Self) -> Result<(), Why>) -> Result<Name, Why> {
        let at = self.out.len();
        write(self)?;
        if self.out.byte(at) != Some(b'"') && self.flaw.is_none() {
            let name = self.out.split_off(at);
            self.write(|out| out.put_text(&String::from_utf8_lossy(&name)));
        }
        Ok(Name { begin: at as u32, end: self.out.len() as u32 })
    }

    /// Drops entries of the map that was just written whose names others after them have.
    pub(super) fn keep_last(&mut self, entries: &[Name]) {
        let text = |entry: &Name| self.out.written().get(entry.begin as usize..entry.end as usize).unwrap_or_default();
        let (Some(first), None) = (entries.first(), self.flaw) else { return };
        if entries.is_sorted_by(|one, next| text(one) < text(next)) {
            return;
        }
        let mut order: Vec<_> = (0..entries.len()).collect();
        // Those of the same name stay in their order.
        order.sort_by_key(|entry| text(&entries[*entry]));
        let mut is_dropped = vec![false; entries.len()];
        for pair in order.windows(2) {
            is_dropped[pair[0]] = text(&entries[pair[0]]) == text(&entries[pair[1]]);
        }
        if !is_dropped.contains(&true) {
            return;
        }
        let begin = first.begin as usize;
        let written = self.out.split_off(begin);
        let mut separator = "";
        for (at, entry) in entries.iter().enumerate().filter(|(at, _)| !is_dropped[*at]) {
            // Between two of them is a comma.
            let end = entries.get(at + 1).map_or(written.len(), |next| next.begin as usize - begin - 1);
            self.put(separator);
            self.write(|out| out.put(&written[entry.begin as usize - begin..end]));
            separator = ",";
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut Output) -> Result<(), Full>) {
        if self.flaw.is_none() {
            self.flaw = write(&mut self.out).err().map(|Full| TOO_LARGE);
        }
    }

    fn fail(&mut self, why: Why) {
        self.flaw = self.flaw.or(Some(why));
    }

    fn number(&mut self, number: impl serde::Serialize) {
        self.write(|out| Ok(serde_json::to_writer(out, &number)?));
    }

    fn quoted(&mut self, text: impl Display) {
        self.write(|out| Ok(write!(out, "\"{text}\"")?));
    }

    /// The shortest number that reads back the same; JSON has no others than finite ones.
    fn real(&mut self, value: f64) {
        match value {
            _ if value.is_finite() => self.number(value),
            _ if value.is_nan() => self.put("\"NaN\""),
            _ => self.put(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }),
        }
    }

    fn whole(&mut self, value: i64, leaf: Leaf) {
        match leaf {
            Leaf::Date => self.quoted(moment::date(value)),
            Leaf::Decimal { scale } => self.decimal(&value.to_be_bytes(), scale),
            Leaf::Time(unit) => self.quoted(moment::time(value, unit)),
            Leaf::Timestamp { unit, is_utc } => self.quoted(moment::timestamp(value, unit, is_utc)),
            _ => self.number(value),
        }
    }

    fn bytes(&mut self, bytes: &[u8], leaf: Leaf) {
        match (leaf, bytes) {
            (Leaf::Text, _) => match std::str::from_utf8(bytes) {
                Ok(text) => self.write(|out| out.put_text(text)),
                Err(_) => self.fail(NOT_UTF8),
            },
            (Leaf::Uuid, [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _]) => self.quoted(uuid(bytes)),
            (Leaf::Half, [low, high]) => self.real(half(u16::from_le_bytes([*low, *high]))),
            (Leaf::Decimal { scale }, _) => self.decimal(bytes, scale),
            (Leaf::Interval, _) => self.interval(bytes),
            _ => self.write(|out| out.put_base64(bytes)),
        }
    }

    /// Three numbers of 32 bits, the same as a `duration` of Avro.
    fn interval(&mut self, bytes: &[u8]) {
        let ([months, days, milliseconds], []) = bytes.as_chunks::<4>() else {
            return self.fail("it has an interval of another size than 12 bytes");
        };
        let [months, days, milliseconds] = [months, days, milliseconds].map(|part| u32::from_le_bytes(*part));
        self.write(|out| Ok(write!(out, "{{\"months\":{months},\"days\":{days},\"milliseconds\":{milliseconds}}}")?));
    }

    /// A decimal number with all digits of its scale, from the bytes of its digits: `-0.05`.
    fn decimal(&mut self, bytes: &[u8], scale: usize) {
        if bytes.len() > DECIMAL_BYTES_MAX {
            return self.fail("it has a decimal number of more than 1024 bits");
        }
        // Nearly all have at most 38 digits.
        let digits = if bytes.len() <= 16 {
            let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
            let mut wide = [if is_negative { 0xff } else { 0 }; 16];
            wide[16 - bytes.len()..].copy_from_slice(bytes);
            i128::from_be_bytes(wide).to_string()
        } else {
            BigInt::from_signed_bytes_be(bytes).to_string()
        };
        self.quoted(with_point(&digits, scale));
    }
}

const NOT_UTF8: Why = "it has a text that is not UTF-8";

/// A value as the crate has it.
pub(super) trait Value {
    /// Writes it.
    fn put(&self, leaf: Leaf, json: &mut Json);
}

impl Value for bool {
    fn put(&self, _: Leaf, json: &mut Json) {
        json.put(if *self { "true" } else { "false" });
    }
}

impl Value for i32 {
    fn put(&self, leaf: Leaf, json: &mut Json) {
        match leaf {
            Leaf::Unsigned => json.number(*self as u32),
            _ => json.whole(i64::from(*self), leaf),
        }
    }
}

impl Value for i64 {
    fn put(&self, leaf: Leaf, json: &mut Json) {
        match leaf {
            Leaf::Unsigned => json.number(*self as u64),
            _ => json.whole(*self, leaf),
        }
    }
}

impl Value for Int96 {
    fn put(&self, _: Leaf, json: &mut Json) {
        let [low, high, day] = *self.data() else { return json.fail("it has an INT96 of another size") };
        // Years of Spark's go beyond those of nanoseconds in 64 bits.
        let nanos = (u64::from(high) << 32 | u64::from(low)) as i64;
        let days = i64::from(day as i32) - JULIAN_DAY_OF_1970 + nanos.div_euclid(NANOS_OF_DAY);
        let time = moment::time(nanos.rem_euclid(NANOS_OF_DAY), Unit::Nanos);
        json.quoted(format_args!("{}T{time}Z", moment::date(days)));
    }
}

impl Value for f32 {
    fn put(&self, _: Leaf, json: &mut Json) {
        // With no more digits than 32 bits have.
        if self.is_finite() { json.number(*self) } else { json.real(f64::from(*self)) }
    }
}

impl Value for f64 {
    fn put(&self, _: Leaf, json: &mut Json) {
        json.real(*self);
    }
}

impl Value for ByteArray {
    fn put(&self, leaf: Leaf, json: &mut Json) {
        json.bytes(self.data(), leaf);
    }
}

impl Value for FixedLenByteArray {
    fn put(&self, leaf: Leaf, json: &mut Json) {
        json.bytes(self.data(), leaf);
    }
}

/// A number of 16 bits: a sign, five bits of exponent and ten of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let value = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -value } else { value }
}

/// Sixteen bytes as `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_those_of_the_standard() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2_f64.powi(-24)),
            (0x0400, 2_f64.powi(-14)),
            (0x3555, 0.333_251_953_125),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits).to_bits(), f64::to_bits(value), "{bits:x}");
        }
        assert!(half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }
}
