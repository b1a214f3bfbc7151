//! Turns an entry of a listing into a record: what the answer says of the object, its small bytes as they are and
//! many bytes by handle.
//!
//! Whether an answer is the object, and what its want means, is `retrieval`'s. Positions are given later, in order, by
//! whoever hands the records out.

use std::rc::Rc;

use super::changes::Due;
use super::retrieval::{Retrieval, Retrieved, Wanted};
use super::seen::NULL_VERSION;
use crate::config::Unreadable;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::record::{Change, Data, Metadata, Operation, Record};
use crate::s3::{Content, Object, ObjectEntry};
use crate::time::Timestamp;

use bytes::Bytes;

/// What to fetch.
#[derive(Clone, Debug)]
pub enum Item {
    /// An object of the snapshot, and whether it lies in the window that the first poll looks at again.
    Snapshot(ObjectEntry),
    /// The change at that place of a plan.
    Change(u64, Due),
}

impl Item {
    /// Bytes that are on their way once the fetch has begun.
    pub fn size(&self) -> u64 {
        match self {
            Self::Snapshot(entry) => entry.size,
            Self::Change(_, due) => due.size,
        }
    }

    /// Its place, what happened, and what to ask for.
    fn into_wanted(self) -> (u64, Operation, Wanted) {
        match self {
            Self::Snapshot(entry) => {
                let wanted = Wanted { entry, version_id: None, is_latest: true };
                (0, Operation::Snapshot, wanted)
            }
            Self::Change(index, due) => {
                let operation = due.operation();
                let entry =
                    ObjectEntry { key: due.key, last_modified: due.last_modified, etag: due.etag, size: due.size };
                let wanted = Wanted { entry, version_id: Some(due.version_id), is_latest: due.is_latest };
                (index, operation, wanted)
            }
        }
    }
}

/// A record but for its position, and what is remembered of it.
#[derive(Debug)]
pub struct Fetched<B> {
    /// The record; its position is empty.
    pub record: Record<B>,
    /// The key.
    pub key: String,
    /// The place in its plan; 0 in a snapshot.
    pub index: u64,
    /// When the store says that it was modified.
    pub last_modified: Timestamp,
    /// The object as it was delivered, for what is remembered of it.
    pub object: ObjectEntry,
    /// The version as it was delivered.
    pub version_id: String,
    /// Bytes.
    pub size: u64,
}

/// What became of an item.
#[derive(Debug)]
pub enum Outcome<B> {
    /// It is a record.
    Record(Box<Fetched<B>>),
    /// It is passed over.
    Skipped(Skipped),
}

/// An item that is passed over.
#[derive(Debug)]
pub struct Skipped {
    /// The object as it was listed.
    pub entry: ObjectEntry,
    /// Why.
    pub reason: String,
    /// Whether it is there for whoever may read it.
    pub is_there: bool,
}

/// Fetches.
///
/// # Errors
///
/// What concerns more than this object, or what makes it unreadable where that is to stop the source.
pub async fn fetch<P: Ports>(retrieval: Rc<Retrieval<P>>, item: Item) -> Result<Outcome<P::Body>> {
    let (index, operation, wanted) = item.into_wanted();
    if operation == Operation::Delete {
        let Wanted { entry, version_id, .. } = wanted;
        let version_id = version_id.unwrap_or_default();
        let mut fetched = without_body(&retrieval, operation, entry, version_id);
        fetched.index = index;
        return Ok(Outcome::Record(Box::new(fetched)));
    }
    let (entry, version_id) = (wanted.entry.clone(), wanted.version_id.clone());
    let skipped = |reason: &str, is_there| {
        Ok(Outcome::Skipped(Skipped { entry: entry.clone(), reason: reason.to_owned(), is_there }))
    };
    match retrieval.retrieve(wanted).await? {
        Retrieved::Object(entry, object) => {
            let version_id = version_id.or_else(|| object.version_id.clone());
            let version_id = version_id.unwrap_or_else(|| NULL_VERSION.to_owned());
            let mut fetched = assemble(&retrieval, operation, entry, version_id, object);
            fetched.index = index;
            Ok(Outcome::Record(Box::new(fetched)))
        }
        Retrieved::Deleted => skipped("it was deleted before it could be read", false),
        Retrieved::Overwritten if operation == Operation::Snapshot => {
            skipped("it is overwritten faster than it can be read; the next poll reads it", false)
        }
        Retrieved::Overwritten => skipped("it was overwritten before it could be read; the next poll reads it", false),
        Retrieved::Archived => {
            skipped("it is archived: restore it, then copy it onto itself to have it delivered", true)
        }
        Retrieved::Unreadable(error) => match retrieval.config.unreadable {
            Unreadable::Skip => skipped(&error.message, true),
            Unreadable::Stop => {
                let error = error.context(format!("object `{}`", entry.key));
                let message = format!("{}; or set `unreadable` to `skip` to go on without such objects", error.message);
                Err(Error { message, ..error })
            }
        },
    }
}

/// A record with the object's bytes and what the answer says of it.
fn assemble<P: Ports>(
    retrieval: &Retrieval<P>,
    operation: Operation,
    entry: ObjectEntry,
    version_id: String,
    object: Object<P::Body>,
) -> Fetched<P::Body> {
    let listed = entry.last_modified;
    let mut fetched = without_body(retrieval, operation, entry, version_id);
    let metadata = &mut fetched.record.metadata;
    // Headers have whole seconds, so that a listing's time within the same one is the finer.
    if let Some(time) = object.last_modified
        && time.seconds().abs_diff(listed.seconds()) > 1
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
            // A body that came without a length must have the listed one all the same.
            length: Some(object.length.unwrap_or(fetched.size)),
            bytes,
        },
    });
    fetched
}

fn insert_time(metadata: &mut Metadata, time: Timestamp) {
    let nanoseconds = time.nanoseconds().to_string();
    metadata.insert("opencdc.createdAt".to_owned(), nanoseconds);
    metadata.insert("s3.lastModified".to_owned(), time.to_rfc3339());
}

fn without_body<P: Ports>(
    retrieval: &Retrieval<P>,
    operation: Operation,
    entry: ObjectEntry,
    version_id: String,
) -> Fetched<P::Body> {
    let mut metadata = Metadata::new();
    let mut insert = |name: &str, value: String| metadata.insert(name.to_owned(), value);
    let collection = &retrieval.config.bucket.bucket;
    insert("opencdc.collection", collection.clone());
    let read_at = retrieval.ports.now().nanoseconds();
    insert("opencdc.readAt", read_at.to_string());
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
        index: 0,
        last_modified: entry.last_modified,
        size: entry.size,
        object: entry,
        version_id,
    }
}

/// User metadata keeps its name, unless it could be taken for metadata of ours.
fn user_metadata_name(name: String) -> String {
    if ["s3.", "opencdc.", "conduit."].iter().any(|reserved| name.starts_with(reserved)) {
        format!("s3.metadata.{name}")
    } else {
        name
    }
}
