//! Owns the settings of columns: whether files have those of records or those of payloads. Leaves the rules of columns to `table`.

use std::borrow::Cow;

use super::setting::{Choice, Described, Kind, Setting};
use super::values::Values;
use super::{Format, FormatName, PathConfig, partition_columns};
use crate::error::{Error, Result};
use crate::table::{self, Fields};

/// Whose columns files have.
pub(super) const COLUMNS: Setting<Columns> = Setting::with_default(
    "columns",
    &Choice(&[("opencdc", Columns::Records), ("payload", Columns::Payloads)]),
    "opencdc",
    "What objects hold of records: `opencdc` all of them as they are; `payload` only structured payloads, whose fields are the \
     columns (of deletes `payload.before`, otherwise the key). Types follow from the values, and widen: whole numbers, numbers \
     with a fraction, texts; columns that are new are added at the end. A record that can't fit is refused.",
);

/// Columns that rows have besides their own.
pub(super) const COLUMNS_EXTRA: Setting<Extra> = Setting::optional(
    "columns.extra",
    &ExtraList,
    "With `columns: payload`, columns before those of the payload, with commas between them: `_op` (the operation), `_position` \
     (in base64 where the format has no bytes), `_meta` (all metadata as a map) or `_meta.NAME` (those of these names). Without \
     `_op`, deletes are refused: they would be rows like others.",
);

/// Which columns there are.
pub(super) const SCHEMA: Setting<Fields> = Setting::optional(
    "schema",
    &SchemaText,
    "With `columns: payload`, the columns and their types, as an Avro schema or a JSON Schema: JSON text on any number of lines. \
     Records with other fields or values are refused. Where it is not set: what the payloads have.",
);

/// All of these, in the order of documentation.
pub(super) const ALL: [&dyn Described; 3] = [&COLUMNS, &COLUMNS_EXTRA, &SCHEMA];

/// Whose columns files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Those of records.
    Records,
    /// Those of payloads.
    Payloads,
}

/// Columns that rows have besides their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// The operation.
    pub op: bool,
    /// The position.
    pub position: bool,
    /// Metadata: those of these names, of which none is all.
    pub meta: Option<Vec<String>>,
}

/// How payloads become tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableConfig {
    /// Columns that rows have besides their own.
    pub extra: Extra,
    /// The columns of payloads, if they are given.
    pub schema: Option<Fields>,
    /// The names of fields that are in paths and no columns.
    pub dropped: Vec<String>,
}

impl TableConfig {
    /// Reads the settings; `None` where files hold records.
    pub(super) fn of(values: &Values, format: Format, path: Option<&PathConfig>) -> Result<Option<Self>> {
        let (columns, extra, schema) = (values.get(&COLUMNS)?, values.find(&COLUMNS_EXTRA)?, values.find(&SCHEMA)?);
        let dropped = partition_columns::dropped(values, path, columns == Columns::Payloads)?;
        let alone = [(COLUMNS_EXTRA.name, extra.is_some()), (SCHEMA.name, schema.is_some())];
        let alone = alone.into_iter().find(|(_, is_set)| *is_set);
        match columns {
            Columns::Records if let Some((name, _)) = alone => Err(Error::invalid(format!(
                "setting `{name}` is for payloads as tables: leave it out, or set `columns` to `payload`"
            ))),
            Columns::Records => Ok(None),
            Columns::Payloads if format == Format::Raw => Err(Error::invalid(
                "setting `columns` is `payload`, but with `format: raw` there are no columns: leave it out, or set another `format`",
            )),
            Columns::Payloads => Ok(Some(Self { extra: extra.unwrap_or_default(), schema, dropped })),
        }
    }
}

/// The text of a schema.
struct SchemaText;

impl Kind<Fields> for SchemaText {
    fn parse(&self, text: &str) -> std::result::Result<Fields, Cow<'static, str>> {
        table::parse_schema(text).map_err(|why| format!("an Avro schema or a JSON Schema, but {why}").into())
    }

    fn shown<'a>(&self, text: &'a str) -> &'a str {
        // It may be long, and what is wrong is said.
        text.get(..text.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default()
    }
}

/// Bytes of a schema that a message shows.
const SHOWN_BYTES: usize = 40;

/// The names of extra columns with commas between them.
struct ExtraList;

impl Kind<Extra> for ExtraList {
    fn parse(&self, text: &str) -> std::result::Result<Extra, Cow<'static, str>> {
        let mut extra = Extra::default();
        let mut is_all = false;
        for name in text.split(',').map(str::trim) {
            match name {
                "_op" => extra.op = true,
                "_position" => extra.position = true,
                "_meta" => {
                    is_all = true;
                    extra.meta = Some(Vec::new());
                }
                _ => match name.strip_prefix("_meta.") {
                    Some(name) if !name.is_empty() => {
                        let names = extra.meta.get_or_insert_default();
                        if !is_all && !names.iter().any(|known| known == name) {
                            names.push(name.to_owned());
                        }
                    }
                    _ => {
                        return Err(Cow::Borrowed(
                            "some of _op, _position, _meta and _meta.NAME with commas between them",
                        ));
                    }
                },
            }
        }
        Ok(extra)
    }
}

impl FormatName {
    /// The word that the setting has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Avro => "avro",
        }
    }
}
