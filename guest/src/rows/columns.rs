//! Owns Parquet as rows: where the footer and the row groups are, and how much of a file is in memory. Leaves requests for bytes
//! to `source`, and decoding values to the crate `parquet`.
//!
//! The crate believes a file: it makes room for as much as it announces, and ends the instance with an assertion where it breaks
//! a promise of the format. So footers and heads of pages are read here (`footer`, `thrift`, `pages`), pages are decompressed
//! here (`codec`) and looked at (`check`) before the crate decodes their levels and values, and those are put together here
//! (`shape`, `assembly`, `value`).

mod assembly;
mod check;
mod codec;
mod footer;
mod pages;
mod shape;
mod thrift;
mod value;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::Broken;
use footer::Chunk;
use pages::{Pages, Shared};
use shape::Member;
use value::Json;

/// Bytes of a footer. What is kept of it has a few times as many.
const FOOTER_BYTES_MAX: usize = 16 << 20;

/// Bytes of a row group, all of which are in memory: a quarter of the sandbox.
const GROUP_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a page, once it is decompressed. Some writers make one of a hundred million bytes per column and row group.
const PAGE_BYTES_MAX: usize = 128 << 20;

/// Bytes that the pages of all columns of a row group, and the values decoded of them, take at the same time. With the row group,
/// those that are requested ahead, the window of zstd and a row's text it leaves an eighth of the sandbox.
const MEMORY_BYTES_MAX: usize = 320 << 20;

/// Values of a column in a row, all of which are decoded together. Few rows of 64 MiB of JSON have as many.
const VALUES_MAX: usize = 1 << 22;

/// Values that a column decodes at a time, and all columns together.
const BATCH_MAX: usize = 1024;
const BATCHES_MAX: usize = 1 << 18;

/// Types within types. JSON's readers take some more.
const DEPTH_MAX: usize = 64;

/// Bytes at the end of a file that say how long its footer is.
const END_BYTES: usize = 8;

/// Why something can't be read.
type Why = &'static str;

/// What the end of an object holds.
#[derive(Debug)]
pub enum Opened {
    /// The footer.
    Footer(Footer),
    /// Too little: this many of the last bytes are needed.
    Needs(u64),
}

/// The footer of a file: its schema and its row groups. Clones share it.
#[derive(Clone, Debug)]
pub struct Footer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    columns: Vec<ColumnDescPtr>,
    groups: Vec<Group>,
    /// The columns of each row group.
    chunks: Vec<Vec<Chunk>>,
    members: Vec<Member>,
    rows: u64,
}

/// A row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Rows in it.
    pub rows: u64,
    /// Its first byte in the object.
    pub first: u64,
    /// Its bytes.
    pub length: u64,
}

impl Footer {
    /// Reads it out of the last bytes of an object of this size.
    ///
    /// # Errors
    ///
    /// [`Broken`] where the object is no Parquet file, or one that can't be read.
    pub fn open(size: u64, tail: Bytes) -> Result<Opened, Broken> {
        let Some(end) = tail.len().checked_sub(END_BYTES).map(|from| &tail[from..]) else {
            return if tail.len() as u64 == size {
                Err(no_parquet())
            } else {
                Ok(Opened::Needs(size.min(END_BYTES as u64)))
            };
        };
        match &end[4..] {
            b"PAR1" => {}
            b"PARE" => return Err(Broken::new("it is an encrypted Parquet file, which can't be read")),
            _ => return Err(no_parquet()),
        }
        let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize;
        if length > FOOTER_BYTES_MAX {
            return Err(Broken::new(format!("its footer has {length} bytes, more than {FOOTER_BYTES_MAX}")));
        }
        let needed = length + END_BYTES;
        if needed as u64 > size {
            return Err(no_parquet());
        }
        if needed > tail.len() {
            return Ok(Opened::Needs(needed as u64));
        }
        let bytes = tail.slice(tail.len() - needed..tail.len() - END_BYTES);
        let read = footer::read(&bytes)?;
        let (members, columns) = shape::root(&read.schema)?;
        let (mut groups, mut chunks, mut rows) = (Vec::new(), Vec::new(), 0_u64);
        for group in read.groups {
            let place = Group::of(&group, &columns, size)?;
            rows = rows.saturating_add(place.rows);
            groups.push(place);
            chunks.push(group.chunks);
        }
        Ok(Opened::Footer(Self(Arc::new(Inner { columns, groups, chunks, members, rows }))))
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.0.rows
    }

    /// Its row groups, in order.
    pub fn groups(&self) -> &[Group] {
        &self.0.groups
    }

    /// The rows of a group, without the first `skip`; `bytes` are the group's.
    ///
    /// # Errors
    ///
    /// [`Broken`] where they can't be read.
    pub fn read(&self, group: usize, bytes: Bytes, skip: u64) -> Result<Columns, Broken> {
        let inner = &*self.0;
        let (Some(place), Some(chunks)) = (inner.groups.get(group), inner.chunks.get(group)) else {
            return Err(Broken::new("it has fewer row groups than it had"));
        };
        let mut rows = Columns { footer: self.clone(), columns: None, left: place.rows, expected: 0 };
        if skip >= place.rows {
            // Some writers end an empty file with a group that has no pages.
            return Ok(rows);
        }
        let shared = Arc::new(Shared::new());
        let batch = (BATCHES_MAX / inner.columns.len().max(1)).clamp(1, BATCH_MAX);
        let mut columns = Vec::with_capacity(inner.columns.len());
        for (column, chunk) in inner.columns.iter().zip(chunks) {
            let within = || {
                let first = usize::try_from(chunk.first.checked_sub(place.first)?).ok()?;
                let end = first.checked_add(usize::try_from(chunk.length).ok()?)?;
                (end <= bytes.len()).then(|| bytes.slice(first..end))
            };
            let chunk_bytes = within().ok_or_else(|| damaged("a column lies outside of its row group"))?;
            let left = Arc::new(AtomicUsize::new(0));
            let pages = Pages::new(chunk_bytes, chunk.codec, column.clone(), shared.clone(), left.clone(), batch);
            columns.push(assembly::column(column.clone(), pages, left, batch));
        }
        let mut columns = assembly::Columns::new(columns);
        let mut closed = Json::closed();
        for _ in 0..skip {
            columns.row(&inner.members, &mut closed)?;
        }
        rows.left -= skip;
        rows.columns = Some(columns);
        Ok(rows)
    }
}

impl Group {
    /// The bytes that hold all columns of a group, which must lie within the object.
    fn of(group: &footer::Group, columns: &[ColumnDescPtr], size: u64) -> Result<Self, Broken> {
        let strange = || Broken::new("its footer names columns that lie outside of it");
        let rows = u64::try_from(group.rows).map_err(|_| strange())?;
        let types = columns.iter().map(|column| column.physical_type());
        if !group.chunks.iter().map(|chunk| chunk.physical).eq(types) {
            return Err(Broken::new("it has a row group with other columns than its schema"));
        }
        if columns.is_empty() && rows > 0 {
            return Err(Broken::new("it has rows without columns"));
        }
        let (mut first, mut end) = (u64::MAX, 0);
        for chunk in &group.chunks {
            let stop = chunk.first.checked_add(chunk.length).filter(|stop| *stop <= size).ok_or_else(strange)?;
            (first, end) = (first.min(chunk.first), end.max(stop));
        }
        let first = first.min(end);
        let length = end - first;
        if length > GROUP_BYTES_MAX {
            return Err(Broken::new(format!(
                "it has a row group of {length} bytes, more than {GROUP_BYTES_MAX}: write it with smaller ones"
            )));
        }
        // Nothing else bounds how many rows a column of one repeated value claims to have.
        Ok(Self { rows, first, length })
    }
}

/// Rows of a row group, one after the other, as the texts of JSON objects, or why a row has none. After an error there are no
/// more.
pub struct Columns {
    footer: Footer,
    columns: Option<assembly::Columns>,
    left: u64,
    /// Bytes of the last row.
    expected: usize,
}

impl Iterator for Columns {
    type Item = Result<Result<String, String>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let columns = self.columns.as_mut().filter(|_| self.left > 0)?;
        let mut json = Json::new(self.expected);
        if let Err(why) = columns.row(&self.footer.0.members, &mut json) {
            self.columns = None;
            return Some(Err(why));
        }
        self.left -= 1;
        let row = json.finish().map_err(str::to_owned);
        self.expected = row.as_ref().map_or(0, String::len);
        Some(Ok(row))
    }
}

fn no_parquet() -> Broken {
    Broken::new("it is no Parquet file")
}

fn damaged(why: Why) -> Broken {
    Broken::new(format!("its Parquet data can't be read: {why}"))
}

/// Without the text of an error that may quote values.
fn broken(why: &ParquetError) -> Broken {
    let text = why.to_string();
    let end = text.find("Bytes:").unwrap_or(text.len());
    Broken::new(format!("its Parquet data can't be read: {}", text[..end].trim_end()))
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
