//! Cases of what goes wrong for a source: settings, permissions, clocks, throttling and broken answers. What can
//! be outlived is; what can't is said, with what to change.

use s3_connector_host::ErrorKind;
use s3_connector_tests::embedded::{self, Fault, Filter, Operation as S3Operation, Reset, Rule};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Bucket, Conditions, Kind, Place, State, read_all, summary};

in_every_world! {
    a_missing_bucket_is_named,
    wrong_credentials_are_said_to_be_wrong,
    a_denied_list_is_named,
    a_denied_object_stops_the_source_and_is_named,
    each_setting_that_is_missing_or_malformed_is_named,
    a_wrong_clock_changes_nothing except(Real, "the store's clock is its own"),
    throttling_and_broken_connections_are_outlived,
    every_kind_of_broken_listing_is_asked_for_again,
    a_listing_that_fails_for_good_ends_the_source_with_an_error,
    a_source_that_failed_goes_on_from_its_last_ack,
}

/// Why a source does not open.
async fn refused(bucket: &Bucket, settings: &[(&str, &str)]) -> (ErrorKind, String) {
    let Err(error) = bucket.source(settings, &State::none(), None).await else {
        panic!("{settings:?} opened")
    };
    (error.kind(), error.message().to_owned())
}

async fn a_missing_bucket_is_named(place: &Place) {
    let bucket = place.plain().await;
    let settings = bucket.settings(&[]);
    let (kind, message) = refused(&bucket, &[("aws.bucket", "missing-5e3f1a9b7c")]).await;
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
    assert!(
        message.contains("bucket \"missing-5e3f1a9b7c\" does not exist"),
        "{message}"
    );
    for name in ["aws.region", "aws.endpoint"] {
        assert!(message.contains(&settings[name]), "{message}");
    }
}

async fn wrong_credentials_are_said_to_be_wrong(place: &Place) {
    let bucket = place.plain().await;
    for name in ["aws.secretAccessKey", "aws.accessKeyId"] {
        let (kind, message) = refused(&bucket, &[(name, "wrong-5e3f1a9b7c")]).await;
        assert_eq!(kind, ErrorKind::Denied, "{message}");
        assert!(message.contains("refused the credentials"), "{message}");
        let is_origin_known = place.kind() == Kind::Native || message.contains("aws.accessKeyId");
        assert!(
            is_origin_known && !message.contains("wrong-5e3f1a9b7c"),
            "{message}"
        );
    }
}

async fn a_denied_list_is_named(place: &Place) {
    let bucket = place.versioned().await;
    bucket.put("a", "1").await;
    let Some(allowed) = bucket.deny(S3Operation::ListObjectVersions, None).await else {
        return;
    };
    let mut source = bucket
        .source(&allowed.with(&[]), &State::memory(), None)
        .await
        .expect("opens");
    let error = read_all(&mut source).await.expect_err("is denied");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.message().contains("ListObjectVersions"), "{error}");
    let allowed = bucket.deny(S3Operation::ListObjectsV2, None).await;
    let allowed = allowed.expect("as before");
    let (kind, message) = refused(&bucket, &allowed.with(&[])).await;
    assert_eq!(kind, ErrorKind::Denied);
    assert!(message.contains("ListObjectsV2"), "{message}");
    assert!(!message.contains("refused the credentials"), "{message}");
}

async fn a_denied_object_stops_the_source_and_is_named(place: &Place) {
    let bucket = place.versioned().await;
    for key in ["a", "b", "c"] {
        bucket.put(key, "1").await;
    }
    let Some(allowed) = bucket.deny(S3Operation::GetObject, Some("b")).await else {
        return;
    };
    let mut source = bucket
        .source(&allowed.with(&[]), &State::memory(), None)
        .await
        .expect("opens");
    let error = read_all(&mut source).await.expect_err("may not be read");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.message().contains("object `b`"), "{error}");
    // What failed once fails again, rather than pass over the object.
    let again = read_all(&mut source).await.expect_err("has failed");
    assert_eq!(again.kind(), ErrorKind::Denied);
    bucket.allow_all();
    let mut source = bucket
        .source(&[], &State::memory(), None)
        .await
        .expect("opens");
    assert_eq!(read_all(&mut source).await.expect("reads").len(), 3);
}

async fn each_setting_that_is_missing_or_malformed_is_named(place: &Place) {
    let bucket = place.plain().await;
    let malformed = [
        ("aws.bucket", "a/b"),
        ("aws.bucket", "..."),
        ("aws.region", "us east"),
        ("aws.endpoint", "minio:9000"),
        ("aws.endpoint", "ftp://minio"),
        ("aws.endpoint", "http://host/path"),
        ("aws.forcePathStyle", "perhaps"),
        ("pollingPeriod", "0"),
        ("pollingPeriod", "-1s"),
        ("pollingPeriod", "soon"),
        ("lookback", "-1s"),
        ("lookback", "x"),
        ("concurrency", "0"),
        ("concurrency", "513"),
        ("concurrency", "many"),
        ("no.such.setting", "x"),
        ("aws.buckett", "x"),
    ];
    for setting in malformed {
        let Err(error) = bucket
            .configured_source(bucket.settings(&[setting]), &State::none())
            .await
        else {
            panic!("{setting:?} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{setting:?}: {error}");
        assert!(
            error.message().contains(&format!("`{}`", setting.0)),
            "{setting:?}: {error}"
        );
    }
    let mut settings = bucket.settings(&[]);
    settings.remove("aws.bucket");
    let Err(error) = bucket.configured_source(settings, &State::none()).await else {
        panic!("no bucket was needed")
    };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.message().contains("`aws.bucket` is required"),
        "{error}"
    );
    // All at once, so that nobody mends one after the other.
    let both = [("pollingPeriod", "0"), ("concurrency", "0")];
    let Err(error) = bucket
        .configured_source(bucket.settings(&both), &State::none())
        .await
    else {
        panic!("{both:?} were taken")
    };
    assert!(
        both.iter().all(|(name, _)| error.message().contains(name)),
        "{error}"
    );
}

async fn a_wrong_clock_changes_nothing(place: &Place) {
    for ahead_seconds in [16 * 60, -16 * 60, 24 * 3600, -24 * 3600] {
        let conditions = Conditions {
            ahead_seconds,
            ..Conditions::default()
        };
        let bucket = place.bucket(conditions).await;
        bucket.set_versioning(embedded::Versioning::Enabled).await;
        bucket.put("a", "1").await;
        let state = State::memory();
        let mut source = bucket.source(&[], &state, None).await.expect("opens");
        let mut records = read_all(&mut source).await.expect("reads");
        bucket.put("b", "1").await;
        records.extend(read_all(&mut source).await.expect("reads"));
        drop(source);
        bucket.put("a", "2").await;
        let position = records[1].position.clone();
        let mut source = bucket
            .source(&[], &state, Some(&position))
            .await
            .expect("goes on");
        records.extend(read_all(&mut source).await.expect("reads"));
        assert_eq!(
            summary(&records),
            ["snapshot a 1", "create b 1", "update a 2"],
            "{ahead_seconds}"
        );
        let settings = [("format", "json"), ("prefix", "out/")];
        bucket
            .destination(&settings)
            .await
            .expect("a destination opens too");
    }
}

async fn throttling_and_broken_connections_are_outlived(place: &Place) {
    let bucket = place.plain().await;
    let keys: Vec<String> = (0..20).map(|n| format!("k{n:02}")).collect();
    bucket.put_all(&keys, str::to_owned).await;
    let faults = bucket.wire().faults();
    faults.add(Rule::new(Filter::any(), Fault::slow_down(None)).chance(0.15, 1));
    faults.add(Rule::new(Filter::any(), Fault::internal_error()).chance(0.1, 2));
    faults.add(Rule::new(Filter::any(), Fault::Reset(Reset::BeforeAct)).chance(0.1, 3));
    let mut source = bucket
        .source(&[], &State::none(), None)
        .await
        .expect("opens");
    assert_eq!(read_all(&mut source).await.expect("reads").len(), 20);
    assert!(source.progress().await.expect("answers").counter("retries") > 0);
}

async fn every_kind_of_broken_listing_is_asked_for_again(place: &Place) {
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
        let bucket = place.versioned().await;
        bucket.put("a", "1").await;
        // The first request of each kind is answered so.
        for operation in [
            S3Operation::ListMultipartUploads,
            S3Operation::ListObjectsV2,
            S3Operation::ListObjectVersions,
        ] {
            bucket
                .wire()
                .faults()
                .add(Rule::new(operation, fault.clone()).times(1));
        }
        let mut source = bucket
            .source(&[], &State::memory(), None)
            .await
            .expect("opens");
        let records = read_all(&mut source)
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(summary(&records), ["snapshot a 1"], "{fault:?}");
        bucket.put("a", "2").await;
        let records = read_all(&mut source).await.expect("reads");
        assert_eq!(summary(&records), ["update a 2"], "{fault:?}");
    }
}

async fn a_listing_that_fails_for_good_ends_the_source_with_an_error(place: &Place) {
    let (bucket, ..) = place.paged().await;
    // The bucket's check and the first page pass; the second page is refused.
    let refusal = Fault::answer(400, "InvalidArgument", "The continuation token is wrong.");
    bucket
        .wire()
        .faults()
        .add(Rule::new(S3Operation::ListObjectsV2, refusal).skip(2));
    let mut source = bucket
        .source(&[], &State::memory(), None)
        .await
        .expect("opens");
    let error = read_all(&mut source)
        .await
        .expect_err("half a snapshot is none");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.message().contains("InvalidArgument"), "{error}");
    assert!(!source.progress().await.expect("answers").caught_up);
}

async fn a_source_that_failed_goes_on_from_its_last_ack(place: &Place) {
    let bucket = place.plain().await;
    let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    bucket.put_all(&keys, str::to_owned).await;
    let outage = Rule::new(
        Filter::from(S3Operation::GetObject).key("k6"),
        Fault::access_denied(),
    );
    let outage = bucket.wire().faults().add(outage);
    let state = State::memory();
    let mut source = bucket.source(&[], &state, None).await.expect("opens");
    let (mut records, mut position) = (Vec::new(), None);
    let failure = loop {
        match source.read(2, std::time::Duration::from_secs(1)).await {
            Ok(batch) => {
                if let Some(last) = batch.last() {
                    source.ack(&last.position).await.expect("acks");
                    position = Some(last.position.clone());
                }
                records.extend(batch);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(failure.kind(), ErrorKind::Denied);
    drop(source);
    bucket.wire().faults().remove(outage);
    let mut source = bucket
        .source(&[], &state, position.as_deref())
        .await
        .expect("goes on");
    records.extend(read_all(&mut source).await.expect("reads"));
    let expected: Vec<_> = keys
        .iter()
        .map(|key| format!("snapshot {key} {key}"))
        .collect();
    assert_eq!(summary(&records), expected);
}
