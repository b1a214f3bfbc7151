//! Owns the command line: its arguments, and what every command shares: settings, logs, errors and exit codes. Leaves each
//! command to a module, and moving records to the library.

mod check;
mod columns;
mod compile;
mod descriptors;
mod destination;
mod downstream;
mod dry_run;
mod endpoints;
mod hints;
mod journal;
mod listen;
mod ls;
mod manual;
mod notify;
mod pipeline_file;
mod place;
mod policy;
mod pretty;
mod progress;
mod pull;
mod push;
mod references;
mod run;
mod settings_file;
mod signals;
mod source;
mod spec;
mod telemetry;
mod terminal;
mod version;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use s3_connector_host::egress::{HyperUpstream, Upstream};
use s3_connector_host::environment::Environment;
use s3_connector_host::pipeline::Recovery;
use s3_connector_host::printable::{self, MESSAGE_BYTES_MAX};
use s3_connector_host::registry::{Reference, Registry, SCHEME};
use s3_connector_host::state::{FileState, StateStore};
use s3_connector_host::{
    CompiledAhead, Component, Connector, Error, ErrorKind, Options, blame, cache_folder, with_causes,
};

pub(crate) use terminal::report;
use terminal::{LogFormat, Terminal};

/// Reads objects and their changes from S3 buckets, and writes records into them
///
/// The connector is a WebAssembly component that runs in a sandbox and never sees your keys.
#[derive(Debug, Parser)]
#[command(name = "s3-connector", version, max_term_width = 100, after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector source s3://photos --until-caught-up > photos.jsonl
  s3-connector destination s3://lake/photos/ --set format=parquet < photos.jsonl
  s3-connector run pipeline.yaml

Credentials, region and endpoint are found where the AWS CLI finds them: AWS_ACCESS_KEY_ID, \
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_PROFILE.

Data goes to stdout, everything else to stderr. S3_CONNECTOR_LOG sets the log filter, for example to `debug`, in the place of \
-v and -q.

Exit codes: 0 done; 1 failed; 2 wrong usage or settings; 129, 130 or 143 if SIGHUP, SIGINT or SIGTERM ended it before \
it was done.";

#[derive(Debug, Subcommand)]
enum Command {
    Source(source::SourceArguments),
    Destination(destination::DestinationArguments),
    Run(run::RunArguments),
    Ls(ls::LsArguments),
    Check(check::CheckArguments),
    Policy(policy::PolicyArguments),
    Spec(spec::SpecArguments),
    Pull(pull::PullArguments),
    Push(push::PushArguments),
    Completions(manual::CompletionsArguments),
    Man(manual::ManArguments),
    #[command(hide = true)]
    Compile(compile::CompileArguments),
}

/// Options that every command has.
#[derive(Debug, Args)]
struct Common {
    /// Use this component instead of the built-in one: a file, or `oci://HOST/NAME@sha256:…` in a registry
    #[arg(long, global = true, value_name = "FILE|REFERENCE", value_parser = OsStringValueParser::new().try_map(component))]
    #[arg(help_heading = "Common options")]
    component: Option<Component>,
    /// Reach registries on other machines without TLS, too
    #[arg(long, global = true, help_heading = "Common options")]
    plain_http: bool,
    /// Log what happens; twice (-vv) each request, too
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Common options")]
    verbose: u8,
    /// Form of the lines on stderr
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", help_heading = "Common options")]
    log_format: LogFormat,
    /// Show only errors, and how many objects were skipped
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    quiet: bool,
}

/// What a pipeline does when its store goes away.
#[derive(Debug, Args)]
struct RecoveryArguments {
    /// End at the first failure, even a transient one
    ///
    /// Otherwise, after it has been open once, the pipeline waits for a store that goes away, for as long as it takes. The
    /// log shows when an interruption begins and when it ends. A permanent failure, such as a missing permission, always
    /// ends the pipeline.
    #[arg(long)]
    fail_fast: bool,
    /// Longest pause between two attempts to reach a store that went away
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = signals::parse)]
    retry_pause: Duration,
}

impl RecoveryArguments {
    fn recovery(&self) -> Option<Recovery> {
        let usual = Recovery::default();
        let recovery = Recovery { pause_first: usual.pause_first.min(self.retry_pause), pause_max: self.retry_pause };
        (!self.fail_fast).then_some(recovery)
    }
}

/// Why a command failed. The message is for people; each of its lines is one problem.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Arguments or settings are wrong: exit code 2.
    Usage(String),
    /// Something else: exit code 1.
    Failed(String),
    /// A failure that was reported already: exit code 1.
    Reported,
    /// A signal ended it before it was done: the exit code says which.
    Stopped(u8, String),
}

impl Failure {
    /// A failure to make a source or destination from its settings.
    fn configuring(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self::Usage(error.message().to_owned()),
            _ => Self::running(error),
        }
    }

    /// Its message; empty if it was reported already.
    fn into_message(self) -> String {
        match self {
            Self::Usage(message) | Self::Failed(message) | Self::Stopped(_, message) => message,
            Self::Reported => String::new(),
        }
    }

    /// A failure of a source or destination at work.
    fn running(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Internal | ErrorKind::Trap => {
                let blame = blame(GIVEN.get());
                Self::Failed(format!("{} ({blame})", one_line(error)))
            }
            _ => Self::Failed(one_line(error).into_owned()),
        }
    }
}

/// The message of an error as one line, even if a component put newlines into it.
fn one_line(error: &Error) -> Cow<'_, str> {
    printable::line(error.message(), MESSAGE_BYTES_MAX)
}

/// The component that replaces the built-in one: its faults are not ours.
static GIVEN: OnceLock<Component> = OnceLock::new();

/// Reads what `--component` names.
fn component(text: OsString) -> Result<Component, Error> {
    match text.to_str().filter(|text| text.starts_with(SCHEME)) {
        Some(reference) => reference.parse().map(Component::Registry),
        None if text.to_str().is_some_and(is_reference) && !PathBuf::from(&text).exists() => {
            let text = text.display();
            Err(Error::new(ErrorKind::Invalid, format!("there is no such file; in a registry it is `{SCHEME}{text}`")))
        }
        None => Ok(Component::File(text.into())),
    }
}

/// Whether a text names a component in a registry as `pull` takes it, by a tag or a digest.
fn is_reference(text: &str) -> bool {
    text.parse::<Reference>().is_ok_and(|reference| reference.tag().is_some() || reference.digest().is_some())
}

/// Reads the arguments of this process. The exit code if they are wrong, or if they ask for help.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    let given: Vec<OsString> = std::env::args_os().collect();
    // It takes a digest of the component, which no other command needs.
    let command = match given.iter().any(|argument| argument == "--version") {
        true => Arguments::command().long_version(version::long()),
        false => Arguments::command(),
    };
    let parsed = command.try_get_matches_from(&given).and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|error| match hints::hint(&error, &given) {
        Some(hint) => {
            report(&hint);
            ExitCode::from(2)
        }
        None => {
            // There is nowhere to report that this can't be written.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    })
}

/// Runs a command, and reports how it went.
pub(crate) async fn run(arguments: Arguments, code: CompiledAhead) -> ExitCode {
    match dispatch(arguments, code).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::from(1),
        Err(Failure::Failed(message)) => {
            report(&message);
            ExitCode::from(1)
        }
        Err(Failure::Stopped(code, message)) => {
            report(&message);
            ExitCode::from(code)
        }
        Err(Failure::Usage(message)) => {
            report(&message);
            ExitCode::from(2)
        }
    }
}

async fn dispatch(arguments: Arguments, code: CompiledAhead) -> Result<(), Failure> {
    let common = arguments.common;
    let terminal = Terminal::new(common.verbose, common.quiet, common.log_format)?;
    if let Some(component) = &common.component {
        GIVEN.get_or_init(|| component.clone());
    }
    descriptors::raise();
    let Common { component, plain_http, .. } = common;
    let options = Options { component, plain_http, compiled_ahead: Some(code), ..Options::default() };
    match arguments.command {
        Command::Source(arguments) => source::run(arguments, options, &terminal).await,
        Command::Destination(arguments) => destination::run(arguments, options, &terminal).await,
        Command::Run(arguments) => run::run(arguments, options, &terminal).await,
        Command::Ls(arguments) => ls::run(&arguments, options, &terminal).await,
        Command::Check(arguments) => check::run(arguments, options, &terminal).await,
        Command::Policy(arguments) => policy::run(&arguments).await,
        Command::Spec(arguments) => spec::run(&arguments, options).await,
        Command::Pull(arguments) => pull::run(&arguments, options, &terminal).await,
        Command::Push(arguments) => push::run(&arguments, options, &terminal).await,
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments, &terminal),
        Command::Compile(arguments) => compile::run(&arguments),
    }
}

/// Loads the component. A failure is wrong usage only if the component was named.
async fn load(options: Options) -> Result<Connector, Failure> {
    let is_given = options.component.is_some();
    Connector::load(options)
        .await
        .map_err(|error| if is_given { Failure::configuring(&error) } else { Failure::running(&error) })
}

/// The way to registries that the options say, and the options with the same HTTP client.
fn registry(options: Options) -> Result<(Registry, Options), Failure> {
    let upstream = HyperUpstream::from_environment(&Environment::process());
    let upstream: Arc<dyn Upstream> = Arc::new(upstream.map_err(|error| Failure::Usage(with_causes(&error)))?);
    let registry = Registry::new(Arc::clone(&upstream)).plain_http(options.plain_http);
    let registry = cache_folder().iter().fold(registry, |registry, folder| registry.keep_in(folder));
    Ok((registry, Options { upstream: Some(upstream), ..options }))
}

/// Loads the component and opens a state folder meanwhile: one takes some 20 ms of the processor, the other as much of the disk.
async fn load_with_state(
    options: Options,
    folder: Option<PathBuf>,
) -> Result<(Connector, Option<Arc<dyn StateStore>>), Failure> {
    let opening = tokio::task::spawn_blocking(move || folder.as_deref().map(open_state).transpose());
    let connector = load(options).await?;
    let state = opening.await.map_err(|lost| Failure::Failed(lost.to_string()))??;
    Ok((connector, state))
}

/// Opens a folder of state, and locks it.
fn open_state(folder: &std::path::Path) -> Result<Arc<dyn StateStore>, Failure> {
    match FileState::open(folder) {
        Ok(state) => Ok(Arc::new(state)),
        Err(error) => Err(Failure::Failed(with_causes(&error))),
    }
}

#[cfg(test)]
mod tests;
