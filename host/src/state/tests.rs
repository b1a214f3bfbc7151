//! Keeps values in real folders. Leaves power cuts to the file system's own promises.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::file::{FILE, HOST};
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

fn save(state: &dyn StateStore, name: &str, value: &[u8]) -> Result<(), Error> {
    state.commit(&[Edit::save(name, value)])
}

fn remove(state: &dyn StateStore, name: &str) -> Result<(), Error> {
    state.commit(&[Edit::remove(name)])
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_was_saved_last_is_loaded() {
    in_both(|state| {
        assert_eq!(state.load("plan").unwrap(), None);
        save(state, "plan", b"one").unwrap();
        save(state, "plan", b"two").unwrap();
        save(state, "empty", b"").unwrap();
        assert_eq!(state.load("plan").unwrap().unwrap(), b"two");
        assert_eq!(state.load("empty").unwrap().unwrap(), b"");
        remove(state, "plan").unwrap();
        remove(state, "plan").unwrap();
        assert_eq!(state.load("plan").unwrap(), None);
        assert_eq!(state.load("empty").unwrap().unwrap(), b"");
        state.commit(&[]).unwrap();
    });
}

#[test]
fn names_are_listed_in_order() {
    let (memory, (_parent, file)) = (MemoryState::new(), open());
    for state in [&memory as &dyn StateStore, &file] {
        state.commit(&[Edit::save("b", "1"), Edit::save("a/1", ""), Edit::save("c", "2")]).unwrap();
        remove(state, "c").unwrap();
        state.save_position(b"key_s1").unwrap();
    }
    assert_eq!(memory.names(), ["a/1", "b"]);
    assert_eq!(file.names().unwrap(), ["a/1", "b"]);
}

#[test]
fn changes_are_made_together_or_not_at_all() {
    in_both(|state| {
        state.commit(&[Edit::save("a", "1"), Edit::save("b", "1")]).unwrap();
        state.commit(&[Edit::save("c", "2"), Edit::remove("a"), Edit::save("b", "2")]).unwrap();
        let all = || ["a", "b", "c"].map(|name| state.load(name).unwrap());
        let kept = [None, Some(b"2".to_vec()), Some(b"2".to_vec())];
        assert_eq!(all(), kept);
        let large = vec![0; VALUE_BYTES_MAX + 1];
        let half = vec![0; COMMIT_BYTES_MAX / 2];
        let many = (0..=COMMIT_EDITS_MAX).map(|number| Edit::remove(number.to_string())).collect();
        let refused: [Vec<Edit>; 5] = [
            vec![Edit::save("a", "3"), Edit::save("b c", "3")],
            vec![Edit::save("a", "3"), Edit::save("b", large)],
            vec![Edit::save("a", "3"), Edit::save("b", "3"), Edit::remove("b")],
            vec![Edit::save("a", half.clone()), Edit::save("b", half)],
            many,
        ];
        for changes in refused {
            let error = state.commit(&changes).unwrap_err();
            assert_eq!(error.kind(ErrorKind::Unavailable), ErrorKind::Invalid, "{error}");
            assert_eq!(all(), kept, "{error}");
        }
        // The largest that there may be.
        let rest = COMMIT_BYTES_MAX - VALUE_BYTES_MAX - "a".len() - "b".len();
        let largest = [Edit::save("a", vec![1; VALUE_BYTES_MAX]), Edit::save("b", vec![2; rest])];
        state.commit(&largest).unwrap();
        assert_eq!(state.load("a").unwrap().unwrap(), vec![1; VALUE_BYTES_MAX]);
        state.commit(&(1..=COMMIT_EDITS_MAX).map(|n| Edit::save(n.to_string(), "")).collect::<Vec<_>>()).unwrap();
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
        save(state, "a", b"12345").unwrap();
        save(state, "b", b"67890").unwrap();
        is_full(save(state, "b", b"678901"), "bytes");
        is_full(save(state, "c", b""), "names");
        // Changes count together, whatever their order, and what was refused changed nothing.
        is_full(state.commit(&[Edit::save("a", "1"), Edit::save("b", "1234567890")]), "bytes");
        is_full(state.commit(&[Edit::remove("a"), Edit::save("c", ""), Edit::save("d", "")]), "names");
        assert_eq!(state.load("a").unwrap().unwrap(), b"12345");
        state.commit(&[Edit::save("b", "678901"), Edit::save("a", "1234")]).unwrap();
        assert_eq!(state.load("b").unwrap().unwrap(), b"678901");
        state.commit(&[Edit::save("c", "1234"), Edit::remove("a")]).unwrap();
        is_full(save(state, "c", b"12345"), "bytes");
    };
    fill(&MemoryState::with_quota(quota));
    fill(&open());
    // Counted anew from what is there; the position is not part of it.
    let state = open();
    state.save_position(b"a position of more than ten bytes").unwrap();
    is_full(save(&state, "c", b"12345"), "bytes");
    is_full(save(&state, "d", b""), "names");
    drop(state);
    // One that was filled under another quota can become smaller, not larger.
    let quota = Quota { bytes_max: 1, names_max: 1 };
    let state = FileState::open_with(parent.path(), quota).unwrap();
    save(&state, "c", b"123").unwrap();
    is_full(save(&state, "c", b"1234"), "bytes");
    remove(&state, "b").unwrap();
    remove(&state, "c").unwrap();
    save(&state, "e", b"1").unwrap();
}

#[test]
fn the_position_is_no_value() {
    in_both(|state| {
        assert_eq!(state.load_position().unwrap(), None);
        state.save_position(b"key_s1").unwrap();
        save(state, "position", b"other").unwrap();
        remove(state, "position").unwrap();
        assert_eq!(state.load_position().unwrap().unwrap(), b"key_s1");
        assert_eq!(state.load("position").unwrap(), None);
    });
}

#[test]
fn a_lock_ends_with_its_state_though_a_child_still_has_the_file() {
    let (parent, state) = open();
    // As a process has it that was forked and has not become its program yet.
    let inherited = state.disk.file.try_clone().unwrap();
    drop(state);
    FileState::open(parent.path().join("a/b")).unwrap();
    drop(inherited);
}

#[test]
fn a_name_has_80_bytes_of_the_alphabet_at_most_and_none_leaves_the_folder() {
    in_both(|state| {
        let longest = "x".repeat(NAME_BYTES_MAX);
        let names = ["..", ".", "/etc/passwd", "../../x", "a/b", "A", "a", "lock", "plan-1.2_c", &longest];
        for (index, name) in names.iter().enumerate() {
            save(state, name, &[index as u8]).unwrap();
        }
        for (index, name) in names.iter().enumerate() {
            assert_eq!(state.load(name).unwrap().unwrap(), [index as u8], "{name:?}");
        }
        let longer = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", &longer, "é", "a b", " ", "a\0", "%2e", "a\\b", "a:b", "~", "*"] {
            for result in [save(state, name, b""), remove(state, name), state.load(name).map(drop)] {
                assert!(matches!(result, Err(Error::Name { .. })), "{name:?}");
            }
        }
    });
    let (_parent, state) = open();
    save(&state, "../../x", b"1").unwrap();
    assert_eq!(files(state.folder()), [FILE]);
}

#[test]
fn a_second_opening_is_refused_and_names_who_has_the_folder() {
    let (_parent, state) = open();
    let folder = state.folder().to_owned();
    let error = FileState::open(&folder).unwrap_err();
    let Error::Locked { pid, .. } = &error else { panic!("{error}") };
    if Path::new("/proc/locks").exists() {
        assert_eq!(*pid, Some(std::process::id()));
        assert!(error.to_string().contains(&std::process::id().to_string()));
    }
    assert!(error.to_string().contains(folder.to_str().unwrap()));
    // The first one never noticed.
    save(&state, "plan", b"one").unwrap();
    drop(state);
    FileState::open(folder).unwrap();
}

#[test]
fn another_process_is_kept_out_and_its_end_frees_the_folder() {
    let (_parent, state) = open();
    let folder = state.folder().to_owned();
    // `flock` of util-linux takes the very lock; `-n` fails at once where it is held.
    let flock = || Command::new("flock").arg("-n").arg(folder.join(FILE)).arg("true").status();
    let Ok(status) = flock() else {
        eprintln!("skipped: no `flock` command");
        return;
    };
    assert!(!status.success());
    drop(state);
    assert!(flock().unwrap().success());
}

#[test]
fn the_folder_and_its_file_are_their_owner_s_alone() {
    let (_parent, state) = open();
    save(&state, "plan", b"one").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(state.folder()), 0o700);
    for file in files(state.folder()) {
        assert_eq!(mode(&state.folder().join(&file)), 0o600, "{file}");
    }
}

#[test]
fn what_lies_beside_the_file_is_left_alone() {
    let (_parent, state) = open();
    save(&state, "plan", b"old").unwrap();
    let folder = state.folder().to_owned();
    drop(state);
    fs::write(folder.join("foreign.txt"), b"not ours").unwrap();
    let state = FileState::open(&folder).unwrap();
    assert_eq!(state.load("plan").unwrap().unwrap(), b"old");
    assert_eq!(files(&folder), ["foreign.txt", FILE]);
}

#[test]
fn a_folder_of_an_earlier_build_is_refused_and_left_as_it_is() {
    for name in ["position", "plan-1.value"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), b"s3cstat\x01").unwrap();
        fs::write(folder.path().join("lock"), b"1\n").unwrap();
        let error = FileState::open(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Earlier { .. }), "{error}");
        assert!(error.to_string().contains("remove the folder to begin anew"), "{error}");
        assert_eq!(files(folder.path()), ["lock", name]);
    }
}

/// What a store holds: a value, an absent one, the position.
type Held = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>);

fn held(state: &FileState) -> Result<Held, Error> {
    Ok((state.load("plan")?, state.load("other")?, state.load_position()?))
}

/// A file that was closed, and what it holds.
fn closed() -> (tempfile::TempDir, PathBuf, Vec<u8>, Held) {
    let (parent, state) = open();
    save(&state, "plan", b"old").unwrap();
    state.save_position(b"key_s1").unwrap();
    let value: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    save(&state, "plan", &value).unwrap();
    state.save_position(b"key_s2").unwrap();
    let expected = held(&state).unwrap();
    let path = state.folder().join(FILE);
    drop(state);
    let good = fs::read(&path).unwrap();
    (parent, path, good, expected)
}

#[test]
fn a_file_that_was_torn_or_changed_is_corrupt_or_means_the_same() {
    let (_parent, path, good, expected) = closed();
    let folder = path.parent().unwrap();
    let mut corrupt = 0;
    let mut check = |bad: &[u8], what: &str| {
        fs::write(&path, bad).unwrap();
        match FileState::open(folder).and_then(|state| held(&state)) {
            Ok(kept) => assert_eq!(kept, expected, "{what}"),
            Err(Error::Corrupt { .. }) => corrupt += 1,
            Err(error) => panic!("{what}: {error:?}"),
        }
    };
    // A bit flipped in what redb uses of its header, and here and there after it.
    let places = (0..320 * 8).step_by(11).chain((320 * 8..good.len() * 8).step_by(8009));
    for bit in places {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        check(&bad, &format!("bit {bit}"));
    }
    // Cut, and a page that a file system lost.
    for length in (1..good.len()).step_by(4049) {
        check(&good[..length], &format!("cut at {length}"));
    }
    for page in (0..good.len()).step_by(4096) {
        let mut bad = good.clone();
        bad[page..page + 4096].fill(0);
        check(&bad, &format!("page at {page}"));
    }
    assert!(corrupt > 100, "{corrupt}");
    fs::write(&path, &good).unwrap();
    assert_eq!(held(&FileState::open(folder).unwrap()).unwrap(), expected);
}

#[test]
fn a_changed_value_is_corrupt_says_what_to_do_and_is_left_as_it_is() {
    let (_parent, path, good, _) = closed();
    let at = good.windows(6).rposition(|bytes| bytes == b"key_s2").unwrap();
    let mut bad = good;
    bad[at] ^= 1;
    fs::write(&path, &bad).unwrap();
    let error = FileState::open(path.parent().unwrap()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("corrupt") && message.contains("remove it") && message.contains(FILE), "{message}");
    assert_eq!(error.kind(ErrorKind::Unavailable), ErrorKind::Corrupt);
    assert!(fs::read(&path).unwrap() == bad);
}

#[test]
fn a_foreign_file_is_corrupt() {
    let (parent, state) = open();
    let path = state.folder().join(FILE);
    drop(state);
    for foreign in [&b"text"[..], &[0; 10], &[7; 100_000], &b"SQLite format 3\0".repeat(1000)] {
        fs::write(&path, foreign).unwrap();
        let opened = FileState::open(parent.path().join("a/b"));
        if foreign.iter().all(|byte| *byte == 0) {
            // As redb leaves it when it is stopped at the very beginning.
            opened.unwrap();
        } else {
            assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
            assert!(fs::read(&path).unwrap() == foreign);
        }
    }
    // Another program's database, and one of a newer build.
    fs::remove_file(&path).unwrap();
    let other = redb::TableDefinition::<u64, u64>::new("other");
    let change = |job: &dyn Fn(&redb::WriteTransaction)| {
        let database = redb::Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        job(&transaction);
        transaction.commit().unwrap();
    };
    change(&|transaction| drop(transaction.open_table(other).unwrap().insert(1, 1).unwrap()));
    let message = FileState::open(parent.path().join("a/b")).unwrap_err().to_string();
    assert!(message.contains("another program"), "{message}");
    fs::remove_file(&path).unwrap();
    drop(FileState::open(parent.path().join("a/b")).unwrap());
    change(&|transaction| drop(transaction.open_table(HOST).unwrap().insert("format", &[2][..]).unwrap()));
    let message = FileState::open(parent.path().join("a/b")).unwrap_err().to_string();
    assert!(message.contains("newer"), "{message}");
}

#[test]
fn a_disk_that_is_full_at_any_step_leaves_the_old_values_and_heals() {
    let (_parent, state) = open();
    let changes = |text: &[u8]| [Edit::save("plan", text.repeat(10_000)), Edit::save("other", text)];
    state.commit(&changes(b"0")).unwrap();
    let mut failed = 0;
    for steps in 0.. {
        let before = held(&state).unwrap();
        let new = steps.to_string();
        state.disk.faults.fill_after(steps);
        let saved = state.commit(&changes(new.as_bytes()));
        // Read while it is still full.
        let during = held(&state);
        let is_enough = state.disk.faults.left() > 0;
        state.disk.faults.fill_after(u64::MAX);
        let after = held(&state).unwrap();
        let whole = (Some(new.repeat(10_000).into_bytes()), Some(new.into_bytes()), None);
        match saved {
            Ok(()) => assert_eq!(after, whole),
            Err(error) => {
                failed += 1;
                assert!(matches!(error, Error::Folder { .. }), "{error:?}");
                let message = format!("{error} {:?}", std::error::Error::source(&error));
                assert!(message.contains(state.folder().to_str().unwrap()), "{message}");
                assert!(after == before || after == whole, "after {steps} steps");
            }
        }
        assert!(during.unwrap() == after, "after {steps} steps");
        if is_enough {
            break;
        }
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn a_crash_at_any_step_leaves_the_old_values_or_the_new_ones() {
    let changes = |text: &[u8]| [Edit::save("plan", text.repeat(10_000)), Edit::save("other", text)];
    let whole = |text: &[u8]| (Some(text.repeat(10_000)), Some(text.to_vec()), None);
    for steps in 0.. {
        let (_parent, state) = open();
        state.commit(&changes(b"old")).unwrap();
        let folder = state.folder().to_owned();
        state.disk.faults.fill_after(steps);
        let saved = state.commit(&changes(b"new"));
        let is_enough = state.disk.faults.left() > 0;
        // Nothing more reaches the disk.
        state.disk.faults.fill_after(0);
        drop(state);
        let kept = held(&FileState::open(folder).unwrap()).unwrap();
        assert!(kept == whole(b"new") || (saved.is_err() && kept == whole(b"old")), "after {steps} steps");
        if is_enough {
            break;
        }
    }
}

#[test]
fn a_crash_while_the_file_is_made_leaves_one_that_opens() {
    for steps in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let state = FileState::open(folder.path()).unwrap();
        drop(state);
        // Made anew from nothing, with a disk that fills up.
        fs::write(&file, b"").unwrap();
        let state = FileState::open(folder.path()).unwrap();
        *state.forget() = None;
        state.disk.file.set_len(0).unwrap();
        state.disk.faults.fill_after(steps);
        let made = save(&state, "plan", b"one");
        let is_enough = state.disk.faults.left() > 0;
        state.disk.faults.fill_after(0);
        drop(state);
        let state = FileState::open(folder.path()).unwrap();
        assert!(made.is_err() || state.load("plan").unwrap().unwrap() == b"one");
        if is_enough {
            break;
        }
    }
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
                    save(state, "plan", &[writer; 10_000]).unwrap();
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
        assert!(matches!(save(state, "plan", &value), Err(Error::Size { .. })));
        assert!(matches!(state.save_position(&value), Err(Error::Size { .. })));
    });
}

#[test]
fn a_file_gives_back_what_is_removed() {
    let (_parent, state) = open();
    let length = || fs::metadata(state.folder().join(FILE)).unwrap().len();
    let pieces = (0..64).map(|piece| format!("plan-1.{piece}"));
    for piece in pieces.clone() {
        save(&state, &piece, &vec![7; 1_000_000]).unwrap();
    }
    assert!(length() > 64_000_000);
    // One at the end of the file holds up what lies before it.
    save(&state, "last", &vec![8; 1_000_000]).unwrap();
    state.commit(&pieces.map(Edit::remove).collect::<Vec<_>>()).unwrap();
    let folder = state.folder().to_owned();
    let file = folder.join(FILE);
    drop(state);
    let state = FileState::open(&folder).unwrap();
    assert_eq!(state.load("last").unwrap().unwrap(), vec![8; 1_000_000]);
    drop(state);
    let length = fs::metadata(&file).unwrap().len();
    assert!(length < 8_000_000, "{length}");
}

#[test]
fn the_tables_are_append_only() {
    // Users have files of these names, types and entries. Whatever changes here is a new version of the format, and the
    // code that reads this one stays.
    let values = redb::TableDefinition::<&str, &[u8]>::new("values");
    let host = redb::TableDefinition::<&str, &[u8]>::new("host");
    let values_1 = [("plan-1", &b"one"[..]), ("seen/0", b"")];
    let host_1 = [("bytes", &[3, 0, 0, 0, 0, 0, 0, 0][..]), ("format", &[1]), ("position", b"key_s1")];
    let parent = tempfile::tempdir().unwrap();

    // What is written.
    let (written, read) = (parent.path().join("written"), parent.path().join("read"));
    let state = FileState::open(&written).unwrap();
    state.commit(&values_1.map(|(name, value)| Edit::save(name, value))).unwrap();
    state.save_position(b"key_s1").unwrap();
    drop(state);
    let database = redb::Database::open(written.join("state.redb")).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    for (table, expected) in [(values, &values_1[..]), (host, &host_1[..])] {
        let table = transaction.open_table(table).unwrap();
        let entries = redb::ReadableTable::iter(&table).unwrap().map(|entry| {
            let (name, value) = entry.unwrap();
            (name.value().to_owned(), value.value().to_owned())
        });
        let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        assert_eq!(entries.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    // What is read.
    fs::create_dir(&read).unwrap();
    let database = redb::Database::create(read.join("state.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    for (table, entries) in [(values, &values_1[..]), (host, &host_1[..])] {
        let mut table = transaction.open_table(table).unwrap();
        entries.iter().for_each(|(name, value)| drop(table.insert(name, value).unwrap()));
    }
    transaction.commit().unwrap();
    drop(database);
    let state = FileState::open(&read).unwrap();
    assert_eq!(state.names().unwrap(), ["plan-1", "seen/0"]);
    assert_eq!(state.load("plan-1").unwrap().unwrap(), b"one");
    assert_eq!(state.load_position().unwrap().unwrap(), b"key_s1");
}

#[test]
fn a_file_that_was_not_made_to_its_end_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let begun = folder.join("state.redb.begun");
    for left in [&b""[..], b"redb", &[7; 100_000]] {
        let _ = fs::remove_file(folder.join(FILE));
        fs::write(&begun, left).unwrap();
        let state = FileState::open(folder).unwrap();
        assert_eq!(files(folder), [FILE]);
        state.save_position(b"p").unwrap();
        drop(state);
        assert_eq!(FileState::open(folder).unwrap().load_position().unwrap().unwrap(), b"p");
    }
    // One that is there is never made anew.
    fs::write(&begun, b"redb").unwrap();
    assert_eq!(FileState::open(folder).unwrap().load_position().unwrap().unwrap(), b"p");
}

#[test]
fn of_many_that_make_it_at_once_one_has_it() {
    for _ in 0..50 {
        let folder = tempfile::tempdir().unwrap();
        let open = || FileState::open(folder.path());
        let opened: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let has = opened.iter().filter(|opened| opened.is_ok()).count();
        assert_eq!(has, 1, "{opened:?}");
        assert!(opened.iter().all(|opened| matches!(opened, Ok(_) | Err(Error::Locked { .. }))), "{opened:?}");
        assert_eq!(files(folder.path()), [FILE]);
    }
}
