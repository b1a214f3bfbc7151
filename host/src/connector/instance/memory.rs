//! Owns how much memory an instance may have: all of its memories together, and the bookkeeping of its tables and core
//! instances. Leaves to `egress` what the host holds for it.

use wasmtime::ResourceLimiter;

use crate::tally::Tally;

/// Bytes of all memories of an instance together. A destination holds a batch of 64 MiB as it came and encoded, and the
/// four that are on their way.
pub const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Memories of an instance. Ours has one; each more costs the host address space and a few pages.
const MEMORIES_MAX: usize = 16;

/// Tables of an instance. Ours has two: its own, and that of the adapter for what the Rust library asks for.
const TABLES_MAX: usize = 16;

/// Elements of all tables together. Ours has some thousand functions; at eight bytes each this is 800 KB.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Core instances of an instance. Ours has its module, and one of shims for each interface that it imports.
const INSTANCES_MAX: usize = 64;

/// Adds up what an instance has taken.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    tally: Tally,
    memory: Sum,
    elements: Sum,
    /// Bytes of memory that were asked for in vain.
    refused: Option<usize>,
}

/// A sum, and what was added last.
#[derive(Debug, Default)]
struct Sum {
    taken: usize,
    last: usize,
}

impl Sum {
    /// Grows one of the parts, if the sum then stays within its bound.
    fn grow(&mut self, current: usize, desired: usize, max: usize) -> bool {
        let more = desired.saturating_sub(current);
        let fits = self.taken.checked_add(more).is_some_and(|sum| sum <= max);
        self.last = if fits { more } else { 0 };
        self.taken += self.last;
        fits
    }

    /// Takes back what was added last: the part did not grow after all.
    fn undo(&mut self) {
        self.taken -= std::mem::take(&mut self.last);
    }
}

impl Limiter {
    /// Of an instance that has taken nothing.
    pub(super) fn new(tally: Tally) -> Self {
        Self { tally, memory: Sum::default(), elements: Sum::default(), refused: None }
    }

    /// What to add to the message of a trap: few components say that they had no memory.
    pub(super) fn explain(&self) -> Option<String> {
        let bytes = self.refused?;
        Some(format!(
            "it asked for more memory than an instance may have; bytes=`{bytes}`, bytes_max=`{MEMORY_BYTES_MAX}`"
        ))
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The runtime refuses it, without telling.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let fits = self.memory.grow(current, desired, MEMORY_BYTES_MAX);
        self.tally.grown(self.memory.last);
        if !fits {
            let more = desired.saturating_sub(current);
            self.refused = Some(self.memory.taken.saturating_add(more));
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.tally.shrunk(self.memory.last);
        self.memory.undo();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.elements.grow(current, desired, TABLE_ELEMENTS_MAX))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.elements.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.tally.shrunk(self.memory.taken);
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Module, Store};

    use super::*;

    const PAGE: usize = 64 << 10;

    #[test]
    fn memories_are_summed_and_the_last_page_of_the_sum_is_the_last() {
        let mut limiter = Limiter::default();
        let half = MEMORY_BYTES_MAX / 2;
        // Two memories, of which the second grows up to the bound and not a page further.
        assert!(limiter.memory_growing(0, half, None).unwrap());
        assert!(limiter.memory_growing(0, half - PAGE, None).unwrap());
        assert!(limiter.memory_growing(half - PAGE, half, None).unwrap());
        assert_eq!(limiter.explain(), None);
        assert!(!limiter.memory_growing(half, half + PAGE, None).unwrap());
        assert!(!limiter.memory_growing(0, PAGE, None).unwrap(), "nor a third");
        let why = limiter.explain().unwrap();
        assert!(why.contains(&format!("bytes=`{}`", MEMORY_BYTES_MAX + PAGE)), "{why}");
    }

    /// A module with a memory of this many pages and nothing else.
    fn module(engine: &Engine, mut pages: usize) -> Module {
        let mut size = Vec::new();
        while pages > 0x7f {
            size.push(pages as u8 | 0x80);
            pages >>= 7;
        }
        size.push(pages as u8);
        let head = b"\0asm\x01\0\0\0\x05";
        let section = [&[size.len() as u8 + 2, 1, 0][..], &size].concat();
        Module::from_binary(engine, &[&head[..], &section].concat()).unwrap()
    }

    #[test]
    fn modules_of_one_store_share_the_bound_by_the_runtime_s_own_count() {
        let engine = Engine::default();
        let mut store = Store::new(&engine, Limiter::default());
        store.limiter(|limiter| limiter);
        let pages_max = MEMORY_BYTES_MAX / PAGE;
        for pages in [pages_max / 2, pages_max / 2 - 1, 1] {
            Instance::new(&mut store, &module(&engine, pages), &[]).unwrap();
        }
        let error = Instance::new(&mut store, &module(&engine, 1), &[]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("exceeds memory limits"), "{error}");
        // Another store has its own.
        let mut other = Store::new(&engine, Limiter::default());
        other.limiter(|limiter| limiter);
        Instance::new(&mut other, &module(&engine, pages_max), &[]).unwrap();
    }

    #[test]
    fn what_did_not_grow_after_all_is_not_counted() {
        let mut limiter = Limiter::default();
        let refused = || wasmtime::format_err!("the system has no memory");
        assert!(limiter.memory_growing(0, MEMORY_BYTES_MAX, None).unwrap());
        limiter.memory_grow_failed(refused()).unwrap();
        assert!(limiter.memory_growing(0, MEMORY_BYTES_MAX, None).unwrap());
        // A growth that was refused is not taken back a second time.
        assert!(!limiter.memory_growing(0, PAGE, None).unwrap());
        limiter.memory_grow_failed(refused()).unwrap();
        assert!(!limiter.memory_growing(0, PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, 2 * PAGE, Some(PAGE)).is_ok_and(|grows| !grows));
    }

    #[test]
    fn elements_of_tables_are_summed() {
        let mut limiter = Limiter::default();
        assert!(limiter.table_growing(0, TABLE_ELEMENTS_MAX - 1, None).unwrap());
        assert!(limiter.table_growing(0, 1, None).unwrap());
        assert!(!limiter.table_growing(0, 1, None).unwrap());
    }
}
