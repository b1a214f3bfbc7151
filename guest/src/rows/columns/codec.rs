//! Owns how pages are compressed. Leaves how many bytes a page says that it has, and how many it may have, to `pages`.
//!
//! The crate's own would trust that number before it is known to be true, or not look at it.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::FrameDecoder;

use super::Why;
use crate::rows::output::Output;
use crate::rows::zstandard::{Fault, decompress};

const DAMAGED: Why = "a page's compressed data are damaged";
const OTHER_SIZE: Why = "a page has another size than it says, when it is decompressed";

/// Bytes that LZ4 data become, at most, per byte of them.
const LZ4_RATIO_MAX: usize = 255;

/// Bytes that zstd data become, at most, per byte of them: blocks of 128 KiB have four.
const ZSTD_RATIO_MAX: usize = 1 << 15;

/// Bytes of a zstd window: that of the highest level. Some writers declare the one of their level, however small the page is.
const ZSTD_WINDOW_BYTES_MAX: u64 = 128 << 20;

/// How the pages of a column are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Brotli,
    /// In one of three frames: <https://github.com/apache/parquet-format/blob/master/Compression.md#lz4>
    Lz4,
    Zstd,
    /// Without any.
    Lz4Raw,
}

/// What decompression keeps from one page to the next: all columns of a row group take turns.
pub(super) struct Scratch(FrameDecoder);

impl Scratch {
    pub(super) fn new() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        Self(decoder)
    }
}

impl Codec {
    /// The codec of that number.
    pub(super) fn of(number: i32) -> Result<Self, Why> {
        Ok(match number {
            0 => Self::None,
            1 => Self::Snappy,
            2 => Self::Gzip,
            4 => Self::Brotli,
            5 => Self::Lz4,
            6 => Self::Zstd,
            7 => Self::Lz4Raw,
            3 => return Err("it has a column compressed with LZO, which can't be read"),
            _ => return Err("it has a column compressed with an unknown codec"),
        })
    }

    /// Appends what was compressed, which must have so many bytes.
    pub(super) fn decompress(
        self,
        scratch: &mut Scratch,
        data: &[u8],
        size: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Why> {
        if size == 0 {
            // Some writers leave out the frame around nothing.
            return Ok(());
        }
        let begin = out.len();
        match self {
            Self::None => out.extend_from_slice(data),
            Self::Snappy => {
                if snap::raw::decompress_len(data).map_err(|_| DAMAGED)? != size {
                    return Err(OTHER_SIZE);
                }
                out.resize(begin + size, 0);
                snap::raw::Decoder::new().decompress(data, &mut out[begin..]).map_err(|_| DAMAGED)?;
            }
            Self::Gzip => read(MultiGzDecoder::new(data), size, out)?,
            Self::Brotli => {
                // A window of up to 1 GiB, which is no part of the format.
                if data.first().is_some_and(|first| first & 0x7f == 0x11) {
                    return Err("a page's Brotli window is too large");
                }
                read(brotli_decompressor::Decompressor::new(data, 4096), size, out)?;
            }
            Self::Zstd => {
                let mut bounded = Output::new(size, size.min(data.len().saturating_mul(ZSTD_RATIO_MAX)));
                decompress(&mut scratch.0, data, &mut bounded).map_err(|fault| match fault {
                    Fault::Damaged => DAMAGED,
                    Fault::Checksum => "a page's zstd data have another checksum than they should",
                    Fault::Full => OTHER_SIZE,
                    Fault::Window => "a page's zstd window is larger than 128 MiB",
                })?;
                if begin == 0 {
                    *out = bounded.into_bytes();
                } else {
                    out.extend_from_slice(&bounded.into_bytes());
                }
            }
            Self::Lz4 => lz4(data, size, out)?,
            Self::Lz4Raw => lz4_raw(data, size, out)?,
        }
        if out.len() - begin != size {
            return Err(OTHER_SIZE);
        }
        Ok(())
    }
}

/// Reads one byte more than there may be, to see whether there are more.
fn read(reader: impl Read, size: usize, out: &mut Vec<u8>) -> Result<(), Why> {
    out.reserve_exact(size);
    reader.take(size as u64 + 1).read_to_end(out).map(drop).map_err(|_| DAMAGED)
}

/// As Hadoop has it, in LZ4's frame, or in none: writers did not agree.
fn lz4(data: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), Why> {
    let begin = out.len();
    if lz4_hadoop(data, size, out).is_ok() && out.len() - begin == size {
        return Ok(());
    }
    out.truncate(begin);
    if read(lz4_flex::frame::FrameDecoder::new(data), size, out).is_ok() && out.len() - begin == size {
        return Ok(());
    }
    out.truncate(begin);
    lz4_raw(data, size, out)
}

/// Blocks after two numbers each, of bytes before and after compression.
fn lz4_hadoop(mut data: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), Why> {
    let mut left = size;
    while let Some((before, rest)) = data.split_first_chunk() {
        let (after, rest) = rest.split_first_chunk().ok_or(DAMAGED)?;
        let (before, after) = (u32::from_be_bytes(*before) as usize, u32::from_be_bytes(*after) as usize);
        let (block, rest) = rest.split_at_checked(after).ok_or(DAMAGED)?;
        left = left.checked_sub(before).ok_or(OTHER_SIZE)?;
        lz4_raw(block, before, out)?;
        data = rest;
    }
    if data.is_empty() { Ok(()) } else { Err(DAMAGED) }
}

fn lz4_raw(data: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), Why> {
    if size > data.len().saturating_mul(LZ4_RATIO_MAX) {
        return Err(OTHER_SIZE);
    }
    let begin = out.len();
    out.resize(begin + size, 0);
    let written = lz4_flex::block::decompress_into(data, &mut out[begin..]).map_err(|_| DAMAGED)?;
    out.truncate(begin + written);
    Ok(())
}
