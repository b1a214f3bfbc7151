//! Owns the status: what each pipeline does, how far it has come and what went wrong, as JSON. Leaves numbers over time to
//! `metrics` and `history`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Reload, Side, Watched, WatchedConnector};
use crate::pipeline::{Counts, Phase, Trouble};
use crate::printable::{self, MESSAGE_BYTES_MAX};

/// Skipped objects that a status lists of a pipeline, the latest ones. The metrics have their number.
const SKIPPED_MAX: usize = 20;

/// Bytes of a position that are shown; those of the connector are shorter.
const POSITION_BYTES_MAX: usize = 4096;

/// How things stand. Fields may be added.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Status {
    /// The version of this library.
    pub version: &'static str,
    /// When it began to look, in RFC 3339.
    pub started_at: String,
    /// Now, in RFC 3339.
    pub now: String,
    /// Whether every pipeline moves records, waits for them or is done.
    pub ready: bool,
    /// When the configuration was last read again, and what came of it; `null` before the first time.
    pub reload: Option<ReloadStatus>,
    /// In the order in which they were given.
    pub pipelines: Vec<PipelineStatus>,
}

/// What a pipeline does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum State {
    /// It opens its source and its destination.
    Opening,
    /// It reads what is there.
    Snapshot,
    /// It reads what has changed.
    Changes,
    /// Everything that it found is stored, and it waits for changes.
    CaughtUp,
    /// It can't go on, and tries to.
    Interrupted,
    /// It is done, or was stopped.
    Ended,
    /// It has failed, and is not run again.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Opening, Self::Snapshot, Self::Changes, Self::CaughtUp, Self::Interrupted, Self::Ended, Self::Failed];

    /// Its name in metrics and in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Snapshot => "snapshot",
            Self::Changes => "changes",
            Self::CaughtUp => "caught-up",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// That of a pipeline with these counts.
    #[must_use]
    pub fn of(counts: &Counts) -> Self {
        match &counts.phase {
            Phase::Opening => Self::Opening,
            Phase::Interrupted(_) => Self::Interrupted,
            Phase::Ended(_) => Self::Ended,
            Phase::Failed(_) => Self::Failed,
            Phase::Running if counts.is_caught_up() => Self::CaughtUp,
            Phase::Running if counts.source.counter("snapshot") == 1 => Self::Snapshot,
            Phase::Running => Self::Changes,
        }
    }
}

/// How a pipeline stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PipelineStatus {
    /// Its id.
    pub id: String,
    /// What it does.
    pub state: State,
    /// Records that were read.
    pub records_read: u64,
    /// Records that are stored, dead letters among them.
    pub records_stored: u64,
    /// Records that the destination refused, and that became dead letters.
    pub dead_letters: u64,
    /// Bytes of payloads that were read.
    pub bytes_read: u64,
    /// Changes that are found and not read yet.
    pub due: u64,
    /// Seconds since when something may be missing at the destination; 0 where nothing is, `null` before everything was
    /// delivered for the first time.
    pub lag_seconds: Option<f64>,
    /// Keys that the source knows.
    pub keys: u64,
    /// Completed polls, and how long the latest one's listing took.
    pub polls: u64,
    /// Seconds of the latest poll's listing.
    pub poll_seconds: f64,
    /// Bytes that the source keeps between runs.
    pub state_bytes: u64,
    /// The position of the last record that was stored, in base64 after `base64:` where it is no text.
    pub position: Option<String>,
    /// The interruption that lasts.
    pub outage: Option<TroubleStatus>,
    /// Interruptions so far.
    pub outages: u64,
    /// The latest failure, mended or not.
    pub last_error: Option<TroubleStatus>,
    /// How many objects were skipped.
    pub skipped: u64,
    /// The latest of them: keys and reasons.
    pub skipped_objects: Vec<SkippedStatus>,
    /// Its source, destination and dead-letter queue.
    pub connectors: Vec<ConnectorStatus>,
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ReloadStatus {
    /// When it was read, in RFC 3339.
    pub at: String,
    /// Why nothing was changed; `null` if it was done.
    pub error: Option<String>,
}

/// Why something does not go on, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct TroubleStatus {
    /// When it began, in RFC 3339.
    pub since: String,
    /// Why, for people.
    pub why: String,
}

/// An object that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SkippedStatus {
    /// Its key.
    pub key: String,
    /// Why it was skipped.
    pub reason: String,
}

/// How a source or destination stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ConnectorStatus {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub side: Side,
    /// Its plugin.
    pub plugin: String,
    /// Requests that were sent.
    pub requests: u64,
    /// Requests without an answer, or with a status of 400 and above.
    pub errors: u64,
    /// Requests that the store refused since there were too many.
    pub throttled: u64,
    /// Requests that were sent once more.
    pub retries: u64,
    /// Bytes of answers' bodies.
    pub bytes_received: u64,
    /// Bytes of requests' bodies.
    pub bytes_sent: u64,
    /// Bytes of its instance's memory.
    pub memory_bytes: u64,
    /// Requests by operation.
    pub operations: BTreeMap<&'static str, u64>,
    /// Batches that were stored.
    pub batches: u64,
    /// What its requests cost in US dollars at list prices of S3 Standard in us-east-1, without storage and transfer.
    pub cost_dollars: f64,
}

impl Status {
    pub(super) fn of(started: SystemTime, reload: Option<Reload>, watched: &[Arc<Watched>], now: SystemTime) -> Self {
        let mut status = Self {
            version: env!("CARGO_PKG_VERSION"),
            started_at: rfc3339(started),
            now: rfc3339(now),
            ready: false,
            reload: reload.map(|Reload { at, problem }| ReloadStatus {
                at: rfc3339(at),
                error: problem.map(|problem| printable::lines(&problem, MESSAGE_BYTES_MAX).into_owned()),
            }),
            pipelines: watched.iter().map(|watched| PipelineStatus::of(watched, now)).collect(),
        };
        status.ready = status.reasons().is_empty();
        status
    }

    /// Why it is not ready, a line for each pipeline.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.pipelines.iter().filter_map(PipelineStatus::reason).collect()
    }
}

impl PipelineStatus {
    fn of(watched: &Watched, now: SystemTime) -> Self {
        let counts = watched.counts.borrow().clone();
        let source = &counts.source;
        let skipped = source.skipped.objects();
        let skipped_objects = skipped.iter().rev().take(SKIPPED_MAX).rev();
        Self {
            id: watched.id.clone(),
            state: State::of(&counts),
            records_read: counts.read,
            records_stored: counts.acked,
            dead_letters: watched.dead_letters(),
            bytes_read: counts.bytes,
            due: source.counter("due"),
            lag_seconds: counts.lag(now).map(|lag| lag.as_secs_f64()),
            keys: source.counter("keys"),
            polls: source.counter("polls"),
            poll_seconds: Duration::from_millis(source.counter("poll-ms")).as_secs_f64(),
            state_bytes: source.counter("state-bytes"),
            position: counts.position.as_deref().map(position),
            outage: match &counts.phase {
                Phase::Interrupted(trouble) => Some(trouble.into()),
                _ => None,
            },
            outages: counts.outages,
            last_error: counts.failure.as_ref().map(TroubleStatus::from),
            skipped: skipped.len() as u64 + source.skipped.beyond(),
            skipped_objects: skipped_objects
                .map(|object| SkippedStatus { key: object.key.clone(), reason: object.reason.clone() })
                .collect(),
            connectors: watched.connectors.iter().map(ConnectorStatus::of).collect(),
        }
    }

    fn reason(&self) -> Option<String> {
        let id = &self.id;
        let why = |trouble: &Option<TroubleStatus>| match trouble {
            Some(TroubleStatus { since, why }) => format!(" since {since}: {why}"),
            None => String::new(),
        };
        match self.state {
            State::Opening => Some(format!("pipeline `{id}` is opening")),
            State::Interrupted => Some(format!("pipeline `{id}` is interrupted{}", why(&self.outage))),
            State::Failed => Some(format!("pipeline `{id}` has failed{}", why(&self.last_error))),
            State::Snapshot | State::Changes | State::CaughtUp | State::Ended => None,
        }
    }
}

impl ConnectorStatus {
    fn of(connector: &WatchedConnector) -> Self {
        let tally = connector.tally.clone().unwrap_or_default();
        let traffic = tally.traffic();
        let operations = traffic.by_operation.iter();
        Self {
            id: connector.id.clone(),
            side: connector.side,
            plugin: connector.plugin.clone(),
            requests: traffic.requests,
            errors: traffic.errors,
            throttled: traffic.throttled,
            retries: tally.retries(),
            bytes_received: traffic.bytes_in,
            bytes_sent: traffic.bytes_out,
            memory_bytes: tally.memory_bytes(),
            operations: operations.map(|(operation, counts)| (operation.name(), counts.requests)).collect(),
            batches: tally.batches().map(|batches| batches.batches).sum(),
            cost_dollars: traffic.cost_dollars(),
        }
    }
}

impl From<&Trouble> for TroubleStatus {
    fn from(trouble: &Trouble) -> Self {
        let why = printable::line(&trouble.why, MESSAGE_BYTES_MAX).into_owned();
        Self { since: rfc3339(trouble.since), why }
    }
}

/// A time to the second in UTC.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time).replace_millisecond(0);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

fn position(position: &[u8]) -> String {
    match std::str::from_utf8(position) {
        Ok(text) => printable::line(text, POSITION_BYTES_MAX).into_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(&position[..position.len().min(POSITION_BYTES_MAX)])),
    }
}
