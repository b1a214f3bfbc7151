//! Owns rows of CSV as JSON objects: the header's names, and texts as values. Leaves the grammar to `csv_core`.
//!
//! CSV knows no types, and guessing them corrupts data (leading zeros, long numbers), so every value is a text, or null where
//! the settings say which text that is.

use bytes::Bytes;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use memchr::memchr;

use super::text::{Framing, Step};
use super::{Broken, Content};
use crate::record::json::push_text;

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
    pub names: Option<Vec<String>>,
    /// The text that stands for null, if one does.
    pub null: Option<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self { delimiter: b',', quote: b'"', comment: None, has_header: true, names: None, null: None }
    }
}

/// The names of the fields of a file, each as JSON writes it before a value: `"name":`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    fn new(names: impl Iterator<Item = String>) -> Self {
        let mut seen = std::collections::BTreeSet::new();
        let unique = names.enumerate().map(|(index, name)| {
            let name = if name.is_empty() { format!("column_{}", index + 1) } else { name };
            let mut unique = name.clone();
            let mut number = 1_u64;
            // An object has each name once.
            while !seen.insert(unique.clone()) {
                number += 1;
                unique = format!("{name}_{number}");
            }
            format!("{}:", serde_json::Value::from(unique))
        });
        Self(unique.collect())
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
}

impl Csv {
    /// Reads rows; those of a file whose names are known begin after its header.
    pub(super) fn new(options: CsvOptions, names: Option<Names>) -> Self {
        let reader =
            ReaderBuilder::new().delimiter(options.delimiter).quote(options.quote).comment(options.comment).build();
        let given = options.names.clone().map(|names| Names::new(names.into_iter()));
        let is_header_next = options.has_header && names.is_none();
        Self {
            reader,
            names: names.or(given),
            is_header_next,
            options,
            fields: vec![0; 1024],
            ends: vec![0; 64],
            seen: 0,
            bytes: 0,
            count: 0,
        }
    }

    /// The names, once they are known.
    pub(super) fn names(&self) -> Option<&Names> {
        self.names.as_ref().filter(|_| !self.is_header_next)
    }

    /// Reads on in the row that the text begins with. Whether it ended; `None` where nothing is left.
    fn read(&mut self, text: &[u8], is_end: bool) -> Option<bool> {
        loop {
            // To the reader, nothing is the end.
            if self.seen == text.len() && !is_end {
                return Some(false);
            }
            let (result, read, written, ended) = self.reader.read_record(
                &text[self.seen..],
                &mut self.fields[self.bytes..],
                &mut self.ends[self.count..],
            );
            self.seen += read;
            self.bytes += written;
            self.count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => return Some(true),
                ReadRecordResult::End => return None,
            }
        }
    }

    /// The fields of the row that was read.
    fn row(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends[..self.count].iter().copied());
        starts.zip(&self.ends[..self.count]).map(|(start, end)| &self.fields[start..*end])
    }

    /// The row as a JSON object, or why it is none.
    fn object(&self, names: &Names) -> Result<String, String> {
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
            if self.options.null.as_deref() == Some(text) {
                json.push_str("null");
            } else {
                push_text(text, &mut json);
            }
        }
        json.push('}');
        Ok(json)
    }

    /// Takes the names out of the row that was read.
    fn header(&mut self) -> Result<(), Broken> {
        let names: Result<Vec<_>, _> = self.row().map(|field| std::str::from_utf8(field).map(str::to_owned)).collect();
        let names = names.map_err(|_| Broken::new("its header is not UTF-8: set `encoding`"))?;
        self.is_header_next = false;
        // Names that are given count in the place of the header's.
        self.names.get_or_insert_with(|| Names::new(names.into_iter()));
        Ok(())
    }
}

impl Framing for Csv {
    fn step(&mut self, text: &[u8], is_end: bool) -> Result<Step, Broken> {
        if self.seen == 0
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
            let count = self.count;
            let unnamed = || Names::new((1..=count).map(|number| format!("column_{number}")));
            let names = self.names.take().unwrap_or_else(unnamed);
            let content = match self.object(&names) {
                Ok(json) => Content::Structured(json),
                Err(why) => Content::Bad { bytes: Bytes::copy_from_slice(trimmed(&text[..used])), why },
            };
            self.names = Some(names);
            Step::Row { used, content }
        };
        (self.seen, self.bytes, self.count) = (0, 0, 0);
        Ok(step)
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
