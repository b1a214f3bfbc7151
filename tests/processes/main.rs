//! The built command from outside: arguments, streams, signals and exit codes, on an embedded S3 over HTTP.
//!
//! What comes out of a bucket and goes into one is the conformance cases' to prove; here it counts that nothing is
//! lost, torn or told to the wrong stream, however a process ends. Waits are for something to happen, never for time
//! to pass.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod access;
mod check;
mod checksums;
mod copies;
mod dead_letters;
mod dice;
mod endings;
mod hanging;
mod help;
mod hostile;
mod kills;
mod leftovers;
mod monitor;
mod notify;
mod outages;
mod packaging;
mod pipelines;
mod proxies;
mod readme;
mod registry;
mod reload;
mod rotation;
mod sandbox;
mod signals;
mod state;
mod streams;
mod telemetry;
mod terminal;
mod unreadable;
mod usage;
