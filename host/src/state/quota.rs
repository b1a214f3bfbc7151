//! Owns how much a store may keep, and what it keeps: bytes and names. Leaves the keeping to the stores.

use std::collections::BTreeMap;

use super::Error;

/// How much a store may keep. A component that saves without end would otherwise fill the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all values together: plans and lists of what was seen take some tens of MiB; the largest that can be
    /// planned, 16 MiB, stands 256 times in it.
    pub bytes_max: u64,
    /// Names of values. Each is a file, and a folder of ten thousand is read in 10 ms when it is opened.
    pub names_max: usize,
}

impl Quota {
    /// Of state in memory, where it is held by a process that may have many: four of the largest values.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { bytes_max: 512 << 20, ..Self::default() }
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes_max: 4 << 30, names_max: 10_000 }
    }
}

/// What a store keeps.
#[derive(Debug)]
pub(super) struct Usage {
    quota: Quota,
    sizes: BTreeMap<String, u64>,
    bytes: u64,
}

impl Usage {
    /// Of a store that keeps values of these names and sizes.
    pub(super) fn of(quota: Quota, values: impl IntoIterator<Item = (String, u64)>) -> Self {
        let mut usage = Self { quota, sizes: BTreeMap::new(), bytes: 0 };
        for (name, bytes) in values {
            usage.saved(&name, bytes);
        }
        usage
    }

    /// Whether a value may be saved. What makes the store smaller always may, however full it is.
    pub(super) fn check(&self, name: &str, bytes: u64) -> Result<(), Error> {
        let before = self.sizes.get(name).copied();
        let total = (self.bytes - before.unwrap_or_default()).saturating_add(bytes);
        let full = |what, used, max| Error::Full { what, used, max };
        if total > self.quota.bytes_max && total > self.bytes {
            return Err(full("bytes", total, self.quota.bytes_max));
        }
        if before.is_none() && self.sizes.len() >= self.quota.names_max {
            let names = self.sizes.len() as u64 + 1;
            return Err(full("names", names, self.quota.names_max as u64));
        }
        Ok(())
    }

    /// Takes note of a value.
    pub(super) fn saved(&mut self, name: &str, bytes: u64) {
        self.removed(name);
        self.sizes.insert(name.to_owned(), bytes);
        self.bytes += bytes;
    }

    /// Forgets a value.
    pub(super) fn removed(&mut self, name: &str) {
        self.bytes -= self.sizes.remove(name).unwrap_or_default();
    }
}
