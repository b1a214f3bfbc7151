//! Owns the checksum that every write carries, so that a store keeps nothing that was damaged on its way, and takes
//! writes into buckets with Object Lock, which it refuses without one
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html#object-lock-put-object>). Leaves
//! sending and retrying to `egress`.
//!
//! CRC32C of those that S3 knows (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>):
//! stores have known it since 2022, CRC64NVME only since 2025, and MD5 is not there under FIPS. Never a trailer: it
//! needs `aws-chunked`, which many stores can't read.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::operation::S3Operation;

/// The header that carries it.
pub(super) const X_AMZ_CHECKSUM_CRC32C: HeaderName = HeaderName::from_static("x-amz-checksum-crc32c");

/// The header that says of an upload in parts that they carry it: S3 refuses the checksums of parts that it was not told
/// of (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>).
const X_AMZ_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");

/// What the names of all headers with a checksum begin with.
const CHECKSUM_FAMILY: &str = "x-amz-checksum-";

/// Codes by which stores say that they don't know a header.
const UNKNOWN_HEADER: [&str; 7] = [
    "InvalidArgument",
    "InvalidHeader",
    "InvalidRequest",
    "NotImplemented",
    "NotSupported",
    "UnsupportedHeader",
    "XNotImplemented",
];

/// Codes by which stores refuse `UNSIGNED-PAYLOAD`.
const UNSIGNED_REFUSALS: [&str; 3] = ["InvalidDigest", "SignatureDoesNotMatch", "XAmzContentSHA256Mismatch"];

/// Whether writes of one way out carry a checksum: until the store was seen to refuse it.
#[derive(Debug, Default)]
pub(super) struct Checksums {
    are_refused: AtomicBool,
    /// Whether the last answers to an object and to a part carried the checksum that was sent: a store that verifies one says so.
    objects_are_verified: AtomicBool,
    parts_are_verified: AtomicBool,
}

impl Checksums {
    /// Whether this store was not seen to refuse them.
    pub(super) fn are_taken(&self) -> bool {
        !self.are_refused.load(Ordering::Relaxed)
    }

    /// Whether the store was seen to verify the checksums of such writes.
    pub(super) fn are_verified(&self, operation: S3Operation) -> bool {
        self.verified(operation).is_some_and(|verified| verified.load(Ordering::Relaxed))
    }

    /// Takes note of whether an answer says that the checksum was verified; stores that don't know the header pass over it.
    pub(super) fn answered(
        &self,
        operation: S3Operation,
        (name, sent): &(HeaderName, HeaderValue),
        headers: &HeaderMap,
    ) -> bool {
        let is_verified = headers.get(name) == Some(sent);
        if let Some(verified) = self.verified(operation) {
            verified.store(is_verified, Ordering::Relaxed);
        }
        is_verified
    }

    fn verified(&self, operation: S3Operation) -> Option<&AtomicBool> {
        match operation {
            S3Operation::PutObject => Some(&self.objects_are_verified),
            S3Operation::UploadPart => Some(&self.parts_are_verified),
            _ => None,
        }
    }

    /// Remembers that this store refuses them. Says so once.
    pub(super) fn refuse(&self, code: Option<&str>) {
        if !self.are_refused.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                code = code.unwrap_or_default(),
                "the store refuses writes with a checksum (x-amz-checksum-crc32c): they are sent without from now \
                 on, and damage on their way shows only by the hash that is signed"
            );
        }
    }
}

/// The header with the checksum of a body, where the operation carries one and the guest set none itself; of an upload
/// that begins, the header that announces checksums.
pub(super) fn of(operation: S3Operation, headers: &HeaderMap, body: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let is_set = |name: &HeaderName| name.as_str().starts_with(CHECKSUM_FAMILY) || name.as_str() == "content-md5";
    if headers.keys().any(is_set) {
        return None;
    }
    match operation {
        S3Operation::PutObject | S3Operation::UploadPart => Some((X_AMZ_CHECKSUM_CRC32C, crc32c(body))),
        S3Operation::CreateMultipartUpload => Some((X_AMZ_CHECKSUM_ALGORITHM, HeaderValue::from_static("CRC32C"))),
        _ => None,
    }
}

fn crc32c(body: &[u8]) -> HeaderValue {
    let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, body);
    let sum = u32::try_from(sum).expect("it has 32 bits").to_be_bytes();
    let text = STANDARD.encode(sum);
    HeaderValue::try_from(text).expect("base64 is ASCII")
}

/// Whether an answer may be the refusal of a checksum: whether it is shows when the same request is sent without.
pub(super) fn may_refuse(status: StatusCode, code: Option<&str>) -> bool {
    match status {
        StatusCode::NOT_IMPLEMENTED => true,
        // Without a document nothing is said of the reason.
        StatusCode::BAD_REQUEST => code.is_none_or(|code| UNKNOWN_HEADER.contains(&code)),
        _ => false,
    }
}

/// Whether an answer may be the refusal of a body whose hash is not signed, as a bucket's policy can refuse it (condition
/// `s3:x-amz-content-sha256`): whether it is shows when the same request is sent with it.
pub(super) fn may_want_hash(code: Option<&str>) -> bool {
    code.is_none_or(|code| {
        code == "AccessDenied" || UNSIGNED_REFUSALS.contains(&code) || UNKNOWN_HEADER.contains(&code)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_has_the_checksum_of_its_body() {
        let none = HeaderMap::new();
        // The check value of CRC-32C, 0xe3069283, in big-endian base64.
        for operation in [S3Operation::PutObject, S3Operation::UploadPart] {
            let (name, sum) = of(operation, &none, b"123456789").expect("carries one");
            assert_eq!((name, sum.as_bytes()), (X_AMZ_CHECKSUM_CRC32C, &b"4waSgw=="[..]));
            let (_, empty) = of(operation, &none, b"").expect("carries one");
            assert_eq!(empty, "AAAAAA==");
        }
    }

    #[test]
    fn an_upload_in_parts_says_what_they_carry() {
        let (name, algorithm) = of(S3Operation::CreateMultipartUpload, &HeaderMap::new(), b"").expect("says it");
        assert_eq!((name.as_str(), algorithm.as_bytes()), ("x-amz-checksum-algorithm", &b"CRC32C"[..]));
    }

    #[test]
    fn only_a_write_without_one_gets_one() {
        for operation in S3Operation::ALL {
            let writes = matches!(
                operation,
                S3Operation::PutObject | S3Operation::UploadPart | S3Operation::CreateMultipartUpload
            );
            assert_eq!(of(operation, &HeaderMap::new(), b"x").is_some(), writes, "{operation:?}");
        }
        for name in ["x-amz-checksum-sha256", "content-md5"] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("eA=="));
            assert_eq!(of(S3Operation::PutObject, &headers, b"x"), None, "{name}");
        }
    }

    #[test]
    fn a_refusal_of_something_else_is_none_of_a_checksum() {
        let refused = |status: u16, code| may_refuse(StatusCode::from_u16(status).unwrap(), code);
        assert!(refused(400, Some("InvalidRequest")) && refused(400, None));
        assert!(refused(501, None) && refused(501, Some("NotImplemented")));
        for code in ["BadDigest", "EntityTooLarge", "ExpiredToken", "NoSuchBucket"] {
            assert!(!refused(400, Some(code)), "{code}");
        }
        assert!(!refused(403, Some("InvalidRequest")) && !refused(503, None));
    }
}
