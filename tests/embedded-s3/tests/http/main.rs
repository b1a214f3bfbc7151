//! Owns the tests of the server over HTTP, by a client that signs for itself and interprets nothing.

#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod access;
mod client;
mod faults;
mod lists;
mod objects;
mod versions;
