//! Objects that may not be read: what `source` prints before one, and what it reports about those that it skips.

use embedded_s3::{Filter, S3Operation};
use s3_connector::record::Data;
use s3_connector_tests::process::{Ended, Record};

use crate::sandbox::Sandbox;

fn keys(ended: &Ended) -> Vec<String> {
    let key = |record: &Record| match &record.key {
        Some(Data::Raw(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?} is no key"),
    };
    ended.records().iter().map(key).collect()
}

/// A bucket of four objects, one of which is denied.
async fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new().await;
    sandbox.fill(4);
    let denied = Filter::from(S3Operation::GetObject).key("0002");
    sandbox.server.access().deny(denied);
    sandbox
}

#[tokio::test]
async fn what_is_readable_before_a_denied_object_is_printed() {
    let sandbox = sandbox().await;
    let source = sandbox.source_with_state().args(&["--until-caught-up"]);
    let says = ["object `0002`", "GetObject was denied", "`unreadable`"];
    let ended = source.run().await.with_code(1).saying(&says);
    assert_eq!(keys(&ended), ["0000", "0001"]);
    // The next run resumes after them, with a way past it.
    let source = sandbox.source_with_state().set("unreadable", "skip");
    let ended = source.args(&["--until-caught-up"]).run().await.well();
    assert_eq!(keys(&ended), ["0003"]);
}

#[tokio::test]
async fn quiet_commands_say_how_many_were_skipped() {
    let sandbox = sandbox().await;
    let source = sandbox.source().set("unreadable", "skip");
    let ended = source.args(&["--until-caught-up", "--quiet"]).run().await;
    assert_eq!(ended.well().stderr, "skipped 1 object\n");
    let yaml = "pipelines: [{id: p, connectors: [\
                {id: in, type: source, plugin: s3, settings: {aws.bucket: photos, unreadable: skip}}, \
                {id: out, type: destination, plugin: file, settings: {path: PATH}}]}]";
    let path = sandbox.text_path("out.jsonl");
    let file = sandbox.file("quiet.yaml", yaml.replace("PATH", &path));
    let ended = sandbox.command(&["run", "--quiet", "--until-caught-up", &file]);
    let ended = ended.run().await.well();
    assert_eq!(ended.stderr, "pipeline `p`: skipped 1 object\n");
}

#[tokio::test]
async fn what_was_skipped_is_listed_at_the_end() {
    let sandbox = sandbox().await;
    let source = sandbox.source().set("unreadable", "skip");
    let ended = source.args(&["--until-caught-up"]).run().await.well();
    assert_eq!(keys(&ended), ["0000", "0001", "0003"]);
    let ended = ended.saying(&["skipped `0002`", "GetObject was denied"]);
    let listed = ended.stderr.lines();
    let listed = listed.filter(|line| line.starts_with("skipped"));
    assert_eq!(listed.count(), 1, "{}", ended.stderr);
}
