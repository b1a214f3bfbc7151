//! Owns where a bucket's requests go: scheme, authority and the way the bucket is addressed; and the partitions of AWS.
//! Leaves whether a request may go there to the host's policy, which takes the same values.

use std::borrow::Cow;

use std::net::{IpAddr, SocketAddr};

use super::access_point::{self, AccessPoint};
use super::setting::{Kind, Validation};

/// How to reach a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host, and port where one was given. In virtual-host style it begins with the bucket.
    pub authority: String,
    /// What the path begins with: nothing, or `/` and more, without a slash at its end.
    pub base_path: String,
    /// What stands for the bucket in host or path: its name, or what addresses an access point.
    pub label: String,
    /// Whether the bucket is the first segment of the path after that.
    pub path_style: bool,
    /// What a user would call the endpoint.
    pub display: String,
}

impl Endpoint {
    /// Derives the endpoint from the settings.
    pub fn new(url: Option<&Url>, path_style: Option<bool>, region: &str, bucket: &str) -> Self {
        let point = AccessPoint::of(bucket);
        let service = if point.is_some() { "s3-accesspoint" } else { "s3" };
        let (tls, host, base_path, by_default) = match url {
            Some(url) => (url.tls, url.host.clone(), url.path.clone(), true),
            None => (true, host(service, region), String::new(), needs_path_style(bucket)),
        };
        let (label, by_default) = match point {
            Some(point) => (point.label(), false),
            None => (bucket.to_owned(), by_default),
        };
        let path_style = path_style.unwrap_or(by_default);
        let display = format!("{}://{host}{base_path}", if tls { "https" } else { "http" });
        let authority = if path_style { host } else { format!("{label}.{host}") };
        Self { tls, authority, base_path, label, path_style, display }
    }
}

/// The host of a service of AWS's S3 (`s3`, `s3-fips.dualstack`…) in a region.
pub fn host(service: &str, region: &str) -> String {
    format!("{service}.{region}.{}", partition(region).domain)
}

/// Whether AWS's certificates leave out a bucket's host name: a dot would need a name two levels down.
pub fn needs_path_style(bucket: &str) -> bool {
    bucket.contains('.')
}

/// A part of AWS with identities, a domain and regions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// How the names of its regions begin.
    regions: &'static str,
    /// Its name in ARNs.
    pub name: &'static str,
    /// The domain of its endpoints.
    pub domain: &'static str,
}

const fn part(regions: &'static str, name: &'static str, domain: &'static str) -> Partition {
    Partition { regions, name, domain }
}

/// The partitions of AWS
/// ([as in the AWS CLI](https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json)); the last one has all
/// other regions.
pub(super) const PARTITIONS: [Partition; 8] = [
    part("cn-", "aws-cn", "amazonaws.com.cn"),
    part("eusc-", "aws-eusc", "amazonaws.eu"),
    part("us-gov-", "aws-us-gov", "amazonaws.com"),
    part("us-iso-", "aws-iso", "c2s.ic.gov"),
    part("us-isob-", "aws-iso-b", "sc2s.sgov.gov"),
    part("us-isof-", "aws-iso-f", "csp.hci.ic.gov"),
    part("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"),
    part("", "aws", "amazonaws.com"),
];

/// The partition of AWS that a region is in.
pub fn partition(region: &str) -> Partition {
    let found = PARTITIONS.iter().find(|partition| region.starts_with(partition.regions));
    *found.expect("the last partition has all regions")
}

/// The domain of AWS that a region is in.
pub fn domain(region: &str) -> &'static str {
    partition(region).domain
}

/// The region in the name of an endpoint of AWS, with or without a bucket: `b.s3.eu-west-1.amazonaws.com`, or
/// `b.s3-eu-west-1.amazonaws.com`, as S3 writes them in its answers.
pub fn region_of(host: &str) -> Option<&str> {
    let place = PARTITIONS.iter().find_map(|partition| host.strip_suffix(partition.domain)?.strip_suffix('.'))?;
    let (before, region) = place.rsplit_once(['.']).unwrap_or(("", place));
    let is_service = |name: &str| before == name || before.ends_with(&format!(".{name}"));
    match region.strip_prefix("s3-") {
        // Names of services and of the classic region, which are no region's own.
        Some("accelerate" | "external-1" | "global" | "fips") => None,
        Some(region) if region.starts_with("website-") => None,
        Some(region) => Some(region),
        None => ["s3", "s3.dualstack", "s3-fips", "s3-fips.dualstack"].into_iter().any(is_service).then_some(region),
    }
}

/// The URL of a store, as `aws.endpoint` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    host: String,
    /// Empty, or `/` and more, without a slash at its end.
    path: String,
}

impl Url {
    /// The host, where it is an address: nothing can stand before it as the names of buckets do.
    pub(super) fn address(&self) -> Option<IpAddr> {
        if let Ok(socket) = self.host.parse::<SocketAddr>() {
            return Some(socket.ip());
        }
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Parses a URL of scheme, host, port and plain path.
    ///
    /// # Errors
    ///
    /// What is expected instead, to follow "must be".
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("a URL that begins with http:// or https://"),
        };
        if rest.contains('@') {
            return Err("a URL without a user: keys are settings of their own");
        }
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = path.strip_suffix('/').unwrap_or(path);
        // What needs escapes, or could be taken for a step up, is signed in one way by one server and in another by others.
        let is_plain = |segment: &str| {
            let is_kept = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
            !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(is_kept)
        };
        if !path.split('/').skip(1).all(is_plain) {
            return Err("a URL whose path, if it has one, is plain, such as https://gateway.example.com/s3");
        }
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let of = |name: &str, signs: &[u8]| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || signs.contains(&b))
        };
        let is_name = match name.strip_prefix('[') {
            Some(address) => address.strip_suffix(']').is_some_and(|address| of(address, b":.")),
            None => of(name, b"-._"),
        };
        let is_port = |port: &str| {
            (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
        };
        if !is_name || !port.is_none_or(is_port) {
            return Err("a URL such as http://127.0.0.1:9000");
        }
        Ok(Self { tls, host: host.to_owned(), path: path.to_owned() })
    }
}

/// The kind of `aws.endpoint`.
pub struct EndpointUrl;

impl Kind<Url> for EndpointUrl {
    fn parse(&self, text: &str) -> Result<Url, Cow<'static, str>> {
        Url::parse(text).map_err(Cow::Borrowed)
    }

    /// All of the form; that a port is at most 65535 is left out.
    fn validations(&self) -> Vec<Validation> {
        let (host, segment) = (r"([A-Za-z0-9._-]+|\[[A-Za-z0-9:.]+\])", "[A-Za-z0-9_~-][A-Za-z0-9._~-]*");
        vec![Validation::Regex(format!("^https?://{host}(:[0-9]{{1,5}})?(/{segment})*/?$"))]
    }

    /// The part before an `@` may be a password.
    fn shown<'a>(&self, text: &'a str) -> &'a str {
        text.rsplit_once('@').map_or(text, |(_, host)| host)
    }
}

/// Regular expressions that a bucket's name matches, all of them: letters, digits, dots that don't follow each other,
/// hyphens and underscores, or the ARN of an access point; and its length.
pub const BUCKET_PATTERNS: &[&str] = &[
    "^([A-Za-z0-9]([.]?[A-Za-z0-9_-])*[.]?|\
     arn:aws[a-z-]*:s3:[a-z0-9-]{1,63}:[0-9]{12}:accesspoint[:/][a-z0-9][a-z0-9-]{1,48}[a-z0-9])$",
    "^.{3,255}$",
];

/// Checks a bucket's name: the [rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)
/// that keep it from being anything but one path segment or host label; the rest is the store's to refuse. An access point's
/// ARN may stand in its place.
///
/// # Errors
///
/// What is expected instead, to follow "must be".
pub fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    if access_point::is_arn(bucket) {
        return AccessPoint::parse(bucket).map(drop);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if (3..=255).contains(&bucket.len())
        && bucket.bytes().all(allowed)
        && !bucket.contains("..")
        && bucket.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
    {
        Ok(())
    } else {
        Err("a bucket name of 3 to 63 letters, digits, dots and hyphens")
    }
}

/// A regular expression that a region's name matches.
pub const REGION_PATTERNS: &[&str] = &["^[A-Za-z0-9-]{1,63}$"];

/// Checks a region's name.
///
/// # Errors
///
/// What is expected instead, to follow "must be".
pub fn check_region(region: &str) -> Result<(), &'static str> {
    if (1..=63).contains(&region.len()) && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        Ok(())
    } else {
        Err("a region such as us-east-1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(url: Option<&str>, path_style: Option<bool>, bucket: &str) -> (bool, String, bool) {
        let url = url.map(|url| Url::parse(url).expect("a good endpoint"));
        let endpoint = Endpoint::new(url.as_ref(), path_style, "eu-west-1", bucket);
        (endpoint.tls, endpoint.authority, endpoint.path_style)
    }

    #[test]
    fn aws_is_addressed_by_host_and_others_by_path() {
        assert_eq!(new(None, None, "logs"), (true, "logs.s3.eu-west-1.amazonaws.com".into(), false));
        assert_eq!(new(None, None, "my.logs"), (true, "s3.eu-west-1.amazonaws.com".into(), true));
        assert_eq!(new(Some("http://[::1]:9000/"), None, "logs"), (false, "[::1]:9000".into(), true));
        assert_eq!(new(Some("https://r2.dev"), Some(false), "logs"), (true, "logs.r2.dev".into(), false));
    }

    #[test]
    fn a_path_of_the_endpoint_leads_to_the_bucket() {
        for (url, path, display) in [
            ("https://gw.example.com/s3/", "/s3", "https://gw.example.com/s3"),
            ("https://gw.example.com/a/b-c_d~e.f", "/a/b-c_d~e.f", "https://gw.example.com/a/b-c_d~e.f"),
            ("https://gw.example.com/", "", "https://gw.example.com"),
        ] {
            let url = Url::parse(url).expect(url);
            let endpoint = Endpoint::new(Some(&url), None, "eu-west-1", "logs");
            assert_eq!((&*endpoint.authority, &*endpoint.base_path), ("gw.example.com", path));
            assert_eq!(endpoint.display, display);
            let endpoint = Endpoint::new(Some(&url), Some(false), "eu-west-1", "logs");
            assert_eq!((&*endpoint.authority, &*endpoint.base_path), ("logs.gw.example.com", path));
        }
    }

    #[test]
    fn access_points_have_hosts_of_their_own() {
        let of = |partition: &str, region: &str, url: Option<&str>| {
            let url = url.map(|url| Url::parse(url).expect("a good endpoint"));
            let arn = format!("arn:{partition}:s3:{region}:123456789012:accesspoint/reader");
            let endpoint = Endpoint::new(url.as_ref(), None, region, &arn);
            assert!(!endpoint.path_style);
            assert_eq!(endpoint.label, "reader-123456789012");
            endpoint.authority
        };
        assert_eq!(of("aws", "eu-west-1", None), "reader-123456789012.s3-accesspoint.eu-west-1.amazonaws.com");
        assert_eq!(of("aws-cn", "cn-north-1", None), "reader-123456789012.s3-accesspoint.cn-north-1.amazonaws.com.cn");
        assert_eq!(
            of("aws-us-gov", "us-gov-west-1", None),
            "reader-123456789012.s3-accesspoint.us-gov-west-1.amazonaws.com"
        );
        assert_eq!(of("aws", "eu-west-1", Some("https://vpce.example.com")), "reader-123456789012.vpce.example.com");
        // An alias is a bucket's name, as far as addresses go.
        let alias = "reader-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias";
        let endpoint = Endpoint::new(None, None, "eu-west-1", alias);
        assert_eq!(endpoint.authority, format!("{alias}.s3.eu-west-1.amazonaws.com"));
        assert!(check_bucket(alias).is_ok());
    }

    #[test]
    fn every_partition_has_its_domain() {
        for (region, host) in [
            ("eu-west-1", "s3.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "s3.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "s3.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "s3.us-isob-east-1.sc2s.sgov.gov"),
            ("us-isof-south-1", "s3.us-isof-south-1.csp.hci.ic.gov"),
            ("eu-isoe-west-1", "s3.eu-isoe-west-1.cloud.adc-e.uk"),
        ] {
            let endpoint = Endpoint::new(None, None, region, "logs");
            assert_eq!(endpoint.authority, format!("logs.{host}"));
            assert_eq!(endpoint.display, format!("https://{host}"));
            assert_eq!(region_of(&endpoint.authority), Some(region));
        }
    }

    #[test]
    fn a_region_is_found_in_endpoints_of_aws_alone() {
        for (host, region) in [
            ("b.s3-eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("s3.dualstack.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("my.b.s3.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("b.s3-fips.us-east-1.amazonaws.com", Some("us-east-1")),
            ("b.s3-accelerate.amazonaws.com", None),
            ("b.s3-website-eu-west-1.amazonaws.com", None),
            ("s3-external-1.amazonaws.com", None),
            ("b.s3.amazonaws.com", None),
            ("s3.amazonaws.com", None),
            ("b.s3.eu-west-1.example.com", None),
            ("store:9000", None),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for url in [
            "minio:9000",
            "ftp://x",
            "http://",
            "http://a//b",
            "http://a/../b",
            "http://u@h",
            "http://h:port",
            "http://a b",
        ] {
            assert!(Url::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_bucket_cannot_leave_its_place() {
        for bucket in ["", "ab", "a/b", "../x", "a..b", ".ab", "a?b", "a#b", "a%2fb", "user@host"] {
            assert!(check_bucket(bucket).is_err(), "{bucket}");
        }
        assert!(check_bucket("my-bucket.logs_2").is_ok());
    }
}
