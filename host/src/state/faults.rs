//! Owns what a test lets go wrong with the state file, and the log of what was done to it. Leaves what a crash makes of
//! that log to the tests.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard};

/// What a file system allocates at once.
pub(super) const BLOCK_BYTES: u64 = 4096;

/// What was done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Write {
        offset: u64,
        data: Vec<u8>,
    },
    Length(u64),
    Sync,
    /// The device refused what was written since the last sync, and the system has forgotten that it should be there.
    FailedSync,
}

/// The device's moods. By default it does what it should.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Device>);

#[derive(Debug)]
struct Device {
    /// What was done, from the first step on.
    log: Vec<Op>,
    /// Whether it is kept.
    is_logged: bool,
    /// Steps that are left until nothing works any more, each a write, a sync or a change of length.
    steps: u64,
    /// Syncs that are left until one fails.
    syncs: u64,
    /// How many blocks there may be.
    blocks_max: u64,
    /// Those that there are. A file's length takes none.
    blocks: BTreeSet<u64>,
}

impl Default for Device {
    fn default() -> Self {
        let (steps, syncs, blocks_max) = (u64::MAX, u64::MAX, u64::MAX);
        Self { log: Vec::new(), is_logged: false, steps, syncs, blocks_max, blocks: BTreeSet::new() }
    }
}

impl Faults {
    /// Lets nothing work after this many steps.
    pub(super) fn fill_after(&self, steps: u64) {
        self.device().steps = steps;
    }

    /// Steps that are left.
    pub(super) fn left(&self) -> u64 {
        self.device().steps
    }

    /// Lets one sync fail, after this many that do not.
    pub(super) fn fail_sync_after(&self, syncs: u64) {
        self.device().syncs = syncs;
    }

    /// Gives the file this many blocks, if it has no more already.
    pub(super) fn bound(&self, blocks: u64) {
        self.device().blocks_max = blocks;
    }

    /// Blocks that were written to.
    pub(super) fn blocks(&self) -> u64 {
        self.device().blocks.len() as u64
    }

    /// Keeps the log from now on.
    pub(super) fn record(&self) {
        self.device().is_logged = true;
    }

    /// How many steps the log has.
    pub(super) fn recorded(&self) -> usize {
        self.device().log.len()
    }

    /// The log, which begins anew.
    pub(super) fn take_log(&self) -> Vec<Op> {
        std::mem::take(&mut self.device().log)
    }

    pub(super) fn before_length(&self, len: u64) -> io::Result<()> {
        let mut device = self.device();
        device.step()?;
        drop(device.blocks.split_off(&len.div_ceil(BLOCK_BYTES)));
        device.note(|| Op::Length(len));
        Ok(())
    }

    pub(super) fn before_sync(&self) -> io::Result<()> {
        let mut device = self.device();
        device.step()?;
        match device.syncs {
            0 => {
                device.syncs = u64::MAX;
                device.note(|| Op::FailedSync);
                Err(io::Error::other("the device failed"))
            }
            left => {
                device.syncs = if left == u64::MAX { left } else { left - 1 };
                device.note(|| Op::Sync);
                Ok(())
            }
        }
    }

    /// Where there is no room for all, as much is written as there is room for.
    pub(super) fn before_write(&self, file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut device = self.device();
        device.step()?;
        let end = offset + data.len() as u64;
        for block in offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES) {
            if !device.blocks.contains(&block) && device.blocks.len() as u64 >= device.blocks_max {
                let fits = usize::try_from((block * BLOCK_BYTES).saturating_sub(offset)).expect("less than a length");
                file.write_all_at(&data[..fits], offset)?;
                device.note(|| Op::Write { offset, data: data[..fits].to_vec() });
                return Err(io::ErrorKind::StorageFull.into());
            }
            device.blocks.insert(block);
        }
        device.note(|| Op::Write { offset, data: data.to_vec() });
        Ok(())
    }

    fn device(&self) -> MutexGuard<'_, Device> {
        self.0.lock().expect("no test fails while it holds this")
    }
}

impl Device {
    fn step(&mut self) -> io::Result<()> {
        match self.steps {
            u64::MAX => Ok(()),
            0 => Err(io::ErrorKind::StorageFull.into()),
            left => {
                self.steps = left - 1;
                Ok(())
            }
        }
    }

    fn note(&mut self, op: impl FnOnce() -> Op) {
        if self.is_logged {
            self.log.push(op());
        }
    }
}
