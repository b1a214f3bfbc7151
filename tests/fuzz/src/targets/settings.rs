//! Owns what must hold of settings: what the specification says of a setting and what the parser takes agree, errors name a
//! setting, and no error repeats a secret.

use std::collections::BTreeMap;

use regex_lite::Regex;
use s3_connector::config::{
    DestinationConfig, Parameter, ParameterType, Settings, SourceConfig, Validation, destination_parameters,
    source_parameters,
};
use s3_connector::error::{Error, ErrorKind};

use crate::novelty::note;

pub(super) const WORDS: &[&str] = &[
    "\n",
    "=",
    "true",
    "false",
    "T",
    "0",
    "1",
    "-1",
    "1s",
    "16MiB",
    "2026/",
    "parquet",
    "json",
    "raw",
    "avro",
    "csv",
    "auto",
    "gzip",
    "zstd",
    "arn:aws:s3:eu-west-1:123456789012:accesspoint/a",
    "https://s3.eu-west-1.amazonaws.com",
    "http://[::1]:9000/base",
    "{key}",
    "{createdAt:%Y}",
    "**/*.jpg",
    "[!a]",
    "a=b&c=d",
    "GLACIER",
    "aws:kms",
];

fn settings(text: &str) -> Settings {
    let base = [("aws.bucket", "photos"), ("aws.region", "us-east-1"), ("format", "json")];
    let mut all: Settings = base.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    all.extend(
        text.split('\n')
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    all
}

pub(super) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let set = settings(text);
    let mut of_source = set.clone();
    of_source.remove("format");
    judge(&of_source, source_parameters(), SourceConfig::parse);
    judge(&set, destination_parameters(), DestinationConfig::parse);
}

fn judge<T: PartialEq + std::fmt::Debug>(
    set: &Settings,
    known: impl Iterator<Item = Parameter>,
    parse: fn(&Settings) -> Result<T, Error>,
) {
    let known: BTreeMap<_, _> = known.map(|parameter| (parameter.name, parameter)).collect();
    let outcome = parse(set);
    assert_eq!(outcome, parse(set));
    match outcome {
        Ok(_) => {
            for (name, value) in set {
                let parameter = known.get(name.trim()).expect("what is unknown is refused");
                // Engines drop what is empty, and the parser takes blanks around a name and a value.
                let value = value.trim();
                assert!(value.is_empty() || takes(parameter, value), "the specification refuses `{name}`=`{value}`");
                note(name);
            }
        }
        Err(error) => {
            note(&error.message);
            assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
            let is_named = |name: &&String| error.message.contains(name.trim()) || !known.contains_key(name.trim());
            assert!(set.keys().any(|name| is_named(&name)) || error.message.contains("aws."), "{error}");
            let secrets =
                set.iter().filter(|(name, value)| known.get(name.trim()).is_some_and(|p| p.secret) && value.len() > 8);
            for (name, secret) in secrets {
                let elsewhere = set
                    .iter()
                    .any(|(other, value)| other != name && (value.contains(secret) || other.contains(secret)));
                assert!(elsewhere || !error.message.contains(secret.as_str()), "{name} is repeated");
            }
        }
    }
}

/// Whether an engine that goes by the specification alone takes a value.
fn takes(parameter: &Parameter, text: &str) -> bool {
    let number = text.parse::<i64>().ok().map(|number| number as f64);
    let is_typed = match parameter.kind {
        ParameterType::String | ParameterType::Duration => true,
        ParameterType::Int => number.is_some(),
        ParameterType::Bool => {
            ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"].contains(&text)
        }
    };
    is_typed
        && parameter.validations.iter().all(|validation| match validation {
            Validation::Required => !text.is_empty(),
            Validation::GreaterThan(bound) => number.is_some_and(|number| number > *bound),
            Validation::LessThan(bound) => number.is_some_and(|number| number < *bound),
            Validation::Inclusion(choices) => choices.contains(&text),
            Validation::Regex(pattern) => Regex::new(pattern).expect("a pattern").is_match(text),
        })
}

/// Each setting with its default.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let line = |parameter: Parameter| format!("{}={}", parameter.name, parameter.default.unwrap_or("1"));
    source_parameters().chain(destination_parameters()).map(line).map(String::into_bytes).collect()
}
