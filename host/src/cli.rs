//! The command line: its arguments, and what every command shares: settings, logs, errors and exit codes. Each command
//! has a module; moving records is the library's.

mod check;
mod compile;
mod descriptors;
mod destination;
mod downstream;
mod endpoints;
mod locate;
mod pipeline_file;
mod policy;
mod progress;
mod run;
mod signals;
mod source;
mod spec;
mod terminal;

use std::borrow::Cow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use s3_connector_host::pipeline::Recovery;
use s3_connector_host::printable::{self, MESSAGE_BYTES_MAX};
use s3_connector_host::state::{FileState, StateStore};
use s3_connector_host::{CompiledAhead, Connector, Error, ErrorKind, Options, Settings, blame};

use terminal::Terminal;
pub(crate) use terminal::report;

/// Takes records out of S3 buckets, objects and their changes, and puts records into them
///
/// The connector is a WebAssembly component that runs in a sandbox and never sees a key.
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
  s3-connector source --set aws.bucket=photos --until-caught-up > photos.jsonl
  s3-connector destination --set aws.bucket=lake --set format=parquet \\
      < photos.jsonl
  s3-connector run pipeline.yaml

Credentials, region and endpoint are found where the AWS CLI finds them: AWS_ACCESS_KEY_ID, \
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_PROFILE.

Data goes to stdout, everything else to stderr. S3_CONNECTOR_LOG filters the log, such as `debug`.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 129, 130 or 143 ended by SIGHUP, SIGINT or SIGTERM before it \
was done.";

#[derive(Debug, Subcommand)]
enum Command {
    Source(source::SourceArguments),
    Destination(destination::DestinationArguments),
    Run(run::RunArguments),
    Check(check::CheckArguments),
    Policy(policy::PolicyArguments),
    Spec(spec::SpecArguments),
    #[command(hide = true)]
    Compile(compile::CompileArguments),
}

/// Options of every command.
#[derive(Debug, Args)]
struct Common {
    /// The connector's component, in place of the one that is built in
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options")]
    component: Option<PathBuf>,
    /// Log what happens, in detail
    #[arg(short, long, global = true, help_heading = "Common options")]
    verbose: bool,
    /// Show nothing but errors, and how many objects were passed over
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    quiet: bool,
}

/// Settings of a source or destination.
#[derive(Debug, Args)]
struct SettingArguments {
    /// Setting of the connector; may be repeated, `s3-connector spec` lists them
    ///
    /// Keys are better left to the AWS variables: other users of this machine may see arguments.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
}

impl SettingArguments {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::new();
        for (name, value) in &self.set {
            if settings.insert(name.clone(), value.clone()).is_some() {
                return Err(Failure::Usage(format!("setting `{name}` is given twice")));
            }
        }
        Ok(settings)
    }
}

/// What becomes of a pipeline whose store goes away.
#[derive(Debug, Args)]
struct RecoveryArguments {
    /// End at the first failure, even one that heals by itself
    ///
    /// Otherwise a store that goes away is waited for, for as long as it takes, once it was there: the log tells when
    /// that begins and when it is over. What does not heal by itself, such as a denied permission, always ends it.
    #[arg(long)]
    fail_fast: bool,
    /// Longest pause between two attempts to reach a store that has gone away
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

fn parse_setting(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("a setting is NAME=VALUE, such as aws.bucket=photos"),
    }
}

/// Why a command did not do what it was asked to. The message is for people; each of its lines is a problem.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Arguments or settings are wrong: exit code 2.
    Usage(String),
    /// Something else: exit code 1.
    Failed(String),
    /// What failed was reported already: exit code 1.
    Reported,
    /// A signal ended it before it had done what it was asked to: the exit code says which.
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

    /// A failure of what was configured.
    fn running(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Internal | ErrorKind::Trap => {
                let blame = blame(GIVEN.get().map(PathBuf::as_path));
                Self::Failed(format!("{} ({blame})", one_line(error)))
            }
            _ => Self::Failed(one_line(error).into_owned()),
        }
    }
}

/// The message of an error that is one problem, whatever lines a component has put into it.
fn one_line(error: &Error) -> Cow<'_, str> {
    printable::line(error.message(), MESSAGE_BYTES_MAX)
}

/// The component that was given in place of the built-in one: its faults are not ours.
static GIVEN: OnceLock<PathBuf> = OnceLock::new();

/// Runs a command, and reports how it went.
pub(crate) async fn run(arguments: Arguments, code: CompiledAhead) -> ExitCode {
    let common = arguments.common;
    let terminal = Terminal::new(common.verbose, common.quiet);
    if let Some(file) = &common.component {
        GIVEN.get_or_init(|| file.clone());
    }
    descriptors::raise();
    let options = Options { component: common.component, compiled_ahead: Some(code), ..Options::default() };
    let done = match arguments.command {
        Command::Source(arguments) => source::run(arguments, options, &terminal).await,
        Command::Destination(arguments) => destination::run(arguments, options, &terminal).await,
        Command::Run(arguments) => run::run(arguments, options, &terminal).await,
        Command::Check(arguments) => check::run(arguments, options, &terminal).await,
        Command::Policy(arguments) => policy::run(&arguments).await,
        Command::Spec(arguments) => spec::run(&arguments, options).await,
        Command::Compile(arguments) => compile::run(&arguments),
    };
    match done {
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

/// Loads the component. One that can't be loaded is wrong usage only if it was named.
async fn load(options: Options) -> Result<Connector, Failure> {
    let is_given = options.component.is_some();
    Connector::load(options)
        .await
        .map_err(|error| if is_given { Failure::configuring(&error) } else { Failure::running(&error) })
}

/// Opens a folder of state, and locks it.
fn open_state(folder: &std::path::Path) -> Result<Arc<dyn StateStore>, Failure> {
    match FileState::open(folder) {
        Ok(state) => Ok(Arc::new(state)),
        Err(error) => Err(Failure::Failed(s3_connector_host::with_causes(&error))),
    }
}

#[cfg(test)]
mod tests;
