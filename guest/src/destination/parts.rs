//! Owns the parts of one object on their way: how many at the same time. Leaves the retries of each to `s3`, and what
//! becomes of the upload to `upload`.

use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::future::LocalBoxFuture;

use crate::limits;
use crate::payload::Payload;
use crate::ports::Ports;
use crate::s3::{Client, Multipart, Result, StoredPart};

/// The parts of an upload. Dropping them leaves the upload as it is.
pub(super) struct Parts<P> {
    client: Client<P>,
    upload: Multipart,
    running: Vec<LocalBoxFuture<'static, Result<StoredPart>>>,
    stored: Vec<StoredPart>,
    begun: u32,
}

impl<P: Ports> Parts<P> {
    /// No parts yet.
    pub(super) fn new(client: Client<P>, upload: Multipart) -> Self {
        Self { client, upload, running: Vec::new(), stored: Vec::new(), begun: 0 }
    }

    /// Sends the next part, once there is room for it among those on their way. It goes on with each later call.
    ///
    /// # Errors
    ///
    /// Why an earlier part could not be stored.
    pub(super) async fn push(&mut self, body: Payload) -> Result<()> {
        self.wait(limits::PARTS_IN_FLIGHT_MAX - 1).await?;
        self.begun += 1;
        let (client, upload, number) = (self.client.clone(), self.upload.clone(), self.begun);
        self.running.push(Box::pin(async move { client.upload_part(&upload, number, body).await }));
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

    /// Sends on what is on its way, as far as it goes without waiting.
    ///
    /// # Errors
    ///
    /// Why a part could not be stored.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> Result<()> {
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
