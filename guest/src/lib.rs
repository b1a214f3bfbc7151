//! An S3 source and destination connector that is a sandboxed WebAssembly component.
//!
//! This crate is the connector's logic: settings, positions, change detection, buffering and formats, over the
//! ports of [`ports`]. Compiled for `wasm32-wasip2` it is the component; compiled natively it is what tests
//! drive over a model. Signing, sockets, TLS and secrets are the host's.

pub mod config;
pub mod error;
pub mod limits;
pub mod ports;
pub mod position;
pub mod record;
pub mod s3;
pub mod time;
