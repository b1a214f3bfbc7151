//! Owns a real S3 server, named by the AWS variables, and a client with which cases act behind the connector's back.
//!
//! The client shares nothing with the connector: it signs with the SDK's code and reads documents in its own way.

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3_connector_host::egress::{HyperUpstream, Upstream as _};
use s3_connector_host::environment::Environment;
use s3s::dto::{Timestamp, TimestampFormat};

use super::signed::{Keys, Plain};
use embedded_s3::{ObjectHeaders, S3Operation, Versioning};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const KEY: &AsciiSet = &UNRESERVED.remove(b'/');

/// A real server.
pub(super) struct RemoteServer {
    pub(super) endpoint: String,
    pub(super) keys: Keys,
    pub(super) client: HyperUpstream,
}

/// An answer whose body was read.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A version or delete marker, as a document of the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// The version's id.
    pub id: String,
    /// Whether it is the current one.
    pub is_latest: bool,
    /// Whether it is a delete marker.
    pub is_marker: bool,
    /// The entity tag as it is written, empty for a delete marker.
    pub etag: String,
    /// The stamp, to the second, so that it sorts as text: `2009-10-12T17:50:30`.
    pub last_modified: String,
}

/// A page of versions, in the order in which they stand in the document.
#[derive(Debug)]
pub struct Page {
    /// What is on it.
    pub entries: Vec<Listed>,
    /// Markers of a key and a version, with which the next page is asked for, if there is more.
    pub next: Option<(String, String)>,
    /// What the store calls itself.
    pub server: String,
    /// The store's time in the same form.
    pub date: String,
}

impl Reply {
    /// The texts of all elements of that name.
    fn all(&self, name: &str) -> Vec<String> {
        elements(&String::from_utf8_lossy(&self.body), name).map(str::to_owned).collect()
    }

    fn one(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_default()
    }

    fn expect_success(self, what: &str) -> Self {
        let body = String::from_utf8_lossy(&self.body);
        assert!((200..300).contains(&self.status), "{what}: {} {body}", self.status);
        self
    }
}

impl RemoteServer {
    /// The server that the variables name, or what is missing.
    pub(super) fn from_environment() -> Result<Self, String> {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let required = |name: &str| get(name).ok_or_else(|| format!("{name} is not set"));
        let keys = Keys {
            access_key: required("AWS_ACCESS_KEY_ID")?,
            secret_key: required("AWS_SECRET_ACCESS_KEY")?,
            session_token: get("AWS_SESSION_TOKEN"),
            region: required("AWS_REGION")?,
        };
        let endpoint = get("AWS_ENDPOINT_URL_S3")
            .or_else(|| get("AWS_ENDPOINT_URL"))
            .unwrap_or_else(|| format!("https://s3.{}.amazonaws.com", keys.region));
        Self::new(endpoint.trim_end_matches('/').to_owned(), keys)
    }

    /// A server at that address.
    pub(super) fn new(endpoint: String, keys: Keys) -> Result<Self, String> {
        // One for each case: connections end with the runtime of the case that made them.
        let trusted = Environment::process().ca_bundle();
        let client = HyperUpstream::new(trusted.as_deref()).map_err(|error| error.to_string())?;
        Ok(Self { endpoint, keys, client })
    }

    /// Sends a request; its path is the bucket, and the key if there is one.
    async fn send(
        &self,
        method: &'static str,
        path: (&str, Option<&str>),
        query: &[(&str, &str)],
        headers: Vec<(String, String)>,
        body: Bytes,
    ) -> Reply {
        let mut path_with_query = format!("/{}", path.0);
        if let Some(key) = path.1 {
            path_with_query.push('/');
            path_with_query.extend(utf8_percent_encode(key, KEY));
        }
        for (index, (name, value)) in query.iter().enumerate() {
            path_with_query.push(if index == 0 { '?' } else { '&' });
            path_with_query.push_str(&format!("{name}={}", utf8_percent_encode(value, UNRESERVED)));
        }
        let plain = Plain { method, origin: self.endpoint.clone(), path_with_query, headers, body, service: "s3" };
        self.exchange(plain).await
    }

    async fn exchange(&self, plain: Plain) -> Reply {
        let request = self.keys.sign(plain, SystemTime::now());
        let answer = self.client.send(request).await;
        let (parts, body) = answer.expect("the server answers").into_parts();
        let body = body.collect().await.expect("the answer is whole").to_bytes();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn call(
        &self,
        method: &'static str,
        path: (&str, Option<&str>),
        query: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let answer = self.send(method, path, query, Vec::new(), body.into()).await;
        answer.expect_success(&format!("{method} {path:?} {query:?}"))
    }

    pub(super) async fn create_bucket(&self, bucket: &str) {
        let region = &self.keys.region;
        // The first region is the one that may not be named.
        let body = if region == "us-east-1" {
            String::new()
        } else {
            format!(
                "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint>\
                 </CreateBucketConfiguration>"
            )
        };
        self.call("PUT", (bucket, None), &[], body).await;
    }

    pub(super) async fn set_versioning(&self, bucket: &str, versioning: Versioning) {
        let status = match versioning {
            // A new bucket keeps none, and no bucket can go back to that.
            Versioning::Off => return,
            Versioning::Enabled => "Enabled",
            Versioning::Suspended => "Suspended",
        };
        let body = format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Status>{status}</Status></VersioningConfiguration>"
        );
        self.call("PUT", (bucket, None), &[("versioning", "")], body).await;
    }

    /// Stores an object; false where the server has no such keys.
    pub(super) async fn try_put(&self, bucket: &str, key: &str, body: Bytes, headers: &ObjectHeaders) -> bool {
        let metadata = headers.metadata.iter();
        let mut named: Vec<_> = metadata.map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone())).collect();
        for (name, value) in [
            ("cache-control", &headers.cache_control),
            ("content-disposition", &headers.content_disposition),
            ("content-encoding", &headers.content_encoding),
            ("content-language", &headers.content_language),
            ("content-type", &headers.content_type),
        ] {
            named.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
        let answer = self.send("PUT", (bucket, Some(key)), &[], named, body).await;
        if answer.status == 400 {
            return false;
        }
        answer.expect_success(key);
        true
    }

    pub(super) async fn delete(&self, bucket: &str, key: &str, version: Option<&str>) {
        let query: Vec<_> = version.map(|id| ("versionId", id)).into_iter().collect();
        self.call("DELETE", (bucket, Some(key)), &query, "").await;
    }

    pub(super) async fn get(&self, bucket: &str, key: &str) -> Bytes {
        self.call("GET", (bucket, Some(key)), &[], "").await.body
    }

    /// All keys, in their order.
    pub(super) async fn keys(&self, bucket: &str) -> Vec<String> {
        let (mut keys, mut token) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("list-type", "2"), ("encoding-type", "url")];
            if !token.is_empty() {
                query.push(("continuation-token", &token));
            }
            let page = self.call("GET", (bucket, None), &query, "").await;
            keys.extend(page.all("Key").iter().map(|key| decoded(key)));
            token = page.one("NextContinuationToken");
            if page.one("IsTruncated") != "true" {
                return keys;
            }
        }
    }

    /// All versions and delete markers, in the order of keys.
    pub(super) async fn versions(&self, bucket: &str) -> Vec<Listed> {
        let (mut versions, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(bucket, after.as_ref(), 1000).await;
            versions.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return versions;
            }
        }
    }

    /// A page of versions and delete markers.
    pub(super) async fn page(&self, bucket: &str, after: Option<&(String, String)>, versions_max: usize) -> Page {
        let versions_max = versions_max.to_string();
        let mut query = vec![("versions", ""), ("encoding-type", "url"), ("max-keys", &versions_max)];
        if let Some((key, id)) = after {
            query.extend([("key-marker", key.as_str()), ("version-id-marker", id)]);
        }
        let answer = self.call("GET", (bucket, None), &query, "").await;
        let text = String::from_utf8_lossy(&answer.body);
        let next = || (decoded(&answer.one("NextKeyMarker")), answer.one("NextVersionIdMarker"));
        let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Page {
            entries: listed(&text),
            next: (answer.one("IsTruncated") == "true").then(next),
            server: header("server").to_owned(),
            date: seconds(TimestampFormat::HttpDate, header("date")),
        }
    }

    pub(super) async fn begin_upload(&self, bucket: &str, key: &str) -> String {
        self.call("POST", (bucket, Some(key)), &[("uploads", "")], "").await.one("UploadId")
    }

    /// Stores a part and returns its ETag.
    pub(super) async fn upload_part(&self, path: (&str, &str), upload: &str, number: u16, body: Bytes) -> String {
        let number = number.to_string();
        let query = [("partNumber", number.as_str()), ("uploadId", upload)];
        let answer = self.call("PUT", (path.0, Some(path.1)), &query, body).await;
        let etag = answer.headers.get("etag").and_then(|etag| etag.to_str().ok());
        etag.expect("a part has an ETag").to_owned()
    }

    pub(super) async fn complete_upload(&self, path: (&str, &str), upload: &str, parts: &[(u16, String)]) {
        let part = |(number, etag): &(u16, String)| {
            let etag = etag.replace('"', "&quot;");
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let parts: String = parts.iter().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let answer = self.call("POST", (path.0, Some(path.1)), &[("uploadId", upload)], body).await;
        assert!(answer.all("Error").is_empty() && answer.one("Code").is_empty(), "{answer:?}");
    }

    pub(super) async fn abort_upload(&self, path: (&str, &str), upload: &str) {
        self.call("DELETE", (path.0, Some(path.1)), &[("uploadId", upload)], "").await;
    }

    /// Removes a bucket and all that is in it; returns what can't be removed.
    pub(super) async fn remove_bucket(&self, bucket: &str) -> Vec<Listed> {
        let query = [("uploads", ""), ("encoding-type", "url")];
        let uploads = self.call("GET", (bucket, None), &query, "").await;
        for (key, id) in uploads.all("Key").iter().zip(uploads.all("UploadId")) {
            self.abort_upload((bucket, &decoded(key)), &id).await;
        }
        for version in self.versions(bucket).await {
            self.delete(bucket, &version.key, Some(&version.id)).await;
        }
        // MinIO keeps some `null` delete markers whatever is asked; for buckets it can be told to let go of them.
        let force = vec![("x-minio-force-delete".to_owned(), "true".to_owned())];
        let answer = self.send("DELETE", (bucket, None), &[], force, Bytes::new()).await;
        if (200..300).contains(&answer.status) {
            return Vec::new();
        }
        self.versions(bucket).await
    }

    /// Temporary keys that may do everything in the bucket but an operation, on one object or on all. Nothing
    /// where the server gives out no such keys: MinIO does, at its own address; AWS elsewhere, and for a role.
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
    pub(super) async fn temporary_keys(
        &self,
        bucket: &str,
        denied: Option<(S3Operation, Option<&str>)>,
    ) -> Option<Keys> {
        let statement = |effect: &str, actions: &str, key: &str| {
            format!(
                r#"{{"Effect":"{effect}","Action":[{actions}],
                "Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/{key}"]}}"#
            )
        };
        let mut statements = vec![statement("Allow", r#""s3:*""#, "*")];
        statements.extend(denied.map(|(operation, key)| statement("Deny", actions(operation), key.unwrap_or("*"))));
        let statements = statements.join(",");
        let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
        let policy = utf8_percent_encode(&policy, UNRESERVED);
        let form = format!("Action=AssumeRole&Version=2011-06-15&DurationSeconds=900&Policy={policy}");
        let content_type = "application/x-www-form-urlencoded";
        let plain = Plain {
            method: "POST",
            origin: self.endpoint.clone(),
            path_with_query: "/".to_owned(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: form.into(),
            service: "sts",
        };
        let answer = self.exchange(plain).await;
        let token = answer.one("SessionToken");
        if answer.status != 200 || token.is_empty() {
            println!("{} gives out no keys: {answer:?}", self.endpoint);
            return None;
        }
        Some(Keys {
            access_key: answer.one("AccessKeyId"),
            secret_key: answer.one("SecretAccessKey"),
            session_token: Some(token),
            region: self.keys.region.clone(),
        })
    }

    /// The server's time in seconds.
    pub(super) async fn now(&self, bucket: &str) -> u64 {
        let answer = self.call("GET", (bucket, None), &[("list-type", "2"), ("max-keys", "1")], "").await;
        let date = answer.headers.get("date").and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let date = date.expect("an answer has a date").duration_since(SystemTime::UNIX_EPOCH);
        date.expect("it is past 1970").as_secs()
    }
}

/// IAM's names of what an operation takes, in JSON.
fn actions(operation: S3Operation) -> &'static str {
    match operation {
        S3Operation::GetObject => r#""s3:GetObject","s3:GetObjectVersion""#,
        S3Operation::ListMultipartUploads => r#""s3:ListBucketMultipartUploads""#,
        S3Operation::ListObjectsV2 => r#""s3:ListBucket""#,
        S3Operation::PutObject => r#""s3:PutObject""#,
        other => panic!("no case denies {other}"),
    }
}

/// What stands between the tags of that name.
fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (inner, left) = after.split_once(&close)?;
        rest = left;
        Some(inner)
    })
}

/// The versions and delete markers of a page, mixed as they are.
fn listed(text: &str) -> Vec<Listed> {
    let (mut entries, mut rest) = (Vec::new(), text);
    let kinds = ["<Version>", "<DeleteMarker>"];
    while let Some(at) = kinds.iter().filter_map(|tag| rest.find(tag)).min() {
        let is_marker = rest[at..].starts_with(kinds[1]);
        let name = if is_marker { "DeleteMarker" } else { "Version" };
        let entry = elements(&rest[at..], name).next().expect("an element ends");
        let one = |name| elements(entry, name).next().unwrap_or_default();
        entries.push(Listed {
            key: decoded(one("Key")),
            id: one("VersionId").to_owned(),
            is_latest: one("IsLatest") == "true",
            is_marker,
            etag: one("ETag").replace("&quot;", "\"").replace("&#34;", "\""),
            last_modified: seconds(TimestampFormat::DateTime, one("LastModified")),
        });
        rest = &rest[at + name.len() + entry.len()..];
    }
    entries
}

fn seconds(format: TimestampFormat, text: &str) -> String {
    let time = Timestamp::parse(format, text).expect("the store tells times");
    let mut written = Vec::new();
    time.format(TimestampFormat::DateTime, &mut written).expect("a vector takes all");
    String::from_utf8_lossy(&written[.."2009-10-12T17:50:30".len()]).into_owned()
}

/// A key as `encoding-type=url` writes it.
fn decoded(key: &str) -> String {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
