//! Follows redirects through an egress over a script. What is followed is `redirect`'s.

use super::redirect::REDIRECTS_MAX;
use super::tests::{Reply, Script, egress, get, put};
use crate::role::Role;

#[tokio::test]
async fn a_request_that_is_sent_on_within_the_store_is_signed_anew_for_there() {
    let there = "http://node.s3.test:9000/bucket/a";
    let sent_on = || Reply::new(307).header("location", there);
    let script = Script::of([sent_on(), Reply::new(200), sent_on(), Reply::new(200)]);
    let egress = egress(Role::Destination, &script);
    assert_eq!(egress.send(get("/a")).await.unwrap().status(), 200);
    let seen = script.seen();
    assert_eq!(seen[1].uri(), there);
    assert_eq!(seen[1].headers()["host"], "node.s3.test:9000");
    let signature = |index: usize| seen[index].headers()["authorization"].clone();
    assert_ne!(signature(0), signature(1));
    // A body goes along.
    let mut put = put(&[b"x"]);
    *put.uri_mut() = "http://s3.test:9000/bucket/a".parse().unwrap();
    assert_eq!(egress.send(put).await.unwrap().status(), 200);
    assert_eq!(script.seen()[3].body(), "x");
}

#[tokio::test]
async fn a_request_that_is_sent_elsewhere_or_in_circles_is_not_followed_on() {
    let elsewhere = Reply::new(307).header("location", "http://evil.test:9000/bucket/a");
    let script = Script::of([elsewhere]);
    let response = egress(Role::Source, &script).send(get("/a")).await.unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(script.seen().len(), 1);

    let here = "http://s3.test:9000/bucket/a";
    let script = Script::of((0..9).map(|_| Reply::new(307).header("location", here)));
    let response = egress(Role::Source, &script).send(get("/a")).await.unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(script.seen().len(), 1 + REDIRECTS_MAX as usize);
}
