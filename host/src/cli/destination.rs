//! Owns `s3-connector destination`, which stores records from stdin. Leaves reading lines to `pipeline`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use rustix::fs::FileType;
use s3_connector_host::monitor::{Monitor, Side, Watched};
use s3_connector_host::pipeline::{Ended, IgnoredFields, JsonLinesInput, Options, Pipeline};
use s3_connector_host::{InstanceOptions, Options as ConnectorOptions};

use super::journal::Journal;
use super::listen::ListenArguments;
use super::notify;
use super::place::PlaceArguments;
use super::progress::{Known, ProgressLine, totals};
use super::signals::{GraceArguments, Hangup, Stopping};
use super::terminal::Terminal;
use super::{Failure, RecoveryArguments, load, open_state, telemetry};

/// Reads OpenCDC JSON lines from stdin and stores them in a bucket
///
/// The lines are those that `s3-connector source` or Conduit prints. Records are batched into objects by bufferSize,
/// bufferBytes and bufferDelay; the last batch is stored at the end of the input. A line that is no record ends the
/// command, after everything before it is stored.
///
/// The position identifies a record. Lines with positions yield objects with the same names each time: after a failure,
/// send the whole input again, and no record is stored twice. Two identical lines with the same position are one record.
/// Lines without a position (or with an empty one) are always new: if they are sent again, they are stored again.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct DestinationArguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// Ignore unknown fields of a record; otherwise a line with one ends the command
    #[arg(long)]
    lenient: bool,
    /// Folder where uploads in progress are remembered, for the next run to abort what a crash has left of them
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    recovery: RecoveryArguments,
    #[command(flatten)]
    grace: GraceArguments,
    #[command(flatten)]
    listen: ListenArguments,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector destination s3://lake --set format=json < photos.jsonl
  s3-connector source s3://photos --until-caught-up |
      s3-connector destination s3://lake/photos/ --set format=parquet

Credentials, region and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
AWS_REGION and AWS_ENDPOINT_URL_S3, or from any other place where the AWS CLI finds them.

Exit codes: 0 everything that was read is stored, also after SIGHUP, SIGINT or SIGTERM; 1 failed; 2 wrong usage or \
settings; 129, 130 or 143 if such a signal ended it before the end of a file on stdin. A second signal ends it at once, \
with the same codes; so does the end of the grace period.";

/// Runs the command.
pub(super) async fn run(
    arguments: DestinationArguments,
    options: ConnectorOptions,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = arguments.place.settings()?;
    let connector = load(options).await?;
    let state = arguments.state.as_deref().map(open_state).transpose()?;
    let destination = connector
        .destination(settings, InstanceOptions { name: String::new(), state })
        .await
        .map_err(|error| Failure::configuring(&error))?;

    let stopping = Stopping::listen(terminal, arguments.grace.grace, Hangup::Stops)?;
    let mut input = JsonLinesInput::new(tokio::io::stdin());
    let bytes_read = input.bytes_read();
    let ignored = arguments.lenient.then(|| input.lenient());
    let options =
        Options { grace: arguments.grace.grace, recovery: arguments.recovery.recovery(), ..Options::default() };
    let tally = destination.tally();
    let pipeline = Pipeline::new(input, destination, options);
    let counts = pipeline.counts();
    stopping.watch("", pipeline.counts());
    let monitor = Monitor::default();
    let watched = Watched::new("destination", pipeline.counts())
        .connector("stdin", Side::Source, "json-lines", None)
        .connector("destination", Side::Destination, "s3", Some(tally.clone()));
    monitor.watch(watched);
    arguments.listen.serve(None, &monitor, terminal).await?;
    let _notifying = notify::begin(&monitor, stopping.token())?;
    let telemetry = telemetry::start(&monitor)?;
    let known = Known { input: bytes_left().map(|bytes| (bytes, bytes_read)), tallies: vec![tally] };
    let progress = ProgressLine::draw(terminal.bar(), "", pipeline.counts(), known);
    let begun = Instant::now();
    let journal = Journal::keep("", pipeline.counts(), terminal);
    let done = pipeline.run(stopping.token().clone()).await;
    journal.end().await;
    telemetry.end().await;
    drop(progress);
    if let Some(text) = ignored.as_deref().and_then(ignored_text) {
        terminal.say(&text);
    }
    let stored = format!("{} records were stored", counts.borrow().acked);
    match done {
        // A file has an end, which was not reached. A pipe may never end: everything that came is stored.
        Ok(summary) if summary.ended == Ended::Stopped && is_file() => {
            Err(stopping.stopped_short(&format!("{stored}, and the input has not ended")))
        }
        done => {
            // After a failure too: it says how many records need not be sent again.
            let totals = totals(counts.borrow().bytes, begun.elapsed());
            terminal.say(&format!("{stored}; {totals}"));
            done.map(drop).map_err(|error| Failure::running(&error))
        }
    }
}

/// Bytes of stdin that were not read yet, if it is a regular file.
fn bytes_left() -> Option<u64> {
    let stdin = std::io::stdin();
    let length = rustix::fs::fstat(&stdin).ok().and_then(|status| u64::try_from(status.st_size).ok())?;
    is_file().then(|| length.saturating_sub(rustix::fs::tell(&stdin).unwrap_or(0)))
}

/// Whether stdin is a regular file.
fn is_file() -> bool {
    let status = rustix::fs::fstat(std::io::stdin());
    status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_file())
}

/// A warning about fields that were ignored, if there were any.
fn ignored_text(ignored: &IgnoredFields) -> Option<String> {
    let (line, name) = ignored.first()?;
    let count = ignored.fields();
    Some(format!("warning: ignored {count} unknown fields; the first was `{name}` in line {line}"))
}
