//! Owns the form of what is saved, apart from the types that the source works with. Leaves its pieces and their names
//! to `values`.
//!
//! **Positional: append only.** postcard writes fields by their place and cases by their number, so whatever is added
//! to, removed from or moved within these types makes saved state unreadable. A case may be added at the end of an enum
//! that has cases; any other change is a new set of types and another [`VERSION`], with these kept to read the old one.
//! `witness.txt` holds bytes of each, which a test compares.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Checkpoint, HandedOut, Plan, SnapshotStart};
use crate::record::Operation;
use crate::source::changes::{Due, Uploads};
use crate::source::seen::{Mark, Seen, Slot};
use crate::time::Timestamp;

/// The first byte of what is saved.
pub(super) const VERSION: u8 = 1;

/// What is saved of a value.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("a vector takes all that is written")
}

/// The value of which this was saved; `None` if it is damaged, or of another version.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (version, bytes) = bytes.split_first()?;
    postcard::from_bytes(bytes).ok().filter(|_| *version == VERSION)
}

/// Milliseconds since the Unix epoch.
type SavedTime = u64;

/// [`SnapshotStart`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedStart<'a> {
    run: u64,
    cut: SavedTime,
    #[serde(borrow)]
    uploads: SavedUploads<'a>,
    seen: SavedSeen,
}

/// [`Plan`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedPlan<'a> {
    run: u64,
    poll: u64,
    #[serde(borrow)]
    due: Vec<SavedDue<'a>>,
    cut: SavedTime,
    next: SavedCheckpoint<'a>,
}

/// [`Checkpoint`].
#[derive(Serialize, Deserialize)]
struct SavedCheckpoint<'a> {
    low_watermark: SavedTime,
    #[serde(borrow)]
    uploads: SavedUploads<'a>,
    seen: SavedSeen,
}

/// [`HandedOut`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedHandedOut {
    index: u64,
    slot: u128,
    mark: SavedMark,
}

/// [`Due`].
#[derive(Serialize, Deserialize)]
struct SavedDue<'a> {
    order: SavedTime,
    #[serde(borrow)]
    key: Cow<'a, str>,
    age: u32,
    last_modified: SavedTime,
    #[serde(borrow)]
    version_id: Cow<'a, str>,
    is_latest: bool,
    #[serde(borrow)]
    etag: Cow<'a, str>,
    size: u64,
    operation: SavedOperation,
}

/// What happened to an object.
#[derive(Serialize, Deserialize)]
enum SavedOperation {
    Create,
    Update,
    Delete,
}

/// [`Uploads`]: keys in order, and when the uploads to each were started.
#[derive(Serialize, Deserialize)]
struct SavedUploads<'a>(#[serde(borrow)] Vec<(Cow<'a, str>, Vec<SavedTime>)>);

/// [`Seen`]: the keys of its digests, and marks in the order of slots.
#[derive(Serialize, Deserialize)]
struct SavedSeen {
    keys: (u64, u64),
    marks: Vec<(u128, SavedMark)>,
}

/// [`Mark`].
#[derive(Serialize, Deserialize)]
struct SavedMark {
    content: u64,
    time: SavedTime,
}

impl<'a> From<&'a SnapshotStart> for SavedStart<'a> {
    fn from(start: &'a SnapshotStart) -> Self {
        let SnapshotStart { run, cut, uploads, seen } = start;
        Self { run: *run, cut: cut.0, uploads: uploads.into(), seen: seen.into() }
    }
}

impl From<SavedStart<'_>> for SnapshotStart {
    fn from(saved: SavedStart<'_>) -> Self {
        let SavedStart { run, cut, uploads, seen } = saved;
        Self { run, cut: Timestamp(cut), uploads: uploads.into(), seen: seen.into() }
    }
}

impl<'a> From<&'a Plan> for SavedPlan<'a> {
    fn from(plan: &'a Plan) -> Self {
        let Plan { run, poll, due, cut, next } = plan;
        let due = due.iter().map(SavedDue::from).collect();
        Self { run: *run, poll: *poll, due, cut: cut.0, next: next.into() }
    }
}

impl From<SavedPlan<'_>> for Plan {
    fn from(saved: SavedPlan<'_>) -> Self {
        let SavedPlan { run, poll, due, cut, next } = saved;
        let due = due.into_iter().map(Due::from).collect();
        Self { run, poll, due, cut: Timestamp(cut), next: next.into() }
    }
}

impl<'a> From<&'a Checkpoint> for SavedCheckpoint<'a> {
    fn from(checkpoint: &'a Checkpoint) -> Self {
        let Checkpoint { low_watermark, uploads, seen } = checkpoint;
        Self { low_watermark: low_watermark.0, uploads: uploads.into(), seen: seen.into() }
    }
}

impl From<SavedCheckpoint<'_>> for Checkpoint {
    fn from(saved: SavedCheckpoint<'_>) -> Self {
        let SavedCheckpoint { low_watermark, uploads, seen } = saved;
        Self { low_watermark: Timestamp(low_watermark), uploads: uploads.into(), seen: seen.into() }
    }
}

impl From<&HandedOut> for SavedHandedOut {
    fn from(one: &HandedOut) -> Self {
        let HandedOut { index, slot, mark } = *one;
        Self { index, slot: slot.0, mark: mark.into() }
    }
}

impl From<SavedHandedOut> for HandedOut {
    fn from(saved: SavedHandedOut) -> Self {
        let SavedHandedOut { index, slot, mark } = saved;
        Self { index, slot: Slot(slot), mark: mark.into() }
    }
}

impl<'a> From<&'a Due> for SavedDue<'a> {
    fn from(due: &'a Due) -> Self {
        let Due { order, key, age, last_modified, version_id, is_latest, etag, size, operation } = due;
        Self {
            order: order.0,
            key: Cow::Borrowed(key),
            age: *age,
            last_modified: last_modified.0,
            version_id: Cow::Borrowed(version_id),
            is_latest: *is_latest,
            etag: Cow::Borrowed(etag),
            size: *size,
            operation: (*operation).into(),
        }
    }
}

impl From<SavedDue<'_>> for Due {
    fn from(saved: SavedDue<'_>) -> Self {
        let SavedDue { order, key, age, last_modified, version_id, is_latest, etag, size, operation } = saved;
        Self {
            order: Timestamp(order),
            key: key.into_owned(),
            age,
            last_modified: Timestamp(last_modified),
            version_id: version_id.into_owned(),
            is_latest,
            etag: etag.into_owned(),
            size,
            operation: operation.into(),
        }
    }
}

impl From<Operation> for SavedOperation {
    fn from(operation: Operation) -> Self {
        match operation {
            // No poll delivers a snapshot.
            Operation::Create | Operation::Snapshot => Self::Create,
            Operation::Update => Self::Update,
            Operation::Delete => Self::Delete,
        }
    }
}

impl From<SavedOperation> for Operation {
    fn from(saved: SavedOperation) -> Self {
        match saved {
            SavedOperation::Create => Self::Create,
            SavedOperation::Update => Self::Update,
            SavedOperation::Delete => Self::Delete,
        }
    }
}

impl<'a> From<&'a Uploads> for SavedUploads<'a> {
    fn from(uploads: &'a Uploads) -> Self {
        let times = |times: &[Timestamp]| times.iter().map(|time| time.0).collect();
        Self(uploads.0.iter().map(|(key, started)| (Cow::Borrowed(&**key), times(started))).collect())
    }
}

impl From<SavedUploads<'_>> for Uploads {
    fn from(saved: SavedUploads<'_>) -> Self {
        let times = |times: Vec<SavedTime>| times.into_iter().map(Timestamp).collect();
        Self(saved.0.into_iter().map(|(key, started)| (key.into_owned(), times(started))).collect())
    }
}

impl From<&Seen> for SavedSeen {
    fn from(seen: &Seen) -> Self {
        let marks = seen.marks.iter().map(|(slot, mark)| (slot.0, SavedMark::from(*mark))).collect();
        Self { keys: seen.keys, marks }
    }
}

impl From<SavedSeen> for Seen {
    fn from(saved: SavedSeen) -> Self {
        let marks = saved.marks.into_iter().map(|(slot, mark)| (Slot(slot), mark.into())).collect();
        Self { keys: saved.keys, marks }
    }
}

impl From<Mark> for SavedMark {
    fn from(mark: Mark) -> Self {
        Self { content: mark.content, time: mark.time.0 }
    }
}

impl From<SavedMark> for Mark {
    fn from(saved: SavedMark) -> Self {
        Self { content: saved.content, time: Timestamp(saved.time) }
    }
}

#[cfg(test)]
mod tests;
