//! Owns records whose payload is too large to be held: each becomes an object of its own, one line of JSON, in parts that
//! are made while its body arrives. Leaves batches to `buffer`, and the parts to `parts`.
//!
//! The name is needed before the first part, so it follows from all of the record but the bytes of its payload. Where an
//! object with that name is there already, its bytes are compared with those that came: it is the record from an earlier
//! try, or the record is refused. Nothing is overwritten, and nothing is taken for stored that is not.

use std::cell::Cell;
use std::rc::Rc;

use super::body;
use super::condition::StoredBy;
use super::format::Files;
use super::key::Digester;
use super::parts::Parts;
use super::summary::Summary;
use super::upload::{BATCH, BYTES, Occupant, Pending, RECORDS, Uploader, is_missing};
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::payload::{Payload, Writer};
use crate::ports::{Body, Level, Ports};
use crate::record::{Data, NoBody, Record, json};
use crate::s3::{self, NewUpload};

/// The payload of a record, which is still to be read.
pub(super) struct Streamed<B> {
    /// Its bytes.
    pub(super) length: u64,
    /// What gives them.
    pub(super) body: B,
}

/// Says that the body of a record is no longer needed, once it is dropped.
pub(super) struct Reading(Rc<Cell<bool>>);

impl Reading {
    /// One, and what becomes true when it is dropped.
    pub(super) fn new() -> (Self, Rc<Cell<bool>>) {
        let ended = Rc::new(Cell::new(false));
        (Self(Rc::clone(&ended)), ended)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// What the bytes of an object are, without the object.
struct Digests {
    /// Of what comes before the value of `payload.after`: it differs between two tries by `opencdc.readAt` alone.
    head: blake3::Hash,
    head_bytes: u64,
    /// Of the rest.
    tail: blake3::Hash,
    tail_bytes: u64,
}

/// Bytes of a record's object that is stored, or why the record is refused.
type Stored = std::result::Result<u64, Error>;

/// Why a record's object was not made.
enum Fault {
    /// The record's.
    Record(Error),
    /// The store's.
    Store(s3::Error),
}

impl From<s3::Error> for Fault {
    fn from(error: s3::Error) -> Self {
        Self::Store(error)
    }
}

impl<P: Ports> Uploader<P> {
    /// Stores a record in the folders of `path` while its body arrives, or finds that it is stored. Gives the fault for which the record is
    /// refused, if there is one.
    ///
    /// # Errors
    ///
    /// The store's, explained, once retries are exhausted. The body can't be read again, so that the record must be
    /// written to another destination.
    pub(super) async fn store_streamed<B: Body>(
        self,
        record: Record<NoBody>,
        (path, summary): (String, Summary),
        Streamed { length, body }: Streamed<B>,
        files: Files,
        reading: Reading,
    ) -> Result<Option<Error>> {
        let digest = Digester::streamed(&record, length).finish(|| self.ports.random());
        let key = self.key(&path, &summary, &digest, files.extension());
        let mut pending = None;
        let sent = self.send(&key, &digest, &files, (&record, length, body), &mut pending).await;
        drop(reading);
        let outcome = match sent {
            Ok(digests) => self.complete_streamed(&key, &digest, &digests, &mut pending).await,
            Err(Fault::Record(error)) => Ok(Err(error)),
            Err(Fault::Store(error)) => Err(error.explain(self.client.config())),
        };
        if let Some(Pending { upload, .. }) = pending {
            let _ = self.leftovers.abort(&upload).await;
        }
        match outcome? {
            Ok(bytes) => self.store_manifest(&summary, &digest, &key, bytes, files.content_type()).await.map(|()| None),
            Err(refusal) => Ok(Some(refusal)),
        }
    }

    /// Sends the parts of the object as they come to be.
    async fn send<B: Body>(
        &self,
        key: &str,
        digest: &str,
        files: &Files,
        (record, length, mut body): (&Record<NoBody>, u64, B),
        pending: &mut Option<Pending>,
    ) -> std::result::Result<Digests, Fault> {
        let mut line = Line::new(record);
        let bytes = (line.part.len() as u64 + length.div_ceil(3) * 4 + TAIL.len() as u64).to_string();
        let request = NewUpload {
            key,
            content_type: files.content_type(),
            metadata: &[(BATCH, digest), (RECORDS, "1"), (BYTES, &bytes)],
        };
        let upload = self.client.create_multipart_upload(&request).await?;
        self.leftovers.remember(&upload);
        let mut parts = Parts::new(self.client.clone(), upload.clone(), limits::PARTS_IN_FLIGHT_MAX);
        let pending = pending.insert(Pending { upload, parts: None });
        let mut count = 0;
        loop {
            let piece = parts.alongside(body.read()).await?;
            let piece = piece.map_err(|why| Fault::Record(body::broken_off(AFTER, &why)))?;
            let Some(piece) = piece else { break };
            count += piece.len() as u64;
            if count > length {
                break;
            }
            line.put(&piece);
            if line.part.len() >= limits::PART_BYTES {
                parts.push(line.take()).await?;
            }
        }
        if count != length {
            return Err(Fault::Record(body::of_another_length(AFTER, count, length)));
        }
        let (last, digests) = line.finish();
        parts.push(last).await?;
        pending.parts = Some(parts.finish().await?);
        Ok(digests)
    }

    /// Has the parts become the object, unless it is there.
    async fn complete_streamed(
        &self,
        key: &str,
        digest: &str,
        digests: &Digests,
        pending: &mut Option<Pending>,
    ) -> Result<Stored> {
        for _ in 0..limits::STORE_ROUNDS_MAX {
            let is_conditional = self.is_conditional(StoredBy::Completion);
            let Some(Pending { upload, parts }) = &*pending else { break };
            if !is_conditional && let Some(outcome) = self.look(key, digest, digests).await? {
                return Ok(outcome);
            }
            let parts = parts.as_deref().unwrap_or_default();
            let completed = self.client.complete_multipart_upload(upload, parts, is_conditional).await;
            let Err(error) = completed else {
                let line = format!("stored a record in parts; key=`{key}`, bytes=`{}`", digests.bytes());
                self.ports.log(Level::Debug, &line);
                self.forget(pending);
                return Ok(Ok(digests.bytes()));
            };
            if error.is_no_such_upload() || error.is_precondition_failed() {
                if error.is_no_such_upload() {
                    self.forget(pending);
                }
                if let Some(outcome) = self.look(key, digest, digests).await? {
                    return Ok(outcome);
                }
            } else if is_conditional && error.refuses_condition() {
                self.go_unconditional(StoredBy::Completion, &error);
            } else {
                return Err(error.explain(self.client.config()));
            }
        }
        let message = format!(
            "the upload of `{key}` is gone before it was completed, and the record's body was read already: write the \
             record again; a lifecycle rule may be too short for it"
        );
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// What an object under the key means for the record: it is stored, or refused; `None` where there is no object.
    async fn look(&self, key: &str, digest: &str, digests: &Digests) -> Result<Option<Stored>> {
        match self.occupant_of(key, digest, digests).await {
            Ok(Occupant::Nothing) => Ok(None),
            Ok(Occupant::ThisBatch { bytes }) => Ok(Some(Ok(bytes))),
            Ok(Occupant::Stranger) => Ok(Some(Err(taken(key)))),
            Err(error) => {
                let explained = error.explain(self.client.config());
                Err(explained.context(format!("cannot tell whether the object `{key}` is this record")))
            }
        }
    }

    async fn occupant_of(&self, key: &str, digest: &str, digests: &Digests) -> s3::Result<Occupant> {
        let head = match self.client.head_object(key).await {
            Ok(head) => head,
            Err(error) if is_missing(&error) => return Ok(Occupant::Nothing),
            Err(error) => return Err(error),
        };
        let is_replay = head.metadata.iter().any(|(name, value)| name == BATCH && value == digest);
        // A replay was read at another time, which is written in another number of digits once in a long while.
        let bytes = head.length.unwrap_or(digests.bytes());
        let Some(head_bytes) = bytes.checked_sub(digests.tail_bytes) else {
            return Ok(Occupant::Stranger);
        };
        let start = || (0_u64, blake3::Hasher::new(), blake3::Hasher::new());
        let folded = self.client.fold_object(key, bytes, start, |(count, head, tail), piece| {
            let of_head = usize::try_from(head_bytes.saturating_sub(*count)).unwrap_or(usize::MAX).min(piece.len());
            let (first, rest) = piece.split_at(of_head);
            head.update(first);
            tail.update(rest);
            *count += piece.len() as u64;
        });
        match folded.await {
            Ok((count, head, tail)) => {
                let is_head = is_replay || (head.finalize() == digests.head && head_bytes == digests.head_bytes);
                let is_ours = count == bytes && is_head && tail.finalize() == digests.tail;
                Ok(if is_ours { Occupant::ThisBatch { bytes } } else { Occupant::Stranger })
            }
            Err(error) if is_missing(&error) => Ok(Occupant::Nothing),
            Err(error) => Err(error),
        }
    }
}

impl Digests {
    fn bytes(&self) -> u64 {
        self.head_bytes + self.tail_bytes
    }
}

/// The field of the body, for messages.
const AFTER: &str = "payload.after";

/// What follows the body's text.
const TAIL: &[u8] = b"\"}}\n";

fn taken(key: &str) -> Error {
    Error::invalid(format!(
        "the key `{key}` holds another object, which was not overwritten: another record of the same position, metadata \
         and length, or another writer's object"
    ))
}

/// The line of a record that is being made.
struct Line {
    /// What no part has yet.
    part: Writer,
    head: blake3::Hash,
    head_bytes: u64,
    tail: blake3::Hasher,
    tail_bytes: u64,
    /// One or two bytes that make no whole group of base64 yet.
    rest: Vec<u8>,
}

/// Hashes what it appends.
struct Hashed<'l>(&'l mut Line);

impl json::Text for Hashed<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.tail.update(bytes);
        self.0.tail_bytes += bytes.len() as u64;
        self.0.part.put(bytes);
    }
}

impl Line {
    fn new(record: &Record<NoBody>) -> Self {
        let (mut part, mut head) = (Writer::default(), Vec::new());
        json::encode_head(record, &mut head);
        head.push(b'"');
        part.put(&head);
        Self {
            part,
            head: blake3::hash(&head),
            head_bytes: head.len() as u64,
            tail: blake3::Hasher::new(),
            tail_bytes: 0,
            rest: Vec::new(),
        }
    }

    /// Appends bytes of the body.
    fn put(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let (more, others) = bytes.split_at(bytes.len().min(3 - self.rest.len()));
            self.rest.extend_from_slice(more);
            bytes = others;
            if self.rest.len() < 3 {
                return;
            }
            let group = std::mem::take(&mut self.rest);
            json::encode_base64(&group, &mut Hashed(self));
        }
        let (groups, rest) = bytes.split_at(bytes.len() / 3 * 3);
        json::encode_base64(groups, &mut Hashed(self));
        self.rest.extend_from_slice(rest);
    }

    /// Takes out what a part is made of.
    fn take(&mut self) -> Payload {
        std::mem::take(&mut self.part).finish()
    }

    /// The last part, and what the whole is known by.
    fn finish(mut self) -> (Payload, Digests) {
        let rest = std::mem::take(&mut self.rest);
        json::encode_base64(&rest, &mut Hashed(&mut self));
        json::Text::put(&mut Hashed(&mut self), TAIL);
        let last = self.take();
        let Self { head, head_bytes, tail, tail_bytes, .. } = self;
        (last, Digests { head, head_bytes, tail: tail.finalize(), tail_bytes })
    }
}

/// Takes the payload out of a record where it is a body, of a length that it says itself, with which the record would have
/// more bytes than one in memory may have.
pub(super) fn take_payload<B: Body>(record: &mut Record<B>) -> Option<Streamed<B>> {
    let others = record.inline_bytes();
    match record.payload.after.take() {
        Some(Data::Body { length: Some(length), bytes })
            if others.saturating_add(length) > limits::RECORD_BYTES_MAX =>
        {
            Some(Streamed { length, body: bytes })
        }
        after => {
            record.payload.after = after;
            None
        }
    }
}

#[cfg(test)]
mod tests;
