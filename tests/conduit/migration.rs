//! A pipeline of Conduit's built-in Go connector goes on with this one, from the position that Conduit has kept.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::engine::Architecture;
use crate::sandbox::{Event, PHOTOS, Sandbox, body, connector, events, exactly, file};

in_both_architectures! {
    a_pipeline_goes_on_from_the_go_connector
}

/// How far before its position a source goes back, unless it is told otherwise.
const LOOKBACK: Duration = Duration::from_secs(300);

/// The same source by either plugin.
fn source(plugin: &str) -> Value {
    let settings = [
        ("aws.bucket", PHOTOS),
        ("aws.region", embedded_s3::REGION_DEFAULT),
        ("aws.accessKeyId", embedded_s3::ACCESS_KEY),
        ("aws.secretAccessKey", embedded_s3::SECRET_KEY),
        ("pollingPeriod", "200ms"),
    ];
    connector("source", "source", plugin, &settings)
}

async fn a_pipeline_goes_on_from_the_go_connector(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source("builtin:s3"), file("before.jsonl")]);
    let old = SystemTime::now() - 2 * LOOKBACK;
    let mut before = Vec::new();
    for n in 0..20 {
        before.push(sandbox.put_at(&format!("{n:04}"), body(n), Some(old)));
    }
    let recent = sandbox.fill("create", 20..30);
    before.extend(recent.clone());
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the snapshot", |_| sandbox.file("before.jsonl").len() >= 30).await;
    conduit.stop().await;
    let keys = |events: &[Event]| -> BTreeSet<_> { events.iter().map(|(_, key, _)| key.clone()).collect() };
    assert_eq!(keys(&events(&sandbox.file("before.jsonl"))), keys(&before));

    let mut expected = sandbox.fill("create", 30..40);
    expected.extend(sandbox.fill("update", 1..2));
    sandbox.server.store().delete(PHOTOS, "0002").unwrap();
    expected.push(("delete".to_owned(), "0002".to_owned(), None));
    sandbox.pipeline(&[source("standalone:s3"), file("after.jsonl")]);
    let mut conduit = sandbox.conduit().await;
    let has = |expected: &[Event]| {
        let after = events(&sandbox.file("after.jsonl"));
        expected.iter().all(|event| after.contains(event))
    };
    conduit.wait_for("what has changed meanwhile", |_| has(&expected)).await;
    expected.extend(sandbox.fill("create", 40..50));
    conduit.wait_for("what was stored later", |_| has(&expected)).await;
    conduit.stop().await;
    // What was stored within `lookback` may come again, and nothing else.
    let after = events(&sandbox.file("after.jsonl"));
    let (again, new): (Vec<_>, Vec<_>) = after.into_iter().partition(|event| recent.contains(event));
    assert!(again.len() <= recent.len(), "more than once again: {}", again.len());
    exactly(&new, &expected);
}
