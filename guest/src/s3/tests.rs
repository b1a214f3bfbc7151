//! What the client makes of a store that answers oddly, in virtual time.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future;

use super::*;
use crate::error::ErrorKind;
use crate::ports::{Clock as _, Level};
use crate::testing::{Reply, START, TestPorts};

/// A client of a store that answers the requests as `server` says, given how many came before.
fn client(mut server: impl FnMut(usize) -> Reply + 'static) -> (TestPorts, Client<TestPorts>) {
    let ports = TestPorts::new(3);
    let mut count = 0;
    ports.serve(move |_| {
        count += 1;
        server(count - 1)
    });
    let settings =
        [("aws.bucket", "b1x"), ("aws.region", "us-east-1"), ("aws.endpoint", "http://store:9000"), ("prefix", "in/")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    (ports.clone(), Client::new(ports, BucketConfig::parse(&settings).expect("good settings")))
}

fn document(root: &str, content: &str) -> Reply {
    Reply::status(200).body(&[format!("<{root}>{content}</{root}>").as_bytes()])
}

fn queries(ports: &TestPorts) -> Vec<String> {
    let query = |request: Request| {
        let (_, query) = request.path_with_query.split_once('?').unwrap_or_default();
        query.to_owned()
    };
    ports.requests().into_iter().map(query).collect()
}

#[test]
fn a_listing_that_would_never_end_is_an_error() {
    let listings = [
        ("", "a truncated page does not name a next one"),
        ("<NextContinuationToken>here</NextContinuationToken>", "the page leads to itself"),
    ];
    for (next, expected) in listings {
        let (ports, client) = client(move |_| {
            let content = format!("<IsTruncated>true</IsTruncated>{next}");
            document("ListBucketResult", &content)
        });
        let start = ListStart::Token("here".to_owned());
        let listed = ports.block_on(client.list_objects_v2("in/", &start, 1000));
        let error = listed.expect_err(expected).explain(client.config());
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.message.contains(expected), "{error}");
    }
}

#[test]
fn a_document_comes_in_any_pieces() {
    let (ports, client) = client(|_| {
        Reply::status(200).body(&[
            b"<ListBucketResult><Contents><Key>in",
            b"",
            b"/\xc3",
            b"\xa9</Key></Contents></ListBucketResult>",
        ])
    });
    let start = ListStart::First;
    let page = ports.block_on(client.list_objects_v2("in/", &start, 1000)).expect("lists");
    assert_eq!(page.entries[0].key, "in/é");
    assert_eq!(ports.requests().len(), 1);
}

#[test]
fn a_document_larger_than_any_is_not_read_to_its_end() {
    let piece = vec![b' '; limits::DOCUMENT_BYTES_MAX / 4];
    let (ports, client) = client(move |_| {
        // A client that read on would find that it breaks off.
        Reply::status(200).body(&[&piece[..]; 6]).broken()
    });
    let start = ListStart::First;
    let listed = ports.block_on(client.list_objects_v2("in/", &start, 1000));
    let error = listed.expect_err("too large").explain(client.config());
    assert!(error.message.contains("larger than any that S3 sends"), "{error}");
}

#[test]
fn what_the_host_refuses_is_denied_and_not_retried() {
    let why = "the host `elsewhere` is not allowed";
    let (ports, client) = client(move |_| Reply::refused(why));
    let error = ports.block_on(client.head_bucket()).expect_err("refused");
    assert_eq!(
        error.to_string(),
        format!("no answer from s3: the host's policy refused the request: {why}; operation=`HeadBucket`")
    );
    let explained = error.explain(client.config());
    assert_eq!((explained.kind, &*explained.message), (ErrorKind::Denied, why));
    assert_eq!((ports.requests().len(), client.retries()), (1, 0));
}

#[test]
fn a_store_that_names_a_pause_is_not_asked_before_it_is_over() {
    let longest = limits::RETRY_AFTER_MAX.as_secs();
    let date = "Thu, 01 Jan 2026 00:00:00 GMT";
    for (status, pause, least) in [
        (503, "7", 7),
        (429, "3600", longest),
        (503, "Thu, 01 Jan 2026 00:00:09 GMT", 9),
        // Neither is a pause: what is waited then is our own, and never nothing for everybody.
        (503, "0", 0),
        (503, "soon", 0),
    ] {
        let (ports, client) = client(move |count| match count {
            0 => Reply::error(status, "SlowDown", "Later.").header("retry-after", pause).header("date", date),
            _ => Reply::status(200),
        });
        ports.block_on(client.head_bucket()).expect("answers");
        let waited = ports.elapsed();
        let least = Duration::from_secs(least);
        assert!(waited > least, "{pause}: {waited:?}");
        assert!(waited <= least + limits::RETRY_AFTER_SPREAD_MIN, "{pause}: {waited:?}");
        assert_eq!(client.retries(), 1);
    }
}

#[test]
fn requests_that_were_told_the_same_pause_do_not_come_back_together() {
    let (ports, client) = client(|count| match count {
        0..64 => Reply::error(503, "SlowDown", "Later.").header("retry-after", "3"),
        _ => Reply::status(200),
    });
    let times = Rc::new(RefCell::new(Vec::new()));
    let heads = (0..64).map(|_| async {
        client.head_bucket().await.expect("answers");
        times.borrow_mut().push(ports.elapsed());
    });
    ports.block_on(future::join_all(heads));
    let times = times.borrow();
    let (first, last) = (times[0], times[63]);
    assert!(first >= Duration::from_secs(3), "{first:?}");
    assert!(last - first > Duration::from_millis(500), "{:?}", last - first);
}

/// As many requests at once as a source may have, to a store that is down for `down` and then well.
fn outage(requests: usize, down: Duration) -> (TestPorts, Client<TestPorts>, Vec<Result<BucketHead>>) {
    let (ports, client) = client(|_| Reply::status(200));
    let world = ports.clone();
    ports.serve(move |_| if world.elapsed() < down { Reply::reset() } else { Reply::status(200) });
    let heads = (0..requests).map(|_| client.head_bucket());
    let answers = ports.block_on(future::join_all(heads));
    (ports, client, answers)
}

#[test]
fn many_requests_that_fail_at_once_outlast_the_store() {
    let down = Duration::from_secs(10);
    for requests in [1, 64, 512] {
        let (ports, client, answers) = outage(requests, down);
        assert!(answers.iter().all(Result::is_ok), "{requests}");
        let back = ports.elapsed() - down;
        assert!(back <= limits::BACKOFF_MAX.max(limits::PROBE_EVERY * 3), "{requests}: {back:?} after its return");
        // What all of them may spend, and one per second that finds out.
        let storm = u64::from(limits::RETRY_TOKENS / limits::RETRY_COST) + down.as_secs() + 1;
        let asked = client.retries() - requests as u64;
        assert!(asked <= storm, "{requests}: {asked} retries while it was down");
        if requests == 1 {
            // Its pauses are longer than what is left of an outage.
            continue;
        }
        let said = ports.lines(Level::Info);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("the store is not answering"), "{said:?}");
        assert!(said[1].starts_with("the store answers again; away_s=`"), "{said:?}");
    }
}

#[test]
fn many_requests_come_back_one_after_another() {
    let (ports, client) = client(|_| Reply::status(200));
    let (world, times) = (ports.clone(), Rc::new(RefCell::new(Vec::new())));
    let seen = Rc::clone(&times);
    ports.serve(move |_| {
        if world.elapsed() < Duration::from_secs(10) {
            return Reply::reset();
        }
        seen.borrow_mut().push(world.elapsed().as_millis() / 100);
        Reply::status(200)
    });
    let heads = (0..512).map(|_| client.head_bucket());
    ports.block_on(future::join_all(heads));
    let times = times.borrow();
    let most = times.chunk_by(|a, b| a == b).map(<[_]>::len).max();
    // Evenly spread, each tenth of a second would see some 51 of them.
    assert!(most.is_some_and(|most| most < 128), "{most:?} of 512 in a tenth of a second");
}

#[test]
fn an_outage_that_outlasts_patience_is_unavailable_with_the_pause_that_was_asked_for() {
    let (ports, client) = client(|_| Reply::error(503, "SlowDown", "Later.").header("retry-after", "20"));
    let error = ports.block_on(client.head_bucket()).expect_err("is down");
    assert_eq!(ports.elapsed(), limits::RETRIES_MAX, "and not before");
    let error = error.explain(client.config());
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(error.retry_after_ms, Some(20_000));
    assert!(error.message.ends_with(" attempts in 60 s"), "{error}");
}

#[test]
fn a_client_that_opens_gives_up_sooner_and_never_waits_for_an_answer_that_does_not_come() {
    let (ports, client) = client(|_| Reply::reset());
    let opening = client.with_patience(Patience::OPENING);
    let error = ports.block_on(opening.head_bucket()).expect_err("is down");
    assert_eq!(error.explain(client.config()).kind, ErrorKind::Unavailable);
    assert_eq!(ports.elapsed(), limits::RETRIES_TO_OPEN_MAX);

    let started = ports.elapsed();
    ports.serve(|_| Reply::status(200).after(Duration::from_secs(3600)));
    let error = ports.block_on(opening.head_bucket()).expect_err("is silent");
    assert_eq!(ports.elapsed() - started, limits::OPEN_STEP_MAX);
    let error = error.explain(client.config());
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(error.message, "no answer from http://store:9000 to HeadBucket: none came within 60 s");
}

#[test]
fn an_answer_that_is_no_document_is_asked_for_again_and_then_unavailable() {
    let (ports, client) = client(|_| Reply::status(200).body(&[b"<html>\xff</html>"]));
    let start = ListStart::First;
    let listed = ports.block_on(client.list_objects_v2("in/", &start, 1000));
    let error = listed.expect_err("cannot be read").explain(client.config());
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let attempts = ports.requests().len();
    let expected = format!("after {attempts} attempts in 60 s");
    assert!(attempts > 5 && error.message.ends_with(&expected), "{error}");
    assert_eq!(client.retries() as usize, attempts - 1);
    let retried = |line: &String| line.starts_with("retrying");
    let lines = ports.lines(Level::Debug);
    assert_eq!(lines.iter().filter(|line| retried(line)).count(), attempts - 1);
}

#[test]
fn an_object_is_written_as_a_version_and_removed_by_it() {
    let (ports, client) = client(|count| match count {
        0 => Reply::status(200).header("etag", "\"e\"").header("x-amz-version-id", "v+1"),
        _ => Reply::status(204),
    });
    let object = PutObject {
        key: "in/a",
        body: Bytes::from_static(b"x").into(),
        content_type: "text/plain",
        metadata: &[],
        if_none_match: false,
    };
    ports.block_on(async {
        let stored = client.put_object(&object).await.expect("stores");
        assert_eq!(stored.etag, "e");
        let version = stored.version_id.expect("the store keeps versions");
        for version in [Some(&*version), None] {
            let removed = client.delete_object("in/a", version).await;
            removed.expect("removes");
        }
    });
    assert_eq!(queries(&ports), ["", "versionId=v%2B1", ""]);
}

#[test]
fn a_bucket_tells_its_region_and_whether_it_keeps_versions() {
    let (ports, client) = client(|count| match count {
        0 => Reply::status(200).header("x-amz-bucket-region", "eu-west-1"),
        _ => document("VersioningConfiguration", "<Status>Suspended</Status>"),
    });
    ports.block_on(async {
        let head = client.head_bucket().await.expect("is there");
        assert_eq!(head.region.as_deref(), Some("eu-west-1"));
        let versioning = client.get_bucket_versioning().await;
        assert_eq!(versioning.expect("answers"), Versioning::Suspended);
    });
    assert_eq!(queries(&ports), ["", "versioning="]);
}

#[test]
fn refusals_are_told_apart() {
    let of = |reply: fn() -> Reply| {
        let (ports, client) = client(move |_| reply());
        let start = ListStart::First;
        let listed = ports.block_on(client.list_objects_v2("", &start, 1));
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
    assert_eq!(down.status(), Some(503), "although it was retried");
    let elsewhere = of(|| Reply::status(301).header("x-amz-bucket-region", "eu-west-1"));
    assert_eq!(elsewhere.region(), Some("eu-west-1"));
    let silent = of(Reply::reset);
    assert!(!silent.is_denied() && silent.region().is_none() && !silent.refuses_condition());
}

#[test]
fn where_a_bucket_is_said_to_be_reaches_the_user() {
    let moved = |endpoint: &'static str| {
        let document = format!(
            "<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message>\
             <Endpoint>{endpoint}</Endpoint></Error>"
        );
        Reply::status(301).body(&[document.as_bytes()])
    };
    let sent_on = |to: &'static str| Reply::status(307).header("location", to);
    type Case = (fn(&'static str) -> Reply, &'static str, ErrorKind, &'static str);
    let cases: [Case; 4] = [
        (
            moved,
            "b1x.s3-eu-west-1.amazonaws.com",
            ErrorKind::Invalid,
            "is in region `eu-west-1`: set `aws.region` to it",
        ),
        (moved, "b1x.other:9000", ErrorKind::Invalid, "redirected to `b1x.other:9000`"),
        (sent_on, "https://b1x.s3.eu-west-1.amazonaws.com/in/a?x", ErrorKind::Invalid, "is in region `eu-west-1`"),
        (
            sent_on,
            "https://portal.example/sign-in?from=x",
            ErrorKind::Unavailable,
            "redirected to `https://portal.example`, which",
        ),
    ];
    for (reply, place, kind, words) in cases {
        let (ports, client) = client(move |_| reply(place));
        let start = ListStart::First;
        let listed = ports.block_on(client.list_objects_v2("in/", &start, 1));
        let error = listed.expect_err("is elsewhere").explain(client.config());
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(words), "{error}");
        assert_eq!(ports.requests().len(), 1, "{place}");
    }
}

#[test]
fn plain_http_on_a_port_of_tls_is_answered_with_what_to_set() {
    let (ports, client) = client(|_| Reply::status(400).body(&[b"Client sent an HTTP request to an HTTPS server.\n"]));
    let error = ports.block_on(client.head_bucket()).expect_err("no S3").explain(client.config());
    assert!(error.message.ends_with("begin `aws.endpoint` with https://"), "{error}");
}

#[test]
fn a_store_that_tells_no_time_is_taken_to_be_at_a_whole_second() {
    let (ports, client) = client(|_| document("ListBucketResult", ""));
    ports.advance(Duration::from_millis(1999));
    let start = ListStart::First;
    let page = ports.block_on(client.list_objects_v2("in/", &start, 1));
    let expected = Timestamp(START.0 + 1000);
    assert_eq!(page.expect("lists").date, expected);
}

#[test]
fn every_write_that_begins_an_object_says_how_to_keep_it_and_no_other_request_does() {
    let (ports, client) = client(|_| {
        document("InitiateMultipartUploadResult", "<Key>k</Key><UploadId>u</UploadId>").header("etag", "\"e\"")
    });
    let settings = [
        ("aws.bucket", "b1x"),
        ("aws.region", "us-east-1"),
        ("storageClass", "STANDARD_IA"),
        ("sse", "AES256"),
        ("tags", "a=b c"),
        ("acl", "bucket-owner-full-control"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let storing = Client::new(ports.clone(), BucketConfig::parse(&settings).expect("good settings"));
    let expected = [
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-tagging", "a=b%20c"),
        ("x-amz-acl", "bucket-owner-full-control"),
    ];
    for (client, is_asked) in [(&storing, true), (&client, false)] {
        let before = ports.requests().len();
        ports.block_on(async {
            let put = PutObject {
                key: "k",
                body: Payload::empty(),
                content_type: "a/b",
                metadata: &[("n", "v")],
                if_none_match: true,
            };
            client.put_object(&put).await.expect("stores");
            let object =
                NewObject { key: "k".to_owned(), headers: vec![("expires", "0".to_owned())], ..<_>::default() };
            client.put_new_object(&object, Payload::empty()).await.expect("stores");
            client.begin_upload(&object).await.expect("begins");
            let upload = NewUpload { key: "k", content_type: "a/b", metadata: &[] };
            let upload = client.create_multipart_upload(&upload).await.expect("begins");
            client.upload_part(&upload, 1, Payload::empty()).await.expect("stores");
            client.head_object("k").await.expect("is there");
            client.delete_object("k", None).await.expect("goes");
            client.abort_multipart_upload(&upload).await.expect("ends");
        });
        for (index, request) in ports.requests()[before..].iter().enumerate() {
            let names = request.headers.iter().filter(|(name, _)| name.starts_with("x-amz-"));
            let found: Vec<_> = names.map(|(name, value)| (*name, value.as_str())).collect();
            let begins = index < 4 && is_asked;
            assert_eq!(found, if begins { &expected[..] } else { &[] }, "{}", request.path_with_query);
        }
        let request = &ports.requests()[before + 1];
        assert!(request.headers.contains(&("expires", "0".to_owned())));
    }
}
