//! Owns the settings of how a destination lays out its objects: in which folders, and how many of them at a time. Leaves
//! templates to `template`, and what is in the objects to `config`.

use std::borrow::Cow;
use std::time::Duration;

use super::setting::{Bool, Choice, Described, Int, Kind, Setting};
use super::table::TableConfig;
use super::template::{Part, Template, TemplateText};
use super::values::Values;
use super::{BUFFER_BYTES, BUFFER_DELAY, BUFFER_SIZE, Deletes, Format};
use crate::error::{Error, Result};
use crate::limits;

/// The folders of objects.
pub(super) const PATH: Setting<Template> = Setting::optional(
    "path",
    &TemplateText,
    "Folders between `prefix` and the names of objects: a template such as `year={record.time:%Y}/country={field.country}`, which \
     each record fills in; records of one path are batched together. `{record.time:…}` is the time of the record \
     (`opencdc.createdAt`, otherwise `opencdc.readAt`), `{now:…}` that of writing, both in UTC with `%Y`, `%m`, `%d`, `%F`, `%j`, `%H`, \
     `%M` and `%S`; `{meta.NAME}` is metadata; `{field.NAME}` is a field of structured payloads, with dots for nested ones; `{{` and `}}` are \
     braces. Values are escaped as Hive does. Where it is not set: none.",
);

/// What stands for a value that is not there.
pub(super) const MISSING: Setting<String> = Setting::optional(
    "path.missing",
    &Folder,
    "What `path` has in the place of a value that a record lacks, or that is null or empty. Where it is not set: \
     `__HIVE_DEFAULT_PARTITION__`, which Hive and what follows it read as null.",
);

/// How many paths are batched at the same time.
pub(super) const PARTITIONS_MAX: Setting<usize> = Setting::optional(
    "path.partitionsMax",
    &Int { min: 1, max: limits::PARTITIONS_MAX },
    "Paths that have a batch which fills, at most; of more, the batch that was longest without a record is stored as it is. \
     Where it is not set: 256.",
);

/// What names begin with.
pub(super) const OBJECT_NAMES: Setting<Naming> = Setting::with_default(
    "name",
    &Choice(&[("digest", Naming::Digest), ("time-digest", Naming::TimeDigest)]),
    "digest",
    "Names of batches: the `digest` of their records, or before it the time of the first record that has `opencdc.createdAt`, by which they \
     can be sorted (`time-digest`: `20260131T080000Z-…`). The same records have the same name either way.",
);

/// Whether each batch has a manifest.
pub(super) const MANIFEST: Setting<bool> = Setting::with_default(
    "manifest",
    &Bool,
    "false",
    "Whether each batch also has an object below `prefix` and `_manifests/` that names its object, counts its records and bytes, and \
     has its first and last position. It is stored after the object and before its records are acked.",
);

/// All of these, in the order of documentation.
pub(super) const ALL: [&dyn Described; 5] = [&PATH, &MISSING, &PARTITIONS_MAX, &OBJECT_NAMES, &MANIFEST];

/// What names of batches are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// A digest of the records.
    Digest,
    /// A time of theirs, then the digest.
    TimeDigest,
}

/// Reads what names are made of, and whether there are manifests.
pub(super) fn names_of(values: &Values, format: Format) -> Result<(Naming, bool)> {
    let (naming, manifest) = (values.get(&OBJECT_NAMES)?, values.get(&MANIFEST)?);
    let refuse = |name: &str| {
        let message = format!("setting `{name}` is for batches: leave it out with `format: raw`, which has none");
        Err(Error::invalid(message))
    };
    match format {
        Format::Raw if naming != Naming::Digest => refuse(OBJECT_NAMES.name),
        Format::Raw if manifest => refuse(MANIFEST.name),
        _ => Ok((naming, manifest)),
    }
}

/// Whether objects are for readers who want few large ones, and can wait for them.
pub(super) fn is_lake(path: Option<&PathConfig>, columns: Option<&TableConfig>) -> bool {
    path.is_some() || columns.is_some()
}

/// Records in a batch, whatever is set.
pub(super) const RECORDS_MAX: u32 = 100_000;

/// When a batch is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuffersConfig {
    /// Records in a batch.
    pub records_max: usize,
    /// Bytes of records in a batch.
    pub bytes_max: u64,
    /// Age of a batch's first record at most.
    pub delay: Duration,
}

impl BuffersConfig {
    /// Who reads a lake opens each object, and pays for that: bytes should end a batch there, not records or seconds.
    const LAKE: Self = Self { records_max: RECORDS_MAX as usize, bytes_max: 64 << 20, delay: Duration::from_secs(300) };

    /// Elsewhere records should not wait.
    const USUAL: Self = Self { records_max: 1000, bytes_max: 16 << 20, delay: Duration::from_secs(5) };

    /// Reads the settings.
    pub(super) fn of(values: &Values, is_lake: bool) -> Result<Self> {
        let usual = if is_lake { Self::LAKE } else { Self::USUAL };
        Ok(Self {
            records_max: values.find(&BUFFER_SIZE)?.unwrap_or(usual.records_max),
            bytes_max: values.find(&BUFFER_BYTES)?.unwrap_or(usual.bytes_max),
            delay: values.find(&BUFFER_DELAY)?.unwrap_or(usual.delay),
        })
    }
}

/// The folders of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathConfig {
    /// What they are made of.
    pub template: Template,
    /// What stands for a value that is not there.
    pub missing: String,
    /// How many are batched at the same time.
    pub partitions_max: usize,
}

impl PathConfig {
    /// Reads the settings; `None` where objects are in no folders.
    pub(super) fn of(values: &Values, format: Format, deletes: Deletes) -> Result<Option<Self>> {
        let (missing, partitions_max) = (values.find(&MISSING)?, values.find(&PARTITIONS_MAX)?);
        let Some(template) = values.find(&PATH)? else {
            let strange = [(MISSING.name, missing.is_some()), (PARTITIONS_MAX.name, partitions_max.is_some())];
            return match strange.iter().find(|(_, is_set)| *is_set) {
                Some((name, _)) => Err(Error::invalid(format!("setting `{name}` needs `path`: set that too"))),
                None => Ok(None),
            };
        };
        if format == Format::Raw && partitions_max.is_some() {
            let name = PARTITIONS_MAX.name;
            return Err(Error::invalid(format!("setting `{name}` is for batches: leave it out with `format: raw`")));
        }
        if deletes == Deletes::Propagate && template.has_times() {
            return Err(Error::invalid(
                "setting `path` has a time, and a delete has another one than the object that it means: leave the time out, or \
                 set `deletes` to `ignore`",
            ));
        }
        let missing = missing.unwrap_or_else(|| HIVE_MISSING.to_owned());
        Ok(Some(Self { template, missing, partitions_max: partitions_max.unwrap_or(limits::PARTITIONS_USUAL) }))
    }

    /// The text that every path begins with, and whether that is all of it, with the slash that ends it.
    pub fn start(&self) -> (String, bool) {
        match &self.template.parts[..] {
            [Part::Text(text)] => (format!("{text}/"), true),
            [Part::Text(text), ..] => (text.clone(), false),
            _ => (String::new(), false),
        }
    }

    /// Whether a path depends on the time of writing.
    pub fn needs_now(&self) -> bool {
        self.template.parts.iter().any(|part| matches!(part, Part::Now(_)))
    }
}

/// What Hive, Spark, Trino and DuckDB read as null.
const HIVE_MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

/// The name of a folder, which needs no escapes.
struct Folder;

impl Kind<String> for Folder {
    fn parse(&self, text: &str) -> Result<String, Cow<'static, str>> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_right = text.bytes().all(is_plain) && !matches!(text, "." | "..") && text.len() <= 255;
        let expected = "the name of a folder, of letters, digits and `-`, `_`, `.`";
        if is_right { Ok(text.to_owned()) } else { Err(Cow::Borrowed(expected)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DestinationConfig, Settings};

    fn parse(pairs: &[(&str, &str)]) -> Result<DestinationConfig> {
        let base = [("aws.bucket", "b1x"), ("aws.region", "us-east-1"), ("format", "json")];
        let settings = base.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        DestinationConfig::parse(&settings.collect::<Settings>())
    }

    #[test]
    fn a_path_has_what_hive_reads_as_null_unless_it_is_told() {
        let path = |pairs: &[(&str, &str)]| parse(pairs).expect("good settings").path.expect("a path");
        let usual = path(&[("path", "a={meta.a}")]);
        assert_eq!((usual.missing.as_str(), usual.partitions_max), ("__HIVE_DEFAULT_PARTITION__", 256));
        let told = path(&[("path", "a={meta.a}"), ("path.missing", "none"), ("path.partitionsMax", "7")]);
        assert_eq!((told.missing.as_str(), told.partitions_max), ("none", 7));
        assert!(parse(&[]).expect("good settings").path.is_none());
        let start = |template| path(&[("path", template)]).start();
        assert_eq!((start("a"), start("a/b={meta.a}")), (("a/".to_owned(), true), ("a/b=".to_owned(), false)));
        assert_eq!(start("{meta.a}/b"), (String::new(), false));
    }

    #[test]
    fn batches_of_a_lake_are_larger_unless_it_is_told() {
        let buffers = |pairs: &[(&str, &str)]| parse(pairs).expect("good settings").buffers;
        assert_eq!((buffers(&[]), buffers(&[("path", "a")])), (BuffersConfig::USUAL, BuffersConfig::LAKE));
        let set = [("path", "a"), ("bufferSize", "7"), ("bufferBytes", "1MiB"), ("bufferDelay", "2s")];
        let expected = BuffersConfig { records_max: 7, bytes_max: 1 << 20, delay: Duration::from_secs(2) };
        assert_eq!((buffers(&set), buffers(&set[1..])), (expected, expected));
    }

    #[test]
    fn what_makes_no_sense_with_another_is_refused_by_name() {
        for (pairs, words) in [
            (vec![("path.missing", "x")], "`path.missing` needs `path`"),
            (vec![("path.partitionsMax", "2")], "`path.partitionsMax` needs `path`"),
            (vec![("path", "a"), ("path.missing", "a/b")], "the name of a folder"),
            (vec![("path", "a"), ("path.missing", "..")], "the name of a folder"),
            (vec![("path", "a"), ("path.partitionsMax", "0")], "from 1 to 1024"),
            (vec![("path", "{a")], "setting `path` is `{a`, but must be a template with each brace closed"),
            (vec![("path", "a"), ("path.partitionsMax", "2"), ("format", "raw")], "is for batches"),
            (vec![("path", "{now:%Y}"), ("format", "raw"), ("deletes", "propagate")], "`path` has a time"),
            (vec![("name", "time-digest"), ("format", "raw")], "setting `name` is for batches"),
            (vec![("manifest", "true"), ("format", "raw")], "setting `manifest` is for batches"),
        ] {
            let error = parse(&pairs).expect_err(words);
            assert!(error.message.contains(words), "{pairs:?}: {error}");
        }
        parse(&[("path", "{meta.a}"), ("format", "raw"), ("deletes", "propagate")])
            .expect("a delete has the same path");
        parse(&[("path", "{now:%Y}"), ("format", "raw")]).expect("objects are only added");
    }
}
