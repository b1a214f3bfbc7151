//! Owns what tests, demo and benches share: worlds in which a case runs, the command as a process, records of every
//! shape, readers of formats. Leaves the S3 server that they run on to the package `embedded-s3`.
//!
//! May use both crates of the connector; neither ever uses this one.

pub mod hostile;
pub use s3_connector::testing::parquet;
pub mod plugin;
pub mod process;
pub mod proxy;
pub mod samples;
pub mod world;
