//! What becomes of settings on their way to the component: missing ones are found, secret ones stay here.
//!
//! What a setting may hold is the component's to check; the egress is made from the same settings once they
//! passed. Where the environment is read is `environment`'s business.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3_connector::config::BucketConfig;
use s3_connector::config::endpoint::Endpoint;

use crate::bindings::{specifier, types};
use crate::component::{REDACTED, is_secret};
use crate::credentials::{ChainInput, Credentials};
use crate::egress::policy::Addressing;
use crate::egress::upstream::Upstream;
use crate::egress::{Egress, Policy, PolicyInput, Role, Signer};
use crate::environment::{self, Environment, Filled};
use crate::error::{Error, ErrorKind, Result, with_causes};

/// Settings by name, as a pipeline's author wrote them.
pub type Settings = BTreeMap<String, String>;

/// Settings whose missing ones were looked for.
pub(crate) struct Prepared {
    /// All of them, secrets included. Never shown.
    settings: Settings,
    /// Names whose values stay here.
    secrets: Vec<String>,
    /// Where settings that were not given come from.
    pub(crate) filled: Vec<Filled>,
    environment: Environment,
}

/// Trims names, finds what is missing and notes what is secret.
pub(crate) async fn prepare(
    settings: Settings,
    parameters: &[specifier::Parameter],
    environment: &Environment,
) -> Prepared {
    // An empty value means that the setting is not set.
    let mut settings: Settings = settings
        .into_iter()
        .map(|(name, value)| (name.trim().to_owned(), value))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let filled = environment::fill(&mut settings, environment).await;
    let secrets = settings
        .keys()
        .filter(|name| is_secret(parameters, name))
        .cloned()
        .collect();
    Prepared {
        settings,
        secrets,
        filled,
        environment: environment.clone(),
    }
}

/// Where settings lead: a bucket, and the way to it.
pub(crate) struct Reach {
    /// The bucket, as the component knows it.
    pub(crate) bucket: BucketConfig,
    /// The way out that the settings permit.
    pub(crate) egress: Egress,
    /// What requests are signed with.
    pub(crate) credentials: Credentials,
}

impl Prepared {
    /// What the component gets.
    pub(crate) fn redacted(&self) -> types::Settings {
        self.settings
            .iter()
            .map(|(name, value)| {
                let secret = self.secrets.contains(name);
                (
                    name.clone(),
                    if secret {
                        REDACTED.to_owned()
                    } else {
                        value.clone()
                    },
                )
            })
            .collect()
    }

    /// Where these settings lead a connector in this role.
    pub(crate) fn reach(&self, role: Role, upstream: Arc<dyn Upstream>) -> Result<Reach> {
        let get = |name: &str| self.settings.get(name).map(|value| value.trim());
        let required =
            |name: &str| get(name).ok_or_else(|| invalid(format!("setting `{name}` is required")));
        let (bucket, region) = (required("aws.bucket")?, required("aws.region")?);
        let path_style = get("aws.forcePathStyle").map(|text| text.starts_with(['1', 't', 'T']));
        let endpoint = Endpoint::new(get("aws.endpoint"), path_style, region, bucket)
            .map_err(|why| invalid(format!("setting `aws.endpoint` must be {why}")))?;
        // The prefix is a plain string, spaces and all.
        let prefix = self.settings.get("prefix").cloned().unwrap_or_default();
        let policy = Policy::new(PolicyInput {
            role,
            scheme: if endpoint.tls {
                http::uri::Scheme::HTTPS
            } else {
                http::uri::Scheme::HTTP
            },
            authority: endpoint.authority.clone(),
            addressing: if endpoint.path_style {
                Addressing::Path
            } else {
                Addressing::VirtualHost
            },
            base_path: String::new(),
            bucket: bucket.to_owned(),
            prefix: prefix.clone(),
        })
        .map_err(|error| invalid(with_causes(&error)))?;
        let credentials = Credentials::choose(
            get("aws.accessKeyId"),
            get("aws.secretAccessKey"),
            get("aws.sessionToken"),
            ChainInput {
                environment: self.environment.clone(),
                region: Some(region.to_owned()),
            },
        )
        .map_err(|error| invalid(with_causes(&error)))?;
        let egress = Egress::new(policy, Signer::new(region), credentials.clone(), upstream);
        let bucket = BucketConfig {
            bucket: bucket.to_owned(),
            region: region.to_owned(),
            endpoint,
            prefix,
        };
        Ok(Reach {
            bucket,
            egress,
            credentials,
        })
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl Reach {
    /// Says in an error of the component what only the host knows: why a request was kept in or failed, and whose
    /// credentials were refused.
    pub(crate) async fn explain<T>(&self, result: Result<T, types::Error>) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(explain(error.into(), &self.egress, &self.credentials).await),
        }
    }
}

async fn explain(error: Error, egress: &Egress, credentials: &Credentials) -> Error {
    match error.kind() {
        ErrorKind::Denied => {
            if error
                .message()
                .contains("the host did not let the request out")
            {
                let message = egress
                    .last_denial()
                    .unwrap_or_else(|| error.message().to_owned());
                return error.with_message(message);
            }
            match credentials.load().await {
                Ok(loaded) => {
                    let message = format!(
                        "{}; credentials are from {}",
                        error.message(),
                        loaded.origin
                    );
                    error.with_message(message)
                }
                Err(_) => error,
            }
        }
        ErrorKind::Unavailable => match egress.last_failure() {
            Some(failure) if !error.message().contains(&failure) => {
                let message = format!("{} ({failure})", error.message());
                error.with_message(message)
            }
            _ => error,
        },
        _ => error,
    }
}
