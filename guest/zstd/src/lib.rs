//! What the crate `parquet` needs of the crate `zstd`, over `ruzstd`. The real one is C, which a component can't have and whose
//! build needs another compiler.
//!
//! Owns these few functions, with the names, arguments and results of version 0.14. Leaves zstd itself to `ruzstd`.

/// Whole buffers at once.
pub mod bulk {
    use std::io::{Cursor, Error, Result};
    use std::marker::PhantomData;

    use ruzstd::decoding::FrameDecoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    /// Compresses.
    pub struct Compressor<'a>(PhantomData<&'a ()>);

    impl Compressor<'_> {
        /// Makes one. All levels are the fastest one: there is no other.
        ///
        /// # Errors
        ///
        /// None.
        pub fn new(_level: i32) -> Result<Self> {
            Ok(Self(PhantomData))
        }

        /// Writes a frame after the cursor. Returns its bytes.
        ///
        /// # Errors
        ///
        /// None.
        pub fn compress_to_buffer(&mut self, source: &[u8], destination: &mut Cursor<&mut Vec<u8>>) -> Result<usize> {
            let frame = compress_to_vec(source, CompressionLevel::Fastest);
            let output = truncated(destination);
            output.extend_from_slice(&frame);
            destination.set_position(destination.get_ref().len() as u64);
            Ok(frame.len())
        }
    }

    /// Decompresses.
    pub struct Decompressor<'a>(FrameDecoder, PhantomData<&'a ()>);

    impl Decompressor<'_> {
        /// Makes one.
        ///
        /// # Errors
        ///
        /// None.
        pub fn new() -> Result<Self> {
            Ok(Self(FrameDecoder::new(), PhantomData))
        }

        /// Writes what frames hold after the cursor, into the capacity that is there and no more. Returns how many bytes that are.
        ///
        /// # Errors
        ///
        /// Where they are no frames, or hold more.
        pub fn decompress_to_buffer(&mut self, source: &[u8], destination: &mut Cursor<&mut Vec<u8>>) -> Result<usize> {
            let output = truncated(destination);
            let before = output.len();
            self.0.decode_all_to_vec(source, output).map_err(Error::other)?;
            let written = output.len() - before;
            destination.set_position(destination.get_ref().len() as u64);
            Ok(written)
        }
    }

    /// The output, up to the cursor.
    fn truncated<'b>(destination: &'b mut Cursor<&mut Vec<u8>>) -> &'b mut Vec<u8> {
        let position = usize::try_from(destination.position()).unwrap_or(usize::MAX);
        let output = &mut **destination.get_mut();
        output.truncate(position);
        output
    }
}

/// What the crate `zstd-safe` has.
pub mod zstd_safe {
    use ruzstd::decoding::FrameDecoder;

    /// Why a frame's header can't be read.
    #[derive(Debug)]
    pub struct ContentSizeError;

    /// Bytes that the first frame holds, where it says so.
    ///
    /// # Errors
    ///
    /// Where it is no frame.
    pub fn get_frame_content_size(mut source: &[u8]) -> Result<Option<u64>, ContentSizeError> {
        let mut decoder = FrameDecoder::new();
        decoder.init(&mut source).map_err(|_| ContentSizeError)?;
        Ok(Some(decoder.content_size()).filter(|size| *size > 0))
    }

    /// The most bytes that so many become.
    pub fn compress_bound(bytes: usize) -> usize {
        // A header and, per block of 128 KiB that can't be compressed, three bytes.
        bytes + bytes / 128 + 64
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn compress(bytes: &[u8]) -> Vec<u8> {
        let mut output = b"before".to_vec();
        let mut cursor = Cursor::new(&mut output);
        cursor.set_position(6);
        bulk::Compressor::new(3).expect("one").compress_to_buffer(bytes, &mut cursor).expect("it compresses");
        assert!(output.len() - 6 <= zstd_safe::compress_bound(bytes.len()), "{} bytes", bytes.len());
        output.split_off(6)
    }

    fn decompress(frame: &[u8], capacity: usize) -> std::io::Result<Vec<u8>> {
        let mut output = Vec::with_capacity(capacity);
        let written = bulk::Decompressor::new()?.decompress_to_buffer(frame, &mut Cursor::new(&mut output))?;
        assert_eq!(written, output.len());
        Ok(output)
    }

    fn samples() -> impl Iterator<Item = Vec<u8>> {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        [0, 1, 2, 100, 4096, 131_072, 131_073, 500_000].into_iter().flat_map(move |size| {
            let noise: Vec<u8> = (0..size).map(|_| random()).collect();
            let text = (0..size).map(|n| b"a text that repeats itself, "[n % 28] ^ u8::from(n % 1009 == 0)).collect();
            [noise, text, vec![7; size]]
        })
    }

    #[test]
    fn what_is_compressed_reads_back() {
        for bytes in samples() {
            let frame = compress(&bytes);
            assert_eq!(decompress(&frame, bytes.len()).expect("it reads back"), bytes);
            if !bytes.is_empty() {
                assert!(decompress(&frame, 0).is_err(), "no more than there is room for");
            }
        }
    }

    #[test]
    fn what_is_cut_or_changed_is_no_panic() {
        for bytes in samples().filter(|bytes| bytes.len() == 4096) {
            let frame = compress(&bytes);
            for at in 0..frame.len() {
                let _ = decompress(&frame[..at], bytes.len());
                let mut changed = frame.clone();
                changed[at] ^= 1 << (at % 8);
                let _ = decompress(&changed, bytes.len());
            }
        }
    }
}
