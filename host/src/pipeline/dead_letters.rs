//! Owns dead letters: a record that a destination refuses for a fault of its own goes to another output, with the reason,
//! and the pipeline continues. Leaves storing letters to that output. Form and bounds are those of Conduit's dead-letter
//! queue.
//!
//! Invariant: a refused record is acked only after its letter is stored.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::endpoint::Output;
use crate::connector::destination::Ack;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{self, Change, Data, Metadata, NoBody, Operation, Record, json};
use s3_connector::record as plain;

/// Bodies up to this size are kept until their record is acked, so that a letter can hold them. The host has them in
/// memory anyway. In place of a larger one, the letter says where to find it.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// How long one call of a flush of letters waits for acks.
const FLUSH_WAIT: Duration = Duration::from_millis(500);

/// The shortest time between two flushes of letters.
const FLUSH_PAUSE: Duration = Duration::from_millis(20);

/// How many refused records a pipeline tolerates: `nacks_max` among the last `size` records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NackWindow {
    size: usize,
    nacks_max: usize,
    /// The last outcomes, oldest first; true for a refusal.
    last: VecDeque<bool>,
    /// Refusals among them.
    nacks: usize,
}

impl NackWindow {
    /// A window before any record. One of size 0 tolerates every refusal.
    #[must_use]
    pub fn new(size: usize, nacks_max: usize) -> Self {
        Self { size, nacks_max, last: VecDeque::new(), nacks: 0 }
    }

    /// Whether it tolerates no refusal at all, so that no letter is ever written.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.size > 0 && self.nacks_max == 0
    }

    /// Adds an outcome; false if the window then holds more refusals than it tolerates.
    fn admits(&mut self, is_nack: bool) -> bool {
        if self.size == 0 {
            return true;
        }
        if self.last.len() == self.size {
            let was_nack = self.last.pop_front();
            self.nacks -= usize::from(was_nack == Some(true));
        }
        self.last.push_back(is_nack);
        self.nacks += usize::from(is_nack);
        self.nacks <= self.nacks_max
    }
}

/// Where letters go, and what they say.
pub struct DeadLetters<D> {
    /// The output for letters.
    pub output: D,
    /// How many letters there may be.
    pub window: NackWindow,
    /// The id of the source, for the letters.
    pub source_id: String,
    /// The id of the destination, for the letters.
    pub destination_id: String,
}

/// An output whose refused records become dead letters.
pub struct WithDeadLetters<O, D> {
    output: O,
    letters: Option<DeadLetters<D>>,
    /// Records written and not acked, in order.
    retained: VecDeque<Retained>,
    count: Arc<AtomicU64>,
}

/// A record, without a payload that is too large for a letter.
struct Retained {
    record: plain::Record<NoBody>,
    /// Bytes of the payload if it was too large.
    omitted: Option<u64>,
}

impl<O: Output, D: Output> WithDeadLetters<O, D> {
    /// Sends records that `output` refuses to `letters`. Without letters, or with a window that tolerates no refusal, it
    /// is `output` alone.
    pub fn new(output: O, letters: Option<DeadLetters<D>>) -> Self {
        Self {
            output,
            letters: letters.filter(|letters| !letters.window.is_closed()),
            retained: VecDeque::new(),
            count: Arc::default(),
        }
    }

    /// The number of letters stored, while it runs and afterwards.
    pub fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }

    async fn retain(&mut self, record: Record) -> Result<Record> {
        let record = match &record.payload.after {
            Some(Data::Body { length: Some(length), .. }) if *length <= BODY_BYTES_MAX => {
                record::from_memory(record::collect(record).await?)
            }
            _ => record,
        };
        self.retained.push_back(Retained::of(&record));
        Ok(record)
    }

    /// Replaces refusals by letters, up to one that the window does not tolerate: it stays a refusal, and the acks after it
    /// stay as they are.
    async fn replace_refusals(&mut self, acks: Vec<Ack>) -> Result<Vec<Ack>> {
        let Some(letters) = &mut self.letters else {
            return Ok(acks);
        };
        let before = letters.window.clone();
        let (mut acks_out, mut written) = (Vec::with_capacity(acks.len()), Vec::new());
        let mut is_over = false;
        for Ack { position, error } in acks {
            if is_over {
                acks_out.push(Ack { position, error });
                continue;
            }
            let retained = self.retained.pop_front();
            let error = match (error, retained) {
                (None, _) => {
                    letters.window.admits(false);
                    None
                }
                // A body that broke off is no fault of its record, which is read again.
                (Some(error), Some(retained)) if error.kind() != ErrorKind::Unavailable => {
                    if letters.window.admits(true) {
                        written.push(letters.letter(retained, &error));
                        None
                    } else {
                        Some(letters.exceeded(&error))
                    }
                }
                (error, _) => error,
            };
            is_over = error.is_some();
            acks_out.push(Ack { position, error });
        }
        let count = written.len() as u64;
        if let Err(error) = letters.write(written).await {
            // The refused records will be read, written and refused again.
            letters.window = before;
            return Err(error);
        }
        self.count.fetch_add(count, Ordering::Relaxed);
        Ok(acks_out)
    }
}

impl Retained {
    fn of(record: &Record) -> Self {
        let mut omitted = None;
        let mut data = |data: &Option<Data>| match data {
            None => None,
            Some(Data::Raw(bytes)) => Some(plain::Data::Raw(bytes.clone())),
            Some(Data::Structured(text)) => Some(plain::Data::Structured(text.clone())),
            Some(Data::Body { length, .. }) => {
                omitted = Some(length.unwrap_or_default());
                None
            }
        };
        let record = plain::Record {
            position: record.position.clone(),
            operation: record.operation,
            metadata: record.metadata.clone(),
            key: data(&record.key),
            payload: Change { before: data(&record.payload.before), after: data(&record.payload.after) },
        };
        Self { record, omitted }
    }
}

impl<D: Output> DeadLetters<D> {
    /// A letter in Conduit's form: the refused record is the payload, and the metadata say why it was refused.
    fn letter(&self, retained: Retained, error: &Error) -> Record {
        let Retained { record, omitted } = retained;
        let mut text = Vec::new();
        json::encode_line(&record, &mut text);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut metadata = Metadata::from([
            ("opencdc.createdAt".to_owned(), now.as_nanos().to_string()),
            ("conduit.source.connector.id".to_owned(), self.source_id.clone()),
            ("conduit.dlq.nack.error".to_owned(), error.message().to_owned()),
            ("conduit.dlq.nack.node.id".to_owned(), self.destination_id.clone()),
        ]);
        if let Some(bytes) = omitted {
            let why = format!("the payload of {bytes} bytes is omitted; read it from the source");
            metadata.insert("dlq.leftOut".to_owned(), why);
        }
        Record {
            position: record.position,
            operation: Operation::Create,
            metadata,
            key: None,
            payload: Change {
                before: None,
                after: Some(Data::Structured(String::from_utf8_lossy(&text).trim_end().to_owned())),
            },
        }
    }

    fn exceeded(&self, error: &Error) -> Error {
        let NackWindow { size, nacks_max, .. } = self.window;
        let context = format!(
            "more than {nacks_max} of {size} records were refused, which exceeds `window-nack-threshold` of the \
             dead-letter queue"
        );
        error.clone().context(context)
    }

    /// Stores letters; returns when they are stored.
    async fn write(&mut self, letters: Vec<Record>) -> Result<()> {
        let mut left = letters.len();
        if left == 0 {
            return Ok(());
        }
        let mut acks = self.output.write(letters).await?;
        loop {
            for ack in std::mem::take(&mut acks) {
                if let Some(error) = ack.error {
                    return Err(error.context("a dead letter was refused"));
                }
                left = left.saturating_sub(1);
            }
            if left == 0 {
                return Ok(());
            }
            let start = Instant::now();
            acks = self.output.flush(FLUSH_WAIT).await?;
            if acks.is_empty() && start.elapsed() < FLUSH_PAUSE {
                sleep(FLUSH_PAUSE).await;
            }
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<O: Output, D: Output> Output for WithDeadLetters<O, D> {
    async fn open(&mut self) -> Result<()> {
        if let Some(letters) = &mut self.letters {
            letters.output.open().await?;
        }
        self.output.open().await
    }

    async fn write(&mut self, records: Vec<Record>) -> Result<Vec<Ack>> {
        if self.letters.is_none() {
            return self.output.write(records).await;
        }
        let mut whole = Vec::with_capacity(records.len());
        for record in records {
            whole.push(self.retain(record).await?);
        }
        let acks = self.output.write(whole).await?;
        self.replace_refusals(acks).await
    }

    async fn flush(&mut self, wait: Duration) -> Result<Vec<Ack>> {
        let acks = self.output.flush(wait).await?;
        self.replace_refusals(acks).await
    }

    async fn teardown(&mut self) -> Result<()> {
        self.retained.clear();
        let torn_down = self.output.teardown().await;
        match &mut self.letters {
            Some(letters) => torn_down.and(letters.output.teardown().await),
            None => torn_down,
        }
    }

    async fn renew(&mut self) -> Result<bool> {
        self.retained.clear();
        if let Some(letters) = &mut self.letters
            && !letters.output.renew().await?
        {
            return Ok(false);
        }
        self.output.renew().await
    }

    fn failing_for(&self) -> Option<Duration> {
        let letters = self.letters.as_ref();
        let letters = letters.and_then(|letters| letters.output.failing_for());
        self.output.failing_for().max(letters)
    }

    fn can_renew(&self) -> bool {
        self.output.can_renew()
    }
}
