//! The built command as a plugin of a real Conduit, on an embedded S3 over HTTP.
//!
//! What arrives is compared with what was put, byte for byte and with its repeats. `make conduit CONDUIT=/path` names the
//! Conduit; without one nothing is tested.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod engine;
mod sandbox;

/// Makes tests of cases, each in both of Conduit's architectures.
macro_rules! in_both_architectures {
    ($($case:ident)*) => {
        mod v1 {
            $(#[tokio::test]
            async fn $case() {
                if $crate::engine::program().is_some() {
                    super::$case($crate::engine::Architecture::V1).await;
                }
            })*
        }

        mod v2 {
            $(#[tokio::test]
            async fn $case() {
                if $crate::engine::program().is_some() {
                    super::$case($crate::engine::Architecture::V2).await;
                }
            })*
        }
    };
}

mod api;
mod contents;
mod letters;
mod migration;
mod outages;
mod restarts;
