//! Owns the targets of fuzzing: for each thing that reads what somebody else wrote, a function that takes any bytes and panics
//! where a promise does not hold. Leaves making inputs to `mutate`, and running to the command `fuzz`.

pub mod mutate;
pub mod novelty;
pub mod runner;
mod targets;

pub use targets::{TARGETS, Target, named};
