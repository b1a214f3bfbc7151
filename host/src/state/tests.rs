//! Keeps values in real folders. Leaves power cuts to the file system's own promises.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use super::file::{LOCK, list, write_synced};
use super::*;

fn open() -> (tempfile::TempDir, FileState) {
    let parent = tempfile::tempdir().unwrap();
    let state = FileState::open(parent.path().join("a/b")).unwrap();
    (parent, state)
}

fn in_both(case: impl Fn(&dyn StateStore)) {
    case(&MemoryState::new());
    case(&open().1);
}

#[test]
fn what_was_saved_last_is_loaded() {
    in_both(|state| {
        assert_eq!(state.load("plan").unwrap(), None);
        state.save("plan", b"one").unwrap();
        state.save("plan", b"two").unwrap();
        state.save("empty", b"").unwrap();
        assert_eq!(state.load("plan").unwrap().unwrap(), b"two");
        assert_eq!(state.load("empty").unwrap().unwrap(), b"");
        assert_eq!(state.list().unwrap(), ["empty", "plan"]);
        state.remove("plan").unwrap();
        state.remove("plan").unwrap();
        assert_eq!(state.load("plan").unwrap(), None);
        assert_eq!(state.list().unwrap(), ["empty"]);
    });
}

#[test]
fn a_store_is_full_one_byte_and_one_name_above_its_quota() {
    let quota = Quota { bytes_max: 10, names_max: 2 };
    let parent = tempfile::tempdir().unwrap();
    let open = || FileState::open_with(parent.path(), quota).unwrap();
    let is_full = |saved: Result<(), Error>, expected| {
        let Err(error @ Error::Full { what, .. }) = saved else { panic!("{saved:?}") };
        assert_eq!(what, expected);
        assert!(error.to_string().contains("remove the pipeline's state"));
    };
    let fill = |state: &dyn StateStore| {
        state.save("a", b"12345").unwrap();
        state.save("b", b"67890").unwrap();
        is_full(state.save("b", b"678901"), "bytes");
        is_full(state.save("c", b""), "names");
        // What is replaced counts as what it is now, and what was refused changed nothing.
        state.save("a", b"1234").unwrap();
        state.save("b", b"678901").unwrap();
        assert_eq!(state.load("b").unwrap().unwrap(), b"678901");
        state.remove("a").unwrap();
        state.save("c", b"1234").unwrap();
        is_full(state.save("c", b"12345"), "bytes");
    };
    fill(&MemoryState::with_quota(quota));
    fill(&open());
    // Counted anew from what is there; the position is not part of it.
    let state = open();
    state.save_position(b"a position of more than ten bytes").unwrap();
    is_full(state.save("c", b"12345"), "bytes");
    is_full(state.save("d", b""), "names");
    drop(state);
    // One that was filled under another quota can become smaller, not larger.
    let quota = Quota { bytes_max: 1, names_max: 1 };
    let state = FileState::open_with(parent.path(), quota).unwrap();
    state.save("c", b"123").unwrap();
    is_full(state.save("c", b"1234"), "bytes");
    state.remove("b").unwrap();
    state.remove("c").unwrap();
    state.save("e", b"1").unwrap();
}

#[test]
fn the_position_is_no_value() {
    in_both(|state| {
        assert_eq!(state.load_position().unwrap(), None);
        state.save_position(b"key_s1").unwrap();
        state.save("position", b"other").unwrap();
        state.remove("position").unwrap();
        assert_eq!(state.load_position().unwrap().unwrap(), b"key_s1");
        assert_eq!(state.list().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_lock_ends_with_its_state_though_a_child_still_has_the_file() {
    let (parent, state) = open();
    // As a process has it that was forked and has not become its program yet.
    let inherited = state.lock.try_clone().unwrap();
    drop(state);
    FileState::open(parent.path().join("a/b")).unwrap();
    drop(inherited);
}

#[test]
fn any_name_is_a_name_and_none_leaves_the_folder() {
    in_both(|state| {
        let names = ["..", ".", "/etc/passwd", "../../x", "a/b", "A", "a", "é\u{0}%2e", "lock", " "];
        for (index, name) in names.iter().enumerate() {
            state.save(name, &[index as u8]).unwrap();
        }
        for (index, name) in names.iter().enumerate() {
            assert_eq!(state.load(name).unwrap().unwrap(), [index as u8], "{name:?}");
        }
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        assert_eq!(state.list().unwrap(), sorted);
        for name in [String::new(), "x".repeat(NAME_BYTES_MAX + 1)] {
            assert!(matches!(state.save(&name, b""), Err(Error::Name { .. })));
            assert!(matches!(state.load(&name), Err(Error::Name { .. })));
        }
        state.save(&"é".repeat(NAME_BYTES_MAX / 2), b"").unwrap();
    });
    let (parent, state) = open();
    state.save("../../x", b"").unwrap();
    assert_eq!(list(parent.path()).unwrap(), ["a"]);
}

#[test]
fn values_outlive_the_process() {
    let (_parent, state) = open();
    state.save("plan", b"one").unwrap();
    state.save_position(b"here").unwrap();
    let folder = state.folder().to_owned();
    drop(state);
    let state = FileState::open(folder).unwrap();
    assert_eq!(state.load("plan").unwrap().unwrap(), b"one");
    assert_eq!(state.load_position().unwrap().unwrap(), b"here");
}

#[test]
fn a_folder_belongs_to_one_at_a_time() {
    let (_parent, state) = open();
    let error = FileState::open(state.folder()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(state.folder().to_str().unwrap()), "{message}");
    assert!(message.ends_with(&format!("pid=`{}`", std::process::id())), "{message}");
    let folder = state.folder().to_owned();
    drop(state);
    FileState::open(folder).unwrap();
}

#[test]
fn another_process_is_kept_out_and_its_end_frees_the_folder() {
    let (_parent, state) = open();
    let folder = state.folder().to_owned();
    // `flock` of util-linux takes the very lock; `-n` fails at once where it is held.
    let flock = || Command::new("flock").arg("-n").arg(folder.join(LOCK)).arg("true").status();
    let Ok(status) = flock() else {
        eprintln!("skipped: no `flock` command");
        return;
    };
    assert!(!status.success());
    drop(state);
    assert!(flock().unwrap().success());
}

#[test]
fn the_folder_and_its_files_are_their_owner_s_alone() {
    let (_parent, state) = open();
    state.save("plan", b"one").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(state.folder()), 0o700);
    for file in list(state.folder()).unwrap() {
        assert_eq!(mode(&state.folder().join(&file)), 0o600, "{file}");
    }
}

#[test]
fn what_a_crash_left_is_removed_at_the_next_start() {
    let (_parent, state) = open();
    state.save("plan", b"old").unwrap();
    let folder = state.folder().to_owned();
    drop(state);
    fs::write(folder.join("plan.value.new"), b"half").unwrap();
    fs::write(folder.join("position.new"), b"").unwrap();
    fs::write(folder.join("foreign.txt"), b"not ours").unwrap();
    let state = FileState::open(&folder).unwrap();
    assert_eq!(state.load("plan").unwrap().unwrap(), b"old");
    assert_eq!(state.list().unwrap(), ["plan"]);
    let mut files = list(&folder).unwrap();
    files.sort_unstable();
    assert_eq!(files, ["foreign.txt", "lock", "plan.value"]);
}

#[test]
fn a_file_that_was_torn_or_changed_is_corrupt() {
    let (_parent, state) = open();
    let value: Vec<u8> = (0..100).collect();
    state.save("plan", &value).unwrap();
    let path = state.folder().join("plan.value");
    let good = fs::read(&path).unwrap();
    assert_eq!(state.load("plan").unwrap().unwrap(), value);
    // Cut anywhere, a bit flipped anywhere, and longer than it was.
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(matches!(state.load("plan"), Err(Error::Corrupt { .. })), "{length}");
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bad).unwrap();
        assert!(matches!(state.load("plan"), Err(Error::Corrupt { .. })), "{bit}");
    }
    let mut longer = good.clone();
    longer.push(0);
    fs::write(&path, &longer).unwrap();
    let message = state.load("plan").unwrap_err().to_string();
    assert!(message.contains("plan.value"), "{message}");
    // It can be replaced.
    state.save("plan", b"new").unwrap();
    assert_eq!(state.load("plan").unwrap().unwrap(), b"new");
}

#[test]
fn a_file_under_another_name_is_corrupt() {
    let (_parent, state) = open();
    state.save("a", b"one").unwrap();
    fs::rename(state.folder().join("a.value"), state.folder().join("b.value")).unwrap();
    assert!(matches!(state.load("b"), Err(Error::Corrupt { .. })));
    assert_eq!(state.load("a").unwrap(), None);
}

#[test]
fn a_write_that_fails_leaves_the_old_value_and_names_the_folder() {
    let (_parent, state) = open();
    state.save("plan", b"old").unwrap();
    // A folder in the way of the temporary file stands for a disk that is full.
    let in_the_way = state.folder().join("plan.value.new");
    fs::create_dir(&in_the_way).unwrap();
    let error = state.save("plan", b"new").unwrap_err();
    assert!(matches!(error, Error::Folder { action: "write", .. }));
    assert!(error.to_string().contains(state.folder().to_str().unwrap()));
    assert_eq!(state.load("plan").unwrap().unwrap(), b"old");
    fs::remove_dir(&in_the_way).unwrap();
    state.save("plan", b"new").unwrap();
    assert_eq!(state.load("plan").unwrap().unwrap(), b"new");
}

#[test]
fn a_full_disk_leaves_the_old_value() {
    // `/dev/full` takes no byte: the very error of a full disk.
    let error = write_synced(Path::new("/dev/full"), b"header", b"value").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_folder_that_can_not_be_made_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = FileState::open(file.join("state")).unwrap_err();
    assert!(matches!(error, Error::Folder { action: "create", .. }));
    assert!(error.to_string().contains("file/state"));
}

#[test]
fn writers_at_once_do_not_mix() {
    let (_parent, state) = open();
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let state = &state;
            scope.spawn(move || {
                for _ in 0..20 {
                    state.save("plan", &[writer; 10_000]).unwrap();
                }
            });
        }
    });
    let value = state.load("plan").unwrap().unwrap();
    assert!(value.len() == 10_000 && value.iter().all(|byte| *byte == value[0]));
}

#[test]
fn a_value_that_is_too_large_is_refused() {
    in_both(|state| {
        let value = vec![0; VALUE_BYTES_MAX + 1];
        assert!(matches!(state.save("plan", &value), Err(Error::Size { .. })));
    });
}
