//! Pipeline files as people write them.

use super::*;

const WHOLE: &str = r#"
version: 2.2
pipelines:
  - id: copy
    status: running
    name: a copy
    connectors:
      - id: in
        type: source
        plugin: standalone:s3@v0.1.0
        settings:
          aws.bucket: ${BUCKET}
          pollingPeriod: 010
          prefix: "a${NOT SET}b$c"
      - id: out
        type: destination
        plugin: builtin:file
        settings: {path: "./${NAME}-${BUCKET}.jsonl"}
  - id: asleep
    status: stopped
    connectors: []
"#;

fn lookup(name: &str) -> Option<String> {
    match name {
        "BUCKET" => Some("photos".to_owned()),
        "NAME" => Some("x".to_owned()),
        _ => None,
    }
}

fn problems(text: &str) -> Vec<String> {
    parse("p.yaml", text, &lookup).expect_err(text)
}

/// A file with one pipeline that has these lines.
fn pipeline(lines: &str) -> String {
    format!("version: 2.2\npipelines:\n  - id: p\n{lines}")
}

const SOURCE: &str = "    connectors:\n      - {id: a, type: source, plugin: s3}\n";
const DESTINATION: &str = "      - {id: b, type: destination, plugin: s3}\n";

#[test]
fn a_pipeline_is_read_as_it_is_written() {
    let file = parse("p.yaml", WHOLE, &lookup).unwrap();
    assert_eq!(file.warnings, Vec::<String>::new());
    assert_eq!(file.stopped, ["asleep"]);
    let [copy] = &file.pipelines[..] else {
        panic!("there is one pipeline")
    };
    assert_eq!((copy.id.as_str(), copy.source.id.as_str()), ("copy", "in"));
    assert_eq!(
        (copy.source.plugin, copy.destination.plugin),
        (Plugin::S3, Plugin::File)
    );
    assert_eq!(copy.source.settings["aws.bucket"], "photos");
    // As text, not as the number eight or ten.
    assert_eq!(copy.source.settings["pollingPeriod"], "010");
    assert_eq!(copy.source.settings["prefix"], "a${NOT SET}b$c");
    assert_eq!(copy.destination.settings["path"], "./x-photos.jsonl");
}

#[test]
fn unknown_fields_are_passed_over_with_a_warning_that_names_their_line() {
    let lines = format!("    stauts: running\n{SOURCE}        colour: red\n{DESTINATION}odd: 1\n");
    let lines = lines.replace(
        "      - {id: a, type: source, plugin: s3}",
        "      - id: a\n        type: source\n        plugin: s3",
    );
    let file = parse("p.yaml", &pipeline(&lines), &lookup).unwrap();
    assert_eq!(
        file.warnings,
        [
            "p.yaml:11: unknown field `odd` is passed over",
            "p.yaml:4: unknown field `stauts` is passed over",
            "p.yaml:9: unknown field `colour` is passed over",
        ]
    );
}

#[test]
fn what_would_change_records_is_refused_unless_it_is_empty() {
    let processors = format!("{SOURCE}{DESTINATION}    processors:\n      - {{id: x}}\n");
    assert_eq!(
        problems(&pipeline(&processors)),
        ["p.yaml:7: `processors` is not supported yet; take it out to run without"]
    );
    let queue = format!("    dead-letter-queue: {{plugin: log}}\n{SOURCE}{DESTINATION}");
    assert!(
        problems(&pipeline(&queue))[0]
            .starts_with("p.yaml:4: `dead-letter-queue` is not supported")
    );
    let empty = format!("    processors: []\n{SOURCE}{DESTINATION}");
    assert!(parse("p.yaml", &pipeline(&empty), &lookup).is_ok());
}

#[test]
fn a_pipeline_has_one_source_and_one_destination() {
    let one = pipeline(SOURCE);
    assert_eq!(
        problems(&one),
        ["p.yaml:3: pipeline `p` has no destination"]
    );
    let third = "      - {id: c, type: destination, plugin: file, settings: {path: x}}\n";
    let three = pipeline(&format!("{SOURCE}{DESTINATION}{third}"));
    assert!(problems(&three)[0].contains("has 2 destinations, which is not supported yet"));
    assert_eq!(
        problems(&pipeline("")),
        ["p.yaml:3: pipeline `p` has no source"]
    );
}

#[test]
fn every_problem_is_named_at_once() {
    let text = "version: 3\npipelines:\n  - id: ../p\n    status: paused\n    connectors:\n      \
                - {id: a, type: sauce, plugin: kafka}\n  - connectors: []\n";
    let expected = [
        "p.yaml:1: version `3` is not one of 2.0, 2.1, 2.2",
        "p.yaml:3: pipeline id `../p` may hold letters, digits, `-`, `_`, `:` and `.`",
        "p.yaml:4: status `paused` is not one of running, stopped",
        "p.yaml:6: connector type `sauce` is not one of source, destination",
        "p.yaml:6: plugin `kafka` is not one of s3, file",
        "p.yaml:7: a pipeline needs an `id`",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn a_file_that_is_no_yaml_or_of_another_shape_says_where() {
    for (text, expected) in [
        ("pipelines: [", "line"),
        ("pipelines: 3\n", "line 1"),
        (
            "version: 2.2\npipelines:\n  - id: [x]\n",
            "pipelines[0].id: invalid type: sequence",
        ),
        (
            "version: 2.2\npipelines:\n  - x\n",
            "expected a pipeline with `id` and `connectors` at line 3",
        ),
        ("- a\n", "expected a mapping with `version` and `pipelines`"),
    ] {
        let found = problems(text);
        assert!(
            found[0].starts_with("p.yaml: ") && found[0].contains(expected),
            "{found:?}"
        );
    }
}

#[test]
fn settings_of_the_file_plugin_are_checked_here() {
    let file = |settings: &str| {
        let line =
            format!("      - {{id: b, type: destination, plugin: file, settings: {settings}}}\n");
        problems(&pipeline(&format!("{SOURCE}{line}")))
    };
    assert_eq!(
        file("{}"),
        ["p.yaml:6: plugin file needs the setting `path`"]
    );
    assert!(file("{path: x, format: y}")[0].contains("unknown setting `format`"));
}

#[test]
fn conduits_own_settings_and_unset_variables_are_passed_over_aloud() {
    let line = "      - {id: b, type: destination, plugin: s3, settings: {sdk.batch.size: 10, prefix: '${NOWHERE}x'}}\n";
    let file = parse("p.yaml", &pipeline(&format!("{SOURCE}{line}")), &lookup).unwrap();
    assert_eq!(
        file.pipelines[0].destination.settings,
        Settings::from([("prefix".into(), "x".into())])
    );
    assert!(
        file.warnings[0].contains("`NOWHERE` is not set"),
        "{:?}",
        file.warnings
    );
    assert!(
        file.warnings[1].contains("`sdk.batch.size` belongs to Conduit"),
        "{:?}",
        file.warnings
    );
}

#[test]
fn plugins_have_the_names_that_conduit_gives_them() {
    for name in [
        "s3",
        "builtin:s3",
        "standalone:s3",
        "standalone:s3@v1.2.3",
        "s3@latest",
    ] {
        assert_eq!(plugin(name), Some(Plugin::S3), "{name}");
    }
    assert_eq!(plugin("builtin:file@v0.9.0"), Some(Plugin::File));
    for name in ["", "log", "other:s3", "s3x"] {
        assert_eq!(plugin(name), None, "{name}");
    }
}
