//! Owns splitting a stream of bytes into lines of bounded length. Leaves their content to the reader.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Bytes per read: four times the capacity of a pipe on Linux.
const READ_BYTES: usize = 256 << 10;

/// Lines of a stream.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    /// The beginning of a line whose end was not read yet.
    partial: Vec<u8>,
    /// Lines that were returned.
    number: u64,
    /// Bytes of those lines, with their line ends.
    offset: u64,
    bytes_max: usize,
}

/// The result of a read.
pub(super) enum Next {
    /// A line without its end.
    Line(Vec<u8>),
    /// The stream is at its end; text after the last newline is in [`Lines::take_partial`].
    End,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The stream can't be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The line is longer than any record may be.
    #[error("longer than {} MiB", bytes_max >> 20)]
    Long {
        /// The bound.
        bytes_max: usize,
    },
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The lines of `reader`, which is `offset` bytes and `number` lines after the beginning.
    pub(super) fn new(reader: R, number: u64, offset: u64, bytes_max: usize) -> Self {
        let reader = BufReader::with_capacity(READ_BYTES, reader);
        Self { reader, partial: Vec::new(), number, offset, bytes_max }
    }

    /// The next line. Cancel-safe: bytes that were read stay. May be called again at the end, since a file may grow.
    pub(super) async fn next(&mut self) -> Result<Next, Error> {
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(Next::End);
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let line = &bytes[..end.unwrap_or(bytes.len())];
            if self.partial.len() + line.len() > self.bytes_max {
                return Err(Error::Long { bytes_max: self.bytes_max });
            }
            self.partial.extend_from_slice(line);
            let consumed = line.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Ok(Next::Line(self.count(1)));
            }
        }
    }

    /// The last line, if it has no newline.
    pub(super) fn take_partial(&mut self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then(|| self.count(0))
    }

    /// The part of a line whose end was not read yet.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// The number of the line that was returned last, from one.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Where that line ends.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    fn count(&mut self, end_bytes: u64) -> Vec<u8> {
        let line = std::mem::take(&mut self.partial);
        self.number += 1;
        self.offset += line.len() as u64 + end_bytes;
        line
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::time::timeout;

    use super::*;

    async fn next(lines: &mut Lines<impl AsyncRead + Unpin>) -> Option<String> {
        match lines.next().await.unwrap() {
            Next::Line(line) => Some(String::from_utf8(line).unwrap()),
            Next::End => None,
        }
    }

    #[tokio::test]
    async fn lines_are_numbered_and_end_where_they_end() {
        let mut lines = Lines::new(&b"a\n\nlong\r\nrest"[..], 0, 0, 100);
        for (text, number, offset) in [("a", 1, 2), ("", 2, 3), ("long\r", 3, 9)] {
            assert_eq!(next(&mut lines).await.as_deref(), Some(text));
            assert_eq!((lines.number(), lines.offset()), (number, offset));
        }
        assert_eq!(next(&mut lines).await, None);
        assert!(!lines.partial().is_empty());
        assert_eq!(lines.take_partial().as_deref(), Some(&b"rest"[..]));
        assert_eq!((lines.number(), lines.offset()), (4, 13));
        assert_eq!(lines.take_partial(), None);
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_loses_nothing() {
        let (mut sender, receiver) = tokio::io::duplex(64);
        let mut lines = Lines::new(receiver, 0, 0, 100);
        sender.write_all(b"ab").await.unwrap();
        assert!(timeout(Duration::ZERO, lines.next()).await.is_err());
        sender.write_all(b"c\n").await.unwrap();
        assert_eq!(next(&mut lines).await.as_deref(), Some("abc"));
    }

    #[tokio::test]
    async fn a_line_beyond_the_bound_is_refused_before_it_is_held() {
        let mut lines = Lines::new(&[b'x'; 200][..], 0, 0, 100);
        let error = lines.next().await.err().unwrap();
        assert!(matches!(error, Error::Long { bytes_max: 100 }));
        assert!(lines.partial.len() <= 100);
    }
}
