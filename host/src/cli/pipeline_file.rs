//! Owns pipeline files in Conduit's YAML form: reads and checks them, and reports every problem at once with its line and
//! column. Leaves what the connector's settings may hold to the connector, and running to `run`.

mod document;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use s3_connector_host::Settings;
use s3_connector_host::environment::Environment;
use s3_connector_host::pipeline::{NackWindow, feeds_itself};
use serde_saphyr::{Location, Spanned};

use self::document::{
    ConnectorFields, DEAD_LETTER_QUEUE, FileFields, Keyed, List, PipelineFields, Processors, QueueFields, Section,
    SettingFields, Text,
};
use super::Failure;
use super::listen;
use super::references::{self, Missing};
use super::terminal::Terminal;

/// Versions of the form, all of them read alike.
const VERSIONS: [&str; 3] = ["2.0", "2.1", "2.2"];

/// The most bytes that a pipeline file may have.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The longest window of a dead-letter queue: a bit of memory per record, and more than anybody looks back.
const WINDOW_SIZE_MAX: usize = 1_000_000;

/// What Conduit logs of a dead letter unless the file says otherwise.
const LOG_MESSAGE: &str = "record delivery failed";

/// Settings of Conduit's own connector library, which every connector has there.
const LIBRARY_PREFIX: &str = "sdk.";

/// The pipelines of a file.
#[derive(Debug, Default)]
pub(super) struct PipelineFile {
    /// Where to show what is run.
    pub(super) listen: Option<SocketAddr>,
    /// The pipelines to run.
    pub(super) pipelines: Vec<PipelineConfig>,
    /// Ids of the pipelines whose status is `stopped`.
    pub(super) stopped: Vec<String>,
    /// What was ignored or assumed.
    pub(super) warnings: Vec<String>,
}

/// A pipeline to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PipelineConfig {
    /// Its id, which is also the name of its state folder.
    pub(super) id: String,
    /// Where its records come from.
    pub(super) source: ConnectorConfig,
    /// Where they go.
    pub(super) destination: ConnectorConfig,
    /// Where records go that the destination refuses; `None` if the first such record ends the pipeline.
    pub(super) dead_letters: Option<DeadLetterConfig>,
}

/// Where refused records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadLetterConfig {
    /// Where they go.
    pub(super) destination: ConnectorConfig,
    /// How many there may be.
    pub(super) window: NackWindow,
}

/// One endpoint of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnectorConfig {
    /// Its id within the pipeline.
    pub(super) id: String,
    /// What it is.
    pub(super) plugin: Plugin,
    /// Its settings, with variables expanded.
    pub(super) settings: Settings,
}

/// What an endpoint can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    /// The connector.
    S3,
    /// A file.
    File,
    /// The log, for dead letters only.
    Log,
}

impl Plugin {
    /// Its name in files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::File => "file",
            Self::Log => "log",
        }
    }
}

/// Reads all files; a pipeline id may occur once, since pipelines share a state folder.
///
/// # Errors
///
/// All problems, as wrong usage.
pub(super) fn read(
    files: &[PathBuf],
    terminal: &Terminal,
) -> Result<(Vec<PipelineConfig>, Option<SocketAddr>), Failure> {
    let (mut configs, mut problems, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut listen = None::<SocketAddr>;
    for path in files {
        let file = match read_file(path) {
            Ok(file) => file,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        for warning in &file.warnings {
            terminal.say(&format!("warning: {warning}"));
        }
        for id in &file.stopped {
            terminal.say(&format!("pipeline `{id}` has status stopped: not running it"));
        }
        if let Some(address) = file.listen
            && let Some(other) = listen.replace(address).filter(|other| *other != address)
        {
            let name = path.display();
            problems.push(format!("{name}: `listen` is {address}, and {other} in a file before it: there can be one"));
        }
        for config in file.pipelines {
            if !ids.insert(config.id.clone()) {
                let (name, id) = (path.display(), &config.id);
                problems
                    .push(format!("{name}: pipeline id `{id}` is in another file too; give each pipeline its own id"));
            }
            configs.push(config);
        }
    }
    if problems.is_empty() { Ok((configs, listen)) } else { Err(Failure::Usage(problems.join("\n"))) }
}

/// Refuses pipelines that would read what they have written, as far as their settings tell.
///
/// # Errors
///
/// All of them, as wrong usage.
pub(super) async fn refuse_cycles(configs: &[PipelineConfig]) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for PipelineConfig { id, source, destination, .. } in configs {
        let are_s3 = source.plugin == Plugin::S3 && destination.plugin == Plugin::S3;
        if are_s3 && feeds_itself(&source.settings, &destination.settings, &Environment::process()).await {
            problems.push(format!(
                "pipeline `{id}`: connector `{}` would write what connector `{}` reads, and each object would be copied \
                 without end; use another bucket, or a `prefix` that is not read",
                destination.id, source.id
            ));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Usage(problems.join("\n"))) }
}

fn read_file(path: &Path) -> Result<PipelineFile, Vec<String>> {
    let text = text(path, FILE_BYTES_MAX).map_err(|problem| vec![problem])?;
    parse(&path.display().to_string(), &text, &|variable| std::env::var(variable).ok())
}

/// The text of a file that people write, of `bytes_max` bytes at most.
///
/// # Errors
///
/// What is wrong, after the file's name.
pub(super) fn text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(format!("{}: {error}", path.display())),
        Ok(_) if text.len() as u64 > bytes_max => {
            Err(format!("{}: it has more than {bytes_max} bytes", path.display()))
        }
        // Some editors begin a text with a mark that it is UTF-8.
        Ok(_) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
    }
}

/// Reads a text that holds settings alone, as they stand in a pipeline file: the place of each, its name and its value.
///
/// # Errors
///
/// What is wrong, and where.
pub(super) fn settings(name: &str, text: &str) -> Result<Vec<(String, String, String)>, String> {
    let settings = document::settings(name, text)?.0.into_iter();
    Ok(settings.map(|(key, value)| (document::place(name, key.referenced), key.value, value.value)).collect())
}

/// Reads a file's text. `name` is how messages call the file, `lookup` gives the values of variables.
///
/// # Errors
///
/// All problems.
pub(super) fn parse(
    name: &str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<PipelineFile, Vec<String>> {
    let document = document::parse(name, text).map_err(|problem| vec![problem])?;
    let mut checker = Checker { name, lookup, file: PipelineFile::default(), problems: Vec::new() };
    checker.check(document);
    if checker.problems.is_empty() { Ok(checker.file) } else { Err(checker.problems) }
}

/// Which side of a pipeline a connector is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// Turns what a file says into pipelines, and collects problems and warnings.
struct Checker<'a> {
    name: &'a str,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    file: PipelineFile,
    problems: Vec<String>,
}

impl Checker<'_> {
    fn problem(&mut self, at: Location, what: &str) {
        let place = document::place(self.name, at);
        self.problems.push(format!("{place}: {what}"));
    }

    fn warn(&mut self, at: Location, what: &str) {
        let place = document::place(self.name, at);
        self.file.warnings.push(format!("{place}: {what}"));
    }

    fn check(&mut self, document: Spanned<Section<FileFields>>) {
        let Spanned { value: Section { fields, unknown }, referenced: at, .. } = document;
        let FileFields { version, listen, pipelines: List(pipelines) } = fields;
        self.field_names(&unknown, &pipelines);
        match version {
            Some(version) if VERSIONS.contains(&version.value.as_str()) => {}
            Some(Text { value, referenced: at, .. }) => {
                self.problem(at, &format!("unsupported version `{value}`; use one of {}", VERSIONS.join(", ")));
            }
            None => self.warn(at, "`version` is missing; assuming 2.2"),
        }
        if let Some(Text { value, referenced: at, .. }) = listen {
            match listen::parse(&value) {
                Ok(address) => self.file.listen = Some(address),
                Err(why) => self.problem(at, &format!("field `listen`: {why}")),
            }
        }
        for pipeline in pipelines {
            self.pipeline(pipeline.referenced, pipeline.value.fields);
        }
    }

    /// Looks at the names of all fields, also in pipelines that are stopped or wrong.
    fn field_names(&mut self, unknown: &[Text], pipelines: &[Spanned<Section<PipelineFields>>]) {
        self.unknown(unknown);
        for Spanned { value: Section { fields, unknown }, .. } in pipelines {
            self.unknown(unknown);
            self.processors(fields.processors.as_ref());
            for Spanned { value: Section { fields, unknown }, .. } in &fields.connectors.0 {
                self.unknown(unknown);
                self.processors(fields.processors.as_ref());
            }
            if let Some(queue) = &fields.dead_letter_queue {
                self.unknown(&queue.value.unknown);
            }
        }
    }

    fn unknown(&mut self, fields: &[Text]) {
        for Text { value: field, referenced: at, .. } in fields {
            self.warn(*at, &format!("ignoring unknown field `{field}`"));
        }
    }

    /// Processors change what becomes of records: to ignore them would do something other than what was asked for.
    fn processors(&mut self, processors: Option<&Processors>) {
        if let Some(Keyed { key, value }) = processors
            && !value.is_empty()
        {
            self.problem(*key, "`processors` is not supported yet; remove it to run without processors");
        }
    }

    fn pipeline(&mut self, at: Location, fields: PipelineFields) {
        let PipelineFields { id, status, connectors, processors: _, dead_letter_queue } = fields;
        let Some(Text { value: id, referenced: id_at, .. }) = id.filter(|id| !id.value.is_empty()) else {
            return self.problem(at, "a pipeline needs an `id`");
        };
        if !is_id(&id) {
            self.problem(id_at, &format!("invalid pipeline id `{id}`; use letters, digits, `-`, `_`, `:` and `.`"));
        }
        let mut known = self.file.pipelines.iter().map(|pipeline| &pipeline.id).chain(&self.file.stopped);
        if known.any(|known| *known == id) {
            self.problem(id_at, &format!("duplicate pipeline id `{id}`"));
        }
        match status.as_ref().map(|status| (status.value.as_str(), status.referenced)) {
            None | Some(("" | "running", _)) => {}
            Some(("stopped", _)) => return self.file.stopped.push(id),
            Some((status, at)) => self.problem(at, &format!("unknown status `{status}`; use running or stopped")),
        }
        let Some((mut sources, mut destinations)) = self.connectors(connectors) else {
            return;
        };
        let before = self.problems.len();
        let dead_letters = dead_letter_queue.and_then(|queue| self.dead_letters(queue.key, queue.value.fields));
        if self.problems.len() > before {
            return;
        }
        let counts = (sources.len(), destinations.len());
        match (sources.pop(), destinations.pop()) {
            (Some(source), Some(destination)) if counts == (1, 1) => {
                if source.id == destination.id {
                    self.problem(at, &format!("duplicate connector id `{}`", source.id));
                }
                self.file.pipelines.push(PipelineConfig { id, source, destination, dead_letters });
            }
            _ => self.problem(at, &count_problem(&id, counts)),
        }
    }

    /// Sources and destinations; `None` if one of them has a problem, which is then the only one to report.
    fn connectors(
        &mut self,
        List(connectors): List<ConnectorFields>,
    ) -> Option<(Vec<ConnectorConfig>, Vec<ConnectorConfig>)> {
        let (mut sources, mut destinations) = (Vec::new(), Vec::new());
        for connector in connectors {
            match self.connector(connector.referenced, connector.value.fields)? {
                (Side::Source, connector) => sources.push(connector),
                (Side::Destination, connector) => destinations.push(connector),
            }
        }
        Some((sources, destinations))
    }

    fn connector(&mut self, at: Location, connector: ConnectorFields) -> Option<(Side, ConnectorConfig)> {
        let before = self.problems.len();
        let id = connector.id.map(|id| id.value).unwrap_or_default();
        if id.is_empty() {
            self.problem(at, "a connector needs an `id`");
        }
        let side = match connector.side.as_ref().map(|side| (side.value.as_str(), side.referenced)) {
            Some(("source", _)) => Some(Side::Source),
            Some(("destination", _)) => Some(Side::Destination),
            Some((side, at)) => {
                self.problem(at, &format!("unknown connector type `{side}`; use source or destination"));
                None
            }
            None => {
                self.problem(at, "a connector needs a `type`: source or destination");
                None
            }
        };
        let plugin = match connector.plugin.as_ref().map(|name| (plugin(&name.value), name)) {
            Some((Some(plugin @ (Plugin::S3 | Plugin::File)), _)) => Some(plugin),
            Some((_, name)) => {
                self.problem(name.referenced, &format!("unknown plugin `{}`; use s3 or file", name.value));
                None
            }
            None => {
                self.problem(at, "a connector needs a `plugin`: s3 or file");
                None
            }
        };
        let (side, plugin) = (side?, plugin?);
        let settings = self.settings(at, plugin, connector.settings);
        (self.problems.len() == before).then_some((side, ConnectorConfig { id, plugin, settings }))
    }

    /// Where refused records go; `None` under Conduit's default, by which the first one ends the pipeline.
    fn dead_letters(&mut self, at: Location, queue: QueueFields) -> Option<DeadLetterConfig> {
        let name = queue.plugin.filter(|name| !name.value.is_empty());
        let plugin = plugin(name.as_ref().map_or("log", |name| &name.value));
        if let (None, Some(name)) = (plugin, &name) {
            self.problem(name.referenced, &format!("unknown plugin `{}`; use log, file or s3", name.value));
        }
        let threshold_at = queue.window_nack_threshold.as_ref().map_or(at, |threshold| threshold.referenced);
        let (size, nacks_max) = (
            self.number("window-size", queue.window_size, 1),
            self.number("window-nack-threshold", queue.window_nack_threshold, 0),
        );
        if size > 0 && nacks_max >= size {
            self.problem(threshold_at, "`window-nack-threshold` must be lower than `window-size`");
        }
        let plugin = plugin?;
        let settings = self.settings(at, plugin, queue.settings);
        if plugin == Plugin::S3 && settings.get("format").is_some_and(|format| format == "raw") {
            self.problem(at, "a dead letter has no key to name an object by: set `format` to `json` or `parquet`");
        }
        let window = NackWindow::new(size, nacks_max);
        (!window.is_closed()).then(|| DeadLetterConfig {
            destination: ConnectorConfig { id: DEAD_LETTER_QUEUE.to_owned(), plugin, settings },
            window,
        })
    }

    fn number(&mut self, field: &str, text: Option<Text>, default: usize) -> usize {
        let Some(text) = text else { return default };
        match text.value.parse() {
            Ok(number) if number <= WINDOW_SIZE_MAX => number,
            _ => {
                self.problem(text.referenced, &format!("`{field}` must be a number from 0 to {WINDOW_SIZE_MAX}"));
                default
            }
        }
    }

    /// The settings of a plugin; `at` is the place of what they belong to.
    fn settings(&mut self, at: Location, plugin: Plugin, given: Option<Keyed<SettingFields>>) -> Settings {
        let at = given.as_ref().map_or(at, |given| given.key);
        let given = given.map_or_else(Vec::new, |given| given.value.0);
        let mut settings = Settings::new();
        let mut level_at = at;
        for (Text { value: name, referenced: name_at, .. }, value) in given {
            if name.starts_with(LIBRARY_PREFIX) {
                self.warn(name_at, &format!("ignoring setting `{name}`: it is for Conduit's connector library"));
                continue;
            }
            if plugin == Plugin::File && name != "path" {
                let what = format!("unknown setting `{name}` of plugin file; its only setting is `path`");
                self.problem(name_at, &what);
            }
            if plugin == Plugin::Log && !matches!(name.as_str(), "level" | "message") {
                let what = format!("unknown setting `{name}` of plugin log; its settings are `level` and `message`");
                self.problem(name_at, &what);
            }
            if name == "level" {
                level_at = value.referenced;
            }
            let (text, missing) = references::expand(&value.value, self.lookup);
            for missing in missing {
                match missing {
                    // As in Conduit.
                    Missing::Variable(variable) => {
                        let what =
                            format!("environment variable `{variable}` is not set; using an empty string for `{name}`");
                        self.warn(value.referenced, &what);
                    }
                    Missing::File(reason) => self.problem(value.referenced, &format!("setting `{name}`: {reason}")),
                }
            }
            settings.insert(name, text);
        }
        if plugin == Plugin::File && settings.get("path").is_none_or(String::is_empty) {
            self.problem(at, "plugin file needs the setting `path`");
        }
        if plugin == Plugin::Log {
            let level = settings.entry("level".to_owned()).or_default();
            if level.is_empty() {
                level.push_str("warn");
            }
            if level.parse::<tracing::Level>().is_err() {
                let what = format!("unknown level `{level}`; use trace, debug, info, warn or error");
                self.problem(level_at, &what);
            }
            settings.entry("message".to_owned()).or_insert_with(|| LOG_MESSAGE.to_owned());
        }
        settings
    }
}

/// Whether an id is one of Conduit's, and no path.
fn is_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    id.bytes().all(is_allowed) && id != "." && id != ".."
}

fn count_problem(id: &str, (sources, destinations): (usize, usize)) -> String {
    match (sources, destinations) {
        (0, _) => format!("pipeline `{id}` has no source"),
        (_, 0) => format!("pipeline `{id}` has no destination"),
        (1, _) => format!(
            "pipeline `{id}` has {destinations} destinations, which is not supported yet; write one pipeline per destination"
        ),
        _ => format!("pipeline `{id}` has {sources} sources, which is not supported; write one pipeline per source"),
    }
}

/// The plugin of that name: `s3`, `builtin:s3`, `standalone:s3@v1.2.3`.
fn plugin(name: &str) -> Option<Plugin> {
    let name = name.split_once(':').map_or(
        name,
        |(kind, rest)| {
            if kind == "builtin" || kind == "standalone" { rest } else { name }
        },
    );
    match name.split_once('@').map_or(name, |(name, _version)| name) {
        "s3" => Some(Plugin::S3),
        "file" => Some(Plugin::File),
        "log" => Some(Plugin::Log),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
