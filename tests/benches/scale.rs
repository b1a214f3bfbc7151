//! How the source copes with buckets of a million keys: requests, memory, processor time, state and lag, each beside its goal.
//!
//! Owns the order of the measurements and the table. Leaves the buckets to the package `synthetic-s3`, the command as a
//! process to `command`, the native core to `core`.
//!
//! What depends on the machine is a ratio of two figures of one run, but for memory and for the time until a restarted
//! source sends its first request.
//!
//! `BENCH_KEYS` is the number of keys in place of a million, `BENCH_SECONDS` how long keys keep changing in place of a
//! minute, and `BENCH_ONLY` parts of names (`core`, `million`, `versions`, `desert`, `empty-pages`, `changing`), with commas
//! between them: only these measurements are taken.

#[path = "scale/command.rs"]
mod command;
#[path = "scale/core.rs"]
mod core;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "shared/double.rs"]
mod double;
#[path = "scale/goals.rs"]
mod goals;
#[path = "scale/lines.rs"]
mod lines;
#[path = "scale/processes.rs"]
mod processes;

use goals::Goals;

/// How much is measured.
#[derive(Clone, Debug)]
struct Extent {
    keys: u64,
    seconds: u64,
    only: Option<String>,
}

impl Extent {
    fn of_environment() -> Self {
        let number = |name: &str, usual| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value.map_or(usual, |value| value.replace('_', "").parse().expect("a number"))
        };
        Self {
            keys: number("BENCH_KEYS", 1_000_000),
            seconds: number("BENCH_SECONDS", 60),
            only: std::env::var("BENCH_ONLY").ok().filter(|only| !only.is_empty()),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|part| name.contains(part)))
    }
}

fn main() {
    // `cargo test` runs benches too, to see that they still work; it has its own opinion of what is quick.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let extent = Extent::of_environment();
    let mut goals = Goals::default();
    if extent.wants("core") {
        core::measure(&extent, &mut goals);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(processes::measure(&extent, &mut goals));
    goals.print();
}
