//! Saves and loads segments and manifests, and compares them with bytes that earlier builds have written.

use super::*;
use crate::source::witness::{bytes_of as bytes_of_witness, hex};
use crate::testing::SplitMix64;

/// Lines of a name and bytes in hexadecimal digits; other lines begin with `#`.
const WITNESS: &str = include_str!("witness.txt");

const WHAT_TO_DO: &str = "users have saved values of these bytes. witness.txt is append only: take the change back, or \
                          make it a new version that reads the old one too, with a line of its own";

fn entry(key: &str, reader: Reader, listed: &[u64], groups: &[u64]) -> Entry {
    let known = Known { reader, listed: listed.iter().copied().map(Digest).collect(), groups: groups.to_vec() };
    Entry { key: key.to_owned(), known }
}

fn bytes_of(entries: &[Entry]) -> Vec<u8> {
    let mut builder = SegmentBuilder::default();
    entries.iter().for_each(|entry| builder.add(entry, 0, 0));
    builder.segment(0).map_or(Vec::new(), |(_, bytes)| bytes.to_vec())
}

/// Every shape that an entry has.
fn entries() -> Vec<Entry> {
    vec![
        entry("", Reader::Top, &[1], &[]),
        entry("a", Reader::Nothing, &[], &[]),
        entry("photos/2024/a.jpg", Reader::Top, &[0x0102_0304_0506_0708, u64::MAX], &[]),
        entry("photos/2024/b.jpg", Reader::Doubtful, &[3], &[0, u64::MAX, 5]),
        entry("photos/2024/b.jpg.thumb", Reader::Nothing, &[4, 5, 6], &[7]),
        entry("photos/2024/c.jpg", Reader::Missing, &[4], &[]),
        // They share the first byte of a letter.
        entry("ä", Reader::Top, &[8], &[]),
        entry("å", Reader::Top, &[9], &[]),
    ]
}

fn segment(first: &str, id: u64) -> Segment {
    Segment {
        first: first.to_owned(),
        id,
        sum: 0x1122_3344_5566_7788 ^ id,
        listed: 8000 + id,
        keys: 300,
        bytes: 96 << 10,
        is_doubtful: id % 2 == 1,
    }
}

fn segments() -> Vec<Segment> {
    vec![segment("", 0), segment("photos/2024/a", 1), segment("photos/2024/b", u64::MAX >> 1), segment("ä", 129)]
}

fn random_entries(random: &mut SplitMix64) -> Vec<Entry> {
    const LETTERS: [&str; 6] = ["a", "b", "/", "ä", "å", "\u{1f600}"];
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..random.next() % 60 {
        let length = random.next() % 12;
        keys.insert((0..length).map(|_| LETTERS[(random.next() % 6) as usize]).collect::<String>());
    }
    let mut words = |most: u64| -> Vec<u64> { (0..random.next() % most).map(|_| random.next()).collect() };
    let readers = [Reader::Top, Reader::Nothing, Reader::Doubtful, Reader::Missing];
    keys.iter()
        .map(|key| entry(key, readers[words(5).len() % 4], &words(5), if words(4).is_empty() { &[7, 8] } else { &[] }))
        .collect()
}

#[test]
fn entries_are_loaded_as_they_were_saved() {
    assert_eq!(decode_entries(&bytes_of(&entries())), Some(entries()));
    let mut random = SplitMix64::new(3);
    for round in 0..500 {
        let entries = random_entries(&mut random);
        let bytes = bytes_of(&entries);
        if !entries.is_empty() {
            assert_eq!(decode_entries(&bytes), Some(entries.clone()), "round {round}");
        }
        for Entry { known, .. } in entries {
            assert_eq!(decode_known(&encode_known(&known)), Some(known), "round {round}");
        }
    }
}

#[test]
fn a_manifest_is_loaded_as_it_was_saved() {
    assert_eq!(decode_manifest(&encode_manifest(&segments())), Some(segments()));
    assert_eq!(decode_manifest(&encode_manifest(&[])), Some(Vec::new()));
    let mut random = SplitMix64::new(4);
    for _ in 0..200 {
        let segments: Vec<_> =
            random_entries(&mut random).into_iter().map(|entry| segment(&entry.key, random.next())).collect();
        assert_eq!(decode_manifest(&encode_manifest(&segments)), Some(segments));
    }
}

#[test]
fn damaged_bytes_are_refused_or_yield_what_comes_before_them() {
    let (bytes, entries) = (bytes_of(&entries()), entries());
    for length in 0..bytes.len() {
        let decoded = decode_entries(&bytes[..length]);
        // A value that ends between two keys can't be told from a shorter one; the manifest knows its length.
        let is_refused = decoded.as_ref().is_none_or(|decoded| decoded.len() < entries.len());
        assert!(is_refused && decoded.is_none_or(|decoded| entries.starts_with(&decoded)), "{length}");
    }
    let manifest = encode_manifest(&segments());
    for length in 0..manifest.len() {
        let decoded = decode_manifest(&manifest[..length]);
        assert!(decoded.is_none_or(|decoded| segments().starts_with(&decoded)), "{length}");
    }
    let known = encode_known(&entries[3].known);
    for length in 0..known.len() {
        assert_eq!(decode_known(&known[..length]), None, "{length}");
    }
    assert_eq!(decode_known(&[&known[..], &[0]].concat()), None, "nor is there anything after it");
}

#[test]
fn no_damage_makes_a_panic_or_much_memory() {
    let values = [bytes_of(&entries()), encode_manifest(&segments()), encode_known(&entries()[3].known)];
    let decode_all = |bytes: &[u8]| {
        let entries = decode_entries(bytes).unwrap_or_default();
        let words: usize = entries.iter().map(|entry| entry.known.listed.len() + entry.known.groups.len()).sum();
        assert!(words * size_of::<u64>() <= bytes.len());
        decode_manifest(bytes);
        decode_known(bytes);
    };
    for value in &values {
        for at in 0..value.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff, value[at] ^ 1, value[at] ^ 0x80] {
                let mut damaged = value.clone();
                damaged[at] = byte;
                decode_all(&damaged);
            }
        }
    }
    let mut random = SplitMix64::new(5);
    for _ in 0..2000 {
        let length = random.next() % 40;
        let mut bytes: Vec<_> = (0..length).map(|_| random.next() as u8).collect();
        decode_all(&bytes);
        bytes.insert(0, 1);
        decode_all(&bytes);
    }
}

#[test]
fn counts_that_no_value_has_are_refused() {
    let huge = postcard::to_extend(&u64::MAX, Vec::new()).expect("writes");
    let halved = postcard::to_extend(&(u64::MAX >> 4), Vec::new()).expect("writes");
    // Digests of the first key, then groups, a key that shares more than there is, and a rest of such a length.
    let digests: Vec<u8> = [&[1, 0, 1, b'a'][..], &halved[..]].concat();
    let groups: Vec<u8> = [&[1, 0, 1, b'a', 4][..], &huge[..]].concat();
    let shared = vec![1, 5, 1, b'a', 0];
    let rest: Vec<u8> = [&[1, 0][..], &huge[..]].concat();
    let text = vec![1, 0, 1, 0xff, 0];
    for bytes in [digests, groups, shared, rest, text] {
        assert_eq!(decode_entries(&bytes), None, "{bytes:?}");
        assert_eq!(decode_manifest(&bytes), None, "{bytes:?}");
    }
    for bytes in [&[][..], &[0], &[2], &[2, 0, 1, b'a', 0]] {
        assert_eq!(decode_entries(bytes), None, "another version: {bytes:?}");
        assert_eq!(decode_manifest(bytes), None, "another version: {bytes:?}");
    }
}

#[test]
fn a_version_takes_few_bytes() {
    for (versions, most) in [(1, 24), (3, 13)] {
        let mut builder = SegmentBuilder::default();
        let mut random = SplitMix64::new(6);
        let count = 8000;
        for n in 0..count {
            let listed: Vec<_> = (0..versions).map(|_| random.next()).collect();
            let key = format!("logs/service-{}/2024/05/{:02}/part-{n:08}.json.gz", n / 4000, n / 400);
            builder.add(&entry(&key, Reader::Top, &listed, &[]), 0, versions);
        }
        let each = builder.len() as u64 / (count * versions);
        assert!(each < most, "{each} bytes for each of {versions}");
    }
}

#[test]
fn a_segment_says_what_is_in_it() {
    let mut builder = SegmentBuilder::default();
    assert_eq!(builder.segment(1), None);
    builder.add(&entry("a", Reader::Top, &[1, 2], &[]), u64::MAX, 2);
    builder.add(&entry("b", Reader::Nothing, &[3], &[]), 5, 1);
    let (segment, bytes) = builder.segment(9).expect("there are keys");
    let expected = Segment {
        first: "a".to_owned(),
        id: 9,
        sum: 4,
        listed: 3,
        keys: 2,
        bytes: bytes.len() as u64,
        is_doubtful: false,
    };
    assert_eq!(segment, expected);
    builder.add(&entry("c", Reader::Doubtful, &[], &[]), 0, 0);
    assert!(builder.segment(9).expect("there are keys").0.is_doubtful);
}

#[test]
fn a_segment_covers_the_keys_up_to_the_next_one() {
    let segments = [segment("b", 0), segment("d", 1), segment("f", 2)];
    let places = ["", "a", "b", "c", "d", "dd", "e", "f", "z"].map(|key| covering(&segments, key));
    assert_eq!(places, [0, 0, 0, 0, 1, 1, 1, 2, 2]);
}

fn witness(name: &str) -> Vec<u8> {
    bytes_of_witness(WITNESS, name)
}

#[test]
fn saved_values_are_append_only() {
    let known = entries()[3].known.clone();
    let written = [
        ("segment-1", bytes_of(&entries())),
        ("manifest-1", encode_manifest(&segments())),
        ("known-1", encode_known(&known)),
    ];
    let lines: Vec<_> = written.iter().map(|(name, bytes)| format!("{name} {}", hex(bytes))).collect();
    let witness_lines: Vec<_> = WITNESS.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, witness_lines, "{WHAT_TO_DO}");
    assert_eq!(decode_entries(&witness("segment-1")), Some(entries()), "{WHAT_TO_DO}");
    assert_eq!(decode_manifest(&witness("manifest-1")), Some(segments()), "{WHAT_TO_DO}");
    assert_eq!(decode_known(&witness("known-1")), Some(known), "{WHAT_TO_DO}");
}
