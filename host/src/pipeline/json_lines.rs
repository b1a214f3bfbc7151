//! Owns streams of OpenCDC JSON lines as endpoints of a pipeline: one record per line. Leaves the encoding of a line to
//! `record::json`, and opening files to `file`.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::endpoint::{Input, Output};
use super::lines::{self, Lines, Next};
use crate::connector::destination::Ack;
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::printable;
use crate::record::{Body, Data, NoBody, Record, from_memory, json};

/// The longest line. A destination takes records of 64 MiB, which are 86 MiB in base64; the rest is for escapes.
const LINE_BYTES_MAX: usize = 128 << 20;

/// Some programs begin UTF-8 text with this mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Bytes of lines per batch: enough to keep a destination busy, and few compared to its buffer.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// How long a batch that has records waits for more. A pipe delivers in pieces; one batch per piece would cost calls.
const GATHER_WAIT: Duration = Duration::from_millis(5);

/// A record whose data are in memory.
type InMemoryRecord = s3_connector::record::Record<NoBody>;

/// Reads records from lines.
pub struct JsonLinesInput<R> {
    lines: Lines<R>,
    is_ended: bool,
    failed: Option<Error>,
    ignored: Option<Arc<IgnoredFields>>,
    consumed: Arc<AtomicU64>,
}

/// Unknown fields that an input ignored.
#[derive(Debug, Default)]
pub struct IgnoredFields {
    fields: AtomicU64,
    first: OnceLock<(u64, String)>,
}

impl IgnoredFields {
    /// The number of them.
    pub fn fields(&self) -> u64 {
        self.fields.load(Ordering::Relaxed)
    }

    /// The line number and the name of the first one.
    pub fn first(&self) -> Option<(u64, &str)> {
        let (line, name) = self.first.get()?;
        Some((*line, name))
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> JsonLinesInput<R> {
    /// Reads from `reader`. Positions are those in the lines, so it can't resume after one.
    pub fn new(reader: R) -> Self {
        let lines = Lines::new(reader, 0, 0, LINE_BYTES_MAX);
        Self { lines, is_ended: false, failed: None, ignored: None, consumed: Arc::default() }
    }

    /// Ignores unknown fields, and counts them; otherwise they are errors.
    pub fn lenient(&mut self) -> Arc<IgnoredFields> {
        Arc::clone(self.ignored.get_or_insert_default())
    }

    /// Bytes of the lines that were read so far.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.consumed)
    }

    /// Adds the record of a line to the batch. Returns the length of the line.
    fn take(&mut self, next: Result<Next, lines::Error>, batch: &mut Vec<Record>) -> usize {
        let line = match next {
            Ok(Next::Line(line)) => line,
            Ok(Next::End) => {
                self.is_ended = true;
                self.lines.take_partial().unwrap_or_default()
            }
            Err(lines::Error::Read(error)) => {
                self.failed = Some(unavailable("cannot read the input", &error));
                return 0;
            }
            Err(error @ lines::Error::Long { .. }) => {
                self.fail(self.lines.number() + 1, error);
                return 0;
            }
        };
        self.consumed.store(self.lines.offset(), Ordering::Relaxed);
        // Concatenated files have one at each file's beginning.
        let text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line);
        if text.trim_ascii().is_empty() {
            return line.len();
        }
        match self.decode(text) {
            Ok(record) => batch.push(from_memory(record)),
            Err(error @ json::Error::Unknown { .. }) => {
                let why = format!("{error} (`--lenient` ignores such fields)");
                self.fail(self.lines.number(), why);
            }
            Err(error) => self.fail(self.lines.number(), error),
        }
        line.len()
    }

    fn decode(&self, line: &[u8]) -> std::result::Result<InMemoryRecord, json::Error> {
        let Some(ignored) = &self.ignored else {
            return json::decode_line(line);
        };
        let (record, unknown) = json::decode_line_leniently(line)?;
        let count = unknown.len() as u64;
        ignored.fields.fetch_add(count, Ordering::Relaxed);
        if let Some(name) = unknown.into_iter().next() {
            ignored.first.get_or_init(|| (self.lines.number(), name));
        }
        Ok(record)
    }

    fn fail(&mut self, number: u64, why: impl std::fmt::Display) {
        self.failed = Some(Error::new(ErrorKind::Invalid, format!("line {number}: {why}")));
    }
}

impl<R: AsyncRead + Send + Unpin + 'static> Input for JsonLinesInput<R> {
    async fn open(&mut self, _position: Option<&[u8]>) -> Result<()> {
        Ok(())
    }

    async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        let deadline = Instant::now() + wait;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while self.failed.is_none() && !self.is_ended && batch.len() < records_max as usize && bytes < BATCH_BYTES_MAX {
            let until = if batch.is_empty() { deadline } else { Instant::now() + GATHER_WAIT };
            match timeout_at(until, self.lines.next()).await {
                Ok(next) => bytes += self.take(next, &mut batch),
                Err(_) => break,
            }
        }
        // Records before a bad line go first.
        match &self.failed {
            Some(error) if batch.is_empty() => Err(error.clone()),
            None if batch.is_empty() && self.is_ended => Ok(None),
            _ => Ok(Some(batch)),
        }
    }

    async fn ack(&mut self, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn progress(&mut self) -> Result<Progress> {
        Ok(Progress { caught_up: self.is_ended, ..Progress::default() })
    }

    async fn teardown(&mut self) -> Result<()> {
        Ok(())
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}

/// What lines are written to.
pub trait Sink: AsyncWrite + Send + Unpin + 'static {
    /// Makes flushed bytes durable, if it can.
    fn sync(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Removes everything after the first `bytes` bytes that were written here; false if it can't.
    fn truncate_to(&mut self, bytes: u64) -> impl Future<Output = io::Result<bool>> + Send {
        let _ = bytes;
        std::future::ready(Ok(false))
    }
}

impl Sink for tokio::io::Stdout {}
impl Sink for tokio::io::DuplexStream {}
impl Sink for Vec<u8> {}

/// Bytes of text that are buffered before a write.
const WRITE_BYTES: usize = 256 << 10;

/// Bodies up to this size are read before their line begins, so that one that breaks off leaves no torn line. The host has
/// them in memory anyway.
const WHOLE_BODY_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a key in an error: the length of S3's longest key.
const KEY_BYTES_MAX: usize = 1024;

/// Writes records as lines, and acks them when they are flushed.
///
/// A large body is written in pieces. If it breaks off, its line ends there, without the brackets and the newline of a
/// whole one, and the output fails.
pub struct JsonLinesOutput<W> {
    sink: W,
    /// Text that is not written yet.
    text: Vec<u8>,
    /// Bytes up to the end of the last whole line, and all bytes that were written.
    whole_bytes: u64,
    written_bytes: u64,
    failed: Option<Error>,
    /// Whether a line is torn permanently, or the sink failed.
    is_broken: bool,
    is_reader_gone: Arc<AtomicBool>,
}

impl<W: Sink> JsonLinesOutput<W> {
    /// Writes to `sink`.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            text: Vec::new(),
            whole_bytes: 0,
            written_bytes: 0,
            failed: None,
            is_broken: false,
            is_reader_gone: Arc::default(),
        }
    }

    /// Becomes true when the sink is a pipe whose reader is gone.
    pub fn is_reader_gone(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_reader_gone)
    }

    /// Whether a line is torn permanently, or the sink failed.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// What lines are written to.
    pub(super) fn sink(&self) -> &W {
        &self.sink
    }

    /// Appends a line to the text, and writes the text to the sink as it grows.
    async fn write_line(&mut self, mut record: Record) -> Result<()> {
        record.payload.before = match record.payload.before.take() {
            Some(Data::Body { bytes, .. }) => Some(Data::Raw(bytes.collect().await?)),
            other => other,
        };
        match record.payload.after {
            Some(Data::Body { length, .. }) if length.is_some_and(|n| n <= WHOLE_BODY_BYTES_MAX) => {
                let record = crate::record::collect(record).await?;
                json::encode_line(&record, &mut self.text);
            }
            Some(Data::Body { .. }) => self.write_streamed(record).await?,
            _ => {
                json::encode_head(&record, &mut self.text);
                json::encode_data(record.payload.after.as_ref(), &mut self.text);
                json::encode_tail(&mut self.text);
            }
        }
        self.whole_bytes = self.written_bytes + self.text.len() as u64;
        self.write_text_from(WRITE_BYTES).await
    }

    async fn write_streamed(&mut self, mut record: Record) -> Result<()> {
        json::encode_head(&record, &mut self.text);
        self.text.push(b'"');
        if let Some(Data::Body { bytes, .. }) = &mut record.payload.after {
            self.write_body(bytes).await?;
        }
        self.text.push(b'"');
        json::encode_tail(&mut self.text);
        Ok(())
    }

    async fn write_body(&mut self, body: &mut Body) -> Result<()> {
        // Up to two bytes wait for the next piece, so that only the last piece is padded.
        let mut rest: Vec<u8> = Vec::with_capacity(3);
        while let Some(piece) = body.next().await? {
            let missing = (3 - rest.len()) % 3;
            let (first, piece) = piece.split_at(missing.min(piece.len()));
            rest.extend_from_slice(first);
            if !rest.len().is_multiple_of(3) {
                continue;
            }
            json::encode_base64(&rest, &mut self.text);
            rest.clear();
            let (whole, last) = piece.split_at(piece.len() - piece.len() % 3);
            json::encode_base64(whole, &mut self.text);
            rest.extend_from_slice(last);
            self.write_text_from(WRITE_BYTES).await?;
        }
        json::encode_base64(&rest, &mut self.text);
        Ok(())
    }

    /// Writes the text if it has at least `bytes_min` bytes.
    async fn write_text_from(&mut self, bytes_min: usize) -> Result<()> {
        if self.text.is_empty() || self.text.len() < bytes_min {
            return Ok(());
        }
        let written = self.sink.write_all(&self.text).await;
        self.written_bytes += self.text.len() as u64;
        self.text.clear();
        written.map_err(|error| self.write_error(&error))
    }

    /// Writes all text and makes it durable.
    async fn finish(&mut self) -> Result<()> {
        self.write_text_from(0).await?;
        let flushed = match self.sink.flush().await {
            Ok(()) => self.sink.sync().await,
            Err(error) => Err(error),
        };
        flushed.map_err(|error| self.write_error(&error))
    }

    /// Removes the line that broke off: the part that was not written, and the rest if the sink can.
    async fn drop_torn_line(&mut self) {
        let torn_bytes = self.written_bytes + self.text.len() as u64 - self.whole_bytes;
        let unwritten_bytes = usize::try_from(torn_bytes).unwrap_or(usize::MAX).min(self.text.len());
        self.text.truncate(self.text.len() - unwritten_bytes);
        if self.written_bytes > self.whole_bytes {
            // The failure that tore it is the one to report; the next start cuts off the rest.
            let _ = self.sink.flush().await;
            let truncated = self.sink.truncate_to(self.whole_bytes).await;
            self.is_broken |= !truncated.is_ok_and(|truncated| truncated);
            self.written_bytes = self.whole_bytes;
        }
    }

    fn write_error(&mut self, error: &io::Error) -> Error {
        self.is_broken = true;
        if error.kind() == io::ErrorKind::BrokenPipe {
            self.is_reader_gone.store(true, Ordering::Relaxed);
        }
        unavailable("cannot write the output", error)
    }
}

impl<W: Sink> Output for JsonLinesOutput<W> {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut acks: Vec<Ack> = Vec::with_capacity(records.len());
        for record in records {
            let position = record.position.clone();
            let key = match &record.key {
                Some(Data::Raw(key)) => Some(key.clone()),
                _ => None,
            };
            if let Some(error) = refusal(&record) {
                let error = Some(error);
                acks.push(Ack { position, error });
                continue;
            }
            if let Err(error) = self.write_line(record).await {
                // If the sink still works, the record is at fault.
                self.failed = Some(match key {
                    Some(key) if !self.is_broken => error.context(named(&key)),
                    _ => error,
                });
                self.drop_torn_line().await;
                break;
            }
            acks.push(Ack { position, error: None });
        }
        if !acks.is_empty() {
            // The acks of the lines before a torn one go first; the next call reports what tore it.
            self.finish().await?;
        } else if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        Ok(acks)
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        self.write(Vec::new()).await
    }

    async fn teardown(&mut self) -> Result<()> {
        Ok(())
    }
    /// A body that broke off before a byte of its line was written is forgotten. After a torn line nothing more may be
    /// written, nor to a sink that accepts no more bytes.
    async fn renew(&mut self) -> Result<bool> {
        if self.is_broken {
            return Ok(false);
        }
        self.failed = None;
        Ok(true)
    }

    fn can_renew(&self) -> bool {
        !self.is_broken
    }
}

/// The name of the record with this key, for errors.
fn named(key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    format!("record `{}`", printable::line(&key, KEY_BYTES_MAX))
}

/// Why a record can't be a line; `None` if it can.
fn refusal(record: &Record) -> Option<Error> {
    let (key, before) = (&record.key, &record.payload.before);
    let refuse = |why: String| Some(Error::new(ErrorKind::Invalid, why));
    for data in [key, before, &record.payload.after].into_iter().flatten() {
        match data {
            Data::Structured(text) if !json::is_object(text) => {
                return refuse("the structured data are not a JSON object".to_owned());
            }
            _ => {}
        }
    }
    match (key, before) {
        (Some(Data::Body { .. }), _) => refuse("the key is a stream, which a line can't hold".to_owned()),
        (_, Some(Data::Body { length, .. })) if length.is_none_or(|n| n > WHOLE_BODY_BYTES_MAX) => {
            let bytes_max = WHOLE_BODY_BYTES_MAX;
            refuse(format!("the payload `before` is too large for a line; bytes_max=`{bytes_max}`"))
        }
        _ => None,
    }
}

pub(super) fn unavailable(what: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}: {error}"))
}
