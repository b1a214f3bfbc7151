//! Owns the runs of one target in one process: which inputs there are, how long it goes on, and what becomes of an input that
//! fails. Leaves several targets to the command.
//!
//! The input of the run under way is in a file, so that it is known also where the process dies of it; the memory of the
//! process is bounded, and a run that does not end is a failure.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::mutate::{Mutator, shortened};
use crate::{Target, novelty};

/// Memory that a target's process may ask for: twice that of the component's sandbox.
const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// How long one run may take. The slowest good ones take some hundred milliseconds.
const RUN_MAX: Duration = Duration::from_secs(20);

/// Inputs that are kept because something was new in them.
const KEPT_MAX: usize = 4000;

/// How long targets are run.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// That long.
    For(Duration),
    /// So many runs.
    Runs(u64),
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Inputs that were run.
    pub runs: u64,
    /// Inputs to begin with.
    pub seeds: usize,
    /// Inputs that brought something new.
    pub new: usize,
    /// What an input failed with, and where it was saved.
    pub failure: Option<(String, PathBuf)>,
}

/// Runs a target on its corpus, then on inputs made of it.
///
/// # Errors
///
/// Where files can't be read or written.
pub fn run(target: &Target, corpus: &Path, work: &Path, seed: u64, length: Length) -> io::Result<Outcome> {
    bound_memory()?;
    let under_way = Arc::new(UnderWay::new(target.name, work)?);
    under_way.watch();
    let mut pool = seeds(target, corpus)?;
    let mut outcome = Outcome { runs: 0, seeds: pool.len(), new: 0, failure: None };
    for input in pool.clone() {
        outcome.runs += 1;
        if let Some(why) = under_way.fails(target, &input)? {
            return Ok(Outcome { failure: Some((why, save(target, work, &input)?)), ..outcome });
        }
    }
    let mut mutator = Mutator::new(seed, target.words);
    let begin = Instant::now();
    let is_over = |runs| match length {
        Length::For(long) => begin.elapsed() >= long,
        Length::Runs(count) => runs >= count,
    };
    novelty::is_new();
    let mut made = 0;
    while !is_over(made) {
        let input = mutator.input(&pool);
        made += 1;
        outcome.runs += 1;
        if let Some(why) = under_way.fails(target, &input)? {
            let least = shortened(input, 2000, |input| matches!(under_way.fails(target, input), Ok(Some(_))));
            let why = under_way.fails(target, &least)?.unwrap_or(why);
            return Ok(Outcome { failure: Some((why, save(target, work, &least)?)), ..outcome });
        }
        if novelty::is_new() && pool.len() < KEPT_MAX {
            pool.push(input);
            outcome.new += 1;
        }
    }
    Ok(outcome)
}

/// Runs a target on one input.
///
/// # Errors
///
/// Where memory can't be bounded.
pub fn run_one(target: &Target, input: &[u8]) -> io::Result<Option<String>> {
    bound_memory()?;
    Ok(attempt(target, input))
}

/// The inputs to begin with: those that are kept, in the order of their names, and those that the target makes.
fn seeds(target: &Target, corpus: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    if corpus.is_dir() {
        for entry in fs::read_dir(corpus)? {
            paths.push(entry?.path());
        }
    }
    paths.sort();
    let mut found = paths.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?;
    found.extend((target.seeds)());
    found.push(Vec::new());
    Ok(found)
}

fn save(target: &Target, work: &Path, input: &[u8]) -> io::Result<PathBuf> {
    let path = work.join(format!("{}.failed", target.name));
    fs::write(&path, input)?;
    Ok(path)
}

fn bound_memory() -> io::Result<()> {
    let bound = Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: Some(MEMORY_BYTES_MAX) };
    Ok(setrlimit(Resource::As, bound)?)
}

/// What the target panics with on this input.
fn attempt(target: &Target, input: &[u8]) -> Option<String> {
    let message = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&message);
    std::panic::set_hook(Box::new(move |info| {
        if let Ok(mut kept) = kept.lock() {
            *kept = Some(info.to_string());
        }
    }));
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    drop(std::panic::take_hook());
    let said = message.lock().ok().and_then(|mut said| said.take());
    outcome.err().map(|_| said.unwrap_or_else(|| "it panics".to_owned()))
}

/// The run under way.
struct UnderWay {
    file: File,
    path: PathBuf,
    /// Runs that were begun.
    begun: AtomicU64,
}

impl UnderWay {
    fn new(name: &str, work: &Path) -> io::Result<Self> {
        fs::create_dir_all(work)?;
        let path = work.join(format!("{name}.under-way"));
        Ok(Self { file: File::create(&path)?, path, begun: AtomicU64::new(0) })
    }

    fn fails(&self, target: &Target, input: &[u8]) -> io::Result<Option<String>> {
        self.file.set_len(input.len() as u64)?;
        self.file.write_all_at(input, 0)?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(attempt(target, input))
    }

    /// Ends the process where a run takes too long.
    fn watch(self: &Arc<Self>) {
        let watched = Arc::clone(self);
        std::thread::spawn(move || {
            let (mut before, mut since) = (0, Instant::now());
            loop {
                std::thread::park_timeout(RUN_MAX / 10);
                let begun = watched.begun.load(Ordering::Relaxed);
                if begun != before {
                    (before, since) = (begun, Instant::now());
                } else if since.elapsed() > RUN_MAX && begun > 0 {
                    println!("a run takes more than {} s: its input is {}", RUN_MAX.as_secs(), watched.path.display());
                    std::process::exit(1);
                }
            }
        });
    }
}
