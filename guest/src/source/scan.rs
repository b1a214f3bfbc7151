//! Owns the merge of a listing with the catalogue: which segments are unchanged, which keys are gone, and what becomes of
//! the catalogue. Leaves each key to `judge`, what is due to `plan`, and pages to `poll`.
//!
//! Entries are added up as they come. Where a segment's range ends with the sum that the manifest has, nothing in it has
//! changed: the segment is not read. Otherwise it is read, merged with what was listed, and written anew.

use super::catalogue::{Entry, Known, Reader, Segment, SegmentBuilder, encode_known};
use super::checkpoint::CheckpointStore;
use super::identity::{Digest, Digester};
use super::judge::{KeyJudge, Rule};
use super::plan::{Due, PlanBuilder};
use crate::config::KeyFilter;
use crate::error::Result;
use crate::limits::Bounds;
use crate::ports::Ports;
use crate::s3::VersionEntry;
use crate::time::Timestamp;

use std::collections::VecDeque;

/// What the listing of a segment's range has come to.
#[derive(Debug, Default)]
struct Range {
    sum: u64,
    listed: u64,
    /// Entries of a range whose segment is not read yet.
    held: Vec<(VersionEntry, Digest)>,
    /// The segment's keys that are still to come, where it was read.
    old: Option<VecDeque<Entry>>,
}

/// A scan of one listing.
#[derive(Debug)]
pub(super) struct Scan {
    digester: Digester,
    rule: Rule,
    bounds: Bounds,
    /// The catalogue before the scan, the place of the segment that is compared, and the catalogue after it.
    before: Vec<Segment>,
    at: usize,
    after: Vec<Segment>,
    range: Range,
    key: Option<KeyJudge>,
    builder: SegmentBuilder,
    /// The segment that the builder's keys are saved in already, if they are.
    open: Option<u64>,
    plan: PlanBuilder,
    /// What is due of the key that is open, where the scan may be cut before it is complete.
    key_due: Vec<Due>,
    may_be_cut: bool,
    /// When the listing began, by the store's clock.
    date: Timestamp,
    /// The last key that was listed.
    last: Option<String>,
}

impl Scan {
    /// Begins a scan of the whole listing.
    pub(super) fn new<P: Ports>(store: &CheckpointStore<P>, rule: Rule, bounds: Bounds) -> Self {
        let before = store.segments.clone();
        Self::of(store, rule, bounds, before, Vec::new(), false)
    }

    /// Goes on with the scan of a first listing after the keys that the catalogue has.
    pub(super) fn go_on<P: Ports>(store: &CheckpointStore<P>, rule: Rule, bounds: Bounds) -> Self {
        let after = store.segments.clone();
        Self::of(store, rule, bounds, Vec::new(), after, true)
    }

    fn of<P: Ports>(
        store: &CheckpointStore<P>,
        rule: Rule,
        bounds: Bounds,
        before: Vec<Segment>,
        after: Vec<Segment>,
        may_be_cut: bool,
    ) -> Self {
        let is_new = before.is_empty();
        Self {
            digester: store.head.digester,
            rule,
            bounds,
            before,
            at: 0,
            after,
            range: Range { old: is_new.then(VecDeque::new), ..Range::default() },
            key: None,
            builder: SegmentBuilder::default(),
            open: None,
            plan: PlanBuilder::new(store.head.next_plan, bounds),
            key_due: Vec::new(),
            may_be_cut,
            date: Timestamp::default(),
            last: None,
        }
    }

    /// Takes the next entry, in the order of keys and of storage. `is_in_scope` is false for a key that the settings
    /// leave out.
    pub(super) fn push<P: Ports>(
        &mut self,
        store: &mut CheckpointStore<P>,
        entry: VersionEntry,
        filter: &Filter<'_>,
    ) -> Result<()> {
        let key = &entry.object.key;
        while self
            .before
            .get(self.at + 1)
            .is_some_and(|next| if is_broken!(EndSegmentsLate) { *key > next.first } else { *key >= next.first })
        {
            self.close_range(store, filter)?;
            self.at += 1;
        }
        let digest = self.digester.digest(&entry);
        if self.range.old.is_some() {
            return self.merge(store, entry, digest, filter);
        }
        self.range.sum = self.range.sum.wrapping_add(digest.summand(entry.is_latest));
        self.range.listed += 1;
        self.range.held.push((entry, digest));
        if self.range.held.len() > self.bounds.range_entries { self.begin_merge(store, filter) } else { Ok(()) }
    }

    /// Reads the segment, and merges what was held with it.
    fn begin_merge<P: Ports>(&mut self, store: &mut CheckpointStore<P>, filter: &Filter<'_>) -> Result<()> {
        let entries = match self.before.get(self.at) {
            Some(segment) => store.load_segment(segment)?,
            None => Vec::new(),
        };
        self.range.old = Some(entries.into());
        for (entry, digest) in std::mem::take(&mut self.range.held) {
            self.merge(store, entry, digest, filter)?;
        }
        Ok(())
    }

    fn merge<P: Ports>(
        &mut self,
        store: &mut CheckpointStore<P>,
        entry: VersionEntry,
        digest: Digest,
        filter: &Filter<'_>,
    ) -> Result<()> {
        let key = &entry.object.key;
        if self.key.as_ref().is_none_or(|judge| judge.key() != key) {
            self.close_key(store)?;
            self.pass_gone(store, Some(key), filter)?;
            let old = self.range.old.as_mut().expect("it is being merged");
            let known = old.pop_front_if(|old| old.key == *key).map(|old| old.known);
            self.key = Some(KeyJudge::new(key.clone(), &self.rule, known, self.bounds, filter.wants_previous));
        }
        let Self { key: Some(judge), plan, key_due, may_be_cut, .. } = self else { unreachable!("it was just begun") };
        judge.push(entry, digest, &mut |due| if *may_be_cut { key_due.push(due) } else { plan.push(due) });
        self.plan.spill_if_full(store)
    }

    fn close_key<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<()> {
        let Some(judge) = self.key.take() else {
            return Ok(());
        };
        let plan = &mut self.plan;
        self.key_due.drain(..).for_each(|due| plan.push(due));
        let judged = judge.finish(&mut |due| plan.push(due));
        self.builder.add(&judged.entry, judged.sum, judged.listed);
        self.last = Some(judged.entry.key);
        self.close_segment_if_full(store)
    }

    /// Deals with keys of the catalogue that the listing lacks, up to the one that it has next.
    fn pass_gone<P: Ports>(
        &mut self,
        store: &mut CheckpointStore<P>,
        next: Option<&str>,
        filter: &Filter<'_>,
    ) -> Result<()> {
        let is_gone = |old: &mut Entry| next.is_none_or(|next| old.key.as_str() < next);
        while let Some(gone) = self.range.old.as_mut().and_then(|old| old.pop_front_if(is_gone)) {
            if !filter.takes(&gone.key) || gone.known.reader == Reader::Missing {
                continue;
            }
            if gone.known.reader == Reader::Nothing {
                // A listing with a hole must not make its history new.
                self.builder.add(&Entry { known: Known { reader: Reader::Missing, ..gone.known }, ..gone }, 0, 0);
                self.close_segment_if_full(store)?;
                continue;
            }
            if is_broken!(ForgetGoneKeys) {
                continue;
            }
            self.plan.push(Due::gone(gone.key, encode_known(&gone.known), self.date));
        }
        self.plan.spill_if_full(store)
    }

    /// Ends the range of a segment.
    fn close_range<P: Ports>(&mut self, store: &mut CheckpointStore<P>, filter: &Filter<'_>) -> Result<()> {
        if self.range.old.is_none() {
            let segment = &self.before[self.at];
            let is_same = self.range.sum == segment.sum || is_broken!(CompareCountsAlone);
            let is_doubtful = segment.is_doubtful && !is_broken!(ForgetDoubts);
            if is_same && self.range.listed == segment.listed && !is_doubtful {
                let segment = segment.clone();
                self.close_segment(store)?;
                self.after.push(segment);
                self.range = Range::default();
                return Ok(());
            }
            self.begin_merge(store, filter)?;
        }
        self.close_key(store)?;
        self.pass_gone(store, None, filter)?;
        self.range = Range::default();
        Ok(())
    }

    fn close_segment_if_full<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<()> {
        if self.builder.len() < self.bounds.segment_bytes { Ok(()) } else { self.close_segment(store) }
    }

    fn close_segment<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<()> {
        self.stage_open(store)?;
        self.builder = SegmentBuilder::default();
        self.open = None;
        Ok(())
    }

    /// Stages the builder's keys, and leaves it open.
    fn stage_open<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<()> {
        if let Some(segment) = store.stage_segment(&self.builder)? {
            if self.open.replace(segment.id).is_some() {
                self.after.pop();
            }
            self.after.push(segment);
        }
        Ok(())
    }

    /// When the listing began.
    pub(super) fn set_date(&mut self, date: Timestamp) {
        self.date = date;
    }

    /// Ends the scan: everything that was found, and the catalogue after it.
    pub(super) fn finish<P: Ports>(
        mut self,
        store: &mut CheckpointStore<P>,
        filter: &Filter<'_>,
    ) -> Result<(Vec<Segment>, PlanBuilder)> {
        while self.at < self.before.len() {
            self.close_range(store, filter)?;
            self.at += 1;
        }
        self.close_key(store)?;
        self.close_segment(store)?;
        Ok((self.after, self.plan))
    }

    /// Cuts the scan of a first listing after the keys that are complete: what was found so far, the catalogue, and the
    /// last key that it covers. The scan goes on.
    pub(super) fn cut<P: Ports>(
        &mut self,
        store: &mut CheckpointStore<P>,
    ) -> Result<(Vec<Segment>, PlanBuilder, Option<String>)> {
        self.stage_open(store)?;
        let next = PlanBuilder::new(store.head.next_plan + u64::from(self.plan.count() > 0), self.bounds);
        let plan = std::mem::replace(&mut self.plan, next);
        Ok((self.after.clone(), plan, self.last.clone()))
    }

    /// Takes note that the catalogue was corrected since the last cut.
    pub(super) fn corrected<P: Ports>(&mut self, store: &CheckpointStore<P>) {
        self.after.clone_from(&store.segments);
        self.builder = SegmentBuilder::default();
        self.open = None;
    }
}

/// What the settings take of what is listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter<'a> {
    pub(super) prefix: &'a str,
    pub(super) keys: &'a KeyFilter,
    /// Whether changes carry what lies below them.
    pub(super) wants_previous: bool,
}

impl Filter<'_> {
    /// Whether a key is to be delivered.
    pub(super) fn takes(&self, key: &str) -> bool {
        self.keys.is_all() || key.strip_prefix(self.prefix).is_some_and(|rest| self.keys.takes(rest))
    }
}

#[cfg(test)]
mod tests;
