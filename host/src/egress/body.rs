//! Owns answers' bodies on their way in: short ones are read at once, long ones are streamed, and one that
//! breaks is resumed where it broke. Leaves what a second answer must be to `pin`, large objects to `ranges`, the requests
//! to its parent.
//!
//! What reaches the guest is exactly as long as S3 announced, or ends with an error.

mod pin;
mod ranges;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use futures_util::stream;
use http::{HeaderMap, StatusCode, header, response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use wasmtime_wasi_http::WasiBody;

use self::pin::{Pin, Span};
use self::ranges::Ranged;
use super::budget::{Budget, Room};
use super::exchange::{Exchange, STALL_TIMEOUT, Underway, next_data};
use super::failure::Failure;
use super::hurry::LATE_AFTER;
use super::operation::S3Operation;
use super::request::{Outgoing, parse_length};
use super::upstream::UpstreamBody;
use crate::error::with_causes;

/// Answers up to this size are read at once, so that their connection is free for the next request: 1 MiB is
/// 20 ms of a connection's 50 MiB/s, less than the time to a first byte.
pub const DRAIN_BYTES_MAX: u64 = 1024 * 1024;

/// Attempts to resume a body, before the guest hears of it.
const RESUMES_MAX: u32 = 5;

/// Second requests for bytes that are late, before the guest hears of it.
const HURRIES_MAX: u32 = 3;

/// A body that went on for this long after it was resumed has its attempts back: a long one may meet many
/// resets, and still arrive.
const PROGRESS_BYTES_MIN: u64 = 1024 * 1024;

/// The pause before the first attempt; it doubles: 100, 200, 400, 800, 1,600 ms.
const BACKOFF: Duration = Duration::from_millis(100);

/// Reads one answer's body.
pub(super) struct Reader {
    underway: Underway,
    outgoing: Outgoing,
    body: UpstreamBody,
    received: u64,
    /// The length that S3 announced.
    length: Option<u64>,
    pin: Option<Pin>,
    resumes: u32,
    /// `received` when the body was last resumed.
    resumed_at: u64,
    /// Second requests for bytes that were late.
    hurries: u32,
    /// `received` when the last one was sent.
    hurried_at: u64,
    /// The request is in flight for as long as this lives.
    _slot: Room,
}

impl Reader {
    pub(super) fn new(
        underway: Underway,
        mut outgoing: Outgoing,
        parts: &response::Parts,
        body: UpstreamBody,
        slot: Room,
    ) -> Self {
        // Its room is for others: only requests without a body are sent again from here.
        outgoing.body = Bytes::new();
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(parse_length);
        let is_object = outgoing.operation == S3Operation::GetObject;
        Self {
            underway,
            outgoing,
            body,
            received: 0,
            length,
            pin: length.filter(|_| is_object).and_then(|length| Pin::of(parts, length)),
            resumes: 0,
            resumed_at: 0,
            hurries: 0,
            hurried_at: 0,
            _slot: slot,
        }
    }

    /// The body for the guest: whole if it is short and there is room, otherwise a stream. A body without a length is read
    /// until it ends or turns out to be long; one that ended has a length now, which the guest compares with what was
    /// listed. What has no room stays where it is, in its connection, until it is read.
    pub(super) async fn into_body(
        mut self,
        status: StatusCode,
        headers: &mut HeaderMap,
        budget: &Budget,
    ) -> Result<WasiBody, Failure> {
        if Ranged::suits(&self, status) {
            return Ok(Self::into_ranges(Ranged::new(self, budget)));
        }
        if self.length.is_some_and(|length| length > DRAIN_BYTES_MAX) {
            return Ok(self.into_stream(None));
        }
        let Ok(mut room) = budget.try_bytes(self.length.unwrap_or_default()) else {
            return Ok(self.into_stream(None));
        };
        // What comes is copied while it is in the processor's cache, and frees the connection's buffer for what follows: a
        // slice of that would keep all of it in memory.
        let mut gathered = Vec::with_capacity(usize::try_from(self.length.unwrap_or_default()).unwrap_or_default());
        while self.received <= DRAIN_BYTES_MAX {
            let Some(data) = self.next().await? else {
                let length = headers.entry(header::CONTENT_LENGTH);
                length.or_insert_with(|| self.received.into());
                return Ok(whole(room.hold(exact(gathered))));
            };
            let more = match self.length {
                Some(_) => Ok(()),
                None => budget.try_bytes(data.len() as u64).map(|more| room.merge(more)),
            };
            gathered.extend_from_slice(&data);
            if more.is_err() {
                break;
            }
        }
        Ok(self.into_stream(Some(room.hold(exact(gathered)))))
    }

    /// A whole document; nothing where it is longer than `bytes_max`: what was cut off half way could not be searched.
    pub(super) async fn into_document(mut self, bytes_max: usize) -> Result<BytesMut, Failure> {
        let mut document = BytesMut::new();
        while let Some(data) = self.next().await? {
            document.extend_from_slice(&data);
            if document.len() > bytes_max {
                return Ok(BytesMut::new());
            }
        }
        Ok(document)
    }

    /// The rest as it comes, after the bytes that are here.
    fn into_stream(self, begun: Option<Bytes>) -> WasiBody {
        let frames = stream::unfold(Some((self, begun)), |state| async {
            let (mut reader, begun) = state?;
            let next = match begun {
                Some(data) => Ok(Some(data)),
                None => reader.next().await,
            };
            match next {
                Ok(None) => None,
                Ok(Some(data)) => Some((Ok(Frame::data(data)), Some((reader, None)))),
                Err(failure) => Some((Err(reader.underway.failed(failure)), None)),
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }

    fn into_ranges(ranged: Ranged) -> WasiBody {
        let frames = stream::unfold(Some(ranged), |state| async {
            let mut ranged = state?;
            match ranged.next().await {
                Ok(None) => None,
                Ok(Some(data)) => Some((Ok(Frame::data(data)), Some(ranged))),
                Err(failure) => Some((Err(ranged.lead().underway.failed(failure)), None)),
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// The next bytes, from this answer or from one that resumes it.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let missing = self.length.map(|length| length - self.received);
            let failure = match (self.data().await, missing) {
                (Ok(Some(data)), missing) => {
                    let bytes = data.len() as u64;
                    if missing.is_some_and(|missing| bytes > missing) {
                        return Err(Failure::Excess);
                    }
                    self.received += bytes;
                    self.underway.exchange.counters.received(data.len());
                    return Ok(Some(data));
                }
                // All is here; that the connection then ended badly is no matter.
                (_, Some(0)) | (Ok(None), None) => {
                    tracing::debug!(bytes = self.received, "received");
                    return Ok(None);
                }
                (Ok(None), Some(missing)) => Failure::Short { missing },
                (Err(failure), _) => failure,
            };
            self.resume(failure).await?;
        }
    }

    /// The next bytes of this answer or, once they are late, of another connection that gives them earlier.
    async fn data(&mut self) -> Result<Option<Bytes>, Failure> {
        match next_data(&mut self.body, LATE_AFTER).await {
            Err(Failure::Stalled { .. }) => {}
            outcome => return outcome,
        }
        let left = STALL_TIMEOUT - LATE_AFTER;
        let Some(request) = self.second_request() else {
            return next_data(&mut self.body, left).await.map_err(whole_stall);
        };
        let (data, body) = {
            let here = pin!(next_data(&mut self.body, left));
            let there = pin!(async {
                let mut body = request.send().await?;
                let data = next_data(&mut body, left).await?;
                Ok::<_, Failure>((data, body))
            });
            match select(here, there).await {
                // Where it stalled, the other one has had as long.
                Either::Left((Err(failure), there)) if !matches!(failure, Failure::Stalled { .. }) => there.await?,
                Either::Left((outcome, _)) => return outcome.map_err(whole_stall),
                Either::Right((Ok(found), _)) => found,
                Either::Right((Err(_), here)) => return here.await.map_err(whole_stall),
            }
        };
        self.underway.exchange.counters.resumed();
        self.body = body;
        Ok(data)
    }

    /// The request for what is missing, where another connection may be tried for bytes that are late.
    fn second_request(&mut self) -> Option<RestRequest> {
        if self.received - self.hurried_at >= PROGRESS_BYTES_MIN {
            self.hurries = 0;
        }
        let request = self.rest().filter(|_| self.hurries < HURRIES_MAX)?;
        let exchange = &self.underway.exchange;
        if !exchange.hurry.spend(exchange.counters.requests()) {
            return None;
        }
        tracing::debug!(received = self.received, length = self.length, "bytes are late: another connection is tried");
        self.hurries += 1;
        self.hurried_at = self.received;
        Some(request)
    }

    /// Asks for what is missing in a request of its own.
    async fn open(&mut self) -> Result<(), Failure> {
        match self.ask_for_rest().await {
            Ok(body) => {
                self.body = body;
                Ok(())
            }
            Err(failure) => self.resume(failure).await,
        }
    }

    /// Puts the rest of the object in the place of a body that broke.
    async fn resume(&mut self, mut cause: Failure) -> Result<(), Failure> {
        if self.pin.is_none() {
            return Err(cause);
        }
        if self.received - self.resumed_at >= PROGRESS_BYTES_MIN {
            self.resumes = 0;
        }
        // Closes the connection that failed.
        self.body = empty();
        while cause.is_passing() && self.resumes < RESUMES_MAX {
            self.resumes += 1;
            tracing::debug!(
                operation = self.outgoing.operation.name(),
                received = self.received,
                length = self.length,
                attempt = self.resumes,
                cause = %with_causes(&cause),
                "resuming a broken body"
            );
            tokio::time::sleep(BACKOFF * 2_u32.pow(self.resumes - 1)).await;
            match self.ask_for_rest().await {
                Ok(body) => {
                    self.underway.exchange.counters.resumed();
                    self.body = body;
                    self.resumed_at = self.received;
                    return Ok(());
                }
                Err(failure) => cause = failure,
            }
        }
        Err(cause)
    }

    /// The answer with what is missing, from a second request where the first is late.
    async fn ask_for_rest(&mut self) -> Result<UpstreamBody, Failure> {
        let request = self.rest().ok_or(Failure::Internal)?;
        let mut first = pin!(request.send());
        if let Ok(outcome) = tokio::time::timeout(LATE_AFTER, &mut first).await {
            return outcome;
        }
        let Some(second) = self.second_request() else {
            return first.await;
        };
        match select(first, pin!(second.send())).await {
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
            Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
        }
    }

    /// The request for what is missing; `None` where the answer is pinned by nothing.
    fn rest(&self) -> Option<RestRequest> {
        let (pin, length) = self.pin.as_ref().zip(self.length)?;
        let span = Span { first: pin.first + self.received, last: (pin.first + length).checked_sub(1)? };
        // Nothing is missing where a connection hangs after the last byte.
        if span.first > span.last {
            return None;
        }
        let outgoing = pin.request(&self.outgoing, span);
        Some(RestRequest { exchange: Arc::clone(&self.underway.exchange), outgoing, pin: pin.clone(), span })
    }
}

/// A request for what is missing of a body. It borrows nothing of the reader, whose body can't be shared between threads.
struct RestRequest {
    exchange: Arc<Exchange>,
    outgoing: Outgoing,
    pin: Pin,
    span: Span,
}

impl RestRequest {
    async fn send(self) -> Result<UpstreamBody, Failure> {
        let response = self.exchange.exchange(&self.outgoing).await?;
        self.pin.check(response, &self.outgoing, self.span)
    }
}

/// A stall as it is told: from the last byte on.
fn whole_stall(failure: Failure) -> Failure {
    match failure {
        Failure::Stalled { .. } => Failure::Stalled { seconds: STALL_TIMEOUT.as_secs() },
        other => other,
    }
}

/// Bytes that take no more room than they are.
fn exact(mut bytes: Vec<u8>) -> Bytes {
    bytes.shrink_to_fit();
    Bytes::from(bytes)
}

/// A body of nothing, in the place of one that is given up.
fn empty() -> UpstreamBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is all there.
pub(super) fn whole(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
