//! `run` with pipeline files in Conduit's form.

use embedded_s3::{S3Operation, SECRET_KEY};

use crate::sandbox::{Sandbox, decode_lines, keys, numbered};

#[tokio::test]
async fn a_bucket_goes_to_a_bucket() {
    for format in ["json", "parquet"] {
        let sandbox = Sandbox::new().await;
        sandbox.fill(50);
        let yaml = "\
version: 2.2
pipelines:
  - id: photos-to-lake
    status: running
    name: photos
    description: copies
    connectors:
      - id: photos
        type: source
        plugin: builtin:s3
        name: the photos
        settings:
          aws.bucket: photos
          pollingPeriod: 20ms
      - id: lake
        type: destination
        plugin: s3
        settings:
          aws.bucket: lake
          prefix: ${PREFIX}/
          format: ${FORMAT}
          bufferSize: 20
          bufferDelay: 1h
";
        let file = sandbox.file("pipeline.yaml", yaml);
        let run =
            || sandbox.command(&["run", "--until-caught-up", &file]).env("FORMAT", format).env("PREFIX", "from photos");
        let ended = run().run().await.well();
        let _ = ended.saying(&["pipeline `photos-to-lake`: 50 records were stored"]);
        assert_eq!(keys(&sandbox.stored()), numbered(0..50));
        let objects = sandbox.server.store().list("lake", "from photos/").unwrap();
        assert_eq!(objects.len(), 3, "of twenty, twenty and ten");

        // The next run goes on where this one ended.
        sandbox.put("0050", "new");
        let ended = run().run().await.well();
        let _ = ended.saying(&["1 records were stored"]);
        assert_eq!(sandbox.stored().len(), 51);
    }
}

#[tokio::test]
async fn a_bucket_goes_to_a_file_and_the_file_to_a_bucket() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(30);
    let yaml = "\
version: 2.2
pipelines:
  - id: down
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}}
      - {id: out, type: destination, plugin: file, settings: {path: photos.jsonl}}
";
    let down = sandbox.file("down.yaml", yaml);
    let _ = sandbox.command(&["run", "--until-caught-up", &down]).run().await.well();
    let lines = std::fs::read(sandbox.path("photos.jsonl")).unwrap();
    assert_eq!(keys(&decode_lines(&lines)), numbered(0..30));

    let yaml = "\
version: 2.2
pipelines:
  - id: up
    connectors:
      - {id: in, type: source, plugin: file, settings: {path: photos.jsonl}}
      - {id: out, type: destination, plugin: s3, settings: {aws.bucket: lake, format: json, bufferDelay: 1h}}
";
    let up = sandbox.file("up.yaml", yaml);
    for _ in 0..2 {
        // The second time there is nothing new.
        let _ = sandbox.command(&["run", "--until-caught-up", &up]).run().await.well();
    }
    let mut stored = sandbox.stored();
    stored.sort_by_key(|record| crate::sandbox::key(record).parse::<usize>().unwrap());
    let contents: Vec<u8> =
        stored.iter().flat_map(|record| [&crate::sandbox::payload(record).unwrap()[..], b"\n"].concat()).collect();
    assert_eq!(contents, lines, "a record a line, as it stands there");
}

#[tokio::test]
async fn pipelines_that_are_stopped_are_not_run_and_others_are() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let pipeline = |id: &str, status: &str| {
        format!(
            "pipelines: [{{id: {id}, status: {status}, connectors: [
               {{id: in, type: source, plugin: s3, settings: {{aws.bucket: photos}}}},
               {{id: out, type: destination, plugin: file, settings: {{path: {id}.jsonl}}}}]}}]"
        )
    };
    let one = sandbox.file("one.yaml", pipeline("one", "stopped"));
    let two = sandbox.file("two.yaml", pipeline("two", "running"));
    let ended = sandbox.command(&["run", "--until-caught-up", &one, &two]).run().await.well();
    let _ = ended.saying(&["pipeline `one` has status stopped: not running it", "pipeline `two`: 3 records"]);
    assert!(!sandbox.path("one.jsonl").exists());
    assert!(sandbox.path("two.jsonl").exists());

    let ended = sandbox.command(&["run", &one]).run().await.well();
    let _ = ended.saying(&["no pipelines to run"]);
}

#[tokio::test]
async fn a_pipeline_that_fails_is_named_and_others_go_on() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let yaml = "\
pipelines:
  - id: broken
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: nowhere}}
      - {id: out, type: destination, plugin: file, settings: {path: broken.jsonl}}
  - id: whole
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}}
      - {id: out, type: destination, plugin: file, settings: {path: whole.jsonl}}
";
    let file = sandbox.file("two.yaml", yaml);
    let ended = sandbox.command(&["run", "--until-caught-up", &file]).run().await;
    let _ = ended.with_code(1).saying(&[
        "error: pipeline `broken`: connector `in`: bucket \"nowhere\" does not exist",
        "pipeline `whole`: 3 records were stored",
    ]);
}

#[tokio::test]
async fn keys_may_stand_in_a_file_by_variables_and_are_not_told() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let yaml = "\
version: 2.2
pipelines:
  - id: p
    connectors:
      - id: in
        type: source
        plugin: s3
        settings: {aws.bucket: photos, aws.accessKeyId: '${MY_KEY}', aws.secretAccessKey: '${MY_SECRET}'}
      - {id: out, type: destination, plugin: file, settings: {path: out.jsonl}}
";
    let file = sandbox.file("p.yaml", yaml);
    let run = |secret: &str| {
        sandbox
            .command(&["run", "--until-caught-up", "--verbose", &file])
            .env("MY_KEY", "embedded-access-key")
            .env("MY_SECRET", secret)
            .secret(secret)
    };
    let _ = run(SECRET_KEY).run().await.well();
    let wrong = run("not-the-secret-at-all").run().await.with_code(1);
    let _ = wrong.saying(&["refused", "setting aws.accessKeyId"]);
}

#[tokio::test]
async fn settings_and_keys_may_come_from_files_and_are_not_told() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let secret = sandbox.file("secret", format!("{SECRET_KEY}\n"));
    let key = sandbox.file("key", "embedded-access-key\n");
    let lines = format!(
        "aws.bucket: 'photos'\naws.accessKeyId: '${{file:{key}}}'\naws.secretAccessKey: '${{file:{secret}}}'\n"
    );
    let yaml = sandbox.file("s.yaml", &lines);
    let toml = sandbox.file("s.toml", lines.replace(": '", " = '"));
    let of = |arguments: &[&str]| {
        let wrong = "not-the-secret-at-all";
        sandbox.command(arguments).env("AWS_SECRET_ACCESS_KEY", wrong).secret(wrong).secret(SECRET_KEY)
    };
    for file in [&yaml, &toml] {
        let ended = of(&["source", "--until-caught-up", "-vv", "--settings", file]).run().await.well();
        assert_eq!(ended.records().len(), 3, "{file}");
    }
    // An argument comes before the file.
    let other = of(&["source", "--until-caught-up", "--settings", &yaml, "--set", "prefix=0002"]).run().await.well();
    assert_eq!(keys(&other.records()), ["0002"]);
    let elsewhere = of(&["source", "--settings", &yaml, "--set", "aws.bucket=nowhere"]).run().await.with_code(1);
    let _ = elsewhere.saying(&["bucket \"nowhere\" does not exist"]);
    let misspelt = sandbox.file("m.yaml", "aws.buckt: photos\n");
    let misspelt = of(&["source", "--settings", &misspelt]).run().await.with_code(2);
    let _ = misspelt.saying(&["`aws.buckt`", "`aws.bucket`"]);
    let absent = of(&["source", "--settings", "absent.yaml"]).run().await.with_code(2);
    let _ = absent.saying(&["error: absent.yaml: No such file"]);
}

#[tokio::test]
async fn every_problem_of_a_file_is_reported_at_once_with_its_place() {
    let cases = [
        ("version: 2.2\npipelines: [\n", ":2:12: ", "unclosed bracket"),
        ("version: 9.9\npipelines: []\n", ":1:10: ", "version `9.9`"),
        ("version: 2.2\npipelines:\n  - connectors: []\n", ":3:5: ", "`id`"),
        ("version: 2.2\npipelines:\n  - id: a/b\n    connectors: []\n", ":3:9: ", "a/b"),
        ("version: 2.2\npipelines:\n  - id: a\n    status: asleep\n", ":4:13: ", "`asleep`"),
        ("version: 2.2\npipelines:\n  - id: a\n    processors: [{id: x}]\n", ":4:5: ", "`processors`"),
        (
            "version: 2.2\npipelines:\n  - id: a\n    connectors:\n      - {id: in, type: source, plugin: kafka}\n",
            ":5:40: ",
            "`kafka`",
        ),
        (
            "version: 2.2\npipelines:\n  - id: a\n    connectors:\n      - {id: in, type: sideways, plugin: s3}\n",
            ":5:24: ",
            "`sideways`",
        ),
    ];
    let sandbox = Sandbox::new().await;
    for (yaml, place, what) in cases {
        let file = sandbox.file("bad.yaml", yaml);
        let ended = sandbox.command(&["run", &file]).run().await.with_code(2);
        let _ = ended.saying(&["error: ", &format!("{file}{place}"), what]);
    }
    let several = "version: 9.9\npipelines:\n  - id: a\n    status: asleep\n  - id: ''\n";
    let file = sandbox.file("bad.yaml", several);
    let ended = sandbox.command(&["run", &file]).run().await.with_code(2);
    let _ = ended.saying(&["bad.yaml:1:10: ", "bad.yaml:4:13: ", "bad.yaml:5:5: "]);
    assert_eq!(sandbox.server.requests_count(S3Operation::ListObjectsV2), 0);
    assert!(!sandbox.path("s3-connector-state").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_wrong_setting_is_told_with_its_pipeline_and_nothing_is_run() {
    let sandbox = Sandbox::new().await;
    let yaml = "\
pipelines:
  - id: p
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bukket: photos}}
      - {id: out, type: destination, plugin: file, settings: {path: out.jsonl}}
";
    let file = sandbox.file("p.yaml", yaml);
    let ended = sandbox.command(&["run", &file]).run().await.with_code(2);
    let _ = ended.saying(&["pipeline `p`: connector `in`: ", "`aws.bukket`", "`aws.bucket`"]);
    assert!(!sandbox.path("out.jsonl").exists());
}

#[tokio::test]
async fn what_a_file_has_for_conduit_alone_is_ignored_with_a_warning() {
    let sandbox = Sandbox::new().await;
    sandbox.fill(3);
    let yaml = "\
version: 2.2
pipelines:
  - id: p
    owner: somebody
    connectors:
      - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos, sdk.batch.size: 10, prefix: '${NOWHERE}'}}
      - {id: out, type: destination, plugin: file, settings: {path: out.jsonl}}
";
    let file = sandbox.file("p.yaml", yaml);
    let ended = sandbox.command(&["run", "--until-caught-up", &file]).run().await.well();
    let at = |place: &str, what: &str| format!("warning: {file}:{place}: {what}");
    let _ = ended.saying(&[
        &at("4:5", "ignoring unknown field `owner`"),
        &at("6:75", "ignoring setting `sdk.batch.size`"),
        &at("6:103", "environment variable `NOWHERE` is not set"),
    ]);
}
