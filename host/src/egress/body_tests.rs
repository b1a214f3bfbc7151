//! Breaks bodies in every way on their way in. Leaves whole requests to `tests`.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::Error as WasiError;

use super::tests::{Piece, Reply, Script, egress, get, last_failure, read, request};
use super::upstream;
use super::{DRAIN_BYTES_MAX, LATE_AFTER, STALL_TIMEOUT};
use crate::role::Role;

/// An object that is streamed: larger than what is read at once.
const LARGE: usize = 3 * 1024 * 1024;

fn object(bytes: usize) -> Bytes {
    (0..bytes).map(|index| (index * 7 + index / 251) as u8).collect()
}

/// The first answer: the object's headers, and the bytes up to `sent`.
fn start(object: &Bytes, sent: usize) -> Reply {
    Reply::new(200)
        .header("content-length", object.len().to_string())
        .header("etag", "\"tag\"")
        .data(object.slice(..sent / 2))
        .data(object.slice(sent / 2..sent))
}

/// The headers of an answer with the bytes from `first` to the end.
fn rest(object: &Bytes, first: usize) -> Reply {
    let last = object.len() - 1;
    Reply::new(206)
        .header("content-length", (object.len() - first).to_string())
        .header("content-range", format!("bytes {first}-{last}/{}", object.len()))
        .header("etag", "\"tag\"")
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_ends_early_or_stalls_is_taken_up() {
    for size in [1000, DRAIN_BYTES_MAX as usize, DRAIN_BYTES_MAX as usize + 1, LARGE] {
        let object = object(size);
        let half = size / 2;
        let whole_rest = || rest(&object, half).data(object.slice(half..));
        for first in
            [start(&object, half).then(Piece::Break), start(&object, half).then(Piece::Hang), start(&object, half)]
        {
            let script = Script::of([first, whole_rest()]);
            let egress = egress(Role::Source, &script);
            let response = egress.send(get("/key?versionId=v")).await.unwrap();
            assert_eq!(response.headers()["content-length"], size.to_string());
            assert_eq!(read(response).await.unwrap(), object);

            let seen = &script.seen()[1];
            assert_eq!(seen.uri(), "http://s3.test:9000/bucket/key?versionId=v");
            let headers = seen.headers();
            assert_eq!(headers["range"], format!("bytes={half}-{}", size - 1));
            assert_eq!(headers["if-match"], "\"tag\"");
            let authorization = headers["authorization"].to_str().unwrap();
            assert!(authorization.contains("if-match;range;"), "signed anew");
            let counters = egress.traffic();
            assert_eq!((counters.resumed, counters.bytes_in), (1, size as u64));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_breaks_is_taken_up_within_itself() {
    let object = object(1000);
    let part = |first: usize, end: usize| {
        Reply::new(206)
            .header("content-length", (500 - first).to_string())
            .header("content-range", format!("bytes {first}-499/1000"))
            .header("etag", "\"tag\"")
            .data(object.slice(first..end))
    };
    let script = Script::of([part(100, 300).then(Piece::Break), part(300, 500)]);
    let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), object.slice(100..500));
    assert_eq!(script.seen()[1].headers()["range"], "bytes=300-499");
}

#[tokio::test(start_paused = true)]
async fn a_stall_lasts_no_longer_than_its_limit() {
    let object = object(1000);
    let script = Script::of([start(&object, 10).then(Piece::Hang)]);
    let started = tokio::time::Instant::now();
    let error = egress(Role::Source, &script).send(get("/key")).await.unwrap_err();
    // Nobody answers the second request: its own limit comes on top, five times.
    assert!(matches!(error, WasiError::HttpResponseTimeout));
    let limit = STALL_TIMEOUT + super::ANSWER_TIMEOUT * 5 + LATE_AFTER * 2;
    // And 3.1 s between them.
    assert!(started.elapsed() <= limit + Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_found_in_seconds_and_another_connection_goes_on() {
    for size in [1000, LARGE] {
        let object = object(size);
        let half = size / 2;
        let script =
            Script::of([start(&object, half).then(Piece::Hang), rest(&object, half).data(object.slice(half..))]);
        let egress = egress(Role::Source, &script);
        let started = tokio::time::Instant::now();
        let response = egress.send(get("/key")).await.unwrap();
        assert_eq!(read(response).await.unwrap(), object);
        assert_eq!(started.elapsed().as_secs(), LATE_AFTER.as_secs());
        assert_eq!(egress.traffic().requests, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_late_goes_on_where_the_other_one_is_no_better() {
    let object = object(1000);
    let late = || start(&object, 10).then(Piece::Wait(LATE_AFTER * 3)).data(object.slice(10..));
    let others: [fn(&Bytes) -> Reply; 5] = [
        |object| rest(object, 10).then(Piece::Hang),
        |object| rest(object, 10).then(Piece::Break),
        |object| rest(object, 10).header("etag", "\"other\"").data(object.slice(10..)),
        |_| Reply::new(412),
        |_| Reply::new(503),
    ];
    for (index, other) in others.into_iter().enumerate() {
        let script = Script::of([late(), other(&object)]);
        let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
        assert_eq!(read(response).await.unwrap(), object, "{index}");
        assert_eq!(script.seen().len(), 2, "{index}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_is_read_slowly_and_asked_no_more_often() {
    for (seconds, requests) in [(4, 1), (6, 4), (29, 4)] {
        let object = object(100);
        let slow = |first: usize, mut reply: Reply| {
            for at in first..object.len() {
                reply = reply.then(Piece::Wait(Duration::from_secs(seconds))).data(object.slice(at..=at));
            }
            reply
        };
        // Another connection starts to wait anew, so that the first one is ahead.
        let mut replies = vec![slow(0, start(&object, 0))];
        replies.extend((0..100).map(|at| slow(at, rest(&object, at))));
        let script = Script::of(replies);
        let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
        assert_eq!(read(response).await.unwrap(), object, "{seconds}");
        assert_eq!(script.seen().len(), requests, "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_end_and_the_last_cause_is_told() {
    let object = object(1000);
    let first = start(&object, 500).then(Piece::Break);
    let refused: fn() -> upstream::Error = || upstream::Error::Refused("x".into());
    let steps = std::iter::once(Ok(first)).chain(std::iter::repeat_n(Err(refused), 5));
    let script = Script::new(steps);
    let error = egress(Role::Source, &script).send(get("/key")).await.unwrap_err();
    assert!(matches!(error, WasiError::ConnectionRefused));
    assert_eq!(script.seen().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn busy_servers_are_retried() {
    let object = object(LARGE);
    let script = Script::of([
        start(&object, 10).then(Piece::Break),
        Reply::new(503),
        Reply::new(500),
        Reply::new(429),
        rest(&object, 10).data(object.slice(10..)),
    ]);
    let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), object);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_goes_on_has_its_attempts_back() {
    let object = object(14 * 1024 * 1024);
    let step = 2 * 1024 * 1024;
    let mut replies = vec![start(&object, step).then(Piece::Break)];
    for first in (step..object.len()).step_by(step) {
        let piece = object.slice(first..first + step);
        replies.push(rest(&object, first).data(piece).then(Piece::Break));
    }
    let script = Script::of(replies);
    let egress = egress(Role::Source, &script);
    let response = egress.send(get("/key")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), object);
    assert_eq!(egress.traffic().resumed, 6, "more often than five times");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_the_rest_of_the_same_object_is_refused() {
    let object = object(LARGE);
    let good = || rest(&object, 10).data(object.slice(10..));
    let wrong = [
        Reply::new(412),
        Reply::new(416),
        Reply::new(404),
        Reply::new(403),
        start(&object, LARGE),
        good().header("content-range", format!("bytes 11-{}/{LARGE}", LARGE - 1)),
        good().header("content-range", format!("bytes 10-{}/{LARGE}", LARGE - 2)),
        good().header("content-range", "bytes */100"),
        Reply::new(206).data(object.slice(10..)),
        good().header("content-length", (LARGE - 11).to_string()),
        good().header("etag", "\"other\""),
        good().without("etag"),
        good().header("content-range", format!("bytes 10-{}/*", LARGE - 1)),
        good().header("content-range", format!("bytes 10-{}/{}", LARGE - 1, LARGE + 1)),
    ];
    for (index, reply) in wrong.into_iter().enumerate() {
        let script = Script::of([start(&object, 10).then(Piece::Break), reply]);
        let egress = egress(Role::Source, &script);
        let response = egress.send(get("/key")).await.unwrap();
        let error = read(response).await.unwrap_err();
        assert!(matches!(error, WasiError::HttpResponseIncomplete), "{index}: {error:?}");
        assert_eq!(script.seen().len(), 2, "{index}: no more attempts");
        assert!(last_failure(&egress).unwrap().contains("can't be resumed"), "{index}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_no_strong_tag_or_is_no_object_is_not_taken_up() {
    let object = object(1000);
    let bare = || Reply::new(200).header("content-length", "1000").data(object.slice(..10)).then(Piece::Break);
    for (reply, path) in [
        (bare(), "/key"),
        (bare().header("etag", "W/\"tag\""), "/key"),
        (bare().header("etag", "\"tag\""), "?list-type=2"),
    ] {
        let script = Script::of([reply]);
        let error = egress(Role::Source, &script).send(get(path)).await.unwrap_err();
        assert!(matches!(error, WasiError::ConnectionTerminated), "{path}");
        assert_eq!(script.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_short_or_long_never_passes() {
    let object = object(LARGE);
    for (length, sent) in [(1000, 999), (LARGE, LARGE - 1)] {
        let short = Reply::new(200).header("content-length", length.to_string()).data(object.slice(..sent));
        let script = Script::of([short]);
        let outcome = egress(Role::Source, &script).send(get("/key")).await;
        let error = match outcome {
            Ok(response) => read(response).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, WasiError::HttpResponseIncomplete), "{error:?}");
    }
    for length in [1000, LARGE - 1] {
        let long = Reply::new(200)
            .header("content-length", length.to_string())
            .header("etag", "\"tag\"")
            .data(object.slice(..length))
            .data("x");
        let script = Script::of([long]);
        let outcome = egress(Role::Source, &script).send(get("/key")).await;
        let error = match outcome {
            Ok(response) => read(response).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, WasiError::HttpResponseBodySize(None)), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_bad_after_the_last_byte_is_no_matter() {
    let object = object(LARGE);
    let script = Script::of([start(&object, LARGE).then(Piece::Break)]);
    let response = egress(Role::Source, &script).send(get("/key")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), object);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_length_comes_whole_or_as_a_stream() {
    for size in [0, 1000, LARGE] {
        let object = object(size);
        let mut reply = Reply::new(200);
        for piece in object.chunks(100_000) {
            reply = reply.data(Bytes::copy_from_slice(piece));
        }
        let script = Script::of([reply]);
        let response = egress(Role::Source, &script).send(get("?list-type=2")).await.unwrap();
        // One that came whole can be compared with what was listed.
        let length = response.headers().get("content-length").cloned();
        let length = length.map(|length| length.to_str().unwrap().to_owned());
        assert_eq!(length, (size < LARGE).then(|| size.to_string()));
        assert_eq!(read(response).await.unwrap(), object, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_body_is_not_read_ahead_of_the_guest() {
    let object = object(LARGE);
    let script = Script::of([start(&object, LARGE)]);
    let egress = egress(Role::Source, &script);
    let mut body = egress.send(get("/key")).await.unwrap().into_body();
    assert_eq!(egress.traffic().bytes_in, 0);
    body.frame().await.unwrap().unwrap();
    assert_eq!(egress.traffic().bytes_in, LARGE as u64 / 2);
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_body_have_none_whatever_their_length_says() {
    for (method, status) in [(Method::HEAD, 200), (Method::GET, 304), (Method::GET, 204)] {
        let reply = Reply::new(status).header("content-length", "1000").header("etag", "\"tag\"");
        let script = Script::of([reply]);
        let response = egress(Role::Destination, &script).send(request(method, "/key")).await.unwrap();
        assert_eq!(response.headers()["content-length"], "1000");
        assert_eq!(read(response).await.unwrap(), "");
    }
}
