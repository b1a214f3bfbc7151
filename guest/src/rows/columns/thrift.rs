//! Owns reading what [Thrift's compact protocol](https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)
//! wrote, as far as Parquet uses it. Leaves what the fields mean to others.
//!
//! Nothing is believed: a list is no longer than the bytes that are left, and what is passed over is nested no deeper than
//! anything that Parquet has.

use super::Why;

const SHORT: Why = "it ends too early";
const STRANGE: Why = "it has a field of another type than it should be";

/// Structs within structs that are passed over. Parquet nests five deep.
const DEPTH_MAX: usize = 32;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// A field of a struct, of which the value is to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) id: i16,
    kind: u8,
}

/// Bytes, of which some were read.
#[derive(Clone, Debug)]
pub(super) struct Thrift<'a> {
    rest: &'a [u8],
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads a struct. `take` gets each field, and must read or pass over its value.
    pub(super) fn fields(&mut self, mut take: impl FnMut(&mut Self, Field) -> Result<(), Why>) -> Result<(), Why> {
        let mut id = 0_i16;
        loop {
            let head = self.byte()?;
            let (step, kind) = (head >> 4, head & 0xf);
            if kind == 0 {
                return Ok(());
            }
            id = match step {
                0 => i16::try_from(self.zigzag()?).map_err(|_| STRANGE)?,
                step => id.checked_add(i16::from(step)).ok_or(STRANGE)?,
            };
            take(self, Field { id, kind })?;
        }
    }

    /// Reads a field that is a struct, as [`Self::fields`] does.
    pub(super) fn structure(
        &mut self,
        field: Field,
        take: impl FnMut(&mut Self, Field) -> Result<(), Why>,
    ) -> Result<(), Why> {
        if field.kind != STRUCT {
            return Err(STRANGE);
        }
        self.fields(take)
    }

    /// Reads the begin of a list of structs: how many follow.
    pub(super) fn structs(&mut self, field: Field) -> Result<usize, Why> {
        let (kind, count) = self.list(field)?;
        if kind != STRUCT && count > 0 {
            return Err(STRANGE);
        }
        Ok(count)
    }

    pub(super) fn long(&mut self, field: Field) -> Result<i64, Why> {
        match field.kind {
            I8 => Ok(i64::from(self.byte()? as i8)),
            I16 | I32 | I64 => self.zigzag(),
            _ => Err(STRANGE),
        }
    }

    pub(super) fn int(&mut self, field: Field) -> Result<i32, Why> {
        i32::try_from(self.long(field)?).map_err(|_| STRANGE)
    }

    /// Reads a number that can't be negative.
    pub(super) fn size(&mut self, field: Field) -> Result<usize, Why> {
        usize::try_from(self.int(field)?).map_err(|_| "it has a negative size")
    }

    pub(super) fn flag(&mut self, field: Field) -> Result<bool, Why> {
        match field.kind {
            TRUE => Ok(true),
            FALSE => Ok(false),
            _ => Err(STRANGE),
        }
    }

    pub(super) fn text(&mut self, field: Field) -> Result<&'a str, Why> {
        if field.kind != BINARY {
            return Err(STRANGE);
        }
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| "it has a name that is not UTF-8")
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, field: Field) -> Result<(), Why> {
        match field.kind {
            // The kind is the value.
            TRUE | FALSE => Ok(()),
            kind => self.skip_value(kind, DEPTH_MAX),
        }
    }

    fn skip_value(&mut self, kind: u8, depth: usize) -> Result<(), Why> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deep")?;
        match kind {
            TRUE | FALSE | I8 => self.take(1).map(drop),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.take(8).map(drop),
            UUID => self.take(16).map(drop),
            BINARY => {
                let length = self.count()?;
                self.take(length).map(drop)
            }
            LIST | SET => {
                let (kind, count) = self.list(Field { id: 0, kind })?;
                (0..count).try_for_each(|_| self.skip_value(kind, depth))
            }
            MAP => {
                let count = self.count()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.skip_value(kinds >> 4, depth)?;
                    self.skip_value(kinds & 0xf, depth)
                })
            }
            STRUCT => self.fields(|thrift, field| match field.kind {
                TRUE | FALSE => Ok(()),
                kind => thrift.skip_value(kind, depth),
            }),
            _ => Err(STRANGE),
        }
    }

    /// The kind of a list's values, and how many there are: no more than bytes, since each has some.
    fn list(&mut self, field: Field) -> Result<(u8, usize), Why> {
        if !matches!(field.kind, LIST | SET) {
            return Err(STRANGE);
        }
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.count()?,
            count => usize::from(count),
        };
        if count > self.rest.len() {
            return Err(SHORT);
        }
        Ok((head & 0xf, count))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Why> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Why> {
        let (first, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*first)
    }

    fn count(&mut self) -> Result<usize, Why> {
        usize::try_from(self.varint()?).map_err(|_| SHORT)
    }

    /// A number without a sign: seven bits per byte, the lowest first.
    fn varint(&mut self) -> Result<u64, Why> {
        varint(&mut self.rest)?.ok_or(SHORT)
    }

    /// A number with a sign, which is its lowest bit.
    fn zigzag(&mut self) -> Result<i64, Why> {
        Ok(unzigzag(self.varint()?))
    }
}

/// Takes a number without a sign: seven bits per byte, the lowest first. `None` where the bytes end within it.
pub(super) fn varint(rest: &mut &[u8]) -> Result<Option<u64>, Why> {
    let mut number = 0_u64;
    for (index, byte) in rest.iter().enumerate() {
        if index == 10 {
            return Err("it has a number of more than 64 bits");
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            *rest = &rest[index + 1..];
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// The number whose lowest bit is its sign.
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
