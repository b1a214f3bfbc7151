//! placeholder
pub mod operation;
pub mod policy;
