//! Owns the generation of Rust from `proto/`. Leaves what the messages mean to the files there.

use std::error::Error;

/// All services; the messages come with them.
const FILES: [&str; 4] =
    ["proto/connector.proto", "proto/go_plugin.proto", "proto/health.proto", "proto/schema_service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // A compiler in Rust: `protoc` need not be installed.
    let files = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        // Payloads are not copied out of the message that they came in.
        .bytes(".")
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
