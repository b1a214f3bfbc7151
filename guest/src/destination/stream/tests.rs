//! Owns the tests of records that are stored while they arrive. Leaves those of parts and names to `upload` and `key`.

use std::time::Duration;

use bytes::Bytes;

use crate::config::Settings;
use crate::destination::{Ack, Destination};
use crate::error::ErrorKind;
use crate::limits;
use crate::ports::{Clock, Level, Method, Request};
use crate::record::{Change, Data, Metadata, Operation, Record, json};
use crate::testing::{Bucket, Pieces, Reply, TestPorts};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes of a payload just too large to be held.
const LARGE: usize = (64 << 20) + 4;

fn settings(format: &str) -> Settings {
    let settings =
        [("aws.bucket", "b1x"), ("aws.region", "us-east-1"), ("aws.endpoint", "http://store:9000"), ("format", format)];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn open(ports: &TestPorts, format: &str) -> Destination<TestPorts> {
    let mut destination = Destination::configure(ports.clone(), &settings(format)).expect("good settings");
    ports.block_on(destination.open()).expect("opens");
    destination
}

fn payload(count: usize) -> Bytes {
    (0..count).map(|at| (at / 7) as u8).collect::<Vec<_>>().into()
}

/// A body of these bytes in pieces that are no multiple of anything.
fn pieces(bytes: &Bytes) -> Pieces {
    let sizes = [100_001_usize, 1, 262_144, 3].into_iter().cycle();
    let (mut left, mut pieces) = (bytes.clone(), Pieces::default());
    for size in sizes {
        if left.is_empty() {
            break;
        }
        pieces.left.push_back(Ok(left.split_to(left.len().min(size))));
    }
    pieces
}

fn record(position: &str, read_at: &str, length: usize, body: Pieces) -> Record<Pieces> {
    Record {
        position: Bytes::copy_from_slice(position.as_bytes()),
        operation: Operation::Create,
        metadata: Metadata::from([("opencdc.readAt".to_owned(), read_at.to_owned())]),
        key: Some(Data::Raw(Bytes::from_static(b"k"))),
        payload: Change { before: None, after: Some(Data::Body { length: Some(length as u64), bytes: body }) },
    }
}

fn small(position: &str) -> Record<Pieces> {
    record(position, "1", 3, Pieces::of(&[b"abc"]))
}

/// Writes records to a bucket whose answers `change` may replace by its own, and returns all acks.
fn write(
    bucket: &Bucket,
    records: Vec<Record<Pieces>>,
    mut change: impl FnMut(&Request, Reply) -> Reply + 'static,
) -> (TestPorts, crate::error::Result<Vec<Ack>>) {
    let (ports, inner) = (TestPorts::new(1), bucket.clone());
    ports.serve(move |request| change(request, inner.answer(request)));
    let mut destination = open(&ports, "json");
    let acks = ports.block_on(async {
        let mut acks = destination.write(records).await?;
        acks.extend(destination.flush(600 * SECOND).await?);
        Ok(acks)
    });
    (ports, acks)
}

fn count(ports: &TestPorts, method: Method) -> usize {
    ports.requests().iter().filter(|request| request.method == method).count()
}

#[test]
fn a_large_payload_is_stored_as_it_was_between_the_batches_around_it() {
    let (bucket, bytes) = (Bucket::default(), payload(LARGE));
    let records = vec![small("a"), record("b", "1", LARGE, pieces(&bytes)), small("c")];
    let (ports, acks) = write(&bucket, records, |_, reply| reply.after(SECOND));
    let acks = acks.expect("stores");
    assert_eq!(acks.iter().map(|ack| &ack.position[..]).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    assert!(acks.iter().all(|ack| ack.error.is_none()));
    let objects = bucket.objects();
    assert_eq!(objects.len(), 3);
    let large = objects.values().max_by_key(|object| object.body.len()).expect("is there");
    let line = large.body.strip_suffix(b"\n").expect("one line");
    let read = json::decode_line(line).expect("a record");
    assert!(read.payload.after == Some(Data::Raw(bytes)) && read.key == Some(Data::Raw(Bytes::from_static(b"k"))));
    let stated = |name: &str| large.headers.iter().find(|(known, _)| known.ends_with(name)).expect(name).1.clone();
    assert_eq!(stated("opencdc-bytes"), large.body.len().to_string());
    assert_eq!(stated("opencdc-records"), "1");
    assert!(ports.saved().is_empty() && bucket.uploads().is_empty());
    let parts = ports.requests().iter().filter(|r| r.path_with_query.contains("partNumber")).count();
    assert_eq!((parts, count(&ports, Method::Post)), (11, 2), "parts, and two more");
}

#[test]
fn a_large_payload_is_in_the_folder_of_its_record() {
    let (bucket, bytes, ports) = (Bucket::default(), payload(LARGE), TestPorts::new(1));
    let inner = bucket.clone();
    ports.serve(move |request| inner.answer(request));
    let mut settings = settings("json");
    for (name, value) in [("path", "at={record.time:%S}/{meta.none}"), ("manifest", "true"), ("name", "time-digest")] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let mut destination = Destination::configure(ports.clone(), &settings).expect("good settings");
    ports.block_on(destination.open()).expect("opens");
    let mut large = record("b", "0", LARGE, pieces(&bytes));
    large.metadata.insert("opencdc.createdAt".to_owned(), "59000000000".to_owned());
    let records = vec![small("a"), large, small("c")];
    let mut acks = ports.block_on(destination.write(records)).expect("writes");
    acks.extend(ports.block_on(destination.flush(600 * SECOND)).expect("stores"));
    assert_eq!(acks.iter().map(|ack| &ack.position[..]).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    let objects = bucket.objects();
    let (manifests, keys): (Vec<_>, Vec<_>) = objects.keys().partition(|key| key.starts_with("_manifests/"));
    let folders: Vec<_> = keys.iter().map(|key| &key[..6]).collect();
    assert_eq!(folders, ["at=00/", "at=59/"], "what fills in another folder goes on filling");
    assert!(keys[1][6..].starts_with("__HIVE_DEFAULT_PARTITION__/19700101T000059Z-"), "{keys:?}");
    assert_eq!(manifests.len(), 2);
    let manifest = &objects[&format!("_manifests/{}", keys[1].rsplit('/').next().expect("a name"))];
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.body).expect("is JSON");
    assert_eq!(manifest["objects"][0]["bytes"], objects[keys[1]].body.len());
    assert_eq!(manifest["positions"]["first"], "Yg==");
}

#[test]
fn no_more_is_held_than_parts_on_their_way() {
    let (ports, bytes) = (TestPorts::new(1), payload(LARGE));
    let bucket = Bucket::default();
    ports.serve(move |request| bucket.answer(request).after(SECOND));
    let mut destination = open(&ports, "json");
    ports.block_on(destination.write(vec![record("a", "1", LARGE, pieces(&bytes))])).expect("takes it");
    assert!(destination.held_bytes() < limits::PARTS_HELD_BYTES + (1 << 20));
    let acks = ports.block_on(destination.flush(60 * SECOND)).expect("stores");
    assert_eq!((acks.len(), destination.held_bytes()), (1, 0));
}

#[test]
fn parts_go_out_while_the_body_is_awaited() {
    let bytes = payload(LARGE);
    let bucket = Bucket::default();
    let ports = TestPorts::new(1);
    let (inner, clock) = (bucket.clone(), ports.clone());
    let mut first = None;
    ports.serve(move |request| {
        if request.path_with_query.contains("partNumber=2&") {
            first.get_or_insert(clock.elapsed());
            assert!(clock.elapsed() < 5 * SECOND, "the body is not there yet");
        }
        inner.answer(request)
    });
    let mut body = pieces(&bytes);
    let last = body.left.pop_back().expect("there are pieces").expect("bytes");
    // The last bytes come late.
    body.end = Some((ports.timer(100 * SECOND), last));
    let mut destination = open(&ports, "json");
    let acks = ports.block_on(destination.write(vec![record("a", "1", LARGE, body)])).expect("takes it");
    assert_eq!((ports.elapsed(), acks.len()), (100 * SECOND, 1));
}

#[test]
fn a_replay_that_was_read_at_another_time_is_known() {
    let (bucket, bytes) = (Bucket::default(), payload(LARGE));
    let again = |read_at| vec![record("a", read_at, LARGE, pieces(&bytes))];
    write(&bucket, again("1"), |_, reply| reply).1.expect("stores");
    let (ports, acks) = write(&bucket, again("22"), |_, reply| reply);
    assert!(acks.expect("is stored")[0].error.is_none());
    assert_eq!((count(&ports, Method::Delete), bucket.objects().len()), (1, 1));
    assert!(bucket.uploads().is_empty() && ports.saved().is_empty());
}

#[test]
fn another_record_of_the_same_name_is_refused_and_overwrites_nothing() {
    let (bucket, bytes) = (Bucket::default(), payload(LARGE));
    write(&bucket, vec![record("a", "1", LARGE, pieces(&bytes))], |_, reply| reply).1.expect("stores");
    let stored = bucket.objects();
    let mut other = bytes.to_vec();
    other[LARGE / 2] ^= 1;
    let other = record("a", "1", LARGE, pieces(&other.into()));
    let (_, acks) = write(&bucket, vec![other, small("b")], |_, reply| reply);
    let acks = acks.expect("goes on");
    assert_eq!(acks[0].error.as_ref().expect("is refused").kind, ErrorKind::Invalid);
    assert!(acks[1].error.is_none());
    let (key, object) = stored.first_key_value().expect("one");
    assert!(bucket.objects()[key].body == object.body && bucket.uploads().is_empty());
}

#[test]
fn a_completion_whose_answer_was_lost_is_found_to_be_ours() {
    let (bucket, bytes, mut is_first) = (Bucket::default(), payload(LARGE), true);
    let (ports, acks) = write(&bucket, vec![record("a", "1", LARGE, pieces(&bytes))], move |request, reply| {
        let is_complete = request.method == Method::Post && request.path_with_query.contains("uploadId=");
        if is_complete && std::mem::take(&mut is_first) { Reply::reset() } else { reply }
    });
    assert!(acks.expect("is stored")[0].error.is_none());
    assert_eq!(count(&ports, Method::Get), 1, "the bytes are compared");
    assert!(ports.saved().is_empty());
}

#[test]
fn a_store_without_conditions_is_looked_at_first() {
    let (bucket, bytes, ports) = (Bucket::default(), payload(LARGE), TestPorts::new(1));
    let inner = bucket.clone();
    ports.serve(move |request| {
        if request.headers.iter().any(|(name, _)| *name == "if-none-match") {
            return Reply::error(501, "NotImplemented", "No.");
        }
        inner.answer(request)
    });
    let mut destination = open(&ports, "json");
    for gets in 0..2 {
        let record = record("a", "1", LARGE, pieces(&bytes));
        let acks = ports.block_on(async {
            let mut acks = destination.write(vec![record]).await?;
            acks.extend(destination.flush(60 * SECOND).await?);
            Ok::<_, crate::error::Error>(acks)
        });
        assert!(acks.expect("stores")[0].error.is_none());
        assert_eq!((bucket.objects().len(), count(&ports, Method::Get)), (1, gets));
    }
    assert!(ports.lines(Level::Warn).iter().any(|line| line.contains("rejects conditional writes")));
}

#[test]
fn a_store_that_refuses_conditions_on_parts_alone_still_gets_them_on_other_objects() {
    let (bucket, bytes, ports) = (Bucket::default(), payload(LARGE), TestPorts::new(1));
    let inner = bucket.clone();
    let is_conditional = |request: &Request| request.headers.iter().any(|(name, _)| *name == "if-none-match");
    ports.serve(move |request| match request.method {
        Method::Post if is_conditional(request) => Reply::error(501, "NotImplemented", "No."),
        _ => inner.answer(request),
    });
    let mut destination = open(&ports, "json");
    for record in [record("a", "1", LARGE, pieces(&bytes)), small("b")] {
        let acks = ports.block_on(async {
            let mut acks = destination.write(vec![record]).await?;
            acks.extend(destination.flush(60 * SECOND).await?);
            Ok::<_, crate::error::Error>(acks)
        });
        assert!(acks.expect("stores")[0].error.is_none());
    }
    let requests = ports.requests();
    let is_object = |request: &&Request| request.method == Method::Put && !request.path_with_query.contains('?');
    let objects: Vec<&Request> = requests.iter().filter(is_object).collect();
    assert!(objects.len() == 1 && is_conditional(objects[0]), "{}", objects.len());
}

#[test]
fn a_body_at_fault_is_refused_and_its_upload_aborted() {
    let bytes = payload(LARGE);
    let mut longer = pieces(&bytes);
    longer.left.push_back(Ok(Bytes::from_static(b"x")));
    let shorter = pieces(&bytes.slice(..LARGE - 1));
    for (body, kind) in [
        (longer, ErrorKind::Corrupt),
        (shorter, ErrorKind::Corrupt),
        (pieces(&bytes.slice(..LARGE / 2)).broken(), ErrorKind::Unavailable),
    ] {
        let bucket = Bucket::default();
        let (ports, acks) = write(&bucket, vec![record("a", "1", LARGE, body), small("b")], |_, reply| reply);
        let acks = acks.expect("goes on");
        assert_eq!(acks[0].error.as_ref().expect("is refused").kind, kind);
        assert!(acks[1].error.is_none());
        assert!(bucket.uploads().is_empty() && ports.saved().is_empty());
        assert_eq!(bucket.objects().len(), 1);
    }
}

#[test]
fn a_store_that_refuses_a_part_ends_it() {
    let (bucket, bytes) = (Bucket::default(), payload(LARGE));
    let records = vec![small("a"), record("b", "1", LARGE, pieces(&bytes)), small("c")];
    let (_, acks) = write(&bucket, records, |request, reply| {
        if request.path_with_query.contains("partNumber=3&") { Reply::error(403, "AccessDenied", "No.") } else { reply }
    });
    assert_eq!(acks.expect_err("fails").kind, ErrorKind::Denied);
    assert!(bucket.uploads().is_empty());
}

#[test]
fn what_cannot_be_stored_while_it_arrives_is_refused_with_what_to_do() {
    let ports = TestPorts::new(1);
    ports.serve(|_| Reply::status(200));
    let huge = 5_usize << 30;
    for (format, length, words) in [
        ("parquet", LARGE, "`format` = `json`"),
        ("json", huge + 1, "at most 5368709120"),
        ("json", huge + 1, "chunkBytes"),
    ] {
        let mut destination = open(&ports, format);
        let written = destination.write(vec![record("a", "1", length, Pieces::default())]);
        let acks = ports.block_on(written).expect("goes on");
        let error = acks[0].error.clone().expect("is refused");
        assert!(error.message.contains(words), "{error}");
    }
}
