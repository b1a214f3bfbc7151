//! Nothing is lost when plugins or Conduit are stopped or killed, in the middle of a snapshot and later; and nothing comes again
//! but where something was killed.

use crate::engine::{Architecture, Conduit};
use crate::sandbox::{Event, PHOTOS, Sandbox, at_least_once, destination, events, exactly, file, has, source};
use embedded_s3::{Filter, S3Operation};
use rustix::process::Signal;

in_both_architectures! {
    a_stop_in_a_snapshot_repeats_nothing
    a_plugin_is_killed_in_a_snapshot
    conduit_is_killed_in_a_snapshot
    a_plugin_is_killed_among_changes
    conduit_is_killed_among_changes
    plugins_of_both_sides_are_killed
    conduit_is_killed_between_both_sides
    a_service_manager_ends_all_processes
    a_terminal_interrupts_all_processes
}

/// Objects of a snapshot, the one that is held, and how many records arrive before it. One more waits with it.
const OBJECTS: usize = 100;
const HELD: usize = 60;
const BEFORE: usize = HELD - 1;

/// Waits until Conduit has the position of the last record in the file: a source is started again from there.
async fn wait_for_acks(sandbox: &Sandbox, conduit: &Conduit) {
    conduit
        .wait_for_answer("the ack of the last record", "connectors/p:source", |connector| {
            let last = sandbox.file("out.jsonl").last().map(|record| record["position"].clone());
            last.is_some_and(|last| connector["sourceState"]["position"] == last)
        })
        .await;
}

/// Runs a pipeline into a file, and has a snapshot held in its middle when `end` ends it; returns what came until the snapshot was
/// whole, and what should have.
async fn in_a_snapshot<F: Future<Output = Option<Conduit>>>(
    architecture: Architecture,
    end: impl FnOnce(Conduit) -> F,
) -> (Vec<Event>, Vec<Event>) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), file("out.jsonl")]);
    let mut expected = sandbox.fill("snapshot", 0..OBJECTS);
    let held = Filter::any().operation(S3Operation::GetObject).key(format!("{HELD:04}"));
    let pause = sandbox.server.pause(held);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("half of the snapshot", |_| sandbox.file("out.jsonl").len() >= BEFORE).await;
    assert!(sandbox.file("out.jsonl").len() <= HELD, "a later object has passed the one that is held");
    wait_for_acks(&sandbox, &conduit).await;
    let conduit = end(conduit).await;
    drop(pause);
    let mut conduit = match conduit {
        Some(conduit) => conduit,
        None => sandbox.conduit().await,
    };
    conduit.wait_for("the whole snapshot", |_| has(&sandbox.file("out.jsonl"), OBJECTS)).await;
    // It has begun to look for changes where the snapshot began.
    expected.extend(sandbox.fill("update", 0..3));
    conduit.wait_for("changes", |_| has(&sandbox.file("out.jsonl"), expected.len())).await;
    conduit.stop().await;
    (events(&sandbox.file("out.jsonl")), expected)
}

async fn a_stop_in_a_snapshot_repeats_nothing(architecture: Architecture) {
    let stop = async |conduit: Conduit| {
        conduit.stop().await;
        None
    };
    let (found, expected) = in_a_snapshot(architecture, stop).await;
    exactly(&found, &expected);
}

async fn a_plugin_is_killed_in_a_snapshot(architecture: Architecture) {
    let kill = async |conduit: Conduit| {
        conduit.kill_plugins().await;
        Some(conduit)
    };
    let (found, expected) = in_a_snapshot(architecture, kill).await;
    // All acks were in when it was killed.
    exactly(&found, &expected);
}

async fn conduit_is_killed_in_a_snapshot(architecture: Architecture) {
    let kill = async |conduit: Conduit| {
        conduit.kill().await;
        None
    };
    let (found, expected) = in_a_snapshot(architecture, kill).await;
    // Conduit keeps acks on disk a second late.
    assert!(at_least_once(&found, &expected) <= HELD);
}

/// Runs a pipeline into a file; `end` ends it while changes come.
async fn among_changes<F: Future<Output = Option<Conduit>>>(
    architecture: Architecture,
    end: impl FnOnce(Conduit) -> F,
) {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), file("out.jsonl")]);
    let mut expected = sandbox.fill("snapshot", 0..20);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("the snapshot", |_| has(&sandbox.file("out.jsonl"), 20)).await;
    expected.extend(sandbox.fill("create", 20..60));
    conduit.wait_for("some changes", |_| has(&sandbox.file("out.jsonl"), 30)).await;
    let conduit = end(conduit).await;
    expected.extend(sandbox.fill("create", 60..70));
    sandbox.server.store().delete(PHOTOS, "0005").unwrap();
    expected.push(("delete".to_owned(), "0005".to_owned(), None));
    let mut conduit = match conduit {
        Some(conduit) => conduit,
        None => sandbox.conduit().await,
    };
    conduit.wait_for("all changes", |_| has(&sandbox.file("out.jsonl"), expected.len())).await;
    conduit.stop().await;
    // What was sent and not acked when something was killed comes again.
    at_least_once(&events(&sandbox.file("out.jsonl")), &expected);
}

async fn a_plugin_is_killed_among_changes(architecture: Architecture) {
    let kill = async |conduit: Conduit| {
        conduit.kill_plugins().await;
        Some(conduit)
    };
    among_changes(architecture, kill).await;
}

async fn conduit_is_killed_among_changes(architecture: Architecture) {
    let kill = async |conduit: Conduit| {
        conduit.kill().await;
        None
    };
    among_changes(architecture, kill).await;
}

/// Copies a bucket; `end` ends the copying in its middle. Returns how many records were stored again.
async fn in_a_copy<F: Future<Output = Option<Conduit>>>(
    architecture: Architecture,
    end: impl FnOnce(Conduit) -> F,
) -> usize {
    let sandbox = Sandbox::new(architecture).await;
    sandbox.pipeline(&[source(&[]), destination(&[("bufferSize", "7")])]);
    let mut expected = sandbox.fill("snapshot", 0..50);
    let mut conduit = sandbox.conduit().await;
    conduit.wait_for("some objects", |_| has(&sandbox.stored(), 10)).await;
    let conduit = end(conduit).await;
    // Some of these may still be part of the snapshot.
    let mut later = sandbox.fill("create", 50..70);
    let mut conduit = match conduit {
        Some(conduit) => conduit,
        None => sandbox.conduit().await,
    };
    conduit.wait_for("all objects", |_| has(&sandbox.stored(), 70)).await;
    conduit.stop().await;
    let found = events(&sandbox.stored());
    let as_snapshot = |(_, key, body): &Event| ("snapshot".to_owned(), key.clone(), body.clone());
    for event in &mut later {
        if found.contains(&as_snapshot(event)) {
            *event = as_snapshot(event);
        }
    }
    expected.extend(later);
    at_least_once(&found, &expected)
}

async fn plugins_of_both_sides_are_killed(architecture: Architecture) {
    let kill = async |conduit: Conduit| {
        assert_eq!(conduit.plugins().len(), 2);
        conduit.kill_plugins().await;
        Some(conduit)
    };
    // What was stored and not acked when something was killed is stored again.
    in_a_copy(architecture, kill).await;
}

async fn conduit_is_killed_between_both_sides(architecture: Architecture) {
    let kill = async |conduit: Conduit| {
        conduit.kill().await;
        None
    };
    // What was stored and not acked when something was killed is stored again.
    in_a_copy(architecture, kill).await;
}

/// Has all processes get a signal in the middle of a copy; nothing may be stored again.
async fn is_told_to_end(architecture: Architecture, signal: Signal) {
    let end = async |conduit: Conduit| {
        let plugins = conduit.plugins();
        assert_eq!(plugins.len(), 2);
        conduit.stop_by(signal, &plugins).await;
        None
    };
    assert_eq!(in_a_copy(architecture, end).await, 0, "records that were stored again");
}

async fn a_service_manager_ends_all_processes(architecture: Architecture) {
    is_told_to_end(architecture, Signal::TERM).await;
}

async fn a_terminal_interrupts_all_processes(architecture: Architecture) {
    is_told_to_end(architecture, Signal::INT).await;
}
