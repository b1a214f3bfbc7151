//! The operations on buckets themselves.
//!
//! It leaves what is in them to the other operations.

use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::bucket::Versioning;
use super::options::REGION_DEFAULT;
use super::refusal::Refusal;
use super::store::Store;

type Answer<T> = Result<S3Response<T>, Refusal>;

pub(super) async fn create(store: &Store, request: S3Request<CreateBucketInput>) -> Answer<CreateBucketOutput> {
    store.create_bucket(&request.input.bucket)?;
    let location = Some(format!("/{}", request.input.bucket));
    Ok(S3Response::new(CreateBucketOutput { location }))
}

pub(super) async fn delete(store: &Store, request: S3Request<DeleteBucketInput>) -> Answer<DeleteBucketOutput> {
    store.delete_bucket(&request.input.bucket)?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub(super) async fn head(store: &Store, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
    store.read(&request.input.bucket, |_| Ok(()))?;
    Ok(S3Response::new(HeadBucketOutput::default()))
}

pub(super) async fn list(store: &Store, _request: S3Request<ListBucketsInput>) -> Answer<ListBucketsOutput> {
    let buckets = store.bucket_times().into_iter().map(|(name, created)| Bucket {
        bucket_region: None,
        creation_date: Some(created.into()),
        name: Some(name),
    });
    let output = ListBucketsOutput {
        buckets: Some(buckets.collect()),
        owner: Some(super::list_api::owner()),
        ..ListBucketsOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn location(
    store: &Store,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    store.read(&request.input.bucket, |_| Ok(()))?;
    // The first region has no name here.
    // https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
    let region = store.options().region_name();
    let named = (region != REGION_DEFAULT).then(|| region.to_owned());
    let location_constraint = named.map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

pub(super) async fn versioning(
    store: &Store,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    let status = match store.versioning(&request.input.bucket)? {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

pub(super) async fn set_versioning(
    store: &Store,
    request: S3Request<PutBucketVersioningInput>,
) -> Answer<PutBucketVersioningOutput> {
    let status = request.input.versioning_configuration.status;
    let versioning = match status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => return Err(Refusal::malformed_xml()),
    };
    store.set_versioning(&request.input.bucket, versioning)?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}
