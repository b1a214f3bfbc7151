//! Owns the form of the head, of chunks of plans and of corrections as they are saved, apart from the types that the
//! source works with. Leaves their names to `checkpoint`, and the catalogue's form to it.
//!
//! **Positional: append only.** postcard writes fields by their place and cases by their number, so whatever is added
//! to, removed from or moved within these types makes saved state unreadable. A case may be added at the end of an enum
//! that has cases; any other change is a new set of types and another [`VERSION`], with these kept to read the old one.
//! `witness.txt` holds bytes of each, which a test compares.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Corrected, Correction, Head, Stage};
use crate::ports::STATE_NAME_BYTES_MAX;
use crate::position::Phase;
use crate::record::Operation;
use crate::source::catalogue::{decode_known, encode_known};
use crate::source::identity::{Digest, Digester};
use crate::source::judge::{Has, Rule};
use crate::source::plan::{Due, Plan, Previous};
use crate::time::Timestamp;

/// The first byte of what is saved.
pub(super) const VERSION: u8 = 1;

/// What is saved of a value.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, vec![VERSION]).expect("a vector takes all that is written")
}

/// The value of which this was saved; `None` if it is damaged, or of another version.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (version, bytes) = bytes.split_first()?;
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    Some(value).filter(|_| *version == VERSION && rest.is_empty())
}

/// Milliseconds since the Unix epoch.
type SavedTime = u64;

/// [`Head`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedHead<'a> {
    run: u64,
    #[serde(borrow)]
    first: SavedRule<'a>,
    keys: (u64, u64),
    has_versions: Option<bool>,
    #[serde(borrow)]
    stage: SavedStage<'a>,
    cut: SavedTime,
    plans: Vec<SavedPlan>,
    next_plan: u64,
    acked: Option<(u64, u64)>,
    has_dropped: bool,
    next_segment: u64,
    manifest: (u64, u32),
    corrections: u64,
    #[serde(borrow)]
    garbage: Vec<Cow<'a, str>>,
}

/// [`Stage`].
#[derive(Serialize, Deserialize)]
enum SavedStage<'a> {
    First {
        #[serde(borrow)]
        rule: SavedRule<'a>,
        #[serde(borrow)]
        covered: Option<Cow<'a, str>>,
    },
    Polls,
}

/// [`Rule`].
#[derive(Serialize, Deserialize)]
enum SavedRule<'a> {
    Changes,
    Snapshot,
    Now,
    Since(SavedTime),
    Resumed {
        #[serde(borrow)]
        after: Cow<'a, str>,
        since: SavedTime,
    },
}

/// [`Plan`].
#[derive(Serialize, Deserialize)]
struct SavedPlan {
    id: u64,
    is_snapshot: bool,
    cut: SavedTime,
    runs: Vec<u32>,
    count: u64,
    bytes: u64,
}

/// [`Due`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedDue<'a> {
    order: SavedTime,
    #[serde(borrow)]
    key: Cow<'a, str>,
    age: u32,
    operation: SavedOperation,
    last_modified: SavedTime,
    #[serde(borrow)]
    version_id: Cow<'a, str>,
    is_latest: bool,
    #[serde(borrow)]
    etag: Cow<'a, str>,
    size: u64,
    digest: u64,
    had: SavedHas,
    #[serde(borrow)]
    previous: Option<SavedPrevious<'a>>,
    #[serde(borrow)]
    gone: Option<Cow<'a, [u8]>>,
}

/// [`Has`].
#[derive(Serialize, Deserialize)]
enum SavedHas {
    Nothing,
    Object(u64),
    Doubtful,
}

/// [`Previous`].
#[derive(Serialize, Deserialize)]
struct SavedPrevious<'a> {
    #[serde(borrow)]
    version_id: Cow<'a, str>,
    last_modified: SavedTime,
    #[serde(borrow)]
    etag: Cow<'a, str>,
    size: u64,
}

/// What happened to an object.
#[derive(Serialize, Deserialize)]
enum SavedOperation {
    Create,
    Update,
    Delete,
    Snapshot,
}

/// [`Correction`].
#[derive(Serialize, Deserialize)]
pub(super) struct SavedCorrection<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    digest: u64,
    #[serde(borrow)]
    now: SavedCorrected<'a>,
}

/// [`Corrected`].
#[derive(Serialize, Deserialize)]
enum SavedCorrected<'a> {
    Untold {
        has: SavedHas,
    },
    Told(u64),
    #[serde(borrow)]
    Kept(Cow<'a, [u8]>),
    Deleted,
}

impl<'a> From<&'a Head> for SavedHead<'a> {
    fn from(head: &'a Head) -> Self {
        Self {
            run: head.run,
            first: (&head.first).into(),
            keys: head.digester.keys,
            has_versions: head.has_versions,
            stage: match &head.stage {
                Stage::First { rule, covered } => {
                    SavedStage::First { rule: rule.into(), covered: covered.as_deref().map(Cow::Borrowed) }
                }
                Stage::Polls => SavedStage::Polls,
            },
            cut: head.cut.0,
            plans: head.plans.iter().map(SavedPlan::from).collect(),
            next_plan: head.next_plan,
            acked: head.acked,
            has_dropped: head.has_dropped,
            next_segment: head.next_segment,
            manifest: head.manifest,
            corrections: head.corrections,
            garbage: head.garbage.iter().map(|name| Cow::Borrowed(&**name)).collect(),
        }
    }
}

impl From<SavedHead<'_>> for Head {
    fn from(saved: SavedHead<'_>) -> Self {
        Self {
            run: saved.run,
            first: saved.first.into(),
            digester: Digester { keys: saved.keys },
            has_versions: saved.has_versions,
            stage: match saved.stage {
                SavedStage::First { rule, covered } => {
                    Stage::First { rule: rule.into(), covered: covered.map(Cow::into_owned) }
                }
                SavedStage::Polls => Stage::Polls,
            },
            cut: Timestamp(saved.cut),
            plans: saved.plans.into_iter().map(Plan::from).collect(),
            next_plan: saved.next_plan,
            acked: saved.acked,
            has_dropped: saved.has_dropped,
            next_segment: saved.next_segment,
            manifest: saved.manifest,
            corrections: saved.corrections,
            garbage: saved.garbage.into_iter().map(Cow::into_owned).collect(),
        }
    }
}

/// Numbers that go up by one for each value that is saved: no source gets there.
const NUMBER_MAX: u64 = 1 << 62;

/// Chunks of a plan. A poll that tells of a billion changes has fewer.
const CHUNKS_MAX: u64 = 1 << 22;

impl Head {
    /// Whether a source can have saved it. What is decoded may be anything, where it was damaged: names that no host takes,
    /// plans without changes, and more values than there are names for.
    pub(super) fn is_sound(&self) -> bool {
        let numbers = [self.next_plan, self.next_segment, self.manifest.0, self.corrections];
        let mut before = 0;
        let mut is_next = |plan: &Plan| {
            let chunks: u64 = plan.runs.iter().map(|chunks| u64::from(*chunks)).sum();
            let is_next = plan.id > before && plan.id < self.next_plan;
            before = plan.id;
            is_next && (1..=plan.count.min(CHUNKS_MAX)).contains(&chunks)
        };
        let mut names = BTreeSet::new();
        let is_name = |name: &str| {
            let (kind, place) = name.split_at_checked(2).unwrap_or_default();
            ["s-", "m-", "p-", "f-"].contains(&kind)
                && name.len() <= STATE_NAME_BYTES_MAX
                && place.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        };
        numbers.into_iter().all(|number| number < NUMBER_MAX)
            && self.acked.is_none_or(|(plan, _)| plan < self.next_plan)
            && self.plans.iter().all(&mut is_next)
            && self.garbage.iter().all(|name| is_name(name) && names.insert(name))
    }
}

impl<'a> From<&'a Rule> for SavedRule<'a> {
    fn from(rule: &'a Rule) -> Self {
        match rule {
            Rule::Changes => Self::Changes,
            Rule::Snapshot => Self::Snapshot,
            Rule::Now => Self::Now,
            Rule::Since(since) => Self::Since(since.0),
            Rule::Resumed { after, since } => Self::Resumed { after: Cow::Borrowed(after), since: since.0 },
        }
    }
}

impl From<SavedRule<'_>> for Rule {
    fn from(saved: SavedRule<'_>) -> Self {
        match saved {
            SavedRule::Changes => Self::Changes,
            SavedRule::Snapshot => Self::Snapshot,
            SavedRule::Now => Self::Now,
            SavedRule::Since(since) => Self::Since(Timestamp(since)),
            SavedRule::Resumed { after, since } => Self::Resumed { after: after.into_owned(), since: Timestamp(since) },
        }
    }
}

impl From<&Plan> for SavedPlan {
    fn from(plan: &Plan) -> Self {
        let Plan { id, phase, cut, runs, count, bytes } = plan;
        let is_snapshot = *phase == Phase::Snapshot;
        Self { id: *id, is_snapshot, cut: cut.0, runs: runs.clone(), count: *count, bytes: *bytes }
    }
}

impl From<SavedPlan> for Plan {
    fn from(saved: SavedPlan) -> Self {
        let SavedPlan { id, is_snapshot, cut, runs, count, bytes } = saved;
        let phase = if is_snapshot { Phase::Snapshot } else { Phase::Changes };
        Self { id, phase, cut: Timestamp(cut), runs, count, bytes }
    }
}

impl<'a> From<&'a Due> for SavedDue<'a> {
    fn from(due: &'a Due) -> Self {
        Self {
            order: due.order.0,
            key: Cow::Borrowed(&due.key),
            age: due.age,
            operation: due.operation.into(),
            last_modified: due.last_modified.0,
            version_id: Cow::Borrowed(&due.version_id),
            is_latest: due.is_latest,
            etag: Cow::Borrowed(&due.etag),
            size: due.size,
            digest: due.digest.0,
            had: due.had.into(),
            previous: due.previous.as_deref().map(Into::into),
            gone: due.gone.as_deref().map(Cow::Borrowed),
        }
    }
}

impl From<SavedDue<'_>> for Due {
    fn from(saved: SavedDue<'_>) -> Self {
        Self {
            order: Timestamp(saved.order),
            key: saved.key.into_owned(),
            age: saved.age,
            operation: saved.operation.into(),
            last_modified: Timestamp(saved.last_modified),
            version_id: saved.version_id.into_owned(),
            is_latest: saved.is_latest,
            etag: saved.etag.into_owned(),
            size: saved.size,
            digest: Digest(saved.digest),
            had: saved.had.into(),
            previous: saved.previous.map(|previous| Box::new(previous.into())),
            gone: saved.gone.map(Cow::into_owned),
        }
    }
}

impl From<Has> for SavedHas {
    fn from(has: Has) -> Self {
        match has {
            Has::Nothing => Self::Nothing,
            Has::Object(digest) => Self::Object(digest.0),
            Has::Doubtful => Self::Doubtful,
        }
    }
}

impl From<SavedHas> for Has {
    fn from(saved: SavedHas) -> Self {
        match saved {
            SavedHas::Nothing => Self::Nothing,
            SavedHas::Object(digest) => Self::Object(Digest(digest)),
            SavedHas::Doubtful => Self::Doubtful,
        }
    }
}

impl<'a> From<&'a Previous> for SavedPrevious<'a> {
    fn from(previous: &'a Previous) -> Self {
        let Previous { version_id, last_modified, etag, size } = previous;
        let (version_id, etag) = (Cow::Borrowed(&**version_id), Cow::Borrowed(&**etag));
        Self { version_id, last_modified: last_modified.0, etag, size: *size }
    }
}

impl From<SavedPrevious<'_>> for Previous {
    fn from(saved: SavedPrevious<'_>) -> Self {
        let SavedPrevious { version_id, last_modified, etag, size } = saved;
        let last_modified = Timestamp(last_modified);
        Self { version_id: version_id.into_owned(), last_modified, etag: etag.into_owned(), size }
    }
}

impl From<Operation> for SavedOperation {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Create => Self::Create,
            Operation::Update => Self::Update,
            Operation::Delete => Self::Delete,
            Operation::Snapshot => Self::Snapshot,
        }
    }
}

impl From<SavedOperation> for Operation {
    fn from(saved: SavedOperation) -> Self {
        match saved {
            SavedOperation::Create => Self::Create,
            SavedOperation::Update => Self::Update,
            SavedOperation::Delete => Self::Delete,
            SavedOperation::Snapshot => Self::Snapshot,
        }
    }
}

impl<'a> From<&'a Correction> for SavedCorrection<'a> {
    fn from(correction: &'a Correction) -> Self {
        let Correction { key, digest, now } = correction;
        let now = match now {
            Corrected::Untold { has } => SavedCorrected::Untold { has: (*has).into() },
            Corrected::Told(replaced) => SavedCorrected::Told(replaced.0),
            Corrected::Kept(known) => SavedCorrected::Kept(Cow::Owned(encode_known(known))),
            Corrected::Deleted => SavedCorrected::Deleted,
        };
        Self { key: Cow::Borrowed(key), digest: digest.0, now }
    }
}

impl From<SavedCorrection<'_>> for Correction {
    fn from(saved: SavedCorrection<'_>) -> Self {
        let now = match saved.now {
            SavedCorrected::Untold { has } => Corrected::Untold { has: has.into() },
            SavedCorrected::Told(replaced) => Corrected::Told(Digest(replaced)),
            SavedCorrected::Deleted => Corrected::Deleted,
            SavedCorrected::Kept(known) => match decode_known(&known) {
                Some(known) => Corrected::Kept(known),
                // What was written by this very type; otherwise the next poll tells the key again.
                None => Corrected::Untold { has: Has::Doubtful },
            },
        };
        Self { key: saved.key.into_owned(), digest: Digest(saved.digest), now }
    }
}

#[cfg(test)]
mod tests;
