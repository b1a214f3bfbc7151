//! Objects that are created, overwritten and deleted while others read the bucket, whenever they ask for something.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use embedded_s3::{Clock, EmbeddedS3, Filter, Hook, ObjectHeaders, Options, S3Operation, Stage, Store, StoredVersion};

use crate::dice::Dice;
use crate::sandbox::PHOTOS;

/// Objects at the start.
const OBJECTS: usize = 120;
/// Keys that are taken again and again.
const KEYS: usize = 160;

/// What was in the bucket when a snapshot began: the versions, and whether each was current.
pub type Line = BTreeMap<(String, String), bool>;

/// Changes the bucket as requests come. Ends when it is dropped.
pub struct Churn {
    hand: Arc<Mutex<Hand>>,
    _hooks: Vec<Hook>,
}

struct Hand {
    store: Store,
    dice: Dice,
    /// Between a process and the next nothing changes: what a snapshot must have would not be known.
    is_resting: bool,
    uploads: Vec<(String, String)>,
    made: usize,
    /// How far the server's clock goes on at a change, at most: many of them in a second, or few.
    step_ms_max: usize,
}

/// A server whose clock stands but for the churn, and whose pages are small.
pub fn options(dice: &mut Dice) -> Options {
    Options { clock: Clock::manual(SystemTime::now()), page_size_max: 20 + dice.below(100), ..Options::default() }
}

impl Churn {
    /// Fills the bucket, with a history.
    pub fn start(server: &EmbeddedS3, dice: &mut Dice) -> Self {
        let mut hand = Hand {
            store: server.store().clone(),
            dice: Dice::new(dice.word()),
            is_resting: true,
            uploads: Vec::new(),
            made: 0,
            step_ms_max: *dice.pick(&[1, 50, 400]),
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
        let on = |stage, operation, acts: fn(&mut Hand)| {
            let hand = Arc::clone(&hand);
            let filter = Filter::from(operation);
            server.hooks().on(stage, filter, move |seen| {
                if seen.bucket.as_deref() == Some(PHOTOS) {
                    acts(&mut lock(&hand));
                }
                std::future::ready(())
            })
        };
        let hooks = vec![
            on(Stage::AfterAct, S3Operation::ListObjectsV2, Hand::wake),
            on(Stage::AfterAct, S3Operation::ListObjectVersions, Hand::wake),
            on(Stage::BeforeAct, S3Operation::GetObject, Hand::sometimes),
            on(Stage::AfterAct, S3Operation::GetObject, Hand::sometimes),
            on(Stage::BeforeAct, S3Operation::ListObjectVersions, Hand::often),
        ];
        Self { hand, _hooks: hooks }
    }

    /// Stops until the next process lists.
    pub fn rest(&self) {
        lock(&self.hand).is_resting = true;
    }

    /// Completes what is under way, and ends.
    pub fn end(self) {
        let mut hand = lock(&self.hand);
        while !hand.uploads.is_empty() {
            hand.complete();
        }
    }

    /// What is in the bucket.
    pub fn line(&self) -> Line {
        let versions = lock(&self.hand).store.versions(PHOTOS).unwrap();
        let entry = |v: StoredVersion| {
            let is_current = v.is_latest && !v.delete_marker;
            ((v.key, v.version_id), is_current)
        };
        versions.into_iter().map(entry).collect()
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
    fn wake(&mut self) {
        self.is_resting = false;
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
            0 | 1 if self.store.get(PHOTOS, &key).is_ok() => {
                self.store.delete(PHOTOS, &key).unwrap();
            }
            2 => self.begin(),
            3 if !self.uploads.is_empty() => self.complete(),
            _ => self.put(&key),
        }
    }

    fn put(&mut self, key: &str) {
        let content = self.content();
        self.store.put(PHOTOS, key, content).unwrap();
    }

    /// Begins an upload, whose object will have the time of now. Its key is its own: where stamps of one key run
    /// against the order of storage, S3 does not say which is newer.
    fn begin(&mut self) {
        self.made += 1;
        let key = format!("a/upload {:05}", self.made);
        let id = self.store.begin_upload(PHOTOS, &key, ObjectHeaders::default()).unwrap();
        self.uploads.push((key, id));
    }

    fn complete(&mut self) {
        let at = self.dice.below(self.uploads.len());
        let (key, id) = self.uploads.swap_remove(at);
        let content = self.content();
        self.store.upload_part(PHOTOS, &key, &id, 1, content).unwrap();
        self.store.complete_upload(PHOTOS, &key, &id).unwrap();
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
