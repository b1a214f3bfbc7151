//! Owns what a contender's turn has cost, and medians of turns. Leaves judging them to `work`.

use super::double::Counts;

/// In which Linux counts processor time for programs, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one turn has cost.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// From the start of the process to its end.
    pub(super) seconds: f64,
    /// From its first request to its last.
    pub(super) window: f64,
    /// From the start of the process to its first request.
    pub(super) first: f64,
    /// Seconds of processor time.
    pub(super) cpu: f64,
    /// Bytes resident at most.
    pub(super) peak: f64,
    /// The most that was resident in the last third of its time, over the most in the third before.
    pub(super) growth: f64,
    /// Seconds of processor time of the double meanwhile.
    pub(super) double: f64,
    /// What the double has counted.
    pub(super) counts: Counts,
}

/// The middle one of some figures, and the outer ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Median {
    pub(super) least: f64,
    pub(super) middle: f64,
    pub(super) most: f64,
}

/// All turns of a contender.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) turns: Vec<Turn>,
}

impl Outcome {
    /// A figure of its turns.
    pub(super) fn of(&self, figure: impl Fn(&Turn) -> f64) -> Median {
        let mut all: Vec<f64> = self.turns.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        Median { least: all[0], middle: all[all.len() / 2], most: all[all.len() - 1] }
    }

    /// The middle count of this name.
    pub(super) fn count(&self, name: &str) -> f64 {
        self.of(|turn| turn.counts.of(name) as f64).middle
    }

    /// The share of its time in which the double was busy.
    pub(super) fn double_busy(&self) -> f64 {
        self.of(|turn| turn.double / turn.window.max(0.001)).middle
    }
}

/// Seconds of processor time of a process so far, and of its children that have ended.
pub(super) fn cpu(pid: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let (_, fields) = stat.rsplit_once(')').expect("its name is in parentheses");
    let mut ticks = fields.split_whitespace().skip(11).map(|field| field.parse::<f64>().expect("a number"));
    let mut next = || ticks.next().expect("it has 15 fields and more");
    let (own, children) = (next() + next(), next() + next());
    (own / TICKS_PER_SECOND, children / TICKS_PER_SECOND)
}

/// What a process had resident over its time.
#[derive(Debug, Default)]
pub(super) struct Resident {
    /// Bytes each time that it was looked at.
    looks: Vec<f64>,
    /// Bytes at most, by the system's own count.
    pub(super) peak: f64,
}

impl Resident {
    /// Looks at a process, of which nothing is left once it has ended.
    pub(super) fn look(&mut self, pid: u32) {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return };
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let (Some(now), Some(peak)) = (kib("VmRSS:"), kib("VmHWM:")) else { return };
        self.looks.push(now * 1024.0);
        self.peak = self.peak.max(peak * 1024.0);
    }

    /// The most in the last third over the most in the third before.
    pub(super) fn growth(&self) -> f64 {
        let third = self.looks.len() / 3;
        let most = |looks: &[f64]| looks.iter().copied().fold(1.0, f64::max);
        most(&self.looks[self.looks.len() - third..]) / most(&self.looks[third..self.looks.len() - third])
    }
}
