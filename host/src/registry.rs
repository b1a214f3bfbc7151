//! Owns components in OCI registries: which one a name stands for, fetching it by its digest, and publishing one. Leaves requests to
//! `client`, the form to `artifact`, and whether a component fits to [`inspect`](crate::inspect).
//!
//! A tag can be moved; a digest can't. So a component is run by its digest alone, and what is fetched is compared with it.
//!
//! # Examples
//!
//! ```no_run
//! # async fn example() -> s3_connector_host::Result<()> {
//! use s3_connector_host::{Component, Connector, Options};
//!
//! let name = "oci://registry.example.com/s3@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
//! let component = Some(Component::Registry(name.parse()?));
//! let connector = Connector::load(Options { component, ..Options::default() }).await?;
//! # Ok(())
//! # }
//! ```

mod artifact;
mod cache;
mod client;
mod digest;
mod login;
mod reference;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use self::artifact::Artifact;
use self::cache::BlobCache;
use self::client::{Client, MANIFEST_BYTES_MAX};
use crate::connector::contract::Interfaces;
use crate::egress::Upstream;
use crate::error::{Error, ErrorKind, Result};

pub use self::artifact::Notes;
pub use self::digest::Digest;
pub use self::reference::{Reference, SCHEME};

/// The way to registries.
///
/// Credentials come from where `docker login` and `podman login` leave them. Registries on this machine are spoken to without TLS.
#[derive(Clone)]
pub struct Registry {
    upstream: Arc<dyn Upstream>,
    cache: Option<BlobCache>,
    plain_http: bool,
}

impl Registry {
    /// Makes one that asks through `upstream`, and keeps nothing.
    pub fn new(upstream: Arc<dyn Upstream>) -> Self {
        Self { upstream, cache: None, plain_http: false }
    }

    /// Keeps what is fetched in a folder, where it is found again without a request.
    #[must_use]
    pub fn keep_in(mut self, folder: &Path) -> Self {
        self.cache = Some(BlobCache::in_folder(folder));
        self
    }

    /// Speaks without TLS to other machines, too: credentials and components can then be read and changed on the way. The digest still
    /// tells a changed component.
    #[must_use]
    pub fn plain_http(mut self, allowed: bool) -> Self {
        self.plain_http = allowed;
        self
    }

    /// The digest that a tag stands for now, as a reference without the tag. One that has a digest is not looked up.
    ///
    /// # Errors
    ///
    /// `Invalid` where the reference has neither, where the registry has no such tag, or something else than a component there; `Denied` for want of
    /// credentials, and where it leads to a place that is not trusted; `Corrupt` where its answers make no sense; `Unavailable` where it does not answer.
    pub async fn resolve(&self, reference: &Reference) -> Result<Reference> {
        if let Some(digest) = reference.digest() {
            return Ok(reference.pinned(digest));
        }
        let Some(tag) = reference.tag() else {
            let message = format!("a tag or a digest must be named: `{reference}:TAG` or `{reference}@sha256:…`");
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let resolved = async {
            let manifest = self.client(reference, false).manifest(tag).await?;
            artifact::layer(&manifest).map(|_| manifest)
        };
        let manifest = resolved.await.map_err(|error| error.context(format_args!("{reference} can't be looked up")))?;
        let digest = Digest::of(&manifest);
        self.keep(manifest).await;
        Ok(reference.pinned(digest))
    }

    /// The component with this digest, which is that of its manifest.
    ///
    /// # Errors
    ///
    /// `Invalid` where the reference has no digest, or is of something else than a component; `Corrupt` where what the registry sends has
    /// another digest; otherwise as [`resolve`](Self::resolve).
    pub async fn fetch(&self, reference: &Reference) -> Result<Bytes> {
        let Some(digest) = reference.digest() else {
            let message = format!("`{reference}` names no digest");
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let mut client = self.client(reference, false);
        let fetched = async {
            let manifest = match self.kept(digest, MANIFEST_BYTES_MAX).await {
                Some(manifest) => manifest,
                None => {
                    let manifest = client.manifest(&digest.to_string()).await?;
                    verify("manifest", &manifest, digest)?;
                    self.keep(manifest.clone()).await;
                    manifest
                }
            };
            let layer = artifact::layer(&manifest)?;
            if let Some(component) = self.kept(layer.digest, layer.bytes).await {
                return Ok(component);
            }
            let component = client.blob(layer.digest, layer.bytes).await?;
            verify("component", &component, layer.digest)?;
            self.keep(component.clone()).await;
            Ok(component)
        };
        fetched.await.map_err(|error: Error| error.context(format_args!("{reference} is not fetched")))
    }

    /// Publishes a component under the reference's tag, or by its digest alone where there is none. Returns the reference with the digest,
    /// which is the same for the same component, interfaces and notes.
    ///
    /// # Errors
    ///
    /// `Denied` where the registry lets nobody write, or not us; otherwise as [`resolve`](Self::resolve).
    pub async fn publish(
        &self,
        reference: &Reference,
        component: Bytes,
        interfaces: &Interfaces,
        notes: &Notes,
    ) -> Result<Reference> {
        let artifact = Artifact::of(component, interfaces, notes);
        let digest = Digest::of(&artifact.manifest);
        if reference.digest().is_some_and(|wanted| wanted != digest) {
            let message = format!(
                "what is published gets its own digest, which is {digest}: name a tag, or nothing after the name"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let name = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let pushed = self.client(reference, true).push(&artifact, &name).await;
        pushed.map_err(|error| error.context(format_args!("{reference} is not published")))?;
        Ok(reference.pinned(digest))
    }

    fn client(&self, reference: &Reference, pushes: bool) -> Client {
        Client::new(Arc::clone(&self.upstream), reference.clone(), self.plain_http, pushes)
    }

    async fn kept(&self, digest: Digest, bytes_max: u64) -> Option<Bytes> {
        self.cache.as_ref()?.get(digest, bytes_max).await
    }

    async fn keep(&self, bytes: Bytes) {
        if let Some(cache) = &self.cache {
            cache.keep(bytes).await;
        }
    }
}

fn verify(what: &str, bytes: &[u8], wanted: Digest) -> Result<()> {
    let digest = Digest::of(bytes);
    if digest == wanted {
        return Ok(());
    }
    let message = format!("the {what} that the registry sends is another one; digest=`{digest}` wanted=`{wanted}`");
    Err(Error::new(ErrorKind::Corrupt, message))
}
