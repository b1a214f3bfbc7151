//! Owns the keys of a role, which STS gives to who may assume it. Leaves keeping and renewing them to its parent, and the keys that
//! assume it to where those are from.

use std::fmt;
use std::sync::Arc;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::chain::{Chain, Fetch};
use super::{Cause, ChainInput, Credentials, Error, Loaded};
use crate::environment::{self, Environment};

/// What sessions are called that have no other name.
const SESSION_NAME: &str = "s3-connector";

/// A role to assume.
#[derive(Clone)]
pub struct RoleInput {
    /// Its ARN.
    pub arn: String,
    /// What its owner asks for.
    pub external_id: Option<String>,
    /// What its sessions are called.
    pub session_name: Option<String>,
}

impl fmt::Debug for RoleInput {
    /// Leaves out the external ID, which some take for a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleInput")
            .field("arn", &self.arn)
            .field("session_name", &self.session_name)
            .finish_non_exhaustive()
    }
}

/// A role, and the keys that assume it.
pub(super) struct Assumed {
    base: Credentials,
    role: RoleInput,
    environment: Environment,
    region: Option<String>,
    client: SharedHttpClient,
}

impl Assumed {
    pub(super) fn new(base: Credentials, role: RoleInput, chain: ChainInput) -> Self {
        let (environment, region) = (chain.environment.clone(), chain.region.clone());
        Self { base, role, environment, region, client: Chain::new(chain).into_sts_client() }
    }

    /// Assumes the role once.
    async fn assume(&self, base: &Loaded) -> Result<Loaded, Error> {
        let mut config = aws_config::defaults(BehaviorVersion::latest())
            .profile_name(self.environment.profile())
            // As for web identities. The crate would panic over a variable that it can't read.
            .retry_config(RetryConfig::standard())
            .http_client(self.client.clone())
            .credentials_provider(base.keys.clone());
        if let Some(region) = &self.region {
            config = config.region(Region::new(region.clone()));
        }
        if let Some(url) = environment::sts_endpoint(&self.environment).await {
            config = config.endpoint_url(url);
        }
        let config = config.load().await;
        let name = self.role.session_name.as_deref().unwrap_or(SESSION_NAME);
        let mut provider = AssumeRoleProvider::builder(&self.role.arn).session_name(name).configure(&config);
        if let Some(id) = &self.role.external_id {
            provider = provider.external_id(id);
        }
        let provider = provider.build().await;
        // The crate's trace holds the id of the key, and says again what fails.
        match provider.provide_credentials().with_subscriber(NoSubscriber::new()).await {
            Ok(keys) => {
                let origin =
                    format!("role {} (setting aws.roleArn), assumed with those from {}", self.role.arn, base.origin);
                Ok(Loaded { keys, origin: origin.into() })
            }
            Err(error) => Err(Error::Role {
                role: self.role.arn.clone(),
                origin: Arc::clone(&base.origin),
                source: Cause::of(&error),
            }),
        }
    }
}

impl Fetch for Assumed {
    fn fetch(&self) -> BoxFuture<'_, Result<Loaded, Error>> {
        async {
            let base = self.base.load().await?;
            let refused = match self.assume(&base).await {
                Ok(loaded) => return Ok(loaded),
                Err(refused) => refused,
            };
            // Keys may have ended before their time, as everywhere.
            match self.base.refresh(&base).await {
                Ok(Some(other)) => self.assume(&other).await,
                _ => Err(refused),
            }
        }
        .boxed()
    }
}
