//! Owns state in a folder: one redb file with all values and the position, and the lock that keeps others out. Leaves
//! the choice of folder to the caller, and crash safety to redb, whose commits are all or nothing.
//!
//! The file is verified whole when it is opened, so that one that was torn or changed is an error and no wrong value.
//! What a full disk interrupts is mended when the file is opened again, which the next call does. While it is still full,
//! which leaves no room for mending, values are read as they would be after it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, StorageBackend as _,
    Table, TableDefinition, TableHandle as _, WriteTransaction,
};

use super::disk::Disk;
use super::frozen::Frozen;
use super::holder::holder;
use super::quota::{Quota, Usage};
use super::{Edit, Error, StateStore, check_edits, check_name, check_value};

/// The file's name in its folder.
pub(super) const FILE: &str = "state.redb";

/// The file while it is made.
const BEGUN: &str = "state.redb.begun";

/// The component's values by name.
pub(super) const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
/// The host's own entries: the three below.
pub(super) const HOST: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("host");
/// The version of this arrangement of tables, one byte.
const FORMAT: &str = "format";
/// Bytes of all values together, eight of them, the lowest first.
const BYTES: &str = "bytes";
/// The position, as it is.
const POSITION: &str = "position";
/// The one version there is.
const FORMAT_VERSION: &[u8] = &[1];

/// Pages that redb keeps in memory, per folder: eight of the largest values. Its default is a gigabyte.
const CACHE_BYTES: usize = 8 << 20;

/// A file above this length that is mostly free pages is made smaller when it is opened. redb itself gives back what
/// is free at the end of the file, and uses again what is free before it.
const COMPACT_BYTES_MIN: u64 = 32 << 20;

/// State in a folder, locked for as long as this lives.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
///
/// use s3_connector_host::InstanceOptions;
/// use s3_connector_host::state::{Error, FileState, StateStore};
///
/// # fn example() -> Result<(), Error> {
/// let state: Arc<dyn StateStore> = Arc::new(FileState::open("photos.state")?);
/// // What the pipeline kept last; `open` of the source takes it.
/// let position = state.load_position()?;
/// let options = InstanceOptions { state: Some(state), ..InstanceOptions::default() };
/// # drop((position, options));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileState {
    folder: PathBuf,
    quota: Quota,
    /// Holds the lock. The lock ends with the process, however that ends.
    pub(super) disk: Disk,
    /// `None` after a failure, and until the file was opened again. One call at a time has it.
    opened: Mutex<Option<Opened>>,
}

impl Drop for FileState {
    /// Closing alone would not do: a process that another thread starts just now holds the same open file until it
    /// has become its program, and the lock with it.
    fn drop(&mut self) {
        // redb writes what a quick start needs. If it can't, the next start takes longer.
        drop(self.opened.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        // What can't be unlocked ends with the process.
        let _ = self.disk.file.unlock();
    }
}

/// The database, open.
#[derive(Debug)]
pub(super) struct Opened {
    database: Database,
    /// Whether what is written to it goes nowhere.
    is_frozen: bool,
}

/// What the database is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    Open,
    Read,
    Change,
}

impl Aim {
    /// As errors name it.
    const fn action(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Change => "write",
        }
    }
}

/// Why a step over the database failed.
enum Failure {
    Store(redb::Error),
    Refused(Error),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

impl FileState {
    /// Opens the folder, and makes it where it is not there (for its owner alone).
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process has it; [`Error::Folder`] if it can't be made or written to;
    /// [`Error::Corrupt`] if its file is not what was written.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_with(folder, Quota::default())
    }

    /// As [`open`](Self::open), with another bound of what may be kept.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(folder: impl Into<PathBuf>, quota: Quota) -> Result<Self, Error> {
        let folder = folder.into();
        let fail = |action| {
            let folder = folder.clone();
            move |source| Error::Folder { action, folder, source }
        };
        // 1. The folder.
        let made = folder.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists()).count();
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(fail("create"))?;
        if is_of_earlier_build(&folder).map_err(fail("list"))? {
            return Err(Error::Earlier { folder });
        }

        // 2. The file.
        let path = folder.join(FILE);
        let state = match Self::create(&folder, quota)? {
            Some(created) => created,
            None => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false).mode(0o600);
                let file = options.open(path).map_err(fail("open"))?;
                Self::over(folder, quota, Disk::new(file))?
            }
        };

        // 3. What was made just now is still there after a power cut.
        let sync = |folder: &Path| File::open(folder).and_then(|folder| folder.sync_all());
        sync(&state.folder).map_err(|source| state.fail("sync", source))?;
        if let Ok(folder) = state.folder.canonicalize() {
            // No right to open one is no error.
            folder.ancestors().skip(1).take(made.max(1)).for_each(|parent| drop(sync(parent)));
        }
        Ok(state)
    }

    /// Makes the file where there is none, under another name until it is whole, so that it is synced once rather than four
    /// times. None where there is one, or where somebody else made it meanwhile.
    fn create(folder: &Path, quota: Quota) -> Result<Option<Self>, Error> {
        let fail = |action| move |source| Error::Folder { action, folder: folder.to_owned(), source };
        let (path, begun) = (folder.join(FILE), folder.join(BEGUN));
        // Not `exists`, which calls a link to nothing nothing.
        let is_there = || path.symlink_metadata().is_ok();
        if is_there() {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let disk = Disk::new(options.open(&begun).map_err(fail("open"))?);
        lock(&disk.file, folder)?;
        // A process that made it before had the lock until it was whole.
        if is_there() {
            let _ = fs::remove_file(&begun);
            return Ok(None);
        }
        disk.file.set_len(0).map_err(fail("create"))?;
        disk.is_unsynced.store(true, Ordering::Release);
        let state = Self { folder: folder.to_owned(), quota, disk, opened: Mutex::default() };
        let made = state.with(Aim::Open, |_| Ok(())).and_then(|()| {
            state.disk.is_unsynced.store(false, Ordering::Release);
            state.disk.file.sync_data().map_err(fail("sync"))?;
            fs::rename(&begun, &path).map_err(fail("create"))
        });
        if made.is_err() {
            let _ = fs::remove_file(&begun);
        }
        made.map(|()| Some(state))
    }

    /// Opens the file of a folder: takes the lock, before anything is read, and opens the database.
    pub(super) fn over(folder: PathBuf, quota: Quota, disk: Disk) -> Result<Self, Error> {
        lock(&disk.file, &folder)?;
        let state = Self { folder, quota, disk, opened: Mutex::default() };
        state.with(Aim::Open, |_| Ok(()))?;
        Ok(state)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of all values, in order.
    ///
    /// # Errors
    ///
    /// If the file can't be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        self.with(Aim::Read, |database| {
            let values = database.begin_read()?.open_table(VALUES)?;
            let mut names = Vec::new();
            for entry in values.iter()? {
                names.push(entry?.0.value().to_owned());
            }
            Ok(names)
        })
    }

    /// The database, to be closed by a test.
    #[cfg(test)]
    pub(super) fn forget(&self) -> std::sync::MutexGuard<'_, Option<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the database: all that `job` does, or nothing if it fails.
    fn change(&self, job: impl FnOnce(&WriteTransaction) -> Result<(), Failure>) -> Result<(), Error> {
        self.with(Aim::Change, |database| {
            let transaction = database.begin_write()?;
            job(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    /// Does one thing with the database, which is opened where it is not.
    fn with<T>(&self, aim: Aim, job: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Error> {
        let mut kept = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if aim != Aim::Read {
            // Perhaps there is room by now.
            drop(kept.take_if(|opened| opened.is_frozen));
        }
        let done = match &mut *kept {
            Some(opened) => job(&opened.database),
            none => self.open_for(aim).and_then(|opened| job(&none.insert(opened).database)),
        };
        done.map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Store(error) => {
                // redb goes on after no failure of the disk, and repairs the file when it is opened again.
                *kept = None;
                self.explain(aim.action(), error)
            }
        })
    }

    /// Opens the database. A disk that is too full for that does not keep it from being read.
    fn open_for(&self, aim: Aim) -> Result<Opened, Failure> {
        match self.open_database() {
            Err(Failure::Store(redb::Error::Io(error))) if aim == Aim::Read && is_full(&error) => self.open_frozen(),
            opened => opened,
        }
    }

    fn open_database(&self) -> Result<Opened, Failure> {
        if is_unfinished(&self.disk.file)? {
            self.disk.set_len(0)?;
        }
        self.disk.suspect()?;
        let mut database = builder().create_with_backend(self.disk.clone())?;
        // What was read has been written again and synced: opening a file that was not closed ends with a commit.
        self.disk.trust();
        let usage = self.prepare(&database)?;
        let length = self.disk.file.metadata()?.len();
        if length > COMPACT_BYTES_MIN && usage.bytes < length / 2 {
            database.compact()?;
            let after = self.disk.file.metadata()?.len();
            tracing::debug!(before = length, after, "free space of the state file is given back");
        }
        Ok(Opened { database, is_frozen: false })
    }

    /// Opens what the file would be, were it repaired.
    fn open_frozen(&self) -> Result<Opened, Failure> {
        let database = builder().create_with_backend(Frozen::new(Arc::clone(&self.disk.file))?)?;
        self.prepare(&database)?;
        Ok(Opened { database, is_frozen: true })
    }

    /// Makes the tables where nothing is, and looks at their version where something is.
    fn prepare(&self, database: &Database) -> Result<Usage, Failure> {
        let transaction = database.begin_write()?;
        let names: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
        if names.is_empty() {
            transaction.open_table(VALUES)?;
            transaction.open_table(HOST)?.insert(FORMAT, FORMAT_VERSION)?;
            transaction.commit()?;
            return Ok(Usage::default());
        }
        let corrupt = |reason| Failure::Refused(self.corrupt(reason));
        if !names.iter().any(|name| name == "host") || !names.iter().any(|name| name == "values") {
            return Err(corrupt("it is a database of another program"));
        }
        let host = transaction.open_table(HOST)?;
        let version = host.get(FORMAT)?.map(|version| version.value().to_owned());
        if version.as_deref() != Some(FORMAT_VERSION) {
            return Err(corrupt("a newer build wrote it"));
        }
        Ok(usage(&transaction.open_table(VALUES)?, &host)?)
    }

    fn corrupt(&self, reason: impl Into<String>) -> Error {
        Error::Corrupt { reason: reason.into(), file: self.folder.join(FILE) }
    }

    fn explain(&self, action: &'static str, error: redb::Error) -> Error {
        match error {
            // How redb says that the file does not begin as its files do.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => self.corrupt("it is no state file"),
            // Its header names more than there is.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.corrupt("it is shorter than it was")
            }
            redb::Error::Io(source) => self.fail(action, source),
            redb::Error::UpgradeRequired(_) => self.corrupt("another version of the database wrote it"),
            redb::Error::Corrupted(reason) => self.corrupt(reason),
            error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::TableIsMultimap(_)) => {
                self.corrupt(error.to_string())
            }
            error => Error::Broken(error.to_string()),
        }
    }

    fn fail(&self, action: &'static str, source: io::Error) -> Error {
        Error::Folder { action, folder: self.folder.clone(), source }
    }
}

impl StateStore for FileState {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check_name(name)?;
        self.with(Aim::Read, |database| {
            let value = database.begin_read()?.open_table(VALUES)?.get(name)?;
            Ok(value.map(|value| value.value().to_owned()))
        })
    }

    fn commit(&self, edits: &[Edit]) -> Result<(), Error> {
        check_edits(edits)?;
        if edits.is_empty() {
            return Ok(());
        }
        self.change(|transaction| {
            let (mut values, mut host) = (transaction.open_table(VALUES)?, transaction.open_table(HOST)?);
            let before = usage(&values, &host)?;
            let mut after = before;
            for Edit { name, value } in edits {
                let replaced = match value {
                    Some(value) => values.insert(&**name, &**value)?,
                    None => values.remove(&**name)?,
                };
                after.replace(replaced.map(|replaced| replaced.value().len()), value.as_ref().map(Vec::len));
            }
            self.quota.check(before, after).map_err(Failure::Refused)?;
            host.insert(BYTES, &after.bytes.to_le_bytes()[..])?;
            Ok(())
        })
    }

    fn load_position(&self) -> Result<Option<Vec<u8>>, Error> {
        self.with(Aim::Read, |database| {
            let position = database.begin_read()?.open_table(HOST)?.get(POSITION)?;
            Ok(position.map(|position| position.value().to_owned()))
        })
    }

    fn save_position(&self, position: &[u8]) -> Result<(), Error> {
        check_value(POSITION, position)?;
        self.change(|transaction| {
            transaction.open_table(HOST)?.insert(POSITION, position)?;
            Ok(())
        })
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Takes the lock of a file in a folder.
fn lock(file: &File, folder: &Path) -> Result<(), Error> {
    let folder = folder.to_owned();
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { pid: holder(file), folder }),
        Err(TryLockError::Error(source)) => Err(Error::Folder { action: "lock", folder, source }),
    }
}

/// Whether there was no room, on the device or for this user.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

type Entries<'a> = Table<'a, &'static str, &'static [u8]>;

/// What the tables say that is kept.
fn usage(values: &Entries<'_>, host: &Entries<'_>) -> Result<Usage, redb::Error> {
    let bytes = host.get(BYTES)?.and_then(|bytes| bytes.value().try_into().ok());
    Ok(Usage { bytes: bytes.map_or(0, u64::from_le_bytes), names: values.len()? })
}

/// Whether the folder holds state in the files of builds before the first release, and none of this one's.
fn is_of_earlier_build(folder: &Path) -> io::Result<bool> {
    let mut has_earlier = false;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name == FILE {
            return Ok(false);
        }
        has_earlier |= name == "position" || name.ends_with(".value");
    }
    Ok(has_earlier)
}

/// Whether redb was stopped while it made the file: its first bytes, which it writes last, are not there or torn, and
/// nothing follows its header.
fn is_unfinished(file: &File) -> io::Result<bool> {
    const HEADER_BYTES: usize = 4096;
    const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
    let length = file.metadata()?.len();
    // A file that was just made has 72 KiB.
    if !(1..=1 << 20).contains(&length) {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(length).expect("at most a megabyte")];
    file.read_exact_at(&mut bytes, 0)?;
    let (header, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES));
    let is_torn = header.iter().zip(MAGIC).all(|(byte, magic)| *byte == 0 || byte == magic);
    let is_begun = rest.iter().all(|byte| *byte == 0) && !header.starts_with(MAGIC);
    // The header is torn where it was being written, in a file that has its length already.
    Ok(is_begun && is_torn && (!rest.is_empty() || header.iter().take(MAGIC.len()).all(|byte| *byte == 0)))
}
