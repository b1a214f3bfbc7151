//! SIGINT, SIGTERM and SIGHUP: the first asks pipelines to end, the second ends the process, and so does the end of the
//! grace period. Before a command asks for this, they end the process at once, as they always do. Ending in good order is
//! the pipelines' business.
//!
//! Invariant: nothing here waits for the runtime, for a lock that others hold, or for stderr. A component that computes
//! on every worker, and a log that nobody reads, can't keep the process.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use s3_connector::config::duration;
use s3_connector_host::pipeline::{self, Counts, Stop};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;
use tokio::sync::watch;

use super::Failure;
use super::terminal::Terminal;

/// Time behind the grace period in which pipelines that have given up may still say so. With the default of 25 s the
/// process is gone after 27 s at the latest, before Kubernetes kills it at 30 s.
const SLACK: Duration = Duration::from_secs(2);

/// How long last words may take. Whoever reads them takes milliseconds; a pipe that is full may never be read.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a stop may take.
#[derive(Debug, Args)]
pub(super) struct GraceArguments {
    /// How long a first SIGHUP, SIGINT or SIGTERM leaves to store what was read
    ///
    /// What is not stored by then is not acked, and is read again next time. The process is gone two seconds later,
    /// whatever keeps it: let a service manager wait longer than that.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = parse)]
    pub(super) grace: Duration,
}

/// Reads a duration of an argument.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|expected| format!("must be {expected}"))
}

/// Pipelines that signals stop.
#[derive(Clone)]
pub(super) struct Stopping {
    stop: Stop,
    signal: Arc<OnceLock<i32>>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

/// A pipeline that is told of if it must be given up.
struct Watched {
    /// Its id; empty where a command has just one.
    name: String,
    counts: watch::Receiver<Counts>,
}

impl Stopping {
    /// Listens from now on. The second signal, or the end of the grace period, exits with 129, 130 or 143, as shells
    /// expect.
    pub(super) fn listen(terminal: &Terminal, grace: Duration) -> Result<Self, Failure> {
        let refuse = |error| Failure::Failed(format!("signals cannot be caught: {error}"));
        let mut kinds = vec![SIGINT, SIGTERM];
        if !is_ignored(SIGHUP) {
            kinds.push(SIGHUP);
        }
        let signals = Signals::new(kinds).map_err(refuse)?;
        let stopping = Self { stop: Stop::new(), signal: Arc::default(), watched: Arc::default() };
        let (first, heard) = mpsc::sync_channel(1);
        let (listener, timekeeper) = (stopping.clone(), stopping.clone());
        let terminal = terminal.clone();
        // Both threads are there before they are needed: a process without resources must end too.
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || listener.hear(signals, &first))
            .map_err(refuse)?;
        std::thread::Builder::new()
            .name("grace".to_owned())
            .spawn(move || timekeeper.keep_time(&heard, grace, &terminal))
            .map_err(refuse)?;
        Ok(stopping)
    }

    /// What the first signal stops.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The first signal's name, and the exit code that tells of it.
    pub(super) fn signal(&self) -> Option<(&'static str, u8)> {
        self.signal.get().map(|signal| match *signal {
            SIGHUP => ("SIGHUP", 129),
            SIGINT => ("SIGINT", 130),
            _ => ("SIGTERM", 143),
        })
    }

    /// What to say of a command that a signal ended before it had done what it was asked to.
    pub(super) fn stopped_short(&self, how_far: &str) -> Failure {
        let (name, code) = self.signal().unwrap_or(("SIGTERM", 143));
        Failure::Stopped(code, format!("stopped by {name}: {how_far}"))
    }

    /// Has it told how much of a pipeline was not stored, should the process have to end before the pipeline.
    pub(super) fn watch(&self, name: &str, counts: watch::Receiver<Counts>) {
        let watched = Watched { name: name.to_owned(), counts };
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(watched);
    }

    fn hear(&self, mut signals: Signals, first: &mpsc::SyncSender<i32>) {
        for signal in signals.forever() {
            if self.signal.set(signal).is_err() {
                // A terminal that closes sends one to the shell's whole session and one through the shell: nobody is
                // impatient.
                if signal == SIGHUP {
                    continue;
                }
                exit(signal);
            }
            self.stop.stop();
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
                terminal.say("stopping: what was read is being stored; once more to stop at once");
            });
        }
        // Nothing more is sent: this waits, and ends early only with the process.
        let left = (grace + SLACK).saturating_sub(since.elapsed());
        if heard.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            let (stopping, terminal) = (self.clone(), terminal.clone());
            said(move || terminal.report(&stopping.last_words(grace)));
            exit(signal);
        }
    }

    /// What becomes of what the pipelines have not stored, each in a line.
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

/// Whether the signal was ignored when the process began, as `nohup` has it: then it stays so. The system's own words,
/// since asking it for the handler would need unsafe code; where they are not there the signal counts as not ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    mask & (1 << (signal - 1)) != 0
}

/// Says something, or leaves it where that can't be done in time.
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

/// Ends the process, whoever holds what: the exit of the standard library would write what stdout holds.
fn exit(signal: i32) -> ! {
    low_level::exit(128 + signal)
}
