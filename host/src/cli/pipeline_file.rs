//! Pipeline files: YAML in Conduit's form, read and checked. Every problem is found at once and named with its line;
//! what settings may hold is the connector's to say, and running is `run`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use s3_connector_host::Settings;
use s3_connector_host::pipeline::NackWindow;
use serde::Deserialize;
use serde_yaml_ng::Value;

use super::Failure;
use super::locate::{self, Step};
use super::terminal::Terminal;

/// Versions of the form, all of them read alike.
const VERSIONS: [&str; 3] = ["2.0", "2.1", "2.2"];

const FILE_FIELDS: &[&str] = &["version", "pipelines"];
const PIPELINE_FIELDS: &[&str] =
    &["id", "status", "name", "description", "connectors", "processors", DEAD_LETTER_QUEUE];
const DEAD_LETTER_QUEUE: &str = "dead-letter-queue";
const CONNECTOR_FIELDS: &[&str] = &["id", "type", "plugin", "name", "settings", "processors"];
/// Fields of Conduit that change what becomes of records. Passing over them would do something else than was
/// asked for.
const UNSUPPORTED_FIELDS: &[&str] = &["processors"];

const DEAD_LETTER_QUEUE_FIELDS: &[&str] = &["plugin", "settings", "window-size", "window-nack-threshold"];

/// The longest window of a dead-letter queue: a bit of memory per record, and more than anybody looks back.
const WINDOW_SIZE_MAX: usize = 1_000_000;

/// What Conduit logs of a dead letter where nothing else is said.
const LOG_MESSAGE: &str = "record delivery failed";

/// Settings of Conduit's own connector library, which every connector has there.
const LIBRARY_PREFIX: &str = "sdk.";

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct PipelineFile {
    /// The pipelines that shall run.
    pub(super) pipelines: Vec<PipelineConfig>,
    /// Ids of those that shall not.
    pub(super) stopped: Vec<String>,
    /// What was passed over.
    pub(super) warnings: Vec<String>,
}

/// A pipeline that shall run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PipelineConfig {
    /// Its id, which is the name of a folder too.
    pub(super) id: String,
    /// Where its records come from.
    pub(super) source: ConnectorConfig,
    /// Where they go.
    pub(super) destination: ConnectorConfig,
    /// Where those go that the destination refuses; none where the first one ends the pipeline.
    pub(super) dead_letters: Option<DeadLetterConfig>,
}

/// Where refused records go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeadLetterConfig {
    /// Where they go.
    pub(super) destination: ConnectorConfig,
    /// How many there may be.
    pub(super) window: NackWindow,
}

/// One end of a pipeline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ConnectorConfig {
    /// Its id within the pipeline.
    pub(super) id: String,
    /// What it is.
    pub(super) plugin: Plugin,
    /// Its settings, with variables expanded.
    pub(super) settings: Settings,
}

/// What an end can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plugin {
    /// The connector.
    S3,
    /// A file.
    File,
    /// The log, for dead letters.
    Log,
}

/// Reads all files; ids must not meet in one state folder.
///
/// # Errors
///
/// All problems, as wrong usage.
pub(super) fn read(files: &[PathBuf], terminal: &Terminal) -> Result<Vec<PipelineConfig>, Failure> {
    let (mut configs, mut problems, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
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
            terminal.say(&format!("pipeline `{id}` is stopped, and is not run"));
        }
        for config in file.pipelines {
            if !ids.insert(config.id.clone()) {
                let name = path.display();
                problems.push(format!("{name}: pipeline id `{}` is in another file too", config.id));
            }
            configs.push(config);
        }
    }
    if problems.is_empty() { Ok(configs) } else { Err(Failure::Usage(problems.join("\n"))) }
}

fn read_file(path: &Path) -> Result<PipelineFile, Vec<String>> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| vec![format!("{name}: {error}")])?;
    // Some editors begin a text with a mark that it is UTF-8, which YAML takes for a document of its own.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    parse(&name, text, &|variable| std::env::var(variable).ok())
}

/// Reads a file's text. `name` stands in messages, `lookup` gives the values of variables.
///
/// # Errors
///
/// All problems.
pub(super) fn parse(
    name: &str,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<PipelineFile, Vec<String>> {
    let syntax = |error: serde_yaml_ng::Error| vec![format!("{name}: {error}")];
    // Twice: as values, to see every field, and as text, since a setting is what was written (`010`, `1e3`, `yes`).
    let value: Value = serde_yaml_ng::from_str(text).map_err(syntax)?;
    let document: Document = serde_yaml_ng::from_str(text).map_err(syntax)?;
    let mut reader = Reader { name, text, lookup, file: PipelineFile::default(), problems: Vec::new() };
    reader.walk(&value);
    reader.version(document.version.as_deref());
    for (index, pipeline) in document.pipelines.unwrap_or_default().into_iter().enumerate() {
        reader.pipeline(index, pipeline);
    }
    if reader.problems.is_empty() { Ok(reader.file) } else { Err(reader.problems) }
}

#[derive(Deserialize)]
#[serde(expecting = "a mapping with `version` and `pipelines`")]
struct Document {
    version: Option<String>,
    pipelines: Option<Vec<PipelineDocument>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a pipeline with `id` and `connectors`")]
struct PipelineDocument {
    id: Option<String>,
    status: Option<String>,
    connectors: Option<Vec<ConnectorDocument>>,
    #[serde(rename = "dead-letter-queue")]
    dead_letter_queue: Option<DeadLetterDocument>,
}

#[derive(Default, Deserialize)]
#[serde(expecting = "a dead-letter queue with `plugin` and `settings`")]
struct DeadLetterDocument {
    plugin: Option<String>,
    settings: Option<BTreeMap<String, String>>,
    #[serde(rename = "window-size")]
    window_size: Option<String>,
    #[serde(rename = "window-nack-threshold")]
    window_nack_threshold: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "a connector with `id`, `type`, `plugin` and `settings`")]
struct ConnectorDocument {
    id: Option<String>,
    #[serde(rename = "type")]
    side: Option<String>,
    plugin: Option<String>,
    settings: Option<BTreeMap<String, String>>,
}

/// Which side of a pipeline a connector is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    file: PipelineFile,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// `pipeline.yaml:12`, or as much of it as is known.
    fn place(&self, path: &[Step]) -> String {
        // What is missing has no line: what it is missing from has one.
        let known = (1..=path.len()).rev().find_map(|depth| locate::line(self.text, &path[..depth]));
        match known {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.to_owned(),
        }
    }

    fn problem(&mut self, path: &[Step], what: &str) {
        let place = self.place(path);
        self.problems.push(format!("{place}: {what}"));
    }

    fn warn(&mut self, path: &[Step], what: &str) {
        let place = self.place(path);
        self.file.warnings.push(format!("{place}: {what}"));
    }

    /// Looks at the names of all fields.
    fn walk(&mut self, file: &Value) {
        self.fields(file, &[], FILE_FIELDS);
        for (path, pipeline) in elements(file, &[], "pipelines") {
            self.fields(pipeline, &path, PIPELINE_FIELDS);
            for (path, connector) in elements(pipeline, &path, "connectors") {
                self.fields(connector, &path, CONNECTOR_FIELDS);
            }
            if let Some(queue) = pipeline.get(DEAD_LETTER_QUEUE) {
                self.fields(queue, &below(&path, DEAD_LETTER_QUEUE), DEAD_LETTER_QUEUE_FIELDS);
            }
        }
    }

    fn fields(&mut self, value: &Value, path: &[Step], known: &[&str]) {
        let Value::Mapping(fields) = value else {
            return;
        };
        for (field, value) in fields {
            let Some(field) = field.as_str() else {
                continue;
            };
            let path = [path, &[Step::Field(field.to_owned())]].concat();
            if !known.contains(&field) {
                self.warn(&path, &format!("unknown field `{field}` is passed over"));
            } else if UNSUPPORTED_FIELDS.contains(&field) && !is_empty(value) {
                self.problem(&path, &format!("`{field}` is not supported yet; take it out to run without"));
            }
        }
    }

    fn version(&mut self, version: Option<&str>) {
        let path = [Step::Field("version".to_owned())];
        match version {
            Some(version) if VERSIONS.contains(&version) => {}
            Some(version) => {
                let known = VERSIONS.join(", ");
                self.problem(&path, &format!("version `{version}` is not one of {known}"));
            }
            None => self.warn(&[], "no version; it is read as 2.2"),
        }
    }

    fn pipeline(&mut self, index: usize, pipeline: PipelineDocument) {
        let path = vec![Step::Field("pipelines".to_owned()), Step::Element(index)];
        let Some(id) = pipeline.id.filter(|id| !id.is_empty()) else {
            return self.problem(&path, "a pipeline needs an `id`");
        };
        if !is_id(&id) {
            let what = format!("pipeline id `{id}` may hold letters, digits, `-`, `_`, `:` and `.`");
            self.problem(&path, &what);
        }
        let known = self.file.pipelines.iter().map(|pipeline| &pipeline.id).chain(&self.file.stopped);
        if known.into_iter().any(|known| *known == id) {
            self.problem(&path, &format!("pipeline id `{id}` is there twice"));
        }
        match pipeline.status.as_deref() {
            None | Some("" | "running") => {}
            Some("stopped") => return self.file.stopped.push(id),
            Some(status) => {
                let path = [&path[..], &[Step::Field("status".to_owned())]].concat();
                self.problem(&path, &format!("status `{status}` is not one of running, stopped"));
            }
        }
        let connectors = pipeline.connectors.unwrap_or_default();
        let Some((mut sources, mut destinations)) = self.connectors(&path, connectors) else {
            return;
        };
        let before = self.problems.len();
        let queue_path = below(&path, DEAD_LETTER_QUEUE);
        let dead_letters = pipeline.dead_letter_queue.and_then(|queue| self.dead_letters(&queue_path, queue));
        if self.problems.len() > before {
            return;
        }
        let counts = (sources.len(), destinations.len());
        match (sources.pop(), destinations.pop()) {
            (Some(source), Some(destination)) if counts == (1, 1) => {
                if source.id == destination.id {
                    self.problem(&path, &format!("connector id `{}` is there twice", source.id));
                }
                self.file.pipelines.push(PipelineConfig { id, source, destination, dead_letters });
            }
            _ => self.problem(&path, &count_problem(&id, counts)),
        }
    }

    /// Sources and destinations; none where one of them has a problem: it is noted, and that it is missing is none.
    fn connectors(
        &mut self,
        path: &[Step],
        connectors: Vec<ConnectorDocument>,
    ) -> Option<(Vec<ConnectorConfig>, Vec<ConnectorConfig>)> {
        let (mut sources, mut destinations) = (Vec::new(), Vec::new());
        for (index, connector) in connectors.into_iter().enumerate() {
            let path = [&below(path, "connectors")[..], &[Step::Element(index)]].concat();
            match self.connector(&path, connector)? {
                (Side::Source, connector) => sources.push(connector),
                (Side::Destination, connector) => destinations.push(connector),
            }
        }
        Some((sources, destinations))
    }

    fn connector(&mut self, path: &[Step], connector: ConnectorDocument) -> Option<(Side, ConnectorConfig)> {
        let of = |field: &str| [path, &[Step::Field(field.to_owned())]].concat();
        let before = self.problems.len();
        let id = connector.id.unwrap_or_default();
        if id.is_empty() {
            self.problem(path, "a connector needs an `id`");
        }
        let side = match connector.side.as_deref() {
            Some("source") => Some(Side::Source),
            Some("destination") => Some(Side::Destination),
            Some(side) => {
                let what = format!("connector type `{side}` is not one of source, destination");
                self.problem(&of("type"), &what);
                None
            }
            None => {
                self.problem(path, "a connector needs a `type`: source or destination");
                None
            }
        };
        let plugin = match connector.plugin.as_deref().map(|name| (name, plugin(name))) {
            Some((_, Some(plugin @ (Plugin::S3 | Plugin::File)))) => Some(plugin),
            Some((name, _)) => {
                self.problem(&of("plugin"), &format!("plugin `{name}` is not one of s3, file"));
                None
            }
            None => {
                self.problem(path, "a connector needs a `plugin`: s3 or file");
                None
            }
        };
        let (side, plugin) = (side?, plugin?);
        let settings = self.settings(&of("settings"), plugin, connector.settings.unwrap_or_default());
        (self.problems.len() == before).then_some((side, ConnectorConfig { id, plugin, settings }))
    }

    /// Where refused records go; none where Conduit's default holds, by which the first one ends the pipeline.
    fn dead_letters(&mut self, path: &[Step], queue: DeadLetterDocument) -> Option<DeadLetterConfig> {
        let name = queue.plugin.as_deref().filter(|name| !name.is_empty());
        let plugin = plugin(name.unwrap_or("log"));
        if plugin.is_none() {
            let what = format!("plugin `{}` is not one of log, file, s3", name.unwrap_or_default());
            self.problem(&below(path, "plugin"), &what);
        }
        let (size, nacks_max) = (
            self.number(path, "window-size", queue.window_size, 1),
            self.number(path, "window-nack-threshold", queue.window_nack_threshold, 0),
        );
        if size > 0 && nacks_max >= size {
            let what = "`window-nack-threshold` must be lower than `window-size`";
            self.problem(&below(path, "window-nack-threshold"), what);
        }
        let plugin = plugin?;
        let settings = queue.settings.unwrap_or_default();
        let settings = self.settings(&below(path, "settings"), plugin, settings);
        let window = NackWindow::new(size, nacks_max);
        (!window.is_closed()).then(|| DeadLetterConfig {
            destination: ConnectorConfig { id: DEAD_LETTER_QUEUE.to_owned(), plugin, settings },
            window,
        })
    }

    fn number(&mut self, path: &[Step], field: &str, text: Option<String>, default: usize) -> usize {
        let Some(text) = text else { return default };
        match text.parse() {
            Ok(number) if number <= WINDOW_SIZE_MAX => number,
            _ => {
                let what = format!("`{field}` must be a number from 0 to {WINDOW_SIZE_MAX}");
                self.problem(&below(path, field), &what);
                default
            }
        }
    }

    fn settings(&mut self, path: &[Step], plugin: Plugin, given: Settings) -> Settings {
        let mut settings = Settings::new();
        for (name, value) in given {
            let path = [path, &[Step::Field(name.clone())]].concat();
            if name.starts_with(LIBRARY_PREFIX) {
                self.warn(&path, &format!("setting `{name}` belongs to Conduit, and is passed over"));
                continue;
            }
            if plugin == Plugin::File && name != "path" {
                self.problem(&path, &format!("unknown setting `{name}` of plugin file; it has `path`"));
            }
            if plugin == Plugin::Log && !matches!(name.as_str(), "level" | "message") {
                self.problem(&path, &format!("unknown setting `{name}` of plugin log; it has `level` and `message`"));
            }
            let (value, unset) = expand(&value, self.lookup);
            for variable in unset {
                let what = format!("variable `{variable}` is not set; it stands for nothing in `{name}`");
                self.warn(&path, &what);
            }
            settings.insert(name, value);
        }
        if plugin == Plugin::File && settings.get("path").is_none_or(String::is_empty) {
            self.problem(path, "plugin file needs the setting `path`");
        }
        if plugin == Plugin::Log {
            let level = settings.entry("level".to_owned()).or_default();
            if level.is_empty() {
                level.push_str("warn");
            }
            if level.parse::<tracing::Level>().is_err() {
                let what = format!("level `{level}` is not one of trace, debug, info, warn, error");
                self.problem(&below(path, "level"), &what);
            }
            settings.entry("message".to_owned()).or_insert_with(|| LOG_MESSAGE.to_owned());
        }
        settings
    }
}

/// The place of a field of what stands at `path`.
fn below(path: &[Step], field: &str) -> Vec<Step> {
    [path, &[Step::Field(field.to_owned())]].concat()
}

/// The elements of the list `field` of `value`, and where they are.
fn elements<'v>(value: &'v Value, path: &[Step], field: &str) -> Vec<(Vec<Step>, &'v Value)> {
    let list = value.get(field).and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
    let at = |index| [path, &[Step::Field(field.to_owned()), Step::Element(index)]].concat();
    list.iter().enumerate().map(|(index, element)| (at(index), element)).collect()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Sequence(elements) => elements.is_empty(),
        Value::Mapping(fields) => fields.is_empty(),
        _ => false,
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
            "pipeline `{id}` has {destinations} destinations, which is not supported yet; make a pipeline for each"
        ),
        _ => format!("pipeline `{id}` has {sources} sources, which is not supported; make a pipeline for each"),
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

/// Puts the values of variables in the place of `${NAME}`; returns the names that have none too.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> (String, Vec<String>) {
    let (mut expanded, mut unset, mut rest) = (String::new(), Vec::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        match from[2..].split_once('}') {
            Some((name, behind)) if is_variable(name) => {
                match lookup(name) {
                    Some(value) => expanded.push_str(&value),
                    None => unset.push(name.to_owned()),
                }
                rest = behind;
            }
            _ => {
                expanded.push_str("${");
                rest = &from[2..];
            }
        }
    }
    expanded.push_str(rest);
    (expanded, unset)
}

fn is_variable(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_allowed) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests;
