//! Owns what callers without HTTP see of a store: versions, pages and uploads as plain data. Leaves finding them to the
//! store.

use std::time::SystemTime;

use bytes::Bytes;

use super::version::{ObjectHeaders, Version};

/// A version as it is stored, delete markers included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    /// The object's key.
    pub key: String,
    /// The version's id, `null` where it has none of its own.
    pub version_id: String,
    /// Whether it is the key's current version.
    pub is_latest: bool,
    /// Whether it is a delete marker; then body and etag are empty.
    pub delete_marker: bool,
    /// The bytes.
    pub body: Bytes,
    /// The entity tag, without quotes.
    pub etag: String,
    /// The time that S3 calls LastModified.
    pub last_modified: SystemTime,
    /// What was stored with it.
    pub headers: ObjectHeaders,
}

impl StoredVersion {
    pub(crate) fn new(key: &str, version: &Version, is_latest: bool) -> Self {
        let object = version.object.as_ref();
        Self {
            key: key.to_owned(),
            version_id: version.id.text(),
            is_latest,
            delete_marker: object.is_none(),
            body: object.map(|object| object.payload.bytes()).unwrap_or_default(),
            etag: object.map(|object| object.etag.text()).unwrap_or_default(),
            last_modified: version.last_modified,
            headers: object.and_then(|object| object.headers.as_deref().cloned()).unwrap_or_default(),
        }
    }
}

/// A version as a listing has it, delete markers included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionEntry {
    /// The object's key.
    pub key: String,
    /// The version's id, `null` where it has none of its own.
    pub version_id: String,
    /// Whether it is the key's current version.
    pub is_latest: bool,
    /// Whether it is a delete marker; then it has no etag.
    pub delete_marker: bool,
    /// The entity tag, without quotes.
    pub etag: String,
    /// How many bytes it has.
    pub size: u64,
    /// The time that S3 calls LastModified.
    pub last_modified: SystemTime,
}

impl VersionEntry {
    pub(crate) fn new(key: &str, version: &Version, is_latest: bool) -> Self {
        let object = version.object.as_ref();
        Self {
            key: key.to_owned(),
            version_id: version.id.text(),
            is_latest,
            delete_marker: object.is_none(),
            etag: object.map(|object| object.etag.text()).unwrap_or_default(),
            size: object.map(|object| object.payload.len()).unwrap_or_default(),
            last_modified: version.last_modified,
        }
    }
}

/// A page of versions and delete markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionsPage {
    /// What is on it, in the order in which the store writes it.
    pub entries: Vec<VersionEntry>,
    /// If there is more: the key and the version after which the next page starts.
    pub next: Option<(String, Option<String>)>,
}

/// A page of current objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectsPage {
    /// What is on it, in the order of the keys.
    pub entries: Vec<VersionEntry>,
    /// If there is more: the key after which the next page starts.
    pub next: Option<String>,
}

/// What to store, and how.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    /// The bytes.
    pub body: Bytes,
    /// What to store with them.
    pub headers: ObjectHeaders,
    /// Another time than the clock's, as a replica has that arrives late.
    pub last_modified: Option<SystemTime>,
    /// Refuses unless the current object has this entity tag.
    pub if_match: Option<String>,
    /// Refuses if there is a current object.
    pub if_none_match: bool,
}

/// An upload that is neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUpload {
    /// The key it will be stored under.
    pub key: String,
    /// The upload's id.
    pub upload_id: String,
    /// When it was started.
    pub initiated: SystemTime,
    /// The numbers of its parts.
    pub parts: Vec<u16>,
}
