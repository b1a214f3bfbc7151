//! Owns compression of text on its way into an object: as it is written, so that the whole text is never in memory. Leaves
//! which compression that is to the settings, and formats that compress by themselves to those.
//!
//! The same text gives the same bytes, however it comes: no time and no name is in it.

use std::fmt;
use std::io::{Cursor, Write as _};

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, FrameCompressor, MatchGeneratorDriver};
use snap::write::FrameEncoder;

use crate::error::{Error, Result};
use crate::payload::{Payload, Writer};
use crate::record::json::Text;
use crate::rows::Compression;

/// Bytes of text that are compressed at a time. Text comes in pieces of a few bytes, each of which costs a call.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes of a zstd frame's text. The encoder writes a frame at once, so that more would be held; it looks back no further than
/// 128 KiB, so that more would save little. Readers can begin at each frame.
const FRAME_BYTES: usize = 1 << 20;

/// The level of gzip: as `gzip` has it by default.
const GZIP_LEVEL: u32 = 6;

/// Compresses text.
pub(super) struct Compressor {
    /// Text that waits.
    text: Vec<u8>,
    codec: Codec,
    /// Why nothing can be compressed any more.
    failed: Option<std::io::Error>,
}

enum Codec {
    /// It holds no memory before text comes.
    Idle(Compression),
    Plain(Writer),
    Gzip(Box<GzEncoder<Writer>>),
    Zstd(Box<FrameCompressor<Cursor<Vec<u8>>, Writer, MatchGeneratorDriver>>),
    Snappy(Box<FrameEncoder<Writer>>),
}

impl Compressor {
    /// Makes one, which compresses so.
    pub(super) fn new(compression: Compression) -> Self {
        Self { text: Vec::new(), codec: Codec::Idle(compression), failed: None }
    }

    /// Compresses the text that waits.
    fn compress(&mut self) {
        let done = match &mut self.codec {
            Codec::Idle(_) => Ok(()),
            Codec::Plain(writer) => {
                writer.put(&self.text);
                Ok(())
            }
            Codec::Gzip(encoder) => encoder.write_all(&self.text),
            Codec::Snappy(encoder) => encoder.write_all(&self.text),
            Codec::Zstd(encoder) => {
                encoder.set_source(Cursor::new(std::mem::take(&mut self.text)));
                encoder.compress();
                self.text = encoder.take_source().map(Cursor::into_inner).unwrap_or_default();
                Ok(())
            }
        };
        self.text.clear();
        if let Err(error) = done {
            self.failed.get_or_insert(error);
        }
    }

    /// Bytes of text at which it is compressed.
    fn piece_bytes(&self) -> usize {
        if matches!(self.codec, Codec::Zstd(_)) { FRAME_BYTES } else { PIECE_BYTES }
    }

    /// Ends the object.
    ///
    /// # Errors
    ///
    /// `internal`, which no text can cause.
    pub(super) fn finish(mut self) -> Result<Payload> {
        if let Codec::Idle(compression) = self.codec {
            self.codec = Codec::new(compression);
        }
        if !self.text.is_empty() {
            self.compress();
        }
        let failed = |error| Error::internal(format!("cannot compress: {error}"));
        if let Some(error) = self.failed {
            return Err(failed(error));
        }
        let writer = match self.codec {
            Codec::Idle(_) => Writer::default(),
            Codec::Plain(writer) => writer,
            Codec::Gzip(encoder) => encoder.finish().map_err(failed)?,
            Codec::Zstd(mut encoder) => encoder.take_drain().unwrap_or_default(),
            Codec::Snappy(encoder) => encoder.into_inner().map_err(|error| failed(error.into_error()))?,
        };
        Ok(writer.finish())
    }
}

impl Text for Compressor {
    fn put(&mut self, mut bytes: &[u8]) {
        if let Codec::Idle(compression) = self.codec {
            self.codec = Codec::new(compression);
        }
        if let Codec::Plain(writer) = &mut self.codec {
            return writer.put(bytes);
        }
        let most = self.piece_bytes();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(most - self.text.len()));
            self.text.extend_from_slice(now);
            if self.text.len() == most {
                self.compress();
            }
            bytes = later;
        }
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("waiting", &self.text.len()).finish_non_exhaustive()
    }
}

impl Codec {
    fn new(compression: Compression) -> Self {
        let writer = Writer::default();
        match compression {
            Compression::None => Self::Plain(writer),
            // No time, and no system, so that the bytes follow from the text.
            Compression::Gzip => {
                Self::Gzip(Box::new(GzBuilder::new().mtime(0).write(writer, flate2::Compression::new(GZIP_LEVEL))))
            }
            Compression::Zstd => {
                let mut encoder = FrameCompressor::new(CompressionLevel::Fastest);
                encoder.set_drain(writer);
                Self::Zstd(Box::new(encoder))
            }
            Compression::Snappy => Self::Snappy(Box::new(FrameEncoder::new(writer))),
        }
    }
}

/// Compresses a text that is there as a whole, piece by piece: what was compressed is dropped.
///
/// # Errors
///
/// `internal`, which no text can cause.
pub(super) fn whole(text: Payload, compression: Compression) -> Result<Payload> {
    if compression == Compression::None {
        return Ok(text);
    }
    let mut compressor = Compressor::new(compression);
    for part in text.split(FRAME_BYTES) {
        part.pieces().iter().for_each(|piece| compressor.put(piece));
    }
    compressor.finish()
}

/// The memory that an object takes at most besides its text, while that is compressed as it comes: text that waits, tables, a
/// block in the making; and what text that can't be compressed grows by, at most 5 bytes in 32 KiB.
pub(super) fn held_bytes(compression: Compression) -> u64 {
    match compression {
        Compression::None => 0,
        Compression::Gzip | Compression::Snappy => 512 << 10,
        // A frame's text, a window of 128 KiB with a place for each of its bytes, and a block.
        Compression::Zstd => 2 << 20,
    }
}

/// The media type of what is compressed; `None` where nothing is.
///
/// Not a `Content-Encoding`, which says that the text is what was stored: clients of HTTP then undo it on their way, and
/// readers of lakes, which go by the end of the key, find text where they look for gzip.
pub(super) fn content_type(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("application/gzip"),
        Compression::Zstd => Some("application/zstd"),
        Compression::Snappy => Some("application/x-snappy-framed"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;

    use super::*;

    const ALL: [Compression; 4] = [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Snappy];

    fn compress(compression: Compression, text: &[u8], step: usize) -> Bytes {
        let mut compressor = Compressor::new(compression);
        text.chunks(step).for_each(|piece| compressor.put(piece));
        compressor.finish().expect("compresses").into_bytes()
    }

    /// By the crates' own decoders, not by the source's.
    fn decompress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match compression {
            Compression::None => text.extend_from_slice(bytes),
            Compression::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut text).expect("gzip")),
            Compression::Zstd => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let mut decoder = ruzstd::decoding::StreamingDecoder::new(&mut rest).expect("a frame");
                    decoder.read_to_end(&mut text).expect("zstd");
                }
            }
            Compression::Snappy => drop(snap::read::FrameDecoder::new(bytes).read_to_end(&mut text).expect("snappy")),
        }
        text
    }

    /// Text of lines that resemble each other, and noise.
    fn samples() -> impl Iterator<Item = Vec<u8>> {
        [0, 1, 100, PIECE_BYTES, PIECE_BYTES + 1, FRAME_BYTES, 3 * FRAME_BYTES + 17].into_iter().flat_map(|size| {
            let mut state = 1_u64;
            let noise: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            })
            .take(size)
            .collect();
            let lines =
                (0..).flat_map(|n: u64| format!("{{\"id\":{n},\"name\":\"item {}\"}}\n", n * n % 997).into_bytes());
            [noise, lines.take(size).collect()]
        })
    }

    #[test]
    fn what_is_compressed_is_read_by_others_and_does_not_grow() {
        for compression in ALL {
            for text in samples() {
                let bytes = compress(compression, &text, 1000);
                assert!(decompress(compression, &bytes) == text, "{compression:?} of {} bytes", text.len());
                let most = text.len() as u64 + held_bytes(compression) / 8;
                assert!(bytes.len() as u64 <= most, "{compression:?}: {} of {}", bytes.len(), text.len());
            }
        }
    }

    #[test]
    fn the_same_text_gives_the_same_bytes_however_it_comes() {
        for compression in ALL {
            for text in samples().filter(|text| !text.is_empty()) {
                let bytes = compress(compression, &text, text.len());
                let at_once = whole(Payload::from(Bytes::from(text.clone())), compression);
                assert!(at_once.expect("compresses").into_bytes() == bytes, "{compression:?} at once");
                for step in [999, 100_000] {
                    assert!(compress(compression, &text, step) == bytes, "{compression:?} in steps of {step}");
                }
            }
        }
        let gzip = compress(Compression::Gzip, b"x", 1);
        assert_eq!(gzip[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], "no time and no system");
    }

    #[test]
    fn lines_become_shorter() {
        let text: Vec<u8> = samples().last().expect("one");
        for compression in [Compression::Gzip, Compression::Zstd, Compression::Snappy] {
            let bytes = compress(compression, &text, 1000);
            assert!(bytes.len() * 3 < text.len(), "{compression:?}: {} of {}", bytes.len(), text.len());
        }
    }
}
