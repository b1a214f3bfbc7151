//! Owns the side of a pipeline that a connector is. Leaves what each side may do to `egress`.

/// The side of a pipeline a connector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It reads the bucket.
    Source,
    /// It writes to the bucket.
    Destination,
}
