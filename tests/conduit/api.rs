//! What Conduit's API asks of the plugin: stops and starts, settings that are wrong, deletes; and what of the plugin's log is seen.

use serde_json::{Value, json};

use crate::engine::{Architecture, Conduit};
use crate::sandbox::{LAKE, PHOTOS, Sandbox, destination, entries, events, exactly, file, source};

in_both_architectures! {
    pipelines_are_stopped_and_started
    wrong_settings_are_refused
    a_deleted_connector_has_no_state
    the_log_is_as_detailed_as_conduits
}

async fn pipelines_are_stopped_and_started(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), file("out.jsonl"), destination(&[("format", "parquet")])]);
    let mut expected = sandbox.fill("snapshot", 0..5);
    let mut conduit = sandbox.conduit().await;
    for round in 1..=3 {
        let is_all =
            |_: &Conduit| sandbox.file("out.jsonl").len() >= expected.len() && sandbox.stored().len() >= expected.len();
        conduit.wait_for("all records", is_all).await;
        conduit.call_well("POST", "pipelines/p/stop", &json!({})).await;
        conduit.has_status("STATUS_STOPPED").await;
        assert!(conduit.plugins().is_empty(), "plugins of a stopped pipeline");
        exactly(&events(&sandbox.file("out.jsonl")), &expected);
        exactly(&events(&sandbox.stored()), &expected);
        expected.extend(sandbox.fill("create", round * 10..round * 10 + 5));
        conduit.call_well("POST", "pipelines/p/start", &json!({})).await;
    }
    conduit.wait_for("all records", |_| sandbox.file("out.jsonl").len() >= expected.len()).await;
    conduit.stop().await;
    exactly(&events(&sandbox.file("out.jsonl")), &expected);
}

/// Makes a pipeline by the API; returns its id.
async fn make_pipeline(conduit: &Conduit) -> String {
    let made = conduit.call_well("POST", "pipelines", &json!({"config": {"name": "made"}})).await;
    made["id"].as_str().unwrap().to_owned()
}

/// What the API takes to make a connector.
fn made(kind: &str, pipeline: &str, settings: &Value) -> Value {
    let config = json!({"name": kind, "settings": settings});
    json!({"type": kind, "plugin": "standalone:s3", "pipelineId": pipeline, "config": config})
}

fn with(mut settings: Value, name: &str, value: &str) -> Value {
    settings[name] = json!(value);
    settings
}

async fn wrong_settings_are_refused(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    let conduit = sandbox.conduit().await;
    let pipeline = make_pipeline(&conduit).await;
    let sides = [
        ("TYPE_SOURCE", json!({"prefx": "a", "concurrency": "many", "sdk.batch.size": "-3"})),
        ("TYPE_DESTINATION", json!({"prefx": "a", "format": "xml", "sdk.record.format": "debezium/json"})),
    ];
    for (kind, wrong) in sides {
        let names: Vec<_> = wrong.as_object().unwrap().keys().cloned().chain(["aws.bucket".to_owned()]).collect();
        let (status, refusal) = conduit.call("POST", "connectors", &made(kind, &pipeline, &wrong)).await;
        assert!((400..500).contains(&status), "{status} {refusal}");
        for name in &names {
            assert!(refusal.to_string().contains(name.as_str()), "{kind}: {name} is not in {refusal}");
        }
        let right = if kind == "TYPE_SOURCE" { json!({}) } else { json!({"format": "json"}) };
        let right = with(right, "aws.bucket", LAKE);
        let connector = conduit.call_well("POST", "connectors", &made(kind, &pipeline, &right)).await;
        let path = format!("connectors/{}", connector["id"].as_str().unwrap());
        let before = conduit.call_well("GET", &path, &Value::Null).await;
        let update = json!({"plugin": "standalone:s3", "config": {"name": "n", "settings": wrong}});
        let (status, refusal) = conduit.call("PUT", &path, &update).await;
        assert!((400..500).contains(&status), "{status} {refusal}");
        for name in &names {
            assert!(refusal.to_string().contains(name.as_str()), "{kind}: {name} is not in {refusal}");
        }
        let kept = conduit.call_well("GET", &path, &Value::Null).await;
        assert_eq!(kept, before, "a refused update changes nothing");
    }
    assert!(conduit.plugins().is_empty(), "plugins that have only judged settings are gone");
    assert!(entries(&sandbox.path("state")).is_empty(), "what only was judged has no state");
    conduit.stop().await;
}

async fn a_deleted_connector_has_no_state(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.fill("snapshot", 0..5);
    let mut conduit = sandbox.conduit().await;
    let pipeline = make_pipeline(&conduit).await;
    let settings = json!({"aws.bucket": PHOTOS, "pollingPeriod": "100ms"});
    let connector = conduit.call_well("POST", "connectors", &made("TYPE_SOURCE", &pipeline, &settings)).await;
    let config = json!({"name": "file", "settings": {"path": "out.jsonl"}});
    let file = json!({"type": "TYPE_DESTINATION", "plugin": "builtin:file", "pipelineId": pipeline, "config": config});
    conduit.call_well("POST", "connectors", &file).await;
    let id = connector["id"].as_str().unwrap();
    conduit.call_well("POST", &format!("pipelines/{pipeline}/start"), &json!({})).await;
    conduit.wait_for("5 records", |_| sandbox.file("out.jsonl").len() >= 5).await;
    conduit.call_well("POST", &format!("pipelines/{pipeline}/stop"), &json!({})).await;
    conduit.wait_for("the end of the plugin", |conduit| conduit.plugins().is_empty()).await;
    assert_eq!(entries(&sandbox.path("state")), [id], "state has the connector's id");
    conduit.call_well("DELETE", &format!("connectors/{id}"), &Value::Null).await;
    assert!(entries(&sandbox.path("state")).is_empty(), "state has outlived its connector{}", conduit.tail());
    conduit.stop().await;

    // Of a pipeline's file: gone with the file at the next start.
    sandbox.pipeline(&[source(&[]), crate::sandbox::file("other.jsonl")]);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("5 records", |_| sandbox.file("other.jsonl").len() >= 5).await;
    conduit.stop().await;
    assert_eq!(entries(&sandbox.path("state")), ["p%3Asource"]);
    std::fs::remove_file(sandbox.path("pipelines/p.yaml")).unwrap();
    let conduit = sandbox.conduit().await;
    assert!(entries(&sandbox.path("state")).is_empty(), "state has outlived its pipeline's file{}", conduit.tail());
    conduit.stop().await;
}

async fn the_log_is_as_detailed_as_conduits(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), file("out.jsonl")]);
    sandbox.fill("snapshot", 0..5);
    for (level, is_detailed) in [("info", false), ("debug", true)] {
        let before = sandbox.file("out.jsonl").len();
        let mut conduit = sandbox.conduit_with(&["--log.level", level]).await;
        sandbox.fill("update", 0..1);
        conduit.wait_for("a record", |_| sandbox.file("out.jsonl").len() > before).await;
        let of_plugin: Vec<_> =
            conduit.lines().into_iter().filter(|line| line["plugin_name"] == "s3-connector").collect();
        let details = of_plugin.iter().filter(|line| line["level"] == "debug" || line["level"] == "trace");
        assert_eq!(details.clone().count() > 0, is_detailed, "{level}: {of_plugin:?}");
        for line in &of_plugin {
            assert_eq!(line["connector_id"], "p:source", "{line}");
            assert!(line["message"].is_string() && line["time"].is_number(), "{line}");
        }
        // Readers of JSON differ in what they make of a name that comes twice.
        for line in conduit.log().lines().filter(|line| line.contains("\"s3-connector\"")) {
            assert_eq!(line.matches("\"component\":").count(), 1, "{line}");
        }
        let is_request = |line: &&Value| line["operation"] == "GetObject" && line["status"] == "200";
        assert_eq!(of_plugin.iter().any(|line| is_request(&line)), is_detailed, "fields of a line are Conduit's");
        conduit.stop().await;
    }
}
