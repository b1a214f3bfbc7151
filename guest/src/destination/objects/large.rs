//! Owns the copies of objects that are too large for one request: their parts go one after the other from the stream, and
//! are on their way at the same time. Leaves what was begun and not completed to `leftovers`.

use std::pin::pin;

use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::super::leftovers::Leftovers;
use crate::limits;
use crate::ports::Ports;
use crate::s3::{self, Client, Multipart, NewObject, PutError, StoredPart};

/// Bytes of one object's parts that are on their way, which the host holds.
pub(super) const RUNNING_BYTES: u64 = (limits::PART_BYTES * limits::PARTS_IN_FLIGHT_MAX) as u64;

/// Writes an object of `length` bytes in parts.
pub(super) async fn put<P: Ports>(
    client: &Client<P>,
    leftovers: &Leftovers<P>,
    object: &NewObject,
    body: &mut P::Body,
    length: u64,
) -> Result<(), PutError> {
    let upload = client.begin_upload(object).await.map_err(PutError::Store)?;
    leftovers.remember(&upload);
    let stored = match put_parts(client, &upload, body, length).await {
        Ok(parts) => client.complete_multipart_upload(&upload, &parts, false).await.map_err(PutError::Store),
        Err(error) => Err(error),
    };
    match stored {
        Ok(_) => {
            leftovers.forget(&upload);
            Ok(())
        }
        Err(error) => {
            let _ = leftovers.abort(&upload).await;
            Err(error)
        }
    }
}

/// Bytes of a part: so many that there are no more parts than S3 takes.
fn part_bytes(length: u64) -> u64 {
    let least = length.div_ceil(limits::PARTS_MAX);
    least.next_multiple_of(1 << 20).max(limits::PART_BYTES as u64)
}

async fn put_parts<P: Ports>(
    client: &Client<P>,
    upload: &Multipart,
    body: &mut P::Body,
    length: u64,
) -> Result<Vec<StoredPart>, PutError> {
    let part_bytes = part_bytes(length);
    let most = usize::try_from(RUNNING_BYTES / part_bytes).unwrap_or(1).max(1);
    let mut running: FuturesUnordered<LocalBoxFuture<'static, s3::Result<StoredPart>>> = FuturesUnordered::new();
    let (mut stored, mut left, mut number) = (Vec::new(), length, 0);
    while left > 0 {
        while running.len() >= most {
            stored.extend(running.next().await.transpose().map_err(PutError::Store)?);
        }
        number += 1;
        let bytes = left.min(part_bytes);
        left -= bytes;
        let mut handing = pin!(client.put_part(upload, number, body, bytes, left == 0));
        // Those before it go on meanwhile.
        let answer = loop {
            if running.is_empty() {
                break handing.await?;
            }
            match select(handing, running.next()).await {
                Either::Left((answer, _)) => break answer?,
                Either::Right((part, still)) => {
                    stored.extend(part.transpose().map_err(PutError::Store)?);
                    handing = still;
                }
            }
        };
        running.push(answer);
    }
    while let Some(part) = running.next().await {
        stored.push(part.map_err(PutError::Store)?);
    }
    stored.sort_by_key(|part| part.number);
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_many_as_a_store_takes() {
        assert_eq!(part_bytes(limits::PUT_BYTES_MAX as u64 + 1), limits::PART_BYTES as u64);
        for length in [5 << 30, 100 << 30, limits::COPY_BYTES_MAX] {
            let bytes = part_bytes(length);
            assert!(length.div_ceil(bytes) <= limits::PARTS_MAX && bytes <= 256 << 20, "{length}");
        }
    }
}
