//! Owns bodies of requests and answers: read whole, sent in chunks, broken off when a fault requires it. Leaves when to
//! break one off to the wire.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use s3s::StdError;
use s3s::dto::StreamingBlob;
use s3s::stream::{ByteStream, RemainingLength};

/// How much of an object is handed to a connection at a time.
const CHUNK_BYTES: usize = 128 * 1024;

/// Reads a request's body whole. A body that came in one piece is not copied.
pub(crate) async fn read<B>(body: B, length: Option<usize>) -> Result<Bytes, B::Error>
where
    B: HttpBody<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut collected = Collected::new(length);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            collected.push(data);
        }
    }
    Ok(collected.finish())
}

/// Reads the body that `s3s` passes to an operation, checking it on the way.
pub(crate) async fn read_blob(blob: StreamingBlob, length: Option<usize>) -> Result<Bytes, StdError> {
    let mut blob = blob;
    let mut collected = Collected::new(length);
    while let Some(data) = blob.next().await {
        collected.push(data?);
    }
    Ok(collected.finish())
}

struct Collected {
    first: Bytes,
    all: Option<BytesMut>,
    length: usize,
}

impl Collected {
    fn new(length: Option<usize>) -> Self {
        Self { first: Bytes::new(), all: None, length: length.unwrap_or_default() }
    }

    fn push(&mut self, data: Bytes) {
        if let Some(all) = &mut self.all {
            all.extend_from_slice(&data);
        } else if self.first.is_empty() {
            self.first = data;
        } else {
            let mut all = BytesMut::with_capacity(self.length.max(self.first.len() + data.len()));
            all.extend_from_slice(&self.first);
            all.extend_from_slice(&data);
            self.all = Some(all);
        }
    }

    fn finish(self) -> Bytes {
        self.all.map_or(self.first, BytesMut::freeze)
    }
}

/// An object's bytes on their way out.
pub(crate) struct Chunks {
    pieces: VecDeque<Bytes>,
    remaining: usize,
}

impl Chunks {
    pub(crate) fn new(pieces: Vec<Bytes>) -> Self {
        let remaining = pieces.iter().map(Bytes::len).sum();
        Self { pieces: pieces.into(), remaining }
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(piece) = self.pieces.front_mut() else {
            return Poll::Ready(None);
        };
        let chunk = piece.split_to(piece.len().min(CHUNK_BYTES));
        if piece.is_empty() {
            self.pieces.pop_front();
        }
        self.remaining -= chunk.len();
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl ByteStream for Chunks {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.remaining)
    }
}

/// A body that fails after this many bytes, which makes the server close the connection.
pub(crate) struct Broken {
    inner: s3s::Body,
    remaining: u64,
    flushed: bool,
}

impl Broken {
    pub(crate) fn new(inner: s3s::Body, body_bytes: u64) -> Self {
        Self { inner, remaining: body_bytes, flushed: false }
    }
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        if self.remaining > 0 {
            let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context)?);
            if let Some(mut data) = frame.and_then(|frame| frame.into_data().ok()) {
                let kept = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                data.truncate(kept);
                self.remaining -= data.len() as u64;
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.remaining = 0;
        }
        // The connection sends what it has only while it waits for more.
        if !self.flushed {
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err("a fault broke the body off".into())))
    }

    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        // What the whole body would be, so that it is announced as if nothing were wrong.
        HttpBody::size_hint(&self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn body_in_one_piece_is_not_copied() {
        let sent = Bytes::from_static(b"whole");
        let read = read(Full::new(sent.clone()), Some(5)).await.unwrap();
        assert_eq!(read.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn object_is_sent_in_chunks() {
        let chunks = Chunks::new(vec![Bytes::from(vec![1; CHUNK_BYTES + 1]), Bytes::from_static(b"x")]);
        let lengths: Vec<usize> = chunks.map(|chunk| chunk.unwrap().len()).collect().await;
        assert_eq!(lengths, [CHUNK_BYTES, 1, 1]);
    }

    #[tokio::test]
    async fn broken_body_ends_in_an_error() {
        let mut body = Broken::new(Bytes::from_static(b"abcdef").into(), 3);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.frame().await.unwrap().is_err());
    }
}
