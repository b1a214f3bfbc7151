//! Multipart uploads: begun, filled part by part, given up.
//!
//! An upload is no object before it is completed, and takes up room until it is given up.

use bytes::Bytes;

use super::{Client, Result, document};
use crate::ports::{Method, Ports};

impl<P: Ports> Client<P> {
    /// [CreateMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html):
    /// begins an upload and returns its id.
    pub async fn create_multipart_upload(&self, key: &str) -> Result<String> {
        let request = self
            .request(Method::Post, Some(key))
            .query("uploads", "")
            .build();
        let parse = document::create_multipart_upload;
        let read = self.document("CreateMultipartUpload", &request, parse);
        Ok(read.await?.1)
    }

    /// [UploadPart](https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html): adds a part, the first
    /// of which is number 1, and returns its ETag without quotes.
    pub async fn upload_part(
        &self,
        key: &str,
        upload_id: &str,
        number: u32,
        body: Bytes,
    ) -> Result<String> {
        let request = self
            .request(Method::Put, Some(key))
            .query("partNumber", &number.to_string())
            .query("uploadId", upload_id)
            .body(body.into());
        let response = self.answer("UploadPart", &request.build()).await?;
        let etag = response.header("etag").map(document::bare_etag);
        Ok(etag.unwrap_or_default())
    }

    /// [AbortMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html):
    /// gives the upload up, and its parts with it.
    pub async fn abort_multipart_upload(&self, key: &str, upload_id: &str) -> Result<()> {
        let request = self
            .request(Method::Delete, Some(key))
            .query("uploadId", upload_id);
        self.answer("AbortMultipartUpload", &request.build())
            .await
            .map(drop)
    }
}
