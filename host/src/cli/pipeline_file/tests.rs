//! Owns tests of pipeline files as people write them. Leaves running them to the process tests.

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
fn unknown_fields_are_ignored_with_a_warning_that_names_their_place() {
    let lines = format!("    stauts: running\n{SOURCE}        colour: red\n{DESTINATION}odd: 1\n");
    let lines = lines.replace(
        "      - {id: a, type: source, plugin: s3}",
        "      - id: a\n        type: source\n        plugin: s3",
    );
    let file = parse("p.yaml", &pipeline(&lines), &lookup).unwrap();
    assert_eq!(
        file.warnings,
        [
            "p.yaml:11:1: ignoring unknown field `odd`",
            "p.yaml:4:5: ignoring unknown field `stauts`",
            "p.yaml:9:9: ignoring unknown field `colour`",
        ]
    );
}

#[test]
fn what_would_change_records_is_refused_unless_it_is_empty() {
    let processors = format!("{SOURCE}{DESTINATION}    processors:\n      - {{id: x}}\n");
    assert_eq!(
        problems(&pipeline(&processors)),
        ["p.yaml:7:5: `processors` is not supported yet; remove it to run without processors"]
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
    assert_eq!(s3.window, NackWindow::new(0, 0), "a window of 0 tolerates every refusal");
}

#[test]
fn problems_of_a_dead_letter_queue_name_their_place() {
    for (lines, problem) in [
        ("      plugin: kafka\n", "p.yaml:5:15: unknown plugin `kafka`; use log, file or s3"),
        ("      plugin: file\n", "p.yaml:4:5: plugin file needs the setting `path`"),
        ("      plugin: log\n      settings: {level: loud}\n", "p.yaml:6:25: unknown level `loud`; use "),
        ("      plugin: log\n      settings: {path: x}\n", "p.yaml:6:18: unknown setting `path` of plugin log"),
        (
            "      plugin: s3\n      settings: {aws.bucket: b, format: raw}\n",
            "p.yaml:4:5: a dead letter has no key to name an object by: set `format` to `json` or `parquet`",
        ),
        ("      window-size: -1\n", "p.yaml:5:20: `window-size` must be a number from 0 to 1000000"),
        (
            "      window-size: 2\n      window-nack-threshold: 2\n",
            "p.yaml:6:30: `window-nack-threshold` must be lower than `window-size`",
        ),
    ] {
        let text = pipeline(&format!("    dead-letter-queue:\n{lines}{SOURCE}{DESTINATION}"));
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with(problem), "{problem}: {found:?}");
    }
    let connector = "      - {id: b, type: destination, plugin: log}\n";
    let found = problems(&pipeline(&format!("{SOURCE}{connector}")));
    assert_eq!(found, ["p.yaml:6:44: unknown plugin `log`; use s3 or file"]);
}

#[test]
fn a_pipeline_has_one_source_and_one_destination() {
    let one = pipeline(SOURCE);
    assert_eq!(problems(&one), ["p.yaml:3:5: pipeline `p` has no destination"]);
    let third = "      - {id: c, type: destination, plugin: file, settings: {path: x}}\n";
    let three = pipeline(&format!("{SOURCE}{DESTINATION}{third}"));
    assert!(problems(&three)[0].contains("has 2 destinations, which is not supported yet"));
    assert_eq!(problems(&pipeline("")), ["p.yaml:3:5: pipeline `p` has no source"]);
}

#[test]
fn every_problem_is_named_at_once() {
    let text = "version: 3\npipelines:\n  - id: ../p\n    status: paused\n    connectors:\n      \
                - {id: a, type: sauce, plugin: kafka}\n  - connectors: []\n";
    let expected = [
        "p.yaml:1:10: unsupported version `3`; use one of 2.0, 2.1, 2.2",
        "p.yaml:3:9: invalid pipeline id `../p`; use letters, digits, `-`, `_`, `:` and `.`",
        "p.yaml:4:13: unknown status `paused`; use running or stopped",
        "p.yaml:6:23: unknown connector type `sauce`; use source or destination",
        "p.yaml:6:38: unknown plugin `kafka`; use s3 or file",
        "p.yaml:7:5: a pipeline needs an `id`",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn a_file_that_is_no_yaml_or_of_another_shape_says_where() {
    for (text, place, expected) in [
        ("pipelines: [", "p.yaml:1:12: ", "unclosed bracket"),
        ("pipelines: 3\n", "p.yaml:1:1: ", "expected a list, each element of which is a pipeline"),
        ("version: 2.2\npipelines:\n  - id: [x]\n", "p.yaml", "field `id`: expected string scalar"),
        ("version: 2.2\npipelines:\n  - x\n", "p.yaml:3:5: ", "expected a pipeline with `id` and `connectors`"),
        ("- a\n", "p.yaml: ", "expected a mapping with `version` and `pipelines`"),
        ("pipelines:\n  - connectors:\n    - settings: x\n", "p.yaml:3:7: ", "expected settings, each a name and"),
        ("", "p.yaml", "expected a mapping with `version` and `pipelines`"),
    ] {
        let found = problems(text);
        assert!(found[0].starts_with(place) && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn settings_of_the_file_plugin_are_checked_here() {
    let file = |settings: &str| {
        let line = format!("      - {{id: b, type: destination, plugin: file, settings: {settings}}}\n");
        problems(&pipeline(&format!("{SOURCE}{line}")))
    };
    assert_eq!(file("{}"), ["p.yaml:6:50: plugin file needs the setting `path`"]);
    assert!(file("{path: x, format: y}")[0].contains("unknown setting `format`"));
}

#[test]
fn a_file_that_a_setting_refers_to_is_read_or_its_place_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cr3t\n").unwrap();
    let source = |path: &str| {
        let source = "      - {id: a, type: source, plugin: s3, settings: {aws.secretAccessKey: '${file:PATH}'}}\n";
        pipeline(&format!("    connectors:\n{}{DESTINATION}", source.replace("PATH", path)))
    };
    let file = parse("p.yaml", &source(&secret.display().to_string()), &lookup).unwrap();
    assert_eq!(file.pipelines[0].source.settings["aws.secretAccessKey"], "s3cr3t");
    let found = problems(&source("/none"));
    assert_eq!(found.len(), 1);
    let start = "p.yaml:5:75: setting `aws.secretAccessKey`: ${file:/none}: No such file";
    assert!(found[0].starts_with(start), "{found:?}");
}

#[test]
fn conduits_own_settings_and_unset_variables_are_ignored_with_a_warning() {
    let line =
        "      - {id: b, type: destination, plugin: s3, settings: {sdk.batch.size: 10, prefix: '${NOWHERE}x'}}\n";
    let file = parse("p.yaml", &pipeline(&format!("{SOURCE}{line}")), &lookup).unwrap();
    assert_eq!(file.pipelines[0].destination.settings, Settings::from([("prefix".into(), "x".into())]));
    assert!(file.warnings[1].contains("`NOWHERE` is not set"), "{:?}", file.warnings);
    assert!(file.warnings[0].contains("ignoring setting `sdk.batch.size`"), "{:?}", file.warnings);
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

#[test]
fn text_stays_as_it_was_written_and_null_is_its_text() {
    let settings = "{a: 010, b: 1e3, c: yes, d: , e: ~, f: null, g: 0x1F, h: 2020-01-01, i: 1_000, j: .inf, k: \"\"}";
    let line = format!("      - {{id: b, type: destination, plugin: s3, settings: {settings}}}\n");
    let file = parse("p.yaml", &pipeline(&format!("{SOURCE}{line}")), &lookup).unwrap();
    let values: Vec<&str> = file.pipelines[0].destination.settings.values().map(String::as_str).collect();
    assert_eq!(values, ["010", "1e3", "yes", "", "~", "null", "0x1F", "2020-01-01", "1_000", ".inf", ""]);
}

#[test]
fn anchors_are_followed_and_a_merge_key_is_an_ordinary_one() {
    let text = "version: 2.2\npipelines:\n  - id: one\n    connectors: &both\n      - {id: a, type: source, plugin: s3, \
                settings: &set {aws.bucket: x}}\n      - {id: b, type: destination, plugin: s3, settings: *set}\n  - id: \
                two\n    connectors: *both\n    <<: {id: three}\n";
    let file = parse("p.yaml", text, &lookup).unwrap();
    let ids: Vec<&str> = file.pipelines.iter().map(|pipeline| pipeline.id.as_str()).collect();
    assert_eq!(ids, ["one", "two"]);
    for pipeline in &file.pipelines {
        assert_eq!(pipeline.destination.settings["aws.bucket"], "x");
    }
    assert_eq!(file.warnings, ["p.yaml:9:5: ignoring unknown field `<<`"]);
}

#[test]
fn a_field_that_is_there_twice_is_an_error_wherever_it_stands() {
    for (text, expected) in [
        ("version: 2.2\nversion: 2.2\n", "p.yaml:2:1: duplicate field `version`"),
        ("odd: {a: 1, a: 2}\n", "p.yaml:1:13: duplicate field `a`"),
        ("pipelines:\n  - {id: p, id: p}\n", "p.yaml:2:13: duplicate field `id`"),
        ("pipelines:\n  - connectors:\n    - settings: {a: 1, a: 2}\n", "p.yaml:3:24: duplicate field `a`"),
    ] {
        assert_eq!(problems(text), [expected]);
    }
}

#[test]
fn a_second_document_is_an_error() {
    let text = format!("{}---\nversion: 2.2\n", pipeline(&format!("{SOURCE}{DESTINATION}")));
    assert_eq!(problems(&text), ["p.yaml:8:1: a second YAML document begins; put everything into the first one"]);
}

#[test]
fn a_file_that_would_grow_without_bound_is_refused() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (inner, outer) in "abcdefghijk".chars().zip("bcdefghijkl".chars()) {
        let nine = vec![format!("*{inner}"); 9].join(",");
        bomb.push_str(&format!("{outer}: &{outer} [{nine}]\n"));
    }
    let deep = format!("odd: {}x{}\n", "[".repeat(3000), "]".repeat(3000));
    let deep_blocks: String = (0..3000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for text in [bomb, deep, deep_blocks] {
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].starts_with("p.yaml:"), "{found:?}");
    }
}
