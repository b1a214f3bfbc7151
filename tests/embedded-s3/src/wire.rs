//! Owns what a test does to requests on their way: it logs them, holds them and lets them fail.
//!
//! Each of the three has a module of its own; here they are put in order. Leaves the answer to the caller: to the
//! embedded server, or to a relay that asks a real one.

pub(crate) mod body;
pub(crate) mod fault;
pub(crate) mod filter;
pub(crate) mod hook;
pub(crate) mod journal;
pub(crate) mod operation;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use s3s::Body;

use crate::model::refusal::Refusal;
use body::Broken;
use fault::{Fault, Faults, Foreign, Reset, Verdict};
use filter::Filter;
use hook::{Hook, Hooks, Pause, Seen, Stage};
use journal::{Journal, LoggedRequest};
use operation::{S3Operation, Target};

const APPLICATION_XML: HeaderValue = HeaderValue::from_static("application/xml");

/// The connection is closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// The way to a server. A clone is a handle on the same.
#[derive(Clone, Debug)]
pub struct Wire {
    faults: Faults,
    hooks: Hooks,
    journal: Journal,
}

impl Wire {
    /// Makes a way on which every answer takes at least this long, and that logs `requests_logged_max` requests.
    pub fn new(latency: Duration, requests_logged_max: usize) -> Self {
        Self { faults: Faults::new(latency), hooks: Hooks::default(), journal: Journal::new(requests_logged_max) }
    }

    /// Gives the faults that can happen.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Gives the hooks and pauses on requests.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Holds matching requests before they take effect, until the test lets each go.
    pub fn pause(&self, filter: impl Into<Filter>) -> Pause {
        self.hooks.pause(Stage::BeforeAct, filter)
    }

    /// Runs `action` on matching requests before they take effect; they wait for it.
    pub fn on_request<F>(&self, filter: impl Into<Filter>, action: impl Fn(Seen) -> F + Send + Sync + 'static) -> Hook
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hooks.on(Stage::BeforeAct, filter, action)
    }

    /// Gives the latest requests in the order in which they arrived.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.journal.requests()
    }

    /// Tells how many requests for an operation have arrived since the start or the last clearing.
    pub fn requests_count(&self, operation: S3Operation) -> u64 {
        self.journal.count(operation)
    }

    /// Forgets the log and the counts.
    pub fn clear_requests(&self) {
        self.journal.clear();
    }

    /// Passes a request on to a server, unless a fault stands in its place, and its answer back.
    pub async fn relay<B, F, E>(
        &self,
        request: Request<B>,
        send: impl FnOnce(Request<Bytes>) -> F,
    ) -> Result<Response<Body>, E>
    where
        B: HttpBody<Data = Bytes>,
        F: Future<Output = Result<Response<Body>, E>>,
        E: From<Closed>,
    {
        let (parts, body) = request.into_parts();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let target = Target::of(&parts.method, path, query, &parts.headers, None);
        let is_head = parts.method == Method::HEAD;
        let act = |parts, body| send(Request::from_parts(parts, body));
        let (number, answer) = self.pass(parts, body, &target, act).await?;
        self.answered(number, &answer, None);
        // Not even an error that a fault made up has one there.
        Ok(if is_head { answer.map(|_| Body::empty()) } else { answer })
    }

    /// Passes a request on to `act`, unless a fault stands in its place; gives its number in the log, and what
    /// has become of the answer.
    pub(crate) async fn pass<B, F, E>(
        &self,
        parts: Parts,
        body: B,
        target: &Target,
        act: impl FnOnce(Parts, Bytes) -> F,
    ) -> Result<(u64, Response<Body>), E>
    where
        B: HttpBody<Data = Bytes>,
        F: Future<Output = Result<Response<Body>, E>>,
        E: From<Closed>,
    {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let number = self.journal.arrived(logged(&parts, target));
        let verdict = self.faults.judge(target.operation, &target.subject);
        let seen = || seen(target, &query);
        self.hooks.run(Stage::BeforeAct, &target.subject, seen).await;
        if matches!(verdict.fault, Some(Fault::Reset(Reset::BeforeAct))) {
            return Err(Closed.into());
        }
        let body = body::read(body, content_length(&parts)).await.map_err(|_| Closed)?;
        let answer = if acts(&verdict) {
            let answer = act(parts, body).await?;
            self.hooks.run(Stage::AfterAct, &target.subject, seen).await;
            answer
        } else {
            Response::new(Body::empty())
        };
        if verdict.latency > Duration::ZERO {
            tokio::time::sleep(verdict.latency).await;
        }
        Ok((number, distort(answer, verdict.fault).await?))
    }

    /// Notes how a request was answered, and whose it was if its signature was found right.
    pub(crate) fn answered(&self, number: u64, answer: &Response<Body>, access_key: Option<&str>) {
        self.journal.answered(number, answer.status().as_u16(), access_key);
    }
}

fn content_length(parts: &Parts) -> Option<usize> {
    parts.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn logged(parts: &Parts, target: &Target) -> LoggedRequest {
    LoggedRequest {
        number: 0,
        operation: target.operation,
        bucket: target.bucket.clone(),
        key: target.key.clone(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
        access_key: None,
        status: None,
    }
}

fn seen(target: &Target, query: &str) -> Seen {
    Seen {
        operation: target.operation,
        bucket: target.bucket.clone(),
        key: target.key.clone(),
        query: query.to_owned(),
    }
}

/// Tells whether the request takes effect: not if it is answered by an error of the test's making,
/// unless the test says so.
fn acts(verdict: &Verdict) -> bool {
    let replaced = matches!(verdict.fault, Some(Fault::Answer { .. } | Fault::ErrorInOk(_) | Fault::Foreign(_)));
    verdict.acts || !replaced
}

/// An answer that refuses.
pub(crate) fn refused(refusal: &Refusal) -> Response<Body> {
    document(refusal.status, refusal.document())
}

fn document(status: u16, document: Bytes) -> Response<Body> {
    let length = document.len();
    let mut answer = Response::new(Body::from(document));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a test gives a status that exists");
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, APPLICATION_XML);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

/// Does to an answer what the fault says.
async fn distort(answer: Response<Body>, fault: Option<Fault>) -> Result<Response<Body>, Closed> {
    let Some(fault) = fault else {
        return Ok(answer);
    };
    Ok(match fault {
        Fault::Latency(_) | Fault::Reset(Reset::BeforeAct) => answer,
        Fault::Reset(Reset::AfterAct) => return Err(Closed),
        Fault::Truncate { body_bytes } => answer.map(|body| Body::http_body_unsync(Broken::new(body, body_bytes))),
        Fault::Cut { body_bytes } => {
            let (mut parts, whole) = answer.into_parts();
            let mut whole = body::read(whole, None).await.map_err(|_| Closed)?;
            whole.truncate(body_bytes);
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
            Response::from_parts(parts, whole.into())
        }
        Fault::Document(bytes) => document(200, bytes),
        Fault::Foreign(foreign) => foreign_answer(foreign),
        Fault::Partial => halve(answer).await?,
        Fault::Header(name, value) => {
            let mut answer = answer;
            let value = HeaderValue::from_maybe_shared(value).expect("a test gives a value");
            if value.is_empty() {
                answer.headers_mut().remove(name);
            } else {
                answer.headers_mut().insert(name, value);
            }
            answer
        }
        Fault::Element(name, text) => {
            let (mut parts, whole) = answer.into_parts();
            let whole = body::read(whole, None).await.map_err(|_| Closed)?;
            let whole = with_text(&String::from_utf8_lossy(&whole), name, text);
            let length = HeaderValue::from(whole.len());
            parts.headers.insert(CONTENT_LENGTH, length);
            Response::from_parts(parts, Bytes::from(whole).into())
        }
        Fault::Answer { refusal, retry_after_secs } => {
            let mut answer = refused(&refusal);
            if let Some(seconds) = retry_after_secs {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            answer
        }
        Fault::ErrorInOk(refusal) => document(200, refusal.document()),
    })
}

fn foreign_answer(foreign: Foreign) -> Response<Body> {
    let length = HeaderValue::from(foreign.body.len());
    let mut answer = Response::new(Body::from(foreign.body));
    *answer.status_mut() = StatusCode::from_u16(foreign.status).expect("a test gives a status that exists");
    for (name, value) in foreign.headers {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    // 204 is for answers that have none (RFC 9110, section 15.3.5).
    if foreign.status != 204 {
        answer.headers_mut().insert(CONTENT_LENGTH, length);
    }
    answer
}

/// The first half of an answer, as one to a range.
async fn halve(answer: Response<Body>) -> Result<Response<Body>, Closed> {
    let (mut parts, whole) = answer.into_parts();
    let mut whole = body::read(whole, None).await.map_err(|_| Closed)?;
    let (half, length) = (whole.len() / 2, whole.len());
    whole.truncate(half);
    parts.status = StatusCode::PARTIAL_CONTENT;
    let range = format!("bytes 0-{}/{length}", half.saturating_sub(1));
    let range = HeaderValue::try_from(range).expect("digits are a value");
    parts.headers.insert(CONTENT_RANGE, range);
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(half));
    Ok(Response::from_parts(parts, whole.into()))
}

/// A document with `text` in every element called `name`.
fn with_text(document: &str, name: &str, text: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut written = String::with_capacity(document.len());
    let mut rest = document;
    while let Some((before, from)) = rest.split_once(&open) {
        let Some((_, after)) = from.split_once(&close) else {
            break;
        };
        written.extend([before, &open, text, &close]);
        rest = after;
    }
    written.push_str(rest);
    written
}
