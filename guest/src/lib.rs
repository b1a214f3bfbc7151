//! An S3 source and destination connector that is a sandboxed WebAssembly component.
//!
//! This crate is the connector's logic: settings, positions, change detection, buffering and formats, over the
//! ports of [`ports`]. Compiled for `wasm32-wasip2` it is the component; compiled natively it is what tests
//! drive over ports in memory (module `testing`, with the feature of that name). Signing, sockets, TLS and secrets are the host's.

#[cfg(target_family = "wasm")]
mod bindings;
#[cfg(target_family = "wasm")]
mod component;
pub mod config;
pub mod destination;
pub mod error;
pub mod limits;
pub mod payload;
pub mod ports;
pub mod position;
pub mod record;
pub mod s3;
pub mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
#[cfg(target_family = "wasm")]
mod wasi;
