//! Owns rows as tables: which columns JSON objects have, how those grow, and how a batch of rows becomes a file. Leaves which
//! part of a record is its row, and where files go, to `destination`; reading such files to `rows`. Performs no I/O.
//!
//! A row is the text of a JSON object. It is parsed when it comes, to see whether it fits and which columns it adds, and once
//! more when its file is written, since only then all columns are known.

mod avro;
mod cell;
mod csv;
mod given;
mod json;
mod moment;
mod parquet;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::avro::write as write_avro;
pub use self::csv::write as write_csv;
pub use self::parquet::{codec, write as write_parquet};
pub use given::parse as parse_schema;
pub use json::{NoNames, names, without};
pub use schema::{Field, Fields, Scalar, Schema, Type, Unit};

/// Columns of a schema, those within structs, lists and maps included. A file of more is none that people read.
pub const COLUMNS_MAX: usize = 1000;

/// Structs, lists and maps within each other. Readers bound it too, and recursion is as deep.
pub const DEPTH_MAX: usize = 16;

/// Bytes of a column's name. Databases have 63 to 255.
pub const NAME_BYTES_MAX: usize = 255;

/// Values of a row: in a Parquet file's columns one takes up to 40 bytes, whatever the few bytes that it is in JSON.
pub const VALUES_MAX: usize = 1 << 20;

/// Why a row does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Names of fields from the outermost one.
    path: Vec<String>,
    why: String,
}

impl Misfit {
    fn new(why: impl Into<String>) -> Self {
        Self { path: Vec::new(), why: why.into() }
    }

    /// Whether its words begin with the name of a field.
    fn names_a_field(&self) -> bool {
        !self.path.is_empty()
    }

    /// The same of a field of that name.
    fn within(mut self, name: &str) -> Self {
        self.path.insert(0, shortened(name));
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "field `{}` ", self.path.join("."))?;
        }
        f.write_str(&self.why)
    }
}

/// A name as messages show it: hostile ones are longer than a log's line.
fn shortened(name: &str) -> String {
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    if name.chars().nth(64).is_some() { format!("{shown}…") } else { shown }
}
