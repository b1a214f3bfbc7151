//! S3 requests of a check: the component's own client, over the egress of the instance that is checked.
//!
//! A check thus asks in the component's words, under the same policy and signature, and explains refusals as the
//! component would. Which requests it makes is `permissions`' business.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method as HttpMethod, Request as HttpRequest, Response as HttpResponse};
use http_body_util::{BodyExt as _, Full};
use s3_connector::ports::{
    self, Clock, Edit, Level, Log, Method, Random, Request, Response, State, StateError, Transport, TransportError,
    header_text,
};
use s3_connector::s3;
use s3_connector::time::Timestamp;
use tokio::time::Instant;
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::egress::{Egress, Moment, Since};
use crate::error::with_causes;
use crate::random;

/// The client of a check.
pub(super) type Client = s3::Client<Ports>;

/// What the component's client needs, from this host.
#[derive(Clone)]
pub(super) struct Ports {
    egress: Egress,
    started: Instant,
    /// Seconds by which our clock is ahead of the store's, once an answer told its time.
    ahead_seconds: Arc<OnceLock<i64>>,
}

impl Ports {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress, started: Instant::now(), ahead_seconds: Arc::default() }
    }

    /// Seconds by which our clock is ahead of the store's; `None` where no answer gave the time.
    pub(super) fn ahead_seconds(&self) -> Option<i64> {
        self.ahead_seconds.get().copied()
    }

    fn note_time(&self, answer: &HttpResponse<WasiBody>) {
        let date = answer.headers().get(http::header::DATE);
        let date = date.and_then(|date| Timestamp::parse_http_date(date.to_str().ok()?));
        if let Some(theirs) = date {
            let ours = self.now().seconds().cast_signed();
            // The first answer counts, all say the same.
            let _ = self.ahead_seconds.set(ours - theirs.seconds().cast_signed());
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    bytes: WasiBody,
    egress: Egress,
    /// When its request began.
    since: Moment,
}

/// What the egress knows of a failure since a moment, which is more than its code says.
fn lift(error: &WasiError, egress: &Egress, since: Moment) -> TransportError {
    let Since { denial, failure } = egress.since(since);
    match error {
        WasiError::HttpRequestDenied => {
            TransportError::Refused(denial.map_or_else(|| error.to_string(), |denial| with_causes(&*denial)))
        }
        _ => TransportError::Broken(failure.map_or_else(|| error.to_string(), |failure| with_causes(&*failure))),
    }
}

impl ports::Body for Body {
    async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        while let Some(frame) = self.bytes.frame().await {
            let frame = frame.map_err(|error| lift(&error, &self.egress, self.since))?;
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl Transport for Ports {
    type Body = Body;

    fn send(&self, request: Request) -> impl Future<Output = Result<Response<Body>, TransportError>> + 'static {
        let ports = self.clone();
        async move {
            let since = ports.egress.now();
            let sent = ports.egress.send(lower(request)?).await;
            let answer = sent.map_err(|error| lift(&error, &ports.egress, since))?;
            ports.note_time(&answer);
            Ok(raise(answer, ports.egress, since))
        }
    }
}

fn lower(request: Request) -> Result<HttpRequest<WasiBody>, TransportError> {
    let method = match request.method {
        Method::Get => HttpMethod::GET,
        Method::Head => HttpMethod::HEAD,
        Method::Put => HttpMethod::PUT,
        Method::Post => HttpMethod::POST,
        Method::Delete => HttpMethod::DELETE,
    };
    let scheme = if request.tls { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", request.authority, request.path_with_query);
    let mut lowered = HttpRequest::builder().method(method).uri(uri);
    for (name, value) in request.headers {
        lowered = lowered.header(name, value);
    }
    for (name, value) in request.extra_headers {
        lowered = lowered.header(name, value);
    }
    let body = Full::new(request.body.into_bytes()).map_err(|never| match never {}).boxed_unsync();
    lowered.body(body).map_err(|error| TransportError::Refused(error.to_string()))
}

fn raise(answer: HttpResponse<WasiBody>, egress: Egress, since: Moment) -> Response<Body> {
    let (parts, bytes) = answer.into_parts();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), header_text(value.as_bytes()))
    };
    Response {
        status: parts.status.as_u16(),
        headers: parts.headers.iter().map(header).collect(),
        body: Body { bytes, egress, since },
    }
}

impl Clock for Ports {
    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(SystemTime::now()).unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
}

impl Random for Ports {
    fn random(&self) -> u64 {
        random::number()
    }
}

/// A check keeps nothing.
impl State for Ports {
    fn load(&self, _: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(None)
    }

    fn commit(&self, _: Vec<Edit>) -> Result<(), StateError> {
        Err(StateError::Absent)
    }
}

impl Log for Ports {
    fn log(&self, level: Level, message: &str) {
        match level {
            Level::Debug => tracing::debug!("{message}"),
            Level::Info => tracing::info!("{message}"),
            Level::Warn => tracing::warn!("{message}"),
        }
    }
}
