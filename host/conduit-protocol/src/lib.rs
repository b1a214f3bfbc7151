//! Owns the messages and services that Conduit and a standalone connector exchange, as Rust. Leaves what they mean to the
//! files in `proto/`, and how they are used to the host's `conduit` and to the tests.
//!
//! The files are written from Conduit's documentation and from what it sends; a number that differs would be found by the
//! tests with Conduit's own client.
#![allow(missing_docs, reason = "generated code")]
#![allow(
    clippy::all,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code"
)]

/// OpenCDC records.
pub mod opencdc {
    pub mod v1 {
        tonic::include_proto!("opencdc.v1");
    }
}

/// Settings of a connector.
pub mod config {
    pub mod v1 {
        tonic::include_proto!("config.v1");
    }
}

/// Schemas of records.
pub mod schema {
    pub mod v1 {
        tonic::include_proto!("schema.v1");
    }
}

/// What Conduit asks a connector.
pub mod connector {
    pub mod v2 {
        tonic::include_proto!("connector.v2");
    }
}

/// What a connector asks Conduit.
pub mod connutils {
    pub mod v1 {
        tonic::include_proto!("connutils.v1");
    }
}

/// What `hashicorp/go-plugin` asks every plugin.
pub mod go_plugin {
    tonic::include_proto!("plugin");
}

/// Whether a service is up.
pub mod health {
    pub mod v1 {
        tonic::include_proto!("grpc.health.v1");
    }
}
