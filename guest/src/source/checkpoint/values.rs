//! Owns how values are kept: by the host, or in the component's own memory where the host keeps nothing. Leaves what they
//! say to `saved` and when they are kept to `checkpoint`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::ports::{Edit, Level, Ports, STATE_COMMIT_BYTES_MAX, STATE_COMMIT_EDITS_MAX, StateError};

/// Saves and finds values.
pub(super) struct Values<P> {
    ports: P,
    /// Values that the host does not keep; `None` while it keeps them.
    own: RefCell<Option<BTreeMap<String, Vec<u8>>>>,
}

impl<P: Ports> Values<P> {
    /// Makes a store over the host's state.
    pub(super) fn new(ports: P) -> Self {
        Self { ports, own: RefCell::new(None) }
    }

    /// The value, if there is one.
    pub(super) fn load(&self, name: &str) -> Result<Option<Vec<u8>>> {
        if let Some(own) = &*self.own.borrow() {
            return Ok(own.get(name).cloned());
        }
        match self.ports.load(name) {
            Ok(value) => Ok(value),
            Err(StateError::Absent) => {
                self.keep_own();
                Ok(None)
            }
            Err(StateError::Failed(why)) => Err(failed(name, &why)),
        }
    }

    /// Whether a commit takes these edits and that many bytes more.
    pub(super) fn fits(&self, edits: &[Edit], more: usize) -> bool {
        bytes(edits) + more <= STATE_COMMIT_BYTES_MAX && edits.len() < STATE_COMMIT_EDITS_MAX / 2
    }

    /// Makes all edits at once; none of them where that fails.
    pub(super) fn commit(&self, edits: Vec<Edit>) -> Result<()> {
        let Some(name) = edits.first().map(|edit| edit.name.clone()) else {
            return Ok(());
        };
        if self.own.borrow().is_none() {
            // Cheap beside what a host does to keep them.
            match self.ports.commit(edits.clone()) {
                Ok(()) => return Ok(()),
                Err(StateError::Failed(why)) => return Err(failed(&name, &why)),
                Err(StateError::Absent) => self.keep_own(),
            }
        }
        if let Some(own) = &mut *self.own.borrow_mut() {
            for Edit { name, value } in edits {
                match value {
                    Some(value) => drop(own.insert(name, value)),
                    None => drop(own.remove(&name)),
                }
            }
        }
        Ok(())
    }

    fn keep_own(&self) {
        *self.own.borrow_mut() = Some(BTreeMap::new());
        let line = "the host keeps no state: what was told of each key is kept in memory, and a restart tells the \
                    changes of the lookback window again";
        self.ports.log(Level::Debug, line);
    }
}

/// Bytes that edits have in a commit.
pub(super) fn bytes(edits: &[Edit]) -> usize {
    edits.iter().map(|edit| edit.name.len() + edit.value.as_ref().map_or(0, Vec::len)).sum()
}

fn failed(name: &str, why: &str) -> Error {
    let message = format!("the host could not keep the source's state: {why}; name=`{name}`");
    Error::new(ErrorKind::Unavailable, message)
}

/// What a value is that can't be read.
pub(super) fn unreadable(name: &str) -> Error {
    Error::corrupt(format!("saved state cannot be read; it is damaged or newer than this connector; name=`{name}`"))
}
