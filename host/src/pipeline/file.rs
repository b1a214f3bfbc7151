//! Owns files as endpoints of a pipeline, as in Conduit's built-in `file` plugin: a source makes a record of each line, a
//! destination appends a line of OpenCDC JSON for each record. Leaves following a file as it grows to `followed`, and the
//! lines that are appended to `json_lines`.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use super::endpoint::{Input, Output};
use super::followed::{self, Followed, Line};
use super::json_lines::{JsonLinesOutput, Sink, unavailable};
use super::lines;
use crate::connector::destination::Ack;
use crate::connector::source::Progress;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Data, Operation, Record};

/// Bytes of lines per batch.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Interval at which a file that was read to its end is checked for growth.
const GROWTH_WAIT: Duration = Duration::from_millis(100);

/// Reads a file line by line, and continues as it grows.
///
/// The record of a line has the line's number as its key and the line as its payload; its position is the offset at
/// which the line ends, with a fingerprint of the file. A file that is renamed and created anew is first read to its
/// end. A file that is truncated, or that is not the one of a position, is read from its beginning. Both are logged.
pub struct FileInput {
    path: PathBuf,
    takes_partial: bool,
    file: Option<Followed>,
}

impl FileInput {
    /// Reads the file at `path`. With `takes_partial`, text after the last newline is a line too, and is read again as a
    /// whole when it has grown; without, it becomes a line when its newline is written.
    pub fn new(path: impl Into<PathBuf>, takes_partial: bool) -> Self {
        Self { path: path.into(), takes_partial, file: None }
    }

    fn error(&self, kind: ErrorKind, why: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("file {}: {why}", self.path.display()))
    }

    fn explain(&self, error: followed::Error) -> Error {
        match error {
            followed::Error::Lines(lines::Error::Read(error)) => self.error(ErrorKind::Unavailable, error),
            followed::Error::Lines(error) => {
                let number = self.file.as_ref().map_or(1, Followed::number);
                self.error(ErrorKind::Invalid, format!("line {number}: {error}"))
            }
            followed::Error::Position => self.error(ErrorKind::Corrupt, error),
        }
    }

    fn record(&self, line: Line) -> Record {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let path = self.path.to_string_lossy().into_owned();
        Record {
            position: Bytes::from(line.position),
            operation: Operation::Create,
            metadata: [("file.path".to_owned(), path), ("opencdc.readAt".to_owned(), now.as_nanos().to_string())]
                .into(),
            key: Some(Data::Raw(Bytes::from(line.number.to_string()))),
            payload: Change { before: None, after: Some(Data::Raw(Bytes::from(line.bytes))) },
        }
    }

    /// Reads the lines that are available.
    async fn take(&mut self, records_max: usize) -> Result<Vec<Record>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < records_max && bytes < BATCH_BYTES_MAX {
            let Some(file) = &mut self.file else {
                return Err(self.error(ErrorKind::Closed, "not open"));
            };
            match file.next(self.takes_partial).await {
                Ok(Some(line)) => {
                    bytes += line.bytes.len();
                    batch.push(self.record(line));
                }
                Ok(None) => break,
                // The lines before it go first; the failure occurs again.
                Err(_) if !batch.is_empty() => break,
                Err(error) => return Err(self.explain(error)),
            }
        }
        Ok(batch)
    }
}

impl Input for FileInput {
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        self.file = Some(Followed::open(&self.path, position).await.map_err(|error| self.explain(error))?);
        Ok(())
    }

    async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Option<Vec<Record>>> {
        let deadline = Instant::now() + wait;
        loop {
            let batch = self.take(records_max as usize).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !batch.is_empty() || left.is_zero() {
                return Ok(Some(batch));
            }
            sleep(left.min(GROWTH_WAIT)).await;
        }
    }

    async fn ack(&mut self, _position: &[u8]) -> Result<()> {
        Ok(())
    }

    async fn progress(&mut self) -> Result<Progress> {
        Ok(Progress { caught_up: self.file.as_ref().is_some_and(Followed::is_caught_up), ..Progress::default() })
    }

    async fn teardown(&mut self) -> Result<()> {
        self.file = None;
        Ok(())
    }
}

/// Appends lines of OpenCDC JSON to a file. A record is acked when its line is on disk.
pub struct FileOutput {
    path: PathBuf,
    lines: Option<JsonLinesOutput<Appended>>,
    /// Whether it is a pipe or the like, and holds a torn line or accepts no more bytes.
    is_broken: bool,
}

impl FileOutput {
    /// Appends to the file at `path`, and creates it if it does not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), lines: None, is_broken: false }
    }

    fn explain(&self, error: Error) -> Error {
        error.context(format!("file {}", self.path.display()))
    }

    fn lines(&mut self) -> Result<&mut JsonLinesOutput<Appended>> {
        self.lines.as_mut().ok_or_else(|| Error::new(ErrorKind::Closed, "the file is not open"))
    }
}

impl Output for FileOutput {
    async fn open(&mut self) -> Result<()> {
        let file =
            Appended::open(&self.path).await.map_err(|error| self.explain(unavailable("cannot open it", &error)))?;
        self.lines = Some(JsonLinesOutput::new(file));
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        self.lines()?.write(records).await.map_err(|error| self.explain(error))
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        self.lines()?.flush(wait).await.map_err(|error| self.explain(error))
    }

    async fn teardown(&mut self) -> Result<()> {
        if let Some(lines) = self.lines.take() {
            self.is_broken |= lines.is_broken() && lines.sink().start_bytes.is_none();
        }
        Ok(())
    }

    /// Opening a file again cuts off a torn line; one that was written into a pipe stays there.
    async fn renew(&mut self) -> Result<bool> {
        self.teardown().await?;
        Ok(!self.is_broken)
    }
}

/// A file that is appended to.
pub(super) struct Appended {
    file: File,
    /// Its length when it was opened; `None` if it is no regular file.
    start_bytes: Option<u64>,
}

/// How each line that this output writes begins.
const LINE_START: &[u8] = b"{\"position\":";

impl Appended {
    async fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().append(true).create(true).open(path).await?;
        let metadata = file.metadata().await?;
        if !metadata.is_file() {
            return Ok(Self { file, start_bytes: None });
        }
        let mut start_bytes = metadata.len();
        if let Some((tail_at, tail)) = torn_line(path, start_bytes).await? {
            if tail.starts_with(LINE_START) || LINE_START.starts_with(&tail) {
                // A crash tore it. Its record was not acked, and is read again.
                tracing::warn!(path = %path.display(), "removing the torn last line of the file");
                file.set_len(tail_at).await?;
                start_bytes = tail_at;
            } else {
                file.write_all(b"\n").await?;
                file.flush().await?;
                start_bytes += 1;
            }
        }
        Ok(Self { file, start_bytes: Some(start_bytes) })
    }
}

/// Where the file's last line begins, and its first bytes; `None` if it ends with a newline.
async fn torn_line(path: &Path, length: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut file = File::open(path).await?;
    let mut tail_at = length;
    let mut piece = vec![0; 64 << 10];
    while tail_at > 0 {
        let from = tail_at.saturating_sub(piece.len() as u64);
        let read = usize::try_from(tail_at - from).unwrap_or(piece.len());
        file.seek(SeekFrom::Start(from)).await?;
        file.read_exact(&mut piece[..read]).await?;
        if let Some(at) = piece[..read].iter().rposition(|byte| *byte == b'\n') {
            tail_at = from + at as u64 + 1;
            break;
        }
        tail_at = from;
    }
    if tail_at == length {
        return Ok(None);
    }
    let mut start = Vec::new();
    file.seek(SeekFrom::Start(tail_at)).await?;
    file.take(LINE_START.len() as u64).read_to_end(&mut start).await?;
    Ok(Some((tail_at, start)))
}

impl tokio::io::AsyncWrite for Appended {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.file).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.file).poll_shutdown(context)
    }
}

impl Sink for Appended {
    async fn sync(&mut self) -> io::Result<()> {
        match self.start_bytes {
            Some(_) => self.file.sync_data().await,
            // A pipe or a terminal is not on disk.
            None => Ok(()),
        }
    }

    async fn truncate_to(&mut self, bytes: u64) -> io::Result<bool> {
        match self.start_bytes {
            Some(start_bytes) => self.file.set_len(start_bytes + bytes).await.map(|()| true),
            None => Ok(false),
        }
    }
}
