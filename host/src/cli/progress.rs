//! Owns the line that shows how far a pipeline has come. Leaves where it is drawn to `terminal`.

use std::time::{Duration, Instant, SystemTime};

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use s3_connector_host::pipeline::Counts;
use s3_connector_host::printable;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// Interval between two updates.
const PERIOD: Duration = Duration::from_millis(200);

/// Bytes of a pipeline's name that are shown: half a line.
const NAME_BYTES_MAX: usize = 40;

/// The weight of the latest period in the rate: a change shows within a second or two.
const RATE_WEIGHT: f64 = 0.2;

/// Draws the line until it is dropped.
pub(super) struct ProgressLine {
    bar: Option<ProgressBar>,
    task: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Draws `counts` as they change, after `name` unless it is empty.
    pub(super) fn draw(bar: Option<ProgressBar>, name: &str, counts: watch::Receiver<Counts>) -> Self {
        let prefix =
            if name.is_empty() { String::new() } else { format!("{}: ", printable::line(name, NAME_BYTES_MAX)) };
        let task = bar.clone().map(|bar| tokio::spawn(redraw(bar, prefix, counts)));
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

async fn redraw(bar: ProgressBar, prefix: String, counts: watch::Receiver<Counts>) {
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut bytes, mut at, mut rate) = (0, Instant::now(), 0.0);
    loop {
        period.tick().await;
        let counts = counts.borrow().clone();
        let seconds = at.elapsed().as_secs_f64();
        if seconds > 0.0 {
            let latest = counts.bytes.saturating_sub(bytes) as f64 / seconds;
            rate += RATE_WEIGHT * (latest - rate);
            (bytes, at) = (counts.bytes, Instant::now());
        }
        bar.set_message(format!("{prefix}{}", describe(&counts, rate, SystemTime::now())));
        bar.tick();
    }
}

/// The progress of a pipeline as one line.
pub(super) fn describe(counts: &Counts, rate: f64, now: SystemTime) -> String {
    let mut text =
        format!("{} records, {}, {}/s", HumanCount(counts.acked), HumanBytes(counts.bytes), HumanBytes(rate as u64));
    let due = counts.source.counter("due");
    if due > 0 {
        text.push_str(&format!(", {} due", HumanCount(due)));
    }
    if counts.is_caught_up() {
        text.push_str(", caught up");
    } else if let Some(lag) = counts.lag(now) {
        text.push_str(&format!(", lag {} s", lag.as_secs()));
    }
    let keys = counts.source.counter("keys");
    if keys > 0 {
        text.push_str(&format!(", {} keys known", HumanCount(keys)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_how_fast_and_with_what_lag() {
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let mut counts = Counts::default();
        (counts.read, counts.acked) = (12_345, 12_345);
        counts.bytes = 3 << 20;
        assert_eq!(describe(&counts, 1024.0, at(0)), "12,345 records, 3.00 MiB, 1.00 KiB/s");
        counts.source.counters.insert("due".to_owned(), 7);
        counts.source.counters.insert("caught-up-ms".to_owned(), 1000);
        assert_eq!(describe(&counts, 0.0, at(5000)), "12,345 records, 3.00 MiB, 0 B/s, 7 due, lag 4 s");
        counts.source.caught_up = true;
        assert!(describe(&counts, 0.0, at(5000)).ends_with("7 due, caught up"));
        counts.source.counters.insert("keys".to_owned(), 1_000_000);
        counts.source.counters.insert("lag-ms".to_owned(), 9000);
        assert!(describe(&counts, 0.0, at(5000)).ends_with("7 due, caught up, 1,000,000 keys known"));
        counts.source.caught_up = false;
        assert!(describe(&counts, 0.0, at(5000)).ends_with("7 due, lag 9 s, 1,000,000 keys known"));
        counts.source.caught_up = true;
        counts.read += 1;
        let unstored = describe(&counts, 0.0, at(5000));
        assert!(unstored.ends_with("7 due, lag 0 s, 1,000,000 keys known"), "{unstored}");
    }
}
