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
    /// Pages that the source may use.
    answers: Vec<Page>,
    /// Where the listing goes on after the last page that was used.
    goes_on: Option<Place>,
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

    /// Takes note of a page of a listing of the whole bucket, which the source may use.
    pub fn answer(&mut self, page: Page) {
        self.answers.retain(|answer| answer.place != page.place);
        self.answers.push(page);
    }

    /// Forgets the pages that a source which has ended has not used.
    pub fn drop_answers(&mut self) {
        self.answers.clear();
        self.goes_on = None;
    }

    /// Takes the pages that the source has used since. Each begins where the one before it ended.
    ///
    /// # Errors
    ///
    /// Where one does not.
    pub fn use_pages(&mut self, bucket: &Bucket, used: Vec<(Place, Option<String>)>) -> Result<(), String> {
        for (place, to) in used {
            let found = self.answers.iter().position(|answer| answer.place == place);
            let page = self.answers.swap_remove(found.ok_or_else(|| format!("{place:?} is no page"))?);
            if place.0.is_some() && self.goes_on.as_ref().is_some_and(|goes_on| *goes_on != place) {
                return Err(format!("a listing goes on at {place:?} after {:?}", self.goes_on));
            }
            if to.as_ref().zip(page.to.as_ref()).is_some_and(|(to, end)| to > end) {
                return Err(format!("a page is used up to {to:?}, and ends at {:?}", page.to));
            }
            self.goes_on = match &to {
                Some(to) => Some((Some(to.clone()), String::new())),
                None => page.next.clone(),
            };
            self.page(bucket, &page, to.as_deref());
        }
        Ok(())
    }

    /// Takes a page. It covers the keys after where it begins, up to its last one, or an earlier one.
    fn page(&mut self, bucket: &Bucket, page: &Page, cut: Option<&str>) {
        self.make_room(bucket.ledger.len());
        let from = page.place.0.as_deref();
        if from.is_none() || self.current.is_none() {
            self.listings += 1;
            let is_whole = from.is_none();
            self.current = Some(Listing { is_whole, ..Listing::default() });
        }
        let number = self.listings;
        let end = cut.or(page.to.as_deref());
        for (key, name) in KEYS.into_iter().enumerate() {
            let is_after = from.is_none_or(|from| name > from);
            let is_covered = is_after && end.is_none_or(|to| name <= to) && page.hidden != Some(key);
            if is_covered && self.covered[key].is_none() {
                self.covered[key] = Some(number);
                for at in &page.now[key] {
                    self.history[*at] |= self.is_forgiven(&bucket.ledger[*at]);
                }
            }
        }
        let is_used = |at: usize| cut.is_none_or(|cut| KEYS[bucket.ledger[at].key] <= cut);
        let entries: Vec<_> = page.entries.iter().copied().filter(|(at, _)| is_used(*at)).collect();
        for (at, is_latest) in &entries {
            // What lands in a key while its versions are listed, below what was listed of it already.
            let is_begun = self.covered[bucket.ledger[*at].key] == Some(number) && self.forgiven.is_none();
            self.history[*at] |= is_begun && self.sights[*at].first.is_none();
            self.see(*at, 2 * number, *is_latest);
            self.has_news |= !self.history[*at] || *is_latest && !bucket.ledger[*at].is_marker;
        }
        let current = self.current.as_mut().expect("there is one");
        current.entries.extend_from_slice(&entries);
        if let Some(hidden) = page.hidden {
            current.hidden[hidden] = true;
        }
        if end.is_none() {
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

/// Where a page begins: the key that was sent, and the version.
pub type Place = (Option<String>, String);

/// A page of a listing of the whole bucket.
#[derive(Debug)]
pub struct Page {
    /// Where it begins.
    pub place: Place,
    /// Where the store says that the next one begins.
    pub next: Option<Place>,
    /// A key that was left out.
    pub hidden: Option<usize>,
    /// The last key on it, if there are more pages.
    pub to: Option<String>,
    /// What is on it, and whether as the latest.
    pub entries: Vec<(usize, bool)>,
    /// What there was of each key.
    pub now: Vec<Vec<usize>>,
}
