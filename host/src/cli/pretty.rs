//! Owns records for people: a line with time, operation, size and key, and the beginning of the payload below it where that is text. Leaves
//! records for machines to `JsonLinesOutput`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::HumanBytes;
use s3_connector::time::Timestamp;
use s3_connector_host::pipeline::Output;
use s3_connector_host::printable;
use s3_connector_host::record::{Data, Operation};
use s3_connector_host::{Ack, Error, ErrorKind, Record, Result};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::columns;

/// Bytes of a payload that are looked at, and lines of it that are shown.
const TEXT_BYTES: usize = 4096;
const TEXT_LINES: usize = 5;

/// What stands before the lines below the first.
const INDENT: &str = "    ";

/// Records as people read them. A payload's rest is not fetched.
pub(super) struct PrettyOutput<W> {
    sink: W,
    columns: usize,
    failed: Option<Error>,
    is_broken: bool,
    is_reader_gone: Arc<AtomicBool>,
}

/// The beginning of a payload, and its whole length where that is known.
struct Beginning {
    bytes: Vec<u8>,
    length: Option<u64>,
}

impl<W> PrettyOutput<W> {
    /// Writes to `sink`, which has so many columns.
    pub(super) fn new(sink: W, columns: usize) -> Self {
        Self { sink, columns, failed: None, is_broken: false, is_reader_gone: Arc::default() }
    }

    /// Becomes true when the sink is a pipe whose reader is gone.
    pub(super) fn is_reader_gone(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_reader_gone)
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> PrettyOutput<W> {
    async fn print(&mut self, text: &str) -> Result<()> {
        let mut written = self.sink.write_all(text.as_bytes()).await;
        if written.is_ok() {
            written = self.sink.flush().await;
        }
        written.map_err(|error| {
            self.is_broken = true;
            if error.kind() == io::ErrorKind::BrokenPipe {
                self.is_reader_gone.store(true, Ordering::Relaxed);
            }
            Error::new(ErrorKind::Unavailable, format!("cannot write the output: {error}"))
        })
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Output for PrettyOutput<W> {
    async fn open(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let (mut text, mut acks) = (String::new(), Vec::with_capacity(records.len()));
        for mut record in records {
            let before = beginning(record.payload.before.take()).await;
            let after = beginning(record.payload.after.take()).await;
            match before.and_then(|before| Ok((before, after?))) {
                Ok((before, after)) => text.push_str(&describe(&record, before, after, self.columns)),
                Err(error) => {
                    self.failed = Some(error.context(format!("record `{}`", key(&record))));
                    break;
                }
            }
            acks.push(Ack { position: record.position, error: None });
        }
        self.print(&text).await?;
        // The records before the one that failed go first.
        match &self.failed {
            Some(error) if acks.is_empty() => Err(error.clone()),
            _ => Ok(acks),
        }
    }

    async fn flush(&mut self, _wait: Duration) -> Result<Vec<Ack>> {
        self.write(Vec::new()).await
    }

    async fn teardown(&mut self) -> Result<()> {
        Ok(())
    }

    async fn renew(&mut self) -> Result<bool> {
        self.failed = None;
        Ok(!self.is_broken)
    }

    fn can_renew(&self) -> bool {
        !self.is_broken
    }
}

/// Reads as much of a payload as is shown. The rest of a stream is dropped.
async fn beginning(data: Option<Data>) -> Result<Option<Beginning>> {
    let Some(data) = data else { return Ok(None) };
    let of = |bytes: &[u8]| Beginning {
        bytes: bytes[..bytes.len().min(TEXT_BYTES)].to_vec(),
        length: Some(bytes.len() as u64),
    };
    Ok(Some(match data {
        Data::Raw(bytes) => of(&bytes),
        Data::Structured(text) => of(text.as_bytes()),
        Data::Body { length, bytes: mut body } => {
            let mut bytes = Vec::new();
            let mut ended = false;
            while bytes.len() < TEXT_BYTES && !ended {
                match body.next().await? {
                    Some(piece) => bytes.extend_from_slice(&piece[..piece.len().min(TEXT_BYTES - bytes.len())]),
                    None => ended = true,
                }
            }
            let length = length.or_else(|| ended.then_some(bytes.len() as u64));
            Beginning { bytes, length }
        }
    }))
}

/// A record's key as one line.
fn key(record: &Record) -> String {
    let text = match &record.key {
        Some(Data::Raw(bytes)) => String::from_utf8_lossy(bytes),
        Some(Data::Structured(text)) => text.into(),
        Some(Data::Body { .. }) | None => "(no key)".into(),
    };
    // S3's longest key has 1 KiB; those of rows may be longer.
    printable::line(&text, TEXT_BYTES).into_owned()
}

/// A moment as a table has it, in UTC.
pub(super) fn time(time: Timestamp) -> String {
    // `2026-01-31T08:00:00Z`, with a fraction where there is one.
    let text = time.floor_seconds().to_rfc3339();
    text.trim_end_matches('Z').replace('T', " ")
}

/// A size as a column has it.
pub(super) fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| HumanBytes(bytes).to_string())
}

/// The lines of a record.
fn describe(record: &Record, before: Option<Beginning>, after: Option<Beginning>, columns: usize) -> String {
    let created = record.metadata.get("opencdc.createdAt").and_then(|nanoseconds| nanoseconds.parse::<u64>().ok());
    let created = created.map_or_else(|| "-".to_owned(), |at| time(Timestamp::from_seconds(at / 1_000_000_000)));
    let length = match record.operation {
        Operation::Delete => None,
        _ => after.as_ref().and_then(|after| after.length),
    };
    let first = format!("{created:<19}  {:<8}  {:>10}  ", record.operation.as_str(), size(length));
    let mut text = first.clone();
    push_key(&mut text, &key(record), columns);
    if let Some(part) = part(record) {
        text.push_str(&format!("{INDENT}{part}\n"));
    }
    let kind = record.metadata.get("s3.header.contentType").map(String::as_str);
    // Where there are two payloads, signs tell them apart.
    let signs = if before.is_some() { ["- ", "+ "] } else { ["", ""] };
    for (sign, payload) in signs.into_iter().zip([before, after]) {
        if let Some(payload) = payload {
            push_payload(&mut text, &payload, sign, kind, columns);
        }
    }
    text
}

/// Appends a key to its line; one that is too long stands below it.
pub(super) fn push_key(text: &mut String, key: &str, columns: usize) {
    if columns::width(text.rsplit('\n').next().unwrap_or_default()) + columns::width(key) <= columns {
        text.push_str(key);
        text.push('\n');
        return;
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    for line in columns::wrap(key, columns - INDENT.len()) {
        text.push_str(&format!("{INDENT}{line}\n"));
    }
}

/// Which part of its object a record is.
fn part(record: &Record) -> Option<String> {
    let number = |name: &str| record.metadata.get(name)?.parse::<u64>().ok();
    let index = number("opencdc.file.chunk.index")?;
    Some(format!("(chunk {index} of {})", number("opencdc.file.chunk.count")?))
}

fn push_payload(text: &mut String, payload: &Beginning, sign: &str, kind: Option<&str>, columns: usize) {
    if payload.bytes.is_empty() {
        return;
    }
    let Some(shown) = as_text(&payload.bytes) else {
        let kind = kind.map_or_else(String::new, |kind| format!(", {}", printable::line(kind, 100)));
        text.push_str(&format!("{INDENT}{sign}(binary{kind})\n"));
        return;
    };
    let room = columns - INDENT.len() - sign.len();
    let escaped: Vec<_> = shown
        .trim_end_matches(['\n', '\r'])
        .split('\n')
        .map(|line| line.trim_end_matches('\r').replace('\t', "    "))
        .map(|line| printable::line(&line, usize::MAX).into_owned())
        .collect();
    let mut lines = escaped.iter().flat_map(|line| columns::wrap(line, room));
    for line in lines.by_ref().take(TEXT_LINES) {
        text.push_str(format!("{INDENT}{sign}{line}").trim_end());
        text.push('\n');
    }
    let is_whole = payload.length == Some(payload.bytes.len() as u64);
    if lines.next().is_some() || !is_whole {
        text.push_str(&format!("{INDENT}{sign}…\n"));
    }
}

/// The bytes as text, if they are; a character that is cut at the end is left out.
fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && bytes.len() == TEXT_BYTES => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Colours of a log are escapes; what has other control characters is no text.
    let is_foreign = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{1b}');
    (!text.contains(is_foreign)).then_some(text)
}

#[cfg(test)]
mod tests {
    use s3_connector_host::record::{Change, Metadata};

    use super::*;

    fn record(operation: Operation, key: &str, payload: Option<&[u8]>) -> Record {
        let mut metadata = Metadata::default();
        metadata.insert("opencdc.createdAt".to_owned(), "1769846400500000000".to_owned());
        let raw = |bytes: &[u8]| Data::Raw(bytes.to_vec().into());
        Record {
            position: vec![1].into(),
            operation,
            metadata,
            key: Some(raw(key.as_bytes())),
            payload: Change { before: None, after: payload.map(raw) },
        }
    }

    async fn shown(mut record: Record) -> String {
        let before = beginning(record.payload.before.take()).await.expect("it is in memory");
        let after = beginning(record.payload.after.take()).await.expect("it is in memory");
        let text = describe(&record, before, after, 80);
        assert!(text.lines().all(|line| columns::width(line) <= 80), "{text}");
        text
    }

    #[tokio::test]
    async fn a_record_is_a_line_and_its_text_below() {
        assert_eq!(
            shown(record(Operation::Create, "notes/a.txt", Some(b"one\n\ttwo\r\n"))).await,
            "2026-01-31 08:00:00  create          10 B  notes/a.txt\n    one\n        two\n"
        );
        assert_eq!(
            shown(record(Operation::Delete, "notes/a.txt", None)).await,
            "2026-01-31 08:00:00  delete             -  notes/a.txt\n"
        );
        assert_eq!(
            shown(record(Operation::Snapshot, "empty", Some(b""))).await,
            "2026-01-31 08:00:00  snapshot         0 B  empty\n"
        );
        let mut jpeg = record(Operation::Update, "a.jpg", Some(b"\xff\xd8\xff\xe0\0\x10JFIF"));
        jpeg.metadata.insert("s3.header.contentType".to_owned(), "image/jpeg".to_owned());
        assert_eq!(shown(jpeg).await, "2026-01-31 08:00:00  update          10 B  a.jpg\n    (binary, image/jpeg)\n");
    }

    #[tokio::test]
    async fn what_is_long_is_cut_and_long_names_have_their_own_lines() {
        let long = "日本/".repeat(20);
        let text = shown(record(Operation::Create, &long, Some("x".repeat(5000).as_bytes()))).await;
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "2026-01-31 08:00:00  create      4.88 KiB");
        assert_eq!(lines[1..3].iter().map(|line| line.trim()).collect::<String>(), long);
        assert_eq!(lines.len(), 3 + TEXT_LINES + 1);
        assert_eq!(lines[8], "    …");
        // A character that the bound cuts in two makes no binary of a text.
        let text = "é".repeat(TEXT_BYTES) + "x";
        assert!(as_text(&text.as_bytes()[1..=TEXT_BYTES]).is_none());
        assert!(as_text(&format!("x{text}").as_bytes()[..TEXT_BYTES]).is_some());
    }

    #[tokio::test]
    async fn nothing_that_a_terminal_obeys_reaches_it() {
        let text = shown(record(Operation::Create, "a\u{1b}[2J\n\u{202e}b", Some(b"\x1b]0;title\x1b\\red"))).await;
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        assert!(text.contains("a\\u{1b}[2J\\n\\u{202e}b"), "{text}");
        assert!(text.contains("\\u{1b}]0;title"), "{text}");
        let nul = shown(record(Operation::Create, "a", Some(b"a\0b"))).await;
        assert!(nul.ends_with("    (binary)\n"), "{nul}");
    }

    #[tokio::test]
    async fn two_payloads_have_signs() {
        let mut record = record(Operation::Update, "a", Some(b"new"));
        record.payload.before = Some(Data::Raw(b"old".to_vec().into()));
        assert!(shown(record).await.ends_with("  a\n    - old\n    + new\n"));
    }

    #[tokio::test]
    async fn records_are_acked_when_they_are_printed() {
        let mut output = PrettyOutput::new(Vec::new(), 80);
        let records = vec![record(Operation::Create, "a", Some(b"1")), record(Operation::Create, "b", Some(b"2"))];
        let acks = output.write(records).await.expect("a vector takes all");
        assert_eq!(acks.len(), 2);
        assert_eq!(String::from_utf8_lossy(&output.sink).lines().count(), 4);
    }
}
