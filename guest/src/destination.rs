//! Owns the calls of a destination: records in, objects out, and an ack for each record once its object is stored.
//! Leaves records that are objects of their own to `objects`, the reading of bodies to `body`, the batch that is being
//! filled to `buffer`, the form of objects to `format`, their names to `key`, and storing them to `upload`.
//!
//! - Each record is acked exactly once, in the order in which records came, and not before its object is stored. A
//!   record that is itself at fault is acked with an error in its place.
//! - A record whose payload is too large to be held is stored by itself while it arrives, where the format can.
//! - Uploads run while the next batch fills, but only while a call is under way to drive them.
//! - Once a batch can't be stored, no later record is acked and the destination is of no further use.

mod attributes;
mod body;
mod buffer;
mod condition;
mod format;
mod json;
mod key;
mod leftovers;
mod objects;
mod parquet;
mod parts;
mod stream;
mod upload;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::{LocalBoxFuture, poll_fn};

use crate::config::{DestinationConfig, Format, FormatName, Settings, doubt_prefix};
use crate::error::{Error, Result};
use crate::limits;
use crate::ports::{Level, Ports};
use crate::record::Record;
use crate::s3::{Client, Patience};
use buffer::{Batch, Bounds, Buffer, Checked};
use format::Files;
use objects::Objects;
use stream::{Reading, Streamed};
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
    buffer: Buffer,
    /// Complete batches, in their order.
    uploads: VecDeque<Upload>,
    /// Acks for the next call to return.
    ready: Vec<Ack>,
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

/// A complete batch, or a record that is stored by itself, until it is acked.
struct Upload {
    acks: Vec<Ack>,
    /// Bytes of the object while it is in memory.
    held_bytes: u64,
    status: UploadStatus,
}

enum UploadStatus {
    Running(LocalBoxFuture<'static, Result<Option<Error>>>),
    /// With the fault of the record, if it is one alone and was refused.
    Ended(Result<Option<Error>>),
}

impl<P: Ports> Destination<P> {
    /// Makes a destination from settings; no I/O.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting at fault.
    pub fn configure(ports: P, settings: &Settings) -> Result<Self> {
        let config = DestinationConfig::parse(settings)?;
        key::check_prefix(&config.bucket.prefix)?;
        let client = Client::new(ports.clone(), config.bucket.clone());
        let uploader = Uploader::new(ports.clone(), client.clone());
        let objects = || Objects::new(ports.clone(), &client, uploader.leftovers(), config.deletes);
        let (objects, format) = match config.format {
            Format::Batches(format) => (None, format),
            Format::Raw => (Some(objects()), FormatName::Json),
        };
        let files = Files::new(format);
        Ok(Self {
            uploader,
            stage: Stage::Configured,
            objects,
            buffer: Buffer::new(Bounds::from(&config), files.clone()),
            files,
            uploads: VecDeque::new(),
            ready: Vec::new(),
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
    /// [`limits::HELD_BYTES_MAX`]; otherwise not at all. Without records it is a tick, which starts a batch that is old
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
        for record in records {
            let position = record.position.clone();
            let (record, body) = self.buffer.part(record);
            let record = self.alongside(body::read(record)).await;
            if self.has_failed() {
                break;
            }
            let checked = record.and_then(|record| self.buffer.check(record, body.as_ref()));
            match (checked, body) {
                (Ok(record), None) => self.take(record).await,
                (Ok(record), Some(body)) => self.stream(record, body).await,
                (Err(error), _) => self.refuse(position, error),
            }
        }
        self.drive_once().await;
        self.answer()
    }

    /// Ends the batch that is being filled, waits at most `wait` for all acks, and returns those that came, which may
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
            while !self.buffer.is_empty() && self.has_slot() {
                self.start();
                self.drive(context);
            }
            let are_stored = self.objects.as_ref().is_none_or(|objects| objects.outstanding() == 0);
            if are_stored && self.uploads.is_empty() && self.buffer.is_empty() {
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
        let outstanding =
            objects + self.buffer.acks_count() + self.uploads.iter().map(|upload| upload.acks.len()).sum::<usize>();
        if outstanding > 0 {
            let line = format!("torn down before a flush; records_not_acked=`{outstanding}`");
            self.ports.log(Level::Warn, &line);
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

    /// Puts a record into the batch that it belongs to.
    async fn take(&mut self, record: Checked) {
        if !self.buffer.has_room(&record) {
            self.start_in_turn().await;
        }
        self.make_room(&record).await;
        if !self.has_failed() {
            self.buffer.push(record, self.ports.elapsed());
        }
    }

    /// Waits for a slot, then ends the batch that is being filled and begins to store it.
    async fn start_in_turn(&mut self) {
        poll_fn(|context| {
            self.drive(context);
            if self.has_slot() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        if !self.has_failed() {
            self.start();
            self.drive_once().await;
        }
    }

    /// Stores a record by itself, after all that came before it, and waits until its body was read.
    async fn stream(&mut self, record: Checked, body: Streamed<P::Body>) {
        if !self.buffer.is_empty() {
            self.start_in_turn().await;
        }
        poll_fn(|context| {
            self.drive(context);
            if self.has_slot() && self.has_room(&record) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        if self.has_failed() {
            return;
        }
        let held_bytes = record.held_bytes();
        let record = record.into_record();
        let acks = vec![Ack { position: record.position.clone(), error: None }];
        let (reading, has_ended) = Reading::new();
        let storing = self.uploader.clone().store_streamed(record, body, self.files.clone(), reading);
        self.uploads.push_back(Upload { acks, held_bytes, status: UploadStatus::Running(Box::pin(storing)) });
        poll_fn(|context| {
            self.drive(context);
            if has_ended.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
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
        poll_fn(|context| {
            self.drive(context);
            if self.has_room(record) { Poll::Ready(()) } else { Poll::Pending }
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
        self.buffer.held_bytes() + uploads.sum::<u64>()
    }

    /// Queues the ack of a refused record after those of earlier ones.
    fn refuse(&mut self, position: Bytes, error: Error) {
        self.buffer.refuse(position, error);
        let refusals = self.buffer.take_refusals();
        match self.uploads.back_mut() {
            Some(upload) => upload.acks.extend(refusals),
            None => self.ready.extend(refusals),
        }
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
            if self.buffer.is_due(self.ports.elapsed()) && self.has_slot() {
                self.start();
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
            match &mut self.objects {
                Some(objects) if !matches!(self.stage, Stage::Failed(_)) => objects.take(record).await,
                _ => return,
            }
        }
        self.drive_until_room().await;
    }

    async fn drive_until_room(&mut self) {
        poll_fn(|context| {
            self.drive(context);
            let has_room = self.objects.as_ref().is_none_or(Objects::has_room);
            if has_room || self.has_failed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Drives uploads and collects those that have ended, in their order.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(objects) = &mut self.objects
            && let Err(error) = objects.drive(context, &mut self.ready)
        {
            self.end(Stage::Failed(error));
        }
        for upload in &mut self.uploads {
            upload.drive(context);
        }
        while let Some(Upload { status: UploadStatus::Ended(result), .. }) = self.uploads.front() {
            let result = result.clone();
            let mut acks = self.uploads.pop_front().map(|ended| ended.acks).unwrap_or_default();
            match result {
                Ok(refusal) => {
                    if let (Some(refusal), Some(ack)) = (refusal, acks.first_mut()) {
                        ack.error = Some(refusal);
                    }
                    self.ready.extend(acks);
                }
                Err(error) => self.end(Stage::Failed(error)),
            }
        }
    }

    fn has_failed(&self) -> bool {
        matches!(self.stage, Stage::Failed(_))
    }

    fn has_slot(&self) -> bool {
        self.uploads.len() < limits::UPLOADS_IN_FLIGHT_MAX
    }

    /// Ends the batch that is being filled and begins to store it.
    fn start(&mut self) {
        let ports = &self.ports;
        let (acks, held_bytes, status) = match self.buffer.take(|| ports.random()) {
            Ok(Some(Batch { object, acks })) => {
                let held_bytes = object.body.len() as u64;
                let storing = self.uploader.clone().store(object).map_ok(|()| None);
                (acks, held_bytes, UploadStatus::Running(Box::pin(storing)))
            }
            // No test reaches these two: callers check that the batch holds anything, and there is no record that a
            // format can't write.
            Ok(None) => return,
            Err(error) => (Vec::new(), 0, UploadStatus::Ended(Err(error))),
        };
        self.uploads.push_back(Upload { acks, held_bytes, status });
    }

    /// The acks that are ready; once all were returned, the failure that ended the destination.
    fn answer(&mut self) -> Result<Vec<Ack>> {
        match &self.stage {
            Stage::Failed(error) if self.ready.is_empty() => Err(error.clone()),
            _ => Ok(std::mem::take(&mut self.ready)),
        }
    }

    fn end(&mut self, stage: Stage) {
        self.stage = stage;
        self.uploads.clear();
        self.buffer.clear();
        if let Some(objects) = &mut self.objects {
            objects.clear();
        }
    }
}

impl Upload {
    fn drive(&mut self, context: &mut Context<'_>) {
        if let UploadStatus::Running(storing) = &mut self.status
            && let Poll::Ready(result) = Pin::new(storing).poll(context)
        {
            self.status = UploadStatus::Ended(result);
            self.held_bytes = 0;
        }
    }
}

fn torn_down() -> Error {
    Error::closed("the destination was torn down: configure another one")
}

#[cfg(test)]
mod tests;
