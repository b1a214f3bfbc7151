//! Owns a bucket of a world: what a case does to it behind the connector's back, and connectors on it.
//!
//! Leaves what the store does to its backend: on the embedded S3 a case acts on the store itself, so that faults and
//! pauses are the connector's alone.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use embedded_s3::{EmbeddedS3, ObjectHeaders, S3Operation, Versioning, Wire};
use futures_util::stream::{self, StreamExt as _};
use s3_connector::destination::Destination as CoreDestination;
use s3_connector::source::Source as CoreSource;
use s3_connector_host::check::{self, Report};
use s3_connector_host::{Connector, InstanceOptions, Result, Role, Settings};

use super::SavedState;
use super::backend::Backend;
use super::handles::{Destination, Source, lift_error};
use super::native::{NativePorts, Shared};
use super::remote::{Page, RemoteServer};
use super::signed::Keys;

/// Requests that a real server gets at a time when many objects are stored.
const PUTS_AT_A_TIME: usize = 32;

/// Who runs the connector.
pub(super) enum Runner {
    /// The core, beside an embedded S3 in the same process.
    Core(Rc<Shared>),
    /// The component in its host.
    Host(Connector),
}

/// A bucket of a world.
pub struct Bucket {
    pub(super) name: String,
    pub(super) backend: Box<dyn Backend>,
    pub(super) runner: Runner,
}

/// A multipart upload in progress.
#[derive(Debug)]
pub struct Upload {
    key: String,
    id: String,
    parts: Vec<(u16, String)>,
}

/// Settings that let a connector do what it is allowed, for one that is not allowed everything.
#[derive(Debug, Default)]
pub struct Allowed(Vec<(&'static str, String)>);

impl Allowed {
    /// These, and more.
    pub fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = self.0.iter().map(|(name, value)| (*name, value.as_str()));
        own.chain(more.iter().copied()).collect()
    }
}

impl From<Keys> for Allowed {
    fn from(keys: Keys) -> Self {
        let token = keys.session_token.map(|token| ("aws.sessionToken", token));
        let pair = [("aws.accessKeyId", keys.access_key), ("aws.secretAccessKey", keys.secret_key)];
        Self(pair.into_iter().chain(token).collect())
    }
}

/// A version or delete marker, as a listing of the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key.
    pub key: String,
    /// The version's id.
    pub id: String,
    /// Whether it is a delete marker.
    pub is_marker: bool,
}

/// What a case does to the bucket.
impl Bucket {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The connector's way to the server: faults, pauses and a look at requests, in every world.
    pub fn wire(&self) -> &Wire {
        self.backend.wire()
    }

    /// The embedded server, for its clock and its keys. A case that needs it is none of the real world's.
    pub fn server(&self) -> &EmbeddedS3 {
        self.backend.embedded().expect("a case that looks into the server excepts the real world")
    }

    /// The component. A case that needs it is none of the native world's, which has no host.
    pub fn connector(&self) -> &Connector {
        match &self.runner {
            Runner::Host(connector) => connector,
            Runner::Core(_) => panic!("a case that needs the host excepts the native world"),
        }
    }

    /// Switches versioning.
    pub async fn set_versioning(&self, versioning: Versioning) {
        self.backend.set_versioning(versioning).await;
    }

    /// Stores an object.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) {
        let taken = self.try_put(key, body, ObjectHeaders::default()).await;
        assert!(taken, "the store takes {key:?}");
    }

    /// Stores an object with headers; false where the store has no such keys.
    pub async fn try_put(&self, key: &str, body: impl Into<Bytes>, headers: ObjectHeaders) -> bool {
        self.backend.put(key, body.into(), headers).await
    }

    /// Stores many objects, in no order.
    pub async fn put_all(&self, keys: &[String], body: impl Fn(&str) -> String) {
        let puts = stream::iter(keys).map(|key| self.put(key, body(key)));
        puts.buffer_unordered(PUTS_AT_A_TIME).for_each(async |()| {}).await;
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) {
        self.backend.delete(key, None).await;
    }

    /// Removes a version permanently.
    pub async fn delete_version(&self, version: &Version) {
        self.backend.delete(&version.key, Some(&version.id)).await;
    }

    /// All versions and delete markers.
    pub async fn versions(&self) -> Vec<Version> {
        self.backend.versions().await
    }

    /// The store's listing over HTTP. A case that needs it is none of the native world's.
    pub fn listing(&self) -> Listing {
        let (endpoint, keys) = self.backend.target();
        let server = RemoteServer::new(endpoint, keys).expect("certificates are read");
        Listing { server, bucket: self.name.clone() }
    }

    /// All keys, in their order.
    pub async fn keys(&self) -> Vec<String> {
        self.backend.keys().await
    }

    /// All objects, in the order of keys.
    pub async fn objects(&self) -> Vec<(String, Bytes)> {
        let gets = stream::iter(self.keys().await).then(async |key| {
            let body = self.backend.get(&key).await;
            (key, body)
        });
        gets.collect().await
    }

    /// Begins a multipart upload.
    pub async fn begin_upload(&self, key: &str) -> Upload {
        Upload { key: key.to_owned(), id: self.backend.begin_upload(key).await, parts: Vec::new() }
    }

    /// Adds the next part to an upload.
    pub async fn upload_part(&self, upload: &mut Upload, body: impl Into<Bytes>) {
        let number = u16::try_from(upload.parts.len() + 1).expect("cases have few parts");
        let etag = self.backend.upload_part(&upload.key, &upload.id, number, body.into()).await;
        upload.parts.push((number, etag));
    }

    /// Completes an upload: its object appears.
    pub async fn complete_upload(&self, upload: Upload) {
        self.backend.complete_upload(&upload.key, &upload.id, &upload.parts).await;
    }

    /// Aborts an upload.
    pub async fn abort_upload(&self, upload: Upload) {
        self.backend.abort_upload(&upload.key, &upload.id).await;
    }

    /// Lets this much time pass by the store's clock. A real store's cannot be moved, so there this waits, which
    /// is for seconds only, until a second begins.
    pub async fn advance(&self, duration: Duration) {
        self.backend.advance(duration).await;
    }

    /// Denies an operation, on one object or on all, and gives the settings under which it is denied: those of
    /// temporary keys on a real server. `None` where such a server gives out none, which is said.
    pub async fn deny(&self, operation: S3Operation, key: Option<&str>) -> Option<Allowed> {
        let keys = self.backend.deny(operation, key).await.ok()?;
        Some(keys.map(Allowed::from).unwrap_or_default())
    }

    /// The settings of temporary keys that may do everything in the bucket. `None` where a real server gives
    /// out none, which is said.
    pub async fn temporary_keys(&self) -> Option<Allowed> {
        self.backend.temporary_keys().await.ok().map(Allowed::from)
    }

    /// Withdraws all denials where keys stay the same.
    pub fn allow_all(&self) {
        if let Some(server) = self.backend.embedded() {
            server.access().allow_all();
        }
    }
}

/// What the store lists, as its documents have it.
pub struct Listing {
    server: RemoteServer,
    bucket: String,
}

impl Listing {
    /// A page of versions and delete markers.
    pub async fn page(&self, after: Option<&(String, String)>, versions_max: usize) -> Page {
        self.server.page(&self.bucket, after, versions_max).await
    }
}

/// Connectors on the bucket.
impl Bucket {
    /// The settings that reach the bucket, and more or others.
    pub fn settings(&self, more: &[(&str, &str)]) -> Settings {
        let (endpoint, keys) = self.backend.target();
        let base = [
            ("aws.accessKeyId", &*keys.access_key),
            ("aws.secretAccessKey", &*keys.secret_key),
            ("aws.region", &*keys.region),
            ("aws.bucket", &*self.name),
            ("aws.endpoint", &*endpoint),
        ];
        let token = keys.session_token.as_deref().map(|token| ("aws.sessionToken", token));
        let all = base.into_iter().chain(token).chain(more.iter().copied());
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// A source that is configured.
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn configured_source(&self, settings: Settings, state: &SavedState) -> Result<Source> {
        match &self.runner {
            Runner::Core(shared) => {
                let ports = native_ports(shared, &settings, state);
                let source = CoreSource::configure(ports.clone(), &redacted(settings)).map_err(lift_error)?;
                Ok(Source::Native(Box::new(source), ports))
            }
            Runner::Host(connector) => {
                let options = InstanceOptions { state: state.store(), ..InstanceOptions::default() };
                Ok(Source::Component(Box::new(Box::pin(connector.source(settings, options)).await?)))
            }
        }
    }

    /// A source that is open and polls often, so that cases end soon.
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn source(&self, more: &[(&str, &str)], state: &SavedState, position: Option<&[u8]>) -> Result<Source> {
        let quick = [&[("pollingPeriod", "10ms")], more].concat();
        let mut source = self.configured_source(self.settings(&quick), state).await?;
        // In a box, as a future of a case holds this one, which holds those of the runtime.
        Box::pin(source.open(position)).await?;
        Ok(source)
    }

    /// A source that starts with nothing saved, on state of its own.
    pub async fn open(&self) -> Source {
        self.open_with(&[]).await
    }

    /// The same under more or other settings.
    pub async fn open_with(&self, more: &[(&str, &str)]) -> Source {
        self.source(more, &SavedState::memory(), None).await.expect("opens")
    }

    /// A source that starts without a position and keeps its state there.
    pub async fn start(&self, state: &SavedState) -> Source {
        self.start_with(&[], state).await
    }

    /// The same under more or other settings.
    pub async fn start_with(&self, more: &[(&str, &str)], state: &SavedState) -> Source {
        self.source(more, state, None).await.expect("opens")
    }

    /// A source that resumes after a record, by its position.
    pub async fn resume(&self, state: &SavedState, position: &[u8]) -> Source {
        self.resume_with(&[], state, position).await
    }

    /// The same under more or other settings.
    pub async fn resume_with(&self, more: &[(&str, &str)], state: &SavedState, position: &[u8]) -> Source {
        self.source(more, state, Some(position)).await.expect("resumes")
    }

    /// A destination that is configured.
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn configured_destination(&self, settings: Settings) -> Result<Destination> {
        match &self.runner {
            Runner::Core(shared) => {
                let ports = native_ports(shared, &settings, &SavedState::none());
                let destination = CoreDestination::configure(ports, &redacted(settings)).map_err(lift_error)?;
                Ok(Destination::Native(Box::new(destination)))
            }
            Runner::Host(connector) => {
                let destination = Box::pin(connector.destination(settings, InstanceOptions::default())).await?;
                Ok(Destination::Component(Box::new(destination)))
            }
        }
    }

    /// A destination that is open.
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn destination(&self, more: &[(&str, &str)]) -> Result<Destination> {
        let mut destination = self.configured_destination(self.settings(more)).await?;
        Box::pin(destination.open()).await?;
        Ok(destination)
    }

    /// What a check finds of a connector in that role. A case that asks for it is none of the native world's, which
    /// has no host.
    pub async fn check(&self, role: Role, more: &[(&str, &str)]) -> Report {
        self.connector().check(role, self.settings(more), check::Options::default(), |_| ()).await
    }
}

/// Ports that sign as the host would: with what the settings hold.
fn native_ports(shared: &Rc<Shared>, settings: &Settings, state: &SavedState) -> NativePorts {
    let get = |name: &str| settings.get(name).cloned();
    let keys = get("aws.accessKeyId").zip(get("aws.secretAccessKey")).map(|(access_key, secret_key)| Keys {
        access_key,
        secret_key,
        session_token: get("aws.sessionToken"),
        region: get("aws.region").unwrap_or_default(),
    });
    NativePorts::new(Rc::clone(shared), keys, state.clone())
}

/// What the host lets the core see of the settings.
fn redacted(mut settings: Settings) -> Settings {
    for name in ["aws.accessKeyId", "aws.secretAccessKey", "aws.sessionToken"] {
        settings.entry(name.to_owned()).and_modify(|value| "redacted".clone_into(value));
    }
    settings
}
