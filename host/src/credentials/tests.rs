//! Keeps and renews keys against a source that counts. Leaves the links of the chain to their own tests.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};

use super::*;

/// Gives `key-1`, `key-2`, … each for `life`, or fails.
#[derive(Clone)]
struct Source {
    asked: Arc<AtomicUsize>,
    life: Option<Duration>,
    fails: Arc<Mutex<bool>>,
    rotates: bool,
    now: Arc<Mutex<SystemTime>>,
}

impl Source {
    fn new(life: Option<Duration>) -> Self {
        Self {
            asked: Arc::default(),
            life,
            fails: Arc::default(),
            rotates: true,
            now: Arc::new(Mutex::new(UNIX_EPOCH)),
        }
    }

    fn credentials(&self) -> Credentials {
        let now = Arc::clone(&self.now);
        let clock: Clock = Arc::new(move || *now.lock().unwrap());
        Credentials::from_fetch(Box::new(self.clone()), clock)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn advance(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
        tokio::time::advance(by).await;
    }
}

impl Fetch for Source {
    fn fetch(&self) -> BoxFuture<'_, Result<Loaded, Error>> {
        async {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::task::yield_now().await;
            if *self.fails.lock().unwrap() {
                return Err(Error::NotFound { tried: "source".to_owned() });
            }
            let number = if self.rotates { number } else { 1 };
            let end = self.life.map(|life| *self.now.lock().unwrap() + life);
            let keys = Keys::new(format!("key-{number}"), "s3cr3t", Some("t0ken".to_owned()), end, "");
            Ok(Loaded { keys, origin: "source".into() })
        }
        .boxed()
    }
}

async fn load(credentials: &Credentials) -> String {
    credentials.load().await.unwrap().keys.access_key_id().to_owned()
}

fn chain() -> ChainInput {
    ChainInput { environment: Environment::of([]), region: None, profile: None }
}

#[tokio::test(start_paused = true)]
async fn many_callers_cause_one_fetch() {
    let source = Source::new(None);
    let credentials = source.credentials();
    let loaded = join_all((0..100).map(|_| load(&credentials))).await;
    assert!(loaded.iter().all(|id| id == "key-1"));
    assert_eq!(source.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_without_an_end_are_kept() {
    let source = Source::new(None);
    let credentials = source.credentials();
    load(&credentials).await;
    source.advance(Duration::from_secs(1_000_000)).await;
    assert_eq!(load(&credentials).await, "key-1");
}

#[tokio::test(start_paused = true)]
async fn keys_are_renewed_before_they_end() {
    let source = Source::new(Some(Duration::from_secs(3600)));
    let credentials = source.credentials();
    load(&credentials).await;
    source.advance(Duration::from_secs(3600) - REFRESH_AHEAD - Duration::from_secs(1)).await;
    assert_eq!(load(&credentials).await, "key-1");
    source.advance(Duration::from_secs(2)).await;
    let loaded = join_all((0..10).map(|_| load(&credentials))).await;
    assert_eq!(loaded[0], "key-2", "the first caller fetches");
    assert!(loaded[1..].iter().all(|id| id == "key-1"), "the others do not wait for it");
    assert_eq!(load(&credentials).await, "key-2");
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_leaves_the_old_keys_until_they_end() {
    let source = Source::new(Some(Duration::from_secs(3600)));
    let credentials = source.credentials();
    load(&credentials).await;
    *source.fails.lock().unwrap() = true;
    source.advance(Duration::from_secs(3600 - 60)).await;
    assert_eq!(load(&credentials).await, "key-1");
    source.advance(Duration::from_secs(55)).await;
    assert!(credentials.load().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_held_for_a_moment() {
    let source = Source::new(None);
    *source.fails.lock().unwrap() = true;
    let credentials = source.credentials();
    let outcomes = join_all((0..10).map(|_| credentials.load())).await;
    assert!(outcomes.iter().all(Result::is_err));
    assert_eq!(source.asked(), 1);
    *source.fails.lock().unwrap() = false;
    source.advance(FAILURE_HOLD).await;
    assert_eq!(load(&credentials).await, "key-2");
}

#[tokio::test(start_paused = true)]
async fn refused_keys_are_replaced_once() {
    let source = Source::new(None);
    let credentials = source.credentials();
    let refused = credentials.load().await.unwrap();
    source.advance(FAILURE_HOLD).await;
    let refreshed = join_all((0..10).map(|_| credentials.refresh(&refused))).await;
    for outcome in refreshed {
        assert_eq!(outcome.unwrap().unwrap().keys.access_key_id(), "key-2");
    }
    assert_eq!(source.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_again_are_no_replacement() {
    let source = Source { rotates: false, ..Source::new(None) };
    let credentials = source.credentials();
    let refused = credentials.load().await.unwrap();
    source.advance(FAILURE_HOLD).await;
    assert!(credentials.refresh(&refused).await.unwrap().is_none());
    assert!(credentials.refresh(&refused).await.unwrap().is_none());
    assert_eq!(source.asked(), 2, "the source is not called twice at once");
}

#[tokio::test]
async fn keys_of_the_settings_are_what_they_are() {
    let credentials = Credentials::choose(Some("id"), Some("s3cr3t"), Some(""), chain()).unwrap();
    let loaded = credentials.load().await.unwrap();
    assert_eq!(loaded.keys.access_key_id(), "id");
    assert_eq!(loaded.keys.session_token(), None);
    assert_eq!(&*loaded.origin, "setting aws.accessKeyId");
    assert!(!credentials.is_refreshable());
    assert!(credentials.refresh(&loaded).await.unwrap().is_none());
}

#[tokio::test]
async fn where_nothing_is_signed_there_are_no_keys_and_none_follow() {
    let credentials = Credentials::anonymous();
    assert!(credentials.is_anonymous() && !credentials.is_refreshable());
    let error = credentials.load().await.unwrap_err();
    assert!(error.to_string().contains("`aws.anonymous`"), "{error}");
    assert!(format!("{credentials:?}").contains("not signed"));
    assert!(!Credentials::from_settings("id", "s3cr3t", None).is_anonymous());
}

#[test]
fn half_a_pair_is_refused() {
    for (id, secret, missing) in [
        (Some("id"), None, "aws.secretAccessKey"),
        (Some("id"), Some(""), "aws.secretAccessKey"),
        (None, Some("secret"), "aws.accessKeyId"),
    ] {
        let error = Credentials::choose(id, secret, None, chain()).unwrap_err();
        assert!(error.to_string().ends_with(&format!("missing=`{missing}`")));
    }
    let chosen = Credentials::choose(None, Some(""), None, chain()).unwrap();
    assert!(chosen.is_refreshable());
}

#[tokio::test(start_paused = true)]
async fn keys_never_show() {
    let credentials = Source::new(None).credentials();
    let before = format!("{credentials:?}");
    let loaded = credentials.load().await.unwrap();
    let fixed = Credentials::from_settings("key-1", "s3cr3t", Some("t0ken"));
    for text in
        [before, format!("{loaded:?}"), format!("{credentials:?}"), format!("{fixed:?}"), format!("{:?}", chain())]
    {
        for secret in ["s3cr3t", "t0ken", "key-1"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn a_profiles_name_is_one_word_of_a_shell() {
    assert_eq!(as_word("dev-1.eu"), "dev-1.eu");
    assert_eq!(as_word("my dev"), "'my dev'");
    assert_eq!(as_word("it's"), r"'it'\''s'");
}
