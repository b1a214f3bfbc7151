//! Owns the test that the policy allows what the shipped component and a check send, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use embedded_s3::{Fault, LoggedRequest, Rule, Versioning};
use s3_connector::config::{BucketConfig, Writes};
use s3_connector::record::{Change, Metadata, Operation};
use s3_connector_host::egress::S3Operation;
use s3_connector_host::{Role, iam};
use s3_connector_tests::samples::{raw, samples};
use s3_connector_tests::world::{Conditions, Env, Record, SavedState, flush, read_all, read_some};

/// Headers of every request that the host sets itself: signature, checksum, length.
const HOSTS_HEADERS: [&str; 6] =
    ["authorization", "content-length", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/// Parameters and headers of each operation.
type Uses = BTreeMap<S3Operation, (BTreeSet<String>, BTreeSet<String>)>;

fn note(uses: &mut Uses, writes: Writes, request: &LoggedRequest) {
    let name = request.operation.to_string();
    let mut all = S3Operation::ALL.into_iter();
    let operation = all.find(|operation| operation.name() == name);
    let operation = operation.unwrap_or_else(|| panic!("{request:?} is none of the policy's"));
    let (parameters, headers) = uses.entry(operation).or_default();
    let pairs = request.query.split('&').filter(|pair| !pair.is_empty());
    parameters.extend(pairs.map(|pair| pair.split('=').next().unwrap_or_default().to_owned()));
    let is_ours = |name: &str| HOSTS_HEADERS.contains(&name) || name.starts_with("x-amz-checksum-");
    let names = request.headers.keys().map(|name| name.as_str());
    headers.extend(names.filter(|name| !is_ours(name)).map(|name| {
        // A family of names stands in the policy by what they begin with.
        let family = if writes == Writes::Batches { "x-amz-meta-opencdc-" } else { "x-amz-meta-" };
        if name.starts_with(family) { family } else { name }.to_owned()
    }));
}

/// All that a role may send.
fn permitted(role: Role, writes: Writes) -> Uses {
    let operations = S3Operation::ALL.into_iter();
    let owned = |names: &mut dyn Iterator<Item = &'static str>| names.map(str::to_owned).collect();
    operations
        .filter(|operation| operation.is_permitted(role, writes))
        .map(|operation| {
            let parameters = owned(&mut operation.parameter_names());
            let headers = owned(&mut operation.headers(writes).iter().copied());
            (operation, (parameters, headers))
        })
        .collect()
}

/// What a source sends in its life: a snapshot over pages that is resumed half way, changes over pages of versions of
/// one key, a delete, and its check; with versions, without, and on a store that does not list them.
async fn uses_of_source() -> Uses {
    let mut uses = Uses::new();
    // Of the last, the first listing is not over when the source stops.
    for (versioning, versions_api, page_size_max, count) in
        [(Versioning::Off, true, 2, 7), (Versioning::Enabled, true, 2, 7), (Versioning::Off, false, 100, 3000)]
    {
        let conditions = Conditions::default().versioning(versioning).on(|store| {
            (store.page_size_max, store.versions_api) = (page_size_max, versions_api);
        });
        let bucket = Env::component().bucket(conditions).await;
        for n in 0..count {
            bucket.put(&format!("a{n}"), "1").await;
        }
        let state = SavedState::memory();
        let mut source = bucket.start(&state).await;
        let read = read_some(&mut source, 4).await.expect("reads");
        source.ack(&read[3].position).await.expect("acks");
        drop(source);
        let mut source = bucket.resume(&state, &read[3].position).await;
        read_all(&mut source).await.expect("reads");
        for n in 0..5 {
            bucket.put("a0", format!("changed {n}")).await;
        }
        bucket.delete("a1").await;
        read_all(&mut source).await.expect("reads");
        let mut chunks = bucket.start_with(&[("chunkBytes", "4")], &SavedState::none()).await;
        read_all(&mut chunks).await.expect("reads");
        let report = bucket.check(Role::Source, &[]).await;
        assert!(report.can_run(), "{report:?}");
        for request in bucket.wire().requests() {
            note(&mut uses, Writes::Batches, &request);
        }
    }
    uses
}

/// What a destination sends in its life: a batch, one in parts, the same ones again, one that lost its metadata, a bucket
/// that it may not look at, and its check.
async fn uses_of_destination() -> Uses {
    let bucket = Env::component().plain().await;
    for round in 0..3 {
        if round == 2 {
            let (key, body) = bucket.objects().await.remove(0);
            bucket.put(&key, body).await;
        }
        if round == 1 {
            let denied = Rule::new(embedded_s3::S3Operation::HeadBucket, Fault::access_denied());
            bucket.wire().faults().add(denied.times(1));
        }
        let mut destination = bucket.destination(&[("format", "json")]).await.expect("opens");
        let mut records = samples();
        // Of text that no encoding makes shorter than a part.
        records[0].payload.after = raw(vec![0xa5; 20 << 20]);
        let acks = destination.write(&records).await.expect("takes them");
        let missing = records.len() - acks.len();
        flush(&mut destination, missing).await.expect("stores");
    }
    let report = bucket.check(Role::Destination, &[("format", "json")]).await;
    assert!(report.can_run(), "{report:?}");
    let mut uses = Uses::new();
    for request in bucket.wire().requests() {
        note(&mut uses, Writes::Batches, &request);
    }
    uses
}

/// What a destination of objects sends in its life: each header that an object can have, a delete, and its check.
async fn uses_of_copies() -> Uses {
    let bucket = Env::component().plain().await;
    let settings = [("format", "raw"), ("deletes", "propagate")];
    let mut destination = bucket.destination(&settings).await.expect("opens");
    let names = ["cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType"];
    let mut metadata: Metadata = names.map(|name| (format!("s3.header.{name}"), "x".to_owned())).into();
    metadata.insert("s3.header.expires".to_owned(), "Thu, 31 Dec 2026 23:59:59 GMT".to_owned());
    metadata.insert("author".to_owned(), "zoë".to_owned());
    let record = |number: usize, operation, after| Record {
        position: number.to_string().into(),
        operation,
        metadata: metadata.clone(),
        key: raw("k"),
        payload: Change { before: None, after },
    };
    // The second one goes as a stream.
    let large = || raw(vec![1; 17 << 20]);
    let records = [
        record(0, Operation::Create, raw("x")),
        record(1, Operation::Update, raw(vec![1; 2 << 20])),
        record(2, Operation::Delete, None),
        record(3, Operation::Create, large()),
    ];
    let acks = destination.write(&records).await.expect("takes them");
    let missing = records.len() - acks.len();
    flush(&mut destination, missing).await.expect("stores");
    let denied = Rule::new(embedded_s3::S3Operation::UploadPart, Fault::access_denied());
    let denied = bucket.wire().faults().add(denied);
    let _ = destination.write(&[record(4, Operation::Update, large())]).await;
    flush(&mut destination, 1).await.expect_err("what was begun is aborted");
    bucket.wire().faults().remove(denied);
    let report = bucket.check(Role::Destination, &settings).await;
    assert!(report.can_run(), "{report:?}");
    let writes = Writes::Objects { deletes: true };
    let mut uses = Uses::new();
    for request in bucket.wire().requests() {
        note(&mut uses, writes, &request);
    }
    uses
}

/// What IAM asks for each operation, as far as it was used
/// ([its own table](https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html)).
fn actions(operation: S3Operation, parameters: &BTreeSet<String>) -> &'static [&'static str] {
    match operation {
        S3Operation::HeadBucket | S3Operation::ListObjectsV2 => &["s3:ListBucket"],
        S3Operation::ListObjectVersions => &["s3:ListBucketVersions"],
        S3Operation::GetBucketVersioning => &["s3:GetBucketVersioning"],
        S3Operation::GetObject if parameters.contains("versionId") => &["s3:GetObject", "s3:GetObjectVersion"],
        S3Operation::GetObject | S3Operation::HeadObject => &["s3:GetObject"],
        S3Operation::PutObject
        | S3Operation::CreateMultipartUpload
        | S3Operation::UploadPart
        | S3Operation::CompleteMultipartUpload => &["s3:PutObject"],
        S3Operation::AbortMultipartUpload => &["s3:AbortMultipartUpload"],
        // What a check stores in a bucket that keeps versions is removed by its version.
        S3Operation::DeleteObject => &["s3:DeleteObject", "s3:DeleteObjectVersion"],
    }
}

/// Compares what IAM is told to allow with what was sent.
fn compare_with_iam(role: Role, writes: Writes, sent: &Uses) {
    let settings = [("aws.bucket", "photos"), ("aws.region", "us-east-1"), ("prefix", "in/")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let bucket = BucketConfig::parse(&settings).expect("good settings");
    let allowed = |for_check| {
        let policy: serde_json::Value =
            serde_json::from_str(&iam::policy(role, &bucket, writes, for_check)).expect("JSON");
        let statements = policy["Statement"].as_array().expect("statements");
        let actions = statements.iter().flat_map(|statement| statement["Action"].as_array().expect("actions"));
        actions.map(|action| action.as_str().expect("text").to_owned()).collect::<BTreeSet<_>>()
    };
    let sent = sent.iter().flat_map(|(operation, (parameters, _))| actions(*operation, parameters));
    let mut sent: BTreeSet<String> = sent.map(|action| (*action).to_owned()).collect();
    assert_eq!(allowed(true), sent, "{role:?} with its check");
    for of_checks in ["s3:GetBucketVersioning", "s3:DeleteObject", "s3:DeleteObjectVersion"] {
        if !(of_checks == "s3:DeleteObject" && writes == (Writes::Objects { deletes: true })) {
            sent.remove(of_checks);
        }
    }
    assert_eq!(allowed(false), sent, "{role:?}");
}

#[tokio::test]
async fn what_is_permitted_is_what_is_sent() {
    let copies = Writes::Objects { deletes: true };
    let sides = [
        (Role::Source, Writes::Batches, uses_of_source().await),
        (Role::Destination, Writes::Batches, uses_of_destination().await),
        (Role::Destination, copies, uses_of_copies().await),
    ];
    let (mut sent, mut may_send) = (Uses::new(), Uses::new());
    for (role, writes, uses) in sides {
        compare_with_iam(role, writes, &uses);
        let permitted = permitted(role, writes);
        // Otherwise the host removes what a check has stored, which no component may.
        let is_ours = |operation: &&S3Operation| writes == copies || **operation != S3Operation::DeleteObject;
        let operations: Vec<_> = uses.keys().filter(is_ours).collect();
        assert_eq!(operations, permitted.keys().collect::<Vec<_>>(), "{role:?} {writes:?}");
        for (all, some) in [(&mut sent, uses), (&mut may_send, permitted)] {
            for (operation, (parameters, headers)) in some {
                let of_all = all.entry(operation).or_default();
                of_all.0.extend(parameters);
                of_all.1.extend(headers);
            }
        }
    }
    // By version it is the host's alone.
    sent.remove(&S3Operation::DeleteObject);
    may_send.remove(&S3Operation::DeleteObject);
    assert_eq!(sent, may_send, "an unused permit, or a new use");
}
