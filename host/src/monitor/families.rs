//! Owns the metrics: their names, labels, meanings and values, defined once for those who ask for them and those who get them sent. Leaves
//! their forms to `metrics` and to `telemetry`, and counting to pipelines and tallies, which are read at that moment.
//!
//! Labels have few values: ids of the pipeline file, names of operations, states. No key and no position is one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Unit;

use super::status::State;
use super::{Reload, Watched, WatchedConnector};
use crate::egress::{LATENCY_BOUNDS_MS, OperationCounts, S3Operation, Traffic};
use crate::pipeline::{Counts, Phase};

/// Samples that mean the same, by their labels.
#[derive(Debug)]
pub(crate) struct Family {
    /// Without the prefix that all have, and without its unit.
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unit: Option<Unit>,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Constants as labels.
    Info,
    /// Numbers that rise and fall.
    Gauge,
    /// Numbers that only grow.
    Counter,
    /// How many were up to each of some bounds.
    Histogram,
}

/// Labels, and the value that they have.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) labels: Labels,
    pub(crate) value: Value,
}

pub(crate) type Labels = Vec<(&'static str, String)>;

/// A value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A whole number.
    Whole(u64),
    /// Another number.
    Real(f64),
    /// How many were up to each bound, of which the last is endless, and their sum.
    Spread { buckets: Vec<(f64, u64)>, sum: f64 },
}

/// All metrics of these pipelines.
pub(super) fn of(started: SystemTime, reload: Option<Reload>, watched: &[Arc<Watched>]) -> Vec<Family> {
    let pipelines = watched.iter().map(|watched| Pipeline::of(watched)).collect();
    Moment { started, reload, now: SystemTime::now(), pipelines }.families()
}

/// All numbers at one moment.
#[derive(Debug)]
struct Moment {
    started: SystemTime,
    reload: Option<Reload>,
    now: SystemTime,
    pipelines: Vec<Pipeline>,
}

#[derive(Debug)]
struct Pipeline {
    id: String,
    counts: Counts,
    letters: u64,
    connectors: Vec<Connector>,
}

#[derive(Debug)]
struct Connector {
    connector: WatchedConnector,
    traffic: Traffic,
}

impl Pipeline {
    fn of(watched: &Watched) -> Self {
        let connectors = watched.connectors.iter().map(|connector| Connector {
            connector: connector.clone(),
            traffic: connector.tally.as_ref().map(|tally| tally.traffic()).unwrap_or_default(),
        });
        Self {
            id: watched.id.clone(),
            counts: watched.counts.borrow().clone(),
            letters: watched.dead_letters(),
            connectors: connectors.collect(),
        }
    }
}

/// A number of each pipeline: its name, what it means, its unit, and where it is.
struct PerPipeline<T> {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    read: fn(&Pipeline, &Moment) -> T,
}

impl<T> PerPipeline<T> {
    const fn new(
        name: &'static str,
        help: &'static str,
        unit: Option<Unit>,
        read: fn(&Pipeline, &Moment) -> T,
    ) -> Self {
        Self { name, help, unit, read }
    }
}

const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);

/// Numbers that only grow.
const COUNTERS: [PerPipeline<u64>; 9] = [
    PerPipeline::new("records_read", "Records read from the source", None, |p, _| p.counts.read),
    PerPipeline::new("records_stored", "Records that are stored, dead letters among them", None, |p, _| p.counts.acked),
    PerPipeline::new("records_dead_lettered", "Records that the destination refused", None, |p, _| p.letters),
    PerPipeline::new("read", "Bytes of payloads read from the source", BYTES, |p, _| p.counts.bytes),
    PerPipeline::new("objects_skipped", "Objects and rows that the source passed over", None, |p, _| {
        p.counts.source.counter("skipped")
    }),
    PerPipeline::new("entries_listed", "Entries in all listings", None, |p, _| p.counts.source.counter("listed")),
    PerPipeline::new("polls", "Completed polls of the source", None, |p, _| p.counts.source.counter("polls")),
    PerPipeline::new("outages", "Interruptions, with one that lasts", None, |p, _| p.counts.outages),
    PerPipeline::new("failures", "1 once the pipeline has failed permanently", None, |p, _| {
        u64::from(matches!(p.counts.phase, Phase::Failed(_)))
    }),
];

/// Numbers that rise and fall. What is not known is left out.
const GAUGES: [PerPipeline<Option<f64>>; 7] = [
    PerPipeline::new("changes_due", "Changes that are found and not read yet", None, |p, _| counter(p, "due")),
    PerPipeline::new(
        "lag",
        "Time since when something may be missing at the destination; 0 where nothing is",
        SECONDS,
        |p, moment| p.counts.lag(moment.now).map(|lag| lag.as_secs_f64()),
    ),
    PerPipeline::new("outage", "How long the current interruption has lasted; 0 without one", SECONDS, |p, moment| {
        Some(match &p.counts.phase {
            Phase::Interrupted(trouble) => moment.now.duration_since(trouble.since).unwrap_or_default().as_secs_f64(),
            _ => 0.0,
        })
    }),
    PerPipeline::new("poll_duration", "How long the listing of the latest poll took", SECONDS, |p, _| {
        counter(p, "poll-ms").map(|ms| ms / 1000.0)
    }),
    PerPipeline::new("keys_known", "Keys in the source's catalogue", None, |p, _| counter(p, "keys")),
    PerPipeline::new("state", "Bytes that the source keeps between runs", BYTES, |p, _| counter(p, "state-bytes")),
    PerPipeline::new(
        "caught_up_timestamp",
        "When everything had been delivered, in Unix time; 0 before",
        SECONDS,
        |p, _| counter(p, "caught-up-ms").map(|ms| ms / 1000.0),
    ),
];

/// A counter of the source, if it is one that counts.
fn counter(pipeline: &Pipeline, name: &str) -> Option<f64> {
    pipeline.counts.source.counters.get(name).map(|count| *count as f64)
}

impl Moment {
    fn families(&self) -> Vec<Family> {
        let mut build = Family::new("build", "Version of the connector", None, Kind::Info);
        build.add([("version", env!("CARGO_PKG_VERSION"))], Value::Whole(1));
        let mut families = vec![build];
        let mut moment = |name, help, time: SystemTime| {
            let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let mut family = Family::new(name, help, SECONDS, Kind::Gauge);
            family.add([], Value::Real(seconds));
            families.push(family);
        };
        moment("start_timestamp", "When the process began, in Unix time", self.started);
        if let Some(Reload { at, problem }) = &self.reload {
            moment("reload_timestamp", "When the configuration was last read again, in Unix time", *at);
            let help = "1 if the configuration that was last read again was taken, otherwise 0";
            let mut taken = Family::new("reload_successful", help, None, Kind::Gauge);
            taken.add([], Value::Whole(u64::from(problem.is_none())));
            families.push(taken);
        }
        let help = "1 for the state that the pipeline is in, otherwise 0";
        let mut states = Family::new("pipeline_state", help, None, Kind::Gauge);
        for pipeline in &self.pipelines {
            let now = State::of(&pipeline.counts);
            for state in State::ALL {
                let labels = [("pipeline", &*pipeline.id), ("state", state.name())];
                states.add(labels, Value::Whole(u64::from(state == now)));
            }
        }
        families.push(states);
        for PerPipeline { name, help, unit, read } in COUNTERS {
            let mut family = Family::new(name, help, unit, Kind::Counter);
            for pipeline in &self.pipelines {
                family.add([("pipeline", &*pipeline.id)], Value::Whole(read(pipeline, self)));
            }
            families.push(family);
        }
        for PerPipeline { name, help, unit, read } in GAUGES {
            let mut family = Family::new(name, help, unit, Kind::Gauge);
            for pipeline in &self.pipelines {
                if let Some(value) = read(pipeline, self) {
                    family.add([("pipeline", &*pipeline.id)], Value::Real(value));
                }
            }
            families.push(family);
        }
        self.connectors(&mut families);
        self.requests(&mut families);
        self.batches(&mut families);
        families
    }
}

impl Family {
    fn new(name: &'static str, help: &'static str, unit: Option<Unit>, kind: Kind) -> Self {
        Self { name, help, unit, kind, samples: Vec::new() }
    }

    fn add<const N: usize>(&mut self, labels: [(&'static str, &str); N], value: Value) {
        let labels = labels.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        self.samples.push(Sample { labels, value });
    }
}

/// A number of each connector that only grows.
type PerConnector = (&'static str, &'static str, Option<Unit>, fn(&Connector) -> u64);

const CONNECTOR_COUNTERS: [PerConnector; 6] = [
    ("requests_throttled", "Requests that the store refused since there were too many", None, |c| c.traffic.throttled),
    ("requests_denied", "Requests that the host denied", None, |c| c.traffic.denied),
    ("requests_retried", "Requests that were sent once more", None, |c| {
        c.connector.tally.as_ref().map_or(0, |tally| tally.retries())
    }),
    ("bodies_resumed", "Answers that broke off and were resumed", None, |c| c.traffic.resumed),
    ("received", "Bytes of answers' bodies", BYTES, |c| c.traffic.bytes_in),
    ("sent", "Bytes of requests' bodies", BYTES, |c| c.traffic.bytes_out),
];

impl Moment {
    /// All connectors that the component makes up, each with its labels.
    fn of_component(&self) -> impl Iterator<Item = (&Connector, [(&'static str, &str); 3])> {
        let pipelines = self.pipelines.iter();
        pipelines.flat_map(move |pipeline| {
            let connectors = pipeline.connectors.iter().filter(|connector| connector.connector.tally.is_some());
            connectors.map(move |connector| {
                let WatchedConnector { id, side, .. } = &connector.connector;
                (connector, [("pipeline", &*pipeline.id), ("connector", &**id), ("side", side.name())])
            })
        })
    }

    fn connectors(&self, families: &mut Vec<Family>) {
        for (name, help, unit, read) in CONNECTOR_COUNTERS {
            let mut family = Family::new(name, help, unit, Kind::Counter);
            for (connector, labels) in self.of_component() {
                family.add(labels, Value::Whole(read(connector)));
            }
            families.push(family);
        }
        let help = "What requests cost at list prices of S3 Standard in us-east-1, without storage and transfer";
        let mut costs = Family::new("requests_cost", help, Some(Unit::Other("dollars".to_owned())), Kind::Counter);
        let help = "Bytes of the memories of the connector's instance";
        let mut memories = Family::new("instance_memory", help, BYTES, Kind::Gauge);
        for (connector, labels) in self.of_component() {
            costs.add(labels, Value::Real(connector.traffic.cost_dollars()));
            let bytes = connector.connector.tally.as_ref().map_or(0, |tally| tally.memory_bytes());
            memories.add(labels, Value::Whole(bytes));
        }
        families.extend([costs, memories]);
    }

    fn requests(&self, families: &mut Vec<Family>) {
        let help = "Requests that were sent, each attempt for itself, by the first digit of their status; `none` without an answer";
        let mut requests = Family::new("requests", help, None, Kind::Counter);
        let mut durations = Family::new("request_duration", "Time to the head of the answer", SECONDS, Kind::Histogram);
        for (operation, counts, [pipeline, connector, side]) in self.operations() {
            let operation = ("operation", operation.name());
            for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(counts.statuses) {
                if count > 0 {
                    requests.add([pipeline, connector, side, operation, ("status", class)], Value::Whole(count));
                }
            }
            let bounds = LATENCY_BOUNDS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64());
            let buckets = bounds.chain([f64::INFINITY]).zip(counts.latencies).collect();
            let spread = Value::Spread { buckets, sum: counts.latency.as_secs_f64() };
            durations.add([pipeline, connector, side, operation], spread);
        }
        families.extend([requests, durations]);
    }

    fn operations(&self) -> impl Iterator<Item = (&S3Operation, &OperationCounts, [(&'static str, &str); 3])> {
        self.of_component().flat_map(|(connector, labels)| {
            connector.traffic.by_operation.iter().map(move |(operation, counts)| (operation, counts, labels))
        })
    }

    fn batches(&self, families: &mut Vec<Family>) {
        type Read = fn(&crate::tally::Batches) -> u64;
        let each: [(&str, &str, Option<Unit>, Read); 3] = [
            ("batches_stored", "Batches that are stored, by what ended them", None, |b| b.batches),
            ("batch_records", "Records in stored batches", None, |b| b.records),
            ("batch", "Bytes of stored batches", BYTES, |b| b.bytes),
        ];
        for (name, help, unit, read) in each {
            let mut family = Family::new(name, help, unit, Kind::Counter);
            for (connector, [pipeline, id, side]) in self.of_component() {
                let batches = connector.connector.tally.iter().flat_map(|tally| tally.batches());
                for batches in batches.filter(|batches| batches.batches > 0) {
                    family.add([pipeline, id, side, ("cut", batches.cut)], Value::Whole(read(&batches)));
                }
            }
            families.push(family);
        }
    }
}
