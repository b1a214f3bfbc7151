//! Owns what a service manager such as systemd is told: that the pipelines are open, how they stand, that the process lives,
//! that it reloads or stops. Leaves how they stand to the library's monitor. Nobody is told anything where `NOTIFY_SOCKET` is not set.
//!
//! Invariant: messages leave by a thread of their own, and one for which there is no room is left out. A service manager that hangs
//! holds up nothing but this thread.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use indicatif::HumanCount;
use s3_connector_host::monitor::{Monitor, Status};
use s3_connector_host::pipeline::CancellationToken;
use s3_connector_host::printable;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Failure;

/// The variable that names the service manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// How often the status is sent, at most; one that says the same is not sent again.
const STATUS_EVERY: Duration = Duration::from_secs(2);

/// Bytes of a status: what fits on a line of `systemctl status`, and the reason of an outage.
const STATUS_BYTES_MAX: usize = 500;

/// Messages that may wait for the thread.
const MESSAGES_MAX: usize = 16;

/// How long the end of a command waits for its last messages to be sent.
const LAST_MESSAGES_MAX: Duration = Duration::from_millis(500);

/// The way to the thread; not there where nobody wants to be told.
static OUTBOX: OnceLock<SyncSender<Message>> = OnceLock::new();

enum Message {
    Ready(String),
    Reloading,
    Stopping,
    Status(String),
    Alive,
    /// Answered once everything before it was sent.
    Flush(SyncSender<()>),
}

/// Tells the service manager about the pipelines until it is dropped.
pub(super) struct Notifying(Vec<JoinHandle<()>>);

/// Begins to tell the service manager, if there is one: that all pipelines of `monitor` are open, how they stand, and that `stop` was
/// asked for.
pub(super) fn begin(monitor: &Monitor, stop: &CancellationToken) -> Result<Notifying, Failure> {
    if std::env::var_os(SOCKET).is_none_or(|socket| socket.is_empty()) {
        return Ok(Notifying(Vec::new()));
    }
    let (outbox, messages) = mpsc::sync_channel(MESSAGES_MAX);
    std::thread::Builder::new()
        .name("notify".to_owned())
        .spawn(move || deliver(&messages))
        .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
    OUTBOX.get_or_init(|| outbox);
    let mut telling = vec![tokio::spawn(tell(monitor.clone(), stop.clone())), tokio::spawn(stopped(stop.clone()))];
    if let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) {
        telling.push(tokio::spawn(live(patience / 2)));
    }
    Ok(Notifying(telling))
}

/// Says that what the process runs is changed; [`ready`] must follow.
pub(super) fn reloading() {
    send(Message::Reloading);
}

/// Says that all of it runs.
pub(super) fn ready(monitor: &Monitor) {
    send(Message::Ready(summary(&monitor.status())));
}

impl Drop for Notifying {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
        let (done, flushed) = mpsc::sync_channel(1);
        send(Message::Stopping);
        send(Message::Flush(done));
        // It ends at once where there is no thread.
        let _ = flushed.recv_timeout(LAST_MESSAGES_MAX);
    }
}

fn send(message: Message) {
    if let Some(outbox) = OUTBOX.get() {
        // Full only if the service manager does not read: then it has no use for one more.
        let _ = outbox.try_send(message);
    }
}

fn deliver(messages: &Receiver<Message>) {
    let mut is_reported = false;
    for message in messages {
        let sent = match &message {
            Message::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
            // systemd wants to know since when, to tell an old message from a new one.
            Message::Reloading => {
                NotifyState::monotonic_usec_now().and_then(|since| sd_notify::notify(&[NotifyState::Reloading, since]))
            }
            Message::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
            Message::Status(status) => sd_notify::notify(&[NotifyState::Status(status)]),
            Message::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            Message::Flush(done) => {
                let _ = done.try_send(());
                Ok(())
            }
        };
        if let Err(error) = sent
            && !is_reported
        {
            is_reported = true;
            tracing::warn!("the service manager at {SOCKET} can't be told how things stand: {error}");
        }
    }
}

/// Says when all pipelines are open, and how they stand from then on.
async fn tell(monitor: Monitor, stop: CancellationToken) {
    tokio::select! {
        // A pipeline that a stop ends while it opens counts as opened: it is not what anybody waited for.
        biased;
        () = stop.cancelled() => {}
        () = monitor.opened() => ready(&monitor),
    }
    let mut told = String::new();
    let mut tick = interval(STATUS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        let status = summary(&monitor.status());
        if status != told {
            send(Message::Status(status.clone()));
            told = status;
        }
    }
}

async fn stopped(stop: CancellationToken) {
    stop.cancelled().await;
    send(Message::Stopping);
}

/// Says that the process lives. A task of the runtime that moves records: if that hangs, so does this.
async fn live(every: Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        send(Message::Alive);
    }
}

/// All pipelines on one line: states, records, the longest lag, and what is wrong.
fn summary(status: &Status) -> String {
    let mut states = BTreeMap::<&str, usize>::new();
    for pipeline in &status.pipelines {
        *states.entry(pipeline.state.name()).or_default() += 1;
    }
    let states = match (&status.pipelines[..], states.len()) {
        ([pipeline], _) => pipeline.state.name().to_owned(),
        (pipelines, 1) => format!("{} pipelines {}", pipelines.len(), pipelines[0].state.name()),
        (pipelines, _) => {
            let counted: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
            format!("{} pipelines: {}", pipelines.len(), counted.join(", "))
        }
    };
    let stored: u64 = status.pipelines.iter().map(|pipeline| pipeline.records_stored).sum();
    let mut text = format!("{states}; {} records stored", HumanCount(stored));
    let lags = status.pipelines.iter().filter_map(|pipeline| pipeline.lag_seconds);
    let lag = lags.fold(0.0, f64::max);
    if lag >= 1.0 {
        text.push_str(&format!("; lag {lag:.0} s"));
    }
    let troubled = status.pipelines.iter().find_map(|pipeline| Some((&pipeline.id, pipeline.outage.as_ref()?)));
    if let Some((id, outage)) = troubled {
        text.push_str(&format!("; `{id}` since {}: {}", outage.since, outage.why));
    }
    printable::line(&text, STATUS_BYTES_MAX).into_owned()
}

#[cfg(test)]
mod tests {
    use s3_connector_host::monitor::Watched;
    use s3_connector_host::pipeline::{Counts, Phase};
    use tokio::sync::watch;

    use super::*;

    #[test]
    fn a_status_is_one_line_about_all_pipelines() {
        let monitor = Monitor::default();
        let mut counts = Counts::default();
        (counts.phase, counts.acked) = (Phase::Running, 12_345);
        let (_a, receiver) = watch::channel(counts.clone());
        monitor.watch(Watched::new("a", receiver));
        assert_eq!(summary(&monitor.status()), "changes; 12,345 records stored");
        let (b, receiver) = watch::channel(counts.clone());
        monitor.watch(Watched::new("b", receiver));
        assert_eq!(summary(&monitor.status()), "2 pipelines changes; 24,690 records stored");
        counts.phase = Phase::Opening;
        b.send_replace(counts);
        assert_eq!(summary(&monitor.status()), "2 pipelines: 1 changes, 1 opening; 24,690 records stored");
    }
}
