//! Owns the tests of a source on odd stores and hosts, over a store in memory and in virtual time. Leaves its promises
//! to the conformance cases.

use super::*;
use crate::error::ErrorKind;
use crate::limits;
use crate::ports::{Clock as _, Level, Method, Request, StateError};
use crate::record::Data;
use crate::testing::{Reply, START, TestPorts};

const SECOND: Duration = Duration::from_secs(1);

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Uploads,
    Versions,
    Objects,
    Object,
}

fn asked(request: &Request) -> Asked {
    assert_eq!(request.method, Method::Get, "a source only reads");
    let (_, query) = request.path_with_query.split_once('?').unwrap_or_default();
    match query.split('&').next() {
        Some("uploads=") => Asked::Uploads,
        Some("versions=") => Asked::Versions,
        Some("list-type=2") => Asked::Objects,
        _ => Asked::Object,
    }
}

/// A source over a store: `server` answers the requests that it wants to; everything else is empty.
struct Fixture {
    ports: TestPorts,
    source: Source<TestPorts>,
}

impl Fixture {
    fn open(pairs: &[(&str, &str)], mut server: impl FnMut(Asked, &Request) -> Option<Reply> + 'static) -> Self {
        let ports = TestPorts::new(5);
        ports.serve(move |request| {
            let asked = asked(request);
            server(asked, request).unwrap_or_else(|| match asked {
                Asked::Object => object(request),
                listing => page(listing, &[], ""),
            })
        });
        let base = [("aws.region", "us-east-1"), ("aws.bucket", "b1x"), ("aws.endpoint", "http://store:9000")];
        let settings = base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let configured = Source::configure(ports.clone(), &settings.collect());
        let mut source = configured.expect("configures");
        ports.block_on(source.open(None)).expect("opens");
        Self { ports, source }
    }

    fn read(&mut self) -> Result<Vec<Record<crate::testing::Pieces>>> {
        self.ports.block_on(self.source.read(10_000, u64::MAX, SECOND))
    }

    /// Everything up to the first poll that finds nothing, as `operation key`.
    fn read_all(&mut self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        while !self.source.progress().is_caught_up {
            all.extend(self.read()?.iter().map(summary));
        }
        Ok(all)
    }

    fn asked(&self, what: Asked) -> Vec<Request> {
        let mut requests = self.ports.requests();
        requests.retain(|request| asked(request) == what);
        requests
    }

    /// The only warning.
    fn warning(&self) -> String {
        let mut lines = self.ports.lines(Level::Warn);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

fn summary<B>(record: &Record<B>) -> String {
    let Some(Data::Raw(key)) = &record.key else { panic!("the key of an object is its bytes") };
    let operation = record.operation.as_str();
    format!("{operation} {}", String::from_utf8_lossy(key))
}

/// An object without bytes that is as it was asked for, and of ETag `1` where any will do.
fn object(request: &Request) -> Reply {
    let mut headers = request.headers.iter();
    let wanted = headers.find(|(name, _)| *name == "if-match");
    let etag = wanted.map_or("\"1\"", |(_, etag)| etag);
    Reply::status(200).header("content-length", "0").header("etag", etag)
}

/// An entry of a listing: its key, its ETag, and how long it is stamped before the start.
type Entry<'a> = (&'a str, &'a str, Duration);

/// A page of a listing, with `more` in it.
fn page(listing: Asked, entries: &[Entry<'_>], more: &str) -> Reply {
    let (root, element) = match listing {
        Asked::Uploads => ("ListMultipartUploadsResult", "Upload"),
        Asked::Versions => ("ListVersionsResult", "Version"),
        Asked::Objects => ("ListBucketResult", "Contents"),
        Asked::Object => panic!("an object is no listing"),
    };
    let mut document = format!("<{root}>{more}");
    for (key, etag, ago) in entries {
        let time = START.before(*ago).to_rfc3339();
        document.push_str(&format!(
            "<{element}><Key>{key}</Key><ETag>{etag}</ETag><Initiated>{time}</Initiated>\
             <LastModified>{time}</LastModified><Size>0</Size><IsLatest>true</IsLatest></{element}>"
        ));
    }
    document.push_str(&format!("</{root}>"));
    Reply::status(200).body(&[document.as_bytes()])
}

const HOUR: Duration = Duration::from_secs(3600);

/// Answers the listing of one key, which a source requests where that key was overwritten.
fn looks_for(request: &Request, key: &str) -> bool {
    request.path_with_query.ends_with(&format!("prefix={key}"))
}

#[test]
fn an_object_that_is_overwritten_and_then_deleted_is_skipped_and_named() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Objects if looks_for(request, "a") => Some(page(asked, &[("ab", "2", HOUR)], "")),
        Asked::Objects => Some(page(asked, &[("a", "1", HOUR), ("ab", "2", HOUR)], "")),
        Asked::Object if request.path_with_query == "/b1x/a" => {
            Some(Reply::error(412, "PreconditionFailed", "Another one."))
        }
        _ => None,
    });
    assert_eq!(fixture.read_all().expect("goes on"), ["snapshot ab"]);
    assert_eq!(fixture.source.progress().counts.skipped, 1);
    assert_eq!(fixture.warning(), "skipped an object: it was deleted before it could be read; key=`a`");
}

#[test]
fn an_object_that_never_holds_still_is_left_to_the_polls() {
    let mut etag = 0;
    let mut fixture = Fixture::open(&[], move |asked, _| match asked {
        Asked::Objects => {
            etag += 1;
            Some(page(asked, &[("a", &etag.to_string(), HOUR)], ""))
        }
        Asked::Object => Some(Reply::error(412, "PreconditionFailed", "Another one.")),
        _ => None,
    });
    assert!(fixture.read_all().expect("goes on").is_empty());
    let warning = fixture.warning();
    assert!(warning.contains("overwritten faster than it can be read"));
    let pins: Vec<_> = fixture
        .asked(Asked::Object)
        .into_iter()
        .flat_map(|request| request.headers)
        .filter_map(|(name, value)| (name == "if-match").then_some(value))
        .collect();
    assert_eq!(pins.len() as u32, limits::OVERWRITE_CHASES_MAX + 1);
    assert!(pins.is_sorted(), "each for what was listed last: {pins:?}");
}

#[test]
fn an_archived_object_is_skipped_and_the_way_out_named() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Objects => Some(page(asked, &[("a", "1", HOUR), ("b", "2", HOUR)], "")),
        Asked::Object if request.path_with_query == "/b1x/a" => {
            Some(Reply::error(403, "InvalidObjectState", "It is archived."))
        }
        _ => None,
    });
    assert_eq!(fixture.read_all().expect("goes on"), ["snapshot b"]);
    assert!(fixture.warning().contains("restore it, then copy it"));
}

#[test]
fn a_bucket_that_goes_ends_the_source() {
    let mut fixture = Fixture::open(&[], |asked, _| match asked {
        Asked::Objects => Some(page(asked, &[("a", "1", HOUR)], "")),
        Asked::Object => Some(Reply::error(404, "NoSuchBucket", "Gone.")),
        _ => None,
    });
    let error = fixture.read_all().expect_err("there is no bucket");
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("\"b1x\" does not exist"), "{error}");
    assert_eq!(fixture.read().expect_err("stays failed"), error);
}

/// A source that finds one change after an empty snapshot; `server` answers for the objects.
fn with_a_change(mut server: impl FnMut(&Request) -> Reply + 'static) -> Fixture {
    Fixture::open(&[], move |asked, request| match asked {
        Asked::Versions => Some(page(asked, &[("a", "1", Duration::ZERO)], "")),
        Asked::Object => Some(server(request)),
        _ => None,
    })
}

#[test]
fn a_null_version_that_is_no_longer_the_latest_is_asked_for_by_name() {
    let mut fixture = with_a_change(|request| {
        if request.path_with_query.contains("versionId=null") {
            object(request)
        } else {
            Reply::error(412, "PreconditionFailed", "Another one.")
        }
    });
    assert_eq!(fixture.read_all().expect("reads"), ["create a"]);
    let paths: Vec<_> = fixture.asked(Asked::Object).into_iter().map(|request| request.path_with_query).collect();
    assert_eq!(paths, ["/b1x/a", "/b1x/a?versionId=null"]);
}

#[test]
fn a_null_version_that_was_overwritten_is_left_to_the_next_poll() {
    let mut polls = 0;
    let mut fixture = Fixture::open(&[], move |asked, _| match asked {
        // Once the poll has listed it, another one replaces it.
        Asked::Versions => {
            polls += 1;
            let etag = if polls == 1 { "1" } else { "2" };
            Some(page(asked, &[("a", etag, Duration::ZERO)], ""))
        }
        Asked::Object if polls == 1 => Some(Reply::error(412, "PreconditionFailed", "Another one.")),
        _ => None,
    });
    assert_eq!(fixture.read_all().expect("goes on"), ["create a"]);
    assert_eq!(fixture.source.progress().counts.skipped, 1);
    let warning = fixture.warning();
    assert!(warning.contains("it was overwritten before it could be read; the next poll reads it"), "{warning}");
}

#[test]
fn an_upload_on_a_later_page_is_known_when_it_completes() {
    let mut polls = 0;
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        Asked::Uploads if request.path_with_query.contains("key-marker=m&upload-id-marker=u") => {
            Some(page(asked, &[("z", "", HOUR)], ""))
        }
        Asked::Uploads => {
            let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>m</NextKeyMarker>\
                        <NextUploadIdMarker>u</NextUploadIdMarker>";
            Some(page(asked, &[("b", "", HOUR)], more))
        }
        // Both were stamped when they began, long before any window.
        Asked::Versions => {
            polls += 1;
            let completed = [("y", "1", HOUR), ("z", "2", HOUR)];
            Some(page(asked, if polls == 1 { &[] } else { &completed }, ""))
        }
        _ => None,
    });
    let mut read = Vec::new();
    while fixture.source.progress().counts.polls < 3 {
        read.extend(fixture.read().expect("reads"));
    }
    let read: Vec<_> = read.iter().map(summary).collect();
    assert_eq!(read, ["create z"], "`y` was no upload that we knew");
}

#[test]
fn uploads_that_cannot_be_listed_for_a_while_end_the_source() {
    let mut fixture =
        Fixture::open(&[], |asked, _| (asked == Asked::Uploads).then(|| Reply::error(500, "InternalError", "Later.")));
    let error = fixture.read_all().expect_err("nobody knows what lands late");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("ListMultipartUploads"), "{error}");
    assert!(fixture.asked(Asked::Uploads).len() > 5, "retried");
    assert!(fixture.ports.elapsed() >= limits::RETRIES_MAX);
}

#[test]
fn a_store_without_versions_is_followed_over_all_pages() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Versions => Some(Reply::error(501, "NotImplemented", "No versions.")),
        Asked::Objects if request.path_with_query.contains("max-keys=1&") => None,
        Asked::Objects if request.path_with_query.contains("continuation-token=t") => {
            Some(page(asked, &[("b", "2", Duration::ZERO)], ""))
        }
        Asked::Objects => {
            let more = "<IsTruncated>true</IsTruncated>\
                        <NextContinuationToken>t</NextContinuationToken>";
            Some(page(asked, &[("a", "1", Duration::ZERO)], more))
        }
        _ => None,
    });
    let read = fixture.read_all().expect("reads");
    assert_eq!(read, ["snapshot a", "snapshot b"]);
    assert!(fixture.warning().contains("cannot list versions"));
    // Both pages of the snapshot and of the poll.
    let pages = fixture.asked(Asked::Objects).into_iter();
    let pages = pages.filter(|request| request.path_with_query.contains("max-keys=1000"));
    assert_eq!(pages.count(), 4);
    assert_eq!(fixture.asked(Asked::Versions).len(), 1, "asked for once");
}

#[test]
fn more_changes_than_a_poll_may_plan_come_at_once_in_the_next_ones() {
    let key = |n: usize| format!("{n:0width$}", width = limits::KEY_BYTES_MAX);
    let count = 2 * limits::PLAN_BYTES_MAX / limits::KEY_BYTES_MAX;
    let page_of = move |from: usize| {
        let keys: Vec<_> = (from..count.min(from + 1000)).map(key).collect();
        let entries: Vec<_> = keys.iter().map(|key| (&**key, "e", Duration::ZERO)).collect();
        let next = from + entries.len();
        let more = format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{next}</NextKeyMarker>");
        page(Asked::Versions, &entries, if next < count { &more } else { "" })
    };
    let mut fixture = Fixture::open(&[("pollingPeriod", "1h")], move |asked, request| {
        let (_, marker) = request.path_with_query.split_once("key-marker=").unwrap_or_default();
        (asked == Asked::Versions).then(|| page_of(marker.parse().unwrap_or_default()))
    });
    let mut keys = Vec::new();
    while keys.len() < count {
        keys.extend(fixture.read().expect("reads").iter().map(summary));
    }
    let expected: Vec<_> = (0..count).map(|n| format!("create {}", key(n))).collect();
    assert!(keys == expected, "each once, and in order");
    assert!(fixture.source.progress().counts.polls >= 2);
    assert!(fixture.ports.elapsed() < HOUR, "without waiting for the period");
}

#[test]
fn a_host_that_fails_to_keep_what_leaves_ends_the_source() {
    let mut fixture =
        Fixture::open(&[], |asked, _| (asked == Asked::Objects).then(|| page(asked, &[("a", "1", SECOND)], "")));
    let kept = fixture.ports.clone();
    // Before that, state is removed that another run may have left.
    let has_begun = move || kept.saved().contains_key("snapshot");
    fixture.ports.refuse_state(move |name| {
        (name == "seen-0" && has_begun()).then(|| StateError::Failed("disk full".to_owned()))
    });
    let error = fixture.read_all().expect_err("it would come twice");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("disk full"), "{error}");
    assert_eq!(fixture.read().expect_err("stays failed"), error);
}

/// Pages that lead to each other, of a listing that names the next one by such elements.
fn in_a_circle(listing: Asked, marker: &'static str) -> Error {
    let mut count = 0;
    let mut fixture = Fixture::open(&[], move |asked, request| {
        if asked != listing || request.path_with_query.contains("max-keys=1&") {
            return None;
        }
        count += 1;
        let (key, next) = [("a", "to-b"), ("b", "to-a")][(count - 1) % 2];
        let more = format!("<IsTruncated>true</IsTruncated><{marker}>{next}</{marker}>");
        Some(page(asked, &[(key, "1", HOUR)], &more))
    });
    let error = fixture.read_all().expect_err("goes round");
    assert!(fixture.asked(listing).len() < 10, "soon noticed");
    error
}

#[test]
fn pages_that_go_in_a_circle_end_the_source() {
    for (listing, marker) in [
        (Asked::Uploads, "NextKeyMarker"),
        (Asked::Objects, "NextContinuationToken"),
        (Asked::Versions, "NextKeyMarker"),
    ] {
        let error = in_a_circle(listing, marker);
        // Not an outage: a host must not begin the same listing over and over.
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.message.contains("in a circle"), "{error}");
    }
}

#[test]
fn a_time_that_cannot_be_read_is_warned_of_once_with_its_key() {
    let mut fixture = Fixture::open(&[], |asked, _| {
        let odd = "<Contents><Key>a</Key><LastModified>0001-01-01T00:00:00Z</LastModified></Contents>";
        let document = format!("<ListBucketResult>{odd}{}</ListBucketResult>", odd.replace(">a<", ">b<"));
        (asked == Asked::Objects).then(|| Reply::status(200).body(&[document.as_bytes()]))
    });
    let read = fixture.read_all().expect("stops nothing");
    assert_eq!(read, ["snapshot a", "snapshot b"]);
    let warning = fixture.warning();
    assert!(warning.contains("key=`a`, time=`0001-01-01T00:00:00Z`"), "{warning}");
}

#[test]
fn etags_that_differ_from_the_listing_are_logged_once() {
    let keys = ["a", "b", "c"];
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        Asked::Objects => {
            let is_of = |key: &&str| looks_for(request, key) || looks_for(request, "");
            let keys = keys.iter().filter(|key| is_of(key));
            let entries: Vec<_> = keys.map(|key| (*key, "listed", HOUR)).collect();
            Some(page(asked, &entries, ""))
        }
        Asked::Object if request.headers.iter().any(|(name, _)| *name == "if-match") => {
            Some(Reply::error(412, "PreconditionFailed", "Another one."))
        }
        Asked::Object => Some(Reply::status(200).header("etag", "\"own\"").header("content-length", "0")),
        _ => None,
    });
    let mut records = Vec::new();
    while !fixture.source.progress().is_caught_up {
        records.extend(fixture.read().expect("reads"));
    }
    let own = |record: &Record<_>| record.metadata["s3.etag"] == "own";
    assert!(records.len() == 3 && records.iter().all(own));
    let warning = fixture.warning();
    assert!(warning.contains("keeps listing another ETag"), "{warning}");
    assert_eq!(fixture.source.progress().counts.skipped, 0);
}

#[test]
fn one_odd_etag_proves_nothing_of_the_next_object() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Objects => {
            let of = |key| looks_for(request, key) || looks_for(request, "");
            let entries = ["a", "z"].into_iter().filter(|key| of(key));
            let entries: Vec<_> = entries.map(|key| (key, "listed", HOUR)).collect();
            Some(page(asked, &entries, ""))
        }
        Asked::Object if request.headers.iter().any(|(name, _)| *name == "if-match") => {
            Some(Reply::error(412, "PreconditionFailed", "Another one."))
        }
        // A replica that lags has what was listed before.
        Asked::Object if request.path_with_query.ends_with("/z") => {
            let time = std::time::UNIX_EPOCH + Duration::from_millis(START.0) - 25 * HOUR;
            Some(object(request).header("last-modified", &httpdate::fmt_http_date(time)))
        }
        _ => None,
    });
    let mut read = Vec::new();
    let error = loop {
        match fixture.read() {
            Ok(records) => read.extend(records.iter().map(summary)),
            Err(error) => break error,
        }
    };
    assert_eq!(read, ["snapshot a"]);
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let says = "object `z`: 6 answers were not the listed object";
    assert!(error.message.contains(says), "{error}");
    assert!(error.message.contains("it is older than what was listed"), "{error}");
    let asked = fixture.asked(Asked::Object).into_iter();
    let conditional = asked.filter(|request| request.path_with_query.ends_with("/z") && !request.headers.is_empty());
    assert!(conditional.count() as u32 >= limits::ANSWERS_MAX);
}

#[test]
fn entries_that_appear_before_the_window_are_warned_of_once() {
    let mut polls = 0;
    let mut fixture = Fixture::open(&[], move |asked, _| match asked {
        Asked::Versions => {
            polls += 1;
            let entries = [("a", "1", HOUR), ("b", "2", HOUR), ("c", "3", HOUR)];
            // One object is old; later others appear that say they are as old.
            let count = [1, 1, 2, 3][polls.min(4) - 1];
            Some(page(asked, &entries[..count], ""))
        }
        _ => None,
    });
    while fixture.source.progress().counts.polls < 6 {
        assert!(fixture.read().expect("reads").is_empty());
    }
    let warning = fixture.warning();
    for part in ["count=`1`", "`lookback`", "store's clock"] {
        assert!(warning.contains(part), "{warning}");
    }
}

#[test]
fn an_answer_of_another_time_is_looked_up_and_told_by_its_own() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Objects => {
            // Stored again with the same bytes once it was listed.
            let ago = if looks_for(request, "a") { SECOND } else { HOUR };
            Some(page(asked, &[("a", "1", ago)], ""))
        }
        Asked::Object => {
            let time = std::time::UNIX_EPOCH + Duration::from_millis(START.0) - SECOND;
            let reply = Reply::status(200).header("content-length", "0");
            Some(reply.header("last-modified", &httpdate::fmt_http_date(time)))
        }
        _ => None,
    });
    let records = fixture.read().expect("reads");
    assert_eq!(records.len(), 1);
    let time = START.before(SECOND);
    assert_eq!(records[0].metadata["s3.lastModified"], time.to_rfc3339());
    assert!(fixture.ports.lines(Level::Warn).is_empty());
}

#[test]
fn a_prefix_that_nothing_begins_with_is_said_once() {
    let mut fixture = Fixture::open(&[("prefix", "2025/")], |_, _| None);
    assert_eq!(fixture.read_all().expect("reads"), [""; 0]);
    assert!(fixture.warning().contains("no key begins with `2025/`"));

    let mut fixture = Fixture::open(&[], |_, _| None);
    fixture.read_all().expect("reads");
    let lines = fixture.ports.lines(Level::Warn);
    assert_eq!(lines, [""; 0], "an empty bucket is no mistake");
}

#[test]
fn a_prefix_that_is_a_path_or_a_glob_is_doubted_when_the_source_opens() {
    for prefix in ["/2024/", "2024/*.txt"] {
        let fixture = Fixture::open(&[("prefix", prefix)], |_, _| None);
        let warning = fixture.warning();
        assert!(warning.starts_with("setting `prefix`: "), "{warning}");
        assert!(warning.ends_with("`2024/` was probably meant"), "{warning}");
    }
}
