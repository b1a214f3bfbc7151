//! Owns ways to break change detection on purpose, so that tests can show that they would notice; and the sizes by which
//! a source cuts its catalogue and plans, which tests make small. Leaves what each does to the code that asks.
//!
//! One of each per thread. Without the feature `testing` nothing of this is compiled.

use std::cell::Cell;

use crate::limits::Bounds;

/// A way to break change detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The next page of versions is requested after the key, not after the version.
    ForgetTheVersionMarker,
    /// The top is never told once more.
    NeverTellTheTopAgain,
    /// Keys that a listing lacks are forgotten without a delete.
    ForgetGoneKeys,
    /// A delete of a key that a listing lacks is told without asking for the object.
    BelieveHolesOfListings,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::ForgetTheVersionMarker, Self::NeverTellTheTopAgain, Self::ForgetGoneKeys, Self::BelieveHolesOfListings];
}

thread_local! {
    static BROKEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    static BOUNDS: Cell<Bounds> = const { Cell::new(Bounds::SOURCE) };
}

/// Breaks change detection on this thread, or mends it.
pub fn set(mutant: Option<Mutant>) {
    BROKEN.set(mutant);
}

/// Whether it is broken in this way.
pub fn is_broken(mutant: Mutant) -> bool {
    BROKEN.get() == Some(mutant)
}

/// Has sources that are opened on this thread cut by these sizes.
pub fn set_bounds(bounds: Bounds) {
    BOUNDS.set(bounds);
}

/// The sizes by which a source cuts.
pub fn bounds() -> Bounds {
    BOUNDS.get()
}
