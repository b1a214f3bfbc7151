//! The way to the endpoint: name, connection, TLS; by the very resolver and connector that requests take.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use s3_connector::config::endpoint::Endpoint;

use super::STEP_MAX;
use super::report::{Step, StepName};
use crate::egress::Distrust;
use crate::egress::upstream::{Connection, Error, Upstream};
use crate::error::with_causes;

/// Addresses that are shown; S3 gives eight, some stores dozens.
const ADDRESSES_SHOWN: usize = 4;

/// Looks the endpoint's name up, unless a proxy does.
pub(super) async fn name(upstream: &dyn Upstream, endpoint: &Endpoint) -> Step {
    let (host, port) = host_and_port(endpoint);
    if let Some(proxy) = address(endpoint).and_then(|uri| upstream.proxy(&uri)) {
        return Step::new(StepName::Name, format!("look up `{host}`")).passed(format!("the proxy {proxy} does"));
    }
    if host.parse::<IpAddr>().is_ok() {
        return Step::new(StepName::Name, format!("read `{host}`")).passed("it is an address");
    }
    let step = Step::new(StepName::Name, format!("look up `{host}`"));
    let looked_up = tokio::net::lookup_host((host.as_str(), port));
    let found = match tokio::time::timeout(STEP_MAX, looked_up).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect::<Vec<_>>(),
        Ok(Err(error)) => return step.failed(error.to_string(), NAME_ADVICE),
        Err(_) => {
            let seconds = STEP_MAX.as_secs();
            return step.failed(format!("no answer within {seconds} s"), NAME_ADVICE);
        }
    };
    let mut shown: Vec<String> = Vec::new();
    for address in &found {
        let address = address.to_string();
        if !shown.contains(&address) {
            shown.push(address);
        }
    }
    let more = shown.len().saturating_sub(ADDRESSES_SHOWN);
    shown.truncate(ADDRESSES_SHOWN);
    match (shown.is_empty(), more) {
        (true, _) => step.failed("it has no address", NAME_ADVICE),
        (false, 0) => step.passed(shown.join(", ")),
        (false, more) => step.passed(format!("{} and {more} more", shown.join(", "))),
    }
}

const NAME_ADVICE: &str = "look at aws.endpoint and aws.region, from which the name is made, and at \
                           the DNS settings of this machine";
const CONNECTION_ADVICE: &str = "look at the port in aws.endpoint, and at firewalls between here and there; where a proxy \
     is the way, name it in HTTPS_PROXY or HTTP_PROXY";
const PROXY_ADVICE: &str = "look at HTTPS_PROXY and HTTP_PROXY, at user and password in them, and at what the proxy lets \
                            through; hosts that need none belong in NO_PROXY";

/// What to do about a certificate that is not trusted.
fn certificate_advice(why: &Distrust) -> &'static str {
    match why {
        Distrust::Expired => "have the server's certificate renewed; look at the clock of this machine too",
        Distrust::NotYet => "look at the clock of this machine",
        Distrust::Name { .. } => {
            "put a name that the certificate is for into aws.endpoint, or have one made for this name"
        }
        Distrust::Authority => "name a file with this very certificate in AWS_CA_BUNDLE",
        _ => "name a file with the certificate of the authority that signed the server's in AWS_CA_BUNDLE",
    }
}

const TLS_ADVICE: &str = "if the store speaks no TLS there, begin aws.endpoint with http://";

/// Connects: what became of the connection, and of TLS on it. None where an embedder brought an upstream of its
/// own that does not tell.
pub(super) async fn connect(upstream: &dyn Upstream, endpoint: &Endpoint) -> Option<(Step, Step)> {
    let uri = address(endpoint)?;
    let (host, port) = host_and_port(endpoint);
    let through = upstream.proxy(&uri);
    let through = through.map_or(String::new(), |proxy| format!(" through the proxy {proxy}"));
    let tried = format!("connect to port {port} of `{host}`{through}");
    let connection = Step::new(StepName::Connection, tried);
    let tls = Step::new(StepName::Tls, "agree on TLS, and look at the server's certificate");
    let connecting = upstream.connect(&uri)?;
    Some(match connecting.await {
        Ok(Connection { peer, tls: Some(agreed), .. }) => {
            (connection.passed(of_peer(peer)), tls.passed(format!("{agreed}; the certificate is trusted")))
        }
        Ok(Connection { peer, tls: None, .. }) => (connection.passed(of_peer(peer)), without_tls(peer)),
        Err(error) => {
            let found = with_causes(&error);
            match error {
                Error::Certificate(why) => {
                    (connection.passed("it is there"), tls.failed(found, certificate_advice(&why)))
                }
                Error::Alert { .. } | Error::Tls(_) | Error::Protocol(_) => {
                    (connection.passed("it is there"), tls.failed(found, TLS_ADVICE))
                }
                Error::Terminated(_) if endpoint.tls => {
                    (connection.passed("it is there"), tls.failed(found, TLS_ADVICE))
                }
                Error::Proxy { .. } => (connection.failed(found, PROXY_ADVICE), tls.skipped("there is no connection")),
                Error::Dns(_)
                | Error::Refused(_)
                | Error::ConnectTimeout(_)
                | Error::Unreachable(_)
                | Error::Exhausted(_)
                | Error::Terminated(_) => {
                    (connection.failed(found, CONNECTION_ADVICE), tls.skipped("there is no connection"))
                }
            }
        }
    })
}

/// Keys are not sent, only signed with; everything else can be read on the way.
fn without_tls(peer: Option<SocketAddr>) -> Step {
    let step = Step::new(StepName::Tls, "");
    if peer.is_some_and(|peer| peer.ip().is_loopback()) {
        return step.skipped("none is spoken: aws.endpoint begins with http://");
    }
    step.warned(
        "none is spoken: aws.endpoint begins with http://",
        "begin aws.endpoint with https://, if the store speaks TLS: without it, others on the network can read along",
    )
}

/// Where requests go.
fn address(endpoint: &Endpoint) -> Option<Uri> {
    let scheme = if endpoint.tls { "https" } else { "http" };
    format!("{scheme}://{}/", endpoint.authority).parse().ok()
}

fn of_peer(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "it is there".to_owned(), |peer| peer.to_string())
}

/// The host without brackets, and the port, the scheme's own where none was given.
fn host_and_port(endpoint: &Endpoint) -> (String, u16) {
    let authority: Option<http::uri::Authority> = endpoint.authority.parse().ok();
    let host = authority.as_ref().map_or(&*endpoint.authority, |a| a.host());
    let port = authority.as_ref().and_then(http::uri::Authority::port_u16);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port.unwrap_or(if endpoint.tls { 443 } else { 80 }))
}

#[cfg(test)]
mod tests {
    use s3_connector::config::endpoint::Url;

    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(Some(&Url::parse(url).unwrap()), None, "us-east-1", "logs")
    }

    #[test]
    fn a_port_that_is_not_given_is_the_schemes() {
        let of = |url| host_and_port(&endpoint(url));
        assert_eq!(of("http://store"), ("store".to_owned(), 80));
        assert_eq!(of("https://store"), ("store".to_owned(), 443));
        assert_eq!(of("http://[::1]:9000"), ("::1".to_owned(), 9000));
    }

    /// A way out without proxies.
    struct Direct;

    impl Upstream for Direct {
        fn send(
            &self,
            _: http::Request<http_body_util::Full<bytes::Bytes>>,
        ) -> futures_util::future::BoxFuture<
            'static,
            Result<http::Response<crate::egress::upstream::UpstreamBody>, Error>,
        > {
            unreachable!("a look-up sends no request")
        }
    }

    #[tokio::test]
    async fn an_address_needs_no_look_up() {
        for url in ["http://127.0.0.1:1", "http://[::1]:1"] {
            assert_eq!(name(&Direct, &endpoint(url)).await.found, "it is an address", "{url}");
        }
    }
}
