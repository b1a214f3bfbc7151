//! What a source delivered against what the bucket holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use bytes::Bytes;
use embedded_s3::{Store, StoredVersion};
use s3_connector::record::Operation;
use s3_connector_tests::process::Record;

use super::churn::Line;
use crate::sandbox::{PHOTOS, key, payload};

/// A version by key and id.
type Version = (String, String);

/// The bucket's versions, each key's oldest first, and what of them had to come.
pub struct Ledger {
    versions: BTreeMap<String, Vec<StoredVersion>>,
}

/// The version that a record is about.
pub fn version(record: &Record) -> Version {
    let id = record.metadata.get("s3.versionId");
    let id = id.unwrap_or_else(|| panic!("a record of {} without a version", key(record)));
    (key(record), id.clone())
}

impl Ledger {
    /// Of the bucket as it is now.
    pub fn of(store: &Store) -> Self {
        let mut versions: BTreeMap<String, Vec<StoredVersion>> = BTreeMap::new();
        for version in store.versions(PHOTOS).unwrap() {
            // S3 lists a key's newest first.
            versions.entry(version.key.clone()).or_default().insert(0, version);
        }
        Self { versions }
    }

    /// Fails unless the record is what is stored.
    pub fn is_true(&self, record: &Record) {
        let (key, id) = version(record);
        let stored = self.versions.get(&key).and_then(|versions| versions.iter().find(|v| v.version_id == id));
        let stored = stored.unwrap_or_else(|| panic!("{key} has no version {id}"));
        let content: Option<Bytes> = (!stored.delete_marker).then(|| stored.body.clone());
        assert!(payload(record) == content, "the content of {key} {id} differs");
        assert_eq!(record.operation == Operation::Delete, stored.delete_marker);
    }

    /// Fails unless all came that had to: what was current when the snapshot began, and every change since, but for
    /// those that the snapshot overtook.
    pub fn is_covered(&self, delivered: &[Record], line: &Line) {
        let came: BTreeMap<Version, Operation> =
            delivered.iter().map(|record| (version(record), record.operation)).collect();
        let mut missing = Vec::new();
        for versions in self.versions.values() {
            let mut overtaken = false;
            for (at, stored) in versions.iter().enumerate().rev() {
                let id = (stored.key.clone(), stored.version_id.clone());
                let operation = came.get(&id);
                let over_live = at > 0 && !versions[at - 1].delete_marker;
                let is_due = match line.get(&id) {
                    Some(is_current) => *is_current,
                    None => !stored.delete_marker || over_live,
                };
                let is_told = stored.delete_marker && is_told_by_another(&versions[..at], &came);
                if operation.is_none() && is_due && !overtaken && !is_told {
                    missing.push(format!("{} {}: {}", id.0, id.1, history(versions, &came)));
                }
                overtaken |= operation == Some(&Operation::Snapshot);
            }
        }
        assert!(missing.is_empty(), "never came:\n{}", missing.join("\n"));
    }

    /// Fails if something comes twice, or a key's versions in another order than they were stored in.
    pub fn is_in_order(&self, delivered: &[Record]) {
        let mut seen = BTreeSet::new();
        let mut reached: BTreeMap<String, Vec<&StoredVersion>> = BTreeMap::new();
        for record in delivered {
            let (key, id) = version(record);
            assert!(seen.insert((key.clone(), id.clone())), "{key} {id} was acked, and came again");
            let stored = &self.versions[&key];
            let at = stored.iter().position(|v| v.version_id == id);
            let at = at.unwrap_or_else(|| panic!("{key} has no version {id}"));
            let newer = &stored[at + 1..];
            let before = reached.entry(key).or_default();
            let late = before.iter().find(|v| newer.contains(v) && is_surely_older(&stored[at], v));
            assert!(late.is_none(), "{:?} came after {late:?}", stored[at]);
            before.push(&stored[at]);
        }
    }
}

/// Whether a delete was told by the marker of an earlier one, on which the snapshot's version was stored in the same
/// second: where a listing does not order versions and markers of a second, the two can't be told apart.
fn is_told_by_another(older: &[StoredVersion], came: &BTreeMap<Version, Operation>) -> bool {
    let operation = |v: &StoredVersion| came.get(&(v.key.clone(), v.version_id.clone()));
    older.iter().enumerate().any(|(at, marker)| {
        let is_in_snapshot =
            |v: &StoredVersion| operation(v) == Some(&Operation::Snapshot) && second(v) == second(marker);
        operation(marker) == Some(&Operation::Delete) && older[at..].iter().any(is_in_snapshot)
    })
}

/// A key's versions, oldest first, and as what each came.
fn history(versions: &[StoredVersion], came: &BTreeMap<Version, Operation>) -> String {
    let entry = |v: &StoredVersion| {
        let kind = if v.delete_marker { "marker" } else { "version" };
        let operation = came.get(&(v.key.clone(), v.version_id.clone()));
        let operation = operation.map_or("never", |operation| operation.as_str());
        format!("{kind} at {} came {operation}", second(v))
    };
    versions.iter().map(entry).collect::<Vec<_>>().join(", ")
}

/// When it was stored, as a listing has it.
fn second(version: &StoredVersion) -> u64 {
    let since = version.last_modified.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Whether a listing tells that one was stored before the other: not all servers list versions and delete markers in
/// one order, and of the same second nobody knows then.
fn is_surely_older(older: &StoredVersion, newer: &StoredVersion) -> bool {
    older.delete_marker == newer.delete_marker || second(older) < second(newer)
}
