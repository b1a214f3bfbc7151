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
    pub fn new(
        url: Option<&str>,
        path_style: Option<bool>,
        region: &str,
        bucket: &str,
    ) -> Result<Self, &'static str> {
        let (tls, host, display, path_style) = match url {
            Some(url) => {
                let (tls, host) = split(url)?;
                (
                    tls,
                    host.to_owned(),
                    url.trim_end_matches('/').to_owned(),
                    path_style.unwrap_or(true),
                )
            }
            None => {
                let suffix = if region.starts_with("cn-") {
                    "amazonaws.com.cn"
                } else {
                    "amazonaws.com"
                };
                let host = format!("s3.{region}.{suffix}");
                // A dot in the bucket's name would need a certificate for a name two levels down.
                let path_style = path_style.unwrap_or(bucket.contains('.'));
                (true, host.clone(), format!("https://{host}"), path_style)
            }
        };
        let authority = if path_style {
            host
        } else {
            format!("{bucket}.{host}")
        };
        Ok(Self {
            tls,
            authority,
            path_style,
            display,
        })
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
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b))
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
        && bucket
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric())
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
    if region.len() <= 63
        && region
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        Ok(())
    } else {
        Err("a region such as us-east-1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(url: Option<&str>, path_style: Option<bool>, bucket: &str) -> (bool, String, bool) {
        let endpoint =
            Endpoint::new(url, path_style, "eu-west-1", bucket).expect("a good endpoint");
        (endpoint.tls, endpoint.authority, endpoint.path_style)
    }

    #[test]
    fn aws_is_addressed_by_host_and_others_by_path() {
        assert_eq!(
            new(None, None, "logs"),
            (true, "logs.s3.eu-west-1.amazonaws.com".into(), false)
        );
        assert_eq!(
            new(None, None, "my.logs"),
            (true, "s3.eu-west-1.amazonaws.com".into(), true)
        );
        assert_eq!(
            new(Some("http://[::1]:9000/"), None, "logs"),
            (false, "[::1]:9000".into(), true)
        );
        assert_eq!(
            new(Some("https://r2.dev"), Some(false), "logs"),
            (true, "logs.r2.dev".into(), false)
        );
    }

    #[test]
    fn regions_in_china_have_a_domain_of_their_own() {
        let endpoint = Endpoint::new(None, None, "cn-north-1", "logs").expect("a good endpoint");
        assert_eq!(endpoint.authority, "logs.s3.cn-north-1.amazonaws.com.cn");
        assert_eq!(endpoint.display, "https://s3.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for url in [
            "minio:9000",
            "ftp://x",
            "http://",
            "http://a/b",
            "http://u@h",
            "http://h:port",
            "http://a b",
        ] {
            assert!(Endpoint::new(Some(url), None, "r", "b").is_err(), "{url}");
        }
    }

    #[test]
    fn a_bucket_cannot_leave_its_place() {
        for bucket in [
            "",
            "ab",
            "a/b",
            "../x",
            "a..b",
            ".ab",
            "a?b",
            "a#b",
            "a%2fb",
            "user@host",
        ] {
            assert!(check_bucket(bucket).is_err(), "{bucket}");
        }
        assert!(check_bucket("my-bucket.logs_2").is_ok());
    }
}
