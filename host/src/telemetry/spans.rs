//! Owns the spans: those of passes and of requests, what they say, and how many are held. Leaves finding where one pass ends to
//! `passes`, and sending them to `exporter`.
//!
//! What a component can cause is bounded: spans per second, spans that wait to be sent, bytes of each attribute. Spans beyond
//! that are counted and dropped.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::wire::{KIND_CLIENT, KIND_INTERNAL, STATUS_ERROR, Span, SpanStatus, number, text};
use crate::printable;
use crate::random;

/// Spans per second and process. A source of small objects makes some hundred requests per second.
pub const SPANS_PER_SECOND_MAX: u32 = 1000;

/// Spans that wait to be sent, with those being sent again. Each has 2 KiB at most, mostly less than one.
pub const SPANS_HELD_MAX: usize = 4096;

/// Bytes of an attribute of text, before control characters are escaped: a key has 1 KiB.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// Spans in one message.
pub(super) const SPANS_SENT_MAX: usize = 512;

const SECOND: Duration = Duration::from_secs(1);

/// The part of passes that are traced, in 2⁻⁶⁴.
pub(super) type Share = u64;

/// Spans that wait to be sent.
#[derive(Debug)]
pub(super) struct Spans {
    held: Mutex<Held>,
    dropped: AtomicU64,
    is_many: Notify,
    share: Share,
}

#[derive(Debug)]
struct Held {
    spans: Vec<Span>,
    began: Instant,
    this_second: u32,
}

impl Spans {
    pub(super) fn new(share: Share) -> Self {
        let held = Held { spans: Vec::new(), began: Instant::now(), this_second: 0 };
        Self { held: Mutex::new(held), dropped: AtomicU64::new(0), is_many: Notify::new(), share }
    }

    fn add(&self, span: Span) {
        let mut held = self.lock();
        if held.began.elapsed() >= SECOND {
            held.began = Instant::now();
            held.this_second = 0;
        }
        if held.this_second >= SPANS_PER_SECOND_MAX || held.spans.len() >= SPANS_HELD_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        held.this_second += 1;
        held.spans.push(span);
        if held.spans.len() >= SPANS_SENT_MAX {
            self.is_many.notify_one();
        }
    }

    /// The spans for a message, the oldest first.
    pub(super) fn take(&self) -> Vec<Span> {
        let mut held = self.lock();
        let count = held.spans.len().min(SPANS_SENT_MAX);
        held.spans.drain(..count).collect()
    }

    /// Takes back what could not be sent, as far as there is room.
    pub(super) fn put_back(&self, mut spans: Vec<Span>) {
        let mut held = self.lock();
        let room = SPANS_HELD_MAX.saturating_sub(held.spans.len());
        let excess = spans.len().saturating_sub(room);
        self.lose(excess);
        spans.drain(..excess);
        spans.append(&mut held.spans);
        held.spans = spans;
    }

    /// Counts spans that nobody gets.
    pub(super) fn lose(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// How many were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many wait.
    pub(super) fn held(&self) -> usize {
        self.lock().spans.len()
    }

    /// Waits until there are enough for a message.
    pub(super) async fn many(&self) {
        self.is_many.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The passes of one pipeline, of which one may be under way.
#[derive(Debug)]
pub(super) struct Passes {
    spans: Arc<Spans>,
    pipeline: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The pass that is under way, or was last.
    pass: Option<Pass>,
    is_open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    trace: u128,
    span: u64,
    began: SystemTime,
    /// When something was last seen to happen in it.
    active: SystemTime,
    requests: u64,
}

/// What one pass has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) polls: u64,
    pub(super) read: u64,
    pub(super) bytes: u64,
    pub(super) stored: u64,
}

impl Passes {
    pub(super) fn new(spans: Arc<Spans>, pipeline: &str) -> Self {
        Self { spans, pipeline: pipeline.to_owned(), state: Mutex::default() }
    }

    /// A request belongs to the pass under way. If there is none, one that leads begins one pass; any other belongs to the last.
    fn request(&self, began: SystemTime, ended: SystemTime, leads: bool) -> Pass {
        let mut state = self.lock();
        let is_open = state.is_open;
        match &mut state.pass {
            Some(pass) if is_open || !leads => {
                if is_open {
                    pass.active = pass.active.max(ended);
                    pass.requests += 1;
                }
                *pass
            }
            _ => {
                let trace = (u128::from(random::number()) << 64) | u128::from(random::number());
                // No id is 0.
                let pass = Pass { trace: trace | 1, span: random::number() | 1, began, active: ended, requests: 1 };
                *state = State { pass: Some(pass), is_open: true };
                pass
            }
        }
    }

    /// Something went on in the pass under way.
    pub(super) fn touch(&self) {
        let mut state = self.lock();
        if let Some(pass) = state.pass.as_mut() {
            pass.active = SystemTime::now();
        }
    }

    /// Ends the pass under way, if there is one.
    pub(super) fn end(&self, moved: Moved, failed: Option<&str>) {
        let pass = {
            let mut state = self.lock();
            if !std::mem::replace(&mut state.is_open, false) {
                return;
            }
            let Some(pass) = state.pass else { return };
            pass
        };
        let attributes = vec![
            text("s3_connector.pipeline", bounded(&self.pipeline)),
            number("s3_connector.polls", moved.polls),
            number("s3_connector.records.read", moved.read),
            number("s3_connector.records.stored", moved.stored),
            number("s3_connector.bytes.read", moved.bytes),
            number("s3_connector.requests", pass.requests),
        ];
        let span = Span {
            span_id: pass.span.to_be_bytes().to_vec(),
            name: "pass".to_owned(),
            kind: KIND_INTERNAL,
            attributes,
            ..Span::default()
        };
        self.finish(pass, span, (pass.began, pass.active), failed);
    }

    fn finish(&self, pass: Pass, span: Span, (began, ended): (SystemTime, SystemTime), failed: Option<&str>) {
        // Of one pass all is traced, or nothing.
        if (pass.trace >> 64) as u64 > self.spans.share {
            return;
        }
        self.spans.add(Span {
            trace_id: pass.trace.to_be_bytes().to_vec(),
            start_ns: unix_ns(began),
            end_ns: unix_ns(ended.max(began)),
            status: failed.map(|why| SpanStatus { message: bounded(why).into_owned(), code: STATUS_ERROR }),
            // Sampled (<https://www.w3.org/TR/trace-context/#sampled-flag>).
            flags: 1,
            ..span
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one connector's requests are traced.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(super) passes: Arc<Passes>,
    pub(super) connector: String,
    pub(super) side: &'static str,
    /// Whether its requests begin passes: a source's do, and those of a destination that has no such source.
    pub(super) leads: bool,
}

/// A request that was sent, as far as spans tell of it.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) operation: &'static str,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) bucket: &'a str,
    /// Empty where it is about the bucket.
    pub(crate) key: Cow<'a, str>,
    /// None without an answer.
    pub(crate) status: Option<u16>,
    pub(crate) request_id: Option<&'a str>,
    /// The first is 1.
    pub(crate) attempt: u32,
    pub(crate) bytes_out: u64,
    /// As the answer announces them.
    pub(crate) bytes_in: Option<u64>,
    pub(crate) took: Duration,
    /// Why there is no answer.
    pub(crate) failure: Option<String>,
}

impl Trace {
    /// Makes a span of a request whose answer has just begun, or has not come.
    pub(crate) fn sent(&self, sent: &Sent<'_>) {
        let ended = SystemTime::now();
        let began = ended.checked_sub(sent.took).unwrap_or(ended);
        let pass = self.passes.request(began, ended, self.leads);
        let mut attributes = vec![
            text("rpc.system", "aws-api"),
            text("rpc.service", "S3"),
            text("rpc.method", sent.operation),
            text("http.request.method", sent.method),
            text("server.address", bounded(sent.host)),
            text("aws.s3.bucket", bounded(sent.bucket)),
            text("s3_connector.pipeline", bounded(&self.passes.pipeline)),
            text("s3_connector.connector", bounded(&self.connector)),
            text("s3_connector.side", self.side),
            number("s3_connector.attempt", u64::from(sent.attempt)),
            number("http.request.body.size", sent.bytes_out),
        ];
        if !sent.key.is_empty() {
            attributes.push(text("aws.s3.key", bounded(&sent.key)));
        }
        attributes.extend(sent.status.map(|status| number("http.response.status_code", u64::from(status))));
        attributes.extend(sent.request_id.map(|id| text("aws.request_id", bounded(id))));
        attributes.extend(sent.bytes_in.map(|bytes| number("http.response.body.size", bytes)));
        let refused = sent.status.filter(|status| *status >= 400).map(|status| status.to_string());
        let kind = refused.as_deref().or(sent.failure.as_deref().map(|_| "no_answer"));
        attributes.extend(kind.map(|kind| text("error.type", kind)));
        let failed = sent.failure.as_deref().or(refused.as_deref());
        let span = Span {
            span_id: (random::number() | 1).to_be_bytes().to_vec(),
            parent_span_id: pass.span.to_be_bytes().to_vec(),
            name: sent.operation.to_owned(),
            kind: KIND_CLIENT,
            attributes,
            ..Span::default()
        };
        self.passes.finish(pass, span, (began, ended), failed);
    }
}

fn bounded(value: &str) -> Cow<'_, str> {
    printable::line(value, ATTRIBUTE_BYTES_MAX)
}

/// Nanoseconds since the beginning of 1970.
pub(super) fn unix_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(spans: &Arc<Spans>) -> Trace {
        let passes = Arc::new(Passes::new(Arc::clone(spans), "photos"));
        Trace { passes, connector: "in".to_owned(), side: "source", leads: true }
    }

    fn sent(key: &str) -> Sent<'_> {
        Sent {
            operation: "GetObject",
            method: "GET",
            host: "h",
            bucket: "b",
            key: key.into(),
            status: Some(200),
            request_id: None,
            attempt: 1,
            bytes_out: 0,
            bytes_in: None,
            took: Duration::from_millis(1),
            failure: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn spans_beyond_what_may_be_are_counted_and_dropped() {
        let spans = Arc::new(Spans::new(Share::MAX));
        let trace = trace(&spans);
        for second in 1..=6 {
            for _ in 0..SPANS_PER_SECOND_MAX + 5 {
                trace.sent(&sent(&"\u{1b}".repeat(4096)));
            }
            let held = (second * SPANS_PER_SECOND_MAX as usize).min(SPANS_HELD_MAX);
            assert_eq!(spans.held(), held);
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(spans.dropped(), 6 * u64::from(SPANS_PER_SECOND_MAX + 5) - SPANS_HELD_MAX as u64);
        let batch = spans.take();
        assert_eq!(batch.len(), SPANS_SENT_MAX);
        // Each escape takes six bytes in the place of one.
        let bytes = prost::Message::encoded_len(&batch[0]);
        assert!(bytes < 6 * ATTRIBUTE_BYTES_MAX + 1024, "{bytes}");
        let before = spans.dropped();
        trace.sent(&sent("k"));
        spans.put_back(batch);
        assert_eq!(
            (spans.held(), spans.dropped() - before),
            (SPANS_HELD_MAX, 1),
            "what has come meanwhile has its place"
        );
    }

    #[tokio::test]
    async fn requests_are_of_the_pass_under_way_and_those_after_it_of_the_last_one() {
        let spans = Arc::new(Spans::new(Share::MAX));
        let source = trace(&spans);
        let passes = Arc::clone(&source.passes);
        let destination = Trace { leads: false, side: "destination", ..source.clone() };
        passes.end(Moved::default(), None);
        assert_eq!(spans.held(), 0, "nothing was under way");
        source.sent(&sent("1"));
        destination.sent(&sent("2"));
        passes.end(Moved { read: 1, ..Moved::default() }, Some("the store is away"));
        destination.sent(&sent("3"));
        source.sent(&sent("4"));
        let spans = spans.take();
        let [one, two, pass, three, four] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((&pass.name[..], &pass.parent_span_id[..]), ("pass", &[][..]));
        assert_eq!(pass.status.as_ref().unwrap().message, "the store is away");
        for request in [one, two, three] {
            assert_eq!((&request.parent_span_id, &request.trace_id), (&pass.span_id, &pass.trace_id));
        }
        assert_ne!(four.trace_id, pass.trace_id);
        assert!(pass.end_ns <= three.start_ns + 1_000_000, "what comes after it makes it no longer");
    }

    #[tokio::test]
    async fn a_trace_is_made_whole_or_not_at_all() {
        let spans = Arc::new(Spans::new(0));
        let trace = trace(&spans);
        trace.sent(&sent("1"));
        trace.passes.end(Moved::default(), None);
        assert_eq!((spans.held(), spans.dropped()), (0, 0));
    }
}
