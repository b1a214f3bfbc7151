//! `s3-connector destination`: stores the records that come in on stdin. Lines are `pipeline`'s to read.

use clap::Args;
use s3_connector_host::pipeline::{JsonLinesInput, Options, Pipeline};
use s3_connector_host::{Given, Options as ConnectorOptions};

use super::progress::Progress;
use super::signals::{GraceArguments, Stopping};
use super::terminal::Terminal;
use super::{Failure, SettingArguments, load};

/// Reads OpenCDC JSON lines from stdin and stores them in a bucket
///
/// Lines are those that `s3-connector source` prints, or Conduit. Records are gathered into objects by
/// bufferSize, bufferBytes and bufferDelay. At the end of the input, what is gathered is stored too. A line that
/// is no record ends the command, once everything in front of it is stored.
///
/// The same lines give objects of the same names: after a failure, the whole input may be sent again.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct DestinationArguments {
    #[command(flatten)]
    settings: SettingArguments,
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

Exit codes: 0 everything that was read is stored, also after SIGINT or SIGTERM; 1 failed; 2 wrong usage or \
settings. A second signal ends it at once, with 130 or 143; so does the end of the grace period.";

/// Runs the command.
pub(super) async fn run(
    arguments: DestinationArguments,
    options: ConnectorOptions,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = arguments.settings.settings()?;
    let connector = load(options).await?;
    let destination = connector.destination(settings, Given::default()).await;
    let destination = destination.map_err(|error| Failure::configuring(&error))?;

    let stopping = Stopping::listen(terminal, arguments.grace.grace)?;
    let input = JsonLinesInput::new(tokio::io::stdin());
    let options = Options {
        grace: arguments.grace.grace,
        ..Options::default()
    };
    let pipeline = Pipeline::new(input, destination, options);
    let counts = pipeline.counts();
    stopping.watch("", pipeline.counts());
    let progress = Progress::draw(terminal.bar(), "", pipeline.counts());
    let done = pipeline.run(stopping.stop().clone()).await;
    drop(progress);
    // Said after a failure too: it tells what need not be sent again.
    terminal.say(&format!("{} records were stored", counts.borrow().acked));
    done.map(drop).map_err(|error| Failure::running(&error))
}
