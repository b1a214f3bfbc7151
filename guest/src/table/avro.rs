//! Owns tables as Avro object container files ([the specification](https://avro.apache.org/docs/1.12.0/specification/)): the
//! schema, and rows in blocks that are compressed by `deflate`, which every reader must know, unless the settings say otherwise.
//!
//! The crate that reads such files would need each row as a tree, of which few bytes of JSON can make a gigabyte, so rows are
//! written straight from their text. Every field may be null, but for those of whole records that always are there. Nested records
//! are named by their path (`row.address`). What Avro permits in no name becomes `_`; the name itself is then the field's `doc`.
//! The same rows and columns give the same bytes.

use std::borrow::Cow;
use std::io::Write as _;

use flate2::Crc;
use flate2::write::DeflateEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

use super::Misfit;
use super::cell::{self, Cell};
use super::json::{self as text, Kind};
use super::schema::{Field, Fields, Scalar, Type, Unit};
use crate::payload::{Payload, Writer};
use crate::rows::Compression;

/// Bytes of rows in a block, before it is compressed, but for rows that are larger. Readers hold a block.
const BLOCK_BYTES: usize = 64 << 10;

/// The context of the digest that is the marker between blocks: no author of a row can put it into a row.
const CONTEXT: &str = "s3-connector 2026-11-28 the marker between blocks of rows";

/// Bytes of that marker.
const SYNC_BYTES: usize = 16;

/// The name of the outermost record.
const ROOT: &str = "row";

/// A name as Avro permits it.
pub(super) fn avro_name(name: &str) -> Cow<'_, str> {
    let is_permitted = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_right = !name.starts_with(|c: char| c.is_ascii_digit());
    if begins_right && name.chars().all(is_permitted) {
        return Cow::Borrowed(name);
    }
    let permitted = name.chars().map(|c| if is_permitted(c) { c } else { '_' });
    Cow::Owned(if begins_right { permitted.collect() } else { std::iter::once('_').chain(permitted).collect() })
}

/// Writes rows as a file, each of which must fit the columns. Rows are dropped as they are read.
///
/// # Errors
///
/// Says what can't be written, which no row that fits can cause.
pub fn write(fields: &Fields, rows: Vec<String>, compression: Option<Compression>) -> Result<Payload, String> {
    let mut hash = blake3::Hasher::new_derive_key(CONTEXT);
    for row in &rows {
        hash.update(&(row.len() as u64).to_le_bytes());
        hash.update(row.as_bytes());
    }
    let codec = compression.unwrap_or(Compression::Gzip);
    let mut file = File { out: Writer::default(), sync: [0; SYNC_BYTES], block: Vec::new(), rows: 0, codec };
    file.sync.copy_from_slice(&hash.finalize().as_bytes()[..SYNC_BYTES]);
    file.head(&record(fields, ROOT).to_string());
    for row in rows {
        put_record(&mut file.block, fields, &row).map_err(|misfit| misfit.to_string())?;
        file.rows += 1;
        if file.block.len() >= BLOCK_BYTES {
            file.end_block()?;
        }
    }
    file.end_block()?;
    Ok(file.out.finish())
}

struct File {
    out: Writer,
    sync: [u8; SYNC_BYTES],
    block: Vec<u8>,
    rows: i64,
    codec: Compression,
}

impl File {
    fn head(&mut self, schema: &str) {
        let mut head = b"Obj\x01".to_vec();
        put_long(&mut head, 2);
        for (name, value) in [("avro.codec", codec_name(self.codec)), ("avro.schema", schema)] {
            put_bytes(&mut head, name.as_bytes());
            put_bytes(&mut head, value.as_bytes());
        }
        put_long(&mut head, 0);
        self.out.put(&head);
        self.out.put(&self.sync);
    }

    fn end_block(&mut self) -> Result<(), String> {
        if self.rows == 0 {
            return Ok(());
        }
        let data = compress(self.codec, std::mem::take(&mut self.block))?;
        let mut head = Vec::new();
        put_long(&mut head, std::mem::take(&mut self.rows));
        put_long(&mut head, data.len() as i64);
        self.out.put(&head);
        self.out.put(&data);
        self.out.put(&self.sync);
        Ok(())
    }
}

/// The name of a codec. The one of gzip is without the frame around it.
fn codec_name(codec: Compression) -> &'static str {
    match codec {
        Compression::None => "null",
        Compression::Gzip => "deflate",
        Compression::Zstd => "zstandard",
        Compression::Snappy => "snappy",
    }
}

/// The data of a block as they are stored.
fn compress(codec: Compression, block: Vec<u8>) -> Result<Vec<u8>, String> {
    match codec {
        Compression::None => Ok(block),
        Compression::Gzip => {
            let mut deflate = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            let written = deflate.write_all(&block).and_then(|()| deflate.finish());
            written.map_err(|why| why.to_string())
        }
        Compression::Zstd => Ok(compress_to_vec(&block[..], CompressionLevel::Fastest)),
        Compression::Snappy => {
            let mut data = snap::raw::Encoder::new().compress_vec(&block).map_err(|why| why.to_string())?;
            let mut sum = Crc::new();
            sum.update(&block);
            data.extend_from_slice(&sum.sum().to_be_bytes());
            Ok(data)
        }
    }
}

/// The schema of a record.
fn record(fields: &Fields, path: &str) -> Value {
    let fields: Vec<_> = known(fields).map(|field| member(field, path)).collect();
    json!({"type": "record", "name": path, "fields": fields})
}

fn member(field: &Field, path: &str) -> Value {
    let name = avro_name(&field.name);
    let content = schema(&field.content, &format!("{path}.{name}"));
    let mut member = if field.is_required {
        json!({"name": name, "type": content})
    } else {
        json!({"name": name, "type": ["null", content], "default": null})
    };
    if name != field.name {
        member["doc"] = json!(field.name);
    }
    member
}

/// What a type is in Avro, where its path names it.
fn schema(content: &Type, path: &str) -> Value {
    match content {
        // It is left out before.
        Type::Unknown => json!("null"),
        Type::Any | Type::Enum(_) => json!("string"),
        Type::Struct(fields) => record(fields, path),
        Type::List(element) => json!({"type": "array", "items": ["null", schema(element, path)]}),
        Type::Map(value) => json!({"type": "map", "values": ["null", schema(value, path)]}),
        Type::Scalar(scalar) => match scalar {
            Scalar::Boolean => json!("boolean"),
            Scalar::Int => json!("int"),
            Scalar::Long { .. } => json!("long"),
            Scalar::Float => json!("float"),
            Scalar::Double => json!("double"),
            Scalar::Text | Scalar::Uuid => json!("string"),
            Scalar::Bytes => json!("bytes"),
            Scalar::Fixed(size) => json!({"type": "fixed", "name": path, "size": size}),
            Scalar::Decimal { precision, scale } => {
                json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
            }
            Scalar::Date => json!({"type": "int", "logicalType": "date"}),
            Scalar::Time => json!({"type": "long", "logicalType": "time-micros"}),
            Scalar::Timestamp { unit, is_utc } => {
                let unit = if *unit == Unit::Millis { "millis" } else { "micros" };
                let local = if *is_utc { "" } else { "local-" };
                json!({"type": "long", "logicalType": format!("{local}timestamp-{unit}")})
            }
        },
    }
}

/// The fields that have a type.
fn known(fields: &Fields) -> impl Iterator<Item = &Field> {
    fields.iter().filter(|field| field.content.is_known())
}

fn put_record(out: &mut Vec<u8>, fields: &Fields, object: &str) -> Result<(), Misfit> {
    let values = fields.place(object, &mut |name| Err(Misfit::new("has no column").within(name)))?;
    for (field, value) in fields.iter().zip(values).filter(|(field, _)| field.content.is_known()) {
        let value = value.unwrap_or("null");
        if field.is_required {
            put(out, &field.content, value)?;
        } else {
            put_optional(out, &field.content, value)?;
        }
    }
    Ok(())
}

/// A value that may be null: which of the two it is stands before it.
fn put_optional(out: &mut Vec<u8>, content: &Type, json: &str) -> Result<(), Misfit> {
    let is_there = Kind::of(json) != Kind::Null;
    put_long(out, i64::from(is_there));
    if is_there { put(out, content, json) } else { Ok(()) }
}

fn put(out: &mut Vec<u8>, content: &Type, json: &str) -> Result<(), Misfit> {
    match content {
        Type::Unknown => {}
        Type::Any | Type::Enum(_) if Kind::of(json) == Kind::Text => put_bytes(out, text::text(json)?.as_bytes()),
        Type::Any | Type::Enum(_) => put_bytes(out, json.as_bytes()),
        Type::Scalar(scalar) => put_cell(out, *scalar, cell::read(*scalar, json)?),
        Type::Struct(fields) => put_record(out, fields, json)?,
        Type::List(element) => {
            let mut count = 0;
            text::elements(json, &mut |_| {
                count += 1;
                Ok(())
            })?;
            put_count(out, count);
            text::elements(json, &mut |value| put_optional(out, element, value))?;
            put_end(out, count);
        }
        Type::Map(value) => {
            let mut count = 0;
            text::members(json, &mut |_, _| {
                count += 1;
                Ok(())
            })?;
            put_count(out, count);
            text::members(json, &mut |name, json| {
                put_bytes(out, name.as_bytes());
                put_optional(out, value, json)
            })?;
            put_end(out, count);
        }
    }
    Ok(())
}

/// How many parts follow. Where there are none, that is the end, too.
fn put_count(out: &mut Vec<u8>, count: i64) {
    put_long(out, count);
}

fn put_end(out: &mut Vec<u8>, count: i64) {
    if count > 0 {
        put_long(out, 0);
    }
}

fn put_cell(out: &mut Vec<u8>, scalar: Scalar, cell: Cell<'_>) {
    match cell {
        Cell::Bool(value) => out.push(u8::from(value)),
        Cell::Int(value) => put_long(out, i64::from(value)),
        Cell::Long(value) => put_long(out, value),
        Cell::Float(value) => out.extend_from_slice(&value.to_le_bytes()),
        Cell::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
        Cell::Decimal(value) => {
            let bytes = value.to_be_bytes();
            // The fewest bytes that keep the sign.
            let sign = if value < 0 { 0xff } else { 0 };
            let first = bytes.iter().position(|byte| *byte != sign).unwrap_or(bytes.len() - 1);
            let keeps_sign = (bytes[first] ^ sign) & 0x80 == 0;
            put_bytes(out, &bytes[if keeps_sign { first } else { first - 1 }..]);
        }
        Cell::Bytes(value) if matches!(scalar, Scalar::Fixed(_)) => out.extend_from_slice(&value),
        Cell::Bytes(value) => put_bytes(out, &value),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, bytes.len() as i64);
    out.extend_from_slice(bytes);
}

/// A number in as many bytes as it needs, near zero on either side in few.
fn put_long(out: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}
