//! Sends large bodies over TLS, to stores that take them without a signed hash and to stores that don't. Leaves small ones, and
//! checksums, to `tests`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};

use super::body::whole;
use super::request::HASHED_BYTES_MAX;
use super::sign::PayloadHash;
use super::tests::{Reply, Script, egress_at};
use super::{Egress, S3Operation, checksum};
use crate::credentials::Credentials;
use crate::role::Role;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

fn egress(endpoint: &str, script: &Arc<Script>) -> Egress {
    egress_at(endpoint, Role::Destination, script, Credentials::from_settings("key-id", "s3cr3t", None))
}

async fn put(egress: &Egress, endpoint: &str, bytes: usize) -> StatusCode {
    let request =
        Request::builder().method(Method::PUT).uri(format!("{endpoint}/bucket/key")).header("if-none-match", "*");
    let request = request.body(whole(Bytes::from(vec![7; bytes]))).unwrap();
    egress.send(request).await.unwrap().status()
}

/// 200 of a store that verified the checksum of so many bytes.
fn verified(bytes: usize) -> Reply {
    let (name, sum) = checksum::of(S3Operation::PutObject, &HeaderMap::new(), &vec![7; bytes]).unwrap();
    assert_eq!(name.as_str(), "x-amz-checksum-crc32c");
    Reply::new(200).header("x-amz-checksum-crc32c", sum.to_str().unwrap())
}

const LARGE: usize = HASHED_BYTES_MAX + 1;

/// What each request says of its body's hash, and whether it carries a checksum.
fn said(script: &Script) -> Vec<(bool, bool)> {
    let said = |request: &Request<Bytes>| {
        let headers = request.headers();
        let has_checksum = headers.contains_key("x-amz-checksum-crc32c");
        let authorization = headers["authorization"].to_str().unwrap();
        assert_eq!(authorization.contains("x-amz-checksum-crc32c"), has_checksum, "it is signed");
        let hash = headers["x-amz-content-sha256"].to_str().unwrap();
        let is_unsigned = hash == UNSIGNED;
        assert!(is_unsigned || PayloadHash::of(request.body()).matches(hash));
        (!is_unsigned, has_checksum)
    };
    script.seen().iter().map(said).collect()
}

#[tokio::test]
async fn a_large_body_over_tls_is_vouched_for_by_a_checksum_that_the_store_verifies() {
    for (endpoint, bytes, is_hashed) in [
        ("https://s3.test", LARGE, false),
        ("https://s3.test", HASHED_BYTES_MAX, true),
        ("http://s3.test", LARGE, true),
    ] {
        let script = Script::of([verified(bytes), verified(bytes), verified(bytes)]);
        let egress = egress(endpoint, &script);
        for _ in 0..3 {
            assert_eq!(put(&egress, endpoint, bytes).await, 200);
        }
        let later = (is_hashed, true);
        assert_eq!(said(&script), [(true, true), later, later], "{endpoint} {bytes}");
    }
}

#[tokio::test]
async fn a_store_that_passes_over_checksums_gets_hashes() {
    let endpoint = "https://s3.test";
    let other = || Reply::new(200).header("x-amz-checksum-crc32c", "AAAAAA==");
    let script = Script::of([Reply::new(200), other(), verified(LARGE), Reply::new(200), verified(LARGE)]);
    let egress = egress(endpoint, &script);
    for _ in 0..5 {
        assert_eq!(put(&egress, endpoint, LARGE).await, 200);
    }
    // Only what follows the third answer goes without; it was not verified, so that the next one has its hash again.
    assert_eq!(said(&script), [(true, true), (true, true), (true, true), (false, true), (true, true)]);
}

#[tokio::test]
async fn a_store_that_wants_the_hash_gets_it_and_that_is_remembered() {
    let endpoint = "https://s3.test";
    for refusal in [
        Reply::refusal(403, "AccessDenied"),
        Reply::refusal(403, "SignatureDoesNotMatch"),
        Reply::refusal(400, "XAmzContentSHA256Mismatch"),
        Reply::refusal(501, "NotImplemented"),
        Reply::new(400),
    ] {
        let script = Script::of([verified(LARGE), refusal, verified(LARGE), verified(LARGE)]);
        let egress = egress(endpoint, &script);
        for _ in 0..3 {
            assert_eq!(put(&egress, endpoint, LARGE).await, 200);
        }
        assert_eq!(said(&script), [(true, true), (false, true), (true, true), (true, true)]);
    }
}

#[tokio::test]
async fn what_goes_without_a_checksum_has_its_hash() {
    let endpoint = "https://s3.test";
    let refusal = || Reply::refusal(400, "InvalidRequest");
    let script = Script::of([verified(LARGE), refusal(), refusal(), Reply::new(200), Reply::new(200)]);
    let egress = egress(endpoint, &script);
    for _ in 0..3 {
        assert_eq!(put(&egress, endpoint, LARGE).await, 200);
    }
    assert_eq!(said(&script), [(true, true), (false, true), (true, true), (true, false), (true, false)]);
}

#[tokio::test]
async fn a_denial_of_something_else_stays_one_and_nothing_is_remembered() {
    let endpoint = "https://s3.test";
    let denied = || Reply::refusal(403, "AccessDenied");
    let script = Script::of([verified(LARGE), denied(), denied(), verified(LARGE)]);
    let egress = egress(endpoint, &script);
    for status in [200, 403, 200] {
        assert_eq!(put(&egress, endpoint, LARGE).await, status);
    }
    assert_eq!(said(&script), [(true, true), (false, true), (true, true), (false, true)]);
}

/// What an upload of 1 GiB costs in hashing: run with `--ignored --nocapture`.
#[test]
#[ignore = "it measures"]
fn what_a_hash_and_a_checksum_cost() {
    let body = vec![7; 64 << 20];
    let headers = HeaderMap::new();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        let _ = std::hint::black_box(PayloadHash::of(&body));
        let hash = start.elapsed();
        let start = std::time::Instant::now();
        let _ = std::hint::black_box(checksum::of(S3Operation::PutObject, &headers, &body));
        eprintln!("per GiB: hash {:?}, checksum {:?}", hash * 16, start.elapsed() * 16);
    }
}
