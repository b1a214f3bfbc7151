//! Owns the operations on buckets themselves. Leaves what is in them to the other operations.

use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::Reply;
use crate::model::bucket::Versioning;
use crate::model::options::REGION_DEFAULT;
use crate::model::refusal::Refusal;
use crate::model::store::Store;

pub(crate) async fn create(store: &Store, request: S3Request<CreateBucketInput>) -> Reply<CreateBucketOutput> {
    store.create_bucket(&request.input.bucket)?;
    let location = Some(format!("/{}", request.input.bucket));
    Ok(S3Response::new(CreateBucketOutput { location }))
}

pub(crate) async fn delete(store: &Store, request: S3Request<DeleteBucketInput>) -> Reply<DeleteBucketOutput> {
    store.delete_bucket(&request.input.bucket)?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub(crate) async fn head(store: &Store, request: S3Request<HeadBucketInput>) -> Reply<HeadBucketOutput> {
    store.read(&request.input.bucket, |_| Ok(()))?;
    Ok(S3Response::new(HeadBucketOutput::default()))
}

pub(crate) async fn list(store: &Store, _request: S3Request<ListBucketsInput>) -> Reply<ListBucketsOutput> {
    let buckets = store.bucket_times().into_iter().map(|(name, created)| Bucket {
        bucket_region: None,
        creation_date: Some(created.into()),
        name: Some(name),
    });
    let output = ListBucketsOutput {
        buckets: Some(buckets.collect()),
        owner: Some(super::list::owner()),
        ..ListBucketsOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(crate) async fn location(
    store: &Store,
    request: S3Request<GetBucketLocationInput>,
) -> Reply<GetBucketLocationOutput> {
    store.read(&request.input.bucket, |_| Ok(()))?;
    // The first region has no name here.
    // https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
    let region = store.options().region_name();
    let named = (region != REGION_DEFAULT).then(|| region.to_owned());
    let location_constraint = named.map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

pub(crate) async fn versioning(
    store: &Store,
    request: S3Request<GetBucketVersioningInput>,
) -> Reply<GetBucketVersioningOutput> {
    let status = match store.versioning(&request.input.bucket)? {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

pub(crate) async fn set_versioning(
    store: &Store,
    request: S3Request<PutBucketVersioningInput>,
) -> Reply<PutBucketVersioningOutput> {
    let status = request.input.versioning_configuration.status;
    let versioning = match status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(Refusal::malformed_xml()),
    };
    store.set_versioning(&request.input.bucket, versioning)?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}
