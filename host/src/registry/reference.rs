//! Owns the names of components in registries: `oci://HOST/NAME:TAG` and `oci://HOST/NAME@sha256:…`, in the grammar of
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>. Leaves what they stand for to `client`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::digest::Digest;
use crate::error::{Error, ErrorKind};

/// What a reference begins with, where a file could stand as well.
pub const SCHEME: &str = "oci://";

/// Bytes of host and name together, as registries have it.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of a tag.
const TAG_BYTES_MAX: usize = 128;

/// A component in a registry. Its text begins with `oci://`, which may be left out when one is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    host: String,
    name: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host, and port where there is one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What follows the host, without tag and digest.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag, which can be moved from one component to another.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which stands for the same bytes always.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same component by its digest, and without a tag, which says nothing beside one.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { host: self.host.clone(), name: self.name.clone(), tag: None, digest: Some(digest) }
    }
}

/// Whether a host, with or without a port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_host(host: &str) -> bool {
    let (bare, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6.", port),
            _ => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = bare == "v6." || bare.split('.').all(is_part);
    // `team/s3` would be a name without a host: nobody says where it is.
    let is_told = bare.contains('.') || !port.is_empty() || bare == "localhost";
    is_name && is_told && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Whether each part of a name is made of words, and of single separators between them.
fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.split('/').all(|part| {
        let ends_well = part.bytes().next().is_some_and(is_word) && part.bytes().next_back().is_some_and(is_word);
        let mut separators = part.split(|character: char| character.is_ascii() && is_word(character as u8));
        ends_well
            && separators.all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
            })
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.bytes().next().is_some_and(is_word)
        && tag.len() <= TAG_BYTES_MAX
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            let message = format!(
                "a component in a registry is `{SCHEME}HOST/NAME@sha256:…` or `{SCHEME}HOST/NAME:TAG`: {why}; reference=`{text}`"
            );
            Error::new(ErrorKind::Invalid, message)
        };
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        if rest.contains("://") {
            return Err(refuse("no other scheme is known"));
        }
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|error: Error| refuse(error.message()))?)),
            None => (rest, None),
        };
        let Some((host, name)) = rest.split_once('/') else { return Err(refuse("the host or the name is missing")) };
        if !is_host(host) {
            return Err(refuse("it must begin with a host, such as `registry.example.com` or `localhost:5000`"));
        }
        let (name, tag) = match name.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(refuse("a tag has letters, digits, `.`, `_` and `-`, at most 128"));
        }
        if !is_name(name) || host.len() + name.len() > NAME_BYTES_MAX {
            return Err(refuse(
                "a name has lower-case letters and digits with single `.`, `_`, `-` and `/` between them",
            ));
        }
        // A name of DNS is the same in any case.
        Ok(Self { host: host.to_ascii_lowercase(), name: name.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_they_are_written() {
        let digest = Digest::of(b"manifest");
        for text in [
            "oci://registry.example.com/s3",
            "oci://registry.example.com/team/s3-connector:1.2.0",
            "oci://localhost:5000/a/b__c.d/e--f:latest",
            "oci://localhost/s3:_x",
            "oci://[::1]:5000/s3:1",
            &format!("oci://10.0.0.1:80/s3@{digest}"),
            &format!("oci://registry.example.com/s3:1.2.0@{digest}"),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.to_string(), text);
            let bare = text.strip_prefix(SCHEME).unwrap();
            assert_eq!(bare.parse::<Reference>().unwrap(), reference);
        }
        let upper: Reference = "Registry.Example.com/s3:V1".parse().unwrap();
        assert_eq!(upper.to_string(), "oci://registry.example.com/s3:V1");
        let tagged: Reference = "registry.example.com/s3:1".parse().unwrap();
        assert_eq!(tagged.pinned(digest).to_string(), format!("oci://registry.example.com/s3@{digest}"));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let upper = format!("registry.example.com/s3@{}", Digest::of(b"").to_string().to_uppercase());
        for text in [
            "",
            "oci://",
            "s3.wasm",
            "s3/connector",
            "https://registry.example.com/s3",
            "registry.example.com",
            "registry.example.com/",
            "registry.example.com/S3",
            "registry.example.com/a//b",
            "registry.example.com/../b",
            "registry.example.com/a..b",
            "registry.example.com/-a",
            "registry.example.com/s3:",
            "registry.example.com/s3:.1",
            "registry.example.com/s3:a/b",
            "registry.example.com/s3:é",
            "registry.example.com/s3?x",
            "registry.example.com:port/s3",
            "registry.example.com:/s3",
            "registry.example.com:99999/s3",
            "user@registry.example.com/s3",
            "registry..example.com/s3",
            "[::1/s3",
            "registry.example.com/s3@sha256:00",
            &upper,
            &format!("registry.example.com/{}", "a".repeat(NAME_BYTES_MAX)),
            &format!("registry.example.com/s3:{}", "a".repeat(TAG_BYTES_MAX + 1)),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:80", "LOCALHOST"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example.com",
            "127.0.0.1.example.com",
            "localhost@example.com",
            "10.0.0.1",
            "[::2]:80",
            "example.com:5000",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
