//! Cases that hold the embedded server against a real one: the same is done to both, and what they list is compared.
//!
//! Which store the embedded server plays is told by what the real one calls itself. One that isn't known is taken for
//! one that does as AWS does.

use std::time::Duration;

use embedded_s3::{Options, Versioning};
use s3_connector_tests::in_every_world;
use s3_connector_tests::world::{Bucket, Conditions, Env, Listed, Listing, Upload, Version};

in_every_world! {
    a_real_server_lists_what_the_embedded_one_lists
        except(Native, "there is nothing to compare") except(Component, "there is nothing to compare"),
    a_real_server_lists_histories_at_random_as_the_embedded_one_does
        except(Native, "there is nothing to compare") except(Component, "there is nothing to compare"),
    a_real_server_goes_on_after_a_gone_version_as_the_embedded_one_does
        except(Native, "there is nothing to compare") except(Component, "there is nothing to compare"),
}

/// Something that is done to a bucket.
#[derive(Clone, Debug)]
enum Step {
    Put(&'static str),
    Delete(&'static str),
    /// Removes permanently the version with this place among all that are listed, sorted by key and name.
    Remove(usize),
    Begin(&'static str),
    /// Completes the upload with this place among those in progress.
    Complete(usize),
    Switch(Versioning),
    /// Lets a second pass, which stamps can show.
    Wait,
}

use Step::{Begin, Complete, Delete, Put, Remove, Switch, Wait};

/// A real store that the embedded server can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Aws,
    Minio,
    Moto,
}

impl Store {
    async fn of(bucket: &Bucket) -> Self {
        let server = bucket.listing().page(None, 1).await.server;
        match server.as_str() {
            "MinIO" => Self::Minio,
            server if server.starts_with("Werkzeug") => Self::Moto,
            _ => Self::Aws,
        }
    }

    fn played(self) -> Options {
        match self {
            Self::Aws => Options::default(),
            Self::Minio => Options::minio(),
            Self::Moto => Options::moto(),
        }
    }
}

/// A version as both stores must list it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    key: String,
    /// `null`, or the number of the id in the order in which ids came up.
    name: String,
    is_marker: bool,
    is_latest: bool,
    etag: String,
    /// How many of the waits were over at its stamp.
    second: usize,
}

/// A bucket, and what was seen in it so far.
struct Observed {
    bucket: Bucket,
    listing: Listing,
    ids: Vec<String>,
    seconds: Vec<String>,
    uploads: Vec<Upload>,
    bodies_count: usize,
}

impl Observed {
    fn new(bucket: Bucket) -> Self {
        let (ids, seconds, uploads) = (Vec::new(), Vec::new(), Vec::new());
        Self { listing: bucket.listing(), bucket, ids, seconds, uploads, bodies_count: 0 }
    }

    async fn act(&mut self, step: &Step) {
        match *step {
            Put(key) => {
                let body = self.body();
                self.bucket.put(key, body).await;
            }
            Delete(key) => self.bucket.delete(key).await,
            Remove(at) => {
                let mut listed = self.whole().await;
                listed.sort_by_key(|entry| self.shape(entry));
                if let Some(Listed { key, id, is_marker, .. }) = listed.into_iter().nth(at) {
                    self.bucket.delete_version(&Version { key, id, is_marker }).await;
                }
            }
            Begin(key) => {
                let mut upload = self.bucket.begin_upload(key).await;
                let body = self.body();
                self.bucket.upload_part(&mut upload, body).await;
                self.uploads.push(upload);
            }
            Complete(at) => {
                if at < self.uploads.len() {
                    let upload = self.uploads.remove(at);
                    self.bucket.complete_upload(upload).await;
                }
            }
            Switch(versioning) => self.bucket.set_versioning(versioning).await,
            Wait => {
                self.bucket.advance(Duration::from_secs(1)).await;
                self.seconds.push(self.listing.page(None, 1).await.date);
            }
        }
    }

    /// Another one each time, so that entity tags tell them apart.
    fn body(&mut self) -> String {
        self.bodies_count += 1;
        format!("body {}", self.bodies_count)
    }

    async fn whole(&self) -> Vec<Listed> {
        self.listing.page(None, 1000).await.entries
    }

    /// The whole bucket on one page, and on pages of two.
    async fn shapes(&mut self) -> [Vec<Vec<Shape>>; 2] {
        let whole = self.whole().await;
        // At most one id is new, so that the order within the page doesn't matter.
        for entry in &whole {
            if entry.id != "null" && !self.ids.contains(&entry.id) {
                self.ids.push(entry.id.clone());
            }
        }
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = self.listing.page(after.as_ref(), 2).await;
            // MinIO now and then says that there is more where there is nothing.
            if !page.entries.is_empty() {
                pages.push(page.entries.iter().map(|entry| self.shape(entry)).collect());
            }
            after = page.next;
            if after.is_none() {
                return [vec![whole.iter().map(|entry| self.shape(entry)).collect()], pages];
            }
        }
    }

    fn shape(&self, entry: &Listed) -> Shape {
        let number = self.ids.iter().position(|id| *id == entry.id);
        Shape {
            key: entry.key.clone(),
            name: number.map_or_else(|| entry.id.clone(), |number| format!("#{number:03}")),
            is_marker: entry.is_marker,
            is_latest: entry.is_latest,
            etag: entry.etag.clone(),
            second: self.seconds.iter().filter(|second| **second <= entry.last_modified).count(),
        }
    }
}

async fn twins(env: &Env) -> (Store, Observed, Observed) {
    let real = env.plain().await;
    let store = Store::of(&real).await;
    let conditions = Conditions::default().stopped().on(|options| *options = store.played());
    let embedded = Env::component().bucket(conditions).await;
    (store, Observed::new(real), Observed::new(embedded))
}

/// Does the same to both, and compares after each step.
async fn compare(env: &Env, name: &str, steps: &[Step]) {
    let (store, mut real, mut embedded) = twins(env).await;
    for (at, step) in steps.iter().enumerate() {
        if store == Store::Moto && matches!(step, Switch(Versioning::Suspended)) {
            println!("{name}: ends before versioning is suspended, where moto loses versions");
            return;
        }
        real.act(step).await;
        embedded.act(step).await;
        let (theirs, ours) = (real.shapes().await, embedded.shapes().await);
        assert_eq!(theirs, ours, "{name}: {store:?} lists the left after {:?}", &steps[..=at]);
    }
}

async fn a_real_server_lists_what_the_embedded_one_lists(env: &Env) {
    let on = Switch(Versioning::Enabled);
    let suspended = Switch(Versioning::Suspended);
    let late = [on.clone(), Begin("k"), Wait, Put("k"), Wait, Delete("k"), Wait, Complete(0), Put("k"), Delete("k")];
    compare(env, "an upload that is completed late", &late).await;
    let two = [on.clone(), Begin("k"), Begin("k"), Wait, Complete(1), Wait, Complete(0), Remove(0), Remove(0)];
    compare(env, "two uploads, the first of which is completed last", &two).await;
    let kinds = [on.clone(), Put("a"), Delete("a"), Put("a"), Put("b"), Delete("b"), Delete("b"), Delete("none")];
    compare(env, "versions and delete markers of several keys", &kinds).await;
    let gone = [on.clone(), Put("k"), Put("k"), Delete("k"), Remove(2), Put("k"), Remove(0), Remove(0), Remove(0)];
    compare(env, "versions and delete markers that are removed permanently", &gone).await;
    let off = [Begin("k"), Wait, Put("k"), Put("l"), Wait, Complete(0), Put("k"), Delete("l"), Delete("k")];
    compare(env, "a bucket without versions", &off).await;
    let switched = [
        [Put("k"), Put("l"), Begin("k"), Begin("n"), on.clone(), Put("k"), Wait, suspended.clone(), Put("k"), Wait],
        [Put("k"), Delete("l"), Put("l"), Complete(0), Delete("k"), on, Put("k"), suspended, Complete(0), Put("n")],
    ];
    compare(env, "versioning that is switched", &switched.concat()).await;
    let (on, suspended) = (Switch(Versioning::Enabled), Switch(Versioning::Suspended));
    let began_off = [Put("k"), Begin("k"), on.clone(), Put("l"), Complete(0)];
    compare(env, "an upload that began before versioning was enabled", &began_off).await;
    let began_on = [on, Put("k"), Begin("k"), suspended, Put("k"), Complete(0)];
    compare(env, "an upload that began before versioning was suspended", &began_on).await;
}

async fn a_real_server_lists_histories_at_random_as_the_embedded_one_does(env: &Env) {
    const STEPS: usize = 60;
    for seed in 1..=4_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let mut steps = vec![Put("a"), Switch(Versioning::Enabled)];
        for _ in 0..STEPS {
            let key = ["a", "b", "c"][below(3)];
            steps.push(match below(12) {
                0..5 => Put(key),
                5..7 => Delete(key),
                7 => Remove(below(4)),
                8 => Begin(key),
                9 | 10 => Complete(below(2)),
                // Suspended in one half of the histories alone, so that the other goes on where it ends the comparison.
                _ if seed % 2 == 0 => Switch([Versioning::Enabled, Versioning::Suspended][below(2)]),
                _ => Remove(0),
            });
        }
        compare(env, &format!("history {seed}"), &steps).await;
    }
}

async fn a_real_server_goes_on_after_a_gone_version_as_the_embedded_one_does(env: &Env) {
    let (store, mut real, mut embedded) = twins(env).await;
    if store == Store::Aws {
        println!("where a listing goes on after a version that is gone, AWS doesn't say");
        return;
    }
    let mut listed = Vec::new();
    for observed in [&mut real, &mut embedded] {
        for step in [Switch(Versioning::Enabled), Put("k"), Put("k"), Put("k"), Put("k"), Put("l")] {
            observed.act(&step).await;
            observed.shapes().await;
        }
        let page = observed.listing.page(None, 2).await;
        let id = page.next.as_ref().expect("there is more").1.clone();
        observed.bucket.delete_version(&Version { key: "k".to_owned(), id, is_marker: false }).await;
        let next = observed.listing.page(page.next.as_ref(), 10).await;
        listed.push(next.entries.iter().map(|entry| observed.shape(entry)).collect::<Vec<_>>());
    }
    assert_eq!(listed[0], listed[1], "{store:?} lists the left");
}
