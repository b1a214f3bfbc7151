//! Owns `s3-connector spec`: what the component says of itself and its settings, as text, Markdown or JSON. Leaves what
//! settings there are to the component.

use std::borrow::Cow;

use clap::Args;
use s3_connector_host::printable::{self, MESSAGE_BYTES_MAX};
use s3_connector_host::{Options, Parameter, ParameterType, Specification, Validation};
use serde_json::{Value, json};

use super::terminal::print_data;
use super::{Failure, load};

/// Lists all settings, with their types and defaults
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct SpecArguments {
    /// Print JSON, in the words of Conduit's connector.yaml
    #[arg(long)]
    json: bool,
    /// Print the settings as a table in Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector spec
  s3-connector spec --json | jq -r '.source.parameters[].name'

Keys, region and endpoint that are not set come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, \
AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL_S3, or from wherever else the AWS CLI finds them.

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Columns of text.
const WIDTH: usize = 100;

/// Runs the command.
pub(super) async fn run(arguments: &SpecArguments, options: Options) -> Result<(), Failure> {
    let connector = load(options).await?;
    let specification = connector.specification();
    if arguments.json {
        let json = format!("{:#}\n", as_json(specification));
        print_data(&printable::json(&json))
    } else if arguments.markdown {
        print_data(&as_markdown(specification))
    } else {
        print_data(&as_text(specification))
    }
}

/// The settings by the side that they belong to.
fn groups(specification: &Specification) -> [(&'static str, Vec<&Parameter>); 3] {
    let (sources, destinations) = (&specification.source_parameters, &specification.destination_parameters);
    let of = |parameters: &[Parameter], name: &str| parameters.iter().any(|p| p.name == name);
    let is_shared = |parameter: &&Parameter| of(sources, &parameter.name);
    [
        ("both", destinations.iter().filter(is_shared).collect()),
        ("source", sources.iter().filter(|p| !of(destinations, &p.name)).collect()),
        ("destination", destinations.iter().filter(|p| !is_shared(p)).collect()),
    ]
}

fn as_markdown(specification: &Specification) -> String {
    let cell = |text: &str| line(text).replace('|', "\\|");
    let mut table = "| name | side | type, default | meaning |\n|---|---|---|---|\n".to_owned();
    for (side, parameters) in groups(specification) {
        for parameter in parameters {
            let (name, facts) = (cell(&parameter.name), cell(&facts(parameter, "`").join("; ")));
            let description = cell(&parameter.description);
            table.push_str(&format!("| `{name}` | {side} | {facts} | {description} |\n"));
        }
    }
    table
}

fn as_text(specification: &Specification) -> String {
    let mut text =
        format!("{} {}: {}\n", line(&specification.name), line(&specification.version), line(&specification.summary));
    for (side, parameters) in groups(specification) {
        let title = match side {
            "source" => "Source",
            "destination" => "Destination",
            _ => "Source and destination",
        };
        text.push_str(&format!("\n{title}\n"));
        for parameter in parameters {
            describe(parameter, &mut text);
        }
    }
    text
}

/// A component's text, which stays on its line.
fn line(text: &str) -> Cow<'_, str> {
    printable::line(text, MESSAGE_BYTES_MAX)
}

/// What values a setting takes, and its default; words of values between `quote`s.
fn facts(parameter: &Parameter, quote: &str) -> Vec<String> {
    let quoted = |values: &[String], last: &str| {
        let values: Vec<_> = values.iter().map(|value| format!("{quote}{value}{quote}")).collect();
        match values.split_last() {
            Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
            _ => values.join(""),
        }
    };
    let mut facts = vec![type_name(parameter.type_).to_owned()];
    if parameter.secret {
        facts = vec!["secret".to_owned()];
    }
    let (mut low, mut high) = (None, None);
    for validation in &parameter.validations {
        match validation {
            Validation::Required => facts.push("required".to_owned()),
            Validation::Inclusion(values) => facts[0] = quoted(values, "or"),
            Validation::Exclusion(values) => facts.push(format!("not {}", quoted(values, "or"))),
            Validation::GreaterThan(bound) => low = Some(*bound),
            Validation::LessThan(bound) => high = Some(*bound),
            // The description says it in words.
            Validation::Regex(_) => {}
        }
    }
    facts.extend(match (low, high) {
        // Of a whole number the bounds themselves are the clearer ones.
        (Some(low), Some(high)) if parameter.type_ == ParameterType::Int => {
            Some(format!("{} to {}", low.floor() + 1.0, high.ceil() - 1.0))
        }
        (Some(low), Some(high)) => Some(format!("above {low} and below {high}")),
        (Some(low), None) => Some(format!("above {low}")),
        (None, Some(high)) => Some(format!("below {high}")),
        (None, None) => None,
    });
    if let Some(default) = parameter.default.as_deref().filter(|default| !default.is_empty()) {
        facts.push(format!("default {quote}{default}{quote}"));
    }
    facts
}

/// A setting as one line of facts and lines of description.
fn describe(parameter: &Parameter, text: &mut String) {
    let mut facts = facts(parameter, "");
    if parameter.secret {
        facts.push("never reaches the component".to_owned());
    }
    text.push_str(&format!("  {:<24}{}\n", line(&parameter.name), line(&facts.join("; "))));
    let mut words = String::new();
    for word in parameter.description.split_whitespace() {
        let word = line(word);
        if !words.is_empty() && words.len() + word.len() + 27 > WIDTH {
            text.push_str(&format!("{:26}{words}\n", ""));
            words.clear();
        }
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(&word);
    }
    text.push_str(&format!("{:26}{words}\n", ""));
}

fn type_name(parameter_type: ParameterType) -> &'static str {
    match parameter_type {
        ParameterType::String => "string",
        ParameterType::Int => "int",
        ParameterType::Float => "float",
        ParameterType::Bool => "bool",
        ParameterType::File => "file",
        ParameterType::Duration => "duration",
    }
}

fn as_json(specification: &Specification) -> Value {
    let parameters = |list: &[Parameter]| json!({ "parameters": list.iter().map(parameter).collect::<Vec<_>>() });
    json!({
        "name": specification.name,
        "summary": specification.summary,
        "description": specification.description,
        "version": specification.version,
        "author": specification.author,
        "labels": labels(&specification.labels),
        "source": parameters(&specification.source_parameters),
        "destination": parameters(&specification.destination_parameters),
    })
}

fn labels(labels: &[(String, String)]) -> Value {
    labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

fn parameter(parameter: &Parameter) -> Value {
    let validations: Vec<Value> = parameter.validations.iter().map(validation).collect();
    json!({
        "name": parameter.name,
        "description": parameter.description,
        "type": type_name(parameter.type_),
        "default": parameter.default,
        "secret": parameter.secret,
        "labels": labels(&parameter.labels),
        "validations": validations,
    })
}

fn validation(validation: &Validation) -> Value {
    let (kind, value) = match validation {
        Validation::Required => ("required", String::new()),
        Validation::GreaterThan(bound) => ("greater-than", bound.to_string()),
        Validation::LessThan(bound) => ("less-than", bound.to_string()),
        Validation::Inclusion(values) => ("inclusion", values.join(",")),
        Validation::Exclusion(values) => ("exclusion", values.join(",")),
        Validation::Regex(pattern) => ("regex", pattern.clone()),
    };
    json!({ "type": kind, "value": value })
}
