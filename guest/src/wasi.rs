//! The ports over WASI 0.2, and the executor that drives the connector's futures between host calls.
//!
//! The component has one thread and no runtime: futures are polled, and when none can go on, `wasi:io/poll` blocks
//! until something is ready. What is asked and what answers mean is the core's business.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ::wasi::clocks::{monotonic_clock, wall_clock};
use ::wasi::http::outgoing_handler;
use ::wasi::http::types as http;
use ::wasi::io::poll::{self, Pollable};
use ::wasi::io::streams::{InputStream, OutputStream, StreamError};
use bytes::Bytes;

use crate::bindings::opencdc::connector::{log, state, types};
use crate::payload::Payload;
use crate::ports::{
    self, Answer, Edit, Level, Method, Request, Response, SpliceError, StateError, StoredBatch, TransportError,
};
use crate::time::Timestamp;

/// Bytes asked of a stream at a time. A crossing costs the same for all sizes up to about this one.
const READ_BYTES: u64 = 256 * 1024;

/// The ports, over WASI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WasiPorts;

/// A body that comes in: from the store, or with a record.
#[derive(Debug)]
pub(crate) struct Body {
    // Dropped before what it is a part of.
    stream: InputStream,
    parent: Option<http::IncomingBody>,
}

impl Body {
    /// Takes a record's stream.
    pub(crate) fn of_stream(stream: InputStream) -> Self {
        Self { stream, parent: None }
    }

    /// Gives the stream away; what it is a part of must outlive it.
    pub(crate) fn into_parts(self) -> (InputStream, Option<http::IncomingBody>) {
        (self.stream, self.parent)
    }
}

impl ports::Body for Body {
    async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            match self.stream.read(READ_BYTES) {
                Ok(bytes) if bytes.is_empty() => Wait::on(self.stream.subscribe()).await,
                Ok(bytes) => return Ok(Some(Bytes::from(bytes))),
                Err(StreamError::Closed) => return Ok(None),
                Err(StreamError::LastOperationFailed(error)) => {
                    return Err(stream_error(&error));
                }
            }
        }
    }
}

impl ports::Transport for WasiPorts {
    type Body = Body;

    fn send(&self, request: Request) -> impl Future<Output = Result<Response<Body>, TransportError>> + 'static {
        exchange(request)
    }

    async fn splice(
        &self,
        request: Request,
        body: &mut Body,
        length: u64,
        all: bool,
    ) -> Result<Answer<Body>, SpliceError> {
        let broken = |why| SpliceError::Request(broken(why));
        let outgoing = head(&request, length).map_err(SpliceError::Request)?;
        let to = outgoing.body().map_err(|()| broken("the request takes no body"))?;
        let answer = outgoing_handler::handle(outgoing, None).map_err(|c| SpliceError::Request(transport_error(c)))?;
        let stream = to.write().map_err(|()| broken("the request's body is gone"))?;
        let written = hand_over(&stream, &body.stream, length, all).await;
        drop(stream);
        // Where the bytes broke off, the body is dropped before its end, and the host sends nothing.
        if written? {
            http::OutgoingBody::finish(to, None).map_err(|c| SpliceError::Request(transport_error(c)))?;
        }
        Ok(Box::pin(receive(answer)))
    }
}

impl ports::Clock for WasiPorts {
    fn now(&self) -> Timestamp {
        let now = wall_clock::now();
        Timestamp(now.seconds * 1000 + u64::from(now.nanoseconds) / 1_000_000)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Timer { at: monotonic_clock::now().saturating_add(nanos), number: None }
    }
}

impl ports::Random for WasiPorts {
    fn random(&self) -> u64 {
        wasi::random::random::get_random_u64()
    }
}

impl ports::State for WasiPorts {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        state::load(name).map_err(state_error)
    }

    fn commit(&self, edits: Vec<Edit>) -> Result<(), StateError> {
        let edits: Vec<_> = edits.into_iter().map(|Edit { name, value }| state::Edit { name, value }).collect();
        state::commit(&edits).map_err(state_error)
    }
}

/// Has a panic say what happened through the log, since nobody reads this component's stderr.
pub(crate) fn log_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        panic::set_hook(Box::new(|panic| {
            let line = panic.to_string().replace('\n', " ");
            log::log(log::Level::Error, "panic", &line);
        }));
    });
}

fn state_error(error: types::Error) -> StateError {
    match error.kind {
        types::ErrorKind::Unavailable => StateError::Absent,
        _ => StateError::Failed(error.message),
    }
}

impl ports::Log for WasiPorts {
    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
        };
        log::log(level, "s3", message);
    }

    fn skipped(&self, key: &str, reason: &str) {
        // The host splits at the last line's end: a key may hold one, a reason may not.
        let reason = reason.replace(['\n', '\r'], " ");
        log::log(log::Level::Warn, "skipped", &format!("{key}\n{reason}"));
    }

    fn stored(&self, batch: StoredBatch) {
        let StoredBatch { cut, records, bytes } = batch;
        log::log(log::Level::Debug, "stored", &format!("{}\n{records}\n{bytes}", cut.name()));
    }

    fn retrying(&self, line: &str) {
        log::log(log::Level::Debug, "retry", line);
    }
}

/// One exchange: 1. the head goes out, 2. the body after it, 3. the answer's head comes in.
async fn exchange(request: Request) -> Result<Response<Body>, TransportError> {
    let outgoing = head(&request, request.body.len() as u64)?;
    let body = (!request.body.is_empty())
        .then(|| outgoing.body().map_err(|()| broken("the request takes no body")))
        .transpose()?;
    // The head must be on its way before the body is written: nothing else takes the body's bytes.
    let answer = outgoing_handler::handle(outgoing, None).map_err(transport_error)?;
    if let Some(body) = body {
        let stream = body.write().map_err(|()| broken("the request's body is gone"))?;
        let written = write(&stream, &request.body).await;
        drop(stream);
        // A host that refuses the request drops its body; the answer then says why.
        if written {
            http::OutgoingBody::finish(body, None).map_err(transport_error)?;
        }
    }
    receive(answer).await
}

/// The answer, once its head is there.
async fn receive(answer: http::FutureIncomingResponse) -> Result<Response<Body>, TransportError> {
    Wait::on(answer.subscribe()).await;
    let response = answer
        .get()
        .and_then(Result::ok)
        .ok_or_else(|| broken("the answer was taken twice"))?
        .map_err(transport_error)?;
    let headers = response.headers().entries();
    let parent = response.consume().map_err(|()| broken("the answer has no body"))?;
    Ok(Response {
        status: response.status(),
        headers: headers.into_iter().map(|(n, v)| (n, ports::header_text(&v))).collect(),
        body: Body { stream: parent.stream().map_err(|()| broken("the answer's body is gone"))?, parent: Some(parent) },
    })
}

fn head(request: &Request, length: u64) -> Result<http::OutgoingRequest, TransportError> {
    let fields = http::Fields::new();
    let append = |name: &str, value: &str| {
        fields.append(name, value.as_bytes()).map_err(|e| broken(&format!("header `{name}`: {e}")))
    };
    for (name, value) in &request.headers {
        append(name, value)?;
    }
    for (name, value) in &request.extra_headers {
        append(name, value)?;
    }
    if matches!(request.method, Method::Put | Method::Post) {
        append("content-length", &length.to_string())?;
    }
    let outgoing = http::OutgoingRequest::new(fields);
    let method = match request.method {
        Method::Get => http::Method::Get,
        Method::Head => http::Method::Head,
        Method::Put => http::Method::Put,
        Method::Post => http::Method::Post,
        Method::Delete => http::Method::Delete,
    };
    let scheme = if request.tls { http::Scheme::Https } else { http::Scheme::Http };
    outgoing
        .set_method(&method)
        .and_then(|()| outgoing.set_scheme(Some(&scheme)))
        .and_then(|()| outgoing.set_authority(Some(&request.authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&request.path_with_query)))
        .map_err(|()| broken("the request cannot be written as HTTP"))?;
    Ok(outgoing)
}

/// Writes all bytes, in pieces as large as the host permits; false where the host takes no more.
async fn write(stream: &OutputStream, body: &Payload) -> bool {
    for piece in body.pieces() {
        if !write_piece(stream, piece).await {
            return false;
        }
    }
    true
}

/// Hands bytes of a body over to a request's, without taking them in; false where the host takes no more.
async fn hand_over(to: &OutputStream, from: &InputStream, length: u64, all: bool) -> Result<bool, SpliceError> {
    let mut left = length;
    while left > 0 {
        match to.splice(from, left) {
            Ok(0) => match to.check_write() {
                Ok(0) => Wait::on(to.subscribe()).await,
                Ok(_) => Wait::on(from.subscribe()).await,
                Err(_) => return Ok(false),
            },
            Ok(count) => left = left.saturating_sub(count),
            // Either of the two may have ended.
            Err(_) if to.check_write().is_err() => return Ok(false),
            Err(StreamError::Closed) => return Err(SpliceError::shorter(length)),
            Err(StreamError::LastOperationFailed(error)) => return Err(SpliceError::of_body(stream_error(&error))),
        }
    }
    if !all {
        return Ok(true);
    }
    loop {
        match from.read(1) {
            Ok(bytes) if bytes.is_empty() => Wait::on(from.subscribe()).await,
            Ok(_) => return Err(SpliceError::longer(length)),
            Err(StreamError::Closed) => return Ok(true),
            Err(StreamError::LastOperationFailed(error)) => return Err(SpliceError::of_body(stream_error(&error))),
        }
    }
}

/// Why a body broke off.
fn stream_error(error: &::wasi::io::error::Error) -> TransportError {
    match http::http_error_code(error) {
        Some(code) => transport_error(code),
        None => broken("the answer broke off"),
    }
}

async fn write_piece(stream: &OutputStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let permitted = match stream.check_write() {
            Ok(0) => {
                Wait::on(stream.subscribe()).await;
                continue;
            }
            Ok(permitted) => bytes.len().min(usize::try_from(permitted).unwrap_or(usize::MAX)),
            Err(_) => return false,
        };
        if stream.write(&bytes[..permitted]).is_err() {
            return false;
        }
        bytes = &bytes[permitted..];
    }
    true
}

fn transport_error(code: http::ErrorCode) -> TransportError {
    match code {
        http::ErrorCode::HttpRequestDenied => {
            TransportError::Refused("the host did not let the request out".to_owned())
        }
        http::ErrorCode::InternalError(Some(why)) => TransportError::Broken(why),
        code => TransportError::Broken(words(&code)),
    }
}

/// What a code means, for people. Its own text is for programmers: `DnsError(DnsErrorPayload { rcode: …`.
fn words(code: &http::ErrorCode) -> String {
    use http::ErrorCode as Code;
    let words = match code {
        Code::DnsError(_) | Code::DestinationNotFound => "the host's name can't be resolved",
        Code::DnsTimeout => "looking the host's name up took too long",
        Code::ConnectionRefused => "the connection was refused",
        Code::ConnectionTimeout => "there was no connection in time",
        Code::DestinationIpUnroutable | Code::DestinationUnavailable => "the host can't be reached",
        Code::ConnectionLimitReached => "no more connections can be opened",
        Code::TlsCertificateError => "the server's certificate is not trusted",
        Code::TlsAlertReceived(_) => "the server refused the TLS connection",
        Code::TlsProtocolError => "the TLS connection failed",
        Code::ConnectionTerminated => "the connection was ended early",
        Code::HttpProtocolError => "the answer is not valid HTTP",
        Code::HttpResponseTimeout => "there was no answer in time",
        Code::ConnectionReadTimeout => "the answer stalled",
        Code::HttpResponseIncomplete => "the answer ended early",
        Code::HttpResponseBodySize(_) => "the answer is longer than announced",
        Code::HttpRequestBodySize(_) => "the request's body is too large, or not as announced",
        Code::InternalError(_) => "the host failed",
        // The name alone, without its type and what it carries.
        code => {
            let text = code.to_string();
            let name = text.trim_start_matches("ErrorCode::");
            return name.split('(').next().unwrap_or_default().trim().to_owned();
        }
    };
    words.to_owned()
}

fn broken(why: &str) -> TransportError {
    TransportError::Broken(why.to_owned())
}

thread_local! {
    /// What futures wait for, and whom to wake.
    static WAITS: RefCell<Waits> =
        const { RefCell::new(Waits { next: 0, waiting: BTreeMap::new(), timers: BTreeMap::new(), clock: None }) };
}

struct Waits {
    next: u64,
    waiting: BTreeMap<u64, (Rc<Pollable>, Waker)>,
    /// By their moment and number.
    timers: BTreeMap<(u64, u64), Waker>,
    /// One pollable for all timers: it is ready at this moment, which is that of the earliest timer or before it.
    clock: Option<(u64, Rc<Pollable>)>,
}

impl Waits {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The clock, where there is a timer.
    fn clock(&mut self) -> Option<Rc<Pollable>> {
        let (earliest, _) = self.timers.first_key_value()?.0;
        match &self.clock {
            Some((at, pollable)) if at <= earliest => Some(Rc::clone(pollable)),
            _ => {
                let pollable = Rc::new(monotonic_clock::subscribe_instant(*earliest));
                self.clock = Some((*earliest, Rc::clone(&pollable)));
                Some(pollable)
            }
        }
    }

    /// Wakes the timers whose moment has come.
    fn wake_timers(&mut self) {
        self.clock = None;
        let now = monotonic_clock::now();
        while let Some(timer) = self.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            timer.remove().wake();
        }
    }
}

/// Waits until a moment. A crossing into the host costs as much as many timers do here.
struct Timer {
    at: u64,
    number: Option<u64>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // What is polled between waits, as uploads are with each record, must see that its moment has come.
        if monotonic_clock::now() >= self.at {
            return Poll::Ready(());
        }
        WAITS.with_borrow_mut(|waits| {
            let number = *self.number.get_or_insert_with(|| waits.number());
            waits.timers.insert((self.at, number), context.waker().clone());
        });
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            WAITS.with_borrow_mut(|waits| waits.timers.remove(&(self.at, number)));
        }
    }
}

/// Waits until a pollable is ready.
struct Wait {
    pollable: Rc<Pollable>,
    number: Option<u64>,
}

impl Wait {
    fn on(pollable: Pollable) -> Self {
        Self { pollable: Rc::new(pollable), number: None }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.pollable.ready() {
            return Poll::Ready(());
        }
        WAITS.with_borrow_mut(|waits| {
            let number = *self.number.get_or_insert_with(|| waits.number());
            waits.waiting.insert(number, (Rc::clone(&self.pollable), context.waker().clone()));
        });
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // A pollable must go before the resource that it is a part of.
        if let Some(number) = self.number {
            WAITS.with_borrow_mut(|waits| waits.waiting.remove(&number));
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end, blocking in `wasi:io/poll` when nothing can go on.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        if !woken.0.swap(false, Ordering::Relaxed) {
            wake_ready();
            woken.0.store(false, Ordering::Relaxed);
        }
    }
}

/// Blocks until something that futures wait for is ready, and wakes all whose turn has come.
fn wake_ready() {
    let (numbers, mut pollables, clock): (Vec<u64>, Vec<Rc<Pollable>>, _) = WAITS.with_borrow_mut(|waits| {
        let waiting = waits.waiting.iter().map(|(number, (pollable, _))| (*number, Rc::clone(pollable)));
        let (numbers, pollables) = waiting.unzip();
        (numbers, pollables, waits.clock())
    });
    // The last one, which has no number.
    pollables.extend(clock);
    assert!(!pollables.is_empty(), "a future waits for nothing that could wake it");
    let borrowed: Vec<&Pollable> = pollables.iter().map(Rc::as_ref).collect();
    // Indices come in no order.
    let ready = poll::poll(&borrowed);
    WAITS.with_borrow_mut(|waits| {
        for index in ready {
            let index = index as usize;
            if index == numbers.len() && pollables.len() > numbers.len() {
                waits.wake_timers();
            } else if let Some((_, waker)) = waits.waiting.remove(&numbers[index]) {
                waker.wake();
            }
        }
    });
}
