//! Owns the tests of signatures, sessions, denials, regions, hosts and hashes over HTTP.

use std::time::{Duration, SystemTime};

use http::Method;

use crate::client::{Call, SigningClient, collect, get, put, server_with};
use embedded_s3::{AccessKey, Clock, EmbeddedS3, Filter, Options, S3Operation, Versioning};

fn list() -> Call {
    get("bkt", "").query("list-type", "2")
}

#[tokio::test]
async fn wrong_keys_are_told_apart() {
    let (server, mut client) = server_with(Options::default(), Versioning::Off).await;
    client.secret_key = "wrong".to_owned();
    assert_eq!(client.send(list()).await.code(), (403, "SignatureDoesNotMatch".to_owned()));
    let head = client.send(Call::new(Method::HEAD, "bkt", "")).await;
    assert_eq!((head.status, head.text()), (403, ""));
    assert_eq!(client.send(put("bkt", "k", "x")).await.status, 403);
    client.access_key = "nobody".to_owned();
    assert_eq!(client.send(list()).await.code(), (403, "InvalidAccessKeyId".to_owned()));
    assert!(server.store().list("bkt", "").unwrap().is_empty());
    assert!(server.requests().iter().all(|request| request.access_key.is_none()));
}

#[tokio::test]
async fn unsigned_requests_and_headers_are_denied() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let call = put("bkt", "k", "x").unsigned_header("x-amz-meta-a", "1");
    assert_eq!(client.send(call).await.code(), (403, "AccessDenied".to_owned()));
    let mut request = client.sign(&list());
    request.headers_mut().remove("authorization");
    let (status, body) = collect(server.answer(request).await.unwrap()).await;
    assert_eq!(status, 403);
    assert!(std::str::from_utf8(&body).unwrap().contains("<Code>AccessDenied</Code>"));
}

#[tokio::test]
async fn a_public_bucket_takes_unsigned_requests_and_one_whose_requesters_pay_takes_none() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    server.store().put("bkt", "k", "x").unwrap();
    let unsigned = || {
        let mut request = client.sign(&get("bkt", "k"));
        for name in ["authorization", "x-amz-date", "x-amz-content-sha256"] {
            request.headers_mut().remove(name);
        }
        server.answer(request)
    };
    assert_eq!(unsigned().await.unwrap().status(), 403);
    server.access().open_to_everybody();
    assert_eq!(unsigned().await.unwrap().status(), 200);
    assert_eq!(client.send(get("bkt", "k")).await.status, 200);
    server.access().charge_requesters();
    assert_eq!(unsigned().await.unwrap().status(), 403);
    assert_eq!(client.send(get("bkt", "k")).await.code(), (403, "AccessDenied".to_owned()));
    assert_eq!(client.send(get("bkt", "k").header("x-amz-request-payer", "requester")).await.status, 200);
}

#[tokio::test]
async fn session_token_must_be_the_right_one() {
    let keys = vec![AccessKey::new("temporary", "secret").session_token("token")];
    let (server, mut client) = server_with(Options { keys, ..Options::default() }, Versioning::Off).await;
    client.access_key = "temporary".to_owned();
    client.secret_key = "secret".to_owned();
    assert_eq!(client.send(list()).await.code(), (400, "InvalidToken".to_owned()));
    client.session_token = Some("other".to_owned());
    assert_eq!(client.send(list()).await.code(), (400, "InvalidToken".to_owned()));
    client.session_token = Some("token".to_owned());
    assert_eq!(client.send(list()).await.status, 200);
    server.access().expire_key("temporary");
    assert_eq!(client.send(list()).await.code(), (400, "ExpiredToken".to_owned()));
    server.access().add_key(AccessKey::new("temporary", "secret").session_token("token"));
    assert_eq!(client.send(list()).await.status, 200);
    server.access().remove_key("temporary");
    assert_eq!(client.send(list()).await.code(), (403, "InvalidAccessKeyId".to_owned()));
}

#[tokio::test]
async fn denials_go_by_operation_and_key() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    server.store().put("bkt", "secret/k", "x").unwrap();
    server.store().put("bkt", "k", "x").unwrap();
    server.access().deny(Filter::from(S3Operation::GetObject).key_prefix("secret/"));
    server.access().deny(Filter::from(S3Operation::ListObjectVersions));
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(client.send(get("bkt", "secret/k")).await.code(), denied);
    assert_eq!(client.send(get("bkt", "k")).await.status, 200);
    assert_eq!(client.send(list()).await.status, 200);
    assert_eq!(client.send(get("bkt", "").query("versions", "")).await.code(), denied);
    server.access().allow_all();
    assert_eq!(client.send(get("bkt", "secret/k")).await.status, 200);
}

#[tokio::test]
async fn request_signed_for_another_region_is_told_the_right_one() {
    let options = Options { region: Some("eu-west-1".to_owned()), ..Options::default() };
    let (_server, mut client) = server_with(options, Versioning::Off).await;
    let answer = client.send(list()).await;
    assert_eq!(answer.code(), (400, "AuthorizationHeaderMalformed".to_owned()));
    assert_eq!(answer.one("Region"), "eu-west-1");
    assert_eq!(answer.header("x-amz-bucket-region"), "eu-west-1");
    client.region = "eu-west-1".to_owned();
    assert_eq!(client.send(list()).await.status, 200);
    let location = client.send(get("bkt", "").query("location", "")).await;
    assert!(location.text().contains(">eu-west-1<"), "{}", location.text());
}

#[tokio::test]
async fn time_of_signing_is_held_against_the_clock() {
    let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let options = Options { clock: clock.clone(), ..Options::default() };
    let (_server, mut client) = server_with(options, Versioning::Off).await;
    assert_eq!(client.send(list()).await.code(), (403, "RequestTimeTooSkewed".to_owned()));
    for (skew, status) in [(14 * 60, 200), (16 * 60, 403)] {
        client.time = Some(clock.now() - Duration::from_secs(skew));
        assert_eq!(client.send(list()).await.status, status);
        client.time = Some(clock.now() + Duration::from_secs(skew));
        assert_eq!(client.send(list()).await.status, status);
    }
}

#[tokio::test]
async fn bucket_is_found_in_the_host() {
    let options = Options { domain: Some("localhost".to_owned()), ..Options::default() };
    let (server, mut client) = server_with(options, Versioning::Off).await;
    server.store().put("bkt", "x/k", "found").unwrap();
    assert_eq!(client.send(get("bkt", "x/k")).await.text(), "found");
    let port = server.address().unwrap().port();
    client.host = format!("bkt.localhost:{port}");
    assert_eq!(client.send(get("x", "k")).await.text(), "found");
    assert_eq!(client.send(get("bkt", "x/k")).await.status, 404);
    client.host = format!("localhost:{port}");
    assert_eq!(client.send(get("bkt", "x/k")).await.text(), "found");
}

#[tokio::test]
async fn hash_of_the_body_is_checked_unless_unsigned() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let wrong = "0".repeat(64);
    for call in [put("bkt", "k", "x"), put("bkt", "k", ""), get("bkt", "k")] {
        let answer = client.send(call.header("x-amz-content-sha256", &wrong)).await;
        assert_eq!(answer.code(), (400, "XAmzContentSHA256Mismatch".to_owned()));
    }
    let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let call = put("bkt", "", body).query("versioning", "");
    let answer = client.send(call.header("x-amz-content-sha256", &wrong)).await;
    assert_eq!(answer.code(), (400, "XAmzContentSHA256Mismatch".to_owned()));
    assert!(server.store().list("bkt", "").unwrap().is_empty());
    let call = put("bkt", "k", "x").header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(client.send(call).await.status, 200);
    let call = put("bkt", "k", "x").header("content-md5", "XUFAKrxLKna5cZ2REBfFkg==");
    assert_eq!(client.send(call).await.code(), (400, "BadDigest".to_owned()));
    let call = put("bkt", "k", "x").header("x-amz-checksum-crc32", "AAAAAA==");
    assert_eq!(client.send(call).await.code(), (400, "BadDigest".to_owned()));
}

#[tokio::test]
async fn log_shows_what_was_sent_and_answered() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    client.send(put("bkt", "k", "x").header("if-none-match", "*")).await;
    client.send(get("bkt", "").query("versions", "").query("prefix", "none")).await;
    client.send(get("bkt", "none")).await;
    let requests = server.requests();
    let seen = requests.iter().map(|request| (request.operation, request.status));
    let expected = [
        (S3Operation::PutObject, Some(200)),
        (S3Operation::ListObjectVersions, Some(200)),
        (S3Operation::GetObject, Some(404)),
    ];
    assert!(seen.eq(expected));
    assert_eq!(requests[0].header("if-none-match"), Some("*"));
    assert_eq!(requests[0].access_key.as_deref(), Some(embedded_s3::ACCESS_KEY));
    assert_eq!(requests[1].query, "versions=&prefix=none");
    assert_eq!((requests[2].bucket.as_deref(), requests[2].key.as_deref()), (Some("bkt"), Some("none")));
    assert_eq!(server.requests_count(S3Operation::GetObject), 1);
    server.clear_requests();
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn server_without_a_socket_answers_in_process() {
    let server = EmbeddedS3::start(Options::default()).await.unwrap();
    let client = SigningClient::new(&server);
    let unbound = EmbeddedS3::unbound(Options::default());
    unbound.store().create_bucket("bkt").unwrap();
    unbound.store().put("bkt", "k", "x").unwrap();
    let answer = unbound.answer(client.sign(&get("bkt", "k"))).await.unwrap();
    let (status, body) = collect(answer).await;
    assert_eq!((status.as_u16(), body.as_ref()), (200, b"x".as_slice()));
    assert_eq!(unbound.endpoint(), "");
}

#[tokio::test]
async fn dropped_server_closes_its_port_and_connections() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    assert_eq!(client.send(list()).await.status, 200);
    drop(server);
    // The task that owns the connections ends when the runtime gets to it.
    while client.try_send(list()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
