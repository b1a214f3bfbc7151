//! Owns what a source saves so that a restart neither loses nor repeats: the head, the catalogue, plans and corrections.
//! Leaves the form of values to `saved`, how they are kept to `values`, and what they mean to `resume`.
//!
//! Names: `head`; `m-G-N`, the parts of the manifest of generation G; `s-N`, segments; `p-P-R-C`, chunks of runs of plans;
//! `f-E-N`, corrections since the catalogue was last corrected for them.
//!
//! Nothing is overwritten but the head: segments, manifests and plans are saved under new names, by as many commits as
//! they need, and count from the commit of the head that names them. That commit names the old ones as garbage, too, which
//! is removed by the next ones. A crash in between leaves values that no head names: their names follow from the head's
//! counters, so that they are found and removed.
//!
//! **Invariant:** no record is handed out before the head names its plan, and with it the catalogue that counts it as
//! told.

mod saved;
mod values;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use self::saved::{decode, encode};
use self::values::{Values, unreadable};
use super::catalogue::{Entry, Known, Segment, SegmentBuilder, decode_entries, decode_manifest, encode_manifest};
use super::identity::{Digest, Digester, GONE};
use super::judge::{Has, Rule};
use super::plan::{ChunkPlace, Due, Plan};
use super::queue::ALL;
use crate::error::Result;
use crate::limits::{self, Bounds};
use crate::ports::{Edit, Ports};
use crate::position::Phase;
use crate::time::Timestamp;

/// How far a source has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first listing is under way: what it means, and the last key that the catalogue covers.
    First { rule: Rule, covered: Option<String> },
    /// It is over: polls follow.
    Polls,
}

/// What the saved values mean together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Names this run of the source; positions carry it.
    pub(super) run: u64,
    /// What the first listing of the run means, or meant.
    pub(super) first: Rule,
    /// Makes the catalogue's digests.
    pub(super) digester: Digester,
    /// Whether the store lists versions; `None` before it was asked.
    pub(super) has_versions: Option<bool>,
    /// How far the source has come.
    pub(super) stage: Stage,
    /// The server's time at the start of the latest poll that was completed, or of the snapshot.
    pub(super) cut: Timestamp,
    /// Plans that may have unacked records, oldest first.
    pub(super) plans: VecDeque<Plan>,
    /// The number of the next plan.
    pub(super) next_plan: u64,
    /// The place of the last record that is acked, with all of its plan: plan and number. `None` before the first.
    pub(super) acked: Option<(u64, u64)>,
    /// Whether a plan with records was ever removed, so that what is saved is not all that was ever told.
    pub(super) has_dropped: bool,
    next_segment: u64,
    /// Generation and parts of the manifest.
    manifest: (u64, u32),
    /// Counts how often the catalogue was corrected.
    corrections: u64,
    garbage: Vec<String>,
}

/// What became of a change that its plan did not foresee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Correction {
    pub(super) key: String,
    /// As the catalogue has it.
    pub(super) digest: Digest,
    pub(super) now: Corrected,
}

/// See [`Correction`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Corrected {
    /// It was not told: this is what the reader has.
    Untold { has: Has },
    /// What replaced it was told, or the change itself though what is below it could not be read.
    Told(Digest),
    /// The key is not gone: this is what is known of it.
    Kept(Known),
    /// It is a delete that was told though what is below it could not be read.
    Deleted,
}

/// Saves and finds a source's state.
pub(super) struct CheckpointStore<P> {
    values: Values<P>,
    pub(super) head: Head,
    /// The catalogue's segments, in the order of keys.
    pub(super) segments: Vec<Segment>,
    /// Edits that are not committed yet, none of which counts before the head does.
    staged: Vec<Edit>,
    /// Corrections that no commit has, and those that were committed, with their bytes in all.
    unsaved: Vec<Correction>,
    saved: Vec<Correction>,
    lists: u32,
    corrections_bytes: usize,
    progress: Acks,
}

/// What was handed out and acked.
#[derive(Clone, Copy, Debug, Default)]
struct Acks {
    /// The last record that was put into the queue: plan, number, and its chunk, or [`ALL`].
    emitted: Option<(u64, u64, u64)>,
    acked: Option<(u64, u64, u64)>,
    /// The last plan of which all was put into the queue.
    delivered: u64,
}

impl Head {
    /// Of a new run.
    pub(super) fn new(run: u64, digester: Digester, rule: Rule) -> Self {
        Self {
            run,
            first: rule.clone(),
            digester,
            has_versions: None,
            stage: Stage::First { rule, covered: None },
            cut: Timestamp::default(),
            plans: VecDeque::new(),
            next_plan: 1,
            acked: None,
            has_dropped: false,
            next_segment: 0,
            manifest: (0, 0),
            corrections: 0,
            garbage: Vec::new(),
        }
    }
}

impl<P: Ports> CheckpointStore<P> {
    /// Loads what was saved: `None` where nothing was.
    pub(super) fn load(ports: P) -> Result<(Self, bool)> {
        let values = Values::new(ports);
        let saved = values.load("head")?;
        let is_there = saved.is_some();
        let head = match saved {
            Some(bytes) => {
                let head = decode::<saved::SavedHead<'_>>(&bytes).map(Head::from).filter(Head::is_sound);
                head.ok_or_else(|| unreadable("head"))?
            }
            None => Head::new(0, Digester { keys: (0, 0) }, Rule::Changes),
        };
        let mut store = Self {
            values,
            head,
            segments: Vec::new(),
            staged: Vec::new(),
            unsaved: Vec::new(),
            saved: Vec::new(),
            lists: 0,
            corrections_bytes: 0,
            progress: Acks::default(),
        };
        if is_there {
            store.load_manifest()?;
            store.load_corrections()?;
        }
        Ok((store, is_there))
    }

    fn load_manifest(&mut self) -> Result<()> {
        let (generation, parts) = self.head.manifest;
        for part in 0..parts {
            let name = manifest_name(generation, part);
            let bytes = self.values.load(&name)?.ok_or_else(|| unreadable(&name))?;
            let part = decode_manifest(&bytes).filter(|part| !part.is_empty());
            self.segments.extend(part.ok_or_else(|| unreadable(&name))?);
            let mut ids = BTreeSet::new();
            let mut is_next = |id| id < self.head.next_segment && ids.insert(id);
            if !self.segments.iter().all(|segment| is_next(segment.id)) {
                return Err(unreadable(&name));
            }
        }
        // No commit may have a name twice: what is in use is none of what is to be removed.
        let segments = self.segments.iter().map(|segment| segment_name(segment.id));
        let manifest = (0..parts).map(|part| manifest_name(generation, part));
        let mut used = segments.chain(manifest).chain(self.head.plans.iter().flat_map(chunk_names));
        let garbage: BTreeSet<_> = self.head.garbage.iter().collect();
        if !garbage.is_empty() && used.any(|name| garbage.contains(&name)) {
            return Err(unreadable("head"));
        }
        Ok(())
    }

    fn load_corrections(&mut self) -> Result<()> {
        while let Some(bytes) = self.values.load(&corrections_name(self.head.corrections, self.lists))? {
            let list = decode::<Vec<saved::SavedCorrection<'_>>>(&bytes);
            let list = list.ok_or_else(|| unreadable(&corrections_name(self.head.corrections, self.lists)))?;
            self.saved.extend(list.into_iter().map(Correction::from));
            self.corrections_bytes = self.saved.iter().map(Correction::bytes).sum();
            self.lists += 1;
        }
        Ok(())
    }

    /// Begins another run: everything that was saved becomes garbage.
    pub(super) fn begin_run(&mut self, head: Head) -> Result<()> {
        let mut garbage = std::mem::take(&mut self.head.garbage);
        garbage.extend(self.segments.drain(..).map(|segment| segment_name(segment.id)));
        let plans = std::mem::take(&mut self.head.plans);
        plans.iter().for_each(|plan| garbage.extend(chunk_names(plan)));
        let (generation, parts) = self.head.manifest;
        garbage.extend((0..parts).map(|part| manifest_name(generation, part)));
        garbage.extend((0..self.lists).map(|list| corrections_name(self.head.corrections, list)));
        // Numbers go on, so that no name is given again that is still to be removed.
        let (next_segment, next_plan) = (self.head.next_segment, self.head.next_plan);
        let (manifest, corrections) = ((generation, 0), self.head.corrections + 1);
        self.head = Head { garbage, next_segment, next_plan, manifest, corrections, ..head };
        (self.saved, self.unsaved, self.progress) = (Vec::new(), Vec::new(), Acks::default());
        (self.lists, self.corrections_bytes) = (0, 0);
        self.commit_head()
    }

    /// Takes a position up: what was handed out up to that record is acked.
    pub(super) fn resume_at(&mut self, place: (u64, u64, u64)) {
        let plan = place.0;
        self.progress = Acks { emitted: Some(place), acked: Some(place), delivered: plan - 1 };
        if !self.head.plans.iter().any(|one| one.id == plan) {
            self.progress.delivered = plan;
        }
    }

    /// The plans of which something may be left, in their order.
    pub(super) fn plans_left(&self) -> VecDeque<Plan> {
        let first = self.progress.acked.map_or(0, |(plan, ..)| plan);
        self.head.plans.iter().filter(|plan| plan.id >= first).cloned().collect()
    }

    /// Whether a later plan is that of a poll, which may hold what replaced an object of this one.
    pub(super) fn has_poll_after(&self, plan: u64) -> bool {
        self.head.plans.back().is_some_and(|last| last.id > plan && last.phase == Phase::Changes)
    }

    /// Removes what a crash may have left that no head names.
    pub(super) fn remove_orphans(&mut self) -> Result<()> {
        // What the head names goes first, so that no name is found twice.
        if !self.head.garbage.is_empty() {
            self.commit_head()?;
        }
        let mut names = Vec::new();
        let (generation, _) = self.head.manifest;
        self.probe(&mut names, |n| segment_name(self.head.next_segment + n))?;
        self.probe(&mut names, |n| manifest_name(generation + 1, n as u32))?;
        let mut run = 0;
        loop {
            let place = |n| ChunkPlace { plan: self.head.next_plan, run, chunk: n as u32 };
            let before = names.len();
            self.probe(&mut names, |n| chunk_name(place(n)))?;
            if names.len() == before {
                break;
            }
            run += 1;
        }
        if names.is_empty() {
            return Ok(());
        }
        self.head.garbage = names;
        self.commit_head()
    }

    fn probe(&self, names: &mut Vec<String>, name: impl Fn(u64) -> String) -> Result<()> {
        for number in 0.. {
            let name = name(number);
            if self.values.load(&name)?.is_none() {
                break;
            }
            names.push(name);
        }
        Ok(())
    }

    /// Commits the head with what is staged, then removes garbage.
    fn commit_head(&mut self) -> Result<()> {
        loop {
            let rest = self.head.garbage.split_off(self.head.garbage.len().min(GARBAGE_PER_COMMIT));
            let removed = std::mem::replace(&mut self.head.garbage, rest);
            // What is removed by this commit need not be named in it.
            let mut edits = std::mem::take(&mut self.staged);
            let mut last: Vec<_> = removed.into_iter().map(Edit::remove).collect();
            last.push(Edit::save("head", encode(&saved::SavedHead::from(&self.head))));
            if !self.values.fits(&edits, values::bytes(&last)) {
                self.values.commit(std::mem::take(&mut edits))?;
            }
            edits.append(&mut last);
            self.values.commit(edits)?;
            if self.head.garbage.is_empty() {
                return Ok(());
            }
        }
    }

    fn stage(&mut self, name: String, value: Vec<u8>) -> Result<()> {
        let edit = Edit::save(name, value);
        if !self.values.fits(&self.staged, edit.value.as_ref().map_or(0, Vec::len) + REMOVAL_ROOM) {
            self.values.commit(std::mem::take(&mut self.staged))?;
        }
        self.staged.push(edit);
        Ok(())
    }

    /// Stages a segment under a new name.
    pub(super) fn stage_segment(&mut self, builder: &SegmentBuilder) -> Result<Option<Segment>> {
        let Some((segment, bytes)) = builder.segment(self.head.next_segment) else {
            return Ok(None);
        };
        self.head.next_segment += 1;
        self.stage(segment_name(segment.id), bytes.to_vec())?;
        Ok(Some(segment))
    }

    /// Stages a chunk of a plan; its bytes.
    pub(super) fn stage_chunk(&mut self, place: ChunkPlace, due: &[Due]) -> Result<u64> {
        let bytes = encode(&due.iter().map(saved::SavedDue::from).collect::<Vec<_>>());
        let count = bytes.len() as u64;
        self.stage(chunk_name(place), bytes)?;
        Ok(count)
    }

    /// Makes all that is staged count: these segments, the plan if there is one, and the stage and time after it.
    pub(super) fn checkpoint(
        &mut self,
        segments: Vec<Segment>,
        plan: Option<Plan>,
        change: impl FnOnce(&mut Head),
    ) -> Result<()> {
        // A plan may go with this commit of which something could not be read.
        self.save_corrections()?;
        if segments != self.segments {
            self.replace_segments(segments)?;
        }
        if let Some(plan) = plan {
            self.head.next_plan = plan.id + 1;
            self.head.plans.push_back(plan);
        }
        change(&mut self.head);
        if is_broken!(SaveTheHeadLate) && self.head.next_plan.is_multiple_of(2) {
            return Ok(());
        }
        self.drop_acked_plans();
        self.commit_head()
    }

    fn replace_segments(&mut self, segments: Vec<Segment>) -> Result<()> {
        let kept: BTreeSet<u64> = segments.iter().map(|segment| segment.id).collect();
        let before = std::mem::replace(&mut self.segments, segments);
        let gone = before.into_iter().filter(|segment| !kept.contains(&segment.id));
        self.head.garbage.extend(gone.map(|segment| segment_name(segment.id)));
        let (generation, parts) = self.head.manifest;
        self.head.garbage.extend((0..parts).map(|part| manifest_name(generation, part)));
        let parts: Vec<_> = manifest_parts(&self.segments).into_iter().map(encode_manifest).collect();
        self.head.manifest = (generation + 1, u32::try_from(parts.len()).expect("they are few"));
        for (part, bytes) in (0..).zip(parts) {
            self.stage(manifest_name(generation + 1, part), bytes)?;
        }
        Ok(())
    }

    /// Removes plans whose records are all acked, if there are any.
    pub(super) fn tidy(&mut self) -> Result<()> {
        self.drop_acked_plans();
        if self.head.garbage.is_empty() { Ok(()) } else { self.commit_head() }
    }

    fn drop_acked_plans(&mut self) {
        let Acks { emitted, acked, delivered } = self.progress;
        // Where all that left is acked, what was delivered is done, even if nothing of it was a record.
        // An object of which chunks are left is not, even where the rest is never told: a position may name it.
        let (done, in_part) = if acked == emitted || is_broken!(DropPlansBeforeTheirAck) {
            (delivered, acked.filter(|(.., chunk)| *chunk != ALL).map(|(plan, ..)| plan))
        } else {
            (acked.map_or(0, |(plan, ..)| plan - 1), None)
        };
        let is_done = |plan: &Plan| plan.id <= done && Some(plan.id) != in_part;
        if !self.head.plans.iter().any(is_done) {
            return;
        }
        for plan in std::mem::take(&mut self.head.plans) {
            if !is_done(&plan) {
                self.head.plans.push_back(plan);
                continue;
            }
            self.head.garbage.extend(chunk_names(&plan));
            self.head.acked = acked.map(|(plan, number, _)| (plan, number)).or(self.head.acked);
            // What was never acked was never handed out: nothing of the plan was a record.
            self.head.has_dropped |= acked.is_some();
        }
    }

    /// A record was put into the queue.
    pub(super) fn emitted(&mut self, place: (u64, u64, u64)) {
        self.progress.emitted = Some(place);
    }

    /// All of a plan was put into the queue.
    pub(super) fn delivered(&mut self, plan: u64) {
        self.progress.delivered = self.progress.delivered.max(plan);
    }

    /// A record was acked, and all before it.
    pub(super) fn acked(&mut self, place: (u64, u64, u64)) {
        self.progress.acked = Some(place);
    }

    /// Whether so much was delivered and not acked that the feed must wait.
    pub(super) fn is_full(&mut self) -> bool {
        self.drop_acked_plans();
        let delivered = self.head.plans.iter().filter(|plan| plan.id <= self.progress.delivered);
        // Of a plan counts what is left of it: a destination may wait for more records before it acks the last ones.
        let left = |plan: &Plan| match self.progress.acked {
            Some((id, number, chunk)) if id == plan.id => {
                plan.bytes / plan.count * (plan.count - number - u64::from(chunk == ALL))
            }
            _ => plan.bytes,
        };
        let (count, bytes) = delivered.fold((0, 0), |(count, bytes), plan| (count + 1, bytes + left(plan)));
        count > limits::PLANS_UNACKED_MAX || bytes > limits::PLANS_UNACKED_BYTES_MAX
    }

    /// The changes of a chunk.
    pub(super) fn load_chunk(&self, place: ChunkPlace) -> Result<Vec<Due>> {
        let name = chunk_name(place);
        let bytes = self.values.load(&name)?.ok_or_else(|| unreadable(&name))?;
        let due = decode::<Vec<saved::SavedDue<'_>>>(&bytes).ok_or_else(|| unreadable(&name))?;
        Ok(due.into_iter().map(Due::from).collect())
    }

    /// The keys of a segment.
    pub(super) fn load_segment(&self, segment: &Segment) -> Result<Vec<Entry>> {
        let name = segment_name(segment.id);
        let bytes = self.values.load(&name)?.filter(|bytes| bytes.len() as u64 == segment.bytes);
        let bytes = bytes.ok_or_else(|| unreadable(&name))?;
        decode_entries(&bytes).ok_or_else(|| unreadable(&name))
    }

    /// Takes note of what a plan did not foresee.
    pub(super) fn correct(&mut self, correction: Correction) {
        if !is_broken!(ForgetWhatWasNotRead) {
            self.corrections_bytes += correction.bytes();
            self.unsaved.push(correction);
        }
    }

    /// Saves the corrections so far, before a record leaves that comes after them.
    pub(super) fn save_corrections(&mut self) -> Result<()> {
        let mut unsaved = std::mem::take(&mut self.unsaved).into_iter().peekable();
        while unsaved.peek().is_some() {
            let (mut list, mut bytes) = (Vec::new(), 0);
            while let Some(next) = unsaved.next_if(|next| list.is_empty() || bytes + next.bytes() <= LIST_BYTES_MAX) {
                bytes += next.bytes();
                list.push(next);
            }
            let saved = encode(&list.iter().map(saved::SavedCorrection::from).collect::<Vec<_>>());
            self.values.commit(vec![Edit::save(corrections_name(self.head.corrections, self.lists), saved)])?;
            self.lists += 1;
            self.saved.append(&mut list);
        }
        Ok(())
    }

    /// What the reader has of keys of which plans that are still to be delivered believe something else.
    pub(super) fn surprises(&self) -> BTreeMap<String, Has> {
        let mut surprises = BTreeMap::new();
        for Correction { key, now, .. } in self.saved.iter().chain(&self.unsaved) {
            match now {
                Corrected::Untold { has } => drop(surprises.insert(key.clone(), *has)),
                Corrected::Told(_) | Corrected::Deleted => drop(surprises.remove(key)),
                Corrected::Kept(_) => drop(surprises.entry(key.clone()).or_insert(Has::Object(Digest(0)))),
            }
        }
        surprises
    }

    /// Whether there are so many corrections that the catalogue must be corrected for them.
    pub(super) fn has_many_corrections(&self) -> bool {
        self.lists >= limits::CORRECTION_LISTS_MAX || self.corrections_bytes >= limits::CORRECTIONS_BYTES_MAX
    }

    /// Corrects the catalogue.
    pub(super) fn apply_corrections(&mut self) -> Result<()> {
        let mut corrections = std::mem::take(&mut self.saved);
        corrections.append(&mut self.unsaved);
        if corrections.is_empty() {
            return Ok(());
        }
        let mut by_segment: BTreeMap<usize, Vec<Correction>> = BTreeMap::new();
        for correction in corrections {
            let place = super::catalogue::covering(&self.segments, &correction.key);
            by_segment.entry(place).or_default().push(correction);
        }
        let mut segments = self.segments.clone();
        for (place, corrections) in by_segment.into_iter().rev() {
            let before = segments.get(place).cloned();
            let mut entries = match &before {
                Some(segment) => self.load_segment(segment)?,
                None => Vec::new(),
            };
            corrections.into_iter().for_each(|correction| correction.apply(&mut entries));
            let after = self.stage_corrected(&entries, before.as_ref())?;
            segments.splice(place..(place + 1).min(segments.len()), after);
        }
        let names: Vec<_> = (0..self.lists).map(|list| corrections_name(self.head.corrections, list)).collect();
        (self.lists, self.corrections_bytes) = (0, 0);
        self.checkpoint(segments, None, |head| {
            head.corrections += 1;
            head.garbage.extend(names);
        })
    }

    /// Stages what a segment has become, as several if a hole of a listing brings back more keys than one holds.
    fn stage_corrected(&mut self, entries: &[Entry], before: Option<&Segment>) -> Result<Vec<Segment>> {
        let mut after = Vec::new();
        let mut builder = SegmentBuilder::default();
        for (entry, left) in entries.iter().zip((0..entries.len()).rev()) {
            builder.add(entry, 0, 0);
            if left == 0 || builder.len() >= Bounds::SOURCE.segment_bytes {
                after.extend(self.stage_segment(&std::mem::take(&mut builder))?);
            }
        }
        after.iter_mut().for_each(|segment| segment.is_doubtful = true);
        if let (Some(first), Some(before)) = (after.first_mut(), before) {
            (first.sum, first.listed) = (before.sum, before.listed);
        }
        Ok(after)
    }

    /// Keys in the catalogue, its segments, and bytes of what is saved.
    pub(super) fn size(&self) -> (u64, u64, u64) {
        let keys = self.segments.iter().map(|segment| segment.keys).sum();
        let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let plans: u64 = self.head.plans.iter().map(|plan| plan.bytes).sum();
        (keys, self.segments.len() as u64, bytes + plans)
    }
}

impl Correction {
    /// What it takes where it is saved, at most.
    fn bytes(&self) -> usize {
        let known = match &self.now {
            Corrected::Kept(known) => (known.listed.len() + known.groups.len()) * size_of::<u64>(),
            Corrected::Untold { .. } | Corrected::Told(_) | Corrected::Deleted => 0,
        };
        self.key.len() + known + 64
    }

    fn apply(self, entries: &mut Vec<Entry>) {
        use super::catalogue::Reader;
        let Self { key, digest, now } = self;
        let place = entries.binary_search_by(|entry| entry.key.as_str().cmp(&key));
        if let Corrected::Kept(known) = now {
            // It is known already where the key was listed again, which no poll can have found yet.
            if let Err(place) = place {
                entries.insert(place, Entry { key, known });
            }
            return;
        }
        let Ok(place) = place else { return };
        let Known { reader, listed, groups } = &mut entries[place].known;
        let at = listed.iter().position(|one| *one == digest);
        match (now, at) {
            (Corrected::Told(replaced), Some(at)) => {
                listed[at] = replaced;
                if at == 0 {
                    *reader = Reader::Top;
                }
            }
            (Corrected::Deleted, Some(0)) => *reader = Reader::Nothing,
            (Corrected::Deleted, None) if digest == GONE => *reader = Reader::Nothing,
            // It is one of the older versions, of which only sums are known.
            (Corrected::Untold { .. }, None) if !groups.is_empty() => {}
            (Corrected::Untold { has }, at) => {
                if let Some(at) = at {
                    listed.remove(at);
                }
                // Where something newer was told, that is what the reader has.
                if at.is_none_or(|at| at == 0) {
                    *reader = match has {
                        Has::Nothing => Reader::Nothing,
                        Has::Object(told) if listed.first() == Some(&told) => Reader::Top,
                        Has::Object(_) | Has::Doubtful => Reader::Doubtful,
                    };
                }
            }
            (Corrected::Told(_), None) | (Corrected::Deleted | Corrected::Kept(_), _) => {}
        }
    }
}

/// Values removed per commit.
const GARBAGE_PER_COMMIT: usize = 2000;

/// Bytes that a commit leaves free for a head and for names of what it removes.
const REMOVAL_ROOM: usize = 512 << 10;

/// Bytes of corrections in one list, which is one value.
const LIST_BYTES_MAX: usize = 512 << 10;

/// Cuts a manifest where its segments, or their keys, are too many for one value.
fn manifest_parts(segments: &[Segment]) -> Vec<&[Segment]> {
    let (mut parts, mut rest) = (Vec::new(), segments);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |segment: &&Segment| {
            bytes += segment.first.len() + SEGMENT_BYTES_MAX;
            bytes <= MANIFEST_PART_BYTES_MAX
        };
        let (part, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        parts.push(part);
        rest = after;
    }
    parts
}

/// Bytes of a part of a manifest, and of each segment in it but for its key.
const MANIFEST_PART_BYTES_MAX: usize = 512 << 10;
const SEGMENT_BYTES_MAX: usize = 64;

fn segment_name(id: u64) -> String {
    format!("s-{id}")
}

fn manifest_name(generation: u64, part: u32) -> String {
    format!("m-{generation}-{part}")
}

fn chunk_name(place: ChunkPlace) -> String {
    format!("p-{}-{}-{}", place.plan, place.run, place.chunk)
}

fn chunk_names(plan: &Plan) -> impl Iterator<Item = String> {
    let (id, runs) = (plan.id, plan.runs.iter().enumerate());
    runs.flat_map(move |(run, chunks)| (0..*chunks).map(move |chunk| ChunkPlace { plan: id, run, chunk }))
        .map(chunk_name)
}

fn corrections_name(epoch: u64, list: u32) -> String {
    format!("f-{epoch}-{list}")
}

#[cfg(test)]
mod tests;
