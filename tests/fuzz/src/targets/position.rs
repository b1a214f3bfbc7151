//! Owns what must hold of positions: what is read is written again as the same, and damage is never read as another position.

use s3_connector::error::ErrorKind;
use s3_connector::position::{Chunk, Extension, Part, Phase, Position, Scope};
use s3_connector::time::Timestamp;

use crate::novelty::note;

const SCOPE: Scope<'_> =
    Scope { bucket: "photos", prefix: "2026/", store: "aws", endpoint: "https://s3.amazonaws.com" };

pub(super) fn run(data: &[u8]) {
    any_bytes(data);
    any_position(data);
}

fn any_bytes(data: &[u8]) {
    match Position::decode(data, SCOPE) {
        Ok(read) => {
            let written = read.encode(SCOPE.stamp());
            let again = Position::decode(&written, SCOPE).expect("what was written can be read");
            assert_eq!(again, read);
            assert_eq!(again.encode(SCOPE.stamp()), written);
            note(if read.extension.is_some() { "extended" } else { "plain" });
        }
        Err(error) => {
            assert_eq!(error.kind, ErrorKind::Corrupt);
            assert!(error.message.starts_with("the position "), "{error}");
            note(&error.message);
        }
    }
}

/// A position whose fields are these bytes, and each of its bytes changed.
fn any_position(data: &[u8]) {
    let Some((numbers, rest)) = data.split_first_chunk::<12>() else { return };
    let Some(key) = std::str::from_utf8(rest).ok().filter(|key| !key.is_empty()) else { return };
    let wide = |place: usize| u64::from(numbers[place]) << (numbers[place + 1] % 57);
    let chunk = Chunk { number: wide(0) | 1, bytes: wide(2) | 1, names_key_before: numbers[4] % 2 == 1 };
    let extension = Extension {
        run: wide(4),
        cut: Timestamp(wide(5)),
        plan: wide(6),
        index: wide(7),
        part: (numbers[9] % 2 == 0).then_some(Part::Chunk(chunk)),
    };
    let phase = if numbers[10] % 2 == 0 { Phase::Snapshot } else { Phase::Changes };
    let position = Position { key: key.to_owned(), phase, seconds: wide(10), extension: Some(extension) };
    let written = position.encode(SCOPE.stamp());
    assert_eq!(Position::decode(&written, SCOPE).as_ref(), Ok(&position));
    let elsewhere = Scope { bucket: "other", ..SCOPE };
    Position::decode(&written, elsewhere).expect_err("it belongs to another bucket");
    let at = numbers[11] as usize % written.len();
    let mut damaged = written;
    damaged[at] ^= 1 << (numbers[0] % 8);
    Position::decode(&damaged, SCOPE).expect_err("it is damaged");
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let extension = Extension { run: 7, cut: Timestamp(1_700_000_000_000), plan: 3, index: 12, part: None };
    let chunk = Part::Chunk(Chunk { number: 2, bytes: 1 << 20, names_key_before: true });
    let of = |extension| Position {
        key: "2026/a_b.jpg".to_owned(),
        phase: Phase::Changes,
        seconds: 1_700_000_000,
        extension,
    };
    [None, Some(extension.clone()), Some(Extension { part: Some(chunk), ..extension })]
        .into_iter()
        .map(|extension| of(extension).encode(SCOPE.stamp()))
        .collect()
}
