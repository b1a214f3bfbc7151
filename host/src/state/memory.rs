//! Owns state that ends with the process: for tests, and for runs that keep nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::quota::{Quota, Usage};
use super::{Error, StateStore, check_name, check_value};

/// State in memory.
#[derive(Debug)]
pub struct MemoryState {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
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
        let kept = Kept { usage: Usage::of(quota, []), values: BTreeMap::new(), position: None };
        Self { kept: Mutex::new(kept) }
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

    fn save(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        check_name(name)?;
        check_value(name, value)?;
        let mut kept = self.kept();
        kept.usage.check(name, value.len() as u64)?;
        kept.values.insert(name.to_owned(), value.to_vec());
        kept.usage.saved(name, value.len() as u64);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let mut kept = self.kept();
        kept.values.remove(name);
        kept.usage.removed(name);
        Ok(())
    }

    fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.kept().values.keys().cloned().collect())
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
