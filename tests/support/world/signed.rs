//! Owns signed requests to a store, for the native world and for the client of a real server. Leaves what is asked for,
//! and what the answer means, to its callers. Signs with the SDK's own code.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

/// Who signs.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) session_token: Option<String>,
    pub(super) region: String,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) method: &'static str,
    /// Scheme and authority.
    pub(super) origin: String,
    /// Percent-encoded, as it must be sent.
    pub(super) path_with_query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// AWS's name of the service.
    pub(super) service: &'static str,
}

impl Keys {
    /// Signs a request at that time.
    pub(super) fn sign(&self, plain: Plain, time: SystemTime) -> Request<Full<Bytes>> {
        let identity =
            Credentials::new(&self.access_key, &self.secret_key, self.session_token.clone(), None, "tests").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(plain.service)
            .time(time)
            .settings(settings)
            .build()
            .expect("all that is required is given")
            .into();
        let url = format!("{}{}", plain.origin, plain.path_with_query);
        let (_, authority) = plain.origin.split_once("://").expect("an origin has a scheme");
        let mut headers = vec![("host", authority)];
        headers.extend(plain.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let body = SignableBody::Bytes(&plain.body);
        let signable = SignableRequest::new(plain.method, &url, headers.iter().copied(), body)
            .expect("the request is well-formed");
        let (instructions, _) = sign(signable, &params).expect("it can be signed").into_parts();
        let mut request = Request::builder().method(plain.method).uri(&url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if matches!(plain.method, "PUT" | "POST") || !plain.body.is_empty() {
            request = request.header("content-length", plain.body.len());
        }
        let body = Full::new(plain.body);
        let mut request = request.body(body).expect("the request is well-formed");
        instructions.apply_to_request_http1x(&mut request);
        request
    }
}
