//! Cases of a check before a pipeline: on a store where all is well it says so, and leaves nothing behind.
//!
//! What it reports about problems is tested on the command, where stores can be made to fail.

use s3_connector_host::Role;
use s3_connector_host::check::{Report, Status, StepName};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::Env;

in_every_world! {
    a_check_finds_a_source_that_can_run except(Native, HOST),
    a_check_finds_a_destination_that_can_run_and_leaves_nothing except(Native, HOST),
}

const HOST: &str = "the host checks";

/// Fails unless every step passed; TLS depends on the server.
fn all_passed(report: &Report) {
    assert!(report.can_run());
    for step in report.steps.iter().filter(|step| step.name != StepName::Tls) {
        assert_eq!(step.status, Status::Passed, "{step:?}");
        assert!(!step.tried.is_empty() && !step.found.is_empty(), "{step:?}");
    }
}

async fn a_check_finds_a_source_that_can_run(env: &Env) {
    let bucket = env.versioned().await;
    bucket.put("a", "1").await;
    let report = bucket.check(Role::Source, &[]).await;
    all_passed(&report);
    let versioning = report.step(StepName::Versioning).expect("it is asked for");
    assert!(versioning.found.starts_with("on"), "{versioning:?}");
}

async fn a_check_finds_a_destination_that_can_run_and_leaves_nothing(env: &Env) {
    for versioned in [false, true] {
        let bucket = if versioned { env.versioned().await } else { env.plain().await };
        let settings = [("format", "json"), ("prefix", "out/ü +")];
        let report = bucket.check(Role::Destination, &settings).await;
        all_passed(&report);
        let conditional = report.step(StepName::Conditional).expect("it is asked for");
        assert!(conditional.found.contains("honoured"), "{conditional:?}");
        assert_eq!(bucket.versions().await, [], "no version and no marker");
    }
}
