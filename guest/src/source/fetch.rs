//! Owns how an entry of a listing becomes a record: the metadata of the answer, small bodies as bytes and large ones by
//! handle. Leaves to `retrieval` whether an answer is the object, and positions, which follow the order of delivery, to
//! `worker`.

use std::rc::Rc;

use super::catalogue::{Known, decode_known};
use super::identity::NULL_VERSION;
use super::plan::{Due, Previous, Slice};
use super::retrieval::{Holding, Retrieval, Retrieved, Wanted};
use super::rows::{self, Opening, Rows, TAIL_BYTES, Unread};
use crate::config::Unreadable;
use crate::error::{Error, Result};
use crate::ports::{Level, Ports};
use crate::position::RowMark;
use crate::record::{Change, Data, Metadata, Operation, Record};
use crate::rows::{Format, Place};
use crate::s3::{Content, Object, ObjectEntry, Part, VersionEntry};
use crate::time::Timestamp;

use bytes::Bytes;
use futures_util::future;

/// A record without its position, and what is remembered of it.
#[derive(Debug)]
pub(super) struct Fetched<B> {
    /// The record; its position is empty.
    pub(super) record: Record<B>,
    /// The key.
    pub(super) key: Rc<str>,
    /// When it was modified, by the store's clock; of a key that a listing lacks, when that began.
    pub(super) last_modified: Timestamp,
    /// What was delivered in the place of what was due: the object that replaced it under the same version.
    pub(super) replaced: Option<VersionEntry>,
    /// Bytes.
    pub(super) size: u64,
}

/// The result of a change.
#[derive(Debug)]
pub(super) enum Outcome<P: Ports> {
    /// It is a record.
    Record(Box<Fetched<P::Body>>),
    /// It is as many records as it has rows.
    Rows(Box<Rows<P>>),
    /// It is skipped.
    Skipped(Skipped),
}

impl<P: Ports> From<Fetched<P::Body>> for Outcome<P> {
    fn from(fetched: Fetched<P::Body>) -> Self {
        Self::Record(Box::new(fetched))
    }
}

/// A skipped change.
#[derive(Debug)]
pub(super) struct Skipped {
    /// The key.
    pub(super) key: String,
    /// Why.
    pub(super) reason: String,
    /// What the catalogue must know.
    pub(super) told: Told,
}

/// What a skipped change counts as.
#[derive(Debug)]
pub(super) enum Told {
    /// As told: it exists, and may be read by others.
    AsListed,
    /// As not told: the next poll decides anew.
    Not,
    /// As not told: this is there in its place.
    Replaced(VersionEntry),
    /// As no change at all: the key exists, and this is known of it.
    Kept(Known),
}

/// Turns changes into records.
pub(super) struct Fetcher<P: Ports> {
    /// Where the objects come from.
    pub(super) retrieval: Retrieval<P>,
    /// See [`Wanted::may_be_replaced`].
    pub(super) may_be_replaced: bool,
    /// The chunk that is wanted, if not all of the object is.
    pub(super) slice: Option<Slice>,
    /// The row after which the object goes on, if some were delivered before.
    pub(super) after: Option<RowMark>,
    /// What requests more of objects that are read row by row, if any are.
    pub(super) more: Option<Rc<Retrieval<P>>>,
}

impl<P: Ports> Fetcher<P> {
    /// Fetches what a change needs.
    ///
    /// # Errors
    ///
    /// Those that concern more than this object, and what makes it unreadable where that must stop the source.
    pub(super) async fn fetch(self, mut due: Due) -> Result<Outcome<P>> {
        let Some(previous) = due.previous.take() else {
            return self.fetch_change(due).await;
        };
        let previous = self.fetch_previous(due.key.clone(), *previous);
        let (outcome, before) = future::join(self.fetch_change(due), previous).await;
        let mut outcome = outcome?;
        if let Outcome::Record(fetched) = &mut outcome
            && let Some(bytes) = before?
        {
            fetched.size += bytes.len() as u64;
            fetched.record.payload.before = Some(Data::Raw(bytes));
        }
        Ok(outcome)
    }

    /// The bytes of what lay below a change, if they can still be read.
    async fn fetch_previous(&self, key: String, previous: Previous) -> Result<Option<Bytes>> {
        let Previous { version_id, last_modified, etag, size } = previous;
        if self.retrieval.config.object_bytes_max.is_some_and(|bytes_max| size > bytes_max) {
            return Ok(None);
        }
        let entry = ObjectEntry { key, last_modified, etag, size };
        let (is_latest, may_be_replaced) = (false, false);
        let wanted = Wanted {
            entry: entry.clone(),
            version_id,
            is_latest,
            may_be_replaced,
            holding: Holding::Memory,
            part: None,
        };
        let why = match self.retrieval.retrieve(wanted).await? {
            Retrieved::Object(now, Object { content: Content::Whole(bytes), .. }) if now == entry => {
                return Ok(Some(bytes));
            }
            Retrieved::Object(..) | Retrieved::Overwritten(_) => "it was overwritten".to_owned(),
            Retrieved::Deleted => "it was removed".to_owned(),
            Retrieved::Archived => "it is archived".to_owned(),
            Retrieved::Unreadable(error) => error.message,
        };
        // What holds for one often holds for all.
        let is_first = !self.retrieval.oddities.previous_unreadable.replace(true);
        let line = format!("a change goes without its previous version: {why}; key=`{}`", entry.key);
        self.retrieval.ports.log(if is_first { Level::Warn } else { Level::Debug }, &line);
        Ok(None)
    }

    async fn fetch_change(&self, due: Due) -> Result<Outcome<P>> {
        if let Some(known) = &due.gone {
            return self.confirm(&due, known).await;
        }
        if due.operation == Operation::Delete {
            return Ok(self.without_body(due.operation, entry(&due), &due.version_id, Some(due.is_latest)).into());
        }
        let key = due.key.clone();
        let skipped =
            |reason: &str, told| Ok(Outcome::Skipped(Skipped { key: key.clone(), reason: reason.to_owned(), told }));
        let (wanted, known) = self.wanted(&due);
        match self.retrieval.retrieve(wanted.clone()).await? {
            Retrieved::Object(now, mut object) => {
                let fetched = self.without_body(due.operation, now.clone(), &due.version_id, Some(due.is_latest));
                let is_replaced = due.version_id == NULL_VERSION && now != entry(&due);
                let wanted = Wanted { entry: now.clone(), ..wanted };
                let replaced = is_replaced.then_some(VersionEntry {
                    object: now,
                    version_id: due.version_id,
                    is_latest: due.is_latest,
                    is_delete_marker: false,
                });
                let hash = Some(due.etag.clone()).filter(|etag| !etag.is_empty()).or_else(|| object.etag.clone());
                if let Some((format, begin)) = known.or_else(|| self.format_of(&object)) {
                    let content = std::mem::replace(&mut object.content, Content::Whole(Bytes::new()));
                    let fetched = Fetched { replaced, ..add_object(fetched, object) };
                    return self.rows(wanted, format, begin, fetched, content).await;
                }
                let fetched = add_object(fetched, object);
                let fetched = match self.slice {
                    Some(slice) => add_slice(fetched, slice, hash),
                    None => fetched,
                };
                Ok(Fetched { replaced, ..fetched }.into())
            }
            Retrieved::Deleted => skipped("it was deleted before it could be read", Told::Not),
            Retrieved::Overwritten(object) => {
                let (version_id, is_latest) = (due.version_id.clone(), due.is_latest);
                let now = VersionEntry { object, version_id, is_latest, is_delete_marker: false };
                skipped("it is overwritten faster than it can be read; the next poll reads it", Told::Replaced(now))
            }
            Retrieved::Archived => {
                skipped("it is archived: restore it, then copy it onto itself to have it delivered", Told::AsListed)
            }
            Retrieved::Unreadable(error) => match self.retrieval.config.unreadable {
                Unreadable::Skip => skipped(&error.message, Told::AsListed),
                Unreadable::Stop => {
                    let mut error = error.context(format!("object `{key}`"));
                    error.message.push_str("; or set `unreadable` to `skip` to go on without such objects");
                    Err(error)
                }
            },
        }
    }

    /// What is requested for a change; and how it is read, where that is row by row and the key says so.
    fn wanted(&self, due: &Due) -> (Wanted, Option<(Format, Place)>) {
        let config = &self.retrieval.config.rows;
        let format = config.as_ref().and_then(|config| rows::format_of(config, &due.key, None));
        let known = format.map(|format| (format, self.begin(format)));
        let rest = |first: u64| (first > 0 && first < due.size).then(|| Part { first, length: due.size - first });
        let (holding, part) = match known {
            None => (Holding::AsSet, self.slice.map(|slice| slice.part(due.size))),
            Some((Format::Parquet, _)) => (Holding::Memory, rest(due.size.saturating_sub(TAIL_BYTES))),
            Some((_, begin)) => (Holding::Stream, rest(begin.offset)),
        };
        let wanted = Wanted {
            entry: entry(due),
            version_id: due.version_id.clone(),
            is_latest: due.is_latest,
            // The other parts are those of what was listed.
            may_be_replaced: self.may_be_replaced && self.slice.is_none() && self.after.is_none(),
            holding,
            part,
        };
        (wanted, known)
    }

    /// Where an object of this format is to be read from.
    fn begin(&self, format: Format) -> Place {
        match self.after {
            Some(row) if row.format == format => row.next,
            // Settings have changed since: its rows are others.
            _ => Place::default(),
        }
    }

    /// How an object is to be read by its content type, if that is row by row.
    fn format_of(&self, object: &Object<P::Body>) -> Option<(Format, Place)> {
        let content_type = object.headers.iter().find(|(name, _)| *name == "contentType");
        let config = self.retrieval.config.rows.as_ref()?;
        // From its beginning: what was requested is all of it.
        let format = rows::format_of(config, "", content_type.map(|(_, value)| value.as_str()))?;
        Some((format, Place::default()))
    }

    /// Begins to read an object row by row.
    async fn rows(
        &self,
        wanted: Wanted,
        format: Format,
        begin: Place,
        mut fetched: Fetched<P::Body>,
        content: Content<P::Body>,
    ) -> Result<Outcome<P>> {
        let (Some(config), Some(retrieval)) = (&self.retrieval.config.rows, &self.more) else {
            return Err(Error::internal("rows are read that nobody asked for"));
        };
        fetched.record.payload.after = None;
        let key = fetched.key.clone();
        let opening = Opening { retrieval: Rc::clone(retrieval), wanted, format, begin };
        match opening.open(config, fetched, content).await {
            Ok(rows) => Ok(Outcome::Rows(Box::new(rows))),
            Err(Unread::Stop(error)) => Err(error.context(format!("object `{key}`"))),
            Err(Unread::Skip(reason)) => {
                Ok(Outcome::Skipped(Skipped { key: key.to_string(), reason, told: Told::AsListed }))
            }
        }
    }

    /// The delete of a key that a listing lacks, unless the key exists: listings may have holes.
    async fn confirm(&self, due: &Due, known: &[u8]) -> Result<Outcome<P>> {
        if is_broken!(BelieveHolesOfListings) {
            return Ok(self.without_body(Operation::Delete, entry(due), NULL_VERSION, None).into());
        }
        if self.retrieval.is_gone(&due.key).await? {
            let fetched = self.without_body(Operation::Delete, entry(due), NULL_VERSION, None);
            // Nobody knows when it was deleted: before that listing.
            return Ok(Fetched { last_modified: due.order, ..fetched }.into());
        }
        let known = decode_known(known).ok_or_else(|| Error::corrupt("a saved plan is damaged"))?;
        let reason = "the next poll looks for it again".to_owned();
        Ok(Outcome::Skipped(Skipped { key: due.key.clone(), reason, told: Told::Kept(known) }))
    }

    /// A record with all but the object's bytes and the metadata that come with them.
    fn without_body(
        &self,
        operation: Operation,
        entry: ObjectEntry,
        version_id: &str,
        is_latest: Option<bool>,
    ) -> Fetched<P::Body> {
        let mut metadata = Metadata::new();
        let mut insert = |name: &str, value: String| metadata.insert(name.to_owned(), value);
        insert("opencdc.collection", self.retrieval.config.bucket.bucket.clone());
        insert("opencdc.readAt", self.retrieval.ports.now().nanoseconds().to_string());
        if version_id != NULL_VERSION {
            insert("s3.versionId", version_id.to_owned());
        }
        if let Some(is_latest) = is_latest {
            insert("s3.isLatest", is_latest.to_string());
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
            key: Rc::from(entry.key),
            last_modified: entry.last_modified,
            replaced: None,
            size: entry.size,
        }
    }
}

/// A change as it was listed.
fn entry(due: &Due) -> ObjectEntry {
    ObjectEntry { key: due.key.clone(), last_modified: due.last_modified, etag: due.etag.clone(), size: due.size }
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

/// Adds what tells a chunk from the others of its object.
fn add_slice<B>(mut fetched: Fetched<B>, slice: Slice, hash: Option<String>) -> Fetched<B> {
    let metadata = &mut fetched.record.metadata;
    let mut insert = |name: &str, value: String| metadata.insert(format!("opencdc.file.{name}"), value);
    insert("name", fetched.key.to_string());
    insert("size", fetched.size.to_string());
    if let Some(hash) = hash {
        insert("hash", hash);
    }
    insert("chunked", "true".to_owned());
    insert("chunk.index", slice.number.to_string());
    insert("chunk.count", slice.count.to_string());
    let length = slice.part(fetched.size).length;
    if let Some(Data::Body { length: declared, .. }) = &mut fetched.record.payload.after {
        *declared = Some(length);
    }
    Fetched { size: length, ..fetched }
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
