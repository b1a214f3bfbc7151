//! What reaches a terminal: nothing that it would obey, and no key, whatever a component, a store or a file says.

use embedded_s3::{ACCESS_KEY, Fault, Rule, S3Operation};
use s3_connector_tests::hostile;
use s3_connector_tests::process::{Ended, Invocation};

use crate::sandbox::Sandbox;

/// What a terminal would obey. NUL can't stand in an argument; the component has it in its own.
const ESCAPES: &str = "\u{1b}[31m\u{7}\r\u{8}\u{9b}2J\u{202e}\u{2028}";

/// Fails if a terminal would obey anything that was printed.
#[track_caller]
fn is_plain(ended: &Ended) {
    for text in [ended.printed(), ended.stderr.clone()] {
        let obeyed = text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{2028}'..='\u{202e}').contains(c));
        assert_eq!(obeyed, None, "{text:?}");
        for line in text.lines() {
            assert!(!line.starts_with("error: forged"), "{text}");
        }
    }
}

/// The command with the hostile component, whose attack strikes in this call.
fn hostile(sandbox: &Sandbox, command: &str, attack: &str, at: &str) -> Invocation {
    sandbox
        .command(&[command, "--component"])
        .args(&[hostile::file("plain")])
        .set("aws.bucket", "photos")
        .set("attack", attack)
        .set("at", at)
        .set("text", "ESCAPES")
}

#[tokio::test]
async fn what_a_component_says_of_itself_is_printed_as_text() {
    let sandbox = Sandbox::new().await;
    for arguments in [&["spec", "--component"][..], &["spec", "--json", "--component"]] {
        let spec = sandbox.command(arguments).args(&[hostile::file("escapes")]);
        let ended = spec.run().await.well();
        is_plain(&ended);
        assert!(ended.printed().contains("title"), "{}", ended.printed());
    }
}

#[tokio::test]
async fn an_error_of_a_component_is_one_line_of_text_and_not_called_our_bug() {
    let sandbox = Sandbox::new().await;
    for (command, call) in [("source", "open"), ("source", "read"), ("destination", "open")] {
        let ended = hostile(&sandbox, command, "fail", call).set("kind", "corrupt");
        let ended = ended.run().await.with_code(1);
        is_plain(&ended);
        assert!(ended.stderr.contains("\\u{1b}"), "{}", ended.stderr);
        for attack in ["fail", "trap"] {
            let internal = hostile(&sandbox, command, attack, call).set("kind", "internal");
            let ended = internal.run().await.with_code(1);
            is_plain(&ended);
            let file = hostile::file("plain").display().to_string();
            let _ = ended.saying(&[&format!("the component {file} is at fault"), "its author"]);
        }
    }
    let yaml = format!(
        "pipelines: [{{id: \"a{ESCAPES}b\", connectors: [{{id: \"{ESCAPES}\", type: source, plugin: s3, settings: \
         {{aws.bucket: nowhere}}}}, {{id: out, type: destination, plugin: file, settings: {{path: x}}}}]}}]",
        ESCAPES = r#"\e[31m\a\r\b\x9B2J\u202E\L"#
    );
    let file = sandbox.file("hostile.yaml", yaml);
    for arguments in [["run", &file], ["check", &file]] {
        let ended = sandbox.command(&arguments).run().await;
        assert_ne!(ended.code, Some(0), "{ended:?}");
        is_plain(&ended);
    }
}

#[tokio::test]
async fn records_of_a_component_are_printed_as_text() {
    let sandbox = Sandbox::new().await;
    let ended = hostile(&sandbox, "source", "positions", "open").args(&["--until-caught-up"]);
    let ended = ended.run().await.well();
    is_plain(&ended);
    let records = ended.records();
    let (name, value) = records[0].metadata.iter().next().unwrap();
    assert_eq!(name, value);
    assert!(name.contains('\u{9b}') && name.contains('\u{202e}'));
}

#[tokio::test]
async fn a_check_blames_a_component_that_was_given_on_its_authors() {
    let sandbox = Sandbox::new().await;
    for side in ["--source", "--destination"] {
        for call in ["configure", "open"] {
            for (attack, kind) in [("trap", "internal"), ("fail", "internal")] {
                let check = hostile(&sandbox, "check", attack, call).set("kind", kind);
                let ended = check.args(&[side]).run().await.with_code(1);
                let file = hostile::file("plain").display().to_string();
                let blame = format!("-> the component {file} is at fault");
                let printed = ended.printed();
                assert!(printed.contains(&blame), "{side} {call}: {printed}");
                let all = format!("{printed}{}", ended.stderr);
                assert!(!all.contains("report this") && !all.contains("settings are wrong"));
            }
        }
        // Settings that a component refuses are for their author to correct.
        let check = hostile(&sandbox, "check", "fail", "configure").args(&[side]);
        let _ = check.run().await.with_code(2);
    }
}

#[tokio::test]
async fn what_an_earlier_call_met_is_no_reason_of_a_later_error() {
    let sandbox = Sandbox::new().await;
    let said = "the host did not let the request out";
    // A request that is denied, then an error that says no more.
    let source = sandbox
        .command(&["source", "--component"])
        .args(&[hostile::file("plain")])
        .set("aws.bucket", "photos")
        .set("attack.open", "request")
        .set("request.method", "PUT")
        .set("request.path", "/photos/a")
        .set("attack.read", "fail")
        .set("kind", "denied")
        .set("text", said);
    let ended = source.run().await.with_code(1);
    let ended = ended.saying(&["request denied", "not permitted"]);
    let mut lines = ended.stderr.lines();
    let told = lines.find(|line| line.starts_with("error: ")).unwrap();
    assert!(told.contains(said), "{told}");
    assert!(!told.contains("not permitted"), "{told}");
}

#[tokio::test]
async fn a_log_line_of_a_component_forges_no_other() {
    let sandbox = Sandbox::new().await;
    let ended = hostile(&sandbox, "source", "log", "open").args(&["--until-caught-up"]);
    let ended = ended.run().await.well();
    is_plain(&ended);
    let lines: Vec<_> = ended.stderr.lines().filter(|line| line.contains("forged")).collect();
    assert_eq!(lines.len(), 1, "{}", ended.stderr);
    assert!(lines[0].contains("ERROR") && lines[0].contains("\\u{0}"), "{}", lines[0]);
}

#[tokio::test]
async fn what_a_store_says_is_printed_as_text() {
    let sandbox = Sandbox::new().await;
    let refusal = Fault::answer(403, format!("Code{ESCAPES}"), format!("Message{ESCAPES}"));
    sandbox.server.faults().add(Rule::new(S3Operation::ListObjectsV2, refusal));
    for arguments in [
        &["source", "--set", "aws.bucket=photos"][..],
        &["check", "--set", "aws.bucket=photos"],
        &["check", "--json", "--set", "aws.bucket=photos"],
    ] {
        let ended = sandbox.command(arguments).run().await.with_code(1);
        is_plain(&ended);
        let text = format!("{}{}", ended.printed(), ended.stderr);
        assert!(text.contains("Message"), "{text}");
    }
}

#[tokio::test]
async fn a_log_at_trace_shows_no_key() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a", "1");
    for filter in ["trace", "aws_sigv4=trace,aws_config=trace,info", "aws_sigv4::http_request::sign=trace"] {
        let source = sandbox.source().args(&["--until-caught-up"]).secret(ACCESS_KEY);
        let ended = source.env("S3_CONNECTOR_LOG", filter).run().await.well();
        assert_eq!(ended.records().len(), 1);
    }
    // Keys of a profile, which the AWS crates tell of as they find them.
    let profile =
        format!("[profile other]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = embedded-secret-key\n");
    let source = Invocation::new(&["source", "--until-caught-up", "--set", "aws.bucket=photos"])
        .secret(ACCESS_KEY)
        .env("AWS_CONFIG_FILE", sandbox.file("config", profile))
        .env("AWS_PROFILE", "other")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_S3", sandbox.server.endpoint())
        .env("S3_CONNECTOR_LOG", "trace");
    let ended = source.run().await.well();
    assert!(ended.stderr.contains("GetObject"), "the log was captured");
}

#[tokio::test]
async fn no_core_file_is_written() {
    let sandbox = Sandbox::new().await;
    sandbox.put("a", "1");
    // As many cores as the system lets us have: the command takes that back.
    let script = "ulimit -c unlimited; exec s3-connector source --set aws.bucket=photos";
    let mut source = Invocation::script(script).at(&sandbox.server).start();
    source.lines(1).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", source.id())).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size"));
    let cores: Vec<_> = cores.unwrap().split_whitespace().skip(4).take(2).collect();
    assert!(cores.iter().all(|limit| matches!(*limit, "0" | "1")), "{limits}");
    let _ = source.kill().await;
}
