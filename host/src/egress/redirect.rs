//! Owns the decision whether an answer of 307 is followed: only for the same request, to the store's own domain and
//! region. Pure, as `policy` is: what it permits is signed anew for where it goes.
//!
//! S3 sends requests on while names of new buckets spread, which takes minutes
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html>). Wherever else an answer leads, no signature goes.

use std::net::IpAddr;

use http::{HeaderMap, StatusCode, Uri, header};
use s3_connector::config::endpoint::domain;

/// How often one request is sent on. S3 does so once.
pub(super) const REDIRECTS_MAX: u32 = 3;

/// Where to send a request that was answered with this; `None` if there is nothing to follow.
pub(super) fn target(from: &Uri, status: StatusCode, headers: &HeaderMap, region: &str) -> Option<Uri> {
    if status != StatusCode::TEMPORARY_REDIRECT {
        return None;
    }
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    let to: Uri = location.parse().ok()?;
    if to.authority()?.as_str().contains('@') || to.scheme() != from.scheme() {
        return None;
    }
    // The same request and no other: bucket, key and query as they were permitted.
    let is_same = to.path_and_query()? == from.path_and_query()?;
    let port = |uri: &Uri| uri.port_u16();
    let (from_host, to_host) = (from.host()?, to.host()?.to_ascii_lowercase());
    let from_host = from_host.to_ascii_lowercase();
    let is_near = port(&to) == port(from) && is_own(&from_host, &to_host, region);
    (is_same && is_near).then_some(to)
}

/// Whether a host is the same store's: itself, one of AWS's names for the same bucket in the same region, or a name
/// below that of another store.
fn is_own(from: &str, to: &str, region: &str) -> bool {
    if from == to {
        return true;
    }
    match (place(from, region).or_else(|| global(from, region)), place(to, region)) {
        (Some(from), Some(to)) => from == to,
        (None, None) => {
            let is_address = from.parse::<IpAddr>().is_ok() || from.starts_with('[');
            !is_address && to.strip_suffix(from).is_some_and(|below| below.ends_with('.'))
        }
        _ => false,
    }
}

/// The bucket in the global name of S3, from which requests for a new bucket are sent on to its region
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html>). There is none outside of the common partition.
fn global<'h>(host: &'h str, region: &str) -> Option<(&'h str, bool)> {
    if domain(region) != "amazonaws.com" || region.starts_with("us-gov-") {
        return None;
    }
    let bucket = host.strip_suffix("s3.amazonaws.com")?;
    let bucket = match bucket {
        "" => bucket,
        _ => bucket.strip_suffix('.')?,
    };
    Some((bucket, false))
}

/// The bucket in a name of S3 in AWS, which may be empty, and whether the name promises FIPS. None for hosts elsewhere.
fn place<'h>(host: &'h str, region: &str) -> Option<(&'h str, bool)> {
    let services =
        [("s3-fips.dualstack.", true), ("s3-fips.", true), ("s3.dualstack.", false), ("s3.", false), ("s3-", false)];
    services.iter().find_map(|(service, is_fips)| {
        let end = format!("{service}{region}.{}", domain(region));
        let bucket = host.strip_suffix(end.as_str())?;
        let bucket = if bucket.is_empty() { bucket } else { bucket.strip_suffix('.')? };
        Some((bucket, *is_fips))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn follows(from: &str, to: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_str(to).unwrap());
        let from = from.parse().unwrap();
        let found = target(&from, StatusCode::TEMPORARY_REDIRECT, &headers, "eu-west-1");
        if let Some(found) = &found {
            assert_eq!(found.to_string(), to);
        }
        found.is_some()
    }

    #[test]
    fn the_stores_own_names_in_its_region_are_followed() {
        for (from, to) in [
            ("https://b.s3.eu-west-1.amazonaws.com/k?x=1", "https://b.s3-eu-west-1.amazonaws.com/k?x=1"),
            ("https://b.s3.eu-west-1.amazonaws.com/k", "https://b.s3.dualstack.eu-west-1.amazonaws.com/k"),
            ("https://s3.eu-west-1.amazonaws.com/b/k", "https://s3-eu-west-1.amazonaws.com/b/k"),
            ("https://store.example/b/k", "https://node-1.store.example/b/k"),
            ("http://127.0.0.1:9000/b/k", "http://127.0.0.1:9000/b/k"),
        ] {
            assert!(follows(from, to), "{to}");
        }
    }

    #[test]
    fn the_global_name_leads_to_the_region_of_the_settings_and_no_other() {
        let bucket = "https://b.s3.amazonaws.com/k?x=1";
        for to in [
            "https://b.s3-eu-west-1.amazonaws.com/k?x=1",
            "https://b.s3.eu-west-1.amazonaws.com/k?x=1",
            "https://b.s3.dualstack.eu-west-1.amazonaws.com/k?x=1",
        ] {
            assert!(follows(bucket, to), "{to}");
        }
        let path = "https://s3.amazonaws.com/b/k";
        assert!(follows(path, "https://s3-eu-west-1.amazonaws.com/b/k"));
        for (from, to) in [
            (bucket, "https://b.s3-eu-west-2.amazonaws.com/k?x=1"),
            (bucket, "https://c.s3-eu-west-1.amazonaws.com/k?x=1"),
            (bucket, "https://s3-eu-west-1.amazonaws.com/k?x=1"),
            (bucket, "https://b.s3-fips.eu-west-1.amazonaws.com/k?x=1"),
            (bucket, "https://b.s3.cn-north-1.amazonaws.com.cn/k?x=1"),
            (bucket, "https://evil.b.s3.amazonaws.com/k?x=1"),
            (path, "https://b.s3.amazonaws.com/b/k"),
            ("https://s3.eu-west-1.amazonaws.com/b/k", "https://s3.amazonaws.com/b/k"),
        ] {
            assert!(!follows(from, to), "{to}");
        }
        assert_eq!(global("b.s3.amazonaws.com", "eu-west-1"), Some(("b", false)));
        assert_eq!(global("bs3.amazonaws.com", "eu-west-1"), None);
        for region in ["us-gov-west-1", "cn-north-1", "us-iso-east-1"] {
            assert_eq!(global("s3.amazonaws.com", region), None, "{region}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let aws = "https://b.s3.eu-west-1.amazonaws.com/k?x=1";
        let fips = "https://b.s3-fips.eu-west-1.amazonaws.com/k";
        for (from, to) in [
            // Another region, bucket, key, query, scheme, port, domain; a user; a path alone.
            (aws, "https://b.s3.eu-west-2.amazonaws.com/k?x=1"),
            (aws, "https://c.s3.eu-west-1.amazonaws.com/k?x=1"),
            (aws, "https://b.s3.eu-west-1.amazonaws.com/l?x=1"),
            (aws, "https://b.s3.eu-west-1.amazonaws.com/k?x=2"),
            (aws, "http://b.s3.eu-west-1.amazonaws.com/k?x=1"),
            (aws, "https://b.s3.eu-west-1.amazonaws.com:8443/k?x=1"),
            (aws, "https://b.s3.eu-west-1.amazonaws.com.evil.example/k?x=1"),
            (aws, "https://evil.b.s3.eu-west-1.amazonaws.com.cn/k?x=1"),
            (aws, "https://b.ec2.eu-west-1.amazonaws.com/k?x=1"),
            (aws, "https://u@b.s3-eu-west-1.amazonaws.com/k?x=1"),
            (aws, "/k?x=1"),
            (fips, "https://b.s3.eu-west-1.amazonaws.com/k"),
            ("https://store.example/b/k", "https://evilstore.example/b/k"),
            ("https://node.store.example/b/k", "https://store.example/b/k"),
            ("http://127.0.0.1:9000/b/k", "http://x.127.0.0.1:9000/b/k"),
            ("https://store.example/b/k", "https://b.s3.eu-west-1.amazonaws.com/b/k"),
        ] {
            assert!(!follows(from, to), "{to}");
        }
    }

    #[test]
    fn other_answers_lead_nowhere() {
        let from: Uri = "https://store.example/b/k".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("https://store.example/b/k"));
        for status in [200, 301, 302, 308, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(target(&from, status, &headers, "eu-west-1"), None);
        }
        let status = StatusCode::TEMPORARY_REDIRECT;
        assert_eq!(target(&from, status, &HeaderMap::new(), "eu-west-1"), None);
    }
}
