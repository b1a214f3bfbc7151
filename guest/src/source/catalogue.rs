//! Owns the catalogue: what the source has told of each key, in the order of keys, as segments and a manifest of them.
//! Leaves comparing it with a listing to `scan`, and keeping it to `checkpoint`.
//!
//! The order of keys is that of every listing, so that a poll is a merge of two sorted streams. The manifest, which alone
//! stays in memory, holds for each segment what an unchanged listing of its range adds up to: a segment is read only
//! where that differs.

mod saved;

use super::identity::Digest;

pub(super) use saved::{decode_entries, decode_known, decode_manifest, encode_known, encode_manifest};

/// What the reader of the records has of a key, as far as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// What was on top in the latest listing.
    Top,
    /// Nothing: the key was deleted, or never told.
    Nothing,
    /// Something that the latest listing does not show on top, or that could not be read.
    Doubtful,
    /// Nothing, and the latest listing lacks the key: the next one may have it again, with a history that was told.
    Missing,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// What the reader has.
    pub(super) reader: Reader,
    /// What the latest listing showed of the key, newest first: each of these was told, or counts as told.
    pub(super) listed: Vec<Digest>,
    /// Of a key with very many versions, the sums of the older ones in groups (see [`super::judge`]).
    pub(super) groups: Vec<u64>,
}

/// A key of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) known: Known,
}

/// A segment, as the manifest describes it. It covers the keys from its first one to the next segment's; the first
/// segment covers all keys before its own, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first key.
    pub(super) first: String,
    /// Names its value.
    pub(super) id: u64,
    /// What the latest listing of its range added up to.
    pub(super) sum: u64,
    /// Entries in that listing.
    pub(super) listed: u64,
    /// Keys in it.
    pub(super) keys: u64,
    /// Bytes of its value.
    pub(super) bytes: u64,
    /// Whether the next poll must read it even if the listing is the same.
    pub(super) is_doubtful: bool,
}

/// Collects entries, in the order of keys, into the value of a segment.
#[derive(Debug, Default)]
pub(super) struct SegmentBuilder {
    bytes: Vec<u8>,
    first: Option<String>,
    last: String,
    sum: u64,
    listed: u64,
    keys: u64,
    is_doubtful: bool,
}

impl SegmentBuilder {
    /// Adds the next key, and what the listing showed of it.
    pub(super) fn add(&mut self, entry: &Entry, sum: u64, listed: u64) {
        saved::append_entry(&mut self.bytes, &self.last, entry);
        self.first.get_or_insert_with(|| entry.key.clone());
        self.last.clone_from(&entry.key);
        self.sum = self.sum.wrapping_add(sum);
        self.listed += listed;
        self.keys += 1;
        self.is_doubtful |= matches!(entry.known.reader, Reader::Doubtful | Reader::Missing);
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The segment and its value, under that id; `None` where there is no key in it.
    pub(super) fn segment(&self, id: u64) -> Option<(Segment, &[u8])> {
        let segment = Segment {
            first: self.first.clone()?,
            id,
            sum: self.sum,
            listed: self.listed,
            keys: self.keys,
            bytes: self.bytes.len() as u64,
            is_doubtful: self.is_doubtful,
        };
        Some((segment, &self.bytes))
    }
}

/// The place of the segment that covers a key, in a manifest that has one.
pub(super) fn covering(segments: &[Segment], key: &str) -> usize {
    segments.partition_point(|segment| segment.first.as_str() <= key).saturating_sub(1)
}

#[cfg(test)]
mod tests;
