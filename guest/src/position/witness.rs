//! Compares positions with positions that earlier builds have written.

use super::*;

/// Lines of a name and a position; other lines begin with `#`.
const WITNESS: &str = include_str!("witness.txt");

const WHAT_TO_DO: &str = "users have kept positions of this form. witness.txt is append only and says what to do";

const SCOPE: Scope<'static> =
    Scope { bucket: "photos", prefix: "cats/", store: "store.example:9000", endpoint: "https://store.example:9000" };

fn position(name: &str) -> Position {
    let (phase, index) = if name.contains("snapshot") { (Phase::Snapshot, 0) } else { (Phase::Changes, 1 << 33) };
    let names_key_before = phase == Phase::Snapshot;
    let next = Place { rows: 1 << 33, offset: 1 << 41, skip: 300, compression: Compression::Zstd };
    let part = match name {
        _ if name.starts_with("extension-3") => {
            Some(Part::Chunk(Chunk { number: 300, bytes: 16 << 20, names_key_before }))
        }
        _ if name.starts_with("extension-4") => {
            Some(Part::Row(RowMark { format: Format::Avro, next, names_key_before }))
        }
        _ => None,
    };
    let (run, cut) = (0xfedc_ba98_7654_3210, Timestamp(1_634_049_397_123));
    let extension = Extension { run, cut, plan: index >> 24, index, part };
    let extension = Some(extension).filter(|_| !name.contains("bare"));
    Position { key: "cats/ä_c1~b.jpg".to_owned(), phase, seconds: 1_634_049_397, extension }
}

#[test]
fn positions_are_append_only() {
    let lines: Vec<_> = WITNESS.lines().filter(|line| !line.starts_with('#')).collect();
    for name in [
        "bare-snapshot",
        "bare-changes",
        "extension-2-snapshot",
        "extension-2-changes",
        "extension-3-snapshot",
        "extension-3-changes",
        "extension-4-snapshot",
        "extension-4-changes",
    ] {
        let written = String::from_utf8(position(name).encode(SCOPE.stamp())).expect("a position is text");
        let line = format!("{name} {written}");
        assert!(lines.contains(&&*line), "{WHAT_TO_DO}: {line}");
    }
    // What is read: these, and those of the version before.
    assert!(lines.len() >= 8, "{WHAT_TO_DO}");
    for line in lines {
        let (name, text) = line.split_once(' ').expect("a name and a position");
        assert_eq!(Position::decode(text.as_bytes(), SCOPE), Ok(position(name)), "{WHAT_TO_DO}: {line}");
    }
}
