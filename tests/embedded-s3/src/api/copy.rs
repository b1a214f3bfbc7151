//! Owns CopyObject, into the same or another bucket. Leaves finding the source to the lookup and storing to the store.

use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::Reply;
use super::object::metadata;
use crate::model::bucket::WriteCondition;
use crate::model::lookup::{Found, ReadCondition};
use crate::model::refusal::Refusal;
use crate::model::storage::Storage;
use crate::model::store::Store;
use crate::model::version::{self, Etag, ObjectHeaders};

pub(crate) async fn copy(store: &Store, request: S3Request<CopyObjectInput>) -> Reply<CopyObjectOutput> {
    let input = request.input;
    let found = source(store, &input)?;
    let headers = if replaces(&input) {
        ObjectHeaders {
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_type: input.content_type,
            metadata: metadata(input.metadata)?,
            // How a copy is kept is none of its source's.
            storage: Storage::default(),
        }
    } else {
        let headers = found.object.headers.as_deref().cloned().unwrap_or_default();
        // But its tags are.
        let tags = headers.storage.tags;
        ObjectHeaders { storage: Storage { tags, ..Storage::default() }, ..headers }
    };
    // A copy is a plain object, also of one that was uploaded in parts.
    let pieces: Vec<&[u8]> = found.object.payload.pieces().map(|piece| &piece[..]).collect();
    let etag = Etag { md5: version::md5_of(&pieces), parts_count: 0 };
    let object = version::Object::new(found.object.payload.clone(), etag, headers);
    let condition = WriteCondition::default();
    let (new_id, time) = store.put_object(&input.bucket, &input.key, object, &condition)?;
    let output = CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult {
            e_tag: Some(etag.dto()),
            last_modified: Some(time.into()),
            ..CopyObjectResult::default()
        }),
        copy_source_version_id: found.version_id,
        version_id: new_id,
        ..CopyObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

fn replaces(input: &CopyObjectInput) -> bool {
    let directive = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
    directive == Some(MetadataDirective::REPLACE)
}

fn source(store: &Store, input: &CopyObjectInput) -> Result<Found, Refusal> {
    let CopySource::Bucket { bucket, key, version_id } = &input.copy_source else {
        return Err(Refusal::not_implemented());
    };
    let itself = **bucket == *input.bucket && **key == *input.key && version_id.is_none();
    if itself && !replaces(input) {
        let message = "This copy request is illegal because it is trying to copy an object to \
                       itself without changing the object's metadata, storage class, website \
                       redirect location or encryption attributes.";
        return Err(Refusal::new(400, "InvalidRequest", message));
    }
    let condition = ReadCondition {
        if_match: input.copy_source_if_match.clone(),
        if_none_match: input.copy_source_if_none_match.clone(),
        if_modified_since: input.copy_source_if_modified_since.clone(),
        if_unmodified_since: input.copy_source_if_unmodified_since.clone(),
    };
    let found = Found::look_up(store, (bucket, key, version_id.as_deref()), &condition, None);
    // A source that is as it was fails the copy; there is nothing it could be answered from.
    found.map_err(|refusal| match refusal.status {
        304 => Refusal::precondition_failed(),
        _ => refusal,
    })
}
