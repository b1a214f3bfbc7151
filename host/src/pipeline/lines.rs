//! Splits a stream of bytes into lines of bounded length. What a line says is the reader's business.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Bytes taken from the stream at a time: four times what a pipe of Linux holds.
const READ_BYTES: usize = 256 << 10;

/// Lines of a stream.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// Lines that were handed out.
    number: u64,
    /// Bytes of those lines, with their ends.
    offset: u64,
    bytes_max: usize,
}

/// What a stream gave.
pub(super) enum Next {
    /// A line without its end.
    Line(Vec<u8>),
    /// The stream is at its end; what came behind the last line's end is in [`Lines::take_partial`].
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
    /// Lines of `reader`, which stands `offset` bytes and `number` lines behind the beginning.
    pub(super) fn new(reader: R, number: u64, offset: u64, bytes_max: usize) -> Self {
        let reader = BufReader::with_capacity(READ_BYTES, reader);
        Self { reader, partial: Vec::new(), number, offset, bytes_max }
    }

    /// The next line. May be dropped half way: what was read stays. May be asked again at the end, since a file
    /// may grow.
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

    /// The line that the stream's end cut off, if there is one.
    pub(super) fn take_partial(&mut self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then(|| self.count(0))
    }

    /// The part of a line that is waiting for its end.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// The number of the line that was handed out last, from one.
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
