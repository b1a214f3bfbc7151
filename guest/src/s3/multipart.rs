//! Owns the operations on multipart uploads. Leaves which parts an object has, how many are on their way, and what becomes
//! of an upload that is not completed to the caller.
//!
//! A part may be sent as often as needed: the last one of a number counts. Nothing of an upload is in the bucket before it
//! is completed, and an upload that is neither completed nor aborted costs storage for as long as it exists.

use super::document::{self, ErrorDocument};
use super::{Client, Error, Result, Stored, read_document};
use crate::payload::Payload;
use crate::ports::{Body, Method, Ports, Request, Response};

/// The operation that puts parts together.
const COMPLETE: &str = "CompleteMultipartUpload";

/// The operation that stores a part.
const UPLOAD_PART: &str = "UploadPart";

/// The checksum that the host gives parts. A store that was told of it when the upload began wants it again at the end.
const CHECKSUM: &str = "x-amz-checksum-crc32c";

/// An object that will be written in parts.
#[derive(Clone, Copy, Debug)]
pub struct NewUpload<'a> {
    /// The key.
    pub key: &'a str,
    /// `Content-Type`.
    pub content_type: &'a str,
    /// User metadata by name.
    pub metadata: &'a [(&'a str, &'a str)],
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    /// The key of the object.
    pub key: String,
    /// What the store calls the upload.
    pub upload_id: String,
}

/// A part that the store has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// Its number, from 1.
    pub number: u32,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its CRC32C in base64, where the store said it.
    pub crc32c: Option<String>,
}

impl<P: Ports> Client<P> {
    /// [CreateMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html): begins
    /// an upload. One whose answer was lost stays there without parts, which costs nothing.
    pub async fn create_multipart_upload(&self, object: &NewUpload<'_>) -> Result<Multipart> {
        let mut builder = self
            .request(Method::Post, Some(object.key))
            .query("uploads", "")
            .header("content-type", object.content_type.to_owned());
        for (name, value) in object.metadata {
            builder = builder.extra_header(format!("x-amz-meta-{name}"), (*value).to_owned());
        }
        self.begin(object.key, &self.to_be_stored(builder).build()).await
    }

    /// Begins an upload by a request that describes its object.
    pub(super) async fn begin(&self, key: &str, request: &Request) -> Result<Multipart> {
        let (_, upload_id) = self.document("CreateMultipartUpload", request, document::multipart_upload).await?;
        Ok(Multipart { key: key.to_owned(), upload_id })
    }

    /// [UploadPart](https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html): stores a part, from 5 MiB to
    /// 5 GiB; the last one may be shorter.
    pub async fn upload_part(&self, upload: &Multipart, number: u32, body: Payload) -> Result<StoredPart> {
        let request = self.part_request(upload, number, body);
        self.retrying(UPLOAD_PART, async || {
            let response = self.exchange(UPLOAD_PART, &request).await?;
            self.read_part(number, response).await
        })
        .await
    }

    /// The request that stores a part.
    pub fn part_request(&self, upload: &Multipart, number: u32, body: Payload) -> Request {
        self.request(Method::Put, Some(&upload.key))
            .query("partNumber", &number.to_string())
            .query("uploadId", &upload.upload_id)
            .body(body)
            .build()
    }

    /// Reads the answer to [`part_request`](Self::part_request).
    ///
    /// # Errors
    ///
    /// What the store refused it for.
    pub async fn read_part<B: Body>(&self, number: u32, mut response: Response<B>) -> Result<StoredPart> {
        let body = read_document(UPLOAD_PART, &mut response.body).await?;
        if !(200..300).contains(&response.status) {
            return Err(Error::of_response(UPLOAD_PART, &response, &body));
        }
        if let Some(found) = ErrorDocument::read(&body) {
            return Err(Error::of_document(UPLOAD_PART, response.status, found));
        }
        let etag = response.header("etag").map(document::bare_etag).unwrap_or_default();
        Ok(StoredPart { number, etag, crc32c: response.header(CHECKSUM).map(str::to_owned) })
    }

    /// [CompleteMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html): makes
    /// an object of the parts, which are in the order of their numbers.
    ///
    /// Where an answer was lost, the next attempt may find no such upload, or find that the condition no longer holds:
    /// whether the object is there is the caller's to find out.
    pub async fn complete_multipart_upload(
        &self,
        upload: &Multipart,
        parts: &[StoredPart],
        if_none_match: bool,
    ) -> Result<Stored> {
        let mut builder = self
            .request(Method::Post, Some(&upload.key))
            .query("uploadId", &upload.upload_id)
            .header("content-type", "application/xml".to_owned())
            .body(bytes::Bytes::from(list_of(parts)).into());
        if if_none_match {
            builder = builder.header("if-none-match", "*".to_owned());
        }
        let request = builder.build();
        self.retrying(COMPLETE, async || {
            let mut response = self.exchange(COMPLETE, &request).await?;
            // The status comes before the parts are together, and an error then comes in the document.
            let body = read_document(COMPLETE, &mut response.body).await?;
            if let Some(found) = ErrorDocument::read(&body) {
                return Err(Error::of_document(COMPLETE, response.status, found));
            }
            let etag = document::completed_upload(&body).map_err(|error| Error::malformed(COMPLETE, error))?;
            Ok(Stored { etag, version_id: response.header("x-amz-version-id").map(str::to_owned) })
        })
        .await
    }

    /// [AbortMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html): drops the
    /// upload and its parts. One that is not there is no error.
    pub async fn abort_multipart_upload(&self, upload: &Multipart) -> Result<()> {
        let request = self.request(Method::Delete, Some(&upload.key)).query("uploadId", &upload.upload_id).build();
        match self.answer("AbortMultipartUpload", &request).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_no_such_upload() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The document that names parts. ETags and checksums come from the store, and are what it likes.
fn list_of(parts: &[StoredPart]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for part in parts {
        text.push_str("<Part>");
        if let Some(sum) = &part.crc32c {
            let _ = write!(text, "<ChecksumCRC32C>{}</ChecksumCRC32C>", escape(sum));
        }
        let _ = write!(text, "<ETag>\"{}\"</ETag><PartNumber>{}</PartNumber></Part>", escape(&part.etag), part.number);
    }
    text.push_str("</CompleteMultipartUpload>");
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::BucketConfig;
    use crate::testing::{Reply, TestPorts};

    fn client(ports: &TestPorts) -> Client<TestPorts> {
        let settings =
            [("aws.bucket", "b1x"), ("aws.region", "us-east-1"), ("aws.endpoint", "http://store:9000"), ("prefix", "")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Client::new(ports.clone(), BucketConfig::parse(&settings).expect("good settings"))
    }

    fn upload() -> Multipart {
        Multipart { key: "a b".to_owned(), upload_id: "u/1+".to_owned() }
    }

    fn part(number: u32, crc32c: Option<&str>) -> StoredPart {
        StoredPart { number, etag: format!("e<{number}"), crc32c: crc32c.map(str::to_owned) }
    }

    /// The answers of a store to a call, one after the other, and the requests that it got.
    fn with<T>(
        replies: Vec<Reply>,
        call: impl AsyncFnOnce(Client<TestPorts>) -> Result<T>,
    ) -> (Vec<Request>, Result<T>) {
        let (ports, mut replies) = (TestPorts::new(1), replies.into_iter());
        ports.serve(move |_| replies.next().expect("no more requests"));
        let result = ports.block_on(call(client(&ports)));
        (ports.requests(), result)
    }

    #[test]
    fn an_upload_is_begun_with_what_the_object_will_be() {
        let document =
            b"<InitiateMultipartUploadResult><Key>x</Key><UploadId>u&amp;1</UploadId></InitiateMultipartUploadResult>";
        let (requests, begun) = with(vec![Reply::status(200).body(&[document])], async |client| {
            let object = NewUpload { key: "k", content_type: "a/b", metadata: &[("n", "v")] };
            client.create_multipart_upload(&object).await
        });
        assert_eq!(begun.expect("begins").upload_id, "u&1");
        assert_eq!(requests[0].path_with_query, "/b1x/k?uploads=");
        assert_eq!(requests[0].headers, [("content-type", "a/b".to_owned())]);
        assert_eq!(requests[0].extra_headers, [("x-amz-meta-n".to_owned(), "v".to_owned())]);
        let nameless = b"<InitiateMultipartUploadResult></InitiateMultipartUploadResult>";
        let replies = std::iter::repeat_with(|| Reply::status(200).body(&[nameless]).after(Duration::from_secs(20)));
        let (_, begun) = with(replies.take(20).collect(), async |client| {
            client.create_multipart_upload(&NewUpload { key: "k", content_type: "a/b", metadata: &[] }).await
        });
        begun.expect_err("an upload without a name is none");
    }

    #[test]
    fn a_part_is_sent_again_until_it_is_there() {
        let stored = Reply::status(200).header("etag", "\"e1\"").header(CHECKSUM, "AAAAAA==");
        let replies = vec![Reply::reset(), Reply::error(503, "SlowDown", "Later."), stored];
        let (requests, part) = with(replies, async |client| {
            client.upload_part(&upload(), 7, bytes::Bytes::from_static(b"abc").into()).await
        });
        let expected = StoredPart { number: 7, etag: "e1".to_owned(), crc32c: Some("AAAAAA==".to_owned()) };
        assert_eq!(part.expect("is stored"), expected);
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert_eq!(request.path_with_query, "/b1x/a%20b?partNumber=7&uploadId=u%2F1%2B");
            assert_eq!(request.body.into_bytes(), "abc");
        }
    }

    #[test]
    fn completion_names_the_parts_and_believes_no_status() {
        let late = b"  \n <Error><Code>InternalError</Code><Message>We failed.</Message></Error>";
        let done = b"<CompleteMultipartUploadResult><ETag>&quot;whole-2&quot;</ETag></CompleteMultipartUploadResult>";
        let replies = vec![
            Reply::status(200).body(&[late]),
            Reply::status(200).header("x-amz-version-id", "v").body(&[b" ", done]),
        ];
        let (requests, stored) = with(replies, async |client| {
            client.complete_multipart_upload(&upload(), &[part(1, Some("s=")), part(2, None)], true).await
        });
        let stored = stored.expect("is stored");
        assert_eq!((stored.etag.as_str(), stored.version_id.as_deref()), ("whole-2", Some("v")));
        assert_eq!(requests.len(), 2);
        let request = &requests[1];
        assert!(request.headers.contains(&("if-none-match", "*".to_owned())));
        assert_eq!(request.path_with_query, "/b1x/a%20b?uploadId=u%2F1%2B");
        let expected = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Part>\
                        <ChecksumCRC32C>s=</ChecksumCRC32C><ETag>\"e&lt;1\"</ETag><PartNumber>1</PartNumber></Part>\
                        <Part><ETag>\"e&lt;2\"</ETag><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>";
        assert_eq!(request.body.clone().into_bytes(), expected);
    }

    #[test]
    fn an_upload_that_is_gone_needs_no_abort() {
        for reply in [Reply::status(204), Reply::error(404, "NoSuchUpload", "Gone.")] {
            let (requests, aborted) = with(vec![reply], async |client| client.abort_multipart_upload(&upload()).await);
            aborted.expect("is gone");
            assert_eq!(requests[0].method, Method::Delete);
        }
        let denied = vec![Reply::error(403, "AccessDenied", "No.")];
        let (_, aborted) = with(denied, async |client| client.abort_multipart_upload(&upload()).await);
        assert!(aborted.expect_err("may not").is_denied());
    }
}
