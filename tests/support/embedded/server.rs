//! A request's way through the server: log, faults, hooks, admission, S3, and the answer's headers.
//!
//! `s3s` stands in the middle and does what S3 does; everything around it is either what a test
//! wants to happen or what `s3s` leaves out. It knows nothing of sockets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER, SERVER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Result};

use super::access::{Access, Exchange};
use super::admission;
use super::api::Api;
use super::body::{self, Broken};
use super::fault::{Fault, Faults, Reset, Verdict};
use super::hook::{Hooks, Seen, Stage};
use super::journal::{Journal, LoggedRequest};
use super::operation::{Target, bucket_of_host};
use super::options::Options;
use super::refusal::{Refusal, escape};
use super::store::Store;

const X_AMZ_BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
const X_AMZ_ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const APPLICATION_XML: HeaderValue = HeaderValue::from_static("application/xml");
const SERVER_NAME: HeaderValue = HeaderValue::from_static("AmazonS3");
const HOST_ID: HeaderValue = HeaderValue::from_static("embedded");

/// The connection is closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// Everything that answers requests.
pub(super) struct Service {
    pub(super) store: Store,
    pub(super) access: Access,
    pub(super) faults: Faults,
    pub(super) hooks: Hooks,
    pub(super) journal: Journal,
    options: Arc<Options>,
    s3: S3Service,
    answered: AtomicU64,
}

impl Service {
    pub(super) fn new(options: Options) -> Self {
        let options = Arc::new(options);
        let store = Store::new(Arc::clone(&options));
        let access = Access::new(&options.keys);
        let mut builder = S3ServiceBuilder::new(Api::new(store.clone()));
        builder.set_auth(access.clone());
        builder.set_access(access.clone());
        if let Some(domain) = &options.domain {
            builder.set_host(Domain(domain.clone()));
        }
        // `s3s` compares with the machine's clock; the admission does so with ours.
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Self {
            store,
            access,
            faults: Faults::new(options.latency),
            hooks: Hooks::default(),
            journal: Journal::new(options.requests_logged_max),
            options,
            s3: builder.build(),
            answered: AtomicU64::new(0),
        }
    }

    /// Answers a request, or closes its connection.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Result<Response<Body>, Closed>
    where
        B: HttpBody<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let query = uri.query().unwrap_or_default();
        let domain = self.options.domain.as_deref();
        let target = Target::of(&method, uri.path(), query, &parts.headers, domain);
        let exchange = Exchange {
            target: Arc::new(target),
            access_key: Arc::default(),
        };
        let target = &*exchange.target;
        let number = self.journal.arrived(logged(&parts, target));
        let verdict = self.faults.judge(target.operation, &target.subject);
        let seen = || seen(target, query);

        self.hooks
            .run(Stage::BeforeAct, &target.subject, seen)
            .await;
        if matches!(verdict.fault, Some(Fault::Reset(Reset::BeforeAct))) {
            return Err(Closed);
        }
        let body = body::read(body, content_length(&parts))
            .await
            .map_err(|_| Closed)?;
        let answer = if acts(&verdict) {
            let answer = self.act(parts, body, exchange.clone()).await;
            self.hooks.run(Stage::AfterAct, &target.subject, seen).await;
            answer
        } else {
            Response::new(Body::empty())
        };
        if verdict.latency > Duration::ZERO {
            tokio::time::sleep(verdict.latency).await;
        }
        let answer = distort(answer, verdict.fault).await?;
        let access_key = exchange.access_key.get().map(String::as_str);
        self.journal
            .answered(number, answer.status().as_u16(), access_key);
        Ok(self.finish(answer, &method, uri.path(), target))
    }

    /// Does what the request asks for, if it is admitted.
    async fn act(&self, mut parts: Parts, body: Bytes, exchange: Exchange) -> Response<Body> {
        let operation = exchange.target.operation;
        let admitted = admission::check_head(&parts, &self.options)
            .and_then(|()| admission::check_body(&parts.headers, operation, &body));
        if let Err(refusal) = admitted {
            return refused(&refusal);
        }
        parts.extensions.insert(exchange);
        let request = Request::from_parts(parts, Body::from(body));
        self.s3
            .call(request)
            .await
            .unwrap_or_else(|_unserializable| {
                refused(&Refusal::new(
                    500,
                    "InternalError",
                    "We encountered an internal error.",
                ))
            })
    }

    /// Adds what every answer of S3 carries.
    fn finish(
        &self,
        answer: Response<Body>,
        method: &Method,
        path: &str,
        target: &Target,
    ) -> Response<Body> {
        let (mut parts, mut body) = answer.into_parts();
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let request_id = format!("{number:016X}");
        if let Some(document) = body.bytes().filter(|bytes| bytes.ends_with(END_OF_ERROR)) {
            body = detailed(&document, path, &request_id).into();
            parts.headers.remove(CONTENT_LENGTH);
        }
        if parts.status == StatusCode::NOT_MODIFIED {
            parts.headers.remove(CONTENT_TYPE);
        }
        if *method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED {
            body = Body::empty();
        }
        let headers = &mut parts.headers;
        let header = |text: &str| HeaderValue::from_str(text).expect("it is ASCII");
        headers.insert(
            DATE,
            header(&httpdate::fmt_http_date(self.options.clock.now())),
        );
        headers.insert(SERVER, SERVER_NAME);
        headers.insert(X_AMZ_ID_2, HOST_ID);
        headers.insert(X_AMZ_REQUEST_ID, header(&request_id));
        if target
            .bucket
            .as_deref()
            .is_some_and(|bucket| self.store.has_bucket(bucket))
        {
            headers.insert(X_AMZ_BUCKET_REGION, header(self.options.region_name()));
        }
        Response::from_parts(parts, body)
    }
}

fn content_length(parts: &Parts) -> Option<usize> {
    parts
        .headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
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
    let replaced = matches!(
        verdict.fault,
        Some(Fault::Answer { .. } | Fault::ErrorInOk(_))
    );
    verdict.acts || !replaced
}

fn refused(refusal: &Refusal) -> Response<Body> {
    document(refusal.status, refusal.document())
}

fn document(status: u16, document: Bytes) -> Response<Body> {
    let mut answer = Response::new(Body::from(document));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a test gives a status that exists");
    answer.headers_mut().insert(CONTENT_TYPE, APPLICATION_XML);
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
        Fault::Truncate { body_bytes } => {
            answer.map(|body| Body::http_body(Broken::new(body, body_bytes)))
        }
        Fault::Cut { body_bytes } => {
            let (mut parts, whole) = answer.into_parts();
            let mut whole = body::read(whole, None).await.map_err(|_| Closed)?;
            whole.truncate(body_bytes);
            parts
                .headers
                .insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
            Response::from_parts(parts, whole.into())
        }
        Fault::Document(bytes) => document(200, bytes),
        Fault::Answer {
            refusal,
            retry_after_secs,
        } => {
            let mut answer = refused(&refusal);
            if let Some(seconds) = retry_after_secs {
                answer
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            answer
        }
        Fault::ErrorInOk(refusal) => document(200, refusal.document()),
    })
}

const END_OF_ERROR: &[u8] = b"</Error>";

/// Adds to an error document what `s3s` leaves out.
fn detailed(document: &[u8], path: &str, request_id: &str) -> Vec<u8> {
    let mut detailed = document[..document.len() - END_OF_ERROR.len()].to_vec();
    let details = format!(
        "<Resource>{}</Resource><RequestId>{request_id}</RequestId><HostId>embedded</HostId></Error>",
        escape(path)
    );
    detailed.extend_from_slice(details.as_bytes());
    detailed
}

/// Finds the bucket in a host below the domain. A host that is neither is left to path style, while
/// the parsers of `s3s` would take it, or the port, for part of a bucket's name.
struct Domain(String);

impl S3Host for Domain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let virtual_host = VirtualHost::new(self.0.as_str());
        Ok(match bucket_of_host(host, Some(&self.0)) {
            Some(bucket) => virtual_host.with_bucket(bucket),
            None => virtual_host,
        })
    }
}
