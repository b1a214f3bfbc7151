//! What the client makes of a store that answers oddly, in virtual time.

use std::time::Duration;

use super::*;
use crate::config::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::model::{Model, Reply, START};
use crate::ports::{Clock as _, Level};

const UPLOADS: &str = "ListMultipartUploadsResult";

/// A client of a store that answers the requests as `server` says, given how many came before.
fn client(mut server: impl FnMut(usize) -> Reply + 'static) -> (Model, Client<Model>) {
    let model = Model::new(3);
    let mut count = 0;
    model.serve(move |_| {
        count += 1;
        server(count - 1)
    });
    let endpoint = Endpoint::new(Some("http://store:9000"), None, "us-east-1", "b1x");
    let config = BucketConfig {
        bucket: "b1x".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: endpoint.expect("a good endpoint"),
        prefix: "in/".to_owned(),
    };
    (model.clone(), Client::new(model, config))
}

fn document(root: &str, content: &str) -> Reply {
    Reply::status(200).body(&[format!("<{root}>{content}</{root}>").as_bytes()])
}

fn queries(model: &Model) -> Vec<String> {
    let query = |request: Request| {
        let (_, query) = request.path_with_query.split_once('?').unwrap_or_default();
        query.to_owned()
    };
    model.requests().into_iter().map(query).collect()
}

#[test]
fn uploads_are_listed_with_both_markers_and_filtered_by_prefix() {
    let (model, client) = client(|_| {
        let upload = |key| format!("<Upload><Key>{key}</Key><UploadId>u</UploadId></Upload>");
        let next =
            "<NextKeyMarker>in/m</NextKeyMarker><NextUploadIdMarker>u/1</NextUploadIdMarker>";
        let uploads = [upload("elsewhere"), upload("in/a"), upload("in")].concat();
        document(
            UPLOADS,
            &format!("<IsTruncated>true</IsTruncated>{next}{uploads}"),
        )
    });
    let list = |marker: Option<Marker>| {
        let page = model.block_on(client.list_multipart_uploads(marker.as_ref()));
        page.expect("lists")
    };
    let page = list(None);
    let keys: Vec<_> = page.entries.iter().map(|upload| &*upload.key).collect();
    assert_eq!(keys, ["in/a"]);
    let marker = page.next.expect("there is more");
    assert_eq!((&*marker.key, &*marker.id), ("in/m", "u/1"));
    // A store that names no upload goes on behind the key.
    list(Some(Marker {
        id: String::new(),
        ..marker.clone()
    }));
    let other = Marker {
        key: "in/l".to_owned(),
        ..marker
    };
    list(Some(other));
    assert_eq!(
        queries(&model),
        [
            "uploads=&encoding-type=url&max-uploads=1000",
            "uploads=&encoding-type=url&max-uploads=1000&key-marker=in%2Fm",
            "uploads=&encoding-type=url&max-uploads=1000&key-marker=in%2Fl&upload-id-marker=u%2F1",
        ]
    );
}

#[test]
fn a_listing_that_would_never_end_is_an_error() {
    let listings = [
        ("", "a truncated page names no next one"),
        (
            "<NextContinuationToken>here</NextContinuationToken>",
            "the page leads to itself",
        ),
    ];
    for (next, expected) in listings {
        let (model, client) = client(move |_| {
            let content = format!("<IsTruncated>true</IsTruncated>{next}");
            document("ListBucketResult", &content)
        });
        let start = ListStart::Token("here".to_owned());
        let listed = model.block_on(client.list_objects_v2("in/", &start, 1000));
        let error = listed.expect_err(expected).explain(client.config());
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains(expected), "{error}");
    }
}

#[test]
fn a_document_comes_in_any_pieces() {
    let (model, client) = client(|_| {
        Reply::status(200).body(&[
            b"<ListBucketResult><Contents><Key>in",
            b"",
            b"/\xc3",
            b"\xa9</Key></Contents></ListBucketResult>",
        ])
    });
    let start = ListStart::After(String::new());
    let page = model.block_on(client.list_objects_v2("in/", &start, 1000));
    let page = page.expect("lists");
    assert_eq!(page.entries[0].key, "in/é");
    assert_eq!(model.requests().len(), 1);
}

#[test]
fn a_document_larger_than_any_is_not_read_to_its_end() {
    let piece = vec![b' '; limits::DOCUMENT_BYTES_MAX / 4];
    let (model, client) = client(move |_| {
        // Whoever read on would find that it breaks off.
        Reply::status(200).body(&[&piece[..]; 6]).broken()
    });
    let start = ListStart::After(String::new());
    let error = model.block_on(client.list_objects_v2("in/", &start, 1000));
    let error = error.expect_err("too large").explain(client.config());
    assert!(error.message.contains("larger than any of S3's"), "{error}");
}

#[test]
fn what_the_host_refuses_is_denied_and_not_asked_again() {
    let why = "the host `elsewhere` is not allowed";
    let (model, client) = client(move |_| Reply::refused(why));
    let error = model.block_on(client.head_bucket()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!(
            "no answer from s3: the host's policy refused the request: {why}; operation=`HeadBucket`"
        )
    );
    let explained = error.explain(client.config());
    assert_eq!(
        (explained.kind, &*explained.message),
        (ErrorKind::Denied, why)
    );
    assert_eq!((model.requests().len(), client.retries()), (1, 0));
}

#[test]
fn a_store_that_names_a_pause_is_asked_again_after_it() {
    for (status, seconds, expected) in [(503, "7", 7), (429, "3600", 10)] {
        let (model, client) = client(move |count| match count {
            0 => Reply::error(status, "SlowDown", "Later.").header("retry-after", seconds),
            _ => Reply::status(200),
        });
        model.block_on(client.head_bucket()).expect("answers");
        assert_eq!(model.elapsed(), Duration::from_secs(expected));
        assert_eq!(client.retries(), 1);
    }
    assert_eq!(limits::BACKOFF_MAX, Duration::from_secs(10));
}

#[test]
fn an_answer_that_is_no_document_is_asked_for_again_and_then_unavailable() {
    let (model, client) = client(|_| Reply::status(200).body(&[b"<html>\xff</html>"]));
    let start = ListStart::After(String::new());
    let error = model.block_on(client.list_objects_v2("in/", &start, 1000));
    let error = error.expect_err("cannot be read").explain(client.config());
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let expected = format!("after {} attempts", limits::ATTEMPTS_MAX);
    assert!(error.message.ends_with(&expected), "{error}");
    assert_eq!(model.requests().len() as u32, limits::ATTEMPTS_MAX);
    assert_eq!(
        model.lines(Level::Debug).len() as u64,
        client.retries(),
        "each is logged"
    );
}

#[test]
fn uploads_are_begun_filled_and_given_up() {
    let (model, client) = client(|count| match count {
        0 => document("InitiateMultipartUploadResult", "<UploadId>u/1</UploadId>"),
        1 => Reply::status(200).header("etag", "\"e\""),
        _ => Reply::status(204),
    });
    model.block_on(async {
        let id = client.create_multipart_upload("in/a").await;
        let id = id.expect("begins");
        let body = Bytes::from_static(b"part");
        let etag = client.upload_part("in/a", &id, 2, body).await;
        assert_eq!(etag.expect("takes it"), "e");
        let given_up = client.abort_multipart_upload("in/a", &id).await;
        given_up.expect("is given up");
    });
    let methods: Vec<_> = model
        .requests()
        .iter()
        .map(|request| (request.method.as_str(), request.body.len()))
        .collect();
    let expected = [("POST", 0), ("PUT", 4), ("DELETE", 0)];
    assert_eq!(methods, expected);
    assert_eq!(
        queries(&model),
        ["uploads=", "partNumber=2&uploadId=u%2F1", "uploadId=u%2F1"]
    );
}

#[test]
fn an_object_is_written_as_a_version_and_removed_by_it() {
    let (model, client) = client(|count| match count {
        0 => Reply::status(200)
            .header("etag", "\"e\"")
            .header("x-amz-version-id", "v+1"),
        _ => Reply::status(204),
    });
    let object = PutObject {
        key: "in/a",
        body: Bytes::from_static(b"x").into(),
        content_type: "text/plain",
        metadata: &[],
        if_none_match: false,
    };
    model.block_on(async {
        let stored = client.put_object(&object).await.expect("stores");
        assert_eq!(stored.etag, "e");
        let version = stored.version_id.expect("the store keeps versions");
        for version in [Some(&*version), None] {
            let removed = client.delete_object("in/a", version).await;
            removed.expect("removes");
        }
    });
    assert_eq!(queries(&model), ["", "versionId=v%2B1", ""]);
}

#[test]
fn a_bucket_tells_its_region_and_whether_it_keeps_versions() {
    let (model, client) = client(|count| match count {
        0 => Reply::status(200).header("x-amz-bucket-region", "eu-west-1"),
        _ => document("VersioningConfiguration", "<Status>Suspended</Status>"),
    });
    model.block_on(async {
        let head = client.head_bucket().await.expect("is there");
        assert_eq!(head.region.as_deref(), Some("eu-west-1"));
        let versioning = client.get_bucket_versioning().await;
        assert_eq!(versioning.expect("answers"), Versioning::Suspended);
    });
    assert_eq!(queries(&model), ["", "versioning="]);
}

#[test]
fn refusals_are_told_apart() {
    let of = |reply: fn() -> Reply| {
        let (model, client) = client(move |_| reply());
        let start = ListStart::After(String::new());
        let listed = model.block_on(client.list_objects_v2("", &start, 1));
        listed.expect_err("is refused")
    };
    let denied = of(|| Reply::error(403, "AccessDenied", "Not you."));
    assert!(denied.is_denied() && !denied.refuses_credentials() && !denied.refuses_condition());
    let unknown = of(|| Reply::error(403, "InvalidAccessKeyId", "Who?"));
    assert!(unknown.is_denied() && unknown.refuses_credentials());
    let kept_in = of(|| Reply::refused("the policy"));
    assert!(kept_in.is_denied() && kept_in.status().is_none());
    let down = of(|| Reply::error(503, "SlowDown", "Later."));
    assert!(!down.is_denied() && down.region().is_none() && !down.refuses_condition());
    assert_eq!(down.status(), Some(503), "though it was asked again");
    let elsewhere = of(|| Reply::status(301).header("x-amz-bucket-region", "eu-west-1"));
    assert_eq!(elsewhere.region(), Some("eu-west-1"));
    let silent = of(Reply::reset);
    assert!(!silent.is_denied() && silent.region().is_none() && !silent.refuses_condition());
}

#[test]
fn a_store_that_tells_no_time_is_taken_to_be_at_a_whole_second() {
    let (model, client) = client(|_| document("ListBucketResult", ""));
    model.advance(Duration::from_millis(1999));
    let start = ListStart::After(String::new());
    let page = model.block_on(client.list_objects_v2("in/", &start, 1));
    let expected = Timestamp(START.0 + 1000);
    assert_eq!(page.expect("lists").date, expected);
}
