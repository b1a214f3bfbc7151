//! Owns a listing of the whole prefix by several pages at a time, handed out in the order of keys. Leaves requests and the
//! order within a page to `listing`, and where a range may begin to `pace`.
//!
//! The keys are cut into ranges, each of which is listed page by page from its lower bound until a page reaches beyond its
//! upper one. Bounds are first keys of segments, where the catalogue has any, and guesses otherwise. The first range with
//! free slots is served first, so that what waits is near to what is handed out.
//!
//! A key that a listing lacks counts as gone, so nothing is believed of a store but what a serial listing shows: the page
//! that reaches beyond a bound shows the first key after it, and the range after the bound must show that key, or an
//! earlier one. Where it doesn't, its pages are dropped, and the range before it goes on from its own last page. So it is
//! where a page of a range fails, or has keys that should not be in it, and the store's listings are not split again.
//!
//! The very first page is requested alone: a small bucket takes no other request, and no other page is older.

mod pace;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use self::pace::Pace;
use super::catalogue::Segment;
use super::listing::{Answer, Cursor, Listed, operation, request, warn_of_no_versions};
use super::order::in_order;
use super::worker::Oddities;
use crate::error::Result;
use crate::limits::{self, Bounds};
use crate::ports::{Level, Ports};
use crate::s3::{self, Client, Page, Trail, VersionEntry};

/// What guesses may waste, in thousandths of a page, for each page that came.
const WASTE_PER_PAGE: u64 = 80;

/// A page that waits for its turn.
struct Held {
    from: Cursor,
    page: Page<VersionEntry, Cursor>,
    bytes: usize,
}

/// The keys after a lower bound, up to an upper one.
struct Range {
    number: u64,
    lower: Option<String>,
    upper: Option<String>,
    /// Where its next page begins; `None` after its last one, and while that is on its way.
    next: Option<Cursor>,
    is_on_its_way: bool,
    /// Whether it began at a guess.
    is_guess: bool,
    /// Pages that came.
    count: u64,
    /// The first key that it shows, be it in the range or not.
    first: Option<String>,
    held: VecDeque<Held>,
    trail: Trail<Cursor>,
    pace: Pace,
    /// The pages that it had when it was last split.
    split_after: Option<u64>,
    /// The pages and the bound for which nothing could be guessed.
    tried: Option<(u64, Option<String>)>,
}

impl Range {
    fn new(number: u64, lower: Option<String>, upper: Option<String>, is_guess: bool, pace: Pace) -> Self {
        let next = Some(lower.clone().map_or(Cursor::First, Cursor::After));
        let (held, trail) = (VecDeque::new(), Trail::default());
        Self {
            number,
            lower,
            upper,
            next,
            is_on_its_way: false,
            is_guess,
            count: 0,
            first: None,
            held,
            trail,
            pace,
            split_after: None,
            tried: None,
        }
    }

    fn is_done(&self) -> bool {
        self.next.is_none() && !self.is_on_its_way
    }

    fn is_untouched(&self) -> bool {
        self.count == 0 && !self.is_on_its_way
    }

    /// Whether the first page that waits reaches beyond the upper bound.
    fn reaches_beyond(&self, held: &Held) -> bool {
        self.upper.is_some() && held.page.greatest > self.upper
    }

    /// Goes on to another bound, from the last page if that reaches beyond the old one.
    fn extend(&mut self, upper: Option<String>) {
        self.upper = upper;
        if self.is_done() {
            self.look_at_the_last();
        }
    }

    /// Takes a page; its bytes.
    fn take(&mut self, from: Cursor, mut page: Page<VersionEntry, Cursor>) -> usize {
        if let Some(lower) = &self.lower {
            // Some stores take a marker to be inclusive.
            page.entries.retain(|entry| entry.object.key > *lower);
        }
        if self.first.is_none() {
            self.first = page.entries.iter().map(|entry| &entry.object.key).min().cloned();
        }
        self.count += 1;
        let bytes = page.entries.iter().map(bytes_of).sum();
        self.held.push_back(Held { from, page, bytes });
        self.look_at_the_last();
        bytes
    }

    /// Goes on after the last page, unless that reaches beyond the upper bound.
    fn look_at_the_last(&mut self) {
        let Some(last) = self.held.back() else { return };
        let keys = last.page.entries.iter().map(|entry| entry.object.key.as_str());
        let mut within: Vec<&str> =
            keys.filter(|key| self.upper.as_deref().is_none_or(|upper| *key <= upper)).collect();
        if !within.is_sorted() {
            within.sort_unstable();
        }
        self.pace.note(&within);
        self.next = last.page.next.clone().filter(|_| !self.reaches_beyond(last) && !is_broken!(ListOnePage));
    }
}

fn bytes_of(entry: &VersionEntry) -> usize {
    size_of::<VersionEntry>() + entry.object.key.len() + entry.version_id.len() + entry.object.etag.len()
}

/// Whether entries of each kind are in the order of keys.
fn is_ordered(entries: &[VersionEntry]) -> bool {
    [false, true].into_iter().all(|is_marker| {
        let of_kind = entries.iter().filter(|entry| entry.is_delete_marker == is_marker);
        of_kind.is_sorted_by(|a, b| a.object.key <= b.object.key)
    })
}

/// Where ranges may begin, as the catalogue has it: at first keys of segments, enough entries apart.
pub(super) fn hints(segments: &[Segment], bounds: Bounds) -> VecDeque<String> {
    let (mut hints, mut listed) = (VecDeque::new(), 0);
    for segment in segments {
        if listed >= bounds.list_entries {
            hints.push_back(segment.first.clone());
            listed = 0;
        }
        listed += segment.listed;
    }
    hints
}

/// A listing by ranges.
pub(super) struct Sweep<P: Ports> {
    ports: P,
    client: Client<P>,
    oddities: Rc<Oddities>,
    has_versions: Option<bool>,
    hints: VecDeque<String>,
    concurrency: usize,
    bounds: Bounds,
    /// In the order of keys. The first is what is handed out.
    ranges: VecDeque<Range>,
    ranges_made: u64,
    in_flight: FuturesUnordered<LocalBoxFuture<'static, (u64, Cursor, Answer)>>,
    held_bytes: usize,
    pages: u64,
    /// Requests, when the first began, and how long its answer took.
    requested: u32,
    begun: Duration,
    first_took: Duration,
    /// What was listed twice or in vain, in thousandths of a page.
    wasted: u64,
    /// How many pages ahead is guessed, so that ranges become as long as they should be.
    aim: u32,
    /// Guesses that may be tried at the same time: one more after each that was right, half as many otherwise.
    guesses: u64,
    /// Ranges that lacked a key.
    gaps: u32,
    /// Whether there are no further ranges.
    is_serial: bool,
}

impl<P: Ports> Sweep<P> {
    /// Begins a listing. `has_versions` is whether the store lists versions, where that is known.
    pub(super) fn new(
        ports: P,
        client: Client<P>,
        oddities: Rc<Oddities>,
        has_versions: Option<bool>,
        hints: VecDeque<String>,
        concurrency: usize,
        bounds: Bounds,
    ) -> Self {
        let is_serial = concurrency < 2 || oddities.lists_serially.get();
        let begun = ports.elapsed();
        Self {
            ports,
            client,
            oddities,
            has_versions,
            hints,
            concurrency: concurrency.clamp(1, limits::LISTINGS_IN_FLIGHT_MAX),
            bounds,
            ranges: [Range::new(0, None, None, false, Pace::default())].into(),
            ranges_made: 1,
            in_flight: FuturesUnordered::new(),
            held_bytes: 0,
            pages: 0,
            requested: 0,
            begun,
            first_took: Duration::ZERO,
            wasted: 0,
            aim: bounds.list_pages,
            guesses: bounds.list_guesses,
            gaps: 0,
            is_serial,
        }
    }

    /// The next page; `None` after the last.
    pub(super) async fn page(&mut self) -> Result<Option<Listed>> {
        loop {
            if let Some(page) = self.ready() {
                return Ok(Some(page));
            }
            if self.ranges.is_empty() {
                return Ok(None);
            }
            self.fill();
            if let Some((number, from, answer)) = self.in_flight.next().await {
                self.receive(number, from, answer)?;
            }
        }
    }

    /// What its requests would have taken one after the other: the first one is alone, so it tells what each takes.
    pub(super) fn serial_time(&self) -> Duration {
        self.first_took.min(limits::LIST_PAGE_TIME).saturating_mul(self.requested)
    }

    /// The page that is next, once it is certain up to where it counts.
    fn ready(&mut self) -> Option<Listed> {
        loop {
            let first = self.ranges.front()?;
            let Some(held) = first.held.front() else {
                if first.is_done() {
                    self.ranges.clear();
                }
                return None;
            };
            if !first.reaches_beyond(held) {
                let is_last = first.is_done() && first.held.len() == 1;
                return Some(self.hand_out(None, is_last));
            }
            let upper = first.upper.clone();
            let beyond =
                held.page.entries.iter().map(|entry| &entry.object.key).filter(|key| Some(*key) > upper.as_ref());
            let beyond = beyond.min().cloned();
            let next = self.ranges.get(1)?;
            if next.first.is_none() && !next.is_done() {
                return None;
            }
            if (next.first.is_some() && next.first <= beyond) || is_broken!(BelieveRanges) {
                let page = self.hand_out(upper, false);
                self.ranges.pop_front();
                return Some(page);
            }
            self.gaps += 1;
            if self.gaps >= limits::LISTING_GAPS_MAX {
                self.distrust(1, "ranges of keys lack what the ones before them show");
            } else {
                self.join();
            }
        }
    }

    /// Takes the first page from what waits, up to a key.
    fn hand_out(&mut self, to: Option<String>, is_last: bool) -> Listed {
        let first = self.ranges.front_mut().expect("there is one");
        let Held { from, page, bytes } = first.held.pop_front().expect("there is one");
        self.held_bytes -= bytes;
        note_page!(&from, to.as_deref());
        let _ = &from;
        let mut entries = in_order(page.entries, &self.oddities.interleaved);
        if let Some(to) = to {
            let is_within = |key: &String| if is_broken!(EndRangesEarly) { *key < to } else { *key <= to };
            entries.retain(|entry| is_within(&entry.object.key));
        }
        Listed { entries, date: page.date, is_last, has_versions: self.has_versions != Some(false) }
    }

    /// Joins the second range to the first one, which lists its keys anew.
    fn join(&mut self) {
        if let Some(next) = self.ranges.remove(1) {
            self.drop_held(&next);
            self.ranges[0].extend(next.upper);
        }
    }

    fn drop_held(&mut self, range: &Range) {
        self.held_bytes -= range.held.iter().map(|held| held.bytes).sum::<usize>();
    }

    /// Splits no listing of this source any more: the store has no order of keys that ranges could rely on.
    fn distrust(&mut self, at: usize, why: &str) {
        if !self.oddities.lists_serially.replace(true) {
            let line = format!("lists one page after the other from now on: {why}");
            self.ports.log(Level::Info, &line);
        }
        self.go_on_serially(at);
    }

    /// Drops all ranges from one on. The one before it lists what they should.
    fn go_on_serially(&mut self, at: usize) {
        self.is_serial = true;
        self.drop_from(at);
        if let Some(last) = self.ranges.back_mut() {
            last.extend(None);
        }
    }

    fn drop_from(&mut self, at: usize) {
        while self.ranges.len() > at {
            if let Some(range) = self.ranges.pop_back() {
                self.drop_held(&range);
            }
        }
    }

    /// Requests as many pages as there may be.
    fn fill(&mut self) {
        loop {
            let is_first_done = self.ranges.front().is_some_and(Range::is_done);
            let is_full = self.held_bytes >= self.bounds.list_held_bytes;
            // What the first page to be handed out waits for is always requested.
            let near = if is_full { 1 + usize::from(is_first_done) } else { usize::MAX };
            if self.ranges.iter().filter(|range| range.is_on_its_way).count() >= self.concurrency {
                return;
            }
            if let Some(range) = self.ranges.iter_mut().take(near).find(|range| range.next.is_some()) {
                let from = range.next.take().expect("it was just found");
                range.is_on_its_way = true;
                self.requested = self.requested.saturating_add(1);
                let (ports, client) = (self.ports.clone(), self.client.clone());
                let (number, has_versions) = (range.number, self.has_versions);
                self.in_flight.push(Box::pin(async move {
                    let answer = request(&ports, &client, from.clone(), has_versions).await;
                    (number, from, answer)
                }));
                continue;
            }
            if is_full || self.pages == 0 || self.is_serial || !self.split() {
                return;
            }
        }
    }

    /// Makes another range; whether there is one.
    fn split(&mut self) -> bool {
        if let Some(last) = self.ranges.back()
            && !last.is_done()
        {
            while let Some(hint) = self.hints.pop_front() {
                let is_new = last.pace.last().is_none_or(|key| key < hint.as_str());
                if is_new && hint.starts_with(&self.client.config().prefix) {
                    self.split_at(self.ranges.len() - 1, hint, false);
                    return true;
                }
            }
        }
        let at_risk = self.ranges.iter().filter(|range| range.is_guess && range.count == 0).count() as u64;
        let is_too_dear = self.wasted + 1000 * at_risk > 1000 * self.bounds.list_guesses + self.pages * WASTE_PER_PAGE;
        if self.pages < 2 || at_risk >= self.guesses || is_too_dear {
            return false;
        }
        let prefix = &self.client.config().prefix;
        for at in 0..self.ranges.len() {
            let range = &mut self.ranges[at];
            if range.is_done() || range.tried.as_ref() == Some(&(range.count, range.upper.clone())) {
                continue;
            }
            let is_short = range.split_after.is_some_and(|count| range.count < count + u64::from(self.aim) * 5 / 4);
            if is_short {
                // By other keys it may seem longer: it is split again once it is.
                continue;
            }
            if let Some(bound) = range.pace.guess(self.aim, range.upper.as_deref(), prefix) {
                range.split_after = Some(range.count);
                self.split_at(at, bound, true);
                return true;
            }
            range.tried = Some((range.count, range.upper.clone()));
        }
        false
    }

    fn split_at(&mut self, at: usize, bound: String, is_guess: bool) {
        let range = &mut self.ranges[at];
        let upper = range.upper.replace(bound.clone());
        let pace = range.pace.inherit(bound.clone(), self.aim);
        let next = Range::new(self.ranges_made, Some(bound), upper, is_guess, pace);
        self.ranges_made += 1;
        self.ranges.insert(at + 1, next);
    }

    /// Takes a page that came.
    fn receive(&mut self, number: u64, from: Cursor, answer: Answer) -> Result<()> {
        let Some(at) = self.ranges.iter().position(|range| range.number == number) else {
            return Ok(());
        };
        let range = &mut self.ranges[at];
        range.is_on_its_way = false;
        let followed = answer.and_then(|(page, has_versions)| {
            range.trail.follow(operation(has_versions), has_versions, &page)?;
            Ok((page, has_versions))
        });
        let (page, has_versions) = match followed {
            Ok(page) => page,
            Err(error) if at > 0 => {
                // It may not be so once it is this one's turn.
                self.ports.log(Level::Debug, &format!("a page of a range failed: {}", self.explain(error)));
                self.go_on_serially(at);
                return Ok(());
            }
            Err(error) => return Err(self.explain(error)),
        };
        if !has_versions && self.has_versions != Some(false) {
            warn_of_no_versions(&self.ports);
        }
        self.has_versions = Some(has_versions);
        if self.pages == 0 {
            self.first_took = self.ports.elapsed().saturating_sub(self.begun);
        }
        self.pages += 1;
        let is_early = |entry: &VersionEntry| range.lower.as_ref().is_some_and(|lower| entry.object.key < *lower);
        let is_odd = !is_ordered(&page.entries) || page.entries.iter().any(is_early);
        if is_odd && at > 0 {
            self.distrust(at, "the store's pages are not in the order of keys");
            return Ok(());
        }
        self.held_bytes += range.take(from, page);
        if range.is_guess && range.count == 1 {
            let is_right = range.first.is_some() && (range.upper.is_none() || range.first <= range.upper);
            self.guesses = if is_right { self.guesses + 1 } else { (self.guesses / 2).max(1) };
        }
        if is_odd {
            self.distrust(1, "the store's pages are not in the order of keys");
        }
        self.end(at);
        Ok(())
    }

    fn explain(&self, error: s3::Error) -> crate::error::Error {
        error.explain(self.client.config())
    }

    /// Does what follows where a range has come to its end.
    fn end(&mut self, at: usize) {
        // Nobody has begun with what follows: it is this range's.
        while self.ranges[at].is_done() && self.ranges.get(at + 1).is_some_and(Range::is_untouched) {
            let next = self.ranges.remove(at + 1).expect("there is one");
            self.ranges[at].extend(next.upper);
        }
        let range = &self.ranges[at];
        if !range.is_done() {
            return;
        }
        if let Some(last) = range.held.back() {
            let entries = &last.page.entries;
            let beyond = entries.iter().filter(|entry| Some(&entry.object.key) > range.upper.as_ref()).count();
            let is_cut = range.reaches_beyond(last);
            if is_cut && range.is_guess && range.count > 1 {
                let pages = self.bounds.list_pages;
                let count = u32::try_from(range.count).unwrap_or(u32::MAX).clamp(pages / 2, pages * 4);
                let better = (self.aim * 3 + self.aim * pages / count).div_ceil(4);
                self.aim = better.clamp(pages.div_ceil(2), pages * 2);
            }
            self.wasted += if is_cut { 1000 * beyond as u64 / entries.len().max(1) as u64 } else { 0 };
        }
        let is_end = range.held.back().is_some_and(|last| !range.reaches_beyond(last));
        if is_end {
            // The listing is over.
            self.drop_from(at + 1);
            self.ranges[at].upper = None;
        }
    }
}

#[cfg(test)]
mod tests;
