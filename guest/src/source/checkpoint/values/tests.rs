//! Keeps values in a world in memory, and without one.

use super::*;
use crate::testing::TestPorts;

fn save(name: &str, value: &str) -> Edit {
    Edit::save(name, value)
}

fn loaded(values: &Values<TestPorts>, name: &str) -> Option<String> {
    let value = values.load(name).expect("loads");
    value.map(|value| String::from_utf8(value).expect("text"))
}

#[test]
fn a_host_that_keeps_values_has_them_all() {
    let ports = TestPorts::new(1);
    let values = Values::new(ports.clone());
    values.commit(vec![save("a", "1"), save("b", "2")]).expect("saves");
    values.commit(vec![save("a", "3"), Edit::remove("b")]).expect("saves");
    let other = Values::new(ports.clone());
    assert_eq!((loaded(&other, "a").as_deref(), loaded(&other, "b")), (Some("3"), None));
    ports.refuse_commits(|_| panic!("there is nothing to commit"));
    values.commit(Vec::new()).expect("does nothing");
}

#[test]
fn a_host_that_keeps_none_is_told_once_and_values_live_as_long_as_the_source() {
    for loads_first in [true, false] {
        let ports = TestPorts::new(1);
        ports.refuse_state(|_| Some(StateError::Absent));
        let values = Values::new(ports.clone());
        if loads_first {
            assert_eq!(loaded(&values, "a"), None);
        }
        values.commit(vec![save("a", "1"), save("b", "2")]).expect("keeps them");
        values.commit(vec![save("a", "3"), Edit::remove("b"), Edit::remove("c")]).expect("keeps them");
        assert_eq!((loaded(&values, "a").as_deref(), loaded(&values, "b")), (Some("3"), None));
        let lines = ports.lines(Level::Debug);
        assert!(lines.len() == 1 && lines[0].contains("keeps no state"), "{lines:?}");
        assert!(ports.saved().is_empty());
    }
}

#[test]
fn a_host_that_fails_is_unavailable_and_names_what() {
    let ports = TestPorts::new(1);
    ports.refuse_state(|_| Some(StateError::Failed("disk full".to_owned())));
    let values = Values::new(ports);
    let errors = [values.load("a").map(drop), values.commit(vec![save("a", "1"), save("b", "2")])];
    for error in errors.map(|result| result.expect_err("fails")) {
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.ends_with("state: disk full; name=`a`"), "{error}");
    }
}

#[test]
fn a_commit_takes_what_a_host_takes() {
    let values = Values::new(TestPorts::new(1));
    assert!(values.fits(&[], STATE_COMMIT_BYTES_MAX) && !values.fits(&[], STATE_COMMIT_BYTES_MAX + 1));
    let edits = [save("ab", "123"), Edit::remove("abcd")];
    assert!(values.fits(&edits, STATE_COMMIT_BYTES_MAX - 9) && !values.fits(&edits, STATE_COMMIT_BYTES_MAX - 8));
    let many: Vec<_> = (0..STATE_COMMIT_EDITS_MAX / 2).map(|n| save(&n.to_string(), "")).collect();
    assert!(values.fits(&many[1..], 0) && !values.fits(&many, 0), "room is left for what is removed");
}
