//! Owns a poll: lists the prefix once, saves what is due as a plan, delivers it, and waits for the next period. Leaves
//! what is due to `scan`.

use super::checkpoint::{CheckpointStore, Stage};
use super::judge::Rule;
use super::queue::SnapshotStage;
use super::scan::Scan;
use super::worker::Worker;
use crate::error::Result;
use crate::ports::Ports;
use crate::position::Phase;
use crate::time::Timestamp;

use std::time::Duration;

/// What a listing has come to.
struct Looked {
    /// The server's time before it.
    date: Timestamp,
    /// The number of changes.
    due: u64,
    /// What it would have taken one page after the other.
    serial_time: Duration,
}

impl<P: Ports> Worker<P> {
    /// Delivers what is saved, lists once and delivers what is due.
    pub(super) async fn poll(&mut self, rule: Rule) -> Result<()> {
        let mut delivery = self.delivery()?;
        self.deliver(&mut delivery).await?;
        // It is the last one of a snapshot that was interrupted.
        self.release(&mut delivery, Phase::Changes).await;
        self.wait_for_acks().await;
        self.queue.count(|counts| {
            if counts.snapshot == SnapshotStage::UnderWay {
                counts.snapshot = SnapshotStage::Over;
            }
        });
        self.store.borrow_mut().apply_corrections()?;
        // From here on the catalogue is right about what the reader has.
        self.surprises.clear();
        let started = self.ports.elapsed();
        let Looked { date, due, serial_time } = self.look(rule).await?;
        let is_idle = due == 0;
        self.queue.set_caught_up(is_idle);
        let took = self.ports.elapsed().saturating_sub(started);
        self.queue.count(|counts| {
            counts.polls += 1;
            counts.poll_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            if is_idle {
                counts.caught_up_ms = date.0;
            }
        });
        if !is_idle {
            let mut delivery = self.delivery()?;
            self.deliver(&mut delivery).await?;
        }
        // A poll by ranges takes less time than one page after the other, and must not cost more per day for it.
        let period = self.config.polling_period.max(serial_time);
        self.ports.sleep(period.saturating_sub(self.ports.elapsed().saturating_sub(started))).await;
        Ok(())
    }

    /// Lists once and saves what is due.
    async fn look(&mut self, rule: Rule) -> Result<Looked> {
        let is_first = rule != Rule::Changes;
        let since = match &rule {
            Rule::Since(since) if !is_broken!(CutAtTheRestart) => Some(since.after(self.config.lookback)),
            _ => None,
        };
        let mut listing = self.sweep();
        let mut scan = Scan::new(&self.store.borrow(), rule, self.bounds);
        let (mut date, mut has_versions) = (None, true);
        while let Some(page) = listing.page().await? {
            scan.set_date(*date.get_or_insert(page.date));
            has_versions = page.has_versions;
            self.scan_page(&mut scan, &mut self.store.borrow_mut(), page)?;
        }
        let date = date.unwrap_or_default();
        let store = &mut *self.store.borrow_mut();
        let (segments, plan) = scan.finish(store, &self.filter())?;
        // From where a restart without the plan must tell changes again: what this poll found was stored since the
        // previous one began, or completed since; the first one goes back to where a position or a setting says.
        let cut = since.unwrap_or(if is_first { date } else { store.head.cut });
        let plan = plan.finish(store, Phase::Changes, cut)?;
        let due = plan.as_ref().map_or(0, |plan| plan.count);
        if plan.is_none() && segments == store.segments && !is_first {
            store.head.cut = date;
            store.tidy()?;
        } else {
            self.saved.extend(plan.clone());
            store.checkpoint(segments, plan, |head| {
                head.cut = date;
                head.stage = Stage::Polls;
                head.has_versions = Some(has_versions);
            })?;
        }
        self.note_size(store);
        Ok(Looked { date, due, serial_time: listing.serial_time() })
    }

    /// Counts what the catalogue has grown to.
    pub(super) fn note_size(&self, store: &CheckpointStore<P>) {
        let (keys, segments, bytes) = store.size();
        self.queue.count(|counts| (counts.keys, counts.segments, counts.state_bytes) = (keys, segments, bytes));
    }
}
