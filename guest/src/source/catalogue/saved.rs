//! Owns the form of segments and manifests as they are saved. Leaves their names to `checkpoint`.
//!
//! **Positional: append only**, as in `checkpoint/saved.rs`. Keys are front-coded: each is written as the number of
//! bytes that it shares with the one before it, and the rest. `witness.txt` holds bytes of each version, which a test
//! compares.

use serde::{Deserialize, Serialize};

use super::{Digest, Entry, Known, Reader, Segment};

/// The first byte of a value.
const VERSION: u8 = 1;

/// Bytes of a digest.
const DIGEST: usize = size_of::<u64>();

/// What [`Reader`]s and the presence of groups are in the low bits of a key's header.
const NOTHING: u64 = 1;
const DOUBTFUL: u64 = 2;
const HAS_GROUPS: u64 = 4;
const FLAG_BITS: u32 = 3;

/// A key: bytes shared with the one before it, the others, and the number of digests above [`FLAG_BITS`] flags. The
/// digests follow.
#[derive(Serialize, Deserialize)]
struct SavedKey<'a> {
    shared: u32,
    #[serde(borrow)]
    rest: &'a [u8],
    header: u64,
}

/// [`Segment`], its first key front-coded.
#[derive(Serialize, Deserialize)]
struct SavedSegment<'a> {
    shared: u32,
    #[serde(borrow)]
    rest: &'a [u8],
    id: u64,
    sum: u64,
    listed: u64,
    keys: u64,
    bytes: u64,
    is_doubtful: bool,
}

fn shared(before: &str, key: &str) -> usize {
    before.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count()
}

fn write(value: &impl Serialize, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes).expect("a vector takes all that is written")
}

/// Adds a key to a segment's bytes, after the key `before`.
pub(super) fn append_entry(bytes: &mut Vec<u8>, before: &str, entry: &Entry) {
    if bytes.is_empty() {
        bytes.push(VERSION);
    }
    let shared = shared(before, &entry.key);
    append(bytes, shared, &entry.key.as_bytes()[shared..], &entry.known);
}

fn append(bytes: &mut Vec<u8>, shared: usize, rest: &[u8], known: &Known) {
    let reader = match known.reader {
        Reader::Top => 0,
        Reader::Nothing => NOTHING,
        Reader::Doubtful => DOUBTFUL,
        Reader::Missing => NOTHING | DOUBTFUL,
    };
    let groups = if known.groups.is_empty() { 0 } else { HAS_GROUPS };
    let header = (known.listed.len() as u64) << FLAG_BITS | groups | reader;
    let key = SavedKey { shared: u32::try_from(shared).expect("keys are short"), rest, header };
    *bytes = write(&key, std::mem::take(bytes));
    known.listed.iter().for_each(|digest| bytes.extend_from_slice(&digest.0.to_le_bytes()));
    if !known.groups.is_empty() {
        *bytes = write(&(known.groups.len() as u64), std::mem::take(bytes));
        known.groups.iter().for_each(|sum| bytes.extend_from_slice(&sum.to_le_bytes()));
    }
}

/// The keys of a segment; `None` if it is damaged, or of another version.
pub(in super::super) fn decode_entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (version, mut bytes) = bytes.split_first()?;
    let mut entries: Vec<Entry> = Vec::new();
    while *version == VERSION && !bytes.is_empty() {
        let before = entries.last().map_or("", |entry| &entry.key);
        let (key, known, rest) = take(before, bytes)?;
        entries.push(Entry { key, known });
        bytes = rest;
    }
    Some(entries).filter(|_| *version == VERSION)
}

fn take<'a>(before: &str, bytes: &'a [u8]) -> Option<(String, Known, &'a [u8])> {
    let (SavedKey { shared, rest, header }, bytes) = postcard::take_from_bytes::<SavedKey<'_>>(bytes).ok()?;
    let key = join(before, shared, rest)?;
    let (listed, mut bytes) = take_words(bytes, header >> FLAG_BITS)?;
    let mut groups = Vec::new();
    if header & HAS_GROUPS != 0 {
        let (count, after) = postcard::take_from_bytes::<u64>(bytes).ok()?;
        (groups, bytes) = take_words(after, count)?;
    }
    let reader = match header & (NOTHING | DOUBTFUL) {
        0 => Reader::Top,
        NOTHING => Reader::Nothing,
        DOUBTFUL => Reader::Doubtful,
        _ => Reader::Missing,
    };
    Some((key, Known { reader, listed: listed.into_iter().map(Digest).collect(), groups }, bytes))
}

fn take_words(bytes: &[u8], count: u64) -> Option<(Vec<u64>, &[u8])> {
    let length = usize::try_from(count).ok()?.checked_mul(DIGEST)?;
    let (words, bytes) = bytes.split_at_checked(length)?;
    let (words, _) = words.as_chunks::<DIGEST>();
    Some((words.iter().map(|word| u64::from_le_bytes(*word)).collect(), bytes))
}

fn join(before: &str, shared: u32, rest: &[u8]) -> Option<String> {
    let before = before.as_bytes().get(..shared as usize)?;
    String::from_utf8([before, rest].concat()).ok()
}

/// What is known of one key, alone.
pub(in super::super) fn encode_known(known: &Known) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, 0, &[], known);
    bytes
}

/// The reverse of [`encode_known`]; `None` if it is damaged.
pub(in super::super) fn decode_known(bytes: &[u8]) -> Option<Known> {
    let (_, known, rest) = take("", bytes)?;
    Some(known).filter(|_| rest.is_empty())
}

/// A part of a manifest.
pub(in super::super) fn encode_manifest(segments: &[Segment]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    let mut before = "";
    for segment in segments {
        let shared = shared(before, &segment.first);
        let Segment { first, id, sum, listed, keys, bytes: length, is_doubtful } = segment;
        let saved = SavedSegment {
            shared: u32::try_from(shared).expect("keys are short"),
            rest: &first.as_bytes()[shared..],
            id: *id,
            sum: *sum,
            listed: *listed,
            keys: *keys,
            bytes: *length,
            is_doubtful: *is_doubtful,
        };
        bytes = write(&saved, bytes);
        before = first;
    }
    bytes
}

/// The segments of a manifest's part; `None` if it is damaged, or of another version.
pub(in super::super) fn decode_manifest(bytes: &[u8]) -> Option<Vec<Segment>> {
    let (version, mut bytes) = bytes.split_first()?;
    let mut segments: Vec<Segment> = Vec::new();
    while *version == VERSION && !bytes.is_empty() {
        let (saved, rest) = postcard::take_from_bytes::<SavedSegment<'_>>(bytes).ok()?;
        let before = segments.last().map_or("", |segment| &segment.first);
        segments.push(Segment {
            first: join(before, saved.shared, saved.rest)?,
            id: saved.id,
            sum: saved.sum,
            listed: saved.listed,
            keys: saved.keys,
            bytes: saved.bytes,
            is_doubtful: saved.is_doubtful,
        });
        bytes = rest;
    }
    Some(segments).filter(|_| *version == VERSION)
}
