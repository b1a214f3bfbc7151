//! Owns a batch that is being filled: which records are in it, and when it is full or due. Leaves the choice among several to
//! `partitions`, acks to `ledger`, and all I/O to others: bodies were read before, and complete batches are stored by
//! `destination`.
//!
//! The bounds of batches follow from the records alone, except for age: the same records give the same batches, hence
//! the same objects, when a pipeline repeats them. Refused records do not count.

use std::ops::Range;
use std::time::Duration;

use super::format::{Encoder, Files};
use super::key::Digester;
use super::stream::{self, Streamed};
use super::summary::Summary;
use crate::config::{BuffersConfig, DestinationConfig};
use crate::error::{Error, Result};
use crate::limits;
use crate::payload::Payload;
use crate::ports::{Body, Cut};
use crate::record::{Data, NoBody, Record, json};

/// When a batch is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Records.
    pub(super) records_max: usize,
    /// Bytes of records, as they came. One record alone may be larger.
    pub(super) bytes_max: u64,
    /// Age of the first record.
    pub(super) delay: Duration,
}

impl From<&DestinationConfig> for Bounds {
    fn from(config: &DestinationConfig) -> Self {
        let BuffersConfig { records_max, bytes_max, delay } = config.buffers;
        Self { records_max, bytes_max, delay }
    }
}

/// A record that a batch can take, and its sizes.
#[derive(Debug)]
pub(super) struct Checked {
    record: Record<NoBody>,
    bytes: u64,
    held_bytes: u64,
}

impl Checked {
    /// The record.
    pub(super) fn record(&self) -> &Record<NoBody> {
        &self.record
    }

    /// The record.
    pub(super) fn into_record(self) -> Record<NoBody> {
        self.record
    }

    /// The memory that it takes at most, from when it is in a batch until that is stored.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }
}

/// An object to be stored.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// The folders that it is in, with a slash after each.
    pub(super) path: String,
    /// What is said of its records.
    pub(super) summary: Summary,
    /// The digest of its records.
    pub(super) digest: String,
    /// The extension of its name.
    pub(super) extension: &'static str,
    /// Its media type.
    pub(super) content_type: &'static str,
    /// Its bytes.
    pub(super) body: Payload,
}

/// A complete batch.
#[derive(Debug)]
pub(super) struct Batch {
    /// What to store.
    pub(super) object: Object,
    /// The numbers of its records, in their order.
    pub(super) numbers: Vec<Range<u64>>,
}

/// A batch that is being filled.
#[derive(Debug)]
pub(super) struct Buffer {
    bounds: Bounds,
    files: Files,
    encoder: Encoder,
    digester: Digester,
    summary: Summary,
    /// The numbers of its records: one range as long as no others come between.
    numbers: Vec<Range<u64>>,
    bytes: u64,
    first_at: Duration,
    /// The memory that the batch may take.
    held_bytes: u64,
}

impl Buffer {
    /// Makes an empty buffer.
    pub(super) fn new(bounds: Bounds, files: Files, summary: Summary) -> Self {
        Self {
            bounds,
            encoder: files.encoder(),
            digester: files.digester(),
            files,
            summary,
            numbers: Vec::new(),
            bytes: 0,
            first_at: Duration::ZERO,
            held_bytes: 0,
        }
    }

    /// Whether there is no record in it.
    pub(super) fn is_empty(&self) -> bool {
        self.summary.records() == 0
    }

    /// Another one of this kind, without records.
    pub(super) fn another(&self) -> Self {
        Self::new(self.bounds, self.files.clone(), self.summary.another())
    }

    /// The number of its first record.
    pub(super) fn first(&self) -> u64 {
        self.numbers.first().map_or(u64::MAX, |numbers| numbers.start)
    }

    /// The number after that of its last record.
    pub(super) fn last(&self) -> u64 {
        self.numbers.last().map_or(u64::MAX, |numbers| numbers.end)
    }

    /// Whether it takes no further record of any size.
    pub(super) fn is_full(&self) -> bool {
        self.summary.records() >= self.bounds.records_max || self.bytes >= self.bounds.bytes_max
    }

    /// Why it is complete: by what is in it, or by its age, otherwise as the caller knows.
    pub(super) fn cut(&self, now: Duration, otherwise: Cut) -> Cut {
        if self.summary.records() >= self.bounds.records_max {
            Cut::Records
        } else if self.bytes >= self.bounds.bytes_max {
            Cut::Bytes
        } else if self.is_due(now) {
            Cut::Delay
        } else {
            otherwise
        }
    }

    /// Takes the payload out of a record which is stored while it arrives: where it is large, and the format can be
    /// written in pieces.
    pub(super) fn part<B: Body>(&self, mut record: Record<B>) -> (Record<B>, Option<Streamed<B>>) {
        let payload = if self.files.can_stream() { stream::take_payload(&mut record) } else { None };
        (record, payload)
    }

    /// Checks that a record, the payload of which may come later, can be part of an object.
    ///
    /// # Errors
    ///
    /// `invalid`, with what is wrong with the record.
    pub(super) fn check<B>(&self, record: Record<NoBody>, payload: Option<&Streamed<B>>) -> Result<Checked> {
        let checked = check(&self.files, record)?;
        match payload {
            Some(payload) if payload.length > limits::STREAMED_BYTES_MAX => Err(Error::invalid(format!(
                "the record has {} bytes, but a destination takes at most {}: {LEAVE_OUT}",
                payload.length,
                limits::STREAMED_BYTES_MAX
            ))),
            Some(_) => Ok(Checked { held_bytes: checked.held_bytes + limits::PARTS_HELD_BYTES, ..checked }),
            None => Ok(checked),
        }
    }

    /// Whether `record` belongs to this batch and not to the next one.
    pub(super) fn has_room(&self, record: &Checked) -> bool {
        let bytes = self.bytes.saturating_add(record.bytes);
        let held_bytes = self.held_bytes + record.held_bytes;
        let fits = bytes <= self.bounds.bytes_max && held_bytes <= limits::OBJECT_BYTES_MAX;
        self.is_empty() || (fits && !self.is_full())
    }

    /// Whether the batch is complete: full, or its first record has waited long enough.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let aged = !self.is_empty() && now.saturating_sub(self.first_at) >= self.bounds.delay;
        aged || self.is_full()
    }

    /// The memory that it takes, or will take once it is encoded.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Takes the record of this number, which is above those before. The buffer must [have room](Self::has_room).
    pub(super) fn push(&mut self, record: Checked, number: u64, now: Duration) {
        let Checked { record, bytes, held_bytes } = record;
        self.held_bytes += held_bytes;
        if self.is_empty() {
            self.first_at = now;
            self.held_bytes += self.files.fixed_bytes();
        }
        self.bytes += bytes;
        match self.numbers.last_mut() {
            Some(numbers) if numbers.end == number => numbers.end += 1,
            _ => self.numbers.push(number..number + 1),
        }
        self.digester.record(&record);
        self.summary.take(&record);
        self.encoder.push(record);
    }

    /// Ends the batch, which is stored in the folders of `path`. `random` gives the random bits that its name may need.
    ///
    /// # Errors
    ///
    /// Those of the format.
    pub(super) fn finish(self, path: String, random: impl FnMut() -> u64) -> Result<Batch> {
        let object = Object {
            path,
            summary: self.summary,
            digest: self.digester.finish(random),
            extension: self.files.extension(),
            content_type: self.files.content_type(),
            body: self.encoder.finish()?,
        };
        Ok(Batch { object, numbers: self.numbers })
    }
}

fn check(files: &Files, record: Record<NoBody>) -> Result<Checked> {
    let mut bytes = record.position.len() as u64;
    bytes += record.metadata.bytes();
    let fields =
        [("key", &record.key), ("payload.before", &record.payload.before), ("payload.after", &record.payload.after)];
    for (name, data) in fields {
        bytes += data.as_ref().and_then(Data::length).unwrap_or_default();
        if let Some(Data::Structured(text)) = data {
            check_object(name, text)?;
        }
    }
    if bytes > limits::RECORD_BYTES_MAX {
        return Err(too_large(bytes));
    }
    let held_bytes = files.held_bytes(&record);
    if held_bytes > limits::OBJECT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "the record becomes {held_bytes} bytes with escapes, but an object may have at most {}: {LEAVE_OUT}",
            limits::OBJECT_BYTES_MAX
        )));
    }
    // The last check: from here on, the columns of tables are those that the record adds.
    files.check(&record)?;
    Ok(Checked { record, bytes, held_bytes })
}

/// Advice about a record that can't be made smaller.
const LEAVE_OUT: &str = "have the source deliver such objects in pieces or leave them out (settings `chunkBytes` and \
                         `objectBytes` of an S3 source), or give the pipeline a dead-letter queue";

/// The error for a record of `bytes` or more.
pub(super) fn too_large(bytes: u64) -> Error {
    Error::invalid(format!(
        "the record has {bytes} bytes or more, but a destination takes at most {} of one in memory: with `format` = \
         `json` and no `compression`, a payload that comes as a stream and says its length may have up to {}; otherwise {LEAVE_OUT}",
        limits::RECORD_BYTES_MAX,
        limits::STREAMED_BYTES_MAX
    ))
}

/// Structured data are in objects as they are: text that is not JSON would make a whole object unreadable.
fn check_object(name: &str, text: &str) -> Result<()> {
    if json::is_object(text) {
        return Ok(());
    }
    Err(Error::invalid(format!("the record's `{name}` is structured, but not a JSON object: send it as raw bytes")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::FormatName;
    use crate::error::ErrorKind;
    use crate::record::{Change, Metadata, Operation};

    const BOUNDS: Bounds = Bounds { records_max: 3, bytes_max: 100, delay: Duration::from_secs(5) };

    fn files() -> Files {
        Files::new(FormatName::Json, None, None).expect("makes sense")
    }

    fn buffer() -> Buffer {
        Buffer::new(BOUNDS, files(), Summary::default())
    }

    fn record(position: &str, payload_bytes: usize) -> Record<NoBody> {
        Record {
            position: Bytes::copy_from_slice(position.as_bytes()),
            operation: Operation::Create,
            metadata: Metadata::new(),
            key: None,
            payload: Change { before: None, after: Some(Data::Raw(vec![1; payload_bytes].into())) },
        }
    }

    fn checked(position: &str, payload_bytes: usize) -> Checked {
        check(&files(), record(position, payload_bytes)).expect("a good record")
    }

    fn finish(buffer: Buffer) -> Batch {
        buffer.finish(String::new(), || 0).expect("encodes")
    }

    #[test]
    fn a_batch_is_full_at_its_count() {
        let mut buffer = buffer();
        for (position, number) in [("a", 4), ("b", 5), ("c", 7)] {
            assert!(!buffer.is_full() && buffer.has_room(&checked(position, 1)));
            buffer.push(checked(position, 1), number, Duration::ZERO);
        }
        assert!(buffer.is_full() && !buffer.has_room(&checked("d", 0)));
        assert_eq!((buffer.first(), buffer.last()), (4, 8));
        let another = buffer.another();
        assert!(another.is_empty() && !another.is_full());
        let batch = finish(buffer);
        assert_eq!(batch.numbers, [4..6, 7..8], "one range as long as none comes between");
        assert_eq!(batch.object.summary.records(), 3);
        assert_eq!(batch.object.body.into_bytes().split(|b| *b == b'\n').count(), 4);
    }

    #[test]
    fn a_record_that_would_exceed_the_bytes_goes_into_the_next_batch() {
        let mut buffer = buffer();
        buffer.push(checked("a", 59), 0, Duration::ZERO);
        assert!(!buffer.has_room(&checked("b", 40)));
        assert!(buffer.has_room(&checked("b", 39)));
        buffer.push(checked("b", 39), 1, Duration::ZERO);
        assert!(buffer.is_full());
    }

    #[test]
    fn a_record_larger_than_a_batch_is_one_alone() {
        let mut buffer = buffer();
        assert!(buffer.has_room(&checked("a", 500)));
        buffer.push(checked("a", 500), 0, Duration::ZERO);
        assert!(buffer.is_full());
    }

    #[test]
    fn all_parts_of_a_record_count() {
        let mut whole = record("12345", 7);
        whole.metadata.insert("name".to_owned(), "value".to_owned());
        whole.key = Some(Data::Structured("{}".to_owned()));
        whole.payload.before = Some(Data::Raw(Bytes::from_static(b"abc")));
        assert_eq!(check(&files(), whole).expect("a good record").bytes, 5 + 7 + 9 + 2 + 3);
    }

    #[test]
    fn a_batch_is_due_when_its_first_record_is_old() {
        let mut buffer = buffer();
        assert!(!buffer.is_due(Duration::from_secs(99)), "nothing waits");
        buffer.push(checked("a", 1), 0, Duration::from_secs(10));
        buffer.push(checked("b", 1), 1, Duration::from_secs(14));
        assert!(!buffer.is_due(Duration::from_millis(14_999)));
        assert!(buffer.is_due(Duration::from_secs(15)));
    }

    #[test]
    fn the_same_records_give_the_same_batches() {
        let cut = || {
            let (mut buffer, mut digests) = (buffer(), Vec::new());
            for (index, size) in [10, 95, 1, 1, 1, 1, 60, 60, 500, 1].into_iter().enumerate() {
                let record = checked(&index.to_string(), size);
                if !buffer.has_room(&record) {
                    let next = buffer.another();
                    let batch = finish(std::mem::replace(&mut buffer, next));
                    digests.push((batch.object.digest, batch.object.summary.records()));
                }
                buffer.push(record, index as u64, Duration::from_secs(index as u64 * 60));
            }
            digests
        };
        assert_eq!(cut(), cut());
        let lengths: Vec<_> = cut().into_iter().map(|(_, length)| length).collect();
        assert_eq!(lengths, [1, 3, 3, 1, 1]);
    }

    #[test]
    fn an_object_is_no_longer_than_one_request_may_be() {
        let escaped = |count: usize| {
            let mut record = record("a", 0);
            record.metadata.insert("n".to_owned(), "\u{1}".repeat(count));
            record
        };
        let bounds = Bounds { bytes_max: u64::MAX, ..BOUNDS };
        let mut buffer = Buffer::new(bounds, files(), Summary::default());
        let none: Option<&Streamed<NoBody>> = None;
        let error = buffer.check(escaped(43 << 20), none).expect_err("is too long");
        assert!(error.message.contains("with escapes"), "{error}");
        let half = || buffer.check(escaped(22 << 20), none).expect("fits by itself");
        let (one, other) = (half(), half());
        buffer.push(one, 0, Duration::ZERO);
        assert!(!buffer.has_room(&other) && !buffer.is_full());
    }

    #[test]
    fn what_no_object_can_hold_is_refused() {
        let too_large = record("a", limits::RECORD_BYTES_MAX as usize);
        let error = check(&files(), too_large).expect_err("must be refused");
        assert!(error.message.contains("at most 67108864"), "{error}");
        for text in ["", "[1]", "1", "null", "\"{}\"", "{", "{}}", "{\"a\":1,}", "{'a':1}"] {
            let mut bad = record("a", 1);
            bad.key = Some(Data::Structured(text.to_owned()));
            let error = check(&files(), bad).expect_err(text);
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains("`key` is structured"), "{error}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let mut odd = record("a", 1);
        odd.payload.before = Some(Data::Structured(deep));
        assert!(check(&files(), odd).is_ok(), "depth is no fault");
        let mut spaced = record("a", 1);
        spaced.payload.after = Some(Data::Structured(" \n{ \"a\" : 1 } ".to_owned()));
        assert!(check(&files(), spaced).is_ok());
    }
}
