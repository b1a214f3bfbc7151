//! Owns what a scalar of JSON is as a value of a column's type. Leaves which type a column has to `schema`.
//!
//! A value is taken only where it stays what it is: nothing is rounded, but for numbers with a fraction, which are the nearest
//! `double` (or `float`, where the schema says so), as nearly all readers of JSON take them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::json::{self, Kind};
use super::schema::{Scalar, Unit};
use super::{Misfit, moment};

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Bool(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    /// Without its point.
    Decimal(i128),
    Bytes(Cow<'a, [u8]>),
}

/// A scalar, as far as it tells what type it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    Bool,
    Long(i64),
    Double,
    /// A number that neither a `long` nor a `double` holds.
    Beyond,
    Text,
}

impl Seen {
    pub(super) fn of(json: &str, kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool,
            Kind::Number => Self::of_number(json),
            _ => Self::Text,
        }
    }

    fn of_number(json: &str) -> Self {
        if is_whole(json) {
            return json.parse().map_or(Self::Beyond, Self::Long);
        }
        if double(json).is_some() { Self::Double } else { Self::Beyond }
    }
}

/// Whether a number has neither fraction nor exponent.
fn is_whole(json: &str) -> bool {
    !json.contains(['.', 'e', 'E'])
}

fn double(json: &str) -> Option<f64> {
    json.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Whether a `double` has all digits of a number.
pub(super) fn is_exact(number: i64) -> bool {
    number as f64 as i128 == i128::from(number)
}

/// Reads a value of the type.
pub(super) fn read(scalar: Scalar, json: &str) -> Result<Cell<'_>, Misfit> {
    let kind = Kind::of(json);
    if matches!(kind, Kind::Object | Kind::List) {
        return Err(Misfit::new(format!("is {}, but its column holds {}", kind.name(), scalar.name())));
    }
    let cell = match scalar {
        Scalar::Text if kind == Kind::Text => Some(Cell::Bytes(bytes_of(json::text(json)?))),
        // What a number or a boolean is as a text is what it is in JSON.
        Scalar::Text => Some(Cell::Bytes(Cow::Borrowed(json.as_bytes()))),
        Scalar::Boolean | Scalar::Int | Scalar::Long { .. } | Scalar::Float | Scalar::Double if kind == Kind::Text => {
            of_word(scalar, &json::text(json)?)
        }
        Scalar::Boolean | Scalar::Int | Scalar::Long { .. } | Scalar::Float | Scalar::Double => of_value(scalar, json),
        Scalar::Decimal { precision, scale } => decimal(json, kind, precision, scale)?.map(Cell::Decimal),
        _ if kind != Kind::Text => None,
        _ => of_text(scalar, &json::text(json)?),
    };
    cell.ok_or_else(|| Misfit::new(format!("is {} that its column can't hold: {}", kind.name(), scalar.name())))
}

/// A boolean or a number.
fn of_value(scalar: Scalar, json: &str) -> Option<Cell<'static>> {
    match (scalar, Kind::of(json)) {
        (Scalar::Boolean, Kind::Bool) => Some(Cell::Bool(json == "true")),
        (Scalar::Int, Kind::Number) => integer(json)?.try_into().ok().map(Cell::Int),
        (Scalar::Long { .. }, Kind::Number) => integer(json).map(Cell::Long),
        (Scalar::Float, Kind::Number) => float(json).map(Cell::Float),
        (Scalar::Double, Kind::Number) => real(json).map(Cell::Double),
        _ => None,
    }
}

/// The same, written as a text: CSV has nothing else, and JSON has no other form of what is no number.
fn of_word(scalar: Scalar, text: &str) -> Option<Cell<'static>> {
    let number = match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        // What JSON would have as the value itself, and nothing around it.
        _ => {
            let value: &RawValue = serde_json::from_str(text).ok()?;
            return if value.get() == text { of_value(scalar, text) } else { None };
        }
    };
    match scalar {
        Scalar::Float => Some(Cell::Float(number as f32)),
        Scalar::Double => Some(Cell::Double(number)),
        _ => None,
    }
}

/// Values that JSON has as texts.
fn of_text(scalar: Scalar, text: &str) -> Option<Cell<'static>> {
    let bytes = |length: Option<usize>| {
        let bytes = STANDARD.decode(text).ok()?;
        length.is_none_or(|length| length == bytes.len()).then_some(Cell::Bytes(Cow::Owned(bytes)))
    };
    match scalar {
        Scalar::Uuid => is_uuid(text).then(|| Cell::Bytes(Cow::Owned(text.as_bytes().to_vec()))),
        Scalar::Bytes => bytes(None),
        Scalar::Fixed(length) => bytes(Some(length)),
        Scalar::Date => moment::date(text)?.try_into().ok().map(Cell::Int),
        Scalar::Time => units(moment::time(text)?, Unit::Micros),
        Scalar::Timestamp { unit, is_utc } => units(moment::timestamp(text, is_utc)?, unit),
        _ => None,
    }
}

/// Whether a text is a UUID as RFC 9562 writes it, in small or capital letters.
fn is_uuid(text: &str) -> bool {
    let is_right = |(place, byte): (usize, u8)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_right)
}

/// Nanoseconds as so many units, if they are whole ones.
fn units(nanos: i128, unit: Unit) -> Option<Cell<'static>> {
    let per_unit = match unit {
        Unit::Millis => 1_000_000,
        Unit::Micros => 1000,
    };
    if nanos % per_unit != 0 {
        return None;
    }
    (nanos / per_unit).try_into().ok().map(Cell::Long)
}

/// A number as a `double`, if it is one; whole ones with all their digits.
fn real(json: &str) -> Option<f64> {
    let is_inexact = is_whole(json) && !json.parse().is_ok_and(is_exact);
    if is_inexact { None } else { double(json) }
}

/// The same of 32 bits.
fn float(json: &str) -> Option<f32> {
    let is_exact = |number: i64| number as f32 as i128 == i128::from(number);
    let is_inexact = is_whole(json) && !json.parse().is_ok_and(is_exact);
    if is_inexact { None } else { real(json).map(|number| number as f32).filter(|number| number.is_finite()) }
}

/// A whole number, however it is written: `100`, `1e2` and `100.0` are one.
fn integer(json: &str) -> Option<i64> {
    json.parse().ok().or_else(|| unscaled(json, LONG_DIGITS, 0)?.try_into().ok())
}

/// Digits of a whole number of 64 bits at most.
const LONG_DIGITS: usize = 19;

/// A number with a fixed point, from a number or a text of it.
fn decimal(json: &str, kind: Kind, precision: usize, scale: usize) -> Result<Option<i128>, Misfit> {
    Ok(match kind {
        Kind::Number => unscaled(json, precision, scale),
        Kind::Text => unscaled(&json::text(json)?, precision, scale),
        _ => None,
    })
}

/// The digits of a decimal number with so many of them after the point, if none but zeros are left out.
fn unscaled(text: &str, precision: usize, scale: usize) -> Option<i128> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let first = digits.find(|digit| digit != '0').unwrap_or(digits.len());
    digits.drain(..first);
    if digits.is_empty() {
        return Some(0);
    }
    let shift = i64::try_from(scale).ok()?.checked_add(exponent)?.checked_sub(fraction.len() as i64)?;
    if shift < 0 {
        let kept = digits.len().checked_sub(usize::try_from(shift.unsigned_abs()).ok()?)?;
        if digits[kept..].bytes().any(|digit| digit != b'0') {
            return None;
        }
        digits.truncate(kept);
    }
    let zeros = usize::try_from(shift).unwrap_or_default();
    if digits.len().checked_add(zeros)? > precision {
        return None;
    }
    digits.extend(std::iter::repeat_n('0', zeros));
    digits.parse::<i128>().ok().map(|number| sign * number)
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_tell_their_types() {
        for (json, seen) in [
            ("true", Seen::Bool),
            ("-0", Seen::Long(0)),
            ("9223372036854775807", Seen::Long(i64::MAX)),
            ("9223372036854775808", Seen::Beyond),
            ("1.0", Seen::Double),
            ("1e3", Seen::Double),
            ("1e400", Seen::Beyond),
            ("\"1\"", Seen::Text),
        ] {
            assert_eq!(Seen::of(json, Kind::of(json)), seen, "{json}");
        }
        assert!(is_exact(1 << 53) && !is_exact((1 << 53) + 1) && is_exact(i64::MIN) && !is_exact(i64::MAX));
    }

    #[test]
    fn values_are_taken_only_as_what_they_are() {
        let long = Scalar::Long { is_wide: false };
        let micros = Scalar::Timestamp { unit: Unit::Micros, is_utc: true };
        let money = Scalar::Decimal { precision: 5, scale: 2 };
        let bytes = |bytes: &'static [u8]| Some(Cell::Bytes(Cow::Borrowed(bytes)));
        for (scalar, json, cell) in [
            (Scalar::Text, "\"a\\n\"", bytes(b"a\n")),
            (Scalar::Text, "1.50", bytes(b"1.50")),
            (Scalar::Text, "\"\\ud800\"", None),
            (Scalar::Text, "{}", None),
            (Scalar::Uuid, "\"123e4567-E89b-12d3-a456-426614174000\"", bytes(b"123e4567-E89b-12d3-a456-426614174000")),
            (Scalar::Uuid, "\"x\"", None),
            (Scalar::Uuid, "\"123e4567e-89b-12d3-a456-426614174000\"", None),
            (Scalar::Uuid, "\"123e4567-e89b-12d3-a456-42661417400g\"", None),
            (Scalar::Uuid, "1", None),
            (Scalar::Boolean, "true", Some(Cell::Bool(true))),
            (Scalar::Boolean, "1", None),
            (Scalar::Boolean, "\"false\"", Some(Cell::Bool(false))),
            (Scalar::Boolean, "\"no\"", None),
            (Scalar::Int, "2147483648", None),
            (long, "1.0", Some(Cell::Long(1))),
            (long, "-1.20e1", Some(Cell::Long(-12))),
            (long, "\"1e2\"", Some(Cell::Long(100))),
            (long, "1.5", None),
            (long, "1e-1", None),
            (long, "9223372036854775808.0", None),
            (long, "1e19", None),
            (Scalar::Int, "1e9", Some(Cell::Int(1_000_000_000))),
            (Scalar::Int, "1e10", None),
            (Scalar::Float, "16777216", Some(Cell::Float(16_777_216.0))),
            (Scalar::Float, "16777217", None),
            (Scalar::Float, "\"16777217\"", None),
            (long, "-5", Some(Cell::Long(-5))),
            (long, "\"-5\"", Some(Cell::Long(-5))),
            (long, "\"007\"", None),
            (long, "\"+5\"", None),
            (long, "\" 5\"", None),
            (long, "\"\"", None),
            (long, "\"NaN\"", None),
            (Scalar::Double, "\"12.50\"", Some(Cell::Double(12.5))),
            (Scalar::Double, "\"9007199254740993\"", None),
            (Scalar::Float, "\"1e300\"", None),
            (Scalar::Double, "9007199254740993", None),
            (Scalar::Double, "1e400", None),
            (Scalar::Double, "\"Infinity\"", Some(Cell::Double(f64::INFINITY))),
            (Scalar::Float, "1e300", None),
            (Scalar::Float, "0.5", Some(Cell::Float(0.5))),
            (Scalar::Bytes, "\"/w==\"", bytes(b"\xff")),
            (Scalar::Bytes, "\"/w\"", None),
            (Scalar::Fixed(2), "\"/w==\"", None),
            (Scalar::Date, "\"1970-01-02\"", Some(Cell::Int(1))),
            (Scalar::Date, "1", None),
            (Scalar::Time, "\"00:00:00.000001\"", Some(Cell::Long(1))),
            (micros, "\"1970-01-01T00:00:01.5Z\"", Some(Cell::Long(1_500_000))),
            (micros, "\"1970-01-01T00:00:00.0000015Z\"", None),
            (micros, "\"1970-01-01T00:00:00\"", None),
            (money, "12.3", Some(Cell::Decimal(1230))),
            (money, "\"-12.300\"", Some(Cell::Decimal(-1230))),
            (money, "1.2e1", Some(Cell::Decimal(1200))),
            (money, "12.345", None),
            (money, "1000", None),
            (money, "0e999999999", Some(Cell::Decimal(0))),
            (money, "1e9223372036854775807", None),
            (money, "\"\"", None),
        ] {
            assert_eq!(read(scalar, json).ok(), cell, "{scalar:?} {json}");
        }
    }
}
