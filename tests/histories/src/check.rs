//! Owns what a reader may rely on, checked record by record, whenever the source is idle, and at the end. Leaves reading
//! and restarting to `run`.
//!
//! Two readers are followed. The *exact* one does what it did since the last kept position again after a crash; for it
//! every record comes once, and each operation fits what it has. The *plain* one applies whatever comes and forgets
//! nothing; its end state is right as well.
//!
//! | promise | checked |
//! |---|---|
//! | every version that was stored after its key was first listed is told, if it is there to be read | when idle |
//! | it is told once, but for a top that is told again since something else was told of its key last, and a `null` version that replaced another one between two pages of a listing | per record |
//! | of what one listing shows of a key, the lower is told first; where it lists the kinds apart, within a kind; not where it went through a key anew | per record |
//! | each operation fits what the reader has, unless an object could not be read | per record |
//! | bytes, version, size and time are the version's | per record |
//! | the last thing told of a key is what the listing shows on top | when idle |
//! | the reader ends with the bucket's current objects | at the end |
//! | saved state goes back to what the versions that are there need | at the end |
//!
//! Without saved state less can be promised: what was modified before the last kept record, less `lookback`, counts as
//! told, so that a key may stay as the reader has it until it changes again. What the restart repeats may come twice, with
//! an operation that doesn't fit, and in another order than before.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use embedded_s3::ListingKinds;
use s3_connector::record::{Data, Operation, Record};
use s3_connector::testing::Pieces;

use crate::bucket::Version;
use crate::history::KEYS;
use crate::shown::Listing;
use crate::world::World;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// A version was never told.
    Told,
    /// It came twice.
    Once,
    /// It came in another order than the store has.
    Order,
    /// The last word of a key is not what is there.
    LastWord,
    /// The reader ends with something else than the bucket.
    End,
    /// An operation doesn't fit what the reader has.
    Operation,
    /// A record is not the version that it says it is.
    Content,
    /// Saved state grows.
    State,
    /// The source never comes to rest.
    Rest,
    /// The source fails.
    Failure,
}

/// What is wrong.
#[derive(Clone, Debug)]
pub struct Complaint {
    /// Which promise is broken.
    pub promise: Promise,
    /// How.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.message)
    }
}

impl Promise {
    /// All promises.
    pub const ALL: [Self; 10] = [
        Self::Told,
        Self::Once,
        Self::Order,
        Self::LastWord,
        Self::End,
        Self::Operation,
        Self::Content,
        Self::State,
        Self::Rest,
        Self::Failure,
    ];

    /// The name on the command line.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The result of a check.
pub type Checked = Result<(), Complaint>;

/// Says that a promise is broken.
pub fn broken(promise: Promise, message: impl Into<String>) -> Complaint {
    Complaint { promise, message: message.into() }
}

/// A record, as far as it is compared.
struct Told {
    key: usize,
    /// The version; `None` where something is gone without a delete marker.
    version: Option<usize>,
}

/// The readers.
#[derive(Default)]
pub struct Checker {
    /// Promises that nobody looks at.
    overlooked: Vec<Promise>,
    told: Vec<Told>,
    /// What the exact reader has.
    has: [Option<usize>; KEYS.len()],
    /// What the plain reader has.
    plain: BTreeMap<usize, Bytes>,
    /// Records since the last restart without saved state begin here.
    repeats_from: usize,
    /// After such a restart: keys of which nobody knows whether the reader is right.
    unknown: [bool; KEYS.len()],
    is_loose: bool,
    /// Keys of which something was told since the source was last idle.
    pub is_settled: [bool; KEYS.len()],
}

impl Checker {
    /// Readers that have nothing.
    pub fn new(overlooked: &[Promise]) -> Self {
        Self { overlooked: overlooked.to_vec(), ..Self::default() }
    }

    /// Records that the exact reader has.
    pub fn count(&self) -> usize {
        self.told.len()
    }

    /// Goes back to the first `count` records.
    pub fn go_back(&mut self, count: usize) {
        self.told.truncate(count);
        self.has = Default::default();
        self.repeats_from = self.repeats_from.min(count);
    }

    /// Works out again what the exact reader has.
    pub fn settle(&mut self, world: &World) {
        self.has = Default::default();
        for Told { key, version } in &self.told {
            self.has[*key] = version.filter(|at| !world.bucket.ledger[*at].is_marker);
        }
    }

    /// Both readers begin anew.
    pub fn forget(&mut self) {
        let overlooked = std::mem::take(&mut self.overlooked);
        *self = Self { is_loose: self.is_loose, overlooked, ..Self::default() };
    }

    /// The source begins anew without saved state: what was modified before `time` counts as told.
    ///
    /// In the snapshot, what comes after the key that it had reached begins anew; of what the reader has of it already,
    /// nobody knows what is gone.
    pub fn forgive(&mut self, world: &World, time: SystemTime, snapshot: Option<&str>) {
        self.is_loose = true;
        self.repeats_from = self.told.len();
        for (key, name) in KEYS.into_iter().enumerate() {
            let last = self.last(key);
            self.unknown[key] = match world.bucket.top(key) {
                _ if snapshot.is_some_and(|after| name > after) && self.has[key].is_some() => true,
                // Whether there is anything below what is told follows from times.
                _ if is_guess(world, key) => true,
                None => self.has[key].is_some(),
                Some(top) => last != Some(Some(top)) && world.bucket.ledger[top].stamp < time,
            };
        }
    }

    /// The last thing told of a key.
    fn last(&self, key: usize) -> Option<Option<usize>> {
        self.told.iter().rev().find(|told| told.key == key).map(|told| told.version)
    }

    fn is_told(&self, version: usize) -> bool {
        self.told.iter().any(|told| told.version == Some(version))
    }

    /// When the last record that the exact reader has was modified.
    pub fn modified(&self, world: &World) -> Option<SystemTime> {
        let Told { version, .. } = self.told.last()?;
        version.map(|at| world.bucket.ledger[at].stamp)
    }

    /// Takes a record.
    pub fn record(&mut self, world: &World, record: &Record<Pieces>) -> Checked {
        let Some(Data::Raw(key)) = &record.key else {
            return Err(broken(Promise::Content, "the key is not bytes"));
        };
        let Some(key) = KEYS.iter().position(|known| known.as_bytes() == key) else {
            return Err(broken(Promise::Content, format!("an unknown key: {key:?}")));
        };
        let is_delete = record.operation == Operation::Delete;
        let version = if is_delete { marker(world, key, record) } else { Some(stored(world, key, record)?) };
        if !self.is_loose {
            self.heed(self.check_operation(world, key, version, record.operation))?;
        }
        if version.is_none()
            && self.has[key].is_some()
            && self.has[key] == world.bucket.object(key)
            && !world.was_gone[key]
        {
            let name = self.has[key].map(|at| world.bucket.name(at)).unwrap_or_default();
            return Err(broken(Promise::Content, format!("a delete of {name}, which is there")));
        }
        if let Some(version) = version.filter(|_| !world.was_hidden[key]) {
            self.heed(self.check_once(world, key, version))?;
            self.heed(self.check_order(world, key, version))?;
        }
        self.unknown[key] = false;
        self.is_settled[key] = true;
        self.told.push(Told { key, version });
        self.has[key] = version.filter(|_| !is_delete);
        match version.filter(|_| !is_delete) {
            Some(version) => drop(self.plain.insert(key, world.bucket.ledger[version].body.clone())),
            None => drop(self.plain.remove(&key)),
        }
        Ok(())
    }

    /// A complaint, unless nobody looks at it.
    pub fn heed(&self, checked: Checked) -> Checked {
        checked.or_else(|complaint| match self.overlooked.contains(&complaint.promise) {
            true => Ok(()),
            false => Err(complaint),
        })
    }

    fn check_operation(&self, world: &World, key: usize, version: Option<usize>, operation: Operation) -> Checked {
        let has = self.has[key].is_some();
        let fits = match operation {
            Operation::Snapshot | Operation::Create => !has,
            Operation::Update | Operation::Delete => has,
        };
        if fits || world.was_unread[key] || is_alike(world, key, version) {
            return Ok(());
        }
        let name = version.map_or_else(|| KEYS[key].to_owned(), |at| world.bucket.name(at));
        let had = self.has[key].map_or_else(|| "nothing".to_owned(), |at| world.bucket.name(at));
        let message = format!("{} of {name}, where the reader has {had}", operation.as_str());
        Err(broken(Promise::Operation, message))
    }

    fn check_once(&self, world: &World, key: usize, version: usize) -> Checked {
        let repeats = self.told[self.repeats_from..].iter().any(|told| told.version == Some(version));
        if !repeats {
            return Ok(());
        }
        let last = self.last(key).unwrap_or_default();
        // Told again, since the last word was another one, and it was seen on top since.
        let shown = world.shown.latest_as_top(version);
        let is_last_word = last != Some(version)
            && last.is_none_or(|last| shown >= world.shown.first(last).filter(|_| shown.is_some()));
        // Where something was listed that nobody could read, the last word is in doubt.
        // One listing may show two `null` versions of a key, of which the second replaced the first between two pages.
        let was_replaced = world.bucket.ledger[version].is_null() && world.was_unread[key];
        if is_last_word || was_replaced || world.unread[key] && shown.is_some() {
            return Ok(());
        }
        Err(broken(Promise::Once, format!("{} came twice", world.bucket.name(version))))
    }

    fn check_order(&self, world: &World, key: usize, version: usize) -> Checked {
        let told = &self.told[self.repeats_from..];
        if told.iter().any(|told| told.version == Some(version)) {
            return Ok(());
        }
        let ledger = &world.bucket.ledger;
        let is_guess = is_guess(world, key);
        let Some(first) = world.shown.first(version) else {
            return Ok(());
        };
        let earlier = told.iter().filter(|told| told.key == key).filter_map(|told| told.version);
        let wrong = earlier.into_iter().find(|other| {
            ledger[*other].place > ledger[version].place
                && world.shown.first(*other).is_some_and(|other| first <= other)
                && !(is_guess && ledger[*other].is_marker != ledger[version].is_marker)
                // Not where the other one replaced what was listed, and was found when that was looked for.
                && !(world.shown.first(*other).is_some_and(|other| other % 2 == 1)
                    || world.was_unread[key] && (ledger[*other].is_null() || ledger[version].is_null()))
                // Not what has become the top since, as what lay above it was removed.
                && world.shown.latest_as_top(version) <= world.shown.first(*other)
        });
        let Some(other) = wrong.filter(|_| !world.was_anew[key]) else {
            return Ok(());
        };
        let (name, other) = (world.bucket.name(version), world.bucket.name(other));
        Err(broken(Promise::Order, format!("{name} came after {other}, which lies above it in the same listing")))
    }

    /// Checks that everything was told that the last listing shows, when the source found nothing more in it.
    pub fn idle(&self, world: &World) -> Checked {
        let Some(listing) = world.shown.last.as_ref().filter(|listing| listing.is_whole) else {
            return Ok(());
        };
        for (at, _) in &listing.entries {
            let is_needless = world.shown.is_history(*at)
                || self.deletes_nothing(world, *at)
                || self.is_deleted_by_another(world, *at);
            if !is_needless && !self.is_told(*at) {
                let complaint = broken(Promise::Told, format!("{} was never told", world.bucket.name(*at)));
                self.heed(Err(complaint))?;
            }
        }
        (0..KEYS.len()).try_for_each(|key| self.heed(self.check_last_word(world, listing, key)))
    }

    /// Whether a version is a delete marker in whose stead another one was told, which was listed first, since the key was listed
    /// anew: of two markers in a row one deletes.
    fn is_deleted_by_another(&self, world: &World, version: usize) -> bool {
        let Version { key, is_marker, .. } = world.bucket.ledger[version];
        let deletes = |told: Option<usize>| told.is_none_or(|told| world.bucket.ledger[told].is_marker);
        is_marker && world.was_anew[key] && self.last(key).is_some_and(deletes)
    }

    /// Whether a version is a delete marker at whose place the reader had nothing, or whose place is a guess.
    fn deletes_nothing(&self, world: &World, version: usize) -> bool {
        let ledger = &world.bucket.ledger;
        let Version { key, place, is_marker, .. } = ledger[version];
        let first = world.shown.first(version);
        let is_below = |other: usize| ledger[other].place < place;
        let is_older = |other: usize| world.shown.first(other).is_none_or(|other| Some(other) <= first);
        let had_nothing = |counts: &dyn Fn(usize) -> bool| {
            let mut told = self.told.iter().rev().filter(|told| told.key == key);
            let last = told.find(|told| told.version.is_none_or(counts)).and_then(|told| told.version);
            last.is_none_or(|last| ledger[last].is_marker)
        };
        // Whatever a listing shows of them, one that lies over another changes nothing.
        let others = (0..ledger.len()).filter(|at| ledger[*at].key == key && is_below(*at));
        let is_over_another = others.max_by_key(|at| ledger[*at].place).is_some_and(|below| ledger[below].is_marker);
        let is_doubtful = is_guess(world, key) || world.was_unread[key] || is_over_another;
        is_marker && (is_doubtful || had_nothing(&is_below) || had_nothing(&|at| is_below(at) && is_older(at)))
    }

    fn check_last_word(&self, world: &World, listing: &Listing, key: usize) -> Checked {
        if self.unknown[key] || listing.hidden[key] {
            return Ok(());
        }
        let ledger = &world.bucket.ledger;
        // The first one: another may have become the latest while the key was listed.
        let top = listing.entries.iter().find(|(at, is_latest)| *is_latest && ledger[*at].key == key);
        let top = top.map(|(at, _)| *at).filter(|at| !ledger[*at].is_marker);
        if top == self.has[key] || self.same_object(ledger, top, self.has[key]) {
            return Ok(());
        }
        let name = |at: Option<usize>| at.map_or_else(|| "nothing".to_owned(), |at| world.bucket.name(at));
        let message = format!("{}: the reader has {}, the listing {}", KEYS[key], name(self.has[key]), name(top));
        Err(broken(Promise::LastWord, message))
    }

    /// Whether two `null` versions have the same bytes, and nobody lists more than current objects.
    fn same_object(&self, ledger: &[Version], one: Option<usize>, other: Option<usize>) -> bool {
        let (Some(one), Some(other)) = (one, other) else {
            return false;
        };
        self.is_loose && ledger[one].body == ledger[other].body
    }

    /// Checks what both readers have in the end.
    pub fn end(&self, world: &World) -> Checked {
        let objects = world.bucket.objects();
        for key in (0..KEYS.len()).filter(|key| !self.unknown[*key]) {
            let exact = self.has[key].map(|at| &world.bucket.ledger[at].body);
            let expected = objects.get(&key);
            for (reader, has) in [("exact", exact), ("plain", self.plain.get(&key))] {
                if has != expected && !(self.is_loose && reader == "plain") {
                    let message = format!("the {reader} reader has {has:?} of {}, the bucket {expected:?}", KEYS[key]);
                    return Err(broken(Promise::End, message));
                }
            }
        }
        Ok(())
    }
}

/// Whether the order of a key's versions and delete markers among each other is a guess: where the store lists them apart,
/// and where it lists them in an order that contradicts their times, so that they might be apart.
fn is_guess(world: &World, key: usize) -> bool {
    let mut versions: Vec<_> = world.bucket.ledger.iter().filter(|version| version.key == key).collect();
    versions.sort_by_key(|version| version.place);
    world.setup.kinds != ListingKinds::Interleaved || !versions.is_sorted_by_key(|version| version.stamp)
}

/// Whether two `null` versions of the key have the same bytes. A repeated change that finds the one in the place of the
/// other is left to the next poll, which knows what was told, and not what was lost in a crash.
fn is_alike(world: &World, key: usize, version: Option<usize>) -> bool {
    let nulls = world.bucket.ledger.iter().filter(|version| version.key == key && version.is_null());
    let mut etags: Vec<_> = nulls.filter(|version| !version.is_marker).map(|version| &version.etag).collect();
    let count = etags.len();
    etags.sort_unstable();
    etags.dedup();
    etags.len() < count && version.is_none_or(|at| world.bucket.ledger[at].is_null())
}

/// The delete marker that a record tells of, if it tells of one.
fn marker(world: &World, key: usize, record: &Record<Pieces>) -> Option<usize> {
    let id = record.metadata.get("s3.versionId").map_or("null", String::as_str);
    let time = record.metadata.get("s3.lastModified");
    let mut markers = world.bucket.ledger.iter().enumerate().rev();
    let found = markers.find(|(_, version)| {
        version.key == key
            && version.is_marker
            && version.id == id
            && (!version.is_null() || time == Some(&version.stamp_text))
    });
    found.map(|(at, _)| at)
}

/// The version that a record has.
fn stored(world: &World, key: usize, record: &Record<Pieces>) -> Result<usize, Complaint> {
    let wrong = |what: String| Err(broken(Promise::Content, format!("{}: {what}", KEYS[key])));
    let body = match &record.payload.after {
        Some(Data::Raw(body)) => body,
        other => return wrong(format!("has no bytes: {other:?}")),
    };
    let text = |name: &str| record.metadata.get(name).map_or("", String::as_str);
    let id = Some(text("s3.versionId")).filter(|id| !id.is_empty()).unwrap_or("null");
    let (time, etag) = (text("s3.lastModified"), text("s3.etag"));
    let all = world.bucket.ledger.iter().enumerate();
    let of_id = all.filter(|(_, version)| version.key == key && version.id == id && !version.is_marker);
    let same: Vec<_> = of_id.filter(|(_, version)| version.body == *body).collect();
    // Of what no listing has any more only the answer's header has the time, in whole seconds.
    let exact = same.iter().find(|(_, version)| version.stamp_text == time && version.etag == etag);
    let is_second = |stamp: &str| id == "null" && stamp.get(..19) == time.get(..19);
    let second = same.iter().find(|(_, version)| is_second(&version.stamp_text) && version.etag == etag);
    let Some((at, _)) = exact.or(second) else {
        let names: Vec<_> = same.iter().map(|(at, version)| world.bucket.name(*at) + " " + &version.etag).collect();
        return wrong(format!(
            "{body:?} of version {id}, time {time}, ETag {etag} never was; these bytes had: {names:?}"
        ));
    };
    if text("s3.size") != body.len().to_string() {
        return wrong(format!("has {} bytes, and says {}", body.len(), text("s3.size")));
    }
    Ok(*at)
}
