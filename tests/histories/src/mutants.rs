//! Owns the test of the test: each known way to break change detection must be complained of by some history. Leaves the
//! ways to the connector's core.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use s3_connector::testing::mutant::{self, Mutant};

use crate::check::Complaint;
use crate::generate::history;
use crate::run::run;

/// How a mutant was caught.
#[derive(Debug)]
pub struct Caught {
    /// The mutant.
    pub mutant: Mutant,
    /// The seed of the first history that complains of it alone, and its complaint; `None` if it lives.
    pub by: Option<(u64, Complaint)>,
    /// Histories until then.
    pub histories: u64,
    /// Time until then.
    pub elapsed: Duration,
}

/// Carries out the histories from `from` on with each mutant, until one complains, for at most `patience` and at most
/// `histories_max` each.
pub fn hunt(from: u64, histories_max: u64, patience: Duration, threads: usize) -> Vec<Caught> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let caught = hunt_one(*mutant, from, histories_max, patience);
                    found.lock().expect("no thread panicked").push(caught);
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread panicked");
    found.sort_by_key(|caught| Mutant::ALL.iter().position(|mutant| *mutant == caught.mutant));
    found
}

fn hunt_one(mutant: Mutant, from: u64, histories_max: u64, patience: Duration) -> Caught {
    let start = Instant::now();
    for seed in from..from + histories_max {
        let history = history(seed, None);
        mutant::set(Some(mutant));
        let complaint = run(&history, false, &[]).complaint;
        mutant::set(None);
        let (histories, elapsed) = (seed + 1 - from, start.elapsed());
        if let Some(complaint) = complaint.filter(|_| run(&history, false, &[]).complaint.is_none()) {
            return Caught { mutant, by: Some((seed, complaint)), histories, elapsed };
        }
        if elapsed > patience {
            return Caught { mutant, by: None, histories, elapsed };
        }
    }
    Caught { mutant, by: None, histories: histories_max, elapsed: start.elapsed() }
}
