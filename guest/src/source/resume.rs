//! Owns where a position leads: whether what was saved goes with it, and what the first listing means where it does not.
//! Leaves loading to `checkpoint`.
//!
//! Where state is missing, belongs to another run or is newer than the position, the catalogue is made anew from the first
//! listing, as of the position's time less `lookback`: rather twice than lost.

use std::rc::Rc;

use super::checkpoint::{CheckpointStore, Head};
use super::identity::Digester;
use super::judge::Rule;
use super::queue::ALL;
use super::worker;
use crate::config::{SourceConfig, Start};
use crate::error::Result;
use crate::ports::{Level, Ports};
use crate::position::{Extension, Part, Phase, Position};
use crate::time::Timestamp;

/// What was handed out before, as far as positions tell.
#[derive(Clone, Debug, Default)]
pub(super) struct Resumed {
    /// The place of the next change in the first plan that is left.
    pub(super) next: u64,
    /// The newest modification of the snapshot, in seconds.
    pub(super) seconds: u64,
    /// The part of that change after which its object goes on.
    pub(super) within: Option<Part>,
    /// The last key of the snapshot of which all was told.
    pub(super) told_whole: Option<Rc<str>>,
}

/// What goes with a position.
enum Fit {
    /// What was saved goes on.
    GoesOn,
    /// Another run begins, and its first listing means this.
    Anew(Rule, Option<&'static str>),
}

/// Takes up what was saved, or begins another run: nothing is requested of the store before that.
pub(super) fn resume<P: Ports>(
    ports: &P,
    config: &SourceConfig,
    store: &mut CheckpointStore<P>,
    has_state: bool,
    position: Option<&[u8]>,
) -> Result<Resumed> {
    let position = position.map(|p| Position::decode(p, worker::scope(config))).transpose()?;
    let extension = position.as_ref().and_then(|position| position.extension.as_ref());
    let fit = match (&position, extension) {
        (Some(position), Some(extension)) if has_state && extension.run == store.head.run => {
            fit(&store.head, position, extension, config)
        }
        _ => {
            let first = position.as_ref().map_or_else(|| first_rule(config), |position| rule_since(position, config));
            let why = position.is_some().then_some("no saved state matches the position");
            if has_state && has_all(&store.head, &first) { Fit::GoesOn } else { Fit::Anew(first, why) }
        }
    };
    if has_state {
        store.remove_orphans()?;
    }
    match fit {
        Fit::GoesOn => {}
        Fit::Anew(rule, why) => {
            if let Some(why) = why {
                let line = format!("{why}: changes of the lookback window are delivered again");
                ports.log(Level::Warn, &line);
            }
            let digester = Digester { keys: (ports.random(), ports.random()) };
            store.begin_run(Head::new(ports.random(), digester, rule))?;
            return Ok(Resumed { seconds: position.map_or(0, |position| position.seconds), ..Resumed::default() });
        }
    }
    let seconds = position.as_ref().map_or(0, |position| position.seconds);
    let Some(extension) = extension.filter(|extension| extension.run == store.head.run) else {
        return Ok(Resumed { seconds, ..Resumed::default() });
    };
    let part = extension.part;
    store.resume_at((extension.plan, extension.index, part.map_or(ALL, Part::number)));
    let is_live = store.head.plans.iter().any(|plan| plan.id == extension.plan);
    let step = match () {
        () if is_broken!(RepeatTheKeptRecord) => 0,
        () if is_broken!(SkipARecordAfterARestart) => 2,
        () if part.is_some() => 0,
        () => 1,
    };
    let next = if is_live { extension.index + step } else { 0 };
    let within = part.filter(|_| is_live);
    let told_whole = position.as_ref().filter(|_| part.is_none_or(Part::names_key_before));
    Ok(Resumed { next, seconds, within, told_whole: told_whole.map(|position| Rc::from(&*position.key)) })
}

/// Whether the saved state of a position's run is as old as the position.
fn fit(head: &Head, position: &Position, extension: &Extension, config: &SourceConfig) -> Fit {
    if extension.plan >= head.next_plan {
        return Fit::Anew(rule_since(position, config), Some("the position is newer than the saved state"));
    }
    let place = (extension.plan, extension.index);
    if head.plans.iter().any(|plan| plan.id == extension.plan) {
        return Fit::GoesOn;
    }
    match head.acked {
        // Of an object of which parts were left, the rest went with the plan.
        Some(acked) if place < acked || (place == acked && extension.part.is_some()) => Fit::Anew(
            rule_since(position, config),
            Some("the position is older than the saved state, which goes no further back"),
        ),
        _ => Fit::GoesOn,
    }
}

/// Whether what is saved is all that a source has to tell whose first listing means this. An empty bucket has a beginning,
/// too, and so has a position after which nothing was handed out yet: what was stored since then are changes.
fn has_all(head: &Head, first: &Rule) -> bool {
    !head.has_dropped && head.has_versions.is_some() && head.first == *first
}

/// What the first listing means without a position.
fn first_rule(config: &SourceConfig) -> Rule {
    match config.start {
        Start::Snapshot => Rule::Snapshot,
        Start::Now => Rule::Now,
        Start::Time(time) => Rule::Since(time),
    }
}

/// What the first listing means where the catalogue is made anew.
fn rule_since(position: &Position, config: &SourceConfig) -> Rule {
    let cut = position.extension.as_ref().map_or(Timestamp::from_seconds(position.seconds), |e| e.cut);
    let since = cut.before(config.lookback);
    let part = position.extension.as_ref().and_then(|extension| extension.part);
    match position.phase {
        // Nothing was told whole yet.
        Phase::Snapshot if part.is_some_and(|part| !part.names_key_before()) => Rule::Snapshot,
        Phase::Snapshot => Rule::Resumed { after: position.key.clone(), since },
        Phase::Changes => Rule::Since(since),
    }
}
