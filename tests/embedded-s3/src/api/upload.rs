//! Owns the operations on multipart uploads. Leaves what an upload is, and when its parts fit together, to the model's
//! upload.

use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::Reply;
use super::object::{Sums, metadata, read_body};
use crate::model::bucket::WriteCondition;
use crate::model::listing::parse_count_max;
use crate::model::refusal::Refusal;
use crate::model::storage::Asked;
use crate::model::store::{Store, find_upload};
use crate::model::upload::parse_part_number;
use crate::model::version::{ObjectHeaders, hex};

pub(crate) async fn create(
    store: &Store,
    request: S3Request<CreateMultipartUploadInput>,
) -> Reply<CreateMultipartUploadOutput> {
    let input = request.input;
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
    let storage = headers.storage.clone();
    let upload_id = store.begin_upload(&input.bucket, &input.key, headers)?;
    let output = CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        server_side_encryption: storage.shown_encryption(),
        ssekms_key_id: storage.kms_key_id,
        upload_id: Some(upload_id),
        ..CreateMultipartUploadOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(crate) async fn upload_part(store: &Store, request: S3Request<UploadPartInput>) -> Reply<UploadPartOutput> {
    let input = request.input;
    let number = parse_part_number(input.part_number)?;
    let body = read_body(input.body, input.content_length).await?;
    let sums = Sums {
        crc32: input.checksum_crc32,
        crc32c: input.checksum_crc32c,
        crc64nvme: input.checksum_crc64nvme,
        sha1: input.checksum_sha1,
        sha256: input.checksum_sha256,
    };
    sums.check(&body)?;
    let etag = store.upload_part(&input.bucket, &input.key, &input.upload_id, number, body)?;
    let output = UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..UploadPartOutput::default() };
    Ok(S3Response::new(output))
}

pub(crate) async fn complete(
    store: &Store,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Reply<CompleteMultipartUploadOutput> {
    let input = request.input;
    let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    let named = parts.into_iter().map(|part| {
        let number = part.part_number.ok_or_else(Refusal::malformed_xml)?;
        let etag = part.e_tag.ok_or_else(Refusal::malformed_xml)?;
        Ok((parse_part_number(number)?, etag.into_value()))
    });
    let named = named.collect::<Result<Vec<_>, Refusal>>()?;
    let condition = WriteCondition { if_match: input.if_match, if_none_match: input.if_none_match };
    let part_size_min = store.options().part_size_min;
    let (bucket, key) = (&input.bucket, &input.key);
    let completed = store.complete(bucket, key, &input.upload_id, &named, part_size_min, &condition)?;
    let output = CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(completed.etag.dto()),
        version_id: completed.id_sent,
        ..CompleteMultipartUploadOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(crate) async fn abort(
    store: &Store,
    request: S3Request<AbortMultipartUploadInput>,
) -> Reply<AbortMultipartUploadOutput> {
    let input = request.input;
    store.abort_upload(&input.bucket, &input.key, &input.upload_id)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(crate) async fn parts(store: &Store, request: S3Request<ListPartsInput>) -> Reply<ListPartsOutput> {
    let input = request.input;
    let asked = parse_count_max(input.max_parts, "max-parts")?;
    let count_max = usize::try_from(asked).unwrap_or_default().min(store.options().page_size_max);
    let marker = input.part_number_marker.unwrap_or_default();
    let after = u16::try_from(marker)
        .map_err(|_| Refusal::invalid_argument("Argument part-number-marker must be an integer"))?;
    let listed = store.write(&input.bucket, |bucket, _| {
        let upload = find_upload(bucket, &input.key, &input.upload_id)?;
        let parts = upload.parts.range(after.saturating_add(1)..);
        let listed = parts.take(count_max + 1).map(|(number, part)| Part {
            e_tag: Some(ETag::Strong(hex(&part.md5))),
            last_modified: Some(part.last_modified.into()),
            part_number: Some(i32::from(*number)),
            size: i64::try_from(part.body.len()).ok(),
            ..Part::default()
        });
        Ok(listed.collect::<Vec<_>>())
    })?;
    let is_truncated = count_max > 0 && listed.len() > count_max;
    let parts: Vec<Part> = listed.into_iter().take(count_max).collect();
    let output = ListPartsOutput {
        bucket: Some(input.bucket),
        is_truncated: Some(is_truncated),
        key: Some(input.key),
        max_parts: Some(asked),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        owner: Some(super::list::owner()),
        part_number_marker: Some(marker),
        parts: Some(parts),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(input.upload_id),
        ..ListPartsOutput::default()
    };
    Ok(S3Response::new(output))
}
