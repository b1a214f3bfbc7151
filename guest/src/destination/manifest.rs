//! Owns where objects and their manifests are, and the storing of manifests: by the same means as objects, under the same digest,
//! so that one that is there already is known as ours. Leaves what they say to `summary`.

use super::buffer::Object;
use super::key;
use super::summary::{MANIFESTS, Summary};
use super::upload::Uploader;
use crate::error::Result;
use crate::ports::Ports;

impl<P: Ports> Uploader<P> {
    /// The key of the object with the records of `digest`, in the folders of `path`.
    pub(super) fn key(&self, path: &str, summary: &Summary, digest: &str, extension: &str) -> String {
        let start = format!("{}{path}{}", self.client.config().prefix, summary.name_start());
        key::object_key(&start, digest, extension)
    }

    /// Stores the manifest of an object that is stored, if it is to have one.
    ///
    /// # Errors
    ///
    /// As for [`Self::store`].
    pub(super) async fn store_manifest(
        &self,
        summary: &Summary,
        digest: &str,
        key: &str,
        bytes: u64,
        content_type: &str,
    ) -> Result<()> {
        let Some(body) = summary.manifest(digest, key, bytes, content_type) else { return Ok(()) };
        let manifest = Object {
            path: MANIFESTS.to_owned(),
            summary: summary.clone(),
            digest: digest.to_owned(),
            extension: "json",
            content_type: "application/json",
            body,
        };
        let key = self.key(&manifest.path, summary, digest, manifest.extension);
        self.store_as(&key, &manifest).await.map(drop)
    }
}
