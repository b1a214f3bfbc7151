//! An S3 source and destination connector that is a sandboxed WebAssembly component.
//!
//! This crate is the connector's logic: settings, positions, change detection, buffering and formats, over the
//! ports of [`ports`]. Compiled for `wasm32-wasip2` it is the component; compiled natively it is what tests
//! drive over a model. Signing, sockets, TLS and secrets are the host's.

#[cfg(target_family = "wasm")]
mod bindings;
#[cfg(target_family = "wasm")]
mod component;
pub mod config;
pub mod destination;
pub mod error;
pub mod limits;
#[cfg(test)]
mod model;
pub mod payload;
pub mod ports;
pub mod position;
pub mod record;
pub mod s3;
pub mod source;
pub mod time;
#[cfg(target_family = "wasm")]
mod wasi;

/// Test support is written against the crate from outside, and is compiled into its own tests too.
#[cfg(test)]
extern crate self as s3_connector;
