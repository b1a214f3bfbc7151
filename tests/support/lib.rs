//! What tests, demo and benches share: an S3 server in memory, worlds in which a case runs, records of
//! every shape, readers of formats.
//!
//! May use both crates of the connector; neither ever uses this one.

pub mod embedded;
pub mod hostile;
pub mod parquet;
pub mod process;
pub mod proxy;
pub mod samples;
pub mod world;
