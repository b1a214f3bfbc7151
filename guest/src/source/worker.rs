//! Owns the worker: one future that holds all work in flight, runs the first listing and then the polls, and fills the
//! queue. Leaves the two to `snapshot` and `poll`; what both share is here: listings, deliveries, positions.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::catalogue::Reader;
use super::checkpoint::{CheckpointStore, Corrected, Correction, Stage};
use super::fetch::{Fetched, Fetcher, Outcome, Skipped, Told};
use super::identity::{Digest, GONE};
use super::judge::{Has, Rule};
use super::listing::{Listed, Listing};
use super::plan::{Due, Plan, PlanReader, Slice};
use super::prefetch::Prefetch;
use super::queue::{ALL, Ready, ReadyQueue, SnapshotStage};
use super::retrieval::Retrieval;
use super::rows::{Rows, Unread};
use super::scan::{Filter, Scan};
use super::sweep::{self, Sweep};
use crate::config::SourceConfig;
use crate::error::Result;
use crate::limits::{self, Bounds};
use crate::ports::{Level, Ports};
use crate::position::{self, Chunk, Extension, Part, Phase, RowMark, Scope, Stamp};
use crate::record::Operation;
use crate::rows::{Next, Row};
use crate::s3::{Client, Slots};

use bytes::Bytes;

/// Oddities of the store, each of which a source logs or learns once, whatever the number of objects.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    /// Objects whose listed ETag still differs from their own after all retries.
    pub(super) etags_differ: Cell<u32>,
    /// Whether the store lists other times than objects have.
    pub(super) times_differ: Cell<bool>,
    /// Whether a previous version could not be read.
    pub(super) previous_unreadable: Cell<bool>,
    /// Whether a listing has lacked a key that exists.
    pub(super) listing_has_holes: Cell<bool>,
    /// Whether the store lists versions and delete markers interleaved, where its pages have shown it.
    pub(super) interleaved: super::order::Interleaved,
    /// Whether a listing must not begin at any key, but only where a page ended.
    pub(super) lists_serially: Cell<bool>,
}

/// Everything that a source does between calls.
pub(super) struct Worker<P: Ports> {
    pub(super) ports: P,
    pub(super) client: Client<P>,
    pub(super) config: Rc<SourceConfig>,
    /// What positions say of bucket, prefix and store.
    pub(super) stamp: Stamp,
    /// The slots of fetches.
    pub(super) slots: Rc<Slots>,
    pub(super) queue: ReadyQueue<P::Body>,
    pub(super) store: Rc<RefCell<CheckpointStore<P>>>,
    pub(super) oddities: Rc<Oddities>,
    pub(super) bounds: Bounds,
    /// The newest modification that the snapshot has delivered, in seconds.
    pub(super) seconds: u64,
    /// The key up to which an earlier run had delivered the snapshot, where its state is lost.
    pub(super) resumed_after: Option<String>,
    /// The last key of the snapshot of which all was told.
    pub(super) told_whole: Option<Rc<str>>,
    /// The part after which the first change goes on, if an earlier run had begun its object.
    pub(super) within: Option<Part>,
    /// The change of which a chunk could not be told, so that the rest is not either: plan and number.
    pub(super) broken: Option<(u64, u64)>,
    /// The object of which chunks are to be fetched before the next change.
    pub(super) slicing: Option<Slicing>,
    /// Plans that are saved and not delivered yet; of the first, the place of what was handed out already.
    pub(super) saved: VecDeque<Plan>,
    pub(super) delivered_to: u64,
    /// What the reader has of keys of which saved plans believe something else, since an object could not be read.
    pub(super) surprises: BTreeMap<String, Has>,
    /// The first plan that this worker has made. Earlier ones may be told once more, to a reader that went back.
    pub(super) own_from: u64,
}

/// An object in chunks.
pub(super) struct Slicing {
    place: Place,
    due: Due,
    may_be_replaced: bool,
    next: Slice,
}

type Fetch<P> = Result<Outcome<P>>;

/// Changes on their way to the queue.
pub(super) struct Delivery<P: Ports> {
    plans: VecDeque<PlanReader>,
    prefetch: Prefetch<(Place, Fetch<P>)>,
    /// Of a snapshot one record is held back: the position of the very last one is in CDC, and only the end of the listing
    /// shows which that is.
    held: Option<(Place, Box<Fetched<P::Body>>)>,
    /// The last plan of which all was fetched.
    fetched: u64,
}

/// A change's place, and what must be known of it once it was fetched.
#[derive(Clone, Debug)]
pub(super) struct Place {
    plan: u64,
    number: u64,
    phase: Phase,
    cut: crate::time::Timestamp,
    digest: Digest,
    /// What the reader had before it, as the plan believes.
    had: Has,
    /// Whether it is the last of its plan.
    is_last: bool,
    /// Whether a later change of its key may be in its plan, or in another one that is saved.
    may_be_followed: bool,
    /// The chunk that it is, if its object is several.
    slice: Option<Slice>,
    /// The row that was the last one before it, if its object was begun before.
    after: Option<RowMark>,
    /// The row that it is, if others of its object follow.
    row: Option<RowMark>,
}

impl Place {
    /// Whether nothing of its object follows.
    fn is_end(&self) -> bool {
        self.slice.is_none_or(Slice::is_last)
    }

    fn is_in_middle(&self) -> bool {
        self.slice.is_some_and(|slice| slice.number > 1) || self.after.is_some()
    }

    /// The part that it is, if others of its object follow.
    fn part(&self) -> Option<Part> {
        let chunk = self.slice.filter(|slice| !slice.is_last());
        let chunk = chunk.map(|slice| Chunk { number: slice.number, bytes: slice.bytes, names_key_before: false });
        chunk.map(Part::Chunk).or(self.row.map(Part::Row))
    }
}

impl<P: Ports> Delivery<P> {
    /// Whether nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.plans.is_empty() && self.prefetch.is_empty()
    }

    /// Changes whose fetches have not begun.
    pub(super) fn left(&self) -> u64 {
        self.plans.iter().map(PlanReader::left).sum()
    }

    /// Polls for what was fetched next; `None` where there may be room for other fetches.
    pub(super) fn poll_fetched(&mut self, context: &mut Context<'_>) -> Poll<Option<(Place, Fetch<P>)>> {
        self.prefetch.poll_next(context)
    }

    /// The next row of an object; `None` at its end. Fetches of others go on while its bytes are awaited.
    async fn next_row(&mut self, rows: &mut Rows<P>) -> Result<Option<Row>, Unread> {
        loop {
            match rows.next()? {
                Next::Row(row) => return Ok(Some(row)),
                Next::End => return Ok(None),
                Next::More => {}
            }
            let mut more = std::pin::pin!(rows.more());
            let more = future::poll_fn(|context| {
                self.prefetch.collect(context);
                more.as_mut().poll(context)
            });
            more.await?;
        }
    }

    /// The last plan of which nothing is left here.
    fn done(&self) -> u64 {
        self.held.as_ref().map_or(self.fetched, |(place, _)| self.fetched.min(place.plan - 1))
    }

    /// Adds a plan that is saved.
    pub(super) fn add(&mut self, plan: Plan) {
        self.plans.push_back(PlanReader::new(plan));
    }
}

impl<P: Ports> Worker<P> {
    /// Runs until something fails permanently.
    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let stage = self.store.borrow().head.stage.clone();
            match stage {
                Stage::First { rule: rule @ (Rule::Snapshot | Rule::Resumed { .. }), covered } => {
                    self.queue.count(|counts| counts.snapshot = SnapshotStage::UnderWay);
                    self.snapshot(rule, covered).await?;
                }
                Stage::First { rule, .. } => self.poll(rule).await?,
                Stage::Polls => self.poll(Rule::Changes).await?,
            }
        }
    }

    /// A listing of the prefix, after a key.
    pub(super) fn listing(&self, after: Option<String>) -> Listing<P> {
        let has_versions = self.store.borrow().head.has_versions;
        Listing::new(self.ports.clone(), self.client.clone(), Rc::clone(&self.oddities), has_versions, after)
    }

    /// A listing of the whole prefix, several pages at a time.
    pub(super) fn sweep(&self) -> Sweep<P> {
        let store = self.store.borrow();
        let has_versions = store.head.has_versions;
        let listed: u64 = store.segments.iter().map(|segment| segment.listed).sum();
        let pages = u32::try_from(listed / u64::from(limits::LIST_PAGE_KEYS)).unwrap_or(u32::MAX);
        // What is ready within the period one page after the other takes the fewest requests.
        let has_time = listed > 0
            && self.bounds.list_page_time.saturating_mul(pages.saturating_add(1)) <= self.config.polling_period;
        let concurrency = if has_time { 1 } else { self.config.concurrency };
        let hints = sweep::hints(&store.segments, self.bounds);
        let oddities = Rc::clone(&self.oddities);
        Sweep::new(self.ports.clone(), self.client.clone(), oddities, has_versions, hints, concurrency, self.bounds)
    }

    /// Counts what a page shows, and scans what is delivered of it.
    pub(super) fn scan_page(&self, scan: &mut Scan, store: &mut CheckpointStore<P>, page: Listed) -> Result<()> {
        self.queue.count(|counts| {
            counts.listed += page.entries.len() as u64;
            counts.listed_ms = page.date.0;
        });
        let filter = self.filter();
        let mut entries = page.entries.into_iter().filter(|entry| filter.takes(&entry.object.key));
        entries.try_for_each(|entry| scan.push(store, entry, &filter))
    }

    /// What is delivered of what is listed.
    pub(super) fn filter(&self) -> Filter<'_> {
        let SourceConfig { bucket, keys, before, .. } = &*self.config;
        Filter { prefix: &bucket.prefix, keys, wants_previous: *before }
    }

    /// A delivery of what is saved and was not handed out.
    pub(super) fn delivery(&mut self) -> Result<Delivery<P>> {
        let mut plans: VecDeque<_> = std::mem::take(&mut self.saved).into_iter().map(PlanReader::new).collect();
        if let Some(first) = plans.front_mut() {
            first.skip_to(std::mem::take(&mut self.delivered_to), &mut self.store.borrow_mut())?;
        }
        let fetched = plans.front().map_or(0, |reader| reader.plan().id - 1);
        Ok(Delivery { plans, prefetch: Prefetch::new(Rc::clone(&self.slots)), held: None, fetched })
    }

    /// Delivers all that is left.
    pub(super) async fn deliver(&mut self, delivery: &mut Delivery<P>) -> Result<()> {
        loop {
            self.begin_fetches(delivery)?;
            self.queue.count(|counts| counts.due = delivery.left() + delivery.prefetch.len() as u64);
            if delivery.is_empty() {
                return Ok(());
            }
            if let Some((place, fetched)) = future::poll_fn(|context| delivery.poll_fetched(context)).await {
                self.take(delivery, place, fetched).await?;
            }
        }
    }

    /// Begins as many fetches as there may be.
    pub(super) fn begin_fetches(&mut self, delivery: &mut Delivery<P>) -> Result<()> {
        let mut store = self.store.borrow_mut();
        let chunk_bytes = self.config.chunk_bytes;
        loop {
            if let Some(slicing) = self.slicing.take() {
                self.slicing = self.begin_slices(slicing, delivery, &store);
                if self.slicing.is_some() {
                    break;
                }
            }
            let Some(reader) = delivery.plans.front_mut() else { break };
            let Some(load) = reader.peek_load(chunk_bytes, &mut store)? else {
                delivery.plans.pop_front();
                continue;
            };
            if !delivery.prefetch.has_room(load) {
                break;
            }
            let Some((number, due)) = reader.next(&mut store)? else { break };
            let Plan { id, phase, cut, .. } = *reader.plan();
            let may_be_replaced = id >= self.own_from && !store.has_poll_after(id);
            let within = self.within.take();
            let has_rows = self.config.rows.is_some();
            let slice = match within {
                Some(Part::Chunk(chunk)) if !has_rows => due
                    .first_slice(Some(chunk.bytes))
                    .map(|first| Slice { number: (chunk.number + 1).min(first.count), ..first }),
                _ => due.first_slice(chunk_bytes),
            };
            let after = match within {
                Some(Part::Row(row)) if has_rows && due.operation != Operation::Delete => Some(row),
                _ => None,
            };
            let place = Place {
                plan: id,
                number,
                phase,
                cut,
                digest: due.digest,
                had: due.had,
                is_last: reader.left() == 0,
                may_be_followed: (!due.is_latest && due.gone.is_none()) || store.has_poll_after(id),
                slice,
                after,
                row: None,
            };
            if let Some(next) = slice {
                self.slicing = Some(Slicing { place, due, may_be_replaced, next });
                continue;
            }
            let (retrieval, more) = (self.retrieval(store.head.has_versions), self.more(store.head.has_versions));
            let fetcher = Fetcher { retrieval, may_be_replaced, slice, after, more };
            delivery.prefetch.push(load, async move { (place, fetcher.fetch(due).await) });
        }
        Ok(())
    }

    /// Begins the fetches of an object's chunks; what is left of it.
    fn begin_slices(
        &self,
        mut slicing: Slicing,
        delivery: &mut Delivery<P>,
        store: &CheckpointStore<P>,
    ) -> Option<Slicing> {
        loop {
            let Slicing { place, due, may_be_replaced, next } = &mut slicing;
            let mut due = due.clone();
            if next.number > 1 {
                due.previous = None;
            }
            let load = due.load(Some(next.bytes));
            if self.broken == Some((place.plan, place.number)) {
                // What ends the object in its turn.
                next.number = next.count;
            } else if !delivery.prefetch.has_room(load) {
                return Some(slicing);
            }
            let (slice, retrieval) = (*next, self.retrieval(store.head.has_versions));
            let place = Place { slice: Some(slice), ..place.clone() };
            let may_be_replaced = *may_be_replaced;
            let fetcher = Fetcher { retrieval, may_be_replaced, slice: Some(slice), after: None, more: None };
            delivery.prefetch.push(load, async move { (place, fetcher.fetch(due).await) });
            if slice.is_last() {
                return None;
            }
            next.number += 1;
        }
    }

    /// What requests more of an object that is read row by row. Such requests hold no slot: the object's own fetch is over.
    fn more(&self, has_versions: Option<bool>) -> Option<Rc<Retrieval<P>>> {
        self.config.rows.as_ref()?;
        Some(Rc::new(Retrieval { client: self.client.clone(), ..self.retrieval(has_versions) }))
    }

    fn retrieval(&self, has_versions: Option<bool>) -> Retrieval<P> {
        Retrieval {
            ports: self.ports.clone(),
            client: self.client.in_slots(&self.slots),
            config: Rc::clone(&self.config),
            oddities: Rc::clone(&self.oddities),
            has_versions: has_versions != Some(false),
        }
    }

    /// Takes what was fetched, in the order of the plan.
    pub(super) async fn take(&mut self, delivery: &mut Delivery<P>, place: Place, fetched: Fetch<P>) -> Result<()> {
        let is_of_poll = place.phase == Phase::Changes;
        let is_broken = place.slice.is_some() && self.broken == Some((place.plan, place.number));
        let outcome = match fetched {
            _ if is_broken => None,
            Ok(outcome) => Some(outcome),
            Err(error) => {
                // What came before it is still delivered.
                self.release(delivery, Phase::Snapshot).await;
                return Err(error);
            }
        };
        let is_end = place.is_last && place.is_end();
        let plan = place.plan;
        if is_end && !matches!(outcome, Some(Outcome::Rows(_))) {
            delivery.fetched = plan;
        }
        match outcome {
            None => {}
            Some(Outcome::Rows(rows)) => {
                self.take_rows(delivery, place, *rows).await?;
                if is_end {
                    delivery.fetched = plan;
                }
            }
            // What the reader never had can't be deleted.
            Some(Outcome::Record(fetched))
                if fetched.record.operation == Operation::Delete
                    && self.surprises.get(&*fetched.key) == Some(&Has::Nothing) => {}
            Some(Outcome::Record(fetched)) => self.take_record(delivery, place, fetched).await,
            Some(Outcome::Skipped(skipped)) => self.skip(&place, skipped),
        }
        let mut store = self.store.borrow_mut();
        store.delivered(delivery.done());
        // A scan that is under way must hear of it.
        if is_of_poll && store.has_many_corrections() { store.apply_corrections() } else { Ok(()) }
    }

    /// Hands out a record, or holds it back.
    async fn take_record(&mut self, delivery: &mut Delivery<P>, place: Place, fetched: Box<Fetched<P::Body>>) {
        if place.phase == Phase::Snapshot {
            if let Some((place, earlier)) = delivery.held.replace((place, fetched)) {
                self.hand_out(place, *earlier, Phase::Snapshot).await;
            }
        } else {
            self.release(delivery, Phase::Snapshot).await;
            self.hand_out(place, *fetched, Phase::Changes).await;
        }
    }

    /// Hands out the rows of an object. One row is held back, since only the end of the object shows which is the last.
    async fn take_rows(&mut self, delivery: &mut Delivery<P>, place: Place, mut rows: Rows<P>) -> Result<()> {
        let mut last: Option<(RowMark, Box<Fetched<P::Body>>)> = None;
        let ended = loop {
            let row = match delivery.next_row(&mut rows).await {
                Ok(Some(row)) => row,
                Ok(None) => break Ok(()),
                Err(unread) => break Err(unread),
            };
            let (mark, count) =
                (RowMark { format: rows.format(), next: row.next, names_key_before: false }, row.count());
            match rows.record(row) {
                Ok(fetched) => {
                    if let Some((row, earlier)) = last.replace((mark, Box::new(fetched))) {
                        let place = Place { row: Some(row), ..place.clone() };
                        self.take_record(delivery, place, earlier).await;
                    }
                }
                Err(Unread::Skip(reason)) => self.report_skipped(rows.key(), &reason, count),
                Err(stop) => break Err(stop),
            }
        };
        // Where the rest is to be read again, the last row is not the last of its object.
        if let Some((row, fetched)) = last {
            let place = Place { row: Some(row).filter(|_| matches!(ended, Err(Unread::Stop(_)))), ..place };
            self.take_record(delivery, place, fetched).await;
        }
        match ended {
            Ok(()) => Ok(()),
            Err(Unread::Skip(reason)) => {
                self.report_skipped(rows.key(), &format!("nothing more can be read of it: {reason}"), 1);
                Ok(())
            }
            Err(Unread::Stop(error)) => {
                self.release(delivery, Phase::Snapshot).await;
                Err(error.context(format!("object `{}`", rows.key())))
            }
        }
    }

    /// Reports what is passed over of an object, and counts it as so many.
    fn report_skipped(&self, key: &str, reason: &str, count: u64) {
        self.ports.skipped(key, reason);
        self.queue.count(|counts| counts.skipped += count);
    }

    /// Hands out the record that is held back.
    pub(super) async fn release(&mut self, delivery: &mut Delivery<P>, phase: Phase) {
        if let Some((place, held)) = delivery.held.take() {
            self.hand_out(place, *held, phase).await;
        }
        self.store.borrow_mut().delivered(delivery.done());
    }

    /// Counts and reports a change that is skipped, in its turn.
    fn skip(&mut self, place: &Place, skipped: Skipped) {
        let Skipped { key, reason, told } = skipped;
        self.broken = place.slice.map(|_| (place.plan, place.number));
        match told {
            // The object stays as it is: it counts as told.
            Told::AsListed => self.ports.skipped(&key, &reason),
            Told::Not | Told::Replaced(_) => {
                // A reader that went back to a position may have had it before.
                let had = if place.plan < self.own_from { Has::Doubtful } else { place.had };
                // Of what a reader has in part, nobody knows what it makes.
                let known = self.surprises.get(&key).copied().filter(|_| !place.is_in_middle());
                let has = known.unwrap_or(if place.is_in_middle() { Has::Doubtful } else { had });
                if place.may_be_followed {
                    self.surprises.insert(key.clone(), has);
                }
                let line = format!("skipped: {reason}; key=`{key}`");
                self.ports.log(Level::Warn, &line);
                let store = &mut *self.store.borrow_mut();
                if let Told::Replaced(entry) = told
                    && place.plan < self.own_from
                {
                    // It was told in place of this one, perhaps, to a reader that has gone back since.
                    let (digest, has) = (store.head.digester.digest(&entry), Has::Doubtful);
                    store.correct(Correction { key: key.clone(), digest, now: Corrected::Untold { has } });
                }
                store.correct(Correction { key, digest: place.digest, now: Corrected::Untold { has } });
            }
            Told::Kept(mut known) => {
                if place.plan < self.own_from {
                    // What the reader has of it may be older than what is known.
                    known.reader = Reader::Doubtful;
                }
                if place.may_be_followed {
                    // Which version it has, nothing here knows.
                    self.surprises.entry(key.clone()).or_insert(Has::Object(Digest(0)));
                }
                // It may stay like that, and be found by every poll.
                let is_first = !self.oddities.listing_has_holes.replace(true);
                let line = format!("a listing lacks a key that exists, which is not a delete: {reason}; key=`{key}`");
                self.ports.log(if is_first { Level::Warn } else { Level::Debug }, &line);
                self.store.borrow_mut().correct(Correction { key, digest: place.digest, now: Corrected::Kept(known) });
            }
        }
        self.queue.count(|counts| counts.skipped += 1);
    }

    /// Queues a record for reading.
    async fn hand_out(&mut self, place: Place, mut fetched: Fetched<P::Body>, phase: Phase) {
        let Place { plan, number, cut, digest, .. } = place;
        let part = place.part();
        let part_number = part.map_or(ALL, Part::number);
        let mut seconds = fetched.last_modified.seconds();
        if place.phase == Phase::Snapshot {
            self.seconds = self.seconds.max(seconds);
            seconds = self.seconds;
        }
        let run = {
            let mut store = self.store.borrow_mut();
            let now = fetched.replaced.as_ref().map(|entry| store.head.digester.digest(entry));
            // All parts of an object have one operation: what it depends on stays until the last of them.
            let surprise = match part {
                Some(_) => self.surprises.get(&*fetched.key).copied(),
                None => self.surprises.remove(&*fetched.key),
            };
            let operation = &mut fetched.record.operation;
            *operation = match (*operation, surprise) {
                (Operation::Update, Some(Has::Nothing)) => Operation::Create,
                (Operation::Create, Some(Has::Object(_))) => Operation::Update,
                (operation, _) => operation,
            };
            let is_delete = *operation == Operation::Delete;
            // When this plan was delivered before, the key was still there, and is in the catalogue again.
            let is_gone_again = is_delete && digest == GONE && plan < self.own_from;
            // So what follows in such plans is noted, too, up to the last of it.
            if part.is_none() && (is_gone_again || surprise.is_some() && plan < self.own_from) {
                let has = if is_delete { Has::Nothing } else { Has::Object(now.unwrap_or(digest)) };
                self.surprises.insert(fetched.key.to_string(), has);
            }
            if part.is_none() && (now.is_some() || surprise.is_some() || is_gone_again) {
                let now = if is_delete { Corrected::Deleted } else { Corrected::Told(now.unwrap_or(digest)) };
                store.correct(Correction { key: fetched.key.to_string(), digest, now });
            }
            store.emitted((plan, number, part_number));
            store.head.run
        };
        let is_snapshot = phase == Phase::Snapshot;
        // Without its state, a snapshot goes on after the key: with parts left, it must begin with this one again. One
        // that was resumed without its state goes no further back than it had come.
        let whole = if part.is_some() { self.told_whole.as_deref() } else { Some(&*fetched.key) };
        let told = whole.max(self.resumed_after.as_deref()).filter(|_| is_snapshot);
        let part = part.map(|part| part.naming_key_before(told.is_some()));
        let key = told.unwrap_or(&fetched.key);
        let extension = Extension { run, cut, plan, index: number, part };
        let position = position::encode(key, phase, seconds, Some(&extension), self.stamp);
        if place.phase == Phase::Snapshot && part.is_none() {
            self.told_whole = Some(fetched.key);
        }
        let mut record = fetched.record;
        record.position = Bytes::from(position);
        self.queue.push(Ready { record, plan, number, part: part_number, size: fetched.size }).await;
    }

    /// Waits while too much is unacked.
    pub(super) async fn wait_for_acks(&self) {
        if self.store.borrow_mut().is_full() {
            let line = "waits for acks: too much was handed out, or is about to be, and is not acked";
            self.ports.log(Level::Info, line);
        }
        // Acks come between calls of `read`, each of which polls this anew.
        future::poll_fn(|_| if self.store.borrow_mut().is_full() { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

/// The scope of a source's positions.
pub(super) fn scope(config: &SourceConfig) -> Scope<'_> {
    Scope {
        bucket: &config.bucket.bucket,
        prefix: &config.bucket.prefix,
        store: &config.store,
        endpoint: &config.bucket.endpoint.display,
    }
}
