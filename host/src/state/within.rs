//! Owns a part of a store, for a component that shares it with others: the names of its values begin with the part's. Leaves
//! the values to the store.

use std::sync::Arc;

use super::{Edit, Error, StateStore};

/// A part of a store.
pub struct Within {
    store: Arc<dyn StateStore>,
    part: &'static str,
}

impl Within {
    /// The part of this name. Each of its names is longer by the part's and a slash.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, part: &'static str) -> Self {
        Self { store, part }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.part)
    }
}

impl StateStore for Within {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.store.load(&self.name(name))
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), Error> {
        let edits: Vec<_> =
            edits.iter().map(|Edit { name, value }| Edit { name: self.name(name), value: value.clone() }).collect();
        self.store.commit(&edits)
    }

    /// None: the position is that of the whole.
    fn load_position(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }

    fn save_position(&self, _: &[u8]) -> Result<(), Error> {
        Err(Error::Broken("a part of a store has no position".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::MemoryState;

    #[test]
    fn parts_share_a_store_and_no_value() {
        let whole: Arc<dyn StateStore> = Arc::new(MemoryState::new());
        let parts = ["a", "b"].map(|part| Within::new(Arc::clone(&whole), part));
        for part in &parts {
            part.commit(&[Edit::save("n", part.part)]).unwrap();
        }
        for part in &parts {
            assert_eq!(part.load("n").unwrap().as_deref(), Some(part.part.as_bytes()));
        }
        assert_eq!(whole.load("a/n").unwrap().as_deref(), Some(&b"a"[..]));
        assert_eq!(whole.load("n").unwrap(), None);
        parts[0].commit(&[Edit::remove("n")]).unwrap();
        assert!(parts[0].load("n").unwrap().is_none() && parts[1].load("n").unwrap().is_some());
    }
}
