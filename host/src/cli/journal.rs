//! Owns what the log says of a pipeline as it goes on: opened, snapshot, caught up, stored, ended; and a summary every minute where nobody
//! sees a progress line. Leaves outages, skipped objects and failures to those who meet them.
//!
//! A pipeline is looked at as its counts change, so a line costs nothing per record.

use std::time::{Duration, SystemTime};

use indicatif::{HumanBytes, HumanCount};
use s3_connector_host::monitor::State;
use s3_connector_host::pipeline::{Counts, Ended, Phase};
use s3_connector_host::printable;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, timeout};

use super::progress;
use super::terminal::{SUMMARY, Terminal};

/// How often what was stored is said, at most.
const STORED_EVERY: Duration = Duration::from_secs(10);

/// How often a pipeline is summed up.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);

/// How long a pipeline must have had something left before it is worth a line that it has caught up: each change is left for a moment.
const LATE_MIN: Duration = Duration::from_secs(10);

/// How long the last entry may take: the pipeline has ended, and only a log that nobody reads holds it up.
const LAST_ENTRY_MAX: Duration = Duration::from_secs(1);

/// Writes the journal of a pipeline until it is dropped.
pub(super) struct Journal(JoinHandle<()>);

impl Journal {
    /// Begins one, whose lines name the pipeline unless `name` is empty.
    pub(super) fn keep(name: &str, counts: watch::Receiver<Counts>, terminal: &Terminal) -> Self {
        let entries = Entries::new(name, Instant::now());
        Self(tokio::spawn(keep(entries, counts, terminal.is_unwatched())))
    }

    /// Waits for the last entry, after the end of the pipeline.
    pub(super) async fn end(mut self) {
        let _ = timeout(LAST_ENTRY_MAX, &mut self.0).await;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(mut entries: Entries, mut counts: watch::Receiver<Counts>, is_unwatched: bool) {
    let start = Instant::now();
    let mut stored = interval(STORED_EVERY);
    let mut summary = interval_at(start + SUMMARY_EVERY, SUMMARY_EVERY);
    stored.set_missed_tick_behavior(MissedTickBehavior::Delay);
    summary.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = counts.changed() => {
                let lines = entries.of(&counts.borrow_and_update(), Instant::now());
                for line in lines {
                    entries.say(&line);
                }
                if changed.is_err() {
                    return;
                }
            }
            _ = stored.tick() => {
                let line = entries.stored(&counts.borrow(), Instant::now());
                if let Some(line) = line {
                    entries.say(&line);
                }
            }
            _ = summary.tick(), if is_unwatched => {
                let now = counts.borrow().clone();
                let line = progress::describe(&now, entries.rate(&now, SUMMARY_EVERY), SystemTime::now());
                tracing::info!(target: SUMMARY, pipeline = entries.name(), "{line}");
            }
        }
    }
}

/// What is worth a line.
struct Entries {
    name: String,
    state: State,
    /// When the pipeline was opened, or the snapshot began.
    since: Instant,
    /// Since when it has something left; `None` while it has caught up.
    late_since: Option<Instant>,
    has_caught_up: bool,
    is_snapshot_over: bool,
    /// Records and bytes as they were told last, and when.
    told: (u64, u64, Instant),
    /// Bytes at the last summary.
    summed_bytes: u64,
}

impl Entries {
    fn new(name: &str, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            state: State::Opening,
            since: now,
            late_since: Some(now),
            has_caught_up: false,
            is_snapshot_over: false,
            told: (0, 0, now),
            summed_bytes: 0,
        }
    }

    fn name(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| !name.is_empty())
    }

    fn say(&self, line: &str) {
        tracing::info!(pipeline = self.name(), "{line}");
    }

    /// Bytes per second since the last summary.
    fn rate(&mut self, counts: &Counts, time: Duration) -> f64 {
        let bytes = counts.bytes.saturating_sub(std::mem::replace(&mut self.summed_bytes, counts.bytes));
        bytes as f64 / time.as_secs_f64()
    }

    /// The lines that a change of state is worth.
    fn of(&mut self, counts: &Counts, now: Instant) -> Vec<String> {
        let state = State::of(counts);
        let before = std::mem::replace(&mut self.state, state);
        // One that is over within a moment is seen only then.
        let is_over = counts.source.counter("snapshot") == 2 && !std::mem::replace(&mut self.is_snapshot_over, true);
        if before == state && !is_over {
            return Vec::new();
        }
        let took = printable::length(now.duration_since(self.since));
        let so_far = || format!("{} records, {}", HumanCount(counts.read), HumanBytes(counts.bytes));
        let mut lines = Vec::new();
        if before == State::Opening && !matches!(state, State::Failed | State::Ended) {
            lines.push(format!("opened in {took}"));
            self.since = now;
        }
        if is_over {
            lines.push(format!("the snapshot is over: {} in {took}", so_far()));
        }
        match state {
            State::Snapshot if !matches!(before, State::Snapshot | State::Interrupted) => {
                lines.push("the snapshot begins".to_owned());
                self.since = now;
            }
            State::CaughtUp if before != state => {
                let late = self.late_since.take().map(|since| now.duration_since(since)).unwrap_or_default();
                if !std::mem::replace(&mut self.has_caught_up, true) || late >= LATE_MIN {
                    lines.push(format!("caught up: {}", so_far()));
                }
            }
            State::Ended if before != state => {
                let why = match &counts.phase {
                    Phase::Ended(Ended::Stopped) => "stopped",
                    Phase::Ended(Ended::CaughtUp) => "ended, since it has caught up",
                    _ => "ended",
                };
                lines.push(format!("{why}: {} records are stored", HumanCount(counts.acked)));
            }
            _ => {}
        }
        if state != State::CaughtUp {
            self.late_since.get_or_insert(now);
        }
        lines
    }

    /// What was stored since it was said last, if anything was.
    fn stored(&mut self, counts: &Counts, now: Instant) -> Option<String> {
        let (records, bytes, at) = self.told;
        let more = counts.acked.checked_sub(records).filter(|more| *more > 0)?;
        let seconds = now.duration_since(at).as_secs_f64();
        let rate = if seconds > 0.0 { (more as f64 / seconds).round() as u64 } else { more };
        let read = HumanBytes(counts.bytes.saturating_sub(bytes));
        self.told = (counts.acked, counts.bytes, now);
        Some(format!(
            "{} more records are stored, {} per second; {read} read; {} in all",
            HumanCount(more),
            HumanCount(rate),
            HumanCount(counts.acked)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_of_state_is_a_line_and_changes_of_a_moment_are_none() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut entries = Entries::new("photos", begun);
        let mut counts = Counts::default();
        assert!(entries.of(&counts, at(0)).is_empty());
        counts.phase = Phase::Running;
        counts.source.counters.insert("snapshot".to_owned(), 1);
        let opened = entries.of(&counts, at(1));
        assert!(opened[0] == "opened in 1.0 s" && opened[1] == "the snapshot begins", "{opened:?}");
        (counts.read, counts.acked, counts.bytes) = (12_345, 12_345, 3 << 20);
        assert!(entries.of(&counts, at(2)).is_empty());
        counts.source.counters.insert("snapshot".to_owned(), 2);
        assert_eq!(entries.of(&counts, at(61)), ["the snapshot is over: 12,345 records, 3.00 MiB in 1 min 0 s"]);
        counts.source.caught_up = true;
        assert_eq!(entries.of(&counts, at(62)), ["caught up: 12,345 records, 3.00 MiB"]);
        for second in 63..70 {
            counts.source.caught_up = second % 2 == 0;
            assert!(entries.of(&counts, at(second)).is_empty());
        }
        counts.source.caught_up = true;
        assert_eq!(entries.of(&counts, at(90)), ["caught up: 12,345 records, 3.00 MiB"], "it took a while");
        counts.phase = Phase::Ended(Ended::Stopped);
        assert_eq!(entries.of(&counts, at(91)), ["stopped: 12,345 records are stored"]);
    }

    #[test]
    fn what_was_stored_is_told_with_its_rate_once() {
        let begun = Instant::now();
        let mut entries = Entries::new("", begun);
        let mut counts = Counts::default();
        assert_eq!(entries.stored(&counts, begun), None);
        (counts.acked, counts.bytes) = (1000, 2048);
        let line = entries.stored(&counts, begun + Duration::from_secs(10));
        assert_eq!(line.as_deref(), Some("1,000 more records are stored, 100 per second; 2.00 KiB read; 1,000 in all"));
        assert_eq!(entries.stored(&counts, begun + Duration::from_secs(20)), None);
        assert_eq!(entries.name(), None);
    }
}
