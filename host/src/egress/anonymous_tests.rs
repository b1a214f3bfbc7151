//! Sends requests for which there are no keys, and shall be none. Leaves signed ones to `tests`.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};

use super::body::whole;
use super::tests::{Reply, Script, egress_at, get, put, read, request};
use crate::credentials::Credentials;
use crate::role::Role;

const ENDPOINT: &str = "http://s3.test:9000";

#[tokio::test]
async fn nothing_is_added_to_a_request_that_goes_unsigned() {
    let script = Script::of([Reply::new(200), Reply::new(200)]);
    let egress = egress_at(ENDPOINT, Role::Destination, &script, Credentials::anonymous());
    assert_eq!(egress.send(get("/key")).await.unwrap().status(), 200);
    assert_eq!(egress.send(put(&[b"body"])).await.unwrap().status(), 200);
    for request in script.seen() {
        for name in ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"] {
            assert!(!request.headers().contains_key(name), "{name}");
        }
        assert_eq!(request.headers()["host"], "s3.test:9000");
    }
    let sent = script.seen();
    assert_eq!(sent[1].body(), &Bytes::from_static(b"body"));
    assert!(sent[1].headers().contains_key("x-amz-checksum-crc32c"), "checksums need no keys");
}

#[tokio::test]
async fn what_is_signed_has_the_path_of_the_endpoint_as_it_is_sent() {
    let endpoint = "https://gw.test/s3";
    let of = async |credentials| {
        let script = Script::of([Reply::new(200)]);
        let egress = egress_at(endpoint, Role::Source, &script, credentials);
        let get = http::Request::builder().uri(format!("{endpoint}/bucket/a%20b")).body(whole(Bytes::new())).unwrap();
        assert_eq!(egress.send(get).await.unwrap().status(), 200);
        script.seen().remove(0)
    };
    let plain = of(Credentials::anonymous()).await;
    let signed = of(Credentials::from_settings("key-id", "s3cr3t", None)).await;
    for request in [&plain, &signed] {
        assert_eq!(request.uri().to_string(), "https://gw.test/s3/bucket/a%20b");
    }
    // The same by hand: what the signer makes of the address that is sent.
    let mut headers = signed.headers().clone();
    let (keys, time) =
        (aws_credential_types::Credentials::new("key-id", "s3cr3t", None, None, "test"), super::tests::noon());
    let (signer, hash) = (super::Signer::new("us-east-1"), super::sign::PayloadHash::of(b""));
    signer.sign(&Method::GET, signed.uri(), &mut headers, &hash, Some(&keys), time).unwrap();
    assert_eq!(headers["authorization"], signed.headers()["authorization"]);
}

#[tokio::test]
async fn a_large_body_is_sent_once_whatever_the_store_says_of_its_checksum() {
    let endpoint = "https://s3.test";
    let script = Script::of([Reply::new(200)]);
    let egress = egress_at(endpoint, Role::Destination, &script, Credentials::anonymous());
    let put =
        http::Request::builder().method(Method::PUT).uri(format!("{endpoint}/bucket/key")).header("if-none-match", "*");
    let put = put.body(whole(Bytes::from(vec![7; super::request::HASHED_BYTES_MAX + 1]))).unwrap();
    assert_eq!(egress.send(put).await.unwrap().status(), 200);
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_handed_on_and_neither_clock_nor_keys_are_blamed() {
    let refusals = [
        Reply::refusal(403, "AccessDenied").header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        Reply::refusal(403, "RequestTimeTooSkewed").header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        Reply::refusal(400, "ExpiredToken"),
    ];
    let script = Script::of(refusals);
    let egress = egress_at(ENDPOINT, Role::Source, &script, Credentials::anonymous());
    for (status, code) in [(403, "AccessDenied"), (403, "RequestTimeTooSkewed"), (400, "ExpiredToken")] {
        let answer = egress.send(get("/key")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::from_u16(status).unwrap());
        let body = read(answer).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains(code), "{body:?}");
    }
    assert_eq!(script.seen().len(), 3, "each once");
    assert!(!egress.awaits_keys());
}

#[tokio::test]
async fn a_component_that_signs_by_itself_is_denied_all_the_same() {
    let script = Script::of([]);
    let egress = egress_at(ENDPOINT, Role::Source, &script, Credentials::anonymous());
    let mut forged = request(Method::GET, "/key");
    forged.headers_mut().insert("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=a"));
    assert!(egress.send(forged).await.is_err());
    assert!(script.seen().is_empty());
}
