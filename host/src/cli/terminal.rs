//! Owns stderr: log lines, errors and the progress lines between them. Leaves what a progress line says to `progress`.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use s3_connector_host::Skipped;
use s3_connector_host::printable::{self, MESSAGE_BYTES_MAX};
use serde_json::json;
use tracing::metadata::{LevelFilter, Metadata};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::prelude::*;

use super::Failure;

/// The variable that filters the log.
const LOG_VARIABLE: &str = "S3_CONNECTOR_LOG";

/// The target of the summaries of commands that nobody watches.
pub(super) const SUMMARY: &str = "s3_connector_summary";

/// Form of the lines on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// A JSON object per line, for what collects logs
    Json,
}

/// The form of this process, for those who have no terminal at hand.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Which log lines are shown: those of the variable, if it is set, otherwise those of the options.
fn filter(given: Option<&str>, verbosity: u8, is_quiet: bool) -> Result<Targets, Failure> {
    let text = match (given, verbosity) {
        (Some(given), _) => given,
        (None, _) if is_quiet => "error",
        // An operator must see when a pipeline resumes, not only when it is interrupted.
        (None, 0) => {
            "warn,s3_connector_host::pipeline=info,s3_connector_host::connector=info,s3_connector_summary=info"
        }
        (None, 1) => "info",
        (None, 2) => "info,s3_connector=debug,s3_connector_host=debug",
        (None, _) => "debug,s3_connector=trace,s3_connector_host=trace",
    };
    text.parse().map_err(|error| {
        let example = "a level such as `debug`, or levels by module such as `warn,s3_connector_host::egress=debug`";
        Failure::Usage(format!("{LOG_VARIABLE} must be {example}: {error}"))
    })
}

/// What a command shows besides its data.
#[derive(Clone)]
pub(super) struct Terminal {
    bars: MultiProgress,
    has_bars: bool,
    is_quiet: bool,
    format: LogFormat,
}

impl Terminal {
    /// Sets up the log. On a terminal, log lines are written between progress lines.
    ///
    /// # Errors
    ///
    /// If the variable that filters the log is no filter.
    pub(super) fn new(verbosity: u8, is_quiet: bool, format: LogFormat) -> Result<Self, Failure> {
        let is_terminal = io::stderr().is_terminal();
        let _ = FORMAT.set(format);
        let has_bars = is_terminal && !is_quiet && format == LogFormat::Text;
        let terminal = Self { bars: MultiProgress::new(), has_bars, is_quiet, format };
        let given = std::env::var(LOG_VARIABLE).ok().filter(|filter| !filter.trim().is_empty());
        let filter = filter(given.as_deref(), verbosity, is_quiet)?;
        let keeps_keys = filter_fn(keeps_keys).with_max_level_hint(LevelFilter::TRACE);
        let filter = FilterExt::<tracing_subscriber::Registry>::and(filter, keeps_keys);
        let lines = fmt::layer().with_target(false).with_writer(terminal.clone());
        let log = tracing_subscriber::registry();
        match format {
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
                log.with(lines.with_filter(filter)).init();
            }
            LogFormat::Text => {
                let has_colors = is_terminal && std::env::var_os("NO_COLOR").is_none();
                let lines = lines.compact().with_ansi(has_colors).fmt_fields(fields());
                if is_terminal {
                    log.with(lines.without_time().with_filter(filter)).init();
                } else {
                    log.with(lines.with_filter(filter)).init();
                }
            }
        }
        Ok(terminal)
    }

    /// A progress line; `None` if stderr is no terminal, or quiet.
    pub(super) fn bar(&self) -> Option<ProgressBar> {
        let style = ProgressStyle::with_template("{spinner} {wide_msg}").ok()?;
        self.has_bars.then(|| self.bars.add(ProgressBar::new_spinner().with_style(style)))
    }

    /// Prints what is neither data nor a failure.
    pub(super) fn say(&self, text: &str) {
        if !self.is_quiet {
            self.print(text);
        }
    }

    /// Lists the objects that a source skipped; each line begins with `name`. A quiet command prints only their number,
    /// since its exit code reports success.
    pub(super) fn list(&self, name: &str, skipped: &Skipped) {
        if self.is_quiet {
            match skipped.objects().len() as u64 + skipped.beyond() {
                0 => {}
                1 => self.print(&format!("{name}skipped 1 object")),
                count => self.print(&format!("{name}skipped {count} objects")),
            }
            return;
        }
        for object in skipped.objects() {
            // Keys and reasons may hold newlines: print one line per object.
            let line = format!("{name}skipped `{}`: {}", object.key, object.reason);
            self.say(&printable::line(&line, MESSAGE_BYTES_MAX));
        }
        match skipped.beyond() {
            0 => {}
            more => self.say(&format!("{name}skipped {more} more objects")),
        }
    }

    /// Reports a failure while others continue.
    pub(super) fn report(&self, message: &str) {
        self.bars.suspend(|| report(message));
    }

    /// Hides the progress lines while `write` writes to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bars.suspend(write)
    }

    /// Whether stderr is a terminal and may be written to.
    pub(super) fn has_bars(&self) -> bool {
        self.has_bars
    }

    /// Whether nobody sees progress lines: summaries are said instead.
    pub(super) fn is_unwatched(&self) -> bool {
        !self.has_bars && !self.is_quiet
    }

    fn print(&self, text: &str) {
        if self.format == LogFormat::Json {
            text.lines().for_each(|line| print_json("INFO", line));
            return;
        }
        let text = printable::lines(text, MESSAGE_BYTES_MAX);
        self.bars.suspend(|| {
            // There is nowhere to report that stderr can't be written.
            let _ = writeln!(io::stderr(), "{text}");
        });
    }
}

/// Whether log lines of that origin hold no keys: below `warn`, the AWS crates log key ids, and at `trace` the responses
/// that contain keys. No filter of the user turns those on.
fn keeps_keys(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("aws_") || *metadata.level() <= tracing::Level::WARN
}

/// The message and the fields of a log line, which stays one line whatever they hold.
fn fields() -> impl for<'w> FormatFields<'w> {
    debug_fn(|writer, field, value| {
        let value = format!("{value:?}");
        let value = printable::line(&value, MESSAGE_BYTES_MAX);
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}

impl<'a> MakeWriter<'a> for Terminal {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bars.suspend(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reports a failure, with a prefix on each line.
pub(crate) fn report(message: &str) {
    let message = printable::lines(message, MESSAGE_BYTES_MAX);
    if FORMAT.get() == Some(&LogFormat::Json) {
        message.lines().for_each(|line| print_json("ERROR", line));
        return;
    }
    let mut stderr = io::stderr().lock();
    for line in message.lines() {
        let _ = writeln!(stderr, "error: {line}");
    }
}

/// Prints a line in the form of the log's.
fn print_json(level: &str, message: &str) {
    let mut timestamp = String::new();
    let is_known = SystemTime.format_time(&mut Writer::new(&mut timestamp)).is_ok();
    let message = printable::line(message, MESSAGE_BYTES_MAX);
    let line = json!({ "timestamp": is_known.then_some(timestamp), "level": level, "message": message });
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints data. A reader that is gone, such as `head`, is no failure.
pub(super) fn print_data(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write the output: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn what_pipelines_and_components_report_is_shown_by_default() {
        let shown = filter(None, 0, false).expect("the default is a filter");
        for module in ["pipeline::recovery", "connector::instance::log"] {
            let target = format!("s3_connector_host::{module}");
            assert!(shown.would_enable(&target, &Level::INFO), "{target}");
            assert!(!shown.would_enable(&target, &Level::DEBUG), "{target}");
        }
        assert!(!shown.would_enable("s3_connector_host::egress", &Level::INFO));
        assert!(shown.would_enable(SUMMARY, &Level::INFO));
        assert!(!filter(None, 0, true).expect("it is a filter").would_enable("anything", &Level::WARN));
        for (verbosity, level, beyond) in
            [(1, Level::INFO, Level::DEBUG), (2, Level::DEBUG, Level::TRACE), (3, Level::TRACE, Level::TRACE)]
        {
            let shown = filter(None, verbosity, false).expect("it is a filter");
            assert!(shown.would_enable("s3_connector_host", &level));
            assert_eq!(shown.would_enable("s3_connector_host", &beyond), level == beyond);
        }
    }

    #[test]
    fn a_log_filter_that_is_none_is_wrong_usage_that_names_the_variable() {
        let failure = filter(Some("s3_connector_host=loud"), 0, false).map(drop);
        assert!(filter(Some("debug"), 0, true).expect("a level").would_enable("anything", &Level::DEBUG));
        let failure = match failure {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        };
        assert!(failure.starts_with("S3_CONNECTOR_LOG must be "), "{failure}");
    }
}
