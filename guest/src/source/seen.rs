//! Owns what a source has handed out already, by identity rather than by time. Leaves to `changes` which entries are
//! due.
//!
//! Whole seconds don't distinguish two objects and stamps are not commit order, so everything in the window that polls
//! check again is remembered here.

use std::collections::BTreeMap;

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use crate::s3::{ObjectEntry, VersionEntry};
use crate::time::Timestamp;

/// The version of an object where the store keeps none, or kept none when it was written.
pub(super) const NULL_VERSION: &str = "null";

/// Where an entry is remembered: a digest of key and version. Keyed at random for each run, so that writers
/// to the bucket can't make two entries collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u128);

/// What is remembered of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Distinguishes what was overwritten under the same version (`null`) from what replaced it.
    pub(super) content: u64,
    /// When it was modified, by the store's clock.
    pub(super) time: Timestamp,
}

/// Entries that were handed out, or skipped permanently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) keys: (u64, u64),
    pub(super) marks: BTreeMap<Slot, Mark>,
}

impl Seen {
    /// Remembers nothing yet.
    pub(super) fn new(keys: (u64, u64)) -> Self {
        Self { keys, marks: BTreeMap::new() }
    }

    /// The slot and the mark under which this version of the object is remembered.
    pub(super) fn identify(&self, object: &ObjectEntry, version_id: &str, is_marker: bool) -> (Slot, Mark) {
        let time = object.last_modified;
        // A version is written once. The null version is overwritten: A, then B, then A again are three changes.
        let content = if version_id == NULL_VERSION { self.content(&object.etag, time, is_marker) } else { 0 };
        (self.slot(&object.key, version_id), Mark { content, time })
    }

    fn slot(&self, key: &str, version_id: &str) -> Slot {
        Slot(self.digest(&[key.as_bytes(), version_id.as_bytes()]))
    }

    fn content(&self, etag: &str, time: Timestamp, is_marker: bool) -> u64 {
        let time = time.0.to_le_bytes();
        self.digest(&[etag.as_bytes(), &time, &[u8::from(is_marker)]]) as u64
    }

    /// Whether this very entry is remembered.
    pub(super) fn contains(&self, entry: &VersionEntry) -> bool {
        let (slot, mark) = self.identify(&entry.object, &entry.version_id, entry.is_delete_marker);
        self.marks.get(&slot).is_some_and(|known| known.content == mark.content)
    }

    /// Whether what is remembered of the key's null version is a delete marker.
    pub(super) fn has_marker(&self, key: &str) -> bool {
        self.marks
            .get(&self.slot(key, NULL_VERSION))
            .is_some_and(|known| known.content == self.content("", known.time, true))
    }

    /// Remembers.
    pub(super) fn insert(&mut self, slot: Slot, mark: Mark) {
        self.marks.insert(slot, mark);
    }

    /// Forgets what no later poll needs.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Slot, &Mark) -> bool) {
        self.marks.retain(|slot, mark| keep(slot, mark));
    }

    fn digest(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, version_id: &str, etag: &str, time: u64) -> VersionEntry {
        let object =
            ObjectEntry { key: key.to_owned(), etag: etag.to_owned(), last_modified: Timestamp(time), size: 1 };
        VersionEntry { object, version_id: version_id.to_owned(), ..VersionEntry::default() }
    }

    fn insert(seen: &mut Seen, entry: &VersionEntry) {
        let (slot, mark) = seen.identify(&entry.object, &entry.version_id, entry.is_delete_marker);
        seen.insert(slot, mark);
    }

    #[test]
    fn a_version_is_the_same_whatever_else_differs() {
        let mut seen = Seen::new((1, 2));
        insert(&mut seen, &entry("a", "v1", "x", 5));
        assert!(seen.contains(&entry("a", "v1", "", 6)));
        assert!(!seen.contains(&entry("a", "v2", "x", 5)));
        assert!(!seen.contains(&entry("av1", "", "x", 5)));
    }

    #[test]
    fn a_marker_in_the_place_of_the_null_version_is_recognised() {
        let mut seen = Seen::new((1, 2));
        let version = entry("a", "null", "A", 5000);
        let marker = VersionEntry { is_delete_marker: true, ..entry("a", "null", "", 6000) };
        assert!(!seen.has_marker("a"));
        insert(&mut seen, &version);
        assert!(!seen.has_marker("a"));
        insert(&mut seen, &marker);
        assert!(seen.has_marker("a") && !seen.has_marker("b"));
        // An ETag may be missing from a listing; a version is one all the same.
        insert(&mut seen, &entry("a", "null", "", 6000));
        assert!(!seen.has_marker("a"));
    }

    #[test]
    fn overwriting_the_null_version_and_back_is_noticed() {
        let mut seen = Seen::new((1, 2));
        let (a, b) = (entry("a", "null", "A", 5000), entry("a", "null", "B", 5000));
        insert(&mut seen, &a);
        assert!(seen.contains(&a) && !seen.contains(&b));
        insert(&mut seen, &b);
        assert!(seen.contains(&b) && !seen.contains(&a));
    }
}
