//! The operations on single objects, and the batch delete.
//!
//! It leaves versioning and conditions of writes to the bucket.

use std::collections::BTreeMap;
use std::ops;
use std::time::SystemTime;

use bytes::Bytes;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::body::{self, Chunks};
use super::bucket::WriteCondition;
use super::refusal::Refusal;
use super::store::Store;
use super::version::{self, Etag, ObjectHeaders};

type Answer<T> = Result<S3Response<T>, Refusal>;

/// How much user metadata an object may have.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const METADATA_BYTES_MAX: usize = 2 * 1024;

/// How many keys DeleteObjects takes at once.
const DELETES_MAX: usize = 1000;

pub(super) async fn put(
    store: &Store,
    request: S3Request<PutObjectInput>,
) -> Answer<PutObjectOutput> {
    let input = request.input;
    let body = read_body(input.body, input.content_length).await?;
    let sums = Sums {
        crc32: input.checksum_crc32,
        crc32c: input.checksum_crc32c,
        crc64nvme: input.checksum_crc64nvme,
        sha1: input.checksum_sha1,
        sha256: input.checksum_sha256,
    };
    sums.check(&body)?;
    let headers = ObjectHeaders {
        cache_control: input.cache_control,
        content_disposition: input.content_disposition,
        content_encoding: input.content_encoding,
        content_language: input.content_language,
        content_type: input.content_type,
        metadata: metadata(input.metadata)?,
    };
    let condition = WriteCondition {
        if_match: input.if_match,
        if_none_match: input.if_none_match,
    };
    let etag = Etag::of(&body);
    let object = version::Object::new(body.into(), etag, headers);
    let (version_id, _) = store.put_object(&input.bucket, &input.key, object, &condition)?;
    let output = PutObjectOutput {
        e_tag: Some(etag.dto()),
        version_id,
        ..PutObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

/// Reads a request's body, whose hash `s3s` checks on the way.
pub(super) async fn read_body(
    body: Option<StreamingBlob>,
    length: Option<i64>,
) -> Result<Bytes, Refusal> {
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
pub(super) struct Sums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Sums {
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
    pub(super) fn check(&self, body: &[u8]) -> Result<(), Refusal> {
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
        if right {
            Ok(())
        } else {
            Err(Refusal::bad_digest("checksum"))
        }
    }
}

/// Takes over user metadata, up to what S3 allows.
pub(super) fn metadata(sent: Option<Metadata>) -> Result<BTreeMap<String, String>, Refusal> {
    let metadata: BTreeMap<String, String> = sent.into_iter().flatten().collect();
    let bytes: usize = metadata
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > METADATA_BYTES_MAX {
        let message = "Your metadata headers exceed the maximum allowed metadata size";
        return Err(Refusal::new(400, "MetadataTooLarge", message));
    }
    Ok(metadata)
}

/// What a read asks to hold.
#[derive(Debug)]
struct ReadCondition {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl ReadCondition {
    /// An entity tag outweighs a time, as the table in
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html> has it.
    fn check(&self, etag: Etag, last_modified: SystemTime) -> Result<(), Refusal> {
        // Header dates have whole seconds.
        let last_modified = super::clock::truncate(last_modified, false);
        let not_modified = || {
            let refusal = Refusal::new(304, "NotModified", "Not Modified");
            let date = httpdate::fmt_http_date(last_modified);
            refusal
                .header("etag", format!("\"{}\"", etag.text()))
                .header("last-modified", date)
        };
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !etag.meets(condition) => {
                return Err(Refusal::precondition_failed());
            }
            (None, Some(time)) if Timestamp::from(last_modified) > *time => {
                return Err(Refusal::precondition_failed());
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if etag.meets(condition) => Err(not_modified()),
            (None, Some(time)) if Timestamp::from(last_modified) <= *time => Err(not_modified()),
            _ => Ok(()),
        }
    }
}

/// An object that a read found.
struct Found {
    object: version::Object,
    last_modified: SystemTime,
    version_id: Option<String>,
    /// The bytes asked for, if not all.
    range: Option<ops::Range<u64>>,
}

impl Found {
    fn look_up(
        store: &Store,
        place: (&str, &str, Option<&str>),
        condition: &ReadCondition,
        range: Option<Range>,
    ) -> Result<Self, Refusal> {
        let (bucket, key, version_id) = place;
        if version_id == Some("") {
            return Err(Refusal::invalid_argument(
                "Version id cannot be the empty string",
            ));
        }
        store.read(bucket, |bucket| {
            let (version, object) = bucket.find(key, version_id)?;
            condition.check(object.etag, version.last_modified)?;
            let length = object.payload.len();
            let range = range.map(|range| satisfy(range, length)).transpose()?;
            Ok(Self {
                object: object.clone(),
                last_modified: version.last_modified,
                version_id: bucket.id_sent(version.id),
                range,
            })
        })
    }

    fn headers(&self, store: &Store) -> ObjectHeaders {
        let mut headers = self.object.headers.as_deref().cloned().unwrap_or_default();
        let default = || store.options().content_type_default.clone();
        headers.content_type = headers.content_type.or_else(default);
        headers
    }

    fn bytes(&self) -> ops::Range<u64> {
        self.range.clone().unwrap_or(0..self.object.payload.len())
    }

    fn content_length(&self) -> Option<i64> {
        let bytes = self.bytes();
        i64::try_from(bytes.end - bytes.start).ok()
    }

    fn content_range(&self) -> Option<String> {
        let range = self.range.as_ref()?;
        let length = self.object.payload.len();
        Some(format!("bytes {}-{}/{length}", range.start, range.end - 1))
    }
}

fn satisfy(range: Range, length: u64) -> Result<ops::Range<u64>, Refusal> {
    let satisfied = range.check(length).ok().filter(|range| !range.is_empty());
    satisfied.ok_or_else(|| {
        let refusal = Refusal::new(
            416,
            "InvalidRange",
            "The requested range is not satisfiable",
        );
        refusal.header("content-range", format!("bytes */{length}"))
    })
}

fn some_metadata(metadata: BTreeMap<String, String>) -> Option<Metadata> {
    (!metadata.is_empty()).then(|| metadata.into_iter().collect())
}

pub(super) async fn get(
    store: &Store,
    request: S3Request<GetObjectInput>,
) -> Answer<GetObjectOutput> {
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
    let place = (
        input.bucket.as_str(),
        input.key.as_str(),
        input.version_id.as_deref(),
    );
    let found = Found::look_up(store, place, &condition, input.range)?;
    let headers = found.headers(store);
    let body = Chunks::new(found.object.payload.slice(found.bytes()));
    let output = GetObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        body: Some(StreamingBlob::new(body)),
        cache_control: input.response_cache_control.or(headers.cache_control),
        content_disposition: input
            .response_content_disposition
            .or(headers.content_disposition),
        content_encoding: input.response_content_encoding.or(headers.content_encoding),
        content_language: input.response_content_language.or(headers.content_language),
        content_length: found.content_length(),
        content_range: found.content_range(),
        content_type: input.response_content_type.or(headers.content_type),
        e_tag: Some(found.object.etag.dto()),
        last_modified: Some(found.last_modified.into()),
        metadata: some_metadata(headers.metadata),
        version_id: found.version_id,
        ..GetObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn head(
    store: &Store,
    request: S3Request<HeadObjectInput>,
) -> Answer<HeadObjectOutput> {
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
    let place = (
        input.bucket.as_str(),
        input.key.as_str(),
        input.version_id.as_deref(),
    );
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
        version_id: found.version_id,
        ..HeadObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

pub(super) async fn delete(
    store: &Store,
    request: S3Request<DeleteObjectInput>,
) -> Answer<DeleteObjectOutput> {
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

pub(super) async fn delete_many(
    store: &Store,
    request: S3Request<DeleteObjectsInput>,
) -> Answer<DeleteObjectsOutput> {
    // https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    let is_sum = |name: &http::HeaderName| {
        name == "content-md5" || name.as_str().starts_with("x-amz-checksum-")
    };
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
    let output = DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: Some(errors),
        request_charged: None,
    };
    Ok(S3Response::new(output))
}

pub(super) async fn copy(
    store: &Store,
    request: S3Request<CopyObjectInput>,
) -> Answer<CopyObjectOutput> {
    let input = request.input;
    let CopySource::Bucket {
        bucket,
        key,
        version_id,
    } = &input.copy_source
    else {
        return Err(Refusal::not_implemented());
    };
    let condition = ReadCondition {
        if_match: input.copy_source_if_match,
        if_none_match: input.copy_source_if_none_match,
        if_modified_since: input.copy_source_if_modified_since,
        if_unmodified_since: input.copy_source_if_unmodified_since,
    };
    let directive = input
        .metadata_directive
        .as_ref()
        .map(MetadataDirective::as_str);
    let replaces = directive == Some(MetadataDirective::REPLACE);
    let itself = **bucket == *input.bucket && **key == *input.key && version_id.is_none();
    if itself && !replaces {
        let message = "This copy request is illegal because it is trying to copy an object to \
                       itself without changing the object's metadata, storage class, website \
                       redirect location or encryption attributes.";
        return Err(Refusal::new(400, "InvalidRequest", message));
    }
    let found = Found::look_up(
        store,
        (bucket, key, version_id.as_deref()),
        &condition,
        None,
    );
    // A source that is as it was fails the copy; there is nothing it could be answered from.
    let found = found.map_err(|refusal| match refusal.status {
        304 => Refusal::precondition_failed(),
        _ => refusal,
    })?;
    let headers = if replaces {
        ObjectHeaders {
            cache_control: input.cache_control,
            content_disposition: input.content_disposition,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_type: input.content_type,
            metadata: metadata(input.metadata)?,
        }
    } else {
        found.object.headers.as_deref().cloned().unwrap_or_default()
    };
    // A copy is a plain object, also of one that was uploaded in parts.
    let pieces: Vec<&[u8]> = found
        .object
        .payload
        .pieces()
        .map(|piece| &piece[..])
        .collect();
    let etag = Etag {
        md5: version::md5_of(&pieces),
        parts_count: 0,
    };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIME: SystemTime = SystemTime::UNIX_EPOCH;

    fn condition() -> ReadCondition {
        ReadCondition {
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
        }
    }

    #[test]
    fn entity_tags_outweigh_times_in_read_conditions() {
        let etag = Etag::of(b"a");
        let same = Some(ETagCondition::ETag(etag.dto()));
        let other = Some(ETagCondition::ETag(Etag::of(b"b").dto()));
        let (before, after) = (
            Timestamp::from(TIME - Duration::from_secs(1)),
            Timestamp::from(TIME),
        );
        let status = |condition: ReadCondition| condition.check(etag, TIME).err().map(|r| r.status);
        let cases = [
            (
                ReadCondition {
                    if_match: same.clone(),
                    ..condition()
                },
                None,
            ),
            (
                ReadCondition {
                    if_match: other.clone(),
                    ..condition()
                },
                Some(412),
            ),
            (
                ReadCondition {
                    if_none_match: same.clone(),
                    ..condition()
                },
                Some(304),
            ),
            (
                ReadCondition {
                    if_none_match: other.clone(),
                    ..condition()
                },
                None,
            ),
            (
                ReadCondition {
                    if_unmodified_since: Some(before.clone()),
                    ..condition()
                },
                Some(412),
            ),
            (
                ReadCondition {
                    if_modified_since: Some(after.clone()),
                    ..condition()
                },
                Some(304),
            ),
            (
                ReadCondition {
                    if_match: same,
                    if_unmodified_since: Some(before),
                    ..condition()
                },
                None,
            ),
            (
                ReadCondition {
                    if_none_match: other,
                    if_modified_since: Some(after),
                    ..condition()
                },
                None,
            ),
        ];
        for (condition, expected) in cases {
            let text = format!("{condition:?}");
            assert_eq!(status(condition), expected, "{text}");
        }
    }

    #[test]
    fn range_beyond_the_object_is_refused() {
        assert_eq!(satisfy(Range::Suffix { length: 3 }, 5).unwrap(), 2..5);
        assert_eq!(satisfy(Range::Suffix { length: 9 }, 5).unwrap(), 0..5);
        assert_eq!(
            satisfy(
                Range::Int {
                    first: 4,
                    last: Some(9)
                },
                5
            )
            .unwrap(),
            4..5
        );
        assert_eq!(
            satisfy(
                Range::Int {
                    first: 5,
                    last: None
                },
                5
            )
            .unwrap_err()
            .status,
            416
        );
        assert_eq!(
            satisfy(Range::Suffix { length: 1 }, 0).unwrap_err().status,
            416
        );
    }

    #[test]
    fn wrong_checksum_is_refused() {
        let right = Sums {
            crc32: Some("NhCmhg==".to_owned()),
            ..Sums::default()
        };
        right.check(b"hello").unwrap();
        assert_eq!(right.check(b"hullo").unwrap_err().code, "BadDigest");
    }
}
