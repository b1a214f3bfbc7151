//! Stores that go away and come back: every command waits for them, loses nothing, and says twice a word.
//!
//! A connector asks for a minute before it fails and is made anew; so the cases run side by side, in one test.

use embedded_s3::{AccessKey, EmbeddedS3, Options, Versioning};
use s3_connector_tests::process::{Ended, Invocation, Running, Signal};

use crate::monitor::an_outage_is_shown_with_its_reason_and_its_end;
use crate::sandbox::{PHOTOS, Sandbox, decode_lines, encode_lines, keys, numbered, records};

/// What a command says once its pipeline is interrupted.
const INTERRUPTED: &str = "interrupted: ";

/// What it says when it goes on.
const RESUMED: &str = "resumed after an interruption of ";

#[tokio::test]
async fn keys_that_have_ended_are_waited_for_until_others_are_there() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let key = |n: u8| AccessKey {
        access_key: format!("temporary-{n}"),
        secret_key: format!("secret-of-the-key-{n}"),
        session_token: Some(format!("token-of-the-key-{n}")),
    };
    let write = |key: &AccessKey| {
        let token = key.session_token.as_deref().unwrap_or_default();
        let profile = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {token}\n",
            key.access_key, key.secret_key
        );
        sandbox.file("credentials", profile)
    };
    let (old, new) = (key(1), key(2));
    sandbox.server.access().add_key(old.clone());
    let credentials = write(&old);
    let mut source = hastily(sandbox.source())
        .env("AWS_ACCESS_KEY_ID", "")
        .env("AWS_SECRET_ACCESS_KEY", "")
        .env("AWS_SHARED_CREDENTIALS_FILE", &credentials)
        .secret(&old.secret_key)
        .secret(&new.secret_key)
        .start();
    source.lines(3).await;
    sandbox.server.access().expire_key(&old.access_key);
    sandbox.put("0003", "while there were no keys");
    source.says(INTERRUPTED).await;
    sandbox.server.access().add_key(new.clone());
    write(&new);
    source.lines(4).await;
    source.says(RESUMED).await;
    source.signal(Signal::Terminate).await;
    let ended = source.ended().await.well();
    assert_eq!(keys(&ended.records()), numbered(0..4));
    let _ = ended.saying(&["ExpiredToken"]);
}

#[tokio::test]
async fn stores_that_go_away_are_waited_for() {
    tokio::join!(
        a_source_goes_on_and_prints_each_record_once(),
        a_source_goes_on_until_it_has_caught_up(),
        a_store_that_is_soon_back_is_waited_for_by_the_same_instance(),
        a_source_that_is_killed_in_an_outage_goes_on_at_the_next_start(),
        a_source_that_is_stopped_in_an_outage_ends_at_once(),
        a_source_whose_bucket_is_gone_after_an_outage_ends(),
        a_destination_goes_on_and_stores_each_line_once(),
        a_pipeline_of_two_stores_goes_on_when_its_destination_does(),
        one_of_two_pipelines_waits_while_the_other_goes_on(),
        a_command_that_shall_fail_fast_does(),
        one_of_two_pipelines_fails_fast_and_the_other_goes_on(),
        an_outage_is_shown_with_its_reason_and_its_end(),
    );
}

/// Pauses between attempts that no test waits for.
fn hastily(invocation: Invocation) -> Invocation {
    invocation.args(&["--retry-pause", "50ms"])
}

/// Lets the store go until the command has noticed.
async fn interrupt(running: &mut Running, server: &mut EmbeddedS3) {
    server.unplug();
    running.says(INTERRUPTED).await;
    server.plug().await.unwrap();
}

/// Both words were said, once each.
#[track_caller]
fn said_once(ended: &Ended) {
    for words in [INTERRUPTED, RESUMED] {
        assert_eq!(ended.stderr.matches(words).count(), 1, "{}", ended.stderr);
    }
    // The component retries for a minute before it fails: that is part of the outage too, and is warned about once.
    assert_eq!(ended.stderr.matches("WARN").count(), 1, "{}", ended.stderr);
    let length = format!("{RESUMED}1 min ");
    assert!(ended.stderr.contains(&length), "{}", ended.stderr);
}

async fn a_source_goes_on_and_prints_each_record_once() {
    for has_state in [false, true] {
        let mut sandbox = Sandbox::new().await;
        sandbox.fill(20);
        let source = match has_state {
            true => sandbox.source_with_state(),
            false => sandbox.source(),
        };
        let mut source = hastily(source).start();
        source.lines(20).await;
        sandbox.server.unplug();
        for n in 20..40 {
            sandbox.put(&format!("{n:04}"), "while nobody looked");
        }
        source.says(INTERRUPTED).await;
        sandbox.server.plug().await.unwrap();
        source.lines(40).await;
        source.says(RESUMED).await;
        sandbox.put("0040", "afterwards");
        source.lines(41).await;
        source.signal(Signal::Terminate).await;
        let ended = source.ended().await.well();
        assert_eq!(keys(&ended.records()), numbered(0..41));
        said_once(&ended);
        if has_state {
            assert!(sandbox.rest().await.is_empty());
        }
    }
}

async fn a_source_goes_on_until_it_has_caught_up() {
    let mut sandbox = Sandbox::new().await;
    sandbox.fill(2000);
    let source = sandbox.source_with_state().set("concurrency", "2");
    let mut source = hastily(source).args(&["--until-caught-up"]).start();
    source.lines(50).await;
    interrupt(&mut source, &mut sandbox.server).await;
    let ended = source.ended().await.well();
    assert_eq!(keys(&ended.records()), numbered(0..2000));
    said_once(&ended);
}

async fn a_store_that_is_soon_back_is_waited_for_by_the_same_instance() {
    const AWAY: &str = "the store is not answering";
    const BACK: &str = "the store answers again";
    let mut sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let mut source = hastily(sandbox.source()).start();
    source.lines(3).await;
    sandbox.server.unplug();
    source.says(AWAY).await;
    sandbox.put("0003", "while nobody looked");
    sandbox.server.plug().await.unwrap();
    source.lines(4).await;
    source.says(BACK).await;
    source.signal(Signal::Terminate).await;
    let ended = source.ended().await.well();
    assert_eq!(keys(&ended.records()), numbered(0..4));
    for words in [AWAY, BACK] {
        assert_eq!(ended.stderr.matches(words).count(), 1, "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains(INTERRUPTED), "{}", ended.stderr);
}

async fn a_source_that_is_killed_in_an_outage_goes_on_at_the_next_start() {
    let mut sandbox = Sandbox::new().await;
    sandbox.fill(20);
    let mut source = hastily(sandbox.source_with_state()).start();
    source.lines(20).await;
    sandbox.server.unplug();
    source.says(INTERRUPTED).await;
    let printed = source.kill().await.records();
    sandbox.server.plug().await.unwrap();
    sandbox.put("0020", "new");
    assert_eq!(keys(&printed), numbered(0..20));
    assert_eq!(keys(&sandbox.rest().await), ["0020"]);
}

async fn a_source_that_is_stopped_in_an_outage_ends_at_once() {
    for (asked, code) in [(&[][..], 0), (&["--limit", "100"], 143)] {
        let mut sandbox = Sandbox::new().await;
        sandbox.fill(3);
        // Of a pause of a minute nothing is waited for.
        let source = sandbox.source().args(&["--retry-pause", "1h"]).args(asked);
        let mut source = source.start();
        source.lines(3).await;
        sandbox.server.unplug();
        source.says(INTERRUPTED).await;
        source.signal(Signal::Terminate).await;
        let ended = source.ended().await.with_code(code);
        assert_eq!(keys(&ended.records()), numbered(0..3));
    }
}

async fn a_source_whose_bucket_is_gone_after_an_outage_ends() {
    let mut sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let other = EmbeddedS3::start(Options::default()).await.unwrap();
    let mut source = hastily(sandbox.source()).start();
    source.lines(3).await;
    sandbox.server.unplug();
    source.says(INTERRUPTED).await;
    // Another server in its place, which has no such bucket.
    let address = sandbox.server.address().unwrap();
    drop(other);
    let options = Options { port: address.port(), ..Options::default() };
    let _other = EmbeddedS3::start(options).await.unwrap();
    let ended = source.ended().await.with_code(1);
    let _ = ended.saying(&["error: ", "bucket \"photos\" does not exist"]);
}

async fn a_destination_goes_on_and_stores_each_line_once() {
    let mut sandbox = Sandbox::new().await;
    let input = records(0..75);
    let mut destination = hastily(sandbox.destination("json", 10)).start();
    destination.write(&encode_lines(&input[..25])).await;
    while sandbox.stored().len() < 20 {
        tokio::task::yield_now().await;
    }
    sandbox.server.unplug();
    destination.write(&encode_lines(&input[25..50])).await;
    destination.says(INTERRUPTED).await;
    sandbox.server.plug().await.unwrap();
    destination.says(RESUMED).await;
    destination.write(&encode_lines(&input[50..])).await;
    destination.close_input();
    let ended = destination.ended().await.well();
    assert_eq!(sandbox.stored(), input, "once each");
    said_once(&ended);
    let _ = ended.saying(&["75 records were stored"]);
}

async fn a_pipeline_of_two_stores_goes_on_when_its_destination_does() {
    let mut sandbox = Sandbox::new().await;
    let lake = other_store().await;
    let mut lake = lake;
    sandbox.fill(50);
    let yaml = format!(
        "pipelines: [{{id: copy, connectors: [
            {{id: in, type: source, plugin: s3, settings: {{aws.bucket: photos, pollingPeriod: 20ms}}}},
            {{id: out, type: destination, plugin: s3, settings:
                {{aws.bucket: photos, aws.endpoint: '{}', format: json, bufferSize: 10, bufferDelay: 1h}}}}]}}]",
        lake.endpoint()
    );
    let file = sandbox.file("copy.yaml", yaml);
    let stored = |lake: &EmbeddedS3| -> Vec<String> {
        let objects = lake.store().objects(PHOTOS).unwrap();
        let mut stored: Vec<_> = objects.iter().flat_map(|object| keys(&decode_lines(&object.body))).collect();
        stored.sort();
        stored
    };
    let mut running = hastily(sandbox.command(&["run", &file])).start();
    while stored(&lake).len() < 50 {
        tokio::task::yield_now().await;
    }
    lake.unplug();
    for n in 50..70 {
        sandbox.put(&format!("{n:04}"), "new");
    }
    running.says(INTERRUPTED).await;
    lake.plug().await.unwrap();
    running.says(RESUMED).await;
    while stored(&lake).len() < 70 {
        tokio::task::yield_now().await;
    }
    // Its source may go as well.
    sandbox.server.unplug();
    running.signal(Signal::Terminate).await;
    let ended = running.ended().await.well();
    assert_eq!(stored(&lake), numbered(0..70), "once each");
    said_once(&ended);
    let _ = ended.saying(&["connector `out`: ", "pipeline `copy`: 70 records were stored; interrupted once; stopped"]);
}

/// Another server with a bucket of the same name.
async fn other_store() -> EmbeddedS3 {
    let server = EmbeddedS3::start(Options::default()).await.unwrap();
    server.store().create_bucket(PHOTOS).unwrap();
    server.store().set_versioning(PHOTOS, Versioning::Enabled).unwrap();
    server
}

/// Two pipelines into files, from the sandbox's server and another one.
fn two_pipelines(sandbox: &Sandbox, other: &EmbeddedS3) -> String {
    let yaml = format!(
        "pipelines:
  - id: here
    connectors:
      - {{id: in, type: source, plugin: s3, settings: {{aws.bucket: photos, pollingPeriod: 20ms}}}}
      - {{id: out, type: destination, plugin: file, settings: {{path: here.jsonl}}}}
  - id: there
    connectors:
      - {{id: in, type: source, plugin: s3, settings:
          {{aws.bucket: photos, pollingPeriod: 20ms, aws.endpoint: '{}'}}}}
      - {{id: out, type: destination, plugin: file, settings: {{path: there.jsonl}}}}
",
        other.endpoint()
    );
    sandbox.file("two.yaml", yaml)
}

/// Waits until a file has this many lines.
async fn has_lines(sandbox: &Sandbox, name: &str, count: usize) {
    let lines = || {
        let bytes = std::fs::read(sandbox.path(name)).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    };
    while lines() < count {
        tokio::task::yield_now().await;
    }
}

async fn one_of_two_pipelines_waits_while_the_other_goes_on() {
    let sandbox = Sandbox::new().await;
    let mut other = other_store().await;
    sandbox.fill(5);
    other.store().put(PHOTOS, "0000", "there").unwrap();
    let file = two_pipelines(&sandbox, &other);
    let mut running = hastily(sandbox.command(&["run", &file])).start();
    has_lines(&sandbox, "here.jsonl", 5).await;
    has_lines(&sandbox, "there.jsonl", 1).await;
    other.unplug();
    running.says(INTERRUPTED).await;
    sandbox.put("0005", "meanwhile");
    has_lines(&sandbox, "here.jsonl", 6).await;
    other.plug().await.unwrap();
    other.store().put(PHOTOS, "0001", "again").unwrap();
    has_lines(&sandbox, "there.jsonl", 2).await;
    running.says(RESUMED).await;
    running.signal(Signal::Terminate).await;
    let ended = running.ended().await.well();
    said_once(&ended);
    let _ = ended.saying(&[
        "there",
        "pipeline `here`: 6 records were stored; stopped",
        "pipeline `there`: 2 records were stored; interrupted once; stopped",
    ]);
    let there = std::fs::read(sandbox.path("there.jsonl")).unwrap();
    assert_eq!(keys(&decode_lines(&there)), numbered(0..2));
}

async fn a_command_that_shall_fail_fast_does() {
    let mut sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let mut source = sandbox.source().args(&["--fail-fast"]).start();
    source.lines(3).await;
    sandbox.server.unplug();
    let ended = source.ended().await.with_code(1);
    assert!(!ended.stderr.contains(INTERRUPTED), "{}", ended.stderr);
    let _ = ended.saying(&["error: no answer from "]);

    // So does what was never there.
    let source = hastily(sandbox.source()).run().await.with_code(1);
    assert!(!source.stderr.contains(INTERRUPTED), "{}", source.stderr);
}

async fn one_of_two_pipelines_fails_fast_and_the_other_goes_on() {
    let sandbox = Sandbox::new().await;
    let mut other = other_store().await;
    sandbox.fill(5);
    other.store().put(PHOTOS, "0000", "there").unwrap();
    let file = two_pipelines(&sandbox, &other);
    let mut running = sandbox.command(&["run", "--fail-fast", &file]).start();
    has_lines(&sandbox, "here.jsonl", 5).await;
    has_lines(&sandbox, "there.jsonl", 1).await;
    other.unplug();
    running.says("error: pipeline `there`: ").await;
    sandbox.put("0005", "meanwhile");
    has_lines(&sandbox, "here.jsonl", 6).await;
    running.signal(Signal::Terminate).await;
    let ended = running.ended().await.with_code(1);
    let ended = ended.saying(&[
        "error: pipeline `there`: connector `in`: no answer from ",
        "pipeline `here`: 6 records were stored; stopped",
        "pipeline `there`: 1 records were stored; failed, see above",
    ]);
    assert_eq!(ended.stderr.matches("pipeline `there`: connector `in`: ").count(), 1, "{}", ended.stderr);
}
