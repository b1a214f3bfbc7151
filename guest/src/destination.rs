//! Owns the calls of a destination: records in, objects out, and an ack for each record once its object is stored.
//! Leaves records that are objects of their own to `objects`, the reading of bodies to `body`, the batches that are being
//! filled to `partitions`, the form of objects to `format`, their folders to `path`, their names to `key`, storing them to
//! `upload`, and the order of acks to `ledger`.
//!
//! - Each record is acked exactly once, in the order in which records came, and not before its object is stored. A
//!   record that is itself at fault is acked with an error in its place.
//! - A record whose payload is too large to be held is stored by itself while it arrives, where the format can.
//! - Uploads run while other batches fill, but only while a call is under way to drive them.
//! - Once a batch can't be stored, no later record is acked and the destination is of no further use.

mod attributes;
mod body;
mod buffer;
mod compress;
mod condition;
mod format;
mod json;
mod key;
mod ledger;
mod leftovers;
mod manifest;
mod objects;
mod parquet;
mod partitions;
mod parts;
mod path;
mod stream;
mod summary;
mod table;
mod upload;

use std::future::Future;
use std::iter;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::{LocalBoxFuture, poll_fn};

use crate::config::{DestinationConfig, Format, FormatName, Naming, Settings, doubt_prefix};
use crate::error::{Error, Result};
use crate::limits;
use crate::ports::{Cut, Level, Ports, StoredBatch};
use crate::record::Record;
use crate::s3::{Client, Patience};
use crate::time::Timestamp;
use buffer::{Batch, Bounds, Buffer, Checked};
use format::Files;
use ledger::Ledger;
use objects::Objects;
use partitions::Partitions;
use path::Paths;
use stream::{Reading, Streamed};
use summary::{Summary, Wanted};
use upload::Uploader;

/// The ack of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The record's position, as it came.
    pub position: Bytes,
    /// Why the record was refused; `None` where its object is stored.
    pub error: Option<Error>,
}

/// A destination of records.
///
/// Calls go one at a time: `configure`, `open`, then `write` and `flush` as often as needed, then
/// `teardown`.
pub struct Destination<P: Ports> {
    ports: P,
    client: Client<P>,
    uploader: Uploader<P>,
    stage: Stage,
    /// Where each record is an object; there are no batches then.
    objects: Option<Objects<P>>,
    files: Files,
    wanted: Wanted,
    /// Whether it was said that names begin with no time.
    has_doubted_time: bool,
    paths: Paths,
    partitions: Partitions,
    /// Complete batches that are on their way.
    uploads: Vec<Upload>,
    ledger: Ledger,
    /// Acks for the next call to return.
    ready: Vec<Ack>,
    /// Whether the acks that were returned last have a refusal.
    has_refused: bool,
    /// Records that were taken since uploads were driven.
    undriven: usize,
}

/// The stage of a destination's life.
enum Stage {
    Configured,
    Open,
    Failed(Error),
    TornDown,
}

/// A complete batch, or a record that is stored by itself, until it is stored.
struct Upload {
    /// The numbers of its records.
    numbers: Vec<Range<u64>>,
    /// Bytes that it holds in memory.
    held_bytes: u64,
    /// What is told of it once it is stored.
    batch: StoredBatch,
    /// Gives the fault of the record, if it is one alone and is refused.
    storing: LocalBoxFuture<'static, Result<Option<Error>>>,
}

impl<P: Ports> Destination<P> {
    /// Makes a destination from settings; no I/O.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting at fault.
    pub fn configure(ports: P, settings: &Settings) -> Result<Self> {
        let config = DestinationConfig::parse(settings)?;
        let wanted = Wanted { time: config.naming == Naming::TimeDigest, manifest: config.manifest };
        key::check_prefix(&config.bucket.prefix, wanted)?;
        let client = Client::new(ports.clone(), config.bucket.clone());
        let uploader = Uploader::new(ports.clone(), client.clone());
        let others =
            config.bucket.prefix.len() + if config.format == Format::Raw { 1 } else { key::name_bytes_max(wanted) };
        let paths = Paths::new(config.path.clone(), others)?;
        let objects = || Objects::new(ports.clone(), &client, uploader.leftovers(), config.deletes, paths.clone());
        let (objects, format) = match config.format {
            Format::Batches(format) => (None, format),
            Format::Raw => (Some(objects()), FormatName::Json),
        };
        let files = Files::new(format, config.columns.as_ref(), config.compression)?;
        let empty = Buffer::new(Bounds::from(&config), files.clone(), Summary::new(wanted));
        Ok(Self {
            uploader,
            stage: Stage::Configured,
            objects,
            files,
            wanted,
            has_doubted_time: false,
            partitions: Partitions::new(empty, paths.partitions_max()),
            paths,
            uploads: Vec::new(),
            ledger: Ledger::default(),
            ready: Vec::new(),
            has_refused: false,
            undriven: 0,
            client,
            ports,
        })
    }

    /// Checks that the bucket is there and may be used.
    ///
    /// # Errors
    ///
    /// `invalid` for a bucket that is missing or elsewhere, `denied` for refused credentials,
    /// `unavailable` where the store does not answer. Opening may be tried again.
    pub async fn open(&mut self) -> Result<()> {
        match &self.stage {
            Stage::Configured => {}
            Stage::Open => return Err(Error::invalid("the destination is open already")),
            Stage::Failed(error) => return Err(error.clone()),
            Stage::TornDown => return Err(torn_down()),
        }
        self.check_bucket().await?;
        if let Some(doubt) = doubt_prefix(&self.client.config().prefix) {
            self.ports.log(Level::Warn, &format!("setting `prefix`: {doubt}"));
        }
        self.uploader.sweep().await;
        self.stage = Stage::Open;
        Ok(())
    }

    /// Takes records, and returns the acks that are ready: of these or of earlier ones.
    ///
    /// Where each record is an object, waits until [`limits::PUTS_WAITING_MAX`] of them at most have not begun. Otherwise it
    /// waits for bodies to be read, and for an upload to end where a batch is complete and
    /// [`limits::UPLOADS_IN_FLIGHT_MAX`] are on their way, or where there is no room for the next record in
    /// [`limits::HELD_BYTES_MAX`] or [`limits::ACKS_WAITING_MAX`]; otherwise not at all. Without records it is a tick, which starts a batch that is old
    /// enough and drives uploads.
    ///
    /// # Errors
    ///
    /// Why a batch could not be stored, after all acks of earlier ones were returned; from then on every call fails
    /// with it. Records that were not acked are lost: write them again to another destination.
    pub async fn write(&mut self, records: Vec<Record<P::Body>>) -> Result<Vec<Ack>> {
        self.check_open()?;
        if self.objects.is_some() {
            self.write_objects(records).await;
            return self.answer();
        }
        self.drive_once().await;
        let now = if self.paths.needs_now() { self.ports.now() } else { Timestamp::default() };
        for record in records {
            self.make_room_for_ack().await;
            let position = record.position.clone();
            let (record, body) = self.partitions.empty().part(record);
            let record = self.alongside(body::read(record)).await;
            if self.has_failed() {
                break;
            }
            let checked = record.and_then(|record| self.partitions.empty().check(record, body.as_ref()));
            let checked = checked.and_then(|checked| self.paths.make(checked.record(), now).map(|()| checked));
            match (checked, body) {
                (Ok(record), None) => self.take(record).await,
                (Ok(record), Some(body)) => self.stream(record, body).await,
                (Err(error), _) => self.ledger.push_refused(position, error),
            }
        }
        self.drive_once().await;
        self.answer()
    }

    /// Ends the batches that are being filled, waits at most `wait` for all acks, and returns those that came, which may
    /// be none. With nothing outstanding it returns at once. As long as acks are missing, call it again.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        self.check_open()?;
        let mut patience = pin!(self.ports.sleep(wait));
        poll_fn(|context| {
            self.drive(context);
            while !self.has_failed()
                && self.has_slot()
                && let Some(path) = self.partitions.first()
            {
                self.start(&path, Cut::Flush);
                self.drive(context);
            }
            let are_stored = self.objects.as_ref().is_none_or(|objects| objects.outstanding() == 0);
            if are_stored && self.uploads.is_empty() && self.partitions.is_empty() {
                return Poll::Ready(());
            }
            patience.as_mut().poll(context)
        })
        .await;
        self.answer()
    }

    /// Ends the destination. Records that were not acked are lost. Other calls then fail with `closed`; this one may be
    /// repeated.
    ///
    /// # Errors
    ///
    /// None so far.
    pub async fn teardown(&mut self) -> Result<()> {
        let objects = self.objects.as_ref().map_or(0, Objects::outstanding);
        let outstanding = objects + self.ledger.len();
        if outstanding > 0 {
            let line = format!("torn down before a flush; records_not_acked=`{outstanding}`");
            // After a refusal no flush is to be expected: the refusal is what people need to read.
            let level = if self.has_refused { Level::Debug } else { Level::Warn };
            self.ports.log(level, &line);
        }
        self.end(Stage::TornDown);
        self.ready.clear();
        Ok(())
    }

    async fn check_bucket(&self) -> Result<()> {
        let client = self.client.with_patience(Patience::OPENING);
        match client.probe_bucket().await {
            Ok(_) => Ok(()),
            // A gateway may know neither operation, and a destination can do without both permissions.
            Err(error)
                if matches!(error.status(), Some(405 | 501))
                    || (error.status() == Some(403) && matches!(error.code(), "AccessDenied" | "")) =>
            {
                let line = format!(
                    "cannot check the bucket before the first write; allow s3:ListBucket to check it when opening; \
                     why=`{error}`"
                );
                self.ports.log(Level::Warn, &line);
                Ok(())
            }
            Err(error) => Err(error.explain(self.client.config())),
        }
    }

    fn check_open(&self) -> Result<()> {
        match &self.stage {
            Stage::Open => Ok(()),
            Stage::Configured => Err(Error::invalid("the destination is not open: call `open` first")),
            Stage::Failed(error) => Err(error.clone()),
            Stage::TornDown => Err(torn_down()),
        }
    }

    /// Puts a record, whose path was made last, into the batch that it belongs to.
    async fn take(&mut self, record: Checked) {
        let number = self.ledger.next();
        while let Some(path) = self.partitions.in_the_way(self.paths.last(), &record, number) {
            let cut = if path == self.paths.last() { Cut::Bytes } else { Cut::Partitions };
            self.start_in_turn(&path, cut).await;
            if self.has_failed() {
                return;
            }
        }
        self.make_room(&record).await;
        if !self.has_failed() {
            let number = self.ledger.push(record.record().position.clone());
            self.partitions.push(self.paths.last(), record, number, self.ports.elapsed());
        }
    }

    /// Waits for a slot, then ends the batch of this path and begins to store it; `cut` is why, if it is not complete.
    async fn start_in_turn(&mut self, path: &str, cut: Cut) {
        self.drive_until(Self::has_slot).await;
        if !self.has_failed() {
            self.start(path, cut);
            self.drive_once().await;
        }
    }

    /// Stores a record, whose path was made last, by itself, and waits until its body was read. The batch of its path ends
    /// before it.
    async fn stream(&mut self, record: Checked, body: Streamed<P::Body>) {
        let path = self.paths.last().to_owned();
        let summary = Summary::of(self.wanted, record.record());
        self.doubt_time(&summary);
        if self.partitions.has(&path) {
            self.start_in_turn(&path, Cut::Large).await;
        }
        self.drive_until(|this| this.has_slot() && this.has_room(&record)).await;
        if self.has_failed() {
            return;
        }
        let held_bytes = record.held_bytes();
        let batch = StoredBatch { cut: Cut::Large, records: 1, bytes: body.length };
        let record = record.into_record();
        let number = self.ledger.push(record.position.clone());
        let (reading, has_ended) = Reading::new();
        let storing =
            Box::pin(self.uploader.clone().store_streamed(record, (path, summary), body, self.files.clone(), reading));
        self.uploads.push(Upload { numbers: iter::once(number..number + 1).collect(), held_bytes, batch, storing });
        poll_fn(|context| {
            self.drive(context);
            if has_ended.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until the next record can be numbered: until as few acks wait as may, and no batch that fills holds up too many.
    async fn make_room_for_ack(&mut self) {
        while !self.has_failed()
            && self.partitions.holds_up(self.ledger.next())
            && let Some(path) = self.partitions.first()
        {
            self.start_in_turn(&path, Cut::Partitions).await;
        }
        if self.ledger.len() >= limits::ACKS_WAITING_MAX {
            self.drive_until(|this| this.ledger.len() < limits::ACKS_WAITING_MAX).await;
        }
    }

    /// Waits until there is room in memory for a record. With nothing in flight there is: one batch and one record
    /// always fit.
    async fn make_room(&mut self, record: &Checked) {
        // To drive all uploads costs as much as to encode some records.
        self.undriven += 1;
        if self.undriven < limits::RECORDS_UNDRIVEN_MAX && self.has_room(record) {
            return;
        }
        self.undriven = 0;
        self.drive_until(|this| this.has_room(record)).await;
    }

    /// Drives uploads until something holds, or nothing more can be stored.
    async fn drive_until(&mut self, holds: impl Fn(&Self) -> bool) {
        poll_fn(|context| {
            self.drive(context);
            if holds(self) || self.has_failed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether there is room in memory for a record.
    fn has_room(&self, record: &Checked) -> bool {
        let is_idle = || self.uploads.iter().all(|upload| upload.held_bytes == 0);
        self.held_bytes() + record.held_bytes() <= limits::HELD_BYTES_MAX || is_idle()
    }

    /// Bytes of batches that are in memory.
    fn held_bytes(&self) -> u64 {
        let uploads = self.uploads.iter().map(|upload| upload.held_bytes);
        self.partitions.held_bytes() + uploads.sum::<u64>()
    }

    /// Runs `work`, and uploads at the same time.
    async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let result = work.as_mut().poll(context);
            if result.is_pending() {
                self.drive(context);
            }
            result
        })
        .await
    }

    /// Drives uploads as far as they go without waiting, and starts a batch that is due.
    async fn drive_once(&mut self) {
        poll_fn(|context| {
            self.drive(context);
            while !self.has_failed()
                && self.has_slot()
                && let Some(path) = self.partitions.due(self.ports.elapsed(), self.ledger.next())
            {
                self.start(&path, Cut::Partitions);
                self.drive(context);
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Takes records as objects, as there is room for them.
    async fn write_objects(&mut self, records: Vec<Record<P::Body>>) {
        for record in records {
            self.drive_until_room().await;
            if self.has_failed() {
                return;
            }
            if let Some(objects) = &mut self.objects {
                objects.take(record).await;
            }
        }
        self.drive_until_room().await;
    }

    async fn drive_until_room(&mut self) {
        self.drive_until(|this| this.objects.as_ref().is_none_or(Objects::has_room)).await;
    }

    /// Drives uploads, and collects those that have ended and the acks that are next in order.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(objects) = &mut self.objects
            && let Err(error) = objects.drive(context, &mut self.ready)
        {
            self.end(Stage::Failed(error));
        }
        let (ledger, ports) = (&mut self.ledger, &self.ports);
        self.uploads.retain_mut(|upload| match upload.storing.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                if matches!(result, Ok(None)) {
                    ports.stored(upload.batch);
                }
                settle(ledger, &upload.numbers, result);
                false
            }
        });
        let released = self.ledger.release(&mut self.ready);
        let failure = released.err().or_else(|| self.ledger.failure().filter(|_| !self.can_release()).cloned());
        if let Some(error) = failure {
            self.end(Stage::Failed(error));
        }
    }

    /// Whether acks may still come before those that never will: the next one waits for an upload. What waits for a batch to
    /// fill is not stored any more.
    fn can_release(&self) -> bool {
        let next = self.ledger.first();
        self.uploads.iter().any(|upload| upload.numbers.iter().any(|numbers| numbers.contains(&next)))
    }

    /// Whether nothing more is taken, since something could not be stored.
    fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed(_)) || self.ledger.failure().is_some()
    }

    fn has_slot(&self) -> bool {
        self.uploads.len() < limits::UPLOADS_IN_FLIGHT_MAX
    }

    /// Ends the batch of this path and begins to store it; `otherwise` is why, if it is not complete.
    fn start(&mut self, path: &str, otherwise: Cut) {
        let Some(buffer) = self.partitions.take(path) else { return };
        let cut = buffer.cut(self.ports.elapsed(), otherwise);
        let (first, ports) = (buffer.first(), &self.ports);
        match buffer.finish(path.to_owned(), || ports.random()) {
            Ok(Batch { object, numbers }) => {
                self.doubt_time(&object.summary);
                let held_bytes = object.body.len() as u64;
                let records = numbers.iter().map(|numbers| numbers.end - numbers.start).sum();
                let batch = StoredBatch { cut, records, bytes: held_bytes };
                let storing = Box::pin(self.uploader.clone().store(object).map_ok(|()| None));
                self.uploads.push(Upload { numbers, held_bytes, batch, storing });
            }
            // No test reaches this: there is no record that a format can't write.
            Err(error) => self.ledger.fail(first, error),
        }
    }

    /// Says once that a name begins with no time although it is to.
    fn doubt_time(&mut self, summary: &Summary) {
        if summary.lacks_time() && !self.has_doubted_time {
            self.has_doubted_time = true;
            let line = "names of objects whose records have no metadata `opencdc.createdAt` do not begin with a time, as \
                        `name: time-digest` has it: another time would be another one when they are written again";
            self.ports.log(Level::Warn, line);
        }
    }

    /// The acks that are ready; once all were returned, the failure that ended the destination.
    fn answer(&mut self) -> Result<Vec<Ack>> {
        match &self.stage {
            Stage::Failed(error) if self.ready.is_empty() => Err(error.clone()),
            _ => {
                let acks = std::mem::take(&mut self.ready);
                self.has_refused = acks.iter().any(|ack| ack.error.is_some());
                Ok(acks)
            }
        }
    }

    fn end(&mut self, stage: Stage) {
        self.stage = stage;
        self.uploads.clear();
        self.partitions.clear();
        self.ledger = Ledger::default();
        if let Some(objects) = &mut self.objects {
            objects.clear();
        }
    }
}

/// What the end of an upload means for its records.
fn settle(ledger: &mut Ledger, numbers: &[Range<u64>], result: Result<Option<Error>>) {
    let first = numbers.first().map_or(0, |numbers| numbers.start);
    match result {
        Ok(None) => numbers.iter().for_each(|numbers| ledger.settle(numbers)),
        Ok(Some(refusal)) => ledger.refuse(first, refusal),
        Err(error) => ledger.fail(first, error),
    }
}

fn torn_down() -> Error {
    Error::closed("the destination was torn down: configure another one")
}

#[cfg(test)]
mod tests;
