//! Owns the shape of a pipeline file: which fields there are, and where each one stands. Leaves what fields mean to
//! `pipeline_file`.
//!
//! Scalars are read as the text that was written (`010`, `1e3` and `yes` stay text), each with its line and column.
//! Unknown fields are kept by name. Fields that occur twice, nesting without end, and aliases that multiply are errors.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, MergeKeyPolicy, Spanned};

/// Text as it was written, and where.
pub(super) type Text = Spanned<String>;

/// The name of the field for records that a destination refuses.
pub(super) const DEAD_LETTER_QUEUE: &str = "dead-letter-queue";

/// What a reader of settings should have written, for errors.
const SETTINGS_EXPECTED: &str = "settings, each a name and a text";

/// The fields of a mapping.
pub(super) trait Fields: Default {
    /// What a reader of the file should have written, for errors.
    const EXPECTED: &'static str;

    /// Reads the value of the field `key`; false if there is no such field.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &Text, map: &mut A) -> Result<bool, A::Error>;
}

/// A mapping: its known fields, and the names of the others.
#[derive(Default)]
pub(super) struct Section<F> {
    pub(super) fields: F,
    pub(super) unknown: Vec<Text>,
}

/// A whole file.
#[derive(Default)]
pub(super) struct FileFields {
    pub(super) version: Option<Text>,
    /// This program's own: Conduit has its configuration for that.
    pub(super) listen: Option<Text>,
    pub(super) pipelines: List<PipelineFields>,
}

/// One pipeline.
#[derive(Default)]
pub(super) struct PipelineFields {
    pub(super) id: Option<Text>,
    pub(super) status: Option<Text>,
    pub(super) connectors: List<ConnectorFields>,
    pub(super) processors: Option<Processors>,
    pub(super) dead_letter_queue: Option<Keyed<Section<QueueFields>>>,
}

/// A source or a destination.
#[derive(Default)]
pub(super) struct ConnectorFields {
    pub(super) id: Option<Text>,
    pub(super) side: Option<Text>,
    pub(super) plugin: Option<Text>,
    pub(super) settings: Option<Keyed<SettingFields>>,
    pub(super) processors: Option<Processors>,
}

/// A dead-letter queue.
#[derive(Default)]
pub(super) struct QueueFields {
    pub(super) plugin: Option<Text>,
    pub(super) settings: Option<Keyed<SettingFields>>,
    pub(super) window_size: Option<Text>,
    pub(super) window_nack_threshold: Option<Text>,
}

/// A value, and where its field's name stands.
pub(super) struct Keyed<T> {
    pub(super) key: Location,
    pub(super) value: T,
}

/// Settings in the order in which they were written: names and values.
#[derive(Default)]
pub(super) struct SettingFields(pub(super) Vec<(Text, Text)>);

/// Processors, which are only counted.
pub(super) type Processors = Keyed<Vec<IgnoredAny>>;

/// A list of mappings. Null is an empty one.
pub(super) struct List<F>(pub(super) Vec<Spanned<Section<F>>>);

impl<F> Default for List<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Reads a file's text.
///
/// # Errors
///
/// What is wrong, after the file's name and the line and column where that is known.
pub(super) fn parse(name: &str, text: &str) -> Result<Spanned<Section<FileFields>>, String> {
    read(name, text, FileFields::EXPECTED)
}

/// Reads a text that holds settings alone.
///
/// # Errors
///
/// As those of [`parse`].
pub(super) fn settings(name: &str, text: &str) -> Result<SettingFields, String> {
    read(name, text, SETTINGS_EXPECTED)
}

fn read<T: DeserializeOwned>(name: &str, text: &str, expected: &str) -> Result<T, String> {
    let options = serde_saphyr::options! {
        merge_keys: MergeKeyPolicy::AsOrdinary,
        null_as_string: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| describe(name, &error, expected))
}

/// `pipeline.yaml:12:5`, or as much of it as is known.
pub(super) fn place(name: &str, at: Location) -> String {
    if at == Location::UNKNOWN { name.to_owned() } else { format!("{name}:{}:{}", at.line(), at.column()) }
}

fn describe(name: &str, error: &Error, expected: &str) -> String {
    let at = error.location().unwrap_or(Location::UNKNOWN);
    let what = match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("duplicate field `{key}`"),
        // Nothing is there, or comments alone.
        Error::Eof { .. } => format!("expected {expected}"),
        Error::MultipleDocuments { .. } => {
            "a second YAML document begins; put everything into the first one".to_owned()
        }
        error => {
            let text = error.to_string();
            // The place is said first.
            let suffix = format!(" at line {}, column {}", at.line(), at.column());
            text.strip_suffix(&suffix).map(str::to_owned).unwrap_or(text)
        }
    };
    format!("{}: {what}", place(name, at))
}

/// Reads a field that holds text; errors name it.
fn text<'de, A: MapAccess<'de>, T: Deserialize<'de>>(key: &str, map: &mut A) -> Result<T, A::Error> {
    map.next_value().map_err(|error| A::Error::custom(format_args!("field `{key}`: {error}")))
}

/// Reads a field that may be null, and remembers where its name stands.
fn keyed<'de, A: MapAccess<'de>, T: Deserialize<'de>>(key: &Text, map: &mut A) -> Result<Option<Keyed<T>>, A::Error> {
    Ok(map.next_value::<Option<T>>()?.map(|value| Keyed { key: key.referenced, value }))
}

impl Fields for FileFields {
    const EXPECTED: &'static str = "a mapping with `version` and `pipelines`";

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &Text, map: &mut A) -> Result<bool, A::Error> {
        match key.value.as_str() {
            "version" => self.version = text("version", map)?,
            "listen" => self.listen = text("listen", map)?,
            "pipelines" => self.pipelines = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Fields for PipelineFields {
    const EXPECTED: &'static str = "a pipeline with `id` and `connectors`";

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &Text, map: &mut A) -> Result<bool, A::Error> {
        match key.value.as_str() {
            "id" => self.id = text("id", map)?,
            "status" => self.status = text("status", map)?,
            // Nothing hangs on them.
            "name" | "description" => drop(map.next_value::<IgnoredAny>()?),
            "connectors" => self.connectors = map.next_value()?,
            "processors" => self.processors = keyed(key, map)?,
            DEAD_LETTER_QUEUE => self.dead_letter_queue = keyed(key, map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Fields for ConnectorFields {
    const EXPECTED: &'static str = "a connector with `id`, `type`, `plugin` and `settings`";

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &Text, map: &mut A) -> Result<bool, A::Error> {
        match key.value.as_str() {
            "id" => self.id = text("id", map)?,
            "type" => self.side = text("type", map)?,
            "plugin" => self.plugin = text("plugin", map)?,
            "name" => drop(map.next_value::<IgnoredAny>()?),
            "settings" => self.settings = keyed(key, map)?,
            "processors" => self.processors = keyed(key, map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Fields for QueueFields {
    const EXPECTED: &'static str = "a dead-letter queue with `plugin` and `settings`";

    fn read<'de, A: MapAccess<'de>>(&mut self, key: &Text, map: &mut A) -> Result<bool, A::Error> {
        match key.value.as_str() {
            "plugin" => self.plugin = text("plugin", map)?,
            "settings" => self.settings = keyed(key, map)?,
            "window-size" => self.window_size = text("window-size", map)?,
            "window-nack-threshold" => self.window_nack_threshold = text("window-nack-threshold", map)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de, F: Fields> Deserialize<'de> for Section<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Any kind of value is asked for, so that one of another kind is told what was expected here.
        deserializer.deserialize_any(SectionVisitor(PhantomData))
    }
}

struct SectionVisitor<F>(PhantomData<F>);

impl<'de, F: Fields> Visitor<'de> for SectionVisitor<F> {
    type Value = Section<F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(F::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Section<F>, A::Error> {
        let mut section = Section { fields: F::default(), unknown: Vec::new() };
        while let Some(key) = map.next_key::<Text>()? {
            if !section.fields.read(&key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
                section.unknown.push(key);
            }
        }
        Ok(section)
    }
}

impl<'de, F: Fields> Deserialize<'de> for List<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<F>(PhantomData<F>);

impl<'de, F: Fields> Visitor<'de> for ListVisitor<F> {
    type Value = List<F>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, each element of which is {}", F::EXPECTED)
    }

    fn visit_unit<E>(self) -> Result<List<F>, E> {
        Ok(List::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<List<F>, A::Error> {
        let mut list = List::default();
        while let Some(element) = sequence.next_element()? {
            list.0.push(element);
        }
        Ok(list)
    }
}

impl<'de> Deserialize<'de> for SettingFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = SettingFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SETTINGS_EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SettingFields, A::Error> {
        let mut settings = SettingFields::default();
        while let Some(key) = map.next_key::<Text>()? {
            let value = map.next_value().map_err(|error: A::Error| {
                let (name, why) = (&key.value, error.to_string());
                // What people write who know other tools' files. A test sees that the parser still says so.
                let hint = if why.contains("expected string scalar") {
                    format!("; for a setting whose name begins so, write `{name}.NAME: value`, on one level")
                } else {
                    String::new()
                };
                A::Error::custom(format_args!("field `{name}`: {why}{hint}"))
            })?;
            settings.0.push((key, value));
        }
        Ok(settings)
    }
}
