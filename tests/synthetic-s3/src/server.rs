//! Owns the server: its connections and what they share. Leaves what is answered to `answer` and `control`.
//!
//! One thread serves all connections: the other ones of the machine are the connector's. A connection reads a head, lets
//! the weather have its way, and writes the answer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::answer::{self, Answer};
use crate::control;
use crate::counts::{Counts, micros};
use crate::operation::Request;
use crate::rule::{Moment, Rule};
use crate::weather::{Fate, Weather};

/// Bytes of a request's head at most: keys are short here.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Bytes of a body up to which it is written together with its head.
const TOGETHER_BYTES_MAX: usize = 16 << 10;

/// A server that listens.
#[derive(Debug)]
pub struct Double {
    listener: TcpListener,
    shared: Rc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) buckets: RefCell<BTreeMap<String, Bucket>>,
    pub(crate) counts: RefCell<Counts>,
    /// Connections so far.
    pub(crate) connections: Cell<u64>,
    /// Connections that are open.
    pub(crate) open: Cell<u64>,
    pub(crate) weather: Cell<Weather>,
    /// Requests so far under this weather.
    pub(crate) number: Cell<u64>,
}

/// A bucket that changes.
#[derive(Debug)]
pub(crate) struct Bucket {
    moment: Moment,
    /// When the clock of changes was stopped, in microseconds since 1970.
    stopped: Option<u64>,
    body: Bytes,
}

impl Bucket {
    fn new(rule: Rule) -> Self {
        let body = vec![b'x'; usize::try_from(rule.bytes).unwrap_or_default()];
        Self { moment: Moment::start(rule, micros() / 1_000_000), stopped: None, body: body.into() }
    }

    /// What it holds now.
    fn now(&mut self) -> (&Moment, &Bytes) {
        if self.moment.changes.0 > 0 {
            let elapsed = self.stopped.unwrap_or_else(micros).saturating_sub(self.moment.changes.0);
            self.moment.changes.1 = elapsed * self.moment.rule.rate / 1_000_000;
        }
        (&self.moment, &self.body)
    }

    pub(crate) fn begin_generation(&mut self, number: usize, now: u64) {
        self.moment.generations.resize(number.saturating_sub(1), now);
    }

    pub(crate) fn start_clock(&mut self, now: u64) {
        self.moment.changes = (now, 0);
        self.stopped = None;
    }

    pub(crate) fn stop_clock(&mut self, now: u64) {
        self.stopped = Some(now);
    }
}

impl Double {
    /// Listens on a port of 127.0.0.1, any free one for 0, with these buckets.
    ///
    /// # Errors
    ///
    /// If the port is taken.
    pub async fn bind(
        port: u16,
        buckets: impl IntoIterator<Item = (String, Rule)>,
        weather: Weather,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await?;
        let buckets = buckets.into_iter().map(|(name, rule)| (name, Bucket::new(rule))).collect();
        let shared = Shared {
            buckets: RefCell::new(buckets),
            counts: RefCell::default(),
            connections: Cell::default(),
            open: Cell::default(),
            weather: Cell::new(weather),
            number: Cell::default(),
        };
        Ok(Self { listener, shared: Rc::new(shared) })
    }

    /// Gives all objects of a bucket these bytes, in place of as many as its rule says.
    ///
    /// # Errors
    ///
    /// If there is no such bucket.
    pub fn fill(&self, bucket: &str, body: Bytes) -> io::Result<()> {
        let mut buckets = self.shared.buckets.borrow_mut();
        let filled = buckets.get_mut(bucket);
        let filled = filled.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no bucket `{bucket}`")))?;
        filled.moment.rule.bytes = body.len() as u64;
        filled.body = body;
        Ok(())
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves connections until it is dropped. Runs on a [`LocalSet`](tokio::task::LocalSet).
    ///
    /// # Errors
    ///
    /// If no connection can be accepted any more.
    pub async fn serve(self) -> io::Result<()> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            stream.set_nodelay(true)?;
            let shared = Rc::clone(&self.shared);
            tokio::task::spawn_local(async move {
                shared.connections.set(shared.connections.get() + 1);
                shared.open.set(shared.open.get() + 1);
                // A client may close whenever it likes.
                let _ = connection(stream, &shared).await;
                shared.open.set(shared.open.get() - 1);
            });
        }
    }
}

/// Answers the requests of a connection, one after the other.
async fn connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (mut read, mut out) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    let connect = shared.weather.get().connect;
    if !connect.is_zero() {
        sleep(connect).await;
    }
    let mut served = 0;
    loop {
        let idle = Some(shared.weather.get().idle).filter(|idle| !idle.is_zero()).unwrap_or(Duration::MAX);
        let Ok(head) = timeout(idle, next_head(&mut stream, &mut read)).await else { return Ok(()) };
        let Some(length) = head? else { return Ok(()) };
        let came = Instant::now();
        let head = std::str::from_utf8(&read[..length]).unwrap_or_default();
        let request = Request::read(head).unwrap_or_default();
        read.drain(..length + 4);
        if !skip_body(&mut stream, &mut read, request.body_bytes).await? {
            return Ok(());
        }
        served += 1;
        let weather = shared.weather.get();
        let is_control = request.bucket == "_double";
        let fate =
            if is_control { Fate::Answered } else { weather.fate(shared.number.replace(shared.number.get() + 1)) };
        let answer = respond(&request, fate, shared);
        if !is_control {
            let is_page = !weather.page_delay.is_zero() && request.operation().is_page();
            let delay = if is_page { weather.page_delay } else { weather.delay };
            let stall = if fate == Fate::Stalled { weather.stall } else { Duration::ZERO };
            sleep_until(came + delay + stall).await;
            shared.counts.borrow_mut().served(came.elapsed());
        }
        if fate == Fate::Reset {
            return reset(&stream);
        }
        let closes = weather.requests > 0 && served >= weather.requests;
        out.clear();
        write_head(&answer, closes, &mut out);
        if fate == Fate::Cut {
            stream.write_all(&out).await?;
            write_body(&mut stream, &answer.body.slice(..answer.body.len() / 2), weather.rate).await?;
            return reset(&stream);
        }
        if answer.body.len() <= TOGETHER_BYTES_MAX {
            out.extend_from_slice(&answer.body);
            stream.write_all(&out).await?;
        } else {
            stream.write_all(&out).await?;
            write_body(&mut stream, &answer.body, weather.rate).await?;
        }
        if closes {
            return stream.shutdown().await;
        }
    }
}

/// Closes a connection so that its client gets an error.
fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

/// Bytes that are written at a time where there is a rate.
const PIECE_BYTES: usize = 32 << 10;

/// Writes a body, no faster than this many bytes per second.
async fn write_body(stream: &mut TcpStream, body: &[u8], rate: u64) -> io::Result<()> {
    if rate == 0 {
        return stream.write_all(body).await;
    }
    let begun = Instant::now();
    let mut written = 0_u64;
    for piece in body.chunks(PIECE_BYTES) {
        stream.write_all(piece).await?;
        written += piece.len() as u64;
        sleep_until(begun + Duration::from_micros(written * 1_000_000 / rate)).await;
    }
    Ok(())
}

/// Reads a body and forgets it. False where the client has closed.
async fn skip_body(stream: &mut TcpStream, read: &mut Vec<u8>, bytes: u64) -> io::Result<bool> {
    let there = read.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
    read.drain(..there);
    let mut left = bytes - there as u64;
    let mut piece = Vec::with_capacity(64 << 10);
    while left > 0 {
        piece.clear();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.capacity());
        let got = (&mut *stream).take(most as u64).read_buf(&mut piece).await?;
        if got == 0 {
            return Ok(false);
        }
        left -= got as u64;
    }
    Ok(true)
}

/// Reads up to the end of a head. Returns its length without the empty line; nothing where the client has closed.
async fn next_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut searched = 0;
    loop {
        if let Some(at) = read[searched..].windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(Some(searched + at));
        }
        searched = read.len().saturating_sub(3);
        if read.len() > HEAD_BYTES_MAX || stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

fn respond(request: &Request, fate: Fate, shared: &Shared) -> Answer {
    if request.bucket == "_double" {
        return control::answer(request, shared);
    }
    let operation = request.operation();
    let answer = match shared.buckets.borrow_mut().get_mut(&request.bucket) {
        _ if fate == Fate::Throttled => Answer::refusal(503, "SlowDown"),
        Some(bucket) => {
            let (moment, body) = bucket.now();
            answer::answer(&operation, moment, body)
        }
        None => Answer::refusal(404, "NoSuchBucket"),
    };
    let mut counts = shared.counts.borrow_mut();
    counts.count(&operation, answer.body.len(), request.body_bytes);
    counts.trouble(fate);
    drop(counts);
    answer
}

fn write_head(answer: &Answer, closes: bool, out: &mut Vec<u8>) {
    let mut line = |parts: [&str; 3]| {
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.extend_from_slice(b"\r\n");
    };
    line(["HTTP/1.1 ", &answer.status.to_string(), " -"]);
    line(["date: ", &httpdate::fmt_http_date(SystemTime::now()), ""]);
    line(["x-amz-request-id: ", "DOUBLE0000000000", ""]);
    for (name, value) in &answer.headers {
        line([name, ": ", value]);
    }
    if closes {
        line(["connection: ", "close", ""]);
    }
    let length = answer.length.unwrap_or(answer.body.len() as u64);
    line(["content-length: ", &length.to_string(), "\r\n"]);
}
