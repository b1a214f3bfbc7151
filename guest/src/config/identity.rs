//! Owns the identity of a store: one name for all the addresses by which it is reached. Leaves where requests go to
//! `endpoint`.
//!
//! Saved state and positions are bound to it, so that another store with a bucket of the same name is not taken for
//! the one that they belong to.

use super::endpoint::{Endpoint, PARTITIONS};

/// The domain of AWS's endpoints for both stacks that is not a partition's.
const OTHER_DOMAIN: &str = "api.aws";

/// Names the store at an endpoint: its host, and a port that is not its scheme's own. Of AWS, the region: its
/// regional, global, dual-stack, FIPS and private addresses lead to the same buckets. Elsewhere, a path is part of the name.
pub fn of(endpoint: &Endpoint, region: &str) -> String {
    let authority = endpoint.authority.to_ascii_lowercase();
    let bucket = endpoint.label.to_ascii_lowercase();
    let host = match authority.strip_prefix(&bucket) {
        Some(rest) if !endpoint.path_style => rest.strip_prefix('.').unwrap_or(&authority),
        _ => &authority,
    };
    let port = if endpoint.tls { ":443" } else { ":80" };
    let host = host.strip_suffix(port).unwrap_or(host).trim_end_matches('.');
    if is_aws(host) { format!("aws:{}", region.to_ascii_lowercase()) } else { format!("{host}{}", endpoint.base_path) }
}

fn is_aws(host: &str) -> bool {
    let is_s3 = |service: &str| service.split('.').any(|label| label == "s3" || label.starts_with("s3-"));
    PARTITIONS.iter().map(|partition| partition.domain).chain([OTHER_DOMAIN]).any(|domain| {
        let service = host.strip_suffix(domain).and_then(|s| s.strip_suffix('.'));
        service.is_some_and(is_s3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::Url;
    use super::*;

    fn identity(url: Option<&str>, path_style: Option<bool>, region: &str) -> String {
        let url = url.map(|url| Url::parse(url).expect("a good endpoint"));
        let endpoint = Endpoint::new(url.as_ref(), path_style, region, "Logs");
        of(&endpoint, region)
    }

    #[test]
    fn every_address_of_a_region_is_the_same_store() {
        for (url, path_style) in [
            (None, None),
            (None, Some(true)),
            (Some("https://s3.amazonaws.com"), None),
            (Some("https://s3.eu-west-1.amazonaws.com/"), Some(false)),
            (Some("https://s3-eu-west-1.amazonaws.com"), None),
            (Some("https://S3.EU-west-1.amazonaws.com:443"), None),
            (Some("https://s3.dualstack.eu-west-1.amazonaws.com"), None),
            (Some("https://s3-fips.eu-west-1.amazonaws.com"), None),
            (Some("https://s3-accelerate.amazonaws.com"), Some(false)),
            (Some("https://bucket.vpce-1a-2b.s3.eu-west-1.vpce.amazonaws.com"), None),
            (Some("http://s3.eu-west-1.amazonaws.com"), None),
        ] {
            let found = identity(url, path_style, "eu-west-1");
            assert_eq!(found, "aws:eu-west-1", "{url:?}");
        }
        assert_eq!(identity(None, None, "cn-north-1"), "aws:cn-north-1");
    }

    #[test]
    fn other_stores_are_known_by_host_and_port() {
        for (url, path_style, expected) in [
            ("http://127.0.0.1:9000", None, "127.0.0.1:9000"),
            ("http://127.0.0.1:9001", None, "127.0.0.1:9001"),
            ("https://Minio.Example.com", None, "minio.example.com"),
            ("https://minio.example.com:443/", Some(false), "minio.example.com"),
            ("http://minio.example.com:80", Some(true), "minio.example.com"),
            ("https://minio.example.com:80", None, "minio.example.com:80"),
            ("https://logs.example.com", None, "logs.example.com"),
            ("http://[::1]:9000", None, "[::1]:9000"),
            ("https://s3.example.com", None, "s3.example.com"),
            ("https://s3.notamazonaws.com", None, "s3.notamazonaws.com"),
            ("https://sts.amazonaws.com", None, "sts.amazonaws.com"),
            ("https://GW.example.com/S3/", None, "gw.example.com/S3"),
            ("https://gw.example.com/s3/two", Some(false), "gw.example.com/s3/two"),
        ] {
            assert_eq!(identity(Some(url), path_style, "us-east-1"), expected);
        }
    }
}
