//! Owns the tests of a destination of objects: what is at work at the same time, what waits for what, and what a failure means
//! for other records. Leaves what objects are called to `attributes`.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::super::{Ack, Destination};
use crate::config::Settings;
use crate::error::{ErrorKind, Result};
use crate::limits;
use crate::ports::{Clock as _, Method, Request};
use crate::record::{Change, Data, Metadata, Operation, Record};
use crate::testing::{Bucket, Pieces, Reply, TestPorts};

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    ports: TestPorts,
    bucket: Bucket,
    destination: Destination<TestPorts>,
}

impl Fixture {
    fn open(pairs: &[(&str, &str)], mut server: impl FnMut(&Request, &dyn Fn() -> Reply) -> Reply + 'static) -> Self {
        let (ports, bucket) = (TestPorts::new(7), Bucket::default());
        let inner = bucket.clone();
        ports.serve(move |request| server(request, &|| inner.answer(request)));
        let base = [
            ("aws.region", "us-east-1"),
            ("aws.bucket", "b1x"),
            ("aws.endpoint", "http://store:9000"),
            ("format", "raw"),
        ];
        let settings: Settings = base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut destination = Destination::configure(ports.clone(), &settings).expect("configures");
        ports.block_on(destination.open()).expect("opens");
        Self { ports, bucket, destination }
    }

    fn write(&mut self, records: Vec<Record<Pieces>>) -> Result<Vec<Ack>> {
        self.ports.block_on(self.destination.write(records))
    }

    fn flush(&mut self) -> Result<Vec<Ack>> {
        self.ports.block_on(self.destination.flush(SECOND * 100))
    }

    fn bodies(&self) -> Vec<(String, Bytes)> {
        self.bucket.objects().into_iter().map(|(key, stored)| (key, stored.body)).collect()
    }
}

fn record(position: &str, key: &str, after: Option<Data<Pieces>>) -> Record<Pieces> {
    Record {
        position: Bytes::copy_from_slice(position.as_bytes()),
        operation: if after.is_some() { Operation::Update } else { Operation::Delete },
        metadata: Metadata::new(),
        key: Some(Data::Raw(Bytes::copy_from_slice(key.as_bytes()))),
        payload: Change { before: None, after },
    }
}

fn raw(text: &str) -> Option<Data<Pieces>> {
    Some(Data::Raw(Bytes::copy_from_slice(text.as_bytes())))
}

fn stream(length: u64, bytes: Pieces) -> Option<Data<Pieces>> {
    Some(Data::Body { length: Some(length), bytes })
}

fn positions(acks: &[Ack]) -> Vec<String> {
    acks.iter().map(|ack| String::from_utf8_lossy(&ack.position).into_owned()).collect()
}

fn numbered(count: usize) -> Vec<Record<Pieces>> {
    (0..count).map(|n| record(&format!("{n:03}"), &format!("k{n:03}"), raw("x"))).collect()
}

#[test]
fn many_objects_are_on_their_way_and_the_acks_come_in_order() {
    let slow = |request: &Request, reply: &dyn Fn() -> Reply| {
        // The first ones take longest.
        let number: u64 = request.path_with_query.rsplit('k').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if request.method == Method::Put { reply().after(SECOND * (2 - (number / 40).min(1) as u32)) } else { reply() }
    };
    let mut fixture = Fixture::open(&[], slow);
    let most = limits::PUTS_IN_FLIGHT_MAX + limits::PUTS_WAITING_MAX - 1;
    assert!(fixture.write(numbered(most)).expect("writes").is_empty());
    let puts = || fixture.ports.requests().iter().filter(|request| request.method == Method::Put).count();
    assert_eq!((puts(), fixture.ports.elapsed()), (limits::PUTS_IN_FLIGHT_MAX, Duration::ZERO));
    let acks = fixture.flush().expect("flushes");
    let expected: Vec<_> = (0..most).map(|n| format!("{n:03}")).collect();
    assert_eq!(positions(&acks), expected);
    assert_eq!(fixture.ports.elapsed(), SECOND * 3, "what is done makes room for the next");
}

#[test]
fn changes_of_one_key_wait_for_each_other_and_for_no_other() {
    let slow = |request: &Request, reply: &dyn Fn() -> Reply| match request.method {
        Method::Put | Method::Delete => reply().after(SECOND),
        _ => reply(),
    };
    let mut fixture = Fixture::open(&[("deletes", "propagate")], slow);
    let records = vec![
        record("1", "a", raw("1")),
        record("2", "a", None),
        record("3", "b", raw("3")),
        record("4", "a", raw("4")),
        record("5", "b", None),
    ];
    assert!(fixture.write(records).expect("writes").is_empty());
    assert_eq!(positions(&fixture.flush().expect("flushes")), ["1", "2", "3", "4", "5"]);
    assert_eq!(fixture.ports.elapsed(), SECOND * 3);
    assert_eq!(fixture.bodies(), [("a".to_owned(), Bytes::from_static(b"4"))]);
}

#[test]
fn bytes_on_their_way_are_bounded_unless_there_is_one_object() {
    let slow = |request: &Request, reply: &dyn Fn() -> Reply| {
        if request.method == Method::Put { reply().after(SECOND) } else { reply() }
    };
    let mut fixture = Fixture::open(&[], slow);
    let large = limits::PUTS_BYTES_MAX / 8;
    let piece = vec![0; usize::try_from(large).expect("fits")];
    let records =
        (0..10).map(|n| record(&n.to_string(), &format!("k{n}"), stream(large, Pieces::of(&[&piece])))).collect();
    assert!(fixture.write(records).expect("writes").is_empty());
    assert_eq!(fixture.bodies().len(), 8);
    assert_eq!(fixture.flush().expect("flushes").len(), 10);
    assert_eq!(fixture.ports.elapsed(), SECOND * 2);
}

#[test]
fn a_small_object_is_sent_again_and_a_stream_is_not() {
    let refusals = Rc::new(Cell::new(0));
    let left = Rc::clone(&refusals);
    let server = move |request: &Request, reply: &dyn Fn() -> Reply| {
        if request.method == Method::Put && left.get() > 0 {
            left.set(left.get() - 1);
            return Reply::error(503, "SlowDown", "Later.");
        }
        reply()
    };
    let mut fixture = Fixture::open(&[], server);
    refusals.set(3);
    let acks = fixture.write(vec![record("1", "a", raw("1"))]).expect("writes");
    assert!(acks.is_empty());
    assert_eq!(positions(&fixture.flush().expect("flushes")), ["1"]);
    refusals.set(1);
    let streamed = record("2", "b", stream(1, Pieces::of(&[b"2"])));
    let written = fixture.write(vec![streamed]).and_then(|_| fixture.flush());
    let error = written.expect_err("its bytes are gone");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert_eq!(fixture.bodies().len(), 1);
    fixture.write(Vec::new()).expect_err("nothing more is stored");
}

#[test]
fn records_before_a_failure_are_acked_even_if_they_had_to_wait() {
    let server = |request: &Request, reply: &dyn Fn() -> Reply| match request.path_with_query.as_str() {
        "/b1x/slow" => reply().after(SECOND),
        "/b1x/denied" => Reply::error(403, "AccessDenied", "No."),
        _ => reply(),
    };
    let mut fixture = Fixture::open(&[], server);
    let records = vec![
        record("1", "slow", raw("1")),
        record("2", "slow", raw("2")),
        record("3", "denied", raw("3")),
        record("4", "slow", raw("4")),
    ];
    assert!(fixture.write(records).expect("writes").is_empty());
    assert_eq!(positions(&fixture.flush().expect("those before it")), ["1", "2"]);
    assert_eq!(fixture.flush().expect_err("then why").kind, ErrorKind::Denied);
    assert_eq!(fixture.bodies(), [("slow".to_owned(), Bytes::from_static(b"2"))]);
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused_alone() {
    let mut fixture = Fixture::open(&[], |_, reply| reply());
    let records = vec![
        record("1", "short", stream(3, Pieces::of(&[b"ab"]))),
        record("2", "long", stream(1, Pieces::of(&[b"ab"]))),
        record("3", "broken", stream(3, Pieces::of(&[b"ab"]).broken())),
        record("4", "good", stream(4, Pieces::of(&[b"ab", b"cd"]))),
        record("5", "unknown", Some(Data::Body { length: None, bytes: Pieces::of(&[b"ab", b"c"]) })),
    ];
    let mut acks = fixture.write(records).expect("writes");
    acks.extend(fixture.flush().expect("flushes"));
    let kinds: Vec<_> = acks.iter().map(|ack| ack.error.as_ref().map(|error| error.kind)).collect();
    let (corrupt, broken) = (Some(ErrorKind::Corrupt), Some(ErrorKind::Unavailable));
    assert_eq!(kinds, [corrupt, corrupt, broken, None, None]);
    let expected = [("good", "abcd"), ("unknown", "abc")];
    assert_eq!(fixture.bodies(), expected.map(|(key, body)| (key.to_owned(), Bytes::from(body))));
}

#[test]
fn what_the_store_says_of_one_object_concerns_no_other() {
    let server = |request: &Request, reply: &dyn Fn() -> Reply| match request.path_with_query.as_str() {
        "/b1x/odd" => Reply::error(400, "MetadataTooLarge", "Too much."),
        _ => reply(),
    };
    let mut fixture = Fixture::open(&[], server);
    let mut acks = fixture.write(vec![record("1", "odd", raw("1")), record("2", "a", raw("2"))]).expect("writes");
    acks.extend(fixture.flush().expect("flushes"));
    let refused: Vec<_> = acks.iter().map(|ack| ack.error.is_some()).collect();
    assert_eq!(refused, [true, false]);
}

#[test]
fn a_path_comes_before_the_key_of_the_record() {
    let settings = [("prefix", "copy/"), ("path", "from={meta.bucket}"), ("deletes", "propagate")];
    let mut fixture = Fixture::open(&settings, |_, answer| answer());
    let with = |mut one: Record<Pieces>, bucket: &str| {
        one.metadata.insert("bucket".to_owned(), bucket.to_owned());
        one
    };
    let records = vec![
        with(record("0", "a/b.txt", raw("x")), "one"),
        with(record("1", "a/b.txt", raw("y")), "two"),
        with(record("2", "a/b.txt", None), "one"),
        with(record("3", &"k".repeat(1011), raw("z")), "one"),
    ];
    let mut acks = fixture.write(records).expect("writes");
    acks.extend(fixture.flush().expect("flushes"));
    assert_eq!(positions(&acks), ["0", "1", "2", "3"]);
    let error = acks[3].error.as_ref().expect("is too long");
    assert!(error.message.contains("have 1025 bytes"), "{error}");
    assert_eq!(fixture.bodies(), [("copy/from=two/a/b.txt".to_owned(), Bytes::from_static(b"y"))]);
}
