//! Owns files of settings, which `--settings` names: YAML, JSON or TOML. Leaves what settings there are and what they may hold to
//! the connector.
//!
//! Values are taken as the text that was written: `010`, `1e3` and `true` are no numbers and no booleans here, as in pipeline
//! files.

use std::path::Path;

use s3_connector_host::Settings;
use toml::de::{DeTable, DeValue};

use super::Failure;
use super::pipeline_file;
use super::references::{self, Missing};

/// The most bytes that a file of settings may have: more than anybody writes by hand.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A setting as it stands in a file.
#[derive(Debug)]
struct Written {
    /// File, line and column.
    place: String,
    name: String,
    value: String,
}

/// Reads the settings of a file, and replaces the references in them.
///
/// # Errors
///
/// Every problem, with its place, as wrong usage.
pub(super) fn read(path: &Path) -> Result<Settings, Failure> {
    let name = path.display().to_string();
    let text = pipeline_file::text(path, FILE_BYTES_MAX).map_err(Failure::Usage)?;
    let written = match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml" | "json") => yaml(&name, &text),
        Some("toml") => toml(&name, &text),
        _ => Err(vec![format!("{name}: its name must end in .yaml, .yml, .json or .toml, which tells its form")]),
    };
    let settings = written.and_then(|written| expanded(written, &|variable| std::env::var(variable).ok()));
    settings.map_err(|problems| Failure::Usage(problems.join("\n")))
}

fn expanded(written: Vec<Written>, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Settings, Vec<String>> {
    let (mut settings, mut problems) = (Settings::new(), Vec::new());
    for Written { place, name, value } in written {
        let (value, missing) = references::expand(&value, lookup);
        problems.extend(missing.into_iter().map(|missing| match missing {
            Missing::Variable(variable) => {
                format!("{place}: setting `{name}`: environment variable `{variable}` is not set")
            }
            Missing::File(reason) => format!("{place}: setting `{name}`: {reason}"),
        }));
        if settings.contains_key(&name) {
            problems.push(format!("{place}: duplicate setting `{name}`"));
        }
        settings.insert(name, value);
    }
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn yaml(name: &str, text: &str) -> Result<Vec<Written>, Vec<String>> {
    let settings = pipeline_file::settings(name, text).map_err(|problem| vec![problem])?;
    let written = |(place, name, value)| Written { place, name, value };
    Ok(settings.into_iter().map(written).collect())
}

fn toml(name: &str, text: &str) -> Result<Vec<Written>, Vec<String>> {
    let place = |at: usize| {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        format!("{name}:{line}:{column}")
    };
    let table = DeTable::parse(text).map_err(|error| {
        let place = error.span().map_or_else(|| name.to_owned(), |span| place(span.start));
        vec![format!("{place}: {}", error.message().trim_end())]
    })?;
    let (mut written, mut problems) = (Vec::new(), Vec::new());
    flatten("", table.get_ref(), &place, &mut written, &mut problems);
    if problems.is_empty() { Ok(written) } else { Err(problems) }
}

/// In TOML, `aws.bucket = "photos"` and `bucket = "photos"` under `[aws]` are the same.
fn flatten(
    prefix: &str,
    table: &DeTable<'_>,
    place: &dyn Fn(usize) -> String,
    written: &mut Vec<Written>,
    problems: &mut Vec<String>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let at = place(key.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(is_true) => is_true.to_string(),
            DeValue::Table(table) => {
                flatten(&format!("{name}."), table, place, written, problems);
                continue;
            }
            other => {
                let kind = other.type_str();
                problems.push(format!("{at}: setting `{name}` must be a text, a number or a boolean, not this {kind}"));
                continue;
            }
        };
        written.push(Written { place: at, name, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(extension: &str, text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("s.{extension}"));
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|failure| match failure {
            Failure::Usage(message) => message.replace(&path.display().to_string(), "s"),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn all_forms_say_the_same() {
        let expected: Settings =
            [("aws.bucket", "photos"), ("concurrency", "16"), ("decode", "true"), ("prefix", "a b ")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        for (extension, text) in [
            ("yaml", "aws.bucket: photos # mine\nconcurrency: 16\ndecode: true\nprefix: 'a b '\n"),
            ("yml", "\u{feff}{aws.bucket: photos, concurrency: 16, decode: true, prefix: 'a b '}"),
            ("json", r#"{"aws.bucket": "photos", "concurrency": 16, "decode": true, "prefix": "a b "}"#),
            ("toml", "aws.bucket = 'photos'\nconcurrency = 16\ndecode = true\nprefix = 'a b '\n"),
            ("toml", "\u{feff}concurrency = 16\ndecode = true\nprefix = \"a b \"\n[aws]\nbucket = \"photos\""),
            ("toml", "\"aws.bucket\" = 'photos'\nconcurrency = 16\ndecode = true\nprefix = 'a b '"),
        ] {
            assert_eq!(read_as(extension, text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(read_as("yaml", "period: 010").unwrap()["period"], "010", "as it is written");
        assert_eq!(read_as("toml", "").unwrap(), Settings::new());
    }

    #[test]
    fn problems_name_their_place_and_what_to_write() {
        let twice = "toml: duplicate setting `a.b`";
        for (extension, text, problem) in [
            ("ini", "a=b", "s: its name must end in .yaml, .yml, .json or .toml"),
            ("yaml", "a: 1\na: 2", "s:2:1: duplicate field `a`"),
            ("yaml", "aws:\n  bucket: photos", "s: field `aws`: expected string scalar at line 2"),
            ("yaml", "aws:\n  bucket: photos", "write `aws.NAME: value`, on one level"),
            ("yaml", "- a", "settings, each a name and a text"),
            (
                "yaml",
                "a: ${NO_SUCH_VARIABLE}",
                "s:1:1: setting `a`: environment variable `NO_SUCH_VARIABLE` is not set",
            ),
            ("yaml", "a: x\nb: ${file:/none}", "s:2:1: setting `b`: ${file:/none}: No such file"),
            ("toml", "a = 1\na = 2", "s:2:1: duplicate key"),
            ("toml", "a = 1\nb = [1]", "s:2:1: setting `b` must be a text, a number or a boolean, not this array"),
            ("toml", "a = 0x10", "s:1:1: setting `a` must be "),
            ("toml", "a = ", "s:1:"),
            ("toml", "a.b = 1\n\"a.b\" = 2", twice.trim_start_matches("toml: ")),
        ] {
            let found = read_as(extension, text).expect_err(text);
            assert!(found.contains(problem), "{found}");
        }
        let missing = read(Path::new("/none.yaml"));
        assert!(matches!(missing, Err(Failure::Usage(message)) if message.starts_with("/none.yaml: ")));
    }
}
