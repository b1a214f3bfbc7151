//! Owns the promise that a body is as long as its record says: a stream that is not fails for every reader. Leaves what
//! becomes of the record to its reader.

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynInputStream, InputStream, Pollable, StreamError, StreamResult};

/// A body is not as long as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("a body is longer than its record says; length=`{length}`")]
    Longer { length: u64 },
    #[error("a body is shorter than its record says; length=`{length}`, bytes=`{bytes}`")]
    Shorter { length: u64, bytes: u64 },
}

/// A stream that counts what comes.
struct Counted {
    stream: DynInputStream,
    length: u64,
    bytes: u64,
}

/// The stream of a body of this length; as it is where the sender did not say.
pub(super) fn counted(stream: DynInputStream, length: Option<u64>) -> DynInputStream {
    match length {
        Some(length) => Box::new(Counted { stream, length, bytes: 0 }),
        None => stream,
    }
}

impl InputStream for Counted {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let (length, bytes) = (self.length, self.bytes);
        match self.stream.read(size) {
            Ok(piece) => {
                self.bytes = bytes.saturating_add(piece.len() as u64);
                if self.bytes > length {
                    return Err(failed(Mismatch::Longer { length }));
                }
                Ok(piece)
            }
            Err(StreamError::Closed) if bytes < length => Err(failed(Mismatch::Shorter { length, bytes })),
            other => other,
        }
    }
}

fn failed(mismatch: Mismatch) -> StreamError {
    StreamError::LastOperationFailed(mismatch.into())
}

#[async_trait]
impl Pollable for Counted {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi::p2::pipe::MemoryInputPipe;

    use super::super::Body;
    use crate::error::ErrorKind;

    fn body(text: &'static str, length: Option<u64>) -> Body {
        Body::new(Box::new(MemoryInputPipe::new(text)), length)
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_it_says_or_an_error() {
        for length in [None, Some(5)] {
            let whole = body("whole", length).collect().await;
            assert_eq!(whole.unwrap(), "whole");
        }
        for (length, why) in [(4, "longer"), (0, "longer"), (6, "shorter"), (u64::MAX, "shorter")] {
            let error = body("whole", Some(length)).collect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "nothing to wait for: {error}");
            let expected = format!("a body is {why} than its record says; length=`{length}`");
            assert!(error.message().starts_with(&expected), "{error}");
        }
    }
}
