//! Owns decompressing [zstd](https://www.rfc-editor.org/rfc/rfc8878) data that are in memory, frame after frame, to no more bytes
//! than there may be, and comparing the frames' checksums. Leaves how many that is, and what goes wrong in words, to the formats.

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::output::{Full, Output};

/// Bytes that data become at a time, before it is looked whether they are too many.
const STEP_BYTES: usize = 1 << 20;

/// Why data can't be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They break a rule of the format, or break off.
    Damaged,
    /// They are not what was compressed.
    Checksum,
    /// They become more bytes than there may be.
    Full,
    /// They refer back further than the decoder permits.
    Window,
}

/// Appends what is in the frames to the output.
pub(super) fn decompress(decoder: &mut FrameDecoder, mut data: &[u8], out: &mut Output) -> Result<(), Fault> {
    while !data.is_empty() {
        match decoder.reset(&mut data) {
            Ok(()) => {}
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                data = data.get(length as usize..).ok_or(Fault::Damaged)?;
                continue;
            }
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => return Err(Fault::Window),
            Err(_) => return Err(Fault::Damaged),
        }
        loop {
            let step = BlockDecodingStrategy::UptoBytes(STEP_BYTES);
            let is_finished = decoder.decode_blocks(&mut data, step).map_err(|_| Fault::Damaged)?;
            decoder.collect_to_writer(&mut *out).map_err(|why| {
                let Full = why.into();
                Fault::Full
            })?;
            if is_finished {
                break;
            }
        }
        let (said, found) = (decoder.get_checksum_from_data(), decoder.get_calculated_checksum());
        if said.is_some() && said != found {
            return Err(Fault::Checksum);
        }
    }
    Ok(())
}
