//! Owns the tests of objects, versions, conditions and uploads over HTTP.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use s3s::crypto::{Checksum, Md5};

use crate::client::{Call, get, put, server_with};
use embedded_s3::{Clock, ConditionalWrites, ObjectHeaders, Options, PutOptions, Versioning};

const START: Duration = Duration::from_secs(1_255_369_830);

fn stopped() -> Options {
    // With a fraction of a second, which must not be seen.
    let start = SystemTime::UNIX_EPOCH + START + Duration::from_millis(750);
    Options { clock: Clock::manual(start), part_size_min: 4, ..Options::default() }
}

#[tokio::test]
async fn object_comes_back_as_it_was_put() {
    let (_server, client) = server_with(Options::default(), Versioning::Off).await;
    let call = put("bkt", "a b/é+\u{1}", "hello")
        .header("content-type", "text/plain")
        .header("cache-control", "no-store")
        .header("content-disposition", "inline")
        .header("content-encoding", "identity")
        .header("x-amz-meta-owner", "me");
    let answer = client.send(call).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("etag"), "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_eq!(answer.maybe_header("x-amz-version-id"), None);
    for method in [Method::GET, Method::HEAD] {
        let answer = client.send(Call::new(method.clone(), "bkt", "a b/é+\u{1}")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), if method == Method::GET { "hello" } else { "" });
        assert_eq!(answer.header("content-length"), "5");
        assert_eq!(answer.header("content-type"), "text/plain");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-disposition"), "inline");
        assert_eq!(answer.header("content-encoding"), "identity");
        assert_eq!(answer.header("x-amz-meta-owner"), "me");
        assert_eq!(answer.header("x-amz-bucket-region"), "us-east-1");
        assert_eq!(answer.maybe_header("x-amz-version-id"), None);
    }
}

#[tokio::test]
async fn nothing_invents_a_content_type() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    client.send(put("bkt", "k", "x")).await;
    assert_eq!(server.store().get("bkt", "k").unwrap().headers, ObjectHeaders::default());
    assert_eq!(client.send(get("bkt", "k")).await.maybe_header("content-type"), None);
    let options = Options { content_type_default: Some("binary/octet-stream".to_owned()), ..Options::default() };
    let (_server, client) = server_with(options, Versioning::Off).await;
    client.send(put("bkt", "k", "x")).await;
    assert_eq!(client.send(get("bkt", "k")).await.header("content-type"), "binary/octet-stream");
}

#[tokio::test]
async fn missing_things_are_named_in_the_error() {
    let (_server, client) = server_with(Options::default(), Versioning::Off).await;
    let answer = client.send(get("bkt", "k")).await;
    assert_eq!(answer.code(), (404, "NoSuchKey".to_owned()));
    assert_eq!(answer.one("Resource"), "/bkt/k");
    assert_eq!(answer.one("RequestId"), answer.header("x-amz-request-id"));
    let answer = client.send(get("none", "k")).await;
    assert_eq!(answer.code(), (404, "NoSuchBucket".to_owned()));
    assert_eq!(answer.maybe_header("x-amz-bucket-region"), None);
    let head = client.send(Call::new(Method::HEAD, "bkt", "k")).await;
    assert_eq!((head.status, head.text()), (404, ""));
    let call = get("bkt", "k").query("versionId", "made-up");
    assert_eq!(client.send(call).await.code(), (400, "InvalidArgument".to_owned()));
    let call = get("bkt", "k").query("acl", "");
    assert_eq!(client.send(call).await.code(), (501, "NotImplemented".to_owned()));
}

#[tokio::test]
async fn time_comes_from_the_clock_in_whole_seconds() {
    let (server, client) = server_with(stopped(), Versioning::Off).await;
    let mut client = client;
    client.time = Some(SystemTime::UNIX_EPOCH + START);
    client.send(put("bkt", "k", "x")).await;
    server.clock().advance(Duration::from_secs(60));
    let answer = client.send(get("bkt", "k")).await;
    assert_eq!(answer.header("last-modified"), "Mon, 12 Oct 2009 17:50:30 GMT");
    assert_eq!(answer.header("date"), "Mon, 12 Oct 2009 17:51:30 GMT");
    assert_eq!(answer.headers.get_all("date").iter().count(), 1);
    let answer = client.send(get("bkt", "").query("list-type", "2")).await;
    assert_eq!(answer.one("LastModified"), "2009-10-12T17:50:30.000Z");
}

#[tokio::test]
async fn milliseconds_are_given_on_request() {
    let options = Options { milliseconds: true, ..stopped() };
    let (_server, mut client) = server_with(options, Versioning::Off).await;
    client.time = Some(SystemTime::UNIX_EPOCH + START);
    client.send(put("bkt", "k", "x")).await;
    let answer = client.send(get("bkt", "").query("list-type", "2")).await;
    assert_eq!(answer.one("LastModified"), "2009-10-12T17:50:30.750Z");
}

#[tokio::test]
async fn ranges_are_served_and_refused() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    server.store().put("bkt", "k", "0123456789").unwrap();
    let cases = [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
    ];
    for (range, text, content_range) in cases {
        let answer = client.send(get("bkt", "k").header("range", range)).await;
        assert_eq!((answer.status, answer.text()), (206, text));
        assert_eq!(answer.header("content-range"), content_range);
    }
    let answer = client.send(get("bkt", "k").header("range", "bytes=10-")).await;
    assert_eq!(answer.code(), (416, "InvalidRange".to_owned()));
    assert_eq!(answer.header("content-range"), "bytes */10");
}

#[tokio::test]
async fn conditional_reads_compare_entity_tag_and_time() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let stored = server.store().put("bkt", "k", "x").unwrap();
    let etag = format!("\"{}\"", stored.etag);
    let date = httpdate::fmt_http_date(stored.last_modified);
    let cases = [
        ("if-match", etag.as_str(), 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", etag.as_str(), 304),
        ("if-none-match", "\"other\"", 200),
        ("if-modified-since", date.as_str(), 304),
        ("if-unmodified-since", date.as_str(), 200),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
    ];
    for (name, value, status) in cases {
        for method in [Method::GET, Method::HEAD] {
            let answer = client.send(Call::new(method, "bkt", "k").header(name, value)).await;
            assert_eq!(answer.status, status, "{name}: {value}");
            if status == 304 {
                assert_eq!((answer.text(), answer.header("etag")), ("", etag.as_str()));
            }
        }
    }
}

#[tokio::test]
async fn conditional_writes_protect_what_is_there() {
    let (server, client) = server_with(Options::default(), Versioning::Enabled).await;
    let create = |body: &'static str| put("bkt", "k", body).header("if-none-match", "*");
    let replace = |etag: &str| put("bkt", "k", "c").header("if-match", etag);
    let answer = client.send(replace("\"0cc175b9c0f1b6a831c399e269772661\"")).await;
    assert_eq!(answer.code(), (404, "NoSuchKey".to_owned()));
    let first = client.send(create("a")).await;
    assert_eq!(first.status, 200);
    assert_eq!(client.send(create("b")).await.code(), (412, "PreconditionFailed".to_owned()));
    assert_eq!(client.send(replace("\"other\"")).await.status, 412);
    assert_eq!(client.send(replace(first.header("etag"))).await.status, 200);
    server.store().delete("bkt", "k").unwrap();
    assert_eq!(client.send(create("d")).await.status, 200);
    let call = put("bkt", "k", "e").header("if-none-match", "\"etag\"");
    assert_eq!(client.send(call).await.code(), (501, "NotImplemented".to_owned()));
}

#[tokio::test]
async fn store_without_conditional_writes_says_so() {
    let options = Options { conditional_writes: ConditionalWrites::Refused, ..Options::default() };
    let (server, client) = server_with(options, Versioning::Off).await;
    let answer = client.send(put("bkt", "k", "x").header("if-none-match", "*")).await;
    assert_eq!(answer.code(), (501, "NotImplemented".to_owned()));
    assert!(server.store().list("bkt", "").unwrap().is_empty());
    assert_eq!(client.send(put("bkt", "k", "x")).await.status, 200);
}

#[tokio::test]
async fn store_that_ignores_conditions_writes_whatever_they_say() {
    let options = Options { conditional_writes: ConditionalWrites::Ignored, ..Options::default() };
    let (server, client) = server_with(options, Versioning::Off).await;
    for body in ["x", "yy"] {
        let call = put("bkt", "k", body).header("if-none-match", "*");
        assert_eq!(client.send(call).await.status, 200);
        assert_eq!(server.store().get("bkt", "k").unwrap().body, body);
    }
}

#[tokio::test]
async fn versions_are_read_and_removed_by_their_ids() {
    let (_server, client) = server_with(Options::default(), Versioning::Enabled).await;
    let first = client.send(put("bkt", "k", "one")).await.header("x-amz-version-id").to_owned();
    let second = client.send(put("bkt", "k", "two")).await.header("x-amz-version-id").to_owned();
    let answer = client.send(get("bkt", "k").query("versionId", &first)).await;
    assert_eq!((answer.text(), answer.header("x-amz-version-id")), ("one", first.as_str()));

    let deleted = client.send(Call::new(Method::DELETE, "bkt", "k")).await;
    assert_eq!((deleted.status, deleted.header("x-amz-delete-marker")), (204, "true"));
    let marker = deleted.header("x-amz-version-id").to_owned();
    let answer = client.send(get("bkt", "k")).await;
    assert_eq!(answer.code(), (404, "NoSuchKey".to_owned()));
    assert_eq!(answer.header("x-amz-delete-marker"), "true");
    assert_eq!(answer.header("x-amz-version-id"), marker);
    let answer = client.send(get("bkt", "k").query("versionId", &marker)).await;
    assert_eq!(answer.code(), (405, "MethodNotAllowed".to_owned()));
    assert_eq!(answer.header("x-amz-delete-marker"), "true");
    assert_eq!(answer.header("allow"), "DELETE");
    let head = client.send(Call::new(Method::HEAD, "bkt", "k").query("versionId", &marker)).await;
    assert_eq!(head.status, 405);

    for (id, is_marker) in [(&marker, Some("true")), (&second, None)] {
        let answer = client.send(Call::new(Method::DELETE, "bkt", "k").query("versionId", id)).await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.maybe_header("x-amz-delete-marker"), is_marker);
        assert_eq!(answer.header("x-amz-version-id"), id);
    }
    assert_eq!(client.send(get("bkt", "k")).await.text(), "one");
    let answer = client.send(get("bkt", "k").query("versionId", &second)).await;
    assert_eq!(answer.code(), (404, "NoSuchVersion".to_owned()));
}

#[tokio::test]
async fn suspended_bucket_reuses_the_null_version() {
    let (server, client) = server_with(Options::default(), Versioning::Enabled).await;
    client.send(put("bkt", "k", "kept")).await;
    server.store().set_versioning("bkt", Versioning::Suspended).unwrap();
    assert_eq!(client.send(put("bkt", "k", "one")).await.header("x-amz-version-id"), "null");
    assert_eq!(client.send(put("bkt", "k", "two")).await.header("x-amz-version-id"), "null");
    assert_eq!(client.send(get("bkt", "k").query("versionId", "null")).await.text(), "two");
    let deleted = client.send(Call::new(Method::DELETE, "bkt", "k")).await;
    assert_eq!(deleted.header("x-amz-version-id"), "null");
    let versions = server.store().versions("bkt").unwrap();
    let seen: Vec<_> = versions.iter().map(|v| (v.delete_marker, v.body.as_ref())).collect();
    assert_eq!(seen, [(true, b"".as_slice()), (false, b"kept")]);
}

#[tokio::test]
async fn versioning_is_switched_over_http() {
    let (_server, client) = server_with(Options::default(), Versioning::Off).await;
    let status = async || client.send(get("bkt", "").query("versioning", "")).await.all("Status");
    assert!(status().await.is_empty());
    for wanted in ["Enabled", "Suspended"] {
        let body = format!("<VersioningConfiguration><Status>{wanted}</Status></VersioningConfiguration>");
        let answer = client.send(put("bkt", "", body).query("versioning", "")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(status().await, [wanted]);
    }
}

#[tokio::test]
async fn buckets_are_made_found_and_removed() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let bucket = |method: Method| Call::new(method, "new", "");
    assert_eq!(client.send(bucket(Method::HEAD)).await.status, 404);
    assert_eq!(client.send(bucket(Method::PUT)).await.status, 200);
    let again = client.send(bucket(Method::PUT)).await;
    assert_eq!(again.code(), (409, "BucketAlreadyOwnedByYou".to_owned()));
    assert_eq!(client.send(bucket(Method::HEAD)).await.header("x-amz-bucket-region"), "us-east-1");
    assert_eq!(client.send(get("", "")).await.all("Name"), ["bkt", "new"]);
    assert_eq!(client.send(get("new", "").query("location", "")).await.status, 200);
    server.store().put("new", "k", "x").unwrap();
    let answer = client.send(bucket(Method::DELETE)).await;
    assert_eq!(answer.code(), (409, "BucketNotEmpty".to_owned()));
    server.store().delete("new", "k").unwrap();
    assert_eq!(client.send(bucket(Method::DELETE)).await.status, 204);
    assert_eq!(server.store().buckets(), ["bkt"]);
}

#[tokio::test]
async fn batch_delete_removes_versions_and_adds_markers() {
    let (server, client) = server_with(Options::default(), Versioning::Enabled).await;
    let version = server.store().put("bkt", "a", "x").unwrap().version_id;
    server.store().put("bkt", "c", "x").unwrap();
    let body = format!(
        "<Delete><Object><Key>a</Key><VersionId>{version}</VersionId></Object>\
         <Object><Key>c</Key></Object></Delete>"
    );
    let call = Call::new(Method::POST, "bkt", "").query("delete", "").body(body.clone());
    assert_eq!(client.send(call.clone()).await.code(), (400, "InvalidRequest".to_owned()));
    let mut md5 = Md5::new();
    md5.update(body.as_bytes());
    let md5 = STANDARD.encode(md5.finalize());
    let answer = client.send(call.header("content-md5", &md5)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.all("Key"), ["a", "c"]);
    assert_eq!(answer.all("DeleteMarkerVersionId").len(), 1);
    let left = server.store().versions("bkt").unwrap();
    let left: Vec<_> = left.iter().map(|v| (v.key.as_str(), v.delete_marker)).collect();
    assert_eq!(left, [("c", true), ("c", false)]);
}

#[tokio::test]
async fn copy_takes_over_or_replaces_the_headers() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let headers = ObjectHeaders { content_type: Some("text/a".to_owned()), ..ObjectHeaders::default() };
    let options = PutOptions { body: "x".into(), headers, ..PutOptions::default() };
    server.store().put_with("bkt", "from me", options).unwrap();
    let copy = |key: &str| put("bkt", key, "").header("x-amz-copy-source", "/bkt/from%20me");
    let answer = client.send(copy("to")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.one("ETag"), "\"9dd4e461268c8034f5c8564e155c67a6\"");
    let stored = server.store().get("bkt", "to").unwrap();
    assert_eq!(stored.headers.content_type.as_deref(), Some("text/a"));
    assert_eq!(client.send(copy("from me")).await.code(), (400, "InvalidRequest".to_owned()));
    let call = copy("from me").header("x-amz-metadata-directive", "REPLACE");
    assert_eq!(client.send(call).await.status, 200);
    assert_eq!(server.store().get("bkt", "from me").unwrap().headers, ObjectHeaders::default());
}

fn complete(upload_id: &str, etags: &[&str]) -> Call {
    let part = |(number, etag): (usize, &&str)| {
        format!("<Part><PartNumber>{}</PartNumber><ETag>{etag}</ETag></Part>", number + 1)
    };
    let parts: String = etags.iter().enumerate().map(part).collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    Call::new(Method::POST, "bkt", "k").query("uploadId", upload_id).body(body)
}

#[tokio::test]
async fn upload_in_parts_has_the_time_of_its_start() {
    for at_completion in [false, true] {
        let options = Options { multipart_time_at_completion: at_completion, ..stopped() };
        let (server, mut client) = server_with(options, Versioning::Enabled).await;
        client.time = Some(SystemTime::UNIX_EPOCH + START);
        let call = Call::new(Method::POST, "bkt", "k").query("uploads", "");
        let upload = client.send(call.header("content-type", "text/a")).await.one("UploadId");
        server.clock().advance(Duration::from_secs(90));
        let mut etags = Vec::new();
        for (number, body) in [("1", "aaaa"), ("2", "b")] {
            let call = put("bkt", "k", body).query("partNumber", number).query("uploadId", &upload);
            etags.push(client.send(call).await.header("etag").to_owned());
        }
        let listed = client.send(get("bkt", "k").query("uploadId", &upload)).await;
        assert_eq!(listed.all("PartNumber"), ["1", "2"]);
        let etags: Vec<&str> = etags.iter().map(String::as_str).collect();
        let wrong = client.send(complete(&upload, &[etags[1], etags[0]])).await;
        assert_eq!(wrong.code(), (400, "InvalidPart".to_owned()));
        let done = client.send(complete(&upload, &etags)).await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert!(done.one("ETag").ends_with("-2\""));
        let again = client.send(complete(&upload, &etags)).await;
        assert_eq!(again.code(), (404, "NoSuchUpload".to_owned()));
        let answer = client.send(get("bkt", "k")).await;
        assert_eq!((answer.text(), answer.header("content-type")), ("aaaab", "text/a"));
        assert_eq!(answer.header("etag"), done.one("ETag"));
        let time = if at_completion { "17:52:00" } else { "17:50:30" };
        assert_eq!(answer.header("last-modified"), format!("Mon, 12 Oct 2009 {time} GMT"));
    }
}

#[tokio::test]
async fn small_parts_and_conditions_fail_an_upload_and_keep_it() {
    let (server, client) = server_with(stopped_now(), Versioning::Off).await;
    let store = server.store();
    let upload = store.begin_upload("bkt", "k", ObjectHeaders::default()).unwrap();
    let first = store.upload_part("bkt", "k", &upload, 1, "a").unwrap();
    let second = store.upload_part("bkt", "k", &upload, 2, "b").unwrap();
    let small = client.send(complete(&upload, &[&first, &second])).await;
    assert_eq!(small.code(), (400, "EntityTooSmall".to_owned()));
    store.put("bkt", "k", "there").unwrap();
    let call = complete(&upload, &[&first]).header("if-none-match", "*");
    assert_eq!(client.send(call).await.code(), (412, "PreconditionFailed".to_owned()));
    store.delete("bkt", "k").unwrap();
    let call = complete(&upload, &[&first]).header("if-none-match", "*");
    assert_eq!(client.send(call).await.status, 200);
    assert_eq!(store.get("bkt", "k").unwrap().body, "a");

    let upload = store.begin_upload("bkt", "k", ObjectHeaders::default()).unwrap();
    let call = Call::new(Method::DELETE, "bkt", "k").query("uploadId", &upload);
    assert_eq!(client.send(call.clone()).await.status, 204);
    assert_eq!(client.send(call).await.code(), (404, "NoSuchUpload".to_owned()));
    assert!(store.uploads("bkt").unwrap().is_empty());
}

fn stopped_now() -> Options {
    Options { clock: Clock::system(), ..stopped() }
}

#[tokio::test]
async fn large_object_crosses_the_socket_whole() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    assert_eq!(client.send(put("bkt", "k", body.clone())).await.status, 200);
    assert_eq!(client.send(get("bkt", "k")).await.body, body);
    assert_eq!(server.store().get("bkt", "k").unwrap().body, body);
}

#[tokio::test]
async fn how_an_object_is_to_be_kept_is_kept_and_shown() {
    let (server, client) = server_with(Options::default(), Versioning::Off).await;
    let asking = |call: Call| {
        call.header("x-amz-storage-class", "STANDARD_IA")
            .header("x-amz-server-side-encryption", "aws:kms")
            .header("x-amz-server-side-encryption-aws-kms-key-id", "alias/a")
            .header("x-amz-tagging", "a=b&c=d%20e")
            .header("x-amz-acl", "bucket-owner-full-control")
    };
    assert_eq!(client.send(asking(put("bkt", "plain", "x"))).await.header("x-amz-server-side-encryption"), "aws:kms");
    let begun = client.send(asking(Call::new(Method::POST, "bkt", "parts").query("uploads", ""))).await;
    server.store().upload_part("bkt", "parts", &begun.one("UploadId"), 1, "x").unwrap();
    server.store().complete_upload("bkt", "parts", &begun.one("UploadId")).unwrap();
    for key in ["plain", "parts"] {
        let stored = server.store().get("bkt", key).unwrap();
        let tags = [("a", "b"), ("c", "d e")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(stored.headers.storage.tags, tags);
        assert_eq!(stored.headers.storage.acl.as_deref(), Some("bucket-owner-full-control"));
        let answer = client.send(get("bkt", key)).await;
        assert_eq!(answer.header("x-amz-storage-class"), "STANDARD_IA");
        assert_eq!(answer.header("x-amz-server-side-encryption-aws-kms-key-id"), "alias/a");
        assert_eq!(answer.header("x-amz-tagging-count"), "2");
    }
    client.send(put("bkt", "usual", "x")).await;
    let answer = client.send(get("bkt", "usual")).await;
    assert_eq!(answer.maybe_header("x-amz-storage-class"), None);
    let etag = |key: &str| server.store().get("bkt", key).unwrap().etag;
    assert_ne!(etag("plain"), etag("usual"), "encrypted with a key of KMS, the ETag is no hash of the bytes");
    let listing = client.send(Call::new(Method::GET, "bkt", "").query("list-type", "2")).await;
    assert_eq!(listing.all("StorageClass"), ["STANDARD_IA", "STANDARD_IA", "STANDARD"]);
    let refused = client.send(put("bkt", "k", "x").header("x-amz-acl", "private")).await;
    assert_eq!(refused.code(), (400, "AccessControlListNotSupported".to_owned()));
}
