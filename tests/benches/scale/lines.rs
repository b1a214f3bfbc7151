//! Owns the reading of the records that the command prints: how many, in which order, and how late. Leaves the command to
//! `command`.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What was read so far.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// How many lines.
    pub(super) count: u64,
    /// How many of them have an earlier time than the one before.
    pub(super) out_of_order: u64,
    /// When the last one came.
    pub(super) last: Option<Instant>,
    /// The time of its record, in nanoseconds since 1970.
    stored: u64,
    /// The lag of its records, by seconds since 1970.
    pub(super) lags: Lags,
}

/// How late records came, second by second.
#[derive(Clone, Debug, Default)]
pub(super) struct Lags(Vec<Second>);

/// The records that came in one second.
#[derive(Clone, Copy, Debug)]
struct Second {
    at: u64,
    /// The sum of their lags, in seconds.
    sum: f64,
    count: u64,
}

impl Second {
    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Reads lines in a thread until they end.
pub(super) fn read(output: impl Read + Send + 'static) -> Arc<Mutex<Lines>> {
    let lines = Lines { count: 0, out_of_order: 0, last: None, stored: 0, lags: Lags::default() };
    let lines = Arc::new(Mutex::new(lines));
    let shared = Arc::clone(&lines);
    std::thread::spawn(move || {
        let (mut reader, mut line) = (BufReader::with_capacity(1 << 16, output), Vec::new());
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let stored = stored(&line).unwrap_or_default();
            shared.lock().expect("no thread panics").take(stored);
            line.clear();
        }
    });
    lines
}

impl Lines {
    fn take(&mut self, stored: u64) {
        self.count += 1;
        self.out_of_order += u64::from(stored < self.stored);
        self.stored = stored;
        self.last = Some(Instant::now());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.lags.take(now.as_secs(), now.as_secs_f64() - stored as f64 / 1e9, 1);
    }
}

/// The time of a record, in nanoseconds since 1970.
fn stored(line: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"opencdc.createdAt\":\"";
    let at = line.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digits = line[at..].split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Lags {
    /// Takes records that came in this second and have this lag.
    pub(super) fn take(&mut self, at: u64, lag: f64, count: u64) {
        let sum = lag * count as f64;
        match self.0.last_mut().filter(|second| second.at == at) {
            Some(second) => (second.sum, second.count) = (second.sum + sum, second.count + count),
            None => self.0.push(Second { at, sum, count }),
        }
    }

    /// Prints the mean of each second.
    pub(super) fn print(&self) {
        let seconds = self.0.iter().map(|second| format!("{:.1}s/{}", second.mean(), second.count));
        println!("  lag / records, second by second: {}", seconds.collect::<Vec<_>>().join(" "));
    }

    /// How fast the lag grows between two seconds: seconds per second, by the line that fits best.
    pub(super) fn slope(&self, from: u64, to: u64) -> f64 {
        let of_time = self.0.iter().filter(|second| (from..=to).contains(&second.at));
        let points: Vec<(f64, f64)> = of_time.map(|second| ((second.at - from) as f64, second.mean())).collect();
        let count = points.len().max(1) as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (time, lag) = (mean(|point| point.0), mean(|point| point.1));
        let joint: f64 = points.iter().map(|(at, value)| (at - time) * (value - lag)).sum();
        let own: f64 = points.iter().map(|(at, _)| (at - time).powi(2)).sum();
        // Nothing was delivered at all: the lag grows as time does.
        if own == 0.0 { 1.0 } else { joint / own }
    }
}
