//! Runs the S3 connector component: reads S3 buckets into records and writes records into them, in your own program.
//!
//! The component holds the connector's logic and nothing else; this library is its host. It compiles the component once,
//! gives each source and destination an instance in a sandbox, sends their S3 requests if policy allows, signs them with
//! keys that the component never sees, and keeps their state. The command `s3-connector` is this library and arguments.
//!
//! # The types, in the order in which a program meets them
//!
//! 1. [`Connector`]: the component, compiled. A program loads it once, and clones share everything.
//! 2. [`Settings`]: names and values, as in a pipeline's file. Region, endpoint and keys that are missing come from where
//!    the AWS CLI finds them. [`Connector::specification`] lists all settings.
//! 3. [`InstanceOptions`]: what log lines call an instance, and where it keeps its state, such as a folder with
//!    [`FileState`](state::FileState).
//! 4. [`Source`]: a snapshot of a bucket, then every change; [`open`](Source::open), [`read`](Source::read),
//!    [`ack`](Source::ack). [`Destination`]: records into a bucket; [`open`](Destination::open),
//!    [`write`](Destination::write), [`flush`](Destination::flush).
//! 5. [`Record`]: position, operation, metadata, key and payload. Large payloads are streams, to be read or dropped before
//!    the record is acked.
//! 6. [`Pipeline`](pipeline::Pipeline): moves records from a source to a destination, keeps positions, and outlasts
//!    outages. Few programs need to call sources and destinations themselves.
//! 7. [`Error`]: a message for people, and a [kind](ErrorKind) that says what a program can do.
//!
//! Besides, [`Connector::check`] tries everything that a pipeline needs before one runs, and [`iam::policy`] is the least
//! IAM policy for it.
//!
//! # A complete program
//!
//! It prints the size of each object of a bucket, then of each that changes, until there is nothing new. The next run goes
//! on where this one ended.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use s3_connector_host::state::{FileState, StateStore as _};
//! use s3_connector_host::{Connector, InstanceOptions, Options, Settings};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let connector = Connector::load(Options::default()).await?;
//!     let state = Arc::new(FileState::open("photos.state")?);
//!
//!     let settings = Settings::from([
//!         ("aws.bucket".to_owned(), "photos".to_owned()),
//!         ("pollingPeriod".to_owned(), "10s".to_owned()),
//!     ]);
//!     let options = InstanceOptions { name: "photos".to_owned(), state: Some(state.clone()) };
//!     let mut source = connector.source(settings, options).await?;
//!     source.open(state.load_position()?.as_deref()).await?;
//!
//!     loop {
//!         let records = source.read(100, Duration::from_secs(1)).await?;
//!         let Some(position) = records.last().map(|record| record.position.clone()) else {
//!             if source.progress().await?.caught_up {
//!                 break;
//!             }
//!             continue;
//!         };
//!         for record in records {
//!             let operation = record.operation.as_str();
//!             // Takes what is a stream into memory.
//!             let record = s3_connector_host::record::collect(record).await?;
//!             println!("{operation} {:?}: {:?} bytes", record.key, record.metadata.get("s3.size"));
//!         }
//!         // First the position is kept, then the source may forget what only earlier positions need.
//!         state.save_position(&position)?;
//!         source.ack(&position).await?;
//!     }
//!     source.teardown().await?;
//!     Ok(())
//! }
//! ```
//!
//! [`pipeline`] begins with a bucket that goes into another one.
#![deny(missing_docs)]

mod bindings;
pub mod check;
pub mod conduit;
mod connector;
pub mod credentials;
pub mod egress;
pub mod environment;
mod error;
mod flood;
pub mod iam;
pub mod monitor;
pub mod pipeline;
pub mod printable;
mod random;
pub mod record;
pub mod registry;
mod role;
mod skipped;
pub mod state;
mod tally;
pub mod telemetry;

pub use check::listing::{Choice, ListedObject, Listing};
pub use connector::code::{CompiledAhead, cache_folder, compile_ahead};
pub use connector::contract::Interfaces;
pub use connector::destination::{Ack, Destination};
pub use connector::instance::{COMPUTE_MAX, InstanceOptions, MEMORY_BYTES_MAX};
pub use connector::settings::Settings;
pub use connector::source::{Progress, READ_BYTES_MAX, Source};
pub use connector::{
    COMPILE_MAX, COMPONENT_BYTES_MAX, Component, Connector, EMBEDDED, Inspected, Options, Parameter, ParameterType,
    Specification, Validation, blame, inspect,
};
pub use error::{BoxError, Error, ErrorKind, Result, with_causes};
pub use record::Record;
pub use role::Role;
pub use skipped::{OBJECTS_MAX as SKIPPED_OBJECTS_MAX, Skipped, SkippedObject};
pub use tally::{Batches, Tally};
