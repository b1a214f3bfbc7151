//! Owns who we are to a registry: the credentials that `docker login` has left, and the challenge by which a registry says what it wants of
//! them (<https://distribution.github.io/distribution/spec/auth/token/>). Leaves requests to `client`.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind as ErrorOf, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use docker_credential::{CredentialRetrievalError as Missing, DockerCredential};
use http::{HeaderMap, HeaderValue, header};

use crate::error::{Error, ErrorKind, Result};

/// How long a program that keeps credentials may take. One that takes longer is left behind.
const HELPER_MAX: Duration = Duration::from_secs(30);

/// Bytes of a file of credentials.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Docker Hub under the name by which people and credentials know it, and the place where it is.
const HUB: &str = "docker.io";
const HUB_PLACE: &str = "registry-1.docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The host that is asked for what a name holds.
pub(super) fn place(host: &str) -> &str {
    if host == HUB { HUB_PLACE } else { host }
}

/// What proves who we are. Has no `Debug`.
pub(super) enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// What tokens are made of, in the place of a password.
    Identity(String),
}

impl Credentials {
    /// Those of Docker's or Podman's files for this registry, or of the program that they name; `None` where there are none.
    pub(super) async fn find(host: &str, name: &str) -> Result<Option<Self>> {
        let keys = keys(host, name);
        let found = tokio::task::spawn_blocking(move || {
            for file in files(|name| std::env::var_os(name)) {
                // Docker knows whole hosts alone, and a program that it names is asked for nothing else.
                let is_dockers = file.ends_with("config.json");
                for key in keys.iter().filter(|key| !is_dockers || !key.is_path) {
                    let found = look(&file, &key.text);
                    if let Some(found) = found.map_err(|why| format!("{why}; file=`{}`", file.display()))? {
                        return Ok(Some(found));
                    }
                }
            }
            Ok(None)
        });
        let found = match tokio::time::timeout(HELPER_MAX, found).await {
            Ok(Ok(found)) => found,
            Ok(Err(lost)) => Err(lost.to_string()),
            Err(_) => Err(format!("the program that keeps them has not answered within {} s", HELPER_MAX.as_secs())),
        };
        found.map_err(|why| {
            let message = format!("the credentials for the registry can't be read: {why}; registry=`{host}`");
            Error::new(ErrorKind::Denied, message)
        })
    }

    /// `Authorization` with user and password; `None` where they are not what there is.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        match self {
            Self::Password { user, password } => {
                sensitive(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
            }
            Self::Identity(_) => None,
        }
    }
}

/// What credentials are kept under.
struct Key {
    text: String,
    /// Whether it is for a part of a registry, as Podman has it.
    is_path: bool,
}

/// What those for a component may be kept under, the closest first.
fn keys(host: &str, name: &str) -> Vec<Key> {
    let ends = std::iter::once(name.len()).chain(name.rmatch_indices('/').map(|(at, _)| at));
    let paths = ends.map(|end| Key { text: format!("{host}/{}", &name[..end]), is_path: true });
    let hosts = if host == HUB { &[HUB_KEY, HUB][..] } else { &[host] };
    paths.chain(hosts.iter().map(|host| Key { text: (*host).to_owned(), is_path: false })).collect()
}

/// Where credentials may be, the first place first: what Podman is told to use, what `docker login` writes, what `podman login` writes.
fn files(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = |folder: &str| path("HOME").map(|home| home.join(folder));
    let docker = path("DOCKER_CONFIG").or_else(|| home(".docker"));
    let config = path("XDG_CONFIG_HOME").or_else(|| home(".config"));
    let podman =
        [path("XDG_RUNTIME_DIR"), config].map(|folder| folder.map(|folder| folder.join("containers/auth.json")));
    let files = [path("REGISTRY_AUTH_FILE"), docker.map(|folder| folder.join("config.json"))];
    files.into_iter().chain(podman).flatten().collect()
}

/// The credentials of a file, or of the program that it names.
fn look(file: &Path, key: &str) -> Result<Option<Credentials>, String> {
    let opened = match fs::File::open(file) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), ErrorOf::NotFound | ErrorOf::NotADirectory) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    match docker_credential::get_credential_from_reader(opened.take(FILE_BYTES_MAX), key) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(Credentials::Password { user, password })),
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credentials::Identity(token))),
        Err(Missing::NoCredentialConfigured) => Ok(None),
        // The words by which such programs say that they have none.
        Err(Missing::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => Ok(None),
        // What it wrote may hold anything.
        Err(Missing::HelperFailure { helper, .. }) => Err(format!("`{helper}` failed")),
        Err(Missing::HelperCommunicationError) => {
            Err("the program that it names (docker-credential-…) can't be run".to_owned())
        }
        Err(other) => Err(other.to_string()),
    }
}

/// `Authorization` with a token.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a registry wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token, which is to be had at `realm`.
    Token { realm: String, service: Option<String>, scope: Option<String> },
    /// User and password themselves.
    Basic,
}

impl Challenge {
    /// The first challenge of an answer that can be met.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges = values.filter_map(|value| http_auth::parse_challenges(value).ok()).flatten();
        let mut known = challenges.filter_map(|challenge| {
            let parameter = |wanted: &str| {
                let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.to_unescaped())
            };
            match challenge.scheme {
                scheme if scheme.eq_ignore_ascii_case("bearer") => {
                    let (service, scope) = (parameter("service"), parameter("scope"));
                    Some(Self::Token { realm: parameter("realm")?, service, scope })
                }
                scheme if scheme.eq_ignore_ascii_case("basic") => Some(Self::Basic),
                _ => None,
            }
        });
        known.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&'static str]) -> Option<Challenge> {
        let values = values.iter().map(|value| (header::WWW_AUTHENTICATE, HeaderValue::from_static(value)));
        Challenge::of(&values.collect())
    }

    #[test]
    fn the_first_challenge_that_can_be_met_is_taken() {
        let token = |service: Option<&str>, scope: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let realm = "https://auth.example.com/token".to_owned();
            Some(Challenge::Token { realm, service: owned(service), scope: owned(scope) })
        };
        let whole =
            r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a/b:pull,push""#;
        assert_eq!(challenge(&[whole]), token(Some("registry"), Some("repository:a/b:pull,push")));
        assert_eq!(challenge(&[r#"bearer Realm="https://auth.example.com/token""#]), token(None, None));
        let scoped = token(Some("registry"), Some("repository:a/b:pull,push"));
        assert_eq!(challenge(&[r#"Digest realm="x", nonce="y""#, whole]), scoped);
        assert_eq!(challenge(&[r#"Basic realm="registry""#]), Some(Challenge::Basic));
        for none in [&[][..], &["Bearer service=\"x\""], &["Negotiate"], &["\"", "Bearer realm="]] {
            assert_eq!(challenge(none), None, "{none:?}");
        }
    }

    #[test]
    fn credentials_are_sent_in_headers_that_no_log_shows() {
        let password = Credentials::Password { user: "user".to_owned(), password: "s3cr3t".to_owned() };
        let header = password.basic().unwrap();
        assert_eq!(header, "Basic dXNlcjpzM2NyM3Q=");
        assert!(header.is_sensitive() && bearer("token").unwrap().is_sensitive());
        assert!(bearer("to\nken").is_none());
        assert!(Credentials::Identity("token".to_owned()).basic().is_none());
    }

    #[test]
    fn files_are_looked_for_where_docker_and_podman_have_them() {
        let files = |variables: &[(&str, &str)]| {
            let variables: std::collections::HashMap<_, _> = variables.iter().copied().collect();
            let files = files(|name| variables.get(name).map(OsString::from));
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(files(&[("HOME", "/h")]), ["/h/.docker/config.json", "/h/.config/containers/auth.json"]);
        let all =
            [("HOME", "/h"), ("DOCKER_CONFIG", "/d"), ("XDG_RUNTIME_DIR", "/r"), ("REGISTRY_AUTH_FILE", "/a.json")];
        let wanted = ["/a.json", "/d/config.json", "/r/containers/auth.json", "/h/.config/containers/auth.json"];
        assert_eq!(files(&all), wanted);
        assert_eq!(files(&[("DOCKER_CONFIG", "")]), [""; 0]);
    }

    #[test]
    fn credentials_for_a_part_of_a_registry_come_before_those_for_all_of_it() {
        let keys = |host, name| keys(host, name).into_iter().map(|key| key.text).collect::<Vec<_>>();
        assert_eq!(keys("quay.io", "team/s3"), ["quay.io/team/s3", "quay.io/team", "quay.io"]);
        assert_eq!(keys("docker.io", "s3"), ["docker.io/s3", "https://index.docker.io/v1/", "docker.io"]);
    }

    #[test]
    fn docker_hub_is_at_another_place_than_its_name_says() {
        assert_eq!(place("docker.io"), "registry-1.docker.io");
        assert_eq!(place("registry.example.com:5000"), "registry.example.com:5000");
    }
}
