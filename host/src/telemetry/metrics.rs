//! Owns the metrics in OTLP's form: the names and values of `/metrics`, since both are made of the same families. Leaves sending
//! them to `exporter`.

use std::time::SystemTime;

use prometheus_client::registry::Unit;

use super::spans::unix_ns;
use super::wire::{
    CUMULATIVE, Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, Number, NumberPoint, Sum, text,
};
use crate::monitor::families::{Family, Kind, Labels, Value};
use crate::monitor::{Monitor, PREFIX};

/// All metrics of a moment.
pub(super) fn of(monitor: &Monitor) -> Vec<Metric> {
    let times = Times { start_ns: unix_ns(monitor.started()), now_ns: unix_ns(SystemTime::now()) };
    monitor
        .families()
        .into_iter()
        .filter(|family| !family.samples.is_empty())
        .map(|family| times.metric(family))
        .collect()
}

/// When counting began, and now.
struct Times {
    start_ns: u64,
    now_ns: u64,
}

impl Times {
    fn metric(&self, family: Family) -> Metric {
        let Family { name, help, unit, kind, samples } = family;
        let written = unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let suffix = match kind {
            Kind::Info => "_info",
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        let (mut numbers, mut spreads) = (Vec::new(), Vec::new());
        for sample in samples {
            match sample.value {
                // No counter of ours reaches what doesn't fit.
                Value::Whole(value) => numbers.push(self.number(sample.labels, Number::Whole(value as i64))),
                Value::Real(value) => numbers.push(self.number(sample.labels, Number::Real(value))),
                Value::Spread { buckets, sum } => spreads.push(self.spread(sample.labels, &buckets, sum)),
            }
        }
        let data = match kind {
            Kind::Info | Kind::Gauge => Data::Gauge(Gauge { points: numbers }),
            Kind::Counter => Data::Sum(Sum { points: numbers, temporality: CUMULATIVE, is_monotonic: true }),
            Kind::Histogram => Data::Histogram(Histogram { points: spreads, temporality: CUMULATIVE }),
        };
        Metric {
            name: format!("{PREFIX}_{name}{written}{suffix}"),
            description: help.to_owned(),
            unit: unit.map(ucum).unwrap_or_default(),
            data: Some(data),
        }
    }

    fn number(&self, labels: Labels, value: Number) -> NumberPoint {
        let (start_ns, time_ns) = (self.start_ns, self.now_ns);
        NumberPoint { start_ns, time_ns, value: Some(value), attributes: attributes(labels) }
    }

    fn spread(&self, labels: Labels, buckets: &[(f64, u64)], sum: f64) -> HistogramPoint {
        HistogramPoint {
            start_ns: self.start_ns,
            time_ns: self.now_ns,
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: Some(sum),
            bucket_counts: buckets.iter().map(|(_, count)| *count).collect(),
            // The last one is endless, which goes without saying.
            bounds: buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect(),
            attributes: attributes(labels),
        }
    }
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    labels.into_iter().map(|(name, value)| text(name, value)).collect()
}

/// The unit as [OpenTelemetry](https://opentelemetry.io/docs/specs/semconv/general/metrics/#instrument-units) writes it.
fn ucum(unit: Unit) -> String {
    match unit {
        Unit::Bytes => "By".to_owned(),
        Unit::Seconds => "s".to_owned(),
        other => format!("{{{}}}", other.as_str()),
    }
}
