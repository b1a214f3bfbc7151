//! Owns the bytes of the state file: reading, writing and syncing them. Leaves what they mean to redb and the lock to
//! `file`, which holds it for longer than redb has the file open.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use redb::StorageBackend;

/// A file under a lock that somebody else holds.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) file: Arc<File>,
    #[cfg(test)]
    pub(super) faults: Arc<Faults>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.step()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.step()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.faults.step()?;
        self.file.write_all_at(data, offset)
    }
}

/// What a test lets go wrong: the disk is full after this many steps, each a write, a sync or a change of length.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Faults(std::sync::atomic::AtomicU64);

#[cfg(test)]
impl Default for Faults {
    fn default() -> Self {
        Self(u64::MAX.into())
    }
}

#[cfg(test)]
impl Faults {
    pub(super) fn fill_after(&self, steps: u64) {
        self.0.store(steps, std::sync::atomic::Ordering::SeqCst);
    }

    /// Steps that are left.
    pub(super) fn left(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn step(&self) -> io::Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        let taken =
            self.0.fetch_update(SeqCst, SeqCst, |left| if left == u64::MAX { Some(left) } else { left.checked_sub(1) });
        taken.map(drop).map_err(|_| io::ErrorKind::StorageFull.into())
    }
}
