//! Owns the table: what was measured, beside what, and whether goals are reached; for people and as JSON. Leaves measuring to others.

use std::path::Path;

use serde_json::{Value, json};

use super::outcome::{Median, Outcome};
use super::work::{Goal, Work};

/// The share of a turn in which a double that is busy is what was measured.
const BUSY: f64 = 0.85;

#[derive(Default)]
pub(super) struct Table {
    lines: Vec<String>,
    rows: Vec<Value>,
    judged: usize,
    missed: usize,
}

impl Table {
    /// Adds a measurement.
    pub(super) fn add(&mut self, work: &Work, outcomes: &[Outcome]) {
        self.line(format!("\n{} {}", work.id, work.what));
        let mut contenders = Vec::new();
        for outcome in outcomes {
            let (time, cpu, peak) = (
                outcome.of(|turn| turn.window),
                outcome.of(|turn| turn.cpu),
                outcome.of(|turn| turn.peak / 1_048_576.0),
            );
            self.line(format!(
                "  {:<28} {:>24} s {:>22} s CPU {:>6.0} MiB {:>8.0} requests {:>5.0} connections, double {:>3.0} % busy",
                outcome.name,
                shown(time),
                shown(cpu),
                peak.middle,
                outcome.count("requests"),
                outcome.count("connections"),
                outcome.double_busy() * 100.0,
            ));
            contenders.push(json!({
                "name": outcome.name,
                "seconds": figures(time),
                "process_seconds": figures(outcome.of(|turn| turn.seconds)),
                "first_request_seconds": figures(outcome.of(|turn| turn.first)),
                "cpu_seconds": figures(cpu),
                "peak_mib": figures(peak),
                "requests": outcome.count("requests"),
                "connections": outcome.count("connections"),
                "bytes": outcome.count("bytes"),
                "double_busy": outcome.double_busy(),
            }));
        }
        let is_busy = outcomes.iter().any(|outcome| outcome.double_busy() > BUSY);
        let mut judgements = Vec::new();
        for judgement in (work.judge)(outcomes) {
            let (sign, goal, holds) = match judgement.goal {
                Goal::AtLeast(goal) => (">=", goal, judgement.measured >= goal),
                Goal::AtMost(goal) => ("<=", goal, judgement.measured <= goal),
            };
            let verdict = match holds {
                _ if is_busy && judgement.is_of_time => "not judged: the double is the bottleneck",
                true => "ok",
                false => "MISSED",
            };
            self.judged += usize::from(verdict.len() < 10);
            self.missed += usize::from(verdict == "MISSED");
            self.line(format!("    {:<44} {:>10.3} {sign} {goal:<8} {verdict}", judgement.what, judgement.measured));
            judgements.push(json!({
                "what": judgement.what, "measured": judgement.measured, "goal": format!("{sign} {goal}"), "verdict": verdict,
            }));
        }
        self.rows.push(json!({
            "id": work.id, "what": work.what, "contenders": contenders, "goals": judgements,
        }));
    }

    fn line(&mut self, line: String) {
        println!("{line}");
        self.lines.push(line);
    }

    /// Prints all of it again, without what was printed in between.
    pub(super) fn print(&self) {
        println!("\n==========\nmedians, least and most in parentheses");
        self.lines.iter().for_each(|line| println!("{line}"));
        println!("\n{} of {} goals reached", self.judged - self.missed, self.judged);
    }

    /// Writes it as JSON.
    pub(super) fn save(&self, path: &Path) {
        let text = serde_json::to_string_pretty(&self.rows).expect("figures are JSON");
        std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("written to {}", path.display());
    }
}

fn shown(median: Median) -> String {
    format!("{:.3} ({:.3}-{:.3})", median.middle, median.least, median.most)
}

fn figures(median: Median) -> Value {
    json!({ "median": median.middle, "min": median.least, "max": median.most })
}
