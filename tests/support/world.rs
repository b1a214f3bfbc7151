//! Owns the worlds in which a case runs, saved state, and what cases do with connectors again and again.
//!
//! Leaves what a case expects to the case. `suite` runs one body in every world, `env` makes buckets, `bucket` is what
//! a case acts on, through a `backend`; `handles` are the connectors; how a world works is in `native`, `remote` and
//! `relay`.

mod backend;
mod bucket;
mod env;
mod handles;
mod native;
mod relay;
mod remote;
mod signed;
mod suite;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use s3_connector_host::environment::Environment;
use s3_connector_host::record::NoBody;
use s3_connector_host::state::{MemoryState, StateStore};
use s3_connector_host::{Ack, Connector, Error, Options as LoadOptions, Result};
use tokio::sync::OnceCell;

pub use bucket::{Allowed, Bucket, Listing, Upload, Version};
pub use env::{Conditions, Env};
pub use handles::{Destination as AnyDestination, Source as AnySource, acked};
pub use native::{NativeBody, NativePorts};
pub use remote::{Listed, Page};
pub use suite::{Case, WorldKind, run, table};

/// A record whose data are all in memory.
pub type Record = s3_connector::record::Record<NoBody>;
/// A key or a payload in memory.
pub type Data = s3_connector::record::Data<NoBody>;

/// The bucket that cases use.
pub const BUCKET: &str = "conformance";

/// How long a case waits for what must come. Far more than it takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often a case asks for acks that must come.
const FLUSHES_MAX: u32 = 6;

/// Saved state that outlives a source; `None` for a host that keeps nothing.
#[derive(Clone, Default)]
pub struct SavedState(Option<Arc<dyn StateStore>>);

impl SavedState {
    /// A host that keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// A host that keeps state in memory.
    pub fn memory() -> Self {
        Self(Some(Arc::new(MemoryState::default())))
    }

    /// Whether anything is kept.
    pub fn keeps(&self) -> bool {
        self.0.is_some()
    }

    fn store(&self) -> Option<Arc<dyn StateStore>> {
        self.0.clone()
    }
}

/// The component, compiled once for the whole process.
pub async fn connector() -> Connector {
    static CONNECTOR: OnceCell<Connector> = OnceCell::const_new();
    let load = || async { Connector::load(load()).await.expect("it loads") };
    CONNECTOR.get_or_init(load).await.clone()
}

/// How tests load the component: compiled code is kept from one run to the next, and nothing is taken from the
/// environment of the user who runs them.
pub(crate) fn load() -> LoadOptions {
    let cache = std::env::temp_dir().join("s3-connector-tests-cache");
    LoadOptions {
        cache: Some(cache),
        environment: Some(Environment::of([])),
        core_dumps: true,
        ..LoadOptions::default()
    }
}

/// Polls that end after a moment: the first may have begun before it, so only the second saw all that was there.
const POLLS_TO_SEE_ALL: u64 = 2;

/// Reads and acks until the source has caught up with all that is there by now.
///
/// # Errors
///
/// The source's.
pub async fn read_all(source: &mut handles::Source) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let read = async {
        let polls = source.progress().await?.counter("polls") + POLLS_TO_SEE_ALL;
        loop {
            let batch = source.read(100, Duration::from_millis(200)).await?;
            let Some(last) = batch.last().map(|record| record.position.clone()) else {
                let progress = source.progress().await?;
                if progress.caught_up && progress.counter("polls") >= polls {
                    return Ok::<_, Error>(());
                }
                continue;
            };
            records.extend(batch);
            source.ack(&last).await?;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the source catches up")?;
    Ok(records)
}

/// Reads exactly this many records, acking none.
///
/// # Errors
///
/// The source's.
pub async fn read_some(source: &mut handles::Source, count: usize) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let read = async {
        while records.len() < count {
            let wanted = u32::try_from(count - records.len()).expect("cases are small");
            records.extend(source.read(wanted, Duration::from_millis(200)).await?);
        }
        Ok::<_, Error>(())
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the records come")?;
    Ok(records)
}

/// Flushes until this many acks came.
///
/// # Errors
///
/// The destination's.
pub async fn flush(destination: &mut handles::Destination, count: usize) -> Result<Vec<Ack>> {
    let mut acks = Vec::new();
    // With nothing outstanding it returns at once, so that no time would ever run out.
    for _ in 0..FLUSHES_MAX {
        if acks.len() >= count {
            break;
        }
        acks.extend(destination.flush(PATIENCE / FLUSHES_MAX).await?);
    }
    assert!(acks.len() >= count, "the acks come: {acks:?}");
    Ok(acks)
}

/// The key of a record as text.
pub fn key(record: &Record) -> String {
    match &record.key {
        Some(Data::Raw(bytes)) => String::from_utf8(bytes.to_vec()).expect("keys of S3 are UTF-8"),
        other => panic!("a source's keys are raw bytes, not {other:?}"),
    }
}

/// The payload of a record; `None` for a delete.
pub fn payload(record: &Record) -> Option<Bytes> {
    match &record.payload.after {
        Some(Data::Raw(bytes)) => Some(bytes.clone()),
        None => None,
        other => panic!("a source's payloads are raw bytes, not {other:?}"),
    }
}

/// `operation key payload` of each record, for comparing at a glance.
pub fn summary(records: &[Record]) -> Vec<String> {
    let line = |record: &Record| {
        let body = payload(record).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (operation, key) = (record.operation.as_str(), key(record));
        [operation, &key, body.as_deref().unwrap_or("-")].join(" ")
    };
    records.iter().map(line).collect()
}
