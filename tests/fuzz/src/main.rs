//! Owns the command `fuzz`: runs targets, two side by side, each in a process of its own, and says what failed and how to see it
//! again. Leaves targets, inputs and runs to the library.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3_connector_fuzz::runner::{self, Length};
use s3_connector_fuzz::{TARGETS, Target, named};

const USAGE: &str = "\
fuzz [--seconds N | --runs N] [--seed N] [--jobs N] [TARGET...]
fuzz --input FILE TARGET

Runs targets on their corpora, then on random inputs made of those, and checks what must hold.

  --seconds N   how long each target is run, 60 by default
  --runs N      how many inputs are made for each; with a seed, always the same ones
  --seed N      what inputs follow from; follows from the time by default
  --jobs N      targets side by side, 2 by default
  --input FILE  run one input";

struct Arguments {
    length: Length,
    seed: u64,
    jobs: usize,
    input: Option<PathBuf>,
    /// Whether this process runs its one target itself.
    is_worker: bool,
    targets: Vec<&'static Target>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut found = Arguments {
        length: Length::For(Duration::from_secs(60)),
        seed: now.as_micros() as u64,
        jobs: 2,
        input: None,
        is_worker: false,
        targets: Vec::new(),
    };
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--seconds" => found.length = Length::For(Duration::from_secs(arguments.next()?.parse().ok()?)),
            "--runs" => found.length = Length::Runs(arguments.next()?.parse().ok()?),
            "--seed" => found.seed = arguments.next()?.parse().ok()?,
            "--jobs" => found.jobs = arguments.next()?.parse().ok().filter(|jobs| *jobs > 0)?,
            "--input" => found.input = Some(arguments.next()?.into()),
            "--worker" => found.is_worker = true,
            name => found.targets.push(named(name)?),
        }
    }
    if (found.input.is_some() || found.is_worker) && found.targets.len() != 1 {
        return None;
    }
    if found.targets.is_empty() {
        found.targets = TARGETS.iter().collect();
    }
    Some(found)
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("{USAGE}\n\nTargets: {}", names.join(", "));
        return ExitCode::from(2);
    };
    let outcome = match (&arguments.input, arguments.is_worker) {
        (Some(path), _) => one(arguments.targets[0], path),
        (None, true) => worker(&arguments),
        (None, false) => all(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn one(target: &Target, path: &PathBuf) -> std::io::Result<bool> {
    let failure = runner::run_one(target, &std::fs::read(path)?)?;
    println!("{}: {}", target.name, failure.as_deref().unwrap_or("holds"));
    Ok(failure.is_none())
}

/// Where inputs are that failed or are under way.
fn work() -> PathBuf {
    PathBuf::from("target/fuzz")
}

fn worker(arguments: &Arguments) -> std::io::Result<bool> {
    let target = arguments.targets[0];
    let corpus = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/corpora")).join(target.name);
    let outcome = runner::run(target, &corpus, &work(), arguments.seed, arguments.length)?;
    println!("{} runs from {} seeds, {} new", outcome.runs, outcome.seeds, outcome.new);
    if let Some((why, path)) = &outcome.failure {
        println!("FAILS: {why}\nits input: {}", path.display());
    }
    Ok(outcome.failure.is_none())
}

/// Runs each target in a process of its own.
fn all(arguments: &Arguments) -> std::io::Result<bool> {
    println!("seed {}", arguments.seed);
    let waiting = Mutex::new(arguments.targets.iter().copied().collect::<VecDeque<_>>());
    let failed = Mutex::new(Vec::new());
    let take = || waiting.lock().ok().and_then(|mut waiting| waiting.pop_front());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                while let Some(target) = take() {
                    if !report(target, start(target, arguments))
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push(target.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    if !failed.is_empty() {
        println!("failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

fn start(target: &Target, arguments: &Arguments) -> std::io::Result<Output> {
    let (name, length) = match arguments.length {
        Length::For(long) => ("--seconds", long.as_secs()),
        Length::Runs(count) => ("--runs", count),
    };
    Command::new(std::env::current_exe()?)
        .args(["--worker", target.name, "--seed", &arguments.seed.to_string(), name, &length.to_string()])
        .output()
}

/// Prints what became of a target; whether all is well.
fn report(target: &Target, output: std::io::Result<Output>) -> bool {
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            println!("{:12} did not run: {error}", target.name);
            return false;
        }
    };
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{:12} {}", target.name, said.trim_end());
    let is_well = output.status.success();
    if !is_well {
        // Where nothing was said the process died of its input, of too much memory for one.
        let path =
            work().join(format!("{}.{}", target.name, if said.contains("FAILS") { "failed" } else { "under-way" }));
        let (errors, status, name) = (errors.trim_end(), output.status, target.name);
        println!("{errors}\n{status}: again with `target/testing/fuzz --input {} {name}`", path.display());
    }
    is_well
}
