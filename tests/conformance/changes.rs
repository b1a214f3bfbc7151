//! Cases of what a source sees happen: creates, updates, deletes, in buckets that keep versions and that don't.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use embedded_s3::{Fault, MultipartOrder, ObjectHeaders, PutOptions, Rule, S3Operation, Versioning};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{AnySource, Bucket, Conditions, Env, SavedState, read_all, summary};

in_every_world! {
    changes_come_as_they_happened,
    a_bucket_without_versions_tells_what_is_there,
    many_deletes_in_a_bucket_without_versions_are_told,
    a_hole_in_a_listing_deletes_nothing,
    a_suspended_bucket_reuses_its_null_version,
    a_delete_in_a_suspended_bucket_is_told,
    versioning_may_be_switched_while_a_source_follows,
    many_changes_go_over_many_pages,
    versions_that_straddle_pages_keep_their_order_and_operation except(Real, "pages of a thousand versions"),
    hundreds_of_versions_of_few_keys_go_over_pages,
    every_change_of_one_second_is_delivered,
    an_upload_that_began_before_the_snapshot_is_delivered_when_it_completes,
    an_upload_that_outlasts_everything_is_delivered_when_it_completes except(Real, "it takes hours"),
    an_upload_that_is_given_up_is_no_change,
    a_late_upload_below_what_was_told_is_told_and_followed_by_the_top
        except(Real, "MinIO places an upload by its completion"),
    a_replica_with_an_older_stamp_is_delivered_whatever_its_age
        except(Real, "nobody but the store gives an object another stamp"),
    milliseconds_repeat_nothing,
    an_object_that_is_stamped_in_the_future_is_delivered_once
        except(Real, "nobody but the store gives an object another stamp"),
    removing_old_versions_permanently_is_no_change,
    what_is_removed_permanently_brings_back_what_it_hid,
    a_key_of_which_nothing_is_left_is_deleted_once,
    a_delete_of_what_is_not_there_is_no_change,
    the_same_bytes_again_are_a_change,
    a_store_that_lists_no_versions_is_followed_by_its_objects,
    uploads_in_progress_are_never_asked_for,
    metadata_says_which_version_is_the_latest,
}

/// A source that has caught up with what is there.
async fn following(bucket: &Bucket) -> AnySource {
    let mut source = bucket.open().await;
    read_all(&mut source).await.expect("reads");
    source
}

async fn next(source: &mut AnySource) -> Vec<String> {
    summary(&read_all(source).await.expect("reads"))
}

fn of_key(key: &str, changes: &[String]) -> Vec<String> {
    changes.iter().filter(|c| c.split(' ').nth(1) == Some(key)).cloned().collect()
}

async fn changes_come_as_they_happened(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = bucket.open().await;
    assert_eq!(next(&mut source).await, ["snapshot a 1"]);
    bucket.put("b", "1").await;
    bucket.put("a", "2").await;
    bucket.put("a", "3").await;
    bucket.delete("b").await;
    bucket.put("b", "2").await;
    let changes = next(&mut source).await;
    assert_eq!(changes.len(), 5, "{changes:?}");
    assert_eq!(of_key("a", &changes), ["update a 2", "update a 3"]);
    assert_eq!(of_key("b", &changes), ["create b 1", "delete b -", "create b 2"]);
    bucket.delete("a").await;
    assert_eq!(next(&mut source).await, ["delete a -"]);
}

async fn a_bucket_without_versions_tells_what_is_there(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket).await;
    bucket.put("b", "1").await;
    assert_eq!(next(&mut source).await, ["create b 1"]);
    bucket.put("b", "22").await;
    assert_eq!(next(&mut source).await, ["update b 22"]);
    bucket.delete("b").await;
    assert_eq!(next(&mut source).await, ["delete b -"]);
    assert!(next(&mut source).await.is_empty(), "it is told once");
    bucket.put("b", "333").await;
    assert_eq!(next(&mut source).await, ["create b 333"]);
    // No listing tells what came and went between two polls; of several bodies, the last.
    bucket.put("c", "1").await;
    bucket.delete("c").await;
    bucket.put("a", "22").await;
    bucket.put("a", "333").await;
    assert_eq!(next(&mut source).await, ["update a 333"]);
    bucket.delete("a").await;
    bucket.put("a", "4444").await;
    assert_eq!(next(&mut source).await, ["update a 4444"]);
}

async fn many_deletes_in_a_bucket_without_versions_are_told(env: &Env) {
    let bucket = env.plain().await;
    let keys: Vec<String> = (0..1100).map(|n| format!("k{n:05}")).collect();
    bucket.put_all(&keys, |_| "1".to_owned()).await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    assert_eq!(next(&mut source).await.len(), keys.len());
    // While it follows, and while nothing runs; the first and the last key of the listing among them.
    for key in keys.iter().step_by(2) {
        bucket.delete(key).await;
    }
    let mut records = read_all(&mut source).await.expect("reads");
    let position = records.last().expect("many").position.clone();
    drop(source);
    for key in keys.iter().skip(1).step_by(2) {
        bucket.delete(key).await;
    }
    let mut source = bucket.resume(&state, &position).await;
    records.extend(read_all(&mut source).await.expect("reads"));
    let mut deletes = summary(&records);
    deletes.sort();
    let expected: Vec<_> = keys.iter().map(|key| format!("delete {key} -")).collect();
    assert!(deletes == expected, "{} deletes", deletes.len());
}

async fn a_suspended_bucket_reuses_its_null_version(env: &Env) {
    let bucket = env.versioned().await;
    bucket.set_versioning(Versioning::Suspended).await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket).await;
    bucket.put("a", "22").await;
    assert_eq!(next(&mut source).await, ["update a 22"]);
    bucket.put("a", "333").await;
    assert_eq!(next(&mut source).await, ["update a 333"]);
    bucket.put("b", "1").await;
    assert_eq!(next(&mut source).await, ["create b 1"]);
}

async fn a_delete_in_a_suspended_bucket_is_told(env: &Env) {
    let bucket = env.versioned().await;
    bucket.set_versioning(Versioning::Suspended).await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket).await;
    bucket.put("b", "1").await;
    assert_eq!(next(&mut source).await, ["create b 1"]);
    // A marker takes the place of the `null` version: what it deleted, only the catalogue tells.
    for key in ["a", "b"] {
        bucket.delete(key).await;
        assert_eq!(next(&mut source).await, [format!("delete {key} -")]);
    }
    // A marker that takes the place of a marker deletes nothing.
    bucket.advance(Duration::from_secs(1)).await;
    bucket.delete("b").await;
    assert!(next(&mut source).await.is_empty());
    bucket.put("b", "2").await;
    assert_eq!(next(&mut source).await, ["create b 2"]);
    // No listing tells that it was gone in between.
    bucket.delete("b").await;
    bucket.put("b", "3").await;
    assert_eq!(next(&mut source).await, ["update b 3"]);
    bucket.delete("b").await;
    assert_eq!(next(&mut source).await, ["delete b -"]);
}

async fn versioning_may_be_switched_while_a_source_follows(env: &Env) {
    use Versioning::{Enabled, Suspended};
    let bucket = env.plain().await;
    bucket.put("a", "off").await;
    let mut source = following(&bucket).await;
    for (versioning, body, expected) in [
        (Enabled, Some("on"), "update a on"),
        (Enabled, None, "delete a -"),
        (Enabled, Some("on again"), "create a on again"),
        (Suspended, Some("suspended"), "update a suspended"),
        (Suspended, None, "delete a -"),
        (Enabled, Some("on permanently"), "create a on permanently"),
        (Enabled, Some("and more"), "update a and more"),
    ] {
        bucket.set_versioning(versioning).await;
        // Within one second, a listing that has versions and delete markers apart does not tell their order.
        bucket.advance(Duration::from_secs(1)).await;
        match body {
            Some(body) => bucket.put("a", body).await,
            None => bucket.delete("a").await,
        }
        assert_eq!(next(&mut source).await, [expected]);
    }
}

async fn many_changes_go_over_many_pages(env: &Env) {
    let bucket = env.versioned().await;
    let keys: Vec<String> = (0..1100).map(|n| format!("k{n:05}")).collect();
    let mut source = following(&bucket).await;
    bucket.put_all(&keys, |_| "1".to_owned()).await;
    let mut changes = next(&mut source).await;
    changes.sort();
    let expected: Vec<_> = keys.iter().map(|key| format!("create {key} 1")).collect();
    assert!(changes == expected, "{} changes", changes.len());
    bucket.put_all(&keys, |_| "2".to_owned()).await;
    let mut changes = next(&mut source).await;
    changes.sort();
    let expected: Vec<_> = keys.iter().map(|key| format!("update {key} 2")).collect();
    assert!(changes == expected, "{} changes", changes.len());
}

async fn versions_that_straddle_pages_keep_their_order_and_operation(env: &Env) {
    for page_size_max in 1..=4 {
        let bucket = env.bucket(Conditions::versioned().on(|store| store.page_size_max = page_size_max)).await;
        let mut source = following(&bucket).await;
        for n in 1..=3 {
            bucket.put("a", n.to_string()).await;
            bucket.put("b", n.to_string()).await;
        }
        bucket.delete("b").await;
        bucket.put("b", "4").await;
        let changes = next(&mut source).await;
        assert_eq!(of_key("a", &changes), ["create a 1", "update a 2", "update a 3"], "{page_size_max}");
        let b = ["create b 1", "update b 2", "update b 3", "delete b -", "create b 4"];
        assert_eq!(of_key("b", &changes), b, "{page_size_max}");
    }
}

async fn hundreds_of_versions_of_few_keys_go_over_pages(env: &Env) {
    let bucket = env.versioned().await;
    let mut source = following(&bucket).await;
    // The page ends amid the versions of `b`.
    let count = 600;
    let versions = async |key: &str| {
        for n in 1..=count {
            bucket.put(key, n.to_string()).await;
        }
    };
    tokio::join!(versions("a"), versions("b"));
    let changes = next(&mut source).await;
    assert_eq!(changes.len(), 2 * count);
    for key in ["a", "b"] {
        let mut expected = vec![format!("create {key} 1")];
        expected.extend((2..=count).map(|n| format!("update {key} {n}")));
        assert!(of_key(key, &changes) == expected, "{changes:?}");
    }
    assert!(next(&mut source).await.is_empty());
}

async fn every_change_of_one_second_is_delivered(env: &Env) {
    let bucket = env.within_a_second().await;
    bucket.put("a", "1").await;
    let mut source = bucket.open().await;
    assert_eq!(next(&mut source).await, ["snapshot a 1"]);
    for key in ["c", "b", "d"] {
        bucket.put(key, "1").await;
        assert_eq!(next(&mut source).await, [format!("create {key} 1")]);
    }
    // Overwritten within the second: another ETag, the same stamp.
    bucket.put("b", "2").await;
    assert_eq!(next(&mut source).await, ["update b 2"]);
}

async fn an_upload_that_began_before_the_snapshot_is_delivered_when_it_completes(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut upload = bucket.begin_upload("in parts").await;
    bucket.upload_part(&mut upload, "whole").await;
    let mut source = bucket.open().await;
    assert_eq!(next(&mut source).await, ["snapshot a 1"]);
    bucket.put("b", "1").await;
    assert_eq!(next(&mut source).await, ["create b 1"]);
    bucket.complete_upload(upload).await;
    assert_eq!(next(&mut source).await, ["create in parts whole"]);
    let mut upload = bucket.begin_upload("in parts").await;
    bucket.upload_part(&mut upload, "again").await;
    assert!(next(&mut source).await.is_empty(), "nothing has landed");
    bucket.complete_upload(upload).await;
    assert_eq!(next(&mut source).await, ["update in parts again"]);
}

async fn an_upload_that_outlasts_everything_is_delivered_when_it_completes(env: &Env) {
    for versioning in [Versioning::Enabled, Versioning::Off] {
        let conditions = Conditions::default().versioning(versioning).stopped();
        // As on MinIO: on AWS it would land below what was stored since its start.
        let bucket = env.bucket(conditions.on(|store| store.multipart_order = MultipartOrder::Commit)).await;
        bucket.put("a", "1").await;
        let mut upload = bucket.begin_upload("big").await;
        bucket.upload_part(&mut upload, "whole").await;
        let (state, briefly) = (SavedState::memory(), [("lookback", "1s")]);
        let mut source = bucket.start_with(&briefly, &state).await;
        assert_eq!(next(&mut source).await, ["snapshot a 1"]);
        bucket.advance(Duration::from_secs(3600)).await;
        bucket.put("big", "in between").await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(summary(&records), ["create big in between"]);
        bucket.advance(Duration::from_secs(3600)).await;
        drop(source);
        bucket.complete_upload(upload).await;
        let position = records[0].position.clone();
        let mut source = bucket.resume_with(&briefly, &state, &position).await;
        assert_eq!(next(&mut source).await, ["update big whole"]);
        assert!(next(&mut source).await.is_empty());
    }
}

async fn a_late_upload_below_what_was_told_is_told_and_followed_by_the_top(env: &Env) {
    let bucket = env.bucket(Conditions::versioned().stopped()).await;
    let state = SavedState::memory();
    let mut uploads = Vec::new();
    for body in ["early", "late"] {
        let mut upload = bucket.begin_upload("big").await;
        bucket.upload_part(&mut upload, body).await;
        uploads.push(upload);
        bucket.advance(Duration::from_secs(3600)).await;
    }
    bucket.put("big", "top").await;
    let mut source = bucket.start(&state).await;
    assert_eq!(next(&mut source).await, ["snapshot big top"]);
    // While it follows, and while nothing runs.
    bucket.complete_upload(uploads.remove(0)).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["update big early", "update big top"]);
    let is_latest: Vec<_> = records.iter().map(|r| r.metadata["s3.isLatest"].as_str()).collect();
    assert_eq!(is_latest, ["false", "true"]);
    assert!(next(&mut source).await.is_empty(), "nor once more");
    drop(source);
    bucket.complete_upload(uploads.remove(0)).await;
    let position = records[1].position.clone();
    let mut source = bucket.resume(&state, &position).await;
    assert_eq!(next(&mut source).await, ["update big late", "update big top"]);
    assert!(next(&mut source).await.is_empty());
    // Below a delete marker it is told, and that there is nothing now.
    let mut upload = bucket.begin_upload("big").await;
    bucket.upload_part(&mut upload, "last").await;
    bucket.advance(Duration::from_secs(1)).await;
    bucket.delete("big").await;
    assert_eq!(next(&mut source).await, ["delete big -"]);
    bucket.complete_upload(upload).await;
    assert_eq!(next(&mut source).await, ["create big last", "delete big -"]);
    assert!(next(&mut source).await.is_empty());
}

async fn an_upload_that_is_given_up_is_no_change(env: &Env) {
    let bucket = env.versioned().await;
    let mut upload = bucket.begin_upload("a").await;
    bucket.upload_part(&mut upload, "part").await;
    let mut source = following(&bucket).await;
    bucket.abort_upload(upload).await;
    bucket.put("b", "1").await;
    assert_eq!(next(&mut source).await, ["create b 1"]);
}

async fn a_replica_with_an_older_stamp_is_delivered_whatever_its_age(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket).await;
    for (key, minutes) in [("years old", 2 * 365 * 24 * 60), ("late", 4), ("later", 2)] {
        let time = bucket.server().clock().now() - Duration::from_secs(60 * minutes);
        put_stamped(&bucket, key, time);
    }
    assert_eq!(next(&mut source).await, ["create years old 1", "create late 1", "create later 1"]);
}

fn put_stamped(bucket: &Bucket, key: &str, time: SystemTime) {
    let options = PutOptions { body: Bytes::from_static(b"1"), last_modified: Some(time), ..PutOptions::default() };
    let store = bucket.server().store();
    store.put_with(bucket.name(), key, options).expect("stores");
}

async fn an_object_that_is_stamped_in_the_future_is_delivered_once(env: &Env) {
    let bucket = env.bucket(Conditions::versioned().stopped()).await;
    let hour = Duration::from_secs(3600);
    let ahead = bucket.server().clock().now() + hour;
    put_stamped(&bucket, "a", ahead);
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    assert_eq!(next(&mut source).await, ["snapshot a 1"]);
    put_stamped(&bucket, "b", ahead);
    assert_eq!(next(&mut source).await, ["create b 1"]);
    bucket.put("c", "1").await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["create c 1"]);
    drop(source);
    let position = records[0].position.clone();
    let mut source = bucket.resume(&state, &position).await;
    assert!(next(&mut source).await.is_empty());
    // What is stored on top of it has an older stamp, and comes after it.
    bucket.put("b", "2").await;
    assert_eq!(next(&mut source).await, ["update b 2"]);
    bucket.delete("b").await;
    assert_eq!(next(&mut source).await, ["delete b -"]);
    bucket.advance(2 * hour).await;
    bucket.put("c", "2").await;
    assert_eq!(next(&mut source).await, ["update c 2"]);
}

async fn milliseconds_repeat_nothing(env: &Env) {
    // Whether a real store has them is its own business; the suite's has.
    let bucket = env.bucket(Conditions::default().on_if(!env.is_real(), |store| store.milliseconds = true)).await;
    // Where time is virtual it begins on a whole second, at which milliseconds tell nothing.
    bucket.advance(Duration::from_millis(500)).await;
    bucket.put("a", "1").await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let mut records = read_all(&mut source).await.expect("reads");
    for key in ["b", "c"] {
        bucket.put(key, "1").await;
        records.extend(read_all(&mut source).await.expect("reads"));
    }
    assert_eq!(summary(&records), ["snapshot a 1", "create b 1", "create c 1"]);
    let position = records[2].position.clone();
    let mut source = bucket.resume(&state, &position).await;
    assert!(next(&mut source).await.is_empty());
}

async fn removing_old_versions_permanently_is_no_change(env: &Env) {
    let bucket = env.versioned().await;
    for n in 1..=3 {
        bucket.put("a", n.to_string()).await;
    }
    let mut source = following(&bucket).await;
    let versions = bucket.versions().await;
    bucket.delete_version(&versions[2]).await;
    assert!(next(&mut source).await.is_empty());
    bucket.delete_version(&versions[1]).await;
    bucket.put("b", "1").await;
    assert_eq!(next(&mut source).await, ["create b 1"]);
}

async fn what_is_removed_permanently_brings_back_what_it_hid(env: &Env) {
    let bucket = env.versioned().await;
    for n in 1..=2 {
        bucket.put("a", n.to_string()).await;
    }
    bucket.put("b", "1").await;
    let mut source = following(&bucket).await;
    bucket.delete("b").await;
    assert_eq!(next(&mut source).await, ["delete b -"]);
    // The newest version and the marker go: what they hid is current again, and no listing says since when.
    let versions = bucket.versions().await;
    let newest = versions.iter().find(|v| v.key == "a").expect("is kept");
    let marker = versions.iter().find(|v| v.is_marker).expect("is kept");
    for removed in [newest, marker] {
        bucket.delete_version(removed).await;
    }
    let mut changes = next(&mut source).await;
    changes.sort();
    assert_eq!(changes, ["create b 1", "update a 1"]);
    assert!(next(&mut source).await.is_empty(), "it is told once");
    bucket.put("a", "3").await;
    bucket.put("b", "2").await;
    let mut changes = next(&mut source).await;
    changes.sort();
    assert_eq!(changes, ["update a 3", "update b 2"]);
    // A marker that comes and goes between two polls changed nothing.
    bucket.delete("a").await;
    let versions = bucket.versions().await;
    bucket.delete_version(versions.iter().find(|v| v.is_marker).expect("is kept")).await;
    assert!(next(&mut source).await.is_empty());
}

async fn a_key_of_which_nothing_is_left_is_deleted_once(env: &Env) {
    let bucket = env.versioned().await;
    for n in 1..=3 {
        bucket.put("a", n.to_string()).await;
    }
    bucket.put("b", "1").await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    read_all(&mut source).await.expect("reads");
    bucket.delete("b").await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["delete b -"]);
    for version in bucket.versions().await {
        bucket.delete_version(&version).await;
    }
    // Of `b`, the reader knows already.
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["delete a -"]);
    assert_eq!(records[0].metadata.get("s3.versionId"), None);
    assert!(next(&mut source).await.is_empty());
    drop(source);
    let mut source = bucket.resume(&state, &records[0].position).await;
    assert!(next(&mut source).await.is_empty());
    bucket.put("a", "4").await;
    assert_eq!(next(&mut source).await, ["create a 4"]);
}

async fn a_hole_in_a_listing_deletes_nothing(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket).await;
    // A listing without the key, though the object is there.
    let document = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>";
    let hole = Fault::Document(Bytes::from_static(document.as_bytes()));
    let faults = bucket.wire().faults();
    let rule = faults.add(Rule::new(S3Operation::ListObjectVersions, hole).times(3));
    assert!(next(&mut source).await.is_empty());
    while faults.fired(rule) < 3 {
        assert!(next(&mut source).await.is_empty());
    }
    assert!(bucket.wire().requests_count(S3Operation::HeadObject) > 0, "the object itself is asked for");
    assert!(next(&mut source).await.is_empty(), "and it is no change that it is listed again");
    bucket.put("a", "22").await;
    assert_eq!(next(&mut source).await, ["update a 22"]);
    bucket.delete("a").await;
    assert_eq!(next(&mut source).await, ["delete a -"]);
}

async fn a_delete_of_what_is_not_there_is_no_change(env: &Env) {
    let bucket = env.versioned().await;
    let mut source = following(&bucket).await;
    bucket.delete("never").await;
    bucket.delete("never").await;
    bucket.put("a", "1").await;
    assert_eq!(next(&mut source).await, ["create a 1"]);
    bucket.put("never", "1").await;
    assert_eq!(next(&mut source).await, ["create never 1"]);
}

async fn the_same_bytes_again_are_a_change(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket).await;
    bucket.put("a", "1").await;
    assert_eq!(next(&mut source).await, ["update a 1"]);
    let headers =
        ObjectHeaders { metadata: [("colour".to_owned(), "blue".to_owned())].into(), ..ObjectHeaders::default() };
    assert!(bucket.try_put("a", "1", headers).await);
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["update a 1"]);
    assert_eq!(records[0].metadata.get("colour").map(String::as_str), Some("blue"));
}

async fn a_store_that_lists_no_versions_is_followed_by_its_objects(env: &Env) {
    // Whether it keeps any or not: an answer may name a version that no listing does.
    for versioning in [Versioning::Off, Versioning::Enabled] {
        let conditions = Conditions::default().versioning(versioning);
        let without = |store: &mut embedded_s3::Options| store.versions_api = false;
        let bucket = env.bucket(conditions.on_if(!env.is_real(), without)).await;
        if env.is_real() {
            let refusal = Fault::answer(501, "NotImplemented", "Not implemented.");
            bucket.wire().faults().add(Rule::new(S3Operation::ListObjectVersions, refusal));
        }
        bucket.put("a", "1").await;
        let mut source = following(&bucket).await;
        bucket.put("b", "1").await;
        bucket.put("a", "22").await;
        let mut changes = next(&mut source).await;
        changes.sort();
        assert_eq!(changes, ["create b 1", "update a 22"]);
        assert!(next(&mut source).await.is_empty());
        bucket.delete("a").await;
        assert_eq!(next(&mut source).await, ["delete a -"]);
        bucket.put("a", "333").await;
        assert_eq!(next(&mut source).await, ["create a 333"]);
        let asked = bucket.wire().requests_count(S3Operation::ListObjectVersions);
        assert_eq!(asked, 2, "once more, as a gateway may have answered; then it is believed");
    }
}

async fn uploads_in_progress_are_never_asked_for(env: &Env) {
    let bucket = env.versioned().await;
    let mut upload = bucket.begin_upload("in parts").await;
    bucket.upload_part(&mut upload, "whole").await;
    bucket.put("a", "1").await;
    let mut source = following(&bucket).await;
    bucket.put("a", "2").await;
    assert_eq!(next(&mut source).await, ["update a 2"]);
    bucket.complete_upload(upload).await;
    assert_eq!(next(&mut source).await, ["create in parts whole"]);
    let operations: BTreeSet<_> = bucket.wire().requests().iter().map(|r| r.operation.to_string()).collect();
    let expected = ["GetObject", "ListObjectVersions", "ListObjectsV2"].map(str::to_owned);
    assert_eq!(operations, expected.into());
}

async fn metadata_says_which_version_is_the_latest(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let mut records = read_all(&mut source).await.expect("reads");
    bucket.put("a", "2").await;
    bucket.put("a", "3").await;
    bucket.delete("a").await;
    records.extend(read_all(&mut source).await.expect("reads"));
    assert_eq!(summary(&records), ["snapshot a 1", "update a 2", "update a 3", "delete a -"]);
    let is_latest: Vec<_> = records.iter().map(|r| r.metadata["s3.isLatest"].as_str()).collect();
    assert_eq!((is_latest[0], is_latest[3]), ("true", "true"));
    // A listing that was under way may have shown one of them as the latest.
    assert!(is_latest[1..3].contains(&"false"), "{is_latest:?}");
}
