//! Owns the rule of change detection: what is due of one key, given what a listing shows of it and what is known of it.
//! Pure. Leaves the order of keys to `scan`, and what is done with due changes to `plan`.
//!
//! *The rule.* (a) Every version that is listed and not known is told once, in the store's order within its key. (b) If
//! the last thing told of a key is not what the listing shows on top, the top is told, again if need be; or a delete,
//! where the top is a delete marker. No clock takes part, so that it doesn't matter when an upload completes, where the
//! store places it, and what time it carries.
//!
//! Operations are as the reader sees them: a create where the reader has nothing, an update where it has something, and
//! nothing at all for a delete marker where it has nothing.
//!
//! Entries come newest first and are dealt with one by one, so that a key may have any number of versions. Of those
//! above [`Bounds::listed_exactly`] only sums are known, in groups that end at digests of a certain form: where an older
//! version was added, its group is told again; the last group may have been cut short by a lifecycle rule.

use std::collections::BTreeSet;

use super::catalogue::{Entry, Known, Reader};
use super::identity::Digest;
use super::plan::{Due, Previous};
use crate::limits::Bounds;
use crate::record::Operation;
use crate::s3::VersionEntry;
use crate::time::Timestamp;

/// What a listing means for keys that the catalogue has never had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// All that is listed is told, as changes.
    Changes,
    /// Of each key the object on top is told, as a snapshot. The rest is history.
    Snapshot,
    /// All of it is history.
    Now,
    /// What was stored from then on is told, as changes. The rest is history.
    Since(Timestamp),
    /// [`Self::Since`] up to a key, and [`Self::Snapshot`] after it: a snapshot of which the catalogue is lost goes on.
    Resumed { after: String, since: Timestamp },
}

/// What was listed of a key.
#[derive(Debug)]
struct Item {
    entry: VersionEntry,
    digest: Digest,
    /// What lies below it, if that is wanted and an object.
    previous: Option<Box<Previous>>,
}

/// What the reader has of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    /// Nothing.
    Nothing,
    /// This version.
    Object(Digest),
    /// Something.
    Doubtful,
}

/// What was found out of a key.
#[derive(Debug)]
pub(super) struct Judged {
    /// What is known of the key from now on.
    pub(super) entry: Entry,
    /// What its entries add to the sum of the listing.
    pub(super) sum: u64,
    /// The number of its entries.
    pub(super) listed: u64,
}

/// Judges one key.
#[derive(Debug)]
pub(super) struct KeyJudge {
    key: String,
    /// For a key that is not known; never [`Rule::Resumed`].
    rule: Rule,
    known: Option<Known>,
    /// Digests of what is known, in their order, where there are many.
    sorted: Vec<Digest>,
    bounds: Bounds,
    /// Whether changes carry what lies below them.
    wants_previous: bool,
    top: Option<Item>,
    /// Entries that are known only if the group that they end in is.
    tail: Vec<Item>,
    /// Delete markers that are over nothing, as far as this listing says.
    silent: Vec<Digest>,
    /// Whether the listing went through the key once more.
    has_repeats: bool,
    /// Whether anything was listed that is known.
    has_met_known: bool,
    /// A version to be told, once it is clear what the reader has before it.
    waiting: Option<Item>,
    /// Whether that one was listed last.
    is_waiting_last: bool,
    newest_untold: Option<(Digest, bool)>,
    newest_history: Option<(Digest, bool)>,
    /// The time by which the latest due change is ordered, and the first one.
    order: Option<Timestamp>,
    first_order: Timestamp,
    age: u32,
    now_known: Known,
    /// The newest of what was listed, where that is much.
    come: BTreeSet<Digest>,
    group: Option<u64>,
    sum: u64,
    listed: u64,
}

/// Up to this many digests are compared one by one.
const FEW: usize = 16;

impl KeyJudge {
    /// Begins with a key: `known` is what the catalogue has of it, and `rule` what a listing means otherwise.
    pub(super) fn new(key: String, rule: &Rule, known: Option<Known>, bounds: Bounds, wants_previous: bool) -> Self {
        let rule = match rule {
            Rule::Resumed { after, since } if key <= *after => Rule::Since(*since),
            Rule::Resumed { .. } => Rule::Snapshot,
            rule => rule.clone(),
        };
        let mut sorted = Vec::new();
        if let Some(known) = known.as_ref().filter(|known| known.listed.len() > FEW) {
            sorted.clone_from(&known.listed);
            sorted.sort_unstable();
        }
        Self {
            key,
            rule,
            known,
            sorted,
            bounds,
            wants_previous,
            top: None,
            tail: Vec::new(),
            silent: Vec::new(),
            has_repeats: false,
            has_met_known: false,
            waiting: None,
            is_waiting_last: false,
            newest_untold: None,
            newest_history: None,
            order: None,
            first_order: Timestamp::default(),
            age: u32::MAX,
            now_known: Known { reader: Reader::Top, listed: Vec::new(), groups: Vec::new() },
            come: BTreeSet::new(),
            group: None,
            sum: 0,
            listed: 0,
        }
    }

    /// The key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Takes the next older entry of the key.
    pub(super) fn push(&mut self, entry: VersionEntry, digest: Digest, due: &mut impl FnMut(Due)) {
        // A listing may go through a key once more, where the version was purged at which the next page was to begin.
        if self.has_come(digest) {
            self.has_repeats = true;
            return;
        }
        if self.wants_previous {
            self.note_previous(&entry);
        }
        self.sum = self.sum.wrapping_add(digest.summand(entry.is_latest));
        self.listed += 1;
        self.keep(digest);
        let is_top = self.top.is_none();
        if is_top {
            self.top = Some(Item { entry: entry.clone(), digest, previous: None });
        }
        let item = Item { entry, digest, previous: None };
        self.is_waiting_last = false;
        let Some(known) = &self.known else {
            if self.is_history(&item.entry, is_top) {
                self.newest_history.get_or_insert((digest, item.entry.is_delete_marker));
            } else {
                self.untold(item, due);
                self.is_waiting_last = true;
            }
            return;
        };
        if self.is_listed(digest) || is_broken!(SkipWhatLandsBelow) && self.now_known.listed.len() > 1 {
            // What is above something known is not among the older ones.
            self.has_met_known = true;
            for item in std::mem::take(&mut self.tail) {
                self.untold(item, due);
            }
        } else if known.groups.is_empty() {
            self.untold(item, due);
            self.is_waiting_last = true;
        } else {
            self.tail.push(item);
            if self.ends_group(digest) {
                self.close_group(due);
            }
        }
    }

    /// Ends the key.
    pub(super) fn finish(mut self, due: &mut impl FnMut(Due)) -> Judged {
        // The last group may have been cut short, unless nothing of the key is as it was.
        let tail = std::mem::take(&mut self.tail);
        if !self.has_met_known {
            tail.into_iter().for_each(|item| self.untold(item, due));
        }
        let before = self.before();
        if let Some(oldest) = self.waiting.take() {
            self.tell(oldest, before, due);
        }
        let after = self.newest_untold.map_or(before, of);
        let told = self.tell_top(after, due);
        self.now_known.groups.extend(self.group.take());
        let top = self.now_known.listed.first().copied();
        self.now_known.reader = match told {
            Has::Nothing => Reader::Nothing,
            Has::Object(digest) if Some(digest) == top => Reader::Top,
            Has::Object(_) | Has::Doubtful => Reader::Doubtful,
        };
        if self.has_repeats && !self.silent.is_empty() {
            // What came out of order may be over something after all: the next poll sees it in its place.
            let silent = std::mem::take(&mut self.silent);
            self.now_known.listed.retain(|digest| !silent.contains(digest));
            self.sum = self.sum.wrapping_add(1);
        }
        Judged { entry: Entry { key: self.key, known: self.now_known }, sum: self.sum, listed: self.listed }
    }

    /// What the reader has before anything new is told.
    fn before(&self) -> Has {
        match &self.known {
            Some(Known { reader: Reader::Top, listed, .. }) => {
                listed.first().map_or(Has::Doubtful, |d| Has::Object(*d))
            }
            Some(Known { reader: Reader::Nothing | Reader::Missing, .. }) => Has::Nothing,
            Some(Known { reader: Reader::Doubtful, .. }) => Has::Doubtful,
            // Of a snapshot, what lies below the top was never told.
            None if self.rule == Rule::Snapshot => Has::Nothing,
            None => self.newest_history.map_or(Has::Nothing, of),
        }
    }

    /// Tells the top once more, or a delete, where the last thing told is something else.
    fn tell_top(&mut self, told: Has, due: &mut impl FnMut(Due)) -> Has {
        if is_broken!(NeverTellTheTopAgain) {
            return told;
        }
        // A listing that shows no latest version of a key lacks the very one that counts: the next poll sees it.
        let Some(top) = self.top.take().filter(|top| top.entry.is_latest) else {
            return told;
        };
        let wanted = of((top.digest, top.entry.is_delete_marker));
        if told != wanted {
            let order = self.first_order.max(top.entry.object.last_modified);
            let operation = operation(top.entry.is_delete_marker, told);
            due(Due { had: told, ..Due::of(top.entry, top.digest, top.previous, operation, order, u32::MAX) });
        }
        wanted
    }

    /// Whether an entry of a key that the catalogue has never had counts as told.
    fn is_history(&self, entry: &VersionEntry, is_top: bool) -> bool {
        match self.rule {
            Rule::Changes | Rule::Resumed { .. } => false,
            Rule::Snapshot => !is_top && !is_broken!(SnapshotAllVersions) || entry.is_delete_marker,
            Rule::Now => true,
            Rule::Since(since) => entry.object.last_modified < since,
        }
    }

    fn has_come(&mut self, digest: Digest) -> bool {
        if self.now_known.listed.len() <= FEW {
            return self.now_known.listed.contains(&digest);
        }
        if self.come.is_empty() {
            self.come.extend(&self.now_known.listed);
        }
        if self.come.len() >= self.bounds.listed_exactly {
            self.come.contains(&digest)
        } else {
            !self.come.insert(digest)
        }
    }

    fn is_listed(&self, digest: Digest) -> bool {
        match &self.known {
            _ if !self.sorted.is_empty() => self.sorted.binary_search(&digest).is_ok(),
            Some(known) => known.listed.contains(&digest),
            None => false,
        }
    }

    /// Takes note that this is what the entry before it lies on.
    fn note_previous(&mut self, entry: &VersionEntry) {
        let previous = Previous::of(entry);
        if self.listed == 1
            && let Some(top) = &mut self.top
        {
            top.previous.clone_from(&previous);
        }
        let last = if self.is_waiting_last { self.waiting.as_mut() } else { self.tail.last_mut() };
        if let Some(last) = last {
            last.previous = previous;
        }
    }

    /// Takes note of a version that is due: what the reader has before the newer one follows from it.
    fn untold(&mut self, item: Item, due: &mut impl FnMut(Due)) {
        if is_broken!(TellTopsOnly) && self.listed > 1 {
            return;
        }
        self.newest_untold.get_or_insert((item.digest, item.entry.is_delete_marker));
        let has = of((item.digest, item.entry.is_delete_marker));
        if let Some(newer) = self.waiting.replace(item) {
            self.tell(newer, has, due);
        }
    }

    fn tell(&mut self, item: Item, had: Has, due: &mut impl FnMut(Due)) {
        // A delete marker over nothing changes nothing.
        if item.entry.is_delete_marker && had == Has::Nothing && !is_broken!(DeleteNothing) {
            if self.silent.len() < self.bounds.listed_exactly {
                self.silent.push(item.digest);
            }
            return;
        }
        let operation = match self.rule {
            Rule::Snapshot if self.known.is_none() => Operation::Snapshot,
            _ => operation(item.entry.is_delete_marker, had),
        };
        // Newest first, so that no change of a key is ordered after a newer one.
        let time = item.entry.object.last_modified;
        let order = self.order.map_or(time, |newer| if is_broken!(TrustStamps) { time } else { newer.min(time) });
        if self.order.replace(order).is_none() {
            self.first_order = order;
        }
        self.age = if is_broken!(TellTheNewestFirst) { self.listed as u32 } else { self.age - 1 };
        due(Due { had, ..Due::of(item.entry, item.digest, item.previous, operation, order, self.age) });
    }

    /// Adds an entry to what is known from now on.
    fn keep(&mut self, digest: Digest) {
        let Known { listed, groups, .. } = &mut self.now_known;
        let is_exact = listed.len() < self.bounds.listed_exactly
            || (self.group.is_none()
                && groups.is_empty()
                && !listed.last().is_some_and(|d| self.bounds.ends_group(d.0)));
        if is_exact {
            listed.push(digest);
            return;
        }
        let sum = self.group.unwrap_or_default().wrapping_add(digest.0);
        self.group = Some(sum);
        if self.bounds.ends_group(digest.0) {
            groups.push(sum);
            self.group = None;
        }
    }

    fn ends_group(&self, digest: Digest) -> bool {
        self.bounds.ends_group(digest.0)
    }

    fn close_group(&mut self, due: &mut impl FnMut(Due)) {
        let sum = self.tail.iter().fold(0, |sum: u64, item| sum.wrapping_add(item.digest.0));
        let group = std::mem::take(&mut self.tail);
        let is_known = self.known.as_ref().is_some_and(|known| known.groups.contains(&sum));
        self.has_met_known |= is_known;
        if !is_known {
            for item in group {
                self.untold(item, due);
            }
            self.is_waiting_last = true;
        }
    }
}

/// What a reader has that was told a version, or a delete marker.
fn of((digest, is_marker): (Digest, bool)) -> Has {
    if is_marker { Has::Nothing } else { Has::Object(digest) }
}

/// What happens to a reader that had something, or nothing.
fn operation(is_delete: bool, had: Has) -> Operation {
    match had {
        _ if is_delete => Operation::Delete,
        _ if is_broken!(CreateEverything) => Operation::Create,
        Has::Nothing => Operation::Create,
        Has::Object(_) | Has::Doubtful => Operation::Update,
    }
}

#[cfg(test)]
mod tests;
