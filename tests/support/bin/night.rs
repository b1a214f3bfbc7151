//! A night with the command: two pipelines, a store that goes away, an object that can't be read, a disk that is full, files that change.
//! At each point it prints what the log, the probes, the status, the metrics and the page say, and fails where that is not so.
//!
//! It mounts a small disk, for which it needs a mount namespace of its own: `make night` makes one.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use embedded_s3::{EmbeddedS3, Options, Versioning};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// How long something may take to show, besides what it is made to take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The small disk.
const DISK_BYTES: &str = "8m";

/// Metrics of which each point shows those that changed.
const METRICS: [&str; 9] = [
    "records_stored_total",
    "objects_skipped_total",
    "lag_seconds",
    "changes_due",
    "outage_seconds",
    "outages_total",
    "failures_total",
    "reload_successful",
    "batches_stored_total",
];

#[tokio::main]
async fn main() -> ExitCode {
    match night().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the night went wrong: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn night() -> Result<()> {
    let away = std::env::var("NIGHT_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(600);
    let mut night = Night::begin().await?;
    night.evening().await?;
    night.a_store_is_away(Duration::from_secs(away)).await?;
    night.an_object_is_poison().await?;
    night.the_disk_is_full().await?;
    night.the_files_change().await?;
    night.morning().await
}

struct Night {
    started: Instant,
    folder: PathBuf,
    photos: EmbeddedS3,
    lake: EmbeddedS3,
    command: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
    /// Lines of the log that were shown.
    shown: usize,
    metrics: Vec<String>,
}

impl Drop for Night {
    fn drop(&mut self) {
        // The disk goes with the namespace; what is left behind in a temporary folder is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Night {
    async fn begin() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("s3-connector-night-{}", std::process::id()));
        let disk = folder.join("disk");
        std::fs::create_dir_all(&disk)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "night"])
            .arg(&disk)
            .status()
            .await?;
        if !mounted.success() {
            return Err("the small disk can't be mounted: run it by `make night`".into());
        }
        let (photos, lake) =
            (EmbeddedS3::start(Options::default()).await?, EmbeddedS3::start(Options::default()).await?);
        for (server, bucket) in [(&photos, "photos"), (&photos, "orders"), (&lake, "lake")] {
            server.store().create_bucket(bucket)?;
            server.store().set_versioning(bucket, Versioning::Enabled)?;
        }
        for n in 0..200 {
            photos.store().put("photos", &format!("2024/{n:03}.jpg"), format!("picture {n}"))?;
        }
        photos.store().put("orders", "monday.jsonl", "{\"id\": 1}\n{\"id\": 2}\n{\"id\": 3}\n".to_owned())?;
        write(&folder, &lake, "2024/", "")?;
        let (command, log) = start(&folder, &photos)?;
        let (shown, metrics, address) = (0, Vec::new(), String::new());
        let mut night = Self { started: Instant::now(), folder, photos, lake, command, address, log, shown, metrics };
        let line = night.says("listening on http://").await?;
        night.address = line.rsplit("http://").next().unwrap_or_default().trim_end_matches(['"', '}']).to_owned();
        Ok(night)
    }

    async fn evening(&mut self) -> Result<()> {
        self.until("photos", |p| p["state"] == "caught-up" && p["recordsStored"] == 200).await?;
        self.until("orders", |p| p["state"] == "caught-up" && p["recordsStored"] == 3).await?;
        self.point("Evening: both pipelines have caught up", 200).await
    }

    async fn a_store_is_away(&mut self, away: Duration) -> Result<()> {
        self.lake.unplug();
        let since = Instant::now();
        for n in 200..250 {
            self.photos.store().put("photos", &format!("2024/{n:03}.jpg"), format!("picture {n}"))?;
        }
        self.until("photos", |p| p["state"] == "interrupted").await?;
        self.photos.store().put("orders", "tuesday.jsonl", "{\"id\": 4}\n".to_owned())?;
        self.until("orders", |p| p["recordsStored"] == 4).await?;
        self.point("The destination's store is away: one pipeline waits, the other goes on", 503).await?;
        sleep(away.saturating_sub(since.elapsed())).await;
        self.point(&format!("It has been away for {} s", since.elapsed().as_secs()), 503).await?;
        self.lake.plug().await?;
        self.until("photos", |p| p["state"] == "caught-up" && p["recordsStored"] == 250).await?;
        self.point("It is back: what was found meanwhile is stored", 200).await
    }

    async fn an_object_is_poison(&mut self) -> Result<()> {
        self.photos.store().put("orders", "wednesday.jsonl", "{\"id\": 5}\n{\"id\": \n".to_owned())?;
        self.photos.store().put("orders", "wednesday2.jsonl", "{\"id\": 6}\n".to_owned())?;
        self.until("orders", |p| p["skipped"].as_u64() > Some(0) && p["recordsStored"].as_u64() >= Some(6)).await?;
        self.point("An object that is no JSON: passed over, with the reason, and counted", 200).await
    }

    async fn the_disk_is_full(&mut self) -> Result<()> {
        let ballast = self.folder.join("disk/ballast");
        let filled = std::fs::File::create(&ballast).and_then(|file| fill(&file));
        if filled.is_ok() {
            return Err("the small disk has no end".into());
        }
        for n in 0..50 {
            let rows: String = (0..200).map(|row| format!("{{\"id\": {row}, \"of\": {n}}}\n")).collect();
            self.photos.store().put("orders", &format!("thursday/{n:02}.jsonl"), rows)?;
        }
        self.until("orders", |p| p["state"] == "interrupted").await?;
        self.point("The disk is full: the pipeline that writes there waits, and says why", 503).await?;
        std::fs::remove_file(&ballast)?;
        self.until("orders", |p| p["state"] == "caught-up" && p["lagSeconds"] == 0.0).await?;
        self.point("There is room again: it goes on where it was", 200).await
    }

    async fn the_files_change(&mut self) -> Result<()> {
        write(&self.folder, &self.lake, "2024/", "    processors: [{id: x}]\n")?;
        self.hang_up().await?;
        self.says("nothing was reloaded").await?;
        self.point("SIGHUP, with a mistake in the file: nothing changes", 200).await?;
        write(&self.folder, &self.lake, "2024/", "")?;
        let more = std::fs::read_to_string(self.folder.join("night.yaml"))?;
        let more = more.replace("pollingPeriod: 1s, prefix: 2024/", "pollingPeriod: 2s, prefix: 2024/");
        std::fs::write(self.folder.join("night.yaml"), more)?;
        self.hang_up().await?;
        self.says("reloaded: 1 unchanged, 0 starting, 1 restarting, 0 stopping").await?;
        self.photos.store().put("photos", "2024/999.jpg", "the last picture".to_owned())?;
        self.until("photos", |p| p["state"] == "caught-up" && p["recordsStored"] == 1).await?;
        self.point("SIGHUP, with the mistake mended and a setting changed: one restarts at its position", 200).await
    }

    /// Everything has come, once each.
    async fn morning(mut self) -> Result<()> {
        signal(&self.command, "TERM").await?;
        let status = self.command.wait().await?;
        println!("\n## Morning: SIGTERM\n\nIt ended with {status}.\n");
        self.print_log();
        let orders = std::fs::read_to_string(self.folder.join("disk/orders.jsonl"))?;
        let (mut positions, mut count) = (std::collections::BTreeSet::new(), 0);
        for line in orders.lines() {
            let record: Value = serde_json::from_str(line)?;
            positions.insert(record["position"].to_string());
            count += 1;
        }
        println!("Rows in the file: {count}, {} of them different.", positions.len());
        let stored = self.lake.store().objects("lake")?;
        let pictures: usize =
            stored.iter().map(|object| object.body.iter().filter(|byte| **byte == b'\n').count()).sum();
        println!("Pictures in the lake: {pictures}, in {} objects.", stored.len());
        match (status.success(), positions.len(), pictures) {
            (true, rows, 251) if rows >= 3 + 1 + 2 + 50 * 200 => Ok(()),
            _ => Err("something is missing".into()),
        }
    }

    /// Shows how things stand. `ready` is what the probe must answer.
    async fn point(&mut self, title: &str, ready: u16) -> Result<()> {
        println!("\n## {title}\n\n{} after the start.\n", clock(self.started.elapsed()));
        self.print_log();
        let (status, body) = self.ask("/ready").await?;
        println!("`/ready`: {status}\n\n```\n{}\n```\n", body.trim_end());
        if status != ready {
            return Err(format!("/ready should have been {ready}").into());
        }
        let all: Value = serde_json::from_str(&self.ask("/status").await?.1)?;
        println!("`/status`, in part:\n\n```json");
        if let Some(error) = all["reload"]["error"].as_str() {
            println!("{{\"reload\": {{\"error\": {}}}}}", Value::from(error));
        }
        for pipeline in all["pipelines"].as_array().into_iter().flatten() {
            let parts =
                ["id", "state", "recordsStored", "lagSeconds", "outage", "outages", "skipped", "skippedObjects"];
            let part = |name: &&str| format!("\"{name}\": {}", pipeline[*name]);
            println!("{{{}}}", parts.iter().map(part).collect::<Vec<_>>().join(", "));
        }
        println!("```\n");
        let metrics = self.ask("/metrics").await?.1;
        let of_interest = |line: &&str| METRICS.iter().any(|name| line.starts_with(&format!("s3_connector_{name}")));
        let lines: Vec<String> = metrics.lines().filter(of_interest).map(str::to_owned).collect();
        println!("`/metrics`, what changed:\n\n```");
        lines.iter().filter(|line| !self.metrics.contains(line)).for_each(|line| println!("{line}"));
        println!("```");
        self.metrics = lines;
        self.print_page().await
    }

    /// What a person sees, if there is a browser.
    async fn print_page(&self) -> Result<()> {
        let Some(browser) = std::env::var_os("S3_CONNECTOR_CHROMIUM") else { return Ok(()) };
        let profile = format!("--user-data-dir={}", self.folder.join("browser").display());
        let page = format!("http://{}/", self.address);
        let look = Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", &profile])
            .args(["--dump-dom", &page])
            .output()
            .await?;
        let document = String::from_utf8_lossy(&look.stdout).into_owned();
        println!("\nThe page:\n\n```");
        for (start, end) in [("<span id=\"ready\"", "</span>"), ("<h2>", "</span>"), ("<p class=\"trouble", "</p>")] {
            for piece in document.split(start).skip(1) {
                let text = piece.split(end).next().unwrap_or_default();
                println!("{}", text_of(&format!("{start}{text}")));
            }
        }
        println!("```");
        Ok(())
    }

    fn print_log(&mut self) {
        let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        println!("The log since then:\n\n```");
        log[self.shown..].iter().for_each(|line| println!("{line}"));
        println!("```\n");
        self.shown = log.len();
    }

    /// Waits for a line of the log that was not shown yet.
    async fn says(&self, what: &str) -> Result<String> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let line = {
                let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                log[self.shown..].iter().find(|line| line.contains(what)).cloned()
            };
            if let Some(line) = line {
                return Ok(line);
            }
            sleep(Duration::from_millis(50)).await;
        }
        let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Err(format!("the log does not say `{what}`, but:\n{}", log[self.shown..].join("\n")).into())
    }

    /// Waits until the status of a pipeline is such.
    async fn until(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
        let (since, mut last) = (Instant::now(), Value::Null);
        while since.elapsed() < PATIENCE {
            let status: Value = serde_json::from_str(&self.ask("/status").await?.1)?;
            let pipelines = status["pipelines"].as_array().cloned().unwrap_or_default();
            last = pipelines.into_iter().find(|pipeline| pipeline["id"] == id).unwrap_or_default();
            if is_so(&last) {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("it never came to that: {last}").into())
    }

    async fn ask(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let host = &self.address;
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        Ok((head.split(' ').nth(1).unwrap_or_default().parse()?, body.to_owned()))
    }

    async fn hang_up(&self) -> Result<()> {
        signal(&self.command, "HUP").await
    }
}

async fn signal(command: &Child, name: &str) -> Result<()> {
    let pid = command.id().ok_or("it has ended")?.to_string();
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().await?;
    if sent.success() { Ok(()) } else { Err("the signal was not sent".into()) }
}

/// Starts the command, whose log is kept and echoed nowhere.
fn start(folder: &Path, photos: &EmbeddedS3) -> Result<(Child, Arc<Mutex<Vec<String>>>)> {
    let mut command = Command::new(binary()?);
    command
        .args(["run", "--listen", "0", "--state", "disk/state", "--retry-pause", "5s", "-v", "night.yaml"])
        .current_dir(folder)
        .env("AWS_ACCESS_KEY_ID", embedded_s3::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", embedded_s3::SECRET_KEY)
        .env("AWS_REGION", embedded_s3::REGION_DEFAULT)
        .env("AWS_ENDPOINT_URL_S3", photos.endpoint())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let stderr = child.stderr.take().ok_or("there is no stderr")?;
    tokio::spawn(async move {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
        }
    });
    Ok((child, log))
}

fn binary() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("s3-connector"))
}

/// Writes the pipeline file, with more lines in its last pipeline.
fn write(folder: &Path, lake: &EmbeddedS3, prefix: &str, more: &str) -> Result<()> {
    let yaml = format!(
        "version: 2.2
pipelines:
  - id: photos
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: photos, pollingPeriod: 1s, prefix: {prefix}}}}}
      - {{id: out, type: destination, plugin: s3, settings:
          {{aws.bucket: lake, aws.endpoint: '{}', format: json, bufferDelay: 1s}}}}
  - id: orders
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: orders, pollingPeriod: 1s, decode: json, unreadable: skip, onBadRow: skip}}}}
      - {{id: out, type: destination, plugin: file, settings: {{path: disk/orders.jsonl}}}}
{more}",
        lake.endpoint()
    );
    Ok(std::fs::write(folder.join("night.yaml"), yaml)?)
}

/// Writes until there is no room.
fn fill(mut file: &std::fs::File) -> std::io::Result<()> {
    use std::io::Write as _;
    // More than the disk has.
    for _ in 0..1 << 14 {
        file.write_all(&[0; 4096])?;
    }
    Ok(())
}

/// HTML without its tags.
fn text_of(html: &str) -> String {
    let (mut text, mut is_tag) = (String::new(), false);
    for character in html.chars() {
        match character {
            '<' => {
                is_tag = true;
                text.push(' ');
            }
            '>' => is_tag = false,
            character if !is_tag => text.push(character),
            _ => {}
        }
    }
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn clock(passed: Duration) -> String {
    format!("{} min {} s", passed.as_secs() / 60, passed.as_secs() % 60)
}
