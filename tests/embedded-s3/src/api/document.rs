//! Owns the document of ListObjectVersions, in which S3 mixes versions and delete markers, while `s3s` writes all of one
//! kind before the other. Leaves what is in it to the listings.

use std::io::Write;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use s3s::Body;
use s3s::dto::{CommonPrefix, DeleteMarkerEntry, ObjectVersion};
use s3s::xml::{SerResult, Serialize, SerializeContent, Serializer};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document of ours. It travels beside the output of an operation, in place of what `s3s` makes of that.
#[derive(Clone, Debug)]
pub(crate) struct Document(Bytes);

impl Document {
    pub(crate) fn of_versions(result: VersionsResult<'_>) -> Self {
        let mut xml = Vec::new();
        let mut serializer = Serializer::new(&mut xml);
        let written = serializer.decl().and_then(|()| result.serialize(&mut serializer));
        written.expect("a vector takes all");
        Self(xml.into())
    }
}

/// Replaces the body of an answer by the document that travels with it, if one does.
pub(crate) fn put_in_place(mut answer: Response<Body>) -> Response<Body> {
    if let Some(Document(xml)) = answer.extensions_mut().remove() {
        answer.headers_mut().remove(CONTENT_LENGTH);
        *answer.body_mut() = xml.into();
    }
    answer
}

/// One element of the listing.
#[derive(Debug)]
pub(crate) enum Entry {
    Version(ObjectVersion),
    DeleteMarker(DeleteMarkerEntry),
}

/// A page of ListObjectVersions; its elements come in the order that
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html> shows.
#[derive(Debug)]
pub(crate) struct VersionsResult<'a> {
    pub(crate) name: &'a str,
    pub(crate) prefix: String,
    pub(crate) key_marker: String,
    pub(crate) version_id_marker: &'a str,
    /// Present if there is more.
    pub(crate) next_key_marker: Option<String>,
    pub(crate) next_version_id_marker: Option<String>,
    pub(crate) max_keys: i32,
    pub(crate) delimiter: Option<String>,
    pub(crate) encoding_type: Option<&'a str>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) common_prefixes: Vec<CommonPrefix>,
}

impl Serialize for VersionsResult<'_> {
    fn serialize<W: Write>(&self, to: &mut Serializer<W>) -> SerResult {
        to.content_with_ns("ListVersionsResult", NAMESPACE, self)
    }
}

impl SerializeContent for VersionsResult<'_> {
    fn serialize_content<W: Write>(&self, to: &mut Serializer<W>) -> SerResult {
        to.content("Name", self.name)?;
        to.content("Prefix", &self.prefix)?;
        to.content("KeyMarker", &self.key_marker)?;
        to.content("VersionIdMarker", self.version_id_marker)?;
        let mut maybe = |name: &str, text: Option<&str>| text.map_or(Ok(()), |text| to.content(name, text));
        maybe("NextKeyMarker", self.next_key_marker.as_deref())?;
        maybe("NextVersionIdMarker", self.next_version_id_marker.as_deref())?;
        maybe("Delimiter", self.delimiter.as_deref())?;
        maybe("EncodingType", self.encoding_type)?;
        to.content("MaxKeys", &self.max_keys)?;
        to.content("IsTruncated", &self.next_key_marker.is_some())?;
        for entry in &self.entries {
            match entry {
                Entry::Version(version) => to.content("Version", version)?,
                Entry::DeleteMarker(marker) => to.content("DeleteMarker", marker)?,
            }
        }
        to.flattened_list("CommonPrefixes", &self.common_prefixes)
    }
}
