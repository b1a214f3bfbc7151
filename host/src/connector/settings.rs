//! Owns what happens to settings on their way to the component: missing ones are inferred, secret ones stay in the host, and
//! the egress is made from the same values. Leaves what a setting may hold to the component's `config`, and variables and
//! profiles to `environment`.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3_connector::config::access::{ROLE_ARN, ROLE_EXTERNAL_ID, ROLE_SESSION_NAME};
use s3_connector::config::{ACCESS_KEY_ID, BucketConfig, ENDPOINT, SECRET_ACCESS_KEY, SESSION_TOKEN, Writes};

use crate::bindings::{specifier, types};
use crate::credentials::{ChainInput, Credentials, RoleInput};
use crate::egress::policy::Addressing;
use crate::egress::upstream::Upstream;
use crate::egress::{Egress, Place, Policy, PolicyInput, Signer};
use crate::environment::{self, Environment, InferredSetting};
use crate::error::{Error, ErrorKind, Result, with_causes};
use crate::role::Role;
use crate::state::LastPlace;
use crate::tally::Tally;

/// The text that a component gets in the place of a secret.
const REDACTED: &str = "redacted";

/// Every setting that this host takes credentials from. No component gets their values, whatever its specification
/// says.
const SECRETS: [&str; 4] = [ACCESS_KEY_ID.name, SECRET_ACCESS_KEY.name, SESSION_TOKEN.name, ROLE_EXTERNAL_ID.name];

/// A name at most this many letters away from one of [`SECRETS`] counts as that one, misspelt: its value is a key all the
/// same. No other setting of an S3 connector comes that near.
const MISSPELT_MAX: usize = 2;

/// Settings by name, as a pipeline's author wrote them. Missing ones come from where the AWS CLI finds them.
///
/// # Examples
///
/// ```
/// use s3_connector_host::Settings;
///
/// let settings = Settings::from([
///     ("aws.bucket".to_owned(), "photos".to_owned()),
///     ("prefix".to_owned(), "2026/".to_owned()),
/// ]);
/// assert_eq!(settings["prefix"], "2026/");
/// ```
pub type Settings = BTreeMap<String, String>;

/// Settings, with those that the environment supplied.
pub(crate) struct Prepared {
    /// All of them, secrets included. Never shown.
    settings: Settings,
    /// Names whose values stay here: the host's own, and those that the specification adds.
    secrets: Vec<String>,
    /// Settings that were not given, and where they come from.
    pub(crate) inferred: Vec<InferredSetting>,
    /// Why what the settings or the environment ask for does not exist.
    refused: Option<environment::Error>,
    environment: Environment,
    /// Where the component's state failed last.
    pub(crate) state_place: LastPlace,
}

/// Trims names, infers what is missing and notes what is secret.
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
    let environment = environment.for_settings(&settings);
    let (inferred, refused) = match environment::fill(&mut settings, &environment).await {
        Ok(inferred) => (inferred, None),
        Err(refused) => (Vec::new(), Some(refused)),
    };
    let secrets = settings.keys().filter(|name| is_secret(name, parameters)).cloned().collect();
    Prepared { settings, secrets, inferred, refused, environment, state_place: LastPlace::default() }
}

/// Where settings lead: a bucket, and the way to it.
pub(crate) struct Target {
    /// The bucket, as the component knows it.
    pub(crate) bucket: BucketConfig,
    /// The way out that the settings allow.
    pub(crate) egress: Egress,
    /// What requests are signed with.
    pub(crate) credentials: Credentials,
    pub(crate) state_place: LastPlace,
    /// What a destination does to the bucket.
    pub(crate) writes: Writes,
}

impl Prepared {
    /// Whether the profile that the settings name is there. Without it others are missing, too, of which the component would complain.
    pub(crate) fn check_profile(&self) -> Result<()> {
        match &self.refused {
            Some(error) if error.is_about_profile() => Err(invalid(error.to_string())),
            _ => Ok(()),
        }
    }

    /// All settings, secrets included.
    pub(crate) fn all(&self) -> &Settings {
        &self.settings
    }

    /// What the component gets.
    pub(crate) fn redacted(&self) -> types::Settings {
        self.settings
            .iter()
            .map(|(name, value)| {
                let secret = self.secrets.contains(name);
                let value = match name.as_str() {
                    _ if secret => REDACTED.to_owned(),
                    name if name == ENDPOINT.name => without_user(value),
                    _ => value.clone(),
                };
                (name.clone(), value)
            })
            .collect()
    }

    /// Where these settings lead a connector in this role.
    pub(crate) fn target(&self, role: Role, upstream: Arc<dyn Upstream>, tally: &Tally) -> Result<Target> {
        if let Some(refused) = &self.refused {
            return Err(invalid(refused.to_string()));
        }
        let bucket = BucketConfig::parse(&self.settings).map_err(|error| invalid(error.message))?;
        let policy = Policy::new(PolicyInput {
            role,
            scheme: if bucket.endpoint.tls { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP },
            authority: bucket.endpoint.authority.clone(),
            addressing: if bucket.endpoint.path_style { Addressing::Path } else { Addressing::VirtualHost },
            base_path: bucket.endpoint.base_path.clone(),
            bucket: bucket.endpoint.label.clone(),
            prefix: bucket.prefix.clone(),
            writes: Writes::of(&self.settings),
            requester_pays: bucket.access.requester_pays,
            storage: bucket.storage.clone(),
        })
        .map_err(|error| invalid(with_causes(&error)))?;
        let credentials = self.credentials(&bucket)?;
        let signer = Signer::new(&bucket.region);
        let root = match bucket.endpoint.path_style {
            true => format!("{}/{}", bucket.endpoint.base_path, bucket.endpoint.label),
            false => bucket.endpoint.base_path.clone(),
        };
        tally.counters().lead_to(Place { bucket: bucket.bucket.clone(), root });
        let egress = Egress::counted(policy, signer, credentials.clone(), upstream, tally.counters());
        let writes = Writes::of(&self.settings);
        Ok(Target { bucket, egress, credentials, state_place: self.state_place.clone(), writes })
    }
}

impl Prepared {
    fn credentials(&self, bucket: &BucketConfig) -> Result<Credentials> {
        if bucket.access.anonymous {
            return Ok(Credentials::anonymous());
        }
        let set = |name: &str| self.settings.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let chain = ChainInput {
            environment: self.environment.clone(),
            region: Some(bucket.region.clone()),
            profile: environment::named_profile(&self.settings).map(str::to_owned),
        };
        let keys = [ACCESS_KEY_ID.name, SECRET_ACCESS_KEY.name, SESSION_TOKEN.name].map(set);
        let credentials = Credentials::choose(keys[0], keys[1], keys[2], chain.clone());
        let credentials = credentials.map_err(|error| invalid(with_causes(&error)))?;
        let own = |name| set(name).map(str::to_owned);
        Ok(match own(ROLE_ARN.name) {
            None => credentials,
            Some(arn) => {
                let (external_id, session_name) = (own(ROLE_EXTERNAL_ID.name), own(ROLE_SESSION_NAME.name));
                credentials.assuming(RoleInput { arn, external_id, session_name }, chain)
            }
        })
    }
}

/// Whether the value of a setting stays in the host: it is one of the host's credentials, or would be if its name were
/// spelt right, or the specification marks it as secret. A specification can't declare a secret public.
fn is_secret(name: &str, parameters: &[specifier::Parameter]) -> bool {
    let letters = letters(name);
    let is_near = |secret: &str| strsim::damerau_levenshtein(&self::letters(secret), &letters) <= MISSPELT_MAX;
    SECRETS.iter().any(|secret| is_near(secret))
        || parameters.iter().any(|parameter| parameter.secret && self::letters(&parameter.name) == letters)
}

/// A name without case, punctuation and the `aws` that leads some: `AWS_ACCESS_KEY_ID` is `aws.accessKeyId`.
fn letters(name: &str) -> String {
    let kept = name.chars().filter(|c| c.is_alphanumeric());
    let letters: String = kept.flat_map(char::to_lowercase).collect();
    match letters.strip_prefix("aws") {
        Some(rest) => rest.to_owned(),
        None => letters,
    }
}

/// A URL whose user and password are not shown. The component refuses a URL that has them.
fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{REDACTED}@{rest}"),
        (None, Some((_, rest))) => format!("{REDACTED}@{rest}"),
        (_, None) => url.to_owned(),
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use s3_connector::config::endpoint::Url;

    use super::*;

    fn parameter(name: &str, secret: bool) -> specifier::Parameter {
        specifier::Parameter {
            name: name.to_owned(),
            description: String::new(),
            type_: specifier::ParameterType::String,
            default: None,
            secret,
            validations: Vec::new(),
            labels: Vec::new(),
        }
    }

    #[test]
    fn a_specification_adds_secrets_and_takes_none_away() {
        let says_no: Vec<_> = SECRETS.iter().map(|name| parameter(name, false)).collect();
        for parameters in [&says_no[..], &[]] {
            for secret in SECRETS {
                assert!(is_secret(secret, parameters), "{secret}");
            }
        }
        assert!(!is_secret("prefix", &[]));
        assert!(is_secret("prefix", &[parameter("prefix", true)]));
        assert!(!is_secret("prefix", &[parameter("prefix", false)]));
    }

    #[test]
    fn a_name_that_is_nearly_a_secrets_is_one_and_no_other_setting_is() {
        for name in [
            "AWS_ACCESS_KEY_ID",
            "aws.secretaccesskey",
            "secretAccessKey",
            "aws.secretAccesKey",
            "aws.accessKey",
            "aws.sesionToken",
            "awsSessionToken",
            "aws.roleExternalID",
            "AWS_ROLE_EXTERNAL_ID",
        ] {
            assert!(is_secret(name, &[]), "{name}");
        }
        let parameters =
            s3_connector::config::source_parameters().chain(s3_connector::config::destination_parameters());
        for parameter in parameters.filter(|parameter| !parameter.secret) {
            assert!(!is_secret(parameter.name, &[]), "{}", parameter.name);
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_cut_out_and_still_refused() {
        for (url, shown) in [
            ("http://store:9000", "http://store:9000"),
            ("http://u:p@store:9000", "http://redacted@store:9000"),
            ("https://u:p@p/@store", "https://redacted@store"),
            ("u:p@store", "redacted@store"),
        ] {
            assert_eq!(without_user(url), shown);
            assert_eq!(Url::parse(url).is_err(), Url::parse(shown).is_err(), "{url}");
        }
    }
}
