//! Owns the operations on single objects, and the batch delete. Leaves versioning and conditions of writes to the
//! bucket.

use std::collections::BTreeMap;

use bytes::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::Reply;
use crate::model::bucket::WriteCondition;
use crate::model::lookup::{Found, ReadCondition};
use crate::model::options::Checksums;
use crate::model::refusal::Refusal;
use crate::model::storage::{Asked, Storage};
use crate::model::store::Store;
use crate::model::version::{self, Etag, ObjectHeaders};
use crate::wire::body::{self, Chunks};

/// How much user metadata an object may have.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const METADATA_BYTES_MAX: usize = 2 * 1024;

/// How many keys DeleteObjects takes at once.
const DELETES_MAX: usize = 1000;

pub(crate) async fn put(store: &Store, request: S3Request<PutObjectInput>) -> Reply<PutObjectOutput> {
    let input = request.input;
    let body = read_body(input.body, input.content_length).await?;
    let sums = Sums {
        crc32: input.checksum_crc32,
        crc32c: input.checksum_crc32c,
        crc64nvme: input.checksum_crc64nvme,
        sha1: input.checksum_sha1,
        sha256: input.checksum_sha256,
    };
    if store.options().checksums != Checksums::Ignored {
        sums.check(&body)?;
    }
    let headers = ObjectHeaders {
        cache_control: input.cache_control,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding,
        content_language: input.content_language,
        content_type: input.content_type,
        metadata: metadata(input.metadata)?,
        storage: Asked {
            class: input.storage_class,
            encryption: input.server_side_encryption,
            kms_key_id: input.ssekms_key_id,
            tagging: input.tagging,
            acl: input.acl,
        }
        .read(store.options())?,
    };
    let condition = WriteCondition { if_match: input.if_match, if_none_match: input.if_none_match };
    let mut etag = Etag::of(&body);
    if headers.storage.hides_hash() {
        etag = etag.hidden();
    }
    let storage = headers.storage.clone();
    let object = version::Object::new(body.into(), etag, headers);
    let (version_id, _) = store.put_object(&input.bucket, &input.key, object, &condition)?;
    let output = PutObjectOutput {
        e_tag: Some(etag.dto()),
        server_side_encryption: storage.shown_encryption(),
        ssekms_key_id: storage.kms_key_id,
        version_id,
        ..PutObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

/// Reads a request's body, whose hash `s3s` checks on the way.
pub(crate) async fn read_body(body: Option<StreamingBlob>, length: Option<i64>) -> Result<Bytes, Refusal> {
    let Some(body) = body else {
        return Ok(Bytes::new());
    };
    let length = length.and_then(|length| usize::try_from(length).ok());
    body::read_blob(body, length).await.map_err(|error| {
        // The error's type is private to `s3s`.
        if error.to_string().contains("Sha256Mismatch") {
            Refusal::payload_hash_mismatch()
        } else if error.to_string().contains("Signature") {
            let message = "The request signature we calculated does not match the signature you \
                           provided.";
            Refusal::new(403, "SignatureDoesNotMatch", message)
        } else {
            let message = "You did not provide the number of bytes specified by the \
                           Content-Length HTTP header.";
            Refusal::new(400, "IncompleteBody", message)
        }
    })
}

/// The checksums that came with a body, in base64.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
}

impl Sums {
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
    pub(crate) fn check(&self, body: &[u8]) -> Result<(), Refusal> {
        let mut hasher = ChecksumHasher {
            crc32: self.crc32.as_ref().map(|_| Crc32::new()),
            crc32c: self.crc32c.as_ref().map(|_| Crc32c::new()),
            sha1: self.sha1.as_ref().map(|_| Sha1::new()),
            sha256: self.sha256.as_ref().map(|_| Sha256::new()),
            crc64nvme: self.crc64nvme.as_ref().map(|_| Crc64Nvme::new()),
        };
        hasher.update(body);
        let found = hasher.finalize();
        let right = self.crc32 == found.checksum_crc32
            && self.crc32c == found.checksum_crc32c
            && self.crc64nvme == found.checksum_crc64nvme
            && self.sha1 == found.checksum_sha1
            && self.sha256 == found.checksum_sha256;
        if right { Ok(()) } else { Err(Refusal::bad_digest("checksum")) }
    }
}

/// Takes over user metadata, up to what S3 allows.
pub(crate) fn metadata(sent: Option<Metadata>) -> Result<BTreeMap<String, String>, Refusal> {
    let metadata: BTreeMap<String, String> = sent.into_iter().flatten().collect();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        let message = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(Refusal::new(400, "MetadataTooLarge", message));
    }
    Ok(metadata)
}

/// What GET says of tags, and HEAD does not.
fn tag_count(storage: &Storage) -> Option<i32> {
    i32::try_from(storage.tags.len()).ok().filter(|count| *count > 0)
}

fn some_metadata(metadata: BTreeMap<String, String>) -> Option<Metadata> {
    (!metadata.is_empty()).then(|| metadata.into_iter().collect())
}

pub(crate) async fn get(store: &Store, request: S3Request<GetObjectInput>) -> Reply<GetObjectOutput> {
    let input = request.input;
    if input.part_number.is_some() {
        return Err(Refusal::not_implemented());
    }
    let condition = ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let place = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let found = Found::look_up(store, place, &condition, input.range)?;
    let headers = found.headers(store);
    let body = Chunks::new(found.object.payload.slice(found.bytes()));
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::new(body)),
        cache_control: input.response_cache_control.or(headers.cache_control),
        content_disposition: input.response_content_disposition.or(headers.content_disposition),
        content_encoding: input.response_content_encoding.or(headers.content_encoding),
        content_language: input.response_content_language.or(headers.content_language),
        content_length: found.content_length(),
        content_range: found.content_range(),
        content_type: input.response_content_type.or(headers.content_type),
        e_tag: Some(found.object.etag.dto()),
        last_modified: Some(found.last_modified.into()),
        metadata: some_metadata(headers.metadata),
        server_side_encryption: headers.storage.shown_encryption(),
        ssekms_key_id: headers.storage.kms_key_id.clone(),
        storage_class: headers.storage.shown_class(),
        tag_count: tag_count(&headers.storage),
        version_id: found.version_id,
        ..GetObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(crate) async fn head(store: &Store, request: S3Request<HeadObjectInput>) -> Reply<HeadObjectOutput> {
    let input = request.input;
    if input.part_number.is_some() {
        return Err(Refusal::not_implemented());
    }
    let condition = ReadCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
        if_modified_since: input.if_modified_since,
        if_unmodified_since: input.if_unmodified_since,
    };
    let place = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let found = Found::look_up(store, place, &condition, input.range)?;
    let headers = found.headers(store);
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        cache_control: headers.cache_control,
        content_disposition: headers.content_disposition,
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        content_length: found.content_length(),
        content_range: found.content_range(),
        content_type: headers.content_type,
        e_tag: Some(found.object.etag.dto()),
        last_modified: Some(found.last_modified.into()),
        metadata: some_metadata(headers.metadata),
        server_side_encryption: headers.storage.shown_encryption(),
        ssekms_key_id: headers.storage.kms_key_id.clone(),
        storage_class: headers.storage.shown_class(),
        version_id: found.version_id,
        ..HeadObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(crate) async fn delete(store: &Store, request: S3Request<DeleteObjectInput>) -> Reply<DeleteObjectOutput> {
    let input = request.input;
    // Only some kinds of bucket know conditional deletes; ours is not one of them.
    if input.if_match.is_some() {
        return Err(Refusal::not_implemented());
    }
    let deletion = store.delete_object(&input.bucket, &input.key, input.version_id.as_deref())?;
    let output = DeleteObjectOutput {
        delete_marker: deletion.delete_marker.then_some(true),
        version_id: deletion.version_id.map(version::VersionId::text),
        request_charged: None,
    };
    Ok(S3Response::new(output))
}

pub(crate) async fn delete_many(store: &Store, request: S3Request<DeleteObjectsInput>) -> Reply<DeleteObjectsOutput> {
    // https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    let is_sum = |name: &http::HeaderName| name == "content-md5" || name.as_str().starts_with("x-amz-checksum-");
    if !request.headers.keys().any(is_sum) {
        let message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
        return Err(Refusal::new(400, "InvalidRequest", message));
    }
    let input = request.input;
    if input.delete.objects.is_empty() || input.delete.objects.len() > DELETES_MAX {
        return Err(Refusal::malformed_xml());
    }
    store.read(&input.bucket, |_| Ok(()))?;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for object in input.delete.objects {
        let asked = object.version_id.as_deref();
        match store.delete_object(&input.bucket, &object.key, asked) {
            Ok(deletion) => deleted.push(DeletedObject {
                delete_marker: deletion.delete_marker.then_some(true),
                delete_marker_version_id: deletion
                    .version_id
                    .filter(|_| deletion.delete_marker)
                    .map(version::VersionId::text),
                key: Some(object.key),
                version_id: object.version_id,
            }),
            Err(refusal) => errors.push(Error {
                code: Some(refusal.code.into_owned()),
                key: Some(object.key),
                message: Some(refusal.message.into_owned()),
                version_id: object.version_id,
            }),
        }
    }
    let quiet = input.delete.quiet.unwrap_or_default();
    let output =
        DeleteObjectsOutput { deleted: (!quiet).then_some(deleted), errors: Some(errors), request_charged: None };
    Ok(S3Response::new(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_checksum_is_refused() {
        let right = Sums { crc32: Some("NhCmhg==".to_owned()), ..Sums::default() };
        right.check(b"hello").unwrap();
        assert_eq!(right.check(b"hullo").unwrap_err().code, "BadDigest");
    }
}
