//! Turns an entry of a listing into a record: its body by handle, pinned to what was listed.
//!
//! Positions are given later, in order, by whoever hands the records out.

use super::changes::Due;
use super::seen::NULL_VERSION;
use crate::error::Result;
use crate::limits;
use crate::ports::{Level, Ports};
use crate::record::{Change, Data, Metadata, Operation, Record};
use crate::s3::{Client, ListStart, Object, ObjectEntry, Pin};
use crate::time::Timestamp;

use bytes::Bytes;

/// What to fetch.
#[derive(Clone, Debug)]
pub enum Item {
    /// An object of the snapshot, and whether it lies in the window that the first pass looks at again.
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

/// Fetches; none where there is nothing left to deliver, which is logged.
pub async fn fetch<P: Ports>(
    ports: P,
    client: Client<P>,
    item: Item,
) -> Result<Option<Fetched<P::Body>>> {
    match item {
        Item::Snapshot(entry) => fetch_object(&ports, &client, entry).await,
        Item::Change(index, due) => fetch_change(&ports, &client, index, due).await,
    }
}

/// An object of the snapshot: as listed, or as it now is if it was overwritten since.
async fn fetch_object<P: Ports>(
    ports: &P,
    client: &Client<P>,
    mut entry: ObjectEntry,
) -> Result<Option<Fetched<P::Body>>> {
    for _ in 0..=limits::OVERWRITE_CHASES_MAX {
        let pin = Pin {
            version_id: None,
            etag: some(&entry.etag),
        };
        match client.get_object(&entry.key, &pin).await {
            Ok(object) => {
                return Ok(Some(assemble(
                    ports,
                    client,
                    Operation::Snapshot,
                    entry,
                    object,
                )));
            }
            Err(error) if error.is_precondition_failed() => {
                // In the order of keys, the key itself comes first of all that begin with it.
                let start = ListStart::After(String::new());
                let page = client.list_objects_v2(&entry.key, &start, 1).await;
                let page = page.map_err(|e| e.explain(client.config()))?;
                match page
                    .entries
                    .into_iter()
                    .next()
                    .filter(|now| now.key == entry.key)
                {
                    Some(now) => entry = now,
                    None => {
                        return Ok(skip(
                            ports,
                            &entry.key,
                            "it was deleted before it could be read",
                        ));
                    }
                }
            }
            Err(error) => return skip_or_fail(ports, client, &entry.key, error),
        }
    }
    Ok(skip(
        ports,
        &entry.key,
        "it is overwritten faster than it can be read; the next pass looks again",
    ))
}

async fn fetch_change<P: Ports>(
    ports: &P,
    client: &Client<P>,
    index: u64,
    due: Due,
) -> Result<Option<Fetched<P::Body>>> {
    let operation = due.operation();
    let entry = ObjectEntry {
        key: due.key,
        last_modified: due.last_modified,
        etag: due.etag,
        size: due.size,
    };
    if operation == Operation::Delete {
        let mut fetched = without_body(ports, client, operation, entry, due.version_id);
        fetched.index = index;
        return Ok(Some(fetched));
    }
    let etag = some(&entry.etag);
    let pinned = Pin {
        version_id: Some(due.version_id.clone()),
        etag: etag.clone(),
    };
    // A store that never kept versions may not know `versionId`: what is the latest is asked for by ETag alone.
    let is_plain = due.version_id == NULL_VERSION && due.is_latest;
    let pin = if is_plain {
        Pin {
            version_id: None,
            etag,
        }
    } else {
        pinned.clone()
    };
    let mut answer = client.get_object(&entry.key, &pin).await;
    if is_plain
        && answer
            .as_ref()
            .is_err_and(crate::s3::Error::is_precondition_failed)
    {
        answer = client.get_object(&entry.key, &pinned).await;
    }
    match answer {
        Ok(object) => {
            let mut fetched = assemble(ports, client, operation, entry, object);
            fetched.version_id = due.version_id;
            fetched.index = index;
            Ok(Some(fetched))
        }
        Err(error) if error.is_precondition_failed() => Ok(skip(
            ports,
            &entry.key,
            "it was overwritten before it could be read; the next pass looks again",
        )),
        Err(error) => skip_or_fail(ports, client, &entry.key, error),
    }
}

fn skip_or_fail<P: Ports>(
    ports: &P,
    client: &Client<P>,
    key: &str,
    error: crate::s3::Error,
) -> Result<Option<Fetched<P::Body>>> {
    if error.code() == "NoSuchBucket" {
        Err(error.explain(client.config()))
    } else if error.is_not_found() {
        Ok(skip(ports, key, "it was deleted before it could be read"))
    } else if error.is_archived() {
        Ok(skip(
            ports,
            key,
            "it is archived: restore it, then copy it onto itself to have it delivered",
        ))
    } else {
        Err(error
            .explain(client.config())
            .context(format!("object `{key}`")))
    }
}

fn skip<P: Ports, T>(ports: &P, key: &str, why: &str) -> Option<T> {
    ports.log(
        Level::Warn,
        &format!("skipped an object: {why}; key=`{key}`"),
    );
    None
}

fn some(etag: &str) -> Option<String> {
    (!etag.is_empty()).then(|| etag.to_owned())
}

/// A record with the object's body and what its headers say.
fn assemble<P: Ports>(
    ports: &P,
    client: &Client<P>,
    operation: Operation,
    entry: ObjectEntry,
    object: Object<P::Body>,
) -> Fetched<P::Body> {
    let version_id = object
        .version_id
        .clone()
        .unwrap_or_else(|| NULL_VERSION.to_owned());
    let mut fetched = without_body(ports, client, operation, entry, version_id);
    let metadata = &mut fetched.record.metadata;
    for (name, value) in object.metadata {
        metadata.insert(user_metadata_name(name), value);
    }
    if let Some(content_type) = object.content_type {
        metadata.insert("s3.header.contentType".to_owned(), content_type);
    }
    metadata.insert("s3.etag".to_owned(), fetched.object.etag.clone());
    metadata.insert("s3.size".to_owned(), fetched.size.to_string());
    fetched.record.payload.after = Some(Data::Body {
        length: object.length,
        bytes: object.body,
    });
    fetched
}

fn without_body<P: Ports>(
    ports: &P,
    client: &Client<P>,
    operation: Operation,
    entry: ObjectEntry,
    version_id: String,
) -> Fetched<P::Body> {
    let mut metadata = Metadata::new();
    let mut insert = |name: &str, value: String| metadata.insert(name.to_owned(), value);
    insert("opencdc.collection", client.config().bucket.clone());
    insert("opencdc.readAt", ports.now().nanoseconds().to_string());
    if entry.last_modified != Timestamp::default() {
        insert(
            "opencdc.createdAt",
            entry.last_modified.nanoseconds().to_string(),
        );
        insert("s3.lastModified", entry.last_modified.to_rfc3339());
    }
    if version_id != NULL_VERSION {
        insert("s3.versionId", version_id.clone());
    }
    Fetched {
        record: Record {
            position: Bytes::new(),
            operation,
            metadata,
            key: Some(Data::Raw(Bytes::from(entry.key.clone()))),
            payload: Change {
                before: None,
                after: None,
            },
        },
        key: entry.key.clone(),
        index: 0,
        last_modified: entry.last_modified,
        size: entry.size,
        object: entry,
        version_id,
    }
}

/// User metadata keeps its name, unless it would pass for metadata of ours.
fn user_metadata_name(name: String) -> String {
    if ["s3.", "opencdc.", "conduit."]
        .iter()
        .any(|reserved| name.starts_with(reserved))
    {
        format!("s3.metadata.{name}")
    } else {
        name
    }
}
