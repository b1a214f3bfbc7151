//! Owns the snapshot: every existing object, in the order of keys, from any key on. Leaves later changes to `poll`.
//!
//! The cut is the server's time before the first listing, never ours. The first poll delivers what changes at keys
//! that the cursor has passed, and uploads that complete late; for that the snapshot remembers what it hands out in the
//! window. The next page is listed while the bodies of this one are fetched.

use std::collections::VecDeque;
use std::future;
use std::task::Poll;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

use super::checkpoint::{Checkpoint, HandedOut, SnapshotStart};
use super::fetch::{Fetched, Item, Outcome};
use super::worker::Worker;
use crate::error::Result;
use crate::limits;
use crate::ports::{Level, Ports};
use crate::position::{Extension, Phase};
use crate::s3::{self, ListStart, ObjectEntry, Page, Trail};
use crate::source::changes::Uploads;
use crate::time::Timestamp;

/// Where a snapshot begins, or goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct SnapshotCursor {
    /// The last key that was delivered; `None` at the beginning.
    pub(super) after: Option<String>,
    /// The number of the next record.
    pub(super) index: u64,
    /// The newest modification that was delivered, in seconds.
    pub(super) seconds: u64,
    /// The cut, where the snapshot is under way.
    pub(super) cut: Option<Timestamp>,
    /// Uploads in progress at the cut; `None` where they are not known.
    pub(super) uploads: Option<Uploads>,
}

type Listing = LocalBoxFuture<'static, s3::Result<Page<ObjectEntry, ListStart>>>;

enum Event<T> {
    Listed(s3::Result<Page<ObjectEntry, ListStart>>),
    Fetched(T),
}

/// The snapshot's moving parts.
struct SnapshotRun {
    uploads: Uploads,
    cut: Option<Timestamp>,
    /// Whether the state that goes with the positions was saved.
    has_begun: bool,
    index: u64,
    seconds: u64,
}

impl<P: Ports> Worker<P> {
    /// Delivers the snapshot; returns the first poll's checkpoint, and the cut.
    pub(super) async fn snapshot(&mut self, cursor: SnapshotCursor) -> Result<(Checkpoint, Timestamp)> {
        let mut run = SnapshotRun {
            has_begun: cursor.uploads.is_some(),
            cut: cursor.cut,
            uploads: Uploads::default(),
            index: cursor.index,
            seconds: cursor.seconds,
        };
        match cursor.uploads {
            Some(uploads) => run.uploads = uploads,
            None => {
                let (date, uploads) = self.list_uploads().await?;
                run.cut = run.cut.or(date);
                run.uploads = uploads;
            }
        }
        let is_whole = cursor.after.is_none();
        let start = cursor.after.map_or(ListStart::First, ListStart::After);
        let cut = self.deliver_objects(&mut run, start).await?;
        if is_whole {
            self.doubt_prefix();
        }
        let low_watermark = cut.before(self.config.lookback);
        let seen = self.seen.borrow().clone();
        Ok((Checkpoint { low_watermark, uploads: run.uploads, seen }, cut))
    }

    /// Warns where a prefix was given and no key has it: a bucket may fill up, a typo will not.
    fn doubt_prefix(&self) {
        let prefix = &self.config.bucket.prefix;
        if !prefix.is_empty() && self.queue.counts().listed == 0 {
            let line = format!("no key begins with `{prefix}`, the value of setting `prefix`");
            self.ports.log(Level::Warn, &line);
        }
    }

    async fn deliver_objects(&mut self, run: &mut SnapshotRun, start: ListStart) -> Result<Timestamp> {
        let mut listing = Some(self.list(start));
        let mut more: Option<ListStart> = None;
        let mut listed: VecDeque<ObjectEntry> = VecDeque::new();
        let mut prefetch = self.prefetch();
        // One record is held back: the position of the very last one is in CDC, and only the end shows which that is.
        let mut held: Option<Fetched<P::Body>> = None;
        // Why there is no next page.
        let mut failed = None;
        let mut trail = Trail::default();
        loop {
            while let Some(entry) = listed.pop_front_if(|entry| prefetch.has_room(entry.size)) {
                self.begin(&mut prefetch, Item::Snapshot(entry));
            }
            if listing.is_none() && listed.len() < limits::LIST_PAGE_KEYS as usize {
                listing = more.take().map(|start| self.list(start));
            }
            if listing.is_none() && listed.is_empty() && prefetch.is_empty() {
                break;
            }
            let event = future::poll_fn(|context| {
                if let Some(Poll::Ready(page)) = listing.as_mut().map(|l| l.poll_unpin(context)) {
                    return Poll::Ready(Event::Listed(page));
                }
                prefetch.poll_next(context).map(Event::Fetched)
            });
            match event.await {
                Event::Listed(page) => {
                    listing = None;
                    let page = page.and_then(|page| {
                        trail.follow("ListObjectsV2", false, &page)?;
                        Ok(page)
                    });
                    let page = match page {
                        Ok(page) => page,
                        Err(error) => {
                            failed = Some(error.explain(&self.config.bucket));
                            continue;
                        }
                    };
                    self.queue.count(|counts| counts.listed += page.entries.len() as u64);
                    self.begin_once(run, page.date)?;
                    listed.extend(page.entries);
                    more = page.next;
                }
                Event::Fetched(Ok(Outcome::Record(fetched))) => {
                    if let Some(earlier) = held.replace(*fetched) {
                        self.hand_out(run, earlier, Phase::Snapshot).await;
                    }
                }
                Event::Fetched(Ok(Outcome::Skipped(skipped))) => self.skip(&skipped),
                // Objects before it are still delivered.
                Event::Fetched(Err(error)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(last) = held {
            let phase = match failed {
                Some(_) => Phase::Snapshot,
                None => Phase::Changes,
            };
            self.hand_out(run, last, phase).await;
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(run.cut.unwrap_or_default()),
        }
    }

    fn list(&self, start: ListStart) -> Listing {
        let (client, prefix) = (self.client.clone(), self.config.bucket.prefix.clone());
        Box::pin(async move { client.list_objects_v2(&prefix, &start, limits::LIST_PAGE_KEYS).await })
    }

    /// Saves how the snapshot began, before its first record leaves.
    fn begin_once(&self, run: &mut SnapshotRun, date: Timestamp) -> Result<()> {
        let cut = *run.cut.get_or_insert(date);
        if !run.has_begun {
            let start =
                SnapshotStart { run: self.run, cut, uploads: run.uploads.clone(), seen: self.seen.borrow().clone() };
            self.checkpoints.borrow_mut().begin_run(&start)?;
            run.has_begun = true;
        }
        Ok(())
    }

    async fn hand_out(&self, run: &mut SnapshotRun, fetched: Fetched<P::Body>, phase: Phase) {
        let cut = run.cut.unwrap_or_default();
        let in_window =
            fetched.last_modified >= cut.before(self.config.lookback) || run.uploads.contains_key(&fetched.key);
        let remembered = in_window.then(|| {
            let mut seen = self.seen.borrow_mut();
            let (slot, mark) = seen.identify(&fetched.object, &fetched.version_id, false);
            seen.insert(slot, mark);
            HandedOut { index: run.index, slot, mark }
        });
        let extension = Extension { run: self.run, cut, poll: 0, index: run.index };
        run.index += 1;
        run.seconds = run.seconds.max(fetched.last_modified.seconds());
        self.emit(fetched, phase, run.seconds, extension, remembered).await;
    }
}
