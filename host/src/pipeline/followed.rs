//! Owns reading a file line by line while it grows, and noticing that it is another file: renamed and created anew,
//! truncated, or rewritten between two runs. Leaves turning lines into records to `file`.
//!
//! A position holds an offset and a fingerprint of the file up to it: an offset alone could point into the middle of
//! another file that now has the name. It holds no inode number: file systems reuse those.

use std::fs::{File as StdFile, Metadata};
use std::hash::Hasher as _;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher24;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::Instant;

use super::lines::{self, Lines, Next};

/// The longest line: what a destination takes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// How long a file that has lost its name must be quiet before it counts as ended: a log rotator renames it first and
/// notifies the writer afterwards, and the writer finishes its line before it opens the new file.
const RENAMED_WAIT: Duration = Duration::from_secs(5);

/// Bytes of a fingerprint at the file's beginning, and before the offset that was reached. Each check of the file reads
/// them.
const HEAD_BYTES: usize = 1024;
const TAIL_BYTES: usize = 64;

/// Separates offset and digest in a position.
const SEPARATOR: char = '~';

/// A file that is read while it grows.
pub(super) struct Followed {
    path: PathBuf,
    /// The same file as `lines` reads, for checks.
    handle: Arc<StdFile>,
    lines: Lines<File>,
    fingerprint: Fingerprint,
    /// Length of the unfinished line, if it was already returned as a line.
    emitted_bytes: Option<usize>,
    is_at_end: bool,
    status: FileStatus,
}

/// The relation of the file to its name.
#[derive(Clone, Copy)]
enum FileStatus {
    /// The name belongs to it.
    Named,
    /// The name belongs to another file. Holds when this was noticed, or when the last line was read, if later.
    Renamed(Instant),
    /// It no longer holds what was read from it.
    Rewritten(&'static str),
}

/// A line, and where the next one begins.
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    /// Its number, from one.
    pub(super) number: u64,
    /// The position after it.
    pub(super) position: String,
}

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("this is not the position of a line")]
    Position,
    #[error(transparent)]
    Lines(#[from] lines::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Lines(error.into())
    }
}

impl Followed {
    /// Opens the file, to resume at a position. A file that is not the one of the position is read from its beginning.
    pub(super) async fn open(path: &Path, position: Option<&[u8]>) -> Result<Self, Error> {
        let position = position.map(FilePosition::parse).transpose()?;
        let path = path.to_owned();
        let handle = on_disk({
            let path = path.clone();
            move || StdFile::open(path)
        });
        let handle = Arc::new(handle.await?);
        let mut start = LineStart::default();
        // Both share one file offset, which only `file` moves: checks read at explicit offsets.
        let mut file = File::from_std(handle.try_clone()?);
        if let Some(position) = position {
            match LineStart::find(&handle, &mut file, position).await? {
                Ok(found) => start = found,
                Err(why) => begin_anew(&path, why),
            }
            file.seek(io::SeekFrom::Start(start.offset)).await?;
        }
        Ok(Self {
            path,
            handle,
            lines: Lines::new(file, start.number, start.offset, LINE_BYTES_MAX),
            fingerprint: start.fingerprint,
            emitted_bytes: start.emitted_bytes,
            is_at_end: false,
            status: FileStatus::Named,
        })
    }

    /// Whether all of its lines were returned.
    pub(super) fn is_caught_up(&self) -> bool {
        let partial = self.lines.partial().len();
        let is_emitted = partial == 0 || self.emitted_bytes == Some(partial);
        self.is_at_end && is_emitted && matches!(self.status, FileStatus::Named)
    }

    /// The number of the line that is read next.
    pub(super) fn number(&self) -> u64 {
        self.lines.number() + 1
    }

    /// The next line, if one is available. With `takes_partial`, text after the last newline is a line too, and is
    /// returned again as a whole when it has grown. At the end of a renamed or rewritten file, it always is one.
    pub(super) async fn next(&mut self, takes_partial: bool) -> Result<Option<Line>, Error> {
        if self.is_at_end {
            self.check_identity().await?;
        }
        loop {
            let next = match self.status {
                FileStatus::Rewritten(_) => Next::End,
                _ => self.lines.next().await?,
            };
            match next {
                Next::Line(bytes) => {
                    self.is_at_end = false;
                    if let FileStatus::Renamed(quiet_since) = &mut self.status {
                        *quiet_since = Instant::now();
                    }
                    self.fingerprint.take(&bytes);
                    self.fingerprint.take(b"\n");
                    if self.emitted_bytes.take() == Some(bytes.len()) {
                        continue;
                    }
                    let (number, offset) = (self.lines.number(), self.lines.offset());
                    let position = FilePosition::text(offset, &self.fingerprint);
                    return Ok(Some(Line { bytes, number, position }));
                }
                Next::End => {
                    self.is_at_end = true;
                    let ended = self.ended();
                    if (takes_partial || ended.is_some())
                        && let Some(line) = self.emit_partial()
                    {
                        return Ok(Some(line));
                    }
                    let Some(why) = ended else { return Ok(None) };
                    match Self::open(&self.path, None).await {
                        Ok(other) => *self = other,
                        // The new file is not there yet.
                        Err(Error::Lines(lines::Error::Read(error))) if error.kind() == io::ErrorKind::NotFound => {
                            return Ok(None);
                        }
                        Err(error) => return Err(error),
                    }
                    begin_anew(&self.path, why);
                }
            }
        }
    }

    /// The text after the last newline, if it was not returned before.
    fn emit_partial(&mut self) -> Option<Line> {
        let bytes = self.lines.partial();
        if bytes.is_empty() || self.emitted_bytes == Some(bytes.len()) {
            return None;
        }
        let mut fingerprint = self.fingerprint.clone();
        fingerprint.take(bytes);
        let offset = self.lines.offset() + bytes.len() as u64;
        let line =
            Line { bytes: bytes.to_vec(), number: self.number(), position: FilePosition::text(offset, &fingerprint) };
        self.emitted_bytes = Some(line.bytes.len());
        Some(line)
    }

    /// Why this file will have no more lines; `None` if it may have.
    fn ended(&self) -> Option<&'static str> {
        match self.status {
            FileStatus::Named => None,
            FileStatus::Rewritten(why) => Some(why),
            FileStatus::Renamed(quiet_since) => {
                (quiet_since.elapsed() >= RENAMED_WAIT).then_some("another file has its name")
            }
        }
    }

    /// Checks whether the name still belongs to the file that was read.
    async fn check_identity(&mut self) -> Result<(), Error> {
        if !matches!(self.status, FileStatus::Named) {
            return Ok(());
        }
        let (handle, path) = (Arc::clone(&self.handle), self.path.clone());
        let mut fingerprint = self.fingerprint.clone();
        fingerprint.take(self.lines.partial());
        let read_bytes = self.lines.offset() + self.lines.partial().len() as u64;
        self.status = on_disk(move || {
            let metadata = handle.metadata()?;
            if !metadata.is_file() {
                return Ok(FileStatus::Named);
            }
            if metadata.len() < read_bytes {
                return Ok(FileStatus::Rewritten("it is shorter than the part that was read"));
            }
            if Fingerprint::of(&handle, read_bytes)?.digest() != fingerprint.digest() {
                return Ok(FileStatus::Rewritten("it no longer holds the part that was read"));
            }
            Ok(match std::fs::metadata(path) {
                Ok(named) if !is_same(&named, &metadata) => FileStatus::Renamed(Instant::now()),
                // If no file has the name now, one will.
                _ => FileStatus::Named,
            })
        })
        .await?;
        Ok(())
    }
}

/// Where reading begins.
#[derive(Default)]
struct LineStart {
    number: u64,
    offset: u64,
    fingerprint: Fingerprint,
    emitted_bytes: Option<usize>,
}

impl LineStart {
    /// Finds the line of a position, or says why it is not in this file.
    async fn find(
        handle: &Arc<StdFile>,
        file: &mut File,
        position: FilePosition,
    ) -> Result<Result<Self, &'static str>, Error> {
        let regular = metadata(handle).await?;
        if regular.is_file() && regular.len() < position.offset {
            return Ok(Err("it is shorter than the position"));
        }
        let Some((number, line_at)) = count_lines(file, position.offset).await? else {
            return Ok(Err("it is shorter than the position"));
        };
        let digest_at = |offset| {
            let handle = Arc::clone(handle);
            on_disk(move || Fingerprint::of(&handle, offset))
        };
        let is_known = match position.digest {
            // Positions of earlier versions have no digest.
            None => true,
            Some(digest) => digest_at(position.offset).await?.digest() == digest,
        };
        if !is_known {
            return Ok(Err("it is not the file of the position"));
        }
        // A line that was unfinished when it was returned may have grown.
        let emitted_bytes = usize::try_from(position.offset - line_at).unwrap_or(usize::MAX);
        Ok(Ok(Self {
            number,
            offset: line_at,
            fingerprint: digest_at(line_at).await?,
            emitted_bytes: (emitted_bytes > 0).then_some(emitted_bytes),
        }))
    }
}

/// An offset in a file, and a digest of its fingerprint.
#[derive(Debug, PartialEq, Eq)]
struct FilePosition {
    offset: u64,
    digest: Option<u64>,
}

impl FilePosition {
    fn text(offset: u64, fingerprint: &Fingerprint) -> String {
        format!("{offset}{SEPARATOR}{:016x}", fingerprint.digest())
    }

    fn parse(position: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(position).map_err(|_| Error::Position)?;
        let (offset, digest) = match text.split_once(SEPARATOR) {
            None => (text, None),
            Some((offset, digest)) => (offset, Some(digest)),
        };
        let digest = digest.map(|digest| match digest.len() {
            16 => u64::from_str_radix(digest, 16).map_err(|_| Error::Position),
            _ => Err(Error::Position),
        });
        Ok(Self { offset: offset.parse().map_err(|_| Error::Position)?, digest: digest.transpose()? })
    }
}

/// What identifies a file: its first bytes, and the bytes before the offset that was reached.
#[derive(Clone, Debug, Default)]
struct Fingerprint {
    bytes: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Fingerprint {
    /// Adds the bytes that were read next.
    fn take(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        self.bytes += bytes.len() as u64;
    }

    /// That of a file up to an offset.
    fn of(file: &StdFile, offset: u64) -> io::Result<Self> {
        let part = |from: u64, bytes: usize| {
            let mut part = vec![0; bytes];
            match file.read_exact_at(&mut part, from) {
                // It was truncated meanwhile: no fingerprint of read bytes equals an empty one.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
                other => other.map(|()| part),
            }
        };
        let bytes_of = |bytes_max: usize| usize::try_from(offset).map_or(bytes_max, |offset| offset.min(bytes_max));
        let tail_bytes = bytes_of(TAIL_BYTES);
        Ok(Self {
            bytes: offset,
            head: part(0, bytes_of(HEAD_BYTES))?,
            tail: part(offset - tail_bytes as u64, tail_bytes)?,
        })
    }

    fn digest(&self) -> u64 {
        let mut hash = SipHasher24::new();
        hash.write(&self.bytes.to_le_bytes());
        hash.write(&self.head);
        hash.write(&self.tail);
        hash.finish()
    }
}

/// The number of lines before an offset, and where its line begins; `None` if the file ends before it.
async fn count_lines(file: &mut (impl AsyncRead + Unpin), offset: u64) -> io::Result<Option<(u64, u64)>> {
    let (mut number, mut line_at, mut at) = (0, 0, 0);
    let mut piece = vec![0; 64 << 10];
    while at < offset {
        let left = usize::try_from(offset - at).unwrap_or(usize::MAX);
        let bytes_max = left.min(piece.len());
        let read = file.read(&mut piece[..bytes_max]).await?;
        if read == 0 {
            return Ok(None);
        }
        let ends = piece[..read].iter().enumerate();
        for (index, _) in ends.filter(|(_, byte)| **byte == b'\n') {
            number += 1;
            line_at = at + index as u64 + 1;
        }
        at += read as u64;
    }
    Ok(Some((number, line_at)))
}

fn begin_anew(path: &Path, why: &str) {
    tracing::warn!(path = %path.display(), why, "reading the file from its beginning");
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

async fn metadata(handle: &Arc<StdFile>) -> io::Result<Metadata> {
    let handle = Arc::clone(handle);
    on_disk(move || handle.metadata()).await
}

/// Runs blocking disk access on a thread of its own.
async fn on_disk<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(job).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_what_stands_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let bytes: Vec<u8> = (0..5000_u32).map(|n| (n % 253) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = StdFile::open(&path).unwrap();
        for step in [1, 7, 63, 64, 65, 1023, 1024, 1025, 5000] {
            let mut fingerprint = Fingerprint::default();
            for piece in bytes.chunks(step) {
                fingerprint.take(piece);
                let found = Fingerprint::of(&file, fingerprint.bytes).unwrap();
                assert_eq!((&fingerprint.head, &fingerprint.tail), (&found.head, &found.tail));
                assert_eq!(fingerprint.digest(), found.digest());
            }
        }
        let beyond = Fingerprint::of(&file, 5001).unwrap();
        assert!(beyond.tail.is_empty());
    }

    #[test]
    fn a_position_reads_back_and_so_does_a_bare_offset() {
        let mut fingerprint = Fingerprint::default();
        fingerprint.take(b"one\n");
        let text = FilePosition::text(4, &fingerprint);
        let read = FilePosition::parse(text.as_bytes()).unwrap();
        let digest = Some(fingerprint.digest());
        assert_eq!(read, FilePosition { offset: 4, digest });
        let bare = FilePosition::parse(b"4").unwrap();
        assert_eq!((bare.offset, bare.digest), (4, None));
        for bad in ["", "x", "-1", "4~", "4~1", "4~000000000000000g", "~0000000000000000"] {
            assert!(FilePosition::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
