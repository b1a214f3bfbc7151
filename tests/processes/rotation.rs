//! Pipelines from a file that is rotated, while they run and between two runs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use s3_connector_tests::process::Signal;

use crate::sandbox::{Sandbox, payload};

const YAML: &str = "\
version: 2.2
pipelines:
  - id: log
    connectors:
      - {id: in, type: source, plugin: file, settings: {path: log}}
      - {id: out, type: destination, plugin: s3, settings: {aws.bucket: lake, format: json, bufferSize: 1}}
";

/// The lines that are stored, sorted.
fn lines(sandbox: &Sandbox) -> Vec<String> {
    let mut lines: Vec<_> = sandbox
        .batches()
        .concat()
        .iter()
        .map(|record| String::from_utf8(payload(record).unwrap().to_vec()).unwrap())
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn another_file_between_two_runs_is_read_from_its_beginning() {
    let sandbox = Sandbox::new().await;
    let file = sandbox.file("log.yaml", YAML);
    let run = || sandbox.command(&["run", "--until-caught-up", &file]).run();
    sandbox.file("log", "one\ntwo\nthree\n");
    let _ = run().await.well();
    assert_eq!(lines(&sandbox), ["one", "three", "two"]);
    // Longer than what was read, and shorter.
    for other in ["an entirely different and longer file\nsecond line\n", "short\n"] {
        let before = lines(&sandbox);
        sandbox.file("log", other);
        let ended = run().await.well();
        let _ = ended.saying(&["reading the file from its beginning"]);
        let mut expected = before;
        expected.extend(other.lines().map(str::to_owned));
        expected.sort();
        assert_eq!(lines(&sandbox), expected);
    }
    // Nothing has changed since then.
    let ended = run().await.well();
    let _ = ended.saying(&["0 records were stored"]);
}

#[tokio::test]
async fn a_file_that_is_rotated_while_it_is_read_loses_nothing() {
    let sandbox = Sandbox::new().await;
    let file = sandbox.file("log.yaml", YAML);
    sandbox.file("log", "one\n");
    let running = sandbox.command(&["run", &file]).start();
    let stored = async |count: usize| {
        let wait = async {
            while lines(&sandbox).len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, wait).await.expect("the lines are stored");
    };
    stored(1).await;
    std::fs::rename(sandbox.path("log"), sandbox.path("log.1")).unwrap();
    // Who wrote to it does not know yet.
    let mut old = OpenOptions::new().append(true).open(sandbox.path("log.1"));
    old.as_mut().unwrap().write_all(b"late\n").unwrap();
    sandbox.file("log", "two\n");
    stored(3).await;
    sandbox.file("log", "three\n");
    stored(4).await;
    running.signal(Signal::Terminate).await;
    let _ = running.ended().await.well();
    assert_eq!(lines(&sandbox), ["late", "one", "three", "two"]);
}
