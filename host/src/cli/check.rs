//! Owns `s3-connector check`: prints what works, what doesn't, and how to fix it. Leaves the checks to the library.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use s3_connector_host::Role;
use s3_connector_host::check::{Options as CheckOptions, Report, Step, StepEvent, StepName};
use s3_connector_host::egress::{HyperUpstream, SetupError};
use s3_connector_host::environment::Environment;
use s3_connector_host::printable::{self, MESSAGE_BYTES_MAX};
use s3_connector_host::{Component, Connector, Options, Settings, with_causes};
use serde_json::{Value, json};

use super::pipeline_file::{self, PipelineConfig, Plugin};
use super::place::{Place, SCHEME, SettingArguments};
use super::terminal::{Terminal, print_data};
use super::{Failure, load};

/// Checks that a source or destination can run, and says how to fix what is wrong
///
/// Checks, one after another: component, settings, name lookup, connection, TLS, credentials, bucket, clock, region, each
/// permission that the source or destination needs, and the features of the store. For each step, prints what it tried,
/// what came back, and how to fix it. Takes settings, or pipeline files.
///
/// For a source, reads one record without acking it, so that it is read again. For a destination, stores one small
/// object, _s3-connector-check, under the prefix and removes it, unless --read-only is given.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct CheckArguments {
    /// A bucket and prefix, or pipeline files: check all S3 sources and destinations in them
    #[arg(value_name = "s3://BUCKET/PREFIX|PIPELINE.yaml")]
    subjects: Vec<OsString>,
    /// Check a source (the default)
    #[arg(long, conflicts_with = "destination")]
    source: bool,
    /// Check a destination
    #[arg(long)]
    destination: bool,
    #[command(flatten)]
    settings: SettingArguments,
    /// Store nothing, and skip the steps that need a write
    #[arg(long)]
    read_only: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector check s3://photos
  s3-connector check --destination s3://lake/photos/ --set format=json
  s3-connector check photos.yaml
  s3-connector check --json s3://photos |
      jq -r '.checks[].steps[] | select(.status == \"failed\").advice'

Credentials, region and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
AWS_REGION and AWS_ENDPOINT_URL_S3, or from any other place where the AWS CLI finds them.

Exit codes: 0 a pipeline can run, possibly with warnings; 1 a step failed; 2 wrong usage or settings.";

/// A source or destination to check, and where it stands in a file.
struct Subject {
    /// Pipeline and connector.
    ids: Option<(String, String)>,
    role: Role,
    settings: Settings,
}

/// Runs the command.
pub(super) async fn run(arguments: CheckArguments, options: Options, terminal: &Terminal) -> Result<(), Failure> {
    let subjects = subjects(&arguments, terminal).await?;
    if subjects.is_empty() {
        terminal.say("no S3 connector in these files: nothing to check");
        return Ok(());
    }
    let is_text = !arguments.json;
    let (component, connector) = component(options).await;
    let mut reports = Vec::new();
    for subject in subjects {
        let mut shown = Ok(());
        let mut show = |text: String| {
            if is_text && shown.is_ok() {
                shown = terminal.suspend(|| print_data(&text));
            }
        };
        // A step may take a while: show its name until it is done.
        let bar = terminal.bar();
        let begin = |name: StepName| {
            if let Some(bar) = &bar {
                bar.set_message(format!("{name} …"));
                bar.tick();
            }
        };
        if let Some((pipeline, id)) = &subject.ids {
            let space = if reports.is_empty() { "" } else { "\n" };
            let heading = format!("pipeline `{pipeline}`, connector `{id}`");
            let heading = printable::line(&heading, MESSAGE_BYTES_MAX);
            show(format!("{space}{heading}\n"));
        }
        show(as_text(&component));
        let mut report = match &connector {
            Some(connector) => {
                let options = CheckOptions { read_only: arguments.read_only };
                let watch = |event: StepEvent<'_>| match event {
                    StepEvent::Begun(name) => begin(name),
                    StepEvent::Done(step) => show(as_text(step)),
                };
                connector.check(subject.role, subject.settings.clone(), options, watch).await
            }
            None => Report::default(),
        };
        if let Some(bar) = &bar {
            bar.finish_and_clear();
        }
        shown?;
        report.steps.insert(0, component.clone());
        reports.push((subject, report));
    }
    if arguments.json {
        let json = format!("{:#}\n", as_json(&reports));
        print_data(&printable::json(&json))?;
    }
    conclude(&reports)
}

/// What to check.
async fn subjects(arguments: &CheckArguments, terminal: &Terminal) -> Result<Vec<Subject>, Failure> {
    let is_place = |subject: &&OsString| subject.as_encoded_bytes().starts_with(SCHEME.as_bytes());
    let place = arguments.subjects.iter().find(is_place);
    if arguments.subjects.is_empty() || place.is_some() {
        if arguments.subjects.len() > 1 {
            return Err(Failure::Usage("check one bucket at a time, or pipeline files".to_owned()));
        }
        let place = place.map(|place| {
            let text = place.to_string_lossy();
            Place::parse(&text).map_err(|problem| Failure::Usage(format!("`{text}`: {problem}")))
        });
        let role = if arguments.destination { Role::Destination } else { Role::Source };
        let settings = arguments.settings.settings(place.transpose()?.as_ref())?;
        return Ok(vec![Subject { ids: None, role, settings }]);
    }
    if arguments.source
        || arguments.destination
        || !arguments.settings.set.is_empty()
        || arguments.settings.file.is_some()
    {
        let message = "pipeline files say what is checked: leave out --source, --destination, --set and --settings, or the files; a bucket is \
                       written s3://BUCKET/PREFIX";
        return Err(Failure::Usage(message.to_owned()));
    }
    let files: Vec<PathBuf> = arguments.subjects.iter().map(PathBuf::from).collect();
    let (configs, _) = pipeline_file::read(&files, terminal)?;
    pipeline_file::refuse_cycles(&configs).await?;
    let mut subjects = Vec::new();
    for PipelineConfig { id, source, destination, dead_letters } in configs {
        let mut ends = vec![(Role::Source, source), (Role::Destination, destination)];
        ends.extend(dead_letters.map(|letters| (Role::Destination, letters.destination)));
        for (role, end) in ends.into_iter().filter(|(_, end)| end.plugin == Plugin::S3) {
            subjects.push(Subject { ids: Some((id.clone(), end.id)), role, settings: end.settings });
        }
    }
    Ok(subjects)
}

/// The command's outcome: whether all can run.
fn conclude(reports: &[(Subject, Report)]) -> Result<(), Failure> {
    if reports.iter().all(|(_, report)| report.can_run()) {
        return Ok(());
    }
    if reports.iter().any(|(_, report)| report.refuses_settings) {
        return Err(Failure::Usage("the settings are wrong: see above".to_owned()));
    }
    Err(Failure::Reported)
}

const COMPONENT_ADVICE: &str = "use the component of this version, or omit --component";

const REGISTRY_ADVICE: &str = "have `s3-connector pull` fetch it, and name it as pull prints it";

async fn component(mut options: Options) -> (Step, Option<Connector>) {
    // A bundle that can't be read would fail the loading of the component, which is not at fault.
    match HyperUpstream::from_environment(&Environment::process()) {
        Ok(upstream) => options.upstream = Some(Arc::new(upstream)),
        Err(error @ SetupError::Proxy(_)) => {
            let step = Step::new(StepName::Proxy, "read the proxy variables");
            return (step.failed(with_causes(&error), "correct the variable, or unset it"), None);
        }
        Err(error) => {
            let step = Step::new(StepName::Certificates, "read the file in AWS_CA_BUNDLE");
            let advice = "set AWS_CA_BUNDLE to a readable file of PEM certificates, or unset it";
            return (step.failed(with_causes(&error), advice), None);
        }
    }
    let place = options.component.as_ref().map_or("the built-in component".to_owned(), ToString::to_string);
    let step = Step::new(StepName::Component, format!("load {place}"));
    let is_remote = matches!(options.component, Some(Component::Registry(_)));
    match load(options).await {
        Ok(connector) => {
            let specification = connector.specification();
            let found = format!("{} {}", specification.name, specification.version);
            (step.passed(found), Some(connector))
        }
        Err(failure) if is_remote => (step.failed(failure.into_message(), REGISTRY_ADVICE), None),
        Err(failure) => (step.failed(failure.into_message(), COMPONENT_ADVICE), None),
    }
}

/// A step as lines: its outcome and name, what was tried and found, and below them how to fix it.
fn as_text(step: &Step) -> String {
    let mut text = String::new();
    let tried = if step.tried.is_empty() { String::new() } else { format!("{}: ", step.tried) };
    let found = format!("{tried}{}", step.found);
    let found = printable::lines(&found, MESSAGE_BYTES_MAX);
    let advice = printable::lines(&step.advice, MESSAGE_BYTES_MAX);
    let advice = advice.lines().map(|line| format!("-> {line}"));
    for (index, line) in found.lines().map(str::to_owned).chain(advice).enumerate() {
        let (word, name) = if index == 0 { (step.status.as_str(), step.name.as_str()) } else { ("", "") };
        writeln!(text, "{word:<8} {name:<12} {line}").expect("a string takes all");
    }
    text
}

fn as_json(reports: &[(Subject, Report)]) -> Value {
    let step = |step: &Step| {
        json!({
            "name": step.name.as_str(),
            "status": step.status.as_str(),
            "tried": step.tried,
            "found": step.found,
            "advice": step.advice,
        })
    };
    let check = |(subject, report): &(Subject, Report)| {
        let steps: Vec<Value> = report.steps.iter().map(step).collect();
        let side = match subject.role {
            Role::Source => "source",
            Role::Destination => "destination",
        };
        let (pipeline, connector) = subject.ids.clone().unzip();
        json!({
            "pipeline": pipeline,
            "connector": connector,
            "side": side,
            "ok": report.can_run(),
            "steps": steps,
        })
    };
    let checks: Vec<Value> = reports.iter().map(check).collect();
    let is_ok = reports.iter().all(|(_, report)| report.can_run());
    json!({ "ok": is_ok, "checks": checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_what_was_tried_what_came_back_and_what_to_do() {
        let step = Step::new(StepName::Get, "GetObject (s3:GetObject)");
        assert_eq!(
            as_text(&step.clone().passed("\"a\", 3 bytes")),
            "ok       get          GetObject (s3:GetObject): \"a\", 3 bytes\n"
        );
        assert_eq!(
            as_text(&step.failed("AccessDenied", "allow s3:GetObject")),
            "failed   get          GetObject (s3:GetObject): AccessDenied\n\
             \x20                     -> allow s3:GetObject\n"
        );
        let skipped = Step::new(StepName::List, "").skipped("after the failure above");
        assert_eq!(as_text(&skipped), "skipped  list         after the failure above\n");
    }
}
