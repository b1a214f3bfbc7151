//! How fast the connector is, in calm weather and in bad weather, beside others in the same run.
//!
//! Owns the order of the measurements. Leaves what is measured to `work`, who does it to `contender`, and the table to `table`.
//!
//! The double runs on one core and the contenders on another. All contenders take turns, round by round; what is shown are
//! medians, with the least and the most. Ratios of one run count, not absolute times.
//!
//! `BENCH_ROUNDS` is the number of rounds in place of five, and `BENCH_ONLY` parts of names (`P1`, `P12`, …), with commas between
//! them: only these measurements are taken. `P10h` takes an hour, and is taken only where it is named. `P14` is beside rclone,
//! if it is on the path or where `BENCH_RCLONE` says. The figures are written to
//! `target/speed.json`, too.

#[path = "speed/contender.rs"]
mod contender;
#[path = "speed/copies.rs"]
mod copies;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "shared/double.rs"]
mod double;
#[path = "speed/drain.rs"]
mod drain;
#[path = "speed/native.rs"]
mod native;
#[path = "speed/outcome.rs"]
mod outcome;
#[path = "speed/rows.rs"]
mod rows;
#[path = "speed/table.rs"]
mod table;
#[path = "speed/work.rs"]
mod work;

use contender::Bench;
use table::Table;
use work::Work;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test` runs benches too, to see that they still work; it has its own opinion of what is quick.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    // This program is some of the contenders, too: one that embeds the connector, and those that are its core natively.
    match &arguments[..] {
        [first, rest @ ..] if first == drain::ARGUMENT => return drain::run(rest),
        [first, rest @ ..] if first == native::ARGUMENT => return native::run(rest),
        [first, rest @ ..] if first == rows::ARGUMENT => return rows::run(rest),
        _ => {}
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds = number("BENCH_ROUNDS").unwrap_or(5);
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let wants = |work: &Work| match &only[..] {
        "" => !work.is_long,
        only => only.split(',').any(|part| work.id == part),
    };
    let compiled = work::warm_up();
    Bench::start(&compiled).measure(&compiled, 1);
    let mut table = Table::default();
    for work in work::all().into_iter().filter(wants) {
        let bench = Bench::start(&work);
        let outcomes = bench.measure(&work, rounds);
        table.add(&work, &outcomes);
    }
    table.print();
    table.save(&contender::target().join("speed.json"));
}
