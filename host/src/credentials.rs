//! Owns the keys with which requests are signed: where they are from, how long they last, when to fetch new
//! ones. Leaves signing to `egress`, the AWS chain's links to `chain`, and the keys of roles to `assumed`.
//!
//! Keys never show: not in `Debug`, not in errors, not in the log.

mod assumed;
mod chain;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_types::error::ErrorMetadata;
use tokio::time::Instant;

use crate::environment::Environment;

use self::assumed::Assumed;
use self::chain::{Chain, Fetch, Link};

pub use self::assumed::RoleInput;

/// New keys are fetched this long before the old ones end, while the old ones still sign. The instance
/// metadata service has new ones at least 5 minutes before
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>).
const REFRESH_AHEAD: Duration = Duration::from_secs(5 * 60);

/// Keys that end within this time may be refused on arrival.
const LIFE_MIN: Duration = Duration::from_secs(10);

/// After a failure the next fetch waits this long: hundreds of requests that wait for one must not each ask
/// a metadata service that takes seconds to say no.
const FAILURE_HOLD: Duration = Duration::from_secs(5);

/// Keys and where they are from.
#[derive(Clone)]
pub struct Loaded {
    /// The keys. Their own `Debug` masks, but shows the access key's id.
    pub keys: Keys,
    /// Where they are from, in words, for messages.
    pub origin: Arc<str>,
}

impl Loaded {
    /// Whether these are other keys than those.
    fn differs_from(&self, other: &Self) -> bool {
        self.keys.access_key_id() != other.keys.access_key_id()
            || self.keys.secret_access_key() != other.keys.secret_access_key()
            || self.keys.session_token() != other.keys.session_token()
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("origin", &self.origin).field("keys", &"redacted").finish()
    }
}

/// Why there are no keys.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// One half of a pair of keys is in the settings, the other is not.
    #[error("aws.accessKeyId and aws.secretAccessKey go together; missing=`{missing}`")]
    Incomplete {
        /// The setting that is absent.
        missing: &'static str,
    },
    /// Somebody asks for keys where the settings say that there shall be none.
    #[error("requests are not signed: setting `aws.anonymous` is true")]
    Anonymous,
    /// No link of the chain has keys.
    #[error(
        "no credentials were found: set aws.accessKeyId and aws.secretAccessKey, or AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or a profile by AWS_PROFILE; tried=`{tried}`"
    )]
    NotFound {
        /// The links that were asked, in order.
        tried: String,
    },
    /// The profile that the settings name has no keys.
    #[error(
        "profile `{profile}`, which setting `aws.profile` names, gives no keys: it needs aws_access_key_id, \
         credential_process, web_identity_token_file, or role_arn with a source that is there"
    )]
    Keyless {
        /// The profile.
        profile: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The role could not be assumed.
    #[error("role `{role}`, which setting `aws.roleArn` names, was not assumed with the keys from {origin}")]
    Role {
        /// The role's ARN.
        role: String,
        /// Where the keys are from that were to assume it.
        origin: Arc<str>,
        /// What STS said.
        #[source]
        source: Cause,
    },
    /// The profile's keys are those of a person who signs in.
    #[error(
        "profile `{profile}` signs in (SSO or `aws login`), which the AWS CLI does: run \
         `eval \"$(aws configure export-credentials --profile {word} --format env)\"` and start again; or, for keys that \
         are renewed, take a profile with \
         `credential_process = aws configure export-credentials --profile {word} --format process`",
        word = as_word(profile)
    )]
    SignIn {
        /// The profile in use.
        profile: String,
    },
    /// A link of the chain is set up, and failed.
    #[error("credentials could not be loaded; origin=`{origin}`")]
    Failed {
        /// The link.
        origin: Arc<str>,
        /// What it said.
        #[source]
        source: Cause,
    },
}

/// A name as one word of a shell.
fn as_word(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._@+:/".contains(&byte);
    if name.bytes().all(is_plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

/// What is said of an answer without a reason: a proxy's, or a busy service's.
const SAID_NOTHING: &str = "it was refused by an answer that gives no reason, which AWS's own don't: look whether something else \
                            answers there, or try again later";

/// What a link of the chain said, as text alone: the `Debug` of the AWS crates' errors holds whole answers.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

impl Cause {
    /// The last of an error's causes, which says most; those around it say that loading failed.
    fn of(error: &CredentialsError) -> Self {
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let text = match cause.downcast_ref::<ErrorMetadata>() {
            Some(said) => {
                let parts = [said.code(), said.message()];
                let said: Vec<_> = parts.into_iter().flatten().collect();
                if said.is_empty() { SAID_NOTHING.to_owned() } else { said.join(": ") }
            }
            None => cause.to_string(),
        };
        // What the AWS crates say of parts that were left out of them is for who compiles them.
        if text.contains("cargo feature") {
            return Self("it is set up for a way to sign in that is not supported".to_owned());
        }
        Self(text.trim().to_owned())
    }
}

/// Where the AWS chain looks.
#[derive(Debug, Clone)]
pub struct ChainInput {
    /// The variables.
    pub environment: Environment,
    /// The region for calls to STS, where a link needs one.
    pub region: Option<String>,
    /// The profile that the settings name, if they do: its keys count then, and no others.
    pub profile: Option<String>,
}

/// Keys to sign with: fixed ones, or those of the AWS chain, fetched when first needed, kept, and fetched anew
/// before they end. Clones share what was fetched.
#[derive(Clone)]
pub struct Credentials(Arc<Kind>);

enum Kind {
    Anonymous,
    Fixed(Loaded),
    Fetched(Cache),
}

impl Credentials {
    /// No keys: requests go unsigned, and nothing is looked at.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(Arc::new(Kind::Anonymous))
    }

    /// The keys that the settings hold.
    #[must_use]
    pub fn from_settings(access_key_id: &str, secret_access_key: &str, session_token: Option<&str>) -> Self {
        let keys = Keys::new(access_key_id, secret_access_key, session_token.map(str::to_owned), None, "settings");
        Self(Arc::new(Kind::Fixed(Loaded { keys, origin: "setting aws.accessKeyId".into() })))
    }

    /// The keys of the standard AWS chain: environment, profile (with `credential_process` and assumed roles),
    /// web identity, container, instance metadata. Nothing is read before the first [`load`](Self::load).
    #[must_use]
    pub fn from_chain(input: ChainInput) -> Self {
        Self::from_fetch(Box::new(Chain::new(input)), Arc::new(SystemTime::now))
    }

    /// The keys of another provider, for programs that have their own; kept and renewed like those of the
    /// chain. `origin` says in messages where they are from.
    #[must_use]
    pub fn from_provider(provider: impl ProvideCredentials + 'static, origin: impl Into<Arc<str>>) -> Self {
        Self::from_fetch(Box::new(Link::new(origin, provider)), Arc::new(SystemTime::now))
    }

    /// The keys of the settings if they are there, otherwise those of the chain. An empty setting counts as absent.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`] if one of the pair is there and the other is not.
    pub fn choose(
        access_key_id: Option<&str>,
        secret_access_key: Option<&str>,
        session_token: Option<&str>,
        chain: ChainInput,
    ) -> Result<Self, Error> {
        let present = |value: Option<&str>| value.is_some_and(|value| !value.is_empty());
        match (access_key_id, secret_access_key) {
            (Some(id), Some(secret)) if !id.is_empty() && !secret.is_empty() => {
                let token = session_token.filter(|token| !token.is_empty());
                Ok(Self::from_settings(id, secret, token))
            }
            (id, _) if present(id) => Err(Error::Incomplete { missing: "aws.secretAccessKey" }),
            (_, secret) if present(secret) => Err(Error::Incomplete { missing: "aws.accessKeyId" }),
            _ => Ok(Self::from_chain(chain)),
        }
    }

    /// The keys of a role that is assumed with these; kept, and renewed before they end.
    #[must_use]
    pub fn assuming(self, role: RoleInput, chain: ChainInput) -> Self {
        Self::from_fetch(Box::new(Assumed::new(self, role, chain)), Arc::new(SystemTime::now))
    }

    fn from_fetch(fetch: Box<dyn Fetch>, clock: Clock) -> Self {
        Self(Arc::new(Kind::Fetched(Cache {
            fetch,
            clock,
            state: RwLock::default(),
            gate: tokio::sync::Mutex::new(()),
        })))
    }

    /// The keys to sign with now. Fetches where none are kept or the kept ones are about to end; many callers
    /// at once cause one fetch.
    ///
    /// # Errors
    ///
    /// If there are no keys. Says what to set.
    pub async fn load(&self) -> Result<Loaded, Error> {
        match &*self.0 {
            Kind::Anonymous => Err(Error::Anonymous),
            Kind::Fixed(loaded) => Ok(loaded.clone()),
            Kind::Fetched(cache) => cache.load().await,
        }
    }

    /// Other keys than those that S3 has just refused; `None` if there are no others.
    ///
    /// # Errors
    ///
    /// As of [`load`](Self::load).
    pub async fn refresh(&self, refused: &Loaded) -> Result<Option<Loaded>, Error> {
        match &*self.0 {
            Kind::Anonymous | Kind::Fixed(_) => Ok(None),
            Kind::Fetched(cache) => cache.refresh(refused).await,
        }
    }

    /// Whether requests go unsigned.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(*self.0, Kind::Anonymous)
    }

    /// Whether a refused key may be followed by another.
    #[must_use]
    pub fn is_refreshable(&self) -> bool {
        matches!(*self.0, Kind::Fetched(_))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match &*self.0 {
            Kind::Anonymous => "none: requests are not signed".into(),
            Kind::Fixed(loaded) => Arc::clone(&loaded.origin),
            Kind::Fetched(cache) => cache.kept().current.map_or("not loaded yet".into(), |loaded| loaded.origin),
        };
        f.debug_struct("Credentials").field("origin", &origin).field("keys", &"redacted").finish()
    }
}

/// The time of day.
type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Keeps what was fetched.
struct Cache {
    fetch: Box<dyn Fetch>,
    clock: Clock,
    state: RwLock<State>,
    /// Held while fetching.
    gate: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    current: Option<Loaded>,
    fetched_at: Option<Instant>,
    failure: Option<(Instant, Error)>,
}

/// How long kept keys last.
#[derive(PartialEq)]
enum Life {
    Long,
    Ending,
    Over,
}

impl Cache {
    async fn load(&self) -> Result<Loaded, Error> {
        let kept = self.kept();
        if let Some(loaded) = kept.current {
            match self.life(&loaded) {
                Life::Long => return Ok(loaded),
                // One caller fetches, the others go on with what still works; so does it, if it fails.
                Life::Ending => {
                    let Ok(_guard) = self.gate.try_lock() else {
                        return Ok(loaded);
                    };
                    return Ok(self.fetch_unless_failed().await.unwrap_or(loaded));
                }
                Life::Over => {}
            }
        }
        let _guard = self.gate.lock().await;
        // The task that held the gate before may have done it.
        match self.kept().current {
            Some(loaded) if self.life(&loaded) != Life::Over => Ok(loaded),
            _ => self.fetch_unless_failed().await,
        }
    }

    async fn refresh(&self, refused: &Loaded) -> Result<Option<Loaded>, Error> {
        let _guard = self.gate.lock().await;
        let kept = self.kept();
        if let Some(current) = kept.current.filter(|current| current.differs_from(refused)) {
            return Ok(Some(current));
        }
        // The source gave these very keys just now.
        if kept.fetched_at.is_some_and(|at| at.elapsed() < FAILURE_HOLD) {
            return Ok(None);
        }
        let fetched = self.fetch_unless_failed().await?;
        Ok(fetched.differs_from(refused).then_some(fetched))
    }

    /// Fetches, while the gate is held.
    async fn fetch_unless_failed(&self) -> Result<Loaded, Error> {
        if let Some((at, error)) = self.kept().failure
            && at.elapsed() < FAILURE_HOLD
        {
            return Err(error);
        }
        let outcome = self.fetch.fetch().await;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match &outcome {
            Ok(loaded) => {
                tracing::debug!(origin = %loaded.origin, "credentials are loaded");
                state.current = Some(loaded.clone());
                state.fetched_at = Some(now);
                state.failure = None;
            }
            Err(error) => state.failure = Some((now, error.clone())),
        }
        outcome
    }

    fn kept(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn life(&self, loaded: &Loaded) -> Life {
        let Some(end) = loaded.keys.expiry() else {
            return Life::Long;
        };
        let left = end.duration_since((self.clock)()).unwrap_or_default();
        if left > REFRESH_AHEAD {
            Life::Long
        } else if left > LIFE_MIN {
            Life::Ending
        } else {
            Life::Over
        }
    }
}

#[cfg(test)]
mod role_tests;
#[cfg(test)]
mod tests;
