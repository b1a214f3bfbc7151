//! `check`: what is tried, what is reported, and when it reports that a pipeline could not run.

use std::time::{Duration, Instant, SystemTime};

use embedded_s3::{Clock, ConditionalWrites, Filter, Options, S3Operation, Versioning};
use s3_connector_tests::process::{Ended, Invocation};
use serde_json::Value;

use crate::sandbox::{LAKE, PHOTOS, Sandbox};

const SOURCE: &[&str] = &["check", "--set", "aws.bucket=photos"];
const DESTINATION: &[&str] =
    &["check", "--destination", "--set", "aws.bucket=lake", "--set", "format=json", "--set", "prefix=out/"];
const PROBE: &str = "out/_s3-connector-check";

/// The report of a check, which must end with this code.
pub(crate) async fn report(invocation: Invocation, code: i32) -> Value {
    let ended = invocation.args(&["--json"]).run().await.with_code(code);
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["ok"], Value::Bool(code == 0));
    report["checks"][0].clone()
}

/// A field of the step of that name.
#[track_caller]
pub(crate) fn field<'r>(report: &'r Value, step: &str, field: &str) -> &'r str {
    let steps = report["steps"].as_array().unwrap();
    let found = steps.iter().find(|found| found["name"] == step);
    found.unwrap_or_else(|| panic!("no step {step} in {report:#}"))[field].as_str().unwrap()
}

fn statuses(report: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = report["steps"].as_array().unwrap();
    steps.iter().map(|step| (text(&step["name"]), text(&step["status"]))).collect()
}

fn all_ok(names: &[&str]) -> Vec<(String, String)> {
    let step = |name: &&str| {
        // The server of these tests speaks no TLS.
        let status = if *name == "tls" { "skipped" } else { "ok" };
        ((*name).to_owned(), status.to_owned())
    };
    names.iter().map(step).collect()
}

#[tokio::test]
async fn a_source_that_can_run_passes_every_step() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(2);
    let report = report(sandbox.command(SOURCE), 0).await;
    let steps = [
        "component",
        "settings",
        "name",
        "connection",
        "tls",
        "credentials",
        "bucket",
        "clock",
        "region",
        "list",
        "versions",
        "versioning",
        "get",
        "get-version",
        "read",
    ];
    assert_eq!(statuses(&report), all_ok(&steps), "{report:#}");
    assert_eq!(report["side"], "source");
    for (step, word) in [
        ("settings", "aws.region from variable `AWS_REGION`"),
        ("credentials", "AWS_ACCESS_KEY_ID in the environment"),
        ("list", "0000"),
        ("versions", "2 versions and 0 delete markers"),
        ("versioning", "on"),
        ("get", "12 bytes"),
        ("get-version", "12 bytes"),
        ("read", "read one record"),
    ] {
        let found = field(&report, step, "found");
        assert!(found.contains(word), "{step}: {found}");
    }
    assert!(field(&report, "list", "tried").contains("ListObjectsV2 (s3:ListBucket)"));
}

#[tokio::test]
async fn a_bucket_without_objects_is_not_waited_for() {
    let sandbox = Sandbox::new().await;
    // The first start may have to compile the component.
    report(sandbox.command(SOURCE), 0).await;
    let started = Instant::now();
    let report = report(sandbox.command(SOURCE), 0).await;
    assert_eq!(field(&report, "read", "found"), "nothing to read yet");
    // As long as a step may take.
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_destination_that_can_run_passes_every_step_and_nothing_is_left() {
    let sandbox = Sandbox::new().await;
    let report = report(sandbox.command(DESTINATION), 0).await;
    let steps = [
        "component",
        "settings",
        "name",
        "connection",
        "tls",
        "credentials",
        "bucket",
        "clock",
        "region",
        "list",
        "put",
        "conditional",
        "get",
        "remove",
        "open",
    ];
    assert_eq!(statuses(&report), all_ok(&steps), "{report:#}");
    let store = sandbox.server.store();
    assert!(store.versions(LAKE).unwrap().is_empty(), "no marker either");
    assert!(store.uploads(LAKE).unwrap().is_empty());
    assert!(field(&report, "conditional", "found").contains("honoured"));
}

#[tokio::test]
async fn a_bucket_without_versions_is_checked_and_left_as_it_was_too() {
    let sandbox = Sandbox::new().await;
    let store = sandbox.server.store();
    for bucket in ["plain", "suspended"] {
        store.create_bucket(bucket).unwrap();
        let set = |name: &str| ["--set".to_owned(), format!("aws.bucket={name}")];
        if bucket == "suspended" {
            store.set_versioning(bucket, Versioning::Suspended).unwrap();
        }
        let source = sandbox.command(&["check"]).args(&set(bucket));
        let seen = report(source, 0).await;
        assert_eq!(field(&seen, "versioning", "status"), "warning");
        assert!(field(&seen, "versioning", "advice").contains("switch versioning on"));
        let destination = sandbox.command(&["check", "--destination", "--set", "format=parquet"]);
        let seen = report(destination.args(&set(bucket)), 0).await;
        assert_eq!(field(&seen, "remove", "status"), "ok");
        assert!(store.list(bucket, "").unwrap().is_empty(), "{bucket}");
    }
}

/// What one missing permission leads to: in a destination's check or a source's, what is denied, the step that tells,
/// its status, words of its advice, and the exit code.
type Denied = (bool, S3Operation, &'static str, &'static str, &'static str, i32);

const DENIED: &[Denied] = {
    use S3Operation as Op;
    &[
        (false, Op::HeadBucket, "bucket", "ok", "", 0),
        (false, Op::ListObjectsV2, "list", "failed", "s3:ListBucket", 1),
        (false, Op::ListObjectVersions, "versions", "failed", "s3:ListBucketVersions", 1),
        (false, Op::GetBucketVersioning, "versioning", "ok", "", 0),
        (false, Op::GetObject, "get", "failed", "s3:GetObject", 1),
        (false, Op::GetObject, "get-version", "failed", "s3:GetObjectVersion", 1),
        (true, Op::HeadBucket, "bucket", "ok", "", 0),
        (true, Op::ListObjectsV2, "list", "warning", "s3:ListBucket", 0),
        (true, Op::PutObject, "put", "failed", "s3:PutObject", 1),
        (true, Op::PutObject, "conditional", "skipped", "", 1),
        (true, Op::HeadObject, "get", "warning", "s3:GetObject", 0),
        (true, Op::DeleteObject, "remove", "warning", "by hand", 0),
    ]
};

#[tokio::test]
async fn each_permission_that_is_missing_is_told_with_what_to_allow() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(2);
    for (is_destination, operation, step, status, advice, code) in DENIED {
        sandbox.server.access().deny(*operation);
        let command = if *is_destination { DESTINATION } else { SOURCE };
        let report = report(sandbox.command(command), *code).await;
        sandbox.server.access().allow_all();
        let found = field(&report, step, "status");
        assert_eq!(found, *status, "{operation}: {report:#}");
        let found = field(&report, step, "advice");
        assert!(found.contains(advice), "{operation}: {found}");
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_removed_stays_once_and_is_named() {
    let sandbox = Sandbox::new().await;
    sandbox.server.access().deny(S3Operation::DeleteObject);
    for _ in 0..3 {
        let report = report(sandbox.command(DESTINATION), 0).await;
        assert_eq!(field(&report, "put", "status"), "ok");
        assert_eq!(field(&report, "conditional", "status"), "ok");
        assert_eq!(field(&report, "remove", "status"), "warning");
        // The object of the check, and how to remove it.
        let advice = field(&report, "remove", "advice");
        let by_hand = format!("aws s3api delete-object --bucket {LAKE} --key '{PROBE}' --version-id '");
        assert!(advice.contains(&by_hand) || advice.contains(&format!("aws s3 rm 's3://{LAKE}/{PROBE}'")), "{advice}");
        assert_eq!(sandbox.server.store().versions(LAKE).unwrap().len(), 1);
    }
    sandbox.server.access().allow_all();
    let report = report(sandbox.command(DESTINATION), 0).await;
    assert_eq!(field(&report, "remove", "status"), "ok");
    assert!(sandbox.server.store().list(LAKE, "").unwrap().is_empty());
}

#[tokio::test]
async fn somebody_elses_object_under_the_name_is_left_as_it_is() {
    for conditional_writes in [ConditionalWrites::Honoured, ConditionalWrites::Refused] {
        let sandbox = Sandbox::with(Options { conditional_writes, ..Options::default() }).await;
        let store = sandbox.server.store();
        store.put(LAKE, PROBE, "a stranger's").unwrap();
        let report = report(sandbox.command(DESTINATION), 0).await;
        assert_eq!(field(&report, "remove", "status"), "skipped");
        assert_eq!(store.versions(LAKE).unwrap().len(), 1);
        assert_eq!(store.get(LAKE, PROBE).unwrap().body, "a stranger's");
    }
}

#[tokio::test]
async fn nothing_is_written_where_that_is_forbidden() {
    let sandbox = Sandbox::new().await;
    let report = report(sandbox.command(DESTINATION).args(&["--read-only"]), 0).await;
    for step in ["put", "conditional", "get", "remove"] {
        assert_eq!(field(&report, step, "status"), "skipped");
    }
    assert_eq!(field(&report, "open", "status"), "ok");
    let writes = |operation| !matches!(operation, S3Operation::HeadBucket | S3Operation::ListObjectsV2);
    let written = sandbox.server.requests();
    assert!(!written.iter().any(|request| writes(request.operation)), "{written:?}");
}

#[tokio::test]
async fn what_a_store_cannot_do_is_told() {
    let sandbox = Sandbox::with(Options { versions_api: false, ..Options::default() }).await;
    sandbox.fill(1);
    let seen = report(sandbox.command(SOURCE), 0).await;
    assert_eq!(field(&seen, "versions", "status"), "warning");
    assert!(field(&seen, "versions", "advice").contains("only the last is seen"));

    for (conditional_writes, word) in [(ConditionalWrites::Refused, "refuses"), (ConditionalWrites::Ignored, "ignores")]
    {
        let sandbox = Sandbox::with(Options { conditional_writes, ..Options::default() }).await;
        let seen = report(sandbox.command(DESTINATION), 0).await;
        assert_eq!(field(&seen, "put", "status"), "ok", "{seen:#}");
        assert_eq!(field(&seen, "conditional", "status"), "warning");
        assert!(field(&seen, "conditional", "found").contains(word), "{seen:#}");
        assert!(sandbox.server.store().versions(LAKE).unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_wrong_region_is_told_with_the_right_one() {
    let sandbox = Sandbox::with(Options { region: Some("eu-west-1".to_owned()), ..Options::default() }).await;
    for command in [SOURCE, DESTINATION] {
        let wrong = report(sandbox.command(command), 1).await;
        assert_eq!(field(&wrong, "region", "status"), "failed");
        assert!(field(&wrong, "region", "advice").contains("set aws.region to `eu-west-1`"));
        let right = sandbox.command(command).set("aws.region", "eu-west-1");
        assert_eq!(field(&report(right, 0).await, "region", "status"), "ok");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_told_and_no_obstacle() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let now = SystemTime::now();
    for (theirs, word) in [(now + minutes(20), "behind"), (now - minutes(20), "ahead of")] {
        let sandbox = Sandbox::with(Options { clock: Clock::manual(theirs), ..Options::default() }).await;
        sandbox.fill(1);
        for command in [SOURCE, DESTINATION] {
            let seen = report(sandbox.command(command), 0).await;
            assert_eq!(field(&seen, "clock", "status"), "warning");
            assert!(field(&seen, "clock", "found").contains(word), "{seen:#}");
            assert!(field(&seen, "clock", "advice").contains("NTP"));
        }
    }
}

/// What is said about the step that failed, and that those after it were not tried.
fn failure(ended: &Ended) -> (String, String) {
    let printed = ended.printed();
    let at = printed.find("failed ").unwrap_or_else(|| panic!("nothing failed: {printed}"));
    let mut lines = printed[at..].lines();
    let step = lines.next().unwrap().split_whitespace().nth(1).unwrap();
    let rest: Vec<_> = lines.collect();
    let skipped = rest.iter().filter(|line| line.starts_with("skipped ")).count();
    assert!(skipped > 0, "{printed}");
    (step.to_owned(), printed[at..].to_owned())
}

#[tokio::test]
async fn the_first_thing_in_the_way_is_told_with_what_to_do() {
    let sandbox = Sandbox::new().await;
    let port = sandbox.server.endpoint().rsplit(':').next().unwrap().to_owned();
    let at = |endpoint: &str| sandbox.command(SOURCE).env("AWS_ENDPOINT_URL_S3", endpoint);
    let gone = Sandbox::new().await.server.endpoint();
    let cases = [
        (at("http://nowhere.invalid"), "name", "-> look at aws.endpoint"),
        (at(&gone), "connection", "-> look at the port"),
        (at(&format!("https://127.0.0.1:{port}")), "tls", "-> if the store speaks no TLS"),
        (sandbox.command(SOURCE).env("AWS_ACCESS_KEY_ID", ""), "credentials", "-> set AWS_ACCESS_KEY_ID"),
        (
            sandbox.command(SOURCE).secret_key("wrong-secret-of-a-check"),
            "bucket",
            "-> look whether these are the right keys",
        ),
        (sandbox.command(&["check", "--set", "aws.bucket=nowhere"]), "bucket", "-> create it"),
    ];
    for (invocation, step, advice) in cases {
        let ended = invocation.run().await.with_code(1);
        let (failed, text) = failure(&ended);
        assert_eq!(failed, step, "{text}");
        assert!(text.contains(advice), "{text}");
        assert_eq!(ended.stderr, "");
    }
    let wrong = sandbox.command(&["check", "--set", "aws.bukcet=x"]).run().await;
    let (failed, text) = failure(&wrong.with_code(2));
    assert_eq!(failed, "settings");
    assert!(text.contains("did you mean `aws.bucket`"), "{text}");
    let component = sandbox.file("no.wasm", "not a component");
    let wrong = sandbox.command(SOURCE).args(&["--component", &component]).run().await;
    assert!(wrong.with_code(1).printed().starts_with("failed   component"));
}

#[tokio::test]
async fn a_denied_object_is_found_before_a_pipeline_finds_it() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    sandbox.server.access().deny(Filter::from(S3Operation::GetObject).key("0000"));
    let seen = report(sandbox.command(SOURCE), 1).await;
    assert_eq!(field(&seen, "get", "status"), "failed");
    assert_eq!(field(&seen, "read", "status"), "failed");
    assert!(field(&seen, "read", "found").contains("object `0000`"));
    assert_eq!(sandbox.server.store().objects(PHOTOS).unwrap().len(), 3);
}

#[tokio::test]
async fn both_ends_of_a_pipeline_file_are_checked() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(1);
    let yaml = "\
version: 2.2
pipelines:
  - id: copy
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}}
      - {id: out, type: destination, plugin: s3, settings: {aws.bucket: lake, format: json}}
  - id: print
    connectors:
      - {id: from, type: source, plugin: s3, settings: {aws.bucket: nowhere}}
      - {id: to, type: destination, plugin: file, settings: {path: out.jsonl}}
";
    let file = sandbox.file("pipelines.yaml", yaml);
    let check = || sandbox.command(&["check", &file]);
    let ended = check().args(&["--json"]).run().await.with_code(1);
    let seen: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(seen["ok"], false);
    let checks = seen["checks"].as_array().unwrap();
    let names = ["pipeline", "connector", "side"];
    let told = |check: &Value| names.map(|name| check[name].as_str().unwrap().to_owned()).join(" ");
    let all: Vec<_> = checks.iter().map(told).collect();
    assert_eq!(all, ["copy in source", "copy out destination", "print from source"]);
    let is_ok: Vec<_> = checks.iter().map(|check| check["ok"] == true).collect();
    assert_eq!(is_ok, [true, true, false]);
    let text = check().run().await.with_code(1).printed();
    assert!(text.contains("pipeline `copy`, connector `out`\nok "), "{text}");
    assert!(!sandbox.path("out.jsonl").exists(), "nothing is run");

    let wrong = sandbox.file("wrong.yaml", yaml.replace("format: json", "format: jsom"));
    let _ = sandbox.command(&["check", &wrong]).run().await.with_code(2);
    let both = sandbox.command(&["check", &file, "--set", "aws.bucket=photos"]);
    let _ = both.run().await.with_code(2).saying(&["--set"]);
}

#[tokio::test]
async fn a_store_that_never_answers_is_given_up_after_ten_seconds() {
    let sandbox = Sandbox::new().await;
    // Connections are made by the system; nobody ever takes one.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let started = Instant::now();
    let ended = sandbox.command(SOURCE).env("AWS_ENDPOINT_URL_S3", &endpoint).run().await.with_code(1);
    let took = started.elapsed();
    assert!((10..25).contains(&took.as_secs()), "{took:?}");
    let (failed, text) = failure(&ended);
    assert_eq!(failed, "bucket");
    let expected = format!("no answer from {endpoint} to HeadBucket: none came within 10 s");
    assert!(text.contains(&expected), "{text}");
}
