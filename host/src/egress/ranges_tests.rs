//! Reads large objects by ranges from a store that answers right, wrong or not at all. Leaves bodies on one connection
//! to `body_tests`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use wasmtime_wasi_http::Error as WasiError;

use super::tests::{egress, get, last_failure, read};
use super::upstream::{Error, Upstream, UpstreamBody};
use crate::role::Role;

const MIB: usize = 1024 * 1024;
const LENGTH: usize = 100 * MIB + 17;
/// Where the third part begins.
const THIRD: usize = 16 * MIB;

/// What is wrong with the store.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Flaw {
    Nothing,
    /// Ranges are passed over.
    NoRanges,
    /// The third part has this status.
    Status(u16),
    /// The third part is of another object.
    Tag,
    Version,
    Total,
    Range,
    /// The third part does not say of which object it is: without this header, or with no length in `Content-Range`.
    No(&'static str),
    NoTotal,
    /// Each part is one of them.
    AllNo(&'static str),
    /// Each part breaks half way, once.
    Breaks,
    /// Each part stalls half way, once.
    Stalls,
    /// Each part is refused, once.
    SlowDown,
    /// The object is replaced after the first request.
    Replaced,
}

struct Store {
    flaw: Flaw,
    object: Bytes,
    seen: Mutex<Vec<(usize, usize)>>,
    /// Bytes that were taken from it.
    taken: Arc<AtomicUsize>,
}

impl Store {
    fn new(flaw: Flaw) -> Arc<Self> {
        Self::with(flaw, LENGTH)
    }

    fn with(flaw: Flaw, length: usize) -> Arc<Self> {
        let object = (0..length).map(|index| (index * 7 + index / 251) as u8).collect();
        Arc::new(Self { flaw, object, seen: Mutex::default(), taken: Arc::default() })
    }

    fn body(&self, first: usize, end: usize, breaks: Option<Flaw>) -> UpstreamBody {
        let (object, taken) = (self.object.clone(), Arc::clone(&self.taken));
        let half = first + (end - first) / 2;
        let frames = stream::unfold(first, move |at| {
            let (object, taken) = (object.clone(), Arc::clone(&taken));
            async move {
                match breaks {
                    Some(Flaw::Breaks) if at >= half => return Some((Err(Error::Terminated("reset".into())), at)),
                    Some(_) if at >= half => std::future::pending::<()>().await,
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
                let next = (at + 300_000).min(end);
                taken.fetch_add(next - at, Ordering::Relaxed);
                (at < end).then(|| (Ok(Frame::data(object.slice(at..next))), next))
            }
        });
        StreamBody::new(frames).boxed_unsync()
    }

    fn answer(&self, range: Option<(usize, usize)>) -> Response<UpstreamBody> {
        let length = self.object.len();
        let (first, end) = range.unwrap_or((0, length));
        let is_repeated = {
            let mut seen = self.seen.lock().unwrap();
            seen.push((first, end));
            seen.iter().filter(|(_, other)| *other == end).count() > 1
        };
        let mut answer = Response::builder().header("etag", "\"tag\"").header("x-amz-version-id", "v");
        let Some(_) = range.filter(|_| self.flaw != Flaw::NoRanges) else {
            return answer.header("content-length", length).body(self.body(0, length, None)).unwrap();
        };
        answer = answer.status(206).header("content-length", end - first);
        let (mut shown, mut total) = (first, length.to_string());
        let mut breaks = None;
        match self.flaw {
            Flaw::Breaks | Flaw::Stalls if !is_repeated => breaks = Some(self.flaw),
            Flaw::SlowDown if !is_repeated => answer = answer.status(503),
            Flaw::Replaced => answer = answer.status(412),
            Flaw::Status(status) if first == THIRD => answer = answer.status(status),
            Flaw::Range if first == THIRD => shown += 1,
            Flaw::Total if first == THIRD => total = (length + 1).to_string(),
            Flaw::NoTotal if first == THIRD => total = "*".to_owned(),
            _ => {}
        }
        answer = answer.header("content-range", format!("bytes {shown}-{}/{total}", end - 1));
        let mut answer = answer.body(self.body(first, end, breaks)).unwrap();
        match self.flaw {
            Flaw::Tag if first == THIRD => drop(answer.headers_mut().insert("etag", "\"other\"".parse().unwrap())),
            Flaw::Version if first == THIRD => {
                answer.headers_mut().insert("x-amz-version-id", "w".parse().unwrap());
            }
            Flaw::No(name) if first == THIRD => drop(answer.headers_mut().remove(name)),
            Flaw::AllNo(name) => drop(answer.headers_mut().remove(name)),
            _ => {}
        }
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            *answer.body_mut() = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        }
        answer
    }
}

impl Upstream for Store {
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'static, Result<Response<UpstreamBody>, Error>> {
        let range = request.headers().get("range").map(|range| {
            assert_eq!(request.headers()["if-match"], "\"tag\"");
            assert!(request.headers().contains_key("authorization"));
            let (first, last) = range.to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            (first.parse().unwrap(), last.parse::<usize>().unwrap() + 1)
        });
        let answer = self.answer(range);
        async move { Ok(answer) }.boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_object_comes_by_ranges_in_order_whatever_breaks() {
    for flaw in
        [Flaw::Nothing, Flaw::NoRanges, Flaw::Breaks, Flaw::Stalls, Flaw::SlowDown, Flaw::Replaced, Flaw::AllNo("etag")]
    {
        let store = Store::new(flaw);
        let egress = egress(Role::Source, &store);
        let response = egress.send(get("/key")).await.unwrap();
        assert_eq!(response.headers()["content-length"], LENGTH.to_string());
        assert!(read(response).await.unwrap() == store.object, "{flaw:?}");
        let seen = store.seen.lock().unwrap().len() as u64;
        assert_eq!(egress.traffic().requests, seen, "{flaw:?}: each request is counted");
        if flaw == Flaw::Nothing {
            assert_eq!(seen, 13, "the answer and twelve parts");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn parts_meet_at_their_ends_whatever_the_length() {
    let least = 16 * MIB;
    // With the requests that it takes: below the least size one, above it one per 8 MiB begun.
    for (length, requests) in
        [(least - 1, 1), (least, 2), (least + 1, 3), (24 * MIB - 1, 3), (24 * MIB, 3), (24 * MIB + 1, 4), (40 * MIB, 5)]
    {
        let store = Store::with(Flaw::Nothing, length);
        let response = egress(Role::Source, &store).send(get("/key")).await.unwrap();
        assert!(read(response).await.unwrap() == store.object, "{length}");
        let mut seen = store.seen.lock().unwrap().clone();
        assert_eq!(seen.len(), requests, "{length}");
        seen[0].1 = seen.get(1).map_or(length, |next| next.0);
        let ends: Vec<_> = seen.iter().map(|part| part.1).collect();
        let firsts: Vec<_> = seen.iter().skip(1).map(|part| part.0).chain([length]).collect();
        assert_eq!(firsts, ends, "{length}: neither gaps nor bytes twice");
        assert!(seen.iter().skip(1).all(|part| part.0 % (8 * MIB) == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_not_of_the_same_object_ends_the_body() {
    let wrong = [Flaw::Status(200), Flaw::Status(412), Flaw::Status(416), Flaw::Status(404), Flaw::Status(403)];
    for flaw in wrong.into_iter().chain([Flaw::Tag, Flaw::Version, Flaw::Total, Flaw::Range]).chain([
        Flaw::No("etag"),
        Flaw::No("x-amz-version-id"),
        Flaw::No("content-range"),
        Flaw::NoTotal,
    ]) {
        let store = Store::new(flaw);
        let egress = egress(Role::Source, &store);
        let mut body = egress.send(get("/key")).await.unwrap().into_body();
        let mut received = 0;
        let error = loop {
            match body.frame().await.expect("an error ends it") {
                Ok(frame) => {
                    let data = frame.into_data().unwrap();
                    assert!(data == store.object.slice(received..received + data.len()));
                    received += data.len();
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(error, WasiError::HttpResponseIncomplete), "{flaw:?}: {error:?}");
        assert_eq!(received, THIRD, "{flaw:?}");
        let failure = last_failure(&egress).expect("it is known");
        assert!(failure.contains("path=`/bucket/key`"), "{flaw:?}: {failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_slower_than_the_store_has_little_fetched_ahead() {
    let store = Store::new(Flaw::Nothing);
    let mut body = egress(Role::Source, &store).send(get("/key")).await.unwrap().into_body();
    let (mut read, mut ahead_max) = (0, 0);
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        // A frame takes the store 5 ms: meanwhile all comes that may.
        tokio::time::sleep(Duration::from_millis(500)).await;
        ahead_max = ahead_max.max(store.taken.load(Ordering::Relaxed) - read);
    }
    assert_eq!(read, LENGTH);
    assert!((8 * MIB..=25 * MIB).contains(&ahead_max), "two parts, and what is left of the one before: {ahead_max}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_holds_one_window_and_dropping_ends_it() {
    let store = Store::new(Flaw::Nothing);
    let egress = egress(Role::Source, &store);
    let mut body = egress.send(get("/key")).await.unwrap().into_body();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.seen.lock().unwrap().len(), 1, "nothing is asked for before it is read");
    // The second frame is waited for, and the third asks for as much as there may be.
    let begin = async |body: &mut wasmtime_wasi_http::WasiBody| {
        for _ in 0..3 {
            body.frame().await.unwrap().unwrap();
        }
    };
    begin(&mut body).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.seen.lock().unwrap().len(), 9);
    assert!(store.taken.load(Ordering::Relaxed) <= 65 * MIB);

    let others = [egress.send(get("/b")).await.unwrap(), egress.send(get("/c")).await.unwrap()];
    let mut others = others.map(Response::into_body);
    for other in &mut others {
        begin(other).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.seen.lock().unwrap().len(), 9 + 2 + 8, "no more parts than there is room for");
    let [_, last] = others;
    let rest = last.collect().await.unwrap().to_bytes();
    assert!(store.object.ends_with(&rest), "without room it comes over one connection");

    let response = egress.send(get("/d")).await.unwrap();
    drop(body);
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    tokio::task::yield_now().await;
    let taken = store.taken.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.taken.load(Ordering::Relaxed), taken, "what nobody reads is not fetched");
}
