//! Owns `s3-connector source`, which prints a bucket's objects and their changes. Leaves writing lines to `pipeline`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;
use s3_connector_host::monitor::{Monitor, Side, Watched};
use s3_connector_host::pipeline::{Ended, JsonLinesOutput, Options, Output, Pipeline};
use s3_connector_host::state::StateStore;
use s3_connector_host::{InstanceOptions, Options as ConnectorOptions, Source};

use super::journal::Journal;
use super::listen::ListenArguments;
use super::notify;
use super::place::PlaceArguments;
use super::pretty::PrettyOutput;
use super::progress::{Known, ProgressLine, totals};
use super::signals::{GraceArguments, Hangup, Stopping};
use super::terminal::Terminal;
use super::{Failure, RecoveryArguments, columns, downstream, load_with_state, telemetry};

/// Prints a bucket's objects, then their changes, as OpenCDC JSON lines
///
/// On a terminal they are printed for people, otherwise each line is a record, in Conduit's encoding: `{"position":…,"operation":…,"metadata":{…},"key":…,
/// "payload":{"before":…,"after":…}}`; position, key and payload are base64. The command runs until it is stopped, or
/// until --until-caught-up or --limit ends it.
///
/// A record counts as delivered when its line is flushed. With --state DIR, the next run resumes after the last such
/// record: after a crash a line may be printed twice, but none is lost. An object larger than 1 MiB is printed as it
/// arrives; if it breaks off, its line ends there, without a newline, and the command fails.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct SourceArguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// Resume after this position, instead of the one in --state
    ///
    /// Takes the position as text. Printed lines hold it in base64: decode it with `jq -r '.position | @base64d'`.
    #[arg(long, value_name = "POSITION")]
    position: Option<String>,
    /// Folder for the position and the source's state
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// End after the snapshot and one poll that found no changes
    #[arg(long)]
    until_caught_up: bool,
    /// End after N records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print records for people: time, operation, size, key, and the beginning of the payload where it is text
    ///
    /// So it is by default where stdout is a terminal. Times are UTC. Of large objects, no more is fetched than is shown.
    #[arg(long, conflicts_with = "json")]
    pretty: bool,
    /// Print JSON lines on a terminal too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    recovery: RecoveryArguments,
    #[command(flatten)]
    grace: GraceArguments,
    #[command(flatten)]
    listen: ListenArguments,
}

impl SourceArguments {
    fn is_pretty(&self) -> bool {
        self.pretty || (!self.json && std::io::stdout().is_terminal())
    }
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector source s3://photos --until-caught-up > photos.jsonl
  s3-connector source s3://photos/2024/ --state ./photos-state
  s3-connector source s3://photos --pretty --until-caught-up
  s3-connector source s3://photos --limit 1 | jq '.key |= @base64d'

Credentials, region and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
AWS_REGION and AWS_ENDPOINT_URL_S3, or from any other place where the AWS CLI finds them.

Exit codes: 0 done, stopped by SIGHUP, SIGINT or SIGTERM, or the reader of the output is gone; 1 failed; 2 wrong usage \
or settings; 129, 130 or 143 if such a signal ended it before --until-caught-up or --limit was reached. A second signal \
ends it at once, with the same codes; so does the end of the grace period.";

/// Runs the command.
pub(super) async fn run(
    arguments: SourceArguments,
    options: ConnectorOptions,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let settings = arguments.place.settings()?;
    let (connector, state) = load_with_state(options, arguments.state.clone()).await?;
    let instance = InstanceOptions { name: String::new(), state: state.clone() };
    let source = connector.source(settings, instance).await.map_err(|error| Failure::configuring(&error))?;
    let stdout = tokio::io::stdout();
    if arguments.is_pretty() {
        let output = PrettyOutput::new(stdout, columns::of(std::io::stdout()));
        let is_reader_gone = output.is_reader_gone();
        print(source, (output, "pretty"), is_reader_gone, state, &arguments, terminal).await
    } else {
        let output = JsonLinesOutput::new(stdout);
        let is_reader_gone = output.is_reader_gone();
        print(source, (output, "json-lines"), is_reader_gone, state, &arguments, terminal).await
    }
}

/// Prints records until it is stopped, or until there is nothing more to print.
async fn print(
    source: Source,
    (output, plugin): (impl Output, &'static str),
    is_reader_gone: Arc<AtomicBool>,
    state: Option<Arc<dyn StateStore>>,
    arguments: &SourceArguments,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let options = Options {
        state,
        position: arguments.position.clone().map(String::into_bytes),
        until_caught_up: arguments.until_caught_up,
        records_max: arguments.limit,
        grace: arguments.grace.grace,
        recovery: arguments.recovery.recovery(),
        ..Options::default()
    };
    let stopping = Stopping::listen(terminal, arguments.grace.grace, Hangup::Stops)?;
    downstream::watch(Arc::clone(&is_reader_gone), stopping.token().clone())?;
    let tally = source.tally();
    let pipeline = Pipeline::new(source, output, options);
    let counts = pipeline.counts();
    stopping.watch("", pipeline.counts());
    let monitor = Monitor::default();
    let watched = Watched::new("source", pipeline.counts())
        .connector("source", Side::Source, "s3", Some(tally.clone()))
        .connector("stdout", Side::Destination, plugin, None);
    monitor.watch(watched);
    arguments.listen.serve(None, &monitor, terminal).await?;
    let _notifying = notify::begin(&monitor, stopping.token())?;
    let telemetry = telemetry::start(&monitor)?;
    // On the same screen, lines of data and the progress line would overwrite each other.
    let bar = if std::io::stdout().is_terminal() { None } else { terminal.bar() };
    let progress = ProgressLine::draw(bar, "", pipeline.counts(), Known::of([tally]));
    let begun = Instant::now();
    let journal = Journal::keep("", pipeline.counts(), terminal);
    let done = pipeline.run(stopping.token().clone()).await;
    journal.end().await;
    telemetry.end().await;
    drop(progress);
    // As in other tools, `source | head` is no failure. Records that were not printed are not acked.
    if is_reader_gone.load(Ordering::Relaxed) {
        return Ok(());
    }
    terminal.list("", &counts.borrow().source.skipped);
    let summary = done.map_err(|error| Failure::running(&error))?;
    let printed = format!("{} records were printed", summary.counts.acked);
    match (summary.ended, arguments.until_caught_up, arguments.limit) {
        (Ended::Stopped, true, _) => {
            Err(stopping.stopped_short(&format!("{printed}, and the source had not caught up")))
        }
        (Ended::Stopped, false, Some(limit)) => Err(stopping.stopped_short(&format!("{printed} of {limit}"))),
        _ => {
            if terminal.has_bars() {
                let totals = totals(summary.counts.bytes, begun.elapsed());
                terminal.say(&format!("{printed}; {totals}"));
            }
            Ok(())
        }
    }
}
