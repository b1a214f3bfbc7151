//! Owns rows of CSV as JSON objects: the header's names, and texts as values. Leaves the grammar to `csv_core`.
//!
//! CSV knows no types, and guessing them corrupts data (leading zeros, long numbers), so every value is a text, or null where
//! the settings say which text that is.

use bytes::Bytes;
use csv_core::{ReadFieldResult, ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr;

use super::output::{JSON_BYTES_MAX, TOO_LARGE};
use super::text::{Framing, ROW_BYTES_MAX, Step, too_long};
use super::unique::Unique;
use super::{Broken, Content};
use crate::record::json::push_text;

/// Fields of a row, as many as a table of Parquet may have: two bytes of a file must not take a hundred of memory.
const FIELDS_MAX: usize = 32_768;

/// Bytes of all names as JSON, since each row has all of them again.
const NAMES_BYTES_MAX: usize = 4 << 20;

/// How CSV is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// What separates fields.
    pub delimiter: u8,
    /// What fields that hold others' signs are put in.
    pub quote: u8,
    /// What a line begins with that is no row, if there are such.
    pub comment: Option<u8>,
    /// Whether the first row holds names.
    pub has_header: bool,
    /// The names of fields, in the place of those.
    pub names: Option<Names>,
    /// The text that stands for null, if one does.
    pub null: Option<String>,
    /// Whether a field with nothing in it stands for null, if it has no quotes either.
    pub is_empty_null: bool,
}

impl CsvOptions {
    fn reader(&self) -> Reader {
        let mut reader = ReaderBuilder::new().delimiter(self.delimiter).quote(self.quote).comment(self.comment).build();
        // It drops a byte order mark where it begins to read, which may be at any row. An empty line is no row, and a beginning.
        let _ = reader.read_record(b"\n", &mut [0], &mut [0]);
        reader
    }

    /// Two settings that are the same sign, where there are such.
    pub fn confused(&self) -> Option<(&'static str, &'static str)> {
        let Self { delimiter, quote, comment, .. } = self;
        if delimiter == quote {
            return Some(("csv.delimiter", "csv.quote"));
        }
        let comment = comment.as_ref()?;
        let same = [("csv.delimiter", delimiter), ("csv.quote", quote)].into_iter().find(|(_, sign)| *sign == comment);
        same.map(|(name, _)| (name, "csv.comment"))
    }
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: b'"',
            comment: None,
            has_header: true,
            names: None,
            null: None,
            is_empty_null: false,
        }
    }
}

/// The names of the fields of a file, each as JSON writes it before a value: `"name":`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// Names, each of which an object has once.
    ///
    /// # Errors
    ///
    /// Says of which there are too many.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut found = Self(Vec::new());
        let mut unique = Unique::default();
        let mut bytes = 0;
        for (index, name) in names.enumerate() {
            if index == FIELDS_MAX {
                return Err(format!("more fields than {FIELDS_MAX}"));
            }
            let name = if name.is_empty() { format!("column_{}", index + 1) } else { name.to_owned() };
            let key = format!("{}:", serde_json::Value::from(unique.name(&name)));
            bytes += key.len();
            if bytes > NAMES_BYTES_MAX {
                return Err("names of more than 4 MiB".to_owned());
            }
            found.0.push(key);
        }
        Ok(found)
    }

    /// Those of fields that have none.
    fn of_columns(count: usize) -> Self {
        Self((1..=count).map(|number| format!("\"column_{number}\":")).collect())
    }
}

/// Finds rows of CSV.
pub(super) struct Csv {
    reader: Reader,
    options: CsvOptions,
    names: Option<Names>,
    /// Whether the next row is the header.
    is_header_next: bool,
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Of the row that is being read: bytes that the reader has seen, and what it has made of them.
    seen: usize,
    bytes: usize,
    count: usize,
    /// Whether it has more fields than a row may have. They are passed over.
    is_wide: bool,
    /// Whether its beginning was passed over, since it has too many bytes.
    is_long: bool,
    /// Whether the reader was given the end of a line that the last row may lack, and whether that was within quotes.
    is_line_ended: bool,
    is_unclosed: bool,
}

impl Csv {
    /// Reads rows; those of a file whose names are known begin after its header.
    pub(super) fn new(options: CsvOptions, names: Option<Names>) -> Self {
        let is_header_next = options.has_header && names.is_none();
        Self {
            reader: options.reader(),
            names: names.or_else(|| options.names.clone()),
            is_header_next,
            options,
            fields: vec![0; 1024],
            ends: vec![0; 64],
            seen: 0,
            bytes: 0,
            count: 0,
            is_wide: false,
            is_long: false,
            is_line_ended: false,
            is_unclosed: false,
        }
    }

    /// The names, once they are known.
    pub(super) fn names(&self) -> Option<&Names> {
        self.names.as_ref().filter(|_| !self.is_header_next)
    }

    /// Reads on in the row that the text begins with. Whether it ended; `None` where nothing is left.
    fn read(&mut self, text: &[u8], is_end: bool) -> Option<bool> {
        loop {
            if self.is_wide || self.is_long {
                (self.bytes, self.count) = (0, 0);
            }
            // To the reader, nothing is the end.
            if self.seen == text.len() && !is_end {
                return Some(false);
            }
            // The reader does not say whether a text ends within quotes: its end ends any row. The end of a line does not, there.
            let is_line_end = self.seen == text.len() && !self.is_line_ended;
            let input = if is_line_end { b"\n" } else { &text[self.seen..] };
            let (result, read, written, ended) =
                self.reader.read_record(input, &mut self.fields[self.bytes..], &mut self.ends[self.count..]);
            if is_line_end {
                self.is_line_ended = read > 0;
                self.is_unclosed = written > 0;
            } else {
                self.seen += read;
            }
            self.bytes += written;
            self.count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() > FIELDS_MAX => self.is_wide = true,
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => return Some(true),
                ReadRecordResult::End => return None,
            }
        }
    }

    /// Why the row that was read is none, whatever its fields hold.
    fn fault(&self) -> Option<String> {
        if self.is_unclosed {
            let long = if self.is_long { format!(", and more than {ROW_BYTES_MAX} bytes") } else { String::new() };
            return Some(format!("it has a quote that nothing closes{long}"));
        }
        (self.is_wide || self.count > FIELDS_MAX).then(|| format!("it has more fields than {FIELDS_MAX}"))
    }

    /// The fields of the row that was read.
    fn row(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends[..self.count].iter().copied());
        starts.zip(&self.ends[..self.count]).map(|(start, end)| &self.fields[start..*end])
    }

    /// Of the fields of the row that was read, of these bytes, whether each is null since nothing is there, not even quotes. The
    /// row is read again, since the reader tells of a whole one what its fields hold, and of each what bytes it is in.
    fn nulls(&self, bytes: &[u8]) -> Vec<bool> {
        let has_empty = self.options.is_empty_null && self.row().any(<[u8]>::is_empty);
        if !has_empty {
            return Vec::new();
        }
        let mut reader = self.options.reader();
        let (mut nulls, mut rest, mut dropped) = (Vec::with_capacity(self.count), bytes, [0; 256]);
        while nulls.len() < self.count {
            let is_bare = rest.first() != Some(&self.options.quote);
            let mut is_empty = true;
            loop {
                let (result, read, written) = reader.read_field(rest, &mut dropped);
                rest = &rest[read..];
                is_empty &= written == 0;
                match result {
                    // Without more input, the end of the input is next, which ends the field.
                    ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                    ReadFieldResult::Field { .. } | ReadFieldResult::End => break,
                }
            }
            nulls.push(is_bare && is_empty);
        }
        nulls
    }

    /// The row as a JSON object, or why it is none. Fields may be known to be null, each at its place.
    fn object(&self, names: &Names, nulls: &[bool]) -> Result<String, String> {
        let Names(names) = names;
        if self.count != names.len() {
            let (count, s) = (self.count, if self.count == 1 { "" } else { "s" });
            return Err(format!("it has {count} field{s} where {} are named", names.len()));
        }
        // All of it is looked at once, and what is UTF-8 throughout is so in each field.
        let whole = std::str::from_utf8(&self.fields[..self.bytes]).ok();
        let mut json = String::with_capacity(self.bytes + names.iter().map(|name| name.len() + 4).sum::<usize>() + 2);
        json.push('{');
        let mut start = 0;
        for (index, (end, name)) in self.ends[..self.count].iter().zip(names).enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(name);
            let text = whole.and_then(|whole| whole.get(start..*end));
            let text = text.ok_or(()).or_else(|()| std::str::from_utf8(&self.fields[start..*end]));
            let text = text.map_err(|_| format!("its field {} is not UTF-8: set `encoding`", index + 1))?;
            start = *end;
            let is_null = nulls.get(index).is_some_and(|is_null| *is_null);
            if is_null || self.options.null.as_deref() == Some(text) {
                json.push_str("null");
            } else {
                push_text(text, &mut json);
            }
            if json.len() > JSON_BYTES_MAX {
                return Err(TOO_LARGE.to_owned());
            }
        }
        json.push('}');
        Ok(json)
    }

    /// Takes the names out of the row that was read.
    fn header(&mut self) -> Result<(), Broken> {
        if let Some(why) = self.fault() {
            return Err(Broken::new(format!("its header can't be read: {why}")));
        }
        self.is_header_next = false;
        // Names that are given count in the place of the header's.
        if self.names.is_none() {
            let names: Result<Vec<_>, _> = self.row().map(std::str::from_utf8).collect();
            let names = names.map_err(|_| Broken::new("its header is not UTF-8: set `encoding`"))?;
            let names = Names::new(names.into_iter());
            self.names = Some(names.map_err(|why| Broken::new(format!("its header has {why}: set `csv.header`")))?);
        }
        Ok(())
    }

    /// The row that was read, of these bytes.
    fn content(&mut self, bytes: &[u8]) -> Content {
        if self.is_long && !self.is_unclosed {
            return too_long();
        }
        let json = match self.fault() {
            Some(why) => Err(why),
            None => {
                let names = self.names.take().unwrap_or_else(|| Names::of_columns(self.count));
                let json = self.object(&names, &self.nulls(bytes));
                self.names = Some(names);
                json
            }
        };
        match json {
            Ok(json) => Content::Structured(json),
            Err(why) => {
                let bytes = if self.is_long { &[] } else { trimmed(bytes) };
                Content::Bad { bytes: Bytes::copy_from_slice(bytes), why }
            }
        }
    }
}

impl Framing for Csv {
    fn step(&mut self, text: &[u8], is_end: bool) -> Result<Step, Broken> {
        if self.seen == 0
            && !self.is_long
            && let Some(step) = pass_over(text, is_end, self.options.comment)
        {
            return Ok(step);
        }
        match self.read(text, is_end) {
            None => return Ok(Step::End),
            Some(false) => return Ok(Step::More),
            Some(true) => {}
        }
        let used = self.seen;
        let step = if self.is_header_next {
            self.header()?;
            Step::Skip { used }
        } else {
            let content = self.content(&text[..used]);
            Step::Row { used, content }
        };
        (self.seen, self.bytes, self.count) = (0, 0, 0);
        (self.is_wide, self.is_long) = (false, false);
        (self.is_line_ended, self.is_unclosed) = (false, false);
        Ok(step)
    }

    fn pass_over(&mut self, text: &[u8]) -> bool {
        // Of a comment it has seen nothing, and after a header that can't be read there are no rows.
        if self.seen < text.len() || self.is_header_next {
            return false;
        }
        (self.seen, self.is_long) = (0, true);
        true
    }

    fn names(&self) -> Option<&Names> {
        Csv::names(self)
    }
}

/// A row without the end of its line.
fn trimmed(mut row: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r' | b'\n'] = row {
        row = rest;
    }
    row
}

/// What is no row: the rest of the end of a line, empty lines and comments.
fn pass_over(text: &[u8], is_end: bool, comment: Option<u8>) -> Option<Step> {
    let first = *text.first()?;
    if first == b'\n' || first == b'\r' {
        let used = text.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        return Some(Step::Skip { used });
    }
    if Some(first) != comment {
        return None;
    }
    match memchr(b'\n', text) {
        Some(at) => Some(Step::Skip { used: at + 1 }),
        None if is_end => Some(Step::Skip { used: text.len() }),
        None => Some(Step::More),
    }
}
