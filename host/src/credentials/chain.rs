//! Owns the standard AWS chain, link by link, so that it is known which link the keys are from. Leaves keeping
//! and renewing them to its parent.
//!
//! The links are built anew for each fetch: they keep what they have read, and a profile that was rotated on
//! disk would never be seen.

use std::sync::Arc;
use std::time::Duration;

use aws_config::Region;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder as HttpClientBuilder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::{Cause, ChainInput, Error, Loaded};
use crate::environment::Environment;

/// Instance metadata answers within milliseconds where there is any; elsewhere the address is silent, and
/// everybody without credentials waits this long to be told so.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// Connection, token and keys together.
const METADATA_TOTAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Gets keys from where they are.
pub(super) trait Fetch: Send + Sync {
    /// Asks for keys once.
    fn fetch(&self) -> BoxFuture<'_, Result<Loaded, Error>>;
}

/// The chain. Holds no keys.
pub(super) struct Chain {
    input: ChainInput,
    /// To metadata services, which are on this machine or next to it: never through a proxy.
    http_client: SharedHttpClient,
    /// To STS.
    sts_client: SharedHttpClient,
}

/// The proxy for TLS, as the egress finds it, which refuses an address that is none.
fn proxy(environment: &Environment) -> Option<ProxyConfig> {
    let either = |lower, upper| environment.get(lower).or_else(|| environment.get(upper));
    let url = either("https_proxy", "HTTPS_PROXY")?;
    let url = url.trim();
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let proxy = ProxyConfig::https(url).ok()?;
    Some(proxy.no_proxy(either("no_proxy", "NO_PROXY").unwrap_or_default()))
}

/// A client that reaches what speaks TLS through a proxy, and all else directly: metadata services speak none, whichever
/// link asks them.
fn through_proxy(context: TlsContext, proxy: ProxyConfig) -> SharedHttpClient {
    HttpClientBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(proxy.clone())
            .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
            .tls_context(context.clone());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        if let Some(settings) = settings {
            connector = connector.connector_settings(settings.clone());
        }
        connector.build()
    })
}

/// One place that may have keys.
pub(super) struct Link {
    origin: Arc<str>,
    provider: SharedCredentialsProvider,
    time_limit: Option<Duration>,
    is_guess: bool,
}

impl Link {
    pub(super) fn new(origin: impl Into<Arc<str>>, provider: impl ProvideCredentials + 'static) -> Self {
        Self {
            origin: origin.into(),
            provider: SharedCredentialsProvider::new(provider),
            time_limit: None,
            is_guess: false,
        }
    }

    /// Whether there is nothing here, rather than something that is broken. Nobody sets instance metadata up:
    /// it is asked in case it is there, and where it is not a firewall may say so in its own way.
    fn is_absent(&self, error: &CredentialsError) -> bool {
        self.is_guess || matches!(error, CredentialsError::CredentialsNotLoaded(_))
    }

    fn failed(&self, error: &CredentialsError) -> Error {
        Error::Failed { origin: Arc::clone(&self.origin), source: Cause::of(error) }
    }
}

impl Chain {
    pub(super) fn new(input: ChainInput) -> Self {
        let builder = HttpClientBuilder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring));
        // A bundle that can't be read is reported by the client that connects to S3 with it.
        let bundle = input.environment.ca_bundle().and_then(|path| std::fs::read(path).ok());
        let trust = bundle.map(|bundle| TrustStore::empty().with_pem_certificate(bundle));
        let context = trust.and_then(|trust| TlsContext::builder().with_trust_store(trust).build().ok());
        let context = context.unwrap_or_default();
        let http_client = builder.tls_context(context.clone()).build_https();
        let sts_client = match proxy(&input.environment) {
            Some(proxy) => through_proxy(context, proxy),
            None => http_client.clone(),
        };
        Self { input, http_client, sts_client }
    }

    fn links(&self) -> Vec<Link> {
        let environment = &self.input.environment;
        let config = ProviderConfig::without_region()
            .with_http_client(self.http_client.clone())
            .with_region(self.input.region.clone().map(Region::new));
        let to_sts = config.clone().with_http_client(self.sts_client.clone());
        let profile = ProfileFileCredentialsProvider::builder().configure(&to_sts);
        if let Some(name) = &self.input.profile {
            let origin = format!("profile {name} (setting aws.profile)");
            return vec![Link::new(origin, profile.profile_name(name).build())];
        }
        let profile = profile.build();
        let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&to_sts).build();
        let container = EcsCredentialsProvider::builder().configure(&config).build();
        let mut links = vec![
            Link::new(format!("profile {}", environment.profile()), profile),
            Link::new("web identity", web_identity),
            Link::new("container credentials", container),
        ];
        if !environment.is_true("AWS_EC2_METADATA_DISABLED") {
            let client = aws_config::imds::Client::builder()
                .configure(&config)
                .max_attempts(1)
                .connect_timeout(METADATA_TIMEOUT)
                .read_timeout(METADATA_TIMEOUT)
                .build();
            let metadata = ImdsCredentialsProvider::builder().configure(&config).imds_client(client).build();
            links.push(Link {
                time_limit: Some(METADATA_TOTAL_TIMEOUT),
                is_guess: true,
                ..Link::new("instance metadata", metadata)
            });
        }
        links
    }

    /// The keys of the environment, which need no link.
    fn environment_keys(&self) -> Option<Loaded> {
        let environment = &self.input.environment;
        let trimmed = |name| Some(environment.get(name)?.trim().to_owned());
        let keys = Keys::new(
            trimmed("AWS_ACCESS_KEY_ID")?,
            trimmed("AWS_SECRET_ACCESS_KEY")?,
            trimmed("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        Some(Loaded { keys, origin: "AWS_ACCESS_KEY_ID in the environment".into() })
    }
}

impl Fetch for Chain {
    fn fetch(&self) -> BoxFuture<'_, Result<Loaded, Error>> {
        async {
            let named = self.input.profile.as_ref();
            // As the AWS CLI has it: variables with keys come before the profile, unless that was asked for by name.
            if let Some(loaded) = self.environment_keys().filter(|_| named.is_none()) {
                return Ok(loaded);
            }
            if let Some(profile) = self.input.environment.signed_in_profile().await {
                return Err(Error::SignIn { profile });
            }
            match (named, &self.links()[..]) {
                (Some(profile), [link]) => keys_of(profile, link).await,
                (_, links) => first_of(links).await,
            }
        }
        .boxed()
    }
}

impl Fetch for Link {
    fn fetch(&self) -> BoxFuture<'_, Result<Loaded, Error>> {
        async {
            match ask(self).await {
                Ok(keys) => Ok(Loaded { keys, origin: Arc::clone(&self.origin) }),
                Err(error) => Err(self.failed(&error)),
            }
        }
        .boxed()
    }
}

impl Chain {
    /// What reaches STS.
    pub(super) fn into_sts_client(self) -> SharedHttpClient {
        self.sts_client
    }
}

/// The keys of the profile that the settings name.
async fn keys_of(profile: &str, link: &Link) -> Result<Loaded, Error> {
    match ask(link).await {
        Ok(keys) => Ok(Loaded { keys, origin: Arc::clone(&link.origin) }),
        Err(error) if link.is_absent(&error) => {
            Err(Error::Keyless { profile: profile.to_owned(), source: Cause::of(&error) })
        }
        Err(error) => Err(link.failed(&error)),
    }
}

/// The keys of the first link that has some. A link that is set up and fails ends the search: going on would
/// sign as somebody else.
async fn first_of(links: &[Link]) -> Result<Loaded, Error> {
    let mut tried = vec!["environment".to_owned()];
    for link in links {
        match ask(link).await {
            Ok(keys) => {
                return Ok(Loaded { keys, origin: Arc::clone(&link.origin) });
            }
            Err(error) if link.is_absent(&error) => {
                let cause = Cause::of(&error);
                tracing::debug!(origin = %link.origin, %cause, "no credentials here");
                tried.push(link.origin.to_string());
            }
            Err(error) => return Err(link.failed(&error)),
        }
    }
    Err(Error::NotFound { tried: tried.join(", ") })
}

async fn ask(link: &Link) -> Result<Keys, CredentialsError> {
    // What the crates warn of has all fields of a profile, its external ID too; and it is said again by what fails.
    let asked = link.provider.provide_credentials().with_subscriber(NoSubscriber::new());
    match link.time_limit {
        None => asked.await,
        Some(limit) => match tokio::time::timeout(limit, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CredentialsError::not_loaded("no answer in time")),
        },
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::future;

    use super::*;

    #[derive(Debug)]
    enum Fake {
        Has(&'static str),
        Lacks,
        Fails,
        Hangs,
        /// And says more than it should.
        Warns,
    }

    impl ProvideCredentials for Fake {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async move {
                match self {
                    Self::Has(id) => Ok(Keys::new(*id, "secret", None, None, "fake")),
                    Self::Lacks => Err(CredentialsError::not_loaded("nothing")),
                    Self::Fails => Err(CredentialsError::provider_error("broken")),
                    Self::Hangs => std::future::pending().await,
                    Self::Warns => {
                        tracing::warn!(external_id = "of somebody", "failed");
                        Err(CredentialsError::provider_error("broken"))
                    }
                }
            })
        }
    }

    #[tokio::test]
    async fn the_first_link_that_has_keys_gives_them() {
        let links =
            vec![Link::new("a", Fake::Lacks), Link::new("b", Fake::Has("of b")), Link::new("c", Fake::Has("of c"))];
        let loaded = first_of(&links).await.unwrap();
        assert_eq!((&*loaded.origin, loaded.keys.access_key_id()), ("b", "of b"));
    }

    #[tokio::test]
    async fn a_link_that_fails_ends_the_search_by_name() {
        let links = vec![Link::new("a", Fake::Fails), Link::new("b", Fake::Has("of b"))];
        let error = first_of(&links).await.unwrap_err();
        assert_eq!(error.to_string(), "credentials could not be loaded; origin=`a`");
    }

    #[tokio::test]
    async fn what_links_log_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = Arc::new(std::fs::File::create(&path).unwrap());
        let subscriber = tracing_subscriber::fmt().with_writer(file).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let links = [Link::new("a", Fake::Lacks), Link::new("b", Fake::Warns)];
        assert!(first_of(&links).await.is_err());
        keys_of("b", &links[1]).await.unwrap_err();
        tracing::warn!("what we say");
        let log = std::fs::read_to_string(path).unwrap();
        assert!(log.contains("what we say") && !log.contains("of somebody"), "{log}");
    }

    #[tokio::test]
    async fn a_profile_without_keys_says_why() {
        let error = keys_of("mine", &Link::new("a", Fake::Lacks)).await.unwrap_err();
        let text = crate::error::with_causes(&error);
        assert!(text.contains("profile `mine`") && text.contains("nothing"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_link_is_passed_over_in_time() {
        let hanging = Link { time_limit: Some(METADATA_TOTAL_TIMEOUT), ..Link::new("a", Fake::Hangs) };
        let before = tokio::time::Instant::now();
        let error = first_of(&[hanging]).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }));
        assert_eq!(before.elapsed().as_secs(), METADATA_TOTAL_TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn a_guess_that_fails_was_wrong() {
        let guess = Link { is_guess: true, ..Link::new("a", Fake::Fails) };
        let error = first_of(&[guess]).await.unwrap_err();
        assert!(error.to_string().ends_with("tried=`environment, a`"));
    }

    #[tokio::test]
    async fn a_failure_tells_its_cause_as_text() {
        let error = first_of(&[Link::new("a", Fake::Fails)]).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap();
        assert_eq!(cause.to_string(), "broken");
    }

    #[tokio::test]
    async fn nothing_found_says_what_to_set_and_where_it_looked() {
        let links = vec![Link::new("profile default", Fake::Lacks)];
        let message = first_of(&links).await.unwrap_err().to_string();
        assert!(message.contains("set aws.accessKeyId and aws.secretAccessKey"));
        assert!(message.ends_with("tried=`environment, profile default`"));
    }

    #[tokio::test]
    async fn the_environment_comes_first_and_blank_variables_do_not_count() {
        let chain = |environment| Chain::new(ChainInput { environment, region: None, profile: None });
        let loaded = chain(Environment::of([
            ("AWS_ACCESS_KEY_ID", " id "),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", " "),
        ]))
        .fetch()
        .await
        .unwrap();
        assert_eq!(loaded.keys.access_key_id(), "id");
        assert_eq!(loaded.keys.session_token(), None);
        assert_eq!(&*loaded.origin, "AWS_ACCESS_KEY_ID in the environment");

        let half = chain(Environment::of([("AWS_ACCESS_KEY_ID", "id")]));
        assert!(half.environment_keys().is_none());
    }

    #[tokio::test]
    async fn a_profile_that_signs_in_is_answered_with_the_command_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let config = "[profile dev]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n";
        std::fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap();
        let environment = Environment::of([("AWS_CONFIG_FILE", path), ("AWS_PROFILE", "dev")]);
        let input = ChainInput { environment, region: None, profile: None };
        let message = Chain::new(input).fetch().await.unwrap_err().to_string();
        let command = r#"eval "$(aws configure export-credentials --profile dev --format env)""#;
        assert!(message.contains(command), "{message}");
        assert!(!message.contains("cargo"), "{message}");
    }

    #[tokio::test]
    async fn keys_of_the_environment_do_not_count_where_the_settings_name_a_profile() {
        // The AWS crates look for it in the files of this process, which have no such profile.
        let environment = Environment::of([
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_PROFILE", "no-such-profile-5e3f"),
        ]);
        let profile = Some("no-such-profile-5e3f".to_owned());
        let error = Chain::new(ChainInput { environment, region: None, profile }).fetch().await.unwrap_err();
        assert!(error.to_string().contains("no-such-profile-5e3f"), "{error}");
    }

    #[tokio::test]
    async fn what_is_left_out_of_the_crates_is_not_told_in_their_words() {
        let error = CredentialsError::provider_error("This behavior requires following cargo feature(s) enabled: sso");
        assert!(!Cause::of(&error).to_string().contains("cargo"));
    }

    #[test]
    fn instance_metadata_can_be_switched_off() {
        let links = |environment| Chain::new(ChainInput { environment, region: None, profile: None }).links();
        let has_metadata = |links: Vec<Link>| links.iter().any(|link| &*link.origin == "instance metadata");
        assert!(has_metadata(links(Environment::of([]))));
        let off = Environment::of([("AWS_EC2_METADATA_DISABLED", "TRUE")]);
        assert!(!has_metadata(links(off)));
    }

    #[test]
    fn the_profile_is_named() {
        let environment = Environment::of([("AWS_PROFILE", "work")]);
        let chain = Chain::new(ChainInput { environment, region: None, profile: None });
        assert_eq!(&*chain.links()[0].origin, "profile work");
        // By the settings, it's the only one.
        let environment = Environment::of([("AWS_PROFILE", "work")]);
        let input = ChainInput { environment, region: None, profile: Some("work".to_owned()) };
        let links = Chain::new(input).links();
        assert_eq!(links.iter().map(|link| &*link.origin).collect::<Vec<_>>(), ["profile work (setting aws.profile)"]);
    }
}
