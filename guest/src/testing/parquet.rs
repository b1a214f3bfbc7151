//! Owns the way back from the destination's Parquet objects to records. Leaves the writing to `destination/parquet`,
//! with which it shares nothing: it goes by column names, through the row interface.

use std::fmt;

use crate::record::{Change, Data, NoBody, Operation, Record};
use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row};

/// The records of an object, in their order.
///
/// # Errors
///
/// Names what is not as the destination writes it.
pub fn read(object: &Bytes) -> Result<Vec<Record<NoBody>>> {
    let reader = SerializedFileReader::new(object.clone())?;
    reader.get_row_iter(None)?.map(|row| record(&row?)).collect()
}

fn record(row: &Row) -> Result<Record<NoBody>> {
    let payload = group(field(row, "payload")?)?.ok_or_else(|| unexpected("payload", &"null"))?;
    let Field::Str(operation) = field(row, "operation")? else {
        return Err(unexpected("operation", &"no text"));
    };
    let Field::MapInternal(metadata) = field(row, "metadata")? else {
        return Err(unexpected("metadata", &"no map"));
    };
    Ok(Record {
        position: bytes(field(row, "position")?)?.ok_or_else(|| unexpected("position", &"null"))?,
        operation: Operation::parse(operation).ok_or_else(|| unexpected("operation", operation))?,
        metadata: metadata
            .entries()
            .iter()
            .map(|entry| match entry {
                (Field::Str(name), Field::Str(value)) => Ok((name.clone(), value.clone())),
                other => Err(unexpected("an entry of metadata", &format!("{other:?}"))),
            })
            .collect::<Result<_>>()?,
        key: data(field(row, "key")?)?,
        payload: Change { before: data(field(payload, "before")?)?, after: data(field(payload, "after")?)? },
    })
}

fn data(value: &Field) -> Result<Option<Data<NoBody>>> {
    let Some(group) = group(value)? else {
        return Ok(None);
    };
    match (bytes(field(group, "raw")?)?, field(group, "structured")?) {
        (Some(raw), Field::Null) => Ok(Some(Data::Raw(raw))),
        (None, Field::Str(text)) => Ok(Some(Data::Structured(text.clone()))),
        other => Err(unexpected("data", &format!("{other:?}"))),
    }
}

fn field<'a>(row: &'a Row, name: &str) -> Result<&'a Field> {
    let mut columns = row.get_column_iter();
    columns.find(|(column, _)| *column == name).map(|(_, value)| value).ok_or_else(|| unexpected(name, &"missing"))
}

fn group(value: &Field) -> Result<Option<&Row>> {
    match value {
        Field::Group(group) => Ok(Some(group)),
        Field::Null => Ok(None),
        other => Err(unexpected("a group", other)),
    }
}

fn bytes(value: &Field) -> Result<Option<Bytes>> {
    match value {
        Field::Bytes(bytes) => Ok(Some(Bytes::copy_from_slice(bytes.data()))),
        Field::Null => Ok(None),
        other => Err(unexpected("bytes", other)),
    }
}

fn unexpected(what: &str, found: &dyn fmt::Display) -> ParquetError {
    ParquetError::General(format!("{what} is {found}"))
}
