//! Owns what S3 refuses before it reads the operation, and `s3s` does not: the time of signing, the region, the headers
//! that a signature must cover, and the hashes of the body. Leaves the signature itself to `s3s` and the session to the
//! access check.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, Method};
use s3s::crypto::{Checksum, Sha256};

use crate::model::options::{Checksums, Options};
use crate::model::refusal::Refusal;
use crate::model::version::{hex, md5_of};
use crate::wire::operation::S3Operation;

/// How far a request's time may be from ours.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Checks what can be told from the head of a request.
pub(crate) fn check_head(parts: &Parts, options: &Options) -> Result<(), Refusal> {
    if parts.method == Method::PUT && !parts.headers.contains_key("content-length") {
        let message = "You must provide the Content-Length HTTP header.";
        return Err(Refusal::new(411, "MissingContentLength", message));
    }
    // Without it `s3s` finds an anonymous request, a presigned one, or one signed the old way.
    let Some(authorization) = text(&parts.headers, "authorization") else {
        return Ok(());
    };
    let Some(fields) = authorization.strip_prefix("AWS4-HMAC-SHA256") else {
        return Ok(());
    };
    check_time(&parts.headers, options.clock.now())?;
    if let Some(region) = &options.region {
        check_region(fields, region)?;
    }
    check_signed_headers(&parts.headers, fields)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn field<'f>(fields: &'f str, name: &str) -> Option<&'f str> {
    fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
}

fn check_time(headers: &HeaderMap, now: SystemTime) -> Result<(), Refusal> {
    // Without a readable date `s3s` refuses the request.
    let Some(time) = text(headers, "x-amz-date").and_then(parse_time) else {
        return Ok(());
    };
    let skew = now.duration_since(time).unwrap_or_else(|ahead| ahead.duration());
    if skew > SKEW_MAX {
        let message = "The difference between the request time and the current time is too large.";
        return Err(Refusal::new(403, "RequestTimeTooSkewed", message));
    }
    Ok(())
}

/// Reads `20130524T000000Z`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let seconds = digits(9, 11)? * 3600 + digits(11, 13)? * 60 + digits(13, 15)?;
    // Days since the epoch, of years that start in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    let since_epoch = u64::try_from(days * 86_400 + seconds).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch))
}

fn check_region(fields: &str, region: &str) -> Result<(), Refusal> {
    let scope = field(fields, "Credential").unwrap_or_default();
    // From the end, as an access key may contain slashes.
    let signed_for = scope.rsplit('/').nth(2).unwrap_or_default();
    if signed_for == region {
        return Ok(());
    }
    let message =
        format!("The authorization header is malformed; the region '{signed_for}' is wrong; expecting '{region}'");
    Err(Refusal::new(400, "AuthorizationHeaderMalformed", message).detail("Region", region))
}

/// Every `x-amz-` header and the host must be signed.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
fn check_signed_headers(headers: &HeaderMap, fields: &str) -> Result<(), Refusal> {
    let signed = field(fields, "SignedHeaders").unwrap_or_default();
    let must = |name: &str| name == "host" || name.starts_with("x-amz-");
    let is_signed = |name: &str| signed.split(';').any(|signed| signed == name);
    if headers.keys().any(|name| must(name.as_str()) && !is_signed(name.as_str())) {
        let message = "There were headers present in the request which were not signed";
        return Err(Refusal::access_denied(message));
    }
    Ok(())
}

/// Checks whether the headers with checksums are such as this store takes.
pub(crate) fn check_sums(headers: &HeaderMap, operation: S3Operation, checksums: Checksums) -> Result<(), Refusal> {
    let is_sum = |name: &http::HeaderName| name.as_str().starts_with("x-amz-checksum-");
    let has_sum = headers.keys().any(is_sum);
    match (operation, checksums) {
        (S3Operation::PutObject, Checksums::Required) if !has_sum && !headers.contains_key("content-md5") => {
            let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with \
                           Object Lock parameters";
            Err(Refusal::new(400, "InvalidRequest", message))
        }
        (_, Checksums::Unknown) if has_sum => Err(Refusal::not_implemented()),
        (_, Checksums::Invalid) if has_sum => {
            Err(Refusal::invalid_argument("Unsupported header x-amz-checksum-crc32c"))
        }
        _ => Ok(()),
    }
}

/// Checks a body against the hashes that came with it.
pub(crate) fn check_body(headers: &HeaderMap, operation: S3Operation, body: &[u8]) -> Result<(), Refusal> {
    if let Some(md5) = text(headers, "content-md5") {
        let expected = STANDARD.decode(md5).ok().filter(|md5| md5.len() == 16);
        let message = "The Content-MD5 you specified was invalid.";
        let expected = expected.ok_or_else(|| Refusal::new(400, "InvalidDigest", message))?;
        if md5_of(&[body]).as_slice() != expected {
            return Err(Refusal::bad_digest("Content-MD5"));
        }
    }
    // The bodies of these pass through a check of `s3s`, whose failure the API names; it passes no
    // other body through, and would answer 500 for a document.
    if matches!(operation, S3Operation::PutObject | S3Operation::UploadPart) {
        return Ok(());
    }
    let Some(sha256) = text(headers, "x-amz-content-sha256") else {
        return Ok(());
    };
    if sha256.len() != 64 {
        return Ok(());
    }
    let matches = if body.is_empty() { sha256 == EMPTY_SHA256 } else { sha256 == sha256_of(body) };
    if matches { Ok(()) } else { Err(Refusal::payload_hash_mismatch()) }
}

fn sha256_of(body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(body);
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_signing_is_read_over_leap_years() {
        let cases = [
            ("20130524T000000Z", "Fri, 24 May 2013 00:00:00 GMT"),
            ("20240229T235959Z", "Thu, 29 Feb 2024 23:59:59 GMT"),
            ("20240301T000000Z", "Fri, 01 Mar 2024 00:00:00 GMT"),
            ("20991231T120000Z", "Thu, 31 Dec 2099 12:00:00 GMT"),
            ("19700101T000000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ];
        for (text, date) in cases {
            assert_eq!(httpdate::fmt_http_date(parse_time(text).unwrap()), date);
        }
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn region_is_read_from_the_scope() {
        let fields = " Credential=A/B/20130524/eu-west-1/s3/aws4_request, SignedHeaders=host";
        check_region(fields, "eu-west-1").unwrap();
        let refusal = check_region(fields, "us-east-1").unwrap_err();
        assert_eq!(refusal.code, "AuthorizationHeaderMalformed");
    }

    #[test]
    fn amazon_headers_must_be_signed() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "h".parse().unwrap());
        headers.insert("x-amz-meta-a", "1".parse().unwrap());
        headers.insert("range", "bytes=0-1".parse().unwrap());
        check_signed_headers(&headers, "SignedHeaders=host;x-amz-meta-a, Signature=0").unwrap();
        let refusal = check_signed_headers(&headers, "SignedHeaders=host").unwrap_err();
        assert_eq!(refusal.status, 403);
    }

    #[test]
    fn body_is_held_against_its_hashes() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-content-sha256", EMPTY_SHA256.parse().unwrap());
        check_body(&headers, S3Operation::GetObject, b"").unwrap();
        let refusal = check_body(&headers, S3Operation::DeleteObjects, b"x").unwrap_err();
        assert_eq!(refusal.code, "XAmzContentSHA256Mismatch");
        headers.insert("x-amz-content-sha256", sha256_of(b"x").parse().unwrap());
        check_body(&headers, S3Operation::DeleteObjects, b"x").unwrap();
        headers.insert("content-md5", "XUFAKrxLKna5cZ2REBfFkg==".parse().unwrap());
        let refusal = check_body(&headers, S3Operation::PutObject, b"x").unwrap_err();
        assert_eq!(refusal.code, "BadDigest");
        check_body(&headers, S3Operation::PutObject, b"hello").unwrap();
    }
}
