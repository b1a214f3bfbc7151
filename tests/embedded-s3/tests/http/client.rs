//! Owns a raw client for the server's own tests: it signs what it is given and interprets nothing.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use embedded_s3::{ACCESS_KEY, EmbeddedS3, Options, SECRET_KEY, Versioning};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const UNRESERVED_AND_SLASH: &AsciiSet = &UNRESERVED.remove(b'/');

/// What a test looks at of one version in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) delete_marker: bool,
    pub(crate) key: String,
    pub(crate) version_id: String,
    pub(crate) is_latest: bool,
    pub(crate) last_modified: String,
}

/// An answer with its body read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.maybe_header(name).unwrap_or_else(|| panic!("no header {name} in {self:?}"))
    }

    pub(crate) fn maybe_header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Gives the texts of all elements of this name, unescaped.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let parts = self.text().split(&open).skip(1);
        let text = parts.map(|part| part.split(&close).next().unwrap());
        text.map(|text| text.replace("&quot;", "\"").replace("&amp;", "&")).collect()
    }

    pub(crate) fn one(&self, name: &str) -> String {
        let mut all = self.all(name);
        assert_eq!(all.len(), 1, "{name} in {}", self.text());
        all.remove(0)
    }

    /// Gives the versions and delete markers of a listing in the order in which they stand there.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let starts = self.text().split('<').enumerate();
        let starts = starts.filter(|(_, part)| part.starts_with("Version>") || part.starts_with("DeleteMarker>"));
        let parts: Vec<&str> = self.text().split('<').collect();
        let entry = |(at, part): (usize, &str)| {
            let field = |name: &str| {
                let open = format!("{name}>");
                parts[at..].iter().find_map(|part| part.strip_prefix(&open)).unwrap_or_default().to_owned()
            };
            Entry {
                delete_marker: part.starts_with("DeleteMarker"),
                key: field("Key"),
                version_id: field("VersionId"),
                is_latest: field("IsLatest") == "true",
                last_modified: field("LastModified"),
            }
        };
        starts.map(entry).collect()
    }

    pub(crate) fn code(&self) -> (u16, String) {
        (self.status, self.one("Code"))
    }
}

/// A request under construction.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    unsigned_headers: Vec<(String, String)>,
    body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, bucket: &str, key: &str) -> Self {
        let key = utf8_percent_encode(key, UNRESERVED_AND_SLASH);
        Self {
            method,
            path: if bucket.is_empty() { "/".to_owned() } else { format!("/{bucket}/{key}") },
            query: Vec::new(),
            headers: Vec::new(),
            unsigned_headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn unsigned_header(mut self, name: &str, value: &str) -> Self {
        self.unsigned_headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn path_and_query(&self) -> String {
        let encode = |text| utf8_percent_encode(text, UNRESERVED).to_string();
        let pairs = self.query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }
}

pub(crate) fn get(bucket: &str, key: &str) -> Call {
    Call::new(Method::GET, bucket, key)
}

pub(crate) fn put(bucket: &str, key: &str, body: impl Into<Bytes>) -> Call {
    Call::new(Method::PUT, bucket, key).body(body)
}

/// Somebody who sends requests to a server.
pub(crate) struct SigningClient {
    pub(crate) host: String,
    pub(crate) address: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: Option<String>,
    pub(crate) region: String,
    pub(crate) time: Option<SystemTime>,
    http: HyperClient<HttpConnector, Full<Bytes>>,
}

impl SigningClient {
    pub(crate) fn new(server: &EmbeddedS3) -> Self {
        let address = server.address().unwrap().to_string();
        Self {
            host: address.clone(),
            address,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            session_token: None,
            region: "us-east-1".to_owned(),
            time: None,
            http: HyperClient::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Signs a request for its host; it is sent to the server wherever that host is.
    pub(crate) fn sign(&self, call: &Call) -> Request<Full<Bytes>> {
        let token = self.session_token.clone();
        let credentials = Credentials::new(&self.access_key, &self.secret_key, token, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&credentials)
            .region(&self.region)
            .name("s3")
            .time(self.time.unwrap_or_else(SystemTime::now))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("http://{}{}", self.host, call.path_and_query());
        let mut headers = vec![("host", self.host.as_str())];
        headers.extend(call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let given = call.headers.iter().find(|(name, _)| name == "x-amz-content-sha256");
        let body = match given {
            Some((_, hash)) if hash == "UNSIGNED-PAYLOAD" => SignableBody::UnsignedPayload,
            Some((_, hash)) => SignableBody::Precomputed(hash.clone()),
            None => SignableBody::Bytes(&call.body),
        };
        headers.retain(|(name, _)| *name != "x-amz-content-sha256");
        let signable = SignableRequest::new(call.method.as_str(), &url, headers.iter().copied(), body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let sent_to = format!("http://{}{}", self.address, call.path_and_query());
        let mut request = Request::builder().method(call.method.clone()).uri(sent_to);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let length = call.body.len();
        if call.method == Method::PUT || length > 0 {
            request = request.header("content-length", length);
        }
        let mut request = request.body(Full::new(call.body.clone())).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        for (name, value) in &call.unsigned_headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    /// Sends a request; fails if its connection was closed before the answer was complete.
    pub(crate) async fn try_send(&self, call: Call) -> Result<Reply, (Option<u16>, usize)> {
        let request = self.sign(&call);
        let answer = self.http.request(request).await.map_err(|_| (None, 0))?;
        let (parts, mut body) = answer.into_parts();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| (Some(parts.status.as_u16()), read.len()))?;
            if let Ok(data) = frame.into_data() {
                read.extend_from_slice(&data);
            }
        }
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body: read.into() })
    }

    pub(crate) async fn send(&self, call: Call) -> Reply {
        self.try_send(call).await.expect("the server answers")
    }
}

/// Starts a server with the bucket `bkt`.
pub(crate) async fn server_with(options: Options, versioning: Versioning) -> (EmbeddedS3, SigningClient) {
    let server = EmbeddedS3::start(options).await.unwrap();
    server.store().create_bucket("bkt").unwrap();
    server.store().set_versioning("bkt", versioning).unwrap();
    let client = SigningClient::new(&server);
    (server, client)
}

/// Reads an answer that came without a socket.
pub(crate) async fn collect(answer: Response<s3s::Body>) -> (StatusCode, Bytes) {
    let (parts, body) = answer.into_parts();
    (parts.status, body.collect().await.unwrap().to_bytes())
}
