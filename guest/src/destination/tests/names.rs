//! Owns the tests of names that begin with a time, and of manifests. Leaves what they say to `summary`.

use super::*;
use crate::config::Settings;

/// A record that was created in this second, and read at some time.
fn timed(position: &str, second: u64, read_at: &str) -> Incoming {
    let mut one = record(position, Data::Raw(Bytes::from_static(b"payload")));
    one.metadata.insert("opencdc.createdAt".to_owned(), (second * 1_000_000_000).to_string());
    one.metadata.insert("opencdc.readAt".to_owned(), read_at.to_owned());
    one
}

/// Writes five records in batches of two.
fn write_five(bucket: &Bucket, settings: &[(&str, &str)], read_at: &str) -> Fixture {
    let mut fixture = Fixture::open(settings, |_| None);
    let inner = bucket.clone();
    fixture.ports.serve(move |request| inner.answer(request));
    let names = ["a", "b", "c", "d", "e"].into_iter().zip(1_769_860_800..);
    let incoming = names.map(|(position, second)| timed(position, second, read_at)).collect();
    let mut acks = fixture.write(incoming).expect("writes");
    acks.extend(fixture.flush(SECOND).expect("flushes"));
    assert_eq!(positions(&acks), ["a", "b", "c", "d", "e"]);
    fixture
}

/// Keys and bytes.
type Found = Vec<(String, Bytes)>;

/// What is in the bucket: manifests, and other objects.
fn split(bucket: &Bucket) -> (Found, Found) {
    let objects = bucket.objects().into_iter().map(|(key, object)| (key, object.body));
    objects.partition(|(key, _)| key.contains("_manifests/"))
}

fn json(bytes: &Bytes) -> serde_json::Value {
    serde_json::from_slice(bytes).expect("is JSON")
}

const NAMES: (&str, &str) = ("name", "time-digest");
const MANIFEST: (&str, &str) = ("manifest", "true");

#[test]
fn names_begin_with_a_time_if_they_are_to_and_are_those_of_a_replay() {
    let bucket = Bucket::default();
    write_five(&bucket, &[NAMES], "1");
    let keys: Vec<_> = bucket.objects().into_keys().collect();
    let starts: Vec<_> = keys.iter().map(|key| &key[..21]).collect();
    assert_eq!(starts, ["out-20260131T120000Z-", "out-20260131T120002Z-", "out-20260131T120004Z-"]);
    write_five(&bucket, &[NAMES], "22");
    assert!(bucket.objects().into_keys().eq(keys.clone()));
    let plain = Bucket::default();
    write_five(&plain, &[], "1");
    let mut digests: Vec<_> = keys.iter().map(|key| format!("out-{}", &key[21..])).collect();
    digests.sort();
    assert!(plain.objects().into_keys().eq(digests), "the digest is the same either way");
}

#[test]
fn names_of_records_without_a_time_are_digests_which_is_said_once() {
    let mut fixture = Fixture::open(&[NAMES, ("path", "p")], |_| None);
    fixture.write(records(&["a", "b", "c", "d"])).expect("writes");
    assert!(fixture.bucket.objects().keys().all(|key| key.len() == "out-p/.json".len() + 64));
    let lines = fixture.ports.lines(Level::Warn);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("`opencdc.createdAt`"), "{lines:?}");
}

#[test]
fn each_batch_has_a_manifest_once_its_object_is_stored() {
    let bucket = Bucket::default();
    let fixture = write_five(&bucket, &[MANIFEST, NAMES, ("path", "p={meta.p}")], "1");
    let (manifests, objects) = split(&bucket);
    assert_eq!((manifests.len(), objects.len()), (3, 3));
    for ((name, manifest), (key, body)) in manifests.iter().zip(&objects) {
        let manifest = json(manifest);
        let object = &manifest["objects"][0];
        assert_eq!((object["key"].as_str(), object["bytes"].as_u64()), (Some(key.as_str()), Some(body.len() as u64)));
        let file = key.rsplit('/').next().expect("a name");
        assert_eq!(*name, format!("out-_manifests/{file}"));
    }
    let first = json(&manifests[0].1);
    assert_eq!((&first["objects"][0]["records"], &first["positions"]["last"]), (&2.into(), &"Yg==".into()));
    let puts = fixture.ports.requests().into_iter().filter(|request| request.method == Method::Put);
    let puts: Vec<_> = puts.map(|request| request.path_with_query.contains("_manifests")).collect();
    assert_eq!(puts, [false, true, false, true, false, true]);
}

#[test]
fn a_batch_whose_manifest_cannot_be_stored_is_not_acked() {
    let mut fixture = Fixture::open(&[MANIFEST], |request| {
        let is_bad = request.method == Method::Put && request.path_with_query.contains("_manifests");
        is_bad.then(|| Reply::error(403, "AccessDenied", "No."))
    });
    assert_eq!(fixture.write(records(&["a", "b"])).expect_err("fails").kind, ErrorKind::Denied);
    assert_eq!(fixture.stored(), [["a", "b"]]);
}

#[test]
fn a_replay_leaves_manifests_and_makes_those_that_a_crash_has_left_out() {
    let bucket = Bucket::default();
    write_five(&bucket, &[MANIFEST], "1");
    let before = split(&bucket);
    write_five(&bucket, &[MANIFEST], "4444");
    assert_eq!(split(&bucket), before, "`readAt` is in the objects, and differs");
    let lost = &before.0[1];
    let kept = bucket.objects();
    bucket.clear();
    kept.into_iter().filter(|(key, _)| *key != lost.0).for_each(|(key, stored)| bucket.insert(&key, stored));
    write_five(&bucket, &[MANIFEST], "4444");
    assert_eq!(split(&bucket), before, "the bytes are those that are stored, not those of the replay");
}

#[test]
fn a_prefix_leaves_room_for_times_and_manifests() {
    let configure = |bytes: usize, more: &[(&str, &str)]| {
        let prefix = "p".repeat(bytes);
        let settings: Settings = settings(&[&[("prefix", prefix.as_str())], more].concat());
        Destination::configure(TestPorts::new(1), &settings).map(drop)
    };
    for (more, most) in [(&[NAMES][..], 934), (&[MANIFEST], 940), (&[NAMES, MANIFEST], 923)] {
        configure(most, more).expect("just fits");
        let error = configure(most + 1, more).expect_err("is too long");
        assert!(error.message.contains(&format!("at most {most}")), "{error}");
    }
    let error = configure(900, &[("path", &"a".repeat(60))]).expect_err("is too long");
    assert!(error.message.contains("setting `path` makes 61 bytes or more, but has room for 51"), "{error}");
}
