//! The source: a bucket's objects and their changes, as records.
//!
//! Calls come in here: `configure`, `open`, `read`, `ack`, `teardown`. What goes on between them is the `feed`'s,
//! what a position leads to is decided by `start`. Nothing is handed out before what a restart needs is saved.

pub mod changes;
mod feed;
mod fetch;
mod outlet;
mod pass;
mod plan;
mod prefetch;
mod retrieval;
pub mod seen;
mod snapshot;
mod start;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Fuse, FutureExt as _, LocalBoxFuture};

use crate::config::{Settings, SourceConfig, doubt_prefix};
use crate::error::{Error, Result};
use crate::limits;
use crate::ports::{Level, Ports};
use crate::record::Record;
use crate::s3::{Client, Error as S3Error, ListStart, Patience};
use feed::Feed;
pub use outlet::Counts;
use outlet::{Outlet, Wanted};
use plan::Store;
use seen::Seen;

/// How far a source has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether the latest pass found nothing due and everything before it was read.
    pub is_caught_up: bool,
    /// What was counted.
    pub counts: Counts,
    /// Attempts that were made again.
    pub retries: u64,
}

/// A source of records.
pub struct Source<P: Ports> {
    ports: P,
    config: Rc<SourceConfig>,
    client: Client<P>,
    store: Rc<RefCell<Store<P>>>,
    outlet: Outlet<P::Body>,
    state: State,
    /// Records that were handed out and are not acked, in order.
    unacked: VecDeque<Unacked>,
    /// How many of them have streams.
    streams_unacked: usize,
    /// What the feed remembers of the snapshot, to be saved when pieces of it are merged.
    seen: Rc<RefCell<Seen>>,
}

/// A record that was handed out.
struct Unacked {
    position: Bytes,
    pass: u64,
    has_stream: bool,
}

enum State {
    Configured,
    Open(Fuse<LocalBoxFuture<'static, Result<()>>>),
    Failed(Error),
    Closed,
}

impl<P: Ports> Source<P> {
    /// Makes a source from settings; no I/O.
    ///
    /// # Errors
    ///
    /// `invalid`, naming every setting that is unknown, missing or malformed.
    pub fn configure(ports: P, settings: &Settings) -> Result<Self> {
        let config = Rc::new(SourceConfig::parse(settings)?);
        let keys = (ports.random(), ports.random());
        Ok(Self {
            client: Client::new(ports.clone(), config.bucket.clone()),
            store: Rc::new(RefCell::new(Store::new(ports.clone()))),
            outlet: Outlet::new(),
            state: State::Configured,
            unacked: VecDeque::new(),
            streams_unacked: 0,
            seen: Rc::new(RefCell::new(Seen::new(keys))),
            config,
            ports,
        })
    }

    /// Checks that the bucket can be listed, and takes up where `position` stands.
    ///
    /// # Errors
    ///
    /// `corrupt` where the position or saved state cannot be read, `invalid` where the bucket does not exist,
    /// `denied` where it may not be listed, `unavailable` where the store does not answer.
    pub async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        match &self.state {
            State::Configured => {}
            State::Closed => return Err(closed()),
            _ => return Err(Error::invalid("open was called twice")),
        }
        let position = position.filter(|p| !p.is_empty());
        let begin = start::decide(position, &self.config, &mut self.store.borrow_mut())?;
        check_bucket(&self.client.with_patience(Patience::OPENING))
            .await
            .map_err(|e| e.explain(&self.config.bucket))?;
        if let Some(doubt) = doubt_prefix(&self.config.bucket.prefix) {
            self.ports.log(Level::Warn, &format!("setting `prefix`: {doubt}"));
        }
        let begin = begin.resolve(&self.ports, &self.config, &self.seen);
        let feed = Feed {
            ports: self.ports.clone(),
            client: self.client.clone(),
            config: Rc::clone(&self.config),
            outlet: self.outlet.clone(),
            store: Rc::clone(&self.store),
            seen: Rc::clone(&self.seen),
            run: begin.run,
            has_versions: true,
            has_uploads: true,
            oddities: Rc::default(),
            passed_over: std::collections::BTreeMap::new(),
            behind: pass::Behind::default(),
        };
        self.state = State::Open(feed.run(begin.start).boxed_local().fuse());
        Ok(())
    }

    /// Reads at most `records_max` records, waiting at most `wait` for a first one. None may be ready by then.
    ///
    /// Records whose bodies are streams wait for acks once [`limits::STREAMS_UNACKED_MAX`] of them are unacked.
    ///
    /// # Errors
    ///
    /// `closed` before `open` and after `teardown`; else what stopped the feed, again at each further call: a
    /// new source may then go on at the last acked position.
    pub async fn read(&mut self, records_max: usize, wait: Duration) -> Result<Vec<Record<P::Body>>> {
        let wanted = Wanted {
            records_max: records_max.max(1),
            streams_max: limits::STREAMS_UNACKED_MAX.saturating_sub(self.streams_unacked),
        };
        let failed = match &mut self.state {
            State::Closed => return Err(closed()),
            State::Configured => return Err(Error::invalid("read was called before open")),
            State::Failed(error) => Some(error.clone()),
            State::Open(feed) => {
                let mut timeout = pin!(self.ports.sleep(wait).fuse());
                future::poll_fn(|context| poll_ready(feed, &self.outlet, wanted, &mut timeout, context)).await
            }
        };
        if let Some(error) = failed {
            self.state = State::Failed(error.clone());
            if self.outlet.is_empty() {
                return Err(error);
            }
        }
        self.hand_out(wanted)
    }

    fn hand_out(&mut self, wanted: Wanted) -> Result<Vec<Record<P::Body>>> {
        let taken = self.outlet.take(wanted);
        let chunk: Vec<_> = taken.iter().filter_map(|ready| ready.remembered).collect();
        let saved = self.store.borrow_mut().save_seen(&chunk);
        if let Err(error) = saved {
            // What was taken is lost to this instance, hence the instance is lost; a new one goes on.
            self.state = State::Failed(error.clone());
            return Err(error);
        }
        let mut records = Vec::with_capacity(taken.len());
        for ready in taken {
            let has_stream = ready.has_stream();
            self.streams_unacked += usize::from(has_stream);
            self.unacked.push_back(Unacked { position: ready.record.position.clone(), pass: ready.pass, has_stream });
            records.push(ready.record);
        }
        Ok(records)
    }

    /// Takes note that the record at `position`, and all before it, are dealt with and that the position is
    /// kept. Returns how many records that were.
    ///
    /// # Errors
    ///
    /// `invalid` where no unacked record has that position, `closed` after `teardown`.
    pub fn ack(&mut self, position: &[u8]) -> Result<usize> {
        if matches!(self.state, State::Closed) {
            return Err(closed());
        }
        let Some(index) = self.unacked.iter().position(|unacked| unacked.position == position) else {
            return Err(Error::invalid("ack of a position that no unacked record has"));
        };
        let mut pass = 0;
        for acked in self.unacked.drain(..=index) {
            self.streams_unacked -= usize::from(acked.has_stream);
            pass = acked.pass;
        }
        self.store.borrow_mut().acked(pass)?;
        Ok(index + 1)
    }

    /// How far the source has come.
    pub fn progress(&self) -> Progress {
        Progress {
            is_caught_up: self.outlet.is_caught_up(),
            counts: self.outlet.counts(),
            retries: self.client.retries(),
        }
    }

    /// Ends the source and all its work in flight. A second call changes nothing.
    pub fn teardown(&mut self) {
        self.state = State::Closed;
        self.unacked.clear();
        self.outlet.clear();
    }
}

/// Ready with none when records are or time is over, with what stopped the feed if it stopped.
fn poll_ready<B>(
    feed: &mut Fuse<LocalBoxFuture<'static, Result<()>>>,
    outlet: &Outlet<B>,
    wanted: Wanted,
    timeout: &mut (impl Future<Output = ()> + Unpin),
    context: &mut Context<'_>,
) -> Poll<Option<Error>> {
    if outlet.count_ready(wanted) >= wanted.records_max {
        return Poll::Ready(None);
    }
    if let Poll::Ready(Err(error)) = feed.poll_unpin(context) {
        return Poll::Ready(Some(error));
    }
    if outlet.count_ready(wanted) > 0 || timeout.poll_unpin(context).is_ready() {
        return Poll::Ready(None);
    }
    Poll::Pending
}

/// HeadBucket has no body to say why it refuses, and a one-key listing needs what the source needs anyway.
async fn check_bucket<P: Ports>(client: &Client<P>) -> std::result::Result<(), S3Error> {
    let start = ListStart::After(String::new());
    client.list_objects_v2(&client.config().prefix, &start, 1).await.map(drop)
}

fn closed() -> Error {
    Error::closed("the source was torn down")
}

#[cfg(test)]
mod tests;
