//! Owns which part of a record is a row of a table, and what is put before its own columns. Leaves columns and files to the
//! crate's `table`.
//!
//! With `columns: payload` a row is the payload after the operation; of a delete the one before it, otherwise the key. One
//! schema is shared by all batches of a destination, so that all files have columns of one table, which only grows.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::config::{Extra, FormatName, TableConfig};
use crate::error::{Error, Result};
use crate::payload::{Payload, Writer};
use crate::record::{Change, Data, Metadata, NoBody, Operation, Record, json};
use crate::rows::Compression;
use crate::table::{self, COLUMNS_MAX, Field, Fields, Misfit, Scalar, Schema, Type};

/// The memory of a row besides its text and a byte for each column, which may be in the file without a value. What a Parquet
/// file says of its columns is not in it, some 300 bytes of each: for the sixteen batches on their way that is 5 MiB, until they are
/// stored.
const ROW_BYTES: u64 = 64;

/// Columns of whole records, those within others included.
const RECORD_COLUMNS: u64 = 16;

/// A table that records are rows of.
#[derive(Debug)]
pub(super) struct Table {
    format: FormatName,
    /// What is put before a payload; `None` where rows are whole records.
    extra: Option<Extra>,
    /// Fields of a payload that are no columns.
    dropped: Vec<String>,
    schema: RefCell<Schema>,
}

impl Table {
    /// A table of whole records.
    ///
    /// # Errors
    ///
    /// None: its columns are fixed.
    pub(super) fn of_records(format: FormatName) -> Result<Self> {
        let schema = Schema::given(record_columns(format).map_err(no_table)?, 0);
        Ok(Self { format, extra: None, dropped: Vec::new(), schema: RefCell::new(schema) })
    }

    /// A table of payloads.
    ///
    /// # Errors
    ///
    /// Where a column that is given has the name of one that is added.
    pub(super) fn of_payloads(format: FormatName, config: &TableConfig) -> Result<Self> {
        let mut columns = extra_columns(&config.extra).map_err(no_table)?;
        if let Some(taken) = columns.iter().find(|column| config.dropped.contains(&column.name)) {
            let name = &taken.name;
            let why =
                format!("setting `path.columns` drops `{name}`, but `columns.extra` adds it: leave one of them out");
            return Err(Error::invalid(why));
        }
        let extra = columns.iter().count();
        let given = config.schema.iter().flat_map(Fields::iter);
        for field in given.filter(|field| !config.dropped.contains(&field.name)) {
            let added = columns.push(field.clone());
            added.map_err(|misfit| Error::invalid(format!("setting `schema`, with `columns.extra`, {misfit}")))?;
        }
        if format == FormatName::Avro {
            columns = columns.for_avro().map_err(|misfit| Error::invalid(format!("setting `schema`: its {misfit}")))?;
        }
        let schema = match &config.schema {
            Some(_) => Schema::given(columns, extra),
            None => Schema::growing(columns, format == FormatName::Csv),
        };
        let (extra, dropped) = (Some(config.extra.clone()), config.dropped.clone());
        Ok(Self { format, extra, dropped, schema: RefCell::new(schema) })
    }

    /// The format.
    pub(super) fn format(&self) -> FormatName {
        self.format
    }

    /// What distinguishes its files from those with whole records, if it does.
    pub(super) fn tag(&self) -> Option<String> {
        let extra = self.extra.as_ref()?;
        let meta = extra.meta.as_ref().map_or_else(String::new, |names| format!("_meta:{names:?}"));
        let dropped = if self.dropped.is_empty() { String::new() } else { format!(" without {:?}", self.dropped) };
        Some(format!("payload op={} position={} {meta}{dropped}", extra.op, extra.position))
    }

    /// Checks that a record is a row of the table, and adds the columns that it brings.
    ///
    /// # Errors
    ///
    /// `invalid`, naming the field that is at fault.
    pub(super) fn check(&self, record: &Record<NoBody>) -> Result<()> {
        let Some(extra) = &self.extra else { return Ok(()) };
        let (name, row) = row_of(record, extra)?;
        let refused = |why: &dyn std::fmt::Display| Error::invalid(format!("the record's `{name}` {why}"));
        let row = &*self.without_dropped(row).map_err(|why| refused(&why))?;
        if self.format == FormatName::Json && !self.schema.borrow().is_given() {
            return self.check_names(row).map_err(|why| refused(&why));
        }
        self.schema.borrow_mut().take(row).map_err(|why| refused(&why))
    }

    /// A row without the fields that are no columns.
    fn without_dropped<'r>(&self, row: &'r str) -> std::result::Result<Cow<'r, str>, Misfit> {
        if self.dropped.is_empty() {
            Ok(Cow::Borrowed(row))
        } else {
            table::without(row, &self.dropped).map(Cow::Owned)
        }
    }

    /// Lines of JSON need no columns, but each name once.
    fn check_names(&self, row: &str) -> std::result::Result<(), String> {
        let schema = self.schema.borrow();
        if schema.fields().is_empty() {
            return Ok(());
        }
        let mut taken = None;
        let walked = table::names(row, |name| {
            if schema.fields().iter().any(|field| field.name == name) {
                taken = Some(name.to_owned());
            }
        });
        match (walked, taken) {
            (Err(_), _) => Err("has a name that is not Unicode: half of a surrogate pair".to_owned()),
            (_, Some(name)) => Err(format!("field `{name}` has the name of a column that `columns.extra` adds")),
            _ => Ok(()),
        }
    }

    /// The memory that a record takes: its row, and what that becomes.
    pub(super) fn held_bytes(&self, record: &Record<NoBody>) -> u64 {
        let Some(extra) = &self.extra else {
            // As it came, and as it is written, where the quotes of JSON are doubled, but raw data have none.
            let data = [&record.key, &record.payload.before, &record.payload.after].into_iter().flatten();
            let raw = data.map(|data| if let Data::Raw(bytes) = data { bytes.len().div_ceil(3) as u64 * 4 } else { 0 });
            return 3 * json::line_bytes(record) - raw.sum::<u64>() + ROW_BYTES + RECORD_COLUMNS;
        };
        let Ok((_, row)) = row_of(record, extra) else { return 0 };
        let mut bytes = 16 + record.position.len() as u64 * 2;
        if extra.meta.is_some() {
            // Each byte may be escaped.
            let entries = record.metadata.iter();
            bytes += entries.map(|(name, value)| 6 * (name.len() + value.len()) as u64 + 6).sum::<u64>();
        }
        match self.format {
            FormatName::Json => 2 * bytes + row.len() as u64 + json::structured_bytes(row) + ROW_BYTES,
            // Quotes are doubled, and columns that are added later have a byte in each line, too.
            FormatName::Csv => 3 * (bytes + row.len() as u64) + ROW_BYTES + COLUMNS_MAX as u64,
            // Values have no more bytes in blocks and pages than twice those that they have in JSON; what earlier rows lack of
            // columns that are added later is next to nothing.
            FormatName::Parquet | FormatName::Avro => {
                3 * (bytes + row.len() as u64) + ROW_BYTES + self.schema.borrow().columns() as u64
            }
        }
    }

    /// The row of a record that was checked.
    pub(super) fn row(&self, record: Record<NoBody>) -> String {
        let Some(extra) = &self.extra else { return record_row(&record, self.format) };
        let head = extra_head(&record, extra);
        let row = into_row(record);
        let row = match self.without_dropped(&row) {
            Ok(Cow::Owned(rest)) => rest,
            _ => row,
        };
        if head.is_empty() {
            return row;
        }
        let rest = row.trim_ascii_start().get(1..).unwrap_or_default();
        let separator = if rest.trim_ascii_start().starts_with('}') { "" } else { "," };
        format!("{{{head}{separator}{rest}")
    }

    /// Writes rows as a file, whose pages or blocks are compressed so; text is not.
    ///
    /// # Errors
    ///
    /// `internal`, which no row that was checked can cause.
    pub(super) fn write(&self, rows: Vec<String>, compression: Option<Compression>) -> Result<Payload> {
        let schema = self.schema.borrow();
        let fields = &*schema.fields_of_file();
        let written = match self.format {
            FormatName::Json => Ok(lines(rows.into_iter())),
            FormatName::Parquet => table::write_parquet(fields, rows.into_iter(), compression),
            FormatName::Csv => table::write_csv(fields, rows.into_iter()),
            FormatName::Avro => table::write_avro(fields, rows, compression),
        };
        written.map_err(|why| Error::internal(format!("cannot write {}: {why}", self.format.as_str())))
    }
}

/// Rows as lines of JSON.
fn lines(rows: impl Iterator<Item = String>) -> Payload {
    let mut out = Writer::default();
    for row in rows {
        json::encode_structured(&row, &mut out);
        out.put(b"\n");
    }
    out.finish()
}

/// The part of a record that is its row, with its name.
fn row_of<'r>(record: &'r Record<NoBody>, extra: &Extra) -> Result<(&'static str, &'r str)> {
    let Record { operation, key, payload, .. } = record;
    let structured = |data: &'r Option<Data<NoBody>>| match data {
        Some(Data::Structured(text)) => Some(text.as_str()),
        _ => None,
    };
    if *operation != Operation::Delete {
        let row = structured(&payload.after).map(|row| ("payload.after", row));
        return row.ok_or_else(|| {
            Error::invalid(
                "the record's `payload.after` is not structured, so that it has no columns: have the source deliver rows (setting \
                 `decode` of an S3 source), or set `columns` to `opencdc`",
            )
        });
    }
    if !extra.op {
        return Err(Error::invalid(
            "the record is a delete, which would be a row like others: set `columns.extra` to `_op`, or leave deletes out",
        ));
    }
    let before = structured(&payload.before).map(|row| ("payload.before", row));
    before.or_else(|| structured(key).map(|row| ("key", row))).ok_or_else(|| {
        Error::invalid(
            "the record is a delete of which neither `payload.before` nor `key` is structured, so that it has no columns: set \
             `columns` to `opencdc`, or leave such deletes out",
        )
    })
}

/// The same part, without a copy of it.
fn into_row(record: Record<NoBody>) -> String {
    let Record { operation, key, payload: Change { before, after }, .. } = record;
    let data = match (operation, before) {
        (Operation::Delete, Some(before @ Data::Structured(_))) => Some(before),
        (Operation::Delete, _) => key,
        _ => after,
    };
    match data {
        Some(Data::Structured(row)) => row,
        _ => unreachable!("a record was checked before it is in a batch"),
    }
}

/// The columns that are put before a payload's.
fn extra_columns(extra: &Extra) -> std::result::Result<Fields, Misfit> {
    let mut fields = Vec::new();
    if extra.op {
        fields.push(Field::new("_op", Type::Scalar(Scalar::Text)));
    }
    if extra.position {
        fields.push(Field::new("_position", Type::Scalar(Scalar::Bytes)));
    }
    if extra.meta.is_some() {
        fields.push(Field::new("_meta", Type::Map(Box::new(Type::Scalar(Scalar::Text)))));
    }
    columns(fields)
}

/// Their values, as the first members of an object.
fn extra_head(record: &Record<NoBody>, extra: &Extra) -> String {
    let mut members = Vec::new();
    if extra.op {
        members.push(format!("\"_op\":\"{}\"", record.operation.as_str()));
    }
    if extra.position {
        members.push(format!("\"_position\":{}", base64_text(&record.position)));
    }
    if let Some(names) = &extra.meta {
        let chosen = record.metadata.iter().filter(|(name, _)| names.is_empty() || names.contains(name));
        let chosen: Metadata = chosen.map(|(name, value)| (name.clone(), value.clone())).collect();
        members.push(format!("\"_meta\":{}", serde_json::json!(chosen)));
    }
    members.join(",")
}

fn base64_text(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    json::encode_bytes(bytes, &mut text);
    String::from_utf8(text).expect("base64 is UTF-8")
}

/// The columns of whole records. Readers know them by these names: a change needs a line in the changelog.
fn record_columns(format: FormatName) -> std::result::Result<Fields, Misfit> {
    let mut list = vec![
        Field::required("position", Type::Scalar(Scalar::Bytes)),
        Field::required("operation", Type::Scalar(Scalar::Text)),
        Field::required("metadata", Type::Map(Box::new(Type::Scalar(Scalar::Text)))),
    ];
    if format == FormatName::Csv {
        list.extend(["key", "payload.before", "payload.after"].map(|name| Field::new(name, Type::Any)));
        return columns(list);
    }
    let data = || {
        let raw = Field::new("raw", Type::Scalar(Scalar::Bytes));
        columns(vec![raw, Field::new("structured", Type::Scalar(Scalar::Text))]).map(Type::Struct)
    };
    let payload = columns(vec![Field::new("before", data()?), Field::new("after", data()?)])?;
    list.extend([Field::new("key", data()?), Field::required("payload", Type::Struct(payload))]);
    columns(list)
}

/// A whole record as a row.
fn record_row(record: &Record<NoBody>, format: FormatName) -> String {
    let mut row = Vec::with_capacity(usize::try_from(json::line_bytes(record)).unwrap_or_default());
    row.extend_from_slice(b"{\"position\":");
    json::encode_bytes(&record.position, &mut row);
    row.extend_from_slice(format!(",\"operation\":\"{}\",\"metadata\":", record.operation.as_str()).as_bytes());
    row.extend_from_slice(serde_json::json!(record.metadata).to_string().as_bytes());
    let Change { before, after } = &record.payload;
    if format == FormatName::Csv {
        for (name, data) in [("key", &record.key), ("payload.before", before), ("payload.after", after)] {
            row.extend_from_slice(format!(",\"{name}\":").as_bytes());
            json::encode_data(data.as_ref(), &mut row);
        }
    } else {
        for (name, data) in [(",\"key\":", &record.key), (",\"payload\":{\"before\":", before), (",\"after\":", after)]
        {
            row.extend_from_slice(name.as_bytes());
            put_data(data.as_ref(), &mut row);
        }
        row.push(b'}');
    }
    row.push(b'}');
    String::from_utf8(row).expect("JSON is UTF-8")
}

/// Data with their kind, where what is structured is a text.
fn put_data(data: Option<&Data<NoBody>>, row: &mut Vec<u8>) {
    match data {
        Some(Data::Raw(bytes)) => {
            row.extend_from_slice(b"{\"raw\":");
            json::encode_bytes(bytes, row);
            row.push(b'}');
        }
        Some(Data::Structured(text)) => {
            row.extend_from_slice(b"{\"structured\":");
            serde_json::to_writer(&mut *row, text).expect("writing a text into memory cannot fail");
            row.push(b'}');
        }
        Some(Data::Body { bytes, .. }) => match *bytes {},
        None => row.extend_from_slice(b"null"),
    }
}

fn columns(list: Vec<Field>) -> std::result::Result<Fields, Misfit> {
    let mut fields = Fields::default();
    for field in list {
        fields.push(field)?;
    }
    Ok(fields)
}

/// The error for fixed columns that contradict each other, which they don't.
fn no_table(misfit: Misfit) -> Error {
    Error::internal(format!("the table {misfit}"))
}

#[cfg(test)]
mod tests;
