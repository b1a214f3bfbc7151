//! Cases of listings that are not what they should be: cut short, turning in circles, empty in the middle. What
//! is not listed would be taken for gone, so nothing is taken for a listing that is none.

use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{Fault, Reset, Rule, S3Operation};
use s3_connector_host::ErrorKind;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Bucket, Env, SavedState, read_all, read_some, summary};

in_every_world! {
    every_kind_of_broken_listing_is_asked_for_again,
    a_listing_that_fails_permanently_ends_the_source_with_an_error,
    an_empty_page_in_the_middle_is_not_the_end,
    a_page_that_leads_to_itself_is_an_error,
    a_page_that_leads_nowhere_is_an_error,
    a_change_on_a_page_that_failed_before_is_not_lost,
    whether_there_is_more_is_read_as_go_reads_it,
    a_last_page_that_names_a_next_one_is_an_error,
    a_time_that_cannot_be_read_stops_nothing,
    a_key_that_is_not_utf8_is_named,
}

async fn every_kind_of_broken_listing_is_asked_for_again(env: &Env) {
    let faults = [
        Fault::internal_error(),
        Fault::slow_down(None),
        Fault::too_many_requests(None),
        Fault::Reset(Reset::BeforeAct),
        Fault::Reset(Reset::AfterAct),
        Fault::Truncate { body_bytes: 200 },
        Fault::Cut { body_bytes: 200 },
        Fault::Cut { body_bytes: 0 },
        Fault::garbage(),
        Fault::error_in_ok("InternalError", "We encountered an internal error."),
    ];
    for fault in faults {
        let bucket = env.versioned().await;
        bucket.put("a", "1").await;
        // The first request of each kind is answered so.
        for operation in [S3Operation::ListObjectsV2, S3Operation::ListObjectVersions] {
            bucket.wire().faults().add(Rule::new(operation, fault.clone()).times(1));
        }
        let mut source = bucket.open().await;
        let records = read_all(&mut source).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(summary(&records), ["snapshot a 1"], "{fault:?}");
        bucket.put("a", "2").await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(summary(&records), ["update a 2"], "{fault:?}");
    }
}

async fn a_listing_that_fails_permanently_ends_the_source_with_an_error(env: &Env) {
    let (bucket, ..) = env.paged().await;
    // The first page passes; the second page is refused.
    let refusal = Fault::answer(400, "InvalidArgument", "The marker is wrong.");
    bucket.wire().faults().add(Rule::new(S3Operation::ListObjectVersions, refusal).skip(1));
    let mut source = bucket.open().await;
    let error = read_all(&mut source).await.expect_err("half a snapshot is none");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.message().contains("InvalidArgument"), "{error}");
    assert!(!source.progress().await.expect("answers").caught_up);
}

/// The listings by which a source goes, the second where the store knows no versions, and how many of them come before
/// its first page: the check of the bucket is one.
const LISTINGS: [(S3Operation, &str, u64); 2] =
    [(S3Operation::ListObjectVersions, "ListVersionsResult", 0), (S3Operation::ListObjectsV2, "ListBucketResult", 1)];

/// Lets the store know no versions, where a listing of objects is to be looked at.
fn let_list_by(bucket: &Bucket, operation: S3Operation) {
    if operation == S3Operation::ListObjectsV2 {
        let unknown = Fault::answer(501, "NotImplemented", "A header or query is not implemented.");
        bucket.wire().faults().add(Rule::new(S3Operation::ListObjectVersions, unknown));
    }
}

/// A page of S3's that holds nothing and says that there is more, and where.
fn empty_page(root: &str, next: &str) -> Fault {
    let document = format!("<{root}><IsTruncated>true</IsTruncated>{next}</{root}>");
    Fault::Document(Bytes::from(document))
}

async fn an_empty_page_in_the_middle_is_not_the_end(env: &Env) {
    for (operation, root, skips) in LISTINGS {
        // Only of the embedded server it is known what a token looks like.
        if env.is_real() && operation == S3Operation::ListObjectsV2 {
            continue;
        }
        let bucket = env.plain().await;
        for key in ["a", "b"] {
            bucket.put(key, "1").await;
        }
        let_list_by(&bucket, operation);
        // It continues before all keys, in the snapshot and in a poll.
        let next = "<NextKeyMarker>!</NextKeyMarker><NextContinuationToken>1=</NextContinuationToken>";
        let faults = bucket.wire().faults();
        let rule = || Rule::new(operation, empty_page(root, next)).times(1);
        let in_snapshot = faults.add(rule().skip(skips));
        let mut source = bucket.open().await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(summary(&records), ["snapshot a 1", "snapshot b 1"]);
        assert_eq!(faults.fired(in_snapshot), 1);
        let in_poll = faults.add(rule());
        bucket.put("b", "22").await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(summary(&records), ["update b 22"]);
        assert_eq!(faults.fired(in_poll), 1);
    }
}

/// Why a source stops once a listing is answered so.
async fn stopped_by(bucket: &Bucket, operation: S3Operation, rule: Rule) -> (ErrorKind, String) {
    let_list_by(bucket, operation);
    bucket.wire().faults().add(rule);
    let mut source = bucket.open().await;
    let error = read_all(&mut source).await.expect_err("goes round in circles");
    let progress = source.progress().await.expect("answers");
    assert!(!progress.caught_up, "{error}");
    bucket.wire().faults().clear();
    (error.kind(), error.message().to_owned())
}

async fn a_page_that_leads_to_itself_is_an_error(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let next = "<NextContinuationToken>again</NextContinuationToken>\
                <NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>";
    for (operation, root, skips) in LISTINGS {
        let rule = Rule::new(operation, empty_page(root, next)).skip(skips);
        let (kind, message) = stopped_by(&bucket, operation, rule).await;
        assert_eq!(kind, ErrorKind::Corrupt, "{message}");
        assert!(message.contains("leads to itself"), "{message}");
        assert!(message.contains(&operation.to_string()), "{message}");
    }
}

async fn a_page_that_leads_nowhere_is_an_error(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    for (operation, root, skips) in LISTINGS {
        let rule = Rule::new(operation, empty_page(root, "")).skip(skips);
        let (kind, message) = stopped_by(&bucket, operation, rule).await;
        assert_eq!(kind, ErrorKind::Corrupt, "{message}");
        assert!(message.contains("does not name a next one"), "{message}");
    }
}

async fn a_change_on_a_page_that_failed_before_is_not_lost(env: &Env) {
    let (bucket, keys, page_size_max) = env.paged().await;
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let records = read_some(&mut source, keys.len()).await.expect("reads");
    let position = Some(records[keys.len() - 1].position.clone());
    drop(source);
    for key in [&keys[0], &keys[page_size_max]] {
        bucket.put(key, "2").await;
    }
    // The second page is refused permanently.
    let refusal = Fault::answer(400, "InvalidArgument", "The marker is wrong.");
    let faults = bucket.wire().faults();
    faults.add(Rule::new(S3Operation::ListObjectVersions, refusal).skip(1));
    let mut source = bucket.source(&[], &state, position.as_deref()).await.expect("goes on");
    let outcome = source.read(100, Duration::from_secs(60)).await;
    let error = outcome.expect_err("half a poll is none");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    faults.clear();
    let mut source = bucket.source(&[], &state, position.as_deref()).await.expect("goes on");
    let mut changes = summary(&read_all(&mut source).await.expect("reads"));
    changes.sort();
    let expected = [&keys[0], &keys[page_size_max]].map(|key| format!("update {key} 2"));
    assert_eq!(changes, expected);
}

async fn whether_there_is_more_is_read_as_go_reads_it(env: &Env) {
    for text in ["True", "TRUE", "t", "1", " true "] {
        let (bucket, keys, _) = env.paged().await;
        for (operation, _, skips) in LISTINGS {
            let_list_by(&bucket, operation);
            let faults = bucket.wire().faults();
            let more = Rule::new(operation, Fault::Element("IsTruncated", text));
            let rule = faults.add(more.skip(skips).times(1));
            let mut source = bucket.open().await;
            let records = read_all(&mut source).await.expect("reads");
            assert_eq!(records.len(), keys.len(), "{text:?}");
            assert_eq!(faults.fired(rule), 1, "{text:?}");
        }
    }
}

async fn a_last_page_that_names_a_next_one_is_an_error(env: &Env) {
    for text in ["false", "False", "0"] {
        let (bucket, ..) = env.paged().await;
        for (operation, _, skips) in LISTINGS {
            let rule = Rule::new(operation, Fault::Element("IsTruncated", text)).skip(skips);
            let (kind, message) = stopped_by(&bucket, operation, rule).await;
            assert_eq!(kind, ErrorKind::Corrupt, "{message}");
            let expected = "the last page names a next one";
            assert!(message.contains(expected), "{message}");
        }
    }
}

async fn a_time_that_cannot_be_read_stops_nothing(env: &Env) {
    for text in ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "", "yesterday"] {
        for (operation, ..) in LISTINGS {
            let bucket = env.versioned().await;
            for key in ["a", "b"] {
                bucket.put(key, "1").await;
            }
            let_list_by(&bucket, operation);
            let faults = bucket.wire().faults();
            let rule = faults.add(Rule::new(operation, Fault::Element("LastModified", text)));
            let mut source = bucket.open().await;
            let records = read_all(&mut source).await;
            let records = records.unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(summary(&records), ["snapshot a 1", "snapshot b 1"]);
            // The object itself may say what the listing does not.
            assert!(records[0].metadata.get("s3.lastModified").is_some());
            faults.remove(rule);
            bucket.put("b", "2").await;
            let records = read_all(&mut source).await.expect("reads");
            assert_eq!(summary(&records).last().expect("one"), "update b 2");
        }
    }
}

async fn a_key_that_is_not_utf8_is_named(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    for (operation, _, skips) in LISTINGS {
        let rule = Rule::new(operation, Fault::Element("Key", "z%FFz")).skip(skips);
        let (kind, message) = stopped_by(&bucket, operation, rule).await;
        assert_eq!(kind, ErrorKind::Corrupt, "{message}");
        assert!(message.contains("`z\\xffz`"), "{message}");
        let asked = bucket.wire().requests_count(operation);
        assert!(asked <= 3, "what is wrong stays wrong: {asked}");
        bucket.wire().clear_requests();
    }
}
