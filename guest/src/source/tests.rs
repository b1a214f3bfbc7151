//! Owns the tests of a source on odd stores, over a store in memory and in virtual time. Leaves polls to `tests/polls`,
//! odd hosts to `tests/hosts`, rows that can't be read to `tests/rows`, restarts to `tests/restarts`, what is rare to `tests/rare`, and a source's promises to the
//! conformance cases.

mod hosts;
mod polls;
mod rare;
mod restarts;
mod rows;

use super::*;
use crate::error::ErrorKind;
use crate::ports::{Clock as _, Method, Request};
use crate::record::Data;
use crate::testing::{Pieces, Reply, START, TestPorts};

const SECOND: Duration = Duration::from_secs(1);

/// Calls of `read` after which a test gives up.
const READS_MAX: usize = 20_000;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Probe,
    Versions,
    Objects,
    Object,
    Head,
}

fn asked(request: &Request) -> Asked {
    let (_, query) = request.path_with_query.split_once('?').unwrap_or_default();
    assert!(matches!(request.method, Method::Get | Method::Head), "a source only reads");
    match query.split('&').next() {
        _ if request.method == Method::Head => Asked::Head,
        Some("uploads=") => panic!("uploads are not listed"),
        Some("versions=") => Asked::Versions,
        Some("list-type=2") if query.contains("max-keys=1&") && query.ends_with("prefix=") => Asked::Probe,
        Some("list-type=2") => Asked::Objects,
        _ => Asked::Object,
    }
}

/// A source over a store: `server` answers the requests that it wants to; everything else is empty.
struct Fixture {
    ports: TestPorts,
    source: Source<TestPorts>,
}

/// Ports over such a store.
fn serving(mut server: impl FnMut(Asked, &Request) -> Option<Reply> + 'static) -> TestPorts {
    let ports = TestPorts::new(5);
    ports.serve(move |request| {
        let asked = asked(request);
        server(asked, request).unwrap_or_else(|| match asked {
            Asked::Object => object(request),
            Asked::Head => Reply::status(404),
            listing => page(listing, &[], ""),
        })
    });
    ports
}

impl Fixture {
    fn open(pairs: &[(&str, &str)], server: impl FnMut(Asked, &Request) -> Option<Reply> + 'static) -> Self {
        Self::go_on(&serving(server), pairs, None).expect("opens")
    }

    /// Opens a source of the same ports after a position.
    fn go_on(ports: &TestPorts, pairs: &[(&str, &str)], position: Option<&[u8]>) -> Result<Self> {
        let base = [("aws.region", "us-east-1"), ("aws.bucket", "b1x"), ("aws.endpoint", "http://store:9000")];
        let settings = base.iter().chain(pairs).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let mut source = Source::configure(ports.clone(), &settings.collect())?;
        ports.block_on(source.open(position))?;
        Ok(Self { ports: ports.clone(), source })
    }

    fn read(&mut self) -> Result<Vec<Record<Pieces>>> {
        self.ports.block_on(self.source.read(10_000, u64::MAX, SECOND))
    }

    /// Everything up to the first poll that finds nothing, as `operation key`.
    fn read_all(&mut self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for _ in 0..READS_MAX {
            if self.source.progress().is_caught_up {
                return Ok(all);
            }
            all.extend(self.read()?.iter().map(summary));
        }
        panic!("never catches up; so far: {all:?}");
    }

    /// Everything of polls that begin from now on, up to the end of the first one's delivery, all of it acked.
    fn read_poll(&mut self) -> Result<Vec<String>> {
        self.read_polls(2)
    }

    /// What that many further polls tell.
    fn read_polls(&mut self, count: u64) -> Result<Vec<String>> {
        let (polls, mut all) = (self.source.progress().counts.polls + count, Vec::new());
        for _ in 0..READS_MAX {
            let records = self.read()?;
            all.extend(records.iter().map(summary));
            if let Some(last) = records.last() {
                self.source.ack(&last.position).expect("it was just read");
            }
            if self.source.progress().counts.polls >= polls {
                return Ok(all);
            }
        }
        panic!("never polls; so far: {all:?}");
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
    let version = record.metadata.get("s3.versionId").map(|id| format!(" {id}")).unwrap_or_default();
    format!("{operation} {}{version}", String::from_utf8_lossy(key))
}

/// An object without bytes that is as it was asked for, and of ETag `1` where any will do.
fn object(request: &Request) -> Reply {
    let mut headers = request.headers.iter();
    let wanted = headers.find(|(name, _)| *name == "if-match");
    let etag = wanted.map_or("\"1\"", |(_, etag)| etag);
    let reply = Reply::status(200).header("content-length", "0").header("etag", etag);
    match request.path_with_query.split_once("versionId=") {
        Some((_, "null")) | None => reply,
        Some((_, id)) => reply.header("x-amz-version-id", id),
    }
}

/// An entry of a listing: its key, its ETag, and how long it is stamped before the start.
type Entry<'a> = (&'a str, &'a str, Duration);

/// A page of a listing, with `more` in it.
fn page(listing: Asked, entries: &[Entry<'_>], more: &str) -> Reply {
    let (root, element) = match listing {
        Asked::Versions => ("ListVersionsResult", "Version"),
        Asked::Objects | Asked::Probe => ("ListBucketResult", "Contents"),
        Asked::Object | Asked::Head => panic!("an object is no listing"),
    };
    let mut document = format!("<{root}>{more}");
    for (key, etag, ago) in entries {
        let time = START.before(*ago).to_rfc3339();
        document.push_str(&format!(
            "<{element}><Key>{key}</Key><ETag>{etag}</ETag><LastModified>{time}</LastModified><Size>0</Size>\
             <IsLatest>true</IsLatest></{element}>"
        ));
    }
    document.push_str(&format!("</{root}>"));
    Reply::status(200).body(&[document.as_bytes()])
}

const HOUR: Duration = Duration::from_secs(3600);

/// Whether the listing of one key is requested, as where that key was overwritten.
fn looks_for(request: &Request, key: &str) -> bool {
    request.path_with_query.ends_with(&format!("prefix={key}"))
}

fn is_conditional(request: &Request) -> bool {
    request.headers.iter().any(|(name, _)| *name == "if-match")
}

fn replaced() -> Option<Reply> {
    Some(Reply::error(412, "PreconditionFailed", "Another one."))
}

#[test]
fn an_object_that_is_overwritten_and_then_deleted_is_skipped_and_named() {
    let mut listings = 0;
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        Asked::Versions if looks_for(request, "a") => Some(page(asked, &[("ab", "2", HOUR)], "")),
        Asked::Versions => {
            listings += 1;
            let entries = [("a", "1", HOUR), ("ab", "2", HOUR)];
            Some(page(asked, &entries[listings.min(2) - 1..], ""))
        }
        Asked::Object if !request.path_with_query.starts_with("/b1x/ab") => replaced(),
        _ => None,
    });
    assert_eq!(fixture.read_all().expect("goes on"), ["snapshot ab"]);
    assert_eq!(fixture.source.progress().counts.skipped, 1);
    assert_eq!(fixture.warning(), "skipped: it was deleted before it could be read; key=`a`");
    assert!(fixture.asked(Asked::Head).is_empty(), "the reader never had it");
}

#[test]
fn an_object_that_never_holds_still_is_left_to_the_polls() {
    let mut listings = 0;
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        Asked::Versions => {
            // It holds still from the first poll on.
            listings += u32::from(listings <= limits::OVERWRITE_CHASES_MAX + 1 || !looks_for(request, ""));
            Some(page(asked, &[("a", &listings.to_string(), HOUR)], ""))
        }
        Asked::Object if listings <= limits::OVERWRITE_CHASES_MAX + 1 => replaced(),
        _ => None,
    });
    assert_eq!(fixture.read_all().expect("goes on"), ["create a"]);
    let warning = fixture.warning();
    assert!(warning.contains("overwritten faster than it can be read"), "{warning}");
    let pins: Vec<_> = fixture
        .asked(Asked::Object)
        .into_iter()
        .filter(|request| !request.path_with_query.contains("versionId"))
        .flat_map(|request| request.headers)
        .filter_map(|(name, value)| (name == "if-match").then_some(value))
        .collect();
    assert_eq!(pins.len() as u32, limits::OVERWRITE_CHASES_MAX + 1 + 1, "and once by the poll");
    assert!(pins.is_sorted(), "each for what was listed last: {pins:?}");
}

#[test]
fn an_archived_object_is_skipped_and_the_way_out_named() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Versions => Some(page(asked, &[("a", "1", HOUR), ("b", "2", HOUR)], "")),
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
        Asked::Versions => Some(page(asked, &[("a", "1", HOUR)], "")),
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
    let mut listings = 0;
    Fixture::open(&[], move |asked, request| match asked {
        Asked::Versions => {
            listings += 1;
            let entries = [("a", "1", Duration::ZERO)];
            Some(page(asked, &entries[..listings.min(2) - 1], ""))
        }
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
fn a_null_version_that_was_overwritten_is_followed_and_told_once() {
    let mut listings = 0;
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        // Once it was listed, another one replaces it.
        Asked::Versions => {
            listings += 1;
            let etag = if listings == 1 { "1" } else { "2" };
            Some(page(asked, &[("a", etag, HOUR)], ""))
        }
        Asked::Object if request.headers.iter().any(|(_, value)| value == "\"1\"") => replaced(),
        Asked::Object if request.path_with_query.contains("versionId") => {
            Some(Reply::status(200).header("content-length", "0").header("etag", "\"2\""))
        }
        _ => None,
    });
    assert_eq!(fixture.read_all().expect("goes on"), ["snapshot a"]);
    assert_eq!(fixture.read_poll().expect("goes on"), [""; 0]);
    assert_eq!(fixture.source.progress().counts.skipped, 0);
    assert!(fixture.ports.lines(Level::Warn).is_empty());
}

#[test]
fn a_store_without_versions_is_followed_over_all_pages() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Versions => Some(Reply::error(501, "NotImplemented", "No versions.")),
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
    assert_eq!(fixture.asked(Asked::Versions).len(), 2, "asked for twice at the beginning");
}

#[test]
fn a_bucket_is_probed_by_one_key_and_each_listing_asks_for_versions() {
    let mut fixture = Fixture::open(&[], |_, _| None);
    fixture.read_all().expect("reads");
    assert_eq!(fixture.asked(Asked::Probe).len(), 1);
    let listings = fixture.asked(Asked::Versions).len();
    assert!(listings >= 2, "the snapshot and a poll");
    assert_eq!(fixture.ports.requests().len(), 1 + listings, "and nothing else");
}

/// Pages that lead to each other, of a listing that names the next one by such elements.
fn in_a_circle(listing: Asked, marker: &'static str) -> Error {
    let mut count = 0;
    let mut fixture = Fixture::open(&[], move |asked, _| {
        if asked == Asked::Versions && listing != asked {
            return Some(Reply::error(501, "NotImplemented", "No versions."));
        } else if asked != listing {
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
    for (listing, marker) in [(Asked::Objects, "NextContinuationToken"), (Asked::Versions, "NextKeyMarker")] {
        let error = in_a_circle(listing, marker);
        // Not an outage: a host must not begin the same listing over and over.
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.message.contains("in a circle"), "{error}");
    }
}

#[test]
fn a_listing_that_fails_for_a_while_ends_the_source_after_what_it_showed() {
    let mut fixture = Fixture::open(&[], |asked, request| match asked {
        Asked::Versions if request.path_with_query.contains("key-marker=b") => {
            Some(Reply::error(500, "InternalError", "Later."))
        }
        Asked::Versions => {
            let more = "<IsTruncated>true</IsTruncated><NextKeyMarker>b</NextKeyMarker>";
            Some(page(asked, &[("a", "1", HOUR), ("b", "1", HOUR)], more))
        }
        _ => None,
    });
    let (mut read, mut failed) = (Vec::new(), None);
    for _ in 0..READS_MAX {
        match fixture.read() {
            Ok(records) => read.extend(records.iter().map(summary)),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let error = failed.expect("ends");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("ListObjectVersions"), "{error}");
    assert!(fixture.ports.elapsed() >= limits::RETRIES_MAX);
    // Whether more of `b` comes, the next page shows.
    assert_eq!(read, ["snapshot a"]);
}

#[test]
fn a_time_that_cannot_be_read_is_warned_of_once_with_its_key() {
    let mut fixture = Fixture::open(&[], |asked, _| {
        let odd = "<Version><Key>a</Key><LastModified>0001-01-01T00:00:00Z</LastModified><IsLatest>true</IsLatest>\
                   </Version>";
        let document = format!("<ListVersionsResult>{odd}{}</ListVersionsResult>", odd.replace(">a<", ">b<"));
        (asked == Asked::Versions).then(|| Reply::status(200).body(&[document.as_bytes()]))
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
        Asked::Versions => {
            let is_of = |key: &&str| looks_for(request, key) || looks_for(request, "");
            let keys = keys.iter().filter(|key| is_of(key));
            let entries: Vec<_> = keys.map(|key| (*key, "listed", HOUR)).collect();
            Some(page(asked, &entries, ""))
        }
        Asked::Object if is_conditional(request) => replaced(),
        Asked::Object => Some(Reply::status(200).header("etag", "\"own\"").header("content-length", "0")),
        _ => None,
    });
    let mut records = Vec::new();
    for _ in 0..READS_MAX {
        records.extend(fixture.read().expect("reads"));
        if fixture.source.progress().is_caught_up {
            break;
        }
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
        Asked::Versions => {
            let of = |key| looks_for(request, key) || looks_for(request, "");
            let entries = ["a", "z"].into_iter().filter(|key| of(key));
            let entries: Vec<_> = entries.map(|key| (key, "listed", HOUR)).collect();
            Some(page(asked, &entries, ""))
        }
        Asked::Object if is_conditional(request) => replaced(),
        // A replica that lags has what was listed before.
        Asked::Object if request.path_with_query.starts_with("/b1x/z") => {
            let time = std::time::UNIX_EPOCH + Duration::from_millis(START.0) - 25 * HOUR;
            Some(object(request).header("last-modified", &httpdate::fmt_http_date(time)))
        }
        _ => None,
    });
    let (mut read, mut failed) = (Vec::new(), None);
    for _ in 0..READS_MAX {
        match fixture.read() {
            Ok(records) => read.extend(records.iter().map(summary)),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let error = failed.expect("never reads what was listed");
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
fn an_answer_of_another_time_is_looked_up_and_told_by_its_own() {
    let mut listings = 0;
    let mut fixture = Fixture::open(&[], move |asked, request| match asked {
        Asked::Versions => {
            // Stored again with the same bytes once it was listed.
            listings += 1;
            let ago = if listings > 1 { SECOND } else { HOUR };
            assert!(listings != 2 || looks_for(request, "a"));
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
    assert_eq!(fixture.read_poll().expect("reads"), [""; 0], "and is not told again");
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

#[test]
fn globs_that_repeat_the_prefix_are_doubted_when_the_source_opens() {
    let fixture = Fixture::open(&[("prefix", "2025/"), ("keys.include", "2025/**")], |_, _| None);
    assert!(fixture.warning().contains("`keys.include`: a glob is compared with what follows the prefix"));
    let fixture = Fixture::open(&[("prefix", "2025/"), ("keys.include", "**")], |_, _| None);
    assert_eq!(fixture.ports.lines(Level::Warn), [""; 0]);
}
