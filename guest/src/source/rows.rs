//! Owns the reading of an object row by row: which format it has, the bytes that are requested for it, and the records that
//! rows become. Leaves formats to `rows`, and the order and positions of records to `worker`.
//!
//! ```text
//!  text, Avro:  one request, read piece by piece ─► rows
//!  Parquet:     the end of the object, then its row groups, some ahead ─► rows
//! ```
//!
//! All requests of an object are pinned to the version or ETag that was listed, and a row's place counts for that one alone.

use std::rc::Rc;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};

use super::fetch::Fetched;
use super::retrieval::{Holding, Retrieval, Retrieved, Wanted};
use crate::config::{Decode, OnBadRow, RowsConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::ports::{Body as _, Ports};
use crate::record::{Change, Common, Data, Metadata, Record};
use crate::rows::{
    AvroFile, Block, Broken, Columns, Content as RowContent, CsvOptions, Footer, Form, Format, JsonRows, Next, Opened,
    Place, Row, Text, TextOptions, Unreadable, has_lines, has_tabs,
};
use crate::s3::{Content, Object, Part};

/// Bytes from the end of a Parquet file that are requested first: most footers are within them. What is smaller is requested
/// as a whole.
pub(super) const TAIL_BYTES: u64 = 1 << 20;

/// Bytes of row groups that are requested ahead of the one that is read.
const GROUPS_AHEAD_BYTES: u64 = 64 << 20;

/// An object that is read row by row.
pub(super) struct Rows<P: Ports> {
    /// The record of the object, without a payload and metadata.
    fetched: Fetched<P::Body>,
    /// What all rows have in common.
    common: Common,
    /// The text of a row's key, up to its number.
    key_begin: String,
    format: Format,
    reader: Reader<P>,
    on_bad_row: OnBadRow,
}

impl<P: Ports> std::fmt::Debug for Rows<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("key", &self.fetched.key).finish_non_exhaustive()
    }
}

/// What reads the rows.
enum Reader<P: Ports> {
    Text(Box<Text>, Pieces<P>),
    Avro(Box<AvroRows<P>>),
    Columns(Box<ColumnRows<P>>),
}

/// The bytes of an object, as they come.
struct Pieces<P: Ports>(Option<Content<P::Body>>);

impl<P: Ports> Pieces<P> {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.0.take() {
            None => Ok(None),
            Some(Content::Whole(bytes)) => Ok(Some(bytes)),
            Some(Content::Stream(mut body)) => {
                let piece = body.read().await;
                let piece = piece.map_err(|why| Error::new(ErrorKind::Unavailable, format!("it broke off: {why}")))?;
                if piece.is_some() {
                    self.0 = Some(Content::Stream(body));
                }
                Ok(piece)
            }
        }
    }

    /// Gives a text the next bytes, or says that there are none.
    async fn feed(&mut self, text: &mut Text) -> Result<(), Unread> {
        match self.next().await? {
            Some(piece) => text.push(&piece)?,
            None => text.end()?,
        }
        Ok(())
    }
}

/// Rows of an Avro file.
struct AvroRows<P: Ports> {
    pieces: Pieces<P>,
    input: BytesMut,
    file: Option<AvroFile>,
    /// The bytes of the object before `input`.
    before: u64,
    block: Option<Block>,
    /// Where reading goes on: the block, and its rows that were read. Of the first one some may have been read before.
    place: Place,
    is_end: bool,
}

/// Rows of a Parquet file.
struct ColumnRows<P: Ports> {
    object: Source<P>,
    footer: Footer,
    /// The next row group to request, and those on their way.
    next: usize,
    ahead: FuturesOrdered<LocalBoxFuture<'static, Result<(usize, Bytes)>>>,
    current: Option<(usize, Columns)>,
    /// Where reading goes on: the group, and its rows that were read. Of the first one some may have been read before.
    place: Place,
}

/// An object whose parts are requested.
struct Source<P: Ports> {
    retrieval: Rc<Retrieval<P>>,
    wanted: Wanted,
    /// Its last bytes, as far as they are known.
    tail: Bytes,
}

impl<P: Ports> Clone for Source<P> {
    fn clone(&self) -> Self {
        Self { retrieval: Rc::clone(&self.retrieval), wanted: self.wanted.clone(), tail: self.tail.clone() }
    }
}

impl<P: Ports> Source<P> {
    /// Its last bytes, in memory.
    async fn end(&self, bytes: u64) -> Result<Bytes> {
        let size = self.wanted.entry.size;
        self.part(size - bytes.min(size), bytes.min(size)).await
    }

    /// The bytes of a part, in memory.
    async fn part(&self, first: u64, length: u64) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let size = self.wanted.entry.size;
        let known = first.checked_sub(size - self.tail.len() as u64).and_then(|from| usize::try_from(from).ok());
        if let Some(known) = known.and_then(|from| self.tail.get(from..from + usize::try_from(length).ok()?)) {
            return Ok(self.tail.slice_ref(known));
        }
        let part = (length < size).then_some(Part { first, length });
        let wanted = Wanted { part, holding: Holding::Memory, may_be_replaced: false, ..self.wanted.clone() };
        match self.request(wanted).await?.content {
            Content::Whole(bytes) => Ok(bytes),
            Content::Stream(_) => Err(Error::internal("a part of an object came as a stream")),
        }
    }

    /// The object from a byte on, piece by piece.
    async fn from(&self, first: u64) -> Result<Pieces<P>> {
        let size = self.wanted.entry.size;
        if first >= size {
            return Ok(Pieces(None));
        }
        let part = (first > 0).then_some(Part { first, length: size - first });
        let wanted = Wanted { part, holding: Holding::Stream, may_be_replaced: false, ..self.wanted.clone() };
        Ok(Pieces(Some(self.request(wanted).await?.content)))
    }

    async fn request(&self, wanted: Wanted) -> Result<Object<P::Body>> {
        let why = match self.retrieval.retrieve(wanted).await? {
            Retrieved::Object(_, object) => return Ok(object),
            Retrieved::Deleted => "it was deleted while it was read",
            Retrieved::Overwritten(_) => "it was overwritten while it was read",
            Retrieved::Archived => "it was archived while it was read",
            Retrieved::Unreadable(error) => return Err(error),
        };
        Err(Error::new(ErrorKind::Unavailable, why))
    }
}

/// Why a row, or all that is left of an object, can't be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The source must stop.
    Stop(Error),
    /// It is passed over, for this reason.
    Skip(String),
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

impl From<Broken> for Unread {
    fn from(broken: Broken) -> Self {
        Self::Skip(broken.why)
    }
}

impl Unread {
    /// What it means under this setting, of which others would do.
    fn under(self, on_bad_row: OnBadRow, others: &str) -> Self {
        match (self, on_bad_row) {
            (Self::Skip(why), OnBadRow::Stop) => {
                Self::Stop(Error::corrupt(format!("{why}; mend the object, or set `onBadRow` to {others}")))
            }
            (unread, _) => unread,
        }
    }

    /// The same of an object of which no more can be read.
    fn of_object(self, on_bad_row: OnBadRow) -> Self {
        self.under(on_bad_row, "`skip` to go on without what can't be read")
    }
}

/// What makes rows of an object that was found.
pub(super) struct Opening<P: Ports> {
    /// Requests for the object, outside of the slots that fetches wait for.
    pub(super) retrieval: Rc<Retrieval<P>>,
    /// The object.
    pub(super) wanted: Wanted,
    /// What it is.
    pub(super) format: Format,
    /// Where reading goes on.
    pub(super) begin: Place,
}

/// The format of an object, if it is to be read row by row.
pub(super) fn format_of(config: &RowsConfig, key: &str, content_type: Option<&str>) -> Option<Format> {
    match config.decode {
        Decode::Auto => Format::of_key(key).or_else(|| Format::of_content_type(content_type?)),
        Decode::As(format) => Some(format),
    }
}

impl<P: Ports> Opening<P> {
    /// Begins to read. `content` are the object's bytes from the place's offset on.
    pub(super) async fn open(
        self,
        config: &RowsConfig,
        fetched: Fetched<P::Body>,
        content: Content<P::Body>,
    ) -> Result<Rows<P>, Unread> {
        self.begin_to_read(config, fetched, content).await.map_err(|unread| unread.of_object(config.on_bad_row))
    }

    async fn begin_to_read(
        &self,
        config: &RowsConfig,
        mut fetched: Fetched<P::Body>,
        content: Content<P::Body>,
    ) -> Result<Rows<P>, Unread> {
        // An object without bytes has no rows in any format: it marks a folder, or the end of a job.
        let format = if self.wanted.entry.size == 0 { Format::Lines } else { self.format };
        let content_type = fetched.record.metadata.get("s3.header.contentType").map(String::as_str);
        let has_tabs = config.decode == Decode::Auto && has_tabs(&fetched.key, content_type);
        let has_lines = config.decode == Decode::Auto && has_lines(&fetched.key, content_type);
        let mut metadata = std::mem::take(&mut fetched.record.metadata);
        let reader = match format {
            Format::Parquet => {
                let rows = self.columns(content).await?;
                metadata.insert("s3.rows".to_owned(), rows.footer.rows().to_string());
                Reader::Columns(Box::new(rows))
            }
            Format::Avro => Reader::Avro(Box::new(self.avro(content).await?)),
            Format::Lines | Format::Json | Format::Csv => {
                let options = text_options(config, format, has_tabs, has_lines);
                let text = self.text(options).await?;
                Reader::Text(Box::new(text), Pieces(Some(content)))
            }
        };
        let key_begin = format!("{{\"key\":{},\"row\":", serde_json::Value::from(&*fetched.key));
        let common = metadata.into_common();
        Ok(Rows { fetched, common, key_begin, format, reader, on_bad_row: config.on_bad_row })
    }

    /// The object, of which the end is known.
    fn source(&self, tail: Bytes) -> Source<P> {
        Source { retrieval: Rc::clone(&self.retrieval), wanted: self.wanted.clone(), tail }
    }

    /// A text. Where reading begins after its head, that is requested too.
    async fn text(&self, options: TextOptions) -> Result<Text, Unread> {
        let is_after_head = options.has_head() && self.begin != Place::default();
        let options = if is_after_head { self.after_head(options).await? } else { options };
        Ok(Text::new(options, self.begin))
    }

    /// The options with what a text's beginning tells; as they are where it tells nothing.
    async fn after_head(&self, options: TextOptions) -> Result<TextOptions, Unread> {
        let mut text = Text::new(options.clone(), Place::default());
        let mut pieces = self.source(Bytes::new()).from(0).await?;
        loop {
            let next = text.next_row()?;
            if let Some(known) = text.options_after_head() {
                return Ok(known);
            }
            match next {
                Next::End => return Ok(options),
                Next::Row(_) => {}
                Next::More => pieces.feed(&mut text).await?,
            }
        }
    }

    /// An Avro file. Where reading begins after its head, that is requested too.
    async fn avro(&self, content: Content<P::Body>) -> Result<AvroRows<P>, Unread> {
        let Place { rows, offset, skip, .. } = self.begin;
        let file = if offset > 0 { Some(self.head().await?) } else { None };
        Ok(AvroRows {
            pieces: Pieces(Some(content)),
            input: BytesMut::new(),
            file,
            before: offset,
            block: None,
            place: Place { rows, offset, skip, ..Place::default() },
            is_end: false,
        })
    }

    /// The head of an Avro file.
    async fn head(&self) -> Result<AvroFile, Unread> {
        let mut pieces = self.source(Bytes::new()).from(0).await?;
        let mut input = BytesMut::new();
        loop {
            input.extend_from_slice(&pieces.next().await?.ok_or_else(no_avro)?);
            if let Some((file, _)) = AvroFile::open(&input)? {
                return Ok(file);
            }
        }
    }

    /// A Parquet file, of which the end was read.
    async fn columns(&self, content: Content<P::Body>) -> Result<ColumnRows<P>, Unread> {
        let mut object = self.source(Bytes::new());
        let size = object.wanted.entry.size;
        object.tail = match content {
            Content::Whole(bytes) => bytes,
            // Its content type alone told what it is.
            Content::Stream(_) => object.end(TAIL_BYTES).await?,
        };
        let footer = loop {
            match Footer::open(size, object.tail.clone())? {
                Opened::Footer(footer) => break footer,
                Opened::Needs(bytes) => object.tail = object.end(bytes).await?,
            }
        };
        let Place { rows, offset, skip, .. } = self.begin;
        let next = usize::try_from(offset).unwrap_or(usize::MAX);
        let place = Place { rows, offset, skip, ..Place::default() };
        Ok(ColumnRows { object, footer, next, ahead: FuturesOrdered::new(), current: None, place })
    }
}

/// How a text is read.
fn text_options(config: &RowsConfig, format: Format, has_tabs: bool, has_lines: bool) -> TextOptions {
    let form = match format {
        Format::Csv if has_tabs => Form::Csv(CsvOptions { delimiter: b'\t', ..config.csv.clone() }),
        Format::Csv => Form::Csv(config.csv.clone()),
        Format::Json if has_lines && config.json == JsonRows::Auto => Form::Json(JsonRows::Lines),
        Format::Json => Form::Json(config.json.clone()),
        _ => Form::Lines,
    };
    TextOptions { form, compression: config.compression, encoding: config.encoding, names: None }
}

impl<P: Ports> Rows<P> {
    /// The object's key.
    pub(super) fn key(&self) -> &str {
        &self.fetched.key
    }

    /// The format that it is read in.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The next row, if its bytes are there.
    pub(super) fn next(&mut self) -> Result<Next, Unread> {
        let next = match &mut self.reader {
            Reader::Text(text, _) => text.next_row(),
            Reader::Avro(avro) => avro.next(),
            Reader::Columns(columns) => columns.next(),
        };
        next.map_err(|broken| Unread::from(broken).of_object(self.on_bad_row))
    }

    /// Waits for more bytes.
    pub(super) async fn more(&mut self) -> Result<(), Unread> {
        let more = match &mut self.reader {
            Reader::Text(text, pieces) => pieces.feed(text).await,
            Reader::Avro(avro) => avro.more().await.map_err(Unread::from),
            Reader::Columns(columns) => columns.more().await,
        };
        more.map_err(|unread| unread.of_object(self.on_bad_row))
    }

    /// What a row is delivered as.
    pub(super) fn record(&self, row: Row) -> Result<Fetched<P::Body>, Unread> {
        let (first, last) = (row.number, row.number + row.count() - 1);
        let Row { number, byte, content, .. } = row;
        let mut metadata = Metadata::with_common(self.common.clone());
        let payload = match content {
            RowContent::Raw(bytes) => Data::Raw(bytes),
            RowContent::Structured(text) => Data::Structured(text),
            RowContent::Bad { bytes, why } if self.on_bad_row == OnBadRow::Raw => {
                let why = if last > first { located(first, last, byte, &why) } else { why };
                metadata.insert("s3.rowError".to_owned(), why);
                Data::Raw(bytes)
            }
            RowContent::Bad { why, .. } => {
                let unread = Unread::Skip(located(first, last, byte, &why));
                return Err(unread.under(self.on_bad_row, "`skip` or `raw` to go on"));
            }
        };
        if let Some(byte) = byte {
            metadata.insert("s3.byteOffset".to_owned(), byte.to_string());
        }
        let size = payload.length().unwrap_or_default();
        let number = number.to_string();
        let key = [&*self.key_begin, &number, "}"].concat();
        metadata.insert("s3.row".to_owned(), number);
        Ok(Fetched {
            record: Record {
                position: Bytes::new(),
                operation: self.fetched.record.operation,
                metadata,
                key: Some(Data::Structured(key)),
                payload: Change { before: None, after: Some(payload) },
            },
            key: self.fetched.key.clone(),
            last_modified: self.fetched.last_modified,
            replaced: self.fetched.replaced.clone(),
            size,
        })
    }
}

fn no_avro() -> Broken {
    Broken::new("it is no Avro container file, or breaks off in its head")
}

fn located(first: u64, last: u64, byte: Option<u64>, why: &str) -> String {
    match byte {
        _ if last > first => format!("rows {first} to {last} can't be read: {why}"),
        Some(byte) => format!("row {first}, at byte {byte}: {why}"),
        None => format!("row {first}: {why}"),
    }
}

impl<P: Ports> AvroRows<P> {
    fn next(&mut self) -> Result<Next, Broken> {
        loop {
            if let Some(step) = self.next_of_block() {
                return Ok(step);
            }
            let Some(file) = &self.file else {
                match AvroFile::open(&self.input)? {
                    None if self.is_end => return Err(no_avro()),
                    None => return Ok(Next::More),
                    Some((file, used)) => {
                        self.take(used);
                        self.file = Some(file);
                        continue;
                    }
                }
            };
            match file.block(&self.input)? {
                Some((used, block)) => self.begin(used, block),
                None if self.is_end && self.input.is_empty() => return Ok(Next::End),
                None if self.is_end => return Err(Broken::new("its last block breaks off")),
                None => return Ok(Next::More),
            }
        }
    }

    /// Begins to read a block. Of the first one rows may have been read before.
    fn begin(&mut self, used: usize, mut block: Block) {
        (0..self.place.skip).take_while(|_| block.next().is_some()).for_each(drop);
        self.place.offset = self.before;
        self.block = Some(block);
        self.take(used);
    }

    fn next_of_block(&mut self) -> Option<Next> {
        let Some(row) = self.block.as_mut()?.next() else {
            let rows = self.block.take().map_or(0, |block| block.rows());
            self.place.rows += rows.saturating_sub(std::mem::take(&mut self.place.skip));
            return None;
        };
        let number = self.place.rows + 1;
        let (rows, content) = match row {
            Ok(json) => (1, RowContent::Structured(json)),
            Err(Unreadable { rows, bytes, why }) => (rows, RowContent::Bad { bytes, why }),
        };
        self.place = Place { rows: self.place.rows + rows, skip: self.place.skip + rows, ..self.place };
        Some(Next::Row(Row { number, byte: None, content, next: self.place }))
    }

    fn take(&mut self, count: usize) {
        self.input.advance(count);
        self.before += count as u64;
    }

    async fn more(&mut self) -> Result<()> {
        match self.pieces.next().await? {
            Some(piece) => self.input.extend_from_slice(&piece),
            None => self.is_end = true,
        }
        Ok(())
    }
}

impl<P: Ports> ColumnRows<P> {
    fn next(&mut self) -> Result<Next, Broken> {
        let Some((group, columns)) = &mut self.current else {
            let is_end = self.next >= self.footer.groups().len() && self.ahead.is_empty();
            return Ok(if is_end { Next::End } else { Next::More });
        };
        match columns.next() {
            None => {
                let next = *group as u64 + 1;
                self.place = Place { offset: next, skip: 0, ..self.place };
                self.current = None;
                self.next()
            }
            Some(row) => {
                let Place { rows, skip, .. } = self.place;
                self.place = Place { rows: rows + 1, skip: skip + 1, ..self.place };
                let content = match row? {
                    Ok(json) => RowContent::Structured(json),
                    Err(why) => RowContent::Bad { bytes: Bytes::new(), why },
                };
                Ok(Next::Row(Row { number: rows + 1, byte: None, content, next: self.place }))
            }
        }
    }

    /// Requests row groups, and waits for the next of them.
    async fn more(&mut self) -> Result<(), Unread> {
        let groups = self.footer.groups();
        while let Some(group) = groups.get(self.next) {
            let ahead = &groups[self.next - self.ahead.len()..self.next];
            let bytes = ahead.iter().map(|group| group.length).sum::<u64>();
            if !ahead.is_empty() && bytes + group.length > GROUPS_AHEAD_BYTES {
                break;
            }
            let (number, first, length, object) = (self.next, group.first, group.length, self.object.clone());
            self.ahead.push_back(Box::pin(async move { Ok((number, object.part(first, length).await?)) }));
            self.next += 1;
        }
        let Some(come) = self.ahead.next().await else { return Ok(()) };
        let (number, bytes) = come?;
        self.current = Some((number, self.footer.read(number, bytes, self.place.skip)?));
        Ok(())
    }
}
