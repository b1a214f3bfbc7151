//! Owns the list of worlds and cases: one body of a case runs in each world, or states why not. Leaves buckets to
//! `env`.
//!
//! A body that no list of cases names is never run, which the compiler reports as dead code.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Once;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::env::Env;
use super::remote::RemoteServer;

/// How long a case may take. Far more than any does; where time is virtual, it elapses as soon as everything waits.
const PATIENCE: Duration = Duration::from_secs(900);

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
        WorldKind::Real => match RemoteServer::from_environment() {
            Ok(remote) => Some(remote),
            Err(why) => return say_skipped(&why),
        },
        WorldKind::Native | WorldKind::Component => None,
    };
    let env = Env::new(kind, remote);
    let patient = async {
        let outcome = tokio::time::timeout(PATIENCE, body(&env)).await;
        outcome.expect("a case waits for what never comes");
    };
    let outcome = AssertUnwindSafe(patient).catch_unwind().await;
    let left = env.clean().await;
    // What a case found comes first.
    assert!(left.is_empty() || outcome.is_err(), "could not be emptied: {left:?}");
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
