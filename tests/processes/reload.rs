//! SIGHUP of `run`: its files are read again; what has changed restarts at its position, and everything else goes on.

use std::time::Duration;

use embedded_s3::{Filter, S3Operation, Versioning};
use s3_connector_tests::process::{Invocation, Running, Signal};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::monitor::Shown;
use crate::sandbox::{LAKE, PHOTOS, Sandbox, decode_lines, keys};

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(180);

/// A pipeline of what is below a prefix of the bucket, into a file.
fn pipeline(id: &str, prefix: &str, file: &str) -> String {
    format!(
        "  - id: {id}
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: photos, prefix: {prefix}, pollingPeriod: 20ms}}}}
      - {{id: out, type: destination, plugin: file, settings: {{path: {file}}}}}
"
    )
}

fn write(sandbox: &Sandbox, pipelines: &[String]) -> String {
    sandbox.file("p.yaml", format!("version: 2.2\nlisten: 0\npipelines:\n{}", pipelines.concat()))
}

async fn begin(sandbox: &Sandbox, pipelines: &[String]) -> Shown {
    let file = write(sandbox, pipelines);
    Shown::begin(sandbox.command(&["run", &file]).start()).await
}

/// The keys in a file of records.
fn lines(sandbox: &Sandbox, file: &str) -> Vec<String> {
    keys(&decode_lines(&std::fs::read(sandbox.path(file)).unwrap_or_default()))
}

async fn until_caught_up(shown: &Shown, id: &str, stored: u64) -> Value {
    shown.until(id, |pipeline| pipeline["state"] == "caught-up" && pipeline["recordsStored"] == stored).await
}

async fn ends_well(shown: Shown) {
    shown.running.signal(Signal::Terminate).await;
    let _ = shown.running.ended().await.well();
}

#[tokio::test]
async fn what_has_changed_restarts_at_its_position_and_the_rest_goes_on() {
    let sandbox = Sandbox::new().await;
    for key in ["a/1", "b/1", "c/1", "d/1"] {
        sandbox.put(key, "old");
    }
    let same = pipeline("same", "a/", "same.jsonl");
    let before = [same.clone(), pipeline("moves", "b/", "before.jsonl"), pipeline("leaves", "c/", "leaves.jsonl")];
    let mut shown = begin(&sandbox, &before).await;
    for id in ["same", "moves", "leaves"] {
        until_caught_up(&shown, id, 1).await;
    }
    write(&sandbox, &[pipeline("comes", "d/", "comes.jsonl"), pipeline("moves", "b/", "after.jsonl"), same]);
    shown.running.signal(Signal::HangUp).await;
    shown.running.says("reloaded: 1 unchanged, 1 starting, 1 restarting, 1 stopping").await;
    until_caught_up(&shown, "comes", 1).await;
    // Its numbers begin anew: what it had stored it does not read again.
    until_caught_up(&shown, "moves", 0).await;
    shown.running.says("pipeline `leaves`: 1 records were stored; stopped, since no file has it any longer").await;
    assert!(shown.running.said().contains("pipeline `moves`: 1 records were stored; restarting with its new settings"));

    for key in ["a/2", "b/2", "c/2", "d/2"] {
        sandbox.put(key, "new");
    }
    until_caught_up(&shown, "same", 2).await;
    until_caught_up(&shown, "moves", 1).await;
    until_caught_up(&shown, "comes", 2).await;
    let status: Value = serde_json::from_str(&shown.ask("/status").await.body).unwrap();
    let ids: Vec<_> = status["pipelines"].as_array().unwrap().iter().map(|pipeline| pipeline["id"].clone()).collect();
    assert_eq!((ids.len(), &status["reload"]["error"]), (3, &Value::Null), "{status}");
    assert!(!ids.contains(&"leaves".into()), "{ids:?}");
    assert_eq!(shown.metrics("*/*").await["s3_connector_reload_successful"], 1.0);
    ends_well(shown).await;
    for (file, expected) in [
        ("same.jsonl", vec!["a/1", "a/2"]),
        ("before.jsonl", vec!["b/1"]),
        ("after.jsonl", vec!["b/2"]),
        ("leaves.jsonl", vec!["c/1"]),
        ("comes.jsonl", vec!["d/1", "d/2"]),
    ] {
        assert_eq!(lines(&sandbox, file), expected, "{file}");
    }
}

#[tokio::test]
async fn mistakes_change_nothing_and_are_told() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a/1", "content");
    let whole = pipeline("whole", "a/", "whole.jsonl");
    let mut shown = begin(&sandbox, std::slice::from_ref(&whole)).await;
    until_caught_up(&shown, "whole", 1).await;
    let moved = pipeline("whole", "a/", "moved.jsonl");
    let refused = pipeline("more", "b/", "more.jsonl").replace("pollingPeriod: 20ms", "pollingPeriod: soon");
    let file = sandbox.text_path("p.yaml");
    for (pipelines, problem) in [
        (vec![moved.replace("type: source", "type: sauce")], format!("{file}:6:24: unknown connector type `sauce`")),
        (vec![moved.clone(), refused], "pipeline `more`: connector `in`: setting `pollingPeriod`".to_owned()),
        (vec![moved.replace("a/", "'${file:/none}'")], "setting `prefix`: ${file:/none}: No such file".to_owned()),
    ] {
        write(&sandbox, &pipelines);
        shown.running.signal(Signal::HangUp).await;
        shown.running.says(&problem).await;
        let status = timeout(PATIENCE, async {
            loop {
                let status: Value = serde_json::from_str(&shown.ask("/status").await.body).unwrap();
                if status["reload"]["error"].as_str().is_some_and(|error| error.contains(&problem)) {
                    return status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        let status = status.await.unwrap();
        assert_eq!((&status["ready"], status["pipelines"].as_array().unwrap().len()), (&true.into(), 1), "{status}");
        assert_eq!(shown.metrics("*/*").await["s3_connector_reload_successful"], 0.0);
    }
    shown.running.says("nothing was reloaded: all pipelines go on as they were").await;
    sandbox.put("a/2", "content");
    until_caught_up(&shown, "whole", 2).await;
    // Nothing has changed: it goes on.
    write(&sandbox, &[whole]);
    shown.running.signal(Signal::HangUp).await;
    shown.running.says("reloaded: 1 unchanged, 0 starting, 0 restarting, 0 stopping").await;
    until_caught_up(&shown, "whole", 2).await;
    ends_well(shown).await;
    assert_eq!(lines(&sandbox, "whole.jsonl"), ["a/1", "a/2"]);
    assert!(!sandbox.path("moved.jsonl").exists(), "a trial opens nothing");
}

#[tokio::test]
async fn what_has_failed_is_started_once_more_and_files_of_settings_are_read_again() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a/1", "content");
    sandbox.put("b/1", "content");
    let prefix = sandbox.file("prefix", "a/\n");
    let failing = pipeline("failing", "a/", "failing.jsonl").replace("aws.bucket: photos", "aws.bucket: later");
    let by_file = pipeline("by-file", &format!("'${{file:{prefix}}}'"), "by-file.jsonl");
    let mut shown = begin(&sandbox, &[failing, by_file]).await;
    shown.until("failing", |pipeline| pipeline["state"] == "failed").await;
    until_caught_up(&shown, "by-file", 1).await;

    sandbox.server.store().create_bucket("later").unwrap();
    sandbox.server.store().set_versioning("later", Versioning::Enabled).unwrap();
    sandbox.server.store().put("later", "a/later", "content".to_owned()).unwrap();
    shown.running.signal(Signal::HangUp).await;
    shown.running.says("reloaded: 1 unchanged, 1 starting, 0 restarting, 0 stopping").await;
    until_caught_up(&shown, "failing", 1).await;
    assert_eq!(shown.ask("/ready").await.status, 200);

    sandbox.file("prefix", "b/\n");
    shown.running.signal(Signal::HangUp).await;
    shown.running.says("reloaded: 1 unchanged, 0 starting, 1 restarting, 0 stopping").await;
    // Another prefix is another place: what was saved is no use to it, and it says so.
    shown.until("by-file", |pipeline| pipeline["state"] == "failed").await;
    shown.running.signal(Signal::Terminate).await;
    let _ = shown.running.ended().await.with_code(1);
}

/// A restart takes as long as it takes to store what was read. The signal that ends all comes before it is done.
#[tokio::test]
async fn a_stop_amid_a_restart_stops() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(10);
    let yaml = |delay: &str| {
        format!(
            "version: 2.2
listen: 0
pipelines:
  - id: copy
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: {PHOTOS}}}}}
      - {{id: out, type: destination, plugin: s3, settings:
          {{aws.bucket: {LAKE}, format: json, bufferSize: 10, bufferDelay: {delay}}}}}
"
        )
    };
    let mut put = sandbox.server.pause(Filter::from(S3Operation::PutObject));
    let file = sandbox.file("p.yaml", yaml("1h"));
    let mut shown = Shown::begin(sandbox.command(&["run", &file]).start()).await;
    let held = put.arrived().await;
    sandbox.file("p.yaml", yaml("2h"));
    shown.running.signal(Signal::HangUp).await;
    shown.running.says("reloaded: 0 unchanged, 0 starting, 1 restarting, 0 stopping").await;
    shown.running.signal(Signal::Terminate).await;
    held.release();
    drop(put);
    let ended = shown.running.ended().await.well();
    let _ = ended.saying(&["pipeline `copy`: 10 records were stored; stopped"]);
    assert_eq!(sandbox.stored().len(), 10);
    assert!(sandbox.position("s3-connector-state/copy").is_some());
}

/// The same signal comes of a terminal that closes, and that stops.
#[tokio::test]
async fn a_terminal_that_closes_stops_the_pipelines() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a/1", "content");
    write(&sandbox, &[pipeline("copy", "a/", "copy.jsonl")]);
    // `script` runs it on a terminal of its own, which closes with it.
    let inner = format!("exec {} run p.yaml 2> said", s3_connector_tests::process::binary().display());
    let script = format!("exec script --quiet --command \"{inner}\" /dev/null");
    let terminal = Invocation::script(&script).at(&sandbox.server).within(&sandbox.path(".")).start();
    let said = || std::fs::read_to_string(sandbox.path("said")).unwrap_or_default();
    let says = |what: &'static str| {
        timeout(PATIENCE, async move {
            while !said().contains(what) {
                sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let stored = async {
        while lines(&sandbox, "copy.jsonl").is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, stored).await.unwrap_or_else(|_| panic!("{}", said()));
    // Nothing but the terminal goes: what runs on it hears of that from the kernel.
    let _: Running = kill(terminal).await;
    says("pipeline `copy`: 1 records were stored; stopped").await.unwrap_or_else(|_| panic!("{}", said()));
    assert!(!said().contains("SIGHUP: reading"), "{}", said());
}

async fn kill(running: Running) -> Running {
    let pid = running.id().to_string();
    let killed = tokio::process::Command::new("sh").args(["-c", "kill -s KILL $0", &pid]).status().await;
    assert!(killed.is_ok_and(|status| status.success()));
    running
}
