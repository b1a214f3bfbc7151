//! Owns the generation of Rust from `proto/`. Leaves what the messages mean to the files there.

use std::error::Error;

/// The services; the messages come with them.
const FILES: [&str; 2] = [
    "proto/opentelemetry/proto/collector/trace/v1/trace_service.proto",
    "proto/opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
