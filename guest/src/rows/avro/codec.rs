//! Owns how the data of a block are compressed, and how many they may become. Leaves where they begin and end, and what they
//! mean, to others.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use ruzstd::decoding::FrameDecoder;

use super::BLOCK_BYTES_MAX;
use crate::rows::Broken;
use crate::rows::output::Output;
use crate::rows::zstandard::{Fault, decompress};

/// Letters of the name of a codec that a message repeats.
const NAME_BYTES_MAX: usize = 20;

const TOO_LARGE: &str = "its block is larger than 64 MiB when it is decompressed";

/// How a file's blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Null,
    /// [RFC 1951](https://www.rfc-editor.org/rfc/rfc1951), without a frame around it.
    Deflate,
    /// Followed by the CRC-32 of what was compressed.
    Snappy,
    /// [RFC 8878](https://www.rfc-editor.org/rfc/rfc8878).
    Zstandard,
}

impl Codec {
    /// The codec of that name. A file that names none is not compressed.
    pub(super) fn of(name: Option<&[u8]>) -> Result<Self, Broken> {
        match name {
            None | Some(b"null") => Ok(Self::Null),
            Some(b"deflate") => Ok(Self::Deflate),
            Some(b"snappy") => Ok(Self::Snappy),
            Some(b"zstandard") => Ok(Self::Zstandard),
            Some(name) => Err(refuse(name)),
        }
    }

    /// Decompresses a block's data, or says why they can't be.
    pub(super) fn decompress(self, data: &[u8]) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::Null => Ok(data.to_vec()),
            Self::Deflate => deflate(data),
            Self::Snappy => snappy(data),
            Self::Zstandard => zstandard(data),
        }
    }
}

/// Names the codec, unless what stands in its place is no name.
fn refuse(name: &[u8]) -> Broken {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    match std::str::from_utf8(name) {
        Ok(text) if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.iter().all(is_letter) => Broken::new(
            format!("its codec can't be read, only `null`, `deflate`, `snappy` and `zstandard` can; codec=`{text}`"),
        ),
        _ => Broken::new("its codec has a name that no codec has"),
    }
}

fn deflate(data: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut decoder = Decompress::new(false);
    // One byte more than there may be, to see whether there are more.
    let most = BLOCK_BYTES_MAX + 1;
    let mut out = Vec::with_capacity(data.len().saturating_mul(4).clamp(4096, most));
    loop {
        let before = (decoder.total_in(), decoder.total_out());
        let rest = usize::try_from(before.0).ok().and_then(|at| data.get(at..)).unwrap_or_default();
        let status = decoder.decompress_vec(rest, &mut out, FlushDecompress::None);
        let status = status.map_err(|_| "its deflate data are damaged")?;
        if out.len() > BLOCK_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        if status == Status::StreamEnd {
            return Ok(out);
        }
        if out.len() == out.capacity() {
            out.reserve_exact(out.len().min(most - out.len()));
        } else if before == (decoder.total_in(), decoder.total_out()) {
            return Err("its deflate data break off");
        }
    }
}

fn snappy(data: &[u8]) -> Result<Vec<u8>, &'static str> {
    let damaged = "its snappy data are damaged";
    let (data, sum) = data.split_last_chunk().ok_or(damaged)?;
    // What they say of their length is believed before it is known to be true.
    if snap::raw::decompress_len(data).map_err(|_| damaged)? > BLOCK_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    let out = snap::raw::Decoder::new().decompress_vec(data).map_err(|_| damaged)?;
    let mut crc = Crc::new();
    crc.update(&out);
    if crc.sum() != u32::from_be_bytes(*sum) {
        return Err("its snappy data have another checksum than they should");
    }
    Ok(out)
}

fn zstandard(data: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut decoder = FrameDecoder::new();
    // No block refers back further than to its begin.
    decoder.set_max_window_size(BLOCK_BYTES_MAX as u64);
    let mut out = Output::new(BLOCK_BYTES_MAX, data.len().saturating_mul(2));
    decompress(&mut decoder, data, &mut out).map_err(|fault| match fault {
        Fault::Damaged => "its zstandard data are damaged",
        Fault::Checksum => "its zstandard data have another checksum than they should",
        Fault::Full => TOO_LARGE,
        Fault::Window => "its zstandard window is larger than 64 MiB",
    })?;
    Ok(out.into_bytes())
}
