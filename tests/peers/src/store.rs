//! Owns getting objects by the `object_store` crate, as a program that uses it would. Leaves what is requested to `main`.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::AmazonS3Builder;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::{Done, Failure};

/// Gets objects, and counts their bytes.
pub(crate) async fn get(
    address: &str,
    bucket: &str,
    keys: impl Iterator<Item = String>,
    concurrency: usize,
) -> Result<Done, Failure> {
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_bucket_name(bucket)
        .with_region("us-east-1")
        .with_access_key_id("bench")
        .with_secret_access_key("benchbench")
        .build()?;
    let store = &store;
    let one = |key: String| async move {
        let mut body = store.get(&Path::from(key)).await?.into_stream();
        let mut bytes = 0;
        while let Some(piece) = body.try_next().await? {
            bytes += piece.len() as u64;
        }
        Ok::<_, Failure>(bytes)
    };
    let mut all = stream::iter(keys).map(one).buffer_unordered(concurrency);
    let mut done = Done::default();
    while let Some(bytes) = all.try_next().await? {
        done = Done { objects: done.objects + 1, bytes: done.bytes + bytes };
    }
    Ok(done)
}
