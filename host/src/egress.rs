//! Owns the only way out of the sandbox: policy, collect, sign, send, observe, and the answer on its way back.
//! Leaves retries to the guest, which knows S3's meanings; only what needs the host's knowledge is asked again
//! here: a clock that is wrong, keys that have ended, a body that broke half way.

mod body;
mod budget;
mod checksum;
mod condition;
mod denial;
mod failure;
mod hyper_upstream;
mod operation;
pub mod policy;
mod proxy;
mod reasons;
mod redaction;
mod redirect;
mod resolver;
mod route;
pub mod sign;
mod silence;
mod traffic;
mod trust;
pub mod upstream;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use tracing::Instrument as _;
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::credentials::{Credentials, Loaded};
use crate::error::with_causes;
use crate::flood::{Admission, Flood, LINES_MAX, one_line};

pub use self::budget::{HELD_BYTES_MAX, IN_FLIGHT_MAX, ROOM_TIMEOUT};
pub use self::denial::Denial;
pub use self::hyper_upstream::{HyperUpstream, SetupError};
pub use self::operation::S3Operation;
pub use self::policy::{Policy, PolicyInput};
pub use self::proxy::ProxyError;
pub(crate) use self::reasons::Reasons;
pub use self::sign::Signer;
pub use self::traffic::{OperationCounts, Traffic};
pub use self::trust::{Distrust, TrustError};
pub use self::upstream::Upstream;

use self::body::Reader;
use self::budget::{Budget, Room};
use self::checksum::Checksums;
use self::condition::{find_text, is_conditional, refuses_condition};
use self::failure::Failure;
use self::reasons::LastReasons;
use self::redaction::Secrets;
use self::sign::PayloadHash;
use self::silence::Silence;
use self::traffic::Counters;
use self::upstream::UpstreamBody;

/// A request's body is held whole, since its hash stands before it. Four times the largest part that a
/// destination makes (64 MiB), and what two of them may take of a small machine.
pub const BODY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Answers up to this size are read at once, so that their connection is free for the next request: 1 MiB is
/// 20 ms of a connection's 50 MiB/s, less than the time to a first byte.
pub const DRAIN_BYTES_MAX: u64 = 1024 * 1024;

/// Time for an answer's headers: what the AWS CLI waits. S3 begins within a second; a store that needs a minute has
/// lost the request, and another attempt is worth more than another minute.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for a listing: one that skips delete markers can take two minutes to begin.
pub const LISTING_TIMEOUT: Duration = Duration::from_secs(180);

/// What an upload makes at the least: the answer to a body begins only after it, so that a large one over a slow
/// line has more time, 64 MiB about four minutes.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 256 * 1024;

/// A body that gives no byte for this long is broken.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Errors of S3 are documents of a few hundred bytes, a few kilobytes where they repeat what was signed; what is longer
/// is none, and is dropped.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an answer's headers, names and values: S3's own and 2 KB of user metadata take 4 KiB. The component may hold
/// as many answers as handles.
const ANSWER_HEADER_BYTES_MAX: usize = 32 * 1024;

/// S3 refuses a signature whose time is off by 15 minutes; a difference of 5 is a clock that is wrong.
const SKEW_MIN: Duration = Duration::from_secs(5 * 60);

/// Bodies above this are hashed on a thread that may block: 1 MiB takes 0.7 ms.
const HASH_INLINE_BYTES_MAX: usize = 1024 * 1024;

/// Headers of an answer that belong to the connection it came on (RFC 9110, section 7.6.1).
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Tells the time of day for signatures.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The way out of one instance. Clones are the same way.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

struct Inner {
    policy: Policy,
    signer: Signer,
    credentials: Credentials,
    upstream: Arc<dyn Upstream>,
    clock: WallClock,
    /// Milliseconds by which S3's clock is ahead of ours, once it has complained.
    skew_ms: AtomicI64,
    /// Whether keys have ended, or were not to be had, and others may follow.
    awaits_keys: AtomicBool,
    checksums: Checksums,
    silence: Silence,
    /// Whether this store was seen to refuse `If-None-Match` on a write.
    refuses_conditions: AtomicBool,
    counters: Counters,
    budget: Budget,
    refusals: Flood,
    last_reasons: LastReasons,
}

/// A request that may leave, collected.
#[derive(Debug, Clone)]
struct Outgoing {
    operation: S3Operation,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    hash: PayloadHash,
    /// Of a write's body.
    checksum: Option<HeaderValue>,
}

/// What was done about one request already: nothing is done twice.
#[derive(Debug, Default)]
struct Corrections {
    clock: bool,
    keys: bool,
    /// The code of what looks like the refusal of its checksum, once the request goes without.
    checksum: Option<Option<String>>,
}

impl Egress {
    /// A way out for one instance.
    #[must_use]
    pub fn new(policy: Policy, signer: Signer, credentials: Credentials, upstream: Arc<dyn Upstream>) -> Self {
        Self::with_clock(policy, signer, credentials, upstream, Arc::new(SystemTime::now))
    }

    /// A way out that signs by another clock than the system's.
    #[must_use]
    pub fn with_clock(
        policy: Policy,
        signer: Signer,
        credentials: Credentials,
        upstream: Arc<dyn Upstream>,
        clock: WallClock,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                policy,
                signer,
                credentials,
                upstream,
                clock,
                skew_ms: AtomicI64::new(0),
                awaits_keys: AtomicBool::new(false),
                checksums: Checksums::default(),
                silence: Silence::default(),
                refuses_conditions: AtomicBool::new(false),
                counters: Counters::default(),
                budget: Budget::new(),
                refusals: Flood::new(),
                last_reasons: LastReasons::default(),
            }),
        }
    }

    /// Another way out, by the same means, that lets the host remove one object of its own and nothing else.
    #[must_use]
    pub(crate) fn for_cleanup(&self, key: &str) -> Self {
        let inner = &self.inner;
        let other = Self::with_clock(
            inner.policy.removal_of(key),
            inner.signer.clone(),
            inner.credentials.clone(),
            Arc::clone(&inner.upstream),
            Arc::clone(&inner.clock),
        );
        let skew_ms = inner.skew_ms.load(Ordering::Relaxed);
        other.inner.skew_ms.store(skew_ms, Ordering::Relaxed);
        other
    }

    /// Sends a request of the guest, if it is permitted, and gives the answer: a short one whole, a long one
    /// as a stream that mends itself.
    ///
    /// # Errors
    ///
    /// `HttpRequestDenied` for what the policy or the lack of credentials keeps in (see
    /// [`last_denial`](Self::last_denial)); otherwise the code that says what became of the connection.
    pub async fn send(&self, request: Request<WasiBody>) -> Result<Response<WasiBody>, WasiError> {
        let (parts, body) = request.into_parts();
        let permit = self.inner.policy.check(&parts.method, &parts.uri, &parts.headers);
        let outcome = match permit {
            Err(denial) => Err(denial.into()),
            Ok(permit) => {
                let span = tracing::debug_span!("s3", operation = permit.operation.name());
                self.send_permitted(permit, parts, body).instrument(span).await
            }
        };
        outcome.map_err(|failure| {
            self.note(&failure);
            failure.into()
        })
    }

    /// What went over the wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.inner.counters.traffic()
    }

    /// Why the last request that this host kept in was kept in, in words for the user.
    #[must_use]
    pub fn last_denial(&self) -> Option<String> {
        self.inner.last_reasons.get().denial
    }

    /// What the last failure of the connection was, in words for the user: more than an error code holds.
    #[must_use]
    pub fn last_failure(&self) -> Option<String> {
        self.inner.last_reasons.get().failure
    }

    /// Takes away why requests failed: it is no reason of what comes after.
    pub(crate) fn take_reasons(&self) -> Reasons {
        self.inner.last_reasons.take()
    }

    /// Whether the last keys have ended, or there were none, where others may follow: rotation takes seconds.
    pub(crate) fn awaits_keys(&self) -> bool {
        self.inner.awaits_keys.load(Ordering::Relaxed)
    }

    async fn send_permitted(
        &self,
        permit: policy::Permit,
        parts: http::request::Parts,
        body: WasiBody,
    ) -> Result<Response<WasiBody>, Failure> {
        let is_refused = self.inner.refuses_conditions.load(Ordering::Relaxed);
        if permit.operation == S3Operation::PutObject && !is_refused && !is_conditional(&parts.headers) {
            let operation = permit.operation;
            return Err(Denial::Condition { operation: operation.name() }.into());
        }
        let slot = self.inner.budget.request().await?;
        let outgoing = Outgoing::collect(permit, parts, body, &self.inner.budget).await?;
        let response = self.exchange(&outgoing).await?;
        self.deliver(outgoing, response, slot).await
    }

    /// Keeps and logs why a request failed.
    fn note(&self, failure: &Failure) {
        let reason = one_line(&with_causes(failure)).into_owned();
        if matches!(failure, Failure::Credentials(_)) && self.inner.credentials.is_refreshable() {
            self.inner.awaits_keys.store(true, Ordering::Relaxed);
        }
        let is_denial = failure.is_denial();
        if is_denial {
            self.inner.counters.denied();
            if let Admission::Logged { dropped } = self.inner.refusals.admit() {
                tell_of(dropped);
                tracing::warn!(%reason, "a request was not let out");
            }
        } else {
            tracing::debug!(%reason, "a request failed");
        }
        self.inner.last_reasons.note(reason, is_denial);
    }

    /// Gets the answer to a request, asking again only where the clock, the keys or the checksum were at fault.
    async fn exchange(&self, outgoing: &Outgoing) -> Result<Response<UpstreamBody>, Failure> {
        let mut loaded = self.inner.credentials.load().await?;
        let mut corrected = Corrections::default();
        let mut outgoing = Cow::Borrowed(outgoing);
        let (mut attempt, mut redirects) = (0, 0);
        loop {
            attempt += 1;
            let checksum =
                outgoing.checksum.as_ref().filter(|_| corrected.checksum.is_none() && self.inner.checksums.are_taken());
            let response = self.attempt(&outgoing, checksum, &loaded, attempt).await?;
            let region = self.inner.signer.region();
            let (status, headers) = (response.status(), response.headers());
            if redirects < redirect::REDIRECTS_MAX
                && let Some(uri) = redirect::target(&outgoing.uri, status, headers, region)
            {
                redirects += 1;
                tracing::debug!(host = uri.host(), "sent on within the store");
                outgoing.to_mut().uri = uri;
                continue;
            }
            if !is_correctable(response.status()) {
                if let Some(code) = corrected.checksum.filter(|_| is_judged(response.status())) {
                    self.inner.checksums.refuse(code.as_deref());
                }
                self.inner.awaits_keys.store(false, Ordering::Relaxed);
                return Ok(response);
            }
            let (response, code) = read_refusal(response).await?;
            if !corrected.clock && self.correct_clock(&response, code.as_deref()) {
                corrected.clock = true;
                continue;
            }
            if checksum.is_some() && checksum::may_refuse(response.status(), code.as_deref()) {
                corrected.checksum = Some(code);
                continue;
            }
            if !corrected.keys && self.may_refresh(&outgoing, &response, code.as_deref()) {
                corrected.keys = true;
                if let Some(other) = self.refresh(&loaded).await {
                    loaded = other;
                    continue;
                }
                self.inner.awaits_keys.store(true, Ordering::Relaxed);
            }
            return Ok(response);
        }
    }

    /// Signs and sends once.
    async fn attempt(
        &self,
        outgoing: &Outgoing,
        checksum: Option<&HeaderValue>,
        loaded: &Loaded,
        attempt: u32,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let operation = outgoing.operation;
        let mut headers = outgoing.headers.clone();
        if let Some(checksum) = checksum {
            headers.insert(checksum::X_AMZ_CHECKSUM_CRC32C, checksum.clone());
        }
        self.inner.signer.sign(
            &outgoing.method,
            &outgoing.uri,
            &mut headers,
            &outgoing.hash,
            &loaded.keys,
            self.now(),
        )?;
        let authorization = headers.get(header::AUTHORIZATION).cloned();
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = outgoing.uri.clone();
        *request.headers_mut() = headers;

        self.inner.counters.sent(operation, outgoing.body.len());
        let started = tokio::time::Instant::now();
        let upload_s = outgoing.body.len() as u64 / UPLOAD_BYTES_PER_SECOND_MIN;
        let base = if operation.lists() { LISTING_TIMEOUT } else { ANSWER_TIMEOUT };
        let limit = base + Duration::from_secs(upload_s);
        let sent = tokio::time::timeout(limit, self.inner.upstream.send(request)).await;
        let mut outcome = match sent {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(_) => Err(Failure::NoAnswer { seconds: limit.as_secs() }),
        };
        let status = outcome.as_ref().map_or(0, |response| response.status().as_u16());
        self.inner.silence.note(status);
        if status == 0 || status >= 400 {
            self.inner.counters.failed(operation);
        }
        tracing::debug!(
            operation = operation.name(),
            status,
            bytes_out = outgoing.body.len(),
            elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            attempt,
            "answered"
        );
        if let Ok(response) = &mut outcome
            && may_repeat(outgoing, response.status())
        {
            let secrets = Secrets::of(&loaded.keys, authorization.as_ref());
            response.extensions_mut().insert(secrets);
        }
        outcome
    }

    /// Our clock, set right by what S3 said of it.
    fn now(&self) -> SystemTime {
        let now = (self.inner.clock)();
        let skew_ms = self.inner.skew_ms.load(Ordering::Relaxed);
        let skew = Duration::from_millis(skew_ms.unsigned_abs());
        let corrected = if skew_ms < 0 { now.checked_sub(skew) } else { now.checked_add(skew) };
        corrected.unwrap_or(now)
    }

    /// Learns S3's time from a refusal that a wrong clock explains. The refusal of a HEAD has no code, and other
    /// stores have other codes, so a time that is far off is enough: it is worth one more request.
    fn correct_clock(&self, response: &Response<UpstreamBody>, code: Option<&str>) -> bool {
        let is_skewed = code == Some("RequestTimeTooSkewed");
        if !is_skewed && response.status() != StatusCode::FORBIDDEN {
            return false;
        }
        let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let Some(theirs) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return false;
        };
        let difference = |a: SystemTime, b: SystemTime| a.duration_since(b).unwrap_or_else(|error| error.duration());
        if !is_skewed && difference(theirs, self.now()) < SKEW_MIN {
            return false;
        }
        let (ours_ms, theirs_ms) = (unix_ms((self.inner.clock)()), unix_ms(theirs));
        let skew_ms = theirs_ms.saturating_sub(ours_ms);
        let before_ms = self.inner.skew_ms.swap(skew_ms, Ordering::Relaxed);
        // Of many requests at once each finds it wrong: that is said once, and again only if it jumps.
        if skew_ms.abs_diff(before_ms) >= SKEW_MIN.as_millis() as u64 {
            tracing::warn!(skew_s = skew_ms / 1000, "the clock of this machine is wrong; S3's is used");
        }
        true
    }

    /// Whether other keys could change the answer.
    fn may_refresh(&self, outgoing: &Outgoing, response: &Response<UpstreamBody>, code: Option<&str>) -> bool {
        if !self.inner.credentials.is_refreshable() {
            return false;
        }
        match code {
            Some(code) => matches!(
                code,
                "ExpiredToken"
                    | "ExpiredTokenException"
                    | "InvalidAccessKeyId"
                    | "TokenRefreshRequired"
                    | "InvalidToken"
                    | "InvalidTokenId"
            ),
            // An ended token on a HEAD is a bare 400; so is a wrong region, which says which is right.
            None => {
                outgoing.method == Method::HEAD
                    && response.status() == StatusCode::BAD_REQUEST
                    && !response.headers().contains_key("x-amz-bucket-region")
            }
        }
    }

    async fn refresh(&self, refused: &Loaded) -> Option<Loaded> {
        match self.inner.credentials.refresh(refused).await {
            Ok(other) => other,
            Err(error) => {
                // S3's own answer says more to the guest than this does.
                tracing::warn!(reason = %with_causes(&error), "refused credentials can't be replaced");
                None
            }
        }
    }

    /// Turns S3's answer into the guest's.
    async fn deliver(
        &self,
        outgoing: Outgoing,
        response: Response<UpstreamBody>,
        slot: Room,
    ) -> Result<Response<WasiBody>, Failure> {
        let (mut parts, body) = response.into_parts();
        check_headers(&parts.headers)?;
        for name in &CONNECTION_HEADERS {
            parts.headers.remove(name);
        }
        let is_bodiless = outgoing.method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let secrets = parts.extensions.remove::<Secrets>();
        if let Some(secrets) = &secrets {
            secrets.blank_headers(&mut parts.headers);
        }
        if is_bodiless {
            return Ok(Response::from_parts(parts, whole(Bytes::new())));
        }
        let tries_condition = outgoing.operation == S3Operation::PutObject && is_conditional(&outgoing.headers);
        let reader = Reader::new(self.clone(), outgoing, &parts, body, slot);
        let body = match secrets {
            None => reader.into_body(&mut parts.headers).await?,
            Some(secrets) => {
                let mut document = reader.into_document(REFUSAL_BYTES_MAX).await?;
                // What is compressed, or no text of one byte per letter, can't be searched, and says nothing to the
                // component either.
                if parts.headers.contains_key(header::CONTENT_ENCODING) || document.contains(&0) {
                    document.clear();
                }
                if tries_condition && refuses_condition(parts.status, &document) {
                    self.inner.refuses_conditions.store(true, Ordering::Relaxed);
                }
                secrets.blank(&mut document);
                parts.headers.insert(header::CONTENT_LENGTH, document.len().into());
                whole(document.freeze())
            }
        };
        Ok(Response::from_parts(parts, body))
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress")
            .field("policy", &self.inner.policy)
            .field("credentials", &self.inner.credentials)
            .finish_non_exhaustive()
    }
}

impl Outgoing {
    /// Takes the guest's body in, within bounds, and hashes it.
    async fn collect(
        permit: policy::Permit,
        parts: http::request::Parts,
        body: WasiBody,
        budget: &Budget,
    ) -> Result<Self, Failure> {
        let mut headers = parts.headers;
        let announced = headers.remove(header::CONTENT_LENGTH).and_then(|length| parse(&length));
        // A server or proxy that passes over such a body takes it for the next request, which nobody signed
        // (<https://www.rfc-editor.org/rfc/rfc9110#section-9.3.1>).
        let reads = matches!(parts.method, Method::GET | Method::HEAD);
        let denial = || Denial::Body { operation: permit.operation.name() };
        if reads && announced.is_some_and(|announced| announced > 0) {
            return Err(denial().into());
        }
        let bytes_max = if reads { 0 } else { BODY_BYTES_MAX };
        let body = match collect(body, announced, bytes_max, budget).await {
            Err(Failure::RequestTooLarge { bytes_max: 0 }) => return Err(denial().into()),
            collected => collected?,
        };
        // S3 wants a length on every PUT and POST, be it 0 (411 MissingContentLength).
        if !body.is_empty() || matches!(parts.method, Method::PUT | Method::POST) {
            headers.insert(header::CONTENT_LENGTH, body.len().into());
        }
        let operation = permit.operation;
        let digest = move |headers: &HeaderMap, body: &[u8]| {
            let checksum = checksum::of(operation, headers, body);
            (PayloadHash::of(body), checksum)
        };
        let (hash, checksum) = if body.len() <= HASH_INLINE_BYTES_MAX {
            digest(&headers, &body)
        } else {
            let (headers, body) = (headers.clone(), body.clone());
            let hashed = tokio::task::spawn_blocking(move || digest(&headers, &body)).await;
            hashed.map_err(|_| Failure::Internal)?
        };
        Ok(Self { operation, method: parts.method, uri: permit.uri, headers, body, hash, checksum })
    }
}

/// Collects a body. Room for one that announces its length is made before any of it is taken; one that does not must find
/// room as it comes, since two of those that wait for it would wait for each other.
async fn collect(
    mut body: WasiBody,
    announced: Option<u64>,
    bytes_max: u64,
    budget: &Budget,
) -> Result<Bytes, Failure> {
    let too_large = Failure::RequestTooLarge { bytes_max };
    if announced.is_some_and(|announced| announced > bytes_max) {
        return Err(too_large);
    }
    let mut room = budget.bytes(announced.unwrap_or_default()).await?;
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failure::Guest)?.into_data() else {
            continue;
        };
        let bytes = first.len() + all.len() + data.len();
        if bytes as u64 > bytes_max {
            return Err(too_large);
        }
        match announced {
            Some(announced) if bytes as u64 > announced => {
                return Err(Failure::RequestLength { bytes: bytes as u64 });
            }
            Some(_) => {}
            None => room.merge(budget.try_bytes(data.len() as u64)?),
        }
        // A body in one piece is not copied; of others the first piece moves once the second is there.
        if all.is_empty() && first.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            let capacity = announced.and_then(|announced| usize::try_from(announced).ok());
            all.reserve(capacity.unwrap_or_default().max(bytes));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    let body = if all.is_empty() { first } else { all.freeze() };
    if announced.is_some_and(|announced| announced != body.len() as u64) {
        return Err(Failure::RequestLength { bytes: body.len() as u64 });
    }
    Ok(room.hold(body))
}

/// Whether the headers of an answer are such that many may be held.
fn check_headers(headers: &HeaderMap) -> Result<(), Failure> {
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if bytes > ANSWER_HEADER_BYTES_MAX {
        return Err(Failure::AnswerHeaders { bytes, bytes_max: ANSWER_HEADER_BYTES_MAX });
    }
    Ok(())
}

/// Tells of refusals that nobody was told of.
fn tell_of(dropped: u64) {
    if dropped > 0 {
        tracing::warn!("{dropped} requests that were not let out are not logged: {LINES_MAX} per second are");
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        tell_of(self.refusals.left());
    }
}

/// Whether an answer may repeat what signed the request: anything but what was asked for, which is data and is left
/// as it is.
fn may_repeat(outgoing: &Outgoing, status: StatusCode) -> bool {
    !status.is_success() || !matches!(outgoing.method, Method::GET | Method::HEAD)
}

/// Whether the refusal may be one that the host can do something about.
fn is_correctable(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED)
}

/// Whether the store looked at the request as a whole: what it stored, or what a condition kept from being stored.
fn is_judged(status: StatusCode) -> bool {
    status.is_success() || matches!(status, StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT)
}

/// Reads the document of a refusal, and finds its code. Gives the answer back as it was.
async fn read_refusal(response: Response<UpstreamBody>) -> Result<(Response<UpstreamBody>, Option<String>), Failure> {
    let (parts, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    while let Some(data) = body::next_data(&mut body).await? {
        read.extend_from_slice(&data);
        if read.len() > REFUSAL_BYTES_MAX {
            // No document of S3's: nothing that could be corrected, nor worth holding.
            return Err(Failure::Excess);
        }
    }
    let code = find_text(&read, "Code");
    let body = Full::new(read.freeze()).map_err(|never| match never {}).boxed_unsync();
    Ok((Response::from_parts(parts, body), code))
}

fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A length in decimal digits.
fn parse(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A body that is all there.
fn whole(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod budget_tests;
#[cfg(test)]
mod condition_tests;
#[cfg(test)]
mod echo_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod redirect_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_tests;
