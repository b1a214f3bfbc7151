//! `s3-connector destination`: stores the records that come in on stdin. Lines are `pipeline`'s to read.

use clap::Args;
use rustix::fs::FileType;
use s3_connector_host::pipeline::{Ended, IgnoredFields, JsonLinesInput, Options, Pipeline};
use s3_connector_host::{InstanceOptions, Options as ConnectorOptions};

use super::progress::ProgressLine;
use super::signals::{GraceArguments, Stopping};
use super::terminal::Terminal;
use super::{Failure, RecoveryArguments, SettingArguments, load};

/// Reads OpenCDC JSON lines from stdin and stores them in a bucket
///
/// Lines are those that `s3-connector source` prints, or Conduit. Records are gathered into objects by
/// bufferSize, bufferBytes and bufferDelay. At the end of the input, what is gathered is stored too. A line that
/// is no record ends the command, once everything before it is stored.
///
/// A position says which record a line is. Lines with positions give objects of the same names each time: after a
/// failure, the whole input may be sent again, and what is stored is not stored twice. Two lines that are equal in
/// everything, position included, are one record that is told twice. Lines without a position (or with an empty one)
/// are always new: sent again, they are stored again.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct DestinationArguments {
    #[command(flatten)]
    settings: SettingArguments,
    /// Pass over fields that a record does not have; without it, such a line ends the command
    #[arg(long)]
    lenient: bool,
    #[command(flatten)]
    recovery: RecoveryArguments,
    #[command(flatten)]
    grace: GraceArguments,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector destination --set aws.bucket=lake --set format=json \\
      < photos.jsonl
  s3-connector source --set aws.bucket=photos --until-caught-up |
      s3-connector destination --set aws.bucket=lake --set format=parquet \\
      --set prefix=photos/

Credentials, region and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
AWS_REGION and AWS_ENDPOINT_URL_S3, or from wherever else the AWS CLI finds them.

Exit codes: 0 everything that was read is stored, also after SIGHUP, SIGINT or SIGTERM; 1 failed; 2 wrong usage or \
settings; 129, 130 or 143 such a signal ended it before the end of a file on stdin. A second signal ends it at once, \
with the same codes; so does the end of the grace period.";

/// Runs the command.
pub(super) async fn run(
    arguments: DestinationArguments,
    options: ConnectorOptions,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = arguments.settings.settings()?;
    let connector = load(options).await?;
    let destination = connector.destination(settings, InstanceOptions::default()).await;
    let destination = destination.map_err(|error| Failure::configuring(&error))?;

    let stopping = Stopping::listen(terminal, arguments.grace.grace)?;
    let mut input = JsonLinesInput::new(tokio::io::stdin());
    let ignored = arguments.lenient.then(|| input.lenient());
    let options =
        Options { grace: arguments.grace.grace, recovery: arguments.recovery.recovery(), ..Options::default() };
    let pipeline = Pipeline::new(input, destination, options);
    let counts = pipeline.counts();
    stopping.watch("", pipeline.counts());
    let progress = ProgressLine::draw(terminal.bar(), "", pipeline.counts());
    let done = pipeline.run(stopping.stop().clone()).await;
    drop(progress);
    if let Some(text) = ignored.as_deref().and_then(ignored_text) {
        terminal.say(&text);
    }
    let stored = format!("{} records were stored", counts.borrow().acked);
    match done {
        // A file has an end, and was not stored to it. A pipe may never end: what came is stored.
        Ok(summary) if summary.ended == Ended::Stopped && is_file() => {
            Err(stopping.stopped_short(&format!("{stored}, and the input was not at its end")))
        }
        done => {
            // Said after a failure too: it tells what need not be sent again.
            terminal.say(&stored);
            done.map(drop).map_err(|error| Failure::running(&error))
        }
    }
}

/// Whether stdin is a regular file.
fn is_file() -> bool {
    let status = rustix::fs::fstat(std::io::stdin());
    status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_file())
}

/// What is said of fields that were passed over, if there were any.
fn ignored_text(ignored: &IgnoredFields) -> Option<String> {
    let (line, name) = ignored.first()?;
    let count = ignored.fields();
    Some(format!(
        "warning: {count} fields that a record does not have were passed over; the first was `{name}` in line {line}"
    ))
}
