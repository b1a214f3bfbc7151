//! Owns where a position leads: into a snapshot or to a poll, with or without the saved state that goes with it. Leaves
//! loading state to `checkpoint`.
//!
//! Where state is missing, belongs to another run or was replaced by a later one, the source polls the whole window
//! again: rather twice than lost.

use std::cell::RefCell;
use std::rc::Rc;

use super::changes::Uploads;
use super::checkpoint::{Checkpoint, CheckpointStore, Plan, SnapshotStart};
use super::seen::Seen;
use super::snapshot::SnapshotCursor;
use super::worker::{self, ResumeAt};
use crate::config::SourceConfig;
use crate::error::Result;
use crate::ports::{Level, Ports};
use crate::position::{Phase, Position};
use crate::time::Timestamp;

/// The position and the saved state that goes with it, before any request to the store.
#[derive(Debug)]
pub(super) struct Resumption {
    position: Option<Position>,
    snapshot: Option<SnapshotStart>,
    plan: Option<Plan>,
}

/// Where a source begins, and under which run.
#[derive(Debug)]
pub(super) struct ResumePoint {
    pub(super) run: u64,
    pub(super) at: ResumeAt,
}

/// Reads the position and finds the state that goes with it.
pub(super) fn load<P: Ports>(
    position: Option<&[u8]>,
    config: &SourceConfig,
    checkpoints: &mut CheckpointStore<P>,
) -> Result<Resumption> {
    let position = position.map(|p| Position::decode(p, worker::scope(config))).transpose()?;
    let (mut snapshot, mut plan) = (None, None);
    if let Some(extension) = position.as_ref().and_then(|p| p.extension.as_ref()) {
        if extension.poll == 0 {
            snapshot = checkpoints.load_snapshot(extension.run, extension.index)?;
        } else {
            plan = checkpoints.load_plan(extension.run, extension.poll)?;
        }
    }
    Ok(Resumption { position, snapshot, plan })
}

impl Resumption {
    /// Decides where to begin.
    pub(super) fn resolve<P: Ports>(self, ports: &P, config: &SourceConfig, seen: &Rc<RefCell<Seen>>) -> ResumePoint {
        let Some(position) = self.position else {
            return ResumePoint { run: ports.random(), at: ResumeAt::Snapshot(SnapshotCursor::default()) };
        };
        let (cut, poll, index) = match &position.extension {
            Some(extension) => (extension.cut, extension.poll, extension.index),
            None => (Timestamp::from_seconds(position.seconds), 0, 0),
        };
        if let Some(plan) = self.plan {
            let (run, checkpoint, next) = (plan.run, plan.next.clone(), plan.poll + 1);
            let plan = Some((plan, index + 1));
            return ResumePoint { run, at: ResumeAt::Changes { plan, checkpoint, poll: next, history: None } };
        }
        let is_known = self.snapshot.is_some();
        if !is_known {
            let line = "no saved state matches the position: changes of the lookback window are delivered again, and \
                        uploads that were in progress are not known";
            ports.log(Level::Warn, line);
        }
        let run = self.snapshot.as_ref().map_or_else(|| ports.random(), |start| start.run);
        let uploads = self.snapshot.map(|start| {
            *seen.borrow_mut() = start.seen;
            start.uploads
        });
        let at = match position.phase {
            Phase::Snapshot => ResumeAt::Snapshot(SnapshotCursor {
                after: Some(position.key),
                index: index + u64::from(position.extension.is_some()),
                seconds: position.seconds,
                cut: Some(cut),
                uploads,
            }),
            Phase::Changes => ResumeAt::Changes {
                plan: None,
                checkpoint: checkpoint(cut, config, uploads, seen),
                poll: poll + 1,
                history: (position.extension.is_some() && poll == 0).then_some(cut),
            },
        };
        ResumePoint { run, at }
    }
}

fn checkpoint(cut: Timestamp, config: &SourceConfig, uploads: Option<Uploads>, seen: &Rc<RefCell<Seen>>) -> Checkpoint {
    Checkpoint {
        low_watermark: cut.before(config.lookback),
        uploads: uploads.unwrap_or_default(),
        seen: seen.borrow().clone(),
    }
}
