//! Owns the snapshot: the first listing, of which each object that is there is delivered in the order of keys, while the
//! listing goes on. Leaves later changes to `poll`.
//!
//! What a page shows is saved, as a plan of its own and as the catalogue, before a record of it leaves. So a restart goes
//! on after the last key that was saved, and nothing that happens meanwhile is lost: everything that the page did not show
//! is found by the first poll, whatever time it carries.

use super::checkpoint::Stage;
use super::judge::Rule;
use super::scan::Scan;
use super::worker::Worker;
use crate::error::Result;
use crate::limits;
use crate::ports::{Level, Ports};
use crate::position::Phase;

use futures_util::FutureExt as _;
use std::future;
use std::task::Poll;

enum Event<L, F> {
    Listed(L),
    Fetched(F),
}

impl<P: Ports> Worker<P> {
    /// Delivers the snapshot, from its beginning or after the last key that is `covered`.
    pub(super) async fn snapshot(&mut self, rule: Rule, covered: Option<String>) -> Result<()> {
        let is_whole = covered.is_none();
        if let Rule::Resumed { after, .. } = &rule {
            self.resumed_after = Some(after.clone());
        }
        let mut delivery = self.delivery()?;
        let mut listing = self.listing(covered);
        let mut scan = Some(Scan::go_on(&self.store.borrow(), rule.clone(), self.bounds));
        let mut page = None;
        // Why the listing ended early. What it showed is still delivered.
        let mut failed = None;
        loop {
            self.begin_fetches(&mut delivery)?;
            self.queue.count(|counts| counts.due = delivery.left());
            if page.is_none() && failed.is_none() && scan.is_some() && delivery.left() < limits::SNAPSHOT_AHEAD_MIN {
                if delivery.is_empty() {
                    self.wait_for_acks().await;
                }
                if !self.store.borrow_mut().is_full() {
                    page = listing.request();
                }
            }
            if page.is_none() && delivery.is_empty() {
                break;
            }
            let event = future::poll_fn(|context| {
                if let Some(Poll::Ready(listed)) = page.as_mut().map(|page| page.poll_unpin(context)) {
                    return Poll::Ready(Event::Listed(listed));
                }
                delivery.poll_fetched(context).map(Event::Fetched)
            });
            match event.await {
                Event::Listed(listed) => {
                    page = None;
                    let saved = match listing.receive(listed) {
                        Ok(listed) => self.save_page(&mut scan, listed, &rule),
                        Err(error) => Err(error),
                    };
                    match saved {
                        Ok(()) => self.saved.drain(..).for_each(|plan| delivery.add(plan)),
                        Err(error) => failed = Some(error),
                    }
                }
                Event::Fetched(None) => {}
                Event::Fetched(Some((place, fetched))) => {
                    self.take(&mut delivery, place, fetched).await?;
                    if self.store.borrow().has_many_corrections() {
                        self.release(&mut delivery, Phase::Snapshot).await;
                        self.store.borrow_mut().apply_corrections()?;
                        if let Some(scan) = &mut scan {
                            scan.corrected(&self.store.borrow());
                        }
                    }
                }
            }
        }
        let phase = if failed.is_some() { Phase::Snapshot } else { Phase::Changes };
        self.release(&mut delivery, phase).await;
        if let Some(error) = failed {
            return Err(error);
        }
        if is_whole && listing.has_prefix() && self.queue.counts().listed == 0 {
            let line = format!("no key begins with `{}`, the value of setting `prefix`", self.config.bucket.prefix);
            self.ports.log(Level::Warn, &line);
        }
        Ok(())
    }

    /// Saves what a page shows. The scan ends with the last page.
    fn save_page(&mut self, scan: &mut Option<Scan>, page: super::listing::Listed, rule: &Rule) -> Result<()> {
        let store = &mut *self.store.borrow_mut();
        let Some(running) = scan else { return Ok(()) };
        let has_begun = store.head.has_versions.is_some();
        if !has_begun {
            // The snapshot's cut: a restart without saved state tells what was stored since then.
            store.head.cut = match rule {
                Rule::Resumed { since, .. } => since.after(self.config.lookback),
                _ => page.date,
            };
        }
        store.head.has_versions = Some(page.has_versions);
        let is_last = page.is_last;
        self.scan_page(running, store, page)?;
        let (segments, plan, covered) = if is_last {
            let (segments, plan) = scan.take().expect("it is running").finish(store, &self.filter())?;
            (segments, plan, None)
        } else {
            running.cut(store)?
        };
        let plan = plan.finish(store, Phase::Snapshot, store.head.cut)?;
        self.saved.extend(plan.clone());
        let rule = rule.clone();
        store.checkpoint(segments, plan, |head| {
            head.stage = match std::mem::replace(&mut head.stage, Stage::Polls) {
                // Where no key was completed, those that were before are still covered.
                Stage::First { covered: before, .. } if !is_last => Stage::First { rule, covered: covered.or(before) },
                _ => Stage::Polls,
            };
        })?;
        self.note_size(store);
        Ok(())
    }
}
