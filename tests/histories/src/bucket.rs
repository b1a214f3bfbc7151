//! Owns the bucket of a history: the server's model, and a ledger of every version that it ever had. Leaves requests to
//! `wire`, and what must be told of a version to `check`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use embedded_s3::{Clock, ListingKinds, MultipartOrder, ObjectHeaders, Options, Store, StoredVersion, Versioning};

use crate::history::{Act, KEYS, StoreSetup};

/// The bucket's name.
pub const BUCKET: &str = "b1x";

/// A version or delete marker that the bucket has or had. `null` versions that no listing can tell apart are one.
#[derive(Clone, Debug)]
pub struct Version {
    /// The index of its key.
    pub key: usize,
    /// Its id, `null` where it has none of its own.
    pub id: String,
    /// Whether it is a delete marker.
    pub is_marker: bool,
    /// The bytes.
    pub body: Bytes,
    /// The entity tag, without quotes.
    pub etag: String,
    /// When it was modified, as the store says.
    pub stamp: SystemTime,
    /// The same as listings write it.
    pub stamp_text: String,
    /// Its place among the versions of its key: the greater, the nearer to the top.
    pub place: u64,
}

impl Version {
    /// Whether it is what a listing calls by the same name.
    fn is(&self, key: usize, stored: &StoredVersion) -> bool {
        self.key == key
            && self.id == stored.version_id
            && self.is_marker == stored.delete_marker
            && self.stamp == stored.last_modified
            && self.etag == stored.etag
            && self.body == stored.body
    }

    /// Whether there can be only one of its id.
    pub fn is_null(&self) -> bool {
        self.id == "null"
    }
}

/// An upload in progress.
struct Upload {
    key: usize,
    id: String,
    place: u64,
}

/// The bucket.
pub struct Bucket {
    store: Store,
    clock: Clock,
    setup: StoreSetup,
    /// Every version that there was.
    pub ledger: Vec<Version>,
    /// What is there now of each key, by its place in the ledger, the top first.
    pub now: Vec<Vec<usize>>,
    uploads: Vec<Upload>,
    /// How far the store's clock is ahead of the world's, in milliseconds.
    skew_ms: i64,
    places: u64,
    bodies: u64,
}

impl Bucket {
    /// An empty bucket.
    pub fn new(setup: &StoreSetup) -> Self {
        let clock = Clock::manual(SystemTime::UNIX_EPOCH);
        let store = Store::new(Options {
            keys: Vec::new(),
            clock: clock.clone(),
            milliseconds: setup.milliseconds,
            multipart_time_at_completion: setup.stamps_completion,
            multipart_order: setup.order,
            listing_kinds: ListingKinds::Interleaved,
            ..Options::default()
        });
        store.create_bucket(BUCKET).expect("the name is a bucket's");
        if setup.versioning != Versioning::Off {
            store.set_versioning(BUCKET, setup.versioning).expect("versioning can be switched on");
        }
        Self {
            store,
            clock,
            setup: setup.clone(),
            ledger: Vec::new(),
            now: vec![Vec::new(); KEYS.len()],
            uploads: Vec::new(),
            skew_ms: 0,
            places: 0,
            bodies: 0,
        }
    }

    /// Whether answers name versions.
    pub fn names_versions(&self) -> bool {
        self.store.versioning(BUCKET).expect("there is a bucket") != Versioning::Off
    }

    /// The time by the store's clock when the world's is `now_ms`.
    pub fn time(&self, now_ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms.saturating_add_signed(self.skew_ms))
    }

    /// Sets the store's clock.
    pub fn shift_clock(&mut self, by_ms: i64) {
        self.skew_ms += by_ms;
    }

    /// The current object or delete marker of a key.
    pub fn top(&self, key: usize) -> Option<usize> {
        self.now[key].first().copied()
    }

    /// The current object of a key.
    pub fn object(&self, key: usize) -> Option<usize> {
        self.top(key).filter(|at| !self.ledger[*at].is_marker)
    }

    /// Does what an act says, if it concerns the store.
    pub fn act(&mut self, act: Act, now_ms: u64) {
        self.clock.set(self.time(now_ms));
        self.places += 1;
        match act {
            Act::Put(key) => {
                let body = self.new_body(usize::from(key));
                self.put(usize::from(key), body);
            }
            Act::PutSame(key) => {
                let key = usize::from(key);
                let body = match self.object(key) {
                    Some(at) => self.ledger[at].body.clone(),
                    None => self.new_body(key),
                };
                self.put(key, body);
            }
            Act::Delete(key) => {
                let key = usize::from(key);
                self.store.delete(BUCKET, KEYS[key]).expect("there is a bucket");
                self.look(key, self.places);
            }
            Act::Begin(key) => self.begin(usize::from(key)),
            Act::Complete(which) => self.complete(which),
            Act::Abort(which) => {
                if !self.uploads.is_empty() {
                    let upload = self.uploads.remove(usize::from(which) % self.uploads.len());
                    self.store.abort_upload(BUCKET, KEYS[upload.key], &upload.id).expect("it is in progress");
                }
            }
            Act::Purge(key, which) => self.purge(usize::from(key), which),
            Act::Switch(versioning) => self.store.set_versioning(BUCKET, versioning).expect("it is never switched off"),
            Act::Wait(_)
            | Act::Clock(_)
            | Act::Date(_)
            | Act::Refuse(_)
            | Act::Miss
            | Act::Hide(_)
            | Act::Crash { .. }
            | Act::Stop { .. } => {}
        }
    }

    /// Bytes that no other version has.
    fn new_body(&mut self, key: usize) -> Bytes {
        self.bodies += 1;
        Bytes::from(format!("{}#{}", KEYS[key], self.bodies))
    }

    fn put(&mut self, key: usize, body: Bytes) {
        self.store.put(BUCKET, KEYS[key], body).expect("there is a bucket");
        self.look(key, self.places);
    }

    fn begin(&mut self, key: usize) {
        let body = self.new_body(key);
        let id = self.store.begin_upload(BUCKET, KEYS[key], ObjectHeaders::default()).expect("there is a bucket");
        self.store.upload_part(BUCKET, KEYS[key], &id, 1, body).expect("it was just started");
        self.uploads.push(Upload { key, id, place: self.places });
    }

    fn complete(&mut self, which: u8) {
        if self.uploads.is_empty() {
            return;
        }
        let upload = self.uploads.remove(usize::from(which) % self.uploads.len());
        self.store.complete_upload(BUCKET, KEYS[upload.key], &upload.id).expect("it is in progress");
        let place = match self.setup.order {
            MultipartOrder::Start => upload.place,
            MultipartOrder::Commit => self.places,
        };
        self.look(upload.key, place);
    }

    fn purge(&mut self, key: usize, which: u8) {
        if self.now[key].is_empty() {
            return;
        }
        let version = &self.ledger[self.now[key][usize::from(which) % self.now[key].len()]];
        self.store.delete_version(BUCKET, KEYS[key], &version.id).expect("it is there");
        // Nothing is stored.
        self.look(key, 0);
    }

    /// Takes over what the store has of a key; what is new was stored at `place`.
    fn look(&mut self, key: usize, place: u64) {
        let before = std::mem::take(&mut self.now[key]);
        let versioning = self.store.versioning(BUCKET).expect("there is a bucket");
        let replaces_null = place > 0 && versioning != Versioning::Enabled;
        let stored = self.store.versions(BUCKET).expect("there is a bucket");
        for version in stored.iter().filter(|version| version.key == KEYS[key]) {
            let is_it = |at: &usize| self.ledger[*at].is(key, version);
            let at = match (before.iter().position(is_it), (0..self.ledger.len()).find(is_it)) {
                // The same bytes again, within the same second: no listing tells the difference.
                (Some(_), Some(at)) if replaces_null && version.version_id == "null" => {
                    self.ledger[at].place = place;
                    at
                }
                (Some(_), Some(at)) => at,
                (None, Some(again)) => {
                    self.ledger[again].place = place;
                    again
                }
                (_, None) => {
                    self.ledger.push(new_version(key, version, place));
                    self.ledger.len() - 1
                }
            };
            self.now[key].push(at);
        }
        let is_sorted = self.now[key].is_sorted_by_key(|at| std::cmp::Reverse(self.ledger[*at].place));
        assert!(is_sorted, "the store has another order than it should: {:?}", self.history(key));
    }

    /// What is there of a key, for people.
    pub fn history(&self, key: usize) -> Vec<String> {
        self.now[key].iter().map(|at| self.name(*at)).collect()
    }

    /// A version's name, for people.
    pub fn name(&self, at: usize) -> String {
        let version = &self.ledger[at];
        let what = match version.is_marker {
            true => format!("{} delete marker", KEYS[version.key]),
            false => String::from_utf8_lossy(&version.body).into_owned(),
        };
        let id = version.id.get(..6).unwrap_or(&version.id);
        format!("{what} ({id}, {}, v{at})", version.stamp_text)
    }

    /// What a reader should have in the end: bytes by key.
    pub fn objects(&self) -> BTreeMap<usize, Bytes> {
        let objects = (0..KEYS.len()).filter_map(|key| Some((key, self.ledger[self.object(key)?].body.clone())));
        objects.collect()
    }
}

fn new_version(key: usize, stored: &StoredVersion, place: u64) -> Version {
    let whole = stored.last_modified.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|at| at.subsec_millis() == 0);
    let stamp_text = match whole {
        true => humantime::format_rfc3339_seconds(stored.last_modified).to_string(),
        false => humantime::format_rfc3339_millis(stored.last_modified).to_string(),
    };
    Version {
        key,
        id: stored.version_id.clone(),
        is_marker: stored.delete_marker,
        body: stored.body.clone(),
        etag: stored.etag.clone(),
        stamp: stored.last_modified,
        stamp_text,
        place,
    }
}
