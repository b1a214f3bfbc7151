//! Owns what a case can do to a store, and the two stores on which it can: the embedded one and a real one.
//!
//! Leaves connectors to the bucket, and the requests to a real server to `remote`.

use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use embedded_s3::{
    AccessKey, EmbeddedS3, Filter, ObjectHeaders, PutOptions, S3Operation, StoredVersion, Versioning, Wire,
};

use super::bucket::Version;
use super::native::Shared;
use super::remote::RemoteServer;
use super::signed::Keys;

/// The store of one bucket.
#[async_trait(?Send)]
pub(super) trait Backend {
    /// The connector's way to the server.
    fn wire(&self) -> &Wire;

    /// The embedded server, if it is one.
    fn embedded(&self) -> Option<&EmbeddedS3>;

    /// The URL of the server, and keys that may do everything.
    fn target(&self) -> (String, Keys);

    async fn set_versioning(&self, versioning: Versioning);

    /// Stores an object; false where the store has no such keys.
    async fn put(&self, key: &str, body: Bytes, headers: ObjectHeaders) -> bool;

    /// Deletes an object, or removes one of its versions.
    async fn delete(&self, key: &str, version: Option<&str>);

    /// All versions and delete markers.
    async fn versions(&self) -> Vec<Version>;

    /// All keys, in their order.
    async fn keys(&self) -> Vec<String>;

    async fn get(&self, key: &str) -> Bytes;

    /// Begins a multipart upload and returns its id.
    async fn begin_upload(&self, key: &str) -> String;

    /// Stores a part and returns its ETag.
    async fn upload_part(&self, key: &str, id: &str, number: u16, body: Bytes) -> String;

    async fn complete_upload(&self, key: &str, id: &str, parts: &[(u16, String)]);

    async fn abort_upload(&self, key: &str, id: &str);

    /// Lets time pass by the store's clock.
    async fn advance(&self, duration: Duration);

    /// Denies an operation, on one object or on all. Returns the keys for which it is denied, where those that all
    /// others use are not among them; `Err` where the store gives out no such keys.
    async fn deny(&self, operation: S3Operation, key: Option<&str>) -> Result<Option<Keys>, NoKeys>;

    /// Temporary keys that may do everything in the bucket.
    async fn temporary_keys(&self) -> Result<Keys, NoKeys>;
}

/// The store gives out no temporary keys.
#[derive(Debug)]
pub(super) struct NoKeys;

/// A bucket of an embedded S3, on which a case acts without requests.
pub(super) struct Embedded {
    pub(super) bucket: String,
    pub(super) shared: Rc<Shared>,
}

impl Embedded {
    /// The store, its clock at the present.
    fn store(&self) -> &embedded_s3::Store {
        self.shared.now();
        self.shared.server.store()
    }
}

#[async_trait(?Send)]
impl Backend for Embedded {
    fn wire(&self) -> &Wire {
        self.shared.server.wire()
    }

    fn embedded(&self) -> Option<&EmbeddedS3> {
        Some(&self.shared.server)
    }

    fn target(&self) -> (String, Keys) {
        let endpoint = self.shared.server.endpoint();
        // Nobody resolves or dials the name of a server without a socket.
        let endpoint = if endpoint.is_empty() { "http://embedded.test:9000".to_owned() } else { endpoint };
        let keys = Keys {
            access_key: embedded_s3::ACCESS_KEY.to_owned(),
            secret_key: embedded_s3::SECRET_KEY.to_owned(),
            session_token: None,
            region: embedded_s3::REGION_DEFAULT.to_owned(),
        };
        (endpoint, keys)
    }

    async fn set_versioning(&self, versioning: Versioning) {
        self.store().set_versioning(&self.bucket, versioning).expect("the bucket is there");
    }

    async fn put(&self, key: &str, body: Bytes, headers: ObjectHeaders) -> bool {
        let options = PutOptions { body, headers, ..PutOptions::default() };
        self.store().put_with(&self.bucket, key, options).expect("the store takes it");
        true
    }

    async fn delete(&self, key: &str, version: Option<&str>) {
        match version {
            Some(id) => self.store().delete_version(&self.bucket, key, id).expect("the store removes it"),
            None => drop(self.store().delete(&self.bucket, key).expect("the store deletes it")),
        }
    }

    async fn versions(&self) -> Vec<Version> {
        let version = |v: StoredVersion| Version { key: v.key, id: v.version_id, is_marker: v.delete_marker };
        self.store().versions(&self.bucket).expect("the bucket is there").into_iter().map(version).collect()
    }

    async fn keys(&self) -> Vec<String> {
        self.store().list(&self.bucket, "").expect("the bucket is there")
    }

    async fn get(&self, key: &str) -> Bytes {
        self.store().get(&self.bucket, key).expect("the object is there").body
    }

    async fn begin_upload(&self, key: &str) -> String {
        self.store().begin_upload(&self.bucket, key, ObjectHeaders::default()).expect("it begins")
    }

    async fn upload_part(&self, key: &str, id: &str, number: u16, body: Bytes) -> String {
        self.store().upload_part(&self.bucket, key, id, number, body).expect("the store takes the part")
    }

    async fn complete_upload(&self, key: &str, id: &str, _parts: &[(u16, String)]) {
        self.store().complete_upload(&self.bucket, key, id).expect("it completes");
    }

    async fn abort_upload(&self, key: &str, id: &str) {
        self.store().abort_upload(&self.bucket, key, id).expect("it is in progress");
    }

    async fn advance(&self, duration: Duration) {
        self.shared.timeline.advance(&self.shared.server, duration).await;
    }

    async fn deny(&self, operation: S3Operation, key: Option<&str>) -> Result<Option<Keys>, NoKeys> {
        let filter = Filter::from(operation);
        let filter = key.map_or(filter.clone(), |key| filter.key(key));
        self.shared.server.access().deny(filter);
        Ok(None)
    }

    async fn temporary_keys(&self) -> Result<Keys, NoKeys> {
        let keys = Keys {
            access_key: "temporary-access-key".to_owned(),
            secret_key: "temporary-secret-key".to_owned(),
            session_token: Some("temporary-session-token".to_owned()),
            region: embedded_s3::REGION_DEFAULT.to_owned(),
        };
        let known = AccessKey::new(&keys.access_key, &keys.secret_key);
        let token = keys.session_token.clone().unwrap_or_default();
        self.shared.server.access().add_key(known.session_token(token));
        Ok(keys)
    }
}

/// A bucket of a real server, on which a case acts by requests of its own.
pub(super) struct Remote {
    pub(super) bucket: String,
    pub(super) server: Rc<RemoteServer>,
    pub(super) wire: Wire,
}

#[async_trait(?Send)]
impl Backend for Remote {
    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn embedded(&self) -> Option<&EmbeddedS3> {
        None
    }

    fn target(&self) -> (String, Keys) {
        (self.server.endpoint.clone(), self.server.keys.clone())
    }

    async fn set_versioning(&self, versioning: Versioning) {
        self.server.set_versioning(&self.bucket, versioning).await;
    }

    async fn put(&self, key: &str, body: Bytes, headers: ObjectHeaders) -> bool {
        self.server.try_put(&self.bucket, key, body, &headers).await
    }

    async fn delete(&self, key: &str, version: Option<&str>) {
        self.server.delete(&self.bucket, key, version).await;
    }

    async fn versions(&self) -> Vec<Version> {
        let versions = self.server.versions(&self.bucket).await.into_iter();
        versions.map(|v| Version { key: v.key, id: v.id, is_marker: v.is_marker }).collect()
    }

    async fn keys(&self) -> Vec<String> {
        self.server.keys(&self.bucket).await
    }

    async fn get(&self, key: &str) -> Bytes {
        self.server.get(&self.bucket, key).await
    }

    async fn begin_upload(&self, key: &str) -> String {
        self.server.begin_upload(&self.bucket, key).await
    }

    async fn upload_part(&self, key: &str, id: &str, number: u16, body: Bytes) -> String {
        self.server.upload_part((&self.bucket, key), id, number, body).await
    }

    async fn complete_upload(&self, key: &str, id: &str, parts: &[(u16, String)]) {
        self.server.complete_upload((&self.bucket, key), id, parts).await;
    }

    async fn abort_upload(&self, key: &str, id: &str) {
        self.server.abort_upload((&self.bucket, key), id).await;
    }

    /// The clock of a real store can't be moved: this waits, for a few seconds at most, until a second begins.
    async fn advance(&self, duration: Duration) {
        assert!(duration < Duration::from_secs(5), "a case that waits longer excepts the real world");
        let until = self.server.now(&self.bucket).await + duration.as_secs() + 1;
        while self.server.now(&self.bucket).await < until {
            tokio::task::yield_now().await;
        }
    }

    async fn deny(&self, operation: S3Operation, key: Option<&str>) -> Result<Option<Keys>, NoKeys> {
        self.server.temporary_keys(&self.bucket, Some((operation, key))).await.map(Some).ok_or(NoKeys)
    }

    async fn temporary_keys(&self) -> Result<Keys, NoKeys> {
        self.server.temporary_keys(&self.bucket, None).await.ok_or(NoKeys)
    }
}
