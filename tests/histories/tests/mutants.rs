//! Owns the test that the histories notice each known way to break change detection. Leaves the table to the command.

use std::time::Duration;

use s3_connector_histories::hunt;

#[test]
fn every_mutant_is_caught() {
    let found = hunt(0, 60_000, Duration::from_secs(60), 2);
    let living: Vec<_> = found.iter().filter(|caught| caught.by.is_none()).map(|caught| caught.mutant).collect();
    assert!(living.is_empty(), "nobody complains of {living:?}");
}
