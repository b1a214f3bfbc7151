//! Owns PutObject of an object that is somebody else's: with the headers and the user metadata that it came with, from memory
//! or from where its bytes are. Leaves which those are to the caller.

use super::{Client, Error, ErrorDocument, Result, encoded_word, read_document};
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
        let sent = self.ports.splice(self.describe(object), body, length, true).await;
        let mut response = sent.map_err(|error| match error {
            SpliceError::Body(why) => PutError::Body(why),
            SpliceError::Length(why) => PutError::Length(why),
            SpliceError::Request(error) => PutError::Store(Error::transport(OPERATION, error)),
        })?;
        if !(200..300).contains(&response.status) {
            let body = read_document(OPERATION, &mut response.body).await.unwrap_or_default();
            return Err(PutError::Store(Error::of_response(OPERATION, &response, &body)));
        }
        written(response).await.map_err(PutError::Store)
    }

    fn describe(&self, object: &NewObject) -> Request {
        let mut request = self.request(Method::Put, Some(&object.key)).build();
        request.headers.clone_from(&object.headers);
        let metadata = object.metadata.iter();
        request.extra_headers = metadata.map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone())).collect();
        request
    }
}

/// Some stores answer 200 and put the error into the body.
async fn written<B: crate::ports::Body>(mut response: Response<B>) -> Result<()> {
    let body = read_document(OPERATION, &mut response.body).await?;
    match ErrorDocument::read(&body) {
        Some(found) => Err(Error::of_document(OPERATION, 200, found)),
        None => Ok(()),
    }
}
