//! Owns the documents of listings. Leaves what is in a bucket to `rule`.
//!
//! Entries are as long as AWS's, so that reading them costs what it costs there: with owner, checksum and storage class.

use crate::operation::Listing;
use crate::rule::{Moment, Version, mix, write_time};

const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const OWNER: &[u8] = b"<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID></Owner>";
const OF_OBJECT: &[u8] = b"<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>";

/// Bytes per entry, a little more than there are.
const ENTRY_BYTES: usize = 560;

/// A page of versions and delete markers.
pub(crate) fn list_object_versions(moment: &Moment, listing: &Listing) -> Vec<u8> {
    let rule = &moment.rule;
    let range = rule.with_prefix(&listing.prefix);
    let mut out = begin("ListVersionsResult", listing);
    // The key to go on with, and how many of its oldest versions are left.
    let (mut key, mut left) = match &listing.after {
        None => (range.start, None),
        Some(after) => match (rule.number(after), &listing.after_version) {
            (Some(key), Some(id)) => (key, moment.find(key, id).or(Some(0))),
            (Some(key), None) => (key + 1, None),
            (None, _) => (rule.first_from(after), None),
        },
    };
    if key < range.start {
        (key, left) = (range.start, None);
    }
    let (mut count, mut last) = (0, None);
    while key < range.end {
        let all = moment.count(key);
        let mut number = left.take().unwrap_or(all).min(all);
        let oldest = if rule.unversioned { all.saturating_sub(1) } else { 0 };
        while number > oldest && count < listing.max_keys {
            number -= 1;
            write_version(moment, moment.version(key, number), number + 1 == all, &mut out);
            (count, last) = (count + 1, Some((key, number)));
        }
        if count == listing.max_keys {
            let is_truncated = number > oldest || key + 1 < range.end;
            if let Some((key, number)) = last.filter(|_| is_truncated) {
                element(&mut out, "NextKeyMarker", |out| rule.write_key(key, out));
                element(&mut out, "NextVersionIdMarker", |out| moment.write_id(key, number, out));
            }
            return end(out, "ListVersionsResult", is_truncated);
        }
        key += 1;
    }
    end(out, "ListVersionsResult", false)
}

fn write_version(moment: &Moment, version: Version, is_latest: bool, out: &mut Vec<u8>) {
    let name = if version.is_marker { "DeleteMarker" } else { "Version" };
    element(out, name, |out| {
        element(out, "Key", |out| moment.rule.write_key(version.key, out));
        element(out, "VersionId", |out| moment.write_id(version.key, version.number, out));
        element(out, "IsLatest", |out| out.extend_from_slice(if is_latest { b"true" } else { b"false" }));
        if version.is_marker {
            element(out, "LastModified", |out| write_time(version.stored, out));
        } else {
            write_object(moment, version, out);
        }
        out.extend_from_slice(OWNER);
    });
}

/// A page of current objects. A key under a delete marker takes its place on the page and leaves it empty, as on AWS.
pub(crate) fn list_objects_v2(moment: &Moment, listing: &Listing) -> Vec<u8> {
    let rule = &moment.rule;
    let range = rule.with_prefix(&listing.prefix);
    let mut out = begin("ListBucketResult", listing);
    let from = match (&listing.token, &listing.after) {
        (Some(token), _) => token.parse().unwrap_or(range.end),
        (None, Some(after)) => rule.number(after).map_or_else(|| rule.first_from(after), |key| key + 1),
        (None, None) => range.start,
    };
    // What there is to skip does not shrink with the page.
    let (mut key, mut count, mut skipped) = (from.max(range.start), 0, 0);
    while key < range.end && count < listing.max_keys && skipped < 1000 {
        let latest = moment.count(key).checked_sub(1).map(|number| moment.version(key, number));
        match latest.filter(|version| !version.is_marker) {
            Some(version) => {
                count += 1;
                element(&mut out, "Contents", |out| {
                    element(out, "Key", |out| rule.write_key(key, out));
                    write_object(moment, version, out);
                });
            }
            None => skipped += 1,
        }
        key += 1;
    }
    element(&mut out, "KeyCount", |out| out.extend_from_slice(count.to_string().as_bytes()));
    if key < range.end {
        element(&mut out, "NextContinuationToken", |out| out.extend_from_slice(key.to_string().as_bytes()));
    }
    end(out, "ListBucketResult", key < range.end)
}

/// A page of abandoned uploads, one per key.
pub(crate) fn list_multipart_uploads(moment: &Moment, listing: &Listing) -> Vec<u8> {
    let rule = &moment.rule;
    let mut out = begin("ListMultipartUploadsResult", listing);
    let uploads = rule.uploads.min(rule.keys);
    let first = listing.after.as_ref().and_then(|after| rule.number(after)).map_or(0, |key| key + 1);
    let next = uploads.min(first + listing.max_keys as u64);
    for key in first..next {
        element(&mut out, "Upload", |out| {
            element(out, "Key", |out| rule.write_key(key, out));
            element(out, "UploadId", |out| moment.write_id(key, u64::MAX >> 44, out));
            element(out, "Initiated", |out| write_time(moment.started - mix(key) % 864_000, out));
        });
    }
    if let Some(last) = next.checked_sub(1).filter(|_| next < uploads) {
        element(&mut out, "NextKeyMarker", |out| rule.write_key(last, out));
        element(&mut out, "NextUploadIdMarker", |out| moment.write_id(last, u64::MAX >> 44, out));
    }
    end(out, "ListMultipartUploadsResult", next < uploads)
}

/// What listings say of an object besides its key.
fn write_object(moment: &Moment, version: Version, out: &mut Vec<u8>) {
    element(out, "LastModified", |out| write_time(version.stored, out));
    element(out, "ETag", |out| {
        out.extend_from_slice(b"&quot;");
        moment.write_etag(version.key, version.number, out);
        out.extend_from_slice(b"&quot;");
    });
    out.extend_from_slice(OF_OBJECT);
    element(out, "Size", |out| out.extend_from_slice(moment.rule.bytes.to_string().as_bytes()));
    element(out, "StorageClass", |out| out.extend_from_slice(b"STANDARD"));
}

fn begin(name: &str, listing: &Listing) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024 + listing.max_keys * ENTRY_BYTES);
    out.extend_from_slice(DECLARATION);
    out.extend_from_slice(format!("<{name} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">").as_bytes());
    element(&mut out, "EncodingType", |out| out.extend_from_slice(b"url"));
    element(&mut out, "Prefix", |out| {
        let encoded = percent_encoding::utf8_percent_encode(&listing.prefix, percent_encoding::NON_ALPHANUMERIC);
        out.extend_from_slice(encoded.to_string().as_bytes());
    });
    element(&mut out, "MaxKeys", |out| out.extend_from_slice(listing.max_keys.to_string().as_bytes()));
    out
}

fn end(mut out: Vec<u8>, name: &str, is_truncated: bool) -> Vec<u8> {
    element(&mut out, "IsTruncated", |out| out.extend_from_slice(if is_truncated { b"true" } else { b"false" }));
    out.extend_from_slice(format!("</{name}>").as_bytes());
    out
}

fn element(out: &mut Vec<u8>, name: &str, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
    content(out);
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    /// The text of every element of this name.
    fn texts(page: &[u8], name: &str) -> Vec<String> {
        let page = std::str::from_utf8(page).unwrap();
        let start = format!("<{name}>");
        let parts = page.split(start.as_str()).skip(1);
        parts.map(|part| part.split("</").next().unwrap().to_owned()).collect()
    }

    /// All pages of a listing of versions: key and version of each entry.
    fn versions(moment: &Moment, max_keys: usize, prefix: &str) -> Vec<(String, String)> {
        let mut listing = Listing { max_keys, prefix: prefix.to_owned(), ..Listing::default() };
        let mut found = Vec::new();
        loop {
            let page = list_object_versions(moment, &listing);
            let (keys, ids) = (texts(&page, "Key"), texts(&page, "VersionId"));
            assert!(keys.len() == ids.len() && keys.len() <= max_keys);
            found.extend(keys.into_iter().zip(ids));
            listing.after = texts(&page, "NextKeyMarker").pop();
            listing.after_version = texts(&page, "NextVersionIdMarker").pop();
            assert_eq!(texts(&page, "IsTruncated"), [listing.after.is_some().to_string()]);
            if listing.after.is_none() {
                return found;
            }
        }
    }

    #[test]
    fn pages_of_any_size_hold_every_version_once() {
        let rule = Rule::parse("keys:30,versions:3,changed:7,markers:4").unwrap();
        let mut moment = Moment::start(rule, 1_795_756_953);
        moment.generations = vec![1_795_757_953];
        let whole = versions(&moment, 1000, "");
        assert_eq!(whole.len(), 97);
        assert!(whole.is_sorted_by_key(|(key, _)| key.clone()));
        for max_keys in [1, 2, 3, 7, 97] {
            assert_eq!(versions(&moment, max_keys, ""), whole);
        }
        let of_one = versions(&moment, 2, &rule.key(5));
        assert!(of_one.len() >= 3 && of_one.iter().all(|(key, _)| *key == rule.key(5)));
        assert_eq!(versions(&moment, 2, "events/2027"), []);
    }

    #[test]
    fn a_bucket_without_versions_lists_the_latest_of_each_key() {
        let mut moment = Moment::start(Rule::parse("keys:20,changed:5,unversioned:1").unwrap(), 1_795_756_953);
        moment.generations = vec![1_795_757_953];
        let found = versions(&moment, 3, "");
        assert_eq!(found.len(), 20);
        assert!(found.iter().all(|(_, id)| id == "null"));
    }

    #[test]
    fn delete_markers_leave_pages_of_objects_empty() {
        let moment = Moment::start(Rule::parse("keys:2501,markers:2500").unwrap(), 1_795_756_953);
        let (mut listing, mut counts) = (Listing { max_keys: 1000, ..Listing::default() }, Vec::new());
        loop {
            let page = list_objects_v2(&moment, &listing);
            counts.push(texts(&page, "Key").len());
            listing.token = texts(&page, "NextContinuationToken").pop();
            if listing.token.is_none() {
                break;
            }
        }
        assert_eq!(counts, [0, 0, 1]);
    }

    #[test]
    fn uploads_come_page_by_page() {
        let moment = Moment::start(Rule::parse("keys:10,uploads:7").unwrap(), 1_795_756_953);
        let mut listing = Listing { max_keys: 3, ..Listing::default() };
        let mut count = 0;
        for expected in [3, 3, 1] {
            let page = list_multipart_uploads(&moment, &listing);
            assert_eq!(texts(&page, "UploadId").len(), expected);
            listing.after = texts(&page, "NextKeyMarker").pop();
            count += expected;
        }
        assert_eq!((count, listing.after), (7, None));
    }
}
