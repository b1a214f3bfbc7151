//! Owns the measurements of the command as a process: memory, requests, state on the disk, restarts, order and lag. Leaves
//! ratios of processor time to `core`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use s3_connector_tests::process::binary;

use super::Extent;
use super::command::{Source, Usage, disk_bytes, micros};
use super::double::{Counts, Double};
use super::goals::Goals;

const MIB: f64 = (1 << 20) as f64;

/// A poll follows another at once.
const POLLING: [&str; 2] = ["--set", "pollingPeriod=10ms"];

/// What every measurement needs.
struct Bench<'a> {
    double: Double,
    binary: PathBuf,
    folder: tempfile::TempDir,
    extent: &'a Extent,
    /// Whether a source can begin without a snapshot.
    starts_now: bool,
}

/// Measures all that is measured of processes.
pub(super) async fn measure(extent: &Extent, goals: &mut Goals) {
    let binary = binary();
    let beside = binary.parent().expect("a program is in a folder");
    let keys = extent.keys;
    let buckets = [
        ("million", format!("keys:{keys},changed:{},uploads:{}", keys / 5, keys / 10)),
        ("changing", format!("keys:{},rate:{}", keys / 10, keys / 100)),
        ("versions", format!("keys:1,changed:1,versions:{}", keys / 10)),
        ("desert", format!("keys:{},markers:{keys}", keys + 1)),
        ("empty-pages", format!("keys:{},markers:{keys},current-only:1", keys + 1)),
    ];
    let double = Double::start(beside, &buckets);
    let settings = std::process::Command::new(&binary).args(["spec", "--markdown"]).output().expect("the command runs");
    let starts_now = String::from_utf8_lossy(&settings.stdout).contains("| `start` |");
    let folder = tempfile::tempdir().expect("a folder");
    let bench = Bench { double, binary, folder, extent, starts_now };
    if extent.wants("million") {
        bench.million(goals).await;
    }
    for bucket in ["versions", "desert", "empty-pages"] {
        if extent.wants(bucket) {
            bench.odd(bucket, goals).await;
        }
    }
    if extent.wants("changing") {
        bench.changing(goals).await;
    }
}

impl Bench<'_> {
    fn state(&self, bucket: &str) -> PathBuf {
        self.folder.path().join(bucket)
    }

    fn start(&self, bucket: &str, arguments: &[&str]) -> Source {
        self.start_with(bucket, bucket, arguments)
    }

    fn start_with(&self, bucket: &str, state: &str, arguments: &[&str]) -> Source {
        let arguments: Vec<&str> = POLLING.iter().chain(arguments).copied().collect();
        Source::start(&self.binary, &self.double, bucket, &self.state(state), &arguments)
    }

    /// Runs until all is delivered, without a snapshot where that can be.
    async fn seed(&self, bucket: &str, begins_now: bool) -> (Usage, Counts, u64) {
        self.double.reset();
        let mut arguments = vec!["--until-caught-up", "--set", "concurrency=256"];
        if begins_now && self.starts_now {
            arguments.extend(["--set", "start=now"]);
        }
        let (status, usage, lines) = self.start(bucket, &arguments).ended().await;
        assert!(status.success(), "{bucket}: {status}");
        (usage, self.double.counts(), lines.count)
    }

    /// A bucket of a million keys: at rest, after a restart, and when a fifth of it has changed.
    async fn million(&self, goals: &mut Goals) {
        let keys = self.extent.keys;
        println!("the command, {keys} keys, a tenth of them with an abandoned upload");
        let begun = Instant::now();
        let (usage, counts, lines) = self.seed("million", true).await;
        let what = format!("first run, {lines} records: seconds");
        goals.figure(&what, format!("{:.1}", begun.elapsed().as_secs_f64()));
        goals.at_most("first run: MiB resident", usage.peak as f64 / MIB, 128.0, "");
        goals.at_most("abandoned uploads: requests for them", counts.of("ListMultipartUploads") as f64, 0.0, "");
        let disk = disk_bytes(&self.state("million"));
        goals.at_most("state on the disk, bytes per version", disk as f64 / keys as f64, 24.0, "");

        let (usage, counts) = self.idle_poll("million", &[], Some(goals)).await;
        goals.at_most("idle poll: objects requested", counts[1].of("GetObject") as f64, 0.0, "");
        let requests = counts[1].of("requests") - counts[0].of("requests");
        goals.at_most("idle poll: requests / pages", requests as f64 / keys.div_ceil(1000) as f64, 1.1, "");
        goals.at_most("idle poll: MiB resident", usage.peak as f64 / MIB, 64.0, "");
        goals.figure("idle poll: bytes written", usage.written);
        // Pages are read, and none of their keys is looked at.
        let parsing = self.idle_poll("excluded", &["--set", "keys.exclude=**", "--set", "start=now"], None).await.0;
        goals.figure("idle poll: seconds of processor time", format!("{:.2}", usage.cpu));
        goals.at_most("P6: idle poll / pages alone, processor time", usage.cpu / parsing.cpu, 1.1, "");
        self.fifth(goals).await;
    }

    /// What the second poll after a start uses, and the counts before and after it.
    async fn idle_poll(&self, state: &str, arguments: &[&str], goals: Option<&mut Goals>) -> (Usage, [Counts; 2]) {
        self.double.reset();
        let mut source = self.start_with("million", state, arguments);
        if let Some(goals) = goals {
            self.restart_time(&mut source, goals).await;
        }
        source.until("the first poll", |_| self.double.counts().of("polls") >= 2).await;
        source.reset_peak();
        let before = (source.usage().expect("it runs"), self.double.counts());
        source.until("the second poll", |_| self.double.counts().of("polls") >= 3).await;
        let after = (source.usage().expect("it runs"), self.double.counts());
        source.stop().await;
        let usage =
            Usage { cpu: after.0.cpu - before.0.cpu, peak: after.0.peak, written: after.0.written - before.0.written };
        (usage, [before.1, after.1])
    }

    async fn restart_time(&self, source: &mut Source, goals: &mut Goals) {
        source.until("a request", |_| self.double.counts().of("first") > 0).await;
        let first = self.double.counts().of("first");
        let seconds = first.saturating_sub(source.started) as f64 / 1e6;
        goals.at_most("restart with that state: seconds to the first request", seconds, 1.0, "");
    }

    /// One poll in which a fifth of the keys has changed.
    async fn fifth(&self, goals: &mut Goals) {
        let due = self.extent.keys / 5;
        let before = disk_bytes(&self.state("million"));
        self.double.generation("million", 2);
        self.double.reset();
        let mut source = self.start("million", &["--set", "concurrency=256"]);
        source.until("all changes", |source| source.lines().count >= due).await;
        let (usage, counts, lines) = (source.usage().expect("it runs"), self.double.counts(), source.lines());
        source.until("the poll after them", |_| self.double.counts().of("polls") > counts.of("polls") + 1).await;
        let settled = (source.usage().expect("it runs"), source.lines());
        source.stop().await;
        let what = |text: &str| format!("{due} of {} keys changed: {text}", self.extent.keys);
        let seconds = (micros() - counts.of("first")) as f64 / 1e6;
        goals.figure(&what("seconds, and of processor time"), format!("{seconds:.1}, {:.1}", usage.cpu));
        goals.at_most(&what("listings until the last was requested"), counts.of("polls-to-get") as f64, 1.0, "");
        goals.at_most(&what("out of the order of time"), lines.out_of_order as f64, 0.0, "");
        goals.holds(&what("records"), settled.1.count, &due.to_string(), settled.1.count == due);
        goals.at_most(&what("MiB resident"), settled.0.peak as f64 / MIB, 128.0, "");
        let written = settled.0.written as f64 / before as f64;
        goals.figure(&what("bytes written / state before"), format!("{written:.2}"));
        // The file held both the old segments and the new ones, and the plan. A restart gives the space back.
        let versions = (self.extent.keys + due) as f64;
        let at_most = disk_bytes(&self.state("million")) as f64 / versions;
        goals.figure(&what("state on the disk meanwhile, bytes per version"), format!("{at_most:.1}"));
        self.double.reset();
        let mut source = self.start("million", &[]);
        source.until("a poll", |_| self.double.counts().of("polls") >= 2).await;
        source.stop().await;
        let disk = disk_bytes(&self.state("million")) as f64;
        goals.at_most(&what("state on the disk after a restart, bytes per version"), disk / versions, 24.0, "");
    }

    /// A bucket of an odd shape: a first run, then one in which nothing is new.
    async fn odd(&self, bucket: &str, goals: &mut Goals) {
        println!("the command, bucket `{bucket}`");
        let (usage, counts, lines) = self.seed(bucket, false).await;
        let (list, pages) = match bucket {
            "versions" => ("ListObjectVersions", (self.extent.keys / 10).div_ceil(1000)),
            "desert" => ("ListObjectVersions", (self.extent.keys + 1).div_ceil(1000)),
            _ => ("ListObjectsV2", (self.extent.keys + 1).div_ceil(1000)),
        };
        goals.at_most(&format!("{bucket}: MiB resident"), usage.peak as f64 / MIB, 128.0, "");
        goals.holds(&format!("{bucket}: records"), lines, "1", lines == 1);
        goals.at_most(&format!("{bucket}: objects requested"), counts.of("GetObject") as f64, 1.0, "");
        // Each of them lists all pages once; besides, a look at the bucket, and versions that the store can't list.
        let expected = counts.of("polls") * pages + 2 + counts.of("GetObject");
        let what = format!("{bucket}: requests in {} listings", counts.of("polls"));
        goals.at_most(&what, counts.of("requests") as f64, expected as f64, "");
        goals.figure(&format!("{bucket}: {list} pages"), counts.of(list));
        goals.figure(&format!("{bucket}: state on the disk, KiB"), disk_bytes(&self.state(bucket)) >> 10);
        if bucket == "versions" {
            self.double.generation(bucket, 2);
            let (usage, counts, lines) = self.seed(bucket, false).await;
            goals.holds("versions: records of one more version", lines, "1", lines == 1);
            goals.at_most("versions: objects requested for it", counts.of("GetObject") as f64, 1.0, "");
            goals.at_most("versions: MiB resident then", usage.peak as f64 / MIB, 128.0, "");
        }
    }

    /// Keys that keep changing.
    async fn changing(&self, goals: &mut Goals) {
        let (rate, seconds) = (self.extent.keys / 100, self.extent.seconds);
        println!("the command, {rate} changes per second on {} keys for {seconds} s", self.extent.keys / 10);
        self.seed("changing", true).await;
        self.double.reset();
        let mut source = self.start("changing", &["--set", "concurrency=256"]);
        source.until("a poll", |_| self.double.counts().of("polls") >= 2).await;
        source.reset_peak();
        self.double.start_clock("changing");
        let started = Instant::now();
        source.until("the end of the changes", |_| started.elapsed() >= Duration::from_secs(seconds)).await;
        self.double.stop_clock("changing");
        let (stopped, so_far) = (micros() / 1_000_000, source.lines());
        let (due, behind) = (rate * seconds, Instant::now());
        let patience = Duration::from_secs(4 * seconds + 30);
        source.until("the rest", |source| source.lines().count >= due || behind.elapsed() > patience).await;
        let (lines, usage) = (source.lines(), source.usage().expect("it runs"));
        source.stop().await;
        lines.lags.print();
        let delivered = so_far.count as f64 / seconds as f64;
        goals.figure("changing keys: records per second meanwhile", format!("{delivered:.0} of {rate}"));
        goals.figure(
            "changing keys: seconds to the last one after the end",
            format!("{:.1}", behind.elapsed().as_secs_f64()),
        );
        goals.figure("changing keys: MiB resident", format!("{:.1}", usage.peak as f64 / MIB));
        goals.at_most(
            "changing keys: seconds of lag per second, second half",
            lines.lags.slope(stopped - seconds / 2, stopped),
            0.1,
            "",
        );
    }
}
