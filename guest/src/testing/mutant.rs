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
    /// Only the first page of a listing is looked at.
    ListOnePage,
    /// Versions and delete markers are taken as they stand where a store lists them apart.
    TrustTheOrderOfDocuments,
    /// The top is never told once more.
    NeverTellTheTopAgain,
    /// Only the top of a key is told.
    TellTopsOnly,
    /// What lies below something known counts as known.
    SkipWhatLandsBelow,
    /// Of changes within one second the newest is told first.
    TellTheNewestFirst,
    /// A key's changes are told in the order of their stamps, whatever the store's order is.
    TrustStamps,
    /// A delete marker is told where the reader has nothing.
    DeleteNothing,
    /// Each object is told as created.
    CreateEverything,
    /// A snapshot tells all versions.
    SnapshotAllVersions,
    /// A `null` version counts as known, whatever it holds.
    IdentifyNullVersionsByName,
    /// A `null` version of the same bytes counts as known.
    IgnoreTimesOfNullVersions,
    /// Keys that a listing lacks are forgotten without a delete.
    ForgetGoneKeys,
    /// A delete of a key that a listing lacks is told without asking for the object.
    BelieveHolesOfListings,
    /// A segment of which as much is listed as before counts as unchanged.
    CompareCountsAlone,
    /// A segment with a key in doubt counts as unchanged.
    ForgetDoubts,
    /// The first key of a segment is taken for the last of the one before.
    EndSegmentsLate,
    /// A run of a plan is read no further than its first chunk.
    ReadOneChunk,
    /// A plan is removed once it was handed out.
    DropPlansBeforeTheirAck,
    /// What makes a plan and its segments count is not always saved with them.
    SaveTheHeadLate,
    /// What could not be read counts as told.
    ForgetWhatWasNotRead,
    /// A restart repeats the record whose position was kept.
    RepeatTheKeptRecord,
    /// A restart passes over the record after the one whose position was kept.
    SkipARecordAfterARestart,
    /// After a restart without saved state, positions say that it has told what it has only listed.
    CutAtTheRestart,
    /// A range of a listing is believed, whatever it lacks.
    BelieveRanges,
    /// The key at which a range of a listing ends is taken for the next one's.
    EndRangesEarly,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::ForgetTheVersionMarker,
        Self::ListOnePage,
        Self::TrustTheOrderOfDocuments,
        Self::NeverTellTheTopAgain,
        Self::TellTopsOnly,
        Self::SkipWhatLandsBelow,
        Self::TellTheNewestFirst,
        Self::TrustStamps,
        Self::DeleteNothing,
        Self::CreateEverything,
        Self::SnapshotAllVersions,
        Self::IdentifyNullVersionsByName,
        Self::IgnoreTimesOfNullVersions,
        Self::ForgetGoneKeys,
        Self::BelieveHolesOfListings,
        Self::CompareCountsAlone,
        Self::ForgetDoubts,
        Self::EndSegmentsLate,
        Self::ReadOneChunk,
        Self::DropPlansBeforeTheirAck,
        Self::SaveTheHeadLate,
        Self::ForgetWhatWasNotRead,
        Self::RepeatTheKeptRecord,
        Self::SkipARecordAfterARestart,
        Self::CutAtTheRestart,
        Self::BelieveRanges,
        Self::EndRangesEarly,
    ];
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
