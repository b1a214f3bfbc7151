//! `run` with a dead-letter queue: what a destination refuses goes there, and the pipeline goes on.

use s3_connector::record::{Data, json};
use s3_connector_tests::parquet;
use s3_connector_tests::process::Invocation;

use crate::sandbox::{Sandbox, decode_lines, key, keys};

/// One byte more than a destination takes in memory, as Parquet needs it.
const TOO_LARGE: usize = (64 << 20) + 1;

/// A pipeline from bucket to bucket with these lines as its queue.
fn pipeline(sandbox: &Sandbox, queue: &str) -> Invocation {
    let yaml = format!(
        "version: 2.2
pipelines:
  - id: copy
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: photos}}}}
      - {{id: out, type: destination, plugin: s3, settings: {{aws.bucket: lake, prefix: copy/, format: parquet}}}}
{queue}"
    );
    let file = sandbox.file("copy.yaml", yaml);
    sandbox.command(&["run", "--until-caught-up", &file])
}

/// A bucket in which two of five objects are too large.
async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new().await;
    for key in ["a", "c", "e"] {
        sandbox.put(key, "small");
    }
    for key in ["b", "d"] {
        sandbox.put(key, &"x".repeat(TOO_LARGE));
    }
    sandbox
}

/// Keys of what is in the lake below a prefix.
fn stored(sandbox: &Sandbox, prefix: &str) -> Vec<String> {
    let objects = sandbox.server.store().objects("lake").unwrap();
    let below = objects.iter().filter(|object| object.key.starts_with(prefix));
    let records = below.flat_map(|object| parquet::read(&object.body).unwrap());
    let mut keys: Vec<_> = records.map(|record| key(&record)).collect();
    keys.sort();
    keys
}

/// The records that letters are about.
fn letters(lines: &[u8]) -> Vec<(String, String)> {
    let letter = |letter: &s3_connector_tests::process::Record| {
        let Some(Data::Structured(text)) = &letter.payload.after else { panic!("{letter:?}") };
        let record = json::decode_line(text.as_bytes()).unwrap();
        let error = letter.metadata["conduit.dlq.nack.error"].clone();
        (key(&record), error)
    };
    decode_lines(lines).iter().map(letter).collect()
}

#[tokio::test]
async fn refused_records_go_to_a_file_and_the_others_into_the_bucket() {
    let sandbox = sandbox().await;
    let queue = "    dead-letter-queue:
      plugin: builtin:file
      settings: {path: dead.jsonl}
      window-size: 10
      window-nack-threshold: 2
";
    let ended = pipeline(&sandbox, queue).run().await.well();
    let _ = ended.saying(&["pipeline `copy`: 3 records were stored; 2 became dead letters; caught up"]);
    assert_eq!(stored(&sandbox, "copy/"), ["a", "c", "e"]);
    let letters = letters(&std::fs::read(sandbox.path("dead.jsonl")).unwrap());
    let refused: Vec<&str> = letters.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(refused, ["b", "d"]);
    assert!(letters.iter().all(|(_, error)| error.contains("67108864")));

    // They are dealt with: the next run does not meet them again.
    sandbox.put("f", "small");
    let _ = pipeline(&sandbox, queue).run().await.well();
    assert_eq!(stored(&sandbox, "copy/"), ["a", "c", "e", "f"]);
}

#[tokio::test]
async fn refused_records_go_to_a_bucket() {
    let sandbox = sandbox().await;
    let queue = "    dead-letter-queue:
      plugin: standalone:s3
      settings: {aws.bucket: lake, prefix: dead/, format: json}
      window-size: 0
";
    let _ = pipeline(&sandbox, queue).run().await.well();
    assert_eq!(stored(&sandbox, "copy/"), ["a", "c", "e"]);
    let objects = sandbox.server.store().objects("lake").unwrap();
    let dead = objects.iter().filter(|object| object.key.starts_with("dead/"));
    let mut refused: Vec<_> = dead.flat_map(|object| letters(&object.body)).collect();
    refused.sort();
    let refused: Vec<&str> = refused.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(refused, ["b", "d"]);
}

#[tokio::test]
async fn refused_records_are_logged() {
    let sandbox = sandbox().await;
    let queue = "    dead-letter-queue:
      plugin: log
      window-size: 10
      window-nack-threshold: 5
";
    let ended = pipeline(&sandbox, queue).run().await.well();
    let told = ended.stderr.lines().filter(|line| line.contains("record delivery failed"));
    assert_eq!(told.clone().count(), 2, "{}", ended.stderr);
    assert!(told.into_iter().all(|line| line.contains("WARN") && line.contains("67108864")));
    assert_eq!(stored(&sandbox, "copy/"), ["a", "c", "e"]);
}

#[tokio::test]
async fn more_refusals_than_the_window_bears_end_the_pipeline_with_the_reason() {
    let sandbox = sandbox().await;
    let queue = "    dead-letter-queue:
      plugin: file
      settings: {path: dead.jsonl}
      window-size: 5
      window-nack-threshold: 1
";
    let ended = pipeline(&sandbox, queue).run().await.with_code(1);
    let _ = ended.saying(&["more than 1 of 5 records were refused", "67108864"]);
    let letters = letters(&std::fs::read(sandbox.path("dead.jsonl")).unwrap());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].0, "b");
}

#[tokio::test]
async fn by_default_the_first_refusal_ends_the_pipeline() {
    for queue in ["", "    dead-letter-queue: {plugin: file, settings: {path: dead.jsonl}}\n"] {
        let sandbox = sandbox().await;
        let ended = pipeline(&sandbox, queue).run().await.with_code(1);
        let _ = ended.saying(&["error: pipeline `copy`: record 2 at position `b_s"]);
        assert!(!sandbox.path("dead.jsonl").exists());
        assert!(keys(&sandbox.stored()).contains(&"a".to_owned()));
    }
}

#[tokio::test]
async fn a_queue_that_can_not_be_opened_is_told_before_anything_is_read() {
    let sandbox = sandbox().await;
    let queue = "    dead-letter-queue:
      plugin: s3
      settings: {aws.bucket: nowhere, format: json}
      window-size: 0
";
    let ended = pipeline(&sandbox, queue).run().await.with_code(1);
    let _ = ended.saying(&["dead-letter queue: bucket \"nowhere\" does not exist"]);
    assert!(stored(&sandbox, "copy/").is_empty());

    let queue = queue.replace("format", "fromat");
    let ended = pipeline(&sandbox, &queue).run().await.with_code(2);
    let _ = ended.saying(&["pipeline `copy`: dead-letter queue: ", "`fromat`"]);
}
