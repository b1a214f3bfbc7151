//! Owns what an object of `format: raw` is called and what is said of it: its key, headers and user metadata, from those of a
//! record. Leaves its bytes to `objects`.
//!
//! What a source of this connector says of an object becomes that object's again. What can't be said in a request is an error:
//! an object that lacks a part of its metadata is another object.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::limits;
use crate::record::Metadata;
use crate::s3::{NewObject, encode_metadata, is_plain_value};

/// Headers that an object keeps, and their names in records. Not the storage class, which costs money, and not the redirect
/// of a website.
const HEADERS: [(&str, &str); 6] = [
    ("s3.header.contentType", "content-type"),
    ("s3.header.contentEncoding", "content-encoding"),
    ("s3.header.contentLanguage", "content-language"),
    ("s3.header.contentDisposition", "content-disposition"),
    ("s3.header.cacheControl", "cache-control"),
    ("s3.header.expires", "expires"),
];

/// Names that are not user metadata, but this connector's, an engine's or OpenCDC's own.
const RESERVED: [&str; 3] = ["s3.", "opencdc.", "conduit."];

/// What user metadata is called whose name is one of those.
const ESCAPED: &str = "s3.metadata.";

/// The key of an object, from the prefix and a record's key.
///
/// # Errors
///
/// `invalid` where it can't be the key of an object.
pub(super) fn object_key(prefix: &str, key: &[u8]) -> Result<String> {
    let refuse = |why: &str| Err(Error::invalid(format!("the record's `key` {why}")));
    let Ok(key) = std::str::from_utf8(key) else {
        return refuse("is not UTF-8, as the keys of objects are");
    };
    if key.is_empty() {
        return refuse("is empty, and so names no object");
    }
    // Clients and proxies resolve them, and reach another key.
    if format!("{prefix}{key}").split('/').any(|segment| matches!(segment, "." | "..")) {
        return refuse("has `.` or `..` between slashes, which clients of S3 read as another key");
    }
    let bytes = prefix.len() + key.len();
    if bytes > limits::KEY_BYTES_MAX {
        let max = limits::KEY_BYTES_MAX;
        return refuse(&format!("and the text before it have {bytes} bytes, but a key has at most {max}"));
    }
    Ok(format!("{prefix}{key}"))
}

/// The object that a record describes. `content_type` is that of a record that names none.
///
/// # Errors
///
/// `invalid` where its metadata can't be an object's.
pub(super) fn describe(key: String, metadata: &Metadata, content_type: Option<&str>) -> Result<NewObject> {
    if metadata.get("opencdc.file.chunked").is_some_and(|value| value == "true") {
        return Err(Error::invalid(
            "the record is a chunk of an object, and with `format: raw` each record is a whole one: leave `chunkBytes` of \
             the source unset",
        ));
    }
    let mut headers = Vec::new();
    for (name, header) in HEADERS {
        let value = match (metadata.get(name), header) {
            (Some(value), "content-encoding") => without_chunks(value),
            (Some(value), _) => value.clone(),
            (None, "content-type") => content_type.unwrap_or_default().to_owned(),
            (None, _) => String::new(),
        };
        if !is_plain_value(&value) {
            return Err(Error::invalid(format!("the record's metadata `{name}` can't be sent as a header")));
        }
        if !value.is_empty() {
            headers.push((header, value));
        }
    }
    Ok(NewObject { key, headers, metadata: user_metadata(metadata)? })
}

/// How bytes were sent to the store is not how they are encoded; some stores keep the word.
fn without_chunks(encoding: &str) -> String {
    let kept = encoding.split(',').map(str::trim).filter(|one| !one.eq_ignore_ascii_case("aws-chunked"));
    kept.collect::<Vec<_>>().join(",")
}

fn user_metadata(metadata: &Metadata) -> Result<Vec<(String, String)>> {
    let mut found = BTreeMap::new();
    let mut bytes = 0;
    for (full, value) in metadata {
        let name = match full.strip_prefix(ESCAPED) {
            Some(name) => name,
            None if RESERVED.iter().any(|reserved| full.starts_with(reserved)) => continue,
            None => full,
        };
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            let message = format!("the record's metadata `{full}` can't be user metadata: its name is no header's");
            return Err(Error::invalid(message));
        }
        // Stores know no case of them.
        let (name, value) = (name.to_ascii_lowercase(), encode_metadata(value));
        bytes += name.len() + value.len();
        if found.insert(name, value).is_some() {
            return Err(Error::invalid(format!("the record has the metadata `{full}` twice, in upper and lower case")));
        }
    }
    let (bytes_max, fields_max) = (limits::USER_METADATA_BYTES_MAX, limits::USER_METADATA_FIELDS_MAX);
    if bytes > bytes_max || found.len() > fields_max {
        return Err(Error::invalid(format!(
            "the record has {bytes} bytes of user metadata in {} fields, but an object has at most {bytes_max}, in \
             {fields_max}",
            found.len()
        )));
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn described(pairs: &[(&str, &str)]) -> Result<NewObject> {
        describe("k".to_owned(), &metadata(pairs), None)
    }

    #[test]
    fn keys_are_the_prefix_and_the_records_own() {
        assert_eq!(object_key("a/", b"b/\xc3\xa9 +.txt").expect("a key"), "a/b/é +.txt");
        assert_eq!(object_key("", b"/..a//.b/").expect("a key"), "/..a//.b/");
        for (prefix, key, why) in [
            ("a/", &b"\xff"[..], "UTF-8"),
            ("a/", b"", "empty"),
            ("", b".", "`..`"),
            ("", b"a/../b", "`..`"),
            ("a/", b"./b", "`..`"),
            ("a/.", b"./b", "`..`"),
            ("ab", &[b'x'; 1023], "1025 bytes"),
        ] {
            let error = object_key(prefix, key).expect_err(why);
            assert!(error.message.contains(why), "{error}");
        }
        object_key("a", &[b'x'; 1023]).expect("as long as a key may be");
    }

    #[test]
    fn an_object_is_described_as_its_record_is() {
        let object = described(&[
            ("opencdc.readAt", "1"),
            ("conduit.source.plugin.name", "s3"),
            ("s3.etag", "e"),
            ("s3.header.contentType", "text/plain; charset=utf-8"),
            ("s3.header.contentEncoding", "aws-chunked, gzip"),
            ("s3.header.storageClass", "GLACIER"),
            ("s3.metadata.s3.own", "1"),
            ("author", "Zoë  "),
            ("empty", ""),
            ("Plain", "a b"),
        ])
        .expect("an object");
        let headers = [("content-type", "text/plain; charset=utf-8"), ("content-encoding", "gzip")];
        assert_eq!(object.headers, headers.map(|(name, value)| (name, value.to_owned())));
        let expected = [("author", "=?UTF-8?B?Wm/DqyAg?="), ("empty", ""), ("plain", "a b"), ("s3.own", "1")];
        assert_eq!(object.metadata, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_type_is_named_only_where_it_is_known() {
        let none = describe("k".to_owned(), &Metadata::new(), None).expect("an object");
        assert!(none.headers.is_empty());
        let json = describe("k".to_owned(), &Metadata::new(), Some("application/json")).expect("an object");
        assert_eq!(json.headers, [("content-type", "application/json".to_owned())]);
        let typed = metadata(&[("s3.header.contentType", "a/b")]);
        let typed = describe("k".to_owned(), &typed, Some("application/json")).expect("an object");
        assert_eq!(typed.headers, [("content-type", "a/b".to_owned())]);
    }

    #[test]
    fn what_no_object_can_have_is_refused() {
        let long = "x".repeat(2048);
        let fields: Vec<String> = (0..97).map(|n| format!("n{n}")).collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|name| (name.as_str(), "")).collect();
        for (pairs, why) in [
            (&[("opencdc.file.chunked", "true")][..], "chunk"),
            (&[("s3.header.contentType", "é")], "contentType"),
            (&[("a b", "1")], "no header's"),
            (&[("", "1")], "no header's"),
            (&[("a", "1"), ("A", "2")], "twice"),
            (&[("a", &*long)], "2049 bytes"),
            (&fields, "97 fields"),
        ] {
            let error = described(pairs).expect_err(why);
            assert!(error.message.contains(why), "{error}");
        }
    }
}
