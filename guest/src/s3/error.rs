//! Owns what can go wrong with a request to S3, whether to retry, and the message for a user. Leaves the retries to
//! `retry`.
//!
//! Codes are [S3's](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).

mod storage;

use std::time::Duration;

use super::{ErrorDocument, xml};
use crate::config::{BucketConfig, endpoint};
use crate::error::{Error as ConnectorError, ErrorKind};
use crate::ports::{Response, TransportError};
use crate::time::Timestamp;

/// Why an S3 request did not produce a usable answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The store refused the request.
    #[error(
        "s3 refused the request; operation=`{operation}`, status=`{status}`, code=`{code}`, request_id=`{request_id}`"
    )]
    Service {
        /// S3's name of the operation.
        operation: &'static str,
        /// The HTTP status.
        status: u16,
        /// S3's error code; empty where the answer had no document.
        code: String,
        /// S3's message.
        message: String,
        /// The request ID to quote to the store's support.
        request_id: String,
        /// The bucket's region, where the store named it.
        region: Option<String>,
        /// The host or address at which the store says the bucket is.
        elsewhere: Option<String>,
        /// When to retry, where the store said so.
        retry_after: Option<Duration>,
    },
    /// There was no answer, or only part of one.
    #[error("no answer from s3: {error}; operation=`{operation}`")]
    Transport {
        /// S3's name of the operation.
        operation: &'static str,
        /// What broke.
        error: TransportError,
    },
    /// The answer cannot be read.
    #[error("s3 answered with a document that cannot be read: {error}; operation=`{operation}`")]
    Malformed {
        /// S3's name of the operation.
        operation: &'static str,
        /// What is wrong with it.
        error: xml::Error,
    },
    /// Retries are exhausted.
    #[error("{error}; attempts=`{attempts}`")]
    Exhausted {
        /// Attempts made.
        attempts: u32,
        /// Time from the first failure to the end.
        took: Duration,
        /// The last one's error.
        error: Box<Error>,
    },
}

/// Whether to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// A retry changes nothing.
    No,
    /// After a pause of the client's choice.
    Backoff,
    /// After the pause that the store asked for.
    After(Duration),
}

/// Codes whose status would forbid a retry, although they are transient.
const TRANSIENT: [&str; 11] = [
    // The bytes were damaged in transit.
    "BadDigest",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SlowDown",
    "SlowDownRead",
    "SlowDownWrite",
    "Throttling",
    "ThrottlingException",
    "InternalError",
    "ConditionalRequestConflict",
    "OperationAborted",
];

/// Codes by which a store refuses credentials.
const CREDENTIALS: [&str; 7] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    // MinIO's name for it.
    "InvalidTokenId",
    "ExpiredToken",
    "TokenRefreshRequired",
    "AuthorizationHeaderMalformed",
];

impl Error {
    pub(super) fn transport(operation: &'static str, error: TransportError) -> Self {
        Self::Transport { operation, error }
    }

    pub(super) fn malformed(operation: &'static str, error: xml::Error) -> Self {
        Self::Malformed { operation, error }
    }

    /// Reads an answer that is not a success.
    pub(super) fn of_response<B>(operation: &'static str, response: &Response<B>, body: &[u8]) -> Self {
        let header = |name| response.header(name).map(str::to_owned);
        let document = ErrorDocument::read(body).unwrap_or_default();
        let is_redirect = (300..400).contains(&response.status);
        let location = header("location").filter(|_| is_redirect);
        let elsewhere = document.endpoint.or(location);
        let of_elsewhere = elsewhere.as_deref().and_then(|place| {
            let host = without_path(place);
            let host = host.rsplit('/').next().unwrap_or_default();
            let host = host.split(':').next().unwrap_or_default();
            endpoint::region_of(host).map(str::to_owned)
        });
        let retry_after = response.header("retry-after").and_then(|text| retry_after(text, response.header("date")));
        Self::Service {
            operation,
            status: response.status,
            code: document.code,
            message: document.message,
            request_id: header("x-amz-request-id").unwrap_or_default(),
            region: header("x-amz-bucket-region").or(document.region).or(of_elsewhere),
            elsewhere,
            retry_after,
        }
    }

    /// The error that came in the document of an answer, whatever its status.
    pub(super) fn of_document(operation: &'static str, status: u16, document: ErrorDocument) -> Self {
        let ErrorDocument { code, message, request_id, region, endpoint } = document;
        Self::Service { operation, status, code, message, request_id, region, elsewhere: endpoint, retry_after: None }
    }

    pub(super) fn after_attempts(self, attempts: u32, took: Duration) -> Self {
        Self::Exhausted { attempts, took, error: Box::new(self) }
    }

    /// The HTTP status, where the store answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Service { status, .. } => Some(*status),
            Self::Exhausted { error, .. } => error.status(),
            _ => None,
        }
    }

    /// S3's code; empty where the store gave none.
    pub fn code(&self) -> &str {
        match self {
            Self::Service { code, .. } => code,
            Self::Exhausted { error, .. } => error.code(),
            _ => "",
        }
    }

    /// Whether the object, the version or the bucket is not there.
    pub fn is_not_found(&self) -> bool {
        // 405 answers a GET of a delete marker by its version.
        matches!(self.status(), Some(404 | 405 | 410)) && self.code() != "NoSuchBucket"
    }

    /// Whether a condition of the request did not hold.
    pub fn is_precondition_failed(&self) -> bool {
        self.status() == Some(412) || self.code() == "PreconditionFailed"
    }

    /// Whether there is no such multipart upload: it was completed, aborted, or never there. A 404 alone may be a proxy's.
    pub fn is_no_such_upload(&self) -> bool {
        self.code() == "NoSuchUpload"
    }

    /// Whether the store does not know the operation or one of its headers.
    pub fn is_not_implemented(&self) -> bool {
        self.status() == Some(501) || matches!(self.code(), "NotImplemented" | "MethodNotAllowed")
    }

    /// Whether the store does not know `If-None-Match` on a write, rather than find that it does not hold.
    pub fn refuses_condition(&self) -> bool {
        match self {
            Self::Service { status, code, message, .. } => {
                let names_it = |text: &str| text.to_ascii_lowercase().contains("if-none-match");
                *status == 501 || code == "NotImplemented" || (*status == 400 && (names_it(code) || names_it(message)))
            }
            _ => false,
        }
    }

    /// Whether the store refused the credentials themselves.
    pub fn refuses_credentials(&self) -> bool {
        CREDENTIALS.contains(&self.code())
    }

    /// Whether the store, or the host's own policy, did not permit it.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Transport { error, .. } => matches!(error, TransportError::Refused(_)),
            Self::Exhausted { error, .. } => error.is_denied(),
            _ => self.status() == Some(403) || self.code() == "AccessDenied",
        }
    }

    /// The bucket's region, where the store named it.
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Service { region, .. } => region.as_deref(),
            Self::Exhausted { error, .. } => error.region(),
            _ => None,
        }
    }

    /// Whether an answer to a GET is about the object: it may not be read, or not without keys that the connector
    /// lacks. Not where it is about the request, the credentials or the bucket's place, nor where it is transient.
    pub fn refuses_object(&self) -> bool {
        let Self::Service { status, .. } = self else {
            return false;
        };
        (400..500).contains(status)
            && self.code() != "NoSuchBucket"
            && !self.refuses_credentials()
            && self.retry() == Retry::No
    }

    /// Whether something between connector and store answered, such as a proxy: a refusal without S3's document.
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Service { code, .. } if code.is_empty())
    }

    /// Whether the object is archived and cannot be read.
    pub fn is_archived(&self) -> bool {
        self.code() == "InvalidObjectState"
    }

    /// Whether to retry.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Service { retry_after: Some(pause), status: 429 | 503, .. } => Retry::After(*pause),
            Self::Service { status, code, .. } => {
                // Proxies send 421 and 499 for a connection that went wrong, and Cloudflare 520 to 530 for a store that
                // it can't reach. What the store does not know (501), it will not learn.
                let passing = matches!(status, 408 | 421 | 429 | 499 | 500 | 502..=599);
                if passing || TRANSIENT.contains(&code.as_str()) { Retry::Backoff } else { Retry::No }
            }
            Self::Transport { error: TransportError::Broken(_), .. } => Retry::Backoff,
            // No document that is cut short names a key or a page that it does not have: another one would say the
            // same.
            Self::Malformed { error: xml::Error::Key(_) | xml::Error::Contradiction(_), .. } => Retry::No,
            // A document that was cut short can't be distinguished from one that is wrong: retry.
            Self::Malformed { .. } => Retry::Backoff,
            Self::Transport { error: TransportError::Refused(_), .. } | Self::Exhausted { .. } => Retry::No,
        }
    }

    /// What to do where the refusal may be for how the store was asked to keep an object; [`explain`](Self::explain) says it, too.
    pub fn storage_advice(&self, config: &BucketConfig) -> Option<String> {
        let Self::Service { operation, code, message, .. } = self else { return None };
        storage::advice(operation, code, message, &config.storage)
    }

    /// The error for a user, with the bucket's settings.
    pub fn explain(&self, config: &BucketConfig) -> ConnectorError {
        let (bucket, region, endpoint) = (&config.bucket, &config.region, &config.endpoint.display);
        let place = format!("region `{region}`, endpoint {endpoint}");
        match self {
            Self::Exhausted { error, attempts, took } => {
                let mut explained = error.explain(config);
                let seconds = took.as_secs();
                explained.message = format!("{}, after {attempts} attempts in {seconds} s", explained.message);
                if let Retry::After(pause) = error.retry() {
                    explained.retry_after_ms = u64::try_from(pause.as_millis()).ok();
                }
                explained
            }
            Self::Transport { error: TransportError::Refused(why), .. } => {
                ConnectorError::new(ErrorKind::Denied, why.clone())
            }
            Self::Transport { error: TransportError::Broken(why), operation } => {
                ConnectorError::new(ErrorKind::Unavailable, format!("no answer from {endpoint} to {operation}: {why}"))
            }
            Self::Malformed { error: xml::Error::Key(_) | xml::Error::Contradiction(_), .. } => {
                ConnectorError::corrupt(self.to_string())
            }
            Self::Malformed { .. } => ConnectorError::new(ErrorKind::Unavailable, self.to_string()),
            Self::Service { operation, status, code, message, region: found, elsewhere, request_id, .. } => {
                let refusal = Refusal {
                    operation,
                    status: *status,
                    code,
                    detail: detail(status, code, message, request_id),
                    bucket,
                    place,
                };
                let known = refusal
                    .of_another_place(region, found.as_deref(), elsewhere.as_deref())
                    .or_else(|| refusal.of_permissions(endpoint));
                let mut explained = known.unwrap_or_else(|| refusal.other(self.retry(), config.endpoint.tls));
                if let Some(advice) = self.storage_advice(config) {
                    explained.message.push_str("; ");
                    explained.message.push_str(&advice);
                }
                explained
            }
        }
    }
}

/// A refusal of S3, to be reported to a user.
struct Refusal<'a> {
    operation: &'a str,
    status: u16,
    code: &'a str,
    /// S3's code, message and request ID.
    detail: String,
    bucket: &'a str,
    /// The region and endpoint that were asked.
    place: String,
}

impl Refusal<'_> {
    /// The bucket is not there, or not here.
    fn of_another_place(&self, region: &str, found: Option<&str>, elsewhere: Option<&str>) -> Option<ConnectorError> {
        let Self { operation, status, detail, bucket, place, .. } = self;
        if self.code == "NoSuchBucket" || (*status == 404 && *operation == "HeadBucket") {
            let message = format!("bucket \"{bucket}\" does not exist ({place})");
            return Some(ConnectorError::invalid(message));
        }
        if let Some(found) = found.filter(|found| *found != region)
            && matches!(status, 301 | 307 | 400)
        {
            return Some(ConnectorError::invalid(format!(
                "bucket \"{bucket}\" is in region `{found}`: set `aws.region` to it ({place})"
            )));
        }
        // Permanent, or transient: a bucket that is new, or a portal that wants a sign-in.
        let kind = match status {
            302 | 303 | 307 => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        };
        let message = format!(
            "{operation} was redirected to `{}`, which is not followed: set `aws.endpoint` or `aws.region` so that \
             they lead to bucket \"{bucket}\" ({place}): {detail}",
            without_path(elsewhere?)
        );
        Some(ConnectorError::new(kind, message))
    }

    /// The credentials are invalid, or may not do this.
    fn of_permissions(&self, endpoint: &str) -> Option<ConnectorError> {
        let Self { operation, detail, bucket, place, .. } = self;
        if CREDENTIALS.contains(&self.code) {
            let message = format!("{endpoint} refused the credentials: {detail}");
            return Some(ConnectorError::new(ErrorKind::Denied, message));
        }
        if self.status != 403 && self.code != "AccessDenied" {
            return None;
        }
        // Permission to list objects does not include it, which is easily overlooked.
        let advice = match *operation {
            "ListObjectVersions" => "; allow s3:ListBucketVersions",
            _ => "",
        };
        let message = format!("{operation} was denied on bucket \"{bucket}\" ({place}): {detail}{advice}");
        Some(ConnectorError::new(ErrorKind::Denied, message))
    }

    fn other(&self, retry: Retry, tls: bool) -> ConnectorError {
        let Self { operation, detail, bucket, place, .. } = self;
        let kind = match retry {
            Retry::No => ErrorKind::Invalid,
            Retry::Backoff | Retry::After(_) => ErrorKind::Unavailable,
        };
        let mut message = format!("{operation} failed on bucket \"{bucket}\" ({place}): {detail}");
        // Servers answer so to plain HTTP on a port of TLS; S3 itself sends a code.
        if self.status == 400 && self.code.is_empty() && !tls {
            message.push_str("; if the store uses TLS there, begin `aws.endpoint` with https://");
        }
        ConnectorError::new(kind, message)
    }
}

/// Scheme and host of an address, or the host alone.
fn without_path(place: &str) -> &str {
    let host_at = place.find("://").map_or(0, |at| at + 3);
    let end = place[host_at..].find(['/', '?', '#']);
    &place[..end.map_or(place.len(), |end| host_at + end)]
}

fn detail(status: &u16, code: &str, message: &str, request_id: &str) -> String {
    let mut detail = if code.is_empty() { format!("status {status}") } else { code.to_owned() };
    if !message.is_empty() {
        detail = format!("{detail}: {}", message.trim_end_matches('.'));
    }
    if !request_id.is_empty() {
        detail = format!("{detail}, request {request_id}");
    }
    detail
}

/// A `Retry-After`: seconds, or a time, relative to the answer's own
/// ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = Timestamp::parse_http_date(text)?;
    let now = Timestamp::parse_http_date(date?)?;
    Some(Duration::from_secs(at.seconds().saturating_sub(now.seconds())))
}
