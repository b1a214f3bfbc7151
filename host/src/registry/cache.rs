//! Owns what was fetched from registries: files that are named by their digest, and looked at again whenever they are read. Leaves fetching
//! to `client`.
//!
//! Invariant: what it gives has the digest that was asked for. A file that was cut off or changed is as good as none.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::digest::Digest;
use crate::random;

/// A folder of blobs; they stay until somebody deletes them.
#[derive(Clone, Debug)]
pub(super) struct BlobCache(PathBuf);

impl BlobCache {
    /// One in `folder`, which is made when something is kept.
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self(folder.join("blobs").join("sha256"))
    }

    /// What has this digest, if it is here and is no larger than `bytes_max`.
    pub(super) async fn get(&self, digest: Digest, bytes_max: u64) -> Option<Bytes> {
        let path = self.0.join(digest.hex());
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let file = fs::File::open(&path)?;
            file.take(bytes_max + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > bytes_max || Digest::of(&bytes) != digest {
                tracing::warn!(file = %path.display(), "what was kept of a registry has changed, so it is fetched again");
                return Err(io::ErrorKind::InvalidData.into());
            }
            Ok::<_, io::Error>(Bytes::from(bytes))
        });
        read.await.ok()?.ok()
    }

    /// Keeps these bytes. A folder that can't be written to costs a fetch at each start, not the start.
    pub(super) async fn keep(&self, bytes: Bytes) {
        let folder = self.0.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let path = folder.join(Digest::of(&bytes).hex());
            write(&folder, &path, &bytes).map_err(|error| (folder, error))
        });
        if let Ok(Err((folder, error))) = kept.await {
            tracing::warn!(folder = %folder.display(), "what a registry sent is not kept, so each start fetches it: {error}");
        }
    }
}

/// Writes a file as a whole: another process sees all of it, or what was there before.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".{:016x}.new", random::number()));
    let written = fs::OpenOptions::new().write(true).create_new(true).open(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if written.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_given_only_while_it_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlobCache::in_folder(folder.path());
        let bytes = Bytes::from_static(b"component");
        let digest = Digest::of(&bytes);
        assert_eq!(cache.get(digest, 9).await, None);
        cache.keep(bytes.clone()).await;
        assert_eq!(cache.get(digest, 9).await, Some(bytes.clone()));
        assert_eq!(cache.get(digest, 8).await, None, "it is larger than may be");
        let file = cache.0.join(digest.hex());
        fs::write(&file, "c0mponent").unwrap();
        assert_eq!(cache.get(digest, 9).await, None);
        cache.keep(bytes.clone()).await;
        assert_eq!(cache.get(digest, 9).await, Some(bytes));
        let files = fs::read_dir(&cache.0).unwrap().count();
        assert_eq!(files, 1, "nothing half-written stays");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_to_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = BlobCache::in_folder(&file);
        cache.keep(Bytes::from_static(b"component")).await;
        assert_eq!(cache.get(Digest::of(b"component"), 9).await, None);
    }
}
