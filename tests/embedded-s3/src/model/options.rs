//! Owns what a server is started with: plain data. Leaves acting on it to the model and the API.

use std::time::Duration;

use super::clock::Clock;

/// The access key of [`Options::default`].
pub const ACCESS_KEY: &str = "embedded-access-key";
/// The secret key of [`Options::default`].
pub const SECRET_KEY: &str = "embedded-secret-key";
/// The region that a server without [`Options::region`] says it is in.
pub const REGION_DEFAULT: &str = "us-east-1";

/// Somebody who may sign requests.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The id that travels with a request.
    pub access_key: String,
    /// The secret that signs it.
    pub secret_key: String,
    /// For temporary credentials, the token that must travel too.
    pub session_token: Option<String>,
}

impl AccessKey {
    /// Names a key without a session.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), session_token: None }
    }

    /// Makes it a temporary key that must come with this token.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into());
        self
    }
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// What a store makes of `If-Match` and `If-None-Match` on writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionalWrites {
    /// It keeps to them, as AWS does.
    #[default]
    Honoured,
    /// It answers 501.
    Refused,
    /// It writes whatever they say, as Ceph 16 does in buckets that keep versions.
    Ignored,
}

/// What a store makes of `x-amz-checksum-*` on writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksums {
    /// It holds the body against those that come, as AWS does.
    #[default]
    Verified,
    /// It refuses an object with neither one of them nor `Content-MD5`, as AWS does in buckets with Object Lock.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html>
    Required,
    /// It answers 501, as stores do that reject headers that they don't know.
    Unknown,
    /// It answers 400, as others do.
    Invalid,
    /// It ignores them.
    Ignored,
}

/// Where a completed upload goes among the versions of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultipartOrder {
    /// It takes the place of its start, as on AWS: of two uploads, the one that was started last is the current
    /// version, whichever is completed last, and an upload completed late lands below what was stored since its start.
    /// A `null` version replaces the other one at any rate. AWS may drop it where something was stored since; this
    /// server never does.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#distributedmpupload>
    #[default]
    Start,
    /// It becomes the current version, as on MinIO and moto.
    Commit,
}

/// In which order a page of ListObjectVersions has its versions and its delete markers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListingKinds {
    /// Within each key in the order in which they were stored, the last first, as AWS, MinIO and Ceph write them.
    #[default]
    Interleaved,
    /// All delete markers of the page before its first version, as servers do that are made with `s3s`.
    MarkersFirst,
    /// All versions of the page before its first delete marker, as moto does.
    VersionsFirst,
}

/// Where a listing of versions goes on after a version that was deleted permanently since the page that ended at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GoneVersion {
    /// With what was below it. AWS doesn't say what it does.
    #[default]
    Below,
    /// With the whole of its key, as MinIO: versions that were on the page before come again.
    KeyAnew,
    /// Nowhere: the page is empty, and the last, as moto's.
    End,
}

/// Where a delete adds a delete marker, in a bucket that keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeleteMarkers {
    /// Also over another one, and over nothing, as AWS does.
    #[default]
    Always,
    /// Not over nothing, as moto.
    OverKeys,
    /// Over an object alone, as MinIO.
    OverObjects,
}

/// How a server behaves; the default is AWS, with one access key.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// Who may sign requests.
    pub keys: Vec<AccessKey>,
    /// The region that requests must be signed for; without it any region does.
    pub region: Option<String>,
    /// The domain below which host names start with a bucket's name. Path style always works.
    pub domain: Option<String>,
    /// What stamps objects and answers.
    pub clock: Clock,
    /// Whether listings give times in milliseconds; AWS gives whole seconds, MinIO and Ceph do not.
    pub milliseconds: bool,
    /// How many entries a page of a listing has at most, whatever was asked for.
    pub page_size_max: usize,
    /// How small a part may be that is not the last.
    pub part_size_min: u64,
    /// Whether a multipart object has the time at which its upload was completed, as on MinIO. AWS
    /// gives the time at which it was created.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
    pub multipart_time_at_completion: bool,
    /// Whether it is decided at the start of an upload if it becomes a `null` version, as on MinIO, and not at its
    /// completion.
    pub multipart_versioning_at_start: bool,
    /// Where a completed upload goes among the versions of its key.
    pub multipart_order: MultipartOrder,
    /// In which order a page has versions and delete markers.
    pub listing_kinds: ListingKinds,
    /// Where a listing of versions goes on after one that is gone.
    pub gone_version: GoneVersion,
    /// Whether a page that is full says that there is more even if it is the last, as MinIO's does now and then: the
    /// next page is empty.
    pub full_page_promises_more: bool,
    /// Whether `NextKeyMarker` is a key with something after it that the server alone understands, as on MinIO.
    pub opaque_key_markers: bool,
    /// Where a delete adds a delete marker.
    pub delete_markers: DeleteMarkers,
    /// What it makes of conditions on writes.
    pub conditional_writes: ConditionalWrites,
    /// What it makes of checksums on writes.
    pub checksums: Checksums,
    /// Whether buckets take ACLs. On AWS they don't, unless their Object Ownership is changed.
    pub acls: bool,
    /// Whether ListObjectVersions is served; otherwise it is answered by 501.
    pub versions_api: bool,
    /// Whether ListMultipartUploads is served; otherwise it is answered by 501.
    pub uploads_api: bool,
    /// The content type given for objects stored without one. AWS gives `binary/octet-stream`;
    /// without it, the answer has no `Content-Type`.
    pub content_type_default: Option<String>,
    /// How long every answer takes at least; [`crate::Faults::set_latency`] changes it later.
    pub latency: Duration,
    /// How many requests the log keeps.
    pub requests_logged_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            keys: vec![AccessKey::new(ACCESS_KEY, SECRET_KEY)],
            region: None,
            domain: None,
            clock: Clock::system(),
            milliseconds: false,
            page_size_max: 1000,
            part_size_min: 5 * 1024 * 1024,
            multipart_time_at_completion: false,
            multipart_versioning_at_start: false,
            multipart_order: MultipartOrder::default(),
            listing_kinds: ListingKinds::default(),
            gone_version: GoneVersion::default(),
            full_page_promises_more: false,
            opaque_key_markers: false,
            delete_markers: DeleteMarkers::default(),
            conditional_writes: ConditionalWrites::Honoured,
            checksums: Checksums::Verified,
            acls: false,
            versions_api: true,
            uploads_api: true,
            content_type_default: None,
            latency: Duration::ZERO,
            // About a kibibyte each, most of it headers.
            requests_logged_max: 10_000,
        }
    }
}

impl Options {
    /// Behaves like MinIO, as far as it is known to differ from AWS.
    pub fn minio() -> Self {
        Self {
            milliseconds: true,
            multipart_order: MultipartOrder::Commit,
            multipart_time_at_completion: true,
            multipart_versioning_at_start: true,
            gone_version: GoneVersion::KeyAnew,
            full_page_promises_more: true,
            opaque_key_markers: true,
            delete_markers: DeleteMarkers::OverObjects,
            ..Self::default()
        }
    }

    /// Behaves like moto 5, as far as it is known to differ from AWS, but for buckets whose versioning is suspended:
    /// there moto forgets all other versions of a key.
    pub fn moto() -> Self {
        Self {
            multipart_order: MultipartOrder::Commit,
            multipart_time_at_completion: true,
            listing_kinds: ListingKinds::VersionsFirst,
            gone_version: GoneVersion::End,
            delete_markers: DeleteMarkers::OverKeys,
            ..Self::default()
        }
    }

    /// Names the region that the server says it is in.
    pub(crate) fn region_name(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION_DEFAULT)
    }
}
