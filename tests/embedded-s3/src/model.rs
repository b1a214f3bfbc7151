//! Owns the rules of S3: buckets, versions, uploads, listings, conditions and errors, with a clock of their own.
//!
//! Leaves HTTP to the API, and what a test does to requests to the wire: uses neither.

pub(crate) mod bucket;
pub(crate) mod clock;
pub(crate) mod listing;
pub(crate) mod lookup;
pub(crate) mod options;
pub(crate) mod refusal;
pub(crate) mod storage;
pub(crate) mod store;
pub(crate) mod stored;
pub(crate) mod upload;
pub(crate) mod version;
