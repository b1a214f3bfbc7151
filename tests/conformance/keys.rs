//! Cases of keys and prefixes: whatever S3 takes for a key arrives as it is, and leads on where it stands in a
//! position or a prefix.

use embedded_s3::ObjectHeaders;
use s3_connector::record::Operation;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Bucket, Env, Record, SavedState, key, payload, read_all, read_some, summary};

in_every_world! {
    odd_keys_arrive_as_they_are,
    odd_keys_are_prefixes_as_they_are,
    a_restart_after_any_odd_key_goes_on_with_the_next,
    a_prefix_is_a_plain_string,
    what_happens_outside_the_prefix_is_not_seen,
}

/// Keys that encodings, paths, XML and positions stumble over.
const ODD: [&str; 40] = [
    "/lead",
    "//",
    " space ",
    "a+b",
    "a%20b",
    "a%2Fb",
    "a%",
    "späße/ü",
    "a//b",
    "a/",
    "tab\there",
    "line\nend",
    "return\r",
    "\u{1}ctrl",
    "\u{7f}",
    "\u{85}\u{2028}",
    "a&b<c>\"'",
    "&amp;",
    "]]>",
    "_",
    "a_s1",
    "a_c",
    "a_c1~AQ",
    "~",
    ".",
    "..",
    "a/./b",
    "a/../b",
    "?query=1#x",
    "日本語",
    // Before U+10000 in UTF-8, after it in UTF-16.
    "\u{ffee}",
    "😀",
    "\u{10ffff}",
    // One letter, two keys.
    "e\u{301}",
    "\u{e9}",
    "\u{fffd}",
    // No character of XML.
    "\u{ffff}",
    "folder/",
    "%",
    "=",
];

fn keys(records: &[Record]) -> Vec<String> {
    records.iter().map(key).collect()
}

/// Stores the odd keys, each as its own body; gives those that the store has made of them, in their order.
async fn put_odd(env: &Env, bucket: &Bucket) -> Vec<String> {
    // As many bytes as a key may have.
    let longest = "ü".repeat(512);
    let odd = [&ODD[..], &[&longest]].concat();
    for key in &odd {
        let taken = bucket.try_put(key, (*key).to_owned(), ObjectHeaders::default()).await;
        assert!(taken || env.is_real(), "{key:?}");
    }
    let stored = bucket.keys().await;
    // Some stores have no such keys, or make others of them.
    let is_whole = stored.len() == odd.len() || env.is_real();
    assert!(stored.len() >= 25 && is_whole, "{stored:?}");
    let strange = stored.iter().find(|key| {
        let plain = key.trim_start_matches('/');
        odd.iter().all(|odd| odd.trim_start_matches('/') != plain)
    });
    assert!(strange.is_none(), "nobody put {strange:?}");
    stored
}

async fn odd_keys_arrive_as_they_are(env: &Env) {
    let bucket = env.versioned().await;
    let expected = put_odd(env, &bucket).await;
    let mut source = bucket.open().await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(keys(&records), expected);
    for record in &records {
        let (key, body) = (key(record), payload(record).expect("a body"));
        let body = String::from_utf8(body.to_vec()).expect("it was put as text");
        assert_eq!(body.trim_start_matches('/'), key.trim_start_matches('/'));
    }
    for key in &expected {
        bucket.put(key, "again").await;
    }
    let mut records = read_all(&mut source).await.expect("reads");
    records.sort_by_key(key);
    assert_eq!(keys(&records), expected);
    // MinIO keeps no versions of folders: what the reader has of them is known all the same.
    let versions = bucket.versions().await;
    let is_kept = |key: &str| versions.iter().filter(|v| v.key == key).count() == 2;
    let may_vary = |key: &str| env.is_real() && key.ends_with('/');
    assert!(expected.iter().all(|key| may_vary(key) || is_kept(key)));
    for record in &records {
        let key = key(record);
        assert_eq!(record.operation, Operation::Update, "{key:?}");
        assert_eq!(payload(record).expect("a body"), "again", "{key:?}");
    }
    for key in &expected {
        bucket.delete(key).await;
    }
    let mut records = read_all(&mut source).await.expect("reads");
    records.sort_by_key(key);
    assert_eq!(keys(&records), expected);
    assert!(records.iter().all(|r| r.operation == Operation::Delete));
}

async fn odd_keys_are_prefixes_as_they_are(env: &Env) {
    let bucket = env.plain().await;
    let stored = put_odd(env, &bucket).await;
    for prefix in &stored {
        // MinIO takes a prefix for a path, and refuses some or drops a leading slash, as it does with keys.
        let begins = |key: &&String| key.starts_with(prefix.as_str());
        let expected: Vec<_> = stored.iter().filter(begins).cloned().collect();
        let settings = [("prefix", prefix.as_str())];
        let mut source = bucket.open_with(&settings).await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(keys(&records), expected, "{prefix:?}");
    }
}

async fn a_restart_after_any_odd_key_goes_on_with_the_next(env: &Env) {
    let bucket = env.plain().await;
    let stored = put_odd(env, &bucket).await;
    let mut source = bucket.start(&SavedState::none()).await;
    let records = read_some(&mut source, stored.len()).await.expect("reads");
    for (index, record) in records.iter().enumerate().take(stored.len() - 1) {
        let position = Some(&*record.position);
        let mut source = bucket.source(&[], &SavedState::none(), position).await.expect("goes on");
        let rest = stored.len() - index - 1;
        let next = read_some(&mut source, rest).await.expect("reads");
        assert_eq!(keys(&next), stored[index + 1..], "after {:?}", key(record));
    }
}

async fn a_prefix_is_a_plain_string(env: &Env) {
    let bucket = env.plain().await;
    // No key is the folder of another: MinIO does not list what is below an object.
    for key in ["a/1", "aa", "ab/2", "b", "a b"] {
        bucket.put(key, "x").await;
    }
    for (prefix, expected) in
        [("a", &["a b", "a/1", "aa", "ab/2"][..]), ("a/", &["a/1"]), ("a ", &["a b"]), ("a/1", &["a/1"]), ("z", &[])]
    {
        let settings = [("prefix", prefix)];
        let mut source = bucket.start_with(&settings, &SavedState::none()).await;
        assert_eq!(keys(&read_all(&mut source).await.expect("reads")), expected, "{prefix:?}");
    }
}

async fn what_happens_outside_the_prefix_is_not_seen(env: &Env) {
    let bucket = env.versioned().await;
    for key in ["in-1", "im", "io", "other/in-1"] {
        bucket.put(key, "1").await;
    }
    let mut uploads = Vec::new();
    for key in ["in-2", "out"] {
        let mut upload = bucket.begin_upload(key).await;
        bucket.upload_part(&mut upload, "whole").await;
        uploads.push(upload);
    }
    let mut source = bucket.open_with(&[("prefix", "in-")]).await;
    let mut records = read_all(&mut source).await.expect("reads");
    for upload in uploads {
        bucket.complete_upload(upload).await;
    }
    for key in ["in-1", "im", "io", "in-", "in"] {
        bucket.put(key, "2").await;
    }
    bucket.delete("io").await;
    let mut changes = read_all(&mut source).await.expect("reads");
    changes.sort_by_key(key);
    records.extend(changes);
    assert_eq!(summary(&records), ["snapshot in-1 1", "create in- 2", "update in-1 2", "create in-2 whole"]);
}
