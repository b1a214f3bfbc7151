//! Owns the identity of what a listing shows: a keyed digest of each version and delete marker. Leaves to `catalogue`
//! what is kept of them.
//!
//! Time takes part only where a store has nothing better: a `null` version is overwritten in place, so that its ETag, its
//! size and its time together are its identity.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::s3::VersionEntry;

/// The version of an object where the store keeps none, or kept none when it was written.
pub(super) const NULL_VERSION: &str = "null";

/// Identifies an entry of a listing among all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digest(pub(super) u64);

/// In the place of a digest, where a key is gone without a delete marker.
pub(super) const GONE: Digest = Digest(0);

impl Digest {
    /// What the entry adds to the sum of a listing, which tells whether the entries of a range are still the same.
    pub(super) fn summand(self, is_latest: bool) -> u64 {
        if is_latest { self.0.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) } else { self.0 }
    }
}

/// Makes digests. Its keys are random for each run, so that nobody who writes to the bucket can make two entries
/// collide, or two sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digester {
    pub(super) keys: (u64, u64),
}

impl Digester {
    /// The digest of an entry.
    pub(super) fn digest(self, entry: &VersionEntry) -> Digest {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        let object = &entry.object;
        hasher.write(&(object.key.len() as u64).to_le_bytes());
        hasher.write(object.key.as_bytes());
        hasher.write(entry.version_id.as_bytes());
        if entry.version_id == NULL_VERSION && !is_broken!(IdentifyNullVersionsByName) {
            hasher.write(&[u8::from(entry.is_delete_marker)]);
            if !is_broken!(IgnoreTimesOfNullVersions) {
                hasher.write(&object.last_modified.0.to_le_bytes());
            }
            hasher.write(&object.size.to_le_bytes());
            hasher.write(object.etag.as_bytes());
        }
        Digest(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::ObjectEntry;
    use crate::time::Timestamp;

    fn entry(key: &str, version_id: &str, etag: &str, time: u64) -> VersionEntry {
        let object =
            ObjectEntry { key: key.to_owned(), etag: etag.to_owned(), last_modified: Timestamp(time), size: 1 };
        VersionEntry { object, version_id: version_id.to_owned(), ..VersionEntry::default() }
    }

    const DIGESTER: Digester = Digester { keys: (1, 2) };

    fn are_same(a: &VersionEntry, b: &VersionEntry) -> bool {
        DIGESTER.digest(a) == DIGESTER.digest(b)
    }

    #[test]
    fn a_version_is_the_same_whatever_else_differs() {
        assert!(are_same(&entry("a", "v1", "x", 5), &entry("a", "v1", "", 6)));
        assert!(!are_same(&entry("a", "v1", "x", 5), &entry("a", "v2", "x", 5)));
        assert!(!are_same(&entry("a", "v1", "x", 5), &entry("av1", "", "x", 5)));
    }

    #[test]
    fn a_null_version_is_its_content() {
        let version = entry("a", NULL_VERSION, "A", 5000);
        let marker = VersionEntry { is_delete_marker: true, ..version.clone() };
        assert!(are_same(&version, &version.clone()) && !are_same(&version, &marker));
        assert!(!are_same(&version, &entry("a", NULL_VERSION, "B", 5000)));
        assert!(!are_same(&version, &entry("a", NULL_VERSION, "A", 6000)));
    }

    #[test]
    fn the_latest_counts_for_something_else() {
        let digest = DIGESTER.digest(&entry("a", "v1", "x", 5));
        assert_ne!(digest.summand(true), digest.summand(false));
    }
}
