//! Owns bytes that are written and must not become too many, and how many a row may become. Leaves other limits to its users.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::record::json;

/// Bytes of JSON that a row may become: what a destination takes as one record. Few bytes of a file may stand for many of it.
pub(super) const JSON_BYTES_MAX: usize = 64 << 20;

/// What is said of a row that would become more.
pub(super) const TOO_LARGE: &str = "it would be more than 64 MiB of JSON";

/// No more may be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Full;

impl From<io::Error> for Full {
    /// `Output` fails for no other reason.
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<serde_json::Error> for Full {
    /// Texts and numbers can be written always.
    fn from(_: serde_json::Error) -> Self {
        Self
    }
}

/// What was written.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Output {
    /// Takes that many bytes at most, of which so many are expected.
    pub(super) fn new(bytes_max: usize, expected: usize) -> Self {
        Self { bytes: Vec::with_capacity(expected.min(bytes_max)), bytes_max }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What was written.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// The byte after that many, where there is one.
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes a text as JSON has it.
    pub(super) fn put_text(&mut self, text: &str) -> Result<(), Full> {
        if json::is_plain(text) {
            self.reserve(text.len() + 2)?;
            self.bytes.push(b'"');
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.push(b'"');
            return Ok(());
        }
        Ok(serde_json::to_writer(self, text)?)
    }

    /// Writes bytes as a text in base64.
    pub(super) fn put_base64(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let length = base64::encoded_len(bytes.len(), true).ok_or(Full)?;
        self.reserve(length.saturating_add(2))?;
        self.bytes.push(b'"');
        let begin = self.bytes.len();
        self.bytes.resize(begin + length, 0);
        // It fails where the text has more bytes than were just made for it.
        STANDARD.encode_slice(bytes, &mut self.bytes[begin..]).map_err(|_| Full)?;
        self.bytes.push(b'"');
        Ok(())
    }

    /// Takes back what was written after that many bytes.
    pub(super) fn split_off(&mut self, at: usize) -> Vec<u8> {
        self.bytes.split_off(at)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn reserve(&mut self, more: usize) -> Result<(), Full> {
        if more > self.bytes_max - self.bytes.len() {
            return Err(Full);
        }
        self.bytes.reserve(more);
        Ok(())
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes).map_err(|Full| io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
