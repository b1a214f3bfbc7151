//! Owns the tests of what becomes of a key's versions over time, as listings show it: late uploads, permanent deletion,
//! versioning that is switched, and pages between which something happens.

use std::time::{Duration, SystemTime};

use http::Method;

use crate::client::{Call, Entry, SigningClient, get, put, server_with};
use embedded_s3::{
    Clock, EmbeddedS3, GoneVersion, ListingKinds, MultipartOrder, ObjectHeaders, Options, S3Operation, Stage,
    Versioning,
};

const START: SystemTime = SystemTime::UNIX_EPOCH;

fn stopped() -> Options {
    Options { clock: Clock::manual(START), ..Options::default() }
}

async fn versioned(options: Options) -> (EmbeddedS3, SigningClient) {
    let (server, mut client) = server_with(options, Versioning::Enabled).await;
    client.time = Some(START);
    (server, client)
}

async fn list(client: &SigningClient) -> Vec<Entry> {
    let answer = client.send(get("bkt", "").query("versions", "")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.entries()
}

/// Starts an upload at 0 s, stores a version at 1 s, deletes it at 2 s, and completes the upload at 3 s.
async fn complete_late(server: &EmbeddedS3) -> [String; 3] {
    let (store, clock) = (server.store(), server.clock());
    let upload = store.begin_upload("bkt", "k", ObjectHeaders::default()).unwrap();
    store.upload_part("bkt", "k", &upload, 1, "late").unwrap();
    clock.advance(Duration::from_secs(1));
    let plain = store.put("bkt", "k", "plain").unwrap().version_id;
    clock.advance(Duration::from_secs(1));
    let marker = store.delete("bkt", "k").unwrap().unwrap();
    clock.advance(Duration::from_secs(1));
    let late = store.complete_upload("bkt", "k", &upload).unwrap();
    assert_eq!(late.body, "late");
    [plain, marker, late.version_id]
}

fn seconds(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| &entry.last_modified[17..19]).collect()
}

fn ids(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.version_id.clone()).collect()
}

#[tokio::test]
async fn late_upload_takes_the_place_of_its_start_as_on_aws() {
    let options = Options { multipart_order: MultipartOrder::Start, ..stopped() };
    let (server, client) = versioned(options).await;
    let [plain, marker, late] = complete_late(&server).await;
    let entries = list(&client).await;
    assert_eq!(ids(&entries), [marker.clone(), plain, late.clone()]);
    assert_eq!(seconds(&entries), ["02", "01", "00"]);
    assert_eq!(entries.iter().map(|entry| entry.is_latest).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(client.send(get("bkt", "k")).await.status, 404, "the delete is the last word");
    assert_eq!(client.send(get("bkt", "k").query("versionId", &late)).await.text(), "late");
    // The next page starts below a version that is gone, whatever was inserted since.
    server.store().delete_version("bkt", "k", &marker).unwrap();
    let call = get("bkt", "").query("versions", "").query("key-marker", "k").query("version-id-marker", &marker);
    assert_eq!(client.send(call).await.entries().len(), 2);
}

#[tokio::test]
async fn late_upload_is_the_current_version_as_on_minio() {
    for at_completion in [false, true] {
        let order = MultipartOrder::Commit;
        let options = Options { multipart_order: order, multipart_time_at_completion: at_completion, ..stopped() };
        let (server, client) = versioned(options).await;
        let [plain, marker, late] = complete_late(&server).await;
        let entries = list(&client).await;
        assert_eq!(ids(&entries), [late, marker, plain]);
        assert_eq!(seconds(&entries), [if at_completion { "03" } else { "00" }, "02", "01"]);
        assert!(entries[0].is_latest && !entries[1].is_latest);
        assert_eq!(client.send(get("bkt", "k")).await.text(), "late");
    }
}

#[tokio::test]
async fn late_upload_replaces_what_there_is_without_versions() {
    for order in [MultipartOrder::Start, MultipartOrder::Commit] {
        let options = Options { multipart_order: order, ..stopped() };
        let (server, client) = server_with(options, Versioning::Off).await;
        let store = server.store();
        let upload = store.begin_upload("bkt", "k", ObjectHeaders::default()).unwrap();
        store.upload_part("bkt", "k", &upload, 1, "late").unwrap();
        store.put("bkt", "k", "plain").unwrap();
        assert!(store.complete_upload("bkt", "k", &upload).unwrap().is_latest);
        let mut client = client;
        client.time = Some(START);
        assert_eq!(client.send(get("bkt", "k")).await.text(), "late");
        assert_eq!(list(&client).await.len(), 1);
    }
}

#[tokio::test]
async fn markers_stand_among_the_versions_or_apart() {
    let orders = [
        (ListingKinds::Interleaved, [false, true, false, true, false]),
        (ListingKinds::MarkersFirst, [true, true, false, false, false]),
        (ListingKinds::VersionsFirst, [false, false, false, true, true]),
    ];
    for (listing_kinds, expected) in orders {
        let (server, client) = versioned(Options { listing_kinds, ..stopped() }).await;
        let store = server.store();
        for key in ["a", "b"] {
            store.put("bkt", key, "x").unwrap();
            store.delete("bkt", key).unwrap();
        }
        store.put("bkt", "a", "x").unwrap();
        let entries = list(&client).await;
        let kinds: Vec<bool> = entries.iter().map(|entry| entry.delete_marker).collect();
        // In the order of keys: a version, its delete marker, another version; a delete marker, a version.
        assert_eq!(kinds, expected, "{listing_kinds:?}");
        let keys = |marker: bool| {
            let entries = entries.iter().filter(move |entry| entry.delete_marker == marker);
            entries.map(|entry| entry.key.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((keys(true), keys(false)), (vec!["a", "b"], vec!["a", "a", "b"]));
        let page = store.versions_page("bkt", "", None, 10).unwrap();
        let page: Vec<String> = page.entries.into_iter().map(|entry| entry.version_id).collect();
        assert_eq!(page, ids(&entries), "without HTTP the page is the same");
        // Kinds stand apart within a page, and pages follow the order of storing.
        let answer = client.send(get("bkt", "").query("versions", "").query("max-keys", "2")).await;
        let kinds: Vec<bool> = answer.entries().iter().map(|entry| entry.delete_marker).collect();
        let expected = if listing_kinds == ListingKinds::MarkersFirst { [true, false] } else { [false, true] };
        assert_eq!(kinds, expected, "{listing_kinds:?}");
    }
}

#[tokio::test]
async fn listing_goes_on_after_a_gone_version_as_the_store_does() {
    let cases = [
        (GoneVersion::Below, vec!["k 0", "l"]),
        (GoneVersion::KeyAnew, vec!["k 2", "k 0", "l"]),
        (GoneVersion::End, vec![]),
    ];
    for (gone_version, expected) in cases {
        let (server, client) = versioned(Options { gone_version, ..stopped() }).await;
        let store = server.store();
        let put = |key: &str| store.put("bkt", key, "x").unwrap().version_id;
        let names = [("k 0", put("k")), ("k 1", put("k")), ("k 2", put("k")), ("l", put("l"))];
        let page = || get("bkt", "").query("versions", "").query("key-marker", "k");
        let page = || page().query("version-id-marker", &names[1].1);
        assert_eq!(ids(&client.send(page()).await.entries()), [names[0].1.clone(), names[3].1.clone()]);
        store.delete_version("bkt", "k", &names[1].1).unwrap();
        let answer = client.send(page()).await;
        let name = |id: &String| names.iter().find(|(_, known)| known == id).unwrap().0;
        assert_eq!(ids(&answer.entries()).iter().map(name).collect::<Vec<_>>(), expected, "{gone_version:?}");
        assert_eq!(answer.one("IsTruncated"), "false");
        // Of a key that is gone altogether nothing comes again.
        for id in [&names[0].1, &names[2].1] {
            store.delete_version("bkt", "k", id).unwrap();
        }
        let count = usize::from(gone_version != GoneVersion::End);
        assert_eq!(client.send(page()).await.entries().len(), count);
    }
}

#[tokio::test]
async fn pages_of_minio_end_in_markers_of_its_own_and_maybe_in_an_empty_page() {
    let (server, client) = versioned(Options { clock: Clock::manual(START), ..Options::minio() }).await;
    let store = server.store();
    for key in ["k", "k", "l", "m"] {
        store.put("bkt", key, "x").unwrap();
    }
    let call = get("bkt", "").query("versions", "").query("max-keys", "2");
    let (mut keys, mut answer) = (Vec::new(), client.send(call.clone()).await);
    while answer.one("IsTruncated") == "true" {
        keys.push(answer.entries().into_iter().map(|entry| entry.key).collect::<String>());
        let marker = answer.one("NextKeyMarker");
        assert!(marker.len() > 1, "{marker:?} is more than a key");
        let next = call.clone().query("key-marker", &marker);
        answer = client.send(next.query("version-id-marker", &answer.one("NextVersionIdMarker"))).await;
    }
    assert_eq!((keys, answer.entries().len()), (vec!["kk".to_owned(), "lm".to_owned()], 0));
    let page = store.versions_page("bkt", "", None, 4).unwrap();
    let (key, id) = page.next.unwrap();
    let last = store.versions_page("bkt", "", Some((&key, id.as_deref())), 4).unwrap();
    assert_eq!((last.entries.len(), last.next), (0, None));
    let page = store.objects_page("bkt", "", None, 3).unwrap();
    let last = store.objects_page("bkt", "", page.next.as_deref(), 3).unwrap();
    assert_eq!((page.entries.len(), last.entries.len()), (3, 0));
}

#[tokio::test]
async fn what_is_deleted_permanently_uncovers_what_lies_below() {
    let (server, client) = versioned(stopped()).await;
    let store = server.store();
    let first = store.put("bkt", "k", "first").unwrap().version_id;
    let second = store.put("bkt", "k", "second").unwrap().version_id;
    let marker = store.delete("bkt", "k").unwrap().unwrap();
    let delete = |id: &str| Call::new(Method::DELETE, "bkt", "k").query("versionId", id);
    let answer = client.send(delete(&marker)).await;
    assert_eq!((answer.status, answer.header("x-amz-delete-marker")), (204, "true"));
    assert_eq!(client.send(get("bkt", "k")).await.text(), "second", "the marker no longer hides it");
    let latest = |entries: &[Entry]| entries.iter().map(|entry| entry.is_latest).collect::<Vec<_>>();
    assert_eq!(latest(&list(&client).await), [true, false]);
    assert_eq!(client.send(delete(&second)).await.status, 204);
    assert_eq!(client.send(get("bkt", "k")).await.text(), "first");
    let entries = list(&client).await;
    assert_eq!((ids(&entries), latest(&entries)), (vec![first.clone()], vec![true]));
    assert_eq!(client.send(delete(&first)).await.status, 204);
    assert_eq!(list(&client).await, []);
    assert_eq!(client.send(delete(&first)).await.status, 204, "it need not be there");
}

#[tokio::test]
async fn versioning_is_switched_at_any_time() {
    let (server, mut client) = server_with(stopped(), Versioning::Off).await;
    client.time = Some(START);
    let store = server.store();
    let switch = |status: &str| {
        let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        put("bkt", "", body).query("versioning", "")
    };
    store.put("bkt", "k", "off").unwrap();
    let upload = store.begin_upload("bkt", "k", ObjectHeaders::default()).unwrap();
    store.upload_part("bkt", "k", &upload, 1, "late").unwrap();
    assert_eq!(client.send(switch("Enabled")).await.status, 200);
    let kept = store.put("bkt", "k", "enabled").unwrap().version_id;
    assert_eq!(ids(&list(&client).await), [kept.clone(), "null".to_owned()]);
    assert_eq!(client.send(switch("Suspended")).await.status, 200);
    assert_eq!(store.delete("bkt", "k").unwrap().as_deref(), Some("null"));
    let entries = list(&client).await;
    assert_eq!(ids(&entries), ["null".to_owned(), kept]);
    assert!(entries[0].delete_marker && entries[0].is_latest, "the null marker replaced the null version");
    assert_eq!(client.send(switch("Enabled")).await.status, 200);
    let late = store.complete_upload("bkt", "k", &upload).unwrap();
    assert_ne!(late.version_id, "null");
    assert_eq!(list(&client).await.len(), 3);
}

#[tokio::test]
async fn upload_is_a_null_version_by_versioning_at_its_completion_or_its_start() {
    let switches = [(Versioning::Off, Versioning::Enabled), (Versioning::Enabled, Versioning::Suspended)];
    for (multipart_versioning_at_start, (at_start, at_completion)) in
        [false, true].into_iter().flat_map(|choice| switches.map(|switch| (choice, switch)))
    {
        let options = Options { multipart_versioning_at_start, ..stopped() };
        let (server, _client) = server_with(options, at_start).await;
        let store = server.store();
        let upload = store.begin_upload("bkt", "k", ObjectHeaders::default()).unwrap();
        store.upload_part("bkt", "k", &upload, 1, "late").unwrap();
        store.set_versioning("bkt", at_completion).unwrap();
        let late = store.complete_upload("bkt", "k", &upload).unwrap();
        let decides = if multipart_versioning_at_start { at_start } else { at_completion };
        assert_eq!(late.version_id == "null", decides != Versioning::Enabled);
    }
}

#[tokio::test]
async fn date_of_answers_is_set_apart_from_the_stamps() {
    let (server, client) = versioned(stopped()).await;
    server.store().put("bkt", "k", "x").unwrap();
    for (offset_ms, date) in [(3_600_000, "01:00:00"), (0, "00:00:00")] {
        server.clock().set_date_offset_ms(offset_ms);
        let answer = client.send(get("bkt", "k")).await;
        assert_eq!(answer.header("date"), format!("Thu, 01 Jan 1970 {date} GMT"));
        assert_eq!(answer.header("last-modified"), "Thu, 01 Jan 1970 00:00:00 GMT");
        // Signatures are still held against the clock itself.
        assert_eq!(list(&client).await[0].last_modified, "1970-01-01T00:00:00.000Z");
    }
}

#[tokio::test]
async fn answers_change_between_any_two_requests() {
    let (server, client) = versioned(Options { page_size_max: 1, ..stopped() }).await;
    let store = server.store().clone();
    let ids: Vec<String> = (0..3).map(|_| store.put("bkt", "k", "x").unwrap().version_id).collect();
    // What happens after a page was made and before its answer is sent is seen by the next request, not by this one.
    let gone = ids[2].clone();
    let acting = store.clone();
    let hook = server.hooks().on(Stage::AfterAct, S3Operation::ListObjectVersions, move |seen| {
        if !seen.query.contains("key-marker") {
            acting.delete_version("bkt", "k", &gone).unwrap();
            acting.put("bkt", "k", "new").unwrap();
        }
        std::future::ready(())
    });
    let page = list(&client).await;
    assert_eq!((page[0].version_id.as_str(), page[0].is_latest), (ids[2].as_str(), true));
    let call = get("bkt", "").query("versions", "").query("key-marker", "k").query("version-id-marker", &ids[2]);
    let answer = client.send(call.clone()).await;
    assert_eq!(answer.entries()[0].version_id, ids[1], "it goes on below a version that is gone");
    drop(hook);
    // What happens before a request takes effect is in its answer already.
    let acting = store.clone();
    let _hook = server.on_request(S3Operation::ListObjectVersions, move |_| {
        let _ = acting.delete("bkt", "k");
        std::future::ready(())
    });
    let page = list(&client).await;
    assert!(page[0].delete_marker && page[0].is_latest);
}
