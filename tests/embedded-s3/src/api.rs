//! Owns the list of operations that are served, each by a function of its own.
//!
//! `s3s` reads a request into an input and writes the output; an operation without a method here is answered by 501.
//! Leaves the rules of S3 to the model.

pub(crate) mod access;
pub(crate) mod admission;
mod bucket;
mod copy;
pub(crate) mod document;
mod list;
mod object;
mod upload;

use async_trait::async_trait;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::model::refusal::Refusal;
use crate::model::store::Store;

/// What an operation answers.
type Reply<T> = Result<S3Response<T>, Refusal>;

/// The operations on a store.
#[derive(Debug)]
pub(crate) struct Api {
    store: Store,
}

impl Api {
    pub(crate) fn new(store: Store) -> Self {
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
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, upload::abort;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, upload::complete;
    copy_object: CopyObjectInput => CopyObjectOutput, copy::copy;
    create_bucket: CreateBucketInput => CreateBucketOutput, bucket::create;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, upload::create;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, bucket::delete;
    delete_object: DeleteObjectInput => DeleteObjectOutput, object::delete;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, object::delete_many;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, bucket::location;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, bucket::versioning;
    get_object: GetObjectInput => GetObjectOutput, object::get;
    head_bucket: HeadBucketInput => HeadBucketOutput, bucket::head;
    head_object: HeadObjectInput => HeadObjectOutput, object::head;
    list_buckets: ListBucketsInput => ListBucketsOutput, bucket::list;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, list::uploads;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, list::versions;
    list_objects: ListObjectsInput => ListObjectsOutput, list::objects;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, list::objects_v2;
    list_parts: ListPartsInput => ListPartsOutput, upload::parts;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, bucket::set_versioning;
    put_object: PutObjectInput => PutObjectOutput, object::put;
    upload_part: UploadPartInput => UploadPartOutput, upload::upload_part;
}
