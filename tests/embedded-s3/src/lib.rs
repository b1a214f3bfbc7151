//! An S3 server in memory: a reference model of AWS S3 that is never kinder than S3.
//!
//! Tests and the demo run on it, in their own process or beside it. The crate `s3s` reads requests, checks signatures
//! and writes answers; the rules of versions, listings, uploads and conditions are ours. On top of what S3 does, it
//! does what a test needs: a clock that can be set, faults, pauses, a log, and direct access to what is stored. It
//! keeps nothing, serves plain HTTP on the loopback interface alone, and has no limits of its own.
//!
//! [`Store`] and what it holds (`model`) know nothing of HTTP; `wire` is what a test does to requests on their way,
//! to this server or another; `api` reads requests and writes answers by the model's rules.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use embedded_s3::{EmbeddedS3, Options};
//!
//! let server = EmbeddedS3::start(Options::default()).await.unwrap();
//! server.store().create_bucket("photos").unwrap();
//! server.store().put("photos", "a.jpg", "bytes").unwrap();
//! println!("{}", server.endpoint());
//! # });
//! ```

mod api;
mod model;
mod server;
mod wire;

pub use api::access::Access;
pub use model::bucket::Versioning;
pub use model::clock::Clock;
pub use model::options::{ACCESS_KEY, AccessKey, Options, REGION_DEFAULT, SECRET_KEY};
pub use model::options::{Checksums, ConditionalWrites, DeleteMarkers, GoneVersion, ListingKinds, MultipartOrder};
pub use model::refusal::Refusal;
pub use model::storage::Storage;
pub use model::store::Store;
pub use model::stored::{ObjectsPage, PutOptions, StoredUpload, StoredVersion, VersionEntry, VersionsPage};
pub use model::version::ObjectHeaders;
pub use server::EmbeddedS3;
pub use wire::fault::{Fault, Faults, Foreign, Reset, Rule, RuleId};
pub use wire::filter::Filter;
pub use wire::hook::{Held, Hook, Hooks, Pause, Seen, Stage};
pub use wire::journal::LoggedRequest;
pub use wire::operation::S3Operation;
pub use wire::{Closed, Wire};
