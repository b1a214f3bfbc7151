//! SIGHUP, SIGINT and SIGTERM: the first ends in good order, the second at once, and the exit code tells whether what
//! was asked for was done.

use std::time::Duration;

use embedded_s3::{Filter, S3Operation};
use s3_connector_tests::process::{Running, Signal};

use crate::sandbox::{PHOTOS, Sandbox, encode_lines, keys, numbered, records};

const ALL: [Signal; 3] = [Signal::HangUp, Signal::Interrupt, Signal::Terminate];
/// Those of which a second one ends a command at once: hang-ups come in pairs where a terminal closes.
const IMPATIENT: [Signal; 2] = [Signal::Interrupt, Signal::Terminate];

#[tokio::test]
async fn a_source_that_is_stopped_in_its_snapshot_resumes_exactly_after_it() {
    for signal in ALL {
        let sandbox = Sandbox::new().await;
        sandbox.fill(300);
        // It can't come to its end before it is stopped.
        let pause = sandbox.server.pause(Filter::from(S3Operation::GetObject).key("0200"));
        let mut source = sandbox.source_with_state().set("concurrency", "4").start();
        source.lines(50).await;
        source.signal(signal).await;
        let printed = source.ended().await.well().records();
        let last = printed.last().map(|record| record.position.to_vec());
        assert!((50..200).contains(&printed.len()), "{}", printed.len());
        assert_eq!(sandbox.position("state"), last, "{signal:?}");
        drop(pause);
        let rest = sandbox.rest().await;
        assert_eq!(keys(&[printed, rest].concat()), numbered(0..300));
    }
}

#[tokio::test]
async fn a_source_that_is_stopped_among_changes_resumes_exactly_after_them() {
    for signal in ALL {
        let sandbox = Sandbox::new().await;
        sandbox.fill(3);
        let mut source = sandbox.source_with_state().start();
        source.lines(3).await;
        for n in 3..40 {
            sandbox.put(&format!("{n:04}"), "new");
        }
        source.lines(20).await;
        source.signal(signal).await;
        let ended = source.ended().await.well();
        assert_eq!(ended.stderr, "");
        let printed = ended.records();
        sandbox.put("0040", "while nobody looked");
        let rest = sandbox.rest().await;
        assert_eq!(keys(&[printed, rest].concat()), numbered(0..41));
    }
}

#[tokio::test]
async fn a_destination_that_is_stopped_has_stored_what_it_says() {
    for signal in ALL {
        let sandbox = Sandbox::new().await;
        let input = records(0..25);
        let mut pause = sandbox.server.pause(S3Operation::PutObject);
        let mut destination = sandbox.destination("json", 10).start();
        destination.write(&encode_lines(&input)).await;
        pause.arrived().await.release();
        pause.arrived().await.release();
        drop(pause);
        destination.signal(signal).await;
        let ended = destination.ended().await.well();
        // It may have been asked to end before it read the last lines, but not before the first twenty.
        let stored = sandbox.stored();
        assert!(stored.len() >= 20);
        assert_eq!(stored, input[..stored.len()]);
        let _ = ended.saying(&[&format!("{} records were stored", stored.len())]);
        let rest = &input[stored.len()..];
        let _ = sandbox.destination("json", 10).feed(&encode_lines(rest)).await.well();
        assert_eq!(sandbox.stored(), input);
    }
}

/// Those that stop `run`: to it, a hang-up says that its files have changed.
const STOPS_RUN: [Signal; 2] = [Signal::Interrupt, Signal::Terminate];

/// A pipeline from one bucket to the other, by batches of ten.
fn pipeline(sandbox: &Sandbox) -> Running {
    let yaml = "\
version: 2.2
pipelines:
  - id: copy
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos, pollingPeriod: 20ms, concurrency: 4}}
      - {id: out, type: destination, plugin: s3, settings:
          {aws.bucket: lake, format: json, bufferSize: 10, bufferDelay: 1h}}
";
    let file = sandbox.file("copy.yaml", yaml);
    sandbox.command(&["run", &file]).start()
}

#[tokio::test]
async fn a_pipeline_that_is_stopped_has_stored_up_to_its_position_and_goes_on_there() {
    for signal in STOPS_RUN {
        let sandbox = Sandbox::new().await;
        sandbox.fill(100);
        let get = sandbox.server.pause(Filter::from(S3Operation::GetObject).key("0060"));
        let mut put = sandbox.server.pause(S3Operation::PutObject);
        let running = pipeline(&sandbox);
        put.arrived().await.release();
        drop(put);
        running.signal(signal).await;
        let _ = running.ended().await.well();
        let mut stored = sandbox.batches().concat();
        stored.sort_by_key(crate::sandbox::key);
        assert_eq!(keys(&stored), numbered(0..stored.len()));
        let last = stored.last().map(|record| record.position.to_vec());
        assert_eq!(sandbox.position("s3-connector-state/copy"), last);
        drop(get);
        let again = sandbox.command(&["run", "--until-caught-up", "copy.yaml"]);
        let _ = again.run().await.well();
        let mut all = keys(&sandbox.stored());
        all.sort();
        assert_eq!(all, numbered(0..100), "once each");
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_destination_at_once() {
    for signal in IMPATIENT {
        let sandbox = Sandbox::new().await;
        let input = encode_lines(&records(0..10));
        let mut put = sandbox.server.pause(S3Operation::PutObject);
        let mut destination = sandbox.destination("json", 10).start();
        destination.write(&input).await;
        let held = put.arrived().await;
        // Of two kinds that arrive together nobody could tell which came second.
        destination.signal(signal).await;
        ends_by_another(destination, signal).await;
        drop((held, put));
        let _ = sandbox.destination("json", 10).feed(&input).await.well();
        assert_eq!(sandbox.stored(), records(0..10));
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_pipeline_at_once() {
    for signal in IMPATIENT {
        let sandbox = Sandbox::new().await;
        sandbox.fill(10);
        let mut put = sandbox.server.pause(S3Operation::PutObject);
        let running = pipeline(&sandbox);
        let held = put.arrived().await;
        // Of two kinds that arrive together nobody could tell which came second.
        running.signal(signal).await;
        ends_by_another(running, signal).await;
        drop(held);
        // What was not acked comes again.
        drop(put);
        let again = sandbox.command(&["run", "--until-caught-up", "copy.yaml"]);
        let _ = again.run().await.well();
        assert_eq!(keys(&sandbox.stored()), numbered(0..10));
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_source_whose_reader_hangs() {
    for signal in IMPATIENT {
        let sandbox = Sandbox::new().await;
        // More than a pipe holds.
        for n in 0..50 {
            sandbox.put(&format!("{n:04}"), &"x".repeat(50_000));
        }
        let mut pause = sandbox.server.pause(Filter::from(S3Operation::GetObject).key("0000"));
        let source = sandbox.source_with_state().holding_output().start();
        pause.arrived().await.release();
        // Of two kinds that arrive together nobody could tell which came second.
        source.signal(signal).await;
        ends_by_another(source, signal).await;
        drop(pause);
        assert_eq!(sandbox.server.store().objects(PHOTOS).unwrap().len(), 50);
        assert_eq!(keys(&sandbox.rest().await), numbered(0..50));
    }
}

#[tokio::test]
async fn what_is_not_stored_within_the_grace_is_given_up_and_said() {
    for signal in ALL {
        let sandbox = Sandbox::new().await;
        let input = encode_lines(&records(0..10));
        let mut put = sandbox.server.pause(S3Operation::PutObject);
        let mut destination = sandbox.destination("json", 10).args(&["--grace", "200ms"]).start();
        destination.write(&input).await;
        let held = put.arrived().await;
        destination.signal(signal).await;
        let ended = destination.ended().await;
        let _ = ended.saying(&["10 of 10 records were not stored within 0.2 s of the stop"]);
        drop(held);
    }
}

/// A log that nobody reads blocks the threads that write to it, workers of the runtime among them.
#[tokio::test]
async fn a_signal_ends_a_command_whose_stderr_is_full() {
    for signal in ALL {
        let sandbox = Sandbox::new().await;
        let mut destination = sandbox
            .destination("json", 1)
            .args(&["--grace", "200ms"])
            .env("S3_CONNECTOR_LOG", "trace")
            .holding_errors()
            .start();
        destination.feed(encode_lines(&records(0..5000)), false);
        destination.says_no_more().await;
        destination.signal(signal).await;
        // It could not even say how many records it stored.
        let _ = destination.ended().await.with_code(signal.exit_code());
    }
}

/// Sends the signal until the process ends by it. Two that arrive together are one to a process, and nothing tells
/// from outside when it has seen the first.
async fn ends_by_another(mut running: Running, signal: Signal) {
    loop {
        running.signal(signal).await;
        if running.has_ended_within(Duration::from_millis(50)).await {
            break;
        }
    }
    let _ = running.ended().await.with_code(signal.exit_code());
}
