//! `s3-connector check`: says what works and what doesn't, and what to do. What is tried is the library's.

use std::fmt::Write as _;

use clap::Args;
use s3_connector_host::check::{Options as CheckOptions, Report, Status, Step};
use s3_connector_host::egress::Role;
use s3_connector_host::{Connector, Options};
use serde_json::{Value, json};

use super::terminal::print_data;
use super::{Failure, SettingArguments, load};

/// Says what works and what doesn't, before a pipeline does
///
/// It tries, one after another: the component, settings, name look-up, connection, TLS, credentials, bucket, region,
/// clock, each permission that the side needs, and what the store can do. Each line says what was tried and what came
/// back, with what to do below it.
///
/// A source is asked for one record, which is not acked and comes again. For a destination one small object,
/// s3-connector-check, is stored under the prefix and removed, unless --read-only forbids it.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct CheckArguments {
    /// Check a source; so it is without --destination too
    #[arg(long, conflicts_with = "destination")]
    source: bool,
    /// Check a destination
    #[arg(long)]
    destination: bool,
    #[command(flatten)]
    settings: SettingArguments,
    /// Store nothing: what only a write can tell is skipped
    #[arg(long)]
    read_only: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector check --set aws.bucket=photos
  s3-connector check --destination --set aws.bucket=lake --set format=json
  s3-connector check --json --set aws.bucket=photos |
      jq -r '.steps[] | select(.status == \"failed\").advice'

Credentials, region and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
AWS_REGION and AWS_ENDPOINT_URL_S3, or from wherever else the AWS CLI finds them.

Exit codes: 0 a pipeline could run, warnings or not; 1 a step failed; 2 wrong usage or settings.";

/// Runs the command.
pub(super) async fn run(arguments: &CheckArguments, options: Options) -> Result<(), Failure> {
    let settings = arguments.settings.settings()?;
    let role = if arguments.destination {
        Role::Destination
    } else {
        Role::Source
    };
    let (component, connector) = component(options).await;
    let mut shown = Ok(());
    let mut show = |step: &Step| {
        // Steps take their time: each is shown when it is done.
        if !arguments.json && shown.is_ok() {
            shown = print_data(&as_text(step));
        }
    };
    show(&component);
    let mut report = match &connector {
        Some(connector) => {
            let read_only = arguments.read_only;
            connector
                .check(role, settings, CheckOptions { read_only }, show)
                .await
        }
        None => Report::default(),
    };
    shown?;
    report.steps.insert(0, component);
    if arguments.json {
        print_data(&format!("{:#}\n", as_json(role, &report)))?;
    }
    if report.can_run() {
        return Ok(());
    }
    let is_usage = report
        .step("settings")
        .is_some_and(|step| step.status == Status::Failed);
    if is_usage {
        return Err(Failure::Usage(
            "the settings are wrong, see above".to_owned(),
        ));
    }
    Err(Failure::Reported)
}

const COMPONENT_ADVICE: &str =
    "take the component that belongs to this version, or leave --component out";

async fn component(options: Options) -> (Step, Option<Connector>) {
    let place = options
        .component
        .as_ref()
        .map_or("the built-in component".to_owned(), |path| {
            path.display().to_string()
        });
    let step = Step::new("component", format!("load {place}"));
    match load(options).await {
        Ok(connector) => {
            let specification = connector.specification();
            let found = format!("{} {}", specification.name, specification.version);
            (step.passed(found), Some(connector))
        }
        Err(Failure::Usage(message) | Failure::Failed(message)) => {
            (step.failed(message, COMPONENT_ADVICE), None)
        }
        Err(Failure::Reported) => (step.failed("", COMPONENT_ADVICE), None),
    }
}

/// A step as lines: its outcome and name, what was tried and found, and what to do below.
fn as_text(step: &Step) -> String {
    let mut text = String::new();
    let tried = if step.tried.is_empty() {
        String::new()
    } else {
        format!("{}: ", step.tried)
    };
    let found = format!("{tried}{}", step.found);
    let advice = step.advice.lines().map(|line| format!("-> {line}"));
    for (index, line) in found.lines().map(str::to_owned).chain(advice).enumerate() {
        let (word, name) = if index == 0 {
            (step.status.as_str(), step.name)
        } else {
            ("", "")
        };
        writeln!(text, "{word:<8} {name:<12} {line}").expect("a string takes all");
    }
    text
}

fn as_json(role: Role, report: &Report) -> Value {
    let step = |step: &Step| {
        json!({
            "name": step.name,
            "status": step.status.as_str(),
            "tried": step.tried,
            "found": step.found,
            "advice": step.advice,
        })
    };
    let steps: Vec<Value> = report.steps.iter().map(step).collect();
    let side = if matches!(role, Role::Destination) {
        "destination"
    } else {
        "source"
    };
    json!({ "side": side, "ok": report.can_run(), "steps": steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_what_was_tried_what_came_back_and_what_to_do() {
        let step = Step::new("get", "GetObject (s3:GetObject)");
        assert_eq!(
            as_text(&step.clone().passed("\"a\", 3 bytes")),
            "ok       get          GetObject (s3:GetObject): \"a\", 3 bytes\n"
        );
        assert_eq!(
            as_text(&step.failed("AccessDenied", "allow s3:GetObject")),
            "failed   get          GetObject (s3:GetObject): AccessDenied\n\
             \x20                     -> allow s3:GetObject\n"
        );
        let skipped = Step::new("list", "").skipped("after the failure above");
        assert_eq!(
            as_text(&skipped),
            "skipped  list         after the failure above\n"
        );
    }
}
