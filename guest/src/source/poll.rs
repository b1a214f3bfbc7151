//! Owns a poll: lists the prefix once, saves what is due as a plan, delivers it, and waits for the next period. Leaves
//! to `changes` what is due.

use std::time::Duration;

use super::changes::{Detector, Due, Found, Rules, Uploads};
use super::checkpoint::{Checkpoint, Plan};
use super::fetch::{Item, Outcome};
use super::worker::Worker;
use crate::error::Result;
use crate::limits;
use crate::ports::{Level, Ports};
use crate::position::{Extension, Phase};
use crate::s3::{ListStart, Marker, Page, Trail, VersionEntry};
use crate::source::seen::NULL_VERSION;
use crate::time::Timestamp;

/// What a poll listed.
struct Scan {
    found: Found,
    /// The server's time before all listings.
    cut: Timestamp,
    /// Uploads in progress at the cut.
    uploads: Uploads,
}

/// What follows from a scan.
struct Judged {
    /// What the poll delivers.
    due: Vec<Due>,
    /// Where the next poll begins.
    next: Checkpoint,
    /// Whether nothing is left for the next poll.
    is_whole: bool,
}

impl<P: Ports> Worker<P> {
    /// Lists once and delivers what is due; returns the next poll's checkpoint.
    pub(super) async fn poll(
        &mut self,
        checkpoint: Checkpoint,
        poll: u64,
        history: Option<Timestamp>,
    ) -> Result<Checkpoint> {
        let started = self.ports.elapsed();
        // From where a restart without the plan must poll, so that its window is this poll's.
        let since = Timestamp(checkpoint.low_watermark.0 + millis(self.config.lookback));
        let scan = self.scan(&checkpoint, history).await?;
        let Judged { due, next, is_whole } = self.judge(checkpoint, scan);
        let mut plan = Plan { run: self.run, poll, due, cut: since, next };
        if !plan.due.is_empty() {
            self.checkpoints.borrow_mut().save_plan(&plan)?;
            self.deliver(std::mem::take(&mut plan.due), 0, poll, since).await?;
        }
        if is_whole {
            let period = self.config.polling_period;
            self.ports.sleep(period.saturating_sub(self.ports.elapsed().saturating_sub(started))).await;
        }
        Ok(plan.next)
    }

    /// Hands out what a plan holds from a place on.
    pub(super) async fn deliver(&mut self, due: Vec<Due>, from: u64, poll: u64, cut: Timestamp) -> Result<()> {
        let mut prefetch = self.prefetch();
        let mut items =
            (0..).zip(due).skip_while(|(index, _)| *index < from).map(|(i, d)| Item::Change(i, d)).peekable();
        self.queue.count(|counts| counts.due = items.size_hint().0 as u64);
        loop {
            while let Some(item) = items.next_if(|item| prefetch.has_room(item.size())) {
                self.begin(&mut prefetch, item);
            }
            if prefetch.is_empty() {
                self.queue.count(|counts| counts.due = 0);
                return Ok(());
            }
            let fetched = std::future::poll_fn(|context| prefetch.poll_next(context)).await?;
            self.queue.count(|counts| counts.due = counts.due.saturating_sub(1));
            let fetched = match fetched {
                Outcome::Record(fetched) => *fetched,
                Outcome::Skipped(skipped) => {
                    self.skip(&skipped);
                    continue;
                }
            };
            let extension = Extension { run: self.run, cut, poll, index: fetched.index };
            let seconds = fetched.last_modified.seconds();
            self.emit(fetched, Phase::Changes, seconds, extension, None).await;
        }
    }

    async fn scan(&mut self, checkpoint: &Checkpoint, history: Option<Timestamp>) -> Result<Scan> {
        // Uploads come first: one that completes before they are listed is in the listing of objects that follows.
        let (mut cut, uploads) = self.list_uploads().await?;
        let mut pending = checkpoint.uploads.clone();
        pending.extend(&uploads);
        let rules = Rules {
            low_watermark: checkpoint.low_watermark,
            history,
            uploads: &pending,
            bytes_max: limits::PLAN_BYTES_MAX,
        };
        let mut detector = Detector::new(rules, &checkpoint.seen);
        let mut early = EarlyCounter::new(checkpoint.low_watermark, &self.early);
        let (mut start, mut trail) = (EntryCursor::First, Trail::default());
        loop {
            let page = self.list_entries(start).await?;
            trail.follow("ListObjectVersions", self.has_versions, &page).map_err(|e| e.explain(&self.config.bucket))?;
            cut.get_or_insert(page.date);
            self.queue.count(|counts| counts.listed += page.entries.len() as u64);
            for entry in page.entries {
                early.take(&entry);
                detector.push(entry);
            }
            match page.next {
                Some(next) => start = next,
                None => break,
            }
        }
        let found = detector.finish();
        self.note_early(&early, &found, cut.unwrap_or_default());
        let uploads = if found.left_since.is_some() { pending } else { uploads };
        Ok(Scan { found, cut: cut.unwrap_or_default(), uploads })
    }

    /// Warns once that entries appear whose stamps lie before the window, which no poll delivers: there are more of
    /// them than the previous poll counted, and no known upload explains it.
    fn note_early(&mut self, counted: &EarlyCounter, found: &Found, cut: Timestamp) {
        let completed = |due: &&Due| due.last_modified < counted.low_watermark_before;
        let completed = found.due.iter().filter(completed).count() as u64;
        let known = self.early.count + completed;
        let is_new = self.early.low_watermark.is_some() && counted.count_before > known;
        if is_new && !self.early.is_logged {
            let line = format!(
                "objects appear with times further in the past than `lookback` reaches, and are not delivered: the \
                 store's clock is ahead of the times of its objects, or a mirror or gateway keeps old times; make \
                 `lookback` longer than the difference; count=`{}`, store_time=`{}`, lookback=`{:?}`",
                counted.count_before - known,
                cut.to_rfc3339(),
                self.config.lookback
            );
            self.ports.log(Level::Warn, &line);
        }
        self.early = EarlyEntries {
            low_watermark: Some(counted.low_watermark),
            count: counted.count,
            is_logged: self.early.is_logged || is_new,
        };
    }

    /// A page of versions, or of current objects where the store has no versions.
    async fn list_entries(&mut self, start: EntryCursor) -> Result<Page<VersionEntry, EntryCursor>> {
        let prefix = &self.config.bucket.prefix;
        if self.has_versions {
            let marker = if let EntryCursor::Version(marker) = &start { Some(marker) } else { None };
            match self.client.list_object_versions(prefix, marker).await {
                Ok(mut page) => {
                    // Some stores write all delete markers of a page before its versions: bring the entries of
                    // a key together, each kind in its own order.
                    page.entries.sort_by(|a, b| a.object.key.cmp(&b.object.key));
                    return Ok(Page {
                        entries: page.entries,
                        next: page.next.map(EntryCursor::Version),
                        date: page.date,
                        greatest: page.greatest,
                    });
                }
                Err(error) if error.is_not_implemented() && marker.is_none() => {
                    self.has_versions = false;
                    let line = format!(
                        "the store cannot list versions: deletes are missed, and of several changes between two polls \
                         all but the last; why=`{error}`"
                    );
                    self.ports.log(Level::Warn, &line);
                }
                Err(error) => return Err(error.explain(&self.config.bucket)),
            }
        }
        let start = if let EntryCursor::Object(start) = start { start } else { ListStart::First };
        let listed = self.client.list_objects_v2(prefix, &start, limits::LIST_PAGE_KEYS).await;
        let page = listed.map_err(|e| e.explain(&self.config.bucket))?;
        let as_version = |object| VersionEntry {
            object,
            version_id: NULL_VERSION.to_owned(),
            is_latest: true,
            is_delete_marker: false,
        };
        Ok(Page {
            entries: page.entries.into_iter().map(as_version).collect(),
            next: page.next.map(EntryCursor::Object),
            date: page.date,
            greatest: page.greatest,
        })
    }

    /// Decides what the poll delivers and where the next one begins.
    fn judge(&self, checkpoint: Checkpoint, scan: Scan) -> Judged {
        let Scan { found, cut, uploads } = scan;
        if found.superseded > 0 {
            let line = format!("versions were superseded before they were seen; count=`{}`", found.superseded);
            self.ports.log(Level::Debug, &line);
        }
        let since = found.left_since.map_or(cut, |left| left.min(cut));
        let low_watermark = checkpoint.low_watermark.max(since.before(self.config.lookback));
        let mut seen = checkpoint.seen;
        for (slot, mark) in found.marks {
            seen.insert(slot, mark);
        }
        seen.retain(|slot, mark| mark.time >= low_watermark || found.completed.contains(slot));
        let is_whole = found.left_since.is_none();
        let is_idle = found.due.is_empty();
        self.queue.set_caught_up(is_idle);
        self.queue.count(|counts| {
            counts.polls += 1;
            if is_idle {
                counts.caught_up_ms = cut.0;
            }
        });
        Judged { due: found.due, next: Checkpoint { low_watermark, uploads, seen }, is_whole }
    }
}

/// Entries stamped before the window, as a poll has seen them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EarlyEntries {
    /// Where the poll's window began; `None` before the first.
    low_watermark: Option<Timestamp>,
    /// Entries that were stamped earlier.
    count: u64,
    /// Whether a warning about such entries was logged.
    is_logged: bool,
}

/// Counts entries stamped before the windows of this poll and of the previous one.
struct EarlyCounter {
    low_watermark: Timestamp,
    low_watermark_before: Timestamp,
    count: u64,
    count_before: u64,
}

impl EarlyCounter {
    fn new(low_watermark: Timestamp, before: &EarlyEntries) -> Self {
        Self {
            low_watermark,
            low_watermark_before: before.low_watermark.unwrap_or_default(),
            count: 0,
            count_before: 0,
        }
    }

    fn take(&mut self, entry: &VersionEntry) {
        let time = entry.object.last_modified;
        self.count += u64::from(time < self.low_watermark);
        self.count_before += u64::from(time < self.low_watermark_before);
    }
}

/// Where a listing of entries goes on.
#[derive(Clone, PartialEq)]
enum EntryCursor {
    First,
    Version(Marker),
    Object(ListStart),
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
