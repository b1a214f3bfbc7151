//! Owns a source of records: the contract's calls, typed. Leaves reading, acking and stopping in the right order to
//! `pipeline` or to the program that embeds this library.
//!
//! Calls go one after the other, since an instance runs one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::bindings::{Connector as Exports, source, types};
use crate::connector::Connector;
use crate::connector::handle::{Handle, Origin};
use crate::connector::instance::{Context, InstanceOptions};
use crate::connector::settings::{Settings, Target};
use crate::credentials::Credentials;
use crate::egress::Traffic;
use crate::environment::InferredSetting;
use crate::error::Result;
use crate::record::{self, Record};
use crate::role::Role;
use crate::skipped::Skipped;
use crate::state::MemoryState;
use crate::tally::Tally;

/// Bytes of the records that one read hands over, without those of bodies: 256 records of the largest payload that
/// travels in its record.
pub const READ_BYTES_MAX: u64 = 16 << 20;

/// Bytes of a position. The connector's own hold a key of at most 1 KiB, escaped, and some numbers.
const POSITION_BYTES_MAX: usize = 64 << 10;

/// Counters of a source, and bytes of their names. The connector has eight, of at most twelve bytes.
const COUNTERS_MAX: usize = 64;
const COUNTER_NAME_BYTES_MAX: usize = 64;

/// A source of records: a snapshot of a bucket, then every change.
///
/// # Examples
///
/// The keys of a bucket, up to now:
///
/// ```no_run
/// # async fn example(connector: s3_connector_host::Connector) -> s3_connector_host::Result<()> {
/// use std::time::{Duration, SystemTime};
///
/// use s3_connector_host::{InstanceOptions, Settings};
///
/// let settings = Settings::from([("aws.bucket".to_owned(), "photos".to_owned())]);
/// let mut source = connector.source(settings, InstanceOptions::default()).await?;
/// source.open(None).await?;
/// while !source.progress().await?.caught_up {
///     let records = source.read(100, Duration::from_secs(1)).await?;
///     let position = records.last().map(|record| record.position.clone());
///     for record in records {
///         println!("{:?}", record.key);
///     }
///     // Streams of these records were dropped with them; now the source may let go of what they came from.
///     if let Some(position) = position {
///         source.ack(&position).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Source {
    handle: Handle,
}

/// The counters that say how things stand. All others only grow.
const STANDING: [&str; 8] = ["due", "keys", "segments", "state-bytes", "lag-ms", "caught-up-ms", "snapshot", "poll-ms"];

/// How far a source has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the latest look over the bucket found nothing that was not read before it.
    pub caught_up: bool,
    /// What was counted, by name: `listed`, `read`, `bytes`, `skipped`, `polls`, `retries`, and what stands for now:
    /// `due`, `keys`, `segments`, `state-bytes`, `lag-ms`, `caught-up-ms`, `snapshot`, `poll-ms`.
    pub counters: BTreeMap<String, u64>,
    /// Objects that were passed over, and why.
    pub skipped: Skipped,
}

impl Progress {
    /// This, and what instances before this one counted: what stands for now is this one's alone.
    pub(crate) fn on_top_of(mut self, earlier: &Self) -> Self {
        for (name, count) in &earlier.counters {
            if !STANDING.contains(&name.as_str()) {
                *self.counters.entry(name.clone()).or_default() += count;
            }
        }
        if !earlier.skipped.is_empty() {
            let mut skipped = earlier.skipped.clone();
            skipped.absorb(&self.skipped);
            self.skipped = skipped;
        }
        self
    }

    /// How long something may have been missing at the reader: none where nothing was when the source looked last. `None` before
    /// everything was delivered for the first time, since nobody knows how much is left.
    pub fn lag(&self, now: SystemTime) -> Option<Duration> {
        let caught_up_ms = self.counter("caught-up-ms");
        if self.caught_up {
            return Some(Duration::ZERO);
        }
        if caught_up_ms == 0 {
            return None;
        }
        let since =
            now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_millis(caught_up_ms)).unwrap_or_default();
        // By the store's clock, and older.
        Some(since.max(Duration::from_millis(self.counter("lag-ms"))))
    }

    /// The counter of that name, or 0.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }
}

impl Connector {
    /// Makes a source: fills what the environment has, checks the settings, chooses credentials. No request is
    /// sent before `open`.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming every setting that is unknown, missing or malformed.
    pub async fn source(&self, settings: Settings, mut options: InstanceOptions) -> Result<Source> {
        options.state.get_or_insert_with(|| Arc::new(MemoryState::default()));
        Source::configure(Origin { connector: self.clone(), settings, options, tally: Tally::default() }).await
    }
}

impl Source {
    async fn configure(origin: Origin) -> Result<Self> {
        let configure = async |exports: &Exports, store: &mut _, settings: &_| {
            exports.opencdc_connector_source().source().call_configure(store, settings).await
        };
        Ok(Self { handle: Handle::configure(origin, Role::Source, configure).await? })
    }

    /// Checks the bucket and goes on after `position`, or begins with a snapshot.
    ///
    /// # Errors
    ///
    /// `Corrupt` where the position or its state can't be read, `Invalid` where the bucket does not exist,
    /// `Denied` where it may not be listed, `Unavailable` where the store does not answer.
    pub async fn open(&mut self, position: Option<&[u8]>) -> Result<()> {
        let position = position.map(<[u8]>::to_vec);
        let open = async |exports: &Exports, store: &mut _, source| {
            exports.opencdc_connector_source().source().call_open(store, source, position.as_ref()).await
        };
        self.handle.call(open).await?;
        self.handle.opened();
        Ok(())
    }

    /// Reads at most `records_max` records; waits at most `wait` for the first. None may have come by then.
    ///
    /// # Errors
    ///
    /// Whatever stopped the source; a new one may go on at the last acked position.
    pub async fn read(&mut self, records_max: u32, wait: Duration) -> Result<Vec<Record>> {
        self.read_at_most(records_max, READ_BYTES_MAX, wait).await
    }

    /// Reads as [`read`](Self::read) does, and at most `bytes_max` bytes: positions, metadata, keys and payloads, but
    /// not what comes by stream. One record may always come, however large it is.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn read_at_most(&mut self, records_max: u32, bytes_max: u64, wait: Duration) -> Result<Vec<Record>> {
        let records_max = records_max.max(1);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let read = async |exports: &Exports, store: &mut _, source| {
            exports.opencdc_connector_source().source().call_read(store, source, records_max, bytes_max, wait_ms).await
        };
        let batch = self.handle.call(read).await?;
        if batch.records.is_empty() {
            self.handle.settle();
        }
        if let Some(why) = broken_rule(&batch, records_max, bytes_max) {
            return Err(self.handle.break_off(&why));
        }
        record::lift(batch, self.handle.table())
    }

    /// Takes note that the record at `position` and all before it are dealt with. Keep the position first.
    ///
    /// # Errors
    ///
    /// `Invalid` where no unacked record has that position.
    pub async fn ack(&mut self, position: &[u8]) -> Result<()> {
        let position = position.to_vec();
        let ack = async |exports: &Exports, store: &mut _, source| {
            exports.opencdc_connector_source().source().call_ack(store, source, &position).await
        };
        self.handle.call(ack).await
    }

    /// How far the source has come.
    ///
    /// # Errors
    ///
    /// Only if the instance is gone.
    pub async fn progress(&mut self) -> Result<Progress> {
        let progress = self.handle.call_infallible(progress).await?;
        let is_long = |(name, _): &(String, u64)| name.len() > COUNTER_NAME_BYTES_MAX;
        if progress.counters.len() > COUNTERS_MAX || progress.counters.iter().any(is_long) {
            let why = format!(
                "its progress has more than {COUNTERS_MAX} counters, or names of more than {COUNTER_NAME_BYTES_MAX} bytes"
            );
            return Err(self.handle.break_off(&why));
        }
        Ok(Progress {
            caught_up: progress.caught_up,
            counters: progress.counters.into_iter().collect(),
            skipped: self.handle.skipped(),
        })
    }

    /// Replaces this source by a new one, made from the same settings, as if it had never been opened. The environment
    /// is read and credentials are looked up again; saved state stays.
    ///
    /// # Errors
    ///
    /// As [`Connector::source`]. This one stays as it is.
    pub async fn renew(&mut self) -> Result<()> {
        *self = Self::configure(self.handle.origin().clone()).await?;
        Ok(())
    }

    /// The keys that requests are signed with.
    pub fn credentials(&self) -> &Credentials {
        self.handle.credentials()
    }

    /// Settings that were left out, and where they were found.
    pub fn inferred(&self) -> &[InferredSetting] {
        self.handle.inferred()
    }

    /// How long the store has given no answer that is of use; `None` where its last one was.
    pub fn failing_for(&self) -> Option<Duration> {
        self.handle.failing_for()
    }

    /// What is counted of it, while it is used and afterwards.
    pub fn tally(&self) -> Tally {
        self.handle.tally()
    }

    /// What went over the wire so far.
    pub fn traffic(&self) -> Traffic {
        self.handle.traffic()
    }

    /// Ends the source and its work in flight.
    ///
    /// # Errors
    ///
    /// Only if the instance is gone.
    pub async fn teardown(&mut self) -> Result<()> {
        let teardown = async |exports: &Exports, store: &mut _, source| {
            exports.opencdc_connector_source().source().call_teardown(store, source).await
        };
        self.handle.call(teardown).await
    }

    /// All of the component's memory as it stands, for proving what is not in it. Ends the source. Nothing unless
    /// the component was loaded with [`core_dumps`](crate::Options::core_dumps).
    #[doc(hidden)]
    pub async fn memory(self) -> Vec<u8> {
        self.handle.dump(progress).await
    }

    /// Where its settings lead.
    pub(crate) fn target(&self) -> &Target {
        self.handle.target()
    }
}

async fn progress(
    exports: &Exports,
    store: &mut Store<Context>,
    source: ResourceAny,
) -> wasmtime::Result<source::Progress> {
    exports.opencdc_connector_source().source().call_progress(store, source).await
}

/// What is wrong with what a read handed out, if anything is.
fn broken_rule(batch: &types::Batch, records_max: u32, bytes_max: u64) -> Option<String> {
    let records = &batch.records;
    if records.len() > records_max as usize {
        let count = records.len();
        return Some(format!("it handed out {count} records where {records_max} were asked for"));
    }
    let common: Vec<u64> = batch.common.iter().map(|metadata| record::metadata_bytes(metadata)).collect();
    let mut is_used = vec![false; common.len()];
    let mut bytes = 0;
    for record in records {
        bytes += record::inline_bytes(record);
        let Some(place) = record.common else { continue };
        let Some(more) = common.get(place as usize) else {
            return Some(format!("a record has metadata {place} of {} in common with others", common.len()));
        };
        // Where the record is written, all of it is.
        bytes = bytes.saturating_add(*more);
        is_used[place as usize] = true;
    }
    if records.len() > 1 && bytes > bytes_max {
        return Some(format!("it handed out records of {bytes} bytes where {bytes_max} were asked for"));
    }
    if is_used.contains(&false) {
        return Some("it handed out common metadata that no record has".to_owned());
    }
    let longest = records.iter().map(|record| record.position.len()).max()?;
    (longest > POSITION_BYTES_MAX)
        .then(|| format!("a position has {longest} bytes; positions have {POSITION_BYTES_MAX} at most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(position_bytes: usize) -> types::Record {
        types::Record {
            position: vec![1; position_bytes],
            operation: types::Operation::Create,
            metadata: Vec::new(),
            common: None,
            key: None,
            payload: types::Change { before: None, after: None },
        }
    }

    fn batch(position_bytes: &[usize]) -> types::Batch {
        types::Batch { records: position_bytes.iter().map(|bytes| record(*bytes)).collect(), common: Vec::new() }
    }

    /// A batch of records that have one of so many metadata of ten bytes in common.
    fn sharing(places: &[u32], common: usize) -> types::Batch {
        let records = places.iter().map(|place| types::Record { common: Some(*place), ..record(1) });
        let texts = vec![("five5".to_owned(), "five5".to_owned())];
        types::Batch { records: records.collect(), common: vec![texts; common] }
    }

    #[test]
    fn as_many_records_as_were_asked_for_and_positions_of_bounded_length_pass() {
        assert_eq!(broken_rule(&batch(&[]), 0, 0), None);
        let longest = batch(&[POSITION_BYTES_MAX, 1]);
        assert_eq!(broken_rule(&longest, 2, u64::MAX), None);
        let why = broken_rule(&longest, 1, u64::MAX).unwrap();
        assert_eq!(why, "it handed out 2 records where 1 were asked for");
        let why = broken_rule(&batch(&[1, POSITION_BYTES_MAX + 1]), 2, u64::MAX).unwrap();
        assert!(why.starts_with("a position has 65537 bytes"), "{why}");
    }

    #[test]
    fn more_bytes_than_were_asked_for_come_with_one_record_alone() {
        assert_eq!(broken_rule(&batch(&[11]), 2, 10), None);
        assert_eq!(broken_rule(&batch(&[4, 6]), 2, 10), None);
        let why = broken_rule(&batch(&[5, 6]), 2, 10).unwrap();
        assert_eq!(why, "it handed out records of 11 bytes where 10 were asked for");
    }

    #[test]
    fn common_metadata_count_for_each_record_and_are_some_records() {
        assert_eq!(broken_rule(&sharing(&[0, 1, 1], 2), 3, 33), None);
        let why = broken_rule(&sharing(&[0, 1, 1], 2), 3, 32).unwrap();
        assert_eq!(why, "it handed out records of 33 bytes where 32 were asked for");
        let why = broken_rule(&sharing(&[0, 2], 2), 3, 99).unwrap();
        assert_eq!(why, "a record has metadata 2 of 2 in common with others");
        for places in [&[][..], &[1]] {
            let why = broken_rule(&sharing(places, 2), 3, 99).unwrap();
            assert_eq!(why, "it handed out common metadata that no record has");
        }
    }
}
