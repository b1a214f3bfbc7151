//! Cases of the source's first look: every object that is there, in the order of keys, and what records say.

use std::time::Duration;

use bytes::Bytes;
use s3_connector::record::Operation;
use s3_connector_tests::embedded::{
    self, ObjectHeaders, Operation as S3Operation, Stage, Versioning,
};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{
    Bucket, Conditions, Kind, Place, Record, State, key, payload, read_all, summary,
};

in_every_world! {
    an_empty_bucket_gives_nothing_and_then_its_first_object,
    a_bucket_of_one_object_ends_its_snapshot_with_it,
    a_snapshot_of_exactly_one_page_is_whole,
    a_snapshot_goes_through_all_pages_in_the_order_of_keys,
    odd_keys_arrive_as_they_are,
    a_prefix_is_a_plain_string,
    history_before_the_snapshot_stays_there,
    a_key_that_appears_behind_the_cursor_is_not_lost except(Real, PAUSE),
    an_object_that_is_deleted_or_overwritten_between_list_and_get_is_no_trouble except(Real, PAUSE),
    metadata_says_what_s3_says_and_user_metadata_cannot_pass_for_ours,
    an_object_without_content_type_has_none except(Real, "real stores make one up"),
    an_empty_object_and_a_folder_object_are_objects,
    a_large_body_comes_whole_though_its_connection_breaks
        except(Native, "bodies are resumed by the host") except(Real, FAULT),
    many_large_bodies_come_whole,
}

const PAUSE: &str = "the store is held between two requests";
const FAULT: &str = "the store is made to fail";

/// Keys `k00000` to one below `count`.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k{n:05}")).collect()
}

fn keys(records: &[Record]) -> Vec<String> {
    records.iter().map(key).collect()
}

/// Takes a snapshot of a bucket where each object's body is its key.
async fn snapshot_of(bucket: &Bucket, keys: &[String]) -> Vec<Record> {
    bucket.put_all(keys, str::to_owned).await;
    let mut source = bucket
        .source(&[], &State::memory(), None)
        .await
        .expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert!(records.iter().all(|r| r.operation == Operation::Snapshot));
    assert!(
        records
            .iter()
            .all(|r| payload(r).expect("a body") == key(r))
    );
    records
}

async fn an_empty_bucket_gives_nothing_and_then_its_first_object(place: &Place) {
    let bucket = place.versioned().await;
    let mut source = bucket
        .source(&[], &State::memory(), None)
        .await
        .expect("opens");
    assert!(read_all(&mut source).await.expect("reads").is_empty());
    bucket.put("a", "1").await;
    assert_eq!(
        summary(&read_all(&mut source).await.expect("reads")),
        ["create a 1"]
    );
}

async fn a_bucket_of_one_object_ends_its_snapshot_with_it(place: &Place) {
    let records = snapshot_of(&place.plain().await, &numbered(1)).await;
    assert_eq!(keys(&records), ["k00000"]);
    assert!(
        records[0].position.starts_with(b"k00000_c"),
        "the last one stands in CDC"
    );
}

async fn a_snapshot_of_exactly_one_page_is_whole(place: &Place) {
    let expected = numbered(1000);
    let records = snapshot_of(&place.plain().await, &expected).await;
    assert_eq!(keys(&records), expected);
}

async fn a_snapshot_goes_through_all_pages_in_the_order_of_keys(place: &Place) {
    let expected = numbered(2500);
    let records = snapshot_of(&place.plain().await, &expected).await;
    assert_eq!(keys(&records), expected);
    assert!(records[2498].position.starts_with(b"k02498_s"));
    assert!(
        records[2499].position.starts_with(b"k02499_c"),
        "the last one stands in CDC"
    );
}

/// Keys that encodings, paths and positions stumble over.
const ODD: [&str; 27] = [
    "/lead",
    " space ",
    "a+b",
    "a%20b",
    "a%2Fb",
    "späße/ü",
    "a//b",
    "tab\there",
    "line\nend",
    "\u{1}ctrl",
    "a&b<c>\"'",
    "_",
    "a_s1",
    "a_c",
    "~",
    "..",
    "a/./b",
    "a/../b",
    "?query=1#x",
    "日本語",
    "😀",
    "e\u{301}",
    "\u{e9}",
    "\u{fffd}",
    "folder/",
    "%",
    "=",
];

async fn odd_keys_arrive_as_they_are(place: &Place) {
    let bucket = place.versioned().await;
    // As many bytes as a key may have.
    let longest = "ü".repeat(512);
    let odd = [&ODD[..], &[&longest]].concat();
    for key in &odd {
        let taken = bucket
            .try_put(key, (*key).to_owned(), ObjectHeaders::default())
            .await;
        assert!(taken || place.kind() == Kind::Real, "{key:?}");
    }
    // Some stores have no such keys, or make others of them.
    let expected = bucket.keys().await;
    assert!(expected.len() >= 20 && (expected.len() == odd.len() || place.kind() == Kind::Real));
    let mut source = bucket
        .source(&[], &State::memory(), None)
        .await
        .expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(keys(&records), expected);
    let body_of = |key: &str| {
        odd.iter()
            .find(|odd| odd.trim_start_matches('/') == key.trim_start_matches('/'))
    };
    for record in &records {
        let (key, body) = (key(record), payload(record).expect("a body"));
        assert_eq!(
            body,
            body_of(&key).unwrap_or_else(|| panic!("nobody put {key:?}"))
        );
    }
    for key in &expected {
        bucket.put(key, "again").await;
    }
    let mut records = read_all(&mut source).await.expect("reads");
    records.sort_by_key(key);
    assert_eq!(keys(&records), expected);
    for record in &records {
        // MinIO keeps no versions of folders.
        let is_kept = place.kind() != Kind::Real || !key(record).ends_with('/');
        let expected = if is_kept {
            Operation::Update
        } else {
            Operation::Create
        };
        assert_eq!(record.operation, expected, "{:?}", key(record));
    }
}

async fn a_prefix_is_a_plain_string(place: &Place) {
    let bucket = place.plain().await;
    // No key is the folder of another: MinIO does not list what is below an object.
    for key in ["a/1", "aa", "ab/2", "b", "a b"] {
        bucket.put(key, "x").await;
    }
    for (prefix, expected) in [
        ("a", &["a b", "a/1", "aa", "ab/2"][..]),
        ("a/", &["a/1"]),
        ("a ", &["a b"]),
        ("a/1", &["a/1"]),
        ("z", &[]),
    ] {
        let settings = [("prefix", prefix)];
        let mut source = bucket
            .source(&settings, &State::none(), None)
            .await
            .expect("opens");
        assert_eq!(
            keys(&read_all(&mut source).await.expect("reads")),
            expected,
            "{prefix:?}"
        );
    }
}

async fn history_before_the_snapshot_stays_there(place: &Place) {
    let conditions = Conditions {
        is_stopped: place.kind() != Kind::Real,
        ..Conditions::default()
    };
    let bucket = place.bucket(conditions).await;
    bucket.set_versioning(Versioning::Enabled).await;
    bucket.put("gone", "1").await;
    bucket.delete("gone").await;
    bucket.put("kept", "1").await;
    bucket.put("kept", "2").await;
    // In the very second of the cut nobody could tell what was before it.
    bucket.advance(Duration::from_secs(2)).await;
    let mut source = bucket
        .source(&[], &State::memory(), None)
        .await
        .expect("opens");
    assert_eq!(
        summary(&read_all(&mut source).await.expect("reads")),
        ["snapshot kept 2"]
    );
    bucket.put("gone", "2").await;
    assert_eq!(
        summary(&read_all(&mut source).await.expect("reads")),
        ["create gone 2"]
    );
}

async fn a_key_that_appears_behind_the_cursor_is_not_lost(place: &Place) {
    let store = embedded::Options {
        page_size_max: 2,
        ..embedded::Options::default()
    };
    let versioning = Some(Versioning::Enabled);
    let bucket = place
        .bucket(Conditions {
            versioning,
            store: Some(store),
            ..Conditions::default()
        })
        .await;
    for key in ["b", "c", "d", "e"] {
        bucket.put(key, "1").await;
    }
    let mut listed = bucket.server().pause(S3Operation::ListObjectsV2);
    let mut fetched = bucket
        .server()
        .hooks()
        .pause(Stage::AfterAct, S3Operation::GetObject);
    let behind = async {
        // The bucket's check and the first page, then the second; what the first page held is fetched meanwhile.
        for _ in 0..2 {
            listed.arrived().await.release();
        }
        let held = listed.arrived().await;
        for _ in ["b", "c"] {
            fetched.arrived().await.release();
        }
        drop(fetched);
        bucket.put("a", "behind").await;
        bucket.put("b", "behind").await;
        bucket.delete("c").await;
        held.release();
        drop(listed);
    };
    let read = async {
        let mut source = bucket.source(&[], &State::memory(), None).await?;
        read_all(&mut source).await
    };
    let (records, ()) = tokio::join!(read, behind);
    let mut lines = summary(&records.expect("reads"));
    lines[4..].sort();
    let snapshot = [
        "snapshot b 1",
        "snapshot c 1",
        "snapshot d 1",
        "snapshot e 1",
    ];
    assert_eq!(lines[..4], snapshot);
    assert_eq!(
        lines[4..],
        ["create a behind", "delete c -", "update b behind"]
    );
}

async fn an_object_that_is_deleted_or_overwritten_between_list_and_get_is_no_trouble(
    place: &Place,
) {
    let versioning = Some(Versioning::Enabled);
    let bucket = place
        .bucket(Conditions {
            versioning,
            is_stopped: true,
            ..Conditions::default()
        })
        .await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    let mut pause = bucket.server().pause(S3Operation::GetObject);
    let one_at_a_time = [("concurrency", "1")];
    let mut source = bucket
        .source(&one_at_a_time, &State::memory(), None)
        .await
        .expect("opens");
    let changes = async {
        let held = pause.arrived().await;
        bucket.delete("b").await;
        bucket.put("c", "2").await;
        held.release();
        drop(pause);
    };
    let (records, ()) = tokio::join!(read_all(&mut source), changes);
    // The snapshot passes over what is gone; the versions still tell that it was there.
    let expected = ["snapshot a 1", "snapshot c 2", "create b 1", "delete b -"];
    assert_eq!(summary(&records.expect("reads")), expected);
}

async fn metadata_says_what_s3_says_and_user_metadata_cannot_pass_for_ours(place: &Place) {
    let bucket = place.versioned().await;
    let user = [
        ("colour", "blue"),
        ("s3.etag", "forged"),
        ("opencdc.collection", "forged"),
        ("conduit.source.connector.id", "forged"),
    ];
    let headers = ObjectHeaders {
        content_type: Some("text/plain".to_owned()),
        metadata: user.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        ..ObjectHeaders::default()
    };
    assert!(bucket.try_put("a", "hello", headers).await);
    let mut source = bucket
        .source(&[], &State::none(), None)
        .await
        .expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    let of = |name: &str| records[0].metadata.get(name).map(String::as_str);
    assert_eq!(of("opencdc.collection"), Some(bucket.name()));
    assert_eq!(of("s3.header.contentType"), Some("text/plain"));
    assert_eq!(of("s3.size"), Some("5"));
    assert_eq!(of("s3.etag"), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(of("colour"), Some("blue"));
    assert_eq!(of("s3.metadata.s3.etag"), Some("forged"));
    assert_eq!(of("s3.metadata.opencdc.collection"), Some("forged"));
    assert_eq!(
        of("s3.metadata.conduit.source.connector.id"),
        Some("forged")
    );
    let nanoseconds = |name| of(name).expect(name).parse::<u128>().expect("a number");
    assert!(nanoseconds("opencdc.readAt") > 1_600_000_000_000_000_000);
    assert!(nanoseconds("opencdc.createdAt") > 1_600_000_000_000_000_000);
    assert!(of("s3.lastModified").is_some_and(|time| time.ends_with('Z')));
    let version = bucket.versions().await.remove(0).id;
    assert_eq!(of("s3.versionId"), Some(&*version));
}

async fn an_object_without_content_type_has_none(place: &Place) {
    let bucket = place.plain().await;
    bucket.put("a", "1").await;
    let mut source = bucket
        .source(&[], &State::none(), None)
        .await
        .expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(records[0].metadata.get("s3.header.contentType"), None);
    assert_eq!(
        records[0].metadata.get("s3.versionId"),
        None,
        "nor a version where none is kept"
    );
}

async fn an_empty_object_and_a_folder_object_are_objects(place: &Place) {
    let bucket = place.plain().await;
    bucket.put("empty", "").await;
    bucket.put("folder/", "").await;
    let mut source = bucket
        .source(&[], &State::none(), None)
        .await
        .expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["snapshot empty ", "snapshot folder/ "]);
}

/// Bytes of which no two words are the same.
fn words(count: u32) -> Bytes {
    (0..count)
        .flat_map(u32::to_le_bytes)
        .collect::<Vec<u8>>()
        .into()
}

async fn a_large_body_comes_whole_though_its_connection_breaks(place: &Place) {
    let bucket = place.plain().await;
    let body = words(3_000_000);
    bucket.put("big", body.clone()).await;
    let fault = embedded::Fault::Truncate {
        body_bytes: 5_000_000,
    };
    bucket
        .server()
        .faults()
        .add(embedded::Rule::new(S3Operation::GetObject, fault).times(1));
    let mut source = bucket
        .source(&[], &State::none(), None)
        .await
        .expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert!(
        payload(&records[0]).expect("a body") == body,
        "resumed by range"
    );
}

async fn many_large_bodies_come_whole(place: &Place) {
    let bucket = place.plain().await;
    let body = words(500_000);
    for n in 0..8 {
        bucket.put(&format!("k{n}"), body.clone()).await;
    }
    let mut source = bucket
        .source(&[], &State::none(), None)
        .await
        .expect("opens");
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(records.len(), 8);
    assert!(
        records
            .iter()
            .all(|record| payload(record).expect("a body") == body)
    );
}
