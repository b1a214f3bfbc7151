//! Cases of what goes wrong for a source: settings, clocks, throttling and broken connections. What can be
//! outlived is; what can't is said, with what to change. Keys and permissions are in `access`, broken listings in
//! `listings`.

use std::time::Duration;

use embedded_s3::{Fault, Filter, Reset, Rule, S3Operation};
use s3_connector::config::{self, Parameter};
use s3_connector_host::ErrorKind;
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Bucket, Conditions, Env, SavedState, WorldKind, read_all, summary};

in_every_world! {
    a_missing_bucket_is_named,
    each_setting_that_is_missing_or_malformed_is_named,
    a_wrong_clock_changes_nothing except(Real, "the store's clock is its own"),
    throttling_and_broken_connections_are_outlived,
    an_outage_that_all_fetches_meet_is_outlived,
    a_store_that_never_answers_is_given_up_when_it_is_opened,
    a_source_that_failed_goes_on_from_its_last_ack,
    a_bucket_that_is_elsewhere_is_named_with_its_place,
    a_request_that_is_sent_on_within_the_store_arrives except(Native, "the host follows"),
}

/// Why a source does not open.
async fn refused(bucket: &Bucket, settings: &[(&str, &str)]) -> (ErrorKind, String) {
    let Err(error) = bucket.source(settings, &SavedState::none(), None).await else { panic!("{settings:?} opened") };
    (error.kind(), error.message().to_owned())
}

async fn a_missing_bucket_is_named(env: &Env) {
    let bucket = env.plain().await;
    let settings = bucket.settings(&[]);
    let (kind, message) = refused(&bucket, &[("aws.bucket", "missing-5e3f1a9b7c")]).await;
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
    assert!(message.contains("bucket \"missing-5e3f1a9b7c\" does not exist"), "{message}");
    for name in ["aws.region", "aws.endpoint"] {
        assert!(message.contains(&settings[name]), "{message}");
    }
}

/// Malformed values of the settings that both sides have.
pub(crate) const SHARED: [(&str, &str); 19] = [
    ("aws.bucket", "a/b"),
    ("aws.bucket", "..."),
    ("aws.bucket", "a b"),
    ("aws.region", "us east"),
    ("aws.region", "../region"),
    ("aws.endpoint", "minio:9000"),
    ("aws.endpoint", "ftp://minio"),
    ("aws.bucket", "arn:aws:s3::123456789012:accesspoint/m.mrap"),
    ("aws.bucket", "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/reader"),
    ("aws.bucket", "arn:aws:s3:eu-moon-1:123456789012:accesspoint/reader"),
    ("aws.endpoint", "http://host/path/../path"),
    ("aws.endpoint", "http://host/path?query"),
    ("aws.forcePathStyle", "perhaps"),
    ("aws.roleArn", "reader"),
    ("aws.roleSessionName", "a b"),
    ("aws.anonymous", "nobody"),
    ("requesterPays", "me"),
    ("no.such.setting", "x"),
    ("aws.buckett", "x"),
];

/// Malformed values of the settings that only a source has, and one that it doesn't have.
const OWN: [(&str, &str); 35] = [
    ("pollingPeriod", "0"),
    ("pollingPeriod", "-1s"),
    ("pollingPeriod", "soon"),
    ("pollingPeriod", "1"),
    ("pollingPeriod", "1d"),
    ("pollingPeriod", "9999999h"),
    ("lookback", "0"),
    ("lookback", "-1s"),
    ("lookback", "x"),
    ("start", "yesterday"),
    ("start", "2026-02-30T00:00:00Z"),
    ("keys.include", "a, {b"),
    ("keys.exclude", "a**"),
    ("before", "perhaps"),
    ("concurrency", "0"),
    ("concurrency", "513"),
    ("concurrency", "many"),
    ("concurrency", "1.5"),
    ("unreadable", "perhaps"),
    ("objectBytes", "0"),
    ("objectBytes", "large"),
    ("decode", "orc"),
    ("decompress", "gz"),
    ("onBadRow", "ignore"),
    ("encoding", "klingon"),
    ("csv.delimiter", "ab"),
    ("csv.quote", "é"),
    ("csv.header", "yes"),
    ("csv.names", "id,,name"),
    ("csv.comment", "//"),
    ("csv.empty", "nothing"),
    ("json.rows", "list"),
    ("chunkBytes", "17MiB"),
    ("payload", "body"),
    ("format", "json"),
];

/// Fails unless each setting that can be malformed is among these.
pub(crate) fn cover(parameters: impl Iterator<Item = Parameter>, malformed: &[(&str, &str)]) {
    // Any text does for these.
    let is_free = |p: &Parameter| p.secret || ["aws.profile", "prefix", "csv.null", "json.path"].contains(&p.name);
    for parameter in parameters.filter(|p| !is_free(p)) {
        let is_covered = malformed.iter().any(|(name, _)| *name == parameter.name);
        assert!(is_covered, "nothing malformed for {}", parameter.name);
    }
}

async fn each_setting_that_is_missing_or_malformed_is_named(env: &Env) {
    let bucket = env.plain().await;
    let malformed = [&SHARED[..], &OWN].concat();
    cover(config::source_parameters(), &malformed);
    for setting in malformed {
        let Err(error) = bucket.configured_source(bucket.settings(&[setting]), &SavedState::none()).await else {
            panic!("{setting:?} was taken")
        };
        assert_eq!(error.kind(), ErrorKind::Invalid, "{setting:?}: {error}");
        assert!(error.message().contains(&format!("`{}`", setting.0)), "{setting:?}: {error}");
    }
    for name in ["aws.bucket", "aws.region"] {
        let mut absent = bucket.settings(&[]);
        absent.remove(name);
        for settings in [absent, bucket.settings(&[(name, "")])] {
            let Err(error) = bucket.configured_source(settings, &SavedState::none()).await else {
                panic!("{name} was not needed")
            };
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let expected = format!("`{name}` is required");
            assert!(error.message().contains(&expected), "{error}");
        }
    }
    let misspelt = bucket.settings(&[("pollingPeriode", "1s")]);
    let Err(error) = bucket.configured_source(misspelt, &SavedState::none()).await else {
        panic!("a misspelt setting was taken")
    };
    assert!(error.message().contains("`pollingPeriod`"), "{error}");
    // All at once, so that nobody mends one after the other.
    let both = [("pollingPeriod", "0"), ("concurrency", "0")];
    let Err(error) = bucket.configured_source(bucket.settings(&both), &SavedState::none()).await else {
        panic!("{both:?} were taken")
    };
    assert!(both.iter().all(|(name, _)| error.message().contains(name)), "{error}");
}

async fn a_wrong_clock_changes_nothing(env: &Env) {
    // Up to a quarter of an hour stores take as it is; the host corrects what is more.
    for ahead_seconds in [14 * 60, -14 * 60, 16 * 60, -16 * 60, 24 * 3600, -24 * 3600] {
        let bucket = env.bucket(Conditions::versioned().ahead(ahead_seconds)).await;
        bucket.put("a", "1").await;
        let state = SavedState::memory();
        let mut source = bucket.start(&state).await;
        let mut records = read_all(&mut source).await.expect("reads");
        bucket.put("b", "1").await;
        records.extend(read_all(&mut source).await.expect("reads"));
        drop(source);
        bucket.put("a", "2").await;
        let position = records[1].position.clone();
        let mut source = bucket.resume(&state, &position).await;
        records.extend(read_all(&mut source).await.expect("reads"));
        assert_eq!(summary(&records), ["snapshot a 1", "create b 1", "update a 2"], "{ahead_seconds}");
        let settings = [("format", "json"), ("prefix", "out/")];
        bucket.destination(&settings).await.expect("a destination opens too");
    }
}

async fn throttling_and_broken_connections_are_outlived(env: &Env) {
    let bucket = env.plain().await;
    let keys: Vec<String> = (0..20).map(|n| format!("k{n:02}")).collect();
    bucket.put_all(&keys, str::to_owned).await;
    let faults = bucket.wire().faults();
    faults.add(Rule::new(Filter::any(), Fault::slow_down(None)).with_probability(0.15, 1));
    faults.add(Rule::new(Filter::any(), Fault::internal_error()).with_probability(0.1, 2));
    faults.add(Rule::new(Filter::any(), Fault::Reset(Reset::BeforeAct)).with_probability(0.1, 3));
    let mut source = bucket.start(&SavedState::none()).await;
    assert_eq!(read_all(&mut source).await.expect("reads").len(), 20);
    assert!(source.progress().await.expect("answers").counter("retries") > 0);
}

async fn an_outage_that_all_fetches_meet_is_outlived(env: &Env) {
    let bucket = env.plain().await;
    let keys: Vec<String> = (0..600).map(|n| format!("k{n:03}")).collect();
    bucket.put_all(&keys, str::to_owned).await;
    for (concurrency, fault) in [("64", Fault::Reset(Reset::BeforeAct)), ("512", Fault::slow_down(Some(1)))] {
        let faults = bucket.wire().faults();
        // The check of the bucket and the page pass.
        let outage = faults.add(Rule::new(Filter::any(), fault).skip(2));
        let first: u64 = concurrency.parse().expect("a number");
        let begun = tokio::time::Instant::now();
        let end = async {
            // It lasts from when many fetches have met it. Not all: on a busy machine they take a while to begin, and once the
            // first of many are refused, fewer run at the same time.
            while faults.fired(outage) < first.min(128) / 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
            let met = faults.fired(outage);
            faults.remove(outage);
            met
        };
        let read = async {
            let settings = [("concurrency", concurrency)];
            let mut source = bucket.source(&settings, &SavedState::none(), None).await?;
            let records = read_all(&mut source).await?;
            Ok::<_, s3_connector_host::Error>((records, source.progress().await?))
        };
        let (read, met) = tokio::join!(read, end);
        let (records, progress) = read.expect("goes on");
        assert_eq!(records.len(), 600, "at {concurrency} at once");
        assert!(progress.counter("retries") > 0);
        // Each once, then what the tokens pay, then one per second.
        let most = first + 120 + begun.elapsed().as_secs();
        assert!(met < most, "{met} requests met the outage at {concurrency} at once, and {most} are too many");
    }
}

async fn a_store_that_never_answers_is_given_up_when_it_is_opened(env: &Env) {
    let bucket = env.plain().await;
    let never = Fault::Latency(Duration::from_secs(24 * 3600));
    bucket.wire().faults().add(Rule::new(Filter::any(), never));
    let (kind, state) = (env.kind(), SavedState::none());
    let started = tokio::time::Instant::now();
    let settings = [("format", "json")];
    let (source, destination) = tokio::join!(bucket.source(&[], &state, None), bucket.destination(&settings),);
    let took = started.elapsed();
    // The machine may be slow.
    assert!((60..90).contains(&took.as_secs()), "{took:?} in world {kind:?}");
    let endpoint = &bucket.settings(&[])["aws.endpoint"];
    for (error, operation) in [(source.err(), "ListObjectsV2"), (destination.err(), "HeadBucket")] {
        let error = error.expect("nothing answered");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let expected = format!("no answer from {endpoint} to {operation}: none came within 60 s");
        assert!(error.message().starts_with(&expected), "{error}");
    }
}

async fn a_source_that_failed_goes_on_from_its_last_ack(env: &Env) {
    let bucket = env.plain().await;
    let keys: Vec<String> = (0..10).map(|n| format!("k{n}")).collect();
    bucket.put_all(&keys, str::to_owned).await;
    let outage = Rule::new(Filter::from(S3Operation::GetObject).key("k6"), Fault::access_denied());
    let outage = bucket.wire().faults().add(outage);
    let state = SavedState::memory();
    let mut source = bucket.start(&state).await;
    let (mut records, mut position) = (Vec::new(), None);
    let failure = loop {
        match source.read(2, Duration::from_secs(1)).await {
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
    let mut source = bucket.source(&[], &state, position.as_deref()).await.expect("goes on");
    records.extend(read_all(&mut source).await.expect("reads"));
    let expected: Vec<_> = keys.iter().map(|key| format!("snapshot {key} {key}")).collect();
    assert_eq!(summary(&records), expected);
}

async fn a_bucket_that_is_elsewhere_is_named_with_its_place(env: &Env) {
    let moved = |endpoint: &str| {
        let document = format!(
            "<Error><Code>PermanentRedirect</Code><Message>It is elsewhere.</Message>\
             <Endpoint>{endpoint}</Endpoint></Error>"
        );
        Fault::foreign(301, &[("content-type", "application/xml")], document)
    };
    let by_name = match env.kind() {
        WorldKind::Real => "is in region `eu-west-3`: set `aws.region` to it",
        // The server's header names its own region, which counts for more than the name.
        _ => "`photos.s3-eu-west-3.amazonaws.com`, which is not followed",
    };
    for (fault, expected) in [
        (moved("photos.s3-eu-west-3.amazonaws.com"), by_name),
        (moved("photos.store.example"), "`photos.store.example`"),
        (
            Fault::foreign(307, &[("location", "http://portal.example/sign-in")], ""),
            "`http://portal.example`, which is not followed",
        ),
    ] {
        let bucket = env.plain().await;
        let rule = Rule::new(S3Operation::ListObjectsV2, fault);
        bucket.wire().faults().add(rule);
        let (_, message) = refused(&bucket, &[]).await;
        assert!(message.contains(expected), "{message}");
        let asked = bucket.wire().requests();
        assert_eq!(asked.len(), 1, "{message}");
    }
}

async fn a_request_that_is_sent_on_within_the_store_arrives(env: &Env) {
    let bucket = env.plain().await;
    bucket.put("a", "1").await;
    let settings = bucket.settings(&[]);
    let there = format!("{}/{}/a", settings["aws.endpoint"].trim_end_matches('/'), settings["aws.bucket"]);
    // A test's header lives as long as the process.
    let sent_on = Fault::foreign(307, &[("location", there.leak())], "");
    let rule = Rule::new(S3Operation::GetObject, sent_on).times(2);
    let rule = bucket.wire().faults().add(rule);
    let mut source = bucket.start(&SavedState::none()).await;
    let records = read_all(&mut source).await.expect("reads");
    assert_eq!(summary(&records), ["snapshot a 1"]);
    assert_eq!(bucket.wire().faults().fired(rule), 2);
}
