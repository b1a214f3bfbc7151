//! Owns positions as text: the Go connector's form, followed by what its whole seconds can't carry. Leaves what a
//! position means for the next poll to `source`.
//!
//! `KEY_s12345` in a snapshot and `KEY_c1634049397` in CDC, optionally followed by `~` and base64 (no padding) of a
//! versioned extension. The last `_` separates: neither digits nor base64 contain one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;
use std::io::Write as _;

use crate::error::{Error, Result};
use crate::rows::{Compression, Format, Place};
use crate::time::Timestamp;

/// The phase of a source's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Delivering the objects that were there at first.
    Snapshot,
    /// Following changes.
    Changes,
}

/// The point that a source has reached with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The key of the record; in a snapshot that was resumed without its state, at least the one that it had come to; in a
    /// snapshot's object of which parts are left, the key before it, if there is one.
    pub key: String,
    /// The phase after the record; `Changes` after the last record of a snapshot.
    pub phase: Phase,
    /// In a snapshot, the newest modification seen so far; in CDC, the record's own. Whole seconds survive.
    pub seconds: u64,
    /// What the Go connector's form can't carry; `None` in its own positions.
    pub extension: Option<Extension>,
}

/// What seconds can't carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Names the state that goes with this position.
    pub run: u64,
    /// The server's time at the start of the snapshot, or of the poll before this one: a restart without saved state tells
    /// what was stored since then.
    pub cut: Timestamp,
    /// The plan that the record belongs to, from 1.
    pub plan: u64,
    /// The record's place in it.
    pub index: u64,
    /// Where the record is a part of an object that others follow. The last one is like a record of the whole object.
    pub part: Option<Part>,
}

/// A part of an object that is not its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Some of its bytes.
    Chunk(Chunk),
    /// A row.
    Row(RowMark),
}

impl Part {
    /// Its number in the object, from 1.
    pub fn number(self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.number,
            Self::Row(row) => row.next.rows,
        }
    }

    /// The same, in a position that names the key before, or not.
    #[must_use]
    pub fn naming_key_before(self, names_key_before: bool) -> Self {
        match self {
            Self::Chunk(chunk) => Self::Chunk(Chunk { names_key_before, ..chunk }),
            Self::Row(row) => Self::Row(RowMark { names_key_before, ..row }),
        }
    }

    /// Whether the position names the key before, of which all was delivered, rather than the key of the part.
    pub fn names_key_before(self) -> bool {
        match self {
            Self::Chunk(chunk) => chunk.names_key_before,
            Self::Row(row) => row.names_key_before,
        }
    }
}

/// A row that is not the last of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowMark {
    /// The format that it was read in: a place of one means nothing in another.
    pub format: Format,
    /// Where reading goes on after it.
    pub next: Place,
    /// As for [`Chunk::names_key_before`].
    pub names_key_before: bool,
}

/// A chunk that is not the last of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number, from 1.
    pub number: u64,
    /// Bytes of a chunk, which the object goes on with whatever the settings are by then.
    pub bytes: u64,
    /// Whether the position names the key before, of which all was delivered, rather than the key of the chunk.
    pub names_key_before: bool,
}

/// [`Extension`] as positions hold it. **Positional: append only.** postcard writes fields by their place: whatever is
/// added, removed or moved here is another [`VERSION`], with this type kept to read the old one. `position/witness.txt`
/// holds positions of each version, which a test compares.
#[derive(Serialize, Deserialize)]
struct SavedExtension {
    run: u64,
    cut: u64,
    plan: u64,
    index: u64,
}

/// [`Extension`] of a chunk. **Positional: append only**, as [`SavedExtension`] is, which it begins like.
#[derive(Serialize, Deserialize)]
struct SavedChunkExtension {
    run: u64,
    cut: u64,
    plan: u64,
    index: u64,
    number: u64,
    bytes: u64,
    names_key_before: bool,
}

/// [`Extension`] of a row. **Positional: append only**, as [`SavedExtension`] is, which it begins like.
#[derive(Serialize, Deserialize)]
struct SavedRowExtension {
    run: u64,
    cut: u64,
    plan: u64,
    index: u64,
    format: u8,
    compression: u8,
    rows: u64,
    offset: u64,
    skip: u64,
    names_key_before: bool,
}

/// Formats and compressions by their numbers in positions, from 0. **Append only.**
const FORMATS: [Format; 5] = [Format::Lines, Format::Json, Format::Csv, Format::Parquet, Format::Avro];
const COMPRESSIONS: [Compression; 4] = [Compression::None, Compression::Gzip, Compression::Zstd, Compression::Snappy];

/// The number of one of these.
fn number_of<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|other| other == one).map_or(u8::MAX, |number| number as u8)
}

impl SavedRowExtension {
    fn of(extension: &Extension, row: RowMark) -> Self {
        let SavedExtension { run, cut, plan, index } = extension.into();
        let RowMark { format, next: Place { rows, offset, skip, compression }, names_key_before } = row;
        let (format, compression) = (number_of(&FORMATS, &format), number_of(&COMPRESSIONS, &compression));
        Self { run, cut, plan, index, format, compression, rows, offset, skip, names_key_before }
    }

    /// `None` where it holds what nobody can have written.
    fn read(self) -> Option<Extension> {
        let Self { run, cut, plan, index, format, compression, rows, offset, skip, names_key_before } = self;
        let format = *FORMATS.get(usize::from(format))?;
        let compression = *COMPRESSIONS.get(usize::from(compression))?;
        let next = Place { rows, offset, skip, compression };
        let row = RowMark { format, next, names_key_before };
        (rows > 0).then_some(Extension { run, cut: Timestamp(cut), plan, index, part: Some(Part::Row(row)) })
    }
}

impl SavedChunkExtension {
    fn of(extension: &Extension, chunk: Chunk) -> Self {
        let SavedExtension { run, cut, plan, index } = extension.into();
        let Chunk { number, bytes, names_key_before } = chunk;
        Self { run, cut, plan, index, number, bytes, names_key_before }
    }
}

impl From<SavedChunkExtension> for Extension {
    fn from(saved: SavedChunkExtension) -> Self {
        let SavedChunkExtension { run, cut, plan, index, number, bytes, names_key_before } = saved;
        let part = Some(Part::Chunk(Chunk { number, bytes, names_key_before }));
        Self { run, cut: Timestamp(cut), plan, index, part }
    }
}

impl From<&Extension> for SavedExtension {
    fn from(extension: &Extension) -> Self {
        let Extension { run, cut, plan, index, part: _ } = *extension;
        Self { run, cut: cut.0, plan, index }
    }
}

impl From<SavedExtension> for Extension {
    fn from(saved: SavedExtension) -> Self {
        let SavedExtension { run, cut, plan, index } = saved;
        Self { run, cut: Timestamp(cut), plan, index, part: None }
    }
}

/// What a position belongs to: a bucket on a store, and a prefix of its keys.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The prefix.
    pub prefix: &'a str,
    /// The store's identity, the same for each of its addresses.
    pub store: &'a str,
    /// The store's address as users know it.
    pub endpoint: &'a str,
}

/// What a scope is in positions, which is the same for all of a source's.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    scope: u32,
    store: u32,
}

/// The version of the extension's encoding, its first byte.
const VERSION: u8 = 2;

/// The version of a chunk that others follow.
const VERSION_OF_CHUNK: u8 = 3;

/// The version of a row that others follow.
const VERSION_OF_ROW: u8 = 4;

/// The version before, which did not name the store.
const VERSION_WITHOUT_STORE: u8 = 1;

/// Bytes of a position after its key and before its extension, at most: `_`, the phase, twenty digits, `~`.
const PLAIN_BYTES_MAX: usize = 23;

/// Bytes of an extension, at most: its version, eight numbers of ten bytes, three of one, and three checksums.
const EXTENSION_BYTES_MAX: usize = 1 + 8 * 10 + 3 + 3 * SUM;

/// Bytes of a checksum: of the scope, of the store, and of the whole, in this order.
const SUM: usize = 4;

impl Position {
    /// Writes the position.
    pub fn encode(&self, stamp: Stamp) -> Vec<u8> {
        encode(&self.key, self.phase, self.seconds, self.extension.as_ref(), stamp)
    }

    /// Reads a position.
    ///
    /// # Errors
    ///
    /// `corrupt` where the bytes are not a position of this connector, are damaged or belong to another bucket, prefix
    /// or store. A position of the Go connector names none of these.
    pub fn decode(bytes: &[u8], scope: Scope<'_>) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| corrupt("it is not UTF-8"))?;
        let (key, rest) = text.rsplit_once('_').ok_or_else(|| corrupt("it has no `_`"))?;
        let phase = match rest.as_bytes().first() {
            Some(b's') => Phase::Snapshot,
            Some(b'c') => Phase::Changes,
            _ => return Err(corrupt("neither `s` nor `c` follows its last `_`")),
        };
        let (digits, extension) = match rest[1..].split_once('~') {
            Some((digits, extension)) => (digits, Some(extension)),
            None => (&rest[1..], None),
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(corrupt("it has no seconds"));
        }
        let seconds = digits.parse().map_err(|_| corrupt("its seconds are out of range"))?;
        if key.is_empty() {
            return Err(corrupt("it has no key"));
        }
        let signed = &text.as_bytes()[..text.len() - extension.map_or(0, |e| e.len() + 1)];
        let extension = extension.map(|e| Extension::decode(e, signed, scope)).transpose()?;
        Ok(Self { key: key.to_owned(), phase, seconds, extension })
    }
}

/// Writes the position of a key that is borrowed. Each row has one, so that this is written for speed.
pub fn encode(key: &str, phase: Phase, seconds: u64, extension: Option<&Extension>, stamp: Stamp) -> Vec<u8> {
    let phase = match phase {
        Phase::Snapshot => 's',
        Phase::Changes => 'c',
    };
    let mut text = Vec::with_capacity(key.len() + PLAIN_BYTES_MAX + EXTENSION_BYTES_MAX.div_ceil(3) * 4);
    text.extend_from_slice(key.as_bytes());
    write!(text, "_{phase}{seconds}").expect("a vector takes all that is written");
    let Some(extension) = extension else { return text };
    let mut bytes = [0; EXTENSION_BYTES_MAX];
    let (version, fields) = bytes.split_first_mut().expect("it has room for more");
    let written = match extension.part {
        None => {
            *version = VERSION;
            postcard::to_slice(&SavedExtension::from(extension), fields)
        }
        Some(Part::Chunk(chunk)) => {
            *version = VERSION_OF_CHUNK;
            postcard::to_slice(&SavedChunkExtension::of(extension, chunk), fields)
        }
        Some(Part::Row(row)) => {
            *version = VERSION_OF_ROW;
            postcard::to_slice(&SavedRowExtension::of(extension, row), fields)
        }
    };
    let mut length = 1 + written.expect("there is room for the largest numbers").len();
    let mut put = |bytes: &mut [u8], sum: u32| {
        bytes[length..length + SUM].copy_from_slice(&sum.to_le_bytes());
        length += SUM;
        length
    };
    put(&mut bytes, stamp.scope);
    let signed = put(&mut bytes, stamp.store);
    let sum = hash(&[&text, &bytes[..signed]]);
    let length = put(&mut bytes, sum);
    text.push(b'~');
    let begin = text.len();
    text.resize(begin + length.div_ceil(3) * 4, 0);
    let written = STANDARD_NO_PAD.encode_slice(&bytes[..length], &mut text[begin..]);
    text.truncate(begin + written.expect("the text was sized for its bytes"));
    text
}

impl Extension {
    fn decode(text: &str, signed: &[u8], scope: Scope<'_>) -> Result<Self> {
        let damaged = || corrupt("it is damaged or was cut short");
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| damaged())?;
        let (version, _) = bytes.split_first().ok_or_else(damaged)?;
        if ![VERSION_OF_ROW, VERSION_OF_CHUNK, VERSION, VERSION_WITHOUT_STORE].contains(version) {
            return Err(corrupt(&format!("its version {version} is newer than this connector")));
        }
        let (body, sum) = bytes.split_at_checked(bytes.len().saturating_sub(SUM)).ok_or_else(damaged)?;
        if hash(&[signed, body]).to_le_bytes() != sum {
            return Err(damaged());
        }
        let scopes = if *version == VERSION_WITHOUT_STORE { SUM } else { 2 * SUM };
        let (fields, scopes) = body
            .split_at_checked(body.len().saturating_sub(scopes))
            .filter(|(fields, _)| !fields.is_empty())
            .ok_or_else(damaged)?;
        let (scope_sum, store_sum) = scopes.split_at(SUM);
        let stamp = scope.stamp();
        if stamp.scope.to_le_bytes() != scope_sum {
            return Err(corrupt("it belongs to another bucket or prefix"));
        }
        if *version != VERSION_WITHOUT_STORE && stamp.store.to_le_bytes() != store_sum {
            return Err(other_store(scope.endpoint));
        }
        let extension = match *version {
            VERSION_OF_ROW => postcard::from_bytes(&fields[1..]).ok().and_then(|saved: SavedRowExtension| saved.read()),
            VERSION_OF_CHUNK => postcard::from_bytes::<SavedChunkExtension>(&fields[1..])
                .ok()
                // A number of 0 or chunks without bytes would never end.
                .filter(|saved| saved.number > 0 && saved.bytes > 0)
                .map(Self::from),
            _ => postcard::from_bytes::<SavedExtension>(&fields[1..]).map(Self::from).ok(),
        };
        extension.ok_or_else(damaged)
    }
}

impl Scope<'_> {
    /// What it is in positions.
    pub fn stamp(self) -> Stamp {
        Stamp {
            scope: hash(&[self.bucket.as_bytes(), b"\0", self.prefix.as_bytes()]),
            store: hash(&[self.store.as_bytes()]),
        }
    }
}

fn corrupt(why: &str) -> Error {
    Error::corrupt(format!(
        "the position cannot be read: {why}; give the position of a record of this bucket and prefix, or no position \
         to start over"
    ))
}

fn other_store(endpoint: &str) -> Error {
    Error::corrupt(format!(
        "the position belongs to a bucket of this name on another store than {endpoint}: set `aws.endpoint` (or \
         AWS_ENDPOINT_URL_S3) to the address that it was made with, or start over with no position and a state folder \
         of its own; where it is the same store under a new name, give the position's text without what follows its \
         last `~`: the changes of the last `lookback` then come again"
    ))
}

/// A checksum against damage, not against malice.
fn hash(parts: &[&[u8]]) -> u32 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(part);
    }
    let sum = hasher.finish();
    (sum ^ (sum >> 32)) as u32
}

#[cfg(test)]
mod witness;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const SCOPE: Scope<'static> =
        Scope { bucket: "logs", prefix: "a/", store: "store:9000", endpoint: "http://store:9000" };

    fn sample(key: &str) -> Position {
        Position {
            key: key.to_owned(),
            phase: Phase::Changes,
            seconds: 1_634_049_397,
            extension: Some(Extension {
                run: u64::MAX,
                cut: Timestamp(1_634_049_397_123),
                plan: 7,
                index: 300,
                part: None,
            }),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Position> {
        Position::decode(bytes, SCOPE)
    }

    #[test]
    fn positions_of_the_go_connector_are_read() {
        for (text, key, phase, seconds) in [
            ("file.txt_s12345", "file.txt", Phase::Snapshot, 12_345),
            ("a_b_c1634049397", "a_b", Phase::Changes, 1_634_049_397),
            ("a~b_c0", "a~b", Phase::Changes, 0),
        ] {
            let position = decode(text.as_bytes()).expect(text);
            assert_eq!((position.key.as_str(), position.phase, position.seconds), (key, phase, seconds));
            assert_eq!(position.encode(SCOPE.stamp()), text.as_bytes());
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for key in ["a", "a_c12~AA", "späße/ +%\u{1}", "_", "~"] {
            let encoded = sample(key).encode(SCOPE.stamp());
            assert!(encoded.starts_with(format!("{key}_c1634049397~").as_bytes()));
            assert_eq!(decode(&encoded).expect(key), sample(key));
        }
    }

    #[test]
    fn a_chunk_that_others_follow_reads_back() {
        let part = Some(Part::Chunk(Chunk { number: 3, bytes: 1 << 20, names_key_before: true }));
        let position = sample("key");
        let extension = Some(Extension { part, ..position.extension.clone().expect("it has one") });
        let position = Position { extension, ..position };
        assert_eq!(decode(&position.encode(SCOPE.stamp())).expect("reads"), position);
        assert_ne!(position.encode(SCOPE.stamp()), sample("key").encode(SCOPE.stamp()));
    }

    #[test]
    fn a_row_that_others_follow_reads_back() {
        for (format, compression) in FORMATS.into_iter().zip(COMPRESSIONS.into_iter().cycle()) {
            let next = Place { rows: 1 << 40, offset: 1 << 41, skip: 7, compression };
            let part = Some(Part::Row(RowMark { format, next, names_key_before: true }));
            let position = sample("key");
            let extension = Some(Extension { part, ..position.extension.clone().expect("it has one") });
            let position = Position { extension, ..position };
            assert_eq!(decode(&position.encode(SCOPE.stamp())).expect("reads"), position);
        }
    }

    #[test]
    fn garbage_is_corrupt_and_never_a_panic() {
        for bytes in [
            "",
            "_",
            "a_",
            "_s1",
            "a_x1",
            "a_s",
            "a_s-1",
            "a_s+1",
            "a_s1x",
            "a_c99999999999999999999",
            "a_s1~",
            "a_s1~!",
            "a_s1~AQ",
            "nothing",
        ] {
            assert_eq!(decode(bytes.as_bytes()).expect_err(bytes).kind, ErrorKind::Corrupt, "{bytes}");
        }
        assert_eq!(decode(b"\xff_s1").expect_err("not UTF-8").kind, ErrorKind::Corrupt);
    }

    #[test]
    fn every_cut_or_flipped_bit_of_an_extension_is_noticed() {
        let encoded = sample("key").encode(SCOPE.stamp());
        let bare = encoded.iter().position(|b| *b == b'~').expect("has an extension");
        for end in bare + 1..encoded.len() {
            assert!(decode(&encoded[..end]).is_err(), "cut at {end}");
        }
        for place in 0..encoded.len() {
            for bit in 0..8 {
                let mut flipped = encoded.clone();
                flipped[place] ^= 1 << bit;
                assert_ne!(decode(&flipped).ok(), Some(sample("key")), "bit {bit} of byte {place}");
            }
        }
    }

    #[test]
    fn a_position_of_another_bucket_or_prefix_is_refused() {
        let encoded = sample("key").encode(SCOPE.stamp());
        for scope in [Scope { bucket: "other", ..SCOPE }, Scope { prefix: "", ..SCOPE }] {
            let message = Position::decode(&encoded, scope).expect_err("foreign").message;
            assert!(message.contains("another bucket or prefix"), "{message}");
        }
    }

    #[test]
    fn a_position_of_another_store_is_refused_with_what_to_do() {
        let encoded = sample("key").encode(SCOPE.stamp());
        let elsewhere = Scope { store: "other:9000", endpoint: "http://other:9000", ..SCOPE };
        let error = Position::decode(&encoded, elsewhere).expect_err("foreign");
        assert_eq!(error.kind, ErrorKind::Corrupt);
        for part in ["another store than http://other:9000", "`aws.endpoint`", "`~`"] {
            assert!(error.message.contains(part), "{error}");
        }
        // As the message says: without the extension it is bound to nothing.
        let bare = encoded.split(|byte| *byte == b'~').next().expect("a part");
        let position = Position::decode(bare, elsewhere).expect("opens anywhere");
        assert_eq!((&*position.key, position.extension), ("key", None));
    }

    #[test]
    fn a_position_that_does_not_name_its_store_is_read() {
        let text = "key_c1634049397";
        let mut bytes = vec![VERSION_WITHOUT_STORE];
        let extension = sample("key").extension.expect("it has one");
        bytes = postcard::to_extend(&SavedExtension::from(&extension), bytes).expect("a vector takes all");
        bytes.extend_from_slice(&SCOPE.stamp().scope.to_le_bytes());
        let sum = hash(&[text.as_bytes(), &bytes]);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let encoded = format!("{text}~{}", STANDARD_NO_PAD.encode(bytes));
        assert_eq!(decode(encoded.as_bytes()).expect("reads"), sample("key"));
    }
}
