//! Owns the reading of S3's documents into entries. Leaves the walk over XML to `xml`, and retries to `retry`.
//!
//! Keys arrive percent-encoded (`encoding-type=url`), because XML cannot hold control characters; a space may be
//! `+`. Versions and delete markers come in one list: their order across the two kinds means nothing, since
//! stores write them in different orders; within a kind it is the order of storage, newest first. Another document, or an
//! empty one, is not an empty page: what is not listed would count as deleted.

use std::borrow::Cow;
use std::str::Utf8Error;

use percent_encoding::percent_decode_str;

use super::xml::{self, Error, Node};
use super::{Marker, Versioning};
use crate::time::Timestamp;

/// A current object in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectEntry {
    /// The key.
    pub key: String,
    /// When the object was modified, by the store's clock; the epoch where the store does not send it.
    pub last_modified: Timestamp,
    /// The ETag without quotes.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// A version or a delete marker in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionEntry {
    /// The object, as it was; a delete marker has neither ETag nor size.
    pub object: ObjectEntry,
    /// The version; `null` where the store made none.
    pub version_id: String,
    /// Whether a plain GET finds it.
    pub is_latest: bool,
    /// Whether it is a delete marker.
    pub is_delete_marker: bool,
}

/// An error document. Stores send one with refusals, and some with status 200.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorDocument {
    /// S3's code.
    pub code: String,
    /// S3's message.
    pub message: String,
    /// The request ID to quote to the store's support.
    pub request_id: String,
    /// The bucket's region, where the document names it.
    pub region: Option<String>,
    /// The address at which the bucket is, where the document names it.
    pub endpoint: Option<String>,
}

impl ErrorDocument {
    /// Reads an error document as far as it goes: one that is cut short still has the elements before the cut. `None`
    /// where the document is not an error.
    pub fn read(document: &[u8]) -> Option<Self> {
        const ROOT: &str = "Error";
        let document = whole_characters(document)?;
        if !xml::is_root(document, ROOT) {
            return None;
        }
        let mut found = Self::default();
        let _ = xml::visit(document, ROOT, |path, node| {
            let ([field], Node::Leaf(text)) = (path, node) else {
                return Ok(());
            };
            match *field {
                "Code" => found.code = text.into_owned(),
                "Message" => found.message = text.into_owned(),
                "RequestId" => found.request_id = text.into_owned(),
                "Region" => found.region = Some(text.into_owned()),
                "Endpoint" => found.endpoint = Some(text.into_owned()),
                _ => {}
            }
            Ok(())
        });
        Some(found)
    }
}

/// A page of a listing, and where the next one begins.
#[derive(Debug)]
pub(super) struct Listed<T, N> {
    pub(super) entries: Vec<T>,
    pub(super) truncated: bool,
    pub(super) next: Option<N>,
    pub(super) odd_times: OddTimes,
}

/// Times that can't be read, and count as the epoch.
#[derive(Debug, Default)]
pub(super) struct OddTimes {
    /// The text in the entry that is being read.
    pending: Option<String>,
    /// Their number.
    pub(super) count: u64,
    /// The key and the text of the first.
    pub(super) first: Option<(String, String)>,
}

impl OddTimes {
    fn read(&mut self, text: Cow<'_, str>) -> Timestamp {
        Timestamp::parse_listed(&text).unwrap_or_else(|| {
            self.pending = Some(text.into_owned());
            Timestamp::default()
        })
    }

    /// Ends an entry, whose key may have come after its time.
    fn close(&mut self, key: &str) {
        if let Some(text) = self.pending.take() {
            self.count += 1;
            self.first.get_or_insert_with(|| (key.to_owned(), text));
        }
    }
}

pub(super) fn list_objects_v2(document: &[u8]) -> Result<Listed<ObjectEntry, String>, Error> {
    let document = utf8(document)?;
    let encoded = Encoding::of(document);
    let (mut entries, mut entry) = (Vec::new(), ObjectEntry::default());
    let (mut truncated, mut next, mut odd_times) = (None, None, OddTimes::default());
    xml::visit(document, "ListBucketResult", |path, node| {
        match (path, node) {
            (["Contents"], Node::End) => {
                odd_times.close(&entry.key);
                entries.push(std::mem::take(&mut entry));
            }
            (["Contents", field], Node::Leaf(text)) => read_object(&mut entry, field, text, encoded, &mut odd_times)?,
            (["IsTruncated"], Node::Leaf(text)) => truncated = Some(read_bool(&text)?),
            (["NextContinuationToken"], Node::Leaf(text)) => {
                next = Some(text.into_owned()).filter(|token| !token.is_empty());
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(Listed {
        entries,
        // A store that omits the element reports it by the token.
        truncated: truncated.unwrap_or(next.is_some()),
        next,
        odd_times,
    })
}

pub(super) fn list_object_versions(document: &[u8]) -> Result<Listed<VersionEntry, Marker>, Error> {
    let document = utf8(document)?;
    let encoded = Encoding::of(document);
    let (mut entries, mut entry) = (Vec::new(), VersionEntry::default());
    let (mut end, mut odd_times) = (End::default(), OddTimes::default());
    xml::visit(document, "ListVersionsResult", |path, node| {
        match (path, node) {
            ([kind @ ("Version" | "DeleteMarker")], Node::End) => {
                entry.is_delete_marker = *kind == "DeleteMarker";
                if entry.version_id.is_empty() {
                    "null".clone_into(&mut entry.version_id);
                }
                odd_times.close(&entry.object.key);
                entries.push(std::mem::take(&mut entry));
            }
            (["Version" | "DeleteMarker", "VersionId"], Node::Leaf(text)) => entry.version_id = text.into_owned(),
            (["Version" | "DeleteMarker", "IsLatest"], Node::Leaf(text)) => {
                entry.is_latest = read_bool(&text)?;
            }
            (["Version" | "DeleteMarker", field], Node::Leaf(text)) => {
                read_object(&mut entry.object, field, text, encoded, &mut odd_times)?
            }
            ([field], Node::Leaf(text)) => end.read(field, text, "NextVersionIdMarker", encoded)?,
            _ => {}
        }
        Ok(())
    })?;
    let is_named = end.key.as_ref().is_some_and(|key| !key.is_empty());
    let truncated = end.truncated.unwrap_or(is_named);
    let next = end.next().filter(|_| truncated || is_named);
    Ok(Listed { entries, truncated, next, odd_times })
}

pub(super) fn bucket_versioning(document: &[u8]) -> Result<Versioning, Error> {
    let mut versioning = Versioning::Never;
    xml::visit(utf8(document)?, "VersioningConfiguration", |path, node| {
        if let (["Status"], Node::Leaf(text)) = (path, node) {
            versioning = match &*text {
                "Enabled" => Versioning::Enabled,
                "Suspended" => Versioning::Suspended,
                _ => return Err(Error::Shape("a versioning status is unknown")),
            };
        }
        Ok(())
    })?;
    Ok(versioning)
}

/// Reads the name of an upload that was begun.
pub(super) fn multipart_upload(document: &[u8]) -> Result<String, Error> {
    const ROOT: &str = "InitiateMultipartUploadResult";
    let id = field(document, ROOT, "UploadId")?.unwrap_or_default();
    if id.is_empty() { Err(Error::Shape("the upload has no name")) } else { Ok(id) }
}

/// Reads the ETag of an object that was made of parts; empty where there is none.
pub(super) fn completed_upload(document: &[u8]) -> Result<String, Error> {
    let etag = field(document, "CompleteMultipartUploadResult", "ETag")?;
    Ok(etag.as_deref().map(bare_etag).unwrap_or_default())
}

/// The text of an element that the root holds.
fn field(document: &[u8], root: &str, name: &str) -> Result<Option<String>, Error> {
    let mut found = None;
    xml::visit(utf8(document)?, root, |path, node| {
        if let ([field], Node::Leaf(text)) = (path, node)
            && *field == name
        {
            found = Some(text.into_owned());
        }
        Ok(())
    })?;
    Ok(found)
}

/// The end of a listing with markers.
#[derive(Default)]
struct End {
    truncated: Option<bool>,
    key: Option<String>,
    id: String,
}

impl End {
    fn read(&mut self, field: &str, text: Cow<'_, str>, id: &str, encoded: Encoding) -> Result<(), Error> {
        match field {
            "IsTruncated" => self.truncated = Some(read_bool(&text)?),
            "NextKeyMarker" => self.key = Some(encoded.decode(text)?),
            field if field == id => self.id = text.into_owned(),
            _ => {}
        }
        Ok(())
    }

    fn next(self) -> Option<Marker> {
        let id = self.id;
        self.key.map(|key| Marker { key, id })
    }
}

fn read_object(
    entry: &mut ObjectEntry,
    field: &str,
    text: Cow<'_, str>,
    encoded: Encoding,
    odd_times: &mut OddTimes,
) -> Result<(), Error> {
    match field {
        "Key" => entry.key = encoded.decode(text)?,
        "LastModified" => entry.last_modified = odd_times.read(text),
        "ETag" => entry.etag = bare_etag(&text),
        "Size" => entry.size = text.parse().map_err(|_| Error::Shape("a size is not a number"))?,
        _ => {}
    }
    Ok(())
}

/// Reads a boolean as [Go does](https://pkg.go.dev/strconv#ParseBool), since many stores are written in it.
fn read_bool(text: &str) -> Result<bool, Error> {
    match text.trim() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" | "" => Ok(false),
        _ => Err(Error::Shape("a value is neither true nor false")),
    }
}

/// An ETag without its quotes, and without the mark of a weak one.
pub(super) fn bare_etag(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    text.trim_matches('"').to_owned()
}

fn utf8(document: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(document).map_err(|error| not_utf8(document, error))
}

/// Whether keys are percent-encoded, as the document itself says.
#[derive(Clone, Copy)]
struct Encoding(bool);

impl Encoding {
    /// The element may come after the first key, so it is searched for beforehand. A literal `<` cannot be
    /// in a key of XML, so that a plain search finds the element and nothing else.
    fn of(document: &str) -> Self {
        Self(document.contains("<EncodingType>url</EncodingType>"))
    }

    fn decode(self, text: Cow<'_, str>) -> Result<String, Error> {
        if !self.0 || !text.contains(['%', '+']) {
            return Ok(text.into_owned());
        }
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned).map_err(|_| {
            let bytes: Vec<u8> = percent_decode_str(&spaced).collect();
            Error::Key(bytes.escape_ascii().to_string())
        })
    }
}

/// The document without a character that is cut off at its end.
fn whole_characters(document: &[u8]) -> Option<&str> {
    match std::str::from_utf8(document) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&document[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// Names the key that makes a document invalid UTF-8, if a key does.
fn not_utf8(document: &[u8], error: Utf8Error) -> Error {
    const KEY: &[u8] = b"<Key>";
    let (before, after) = document.split_at(error.valid_up_to());
    let key = || {
        // A document that breaks off within a character is only cut short.
        error.error_len()?;
        let start = before.windows(KEY.len()).rposition(|w| w == KEY)? + KEY.len();
        let end = before.len() + after.iter().position(|byte| *byte == b'<')?;
        let key = document.get(start..end).filter(|key| !key.contains(&b'<'))?;
        Some(Error::Key(key.escape_ascii().to_string()))
    };
    key().unwrap_or(Error::Shape("the document is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_objects_is_read() {
        let page = list_objects_v2(
            b"<ListBucketResult><Name>b</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
              <NextContinuationToken>a+b=</NextContinuationToken>\
              <Contents><Key>a+b%2Bc%01/%C3%A9</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>\
              <ETag>&quot;fba9&quot;</ETag><Size>434234</Size><Owner><ID>x</ID></Owner></Contents>\
              <Contents><Key>bare</Key></Contents></ListBucketResult>",
        )
        .expect("reads");
        assert_eq!(page.next.as_deref(), Some("a+b="));
        let first = ObjectEntry {
            key: "a b+c\u{1}/é".to_owned(),
            last_modified: Timestamp(1_255_369_830_000),
            etag: "fba9".to_owned(),
            size: 434_234,
        };
        let second = ObjectEntry { key: "bare".to_owned(), ..ObjectEntry::default() };
        assert_eq!(page.entries, [first, second]);
    }

    #[test]
    fn keys_are_plain_where_the_store_did_not_encode_them() {
        let page = list_objects_v2(b"<ListBucketResult><Contents><Key>a+b%20</Key></Contents></ListBucketResult>")
            .expect("reads");
        assert_eq!(page.entries[0].key, "a+b%20");
    }

    #[test]
    fn versions_and_markers_keep_their_order_and_kind() {
        let page = list_object_versions(
            b"<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
              <NextVersionIdMarker>v1</NextVersionIdMarker>\
              <DeleteMarker><Key>k</Key><VersionId>m</VersionId><IsLatest>true</IsLatest></DeleteMarker>\
              <Version><Key>k</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest><Size>3</Size></Version>\
              <Version><Key>l</Key><IsLatest>true</IsLatest></Version></ListVersionsResult>",
        )
        .expect("reads");
        let got: Vec<_> = page
            .entries
            .iter()
            .map(|e| (e.object.key.as_str(), e.version_id.as_str(), e.is_latest, e.is_delete_marker))
            .collect();
        assert_eq!(got, [("k", "m", true, true), ("k", "v1", false, false), ("l", "null", true, false)]);
        assert_eq!(page.next, Some(Marker { key: "k".to_owned(), id: "v1".to_owned() }));
    }

    #[test]
    fn versioning_is_on_suspended_or_was_never_on() {
        let read = |inner: &str| {
            let document = format!("<VersioningConfiguration xmlns=\"x\">{inner}</VersioningConfiguration>");
            bucket_versioning(document.as_bytes())
        };
        assert_eq!(read("").expect("reads"), Versioning::Never);
        let on = read("<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>");
        assert_eq!(on.expect("reads"), Versioning::Enabled);
        assert_eq!(read("<Status>Suspended</Status>").expect("reads"), Versioning::Suspended);
        assert!(read("<Status>Perhaps</Status>").is_err());
        assert!(bucket_versioning(b"<html/>").is_err());
    }

    #[test]
    fn an_error_document_is_read_as_far_as_it_goes() {
        let whole = "<?xml version=\"1.0\"?><Error><Code>PermanentRedirect</Code><Message>Nürnberg</Message>\
                     <RequestId>7</RequestId><Region>eu-central-1</Region><Endpoint>b.s3.example</Endpoint></Error>";
        let read = ErrorDocument::read(whole.as_bytes()).expect("is one");
        let expected = ErrorDocument {
            code: "PermanentRedirect".to_owned(),
            message: "Nürnberg".to_owned(),
            request_id: "7".to_owned(),
            region: Some("eu-central-1".to_owned()),
            endpoint: Some("b.s3.example".to_owned()),
        };
        assert_eq!(read, expected);
        let within_the_umlaut = whole.find('ü').expect("is there") + 1;
        let cut = ErrorDocument::read(&whole.as_bytes()[..within_the_umlaut]).expect("is one");
        assert_eq!(cut, ErrorDocument { code: expected.code, ..ErrorDocument::default() });
        assert_eq!(ErrorDocument::read(b"<ListBucketResult/>"), None);
        assert_eq!(ErrorDocument::read(b"Error"), None);
    }

    #[test]
    fn what_is_no_listing_is_no_empty_page() {
        for document in ["", " ", "<html></html>", "<ListVersionsResult></ListVersionsResult>"] {
            assert!(list_objects_v2(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn values_of_the_wrong_shape_are_errors() {
        let read = |content: &str| {
            let document = format!("<ListBucketResult><EncodingType>url</EncodingType>{content}</ListBucketResult>");
            list_objects_v2(document.as_bytes())
        };
        for content in [
            "<Contents><Size>many</Size></Contents>",
            "<Contents><Key>%FF</Key></Contents>",
            "<IsTruncated>perhaps</IsTruncated>",
        ] {
            assert!(read(content).is_err(), "{content}");
        }
    }

    #[test]
    fn booleans_are_read_as_go_reads_them() {
        let read = |text: &str| {
            let document = format!(
                "<ListVersionsResult><IsTruncated>{text}</IsTruncated><NextKeyMarker>k</NextKeyMarker>\
                 </ListVersionsResult>"
            );
            list_object_versions(document.as_bytes()).map(|page| page.truncated)
        };
        for text in ["true", "True", "TRUE", "t", "T", "1", " true "] {
            assert!(read(text).expect("reads"), "{text}");
        }
        for text in ["false", "False", "FALSE", "f", "F", "0", ""] {
            assert!(!read(text).expect("reads"), "{text}");
        }
        assert!(read("no").is_err());
        let latest = list_object_versions(
            b"<ListVersionsResult><Version><Key>k</Key><IsLatest>True</IsLatest></Version></ListVersionsResult>",
        );
        assert!(latest.expect("reads").entries[0].is_latest);
        // Without the element, a token means that there is more.
        let token =
            list_objects_v2(b"<ListBucketResult><NextContinuationToken>t</NextContinuationToken></ListBucketResult>");
        assert!(token.expect("reads").truncated);
    }

    #[test]
    fn times_that_cannot_be_read_are_the_epoch_and_counted() {
        let page = list_objects_v2(
            b"<ListBucketResult><Contents><LastModified>0001-01-01T00:00:00Z</LastModified><Key>a</Key></Contents>\
              <Contents><Key>b</Key><LastModified>2009-10-12T19:50:30+02:00</LastModified></Contents>\
              <Contents><Key>c</Key><LastModified></LastModified></Contents>\
              <Contents><Key>d</Key></Contents></ListBucketResult>",
        )
        .expect("reads");
        let times: Vec<_> = page.entries.iter().map(|e| e.last_modified.0).collect();
        assert_eq!(times, [0, 1_255_369_830_000, 0, 0]);
        assert_eq!(page.odd_times.count, 2);
        let first = ("a".to_owned(), "0001-01-01T00:00:00Z".to_owned());
        assert_eq!(page.odd_times.first, Some(first));
    }

    #[test]
    fn a_key_that_is_no_text_is_named() {
        let encoded = "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>z%FFz+a</Key></Contents>\
                       </ListBucketResult>";
        let error = list_objects_v2(encoded.as_bytes()).expect_err("no text");
        assert!(error.to_string().contains("`z\\xffz a`"), "{error}");
        let plain = b"<ListBucketResult><Contents><Key>z\xffz</Key></Contents></ListBucketResult>";
        let error = list_objects_v2(plain).expect_err("no text");
        assert!(error.to_string().contains("`z\\xffz`"), "{error}");
        // A document that is only cut short within a character does not name a key.
        let short = &b"<ListBucketResult><Contents><Key>z\xc3"[..];
        for document in [short, b"<ListBucketResult><Name>\xff</Name></ListBucketResult>"] {
            let error = list_objects_v2(document).expect_err("no text");
            assert!(matches!(error, Error::Shape(_)), "{error}");
        }
    }
}
