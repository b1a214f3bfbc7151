//! Owns how an entry of a listing becomes a record: the metadata of the answer, small bodies as bytes and large ones by
//! handle. Leaves to `retrieval` whether an answer is the object, and positions, which follow the order of delivery, to
//! `worker`.

use super::changes::Due;
use super::retrieval::{Retrieval, Retrieved, Wanted};
use super::seen::NULL_VERSION;
use crate::config::Unreadable;
use crate::error::Result;
use crate::ports::Ports;
use crate::record::{Change, Data, Metadata, Operation, Record};
use crate::s3::{Content, Object, ObjectEntry};
use crate::time::Timestamp;

use bytes::Bytes;

/// What to fetch.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// An object of the snapshot.
    Snapshot(ObjectEntry),
    /// The change at that place of a plan.
    Change(u64, Due),
}

impl Item {
    /// Bytes that are on their way once the fetch has begun.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Snapshot(entry) => entry.size,
            Self::Change(_, due) => due.size,
        }
    }

    fn into_task(self) -> Task {
        match self {
            Self::Snapshot(entry) => {
                let wanted = Wanted { entry, version_id: None, is_latest: true };
                Task { index: 0, operation: Operation::Snapshot, wanted }
            }
            Self::Change(index, due) => {
                let operation = due.operation;
                let entry =
                    ObjectEntry { key: due.key, last_modified: due.last_modified, etag: due.etag, size: due.size };
                let wanted = Wanted { entry, version_id: Some(due.version_id), is_latest: due.is_latest };
                Task { index, operation, wanted }
            }
        }
    }
}

/// What is done with an item.
struct Task {
    /// Its place in its plan.
    index: u64,
    /// What happened to the object.
    operation: Operation,
    /// What to ask for.
    wanted: Wanted,
}

/// A record without its position, and what is remembered of it.
#[derive(Debug)]
pub(super) struct Fetched<B> {
    /// The record; its position is empty.
    pub(super) record: Record<B>,
    /// The key.
    pub(super) key: String,
    /// The place in its plan; 0 in a snapshot.
    pub(super) index: u64,
    /// When it was modified, by the store's clock.
    pub(super) last_modified: Timestamp,
    /// The object as it was delivered.
    pub(super) object: ObjectEntry,
    /// The version as it was delivered.
    pub(super) version_id: String,
    /// Bytes.
    pub(super) size: u64,
}

/// The result of an item.
#[derive(Debug)]
pub(super) enum Outcome<B> {
    /// It is a record.
    Record(Box<Fetched<B>>),
    /// It is skipped.
    Skipped(Skipped),
}

impl<B> From<Fetched<B>> for Outcome<B> {
    fn from(fetched: Fetched<B>) -> Self {
        Self::Record(Box::new(fetched))
    }
}

/// A skipped item.
#[derive(Debug)]
pub(super) struct Skipped {
    /// The object as it was listed.
    pub(super) entry: ObjectEntry,
    /// Why.
    pub(super) reason: String,
    /// Whether it exists, and may be read by others.
    pub(super) is_there: bool,
}

/// Turns items into records.
pub(super) struct Fetcher<P: Ports> {
    /// Where the objects come from.
    pub(super) retrieval: Retrieval<P>,
}

impl<P: Ports> Fetcher<P> {
    /// Fetches one item.
    ///
    /// # Errors
    ///
    /// Those that concern more than this object, and what makes it unreadable where that must stop the source.
    pub(super) async fn fetch(self, item: Item) -> Result<Outcome<P::Body>> {
        let Task { index, operation, wanted } = item.into_task();
        if operation == Operation::Delete {
            let version_id = wanted.version_id.unwrap_or_default();
            return Ok(self.without_body(index, operation, wanted.entry, version_id).into());
        }
        let (entry, version_id) = (wanted.entry.clone(), wanted.version_id.clone());
        let skipped = |reason: &str, is_there| {
            Ok(Outcome::Skipped(Skipped { entry: entry.clone(), reason: reason.to_owned(), is_there }))
        };
        match self.retrieval.retrieve(wanted).await? {
            Retrieved::Object(entry, object) => {
                let answered = || object.version_id.clone();
                let version_id = version_id.or_else(answered).unwrap_or_else(|| NULL_VERSION.to_owned());
                let fetched = self.without_body(index, operation, entry, version_id);
                Ok(add_object(fetched, object).into())
            }
            Retrieved::Deleted => skipped("it was deleted before it could be read", false),
            Retrieved::Overwritten if operation == Operation::Snapshot => {
                skipped("it is overwritten faster than it can be read; the next poll reads it", false)
            }
            Retrieved::Overwritten => {
                skipped("it was overwritten before it could be read; the next poll reads it", false)
            }
            Retrieved::Archived => {
                skipped("it is archived: restore it, then copy it onto itself to have it delivered", true)
            }
            Retrieved::Unreadable(error) => match self.retrieval.config.unreadable {
                Unreadable::Skip => skipped(&error.message, true),
                Unreadable::Stop => {
                    let mut error = error.context(format!("object `{}`", entry.key));
                    error.message.push_str("; or set `unreadable` to `skip` to go on without such objects");
                    Err(error)
                }
            },
        }
    }

    /// A record with all but the object's bytes and the metadata that come with them.
    fn without_body(
        &self,
        index: u64,
        operation: Operation,
        entry: ObjectEntry,
        version_id: String,
    ) -> Fetched<P::Body> {
        let mut metadata = Metadata::new();
        let mut insert = |name: &str, value: String| metadata.insert(name.to_owned(), value);
        insert("opencdc.collection", self.retrieval.config.bucket.bucket.clone());
        insert("opencdc.readAt", self.retrieval.ports.now().nanoseconds().to_string());
        if version_id != NULL_VERSION {
            insert("s3.versionId", version_id.clone());
        }
        if entry.last_modified != Timestamp::default() {
            insert_time(&mut metadata, entry.last_modified);
        }
        Fetched {
            record: Record {
                position: Bytes::new(),
                operation,
                metadata,
                key: Some(Data::Raw(Bytes::from(entry.key.clone()))),
                payload: Change { before: None, after: None },
            },
            key: entry.key.clone(),
            index,
            last_modified: entry.last_modified,
            size: entry.size,
            object: entry,
            version_id,
        }
    }
}

/// Adds the object's bytes and the metadata that the answer has.
fn add_object<B>(mut fetched: Fetched<B>, object: Object<B>) -> Fetched<B> {
    let metadata = &mut fetched.record.metadata;
    // Headers have whole seconds, so that a listing's time within the same second is more precise.
    if let Some(time) = object.last_modified
        && time.seconds().abs_diff(fetched.last_modified.seconds()) > 1
    {
        insert_time(metadata, time);
    }
    for (name, value) in object.metadata {
        metadata.insert(user_metadata_name(name), value);
    }
    for (name, value) in object.headers {
        metadata.insert(format!("s3.header.{name}"), value);
    }
    if let Some(etag) = object.etag.filter(|etag| !etag.is_empty()) {
        metadata.insert("s3.etag".to_owned(), etag);
    }
    metadata.insert("s3.size".to_owned(), fetched.size.to_string());
    fetched.record.payload.after = Some(match object.content {
        Content::Whole(bytes) => Data::Raw(bytes),
        Content::Stream(bytes) => Data::Body {
            // A body that came without a length must still have the listed one.
            length: Some(object.length.unwrap_or(fetched.size)),
            bytes,
        },
    });
    fetched
}

fn insert_time(metadata: &mut Metadata, time: Timestamp) {
    metadata.insert("opencdc.createdAt".to_owned(), time.nanoseconds().to_string());
    metadata.insert("s3.lastModified".to_owned(), time.to_rfc3339());
}

/// User metadata keeps its name, unless it could be taken for metadata of ours.
fn user_metadata_name(name: String) -> String {
    if ["s3.", "opencdc.", "conduit."].iter().any(|reserved| name.starts_with(reserved)) {
        format!("s3.metadata.{name}")
    } else {
        name
    }
}
