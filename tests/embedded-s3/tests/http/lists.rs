//! Owns the tests of pages over HTTP: of objects, versions and uploads.

use crate::client::{Call, Reply, SigningClient, get, server_with};
use embedded_s3::{EmbeddedS3, ObjectHeaders, Options, Versioning};

async fn paged(page_size_max: usize) -> (EmbeddedS3, SigningClient) {
    server_with(Options { page_size_max, ..Options::default() }, Versioning::Off).await
}

/// Goes through all pages, taking over from each answer what `next` names.
async fn pages(client: &SigningClient, call: Call, next: &[(&str, &str)]) -> Vec<Reply> {
    let mut answers = Vec::new();
    let mut following = call.clone();
    loop {
        let answer = client.send(following).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let truncated = answer.one("IsTruncated") == "true";
        following = call.clone();
        for (element, parameter) in next {
            if let [value] = answer.all(element).as_slice() {
                following = following.query(parameter, value);
            }
        }
        answers.push(answer);
        if !truncated {
            return answers;
        }
    }
}

fn all(answers: &[Reply], name: &str) -> Vec<String> {
    answers.iter().flat_map(|answer| answer.all(name)).collect()
}

#[tokio::test]
async fn objects_are_paged_in_the_order_of_their_bytes() {
    let (server, client) = paged(2).await;
    let keys = ["a", "B", "a/b", "é", "\u{fffd}", "\u{10000}", "a b"];
    for key in keys {
        server.store().put("bkt", key, "x").unwrap();
    }
    let next = [("NextContinuationToken", "continuation-token")];
    let answers = pages(&client, get("bkt", "").query("list-type", "2"), &next).await;
    assert_eq!(answers.len(), 4);
    assert_eq!(all(&answers, "Key"), ["B", "a", "a b", "a/b", "é", "\u{fffd}", "\u{10000}"]);
    let call = get("bkt", "").query("list-type", "2").query("start-after", "a b");
    assert_eq!(client.send(call).await.all("Key"), ["a/b", "é"]);
    let call = get("bkt", "").query("list-type", "2").query("prefix", "a").query("max-keys", "1");
    let answer = client.send(call).await;
    assert_eq!((answer.one("Key"), answer.one("KeyCount")), ("a".to_owned(), "1".to_owned()));
    let call = get("bkt", "").query("list-type", "2").query("continuation-token", "a");
    assert_eq!(client.send(call).await.code(), (400, "InvalidArgument".to_owned()));
    // The first version of the listing repeats no key as a marker, unless there is a delimiter.
    let answer = client.send(get("bkt", "").query("marker", "a b")).await;
    assert_eq!((answer.all("Key").len(), answer.all("NextMarker").len()), (2, 0));
}

#[tokio::test]
async fn delimiter_folds_keys_into_common_prefixes() {
    for page_size_max in [1, 2, 1000] {
        let (server, client) = paged(page_size_max).await;
        for key in ["a/1", "a/2", "b", "c/1/x", "c/2", "d\u{10ffff}", "d\u{10ffff}/x", "e"] {
            server.store().put("bkt", key, "x").unwrap();
        }
        server.store().delete("bkt", "e").unwrap();
        let next = [("NextContinuationToken", "continuation-token")];
        let call = get("bkt", "").query("list-type", "2").query("delimiter", "/");
        let answers = pages(&client, call.clone(), &next).await;
        assert_eq!(all(&answers, "Key"), ["b", "d\u{10ffff}"]);
        let prefixes = all(&answers, "CommonPrefixes");
        let expected = ["a/", "c/", "d\u{10ffff}/"].map(|prefix| format!("<Prefix>{prefix}</Prefix>"));
        assert_eq!(prefixes, expected);
        let answers = pages(&client, call.query("prefix", "c/"), &next).await;
        assert_eq!(all(&answers, "Key"), ["c/2"]);
        assert_eq!(all(&answers, "CommonPrefixes"), ["<Prefix>c/1/</Prefix>"]);
        let next = [("NextMarker", "marker")];
        let answers = pages(&client, get("bkt", "").query("delimiter", "/"), &next).await;
        assert_eq!(all(&answers, "Key"), ["b", "d\u{10ffff}"]);
    }
}

#[tokio::test]
async fn keys_are_encoded_on_request_and_break_the_document_otherwise() {
    let (server, client) = paged(1).await;
    for key in ["a b+\u{1}/&", "z"] {
        server.store().put("bkt", key, "x").unwrap();
    }
    let call = get("bkt", "").query("list-type", "2").query("start-after", "a \u{1}");
    let plain = client.send(call.clone()).await;
    assert!(plain.text().contains("a b+\u{1}/&amp;"));
    let answer = client.send(call.query("encoding-type", "url").query("delimiter", "&")).await;
    assert_eq!(answer.one("StartAfter"), "a+%01");
    assert_eq!(answer.one("Delimiter"), "%26");
    assert_eq!(answer.one("EncodingType"), "url");
    assert_eq!(answer.one("CommonPrefixes"), "<Prefix>a+b%2B%01/%26</Prefix>");
    let answer = client.send(get("bkt", "").query("versions", "").query("encoding-type", "url")).await;
    assert_eq!(answer.one("Key"), "a+b%2B%01/%26");
    assert_eq!(answer.one("NextKeyMarker"), "a+b%2B%01/%26");
    let call = get("bkt", "").query("list-type", "2").query("encoding-type", "base64");
    assert_eq!(client.send(call).await.code(), (400, "InvalidArgument".to_owned()));
}

/// Gives what the pages hold of both kinds, in their order.
fn stored_order(answers: &[Reply]) -> Vec<(String, String, bool)> {
    let entries = answers.iter().flat_map(Reply::entries);
    entries.map(|entry| (entry.key, entry.version_id, entry.is_latest)).collect()
}

const VERSIONS_NEXT: [(&str, &str); 2] =
    [("NextKeyMarker", "key-marker"), ("NextVersionIdMarker", "version-id-marker")];

#[tokio::test]
async fn versions_are_paged_last_stored_first() {
    let (server, client) = paged(1).await;
    let store = server.store();
    store.put("bkt", "k", "null").unwrap();
    store.set_versioning("bkt", Versioning::Enabled).unwrap();
    let second = store.put("bkt", "k", "two").unwrap().version_id;
    let marker = store.delete("bkt", "k").unwrap().unwrap();
    let third = store.put("bkt", "k", "three").unwrap().version_id;
    let other = store.put("bkt", "l", "x").unwrap().version_id;
    let call = get("bkt", "").query("versions", "");
    let answers = pages(&client, call.clone(), &VERSIONS_NEXT).await;
    let expected = [
        ("k", third.as_str(), true),
        ("k", marker.as_str(), false),
        ("k", second.as_str(), false),
        ("k", "null", false),
        ("l", other.as_str(), true),
    ];
    let expected = expected.map(|(key, id, is_latest)| (key.to_owned(), id.to_owned(), is_latest));
    assert_eq!(stored_order(&answers), expected);
    let answer = client.send(call.clone().query("key-marker", "k")).await;
    assert_eq!(answer.all("Key"), ["l"], "a key marker alone leaves its key out");
    let answer = client.send(call.query("version-id-marker", &third)).await;
    assert_eq!(answer.code(), (400, "InvalidArgument".to_owned()));
}

#[tokio::test]
async fn listing_goes_on_after_a_version_that_is_gone() {
    let (server, client) = paged(1000).await;
    let store = server.store();
    store.set_versioning("bkt", Versioning::Enabled).unwrap();
    let ids: Vec<String> = (0..3).map(|_| store.put("bkt", "k", "x").unwrap().version_id).collect();
    store.delete_version("bkt", "k", &ids[1]).unwrap();
    let call = get("bkt", "").query("versions", "").query("key-marker", "k");
    let answer = client.send(call.query("version-id-marker", &ids[1])).await;
    assert_eq!(answer.all("VersionId"), [ids[0].clone()]);
}

#[tokio::test]
async fn unversioned_bucket_lists_null_versions() {
    let (server, client) = paged(1000).await;
    server.store().put("bkt", "k", "x").unwrap();
    let answer = client.send(get("bkt", "").query("versions", "")).await;
    assert_eq!((answer.one("VersionId"), answer.one("IsLatest")), ("null".into(), "true".into()));
}

#[tokio::test]
async fn page_is_at_most_a_thousand_and_zero_gives_none() {
    let (server, client) = paged(1000).await;
    server.store().set_versioning("bkt", Versioning::Enabled).unwrap();
    for at in 0..1_001 {
        server.store().put("bkt", &format!("{at:04}"), "x").unwrap();
    }
    for call in [get("bkt", "").query("list-type", "2"), get("bkt", "").query("versions", "")] {
        let answer = client.send(call.clone().query("max-keys", "5000")).await;
        assert_eq!(answer.all("Key").len(), 1000);
        assert_eq!(answer.one("MaxKeys"), "1000");
        assert_eq!(answer.one("IsTruncated"), "true");
        let answer = client.send(call.clone().query("max-keys", "0")).await;
        assert!(answer.all("Key").is_empty());
        assert_eq!(answer.one("IsTruncated"), "false");
        let answer = client.send(call.query("max-keys", "-1")).await;
        assert_eq!(answer.code(), (400, "InvalidArgument".to_owned()));
    }
}

#[tokio::test]
async fn uploads_are_paged_by_key_and_start() {
    for page_size_max in [1, 2, 1000] {
        let (server, client) = paged(page_size_max).await;
        let begin = |key: &str| server.store().begin_upload("bkt", key, ObjectHeaders::default()).unwrap();
        let ids = [begin("b"), begin("a"), begin("b"), begin("a"), begin("c")];
        let next = [("NextKeyMarker", "key-marker"), ("NextUploadIdMarker", "upload-id-marker")];
        let call = get("bkt", "").query("uploads", "");
        let answers = pages(&client, call.clone(), &next).await;
        assert_eq!(all(&answers, "Key"), ["a", "a", "b", "b", "c"]);
        let expected = [1, 3, 0, 2, 4].map(|at: usize| ids[at].clone());
        assert_eq!(all(&answers, "UploadId"), expected);
        let answers = pages(&client, call.clone().query("prefix", "b"), &next).await;
        assert_eq!(all(&answers, "Key"), ["b", "b"]);
        let answer = client.send(call.query("max-uploads", "1")).await;
        assert_eq!((answer.one("Key"), answer.one("NextKeyMarker")), ("a".into(), "a".into()));
        assert_eq!(answer.one("NextUploadIdMarker"), ids[1]);
    }
}

#[tokio::test]
async fn store_without_a_listing_says_so() {
    let options = Options { versions_api: false, uploads_api: false, ..Options::default() };
    let (_server, client) = server_with(options, Versioning::Enabled).await;
    for listing in ["versions", "uploads"] {
        let answer = client.send(get("bkt", "").query(listing, "")).await;
        assert_eq!(answer.code(), (501, "NotImplemented".to_owned()));
    }
    assert_eq!(client.send(get("bkt", "").query("list-type", "2")).await.status, 200);
}
