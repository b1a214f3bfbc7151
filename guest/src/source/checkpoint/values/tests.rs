//! Owns nothing yet. Leaves everything.
