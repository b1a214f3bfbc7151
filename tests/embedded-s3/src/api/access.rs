//! Owns who may do what: access keys, session tokens and denials. Leaves what a signature must cover, and for which
//! region and time, to the admission.
//!
//! `s3s` checks the signature with the secret given here and then asks here whether the request may proceed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use s3s::S3Result;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};

use crate::model::options::AccessKey;
use crate::model::refusal::Refusal;
use crate::wire::filter::Filter;
use crate::wire::operation::Target;

/// What the service and the access check share about one request.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) target: Arc<Target>,
    /// Set once the signature was found right.
    pub(crate) access_key: Arc<OnceLock<String>>,
}

#[derive(Debug)]
struct KeyState {
    key: AccessKey,
    expired: bool,
}

#[derive(Debug, Default)]
struct KeysAndDenials {
    keys: BTreeMap<String, KeyState>,
    denials: Vec<Filter>,
    is_public: bool,
    charges_requesters: bool,
}

/// The keys and denials of a server. A clone is a handle on the same.
#[derive(Clone, Debug, Default)]
pub struct Access {
    state: Arc<RwLock<KeysAndDenials>>,
}

impl Access {
    pub(crate) fn new(keys: &[AccessKey]) -> Self {
        let access = Self::default();
        keys.iter().for_each(|key| access.add_key(key.clone()));
        access
    }

    /// Lets a key sign requests, or replaces its secret and token.
    pub fn add_key(&self, key: AccessKey) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.keys.insert(key.access_key.clone(), KeyState { key, expired: false });
    }

    /// Forgets a key: `InvalidAccessKeyId` from now on.
    pub fn remove_key(&self, access_key: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.keys.remove(access_key);
    }

    /// Ends the session of a key: `ExpiredToken` until it is added again.
    pub fn expire_key(&self, access_key: &str) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = state.keys.get_mut(access_key) {
            key.expired = true;
        }
    }

    /// Takes requests without a signature, too, as a public bucket does.
    pub fn open_to_everybody(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).is_public = true;
    }

    /// Denies requests that don't say that the requester pays, and all without a signature.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/RequesterPaysBuckets.html>
    pub fn charge_requesters(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).charges_requesters = true;
    }

    /// Denies matching requests to everybody: `AccessDenied`.
    pub fn deny(&self, filter: impl Into<Filter>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.denials.push(filter.into());
    }

    /// Withdraws all denials.
    pub fn allow_all(&self) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).denials.clear();
    }

    fn check_session(&self, access_key: &str, token: Option<&str>) -> Result<(), Refusal> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let known = state.keys.get(access_key).ok_or_else(unknown_key)?;
        if known.key.session_token.as_deref() != token {
            let message = "The provided token is malformed or otherwise invalid.";
            return Err(Refusal::new(400, "InvalidToken", message));
        }
        if known.expired {
            return Err(Refusal::new(400, "ExpiredToken", "The provided token has expired."));
        }
        Ok(())
    }

    fn check_payer(&self, payer: Option<&[u8]>) -> Result<(), Refusal> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.charges_requesters && payer != Some(b"requester") {
            return Err(Refusal::access_denied("Access Denied"));
        }
        Ok(())
    }

    fn check_anonymous(&self) -> Result<(), Refusal> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if !state.is_public || state.charges_requesters {
            return Err(Refusal::access_denied("Access Denied"));
        }
        Ok(())
    }

    fn check_allowed(&self, target: &Target) -> Result<(), Refusal> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.denials.iter().any(|filter| filter.matches(target.operation, &target.subject)) {
            return Err(Refusal::access_denied("Access Denied"));
        }
        Ok(())
    }
}

fn unknown_key() -> Refusal {
    let message = "The AWS Access Key Id you provided does not exist in our records.";
    Refusal::new(403, "InvalidAccessKeyId", message)
}

#[async_trait::async_trait]
impl S3Auth for Access {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let known = state.keys.get(access_key).ok_or_else(unknown_key)?;
        Ok(known.key.secret_key.as_str().into())
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = context.credentials() else {
            self.check_anonymous()?;
            let exchange = context.extensions_mut().get::<Exchange>().cloned();
            self.check_allowed(&exchange.expect("the service attaches one to every request").target)?;
            return Ok(());
        };
        let access_key = credentials.access_key.clone();
        self.check_payer(context.headers().get("x-amz-request-payer").map(http::HeaderValue::as_bytes))?;
        let token = context.headers().get("x-amz-security-token");
        self.check_session(&access_key, token.and_then(|token| token.to_str().ok()))?;
        let exchange = context.extensions_mut().get::<Exchange>().cloned();
        let exchange = exchange.expect("the service attaches one to every request");
        self.check_allowed(&exchange.target)?;
        // Nothing else sets it.
        let _ = exchange.access_key.set(access_key);
        Ok(())
    }
}
