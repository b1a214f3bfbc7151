//! Owns the reading of rows out of text, piece by piece: decompressed, made UTF-8, then cut by a format. Leaves the formats to
//! `lines`, `csv` and `json`.
//!
//! ```text
//!  pieces of the object ─► inflate ─► encoding ─► text ─► framing: lines, csv, json ─► rows, each with its place
//! ```

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_8};

use super::csv::{Csv, CsvOptions, Names};
use super::encoding::{Transcoder, mark_bytes};
use super::inflate::{Compression, Inflater, MAGIC_BYTES};
use super::json::{Json, JsonRows};
use super::lines::Lines;
use super::{Broken, Content, Place, Row};

/// Bytes of one row: as many as a record carries. A quote that nobody closes must not fill the memory.
pub(super) const ROW_BYTES_MAX: usize = 16 << 20;

/// Bytes of a document that is read as a whole, since its rows are anywhere in it: what a destination takes of one record.
pub(super) const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// Bytes of text that are read before the first row is looked for in them.
const READ_BYTES: usize = 256 << 10;

/// A row whose beginning was passed over.
pub(super) fn too_long() -> Content {
    let why = format!("it has more than {ROW_BYTES_MAX} bytes, which are too many to be delivered");
    Content::Bad { bytes: Bytes::new(), why }
}

/// What a format finds at the beginning of a text.
pub(super) enum Step {
    /// Bytes that belong to no row.
    Skip {
        /// How many.
        used: usize,
    },
    /// A row.
    Row {
        /// Its bytes, with the end of its line.
        used: usize,
        content: Content,
    },
    /// The beginning of a row, perhaps.
    More,
    /// Nothing, and nothing will come.
    End,
}

/// A format of text.
pub(super) trait Framing {
    /// Finds the next row. The text begins where what was taken before ended; nothing follows it where it `is_end`. After
    /// `More` it begins with the same bytes.
    fn step(&mut self, text: &[u8], is_end: bool) -> Result<Step, Broken>;

    /// Passes over what there is of a row that is too long to be in memory, all of the text: the next one begins after it.
    /// Whether that can be, since the row's end is found without its beginning.
    fn pass_over(&mut self, _text: &[u8]) -> bool {
        false
    }

    /// Bytes of text that may be needed for one row.
    fn bytes_max(&self) -> usize {
        ROW_BYTES_MAX
    }

    /// Whether rows are found in the whole text only, so that reading can't go on within it.
    fn is_whole(&self) -> bool {
        false
    }

    /// The names of fields, where the text has them and they are known.
    fn names(&self) -> Option<&Names> {
        None
    }

    /// Whether the text is a list, where it may be one and that is known.
    fn is_list(&self) -> Option<bool> {
        None
    }
}

/// A format of text, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Each line is a row, as bytes.
    Lines,
    /// CSV.
    Csv(CsvOptions),
    /// JSON.
    Json(JsonRows),
}

/// How a text is made into rows.
#[derive(Clone, Debug)]
pub struct TextOptions {
    /// The format.
    pub form: Form,
    /// How it is compressed; `None` to see by its first bytes.
    pub compression: Option<Compression>,
    /// Its encoding.
    pub encoding: &'static Encoding,
    /// The names of fields, where reading begins after them.
    pub names: Option<Names>,
}

impl TextOptions {
    /// Whether the text's beginning tells what it takes to read on after it: the names of fields, or whether it is a list.
    pub fn has_head(&self) -> bool {
        match &self.form {
            Form::Csv(csv) => csv.has_header && self.names.is_none(),
            Form::Json(rows) => *rows == JsonRows::Auto,
            Form::Lines => false,
        }
    }
}

/// What is next.
#[derive(Debug)]
pub enum Next {
    /// A row.
    Row(Row),
    /// More bytes are needed.
    More,
    /// Nothing.
    End,
}

/// Reads rows out of a text.
pub struct Text {
    options: TextOptions,
    framing: Box<dyn Framing>,
    begin: Place,
    /// What has come while it is not known how it is compressed.
    head: Vec<u8>,
    source: Source,
    transcoder: Option<Transcoder>,
    /// Bytes that go to the transcoder, if there is one.
    staged: Vec<u8>,
    text: Vec<u8>,
    /// Bytes of `text` that were taken.
    at: usize,
    /// Bytes of text before `text`, from where reading began.
    before: u64,
    /// Bytes that are still to be passed over.
    skip: u64,
    is_mark_next: bool,
    /// Where a row begins whose beginning was passed over, in bytes of text.
    long: Option<u64>,
    rows: u64,
    is_end: bool,
}

enum Source {
    /// Nobody knows yet how it is compressed.
    Unknown,
    Plain,
    Compressed(Compression, Inflater),
}

impl Text {
    /// Reads on from a place of an object; the bytes that come must be those from its `offset` on.
    pub fn new(options: TextOptions, begin: Place) -> Self {
        let framing: Box<dyn Framing> = match &options.form {
            Form::Lines => Box::new(Lines::default()),
            Form::Csv(csv) => Box::new(Csv::new(csv.clone(), options.names.clone())),
            Form::Json(rows) => Box::new(Json::new(rows, begin.rows)),
        };
        let mut text = Self {
            framing,
            begin,
            head: Vec::new(),
            source: Source::Unknown,
            transcoder: Transcoder::new(options.encoding),
            staged: Vec::new(),
            text: Vec::new(),
            at: 0,
            before: 0,
            skip: begin.skip,
            is_mark_next: begin.offset == 0 && options.encoding == UTF_8,
            long: None,
            rows: begin.rows,
            is_end: false,
            options,
        };
        // In the middle of a text anything may look like the beginning of compressed data.
        let is_known = begin != Place::default();
        if let Some(known) = is_known.then_some(begin.compression).or(text.options.compression) {
            text.begin_with(known);
        }
        text
    }

    /// What it takes to read on after the text's beginning, once that has told it.
    pub fn options_after_head(&self) -> Option<TextOptions> {
        let mut options = self.options.clone();
        match &mut options.form {
            Form::Csv(_) => options.names = Some(self.framing.names()?.clone()),
            Form::Json(rows @ JsonRows::Auto) if self.framing.is_list()? => *rows = JsonRows::Array,
            _ => {}
        }
        Some(options)
    }

    fn begin_with(&mut self, compression: Compression) {
        self.source = match Inflater::new(compression, self.begin.offset) {
            None => Source::Plain,
            Some(inflater) => Source::Compressed(compression, inflater),
        };
    }

    /// Adds the next bytes of the object.
    ///
    /// # Errors
    ///
    /// [`Broken`] where they are no text in the encoding that it should have.
    pub fn push(&mut self, piece: &Bytes) -> Result<(), Broken> {
        if let Source::Unknown = self.source {
            self.head.extend_from_slice(piece);
            if self.head.len() < MAGIC_BYTES {
                return Ok(());
            }
            return self.look();
        }
        self.add(piece)
    }

    /// Looks at the first bytes, and takes them.
    fn look(&mut self) -> Result<(), Broken> {
        let head = Bytes::from(std::mem::take(&mut self.head));
        self.begin_with(Compression::of(&head));
        self.add(&head)
    }

    fn add(&mut self, piece: &Bytes) -> Result<(), Broken> {
        match &mut self.source {
            Source::Compressed(_, inflater) => inflater.push(piece),
            _ => match &mut self.transcoder {
                None => self.text.extend_from_slice(piece),
                Some(transcoder) => transcoder.push(piece, false, &mut self.text)?,
            },
        }
        Ok(())
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    ///
    /// As for [`Self::push`].
    pub fn end(&mut self) -> Result<(), Broken> {
        if let Source::Unknown = self.source {
            self.look()?;
        }
        match &mut self.source {
            Source::Compressed(_, inflater) => inflater.end(),
            _ => {
                if let Some(transcoder) = &mut self.transcoder {
                    transcoder.push(&[], true, &mut self.text)?;
                }
            }
        }
        self.is_end = true;
        Ok(())
    }

    /// Makes text of some of what has come; whether there was anything.
    fn fill(&mut self) -> Result<bool, Broken> {
        let Source::Compressed(_, inflater) = &mut self.source else { return Ok(false) };
        match &mut self.transcoder {
            None => inflater.step(&mut self.text),
            Some(transcoder) => {
                let is_any = inflater.step(&mut self.staged)?;
                let is_last = !is_any && self.is_end;
                transcoder.push(&self.staged, is_last, &mut self.text)?;
                self.staged.clear();
                if is_last {
                    self.transcoder = None;
                }
                Ok(is_any || is_last)
            }
        }
    }

    /// Whether all of the text is there.
    fn is_text_whole(&self) -> bool {
        self.is_end
            && match &self.source {
                Source::Compressed(_, inflater) => inflater.is_whole() && self.transcoder.is_none(),
                _ => true,
            }
    }

    /// The next row, as far as it has come.
    ///
    /// # Errors
    ///
    /// [`Broken`] where no more rows can be read.
    pub fn next_row(&mut self) -> Result<Next, Broken> {
        self.find_row().map_err(|broken| self.located(&broken))
    }

    /// Says where in the object reading ends.
    fn located(&self, broken: &Broken) -> Broken {
        let rows = (self.rows > 0).then(|| format!("after row {}", self.rows));
        let byte = self.byte(self.long.unwrap_or(self.before + self.at as u64)).map(|byte| format!("at byte {byte}"));
        let places: Vec<_> = rows.into_iter().chain(byte).collect();
        if places.is_empty() { broken.clone() } else { Broken::new(format!("{}: {}", places.join(", "), broken.why)) }
    }

    /// The byte of the object at which that byte of text is, where it has one.
    fn byte(&self, at: u64) -> Option<u64> {
        let is_plain = matches!(self.source, Source::Plain) && self.options.encoding == UTF_8;
        (is_plain && !self.framing.is_whole()).then_some(self.begin.offset + at)
    }

    fn find_row(&mut self) -> Result<Next, Broken> {
        loop {
            if let Source::Unknown = self.source {
                return Ok(Next::More);
            }
            if !self.pass() {
                if self.fill()? {
                    continue;
                }
                return self.wait_or_break();
            }
            let is_end = self.is_text_whole();
            match self.framing.step(&self.text[self.at..], is_end)? {
                Step::Skip { used } => self.at += used,
                Step::Row { used, content } => return Ok(Next::Row(self.row(used, content))),
                Step::End => return Ok(Next::End),
                Step::More => {
                    let max = self.framing.bytes_max();
                    if self.long.is_some() || self.text.len() - self.at > max {
                        if !self.framing.pass_over(&self.text[self.at..]) {
                            return Err(Broken::new(format!("a row of it has more than {max} bytes")));
                        }
                        self.long.get_or_insert(self.before + self.at as u64);
                        self.at = self.text.len();
                    }
                    self.compact();
                    if !self.fill()? {
                        return self.wait_or_break();
                    }
                }
            }
        }
    }

    /// More must come, unless nothing will: then what is there makes no sense.
    fn wait_or_break(&self) -> Result<Next, Broken> {
        match self.is_end {
            true if !self.is_text_whole() => Err(Broken::new("its compressed data break off")),
            true => Ok(Next::End),
            false => Ok(Next::More),
        }
    }

    /// Passes over the byte order mark, and what was read before; whether that is done.
    fn pass(&mut self) -> bool {
        let count = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.text.len() - self.at);
        self.at += count;
        self.skip -= count as u64;
        if self.skip > 0 {
            self.compact();
            return self.is_text_whole();
        }
        if self.is_mark_next && self.begin.skip == 0 {
            let Some(count) = mark_bytes(&self.text[self.at..], self.is_text_whole()) else { return false };
            self.at += count;
        }
        self.is_mark_next = false;
        true
    }

    fn row(&mut self, used: usize, content: Content) -> Row {
        let start = self.long.take().unwrap_or(self.before + self.at as u64);
        self.at += used;
        self.rows += 1;
        let byte = self.byte(start);
        let next = self.place(self.before + self.at as u64);
        if self.at > READ_BYTES {
            self.compact();
        }
        Row { number: self.rows, byte, content, next }
    }

    /// Where reading goes on after that many bytes of text.
    fn place(&mut self, end: u64) -> Place {
        let rows = self.rows;
        let compression = match &self.source {
            Source::Compressed(compression, _) => *compression,
            _ => Compression::None,
        };
        let (offset, skip) = match &mut self.source {
            _ if self.framing.is_whole() => (0, 0),
            // Which bytes of the object a text in another encoding comes from, nobody counts.
            _ if self.options.encoding != UTF_8 => (self.begin.offset, end),
            Source::Compressed(_, inflater) => match inflater.mark(end) {
                Some(mark) => (mark.offset, end - mark.decoded),
                None => (self.begin.offset, end),
            },
            _ => (self.begin.offset + end, 0),
        };
        Place { rows, offset, skip, compression }
    }

    /// Bytes of text in memory.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.text.len()
    }

    /// Forgets what was taken.
    fn compact(&mut self) {
        self.text.drain(..self.at);
        self.before += self.at as u64;
        self.at = 0;
    }
}
