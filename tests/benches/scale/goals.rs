//! Owns the table: what was measured, what the goal is, and whether it is reached. Leaves measuring to others.

use std::fmt::Display;

/// The rows of the table.
#[derive(Debug, Default)]
pub(super) struct Goals {
    rows: Vec<[String; 4]>,
}

impl Goals {
    /// A figure that must not be above its goal.
    pub(super) fn at_most(&mut self, what: &str, measured: f64, goal: f64, unit: &str) {
        let outcome = if measured <= goal { "ok" } else { "MISSED" };
        self.row(what, format!("{}{unit}", number(measured)), format!("<= {}{unit}", number(goal)), outcome);
    }

    /// A fact that must hold.
    pub(super) fn holds(&mut self, what: &str, measured: impl Display, goal: &str, holds: bool) {
        self.row(what, measured.to_string(), goal.to_owned(), if holds { "ok" } else { "MISSED" });
    }

    /// A figure without a goal.
    pub(super) fn figure(&mut self, what: &str, measured: impl Display) {
        self.row(what, measured.to_string(), String::new(), "");
    }

    fn row(&mut self, what: &str, measured: String, goal: String, outcome: &str) {
        println!("  {what:<72} {measured:>16} {goal:>16} {outcome}");
        self.rows.push([what.to_owned(), measured, goal, outcome.to_owned()]);
    }

    /// Prints all rows again, below each other.
    pub(super) fn print(&self) {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths = [width(0), width(1).max(8), width(2).max(4)];
        println!(
            "\n{:<w0$}  {:>w1$}  {:>w2$}",
            "what",
            "measured",
            "goal",
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2]
        );
        for [what, measured, goal, outcome] in &self.rows {
            println!(
                "{what:<w0$}  {measured:>w1$}  {goal:>w2$}  {outcome}",
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2]
            );
        }
        let missed = self.rows.iter().filter(|row| row[3] == "MISSED").count();
        let judged = self.rows.iter().filter(|row| !row[3].is_empty()).count();
        println!("{} of {judged} goals reached", judged - missed);
    }
}

/// A number with as many digits as matter.
fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
