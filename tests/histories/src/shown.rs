//! Owns what listings have shown: per version when, and per key since when a source can know of it. Leaves the listings
//! to `wire`, and conclusions to `check`.

use std::time::SystemTime;

use crate::bucket::{Bucket, Version};
use crate::history::KEYS;

/// A listing of the whole bucket, as it was shown.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Whether it began at the first key.
    pub is_whole: bool,
    /// Keys that were left out.
    pub hidden: [bool; KEYS.len()],
    /// The versions, and whether each was shown as the latest.
    pub entries: Vec<(usize, bool)>,
}

/// What was shown of a version. Listings are counted from 1, in halves: a look at a single key comes
/// between two.
#[derive(Clone, Copy, Debug, Default)]
struct Sight {
    first: Option<u32>,
    latest_as_top: Option<u32>,
}

/// What listings have shown.
#[derive(Debug, Default)]
pub struct Shown {
    listings: u32,
    current: Option<Listing>,
    /// The last listing that came to its end.
    pub last: Option<Listing>,
    sights: Vec<Sight>,
    /// The listing that first showed each key's range.
    covered: [Option<u32>; KEYS.len()],
    /// Versions that count as told.
    history: Vec<bool>,
    /// Whether anything was ever shown that does not.
    pub has_news: bool,
    /// After state was lost: what was modified before counts as told, up to that key; after it all that is listed first.
    forgiven: Option<(SystemTime, Option<String>)>,
}

impl Shown {
    fn make_room(&mut self, count: usize) {
        self.sights.resize(count.max(self.sights.len()), Sight::default());
        self.history.resize(count.max(self.history.len()), false);
    }

    /// Begins anew after `key`, or from the first key on: what the next listing shows of these keys counts as told.
    pub fn begin_after(&mut self, key: Option<&str>) {
        for (covered, name) in self.covered.iter_mut().zip(KEYS) {
            if key.is_none_or(|key| name > key) {
                *covered = None;
            }
        }
    }

    /// Forgets everything, as a source does that begins anew.
    pub fn forget(&mut self) {
        self.begin_after(None);
        self.history.fill(false);
    }

    /// Begins anew without saved state: what was modified before `time` counts as told; in the snapshot, up to the key
    /// that it had reached.
    pub fn forgive(&mut self, time: SystemTime, snapshot: Option<&str>) {
        self.covered = [None; KEYS.len()];
        self.forgiven = Some((time, snapshot.map(str::to_owned)));
    }

    /// Whether what is first listed of a version counts as told.
    fn is_forgiven(&self, version: &Version) -> bool {
        match &self.forgiven {
            None => true,
            Some((_, Some(key))) if KEYS[version.key] > key.as_str() => true,
            Some((time, _)) => version.stamp < *time,
        }
    }

    /// Takes a page of a listing of the whole bucket. It covers the keys after `from` up to `to`.
    pub fn page(&mut self, bucket: &Bucket, page: &Page<'_>) {
        self.make_room(bucket.ledger.len());
        if page.is_first || self.current.is_none() {
            self.listings += 1;
            let is_whole = page.from.is_none();
            self.current = Some(Listing { is_whole, ..Listing::default() });
        }
        let number = self.listings;
        for (key, name) in KEYS.into_iter().enumerate() {
            let is_after = page.from.is_none_or(|from| name > from);
            let is_covered = is_after && page.to.is_none_or(|to| name <= to) && page.hidden != Some(key);
            if is_covered && self.covered[key].is_none() {
                self.covered[key] = Some(number);
                for at in &bucket.now[key] {
                    self.history[*at] |= self.is_forgiven(&bucket.ledger[*at]);
                }
            }
        }
        for (at, is_latest) in page.entries {
            // What lands in a key while its versions are listed, below what was listed of it already.
            let is_begun = self.covered[bucket.ledger[*at].key] == Some(number) && self.forgiven.is_none();
            self.history[*at] |= is_begun && self.sights[*at].first.is_none();
            self.see(*at, 2 * number, *is_latest);
            self.has_news |= !self.history[*at] || *is_latest && !bucket.ledger[*at].is_marker;
        }
        let current = self.current.as_mut().expect("there is one");
        current.entries.extend_from_slice(page.entries);
        if let Some(hidden) = page.hidden {
            current.hidden[hidden] = true;
        }
        if page.to.is_none() {
            self.last = self.current.take();
        }
    }

    /// Takes a listing of one key.
    pub fn look(&mut self, bucket: &Bucket, entries: &[(usize, bool)]) {
        self.make_room(bucket.ledger.len());
        for (at, is_latest) in entries {
            self.see(*at, 2 * self.listings + 1, *is_latest);
        }
    }

    fn see(&mut self, at: usize, number: u32, is_latest: bool) {
        let sight = &mut self.sights[at];
        sight.first.get_or_insert(number);
        if is_latest {
            sight.latest_as_top = Some(number);
        }
    }

    /// When a version was first shown.
    pub fn first(&self, at: usize) -> Option<u32> {
        self.sights.get(at)?.first
    }

    /// When a version was last shown as the latest of its key.
    pub fn latest_as_top(&self, at: usize) -> Option<u32> {
        self.sights.get(at)?.latest_as_top
    }

    /// Whether a version was there before a source could follow its key.
    pub fn is_history(&self, at: usize) -> bool {
        self.history.get(at).copied().unwrap_or_default()
    }
}

/// A page of a listing of the whole bucket.
pub struct Page<'a> {
    /// Whether it is the first.
    pub is_first: bool,
    /// The key after which it begins.
    pub from: Option<&'a str>,
    /// A key that was left out.
    pub hidden: Option<usize>,
    /// The last key on it, if there are more pages.
    pub to: Option<&'a str>,
    /// What is on it, and whether as the latest.
    pub entries: &'a [(usize, bool)],
}
