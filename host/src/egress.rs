//! Owns the only way out of the sandbox: the policy's verdict, one exchange with the store, and the answer on its way
//! back. Leaves retries to the guest, which knows S3's meanings; only what needs what the host alone has is retried here: a
//! clock that is wrong, keys that have ended, a body that broke half way, a write whose bytes the guest never had.

mod body;
mod budget;
mod checksum;
mod condition;
mod denial;
mod exchange;
mod failure;
mod hurry;
mod hyper_upstream;
mod operation;
mod outcome;
pub mod policy;
mod proxy;
mod redaction;
mod redirect;
mod repeat;
mod request;
mod resolver;
mod route;
pub mod sign;
mod silence;
mod traffic;
mod trust;
pub mod upstream;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use tracing::Instrument as _;
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::credentials::Credentials;

pub use self::body::DRAIN_BYTES_MAX;
pub use self::budget::{HELD_BYTES_MAX, IN_FLIGHT_MAX, ROOM_TIMEOUT};
pub use self::denial::Denial;
pub use self::exchange::{ANSWER_TIMEOUT, LISTING_TIMEOUT, STALL_TIMEOUT, WallClock};
pub use self::hurry::LATE_AFTER;
pub use self::hyper_upstream::{HyperUpstream, SetupError};
pub use self::operation::S3Operation;
pub(crate) use self::outcome::{Moment, Since};
pub use self::policy::{Policy, PolicyInput};
pub use self::proxy::ProxyError;
pub use self::request::BODY_BYTES_MAX;
pub use self::sign::Signer;
pub(crate) use self::traffic::{Counters, Place};
pub use self::traffic::{LATENCY_BOUNDS_MS, OperationCounts, Traffic};
pub(crate) use self::trust::client_tls;
pub use self::trust::{Distrust, TrustError};
pub use self::upstream::Upstream;

use self::body::{Reader, whole};
use self::budget::{Budget, Room};
use self::condition::{RefusedConditions, is_conditional, refuses_condition};
use self::exchange::{Exchange, REFUSAL_BYTES_MAX, Underway};
use self::failure::Failure;
use self::outcome::Outcomes;
use self::redaction::Secrets;
use self::repeat::Repeats;
use self::request::Outgoing;
use self::upstream::UpstreamBody;

/// Bytes of an answer's headers, names and values: S3's own and 2 KB of user metadata take 4 KiB. The component may hold
/// as many answers as handles.
const ANSWER_HEADER_BYTES_MAX: usize = 32 * 1024;

/// Headers of an answer that belong to the connection it came on (RFC 9110, section 7.6.1).
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The way out of one instance. Clones are the same way.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
    outcomes: Arc<Outcomes>,
}

struct Inner {
    policy: Policy,
    budget: Budget,
    exchange: Arc<Exchange>,
    refused_conditions: RefusedConditions,
    repeats: Repeats,
}

impl Egress {
    /// A way out for one instance.
    #[must_use]
    pub fn new(policy: Policy, signer: Signer, credentials: Credentials, upstream: Arc<dyn Upstream>) -> Self {
        Self::with_clock(policy, signer, credentials, upstream, Arc::new(SystemTime::now))
    }

    /// A way out for one instance, whose requests are counted together with those of others.
    pub(crate) fn counted(
        policy: Policy,
        signer: Signer,
        credentials: Credentials,
        upstream: Arc<dyn Upstream>,
        counters: &Arc<Counters>,
    ) -> Self {
        let mut exchange = Exchange::new(signer, credentials, upstream, Arc::new(SystemTime::now));
        exchange.counters = Arc::clone(counters);
        Self::of(policy, exchange)
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
        Self::of(policy, Exchange::new(signer, credentials, upstream, clock))
    }

    fn of(policy: Policy, exchange: Exchange) -> Self {
        let (exchange, repeats) = (Arc::new(exchange), Repeats::default());
        let refused_conditions = RefusedConditions::default();
        let inner = Inner { policy, budget: Budget::new(), exchange, refused_conditions, repeats };
        Self { inner: Arc::new(inner), outcomes: Arc::default() }
    }

    /// Another way out, by the same means, on which the host can remove one object of its own and do nothing else.
    #[must_use]
    pub(crate) fn for_cleanup(&self, key: &str) -> Self {
        Self::of(self.inner.policy.removal_of(key), self.inner.exchange.another())
    }

    /// The same way out for requests of the host's own: what becomes of them explains no error of the component.
    #[must_use]
    pub(crate) fn for_host(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), outcomes: Arc::default() }
    }

    /// Sends a request of the guest, if it is permitted, and gives the answer: a short one whole, a long one
    /// as a stream that mends itself.
    ///
    /// # Errors
    ///
    /// `HttpRequestDenied` where the policy denies it or there are no credentials; otherwise the code that says what
    /// became of the connection.
    pub async fn send(&self, request: Request<WasiBody>) -> Result<Response<WasiBody>, WasiError> {
        let (parts, body) = request.into_parts();
        let underway = Underway {
            exchange: Arc::clone(&self.inner.exchange),
            outcomes: Arc::clone(&self.outcomes),
            begun: self.outcomes.begin(&parts.method, &parts.uri),
        };
        let outcome = match self.inner.policy.check(&parts.method, &parts.uri, &parts.headers) {
            Err(denial) => Err(denial.into()),
            Ok(permit) => {
                let span = tracing::debug_span!("s3", request = underway.begun.number());
                self.send_permitted(&underway, permit, parts, body).instrument(span).await
            }
        };
        match outcome {
            Ok(response) => {
                underway.answered(response.status());
                Ok(response)
            }
            Err(failure) => Err(underway.failed(failure)),
        }
    }

    /// What went over the wire so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.inner.exchange.counters.traffic()
    }

    /// The latest moment in the order of requests.
    pub(crate) fn now(&self) -> Moment {
        self.outcomes.now()
    }

    /// What became of requests after a moment.
    pub(crate) fn since(&self, moment: Moment) -> Since {
        self.outcomes.since(moment)
    }

    /// Whether the last keys have ended, or there were none, where others may follow: rotation takes seconds.
    pub(crate) fn awaits_keys(&self) -> bool {
        self.inner.exchange.awaits_keys()
    }

    /// How long the store has given no answer that is of use; `None` where its last one was.
    pub(crate) fn failing_for(&self) -> Option<Duration> {
        self.inner.exchange.silence.length()
    }

    async fn send_permitted(
        &self,
        underway: &Underway,
        permit: policy::Permit,
        parts: http::request::Parts,
        body: WasiBody,
    ) -> Result<Response<WasiBody>, Failure> {
        let is_refused = self.inner.refused_conditions.contain(permit.operation);
        let writes_over = self.inner.policy.writes_over();
        if permit.operation.stores() && !(is_refused || writes_over || is_conditional(&parts.headers)) {
            let operation = permit.operation;
            return Err(Denial::Condition { operation: operation.name() }.into());
        }
        let slot = self.inner.budget.request().await?;
        let outgoing = Outgoing::collect(permit, parts, body, &self.inner.budget).await?;
        let response = if writes_over && repeat::may_repeat(&outgoing) {
            self.inner.repeats.exchange(&self.inner.exchange, &outgoing).await?
        } else {
            self.inner.exchange.exchange(&outgoing).await?
        };
        self.deliver(underway, outgoing, response, slot).await
    }

    /// Turns S3's answer into the guest's.
    async fn deliver(
        &self,
        underway: &Underway,
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
        let operation = outgoing.operation;
        let tries_condition = operation.stores() && is_conditional(&outgoing.headers);
        let reader = Reader::new(underway.clone(), outgoing, &parts, body, slot);
        let body = match secrets {
            None => reader.into_body(parts.status, &mut parts.headers, &self.inner.budget).await?,
            Some(secrets) => {
                let mut document = reader.into_document(REFUSAL_BYTES_MAX).await?;
                // What is compressed, or no text of one byte per letter, can't be searched, and says nothing to the
                // component either.
                if parts.headers.contains_key(header::CONTENT_ENCODING) || document.contains(&0) {
                    document.clear();
                }
                if tries_condition && refuses_condition(parts.status, &document) {
                    self.inner.refused_conditions.add(operation);
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
            .field("credentials", &self.inner.exchange.credentials)
            .finish_non_exhaustive()
    }
}

/// Whether the headers of an answer are such that many may be held.
fn check_headers(headers: &HeaderMap) -> Result<(), Failure> {
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    if bytes > ANSWER_HEADER_BYTES_MAX {
        return Err(Failure::AnswerHeaders { bytes, bytes_max: ANSWER_HEADER_BYTES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod anonymous_tests;
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
mod ranges_tests;
#[cfg(test)]
mod redirect_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unsigned_tests;
#[cfg(test)]
mod wire_tests;
