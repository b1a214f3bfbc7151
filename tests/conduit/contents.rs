//! What arrives is what was put: keys, bodies, operations and structured data, in both directions and both formats.

use serde_json::Value;

use crate::engine::Architecture;
use crate::sandbox::{LAKE, PHOTOS, Sandbox, connector, destination, events, exactly, file, source};

in_both_architectures! {
    a_bucket_arrives_in_a_file
    a_bucket_is_copied
    raw_data_become_json
    structured_data_become_json
    raw_data_become_parquet
    structured_data_become_parquet
}

/// Keys that other tools stumble over, each with bytes of its own.
fn odd() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("odd/ spaces  in it ", b"text".to_vec()),
        ("odd/sp\u{e4}\u{df}e/\u{65e5}\u{672c}\u{8a9e}", (0..=255).collect()),
        ("odd/a+b%20c", b"\xff\xfe\0".to_vec()),
        ("/leading//empty//segments", Vec::new()),
        ("odd/control\u{1}character", b"\n\r\n".to_vec()),
        ("odd/quote\"<&>'\\", b"{\"not\": \"parsed\"}".to_vec()),
        ("odd/under_s12345", vec![0; 3 << 20]),
        ("odd/line\nbreak", "\u{2028}\u{feff}".as_bytes().to_vec()),
    ]
}

/// Stores them, and says what a source should.
fn put_odd(sandbox: &Sandbox) -> Vec<crate::sandbox::Event> {
    let put = |(key, body): (&str, Vec<u8>)| {
        sandbox.put(key, body.clone());
        ("snapshot".to_owned(), key.to_owned(), Some(body.into()))
    };
    odd().into_iter().map(put).collect()
}

async fn a_bucket_arrives_in_a_file(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), file("out.jsonl")]);
    let arrived = || events(&sandbox.file("out.jsonl"));
    let mut expected = put_odd(&sandbox);
    expected.extend(sandbox.fill("snapshot", 0..40));
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the snapshot", |_| arrived().len() >= expected.len()).await;
    exactly(&arrived(), &expected);

    expected.extend(sandbox.fill("create", 40..50));
    expected.extend(sandbox.fill("update", 0..5));
    for key in ["0003", "odd/line\nbreak"] {
        sandbox.server.store().delete(PHOTOS, key).unwrap();
        expected.push(("delete".to_owned(), key.to_owned(), None));
    }
    conduit.wait_for("changes", |_| arrived().len() >= expected.len()).await;
    exactly(&arrived(), &expected);
    conduit.stop().await;

    // What changes while nobody looks comes at the next start, and nothing else comes again.
    expected.extend(sandbox.fill("create", 50..60));
    sandbox.server.store().delete(PHOTOS, "0010").unwrap();
    expected.push(("delete".to_owned(), "0010".to_owned(), None));
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("what has changed meanwhile", |_| arrived().len() >= expected.len()).await;
    conduit.stop().await;
    exactly(&arrived(), &expected);
}

async fn a_bucket_is_copied(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), destination(&[])]);
    let mut expected = put_odd(&sandbox);
    expected.extend(sandbox.fill("snapshot", 0..100));
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the snapshot", |_| sandbox.stored().len() >= expected.len()).await;
    expected.extend(sandbox.fill("create", 100..120));
    sandbox.server.store().delete(PHOTOS, "0010").unwrap();
    expected.push(("delete".to_owned(), "0010".to_owned(), None));
    conduit.wait_for("changes", |_| sandbox.stored().len() >= expected.len()).await;
    conduit.stop().await;
    exactly(&events(&sandbox.stored()), &expected);
    let versions = sandbox.server.store().versions(LAKE).unwrap().len();
    assert_eq!(versions, sandbox.objects().len(), "no object was written twice");
}

/// Records that the generator makes.
const GENERATED: usize = 200;

/// Has Conduit's generator fill a bucket and, beside it, a file by Conduit's own connector, and compares them.
async fn generate(architecture: Architecture, kind: &str, format: &str) -> Vec<Value> {
    let sandbox = Sandbox::new(architecture).await;
    let count = GENERATED.to_string();
    let settings = [
        ("format.type", kind),
        ("format.options.id", "int"),
        ("format.options.name", "string"),
        ("format.options.is", "bool"),
        ("format.options.at", "time"),
        ("recordCount", &count),
        ("rate", "2000"),
        ("operations", "create,update,delete,snapshot"),
    ];
    let generator = connector("source", "source", "builtin:generator", &settings);
    sandbox.pipeline(&[generator, destination(&[("format", format)]), file("out.jsonl")]);
    let mut conduit = sandbox.conduit().await;
    let is_all = |_: &_| sandbox.stored().len() >= GENERATED && sandbox.file("out.jsonl").len() >= GENERATED;
    conduit.wait_for("all records", is_all).await;
    conduit.stop().await;
    let by_position = |mut records: Vec<Value>| {
        records.sort_by_key(|record| record["position"].to_string());
        records
    };
    let (stored, filed) = (by_position(sandbox.stored()), by_position(sandbox.file("out.jsonl")));
    for (stored, filed) in stored.iter().zip(&filed) {
        assert_eq!(stored, filed);
    }
    assert_eq!((stored.len(), filed.len()), (GENERATED, GENERATED));
    for operation in ["create", "update", "delete", "snapshot"] {
        assert!(stored.iter().any(|record| record["operation"] == operation), "{operation}");
    }
    stored
}

/// Whether all payloads are of one kind of JSON.
fn payloads_are(records: &[Value], is_kind: fn(&Value) -> bool) -> bool {
    let payloads = records.iter().flat_map(|record| [&record["payload"]["before"], &record["payload"]["after"]]);
    payloads.filter(|payload| !payload.is_null()).all(is_kind)
}

async fn raw_data_become_json(architecture: Architecture) {
    assert!(payloads_are(&generate(architecture, "raw", "json").await, Value::is_string));
}

async fn structured_data_become_json(architecture: Architecture) {
    assert!(payloads_are(&generate(architecture, "structured", "json").await, Value::is_object));
}

async fn raw_data_become_parquet(architecture: Architecture) {
    assert!(payloads_are(&generate(architecture, "raw", "parquet").await, Value::is_string));
}

async fn structured_data_become_parquet(architecture: Architecture) {
    assert!(payloads_are(&generate(architecture, "structured", "parquet").await, Value::is_object));
}
