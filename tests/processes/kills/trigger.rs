//! The moment of a kill: a line on stdout, or a request at the server before or after it takes effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use embedded_s3::{EmbeddedS3, Filter, Hook, S3Operation, Stage};
use s3_connector_tests::process::{Ended, Running};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::dice::Dice;

/// How long a moment may let wait for itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that the process does not live to see answered.
pub struct Doom {
    _hook: Hook,
    comes: Arc<Notify>,
    what: String,
}

impl Doom {
    /// The matching request after this many. It and those after it get no answer.
    pub fn at(server: &EmbeddedS3, stage: Stage, filter: Filter, skipped: usize) -> Self {
        let comes = Arc::new(Notify::new());
        let (seen, notify) = (AtomicUsize::new(0), Arc::clone(&comes));
        let what = format!("{stage:?} {filter:?} but {skipped}");
        let hook = server.hooks().on(stage, filter, move |_| {
            let is_it = seen.fetch_add(1, Ordering::SeqCst) >= skipped;
            if is_it {
                notify.notify_one();
            }
            async move {
                if is_it {
                    // Ends with the connection, and that with the process.
                    std::future::pending::<()>().await;
                }
            }
        });
        Self { _hook: hook, comes, what }
    }

    /// Some request of all, or one of these, of which at least this many come.
    pub fn random(server: &EmbeddedS3, dice: &mut Dice, operations: &[(S3Operation, usize)], requests: usize) -> Self {
        let stage = *dice.pick(&[Stage::BeforeAct, Stage::AfterAct]);
        if dice.one_in(2) {
            return Self::at(server, stage, Filter::any(), dice.below(requests));
        }
        let (operation, requests) = *dice.pick(operations);
        Self::at(server, stage, operation.into(), dice.below(requests))
    }

    /// Kills the process at that moment; one that ended before is left to its end.
    pub async fn kill(self, mut running: Running) -> Ended {
        let comes = async {
            tokio::select! {
                () = self.comes.notified() => true,
                () = ends(&mut running) => false,
            }
        };
        match timeout(PATIENCE, comes).await {
            Ok(true) => running.kill().await,
            Ok(false) => running.ended().await,
            Err(_) => panic!("nothing came: {}", self.what),
        }
    }
}

async fn ends(running: &mut Running) {
    while !running.has_ended_within(PATIENCE).await {}
}
