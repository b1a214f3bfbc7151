//! Owns the command `histories`: carries out a range of seeds, says which fail, and cuts those down. Leaves histories to
//! the library.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use s3_connector_histories::{Complaint, Profile, Promise, history, hunt, run, shrink};

const USAGE: &str = "\
histories --seeds A..B [--threads N] [--profile NAME] [--overlook PROMISE] [--keep-going]
histories --replay SEED [--profile NAME] [--overlook PROMISE]
histories --mutants [--threads N]

Carries out seeded histories of a bucket and a reader, and checks what the source tells.

  --seeds A..B     the seeds from A up to, but not including, B
  --threads N      2 by default
  --profile NAME   histories of one kind alone: plain, uploads-by-commit, uploads-by-start, purges, switches, clocks,
                   unversioned, stateless, all
  --overlook PROMISE
                   don't look at a promise: told, once, order, lastword, end, operation, content, state, rest, failure
  --keep-going     count failures instead of stopping at the first
  --mutants        break change detection in each known way, and print which history complains of it first
  --replay SEED    carry one out, cut it down if it fails, and print all that happens";

struct Arguments {
    seeds: (u64, u64),
    threads: usize,
    profile: Option<Profile>,
    keeps_going: bool,
    replay: Option<u64>,
    overlooked: Vec<Promise>,
    mutants: bool,
}

fn parse() -> Option<Arguments> {
    let mut found = Arguments {
        seeds: (0, 0),
        threads: 2,
        profile: None,
        keeps_going: false,
        replay: None,
        overlooked: Vec::new(),
        mutants: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--mutants" => found.mutants = true,
            "--keep-going" => found.keeps_going = true,
            "--seeds" => {
                let range = arguments.next()?;
                let (from, to) = range.split_once("..")?;
                found.seeds = (from.parse().ok()?, to.parse().ok()?);
            }
            "--overlook" => {
                let name = arguments.next()?;
                found.overlooked.push(Promise::ALL.into_iter().find(|promise| promise.name() == name)?);
            }
            "--threads" => found.threads = arguments.next()?.parse().ok()?,
            "--profile" => {
                let name = arguments.next()?;
                found.profile = Some(Profile::ALL.into_iter().find(|profile| profile.name() == name)?);
            }
            "--replay" => found.replay = Some(arguments.next()?.parse().ok()?),
            _ => return None,
        }
    }
    (found.replay.is_some() || found.mutants || found.seeds.0 < found.seeds.1).then_some(found)
}

fn main() -> ExitCode {
    let Some(arguments) = parse() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(seed) = arguments.replay {
        return replay(seed, &arguments);
    }
    if arguments.mutants { mutants(arguments.threads) } else { many(&arguments) }
}

/// Breaks change detection in each known way.
fn mutants(threads: usize) -> ExitCode {
    println!("{:32} {:>8} {:>10} {:>8}  complaint", "mutant", "seed", "histories", "seconds");
    let found = hunt(0, u64::MAX, Duration::from_secs(60), threads);
    for caught in &found {
        let name = format!("{:?}", caught.mutant);
        let (seed, complaint) = match &caught.by {
            Some((seed, complaint)) => (seed.to_string(), complaint.to_string()),
            None => ("-".to_owned(), "NOBODY COMPLAINS".to_owned()),
        };
        println!("{name:32} {seed:>8} {:>10} {:>8.2}  {complaint}", caught.histories, caught.elapsed.as_secs_f64());
    }
    if found.iter().all(|caught| caught.by.is_some()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Carries one out, and prints it.
fn replay(seed: u64, arguments: &Arguments) -> ExitCode {
    let overlooked = &arguments.overlooked;
    let whole = history(seed, arguments.profile);
    let Some(complaint) = run(&whole, false, overlooked).complaint else {
        let outcome = run(&whole, true, overlooked);
        println!("{whole}{}\nholds", outcome.transcript.join("\n"));
        return ExitCode::SUCCESS;
    };
    let least = shrink(&whole, complaint.promise, overlooked);
    let outcome = run(&least, true, overlooked);
    println!("{least}{}", outcome.transcript.join("\n"));
    if let Some(complaint) = outcome.complaint {
        println!("\n{complaint}");
    }
    ExitCode::FAILURE
}

#[derive(Default)]
struct Tally {
    histories: BTreeMap<Profile, u64>,
    failures: BTreeMap<(Profile, Promise), (u64, u64)>,
    records: u64,
    calls: u64,
    sources: u64,
    first: Option<(u64, Complaint)>,
}

fn many(arguments: &Arguments) -> ExitCode {
    let (from, to) = arguments.seeds;
    println!("histories {from}..{to}");
    let (next, stops) = (AtomicU64::new(from), AtomicBool::new(false));
    let tally = Mutex::new(Tally::default());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| work(arguments, &next, &stops, &tally));
        }
    });
    let tally = tally.into_inner().expect("no thread panicked");
    report(&tally, start.elapsed());
    match &tally.first {
        None => ExitCode::SUCCESS,
        Some((seed, complaint)) => {
            println!("\nseed {seed}: {complaint}");
            if !arguments.keeps_going {
                replay(*seed, arguments);
            }
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &Arguments, next: &AtomicU64, stops: &AtomicBool, tally: &Mutex<Tally>) {
    const CHUNK: u64 = 64;
    let to = arguments.seeds.1;
    while !stops.load(Ordering::Relaxed) {
        let from = next.fetch_add(CHUNK, Ordering::Relaxed);
        if from >= to {
            break;
        }
        for seed in from..to.min(from + CHUNK) {
            let history = history(seed, arguments.profile);
            let attempt = || run(&history, false, &arguments.overlooked);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt));
            let outcome = outcome.unwrap_or_else(|panic| {
                println!("seed {seed} panics");
                std::panic::resume_unwind(panic)
            });
            let mut tally = tally.lock().expect("no thread panicked");
            *tally.histories.entry(history.profile).or_default() += 1;
            tally.records += outcome.records;
            tally.calls += outcome.calls;
            tally.sources += outcome.sources;
            if let Some(complaint) = outcome.complaint {
                let failures = tally.failures.entry((history.profile, complaint.promise)).or_insert((0, seed));
                failures.0 += 1;
                if tally.first.as_ref().is_none_or(|(first, _)| seed < *first) {
                    tally.first = Some((seed, complaint));
                }
                stops.store(!arguments.keeps_going, Ordering::Relaxed);
            }
        }
    }
}

fn report(tally: &Tally, elapsed: Duration) {
    let count: u64 = tally.histories.values().sum();
    for (profile, histories) in &tally.histories {
        let of = tally.failures.iter().filter(|((of, _), _)| of == profile);
        let (mut wrong, mut parts) = (0, Vec::new());
        for ((_, promise), (failures, seed)) in of {
            wrong += failures;
            parts.push(format!("{promise:?} {failures} (seed {seed})"));
        }
        println!("{:18} {histories:8} histories {wrong:7} wrong  {}", profile.name(), parts.join(", "));
    }
    println!(
        "{count} histories in {:.1} s, {:.0} per second; {} sources, {} host calls, {} records",
        elapsed.as_secs_f64(),
        count as f64 / elapsed.as_secs_f64(),
        tally.sources,
        tally.calls,
        tally.records
    );
}
