//! `s3-connector check`: goes through what a pipeline needs, step by step, and says what works and what to do about
//! what doesn't. Each step is a function; what they do is the library's.

use std::time::Duration;

use clap::Args;
use s3_connector_host::credentials::Credentials;
use s3_connector_host::environment::Filled;
use s3_connector_host::{
    Connector, Destination, Error, ErrorKind, Given, Options, Settings, Source,
};
use serde_json::{Value, json};

use super::terminal::{print_data, with_causes};
use super::{Failure, SettingArguments, load};

/// Says what works and what doesn't, before a pipeline does
///
/// It goes from the component over the settings and credentials to the bucket, and stops at the first failure.
/// Nothing is written. A source is asked for one record, which is not acked and comes again.
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

Exit codes: 0 all works, 1 a step failed, 2 wrong usage or settings.";

/// How long a first record may take.
const READ_WAIT: Duration = Duration::from_secs(10);

/// What came of a step.
enum Status {
    Passed {
        detail: String,
    },
    Failed {
        detail: String,
        advice: &'static str,
    },
    Skipped,
}

/// The steps so far.
struct Report {
    side: &'static str,
    steps: Vec<(&'static str, Status)>,
}

/// Ends the steps: the failure is in the report.
struct Stopped;

impl Report {
    /// Notes what came of a step.
    fn note<T>(
        &mut self,
        step: &'static str,
        result: Result<(T, String), (Error, &'static str)>,
    ) -> Result<T, Stopped> {
        match result {
            Ok((value, detail)) => {
                self.steps.push((step, Status::Passed { detail }));
                Ok(value)
            }
            Err((error, advice)) => {
                let detail = error.message().to_owned();
                self.steps.push((step, Status::Failed { detail, advice }));
                Err(Stopped)
            }
        }
    }

    /// Names the steps that were not come to.
    fn skip_rest(&mut self, all: &[&'static str]) {
        for step in all.iter().skip(self.steps.len()) {
            self.steps.push((step, Status::Skipped));
        }
    }

    /// The step that failed.
    fn failed(&self) -> Option<&'static str> {
        self.steps
            .iter()
            .find(|(_, status)| matches!(status, Status::Failed { .. }))
            .map(|(step, _)| *step)
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        for (step, status) in &self.steps {
            let (word, detail, advice) = words(status);
            for (index, line) in detail.lines().chain(advice.lines()).enumerate() {
                let (word, step) = if index == 0 { (word, *step) } else { ("", "") };
                text.push_str(&format!("{word:<8}{step:<13}{line}\n"));
            }
        }
        text
    }

    fn as_json(&self) -> Value {
        let step = |(step, status): &(&str, Status)| {
            let (word, detail, advice) = words(status);
            json!({ "name": step, "status": word, "detail": detail, "advice": advice })
        };
        let steps: Vec<Value> = self.steps.iter().map(step).collect();
        json!({ "side": self.side, "ok": self.failed().is_none(), "steps": steps })
    }
}

fn words(status: &Status) -> (&'static str, &str, &'static str) {
    match status {
        Status::Passed { detail } => ("ok", detail, ""),
        Status::Failed { detail, advice } => ("failed", detail, advice),
        Status::Skipped => ("skipped", "after the failure above", ""),
    }
}

const SOURCE_STEPS: &[&str] = &["component", "settings", "credentials", "bucket", "read"];
const DESTINATION_STEPS: &[&str] = &["component", "settings", "credentials", "bucket"];

/// Runs the command.
pub(super) async fn run(arguments: &CheckArguments, options: Options) -> Result<(), Failure> {
    let settings = arguments.settings.settings()?;
    let (side, steps) = if arguments.destination {
        ("destination", DESTINATION_STEPS)
    } else {
        ("source", SOURCE_STEPS)
    };
    let mut report = Report {
        side,
        steps: Vec::new(),
    };
    let checked = if arguments.destination {
        check_destination(&mut report, settings, options).await
    } else {
        check_source(&mut report, settings, options).await
    };
    if checked.is_err() {
        report.skip_rest(steps);
    }
    let text = if arguments.json {
        format!("{:#}\n", report.as_json())
    } else {
        report.as_text()
    };
    print_data(&text)?;
    match report.failed() {
        None => Ok(()),
        Some("settings") => Err(Failure::Usage(
            "the settings are wrong, see above".to_owned(),
        )),
        Some(_) => Err(Failure::Reported),
    }
}

async fn check_source(
    report: &mut Report,
    settings: Settings,
    options: Options,
) -> Result<(), Stopped> {
    let connector = component(report, options).await?;
    let made = connector.source(settings.clone(), Given::default()).await;
    let made = made.map(|source| {
        let found = found(&settings, source.filled());
        (source, found)
    });
    let mut source = report.note("settings", made.map_err(|error| (error, SETTINGS_ADVICE)))?;
    let credentials_found = credentials(source.credentials()).await;
    report.note("credentials", credentials_found)?;
    let opened = source.open(None).await;
    report.note(
        "bucket",
        opened
            .map(|()| ((), BUCKET_DETAIL.to_owned()))
            .map_err(bucket_advice),
    )?;
    let read = read(&mut source).await;
    report.note("read", read.map_err(bucket_advice))?;
    let _ = source.teardown().await;
    Ok(())
}

async fn check_destination(
    report: &mut Report,
    settings: Settings,
    options: Options,
) -> Result<(), Stopped> {
    let connector = component(report, options).await?;
    let made = connector
        .destination(settings.clone(), Given::default())
        .await;
    let made: Result<(Destination, String), Error> = made.map(|destination| {
        let found = found(&settings, destination.filled());
        (destination, found)
    });
    let mut destination =
        report.note("settings", made.map_err(|error| (error, SETTINGS_ADVICE)))?;
    let credentials_found = credentials(destination.credentials()).await;
    report.note("credentials", credentials_found)?;
    let opened = destination.open().await;
    report.note(
        "bucket",
        opened
            .map(|()| ((), BUCKET_DETAIL.to_owned()))
            .map_err(bucket_advice),
    )?;
    let _ = destination.teardown().await;
    Ok(())
}

const COMPONENT_ADVICE: &str =
    "take the component that belongs to this version, or leave --component out";
const SETTINGS_ADVICE: &str = "`s3-connector spec` lists all settings";
const CREDENTIALS_ADVICE: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
const BUCKET_DETAIL: &str = "it answers, and may be listed";

async fn component(report: &mut Report, options: Options) -> Result<Connector, Stopped> {
    let place = options
        .component
        .as_ref()
        .map_or("built in".to_owned(), |p| p.display().to_string());
    let loaded = match load(options).await {
        Ok(connector) => {
            let specification = connector.specification();
            let detail = format!("{} {} ({place})", specification.name, specification.version);
            Ok((connector, detail))
        }
        Err(Failure::Usage(message) | Failure::Failed(message)) => {
            Err((Error::new(ErrorKind::Invalid, message), COMPONENT_ADVICE))
        }
        Err(Failure::Reported) => Err((Error::new(ErrorKind::Internal, ""), COMPONENT_ADVICE)),
    };
    report.note("component", loaded)
}

/// What the settings name, and where those that were left out are from.
fn found(settings: &Settings, filled: &[Filled]) -> String {
    let bucket = settings
        .get("aws.bucket")
        .map(String::as_str)
        .unwrap_or_default();
    let prefix = settings
        .get("prefix")
        .map(String::as_str)
        .unwrap_or_default();
    let mut text = format!("bucket `{bucket}`");
    if !prefix.is_empty() {
        text.push_str(&format!(", prefix `{prefix}`"));
    }
    for filled in filled {
        text.push_str(&format!(", {} from {}", filled.setting, filled.origin));
    }
    text
}

async fn credentials(credentials: &Credentials) -> Result<((), String), (Error, &'static str)> {
    match credentials.load().await {
        Ok(loaded) => Ok(((), format!("from {}", loaded.origin))),
        Err(error) => Err((
            Error::new(ErrorKind::Denied, with_causes(&error)),
            CREDENTIALS_ADVICE,
        )),
    }
}

async fn read(source: &mut Source) -> Result<((), String), Error> {
    let records = source.read(1, READ_WAIT).await?;
    let detail = match records.first() {
        Some(_) => "a first record came",
        None => "nothing to read: the bucket has no object below the prefix",
    };
    Ok(((), detail.to_owned()))
}

/// What to do where the bucket is the matter.
fn bucket_advice(error: Error) -> (Error, &'static str) {
    let advice = match error.kind() {
        ErrorKind::Invalid => "look at aws.bucket, aws.region and aws.endpoint",
        ErrorKind::Denied => {
            "look whether these are the right keys; they need s3:ListBucket and s3:ListBucketVersions on the bucket, and s3:GetObject (source) or \
             s3:PutObject (destination) on its objects"
        }
        ErrorKind::Unavailable => "look at aws.endpoint and the network, or try again later",
        _ => "report this, with the output of --verbose",
    };
    (error, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_ends_at_the_first_failure_and_says_what_to_do() {
        let mut report = Report {
            side: "destination",
            steps: Vec::new(),
        };
        assert!(
            report
                .note("component", Ok(((), "s3 0.1.0 (built in)".to_owned())))
                .is_ok()
        );
        let error = Error::new(
            ErrorKind::Invalid,
            "setting `a` is wrong\nsetting `b` is missing",
        );
        assert!(
            report
                .note::<()>("settings", Err((error, SETTINGS_ADVICE)))
                .is_err()
        );
        report.skip_rest(DESTINATION_STEPS);
        assert_eq!(report.failed(), Some("settings"));
        assert_eq!(
            report.as_text(),
            "ok      component    s3 0.1.0 (built in)\n\
             failed  settings     setting `a` is wrong\n\
             \x20                    setting `b` is missing\n\
             \x20                    `s3-connector spec` lists all settings\n\
             skipped credentials  after the failure above\n\
             skipped bucket       after the failure above\n"
        );
        assert_eq!(report.as_json()["ok"], json!(false));
        assert_eq!(
            report.as_json()["steps"][1]["advice"],
            json!(SETTINGS_ADVICE)
        );
    }
}
