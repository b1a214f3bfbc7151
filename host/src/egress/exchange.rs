//! Owns the exchange of one request for an answer: sign, send, observe, and retry where the clock, the keys or the
//! checksum were at fault. Leaves what may be asked to `policy`, the request to `request` and the answer's body to `body`.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::percent_decode_str;
use wasmtime_wasi_http::Error as WasiError;

use super::checksum::{self, Checksums};
use super::condition::{find_text, is_conditional};
use super::failure::Failure;
use super::hurry::Hurry;
use super::operation::S3Operation;
use super::outcome::{Begun, Outcomes};
use super::redaction::Secrets;
use super::redirect;
use super::request::{self, Outgoing};
use super::sign::{PayloadHash, Signer};
use super::silence::Silence;
use super::traffic::Counters;
use super::upstream::{Upstream, UpstreamBody};
use crate::credentials::{self, Credentials, Loaded};
use crate::error::with_causes;
use crate::flood::{Admission, Flood, LINES_MAX, one_line};
use crate::telemetry::Sent;

/// Time for an answer's headers: what the AWS CLI waits. S3 begins within a second; a store that needs a minute has
/// lost the request, and another attempt is worth more than another minute.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for a listing: one that skips delete markers can take two minutes to begin. Putting parts together can take
/// as long, where a store says nothing meanwhile.
pub const LISTING_TIMEOUT: Duration = Duration::from_secs(180);

/// What an upload makes at the least: the answer to a body begins only after it, so that a large one over a slow
/// line has more time, 64 MiB about four minutes.
const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 256 * 1024;

/// Errors of S3 are documents of a few hundred bytes, a few kilobytes where they repeat what was signed; what is longer
/// is none, and is dropped.
pub(super) const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// S3 refuses a signature whose time is off by 15 minutes; a difference of 5 is a clock that is wrong.
const SKEW_MIN: Duration = Duration::from_secs(5 * 60);

/// A body that gives no byte for this long is broken; another connection is tried long before (`hurry`).
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Gives the time of day for signatures.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What answers one instance's requests.
pub(super) struct Exchange {
    pub(super) signer: Signer,
    pub(super) credentials: Credentials,
    pub(super) upstream: Arc<dyn Upstream>,
    pub(super) clock: WallClock,
    pub(super) counters: Arc<Counters>,
    pub(super) silence: Silence,
    pub(super) hurry: Hurry,
    /// Milliseconds by which S3's clock is ahead of ours, once it has complained.
    skew_ms: AtomicI64,
    /// Whether keys have ended, or were not to be had, and others may follow.
    awaits_keys: AtomicBool,
    checksums: Checksums,
    /// Whether the store was seen to refuse bodies that are not signed.
    wants_hashes: AtomicBool,
    denials: Flood,
}

/// A request under way, and where its outcome is noted.
#[derive(Clone)]
pub(super) struct Underway {
    pub(super) exchange: Arc<Exchange>,
    pub(super) outcomes: Arc<Outcomes>,
    pub(super) begun: Begun,
}

impl Underway {
    /// Notes that the request was answered.
    pub(super) fn answered(&self, status: StatusCode) {
        self.outcomes.answered(self.begun, status.as_u16());
    }

    /// Notes that it was denied, or that it or its answer broke; gives what the component learns of it.
    pub(super) fn failed(&self, failure: Failure) -> WasiError {
        self.exchange.note(self.begun, &failure);
        let code = failure.code();
        self.outcomes.failed(self.begun, Arc::new(failure));
        code
    }
}

/// What was done about one request already: nothing is done twice.
#[derive(Debug, Default)]
struct Corrections {
    clock: bool,
    keys: bool,
    /// Whether the request goes with its hash after all.
    hash: bool,
    /// The code of what looks like the refusal of its checksum, once the request goes without.
    checksum: Option<Option<String>>,
}

impl Exchange {
    pub(super) fn new(signer: Signer, credentials: Credentials, upstream: Arc<dyn Upstream>, clock: WallClock) -> Self {
        Self {
            signer,
            credentials,
            upstream,
            clock,
            counters: Arc::default(),
            silence: Silence::default(),
            hurry: Hurry::default(),
            skew_ms: AtomicI64::new(0),
            awaits_keys: AtomicBool::new(false),
            checksums: Checksums::default(),
            wants_hashes: AtomicBool::new(false),
            denials: Flood::new(),
        }
    }

    /// Another one by the same means, which knows what this one has learnt of the store's clock.
    pub(super) fn another(&self) -> Self {
        let (upstream, clock) = (Arc::clone(&self.upstream), Arc::clone(&self.clock));
        let other = Self::new(self.signer.clone(), self.credentials.clone(), upstream, clock);
        other.skew_ms.store(self.skew_ms.load(Ordering::Relaxed), Ordering::Relaxed);
        other
    }

    /// Whether the last keys have ended, or there were none, where others may follow: rotation takes seconds.
    pub(super) fn awaits_keys(&self) -> bool {
        self.awaits_keys.load(Ordering::Relaxed)
    }

    /// Counts and logs why a request failed.
    fn note(&self, begun: Begun, failure: &Failure) {
        let reason = one_line(&with_causes(failure)).into_owned();
        if matches!(failure, Failure::Credentials(_)) && self.credentials.is_refreshable() {
            self.awaits_keys.store(true, Ordering::Relaxed);
        }
        let request = begun.number();
        if matches!(failure, Failure::Credentials(_)) {
            // The error of the call that fails says why, and what to do.
            self.counters.denied();
            tracing::debug!(request, %reason, "request denied");
        } else if failure.is_denial() {
            self.counters.denied();
            if let Admission::Logged { dropped } = self.denials.admit() {
                log_dropped(dropped);
                tracing::warn!(request, %reason, "request denied");
            }
        } else {
            tracing::debug!(request, %reason, "request failed");
        }
    }

    /// Gets the answer to a request, and retries only where the clock, the keys or the checksum were at fault.
    pub(super) async fn exchange(&self, outgoing: &Outgoing) -> Result<Response<UpstreamBody>, Failure> {
        let mut loaded = self.keys().await?;
        let mut corrected = Corrections::default();
        let mut outgoing = Cow::Borrowed(outgoing);
        let (mut attempt, mut redirects) = (0, 0);
        loop {
            attempt += 1;
            let checksum =
                outgoing.checksum.as_ref().filter(|_| corrected.checksum.is_none() && self.checksums.are_taken());
            let is_verified = checksum.is_some() && self.checksums.are_verified(outgoing.operation);
            let is_hashed = !is_verified || corrected.hash || self.wants_hashes.load(Ordering::Relaxed);
            let is_unhashed = loaded.is_some() && !is_hashed && outgoing.may_go_unhashed();
            let hash = if is_unhashed { PayloadHash::unsigned() } else { outgoing.hash().await? };
            let response = self.attempt(&outgoing, &hash, checksum, loaded.as_ref(), attempt).await?;
            let region = self.signer.region();
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
                if let Some(code) = corrected.checksum.as_ref().filter(|_| is_judged(response.status())) {
                    self.checksums.refuse(code.as_deref());
                }
                if corrected.hash && is_judged(response.status()) {
                    self.want_hashes();
                }
                if let Some(checksum) = checksum.filter(|_| response.status().is_success()) {
                    let is_verified = self.checksums.answered(outgoing.operation, checksum, response.headers());
                    if is_unhashed && !is_verified && !is_conditional(&outgoing.headers) {
                        // Nobody looked at these bytes: once more, with their hash. It changes nothing but that.
                        corrected.hash = true;
                        continue;
                    }
                }
                self.awaits_keys.store(false, Ordering::Relaxed);
                return Ok(response);
            }
            let (response, code) = read_refusal(response).await?;
            if loaded.is_some() && !corrected.clock && self.correct_clock(&response, code.as_deref()) {
                corrected.clock = true;
                continue;
            }
            if is_unhashed && checksum::may_want_hash(code.as_deref()) {
                corrected.hash = true;
                continue;
            }
            if checksum.is_some() && checksum::may_refuse(response.status(), code.as_deref()) {
                corrected.checksum = Some(code);
                continue;
            }
            if let Some(refused) = &loaded
                && !corrected.keys
                && self.may_refresh(&outgoing, &response, code.as_deref())
            {
                corrected.keys = true;
                if let Some(other) = self.refresh(refused).await {
                    loaded = Some(other);
                    continue;
                }
                self.awaits_keys.store(true, Ordering::Relaxed);
            }
            return Ok(response);
        }
    }

    /// The keys to sign with; none where requests go unsigned.
    async fn keys(&self) -> Result<Option<Loaded>, credentials::Error> {
        if self.credentials.is_anonymous() {
            return Ok(None);
        }
        self.credentials.load().await.map(Some)
    }

    /// Signs, unless there are no keys, and sends once.
    async fn attempt(
        &self,
        outgoing: &Outgoing,
        hash: &PayloadHash,
        checksum: Option<&(HeaderName, HeaderValue)>,
        loaded: Option<&Loaded>,
        attempt: u32,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let operation = outgoing.operation;
        let mut headers = outgoing.headers.clone();
        if let Some((name, value)) = checksum {
            headers.insert(name.clone(), value.clone());
        }
        let keys = loaded.map(|loaded| &loaded.keys);
        self.signer.sign(&outgoing.method, &outgoing.uri, &mut headers, hash, keys, self.now())?;
        let authorization = headers.get(header::AUTHORIZATION).cloned();
        let mut request = Request::new(Full::new(outgoing.body.clone()));
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = outgoing.uri.clone();
        *request.headers_mut() = headers;

        self.counters.sent(operation, outgoing.body.len());
        let started = tokio::time::Instant::now();
        let upload_s = outgoing.body.len() as u64 / UPLOAD_BYTES_PER_SECOND_MIN;
        let is_slow = operation.lists() || operation == S3Operation::CompleteMultipartUpload;
        let base = if is_slow { LISTING_TIMEOUT } else { ANSWER_TIMEOUT };
        let limit = base + Duration::from_secs(upload_s);
        let sent = tokio::time::timeout(limit, self.upstream.send(request)).await;
        let mut outcome = match sent {
            Ok(outcome) => outcome.map_err(Failure::from),
            Err(_) => Err(Failure::NoAnswer { seconds: limit.as_secs() }),
        };
        let status = outcome.as_ref().map_or(0, |response| response.status().as_u16());
        self.silence.note(status);
        self.counters.answered(operation, status, started.elapsed());
        self.trace(outgoing, attempt, started.elapsed(), &outcome);
        tracing::debug!(
            operation = operation.name(),
            // The key in escapes, after the bucket where that is no part of the host's name.
            path = outgoing.uri.path(),
            status,
            bytes_out = outgoing.body.len(),
            elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            attempt,
            request_id = outcome.as_ref().ok().and_then(|response| request_id(response.headers())),
            "answered"
        );
        if let Ok(response) = &mut outcome
            && may_repeat(outgoing, response.status())
        {
            let secrets = Secrets::of(keys, authorization.as_ref());
            response.extensions_mut().insert(secrets);
        }
        outcome
    }

    /// Makes a span of an attempt, if requests are traced. What signs it is no part of that.
    fn trace(
        &self,
        outgoing: &Outgoing,
        attempt: u32,
        took: Duration,
        outcome: &Result<Response<UpstreamBody>, Failure>,
    ) {
        let Some((trace, place)) = self.counters.traced() else { return };
        let key = place.and_then(|place| outgoing.uri.path().strip_prefix(place.root.as_str()));
        let key = key.map(|key| percent_decode_str(key.strip_prefix('/').unwrap_or(key)).decode_utf8_lossy());
        let answer = outcome.as_ref().ok();
        let length = |response: &Response<UpstreamBody>| {
            response.headers().get(header::CONTENT_LENGTH).and_then(request::parse_length)
        };
        trace.sent(&Sent {
            operation: outgoing.operation.name(),
            method: outgoing.method.as_str(),
            host: outgoing.uri.host().unwrap_or_default(),
            bucket: place.map_or("", |place| &place.bucket),
            key: key.unwrap_or_default(),
            status: answer.map(|response| response.status().as_u16()),
            request_id: answer.and_then(|response| request_id(response.headers())),
            attempt,
            bytes_out: outgoing.body.len() as u64,
            bytes_in: answer.and_then(length),
            took,
            failure: outcome.as_ref().err().map(|failure| with_causes(failure)),
        });
    }

    /// Remembers that this store takes no body without its hash in the signature.
    fn want_hashes(&self) {
        if !self.wants_hashes.swap(true, Ordering::Relaxed) {
            tracing::info!(
                "the store takes uploads only with their hash in the signature: they are hashed from now on"
            );
        }
    }

    /// Our clock, set right by what S3 said of it.
    fn now(&self) -> SystemTime {
        let now = (self.clock)();
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
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
        let (ours_ms, theirs_ms) = (unix_ms((self.clock)()), unix_ms(theirs));
        let skew_ms = theirs_ms.saturating_sub(ours_ms);
        let before_ms = self.skew_ms.swap(skew_ms, Ordering::Relaxed);
        // Of many requests at once each finds it wrong: that is said once, and again only if it jumps.
        if skew_ms.abs_diff(before_ms) >= SKEW_MIN.as_millis() as u64 {
            tracing::warn!(skew_s = skew_ms / 1000, "the clock of this machine is wrong; S3's is used");
        }
        true
    }

    /// Whether other keys could change the answer.
    fn may_refresh(&self, outgoing: &Outgoing, response: &Response<UpstreamBody>, code: Option<&str>) -> bool {
        if !self.credentials.is_refreshable() {
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
        match self.credentials.refresh(refused).await {
            Ok(other) => other,
            Err(error) => {
                // S3's own answer says more to the guest than this does.
                tracing::warn!(reason = %with_causes(&error), "refused credentials can't be replaced");
                None
            }
        }
    }
}

/// Logs how many denials were not logged.
fn log_dropped(dropped: u64) {
    if dropped > 0 {
        tracing::warn!("{dropped} denied requests are not logged: {LINES_MAX} per second are");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        log_dropped(self.denials.left());
    }
}

/// What S3's support asks for.
fn request_id(headers: &http::HeaderMap) -> Option<&str> {
    headers.get("x-amz-request-id")?.to_str().ok()
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

/// The next bytes of a body; none at its end.
pub(super) async fn next_data(body: &mut UpstreamBody, stall: Duration) -> Result<Option<Bytes>, Failure> {
    loop {
        let frame = tokio::time::timeout(stall, body.frame())
            .await
            .map_err(|_| Failure::Stalled { seconds: stall.as_secs() })?;
        match frame {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(data) = frame?.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Reads the document of a refusal, and finds its code. Gives the answer back as it was.
async fn read_refusal(response: Response<UpstreamBody>) -> Result<(Response<UpstreamBody>, Option<String>), Failure> {
    let (parts, mut body) = response.into_parts();
    let mut read = BytesMut::new();
    while let Some(data) = next_data(&mut body, STALL_TIMEOUT).await? {
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
