//! Owns the end of a plugin's process: when Conduit says so, when Conduit is gone, and what signals mean. Leaves a clean end of
//! what runs to the services.
//!
//! Invariant: nothing here waits for a runtime, a lock or stderr. Two threads of their own watch, so that a component that
//! computes on every other thread does not keep the process alive.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::process::{Pid, getppid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// How often it is looked whether Conduit is there.
const LOOK: Duration = Duration::from_millis(200);

/// How long after the call of `Shutdown` the process ends, whatever it is doing. Conduit kills after 2 s, and warns.
const SHUTDOWN: Duration = Duration::from_millis(1200);

/// How long a plugin without a connection waits for one. Conduit connects as soon as it has read the first line.
const UNCONNECTED_MAX: Duration = Duration::from_secs(90);

/// How long a plugin whose connection was lost waits for another one.
const LOST_MAX: Duration = Duration::from_secs(5);

/// How long a plugin that was told to end by SIGTERM goes on: Conduit, which got the same signal from a service manager, drains
/// its pipelines within 30 s.
const TERMINATED_MAX: Duration = Duration::from_secs(35);

/// When the process ends. Clones are the same.
#[derive(Clone)]
pub(super) struct Lifetime {
    connections: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    terminated: CancellationToken,
    /// A folder, and the one file in it.
    removed_at_end: Arc<OnceLock<(PathBuf, PathBuf)>>,
}

impl Lifetime {
    /// Begins to watch.
    pub(super) fn begin() -> io::Result<Self> {
        let lifetime = Self {
            connections: Arc::default(),
            shutdown: CancellationToken::new(),
            terminated: CancellationToken::new(),
            removed_at_end: Arc::default(),
        };
        let signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        // Before anybody knows of this process: later it may be another one.
        let parent = getppid();
        let (heard, watched) = (lifetime.clone(), lifetime.clone());
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || heard.hear(signals))?;
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || watched.watch(parent))?;
        Ok(lifetime)
    }

    /// Ends the process soon, as Conduit has asked for.
    pub(super) fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Waits until the process is to end.
    pub(super) async fn ended(&self) {
        self.shutdown.cancelled().await;
        // The answer to the call must still leave.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Cancelled once SIGTERM came while Conduit is connected: what was read is to be stored, and nothing more is to be read.
    pub(super) fn terminated(&self) -> &CancellationToken {
        &self.terminated
    }

    /// Has a folder with one file removed when the process ends by itself.
    pub(super) fn remove_at_end(&self, folder: PathBuf, file: &str) {
        let file = folder.join(file);
        let _ = self.removed_at_end.set((folder, file));
    }

    /// Ends the process, without the standard library's exit, which would wait for the lock of stdout.
    fn exit(&self, code: i32) {
        if let Some((folder, file)) = self.removed_at_end.get() {
            let _ = std::fs::remove_file(file);
            let _ = std::fs::remove_dir(folder);
        }
        signal_hook::low_level::exit(code);
    }

    /// Counts a connection for as long as it lives.
    pub(super) fn count<T>(&self, connection: T) -> Counted<T> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        Counted { connection, lifetime: self.clone() }
    }

    fn is_connected(&self) -> bool {
        self.connections.load(Ordering::SeqCst) > 0
    }

    /// SIGINT and SIGHUP mean Conduit, which is in the same group of processes: it drains its pipelines, for which it needs
    /// this process, and this process ends with its connection.
    fn hear(&self, mut signals: Signals) {
        for signal in signals.forever().filter(|signal| *signal == SIGTERM) {
            if !self.is_connected() {
                self.exit(128 + signal);
            }
            self.terminated.cancel();
        }
    }

    /// Ends the process once nobody needs it. A parent's death is seen by its number: `PR_SET_PDEATHSIG` would follow the thread
    /// that has started this process, and Go ends threads when it likes.
    fn watch(&self, parent: Option<Pid>) {
        let (begun, mut connected, mut shutdown, mut terminated) = (Instant::now(), None, None, None);
        loop {
            // Nobody wakes it: there is no condition to wait for but time.
            std::thread::park_timeout(LOOK);
            let now = Instant::now();
            if self.is_connected() {
                connected = Some(now);
            }
            let since = |seen: bool, at: &mut Option<Instant>| {
                let at = if seen { Some(*at.get_or_insert(now)) } else { None };
                at.map(|at| now - at)
            };
            let is_over = since(self.shutdown.is_cancelled(), &mut shutdown).is_some_and(|since| since >= SHUTDOWN);
            let is_stopped =
                since(self.terminated.is_cancelled(), &mut terminated).is_some_and(|since| since >= TERMINATED_MAX);
            let is_alone = match connected {
                Some(last) => now - last >= LOST_MAX,
                None => now - begun >= UNCONNECTED_MAX,
            };
            if getppid() != parent || is_over || is_stopped || is_alone {
                self.exit(i32::from(!is_over));
            }
        }
    }
}

/// A connection that is counted.
pub(super) struct Counted<T> {
    connection: T,
    lifetime: Lifetime,
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.lifetime.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<T> Connected for Counted<T> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }
}
