//! A pass: lists the prefix once, plans what is due, saves the plan, delivers it, and waits for its period.
//!
//! What is due is decided in `changes`; here is the listing, the cut, and where the next pass stands.

use std::time::Duration;

use super::changes::{Detector, Due, Found, Rules, Uploads};
use super::feed::Feed;
use super::fetch::{Item, Outcome};
use super::plan::{Plan, Stand};
use crate::error::Result;
use crate::limits;
use crate::ports::{Level, Ports};
use crate::position::{Extension, Phase};
use crate::s3::{ListStart, Marker, Page, Trail, VersionEntry};
use crate::source::seen::NULL_VERSION;
use crate::time::Timestamp;

/// What a pass saw.
struct Look {
    found: Found,
    /// The server's time in front of all listings.
    cut: Timestamp,
    /// Uploads in progress at the cut.
    uploads: Uploads,
}

impl<P: Ports> Feed<P> {
    /// Looks once, and delivers what is due; returns where the next pass stands.
    pub(super) async fn pass(&mut self, stand: Stand, pass: u64, history: Option<Timestamp>) -> Result<Stand> {
        let started = self.ports.elapsed();
        // Where a restart without the plan must look from, so that the window in front of it is this pass's.
        let since = Timestamp(stand.floor.0 + millis(self.config.lookback));
        let look = self.look(&stand, history).await?;
        let (due, next, is_whole) = self.next_stand(stand, look);
        let mut plan = Plan { run: self.run, pass, due, cut: since, next };
        if !plan.due.is_empty() {
            self.store.borrow_mut().save_plan(&plan)?;
            self.deliver(std::mem::take(&mut plan.due), 0, pass, since).await?;
        }
        if is_whole {
            let period = self.config.polling_period;
            self.ports.sleep(period.saturating_sub(self.ports.elapsed().saturating_sub(started))).await;
        }
        Ok(plan.next)
    }

    /// Hands out what a plan holds from a place on.
    pub(super) async fn deliver(&mut self, due: Vec<Due>, from: u64, pass: u64, cut: Timestamp) -> Result<()> {
        let mut prefetch = self.prefetch();
        let mut items =
            (0..).zip(due).skip_while(|(index, _)| *index < from).map(|(i, d)| Item::Change(i, d)).peekable();
        self.outlet.count(|counts| counts.due = items.size_hint().0 as u64);
        loop {
            while let Some(item) = items.next_if(|item| prefetch.has_room(item.size())) {
                self.begin(&mut prefetch, item);
            }
            if prefetch.is_empty() {
                self.outlet.count(|counts| counts.due = 0);
                return Ok(());
            }
            let fetched = std::future::poll_fn(|context| prefetch.poll_next(context)).await?;
            self.outlet.count(|counts| counts.due = counts.due.saturating_sub(1));
            let fetched = match fetched {
                Outcome::Record(fetched) => *fetched,
                Outcome::Skipped(skipped) => {
                    self.pass_over(&skipped);
                    continue;
                }
            };
            let extension = Extension { run: self.run, cut, pass, index: fetched.index };
            let seconds = fetched.last_modified.seconds();
            self.emit(fetched, Phase::Changes, seconds, extension, None).await;
        }
    }

    async fn look(&mut self, stand: &Stand, history: Option<Timestamp>) -> Result<Look> {
        // Uploads come first: one that ends before they are listed is in the listing of objects behind them.
        let (mut cut, uploads) = self.list_uploads().await?;
        let mut pending = stand.uploads.clone();
        pending.extend(&uploads);
        let rules = Rules { floor: stand.floor, history, uploads: &pending, bytes_max: limits::PLAN_BYTES_MAX };
        let mut detector = Detector::new(rules, &stand.seen);
        let mut behind = Counting::new(stand.floor, &self.behind);
        let (mut start, mut trail) = (Start::First, Trail::default());
        loop {
            let page = self.list_entries(start).await?;
            let followed = trail.follow("ListObjectVersions", self.has_versions, &page);
            followed.map_err(|e| e.explain(&self.config.bucket))?;
            cut.get_or_insert(page.date);
            self.outlet.count(|counts| counts.listed += page.entries.len() as u64);
            for entry in page.entries {
                behind.take(&entry);
                detector.push(entry);
            }
            match page.next {
                Some(next) => start = next,
                None => break,
            }
        }
        let found = detector.finish();
        self.note_behind(&behind, &found, cut.unwrap_or_default());
        let uploads = if found.left_since.is_some() { pending } else { uploads };
        Ok(Look { found, cut: cut.unwrap_or_default(), uploads })
    }

    /// Says once that entries appear whose stamps lie behind the window, where no pass looks: there are more of them
    /// than the pass before has counted, and no upload was known that explains it.
    fn note_behind(&mut self, counted: &Counting, found: &Found, cut: Timestamp) {
        let landed = |due: &&Due| due.last_modified < counted.floor_before;
        let landed = found.due.iter().filter(landed).count() as u64;
        let known = self.behind.count + landed;
        let is_new = self.behind.floor.is_some() && counted.count_before > known;
        if is_new && !self.behind.is_told {
            let line = format!(
                "objects appear with times that lie further in the past than `lookback` reaches, and are not delivered: \
                 the store's clock is ahead of the times that it gives to objects, or a mirror or gateway keeps old \
                 times; make `lookback` longer than the difference; count=`{}`, store_time=`{}`, lookback=`{:?}`",
                counted.count_before - known,
                cut.to_rfc3339(),
                self.config.lookback
            );
            self.ports.log(Level::Warn, &line);
        }
        self.behind =
            Behind { floor: Some(counted.floor), count: counted.count, is_told: self.behind.is_told || is_new };
    }

    /// A page of versions, or of current objects where the store has no versions.
    async fn list_entries(&mut self, start: Start) -> Result<Page<VersionEntry, Start>> {
        let prefix = &self.config.bucket.prefix;
        if self.has_versions {
            let marker = if let Start::Version(marker) = &start { Some(marker) } else { None };
            match self.client.list_object_versions(prefix, marker).await {
                Ok(mut page) => {
                    // Some stores write all delete markers of a page in front of its versions: bring the entries of
                    // a key together, each kind in its own order.
                    page.entries.sort_by(|a, b| a.object.key.cmp(&b.object.key));
                    return Ok(Page {
                        entries: page.entries,
                        next: page.next.map(Start::Version),
                        date: page.date,
                        greatest: page.greatest,
                    });
                }
                Err(error) if error.is_not_implemented() && marker.is_none() => {
                    self.has_versions = false;
                    let line = format!(
                        "the store cannot list versions: deletes are not seen, and of several changes between two \
                         looks only the last; why=`{error}`"
                    );
                    self.ports.log(Level::Warn, &line);
                }
                Err(error) => return Err(error.explain(&self.config.bucket)),
            }
        }
        let start = if let Start::Object(start) = start { start } else { ListStart::After(String::new()) };
        let page = self.client.list_objects_v2(prefix, &start, limits::LIST_PAGE_KEYS).await;
        let page = page.map_err(|e| e.explain(&self.config.bucket))?;
        let as_version = |object| VersionEntry {
            object,
            version_id: NULL_VERSION.to_owned(),
            is_latest: true,
            is_delete_marker: false,
        };
        Ok(Page {
            entries: page.entries.into_iter().map(as_version).collect(),
            next: page.next.map(Start::Object),
            date: page.date,
            greatest: page.greatest,
        })
    }

    /// What is due, where the next pass stands, and whether nothing was left for it.
    fn next_stand(&self, stand: Stand, look: Look) -> (Vec<Due>, Stand, bool) {
        let Look { found, cut, uploads } = look;
        if found.superseded > 0 {
            let line = format!("versions were overtaken before they were seen; count=`{}`", found.superseded);
            self.ports.log(Level::Debug, &line);
        }
        let since = found.left_since.map_or(cut, |left| left.min(cut));
        let floor = stand.floor.max(since.before(self.config.lookback));
        let mut seen = stand.seen;
        for (slot, mark) in found.marks {
            seen.insert(slot, mark);
        }
        seen.retain(|slot, mark| mark.time >= floor || found.landed.contains(slot));
        let is_whole = found.left_since.is_none();
        let is_idle = found.due.is_empty();
        self.outlet.set_caught_up(is_idle);
        self.outlet.count(|counts| {
            counts.passes += 1;
            if is_idle {
                counts.caught_up_ms = cut.0;
            }
        });
        (found.due, Stand { floor, uploads, seen }, is_whole)
    }
}

/// What lies behind the window, as a pass has seen it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Behind {
    /// Where the pass's window began; none before the first.
    floor: Option<Timestamp>,
    /// Entries that were stamped earlier.
    count: u64,
    /// Whether it was said that such entries appear.
    is_told: bool,
}

/// Counts what lies behind the windows of this pass and of the one before.
struct Counting {
    floor: Timestamp,
    floor_before: Timestamp,
    count: u64,
    count_before: u64,
}

impl Counting {
    fn new(floor: Timestamp, before: &Behind) -> Self {
        Self { floor, floor_before: before.floor.unwrap_or_default(), count: 0, count_before: 0 }
    }

    fn take(&mut self, entry: &VersionEntry) {
        let time = entry.object.last_modified;
        self.count += u64::from(time < self.floor);
        self.count_before += u64::from(time < self.floor_before);
    }
}

/// Where a listing of entries goes on.
#[derive(Clone, PartialEq)]
enum Start {
    First,
    Version(Marker),
    Object(ListStart),
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
