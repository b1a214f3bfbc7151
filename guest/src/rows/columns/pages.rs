//! Owns the pages of a column: their heads, decompression, and what they take of memory. Leaves what is in them to the crate,
//! after `check` has seen that it may look.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::basic::{Encoding, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnDescPtr, Type};

use super::check::{Grown, Rows, Values, present};
use super::codec::{Codec, Scratch};
use super::thrift::{Field, Thrift};
use super::{MEMORY_BYTES_MAX, PAGE_BYTES_MAX, VALUES_MAX, Why};

/// What the columns of a row group share.
pub(super) struct Shared {
    /// Bytes of pages and values that are in memory.
    used: AtomicUsize,
    scratch: Mutex<Scratch>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { used: AtomicUsize::new(0), scratch: Mutex::new(Scratch::new()) }
    }
}

/// The pages of a column of a row group.
pub(super) struct Pages {
    rest: Bytes,
    codec: Codec,
    column: ColumnDescPtr,
    shared: Arc<Shared>,
    /// Values of the page that were not read: those who read them count them down.
    left: Arc<AtomicUsize>,
    /// Values that are read at a time, where none is repeated.
    batch: usize,
    next: Option<Head>,
    /// Bytes of the dictionary, once there was one.
    dictionary: Option<usize>,
    is_begun: bool,
    rows: Rows,
    /// Bytes of pages before the last one that a row may keep in memory, and of that one, which the crate has until the next.
    kept: usize,
    last: usize,
    /// Bytes that are in `used`.
    held: usize,
}

/// What stands before a page.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Bytes of it.
    length: usize,
    kind: i32,
    size: usize,
    compressed: usize,
    values: usize,
    encoding: i32,
    /// How a page of the first version has its levels.
    definitions: i32,
    repetitions: i32,
    /// What a page of the second version says in addition.
    rows: usize,
    definition_bytes: usize,
    repetition_bytes: usize,
    is_compressed: bool,
}

const DATA: i32 = 0;
const INDEX: i32 = 1;
const DICTIONARY: i32 = 2;
const DATA_V2: i32 = 3;

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, Why> {
        let mut head = Self {
            length: 0,
            kind: -1,
            size: 0,
            compressed: 0,
            values: 0,
            encoding: -1,
            definitions: -1,
            repetitions: -1,
            rows: 0,
            definition_bytes: 0,
            repetition_bytes: 0,
            is_compressed: true,
        };
        let mut thrift = Thrift::new(bytes);
        let mut of_kind = 0;
        thrift.fields(|thrift, field| match field.id {
            1 => thrift.int(field).map(|value| head.kind = value),
            2 => thrift.size(field).map(|value| head.size = value),
            3 => thrift.size(field).map(|value| head.compressed = value),
            5 | 7 | 8 => {
                of_kind = field.id;
                thrift.structure(field, |thrift, inner| head.field(field.id, thrift, inner))
            }
            _ => thrift.skip(field),
        })?;
        head.length = bytes.len() - thrift.rest().len();
        let needed = match head.kind {
            DATA => 5,
            DICTIONARY => 7,
            DATA_V2 => 8,
            INDEX => of_kind,
            _ => return Err("a page is of an unknown kind"),
        };
        if of_kind != needed {
            return Err("a page does not say what is in it");
        }
        Ok(head)
    }

    fn field(&mut self, of: i16, thrift: &mut Thrift<'_>, field: Field) -> Result<(), Why> {
        match (of, field.id) {
            (5 | 7 | 8, 1) => self.values = thrift.size(field)?,
            (5 | 7, 2) | (8, 4) => self.encoding = thrift.int(field)?,
            (5, 3) => self.definitions = thrift.int(field)?,
            (5, 4) => self.repetitions = thrift.int(field)?,
            (8, 3) => self.rows = thrift.size(field)?,
            (8, 5) => self.definition_bytes = thrift.size(field)?,
            (8, 6) => self.repetition_bytes = thrift.size(field)?,
            (8, 7) => self.is_compressed = thrift.flag(field)?,
            _ => thrift.skip(field)?,
        }
        Ok(())
    }
}

fn encoding(number: i32) -> Result<Encoding, Why> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        10 => Encoding::ALP,
        _ => return Err("a page has an encoding that can't be read"),
    })
}

impl Pages {
    /// The pages of a column, of which `bytes` are all bytes.
    pub(super) fn new(
        bytes: Bytes,
        codec: Codec,
        column: ColumnDescPtr,
        shared: Arc<Shared>,
        left: Arc<AtomicUsize>,
        batch: usize,
    ) -> Self {
        Self {
            rest: bytes,
            codec,
            column,
            shared,
            left,
            batch,
            next: None,
            dictionary: None,
            is_begun: false,
            rows: Rows::default(),
            kept: 0,
            last: 0,
            held: 0,
        }
    }

    /// The head of the next page that has something to read.
    fn head(&mut self) -> Result<Option<Head>, Why> {
        while self.next.is_none() && !self.rest.is_empty() {
            let head = Head::read(&self.rest)?;
            let end = head.length.checked_add(head.compressed).filter(|end| *end <= self.rest.len());
            let end = end.ok_or("a page lies outside of its column")?;
            if head.size > PAGE_BYTES_MAX {
                return Err("a page has more than 128 MiB");
            }
            if head.kind == INDEX || (head.values == 0 && head.kind != DICTIONARY) {
                self.rest = self.rest.slice(end..);
                continue;
            }
            self.next = Some(head);
        }
        Ok(self.next)
    }

    fn page(&mut self) -> Result<Option<Page>, Why> {
        let Some(head) = self.head()? else { return Ok(None) };
        self.next = None;
        let data = self.rest.slice(head.length..head.length + head.compressed);
        self.rest = self.rest.slice(head.length + head.compressed..);
        let page = match head.kind {
            DICTIONARY => self.dictionary_page(head, data)?,
            DATA => self.data_page(head, data)?,
            _ => self.data_page_v2(head, data)?,
        };
        self.is_begun = true;
        Ok(Some(page))
    }

    fn dictionary_page(&mut self, head: Head, data: Bytes) -> Result<Page, Why> {
        if self.is_begun {
            return Err("a column's dictionary comes after its begin");
        }
        let encoding = encoding(head.encoding)?;
        if !matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) {
            return Err("a dictionary has an encoding that can't be read");
        }
        let values = head.values.saturating_mul(self.value_bytes());
        self.hold(values, self.size_of(&head))?;
        let buf = self.decompress(&data, 0, head.size)?;
        // A value has at least as many bytes.
        let least = match self.column.physical_type() {
            Physical::BOOLEAN => head.values / 8,
            Physical::BYTE_ARRAY => head.values.saturating_mul(4),
            _ => head.values.saturating_mul(self.width()),
        };
        if least > buf.len() {
            return Err("a dictionary has fewer values than it says");
        }
        self.check(&buf, Encoding::PLAIN, head.values)?;
        self.dictionary = Some(self.held);
        self.last = 0;
        Ok(Page::DictionaryPage { buf, num_values: head.values as u32, encoding, is_sorted: false })
    }

    fn data_page(&mut self, head: Head, data: Bytes) -> Result<Page, Why> {
        self.hold(self.kept.saturating_add(self.last), self.size_of(&head))?;
        let buf = self.decompress(&data, 0, head.size)?;
        let mut at = 0;
        let repetitions = self.levels(&buf, &mut at, self.column.max_rep_level(), head.repetitions)?;
        let definitions = self.levels(&buf, &mut at, self.column.max_def_level(), head.definitions)?;
        let (encoding, _, buf) = self.verify(head, buf, repetitions, definitions, at)?;
        Ok(Page::DataPage {
            buf,
            num_values: head.values as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })
    }

    /// Levels after their length, where the column has some.
    fn levels(&self, page: &Bytes, at: &mut usize, max: i16, encoding: i32) -> Result<Bytes, Why> {
        if max == 0 {
            return Ok(Bytes::new());
        }
        if encoding != Encoding::RLE as i32 {
            return Err("a page has levels of an encoding that can't be read");
        }
        let short = "a page has levels that are longer than itself";
        let (length, rest) = page.get(*at..).and_then(|rest| rest.split_first_chunk()).ok_or(short)?;
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| short)?;
        if length > rest.len() {
            return Err(short);
        }
        let begin = *at + 4;
        *at = begin + length;
        Ok(page.slice(begin..*at))
    }

    fn data_page_v2(&mut self, head: Head, data: Bytes) -> Result<Page, Why> {
        let short = "a page has levels that are longer than itself";
        let at = head.repetition_bytes.checked_add(head.definition_bytes).ok_or(short)?;
        if at > data.len() || at > head.size {
            return Err(short);
        }
        let is_compressed = head.is_compressed && self.codec != Codec::None;
        self.hold(self.kept.saturating_add(self.last), if is_compressed { head.size } else { 0 })?;
        let buf = if is_compressed { self.decompress(&data, at, head.size)? } else { data };
        let repetitions = buf.slice(..head.repetition_bytes);
        let definitions = buf.slice(head.repetition_bytes..at);
        let (encoding, values, buf) = self.verify(head, buf, repetitions, definitions, at)?;
        Ok(Page::DataPageV2 {
            buf,
            num_values: head.values as u32,
            encoding,
            // As the levels have it, which the crate goes by.
            num_nulls: (head.values - values) as u32,
            num_rows: head.rows as u32,
            def_levels_byte_len: head.definition_bytes as u32,
            rep_levels_byte_len: head.repetition_bytes as u32,
            is_compressed: false,
            statistics: None,
        })
    }

    /// Looks at a page of which all is there. Returns how its values are encoded, how many there are, and the page.
    fn verify(
        &mut self,
        head: Head,
        buf: Bytes,
        repetitions: Bytes,
        definitions: Bytes,
        at: usize,
    ) -> Result<(Encoding, usize, Bytes), Why> {
        let (max_repetition, max_definition) = (self.column.max_rep_level(), self.column.max_def_level());
        let values = match max_definition {
            0 => head.values,
            max => present(&definitions, max, head.values)?,
        };
        if max_repetition > 0 {
            self.rows = self.rows.read(&repetitions, max_repetition, head.values)?;
        }
        let encoding = encoding(head.encoding)?;
        if matches!(encoding, Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY) && self.dictionary.is_none() {
            return Err("a page refers to a dictionary that is not there");
        }
        self.left.store(head.values, Ordering::Relaxed);
        if values == 0 {
            // Some writers leave out all that other encodings have without values, and nothing in it could be believed.
            self.account(head, buf.len(), Grown::default())?;
            return Ok((Encoding::PLAIN, 0, buf.slice(..at)));
        }
        let grown = self.check(&buf[at..], encoding, values)?;
        self.account(head, buf.len(), grown)?;
        Ok((encoding, values, buf))
    }

    fn check(&self, bytes: &[u8], encoding: Encoding, count: usize) -> Result<Grown, Why> {
        let (physical, width) = (self.column.physical_type(), self.width());
        Values { physical, width, encoding, bytes, count }.check()
    }

    /// Adds up what the page and its values may take of memory.
    fn account(&mut self, head: Head, bytes: usize, grown: Grown) -> Result<(), Why> {
        let is_sliced = self.codec == Codec::None;
        let page = if is_sliced { grown.held } else { bytes.saturating_add(grown.held) };
        if self.column.max_rep_level() == 0 {
            let batch = self.batch.min(head.values);
            let values = batch * self.value_bytes() + grown.total.min(batch.saturating_mul(grown.longest));
            self.last = page;
            return self.hold(values, page);
        }
        // A row is read as a whole, and may be spread over pages, all of which it refers to.
        let page = page.saturating_add(grown.total);
        self.kept = if self.rows.continues { self.kept.saturating_add(self.last) } else { self.last };
        self.last = page;
        if self.rows.longest > VALUES_MAX {
            return Err("a row has more than 4,194,304 values in a column");
        }
        // What grows while it is filled has room for twice as many.
        let values = self.rows.longest.saturating_mul(2 * self.value_bytes()).saturating_add(self.kept);
        self.hold(values, page)
    }

    /// Takes memory for a page and its values, and gives back what the page before it had.
    fn hold(&mut self, values: usize, page: usize) -> Result<(), Why> {
        let held = self.dictionary.unwrap_or_default().saturating_add(values).saturating_add(page);
        let used = self.shared.used.load(Ordering::Relaxed) - self.held;
        let used = used.saturating_add(held);
        if used > MEMORY_BYTES_MAX {
            return Err("its pages take more than 320 MiB at the same time: write it with smaller ones");
        }
        self.shared.used.store(used, Ordering::Relaxed);
        self.held = held;
        Ok(())
    }

    /// Bytes that a page takes in addition to those of the row group.
    fn size_of(&self, head: &Head) -> usize {
        if self.codec == Codec::None { 0 } else { head.size }
    }

    /// Bytes that a value takes with its levels, once it is decoded.
    fn value_bytes(&self) -> usize {
        let value = match self.column.physical_type() {
            Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => size_of::<ByteArray>(),
            _ => self.width(),
        };
        value + 2 * size_of::<i16>()
    }

    /// Bytes of a value in the file, where all have as many.
    fn width(&self) -> usize {
        match (self.column.physical_type(), self.column.self_type()) {
            (Physical::BYTE_ARRAY, _) => 0,
            (Physical::BOOLEAN, _) => 1,
            (Physical::INT32 | Physical::FLOAT, _) => 4,
            (Physical::INT64 | Physical::DOUBLE, _) => 8,
            (Physical::INT96, _) => 12,
            (_, Type::PrimitiveType { type_length, .. }) => usize::try_from(*type_length).unwrap_or_default(),
            (_, Type::GroupType { .. }) => 0,
        }
    }

    /// A page of so many bytes, of which the first `plain` are not compressed.
    fn decompress(&self, data: &Bytes, plain: usize, size: usize) -> Result<Bytes, Why> {
        if self.codec == Codec::None {
            return Ok(data.clone());
        }
        let mut scratch = self.shared.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut page = data[..plain].to_vec();
        self.codec.decompress(&mut scratch, &data[plain..], size - plain, &mut page)?;
        Ok(Bytes::from(page))
    }
}

fn error(why: Why) -> ParquetError {
    ParquetError::General(why.to_owned())
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> parquet::errors::Result<Option<Page>> {
        self.page().map_err(error)
    }

    fn peek_next_page(&mut self) -> parquet::errors::Result<Option<PageMetadata>> {
        let head = self.head().map_err(error)?;
        Ok(head.map(|head| PageMetadata {
            num_rows: (head.kind == DATA_V2).then_some(head.rows),
            num_levels: (head.kind != DICTIONARY).then_some(head.values),
            is_dict: head.kind == DICTIONARY,
        }))
    }

    fn skip_next_page(&mut self) -> parquet::errors::Result<()> {
        // Levels and dictionaries of pages that are passed over would be missing: none is.
        Err(error("pages are read one after the other"))
    }
}

impl Iterator for Pages {
    type Item = parquet::errors::Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
