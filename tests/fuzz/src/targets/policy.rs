//! Owns what must hold of requests that a component makes: what may leave is of its bucket, its prefix and its role, and all that
//! is sent is what is signed.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;
use s3_connector::config::{Storage, Writes};
use s3_connector_host::Role;
use s3_connector_host::egress::policy::Addressing;
use s3_connector_host::egress::sign::PayloadHash;
use s3_connector_host::egress::{Policy, PolicyInput, Signer};

use super::signature;
use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "GET",
    "HEAD",
    "PUT",
    "POST",
    "DELETE",
    "http://store:9000",
    "/photos",
    "/photos/2026/",
    "2026/",
    "..",
    "%2e%2e",
    "%2F",
    "%00",
    "+",
    "&",
    "?",
    "=",
    "#",
    "@",
    "list-type=2",
    "versions=",
    "prefix=2026/",
    "prefix=",
    "uploads=",
    "uploadId=1",
    "partNumber=1",
    "versionId=1",
    "x-amz-copy-source: /other/key",
    "if-none-match: *",
    "content-length: 5",
    "range: bytes=0-9",
    "host: store:9000",
    "x-amz-meta-a: b",
    "authorization: a",
    "x-amz-date: b",
    "\n",
    "http://photos.store:9000",
    "store:80",
    "x-amz-checksum-crc32: AAAAAA==",
    "x-amz-acl: public-read",
];

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const PREFIX: &str = "2026/";

/// The headers that signing adds.
const ADDED: [&str; 5] = ["host", "x-amz-date", "x-amz-content-sha256", "authorization", "x-amz-security-token"];

/// A request: a line with its method, one with its address, and one for each header.
fn request(text: &str) -> Option<(Method, Uri, HeaderMap)> {
    let mut lines = text.split('\n');
    let method = lines.next()?.parse().ok()?;
    let uri = lines.next()?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some((method, uri, headers))
}

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some((method, uri, headers)) = request(text) else { return };
    let sides = [
        (Role::Source, Writes::Batches),
        (Role::Destination, Writes::Batches),
        (Role::Destination, Writes::Objects { deletes: false }),
        (Role::Destination, Writes::Objects { deletes: true }),
    ];
    for addressing in [Addressing::Path, Addressing::VirtualHost] {
        for (role, writes) in sides {
            check(addressing, role, writes, &method, &uri, &headers);
        }
    }
}

fn check(addressing: Addressing, role: Role, writes: Writes, method: &Method, uri: &Uri, headers: &HeaderMap) {
    let is_by_path = addressing == Addressing::Path;
    let authority = if is_by_path { "store:9000" } else { "photos.store:9000" };
    let policy = Policy::new(PolicyInput {
        role,
        scheme: Scheme::HTTP,
        authority: authority.to_owned(),
        addressing,
        base_path: String::new(),
        bucket: "photos".to_owned(),
        prefix: PREFIX.to_owned(),
        writes,
        requester_pays: false,
        storage: Storage::default(),
    });
    let policy = policy.expect("the input is an address");
    let permit = match policy.check(method, uri, headers) {
        Ok(permit) => permit,
        Err(denial) => return note(&format!("{denial:?}")),
    };
    note(permit.operation.name());

    // 1. Where it goes, and what it does there.
    let sent = &permit.uri;
    assert_eq!((sent.scheme_str(), sent.authority().map(|found| found.as_str())), (Some("http"), Some(authority)));
    assert!(permit.operation.is_permitted(role, writes));
    assert!(role != Role::Source || method == Method::GET || method == Method::HEAD, "{method} {sent}");
    assert!(
        method != Method::DELETE
            || sent.query().is_some_and(|query| query.contains("uploadId="))
            || matches!(writes, Writes::Objects { deletes: true })
    );
    let root = if is_by_path { "/photos" } else { "" };
    let rest = sent.path().strip_prefix(root).expect("the bucket's name is plain");
    let key = percent_decode_str(rest.strip_prefix('/').unwrap_or_default()).collect::<Vec<u8>>();
    assert!(rest.is_empty() || rest.starts_with('/'), "{sent}");
    assert!(key.is_empty() || key.starts_with(PREFIX.as_bytes()), "{sent} is not below the prefix");
    let names: Vec<_> = sent.query().into_iter().flat_map(|query| query.split('&')).collect();
    let lists = names.iter().any(|pair| pair.starts_with("list-type=") || pair.starts_with("versions"));
    assert!(
        !key.is_empty() || !lists || names.iter().any(|pair| pair.starts_with("prefix=2026%2F")),
        "{sent} lists all"
    );

    // 2. What is sent says the same to each reader, also a second time.
    let again = policy.check(method, sent, headers).expect("what was permitted is");
    assert_eq!((again.uri, again.operation), (sent.clone(), permit.operation));
    sign(method, sent, headers);
}

/// What leaves is all signed, and a server computes the same signature of what it gets.
fn sign(method: &Method, uri: &Uri, headers: &HeaderMap) {
    let keys = Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET, Some("token".to_owned()), None, "fuzz");
    let mut signed = headers.clone();
    let time = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let hash = PayloadHash::of(b"payload");
    Signer::new("eu-west-1")
        .sign(method, uri, &mut signed, &hash, Some(&keys), time)
        .expect("what is permitted can be signed");
    let covered = signature::verify(method, uri, &signed, SECRET, "eu-west-1");
    for name in signed.keys().filter(|name| *name != "authorization") {
        assert!(covered.iter().any(|known| name.as_str() == known), "{name} goes unsigned");
    }
    for name in ADDED {
        assert_eq!(signed.get_all(name).iter().count(), 1, "{name}");
    }
}
