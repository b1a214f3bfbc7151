//! Owns putting the columns' values together to rows: which value, list or null comes next, as the levels say. Leaves what they
//! are in JSON to `value`, and decoding them to the crate.
//!
//! Columns that contradict each other are an error: none of them is read beyond the row that the others are in.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::basic::Type as Physical;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type, Int96Type,
};
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescPtr;

use super::pages::Pages;
use super::shape::{Leaf, Member, Node, Repeated, Shape};
use super::value::{Json, Value};
use super::{Broken, Why, broken, damaged};

const CONTRADICTION: Why = "its columns contradict each other";

/// The columns of a row group, each at the same row.
pub(super) struct Columns(Vec<Box<dyn Column>>);

impl Columns {
    pub(super) fn new(columns: Vec<Box<dyn Column>>) -> Self {
        Self(columns)
    }

    /// Writes the next row. Fails where no other one can be read.
    pub(super) fn row(&mut self, members: &[Member], json: &mut Json) -> Result<(), Broken> {
        for column in &mut self.0 {
            column.begin().map_err(|why| broken(&why))?;
        }
        self.object(members, json).map_err(damaged)
    }

    fn object(&mut self, members: &[Member], json: &mut Json) -> Result<(), Why> {
        json.put("{");
        for (index, member) in members.iter().enumerate() {
            if index > 0 {
                json.put(",");
            }
            json.put(&member.name);
            self.node(&member.node, json)?;
        }
        json.put("}");
        Ok(())
    }

    fn node(&mut self, node: &Node, json: &mut Json) -> Result<(), Why> {
        let column = self.0.get_mut(node.first).ok_or(CONTRADICTION)?;
        let definition = column.definition().ok_or(CONTRADICTION)?;
        if node.there_from.is_some_and(|from| definition < from) {
            json.put("null");
            return self.pass(node.first..node.end);
        }
        match &node.shape {
            Shape::Leaf(leaf) => column.put(*leaf, json),
            Shape::Struct(members) => self.object(members, json),
            Shape::List(repeated, _) if definition < repeated.some_from => {
                json.put("[]");
                self.pass(node.first..node.end)
            }
            Shape::List(repeated, element) => {
                json.put("[");
                self.elements(node.first, *repeated, json, |columns, json| columns.node(element, json))?;
                json.put("]");
                Ok(())
            }
            Shape::Map(repeated, ..) if definition < repeated.some_from => {
                json.put("{}");
                self.pass(node.first..node.end)
            }
            Shape::Map(repeated, key, value) => {
                json.put("{");
                let mut entries = Vec::new();
                self.elements(node.first, *repeated, json, |columns, json| {
                    entries.push(json.name(|json| columns.node(key, json))?);
                    json.put(":");
                    columns.node(value, json)
                })?;
                json.keep_last(&entries);
                json.put("}");
                Ok(())
            }
        }
    }

    /// Writes elements for as long as the first of their columns goes on. Each takes at least one of its levels.
    fn elements(
        &mut self,
        first: usize,
        repeated: Repeated,
        json: &mut Json,
        mut put: impl FnMut(&mut Self, &mut Json) -> Result<(), Why>,
    ) -> Result<(), Why> {
        loop {
            put(self, json)?;
            if self.0.get(first).is_none_or(|column| column.repetition() < repeated.again_from) {
                return Ok(());
            }
            json.put(",");
        }
    }

    /// Passes over what stands for something that is not there.
    fn pass(&mut self, columns: Range<usize>) -> Result<(), Why> {
        self.0.get_mut(columns).ok_or(CONTRADICTION)?.iter_mut().try_for_each(|column| column.pass())
    }
}

/// A column with values of any type.
pub(super) trait Column {
    /// Goes to the next row.
    fn begin(&mut self) -> Result<(), ParquetError>;

    /// The definition level that comes next in the row.
    fn definition(&self) -> Option<i16>;

    /// The repetition level that comes next in the row; that of another row where this one ends.
    fn repetition(&self) -> i16;

    /// Passes over what has no value.
    fn pass(&mut self) -> Result<(), Why>;

    /// Writes the next value, which must be there.
    fn put(&mut self, leaf: Leaf, json: &mut Json) -> Result<(), Why>;
}

/// Makes a column of its pages. `left` says how much of the current page was not read.
pub(super) fn column(column: ColumnDescPtr, pages: Pages, left: Arc<AtomicUsize>, batch: usize) -> Box<dyn Column> {
    fn typed<T: DataType<T: Value>>(
        column: ColumnDescPtr,
        pages: Pages,
        left: Arc<AtomicUsize>,
        batch: usize,
    ) -> Box<dyn Column> {
        Box::new(Typed::<T> {
            max_definition: column.max_def_level(),
            is_repeated: column.max_rep_level() > 0,
            reader: ColumnReaderImpl::new(column, Box::new(pages)),
            left,
            batch,
            definitions: Vec::new(),
            repetitions: Vec::new(),
            values: Vec::new(),
            levels: 0,
            at: 0,
            at_value: 0,
        })
    }
    match column.physical_type() {
        Physical::BOOLEAN => typed::<BoolType>(column, pages, left, batch),
        Physical::INT32 => typed::<Int32Type>(column, pages, left, batch),
        Physical::INT64 => typed::<Int64Type>(column, pages, left, batch),
        Physical::INT96 => typed::<Int96Type>(column, pages, left, batch),
        Physical::FLOAT => typed::<FloatType>(column, pages, left, batch),
        Physical::DOUBLE => typed::<DoubleType>(column, pages, left, batch),
        Physical::BYTE_ARRAY => typed::<ByteArrayType>(column, pages, left, batch),
        Physical::FIXED_LEN_BYTE_ARRAY => typed::<FixedLenByteArrayType>(column, pages, left, batch),
    }
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    left: Arc<AtomicUsize>,
    batch: usize,
    max_definition: i16,
    is_repeated: bool,
    /// What was decoded: some values of a page, or a row of what is repeated.
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<T::T>,
    /// How many there are, and where the next one is.
    levels: usize,
    at: usize,
    at_value: usize,
}

impl<T: DataType<T: Value>> Column for Typed<T> {
    fn begin(&mut self) -> Result<(), ParquetError> {
        if self.at < self.levels {
            // The crate ends a batch where a row does.
            return if self.is_repeated { Err(ParquetError::General(CONTRADICTION.to_owned())) } else { Ok(()) };
        }
        self.definitions.clear();
        self.repetitions.clear();
        self.values.clear();
        (self.levels, self.at, self.at_value) = (0, 0, 0);
        // Values refer to their page: those of one page alone are decoded together. Of a page that is still to be read nobody
        // knows how many it has, so it is begun with one.
        let rows = if self.is_repeated { 1 } else { self.left.load(Ordering::Relaxed).clamp(1, self.batch) };
        while self.levels == 0 {
            let definitions = (self.max_definition > 0).then_some(&mut self.definitions);
            let repetitions = self.is_repeated.then_some(&mut self.repetitions);
            let (read, _, levels) = self.reader.read_records(rows, definitions, repetitions, &mut self.values)?;
            if read == 0 && levels == 0 {
                return Err(ParquetError::General("a column ends before its row group".to_owned()));
            }
            self.levels = levels;
        }
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(self.levels), Ordering::Relaxed);
        Ok(())
    }

    fn definition(&self) -> Option<i16> {
        let level = self.definitions.get(self.at).copied();
        if self.max_definition > 0 { level } else { (self.at < self.levels).then_some(0) }
    }

    fn repetition(&self) -> i16 {
        self.repetitions.get(self.at).copied().unwrap_or_default()
    }

    fn pass(&mut self) -> Result<(), Why> {
        if self.definition().ok_or(CONTRADICTION)? >= self.max_definition {
            return Err(CONTRADICTION);
        }
        self.at += 1;
        Ok(())
    }

    fn put(&mut self, leaf: Leaf, json: &mut Json) -> Result<(), Why> {
        if self.definition() != Some(self.max_definition) {
            return Err(CONTRADICTION);
        }
        self.values.get(self.at_value).ok_or(CONTRADICTION)?.put(leaf, json);
        self.at += 1;
        self.at_value += 1;
        Ok(())
    }
}
