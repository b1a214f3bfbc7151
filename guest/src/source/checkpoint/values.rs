//! Owns how values of any size are kept in the host's state, which takes pieces of at most 1 MiB. Leaves what they say
//! to `saved` and when they are kept to `checkpoint`.
//!
//! A value `NAME` is a head under its name and, where it is long, pieces under `NAME.1`, `NAME.2` and so on. A head is
//! the version of this form, the number of further pieces (two bytes, the lowest first) and the first bytes. What fits
//! into one commit is saved by one. What does not is saved piece by piece, between a head that says so and the head
//! that makes the value whole: until then there is no value, and after a crash its pieces can be found and removed.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::ports::{
    Edit, Level, Ports, STATE_COMMIT_BYTES_MAX, STATE_COMMIT_EDITS_MAX, STATE_VALUE_BYTES_MAX, StateError,
};

/// The first byte of a head.
const VERSION: u8 = 1;

/// The first byte of a head whose pieces are not all saved yet.
const UNFINISHED: u8 = 0;

/// Version and number of pieces.
const HEADER_BYTES: usize = 3;

/// Bytes of a piece: what leaves a host that stores pages room for its own header within a power of two.
const PIECE_BYTES: usize = STATE_VALUE_BYTES_MAX - 4096;

/// Saves and finds values.
pub(super) struct Values<P> {
    ports: P,
    /// Whether the host keeps anything.
    keeps: bool,
    /// How many further pieces each value has that was looked at; 0 where there is no value.
    pieces: BTreeMap<String, u16>,
}

impl<P: Ports> Values<P> {
    /// Makes a store over the host's state.
    pub(super) fn new(ports: P) -> Self {
        Self { ports, keeps: true, pieces: BTreeMap::new() }
    }

    /// Whether the host keeps anything, as far as it was asked.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// The whole value, if there is one.
    pub(super) fn load(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some((mut value, pieces)) = self.load_head(name)? else {
            return Ok(None);
        };
        if value[0] == UNFINISHED {
            return Ok(None);
        }
        value.drain(..HEADER_BYTES);
        for number in 1..=pieces {
            let piece = self.get(&piece_name(name, number))?;
            value.extend(piece.ok_or_else(|| unreadable(name))?);
        }
        Ok(Some(value))
    }

    /// Whether there is a value, whole or not.
    pub(super) fn exists(&mut self, name: &str) -> Result<bool> {
        Ok(self.load_head(name)?.is_some())
    }

    /// Saves a value and removes others. All of it happens, or nothing, where the value is no longer than a commit; a
    /// longer one is there once this returns, and none is there if it fails.
    pub(super) fn save(&mut self, name: &str, value: &[u8], removed: &[String]) -> Result<()> {
        if !self.keeps {
            return Ok(());
        }
        let mut edits = self.removal(removed)?;
        let (first, rest) = value.split_at(value.len().min(PIECE_BYTES));
        let pieces: Vec<_> = rest.chunks(PIECE_BYTES).zip(1..).collect();
        let count =
            u16::try_from(pieces.len()).map_err(|_| Error::internal(format!("`{name}` is too long to save")))?;
        let before = self.count_pieces(name)?;
        edits.extend((count + 1..=before).map(|number| Edit::remove(piece_name(name, number))));
        let head = |version: u8, first: &[u8]| {
            let [low, high] = count.to_le_bytes();
            Edit::save(name, [&[version, low, high], first].concat())
        };
        let piece = |(bytes, number): (&[u8], u16)| Edit::save(piece_name(name, number), bytes);
        let whole =
            size(&edits) + name.len() + HEADER_BYTES + value.len() + pieces.len() * (name.len() + ".65535".len());
        if whole <= STATE_COMMIT_BYTES_MAX && edits.len() + 1 + pieces.len() <= STATE_COMMIT_EDITS_MAX {
            edits.push(head(VERSION, first));
            edits.extend(pieces.into_iter().map(piece));
            self.commit(name, edits)?;
        } else {
            edits.insert(0, head(UNFINISHED, &[]));
            self.commit_in_turn(name, edits)?;
            for one in pieces {
                self.commit(name, vec![piece(one)])?;
            }
            self.commit(name, vec![head(VERSION, first)])?;
        }
        self.pieces.insert(name.to_owned(), count);
        self.pieces.extend(removed.iter().map(|name| (name.clone(), 0)));
        Ok(())
    }

    /// Saves values that are no longer than a piece and removes others, all at once.
    pub(super) fn save_all(&mut self, values: &[(String, Vec<u8>)], removed: &[String]) -> Result<()> {
        let Some(name) = values.iter().map(|(name, _)| name).chain(removed).next().filter(|_| self.keeps) else {
            return Ok(());
        };
        let mut edits = Vec::new();
        for (name, value) in values {
            debug_assert!(value.len() <= PIECE_BYTES, "it is one piece");
            edits.push(Edit::save(name, [&[VERSION, 0, 0], &**value].concat()));
        }
        edits.extend(self.removal(removed)?);
        self.commit(name, edits)?;
        self.pieces.extend(values.iter().map(|(name, _)| (name.clone(), 0)));
        self.pieces.extend(removed.iter().map(|name| (name.clone(), 0)));
        Ok(())
    }

    /// Removes values, all at once.
    pub(super) fn remove(&mut self, names: &[String]) -> Result<()> {
        let Some(first) = names.first().filter(|_| self.keeps) else {
            return Ok(());
        };
        let edits = self.removal(names)?;
        self.commit_in_turn(first, edits)?;
        self.pieces.extend(names.iter().map(|name| (name.clone(), 0)));
        Ok(())
    }

    /// What removes values: heads first, so that none is read whose pieces are gone.
    fn removal(&mut self, names: &[String]) -> Result<Vec<Edit>> {
        let mut edits: Vec<_> = names.iter().map(Edit::remove).collect();
        for name in names {
            let pieces = self.count_pieces(name)?;
            edits.extend((1..=pieces).map(|number| Edit::remove(piece_name(name, number))));
        }
        Ok(edits)
    }

    fn count_pieces(&mut self, name: &str) -> Result<u16> {
        if let Some(count) = self.pieces.get(name) {
            return Ok(*count);
        }
        Ok(self.load_head(name)?.map_or(0, |(_, pieces)| pieces))
    }

    /// A head with its header, and the number of pieces that it names.
    fn load_head(&mut self, name: &str) -> Result<Option<(Vec<u8>, u16)>> {
        let head = self.get(name)?;
        let pieces = match head.as_deref() {
            None => 0,
            Some([VERSION | UNFINISHED, low, high, ..]) => u16::from_le_bytes([*low, *high]),
            Some(_) => return Err(unreadable(name)),
        };
        self.pieces.insert(name.to_owned(), pieces);
        Ok(head.map(|head| (head, pieces)))
    }

    fn get(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        if !self.keeps {
            return Ok(None);
        }
        match self.ports.load(name) {
            Ok(value) => Ok(value),
            Err(error) => self.tolerate(name, error).map(|()| None),
        }
    }

    /// Commits edits in their order, by as few commits as their number needs. Only removals can be that many.
    fn commit_in_turn(&mut self, name: &str, mut edits: Vec<Edit>) -> Result<()> {
        while edits.len() > STATE_COMMIT_EDITS_MAX {
            let rest = edits.split_off(STATE_COMMIT_EDITS_MAX);
            self.commit(name, std::mem::replace(&mut edits, rest))?;
        }
        self.commit(name, edits)
    }

    fn commit(&mut self, name: &str, edits: Vec<Edit>) -> Result<()> {
        if !self.keeps {
            return Ok(());
        }
        self.ports.commit(edits).or_else(|error| self.tolerate(name, error))
    }

    /// A host that keeps nothing is fine, said once; one that fails to keep is not.
    fn tolerate(&mut self, name: &str, error: StateError) -> Result<()> {
        match error {
            StateError::Absent if self.keeps => {
                self.keeps = false;
                let line = "the host keeps no state: a restart delivers changes of the lookback window again, and \
                            does not know uploads that were in progress";
                self.ports.log(Level::Debug, line);
                Ok(())
            }
            StateError::Absent => Ok(()),
            StateError::Failed(why) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the host could not keep the source's state: {why}; name=`{name}`"),
            )),
        }
    }
}

/// What a value is that can't be read.
pub(super) fn unreadable(name: &str) -> Error {
    Error::corrupt(format!("saved state cannot be read; it is damaged or newer than this connector; name=`{name}`"))
}

fn piece_name(name: &str, number: u16) -> String {
    format!("{name}.{number}")
}

/// What edits count for in a commit.
fn size(edits: &[Edit]) -> usize {
    edits.iter().map(|edit| edit.name.len() + edit.value.as_ref().map_or(0, Vec::len)).sum()
}

#[cfg(test)]
mod tests;
