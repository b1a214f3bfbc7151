//! Owns plans: what a poll found due, in the order of its delivery, of any size. Leaves what is due to `judge`, and the
//! names of values to `checkpoint`.
//!
//! A plan is sorted by time. Up to [`Bounds::run_bytes`] it is sorted in memory and is one *run*; what is larger becomes
//! several sorted runs, which a reader merges. Each run is saved in chunks, before the first record of the plan leaves,
//! so that a restart yields the same records at the same places.
//!
//! [`Bounds::run_bytes`]: crate::limits::Bounds::run_bytes

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::checkpoint::CheckpointStore;
use super::identity::{Digest, GONE, NULL_VERSION};
use super::judge::Has;
use super::prefetch::Load;
use crate::error::Result;
use crate::limits::{self, Bounds};
use crate::ports::Ports;
use crate::position::Phase;
use crate::record::Operation;
use crate::s3::{ObjectEntry, Part, VersionEntry};
use crate::time::Timestamp;

/// The object below a change, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Previous {
    /// The version.
    pub(super) version_id: String,
    /// When it was stored, by the store's clock.
    pub(super) last_modified: Timestamp,
    /// The ETag without quotes.
    pub(super) etag: String,
    /// Bytes, at most [`limits::RAW_BODY_BYTES_MAX`].
    pub(super) size: u64,
}

impl Previous {
    /// What an entry is to the change above it, if that can carry it.
    pub(super) fn of(entry: &VersionEntry) -> Option<Box<Self>> {
        let ObjectEntry { last_modified, etag, size, .. } = &entry.object;
        let can_be_carried = !entry.is_delete_marker && *size <= limits::RAW_BODY_BYTES_MAX;
        can_be_carried.then(|| {
            let (version_id, etag) = (entry.version_id.clone(), etag.clone());
            Box::new(Self { version_id, last_modified: *last_modified, etag, size: *size })
        })
    }
}

/// A change that a plan delivers. Ordered by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The time by which it is ordered: its own, or that of a newer change of the same key, if that is earlier.
    pub(super) order: Timestamp,
    /// The key.
    pub(super) key: String,
    /// Its place among the changes of its key: older ones first.
    pub(super) age: u32,
    /// What happened.
    pub(super) operation: Operation,
    /// When it was stored, by the store's clock.
    pub(super) last_modified: Timestamp,
    /// The version, or the delete marker.
    pub(super) version_id: String,
    /// Whether a plain GET found it.
    pub(super) is_latest: bool,
    /// The ETag without quotes; empty for a delete.
    pub(super) etag: String,
    /// Bytes.
    pub(super) size: u64,
    /// Identifies it in the catalogue.
    pub(super) digest: Digest,
    /// What the reader had before it.
    pub(super) had: Has,
    /// What an update or delete carries as `payload.before`.
    pub(super) previous: Option<Box<Previous>>,
    /// Of a key that the listing lacks, what was known of it: the delete must still be confirmed.
    pub(super) gone: Option<Vec<u8>>,
}

impl Due {
    /// A change that a listing shows.
    pub(super) fn of(
        entry: VersionEntry,
        digest: Digest,
        previous: Option<Box<Previous>>,
        operation: Operation,
        order: Timestamp,
        age: u32,
    ) -> Self {
        Self {
            // A snapshot goes by keys.
            order: if operation == Operation::Snapshot { Timestamp::default() } else { order },
            key: entry.object.key,
            age,
            operation,
            last_modified: entry.object.last_modified,
            version_id: entry.version_id,
            is_latest: entry.is_latest,
            etag: entry.object.etag,
            size: entry.object.size,
            digest,
            had: Has::Nothing,
            previous: previous.filter(|_| matches!(operation, Operation::Update | Operation::Delete)),
            gone: None,
        }
    }

    /// The delete of a key that the listing of that time lacks.
    pub(super) fn gone(key: String, known: Vec<u8>, time: Timestamp) -> Self {
        Self {
            order: time,
            key,
            age: u32::MAX,
            operation: Operation::Delete,
            last_modified: Timestamp::default(),
            version_id: NULL_VERSION.to_owned(),
            is_latest: false,
            etag: String::new(),
            size: 0,
            digest: GONE,
            had: Has::Doubtful,
            previous: None,
            gone: Some(known),
        }
    }

    fn place(&self) -> (Timestamp, &str, u32) {
        (self.order, &self.key, self.age)
    }

    fn bytes(&self) -> usize {
        let texts = self.key.len() + self.version_id.len() + self.etag.len();
        let previous = |p: &Previous| size_of::<Previous>() + p.version_id.len() + p.etag.len();
        let options = self.previous.as_deref().map_or(0, previous) + self.gone.as_ref().map_or(0, Vec::len);
        size_of::<Self>() + texts + options
    }

    /// What the fetch of its first chunk takes, or that of all of it.
    pub(super) fn load(&self, chunk_bytes: Option<u64>) -> Load {
        let (previous, bytes) = (self.previous.as_ref(), chunk_bytes.map_or(self.size, |bytes| bytes.min(self.size)));
        Load { bytes: bytes + previous.map_or(0, |p| p.size), requests: 1 + usize::from(previous.is_some()) }
    }

    /// Its first chunk, if it is larger than one.
    pub(super) fn first_slice(&self, chunk_bytes: Option<u64>) -> Option<Slice> {
        let bytes = chunk_bytes.filter(|bytes| self.operation != Operation::Delete && self.size > *bytes)?;
        Some(Slice { number: 1, count: self.size.div_ceil(bytes), bytes })
    }
}

/// One chunk of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Chunks of the object.
    pub(super) count: u64,
    /// Bytes of each but the last.
    pub(super) bytes: u64,
}

impl Slice {
    /// Whether it is the object's last.
    pub(super) fn is_last(self) -> bool {
        self.number >= self.count
    }

    /// Its bytes, in an object of that size.
    pub(super) fn part(self, size: u64) -> Part {
        let first = (self.number - 1).saturating_mul(self.bytes);
        Part { first, length: size.saturating_sub(first).min(self.bytes) }
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

/// A saved plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Its number, from 1; positions carry it.
    pub(super) id: u64,
    /// The phase of its records.
    pub(super) phase: Phase,
    /// The time from which a restart without the plan must tell changes again.
    pub(super) cut: Timestamp,
    /// The chunks of each of its runs.
    pub(super) runs: Vec<u32>,
    /// Changes in it.
    pub(super) count: u64,
    /// Bytes of its chunks.
    pub(super) bytes: u64,
}

/// Takes due changes in any order, and saves them as a plan.
#[derive(Debug)]
pub(super) struct PlanBuilder {
    id: u64,
    bounds: Bounds,
    run: Vec<Due>,
    run_bytes: usize,
    runs: Vec<u32>,
    count: u64,
    bytes: u64,
}

impl PlanBuilder {
    /// Begins the plan of that number.
    pub(super) fn new(id: u64, bounds: Bounds) -> Self {
        Self { id, bounds, run: Vec::new(), run_bytes: 0, runs: Vec::new(), count: 0, bytes: 0 }
    }

    /// Adds a change.
    pub(super) fn push(&mut self, due: Due) {
        self.run_bytes += due.bytes();
        self.count += 1;
        self.run.push(due);
    }

    /// Changes so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Saves the changes in memory as a run if they are too many.
    pub(super) fn spill_if_full<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<()> {
        if self.run_bytes < self.bounds.run_bytes { Ok(()) } else { self.spill(store) }
    }

    fn spill<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        let mut run = std::mem::take(&mut self.run);
        run.sort_unstable();
        let (mut chunks, mut from) = (0, 0);
        while from < run.len() {
            let mut bytes = 0;
            let fits = |due: &&Due| {
                bytes += due.bytes();
                bytes <= self.bounds.chunk_bytes
            };
            let to = from + run[from..].iter().take_while(fits).count().max(1);
            let place = ChunkPlace { plan: self.id, run: self.runs.len(), chunk: chunks };
            self.bytes += store.stage_chunk(place, &run[from..to])?;
            (chunks, from) = (chunks + 1, to);
        }
        self.runs.push(chunks);
        self.run_bytes = 0;
        Ok(())
    }

    /// The plan, all of it saved; `None` where nothing is due.
    pub(super) fn finish<P: Ports>(
        mut self,
        store: &mut CheckpointStore<P>,
        phase: Phase,
        cut: Timestamp,
    ) -> Result<Option<Plan>> {
        self.spill(store)?;
        let Self { id, runs, count, bytes, .. } = self;
        Ok((count > 0).then_some(Plan { id, phase, cut, runs, count, bytes }))
    }
}

/// Where a chunk of a plan is saved.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkPlace {
    pub(super) plan: u64,
    pub(super) run: usize,
    pub(super) chunk: u32,
}

/// Yields the changes of a plan in order, one chunk of each run in memory.
#[derive(Debug)]
pub(super) struct PlanReader {
    plan: Plan,
    runs: Vec<RunReader>,
    /// The first change of each run that is not at its end.
    heads: BinaryHeap<Reverse<(Due, usize)>>,
    next: u64,
    is_begun: bool,
}

#[derive(Debug, Default)]
struct RunReader {
    chunk: u32,
    loaded: VecDeque<Due>,
}

impl PlanReader {
    /// Reads a plan from its change of that number on.
    pub(super) fn new(plan: Plan) -> Self {
        let runs = plan.runs.iter().map(|_| RunReader::default()).collect();
        Self { plan, runs, heads: BinaryHeap::new(), next: 0, is_begun: false }
    }

    /// The plan.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Changes that are left.
    pub(super) fn left(&self) -> u64 {
        self.plan.count - self.next
    }

    /// Passes over the changes before that number.
    pub(super) fn skip_to<P: Ports>(&mut self, number: u64, store: &mut CheckpointStore<P>) -> Result<()> {
        while self.next < number && self.next(store)?.is_some() {}
        Ok(())
    }

    /// What the fetch of the next change takes.
    pub(super) fn peek_load<P: Ports>(
        &mut self,
        chunk_bytes: Option<u64>,
        store: &mut CheckpointStore<P>,
    ) -> Result<Option<Load>> {
        self.begin(store)?;
        Ok(self.heads.peek().map(|Reverse((due, _))| due.load(chunk_bytes)))
    }

    /// The next change and its number.
    pub(super) fn next<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<Option<(u64, Due)>> {
        self.begin(store)?;
        let Some(Reverse((due, run))) = self.heads.pop() else {
            return Ok(None);
        };
        self.pull(run, store)?;
        self.next += 1;
        Ok(Some((self.next - 1, due)))
    }

    fn begin<P: Ports>(&mut self, store: &mut CheckpointStore<P>) -> Result<()> {
        if !std::mem::replace(&mut self.is_begun, true) {
            for run in 0..self.runs.len() {
                self.pull(run, store)?;
            }
        }
        Ok(())
    }

    /// Brings the next change of a run among the heads.
    fn pull<P: Ports>(&mut self, run: usize, store: &mut CheckpointStore<P>) -> Result<()> {
        let reader = &mut self.runs[run];
        let chunks = if is_broken!(ReadOneChunk) { 1 } else { self.plan.runs[run] };
        if reader.loaded.is_empty() && reader.chunk < chunks {
            reader.loaded = store.load_chunk(ChunkPlace { plan: self.plan.id, run, chunk: reader.chunk })?.into();
            reader.chunk += 1;
        }
        self.heads.extend(reader.loaded.pop_front().map(|due| Reverse((due, run))));
        Ok(())
    }
}
