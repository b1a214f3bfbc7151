//! What an exit code tells: that what was asked for was done, or which signal came first. And what ends a command
//! besides its work and signals: a reader that goes.

use std::fs::File;

use embedded_s3::{Filter, S3Operation};
use s3_connector_tests::process::{Invocation, Signal};

use crate::sandbox::{Sandbox, encode_lines, keys, numbered, records};

const ALL: [Signal; 3] = [Signal::HangUp, Signal::Interrupt, Signal::Terminate];

fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::HangUp => "SIGHUP",
        Signal::Interrupt => "SIGINT",
        Signal::Terminate => "SIGTERM",
    }
}

#[tokio::test]
async fn a_source_that_is_stopped_before_it_has_done_what_was_asked_says_so() {
    for signal in ALL {
        for asked in [&["--until-caught-up"][..], &["--limit", "250"]] {
            let sandbox = Sandbox::new().await;
            sandbox.fill(300);
            // It can't come to its end before it is stopped.
            let pause = sandbox.server.pause(Filter::from(S3Operation::GetObject).key("0200"));
            let source = sandbox.source_with_state().set("concurrency", "4");
            let mut source = source.args(asked).start();
            source.lines(50).await;
            source.signal(signal).await;
            let ended = source.ended().await.with_code(signal.exit_code());
            let printed = ended.records();
            let count = format!("{} records were printed", printed.len());
            let ended = ended.saying(&["error: stopped by ", name(signal), &count]);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            drop(pause);
            assert_eq!(keys(&[printed, sandbox.rest().await].concat()), numbered(0..300));
        }
    }
}

#[tokio::test]
async fn a_source_that_reached_its_limit_or_has_caught_up_ends_well() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(10);
    for (asked, printed) in [(&["--until-caught-up"][..], 10), (&["--limit", "4"], 4)] {
        let ended = sandbox.source().args(asked).run().await.well();
        assert_eq!(ended.records().len(), printed);
    }
}

#[tokio::test]
async fn a_terminal_that_closes_may_say_so_twice() {
    let sandbox = Sandbox::new().await;
    let mut pause = sandbox.server.pause(S3Operation::PutObject);
    let mut destination = sandbox.destination("json", 10).start();
    destination.write(&encode_lines(&records(0..10))).await;
    let request = pause.arrived().await;
    // The second one is a signal of its own only once the first was taken.
    for _ in 0..20 {
        destination.signal(Signal::HangUp).await;
        tokio::task::yield_now().await;
    }
    request.release();
    drop(pause);
    let _ = destination.ended().await.well();
    assert_eq!(sandbox.stored().len(), 10);
}

#[tokio::test]
async fn pipelines_that_are_stopped_before_they_have_caught_up_say_so() {
    for signal in [Signal::Interrupt, Signal::Terminate] {
        let sandbox = Sandbox::new().await;
        sandbox.fill(100);
        let pause = sandbox.server.pause(Filter::from(S3Operation::GetObject).key("0060"));
        let yaml = "pipelines: [{id: copy, connectors: [
            {id: in, type: source, plugin: s3, settings: {aws.bucket: photos, concurrency: 4}},
            {id: out, type: destination, plugin: file, settings: {path: /dev/stdout}}]}]";
        let file = sandbox.file("copy.yaml", yaml);
        let mut running = sandbox.command(&["run", "--until-caught-up", &file]).start();
        running.lines(20).await;
        running.signal(signal).await;
        let ended = running.ended().await.with_code(signal.exit_code());
        let stored = ended.lines().0.len();
        let _ = ended.saying(&[
            &format!("pipeline `copy`: {stored} records were stored; stopped"),
            "error: stopped by ",
            name(signal),
            "1 of 1 pipelines had not caught up",
        ]);
        drop(pause);
    }
}

#[tokio::test]
async fn a_destination_that_is_stopped_before_the_end_of_a_file_says_so() {
    for signal in ALL {
        let sandbox = Sandbox::new().await;
        // More than can be read while nothing is stored.
        let input = sandbox.file("in.jsonl", encode_lines(&records(0..20_000)));
        let mut put = sandbox.server.pause(S3Operation::PutObject);
        let destination = sandbox.destination("json", 10);
        let destination = destination.stdin(File::open(&input).unwrap()).start();
        let held = put.arrived().await;
        destination.signal(signal).await;
        drop((held, put));
        let ended = destination.ended().await.with_code(signal.exit_code());
        let stored = sandbox.stored().len();
        assert!(stored < 20_000);
        let count = format!("{stored} records were stored, and the input has not ended");
        let _ = ended.saying(&["error: stopped by ", name(signal), &count]);
    }
}

#[tokio::test]
async fn a_destination_that_stored_a_whole_file_ends_well() {
    let sandbox = Sandbox::new().await;
    let input = sandbox.file("in.jsonl", encode_lines(&records(0..25)));
    let destination = sandbox.destination("json", 10);
    let destination = destination.stdin(File::open(&input).unwrap()).start();
    let _ = destination.ended().await.well();
    assert_eq!(sandbox.stored(), records(0..25));
}

#[tokio::test]
async fn a_hang_up_that_is_ignored_stays_ignored() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let script = "trap '' HUP; exec s3-connector source --set aws.bucket=photos --set pollingPeriod=20ms";
    let mut source = Invocation::script(script).at(&sandbox.server).start();
    source.lines(3).await;
    source.signal(Signal::HangUp).await;
    sandbox.put("0003", "new");
    source.lines(4).await;
    source.signal(Signal::Terminate).await;
    assert_eq!(keys(&source.ended().await.well().records()), numbered(0..4));
}

#[tokio::test]
async fn a_source_ends_with_its_reader_though_nothing_more_comes() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    for asked in ["", "--limit 1000"] {
        let script = format!("s3-connector source --set aws.bucket=photos {asked} | head -1");
        let ended = Invocation::script(&script).at(&sandbox.server).run().await;
        assert_eq!(ended.stderr, "");
        assert_eq!(keys(&ended.well().records()), ["0000"]);
    }
}

#[tokio::test]
async fn a_source_whose_output_is_a_file_has_no_reader_to_wait_for() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let output = File::create(sandbox.path("out.jsonl")).unwrap();
    let source = sandbox.source().args(&["--limit", "4"]).stdout(output).start();
    // It must go on for as long as its snapshot is there and nothing more is.
    while std::fs::read(sandbox.path("out.jsonl")).unwrap().iter().filter(|byte| **byte == b'\n').count() < 3 {
        tokio::task::yield_now().await;
    }
    sandbox.put("0003", "new");
    let _ = source.ended().await.well();
}
