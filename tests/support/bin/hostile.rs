//! Owns the command of `make hostile`: a component that attacks its host, one attack after the other, beside a well-behaved source in the
//! same process. Prints what stopped each attack and what speed the neighbour kept; those that are named, or all. Leaves what an attack does to the package
//! `s3-connector-hostile`, and what each bound is exactly to the tests in `attacks/`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use s3_connector_host::record::Data;
use s3_connector_host::state::{MemoryState, Quota};
use s3_connector_host::{Connector, Error, InstanceOptions, Options, Result, Settings};
use s3_connector_tests::hostile;
use s3_connector_tests::world::{Bucket, Conditions, Env};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a neighbour must keep of its speed beside one instance that attacks.
const KEPT_MIN: f64 = 0.9;

/// Measurements of each attack, each beside one in calm; as many again where the median is too low, since others use the machine.
const ROUNDS: usize = 3;
const ROUNDS_MAX: usize = 9;

/// Objects that the neighbour reads per measurement, and how many at a time.
const OBJECTS: usize = 160;
const CONCURRENCY: &str = "8";

/// What a store takes to answer, as one in the same region does.
const LATENCY: Duration = Duration::from_millis(30);

/// How long a call may compute here, which is a minute otherwise.
const COMPUTE_MAX: Duration = Duration::from_millis(500);

/// How long an attack has to end. Those that must end take less than one second.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one is watched that must not end.
const WATCHED: Duration = Duration::from_secs(1);

/// Lines of one origin that the host logs per second. The notes on what was dropped come on top of it.
const LINES_PER_SECOND: u64 = 256;

/// How an attack must end.
#[derive(Clone, Copy)]
enum End {
    /// The instance is ended, and the error says this.
    Ended(&'static str),
    /// The component is told this.
    Told(&'static str),
    /// The component is told its settings, without the keys.
    Blind,
    /// The component is told a number of bytes, and it is no larger.
    Took(u64),
    /// Fewer lines than it wrote were logged.
    Logged,
    /// Never: its call is dropped, as the grace of a signal does.
    Dropped,
}

/// An attack, the bound that stops it, and how it ends.
struct Attack {
    name: &'static str,
    bound: &'static str,
    settings: &'static [(&'static str, &'static str)],
    end: End,
    /// Whether as many instances strike at once as there are processors, or one.
    is_on_all_cores: bool,
    /// What the neighbour must keep of its speed.
    kept_min: f64,
}

const fn attack(
    name: &'static str,
    bound: &'static str,
    end: End,
    settings: &'static [(&'static str, &'static str)],
) -> Attack {
    Attack { name, bound, settings, end, is_on_all_cores: false, kept_min: KEPT_MIN }
}

/// As many instances as there are processors: each step of the neighbour waits until one gives way.
const fn on_all_cores(kept_min: f64, attack: Attack) -> Attack {
    Attack { kept_min, is_on_all_cores: true, ..attack }
}

const SPIN: &[(&str, &str)] = &[("attack", "spin"), ("at", "read")];
const FILL: &[(&str, &str)] = &[("attack", "fill"), ("at", "read")];
// As much as one call may have the host do.
const DRAW: &[(&str, &str)] = &[("attack", "draw"), ("at", "read"), ("bytes", "65536")];
const MUMBLE: &[(&str, &str)] = &[("attack", "mumble"), ("at", "read"), ("bytes", "4194304")];
const LIST: &[(&str, &str)] = &[("attack", "list"), ("at", "read"), ("bytes", "87381")];

const ATTACKS: &[Attack] = &[
    attack("keys", "redacted by the host", End::Blind, &[("attack", "settings")]),
    attack(
        "another bucket",
        "what may be sent",
        End::Told("refused: ErrorCode::HttpRequestDenied"),
        &[("attack", "request"), ("request.path", "/elsewhere/key")],
    ),
    attack(
        "refused requests",
        "256 lines per second",
        End::Logged,
        &[("attack", "ask"), ("count", "5000"), ("request.path", "/elsewhere/key")],
    ),
    attack(
        "memory",
        "1 GiB per instance",
        End::Ended("more memory than an instance may have"),
        &[("attack", "grow"), ("bytes", "1073741824")],
    ),
    attack(
        "handles",
        "16,384 per instance",
        End::Ended("cannot allocate another"),
        &[("attack", "handles"), ("count", "16385")],
    ),
    attack(
        "header fields",
        "16 KiB per request",
        End::Ended("total size of fields exceeds limit"),
        &[("attack", "fields"), ("bytes", "16385")],
    ),
    attack("bodies never sent", "two pieces of 1 MiB", End::Took(2 << 20), &[("attack", "unsent")]),
    attack(
        "state",
        "quota of the store",
        End::Told("no more state can be kept"),
        &[("attack", "hoard"), ("count", "200"), ("bytes", "65536")],
    ),
    attack(
        "records",
        "as many as asked for",
        End::Ended("records where 10 were asked for"),
        &[("attack", "records"), ("count", "1000"), ("greedy", "yes")],
    ),
    attack(
        "log lines",
        "256 lines per second",
        End::Logged,
        &[("attack", "flood"), ("count", "20000"), ("bytes", "1000")],
    ),
    attack("sleeping", "dropped by its owner", End::Dropped, &[("attack", "hang"), ("at", "read")]),
    attack("a loop", "time of the processor", End::Ended("in one call"), SPIN),
    attack("long instructions", "time of the processor", End::Ended("in one call"), FILL),
    attack("work of the host", "time of the processor", End::Ended("in one call"), DRAW),
    on_all_cores(0.6, attack("a loop per core", "time of the processor", End::Ended("in one call"), SPIN)),
    on_all_cores(0.4, attack("long ones per core", "time of the processor", End::Ended("in one call"), FILL)),
    on_all_cores(0.6, attack("draws per core", "64 KiB per call", End::Ended("in one call"), DRAW)),
    on_all_cores(0.6, attack("texts per core", "4 MiB per call", End::Ended("in one call"), MUMBLE)),
    on_all_cores(0.5, attack("lists per core", "4 MiB per call", End::Ended("in one call"), LIST)),
];

/// Counts the lines of the log, and drops them.
struct Lines;

static LINES: AtomicU64 = AtomicU64::new(0);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        LINES.fetch_add(lines as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(|| Lines).init();
    // The store is elsewhere: on a runtime of its own, it is slowed down by nothing that its client does.
    let elsewhere = Runtime::new().expect("a runtime");
    let bucket = elsewhere.block_on(async {
        let bucket = Env::component().bucket(Conditions::default()).await;
        for number in 0..OBJECTS {
            bucket.put(&format!("{number:04}"), vec![7_u8; 4096]).await;
        }
        bucket.wire().faults().set_latency(LATENCY);
        bucket
    });
    let here = Runtime::new().expect("a runtime");
    let is_well = here.block_on(run(&bucket));
    here.shutdown_background();
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// All attacks; whether each was stopped, and the neighbour kept its speed.
async fn run(bucket: &Bucket) -> bool {
    let options = Options { compute_max: Some(COMPUTE_MAX), ..hostile::options("plain") };
    let attacker = Connector::load(options).await.expect("the hostile component loads");
    let settings = bucket.settings(&[("concurrency", CONCURRENCY)]);
    let neighbour = Neighbour { connector: bucket.connector().clone(), settings };
    println!(
        "Beside each: a snapshot of {OBJECTS} objects, {CONCURRENCY} at a time, from a store that answers in {LATENCY:?}."
    );
    println!("{:18} {:22} {:43} neighbour keeps", "attack", "bound", "ended with");
    let mut is_well = true;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |attack: &&Attack| wanted.is_empty() || wanted.iter().any(|name| name == attack.name);
    for attack in ATTACKS.iter().filter(is_wanted) {
        let settings = bucket.settings(attack.settings);
        let ended = attack.end(&attacker, &settings).await;
        let kept = neighbour.kept(attack, &attacker, &settings).await;
        is_well &= ended.is_ok() && kept >= attack.kept_min;
        let through = if ended.is_err() { "  IT GOT THROUGH" } else { "" };
        let slow = if kept < attack.kept_min { "  TOO SLOW" } else { "" };
        let (Ok(words) | Err(words)) = &ended;
        println!(
            "{:18} {:22} {words:43} {kept:>5.2} of {:.1}{through}{slow}",
            attack.name, attack.bound, attack.kept_min
        );
    }
    is_well
}

impl Attack {
    /// How the attack ended; an error where that is not how it must.
    async fn end(&self, attacker: &Connector, settings: &Settings) -> Result<String, String> {
        let (began, lines) = (Instant::now(), LINES.load(Ordering::Relaxed));
        let patience = if matches!(self.end, End::Dropped) { WATCHED } else { PATIENCE };
        let outcome = timeout(patience, strike(attacker, settings.clone())).await;
        let lines = LINES.load(Ordering::Relaxed) - lines;
        // A second begins and ends within another, and the notes are lines too.
        let lines_max = (LINES_PER_SECOND + 1) * (began.elapsed().as_secs() + 2);
        let keys = settings.iter().filter(|(name, _)| name.starts_with("aws.secret") || name.starts_with("aws.access"));
        let mut keys = keys.map(|(_, value)| value.as_str());
        match (self.end, outcome) {
            (End::Ended(words), Ok(Err(error))) if error.message().contains(words) => Ok(format!("trap: {words}")),
            (End::Told(words), Ok(Ok(told))) if told.contains(words) => Ok(format!("told: {words}")),
            (End::Blind, Ok(Ok(told))) if told.contains("aws.bucket=") && !keys.any(|key| told.contains(key)) => {
                Ok("told: settings without keys".to_owned())
            }
            (End::Took(max), Ok(Ok(told))) if told.parse().is_ok_and(|bytes: u64| bytes <= max) => {
                Ok(format!("told: {told} bytes and no more"))
            }
            (End::Logged, Ok(Ok(_))) if (1..=lines_max).contains(&lines) => {
                Ok(format!("{lines} lines, others counted"))
            }
            (End::Dropped, Err(_)) => Ok("its call was dropped".to_owned()),
            (_, Ok(Ok(told))) => Err(format!("{told}; {lines} lines")),
            (_, Ok(Err(error))) => Err(error.to_string()),
            (_, Err(_)) => Err("it does not end".to_owned()),
        }
    }
}

/// One attack by a source in an instance of its own; what it got.
async fn strike(attacker: &Connector, settings: Settings) -> Result<String> {
    let state = Arc::new(MemoryState::with_quota(Quota { bytes_max: 4 << 20, names_max: 1000 }));
    let options = InstanceOptions { name: "attacker".to_owned(), state: Some(state) };
    let mut source = attacker.source(settings, options).await?;
    source.open(None).await?;
    let records = source.read(10, Duration::from_millis(1)).await?;
    Ok(match records.into_iter().next().map(|record| record.payload.after) {
        Some(Some(Data::Raw(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    })
}

/// A well-behaved source of the shipped component.
struct Neighbour {
    connector: Connector,
    settings: Settings,
}

impl Neighbour {
    /// How long a snapshot takes.
    async fn read(&self) -> Result<Duration, Error> {
        let (connector, settings) = (self.connector.clone(), self.settings.clone());
        let reading = tokio::spawn(async move {
            let mut source = connector.source(settings, InstanceOptions::default()).await?;
            source.open(None).await?;
            let (began, mut records) = (Instant::now(), 0);
            while records < OBJECTS {
                records += source.read(100, Duration::from_secs(1)).await?.len();
            }
            let elapsed = began.elapsed();
            source.teardown().await?;
            Ok(elapsed)
        });
        reading.await.expect("it does not panic")
    }

    /// What the neighbour keeps of its speed while an attack goes on: the median of several rounds, each of which has both.
    async fn kept(&self, attack: &Attack, attacker: &Connector, settings: &Settings) -> f64 {
        let instances =
            if attack.is_on_all_cores { std::thread::available_parallelism().map_or(1, Into::into) } else { 1 };
        let mut ratios = Vec::new();
        loop {
            for _ in 0..ROUNDS {
                let calm = self.read().await.expect("nothing is in its way");
                let mut attacks = JoinSet::new();
                for _ in 0..instances {
                    attacks.spawn(again_and_again(attacker.clone(), settings.clone()));
                }
                let attacked = self.read().await.expect("an attack on its host is none on it");
                attacks.shutdown().await;
                ratios.push(calm.as_secs_f64() / attacked.as_secs_f64());
            }
            ratios.sort_by(f64::total_cmp);
            let median = ratios[ratios.len() / 2];
            if median >= attack.kept_min || ratios.len() >= ROUNDS_MAX {
                return median;
            }
        }
    }
}

/// Strikes until it is dropped, with a new instance where the last one was ended.
async fn again_and_again(attacker: Connector, settings: Settings) {
    loop {
        let _ = strike(&attacker, settings.clone()).await;
        tokio::task::yield_now().await;
    }
}
