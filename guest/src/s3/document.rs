//! S3's answer documents, read into entries.
//!
//! Keys arrive percent-encoded (`encoding-type=url`), because XML cannot hold control characters; a space may be
//! `+`. Versions and delete markers come back in one list: their order across the two kinds means nothing,
//! since stores write them in different orders; within a kind it is the order of storage, newest first.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::xml::{self, Error};
use super::{Marker, Versioning};
use crate::time::Timestamp;

/// A current object in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectEntry {
    /// The key.
    pub key: String,
    /// When the store says that it was modified; the epoch where the store does not say.
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
    /// Whether it is what a plain GET finds.
    pub is_latest: bool,
    /// Whether it marks a delete.
    pub is_delete_marker: bool,
}

/// A multipart upload in progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadEntry {
    /// The key that it will have.
    pub key: String,
    /// Its name.
    pub upload_id: String,
    /// When it was started.
    pub initiated: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) entries: Vec<ObjectEntry>,
    pub(super) truncated: bool,
    pub(super) next_token: Option<String>,
}

#[derive(Debug)]
pub(super) struct Marked<T> {
    pub(super) entries: Vec<T>,
    pub(super) truncated: bool,
    pub(super) next: Option<Marker>,
}

pub(super) fn list_objects_v2(document: &[u8]) -> Result<Objects, Error> {
    let encoded = Encoding::of(document, "ListBucketResult")?;
    let (mut page, mut entry) = (Objects::default(), ObjectEntry::default());
    xml::leaves(document, |path, text| {
        match path {
            ["ListBucketResult", "Contents", ""] => page.entries.push(std::mem::take(&mut entry)),
            ["ListBucketResult", "Contents", field] => {
                read_object(&mut entry, field, text, encoded)?
            }
            ["ListBucketResult", "IsTruncated"] => page.truncated = text == "true",
            ["ListBucketResult", "NextContinuationToken"] => {
                page.next_token = Some(text.into_owned())
            }
            _ => {}
        }
        Ok(())
    })?;
    if !page.truncated {
        page.next_token = None;
    }
    Ok(page)
}

pub(super) fn list_object_versions(document: &[u8]) -> Result<Marked<VersionEntry>, Error> {
    const ROOT: &str = "ListVersionsResult";
    let encoded = Encoding::of(document, ROOT)?;
    let (mut entries, mut entry) = (Vec::new(), VersionEntry::default());
    let mut end = End::default();
    xml::leaves(document, |path, text| {
        match path {
            [ROOT, kind @ ("Version" | "DeleteMarker"), ""] => {
                entry.is_delete_marker = *kind == "DeleteMarker";
                if entry.version_id.is_empty() {
                    "null".clone_into(&mut entry.version_id);
                }
                entries.push(std::mem::take(&mut entry));
            }
            [ROOT, "Version" | "DeleteMarker", "VersionId"] => entry.version_id = text.into_owned(),
            [ROOT, "Version" | "DeleteMarker", "IsLatest"] => entry.is_latest = text == "true",
            [ROOT, "Version" | "DeleteMarker", field] => {
                read_object(&mut entry.object, field, text, encoded)?
            }
            [ROOT, field] => end.read(field, text, "NextVersionIdMarker", encoded)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(end.page(entries))
}

pub(super) fn list_multipart_uploads(document: &[u8]) -> Result<Marked<UploadEntry>, Error> {
    const ROOT: &str = "ListMultipartUploadsResult";
    let encoded = Encoding::of(document, ROOT)?;
    let (mut entries, mut entry) = (Vec::new(), UploadEntry::default());
    let mut end = End::default();
    xml::leaves(document, |path, text| {
        match path {
            [ROOT, "Upload", ""] => entries.push(std::mem::take(&mut entry)),
            [ROOT, "Upload", "Key"] => entry.key = encoded.decode(text)?,
            [ROOT, "Upload", "UploadId"] => entry.upload_id = text.into_owned(),
            [ROOT, "Upload", "Initiated"] => entry.initiated = read_time(&text)?,
            [ROOT, field] => end.read(field, text, "NextUploadIdMarker", encoded)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(end.page(entries))
}

pub(super) fn bucket_versioning(document: &[u8]) -> Result<Versioning, Error> {
    const ROOT: &str = "VersioningConfiguration";
    expect_root(document, ROOT)?;
    let mut versioning = Versioning::Never;
    xml::leaves(document, |path, text| {
        if path == [ROOT, "Status"] {
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

pub(super) fn create_multipart_upload(document: &[u8]) -> Result<String, Error> {
    const ROOT: &str = "InitiateMultipartUploadResult";
    expect_root(document, ROOT)?;
    let mut id = String::new();
    xml::leaves(document, |path, text| {
        if path == [ROOT, "UploadId"] {
            id = text.into_owned();
        }
        Ok(())
    })?;
    if id.is_empty() {
        return Err(Error::Shape("an upload has no id"));
    }
    Ok(id)
}

/// How a marked listing ends.
#[derive(Default)]
struct End {
    truncated: bool,
    key: Option<String>,
    id: String,
}

impl End {
    fn read(
        &mut self,
        field: &str,
        text: Cow<'_, str>,
        id: &str,
        encoded: Encoding,
    ) -> Result<(), Error> {
        match field {
            "IsTruncated" => self.truncated = text == "true",
            "NextKeyMarker" => self.key = Some(encoded.decode(text)?),
            field if field == id => self.id = text.into_owned(),
            _ => {}
        }
        Ok(())
    }

    fn page<T>(self, entries: Vec<T>) -> Marked<T> {
        let id = self.id;
        let next = self
            .key
            .filter(|_| self.truncated)
            .map(|key| Marker { key, id });
        Marked {
            entries,
            truncated: self.truncated,
            next,
        }
    }
}

fn read_object(
    entry: &mut ObjectEntry,
    field: &str,
    text: Cow<'_, str>,
    encoded: Encoding,
) -> Result<(), Error> {
    match field {
        "Key" => entry.key = encoded.decode(text)?,
        "LastModified" => entry.last_modified = read_time(&text)?,
        "ETag" => entry.etag = bare_etag(&text),
        "Size" => {
            entry.size = text
                .parse()
                .map_err(|_| Error::Shape("a size is not a number"))?
        }
        _ => {}
    }
    Ok(())
}

fn read_time(text: &str) -> Result<Timestamp, Error> {
    Timestamp::parse_rfc3339(text).ok_or(Error::Shape("a time is not in RFC 3339"))
}

/// An ETag without its quotes.
pub(super) fn bare_etag(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

fn expect_root(document: &[u8], root: &str) -> Result<(), Error> {
    if xml::is_root(document, root) {
        Ok(())
    } else {
        Err(Error::Shape(
            "the document is not the one that was asked for",
        ))
    }
}

/// Whether keys are percent-encoded, as the document itself says.
#[derive(Clone, Copy)]
struct Encoding(bool);

impl Encoding {
    /// The element may stand behind the first key, so it is looked for beforehand. A literal `<` cannot stand
    /// in a key of XML, hence a plain search finds the element and nothing else.
    ///
    /// A document of another name, or none, is no empty page: what is not listed would be taken for gone.
    fn of(document: &[u8], root: &str) -> Result<Self, Error> {
        expect_root(document, root)?;
        let text =
            std::str::from_utf8(document).map_err(|_| Error::Shape("the document is not UTF-8"))?;
        Ok(Self(text.contains("<EncodingType>url</EncodingType>")))
    }

    fn decode(self, text: Cow<'_, str>) -> Result<String, Error> {
        if !self.0 || !text.contains(['%', '+']) {
            return Ok(text.into_owned());
        }
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8();
        decoded
            .map(Cow::into_owned)
            .map_err(|_| Error::Shape("a key is not UTF-8"))
    }
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
        assert_eq!(page.next_token.as_deref(), Some("a+b="));
        let first = ObjectEntry {
            key: "a b+c\u{1}/é".to_owned(),
            last_modified: Timestamp(1_255_369_830_000),
            etag: "fba9".to_owned(),
            size: 434_234,
        };
        let second = ObjectEntry {
            key: "bare".to_owned(),
            ..ObjectEntry::default()
        };
        assert_eq!(page.entries, [first, second]);
    }

    #[test]
    fn keys_are_plain_where_the_store_did_not_encode_them() {
        let page = list_objects_v2(
            b"<ListBucketResult><Contents><Key>a+b%20</Key></Contents></ListBucketResult>",
        )
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
            .map(|e| {
                (
                    e.object.key.as_str(),
                    e.version_id.as_str(),
                    e.is_latest,
                    e.is_delete_marker,
                )
            })
            .collect();
        assert_eq!(
            got,
            [
                ("k", "m", true, true),
                ("k", "v1", false, false),
                ("l", "null", true, false)
            ]
        );
        assert_eq!(
            page.next,
            Some(Marker {
                key: "k".to_owned(),
                id: "v1".to_owned()
            })
        );
    }

    #[test]
    fn uploads_are_read() {
        let page = list_multipart_uploads(
            b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated><NextKeyMarker>x</NextKeyMarker>\
              <Upload><Key>big</Key><UploadId>u</UploadId><Initiated>2009-10-12T17:50:30.000Z</Initiated>\
              <Initiator><ID>i</ID></Initiator></Upload></ListMultipartUploadsResult>",
        )
        .expect("reads");
        assert_eq!(page.entries.len(), 1);
        assert_eq!(page.entries[0].initiated, Timestamp(1_255_369_830_000));
        assert_eq!(page.next, None);
    }

    #[test]
    fn versioning_is_on_suspended_or_was_never_on() {
        let read = |inner: &str| {
            let document =
                format!("<VersioningConfiguration xmlns=\"x\">{inner}</VersioningConfiguration>");
            bucket_versioning(document.as_bytes())
        };
        assert_eq!(read("").expect("reads"), Versioning::Never);
        let on = read("<Status>Enabled</Status><MfaDelete>Disabled</MfaDelete>");
        assert_eq!(on.expect("reads"), Versioning::Enabled);
        assert_eq!(
            read("<Status>Suspended</Status>").expect("reads"),
            Versioning::Suspended
        );
        assert!(read("<Status>Perhaps</Status>").is_err());
        assert!(bucket_versioning(b"<html/>").is_err());
    }

    #[test]
    fn an_upload_has_an_id() {
        let read = |inner: &str| {
            let root = "InitiateMultipartUploadResult";
            create_multipart_upload(format!("<{root}>{inner}</{root}>").as_bytes())
        };
        assert_eq!(
            read("<Key>k</Key><UploadId>u</UploadId>").expect("reads"),
            "u"
        );
        assert!(read("<Key>k</Key>").is_err());
        assert!(create_multipart_upload(b"").is_err());
    }

    #[test]
    fn what_is_no_listing_is_no_empty_page() {
        for document in [
            "",
            " ",
            "<html></html>",
            "<ListVersionsResult></ListVersionsResult>",
        ] {
            assert!(list_objects_v2(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn values_of_the_wrong_shape_are_errors() {
        for field in [
            "<Size>many</Size>",
            "<LastModified>now</LastModified>",
            "<Key>%FF</Key>",
        ] {
            let document = format!(
                "<ListBucketResult><EncodingType>url</EncodingType><Contents>{field}</Contents></ListBucketResult>"
            );
            assert!(list_objects_v2(document.as_bytes()).is_err(), "{field}");
        }
    }
}
