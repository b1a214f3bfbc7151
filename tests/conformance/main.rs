//! What the connector promises: each case runs on the native core, through the shipped component in its host on
//! the embedded S3, and through the same on a real server.

// Futures of a case hold those of its connectors, which hold those of the runtime.
#![recursion_limit = "512"]

mod access;
mod answers;
mod before;
mod bodies;
mod changes;
mod check;
mod choice;
mod chunks;
mod compression;
mod copies;
mod defects;
mod destination;
mod identity;
mod keys;
mod lakes;
mod likeness;
mod listings;
mod refusals;
mod restart;
mod rows;
mod secrets;
mod snapshot;
mod storage;
mod tables;
mod unreadable;
mod uploads;

use std::io::Write as _;

/// Every case there is.
fn cases() -> Vec<s3_connector_tests::world::Case> {
    [
        snapshot::CASES,
        changes::CASES,
        restart::CASES,
        keys::CASES,
        access::CASES,
        listings::CASES,
        answers::CASES,
        unreadable::CASES,
        identity::CASES,
        bodies::CASES,
        choice::CASES,
        before::CASES,
        refusals::CASES,
        copies::CASES,
        destination::CASES,
        uploads::CASES,
        storage::CASES,
        compression::CASES,
        defects::CASES,
        check::CASES,
        likeness::CASES,
    ]
    .concat()
}

#[test]
fn every_case_runs_in_every_world_or_says_why_not() {
    let table = s3_connector_tests::world::table(&cases());
    // Past the harness, which swallows what passing tests print. Nobody may be listening.
    let _ = std::io::stdout().write_all(format!("\n{table}\n").as_bytes());
}
