//! Owns how much a store may keep: bytes and names. Leaves the keeping to the stores.

use super::Error;

/// How much a store may keep. Without a bound, a component that saves without end would fill the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all values together: at 24 bytes per version, what a source remembers of 170 million versions.
    pub bytes_max: u64,
    /// Names of values: at 256 KiB per value more than the bytes above.
    pub names_max: u64,
}

impl Quota {
    /// Of state in memory, where one process may hold the state of many pipelines.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { bytes_max: 512 << 20, ..Self::default() }
    }

    /// Whether a store may go from one usage to the other. What makes it smaller it always may, however full it is.
    pub(super) fn check(&self, before: Usage, after: Usage) -> Result<(), Error> {
        let grows = |what, before, after, max| match after > max && after > before {
            true => Err(Error::Full { what, used: after, max }),
            false => Ok(()),
        };
        grows("bytes", before.bytes, after.bytes, self.bytes_max)?;
        grows("names", before.names, after.names, self.names_max)
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes_max: 4 << 30, names_max: 100_000 }
    }
}

/// What a store keeps, or would keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) bytes: u64,
    pub(super) names: u64,
}

impl Usage {
    /// Counts that a value of `before` bytes becomes one of `after`; `None` where there is no value.
    pub(super) fn replace(&mut self, before: Option<usize>, after: Option<usize>) {
        let bytes = |length: Option<usize>| length.unwrap_or_default() as u64;
        self.bytes = self.bytes.saturating_sub(bytes(before)) + bytes(after);
        self.names = self.names.saturating_sub(before.is_some().into()) + u64::from(after.is_some());
    }
}
