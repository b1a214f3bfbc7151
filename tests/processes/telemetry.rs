//! OpenTelemetry: what a collector gets of a running process, by OTLP over HTTP and over gRPC, and what becomes of a process whose
//! collector is away. The collector decodes with OpenTelemetry's own messages.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use embedded_s3::S3Operation;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use otlp::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use otlp::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use otlp::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use otlp::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use otlp::common::v1::KeyValue;
use otlp::common::v1::any_value::Value;
use otlp::metrics::v1::{Metric, metric, number_data_point};
use otlp::trace::v1::Span;
use prost::Message;
use s3_connector_tests::process::{Invocation, Signal};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;

use crate::monitor::Shown;
use crate::sandbox::{LAKE, PHOTOS, Sandbox};

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(180);

/// A key of the collector's, which no log may show.
const COLLECTORS_KEY: &str = "the-key-of-the-collector";

/// What a collector has got so far.
#[derive(Clone, Debug, Default)]
struct Got {
    spans: Vec<Span>,
    /// What the senders say of themselves.
    resource: BTreeMap<String, String>,
    /// The latest metrics.
    metrics: Vec<Metric>,
    headers: Vec<HeaderMap>,
    /// All messages, encoded.
    bytes: Vec<u8>,
}

impl Got {
    fn traces(&mut self, request: ExportTraceServiceRequest, headers: HeaderMap) {
        self.bytes.extend(request.encode_to_vec());
        self.headers.push(headers);
        for of_resource in request.resource_spans {
            self.resource = texts(&of_resource.resource.unwrap().attributes);
            self.spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }

    fn metrics(&mut self, request: ExportMetricsServiceRequest, headers: HeaderMap) {
        self.bytes.extend(request.encode_to_vec());
        self.headers.push(headers);
        let scopes = request.resource_metrics.into_iter().flat_map(|of_resource| of_resource.scope_metrics);
        self.metrics = scopes.flat_map(|scope| scope.metrics).collect();
    }

    /// Spans of this name.
    fn named(&self, name: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }

    /// The samples as `/metrics` writes them.
    fn samples(&self) -> BTreeMap<String, f64> {
        self.metrics.iter().flat_map(samples).collect()
    }

    /// Fails if it holds what signs requests.
    fn keeps_secrets(&self) {
        let all = String::from_utf8_lossy(&self.bytes);
        for secret in [embedded_s3::SECRET_KEY, embedded_s3::ACCESS_KEY, "Signature", "AWS4-HMAC", COLLECTORS_KEY] {
            assert!(!all.contains(secret), "{secret} was sent");
        }
    }
}

/// All attributes as texts.
fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

fn samples(metric: &Metric) -> Vec<(String, f64)> {
    let name = |suffix: &str, attributes: &[KeyValue], more: &[(&str, String)]| {
        let labels =
            attributes.iter().map(|attribute| (attribute.key.clone(), texts(attributes)[&attribute.key].clone()));
        let labels = labels.chain(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        format!("{}{suffix}{labels}", metric.name)
    };
    let (points, grows) = match metric.data.as_ref().unwrap() {
        metric::Data::Gauge(gauge) => (&gauge.data_points, false),
        metric::Data::Sum(sum) => {
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "{metric:?}");
            (&sum.data_points, true)
        }
        metric::Data::Histogram(histogram) => {
            assert_eq!(histogram.aggregation_temporality, 2);
            let mut samples = Vec::new();
            for point in &histogram.data_points {
                assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                let bounds = point.explicit_bounds.iter().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
                let mut so_far = 0;
                for (bound, count) in bounds.zip(&point.bucket_counts) {
                    so_far += count;
                    samples.push((name("_bucket", &point.attributes, &[("le", bound)]), so_far as f64));
                }
                samples.push((name("_count", &point.attributes, &[]), point.count as f64));
                samples.push((name("_sum", &point.attributes, &[]), point.sum.unwrap()));
            }
            return samples;
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(grows, metric.name.ends_with("_total"), "{}", metric.name);
    let value = |value: &number_data_point::Value| match value {
        number_data_point::Value::AsDouble(value) => *value,
        number_data_point::Value::AsInt(value) => *value as f64,
    };
    points.iter().map(|point| (name("", &point.attributes, &[]), value(point.value.as_ref().unwrap()))).collect()
}

/// A collector, which ends with the test.
struct Collector {
    address: SocketAddr,
    got: watch::Receiver<Got>,
}

impl Collector {
    /// One that speaks OTLP over HTTP, on this port or any.
    async fn over_http(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let (sender, got) = watch::channel(Got::default());
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                let service = service_fn(move |request| take(request, sender.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, got }
    }

    /// One that speaks OTLP over gRPC.
    async fn over_grpc() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (sender, got) = watch::channel(Got::default());
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Services(sender.clone())))
            .add_service(MetricsServiceServer::new(Services(sender)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, got }
    }

    /// Waits until it has got such.
    async fn until(&self, is_so: impl FnMut(&Got) -> bool) -> Got {
        let mut got = self.got.clone();
        let waited = timeout(PATIENCE, got.wait_for(is_so)).await.map(|waited| waited.unwrap().clone());
        waited.unwrap_or_else(|_| panic!("it never came to that: {:?}", self.got.borrow().samples()))
    }

    /// What it has got of a process that has ended.
    fn got(&self) -> Got {
        self.got.borrow().clone()
    }
}

async fn take(request: Request<Incoming>, got: watch::Sender<Got>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(parts.headers["content-type"], "application/x-protobuf");
    got.send_modify(|got| match parts.uri.path() {
        "/v1/traces" => got.traces(ExportTraceServiceRequest::decode(body).unwrap(), parts.headers),
        "/v1/metrics" => got.metrics(ExportMetricsServiceRequest::decode(body).unwrap(), parts.headers),
        path => panic!("{path}"),
    });
    Ok(Response::builder().status(StatusCode::OK).body(Full::default()).unwrap())
}

struct Services(watch::Sender<Got>);

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> tonic::Result<tonic::Response<ExportTraceServiceResponse>> {
        let (metadata, _, message) = request.into_parts();
        self.0.send_modify(|got| got.traces(message, metadata.into_headers()));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> tonic::Result<tonic::Response<ExportMetricsServiceResponse>> {
        let (metadata, _, message) = request.into_parts();
        self.0.send_modify(|got| got.metrics(message, metadata.into_headers()));
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// Has it send to a collector, often.
fn sending(invocation: Invocation, address: SocketAddr) -> Invocation {
    invocation
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-api-key={COLLECTORS_KEY}"))
        .secret(COLLECTORS_KEY)
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=night")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "50")
}

/// The spans are of passes, and of requests within them.
fn is_sound(got: &Got) {
    let passes: BTreeMap<_, _> =
        got.named("pass").into_iter().map(|pass| ((&pass.trace_id, &pass.span_id), pass)).collect();
    let ids: BTreeSet<_> = got.spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), got.spans.len(), "an id for each");
    for span in &got.spans {
        assert!(span.start_time_unix_nano > 0 && span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        if span.name == "pass" {
            assert!(span.parent_span_id.is_empty());
        } else {
            let pass = passes.get(&(&span.trace_id, &span.parent_span_id));
            assert!(pass.is_some(), "of no pass: {span:?}");
        }
    }
}

#[tokio::test]
async fn a_collector_gets_spans_of_passes_and_of_the_requests_in_them() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    sandbox.put("a\u{1b}key", "text");
    let collector = Collector::over_http(0).await;
    let source = sending(sandbox.source().args(&["--until-caught-up"]), collector.address);
    let printed = source.env("OTEL_SERVICE_NAME", "photos-at-night").run().await.well();
    assert_eq!(printed.records().len(), 4);
    let got = collector.got();
    is_sound(&got);
    got.keeps_secrets();
    assert_eq!(got.resource["service.name"], "photos-at-night");
    assert_eq!(got.resource["deployment.environment.name"], "night");
    assert!(got.headers.iter().all(|headers| headers["x-api-key"] == COLLECTORS_KEY), "{:?}", got.headers);
    for (name, operation) in
        [("GetObject", S3Operation::GetObject), ("ListObjectVersions", S3Operation::ListObjectVersions)]
    {
        let spans = got.named(name);
        assert_eq!(spans.len() as u64, sandbox.server.requests_count(operation), "{operation:?}");
        assert!(spans.iter().all(|span| span.kind == 3));
    }
    let gets: Vec<_> = got.named("GetObject").into_iter().map(|span| texts(&span.attributes)).collect();
    let keys: BTreeSet<_> = gets.iter().map(|get| get["aws.s3.key"].as_str()).collect();
    assert_eq!(keys, BTreeSet::from(["0000", "0001", "0002", "a\\u{1b}key"]));
    for (name, value) in [
        ("aws.s3.bucket", PHOTOS),
        ("http.response.status_code", "200"),
        ("s3_connector.attempt", "1"),
        ("s3_connector.pipeline", "source"),
        ("s3_connector.side", "source"),
    ] {
        assert!(gets.iter().all(|get| get[name] == value), "{name}: {gets:?}");
    }
    assert!(gets.iter().all(|get| !get["aws.request_id"].is_empty()));
    let passes: Vec<_> = got.named("pass").into_iter().map(|span| texts(&span.attributes)).collect();
    let sum = |name: &str| passes.iter().map(|pass| pass[name].parse::<u64>().unwrap()).sum::<u64>();
    assert_eq!(sum("s3_connector.records.read"), 4);
    assert!(sum("s3_connector.polls") >= 1 && sum("s3_connector.requests") >= gets.len() as u64);

    // What is stored together is one pass of a destination.
    let collector = Collector::over_http(0).await;
    let destination = sending(sandbox.destination("json", 2), collector.address);
    let mut running = destination.start();
    running.feed(printed.stdout.clone(), true);
    let _ = running.ended().await.well();
    let got = collector.got();
    is_sound(&got);
    got.keeps_secrets();
    let puts: Vec<_> = got.named("PutObject").into_iter().map(|span| texts(&span.attributes)).collect();
    assert_eq!(puts.len() as u64, sandbox.server.requests_count(S3Operation::PutObject));
    assert!(puts.iter().all(|put| put["aws.s3.bucket"] == LAKE && put["http.request.body.size"] != "0"), "{puts:?}");
    assert_eq!(got.samples()["s3_connector_records_stored_total{pipeline=\"destination\"}"], 4.0, "the last word");
}

#[tokio::test]
async fn the_metrics_over_grpc_are_those_that_a_scraper_gets() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let collector = Collector::over_grpc().await;
    let yaml = "version: 2.2\npipelines:\n  - id: night\n    connectors:\n      \
                - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos, pollingPeriod: 1h}}\n      \
                - {id: out, type: destination, plugin: s3, settings: {aws.bucket: lake, format: json, bufferDelay: 50ms}}\n";
    let file = sandbox.file("night.yaml", yaml);
    let run = sandbox.command(&["run", "--listen", "0", &file]);
    let run = sending(run, collector.address).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let shown = Shown::begin(run.start()).await;
    // There is nothing left to do but to wait for an hour.
    shown.until("night", |night| night["recordsStored"] == 3 && night["state"] == "caught-up").await;
    let mut scraped = BTreeMap::new();
    let is_lag = |name: &str| name.contains("lag_seconds");
    let stored = "s3_connector_records_stored_total{pipeline=\"night\"}";
    let got = collector.until(|got| got.samples().get(stored) == Some(&3.0)).await;
    assert!(got.samples().len() > 50, "{:?}", got.samples());
    // A message that was made before the scrape may still tell of less.
    for _ in 0..100 {
        scraped = shown.metrics("*/*").await;
        scraped.retain(|name, _| !is_lag(name));
        let sent = collector.got().headers.len();
        let mut samples = collector.until(|got| got.headers.len() > sent + 2).await.samples();
        samples.retain(|name, _| !is_lag(name));
        if samples == scraped {
            break;
        }
    }
    let mut samples = collector.got().samples();
    samples.retain(|name, _| !is_lag(name));
    assert_eq!(samples, scraped);
    shown.running.signal(Signal::Terminate).await;
    let _ = shown.running.ended().await.well();
    let got = collector.got();
    is_sound(&got);
    got.keeps_secrets();
    assert!(got.headers.iter().all(|headers| headers["x-api-key"] == COLLECTORS_KEY), "{:?}", got.headers);
    let put = texts(&got.named("PutObject")[0].attributes);
    assert_eq!((&*put["s3_connector.connector"], &*put["s3_connector.side"]), ("out", "destination"));
    assert_eq!(got.samples()["s3_connector_pipeline_state{pipeline=\"night\",state=\"ended\"}"], 1.0);
}

#[tokio::test]
async fn a_collector_that_is_away_holds_up_nothing_and_is_told_of_once() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut source = sending(sandbox.source(), address).start();
    source.lines(3).await;
    source.says("the collector takes no traces").await;
    source.says("the collector takes no metrics").await;
    sandbox.put("more", "text");
    source.lines(4).await;
    let collector = Collector::over_http(address.port()).await;
    source.says("the collector takes traces again").await;
    source.says("the collector takes metrics again").await;
    let got = collector.until(|got| got.named("GetObject").len() == 4).await;
    got.keeps_secrets();
    source.signal(Signal::Terminate).await;
    let ended = source.ended().await.well();
    for words in ["takes no traces", "takes no metrics", "takes traces again", "takes metrics again"] {
        assert_eq!(ended.stderr.matches(words).count(), 1, "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_the_end_for_seconds_only() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = sandbox.source().args(&["--until-caught-up"]);
    let source = sending(source, silent.local_addr().unwrap()).env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
    let mut source = source.start();
    source.lines(3).await;
    let printed = Instant::now();
    let ended = source.ended().await.well();
    assert!(printed.elapsed() < Duration::from_secs(60), "{:?}", printed.elapsed());
    assert_eq!(ended.records().len(), 3);
    assert!(ended.stderr.contains("spans were not sent"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_variable_that_is_not_supported_is_refused_and_one_without_effect_named() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(1);
    let collector = Collector::over_http(0).await;
    let source = || sending(sandbox.source().args(&["--until-caught-up"]), collector.address);
    let refused = source().env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json").run().await;
    let _ = refused.with_code(2).saying(&["OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/protobuf"]);
    let refused = source().env("OTEL_EXPORTER_OTLP_CERTIFICATE", sandbox.text_path("none.pem")).run().await;
    let _ = refused.with_code(2).saying(&["OTEL_EXPORTER_OTLP_CERTIFICATE"]);
    let off = source().env("OTEL_SDK_DISABLED", "true").run().await.well();
    assert_eq!(off.records().len(), 1);
    assert!(collector.got().headers.is_empty(), "nothing was sent so far");
    let one = source().env("OTEL_METRICS_EXPORTER", "none").env("OTEL_LOGS_EXPORTER", "otlp").run().await.well();
    assert!(one.stderr.contains("OTEL_LOGS_EXPORTER"), "{}", one.stderr);
    assert!(collector.got().metrics.is_empty() && !collector.got().spans.is_empty());
}
