//! Owns `format: raw`: each record is an object of its own, under its key, or the end of one. Leaves what an object is called
//! and what is said of it to `attributes`, requests to `s3`, and the stages of a destination to its parent.
//!
//! - Changes of one key are made in the order of their records; others go at the same time.
//! - Acks come in the order of records, whatever is done first.
//! - Writing the same record again is harmless: the object is written over by itself.
//! - A body that is a stream never enters the component.

mod large;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::leftovers::Leftovers;
use super::path::Paths;
use super::{Ack, attributes, body};
use crate::config::Deletes;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::payload::Payload;
use crate::ports::{Level, Ports};
use crate::record::{Data, Operation, Record};
use crate::s3::{self, Client, NewObject, PutError, Slots};
use crate::time::Timestamp;

/// Writes records as objects.
pub(super) struct Objects<P: Ports> {
    ports: P,
    client: Client<P>,
    leftovers: Leftovers<P>,
    slots: Rc<Slots>,
    deletes: Deletes,
    paths: Paths,
    /// In the order of records.
    outcomes: VecDeque<Outcome>,
    /// The number of the first of them.
    first: u64,
    /// Changes that may begin, the first one first.
    waiting: VecDeque<Change<P::Body>>,
    running: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    running_bytes: u64,
    /// The keys of changes that wait or run, and the changes that wait for those.
    keys: BTreeMap<String, VecDeque<Change<P::Body>>>,
    /// Changes that have not begun.
    unbegun: usize,
    /// Bytes in memory.
    held_bytes: u64,
    /// The first record after which nothing more is stored, since it could not be.
    failed_at: Option<u64>,
    ignored: u64,
}

/// What becomes of one record.
struct Outcome {
    position: Bytes,
    result: Option<std::result::Result<(), Fault>>,
}

/// Why a record is not stored.
enum Fault {
    /// It is at fault itself.
    Record(Error),
    /// Nothing more can be stored.
    Store(Error),
}

/// What a record asks for.
struct Change<B> {
    number: u64,
    key: String,
    work: Work<B>,
}

enum Work<B> {
    Put(Box<NewObject>, Content<B>),
    Delete,
}

/// The bytes of an object.
enum Content<B> {
    Memory(Payload),
    Stream(B, u64),
}

/// A change that has ended.
struct Done {
    number: u64,
    key: String,
    bytes: u64,
    held_bytes: u64,
    result: std::result::Result<(), Fault>,
}

impl<B> Work<B> {
    fn bytes(&self) -> u64 {
        match self {
            Self::Put(_, Content::Memory(payload)) => payload.len() as u64,
            Self::Put(_, Content::Stream(_, length)) => *length,
            Self::Delete => 0,
        }
    }

    /// Bytes that are on their way at the same time.
    fn running_bytes(&self) -> u64 {
        match self {
            Self::Put(_, Content::Stream(_, length)) if *length > limits::PUT_BYTES_MAX as u64 => large::RUNNING_BYTES,
            _ => self.bytes(),
        }
    }

    fn held_bytes(&self) -> u64 {
        match self {
            Self::Put(_, Content::Memory(payload)) => payload.len() as u64,
            _ => 0,
        }
    }
}

impl<P: Ports> Objects<P> {
    /// Makes a writer to the client's bucket.
    pub(super) fn new(ports: P, client: &Client<P>, leftovers: Leftovers<P>, deletes: Deletes, paths: Paths) -> Self {
        let slots = Slots::new(limits::PUTS_IN_FLIGHT_MAX);
        Self {
            ports,
            client: client.in_slots(&slots),
            leftovers,
            slots,
            deletes,
            paths,
            outcomes: VecDeque::new(),
            first: 0,
            waiting: VecDeque::new(),
            running: FuturesUnordered::new(),
            running_bytes: 0,
            keys: BTreeMap::new(),
            unbegun: 0,
            held_bytes: 0,
            failed_at: None,
            ignored: 0,
        }
    }

    /// Takes a record. There must [be room](Self::has_room).
    pub(super) async fn take(&mut self, record: Record<P::Body>) {
        let number = self.first + self.outcomes.len() as u64;
        let position = record.position.clone();
        let result = match self.read(record).await {
            Ok(Some((key, work))) => {
                self.queue(Change { number, key, work });
                None
            }
            Ok(None) => Some(Ok(())),
            Err(error) => Some(Err(Fault::Record(error))),
        };
        self.outcomes.push_back(Outcome { position, result });
    }

    /// Whether another record may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.unbegun < limits::PUTS_WAITING_MAX && self.held_bytes <= limits::HELD_BYTES_MAX
    }

    /// Records whose acks are still to come.
    pub(super) fn outstanding(&self) -> usize {
        self.outcomes.len()
    }

    /// Drives what runs, and begins what may. Gives the acks that are next in order; an error only once all before it
    /// were given.
    pub(super) fn drive(&mut self, context: &mut Context<'_>, acks: &mut Vec<Ack>) -> Result<()> {
        loop {
            self.begin();
            let Poll::Ready(Some(done)) = self.running.poll_next_unpin(context) else { break };
            self.settle(done);
        }
        while let Some(outcome) = self.outcomes.pop_front_if(|outcome| outcome.result.is_some()) {
            self.first += 1;
            let error = match outcome.result {
                Some(Err(Fault::Store(error))) => return Err(error),
                Some(Err(Fault::Record(error))) => Some(error),
                Some(Ok(())) | None => None,
            };
            acks.push(Ack { position: outcome.position, error });
        }
        Ok(())
    }

    /// Gives everything up.
    pub(super) fn clear(&mut self) {
        self.report_ignored();
        let (ports, leftovers, paths) = (self.ports.clone(), self.leftovers.clone(), self.paths.clone());
        *self = Self::new(ports, &self.client, leftovers, self.deletes, paths);
    }

    /// What a record asks for; nothing where it is a delete that is ignored.
    async fn read(&mut self, record: Record<P::Body>) -> Result<Option<(String, Work<P::Body>)>> {
        if record.operation == Operation::Delete && self.deletes == Deletes::Ignore {
            self.ignored += 1;
            return Ok(None);
        }
        let now = if self.paths.needs_now() { self.ports.now() } else { Timestamp::default() };
        self.paths.make(&record, now)?;
        let key = match record.key {
            Some(Data::Raw(key)) => key,
            Some(Data::Body { length, mut bytes }) => body::read_body("key", length, &mut bytes).await?,
            Some(Data::Structured(_)) => {
                let message = "the record's `key` is structured, and so is no object's: `format: raw` needs text";
                return Err(Error::invalid(message));
            }
            None => return Err(Error::invalid("the record has no `key`, which `format: raw` names its object by")),
        };
        let folder = format!("{}{}", self.client.config().prefix, self.paths.last());
        let key = attributes::object_key(&folder, &key)?;
        if record.operation == Operation::Delete {
            return Ok(Some((key, Work::Delete)));
        }
        let (content, content_type) = match record.payload.after {
            Some(Data::Raw(bytes)) => (Content::Memory(bytes.into()), None),
            Some(Data::Structured(text)) => (Content::Memory(Bytes::from(text).into()), Some("application/json")),
            Some(Data::Body { length: Some(length), bytes }) => (Content::Stream(bytes, length), None),
            Some(Data::Body { length: None, mut bytes }) => {
                let bytes = body::read_body("payload.after", None, &mut bytes).await?;
                (Content::Memory(bytes.into()), None)
            }
            None => return Err(Error::invalid("the record has no `payload.after`, which the object would hold")),
        };
        let object = attributes::describe(key.clone(), &record.metadata, content_type)?;
        let work = Work::Put(Box::new(object), content);
        if work.held_bytes() > limits::RECORD_BYTES_MAX {
            return Err(super::buffer::too_large(work.held_bytes()));
        }
        if work.bytes() > limits::COPY_BYTES_MAX {
            let (bytes, max) = (work.bytes(), limits::COPY_BYTES_MAX);
            let message = format!("the object has {bytes} bytes, but a copy has at most {max}");
            return Err(Error::invalid(message));
        }
        Ok(Some((key, work)))
    }

    fn queue(&mut self, change: Change<P::Body>) {
        self.unbegun += 1;
        self.held_bytes += change.work.held_bytes();
        match self.keys.get_mut(&change.key) {
            Some(behind) => behind.push_back(change),
            None => {
                self.keys.insert(change.key.clone(), VecDeque::new());
                self.waiting.push_back(change);
            }
        }
    }

    /// Begins what may begin.
    fn begin(&mut self) {
        while let Some(next) = self.waiting.front() {
            let (number, bytes) = (next.number, next.work.running_bytes());
            if self.failed_at.is_some_and(|failed_at| number > failed_at) {
                // It is written again later; those before it still count.
                self.waiting.pop_front();
                continue;
            }
            if !self.slots.has(1) {
                break;
            }
            if !self.running.is_empty() && self.running_bytes + bytes > limits::PUTS_BYTES_MAX {
                break;
            }
            let Some(change) = self.waiting.pop_front() else { break };
            self.slots.take(1);
            self.unbegun -= 1;
            self.running_bytes += bytes;
            self.running.push(Box::pin(make(self.client.clone(), self.leftovers.clone(), change)));
        }
    }

    fn settle(&mut self, done: Done) {
        self.slots.give_back(1);
        self.running_bytes -= done.bytes;
        self.held_bytes -= done.held_bytes;
        if matches!(done.result, Err(Fault::Store(_))) {
            self.failed_at = Some(self.failed_at.map_or(done.number, |failed_at| failed_at.min(done.number)));
        }
        match self.keys.get_mut(&done.key).and_then(VecDeque::pop_front) {
            Some(next) => self.waiting.push_front(next),
            None => drop(self.keys.remove(&done.key)),
        }
        let index = usize::try_from(done.number - self.first).ok();
        if let Some(outcome) = index.and_then(|index| self.outcomes.get_mut(index)) {
            outcome.result = Some(done.result);
        }
    }

    fn report_ignored(&self) {
        if self.ignored > 0 {
            let line = format!("deletes were ignored, as the setting `deletes` has it; records=`{}`", self.ignored);
            self.ports.log(Level::Info, &line);
        }
    }
}

/// Makes one change.
async fn make<P: Ports>(client: Client<P>, leftovers: Leftovers<P>, change: Change<P::Body>) -> Done {
    let Change { number, key, work } = change;
    let (bytes, held_bytes) = (work.running_bytes(), work.held_bytes());
    let stored = |stored: s3::Result<()>| stored.map_err(|error| fault(&client, &error));
    let result = match work {
        Work::Delete => stored(client.delete_object(&key, None).await),
        Work::Put(object, Content::Memory(payload)) => stored(client.put_new_object(&object, payload).await),
        Work::Put(object, Content::Stream(mut body, length)) => {
            let put = if length > limits::PUT_BYTES_MAX as u64 {
                large::put(&client, &leftovers, &object, &mut body, length).await
            } else {
                client.put_stream(&object, &mut body, length).await
            };
            put.map_err(|error| match error {
                PutError::Body(why) => {
                    let message = format!("the body of the record's `payload.after` broke off: {why}");
                    Fault::Record(Error::new(ErrorKind::Unavailable, message))
                }
                PutError::Length(why) => {
                    Fault::Record(Error::corrupt(format!("the body of the record's `payload.after` is wrong: {why}")))
                }
                PutError::Store(error) => fault(&client, &error),
            })
        }
    };
    Done { number, key, bytes, held_bytes, result }
}

/// What the store's error means for the record and for those after it.
fn fault<P: Ports>(client: &Client<P>, error: &s3::Error) -> Fault {
    let explained = error.explain(client.config());
    // These are about this one object; a store that refuses others would refuse all.
    match error.code() {
        "KeyTooLongError" | "MetadataTooLarge" | "EntityTooLarge" | "XMinioInvalidObjectName" => {
            Fault::Record(Error::invalid(explained.message))
        }
        // It was completed, and the answer was lost; or another writer, or a rule of the bucket, has aborted it.
        "NoSuchUpload" => Fault::Record(Error::new(ErrorKind::Unavailable, explained.message)),
        _ => Fault::Store(explained),
    }
}

#[cfg(test)]
mod tests;
