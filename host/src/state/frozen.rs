//! Owns a view of the state file that changes nothing in it: what is written is kept in memory. Leaves the choice of
//! when to look at the file so to `file`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// What is kept in memory at once.
const BLOCK_BYTES: usize = 4096;

/// How much there may be of it: redb repairs a file of the largest quota with less.
const BLOCKS_MAX: usize = (16 << 20) / BLOCK_BYTES;

/// A file, and what was written over it.
#[derive(Debug)]
pub(super) struct Frozen {
    file: Arc<File>,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    length: u64,
    /// How much of the file still shows where nothing was written: no more than the shortest length there was.
    shown: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK_BYTES]>>,
}

impl Frozen {
    pub(super) fn new(file: Arc<File>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, over: Mutex::new(Over { length, shown: length, blocks: BTreeMap::new() }) })
    }

    fn over(&self) -> MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it reads.
    fn block(&self, over: &Over, number: u64) -> io::Result<Box<[u8; BLOCK_BYTES]>> {
        if let Some(block) = over.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = Box::new([0; BLOCK_BYTES]);
        let start = number * BLOCK_BYTES as u64;
        let shown = over.shown.saturating_sub(start).min(BLOCK_BYTES as u64);
        self.file.read_exact_at(&mut block[..usize::try_from(shown).expect("a block at most")], start)?;
        Ok(block)
    }
}

/// The parts of a range that lie in one block each: the block, where in it a part begins, and the part's own range.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < length).then(|| {
            let (number, at) =
                ((offset + done as u64) / BLOCK_BYTES as u64, (offset + done as u64) % BLOCK_BYTES as u64);
            let at = usize::try_from(at).expect("less than a block");
            let part = done..length.min(done + BLOCK_BYTES - at);
            done = part.end;
            (number, at, part)
        })
    })
}

impl StorageBackend for Frozen {
    fn len(&self) -> io::Result<u64> {
        Ok(self.over().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let over = self.over();
        if offset + out.len() as u64 > over.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, at, part) in parts(offset, out.len()) {
            let length = part.len();
            out[part].copy_from_slice(&self.block(&over, number)?[at..at + length]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut over = self.over();
        over.length = len;
        over.shown = over.shown.min(len);
        drop(over.blocks.split_off(&len.div_ceil(BLOCK_BYTES as u64)));
        let last = len / BLOCK_BYTES as u64;
        if let Some(block) = over.blocks.get_mut(&last) {
            block[usize::try_from(len % BLOCK_BYTES as u64).expect("less than a block")..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.over();
        for (number, at, part) in parts(offset, data.len()) {
            let mut block = self.block(&over, number)?;
            block[at..at + part.len()].copy_from_slice(&data[part]);
            over.blocks.insert(number, block);
        }
        if over.blocks.len() > BLOCKS_MAX {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        over.length = over.length.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_a_file_that_was_written_and_the_file_is_as_it_was() {
        let file = tempfile::tempfile().unwrap();
        let before: Vec<u8> = (0..=255).cycle().take(20_000).collect();
        file.write_all_at(&before, 0).unwrap();
        let written = tempfile::tempfile().unwrap();
        written.write_all_at(&before, 0).unwrap();
        let frozen = Frozen::new(Arc::new(file.try_clone().unwrap())).unwrap();
        let write = |offset, data: &[u8]| {
            frozen.write(offset, data).unwrap();
            written.write_all_at(data, offset).unwrap();
        };
        let set_len = |len| {
            frozen.set_len(len).unwrap();
            written.set_len(len).unwrap();
        };
        let compare = || {
            let length = written.metadata().unwrap().len();
            assert_eq!(frozen.len().unwrap(), length);
            let mut bytes = [vec![1; usize::try_from(length).unwrap()], vec![2; usize::try_from(length).unwrap()]];
            frozen.read(0, &mut bytes[0]).unwrap();
            written.read_exact_at(&mut bytes[1], 0).unwrap();
            assert!(bytes[0] == bytes[1]);
            assert!(frozen.read(1, &mut bytes[0]).is_err());
        };
        compare();
        write(4090, &[7; 10]);
        write(0, &[8; 320]);
        compare();
        set_len(10_000);
        compare();
        write(8192, &[9; 4096]);
        set_len(30_000);
        compare();
        write(29_999, &[1; 9000]);
        set_len(38_000);
        set_len(40_000);
        compare();
        let mut after = vec![0; before.len()];
        file.read_exact_at(&mut after, 0).unwrap();
        assert!(after == before);
    }
}
