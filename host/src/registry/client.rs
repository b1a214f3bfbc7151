//! Owns the requests to one registry (<https://github.com/opencontainers/distribution-spec/blob/main/spec.md>): where they may go, who asks,
//! what is tried again, and how much of an answer is read. Leaves connections and TLS to `egress`, and the form of artifacts to `artifact`.
//!
//! Invariants: credentials go to the registry and to the place that it names for tokens, and never without TLS to another machine, unless
//! [`plain_http`](super::Registry::plain_http) was asked for. What is named by a digest has that digest.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{sleep, timeout};

use super::artifact::{Artifact, MANIFEST_TYPE};
use super::digest::Digest;
use super::login::{self, Challenge, Credentials};
use super::reference::{Reference, is_loopback};
use crate::egress::upstream::{Error as UpstreamError, Upstream, UpstreamBody};
use crate::error::{Error, ErrorKind, Result};
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

/// How often something was tried.
#[derive(Default)]
struct Patience(u32);

impl Patience {
    /// How long to wait before it is tried again; `None` if it was done, refused, or tried often enough.
    fn after<T>(&mut self, done: &Result<T>) -> Option<Duration> {
        let error = done.as_ref().err().filter(|error| error.kind() == ErrorKind::Unavailable)?;
        self.0 += 1;
        let pause = PAUSES.0 * 2_u32.pow(self.0 - 1);
        let asked = Duration::from_millis(error.retry_after_ms().unwrap_or_default());
        let pause = pause.max(asked).min(PAUSES.1);
        (self.0 < ATTEMPTS).then(|| {
            tracing::info!("{error}; trying again in {}", printable::length(pause));
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
        let headers = [(header::ACCEPT, MANIFEST_TYPE)];
        self.whole(&format!("manifests/{name}"), &headers, MANIFEST_BYTES_MAX, "manifest").await
    }

    /// What has this digest.
    pub(super) async fn blob(&mut self, digest: Digest, bytes_max: u64) -> Result<Bytes> {
        self.whole(&format!("blobs/{digest}"), &[], bytes_max, "component").await
    }

    /// Stores an artifact under this tag or digest, its parts first.
    pub(super) async fn push(&mut self, artifact: &Artifact, name: &str) -> Result<()> {
        for blob in [&artifact.config, &artifact.component] {
            let mut patience = Patience::default();
            loop {
                let done = self.push_blob(blob).await;
                match patience.after(&done) {
                    Some(pause) => sleep(pause).await,
                    None => break done?,
                }
            }
        }
        let mut patience = Patience::default();
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
        let mut patience = Patience::default();
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
        self.expect(response, &[StatusCode::CREATED, StatusCode::OK]).await.map(drop)
    }

    /// Stores a blob, unless it is there.
    async fn push_blob(&mut self, blob: &Bytes) -> Result<()> {
        let digest = Digest::of(blob);
        let held = self.exchange(&Ask::new(Method::HEAD, self.uri(&format!("blobs/{digest}"))?)).await?;
        if held.status() == StatusCode::OK {
            return Ok(());
        }
        let begun = self.exchange(&Ask::new(Method::POST, self.uri("blobs/uploads/")?)).await?;
        let begun = self.expect(begun, &[StatusCode::ACCEPTED]).await?;
        let place = self.location(&self.uri("blobs/uploads/")?, begun.headers())?;
        let separator = if place.query().is_some() { '&' } else { '?' };
        let place = parse(&format!("{place}{separator}digest={digest}"))?;
        let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
        let ask = Ask { method: Method::PUT, uri: place, headers: &headers, body: blob.clone() };
        let response = self.exchange(&ask).await?;
        self.expect(response, &[StatusCode::CREATED]).await.map(drop)
    }

    fn uri(&self, rest: &str) -> Result<Uri> {
        let place = login::place(self.reference.host());
        let scheme = if self.plain_http || is_loopback(place) { "http" } else { "https" };
        parse(&format!("{scheme}://{place}/v2/{}/{rest}", self.reference.name()))
    }

    /// Gets something, wherever the registry keeps it.
    async fn get(&mut self, mut ask: Ask<'_>) -> Result<Response<UpstreamBody>> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.exchange(&ask).await?;
            if !response.status().is_redirection() {
                return self.expect(response, &[StatusCode::OK]).await;
            }
            ask.uri = self.location(&ask.uri, response.headers())?;
        }
        Err(self.invalid(format!("it sends us from place to place more than {REDIRECTS_MAX} times")))
    }

    /// Sends a request, and once more with what the registry wants to know of us.
    async fn exchange(&mut self, ask: &Ask<'_>) -> Result<Response<UpstreamBody>> {
        let response = self.transmit(ask).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_own(&ask.uri) {
            return Ok(response);
        }
        let Some(challenge) = Challenge::of(response.headers()) else { return Ok(response) };
        let credentials = Credentials::find(self.reference.host()).await?;
        self.is_known = Some(credentials.is_some());
        self.authorization = match (challenge, credentials) {
            (Challenge::Token { realm, service, scope }, credentials) => {
                let token = self.token(&realm, service.as_deref(), scope, credentials).await?;
                login::bearer(&token)
            }
            (Challenge::Basic, Some(credentials)) => credentials.basic(),
            (Challenge::Basic, None) => return Ok(response),
        };
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
                parse(realm)?
            }
            _ => {
                let separator = if realm.contains('?') { '&' } else { '?' };
                parse(&format!("{realm}{separator}{}", encode(&fields)))?
            }
        };
        self.allow(&uri)?;
        if let Some(basic) = credentials.as_ref().and_then(Credentials::basic) {
            request = request.header(header::AUTHORIZATION, basic);
        }
        let response = self.send(request.uri(uri), body).await?;
        let response = self.expect(response, &[StatusCode::OK]).await?;
        let answer = self.read(response, TOKEN_BYTES_MAX, "token").await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
        let token = ["token", "access_token"].into_iter().find_map(|name| answer.get(name)?.as_str());
        token
            .map(str::to_owned)
            .ok_or_else(|| self.invalid("it gives no token where it says that there is one".to_owned()))
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
        let mut request = request
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_LENGTH, body.len())
            .body(Full::new(body))
            .map_err(|error| self.invalid(error.to_string()))?;
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let host = HeaderValue::from_str(&host).map_err(|error| self.invalid(error.to_string()))?;
        request.headers_mut().insert(header::HOST, host);
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
        match timeout(SILENCE_MAX, self.upstream.send(request)).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// The whole body of an answer, if it is no larger than it may be.
    async fn read(&self, response: Response<UpstreamBody>, bytes_max: u64, what: &str) -> Result<Bytes> {
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(frame) = timeout(SILENCE_MAX, body.frame()).await.map_err(|_| self.silent())? {
            let Ok(data) = frame.map_err(|error| self.failed(error))?.into_data() else { continue };
            if bytes.len() as u64 + data.len() as u64 > bytes_max {
                return Err(self.invalid(format!("the {what} that it sends is larger than {bytes_max} bytes")));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }

    /// The answer, if its status is one of these; the error says what the registry says.
    async fn expect(&self, response: Response<UpstreamBody>, wanted: &[StatusCode]) -> Result<Response<UpstreamBody>> {
        let status = response.status();
        if wanted.contains(&status) {
            return Ok(response);
        }
        let after =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let said = self.read(response, REFUSAL_BYTES_MAX, "refusal").await.unwrap_or_default();
        let said = said_by(&said);
        let host = self.reference.host();
        let error = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let advice = match self.is_known {
                    Some(true) => "the credentials for it are not enough",
                    _ => {
                        "there are no credentials for it: `docker login` leaves some, and so do `podman login` and `crane auth login`"
                    }
                };
                Error::new(ErrorKind::Denied, format!("the registry refuses{said}; {advice}; registry=`{host}`"))
            }
            StatusCode::NOT_FOUND => self.invalid(format!("it has no such component{said}")),
            status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
                let message =
                    format!("the registry can't answer now{said}; registry=`{host}` status=`{}`", status.as_u16());
                let error = Error::new(ErrorKind::Unavailable, message);
                after.map_or(error.clone(), |seconds| error.with_retry_after_ms(seconds.saturating_mul(1000)))
            }
            status => self.invalid(format!("it answers with status {}{said}", status.as_u16())),
        };
        Err(error)
    }

    /// Where an answer sends us, if that may be.
    fn location(&self, from: &Uri, headers: &HeaderMap) -> Result<Uri> {
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location else { return Err(self.invalid("it names no place (`Location`)".to_owned())) };
        let own = || Some((from.scheme_str()?, from.authority()?.as_str()));
        let whole = match own() {
            Some((scheme, authority)) if location.starts_with('/') && !location.starts_with("//") => {
                format!("{scheme}://{authority}{location}")
            }
            _ => location.to_owned(),
        };
        let to =
            parse(&whole).map_err(|_| self.invalid("the place that it names (`Location`) is no address".to_owned()))?;
        self.allow(&to)?;
        Ok(to)
    }

    /// Whether something may be sent there at all.
    fn allow(&self, to: &Uri) -> Result<()> {
        let is_safe = match (to.scheme_str(), to.authority()) {
            (Some("https"), Some(_)) => true,
            (Some("http"), Some(authority)) => {
                self.plain_http || (is_loopback(authority.as_str()) && is_loopback(self.reference.host()))
            }
            _ => false,
        };
        if is_safe {
            return Ok(());
        }
        let place = to.authority().map_or("", |authority| authority.as_str());
        Err(self.invalid(format!("it sends us to a place without TLS, which --plain-http allows; place=`{place}`")))
    }

    /// Whether an address is the registry's own.
    fn is_own(&self, to: &Uri) -> bool {
        self.uri("").is_ok_and(|own| (own.scheme(), own.authority()) == (to.scheme(), to.authority()))
    }

    fn invalid(&self, why: String) -> Error {
        let message = format!("the registry can't be used: {why}; registry=`{}`", self.reference.host());
        Error::new(ErrorKind::Invalid, message)
    }

    fn silent(&self) -> Error {
        let seconds = SILENCE_MAX.as_secs();
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
        let kind = if lasts { ErrorKind::Invalid } else { ErrorKind::Unavailable };
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

fn parse(text: &str) -> Result<Uri> {
    text.parse().map_err(|_| Error::new(ErrorKind::Invalid, format!("`{text}` is no address")))
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
        Some(said) if !said.is_empty() => format!(" (`{}`)", printable::line(&said, SHOWN_BYTES_MAX)),
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
