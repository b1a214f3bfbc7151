//! Saves values of all sizes in a world in memory, which takes no more at once than a host does.

use super::*;
use crate::testing::TestPorts;

/// A value whose bytes differ from place to place.
fn value(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| (at / 1000) as u8 ^ seed).collect()
}

fn load(ports: &TestPorts, name: &str) -> Result<Option<Vec<u8>>> {
    Values::new(ports.clone()).load(name)
}

fn names(ports: &TestPorts) -> Vec<String> {
    ports.saved().into_keys().collect()
}

const SIZES: [usize; 7] =
    [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES - 1, 2 * PIECE_BYTES + 1, 5 * PIECE_BYTES];

#[test]
fn a_value_of_any_size_is_loaded_as_it_was_saved() {
    let ports = TestPorts::new(1);
    let mut values = Values::new(ports.clone());
    // Every size over every other, so that pieces of the one before are left in no case.
    for before in SIZES {
        for after in [0, PIECE_BYTES + 1, 4 * PIECE_BYTES] {
            values.save("plan", &value(before, 1), &[]).expect("saves");
            assert!(load(&ports, "plan") == Ok(Some(value(before, 1))));
            // By one that did not save it, and so does not know its pieces.
            Values::new(ports.clone()).save("plan", &value(after, 2), &[]).expect("saves");
            assert!(load(&ports, "plan") == Ok(Some(value(after, 2))));
            let pieces = after.saturating_sub(1) / PIECE_BYTES;
            assert_eq!(names(&ports).len(), 1 + pieces, "{before} {after}");
            values = Values::new(ports.clone());
        }
    }
    values.save("other", b"1", &["plan".to_owned()]).expect("saves");
    assert_eq!(names(&ports), ["other"]);
}

#[test]
fn a_crash_between_the_commits_of_a_long_value_leaves_none_and_its_pieces_can_be_removed() {
    let long = value(3 * PIECE_BYTES, 1);
    for before in [0, 10, 4 * PIECE_BYTES] {
        for commits in 0.. {
            let ports = TestPorts::new(1);
            let mut values = Values::new(ports.clone());
            values.save("kept", b"kept", &[]).expect("saves");
            if before > 0 {
                values.save("plan", &value(before, 2), &[]).expect("saves");
            }
            let left = std::cell::Cell::new(commits);
            ports.refuse_commits(move |_| {
                let is_over = left.get() == 0;
                left.set(u32::saturating_sub(left.get(), 1));
                is_over.then(|| StateError::Failed("the end".to_owned()))
            });
            let saved = values.save("plan", &long, &[]);
            ports.refuse_commits(|_| None);
            let loaded = load(&ports, "plan").expect("it is not corrupt");
            match saved {
                Ok(()) => assert!(loaded.as_ref() == Some(&long)),
                // The first commit takes the old value away.
                Err(_) if commits == 0 => assert!(loaded == (before > 0).then(|| value(before, 2))),
                Err(_) => assert!(loaded.is_none()),
            }
            Values::new(ports.clone()).remove(&["plan".to_owned()]).expect("removes");
            assert_eq!(names(&ports), ["kept"], "after {commits} commits");
            if loaded.is_some_and(|loaded| loaded == long) {
                break;
            }
        }
    }
}

#[test]
fn a_value_that_lacks_a_piece_is_corrupt() {
    let ports = TestPorts::new(1);
    Values::new(ports.clone()).save("plan", &value(3 * PIECE_BYTES, 1), &[]).expect("saves");
    crate::ports::State::commit(&ports, vec![Edit::remove("plan.1")]).expect("removes");
    let error = load(&ports, "plan").expect_err("a piece is gone");
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.message.contains("name=`plan`"), "{error}");
}

#[test]
fn more_removals_than_one_commit_takes_are_several() {
    let ports = TestPorts::new(1);
    let head = |pieces: u16| [&[VERSION], &pieces.to_le_bytes()[..]].concat();
    // As a value of four gigabytes has them, but for their bytes.
    crate::ports::State::commit(&ports, vec![Edit::save("plan", head(4096)), Edit::save("plan.4096", "1")])
        .expect("saves");
    Values::new(ports.clone()).remove(&["plan".to_owned()]).expect("removes");
    assert_eq!(names(&ports), [""; 0]);
}
