//! Owns what any host may rely on, with nothing of our host: what the built component is, and that a host which does only
//! what `wit/` says can run it. Leaves what the connector does with objects and records to `conformance`.

// Futures of a test hold those of the runtime.
#![recursion_limit = "512"]

mod built;
mod host;
mod plain;
