//! The connector's main job, shown on an S3 server in this process and checked step by step.
//!
//! It uses the command as a user would: its arguments, its variables, its standard streams. Whatever differs from
//! what must be ends the demo with an error.

#[path = "demo/lake.rs"]
mod lake;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use embedded_s3::{EmbeddedS3, ObjectHeaders, Options, Versioning};
use s3_connector::record::{Operation, json};
use s3_connector_tests::parquet;
use s3_connector_tests::world::{Record, key, payload, summary as lines};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const IN: &str = "demo-in";
const PLAIN: &str = "demo-plain";
const OUT: &str = "demo-out";
const OBJECTS: usize = 1000;

/// Keys that other tools stumble over.
const ODD_KEYS: [&str; 12] = [
    "odd/ spaces  in it ",
    "odd/späße/日本語",
    "odd/a+b",
    "odd/100%",
    "odd/a%20b",
    "/leading/slash",
    "odd//empty//segments",
    "odd/control\u{1}character",
    "odd/quote\"<&>'",
    "odd/under_s12345",
    "odd/tilde~AA",
    "odd/line\nbreak",
];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let started = Instant::now();
    let demo = Demo::start().await?;
    let mut model = demo.fill()?;
    let snapshot = demo.snapshot(&model).await?;
    let changes = demo.changes(&mut model).await?;
    demo.late_upload(&mut model).await?;
    demo.without_versions().await?;
    demo.survives_a_kill(&model).await?;
    let records = [snapshot, changes].concat();
    for format in ["json", "parquet"] {
        demo.writes_and_reads_back(format, &records).await?;
    }
    lake::becomes_a_table(&demo).await?;
    println!();
    println!("In {:.1} s, through the WebAssembly component, which never saw a key:", started.elapsed().as_secs_f32());
    println!("  - every object arrived byte for byte, whatever its key or content;");
    println!("  - every create, update and delete arrived once, in the order of each key, across a restart;");
    println!("  - an upload that landed late was told too, and deletes were found where no versions are kept;");
    println!("  - a process that was killed went on where its position stood, and lost nothing;");
    println!("  - records went into a bucket as JSON and as Parquet and read back as they were;");
    println!("  - rows of three kinds of files became one typed table, in folders that lakes read.");
    Ok(())
}

/// What the bucket holds.
type Model = BTreeMap<String, Bytes>;

struct Demo {
    server: EmbeddedS3,
    folder: PathBuf,
}

impl Drop for Demo {
    fn drop(&mut self) {
        // What is left behind in a temporary folder is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Demo {
    async fn start() -> Result<Self> {
        let server = EmbeddedS3::start(Options::default()).await?;
        for bucket in [IN, PLAIN, OUT] {
            server.store().create_bucket(bucket)?;
        }
        server.store().set_versioning(IN, Versioning::Enabled)?;
        let folder = std::env::temp_dir().join(format!("s3-connector-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        println!("An S3 server in memory listens on {}.", server.endpoint());
        Ok(Self { server, folder })
    }

    /// Fills a bucket with text, binary and empty objects, some of them with odd keys.
    fn fill(&self) -> Result<Model> {
        let plain = (0..OBJECTS - ODD_KEYS.len()).map(|n| format!("data/{n:04}"));
        let keys = plain.chain(ODD_KEYS.map(str::to_owned));
        let model: Model = keys.enumerate().map(|(n, key)| (key, content(n))).collect();
        for (key, body) in &model {
            self.server.store().put(IN, key, body.clone())?;
        }
        let bytes: usize = model.values().map(Bytes::len).sum();
        println!("Bucket {IN}: {} objects, {bytes} bytes, {} with odd keys.", model.len(), ODD_KEYS.len());
        Ok(model)
    }

    /// Takes the snapshot and compares it with the bucket.
    async fn snapshot(&self, model: &Model) -> Result<Vec<Record>> {
        let started = Instant::now();
        let records = self.source("state", IN).await?;
        ensure(records.len() == model.len(), || format!("{} of {} objects", records.len(), model.len()))?;
        for (record, (name, body)) in records.iter().zip(model) {
            ensure(record.operation == Operation::Snapshot, || format!("{name:?} is no snapshot"))?;
            ensure(key(record) == *name, || format!("{:?} instead of {name:?}", key(record)))?;
            ensure(payload(record).as_ref() == Some(body), || format!("the content of {name:?} differs"))?;
        }
        let seconds = started.elapsed().as_secs_f32();
        println!("Snapshot: all {} objects, in the order of keys, in {seconds:.1} s.", records.len());
        Ok(records)
    }

    /// Changes the bucket while nobody looks, and has the changes captured.
    async fn changes(&self, model: &mut Model) -> Result<Vec<Record>> {
        let store = self.server.store();
        let mut expected: BTreeMap<String, Vec<(Operation, Option<Bytes>)>> = BTreeMap::new();
        let mut put = |name: &str, body: &str| -> Result<()> {
            let body = Bytes::from(body.to_owned());
            store.put(IN, name, body.clone())?;
            let old = model.insert(name.to_owned(), body.clone());
            let operation = if old.is_some() { Operation::Update } else { Operation::Create };
            expected.entry(name.to_owned()).or_default().push((operation, Some(body)));
            Ok(())
        };
        for n in 0..20 {
            put(&format!("new/{n}"), "created")?;
        }
        for n in 0..20 {
            // Twice within a second: a timestamp would not tell them apart.
            put(&format!("data/{n:04}"), "changed once")?;
            put(&format!("data/{n:04}"), "changed twice")?;
        }
        put(ODD_KEYS[1], "changed")?;
        for name in ["data/0500", ODD_KEYS[2], ODD_KEYS[7]] {
            store.delete(IN, name)?;
            model.remove(name);
            expected.entry(name.to_owned()).or_default().push((Operation::Delete, None));
        }
        let records = self.source("state", IN).await?;
        let mut found: BTreeMap<String, Vec<(Operation, Option<Bytes>)>> = BTreeMap::new();
        for record in &records {
            found.entry(key(record)).or_default().push((record.operation, payload(record)));
        }
        ensure(found == expected, || format!("the changes differ: {found:?} instead of {expected:?}"))?;
        let count = |operation| records.iter().filter(|r| r.operation == operation).count();
        println!(
            "Changes: {} created, {} updated, {} deleted; each once, after the position of the last run.",
            count(Operation::Create),
            count(Operation::Update),
            count(Operation::Delete)
        );
        Ok(records)
    }

    /// Lets an upload land below what was stored since its start, as AWS does.
    async fn late_upload(&self, model: &mut Model) -> Result<()> {
        let (store, name) = (self.server.store(), "data/0900");
        let upload = store.begin_upload(IN, name, ObjectHeaders::default())?;
        store.upload_part(IN, name, &upload, 1, Bytes::from_static(b"uploaded"))?;
        store.put(IN, name, "on top")?;
        model.insert(name.to_owned(), Bytes::from_static(b"on top"));
        let told = lines(&self.source("state", IN).await?);
        ensure(told == ["update data/0900 on top"], || format!("before the upload completes: {told:?}"))?;
        store.complete_upload(IN, name, &upload)?;
        let told = lines(&self.source("state", IN).await?);
        let expected = ["update data/0900 uploaded", "update data/0900 on top"];
        ensure(told == expected, || format!("after the upload completed: {told:?}"))?;
        println!("An upload that landed below a newer version: it was told, and what is on top once more.");
        Ok(())
    }

    /// Changes and deletes objects in a bucket that keeps no versions.
    async fn without_versions(&self) -> Result<()> {
        let store = self.server.store();
        for name in ["a", "b", "c"] {
            store.put(PLAIN, name, "1")?;
        }
        let told = lines(&self.source("plain", PLAIN).await?);
        ensure(told == ["snapshot a 1", "snapshot b 1", "snapshot c 1"], || format!("{told:?}"))?;
        store.put(PLAIN, "a", "two")?;
        store.delete(PLAIN, "b")?;
        let mut told = lines(&self.source("plain", PLAIN).await?);
        told.sort();
        ensure(told == ["delete b -", "update a two"], || format!("without versions: {told:?}"))?;
        println!("Bucket {PLAIN} keeps no versions: an update and a delete were found all the same.");
        Ok(())
    }

    /// Kills a snapshot in the middle, without warning, and lets another process go on.
    async fn survives_a_kill(&self, model: &Model) -> Result<()> {
        let mut child = self
            .command("source", IN)
            .args(["--state", &self.path("killed"), "--set", "concurrency=4"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut seen = BTreeSet::new();
        while seen.len() < OBJECTS / 3 {
            let line = lines.next_line().await?.ok_or("the source ended early")?;
            seen.insert(key(&json::decode_line(line.as_bytes())?));
        }
        child.kill().await?;
        // What was in the pipe when it died was printed, and so is known.
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(record) = json::decode_line(line.as_bytes()) {
                seen.insert(key(&record));
            }
        }
        let before = seen.len();
        let rest = self.source("killed", IN).await?;
        let repeated = rest.iter().filter(|record| seen.contains(&key(record))).count();
        ensure(rest.len() < model.len(), || "the snapshot started over".to_owned())?;
        seen.extend(rest.iter().map(key));
        let missing = model.keys().filter(|key| !seen.contains(*key)).count();
        ensure(missing == 0, || format!("{missing} objects were lost"))?;
        println!("Kill -9 after {before} records: the next process went on; {repeated} came twice, none was lost.");
        Ok(())
    }

    /// Writes records to a bucket and compares what a reader of the format finds there.
    async fn writes_and_reads_back(&self, format: &str, records: &[Record]) -> Result<()> {
        let mut lines = Vec::new();
        records.iter().for_each(|record| json::encode_line(record, &mut lines));
        let prefix = format!("{format}/");
        let mut child = self
            .command("destination", OUT)
            .args(["--set", &format!("format={format}"), "--set", &format!("prefix={prefix}")])
            .args(["--set", "bufferSize=300"])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().ok_or("no input")?;
        input.write_all(&lines).await?;
        drop(input);
        let status = child.wait().await?;
        ensure(status.success(), || format!("the destination ended with {status}"))?;
        let mut found = Vec::new();
        let mut objects = 0;
        for object in self.server.store().objects(OUT)?.into_iter().filter(|o| o.key.starts_with(&prefix)) {
            objects += 1;
            if format == "parquet" {
                found.extend(parquet::read(&object.body)?);
            } else {
                for line in object.body.split_inclusive(|byte| *byte == b'\n') {
                    found.push(json::decode_line(line)?);
                }
            }
        }
        let sorted = |records: &[Record]| {
            let mut records = records.to_vec();
            records.sort_by(|a, b| a.position.cmp(&b.position));
            records
        };
        ensure(sorted(&found) == sorted(records), || format!("what was read from {format} differs"))?;
        println!("Written as {format}: {} records in {objects} objects; read back, all the same.", found.len());
        Ok(())
    }

    /// Runs the source until it has caught up and returns what it printed.
    async fn source(&self, state: &str, bucket: &str) -> Result<Vec<Record>> {
        self.source_with(state, bucket, &[]).await
    }

    /// Likewise, with more settings, each `NAME=VALUE`.
    async fn source_with(&self, state: &str, bucket: &str, settings: &[&str]) -> Result<Vec<Record>> {
        let output = self
            .command("source", bucket)
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .args(["--state", &self.path(state), "--until-caught-up"])
            .stdout(Stdio::piped())
            .spawn()?
            .wait_with_output()
            .await?;
        ensure(output.status.success(), || format!("the source ended with {}", output.status))?;
        for secret in [embedded_s3::SECRET_KEY, &STANDARD.encode(embedded_s3::SECRET_KEY)] {
            ensure(!contains(&output.stdout, secret), || "a secret was printed".to_owned())?;
        }
        let lines = output.stdout.split_inclusive(|byte| *byte == b'\n');
        Ok(lines.map(json::decode_line).collect::<Result<_, _>>()?)
    }

    fn command(&self, name: &str, bucket: &str) -> Command {
        let mut command = self.bare();
        command.args([name, "--set", &format!("aws.bucket={bucket}")]);
        command
    }

    /// The command, without arguments.
    fn bare(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("--quiet")
            .env("AWS_ACCESS_KEY_ID", embedded_s3::ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", embedded_s3::SECRET_KEY)
            .env("AWS_REGION", embedded_s3::REGION_DEFAULT)
            .env("AWS_ENDPOINT_URL_S3", self.server.endpoint())
            .kill_on_drop(true);
        command
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// Text, bytes of no encoding, or nothing.
fn content(n: usize) -> Bytes {
    match n % 4 {
        0 => Bytes::new(),
        1 => Bytes::from((0..=255).cycle().skip(n).take(4096).collect::<Vec<u8>>()),
        2 => Bytes::from(format!("The text of object {n}, zwölf Boxkämpfer.\n").repeat(20)),
        // Larger than what the host reads at once.
        _ if n % 100 == 3 => Bytes::from(vec![0xff; 2 << 20]),
        _ => Bytes::from_static(b"\xff\xfe\x00\x80"),
    }
}

/// The command that was built with this one.
fn binary() -> PathBuf {
    let this = std::env::current_exe().unwrap_or_default();
    this.parent().unwrap_or_else(|| Path::new(".")).join("s3-connector")
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result<()> {
    if condition { Ok(()) } else { Err(what().into()) }
}
