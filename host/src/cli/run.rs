//! Owns `s3-connector run`, which runs the pipelines of files side by side: its arguments, and how a pipeline is made from what a file
//! says. Leaves reading files to `pipeline_file`, and the pipelines that run to `fleet`.

mod fleet;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use clap::Args;
use s3_connector_host::monitor::{Monitor, Side, Watched};
use s3_connector_host::pipeline::{DeadLetters, FileInput, FileOutput, LogOutput, Options, Pipeline, WithDeadLetters};
use s3_connector_host::state::{StateStore, Within};
use s3_connector_host::{Connector, InstanceOptions, Options as ConnectorOptions};
use tokio::task::JoinSet;

use self::fleet::Fleet;
use super::endpoints::{AnyInput, AnyOutput, NamedInput, NamedOutput};
use super::listen::ListenArguments;
use super::notify;
use super::pipeline_file::{self, ConnectorConfig, DeadLetterConfig, PipelineConfig, Plugin};
use super::progress::Known;
use super::signals::{GraceArguments, Hangup, Stopping};
use super::terminal::Terminal;
use super::{Failure, RecoveryArguments, dry_run, load, open_state, telemetry};

/// Runs the pipelines of Conduit pipeline files
///
/// The files have Conduit's form, version 2.0 to 2.2, with one source and one destination per pipeline. The plugins are
/// `s3`, with the settings that `s3-connector spec` lists, and `file`: as a source it makes a record of each line, as a
/// destination it appends OpenCDC JSON lines to `path`. ${NAME} in a setting is replaced by that environment variable.
///
/// A record that the destination refuses, such as one that is too large, ends its pipeline. With a `dead-letter-queue`
/// (plugin `log`, `file` or `s3`) it goes there with the reason, and the pipeline continues as long as no more than
/// `window-nack-threshold` of the last `window-size` records are refused.
///
/// Each pipeline saves its position in a folder of its own, and resumes there when it is run again. A pipeline whose
/// store goes away waits for it. A pipeline that fails ends, and the others continue; a summary of each is printed at
/// the end.
///
/// SIGHUP makes it read the files again: pipelines that have changed restart at their position, new ones and failed ones start, others
/// continue. If anything is wrong in the files, it reports that and changes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct RunArguments {
    /// Pipeline files
    #[arg(required = true, value_name = "PIPELINE.yaml")]
    files: Vec<PathBuf>,
    /// Folder that holds a folder per pipeline for its state
    #[arg(long, value_name = "DIR", default_value = "./s3-connector-state")]
    state: PathBuf,
    /// Say what would be read, where it would be written and what that costs in requests, and do nothing
    ///
    /// Lists up to 100,000 keys of each S3 source. Stores nothing, neither in a bucket nor in the state.
    #[arg(long, conflicts_with_all = ["listen", "fail_fast"])]
    dry_run: bool,
    /// End each pipeline when its source has caught up
    #[arg(long)]
    until_caught_up: bool,
    #[command(flatten)]
    recovery: RecoveryArguments,
    #[command(flatten)]
    grace: GraceArguments,
    #[command(flatten)]
    listen: ListenArguments,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector run photos.yaml
  s3-connector run --dry-run photos.yaml
  s3-connector run --until-caught-up --state /var/lib/s3-connector \\
      photos.yaml sounds.yaml

photos.yaml:
  version: 2.2
  pipelines:
    - id: photos
      connectors:
        - {id: in, type: source, plugin: s3, settings: {aws.bucket: photos}}
        - {id: out, type: destination, plugin: file, settings: {path: ./photos.jsonl}}

Credentials, region and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, \
AWS_REGION and AWS_ENDPOINT_URL_S3, or from any other place where the AWS CLI finds them.

Exit codes: 0 done, or stopped by SIGINT, SIGTERM or a terminal that closed; 1 a pipeline failed; 2 wrong usage, file or settings, and \
nothing was run; 129, 130 or 143 if such a signal ended it before every pipeline with --until-caught-up had caught up. A \
second signal ends it at once, with 130 or 143; so does the end of the grace period.";

/// A pipeline that is ready to run.
struct Ready {
    id: String,
    pipeline: Pipeline<NamedInput, WithDeadLetters<NamedOutput, NamedOutput>>,
    /// How many records became dead letters.
    letters: Arc<AtomicU64>,
    /// What the monitor sees of it.
    watched: Watched,
    /// What the progress line sees of it.
    known: Known,
}

/// Runs the command.
pub(super) async fn run(
    arguments: RunArguments,
    options: ConnectorOptions,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let (configs, listen) = pipeline_file::read(&arguments.files, terminal)?;
    pipeline_file::refuse_cycles(&configs).await?;
    if configs.is_empty() {
        terminal.say("no pipelines to run");
        return Ok(());
    }
    let connector = load(options).await?;
    if arguments.dry_run {
        return dry_run::run(&configs, &connector, &arguments.state, arguments.until_caught_up).await;
    }
    let (mut ready, mut problems) = (Vec::new(), Vec::new());
    for config in configs {
        let state = open_state(&arguments.state.join(&config.id))?;
        match prepare(&connector, config.clone(), state, &arguments).await {
            Ok(pipeline) => ready.push((config, pipeline)),
            Err(Failure::Usage(problem)) => problems.push(problem),
            Err(failure) => return Err(failure),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Usage(problems.join("\n")));
    }
    let stopping = Stopping::listen(terminal, arguments.grace.grace, Hangup::Reloads)?;
    let monitor = Monitor::default();
    // Before anybody can ask: a process without pipelines would be ready.
    ready.iter().for_each(|(_, ready)| monitor.watch(ready.watched.clone()));
    arguments.listen.serve(listen, &monitor, terminal).await?;
    let _notifying = notify::begin(&monitor, stopping.token())?;
    let telemetry = telemetry::start(&monitor)?;
    let mut fleet = Fleet {
        connector,
        arguments: &arguments,
        stopping: &stopping,
        monitor: &monitor,
        terminal,
        listen,
        running: JoinSet::new(),
        members: BTreeMap::new(),
    };
    for (config, pipeline) in ready {
        fleet.start(config, pipeline);
    }
    let done = fleet.run().await;
    telemetry.end().await;
    done
}

async fn prepare(
    connector: &Connector,
    config: PipelineConfig,
    state: Arc<dyn StateStore>,
    arguments: &RunArguments,
) -> Result<Ready, Failure> {
    let PipelineConfig { id, source, destination, dead_letters } = config;
    let input = match source.plugin {
        Plugin::S3 => {
            let options = InstanceOptions { name: format!("{id}:{}", source.id), state: Some(Arc::clone(&state)) };
            let made = connector.source(source.settings.clone(), options).await;
            AnyInput::S3(made.map_err(|error| configuring(&id, &named(&source), &error))?)
        }
        // A pipeline that must end can't wait for the last line's newline. `pipeline_file` allows no source that is a log.
        Plugin::File | Plugin::Log => AnyInput::File(FileInput::new(path(&source), arguments.until_caught_up)),
    };
    let name = named(&destination);
    let within = |part| -> Arc<dyn StateStore> { Arc::new(Within::new(Arc::clone(&state), part)) };
    let output = output(connector, &id, &destination, name, within("destination")).await?;
    let (destination_id, queue) = (destination.id.clone(), dead_letters.as_ref().map(|queue| queue.destination.plugin));
    let letters = match dead_letters {
        None => None,
        Some(DeadLetterConfig { destination: queue, window }) => Some(DeadLetters {
            output: self::output(connector, &id, &queue, "dead-letter queue".to_owned(), within("letters")).await?,
            window,
            source_id: source.id.clone(),
            destination_id: destination.id.clone(),
        }),
    };
    let queue_tally = letters.as_ref().map(|letters| letters.output.tally());
    let tallies = (input.tally(), output.tally(), queue_tally);
    let known = Known::of([&tallies.0, &tallies.1].into_iter().flatten().cloned());
    let input = NamedInput { name: named(&source), input };
    let output = WithDeadLetters::new(output, letters);
    let options = Options {
        name: id.clone(),
        state: Some(state),
        until_caught_up: arguments.until_caught_up,
        grace: arguments.grace.grace,
        recovery: arguments.recovery.recovery(),
        ..Options::default()
    };
    let letters = output.count();
    let pipeline = Pipeline::new(input, output, options);
    let watched = Watched::new(&id, pipeline.counts())
        .letters(Arc::clone(&letters))
        .connector(&source.id, Side::Source, source.plugin.name(), tallies.0)
        .connector(&destination_id, Side::Destination, destination.plugin.name(), tallies.1);
    let watched = match (queue, tallies.2) {
        (Some(plugin), Some(tally)) => watched.connector("letters", Side::DeadLetterQueue, plugin.name(), tally),
        _ => watched,
    };
    Ok(Ready { id, letters, pipeline, watched, known })
}

/// The name of a connector in errors.
pub(super) fn named(connector: &ConnectorConfig) -> String {
    format!("connector `{}`", connector.id)
}

async fn output(
    connector: &Connector,
    pipeline_id: &str,
    config: &ConnectorConfig,
    name: String,
    state: Arc<dyn StateStore>,
) -> Result<NamedOutput, Failure> {
    let output = match config.plugin {
        Plugin::S3 => {
            let options = InstanceOptions { name: format!("{pipeline_id}:{}", config.id), state: Some(state) };
            let made = connector.destination(config.settings.clone(), options).await;
            AnyOutput::S3(made.map_err(|error| configuring(pipeline_id, &name, &error))?)
        }
        Plugin::File => AnyOutput::File(FileOutput::new(path(config))),
        Plugin::Log => {
            let setting = |name| config.settings.get(name).map_or("", String::as_str);
            // `pipeline_file` checked the level.
            let level = setting("level").parse().unwrap_or(tracing::Level::WARN);
            AnyOutput::Log(LogOutput::new(level, setting("message")))
        }
    };
    Ok(NamedOutput { name, output })
}

fn path(connector: &ConnectorConfig) -> PathBuf {
    connector.settings.get("path").map(PathBuf::from).unwrap_or_default()
}

/// Puts pipeline and connector before each problem of the settings.
pub(super) fn configuring(id: &str, end: &str, error: &s3_connector_host::Error) -> Failure {
    let name = |message: String| {
        let named = |line| format!("pipeline `{id}`: {end}: {line}");
        message.lines().map(named).collect::<Vec<_>>().join("\n")
    };
    match Failure::configuring(error) {
        Failure::Usage(message) => Failure::Usage(name(message)),
        Failure::Failed(message) => Failure::Failed(name(message)),
        told => told,
    }
}
