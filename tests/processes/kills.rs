//! `kill -9` at random moments, again and again, and what must hold afterwards.
//!
//! What is killed, when, and what happens in the bucket meanwhile follows from a seed, but for the races of processes
//! and threads. The seed is printed before it is used; S3_CONNECTOR_SEED starts with it again. A test run has a round
//! of each kind; with S3_CONNECTOR_KILL_MINUTES set, rounds with fresh seeds go on for that long.

mod churn;
mod destination;
mod ledger;
mod pipeline;
mod source;
mod trigger;

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

pub use trigger::Doom;

use crate::dice::Dice;

#[tokio::test]
async fn a_source_that_is_killed_loses_nothing_and_repeats_only_what_was_not_acked() {
    rounds("source", source::round).await;
}

#[tokio::test]
async fn a_pipeline_that_is_killed_stores_every_version_and_no_torn_object() {
    rounds("pipeline", pipeline::round).await;
}

#[tokio::test]
async fn a_destination_that_is_killed_and_fed_again_stores_every_batch_once() {
    rounds("destination", destination::round).await;
}

/// Runs rounds, each of which tells how often it killed.
async fn rounds(what: &str, round: impl AsyncFn(Dice) -> usize) {
    let started = Instant::now();
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        let number = text.parse::<u64>();
        Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
    };
    let minutes = number("S3_CONNECTOR_KILL_MINUTES").unwrap_or(0);
    let mut seed = number("S3_CONNECTOR_SEED").unwrap_or_else(fresh_seed);
    let mut kills = 0;
    loop {
        say(&format!("kills of a {what}: S3_CONNECTOR_SEED={seed}"));
        kills += round(Dice::new(seed)).await;
        say(&format!("kills of a {what}: {kills} survived"));
        if started.elapsed() >= Duration::from_secs(60 * minutes) {
            break;
        }
        seed = Dice::new(seed).word();
    }
}

fn fresh_seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Dice::new(since.unwrap().as_nanos() as u64).word()
}

/// Past the harness, which swallows what passing tests print. Nobody may be listening.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
