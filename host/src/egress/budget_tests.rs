//! Fills the budget of an egress to its last byte and its last request, and asks for one more.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use super::budget::Room;
use super::tests::{Reply, Script, egress, get, last_failure, read, request};
use super::{ANSWER_HEADER_BYTES_MAX, DRAIN_BYTES_MAX, Egress, HELD_BYTES_MAX, IN_FLIGHT_MAX, ROOM_TIMEOUT, whole};
use crate::role::Role;

const MOMENT: Duration = Duration::from_secs(1);

/// Takes all room for bytes except this many.
fn leaving(egress: &Egress, bytes: u64) -> Room {
    let taken = HELD_BYTES_MAX - bytes;
    egress.inner.budget.try_bytes(taken).unwrap()
}

/// Whether a body was read before anybody asked for it, and so has no connection.
fn is_drained(response: &Response<WasiBody>) -> bool {
    response.body().size_hint().exact().is_some()
}

fn object(bytes: u64) -> Reply {
    Reply::new(200).header("content-length", bytes.to_string()).data(vec![7; bytes as usize])
}

fn put(bytes: usize, announces: bool) -> Request<WasiBody> {
    let mut put = request(Method::PUT, "/key").map(|_| whole(vec![7; bytes].into()));
    put.headers_mut().insert("if-none-match", http::HeaderValue::from_static("*"));
    if announces {
        put.headers_mut().insert("content-length", bytes.into());
    }
    put
}

#[tokio::test]
async fn answers_that_nobody_reads_count_until_they_are_dropped() {
    let replies = [1, DRAIN_BYTES_MAX, 1, 1].map(object);
    let egress = egress(Role::Source, &Script::of(replies));
    let taken = leaving(&egress, DRAIN_BYTES_MAX);
    let small = egress.send(get("/small")).await.unwrap();
    assert!(is_drained(&small));
    // One byte too many: it stays in its connection, and is all there for the reader.
    let large = egress.send(get("/large")).await.unwrap();
    assert!(!is_drained(&large));
    assert_eq!(read(large).await.unwrap().len() as u64, DRAIN_BYTES_MAX);
    // What was read counts until its last part is gone.
    let bytes = read(small).await.unwrap();
    let part = bytes.slice(..1);
    drop(bytes);
    assert!(egress.inner.budget.try_bytes(DRAIN_BYTES_MAX).is_err());
    drop(part);
    assert!(egress.inner.budget.try_bytes(DRAIN_BYTES_MAX).is_ok());
    drop(taken);
}

#[tokio::test]
async fn an_answer_without_a_length_is_a_stream_where_its_room_ends() {
    let pieces = Reply::new(200).data(vec![1; 1000]).data(vec![2; 1000]);
    let egress = egress(Role::Source, &Script::of([pieces.clone(), pieces]));
    let taken = leaving(&egress, 1999);
    let response = egress.send(get("/key")).await.unwrap();
    assert!(!is_drained(&response));
    assert_eq!(read(response).await.unwrap().len(), 2000);
    drop(taken);
    let _taken = leaving(&egress, 2000);
    assert!(is_drained(&egress.send(get("/key")).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_its_room_and_not_for_ever() {
    let egress = egress(Role::Destination, &Script::of([Reply::new(200), Reply::new(200)]));
    let taken = leaving(&egress, 1000);
    egress.send(put(1000, true)).await.unwrap();
    let taken_too = egress.inner.budget.try_bytes(1000);
    assert!(taken_too.is_err(), "the script keeps what was sent");
    let waiting = egress.send(put(1, true));
    tokio::pin!(waiting);
    assert!(timeout(MOMENT, &mut waiting).await.is_err());
    drop(taken);
    waiting.await.unwrap();
    // Nobody gives anything back.
    let _all = leaving(&egress, 1001);
    let waiting = timeout(ROOM_TIMEOUT * 2, egress.send(put(2000, true))).await;
    let error = waiting.unwrap().unwrap_err();
    assert!(matches!(error, WasiError::HttpRequestBodySize(Some(HELD_BYTES_MAX))));
    assert!(last_failure(&egress).unwrap().contains("no room for the request's body"));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_where_its_room_ends() {
    let egress = egress(Role::Destination, &Script::of([Reply::new(200)]));
    let taken = leaving(&egress, 1000);
    let error = egress.send(put(1001, false)).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpRequestBodySize(_)));
    egress.send(put(1000, false)).await.unwrap();
    drop(taken);
}

#[tokio::test(start_paused = true)]
async fn as_many_requests_are_in_flight_as_may_be_and_one_more_waits() {
    let large = || object(DRAIN_BYTES_MAX + 1);
    let egress = egress(Role::Source, &Script::of([large(), object(1), object(1)]));
    let mut slots = Vec::new();
    for _ in 1..IN_FLIGHT_MAX {
        slots.push(egress.inner.budget.request().await.unwrap());
    }
    // A stream is in flight until it is read or dropped.
    let streamed = egress.send(get("/large")).await.unwrap();
    let waiting = egress.send(get("/small"));
    tokio::pin!(waiting);
    assert!(timeout(MOMENT, &mut waiting).await.is_err());
    drop(streamed);
    // A short answer is not, once it is here.
    let short = waiting.await.unwrap();
    let other = egress.send(get("/small")).await.unwrap();
    drop((short, other));
    slots.push(egress.inner.budget.request().await.unwrap());
    let error = timeout(ROOM_TIMEOUT * 2, egress.send(get("/late"))).await;
    assert!(matches!(error.unwrap(), Err(WasiError::ConnectionLimitReached)));
}

#[tokio::test]
async fn the_headers_of_an_answer_are_bounded() {
    let name = "x-amz-meta-large";
    let longest = ANSWER_HEADER_BYTES_MAX - name.len();
    let reply = |bytes| Reply::new(204).header(name, "x".repeat(bytes));
    let egress = egress(Role::Source, &Script::of([reply(longest), reply(longest + 1)]));
    egress.send(get("/key")).await.unwrap();
    let error = egress.send(get("/key")).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpResponseHeaderSectionSize(Some(_))));
}

#[tokio::test]
async fn more_than_was_announced_is_not_taken() {
    let egress = egress(Role::Destination, &Script::of([]));
    let frames = futures_util::stream::repeat_with(|| Ok(http_body::Frame::data(Bytes::from_static(b"endless"))));
    let endless = http_body_util::StreamBody::new(frames).boxed_unsync();
    let mut put = put(8, true);
    *put.body_mut() = endless;
    let error = egress.send(put).await.unwrap_err();
    assert!(matches!(error, WasiError::HttpRequestBodySize(Some(14))), "{error:?}");
}
