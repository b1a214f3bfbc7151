//! Owns the carrying out of a history: a source, its reader and its restarts, up to quiescence. Leaves what is right to
//! `check`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use s3_connector::config::Settings;
use s3_connector::error::Error;
use s3_connector::limits::Bounds;
use s3_connector::ports::{Edit, StateError};
use s3_connector::record::{Data, Record};
use s3_connector::source::Source;
use s3_connector::testing::{Pieces, Reply, TestPorts, mutant, pages};

use crate::bucket::BUCKET;
use crate::check::{Checked, Checker, Complaint, Promise, broken};
use crate::history::{History, ReaderSetup};
use crate::wire;
use crate::world::{End, Event, World};

/// How long a read waits, and how long a source waits between two polls.
const SECOND: Duration = Duration::from_secs(1);

/// How far a restart without saved state goes back.
const LOOKBACK: Duration = Duration::from_secs(300);

/// Reads after which a source should long be idle.
const READS_MAX: u32 = 3000;

/// What came of a history.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong, if something is.
    pub complaint: Option<Complaint>,
    /// Everything that happened, if it was to be written down.
    pub transcript: Vec<String>,
    /// What was told, as `create a#1`, if all was to be written down.
    pub told: Vec<String>,
    /// Records that were read.
    pub records: u64,
    /// Calls of the host.
    pub calls: u64,
    /// Sources that were started.
    pub sources: u64,
}

/// Carries a history out, and looks at all promises but some.
pub fn run(history: &History, is_verbose: bool, overlooked: &[Promise]) -> Outcome {
    let ports = TestPorts::new(history.seed);
    let world = Rc::new(RefCell::new(World::new(ports.clone(), history, is_verbose)));
    connect(&ports, &world);
    mutant::set_bounds(bounds(history.reader.cut));
    pages::used();
    let mut overlooked = overlooked.to_vec();
    if history.reader.cut == GROUPED {
        overlooked.extend([Promise::Once, Promise::Order, Promise::Told]);
    }
    let mut reader = Reader {
        ports: ports.clone(),
        world: Rc::clone(&world),
        setup: history.reader.clone(),
        settings: settings(&history.reader),
        checker: Checker::new(&overlooked),
        unacked: VecDeque::new(),
        kept: None,
        was_idle: false,
        told: Vec::new(),
        is_verbose,
        records: 0,
        sources: 0,
        reads: 0,
    };
    let complaint = reader.run().err();
    disconnect(&ports);
    let mut world = world.borrow_mut();
    Outcome {
        complaint,
        told: reader.told,
        transcript: world.take_transcript(),
        records: reader.records,
        calls: world.calls,
        sources: reader.sources,
    }
}

/// The cut at which versions of a key are known in groups, so that the reader may get a group of old ones again where
/// one was added to it or removed.
const GROUPED: u8 = 3;

/// The sizes by which a source cuts its catalogue and its plans.
fn bounds(cut: u8) -> Bounds {
    let (segment_bytes, range_entries, run_bytes, chunk_bytes, listed_exactly, group) = match cut {
        0 => return Bounds { list_pages: 1, list_page_time: Duration::from_secs(3600), ..Bounds::SOURCE },
        1 => (60, 3, 300, 200, 4096, 1024),
        2 => (1, 1, 1, 1, 4096, 1024),
        _ => (60, 3, 300, 200, 2, 2),
    };
    let of_lists = Bounds {
        list_pages: 1,
        list_entries: 1,
        list_held_bytes: 1000,
        list_guesses: 100,
        list_page_time: Duration::from_secs(3600),
        ..Bounds::SOURCE
    };
    Bounds { segment_bytes, range_entries, run_bytes, chunk_bytes, listed_exactly, group, ..of_lists }
}

fn settings(reader: &ReaderSetup) -> Settings {
    let concurrency = reader.concurrency.to_string();
    let pairs = [
        ("aws.region", "us-east-1"),
        ("aws.bucket", BUCKET),
        ("aws.endpoint", "http://store:9000"),
        ("concurrency", &concurrency),
        ("lookback", "5m"),
    ];
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Has the world answer for the host.
fn connect(ports: &TestPorts, world: &Rc<RefCell<World>>) {
    let dead = || StateError::Failed("the host is gone".to_owned());
    let at = Rc::clone(world);
    ports.serve(move |request| {
        let world = &mut *at.borrow_mut();
        world.tick(Event::Call, true);
        if world.is_dead() { Reply::reset().after(Duration::from_secs(1 << 20)) } else { wire::answer(world, request) }
    });
    let at = Rc::clone(world);
    ports.refuse_state(move |_| {
        let world = &mut *at.borrow_mut();
        if !world.has_state {
            return Some(StateError::Absent);
        }
        world.tick(Event::Call, false);
        // A commit that is to be carried out before the end asks once more.
        let is_done = matches!(world.end, Some(End::Crash { after: true, .. }));
        (world.is_dead() && !is_done).then(dead)
    });
    let at = Rc::clone(world);
    ports.refuse_commits(move |edits| {
        let world = &mut *at.borrow_mut();
        let Some(End::Crash { after, away }) = world.end else {
            world.note(|| describe(edits));
            return None;
        };
        // Only the first.
        world.end = Some(End::Crash { after: false, away });
        (!after).then(dead)
    });
}

fn describe(edits: &[Edit]) -> String {
    let named = edits.iter().map(|edit| match &edit.value {
        Some(value) => format!("{}={}", edit.name, value.len()),
        None => format!("-{}", edit.name),
    });
    format!("commit {}", named.collect::<Vec<_>>().join(" "))
}

/// Lets go of the world, which holds the ports that hold it.
fn disconnect(ports: &TestPorts) {
    ports.serve(|_| Reply::reset());
    ports.refuse_state(|_| None);
    ports.refuse_commits(|_| None);
}

/// A record in a few words: the operation, and the bytes, which begin with the key.
fn summary(record: &Record<Pieces>) -> String {
    let text = |data: &Option<Data<Pieces>>| match data {
        Some(Data::Raw(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let after = text(&record.payload.after);
    let what = if after.is_empty() { text(&record.key) } else { after };
    format!("{} {what}", record.operation.as_str())
}

/// A record that was read and is not acked.
struct Unacked {
    position: Bytes,
    /// Records up to it.
    count: usize,
}

/// What a reader goes on after.
struct Kept {
    position: Bytes,
    count: usize,
}

struct Reader {
    ports: TestPorts,
    world: Rc<RefCell<World>>,
    setup: ReaderSetup,
    settings: Settings,
    checker: Checker,
    unacked: VecDeque<Unacked>,
    kept: Option<Kept>,
    /// Whether the source was idle since it began anew.
    was_idle: bool,
    told: Vec<String>,
    is_verbose: bool,
    records: u64,
    sources: u64,
    reads: u32,
}

impl Reader {
    /// Runs sources until nothing happens any more.
    fn run(&mut self) -> Checked {
        while let Some(end) = self.live()? {
            self.restart(end);
        }
        self.finish()
    }

    /// Runs one source; `None` once nothing happens any more.
    fn live(&mut self) -> Result<Option<End>, Complaint> {
        self.sources += 1;
        let configured = Source::configure(self.ports.clone(), &self.settings);
        let mut source = configured.expect("the settings are right");
        let position = self.kept.as_ref().map(|kept| kept.position.clone());
        let note = format!("open {:?}", position.as_ref().map(|position| String::from_utf8_lossy(position)));
        self.world.borrow_mut().note(|| note);
        let opened = self.drive(source.open(position.as_deref()));
        match opened {
            _ if self.world.borrow().is_dead() => return Ok(self.world.borrow_mut().end.take()),
            Some(Err(error)) => return self.failed("open", &error).map(Some),
            _ => {}
        }
        let (mut idle, mut left) = (0, self.world.borrow().left());
        loop {
            self.reads += 1;
            if self.reads > READS_MAX {
                return Err(broken(Promise::Rest, "the source never comes to rest"));
            }
            let read = self.drive(source.read(self.setup.records_max, u64::MAX, SECOND));
            let is_dead = self.world.borrow().is_dead();
            self.look()?;
            let records = match read {
                _ if is_dead => return Ok(self.world.borrow_mut().end.take()),
                Some(Ok(records)) => records,
                Some(Err(error)) => return self.failed("read", &error).map(Some),
                None => unreachable!("only death interrupts"),
            };
            let is_idle = records.is_empty() && source.progress().is_caught_up;
            let left_before = std::mem::replace(&mut left, self.world.borrow().left());
            idle = if is_idle && left == left_before { idle + 1 } else { 0 };
            self.take(&records)?;
            drop(records);
            let events = if is_idle { &[Event::Read, Event::Idle][..] } else { &[Event::Read] };
            if is_idle {
                self.was_idle = true;
                self.checker.idle(&self.world.borrow())?;
                let unread = &mut self.world.borrow_mut().unread;
                let settled = std::mem::take(&mut self.checker.is_settled);
                unread.iter_mut().zip(settled).for_each(|(unread, is_settled)| *unread &= !is_settled);
            }
            events.iter().for_each(|event| self.world.borrow_mut().tick(*event, true));
            if let Some(end) = self.ended(&mut source)? {
                return Ok(Some(end));
            }
            self.ack_some(&mut source, idle)?;
            if let Some(end) = self.ended(&mut source)? {
                return Ok(Some(end));
            }
            if idle >= 3 && self.unacked.is_empty() && left == 0 {
                return Ok(None);
            }
        }
    }

    /// What follows from a failure: another source, where the store refused something.
    fn failed(&mut self, call: &str, error: &Error) -> Result<End, Complaint> {
        let world = &mut *self.world.borrow_mut();
        world.note(|| format!("{call} failed: {error}"));
        if std::mem::take(&mut world.was_refused) {
            return Ok(End::Crash { after: false, away: Duration::ZERO });
        }
        Err(broken(Promise::Failure, format!("{call}: {error}")))
    }

    /// How the source is to end, if it is.
    fn ended(&mut self, source: &mut Source<TestPorts>) -> Result<Option<End>, Complaint> {
        let end = self.world.borrow_mut().end.take();
        if let Some(End::Stop { .. }) = end {
            self.ack(source, self.unacked.len())?;
            source.teardown();
        }
        Ok(end)
    }

    /// Runs a future until it is ready or the source is dead.
    fn drive<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        self.ports.block_on(poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if self.world.borrow().is_dead() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }))
    }

    /// Looks at the pages that the source has used.
    fn look(&self) -> Checked {
        let world = &mut *self.world.borrow_mut();
        let hole = world.hole.take().or(world.look_at_pages().err());
        hole.map_or(Ok(()), |hole| Err(broken(Promise::Failure, hole)))
    }

    fn take(&mut self, records: &[Record<Pieces>]) -> Checked {
        for record in records {
            self.records += 1;
            if self.is_verbose {
                let summary = summary(record);
                self.world.borrow_mut().note(|| format!("> {summary}"));
                self.told.push(summary);
            }
            self.checker.record(&self.world.borrow(), record)?;
            self.unacked.push_back(Unacked { position: record.position.clone(), count: self.checker.count() });
        }
        Ok(())
    }

    /// Acks what is due: in groups, with a lag, all of it once the source is idle for a while.
    fn ack_some(&mut self, source: &mut Source<TestPorts>, idle: u32) -> Checked {
        let lag = if idle >= 2 || self.unacked.len() > 50 { 0 } else { self.setup.lag };
        let due = self.unacked.len().saturating_sub(lag);
        if due >= self.setup.group || idle >= 2 {
            self.ack(source, due)?;
        }
        Ok(())
    }

    /// Keeps the position of the record at that place, and tells the source.
    fn ack(&mut self, source: &mut Source<TestPorts>, count: usize) -> Checked {
        let Some(Unacked { position, count }) = self.unacked.drain(..count).next_back() else {
            return Ok(());
        };
        self.kept = Some(Kept { position: position.clone(), count });
        let text = format!("keep {}", String::from_utf8_lossy(&position));
        self.world.borrow_mut().note(|| text);
        self.world.borrow_mut().tick(Event::Ack, true);
        if self.world.borrow().is_dead() {
            return Ok(());
        }
        let acked = source.ack(&position);
        match acked {
            _ if self.world.borrow().is_dead() => Ok(()),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(Promise::Failure, format!("ack: {error}"))),
        }
    }

    /// Goes on after the last kept position.
    fn restart(&mut self, end: End) {
        let (End::Crash { away, .. } | End::Stop { away }) = end;
        self.unacked.clear();
        {
            // What was read in vain may be so again.
            let world = &mut *self.world.borrow_mut();
            world.shown.drop_answers();
            world.unread = world.was_unread;
            world.is_restarted = true;
        }
        self.world.borrow_mut().note(|| "--- restart".to_owned());
        let world = &mut *self.world.borrow_mut();
        let text = self.kept.as_ref().map(|kept| String::from_utf8_lossy(&kept.position).into_owned());
        let parts = text.as_ref().and_then(|text| text.rsplit_once('_'));
        let snapshot = parts.and_then(|(key, rest)| rest.starts_with('s').then_some(key));
        match &self.kept {
            Some(kept) => {
                self.checker.go_back(kept.count);
                self.checker.settle(world);
                if let Some(key) = snapshot {
                    world.shown.begin_after(Some(key));
                }
            }
            // An empty bucket, all of whose changes are still to be told.
            None if self.was_idle && !world.shown.has_news && world.has_state => {
                self.checker.go_back(0);
                self.checker.settle(world);
            }
            None => {
                self.checker.forget();
                world.shown.forget();
                self.was_idle = false;
            }
        }
        if self.kept.is_some() && !world.has_state {
            let now = world.bucket.time(world.now_ms());
            let time = self.checker.modified(world).unwrap_or(now) - LOOKBACK;
            world.shown.forgive(time, snapshot);
            self.checker.forgive(world, time, snapshot);
        }
        if !away.is_zero() {
            self.ports.advance(away);
        }
    }

    /// Checks what is left once nothing happens any more.
    fn finish(&self) -> Checked {
        let world = self.world.borrow();
        self.checker.end(&world)?;
        if !world.has_state {
            return Ok(());
        }
        let saved = self.ports.saved();
        let bytes: usize = saved.iter().map(|(name, value)| name.len() + value.len()).sum();
        let versions: usize = world.bucket.now.iter().map(Vec::len).sum();
        let most = 600 + 100 * versions;
        if bytes > most {
            let named: Vec<_> = saved.iter().map(|(name, value)| format!("{name}={}", value.len())).collect();
            let message = format!("{bytes} bytes of state for {versions} versions: {}", named.join(" "));
            return self.checker.heed(Err(broken(Promise::State, message)));
        }
        Ok(())
    }
}
