//! Owns which requests go through a proxy, and by whose name: the variables that the AWS CLI honours. Leaves the
//! connections to `hyper_upstream`.
//!
//! What is signed does not change: a proxy passes on requests for the store's own host. Plain ones it can read, those
//! with TLS go through a tunnel.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::environment::Environment;

/// Why a proxy can't be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "variable `{variable}` must be the address of a proxy, such as http://proxy.example:3128 or https://user:password@proxy.example"
)]
pub struct ProxyError {
    /// The variable. Its value may hold a password.
    pub variable: &'static str,
}

/// A proxy. Its `Debug` and `Display` show no password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// Where it is; http or https.
    pub(super) uri: Uri,
    /// `Proxy-Authorization`, where it wants one.
    pub(super) authorization: Option<HeaderValue>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.to_string().trim_end_matches('/'))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The proxies for both schemes, and the hosts that need none.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    bypass: Vec<String>,
}

impl Proxies {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`. As in the AWS CLI, which has it from Python's `urllib`, the
    /// names in lower case win, and `HTTP_PROXY` does not count where a web server could have made it up from a header
    /// (<https://httpoxy.org>). `ALL_PROXY` is not looked at.
    pub(super) fn of(environment: &Environment) -> Result<Self, ProxyError> {
        let read = |names: [&'static str; 2]| {
            let found = names.into_iter().find_map(|name| Some((name, environment.get(name)?)));
            found.map(|(name, value)| parse(&value).ok_or(ProxyError { variable: name })).transpose()
        };
        let is_cgi = environment.get("REQUEST_METHOD").is_some();
        let http = if is_cgi { ["http_proxy", "http_proxy"] } else { ["http_proxy", "HTTP_PROXY"] };
        let bypass = environment.get("no_proxy").or_else(|| environment.get("NO_PROXY")).unwrap_or_default();
        let entry = |entry: &str| entry.trim().trim_start_matches('.').to_ascii_lowercase();
        Ok(Self {
            http: read(http)?,
            https: read(["https_proxy", "HTTPS_PROXY"])?,
            bypass: bypass.split(',').map(entry).filter(|entry| !entry.is_empty()).collect(),
        })
    }

    /// The proxy for requests to this address; `None` where they go there directly.
    pub(super) fn for_address(&self, to: &Uri) -> Option<&Proxy> {
        let proxy = match to.scheme_str() {
            Some("https") => self.https.as_ref(),
            _ => self.http.as_ref(),
        }?;
        (!self.passes_by(to)).then_some(proxy)
    }

    /// Whether an entry of `NO_PROXY` is for the host: its name or what it ends with, with or without the port; an
    /// address or a network of addresses; `*` for all.
    fn passes_by(&self, to: &Uri) -> bool {
        let host = to.host().unwrap_or_default().to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let with_port = to.port_u16().map(|port| format!("{host}:{port}"));
        let ends = |name: &str, entry: &str| {
            name.strip_suffix(entry).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        self.bypass.iter().any(|entry| {
            entry == "*"
                || ends(&host, entry)
                || bare == entry
                || with_port.as_deref().is_some_and(|name| ends(name, entry))
                || is_in_network(bare, entry)
        })
    }
}

/// Whether a host is an address in a network such as `10.0.0.0/8`. Python knows none, others do.
fn is_in_network(host: &str, network: &str) -> bool {
    let parsed = || {
        let (network, bits) = network.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        let (address, network, width) = match (host.parse().ok()?, network.parse().ok()?) {
            (IpAddr::V4(a), IpAddr::V4(n)) => (u32::from(a).into(), u32::from(n).into(), 32),
            (IpAddr::V6(a), IpAddr::V6(n)) => (u128::from(a), u128::from(n), 128),
            _ => return None,
        };
        let shift = u32::checked_sub(width, bits)?;
        let begin = |of: u128| of.checked_shr(shift).unwrap_or_default();
        Some(begin(address) == begin(network))
    };
    parsed().unwrap_or(false)
}

/// Reads a proxy's address. Without a scheme it is one of http, as everywhere.
fn parse(value: &str) -> Option<Proxy> {
    let value = value.trim();
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let rest = rest.split(['/', '?', '#']).next()?;
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let uri: Uri = format!("{scheme}://{host}/").parse().ok()?;
    let name = uri.host().filter(|host| !host.is_empty())?;
    // The crate takes any number for a port until somebody asks for it.
    if uri.port_u16().is_none() && host != name {
        return None;
    }
    let authorization = match user {
        None => None,
        Some(user) => {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let mut pair = percent_decode_str(name).collect::<Vec<u8>>();
            pair.push(b':');
            pair.extend(percent_decode_str(password));
            let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    Some(Proxy { uri, authorization })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies<const N: usize>(variables: [(&str, &str); N]) -> Proxies {
        Proxies::of(&Environment::of(variables)).unwrap()
    }

    fn of(proxies: &Proxies, to: &str) -> Option<String> {
        let to: Uri = to.parse().unwrap();
        proxies.for_address(&to).map(ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_lower_case_wins() {
        let both = proxies([
            ("HTTPS_PROXY", "http://secure:1"),
            ("HTTP_PROXY", "http://other:2"),
            ("http_proxy", "plain"),
            ("ALL_PROXY", "http://all:3"),
        ]);
        assert_eq!(of(&both, "https://s/").as_deref(), Some("http://secure:1"));
        assert_eq!(of(&both, "http://s/").as_deref(), Some("http://plain"));
        let none = proxies([("ALL_PROXY", "http://all:3"), ("HTTP_PROXY", " ")]);
        assert_eq!(of(&none, "https://s/").or(of(&none, "http://s/")), None);
    }

    #[test]
    fn a_header_of_a_web_server_is_no_proxy() {
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil")];
        assert_eq!(of(&proxies(cgi), "http://s/"), None);
    }

    #[test]
    fn hosts_that_need_no_proxy_are_named_by_what_they_end_with() {
        let list = " .Store.example,minio:9000, 10.0.0.0/8 ,[::1],2001:db8::/32,,127.0.0.1";
        let some = proxies([("HTTP_PROXY", "http://p"), ("NO_PROXY", list)]);
        for direct in [
            "http://store.example/",
            "http://b.STORE.example:9000/",
            "http://minio:9000/",
            "http://10.1.2.3/",
            "http://[::1]:9000/",
            "http://[2001:db8::5]/",
            "http://127.0.0.1:9000/",
        ] {
            assert_eq!(of(&some, direct), None, "{direct}");
        }
        for proxied in [
            "http://otherstore.example/",
            "http://store.example.com/",
            "http://minio/",
            "http://minio:9001/",
            "http://11.1.2.3/",
            "http://[2001:db9::5]/",
            "http://127.0.0.2/",
        ] {
            assert!(of(&some, proxied).is_some(), "{proxied}");
        }
        let all = proxies([("HTTP_PROXY", "http://p"), ("no_proxy", "a, *")]);
        assert_eq!(of(&all, "http://s/"), None);
    }

    #[test]
    fn a_password_is_sent_and_never_shown() {
        let some = proxies([("HTTPS_PROXY", "https://us%40er:p%3Aw@proxy:8443/path")]);
        let proxy = some.for_address(&"https://s/".parse().unwrap()).unwrap();
        let authorization = proxy.authorization.clone().unwrap();
        assert_eq!(authorization, format!("Basic {}", BASE64_STANDARD.encode("us@er:p:w")));
        assert!(authorization.is_sensitive());
        assert_eq!(proxy.to_string(), "https://proxy:8443");
        let debug = format!("{some:?} {authorization:?}");
        assert!(!debug.contains("p:w") && !debug.contains("p%3Aw") && !debug.contains("Basic"), "{debug}");
    }

    #[test]
    fn what_is_no_proxy_is_refused_by_the_variables_name() {
        for value in ["socks5://p:1", "http://", "http://a b", "http://u:s3cret@", "http://u:s3cret@h:99999"] {
            let error = Proxies::of(&Environment::of([("https_proxy", value)])).unwrap_err();
            assert!(error.to_string().contains("`https_proxy`"), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
