//! `--listen`: what a running process shows of itself, asked over HTTP as probes and scrapers do.

use std::collections::BTreeMap;
use std::time::Duration;

use s3_connector_tests::process::{Running, Signal};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::sandbox::{PHOTOS, Sandbox};

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(180);

/// An answer: its status, its head, its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// A process that shows itself at an address.
pub(crate) struct Shown {
    pub(crate) running: Running,
    address: String,
}

impl Shown {
    /// Waits until it listens.
    pub(crate) async fn begin(mut running: Running) -> Self {
        running.says("listening on http://").await;
        let said = running.said();
        let (_, after) = said.split_once("listening on http://").unwrap();
        let address = after.split_whitespace().next().unwrap().to_owned();
        Self { running, address }
    }

    async fn ask_with(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) async fn ask(&self, path: &str) -> Answer {
        self.ask_with("GET", path, &format!("host: {}\r\n", self.address)).await
    }

    /// The status of the pipeline; null if there is none of that id.
    pub(crate) async fn pipeline(&self, id: &str) -> Value {
        let status: Value = serde_json::from_str(&self.ask("/status").await.body).unwrap();
        let pipelines = status["pipelines"].as_array().unwrap().clone();
        pipelines.into_iter().find(|pipeline| pipeline["id"] == id).unwrap_or_default()
    }

    /// Waits until the status of the pipeline is such.
    pub(crate) async fn until(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let waited = timeout(PATIENCE, async {
            loop {
                let pipeline = self.pipeline(id).await;
                if is_so(&pipeline) {
                    return pipeline;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        match waited.await {
            Ok(pipeline) => pipeline,
            Err(_) => panic!("it never came to that: {}", self.pipeline(id).await),
        }
    }

    /// All samples by name and labels, as they are written. Fails unless each line is of the format.
    pub(crate) async fn metrics(&self, accept: &str) -> BTreeMap<String, f64> {
        let answer = self.ask_with("GET", "/metrics", &format!("accept: {accept}\r\n")).await;
        assert_eq!(answer.status, 200);
        let is_open = accept.contains("openmetrics");
        let kind = if is_open { "application/openmetrics-text; version=1.0.0" } else { "text/plain; version=0.0.4" };
        assert!(answer.head.contains(kind), "{}", answer.head);
        assert_eq!(answer.body.ends_with("# EOF\n"), is_open);
        let mut samples = BTreeMap::new();
        let mut types = BTreeMap::new();
        for line in answer.body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let words: Vec<_> = comment.splitn(3, ' ').collect();
                assert!(["HELP", "TYPE", "UNIT", "EOF"].contains(&words[0]), "{line}");
                if words[0] == "TYPE" {
                    assert!(types.insert(words[1].to_owned(), words[2].to_owned()).is_none(), "twice: {line}");
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let is_known = types.keys().any(|known| family.starts_with(known.as_str()));
            assert!(is_known && family.starts_with("s3_connector_"), "{line} is of no family");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
        samples
    }
}

/// A pipeline of what is below its id in a bucket. Objects of more than 100 bytes are too large.
fn pipeline(id: &str, bucket: &str) -> String {
    format!(
        "  - id: {id}
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: {bucket}, prefix: {id}/, pollingPeriod: 20ms, \
         objectBytes: 100B, unreadable: skip}}}}
      - {{id: out, type: destination, plugin: s3, settings: {{aws.bucket: lake, prefix: {id}/, format: json, \
         bufferSize: 2, bufferDelay: 50ms}}}}
"
    )
}

#[tokio::test]
async fn a_process_shows_how_far_it_has_come_and_what_it_passed_over() {
    let sandbox = Sandbox::new().await;
    for key in ["a/1", "a/2", "a/3"] {
        sandbox.put(key, "content");
    }
    sandbox.put("a/<script>", &"x".repeat(101));
    let yaml =
        format!("version: 2.2\nlisten: localhost:0\npipelines:\n{}{}", pipeline("a", PHOTOS), pipeline("b", PHOTOS));
    let file = sandbox.file("two.yaml", yaml);
    let shown = Shown::begin(sandbox.command(&["run", &file]).start()).await;

    let a = shown.until("a", |a| a["state"] == "caught-up" && a["recordsStored"] == 3).await;
    assert_eq!((&a["recordsRead"], &a["bytesRead"], &a["lagSeconds"]), (&3.into(), &21.into(), &0.0.into()));
    assert_eq!((&a["skipped"], &a["skippedObjects"][0]["key"]), (&1.into(), &"a/<script>".into()));
    assert!(a["skippedObjects"][0]["reason"].as_str().unwrap().contains("`objectBytes`"), "{a}");
    assert!(a["position"].as_str().unwrap().starts_with("a/3"), "{a}");
    assert_eq!((&a["outage"], &a["lastError"], &a["outages"]), (&Value::Null, &Value::Null, &0.into()));
    let [source, destination] = &a["connectors"].as_array().unwrap()[..] else { panic!("{a}") };
    assert_eq!((&source["id"], &source["side"], &source["plugin"]), (&"in".into(), &"source".into(), &"s3".into()));
    assert_eq!(source["operations"]["GetObject"], 3);
    assert_eq!((&destination["operations"]["PutObject"], &destination["batches"]), (&2.into(), &2.into()));
    for connector in [source, destination] {
        assert!(connector["memoryBytes"].as_u64().unwrap() > 1 << 20, "{connector}");
    }
    shown.until("b", |b| b["state"] == "caught-up").await;

    let ready = shown.ask("/ready").await;
    assert_eq!((ready.status, &*ready.body), (200, "ready\n"));
    assert_eq!(shown.ask("/live").await.status, 200);
    for accept in ["*/*", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"] {
        let metrics = shown.metrics(accept).await;
        let of_a = |name: &str| metrics[&format!("s3_connector_{name}{{pipeline=\"a\"}}")];
        assert_eq!((of_a("records_read_total"), of_a("records_stored_total")), (3.0, 3.0));
        assert_eq!((of_a("objects_skipped_total"), of_a("lag_seconds"), of_a("outage_seconds")), (1.0, 0.0, 0.0));
        let labels = "pipeline=\"a\",connector=\"out\",side=\"destination\"";
        let puts = format!("s3_connector_requests_total{{{labels},operation=\"PutObject\",status=\"2xx\"}}");
        assert_eq!(metrics[&puts], 2.0);
        let batches = |cut: &str| metrics[&format!("s3_connector_batches_stored_total{{{labels},cut=\"{cut}\"}}")];
        assert_eq!((batches("records"), batches("delay")), (1.0, 1.0));
        let took = format!("s3_connector_request_duration_seconds_count{{{labels},operation=\"PutObject\"}}");
        assert_eq!(metrics[&took], 2.0);
        let is_last = |name: &str| [labels, "PutObject", "_bucket", "+Inf"].iter().all(|part| name.contains(part));
        let last: Vec<_> = metrics.iter().filter(|(name, _)| is_last(name)).map(|(_, value)| *value).collect();
        assert_eq!(last, [2.0], "all of them are in the last bucket");
        let states: f64 = metrics
            .iter()
            .filter(|(name, _)| name.contains("pipeline_state") && name.contains("\"a\""))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(states, 1.0);
    }

    let page = shown.ask("/").await;
    assert!(page.body.starts_with("<!doctype html>") && page.head.contains("default-src 'none'"), "{}", page.head);
    assert_eq!(shown.ask("/nowhere").await.status, 404);
    assert_eq!(shown.ask_with("DELETE", "/status", "").await.status, 405);
    assert_eq!(shown.ask_with("GET", "/status", "host: evil.example\r\n").await.status, 421);
    shown.running.signal(Signal::Terminate).await;
    let _ = shown.running.ended().await.well();
}

#[tokio::test]
async fn source_and_destination_show_themselves_too() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(2);
    let shown = Shown::begin(sandbox.source().args(&["--listen", "0"]).start()).await;
    let source = shown.until("source", |source| source["state"] == "caught-up").await;
    assert_eq!(source["recordsStored"], 2);
    assert_eq!(source["connectors"][0]["operations"]["GetObject"], 2);

    let taken = sandbox.source().args(&["--listen", &shown.address]).start().ended().await;
    let taken = taken.with_code(1);
    let _ = taken.saying(&["cannot listen on", &shown.address, "in use"]);
    shown.running.signal(Signal::Terminate).await;
    let _ = shown.running.ended().await.well();
}

/// A pipeline that has failed, and another that goes on without it.
#[tokio::test]
async fn a_pipeline_that_failed_is_named_with_its_reason() {
    let sandbox = Sandbox::new().await;
    let yaml = format!("version: 2.2\npipelines:\n{}{}", pipeline("a", PHOTOS), pipeline("b", "nowhere"));
    let file = sandbox.file("two.yaml", yaml);
    let shown = Shown::begin(sandbox.command(&["run", "--listen", "0", &file]).start()).await;
    let b = shown.until("b", |b| b["state"] == "failed").await;
    assert!(b["lastError"]["why"].as_str().unwrap().contains("bucket \"nowhere\" does not exist"), "{b}");
    shown.until("a", |a| a["state"] == "caught-up").await;
    let ready = shown.ask("/ready").await;
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("pipeline `b` has failed since 2") && !ready.body.contains("`a`"), "{}", ready.body);
    assert_eq!(shown.ask("/live").await.status, 200, "the process lives");
    shown.running.signal(Signal::Terminate).await;
    let ended = shown.running.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

/// In an outage a process is not ready and says since when and why; afterwards it is, and what was counted is still there.
pub async fn an_outage_is_shown_with_its_reason_and_its_end() {
    let mut sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let running = sandbox.source().args(&["--retry-pause", "50ms", "--listen", "0"]).start();
    let mut shown = Shown::begin(running).await;
    let before = shown.until("source", |source| source["state"] == "caught-up").await;
    let requests = |source: &Value| source["connectors"][0]["requests"].as_u64().unwrap();
    sandbox.server.unplug();
    let away = shown.until("source", |source| source["state"] == "interrupted").await;
    // Nobody sees a progress line here: a line each minute takes its place.
    shown.running.says("3 records, ").await;
    assert!(away["outage"]["why"].as_str().unwrap().contains("the connection was refused"), "{away}");
    assert_eq!((&away["outages"], &away["recordsStored"]), (&1.into(), &3.into()));
    assert!(away["lagSeconds"].as_f64().unwrap() > 30.0, "{away}");
    let ready = shown.ask("/ready").await;
    assert!(ready.status == 503 && ready.body.contains("is interrupted since 2"), "{}", ready.body);
    let metrics = shown.metrics("*/*").await;
    assert!(metrics["s3_connector_outage_seconds{pipeline=\"source\"}"] > 30.0);

    sandbox.server.plug().await.unwrap();
    sandbox.server.store().put(PHOTOS, "later", "x").unwrap();
    let after = shown.until("source", |source| source["state"] == "caught-up" && source["recordsStored"] == 4).await;
    assert_eq!((&after["outage"], &after["outages"]), (&Value::Null, &1.into()));
    assert!(after["lastError"]["why"].is_string(), "what was mended is remembered");
    assert!(requests(&after) > requests(&before), "what is counted goes on: {after}");
    assert_eq!(shown.ask("/ready").await.status, 200);
    shown.running.signal(Signal::Terminate).await;
    let _ = shown.running.ended().await.well();
}

/// The page in a browser, which `make page` names. It leaves a picture of it beside what it was built with.
#[tokio::test]
async fn a_browser_shows_what_runs_and_runs_nothing_that_a_key_says() {
    let Some(browser) = std::env::var_os("S3_CONNECTOR_CHROMIUM") else { return };
    let sandbox = Sandbox::new().await;
    for n in 0..4 {
        sandbox.put(&format!("a/{n}"), "content");
    }
    sandbox.put("a/<img src=x onerror=\"document.title='taken over'\">", &"x".repeat(101));
    let yaml = format!("version: 2.2\npipelines:\n{}{}", pipeline("a", PHOTOS), pipeline("b", "nowhere"));
    let file = sandbox.file("two.yaml", yaml);
    let shown = Shown::begin(sandbox.command(&["run", "--listen", "0", &file]).start()).await;
    shown.until("a", |a| a["state"] == "caught-up" && a["recordsStored"] == 4).await;
    shown.until("b", |b| b["state"] == "failed").await;

    let picture = s3_connector_tests::process::binary().with_file_name("page.png");
    let page = format!("http://{}/", shown.address);
    let look = async |what: &str| {
        let profile = sandbox.path("browser");
        let done = tokio::process::Command::new(&browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--window-size=1100,1000",
                "--virtual-time-budget=5000",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args([what, &page])
            .output();
        let done = timeout(PATIENCE, done).await.unwrap().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let document = look("--dump-dom").await;
    for part in [
        "<h2>a</h2><span class=\"state good\">caught up</span>",
        "<dt>stored</dt><dd>4</dd>",
        "<dt>skipped</dt><dd>1</dd>",
        "<span class=\"state bad\">failed</span>",
        "bucket \"nowhere\" does not exist",
        "<code>a/&lt;img src=x onerror=",
        "<title>\u{26a0} s3-connector</title>",
        "<polyline points=\"",
    ] {
        assert!(document.contains(part), "no `{part}` in {document}");
    }
    look(&format!("--screenshot={}", picture.display())).await;
    let png = std::fs::read(&picture).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.len() > 20_000, "a picture of something: {}", png.len());
    shown.running.signal(Signal::Terminate).await;
    let _ = shown.running.ended().await;
}
