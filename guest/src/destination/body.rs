//! Owns the reading of bodies that a record holds by handle, and the check that they are whole. Leaves all other checks
//! of a record to `buffer`.

use bytes::Bytes;

use super::buffer;
use crate::error::{Error, ErrorKind, Result};
use crate::limits;
use crate::payload::Writer;
use crate::ports::{Body, TransportError};
use crate::record::{NoBody, Record};

/// Reads the bodies that a record holds by handle.
///
/// # Errors
///
/// `invalid` for more bytes than a destination takes, `corrupt` for another length than was declared, `unavailable`
/// where a body breaks off.
pub(super) async fn read<B: Body>(record: Record<B>) -> Result<Record<NoBody>> {
    record.read_bodies(|field, length, mut body| async move { read_body(field, length, &mut body).await }).await
}

/// Reads one.
///
/// # Errors
///
/// As for [`read`].
pub(super) async fn read_body<B: Body>(field: &'static str, length: Option<u64>, body: &mut B) -> Result<Bytes> {
    let max = limits::RECORD_BYTES_MAX;
    if let Some(length) = length.filter(|length| *length > max) {
        return Err(buffer::too_large(length));
    }
    let mut first = Bytes::new();
    let mut more = Joined::new(length);
    let mut count = 0;
    loop {
        let piece = body.read().await.map_err(|why| broken_off(field, &why))?;
        let Some(piece) = piece else { break };
        count += piece.len() as u64;
        if count > length.unwrap_or(max) {
            break;
        }
        // A body of one piece stays where it is.
        if count == piece.len() as u64 {
            first = piece;
            continue;
        }
        more.put(&std::mem::take(&mut first));
        more.put(&piece);
    }
    match length {
        Some(length) if count != length => Err(of_another_length(field, count, length)),
        None if count > max => Err(buffer::too_large(count)),
        _ if count == first.len() as u64 => Ok(first),
        _ => Ok(more.finish()),
    }
}

/// The error for a body that broke off.
pub(super) fn broken_off(field: &str, why: &TransportError) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the body of the record's `{field}` broke off: {why}"))
}

/// The error for a body of `count` bytes, or more, that was to have `length`.
pub(super) fn of_another_length(field: &str, count: u64, length: u64) -> Error {
    let relation = if count < length { "is shorter" } else { "is longer" };
    Error::corrupt(format!("the body of the record's `{field}` {relation} than its declared {length} bytes"))
}

/// Pieces that become one, in no more memory than the whole takes.
enum Joined {
    /// Of a length that was declared.
    Whole(Vec<u8>, usize),
    /// Of a length that is known at the end alone: a vector would double on its way there.
    Pieces(Writer),
}

impl Joined {
    fn new(length: Option<u64>) -> Self {
        match length.and_then(|length| usize::try_from(length).ok()) {
            Some(length) => Self::Whole(Vec::new(), length),
            None => Self::Pieces(Writer::default()),
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        match self {
            Self::Whole(whole, length) => {
                whole.reserve_exact(*length - whole.len());
                whole.extend_from_slice(bytes);
            }
            Self::Pieces(pieces) => pieces.put(bytes),
        }
    }

    fn finish(self) -> Bytes {
        match self {
            Self::Whole(whole, _) => Bytes::from(whole),
            Self::Pieces(pieces) => pieces.finish().into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Change, Data, Metadata, Operation};
    use crate::testing::{Pieces, TestPorts};

    fn body(length: Option<u64>, pieces: &[&[u8]]) -> Option<Data<Pieces>> {
        Some(Data::Body { length, bytes: Pieces::of(pieces) })
    }

    fn raw(bytes: &'static [u8]) -> Option<Data<NoBody>> {
        Some(Data::Raw(Bytes::from_static(bytes)))
    }

    fn read_one(data: Option<Data<Pieces>>) -> Result<Option<Data<NoBody>>> {
        let record = Record {
            position: Bytes::new(),
            operation: Operation::Create,
            metadata: Metadata::new(),
            key: None,
            payload: Change { before: None, after: data },
        };
        TestPorts::new(1).block_on(read(record)).map(|record| record.payload.after)
    }

    #[test]
    fn pieces_are_put_together() {
        let cases: [(&[&[u8]], &[u8]); 4] = [
            (&[], b""),
            (&[b""], b""),
            (&[b"one"], b"one"),
            (&[b"", b"one ", b"", b"two ", b"three", b""], b"one two three"),
        ];
        for (pieces, whole) in cases {
            for length in [None, Some(whole.len() as u64)] {
                assert_eq!(read_one(body(length, pieces)), Ok(raw(whole)), "{pieces:?}");
            }
        }
    }

    #[test]
    fn every_field_is_read() {
        let record = Record {
            position: Bytes::from_static(b"p"),
            operation: Operation::Update,
            metadata: Metadata::new(),
            key: body(None, &[b"key"]),
            payload: Change { before: body(None, &[b"before"]), after: body(None, &[b"after"]) },
        };
        let read = TestPorts::new(1).block_on(read(record)).expect("reads");
        assert_eq!(read.key, raw(b"key"));
        assert_eq!(read.payload, Change { before: raw(b"before"), after: raw(b"after") });
    }

    #[test]
    fn a_body_of_another_length_is_refused() {
        for (length, expected) in [(2, "longer"), (4, "shorter"), (0, "longer")] {
            let error = read_one(body(Some(length), &[b"ab", b"c"])).expect_err(expected);
            assert_eq!(error.kind, ErrorKind::Corrupt);
            let expected = format!("is {expected} than its declared {length} bytes");
            assert!(error.message.contains(&expected), "{error}");
        }
    }

    #[test]
    fn a_body_larger_than_any_record_is_not_read_to_its_end() {
        let piece = Bytes::from(vec![0; 1 << 20]);
        let pieces = (0..100).map(|_| Ok(piece.clone())).collect();
        let mut endless = Pieces { left: pieces, ..Pieces::default() };
        let error = TestPorts::new(1).block_on(read_body("key", None, &mut endless));
        assert!(error.expect_err("too large").message.contains("dead-letter"));
        assert_eq!(endless.left.len(), 100 - 65);
        let declared = read_one(body(Some(limits::RECORD_BYTES_MAX + 1), &[b"a"]));
        assert_eq!(declared.expect_err("too large").kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_body_that_breaks_off_says_so() {
        let bytes = Pieces::of(&[b"ab"]).broken();
        let error = read_one(Some(Data::Body { length: Some(2), bytes })).expect_err("breaks");
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("`payload.after` broke off: connection reset"), "{error}");
    }
}
