//! Owns state that ends with the process: for tests, and for runs that keep nothing. Leaves limits to `state` and
//! `quota`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::quota::{Quota, Usage};
use super::{Edit, Error, StateStore, check_edits, check_name, check_value};

/// State in memory.
#[derive(Debug)]
pub struct MemoryState {
    quota: Quota,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    usage: Usage,
    values: BTreeMap<String, Vec<u8>>,
    position: Option<Vec<u8>>,
}

impl Default for MemoryState {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryState {
    /// State that is empty.
    #[must_use]
    pub fn new() -> Self {
        Self::with_quota(Quota::in_memory())
    }

    /// State that is empty, and may become as large as this.
    #[must_use]
    pub fn with_quota(quota: Quota) -> Self {
        Self { quota, kept: Mutex::default() }
    }

    /// The names of all values, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.kept().values.keys().cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryState {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check_name(name)?;
        Ok(self.kept().values.get(name).cloned())
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), Error> {
        check_edits(edits)?;
        let mut kept = self.kept();
        let mut usage = kept.usage;
        for Edit { name, value } in edits {
            usage.replace(kept.values.get(name).map(Vec::len), value.as_ref().map(Vec::len));
        }
        self.quota.check(kept.usage, usage)?;
        for Edit { name, value } in edits {
            match value {
                Some(value) => drop(kept.values.insert(name.clone(), value.clone())),
                None => drop(kept.values.remove(name)),
            }
        }
        kept.usage = usage;
        Ok(())
    }

    fn load_position(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.kept().position.clone())
    }

    fn save_position(&self, position: &[u8]) -> Result<(), Error> {
        check_value("position", position)?;
        self.kept().position = Some(position.to_vec());
        Ok(())
    }
}
