//! Objects that are created, overwritten and deleted while others read the bucket, whenever they ask for something.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use embedded_s3::{
    Clock, EmbeddedS3, Filter, Hook, ObjectHeaders, Options, S3Operation, Seen, Stage, Store, StoredVersion,
};
use percent_encoding::percent_decode_str;

use crate::dice::Dice;
use crate::sandbox::PHOTOS;

/// Objects at the start.
const OBJECTS: usize = 120;
/// Keys that are taken again and again.
const KEYS: usize = 160;

/// A version by key and id.
pub type Version = (String, String);

/// What a bucket keeps, and what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Versions, each of which stays.
    Versions,
    /// Versions that may be removed permanently, tops and markers too, and uploads that land below what was stored since.
    Purges,
    /// No versions.
    Plain,
}

impl Kind {
    /// All of them.
    const ALL: [Self; 3] = [Self::Versions, Self::Purges, Self::Plain];

    /// One that a seed draws.
    pub fn draw(dice: &mut Dice) -> Self {
        *dice.pick(&Self::ALL)
    }
}

/// Changes the bucket as requests come. Ends when it is dropped.
pub struct Churn {
    hand: Arc<Mutex<Hand>>,
    _hooks: Vec<Hook>,
}

struct Hand {
    kind: Kind,
    store: Store,
    /// All that was ever stored, what is gone again included.
    stored: Vec<StoredVersion>,
    dice: Dice,
    /// Between a process and the next nothing changes: what a snapshot must have would not be known.
    is_resting: bool,
    uploads: Vec<(String, String)>,
    made: usize,
    /// How far the server's clock goes on at a change, at most: many of them in a second, or few.
    step_ms_max: usize,
    /// What the first listing may have shown, of which only the top of a key is told.
    line: BTreeSet<Version>,
    listing: Listing,
}

/// Whether requests for pages are the first listing's.
#[derive(PartialEq, Eq)]
enum Listing {
    /// They are, and the last one asked for what is after this key.
    First { after: Option<String> },
    /// Its first page was not asked for yet.
    None,
    /// It is over, in this process or in one before.
    Over,
}

/// A server whose clock stands but for the churn, and whose pages are small.
pub fn options(dice: &mut Dice) -> Options {
    Options { clock: Clock::manual(SystemTime::now()), page_size_max: 20 + dice.below(100), ..Options::default() }
}

impl Churn {
    /// Fills the bucket, with a history.
    pub fn start(server: &EmbeddedS3, kind: Kind, dice: &mut Dice) -> Self {
        let store = server.store().clone();
        if kind == Kind::Plain {
            // Versioning can't be switched off again.
            store.delete_bucket(PHOTOS).unwrap();
            store.create_bucket(PHOTOS).unwrap();
        }
        let mut hand = Hand {
            kind,
            store,
            stored: Vec::new(),
            dice: Dice::new(dice.word()),
            is_resting: true,
            uploads: Vec::new(),
            made: 0,
            step_ms_max: *dice.pick(&[1, 50, 400]),
            line: BTreeSet::new(),
            listing: Listing::None,
        };
        for n in 0..OBJECTS {
            hand.put(&name(n));
        }
        for _ in 0..OBJECTS / 2 {
            hand.change();
        }
        if dice.one_in(2) {
            hand.store.clock().advance(Duration::from_secs(2));
        }
        let hand = Arc::new(Mutex::new(hand));
        let on = |stage, operation, acts: fn(&mut Hand, &Seen)| {
            let hand = Arc::clone(&hand);
            let filter = Filter::from(operation);
            server.hooks().on(stage, filter, move |seen| {
                if seen.bucket.as_deref() == Some(PHOTOS) {
                    acts(&mut lock(&hand), &seen);
                }
                std::future::ready(())
            })
        };
        let hooks = vec![
            on(Stage::AfterAct, S3Operation::ListObjectVersions, Hand::listed),
            on(Stage::BeforeAct, S3Operation::GetObject, |hand, _| hand.sometimes()),
            on(Stage::AfterAct, S3Operation::GetObject, |hand, _| hand.sometimes()),
            on(Stage::BeforeAct, S3Operation::ListObjectVersions, |hand, _| hand.often()),
        ];
        Self { hand, _hooks: hooks }
    }

    /// Stops until the next process lists.
    pub fn rest(&self) {
        lock(&self.hand).is_resting = true;
    }

    /// Completes what is under way, and ends; returns all that was ever stored, and what the first listing may have shown,
    /// be it the next process's.
    pub fn end(self, is_past_snapshot: bool) -> (Vec<StoredVersion>, BTreeSet<Version>) {
        self.starts(is_past_snapshot);
        let mut hand = lock(&self.hand);
        while !hand.uploads.is_empty() {
            hand.complete();
        }
        (std::mem::take(&mut hand.stored), std::mem::take(&mut hand.line))
    }

    /// Before a process starts: whether its position is one after the first listing.
    pub fn starts(&self, is_past_snapshot: bool) {
        let mut hand = lock(&self.hand);
        hand.listing = if is_past_snapshot { Listing::Over } else { Listing::None };
        if !is_past_snapshot {
            hand.line = hand.bucket();
        }
    }
}

fn lock(hand: &Mutex<Hand>) -> MutexGuard<'_, Hand> {
    hand.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(n: usize) -> String {
    // In three folders, one of which sorts before the members of the others.
    match n % 3 {
        0 => format!("a/{n:03}"),
        1 => format!("a-{n:03} ü+%"),
        _ => format!("b/{n:03}"),
    }
}

impl Hand {
    fn bucket(&self) -> BTreeSet<Version> {
        let versions = self.store.versions(PHOTOS).unwrap();
        versions.into_iter().map(|v| (v.key, v.version_id)).collect()
    }

    /// Takes note of what a page of the first listing showed, and begins to change the bucket.
    fn listed(&mut self, seen: &Seen) {
        self.is_resting = false;
        let value = |name| {
            let text = seen.query.split('&').find_map(|part| part.split_once('=').filter(|(is, _)| *is == name));
            text.map(|(_, value)| percent_decode_str(value).decode_utf8().unwrap().into_owned())
        };
        if value("prefix").is_some_and(|prefix| !prefix.is_empty()) {
            // A look at a single key.
            return;
        }
        let after = value("key-marker");
        let is_first = match &self.listing {
            Listing::None => true,
            // It goes forward, page by page. One that begins anew is the next.
            Listing::First { after: before } => after > *before,
            Listing::Over => false,
        };
        if !is_first {
            self.listing = Listing::Over;
            return;
        }
        // What the pages after this one show is taken note of again, with what is stored until then.
        let shown = self.bucket().into_iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
        self.line.extend(shown);
        self.listing = Listing::First { after };
    }

    fn sometimes(&mut self) {
        if !self.is_resting && self.dice.one_in(4) {
            self.change();
        }
    }

    fn often(&mut self) {
        if !self.is_resting {
            for _ in 0..self.dice.below(6) {
                self.change();
            }
        }
    }

    fn change(&mut self) {
        let step_ms = self.dice.below(self.step_ms_max) as u64;
        let clock = self.store.clock();
        clock.advance(Duration::from_millis(step_ms));
        let key = name(self.dice.below(KEYS));
        match self.dice.below(8) {
            0 | 1 if self.store.get(PHOTOS, &key).is_ok() => self.delete(&key),
            2 => self.begin(&key),
            3 if !self.uploads.is_empty() => self.complete(),
            4 if self.kind == Kind::Purges => self.purge(&key),
            _ => self.put(&key),
        }
    }

    fn put(&mut self, key: &str) {
        let content = self.content();
        let stored = self.store.put(PHOTOS, key, content).unwrap();
        self.stored.push(stored);
    }

    fn delete(&mut self, key: &str) {
        if let Some(id) = self.store.delete(PHOTOS, key).unwrap() {
            self.stored.push(self.store.versions(PHOTOS).unwrap().into_iter().find(|v| v.version_id == id).unwrap());
        }
    }

    /// Removes a version or a marker of a key permanently, often the one on top.
    fn purge(&mut self, key: &str) {
        let versions = self.store.versions(PHOTOS).unwrap();
        let versions: Vec<_> = versions.into_iter().filter(|v| v.key == key).collect();
        if !versions.is_empty() {
            let at = if self.dice.one_in(2) { 0 } else { self.dice.below(versions.len()) };
            self.store.delete_version(PHOTOS, key, &versions[at].version_id).unwrap();
        }
    }

    /// Begins an upload, whose object will have the time and the place of now. Where order is looked at, its key is its
    /// own.
    fn begin(&mut self, key: &str) {
        self.made += 1;
        let key = if self.kind == Kind::Versions { format!("a/upload {:05}", self.made) } else { key.to_owned() };
        let id = self.store.begin_upload(PHOTOS, &key, ObjectHeaders::default()).unwrap();
        self.uploads.push((key, id));
    }

    fn complete(&mut self) {
        let at = self.dice.below(self.uploads.len());
        let (key, id) = self.uploads.swap_remove(at);
        let content = self.content();
        self.store.upload_part(PHOTOS, &key, &id, 1, content).unwrap();
        let stored = self.store.complete_upload(PHOTOS, &key, &id).unwrap();
        self.stored.push(stored);
    }

    /// Mostly small; some larger than a pipe, and some than what is read whole before its line begins.
    fn content(&mut self) -> Bytes {
        self.made += 1;
        let text = format!("content {}", self.made);
        let bytes_min = match self.dice.below(60) {
            0 => 2 << 20,
            1..6 => 100_000,
            _ => 0,
        };
        let times = bytes_min / text.len() + 1;
        Bytes::from(text.repeat(times))
    }
}
