//! What the host adds to an error follows from the requests that caused it, never from the words of the component.

use std::time::Duration;

use embedded_s3::{Fault, Reset, Rule, S3Operation};
use s3_connector_host::{Error, ErrorKind, Source};
use s3_connector_tests::world::BUCKET;

use crate::siege::{Settings, Siege};

/// What the connector says where a request was denied.
const DENIED: &str = concat!("the host did not let ", "the request out");

/// A bucket that the policy does not permit.
const OTHER_BUCKET: (&str, &str) = ("request.path", "/another-bucket/key");

/// An object that may be read.
fn object() -> String {
    format!("/{BUCKET}/key")
}

async fn opened(siege: &Siege, attack: Settings<'_>) -> Source {
    let mut source = siege.source(attack).await.expect("it is made");
    source.open(None).await.expect("it opens");
    source
}

async fn read(source: &mut Source) -> usize {
    source.read(1, Duration::ZERO).await.expect("it reads").len()
}

async fn fails_to_ack(source: &mut Source) -> Error {
    source.ack(b"loot").await.expect_err("the attack fails")
}

/// A store that closes every connection on which an object is asked for.
async fn resetting() -> Siege {
    let siege = Siege::of("plain").await;
    siege.bucket.put("key", "1").await;
    siege.bucket.wire().faults().add(Rule::new(S3Operation::GetObject, Fault::Reset(Reset::BeforeAct)));
    siege
}

#[tokio::test]
async fn an_error_that_speaks_of_a_denial_is_not_believed() {
    let siege = Siege::of("plain").await;
    let attack = [("attack", "fail"), ("kind", "denied"), ("text", DENIED)];
    let error = siege.loot_of_source(&attack).await.expect_err("it fails");
    assert_eq!(error.message(), format!("{DENIED}; credentials are from setting aws.accessKeyId"));
    assert!(std::error::Error::source(&error).is_none());
}

#[tokio::test]
async fn a_denial_is_told_whatever_the_component_says() {
    let siege = Siege::of("plain").await;
    for text in [DENIED, "it is forbidden", ""] {
        let attack = [("attack", "request-and-fail"), OTHER_BUCKET, ("kind", "denied"), ("text", text)];
        let error = siege.loot_of_source(&attack).await.expect_err("it fails");
        let denial = "the request is not permitted: the request names another bucket, or no bucket";
        assert_eq!(error.message(), denial, "{text}");
        let cause = std::error::Error::source(&error).expect("the denial");
        assert_eq!(s3_connector_host::with_causes(cause), denial);
        assert_eq!(s3_connector_host::with_causes(&error), denial, "said once");
    }
}

#[tokio::test]
async fn a_denial_of_an_earlier_call_is_no_reason_of_a_later_error() {
    let siege = Siege::of("plain").await;
    let attack = [
        ("attack.open", "request"),
        OTHER_BUCKET,
        ("attack.ack", "fail"),
        ("kind", "denied"),
        ("text", "it is forbidden"),
    ];
    let mut source = opened(&siege, &attack).await;
    assert_eq!((read(&mut source).await, read(&mut source).await), (1, 0));
    let error = fails_to_ack(&mut source).await;
    assert_eq!(error.message(), "it is forbidden; credentials are from setting aws.accessKeyId");

    // An error that was told of is no reason of the next one.
    let attack = [("attack.open", "request-and-fail"), ("attack.read", "fail"), ("kind", "denied"), OTHER_BUCKET];
    let mut source = siege.source(&attack).await.expect("it is made");
    let error = source.open(None).await.expect_err("the attack fails");
    assert!(error.message().contains("another bucket"), "{error}");
    let error = source.read(1, Duration::ZERO).await.expect_err("the attack fails");
    assert!(!error.message().contains("another bucket"), "{error}");
}

#[tokio::test]
async fn a_connection_that_broke_is_no_reason_of_an_error_after_it_was_over() {
    let siege = resetting().await;
    let object = object();
    let attack = [
        ("attack.open", "request"),
        ("request.path", object.as_str()),
        ("attack.ack", "fail"),
        ("kind", "unavailable"),
        ("text", "the folder is full"),
    ];
    // Nothing was left to be handed out in between.
    let mut source = opened(&siege, &attack).await;
    assert_eq!((read(&mut source).await, read(&mut source).await), (1, 0));
    assert_eq!(fails_to_ack(&mut source).await.message(), "the folder is full");

    // The same was asked for again, and answered.
    let attack = [&attack[..], &[("attack.read", "request")]].concat();
    let mut source = opened(&siege, &attack).await;
    siege.bucket.wire().faults().clear();
    assert_eq!(read(&mut source).await, 1);
    assert_eq!(fails_to_ack(&mut source).await.message(), "the folder is full");
}

#[tokio::test]
async fn a_failure_explains_an_error_that_comes_after_records() {
    let siege = resetting().await;
    let object = object();
    let attack = [
        ("attack.read", "request"),
        ("request.path", object.as_str()),
        ("attack.ack", "fail"),
        ("kind", "unavailable"),
        ("text", "no answer"),
    ];
    let mut source = opened(&siege, &attack).await;
    let mut other = opened(&siege, &[("attack.ack", "fail"), ("kind", "unavailable"), ("text", "no answer")]).await;
    assert_eq!(read(&mut source).await, 1, "what the request came to");
    let error = fails_to_ack(&mut source).await;
    assert!(error.message().starts_with("no answer (the request failed: the connection was ended early"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(fails_to_ack(&mut other).await.message(), "no answer", "another instance's");
}

#[tokio::test]
async fn how_long_the_store_asks_to_wait_comes_through() {
    let siege = Siege::of("plain").await;
    let fails = async |more: Settings<'_>| {
        let attack = [&[("attack", "fail"), ("kind", "unavailable"), ("text", "later")], more].concat();
        siege.loot_of_source(&attack).await.expect_err("it fails")
    };
    let error = fails(&[("retry-after-ms", "7000")]).await;
    assert_eq!((error.kind(), error.retry_after_ms()), (ErrorKind::Unavailable, Some(7000)));
    assert_eq!(fails(&[]).await.retry_after_ms(), None);
}
