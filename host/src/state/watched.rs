//! Owns the note of where a store failed, for the host to tell: the component, through which the failure goes, is not
//! told. Leaves the failures to the stores.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Edit, Error, StateStore};

/// Where a store failed last. Clones are the same note.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastPlace(Arc<Mutex<Option<String>>>);

impl LastPlace {
    /// Takes the note away.
    pub(crate) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &Error) {
        if let Some(place) = error.place() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        }
    }
}

/// A store whose failures are noted.
pub(crate) struct Watched {
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) last: LastPlace,
}

impl Watched {
    fn watch<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        // What has healed is no reason of a later error.
        result.inspect(|_| drop(self.last.take())).inspect_err(|error| self.last.note(error))
    }
}

impl StateStore for Watched {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.watch(self.store.load(name))
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), Error> {
        self.watch(self.store.commit(edits))
    }

    fn load_position(&self) -> Result<Option<Vec<u8>>, Error> {
        self.watch(self.store.load_position())
    }

    fn save_position(&self, position: &[u8]) -> Result<(), Error> {
        self.watch(self.store.save_position(position))
    }
}
