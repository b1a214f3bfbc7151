//! What a hostile component gets out of its host, and what becomes of the host: one test or more for each attack.
//!
//! Attacks are functions of the package `hostile`, which settings name. A claim that the README makes about the
//! sandbox is held by a test here.

mod bounds;
mod outcomes;
mod policy;
mod secrets;
mod siege;
