//! Pulls the plug: after every step of a store, and of opening what an earlier pull left, the file becomes what a crash
//! may make of it. What was synced is there. Of what was written since, whatever part reached the device is, whole or
//! torn, in whatever order; the same for the file's length.
//!
//! A byte of the file is never torn, and of two writes to one byte the device has the earlier one only where it has not
//! got the later one yet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, memfd_create};

use super::disk::Disk;
use super::faults::Op;
use super::*;

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    values: BTreeMap<String, Vec<u8>>,
    position: Option<Vec<u8>>,
}

impl Held {
    fn of(state: &FileState) -> Result<Self, Error> {
        let load = |name: String| Ok(state.load(&name)?.map(|value| (name, value)));
        let values = state.names()?.into_iter().filter_map(|name| load(name).transpose()).collect::<Result<_, Error>>();
        Ok(Self { values: values?, position: state.load_position()? })
    }
}

/// Numbers that depend on nothing but the seed.
struct Dice(u64);

impl Dice {
    /// Another seed for each run; `S3_CONNECTOR_SEED` repeats one.
    fn throw(what: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let given = std::env::var("S3_CONNECTOR_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or(u64::from(now.subsec_nanos()));
        println!("{what}: S3_CONNECTOR_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn value(&mut self) -> Vec<u8> {
        let length = [0, 10, 300, 3000, 5000, 20_000, 70_000][self.below(7)];
        let first = self.next();
        (first..).map(|number| number.to_le_bytes()[0]).take(self.below(length + 1)).collect()
    }
}

/// A file in memory.
fn file() -> File {
    File::from(memfd_create("state", MemfdFlags::CLOEXEC).unwrap())
}

fn open(disk: Disk) -> Result<FileState, Error> {
    FileState::over("crash".into(), Quota::default(), disk)
}

/// What was done to a store and its file.
struct History {
    log: Vec<Op>,
    /// What it held, and how many steps had been done when that was sure.
    held: Vec<(Held, usize)>,
}

impl History {
    /// One commit or position after the other; in between the store is closed, or given up, and opened again.
    fn of(dice: &mut Dice, commits: usize, syncs_fail: bool) -> Self {
        let disk = Disk::new(file());
        disk.faults.record();
        let mut held = vec![(Held::default(), 0)];
        // As another process does, which knows no more than what it reads.
        let open = || loop {
            if let Ok(state) = open(Disk { is_suspect: Arc::default(), ..disk.clone() }) {
                return state;
            }
        };
        let mut state = open();
        for _ in 0..commits {
            if syncs_fail && dice.one_in(3) {
                disk.faults.fail_sync_after(dice.below(6) as u64);
            }
            let mut next = held.last().unwrap().0.clone();
            // What fails is tried again, as the callers do.
            if dice.one_in(4) {
                let position = dice.value();
                while state.save_position(&position).is_err() {}
                next.position = Some(position);
            } else {
                let edits = edits(dice);
                while state.commit(&edits).is_err() {}
                for Edit { name, value } in edits {
                    match value {
                        Some(value) => drop(next.values.insert(name, value)),
                        None => drop(next.values.remove(&name)),
                    }
                }
            }
            assert_eq!(Held::of(&state).unwrap(), next);
            held.push((next, disk.faults.recorded()));
            if dice.one_in(6) {
                match dice.below(3) {
                    0 => std::mem::forget(state.forget().take()),
                    1 if syncs_fail => disk.faults.fail_sync_after(dice.below(3) as u64),
                    _ => {}
                }
                drop(state);
                state = open();
            }
        }
        drop(state);
        Self { log: disk.faults.take_log(), held }
    }

    /// What may be found after a crash at this step: what was sure by then, and what was about to become so.
    fn expected(&self, step: usize) -> [&Held; 2] {
        let next = self.held.partition_point(|(_, sure)| *sure <= step);
        [&self.held[next - 1].0, &self.held[next.min(self.held.len() - 1)].0]
    }
}

fn edits(dice: &mut Dice) -> Vec<Edit> {
    let names: BTreeSet<usize> = (0..=dice.below(5)).map(|_| dice.below(9)).collect();
    let edit = |number: usize| {
        let name = format!("name-{number}");
        if dice.one_in(4) { Edit::remove(name) } else { Edit::save(name, dice.value()) }
    };
    names.into_iter().map(edit).collect()
}

/// Does what the device got of an operation: all of it, or the bytes that `part` is true of.
fn apply(image: &mut Vec<u8>, op: &Op, part: &dyn Fn(u64) -> bool) {
    match op {
        Op::Write { offset, data } => {
            let at = usize::try_from(*offset).unwrap();
            image.resize(image.len().max(at + data.len()), 0);
            let bytes = image[at..at + data.len()].iter_mut().zip(data);
            for (number, (byte, new)) in bytes.enumerate() {
                if part(number as u64) {
                    *byte = *new;
                }
            }
        }
        Op::Length(length) => image.resize(usize::try_from(*length).unwrap(), 0),
        Op::Sync | Op::FailedSync => {}
    }
}

/// What the device has: what was synced last, and what was done since.
#[derive(Default)]
struct Device {
    synced: Vec<u8>,
    since: Vec<Op>,
}

impl Device {
    fn take(&mut self, op: &Op, dice: &mut Dice) {
        match op {
            Op::Sync => {
                let all: Vec<_> = self.since.iter().map(|_| Kept::Whole).collect();
                self.synced = self.image(&all);
                self.since.clear();
            }
            Op::FailedSync => {
                // Some was written. The rest never will be, but the length is, which is the file system's own.
                let length = self.since.iter().rev().find(|op| matches!(op, Op::Length(_))).cloned();
                let some: Vec<_> = self.since.iter().map(|_| Kept::by(dice)).collect();
                self.synced = self.image(&some);
                self.since.clear();
                if let Some(length) = length {
                    apply(&mut self.synced, &length, &|_| true);
                }
            }
            op => self.since.push(op.clone()),
        }
    }

    /// The file, if of each operation since the last sync this has been kept.
    fn image(&self, kept: &[Kept]) -> Vec<u8> {
        let (mut image, mut length) = (self.synced.clone(), self.synced.len());
        for (op, kept) in self.since.iter().zip(kept) {
            if *kept == Kept::Nothing {
                continue;
            }
            apply(&mut image, op, &|byte| kept.has(byte));
            if let Op::Length(new) = op {
                length = usize::try_from(*new).unwrap();
            }
        }
        // What was written above the end that the file system knows of is not to be seen.
        image.resize(length, 0);
        image
    }

    /// What a crash now may leave.
    fn images(&self, dice: &mut Dice) -> Vec<Vec<u8>> {
        let count = self.since.len();
        let mut kept = vec![vec![Kept::Nothing; count], vec![Kept::Whole; count]];
        if count > 0 {
            let one = dice.below(count);
            let alone = |kept, rest| (0..count).map(|at| if at == one { kept } else { rest }).collect::<Vec<_>>();
            kept.push(alone(Kept::Nothing, Kept::Whole));
            kept.push(alone(Kept::Whole, Kept::Nothing));
            kept.push(alone(Kept::torn(dice), Kept::Whole));
            // The latest alone is missing, alone there, torn.
            let latest = |kept, rest| [vec![rest; count - 1], vec![kept]].concat();
            kept.push(latest(Kept::Whole, Kept::Nothing));
            kept.push(latest(Kept::torn(dice), Kept::Whole));
            kept.extend((0..3).map(|_| (0..count).map(|_| Kept::by(dice)).collect()));
        }
        let mut seen = BTreeSet::new();
        let images = kept.iter().map(|kept| self.image(kept));
        images.filter(|image| seen.insert(digest(image))).collect()
    }
}

fn digest(image: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish()
}

/// How much of an operation the device got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    Whole,
    /// Up to this byte.
    Before(u64),
    /// From this byte on.
    From(u64),
    /// The sectors whose bits these are.
    Sectors(u64),
}

impl Kept {
    fn by(dice: &mut Dice) -> Self {
        match dice.below(5) {
            0 | 1 => Self::Nothing,
            2 | 3 => Self::Whole,
            _ => Self::torn(dice),
        }
    }

    fn torn(dice: &mut Dice) -> Self {
        let bound = [16, 400, 5000][dice.below(3)];
        let at = dice.below(bound) as u64;
        match dice.below(3) {
            0 => Self::Before(at),
            1 => Self::From(at),
            _ => Self::Sectors(dice.next()),
        }
    }

    fn has(self, byte: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Whole => true,
            Self::Before(end) => byte < end,
            Self::From(start) => byte >= start,
            Self::Sectors(bits) => bits >> (byte / 512 % 64) & 1 == 1,
        }
    }
}

/// Opens what a crash left, and says what that holds, and what was done to it meanwhile.
fn reopen(disk: &Disk, image: &[u8]) -> Result<(Held, Vec<Op>), Error> {
    disk.file.set_len(0).unwrap();
    disk.file.write_all_at(image, 0).unwrap();
    let state = open(disk.clone())?;
    let held = Held::of(&state)?;
    // As after a crash: nothing is written on the way out.
    std::mem::forget(state.forget().take());
    drop(state);
    Ok((held, disk.faults.take_log()))
}

/// Pulls the plug at every step of a history. How many files that made.
fn pull_at_every_step(history: &History, dice: &mut Dice) -> usize {
    let disk = Disk::new(file());
    disk.faults.record();
    let (mut device, mut files) = (Device::default(), 0);
    for step in 0..=history.log.len() {
        if step > 0 {
            device.take(&history.log[step - 1], dice);
        }
        let expected = history.expected(step);
        for image in device.images(dice) {
            let found = reopen(&disk, &image);
            let (found, log) = found.unwrap_or_else(|error| panic!("at step {step}: {error:?}"));
            assert!(expected.contains(&&found), "at step {step}");
            files += 1;
            if dice.one_in(50) {
                files += pull_again(&disk, image, &log, &found, dice);
            }
        }
    }
    files
}

/// Pulls it at every step of opening what the first pull left.
fn pull_again(disk: &Disk, image: Vec<u8>, log: &[Op], expected: &Held, dice: &mut Dice) -> usize {
    let (mut device, mut files) = (Device { synced: image, since: Vec::new() }, 0);
    for (step, op) in log.iter().enumerate() {
        device.take(op, dice);
        for image in device.images(dice).into_iter().skip(dice.below(2)).step_by(3) {
            let (found, _) =
                reopen(disk, &image).unwrap_or_else(|error| panic!("at step {step} of opening: {error:?}"));
            assert!(found == *expected, "at step {step} of opening");
            files += 1;
        }
    }
    files
}

#[test]
fn a_crash_at_any_step_leaves_one_commit_whole() {
    let mut dice = Dice::throw("crash");
    let history = History::of(&mut dice, 25, false);
    let files = pull_at_every_step(&history, &mut dice);
    println!("{} steps, {files} files", history.log.len());
    assert!(files > 500, "{files}");
}

#[test]
fn what_a_failed_sync_lost_is_written_again() {
    let mut dice = Dice::throw("failed sync");
    let history = History::of(&mut dice, 25, true);
    assert!(history.log.contains(&Op::FailedSync));
    let files = pull_at_every_step(&history, &mut dice);
    println!("{} steps, {files} files", history.log.len());
}

fn values(text: &str) -> [Edit; 2] {
    [Edit::save("plan", text.repeat(30_000)), Edit::save("other", text)]
}

/// Commits, with too little room for it at first. Whether there was.
fn fill(state: &FileState, bound: impl FnOnce(), free: impl FnOnce()) -> bool {
    state.commit(&values("old")).unwrap();
    state.save_position(b"key_s1").unwrap();
    let before = Held::of(state).unwrap();
    bound();
    let Err(error) = state.commit(&values("newer")) else { return false };
    let full = std::io::ErrorKind::StorageFull;
    assert!(matches!(&error, Error::Folder { source, .. } if source.kind() == full), "{error:?}");
    assert!(error.to_string().contains(&format!("folder=`{}`", state.folder().display())), "{error}");
    assert!(Held::of(state).unwrap() == before);
    // Another try does no harm.
    assert!(state.commit(&values("newest")).is_err() && state.save_position(b"key_s2").is_err());
    assert!(Held::of(state).unwrap() == before);
    free();
    assert!(Held::of(state).unwrap() == before);
    state.commit(&values("newer")).unwrap();
    assert_eq!(state.load("other").unwrap().unwrap(), b"newer");
    assert_eq!(state.load_position().unwrap().unwrap(), b"key_s1");
    true
}

#[test]
fn a_full_device_refuses_commits_lets_read_and_heals() {
    let mut room = 0;
    loop {
        let disk = Disk::new(file());
        let state = open(disk.clone()).unwrap();
        let bound = || disk.faults.bound(disk.faults.blocks() + room);
        if !fill(&state, bound, || disk.faults.bound(u64::MAX)) {
            break;
        }
        room += 1;
    }
    assert!(room > 10, "{room}");
}

/// A small file system, for as long as this lives.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"]).arg(folder.path());
        let is_mounted = mount.output().is_ok_and(|ended| ended.status.success());
        is_mounted.then_some(Self(folder))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_file_system_refuses_commits_lets_read_and_heals() {
    let mut refused = 0;
    for room in [0, 4096, 20_000, 70_000, 150_000, 1 << 20] {
        let Some(mounted) = Mounted::new() else {
            println!("skipped: this user may mount no file system");
            return;
        };
        let state = FileState::open(mounted.0.path().join("state")).unwrap();
        let filler = mounted.0.path().join("filler");
        let bound = || {
            let file = File::create(&filler).unwrap();
            let mut length = 0;
            while file.write_all_at(&[1; 4096], length).is_ok() {
                length += 4096;
            }
            file.set_len(length.saturating_sub(room)).unwrap();
        };
        refused += usize::from(fill(&state, bound, || std::fs::remove_file(&filler).unwrap()));
    }
    assert!((3..6).contains(&refused), "{refused}");
}
