//! Owns the metrics as text, when somebody scrapes. Leaves the two text forms to `prometheus_client`, and what the metrics are to
//! `families`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::families::{Family, Kind, Value};

/// What all names begin with.
pub(crate) const PREFIX: &str = "s3_connector";

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
pub(super) fn encode(families: Vec<Family>, format: MetricsFormat) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Families(families)));
    let mut out = String::new();
    let encoded = match format {
        MetricsFormat::Prometheus => prometheus_text::encode(&mut out, &registry),
        MetricsFormat::OpenMetrics => text::encode(&mut out, &registry),
    };
    // A string takes whatever is written to it.
    debug_assert!(encoded.is_ok());
    out
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, unit, kind, samples } in &self.0 {
            let metric_type = match kind {
                Kind::Info => MetricType::Info,
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), metric_type)?;
            for sample in samples {
                if *kind == Kind::Info {
                    family.encode_info(&sample.labels)?;
                    continue;
                }
                let mut labelled = family.encode_family(&sample.labels)?;
                match (&sample.value, kind) {
                    (Value::Whole(value), Kind::Counter) => {
                        labelled.encode_counter::<NoLabelSet, _, f64>(value, None)?
                    }
                    (Value::Real(value), Kind::Counter) => {
                        labelled.encode_counter::<NoLabelSet, _, f64>(value, None)?
                    }
                    (Value::Whole(value), _) => labelled.encode_gauge(value)?,
                    (Value::Real(value), _) => labelled.encode_gauge(value)?,
                    (Value::Spread { buckets, sum }, _) => {
                        let count = buckets.iter().map(|(_, count)| count).sum();
                        labelled.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}
