//! Answers that repeat what signed the request, through an egress. Leaves spellings of secrets to `redaction`.

use http::HeaderValue;

use super::tests::{Reply, Script, egress, get, last_denial, overwrite, put, read, request};
use super::*;
use crate::role::Role;

/// The token of the egress of tests.
const TOKEN: &str = "t0ken";
/// The id of its key.
const KEY_ID: &str = "key-id";

/// A document of S3's that repeats the token, the id and the canonical request.
fn echo() -> String {
    let hex: Vec<_> = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "<Error><Code>InvalidToken</Code><Token-0>{TOKEN}</Token-0><AWSAccessKeyId>{KEY_ID}</AWSAccessKeyId>\
         <CanonicalRequest>x-amz-security-token:{TOKEN}\n</CanonicalRequest>\
         <CanonicalRequestBytes>3a {} 0a</CanonicalRequestBytes></Error>",
        hex.join(" ")
    )
}

fn blank(text: &str) -> String {
    let hex: Vec<_> = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    text.replace(TOKEN, "*****").replace(KEY_ID, "******").replace(&format!("{} ", hex.join(" ")), "***************")
}

/// An answer that repeats all of it, one byte at a time.
fn reply(status: u16) -> Reply {
    let reply = Reply::new(status)
        .header("content-length", echo().len().to_string())
        .header("x-echo", format!("token {TOKEN}"));
    echo().bytes().fold(reply, |reply, byte| reply.data(vec![byte]))
}

#[tokio::test]
async fn no_answer_but_data_repeats_what_signed_the_request() {
    for status in [301, 307, 400, 401, 403, 404, 409, 412, 500, 501, 503] {
        let script = Script::of([reply(status)]);
        let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["x-echo"], "token *****");
        let length = response.headers()["content-length"].clone();
        let body = read(response).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&body), blank(&echo()), "{status}");
        assert_eq!(length, body.len().to_string());
    }
    // A write that failed after all, with status 200.
    let script = Script::of([reply(200)]);
    let egress = egress(Role::Destination, &script);
    let response = egress.send(put(&[b"hello"])).await.unwrap();
    let body = read(response).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&body), blank(&echo()));
}

#[tokio::test]
async fn the_signature_of_the_last_attempt_is_blanked() {
    // What a store repeats is known only once it was signed: the script is made of a request like it.
    let probe = Script::of([Reply::new(200)]);
    egress(Role::Source, &probe).send(get("/key")).await.unwrap();
    let sent = probe.seen()[0].headers()["authorization"].clone();
    let (_, signature) = sent.to_str().unwrap().split_once("Signature=").unwrap();

    let document = format!("<SignatureProvided>{signature}</SignatureProvided>");
    let script = Script::of([Reply::new(403).data(document)]);
    let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
    let body = read(response).await.unwrap();
    let stars = "*".repeat(64);
    assert_eq!(body, format!("<SignatureProvided>{stars}</SignatureProvided>"));
}

#[tokio::test]
async fn data_come_as_they_are() {
    let script = Script::of([reply(200), reply(206)]);
    let egress = egress(Role::Source, &script);
    for _ in 0..2 {
        let response = egress.send(get("/key")).await.unwrap();
        assert_eq!(read(response).await.unwrap(), echo());
    }
}

#[tokio::test]
async fn the_headers_of_a_refused_head_are_searched() {
    let script = Script::of([Reply::new(404).header("x-echo", TOKEN)]);
    let egress = egress(Role::Destination, &script);
    let response = egress.send(request(Method::HEAD, "/key")).await.unwrap();
    assert_eq!(response.headers()["x-echo"], "*****");
}

#[tokio::test]
async fn a_document_that_cannot_be_searched_is_dropped() {
    let long = " ".repeat(REFUSAL_BYTES_MAX);
    for reply in [
        Reply::new(404).header("content-encoding", "gzip").data(TOKEN),
        Reply::new(404).data("t\0e\0x\0t\0"),
        Reply::new(500).data(long.clone()).data(TOKEN),
    ] {
        let script = Script::of([reply]);
        let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
        assert_eq!(response.headers()["content-length"], "0");
        assert_eq!(read(response).await.unwrap(), "");
    }
    let script = Script::of([Reply::new(500).data(long.clone())]);
    let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), long, "just within the bound");
}

#[tokio::test]
async fn a_request_that_reads_leaves_without_a_body() {
    let script = Script::of([]);
    let egress = egress(Role::Destination, &script);
    for method in [Method::GET, Method::HEAD] {
        for length in [Some("5"), None] {
            let mut request = overwrite();
            *request.method_mut() = method.clone();
            if let Some(length) = length {
                let length = HeaderValue::from_static(length);
                request.headers_mut().insert("content-length", length);
            }
            let error = egress.send(request).await.unwrap_err();
            assert!(matches!(error, WasiError::HttpRequestDenied), "{error:?}");
            let denial = last_denial(&egress).unwrap();
            assert!(denial.contains("a request that reads has no body"), "{denial}");
        }
    }
    assert!(script.seen().is_empty());
}
