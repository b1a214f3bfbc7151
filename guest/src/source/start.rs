//! What a position leads to: a snapshot or a pass, with the saved state that goes with it or without.
//!
//! Where state is missing, belongs to another run or was overtaken, the source looks at the whole window again:
//! rather twice than lost.

use std::cell::RefCell;
use std::rc::Rc;

use super::changes::Uploads;
use super::feed::{self, Start};
use super::plan::{Beginning, Plan, Stand, Store};
use super::seen::Seen;
use super::snapshot::Resume;
use crate::config::SourceConfig;
use crate::error::Result;
use crate::ports::{Level, Ports};
use crate::position::{Phase, Position};
use crate::time::Timestamp;

/// What position and state say, before anything is asked of the store.
#[derive(Debug)]
pub(super) struct Decision {
    position: Option<Position>,
    snapshot: Option<Beginning>,
    plan: Option<Plan>,
}

/// Where a source begins, under which run.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) run: u64,
    pub(super) start: Start,
}

/// Reads the position and finds the state that goes with it.
pub(super) fn decide<P: Ports>(
    position: Option<&[u8]>,
    config: &SourceConfig,
    store: &mut Store<P>,
) -> Result<Decision> {
    let position = position.map(|p| Position::decode(p, feed::scope(config))).transpose()?;
    let (mut snapshot, mut plan) = (None, None);
    if let Some(extension) = position.as_ref().and_then(|p| p.extension.as_ref()) {
        if extension.pass == 0 {
            snapshot = store.load_snapshot(extension.run, extension.index)?;
        } else {
            plan = store.load_plan(extension.run, extension.pass)?;
        }
    }
    Ok(Decision { position, snapshot, plan })
}

impl Decision {
    /// Where to begin.
    pub(super) fn resolve<P: Ports>(self, ports: &P, config: &SourceConfig, seen: &Rc<RefCell<Seen>>) -> Begin {
        let Some(position) = self.position else {
            return Begin { run: ports.random(), start: Start::Snapshot(Resume::default()) };
        };
        let (cut, pass, index) = match &position.extension {
            Some(extension) => (extension.cut, extension.pass, extension.index),
            None => (Timestamp::from_seconds(position.seconds), 0, 0),
        };
        if let Some(plan) = self.plan {
            let (run, stand, next) = (plan.run, plan.next.clone(), plan.pass + 1);
            let plan = Some((plan, index + 1));
            return Begin { run, start: Start::Changes { plan, stand, pass: next, history: None } };
        }
        let is_known = self.snapshot.is_some();
        if !is_known {
            let line = "no saved state goes with the position: changes of the lookback window come again, and \
                        uploads that were in progress are not known";
            ports.log(Level::Warn, line);
        }
        let run = self.snapshot.as_ref().map_or_else(|| ports.random(), |beginning| beginning.run);
        let uploads = self.snapshot.map(|beginning| {
            *seen.borrow_mut() = beginning.seen;
            beginning.uploads
        });
        let start = match position.phase {
            Phase::Snapshot => Start::Snapshot(Resume {
                after: position.key,
                index: index + u64::from(position.extension.is_some()),
                seconds: position.seconds,
                cut: Some(cut),
                uploads,
            }),
            Phase::Changes => Start::Changes {
                plan: None,
                stand: stand(cut, config, uploads, seen),
                pass: pass + 1,
                history: (position.extension.is_some() && pass == 0).then_some(cut),
            },
        };
        Begin { run, start }
    }
}

fn stand(cut: Timestamp, config: &SourceConfig, uploads: Option<Uploads>, seen: &Rc<RefCell<Seen>>) -> Stand {
    Stand { floor: cut.before(config.lookback), uploads: uploads.unwrap_or_default(), seen: seen.borrow().clone() }
}
