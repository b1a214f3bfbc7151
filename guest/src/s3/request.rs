//! Owns plain S3 requests: the bucket's place, and keys and values in the percent-encoding that signatures need. Leaves
//! signing and the `host` header to the host.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::BucketConfig;
use crate::payload::Payload;
use crate::ports::{Method, Request};

/// All but the unreserved characters of [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2.3), as
/// [SigV4](https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html) wants it.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The same for a key, in which slashes stay.
const KEY: &AsciiSet = &VALUE.remove(b'/');

/// The header by which the owner of the keys pays
/// ([as S3 has it](https://docs.aws.amazon.com/AmazonS3/latest/userguide/ObjectsinRequesterPaysBuckets.html)).
const REQUEST_PAYER: (&str, &str) = ("x-amz-request-payer", "requester");

/// A request under construction.
pub(super) struct Builder {
    request: Request,
    queried: bool,
}

impl Builder {
    /// Starts a request to the bucket, or to one of its objects.
    pub(super) fn new(config: &BucketConfig, method: Method, key: Option<&str>) -> Self {
        let mut path = format!("{}/", config.endpoint.base_path);
        if config.endpoint.path_style {
            path.push_str(&config.endpoint.label);
            if key.is_some() {
                path.push('/');
            }
        }
        path.extend(utf8_percent_encode(key.unwrap_or_default(), KEY));
        let (payer, requester) = REQUEST_PAYER;
        let headers = if config.access.requester_pays { vec![(payer, requester.to_owned())] } else { Vec::new() };
        let request = Request {
            method,
            tls: config.endpoint.tls,
            authority: config.endpoint.authority.clone(),
            path_with_query: path,
            headers,
            extra_headers: Vec::new(),
            body: Payload::empty(),
        };
        Self { request, queried: false }
    }

    /// Adds a query parameter.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        let path = &mut self.request.path_with_query;
        path.push(if self.queried { '&' } else { '?' });
        path.push_str(name);
        path.push('=');
        path.extend(utf8_percent_encode(value, VALUE));
        self.queried = true;
        self
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: String) -> Self {
        self.request.headers.push((name, value));
        self
    }

    /// Adds a header whose name is made at run time.
    pub(super) fn extra_header(mut self, name: String, value: String) -> Self {
        self.request.extra_headers.push((name, value));
        self
    }

    /// Sets the body.
    pub(super) fn body(mut self, body: Payload) -> Self {
        self.request.body = body;
        self
    }

    /// The request.
    pub(super) fn build(self) -> Request {
        self.request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_with(more: &[(&str, &str)]) -> BucketConfig {
        let settings = [("aws.bucket", "logs"), ("aws.region", "us-east-1")];
        let settings = settings.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        BucketConfig::parse(&settings.collect()).expect("good settings")
    }

    fn config(url: Option<&str>) -> BucketConfig {
        config_with(&[("aws.endpoint", url.unwrap_or_default())])
    }

    fn path(url: Option<&str>, key: Option<&str>) -> String {
        Builder::new(&config(url), Method::Get, key).build().path_with_query
    }

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_host() {
        assert_eq!(path(Some("http://h:1"), None), "/logs");
        assert_eq!(path(Some("http://h:1"), Some("a/b")), "/logs/a/b");
        assert_eq!(path(None, None), "/");
        assert_eq!(path(None, Some("a/b")), "/a/b");
    }

    #[test]
    fn a_path_of_the_endpoint_comes_before_bucket_and_key() {
        let url = Some("https://gw/s3/");
        assert_eq!((path(url, None), path(url, Some("a/b"))), ("/s3/logs".to_owned(), "/s3/logs/a/b".to_owned()));
        let by_host = config_with(&[("aws.endpoint", "https://gw/s3"), ("aws.forcePathStyle", "false")]);
        let path = |key| Builder::new(&by_host, Method::Get, key).build().path_with_query;
        assert_eq!((path(None), path(Some("a/b"))), ("/s3/".to_owned(), "/s3/a/b".to_owned()));
        let arn = ("aws.bucket", "arn:aws:s3:us-east-1:123456789012:accesspoint/reader");
        let request = Builder::new(&config_with(&[arn]), Method::Get, Some("a")).build();
        assert_eq!(request.path_with_query, "/a");
        assert_eq!(request.authority, "reader-123456789012.s3-accesspoint.us-east-1.amazonaws.com");
    }

    #[test]
    fn every_request_says_who_pays_if_it_was_asked_for() {
        let of = |value| {
            let config = config_with(&[("requesterPays", value)]);
            Builder::new(&config, Method::Get, Some("a")).header("range", "bytes=0-1".to_owned()).build().headers
        };
        let range = ("range", "bytes=0-1".to_owned());
        assert_eq!(of("true"), [("x-amz-request-payer", "requester".to_owned()), range.clone()]);
        assert_eq!(of("false"), [range]);
    }

    #[test]
    fn odd_keys_are_encoded_once_and_kept_whole() {
        assert_eq!(path(None, Some("/a b+c%d?é\u{1}//.")), "//a%20b%2Bc%25d%3F%C3%A9%01//.");
    }

    #[test]
    fn query_values_are_encoded() {
        let request =
            Builder::new(&config(None), Method::Get, None).query("versions", "").query("prefix", "a/ &=").build();
        assert_eq!(request.path_with_query, "/?versions=&prefix=a%2F%20%26%3D");
    }
}
