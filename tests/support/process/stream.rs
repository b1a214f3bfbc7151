//! Owns one stream of a process, gathered as it comes, so that the process never waits for its reader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What came so far, and how many whole lines that is.
pub(super) struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    lines: watch::Receiver<usize>,
    task: Option<JoinHandle<()>>,
}

impl Stream {
    /// A stream that goes elsewhere.
    pub(super) fn empty() -> Self {
        Self { bytes: Arc::default(), lines: watch::Sender::new(0).subscribe(), task: None }
    }

    /// Reads until the end.
    pub(super) fn of(mut reader: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (sender, lines) = watch::channel(0);
        let gathered = Arc::clone(&bytes);
        let task = tokio::spawn(async move {
            let mut piece = vec![0; 64 << 10];
            while let Ok(read @ 1..) = reader.read(&mut piece).await {
                let piece = &piece[..read];
                lock(&gathered).extend_from_slice(piece);
                let ends = piece.iter().filter(|byte| **byte == b'\n').count();
                sender.send_modify(|lines| *lines += ends);
            }
        });
        Self { bytes, lines, task: Some(task) }
    }

    /// Waits for this many lines; false if the stream ends before.
    pub(super) async fn lines(&mut self, count: usize) -> bool {
        self.lines.wait_for(|lines| *lines >= count).await.is_ok()
    }

    /// Waits for a whole line that holds this; false if the stream ends before.
    pub(super) async fn holds(&mut self, what: &str) -> bool {
        let bytes = Arc::clone(&self.bytes);
        let holds = |_: &usize| {
            let bytes = lock(&bytes);
            let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
            String::from_utf8_lossy(&bytes[..end]).contains(what)
        };
        self.lines.wait_for(holds).await.is_ok()
    }

    pub(super) fn count(&self) -> usize {
        *self.lines.borrow()
    }

    pub(super) fn so_far(&self) -> Vec<u8> {
        lock(&self.bytes).clone()
    }

    /// Stops reading, and closes the pipe.
    pub(super) async fn close(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // It owns the pipe; once it has ended, the pipe is closed.
            let _ = task.await;
        }
    }

    /// Everything, once the other side has ended.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
        std::mem::take(&mut *lock(&self.bytes))
    }
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}
