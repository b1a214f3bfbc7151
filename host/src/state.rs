//! Owns what outlives an instance: named values and the position, in memory or in a folder. Leaves their meaning
//! to the component and the pipeline. Calls block for a few milliseconds; from async code use `spawn_blocking`.

mod file;
mod memory;
mod quota;
mod watched;

use std::path::PathBuf;

pub use self::file::FileState;
pub use self::memory::MemoryState;
pub use self::quota::Quota;
pub(crate) use self::watched::{LastPlace, Watched};

/// The longest name of a value: with every byte escaped, a file's name stays below the 255 bytes of Linux.
pub const NAME_BYTES_MAX: usize = 80;

/// The largest value: a plan of a pass over ten million keys takes tens of megabytes; more is a mistake, and
/// would be read back into memory whole.
pub const VALUE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Why state was not kept or not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No value can have this name.
    #[error("a state value can't have this name; bytes=`{bytes}`, bytes_max=`{NAME_BYTES_MAX}`")]
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
        /// The other process, where it could be read.
        pid: Option<u32>,
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
    /// A file in the folder is torn, foreign, or was changed by others.
    #[error("a state file is corrupt; reason=`{reason}`, file=`{}`", file.display())]
    Corrupt {
        /// What is wrong with it.
        reason: &'static str,
        /// The file.
        file: PathBuf,
    },
}

impl Error {
    /// What happened, but not where: for components, whose business the host's folders are not.
    pub(crate) fn without_place(&self) -> String {
        match self {
            Self::Name { .. } | Self::Size { .. } | Self::Full { .. } => self.to_string(),
            Self::Locked { .. } => "the state is in use by another process".to_owned(),
            Self::Folder { action, source, .. } => {
                format!("the state can't be used; action=`{action}`: {source}")
            }
            Self::Corrupt { reason, .. } => format!("the state is corrupt; reason=`{reason}`"),
        }
    }

    /// Where it happened, for whoever can look there.
    fn place(&self) -> Option<String> {
        match self {
            Self::Name { .. } | Self::Size { .. } | Self::Full { .. } => None,
            Self::Locked { folder, .. } | Self::Folder { folder, .. } => Some(format!("folder=`{}`", folder.display())),
            Self::Corrupt { file, .. } => Some(format!("file=`{}`", file.display())),
        }
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

    /// Saves `value` under `name`. It is durable once this returns; if this fails, the value before it is
    /// still there.
    ///
    /// # Errors
    ///
    /// If the value can't be made durable, or the store is full.
    fn save(&self, name: &str, value: &[u8]) -> Result<(), Error>;

    /// Forgets `name`. A name that is not there is no error.
    ///
    /// # Errors
    ///
    /// If the value can't be removed.
    fn remove(&self, name: &str) -> Result<(), Error>;

    /// The names of all values, in order. The position is none of them.
    ///
    /// # Errors
    ///
    /// If the folder can't be read.
    fn list(&self) -> Result<Vec<String>, Error>;

    /// The position last saved, if there is one.
    ///
    /// # Errors
    ///
    /// As of [`load`](Self::load).
    fn load_position(&self) -> Result<Option<Vec<u8>>, Error>;

    /// Saves the position, as durably as a value.
    ///
    /// # Errors
    ///
    /// As of [`save`](Self::save).
    fn save_position(&self, position: &[u8]) -> Result<(), Error>;
}

/// Checks what both stores demand of a name.
fn check_name(name: &str) -> Result<(), Error> {
    let bytes = name.len();
    if bytes == 0 || bytes > NAME_BYTES_MAX { Err(Error::Name { bytes }) } else { Ok(()) }
}

/// Checks what both stores demand of a value.
fn check_value(name: &str, value: &[u8]) -> Result<(), Error> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Error::Size { name: name.to_owned(), bytes: value.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
