//! Owns what a history is: a store, a reader, and what happens to both, as plain data that can be printed and cut down.
//! Leaves making one to `generate`, and carrying it out to `run`.

use std::fmt;
use std::time::Duration;

use embedded_s3::{GoneVersion, ListingKinds, MultipartOrder, Versioning};

/// The keys that histories are about: some share prefixes, one is a prefix of another, and some need encoding.
pub const KEYS: [&str; 8] = ["a", "a/1", "a/10", "a/1ü", "b +&%", "ba", "c", "zz/\u{1}"];

/// A kind of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// Puts and deletes.
    Plain,
    /// Uploads as well, placed and stamped by their completion.
    UploadsByCommit,
    /// Uploads as well, placed and stamped by their start, as on AWS.
    UploadsByStart,
    /// Versions and delete markers are removed permanently.
    Purges,
    /// Versioning is switched.
    Switches,
    /// Clocks jump, and `Date` is another one's.
    Clocks,
    /// The bucket keeps no versions.
    Unversioned,
    /// The host keeps no state.
    Stateless,
    /// All of it, with state.
    All,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::UploadsByCommit,
        Self::UploadsByStart,
        Self::Purges,
        Self::Switches,
        Self::Clocks,
        Self::Unversioned,
        Self::Stateless,
        Self::All,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::UploadsByCommit => "uploads-by-commit",
            Self::UploadsByStart => "uploads-by-start",
            Self::Purges => "purges",
            Self::Switches => "switches",
            Self::Clocks => "clocks",
            Self::Unversioned => "unversioned",
            Self::Stateless => "stateless",
            Self::All => "all",
        }
    }
}

/// How the store behaves.
#[derive(Clone, Debug)]
pub struct StoreSetup {
    /// Versioning at the start.
    pub versioning: Versioning,
    /// Whether it can list versions.
    pub lists_versions: bool,
    /// Where a completed upload goes, and what it is stamped with.
    pub order: MultipartOrder,
    /// Whether an upload is stamped when it is completed, as on MinIO.
    pub stamps_completion: bool,
    /// How versions and delete markers of a page are arranged.
    pub kinds: ListingKinds,
    /// Where a listing goes on after a version that was purged.
    pub gone: GoneVersion,
    /// Whether a full page that is the last says that there is more, and names markers that are no keys, as MinIO.
    pub promises_more: bool,
    /// Whether it leaves out a key where a listing begins after what is no key, as no store should.
    pub skips: bool,
    /// Whether stamps have milliseconds.
    pub milliseconds: bool,
    /// Entries of a page, whatever was asked for.
    pub page: usize,
    /// The longest that the answer with an object takes.
    pub latency_ms: u64,
}

/// How the reader behaves.
#[derive(Clone, Debug)]
pub struct ReaderSetup {
    /// Records per read.
    pub records_max: usize,
    /// Records that it leaves unacked.
    pub lag: usize,
    /// Records per ack.
    pub group: usize,
    /// Objects in flight.
    pub concurrency: usize,
    /// Whether the host keeps state.
    pub has_state: bool,
    /// How small the pieces are into which the source cuts what it saves: 0 is as large as they are.
    pub cut: u8,
}

/// What happens, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, counted from the previous step.
    pub when: When,
    /// What.
    pub act: Act,
}

/// A moment, counted from the previous step. It has come at the latest once the source was idle twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the n-th call of the host: a request, before it is answered, or an access to saved values.
    Call(u32),
    /// After the n-th read, with its records in hand and nothing kept.
    Read(u32),
    /// At the n-th ack, between keeping the position and telling the source.
    Ack(u32),
    /// Once the source is idle.
    Idle,
}

/// What happens. Small numbers choose among what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Stores an object of new bytes.
    Put(u8),
    /// Stores the bytes of the current object again.
    PutSame(u8),
    /// Deletes, whether or not there is an object.
    Delete(u8),
    /// Starts an upload.
    Begin(u8),
    /// Completes one of the uploads.
    Complete(u8),
    /// Aborts one of the uploads.
    Abort(u8),
    /// Removes one version or delete marker of a key permanently.
    Purge(u8, u8),
    /// Switches versioning.
    Switch(Versioning),
    /// Lets time pass.
    Wait(Duration),
    /// Sets the clock of the store, by milliseconds.
    Clock(i64),
    /// Has the store refuse the next listing with this status, once. The source may fail of it, and another one starts.
    Refuse(u16),
    /// Has the store leave a key out of its listings, until one of them has come to its end.
    Hide(u8),
    /// Has the store answer the next request for an object with 404, once, though the object is there.
    Miss,
    /// Sets how far `Date` runs ahead of the store's stamps, in milliseconds.
    Date(i64),
    /// Ends the source at once, without its knowing, and starts another one.
    Crash {
        /// Whether what the host was called for is still done.
        after: bool,
        /// How long nothing runs.
        away: Duration,
    },
    /// Ends the source with everything acked, and starts another one.
    Stop {
        /// How long nothing runs.
        away: Duration,
    },
}

/// A history.
#[derive(Clone, Debug)]
pub struct History {
    /// What everything random in it follows from.
    pub seed: u64,
    /// Its kind.
    pub profile: Profile,
    /// The store.
    pub store: StoreSetup,
    /// The reader.
    pub reader: ReaderSetup,
    /// What happens before the source starts.
    pub before: Vec<Act>,
    /// What happens then.
    pub steps: Vec<Step>,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} ({})", self.seed, self.profile.name())?;
        writeln!(f, "  {:?}", self.store)?;
        writeln!(f, "  {:?}", self.reader)?;
        for act in &self.before {
            writeln!(f, "  before: {act:?}")?;
        }
        for Step { when, act } in &self.steps {
            writeln!(f, "  {when:?}: {act:?}")?;
        }
        Ok(())
    }
}
