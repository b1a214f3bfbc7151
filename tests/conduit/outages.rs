//! A store that goes away for a while is waited for inside the plugin: the pipeline goes on, nothing is lost, nothing comes twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::engine::{Architecture, Conduit};
use crate::sandbox::{Event, Sandbox, bytes, connector, destination, events, exactly, file, source};

in_both_architectures! {
    a_source_waits_for_its_store
    a_destination_waits_for_its_store
    a_pipeline_may_begin_before_its_store
    a_source_ends_without_its_store
    a_destination_ends_without_its_store
}

/// Waits until the plugin has said that its store is away.
async fn wait_for_trouble(conduit: &mut Conduit) {
    let is_said = |conduit: &Conduit| {
        let lines = conduit.lines();
        lines
            .iter()
            .any(|line| line["level"] == "warn" && line["plugin_name"] == "s3-connector" && is_about_an_outage(line))
    };
    conduit.wait_for("a warning of the plugin about its store", is_said).await;
}

fn is_about_an_outage(line: &serde_json::Value) -> bool {
    line["message"].as_str().is_some_and(|text| !text.contains("schema"))
}

/// Fails if Conduit had to start something again.
fn was_started_once(conduit: &Conduit, connector: &str) {
    let lines = conduit.lines();
    let is_start = |line: &&serde_json::Value| {
        line["connector_id"] == connector
            && line["message"].as_str().is_some_and(|text| text.ends_with("connector plugin successfully started"))
    };
    assert_eq!(lines.iter().filter(is_start).count(), 1, "{connector} was started again{}", conduit.tail());
}

/// A pipeline into a file whose source's store went away after a snapshot, and events that were or will be told: of objects stored
/// before, and of ten that are stored and can't be read.
async fn source_in_an_outage(architecture: Architecture) -> (Sandbox, Conduit, Vec<Event>) {
    let mut sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), file("out.jsonl")]);
    let mut expected = sandbox.fill("snapshot", 0..20);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the snapshot", |_| sandbox.file("out.jsonl").len() >= 20).await;
    sandbox.server.unplug();
    expected.extend(sandbox.fill("create", 20..30));
    wait_for_trouble(&mut conduit).await;
    (sandbox, conduit, expected)
}

async fn a_source_waits_for_its_store(architecture: Architecture) {
    let (mut sandbox, mut conduit, mut expected) = source_in_an_outage(architecture).await;
    expected.extend(sandbox.fill("create", 30..40));
    sandbox.server.plug().await.unwrap();
    conduit.wait_for("what was stored meanwhile", |_| sandbox.file("out.jsonl").len() >= 40).await;
    was_started_once(&conduit, "p:source");
    conduit.stop().await;
    exactly(&events(&sandbox.file("out.jsonl")), &expected);
}

async fn a_destination_waits_for_its_store(architecture: Architecture) {
    let mut sandbox = Sandbox::new(architecture).await;
    let settings = [("format.type", "raw"), ("format.options.id", "int"), ("recordCount", "400"), ("rate", "100")];
    let generator = connector("source", "source", "builtin:generator", &settings);
    sandbox.pipeline(&[generator, destination(&[])]);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("some records", |_| sandbox.stored().len() >= 50).await;
    sandbox.server.unplug();
    wait_for_trouble(&mut conduit).await;
    let before = sandbox.stored().len();
    assert!(before < 400, "nothing was left to store");
    sandbox.server.plug().await.unwrap();
    conduit.wait_for("all records", |_| sandbox.stored().len() >= 400).await;
    was_started_once(&conduit, "p:destination");
    conduit.stop().await;
    let positions: Vec<_> = sandbox.stored().iter().map(|record| record["position"].to_string()).collect();
    let distinct: BTreeSet<_> = positions.iter().collect();
    assert_eq!((positions.len(), distinct.len()), (400, 400), "records were lost, or stored twice");
}

async fn a_pipeline_may_begin_before_its_store(architecture: Architecture) {
    let mut sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), destination(&[])]);
    let expected = sandbox.fill("snapshot", 0..20);
    sandbox.server.unplug();
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the reason in the log", |conduit| conduit.log().contains("the connection was refused")).await;
    sandbox.server.plug().await.unwrap();
    // One architecture tries again by itself, the other does not.
    if architecture == Architecture::V2 {
        conduit.stop().await;
        conduit = sandbox.conduit().await;
    }
    conduit.wait_for("the snapshot", |_| sandbox.stored().len() >= 20).await;
    conduit.stop().await;
    exactly(&events(&sandbox.stored()), &expected);
}

async fn a_source_ends_without_its_store(architecture: Architecture) {
    let (mut sandbox, conduit, expected) = source_in_an_outage(architecture).await;
    let since = Instant::now();
    conduit.stop().await;
    assert!(since.elapsed() < Duration::from_secs(15), "it took {:?}", since.elapsed());
    sandbox.server.plug().await.unwrap();
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the rest", |_| sandbox.file("out.jsonl").len() >= 30).await;
    conduit.stop().await;
    exactly(&events(&sandbox.file("out.jsonl")), &expected);
}

async fn a_destination_ends_without_its_store(architecture: Architecture) {
    let mut sandbox = Sandbox::new(architecture).await;
    let lines = |numbers: std::ops::Range<usize>| -> String { numbers.map(|n| format!("line {n}\n")).collect() };
    std::fs::write(sandbox.path("in.txt"), lines(0..20)).unwrap();
    let input = connector("source", "source", "builtin:file", &[("path", "in.txt")]);
    sandbox.pipeline(&[input, destination(&[])]);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("some records", |_| sandbox.stored().len() >= 20).await;
    sandbox.server.unplug();
    std::fs::write(sandbox.path("in.txt"), lines(0..30)).unwrap();
    wait_for_trouble(&mut conduit).await;
    // The first signal has Conduit wait for what is not stored.
    conduit.stop_at_once().await;
    sandbox.server.plug().await.unwrap();
    let mut conduit = sandbox.conduit().await;
    let stored = || -> BTreeSet<_> {
        let payloads = sandbox.stored().into_iter().map(|record| bytes(&record["payload"]["after"]).unwrap());
        payloads.collect()
    };
    conduit.wait_for("all lines", |_| stored().len() >= 30).await;
    conduit.stop().await;
    let expected: BTreeSet<_> = (0..30).map(|n| Bytes::from(format!("line {n}"))).collect();
    assert_eq!(stored(), expected);
}
