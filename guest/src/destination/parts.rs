//! Owns the parts of one object on their way: how many at the same time. Leaves the retries of each to `s3`, and what
//! becomes of the upload to `upload`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use crate::payload::Payload;
use crate::ports::Ports;
use crate::s3::{Client, Multipart, Result, StoredPart};

/// The parts of an upload. Dropping them leaves the upload as it is.
pub(super) struct Parts<P> {
    client: Client<P>,
    upload: Multipart,
    /// How many may be on their way.
    most: usize,
    running: Vec<LocalBoxFuture<'static, Result<StoredPart>>>,
    stored: Vec<StoredPart>,
    begun: u32,
}

impl<P: Ports> Parts<P> {
    /// No parts yet, of which at most so many will be on their way.
    pub(super) fn new(client: Client<P>, upload: Multipart, most: usize) -> Self {
        Self { client, upload, most, running: Vec::new(), stored: Vec::new(), begun: 0 }
    }

    /// The number of the next part, once there is room for it among those on their way.
    ///
    /// # Errors
    ///
    /// Why an earlier part could not be stored.
    pub(super) async fn next(&mut self) -> Result<u32> {
        self.wait(self.most - 1).await?;
        self.begun += 1;
        Ok(self.begun)
    }

    /// Adds what becomes of a part that is on its way.
    pub(super) fn add(&mut self, part: LocalBoxFuture<'static, Result<StoredPart>>) {
        self.running.push(part);
    }

    /// Sends the next part, once there is room for it among those on their way. It goes on with each later call.
    ///
    /// # Errors
    ///
    /// Why an earlier part could not be stored.
    pub(super) async fn push(&mut self, body: Payload) -> Result<()> {
        let number = self.next().await?;
        let (client, upload) = (self.client.clone(), self.upload.clone());
        self.add(Box::pin(async move { client.upload_part(&upload, number, body).await }));
        // It is on its way from now on.
        poll_fn(|context| Poll::Ready(self.drive(context))).await
    }

    /// Waits for all parts, and gives them in their order.
    ///
    /// # Errors
    ///
    /// Why a part could not be stored.
    pub(super) async fn finish(&mut self) -> Result<Vec<StoredPart>> {
        self.wait(0).await?;
        let mut stored = std::mem::take(&mut self.stored);
        stored.sort_by_key(|part| part.number);
        Ok(stored)
    }

    /// Waits for something else, and sends on what is on its way at the same time.
    ///
    /// # Errors
    ///
    /// Why a part could not be stored.
    pub(super) async fn alongside<T>(&mut self, other: impl Future<Output = T>) -> Result<T> {
        let mut other = pin!(other);
        poll_fn(|context| match self.drive(context) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) => other.as_mut().poll(context).map(Ok),
        })
        .await
    }

    /// Sends on what is on its way, as far as it goes without waiting.
    ///
    /// # Errors
    ///
    /// Why a part could not be stored.
    fn drive(&mut self, context: &mut Context<'_>) -> Result<()> {
        let mut failed = None;
        self.running.retain_mut(|part| match part.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(part)) => {
                self.stored.push(part);
                false
            }
            Poll::Ready(Err(error)) => {
                failed.get_or_insert(error);
                false
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Waits until at most so many are on their way.
    async fn wait(&mut self, most: usize) -> Result<()> {
        poll_fn(|context| match self.drive(context) {
            Err(error) => Poll::Ready(Err(error)),
            Ok(()) if self.running.len() <= most => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
        })
        .await
    }
}
