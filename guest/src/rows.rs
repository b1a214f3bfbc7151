//! Owns how the bytes of an object become rows: decompression, encodings, formats, and where in an object reading can go
//! on. Leaves requests for those bytes, and the records that rows become, to `source`. Performs no I/O.

mod avro;
mod columns;
mod csv;
mod decimal;
mod encoding;
mod extent;
mod format;
mod inflate;
mod json;
mod lines;
mod moment;
mod output;
mod text;
mod unique;
mod zstandard;

use bytes::Bytes;

pub use avro::{AvroFile, Block, Unreadable};
pub use columns::{Columns, Footer, Group, Opened};
pub use csv::{CsvOptions, Names};
pub use format::{Format, has_lines, has_tabs};
pub use inflate::Compression;
pub use json::JsonRows;
pub use text::{Form, Next, Text, TextOptions};

/// A row, or what should have been one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number in the object, from 1. What could not be read counts, too.
    pub number: u64,
    /// Where it begins in the object, in bytes, where that means something.
    pub byte: Option<u64>,
    /// What is in it.
    pub content: Content,
    /// Where reading goes on after it.
    pub next: Place,
}

impl Row {
    /// How many rows it stands for: several where they can't be read, and nothing tells where each begins.
    pub fn count(&self) -> u64 {
        (self.next.rows + 1).saturating_sub(self.number).max(1)
    }
}

/// What is in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes.
    Raw(Bytes),
    /// The text of a JSON object.
    Structured(String),
    /// It can't be read.
    Bad {
        /// Its bytes, as far as they are known.
        bytes: Bytes,
        /// Why, without a word of its content.
        why: String,
    },
}

/// Where in an object the next row is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Rows before it.
    pub rows: u64,
    /// Where to begin to read: a byte of the object, at which a frame of compressed data or a block begins where there are
    /// such; of Parquet, a row group.
    pub offset: u64,
    /// What to pass over from there: bytes of text, or rows of a block or row group.
    pub skip: u64,
    /// How a text is compressed there.
    pub compression: Compression,
}

/// Why no more rows can be read of an object: it is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Broken {
    /// What is wrong, without a word of its content.
    pub why: String,
}

impl Broken {
    /// An object that is broken for this reason.
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

#[cfg(test)]
mod tests;
