//! Runs the S3 connector component.
//!
//! The component holds the connector's logic and nothing else; this library is the world around it. It compiles
//! the component once, gives each source and destination an instance in a sandbox, lets its S3 requests out if
//! policy allows, signs them with keys that the component never sees, and keeps its state.
#![deny(missing_docs)]

mod bindings;
pub mod check;
mod connector;
pub mod credentials;
pub mod egress;
pub mod environment;
mod error;
mod flood;
pub mod pipeline;
pub mod printable;
pub mod record;
mod role;
mod settings;
mod skipped;
pub mod state;

pub use connector::destination::{Ack, Destination};
pub use connector::instance::{COMPUTE_MAX, InstanceOptions, MEMORY_BYTES_MAX};
pub use connector::source::{Progress, READ_BYTES_MAX, Source};
pub use connector::{
    COMPILE_MAX, COMPONENT_BYTES_MAX, Connector, EMBEDDED, Options, Parameter, ParameterType, Specification,
    Validation, blame,
};
pub use error::{BoxError, Error, ErrorKind, Result, with_causes};
pub use record::Record;
pub use role::Role;
pub use settings::Settings;
pub use skipped::{OBJECTS_MAX as SKIPPED_OBJECTS_MAX, Skipped, SkippedObject};
