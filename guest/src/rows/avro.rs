//! Owns rows of Avro object container files ([the specification](https://avro.apache.org/docs/1.12.0/specification/)): a head
//! with the schema of all rows, then blocks of them. Leaves where the bytes come from to its users.
//!
//! Files are not trusted: how much they may announce, how deep and how long a row may be is bounded here and in `shape`,
//! `codec` and `value`.
//!
//! What becomes of a value:
//!
//! | Avro | JSON |
//! |---|---|
//! | record | an object, its fields in the order of the schema |
//! | map | an object, its names in order; of a name that is there twice the last value |
//! | any other value that is a row | `{"value": …}` |
//! | `null`, `boolean`, array | the same |
//! | union | its value |
//! | `int`, `long` | a number with all its digits |
//! | `float`, `double` | a number in the fewest digits that are read back as the same; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `string`, enum | a text |
//! | `bytes`, fixed | a text in base64 |
//! | `decimal`, `big-decimal` | a text with all digits of its scale: `"12.30"` |
//! | `uuid` | its text: of a `string` as it was written, of 16 bytes in lower case |
//! | `date` | `"2026-11-28"` |
//! | `time-millis`, `time-micros` | `"12:34:56.789"`, `"12:34:56.789012"` |
//! | `timestamp-millis`, `-micros`, `-nanos` | `"2026-11-28T12:34:56.789Z"`, with 3, 6 or 9 digits after the second |
//! | `local-timestamp-…` | the same without `Z` |
//! | `duration` | `{"months": 1, "days": 2, "milliseconds": 3}` |
//!
//! A year beyond 0 to 9999 has a sign: `"+12026-11-28"`. A logical type that the specification doesn't know, or not of that
//! type, is ignored, as it wants.

mod codec;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
mod input;
mod shape;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use std::sync::Arc;

use bytes::Bytes;
use codec::Codec;
use input::{Fault, Input};
use shape::Shapes;

use super::Broken;

/// What a container file begins with.
const MAGIC: [u8; 4] = *b"Obj\x01";

/// Bytes between blocks, the same in all of a file.
const SYNC_BYTES: usize = 16;

/// Bytes of a head. A schema of 1 MiB is its largest part; writers put what they like beside it.
const HEAD_BYTES_MAX: usize = 16 << 20;

/// Entries of a head, of which writers have a handful. They are read again whenever more bytes have come.
const HEAD_ENTRIES_MAX: u64 = 4096;

/// Bytes of a block, as it is stored and when it is decompressed. Writers begin another one after 4 to 64 KiB, or after a row,
/// of which a destination takes 64 MiB. Both forms, a window of zstd and the row as JSON fill less than half of a component's
/// memory of 1 GiB.
const BLOCK_BYTES_MAX: usize = 64 << 20;

/// Rows of a block. Rows of which each has a byte may be four times as many in a block; rows without any are announced in
/// whatever number.
const BLOCK_ROWS_MAX: u64 = 1 << 24;

/// Steps that the rows of a block may take in which something can't be read, besides four per byte: the parts of a row may
/// have no bytes, and be of any number. They take a fraction of a second.
const STEPS_MIN: usize = 1 << 22;

/// The head of a container file: the schema of its rows, how its blocks are compressed, and what stands between them.
pub struct AvroFile {
    shapes: Arc<Shapes>,
    codec: Codec,
    sync: [u8; SYNC_BYTES],
}

/// What a block begins with.
struct BlockHead {
    rows: u64,
    /// Bytes of its data.
    size: usize,
    /// Bytes before them.
    before: usize,
}

impl BlockHead {
    fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let mut input = Input::new(bytes);
        let mut long = || whole(input.long());
        let (Some(rows), Some(size)) = (long()?, long()?) else { return Ok(None) };
        let rows = u64::try_from(rows).ok().filter(|rows| *rows <= BLOCK_ROWS_MAX);
        let size = usize::try_from(size).ok().filter(|size| *size <= BLOCK_BYTES_MAX);
        match (rows, size) {
            (None, _) => Err(Broken::new("a block announces more than 16,777,216 rows, or fewer than none")),
            (_, None) => Err(Broken::new("a block announces more than 64 MiB, or fewer than none")),
            (Some(rows), Some(size)) => Ok(Some(Self { rows, size, before: bytes.len() - input.rest().len() })),
        }
    }

    fn needed(&self) -> usize {
        self.before + self.size + SYNC_BYTES
    }
}

/// `None` where more bytes are needed.
fn whole<T>(result: Result<T, Fault>) -> Result<Option<T>, Broken> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Short) => Ok(None),
        Err(Fault::Overlong) => Err(Broken::new("it announces a number of more than 64 bits")),
    }
}

impl AvroFile {
    /// Reads the head out of the file's first bytes. Returns it and the bytes that it has; `None` where they don't hold all
    /// of it.
    ///
    /// # Errors
    ///
    /// Where it is the head of no such file, or of one that can't be read.
    pub fn open(bytes: &[u8]) -> Result<Option<(Self, usize)>, Broken> {
        if bytes.iter().zip(MAGIC).any(|(byte, expected)| *byte != expected) {
            return Err(Broken::new("it is no Avro container file"));
        }
        // What is longer is not looked at, so that it ends too early.
        let head = bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes);
        let mut input = Input::new(head);
        let Some((meta, sync)) = read_head(&mut input)? else {
            return if bytes.len() < HEAD_BYTES_MAX { Ok(None) } else { Err(Broken::new(HEAD_TOO_LARGE)) };
        };
        let codec = Codec::of(meta.codec)?;
        let shapes = Shapes::parse(meta.schema.ok_or_else(|| Broken::new("its head has no schema"))?)?;
        Ok(Some((Self { shapes: Arc::new(shapes), codec, sync }, head.len() - input.rest().len())))
    }

    /// How many bytes the next block has in all. `None` where that isn't there to read.
    ///
    /// # Errors
    ///
    /// Where it announces more than a block may have.
    pub fn needed(&self, bytes: &[u8]) -> Result<Option<usize>, Broken> {
        Ok(BlockHead::read(bytes)?.map(|head| head.needed()))
    }

    /// Reads the next block, and returns the bytes that it has. `None` where they are not all there.
    ///
    /// What is wrong with the data of a block is told in place of its rows: blocks after it can be read nonetheless.
    ///
    /// # Errors
    ///
    /// Where it announces more than a block may have, or doesn't end where it should.
    pub fn block(&self, bytes: &[u8]) -> Result<Option<(usize, Block)>, Broken> {
        let Some(head) = BlockHead::read(bytes)? else { return Ok(None) };
        let Some(block) = bytes.get(head.before..head.needed()) else { return Ok(None) };
        let (data, sync) = block.split_at(head.size);
        if sync != self.sync {
            return Err(Broken::new("a block is not followed by the marker that all of the file are"));
        }
        let data = self.codec.decompress(data);
        if head.rows == 0 && data.as_ref().map_or(true, |data| !data.is_empty()) {
            return Err(Broken::new("a block without rows is not empty"));
        }
        Ok(Some((head.needed(), Block::new(self.shapes.clone(), data, head.rows))))
    }
}

const HEAD_TOO_LARGE: &str = "its head is larger than 16 MiB";

/// What matters of what is in a head.
#[derive(Default)]
struct Meta<'a> {
    schema: Option<&'a [u8]>,
    codec: Option<&'a [u8]>,
}

/// Reads a head: a map of names to bytes, and the marker between blocks.
fn read_head<'a>(input: &mut Input<'a>) -> Result<Option<(Meta<'a>, [u8; SYNC_BYTES])>, Broken> {
    let mut meta = Meta::default();
    let mut entries = 0_u64;
    if whole(input.take(MAGIC.len()))?.is_none() {
        return Ok(None);
    }
    loop {
        let Some(count) = whole(input.long())? else { return Ok(None) };
        if count == 0 {
            break;
        }
        // After a count below zero stands how many bytes so many entries have.
        if count < 0 && whole(input.long())?.is_none() {
            return Ok(None);
        }
        entries = entries.saturating_add(count.unsigned_abs());
        if entries > HEAD_ENTRIES_MAX {
            return Err(Broken::new("its head has more than 4096 entries"));
        }
        for _ in 0..count.unsigned_abs() {
            let Some(name) = read_bytes(input)? else { return Ok(None) };
            let Some(value) = read_bytes(input)? else { return Ok(None) };
            match name {
                b"avro.schema" => meta.schema = Some(value),
                b"avro.codec" => meta.codec = Some(value),
                _ => {}
            }
        }
    }
    let sync = whole(input.take(SYNC_BYTES))?.and_then(|sync| sync.try_into().ok());
    Ok(sync.map(|sync| (meta, sync)))
}

/// Reads bytes after their number.
fn read_bytes<'a>(input: &mut Input<'a>) -> Result<Option<&'a [u8]>, Broken> {
    let Some(length) = whole(input.long())? else { return Ok(None) };
    let length = usize::try_from(length).ok().filter(|length| *length <= HEAD_BYTES_MAX);
    whole(input.take(length.ok_or_else(|| Broken::new(HEAD_TOO_LARGE))?))
}

/// What couldn't be read of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Rows that it should have been: one, or all that are left of the block.
    pub rows: u64,
    /// Its bytes; none of a block that can't be decompressed.
    pub bytes: Bytes,
    /// Why, without a word of its content.
    pub why: String,
}

/// Rows of a block, the texts of JSON objects, one after the other.
pub struct Block {
    shapes: Arc<Shapes>,
    data: Result<Vec<u8>, &'static str>,
    /// Bytes of the data that were read.
    at: usize,
    rows: u64,
    /// Rows that may still be read.
    left: u64,
    /// Bytes of the last row's text.
    expected: usize,
    /// Steps that may still be taken to find the ends of rows that can't be read.
    steps: usize,
}

impl Block {
    fn new(shapes: Arc<Shapes>, data: Result<Vec<u8>, &'static str>, rows: u64) -> Self {
        let bytes = data.as_ref().map_or(0, Vec::len);
        Self { shapes, data, at: 0, rows, left: rows, expected: 0, steps: bytes.saturating_mul(4) + STEPS_MIN }
    }

    /// Rows in it.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What can't be read, of which the end is known or it is all that is left.
    fn unreadable(&self, begin: usize, end: Option<usize>, rows: u64, why: &str) -> Unreadable {
        let data = self.data.as_deref().unwrap_or_default();
        let bytes = data.get(begin..end.unwrap_or(data.len())).unwrap_or_default();
        Unreadable { rows, bytes: Bytes::copy_from_slice(bytes), why: why.to_owned() }
    }
}

impl Iterator for Block {
    type Item = Result<String, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.left;
        self.left = rows.checked_sub(1)?;
        let begin = self.at;
        let read = match &self.data {
            Ok(data) => {
                value::read(&self.shapes, data.get(begin..).unwrap_or_default(), self.expected, &mut self.steps)
            }
            Err(why) => Err(*why),
        };
        let read = match read {
            Ok(read) => read,
            Err(why) => {
                // Nobody knows where the next row begins.
                self.left = 0;
                return Some(Err(self.unreadable(begin, None, rows, why)));
            }
        };
        self.at += read.used;
        // What was read was something else than what was written.
        if self.left == 0 && self.data.as_ref().is_ok_and(|data| self.at < data.len()) {
            let why = "its block goes on after it, though it is the last row";
            return Some(Err(self.unreadable(begin, None, 1, why)));
        }
        let row = read.json.map_err(|why| self.unreadable(begin, Some(self.at), 1, why));
        self.expected = row.as_ref().map_or(0, String::len);
        Some(row)
    }
}
