//! Owns the tests of a destination whose objects are in folders. Leaves templates and the choice among batches to `path` and
//! `partitions`.

use super::*;

/// Records whose metadata `p` name their folders, by the letters of `text`; positions count from 0.
fn records_of(text: &str) -> Vec<Incoming> {
    let with = |(letter, number): (char, usize)| {
        let mut one = record(&number.to_string(), Data::Raw(Bytes::from_static(b"payload")));
        one.metadata.insert("p".to_owned(), letter.to_string());
        one
    };
    text.chars().zip(0..).map(with).collect()
}

const PATH: (&str, &str) = ("path", "p={meta.p}");

/// The positions in each object, with the folder that it is in, sorted.
fn stored_in(fixture: &Fixture) -> Vec<String> {
    let of = |(key, object): (&String, &Stored)| {
        let lines = object.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let positions: Vec<_> = lines.map(|line| text(&json::decode_line(line).expect("reads").position)).collect();
        let folder = key.rsplit_once('/').expect("is in a folder").0;
        format!("{folder}: {}", positions.join(" "))
    };
    let mut found: Vec<_> = fixture.bucket.objects().iter().map(of).collect();
    found.sort();
    found
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

#[test]
fn records_of_one_path_are_batched_together_and_acked_in_their_order() {
    let mut fixture = Fixture::open(&[PATH], |_| None);
    let acks = fixture.write(records_of("abbccd")).expect("writes");
    assert!(acks.is_empty(), "the first record is not stored yet: {acks:?}");
    assert_eq!(stored_in(&fixture), ["out-p=b: 1 2", "out-p=c: 3 4"]);
    assert_eq!(positions(&fixture.flush(SECOND).expect("flushes")), numbers(6));
    assert_eq!(stored_in(&fixture), ["out-p=a: 0", "out-p=b: 1 2", "out-p=c: 3 4", "out-p=d: 5"]);
}

#[test]
fn each_batch_has_its_own_age() {
    let mut fixture = Fixture::open(&[PATH, ("bufferDelay", "5s")], |_| None);
    for letters in ["a", "b"] {
        assert!(fixture.write(records_of(letters)).expect("writes").is_empty());
        fixture.ports.advance(3 * SECOND);
    }
    assert_eq!(fixture.write(vec![]).expect("ticks").len(), 1);
    assert_eq!(stored_in(&fixture), ["out-p=a: 0"]);
    fixture.ports.advance(2 * SECOND);
    assert_eq!(fixture.write(vec![]).expect("ticks").len(), 1);
}

#[test]
fn a_record_without_a_path_is_answered_in_its_place() {
    let mut fixture = Fixture::open(&[("path", "{field.a}")], |_| None);
    let fields = ["{\"a\":1}", "{\"a\":[]}", "{\"a\":1}", "{\"b\":1}"].into_iter().zip(0..);
    let incoming = fields.map(|(json, number)| record(&number.to_string(), Data::Structured(json.to_owned())));
    let mut acks = fixture.write(incoming.collect()).expect("writes");
    acks.extend(fixture.flush(SECOND).expect("flushes"));
    assert_eq!(positions(&acks), numbers(4));
    let refused: Vec<_> = acks.iter().map(|ack| ack.error.is_some()).collect();
    assert_eq!(refused, [false, true, false, false]);
    assert_eq!(stored_in(&fixture), ["out-1: 0 2", "out-__HIVE_DEFAULT_PARTITION__: 3"]);
}

#[test]
fn a_time_of_writing_is_that_of_the_call() {
    let mut fixture = Fixture::open(&[("path", "{now:%H/%M}")], |_| None);
    fixture.write(records(&["a"])).expect("writes");
    fixture.ports.advance(60 * SECOND);
    fixture.write(records(&["b"])).expect("writes");
    fixture.flush(SECOND).expect("flushes");
    assert_eq!(stored_in(&fixture), ["out-22/13: a", "out-22/14: b"]);
}

#[test]
fn a_failure_in_one_path_leaves_later_acks_and_what_still_fills_out() {
    let mut fixture = Fixture::open(&[PATH], |request| {
        let is_bad = request.method == Method::Put && request.path_with_query.contains("p%3Db");
        is_bad.then(|| Reply::error(403, "AccessDenied", "No."))
    });
    // Of `a` the first two are stored, the third waits for a fourth; of `b` nothing can be.
    let acks = fixture.write(records_of("aaabbcc")).expect("those before it");
    assert_eq!(positions(&acks), ["0", "1"]);
    assert_eq!(fixture.write(vec![]).expect_err("has failed").kind, ErrorKind::Denied);
    assert_eq!(stored_in(&fixture), ["out-p=a: 0 1"], "what waited is written again elsewhere");
    fixture.ports.block_on(fixture.destination.teardown()).expect("tears down");
}

#[test]
fn acks_before_a_failure_wait_for_uploads_of_other_paths_alone() {
    let answer = |request: &Request| match request.method {
        Method::Put if request.path_with_query.contains("p%3Da") => Some(Reply::status(200).after(SECOND)),
        Method::Put if request.path_with_query.contains("p%3Db") => Some(Reply::error(400, "InvalidRequest", "No.")),
        _ => None,
    };
    let mut fixture = Fixture::open(&[PATH], answer);
    assert_eq!(fixture.write(records_of("dabab")).expect_err("`d` still waits").kind, ErrorKind::Invalid);
    let mut fixture = Fixture::open(&[PATH], answer);
    assert!(fixture.write(records_of("aabbc")).expect("writes").is_empty());
    assert!(fixture.write(records_of("e")).expect("takes nothing more").is_empty());
    assert_eq!(positions(&fixture.flush(5 * SECOND).expect("the first two")), ["0", "1"]);
    assert_eq!(fixture.flush(SECOND).expect_err("has failed").kind, ErrorKind::Invalid);
}

#[test]
fn a_replay_gives_the_same_objects_in_each_folder() {
    // Twelve folders, seven of which may fill at a time.
    let letters: String = {
        let random = TestPorts::new(5);
        (0..400).map(|_| char::from(b'a' + (random.random() % 12) as u8)).collect()
    };
    let run = |bucket: &Bucket, calls: usize| {
        let settings = [PATH, ("bufferSize", "9"), ("path.partitionsMax", "7")];
        let mut fixture = Fixture::open(&settings, |_| None);
        let inner = bucket.clone();
        fixture.ports.serve(move |request| inner.answer(request));
        let (mut incoming, mut acks) = (records_of(&letters), Vec::new());
        while !incoming.is_empty() {
            let rest = incoming.split_off(incoming.len().min(calls));
            acks.extend(fixture.write(incoming).expect("writes"));
            incoming = rest;
        }
        acks.extend(fixture.flush(SECOND).expect("flushes"));
        assert_eq!(positions(&acks), numbers(400));
    };
    let bucket = Bucket::default();
    run(&bucket, 400);
    let keys: Vec<_> = bucket.objects().into_keys().collect();
    assert!(keys.len() > 60, "{}", keys.len());
    run(&bucket, 3);
    assert!(bucket.objects().into_keys().eq(keys), "however records are handed over");
}

#[test]
fn a_path_that_seldom_gets_a_record_does_not_hold_up_the_others_for_long() {
    let settings = [PATH, ("bufferSize", "1000"), ("bufferDelay", "1h")];
    let mut fixture = Fixture::open(&settings, |_| None);
    let mut acks = fixture.write(records_of("a")).expect("writes");
    let often = "b".repeat(1000);
    for _ in 0..limits::BATCH_ACKS_MAX / 1000 {
        acks.extend(fixture.write(records_of(&often)).expect("writes"));
        fixture.ports.forget_requests();
    }
    assert_eq!(acks.len(), limits::BATCH_ACKS_MAX + 1);
}

#[test]
fn acks_that_wait_for_one_slow_upload_are_bounded() {
    let slow = |request: &Request| {
        let is_slow = request.method == Method::Put && request.path_with_query.contains("p%3Da");
        is_slow.then(|| Reply::status(200).after(3600 * SECOND))
    };
    let mut fixture = Fixture::open(&[PATH, ("bufferSize", "1000")], slow);
    let mut acks = fixture.write(records_of(&"a".repeat(1000))).expect("writes");
    let often = "b".repeat(1000);
    for _ in 0..limits::ACKS_WAITING_MAX / 1000 {
        acks.extend(fixture.write(records_of(&often)).expect("writes"));
        fixture.ports.forget_requests();
        assert!(fixture.destination.ledger.len() <= limits::ACKS_WAITING_MAX);
    }
    assert_eq!(fixture.ports.elapsed(), 3600 * SECOND, "writing waits for it in the end");
    assert_eq!(acks.len(), limits::ACKS_WAITING_MAX + 1000);
}

/// What ends a batch, the settings that have it so, and letters of records.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn each_stored_batch_is_reported_with_what_ended_it() {
    let cases: [Case<'_>; 4] = [
        ("records", &[PATH], "aa"),
        ("flush", &[PATH], "a"),
        ("bytes", &[PATH, ("bufferSize", "1000"), ("bufferBytes", "1KiB")], &"a".repeat(200)),
        ("partitions", &[PATH, ("path.partitionsMax", "1")], "ab"),
    ];
    for (cut, settings, text) in cases {
        let mut fixture = Fixture::open(settings, |_| None);
        let acks = fixture.write(records_of(text)).expect("writes").len();
        let acks = acks + fixture.flush(SECOND).expect("flushes").len();
        assert_eq!(acks, text.len());
        let lines = fixture.ports.lines(Level::Debug);
        let stored: Vec<_> = lines.iter().filter(|line| line.starts_with("batch stored; ")).collect();
        assert!(stored[0].starts_with(&format!("batch stored; cut=`{cut}`, records=`")), "{cut}: {stored:?}");
        assert_eq!(stored.len(), fixture.bucket.objects().len());
        let number = |line: &str, name: &str| -> usize {
            let (_, after) = line.split_once(&format!("{name}=`")).expect("it is there");
            after.split('`').next().and_then(|text| text.parse().ok()).expect("a number")
        };
        assert_eq!(stored.iter().map(|line| number(line, "records")).sum::<usize>(), text.len());
        let bytes: usize = fixture.bucket.objects().values().map(|object| object.body.len()).sum();
        assert_eq!(stored.iter().map(|line| number(line, "bytes")).sum::<usize>(), bytes);
    }
    let mut fixture = Fixture::open(&[PATH, ("bufferDelay", "3s")], |_| None);
    fixture.write(records_of("a")).expect("writes");
    fixture.ports.advance(3 * SECOND);
    assert_eq!(fixture.write(vec![]).expect("ticks").len(), 1);
    let lines = fixture.ports.lines(Level::Debug);
    assert!(lines.iter().any(|line| line.starts_with("batch stored; cut=`delay`, records=`1`")), "{lines:?}");
}
