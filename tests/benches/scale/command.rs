//! Owns the command as a process: its start, its end, and what the system says of it. Leaves its lines to `lines`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

use super::double::Double;
use super::lines::{self, Lines};

/// How often something is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(5);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(1800);

/// In which Linux counts processor time for programs, whatever its own clock is.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running `s3-connector source`.
pub(super) struct Source {
    process: Child,
    lines: Arc<Mutex<Lines>>,
    /// When it was started, in microseconds since 1970.
    pub(super) started: u64,
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Seconds of processor time so far.
    pub(super) cpu: f64,
    /// Bytes resident at most since the peak was reset.
    pub(super) peak: u64,
    /// Bytes written to files so far.
    pub(super) written: u64,
}

impl Source {
    /// Starts it on a bucket, with state in a folder.
    pub(super) fn start(binary: &Path, double: &Double, bucket: &str, state: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary);
        command
            .args(["source", "--quiet", "--set", &format!("aws.bucket={bucket}"), "--state"])
            .arg(state)
            .args(arguments);
        command
            .env("AWS_ACCESS_KEY_ID", "bench")
            .env("AWS_SECRET_ACCESS_KEY", "benchbench")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL_S3", double.endpoint())
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let started = micros();
        let mut process = command.spawn().expect("the command starts");
        let lines = lines::read(process.stdout.take().expect("it is a pipe"));
        Self { process, lines, started }
    }

    /// What it printed so far.
    pub(super) fn lines(&self) -> Lines {
        self.lines.lock().expect("no thread panics").clone()
    }

    /// Waits until something holds. Fails if the command ends before.
    pub(super) async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !holds(self) {
                if let Some(status) = self.process.try_wait().expect("it is ours") {
                    panic!("the command ended ({status}) before: {what}");
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
    }

    /// Waits until it ends by itself. Returns what it used, a moment before its end.
    pub(super) async fn ended(mut self) -> (ExitStatus, Usage, Lines) {
        let mut usage = Usage::default();
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("it is ours") {
                break status;
            }
            usage = self.usage().unwrap_or(usage);
            tokio::time::sleep(LOOK).await;
        };
        (status, usage, self.lines())
    }

    /// Ends it by a signal, and waits for that.
    pub(super) async fn stop(mut self) {
        let pid = Pid::from_raw(self.process.id() as i32).expect("a process has a number");
        kill_process(pid, Signal::TERM).expect("it is ours");
        while self.process.try_wait().expect("it is ours").is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What it used; nothing once it has ended.
    pub(super) fn usage(&self) -> Option<Usage> {
        let read = |name: &str| std::fs::read_to_string(self.proc(name)).ok();
        let field = |text: &str, name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let stat = read("stat")?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        Some(Usage {
            cpu: ticks as f64 / TICKS_PER_SECOND,
            peak: field(&read("status")?, "VmHWM:")? << 10,
            written: field(&read("io")?, "write_bytes:")?,
        })
    }

    /// Measures the peak of memory from now on.
    pub(super) fn reset_peak(&self) {
        std::fs::write(self.proc("clear_refs"), "5").expect("it is ours");
    }

    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.process.id()))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Microseconds since 1970.
pub(super) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Bytes that a folder takes on the disk.
pub(super) fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries.filter_map(|entry| entry.ok()?.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}
