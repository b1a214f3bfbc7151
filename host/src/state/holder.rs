//! Owns which process holds the lock of a file. Leaves taking it to `file`.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

/// The process that has locked the file, where the system reports it: Linux does, for processes that this one can see.
pub(super) fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    find(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

/// The one process that holds an exclusive lock of this inode. The device is not compared: some file systems show
/// another one in the list than in the file's own metadata.
fn find(locks: &str, inode: u64) -> Option<u32> {
    let mut pids = locks.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, access, pid, id) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        let is_it = kind == "FLOCK" && access == "WRITE" && id.rsplit(':').next()?.parse() == Ok(inode);
        // Zero stands for a process of another namespace.
        pid.parse().ok().filter(|pid| is_it && *pid != 0)
    });
    let pid = pids.next()?;
    pids.all(|other| other == pid).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_the_one_process_with_an_exclusive_lock() {
        let locks = "\
1: FLOCK  ADVISORY  WRITE 30377 fe:00:123 0 EOF
2: FLOCK  ADVISORY  READ 1 fe:00:123 0 EOF
2: -> FLOCK  ADVISORY  WRITE 2 fe:00:123 0 EOF
3: POSIX  ADVISORY  WRITE 3 fe:00:123 0 EOF
4: FLOCK  ADVISORY  WRITE 0 00:2d:125 0 EOF
5: FLOCK  ADVISORY  WRITE 4 00:2d:126 0 EOF
6: FLOCK  ADVISORY  WRITE 5 00:2e:126 0 EOF
7: nonsense";
        assert_eq!(find(locks, 123), Some(30377));
        for unknown in [124, 125, 126] {
            assert_eq!(find(locks, unknown), None);
        }
    }
}
