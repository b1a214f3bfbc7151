//! Cases of the snapshot: every object that is there, in the order of keys, and what records hold.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{ObjectHeaders, S3Operation, Stage, Versioning};
use s3_connector::record::Operation;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{
    Bucket, Conditions, Env, Record, SavedState, key, payload, read_all, read_some, summary,
};

in_every_world! {
    an_empty_bucket_gives_nothing_and_then_its_first_object,
    a_bucket_of_one_object_ends_its_snapshot_with_it,
    a_snapshot_of_exactly_one_page_is_whole,
    a_snapshot_goes_through_all_pages_in_the_order_of_keys,
    history_before_the_snapshot_stays_there,
    a_key_that_appears_before_the_cursor_is_not_lost,
    what_changes_on_either_side_of_the_reader_is_not_lost,
    an_object_that_is_deleted_or_overwritten_between_list_and_get_is_no_trouble,
    metadata_says_what_s3_says_and_user_metadata_cannot_pass_for_ours,
    an_object_without_content_type_has_none except(Real, "real stores make one up"),
    an_empty_object_and_a_folder_object_are_objects,
    a_body_comes_whole_though_its_connection_breaks
        except(Native, "bodies are resumed by the host"),
    an_archived_object_is_passed_over_and_counted,
    many_large_bodies_come_whole,
}

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
    let mut source = bucket.open().await;
    let records = read_all(&mut source).await.expect("reads");
    assert!(records.iter().all(|r| r.operation == Operation::Snapshot));
    assert!(records.iter().all(|r| payload(r).expect("a body") == key(r)));
    records
}

async fn an_empty_bucket_gives_nothing_and_then_its_first_object(env: &Env) {
    let bucket = env.versioned().await;
    let mut source = bucket.open().await;
    assert!(read_all(&mut source).await.expect("reads").is_empty());
    bucket.put("a", "1").await;
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create a 1"]);
}

async fn a_bucket_of_one_object_ends_its_snapshot_with_it(env: &Env) {
    let records = snapshot_of(&env.plain().await, &numbered(1)).await;
    assert_eq!(keys(&records), ["k00000"]);
    assert!(records[0].position.starts_with(b"k00000_c"), "the last one stands in CDC");
}

async fn a_snapshot_of_exactly_one_page_is_whole(env: &Env) {
    let expected = numbered(1000);
    let records = snapshot_of(&env.plain().await, &expected).await;
    assert_eq!(keys(&records), expected);
}

async fn a_snapshot_goes_through_all_pages_in_the_order_of_keys(env: &Env) {
    let expected = numbered(2500);
    let records = snapshot_of(&env.plain().await, &expected).await;
    assert_eq!(keys(&records), expected);
    assert!(records[2498].position.starts_with(b"k02498_s"));
    assert!(records[2499].position.starts_with(b"k02499_c"), "the last one stands in CDC");
}

async fn history_before_the_snapshot_stays_there(env: &Env) {
    let bucket = env.bucket(Conditions::default().stopped_if(!env.is_real())).await;
    bucket.set_versioning(Versioning::Enabled).await;
    bucket.put("gone", "1").await;
    bucket.delete("gone").await;
    bucket.put("kept", "1").await;
    bucket.put("kept", "2").await;
    // In the very second of the cut nobody could tell what was before it.
    bucket.advance(Duration::from_secs(2)).await;
    let mut source = bucket.open().await;
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["snapshot kept 2"]);
    bucket.put("gone", "2").await;
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["create gone 2"]);
}

async fn a_key_that_appears_before_the_cursor_is_not_lost(env: &Env) {
    let (bucket, keys, _) = env.paged().await;
    let mut listed = bucket.wire().pause(S3Operation::ListObjectVersions);
    let mut fetched = bucket.wire().hooks().pause(Stage::AfterAct, S3Operation::GetObject);
    let behind = async {
        // The first page, then the second; what the first page held is fetched meanwhile, but for its last key: of that
        // the second page may hold further versions.
        listed.arrived().await.release();
        let held = listed.arrived().await;
        let mut left: BTreeSet<_> = keys[..1].iter().cloned().collect();
        while !left.is_empty() {
            let get = fetched.arrived().await;
            left.remove(get.seen().key.as_deref().expect("an object has a key"));
            get.release();
        }
        drop(fetched);
        bucket.put("a", "missed").await;
        bucket.put(&keys[0], "missed").await;
        bucket.delete(&keys[1]).await;
        held.release();
        drop(listed);
    };
    let read = async {
        let mut source = bucket.source(&[], &SavedState::memory(), None).await?;
        read_all(&mut source).await
    };
    let (records, ()) = tokio::join!(read, behind);
    let mut lines = summary(&records.expect("reads"));
    let mut changes = lines.split_off(keys.len());
    changes.sort();
    let snapshot: Vec<_> = keys.iter().map(|key| format!("snapshot {key} 1")).collect();
    assert_eq!(lines, snapshot);
    assert_eq!(changes, ["create a missed", "delete k0001 -", "update k0000 missed"]);
}

async fn what_changes_on_either_side_of_the_reader_is_not_lost(env: &Env) {
    let bucket = env.versioned().await;
    // More than may wait for the reader: the last page is listed only once it goes on.
    let keys = numbered(3100);
    bucket.put_all(&keys, |_| "1".to_owned()).await;
    let one_at_a_time = [("concurrency", "1")];
    let mut source = bucket.open_with(&one_at_a_time).await;
    let mut records = read_some(&mut source, 2).await.expect("reads");
    bucket.put("a", "missed").await;
    bucket.put("k00000", "missed").await;
    bucket.delete("k00001").await;
    bucket.put("k03098", "ahead").await;
    bucket.delete("k03099").await;
    records.extend(read_all(&mut source).await.expect("reads"));
    let lines = summary(&records);
    let of = |key: &str| -> Vec<&str> {
        lines.iter().map(String::as_str).filter(|line| line.split(' ').nth(1) == Some(key)).collect()
    };
    assert_eq!(of("a"), ["create a missed"]);
    assert_eq!(of("k00000"), ["snapshot k00000 1", "update k00000 missed"]);
    assert_eq!(of("k00001"), ["snapshot k00001 1", "delete k00001 -"]);
    // A fast store may have listed the last page already: then what was there is told first.
    let ahead = of("k03098");
    let is_first = ahead == ["snapshot k03098 ahead"];
    assert!(is_first || ahead == ["snapshot k03098 1", "update k03098 ahead"], "{ahead:?}");
    // What is gone when it is listed was never there for the reader.
    let gone = of("k03099");
    let was_told = gone == ["snapshot k03099 1", "delete k03099 -"];
    assert!(gone.is_empty() || was_told, "{gone:?}");
    let untouched: Vec<_> = keys[2..3098].iter().map(|key| format!("snapshot {key} 1")).collect();
    assert_eq!(lines[2..3098], untouched);
}

async fn an_object_that_is_deleted_or_overwritten_between_list_and_get_is_no_trouble(env: &Env) {
    let bucket = env.bucket(Conditions::versioned().stopped_if(!env.is_real())).await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    let mut pause = bucket.wire().pause(S3Operation::GetObject);
    let one_at_a_time = [("concurrency", "1")];
    let mut source = bucket.open_with(&one_at_a_time).await;
    let changes = async {
        let held = pause.arrived().await;
        bucket.delete("b").await;
        bucket.put("c", "2").await;
        held.release();
        drop(pause);
    };
    let (records, ()) = tokio::join!(read_all(&mut source), changes);
    // What was listed is told as long as its version can be read.
    let expected = ["snapshot a 1", "snapshot b 1", "snapshot c 1", "delete b -", "update c 2"];
    assert_eq!(summary(&records.expect("reads")), expected);
}

async fn metadata_says_what_s3_says_and_user_metadata_cannot_pass_for_ours(env: &Env) {
    let bucket = env.versioned().await;
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
    let mut source = bucket.start(&SavedState::none()).await;
    let records = read_all(&mut source).await.expect("reads");
    let of = |name: &str| records[0].metadata.get(name).map(String::as_str);
    assert_eq!(of("opencdc.collection"), Some(bucket.name()));
    assert_eq!(of("s3.header.contentType"), Some("text/plain"));
    assert_eq!(of("s3.size"), Some("5"));
    assert_eq!(of("s3.etag"), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(of("colour"), Some("blue"));
    assert_eq!(of("s3.metadata.s3.etag"), Some("forged"));
    assert_eq!(of("s3.metadata.opencdc.collection"), Some("forged"));
    assert_eq!(of("s3.metadata.conduit.source.connector.id"), Some("forged"));
    let nanoseconds = |name| of(name).expect(name).parse::<u128>().expect("a number");
    assert!(nanoseconds("opencdc.readAt") > 1_600_000_000_000_000_000);
    assert!(nanoseconds("opencdc.createdAt") > 1_600_000_000_000_000_000);
    assert!(of("s3.lastModified").is_some_and(|time| time.ends_with('Z')));
    let version = bucket.versions().await.remove(0).id;
    assert_eq!(of("s3.versionId"), Some(&*version));
}

async fn an_object_without_content_type_has_none(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    let mut source = bucket.start(&SavedState::none()).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(records[0].metadata.get("s3.header.contentType"), None);
    assert_eq!(records[0].metadata.get("s3.versionId"), None, "nor a version where none is kept");
}

async fn an_empty_object_and_a_folder_object_are_objects(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("empty", "").await;
    bucket.put("folder/", "").await;
    let mut source = bucket.start(&SavedState::none()).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["snapshot empty ", "snapshot folder/ "]);
}

/// Bytes of which no two words are the same.
fn words(count: u32) -> Bytes {
    (0..count).flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

async fn a_body_comes_whole_though_its_connection_breaks(env: &Env) {
    // Small ones are drained by the host at once, large ones are streamed.
    for words_count in [3, 100_000, 3_000_000] {
        let (bucket, body) = (env.plain().await, words(words_count));
        bucket.put("body", body.clone()).await;
        let length = body.len() as u64;
        for body_bytes in [0, 1, length / 2, length - 1] {
            let fault = embedded_s3::Fault::Truncate { body_bytes };
            let broken = embedded_s3::Rule::new(S3Operation::GetObject, fault).times(2);
            let broken = bucket.wire().faults().add(broken);
            let mut source = bucket.start(&SavedState::none()).await;
            let records = read_all(&mut source).await.expect("reads");
            assert!(
                payload(&records[0]).expect("a body") == body,
                "{length} bytes that broke after {body_bytes} are resumed by range"
            );
            assert_eq!(bucket.wire().faults().fired(broken), 2);
            bucket.wire().faults().clear();
        }
    }
}

async fn an_archived_object_is_passed_over_and_counted(env: &Env) {
    let bucket = env.versioned().await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    // <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
    let message = "The operation is not valid for the object's storage class";
    let archived = embedded_s3::Fault::answer(403, "InvalidObjectState", message);
    let archived = |key: &str| {
        let gets = embedded_s3::Filter::from(S3Operation::GetObject).key(key);
        embedded_s3::Rule::new(gets, archived.clone())
    };
    bucket.wire().faults().add(archived("b"));
    let mut source = bucket.open().await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records)[..2], ["snapshot a 1", "snapshot c 1"]);
    let skipped = source.progress().await.expect("answers");
    assert!(skipped.counter("skipped") > 0);
    // Restored and copied onto itself, as the log says, it is there again.
    bucket.wire().faults().clear();
    bucket.put("b", "1").await;
    assert_eq!(summary(&read_all(&mut source).await.expect("reads")), ["update b 1"]);
}

async fn many_large_bodies_come_whole(env: &Env) {
    let bucket = env.plain().await;
    let body = words(500_000);
    for n in 0..8 {
        bucket.put(&format!("k{n}"), body.clone()).await;
    }
    let mut source = bucket.start(&SavedState::none()).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(records.len(), 8);
    assert!(records.iter().all(|record| payload(record).expect("a body") == body));
}
