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
    let [copy] = &file.pipelines[..] else { panic!("there is one pipeline") };
    assert_eq!((copy.id.as_str(), copy.source.id.as_str()), ("copy", "in"));
    assert_eq!((copy.source.plugin, copy.destination.plugin), (Plugin::S3, Plugin::File));
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
    let empty = format!("    processors: []\n{SOURCE}{DESTINATION}");
    assert!(parse("p.yaml", &pipeline(&empty), &lookup).is_ok());
}

/// The dead-letter queue of a pipeline that has these lines.
fn dead_letters(lines: &str) -> Option<DeadLetterConfig> {
    let text = pipeline(&format!("    dead-letter-queue:\n{lines}{SOURCE}{DESTINATION}"));
    let mut file = parse("p.yaml", &text, &lookup).unwrap();
    assert_eq!(file.warnings, Vec::<String>::new());
    file.pipelines.remove(0).dead_letters
}

#[test]
fn a_dead_letter_queue_has_conduits_plugins_and_defaults() {
    for lines in ["", "      plugin: builtin:log\n", "      window-size: 100\n"] {
        assert_eq!(dead_letters(lines), None, "the first refusal ends it: {lines}");
    }
    let window = "      window-size: 10\n      window-nack-threshold: 2\n";
    let logged = dead_letters(window).unwrap();
    assert_eq!(logged.window, NackWindow::new(10, 2));
    assert_eq!(logged.destination.plugin, Plugin::Log);
    assert_eq!(logged.destination.settings["level"], "warn");
    assert_eq!(logged.destination.settings["message"], LOG_MESSAGE);

    let file = "      plugin: builtin:file\n      settings: {path: \"${NAME}.jsonl\"}\n";
    let file = dead_letters(&format!("{file}{window}")).unwrap();
    assert_eq!(file.destination.plugin, Plugin::File);
    assert_eq!(file.destination.settings["path"], "x.jsonl");

    let s3 = "      plugin: standalone:s3@v1.0.0\n      settings: {aws.bucket: dead, sdk.batch.size: 1}\n";
    let text = pipeline(&format!("    dead-letter-queue:\n{s3}      window-size: 0\n{SOURCE}{DESTINATION}"));
    let s3 = parse("p.yaml", &text, &lookup).unwrap();
    assert_eq!(s3.warnings.len(), 1, "{:?}", s3.warnings);
    let s3 = s3.pipelines[0].dead_letters.as_ref().unwrap();
    assert_eq!(s3.destination.plugin, Plugin::S3);
    assert_eq!(s3.window, NackWindow::new(0, 0), "a window of 0 bears everything");
}

#[test]
fn what_is_wrong_with_a_dead_letter_queue_is_told_with_its_line() {
    for (lines, problem) in [
        ("      plugin: kafka\n", "p.yaml:5: plugin `kafka` is not one of log, file, s3"),
        ("      plugin: file\n", "p.yaml:4: plugin file needs the setting `path`"),
        ("      plugin: log\n      settings: {level: loud}\n", "p.yaml:6: level `loud` is not one of"),
        ("      plugin: log\n      settings: {path: x}\n", "p.yaml:6: unknown setting `path` of plugin log"),
        ("      window-size: -1\n", "p.yaml:5: `window-size` must be a number from 0 to 1000000"),
        (
            "      window-size: 2\n      window-nack-threshold: 2\n",
            "p.yaml:6: `window-nack-threshold` must be lower than `window-size`",
        ),
    ] {
        let text = pipeline(&format!("    dead-letter-queue:\n{lines}{SOURCE}{DESTINATION}"));
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with(problem), "{problem}: {found:?}");
    }
    let connector = "      - {id: b, type: destination, plugin: log}\n";
    let found = problems(&pipeline(&format!("{SOURCE}{connector}")));
    assert_eq!(found, ["p.yaml:6: plugin `log` is not one of s3, file"]);
}

#[test]
fn a_pipeline_has_one_source_and_one_destination() {
    let one = pipeline(SOURCE);
    assert_eq!(problems(&one), ["p.yaml:3: pipeline `p` has no destination"]);
    let third = "      - {id: c, type: destination, plugin: file, settings: {path: x}}\n";
    let three = pipeline(&format!("{SOURCE}{DESTINATION}{third}"));
    assert!(problems(&three)[0].contains("has 2 destinations, which is not supported yet"));
    assert_eq!(problems(&pipeline("")), ["p.yaml:3: pipeline `p` has no source"]);
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
        ("version: 2.2\npipelines:\n  - id: [x]\n", "pipelines[0].id: invalid type: sequence"),
        ("version: 2.2\npipelines:\n  - x\n", "expected a pipeline with `id` and `connectors` at line 3"),
        ("- a\n", "expected a mapping with `version` and `pipelines`"),
    ] {
        let found = problems(text);
        assert!(found[0].starts_with("p.yaml: ") && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn settings_of_the_file_plugin_are_checked_here() {
    let file = |settings: &str| {
        let line = format!("      - {{id: b, type: destination, plugin: file, settings: {settings}}}\n");
        problems(&pipeline(&format!("{SOURCE}{line}")))
    };
    assert_eq!(file("{}"), ["p.yaml:6: plugin file needs the setting `path`"]);
    assert!(file("{path: x, format: y}")[0].contains("unknown setting `format`"));
}

#[test]
fn conduits_own_settings_and_unset_variables_are_passed_over_aloud() {
    let line =
        "      - {id: b, type: destination, plugin: s3, settings: {sdk.batch.size: 10, prefix: '${NOWHERE}x'}}\n";
    let file = parse("p.yaml", &pipeline(&format!("{SOURCE}{line}")), &lookup).unwrap();
    assert_eq!(file.pipelines[0].destination.settings, Settings::from([("prefix".into(), "x".into())]));
    assert!(file.warnings[0].contains("`NOWHERE` is not set"), "{:?}", file.warnings);
    assert!(file.warnings[1].contains("`sdk.batch.size` belongs to Conduit"), "{:?}", file.warnings);
}

#[test]
fn plugins_have_the_names_that_conduit_gives_them() {
    for name in ["s3", "builtin:s3", "standalone:s3", "standalone:s3@v1.2.3", "s3@latest"] {
        assert_eq!(plugin(name), Some(Plugin::S3), "{name}");
    }
    assert_eq!(plugin("builtin:file@v0.9.0"), Some(Plugin::File));
    assert_eq!(plugin("builtin:log"), Some(Plugin::Log));
    for name in ["", "other:s3", "s3x"] {
        assert_eq!(plugin(name), None, "{name}");
    }
}
