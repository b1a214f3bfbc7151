//! What a source delivered against what the bucket holds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use embedded_s3::{Store, StoredVersion};
use s3_connector::record::Operation;
use s3_connector_tests::process::Record;

use super::churn::{Kind, Version};
use crate::sandbox::{PHOTOS, key, payload};

/// What is stored, each key's oldest first, and all that ever was.
pub struct Ledger {
    kind: Kind,
    versions: BTreeMap<String, Vec<StoredVersion>>,
    ever: BTreeMap<String, Vec<StoredVersion>>,
}

/// The version that a record is about; `null` where none is kept, or all are gone.
fn version(record: &Record) -> Version {
    let id = record.metadata.get("s3.versionId").map_or("null", String::as_str);
    (key(record), id.to_owned())
}

impl Ledger {
    /// Of the bucket as it is now, and of all that was ever stored in it.
    pub fn of(kind: Kind, store: &Store, stored: Vec<StoredVersion>) -> Self {
        let (mut versions, mut ever) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for version in store.versions(PHOTOS).unwrap() {
            // S3 lists a key's newest first.
            versions.entry(version.key.clone()).or_default().insert(0, version);
        }
        for version in stored {
            ever.entry(version.key.clone()).or_default().push(version);
        }
        Self { kind, versions, ever }
    }

    /// Fails unless all holds that must of what was delivered; `line` is what the first listing may have shown.
    pub fn is_right(&self, delivered: &[Record], line: &BTreeSet<Version>) {
        delivered.iter().for_each(|record| self.is_true(record));
        self.ends_right(delivered);
        if self.kind != Kind::Plain {
            self.is_covered(delivered, line);
        }
    }

    /// Fails unless the record is what is, or was, stored.
    pub fn is_true(&self, record: &Record) {
        let (key, id) = version(record);
        let content = payload(record);
        if id == "null" {
            // Of a key of which nothing is left, no version tells.
            let is_known = |v: &StoredVersion| content.as_ref().is_none_or(|content| v.body == *content);
            assert!(self.ever.get(&key).is_some_and(|all| all.iter().any(is_known)), "{key} was never so");
            assert_eq!(record.operation == Operation::Delete, content.is_none());
            return;
        }
        let stored = self.ever.get(&key).and_then(|all| all.iter().find(|v| v.version_id == id));
        let stored = stored.unwrap_or_else(|| panic!("{key} had no version {id}"));
        let expected: Option<Bytes> = (!stored.delete_marker).then(|| stored.body.clone());
        assert!(content == expected, "the content of {key} {id} differs");
        assert_eq!(record.operation == Operation::Delete, stored.delete_marker);
    }

    /// Fails unless somebody who applies the records in their order has what the bucket has.
    fn ends_right(&self, delivered: &[Record]) {
        let mut reader = BTreeMap::new();
        for record in delivered {
            match payload(record) {
                Some(content) => drop(reader.insert(key(record), content)),
                None => drop(reader.remove(&key(record))),
            }
        }
        let top = |versions: &Vec<StoredVersion>| versions.last().filter(|v| !v.delete_marker).map(|v| v.body.clone());
        let bucket: BTreeMap<_, _> =
            self.versions.iter().filter_map(|(key, versions)| Some((key.clone(), top(versions)?))).collect();
        let keys: BTreeSet<_> = reader.keys().chain(bucket.keys()).collect();
        let wrong: Vec<_> = keys.into_iter().filter(|key| reader.get(*key) != bucket.get(*key)).collect();
        let records: Vec<_> = delivered.iter().filter(|record| wrong.contains(&&key(record))).map(line_of).collect();
        assert!(wrong.is_empty(), "the reader has something else of {wrong:?}:\n{}", records.join("\n"));
    }

    /// Fails unless all that is still stored came that had to: each version that the first listing can't have shown,
    /// and each on top of one that came; a delete marker where it lies over an object and nothing was ever removed.
    fn is_covered(&self, delivered: &[Record], line: &BTreeSet<Version>) {
        let came: BTreeMap<Version, Operation> =
            delivered.iter().map(|record| (version(record), record.operation)).collect();
        let mut missing = Vec::new();
        for versions in self.versions.values() {
            let mut is_late = false;
            for (at, stored) in versions.iter().enumerate() {
                let id = (stored.key.clone(), stored.version_id.clone());
                let has_come = came.contains_key(&id);
                let over_live = at > 0 && !versions[at - 1].delete_marker;
                let changes = !stored.delete_marker || (over_live && self.kind == Kind::Versions);
                if !has_come && changes && (is_late || !line.contains(&id)) {
                    missing.push(format!("{} {}: {}", id.0, id.1, history(versions, &came)));
                }
                // A late upload lands below what came, and may have been part of the first listing.
                is_late |= has_come && self.kind == Kind::Versions;
            }
        }
        assert!(missing.is_empty(), "never came:\n{}", missing.join("\n"));
    }

    /// Fails if something comes twice, but for what is on top, or a key's versions come in another order than they were
    /// stored in.
    pub fn is_in_order(&self, delivered: &[Record]) {
        if self.kind != Kind::Versions {
            return;
        }
        let mut reached: BTreeMap<Version, usize> = BTreeMap::new();
        for record in delivered {
            let (key, id) = version(record);
            let stored = &self.versions[&key];
            let at = stored.iter().position(|v| v.version_id == id).expect("nothing was removed");
            let before = reached.insert((key.clone(), String::new()), at);
            assert!(before != Some(at), "{key} {id} was acked, and came again");
            assert!(before.is_none_or(|before| before < at), "{key} {id} came after a newer version");
        }
    }
}

/// A record for people.
fn line_of(record: &Record) -> String {
    let (key, id) = version(record);
    format!("{} {key} {id}", record.operation.as_str())
}

/// A key's versions, oldest first, and as what each came.
fn history(versions: &[StoredVersion], came: &BTreeMap<Version, Operation>) -> String {
    let entry = |v: &StoredVersion| {
        let kind = if v.delete_marker { "marker" } else { "version" };
        let operation = came.get(&(v.key.clone(), v.version_id.clone()));
        let operation = operation.map_or("never", |operation| operation.as_str());
        format!("{kind} came {operation}")
    };
    versions.iter().map(entry).collect::<Vec<_>>().join(", ")
}
