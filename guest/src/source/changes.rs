//! Owns change detection: which versions in a listing are due, as which operations, and in which order. Leaves listing
//! to `poll` and saving to `checkpoint`.
//!
//! Pure: entries go in as they are listed, due changes come out. Stamps are not commit order ([a multipart upload
//! carries the time it was started][1], stamps are whole seconds), so everything in the window is due that was not seen
//! before. Within a key the order of storage holds, across keys the order of time.
//!
//! [1]: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::seen::{Mark, NULL_VERSION, Seen, Slot};
use crate::record::Operation;
use crate::s3::{UploadEntry, VersionEntry};
use crate::time::Timestamp;

/// Multipart uploads in progress at a cut: keys and the times at which they were started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Uploads(pub(super) BTreeMap<String, Vec<Timestamp>>);

/// How far the stamp of an upload's object may be from its start: stores round differently.
const UPLOAD_STAMP_SLACK_MS: u64 = 1000;

impl Uploads {
    /// Remembers an upload.
    pub(super) fn insert(&mut self, upload: UploadEntry) {
        let times = self.0.entry(upload.key).or_default();
        if !times.contains(&upload.initiated) {
            times.push(upload.initiated);
        }
    }

    /// Adds all uploads of `other`.
    pub(super) fn extend(&mut self, other: &Self) {
        for (key, times) in &other.0 {
            for initiated in times {
                let (key, initiated) = (key.clone(), *initiated);
                self.insert(UploadEntry { key, initiated, ..UploadEntry::default() });
            }
        }
    }

    /// Whether an upload to `key` is remembered.
    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn has_completed(&self, entry: &VersionEntry) -> bool {
        let time = entry.object.last_modified.0;
        !entry.is_delete_marker
            && self
                .0
                .get(&entry.object.key)
                .is_some_and(|times| times.iter().any(|started| started.0.abs_diff(time) <= UPLOAD_STAMP_SLACK_MS))
    }
}

/// A change that a poll delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The time by which it is ordered: its own, or that of an older change of the same key, if that is later.
    pub(super) order: Timestamp,
    /// The key.
    pub(super) key: String,
    /// Its place among the changes of its key: older ones first.
    pub(super) age: u32,
    /// When it was made, by the store's clock.
    pub(super) last_modified: Timestamp,
    /// The version.
    pub(super) version_id: String,
    /// Whether a plain GET found it.
    pub(super) is_latest: bool,
    /// The ETag without quotes; empty for a delete.
    pub(super) etag: String,
    /// Bytes.
    pub(super) size: u64,
    /// What happened: anything but a snapshot.
    pub(super) operation: Operation,
}

impl Due {
    fn place(&self) -> (Timestamp, &str, u32) {
        (self.order, &self.key, self.age)
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.version_id.len() + self.etag.len()
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

/// The rules of a poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Entries older than this were dealt with, unless they are uploads that completed late.
    pub(super) low_watermark: Timestamp,
    /// In the first poll after a snapshot, the snapshot's cut: of what is older, only the state at the cut
    /// counts, which the snapshot delivered.
    pub(super) history: Option<Timestamp>,
    /// Uploads that were in progress at this or the previous cut.
    pub(super) uploads: &'a Uploads,
    /// Bytes of due entries to keep.
    pub(super) bytes_max: usize,
}

/// The result of a poll's detection.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Due changes, in the order of delivery.
    pub(super) due: Vec<Due>,
    /// What to remember: everything in the window except what was left for the next poll.
    pub(super) marks: Vec<(Slot, Mark)>,
    /// Where uploads that completed late are remembered: their stamps may lie before every window.
    pub(super) completed: BTreeSet<Slot>,
    /// The time of the oldest change that is left for the next poll, if there are too many for this one.
    pub(super) left_since: Option<Timestamp>,
    /// Versions superseded by a newer one that was delivered before them.
    pub(super) superseded: u64,
}

/// Takes a listing of versions, in the order of keys, and finds the due changes.
#[derive(Debug)]
pub(super) struct Detector<'a> {
    rules: Rules<'a>,
    seen: &'a Seen,
    /// Entries of the key that is being listed: versions and delete markers, each newest first.
    versions: Vec<VersionEntry>,
    markers: Vec<VersionEntry>,
    heap: BinaryHeap<Due>,
    heap_bytes: usize,
    found: Found,
}

impl<'a> Detector<'a> {
    /// Starts a poll.
    pub(super) fn new(rules: Rules<'a>, seen: &'a Seen) -> Self {
        Self {
            rules,
            seen,
            versions: Vec::new(),
            markers: Vec::new(),
            heap: BinaryHeap::new(),
            heap_bytes: 0,
            found: Found::default(),
        }
    }

    /// Takes the next entry of the listing.
    pub(super) fn push(&mut self, entry: VersionEntry) {
        let current = self.versions.first().or(self.markers.first());
        if current.is_some_and(|current| current.object.key != entry.object.key) {
            self.close_key();
        }
        let kind = if entry.is_delete_marker { &mut self.markers } else { &mut self.versions };
        // Of a long history only the newest entry before the window matters: it distinguishes creates from updates.
        let old = |e: &VersionEntry| e.object.last_modified < self.rules.low_watermark;
        let is_needless =
            old(&entry) && kind.last().is_some_and(old) && !self.rules.uploads.contains_key(&entry.object.key);
        if !is_needless {
            kind.push(entry);
        }
    }

    /// Ends the poll.
    pub(super) fn finish(mut self) -> Found {
        self.close_key();
        for due in std::mem::take(&mut self.heap).into_sorted_vec() {
            self.remember(&due.as_entry());
            self.found.due.push(due);
        }
        self.found
    }

    fn remember(&mut self, entry: &VersionEntry) {
        let (slot, mark) = self.seen.identify(&entry.object, &entry.version_id, entry.is_delete_marker);
        self.found.marks.push((slot, mark));
        if self.rules.uploads.has_completed(entry) {
            self.found.completed.insert(slot);
        }
    }

    /// Judges the key whose entries are complete.
    fn close_key(&mut self) {
        if self.versions.is_empty() && self.markers.is_empty() {
            return;
        }
        let versions = std::mem::take(&mut self.versions);
        let entries = in_order(versions, std::mem::take(&mut self.markers), self.seen);
        let verdicts = self.judge(&entries);
        // Oldest first, so that no change of a key is ordered before an older one.
        let (mut order, mut age) = (Timestamp::default(), 0);
        for (index, entry) in entries.iter().enumerate().rev() {
            match verdicts[index] {
                Verdict::Due(operation) => {
                    order = order.max(entry.object.last_modified);
                    self.keep(Due::new(entry, operation, order, age));
                    age += 1;
                }
                Verdict::Skip { remember: true } => self.remember(entry),
                Verdict::Skip { remember: false } => {}
            }
        }
    }

    /// The verdict on each entry of a key, newest first.
    fn judge(&mut self, entries: &[VersionEntry]) -> Vec<Verdict> {
        let in_window = |entry: &VersionEntry| {
            entry.object.last_modified >= self.rules.low_watermark || self.rules.uploads.has_completed(entry)
        };
        let is_seen: Vec<bool> = entries.iter().map(|e| in_window(e) && self.seen.contains(e)).collect();
        let has_delivered = is_seen.contains(&true);
        let mut delivered = Newer::default();
        let mut past = Newer::default();
        let mut verdicts = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let operation = operation_of(entry, entries.get(index + 1));
            let verdict = match operation.or_else(|| self.hidden_delete(entry)) {
                _ if !in_window(entry) => Verdict::Skip { remember: false },
                _ if is_seen[index] => {
                    delivered.note(entry);
                    Verdict::Skip { remember: true }
                }
                // A marker over nothing, or over another marker, changes nothing.
                None => Verdict::Skip { remember: true },
                // What is older than a delivered entry was superseded by it.
                Some(_) if delivered.supersedes(entry) => {
                    self.found.superseded += u64::from(!self.is_history(entry));
                    Verdict::Skip { remember: true }
                }
                // What was stored on top of a delivered entry came after it, whatever its stamp says.
                Some(operation) if has_delivered => Verdict::Due(operation),
                // Of a key that the snapshot did not deliver, the past counts only as it was at the cut: an object that
                // was stamped earlier and completed after the cursor had passed its key. Where a delete of the same
                // second may be older or newer than it, it may have been there.
                Some(operation) if self.is_history(entry) => {
                    let is_lost = operation != Operation::Delete && !past.supersedes(entry);
                    past.note(entry);
                    if is_lost { Verdict::Due(operation) } else { Verdict::Skip { remember: true } }
                }
                Some(operation) => Verdict::Due(operation),
            };
            verdicts.push(verdict);
        }
        verdicts
    }

    /// A `null` marker replaces the `null` version that it deletes, so that no listing shows what was there. It was
    /// nothing only where a marker was seen in that place: rather a delete of nothing than a missed one.
    fn hidden_delete(&self, entry: &VersionEntry) -> Option<Operation> {
        let is_hiding =
            entry.is_delete_marker && entry.version_id == NULL_VERSION && !self.seen.has_marker(&entry.object.key);
        is_hiding.then_some(Operation::Delete)
    }

    /// Whether the snapshot should have had the entry. Within the second of the cut this can't be known.
    fn is_history(&self, entry: &VersionEntry) -> bool {
        let before = |cut: Timestamp| entry.object.last_modified < cut.floor_seconds();
        self.rules.history.is_some_and(before) && !self.rules.uploads.has_completed(entry)
    }

    /// Keeps the earliest changes that fit; the others are left for the next poll.
    fn keep(&mut self, due: Due) {
        self.heap_bytes += due.bytes();
        self.heap.push(due);
        while self.heap_bytes > self.rules.bytes_max && self.heap.len() > 1 {
            let Some(left) = self.heap.pop() else { break };
            self.heap_bytes -= left.bytes();
            let since = self.found.left_since.unwrap_or(left.last_modified);
            self.found.left_since = Some(since.min(left.last_modified));
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Due(Operation),
    Skip { remember: bool },
}

impl Due {
    fn new(entry: &VersionEntry, operation: Operation, order: Timestamp, age: u32) -> Self {
        Self {
            order,
            key: entry.object.key.clone(),
            age,
            last_modified: entry.object.last_modified,
            version_id: entry.version_id.clone(),
            is_latest: entry.is_latest,
            etag: entry.object.etag.clone(),
            size: entry.object.size,
            operation,
        }
    }

    fn as_entry(&self) -> VersionEntry {
        VersionEntry {
            object: crate::s3::ObjectEntry {
                key: self.key.clone(),
                last_modified: self.last_modified,
                etag: self.etag.clone(),
                size: self.size,
            },
            version_id: self.version_id.clone(),
            is_latest: self.is_latest,
            is_delete_marker: self.operation == Operation::Delete,
        }
    }
}

/// The newest entries of a key that were met so far, newest first: of those delivered, or of the past.
#[derive(Debug, Default)]
struct Newer {
    version: Option<Timestamp>,
    marker: Option<Timestamp>,
}

impl Newer {
    fn note(&mut self, entry: &VersionEntry) {
        let kind = if entry.is_delete_marker { &mut self.marker } else { &mut self.version };
        // The latest was stored after all others, including those of its second.
        let time = match entry.is_latest {
            true => Timestamp(u64::MAX),
            false => entry.object.last_modified,
        };
        *kind = (*kind).max(Some(time));
    }

    /// Whether the entry was certainly stored before one of these. Within a kind the order is that of storage;
    /// across the kinds only time decides, and within a second nothing does.
    fn supersedes(&self, entry: &VersionEntry) -> bool {
        let (same, other) = match entry.is_delete_marker {
            true => (self.marker, self.version),
            false => (self.version, self.marker),
        };
        same.is_some() || other.is_some_and(|time| time > entry.object.last_modified)
    }
}

/// The operation of an entry, given the one that it was stored on top of; `None` where it changed nothing.
fn operation_of(entry: &VersionEntry, older: Option<&VersionEntry>) -> Option<Operation> {
    let over_live = older.is_some_and(|older| !older.is_delete_marker);
    match (entry.is_delete_marker, over_live) {
        (false, false) => Some(Operation::Create),
        (false, true) => Some(Operation::Update),
        (true, true) => Some(Operation::Delete),
        (true, false) => None,
    }
}

/// Brings versions and delete markers, each newest first, into one order of storage.
///
/// A page lists the kinds apart on some stores, so only the order within a kind is known. The latest entry leads;
/// then time decides; within the same second what was not seen before is newer than what was, and otherwise deletes
/// and versions took turns.
fn in_order(versions: Vec<VersionEntry>, markers: Vec<VersionEntry>, seen: &Seen) -> Vec<VersionEntry> {
    let mut merged: Vec<VersionEntry> = Vec::with_capacity(versions.len() + markers.len());
    let (mut versions, mut markers) = (versions.into_iter().peekable(), markers.into_iter().peekable());
    loop {
        let marker_next = match (versions.peek(), markers.peek()) {
            (None, None) => return merged,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(version), Some(_)) if version.is_latest => false,
            (Some(_), Some(marker)) if marker.is_latest => true,
            (Some(version), Some(marker)) => match marker.object.last_modified.cmp(&version.object.last_modified) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal => match (seen.contains(version), seen.contains(marker)) {
                    (true, false) => true,
                    (false, true) => false,
                    _ => merged.last().is_none_or(|newer| !newer.is_delete_marker),
                },
            },
        };
        merged.extend(if marker_next { markers.next() } else { versions.next() });
    }
}

#[cfg(test)]
mod tests;
