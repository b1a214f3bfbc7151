//! Owns what outlives an instance: named values and the position, in memory or in a folder. Leaves their meaning
//! to the component and the pipeline.
//!
//! Calls of a [`StateStore`] block for as long as the disk takes. Async code asks through `AsyncState`.

mod disk;
#[cfg(test)]
mod faults;
mod file;
mod frozen;
mod holder;
mod memory;
mod quota;
mod tasks;
mod watched;
mod within;

use std::path::PathBuf;

use crate::error::ErrorKind;

pub use self::file::FileState;
pub use self::memory::MemoryState;
pub use self::quota::Quota;
pub(crate) use self::tasks::AsyncState;
pub(crate) use self::watched::{LastPlace, Watched};
pub use self::within::Within;

/// The longest name of a value. This and the three limits below are the contract's (`wit/state.wit`).
pub const NAME_BYTES_MAX: usize = 80;

/// The largest value, and the largest position.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// The most that the names and values of one commit may have together.
pub const COMMIT_BYTES_MAX: usize = 2 << 20;

/// The most edits in one commit.
pub const COMMIT_EDITS_MAX: usize = 4096;

/// Why state was not kept or not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No value can have this name.
    #[error(
        "a state value can't have this name: names have 1 to {NAME_BYTES_MAX} bytes of letters, digits, `.`, `_`, `-` \
         and `/`; bytes=`{bytes}`"
    )]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// The value is larger than any may be.
    #[error("a state value is too large; name=`{name}`, bytes=`{bytes}`, bytes_max=`{VALUE_BYTES_MAX}`")]
    Size {
        /// The value's name.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// The edits are no commit: too many, too large together, or two of one name.
    #[error("a commit of state is refused: {0}")]
    Commit(String),
    /// The store keeps as much as it may.
    #[error(
        "no more state can be kept: remove the pipeline's state to begin anew, and report it if that repeats itself; \
         {what}=`{used}`, {what}_max=`{max}`"
    )]
    Full {
        /// What there is too much of: `bytes` or `names`.
        what: &'static str,
        /// How much there would be.
        used: u64,
        /// How much there may be.
        max: u64,
    },
    /// Another process, or another part of this one, works in the folder.
    #[error(
        "the state folder is in use by another process; folder=`{}`, pid=`{}`",
        folder.display(),
        pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The other process, where the system reports it.
        pid: Option<u32>,
    },
    /// The folder holds the files of a build from before the first release.
    #[error(
        "the state folder was written by an earlier build, whose files this one does not read: remove the folder to \
         begin anew, or choose another one; folder=`{}`",
        folder.display()
    )]
    Earlier {
        /// The folder.
        folder: PathBuf,
    },
    /// The file system did not do what it should: no space, no permission, no such device. What was saved
    /// before is as it was.
    #[error("the state folder can't be used; action=`{action}`, folder=`{}`", folder.display())]
    Folder {
        /// What was being done.
        action: &'static str,
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file in the folder is torn, foreign, or was changed by others.
    #[error(
        "the state file is corrupt: restore it from a copy, or remove it to begin anew; reason=`{reason}`, file=`{}`",
        file.display()
    )]
    Corrupt {
        /// What is wrong with it.
        reason: String,
        /// The file.
        file: PathBuf,
    },
    /// The store's own code failed, which is a bug.
    #[error("the state store failed: {0}")]
    Broken(String),
}

impl Error {
    /// What a caller can do about it. `failed` is the kind of a store that can't be used for now: an outage for a
    /// pipeline, which waits; a lost guarantee for a component, which may not take it for a host that keeps nothing.
    pub(crate) fn kind(&self, failed: ErrorKind) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::Size { .. } | Self::Commit(_) => ErrorKind::Invalid,
            Self::Full { .. } | Self::Locked { .. } | Self::Folder { .. } => failed,
            Self::Earlier { .. } | Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Broken(_) => ErrorKind::Internal,
        }
    }

    /// What happened, but not where: for components, whose business the host's folders are not.
    pub(crate) fn without_place(&self) -> String {
        match self {
            Self::Name { .. } | Self::Size { .. } | Self::Commit(_) | Self::Full { .. } | Self::Broken(_) => {
                self.to_string()
            }
            Self::Locked { .. } => "the state is in use by another process".to_owned(),
            Self::Earlier { .. } => "the state was written by an earlier build".to_owned(),
            Self::Folder { action, source, .. } => {
                format!("the state can't be used; action=`{action}`: {source}")
            }
            Self::Corrupt { reason, .. } => format!("the state is corrupt; reason=`{reason}`"),
        }
    }

    /// Where it happened, for people who can look there.
    fn place(&self) -> Option<String> {
        match self {
            Self::Name { .. } | Self::Size { .. } | Self::Commit(_) | Self::Full { .. } | Self::Broken(_) => None,
            Self::Locked { folder, .. } | Self::Earlier { folder } | Self::Folder { folder, .. } => {
                Some(format!("folder=`{}`", folder.display()))
            }
            Self::Corrupt { file, .. } => Some(format!("file=`{}`", file.display())),
        }
    }
}

/// What one value becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The value's name.
    pub name: String,
    /// What it becomes; `None` where it is removed, which needs no value to be there.
    pub value: Option<Vec<u8>>,
}

impl Edit {
    /// Saves a value.
    pub fn save(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }

    /// Removes a value.
    pub fn remove(name: impl Into<String>) -> Self {
        Self { name: name.into(), value: None }
    }
}

/// Small named values that outlive an instance, and the position up to which its records are done.
pub trait StateStore: Send + Sync {
    /// The value last saved under `name`, if there is one.
    ///
    /// # Errors
    ///
    /// If the value can't be read, or is not what was saved.
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// Makes all edits, durably before it returns. If it fails, no edit is made, but for one case: a device that fails
    /// at the last moment may have made all of them.
    ///
    /// # Errors
    ///
    /// If the edits are above a limit, or two of them have one name; if they can't be made durable, or the store is
    /// full.
    fn commit(&self, edits: &[Edit]) -> Result<(), Error>;

    /// The position last saved, if there is one. It is no value and has no name.
    ///
    /// # Errors
    ///
    /// As of [`load`](Self::load).
    fn load_position(&self) -> Result<Option<Vec<u8>>, Error>;

    /// Saves the position, as durably as a value.
    ///
    /// # Errors
    ///
    /// As of [`commit`](Self::commit).
    fn save_position(&self, position: &[u8]) -> Result<(), Error>;
}

/// Checks what both stores demand of a name.
fn check_name(name: &str) -> Result<(), Error> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let bytes = name.len();
    if (1..=NAME_BYTES_MAX).contains(&bytes) && name.bytes().all(is_known) {
        Ok(())
    } else {
        Err(Error::Name { bytes })
    }
}

/// Checks what both stores demand of a value.
fn check_value(name: &str, value: &[u8]) -> Result<(), Error> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::Size { name: name.to_owned(), bytes: value.len() });
    }
    Ok(())
}

/// Checks what both stores demand of a commit.
fn check_edits(edits: &[Edit]) -> Result<(), Error> {
    let count = edits.len();
    if count > COMMIT_EDITS_MAX {
        return Err(Error::Commit(format!("it has too many edits; edits=`{count}`, edits_max=`{COMMIT_EDITS_MAX}`")));
    }
    let (mut bytes, mut names) = (0, std::collections::BTreeSet::new());
    for Edit { name, value } in edits {
        check_name(name)?;
        let value = value.as_deref().unwrap_or_default();
        check_value(name, value)?;
        bytes += name.len() + value.len();
        if !names.insert(name) {
            return Err(Error::Commit(format!("it has two edits of one value; name=`{name}`")));
        }
    }
    if bytes > COMMIT_BYTES_MAX {
        return Err(Error::Commit(format!("it is too large; bytes=`{bytes}`, bytes_max=`{COMMIT_BYTES_MAX}`")));
    }
    Ok(())
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
