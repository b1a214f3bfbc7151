//! Owns when spans and metrics are sent, and what becomes of those that are not taken. A collector that is away holds up nobody:
//! spans wait within their bound, and the log says once that it is away and once that it is back. Leaves the way to `sender`.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::metrics;
use super::sender::{Failed, Sender};
use super::spans::Spans;
use super::wire::{
    Answer, MetricsRequest, Resource, ResourceMetrics, ResourceSpans, Scope, ScopeMetrics, ScopeSpans, TraceRequest,
};
use crate::flood::one_line;
use crate::monitor::Monitor;
use crate::printable;

/// How long the end of a process waits for the collector.
pub const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Pauses between attempts to send spans: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Sends what a process does.
pub(super) struct Exporter {
    pub(super) monitor: Monitor,
    pub(super) resource: Resource,
    pub(super) spans: Arc<Spans>,
    pub(super) traces: Option<(Sender, Health)>,
    pub(super) metrics: Option<(Sender, Health)>,
    pub(super) spans_every: Duration,
    pub(super) metrics_every: Duration,
}

/// Whether a collector takes what it is sent.
#[derive(Debug)]
pub(super) struct Health {
    /// What it is sent.
    what: &'static str,
    failing_since: Option<Instant>,
    pause: Duration,
    not_before: Instant,
}

impl Health {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, failing_since: None, pause: PAUSES.0, not_before: Instant::now() }
    }

    /// Takes note of how it went. What is said is said once.
    fn note(&mut self, address: &str, failure: Option<&str>) {
        let what = self.what;
        match failure {
            Some(reason) => {
                self.not_before = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(PAUSES.1);
                if self.failing_since.is_none() {
                    self.failing_since = Some(Instant::now());
                    tracing::warn!(address, reason = %one_line(reason), "the collector takes no {what}; it is tried again");
                } else {
                    tracing::debug!(address, reason = %one_line(reason), "the collector still takes no {what}");
                }
            }
            None => {
                self.pause = PAUSES.0;
                self.not_before = Instant::now();
                if let Some(since) = self.failing_since.take() {
                    let length = printable::length(since.elapsed());
                    tracing::warn!(address, "the collector takes {what} again, after {length}");
                }
            }
        }
    }
}

impl Exporter {
    /// Sends until `stop`, and then what is left.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let start = Instant::now();
        let mut metrics = interval_at(start + self.metrics_every, self.metrics_every);
        let mut spans = interval_at(start + self.spans_every, self.spans_every);
        metrics.set_missed_tick_behavior(MissedTickBehavior::Delay);
        spans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let held = Arc::clone(&self.spans);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = metrics.tick() => self.send_metrics(&stop).await,
                _ = spans.tick() => self.send_spans(&stop).await,
                () = held.many() => self.send_spans(&stop).await,
            }
        }
        let late = CancellationToken::new();
        let mut flushed = pin!(async {
            tokio::join!(
                flush_spans(&self.spans, &self.resource, &mut self.traces, &late),
                send_metrics(&self.monitor, &self.resource, &mut self.metrics, &late)
            )
        });
        if timeout(FLUSH_MAX, &mut flushed).await.is_err() {
            // What was not taken goes back, and is counted.
            late.cancel();
            flushed.await;
            tracing::warn!("the collector took not all within {} s", FLUSH_MAX.as_secs());
        }
        let lost = self.spans.dropped() + self.spans.held() as u64;
        if lost > 0 {
            tracing::warn!("{lost} spans were not sent: there were too many, or the collector was away");
        }
    }

    async fn send_spans(&mut self, stop: &CancellationToken) {
        let is_due = self.traces.as_ref().is_some_and(|(_, health)| Instant::now() >= health.not_before);
        if is_due {
            flush_spans(&self.spans, &self.resource, &mut self.traces, stop).await;
        }
    }

    async fn send_metrics(&mut self, stop: &CancellationToken) {
        send_metrics(&self.monitor, &self.resource, &mut self.metrics, stop).await;
    }
}

/// Sends the spans that wait, until there are none, the collector takes none, or `stop`.
async fn flush_spans(
    spans: &Spans,
    resource: &Resource,
    traces: &mut Option<(Sender, Health)>,
    stop: &CancellationToken,
) {
    let Some((sender, health)) = traces else { return };
    while spans.held() > 0 {
        let batch = spans.take();
        let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans: batch.clone() }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }];
        let sent = tokio::select! {
            biased;
            () = stop.cancelled() => {
                spans.put_back(batch);
                return;
            }
            sent = sender.send(TraceRequest { resource_spans }, TRACES) => sent,
        };
        let failure = match sent {
            Ok(answer) => {
                let (rejected, failure) = refusal(answer);
                spans.lose(rejected.min(batch.len()));
                failure
            }
            Err(Failed { reason, is_transient: true }) => {
                spans.put_back(batch);
                health.note(&sender.address, Some(&reason));
                return;
            }
            Err(Failed { reason, .. }) => {
                spans.lose(batch.len());
                Some(reason)
            }
        };
        health.note(&sender.address, failure.as_deref());
        if failure.is_some() {
            return;
        }
    }
}

async fn send_metrics(
    monitor: &Monitor,
    resource: &Resource,
    metrics: &mut Option<(Sender, Health)>,
    stop: &CancellationToken,
) {
    let Some((sender, health)) = metrics else { return };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics: metrics::of(monitor) }];
    let resource_metrics = vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics }];
    let sent = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        sent = sender.send(MetricsRequest { resource_metrics }, METRICS) => sent,
    };
    // Numbers count from the start on: the next message has whatever this one lost.
    let failure = match sent {
        Ok(answer) => refusal(answer).1,
        Err(failed) => Some(failed.reason),
    };
    health.note(&sender.address, failure.as_deref());
}

/// How much of a message the collector refused, and why.
fn refusal(answer: Answer) -> (usize, Option<String>) {
    let Some(partial) = answer.partial.filter(|partial| partial.rejected > 0) else { return (0, None) };
    let rejected = usize::try_from(partial.rejected).unwrap_or(usize::MAX);
    (rejected, Some(format!("{rejected} were refused: {}", partial.message)))
}

fn scope() -> Scope {
    Scope { name: "s3-connector".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
