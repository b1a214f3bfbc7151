//! Sends requests through an egress to an upstream that follows a script. Leaves sockets to `wire_tests`, and
//! bodies that break to `body_tests`.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::HeaderValue;
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};

use super::policy::Addressing;
use super::request::HASH_INLINE_BYTES_MAX;
use super::sign::PayloadHash;
use super::*;
use crate::error::with_causes;
use crate::role::Role;

/// Why the latest denied request was denied.
pub(super) fn last_denial(egress: &Egress) -> Option<String> {
    egress.since(Moment::default()).denial.map(|denial| with_causes(&*denial))
}

/// Why the latest request that failed did.
pub(super) fn last_failure(egress: &Egress) -> Option<String> {
    egress.since(Moment::default()).failure.map(|failure| with_causes(&*failure))
}

/// What an answer's body does.
#[derive(Clone)]
pub(super) enum Piece {
    /// These bytes come.
    Data(Bytes),
    /// The connection breaks.
    Break,
    /// Nothing comes any more.
    Hang,
    /// Nothing comes for this long.
    Wait(Duration),
}

/// One step of the script.
#[derive(Clone)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<Piece>,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), pieces: Vec::new() }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    pub(super) fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.pieces.push(Piece::Data(data.into()));
        self
    }

    pub(super) fn then(mut self, piece: Piece) -> Self {
        self.pieces.push(piece);
        self
    }

    /// An error document of S3's.
    pub(super) fn refusal(status: u16, code: &str) -> Self {
        let document = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code></Error>");
        Self::new(status).data(document)
    }

    fn into_response(self) -> Response<UpstreamBody> {
        let frames = stream::iter(self.pieces).then(|piece| async {
            match piece {
                Piece::Wait(time) => {
                    tokio::time::sleep(time).await;
                    Ok(Frame::data(Bytes::new()))
                }
                Piece::Data(data) => Ok(Frame::data(data)),
                Piece::Break => Err(upstream::Error::Terminated("reset".into())),
                Piece::Hang => std::future::pending().await,
            }
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    }
}

type Step = Result<Reply, fn() -> upstream::Error>;

/// Answers requests in the order of a script, and keeps them. Beyond its end nothing answers.
pub(super) struct Script {
    steps: Mutex<VecDeque<Step>>,
    seen: Mutex<Vec<Request<Bytes>>>,
}

impl Script {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self { steps: Mutex::new(steps.into_iter().collect()), seen: Mutex::default() })
    }

    pub(super) fn of(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Self::new(replies.into_iter().map(Ok))
    }

    /// The requests so far.
    pub(super) fn seen(&self) -> Vec<Request<Bytes>> {
        self.seen.lock().unwrap().clone()
    }
}

impl Upstream for Script {
    fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> BoxFuture<'static, Result<Response<UpstreamBody>, upstream::Error>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
        self.seen.lock().unwrap().push(Request::from_parts(parts, body));
        let step = self.steps.lock().unwrap().pop_front();
        async move {
            match step {
                Some(Ok(reply)) => Ok(reply.into_response()),
                Some(Err(error)) => Err(error()),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

/// 2030-01-01T00:00:00Z.
pub(super) fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_893_456_000)
}

pub(super) fn egress<U: Upstream + 'static>(role: Role, upstream: &Arc<U>) -> Egress {
    let credentials = Credentials::from_settings("key-id", "s3cr3t", Some("t0ken"));
    egress_with(role, upstream, credentials)
}

fn egress_with<U: Upstream + 'static>(role: Role, upstream: &Arc<U>, credentials: Credentials) -> Egress {
    egress_at("http://s3.test:9000", role, upstream, credentials)
}

pub(super) fn egress_at<U: Upstream + 'static>(
    endpoint: &str,
    role: Role,
    upstream: &Arc<U>,
    credentials: Credentials,
) -> Egress {
    let input = PolicyInput::from_endpoint(role, endpoint, Addressing::Path, "bucket", "");
    Egress::with_clock(
        Policy::new(input.unwrap()).unwrap(),
        Signer::new("us-east-1"),
        credentials,
        upstream.clone() as Arc<dyn Upstream>,
        Arc::new(noon),
    )
}

pub(super) fn request(method: Method, path: &str) -> Request<WasiBody> {
    let uri = format!("http://s3.test:9000/bucket{path}");
    Request::builder().method(method).uri(uri).body(whole(Bytes::new())).unwrap()
}

pub(super) fn get(path: &str) -> Request<WasiBody> {
    request(Method::GET, path)
}

pub(super) fn put(pieces: &'static [&'static [u8]]) -> Request<WasiBody> {
    let frames = stream::iter(pieces).map(|data| Ok(Frame::data(Bytes::from_static(data))));
    let mut request = request(Method::PUT, "/key").map(|_| StreamBody::new(frames).boxed_unsync());
    let condition = HeaderValue::from_static("*");
    request.headers_mut().insert("if-none-match", condition);
    request
}

pub(super) async fn read(response: Response<WasiBody>) -> Result<Bytes, WasiError> {
    Ok(response.into_body().collect().await?.to_bytes())
}

fn http_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

#[tokio::test]
async fn a_request_leaves_signed_and_a_short_answer_comes_back_whole() {
    let script = Script::of([Reply::new(200)
        .header("content-length", "10")
        .header("etag", "\"e\"")
        .header("connection", "keep-alive")
        .header("x-amz-version-id", "v")
        .data("hello")
        .data("")
        .data("world")]);
    let egress = egress(Role::Source, &script);
    let response = egress.send(get("/a%20key?versionId=v")).await.unwrap();
    assert_eq!(response.headers()["x-amz-version-id"], "v");
    assert!(!response.headers().contains_key("connection"));
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "helloworld", "in one piece");

    let seen = &script.seen()[0];
    assert_eq!(seen.uri(), "http://s3.test:9000/bucket/a%20key?versionId=v");
    let headers = seen.headers();
    assert_eq!(headers["host"], "s3.test:9000");
    assert_eq!(headers["x-amz-date"], "20300101T000000Z");
    assert_eq!(headers["x-amz-security-token"], "t0ken");
    let authorization = headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=key-id/20300101/us-east-1/s3/"));
    assert!(!headers.contains_key("content-length"));
}

#[tokio::test]
async fn a_body_is_collected_measured_and_hashed() {
    let script = Script::of([Reply::new(200), Reply::new(200)]);
    let egress = egress(Role::Destination, &script);
    let mut request = put(&[b"Welcome", b" to Amazon", b"", b" S3."]);
    request.headers_mut().insert("content-length", HeaderValue::from_static("21"));
    request.headers_mut().insert("host", HeaderValue::from_static("s3.test:9000"));
    egress.send(request).await.unwrap();
    egress.send(put(&[])).await.unwrap();

    let seen = script.seen();
    assert_eq!(seen[0].body(), "Welcome to Amazon S3.");
    assert_eq!(seen[0].headers()["content-length"], "21");
    assert_eq!(
        seen[0].headers()["x-amz-content-sha256"],
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
    );
    assert_eq!(seen[1].headers()["content-length"], "0", "S3 wants a length on an empty PUT");
    let counters = egress.traffic();
    assert_eq!((counters.requests, counters.bytes_out), (2, 21));
    assert_eq!(counters.by_operation[&S3Operation::PutObject].requests, 2);
}

#[tokio::test]
async fn a_large_body_is_hashed_as_a_small_one_is() {
    let script = Script::of([Reply::new(200)]);
    let egress = egress(Role::Destination, &script);
    let body = vec![7; HASH_INLINE_BYTES_MAX + 1];
    let hash = PayloadHash::of(&body);
    let large = request(Method::PUT, "/key").map(|_| whole(body.into()));
    let outgoing = {
        let (parts, body) = large.into_parts();
        let permit = egress.inner.policy.check(&parts.method, &parts.uri, &parts.headers);
        Outgoing::collect(permit.unwrap(), parts, body, &Budget::new()).await.unwrap()
    };
    assert_eq!(outgoing.hash().await.unwrap(), hash);
}

/// Which of the requests carried a checksum.
fn with_checksum(script: &Script) -> Vec<bool> {
    let seen = script.seen();
    let has = |request: &Request<Bytes>| request.headers().contains_key("x-amz-checksum-crc32c");
    seen.iter().map(has).collect()
}

#[tokio::test]
async fn a_write_carries_a_checksum_that_is_signed() {
    let script = Script::of([Reply::new(200), Reply::new(200)]);
    let egress = egress(Role::Destination, &script);
    egress.send(put(&[b"1234", b"56789"])).await.unwrap();
    egress.send(request(Method::HEAD, "/key")).await.unwrap();
    let seen = script.seen();
    assert_eq!(seen[0].headers()["x-amz-checksum-crc32c"], "4waSgw==");
    let authorization = seen[0].headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("x-amz-checksum-crc32c"), "{authorization}");
    assert_eq!(with_checksum(&script), [true, false]);
}

#[tokio::test]
async fn a_store_that_refuses_checksums_is_asked_without_and_remembered() {
    for refusal in [
        Reply::refusal(501, "NotImplemented"),
        Reply::refusal(400, "InvalidRequest"),
        Reply::refusal(400, "InvalidArgument"),
        Reply::new(400),
        Reply::new(501).data("no document"),
    ] {
        for judged in [Reply::new(200), Reply::refusal(412, "PreconditionFailed")] {
            let script = Script::of([refusal.clone(), judged.clone(), Reply::new(200)]);
            let egress = egress(Role::Destination, &script);
            let response = egress.send(put(&[b"x"])).await.unwrap();
            assert_eq!(response.status(), judged.status);
            egress.send(put(&[b"y"])).await.unwrap();
            assert_eq!(with_checksum(&script), [true, false, false]);
            assert_eq!(script.seen()[1].body(), "x", "the whole body again");
        }
    }
}

#[tokio::test]
async fn what_goes_on_without_a_checksum_was_not_about_it() {
    for (refusal, again) in [
        (Reply::refusal(501, "NotImplemented"), Reply::refusal(501, "NotImplemented")),
        (Reply::refusal(400, "InvalidRequest"), Reply::refusal(503, "SlowDown")),
    ] {
        let script = Script::of([refusal.clone(), again.clone(), Reply::new(200)]);
        let egress = egress(Role::Destination, &script);
        let response = egress.send(put(&[b"x"])).await.unwrap();
        assert_eq!(response.status(), again.status);
        egress.send(put(&[b"x"])).await.unwrap();
        assert_eq!(with_checksum(&script), [true, false, true], "not given up");
    }
    for refusal in [
        Reply::refusal(400, "BadDigest"),
        Reply::refusal(400, "EntityTooLarge"),
        Reply::refusal(403, "AccessDenied"),
        Reply::refusal(503, "SlowDown"),
    ] {
        let script = Script::of([refusal.clone()]);
        let response = egress(Role::Destination, &script).send(put(&[b"x"])).await;
        assert_eq!(response.unwrap().status(), refusal.status);
        assert_eq!(with_checksum(&script), [true], "asked once");
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_or_of_another_length_is_refused() {
    let script = Script::of([]);
    let egress = egress(Role::Destination, &script);
    for (length, wanted) in [("268435457", BODY_BYTES_MAX), ("6", 5), ("4", 5)] {
        let mut request = put(&[b"he", b"llo"]);
        request.headers_mut().insert("content-length", HeaderValue::from_static(length));
        let error = egress.send(request).await.unwrap_err();
        assert!(matches!(error, WasiError::HttpRequestBodySize(Some(size)) if size == wanted), "{length}: {error:?}");
    }
    let piece = Bytes::from(vec![0; 64 * 1024 * 1024]);
    let frames = stream::iter(vec![piece; 5]).map(|data| Ok(Frame::data(data)));
    let request = put(&[]).map(|_| StreamBody::new(frames).boxed_unsync());
    let error = egress.send(request).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpRequestBodySize(Some(BODY_BYTES_MAX))));
    assert_eq!(script.seen().len(), 0);
}

#[tokio::test]
async fn a_body_that_the_guest_drops_is_its_own_error() {
    let script = Script::of([]);
    let frames = stream::iter([Ok(Frame::data(Bytes::from_static(b"half"))), Err(WasiError::HttpProtocolError)]);
    let request = put(&[]).map(|_| StreamBody::new(frames).boxed_unsync());
    let error = egress(Role::Destination, &script).send(request).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpProtocolError));
    assert_eq!(script.seen().len(), 0);
}

#[tokio::test]
async fn what_is_not_permitted_never_leaves_and_says_why() {
    let script = Script::of([]);
    let egress = egress(Role::Source, &script);
    assert_eq!(last_denial(&egress), None);
    let error = egress.send(put(&[b"x"])).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpRequestDenied));
    assert_eq!(
        last_denial(&egress).unwrap(),
        "the request is not permitted: this side of a pipeline may not do this; \
         operation=`PutObject`"
    );
    let mut request = get("/key");
    request.headers_mut().insert("authorization", HeaderValue::from_static("mine"));
    let error = egress.send(request).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpRequestDenied));
    assert!(last_denial(&egress).unwrap().ends_with("name=`authorization`"));
    assert_eq!(script.seen().len(), 0);
    assert_eq!(egress.traffic().denied, 2);
    assert_eq!(egress.traffic().requests, 0);
}

/// Gives `key-1`, `key-2`, … or nothing.
#[derive(Debug, Clone)]
struct Rotating(Option<Arc<AtomicUsize>>);

impl Rotating {
    fn credentials() -> Credentials {
        Credentials::from_provider(Self(Some(Arc::default())), "test")
    }
}

impl ProvideCredentials for Rotating {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(match &self.0 {
            None => Err(CredentialsError::not_loaded("nothing here")),
            Some(count) => {
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                Ok(Keys::new(format!("key-{number}"), "s3cr3t", None, None, "test"))
            }
        })
    }
}

#[tokio::test]
async fn without_credentials_nothing_leaves_and_the_reason_is_kept() {
    let script = Script::of([]);
    let credentials = Credentials::from_provider(Rotating(None), "test");
    let egress = egress_with(Role::Source, &script, credentials);
    let error = egress.send(get("/key")).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpRequestDenied));
    let reason = last_denial(&egress).unwrap();
    assert!(reason.contains("origin=`test`") && reason.contains("nothing here"), "{reason}");
    assert_eq!(script.seen().len(), 0);
}

/// The key that signed a request.
fn signed_by(request: &Request<Bytes>) -> String {
    let authorization = request.headers()["authorization"].to_str().unwrap();
    let (_, rest) = authorization.split_once("Credential=").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn keys_that_have_ended_are_replaced_and_the_request_retried() {
    for (status, code) in [
        (400, "ExpiredToken"),
        (403, "ExpiredToken"),
        (403, "InvalidAccessKeyId"),
        // A token that has ended, on MinIO.
        (403, "InvalidTokenId"),
    ] {
        let script = Script::of([Reply::new(200), Reply::refusal(status, code), Reply::new(200), Reply::new(200)]);
        let egress = egress_with(Role::Source, &script, Rotating::credentials());
        egress.send(get("/a")).await.unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(egress.send(get("/b")).await.unwrap().status(), 200, "{code}");
        egress.send(get("/c")).await.unwrap();
        let keys: Vec<String> = script.seen().iter().map(signed_by).collect();
        assert_eq!(keys, ["key-1", "key-1", "key-2", "key-2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ended_token_on_a_head_has_no_code_and_is_replaced_too() {
    let script = Script::of([Reply::new(200), Reply::new(400), Reply::new(200)]);
    let egress = egress_with(Role::Source, &script, Rotating::credentials());
    egress.send(get("/a")).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(egress.send(request(Method::HEAD, "")).await.unwrap().status(), 200);
    assert_eq!(signed_by(&script.seen()[2]), "key-2");
}

#[tokio::test(start_paused = true)]
async fn keys_are_replaced_once_and_not_for_other_refusals() {
    let expired = || Reply::refusal(400, "ExpiredToken");
    let script = Script::of([Reply::new(200), expired(), expired()]);
    let egress = egress_with(Role::Source, &script, Rotating::credentials());
    egress.send(get("/a")).await.unwrap();
    assert!(!egress.awaits_keys());
    tokio::time::advance(Duration::from_secs(60)).await;
    let response = egress.send(get("/a")).await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(!egress.awaits_keys(), "others were there, and were refused");
    assert!(read(response).await.unwrap().ends_with(b"<Code>ExpiredToken</Code></Error>"));

    let region = Reply::refusal(400, "AuthorizationHeaderMalformed").header("x-amz-bucket-region", "eu-west-1");
    let head = Reply::new(400).header("x-amz-bucket-region", "eu-west-1");
    let script = Script::of([region, head, Reply::refusal(403, "AccessDenied")]);
    let egress = egress_with(Role::Source, &script, Rotating::credentials());
    let response = egress.send(get("/a")).await.unwrap();
    assert_eq!(response.headers()["x-amz-bucket-region"], "eu-west-1");
    tokio::time::advance(Duration::from_secs(60)).await;
    egress.send(request(Method::HEAD, "")).await.unwrap();
    egress.send(get("/a")).await.unwrap();
    assert_eq!(script.seen().len(), 3);
}

#[tokio::test]
async fn fixed_keys_are_never_asked_for_again() {
    let script = Script::of([Reply::refusal(400, "ExpiredToken")]);
    let response = egress(Role::Source, &script).send(get("/a")).await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn keys_that_have_ended_and_have_no_others_yet_are_waited_for() {
    let expired = || Reply::refusal(400, "ExpiredToken");
    let script = Script::of([expired(), expired(), Reply::new(200)]);
    // They were fetched just now: there can be no others yet.
    let egress = egress_with(Role::Source, &script, Rotating::credentials());
    let response = egress.send(get("/a")).await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(egress.awaits_keys());
    // Those of the settings never change.
    let fixed = self::egress(Role::Source, &script);
    fixed.send(get("/a")).await.unwrap();
    assert!(!fixed.awaits_keys());
    assert_eq!(egress.send(get("/a")).await.unwrap().status(), 200);
    assert!(!egress.awaits_keys());
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_s3_s() {
    for (ahead, date) in [(true, "20300101T010000Z"), (false, "20291231T230000Z")] {
        let hour = Duration::from_secs(3600);
        let theirs = if ahead { noon() + hour } else { noon() - hour };
        let skewed = Reply::refusal(403, "RequestTimeTooSkewed").header("date", http_date(theirs));
        let script = Script::of([skewed, Reply::new(200), Reply::new(200)]);
        let egress = egress(Role::Source, &script);
        assert_eq!(egress.send(get("/a")).await.unwrap().status(), 200);
        egress.send(get("/b")).await.unwrap();
        let dates: Vec<_> = script.seen().iter().map(|seen| seen.headers()["x-amz-date"].clone()).collect();
        assert_eq!(dates, ["20300101T000000Z", date, date]);
    }
}

#[tokio::test]
async fn a_refusal_by_a_server_of_another_time_is_retried_once() {
    let date = || http_date(noon() + Duration::from_secs(3600));
    for (method, refusal) in [(Method::HEAD, Reply::new(403)), (Method::GET, Reply::refusal(403, "AccessDenied"))] {
        let refusal = refusal.header("date", date());
        let script = Script::of([refusal.clone(), refusal.clone(), refusal]);
        let egress = egress(Role::Destination, &script);
        for _ in 0..2 {
            let response = egress.send(request(method.clone(), "/a")).await;
            assert_eq!(response.unwrap().status(), 403);
        }
        let seen = script.seen();
        assert_eq!(seen.len(), 3, "the time is learnt once");
        assert_eq!(seen[1].headers()["x-amz-date"], "20300101T010000Z");
    }
}

#[tokio::test]
async fn a_request_can_be_sent_from_any_thread() {
    let script = Script::of([Reply::new(200)]);
    let egress = egress(Role::Source, &script);
    // The runtime of WASI wants futures that are `Send` and own what they use.
    let sent = tokio::spawn(async move { egress.send(get("/a")).await });
    assert_eq!(sent.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_large_upload_has_more_time() {
    let script = Script::of([]);
    let body = Bytes::from(vec![0; 64 * 1024 * 1024]);
    let upload = put(&[]).map(|_| whole(body));
    let started = tokio::time::Instant::now();
    let error = egress(Role::Destination, &script).send(upload).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpResponseTimeout));
    assert_eq!(started.elapsed().as_secs(), ANSWER_TIMEOUT.as_secs() + 256);
}

#[tokio::test]
async fn a_clock_is_corrected_once_and_only_where_time_explains_it() {
    let hour = Duration::from_secs(3600);
    let skewed = || Reply::refusal(403, "RequestTimeTooSkewed").header("date", http_date(noon() + hour));
    let script = Script::of([skewed(), skewed()]);
    let response = egress(Role::Source, &script).send(get("/a")).await.unwrap();
    assert_eq!(response.status(), 403);

    for reply in [
        Reply::refusal(403, "RequestTimeTooSkewed"),
        Reply::refusal(403, "RequestTimeTooSkewed").header("date", "yesterday"),
        Reply::new(403).header("date", http_date(noon() + Duration::from_secs(60))),
        Reply::refusal(400, "MalformedXML").header("date", http_date(noon() + hour)),
    ] {
        let script = Script::of([reply]);
        egress(Role::Source, &script).send(get("/a")).await.unwrap();
        assert_eq!(script.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_begins_is_given_up() {
    let script = Script::of([]);
    let egress = egress(Role::Source, &script);
    let started = tokio::time::Instant::now();
    let error = egress.send(get("/a")).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpResponseTimeout));
    assert_eq!(started.elapsed().as_secs(), ANSWER_TIMEOUT.as_secs());
    assert_eq!(egress.traffic().errors, 1);
}

#[tokio::test]
async fn redirects_are_answers() {
    let script = Script::of([Reply::new(301)
        .header("location", "http://elsewhere/")
        .header("x-amz-bucket-region", "eu-west-1")]);
    let response = egress(Role::Source, &script).send(get("?list-type=2")).await.unwrap();
    assert_eq!(response.status(), 301);
    assert_eq!(response.headers()["x-amz-bucket-region"], "eu-west-1");
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn failures_of_the_connection_keep_their_names() {
    type Case = (fn() -> upstream::Error, &'static str);
    let cases: [Case; 11] = [
        (|| upstream::Error::Dns("x".into()), "DnsError"),
        (|| upstream::Error::Refused("x".into()), "ConnectionRefused"),
        (|| upstream::Error::ConnectTimeout("x".into()), "ConnectionTimeout"),
        (|| upstream::Error::Unreachable("x".into()), "DestinationIpUnroutable"),
        (|| upstream::Error::Exhausted("x".into()), "ConnectionLimitReached"),
        (|| upstream::Error::Proxy { proxy: "http://p".to_owned(), source: "x".into() }, "DestinationUnavailable"),
        (|| upstream::Error::Certificate(Distrust::Other("x")), "TlsCertificateError"),
        (|| upstream::Error::Alert { alert: 40, source: "x".into() }, "TlsAlertReceived"),
        (|| upstream::Error::Tls("x".into()), "TlsProtocolError"),
        (|| upstream::Error::Terminated("x".into()), "ConnectionTerminated"),
        (|| upstream::Error::Protocol("x".into()), "HttpProtocolError"),
    ];
    for (error, name) in cases {
        let script = Script::new([Err(error)]);
        let egress = egress(Role::Source, &script);
        let got = egress.send(get("/a")).await.unwrap_err();
        assert!(format!("{got:?}").starts_with(name), "{name}: {got:?}");
        assert!(last_failure(&egress).unwrap().ends_with(": x"));
        assert_eq!(last_denial(&egress), None);
    }
}

#[tokio::test]
async fn counters_tell_operations_and_errors_apart() {
    let script =
        Script::of([Reply::new(200).header("content-length", "3").data("abc"), Reply::new(404), Reply::new(200)]);
    let egress = egress(Role::Source, &script);
    egress.send(get("/a")).await.unwrap();
    egress.send(get("/b")).await.unwrap();
    egress.send(get("?list-type=2")).await.unwrap();
    let counters = egress.traffic();
    assert_eq!((counters.requests, counters.errors, counters.bytes_in), (3, 1, 3));
    let objects = counters.by_operation[&S3Operation::GetObject];
    assert_eq!((objects.requests, objects.errors), (2, 1));
    assert_eq!(counters.by_operation[&S3Operation::ListObjectsV2].errors, 0);
    assert!(!counters.by_operation.contains_key(&S3Operation::PutObject));
}

#[test]
fn debug_of_an_egress_shows_no_keys() {
    let egress = egress(Role::Source, &Script::of([]));
    let text = format!("{egress:?}");
    for secret in ["key-id", "s3cr3t", "t0ken"] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// A PUT that would write over what is there.
pub(super) fn overwrite() -> Request<WasiBody> {
    let mut request = put(&[b"hello"]);
    request.headers_mut().remove("if-none-match");
    request
}

#[tokio::test]
async fn a_write_is_conditional_until_the_store_refuses_that() {
    for (status, document, is_refusal) in [
        (200, "", false),
        (412, "<Error><Code>PreconditionFailed</Code></Error>", false),
        (403, "<Error><Code>AccessDenied</Code></Error>", false),
        (400, "<Error><Code>InvalidArgument</Code></Error>", false),
        (503, "<Error><Code>SlowDown</Code></Error>", false),
        (501, "", true),
        (400, "<Error><Code>NotImplemented</Code></Error>", true),
        (400, "<Error><Message>If-None-Match is unknown</Message></Error>", true),
    ] {
        // It is retried where its checksum might be at fault.
        let reply = Reply::new(status).data(document);
        let script = Script::of([reply.clone(), reply, Reply::new(200), Reply::new(200)]);
        let egress = egress(Role::Destination, &script);
        let denied = egress.send(overwrite()).await.unwrap_err();
        assert!(matches!(denied, WasiError::HttpRequestDenied), "{denied:?}");
        assert!(last_denial(&egress).unwrap().contains("if-none-match: *"));
        let answer = egress.send(put(&[b"hello"])).await.unwrap();
        assert_eq!(answer.status(), status);
        let again = egress.send(overwrite()).await;
        assert_eq!(again.is_ok(), is_refusal, "{status} {document}");
        // Of objects in parts the store has said nothing yet.
        let completion = request(Method::POST, "/key?uploadId=u");
        assert!(matches!(egress.send(completion).await, Err(WasiError::HttpRequestDenied)));
    }
}
