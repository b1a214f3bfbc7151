//! Owns batches as OpenCDC JSON, one record per line. Leaves the form of a line to `record::json`. Any bytes survive
//! it.

use super::compress::Compressor;
use crate::error::Result;
use crate::payload::Payload;
use crate::record::{NoBody, Record, json};
use crate::rows::Compression;

/// Writes records as they come, straight into the object's bytes.
#[derive(Debug)]
pub(super) struct Encoder(Compressor);

impl Encoder {
    /// Starts a batch, which is compressed so.
    pub(super) fn new(compression: Compression) -> Self {
        Self(Compressor::new(compression))
    }

    /// Takes the next record.
    pub(super) fn push(&mut self, record: &Record<NoBody>) {
        json::encode_line(record, &mut self.0);
    }

    /// The object.
    ///
    /// # Errors
    ///
    /// `internal`, which nothing in a record can cause.
    pub(super) fn finish(self) -> Result<Payload> {
        self.0.finish()
    }
}

/// The memory that a record takes: its line alone, since the record is dropped once that is written.
pub(super) fn held_bytes(record: &Record<NoBody>) -> u64 {
    json::line_bytes(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::format::samples;

    #[test]
    fn every_record_reads_back_as_it_was() {
        let mut encoder = Encoder::new(Compression::None);
        samples().iter().for_each(|record| encoder.push(record));
        let object = encoder.finish().expect("encodes").into_bytes();
        let lines = object.strip_suffix(b"\n").expect("ends with a newline").split(|b| *b == b'\n');
        let read: Vec<_> = lines.map(|line| json::decode_line(line).expect("a record")).collect();
        assert_eq!(read, samples());
    }
}
