//! Owns the bytes of the state file: reading, writing and syncing them. Leaves what they mean to redb and the lock to
//! `file`, which holds it for longer than redb has the file open.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

/// Where redb's header says how the file was left, and the bit that stands for "not closed".
const FLAGS_AT: u64 = 9;
const NOT_CLOSED: u8 = 2;

/// A file under a lock that somebody else holds.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) file: Arc<File>,
    /// Whether what is read is written again. Where a sync fails, the system forgets that it has something to write, not
    /// what that was: it still reads, the next sync knows nothing of it, and a power cut takes it away. Written again, it
    /// is on the device after the next sync that succeeds.
    pub(super) is_suspect: Arc<AtomicBool>,
    /// Whether nothing is synced: the file is new, and counts once it is whole.
    pub(super) is_unsynced: Arc<AtomicBool>,
    #[cfg(test)]
    pub(super) faults: Arc<super::faults::Faults>,
}

impl Disk {
    pub(super) fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            is_suspect: Arc::default(),
            is_unsynced: Arc::default(),
            #[cfg(test)]
            faults: Arc::default(),
        }
    }

    /// Suspects a file that was not closed: after a failure, or by a process that ended too soon, and who knows why.
    pub(super) fn suspect(&self) -> io::Result<()> {
        let mut flags = [0];
        let is_suspect = match self.file.read_exact_at(&mut flags, FLAGS_AT) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            read => read.map(|()| flags[0] & NOT_CLOSED != 0)?,
        };
        self.is_suspect.store(is_suspect, Ordering::Release);
        Ok(())
    }

    /// Believes what is read from now on.
    pub(super) fn trust(&self) {
        self.is_suspect.store(false, Ordering::Release);
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)?;
        if self.is_suspect.load(Ordering::Acquire) { self.write(offset, out) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_length(len)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_unsynced.load(Ordering::Acquire) {
            return Ok(());
        }
        #[cfg(test)]
        self.faults.before_sync()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_write(&self.file, offset, data)?;
        self.file.write_all_at(data, offset)
    }
}
