//! `s3-connector spec`: prints what the component says of itself and its settings.

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
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector spec
  s3-connector spec --json | jq -r '.source.parameters[].name'

Settings of keys, region and endpoint that are left out come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, \
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
    } else {
        print_data(&as_text(specification))
    }
}

fn as_text(specification: &Specification) -> String {
    let mut text =
        format!("{} {}: {}\n", line(&specification.name), line(&specification.version), line(&specification.summary));
    let (sources, destinations) = (&specification.source_parameters, &specification.destination_parameters);
    let of = |parameters: &[Parameter], name: &str| parameters.iter().any(|p| p.name == name);
    let is_shared = |parameter: &&Parameter| of(sources, &parameter.name);
    let groups: [(&str, Vec<&Parameter>); 3] = [
        ("Source and destination", destinations.iter().filter(is_shared).collect()),
        ("Source", sources.iter().filter(|p| !of(destinations, &p.name)).collect()),
        ("Destination", destinations.iter().filter(|p| !is_shared(p)).collect()),
    ];
    for (title, parameters) in groups {
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

/// A setting as one line of facts and lines of description.
fn describe(parameter: &Parameter, text: &mut String) {
    let mut facts = vec![type_name(parameter.type_).to_owned()];
    for validation in &parameter.validations {
        match validation {
            Validation::Required => facts.push("required".to_owned()),
            Validation::Inclusion(values) => facts.push(format!("one of {}", values.join(", "))),
            Validation::Exclusion(values) => facts.push(format!("none of {}", values.join(", "))),
            Validation::GreaterThan(bound) => facts.push(format!("above {bound}")),
            Validation::LessThan(bound) => facts.push(format!("below {bound}")),
            // The description says it in words.
            Validation::Regex(_) => {}
        }
    }
    if let Some(default) = parameter.default.as_deref().filter(|default| !default.is_empty()) {
        facts.push(format!("default {default}"));
    }
    if parameter.secret {
        facts.push("secret: never reaches the component".to_owned());
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
        "source": parameters(&specification.source_parameters),
        "destination": parameters(&specification.destination_parameters),
    })
}

fn parameter(parameter: &Parameter) -> Value {
    let validations: Vec<Value> = parameter.validations.iter().map(validation).collect();
    json!({
        "name": parameter.name,
        "description": parameter.description,
        "type": type_name(parameter.type_),
        "default": parameter.default,
        "secret": parameter.secret,
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
