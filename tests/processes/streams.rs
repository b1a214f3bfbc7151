//! Who reads and writes what: stdout carries data alone, stderr the rest, and either may go away.

use std::fs::OpenOptions;

use s3_connector::record::Operation;

use crate::sandbox::{Sandbox, encode_lines, keys, numbered, records};

#[tokio::test]
async fn stdout_carries_records_alone_however_much_is_logged() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(30);
    for detail in ["--verbose", "--quiet"] {
        let source = sandbox.source().args(&["--until-caught-up", detail]);
        let ended = source.run().await.well();
        assert_eq!(keys(&ended.records()), numbered(0..30));
        assert!(ended.lines().1.is_empty());
        assert_eq!(ended.stderr.is_empty(), detail == "--quiet");
    }
    let source = sandbox.source().args(&["--until-caught-up"]);
    let everything = source.env("S3_CONNECTOR_LOG", "trace").run().await.well();
    assert_eq!(keys(&everything.records()), numbered(0..30));
}

#[tokio::test]
async fn a_log_in_json_has_an_object_on_each_line_whatever_is_said() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    sandbox.put("0003\n\u{1b}[2Jforged", &"x".repeat(200));
    let source = sandbox.source().set("objectBytes", "100B").set("unreadable", "skip");
    let ended = source.args(&["-vv", "--log-format", "json", "--until-caught-up"]).run().await.well();
    let wrong = sandbox.command(&["source", "--log-format=json", "--set", "aws.buckt=x"]).run().await.with_code(2);
    let mut said = Vec::new();
    for line in [&ended, &wrong].into_iter().flat_map(|ended| ended.stderr.lines()) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["message"].is_string(), "{line}");
        said.push(format!("{} {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap()));
        if line["message"] == "answered" && line["operation"] == "GetObject" {
            assert!(line["path"].as_str().unwrap().starts_with("/photos/000"), "{line}");
            assert!(line["request_id"].is_string() && line["status"] == 200, "{line}");
        }
    }
    for words in [
        "INFO opened in ",
        "INFO the snapshot is over: 3 records, ",
        "WARN skipped: ",
        "INFO skipped `0003\\n\\u{1b}[2Jforged`",
        "INFO caught up: 3 records",
        "INFO ended, since it has caught up: 3 records are stored",
        "DEBUG answered",
        "ERROR unknown setting `aws.buckt`",
    ] {
        assert!(said.iter().any(|line| line.starts_with(words)), "no `{words}` in {}", said.join("\n"));
    }
}

#[tokio::test]
async fn verbose_says_what_happens_and_twice_each_request() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let lines =
        async |detail: &[&str]| sandbox.source().args(&["--until-caught-up"]).args(detail).run().await.well().stderr;
    assert_eq!(lines(&[]).await, "");
    let once = lines(&["-v"]).await;
    assert!(once.contains("the snapshot is over: 3 records") && !once.contains("GetObject"), "{once}");
    assert!(!once.contains("DEBUG"), "{once}");
    let twice = lines(&["-vv"]).await;
    assert_eq!(twice.matches("operation=\"GetObject\" path=\"/photos/000").count(), 3, "{twice}");
}

#[tokio::test]
async fn quiet_commands_say_nothing_when_all_is_well() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let yaml = "pipelines: [{id: copy, connectors: [
        {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}},
        {id: out, type: destination, plugin: file, settings: {path: out.jsonl}}]}]";
    let file = sandbox.file("copy.yaml", yaml);
    let quiet = |arguments: &[&str]| sandbox.command(&[&["--quiet"], arguments].concat());
    let lines = encode_lines(&records(0..3));
    let destination = ["destination", "--set", "format=json"];
    let ended = [
        quiet(&["source", "--until-caught-up"]).set("aws.bucket", "photos").run().await,
        quiet(&destination).set("aws.bucket", "lake").feed(&lines).await,
        quiet(&["run", "--until-caught-up", &file]).run().await,
        quiet(&["check"]).set("aws.bucket", "photos").run().await,
        quiet(&["spec"]).run().await,
    ];
    for ended in ended {
        assert_eq!(ended.well().stderr, "");
    }
}

#[tokio::test]
async fn a_command_that_only_stores_prints_nothing() {
    let sandbox = Sandbox::new().await;
    let lines = encode_lines(&records(0..3));
    let ended = sandbox.destination("json", 10).feed(&lines).await.well();
    assert_eq!(ended.stdout, b"");
    let _ = ended.saying(&["3 records were stored"]);
}

#[tokio::test]
async fn a_source_whose_reader_goes_ends_well_and_acks_no_more_than_was_printed() {
    let sandbox = Sandbox::new().await;
    for n in 0..300 {
        sandbox.put(&format!("{n:04}"), &"x".repeat(5000));
    }
    let mut source = sandbox.source_with_state().start();
    source.lines(1).await;
    source.close_output().await;
    let first = source.ended().await.well();
    assert_eq!(first.stderr, "");
    // What went into the pipe before its reader left was printed; the test saw it all.
    let rest = sandbox.rest().await;
    let acked = 300 - rest.len();
    assert_eq!(keys(&rest), numbered(acked..300));
    assert!(acked < 300);
}

#[tokio::test]
async fn a_reader_that_goes_is_no_failure_of_any_command() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let commands: [&[&str]; 6] = [
        &["spec"],
        &["spec", "--json"],
        &["check", "--set", "aws.bucket=photos"],
        &["check", "--json", "--set", "aws.bucket=photos"],
        &["source", "--until-caught-up", "--set", "aws.bucket=photos"],
        &["--help"],
    ];
    for command in commands {
        let mut running = sandbox.command(command).holding_output().start();
        running.close_output().await;
        let ended = running.ended().await.well();
        assert_eq!(ended.stderr, "", "{command:?}");
    }
}

#[tokio::test]
async fn head_ends_a_source_that_would_go_on() {
    use s3_connector_tests::process::Invocation;
    let sandbox = Sandbox::new().await;
    for n in 0..300 {
        sandbox.put(&format!("{n:04}"), &"x".repeat(5000));
    }
    let script = "s3-connector source --set aws.bucket=photos | head -1";
    let ended = Invocation::script(script).at(&sandbox.server).run().await;
    assert_eq!(ended.stderr, "");
    assert_eq!(keys(&ended.well().records()), ["0000"]);
}

#[tokio::test]
async fn an_output_that_takes_nothing_fails_and_acks_nothing() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(30);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let source = sandbox.source_with_state().args(&["--until-caught-up"]);
    let ended = source.stdout(full).run().await.with_code(1);
    let ended = ended.saying(&["error: cannot write the output", "No space left"]);
    assert!(!ended.stderr.contains("interrupted"), "{}", ended.stderr);
    assert_eq!(keys(&sandbox.rest().await), numbered(0..30));
}

#[tokio::test]
async fn a_bad_line_is_told_by_its_number_and_what_is_before_it_is_stored() {
    let sandbox = Sandbox::new().await;
    let good = encode_lines(&records(0..25));
    let more = encode_lines(&records(25..30));
    let bad: [&[u8]; 5] = [
        b"not json\n",
        b"{\"position\":\"%%\",\"operation\":\"create\"}\n",
        b"{\"position\":\"MQ==\",\"operation\":\"explode\"}\n",
        b"\xff\xfe\n",
        // Cut off in the middle: the line that a kill leaves.
        &good[..100],
    ];
    for (n, bad) in bad.into_iter().enumerate() {
        let prefix = format!("{n}/");
        let input = [&good[..], b"\n", bad, b"\n", &more[..]].concat();
        let destination = sandbox.destination("json", 10).set("prefix", &prefix);
        let ended = destination.feed(&input).await.with_code(1);
        // The empty line counts, as an editor counts it.
        let _ = ended.saying(&["error: line 27: ", "25 records were stored"]);
        let stored = sandbox.server.store().list("lake", &prefix).unwrap();
        assert_eq!(stored.len(), 3, "of ten, ten and five");
    }
}

#[tokio::test]
async fn a_field_that_no_record_has_is_named_or_passed_over_and_counted() {
    let sandbox = Sandbox::new().await;
    let lines = b"{\"operation\":\"create\",\"key\":\"aw==\",\"after\":{\"id\":1},\"ts\":1}\n\
        {\"operation\":\"create\",\"payload\":{\"After\":{}}}\n";
    let ended = sandbox.destination("json", 10).feed(lines).await.with_code(1);
    let _ = ended.saying(&[
        "error: line 1: unknown field `after`; did you mean `payload.after`?",
        "--lenient",
        "0 records were stored",
    ]);
    assert!(sandbox.stored().is_empty());
    let lenient = sandbox.destination("json", 10).args(&["--lenient"]);
    let ended = lenient.feed(lines).await.well();
    let warning = "warning: ignored 3 unknown fields; the first was `after` in line 1";
    let _ = ended.saying(&[warning, "2 records were stored"]);
    assert_eq!(sandbox.stored().len(), 2);
}

#[tokio::test]
async fn lines_without_positions_are_new_each_time_and_others_are_not() {
    let sandbox = Sandbox::new().await;
    let unplaced = b"{\"operation\":\"create\",\"payload\":{\"after\":{\"status\":\"ok\"}}}\n";
    let placed = encode_lines(&records(0..5));
    for day in 1..=2 {
        let ended = sandbox.destination("json", 1).feed(unplaced).await.well();
        let _ = ended.saying(&["1 records were stored"]);
        let _ = sandbox.destination("json", 10).feed(&placed).await.well();
        assert_eq!(sandbox.batches().len(), day + 1, "one more each day, and one of five");
    }
}

#[tokio::test]
async fn a_mark_of_utf_8_is_passed_over_in_lines_and_in_yaml() {
    let sandbox = Sandbox::new().await;
    let lines = [&b"\xef\xbb\xbf"[..], &encode_lines(&records(0..3))].concat();
    let _ = sandbox.destination("json", 10).feed(&lines).await.well();
    assert_eq!(sandbox.stored(), records(0..3));
    sandbox.fill(2);
    let yaml = "\u{feff}version: 2.2
pipelines:
  - id: marked
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}}
      - {id: out, type: destination, plugin: file, settings: {path: out.jsonl}}
";
    let file = sandbox.file("marked.yaml", yaml);
    let ended = sandbox.command(&["run", "--until-caught-up", &file]).run().await;
    let _ = ended.well().saying(&["2 records were stored"]);
}

#[tokio::test]
async fn an_input_that_ends_without_a_newline_is_stored_whole() {
    let sandbox = Sandbox::new().await;
    let lines = encode_lines(&records(0..3));
    let ended = sandbox.destination("json", 10).feed(lines.trim_ascii_end()).await;
    let _ = ended.well();
    assert_eq!(sandbox.stored(), records(0..3));
}

#[tokio::test]
async fn what_a_source_prints_a_destination_takes() {
    use s3_connector_tests::process::Invocation;
    let sandbox = Sandbox::new().await;
    sandbox.fill(50);
    let script = "s3-connector source --set aws.bucket=photos --until-caught-up |
        s3-connector destination --set aws.bucket=lake --set format=parquet";
    let _ = Invocation::script(script).at(&sandbox.server).run().await.well();
    let stored = sandbox.stored();
    assert_eq!(keys(&stored), numbered(0..50));
    assert!(stored.iter().all(|record| record.operation == Operation::Snapshot));
}
