//! Owns stopping requests on their way, so that a test can act between two of them without sleeping. Leaves failures to
//! the faults.
//!
//! A hook sees a request before or after it takes effect and holds it until its future is done; a pause is a hook that
//! waits for the test.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::filter::Filter;
use super::operation::S3Operation;

/// Where on its way a request is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has arrived and changed nothing yet.
    BeforeAct,
    /// It has taken effect and is not answered yet.
    AfterAct,
}

/// What a hook sees of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it asks for.
    pub operation: S3Operation,
    /// The bucket, if it names one.
    pub bucket: Option<String>,
    /// The key, if it names one.
    pub key: Option<String>,
    /// The query as it was sent.
    pub query: String,
}

type Action = Arc<dyn Fn(Seen) -> BoxFuture<'static, ()> + Send + Sync>;

struct Entry {
    id: u64,
    stage: Stage,
    filter: Filter,
    action: Action,
}

#[derive(Default)]
struct HookList {
    entries: Mutex<Vec<Arc<Entry>>>,
    /// Read on every request, so that hooks cost nothing where there are none.
    entries_count: AtomicUsize,
    added: AtomicUsize,
}

impl HookList {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hooks of a server. A clone is a handle on the same hooks.
#[derive(Clone, Default)]
pub struct Hooks {
    state: Arc<HookList>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.state.entries_count.load(Ordering::Relaxed);
        f.debug_struct("Hooks").field("count", &count).finish()
    }
}

impl Hooks {
    /// Runs `action` on every matching request, which waits for it. Ends when the guard is dropped.
    pub fn on<F>(
        &self,
        stage: Stage,
        filter: impl Into<Filter>,
        action: impl Fn(Seen) -> F + Send + Sync + 'static,
    ) -> Hook
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.state.added.fetch_add(1, Ordering::Relaxed) as u64;
        let action: Action = Arc::new(move |seen| Box::pin(action(seen)));
        let mut entries = self.state.lock();
        entries.push(Arc::new(Entry { id, stage, filter: filter.into(), action }));
        self.state.entries_count.store(entries.len(), Ordering::Release);
        Hook { id, state: Arc::downgrade(&self.state) }
    }

    /// Holds every matching request until the test lets it go. Ends when the guard is dropped.
    pub fn pause(&self, stage: Stage, filter: impl Into<Filter>) -> Pause {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let hook = self.on(stage, filter, move |seen| {
            let (release, released) = oneshot::channel();
            // If the pause has ended meanwhile, the request is dropped here and goes on.
            let _ = sender.send(Held { seen, release });
            async move {
                let _ = released.await;
            }
        });
        Pause { _hook: hook, arrivals }
    }

    pub(crate) async fn run(&self, stage: Stage, subject: &str, seen: impl Fn() -> Seen) {
        if self.state.entries_count.load(Ordering::Acquire) == 0 {
            return;
        }
        let entries = self.state.lock().clone();
        for entry in entries {
            let seen = seen();
            if entry.stage == stage && entry.filter.matches(seen.operation, subject) {
                (entry.action)(seen).await;
            }
        }
    }
}

/// A hook that lasts as long as this does.
#[must_use = "the hook ends when this is dropped"]
pub struct Hook {
    id: u64,
    state: Weak<HookList>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Some(state) = self.state.upgrade() {
            let mut entries = state.lock();
            entries.retain(|entry| entry.id != self.id);
            state.entries_count.store(entries.len(), Ordering::Release);
        }
    }
}

/// Requests that are held; those that nobody took go on when this is dropped.
#[must_use = "the pause ends when this is dropped"]
#[derive(Debug)]
pub struct Pause {
    _hook: Hook,
    arrivals: mpsc::UnboundedReceiver<Held>,
}

impl Pause {
    /// Waits for the next matching request, which stays held until what this gives is dropped.
    pub async fn arrived(&mut self) -> Held {
        self.arrivals.recv().await.expect("the hook owns a sender as long as the pause lasts")
    }

    /// Takes a request that has arrived already.
    pub fn try_arrived(&mut self) -> Option<Held> {
        self.arrivals.try_recv().ok()
    }
}

/// A request that waits. Dropping it lets it go on.
#[must_use = "the request goes on when this is dropped"]
#[derive(Debug)]
pub struct Held {
    seen: Seen,
    release: oneshot::Sender<()>,
}

impl Held {
    /// Tells which request it is.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Lets it go on.
    pub fn release(self) {
        // A client that gave up meanwhile has taken the request with it.
        let _ = self.release.send(());
    }
}
