//! Runs the S3 connector component.
//!
//! The component holds the connector's logic and nothing else; this library is the world around it. It compiles
//! the component once, gives each source and destination an instance in a sandbox, lets its S3 requests out if
//! policy allows, signs them with keys that the component never sees, and keeps its state.
#![deny(missing_docs)]

mod bindings;
pub mod check;
mod component;
pub mod credentials;
mod destination;
pub mod egress;
pub mod environment;
mod error;
mod flood;
mod instance;
pub mod pipeline;
pub mod printable;
pub mod record;
mod settings;
mod skipped;
mod source;
pub mod state;

pub use component::{
    COMPILE_MAX, COMPONENT_BYTES_MAX, Connector, EMBEDDED, Given, Options, Parameter, ParameterType, Specification,
    Validation, blame,
};
pub use destination::{Ack, Destination};
pub use error::{Error, ErrorKind, Result};
pub use instance::{COMPUTE_MAX, MEMORY_BYTES_MAX};
pub use record::Record;
pub use settings::Settings;
pub use skipped::{OBJECTS_MAX as SKIPPED_OBJECTS_MAX, Skipped, SkippedObject};
pub use source::{Progress, READ_BYTES_MAX, Source};
