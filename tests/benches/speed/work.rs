//! Owns what is measured: buckets, weather, contenders, and the goals beside them. Leaves running them to `contender`.

use super::copies::copies;
use super::outcome::{Outcome, Turn};
use super::rows::ROWS;

const MIB: f64 = (1 << 20) as f64;

/// A measurement.
pub(super) struct Work {
    /// Its name in the table.
    pub(super) id: &'static str,
    /// What is done.
    pub(super) what: &'static str,
    /// The bucket.
    pub(super) rule: &'static str,
    pub(super) contenders: Vec<Contender>,
    pub(super) judge: fn(&[Outcome]) -> Vec<Judgement>,
    /// Whether it's taken only where its name asks for it.
    pub(super) is_long: bool,
    /// The format and the rows of the file that all objects of the bucket are, in place of bytes that mean nothing.
    pub(super) file: Option<(&'static str, u64)>,
}

/// Who does it, and in which weather.
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) weather: &'static str,
    pub(super) kind: Kind,
}

/// How it is done.
pub(super) enum Kind {
    /// By the command, into so many lines; without a number until there is nothing new.
    Lines { settings: &'static [&'static str], limit: Option<u64> },
    /// By the command, which has listed the same bucket before and kept its state.
    Again { settings: &'static [&'static str] },
    /// By a program that embeds the connector, which reads so many objects.
    Drain { settings: &'static [&'static str], objects: u64 },
    /// By a program that embeds the connector and has its code compiled ahead, which reads one object.
    Ahead,
    /// By a program that embeds the connector, which reads one object, on a machine where nothing is compiled yet.
    First,
    /// By the command, from so many lines into batches.
    Records { settings: &'static [&'static str], records: u64 },
    /// Natively, by the same crates, into memory: in this format.
    Native { format: &'static str, records: u64 },
    /// Natively, by the same crates: the rows of the file, so many times.
    Rows { format: &'static str, times: u64 },
    /// By the command, from bucket to bucket, each object as it is.
    Copy,
    /// By rclone, likewise.
    Rclone,
    /// By another client.
    Peer { client: &'static str, concurrency: usize, objects: Option<u64> },
}

/// A figure beside its goal.
pub(super) struct Judgement {
    pub(super) what: &'static str,
    pub(super) measured: f64,
    pub(super) goal: Goal,
    /// Whether it says nothing where the double was busy all the time.
    pub(super) is_of_time: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Judgement {
    pub(super) fn time(what: &'static str, measured: f64, goal: Goal) -> Self {
        Self { what, measured, goal, is_of_time: true }
    }

    pub(super) fn other(what: &'static str, measured: f64, goal: Goal) -> Self {
        Self { what, measured, goal, is_of_time: false }
    }
}

const fn ours(weather: &'static str, objects: u64) -> Contender {
    Contender { name: "s3-connector", weather, kind: Kind::Lines { settings: &[], limit: Some(objects) } }
}

const fn drained(weather: &'static str, objects: u64) -> Contender {
    Contender { name: "s3-connector, embedded", weather, kind: Kind::Drain { settings: &[], objects } }
}

const fn records(name: &'static str, weather: &'static str, settings: &'static [&'static str]) -> Contender {
    Contender { name, weather, kind: Kind::Records { settings, records: RECORDS } }
}

const fn native(format: &'static str) -> Contender {
    let kind = Kind::Native { format, records: RECORDS };
    Contender { name: "the same crates natively, into memory", weather: "", kind }
}

const fn floor(weather: &'static str, concurrency: usize) -> Contender {
    Contender { name: "floor", weather, kind: Kind::Peer { client: "floor", concurrency, objects: None } }
}

const fn store(weather: &'static str, concurrency: usize) -> Contender {
    let kind = Kind::Peer { client: "object-store", concurrency, objects: None };
    Contender { name: "object_store", weather, kind }
}

const fn serial(weather: &'static str, objects: u64) -> Contender {
    let kind = Kind::Peer { client: "serial", concurrency: 1, objects: Some(objects) };
    Contender { name: "serial", weather, kind }
}

/// All measurements, in the order of the table.
pub(super) fn all() -> Vec<Work> {
    vec![
        small(),
        near(),
        large(),
        one_large(),
        listing(),
        skewed_listing(),
        later_listing(),
        batches("P7j", "200,000 records of 256 bytes into JSON, 30 ms", || {
            vec![
                records("s3-connector", "delay:30", &["format=json"]),
                records("s3-connector, no delay", "", &["format=json"]),
                native("json"),
            ]
        }),
        batches("P7p", "200,000 records of 256 bytes into Parquet, 30 ms", || {
            vec![
                records("s3-connector", "delay:30", &["format=parquet"]),
                records("s3-connector, no delay", "", &["format=parquet"]),
                native("parquet"),
            ]
        }),
        start(),
        trouble(),
        stalls(),
        copies("P14s", "8,000 objects of 64 KiB from bucket to bucket, 30 ms", "keys:8000,bytes:65536"),
        copies("P14l", "1,500 objects of 1 MiB from bucket to bucket, 30 ms", "keys:1500,bytes:1048576"),
        memory("P10s", "memory: a million objects of 100 bytes", "keys:1000000,bytes:100", 1_000_000),
        memory("P10m", "memory: 3,000 objects of 1 MiB", "keys:3000,bytes:1048576", 3_000),
        memory("P10l", "memory: 12 objects of 256 MiB", "keys:12,bytes:268435456", 12),
        stored(),
        rows_of("R1", "2 million rows of CSV", "csv", &["decode=csv"]),
        rows_of("R2", "2 million rows of JSON lines", "json", &["decode=json"]),
        rows_of("R3", "2 million rows of Parquet", "parquet", &["decode=parquet"]),
        rows_of("R4", "2 million rows of Avro", "avro", &["decode=avro"]),
        Work {
            is_long: true,
            ..memory("P10h", "memory: an hour of objects of 100 bytes, 30 ms", "keys:7500000,bytes:100", 7_500_000)
        },
    ]
}

/// Objects that the double has handed out whole, per second.
fn rate(outcome: &Outcome) -> f64 {
    outcome.of(|turn| turn.counts.of("GetObject") as f64 / turn.window).middle
}

fn window(outcome: &Outcome) -> f64 {
    outcome.of(|turn| turn.window).middle
}

fn small() -> Work {
    Work {
        id: "P1",
        is_long: false,
        file: None,
        what: "20,000 objects of 4 KiB, 30 ms, 64 at a time",
        rule: "keys:20000,bytes:4096",
        contenders: vec![
            ours("delay:30", 20_000),
            floor("delay:30", 64),
            store("delay:30", 64),
            serial("delay:30", 100),
        ],
        judge: |outcomes| {
            let [ours, floor, store, serial] = outcomes else { unreachable!("as many as contenders") };
            let ideal = |turn: &Turn| 64.0 / (turn.counts.of("serving") as f64 / 1e6);
            let share = ours.of(|turn| turn.counts.of("GetObject") as f64 / turn.window / ideal(turn)).middle;
            vec![
                Judgement::time("objects per second / (C / latency)", share, Goal::AtLeast(0.95)),
                Judgement::time("objects per second / floor", rate(ours) / rate(floor), Goal::AtLeast(0.95)),
                Judgement::time("objects per second / object_store", rate(ours) / rate(store), Goal::AtLeast(1.0)),
                Judgement::time("objects per second / serial", rate(ours) / rate(serial), Goal::AtLeast(40.0)),
                connections(ours, 64.0),
            ]
        },
    }
}

fn connections(ours: &Outcome, concurrency: f64) -> Judgement {
    let most =
        ours.of(|turn| turn.counts.of("connections") as f64 / (concurrency + turn.counts.of("requests") as f64 / 95.0));
    Judgement::other("P11: connections / (C + requests / 95)", most.middle, Goal::AtMost(1.0))
}

/// Of 64 requests at the same time, each for a part of 8 MiB.
fn peak(ours: &Outcome) -> Judgement {
    let most = ours.of(|turn| turn.peak / MIB).middle;
    Judgement::other("peak MiB", most, Goal::AtMost(64.0 + 2.0 * 64.0 * 8.0))
}

fn near() -> Work {
    Work {
        id: "P2",
        is_long: false,
        file: None,
        what: "20,000 objects of 4 KiB, no delay, into JSON lines",
        rule: "keys:20000,bytes:4096",
        contenders: vec![ours("", 20_000), floor("", 64), store("", 64)],
        judge: |outcomes| {
            let [ours, floor, store] = outcomes else { unreachable!("as many as contenders") };
            let micros = |outcome: &Outcome| outcome.of(|turn| turn.cpu / 20_000.0 * 1e6).middle;
            vec![
                Judgement::other("microseconds of CPU per object", micros(ours), Goal::AtMost(80.0)),
                Judgement::other("CPU / floor", micros(ours) / micros(floor), Goal::AtMost(1.5)),
                Judgement::other("CPU / object_store", micros(ours) / micros(store), Goal::AtMost(1.0)),
            ]
        },
    }
}

fn large() -> Work {
    Work {
        id: "P3",
        is_long: false,
        file: None,
        what: "200 objects of 8 MiB, no delay",
        rule: "keys:200,bytes:8388608",
        contenders: vec![drained("", 200), floor("", 64), store("", 64)],
        judge: |outcomes| {
            let [ours, floor, store] = outcomes else { unreachable!("as many as contenders") };
            let bytes = |outcome: &Outcome| outcome.of(|turn| turn.counts.of("bytes") as f64 / turn.cpu).middle;
            vec![
                Judgement::other("bytes per CPU second / floor", bytes(ours) / bytes(floor), Goal::AtLeast(0.85)),
                Judgement::other("bytes per CPU second / object_store", bytes(ours) / bytes(store), Goal::AtLeast(0.9)),
                peak(ours),
            ]
        },
    }
}

fn one_large() -> Work {
    const WEATHER: &str = "delay:10,rate:52428800";
    Work {
        id: "P4",
        is_long: false,
        file: None,
        what: "one object of 256 MiB, 50 MiB/s per connection",
        rule: "keys:1,bytes:268435456",
        contenders: vec![drained(WEATHER, 1), floor(WEATHER, 1)],
        judge: |outcomes| {
            let [ours, floor] = outcomes else { unreachable!("as many as contenders") };
            vec![
                Judgement::time("seconds", window(ours), Goal::AtMost(1.0)),
                Judgement::time("faster than one connection", window(floor) / window(ours), Goal::AtLeast(5.0)),
                peak(ours),
            ]
        },
    }
}

const LISTED: &[&str] = &["start=now", "concurrency=16"];
const PAGES: &str = "page-delay:80";

const FIRST: Kind = Kind::Lines { settings: LISTED, limit: None };

fn listing() -> Work {
    let what = "first listing of a million keys, 16 at a time, 80 ms";
    lists("P5", what, "keys:1000000", FIRST, |outcomes| judge_listing(outcomes, 12.0))
}

fn skewed_listing() -> Work {
    let what = "likewise, nine keys in ten under one long prefix";
    lists("P5s", what, "keys:1000000,skewed:1", FIRST, |outcomes| judge_listing(outcomes, 8.0))
}

fn later_listing() -> Work {
    let later = Kind::Again { settings: LISTED };
    let what = "a later listing of the same, after a restart";
    lists("P5l", what, "keys:1000000", later, |outcomes| judge_listing(outcomes, 14.0))
}

fn lists(
    id: &'static str,
    what: &'static str,
    rule: &'static str,
    kind: Kind,
    judge: fn(&[Outcome]) -> Vec<Judgement>,
) -> Work {
    let ours = Contender { name: "s3-connector", weather: PAGES, kind };
    let kind = Kind::Peer { client: "serial-listing", concurrency: 1, objects: None };
    let serial = Contender { name: "serial", weather: PAGES, kind };
    Work { id, what, rule, contenders: vec![ours, serial], judge, is_long: false, file: None }
}

fn judge_listing(outcomes: &[Outcome], goal: f64) -> Vec<Judgement> {
    let [ours, serial] = outcomes else { unreachable!("as many as contenders") };
    vec![
        Judgement::time("faster than serial", window(serial) / window(ours), Goal::AtLeast(goal)),
        Judgement::other(
            "calls / serial",
            ours.count("ListObjectVersions") / serial.count("ListObjectVersions"),
            Goal::AtMost(1.1),
        ),
    ]
}

/// Records that a destination is given.
const RECORDS: u64 = 200_000;

fn batches(id: &'static str, what: &'static str, contenders: fn() -> Vec<Contender>) -> Work {
    Work {
        id,
        is_long: false,
        file: None,
        what,
        rule: "keys:0",
        contenders: contenders(),
        judge: |outcomes| {
            let [ours, calm, native] = outcomes else { unreachable!("as many as contenders") };
            let puts = ours.count("PutObject");
            let cpu = |outcome: &Outcome| outcome.of(|turn| turn.cpu).middle;
            vec![
                Judgement::time("speed / without delay", window(calm) / window(ours), Goal::AtLeast(0.95)),
                // Reading lines, signing and sending are in it, so that this is more than the encoding alone.
                Judgement::other("CPU / natively", cpu(calm) / cpu(native), Goal::AtMost(1.5)),
                Judgement::other(
                    "P8: requests / objects",
                    ours.count("requests") / puts,
                    Goal::AtMost(1.0 + 2.0 / puts),
                ),
                Judgement::other("P8: objects / batches of 1,000", puts / (RECORDS as f64 / 1000.0), Goal::AtMost(1.0)),
            ]
        },
    }
}

fn start() -> Work {
    Work {
        id: "P9",
        is_long: false,
        file: None,
        what: "from the start to the first request",
        rule: "keys:1,bytes:1",
        contenders: vec![
            ours("", 1),
            Contender { name: "s3-connector, embedded, ahead", weather: "", kind: Kind::Ahead },
            drained("", 1),
            Contender { name: "s3-connector, not compiled", weather: "", kind: Kind::First },
        ],
        judge: |outcomes| {
            let [command, ahead, cached, compiled] = outcomes else { unreachable!("as many as contenders") };
            let first = |outcome: &Outcome| outcome.of(|turn| turn.first * 1000.0).middle;
            vec![
                Judgement::other("milliseconds, the command", first(command), Goal::AtMost(25.0)),
                Judgement::other("milliseconds, embedded, compiled ahead", first(ahead), Goal::AtMost(25.0)),
                Judgement::other("milliseconds, embedded, from the cache", first(cached), Goal::AtMost(25.0)),
                Judgement::other("milliseconds, not compiled", first(compiled), Goal::AtMost(500.0)),
            ]
        },
    }
}

/// Has the component compiled where it's not yet, so that no measurement pays for that.
pub(super) fn warm_up() -> Work {
    Work {
        id: "warm-up",
        what: "compiling",
        contenders: vec![ours("", 1), drained("", 1)],
        judge: |_| Vec::new(),
        ..start()
    }
}

fn trouble() -> Work {
    Work {
        id: "P12",
        is_long: false,
        file: None,
        what: "20,000 objects of 4 KiB, 30 ms, 10 % of 503, 2 % of resets",
        rule: "keys:20000,bytes:4096",
        contenders: vec![
            Contender { name: "s3-connector, calm", ..ours("delay:30", 20_000) },
            ours("delay:30,throttled:10,reset:1,cut:1", 20_000),
        ],
        judge: |outcomes| judge_trouble(outcomes, 0.85, 1.2),
    }
}

fn stalls() -> Work {
    Work {
        id: "P13",
        is_long: false,
        file: None,
        what: "20,000 objects of 4 KiB, 30 ms, 1 % of stalls of 2 s",
        rule: "keys:20000,bytes:4096",
        contenders: vec![
            Contender { name: "s3-connector, calm", ..ours("delay:30", 20_000) },
            ours("delay:30,stalled:1,stall:2000", 20_000),
        ],
        judge: |outcomes| judge_trouble(outcomes, 0.6, 1.03),
    }
}

fn judge_trouble(outcomes: &[Outcome], share: f64, requests: f64) -> Vec<Judgement> {
    let [calm, ours] = outcomes else { unreachable!("as many as contenders") };
    vec![
        Judgement::time("goodput / calm", window(calm) / window(ours), Goal::AtLeast(share)),
        Judgement::other("requests / calm", ours.count("requests") / calm.count("requests"), Goal::AtMost(requests)),
    ]
}

/// What a source may hold of small objects, and besides in parts of 8 MiB or objects that are smaller.
fn memory(id: &'static str, what: &'static str, rule: &'static str, objects: u64) -> Work {
    Work {
        id,
        is_long: false,
        file: None,
        what,
        rule,
        contenders: vec![ours(if objects > 1_000_000 { "delay:30" } else { "" }, objects)],
        judge: |outcomes| {
            let bytes_each = |turn: &Turn| turn.counts.of("bytes") as f64 / turn.counts.of("GetObject").max(1) as f64;
            let part = outcomes[0].of(bytes_each).middle.min(8.0 * MIB) / MIB;
            judge_memory(outcomes, 64.0 + 2.0 * 64.0 * part)
        },
    }
}

/// Files that are read.
const FILES: u64 = 20;

/// Rows out of files: by a program that embeds the connector and drops them, and by its decoders alone.
fn rows_of(id: &'static str, what: &'static str, format: &'static str, settings: &'static [&'static str]) -> Work {
    let kind = Kind::Drain { settings, objects: FILES * ROWS };
    let ours = Contender { name: "s3-connector, embedded", weather: "", kind };
    let kind = Kind::Rows { format, times: FILES };
    Work {
        id,
        is_long: false,
        file: Some((format, ROWS)),
        what,
        rule: "keys:20",
        contenders: vec![ours, Contender { name: "the same crates natively", weather: "", kind }],
        judge: |outcomes| {
            let [ours, native] = outcomes else { unreachable!("as many as contenders") };
            let cpu = |outcome: &Outcome| outcome.of(|turn| turn.cpu).middle;
            vec![
                Judgement::other("rows per CPU second / natively", cpu(native) / cpu(ours), Goal::AtLeast(0.7)),
                Judgement::other("peak MiB", ours.of(|turn| turn.peak / MIB).middle, Goal::AtMost(128.0)),
            ]
        },
    }
}

/// What a destination may hold: the batch that it fills, those on their way, and the next lines.
fn stored() -> Work {
    Work {
        id: "P10d",
        is_long: false,
        file: None,
        what: "memory: a million records of 256 bytes into JSON, 30 ms",
        rule: "keys:0",
        contenders: vec![Contender {
            name: "s3-connector",
            weather: "delay:30",
            kind: Kind::Records { settings: &["format=json"], records: 1_000_000 },
        }],
        judge: |outcomes| judge_memory(outcomes, 64.0),
    }
}

fn judge_memory(outcomes: &[Outcome], most: f64) -> Vec<Judgement> {
    vec![
        Judgement::other("peak MiB", outcomes[0].of(|turn| turn.peak / MIB).middle, Goal::AtMost(most)),
        Judgement::other(
            "resident in the last third / in the one before",
            outcomes[0].of(|turn| turn.growth).middle,
            Goal::AtMost(1.05),
        ),
    ]
}
