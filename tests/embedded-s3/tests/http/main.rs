//! Owns the tests of the server over HTTP, by a client that signs for itself and interprets nothing.

mod access;
mod client;
mod faults;
mod lists;
mod objects;
