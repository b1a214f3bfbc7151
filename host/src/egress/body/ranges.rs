//! Owns how a large object comes over several connections: its first part from the answer itself, the others by range,
//! several at a time, handed out in order. Leaves what a part is checked for, and how it is resumed, to its parent.
//!
//! The answer's own connection is kept until the first part by range is here, so that a store that ignores ranges, or an
//! object that was replaced meanwhile, costs nothing but speed.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};

use super::super::budget::{Budget, PartRoom, Room};
use super::super::failure::Failure;
use super::{Reader, empty};
use crate::error::with_causes;

/// Objects from this size on come by ranges. Below it a connection of 50 MiB/s is done within 320 ms, and pipelines have many
/// objects at a time anyway.
const RANGED_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// One part: a first byte takes some 30 ms, which is a fifth of what 8 MiB take at 50 MiB/s.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Parts of one object that are on their way or wait to be read, where the reader waits for them: 64 MiB.
const PARTS_MAX: usize = 8;

/// The same where it does not: a source that decodes rows is slower than two connections, and what waits for it takes memory.
const PARTS_MIN: usize = 2;

/// The reader waits where it does so for more than this part of its time: with fewer parts it would be slower by as much.
const WAITS_OF: u32 = 8;

/// Reads one object by ranges.
pub(super) struct Ranged {
    /// The answer's own connection, or one that took its place.
    lead: Reader,
    /// Whether the lead's connection goes on at `at`.
    is_lead_open: bool,
    /// Whether parts were given up.
    is_alone: bool,
    /// What the lead gave beyond `lead_end`.
    spill: Bytes,
    lead_end: u64,
    /// The next byte to be handed out.
    at: u64,
    /// The next byte that nobody was asked for.
    next: u64,
    length: u64,
    parts: VecDeque<Part>,
    ready: VecDeque<Bytes>,
    /// Of what is ready.
    room: Option<PartRoom>,
    budget: Budget,
    pace: Pace,
}

/// Which is slower, the reader or the store. What was long ago counts for less.
#[derive(Default)]
struct Pace {
    waited: Duration,
    worked: Duration,
    /// When the reader was given the latest bytes.
    given: Option<Instant>,
}

impl Pace {
    /// The reader wants more. Whatever it did before its first bytes says nothing.
    fn asked(&mut self) -> Instant {
        let now = Instant::now();
        self.worked += self.given.map_or(Duration::ZERO, |given| now - given);
        now
    }

    /// The reader gets what it asked for then.
    fn gave(&mut self, asked: Instant) {
        let now = Instant::now();
        self.waited += now - asked;
        self.given = Some(now);
    }

    /// A part was read.
    fn forget(&mut self) {
        (self.waited, self.worked) = (self.waited / 2, self.worked / 2);
    }

    /// How many parts are worth it.
    fn parts(&self) -> usize {
        if self.waited * WAITS_OF > self.waited + self.worked { PARTS_MAX } else { PARTS_MIN }
    }
}

/// A part on its way, given up when it is dropped.
struct Part {
    bytes: u64,
    task: JoinHandle<Result<VecDeque<Bytes>, Failure>>,
    room: Option<PartRoom>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ranged {
    /// Whether an answer is worth it, and can be pinned: a whole, large object.
    pub(super) fn suits(reader: &Reader, status: StatusCode) -> bool {
        let is_large = reader.length.is_some_and(|length| length >= RANGED_BYTES_MIN);
        status == StatusCode::OK && is_large && reader.pin.is_some()
    }

    pub(super) fn new(lead: Reader, budget: &Budget) -> Self {
        let length = lead.length.unwrap_or_default();
        let lead_end = length.min(PART_BYTES);
        Self {
            lead,
            is_lead_open: true,
            is_alone: false,
            spill: Bytes::new(),
            lead_end,
            at: 0,
            next: lead_end,
            length,
            parts: VecDeque::new(),
            ready: VecDeque::new(),
            room: None,
            budget: budget.clone(),
            pace: Pace::default(),
        }
    }

    pub(super) fn lead(&self) -> &Reader {
        &self.lead
    }

    /// The next bytes of the object; none at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let asked = self.pace.asked();
        let next = self.next_bytes().await;
        self.pace.gave(asked);
        next
    }

    async fn next_bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            self.room = None;
            self.ask_ahead();
            if self.at < self.lead_end {
                return self.next_of_lead().await;
            }
            if self.at == self.length {
                // The lead notes the end, and an answer that is longer than announced.
                return if self.is_lead_open { self.lead.next().await } else { Ok(None) };
            }
            let Some(part) = self.parts.front_mut() else {
                self.lead_on().await?;
                continue;
            };
            let outcome = (&mut part.task).await.unwrap_or(Err(Failure::Internal));
            match outcome {
                Ok(pieces) => self.take(pieces),
                Err(failure) if self.is_lead_open => {
                    tracing::debug!(cause = %with_causes(&failure), "no part by range: the first connection goes on");
                    self.parts.clear();
                    self.is_alone = true;
                    self.lead_end = self.length;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Makes the first part what is handed out next. What the lead would say from here on is of no use.
    fn take(&mut self, pieces: VecDeque<Bytes>) {
        let Some(mut part) = self.parts.pop_front() else {
            return;
        };
        self.pace.forget();
        self.at += part.bytes;
        self.room = part.room.take();
        self.ready = pieces;
        self.lead.body = empty();
        self.is_lead_open = false;
        self.spill = Bytes::new();
    }

    async fn next_of_lead(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut data = std::mem::take(&mut self.spill);
        if data.is_empty() {
            data = self.lead.next().await?.unwrap_or_default();
        }
        let left = usize::try_from(self.lead_end - self.at).unwrap_or(usize::MAX);
        if data.len() > left {
            self.spill = data.split_off(left);
        }
        self.at += data.len() as u64;
        Ok(Some(data).filter(|data| !data.is_empty()))
    }

    /// Has the lead read one more part, since there is no room for parts.
    async fn lead_on(&mut self) -> Result<(), Failure> {
        if !self.is_lead_open {
            self.lead.received = self.at;
            self.lead.resumed_at = self.at;
            self.lead.open().await?;
            self.is_lead_open = true;
        }
        self.lead_end = (self.at + PART_BYTES).min(self.length);
        self.next = self.lead_end;
        Ok(())
    }

    /// Asks for as many parts as there is room for.
    fn ask_ahead(&mut self) {
        while !self.is_alone && self.next < self.length && self.parts.len() < self.pace.parts() {
            let bytes = PART_BYTES.min(self.length - self.next);
            let Some((room, slot)) = self.budget.try_part(bytes) else {
                return;
            };
            let Some(mut reader) = self.lead.part(self.next, bytes, slot) else {
                return;
            };
            let task = tokio::spawn(async move {
                reader.open().await?;
                let mut pieces = VecDeque::new();
                while let Some(data) = reader.next().await? {
                    pieces.push_back(data);
                }
                Ok(pieces)
            });
            self.parts.push_back(Part { bytes, task, room: Some(room) });
            self.next += bytes;
        }
    }
}

impl Reader {
    /// Reads a part of the same object, which nobody was asked for yet.
    fn part(&self, first: u64, bytes: u64, slot: Room) -> Option<Self> {
        let pin = self.pin.as_ref()?;
        Some(Self {
            underway: self.underway.clone(),
            outgoing: self.outgoing.clone(),
            body: empty(),
            received: 0,
            length: Some(bytes),
            pin: Some(pin.from(first)),
            resumes: 0,
            resumed_at: 0,
            hurries: 0,
            hurried_at: 0,
            _slot: slot,
        })
    }
}
