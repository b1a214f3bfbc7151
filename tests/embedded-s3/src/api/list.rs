//! Owns the listings: pages as S3 writes them. Leaves what is on a page to the model's listing.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::*;
use s3s::{S3Request, S3Response};

use super::Reply;
use super::document::{Document, Entry, VersionsResult};
use crate::model::bucket::parse_version_id;
use crate::model::listing::{self, Query, parse_count_max};
use crate::model::refusal::Refusal;
use crate::model::store::Store;
use crate::model::version;

/// Gives the one owner of everything.
pub(crate) fn owner() -> Owner {
    Owner { display_name: None, id: Some("embedded".to_owned()) }
}

/// How the texts of a page are written: as they are, or percent-encoded on request. As they are, a
/// character that XML does not allow breaks the document, as on AWS.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
#[derive(Clone, Debug)]
struct Encoding(Option<EncodingType>);

impl Encoding {
    fn new(asked: Option<EncodingType>) -> Result<Self, Refusal> {
        match asked.as_ref().map(EncodingType::as_str) {
            None | Some(EncodingType::URL) => Ok(Self(asked)),
            Some(_) => Err(Refusal::invalid_argument("Invalid Encoding Method specified in Request")),
        }
    }

    fn text(&self, text: &str) -> String {
        if self.0.is_none() { text.to_owned() } else { url_encoded(text) }
    }

    fn maybe(&self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.text(text))
    }

    fn common_prefixes(&self, prefixes: &[String]) -> Option<Vec<CommonPrefix>> {
        let encoded = prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.text(prefix)) });
        (!prefixes.is_empty()).then(|| encoded.collect())
    }
}

/// Encodes as S3 does for `encoding-type=url`: a form, in which `/` and `*` stay.
fn url_encoded(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b'*' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => {
                encoded.push('%');
                encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
                encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}

/// Writes where the next page starts so that nobody takes it for a key.
fn token(after: &str) -> String {
    let scrambled: Vec<u8> = after.bytes().map(|byte| byte ^ 0xa5).collect();
    format!("1{}=", URL_SAFE_NO_PAD.encode(scrambled))
}

fn parse_token(token: &str) -> Result<String, Refusal> {
    let encoded = token.strip_prefix('1').and_then(|rest| rest.strip_suffix('='));
    let scrambled = encoded.and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded).ok());
    let bytes = scrambled.map(|bytes| bytes.into_iter().map(|byte| byte ^ 0xa5).collect());
    let refusal = || Refusal::invalid_argument("The continuation token provided is incorrect");
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(refusal)
}

/// Gives how many entries a page may have, out of what was asked for.
fn page_size(store: &Store, asked: i32) -> usize {
    usize::try_from(asked).unwrap_or_default().min(store.options().page_size_max)
}

fn object(encoding: &Encoding, key: &str, stored: &version::Version, owner: Option<Owner>) -> Object {
    let content = stored.object.as_ref();
    Object {
        e_tag: content.map(|object| object.etag.dto()),
        key: Some(encoding.text(key)),
        last_modified: Some(stored.last_modified.into()),
        owner,
        size: content.map(|object| size(object.payload.len())),
        storage_class: content.map(|object| ObjectStorageClass::from(object.class().to_owned())),
        ..Object::default()
    }
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).expect("an object is in memory")
}

pub(crate) async fn objects_v2(store: &Store, request: S3Request<ListObjectsV2Input>) -> Reply<ListObjectsV2Output> {
    let input = request.input;
    let encoding = Encoding::new(input.encoding_type)?;
    let asked = parse_count_max(input.max_keys, "max-keys")?;
    let continued = input.continuation_token.as_deref().map(parse_token).transpose()?;
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        after: continued.as_deref().or(input.start_after.as_deref()),
        count_max: page_size(store, asked),
        promises_more: store.options().full_page_promises_more,
    };
    let owner = || input.fetch_owner.unwrap_or_default().then(owner);
    let output = store.read(&input.bucket, |bucket| {
        let page = listing::objects(bucket, query);
        let entries = page.entries.iter();
        let contents: Vec<Object> = entries.map(|(key, version)| object(&encoding, key, version, owner())).collect();
        let count = contents.len() + page.common_prefixes.len();
        Ok(ListObjectsV2Output {
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.text(query.prefix)),
            max_keys: Some(asked),
            key_count: Some(i32::try_from(count).expect("a page is small")),
            continuation_token: input.continuation_token.clone(),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_deref().map(token),
            contents: Some(contents),
            common_prefixes: encoding.common_prefixes(&page.common_prefixes),
            delimiter: encoding.maybe(input.delimiter.as_deref()),
            encoding_type: encoding.0.clone(),
            start_after: encoding.maybe(input.start_after.as_deref()),
            request_charged: None,
        })
    })?;
    Ok(S3Response::new(output))
}

pub(crate) async fn objects(store: &Store, request: S3Request<ListObjectsInput>) -> Reply<ListObjectsOutput> {
    let input = request.input;
    let encoding = Encoding::new(input.encoding_type)?;
    let asked = parse_count_max(input.max_keys, "max-keys")?;
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        after: input.marker.as_deref().filter(|marker| !marker.is_empty()),
        count_max: page_size(store, asked),
        promises_more: store.options().full_page_promises_more,
    };
    let output = store.read(&input.bucket, |bucket| {
        let page = listing::objects(bucket, query);
        let entries = page.entries.iter();
        let contents = entries.map(|(key, version)| object(&encoding, key, version, Some(owner())));
        // Without a delimiter the next marker is the last key, and S3 does not repeat it.
        // https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html
        let next_marker = page.next.as_deref().filter(|_| !query.delimiter.is_empty());
        Ok(ListObjectsOutput {
            name: Some(input.bucket.clone()),
            prefix: Some(encoding.text(query.prefix)),
            marker: Some(encoding.text(input.marker.as_deref().unwrap_or_default())),
            max_keys: Some(asked),
            is_truncated: Some(page.next.is_some()),
            contents: Some(contents.collect()),
            common_prefixes: encoding.common_prefixes(&page.common_prefixes),
            delimiter: encoding.maybe(input.delimiter.as_deref()),
            next_marker: encoding.maybe(next_marker),
            encoding_type: encoding.0.clone(),
            request_charged: None,
        })
    })?;
    Ok(S3Response::new(output))
}

pub(crate) async fn versions(
    store: &Store,
    request: S3Request<ListObjectVersionsInput>,
) -> Reply<ListObjectVersionsOutput> {
    if !store.options().versions_api {
        return Err(Refusal::not_implemented());
    }
    let input = request.input;
    let encoding = Encoding::new(input.encoding_type.clone())?;
    let asked = parse_count_max(input.max_keys, "max-keys")?;
    let key_marker = input.key_marker.as_deref().filter(|marker| !marker.is_empty());
    let marker = input.version_id_marker.as_deref().filter(|marker| !marker.is_empty());
    if marker.is_some() && key_marker.is_none() {
        let message = "A version-id marker cannot be specified without a key marker.";
        return Err(Refusal::invalid_argument(message));
    }
    let version_id = marker.map(parse_version_id).transpose()?;
    let is_opaque = store.options().opaque_key_markers;
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        after: key_marker.map(|marker| listing::read_marker(marker, is_opaque)),
        count_max: page_size(store, asked),
        promises_more: store.options().full_page_promises_more,
    };
    let document = store.read(&input.bucket, |bucket| {
        let mut page = listing::versions(bucket, query, version_id, store.options().gone_version);
        listing::arrange(&mut page.entries, store.options().listing_kinds);
        let (next_key, next_version) = page.next.take().unzip();
        let next_key = next_key.map(|key| listing::written_marker(key, is_opaque));
        let entries = page.entries.iter().map(|entry| version_entry(&encoding, entry));
        Ok(Document::of_versions(VersionsResult {
            name: &input.bucket,
            prefix: encoding.text(query.prefix),
            key_marker: encoding.text(key_marker.unwrap_or_default()),
            version_id_marker: marker.unwrap_or_default(),
            next_key_marker: encoding.maybe(next_key.as_deref()),
            next_version_id_marker: next_version.flatten(),
            max_keys: asked,
            delimiter: encoding.maybe(input.delimiter.as_deref()),
            encoding_type: encoding.0.as_ref().map(EncodingType::as_str),
            entries: entries.collect(),
            common_prefixes: encoding.common_prefixes(&page.common_prefixes).unwrap_or_default(),
        }))
    })?;
    let mut response = S3Response::new(ListObjectVersionsOutput::default());
    response.extensions.insert(document);
    Ok(response)
}

fn version_entry(encoding: &Encoding, entry: &listing::ListedVersion<'_>) -> Entry {
    let (key, version_id) = (Some(encoding.text(entry.key)), Some(entry.version.id.text()));
    let (is_latest, last_modified) = (Some(entry.is_latest), Some(entry.version.last_modified.into()));
    let owner = Some(owner());
    let Some(content) = &entry.version.object else {
        return Entry::DeleteMarker(DeleteMarkerEntry { is_latest, key, last_modified, owner, version_id });
    };
    Entry::Version(ObjectVersion {
        e_tag: Some(content.etag.dto()),
        is_latest,
        key,
        last_modified,
        owner,
        size: Some(size(content.payload.len())),
        storage_class: Some(ObjectVersionStorageClass::from(content.class().to_owned())),
        version_id,
        ..ObjectVersion::default()
    })
}

pub(crate) async fn uploads(
    store: &Store,
    request: S3Request<ListMultipartUploadsInput>,
) -> Reply<ListMultipartUploadsOutput> {
    if !store.options().uploads_api {
        return Err(Refusal::not_implemented());
    }
    let input = request.input;
    let encoding = Encoding::new(input.encoding_type)?;
    let asked = parse_count_max(input.max_uploads, "max-uploads")?;
    let key_marker = input.key_marker.as_deref().filter(|marker| !marker.is_empty());
    // Without a key marker S3 ignores it.
    // https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
    let id_marker = input.upload_id_marker.as_deref();
    let id_marker = id_marker.filter(|marker| !marker.is_empty() && key_marker.is_some());
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        after: key_marker,
        count_max: page_size(store, asked),
        promises_more: false,
    };
    let output = store.read(&input.bucket, |bucket| {
        let page = listing::uploads(bucket, query, id_marker);
        let uploads = page.entries.iter().map(|entry| MultipartUpload {
            initiated: Some(SystemTime::into(entry.upload.started.time)),
            key: Some(encoding.text(entry.key)),
            owner: Some(owner()),
            storage_class: Some(StorageClass::from(entry.upload.headers.storage.listed_class().to_owned())),
            upload_id: Some(entry.id.to_owned()),
            ..MultipartUpload::default()
        });
        let (next_key, next_id) = page.next.clone().unzip();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            common_prefixes: encoding.common_prefixes(&page.common_prefixes),
            delimiter: encoding.maybe(input.delimiter.as_deref()),
            encoding_type: encoding.0.clone(),
            is_truncated: Some(page.next.is_some()),
            key_marker: Some(encoding.text(key_marker.unwrap_or_default())),
            max_uploads: Some(asked),
            next_key_marker: encoding.maybe(next_key.as_deref()),
            next_upload_id_marker: next_id.flatten(),
            prefix: Some(encoding.text(query.prefix)),
            request_charged: None,
            upload_id_marker: Some(id_marker.unwrap_or_default().to_owned()),
            uploads: Some(uploads.collect()),
        })
    })?;
    Ok(S3Response::new(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_forms_with_slashes() {
        assert_eq!(url_encoded("a b/c+d~e*f(1)"), "a+b/c%2Bd%7Ee*f%281%29");
        assert_eq!(url_encoded("\u{1}é"), "%01%C3%A9");
    }

    #[test]
    fn token_hides_the_key_and_is_read_back() {
        let written = token("a/é");
        assert!(!written.contains("a/"));
        assert_eq!(parse_token(&written).unwrap(), "a/é");
        assert_eq!(parse_token("a/é").unwrap_err().code, "InvalidArgument");
    }
}
