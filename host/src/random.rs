//! Owns the host's randomness, for pauses that must differ between processes. Leaves secrets to others: it is not made for
//! them.

use std::hash::{BuildHasher as _, RandomState};

/// A number at random.
pub(crate) fn number() -> u64 {
    // Each state has keys of its own, from the system's randomness.
    RandomState::new().hash_one(())
}

/// A number in [0, 1).
pub(crate) fn fraction() -> f64 {
    (number() >> 11) as f64 / (1_u64 << 53) as f64
}
