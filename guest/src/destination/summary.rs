//! Owns what is said of a batch besides its records: the time that its name begins with, and its manifest. Leaves names to
//! `key`, and storing to `upload`.
//!
//! All of it follows from the records, so that a replay says the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::path::created_at;
use crate::payload::Payload;
use crate::record::{NoBody, Record};
use crate::time::Timestamp;

/// Bytes of the time that a name begins with.
pub(super) const TIME_BYTES: usize = "20260131T080000Z-".len();

/// Where manifests are, after the prefix.
pub(super) const MANIFESTS: &str = "_manifests/";

/// What is to be said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// The time that the name begins with.
    pub(super) time: bool,
    /// A manifest.
    pub(super) manifest: bool,
}

/// What is said of a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    wanted: Wanted,
    records: usize,
    /// The time of the first record that has one.
    time: Option<Timestamp>,
    /// The earliest and the latest time.
    times: Option<(Timestamp, Timestamp)>,
    /// The positions of the first and the last record.
    positions: (Bytes, Bytes),
}

impl Summary {
    /// Of no records yet.
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// Of the one record.
    pub(super) fn of(wanted: Wanted, record: &Record<NoBody>) -> Self {
        let mut summary = Self::new(wanted);
        summary.take(record);
        summary
    }

    /// Another one, of no records.
    pub(super) fn another(&self) -> Self {
        Self::new(self.wanted)
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, record: &Record<NoBody>) {
        let is_first = self.records == 0;
        self.records += 1;
        if self.wanted.time && self.time.is_none() {
            self.time = created_at(record);
        }
        if !self.wanted.manifest {
            return;
        }
        if is_first {
            self.positions.0 = record.position.clone();
        }
        self.positions.1 = record.position.clone();
        if let Some(time) = created_at(record) {
            let (first, last) = self.times.unwrap_or((time, time));
            self.times = Some((first.min(time), last.max(time)));
        }
    }

    /// Whether the name is to begin with a time, and no record has one.
    pub(super) fn lacks_time(&self) -> bool {
        self.wanted.time && self.time.is_none()
    }

    /// What the name begins with: a time, or nothing.
    pub(super) fn name_start(&self) -> String {
        let Some(time) = self.time else { return String::new() };
        let text = time.floor_seconds().to_rfc3339();
        let digits: String = text.chars().filter(|character| !matches!(character, '-' | ':')).collect();
        format!("{digits}-")
    }

    /// The manifest of the object with this key, if one is wanted.
    pub(super) fn manifest(&self, digest: &str, key: &str, bytes: u64, content_type: &str) -> Option<Payload> {
        if !self.wanted.manifest {
            return None;
        }
        let encode = |position: &Bytes| STANDARD.encode(position);
        let times = self.times.map(|(first, last)| json!({ "first": first.to_rfc3339(), "last": last.to_rfc3339() }));
        let manifest = json!({
            "version": 1,
            "batch": digest,
            "objects": [{ "key": key, "bytes": bytes, "records": self.records, "contentType": content_type }],
            "positions": { "first": encode(&self.positions.0), "last": encode(&self.positions.1) },
            "createdAt": times,
        });
        Some(Bytes::from(format!("{manifest}\n")).into())
    }

    /// How many records it is of.
    pub(super) fn records(&self) -> usize {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Change, Data, Metadata, Operation};

    fn record(position: &'static str, created_at: Option<&str>) -> Record<NoBody> {
        let created_at = created_at.map(|time| ("opencdc.createdAt".to_owned(), time.to_owned()));
        Record {
            position: Bytes::from_static(position.as_bytes()),
            operation: Operation::Create,
            metadata: created_at
                .into_iter()
                .chain([("opencdc.readAt".to_owned(), "5".to_owned())])
                .collect::<Metadata>(),
            key: None,
            payload: Change { before: None, after: Some(Data::Raw(Bytes::new())) },
        }
    }

    const NOON: &str = "1769860800500000000";

    #[test]
    fn a_name_begins_with_the_first_time_that_a_replay_has_too() {
        let wanted = Wanted { time: true, manifest: false };
        let mut summary = Summary::of(wanted, &record("a", None));
        assert!(summary.lacks_time() && summary.name_start().is_empty(), "`readAt` is another one in a replay");
        summary.take(&record("b", Some(NOON)));
        summary.take(&record("c", Some("0")));
        assert_eq!((summary.name_start().as_str(), summary.lacks_time()), ("20260131T120000Z-", false));
        assert_eq!(summary.name_start().len(), TIME_BYTES);
        assert!(summary.another().name_start().is_empty() && summary.manifest("d", "k", 1, "t").is_none());
        assert!(!Summary::of(Wanted::default(), &record("a", Some(NOON))).lacks_time());
    }

    #[test]
    fn a_manifest_counts_and_has_bounds() {
        let wanted = Wanted { time: false, manifest: true };
        let mut summary = Summary::of(wanted, &record("a", None));
        let none = summary.manifest("d", "k", 1, "t").expect("is wanted").into_bytes();
        assert!(none.windows(16).any(|found| found == b"\"createdAt\":null"), "{none:?}");
        for (position, time) in [("b", NOON), ("c", "0"), ("d", "1000000000")] {
            summary.take(&record(position, Some(time)));
        }
        let manifest = summary.manifest("00ff", "a/00ff.json", 77, "application/x-ndjson").expect("is wanted");
        let found: serde_json::Value = serde_json::from_slice(&manifest.into_bytes()).expect("is JSON");
        let expected = json!({
            "version": 1,
            "batch": "00ff",
            "objects":
                [{ "key": "a/00ff.json", "bytes": 77, "records": 4, "contentType": "application/x-ndjson" }],
            "positions": { "first": "YQ==", "last": "ZA==" },
            "createdAt": { "first": "1970-01-01T00:00:00Z", "last": "2026-01-31T12:00:00.500Z" },
        });
        assert_eq!(found, expected);
    }
}
