//! Owns the answers to S3's operations. Leaves documents to `page` and connections to `server`.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::operation::{Operation, Wanted};
use crate::page;
use crate::rule::{Moment, Version};

/// A response before it is written.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers in lower case, without length and date.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// The length to announce, where it is not the body's: for HEAD.
    pub length: Option<u64>,
}

impl Answer {
    pub(crate) fn of(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), length: None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn document(body: Vec<u8>) -> Self {
        Self::of(200, body).header("content-type", "application/xml")
    }

    /// A refusal with S3's document.
    pub(crate) fn refusal(status: u16, code: &str) -> Self {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        );
        Self::of(status, text.into_bytes()).header("content-type", "application/xml")
    }
}

/// The ETag of what is stored: nothing is kept.
const STORED_ETAG: &str = "\"00000000000000000000000000000000\"";

/// The answer to an operation on a bucket as it is at this moment. `body` is the body of every object.
pub(crate) fn answer(operation: &Operation, moment: &Moment, body: &Bytes) -> Answer {
    match operation {
        Operation::ListObjectVersions(_) if moment.rule.current_only => Answer::refusal(501, "NotImplemented"),
        Operation::ListObjectVersions(listing) => Answer::document(page::list_object_versions(moment, listing)),
        Operation::ListObjectsV2(listing) => Answer::document(page::list_objects_v2(moment, listing)),
        Operation::ListMultipartUploads(listing) => Answer::document(page::list_multipart_uploads(moment, listing)),
        Operation::GetObject(wanted) => object(moment, wanted, body),
        Operation::HeadObject(wanted) => {
            let found = object(moment, wanted, body);
            Answer { length: Some(found.body.len() as u64), body: Bytes::new(), ..found }
        }
        Operation::GetBucketVersioning => {
            let status = if moment.rule.unversioned { "" } else { "<Status>Enabled</Status>" };
            Answer::document(format!("<VersioningConfiguration>{status}</VersioningConfiguration>").into_bytes())
        }
        Operation::HeadBucket => Answer::of(200, Vec::new()),
        Operation::PutObject | Operation::UploadPart => {
            Answer::of(200, Vec::new()).header("etag", STORED_ETAG).header("x-amz-version-id", "stored")
        }
        Operation::CreateMultipartUpload => Answer::document(
            b"<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>".to_vec(),
        ),
        Operation::CompleteMultipartUpload => Answer::document(
            format!("<CompleteMultipartUploadResult><ETag>{STORED_ETAG}</ETag></CompleteMultipartUploadResult>").into(),
        )
        .header("x-amz-version-id", "stored"),
        Operation::DeleteObject | Operation::AbortMultipartUpload => Answer::of(204, Vec::new()),
        Operation::Unknown => Answer::refusal(501, "NotImplemented"),
    }
}

fn object(moment: &Moment, wanted: &Wanted, body: &Bytes) -> Answer {
    let Some(key) = moment.rule.number(&wanted.key) else {
        return Answer::refusal(404, "NoSuchKey");
    };
    let number = match &wanted.version_id {
        Some(id) => moment.find(key, id),
        None => moment.count(key).checked_sub(1),
    };
    let Some(version) = number.map(|number| moment.version(key, number)) else {
        return Answer::refusal(404, if wanted.version_id.is_some() { "NoSuchVersion" } else { "NoSuchKey" });
    };
    let id = text(|out| moment.write_id(key, version.number, out));
    if version.is_marker {
        let (status, code) = if wanted.version_id.is_some() { (405, "MethodNotAllowed") } else { (404, "NoSuchKey") };
        return Answer::refusal(status, code).header("x-amz-delete-marker", "true").header("x-amz-version-id", id);
    }
    let etag = text(|out| moment.write_etag(key, version.number, out));
    if wanted.if_match.as_ref().is_some_and(|wanted| *wanted != etag) {
        return Answer::refusal(412, "PreconditionFailed");
    }
    let answer = whole(moment, version, &id, &etag, body);
    match wanted.range {
        None => answer,
        Some(range) => part(answer, range),
    }
}

/// The bytes of an object that are wanted.
fn part(answer: Answer, (first, last): (u64, u64)) -> Answer {
    let size = answer.body.len() as u64;
    if first >= size || last < first {
        return Answer::refusal(416, "InvalidRange");
    }
    let end = last.saturating_add(1).min(size);
    let body = answer.body.slice(first as usize..end as usize);
    let range = format!("bytes {first}-{}/{size}", end - 1);
    Answer { status: 206, body, ..answer }.header("content-range", range)
}

fn whole(moment: &Moment, version: Version, id: &str, etag: &str, body: &Bytes) -> Answer {
    let modified = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(version.stored));
    let answer = Answer { status: 200, headers: Vec::with_capacity(6), body: body.clone(), length: None }
        .header("etag", format!("\"{etag}\""))
        .header("last-modified", modified)
        .header("content-type", "binary/octet-stream")
        .header("accept-ranges", "bytes");
    if moment.rule.unversioned { answer } else { answer.header("x-amz-version-id", id) }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(32);
    write(&mut out);
    String::from_utf8(out).expect("IDs and ETags are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    #[test]
    fn an_object_is_got_as_it_is_listed() {
        let mut moment = Moment::start(Rule::parse("keys:10,changed:10").unwrap(), 1_795_756_953);
        moment.generations = vec![1_795_757_953];
        let body = Bytes::from_static(b"xyz");
        let id = |number| text(|out| moment.write_id(3, number, out));
        let mut wanted = Wanted { key: moment.rule.key(3), version_id: None, if_match: None, range: None };
        let header = |answer: &Answer, name: &str| {
            answer.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        let latest = object(&moment, &wanted, &body);
        assert_eq!((latest.status, &latest.body), (200, &body));
        assert_eq!(header(&latest, "x-amz-version-id"), Some(id(1)));
        wanted.version_id = Some(id(0));
        let first = object(&moment, &wanted, &body);
        assert_eq!(header(&first, "x-amz-version-id"), Some(id(0)));
        assert_ne!(header(&first, "etag"), header(&latest, "etag"));
        wanted.if_match = header(&latest, "etag").map(|etag| etag.trim_matches('"').to_owned());
        assert_eq!(object(&moment, &wanted, &body).status, 412);
        (wanted.if_match, wanted.range) = (None, Some((1, 9)));
        let part = object(&moment, &wanted, &body);
        assert_eq!((part.status, &part.body[..]), (206, &b"yz"[..]));
        assert_eq!(header(&part, "content-range").as_deref(), Some("bytes 1-2/3"));
        wanted.range = Some((3, 9));
        assert_eq!(object(&moment, &wanted, &body).status, 416);
        wanted = Wanted { key: "other".to_owned(), ..Wanted::default() };
        assert_eq!(object(&moment, &wanted, &body).status, 404);
    }
}
