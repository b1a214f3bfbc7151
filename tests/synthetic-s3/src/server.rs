//! Owns the server: its connections and what they share. Leaves what is answered to `answer` and `control`.
//!
//! One thread serves all connections: the other ones of the machine are the connector's. A connection reads a head,
//! waits for nothing, and writes the answer; what delays or breaks answers belongs between the two.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::answer::{self, Answer};
use crate::control;
use crate::counts::{Counts, micros};
use crate::operation::Request;
use crate::rule::{Moment, Rule};

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
    pub async fn bind(port: u16, buckets: impl IntoIterator<Item = (String, Rule)>) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await?;
        let buckets = buckets.into_iter().map(|(name, rule)| (name, Bucket::new(rule))).collect();
        let shared = Shared {
            buckets: RefCell::new(buckets),
            counts: RefCell::default(),
            connections: Cell::default(),
            open: Cell::default(),
        };
        Ok(Self { listener, shared: Rc::new(shared) })
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
    loop {
        let Some(length) = next_head(&mut stream, &mut read).await? else {
            return Ok(());
        };
        let head = std::str::from_utf8(&read[..length]).unwrap_or_default();
        let request = Request::read(head).unwrap_or_default();
        read.drain(..length + 4);
        let answer = respond(&request, shared);
        out.clear();
        write_head(&answer, request.has_body, &mut out);
        if answer.body.len() <= TOGETHER_BYTES_MAX {
            out.extend_from_slice(&answer.body);
            stream.write_all(&out).await?;
        } else {
            stream.write_all(&out).await?;
            stream.write_all(&answer.body).await?;
        }
        if request.has_body {
            // Nobody reads the body here, so that the next request can't be found.
            return stream.shutdown().await;
        }
    }
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

fn respond(request: &Request, shared: &Shared) -> Answer {
    if request.bucket == "_double" {
        return control::answer(request, shared);
    }
    let operation = request.operation();
    let answer = match shared.buckets.borrow_mut().get_mut(&request.bucket) {
        Some(bucket) => {
            let (moment, body) = bucket.now();
            answer::answer(&operation, moment, body)
        }
        None => Answer::refusal(404, "NoSuchBucket"),
    };
    shared.counts.borrow_mut().count(&operation, answer.body.len());
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
