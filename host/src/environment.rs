//! Owns the AWS variables and profiles, and what they supply for settings that a pipeline leaves out: region and endpoint.
//! Leaves keys to `credentials`, and the meaning of settings to the component.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use aws_config::profile::{ProfileSet, load};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::property::PropertiesKey;
use aws_types::os_shim_internal::{Env, Fs};
use s3_connector::config::access::{self, PROFILE};
use s3_connector::config::access_point::AccessPoint;
use s3_connector::config::{BUCKET, ENDPOINT, FORCE_PATH_STYLE, REGION, endpoint};

use crate::error::with_causes;

/// The variables by which the AWS crates find configuration files and the profile in use.
const PROFILE_VARIABLES: [&str; 7] =
    ["AWS_CONFIG_FILE", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "HOME", "HOMEDRIVE", "HOMEPATH", "USERPROFILE"];

/// Where variables are looked up: the process's environment, or a map in a test.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

/// The value of a variable by its name.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        Self(Arc::new(|name| std::env::var(name).ok()))
    }

    /// These variables and no others.
    #[must_use]
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self(Arc::new(move |name| variables.get(name).cloned()))
    }

    /// The value of a variable; `None` if it is not set, or blank.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// Whether a variable is set to `true`, in any case.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// The file of certificates to trust in place of the system's (`AWS_CA_BUNDLE`).
    #[must_use]
    pub fn ca_bundle(&self) -> Option<PathBuf> {
        self.get("AWS_CA_BUNDLE").map(PathBuf::from)
    }

    /// The name of the profile in use.
    #[must_use]
    pub fn profile(&self) -> String {
        self.get("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())
    }

    /// The environment as a connector with these settings sees it: the profile that they name is in use.
    #[must_use]
    pub fn for_settings(&self, settings: &BTreeMap<String, String>) -> Self {
        let Some(named) = named_profile(settings).map(str::to_owned) else {
            return self.clone();
        };
        let lookup = Arc::clone(&self.0);
        Self(Arc::new(move |name| if name == "AWS_PROFILE" { Some(named.clone()) } else { lookup(name) }))
    }

    /// Where the AWS files are, for messages.
    fn files(&self) -> String {
        let file = |variable, default: &str| self.get(variable).unwrap_or_else(|| default.to_owned());
        let (config, credentials) =
            (file("AWS_CONFIG_FILE", "~/.aws/config"), file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"));
        format!("{config} and {credentials}")
    }

    /// The profile in use, if its keys are those of a person who signs in: through IAM Identity Center (SSO), or by
    /// `aws login`. Only the AWS CLI can get those.
    pub(crate) async fn signed_in_profile(&self) -> Option<String> {
        Profile::read(self, &EnvConfigFiles::default()).await.signs_in()
    }

    /// The variables of profiles as the AWS crates take them.
    fn to_aws(&self) -> Env {
        let found: Vec<(&str, String)> =
            PROFILE_VARIABLES.iter().filter_map(|name| Some((*name, self.get(name)?))).collect();
        let pairs: Vec<(&str, &str)> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Env::from_slice(&pairs)
    }
}

impl fmt::Debug for Environment {
    /// Shows nothing: much of an environment is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// A setting that was left out and found elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferredSetting {
    /// The setting's name.
    pub setting: &'static str,
    /// Where its value comes from, in words: ``variable `AWS_REGION` ``.
    pub origin: String,
}

/// The profile that settings name.
pub fn named_profile(settings: &BTreeMap<String, String>) -> Option<&str> {
    settings.get(PROFILE.name).map(|name| name.trim()).filter(|name| !name.is_empty())
}

/// Why what settings or the environment ask for does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings name a profile that isn't there.
    #[error("setting `aws.profile` is `{profile}`, and there is no such profile in {files}")]
    Profile {
        /// The profile.
        profile: String,
        /// The files that were looked at.
        files: String,
    },
    /// The settings name a profile, and its files can't be read.
    #[error("setting `aws.profile` is `{profile}`, and {files} can't be read: {reason}")]
    Files {
        /// The profile.
        profile: String,
        /// The files that were looked at.
        files: String,
        /// Why.
        reason: String,
    },
    /// An endpoint outside AWS can't be replaced by one of AWS's.
    #[error("{asked} asks for an endpoint of AWS, and {given} names another: remove one of them")]
    Custom {
        /// Which variable or profile asks for it.
        asked: String,
        /// What names the other.
        given: String,
    },
    /// Neither yes nor no: a request for FIPS must not be ignored for its spelling.
    #[error("{asked} is `{value}`: set it to `true` or `false`")]
    Value {
        /// Which variable or profile asks for it.
        asked: String,
        /// Its value.
        value: String,
    },
    /// The partition has none.
    #[error("{asked} asks for an endpoint with FIPS, and AWS has none in region `{region}`")]
    Fips {
        /// Which variable or profile asks for it.
        asked: String,
        /// The region.
        region: String,
    },
}

impl Error {
    /// Whether the profile that the settings name is not there, or can't be read.
    #[must_use]
    pub fn is_about_profile(&self) -> bool {
        matches!(self, Self::Profile { .. } | Self::Files { .. })
    }
}

/// Adds `aws.region` and `aws.endpoint` to `settings` if they are absent and AWS variables or the profile in use have them (the
/// region first as the ARN of an access point in `aws.bucket` has it),
/// which is the one that the settings name, if they do. Returns where each comes from. A setting that is present is never changed.
///
/// As in the AWS CLI: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's `region`; `AWS_ENDPOINT_URL_S3`,
/// `AWS_ENDPOINT_URL`, the profile's `endpoint_url` (that of its `services` section for `s3` first), none of
/// these with `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true`
/// (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>). `AWS_USE_FIPS_ENDPOINT` and
/// `AWS_USE_DUALSTACK_ENDPOINT`, or `use_fips_endpoint` and `use_dualstack_endpoint` of the profile, choose the endpoint
/// of AWS.
///
/// # Errors
///
/// If the settings name a profile that isn't there, or such an endpoint is asked for where AWS has none. The AWS CLI fails too:
/// FIPS may be required by law, so a plain endpoint never replaces it.
pub async fn fill(
    settings: &mut BTreeMap<String, String>,
    environment: &Environment,
) -> Result<Vec<InferredSetting>, Error> {
    let mut filled = Vec::new();
    let needs_region = !settings.contains_key(REGION.name);
    let needs_endpoint = !settings.contains_key(ENDPOINT.name);
    let environment = &environment.for_settings(settings);
    let profile = if access::is_anonymous(settings) {
        // Where nothing is signed, the file of credentials is none of our business.
        Profile::read(environment, &EnvConfigFiles::builder().include_default_config_file(true).build()).await
    } else if let Some(name) = named_profile(settings) {
        Profile::named(environment, name).await?
    } else {
        Profile::read(environment, &EnvConfigFiles::default()).await
    };
    let of_access_point = settings.get(BUCKET.name).and_then(|bucket| {
        let region = AccessPoint::of(bucket.trim())?.region.to_owned();
        Some((region, format!("setting `{}`", BUCKET.name)))
    });
    let mut set = |setting: &'static str, found: Option<(String, String)>| {
        if let Some((value, origin)) = found {
            settings.insert(setting.to_owned(), value);
            filled.push(InferredSetting { setting, origin });
        }
    };
    if needs_region {
        set(REGION.name, of_access_point.or_else(|| region(environment, &profile)));
    }
    if needs_endpoint {
        set(ENDPOINT.name, configured_endpoint(environment, &profile, &S3));
    }
    let given = match filled.iter().find(|filled| filled.setting == ENDPOINT.name) {
        Some(filled) => Some(filled.origin.clone()),
        None => settings.contains_key(ENDPOINT.name).then(|| format!("setting `{}`", ENDPOINT.name)),
    };
    filled.extend(variant(settings, environment, &profile, given)?);
    Ok(filled)
}

/// Chooses among AWS's endpoints, as
/// [its rules](https://github.com/boto/botocore/blob/develop/botocore/data/s3/2006-03-01/endpoint-rule-set-1.json) name
/// them.
fn variant(
    settings: &mut BTreeMap<String, String>,
    environment: &Environment,
    profile: &Profile,
    given: Option<String>,
) -> Result<Option<InferredSetting>, Error> {
    let asked = |name: &str, key: &str| {
        let found = variable(environment, &[name]).or_else(|| profile.value(key));
        match found {
            Some((value, asked)) if value.eq_ignore_ascii_case("true") => Ok(Some(asked)),
            Some((value, asked)) if !value.eq_ignore_ascii_case("false") => Err(Error::Value { asked, value }),
            _ => Ok(None),
        }
    };
    let fips = asked("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")?;
    let dual_stack = asked("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")?;
    let (is_fips, is_dual_stack) = (fips.is_some(), dual_stack.is_some());
    let Some(asked) = fips.or(dual_stack) else {
        return Ok(None);
    };
    if let Some(given) = given {
        return Err(Error::Custom { asked, given });
    }
    // Without a region there is no endpoint yet; the parser of the settings reports that it is missing.
    let Some(region) = settings.get(REGION.name).map(|region| region.trim().to_owned()) else {
        return Ok(None);
    };
    if is_fips && endpoint::partition(&region).name == "aws-cn" {
        return Err(Error::Fips { asked, region });
    }
    let bucket = settings.get(BUCKET.name).map(|bucket| bucket.trim().to_owned()).unwrap_or_default();
    let is_access_point = AccessPoint::of(&bucket).is_some();
    let service = match (is_access_point, is_fips) {
        (false, false) => "s3",
        (false, true) => "s3-fips",
        (true, false) => "s3-accesspoint",
        (true, true) => "s3-accesspoint-fips",
    };
    let stack = if is_dual_stack { ".dualstack" } else { "" };
    let url = format!("https://{}", endpoint::host(&format!("{service}{stack}"), &region));
    settings.insert(ENDPOINT.name.to_owned(), url);
    // As without an endpoint, which `aws.endpoint` would change.
    let path_style = endpoint::needs_path_style(&bucket);
    settings.entry(FORCE_PATH_STYLE.name.to_owned()).or_insert_with(|| path_style.to_string());
    Ok(Some(InferredSetting { setting: ENDPOINT.name, origin: asked }))
}

fn region(environment: &Environment, profile: &Profile) -> Option<(String, String)> {
    variable(environment, &["AWS_REGION", "AWS_DEFAULT_REGION"]).or_else(|| profile.value("region"))
}

/// A service, by its names in variables and in profiles.
struct Service {
    variable: &'static str,
    section: &'static str,
}

const S3: Service = Service { variable: "AWS_ENDPOINT_URL_S3", section: "s3" };
const STS: Service = Service { variable: "AWS_ENDPOINT_URL_STS", section: "sts" };

/// The URL at which roles are assumed, if it isn't AWS's own: `AWS_ENDPOINT_URL_STS`, `AWS_ENDPOINT_URL`, or the profile's.
pub(crate) async fn sts_endpoint(environment: &Environment) -> Option<String> {
    let profile = Profile::read(environment, &EnvConfigFiles::default()).await;
    configured_endpoint(environment, &profile, &STS).map(|(url, _)| url)
}

fn configured_endpoint(environment: &Environment, profile: &Profile, service: &Service) -> Option<(String, String)> {
    if environment.is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
        return None;
    }
    let found = variable(environment, &[service.variable, "AWS_ENDPOINT_URL"]);
    if found.is_some() {
        return found;
    }
    let ignored = profile.value("ignore_configured_endpoint_urls");
    if ignored.is_some_and(|(value, _)| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    profile.service_endpoint(service).or_else(|| profile.value("endpoint_url"))
}

fn variable(environment: &Environment, names: &[&str]) -> Option<(String, String)> {
    names.iter().find_map(|name| {
        let value = environment.get(name)?;
        Some((value.trim().to_owned(), format!("variable `{name}`")))
    })
}

/// The profile in use, empty where there is none.
struct Profile {
    sections: ProfileSet,
}

impl Profile {
    /// The profile that the settings name, which must be there.
    async fn named(environment: &Environment, name: &str) -> Result<Self, Error> {
        let (profile, files) = (name.to_owned(), environment.files());
        let env = environment.to_aws();
        match load(&Fs::real(), &env, &EnvConfigFiles::default(), None).await {
            Ok(sections) if sections.get_profile(name).is_some() => Ok(Self { sections }),
            Ok(_) => Err(Error::Profile { profile, files }),
            Err(error) => Err(Error::Files { profile, files, reason: with_causes(&error) }),
        }
    }

    async fn read(environment: &Environment, files: &EnvConfigFiles) -> Self {
        let env = environment.to_aws();
        let read = load(&Fs::real(), &env, files, None).await;
        let sections = read.unwrap_or_else(|error| {
            // The keys may come from elsewhere; what needs the profile reports that it is broken.
            tracing::warn!(%error, "the AWS configuration files can't be read");
            ProfileSet::default()
        });
        Self { sections }
    }

    fn value(&self, name: &str) -> Option<(String, String)> {
        let value = self.sections.get(name)?.trim();
        if value.is_empty() {
            return None;
        }
        Some((value.to_owned(), self.origin()))
    }

    /// `endpoint_url` under the service in the section that the profile's `services` names.
    fn service_endpoint(&self, service: &Service) -> Option<(String, String)> {
        let section = self.sections.get("services")?;
        let key = PropertiesKey::builder()
            .section_key("services")
            .section_name(section)
            .property_name(service.section)
            .sub_property_name("endpoint_url")
            .build()
            .ok()?;
        let value = self.sections.other_sections().get(&key)?;
        Some((value.trim().to_owned(), self.origin()))
    }

    /// The profile's name, if it or the one whose keys it takes signs in. Looks in the order of the AWS crates.
    fn signs_in(&self) -> Option<String> {
        let mut name = self.sections.selected_profile();
        let mut seen = Vec::new();
        while !seen.contains(&name) {
            let profile = self.sections.get_profile(name)?;
            let has = |key| profile.get(key).is_some();
            if !seen.is_empty() && has("aws_access_key_id") {
                return None;
            }
            seen.push(name);
            if has("web_identity_token_file") {
                return None;
            }
            if has("role_arn")
                && let Some(source) = profile.get("source_profile")
                && source != name
            {
                name = source;
                continue;
            }
            let has_own = has("aws_access_key_id") || has("credential_process");
            let signs_in = has("sso_account_id")
                || has("sso_role_name")
                || has("login_session")
                || (!has_own && (has("sso_session") || has("sso_start_url")));
            let signs_in = signs_in && !has("credential_source");
            return signs_in.then(|| self.sections.selected_profile().to_owned());
        }
        None
    }

    fn origin(&self) -> String {
        format!("profile `{}`", self.sections.selected_profile())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings<const N: usize>(of: [(&str, &str); N]) -> BTreeMap<String, String> {
        of.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A profile file, and an environment that has it and these variables.
    async fn fill_with<const N: usize>(
        config: &str,
        variables: [(&str, &str); N],
        given: BTreeMap<String, String>,
    ) -> (BTreeMap<String, String>, Vec<InferredSetting>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, config).unwrap();
        let mut all: BTreeMap<String, String> = settings(variables);
        all.insert("AWS_CONFIG_FILE".to_owned(), path.to_str().unwrap().to_owned());
        all.insert("HOME".to_owned(), folder.path().to_str().unwrap().to_owned());
        let environment = Environment(Arc::new(move |name| all.get(name).cloned()));
        let mut settings = given;
        let filled = fill(&mut settings, &environment).await.unwrap();
        (settings, filled)
    }

    #[tokio::test]
    async fn variables_supply_what_is_absent() {
        let (settings, filled) = fill_with(
            "",
            [
                ("AWS_REGION", "eu-west-1"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
                ("AWS_ENDPOINT_URL", "http://general"),
                ("AWS_ENDPOINT_URL_S3", "http://s3"),
            ],
            settings([]),
        )
        .await;
        assert_eq!(settings["aws.region"], "eu-west-1");
        assert_eq!(settings["aws.endpoint"], "http://s3");
        assert_eq!(filled[0].origin, "variable `AWS_REGION`");
        assert_eq!(filled[1].origin, "variable `AWS_ENDPOINT_URL_S3`");
    }

    #[tokio::test]
    async fn where_nothing_is_signed_the_file_of_credentials_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (config, credentials) =
            (write("config", "[profile p]\nregion = eu-west-1\n"), write("credentials", "[p]\nregion = eu-west-2\n"));
        let variables =
            [("AWS_CONFIG_FILE", &*config), ("AWS_SHARED_CREDENTIALS_FILE", &*credentials), ("AWS_PROFILE", "p")];
        let environment = Environment::of(variables);
        for (anonymous, region) in [("false", "eu-west-2"), (" true ", "eu-west-1")] {
            let mut settings = settings([("aws.anonymous", anonymous)]);
            fill(&mut settings, &environment).await.unwrap();
            assert_eq!(settings["aws.region"], region, "{anonymous}");
        }
    }

    #[tokio::test]
    async fn a_profile_that_the_settings_name_counts_and_must_be_there() {
        let config = "[profile a]\nregion = eu-west-1\n[profile b]\nregion = eu-west-2\nendpoint_url = http://b\n";
        let given = settings([("aws.profile", " b ")]);
        let (settings, filled) = fill_with(config, [("AWS_PROFILE", "a")], given).await;
        assert_eq!((&*settings["aws.region"], &*settings["aws.endpoint"]), ("eu-west-2", "http://b"));
        assert_eq!(filled[0].origin, "profile `b`");

        let environment =
            Environment::of([("AWS_CONFIG_FILE", "/dev/null"), ("HOME", "/nowhere"), ("AWS_PROFILE", "a")]);
        let mut settings = self::settings([("aws.profile", "b")]);
        let error = fill(&mut settings, &environment).await.unwrap_err();
        let expected = "setting `aws.profile` is `b`, and there is no such profile in /dev/null and ~/.aws/credentials";
        assert_eq!(error.to_string(), expected);
        // One that a variable names may be missing: keys and region may come from elsewhere.
        assert_eq!(fill(&mut self::settings([]), &environment).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn an_access_point_supplies_its_region_and_has_endpoints_of_each_kind() {
        let arn = ("aws.bucket", "arn:aws:s3:eu-west-1:123456789012:accesspoint/reader");
        let (filled, origins) = fill_with("", [("AWS_REGION", "us-east-1")], settings([arn])).await;
        assert_eq!(filled["aws.region"], "eu-west-1");
        assert_eq!(origins[0].origin, "setting `aws.bucket`");
        let (filled, _) = fill_with("", [], settings([arn, ("aws.region", "us-east-1")])).await;
        assert_eq!(filled["aws.region"], "us-east-1", "the component says that they differ");
        for (variables, service) in [
            ([("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "false")], "s3-accesspoint-fips"),
            (
                [("AWS_USE_FIPS_ENDPOINT", "true"), ("AWS_USE_DUALSTACK_ENDPOINT", "true")],
                "s3-accesspoint-fips.dualstack",
            ),
            ([("AWS_USE_FIPS_ENDPOINT", "false"), ("AWS_USE_DUALSTACK_ENDPOINT", "true")], "s3-accesspoint.dualstack"),
        ] {
            let (filled, _) = fill_with("", variables, settings([arn])).await;
            assert_eq!(filled["aws.endpoint"], format!("https://{service}.eu-west-1.amazonaws.com"));
            assert_eq!(filled["aws.forcePathStyle"], "false");
        }
    }

    #[tokio::test]
    async fn roles_are_assumed_where_variables_and_profile_say() {
        let at = |variables: &[(&str, &str)]| {
            let variables: BTreeMap<_, _> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let environment = Environment(Arc::new(move |name| variables.get(name).cloned()));
            async move { sts_endpoint(&environment).await }
        };
        let own = ("AWS_ENDPOINT_URL_STS", "http://sts");
        let s3 = ("AWS_ENDPOINT_URL_S3", "http://s3");
        let general = ("AWS_ENDPOINT_URL", "http://general");
        assert_eq!(at(&[own, general]).await.as_deref(), Some("http://sts"));
        assert_eq!(at(&[s3, general]).await.as_deref(), Some("http://general"));
        assert_eq!(at(&[s3]).await, None);
        assert_eq!(at(&[own, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")]).await, None);
    }

    #[tokio::test]
    async fn settings_win_over_everything() {
        let given = settings([("aws.region", "a"), ("aws.endpoint", "")]);
        let variables = [("AWS_REGION", "b"), ("AWS_ENDPOINT_URL", "c")];
        let (settings, filled) = fill_with("", variables, given.clone()).await;
        assert_eq!(settings, given);
        assert_eq!(filled, []);
    }

    #[tokio::test]
    async fn blank_variables_count_as_absent() {
        let variables = [("AWS_REGION", " "), ("AWS_DEFAULT_REGION", "us-east-1 ")];
        let (settings, _) = fill_with("", variables, settings([])).await;
        assert_eq!(settings["aws.region"], "us-east-1");
        assert!(!settings.contains_key("aws.endpoint"));
    }

    #[tokio::test]
    async fn the_profile_in_use_comes_after_the_variables() {
        let config = "[default]\nregion = default-region\n\
                      [profile work]\nregion = work-region\nendpoint_url = http://work\n";
        let (of_work, filled) = fill_with(config, [("AWS_PROFILE", "work")], settings([])).await;
        assert_eq!(of_work["aws.region"], "work-region");
        assert_eq!(of_work["aws.endpoint"], "http://work");
        assert_eq!(filled[0].origin, "profile `work`");

        let (of_default, _) = fill_with(config, [("AWS_REGION", "variable")], settings([])).await;
        assert_eq!(of_default["aws.region"], "variable");
        assert!(!of_default.contains_key("aws.endpoint"));
    }

    #[tokio::test]
    async fn a_profile_can_have_an_endpoint_for_s3_alone() {
        let config = "[default]\nservices = mine\nendpoint_url = http://general\n\
                      [services mine]\ns3 =\n  endpoint_url = http://s3\n";
        let (settings, _) = fill_with(config, [], settings([])).await;
        assert_eq!(settings["aws.endpoint"], "http://s3");
    }

    #[tokio::test]
    async fn configured_endpoints_can_be_ignored() {
        let config = "[default]\nendpoint_url = http://profile\n";
        let variables = [("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True"), ("AWS_ENDPOINT_URL", "http://v")];
        let (ignored, _) = fill_with(config, variables, settings([])).await;
        assert!(!ignored.contains_key("aws.endpoint"));

        let config = "[default]\nignore_configured_endpoint_urls = true\nendpoint_url = http://p\n";
        let (ignored, _) = fill_with(config, [], settings([])).await;
        assert!(!ignored.contains_key("aws.endpoint"));
    }

    const EU: (&str, &str) = ("aws.region", "eu-west-1");

    #[tokio::test]
    async fn endpoints_with_fips_and_of_both_stacks_are_chosen() {
        let fips = ("AWS_USE_FIPS_ENDPOINT", "true");
        let dual = ("AWS_USE_DUALSTACK_ENDPOINT", "TRUE");
        let off = ("UNUSED", "");
        for (variables, region, endpoint) in [
            ([fips, off], "eu-west-1", "https://s3-fips.eu-west-1.amazonaws.com"),
            ([off, dual], "eu-west-1", "https://s3.dualstack.eu-west-1.amazonaws.com"),
            ([fips, dual], "us-gov-west-1", "https://s3-fips.dualstack.us-gov-west-1.amazonaws.com"),
            ([off, dual], "cn-north-1", "https://s3.dualstack.cn-north-1.amazonaws.com.cn"),
        ] {
            for (bucket, style) in [("logs", "false"), ("my.logs", "true")] {
                let given = settings([("aws.region", region), ("aws.bucket", bucket)]);
                let (settings, filled) = fill_with("", variables, given).await;
                assert_eq!(settings["aws.endpoint"], endpoint);
                assert_eq!(settings["aws.forcePathStyle"], style);
                assert!(filled[0].origin.starts_with("variable `AWS_USE_"), "{filled:?}");
            }
        }
        let config = "[default]\nuse_fips_endpoint = true\n";
        let (of_profile, _) = fill_with(config, [], settings([EU])).await;
        assert_eq!(of_profile["aws.endpoint"], "https://s3-fips.eu-west-1.amazonaws.com");
        // A variable wins over the profile, and says no as well as yes.
        let no = [("AWS_USE_FIPS_ENDPOINT", "false")];
        let (plain, _) = fill_with(config, no, settings([EU])).await;
        assert!(!plain.contains_key("aws.endpoint"));
    }

    #[tokio::test]
    async fn fips_is_never_left_out_in_silence() {
        let fips = ("AWS_USE_FIPS_ENDPOINT", "true");
        let refused = |variables: [(&'static str, &'static str); 2], given: BTreeMap<_, _>| async move {
            let environment = Environment::of(variables);
            let mut settings = given;
            fill(&mut settings, &environment).await.unwrap_err().to_string()
        };
        let own = settings([EU, ("aws.endpoint", "http://store")]);
        assert_eq!(
            refused([fips, ("HOME", "/nowhere")], own).await,
            "variable `AWS_USE_FIPS_ENDPOINT` asks for an endpoint of AWS, and setting `aws.endpoint` names another: remove \
             one of them"
        );
        let found = refused([fips, ("AWS_ENDPOINT_URL", "http://store")], settings([EU])).await;
        assert!(found.contains("variable `AWS_ENDPOINT_URL` names another"), "{found}");
        let china = settings([("aws.region", "cn-north-1")]);
        let found = refused([fips, ("HOME", "/nowhere")], china).await;
        assert!(found.contains("none in region `cn-north-1`"), "{found}");
        let misspelt = ("AWS_USE_FIPS_ENDPOINT", "1");
        assert_eq!(
            refused([misspelt, ("HOME", "/nowhere")], settings([EU])).await,
            "variable `AWS_USE_FIPS_ENDPOINT` is `1`: set it to `true` or `false`"
        );
    }

    #[tokio::test]
    async fn a_broken_profile_file_is_no_obstacle() {
        let variables = [("AWS_REGION", "eu-west-1")];
        let (settings, _) = fill_with("[default\n!!", variables, settings([])).await;
        assert_eq!(settings["aws.region"], "eu-west-1");
    }

    #[test]
    fn profiles_that_sign_in_are_told_from_others() {
        let of = |config: &'static str| async move {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config");
            std::fs::write(&path, config).unwrap();
            let path = path.to_str().unwrap();
            let environment = Environment::of([("AWS_CONFIG_FILE", path), ("AWS_PROFILE", "dev")]);
            environment.signed_in_profile().await
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for config in [
            "[profile dev]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n",
            "[profile dev]\nsso_session = s\n[sso-session s]\nsso_region = r\n",
            "[profile dev]\nsso_start_url = u\nsso_account_id = 1\nsso_role_name = r\n",
            "[profile dev]\nlogin_session = arn:aws:iam::0123456789012:user/a\n",
            "[profile dev]\nrole_arn = r\nsource_profile = base\n[profile base]\nsso_account_id = 1\n",
        ] {
            assert_eq!(runtime.block_on(of(config)).as_deref(), Some("dev"), "{config}");
        }
        for config in [
            "[profile dev]\naws_access_key_id = a\naws_secret_access_key = b\n",
            "[profile dev]\nsso_session = s\ncredential_process = p\n",
            "[profile dev]\nrole_arn = r\nsource_profile = dev\naws_access_key_id = a\n",
            "[profile dev]\nrole_arn = r\nsource_profile = base\n[profile base]\naws_access_key_id = a\nsso_account_id = 1\n",
            "[profile dev]\nrole_arn = r\nsource_profile = base\n[profile base]\nrole_arn = r\nsource_profile = dev\n",
            "[profile other]\nsso_account_id = 1\n",
            "",
        ] {
            assert_eq!(runtime.block_on(of(config)), None, "{config}");
        }
    }

    #[test]
    fn debug_shows_no_variable() {
        let environment = Environment::of([("AWS_SECRET_ACCESS_KEY", "s3cr3t")]);
        assert_eq!(format!("{environment:?}"), "Environment { .. }");
    }
}
