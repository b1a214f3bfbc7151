//! Cases of how a store is asked to keep what is written: each header arrives where its setting is, and nowhere else.

use bytes::Bytes;
use embedded_s3::S3Operation;
use s3_connector::record::{Change, Metadata, Operation};
use s3_connector_host::ErrorKind;
use s3_connector_host::Role;
use s3_connector_tests::in_every_world;
use s3_connector_tests::samples::raw;
use s3_connector_tests::world::{Bucket, Conditions, Env, Record, WorldKind, acked, flush};

in_every_world! {
    each_header_arrives_with_whatever_begins_an_object except(Real, STORE),
    nothing_is_sent_that_was_not_asked_for,
    a_store_that_refuses_a_header_has_its_setting_named except(Real, STORE),
    a_key_of_kms_changes_nothing_for_a_replay except(Real, STORE),
    a_check_stores_its_object_as_the_pipeline_would
        except(Native, "the host checks")
        except(Real, STORE),
}

const STORE: &str = "what a store takes depends on its keys and its owner";

const SETTINGS: [(&str, &str); 5] = [
    ("storageClass", "GLACIER_IR"),
    ("sse", "aws:kms"),
    ("sse.kmsKeyId", "alias/lake"),
    ("tags", "team=data, a+b=c d/é"),
    ("acl", "bucket-owner-full-control"),
];

const HEADERS: [(&str, &str); 5] = [
    ("x-amz-storage-class", "GLACIER_IR"),
    ("x-amz-server-side-encryption", "aws:kms"),
    ("x-amz-server-side-encryption-aws-kms-key-id", "alias/lake"),
    ("x-amz-tagging", "team=data&a%2Bb=c%20d%2F%C3%A9"),
    ("x-amz-acl", "bucket-owner-full-control"),
];

fn record(key: &str, after: Bytes) -> Record {
    Record {
        position: Bytes::from(format!("p-{key}")),
        operation: Operation::Create,
        // What a source says of the class of its object is none of the copy's.
        metadata: Metadata::from([("s3.header.storageClass".to_owned(), "DEEP_ARCHIVE".to_owned())]),
        key: raw(key.to_owned()),
        payload: Change { before: None, after: raw(after) },
    }
}

/// A small object, and one in parts.
fn records() -> [Record; 2] {
    [record("small", Bytes::from_static(b"x")), record("large", vec![0xa5; 17 << 20].into())]
}

/// Stores each record as an object.
async fn store(bucket: &Bucket, format: &str, more: &[(&str, &str)]) {
    let settings = [&[("format", format), ("bufferSize", "1")], more].concat();
    let mut destination = bucket.destination(&settings).await.expect("opens");
    let mut acks = destination.write(&records()).await.expect("takes them");
    let missing = records().len() - acks.len();
    acks.extend(flush(&mut destination, missing).await.expect("stores"));
    assert_eq!(acked(&acks).len(), 2);
}

fn begins(operation: S3Operation) -> bool {
    matches!(operation, S3Operation::PutObject | S3Operation::CreateMultipartUpload)
}

async fn each_header_arrives_with_whatever_begins_an_object(env: &Env) {
    for format in ["json", "parquet", "raw"] {
        let bucket = env.plain().await;
        store(&bucket, format, &SETTINGS).await;
        for request in bucket.wire().requests() {
            for (name, value) in HEADERS {
                let expected = begins(request.operation).then_some(value);
                assert_eq!(request.header(name), expected, "{format}: {name} in {request:?}");
            }
        }
        assert_eq!(bucket.versions().await.len(), 2, "{format}");
        // A payload that is in memory goes in one request, which the native core alone has.
        let in_parts = bucket.wire().requests_count(S3Operation::CreateMultipartUpload);
        assert!(format != "raw" || in_parts == u64::from(env.kind() != WorldKind::Native));
    }
}

async fn nothing_is_sent_that_was_not_asked_for(env: &Env) {
    for format in ["json", "raw"] {
        let bucket = env.plain().await;
        store(&bucket, format, &[]).await;
        for request in bucket.wire().requests() {
            let strange = HEADERS.iter().find(|(name, _)| request.header(name).is_some());
            assert_eq!(strange, None, "{request:?}");
        }
    }
}

async fn a_store_that_refuses_a_header_has_its_setting_named(env: &Env) {
    for (setting, code) in [
        (("acl", "public-read"), "AccessControlListNotSupported"),
        (("storageClass", "COLDEST"), "InvalidStorageClass"),
    ] {
        for (format, record) in [("json", 0), ("json", 1), ("raw", 0), ("raw", 1)] {
            let bucket = env.plain().await;
            let settings = [("format", format), ("bufferSize", "1"), setting];
            let mut destination = bucket.destination(&settings).await.expect("opens");
            let record = records()[record].clone();
            let outcome = match destination.write(&[record]).await {
                Ok(_) => flush(&mut destination, 1).await,
                Err(error) => Err(error),
            };
            let error = outcome.expect_err("is refused");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.message().contains(code), "{error}");
            assert!(error.message().contains(&format!("`{}`", setting.0)), "{error}");
        }
    }
    // Where the bucket takes ACLs, so do we.
    let bucket = env.bucket(Conditions::default().on(|store| store.acls = true)).await;
    store(&bucket, "json", &[("acl", "public-read")]).await;
}

async fn a_key_of_kms_changes_nothing_for_a_replay(env: &Env) {
    // With such a key an ETag is no hash of the bytes.
    let bucket = env.versioned().await;
    let settings = [("sse", "aws:kms:dsse")];
    for _ in 0..2 {
        store(&bucket, "json", &settings).await;
    }
    assert_eq!(bucket.versions().await.len(), 2, "each object once");
}

async fn a_check_stores_its_object_as_the_pipeline_would(env: &Env) {
    let bucket = env.plain().await;
    let settings = [&[("format", "json")], &SETTINGS[..]].concat();
    let report = bucket.check(Role::Destination, &settings).await;
    assert!(report.can_run(), "{report:?}");
    let puts = bucket.wire().requests().into_iter().filter(|request| request.operation == S3Operation::PutObject);
    let puts: Vec<_> = puts.collect();
    assert!(!puts.is_empty());
    for (put, (name, value)) in puts.iter().flat_map(|put| HEADERS.map(|header| (put, header))) {
        assert_eq!(put.header(name), Some(value));
    }
    let shown = format!("{report:?}");
    for part in
        ["s3:PutObject, s3:PutObjectTagging, s3:PutObjectAcl", "with storageClass, sse, sse.kmsKeyId, tags, acl"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let report = bucket.check(Role::Destination, &[("format", "json"), ("acl", "public-read")]).await;
    assert!(!report.can_run());
    assert!(format!("{report:?}").contains("takes no ACLs: leave out `acl`"), "{report:?}");
}
