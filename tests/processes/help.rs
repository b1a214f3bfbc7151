//! Help texts: their examples are pasted into a shell.

use s3_connector_tests::process::Invocation;

use crate::sandbox::{Sandbox, encode_lines, records};

const COMMANDS: [&str; 10] =
    ["", "source", "destination", "run", "ls", "check", "policy", "spec", "completions", "man"];

/// The examples in a command's help, each as it would be pasted: continued lines belong together.
async fn examples(command: &str, columns: &str) -> Vec<String> {
    let arguments: &[&str] = if command.is_empty() { &["--help"] } else { &[command, "--help"] };
    let help = Invocation::new(arguments).env("COLUMNS", columns);
    let help = help.run().await.well().printed();
    let (_, examples) = help.split_once("Examples:\n").expect("there are some");
    let mut found: Vec<String> = Vec::new();
    for line in examples.lines().take_while(|line| !line.is_empty()) {
        match found.last_mut() {
            Some(last) if line.starts_with("      ") => {
                last.push('\n');
                last.push_str(line.trim_start());
            }
            _ => found.push(line.trim_start().to_owned()),
        }
    }
    assert!(!found.is_empty());
    found
}

/// The commands of an example, without what the shell makes of the rest.
fn parts(example: &str) -> Vec<&str> {
    example
        .split('|')
        .map(|part| part.split(['<', '>']).next().unwrap_or(part).trim())
        .filter(|part| part.starts_with("s3-connector "))
        .collect()
}

#[tokio::test]
async fn examples_are_not_torn_on_a_narrow_terminal() {
    for command in COMMANDS {
        let wide = examples(command, "100").await;
        assert_eq!(examples(command, "80").await, wide, "{command}");
    }
}

#[tokio::test]
async fn the_arguments_of_every_example_are_understood() {
    for command in COMMANDS {
        for example in examples(command, "80").await {
            let parts = parts(&example);
            assert!(!parts.is_empty(), "{example}");
            for part in parts {
                // Arguments are read up to this one.
                let script = format!("{} --help", part.trim_end_matches('\\'));
                let help = Invocation::script(&script).run().await.well();
                assert!(help.printed().contains("Usage: s3-connector "), "{script}");
            }
        }
    }
}

/// A shell that has jq, which some examples need. A machine that builds this may be without.
async fn has_jq() -> bool {
    let which = Invocation::script("command -v jq").run().await;
    which.code == Some(0)
}

#[tokio::test]
async fn every_example_that_comes_to_an_end_works_as_pasted() {
    let has_jq = has_jq().await;
    let mut count = 0;
    for command in COMMANDS {
        for example in examples(command, "80").await {
            let ends = example.contains("--until-caught-up")
                || example.contains("--dry-run")
                || example.contains("--limit")
                || ["destination", "ls", "check", "policy", "spec", "man"]
                    .iter()
                    .any(|name| example.starts_with(&format!("s3-connector {name}")));
            // A folder that is not the test's is left alone.
            let is_elsewhere = example.contains(" /");
            if !ends || is_elsewhere || (example.contains("jq ") && !has_jq) {
                continue;
            }
            let sandbox = Sandbox::new().await;
            sandbox.fill(3);
            let _ = sandbox.file("photos.jsonl", encode_lines(&records(0..3)));
            let _ = sandbox.file("photos.yaml", pipeline_of_help().await);
            let script = Invocation::script(&example).at(&sandbox.server);
            let folder = sandbox.path(".");
            let ended = script.within(&folder).run().await.well();
            assert!(!ended.stderr.contains("error"), "{example}: {}", ended.stderr);
            count += 1;
        }
    }
    assert!(count >= 8, "{count} examples");
}

/// The pipeline file that the help of `run` shows.
async fn pipeline_of_help() -> String {
    let help = Invocation::new(&["run", "--help"]).env("COLUMNS", "80");
    let help = help.run().await.well().printed();
    let (_, yaml) = help.split_once("photos.yaml:\n").expect("there is one");
    let yaml: Vec<&str> = yaml.lines().take_while(|line| !line.is_empty()).collect();
    yaml.join("\n")
}

#[tokio::test]
async fn the_pipeline_in_the_help_runs_as_it_stands_there() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let file = sandbox.file("photos.yaml", pipeline_of_help().await);
    let ended = sandbox.command(&["run", "--until-caught-up", &file]).run().await.well();
    let _ = ended.saying(&["3 records were stored"]);
}
