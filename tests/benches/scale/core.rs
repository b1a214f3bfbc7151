//! Owns the measurements of the native core: processor time beside that of parsing alone, what is read and written of the
//! state, and lag where nothing but the core takes time. Leaves memory to `processes`.
//!
//! Answers are made in this thread, and their time is taken out.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use s3_connector::config::{Settings, SourceConfig};
use s3_connector::ports::{Clock as _, Request};
use s3_connector::s3::Client;
use s3_connector::source::Source;
use s3_connector::testing::{Reply, START, TestPorts};
use synthetic_s3::{Moment, Rule};

use super::Extent;
use super::goals::Goals;
use super::lines::Lags;

/// A bucket in this thread.
struct World {
    ports: TestPorts,
    settings: Settings,
    shared: Rc<Shared>,
}

struct Shared {
    moment: RefCell<Moment>,
    /// Processor time for answers.
    answering: Cell<Duration>,
    /// While keys change by the clock: how much processor time the core had used when they were last looked at. Time
    /// passes as the core works.
    clock: Cell<Option<Duration>>,
    /// Microseconds for which they change.
    lasts: Cell<u64>,
    /// Requests for objects.
    gets: Cell<u64>,
    /// Requests in all.
    requests: Cell<u64>,
    state: RefCell<StateUse>,
}

/// What was done with the state.
#[derive(Default)]
struct StateUse {
    /// Segments that were read or written.
    segments_touched: u64,
    /// Bytes of all values that were committed.
    written: u64,
    /// Bytes of each segment that was committed, as it is now.
    segments: BTreeMap<String, u64>,
}

impl World {
    fn new(rule: &str) -> Self {
        let rule = Rule::parse(rule).expect("a rule");
        let shared = Rc::new(Shared {
            moment: RefCell::new(Moment::start(rule, START.seconds())),
            answering: Cell::default(),
            clock: Cell::default(),
            lasts: Cell::default(),
            gets: Cell::default(),
            requests: Cell::default(),
            state: RefCell::default(),
        });
        let ports = TestPorts::new(1);
        let (own, world) = (ports.clone(), Rc::clone(&shared));
        ports.serve(move |request| {
            let before = processor_time();
            world.pass_time(&own);
            let reply = world.answer(request).header("date", &date(own.now().seconds()));
            own.forget_requests();
            world.answering.set(world.answering.get() + (processor_time() - before));
            reply
        });
        let world = Rc::clone(&shared);
        ports.refuse_state(move |name| {
            world.state.borrow_mut().segments_touched += u64::from(name.starts_with("s-"));
            None
        });
        let world = Rc::clone(&shared);
        ports.refuse_commits(move |edits| {
            let mut state = world.state.borrow_mut();
            for edit in edits {
                let bytes = edit.value.as_ref().map_or(0, Vec::len) as u64;
                state.written += bytes;
                if edit.name.starts_with("s-") && edit.value.is_some() {
                    state.segments.insert(edit.name.clone(), bytes);
                }
            }
            None
        });
        let settings = [("aws.bucket", "million"), ("aws.region", "us-east-1"), ("aws.endpoint", "http://double")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { ports, settings: settings.into(), shared }
    }

    /// A source that goes on with the saved state.
    fn open(&self, position: Option<&[u8]>) -> Source<TestPorts> {
        let mut source = Source::configure(self.ports.clone(), &self.settings).expect("settings are right");
        self.ports.block_on(source.open(position)).expect("the bucket can be listed");
        source
    }

    /// Reads and acks until nothing is new. Returns the last position, and how many records there were.
    fn drain(&self, source: &mut Source<TestPorts>) -> (Option<Vec<u8>>, u64) {
        let (mut last, mut count) = (None, 0);
        let polls = source.progress().counts.polls;
        while !(source.progress().is_caught_up && source.progress().counts.polls > polls) {
            let records = self.ports.block_on(source.read(1000, 64 << 20, Duration::from_secs(2))).expect("reads");
            count += records.len() as u64;
            if let Some(record) = records.last() {
                source.ack(&record.position).expect("acks");
                last = Some(record.position.to_vec());
            }
        }
        (last, count)
    }

    /// Processor time of some work, without the time for answers.
    fn time<T>(&self, work: impl FnOnce() -> T) -> (Duration, T) {
        let (before, answering) = (processor_time(), self.shared.answering.get());
        let result = work();
        ((processor_time() - before).saturating_sub(self.shared.answering.get() - answering), result)
    }
}

impl Shared {
    /// Lets as much time pass as the core has worked since the last request.
    fn pass_time(&self, ports: &TestPorts) {
        let Some(before) = self.clock.get() else {
            return;
        };
        let worked = processor_time() - self.answering.get();
        ports.advance(worked.saturating_sub(before));
        self.clock.set(Some(worked));
        let mut moment = self.moment.borrow_mut();
        let elapsed = (ports.now().0 * 1000).saturating_sub(moment.changes.0);
        moment.changes.1 = elapsed.min(self.lasts.get()) * moment.rule.rate / 1_000_000;
    }

    fn answer(&self, request: &Request) -> Reply {
        let if_match = request.headers.iter().find(|(name, _)| *name == "if-match").map(|(_, value)| value.as_str());
        let moment = self.moment.borrow();
        let answer = synthetic_s3::answer(&moment, request.method.as_str(), &request.path_with_query, if_match);
        self.requests.set(self.requests.get() + 1);
        if answer.length.is_none() && !answer.body.starts_with(b"<") {
            self.gets.set(self.gets.get() + 1);
        }
        let length = answer.length.unwrap_or(answer.body.len() as u64);
        let reply = Reply::status(answer.status).header("content-length", &length.to_string());
        let reply = answer.headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value));
        if answer.body.is_empty() { reply } else { reply.body(&[&answer.body]) }
    }
}

/// Measures all that is measured natively.
pub(super) fn measure(extent: &Extent, goals: &mut Goals) {
    let keys = extent.keys;
    println!("native core, {keys} keys, processor time without that of the answers");
    let world = World::new(&format!("keys:{keys},changed:{}", keys / 5));
    let parsing = parse(&world);
    goals.figure("core: parsing all pages, us per key", format!("{:.2}", micros_per(parsing, keys)));

    let mut source = world.open(None);
    let (seeding, (position, count)) = world.time(|| world.drain(&mut source));
    goals
        .figure(&format!("core: snapshot of {count} records, us per key"), format!("{:.2}", micros_per(seeding, keys)));
    let saved = state_bytes(&world);
    goals.at_most("core: values of the state, bytes per version", saved as f64 / keys as f64, 24.0, "");
    idle(&world, &mut source, parsing, goals);
    drop(source);
    changed(&world, position.as_deref(), goals);
    changing(extent, goals);
}

/// All pages read by the client, and nothing done with them.
fn parse(world: &World) -> Duration {
    let config = SourceConfig::parse(&world.settings).expect("settings are right");
    let client = Client::new(world.ports.clone(), config.bucket);
    let (time, ()) = world.time(|| {
        let mut marker = None;
        loop {
            let page = world.ports.block_on(client.list_object_versions("", marker.as_ref())).expect("a page");
            marker = page.next;
            if marker.is_none() {
                break;
            }
        }
    });
    time
}

/// Polls of a bucket in which nothing changes.
fn idle(world: &World, source: &mut Source<TestPorts>, parsing: Duration, goals: &mut Goals) {
    world.shared.state.take();
    let (gets, requests) = (world.shared.gets.get(), world.shared.requests.get());
    let polls = source.progress().counts.polls;
    let (time, (_, count)) = world.time(|| world.drain(source));
    let polls = source.progress().counts.polls - polls;
    assert_eq!(count, 0, "an idle poll finds nothing");
    let (gets, requests) = (world.shared.gets.get() - gets, world.shared.requests.get() - requests);
    let touched = world.shared.state.borrow().segments_touched;
    let per_poll = time.as_secs_f64() / polls as f64;
    goals.at_most("P6, core: idle poll / parsing alone, processor time", per_poll / parsing.as_secs_f64(), 1.1, "");
    goals.at_most("core: idle poll, objects requested", gets as f64, 0.0, "");
    let pages = world.shared.moment.borrow().rule.keys.div_ceil(1000);
    goals.at_most("core: idle poll, requests / pages", requests as f64 / (polls * pages) as f64, 1.1, "");
    goals.at_most("core: idle poll, segments read", touched as f64, 0.0, "");
}

/// One poll in which a fifth of the keys has changed.
fn changed(world: &World, position: Option<&[u8]>, goals: &mut Goals) {
    let now = world.ports.now().seconds();
    world.shared.moment.borrow_mut().generations.push(now);
    let mut source = world.open(position);
    world.shared.state.take();
    let (time, count) = world.time(|| world.drain(&mut source).1);
    let expected = world.shared.moment.borrow().rule.changed;
    goals.holds("core: changed keys, records", count, &expected.to_string(), count == expected);
    goals.figure("core: changed keys, us per record", format!("{:.2}", micros_per(time, count.max(1))));
    let state = world.shared.state.borrow();
    let segments: u64 = state.segments.values().sum();
    let names: BTreeSet<&String> = state.segments.keys().collect();
    goals.figure("core: changed keys, segments written", names.len());
    let ratio = state.written as f64 / segments.max(1) as f64;
    goals.at_most("core: state written / changed segments", ratio, 3.0, "");
}

/// Keys that keep changing, for a core to which answers come at once: the lag is what it takes to list and to decide.
fn changing(extent: &Extent, goals: &mut Goals) {
    let (keys, rate) = (extent.keys / 10, extent.keys / 100);
    let world = World::new(&format!("keys:{keys},rate:{rate}"));
    let mut source = world.open(None);
    world.drain(&mut source);
    let started = world.ports.now().0;
    world.shared.lasts.set(extent.seconds * 1_000_000);
    world.shared.moment.borrow_mut().changes = (started * 1000, 0);
    world.shared.clock.set(Some(processor_time() - world.shared.answering.get()));
    let (mut count, mut lags) = (0, Lags::default());
    while count < rate * extent.seconds {
        let records = world.ports.block_on(source.read(1000, 64 << 20, Duration::from_secs(2))).expect("reads");
        count += records.len() as u64;
        let now = world.ports.now().0.saturating_sub(started) as f64 / 1e3;
        assert!(now < 10.0 * extent.seconds as f64, "the core does not keep up: {count} records");
        let Some(record) = records.last() else {
            continue;
        };
        let stored: u64 = record.metadata["opencdc.createdAt"].parse().expect("nanoseconds");
        lags.take(now as u64, now + started as f64 / 1e3 - stored as f64 / 1e9, records.len() as u64);
        source.ack(&record.position).expect("acks");
    }
    lags.print();
    let what = format!("core: {rate} changes per second, seconds of lag per second");
    goals.at_most(&what, lags.slope(extent.seconds / 2, extent.seconds), 0.1, "");
}

fn state_bytes(world: &World) -> u64 {
    world.ports.saved().iter().map(|(name, value)| (name.len() + value.len()) as u64).sum()
}

fn micros_per(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
