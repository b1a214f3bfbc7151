//! Owns what must be true of a page before the crate decodes it: lengths within it, and no more values than it has. Leaves the
//! values to the crate, which believes these numbers or ends the instance with an assertion where they are wrong.

use std::iter;

use parquet::basic::{Encoding, Type as Physical};

use super::thrift::{unzigzag, varint};
use super::{PAGE_BYTES_MAX, Why};

const SHORT: Why = "a page ends too early";
const COUNT: Why = "a page has another number of values than it says";

/// Values of a block of deltas. Writers have up to some thousands.
const BLOCK_VALUES_MAX: u64 = 1 << 20;

/// Lengths of a page's values, all of which the crate keeps. Writers begin another page after some ten thousand.
const LENGTHS_MAX: usize = 1 << 23;

/// Values that follow each other, of bits each: either one that is repeated, or packed.
/// <https://github.com/apache/parquet-format/blob/master/Encodings.md#RLE>
struct Runs<'a> {
    rest: &'a [u8],
    width: usize,
}

enum Run<'a> {
    Repeated { value: u64, count: usize },
    Packed { bytes: &'a [u8], count: usize },
}

impl<'a> Runs<'a> {
    fn new(rest: &'a [u8], width: usize) -> Self {
        Self { rest, width }
    }

    fn next(&mut self) -> Result<Option<Run<'a>>, Why> {
        let Some(head) = varint(&mut self.rest)? else {
            return Ok(None);
        };
        let count = usize::try_from(head >> 1).map_err(|_| COUNT)?;
        if head & 1 == 0 {
            // Some writers fill up with zeros, which are runs of none.
            let bytes = if head == 0 { 0 } else { self.width.div_ceil(8) };
            let (value, rest) = self.rest.split_at_checked(bytes).ok_or(SHORT)?;
            self.rest = rest;
            let value = value.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            return Ok(Some(Run::Repeated { value, count }));
        }
        let (count, bytes) = (count.checked_mul(8).ok_or(COUNT)?, count.checked_mul(self.width).ok_or(COUNT)?);
        // Some writers cut off what the last group has too much.
        let (bytes, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        let count = (bytes.len() * 8).checked_div(self.width).map_or(count, |there| there.min(count));
        Ok(Some(Run::Packed { bytes, count }))
    }
}

/// Levels of so many bits each, of which there are no more than eight: types are not nested that deep.
fn unpack_levels(bytes: &[u8], width: usize) -> impl Iterator<Item = u64> {
    let (mask, mut at) = ((1_u16 << width.min(8)) - 1, 0);
    iter::repeat_with(move || {
        let (byte, bit) = (at / 8, at % 8);
        at += width;
        let pair = [byte, byte + 1].map(|at| bytes.get(at).copied().unwrap_or_default());
        u64::from(u16::from_le_bytes(pair) >> bit & mask)
    })
}

/// Numbers of so many bits each.
fn unpack(bytes: &[u8], width: usize) -> impl Iterator<Item = u64> {
    let mask = if width < 64 { (1 << width) - 1 } else { u64::MAX };
    let mut at = 0;
    iter::repeat_with(move || {
        let (byte, bit) = (at / 8, at % 8);
        at += width;
        // 64 bits that begin within a byte end in a ninth.
        let window = bytes.get(byte..).unwrap_or_default();
        let window = &window[..window.len().min(9)];
        let wide = window.iter().rev().fold(0_u128, |wide, byte| wide << 8 | u128::from(*byte));
        (wide >> bit) as u64 & mask
    })
}

/// Bits of numbers up to this one.
fn width_of(max: i16) -> usize {
    (u16::BITS - max.unsigned_abs().leading_zeros()) as usize
}

/// How many of the definition levels of a page say that there is a value.
pub(super) fn present(levels: &[u8], max: i16, count: usize) -> Result<usize, Why> {
    let (mut left, mut present) = (count, 0);
    let width = width_of(max);
    let mut runs = Runs::new(levels, width);
    while left > 0 {
        let run = runs.next()?.ok_or("a page has fewer levels than values")?;
        let (count, highest) = match run {
            Run::Repeated { value, count } => {
                let count = count.min(left);
                present += if value == max as u64 { count } else { 0 };
                (count, if count > 0 { value } else { 0 })
            }
            Run::Packed { bytes, count } if width == 1 => {
                let count = count.min(left);
                let (whole, rest) = bytes.split_at((count / 8).min(bytes.len()));
                present += whole.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
                let odd = rest.first().map_or(0, |byte| byte & ((1 << (count % 8)) - 1));
                present += odd.count_ones() as usize;
                (count, 1)
            }
            Run::Packed { bytes, count } => {
                let count = count.min(left);
                let mut highest = 0;
                for level in unpack_levels(bytes, width).take(count) {
                    present += usize::from(level == max as u64);
                    highest = highest.max(level);
                }
                (count, highest)
            }
        };
        if highest > max as u64 {
            return Err("a page has a level that its column does not have");
        }
        left -= count;
    }
    Ok(present)
}

/// Rows of a column that is repeated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rows {
    /// Values of the last row, in this page and those before.
    pub(super) last: usize,
    /// Values of the longest row.
    pub(super) longest: usize,
    /// Whether the page begins within a row.
    pub(super) continues: bool,
}

impl Rows {
    /// What the repetition levels of a page say, after those of others. The crate looks at all of them, however many it needs.
    pub(super) fn read(self, levels: &[u8], max: i16, count: usize) -> Result<Self, Why> {
        let width = width_of(max);
        let (mut left, mut runs) = (count, Runs::new(levels, width));
        let mut rows = Self { longest: 0, continues: false, ..self };
        while let Some(run) = runs.next()? {
            let is_first = left == count;
            match run {
                Run::Repeated { value: 0, count } if count > 0 => {
                    rows.longest = rows.longest.max(rows.last);
                    rows.last = 1;
                    left = left.saturating_sub(count);
                }
                Run::Repeated { value, count } => {
                    rows.continues |= is_first && count > 0;
                    if count > 0 && value > max as u64 {
                        return Err("a page has a level that its column does not have");
                    }
                    let count = count.min(left);
                    rows.last = rows.last.saturating_add(count);
                    left -= count;
                }
                Run::Packed { bytes, count } => {
                    let count = count.min(left);
                    for (index, level) in unpack_levels(bytes, width).take(count).enumerate() {
                        if level == 0 {
                            rows.longest = rows.longest.max(rows.last);
                            rows.last = 1;
                        } else {
                            rows.continues |= is_first && index == 0;
                            rows.last = rows.last.saturating_add(1);
                        }
                    }
                    left -= count;
                }
            }
        }
        if left > 0 {
            return Err("a page has fewer levels than values");
        }
        rows.longest = rows.longest.max(rows.last);
        Ok(rows)
    }
}

/// Values of a page, without its levels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    pub(super) physical: Physical,
    /// Bytes of a value whose type has a fixed number of them.
    pub(super) width: usize,
    pub(super) encoding: Encoding,
    pub(super) bytes: &'a [u8],
    /// Values that are not null.
    pub(super) count: usize,
}

/// Bytes that values take in addition to those of their page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grown {
    /// Of what the crate keeps of all of them.
    pub(super) held: usize,
    /// Of all of them together.
    pub(super) total: usize,
    /// Of the longest one.
    pub(super) longest: usize,
}

impl Values<'_> {
    /// Whether the crate can decode them. What it checks itself is left to it.
    pub(super) fn check(self) -> Result<Grown, Why> {
        let mut grown = Grown::default();
        match self.encoding {
            Encoding::PLAIN => self.plain()?,
            Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => {
                let (width, runs) = self.bytes.split_first().ok_or(SHORT)?;
                runs_of(runs, usize::from(*width), self.count)?;
            }
            Encoding::RLE => {
                let (length, runs) = self.bytes.split_first_chunk().ok_or(SHORT)?;
                let runs = runs.get(..u32::from_le_bytes(*length) as usize).ok_or(SHORT)?;
                runs_of(runs, 1, self.count)?;
            }
            Encoding::DELTA_BINARY_PACKED => {
                Deltas::new(self.bytes, self.count)?.numbers()?;
            }
            Encoding::DELTA_LENGTH_BYTE_ARRAY => {
                lengths(self.bytes, self.count, |_| Ok(()))?;
                grown.held = self.count * size_of::<u32>();
            }
            Encoding::DELTA_BYTE_ARRAY => grown = self.prefixed()?,
            Encoding::BYTE_STREAM_SPLIT => {
                let needed = self.count.checked_mul(self.width.max(1)).ok_or(COUNT)?;
                if needed > self.bytes.len() || !self.bytes.len().is_multiple_of(self.width.max(1)) {
                    return Err(COUNT);
                }
            }
            _ => {}
        }
        Ok(grown)
    }

    fn plain(self) -> Result<(), Why> {
        if self.physical != Physical::BYTE_ARRAY {
            return Ok(());
        }
        let mut rest = self.bytes;
        for _ in 0..self.count {
            let (length, values) = rest.split_first_chunk().ok_or(SHORT)?;
            rest = values.get(u32::from_le_bytes(*length) as usize..).ok_or(SHORT)?;
        }
        Ok(())
    }

    /// Values of which each has some of the bytes that the one before it begins with.
    fn prefixed(self) -> Result<Grown, Why> {
        let mut prefixes = Vec::new();
        let end = Deltas::new(self.bytes, self.count)?.lengths(|prefix| {
            prefixes.push(prefix as u32);
            Ok(())
        })?;
        let mut grown = Grown { held: 2 * self.count * size_of::<u32>(), ..Grown::default() };
        let (mut before, mut prefixes) = (0_usize, prefixes.into_iter());
        let rest = self.bytes.get(end..).ok_or(SHORT)?;
        lengths(rest, self.count, |suffix| {
            let prefix = prefixes.next().map(|prefix| prefix as usize).filter(|prefix| *prefix <= before);
            let prefix = prefix.ok_or("a page has a value that repeats more of another one than there is")?;
            before = prefix.checked_add(suffix).ok_or(COUNT)?;
            grown.total = grown.total.saturating_add(before);
            grown.longest = grown.longest.max(before);
            if before > PAGE_BYTES_MAX {
                return Err("a page has a value of more than 128 MiB");
            }
            Ok(())
        })?;
        Ok(grown)
    }
}

/// Looks at runs up to the one that has the last value, and at the first one always, as the crate does.
fn runs_of(bytes: &[u8], width: usize, count: usize) -> Result<(), Why> {
    let (mut runs, mut left) = (Runs::new(bytes, width), count);
    loop {
        match runs.next()? {
            // The crate sees itself that there are too few.
            None => return Ok(()),
            Some(Run::Repeated { count, .. } | Run::Packed { count, .. }) => left = left.saturating_sub(count),
        }
        if left == 0 {
            return Ok(());
        }
    }
}

/// Looks at a page's lengths, and whether the bytes after them are as many.
fn lengths(bytes: &[u8], count: usize, mut take: impl FnMut(usize) -> Result<(), Why>) -> Result<(), Why> {
    let mut total = 0_usize;
    let end = Deltas::new(bytes, count)?.lengths(|length| {
        total = total.checked_add(length).ok_or(SHORT)?;
        take(length)
    })?;
    if total > bytes.len().saturating_sub(end) {
        return Err(SHORT);
    }
    Ok(())
}

/// Whole numbers, by how much each is more than the one before it.
/// <https://github.com/apache/parquet-format/blob/master/Encodings.md#DELTAENC>
struct Deltas<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
    first: i64,
    count: usize,
    groups: usize,
    per_group: usize,
}

impl<'a> Deltas<'a> {
    /// Reads the head. There must be as many numbers as values.
    fn new(bytes: &'a [u8], values: usize) -> Result<Self, Why> {
        let mut rest = bytes;
        let mut next = || varint(&mut rest)?.ok_or(SHORT);
        let (block, groups, count, first) = (next()?, next()?, next()?, unzigzag(next()?));
        if block > BLOCK_VALUES_MAX || groups == 0 || groups > block || block % groups != 0 {
            return Err("a page has blocks of an odd size");
        }
        if count != values as u64 {
            return Err(COUNT);
        }
        let (groups, per_group) = (groups as usize, (block / groups) as usize);
        Ok(Self { bytes, rest, first, count: values, groups, per_group })
    }

    /// Looks at the heads of the blocks. That there are too few bytes the crate sees itself.
    fn numbers(mut self) -> Result<(), Why> {
        let mut left = self.count.saturating_sub(1);
        while left > 0 {
            varint(&mut self.rest)?.ok_or(SHORT)?;
            let (widths, rest) = self.rest.split_at_checked(self.groups).ok_or(SHORT)?;
            self.rest = rest;
            for width in widths.iter().take(left.div_ceil(self.per_group)) {
                let bytes = usize::from(*width) * self.per_group / 8;
                self.rest = self.rest.get(bytes..).unwrap_or_default();
            }
            left = left.saturating_sub(self.groups * self.per_group);
        }
        Ok(())
    }

    /// Reads the numbers, which are lengths, as the crate does: with 32 bits. Returns after how many bytes they end.
    fn lengths(mut self, mut take: impl FnMut(usize) -> Result<(), Why>) -> Result<usize, Why> {
        if self.count > LENGTHS_MAX {
            return Err("a page has more than 8,388,608 lengths");
        }
        let wide = |_| "a page has a length of more than 32 bits";
        let mut take = |length: i32| take(usize::try_from(length).map_err(|_| "a page has a negative length")?);
        let mut last = i32::try_from(self.first).map_err(wide)?;
        if self.count > 0 {
            take(last)?;
        }
        let mut left = self.count.saturating_sub(1);
        while left > 0 {
            let least = i32::try_from(unzigzag(varint(&mut self.rest)?.ok_or(SHORT)?)).map_err(wide)?;
            let (widths, rest) = self.rest.split_at_checked(self.groups).ok_or(SHORT)?;
            self.rest = rest;
            for width in widths.iter().take(left.div_ceil(self.per_group)) {
                let width = usize::from(*width);
                if width > 32 {
                    return Err("a page has a length of more than 32 bits");
                }
                let (packed, rest) = self.rest.split_at_checked(width * self.per_group / 8).ok_or(SHORT)?;
                self.rest = rest;
                let count = left.min(self.per_group);
                for delta in unpack(packed, width).take(count) {
                    last = last.wrapping_add(least).wrapping_add(delta as i32);
                    take(last)?;
                }
                left -= count;
            }
        }
        Ok(self.bytes.len() - self.rest.len())
    }
}
