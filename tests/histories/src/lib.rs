//! Owns seeded histories: a bucket to which anything happens between any two requests of a source, a reader that crashes
//! at any call, and what must come of it. Leaves the source to the connector's core, and S3 to the embedded server's
//! model.
//!
//! `generate` makes a [`History`] from a seed; `run` carries it out on the connector's core, over the embedded server's
//! model and in virtual time; `check` holds what the reader gets against what was stored; `shrink` cuts down a history
//! that fails. Nothing here shares code with the source's way of finding changes.

mod bucket;
mod check;
mod generate;
mod history;
mod mutants;
mod run;
mod shown;
mod shrink;
mod wire;
mod world;

pub use check::{Complaint, Promise};
pub use generate::history;
pub use history::{Act, History, KEYS, Profile, ReaderSetup, Step, StoreSetup, When};
pub use mutants::{Caught, hunt};
pub use run::{Outcome, run};
pub use shrink::shrink;
