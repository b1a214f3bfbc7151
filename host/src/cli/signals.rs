//! Owns SIGINT, SIGTERM and SIGHUP: the first one stops the pipelines, the second one ends the process, and so does the end
//! of the grace period. Leaves a clean end to the pipelines. Until a command calls [`Stopping::listen`], signals end the
//! process at once.
//!
//! SIGHUP has two meanings: a terminal that closes, and somebody who asks a service to read its files again. The second is heard by
//! commands that have files, unless the process had a terminal and has lost it.
//!
//! Invariant: nothing here waits for the runtime, for a lock that others hold, or for stderr. Neither a component that
//! computes on every worker thread nor a log that nobody reads can keep the process alive.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::fs::{Mode, OFlags};
use s3_connector::config::duration;
use s3_connector_host::pipeline::{self, CancellationToken, Counts};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tokio::sync::{Notify, watch};

use super::Failure;
use super::terminal::Terminal;

/// Time after the grace period in which aborted pipelines may still report it. With the default of 25 s the process is
/// gone after at most 27 s, before Kubernetes kills it at 30 s.
const SLACK: Duration = Duration::from_secs(2);

/// How long writing a last message may take. A reader takes milliseconds; a full pipe may never be read.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a stop may take.
#[derive(Debug, Args)]
pub(super) struct GraceArguments {
    /// Time to store what was read, after a first SIGHUP, SIGINT or SIGTERM
    ///
    /// Records that are not stored by then are not acked, and the next run reads them again. The process ends at most two
    /// seconds later, whatever it is doing: configure a service manager to wait longer than that.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = parse)]
    pub(super) grace: Duration,
}

/// Parses a duration.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|expected| format!("must be {expected}"))
}

/// What SIGHUP means to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    /// The same as SIGTERM.
    Stops,
    /// Its files are to be read again; only a terminal that closes stops it.
    Reloads,
}

/// Pipelines that signals stop.
#[derive(Clone)]
pub(super) struct Stopping {
    stop: CancellationToken,
    /// Told of each SIGHUP that asks for a reload. Several at once are one.
    reload: Arc<Notify>,
    signal: Arc<OnceLock<i32>>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// A pipeline to report if the process must end before it.
struct Watched {
    /// Its id; empty if the command has only one.
    name: String,
    counts: watch::Receiver<Counts>,
}

impl Stopping {
    /// Starts to listen. The second signal, or the end of the grace period, exits with 129, 130 or 143, as shells expect.
    pub(super) fn listen(terminal: &Terminal, grace: Duration, hangup: Hangup) -> Result<Self, Failure> {
        let refuse = |error| Failure::Failed(format!("cannot catch signals: {error}"));
        let mut kinds = vec![SIGINT, SIGTERM];
        if !is_ignored(SIGHUP) {
            kinds.push(SIGHUP);
        }
        let signals = Signals::new(kinds).map_err(refuse)?;
        let (stop, reload) = (CancellationToken::new(), Arc::new(Notify::new()));
        let stopping = Self { stop, reload, signal: Arc::default(), watched: Arc::default() };
        let had_terminal = has_terminal();
        let reloads = move |signal| signal == SIGHUP && hangup == Hangup::Reloads && (!had_terminal || has_terminal());
        let (first, heard) = mpsc::sync_channel(1);
        let (listener, timekeeper) = (stopping.clone(), stopping.clone());
        let terminal = terminal.clone();
        // Both threads start before they are needed: a process that runs out of resources must end too.
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || listener.hear(signals, &first, reloads))
            .map_err(refuse)?;
        std::thread::Builder::new()
            .name("grace".to_owned())
            .spawn(move || timekeeper.keep_time(&heard, grace, &terminal))
            .map_err(refuse)?;
        Ok(stopping)
    }

    /// The token that the first signal cancels.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits for a SIGHUP that asks for a reload.
    pub(super) async fn reload_requested(&self) {
        self.reload.notified().await;
    }

    /// The first signal's name, and its exit code.
    pub(super) fn signal(&self) -> Option<(&'static str, u8)> {
        self.signal.get().map(|signal| match *signal {
            SIGHUP => ("SIGHUP", 129),
            SIGINT => ("SIGINT", 130),
            _ => ("SIGTERM", 143),
        })
    }

    /// The failure of a command that a signal ended before it was done.
    pub(super) fn stopped_short(&self, how_far: &str) -> Failure {
        let (name, code) = self.signal().unwrap_or(("SIGTERM", 143));
        Failure::Stopped(code, format!("stopped by {name}: {how_far}"))
    }

    /// Reports how much of a pipeline was not stored, if the process must end before the pipeline. It takes the place of the one of
    /// that name.
    pub(super) fn watch(&self, name: &str, counts: watch::Receiver<Counts>) {
        self.forget(name);
        let watched = Watched { name: name.to_owned(), counts };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
    }

    /// No longer reports of a pipeline.
    pub(super) fn forget(&self, name: &str) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).retain(|watched| watched.name != name);
    }

    fn hear(&self, mut signals: Signals, first: &mpsc::SyncSender<i32>, reloads: impl Fn(i32) -> bool) {
        for signal in signals.forever() {
            if reloads(signal) {
                self.reload.notify_one();
                continue;
            }
            if self.signal.set(signal).is_err() {
                // A terminal that closes sends one to the shell's whole session and one through the shell: that is no
                // second request.
                if signal == SIGHUP {
                    continue;
                }
                exit(signal);
            }
            self.stop.cancel();
            // There is room for the one that is sent.
            let _ = first.try_send(signal);
        }
    }

    fn keep_time(&self, heard: &Receiver<i32>, grace: Duration, terminal: &Terminal) {
        let Ok(signal) = heard.recv() else { return };
        let since = Instant::now();
        if terminal.has_bars() {
            let terminal = terminal.clone();
            said(move || {
                terminal.say("stopping: flushing records already read; interrupt again to quit now");
            });
        }
        // Nothing more is sent: this is a sleep, which ends early only with the process.
        let left = (grace + SLACK).saturating_sub(since.elapsed());
        if heard.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            let (stopping, terminal) = (self.clone(), terminal.clone());
            said(move || terminal.report(&stopping.last_words(grace)));
            exit(signal);
        }
    }

    /// What each pipeline has not stored, one per line.
    fn last_words(&self, grace: Duration) -> String {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let told = watched.iter().map(|Watched { name, counts }| {
            let expired = pipeline::grace_expired_message(&counts.borrow(), grace);
            match name.as_str() {
                "" => expired,
                name => format!("pipeline `{name}`: {expired}"),
            }
        });
        told.collect::<Vec<_>>().join("\n")
    }
}

/// Whether the signal was ignored when the process started, as under `nohup`: then it stays ignored. Read from `/proc`,
/// since asking for the handler needs unsafe code; without `/proc` the signal counts as not ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    mask & (1 << (signal - 1)) != 0
}

/// Whether the process has a controlling terminal. Once that is closed, it can't be opened any longer: see tty(4) and
/// <https://man7.org/linux/man-pages/man7/signal.7.html>.
fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/tty", flags, Mode::empty()).is_ok()
}

/// Writes a message, but waits only [`LAST_WORDS_TIMEOUT`] for it.
fn said(say: impl FnOnce() + Send + 'static) {
    let (done, heard) = mpsc::sync_channel::<()>(1);
    let saying = std::thread::Builder::new().spawn(move || {
        say();
        drop(done);
    });
    if saying.is_ok() {
        let _ = heard.recv_timeout(LAST_WORDS_TIMEOUT);
    }
}

/// Ends the process without waiting for any lock: the standard library's exit would flush stdout.
fn exit(signal: i32) -> ! {
    low_level::exit(128 + signal)
}
