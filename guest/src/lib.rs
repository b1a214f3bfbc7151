//! An S3 source and destination connector that is a sandboxed WebAssembly component.
//!
//! Owns the connector's logic: settings, positions, change detection, buffering and formats, over the [`ports`]. Leaves
//! signing, sockets, TLS and secrets to the host. Compiled for `wasm32-wasip2` it is the component; compiled natively,
//! tests drive it over ports in memory (module `testing`, with the feature of that name).

#![warn(unreachable_pub)]

#[cfg(target_family = "wasm")]
mod bindings;
pub mod calendar;
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
pub mod rows;
pub mod s3;
pub mod source;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
#[cfg(target_family = "wasm")]
mod wasi;
