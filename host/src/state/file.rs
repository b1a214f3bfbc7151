//! Owns state in a folder: one file per value, replaced as a whole, and a lock that keeps others out. Leaves
//! the choice of folder to the caller.
//!
//! A value is written beside its place, synced, moved there, and the folder is synced: after a crash at any
//! step the file is the old one or the new one. A header with length and checksum tells both from anything else.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::Hasher as _;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip::SipHasher24;

use super::quota::{Quota, Usage};
use super::{Error, StateStore, VALUE_BYTES_MAX, check_name, check_value};

/// The file that is locked, and holds the process id of who locked it.
pub(super) const LOCK: &str = "lock";
/// The file of the position. Values have a suffix, so none can take its place.
const POSITION: &str = "position";
/// What a value's file ends with.
const VALUE_SUFFIX: &str = ".value";
/// What a file ends with while it is written.
const TEMPORARY_SUFFIX: &str = ".new";

/// The first bytes of a file: what it is, and the version of its form.
const MAGIC: [u8; 8] = *b"s3cstat\x01";
/// Magic, length, checksum.
const HEADER_BYTES: usize = 8 + 8 + 8;

/// State in a folder, locked for as long as this lives.
#[derive(Debug)]
pub struct FileState {
    folder: PathBuf,
    /// Open as long as the lock is held. The lock ends with the process, however that ends.
    pub(super) lock: File,
    /// What is kept; locked while something is written, since two threads would write the same temporary file.
    usage: Mutex<Usage>,
}

impl Drop for FileState {
    /// Closing alone would not do: a process that another thread starts just now holds the same open file until it
    /// has become its program, and the lock with it.
    fn drop(&mut self) {
        // What can't be unlocked ends with the process.
        let _ = self.lock.unlock();
    }
}

impl FileState {
    /// Opens the folder, and makes it where it is not there (for its owner alone). Removes what a crash left
    /// half written.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process has it; [`Error::Folder`] if it can't be made or written to.
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
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(fail("create"))?;
        if let Some(parent) = folder.canonicalize().ok().as_deref().and_then(Path::parent) {
            // So that a folder made just now is still there after a power cut; no right to it is no error.
            let _ = File::open(parent).and_then(|parent| parent.sync_all());
        }

        // 2. The lock, before anything is touched.
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(LOCK))
            .map_err(fail("open the lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut lock);
                return Err(Error::Locked { folder, pid });
            }
            Err(TryLockError::Error(error)) => return Err(fail("lock")(error)),
        }
        write_pid(&mut lock).map_err(fail("write the lock"))?;

        // 3. What a crash left, and what is kept.
        let mut kept = Vec::new();
        for file in list(&folder).map_err(fail("list"))? {
            if file.ends_with(TEMPORARY_SUFFIX) {
                fs::remove_file(folder.join(&file)).map_err(fail("clean up"))?;
                tracing::debug!(file, "a file that was half written is removed");
            } else if let Some(name) = file.strip_suffix(VALUE_SUFFIX).and_then(unescape) {
                let metadata = fs::metadata(folder.join(&file)).map_err(fail("list"))?;
                kept.push((name, metadata.len().saturating_sub(HEADER_BYTES as u64)));
            }
        }
        Ok(Self { folder, lock, usage: Mutex::new(Usage::of(quota, kept)) })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn read(&self, file: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.folder.join(file);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.fail("read", source)),
        };
        match unframe(file, bytes) {
            Ok(value) => Ok(Some(value)),
            Err(reason) => Err(Error::Corrupt { reason, file: path }),
        }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces a file as a whole, while nobody else does.
    fn write(&self, _usage: &Usage, file: &str, value: &[u8]) -> Result<(), Error> {
        let path = self.folder.join(file);
        let temporary = self.folder.join(format!("{file}{TEMPORARY_SUFFIX}"));
        let written =
            write_synced(&temporary, &header(file, value), value).and_then(|()| fs::rename(&temporary, &path));
        if let Err(source) = written {
            // What is there takes the space that may be missing; if this fails too, the next start does it.
            let _ = fs::remove_file(&temporary);
            return Err(self.fail("write", source));
        }
        self.sync_folder()
    }

    /// Makes the folder's entries durable: a rename alone may be forgotten in a power cut.
    fn sync_folder(&self) -> Result<(), Error> {
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| self.fail("sync", source))
    }

    fn fail(&self, action: &'static str, source: io::Error) -> Error {
        Error::Folder { action, folder: self.folder.clone(), source }
    }
}

impl StateStore for FileState {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        check_name(name)?;
        self.read(&file_name(name))
    }

    fn save(&self, name: &str, value: &[u8]) -> Result<(), Error> {
        check_name(name)?;
        check_value(name, value)?;
        let mut usage = self.usage();
        usage.check(name, value.len() as u64)?;
        self.write(&usage, &file_name(name), value)?;
        usage.saved(name, value.len() as u64);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let mut usage = self.usage();
        match fs::remove_file(self.folder.join(file_name(name))) {
            Ok(()) => {
                usage.removed(name);
                self.sync_folder()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(self.fail("remove", source)),
        }
    }

    fn list(&self) -> Result<Vec<String>, Error> {
        let files = list(&self.folder).map_err(|source| self.fail("list", source))?;
        let mut names: Vec<String> =
            files.iter().filter_map(|file| unescape(file.strip_suffix(VALUE_SUFFIX)?)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn load_position(&self) -> Result<Option<Vec<u8>>, Error> {
        self.read(POSITION)
    }

    fn save_position(&self, position: &[u8]) -> Result<(), Error> {
        check_value(POSITION, position)?;
        self.write(&self.usage(), POSITION, position)
    }
}

/// The names of the files in a folder; those that are not text are none of ours.
pub(super) fn list(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string() {
            files.push(name);
        }
    }
    Ok(files)
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Reads a file that is no longer than one of ours can be.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let bytes_max = (HEADER_BYTES + VALUE_BYTES_MAX) as u64;
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn write_synced(path: &Path, header: &[u8], value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(header)?;
    file.write_all(value)?;
    file.sync_all()
}

fn header(file: &str, value: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&(value.len() as u64).to_le_bytes());
    header[16..].copy_from_slice(&checksum(file, value).to_le_bytes());
    header
}

/// Takes the header off, if it is right.
fn unframe(file: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    if bytes.len() < HEADER_BYTES {
        return Err("shorter than its header");
    }
    if !bytes.starts_with(&MAGIC) {
        return Err("not a state file of this version");
    }
    let word = |from: usize| {
        let bytes = bytes[from..from + 8].try_into().expect("a slice of eight bytes");
        u64::from_le_bytes(bytes)
    };
    let (length, sum) = (word(8), word(16));
    if length != (bytes.len() - HEADER_BYTES) as u64 {
        return Err("not as long as its header says");
    }
    let value = bytes.split_off(HEADER_BYTES);
    if checksum(file, &value) != sum {
        return Err("not what its checksum says");
    }
    Ok(value)
}

/// Covers the name too: a file that was renamed is not another value. Guards against accidents, not malice.
fn checksum(file: &str, value: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(file.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(value);
    hasher.finish()
}

fn file_name(name: &str) -> String {
    let mut file = String::with_capacity(name.len() + VALUE_SUFFIX.len());
    for byte in name.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_' {
            file.push(char::from(byte));
        } else {
            // Capitals too: on some file systems they are the same as small letters. No dot and no slash is
            // left, so a name can't leave the folder.
            file.push('%');
            file.push(char::from(HEX[usize::from(byte >> 4)]));
            file.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    file.push_str(VALUE_SUFFIX);
    file
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The name that was escaped; none if the file's name is not one of ours.
fn unescape(escaped: &str) -> Option<String> {
    let bytes = percent_encoding::percent_decode_str(escaped).collect();
    let name = String::from_utf8(bytes).ok()?;
    (file_name(&name).strip_suffix(VALUE_SUFFIX)? == escaped).then_some(name)
}
