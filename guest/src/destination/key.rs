//! Owns the names of objects, which are made of their records. Leaves storing objects to `upload`.
//!
//! The same records give the same name on every run, machine and version, so that a batch written twice is stored once;
//! any difference gives another name, so that no batch is in the way of another. A clock in names would make every
//! replay a duplicate, and so would randomness: only the names of batches that can't be recognised, since one of their
//! records has no position, contain random bits. Names outlive a release: what is hashed here must not change.

use super::summary::{MANIFESTS, TIME_BYTES, Wanted};
use crate::error::{Error, Result};
use crate::limits;
use crate::record::{Data, NoBody, Operation, Record};

/// Metadata about the reading instead of the record: a replay reads at another time.
const VOLATILE: &str = "opencdc.readAt";

/// The context of the digest: fixed, since names must not differ between runs, and used for nothing else.
const CONTEXT: &str = "s3-connector 2026-11-26 a batch of OpenCDC records";

/// The context of the digest of records of which only a part is written, as rows.
const CONTEXT_ROWS: &str = "s3-connector 2026-11-28 a batch of rows of OpenCDC records";

/// The context of the digest of a record whose payload is not in it.
const CONTEXT_STREAMED: &str = "s3-connector 2026-11-27 an OpenCDC record without the bytes of its payload";

/// Bytes of a name after its prefix: 64 digits, a dot and the longest extension, `json.zst`.
const NAME_BYTES_MAX: usize = 2 * blake3::OUT_LEN + 1 + 8;

/// Takes records in order and computes the digest of them all.
///
/// The digest is BLAKE3 with a context of its own, over each record's fields in order. Every text is preceded by its
/// length and every choice by its number, so that no two lists of records are hashed as the same bytes. Nobody can find
/// two batches with one digest, not even an author of records: the second would be mistaken for the first, and lost.
#[derive(Debug)]
pub(super) struct Digester {
    hash: blake3::Hasher,
    /// Whether nothing distinguishes the batch from an equal one that is not its replay.
    is_ambiguous: bool,
}

impl Digester {
    /// Starts with no records.
    pub(super) fn new() -> Self {
        Self { hash: blake3::Hasher::new_derive_key(CONTEXT), is_ambiguous: false }
    }

    /// Starts with no records, of which files of this kind hold a part.
    pub(super) fn rows(kind: &str) -> Self {
        let mut digester = Self { hash: blake3::Hasher::new_derive_key(CONTEXT_ROWS), is_ambiguous: false };
        digester.bytes(kind.as_bytes());
        digester
    }

    /// The digest of one record whose `payload.after` has so many bytes, which are not there yet. What distinguishes two
    /// of them are their other fields, positions above all.
    pub(super) fn streamed(record: &Record<NoBody>, length: u64) -> Self {
        let mut digester = Self { hash: blake3::Hasher::new_derive_key(CONTEXT_STREAMED), is_ambiguous: false };
        digester.record(record);
        digester.number(length);
        digester
    }

    /// Takes the next record.
    pub(super) fn record(&mut self, record: &Record<NoBody>) {
        self.is_ambiguous |= record.position.is_empty();
        self.bytes(&record.position);
        self.number(match record.operation {
            Operation::Create => 1,
            Operation::Update => 2,
            Operation::Delete => 3,
            Operation::Snapshot => 4,
        });
        let lasting = || record.metadata.iter().filter(|(name, _)| name.as_str() != VOLATILE);
        self.number(lasting().count() as u64);
        for (name, value) in lasting() {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
        self.data(record.key.as_ref());
        self.data(record.payload.before.as_ref());
        self.data(record.payload.after.as_ref());
    }

    /// The digest as 64 hexadecimal digits. Where a record has no position, 128 bits of randomness from
    /// `random` go into it: the same line on another day is another record.
    pub(super) fn finish(mut self, mut random: impl FnMut() -> u64) -> String {
        if self.is_ambiguous {
            self.number(random());
            self.number(random());
        }
        self.hash.finalize().to_hex().as_str().to_owned()
    }

    fn data(&mut self, data: Option<&Data<NoBody>>) {
        match data {
            None => self.number(0),
            Some(Data::Raw(bytes)) => {
                self.number(1);
                self.bytes(bytes);
            }
            Some(Data::Structured(text)) => {
                self.number(2);
                self.bytes(text.as_bytes());
            }
            Some(Data::Body { bytes, .. }) => match *bytes {},
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.hash.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.hash.update(&number.to_le_bytes());
    }
}

/// The key of the object with the records of `digest`. The prefix is a plain string, never a path.
pub(super) fn object_key(prefix: &str, digest: &str, extension: &str) -> String {
    format!("{prefix}{digest}.{extension}")
}

/// Bytes of a name at most, of those of which something is said.
pub(super) fn name_bytes_max(wanted: Wanted) -> usize {
    NAME_BYTES_MAX + if wanted.time { TIME_BYTES } else { 0 }
}

/// Checks that names with this prefix fit into a key, and those of manifests if there are any.
///
/// # Errors
///
/// `invalid` where the prefix is too long.
pub(super) fn check_prefix(prefix: &str, wanted: Wanted) -> Result<()> {
    let folder = if wanted.manifest { MANIFESTS.len() } else { 0 };
    let max = limits::KEY_BYTES_MAX - folder - name_bytes_max(wanted);
    if prefix.len() <= max {
        return Ok(());
    }
    let message = format!("setting `prefix` has {} bytes, but must have at most {max}", prefix.len());
    Err(Error::invalid(message))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::{Change, Metadata};

    fn record(position: &'static [u8]) -> Record<NoBody> {
        Record {
            position: Bytes::from_static(position),
            operation: Operation::Update,
            metadata: [("a".to_owned(), "1".to_owned())].into(),
            key: Some(Data::Raw(Bytes::from_static(b"key\xff"))),
            payload: Change {
                before: Some(Data::Raw(Bytes::new())),
                after: Some(Data::Structured("{\"b\":2}".to_owned())),
            },
        }
    }

    fn digest(records: &[Record<NoBody>]) -> String {
        digest_by(records, 0)
    }

    /// The digest where randomness gives `random` and what follows.
    fn digest_by(records: &[Record<NoBody>], mut random: u64) -> String {
        let mut digester = Digester::new();
        records.iter().for_each(|record| digester.record(record));
        digester.finish(|| {
            random += 1;
            random
        })
    }

    #[test]
    fn names_are_those_of_every_earlier_release() {
        let digest = digest(&[record(b"p1"), record(b"p2")]);
        assert_eq!(
            object_key("logs-", &digest, "json"),
            "logs-ce20b3b6450afa116dd32e8335839eda08d2f07623edc46d34006986089eb777.json"
        );
    }

    #[test]
    fn a_record_without_its_payload_has_a_name_of_its_own_kind() {
        let mut record = record(b"p1");
        record.payload.after = None;
        let name = |length| Digester::streamed(&record, length).finish(|| 0);
        assert_eq!(name(1 << 30), "ee0036737eee7c9973cc8d097d880558a4fd4437c191f07c0c7ab7ebb0a7755f");
        assert_ne!(name(1 << 30), name((1 << 30) + 1));
        assert_ne!(name(0), digest(&[record.clone()]));
    }

    #[test]
    fn a_prefix_is_put_in_front_as_it_is() {
        for prefix in ["", "conduit-", "a//b/", "../", "/", "."] {
            assert_eq!(object_key(prefix, "00", "json"), format!("{prefix}00.json"));
        }
    }

    #[test]
    fn randomness_is_in_a_name_only_where_a_record_has_no_position() {
        let placed = [record(b"p"), record(b"q")];
        assert_eq!(digest_by(&placed, 1), digest_by(&placed, 3));
        for unplaced in [vec![record(b"")], vec![record(b""), record(b"q")], vec![record(b"p"), record(b"")]] {
            assert_eq!(digest_by(&unplaced, 1), digest_by(&unplaced, 1));
            assert_ne!(digest_by(&unplaced, 1), digest_by(&unplaced, 3));
            assert_ne!(digest_by(&unplaced, 1), digest_by(&unplaced, 2));
        }
    }

    #[test]
    fn a_replay_at_another_time_has_the_same_name() {
        let (mut first, mut second) = (record(b"p"), record(b"p"));
        first.metadata.insert(VOLATILE.to_owned(), "1".to_owned());
        second.metadata.insert(VOLATILE.to_owned(), "2".to_owned());
        assert_eq!(digest(&[first]), digest(&[second]));
    }

    #[test]
    fn every_other_difference_gives_another_name() {
        let mut variants = vec![vec![], vec![record(b"p")], vec![record(b"p"), record(b"p")]];
        let mut change = |edit: &dyn Fn(&mut Record<NoBody>)| {
            let mut changed = record(b"p");
            edit(&mut changed);
            variants.push(vec![changed]);
        };
        change(&|r| r.position = Bytes::from_static(b"q"));
        change(&|r| r.operation = Operation::Create);
        change(&|r| r.metadata = Metadata::new());
        change(&|r| r.metadata = [("a1".to_owned(), String::new())].into());
        change(&|r| r.key = None);
        change(&|r| r.key = Some(Data::Structured("{}".to_owned())));
        change(&|r| r.payload.before = None);
        change(&|r| std::mem::swap(&mut r.payload.before, &mut r.payload.after));
        change(&|r| r.payload.after = Some(Data::Raw(Bytes::from_static(b"{\"b\":2}"))));
        let mut digests: Vec<_> = variants.iter().map(|records| digest(records)).collect();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), variants.len());
    }

    #[test]
    fn the_order_of_records_counts() {
        let forth = digest(&[record(b"p"), record(b"q")]);
        assert_ne!(forth, digest(&[record(b"q"), record(b"p")]));
    }
}
