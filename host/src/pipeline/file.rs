//! Files as ends of a pipeline, with the meaning of Conduit's built-in `file` plugin: a source makes a record of each
//! line, a destination appends a line of OpenCDC JSON for each record.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use super::ends::{Input, Output};
use super::json_lines::{JsonLinesOutput, Sink, unavailable};
use super::lines::{self, Lines, Next};
use crate::destination::Ack;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Change, Data, Operation, Record};
use crate::source::Progress;

/// The longest line: what a destination takes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Bytes of lines in a batch.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// How often a file that was read to its end is looked at again.
const GROWTH_WAIT: Duration = Duration::from_millis(100);

/// Reads a file line by line, and goes on as it grows.
///
/// A line's record has the line's number as its key and the line as its payload; its position is the offset at
/// which the line ends, in decimal.
pub struct FileInput {
    path: PathBuf,
    takes_partial: bool,
    lines: Option<Lines<File>>,
    is_caught_up: bool,
}

impl FileInput {
    /// Reads the file at `path`. With `takes_partial`, what stands behind the last newline is a line too; without,
    /// it is one once its newline comes.
    pub fn new(path: impl Into<PathBuf>, takes_partial: bool) -> Self {
        Self {
            path: path.into(),
            takes_partial,
            lines: None,
            is_caught_up: false,
        }
    }

    fn error(&self, kind: ErrorKind, why: impl std::fmt::Display) -> Error {
        Error::new(kind, format!("file {}: {why}", self.path.display()))
    }

    fn record(&self, line: Vec<u8>, number: u64, offset: u64) -> Record {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let path = self.path.to_string_lossy().into_owned();
        Record {
            position: Bytes::from(offset.to_string()),
            operation: Operation::Create,
            metadata: [
                ("file.path".to_owned(), path),
                ("opencdc.readAt".to_owned(), now.as_nanos().to_string()),
            ]
            .into(),
            key: Some(Data::Raw(Bytes::from(number.to_string()))),
            payload: Change {
                before: None,
                after: Some(Data::Raw(Bytes::from(line))),
            },
        }
    }

    /// Takes the lines that are there.
    async fn take(&mut self, records_max: usize) -> Result<Vec<Record>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < records_max && bytes < BATCH_BYTES_MAX {
            let Some(lines) = &mut self.lines else {
                return Err(self.error(ErrorKind::Closed, "it is not open"));
            };
            let line = match lines.next().await {
                Ok(Next::Line(line)) => Some(line),
                Ok(Next::End) if self.takes_partial => lines.take_partial(),
                Ok(Next::End) => None,
                Err(lines::Error::Read(error)) => {
                    return Err(self.error(ErrorKind::Unavailable, error));
                }
                Err(error) => {
                    let number = lines.number() + 1;
                    return Err(self.error(ErrorKind::Invalid, format!("line {number}: {error}")));
                }
            };
            let (number, offset) = (lines.number(), lines.offset());
            self.is_caught_up = line.is_none() && !lines.has_partial();
            let Some(line) = line else { break };
            bytes += line.len();
            batch.push(self.record(line, number, offset));
        }
        Ok(batch)
    }
}

impl Input for FileInput {
    async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        let offset: u64 = match position {
            None => 0,
            Some(position) => std::str::from_utf8(position)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| {
                    self.error(ErrorKind::Corrupt, "the position is not an offset in it")
                })?,
        };
        let opened = open_at(&self.path, offset).await;
        let (file, number) = opened.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let why = format!("it is shorter than the position, {offset} bytes");
                self.error(ErrorKind::Corrupt, why)
            }
            _ => self.error(ErrorKind::Unavailable, error),
        })?;
        self.lines = Some(Lines::new(file, number, offset, LINE_BYTES_MAX));
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
        Ok(Progress {
            caught_up: self.is_caught_up,
            ..Progress::default()
        })
    }

    async fn teardown(&mut self) -> Result<()> {
        self.lines = None;
        Ok(())
    }
}

/// Opens the file at an offset, and counts the lines in front of it.
async fn open_at(path: &Path, offset: u64) -> io::Result<(File, u64)> {
    let mut file = File::open(path).await?;
    let (mut number, mut left) = (0, offset);
    let mut piece = vec![0; 64 << 10];
    while left > 0 {
        let bytes_max = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let read = file.read(&mut piece[..bytes_max]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        number += piece[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
        left -= read as u64;
    }
    Ok((file, number))
}

/// Appends lines of OpenCDC JSON to a file. A record is acked once its line is on the disk.
pub struct FileOutput {
    path: PathBuf,
    lines: Option<JsonLinesOutput<Appended>>,
}

impl FileOutput {
    /// Appends to the file at `path`, which is made where it is not there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            lines: None,
        }
    }

    fn explain(&self, error: Error) -> Error {
        error.context(format!("file {}", self.path.display()))
    }

    fn lines(&mut self) -> Result<&mut JsonLinesOutput<Appended>> {
        self.lines
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Closed, "the file is not open"))
    }
}

impl Output for FileOutput {
    async fn open(&mut self) -> Result<()> {
        let opened = Appended::open(&self.path).await;
        let opened =
            opened.map_err(|error| self.explain(unavailable("it cannot be opened", &error)))?;
        self.lines = Some(JsonLinesOutput::new(opened));
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        let written = self.lines()?.write(records).await;
        written.map_err(|error| self.explain(error))
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        let flushed = self.lines()?.flush(wait).await;
        flushed.map_err(|error| self.explain(error))
    }

    async fn teardown(&mut self) -> Result<()> {
        self.lines = None;
        Ok(())
    }
}

/// A file that is appended to.
pub(super) struct Appended {
    file: File,
    /// Its length when it was opened; none where it is no regular file.
    start_bytes: Option<u64>,
}

/// What a line of ours begins with.
const LINE_START: &[u8] = b"{\"position\":";

impl Appended {
    async fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .await?;
        let metadata = file.metadata().await?;
        if !metadata.is_file() {
            return Ok(Self {
                file,
                start_bytes: None,
            });
        }
        let mut start_bytes = metadata.len();
        if let Some((tail_at, tail)) = torn_line(path, start_bytes).await? {
            if tail.starts_with(LINE_START) || LINE_START.starts_with(&tail) {
                // A crash tore it. Its record was not acked, and comes again.
                tracing::warn!(path = %path.display(), "the file's last line is torn, and is cut off");
                file.set_len(tail_at).await?;
                start_bytes = tail_at;
            } else {
                file.write_all(b"\n").await?;
                file.flush().await?;
                start_bytes += 1;
            }
        }
        Ok(Self {
            file,
            start_bytes: Some(start_bytes),
        })
    }
}

/// Where the file's last line begins and what it begins with, if it has no newline.
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
    file.take(LINE_START.len() as u64)
        .read_to_end(&mut start)
        .await?;
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
            // A pipe or a terminal has no disk behind it.
            None => Ok(()),
        }
    }

    async fn take_back(&mut self, bytes: u64) -> io::Result<()> {
        match self.start_bytes {
            Some(start_bytes) => self.file.set_len(start_bytes + bytes).await,
            None => Ok(()),
        }
    }
}
