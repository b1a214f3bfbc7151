//! Owns the tests of faults, latency, hooks and pauses over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::client::{Call, SigningClient, get, put, server_with};
use embedded_s3::{Fault, Filter, Options, Reset, Rule, S3Operation, Stage, Versioning};

fn list() -> Call {
    get("bkt", "").query("list-type", "2")
}

#[tokio::test]
async fn reset_leaves_the_request_undone_or_done() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    for (key, reset, done) in [("x", Reset::BeforeAct, false), ("y", Reset::AfterAct, true)] {
        let rule = Rule::new(S3Operation::PutObject, Fault::Reset(reset)).times(1);
        let id = server.faults().add(rule);
        // A client without a pool of connections does not try a second time.
        let closed = SigningClient::new(&server).try_send(put("bkt", key, "body")).await.unwrap_err();
        assert_eq!(closed, (None, 0));
        assert_eq!(server.store().get("bkt", key).is_ok(), done);
        assert_eq!(server.faults().fired(id), 1);
        assert_eq!(server.requests().last().unwrap().status, None);
    }
    assert_eq!(client.send(put("bkt", "z", "body")).await.status, 200);
}

#[tokio::test]
async fn body_is_broken_off_or_cut_short() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    server.store().put("bkt", "k", vec![7; 300_000]).unwrap();
    let truncate = Fault::Truncate { body_bytes: 150_000 };
    server.faults().add(Rule::new(S3Operation::GetObject, truncate).times(1));
    let closed = client.try_send(get("bkt", "k")).await.unwrap_err();
    assert_eq!(closed, (Some(200), 150_000));
    let cut = Fault::Cut { body_bytes: 60 };
    server.faults().add(Rule::new(S3Operation::ListObjectsV2, cut).times(1));
    let answer = client.send(list()).await;
    assert_eq!((answer.status, answer.body.len()), (200, 60));
    assert_eq!(client.send(get("bkt", "k")).await.body.len(), 300_000);
    assert_eq!(client.send(list()).await.all("Key"), ["k"]);
}

#[tokio::test]
async fn statuses_are_answered_in_place_of_acting() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let faults = [
        (Fault::internal_error(), 500, "InternalError", None),
        (Fault::slow_down(Some(2)), 503, "SlowDown", Some("2")),
        (Fault::too_many_requests(None), 429, "TooManyRequests", None),
        (Fault::access_denied(), 403, "AccessDenied", None),
        (Fault::conflict(), 409, "ConditionalRequestConflict", None),
        (Fault::answer(507, "Full", "No room"), 507, "Full", None),
    ];
    for (fault, status, code, retry_after) in faults {
        server.faults().add(Rule::new(Filter::any().key_prefix("k"), fault).times(1));
        let answer = client.send(put("bkt", "k", "x")).await;
        assert_eq!(answer.code(), (status, code.to_owned()));
        assert_eq!(answer.maybe_header("retry-after"), retry_after);
        assert!(!answer.header("x-amz-request-id").is_empty());
        assert!(server.store().list("bkt", "").unwrap().is_empty());
    }
    let rule = Rule::new(S3Operation::PutObject, Fault::internal_error()).acting().times(1);
    server.faults().add(rule);
    assert_eq!(client.send(put("bkt", "k", "x")).await.status, 500);
    assert_eq!(server.store().list("bkt", "").unwrap(), ["k"]);
}

#[tokio::test]
async fn success_can_carry_an_error_or_garbage() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let fault = Fault::error_in_ok("InternalError", "We encountered an internal error.");
    server.faults().add(Rule::new(S3Operation::CompleteMultipartUpload, fault).times(1));
    let call = Call::new(Method::POST, "bkt", "k").query("uploadId", "u").body("<a/>");
    assert_eq!(client.send(call).await.code(), (200, "InternalError".to_owned()));
    server.faults().add(Rule::new(S3Operation::ListObjectsV2, Fault::garbage()).times(1));
    let answer = client.send(list()).await;
    assert_eq!((answer.status, answer.all("Key").len()), (200, 0));
    assert!(answer.body.starts_with(b"\0"));
}

#[tokio::test]
async fn latency_delays_the_answer_and_is_set_at_any_time() {
    let latency = Duration::from_millis(40);
    let (server, client) = server_with(Options { latency, ..Options::default() }, Versioning::Off).await;
    let timed = async || {
        let start = Instant::now();
        assert_eq!(client.send(list()).await.status, 200);
        start.elapsed()
    };
    assert!(timed().await >= latency);
    server.faults().set_latency(Duration::ZERO);
    let id = server.faults().add(Rule::new(S3Operation::ListObjectsV2, Fault::Latency(latency)));
    assert!(timed().await >= latency);
    server.faults().remove(id);
    timed().await;
}

#[tokio::test]
async fn pause_holds_a_request_until_it_is_released() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    server.store().put("bkt", "k", "old").unwrap();
    let mut pause = server.pause(Filter::from(S3Operation::GetObject).key("k"));
    let act = async {
        let held = pause.arrived().await;
        assert_eq!(held.seen().key.as_deref(), Some("k"));
        server.store().put("bkt", "k", "new").unwrap();
        held.release();
        assert!(pause.try_arrived().is_none());
    };
    let (answer, ()) = tokio::join!(client.send(get("bkt", "k")), act);
    assert_eq!(answer.text(), "new");
    drop(pause);
    assert_eq!(client.send(get("bkt", "k")).await.text(), "new");
}

#[tokio::test]
async fn pause_after_acting_shows_what_the_client_does_not_know_yet() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let mut pause = server.hooks().pause(Stage::AfterAct, S3Operation::PutObject);
    let look = async {
        let _held = pause.arrived().await;
        assert_eq!(server.store().get("bkt", "k").unwrap().body, "x");
    };
    let (answer, ()) = tokio::join!(client.send(put("bkt", "k", "x")), look);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn requests_that_nobody_took_go_on_when_the_pause_ends() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let pause = server.pause(Filter::any());
    let arrived = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&arrived);
    let _hook = server.on_request(S3Operation::ListObjectsV2, move |_| {
        notify.notify_one();
        async {}
    });
    // The pause was set first, so that the hook after it runs only once the pause is over.
    let end = async {
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(pause);
        arrived.notified().await;
    };
    let (answer, ()) = tokio::join!(client.send(list()), end);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn hook_runs_on_matching_requests_until_it_is_dropped() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let count = Arc::new(AtomicUsize::new(0));
    let (store, counted) = (server.store().clone(), Arc::clone(&count));
    let hook = server.on_request(S3Operation::ListObjectsV2, move |seen| {
        let (store, counted) = (store.clone(), Arc::clone(&counted));
        async move {
            let at = counted.fetch_add(1, Ordering::Relaxed);
            store.put("bkt", &format!("{at}"), seen.query).unwrap();
        }
    });
    assert_eq!(client.send(list()).await.all("Key"), ["0"]);
    assert_eq!(client.send(get("bkt", "0")).await.text(), "list-type=2");
    assert_eq!(client.send(list()).await.all("Key"), ["0", "1"]);
    drop(hook);
    assert_eq!(client.send(list()).await.all("Key"), ["0", "1"]);
}

#[tokio::test]
async fn somebody_else_answers_in_the_place_of_the_store() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    server.store().put("bkt", "k", "body").unwrap();
    for (fault, status, body) in [
        (Fault::proxy_page(404), 404, "404 page not found\n"),
        (Fault::empty(), 200, ""),
        (Fault::another_object("other"), 200, "other"),
        (Fault::foreign(204, &[], ""), 204, ""),
        (Fault::Partial, 206, "bo"),
    ] {
        let rule = Rule::new(S3Operation::GetObject, fault.clone()).times(1);
        server.faults().add(rule);
        let answer = client.send(get("bkt", "k")).await;
        assert_eq!(answer.status, status, "{fault:?}");
        assert_eq!(answer.text(), body, "{fault:?}");
        let has_range = answer.maybe_header("content-range") == Some("bytes 0-1/4");
        assert_eq!(has_range, status == 206, "{fault:?}");
    }
    for (fault, code) in [
        (Fault::customer_key(), (400, "InvalidRequest")),
        (Fault::foreign_kms_key(), (403, "AccessDenied")),
        (Fault::archived(), (403, "InvalidObjectState")),
        (Fault::precondition_failed(), (412, "PreconditionFailed")),
    ] {
        let rule = Rule::new(S3Operation::GetObject, fault).times(1);
        server.faults().add(rule);
        let (status, text) = client.send(get("bkt", "k")).await.code();
        assert_eq!((status, &*text), code);
    }
    assert!(client.send(get("bkt", "k")).await.text() == "body");
}

#[tokio::test]
async fn an_answer_has_other_headers_or_another_text() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    server.store().put("bkt", "k", "body").unwrap();
    let named = |value: &'static str| Fault::Header("x-amz-meta-name", value.into());
    let id = server.faults().add(Rule::new(S3Operation::GetObject, named("value")));
    let answer = client.send(get("bkt", "k")).await;
    assert_eq!(answer.header("x-amz-meta-name"), "value");
    server.faults().remove(id);
    let untimed = Fault::Header("last-modified", "".into());
    server.faults().add(Rule::new(S3Operation::GetObject, untimed));
    let answer = client.send(get("bkt", "k")).await;
    assert_eq!(answer.maybe_header("last-modified"), None);
    let renamed = Fault::Element("Key", "z%FFz");
    server.faults().add(Rule::new(S3Operation::ListObjectsV2, renamed));
    let answer = client.send(list()).await;
    assert_eq!(answer.all("Key"), ["z%FFz"]);
    assert_eq!(answer.all("IsTruncated"), ["false"]);
}
