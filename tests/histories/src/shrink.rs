//! Owns the cutting down of a history that fails: the fewer steps, the sooner somebody understands it. Leaves carrying
//! it out to `run`.

use crate::check::Promise;
use crate::history::{Act, History, When};
use crate::run::run;

/// A history that breaks the same promise, of which nothing can be left out.
pub fn shrink(history: &History, promise: Promise, overlooked: &[Promise]) -> History {
    let fails = |history: &History| {
        let complaint = run(history, false, overlooked).complaint;
        complaint.is_some_and(|found| found.promise == promise)
    };
    let mut least = history.clone();
    loop {
        let cuts = smaller(&least);
        match cuts.into_iter().find(fails) {
            Some(cut) => least = cut,
            None => return least,
        }
    }
}

/// Everything that is a little simpler.
fn smaller(history: &History) -> Vec<History> {
    let mut cuts = Vec::new();
    let mut cut = |change: &dyn Fn(&mut History)| {
        let mut other = history.clone();
        change(&mut other);
        cuts.push(other);
    };
    for at in 0..history.before.len() {
        cut(&|history| {
            history.before.remove(at);
        });
    }
    for at in 0..history.steps.len() {
        cut(&|history| {
            history.steps.remove(at);
        });
    }
    let reader = &history.reader;
    if reader.lag > 0 {
        cut(&|history| history.reader.lag = 0);
    }
    if reader.group > 1 {
        cut(&|history| history.reader.group = 1);
    }
    if reader.concurrency > 1 {
        cut(&|history| history.reader.concurrency = 1);
    }
    if reader.records_max < 1000 {
        cut(&|history| history.reader.records_max = 1000);
    }
    if reader.cut > 0 {
        cut(&|history| history.reader.cut -= 1);
    }
    if history.store.page < 1000 {
        cut(&|history| history.store.page = 1000);
    }
    if history.store.latency_ms > 0 {
        cut(&|history| history.store.latency_ms = 0);
    }
    for (at, step) in history.steps.iter().enumerate() {
        if step.when != When::Idle {
            cut(&|history| history.steps[at].when = When::Idle);
        }
        if let When::Call(calls @ 1..) = step.when {
            cut(&|history| history.steps[at].when = When::Call(calls - 1));
        }
        if let Act::Crash { away, after } = step.act
            && !away.is_zero()
        {
            cut(&|history| history.steps[at].act = Act::Crash { after, away: Default::default() });
        }
    }
    cuts
}
