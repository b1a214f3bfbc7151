//! Owns the processes of a measurement: the double and the contenders, each on its core, in turns. Leaves what they do to `work`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3_connector_tests::process::binary;

use super::copies;
use super::double::Double;
use super::drain;
use super::native;
use super::outcome::{Outcome, Resident, Turn, cpu};
use super::rows;
use super::work::{Contender, Kind, Work};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How long a turn may take.
const PATIENCE: Duration = Duration::from_secs(5400);

/// What a contender knows of AWS.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("AWS_ACCESS_KEY_ID", "bench"),
    ("AWS_SECRET_ACCESS_KEY", "benchbench"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_CONFIG_FILE", "/dev/null"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// The bucket of a measurement.
pub(super) const BUCKET: &str = "bench";

/// The file that all objects of a measurement are, if there is one.
const FILE: &str = "rows";

/// The double of a measurement.
pub(super) struct Bench {
    double: Double,
    folder: tempfile::TempDir,
}

/// The folder for what is built.
pub(super) fn target() -> PathBuf {
    let binary = binary();
    binary.ancestors().nth(2).expect("a program is in the folder of its profile").to_owned()
}

/// A command on a core of its own, where there are several and the system lets us.
fn on_core(core: &str, program: &Path) -> Command {
    let is_several = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1);
    let can = is_several && Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !can {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", core]).arg(program);
    command
}

impl Bench {
    /// Starts the double of a measurement.
    pub(super) fn start(work: &Work) -> Self {
        let beside = binary().parent().expect("a program is in a folder").to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let mut double = on_core("0", &beside.join("synthetic-s3"));
        if let Some((format, rows)) = work.file {
            let file = folder.path().join(FILE);
            rows::write(format, &file, rows);
            double.arg("--body").arg(format!("{BUCKET}={}", file.display()));
        }
        let double = Double::start_by(double, &[(BUCKET, work.rule.to_owned()), (copies::COPY, "keys:0".to_owned())]);
        Self { double, folder }
    }

    /// Has the contenders take turns.
    pub(super) fn measure(&self, work: &Work, rounds: usize) -> Vec<Outcome> {
        let contenders = work.contenders.iter();
        let mut outcomes: Vec<_> =
            contenders.map(|contender| Outcome { name: contender.name, turns: Vec::new() }).collect();
        for round in 0..rounds {
            for (contender, outcome) in work.contenders.iter().zip(&mut outcomes) {
                let turn = self.turn(work, contender);
                println!(
                    "{} round {}: {:<28} {:>8.3} s, {:>7.2} s CPU, {:>6.0} MiB, {} requests",
                    work.id,
                    round + 1,
                    contender.name,
                    turn.window,
                    turn.cpu,
                    turn.peak / f64::from(1 << 20),
                    turn.counts.of("requests"),
                );
                outcome.turns.push(turn);
            }
        }
        outcomes
    }

    fn turn(&self, work: &Work, contender: &Contender) -> Turn {
        let mut command = self.command(work, &contender.kind);
        if matches!(contender.kind, Kind::Again { .. }) && !self.kept_state().exists() {
            self.double.weather("");
            let status = self.command(work, &contender.kind).status().expect("it starts");
            assert!(status.success(), "{} failed: {status}", contender.name);
        }
        self.double.weather(contender.weather);
        self.double.reset();
        let us = std::process::id();
        let (before, double_before) = (cpu(us).1, cpu(self.double.pid()).0);
        let (began, begun) = (micros(), Instant::now());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{} starts: {error}", contender.name));
        let resident = watch(&mut process, contender.name);
        let seconds = begun.elapsed().as_secs_f64();
        let counts = self.double.counts();
        let since = |name: &str| counts.of(name).saturating_sub(began) as f64 / 1e6;
        let window = match contender.kind {
            // It goes on until it has seen that nothing is new. The last answer takes as long as the others.
            Kind::Lines { limit: None, .. } | Kind::Again { .. } => {
                since("last") - since("first") + counts.of("serving") as f64 / 1e6
            }
            _ => seconds - since("first"),
        };
        Turn {
            seconds,
            window,
            first: since("first"),
            cpu: cpu(us).1 - before,
            peak: resident.peak,
            growth: resident.growth(),
            double: cpu(self.double.pid()).0 - double_before,
            counts,
        }
    }

    fn command(&self, work: &Work, kind: &Kind) -> Command {
        let settings = |settings: &[&str]| -> Vec<String> {
            let common = [format!("aws.bucket={BUCKET}"), format!("aws.endpoint={}", self.double.endpoint())];
            common.into_iter().chain(settings.iter().map(|setting| (*setting).to_owned())).collect()
        };
        let mut command = match kind {
            Kind::Lines { settings: given, .. } | Kind::Again { settings: given } => {
                let mut command = on_core("1", &binary());
                command.args(["source", "--quiet"]);
                match kind {
                    Kind::Lines { limit: Some(limit), .. } => command.args(["--limit", &limit.to_string()]),
                    _ => command.arg("--until-caught-up"),
                };
                for setting in settings(given) {
                    command.arg("--set").arg(setting);
                }
                let keeps = matches!(kind, Kind::Again { .. });
                command.arg("--state").arg(if keeps { self.kept_state() } else { self.fresh_state() });
                command
            }
            Kind::Records { settings: given, records } => {
                let mut command = on_core("1", &binary());
                command.args(["destination", "--quiet"]).stdin(self.records(*records));
                for setting in settings(given) {
                    command.arg("--set").arg(setting);
                }
                command
            }
            Kind::Native { format, records } => {
                let mut command = on_core("1", &std::env::current_exe().expect("a program has a path"));
                command.arg(native::ARGUMENT).arg(format).stdin(self.records(*records));
                command
            }
            Kind::Rows { format, times } => {
                let mut command = on_core("1", &std::env::current_exe().expect("a program has a path"));
                command.args([rows::ARGUMENT, format]).arg(self.folder.path().join(FILE)).arg(times.to_string());
                command
            }
            Kind::Drain { settings: given, objects } => {
                let mut command = on_core("1", &std::env::current_exe().expect("a program has a path"));
                command.arg(drain::ARGUMENT).arg(objects.to_string()).args(settings(given));
                command
            }
            Kind::Ahead | Kind::First => return self.one_object(work, kind),
            Kind::Copy => {
                let mut command = on_core("1", &binary());
                let file = self.folder.path().join("copy.yaml");
                std::fs::write(&file, copies::pipeline(&self.double.endpoint(), BUCKET)).expect("a file");
                command.args(["run", "--quiet", "--until-caught-up", "--state"]).arg(self.fresh_state()).arg(file);
                command
            }
            Kind::Rclone => {
                let mut command = on_core("1", &copies::rclone().expect("it was there"));
                command.args(copies::arguments(BUCKET)).envs(copies::variables(&self.double.endpoint()));
                command
            }
            Kind::Peer { client, concurrency, objects } => {
                let mut command = on_core("1", &target().join("peers/release/peer"));
                command.args([client, "--address", self.double.address(), "--bucket", BUCKET, "--rule", work.rule]);
                command.stdin(Stdio::null()).arg("--concurrency").arg(concurrency.to_string());
                if let Some(objects) = objects {
                    command.arg("--objects").arg(objects.to_string());
                }
                command
            }
        };
        command.envs(ENVIRONMENT).stdout(Stdio::null());
        command
    }

    /// A program that embeds the connector and reads one object: with code that was compiled ahead, or with none at all.
    fn one_object(&self, work: &Work, kind: &Kind) -> Command {
        let mut command = self.command(work, &Kind::Drain { settings: &[], objects: 1 });
        if matches!(kind, Kind::Ahead) {
            command.env(drain::CODE, binary().with_file_name("s3_connector.code"));
        } else {
            let cache = self.folder.path().join("cache");
            let _ = std::fs::remove_dir_all(&cache);
            command.env("XDG_CACHE_HOME", cache);
        }
        command
    }

    /// A folder for state, which costs what it costs: each turn begins without any.
    fn fresh_state(&self) -> PathBuf {
        let state = self.folder.path().join("state");
        let _ = std::fs::remove_dir_all(&state);
        state
    }

    /// A folder for state that outlives a turn.
    fn kept_state(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    /// Lines of so many records, written once.
    fn records(&self, records: u64) -> File {
        let path = self.folder.path().join("records.jsonl");
        if !path.exists() {
            let mut lines = BufWriter::new(File::create(&path).expect("a file"));
            for number in 0..records {
                let payload = format!("{{\"id\":{number},\"text\":\"{}\"}}", "x".repeat(230));
                let [position, key, payload] =
                    [format!("position-{number:09}"), number.to_string(), payload].map(|text| STANDARD.encode(text));
                writeln!(
                    lines,
                    "{{\"position\":\"{position}\",\"operation\":\"create\",\"metadata\":{{\"opencdc.collection\":\"rows\"}},\
                     \"key\":\"{key}\",\"payload\":{{\"before\":null,\"after\":\"{payload}\"}}}}"
                )
                .expect("the disk has room");
            }
            lines.flush().expect("the disk has room");
        }
        File::open(&path).expect("it was written")
    }
}

/// Waits until a process ends. Returns what memory it had.
fn watch(process: &mut Child, name: &str) -> Resident {
    let (begun, mut resident) = (Instant::now(), Resident::default());
    loop {
        if let Some(status) = process.try_wait().expect("it is ours") {
            assert!(status.success(), "{name} failed: {status}");
            return resident;
        }
        resident.look(process.id());
        if begun.elapsed() > PATIENCE {
            let _ = process.kill();
            let _ = process.wait();
            panic!("{name} took longer than {} s", PATIENCE.as_secs());
        }
        #[allow(clippy::disallowed_methods, reason = "a bench looks at processes at even times")]
        std::thread::park_timeout(LOOK);
    }
}

/// Microseconds since 1970.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
