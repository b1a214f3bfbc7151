//! Owns the metrics: their names, labels and meanings. Leaves the two text forms to `prometheus_client`, and counting to pipelines
//! and tallies, which are read when somebody scrapes.
//!
//! Labels have few values: ids of the pipeline file, names of operations, states. No key and no position is one.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::status::State;
use super::{Reload, Watched, WatchedConnector};
use crate::egress::{LATENCY_BOUNDS_MS, OperationCounts, S3Operation, Traffic};
use crate::pipeline::{Counts, Phase};

/// What all names begin with.
const PREFIX: &str = "s3_connector";

/// The form of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// [The text format of Prometheus](https://prometheus.io/docs/instrumenting/exposition_formats/), version 0.0.4.
    Prometheus,
    /// [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) 1.0.
    OpenMetrics,
}

impl MetricsFormat {
    /// The one that an `Accept` header asks for: OpenMetrics where it is named, since who knows it names it.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics as text.
pub(super) fn encode(
    started: SystemTime,
    reload: Option<Reload>,
    watched: Vec<Arc<Watched>>,
    format: MetricsFormat,
) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let pipelines = watched.iter().map(|watched| Pipeline::of(watched)).collect();
    registry.register_collector(Box::new(Moment { started, reload, now: SystemTime::now(), pipelines }));
    let mut out = String::new();
    let encoded = match format {
        MetricsFormat::Prometheus => prometheus_text::encode(&mut out, &registry),
        MetricsFormat::OpenMetrics => text::encode(&mut out, &registry),
    };
    // A string takes whatever is written to it.
    debug_assert!(encoded.is_ok());
    out
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

impl Collector for Moment {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut build = encoder.encode_descriptor("build", "Version of the connector", None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let mut moment = |name, help, time: SystemTime| {
            let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?.encode_gauge(&seconds)
        };
        moment("start_timestamp", "When the process began, in Unix time", self.started)?;
        if let Some(Reload { at, problem }) = &self.reload {
            moment("reload_timestamp", "When the configuration was last read again, in Unix time", *at)?;
            let help = "1 if the configuration that was last read again was taken, otherwise 0";
            let is_successful = u32::from(problem.is_none());
            encoder
                .encode_descriptor("reload_successful", help, None, MetricType::Gauge)?
                .encode_gauge(&is_successful)?;
        }
        let help = "1 for the state that the pipeline is in, otherwise 0";
        let mut states = encoder.encode_descriptor("pipeline_state", help, None, MetricType::Gauge)?;
        for pipeline in &self.pipelines {
            let now = State::of(&pipeline.counts);
            for state in State::ALL {
                let labels = [("pipeline", &*pipeline.id), ("state", state.name())];
                gauge(&mut states, &labels, &u32::from(state == now))?;
            }
        }
        for PerPipeline { name, help, unit, read } in &COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
            for pipeline in &self.pipelines {
                count(&mut family, &[("pipeline", &*pipeline.id)], read(pipeline, self))?;
            }
        }
        for PerPipeline { name, help, unit, read } in &GAUGES {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            for pipeline in &self.pipelines {
                if let Some(value) = read(pipeline, self) {
                    gauge(&mut family, &[("pipeline", &*pipeline.id)], &value)?;
                }
            }
        }
        self.connectors(&mut encoder)?;
        self.requests(&mut encoder)?;
        self.batches(&mut encoder)
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
    fn of_component(&self) -> impl Iterator<Item = (&Connector, [(&str, &str); 3])> {
        let pipelines = self.pipelines.iter();
        pipelines.flat_map(move |pipeline| {
            let connectors = pipeline.connectors.iter().filter(|connector| connector.connector.tally.is_some());
            connectors.map(move |connector| {
                let WatchedConnector { id, side, .. } = &connector.connector;
                (connector, [("pipeline", &*pipeline.id), ("connector", &**id), ("side", side.name())])
            })
        })
    }

    fn connectors(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, unit, read) in &CONNECTOR_COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
            for (connector, labels) in self.of_component() {
                count(&mut family, &labels, read(connector))?;
            }
        }
        let help = "What requests cost at list prices of S3 Standard in us-east-1, without storage and transfer";
        let unit = Unit::Other("dollars".to_owned());
        let mut family = encoder.encode_descriptor("requests_cost", help, Some(&unit), MetricType::Counter)?;
        for (connector, labels) in self.of_component() {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&connector.traffic.cost_dollars(), None)?;
        }
        let help = "Bytes of the memories of the connector's instance";
        let mut family = encoder.encode_descriptor("instance_memory", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for (connector, labels) in self.of_component() {
            let bytes = connector.connector.tally.as_ref().map_or(0, |tally| tally.memory_bytes());
            gauge(&mut family, &labels, &bytes)?;
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests that were sent, each attempt for itself, by the first digit of their status; `none` without an answer";
        let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (operation, counts, [pipeline, connector, side]) in self.operations() {
            for (class, requests) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(counts.statuses) {
                if requests > 0 {
                    let labels = [pipeline, connector, side, ("operation", operation.name()), ("status", class)];
                    count(&mut family, &labels, requests)?;
                }
            }
        }
        let help = "Time to the head of the answer";
        let mut family =
            encoder.encode_descriptor("request_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (operation, counts, [pipeline, connector, side]) in self.operations() {
            let bounds = LATENCY_BOUNDS_MS.iter().map(|ms| Duration::from_millis(*ms).as_secs_f64());
            let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts.latencies).collect();
            let requests = counts.latencies.iter().sum();
            let labels = [pipeline, connector, side, ("operation", operation.name())];
            let sum = counts.latency.as_secs_f64();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, requests, &buckets, None)?;
        }
        Ok(())
    }

    fn operations(&self) -> impl Iterator<Item = (&S3Operation, &OperationCounts, [(&str, &str); 3])> {
        self.of_component().flat_map(|(connector, labels)| {
            connector.traffic.by_operation.iter().map(move |(operation, counts)| (operation, counts, labels))
        })
    }

    fn batches(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&crate::tally::Batches) -> u64;
        let families: [(&str, &str, Option<Unit>, Read); 3] = [
            ("batches_stored", "Batches that are stored, by what ended them", None, |b| b.batches),
            ("batch_records", "Records in stored batches", None, |b| b.records),
            ("batch", "Bytes of stored batches", BYTES, |b| b.bytes),
        ];
        for (name, help, unit, read) in families {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
            for (connector, [pipeline, id, side]) in self.of_component() {
                let batches = connector.connector.tally.iter().flat_map(|tally| tally.batches());
                for batches in batches.filter(|batches| batches.batches > 0) {
                    count(&mut family, &[pipeline, id, side, ("cut", batches.cut)], read(&batches))?;
                }
            }
        }
        Ok(())
    }
}

fn count<const N: usize>(family: &mut MetricEncoder<'_>, labels: &[(&str, &str); N], value: u64) -> fmt::Result {
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
}

fn gauge<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    family.encode_family(labels)?.encode_gauge(value)
}
