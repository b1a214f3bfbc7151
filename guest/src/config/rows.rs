//! Owns the settings of rows: whether objects are read row by row, and how those are written. Leaves reading them to `rows`.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use super::setting::{Bool, Choice, Described, Kind, Setting, Text};
use super::values::Values;
use crate::error::{Error, Result};
use crate::rows::{Compression, CsvOptions, Format, JsonRows, Names};

/// How objects become rows.
pub(super) const DECODE: Setting<Option<Decode>> = Setting::with_default(
    "decode",
    &Choice(&[
        ("none", None),
        ("auto", Some(Decode::Auto)),
        ("lines", Some(Decode::As(Format::Lines))),
        ("json", Some(Decode::As(Format::Json))),
        ("csv", Some(Decode::As(Format::Csv))),
        ("parquet", Some(Decode::As(Format::Parquet))),
        ("avro", Some(Decode::As(Format::Avro))),
    ]),
    "none",
    "Whether each row of an object is a record: `none` makes one record of an object, the others one of each row. `auto` goes \
     by the end of the key (`.csv`, `.tsv`, `.json`, `.jsonl`, `.ndjson`, `.parquet`, `.avro`, `.txt`, `.log`, each also with `.gz`, \
     `.zst` or `.sz`), then by the content type; an object that has neither is one record.",
);

/// How objects are compressed.
pub(super) const DECOMPRESS: Setting<Option<Compression>> = Setting::with_default(
    "decompress",
    &Choice(&[
        ("auto", None),
        ("none", Some(Compression::None)),
        ("gzip", Some(Compression::Gzip)),
        ("zstd", Some(Compression::Zstd)),
        ("snappy", Some(Compression::Snappy)),
    ]),
    "auto",
    "With `decode`, how lines, JSON and CSV are compressed (`snappy` is Snappy's framing format); `auto` sees it by their first bytes, whatever the key is called. \
     Parquet and Avro say so themselves.",
);

/// What becomes of rows that can't be read.
pub(super) const ON_BAD_ROW: Setting<OnBadRow> = Setting::with_default(
    "onBadRow",
    &Choice(&[("stop", OnBadRow::Stop), ("skip", OnBadRow::Skip), ("raw", OnBadRow::Raw)]),
    "stop",
    "With `decode`, what happens at a row that can't be read: `stop` ends the source once all rows before it are delivered; \
     `skip` logs and counts it; `raw` delivers its bytes, with the reason as `s3.rowError`. Where nothing more can be read of an object, \
     `skip` and `raw` skip what is left of it.",
);

/// The encoding of text.
pub(super) const ENCODING: Setting<&'static Encoding> = Setting::with_default(
    "encoding",
    &Label,
    "utf-8",
    "With `decode`, the encoding of lines, JSON and CSV, by its name on the Web: `utf-8`, `utf-16le`, `windows-1252` or `shift_jis`.",
);

/// What separates the fields of CSV.
pub(super) const CSV_DELIMITER: Setting<u8> = Setting::with_default(
    "csv.delimiter",
    &Character,
    ",",
    "With `decode`, the character between the fields of CSV, or `tab`. With `decode: auto`, `.tsv` has tabs in any case.",
);

/// What fields are quoted by.
pub(super) const CSV_QUOTE: Setting<u8> = Setting::with_default(
    "csv.quote",
    &Character,
    "\"",
    "With `decode`, the character around fields of CSV that hold others' signs.",
);

/// Whether CSV names its fields.
pub(super) const CSV_HEADER: Setting<bool> = Setting::with_default(
    "csv.header",
    &Bool,
    "true",
    "With `decode`, whether the first row of CSV holds the names of its fields. Otherwise, and without `csv.names`, they are \
     `column_1`, `column_2` and so on.",
);

/// The names of the fields.
pub(super) const CSV_NAMES: Setting<Names> = Setting::optional(
    "csv.names",
    &NameList,
    "With `decode`, the names of the fields of CSV, with commas between them; they count in the place of the header's.",
);

/// What comments begin with.
pub(super) const CSV_COMMENT: Setting<u8> = Setting::optional(
    "csv.comment",
    &Character,
    "With `decode`, the character that a line of CSV begins with that is no row. Where it is not set: every line is one.",
);

/// What stands for null.
pub(super) const CSV_NULL: Setting<String> = Setting::optional(
    "csv.null",
    &Text,
    "With `decode`, the text of CSV that stands for null, such as `NULL` or `\\N`. Where it is not set: none does.",
);

/// What nothing stands for.
pub(super) const CSV_EMPTY: Setting<bool> = Setting::with_default(
    "csv.empty",
    &Choice(&[("text", false), ("null", true)]),
    "text",
    "With `decode`, what a field of CSV is that has nothing in it: an empty text (`text`), or `null`. Then an empty text is a pair of \
     quotes, as this connector and PostgreSQL's `COPY` write it.",
);

/// What the rows of JSON are.
pub(super) const JSON_ROWS: Setting<&'static JsonRows> = Setting::with_default(
    "json.rows",
    &Choice(&[
        ("auto", &JsonRows::Auto),
        ("lines", &JsonRows::Lines),
        ("document", &JsonRows::Document),
        ("array", &JsonRows::Array),
    ]),
    "auto",
    "With `decode`, what a row of JSON is: a line (`lines`), all of the object (`document`, up to 64 MiB), an element of the list that it \
     is (`array`). `auto` takes the elements of a list, otherwise the values that follow each other; with `decode: auto`, \
     lines where key or content type say `jsonl` or `ndjson`.",
);

/// Where the list of rows is.
pub(super) const JSON_PATH: Setting<String> = Setting::optional(
    "json.path",
    &Text,
    "With `decode`, the names that lead to the list of rows in a JSON document of up to 64 MiB, with dots between them, such as \
     `data.items`.",
);

/// All of these, in the order of documentation.
pub(super) const ALL: [&dyn Described; 13] = [
    &DECODE,
    &DECOMPRESS,
    &ON_BAD_ROW,
    &ENCODING,
    &CSV_DELIMITER,
    &CSV_QUOTE,
    &CSV_HEADER,
    &CSV_NAMES,
    &CSV_COMMENT,
    &CSV_NULL,
    &CSV_EMPTY,
    &JSON_ROWS,
    &JSON_PATH,
];

/// How an object becomes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// By the format that its key tells, then its content type.
    Auto,
    /// By this one.
    As(Format),
}

/// What becomes of a row that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadRow {
    /// It stops the source.
    Stop,
    /// It is skipped.
    Skip,
    /// It is delivered as it is.
    Raw,
}

/// How objects are read row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsConfig {
    /// The format.
    pub decode: Decode,
    /// The compression of text; `None` to see.
    pub compression: Option<Compression>,
    /// What becomes of rows that can't be read.
    pub on_bad_row: OnBadRow,
    /// The encoding of text.
    pub encoding: &'static Encoding,
    /// How CSV is written.
    pub csv: CsvOptions,
    /// What a row of JSON is.
    pub json: JsonRows,
}

impl RowsConfig {
    /// Reads the settings; `None` where an object is one record.
    pub(super) fn of(values: &Values) -> Result<Option<Self>> {
        let decode = values.get(&DECODE)?;
        let path = values.find(&JSON_PATH)?;
        let json = match (values.get(&JSON_ROWS)?, path) {
            (JsonRows::Auto, Some(path)) => JsonRows::At(path.split('.').map(str::to_owned).collect()),
            (_, Some(_)) => {
                return Err(Error::invalid("setting `json.path` says what a row is: leave out `json.rows`"));
            }
            (rows, None) => rows.clone(),
        };
        let read = Self {
            decode: decode.unwrap_or(Decode::Auto),
            compression: values.get(&DECOMPRESS)?,
            on_bad_row: values.get(&ON_BAD_ROW)?,
            encoding: values.get(&ENCODING)?,
            csv: CsvOptions {
                delimiter: values.get(&CSV_DELIMITER)?,
                quote: values.get(&CSV_QUOTE)?,
                comment: values.find(&CSV_COMMENT)?,
                has_header: values.get(&CSV_HEADER)?,
                names: values.find(&CSV_NAMES)?,
                null: values.find(&CSV_NULL)?,
                is_empty_null: values.get(&CSV_EMPTY)?,
            },
            json,
        };
        if let Some((one, other)) = read.csv.confused() {
            return Err(Error::invalid(format!(
                "settings `{one}` and `{other}` are the same sign: set one to another"
            )));
        }
        if decode.is_none() && read != Self::default() {
            let names: Vec<_> = ALL[1..].iter().map(|setting| format!("`{}`", setting.name())).collect();
            let message = format!("setting `decode` is `none`, and these need it: {}", names.join(", "));
            return Err(Error::invalid(message));
        }
        Ok(decode.map(|_| read))
    }
}

impl Default for RowsConfig {
    fn default() -> Self {
        Self {
            decode: Decode::Auto,
            compression: None,
            on_bad_row: OnBadRow::Stop,
            encoding: UTF_8,
            csv: CsvOptions::default(),
            json: JsonRows::Auto,
        }
    }
}

/// One ASCII character, or the name of one that is hard to write.
struct Character;

impl Kind<u8> for Character {
    fn parse(&self, text: &str) -> Result<u8, Cow<'static, str>> {
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
            b"tab" | b"\\t" => Ok(b'\t'),
            _ => Err(Cow::Borrowed("one ASCII character, or tab")),
        }
    }

    fn keeps_blanks(&self) -> bool {
        true
    }
}

/// Names with commas between them.
struct NameList;

impl Kind<Names> for NameList {
    fn parse(&self, text: &str) -> Result<Names, Cow<'static, str>> {
        let names = text.split(',').map(str::trim);
        if names.clone().any(str::is_empty) {
            return Err(Cow::Borrowed("names with commas between them, such as id,name"));
        }
        Names::new(names).map_err(|why| Cow::Owned(format!("names with commas between them, but not {why}")))
    }
}

/// The name of an encoding, as [the Web has them](https://encoding.spec.whatwg.org/#names-and-labels).
struct Label;

impl Kind<&'static Encoding> for Label {
    fn parse(&self, text: &str) -> Result<&'static Encoding, Cow<'static, str>> {
        let found = Encoding::for_label_no_replacement(text.as_bytes());
        found.ok_or(Cow::Borrowed("the name of an encoding, such as utf-8, utf-16le or windows-1252"))
    }
}
