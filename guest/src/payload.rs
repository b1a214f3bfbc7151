//! Owns the bytes of a request, in pieces of bounded size: they grow without being moved, so that a large object is in
//! memory once. Leaves their content to the writer.

use std::io;

use bytes::{Bytes, BytesMut};

/// Bytes of a piece. A vector that held all bytes would be in memory twice each time it grows, and at 64 MiB would
/// need a hole of that size.
const PIECE_BYTES: usize = 1 << 20;

/// Complete bytes in pieces. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    pieces: Vec<Bytes>,
    length: usize,
}

impl Payload {
    /// No bytes.
    pub const fn empty() -> Self {
        Self { pieces: Vec::new(), length: 0 }
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The pieces in their order, none of them empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The same bytes in payloads of this many, of which the last one may be shorter. They share the bytes.
    pub fn split(self, bytes: usize) -> impl Iterator<Item = Self> {
        let mut pieces = self.pieces.into_iter();
        let mut left = Bytes::new();
        std::iter::from_fn(move || {
            let mut part = Self::empty();
            while part.length < bytes {
                if left.is_empty() {
                    let Some(piece) = pieces.next() else { break };
                    left = piece;
                }
                let piece = left.split_to(left.len().min(bytes - part.length));
                part.length += piece.len();
                part.pieces.push(piece);
            }
            (!part.is_empty()).then_some(part)
        })
    }

    /// All bytes in one piece; copied where they are not in one.
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() < 2 {
            return self.pieces.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.length);
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        whole.freeze()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        let length = bytes.len();
        let pieces = if length == 0 { Vec::new() } else { vec![bytes] };
        Self { pieces, length }
    }
}

/// A payload that grows.
#[derive(Debug, Default)]
pub struct Writer {
    full: Vec<Bytes>,
    /// The last piece. It doubles up to its bound, so that few bytes take little room.
    open: Vec<u8>,
}

impl Writer {
    /// Adds bytes at the end.
    pub fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = PIECE_BYTES - self.open.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.open.extend_from_slice(now);
            if self.open.len() == PIECE_BYTES {
                self.full.push(Bytes::from(std::mem::take(&mut self.open)));
            }
            bytes = later;
        }
    }

    /// The number of bytes so far.
    pub fn len(&self) -> usize {
        self.full.len() * PIECE_BYTES + self.open.len()
    }

    /// Whether it is empty so far.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends it.
    pub fn finish(mut self) -> Payload {
        let length = self.len();
        if !self.open.is_empty() {
            self.open.shrink_to_fit();
            self.full.push(Bytes::from(self.open));
        }
        Payload { pieces: self.full, length }
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(count: u32) -> Vec<u8> {
        (0..count).flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn bytes_come_out_as_they_went_in_whatever_their_pieces() {
        let bytes = words(700_000);
        for step in [1, 4095, PIECE_BYTES, bytes.len()] {
            let mut writer = Writer::default();
            assert!(writer.is_empty());
            // Not every byte by itself: that would test nothing more.
            let (head, tail) = bytes.split_at(5000);
            head.chunks(step).for_each(|piece| writer.put(piece));
            tail.chunks(step.max(4095)).for_each(|piece| writer.put(piece));
            assert_eq!(writer.len(), bytes.len());
            let payload = writer.finish();
            let lengths: Vec<_> = payload.pieces().iter().map(Bytes::len).collect();
            let rest = bytes.len() - 2 * PIECE_BYTES;
            assert_eq!(lengths, [PIECE_BYTES, PIECE_BYTES, rest]);
            assert_eq!(payload.len(), bytes.len());
            assert!(payload.into_bytes() == bytes, "in steps of {step}");
        }
    }

    #[test]
    fn parts_are_of_one_size_and_miss_nothing() {
        let bytes = words(700_000);
        let mut writer = Writer::default();
        writer.put(&bytes);
        let whole = writer.finish();
        for size in [1000, PIECE_BYTES, PIECE_BYTES + 1, bytes.len(), bytes.len() + 1] {
            let parts: Vec<_> = whole.clone().split(size).collect();
            let (last, others) = parts.split_last().expect("there is one");
            assert!(others.iter().all(|part| part.len() == size) && (1..=size).contains(&last.len()), "{size}");
            let joined: Vec<u8> = parts.into_iter().flat_map(Payload::into_bytes).collect();
            assert!(joined == bytes, "{size}");
        }
        assert_eq!(Payload::empty().split(1).count(), 0);
    }

    #[test]
    fn a_whole_piece_leaves_no_empty_one() {
        let mut writer = Writer::default();
        writer.put(&vec![1; PIECE_BYTES]);
        assert_eq!(writer.finish().pieces().len(), 1);
        assert!(Writer::default().finish().pieces().is_empty());
        assert!(Payload::from(Bytes::new()).pieces().is_empty());
        assert!(Payload::empty().into_bytes().is_empty());
    }
}
