//! What the destination refuses ends the pipeline with the reason, or goes to Conduit's dead-letter queue.

use serde_json::{Value, json};

use crate::engine::Architecture;
use crate::sandbox::{Sandbox, at_least_once, bytes, destination, events, exactly, has, source};

in_both_architectures! {
    refused_records_become_letters
    a_refused_record_ends_the_pipeline
    structured_data_may_be_deep
    large_records_need_conduits_flag
}

/// Has Conduit take the payload of the object `0003` for the encoding of a schema that there is not.
fn processors() -> Value {
    let set = |name: &str, value: &str| {
        let field = format!(".Metadata[\"opencdc.payload.schema.{name}\"]");
        json!({
            "id": name,
            "plugin": "builtin:field.set",
            "condition": "{{ eq (printf \"%s\" .Key) \"0003\" }}",
            "settings": {"field": field, "value": value},
        })
    };
    json!([set("subject", "nowhere"), set("version", "7")])
}

async fn refused_records_become_letters(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    let queue = json!({
        "plugin": "builtin:file",
        "settings": {"path": "./letters.jsonl"},
        "window-size": 10,
        "window-nack-threshold": 2,
    });
    let more = json!({"processors": processors(), "dead-letter-queue": queue});
    sandbox.pipeline_with(&[source(&[]), destination(&[])], &more);
    let mut expected = sandbox.fill("snapshot", 0..10);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the others", |_| sandbox.stored().len() >= 9).await;
    conduit.wait_for("the letter", |_| !sandbox.file("letters.jsonl").is_empty()).await;
    conduit.has_status("STATUS_RUNNING").await;
    conduit.stop().await;
    let refused = expected.remove(3);
    exactly(&events(&sandbox.stored()), &expected);
    let letters = sandbox.file("letters.jsonl");
    assert_eq!(letters.len(), 1, "{letters:?}");
    let error = letters[0]["metadata"]["conduit.dlq.nack.error"].as_str().unwrap();
    assert!(error.contains("nowhere"), "{error}");
    let record = &letters[0]["payload"]["after"];
    assert_eq!(bytes(&record["key"]).unwrap(), refused.1);
    assert_eq!(bytes(&record["payload"]["after"]), refused.2);

    // It is dealt with: the next start does not meet it again.
    expected.extend(sandbox.fill("create", 10..12));
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("new objects", |_| sandbox.stored().len() >= expected.len()).await;
    conduit.stop().await;
    exactly(&events(&sandbox.stored()), &expected);
    assert_eq!(sandbox.file("letters.jsonl").len(), 1);
}

async fn a_refused_record_ends_the_pipeline(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline_with(&[source(&[]), destination(&[])], &json!({"processors": processors()}));
    let expected = sandbox.fill("snapshot", 0..10);
    let conduit = sandbox.conduit_with(&["--pipelines.error-recovery.max-retries", "0"]).await;
    conduit.has_status("STATUS_DEGRADED").await;
    // The status only says that Conduit has tried again often enough.
    let lines = conduit.lines();
    let is_reason = |line: &Value| line["level"] == "error" && line["error"].to_string().contains("nowhere");
    assert!(lines.iter().any(is_reason), "the reason is not in the log{}", conduit.tail());
    conduit.stop().await;

    // With the fault mended, it goes on there.
    sandbox.pipeline(&[source(&[]), destination(&[])]);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("all objects", |_| has(&sandbox.stored(), 10)).await;
    conduit.stop().await;
    at_least_once(&events(&sandbox.stored()), &expected);
}

/// JSON in this many objects.
fn nested(levels: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

async fn structured_data_may_be_deep(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    let decode = json!([{"id": "decode", "plugin": "builtin:json.decode", "settings": {"field": ".Payload.After"}}]);
    let queue = json!({
        "plugin": "builtin:file",
        "settings": {"path": "./letters.jsonl"},
        "window-size": 10,
        "window-nack-threshold": 9,
    });
    sandbox.pipeline_with(&[source(&[]), destination(&[])], &json!({"processors": decode, "dead-letter-queue": queue}));
    for levels in [1, 20, 40, 63, 64, 90] {
        sandbox.put(&format!("{levels:04}"), nested(levels));
    }
    let mut conduit = sandbox.conduit().await;
    let count = || sandbox.stored().len() + sandbox.file("letters.jsonl").len();
    conduit.wait_for("records and letters", |_| count() >= 6).await;
    conduit.stop().await;
    let stored = sandbox.stored();
    assert_eq!(stored.len(), 4);
    for (record, levels) in stored.iter().zip([1, 20, 40, 63]) {
        assert_eq!(record["payload"]["after"], serde_json::from_str::<Value>(&nested(levels)).unwrap());
    }
    let letters = sandbox.file("letters.jsonl");
    let is_reason = |letter: &Value| letter["metadata"]["conduit.dlq.nack.error"].to_string().contains("64 levels");
    assert!(letters.len() == 2 && letters.iter().all(is_reason), "{letters:?}");
}

async fn large_records_need_conduits_flag(architecture: Architecture) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), destination(&[])]);
    let mut expected = sandbox.fill("snapshot", 0..2);
    expected.push(sandbox.put_at("large", vec![7; 5 << 20].into(), None));
    let conduit = sandbox.conduit_with(&["--pipelines.error-recovery.max-retries", "0"]).await;
    conduit.has_status("STATUS_DEGRADED").await;
    let is_told = |line: &Value| line.to_string().contains("--connectors.max-receive-record-size");
    assert!(conduit.lines().iter().any(is_told), "the flag is not named{}", conduit.tail());
    conduit.stop().await;
    let mut conduit = sandbox.conduit_with(&["--connectors.max-receive-record-size", "10485760"]).await;
    conduit.wait_for("all objects", |_| has(&sandbox.stored(), 3)).await;
    conduit.stop().await;
    // What was stored when the pipeline ended may not have been acked.
    at_least_once(&events(&sandbox.stored()), &expected);
}
