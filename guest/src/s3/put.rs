//! Owns PutObject of an object that is somebody else's: with the headers and the user metadata that it came with, from memory
//! or from where its bytes are. Leaves which those are to the caller.

use futures_util::future::LocalBoxFuture;

use super::request::Builder;
use super::{Client, Error, ErrorDocument, Multipart, Result, StoredPart, encoded_word, read_document};
use crate::payload::Payload;
use crate::ports::{Method, Ports, Request, Response, SpliceError};

/// An object to be written, without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewObject {
    /// The key.
    pub key: String,
    /// Headers that describe it, in lower case; [`is_plain_value`] holds for their values.
    pub headers: Vec<(&'static str, String)>,
    /// User metadata by name, in lower case, as [`encode_metadata`] has it.
    pub metadata: Vec<(String, String)>,
}

/// Why an object was not written whose bytes did not pass through the connector.
#[derive(Debug)]
pub enum PutError {
    /// They broke off.
    Body(String),
    /// They are not as many as was said.
    Length(String),
    /// The store's.
    Store(Error),
}

/// Whether a header can hold a value as it is.
pub fn is_plain_value(value: &str) -> bool {
    encoded_word::is_plain(value)
}

/// The value of user metadata in the form of a header.
pub fn encode_metadata(value: &str) -> String {
    encoded_word::encode(value).into_owned()
}

const OPERATION: &str = "PutObject";

impl<P: Ports> Client<P> {
    /// [PutObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html): writes an object over whatever has its
    /// key.
    ///
    /// # Errors
    ///
    /// The store's, once retries are exhausted.
    pub async fn put_new_object(&self, object: &NewObject, body: Payload) -> Result<()> {
        let request = Request { body, ..self.describe(object) };
        self.retrying(OPERATION, async || {
            let response = self.exchange(OPERATION, &request).await?;
            written(response).await
        })
        .await
    }

    /// The same with `length` bytes of a body, which is all of it. It is tried once, since the bytes can't be had twice;
    /// where they are kept, the host repeats the request.
    ///
    /// # Errors
    ///
    /// The body's, which came first, or the store's.
    pub async fn put_stream(
        &self,
        object: &NewObject,
        body: &mut P::Body,
        length: u64,
    ) -> std::result::Result<(), PutError> {
        let answer = self.ports.splice(self.describe(object), body, length, true).await;
        let answer = answer.map_err(|error| not_handed_over(OPERATION, error))?;
        let response = answer.await.map_err(|error| PutError::Store(Error::transport(OPERATION, error)));
        let mut response = response?;
        if !(200..300).contains(&response.status) {
            let body = read_document(OPERATION, &mut response.body).await.unwrap_or_default();
            return Err(PutError::Store(Error::of_response(OPERATION, &response, &body)));
        }
        written(response).await.map_err(PutError::Store)
    }

    /// [CreateMultipartUpload](https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html): begins to write
    /// an object in parts.
    ///
    /// # Errors
    ///
    /// The store's, once retries are exhausted.
    pub async fn begin_upload(&self, object: &NewObject) -> Result<Multipart> {
        let builder = self.request(Method::Post, Some(&object.key)).query("uploads", "");
        let request = self.to_be_stored(described(builder, object)).build();
        self.begin(&object.key, &request).await
    }

    /// [UploadPart](https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html): hands over the next bytes of a body
    /// as a part, and gives what becomes of it. It is tried once.
    ///
    /// # Errors
    ///
    /// As for [`put_stream`](Self::put_stream).
    pub async fn put_part(
        &self,
        upload: &Multipart,
        number: u32,
        body: &mut P::Body,
        length: u64,
        is_last: bool,
    ) -> std::result::Result<LocalBoxFuture<'static, Result<StoredPart>>, PutError> {
        const OPERATION: &str = "UploadPart";
        let request = self.part_request(upload, number, Payload::empty());
        let answer = self.ports.splice(request, body, length, is_last).await;
        let answer = answer.map_err(|error| not_handed_over(OPERATION, error))?;
        let client = self.clone();
        Ok(Box::pin(async move {
            let response = answer.await.map_err(|error| Error::transport(OPERATION, error))?;
            client.read_part(number, response).await
        }))
    }

    fn describe(&self, object: &NewObject) -> Request {
        self.to_be_stored(described(self.request(Method::Put, Some(&object.key)), object)).build()
    }
}

fn not_handed_over(operation: &'static str, error: SpliceError) -> PutError {
    match error {
        SpliceError::Body(why) => PutError::Body(why),
        SpliceError::Length(why) => PutError::Length(why),
        SpliceError::Request(error) => PutError::Store(Error::transport(operation, error)),
    }
}

fn described(mut builder: Builder, object: &NewObject) -> Builder {
    for (name, value) in &object.headers {
        builder = builder.header(name, value.clone());
    }
    for (name, value) in &object.metadata {
        builder = builder.extra_header(format!("x-amz-meta-{name}"), value.clone());
    }
    builder
}

/// Some stores answer 200 and put the error into the body.
async fn written<B: crate::ports::Body>(mut response: Response<B>) -> Result<()> {
    let body = read_document(OPERATION, &mut response.body).await?;
    match ErrorDocument::read(&body) {
        Some(found) => Err(Error::of_document(OPERATION, 200, found)),
        None => Ok(()),
    }
}
