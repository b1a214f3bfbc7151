//! Owns the folders of objects: it fills a record's values into the template. Leaves the template to `config`, and what
//! becomes of records with one path to `partitions`.
//!
//! A path follows from the record alone, unless the template has the time of writing: the same record is in the same folder
//! when it is written again. Only what the template names is looked at, and of a payload no more is made than slices.

use std::fmt::Write as _;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::{Part, PathConfig, TimePart};
use crate::error::{Error, Result};
use crate::limits;
use crate::record::json::text_of;
use crate::record::{Data, Operation, Record};
use crate::time::{Calendar, Timestamp};

/// Metadata with the time at which what a record describes was made, in nanoseconds.
pub(super) const CREATED_AT: &str = "opencdc.createdAt";

/// Metadata with the time at which it was read.
const READ_AT: &str = "opencdc.readAt";

/// Makes paths.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    config: Option<PathConfig>,
    /// The fields that the template names.
    fields: Vec<Vec<String>>,
    /// Bytes that a path may have.
    bytes_max: usize,
    /// The last path, each folder with the slash after it.
    path: String,
}

impl Paths {
    /// Makes paths for keys that have this many other bytes at most.
    ///
    /// # Errors
    ///
    /// `invalid` where no path is short enough.
    pub(super) fn new(config: Option<PathConfig>, others: usize) -> Result<Self> {
        let template = config.as_ref().map(|config| &config.template);
        let bytes_max = limits::KEY_BYTES_MAX.saturating_sub(others);
        if let Some(bytes) = template.map(|template| template.bytes_min()).filter(|bytes| *bytes > bytes_max) {
            let message = format!(
                "setting `path` makes {bytes} bytes or more, but has room for {bytes_max} between `prefix` and the name: a key \
                 has at most {}",
                limits::KEY_BYTES_MAX
            );
            return Err(Error::invalid(message));
        }
        let parts = template.into_iter().flat_map(|template| &template.parts);
        let fields = parts.filter_map(|part| if let Part::Field(names) = part { Some(names.clone()) } else { None });
        Ok(Self { fields: fields.collect(), config, bytes_max, path: String::new() })
    }

    /// How many paths are batched at the same time.
    pub(super) fn partitions_max(&self) -> usize {
        self.config.as_ref().map_or(1, |config| config.partitions_max)
    }

    /// Whether a path depends on the time of writing.
    pub(super) fn needs_now(&self) -> bool {
        self.config.as_ref().is_some_and(PathConfig::needs_now)
    }

    /// The path that was made last: empty, or folders with a slash after each.
    pub(super) fn last(&self) -> &str {
        &self.path
    }

    /// Makes the path of a record.
    ///
    /// # Errors
    ///
    /// `invalid` where a value can't be part of a path, or the path is too long.
    pub(super) fn make<B>(&mut self, record: &Record<B>, now: Timestamp) -> Result<()> {
        self.path.clear();
        let Some(config) = &self.config else { return Ok(()) };
        let mut values = Vec::new();
        if !self.fields.is_empty() {
            values = find(record, &self.fields);
        }
        let mut values = values.into_iter();
        for part in &config.template.parts {
            let start = self.path.len();
            match part {
                Part::Text(text) => self.path.push_str(text),
                Part::Now(format) => put_time(format, now, &mut self.path),
                Part::RecordTime(format) => {
                    if let Some(time) = record_time(record) {
                        put_time(format, time, &mut self.path);
                    }
                }
                Part::Meta(name) => {
                    put_escaped(record.metadata.get(name).map_or("", String::as_str), &mut self.path);
                }
                Part::Field(names) => put_field(names, values.next().flatten(), &mut self.path)?,
            }
            if self.path.len() == start {
                self.path.push_str(&config.missing);
            }
        }
        self.path.push('/');
        hide_dots(&mut self.path);
        if self.path.len() > self.bytes_max {
            let (bytes, max) = (self.path.len(), self.bytes_max);
            let message = format!("the record's path has {bytes} bytes, but its key has room for {max}");
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}

/// The time of a record.
fn record_time<B>(record: &Record<B>) -> Option<Timestamp> {
    created_at(record).or_else(|| time_in(record, READ_AT))
}

/// The time at which what the record describes was made.
pub(super) fn created_at<B>(record: &Record<B>) -> Option<Timestamp> {
    time_in(record, CREATED_AT)
}

fn time_in<B>(record: &Record<B>, name: &str) -> Option<Timestamp> {
    let nanoseconds = record.metadata.get(name)?.parse::<u64>().ok()?;
    Some(Timestamp(nanoseconds / 1_000_000))
}

fn put_time(format: &[TimePart], time: Timestamp, out: &mut String) {
    let Calendar { date, hour, minute, second } = time.calendar();
    for part in format {
        let (number, width) = match part {
            TimePart::Text(text) => {
                out.push_str(text);
                continue;
            }
            TimePart::Year => (date.year, 4),
            TimePart::Month => (date.month.into(), 2),
            TimePart::Day => (date.day.into(), 2),
            TimePart::DayOfYear => (date.day_of_year(), 3),
            TimePart::Hour => (hour.into(), 2),
            TimePart::Minute => (minute.into(), 2),
            TimePart::Second => (second.into(), 2),
        };
        let _ = write!(out, "{number:0width$}");
    }
}

/// Appends a value with what Hive escapes in the names of folders: percent signs, since they escape, and what a path or a
/// URI reads as more than a letter.
fn put_escaped(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\0'..='\x1f'
            | '\x7f'
            | '"'
            | '#'
            | '%'
            | '\''
            | '*'
            | '/'
            | ':'
            | '='
            | '?'
            | '\\'
            | '['
            | ']'
            | '^'
            | '{'
            | '}' => {
                let _ = write!(out, "%{:02X}", u32::from(character));
            }
            plain => out.push(plain),
        }
    }
}

/// Escapes folders that are called `.` or `..`, which clients and proxies resolve.
fn hide_dots(path: &mut String) {
    if path.split('/').any(|folder| matches!(folder, "." | "..")) {
        let folders = path.split('/').map(|folder| match folder {
            "." => "%2E",
            ".." => "%2E%2E",
            other => other,
        });
        *path = folders.collect::<Vec<_>>().join("/");
    }
}

/// Appends a field's value, whose JSON is given.
fn put_field(names: &[String], json: Option<&str>, out: &mut String) -> Result<()> {
    let refuse = |why: &str| {
        let name = names.join(".");
        Err(Error::invalid(format!("the record's field `{name}` is {why}, which can't be part of the setting `path`")))
    };
    match json {
        None | Some("null") => Ok(()),
        Some(json) if json.starts_with('{') => refuse("an object"),
        Some(json) if json.starts_with('[') => refuse("a list"),
        Some(json) if json.starts_with('"') => match text_of(json) {
            Some(text) => {
                put_escaped(&text, out);
                Ok(())
            }
            None => refuse("no Unicode text"),
        },
        // A number keeps its digits.
        Some(json) => {
            put_escaped(json, out);
            Ok(())
        }
    }
}

/// The JSON of each field in the record: in `payload.after`; of a delete in `payload.before`, otherwise in the key.
fn find<'a, B>(record: &'a Record<B>, fields: &[Vec<String>]) -> Vec<Option<&'a str>> {
    let mut found = vec![None; fields.len()];
    let documents = match record.operation {
        Operation::Delete => [&record.payload.before, &record.key],
        _ => [&record.payload.after, &None],
    };
    for document in documents {
        if let Some(Data::Structured(json)) = document {
            let wanted = fields.iter().map(Vec::as_slice).enumerate().filter(|(index, _)| found[*index].is_none());
            let wanted: Vec<_> = wanted.collect();
            look(json, &wanted, &mut found);
        }
    }
    found
}

/// A field that is looked for: its place among the results, and the names that lead to it from here.
type Wanted<'w> = (usize, &'w [String]);

/// Finds fields of a JSON object; those that are not there stay as they are. Of two with one name the last one counts.
fn look<'a>(json: &'a str, wanted: &[Wanted<'_>], found: &mut [Option<&'a str>]) {
    // Whether it is JSON was checked before.
    let _ = serde_json::Deserializer::from_str(json).deserialize_map(Fields { wanted, found });
}

struct Fields<'w, 'f, 'a> {
    wanted: &'w [Wanted<'w>],
    found: &'f mut [Option<&'a str>],
}

impl<'a> Visitor<'a> for Fields<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        // Names are read as JSON, since one may be no Unicode text, and does not keep the others from being found.
        while let Some(name) = map.next_key::<&RawValue>()? {
            let name = text_of(name.get());
            let is_named =
                |names: &[String]| name.as_deref().is_some_and(|name| names.first().is_some_and(|n| n == name));
            if !self.wanted.iter().any(|(_, names)| is_named(names)) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&RawValue>()?.get();
            let mut deeper = Vec::new();
            for (index, names) in self.wanted.iter().filter(|(_, names)| is_named(names)) {
                self.found[*index] = if names.len() == 1 { Some(value) } else { None };
                if names.len() > 1 {
                    deeper.push((*index, &names[1..]));
                }
            }
            if !deeper.is_empty() && value.starts_with('{') {
                look(value, &deeper, self.found);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::{DestinationConfig, Settings};
    use crate::record::{Change, Metadata, NoBody};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn paths(template: &str) -> Paths {
        let settings = [("aws.bucket", "b1x"), ("aws.region", "us-east-1"), ("format", "json"), ("path", template)];
        let settings: Settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = DestinationConfig::parse(&settings).expect("good settings");
        Paths::new(config.path, 72).expect("fits")
    }

    fn record(after: &str) -> Record<NoBody> {
        Record {
            position: Bytes::new(),
            operation: Operation::Create,
            metadata: Metadata::new(),
            key: Some(Data::Structured("{\"id\":7,\"key\":\"k\"}".to_owned())),
            payload: Change { before: None, after: Some(Data::Structured(after.to_owned())) },
        }
    }

    fn path(template: &str, record: &Record<NoBody>) -> String {
        let mut paths = paths(template);
        paths.make(record, NOW).expect("a path");
        paths.last().to_owned()
    }

    #[test]
    fn times_are_the_records_own_or_that_of_writing() {
        let mut timed = record("{}");
        let template = "{record.time:year=%Y/day=%j}/at={record.time:%FT%H%M%S}";
        let missing = "__HIVE_DEFAULT_PARTITION__";
        assert_eq!(path(template, &timed), format!("{missing}/at={missing}/"));
        timed.metadata.insert(READ_AT.to_owned(), "1769846400500000000".to_owned());
        assert_eq!(path(template, &timed), "year=2026/day=031/at=2026-01-31T080000/");
        timed.metadata.insert(CREATED_AT.to_owned(), "1709217001000000000".to_owned());
        assert_eq!(path(template, &timed), "year=2024/day=060/at=2024-02-29T143001/");
        timed.metadata.insert(CREATED_AT.to_owned(), "yesterday".to_owned());
        assert_eq!(path(template, &timed), "year=2026/day=031/at=2026-01-31T080000/");
        assert_eq!(path("{now:%Y/%m/%d}", &timed), "2027/01/15/");
        assert!(paths("{now:%Y}").needs_now() && !paths("{record.time:%Y}").needs_now());
    }

    #[test]
    fn values_come_from_metadata_and_fields() {
        let mut record =
            record(r#"{"a":"x","n":-1.50e3,"b":true,"o":{"a":{"z":"deep"},"n":null},"a":"y","\u0071":"q"}"#);
        record.metadata.insert("opencdc.collection".to_owned(), "users".to_owned());
        for (template, expected) in [
            ("{meta.opencdc.collection}", "users/"),
            ("a={field.a}/n={field.n}/b={field.b}", "a=y/n=-1.50e3/b=true/"),
            ("{field.o.a.z}-{field.q}", "deep-q/"),
            ("{field.o.n}", "__HIVE_DEFAULT_PARTITION__/"),
            ("{field.o.a.z.more}", "__HIVE_DEFAULT_PARTITION__/"),
            ("{field.none}/{meta.none}", "__HIVE_DEFAULT_PARTITION__/__HIVE_DEFAULT_PARTITION__/"),
            ("{field.key}", "__HIVE_DEFAULT_PARTITION__/"),
        ] {
            assert_eq!(path(template, &record), expected, "{template}");
        }
        let mut raw = record.clone();
        raw.payload.after = Some(Data::Raw(Bytes::from_static(b"{\"a\":1}")));
        assert_eq!(path("{field.a}", &raw), "__HIVE_DEFAULT_PARTITION__/", "raw bytes have no fields");
    }

    #[test]
    fn a_delete_has_the_fields_that_were_there_before_and_those_of_its_key() {
        let mut delete = record("{}");
        delete.operation = Operation::Delete;
        delete.payload.after = None;
        assert_eq!(path("{field.id}", &delete), "7/");
        delete.payload.before = Some(Data::Structured("{\"id\":8}".to_owned()));
        assert_eq!(path("{field.id}{field.key}", &delete), "8k/");
    }

    #[test]
    fn values_are_escaped_as_hive_does() {
        let record = record(
            r##"{"all":"\u0000\u001f\"#%'*/:=?\\[]^{}\u007f","text":" Ümläut-_.~!$&()+,;<>@`|","dot":".","dots":"..","empty":""}"##,
        );
        assert_eq!(path("{field.all}", &record), "%00%1F%22%23%25%27%2A%2F%3A%3D%3F%5C%5B%5D%5E%7B%7D%7F/");
        assert_eq!(path("{field.text}", &record), " Ümläut-_.~!$&()+,;<>@`|/");
        assert_eq!(path("{field.empty}", &record), "__HIVE_DEFAULT_PARTITION__/");
        assert_eq!(path("a/{field.dot}/{field.dots}/{field.dot}{field.dot}", &record), "a/%2E/%2E%2E/%2E%2E/");
        assert_eq!(path("x={field.dots}", &record), "x=../");
    }

    #[test]
    fn a_record_that_has_no_path_is_refused_by_name() {
        let record = record(r#"{"o":{"l":[]},"s":"\ud800","long":"aaaaaaaaaa"}"#);
        for (template, words) in [
            ("{field.o}", "field `o` is an object"),
            ("{field.o.l}", "field `o.l` is a list"),
            ("{field.s}", "field `s` is no Unicode text"),
        ] {
            let error = paths(template).make(&record, NOW).expect_err(words);
            assert!(error.message.contains(words), "{error}");
        }
        let mut paths = paths("{field.long}");
        paths.bytes_max = 11;
        paths.make(&record, NOW).expect("just fits");
        paths.bytes_max = 10;
        let error = paths.make(&record, NOW).expect_err("is too long");
        assert!(error.message.contains("path has 11 bytes, but its key has room for 10"), "{error}");
        assert!(paths.make(&Record { operation: Operation::Delete, ..record }, NOW).is_err());
    }

    #[test]
    fn a_template_that_no_key_has_room_for_is_refused() {
        let config = paths(&"a".repeat(951)).config;
        Paths::new(config.clone(), 72).expect("just fits");
        let error = Paths::new(config, 73).expect_err("is too long");
        assert!(error.message.contains("`path` makes 952 bytes or more, but has room for 951"), "{error}");
        let mut none = Paths::new(None, 2000).expect("nothing to fit");
        none.make(&record("{}"), NOW).expect("none is made");
        assert_eq!(none.last(), "");
    }
}
