//! How fast the source takes a snapshot of small objects against latency, beside a serial client in the same run.
//!
//! Ratios count, not absolute times: server, host and both clients share the machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials as Keys;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use s3_connector_host::egress::Signer;
use s3_connector_host::egress::sign::PayloadHash;
use s3_connector_host::egress::{HyperUpstream, Upstream as _};
use s3_connector_host::record;
use s3_connector_tests::world::{BUCKET, Bucket, Env, SavedState};

const OBJECTS: usize = 6000;
const OBJECT_BYTES: usize = 4096;
const LATENCY: Duration = Duration::from_millis(30);
const IN_FLIGHT: usize = 64;

/// How long the serial client is watched: it would take minutes for all objects.
const SERIAL_TIME: Duration = Duration::from_secs(4);

fn main() {
    // `cargo test` runs benches too, to see that they still work; it has its own opinion of what is quick.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(run());
}

async fn run() {
    let bucket = Env::component().plain().await;
    for n in 0..OBJECTS {
        bucket.put(&format!("k{n:06}"), vec![b'x'; OBJECT_BYTES]).await;
    }
    println!(
        "snapshot of {OBJECTS} objects of {} KiB; each request takes at least {} ms",
        OBJECT_BYTES / 1024,
        LATENCY.as_millis()
    );
    let unhindered = component(&bucket).await;
    println!("  component, no latency:           {unhindered:>8.0} objects/s");
    bucket.wire().faults().set_latency(LATENCY);
    let serial = serial(&bucket).await;
    let parallel = component(&bucket).await;
    let ideal = IN_FLIGHT as f64 / LATENCY.as_secs_f64();
    println!("  serial client:                   {serial:>8.0} objects/s");
    println!("  component, {IN_FLIGHT} in flight:         {parallel:>8.0} objects/s");
    println!("  component / serial client:       {:>8.1}", parallel / serial);
    println!("  component / ({IN_FLIGHT} / {} ms):        {:>8.2}", LATENCY.as_millis(), parallel / ideal);
}

/// Objects per second through the component, all of them, bodies read.
async fn component(bucket: &Bucket) -> f64 {
    let in_flight = IN_FLIGHT.to_string();
    let source = bucket.start_with(&[("concurrency", &in_flight)], &SavedState::none()).await;
    let mut source = source.into_host();
    let (started, mut count) = (Instant::now(), 0);
    while count < OBJECTS {
        let records = source.read(1000, Duration::from_secs(10)).await.expect("reads");
        count += records.len();
        let Some(last) = records.last().map(|r| r.position.clone()) else {
            continue;
        };
        for record in records {
            let bytes = record::collect(record).await.expect("reads").payload.after.and_then(|d| d.length());
            assert_eq!(bytes, Some(OBJECT_BYTES as u64));
        }
        source.ack(&last).await.expect("acks");
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// Objects per second, one after the other, natively: as by a connector that gets one object at a time.
async fn serial(bucket: &Bucket) -> f64 {
    let upstream = Arc::new(HyperUpstream::new(None).expect("a client starts"));
    let signer = Signer::new(embedded_s3::REGION_DEFAULT);
    let keys = Keys::new(embedded_s3::ACCESS_KEY, embedded_s3::SECRET_KEY, None, None, "bench");
    let (started, mut count) = (Instant::now(), 0);
    while started.elapsed() < SERIAL_TIME {
        let uri = format!("{}/{BUCKET}/k{:06}", bucket.server().endpoint(), count % OBJECTS);
        let uri: http::Uri = uri.parse().expect("a URI");
        let mut headers = HeaderMap::new();
        let hash = PayloadHash::of(b"");
        signer.sign(&Method::GET, &uri, &mut headers, &hash, &keys, std::time::SystemTime::now()).expect("signs");
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let response = upstream.send(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body.len(), OBJECT_BYTES);
        count += 1;
    }
    count as f64 / started.elapsed().as_secs_f64()
}
