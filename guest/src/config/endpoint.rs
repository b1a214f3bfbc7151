//! Where a bucket's requests go: scheme, authority and the way the bucket is addressed.
//!
//! Whether a request may go there is the host's policy, which derives the same from the same settings.

/// How to reach a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Host, and port where one was given. In virtual-host style the bucket leads it.
    pub authority: String,
    /// Whether the bucket is the first segment of the path.
    pub path_style: bool,
    /// What a user would call the endpoint.
    pub display: String,
}

impl Endpoint {
    /// Derives the endpoint from the settings.
    ///
    /// # Errors
    ///
    /// What is expected of `aws.endpoint` instead, to follow "must be".
    pub fn new(url: Option<&str>, path_style: Option<bool>, region: &str, bucket: &str) -> Result<Self, &'static str> {
        let (tls, host, display, path_style) = match url {
            Some(url) => {
                let (tls, host) = split(url)?;
                (tls, host.to_owned(), url.trim_end_matches('/').to_owned(), path_style.unwrap_or(true))
            }
            None => {
                let host = format!("s3.{region}.{}", domain(region));
                // A dot in the bucket's name would need a certificate for a name two levels down.
                let path_style = path_style.unwrap_or(bucket.contains('.'));
                (true, host.clone(), format!("https://{host}"), path_style)
            }
        };
        let authority = if path_style { host } else { format!("{bucket}.{host}") };
        Ok(Self { tls, authority, path_style, display })
    }
}

/// Partitions of AWS with a domain of their own, by how the names of their regions begin
/// ([as in the AWS CLI](https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json)). The regions of
/// `us-gov` are below the common one.
const DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
];

/// The domain of AWS that a region is in.
pub fn domain(region: &str) -> &'static str {
    let own = DOMAINS.iter().find(|(begin, _)| region.starts_with(begin));
    own.map_or("amazonaws.com", |(_, domain)| domain)
}

/// The region in the name of an endpoint of AWS, with or without a bucket: `b.s3.eu-west-1.amazonaws.com`, or
/// `b.s3-eu-west-1.amazonaws.com`, as S3 writes them in its answers.
pub fn region_of(host: &str) -> Option<&str> {
    let domains = DOMAINS.iter().map(|(_, domain)| *domain);
    let place = domains.chain(["amazonaws.com"]).find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.'))?;
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

fn split(url: &str) -> Result<(bool, &str), &'static str> {
    let (tls, rest) = match url.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err("a URL that begins with http:// or https://"),
    };
    if rest.contains('@') {
        return Err("a URL without a user: keys are settings of their own");
    }
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains(['/', '?', '#']) {
        return Err("a URL without a path");
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let named = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b))
        && (name.starts_with('[') || !name.contains(':'));
    if !named || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Err("a URL such as http://127.0.0.1:9000");
    }
    Ok((tls, host))
}

/// Checks a bucket's name: the [rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)
/// that keep it from being anything but one path segment or host label; the rest is the store's to refuse.
///
/// # Errors
///
/// What is expected instead, to follow "must be".
pub fn check_bucket(bucket: &str) -> Result<(), &'static str> {
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

/// Checks a region's name.
///
/// # Errors
///
/// What is expected instead, to follow "must be".
pub fn check_region(region: &str) -> Result<(), &'static str> {
    if region.len() <= 63 && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        Ok(())
    } else {
        Err("a region such as us-east-1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(url: Option<&str>, path_style: Option<bool>, bucket: &str) -> (bool, String, bool) {
        let endpoint = Endpoint::new(url, path_style, "eu-west-1", bucket).expect("a good endpoint");
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
            let endpoint = Endpoint::new(None, None, region, "logs").expect("a good endpoint");
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
        for url in ["minio:9000", "ftp://x", "http://", "http://a/b", "http://u@h", "http://h:port", "http://a b"] {
            assert!(Endpoint::new(Some(url), None, "r", "b").is_err(), "{url}");
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
