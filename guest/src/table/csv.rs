//! Owns tables as CSV ([RFC 4180](https://www.rfc-editor.org/rfc/rfc4180), but lines end with `\n`): a row of names, then the
//! rows. Leaves to `csv_core` what must be quoted.
//!
//! A text is as it is, any other value as JSON writes it. Null is nothing at all, an empty text is `""`. In a file of one column
//! null is `""` too, since an empty line would be no row.

use std::borrow::Cow;

use csv_core::{WriteResult, Writer as Quoting, quote};

use super::Misfit;
use super::json::{self, Kind};
use super::schema::Fields;
use crate::payload::{Payload, Writer};

/// Bytes that are quoted at a time.
const QUOTED_AT_A_TIME: usize = 4096;

/// Writes rows as a file, each of which must fit the columns. Rows are dropped as they are read.
///
/// # Errors
///
/// Says what can't be written, which no row that fits can cause.
pub fn write(fields: &Fields, rows: impl Iterator<Item = String>) -> Result<Payload, String> {
    let mut file = File { out: Writer::default(), quoting: Quoting::new() };
    let names: Vec<_> = fields.iter().map(|field| Some(Cow::Borrowed(field.name.as_str()))).collect();
    file.line(&names);
    for row in rows {
        let values = fields.place(&row, &mut |name| Err(Misfit::new("has no column").within(name)));
        let texts = values.and_then(|values| values.into_iter().map(text).collect::<Result<Vec<_>, _>>());
        file.line(&texts.map_err(|misfit| misfit.to_string())?);
    }
    Ok(file.out.finish())
}

/// What a field says, if it says anything.
fn text(value: Option<&str>) -> Result<Option<Cow<'_, str>>, Misfit> {
    let Some(value) = value else { return Ok(None) };
    match Kind::of(value) {
        Kind::Null => Ok(None),
        Kind::Text => json::text(value).map(Some),
        _ => Ok(Some(Cow::Borrowed(value))),
    }
}

struct File {
    out: Writer,
    quoting: Quoting,
}

impl File {
    fn line(&mut self, texts: &[Option<Cow<'_, str>>]) {
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                self.out.put(b",");
            }
            match text {
                Some(text) if text.is_empty() || self.quoting.should_quote(text.as_bytes()) => {
                    self.quoted(text.as_bytes());
                }
                Some(text) => self.out.put(text.as_bytes()),
                None if texts.len() == 1 => self.quoted(b""),
                None => {}
            }
        }
        self.out.put(b"\n");
    }

    fn quoted(&mut self, mut text: &[u8]) {
        self.out.put(b"\"");
        let mut quoted = [0; QUOTED_AT_A_TIME];
        loop {
            let (result, used, written) = quote(text, &mut quoted, b'"', b'"', true);
            self.out.put(&quoted[..written]);
            text = &text[used..];
            if matches!(result, WriteResult::InputEmpty) {
                break;
            }
        }
        self.out.put(b"\"");
    }
}
