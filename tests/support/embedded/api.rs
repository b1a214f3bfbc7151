//! The operations that are served, each by a function of its own.
//!
//! `s3s` reads a request into an input and writes the output; what it has no method for here is
//! answered by 501. It leaves the model's rules to the store.

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::store::Store;
use super::{bucket_api, copy_api, list_api, object_api, upload_api};

/// The operations on a store.
#[derive(Debug)]
pub(super) struct Api {
    store: Store,
}

impl Api {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }
}

macro_rules! serve {
    ($($method:ident: $input:ty => $output:ty, $function:path;)*) => {
        #[async_trait]
        impl S3 for Api {
            $(async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                Ok($function(&self.store, request).await?)
            })*
        }
    };
}

serve! {
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, upload_api::abort;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, upload_api::complete;
    copy_object: CopyObjectInput => CopyObjectOutput, copy_api::copy;
    create_bucket: CreateBucketInput => CreateBucketOutput, bucket_api::create;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, upload_api::create;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, bucket_api::delete;
    delete_object: DeleteObjectInput => DeleteObjectOutput, object_api::delete;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, object_api::delete_many;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, bucket_api::location;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, bucket_api::versioning;
    get_object: GetObjectInput => GetObjectOutput, object_api::get;
    head_bucket: HeadBucketInput => HeadBucketOutput, bucket_api::head;
    head_object: HeadObjectInput => HeadObjectOutput, object_api::head;
    list_buckets: ListBucketsInput => ListBucketsOutput, bucket_api::list;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, list_api::uploads;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, list_api::versions;
    list_objects: ListObjectsInput => ListObjectsOutput, list_api::objects;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, list_api::objects_v2;
    list_parts: ListPartsInput => ListPartsOutput, upload_api::parts;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, bucket_api::set_versioning;
    put_object: PutObjectInput => PutObjectOutput, object_api::put;
    upload_part: UploadPartInput => UploadPartOutput, upload_api::upload_part;
}
