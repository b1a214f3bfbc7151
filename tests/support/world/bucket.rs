//! A bucket of a world: what a case does to it behind the connector's back, and connectors on it.
//!
//! On the embedded S3 a case acts on the store itself, so that faults and pauses are the connector's alone.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use s3_connector::destination::Destination as CoreDestination;
use s3_connector::source::Source as CoreSource;
use s3_connector_host::Role;
use s3_connector_host::check::{self, Report};
use s3_connector_host::{Connector, InstanceOptions, Result, Settings};

use super::SavedState;
use super::handles::{Destination, Source, lift_error};
use super::native::{NativePorts, Shared};
use super::remote::Remote;
use super::signed::Keys;
use embedded_s3::{AccessKey, EmbeddedS3, Filter, ObjectHeaders, PutOptions, S3Operation, Versioning, Wire};

/// Requests that a real server gets at a time when many objects are stored.
const PUTS_AT_A_TIME: usize = 32;

/// Where the bucket is, and who runs the connector.
pub(super) enum Ground {
    /// An embedded S3 without a socket, and the core beside it.
    Native(Rc<Shared>),
    /// An embedded S3, and the component in its host.
    Component { server: EmbeddedS3, connector: Connector },
    /// A real server, the way to it, and the component in its host.
    Real { remote: Rc<Remote>, wire: Wire, connector: Connector },
}

/// A bucket of a world.
pub struct Bucket {
    pub(super) name: String,
    pub(super) ground: Ground,
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
        match &self.ground {
            Ground::Native(shared) => shared.server.wire(),
            Ground::Component { server, .. } => server.wire(),
            Ground::Real { wire, .. } => wire,
        }
    }

    /// The embedded server, for its clock and its keys. A case that needs it is none of the real world's.
    pub fn server(&self) -> &EmbeddedS3 {
        match &self.ground {
            Ground::Native(shared) => &shared.server,
            Ground::Component { server, .. } => server,
            Ground::Real { .. } => {
                panic!("a case that looks into the server excepts the real world")
            }
        }
    }

    /// The embedded store, its clock at the present.
    fn store(&self) -> &embedded_s3::Store {
        if let Ground::Native(shared) = &self.ground {
            shared.now();
        }
        self.server().store()
    }

    /// Switches versioning.
    pub async fn set_versioning(&self, versioning: Versioning) {
        match &self.ground {
            Ground::Real { remote, .. } => remote.set_versioning(&self.name, versioning).await,
            _ => self.store().set_versioning(&self.name, versioning).expect("the bucket is there"),
        }
    }

    /// Stores an object.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) {
        let taken = self.try_put(key, body, ObjectHeaders::default()).await;
        assert!(taken, "the store takes {key:?}");
    }

    /// Stores an object with headers; false where the store has no such keys.
    pub async fn try_put(&self, key: &str, body: impl Into<Bytes>, headers: ObjectHeaders) -> bool {
        let body = body.into();
        match &self.ground {
            Ground::Real { remote, .. } => remote.try_put(&self.name, key, body, &headers).await,
            _ => {
                let options = PutOptions { body, headers, ..PutOptions::default() };
                self.store().put_with(&self.name, key, options).expect("the store takes it");
                true
            }
        }
    }

    /// Stores many objects, in no order.
    pub async fn put_all(&self, keys: &[String], body: impl Fn(&str) -> String) {
        let puts = stream::iter(keys).map(|key| self.put(key, body(key)));
        puts.buffer_unordered(PUTS_AT_A_TIME).for_each(async |()| {}).await;
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) {
        match &self.ground {
            Ground::Real { remote, .. } => remote.delete(&self.name, key, None).await,
            _ => drop(self.store().delete(&self.name, key).expect("the store deletes it")),
        }
    }

    /// Removes a version for good.
    pub async fn delete_version(&self, version: &Version) {
        let (key, id) = (&version.key, &version.id);
        match &self.ground {
            Ground::Real { remote, .. } => remote.delete(&self.name, key, Some(id)).await,
            _ => self.store().delete_version(&self.name, key, id).expect("the store removes it"),
        }
    }

    /// All versions and delete markers.
    pub async fn versions(&self) -> Vec<Version> {
        match &self.ground {
            Ground::Real { remote, .. } => {
                let versions = remote.versions(&self.name).await.into_iter();
                versions.map(|v| Version { key: v.key, id: v.id, is_marker: v.is_marker }).collect()
            }
            _ => {
                let versions = self.store().versions(&self.name).expect("the bucket is there");
                let version = |v: embedded_s3::StoredVersion| Version {
                    key: v.key,
                    id: v.version_id,
                    is_marker: v.delete_marker,
                };
                versions.into_iter().map(version).collect()
            }
        }
    }

    /// All keys, in their order.
    pub async fn keys(&self) -> Vec<String> {
        match &self.ground {
            Ground::Real { remote, .. } => remote.keys(&self.name).await,
            _ => self.store().list(&self.name, "").expect("the bucket is there"),
        }
    }

    /// All objects, in the order of keys.
    pub async fn objects(&self) -> Vec<(String, Bytes)> {
        match &self.ground {
            Ground::Real { remote, .. } => {
                let keys = remote.keys(&self.name).await;
                let gets = stream::iter(keys).then(async |key| {
                    let body = remote.get(&self.name, &key).await;
                    (key, body)
                });
                gets.collect().await
            }
            _ => {
                let objects = self.store().objects(&self.name).expect("the bucket is there");
                objects.into_iter().map(|object| (object.key, object.body)).collect()
            }
        }
    }

    /// Begins a multipart upload.
    pub async fn begin_upload(&self, key: &str) -> Upload {
        let id = match &self.ground {
            Ground::Real { remote, .. } => remote.begin_upload(&self.name, key).await,
            _ => {
                let headers = ObjectHeaders::default();
                self.store().begin_upload(&self.name, key, headers).expect("it begins")
            }
        };
        Upload { key: key.to_owned(), id, parts: Vec::new() }
    }

    /// Adds the next part to an upload.
    pub async fn upload_part(&self, upload: &mut Upload, body: impl Into<Bytes>) {
        let number = u16::try_from(upload.parts.len() + 1).expect("cases have few parts");
        let (key, id, body) = (&upload.key, &upload.id, body.into());
        let etag = match &self.ground {
            Ground::Real { remote, .. } => remote.upload_part((&self.name, key), id, number, body).await,
            _ => self.store().upload_part(&self.name, key, id, number, body).expect("takes the part"),
        };
        upload.parts.push((number, etag));
    }

    /// Completes an upload: its object lands.
    pub async fn complete_upload(&self, upload: Upload) {
        let (key, id) = (&upload.key, &upload.id);
        match &self.ground {
            Ground::Real { remote, .. } => {
                remote.complete_upload((&self.name, key), id, &upload.parts).await;
            }
            _ => drop(self.store().complete_upload(&self.name, key, id).expect("it lands")),
        }
    }

    /// Gives an upload up.
    pub async fn abort_upload(&self, upload: Upload) {
        let (key, id) = (&upload.key, &upload.id);
        match &self.ground {
            Ground::Real { remote, .. } => remote.abort_upload((&self.name, key), id).await,
            _ => self.store().abort_upload(&self.name, key, id).expect("it is in progress"),
        }
    }

    /// Lets so much time pass by the store's clock. A real store's cannot be moved, so there this waits, which
    /// is for seconds only, until a second begins.
    pub async fn advance(&self, duration: Duration) {
        match &self.ground {
            Ground::Native(shared) => shared.timeline.advance(&shared.server, duration).await,
            Ground::Component { server, .. } => server.clock().advance(duration),
            Ground::Real { remote, .. } => {
                assert!(duration < Duration::from_secs(5), "a case that waits longer excepts the real world");
                let until = remote.now(&self.name).await + duration.as_secs() + 1;
                while remote.now(&self.name).await < until {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// Connectors on the bucket.
impl Bucket {
    /// Denies an operation, on one object or on all, and gives the settings under which it is denied: those of
    /// temporary keys on a real server. Nothing where such a server gives out none, which is said.
    pub async fn deny(&self, operation: S3Operation, key: Option<&str>) -> Option<Allowed> {
        let Ground::Real { remote, .. } = &self.ground else {
            let filter = Filter::from(operation);
            let filter = key.map_or(filter.clone(), |key| filter.key(key));
            self.server().access().deny(filter);
            return Some(Allowed::default());
        };
        let denied = Some((operation, key));
        Some(remote.temporary_keys(&self.name, denied).await?.into())
    }

    /// The settings of temporary keys that may do everything in the bucket. Nothing where a real server gives
    /// out none, which is said.
    pub async fn temporary_keys(&self) -> Option<Allowed> {
        if let Ground::Real { remote, .. } = &self.ground {
            return Some(remote.temporary_keys(&self.name, None).await?.into());
        }
        let keys = Keys {
            access_key: "temporary-access-key".to_owned(),
            secret_key: "temporary-secret-key".to_owned(),
            session_token: Some("temporary-session-token".to_owned()),
            region: embedded_s3::REGION_DEFAULT.to_owned(),
        };
        let known = AccessKey::new(&keys.access_key, &keys.secret_key);
        let token = keys.session_token.clone().unwrap_or_default();
        self.server().access().add_key(known.session_token(token));
        Some(keys.into())
    }

    /// Withdraws all denials where keys stay the same.
    pub fn allow_all(&self) {
        if !matches!(self.ground, Ground::Real { .. }) {
            self.server().access().allow_all();
        }
    }

    /// The settings that reach the bucket, and more or others.
    pub fn settings(&self, more: &[(&str, &str)]) -> Settings {
        let (endpoint, keys) = match &self.ground {
            // Nobody resolves or dials this name.
            Ground::Native(_) => ("http://embedded.test:9000".to_owned(), embedded_keys()),
            Ground::Component { server, .. } => (server.endpoint(), embedded_keys()),
            Ground::Real { remote, .. } => (remote.endpoint.clone(), remote.keys.clone()),
        };
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
        match &self.ground {
            Ground::Native(shared) => {
                let ports = native_ports(shared, &settings, state);
                let source = CoreSource::configure(ports.clone(), &redacted(settings));
                let source = Box::new(source.map_err(lift_error)?);
                Ok(Source::Native(source, ports))
            }
            Ground::Component { connector, .. } | Ground::Real { connector, .. } => {
                let options = InstanceOptions { state: state.store(), ..InstanceOptions::default() };
                Ok(Source::Component(Box::new(connector.source(settings, options).await?)))
            }
        }
    }

    /// A source that is open and looks often, so that cases end soon.
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn source(&self, more: &[(&str, &str)], state: &SavedState, position: Option<&[u8]>) -> Result<Source> {
        let quick = [&[("pollingPeriod", "10ms")], more].concat();
        let mut source = self.configured_source(self.settings(&quick), state).await?;
        source.open(position).await?;
        Ok(source)
    }

    /// A destination that is configured.
    ///
    /// # Errors
    ///
    /// The connector's.
    pub async fn configured_destination(&self, settings: Settings) -> Result<Destination> {
        match &self.ground {
            Ground::Native(shared) => {
                let ports = native_ports(shared, &settings, &SavedState::none());
                let configured = CoreDestination::configure(ports, &redacted(settings));
                Ok(Destination::Native(Box::new(configured.map_err(lift_error)?)))
            }
            Ground::Component { connector, .. } | Ground::Real { connector, .. } => {
                let destination = connector.destination(settings, InstanceOptions::default()).await?;
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
        destination.open().await?;
        Ok(destination)
    }

    /// What a check finds of a connector in that role. A case that asks for it is none of the native world's, which
    /// has no host.
    pub async fn check(&self, role: Role, more: &[(&str, &str)]) -> Report {
        let (Ground::Component { connector, .. } | Ground::Real { connector, .. }) = &self.ground else {
            panic!("a case that checks excepts the native world")
        };
        let options = check::Options::default();
        connector.check(role, self.settings(more), options, |_| ()).await
    }
}

fn embedded_keys() -> Keys {
    Keys {
        access_key: embedded_s3::ACCESS_KEY.to_owned(),
        secret_key: embedded_s3::SECRET_KEY.to_owned(),
        session_token: None,
        region: embedded_s3::REGION_DEFAULT.to_owned(),
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
