//! Owns what tests of the connector need in place of the world: ports in memory with virtual time, seeded randomness,
//! saved state, a log, and a transport that a closure answers; a small bucket; a reader of Parquet objects; numbers of Avro
//! and Thrift. Leaves what a store should answer to each test.
//!
//! Time stands still while anything can be done, and jumps to the next timer when everything waits.

mod bucket;
pub mod mutant;
pub mod pages;
pub mod parquet;
mod varint;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

pub use bucket::{Bucket, Stored, Upload};
pub use varint::{varint, zigzag};

use crate::ports::{
    self, Body, Clock, Edit, Level, Log, Random, Request, Response, State, StateError, Transport, TransportError,
};
use crate::time::Timestamp;

/// Ports in memory. Clones are the same ones.
#[derive(Clone)]
pub struct TestPorts(Rc<RefCell<Inner>>);

type Server = Box<dyn FnMut(&Request) -> Reply>;
type Refusal = Box<dyn Fn(&str) -> Option<StateError>>;

type CommitRefusal = Box<dyn Fn(&[Edit]) -> Option<StateError>>;

struct Inner {
    elapsed: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_made: u64,
    random: SplitMix64,
    saved: BTreeMap<String, Vec<u8>>,
    refusal: Option<Refusal>,
    refuse_commits: Option<CommitRefusal>,
    lines: Vec<(Level, String)>,
    requests: Vec<Request>,
    server: Option<Server>,
}

/// The time of day at which all ports start.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

impl TestPorts {
    /// Makes ports whose randomness follows from `seed` and whose store answers nothing.
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            elapsed: Duration::ZERO,
            timers: BTreeMap::new(),
            timers_made: 0,
            random: SplitMix64::new(seed),
            saved: BTreeMap::new(),
            refusal: None,
            refuse_commits: None,
            lines: Vec::new(),
            requests: Vec::new(),
            server: None,
        })))
    }

    /// Has `server` answer every request from now on, at the moment it is sent.
    pub fn serve(&self, server: impl FnMut(&Request) -> Reply + 'static) {
        self.0.borrow_mut().server = Some(Box::new(server));
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.0.borrow().requests.clone()
    }

    /// Drops the requests so far, for tests with large bodies.
    pub fn forget_requests(&self) {
        self.0.borrow_mut().requests.clear();
    }

    /// Every log line so far of `level` or more severe.
    pub fn lines(&self, level: Level) -> Vec<String> {
        let inner = self.0.borrow();
        inner.lines.iter().filter(|(of, _)| *of >= level).map(|(_, line)| line.clone()).collect()
    }

    /// Every saved value by name.
    pub fn saved(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.borrow().saved.clone()
    }

    /// Fails every access to saved values for whose names `refusal` gives an error.
    pub fn refuse_state(&self, refusal: impl Fn(&str) -> Option<StateError> + 'static) {
        self.0.borrow_mut().refusal = Some(Box::new(refusal));
    }

    /// Has the host refuse the commits for which `refusal` gives an error.
    pub fn refuse_commits(&self, refusal: impl Fn(&[Edit]) -> Option<StateError> + 'static) {
        self.0.borrow_mut().refuse_commits = Some(Box::new(refusal));
    }

    fn check_state(&self, name: &str) -> Result<(), StateError> {
        let inner = self.0.borrow();
        match inner.refusal.as_ref().and_then(|refusal| refusal(name)) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Waits.
    pub fn timer(&self, duration: Duration) -> Sleep {
        let mut inner = self.0.borrow_mut();
        inner.timers_made += 1;
        Sleep { ports: self.clone(), key: (inner.elapsed + duration, inner.timers_made) }
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let wakers: Vec<Waker> = {
            let mut inner = self.0.borrow_mut();
            inner.elapsed += duration;
            let soonest_left = (inner.elapsed + Duration::from_nanos(1), 0);
            let later = inner.timers.split_off(&soonest_left);
            std::mem::replace(&mut inner.timers, later).into_values().collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Runs `future` to its end. Panics if it waits for something that never comes.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            let (next, now) = {
                let inner = self.0.borrow();
                (inner.timers.keys().next().map(|(at, _)| *at), inner.elapsed)
            };
            self.advance(next.expect("waits, and nothing will ever happen") - now);
        }
    }

    fn answer(&self, request: Request) -> Reply {
        // The server is taken out while it answers, so that it may use the ports itself.
        let taken = self.0.borrow_mut().server.take();
        let mut server = taken.expect("a request was sent, but no server was set");
        let reply = server(&request);
        let mut inner = self.0.borrow_mut();
        inner.requests.push(request);
        inner.server.get_or_insert(server);
        reply
    }
}

impl Transport for TestPorts {
    type Body = Pieces;

    fn send(&self, request: Request) -> impl Future<Output = Result<Response<Pieces>, TransportError>> + 'static {
        let ports = self.clone();
        async move {
            let reply = ports.answer(request);
            ports.sleep(reply.delay).await;
            reply.answer
        }
    }
}

impl Clock for TestPorts {
    fn now(&self) -> Timestamp {
        Timestamp(START.0 + self.elapsed().as_millis() as u64)
    }

    fn elapsed(&self) -> Duration {
        self.0.borrow().elapsed
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        self.timer(duration)
    }
}

/// Waits for its moment; a dropped one is forgotten.
pub struct Sleep {
    ports: TestPorts,
    key: (Duration, u64),
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sleep").field(&self.key).finish()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.ports.0.borrow_mut();
        if inner.elapsed >= self.key.0 {
            return Poll::Ready(());
        }
        inner.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.ports.0.borrow_mut().timers.remove(&self.key);
    }
}

impl Random for TestPorts {
    fn random(&self) -> u64 {
        self.0.borrow_mut().random.next()
    }
}

impl State for TestPorts {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.check_state(name)?;
        Ok(self.0.borrow().saved.get(name).cloned())
    }

    fn commit(&self, edits: Vec<Edit>) -> Result<(), StateError> {
        assert_state_limits(&edits);
        edits.iter().try_for_each(|edit| self.check_state(&edit.name))?;
        if let Some(refuses) = &self.0.borrow().refuse_commits {
            refuses(&edits).map_or(Ok(()), Err)?;
        }
        let saved = &mut self.0.borrow_mut().saved;
        for Edit { name, value } in edits {
            match value {
                Some(value) => drop(saved.insert(name, value)),
                None => drop(saved.remove(&name)),
            }
        }
        Ok(())
    }
}

/// Fails a test whose edits no host would take.
fn assert_state_limits(edits: &[Edit]) {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let (mut bytes, mut names) = (0, std::collections::BTreeSet::new());
    for Edit { name, value } in edits {
        let value_bytes = value.as_ref().map_or(0, Vec::len);
        assert!((1..=ports::STATE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_known), "{name}");
        assert!(value_bytes <= ports::STATE_VALUE_BYTES_MAX, "{name}: {value_bytes}");
        assert!(names.insert(name), "{name} twice");
        bytes += name.len() + value_bytes;
    }
    assert!(bytes <= ports::STATE_COMMIT_BYTES_MAX, "{bytes}");
    assert!(edits.len() <= ports::STATE_COMMIT_EDITS_MAX, "{}", edits.len());
}

impl Log for TestPorts {
    fn log(&self, level: Level, message: &str) {
        self.0.borrow_mut().lines.push((level, message.to_owned()));
    }
}

/// A generator of random numbers that follow from a seed ([SplitMix64](https://prng.di.unimi.it/splitmix64.c)).
#[derive(Clone, Copy, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so that an iterator would only add an unwrap")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A body in pieces, the last of which may be a failure.
#[derive(Debug, Default)]
pub struct Pieces {
    /// The pieces that are left.
    pub left: VecDeque<Result<Bytes, TransportError>>,
    /// What ends before the first of them comes.
    pub late: Option<Sleep>,
    /// What comes after them, once a while is over.
    pub end: Option<(Sleep, Bytes)>,
}

impl Pieces {
    /// A body of these pieces.
    pub fn of(pieces: &[&[u8]]) -> Self {
        let pieces = pieces.iter();
        Self { left: pieces.map(|piece| Ok(Bytes::copy_from_slice(piece))).collect(), late: None, end: None }
    }

    /// The same body, broken off at its end.
    pub fn broken(mut self) -> Self {
        self.left.push_back(Err(TransportError::Broken("connection reset".to_owned())));
        self
    }
}

impl Body for Pieces {
    async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        if let Some(late) = self.late.take() {
            late.await;
        }
        if let Some(piece) = self.left.pop_front() {
            return piece.map(Some);
        }
        // Dropped while it waits, it waits on when it is read again.
        let Some((sleep, _)) = &mut self.end else {
            return Ok(None);
        };
        Pin::new(sleep).await;
        Ok(self.end.take().map(|(_, bytes)| bytes))
    }
}

/// What a server answers with, and how much later.
#[derive(Debug)]
pub struct Reply {
    delay: Duration,
    answer: Result<Response<Pieces>, TransportError>,
}

impl Reply {
    /// An answer without headers and body.
    pub fn status(status: u16) -> Self {
        let response = Response { status, headers: Vec::new(), body: Pieces::default() };
        Self { delay: Duration::ZERO, answer: Ok(response) }
    }

    /// A refusal with S3's document.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let document = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Self::status(status).body(&[document.as_bytes()])
    }

    /// No answer at all.
    pub fn reset() -> Self {
        let error = TransportError::Broken("connection reset".to_owned());
        Self { delay: Duration::ZERO, answer: Err(error) }
    }

    /// No answer, since the host denies the request.
    pub fn refused(why: &str) -> Self {
        Self { delay: Duration::ZERO, answer: Err(TransportError::Refused(why.to_owned())) }
    }

    /// Adds a header, name in lower case.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok(response) = &mut self.answer {
            response.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, pieces: &[&[u8]]) -> Self {
        if let Ok(response) = &mut self.answer {
            response.body = Pieces::of(pieces);
        }
        self
    }

    /// Lets the body break off at its end.
    pub fn broken(mut self) -> Self {
        if let Ok(response) = &mut self.answer {
            response.body = std::mem::take(&mut response.body).broken();
        }
        self
    }

    /// Lets it come later.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}
