//! Owns the worker: one future that holds all work in flight, runs the snapshot and then the polls, and fills the
//! queue. Leaves the two phases to `snapshot` and `poll`; what both share is here: saved state, positions, emission.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::checkpoint::{Checkpoint, CheckpointStore, HandedOut, Plan};
use super::fetch::{Fetched, Fetcher, Item, Outcome, Skipped};
use super::poll::EarlyEntries;
use super::prefetch::Prefetch;
use super::queue::{Ready, ReadyQueue};
use super::retrieval::{Oddities, Retrieval};
use super::seen::{Mark, NULL_VERSION, Seen, Slot};
use super::snapshot::SnapshotCursor;
use crate::config::SourceConfig;
use crate::error::Result;
use crate::limits;
use crate::ports::{Level, Ports};
use crate::position::{Extension, Phase, Position, Scope};
use crate::s3::{Client, Error as S3Error, Marker, Trail};
use crate::source::changes::Uploads;
use crate::time::Timestamp;

use bytes::Bytes;

/// Where a worker begins.
#[derive(Debug)]
pub(super) enum ResumeAt {
    /// In a snapshot: at its beginning or in the middle.
    Snapshot(SnapshotCursor),
    /// With a poll.
    Changes {
        /// A plan of which something is left to deliver, and the place of the first of it.
        plan: Option<(Plan, u64)>,
        /// The checkpoint of the poll after that.
        checkpoint: Checkpoint,
        /// Its number.
        poll: u64,
        /// The snapshot's cut, if that poll is the first one after it.
        history: Option<Timestamp>,
    },
}

/// Everything that a source does between calls.
pub(super) struct Worker<P: Ports> {
    pub(super) ports: P,
    pub(super) client: Client<P>,
    pub(super) config: Rc<SourceConfig>,
    pub(super) queue: ReadyQueue<P::Body>,
    pub(super) checkpoints: Rc<RefCell<CheckpointStore<P>>>,
    /// What the snapshot has handed out in the window of the first poll.
    pub(super) seen: Rc<RefCell<Seen>>,
    pub(super) run: u64,
    /// Whether the store can list versions.
    pub(super) has_versions: bool,
    /// Whether the store allows uploads to be listed.
    pub(super) has_uploads: bool,
    /// Oddities of the store, which are logged once.
    pub(super) oddities: Rc<Oddities>,
    /// Objects that the snapshot has skipped, which the first poll finds again.
    pub(super) skipped: BTreeMap<Slot, Mark>,
    /// Entries stamped before the window, as the previous poll counted them.
    pub(super) early: EarlyEntries,
}

type Fetch<P> = Result<Outcome<<P as crate::ports::Transport>::Body>>;

impl<P: Ports> Worker<P> {
    /// Runs until something fails permanently.
    pub(super) async fn run(mut self, at: ResumeAt) -> Result<()> {
        let (plan, mut checkpoint, mut poll, mut history) = match at {
            ResumeAt::Snapshot(cursor) => {
                let (checkpoint, cut) = self.snapshot(cursor).await?;
                (None, checkpoint, 1, Some(cut))
            }
            ResumeAt::Changes { plan, checkpoint, poll, history } => (plan, checkpoint, poll, history),
        };
        if let Some((plan, from)) = plan {
            self.deliver(plan.due, from, plan.poll, plan.cut).await?;
        }
        loop {
            checkpoint = self.poll(checkpoint, poll, history.take()).await?;
            poll += 1;
        }
    }

    /// A prefetcher.
    pub(super) fn prefetch(&self) -> Prefetch<Fetch<P>> {
        Prefetch::new(self.config.concurrency)
    }

    /// Begins to fetch.
    pub(super) fn begin(&self, prefetch: &mut Prefetch<Fetch<P>>, item: Item) {
        let retrieval = Retrieval {
            ports: self.ports.clone(),
            client: self.client.clone(),
            config: Rc::clone(&self.config),
            oddities: Rc::clone(&self.oddities),
            has_versions: self.has_versions,
        };
        prefetch.push(item.size(), Fetcher { retrieval }.fetch(item));
    }

    /// Counts and reports an item that is skipped, in its turn.
    pub(super) fn skip(&mut self, skipped: &Skipped) {
        let Skipped { entry, reason, .. } = skipped;
        let key = &entry.key;
        if !skipped.is_there {
            let line = format!("skipped an object: {reason}; key=`{key}`");
            self.ports.log(Level::Warn, &line);
        } else {
            let (slot, mark) = self.seen.borrow().identify(entry, NULL_VERSION, false);
            if self.skipped.get(&slot) == Some(&mark) {
                return;
            }
            if self.skipped.len() < limits::SKIPPED_REMEMBERED_MAX {
                self.skipped.insert(slot, mark);
            }
            self.ports.skipped(key, reason);
        }
        self.queue.count(|counts| counts.skipped += 1);
    }

    /// Queues a record for reading.
    pub(super) async fn emit(
        &self,
        fetched: Fetched<P::Body>,
        phase: Phase,
        seconds: u64,
        extension: Extension,
        remembered: Option<HandedOut>,
    ) {
        let poll = extension.poll;
        let position = Position { key: fetched.key, phase, seconds, extension: Some(extension) };
        let mut record = fetched.record;
        record.position = Bytes::from(position.encode(scope(&self.config)));
        self.queue.push(Ready { record, remembered, poll, size: fetched.size }).await;
    }

    /// All uploads in progress, and the server's time before they were listed. Neither where the store does not
    /// list uploads: that is logged once, since uploads that outlast the window are then not recognised.
    pub(super) async fn list_uploads(&mut self) -> Result<(Option<Timestamp>, Uploads)> {
        let (mut date, mut uploads) = (None, Uploads::default());
        let (mut start, mut trail): (Option<Marker>, _) = (None, Trail::default());
        while self.has_uploads {
            match self.client.list_multipart_uploads(start.as_ref()).await {
                Ok(page) => {
                    trail.follow("ListMultipartUploads", true, &page).map_err(|e| e.explain(&self.config.bucket))?;
                    date.get_or_insert(page.date);
                    page.entries.into_iter().for_each(|upload| uploads.insert(upload));
                    match page.next {
                        Some(next) => start = Some(next),
                        None => break,
                    }
                }
                Err(error) if is_unavailable(&error) => {
                    self.has_uploads = false;
                    let line = format!(
                        "uploads in progress cannot be listed, so a multipart upload that takes longer than \
                         `lookback` may be missed; allow s3:ListBucketMultipartUploads or make `lookback` longer; \
                         why=`{error}`"
                    );
                    self.ports.log(Level::Warn, &line);
                }
                Err(error) => return Err(error.explain(&self.config.bucket)),
            }
        }
        Ok((date, uploads))
    }
}

fn is_unavailable(error: &S3Error) -> bool {
    error.is_not_implemented() || (error.status() == Some(403) && error.code() == "AccessDenied")
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
