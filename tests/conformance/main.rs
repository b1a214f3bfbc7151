//! What the connector promises, through the shipped component in its host on the embedded S3.

mod destination;
mod secrets;
mod source;
