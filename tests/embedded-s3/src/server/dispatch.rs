//! Owns a request's way through the server: the wire, admission, S3, and the headers of the answer. Leaves sockets to
//! the server.
//!
//! `s3s` stands in the middle and does what S3 does; around it are what a test wants, which the wire decides, and what
//! `s3s` leaves out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, SERVER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::host::{S3Host, VirtualHost};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Result};

use crate::api::Api;
use crate::api::access::{Access, Exchange};
use crate::api::{admission, document};
use crate::model::options::Options;
use crate::model::refusal::{Refusal, escape};
use crate::model::store::Store;
use crate::wire::operation::{Target, bucket_of_host};
use crate::wire::{Closed, Wire, refused};

const X_AMZ_BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
const X_AMZ_ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");
const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const SERVER_NAME: HeaderValue = HeaderValue::from_static("AmazonS3");
const HOST_ID: HeaderValue = HeaderValue::from_static("embedded");

/// Everything that answers requests.
pub(crate) struct Dispatch {
    pub(crate) store: Store,
    pub(crate) access: Access,
    pub(crate) wire: Wire,
    options: Arc<Options>,
    s3: S3Service,
    answered: AtomicU64,
}

impl Dispatch {
    pub(crate) fn new(options: Options) -> Self {
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
            wire: Wire::new(options.latency, options.requests_logged_max),
            options,
            s3: builder.build(),
            answered: AtomicU64::new(0),
        }
    }

    /// Answers a request, or closes its connection.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Result<Response<Body>, Closed>
    where
        B: HttpBody<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let query = uri.query().unwrap_or_default();
        let domain = self.options.domain.as_deref();
        let target = Target::of(&method, uri.path(), query, &parts.headers, domain);
        let exchange = Exchange { target: Arc::new(target), access_key: Arc::default() };
        let target = &*exchange.target;
        let act = |parts, body| async { Ok(self.act(parts, body, exchange.clone()).await) };
        let (number, answer) = self.wire.pass(parts, body, target, act).await?;
        let access_key = exchange.access_key.get().map(String::as_str);
        self.wire.answered(number, &answer, access_key);
        Ok(self.finish(answer, &method, uri.path(), target))
    }

    /// Does what the request asks for, if it is admitted.
    async fn act(&self, mut parts: Parts, body: Bytes, exchange: Exchange) -> Response<Body> {
        let operation = exchange.target.operation;
        let admitted = admission::check_head(&parts, &self.options)
            .and_then(|()| admission::check_sums(&parts.headers, operation, self.options.checksums))
            .and_then(|()| admission::check_body(&parts.headers, operation, &body));
        if let Err(refusal) = admitted {
            return refused(&refusal);
        }
        parts.extensions.insert(exchange);
        let request = Request::from_parts(parts, Body::from(body));
        let answer = self.s3.call(request).await.unwrap_or_else(|_unserializable| {
            refused(&Refusal::new(500, "InternalError", "We encountered an internal error."))
        });
        document::put_in_place(answer)
    }

    /// Adds what every answer of S3 carries.
    fn finish(&self, answer: Response<Body>, method: &Method, path: &str, target: &Target) -> Response<Body> {
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
        headers.insert(DATE, header(&httpdate::fmt_http_date(self.options.clock.date())));
        headers.insert(SERVER, SERVER_NAME);
        headers.insert(X_AMZ_ID_2, HOST_ID);
        headers.insert(X_AMZ_REQUEST_ID, header(&request_id));
        if target.bucket.as_deref().is_some_and(|bucket| self.store.has_bucket(bucket)) {
            headers.insert(X_AMZ_BUCKET_REGION, header(self.options.region_name()));
        }
        Response::from_parts(parts, body)
    }
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
