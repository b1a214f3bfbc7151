//! Owns the rules of the house that a compiler does not know, checked over the tree as text.
//!
//! Leaves style that a lint checks to the lint, and the rules of language to `prose`.

mod prose;

use std::fs;
use std::path::{Path, PathBuf};

use s3_connector::config;

/// Words that say nothing about what is in a module.
const EMPTY_NAMES: [&str; 10] =
    ["utils", "util", "common", "helpers", "helper", "manager", "service", "impl", "misc", "mod"];

/// Folders that are not the project's own: what was built, and what is others'.
const FOREIGN_FOLDERS: [&str; 4] = ["target", ".git", "wit/deps", "tests/fuzz/corpora"];

/// Places on somebody's machine, and hosts that packages come from: nobody else has the one, everybody has their own
/// of the other.
const FOREIGN_PLACES: [&str; 9] = [
    "/work/",
    "/root/",
    "/home/",
    "../shared",
    "index.crates.io",
    "static.crates.io",
    "proxy.golang.org",
    "pypi.org",
    "deb.debian.org",
];

/// Lines of a file at most: what one can keep in mind.
const LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests are in the workspace").to_owned()
}

/// All files of ours below `folder` whose names end so, with their paths from the root.
fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            let name = path.strip_prefix(root()).expect("below the root");
            let name = name.to_string_lossy().into_owned();
            if path.is_dir() {
                if !FOREIGN_FOLDERS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push((name, fs::read_to_string(&path).expect("it is text")));
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} below {folder}");
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    ["component", "guest", "host", "tests"].iter().flat_map(|folder| files(folder, ".rs")).collect()
}

/// Fails with all that is wrong, a line each.
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    none(silent.map(|(name, _)| format!("{name} does not open with //!")).collect());
}

#[test]
fn no_file_is_longer_than_one_can_read() {
    let long = sources().into_iter().filter(|(_, text)| text.lines().count() > LINES_MAX);
    none(long.map(|(name, text)| format!("{name} has {} lines", text.lines().count())).collect());
}

#[test]
fn modules_are_named_after_things() {
    let empty = |name: &str| {
        let stem = Path::new(name).file_stem().map(|s| s.to_string_lossy().into_owned());
        stem.is_some_and(|stem| EMPTY_NAMES.contains(&stem.as_str()))
    };
    none(sources().into_iter().map(|(name, _)| name).filter(|name| empty(name)).collect());
}

#[test]
fn nothing_unfinished_is_left() {
    // Put together here, so that this file does not find itself.
    let marks = [concat!("dbg", "!("), concat!("todo", "!("), concat!("unimpl", "emented!("), concat!("FIX", "ME")];
    let todo = concat!("TO", "DO");
    let mut problems = Vec::new();
    for (name, text) in sources() {
        for (number, line) in (1..).zip(text.lines()) {
            let bare = line.contains(todo) && !line.contains(concat!("TO", "DO(#"));
            if bare || marks.iter().any(|mark| line.contains(mark)) {
                problems.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    none(problems);
}

/// Lines that code is made of: no comments, no tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let tests = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..tests].lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

/// Lines of the files for which `applies` that hold one of `words`.
fn uses(folder: &str, applies: impl Fn(&str) -> bool, words: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, text) in files(folder, ".rs").into_iter().filter(|(name, _)| applies(name)) {
        for line in code(&text).filter(|line| words.iter().any(|word| line.contains(word))) {
            problems.push(format!("{name}: {line}"));
        }
    }
    problems
}

#[test]
fn only_the_edges_see_generated_code() {
    let inner =
        |name: &str| !["bindings.rs", "component.rs", "wasi.rs", "lib.rs"].iter().any(|edge| name.ends_with(edge));
    none(uses("guest/src", inner, &["bindings::", "crate::component", "crate::wasi", "::wasi::"]));
    let above = |name: &str| {
        ["cli", "pipeline", "egress", "credentials", "state", "environment"]
            .iter()
            .any(|part| name.contains(&format!("src/{part}")))
    };
    none(uses("host/src", above, &["crate::bindings"]));
}

/// Modules, by the beginnings of their paths, and what stands above them and is not for them.
const ABOVE: [(&[&str], &[&str]); 13] = [
    (
        &["guest/src/s3", "guest/src/config", "guest/src/record", "guest/src/position", "guest/src/time"],
        &["crate::source", "crate::destination"],
    ),
    (&["guest/src/ports", "guest/src/error", "guest/src/limits"], &["crate::source", "crate::destination"]),
    (
        &["guest/src/ports.rs", "guest/src/error.rs"],
        &["crate::s3", "crate::record", "crate::position", "crate::config"],
    ),
    (&["guest/src/source"], &["crate::destination"]),
    (&["guest/src/destination"], &["crate::source"]),
    (
        &["host/src/egress/policy", "host/src/egress/operation", "host/src/egress/denial"],
        &["super::Egress", "upstream"],
    ),
    (
        &["host/src/egress", "host/src/credentials", "host/src/state", "host/src/role", "host/src/error"],
        &["crate::connector", "crate::pipeline", "crate::check", "crate::cli"],
    ),
    (&["host/src/connector/", "host/src/check", "host/src/pipeline"], &["crate::cli"]),
    (&["host/src/connector/"], &["crate::pipeline", "crate::check"]),
    (&["tests/embedded-s3/src/model"], &["crate::wire", "crate::api", "crate::server"]),
    (&["tests/embedded-s3/src/wire"], &["crate::api", "crate::server"]),
    (&["tests/embedded-s3/src/api"], &["crate::server"]),
    // What judges the connector shares no code with it.
    (&["tests/embedded-s3", "tests/synthetic-s3"], &["s3_connector"]),
];

#[test]
fn dependencies_run_one_way() {
    for (below, above) in ABOVE {
        let applies = |name: &str| below.iter().any(|part| name.starts_with(part));
        none(
            ["guest/src", "host/src", "tests/embedded-s3", "tests/synthetic-s3"]
                .iter()
                .flat_map(|f| uses(f, applies, above))
                .collect(),
        );
    }
}

#[test]
fn the_host_knows_the_guest_by_its_plain_types() {
    let inner = [
        "s3_connector::s3",
        "s3_connector::source",
        "s3_connector::destination",
        "s3_connector::ports",
        "s3_connector::position",
    ];
    let outside_of_checks = |name: &str| !name.starts_with("host/src/check");
    none(uses("host/src", outside_of_checks, &inner));
}

#[test]
fn policy_and_signing_do_nothing_but_judge_and_sign() {
    let pure = |name: &str| name.contains("egress/policy") || name.contains("egress/sign");
    none(uses("host/src", pure, &["wasmtime", "tokio", "SystemTime::now", "std::fs", "std::net"]));
}

#[test]
fn the_guest_asks_its_ports_for_time_and_randomness() {
    let words = ["SystemTime::now", "Instant::now", "thread::", "HashMap", "HashSet", "std::env"];
    none(uses("guest/src", |_| true, &words));
}

#[test]
fn every_item_of_the_contract_is_explained_and_dated() {
    let starts = ["interface ", "record ", "%record ", "variant ", "enum ", "resource ", "type ", "world "];
    let mut problems = Vec::new();
    for (name, text) in files("wit", ".wit") {
        let mut explained = false;
        let mut dated = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("///") {
                explained = true;
            } else if line.starts_with("@since") {
                dated = true;
            } else if !line.is_empty() {
                let item = starts.iter().any(|s| line.starts_with(s)) && line.ends_with(['{', ';']);
                let function = line.contains(": func(") || line.contains(": static func(");
                // A field or a case: what it is part of is dated.
                let part = !line.starts_with("use ") && line.ends_with(',');
                let is_bare = (item || function) && !(explained && dated);
                let is_bare = is_bare || (part && !explained);
                if is_bare || (line.starts_with("use ") && !dated) {
                    problems.push(format!("{name}: {line}"));
                }
                (explained, dated) = (false, false);
            }
        }
    }
    none(problems);
}

#[test]
fn every_setting_is_in_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is one");
    let parameters = config::source_parameters().chain(config::destination_parameters());
    let missing = parameters
        .filter(|p| !readme.contains(&format!("| `{}`", p.name)) && !readme.contains(&format!("`{}` |", p.name)));
    none(missing.map(|parameter| parameter.name.to_owned()).collect());
}

/// A promise whose test was renamed or removed is one that nobody keeps.
#[test]
fn every_promise_of_security_names_tests_that_there_are() {
    let security = fs::read_to_string(root().join("SECURITY.md")).expect("there is one");
    let sources = ["guest/src", "host/src", "tests"].map(|folder| files(folder, ".rs"));
    let is_there = |name: &str| {
        let begin = format!("fn {name}(");
        sources.iter().flatten().any(|(_, text)| text.contains(&begin))
    };
    let rows = |heading| {
        let section = security.split(heading).nth(1).and_then(|rest| rest.split("## ").next());
        let section: &str = section.expect("there is one");
        section.lines().filter(|line| line.starts_with("| ")).skip(1)
    };
    let promises = ["## What is promised", "## How it was attacked"].into_iter().flat_map(rows);
    let mut problems = Vec::new();
    for promise in promises {
        let tests = promise.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            problems.push(format!("no test: {promise}"));
        }
        problems
            .extend(names.into_iter().filter(|name| !is_there(name)).map(|name| format!("there is no test `{name}`")));
    }
    none(problems);
}

#[test]
fn the_project_stands_alone() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("there is one");
    assert!(changelog.contains("## Unreleased"), "the changelog has a place for what comes next");
    let has_suffix = |name: &str| {
        [".rs", ".md", ".toml", ".wit", ".sh", ".py", ".txt", ".yaml", ".mjs", ".json", ".wat", "Makefile", "run"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
    };
    let mut problems = Vec::new();
    // Its own list of what must not stand elsewhere is in this file.
    let papers = files("", "").into_iter();
    for (name, text) in papers.filter(|(name, _)| has_suffix(name) && name != "tests/tidy/main.rs") {
        let foreign = FOREIGN_PLACES.iter().filter(|place| text.contains(**place));
        problems.extend(foreign.map(|place| format!("{name} names {place}")));
    }
    none(problems);
}
