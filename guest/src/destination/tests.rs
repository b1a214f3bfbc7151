//! Owns the tests of a destination's promises, over a store in memory and in virtual time. Leaves tests of its parts to
//! their files.

mod names;
mod paths;

use super::*;
use crate::error::ErrorKind;
use crate::ports::{Clock as _, Level, Method, Random as _, Request};
use crate::record::{Change, Data, Metadata, Operation, json};
use crate::testing::{Bucket, Pieces, Reply, Stored, TestPorts};

type Incoming = Record<Pieces>;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let base = [
        ("aws.region", "us-east-1"),
        ("aws.bucket", "b1x"),
        ("aws.endpoint", "http://store:9000"),
        ("format", "json"),
        ("prefix", "out-"),
        ("bufferSize", "2"),
    ];
    base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// A destination over a store: `server` answers the requests that it wants to, and a bucket the others.
struct Fixture {
    ports: TestPorts,
    bucket: Bucket,
    destination: Destination<TestPorts>,
}

impl Fixture {
    fn new(pairs: &[(&str, &str)], mut server: impl FnMut(&Request) -> Option<Reply> + 'static) -> Self {
        let (ports, bucket) = (TestPorts::new(7), Bucket::default());
        let inner = bucket.clone();
        ports.serve(move |request| server(request).unwrap_or_else(|| inner.answer(request)));
        let configured = Destination::configure(ports.clone(), &settings(pairs));
        Self { destination: configured.expect("configures"), ports, bucket }
    }

    fn open(pairs: &[(&str, &str)], server: impl FnMut(&Request) -> Option<Reply> + 'static) -> Self {
        let mut fixture = Self::new(pairs, server);
        fixture.ports.block_on(fixture.destination.open()).expect("opens");
        fixture
    }

    fn write(&mut self, records: Vec<Incoming>) -> Result<Vec<Ack>> {
        self.ports.block_on(self.destination.write(records))
    }

    fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        self.ports.block_on(self.destination.flush(wait))
    }

    fn puts(&self) -> usize {
        self.ports.requests().iter().filter(|r| r.method == Method::Put).count()
    }

    /// The positions in each object, sorted.
    fn stored(&self) -> Vec<Vec<String>> {
        let positions = |object: &Stored| {
            let lines = object.body.split(|byte| *byte == b'\n').filter(|l| !l.is_empty());
            lines.map(|l| text(&json::decode_line(l).expect("reads").position)).collect()
        };
        let mut objects: Vec<Vec<String>> = self.bucket.objects().values().map(positions).collect();
        objects.sort();
        objects
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn record(position: &str, after: Data<Pieces>) -> Incoming {
    Record {
        position: Bytes::copy_from_slice(position.as_bytes()),
        operation: Operation::Create,
        metadata: Metadata::new(),
        key: None,
        payload: Change { before: None, after: Some(after) },
    }
}

fn records(positions: &[&str]) -> Vec<Incoming> {
    let raw = || Data::Raw(Bytes::from_static(b"payload"));
    positions.iter().map(|position| record(position, raw())).collect()
}

fn body(length: Option<u64>, bytes: Pieces) -> Data<Pieces> {
    Data::Body { length, bytes }
}

fn positions(acks: &[Ack]) -> Vec<String> {
    acks.iter().map(|ack| text(&ack.position)).collect()
}

fn slow_puts(delay: Duration) -> impl FnMut(&Request) -> Option<Reply> {
    move |request| (request.method == Method::Put).then(|| Reply::status(200).after(delay))
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_full_batch_is_stored_and_the_rest_waits_for_a_flush() {
    let mut fixture = Fixture::open(&[], |_| None);
    assert_eq!(positions(&fixture.write(records(&["a", "b", "c"])).expect("writes")), ["a", "b"]);
    assert_eq!(positions(&fixture.flush(SECOND).expect("flushes")), ["c"]);
    assert_eq!(fixture.stored(), [vec!["a", "b"], vec!["c"]]);
    assert!(fixture.bucket.objects().keys().all(|k| k.starts_with("out-") && k.ends_with(".json")));
    assert!(fixture.flush(SECOND).expect("nothing is left").is_empty());
    assert_eq!(fixture.ports.elapsed(), Duration::ZERO, "nothing waited");
}

#[test]
fn a_batch_is_stored_when_its_first_record_is_old() {
    let mut fixture = Fixture::open(&[("bufferDelay", "3s")], |_| None);
    assert!(fixture.write(records(&["a"])).expect("writes").is_empty());
    fixture.ports.advance(Duration::from_millis(2999));
    assert!(fixture.write(vec![]).expect("ticks").is_empty());
    fixture.ports.advance(Duration::from_millis(1));
    assert_eq!(positions(&fixture.write(vec![]).expect("ticks")), ["a"]);
    assert_eq!(fixture.stored(), [["a"]]);
}

#[test]
fn writing_does_not_wait_for_uploads_until_too_many_are_on_their_way() {
    let mut fixture = Fixture::open(&[("bufferSize", "1")], slow_puts(SECOND));
    let most = limits::UPLOADS_IN_FLIGHT_MAX;
    let names: Vec<_> = (0..most).map(|number| format!("p{number}")).collect();
    for name in &names {
        assert!(fixture.write(records(&[name])).expect("writes").is_empty());
    }
    assert_eq!((fixture.puts(), fixture.ports.elapsed()), (most, Duration::ZERO));
    assert!(fixture.write(records(&["e"])).expect("writes").is_empty(), "the buffer takes one more");
    assert_eq!((fixture.puts(), fixture.ports.elapsed()), (most, Duration::ZERO));
    let acks = fixture.write(records(&["f"])).expect("waits");
    assert_eq!(positions(&acks), names);
    assert_eq!((fixture.puts(), fixture.ports.elapsed()), (most + 2, SECOND));
    assert_eq!(positions(&fixture.flush(SECOND).expect("flushes")), ["e", "f"]);
}

#[test]
fn uploads_go_on_while_a_body_is_on_its_way() {
    let mut puts = 0;
    let mut fixture = Fixture::open(&[], move |request| {
        puts += i32::from(request.method == Method::Put);
        match (request.method, puts) {
            (Method::Put, 1) => Some(Reply::error(500, "InternalError", "Again.").after(SECOND)),
            (Method::Put, _) => Some(Reply::status(200).after(SECOND)),
            _ => None,
        }
    });
    let late = Pieces { late: Some(fixture.ports.timer(5 * SECOND)), ..Pieces::of(&[b"payload"]) };
    let mut all = records(&["a", "b", "c"]);
    all.push(record("d", body(None, late)));
    let acks = fixture.write(all).expect("writes");
    // The second attempt began and ended meanwhile.
    assert_eq!(positions(&acks), ["a", "b"]);
    assert_eq!((fixture.puts(), fixture.ports.elapsed()), (3, 5 * SECOND));
    assert_eq!(positions(&fixture.flush(SECOND).expect("flushes")), ["c", "d"]);
}

#[test]
fn acks_keep_the_order_of_records_when_uploads_end_in_another() {
    let mut delays = [5, 1, 3].into_iter().map(Duration::from_secs);
    let mut fixture = Fixture::open(&[("bufferSize", "1")], move |request| {
        (request.method == Method::Put).then(|| Reply::status(200).after(delays.next().unwrap_or_default()))
    });
    assert!(fixture.write(records(&["a", "b", "c"])).expect("writes").is_empty());
    assert!(fixture.flush(4 * SECOND).expect("waits").is_empty(), "the first is not there yet");
    assert_eq!(fixture.ports.elapsed(), 4 * SECOND);
    assert_eq!(positions(&fixture.flush(4 * SECOND).expect("flushes")), ["a", "b", "c"]);
    assert_eq!(fixture.ports.elapsed(), 5 * SECOND);
}

#[test]
fn a_flush_without_patience_only_starts_what_waits() {
    let mut fixture = Fixture::open(&[], slow_puts(SECOND));
    assert!(fixture.write(records(&["a"])).expect("writes").is_empty());
    assert!(fixture.flush(Duration::ZERO).expect("flushes").is_empty());
    assert_eq!((fixture.puts(), fixture.ports.elapsed()), (1, Duration::ZERO));
    fixture.ports.advance(SECOND);
    assert_eq!(positions(&fixture.write(vec![]).expect("ticks")), ["a"]);
}

#[test]
fn a_flush_finds_a_slot_for_a_batch_that_waits_for_one() {
    let mut fixture = Fixture::open(&[("bufferSize", "1")], slow_puts(SECOND));
    let names: Vec<_> = (0..=limits::UPLOADS_IN_FLIGHT_MAX).map(|number| format!("p{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert!(fixture.write(records(&names)).expect("writes").is_empty());
    let acks = fixture.flush(10 * SECOND).expect("flushes");
    assert_eq!(positions(&acks), names);
    assert_eq!(fixture.ports.elapsed(), 2 * SECOND);
}

#[test]
fn a_record_at_fault_is_answered_in_its_place_and_the_others_go_on() {
    let mut fixture = Fixture::open(&[("bufferSize", "3")], slow_puts(SECOND));
    let (three, huge) = (|| Pieces::of(&[b"abc"]), limits::STREAMED_BYTES_MAX + 1);
    let incoming = vec![
        record("a", body(Some(4), three())),
        record("b", body(Some(3), three())),
        record("c", body(Some(2), three())),
        record("d", body(Some(3), three().broken())),
        record("e", body(Some(huge), three())),
        record("f", Data::Structured("[]".to_owned())),
        record("g", Data::Structured("{}".to_owned())),
        record("h", body(None, three())),
        record("i", Data::Structured("{".to_owned())),
    ];
    let first = fixture.write(incoming).expect("writes");
    assert_eq!(positions(&first), ["a"], "nothing comes before it");
    let rest = fixture.flush(2 * SECOND).expect("flushes");
    assert_eq!(positions(&rest), ["b", "c", "d", "e", "f", "g", "h", "i"]);
    let errors: Vec<_> =
        first.iter().chain(&rest).map(|ack| ack.error.as_ref().map_or("", |error| error.message.as_str())).collect();
    for (error, expected) in errors.iter().zip([
        "`payload.after` is shorter than its declared 4 bytes",
        "",
        "`payload.after` is longer than its declared 2 bytes",
        "`payload.after` broke off: connection reset",
        "the record has 5368709121 bytes",
        "`payload.after` is structured, but not a JSON object",
        "",
        "",
        "not a JSON object",
    ]) {
        assert!(error.contains(expected) && error.is_empty() == expected.is_empty(), "{error}");
    }
    assert_eq!(fixture.puts(), 1, "the three good ones are one batch");
}

#[test]
fn a_failed_upload_ends_the_destination_and_answers_nothing_of_its_batch() {
    let mut puts = 0;
    let mut fixture = Fixture::open(&[], move |request| {
        puts += i32::from(request.method == Method::Put);
        (request.method == Method::Put && puts > 1).then(|| Reply::error(403, "AccessDenied", "Not you."))
    });
    let acks = fixture.write(records(&["a", "b", "c", "d", "e", "f", "g"])).expect("the first");
    assert_eq!(positions(&acks), ["a", "b"], "what is stored is answered first");
    let error = fixture.write(vec![]).expect_err("has failed");
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.message.contains("PutObject was denied on bucket \"b1x\""), "{error}");
    assert_eq!(fixture.flush(SECOND).expect_err("stays failed"), error);
    assert_eq!(fixture.write(records(&["h"])).expect_err("stays failed"), error);
    assert_eq!(fixture.stored(), [["a", "b"]]);
    let puts = fixture.puts();
    fixture.write(vec![]).expect_err("stays failed");
    assert_eq!(fixture.puts(), puts, "and asks no more");
    let opened = fixture.ports.block_on(fixture.destination.open());
    assert_eq!(opened.expect_err("stays failed"), error);
    fixture.ports.block_on(fixture.destination.teardown()).expect("tears down");
}

#[test]
fn a_failure_waits_for_the_answers_to_earlier_batches() {
    let mut puts = 0;
    let mut fixture = Fixture::open(&[("bufferSize", "1")], move |request| {
        puts += i32::from(request.method == Method::Put);
        match (request.method, puts) {
            (Method::Put, 1) => Some(Reply::status(200).after(SECOND)),
            (Method::Put, _) => Some(Reply::error(400, "InvalidRequest", "No.")),
            _ => None,
        }
    });
    assert!(fixture.write(records(&["a", "b"])).expect("writes").is_empty());
    assert_eq!(positions(&fixture.flush(5 * SECOND).expect("the first")), ["a"]);
    assert!(fixture.ports.elapsed() == SECOND);
    assert_eq!(fixture.flush(SECOND).expect_err("failed").kind, ErrorKind::Invalid);
}

#[test]
fn a_replay_writes_the_same_names_and_leaves_what_is_there() {
    let replay = |bucket: &Bucket, read_at: &str| {
        let mut fixture = Fixture::open(&[], |_| None);
        let inner = bucket.clone();
        fixture.ports.serve(move |request| inner.answer(request));
        let mut incoming = records(&["a", "b", "c", "d", "e"]);
        for record in &mut incoming {
            record.metadata.insert("opencdc.readAt".to_owned(), read_at.to_owned());
        }
        let mut acks = fixture.write(incoming).expect("writes");
        acks.extend(fixture.flush(SECOND).expect("flushes"));
        assert_eq!(positions(&acks), ["a", "b", "c", "d", "e"]);
        assert!(acks.iter().all(|ack| ack.error.is_none()));
    };
    let bucket = Bucket::default();
    replay(&bucket, "1");
    let before: Vec<_> = bucket.objects().into_iter().map(|(k, o)| (k, o.body)).collect();
    assert_eq!(before.len(), 3);
    replay(&bucket, "2");
    let after: Vec<_> = bucket.objects().into_iter().map(|(k, o)| (k, o.body)).collect();
    assert_eq!(before, after);
}

#[test]
fn other_records_with_the_same_positions_are_stored_beside() {
    let mut fixture = Fixture::open(&[], |_| None);
    assert_eq!(fixture.write(records(&["1", "2"])).expect("writes").len(), 2);
    let other = || Data::Raw(Bytes::from_static(b"other"));
    let incoming = ["1", "2"].map(|position| record(position, other())).into();
    assert_eq!(fixture.write(incoming).expect("writes").len(), 2);
    assert_eq!(fixture.stored(), [["1", "2"], ["1", "2"]]);
}

/// Writes records one by one into a bucket, each a batch, with randomness that follows from `seed`.
fn write_alone(bucket: &Bucket, seed: u64, positions: &[&str]) {
    let mut fixture = Fixture::open(&[("bufferSize", "1")], |_| None);
    let inner = bucket.clone();
    fixture.ports.serve(move |request| inner.answer(request));
    for _ in 0..seed {
        let _ = fixture.ports.random();
    }
    let acks = fixture.write(records(positions)).expect("writes");
    assert_eq!(acks.len(), positions.len());
}

#[test]
fn equal_records_without_a_position_are_all_stored_on_this_day_and_the_next() {
    let bucket = Bucket::default();
    write_alone(&bucket, 1, &["", "", ""]);
    assert_eq!(bucket.objects().len(), 3);
    write_alone(&bucket, 100, &["", "", ""]);
    assert_eq!(bucket.objects().len(), 6, "nothing says that it is a replay");
}

#[test]
fn equal_records_of_one_position_are_one_record_told_again() {
    let bucket = Bucket::default();
    for seed in [1, 100] {
        write_alone(&bucket, seed, &["a", "a", "a", "b"]);
        assert_eq!(bucket.objects().len(), 2, "whichever run it is");
    }
}

#[test]
fn a_batch_without_positions_keeps_its_name_while_it_is_tried() {
    let mut puts = 0;
    let mut fixture = Fixture::open(&[], |_| None);
    let bucket = fixture.bucket.clone();
    fixture.ports.serve(move |request| {
        puts += i32::from(request.method == Method::Put);
        let answer = bucket.answer(request);
        // It is stored, but the answer is lost.
        if puts < 3 && request.method == Method::Put {
            return Reply::reset();
        }
        answer
    });
    let acks = fixture.write(records(&["", "a"])).expect("writes");
    let rest = fixture.flush(10 * SECOND).expect("flushes");
    assert_eq!(acks.len() + rest.len(), 2);
    assert_eq!((fixture.puts(), fixture.stored()), (3, vec![vec![String::new(), "a".to_owned()]]));
}

#[test]
fn whatever_is_written_to_a_slow_store_memory_is_bounded() {
    const MIB: usize = 1 << 20;
    // Nothing that Parquet could make shorter.
    let random = TestPorts::new(3);
    let words = (0..63 * MIB / 8).flat_map(|_| random.random().to_le_bytes());
    let payload: Bytes = words.collect::<Vec<u8>>().into();
    for format in ["json", "parquet", "csv"] {
        for (bytes_max, payload_bytes, count) in
            [("64MiB", 31 * MIB, 14), ("192MiB", 31 * MIB, 16), ("16MiB", 63 * MIB, 7)]
        {
            let settings = [("format", format), ("bufferBytes", bytes_max)];
            let mut fixture = Fixture::open(&settings, slow_puts(SECOND));
            let (mut held_max, mut acks) = (0, Vec::new());
            for number in 0..count {
                let payload = Data::Raw(payload.slice(..payload_bytes));
                let records = vec![record(&number.to_string(), payload)];
                acks.extend(fixture.write(records).expect("waits for room"));
                held_max = held_max.max(fixture.destination.held_bytes());
                fixture.ports.forget_requests();
            }
            acks.extend(fixture.flush(60 * SECOND).expect("flushes"));
            assert_eq!(acks.len(), count as usize);
            assert_eq!(fixture.destination.held_bytes(), 0, "nothing is left over");
            let context = format!("{format}, {bytes_max}: {held_max} bytes");
            assert!(held_max <= limits::HELD_BYTES_MAX, "{context}");
            let batch_bytes = payload_bytes.min(64 * MIB) as u64;
            assert!(held_max > 3 * batch_bytes, "uploads go on side by side: {context}");
        }
    }
}

#[test]
fn a_record_that_grows_by_its_escapes_fits_by_itself() {
    let mut fixture = Fixture::open(&[("bufferSize", "1")], slow_puts(SECOND));
    for number in 0..2 {
        let mut record = records(&["a"]).remove(0);
        let controls = "\u{1}".repeat(40 << 20);
        record.metadata.insert(number.to_string(), controls);
        fixture.write(vec![record]).expect("waits for room");
        assert!(fixture.destination.held_bytes() <= limits::HELD_BYTES_MAX);
        fixture.ports.forget_requests();
    }
    // 30 parts of a second each, eight at a time.
    assert_eq!(fixture.ports.elapsed(), 4 * SECOND, "one after the other");
}

#[test]
fn refusals_do_not_pile_up_after_a_batch_that_does_not_fill() {
    let mut fixture = Fixture::open(&[("bufferSize", "100000"), ("bufferDelay", "1h")], |_| None);
    let bad = |_| record("b", Data::Structured("[]".to_owned()));
    assert!(fixture.write(records(&["a"])).expect("writes").is_empty());
    let mut acks = Vec::new();
    for _ in 0..=limits::BATCH_ACKS_MAX / 1000 {
        acks.extend(fixture.write((0..1000).map(bad).collect()).expect("writes"));
    }
    assert_eq!((acks.len(), fixture.puts()), (limits::BATCH_ACKS_MAX + 1001, 1));
}

#[test]
fn a_store_that_knows_no_head_is_written_to() {
    for (head, list) in [(405, 405), (405, 403), (501, 501), (403, 405)] {
        let mut fixture = Fixture::open(&[], move |request| match request.method {
            Method::Head => Some(Reply::status(head)),
            Method::Get => Some(Reply::error(list, "AccessDenied", "No.")),
            _ => None,
        });
        assert_eq!(fixture.ports.lines(Level::Warn).len(), 1, "{head}, {list}");
        assert_eq!(fixture.write(records(&["a", "b"])).expect("writes").len(), 2);
    }
}

#[test]
fn parquet_objects_are_named_and_typed_as_such() {
    let mut fixture = Fixture::open(&[("format", "parquet")], |_| None);
    assert_eq!(fixture.write(records(&["a", "b"])).expect("writes").len(), 2);
    let objects = fixture.bucket.objects();
    let (key, object) = objects.iter().next().expect("one object");
    assert!(key.ends_with(".parquet") && object.body.starts_with(b"PAR1"));
    let content_type = ("content-type".to_owned(), "application/vnd.apache.parquet".to_owned());
    assert!(object.headers.contains(&content_type));
}

#[test]
fn opening_says_why_the_bucket_cannot_be_used() {
    let message = |head: u16, status: u16, code: &'static str| {
        let mut fixture = Fixture::new(&[], move |request| match request.method {
            Method::Head => Some(Reply::status(head)),
            _ => Some(Reply::error(status, code, "Because.")),
        });
        let result = fixture.ports.block_on(fixture.destination.open());
        (result.map_err(|e| (e.kind, e.message)), fixture.ports.lines(Level::Warn).len())
    };
    let (missing, _) = message(404, 500, "");
    let (kind, text) = missing.expect_err("is missing");
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("bucket \"b1x\" does not exist"), "{text}");
    for (head, status, code, expected) in [
        (403, 403, "InvalidAccessKeyId", "refused the credentials"),
        (403, 403, "SignatureDoesNotMatch", "refused the credentials"),
        (400, 400, "ExpiredToken", "refused the credentials"),
        (403, 403, "AllAccessDisabled", "was denied"),
    ] {
        let (kind, text) = message(head, status, code).0.expect_err(code);
        assert_eq!(kind, ErrorKind::Denied, "{code}");
        assert!(text.contains(expected), "{code}: {text}");
    }
    assert_eq!(message(403, 403, "AccessDenied"), (Ok(()), 1), "writing may be allowed");
}

#[test]
fn opening_says_where_the_bucket_is() {
    let mut fixture = Fixture::new(&[], |_| {
        let reply = Reply::error(301, "PermanentRedirect", "Elsewhere.");
        Some(reply.header("x-amz-bucket-region", "eu-west-1"))
    });
    let error = fixture.ports.block_on(fixture.destination.open()).expect_err("is elsewhere");
    assert!(error.message.contains("is in region `eu-west-1`"), "{error}");
}

#[test]
fn a_refused_look_at_the_bucket_is_no_matter_where_it_can_be_listed() {
    Fixture::open(&[], |request| match request.method {
        Method::Head => Some(Reply::status(403)),
        _ => Some(Reply::status(200).body(&[b"<ListBucketResult/>"])),
    });
}

#[test]
fn calls_out_of_order_are_refused() {
    let mut fixture = Fixture::new(&[], |_| None);
    assert!(fixture.write(vec![]).expect_err("not open").message.contains("call `open` first"));
    fixture.ports.block_on(fixture.destination.open()).expect("opens");
    fixture.write(records(&["a"])).expect("writes");
    fixture.ports.block_on(fixture.destination.teardown()).expect("tears down");
    assert_eq!(fixture.ports.lines(Level::Warn).len(), 1, "a record was not answered");
    assert_eq!(fixture.write(vec![]).expect_err("torn down").kind, ErrorKind::Closed);
    assert_eq!(fixture.flush(SECOND).expect_err("torn down").kind, ErrorKind::Closed);
    let reopened = fixture.ports.block_on(fixture.destination.open());
    assert_eq!(reopened.expect_err("torn down").kind, ErrorKind::Closed);
    fixture.ports.block_on(fixture.destination.teardown()).expect("does no harm");
    assert_eq!(fixture.ports.lines(Level::Warn).len(), 1, "and says nothing more");
}

#[test]
fn a_teardown_after_a_refusal_says_nothing_more() {
    let mut fixture = Fixture::open(&[], |_| None);
    let bad = record("b", Data::Structured("[]".to_owned()));
    let acks = fixture.write(iter::once(bad).chain(records(&["c"])).collect()).expect("writes");
    assert!(acks.len() == 1 && acks[0].error.is_some(), "{acks:?}");
    fixture.ports.block_on(fixture.destination.teardown()).expect("tears down");
    assert!(fixture.ports.lines(Level::Warn).is_empty(), "the refusal was the answer");
    assert!(
        fixture.ports.lines(Level::Debug).iter().any(|line| line.starts_with("torn down")),
        "but nothing is hidden"
    );
    let mut fixture = Fixture::open(&[], |_| None);
    let bad = record("b", Data::Structured("[]".to_owned()));
    assert_eq!(fixture.write(vec![bad]).expect("writes").len(), 1);
    fixture.write(records(&["c"])).expect("goes on");
    fixture.ports.block_on(fixture.destination.teardown()).expect("tears down");
    assert_eq!(fixture.ports.lines(Level::Warn).len(), 1, "it had gone on after the refusal");
}

#[test]
fn a_prefix_that_leaves_no_room_for_a_name_is_refused() {
    let configure = |bytes: usize| {
        let prefix = "p".repeat(bytes);
        Destination::configure(TestPorts::new(1), &settings(&[("prefix", &prefix)])).map(drop)
    };
    assert!(configure(951).is_ok());
    let error = configure(952).expect_err("too long");
    assert!(error.message.contains("`prefix` has 952 bytes"), "{error}");
}

/// Writes numbered records, in as many folders, into a store that fails as `seed` determines, and returns the acks and the
/// failure, if there was one.
fn run_against_faults(seed: u64, percent: u64, folders: usize) -> (Vec<Ack>, Option<Error>, Fixture) {
    let settings = [("bufferSize", "3"), ("bufferDelay", "2s"), ("path", "{meta.folder}"), ("path.partitionsMax", "3")];
    let mut fixture = Fixture::open(if folders > 1 { &settings } else { &settings[..2] }, |_| None);
    let (random, bucket) = (TestPorts::new(seed), fixture.bucket.clone());
    let draw = move |bound: u64| random.random() % bound;
    let fault = draw.clone();
    fixture.ports.serve(move |request| {
        let delay = Duration::from_millis(fault(2000));
        if fault(100) >= percent {
            return bucket.answer(request).after(delay);
        }
        match fault(4) {
            0 => Reply::reset().after(delay),
            1 => Reply::error(503, "SlowDown", "Later.").after(delay),
            2 => Reply::error(409, "ConditionalRequestConflict", "Busy.").after(delay),
            _ => {
                bucket.answer(request);
                Reply::reset().after(delay)
            }
        }
    });
    let (mut acks, mut next) = (Vec::new(), 0);
    while next < 40 {
        let count = draw(6) as usize;
        let incoming = (next..next + count).map(|number| {
            let payload = match draw(5) {
                0 => Data::Structured("no JSON".to_owned()),
                1 => body(Some(1), Pieces::of(&[b"1"])),
                _ => Data::Raw(Bytes::from_static(b"payload")),
            };
            let mut one = record(&number.to_string(), payload);
            one.metadata.insert("folder".to_owned(), (number * number % folders).to_string());
            one
        });
        next += count;
        match fixture.write(incoming.collect()) {
            Ok(more) => acks.extend(more),
            Err(error) => return (acks, Some(error), fixture),
        }
        fixture.ports.advance(Duration::from_millis(draw(1500)));
    }
    while acks.len() < next {
        match fixture.flush(Duration::from_millis(draw(3000))) {
            Ok(more) => acks.extend(more),
            Err(error) => return (acks, Some(error), fixture),
        }
    }
    (acks, None, fixture)
}

/// How many of 300 runs give up; what they answered is in order and true.
fn check_against_faults(folders: usize) -> i32 {
    let mut failures = 0;
    for seed in 0..300 {
        let (acks, failure, fixture) = run_against_faults(seed, if seed % 3 == 0 { 75 } else { 30 }, folders);
        let expected: Vec<_> = (0..acks.len()).map(|number| number.to_string()).collect();
        assert_eq!(positions(&acks), expected, "seed {seed}");
        let mut stored: Vec<_> = fixture.stored().into_iter().flatten().collect();
        let taken: Vec<_> = acks.iter().filter(|ack| ack.error.is_none()).collect();
        for ack in &taken {
            assert!(stored.contains(&text(&ack.position)), "seed {seed}: acked, but not stored");
        }
        let count = stored.len();
        stored.sort();
        stored.dedup();
        assert_eq!(stored.len(), count, "seed {seed}: stored twice");
        match failure {
            None => assert_eq!(count, taken.len(), "seed {seed}"),
            Some(error) => {
                failures += 1;
                assert_eq!(error.kind, ErrorKind::Unavailable, "seed {seed}: {error}");
            }
        }
    }
    failures
}

#[test]
fn whatever_the_store_does_answers_are_in_order_and_true() {
    for folders in [1, 7] {
        let failures = check_against_faults(folders);
        assert!((1..100).contains(&failures), "{failures} of 300 gave up, in {folders} folders");
    }
}

#[test]
fn a_prefix_that_is_a_path_is_doubted_when_the_destination_opens() {
    let fixture = Fixture::open(&[("prefix", "/out/")], |_| None);
    let lines = fixture.ports.lines(Level::Warn);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with("`out/` was probably meant"), "{lines:?}");
}
