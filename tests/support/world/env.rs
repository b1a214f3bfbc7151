//! Owns what a case gets of its world: buckets under the conditions that it asks for.
//!
//! Leaves which cases run in which world to `suite`, and what a case does to a bucket to `bucket`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use embedded_s3::{Clock, EmbeddedS3, Options, Versioning, Wire};
use s3_connector_host::{Connector, Options as LoadOptions};

use super::backend::{Backend, Embedded, Remote};
use super::bucket::{Bucket, Runner};
use super::native::{Shared, Timeline};
use super::relay::Relay;
use super::remote::RemoteServer;
use super::suite::WorldKind;
use super::{BUCKET, connector, load};

/// How many requests to a real server are kept for a case to look at.
const REQUESTS_LOGGED_MAX: usize = 10_000;

/// Conditions under which a case runs; the default is a plain bucket on a store like AWS.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    versioning: Option<Versioning>,
    is_stopped: bool,
    ahead_seconds: i64,
    store: Option<Options>,
}

impl Conditions {
    /// A bucket that keeps versions.
    pub fn versioned() -> Self {
        Self::default().versioning(Versioning::Enabled)
    }

    /// Whether the bucket keeps versions.
    #[must_use]
    pub fn versioning(mut self, versioning: Versioning) -> Self {
        self.versioning = Some(versioning);
        self
    }

    /// The clock of the store stands until the case moves it.
    #[must_use]
    pub fn stopped(self) -> Self {
        self.stopped_if(true)
    }

    /// The same, where the world allows it.
    #[must_use]
    pub fn stopped_if(mut self, is_stopped: bool) -> Self {
        self.is_stopped = is_stopped;
        self
    }

    /// How far the connector's clock is ahead of the store's.
    #[must_use]
    pub fn ahead(mut self, seconds: i64) -> Self {
        self.ahead_seconds = seconds;
        self
    }

    /// Changes what kind of store it is; the clock is set by the above.
    #[must_use]
    pub fn on(self, change: impl FnOnce(&mut Options)) -> Self {
        self.on_if(true, change)
    }

    /// The same, where the world allows it.
    #[must_use]
    pub fn on_if(mut self, applies: bool, change: impl FnOnce(&mut Options)) -> Self {
        if applies {
            change(self.store.get_or_insert_default());
        }
        self
    }
}

/// What a case gets of its world.
pub struct Env {
    kind: WorldKind,
    remote: Option<Rc<RemoteServer>>,
    made: RefCell<Vec<String>>,
}

impl Env {
    pub(super) fn new(kind: WorldKind, remote: Option<RemoteServer>) -> Self {
        Self { kind, remote: remote.map(Rc::new), made: RefCell::default() }
    }

    /// The component on an embedded S3, for tests that are no cases: what is measured, or inspected there alone.
    pub fn component() -> Self {
        Self::new(WorldKind::Component, None)
    }

    /// Which world it is.
    pub fn kind(&self) -> WorldKind {
        self.kind
    }

    /// Whether the server is a real one, whose kind and clock a case can't choose.
    pub fn is_real(&self) -> bool {
        self.kind == WorldKind::Real
    }

    /// A bucket that keeps no versions.
    pub async fn plain(&self) -> Bucket {
        self.bucket(Conditions::default()).await
    }

    /// A bucket that keeps versions.
    pub async fn versioned(&self) -> Bucket {
        self.bucket(Conditions::versioned()).await
    }

    /// A plain bucket at whose store the clock stands. On a real one it goes on, from the beginning of a second.
    pub async fn within_a_second(&self) -> Bucket {
        let bucket = self.bucket(Conditions::default().stopped_if(!self.is_real())).await;
        bucket.advance(Duration::ZERO).await;
        bucket
    }

    /// A bucket that keeps versions and holds a page of objects and two more, each of which says `1`; with their
    /// keys and the size of a page, which is small where the store can be told so.
    pub async fn paged(&self) -> (Bucket, Vec<String>, usize) {
        let (page_size_max, conditions) = if self.is_real() {
            (1000, Conditions::versioned())
        } else {
            (2, Conditions::versioned().on(|store| store.page_size_max = 2))
        };
        let bucket = self.bucket(conditions).await;
        let keys: Vec<_> = (0..page_size_max + 2).map(|n| format!("k{n:04}")).collect();
        bucket.put_all(&keys, |_| "1".to_owned()).await;
        (bucket, keys, page_size_max)
    }

    /// A bucket under conditions.
    pub async fn bucket(&self, conditions: Conditions) -> Bucket {
        let versioning = conditions.versioning;
        let bucket = match self.kind {
            WorldKind::Native => native(conditions),
            WorldKind::Component => component(conditions).await,
            WorldKind::Real => self.real(&conditions).await,
        };
        if let Some(versioning) = versioning {
            bucket.set_versioning(versioning).await;
        }
        bucket
    }

    async fn real(&self, conditions: &Conditions) -> Bucket {
        let is_usual = conditions.store.is_none() && conditions.ahead_seconds == 0;
        assert!(is_usual && !conditions.is_stopped, "a case that changes the store excepts the real world");
        let server = Rc::clone(self.remote.as_ref().expect("`run` has made it"));
        let name = unique_name();
        server.create_bucket(&name).await;
        self.made.borrow_mut().push(name.clone());
        let wire = Wire::new(Duration::ZERO, REQUESTS_LOGGED_MAX);
        let relay = Relay { wire: wire.clone(), client: server.client.clone() };
        let options = LoadOptions { upstream: Some(Arc::new(relay)), core_dumps: false, ..load() };
        let connector = Connector::load(options).await.expect("it loads");
        let backend = Remote { bucket: name.clone(), server, wire };
        Bucket { name, backend: Box::new(backend), runner: Runner::Host(connector) }
    }

    /// Removes what it made on a real server; returns what can't be removed.
    pub(super) async fn clean(&self) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(server) = &self.remote {
            for bucket in self.made.take() {
                let versions = server.remove_bucket(&bucket).await;
                if !versions.is_empty() {
                    left.push(format!("{bucket}: {versions:?}"));
                }
            }
        }
        left
    }
}

fn native(conditions: Conditions) -> Bucket {
    let clock = Clock::manual(Timeline::epoch());
    let server = EmbeddedS3::unbound(Options { clock, ..conditions.store.unwrap_or_default() });
    let timeline = Timeline::new(conditions.is_stopped);
    let shared = Rc::new(Shared::new(server, timeline, conditions.ahead_seconds));
    on_embedded(Rc::clone(&shared), Runner::Core(shared))
}

async fn component(conditions: Conditions) -> Bucket {
    let now = SystemTime::now();
    let clock = match conditions.ahead_seconds {
        0 if !conditions.is_stopped => Clock::system(),
        // The host's clock is the machine's, so it is the server's that is off.
        ahead => {
            let by = Duration::from_secs(ahead.unsigned_abs());
            Clock::manual(if ahead < 0 { now + by } else { now - by })
        }
    };
    let options = Options { clock, ..conditions.store.unwrap_or_default() };
    let server = EmbeddedS3::start(options).await.expect("a port is free");
    // No timeline moves this server's clock, nor does anybody ask for the core's.
    let shared = Shared::new(server, Timeline::new(true), 0);
    on_embedded(Rc::new(shared), Runner::Host(connector().await))
}

fn on_embedded(shared: Rc<Shared>, runner: Runner) -> Bucket {
    shared.server.store().create_bucket(BUCKET).expect("the store is new");
    let backend: Box<dyn Backend> = Box::new(Embedded { bucket: BUCKET.to_owned(), shared });
    Bucket { name: BUCKET.to_owned(), backend, runner }
}

/// A name that no other run has: real servers keep what an aborted run leaves.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let (nanos, count) = (since.map_or(0, |s| s.as_nanos()), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("s3-connector-test-{:x}-{:x}-{count}", nanos, std::process::id())
}
