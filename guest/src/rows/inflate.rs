//! Owns decompression, piece by piece: gzip of any number of members, zstd of any number of frames, Snappy of any number of
//! chunks, and where each of them begins. Leaves what the bytes mean to others.
//!
//! Output is bounded by how much of the input is taken at a time: a few bytes may stand for a thousand times as many.

use std::collections::VecDeque;
use std::io::{Cursor, Read as _, Write as _};

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::write::GzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use snap::read::FrameDecoder as SnappyDecoder;

use super::Broken;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip ([RFC 1952](https://www.rfc-editor.org/rfc/rfc1952)), whose members follow each other.
    Gzip,
    /// zstd ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)), whose frames follow each other.
    Zstd,
    /// Snappy's [framing format](https://github.com/google/snappy/blob/main/framing_format.txt).
    Snappy,
}

/// Bytes by which the compression is known.
pub(super) const MAGIC_BYTES: usize = 4;

impl Compression {
    /// The compression of what begins with these bytes.
    pub fn of(first: &[u8]) -> Self {
        match first {
            // The third byte is the method; there is only one.
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ if is_skippable(first) => Self::Zstd,
            // The chunk that every stream begins with; its name follows.
            [0xff, 6, 0, 0, ..] => Self::Snappy,
            _ => Self::None,
        }
    }
}

/// Whether a zstd frame that decoders pass over begins here.
fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Bytes of output at which decompression pauses.
const OUTPUT_BYTES: usize = 256 << 10;

/// Bytes of a zstd window, the most that a frame may refer back to: what the `zstd` tool permits without being asked, and an
/// eighth of the sandbox.
const WINDOW_BYTES_MAX: u64 = 128 << 20;

/// Bytes that a zstd frame's header may have.
const ZSTD_HEADER_BYTES_MAX: usize = 18;

/// Bytes of the header of a frame that is passed over.
const SKIPPABLE_HEADER_BYTES: usize = 8;

/// The chunk that a stream of Snappy begins with.
const SNAPPY_BEGIN: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// Bytes of the header of a chunk of Snappy.
const SNAPPY_HEADER_BYTES: usize = 4;

/// Bytes of a chunk of Snappy that holds any: 64 KiB that can't be compressed, as Snappy may write them, and their checksum.
const SNAPPY_CHUNK_BYTES_MAX: usize = (64 << 10) + (64 << 10) / 6 + 32 + 4;

/// A place at which decompression can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Compressed bytes before it.
    pub(super) offset: u64,
    /// Decompressed bytes before it.
    pub(super) decoded: u64,
}

/// Decompresses.
pub(super) struct Inflater {
    codec: Codec,
    /// What has come and was not taken.
    input: BytesMut,
    is_end: bool,
    /// Compressed bytes that were taken.
    taken: u64,
    /// Decompressed bytes so far.
    decoded: u64,
    /// Members, frames or chunks, the first of them the one that holds the last row.
    marks: VecDeque<Mark>,
    /// Why nothing more can be read.
    broken: Option<Broken>,
}

enum Codec {
    Gzip(Option<Box<GzDecoder<Vec<u8>>>>),
    Zstd(Box<Zstd>),
    Snappy(Box<Snappy>),
}

struct Snappy {
    /// Reads one chunk at a time.
    decoder: SnappyDecoder<Cursor<Vec<u8>>>,
    /// Bytes of a chunk without text that are still to be passed over.
    to_pass: u64,
}

struct Zstd {
    decoder: FrameDecoder,
    is_in_frame: bool,
    /// Bytes of a skippable frame that are still to be passed over.
    to_pass: u64,
}

impl Inflater {
    /// Decompresses what begins at this byte of an object; `None` where nothing is compressed.
    pub(super) fn new(compression: Compression, offset: u64) -> Option<Self> {
        let codec = match compression {
            Compression::None => return None,
            Compression::Gzip => Codec::Gzip(None),
            Compression::Zstd => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(WINDOW_BYTES_MAX);
                Codec::Zstd(Box::new(Zstd { decoder, is_in_frame: false, to_pass: 0 }))
            }
            Compression::Snappy => {
                // What begins at a later chunk has none of its own; twice is as good as once.
                let decoder = SnappyDecoder::new(Cursor::new(SNAPPY_BEGIN.to_vec()));
                Codec::Snappy(Box::new(Snappy { decoder, to_pass: 0 }))
            }
        };
        Some(Self {
            codec,
            input: BytesMut::new(),
            is_end: false,
            taken: offset,
            decoded: 0,
            marks: VecDeque::new(),
            broken: None,
        })
    }

    /// Adds the next bytes of the object.
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.input.extend_from_slice(bytes);
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        self.is_end = true;
    }

    /// Decompresses some of what has come, to the end of `out`. Whether that changed anything.
    ///
    /// What comes before damage is read before the damage is told.
    pub(super) fn step(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let (taken, length, was_whole) = (self.taken, out.len(), self.is_whole());
        while out.len() - length < OUTPUT_BYTES {
            let before = out.len();
            let step = match &mut self.codec {
                Codec::Gzip(_) => self.step_gzip(out),
                Codec::Zstd(_) => self.step_zstd(out),
                Codec::Snappy(_) => self.step_snappy(out),
            };
            self.decoded += (out.len() - before) as u64;
            match step {
                Ok(true) => {}
                Ok(false) => break,
                Err(broken) => {
                    self.broken = Some(broken.clone());
                    if out.len() == length {
                        return Err(broken);
                    }
                    break;
                }
            }
        }
        Ok(self.taken > taken || out.len() > length || self.is_whole() != was_whole)
    }

    /// The last place at or before that many decompressed bytes at which reading can begin. Earlier ones are forgotten.
    pub(super) fn mark(&mut self, decoded: u64) -> Option<Mark> {
        while self.marks.get(1).is_some_and(|next| next.decoded <= decoded) {
            self.marks.pop_front();
        }
        self.marks.front().copied()
    }

    fn take(&mut self, count: usize) {
        self.input.advance(count);
        self.taken += count as u64;
    }

    fn note_mark(&mut self, decoded: u64) {
        self.marks.push_back(Mark { offset: self.taken, decoded });
    }

    /// One step of gzip; whether another one may follow.
    fn step_gzip(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        let Codec::Gzip(member) = &mut self.codec else { return Ok(false) };
        if self.input.is_empty() {
            let Some(mut ended) = member.take_if(|_| self.is_end) else { return Ok(false) };
            ended.try_finish().map_err(|why| broken("gzip", &why))?;
            out.append(ended.get_mut());
            return Ok(false);
        }
        let is_begun = member.is_some();
        // Tapes and some writers fill up what follows the last member with zeros.
        if !is_begun && self.taken > 0 && self.input.iter().all(|byte| *byte == 0) {
            let count = self.input.len();
            self.take(count);
            return Ok(false);
        }
        let decoder = member.get_or_insert_with(|| Box::new(GzDecoder::new(Vec::new())));
        let count = decoder.write(&self.input).map_err(|why| broken("gzip", &why))?;
        if count == 0 {
            let mut ended = member.take().ok_or_else(|| Broken::new("its gzip data make no sense"))?;
            ended.try_finish().map_err(|why| broken("gzip", &why))?;
            out.append(ended.get_mut());
            return Ok(true);
        }
        decoder.flush().map_err(|why| broken("gzip", &why))?;
        out.append(decoder.get_mut());
        if !is_begun {
            self.note_mark(self.decoded);
        }
        self.take(count);
        Ok(true)
    }

    /// One step of zstd: a frame's header, or a block; whether another one may follow.
    fn step_zstd(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        let Codec::Zstd(zstd) = &mut self.codec else { return Ok(false) };
        if zstd.to_pass > 0 {
            let count = zstd.to_pass.min(self.input.len() as u64);
            zstd.to_pass -= count;
            self.take(count as usize);
            return Ok(count > 0);
        }
        if zstd.is_in_frame {
            let count = zstd.block(&self.input, self.is_end, out)?;
            self.take(count);
            return Ok(count > 0);
        }
        if self.input.is_empty() || (self.input.len() < ZSTD_HEADER_BYTES_MAX && !self.is_end) {
            return Ok(false);
        }
        if is_skippable(&self.input) {
            let length: [u8; 4] = self.input.get(4..8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(cut_off)?;
            zstd.to_pass = u64::from(u32::from_le_bytes(length));
            self.take(SKIPPABLE_HEADER_BYTES);
            return Ok(true);
        }
        let mut rest = &self.input[..];
        zstd.decoder.reset(&mut rest).map_err(|why| broken("zstd", &why))?;
        zstd.is_in_frame = true;
        let count = self.input.len() - rest.len();
        self.note_mark(self.decoded);
        self.take(count);
        Ok(true)
    }

    /// One step of Snappy: a chunk; whether another one may follow.
    fn step_snappy(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        let Codec::Snappy(snappy) = &mut self.codec else { return Ok(false) };
        if snappy.to_pass > 0 {
            let count = snappy.to_pass.min(self.input.len() as u64);
            snappy.to_pass -= count;
            self.take(count as usize);
            return Ok(count > 0);
        }
        let Some(&[kind, low, middle, high]) = self.input.first_chunk::<SNAPPY_HEADER_BYTES>() else {
            let is_cut = self.is_end && !self.input.is_empty();
            return if is_cut { Err(Broken::new("its snappy data break off")) } else { Ok(false) };
        };
        let length = u32::from_le_bytes([low, middle, high, 0]);
        // Padding, and what later versions may add.
        if (0x80..=0xfe).contains(&kind) {
            snappy.to_pass = length.into();
            self.take(SNAPPY_HEADER_BYTES);
            return Ok(true);
        }
        let needed = SNAPPY_HEADER_BYTES + length as usize;
        if needed > SNAPPY_HEADER_BYTES + SNAPPY_CHUNK_BYTES_MAX {
            return Err(Broken::new("a chunk of its snappy data is longer than any"));
        }
        if self.input.len() < needed {
            return if self.is_end { Err(Broken::new("its snappy data break off")) } else { Ok(false) };
        }
        snappy.chunk(&self.input[..needed], out)?;
        if matches!(kind, 0 | 1) {
            self.note_mark(self.decoded);
        }
        self.take(needed);
        Ok(true)
    }

    /// Whether all that has come was decompressed, to the end of what it is made of.
    pub(super) fn is_whole(&self) -> bool {
        let is_between = match &self.codec {
            Codec::Gzip(member) => member.is_none(),
            Codec::Zstd(zstd) => !zstd.is_in_frame && zstd.to_pass == 0,
            Codec::Snappy(snappy) => snappy.to_pass == 0,
        };
        is_between && self.input.is_empty() && self.broken.is_none()
    }
}

impl Zstd {
    /// Decompresses the next block, if all of it is there. Returns how many bytes it has.
    fn block(&mut self, input: &[u8], is_end: bool, out: &mut Vec<u8>) -> Result<usize, Broken> {
        let Some(needed) = block_bytes(input) else {
            return if is_end { Err(cut_off()) } else { Ok(0) };
        };
        if input.len() < needed && !is_end {
            return Ok(0);
        }
        let mut rest = input;
        let strategy = BlockDecodingStrategy::UptoBlocks(1);
        let is_finished = self.decoder.decode_blocks(&mut rest, strategy).map_err(|why| broken("zstd", &why))?;
        self.decoder.collect_to_writer(&mut *out).map_err(|why| broken("zstd", &why))?;
        if is_finished {
            self.is_in_frame = false;
            let (said, found) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
            if said.is_some() && said != found {
                return Err(Broken::new("its zstd data have another checksum than they should"));
            }
        }
        Ok(input.len() - rest.len())
    }
}

impl Snappy {
    /// Decompresses a chunk, and compares its checksum.
    fn chunk(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        self.decoder.get_mut().get_mut().extend_from_slice(chunk);
        self.decoder.read_to_end(out).map_err(|why| broken("snappy", &why))?;
        let read = self.decoder.get_mut();
        read.get_mut().clear();
        read.set_position(0);
        Ok(())
    }
}

/// Bytes of the block that begins here and, of a frame's last one, those of a checksum that may follow; `None` where they
/// are too few to say.
fn block_bytes(input: &[u8]) -> Option<usize> {
    let header: [u8; 3] = input.get(..3)?.try_into().ok()?;
    let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
    let (is_last, is_run, size) = (header & 1 == 1, header >> 1 & 3 == 1, (header >> 3) as usize);
    // One byte stands for all of a run.
    Some(3 + if is_run { 1 } else { size } + if is_last { 4 } else { 0 })
}

fn broken(what: &str, why: &impl std::fmt::Display) -> Broken {
    Broken::new(format!(
        "its {what} data can't be decompressed, since they are damaged, break off, or have something after them: {why}"
    ))
}

fn cut_off() -> Broken {
    Broken::new("its zstd data break off")
}
