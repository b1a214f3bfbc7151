//! Owns how much of requests and answers the host holds for one instance: bytes of bodies, and requests in flight.
//! Leaves to the egress what is asked for and when.
//!
//! Bytes count from the moment at which the host has them until nobody holds them any more: in a body that is being
//! collected or is on its way, in an answer that nobody has read, in a record that waits for a destination.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::timeout;

use super::failure::Failure;

/// Bytes of bodies that are held for one instance. A source has 128 MiB fetched ahead and four batches of at most 64 MiB
/// on their way through a pipeline; a destination has parts of 8 MiB, eight at a time, or those of copies, of up to 105 MiB.
pub const HELD_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Requests of one instance whose answers are not all here, and so its connections. A source has 512 fetches in flight and
/// a listing; larger objects stay in their sockets until they are read, 128 ahead and 256 on their way. What the HTTP client
/// has read of each and nobody has asked for is not counted: 400 KiB at most.
pub const IN_FLIGHT_MAX: usize = 1024;

/// Parts of large objects that one instance has on their way or ready: two objects' worth, 128 MiB.
const PARTS_MAX: usize = 16;

/// How long a request waits for room. Uploads of 64 MiB over a slow line take four minutes; a request that waits longer waits
/// for itself.
pub const ROOM_TIMEOUT: Duration = Duration::from_secs(300);

/// What one instance may hold. Clones are the same budget.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    bytes: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    parts: Arc<Semaphore>,
}

/// Bytes, or a request, that count as long as this lives.
#[derive(Debug)]
pub(super) struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A part of a large object that counts as long as this lives.
#[derive(Debug)]
pub(super) struct PartRoom {
    _part: OwnedSemaphorePermit,
    _bytes: Room,
}

/// Bytes of a body that count as long as anybody holds a part of them.
struct Held {
    bytes: Bytes,
    _room: Room,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Budget {
    pub(super) fn new() -> Self {
        let bytes = usize::try_from(HELD_BYTES_MAX).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            bytes: Arc::new(Semaphore::new(bytes)),
            requests: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            parts: Arc::new(Semaphore::new(PARTS_MAX)),
        }
    }

    /// Waits until another request may be in flight.
    pub(super) async fn request(&self) -> Result<Room, Failure> {
        let crowded = || Failure::Crowded { in_flight_max: IN_FLIGHT_MAX };
        let permit = timeout(ROOM_TIMEOUT, Arc::clone(&self.requests).acquire_owned()).await;
        let permit = permit.map_err(|_| crowded())?.map_err(|_| crowded())?;
        Ok(Room { _permit: Some(permit) })
    }

    /// Waits until this many bytes may be held: all at once, so that no two of those who wait hold what the other needs.
    pub(super) async fn bytes(&self, bytes: u64) -> Result<Room, Failure> {
        if bytes == 0 {
            return Ok(Room { _permit: None });
        }
        let count = u32::try_from(bytes).map_err(|_| no_room())?;
        let permit = Arc::clone(&self.bytes).acquire_many_owned(count);
        let permit = timeout(ROOM_TIMEOUT, permit).await;
        let permit = permit.map_err(|_| no_room())?.map_err(|_| no_room())?;
        Ok(Room { _permit: Some(permit) })
    }

    /// Room for this many bytes if there is any now.
    pub(super) fn try_bytes(&self, bytes: u64) -> Result<Room, Failure> {
        if bytes == 0 {
            return Ok(Room { _permit: None });
        }
        let count = u32::try_from(bytes).map_err(|_| no_room())?;
        match Arc::clone(&self.bytes).try_acquire_many_owned(count) {
            Ok(permit) => Ok(Room { _permit: Some(permit) }),
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => Err(no_room()),
        }
    }

    /// Room for a part of a large object, if there is any now, and for the request that asks for it.
    pub(super) fn try_part(&self, bytes: u64) -> Option<(PartRoom, Room)> {
        let part = Arc::clone(&self.parts).try_acquire_owned().ok()?;
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let bytes = self.try_bytes(bytes).ok()?;
        Some((PartRoom { _part: part, _bytes: bytes }, Room { _permit: Some(request) }))
    }
}

impl Room {
    /// Adds other room of the same kind.
    pub(super) fn merge(&mut self, other: Self) {
        match (&mut self._permit, other._permit) {
            (Some(permit), Some(other)) => permit.merge(other),
            (permit @ None, other) => *permit = other,
            (Some(_), None) => {}
        }
    }

    /// Binds bytes to the room that they take.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        Bytes::from_owner(Held { bytes, _room: self })
    }
}

fn no_room() -> Failure {
    Failure::NoRoom { bytes_max: HELD_BYTES_MAX }
}
