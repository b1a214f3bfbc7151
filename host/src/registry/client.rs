//! Owns the requests to one registry (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md>): where they may go, who asks,
//! what is tried again, and how much of an answer is read. Leaves connections and TLS to `egress`, and the form of artifacts to `artifact`.
//!
//! Invariant: credentials go to the registry and to the place that it names for tokens, and never without TLS to another machine, a proxy
//! included, unless [`plain_http`](super::Registry::plain_http) was asked for.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, sleep, timeout};

use super::artifact::{Artifact, MANIFEST_TYPE, MANIFEST_TYPES};
use super::digest::Digest;
use super::login::{self, Challenge, Credentials};
use super::reference::{Reference, is_loopback};
use crate::egress::HyperUpstream;
use crate::egress::upstream::{Error as UpstreamError, Upstream, UpstreamBody};
use crate::error::{Error, ErrorKind, Result};
use crate::flood::one_line;
use crate::printable;

/// Bytes of a manifest: what registries take at most.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Bytes of an answer with a token. Those of large registries have some 10 KiB.
const TOKEN_BYTES_MAX: u64 = 256 << 10;

/// Bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a refusal that are shown.
const SHOWN_BYTES_MAX: usize = 300;

/// How long an answer may take to begin, and each piece of it to follow.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long all of an answer may take, however steadily it comes.
const ANSWER_MAX: Duration = Duration::from_secs(300);

/// How many bytes of what is sent a second may take away, at least.
const SEND_BYTES_MIN: u64 = 16 << 10;

/// How long something is tried again after it was begun.
const PATIENCE_MAX: Duration = Duration::from_secs(120);

/// How often something is tried.
const ATTEMPTS: u32 = 4;

/// Pauses between attempts: the first one, which doubles, and the longest, where the registry names one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How often an answer may send us elsewhere.
const REDIRECTS_MAX: usize = 5;

const USER_AGENT: &str = concat!("s3-connector/", env!("CARGO_PKG_VERSION"));

/// What we are to the place of tokens.
const CLIENT_ID: &str = "s3-connector";

/// A registry, and what it has let us do so far.
pub(super) struct Client {
    upstream: Arc<dyn Upstream>,
    reference: Reference,
    /// Whether other machines than this one may be spoken to without TLS.
    plain_http: bool,
    /// What is done, in the words of scopes: `pull`, or `pull,push`.
    actions: &'static str,
    authorization: Option<HeaderValue>,
    /// Whether there are credentials; nothing before anybody asked.
    is_known: Option<bool>,
}

type Headers<'a> = &'a [(header::HeaderName, &'a str)];

/// A request, before anybody has signed in.
struct Ask<'a> {
    method: Method,
    uri: Uri,
    headers: Headers<'a>,
    body: Bytes,
}

/// How often something was tried, and since when.
struct Patience {
    tries: u32,
    begun: Instant,
}

impl Patience {
    fn begin() -> Self {
        Self { tries: 0, begun: Instant::now() }
    }

    /// How long to wait before it is tried again; `None` if it was done, refused, or tried often enough.
    fn after<T>(&mut self, done: &Result<T>) -> Option<Duration> {
        let error = done.as_ref().err().filter(|error| error.kind() == ErrorKind::Unavailable)?;
        self.tries += 1;
        let pause = PAUSES.0 * 2_u32.pow(self.tries - 1);
        let asked = Duration::from_millis(error.retry_after_ms().unwrap_or_default());
        let pause = pause.max(asked).min(PAUSES.1);
        let goes_on = self.tries < ATTEMPTS && self.begun.elapsed() < PATIENCE_MAX;
        goes_on.then(|| {
            tracing::warn!("{}; trying again in {}", one_line(error.message()), printable::length(pause));
            pause
        })
    }
}

impl Ask<'_> {
    fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: &[], body: Bytes::new() }
    }
}

impl Client {
    pub(super) fn new(upstream: Arc<dyn Upstream>, reference: Reference, plain_http: bool, pushes: bool) -> Self {
        let actions = if pushes { "pull,push" } else { "pull" };
        Self { upstream, reference, plain_http, actions, authorization: None, is_known: None }
    }

    /// The manifest that a tag or digest stands for.
    pub(super) async fn manifest(&mut self, name: &str) -> Result<Bytes> {
        let headers = [(header::ACCEPT, MANIFEST_TYPES)];
        self.whole(&format!("manifests/{name}"), &headers, MANIFEST_BYTES_MAX, "manifest").await
    }

    /// What has this digest.
    pub(super) async fn blob(&mut self, digest: Digest, bytes_max: u64) -> Result<Bytes> {
        self.whole(&format!("blobs/{digest}"), &[], bytes_max, "component").await
    }

    /// Stores an artifact under this tag or digest, its parts first.
    pub(super) async fn push(&mut self, artifact: &Artifact, name: &str) -> Result<()> {
        for blob in [&artifact.config, &artifact.component] {
            let mut patience = Patience::begin();
            loop {
                let done = self.push_blob(blob).await;
                match patience.after(&done) {
                    Some(pause) => sleep(pause).await,
                    None => break done?,
                }
            }
        }
        let mut patience = Patience::begin();
        loop {
            let done = self.push_manifest(&artifact.manifest, name).await;
            match patience.after(&done) {
                Some(pause) => sleep(pause).await,
                None => return done,
            }
        }
    }

    /// All of what the registry has there.
    async fn whole(&mut self, rest: &str, headers: Headers<'_>, bytes_max: u64, what: &str) -> Result<Bytes> {
        let mut patience = Patience::begin();
        loop {
            let ask = Ask { headers, ..Ask::new(Method::GET, self.uri(rest)?) };
            let done = match self.get(ask).await {
                Ok(response) => self.read(response, bytes_max, what).await,
                Err(error) => Err(error),
            };
            match patience.after(&done) {
                Some(pause) => sleep(pause).await,
                None => return done,
            }
        }
    }

    async fn push_manifest(&mut self, manifest: &Bytes, name: &str) -> Result<()> {
        let uri = self.uri(&format!("manifests/{name}"))?;
        let headers = [(header::CONTENT_TYPE, MANIFEST_TYPE)];
        let ask = Ask { method: Method::PUT, uri, headers: &headers, body: manifest.clone() };
        let response = self.exchange(&ask).await?;
        self.expect(response, &ask.uri, &[StatusCode::CREATED, StatusCode::OK]).await.map(drop)
    }

    /// Stores a blob, unless it is there.
    async fn push_blob(&mut self, blob: &Bytes) -> Result<()> {
        let digest = Digest::of(blob);
        let held = self.exchange(&Ask::new(Method::HEAD, self.uri(&format!("blobs/{digest}"))?)).await?;
        if held.status() == StatusCode::OK {
            return Ok(());
        }
        let uploads = self.uri("blobs/uploads/")?;
        let begun = self.exchange(&Ask::new(Method::POST, uploads.clone())).await?;
        let begun = self.expect(begun, &uploads, &[StatusCode::ACCEPTED]).await?;
        let place = self.location(&uploads, begun.headers())?;
        let separator = if place.query().is_some() { '&' } else { '?' };
        let place = self.address(&format!("{place}{separator}digest={digest}"))?;
        let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
        let ask = Ask { method: Method::PUT, uri: place, headers: &headers, body: blob.clone() };
        let response = self.exchange(&ask).await?;
        self.expect(response, &ask.uri, &[StatusCode::CREATED]).await.map(drop)
    }

    fn uri(&self, rest: &str) -> Result<Uri> {
        let place = login::place(self.reference.host());
        let scheme = if self.plain_http || is_loopback(place) { "http" } else { "https" };
        self.address(&format!("{scheme}://{place}/v2/{}/{rest}", self.reference.name()))
    }

    /// Gets something, wherever the registry keeps it.
    async fn get(&mut self, mut ask: Ask<'_>) -> Result<Response<UpstreamBody>> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.exchange(&ask).await?;
            if !response.status().is_redirection() {
                return self.expect(response, &ask.uri, &[StatusCode::OK]).await;
            }
            ask.uri = self.location(&ask.uri, response.headers())?;
        }
        Err(self.nonsense(format!("it sends us from place to place more than {REDIRECTS_MAX} times")))
    }

    /// Sends a request, and once more with what the registry wants to know of us.
    async fn exchange(&mut self, ask: &Ask<'_>) -> Result<Response<UpstreamBody>> {
        let response = self.transmit(ask).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_own(&ask.uri) {
            return Ok(response);
        }
        let Some(challenge) = Challenge::of(response.headers()) else { return Ok(response) };
        let credentials = Credentials::find(self.reference.host(), self.reference.name()).await?;
        self.is_known = Some(credentials.is_some());
        self.authorization = match (challenge, credentials) {
            (Challenge::Token { realm, service, scope }, credentials) => {
                let token = self.token(&realm, service.as_deref(), scope, credentials).await?;
                let bearer = login::bearer(&token);
                Some(bearer.ok_or_else(|| self.nonsense("its token is none that can be sent".to_owned()))?)
            }
            (Challenge::Basic, Some(credentials)) => credentials.basic(),
            (Challenge::Basic, None) => return Ok(response),
        };
        // What is left of the refusal says no more than its challenge.
        drop(response);
        self.transmit(ask).await
    }

    /// A token for what is to be done.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<String>,
        credentials: Option<Credentials>,
    ) -> Result<String> {
        let scope = scope.unwrap_or_else(|| format!("repository:{}:{}", self.reference.name(), self.actions));
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(service.map(|service| ("service", service)));
        let mut request = Request::builder();
        let mut body = Bytes::new();
        let uri = match &credentials {
            Some(Credentials::Identity(token)) => {
                fields.extend([("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", token)]);
                body = encode(&fields).into();
                request =
                    request.method(Method::POST).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
                self.address(realm)?
            }
            _ => {
                let separator = if realm.contains('?') { '&' } else { '?' };
                self.address(&format!("{realm}{separator}{}", encode(&fields)))?
            }
        };
        self.allow(&uri)?;
        if let Some(basic) = credentials.as_ref().and_then(Credentials::basic) {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let response = self.send(request.uri(uri.clone()), body).await?;
        let response = self.expect(response, &uri, &[StatusCode::OK]).await?;
        let answer = self.read(response, TOKEN_BYTES_MAX, "token").await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        let token = ["token", "access_token"].into_iter().find_map(|name| answer.get(name)?.as_str());
        token
            .map(str::to_owned)
            .ok_or_else(|| self.nonsense("it gives no token where it says that there is one".to_owned()))
    }

    async fn transmit(&self, ask: &Ask<'_>) -> Result<Response<UpstreamBody>> {
        let mut request = Request::builder().method(ask.method.clone()).uri(ask.uri.clone());
        for (name, value) in ask.headers {
            request = request.header(name, *value);
        }
        // What the registry sends us to is somebody else: a signed address, which needs none.
        if let Some(authorization) = self.authorization.as_ref().filter(|_| self.is_own(&ask.uri)) {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        self.send(request, ask.body.clone()).await
    }

    async fn send(&self, request: http::request::Builder, body: Bytes) -> Result<Response<UpstreamBody>> {
        let sending = Duration::from_secs(body.len() as u64 / SEND_BYTES_MIN);
        let mut request = request
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_LENGTH, body.len())
            .body(Full::new(body))
            .map_err(|error| self.nonsense(error.to_string()))?;
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let host = HeaderValue::from_str(&host).map_err(|error| self.nonsense(error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let limit = SILENCE_MAX + sending;
        match timeout(limit, self.way(request.uri())?.send(request)).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => Err(self.slow(limit)),
        }
    }

    /// How something is sent there: to this machine by no proxy, which would be another one.
    fn way(&self, to: &Uri) -> Result<Arc<dyn Upstream>> {
        if !to.host().is_some_and(is_loopback) || self.upstream.proxy(to).is_none() {
            return Ok(Arc::clone(&self.upstream));
        }
        let direct = HyperUpstream::new(None).map_err(|error| Error::of(ErrorKind::Invalid, error))?;
        Ok(Arc::new(direct))
    }

    /// The whole body of an answer, if it is no larger than it may be.
    async fn read(&self, response: Response<UpstreamBody>, bytes_max: u64, what: &str) -> Result<Bytes> {
        let reading = self.read_all(response.into_body(), bytes_max, what);
        timeout(ANSWER_MAX, reading).await.unwrap_or_else(|_| Err(self.slow(ANSWER_MAX)))
    }

    async fn read_all(&self, mut body: UpstreamBody, bytes_max: u64, what: &str) -> Result<Bytes> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = timeout(SILENCE_MAX, body.frame()).await.map_err(|_| self.slow(SILENCE_MAX))? {
            let Ok(data) = frame.map_err(|error| self.failed(error))?.into_data() else { continue };
            if bytes.len() as u64 + data.len() as u64 > bytes_max {
                return Err(self.nonsense(format!("the {what} that it sends is larger than {bytes_max} bytes")));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }

    /// The answer of what is at `uri`, if its status is one of these; the error says what is said there.
    async fn expect(
        &self,
        response: Response<UpstreamBody>,
        uri: &Uri,
        wanted: &[StatusCode],
    ) -> Result<Response<UpstreamBody>> {
        let status = response.status();
        if wanted.contains(&status) {
            return Ok(response);
        }
        let after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let said = self.read(response, REFUSAL_BYTES_MAX, "refusal").await.unwrap_or_default();
        let said = said_by(&said);
        let place = match (self.is_own(uri), uri.authority()) {
            (false, Some(authority)) => format!("`{}`, to which the registry sends us,", line(authority.as_str())),
            _ => "the registry".to_owned(),
        };
        let host = self.reference.host();
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let advice = match self.is_known {
                    Some(true) => "; the credentials for it are not enough",
                    Some(false) => {
                        "; there are no credentials for it: `docker login` leaves some, and so do `podman login` and `crane auth login`"
                    }
                    None => "",
                };
                Error::new(ErrorKind::Denied, format!("{place} refuses{said}{advice}; registry=`{host}`"))
            }
            StatusCode::NOT_FOUND if self.is_own(uri) && !said.is_empty() => {
                let message = format!("the registry has no such component{said}; registry=`{host}`");
                Error::new(ErrorKind::Invalid, message)
            }
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                let message = format!("{place} can't answer now{said}; registry=`{host}` status=`{}`", status.as_u16());
                let error = Error::new(ErrorKind::Unavailable, message);
                after.map_or(error.clone(), |seconds| error.with_retry_after_ms(seconds.saturating_mul(1000)))
            }
            status => self.nonsense(format!("{place} answers with status {}{said}", status.as_u16())),
        };
        Err(error)
    }

    /// Where an answer sends us, if that may be.
    fn location(&self, from: &Uri, headers: &HeaderMap) -> Result<Uri> {
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location else { return Err(self.nonsense("it names no place (`Location`)".to_owned())) };
        let own = || Some((from.scheme_str()?, from.authority()?.as_str()));
        let to = match own() {
            Some((scheme, authority)) if location.starts_with('/') && !location.starts_with("//") => {
                self.address(&format!("{scheme}://{authority}{location}"))?
            }
            _ => self.address(location)?,
        };
        self.allow(&to)?;
        Ok(to)
    }

    /// Whether something may be sent there at all.
    fn allow(&self, to: &Uri) -> Result<()> {
        let place = to.authority().map_or("", |authority| authority.as_str());
        let refuse = |why: &str| {
            let why =
                format!("the registry sends us to {why}; place=`{}` registry=`{}`", line(place), self.reference.host());
            Err(Error::new(ErrorKind::Denied, why))
        };
        let is_without_tls = match to.scheme_str() {
            _ if place.is_empty() => return refuse("what is no address of http or https"),
            _ if place.contains('@') => return refuse("a place with a user's name"),
            Some("https") => false,
            Some("http") => true,
            _ => return refuse("what is no address of http or https"),
        };
        let host = to.host().unwrap_or_default();
        if is_without_tls && !self.plain_http && !(is_loopback(host) && is_loopback(self.reference.host())) {
            return refuse("a place without TLS");
        }
        Ok(())
    }

    /// Whether an address is the registry's own.
    fn is_own(&self, to: &Uri) -> bool {
        let origin = |uri: &Uri| {
            let scheme = uri.scheme_str()?.to_owned();
            let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
            Some((scheme, uri.host()?.to_ascii_lowercase(), port))
        };
        self.uri("").is_ok_and(|own| origin(&own).is_some_and(|own| origin(to) == Some(own)))
    }

    /// An address that the registry names.
    fn address(&self, text: &str) -> Result<Uri> {
        parse(text).map_err(|()| self.nonsense("what it names as a place is no address".to_owned()))
    }

    /// What a registry does not do that is one.
    fn nonsense(&self, why: String) -> Error {
        let message = format!("the registry can't be used: {why}; registry=`{}`", self.reference.host());
        Error::new(ErrorKind::Corrupt, message)
    }

    fn slow(&self, limit: Duration) -> Error {
        let seconds = limit.as_secs();
        let message = format!("the registry has not answered within {seconds} s; registry=`{}`", self.reference.host());
        Error::new(ErrorKind::Unavailable, message)
    }

    fn failed(&self, error: UpstreamError) -> Error {
        let lasts = matches!(
            error,
            UpstreamError::Certificate(_)
                | UpstreamError::Alert { .. }
                | UpstreamError::Tls(_)
                | UpstreamError::Protocol(_)
        );
        let kind = if lasts { ErrorKind::Denied } else { ErrorKind::Unavailable };
        let hint = match error {
            UpstreamError::Tls(_) => " (--plain-http reaches one that has no TLS)",
            _ => "",
        };
        let error = Error::of(kind, error);
        let message =
            format!("the registry can't be reached: {}{hint}; registry=`{}`", error.message(), self.reference.host());
        error.with_message(message)
    }
}

fn parse(text: &str) -> Result<Uri, ()> {
    text.parse().map_err(drop)
}

/// What a registry names, to be shown.
pub(super) fn line(text: &str) -> std::borrow::Cow<'_, str> {
    printable::line(text, SHOWN_BYTES_MAX)
}

/// Names and values as in a query or a form.
fn encode(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

/// What a registry says in a refusal, to be put after our own words; nothing if it says nothing in the form that registries have.
fn said_by(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = || {
        let first = body.get("errors")?.get(0)?;
        let words = ["code", "message"].into_iter().filter_map(|name| first.get(name)?.as_str());
        Some(words.collect::<Vec<_>>().join(": "))
    };
    match said() {
        Some(said) if !said.is_empty() => format!(" (`{}`)", line(&said)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_is_shown_as_text_and_cut() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"no\u001b[31m such","detail":{}},{"code":"X"}]}"#;
        let said = said_by(body);
        assert!(said.starts_with(" (`NAME_UNKNOWN: no") && said.ends_with(" such`)"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
        for nothing in [&b""[..], b"<html>", b"{}", b"{\"errors\":[]}", b"{\"errors\":[{}]}", b"[1]"] {
            assert_eq!(said_by(nothing), "");
        }
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(10_000));
        assert!(said_by(long.as_bytes()).len() < 2 * SHOWN_BYTES_MAX);
    }

    #[test]
    fn fields_are_encoded() {
        assert_eq!(
            encode(&[("scope", "repository:a/b:pull,push"), ("service", "a&b")]),
            "scope=repository%3Aa%2Fb%3Apull%2Cpush&service=a%26b"
        );
    }
}
