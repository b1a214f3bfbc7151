//! Owns the copies of objects that are too large for one request: their parts go one after the other from the stream, and
//! are on their way at the same time. Leaves what was begun and not completed to `leftovers`.

use super::super::leftovers::Leftovers;
use super::super::parts::Parts;
use crate::limits;
use crate::ports::Ports;
use crate::s3::{Client, Multipart, NewObject, PutError, StoredPart};

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
    let mut parts = Parts::new(client.clone(), upload.clone(), most);
    let mut left = length;
    while left > 0 {
        let number = parts.next().await.map_err(PutError::Store)?;
        let bytes = left.min(part_bytes);
        left -= bytes;
        // Those before it go on meanwhile.
        let handing = client.put_part(upload, number, body, bytes, left == 0);
        let answer = parts.alongside(handing).await.map_err(PutError::Store)??;
        parts.add(answer);
    }
    parts.finish().await.map_err(PutError::Store)
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
