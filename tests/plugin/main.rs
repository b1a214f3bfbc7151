//! The built command as a plugin of Conduit, by a small client of its protocol, on an embedded S3 over HTTP.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod destination;
mod endings;
mod floods;
mod life;
mod outages;
mod source;
