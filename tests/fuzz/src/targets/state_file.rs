//! Owns what must hold of a state file that was changed by others: each value is one that was saved, or is not there, or can't
//! be read; never another one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;

use s3_connector_host::state::{Edit, FileState, StateStore as _};

use crate::novelty::note;

/// A file to be changed, and all that was ever saved in it.
struct Template {
    bytes: Vec<u8>,
    saved: BTreeMap<String, Vec<Vec<u8>>>,
    positions: Vec<Vec<u8>>,
}

thread_local! {
    static TEMPLATE: Template = Template::make();
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

impl Template {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = FileState::open(folder.path()).expect("an empty folder");
        let (mut saved, mut positions) = (BTreeMap::<String, Vec<Vec<u8>>>::new(), Vec::new());
        for round in 0..6_u8 {
            let edits: Vec<_> = (0..4_u8)
                .map(|number| {
                    Edit::save(format!("segment/{number}"), vec![round ^ number; 40 + usize::from(round) * 700])
                })
                .collect();
            state.commit(&edits).expect("it is small");
            for Edit { name, value } in edits {
                saved.entry(name).or_default().extend(value);
            }
            positions.push(format!("position {round}").into_bytes());
            state.save_position(&positions[usize::from(round)]).expect("it is small");
        }
        let path = folder.path().join("state.redb");
        drop(state);
        Self { bytes: fs::read(path).expect("it was just written"), saved, positions }
    }
}

/// Writes over bytes of the file: a place of three bytes and one byte, again and again; or cuts it there, where the third is 0xff.
fn damage(file: &mut Vec<u8>, data: &[u8]) {
    let (changes, _) = data.as_chunks::<4>();
    for [low, high, top, value] in changes {
        let at = usize::from(*low) | usize::from(*high) << 8 | usize::from(*top) << 16;
        if *top == 0xff {
            file.truncate(at & 0xffff);
        } else if !file.is_empty() {
            let length = file.len();
            file[at % length] = *value;
        }
    }
}

pub(super) fn run(data: &[u8]) {
    TEMPLATE.with(|template| {
        let folder = FOLDER.take().unwrap_or_else(|| tempfile::tempdir().expect("a folder"));
        let mut file = template.bytes.clone();
        damage(&mut file, data);
        fs::write(folder.path().join("state.redb"), &file).expect("there is room");
        match FileState::open(folder.path()) {
            Ok(state) => look(template, &state, file == template.bytes),
            Err(why) => {
                assert_ne!(file, template.bytes, "{why}");
                note(&why.to_string());
            }
        }
        FOLDER.set(Some(folder));
    });
}

fn look(template: &Template, state: &FileState, is_whole: bool) {
    for (name, saved) in &template.saved {
        match state.load(name) {
            Ok(Some(value)) => assert!(saved.contains(&value), "{name} is a value that was never saved"),
            Ok(None) => assert!(!is_whole, "{name} is gone"),
            Err(why) => note(&why.to_string()),
        }
    }
    match state.load_position() {
        Ok(found) => assert!(found.is_none_or(|position| template.positions.contains(&position)), "another position"),
        Err(why) => note(&why.to_string()),
    }
    if let Err(why) = state.commit(&[Edit::save("new", "value")]) {
        note(&why.to_string());
    } else {
        assert_eq!(state.load("new").ok().flatten().as_deref(), Some(&b"value"[..]));
        note("goes on");
    }
}

/// No damage, and some at places where redb has its own.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![],
        vec![9, 0, 0, 1],
        vec![64, 0, 0, 0],
        vec![192, 0, 0, 255],
        vec![0, 16, 0, 1],
        vec![0, 32, 255, 0],
        vec![0, 48, 0, 7, 0, 64, 0, 9],
    ]
}
