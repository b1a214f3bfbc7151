//! Owns texts that are not UTF-8: they are made UTF-8 before anything else looks at them. Leaves which encoding an object has
//! to the settings.

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};

use super::Broken;

/// What a text in UTF-8 may begin with.
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Makes a text UTF-8, piece by piece.
pub(super) struct Transcoder {
    decoder: Decoder,
    encoding: &'static Encoding,
}

impl Transcoder {
    /// For a text in this encoding; `None` where nothing has to be done. A byte order mark may name another Unicode encoding.
    pub(super) fn new(encoding: &'static Encoding) -> Option<Self> {
        (encoding != UTF_8).then(|| Self { decoder: encoding.new_decoder(), encoding })
    }

    /// Adds a piece of the text to `out`; nothing follows where it `is_last`.
    pub(super) fn push(&mut self, mut piece: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), Broken> {
        loop {
            let room = self
                .decoder
                .max_utf8_buffer_length_without_replacement(piece.len())
                .unwrap_or(usize::MAX)
                .clamp(64, 1 << 20);
            let before = out.len();
            out.resize(before + room, 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(piece, &mut out[before..], is_last);
            out.truncate(before + written);
            piece = &piece[read..];
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    let why = format!(
                        "it has bytes that are no text in {}: set `encoding` to what it is in",
                        self.encoding.name()
                    );
                    return Err(Broken::new(why));
                }
            }
        }
    }
}

/// The mark that a text in UTF-8 begins with, which is no part of it. How many bytes it has; `None` where more are needed
/// to say.
pub(super) fn mark_bytes(text: &[u8], is_end: bool) -> Option<usize> {
    if text.starts_with(UTF_8_MARK) {
        Some(UTF_8_MARK.len())
    } else if UTF_8_MARK.starts_with(text) && !is_end {
        None
    } else {
        Some(0)
    }
}
