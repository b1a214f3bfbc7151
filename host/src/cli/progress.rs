//! Owns the line that shows how far a pipeline has come, and the numbers at its end. Leaves where lines are drawn to `terminal`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use s3_connector_host::Tally;
use s3_connector_host::monitor::State;
use s3_connector_host::pipeline::{Counts, Phase};
use s3_connector_host::printable;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::columns;

/// Interval between two updates.
const PERIOD: Duration = Duration::from_millis(200);

/// Columns that a pipeline's name leaves to the rest of its line: what it does, how far and how fast.
const REST_COLUMNS: usize = 54;

/// Columns of the sign that turns, and the blank after it.
const SPINNER_COLUMNS: usize = 2;

/// The weight of the latest period in the rate: a change shows within a second or two.
const RATE_WEIGHT: f64 = 0.2;

/// How long a rate is looked at before it is used to say when the end comes.
const ETA_AFTER: Duration = Duration::from_secs(2);

/// Draws the line until it is dropped.
pub(super) struct ProgressLine {
    bar: Option<ProgressBar>,
    task: Option<JoinHandle<()>>,
}

/// What is known of a pipeline besides its counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Bytes of an input that has an end, and those of it that were read.
    pub(super) input: Option<(u64, Arc<AtomicU64>)>,
    /// What is counted of its requests.
    pub(super) tallies: Vec<Tally>,
}

impl Known {
    /// Nothing but its requests.
    pub(super) fn of(tallies: impl IntoIterator<Item = Tally>) -> Self {
        Self { input: None, tallies: tallies.into_iter().collect() }
    }
}

/// The state of things at a moment, as the line shows it.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    /// Bytes per second.
    rate: f64,
    /// The share of the input that was read, from 0 to 1.
    share: Option<f64>,
    /// How long what is left takes.
    left: Option<Duration>,
    /// Requests that were sent once more.
    retries: u64,
}

impl ProgressLine {
    /// Draws `counts` as they change, after `name` unless it is empty.
    pub(super) fn draw(bar: Option<ProgressBar>, name: &str, counts: watch::Receiver<Counts>, known: Known) -> Self {
        let name = printable::line(name, usize::MAX).into_owned();
        let task = bar.clone().map(|bar| tokio::spawn(redraw(bar, name, counts, known)));
        Self { bar, task }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

async fn redraw(bar: ProgressBar, name: String, counts: watch::Receiver<Counts>, known: Known) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut bytes, mut at, mut rate) = (0, Instant::now(), 0.0);
    let begun = Instant::now();
    // Records and time when the changes that are due were first seen: how fast they come tells when they end.
    let mut changes: Option<(u64, Instant)> = None;
    loop {
        period.tick().await;
        let counts = counts.borrow().clone();
        let seconds = at.elapsed().as_secs_f64();
        if seconds > 0.0 {
            let latest = counts.bytes.saturating_sub(bytes) as f64 / seconds;
            rate += RATE_WEIGHT * (latest - rate);
            (bytes, at) = (counts.bytes, Instant::now());
        }
        let mut moment = Moment { rate, ..Moment::default() };
        moment.retries = known.tallies.iter().map(Tally::retries).sum();
        if let Some((total, read)) = &known.input {
            let read = read.load(Ordering::Relaxed).min(*total);
            moment.share = (*total > 0).then(|| read as f64 / *total as f64);
            moment.left = left(read, total - read, begun.elapsed());
        } else if State::of(&counts) == State::Changes {
            let (records, since) = *changes.get_or_insert((counts.acked, Instant::now()));
            moment.left = left(counts.acked.saturating_sub(records), counts.source.counter("due"), since.elapsed());
        } else {
            changes = None;
        }
        let columns = columns::of(std::io::stderr()) - SPINNER_COLUMNS;
        bar.set_message(line(&name, &counts, moment, SystemTime::now(), columns));
        bar.tick();
    }
}

/// How things stand, as a line of a log has it.
pub(super) fn describe(counts: &Counts, rate: f64, now: SystemTime) -> String {
    parts(counts, Moment { rate, ..Moment::default() }, now).join(", ")
}

/// How long what is left takes if it goes on as it went.
fn left(done: u64, rest: u64, took: Duration) -> Option<Duration> {
    (done > 0 && rest > 0 && took >= ETA_AFTER).then(|| took.mul_f64(rest as f64 / done as f64))
}

/// The progress of a pipeline as one line of so many columns: what matters most stands first, and what has no room is left out.
fn line(name: &str, counts: &Counts, moment: Moment, now: SystemTime, columns: usize) -> String {
    let mut text = match name {
        "" => String::new(),
        name => format!("{}: ", columns::cut_middle(name, columns.saturating_sub(REST_COLUMNS + 2).max(8))),
    };
    let mut is_first = true;
    for part in parts(counts, moment, now) {
        let separator = if is_first { "" } else { ", " };
        if columns::width(&text) + separator.len() + columns::width(&part) > columns {
            // What comes next may be shorter, but what comes first is never left out.
            if is_first {
                text.push_str(&columns::cut(&part, columns.saturating_sub(columns::width(&text))));
                is_first = false;
            }
            continue;
        }
        text.push_str(separator);
        text.push_str(&part);
        is_first = false;
    }
    text
}

/// How often a pipeline was interrupted; none if it never was.
pub(super) fn interruptions(counts: &Counts) -> Option<String> {
    match counts.outages {
        0 => None,
        1 => Some("interrupted once".to_owned()),
        times => Some(format!("interrupted {times} times")),
    }
}

/// What a line says, the most important first.
fn parts(counts: &Counts, moment: Moment, now: SystemTime) -> Vec<String> {
    let mut parts = Vec::new();
    let (due, keys) = (counts.source.counter("due"), counts.source.counter("keys"));
    match (&counts.phase, State::of(counts), moment.share) {
        (Phase::Interrupted(trouble), ..) => {
            let length = printable::length(now.duration_since(trouble.since).unwrap_or_default());
            parts.push(format!("interrupted for {length}"));
        }
        (_, State::Opening, _) => parts.push("opening".to_owned()),
        (_, _, Some(share)) => parts.push(format!("{:.0}%", share * 100.0)),
        (_, State::Snapshot, _) => parts.push("snapshot".to_owned()),
        (_, State::CaughtUp, _) => parts.push("caught up".to_owned()),
        (_, State::Changes, _) if counts.source.counter("polls") > 0 => parts.push("changes".to_owned()),
        _ => {}
    }
    if let Some(left) = moment.left {
        parts.push(format!("{} left", printable::length(left)));
    }
    parts.push(format!("{} records", HumanCount(counts.acked)));
    parts.push(format!("{}, {}/s", HumanBytes(counts.bytes), HumanBytes(moment.rate as u64)));
    if due > 0 {
        parts.push(format!("{} due", HumanCount(due)));
    }
    if !counts.is_caught_up()
        && let Some(lag) = counts.lag(now)
    {
        parts.push(format!("lag {} s", lag.as_secs()));
    }
    if moment.retries > 0 {
        parts.push(format!("{} retries", HumanCount(moment.retries)));
    }
    let skipped = counts.source.counter("skipped");
    if skipped > 0 {
        parts.push(format!("{} skipped", HumanCount(skipped)));
    }
    parts.extend(interruptions(counts));
    if keys > 0 {
        parts.push(format!("{} keys known", HumanCount(keys)));
    }
    parts
}

/// Bytes, time and rate, for the line at the end of a command.
pub(super) fn totals(bytes: u64, took: Duration) -> String {
    let rate = bytes as f64 / took.as_secs_f64().max(0.001);
    format!("{} in {}, {}/s", HumanBytes(bytes), printable::length(took), HumanBytes(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn counts(acked: u64, bytes: u64) -> Counts {
        let mut counts = Counts::default();
        counts.phase = Phase::Running;
        (counts.read, counts.acked, counts.bytes) = (acked, acked, bytes);
        counts
    }

    #[test]
    fn a_line_says_what_it_does_how_much_how_fast_and_with_what_lag() {
        let mut counts = counts(12_345, 3 << 20);
        let describe = |counts: &Counts, moment: Moment| line("", counts, moment, at(5000), 200);
        let slow = Moment { rate: 1024.0, ..Moment::default() };
        assert_eq!(describe(&counts, slow), "12,345 records, 3.00 MiB, 1.00 KiB/s");
        counts.source.counters.insert("snapshot".to_owned(), 1);
        assert!(describe(&counts, slow).starts_with("snapshot, 12,345 records"));
        counts.source.counters.extend([("snapshot".to_owned(), 2), ("polls".to_owned(), 1), ("due".to_owned(), 7)]);
        counts.source.counters.insert("caught-up-ms".to_owned(), 1000);
        let moment = Moment { left: Some(Duration::from_secs(65)), retries: 3, ..slow };
        assert_eq!(
            describe(&counts, moment),
            "changes, 1 min 5 s left, 12,345 records, 3.00 MiB, 1.00 KiB/s, 7 due, lag 4 s, 3 retries"
        );
        counts.source.caught_up = true;
        counts.source.counters.insert("keys".to_owned(), 1_000_000);
        assert!(describe(&counts, slow).starts_with("caught up, 12,345 records"));
        assert!(describe(&counts, slow).ends_with("7 due, 1,000,000 keys known"));
        let half = Moment { share: Some(0.456), ..slow };
        assert!(describe(&counts, half).starts_with("46%, 12,345 records"));
    }

    #[test]
    fn a_line_fits_however_long_the_name_is() {
        let mut counts = counts(123_456_789, 5 << 40);
        counts.source.counters.extend([
            ("polls".to_owned(), 1),
            ("due".to_owned(), 99_999_999),
            ("keys".to_owned(), 1),
        ]);
        let moment = Moment { rate: 1e9, left: Some(Duration::from_secs(7000)), retries: 12, ..Moment::default() };
        for name in [
            "a-pipeline-whose-name-is-longer-than-any-line-should-be-and-does-not-end-europe",
            "日本の写真から湖へ日本の写真から湖へ",
        ] {
            for columns in [38, 78, 118] {
                let shown = line(name, &counts, moment, at(0), columns);
                assert!(columns::width(&shown) <= columns, "{shown}");
                assert!(shown.contains("changes, 1 h 56 min left"), "{shown}");
            }
        }
        assert!(line("night-to-lake", &counts, moment, at(0), 78).starts_with("night-to-lake: changes"));
    }

    #[test]
    fn the_end_is_foretold_once_there_is_something_to_go_by() {
        let second = Duration::from_secs(1);
        assert_eq!(left(10, 30, second * 10), Some(second * 30));
        for (done, rest, took) in [(0, 30, 10), (10, 0, 10), (10, 30, 1)] {
            assert_eq!(left(done, rest, second * took), None);
        }
    }

    #[test]
    fn totals_have_bytes_time_and_rate() {
        assert_eq!(totals(3 << 20, Duration::from_millis(1500)), "3.00 MiB in 1.5 s, 2.00 MiB/s");
        assert_eq!(totals(0, Duration::ZERO), "0 B in 0 ms, 0 B/s");
    }
}
