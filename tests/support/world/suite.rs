//! The worlds and the cases: one body of a case runs in each world, or says why not.
//!
//! A body that no list of cases names is never run, which the compiler reports as dead code.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use s3_connector_host::{Connector, Options as LoadOptions};

use super::bucket::{Bucket, Ground};
use super::native::{Shared, Timeline};
use super::relay::Relay;
use super::remote::Remote;
use super::{BUCKET, connector, load};
use embedded_s3::{EmbeddedS3, Versioning, Wire};

/// How long a case may take. Far more than any does; where time is virtual, it passes as soon as all waits.
const PATIENCE: Duration = Duration::from_secs(300);

/// How many requests to a real server are kept for a case to look at.
const REQUESTS_LOGGED_MAX: usize = 10_000;

/// A world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldKind {
    /// The native core on an embedded S3 in the same process, in virtual time.
    Native,
    /// The shipped component in its host, on an embedded S3 over HTTP.
    Component,
    /// The shipped component in its host, on the real server that the AWS variables name. A case can fail and
    /// hold requests on their way there, too; the server itself it can't change.
    Real,
}

impl WorldKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Native, Self::Component, Self::Real];
}

/// A case, and the worlds in which it does not run, each with its reason.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name, module and all.
    pub name: &'static str,
    /// Where it does not run, and why.
    pub except: &'static [(WorldKind, &'static str)],
}

impl Case {
    /// Why it does not run in a world, if it doesn't.
    pub fn exception(&self, kind: WorldKind) -> Option<&'static str> {
        self.except.iter().find(|(excepted, _)| *excepted == kind).map(|(_, why)| *why)
    }
}

/// Makes the tests of a module: one for each case and world, and the list `CASES` for the table.
#[macro_export]
macro_rules! in_every_world {
    ($( $case:ident $( except($world:ident, $why:expr) )* ),+ $(,)?) => {
        /// The cases of this module.
        pub(crate) const CASES: &[$crate::world::Case] = &[$( $crate::world::Case {
            name: concat!(module_path!(), "::", stringify!($case)),
            except: &[$( ($crate::world::WorldKind::$world, $why) ),*],
        } ),+];
        $(
            mod $case {
                use $crate::world::{WorldKind, run};

                #[tokio::test(start_paused = true)]
                async fn native() {
                    run(WorldKind::Native, super::CASES, module_path!(), super::$case).await;
                }

                #[tokio::test]
                async fn component() {
                    run(WorldKind::Component, super::CASES, module_path!(), super::$case).await;
                }

                #[tokio::test]
                async fn real() {
                    run(WorldKind::Real, super::CASES, module_path!(), super::$case).await;
                }
            }
        )+
    };
}

/// Conditions under which a case runs; the default is a plain bucket on a store like AWS.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Whether the bucket keeps versions.
    pub versioning: Option<Versioning>,
    /// Whether the store's clock stands until the case moves it.
    pub is_stopped: bool,
    /// How far the connector's clock is ahead of the store's.
    pub ahead_seconds: i64,
    /// What kind of store it is; the clock is set by the above.
    pub store: Option<embedded_s3::Options>,
}

/// What a case gets of its world: buckets, each with connectors on it.
pub struct Env {
    kind: WorldKind,
    remote: Option<Rc<Remote>>,
    made: RefCell<Vec<String>>,
}

impl Env {
    /// Which world it is.
    pub fn kind(&self) -> WorldKind {
        self.kind
    }

    /// A bucket that keeps no versions.
    pub async fn plain(&self) -> Bucket {
        self.bucket(Conditions::default()).await
    }

    /// A bucket that keeps versions.
    pub async fn versioned(&self) -> Bucket {
        let versioning = Some(Versioning::Enabled);
        self.bucket(Conditions { versioning, ..Conditions::default() }).await
    }

    /// A plain bucket at whose store the clock stands. On a real one it goes on, from the beginning of a second.
    pub async fn within_a_second(&self) -> Bucket {
        let is_stopped = self.kind != WorldKind::Real;
        let bucket = self.bucket(Conditions { is_stopped, ..Conditions::default() }).await;
        bucket.advance(Duration::ZERO).await;
        bucket
    }

    /// A bucket that keeps versions and holds a page of objects and two more, each of which says `1`; with their
    /// keys and the size of a page, which is small where the store can be told so.
    pub async fn paged(&self) -> (Bucket, Vec<String>, usize) {
        let (page_size_max, store) = if self.kind == WorldKind::Real {
            (1000, None)
        } else {
            let store = embedded_s3::Options { page_size_max: 2, ..embedded_s3::Options::default() };
            (2, Some(store))
        };
        let bucket =
            self.bucket(Conditions { versioning: Some(Versioning::Enabled), store, ..Conditions::default() }).await;
        let keys: Vec<_> = (0..page_size_max + 2).map(|n| format!("k{n:04}")).collect();
        bucket.put_all(&keys, |_| "1".to_owned()).await;
        (bucket, keys, page_size_max)
    }

    /// A bucket under conditions.
    pub async fn bucket(&self, conditions: Conditions) -> Bucket {
        let mut name = BUCKET.to_owned();
        let ground = match (self.kind, &self.remote) {
            (WorldKind::Native, _) => native(&conditions),
            (WorldKind::Component, _) => component(&conditions).await,
            (WorldKind::Real, remote) => {
                let is_usual = conditions.store.is_none() && conditions.ahead_seconds == 0;
                assert!(is_usual && !conditions.is_stopped, "a case that changes the store excepts the real world");
                let remote = Rc::clone(remote.as_ref().expect("`run` has made it"));
                name = unique_name();
                remote.create_bucket(&name).await;
                self.made.borrow_mut().push(name.clone());
                let wire = Wire::new(Duration::ZERO, REQUESTS_LOGGED_MAX);
                let relay = Relay { wire: wire.clone(), client: remote.client.clone() };
                let connector =
                    Connector::load(LoadOptions { upstream: Some(Arc::new(relay)), core_dumps: false, ..load() }).await;
                Ground::Real { remote, wire, connector: connector.expect("it loads") }
            }
        };
        let bucket = Bucket { name, ground };
        if let Some(versioning) = conditions.versioning {
            bucket.set_versioning(versioning).await;
        }
        bucket
    }
}

fn native(conditions: &Conditions) -> Ground {
    let clock = embedded_s3::Clock::manual(Timeline::epoch());
    let options = conditions.store.clone().unwrap_or_default();
    let server = EmbeddedS3::unbound(embedded_s3::Options { clock, ..options });
    server.store().create_bucket(BUCKET).expect("the store is new");
    let timeline = Timeline::new(conditions.is_stopped);
    Ground::Native(Rc::new(Shared::new(server, timeline, conditions.ahead_seconds)))
}

async fn component(conditions: &Conditions) -> Ground {
    let now = SystemTime::now();
    let clock = match conditions.ahead_seconds {
        0 if !conditions.is_stopped => embedded_s3::Clock::system(),
        // The host's clock is the machine's, so it is the server's that is off.
        ahead => {
            let by = Duration::from_secs(ahead.unsigned_abs());
            embedded_s3::Clock::manual(if ahead < 0 { now + by } else { now - by })
        }
    };
    let options = conditions.store.clone().unwrap_or_default();
    let server = EmbeddedS3::start(embedded_s3::Options { clock, ..options }).await.expect("a port is free");
    server.store().create_bucket(BUCKET).expect("the store is new");
    Ground::Component { server, connector: connector().await }
}

/// A name that no other run has: real servers keep what an aborted run leaves.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let (nanos, count) = (since.map_or(0, |s| s.as_nanos()), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("s3-connector-test-{:x}-{:x}-{count}", nanos, std::process::id())
}

/// Runs the case of that name in a world, unless it is excepted there or there is no such world.
///
/// # Panics
///
/// If the case does, once what it made on a real server is removed.
pub async fn run(kind: WorldKind, cases: &[Case], name: &str, body: impl AsyncFnOnce(&Env)) {
    let case = cases.iter().find(|case| case.name == name).expect("the macro lists every case");
    if let Some(why) = case.exception(kind) {
        println!("{} does not run in the {kind:?} world: {why}", case.name);
        return;
    }
    let remote = match kind {
        WorldKind::Real => match Remote::from_environment() {
            Ok(remote) => Some(Rc::new(remote)),
            Err(why) => return say_skipped(&why),
        },
        WorldKind::Native | WorldKind::Component => None,
    };
    let env = Env { kind, remote, made: RefCell::default() };
    let patient = async {
        let outcome = tokio::time::timeout(PATIENCE, body(&env)).await;
        outcome.expect("a case waits for what never comes");
    };
    let outcome = AssertUnwindSafe(patient).catch_unwind().await;
    if let Some(remote) = &env.remote {
        for bucket in env.made.take() {
            let left = remote.remove_bucket(&bucket).await;
            // What a case found is told first.
            assert!(left.is_empty() || outcome.is_err(), "{bucket} could not be emptied: {left:?}");
        }
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Says once, past the test harness that swallows output, that there is no real server.
fn say_skipped(why: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        let line = format!("tests on a real S3 server are skipped: {why}; `make s3` starts one\n");
        // Nobody may be listening.
        let _ = std::io::stderr().write_all(line.as_bytes());
    });
}

/// The cases and the worlds, for people.
///
/// # Panics
///
/// If a case has the name of another one, or an exception without a reason.
pub fn table(cases: &[Case]) -> String {
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    let width = names.iter().map(|name| short(name).len()).max().unwrap_or_default();
    names.sort_unstable();
    let repeated = names.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(repeated.is_none(), "two cases have one name: {repeated:?}");
    let mut text = format!("{:width$}  native component real\n", "case");
    for case in cases {
        assert!(case.except.iter().all(|(_, why)| !why.is_empty()), "{} needs a reason", case.name);
        let mark = |kind| {
            if case.exception(kind).is_none() { "yes" } else { "-" }
        };
        let [native, component, real] = WorldKind::ALL.map(mark);
        let why: Vec<_> = case.except.iter().map(|(kind, why)| format!("{kind:?}: {why}")).collect();
        let name = short(case.name);
        let line = format!("{name:width$}  {native:6} {component:9} {real:4}  {}", why.join("; "));
        writeln!(text, "{}", line.trim_end()).expect("a string takes all");
    }
    let count = |kind| cases.iter().filter(|case| case.exception(kind).is_none()).count();
    let [native, component, real] = WorldKind::ALL.map(count);
    writeln!(text, "{:width$}  {native:<6} {component:<9} {real:<4}", format!("{} cases", cases.len()))
        .expect("a string takes all");
    text
}

/// A case's name without the test binary's.
fn short(name: &str) -> &str {
    name.split_once("::").map_or(name, |(_, rest)| rest)
}
