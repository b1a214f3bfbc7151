//! Owns one stored version of a key: an object's bytes and headers, or a delete marker. Leaves which versions a key
//! has, and in what order, to the bucket.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use s3s::crypto::{Checksum, Md5};
use s3s::dto;

use super::storage::Storage;

/// What a version is called within its key.
///
/// A version stored while versioning is enabled has an id of its own, any other is the key's one
/// `null` version. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionId {
    Null,
    Numbered(u64),
}

const ID_LEN: usize = 32;
const ID_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";

impl VersionId {
    /// Writes the id as it travels: opaque, and without the order in which versions were stored.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Numbered(number) => written(number).iter().map(|letter| char::from(*letter)).collect(),
        }
    }

    /// Reads an id that [`Self::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "null" {
            return Some(Self::Null);
        }
        let mut word = 0_u64;
        for (at, byte) in text.bytes().take(WORD_LEN).enumerate() {
            let digit = ID_ALPHABET.iter().position(|&letter| letter == byte)? as u64;
            word |= digit.checked_shl(6 * at as u32)?;
        }
        let number = unscramble(word);
        (written(number) == text.as_bytes()).then_some(Self::Numbered(number))
    }
}

/// How many letters a word of 64 bits takes.
const WORD_LEN: usize = 11;

fn written(number: u64) -> [u8; ID_LEN] {
    let words = [scramble(number), scramble(!number), scramble(number.rotate_left(32))];
    std::array::from_fn(|at| {
        let digit = (words[at / WORD_LEN] >> (6 * (at % WORD_LEN))) & 63;
        ID_ALPHABET[digit as usize]
    })
}

// An odd factor has an inverse modulo 2^64, so that an id can be read back to its number.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR_INVERSE: u64 = 0xf1de_83e1_9937_733d;
const MASK: u64 = 0x5851_f42d_4c95_7f2d;

fn scramble(number: u64) -> u64 {
    (number ^ MASK).wrapping_mul(FACTOR).swap_bytes().wrapping_mul(FACTOR)
}

fn unscramble(word: u64) -> u64 {
    word.wrapping_mul(FACTOR_INVERSE).swap_bytes().wrapping_mul(FACTOR_INVERSE) ^ MASK
}

/// The hash by which S3 tells contents apart, unless it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Etag {
    pub(crate) md5: [u8; 16],
    /// How many parts a multipart object has; zero for a plain one.
    pub(crate) parts_count: u16,
}

impl Etag {
    pub(crate) fn of(body: &[u8]) -> Self {
        Self { md5: md5_of(&[body]), parts_count: 0 }
    }

    /// The MD5 of the parts' MD5s, a dash, and their count.
    pub(crate) fn of_parts(md5s: &[&[u8]]) -> Self {
        let parts_count = u16::try_from(md5s.len()).expect("an upload has at most 10,000 parts");
        Self { md5: md5_of(md5s), parts_count }
    }

    /// Another, which is no hash of the bytes.
    pub(crate) fn hidden(self) -> Self {
        Self { md5: md5_of(&[&self.md5, b"encrypted"]), ..self }
    }

    /// Writes it without quotes.
    pub(crate) fn text(self) -> String {
        let mut text = hex(&self.md5);
        if self.parts_count > 0 {
            write!(text, "-{}", self.parts_count).expect("a string takes all");
        }
        text
    }

    pub(crate) fn dto(self) -> dto::ETag {
        dto::ETag::Strong(self.text())
    }

    pub(crate) fn meets(self, condition: &dto::ETagCondition) -> bool {
        condition.as_etag().is_none_or(|etag| etag.value() == self.text())
    }
}

pub(crate) fn md5_of(pieces: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for piece in pieces {
        hash.update(piece);
    }
    hash.finalize()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// An object's bytes, in as many pieces as it was uploaded in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    first: Bytes,
    others: Option<Arc<[Bytes]>>,
}

impl Payload {
    pub(crate) fn of_pieces(mut pieces: Vec<Bytes>) -> Self {
        if pieces.is_empty() {
            return Self::default();
        }
        let first = pieces.remove(0);
        Self { first, others: (!pieces.is_empty()).then(|| pieces.into()) }
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(self.others.iter().flat_map(|others| others.iter()))
    }

    pub(crate) fn len(&self) -> u64 {
        self.pieces().map(|piece| piece.len() as u64).sum()
    }

    /// Gives the pieces that make up `range`, which must lie within.
    pub(crate) fn slice(&self, range: Range<u64>) -> Vec<Bytes> {
        let mut slices = Vec::new();
        let mut start = 0;
        for piece in self.pieces() {
            let end = start + piece.len() as u64;
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                let within = |at: u64| usize::try_from(at - start).expect("a piece is in memory");
                slices.push(piece.slice(within(from)..within(to)));
            }
            start = end;
        }
        slices
    }

    /// Gives all bytes as one; copies only if there are several pieces.
    pub(crate) fn bytes(&self) -> Bytes {
        if self.others.is_none() {
            return self.first.clone();
        }
        let mut all = BytesMut::new();
        self.pieces().for_each(|piece| all.extend_from_slice(piece));
        all.freeze()
    }
}

impl From<Bytes> for Payload {
    fn from(first: Bytes) -> Self {
        Self { first, others: None }
    }
}

/// The headers that S3 keeps with an object and gives back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectHeaders {
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `x-amz-meta-…`, by the name after that prefix.
    pub metadata: BTreeMap<String, String>,
    /// How the object is kept.
    pub storage: Storage,
}

/// An object without its place: what a put, a completed upload or a copy stores.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) payload: Payload,
    pub(crate) etag: Etag,
    /// Shared and absent where there are none, since there can be a million objects.
    pub(crate) headers: Option<Arc<ObjectHeaders>>,
}

impl Object {
    pub(crate) fn new(payload: Payload, etag: Etag, headers: ObjectHeaders) -> Self {
        let headers = (headers != ObjectHeaders::default()).then(|| Arc::new(headers));
        Self { payload, etag, headers }
    }

    /// The class that listings have.
    pub(crate) fn class(&self) -> &str {
        self.headers.as_ref().map_or("STANDARD", |headers| headers.storage.listed_class())
    }
}

/// The place and the time of something stored: its number in the store's count, and the clock's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) number: u64,
    pub(crate) time: SystemTime,
}

/// One entry in a key's history.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) id: VersionId,
    /// Orders the versions of a key; those with an id of their own have it from here.
    pub(crate) number: u64,
    pub(crate) last_modified: SystemTime,
    /// Absent for a delete marker.
    pub(crate) object: Option<Object>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_ids_are_read_back_and_hide_their_order() {
        let ids: Vec<String> = (0..200).map(|number| VersionId::Numbered(number).text()).collect();
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), ID_LEN);
            assert_eq!(VersionId::parse(id), Some(VersionId::Numbered(number as u64)));
        }
        assert!(!ids.is_sorted());
        assert!(!ids.iter().rev().is_sorted());
        assert_eq!(VersionId::parse("null"), Some(VersionId::Null));
        assert_eq!(VersionId::parse("made-up"), None);
        assert_eq!(VersionId::parse(&ids[0].replace(&ids[0][11..12], "-")), None);
    }

    #[test]
    fn etag_of_parts_ends_in_their_count() {
        let one = Etag::of(b"hello");
        assert_eq!(one.text(), "5d41402abc4b2a76b9719d911017c592");
        assert!(Etag::of_parts(&[&one.md5, &one.md5]).text().ends_with("-2"));
    }

    #[test]
    fn slice_of_a_payload_crosses_its_pieces() {
        let pieces = ["abc", "def", "ghi"].map(Bytes::from).to_vec();
        let payload = Payload::of_pieces(pieces);
        assert_eq!(payload.len(), 9);
        assert_eq!(payload.slice(2..7).concat(), b"cdefg");
        assert_eq!(payload.slice(3..6), vec![Bytes::from_static(b"def")]);
        assert_eq!(payload.bytes(), "abcdefghi");
    }
}
